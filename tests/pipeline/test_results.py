import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import RunFolderError
from pipeline.results import (
    Camera,
    CameraSync,
    HandTrack,
    PoseGuess,
    Rig,
    RunFolder,
    SyncResult,
    ViewTrack,
    read_hand,
    read_rig,
    read_sync,
    read_view,
    write_hand,
    write_rig,
    write_sync,
    write_view,
)

FRAMES = 7


def make_camera(name="left", angle=0.4):
    c, s = np.cos(angle), np.sin(angle)
    return Camera(
        name=name,
        size_px=(1280, 720),
        K=np.array([[1100.0, 0, 639.5], [0, 1100.0, 359.5], [0, 0, 1]]),
        distortion=np.array([-0.12, 0.03, 0, 0, 0]),
        R=np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        t_mm=np.array([-300.0, 10.0, 80.0]),
        rms_px=0.21,
        used=[{"time_s": 1.25, "rms_px": 0.2}],
        refused=[{"time_s": 2.5, "reason": "corners not found"}],
    )


def make_track(with_guess=False):
    rng = np.random.default_rng(0)
    keypoints = rng.normal(300, 50, (FRAMES, 21, 2)).astype(np.float32)
    keypoints[2] = np.nan
    guess = PoseGuess(
        rng.normal(size=(FRAMES, 10)).astype(np.float32),
        np.tile(np.eye(3, dtype=np.float32), (FRAMES, 1, 1)),
        np.tile(np.eye(3, dtype=np.float32), (FRAMES, 15, 1, 1)),
    )
    return ViewTrack(
        time_s=np.arange(FRAMES) * 1001 / 60000,
        box_px=rng.normal(size=(FRAMES, 4)).astype(np.float32),
        box_state=np.array(["detected"] * (FRAMES - 1) + ["interpolated"]),
        keypoints_px=keypoints,
        sigma_px=rng.uniform(1, 2, (FRAMES, 21)).astype(np.float32),
        score=np.full(FRAMES, 0.9, np.float32),
        size_px=(1280, 720),
        guess=guess if with_guess else None,
        offset_sigma_px=np.linspace(0, 7, 21),
    )


def assert_same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
        elif dataclasses.is_dataclass(a):
            assert_same(a, b)
        else:
            assert a == b or (np.isnan(a) and np.isnan(b))


@given(
    offset=st.floats(-60, 60),
    drift=st.floats(-100, 100),
    times=arrays(float, 5, elements=st.floats(0, 1000)),
)
def test_reference_time_and_back_is_the_same_time(offset, drift, times):
    sync = SyncResult("front", {"left": CameraSync(offset, drift_ppm=drift)})
    there = sync.to_reference_s("left", times)
    np.testing.assert_allclose(sync.from_reference_s("left", there), times, atol=1e-9)


def test_a_sync_comes_back_as_it_was_written(tmp_path):
    run = RunFolder(tmp_path)
    sync = SyncResult(
        "front",
        {
            "front": CameraSync(0.0, source="reference"),
            "left": CameraSync(0.1234567890123, 2e-5, 31.5, 0.4, "check", ("a second peak",)),
        },
        closure_s=float("nan"),
    )
    write_sync(run.sync_json, sync)
    back = read_sync(run.sync_json)
    assert back.cameras == sync.cameras
    assert np.isnan(back.closure_s)


def test_a_rig_comes_back_as_it_was_written(tmp_path):
    rig = Rig("left", {"left": make_camera()}, [{"a": "left", "b": "right", "rms_px": 0.3}], 0.02)
    write_rig(tmp_path / "rig.json", rig)
    back = read_rig(tmp_path / "rig.json")
    assert_same(rig.cameras["left"], back.cameras["left"])
    assert back.pairs == rig.pairs
    assert back.square_error_mm == rig.square_error_mm


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_a_rig_of_another_schema_is_refused_with_what_reads_it(tmp_path, version):
    path = tmp_path / "rig.json"
    write_rig(path, Rig("left", {"left": make_camera()}))
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"schema_version": version}))
    with pytest.raises(RunFolderError, match="this program reads schema 1") as caught:
        read_rig(path)
    assert "program that wrote it reads it" in str(caught.value)
    del raw["schema_version"]
    path.write_text(json.dumps(raw))
    assert read_rig(path).reference == "left"


def test_a_rig_json_that_is_no_object_is_refused_in_words(tmp_path):
    (tmp_path / "rig.json").write_text("[1, 2]")
    with pytest.raises(RunFolderError, match="not a rig of this program"):
        read_rig(tmp_path / "rig.json")


