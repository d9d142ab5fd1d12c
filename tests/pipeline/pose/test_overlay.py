"""Overlays, in pictures and of whole runs."""

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.errors import Cancelled, RunFolderError
from pipeline.files import hash_file
from pipeline.pose.overlay import SIDE_COLOURS_BGR, draw_caption, draw_hand, write_overlays
from pipeline.progress import Reporter
from pipeline.results import RunFolder, ViewTrack, write_view
from pipeline.video import VideoWriter, probe, read_frames, read_times


def _draw(**changes):
    image = np.zeros((360, 640, 3), np.uint8)
    points = np.stack([np.linspace(200, 400, 21), np.linspace(100, 250, 21)], axis=1)
    arguments = {
        "keypoints_px": points,
        "sigma_px": np.zeros(21),
        "box_px": np.array([180.0, 80, 420, 270]),
        "side": "right",
    }
    draw_hand(image, **{**arguments, **changes})
    return image


def test_points_bones_and_box_are_drawn_where_they_are():
    image = _draw()
    assert image[175, 180].tolist() == list(SIDE_COLOURS_BGR["right"])  # the box's left side
    assert image[100, 200].tolist() == [119, 158, 27]  # a sure point
    assert image[40].max() == 0


def test_an_unsure_point_is_dark_red_and_so_is_an_unknown_one():
    for sigma in (np.full(21, 100.0), np.full(21, np.nan)):
        assert _draw(sigma_px=sigma)[100, 200].tolist() == [30, 30, 200]


def test_left_and_right_are_told_apart():
    assert _draw(side="left")[175, 180].tolist() == list(SIDE_COLOURS_BGR["left"])


def test_nothing_measured_draws_nothing():
    nothing = _draw(
        keypoints_px=np.full((21, 2), np.nan), box_px=np.full(4, np.nan), sigma_px=np.full(21, np.nan)
    )
    assert nothing.max() == 0


def test_a_point_outside_the_picture_does_no_harm():
    far = np.full((21, 2), -5000.0)
    assert _draw(keypoints_px=far).max() > 0


def test_the_tag_names_the_side_and_a_box_that_was_not_detected():
    drawn = {state: _draw(box_state=state, score=0.97) for state in ("detected", "interpolated")}
    widths = {
        state: (image[75] == SIDE_COLOURS_BGR["right"]).all(axis=1).sum() for state, image in drawn.items()
    }
    assert 0 < widths["detected"] < widths["interpolated"]


def test_a_caption_stays_in_a_small_picture():
    image = np.full((40, 60, 3), 200, np.uint8)
    draw_caption(image, "front  1.67 s  frame 100")
    assert image.min() < 200


N_FRAMES = 20


@pytest.fixture
def made(tmp_path):
    """A session of one camera, black, and a run on it whose hand stands still."""
    session = tmp_path / "take"
    session.mkdir()
    with VideoWriter(session / "front.mp4", (320, 240), Fraction(25)) as writer:
        for _ in range(N_FRAMES):
            writer.write(np.zeros((240, 320, 3), np.uint8))
    run = RunFolder(session / "run")
    run.path.mkdir()
    points = np.stack([np.linspace(100, 200, 21), np.linspace(80, 180, 21)], axis=1)
    state = np.full(N_FRAMES, "detected", "U12")
    state[12:] = "none"
    gone = state == "none"
    track = ViewTrack(
        time_s=read_times(session / "front.mp4"),
        box_px=np.where(gone[:, None], np.nan, np.tile([90.0, 70, 210, 190], (N_FRAMES, 1))),
        box_state=state,
        keypoints_px=np.where(gone[:, None, None], np.nan, np.tile(points, (N_FRAMES, 1, 1))),
        sigma_px=np.ones((N_FRAMES, 21)),
        score=np.where(gone, np.nan, 0.9),
        size_px=(320, 240),
    )
    write_view(run, "front", {"right": track})
    record = {
        "schema_version": 1,
        "session": "take",
        "inputs": {"front.mp4": hash_file(session / "front.mp4")},
        "stages": {"pose:front": {}},
    }
    run.run_json.write_text(json.dumps(record))
    return run


