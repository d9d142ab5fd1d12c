"""What the browser streams: layout, frame choice, numbers, and the whole folder from a made session."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.calibration.formats import read_rig_file
from pipeline.errors import RunFolderError
from pipeline.export.outlines import trace_outlines
from pipeline.export.web import (
    MISSING_I16,
    MISSING_U8,
    POINT_STEPS,
    decode_values,
    encode_points,
    encode_values,
    find_nearest,
    lay_out,
    write_web,
)
from pipeline.files import hash_file
from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import JOINTS
from pipeline.hand.model import load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.measures.baseline import read_baseline
from pipeline.measures.measure import MeasureTables
from pipeline.progress import Reporter
from pipeline.results import Camera, CameraSync, HandTrack, Rig, RunFolder, SyncResult, ViewTrack
from pipeline.session import read_session
from pipeline.synth.frame_code import draw_frame_code, read_frame_code
from pipeline.video import VideoWriter, probe, read_frames
from settings import ROOT

FPS = Fraction(60000, 1001)
SIZE = (320, 180)
N = 24


# --- layout --------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(60, 4096), st.integers(60, 2304)), min_size=1, max_size=8).map(
        lambda sizes: {f"camera {i}": size for i, size in enumerate(sizes)}
    )
)
def test_panels_are_even_apart_inside_and_never_enlarged(sizes: dict[str, tuple[int, int]]) -> None:
    mosaic = lay_out(sizes)
    width, height = mosaic.size_px
    assert width % 2 == 0
    assert height % 2 == 0
    assert [panel.camera for panel in mosaic.panels] == list(sizes)
    taken = np.zeros((height, width), bool)
    for panel in mosaic.panels:
        x, y, w, h = panel.picture_px
        assert not any(value % 2 for value in (x, y, w, h))
        assert panel.x <= x
        assert x + w <= panel.x + panel.width
        assert panel.y <= y
        assert y + h <= panel.y + panel.height
        source = sizes[panel.camera]
        assert w <= source[0] + 1
        assert h <= source[1] + 1
        assert w / h == pytest.approx(source[0] / source[1], rel=2.1 / min(w, h))
        region = taken[panel.y : panel.y + panel.height, panel.x : panel.x + panel.width]
        assert region.shape == (panel.height, panel.width)
        assert not region.any()
        region[:] = True


def test_three_cameras_leave_a_place_for_the_3d_hand() -> None:
    mosaic = lay_out({name: (1920, 1080) for name in ("front", "left", "right")})
    assert mosaic.size_px == (1280, 720)
    assert (mosaic.columns, mosaic.rows) == (2, 2)


def test_upright_pictures_get_upright_panels() -> None:
    assert lay_out({"phone": (1080, 1920)}).size_px == (360, 640)


# --- which frame ---------------------------------------------------------------------------------


@given(st.floats(-0.4, 0.4), st.floats(-60, 60), st.integers(20, 120))
def test_the_frame_shown_is_the_nearest_in_time(offset_s: float, drift_ppm: float, fps: int) -> None:
    own = (np.arange(100) / fps) * (1 + drift_ppm * 1e-6) + offset_s
    wanted = np.arange(60) / 60
    found = find_nearest(own, wanted)
    distance = np.abs(own[None] - wanted[:, None])
    beyond_s = distance.min(axis=1) - 1.5 / fps * (1 + drift_ppm * 1e-6)
    near, decided = beyond_s <= 0, np.abs(beyond_s) > 1e-9  # on the very edge rounding decides
    assert np.array_equal(found[decided] >= 0, near[decided])
    shown = found >= 0
    assert np.allclose(np.abs(own[found[shown]] - wanted[shown]), distance.min(axis=1)[shown])


def test_a_camera_that_has_not_started_shows_no_frame() -> None:
    assert find_nearest(np.array([1.0, 1.1, 1.2]), np.array([0.0, 1.04, 9.0])).tolist() == [-1, 0, -1]
    assert find_nearest(np.array([]), np.array([0.0])).tolist() == [-1]


# --- numbers -------------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float64, (5, 3), elements=st.floats(-10, 10) | st.just(np.nan)),
    st.floats(-5, 0),
    st.floats(0.1, 8),
)
def test_values_come_back_to_half_a_step_and_missing_stays_missing(
    values: np.ndarray, low: float, high: float
) -> None:
    stored = encode_values(values, low, high)
    back = decode_values(stored, low, high)
    assert np.array_equal(stored == MISSING_U8, np.isnan(values))
    assert np.array_equal(np.isnan(back), np.isnan(values))
    step = (high - low) / 254
    assert np.nanmax(np.abs(back - np.clip(values, low, high)), initial=0.0) <= step * 0.5001 + 1e-5


@given(hnp.arrays(np.float64, (4, 2), elements=st.floats(-3.9, 3.9) | st.just(np.nan)))
def test_points_come_back_to_a_sixteen_thousandth(points: np.ndarray) -> None:
    stored = encode_points(points)
    missing = np.isnan(points).any(axis=1)
    assert np.array_equal((stored == MISSING_I16).all(axis=1), missing)
    assert np.abs(stored[~missing] / POINT_STEPS - points[~missing]).max(initial=0) <= 0.5001 / POINT_STEPS


def test_a_point_far_outside_the_picture_is_missing_not_wrapped() -> None:
    assert (encode_points(np.array([[9.0, 0.5]])) == MISSING_I16).all()


# --- the whole folder ----------------------------------------------------------------------------


def make_inputs(folder: Path, sides: tuple[str, ...] = ("right",)) -> dict:
    """Two cameras whose videos carry their frame's number; the second started late and runs fast."""
    session = folder / "session"
    session.mkdir(parents=True)
    clocks = {"front": (0.0, 0.0, N), "left side": (0.0417, 50.0, N - 2)}
    for camera, (_, _, frames) in clocks.items():
        with VideoWriter(session / f"{camera}.mp4", SIZE, FPS, crf=14) as writer:
            for index in range(frames):
                image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
                draw_frame_code(image, index)
                writer.write(image)
    model = load_hand_model()
    time_s = np.arange(N) / float(FPS)
    hands = {}
    for side in sides:
        transl = np.stack([40 * np.sin(time_s), np.zeros(N), np.full(N, 600.0)], axis=1)
        pose = np.broadcast_to(np.eye(3), (N, 15, 3, 3))
        orient = np.broadcast_to(np.eye(3), (N, 3, 3))
        _, joints = model.pose_arrays(np.zeros(10), orient, pose, transl)
        joints = mirror_points(joints) if side == "left" else joints
        joints[5] = np.nan
        ones = np.ones((N, 21))
        hands[side] = HandTrack(
            time_s, np.zeros(10), orient, pose, transl, joints, ones, np.ones((2, N, 21)), ones, tuple(clocks)
        )
    K = np.array([[300.0, 0, 159.5], [0, 300.0, 89.5], [0, 0, 1]])
    cameras = {
        name: Camera(name, SIZE, K, np.zeros(5), np.eye(3), np.array([15.0 * i, 0, 0]))
        for i, name in enumerate(clocks)
    }
    sync = SyncResult(
        "front", {name: CameraSync(offset, drift_ppm=ppm) for name, (offset, ppm, _) in clocks.items()}
    )
    views = {
        name: {
            side: ViewTrack(
                np.arange(frames) / float(FPS),
                np.zeros((frames, 4)),
                np.full(frames, "detected"),
                np.tile(np.arange(frames, dtype=float)[:, None, None], (1, 21, 2)),
                np.ones((frames, 21)),
                np.ones(frames),
                SIZE,
            )
            for side in sides
        }
        for name, (_, _, frames) in clocks.items()
    }
    return {
        "session": read_session(session),
        "sync": sync,
        "rig": Rig("front", cameras),
        "views": views,
        "hands": hands,
        "measures": make_measures(time_s, sides),
        "model": model,
        "baseline": read_baseline(),
    }


