from dataclasses import replace

import numpy as np
import pytest

from pipeline.calibration.board import normalise_order
from pipeline.calibration.solve import align_colours, count_corners, solve_rig
from pipeline.calibration.takes import Sight
from pipeline.errors import CalibrationError
from pipeline.results import Camera
from pipeline.session import Checkerboard
from tests.pipeline.calibration.board_pictures import (
    board_points,
    compare,
    make_rig_cameras,
    place,
    random_poses,
    see,
)

BOARD = Checkerboard()
CAMERAS = make_rig_cameras((1280, 720))
SIZES = {name: camera.size_px for name, camera in CAMERAS.items()}


def poses_of(seed=0, count=14, board=BOARD):
    return random_poses(board, count, np.random.default_rng(seed))


def solve(sights, board=BOARD):
    return solve_rig(sights, SIZES, "front", board)


@pytest.mark.parametrize("seed", range(3))
def test_noisy_corners_give_the_true_rig(seed):
    rng = np.random.default_rng(seed)
    rig = solve(see(CAMERAS, poses_of(seed), BOARD, rng, noise_px=0.08))
    for name, truth in CAMERAS.items():
        focal, angle_deg, shift_mm = compare(rig.cameras[name], truth)
        assert focal < 1e-3
        assert angle_deg < 0.05
        assert shift_mm < 0.8
        assert rig.cameras[name].rms_px == pytest.approx(0.08 * np.sqrt(2), rel=0.15)
    assert rig.verdict == "reliable"
    assert rig.reasons == ()
    assert abs(rig.square_error_mm) < 0.02
    assert {(pair["a"], pair["b"]) for pair in rig.pairs} == {
        ("front", "left"),
        ("front", "right"),
        ("left", "right"),
    }


def test_the_reference_camera_is_the_world():
    rig = solve(see(CAMERAS, poses_of(), BOARD, noise_px=0.1))
    np.testing.assert_array_equal(rig.cameras["front"].R, np.eye(3))
    np.testing.assert_array_equal(rig.cameras["front"].t_mm, 0)
    assert all(np.linalg.det(camera.R) == pytest.approx(1.0) for camera in rig.cameras.values())


def test_boards_turned_round_in_one_camera_are_turned_back():
    sights = see(CAMERAS, poses_of(), BOARD, noise_px=0.05)
    for index in (2, 5, 9):
        one = sights["left"][index]
        sights["left"][index] = replace(
            one, corners_px=one.corners_px[::-1], is_dark_first=not one.is_dark_first
        )
    rig = solve(sights)
    assert rig.cameras["left"].refused == []
    assert compare(rig.cameras["left"], CAMERAS["left"])[2] < 0.8


def test_boards_whose_colours_tell_nothing_are_turned_back_by_their_place():
    board = Checkerboard(columns=8, rows=6)
    sights = see(CAMERAS, poses_of(board=board), board, noise_px=0.05)
    for index in (2, 5, 9):
        sights["right"][index] = replace(
            sights["right"][index], corners_px=sights["right"][index].corners_px[::-1]
        )
    rig = solve(sights, board)
    assert rig.cameras["right"].refused == []
    assert compare(rig.cameras["right"], CAMERAS["right"])[2] < 0.8


def test_no_flip_remains_in_a_thousand_boards():
    rng = np.random.default_rng(11)
    poses = []
    for pose in random_poses(BOARD, 340, rng):
        turn = rng.uniform(0, 2 * np.pi)
        spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        middle = pose[0] @ [100, 62.5, 0] + pose[1]
        R = pose[0] @ spin
        poses.append((R, middle - R @ [100, 62.5, 0]))
    sights = align_colours(see(CAMERAS, poses, BOARD), ["front", "left", "right"])
    n_flipped = 0
    for rest in range(len(poses)):
        is_turned = [
            bool(np.linalg.norm(_corners(sights[name][rest])[0] - _first(camera, poses[rest])) > 1)
            for name, camera in CAMERAS.items()
        ]
        n_flipped += len(set(is_turned)) > 1
    assert sum(map(len, sights.values())) == 1020
    assert n_flipped == 0


def _corners(sight: Sight) -> np.ndarray:
    assert sight.corners_px is not None
    return sight.corners_px