def test_a_run_becomes_a_video_a_camera_with_the_hand_where_it_was(made, capsys):
    assert main(["overlay", str(made.path)]) == 0
    path = made.path / "overlay" / "front.mp4"
    assert str(path) in capsys.readouterr().out
    assert (probe(path).n_frames, probe(path).size_px, probe(path).fps) == (N_FRAMES, (320, 240), 25)
    frames = [frame.image.astype(int) for frame in read_frames(path)]
    assert frames[5][130, 90] == pytest.approx(SIDE_COLOURS_BGR["right"], abs=40)  # the box's left side
    assert frames[15][130, 90].max() < 20  # nothing there


def test_a_run_elsewhere_finds_its_recordings_when_told_where(made, tmp_path):
    run = RunFolder(tmp_path / "elsewhere" / "run")
    shutil.copytree(made.path, run.path)
    with pytest.raises(RunFolderError, match=r"front\.mp4.* are not in"):
        write_overlays(run, tmp_path / "out", None, Reporter())
    (path,) = write_overlays(run, tmp_path / "out", made.path.parent, Reporter())
    assert path == tmp_path / "out" / "front.mp4"


def test_recordings_that_are_others_now_are_refused(made, tmp_path):
    with VideoWriter(made.path.parent / "front.mp4", (320, 240), Fraction(25)) as writer:
        writer.write(np.full((240, 320, 3), 90, np.uint8))
    with pytest.raises(RunFolderError, match="SHA-256 differs"):
        write_overlays(made, tmp_path / "out", None, Reporter())


def change(run: RunFolder, **values):
    """Write other values into a run's record."""
    run.run_json.write_text(json.dumps(json.loads(run.run_json.read_text()) | values))


def test_points_of_the_recording_before_are_not_drawn_on_the_one_in_its_place(made, tmp_path):
    """A run that was stopped after the recordings were exchanged."""
    video = made.path.parent / "front.mp4"
    with VideoWriter(video, (320, 240), Fraction(25)) as writer:
        for _ in range(N_FRAMES + 1):
            writer.write(np.zeros((240, 320, 3), np.uint8))
    change(made, inputs={"front.mp4": hash_file(video)})
    with pytest.raises(RunFolderError, match=r"points of camera front .* are of another recording"):
        write_overlays(made, tmp_path / "out", None, Reporter())
    change(made, stages={})
    with pytest.raises(RunFolderError, match="no points of camera front yet"):
        write_overlays(made, tmp_path / "out", None, Reporter())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", [".", "calibration", "run/.."])
def test_recordings_are_never_written_over_nor_joined(made, folder):
    session = made.path.parent
    (session / "front.mp4").rename(session / "front.MOV")  # front.mp4 beside it would be a second video
    change(made, inputs={"front.MOV": hash_file(session / "front.MOV")})
    with pytest.raises(RunFolderError, match="holds the recordings"):
        write_overlays(made, session / folder, None, Reporter())
    assert not list(session.rglob("*.mp4"))


def test_cancelling_leaves_no_half_of_a_video(made, tmp_path):
    with pytest.raises(Cancelled):
        write_overlays(
            made, tmp_path / "out", None, Reporter(is_cancelled=iter([False] * 5 + [True] * 9).__next__)
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_without_views_and_one_on_points_are_told_so(made, tmp_path):
    made.view_npz("front").unlink()
    with pytest.raises(RunFolderError, match="no points of camera front yet"):
        write_overlays(made, tmp_path / "out", None, Reporter())
    change(made, inputs={"keypoints/front.npz": "0"})
    with pytest.raises(RunFolderError, match="no video to draw on"):
        write_overlays(made, tmp_path / "out", None, Reporter())


def test_a_run_that_was_stopped_at_once_and_a_broken_record_are_said(made, tmp_path):
    change(made, inputs={})
    with pytest.raises(RunFolderError, match="stopped before it had read a recording"):
        write_overlays(made, tmp_path / "out", None, Reporter())
    for text, words in (('{"schema_version": 1}', "stopped before"), ("[]", "no record of a run")):
        made.run_json.write_text(text)
        with pytest.raises(RunFolderError, match=words):
            write_overlays(made, tmp_path / "out", None, Reporter())
