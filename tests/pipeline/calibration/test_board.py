import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calibration.board import (
    MAX_GRID_DEVIATION,
    check_grid,
    find_board,
    grid_deviation,
    guess_board_size,
    normalise_order,
)
from pipeline.session import Checkerboard
from tests.pipeline.calibration.board_pictures import (
    board_points,
    board_pose,
    draw_board,
    draw_keys,
    make_camera,
    make_rig_cameras,
    place,
    random_poses,
)

BOARD = Checkerboard()


def rms(a, b):
    return float(np.sqrt(((a - b) ** 2).sum(axis=1).mean()))


def grid_of(corners, board=BOARD):
    return corners.reshape(board.rows, board.columns, 2)


@settings(max_examples=300, deadline=None)
@given(
    turn=st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(-180, 180)),
    shift=st.tuples(st.floats(-100, 100), st.floats(-60, 60), st.floats(500, 1500)),
    size=st.tuples(st.integers(3, 12), st.integers(3, 12)),
)
def test_every_order_that_a_detector_may_give_becomes_the_same_one(turn, shift, size):
    board = Checkerboard(columns=size[0], rows=size[1])
    truth = make_camera().project(place(board_points(board), board_pose(board, turn, shift)))
    grid = grid_of(truth, board)
    orders = [grid, grid[::-1, ::-1], grid[:, ::-1], grid[::-1]]
    ordered = [normalise_order(order.reshape(-1, 2), board) for order in orders]
    for other in ordered[1:]:
        np.testing.assert_array_equal(other, ordered[0])
    first = grid_of(ordered[0], board)
    assert first[0, -1, 1] <= first[-1, 0, 1]  # the top right corner is not below the bottom left one


@settings(max_examples=100, deadline=None)
@given(turn=st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50)))
def test_an_upright_board_keeps_its_own_order(turn):
    truth = make_camera().project(place(board_points(BOARD), board_pose(BOARD, turn)))
    along, down = truth[8] - truth[0], truth[-9] - truth[0]
    if along[1] < down[1] - 1 and along[0] * down[1] - along[1] * down[0] > 0:
        np.testing.assert_array_equal(normalise_order(truth, BOARD), truth)


def test_a_drawn_board_is_found_to_a_twentieth_of_a_pixel():
    rng = np.random.default_rng(4)
    camera = make_rig_cameras((960, 540))["front"]
    errors = []
    for pose in random_poses(BOARD, 8, rng):
        truth = camera.project(place(board_points(BOARD), pose))
        found = find_board(draw_board(camera, pose, BOARD, noise=2.0, rng=rng), BOARD)
        assert found.corners_px is not None, found.reason
        errors.append(min(rms(found.corners_px, truth), rms(found.corners_px, truth[::-1])))
    assert np.median(errors) < 0.05
    assert max(errors) < 0.15


def test_a_board_turned_round_changes_its_first_colour():
    camera = make_camera(focal_px=560)
    upright = find_board(draw_board(camera, board_pose(BOARD, (10, 15, 5)), BOARD), BOARD)
    turned = find_board(draw_board(camera, board_pose(BOARD, (10, 15, 185)), BOARD), BOARD)
    assert upright.corners_px is not None
    assert turned.corners_px is not None
    assert upright.is_dark_first != turned.is_dark_first


def test_columns_and_rows_may_change_places():
    picture = draw_board(make_camera(), board_pose(BOARD, (10, 15, 5)), BOARD)
    assert find_board(picture, Checkerboard(columns=6, rows=9)).corners_px is not None


@pytest.mark.parametrize("seed", range(12))
def test_piano_keys_are_no_board(seed):
    picture = draw_keys((640, 360), np.random.default_rng(seed))
    assert find_board(picture, BOARD).corners_px is None


@pytest.mark.parametrize("seed", range(12))
def test_a_grid_laid_over_piano_keys_fails_the_pattern_check(seed):
    rng = np.random.default_rng(seed)
    picture = draw_keys((640, 360), rng)
    pose = board_pose(BOARD, (rng.uniform(-20, 20), rng.uniform(-20, 20), 0), (0, 0, 500))
    corners = make_camera().project(place(board_points(BOARD), pose))
    assert "alternate" in check_grid(picture, corners, BOARD)


def test_a_corner_moved_by_a_third_of_a_square_is_no_regular_grid():
    pose = board_pose(BOARD, (10, 20, 5))
    picture = draw_board(make_camera(), pose, BOARD)
    corners = make_camera().project(place(board_points(BOARD), pose))
    assert check_grid(picture, corners, BOARD) == ""
    corners[20] += (corners[21] - corners[20]) / 3
    assert "no regular grid" in check_grid(picture, corners, BOARD)


@settings(max_examples=150, deadline=None)
@given(
    turn=st.tuples(st.floats(-55, 55), st.floats(-55, 55), st.floats(-180, 180)),
    distance=st.floats(450, 2000),
)
def test_tilted_boards_pass_the_parallelogram_check(turn, distance):
    camera = make_camera(k1=-0.1)
    corners = camera.project(place(board_points(BOARD), board_pose(BOARD, turn, (0, 0, distance))))
    assert grid_deviation(corners, BOARD) <= MAX_GRID_DEVIATION


def test_a_part_of_a_larger_board_is_not_taken_for_the_board():
    pose = board_pose(BOARD, (5, 10, 0))
    picture = draw_board(make_camera(), pose, BOARD)
    corners = make_camera().project(place(board_points(BOARD), pose))
    part = grid_of(corners)[:5, :8].reshape(-1, 2)
    assert "goes on beyond" in check_grid(picture, part, Checkerboard(columns=8, rows=5))


def test_the_size_of_another_board_is_told():
    other = Checkerboard(columns=8, rows=5)
    rng = np.random.default_rng(0)
    pictures = [draw_board(make_camera(), pose, other) for pose in random_poses(other, 5, rng)]
    assert all(find_board(picture, BOARD).corners_px is None for picture in pictures)
    assert guess_board_size(pictures, BOARD) == (8, 5)
    assert guess_board_size([draw_keys((640, 360), rng) for _ in range(3)], BOARD) is None


def test_a_cut_border_does_not_pull_corners_away():
    camera = make_camera(focal_px=620)
    pose = board_pose(BOARD, (0, 40, 0))
    picture = draw_board(camera, pose, BOARD)
    truth = camera.project(place(board_points(BOARD), pose))
    # White paint over the outer half of the outermost squares, as on boards that are cut too close.
    edge = (BOARD.columns - 0.6) * BOARD.square_mm
    strip = np.array([[edge, -100, 0], [edge + 100, -100, 0], [edge + 100, 300, 0], [edge, 300, 0]])
    cv2.fillPoly(picture, [np.round(camera.project(place(strip, pose))).astype(np.int32)], 225)
    found = find_board(picture, BOARD)
    assert found.corners_px is not None, found.reason
    assert np.linalg.norm(found.corners_px - truth, axis=1).max() < 0.5
