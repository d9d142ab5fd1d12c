from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.synth.board import COLUMNS, N_RESTS, REST_S, ROWS, board_points_mm, make_board_motion
from pipeline.synth.picture import open_painter
from pipeline.synth.rig import make_stage
from pipeline.synth.scene import make_calibration_scene
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import make_take


@pytest.fixture(scope="module")
def clean_take(model):
    return make_take(SynthSpec(seconds=2.0, size_px=(1280, 720), seed=9, noise=False), model)


def find_corners(grey):
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    found, corners = cv2.findChessboardCorners(grey, (COLUMNS, ROWS))
    assert found
    return cv2.cornerSubPix(grey, corners, (4, 4), (-1, -1), criteria).reshape(-1, 2)


def test_corners_lie_where_the_lens_puts_them(clean_take):
    board = make_board_motion(clean_take.spec, clean_take.stage.rig)
    errors = []
    for camera in CAMERAS:
        scene = make_calibration_scene(clean_take, camera, board)
        painter = open_painter(scene)
        for rest in (3, 7, 11):
            frame = int(np.abs(scene.board_time_s - board.start_s[rest] - REST_S / 2).argmin())
            corners = find_corners(cv2.cvtColor(painter.frame(frame), cv2.COLOR_BGR2GRAY))
            points = board_points_mm() @ board.R[rest].T + board.t_mm[rest]
            true = clean_take.stage.rig.cameras[camera].project(points)
            errors.append(min((c - true for c in (corners, corners[::-1])), key=lambda e: np.abs(e).max()))
    distance = np.linalg.norm(errors, axis=2)
    assert np.percentile(distance, 97) < 0.1
    assert np.sqrt((distance**2).mean()) < 0.06
    # What is left is the corner finder's: the boards as a whole lie right.
    assert np.linalg.norm(np.mean(errors, axis=1), axis=1).max() < 0.02


def test_all_cameras_see_the_whole_board_at_every_rest_and_fill_their_pictures():
    for seed in range(8):
        spec = SynthSpec(size_px=(1280, 720), seed=seed)
        rig = make_stage(spec).rig
        board = make_board_motion(spec, rig)
        assert len(board.start_s) == N_RESTS
        for camera in rig.cameras.values():
            corners = np.stack(
                [
                    camera.project(board_points_mm() @ R.T + t)
                    for R, t in zip(board.R, board.t_mm, strict=True)
                ]
            )
            share = corners / camera.size_px
            assert (share > 0).all()
            assert (share < 1).all()
            covered = {tuple(cell) for cell in (share.reshape(-1, 2) * (6, 4)).astype(int)}
            assert len(covered) >= 15
            # Upright for everyone, by the rule of seed 000, section 6.
            assert (corners[:, COLUMNS - 1, 1] < corners[:, -COLUMNS, 1]).all()


def test_the_board_rests_and_moves(clean_take):
    board = make_board_motion(clean_take.spec, clean_take.stage.rig)
    scene = make_calibration_scene(clean_take, "left", board)
    painter = open_painter(scene)
    step = 1 / float(clean_take.spec.calibration_fps)
    resting = np.array([board.at(t)[2] for t in scene.board_time_s])
    for rest in (2, 3):
        rows = np.flatnonzero(resting == rest)
        assert len(rows) * step == pytest.approx(REST_S, abs=2 * step)
        first, last = painter.frame(int(rows[0])), painter.frame(int(rows[-1]))
        assert np.array_equal(first[40:], last[40:])
    between = np.flatnonzero((resting == -1) & (scene.board_time_s > board.start_s[2]))[5:12]
    assert not np.array_equal(painter.frame(int(between[0])), painter.frame(int(between[-1])))
    assert scene.board_time_s[0] == pytest.approx(clean_take.calibration_clocks.cameras["left"].offset_s)


def test_board_poses_are_proper_and_end_where_the_next_rest_begins(clean_take):
    board = make_board_motion(clean_take.spec, clean_take.stage.rig)
    for time in np.linspace(-2, board.seconds + 2, 60):
        R, _, _ = board.at(float(time))
        assert np.allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(R) > 0
    for rest in range(1, N_RESTS):
        R, t, _ = board.at(float(board.start_s[rest]) - 1e-6)
        assert np.allclose(R, board.R[rest], atol=1e-4)
        assert np.allclose(t, board.t_mm[rest], atol=1e-2)


def test_equal_specs_move_the_board_alike(clean_take):
    rig = clean_take.stage.rig
    first, second = make_board_motion(clean_take.spec, rig), make_board_motion(clean_take.spec, rig)
    other = make_board_motion(replace(clean_take.spec, seed=10), rig)
    assert np.array_equal(first.R, second.R)
    assert not np.array_equal(first.R, other.R)
