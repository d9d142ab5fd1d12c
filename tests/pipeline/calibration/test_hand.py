"""The rig from the hand alone, on exact and noisy points of made sessions."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.calibration.focal import NOMINAL_FOCAL, guess_focal, read_focal_35mm
from pipeline.calibration.hand import LEAST_INSTANTS, bends_forwards, calibrate_from_hand
from pipeline.calibration.proportions import expect_lengths, measure_hand_length
from pipeline.errors import CalibrationError
from pipeline.hand.model import load_hand_model
from pipeline.progress import Reporter
from pipeline.results import ViewTrack, read_rig, write_rig
from pipeline.session import Session, SessionSettings
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_truth

NOISE_PX = 2.0


@pytest.fixture(scope="module", autouse=True)
def few_instants():
    """Enough of the recording for these claims; the benchmark uses all that the stage does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.calibration.hand.MOST_INSTANTS", 60)
        yield


@pytest.fixture(scope="module")
def truth():
    return make_truth(SynthSpec(seconds=4, seed=2, calibration=False), load_hand_model())


def make_views(truth, noise_px=NOISE_PX):
    random = np.random.default_rng(0)
    views = {}
    for camera, points in truth.keypoints_px.items():
        n = len(points)
        views[camera] = {
            truth.side: ViewTrack(
                time_s=truth.camera_time_s[camera],
                box_px=np.full((n, 4), np.nan),
                box_state=np.full(n, "detected"),
                keypoints_px=points + random.normal(0, noise_px, points.shape),
                sigma_px=np.full(points.shape[:2], noise_px),
                score=np.ones(n),
                size_px=truth.size_px,
            )
        }
    return views


def make_session(truth, **settings):
    keypoints = {camera: Path(f"/session/keypoints/{camera}.npz") for camera in truth.rig.cameras}
    stated = SessionSettings(**{"side": truth.side} | settings)
    return Session(Path("/session"), stated, {}, keypoints=keypoints)


def hand_length(truth):
    eye = np.eye(3)
    flat = np.tile(eye, (1, 15, 1, 1))
    _, joints = load_hand_model().pose_arrays(truth.betas, eye[None], flat, np.zeros((1, 3)))
    return float(measure_hand_length(joints[0]))


def solve(truth, views=None, sync=None, **settings):
    session = make_session(truth, **settings)
    views = make_views(truth) if views is None else views
    return calibrate_from_hand(session, sync or truth.sync, views, load_hand_model(), Reporter())


def errors(rig, truth):
    """Rotation in degrees, translation as a share of its length, by camera but the reference."""
    out = []
    for name in ("left", "right"):
        found, true = rig.cameras[name], truth.rig.cameras[name]
        turn = np.degrees(np.arccos(np.clip((np.trace(found.R @ true.R.T) - 1) / 2, -1, 1)))
        out.append((turn, np.linalg.norm(found.t_mm - true.t_mm) / np.linalg.norm(true.t_mm)))
    return np.array(out)


@pytest.fixture(scope="module")
def rig(truth, few_instants):
    return solve(truth, hand_length_mm=hand_length(truth))


def test_noisy_points_of_a_hand_give_its_cameras_without_any_lens_known(rig, truth):
    turn, share = errors(rig, truth).T
    assert turn.max() < 2.0
    assert share.max() < 0.12  # four seconds of little movement: the lens stays half unknown


def test_the_rig_says_that_it_is_self_calibrated_and_what_error_to_expect(rig, truth):
    assert rig.source == "hand"
    assert rig.verdict == "check"
    assert rig.reasons[0].startswith("Self-calibrated from the hand")
    assert "degrees" in rig.reasons[0]
    assert "% of scale" in rig.reasons[0]
    assert any("focal length" in reason and "left" in reason for reason in rig.reasons[1:])
    assert 0 < rig.scale_sigma < 0.06
    turn, share = errors(rig, truth).T
    for name, error_deg, error in zip(("left", "right"), turn, share, strict=True):
        camera = rig.cameras[name]
        assert error_deg < 3 * camera.sigma_deg < 6
        assert error * np.linalg.norm(truth.rig.cameras[name].t_mm) < 3 * camera.sigma_mm


def test_the_rig_of_a_hand_survives_its_file(rig, tmp_path):
    write_rig(tmp_path / "rig.json", rig)
    back = read_rig(tmp_path / "rig.json")
    assert back.source == "hand"
    assert back.scale_sigma == pytest.approx(rig.scale_sigma)
    assert back.cameras["left"].sigma_deg == pytest.approx(rig.cameras["left"].sigma_deg)


def test_a_longer_hand_makes_a_larger_world(rig, truth):
    longer = solve(truth, hand_length_mm=1.1 * hand_length(truth))
    ratio = np.linalg.norm(longer.cameras["left"].t_mm) / np.linalg.norm(rig.cameras["left"].t_mm)
    assert ratio == pytest.approx(1.1, abs=0.02)


def test_without_a_ruler_the_scale_is_less_sure_and_that_is_said(truth, rig):
    loose = solve(truth)
    assert loose.scale_sigma > 1.5 * rig.scale_sigma
    assert "hand_length_mm" in loose.reasons[0]