def make_measures(time_s: np.ndarray, sides: tuple[str, ...]) -> MeasureTables:
    def tabulate(what: str, names: tuple[str, ...], **columns: np.ndarray) -> pd.DataFrame:
        parts = [
            pd.DataFrame(
                {
                    "side": side,
                    "time_s": np.repeat(time_s, len(names)),
                    what: pd.Categorical(np.tile(names, N), categories=list(names)),
                    **{name: values.ravel() for name, values in columns.items()},
                    "valid": np.tile(np.arange(len(names)) != 3, N),
                }
            )
            for side in sides
        ]
        return pd.concat(parts, ignore_index=True)

    grid = np.linspace(0, 1, N)[:, None] * np.ones(21)
    degrees = np.linspace(-20, 60, N)[:, None] + np.arange(20)
    return MeasureTables(
        measures=tabulate("joint", JOINTS, jerk_score=grid, acceleration=10 * grid, jerk=grid),
        angles=tabulate("angle", ANGLES, degrees=degrees, z=(degrees - 12.0) / 8.0),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    folder = tmp_path_factory.mktemp("web")
    inputs = make_inputs(folder, ("right", "left"))
    run = RunFolder(folder / "run")
    write_web(run, **inputs, report=Reporter("web"))
    return run.web, json.loads((run.web / "index.json").read_text()), inputs


def read(web: Path, index: dict, name: str) -> np.ndarray:
    entry = index["files"][name]
    return np.fromfile(web / name, np.dtype(entry["dtype"]).newbyteorder("<")).reshape(entry["shape"])


def test_every_mosaic_frame_shows_the_frames_that_the_index_names(written: tuple) -> None:
    web, index, _ = written
    video = probe(web / "mosaic.mp4")
    assert (video.n_frames, video.fps) == (N, FPS)
    assert index["fps"] == [60000, 1001]
    shown = [read(web, index, f"shown_{number}.i32") for number in range(2)]
    assert np.array_equal(shown[0], np.arange(N))  # frame k of the mosaic is reference frame k
    assert (shown[1] < 0).any()
    assert (shown[1] >= 0).any()
    for frame in read_frames(web / "mosaic.mp4"):
        for number, camera in enumerate(index["cameras"]):
            x, y, width, height = camera["picture_px"]
            wanted = int(shown[number][frame.index])
            code = read_frame_code(frame.image[y : y + height, x : x + width])
            assert code == (wanted if wanted >= 0 else None)


def test_vertices_are_the_posed_hand_to_a_hundredth_of_a_millimetre(written: tuple) -> None:
    web, index, inputs = written
    offset, scale = np.array(index["vertices"]["offset_mm"]), index["vertices"]["scale_mm"]
    for side, hand in inputs["hands"].items():
        stored = read(web, index, f"vertices_{side}.i16")
        assert (stored[5] == MISSING_I16).all()  # not measured
        vertices, _ = inputs["model"].pose_arrays(
            hand.betas, hand.global_orient, hand.hand_pose, hand.transl_mm
        )
        vertices = mirror_points(vertices) if side == "left" else vertices
        kept = np.arange(N) != 5
        assert np.abs(offset + scale * stored[kept] - vertices[kept]).max() < 0.01
        joints = read(web, index, f"joints_{side}.f32")
        assert np.array_equal(joints, hand.joints_mm.astype("f4"), equal_nan=True)


def test_faces_of_both_hands_point_outward(written: tuple) -> None:
    web, index, _ = written
    for side in ("right", "left"):
        vertices = read(web, index, f"vertices_{side}.i16")[0].astype(float)
        a, b, c = (vertices[corner] for corner in read(web, index, f"faces_{side}.u32").T)
        volume = np.einsum("ij,ij->", np.cross(a, b), c) / 6
        assert volume > 0


def test_reprojected_points_are_the_joints_when_the_picture_was_taken(written: tuple) -> None:
    web, index, inputs = written
    shown = read(web, index, "shown_1.i32")
    frame = int(np.flatnonzero(shown >= 0)[8])
    hand = inputs["hands"]["right"]
    taken_s = inputs["sync"].to_reference_s("left side", np.array([shown[frame] / float(FPS)]))[0]
    joints = np.stack(
        [np.interp(taken_s, hand.time_s[8:], hand.joints_mm[8:, j, k]) for j in range(21) for k in range(3)]
    ).reshape(21, 3)
    expected = (inputs["rig"].cameras["left side"].project(joints) + 0.5) / np.array(SIZE)
    stored = read(web, index, "reprojected_right_1.i16")[frame] / POINT_STEPS
    assert np.abs(stored - expected).max() < 1.5e-4
    measured = read(web, index, "measured_right_1.i16")[frame] / POINT_STEPS
    assert np.abs(measured - (shown[frame] + 0.5) / np.array(SIZE)).max() < 1e-4


def test_an_outline_is_the_border_of_the_surface_when_the_picture_was_taken(written: tuple) -> None:
    web, index, inputs = written
    camera, hand = inputs["rig"].cameras["left side"], inputs["hands"]["right"]
    points = read(web, index, "outline_right_1.i16")
    starts = read(web, index, "outline_start_right_1.u32")
    assert starts[-1] == len(points)
    shown = read(web, index, "shown_1.i32")
    blank = (shown < 0) | (np.abs(np.arange(N) - 5) <= 1)  # no picture; the hand was not measured in frame 5
    assert (np.diff(starts.astype(int))[shown < 0] == 0).all()
    for frame in np.flatnonzero(~blank):
        taken_s = inputs["sync"].to_reference_s("left side", np.array([shown[frame] / float(FPS)]))[0]
        transl = np.array([[np.interp(taken_s, hand.time_s, hand.transl_mm[:, k]) for k in range(3)]])
        vertices, joints = inputs["model"].pose_arrays(
            hand.betas, hand.global_orient[:1], hand.hand_pose[:1], transl
        )
        ring = points[starts[frame] : starts[frame + 1]]
        assert (ring[-1] == MISSING_I16).all()
        ring = ring[:-1] / POINT_STEPS * SIZE - 0.5  # one hand held flat has one ring
        surface = camera.project(vertices[0])
        assert np.abs(ring.min(axis=0) - surface.min(axis=0)).max() < 1.2
        assert np.abs(ring.max(axis=0) - surface.max(axis=0)).max() < 1.2
        inside = [
            cv2.pointPolygonTest(ring.astype(np.float32), joint, False) > 0
            for joint in camera.project(joints[0, [0, 2, 5, 6, 9, 10, 13, 14, 17, 18]]).tolist()
        ]
        assert all(inside)


def test_a_hand_that_leaves_the_picture_has_no_line_along_its_edge(written: tuple) -> None:
    _, _, inputs = written
    model, camera = inputs["model"], inputs["rig"].cameras["front"]
    flat = np.broadcast_to(np.eye(3), (1, 15, 3, 3))
    vertices, _ = model.pose_arrays(np.zeros(10), np.eye(3)[None], flat, np.array([[-270.0, 0, 600]]))
    across = camera.project(vertices[0])[:, 0]
    assert across.min() < -10 < 10 < across.max()
    (ring,) = next(trace_outlines(vertices, model.faces, camera, SIZE))
    assert ring[:, 0].min() * SIZE[0] < -5


def test_the_reference_posture_has_the_references_mean_angles(written: tuple) -> None:
    web, index, inputs = written
    baseline = inputs["baseline"]
    for side in ("right", "left"):
        said = index["reference_posture"][side]
        assert said["name"] == baseline.name
        assert said["simulated"] is True
        joints = read(web, index, f"reference_joints_{side}.f32")
        mean_deg, _ = baseline.frame_level()
        angles = np.degrees(compute_angles(joints[None].astype(float), side)[0])
        assert np.abs(angles - mean_deg).max() < 0.1
        vertices = read(web, index, f"reference_vertices_{side}.f32")
        assert np.abs(vertices.mean(axis=0) - joints.mean(axis=0)).max() < 40
        bones = [np.linalg.norm(joints[b] - joints[a]) for a, b in index["bones"]]
        own = inputs["hands"][side].joints_mm[0]
        assert np.allclose(bones, [np.linalg.norm(own[b] - own[a]) for a, b in index["bones"]], atol=1.5)


def test_without_a_reference_its_posture_is_said_to_be_missing(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    partial = replace(
        inputs["baseline"], angles={"index_pip_flexion": inputs["baseline"].angles["index_pip_flexion"]}
    )
    for baseline, why in ((None, "reference"), (partial, "angles")):
        run = RunFolder(tmp_path / why)
        write_web(run, **(inputs | {"baseline": baseline}), report=Reporter("web"))
        index = json.loads((run.web / "index.json").read_text())
        assert index["reference_posture"]["right"] == {"missing": why}
        assert "reference_joints_right.f32" not in index["files"]


def test_bounds_hold_every_joint(written: tuple) -> None:
    _, index, inputs = written
    low, high = np.array(index["bounds"]["world_mm"])
    joints = inputs["hands"]["right"].joints_mm
    assert (np.nanmin(joints, axis=(0, 1)) >= low - 1e-9).all()
    assert (np.nanmax(joints, axis=(0, 1)) <= high + 1e-9).all()
    about = np.array(index["bounds"]["about_palm_mm"]["right"])
    assert ((about[1] - about[0]) < (high - low)).any()
    assert (about[0] < 0).all()


def test_colours_angles_and_bands_are_those_of_the_tables(written: tuple) -> None:
    web, index, inputs = written
    table = inputs["measures"].angles
    z = decode_values(read(web, index, "z_right.u8"), -6.0, 6.0)
    wanted = (np.linspace(-20, 60, N)[:, None] + np.arange(20) - 12.0) / 8.0
    valid = np.arange(20) != 3
    assert np.abs(z[:, valid] - np.clip(wanted, -6, 6)[:, valid]).max() < 0.025
    assert np.isnan(z[:, 3]).all()
    degrees = read(web, index, "angles_right.i16")
    assert np.abs(degrees[:, valid] / 100 - (wanted * 8 + 12)[:, valid]).max() < 0.006
    assert (degrees[:, 3] == MISSING_I16).all()
    assert index["bands"]["right"][ANGLES[0]] == pytest.approx([12.0, 8.0])
    assert ANGLES[3] not in index["bands"]["right"]
    assert len(table) == 2 * N * 20


def test_the_index_names_every_file_with_its_size_and_hash(written: tuple) -> None:
    web, index, _ = written
    on_disk = {path.name for path in web.iterdir()} - {"index.json"}
    assert on_disk == set(index["files"])
    for name, entry in index["files"].items():
        assert entry["bytes"] == (web / name).stat().st_size
        assert entry["sha256"] == hash_file(web / name)


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".toml"])
def test_the_runs_rig_can_be_taken_along(written: tuple, suffix: str) -> None:
    web, index, inputs = written
    assert f"rig{suffix}" in index["files"]
    rig = read_rig_file(web / f"rig{suffix}")
    assert list(rig.cameras) == list(inputs["rig"].cameras)
    for name, camera in rig.cameras.items():
        np.testing.assert_allclose(camera.K, inputs["rig"].cameras[name].K, rtol=1e-12)
        np.testing.assert_allclose(camera.t_mm, inputs["rig"].cameras[name].t_mm, rtol=1e-9, atol=1e-9)