def _first(camera: Camera, pose: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return camera.project(pose[1][None])[0]


def test_a_view_that_contradicts_the_others_is_refused_with_a_reason():
    sights = see(CAMERAS, poses_of(), BOARD, noise_px=0.05)
    sights["right"][3] = replace(
        sights["right"][3], corners_px=sights["right"][3].corners_px + np.array([6.0, 2.0])
    )
    rig = solve(sights)
    refused = rig.cameras["right"].refused
    assert [one["time_s"] for one in refused] == [sights["right"][3].time_s]
    assert "contradicts" in refused[0]["reason"]
    assert compare(rig.cameras["right"], CAMERAS["right"])[2] < 0.8


def test_a_moving_board_serves_its_camera_but_no_pair():
    sights = see(CAMERAS, poses_of(), BOARD, noise_px=0.05)
    for index in range(4):
        one = sights["left"][index]
        sights["left"][index] = replace(one, corners_px=one.corners_px + np.array([5.0, 0.0]), shake_px=4.0)
    rig = solve(sights)
    frames = {(pair["a"], pair["b"]): pair["frames"] for pair in rig.pairs}
    assert frames["front", "left"] == 10
    assert frames["front", "right"] == 14
    assert len(rig.cameras["left"].used) == 14


def test_a_board_that_stays_where_it_was_counts_once():
    poses = poses_of()
    rig = solve(see(CAMERAS, [*poses, poses[-1]], BOARD, noise_px=0.03))
    assert len(rig.cameras["front"].used) == 14
    assert "had not moved" in rig.cameras["front"].refused[0]["reason"]


def test_a_mirrored_camera_is_named():
    sights = see(CAMERAS, poses_of(), BOARD, noise_px=0.05)
    width = SIZES["left"][0]
    sights["left"] = [
        replace(one, corners_px=normalise_order(one.corners_px * [-1, 1] + [width - 1, 0], BOARD))
        for one in sights["left"]
    ]
    with pytest.raises(CalibrationError, match="mirrored") as caught:
        solve(sights)
    assert "left" in str(caught.value)


def test_cameras_that_share_nothing_with_the_reference_are_placed_through_another():
    sights = see(CAMERAS, poses_of(count=20), BOARD, noise_px=0.05)
    for index in range(20):
        hidden = "right" if index < 10 else "front"
        sights[hidden][index] = replace(sights[hidden][index], corners_px=None, reason="no board found")
    rig = solve(sights)
    assert all(compare(rig.cameras[name], CAMERAS[name])[2] < 2.0 for name in CAMERAS)
    assert {(pair["a"], pair["b"]) for pair in rig.pairs} == {("front", "left"), ("left", "right")}


def test_a_camera_that_shares_nothing_with_any_other_is_named():
    sights = see(CAMERAS, poses_of(count=20), BOARD)
    for index in range(20):
        for name in CAMERAS:
            if (name == "right") == (index < 10):
                sights[name][index] = replace(sights[name][index], corners_px=None, reason="no board found")
    with pytest.raises(CalibrationError, match=r"Camera right.*in 0 places"):
        solve(sights)


def test_a_camera_that_was_moved_halfway_is_named():
    poses = poses_of(count=16)
    sights = see(CAMERAS, poses, BOARD, noise_px=0.05)
    moved = replace(CAMERAS["right"], t_mm=CAMERAS["right"].t_mm + np.array([60.0, 25.0, 10.0]))
    sights["right"][8:] = see({"right": moved}, poses, BOARD, noise_px=0.05)["right"][8:]
    rig = solve(sights)
    assert rig.verdict == "check"
    assert any("Camera right" in reason and "moved" in reason for reason in rig.reasons)
    refused = {one["time_s"] for one in rig.cameras["right"].refused}
    before, after = ({one.time_s for one in sights["right"][part]} for part in (slice(8), slice(8, None)))
    assert refused in (before, after)


def test_a_moved_camera_is_named_however_often_it_saw_the_board_alone():
    poses = poses_of(count=22)
    sights = see(CAMERAS, poses, BOARD, noise_px=0.05)
    moved = replace(CAMERAS["right"], t_mm=CAMERAS["right"].t_mm + np.array([60.0, 25.0, 10.0]))
    sights["right"][6:9] = see({"right": moved}, poses, BOARD, noise_px=0.05)["right"][6:9]
    for name in ("front", "left"):  # from the tenth place on the right camera is alone with the board
        sights[name] = [
            replace(one, corners_px=None, reason="no board found") if index >= 9 else one
            for index, one in enumerate(sights[name])
        ]
    rig = solve(sights)
    assert any("Camera right: 3 of 9 places" in reason and "moved" in reason for reason in rig.reasons)


def test_what_a_camera_saw_is_counted_over_the_picture():
    sights = see(CAMERAS, poses_of(), BOARD, noise_px=0.05)
    rig = solve(sights)
    for camera in rig.cameras.values():
        grid = np.array(camera.coverage)
        assert grid.shape == (9, 16)
        assert grid.sum() == 54 * len(camera.used)
    first = _corners(sights["front"][0])
    alone = np.array(count_corners([first], (1280, 720)))
    for row, column in ((4, 7), (5, 8), (3, 6)):
        inside = (first // 80 == [column, row]).all(axis=1)
        assert alone[row, column] == inside.sum()
    assert np.array(count_corners([first[:, ::-1]], (720, 1280))).shape == (16, 9)
    assert count_corners([np.array([[-0.4, -0.4], [1279.4, 719.4]])], (1280, 720))[8][15] == 1


def test_a_camera_that_fits_itself_and_nobody_else_has_a_large_error_from_the_others():
    sights = see(CAMERAS, poses_of(), BOARD, np.random.default_rng(1), noise_px=0.08)
    good = solve(sights)
    assert all(0.08 < camera.left_out_px < 0.25 for camera in good.cameras.values())
    rng = np.random.default_rng(2)
    for index, one in enumerate(sights["right"]):  # as where its shutter is late: each place is shifted
        sights["right"][index] = replace(one, corners_px=_corners(one) + rng.normal(0, 0.4, 2))
    bad = solve(sights)
    assert bad.cameras["right"].left_out_px > 3 * good.cameras["right"].left_out_px
    assert bad.cameras["right"].sigma_deg > 2 * good.cameras["right"].sigma_deg


def test_two_cameras_without_a_third_place_the_board_for_each_other_and_one_alone_cannot():
    sights = see(CAMERAS, poses_of(), BOARD, noise_px=0.05)
    two = solve({name: sights[name] for name in ("front", "left")})
    assert all(np.isfinite(camera.left_out_px) for camera in two.cameras.values())
    one = solve({"front": sights["front"]})
    assert np.isnan(one.cameras["front"].left_out_px)
    assert np.isnan(one.scale_sigma)
    assert (one.cameras["front"].sigma_deg, one.cameras["front"].sigma_mm) == (0.0, 0.0)


def test_the_expected_errors_cover_the_true_ones():
    z = []
    for seed in range(3):
        rig = solve(see(CAMERAS, poses_of(seed), BOARD, np.random.default_rng(seed), noise_px=0.1))
        for name in ("left", "right"):
            _, turn_deg, shift_mm = compare(rig.cameras[name], CAMERAS[name])
            camera = rig.cameras[name]
            scale = np.linalg.norm(camera.t_mm) / np.linalg.norm(CAMERAS[name].t_mm) - 1
            z.append((turn_deg / camera.sigma_deg, shift_mm / camera.sigma_mm, scale / rig.scale_sigma))
    rms = np.sqrt(np.mean(np.square(z), axis=0))
    assert (rms > 0.3).all()
    assert (rms < 2.0).all()


def test_takes_of_different_moments_are_refused():
    sights = see(CAMERAS, poses_of(), BOARD)
    sights["left"] = [
        replace(one, rest=other.rest)
        for one, other in zip(sights["left"], [*sights["left"][3:], *sights["left"][:3]], strict=True)
    ]
    with pytest.raises(CalibrationError, match="cameras front and left contradict"):
        solve(sights)


def test_too_few_places_are_an_error_that_names_the_camera():
    sights = see(CAMERAS, poses_of(count=2), BOARD)
    with pytest.raises(CalibrationError, match="Camera front saw the checkerboard in 2 places"):
        solve(sights)


def test_few_places_and_a_board_only_in_the_middle_are_doubtful():
    rng = np.random.default_rng(2)
    poses = [(R, t_mm + np.array([0, 0, 1200.0])) for R, t_mm in random_poses(BOARD, 5, rng)]
    rig = solve(see(CAMERAS, poses, BOARD, rng, noise_px=0.1))
    assert rig.verdict == "check"
    assert any("only 5 places" in reason for reason in rig.reasons)
    assert any("% of the picture" in reason for reason in rig.reasons)


def test_noise_beyond_the_limits_is_doubtful_and_then_failed():
    rng = np.random.default_rng(5)
    assert solve(see(CAMERAS, poses_of(), BOARD, rng, noise_px=0.7)).verdict == "check"
    assert solve(see(CAMERAS, poses_of(), BOARD, rng, noise_px=3.0)).verdict == "failed"


def test_a_board_printed_longer_one_way_is_seen():
    stretched = see(CAMERAS, poses_of(), Checkerboard(square_mm=25.0), noise_px=0.02)
    wide = Checkerboard(square_mm=25.0)
    points_scale = np.array([1.02, 1.0, 1.0])
    for name, camera in CAMERAS.items():
        stretched[name] = [
            replace(
                one,
                corners_px=normalise_order(
                    camera.project(place(board_points(wide) * points_scale, pose)), wide
                ),
            )
            for one, pose in zip(stretched[name], poses_of(), strict=True)
        ]
    rig = solve(stretched)
    assert any("stretched" in reason for reason in rig.reasons)