def test_a_camera_without_usable_sound_is_timed_by_the_hand(truth):
    cameras = dict(truth.sync.cameras)
    cameras["left"] = replace(cameras["left"], offset_s=float("nan"), source="none", verdict="failed")
    silent = solve(truth, sync=replace(truth.sync, cameras=cameras), hand_length_mm=hand_length(truth))
    assert errors(silent, truth)[:, 0].max() < 2.0


def test_a_left_hand_called_right_is_refused_since_its_world_would_be_mirrored(truth):
    views = {camera: {"left": tracks["right"]} for camera, tracks in make_views(truth).items()}
    with pytest.raises(CalibrationError, match="backwards"):
        solve(truth, views, side="left")


def test_a_hand_bends_backwards_in_the_mirror(truth):
    assert bends_forwards(truth.joints_mm, truth.side)
    assert not bends_forwards(truth.joints_mm * [-1, 1, 1], truth.side)


def test_a_camera_that_hardly_saw_the_hand_is_named(truth):
    views = make_views(truth)
    track = views["right"]["right"]
    points = track.keypoints_px.copy()
    points[LEAST_INSTANTS - 5 :] = np.nan
    views["right"]["right"] = replace(track, keypoints_px=points)
    with pytest.raises(CalibrationError, match="camera right saw the hand"):
        solve(truth, views)


def test_two_cameras_in_one_place_are_refused(truth):
    views = make_views(truth)
    front = views["front"]
    pair = {
        "front": front,
        "left": {
            "right": replace(
                front["right"], keypoints_px=make_views(truth, 2.5)["front"]["right"].keypoints_px
            )
        },
    }
    keypoints = {camera: Path(f"/session/keypoints/{camera}.npz") for camera in pair}
    session = Session(Path("/session"), SessionSettings(), {}, keypoints=keypoints)
    cameras = {name: replace(truth.sync.cameras["front"]) for name in pair}
    sync = replace(truth.sync, cameras=cameras)
    with pytest.raises(
        CalibrationError, match=r"nearly the same side|tell where camera|backwards|no arrangement"
    ):
        calibrate_from_hand(session, sync, pair, load_hand_model(), Reporter())


def test_a_ruler_narrows_what_bones_may_be():
    model = load_hand_model()
    plain, measured = expect_lengths(model, None), expect_lengths(model, 170.0)
    assert measured.lengths_mm.sum() < plain.lengths_mm.sum()
    assert np.linalg.eigvalsh(plain.covariance - measured.covariance).min() > -1e-9
    assert measured.hand_length_mm == 170.0


# --- focal lengths ---------------------------------------------------------------------------------


def atom(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def write_quicktime(path, value, kind=1, on_track=True):
    """A QuickTime file's skeleton with one metadata item, as Apple's keys and ilst atoms have it."""
    key = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"
    keys = atom(b"keys", struct.pack(">II", 0, 2) + atom(b"mdta", b"another") + atom(b"mdta", key))
    item = atom(struct.pack(">I", 2), atom(b"data", struct.pack(">II", kind, 0) + value))
    meta = atom(b"meta", atom(b"hdlr", bytes(24)) + keys + atom(b"ilst", item))
    moov = atom(b"moov", atom(b"mvhd", bytes(100)) + (atom(b"trak", meta) if on_track else meta))
    path.write_bytes(atom(b"ftyp", b"qt  ") + atom(b"mdat", bytes(5000)) + moov)
    return path


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [(b"26.00mm", 1, 26.0), (b"13", 1, 13.0), (struct.pack(">I", 77), 21, 77.0), (b"wide", 1, None)],
)
def test_the_focal_length_that_apple_documents_is_read(tmp_path, value, kind, expected):
    assert read_focal_35mm(write_quicktime(tmp_path / "front.mov", value, kind)) == expected
    assert read_focal_35mm(write_quicktime(tmp_path / "left.mov", value, kind, on_track=False)) == expected


def test_a_file_that_states_no_focal_length_has_none(tmp_path):
    (tmp_path / "front.mov").write_bytes(atom(b"ftyp", b"qt  ") + b"\x00\x00\x00\x03moov")
    assert read_focal_35mm(tmp_path / "front.mov") is None


def test_settings_win_over_the_file_and_the_file_over_the_guess(tmp_path):
    video = write_quicktime(tmp_path / "front.mov", b"52.00mm")
    size_px = (1920, 1080)
    stated = Session(tmp_path, SessionSettings(focal_35mm={"front": 26.0}), {"front": video})
    of_file = replace(stated, settings=SessionSettings())
    unknown = replace(of_file, videos={})
    assert guess_focal(of_file, "front", size_px).focal_px == pytest.approx(
        2 * guess_focal(stated, "front", size_px).focal_px
    )
    assert guess_focal(of_file, "front", size_px).source == "file"
    guess = guess_focal(unknown, "front", size_px)
    assert guess.focal_px == NOMINAL_FOCAL * 1920
    assert guess.sigma > guess_focal(stated, "front", size_px).sigma