def test_nothing_stays_of_a_hand_that_is_no_longer_there(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for name, sides in (("both", ("right", "left")), ("one", ("right",))):
        (tmp_path / name).mkdir()
        write_web(run, **make_inputs(tmp_path / name, sides), report=Reporter("web"))
    index = json.loads((run.web / "index.json").read_text())
    assert {path.name for path in run.web.iterdir()} == {*index["files"], "index.json"}
    assert not any("left" in name for name in index["files"])


def test_the_sound_for_the_page_of_offsets_stays(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.web.mkdir(parents=True)
    kept = ("sound.json", "sound_0.flac", "sound_1_peaks.i8", "sound_1_match.u8", "sound_1_fit.u8")
    for name in (*kept, "sound_of_music.u8"):
        (run.web / name).write_bytes(b"kept")
    write_web(run, **make_inputs(tmp_path), report=Reporter("web"))
    assert all((run.web / name).read_bytes() == b"kept" for name in kept)
    assert not (run.web / "sound_of_music.u8").exists()
    assert not any(name in json.loads((run.web / "index.json").read_text())["files"] for name in kept)


def test_a_failed_writing_leaves_no_index(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    run = RunFolder(tmp_path / "run")
    write_web(run, **inputs, report=Reporter("web"))
    inputs["session"].videos["front"].write_bytes(b"not a video")
    with pytest.raises(Exception, match=r"front\.mp4"):
        write_web(run, **inputs, report=Reporter("web"))
    assert not (run.web / "index.json").exists()


def test_without_a_hand_there_is_nothing_to_show(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    with pytest.raises(RunFolderError, match="No hand"):
        write_web(RunFolder(tmp_path / "run"), **(inputs | {"hands": {}}), report=Reporter("web"))


def test_reading_what_was_written_needs_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, components.signals; "
        "assert not {'torch', 'cv2', 'av'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_session_of_keypoints_has_dark_panels_and_points_on_them(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    session = tmp_path / "points"
    (session / "keypoints").mkdir(parents=True)
    for camera in inputs["session"].videos:
        (session / "keypoints" / f"{camera}.npz").write_bytes(b"")
    run = RunFolder(tmp_path / "run")
    write_web(run, **(inputs | {"session": read_session(session)}), report=Reporter("web"))
    index = json.loads((run.web / "index.json").read_text())
    assert probe(run.web / "mosaic.mp4").n_frames == N
    assert index["fps"] == [60000, 1001]
    assert max(frame.image.max() for frame in read_frames(run.web / "mosaic.mp4")) < 60
    assert (read(run.web, index, "measured_right_0.i16") != MISSING_I16).all()
