from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.calibration.calibrate import calibrate, calibrate_takes
from pipeline.calibration.clocks import TakeOffset
from pipeline.errors import CalibrationError, Cancelled
from pipeline.progress import Reporter
from pipeline.session import Checkerboard, read_session
from pipeline.video import VideoWriter
from tests.pipeline.calibration.board_pictures import (
    board_take,
    compare,
    draw_board,
    make_rig_cameras,
    random_poses,
)

BOARD = Checkerboard()
SIZE_PX = (480, 270)
FPS = Fraction(30)
RATE_HZ = 16000
LATE_FRAMES = 11
CAMERAS = {name: camera for name, camera in make_rig_cameras(SIZE_PX).items() if name != "right"}


def draw_take(camera, track):
    """Pictures of a board; frames in which it rests are drawn once."""
    pictures: list[np.ndarray] = []
    for before, pose in zip([None, *track], track, strict=False):
        if pose is before:
            pictures.append(pictures[-1])
        else:
            pictures.append(cv2.cvtColor(draw_board(camera, pose, BOARD), cv2.COLOR_GRAY2BGR))
    return pictures


def write_take(path, pictures, sound=None):
    with VideoWriter(path, SIZE_PX, FPS, crf=12, audio=sound, preset="ultrafast") as writer:
        for picture in pictures:
            writer.write(picture)


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    """Two cameras film a board in nine places; the second starts 11 frames late. With and without sound."""
    folder = tmp_path_factory.mktemp("takes")
    rng = np.random.default_rng(7)
    track = board_take(random_poses(BOARD, 9, rng), rest_frames=30, move_frames=4)
    sound = rng.normal(0, 0.2, int(len(track) * RATE_HZ / FPS)).astype(np.float32)
    for kind in ("sound", "silent"):
        (folder / kind).mkdir()
    for name, camera in CAMERAS.items():
        late = LATE_FRAMES if name == "left" else 0
        pictures = draw_take(camera, track[late:])
        heard = sound[int(late * RATE_HZ / FPS) :], RATE_HZ
        write_take(folder / "sound" / f"{name}.mp4", pictures, heard)
        write_take(folder / "silent" / f"{name}.mp4", pictures)
    return {kind: {name: folder / kind / f"{name}.mp4" for name in CAMERAS} for kind in ("sound", "silent")}


def assert_true_rig(rig):
    for name, truth in CAMERAS.items():
        focal, angle_deg, shift_mm = compare(rig.cameras[name], truth)
        assert focal < 5e-3
        assert angle_deg < 0.2
        assert shift_mm < 2.0
        assert rig.cameras[name].rms_px < 0.1
        assert len(rig.cameras[name].used) >= 8
    assert rig.pairs[0]["rms_px"] < 0.1


def test_filmed_boards_give_the_true_rig(takes):
    report = Reporter()
    rig = calibrate_takes(takes["sound"], "front", BOARD, report)
    assert_true_rig(rig)
    assert not any("motion" in warning for warning in report.warnings)


def test_takes_without_sound_are_timed_by_the_boards_motion_and_that_is_said(takes):
    report = Reporter()
    assert_true_rig(calibrate_takes(takes["silent"], "front", BOARD, report))
    assert any("left" in warning and "motion" in warning for warning in report.warnings)


def test_a_wrong_offset_from_a_steady_rhythm_is_put_right_by_the_boards(takes, monkeypatch):
    names = list(takes["silent"])
    places_s = 34 / float(FPS)  # one place and the way to the next

    def find(*_):
        true_s = LATE_FRAMES / float(FPS)
        wrong = TakeOffset(true_s + places_s, "motion", (true_s - places_s, true_s))
        return {names[0]: TakeOffset(0.0, "reference"), "left": wrong}

    monkeypatch.setattr("pipeline.calibration.calibrate.find_take_offsets", find)
    assert_true_rig(calibrate_takes(takes["silent"], "front", BOARD, Reporter()))


def test_columns_and_rows_the_other_way_round_are_the_same_board(takes):
    rig = calibrate_takes(takes["sound"], "front", Checkerboard(columns=6, rows=9), Reporter())
    assert_true_rig(rig)


@pytest.mark.parametrize("stated", [(8, 5), (10, 7)])
def test_a_wrong_board_size_is_told_with_the_right_one(takes, stated):
    board = Checkerboard(columns=stated[0], rows=stated[1])
    with pytest.raises(CalibrationError) as caught:
        calibrate_takes(takes["sound"], "front", board, Reporter())
    assert "Camera front" in caught.value.what
    assert "9 x 6" in caught.value.what
    assert "columns = 9" in caught.value.advice


def test_a_take_without_a_board_names_its_camera_and_file(takes, tmp_path):
    empty = tmp_path / "left.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(empty, SIZE_PX, FPS) as writer:
        for index in range(120):
            level = 60 + 40 * ((index // 20) % 2)
            writer.write(rng.integers(level, level + 20, (SIZE_PX[1], SIZE_PX[0], 3)).astype(np.uint8))
    with pytest.raises(CalibrationError, match="left"):
        calibrate_takes({"front": takes["sound"]["front"], "left": empty}, "front", BOARD, Reporter())


def test_one_camera_with_a_take_is_calibrated_by_it(takes, tmp_path):
    (tmp_path / "calibration").mkdir()
    (tmp_path / "front.mp4").write_bytes(takes["silent"]["front"].read_bytes())
    (tmp_path / "calibration" / "front.mp4").write_bytes(takes["silent"]["front"].read_bytes())
    rig = calibrate(read_session(tmp_path), Reporter())
    assert rig.source == "checkerboard"
    assert compare(rig.cameras["front"], CAMERAS["front"])[0] < 5e-3
    assert rig.pairs == []
    assert np.isnan(rig.square_error_mm)


def test_cancelling_ends_the_calibration(takes):
    with pytest.raises(Cancelled):
        calibrate_takes(takes["sound"], "front", BOARD, Reporter(is_cancelled=lambda: True))
