"""The last word on clocks: what the sound told, and the hand that all cameras saw."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.errors import SyncError
from pipeline.pose.estimate import estimate_view
from pipeline.progress import Reporter
from pipeline.results import (
    Camera,
    CameraSync,
    Rig,
    RunFolder,
    SyncResult,
    read_rig_check,
    read_sync,
    write_rig,
    write_sync,
    write_view,
)
from pipeline.session import Session, SessionSettings
from pipeline.stages import Context, list_stages
from pipeline.sync.alignment import align
from pipeline.sync.cameras import synchronise
from pipeline.sync.motion import find_offset_by_motion
from pipeline.video import VideoWriter, read_frames
from tests.pipeline.sync.made_views import as_right, get_repeated, get_truth, hide, make_track, make_views

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "two-camera-hand"
HALF_FRAME_S = 1 / 120
SILENT = CameraSync(
    float("nan"), float("nan"), 0.0, float("nan"), "failed", ("left.mp4 has no sound.",), "none"
)


@pytest.fixture(scope="module")
def truth():
    return get_truth()


@pytest.fixture(scope="module", params=["exact points", "a network's constant errors"])
def views(truth, request):
    return make_views(truth, bias_px=0.0 if request.param == "exact points" else 5.0)


@pytest.fixture(scope="module")
def sound(truth):
    """What the sound tells when all is well: the truth within a tenth of a millisecond."""
    cameras = {
        name: replace(camera, offset_s=camera.offset_s + 1e-4, sigma_s=1e-4, confidence=0.9, source="audio")
        for name, camera in truth.sync.cameras.items()
    }
    cameras["front"] = CameraSync(0.0, source="reference")
    return SyncResult("front", cameras, closure_s=1e-4)


def tell(sound, **changed):
    return replace(sound, cameras={**sound.cameras, **changed})


def shift(sound, name, by_s, source="audio"):
    camera = sound.cameras[name]
    return tell(sound, **{name: replace(camera, offset_s=camera.offset_s + by_s, source=source)})


def get_error_s(truth, sync, name):
    middle_s = truth.camera_time_s[name].mean(keepdims=True)
    return (sync.to_reference_s(name, middle_s) - truth.sync.to_reference_s(name, middle_s))[0]


def test_good_sound_is_left_as_it_is(truth, sound, views):
    report = Reporter()
    sync, check = align(sound, truth.rig, views, report)
    assert sync == sound
    assert check.verdict == "good"
    assert report.warnings == []


@pytest.mark.parametrize("bar_s", [1.65, -1.2])
@pytest.mark.parametrize("name", ["left", "right"])
def test_sound_that_locked_on_the_wrong_repeat_is_doubted(truth, sound, views, bar_s, name):
    report = Reporter()
    wrong = shift(sound, name, bar_s)
    sync, check = align(wrong, truth.rig, views, report)
    doubted = sync.cameras[name]
    assert doubted.verdict == "check"
    assert doubted.source == "audio"
    assert doubted.offset_s == wrong.cameras[name].offset_s
    assert f"{wrong.cameras[name].offset_s:+.3f} s" in doubted.reasons[-1]
    said_s = float(doubted.reasons[-1].split("motion says ")[1].split(" s ")[0])
    assert said_s == pytest.approx(truth.offset_s[name], abs=3e-3)
    assert "repeat" in doubted.reasons[-1]
    other = "right" if name == "left" else "left"
    assert sync.cameras[other] == sound.cameras[other]
    assert len(report.warnings) == 1
    assert check.verdict == "good"  # a wrong clock is no moved camera


def test_a_contradiction_of_a_frame_or_two_is_seen_and_one_of_a_tenth_is_not(truth, sound, views):
    sync, _ = align(shift(sound, "left", 0.025), truth.rig, views, Reporter())
    assert sync.cameras["left"].verdict == "check"
    assert "repeat" not in sync.cameras["left"].reasons[-1]
    sync, _ = align(shift(sound, "left", 0.0016), truth.rig, views, Reporter())
    assert sync.cameras["left"].verdict == "reliable"


def test_a_doubtful_sound_that_the_hand_agrees_with_says_so_and_stays_doubtful(truth, sound, views):
    doubtful = replace(sound.cameras["left"], verdict="check", reasons=("The music repeats.",))
    report = Reporter()
    sync, _ = align(tell(sound, left=doubtful), truth.rig, views, report)
    assert sync.cameras["left"].verdict == "check"
    assert sync.cameras["left"].reasons[0] == "The music repeats."
    assert "agrees" in sync.cameras["left"].reasons[1]
    assert report.warnings == []


def test_a_video_of_a_single_picture_stops_nothing(truth, sound):
    views = make_views(truth)
    track = views["left"]["right"]
    fields = ("time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score")
    views["left"] = as_right(replace(track, **{name: getattr(track, name)[:1] for name in fields}))
    sync, check = align(sound, truth.rig, views, Reporter())
    assert sync == sound
    assert "left" not in check.cameras
    assert check.cameras["front"].verdict == "good"


def test_an_offset_by_hand_is_kept_and_the_contradiction_said(truth, sound, views):
    manual = shift(sound, "right", 0.2, "manual")
    sync, _ = align(manual, truth.rig, views, Reporter())
    camera = sync.cameras["right"]
    assert camera.offset_s == manual.cameras["right"].offset_s
    assert camera.source == "manual"
    assert camera.verdict == "check"
    assert "given by hand" in camera.reasons[-1]


@pytest.mark.parametrize("silent", [("left",), ("left", "right")])
def test_cameras_without_sound_get_the_hands_offset(truth, sound, views, silent):
    report = Reporter()
    sync, _ = align(tell(sound, **dict.fromkeys(silent, SILENT)), truth.rig, views, report)
    for name in silent:
        camera = sync.cameras[name]
        assert camera.source == "hand"
        assert camera.verdict == "check"
        assert abs(get_error_s(truth, sync, name)) < 3e-3
        assert abs(get_error_s(truth, sync, name)) < 3.5 * camera.sigma_s
        assert "left.mp4 has no sound." in camera.reasons
        assert any("worked out from the hand's motion, to ±" in reason for reason in camera.reasons)
        assert any(name in warning for warning in report.warnings)
    assert sync.source == ("audio" if len(silent) == 1 else "hand")


def test_a_left_hand_and_both_hands_do_as_well(sound):
    truth = get_truth(7, "left")
    silent = replace(truth.sync, cameras={**truth.sync.cameras, "left": SILENT})
    sync, check = align(silent, truth.rig, make_views(truth), Reporter())
    assert abs(get_error_s(truth, sync, "left")) < 2e-3
    assert check.verdict == "good"
    truth = get_truth()
    views = make_views(truth)
    both: Any = {name: {"right": tracks["right"], "left": tracks["right"]} for name, tracks in views.items()}
    sync, _ = align(tell(sound, left=SILENT), truth.rig, both, Reporter())
    assert abs(get_error_s(truth, sync, "left")) < 2e-3


def test_a_movement_that_repeats_exactly_is_not_trusted(truth):
    time_s, joints = get_repeated(bar_s=1.6)
    views = {
        name: as_right(make_track(time_s, truth.rig.cameras[name].project(joints), seed=number))
        for number, name in enumerate(("front", "left"))
    }
    silent = SyncResult("front", {"front": CameraSync(0.0, source="reference"), "left": SILENT})
    sync, _ = align(silent, truth.rig, views, Reporter())
    assert sync.cameras["left"].confidence < 0.3
    assert any("repeats" in reason for reason in sync.cameras["left"].reasons)
    # What the hand cannot tell apart it must not hold against the sound either.
    heard = SyncResult("front", {**silent.cameras, "left": CameraSync(1.6, 1e-4)})
    sync, _ = align(heard, truth.rig, views, Reporter())
    assert sync.cameras["left"].verdict == "reliable"


def test_a_camera_that_shares_nothing_with_the_reference_is_reached_by_a_third(truth):
    views = make_views(truth)
    cut_s = 3.4
    late = truth.sync.to_reference_s("right", truth.camera_time_s["right"]) > cut_s + 0.2
    views["front"] = as_right(hide(views["front"]["right"], truth.time_s > cut_s))
    views["right"] = as_right(hide(views["right"]["right"], ~late))
    silent = replace(truth.sync, cameras={**truth.sync.cameras, "left": SILENT, "right": SILENT})
    sync, _ = align(silent, truth.rig, views, Reporter())
    assert abs(get_error_s(truth, sync, "left")) < 5e-3
    assert abs(get_error_s(truth, sync, "right")) < 8e-3


def test_neither_sound_nor_hand_names_the_camera_and_the_way_out(truth, sound):
    views = make_views(truth)
    views["left"] = as_right(hide(views["left"]["right"], slice(None)))
    with pytest.raises(SyncError) as raised:
        align(tell(sound, left=SILENT), truth.rig, views, Reporter())
    assert "camera left" in raised.value.what
    assert "no sound" in raised.value.what
    assert "not seen" in raised.value.what
    assert "offset_s" in raised.value.advice
    assert "by hand" in raised.value.advice


def test_files_that_only_a_third_camera_joins_are_refused(truth):
    def cut(track, use):
        fields = ("time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score")
        return as_right(replace(track, **{name: getattr(track, name)[use] for name in fields}))

    views = make_views(truth)
    late = truth.sync.to_reference_s("right", truth.camera_time_s["right"]) > 3.7
    views["front"] = cut(views["front"]["right"], truth.time_s < 3.4)
    views["right"] = cut(views["right"]["right"], late)
    silent = replace(truth.sync, cameras={**truth.sync.cameras, "right": SILENT})
    with pytest.raises(SyncError, match="front and right did not record together"):
        align(silent, truth.rig, views, Reporter())


def test_keypoints_that_a_given_offset_sets_apart_are_refused(truth, sound):
    given = tell(sound, right=CameraSync(100.0, float("nan"), source="manual"))
    with pytest.raises(SyncError, match="front and right did not record together"):
        align(given, truth.rig, make_views(truth), Reporter())


def test_a_moved_camera_is_warned_of(truth, sound, views):
    camera = truth.rig.cameras["right"]
    by = cv2.Rodrigues(np.deg2rad([3.0, 0.0, 0.0]))[0]
    moved = {**truth.rig.cameras, "right": replace(camera, R=by @ camera.R, t_mm=by @ camera.t_mm)}
    report = Reporter()
    sync, check = align(sound, replace(truth.rig, cameras=moved), views, report)
    assert sync == sound
    assert check.cameras["right"].verdict == "moved"
    assert report.warnings == list(check.reasons)
    assert "Camera right seems to have been moved" in report.warnings[0]


def test_a_rig_that_was_made_of_the_same_hand_is_not_checked_by_it(truth, sound, views):
    camera = truth.rig.cameras["right"]
    by = cv2.Rodrigues(np.deg2rad([3.0, 0.0, 0.0]))[0]
    moved = {**truth.rig.cameras, "right": replace(camera, R=by @ camera.R, t_mm=by @ camera.t_mm)}
    report = Reporter()
    _, check = align(sound, replace(truth.rig, cameras=moved, source="hand"), views, report)
    assert check.verdict == "unknown"
    assert "this very hand" in check.reasons[0]
    assert not any("moved" in warning for warning in report.warnings)


def test_one_camera_needs_no_witness(truth):
    alone = SyncResult("front", {"front": CameraSync(0.0, source="reference")})
    sync, check = align(alone, truth.rig, {"front": make_views(truth)["front"]}, Reporter())
    assert sync == alone
    assert check.verdict == "unknown"


def test_the_stage_writes_clocks_and_check_of_a_session_without_sound(truth, tmp_path):
    keypoints = {name: tmp_path / "keypoints" / f"{name}.npz" for name in truth.rig.cameras}
    session = Session(tmp_path, SessionSettings(), {}, keypoints=keypoints)
    stage = next(stage for stage in list_stages(session) if stage.name == "sync")
    run = RunFolder(tmp_path / "run")
    run.views.mkdir(parents=True)
    for name, tracks in make_views(truth).items():
        write_view(run, name, tracks)
    write_rig(run.rig_json, truth.rig)
    write_sync(run.sound_json, synchronise(session, Reporter()))
    assert stage.work(Context(session, run, Reporter())) == [run.sync_json, run.rig_check_json]
    sync, check = read_sync(run.sync_json), read_rig_check(run.rig_check_json)
    assert check.verdict == "good"
    for name in ("left", "right"):
        assert sync.cameras[name].source == "hand"
        assert abs(get_error_s(truth, sync, name)) < 2e-3


# --- two real videos of one hand ---------------------------------------------------------------------

FIRST, LAST = 220, 310
"""Three seconds in which the hand moves; of a hand that rests nobody can tell."""


@pytest.fixture(scope="module")
def real_views(tmp_path_factory):
    if not DATA.is_dir():
        pytest.skip("the folder shared/data is not beside the project")
    folder = tmp_path_factory.mktemp("two-camera-hand")
    videos = {}
    for name in ("cam0", "cam1"):
        videos[name] = folder / f"{name}.mp4"
        with VideoWriter(videos[name], (720, 720), Fraction(30), crf=12) as writer:
            for frame in read_frames(DATA / f"{name}_test.mp4", FIRST, LAST):
                writer.write(frame.image)
    session = Session(folder, SessionSettings(reference="cam0", preset="minimal"), videos)
    return {name: estimate_view(session, name, Reporter(), 1) for name in videos}


def read_numbers(path, first, last):
    return np.array(
        [[float(word) for word in line.split()] for line in path.read_text().split("\n")[first:last]]
    )


def read_real_rig():
    folder = DATA / "camera_parameters"
    cameras = {}
    for number, name in enumerate(("cam0", "cam1")):
        lens, place = folder / f"c{number}.dat", folder / f"rot_trans_c{number}.dat"
        cameras[name] = Camera(
            name, (720, 720), read_numbers(lens, 1, 4), read_numbers(lens, 5, 6)[0],
            read_numbers(place, 1, 4), read_numbers(place, 5, 8)[:, 0],
        )  # fmt: skip
    return Rig("cam0", cameras, source="file")


@pytest.mark.data
def test_two_synchronised_videos_come_out_at_no_lag(real_views):
    half_frame_s = 1 / 60
    alone = find_offset_by_motion(real_views["cam0"], real_views["cam1"])
    assert abs(alone.offset_s) < half_frame_s
    assert alone.verdict != "failed"
    silent = SyncResult("cam0", {"cam0": CameraSync(0.0, source="reference"), "cam1": SILENT})
    sync, check = align(silent, read_real_rig(), real_views, Reporter())
    camera = sync.cameras["cam1"]
    assert abs(camera.offset_s) < half_frame_s
    assert abs(camera.offset_s) < 3.5 * camera.sigma_s + 1e-3
    assert camera.source == "hand"
    assert check.verdict == "good"


@pytest.mark.data
def test_a_wrong_offset_of_two_real_videos_is_doubted(real_views):
    heard = CameraSync(0.1, 1e-4, source="audio")
    sync, _ = align(
        SyncResult("cam0", {"cam0": CameraSync(0.0, source="reference"), "cam1": heard}),
        read_real_rig(),
        real_views,
        Reporter(),
    )
    assert sync.cameras["cam1"].verdict == "check"
    assert math.isclose(sync.cameras["cam1"].offset_s, 0.1)