def test_a_mirrored_rotation_in_a_rig_is_refused_by_the_cameras_name(tmp_path):
    path = tmp_path / "rig.json"
    write_rig(path, Rig("left", {"left": make_camera()}))
    raw = json.loads(path.read_text())
    raw["cameras"]["left"]["R"][0] = [-x for x in raw["cameras"]["left"]["R"][0]]
    path.write_text(json.dumps(raw))
    with pytest.raises(RunFolderError, match="left"):
        read_rig(path)


@given(points=arrays(float, (6, 3), elements=st.floats(-150, 150, allow_subnormal=False)))
def test_projecting_and_normalising_agree_through_the_lens(points):
    camera = make_camera()
    points = points + np.array([0, 0, 700.0])
    pixels = camera.project(points)
    in_camera = points @ camera.R.T + camera.t_mm
    expected = in_camera[:, :2] / in_camera[:, 2:]
    np.testing.assert_allclose(camera.normalise(pixels), expected, atol=1e-6)


def test_points_behind_a_camera_and_missing_points_have_no_picture():
    camera = make_camera(angle=0.0)
    points = np.array([[0, 0, -500.0], [np.nan, 0, 500.0], [300.0, 0, 500.0]])
    pixels = camera.project(points)
    assert np.isnan(pixels[:2]).all()
    assert np.isfinite(pixels[2]).all()


@pytest.mark.parametrize("with_guess", [False, True])
def test_one_hand_of_a_view_has_plain_names(tmp_path, with_guess):
    run = RunFolder(tmp_path)
    track = make_track(with_guess)
    write_view(run, "front", {"right": track})
    with np.load(run.view_npz("front")) as archive:
        assert {"time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score"} <= set(archive.files)
    back = read_view(run, "front")
    assert list(back) == ["right"]
    assert_same(track, back["right"])


def test_both_hands_of_a_view_are_kept_apart(tmp_path):
    run = RunFolder(tmp_path)
    right, left = make_track(), dataclasses.replace(make_track(), score=np.zeros(FRAMES, np.float32))
    write_view(run, "front", {"right": right, "left": left})
    back = read_view(run, "front")
    assert_same(right, back["right"])
    assert_same(left, back["left"])


def test_a_hand_comes_back_as_it_was_written(tmp_path):
    rng = np.random.default_rng(1)
    hand = HandTrack(
        time_s=np.arange(FRAMES) / 60,
        betas=rng.normal(size=10).astype(np.float32),
        global_orient=np.tile(np.eye(3, dtype=np.float32), (FRAMES, 1, 1)),
        hand_pose=np.tile(np.eye(3, dtype=np.float32), (FRAMES, 15, 1, 1)),
        transl_mm=rng.normal(size=(FRAMES, 3)).astype(np.float32),
        joints_mm=np.where(np.arange(21)[None, :, None] == 3, np.nan, 1.5).repeat(FRAMES, 0).repeat(3, 2)
        .astype(np.float32),
        joint_sigma_mm=np.ones((FRAMES, 21), np.float32),
        residual_px=np.full((2, FRAMES, 21), np.nan, np.float32),
        quality=np.ones((FRAMES, 21), np.float32),
        cameras=("front", "left"),
    )  # fmt: skip
    run = RunFolder(tmp_path)
    write_hand(run, "left", hand)
    assert_same(hand, read_hand(run, "left"))
    stated = dataclasses.replace(
        hand,
        joint_sigma_mm=np.full((FRAMES, 21), 5.0, np.float32),
        joint_offset_sigma_mm=np.full((FRAMES, 21), 3.0, np.float32),
        view_offset_px=np.full((2, 21, 2), 1.5, np.float32),
    )
    write_hand(run, "left", stated)
    assert_same(stated, read_hand(run, "left"))
    assert (hand.jitter_sigma_mm == 1).all()
    assert (stated.jitter_sigma_mm == 4).all()


def test_views_of_runs_that_stated_no_constant_error_can_still_be_read(tmp_path):
    run = RunFolder(tmp_path)
    write_view(run, "front", {"right": make_track()})
    with np.load(run.view_npz("front")) as archive:
        older = {name: archive[name] for name in archive.files if name != "offset_sigma_px"}
    np.savez(run.view_npz("front"), **older)
    assert (read_view(run, "front")["right"].offset_sigma_px == 0).all()


def test_a_broken_file_is_named(tmp_path):
    run = RunFolder(tmp_path)
    run.sync_json.write_text("{")
    with pytest.raises(RunFolderError, match=r"sync\.json"):
        read_sync(run.sync_json)
    run.hand_npz("right").write_bytes(b"PK\x03\x04 not whole")
    with pytest.raises(RunFolderError, match=r"hand_right\.npz"):
        read_hand(run, "right")
