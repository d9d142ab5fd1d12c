"""The door: takes with known truth in, hands out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.errors import FusionError
from pipeline.fusion.evidence import mirror_camera, triangulate_evidence
from pipeline.fusion.fuse import fuse
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import JOINTS
from pipeline.hand.rotations import mirror_points
from pipeline.progress import Reporter
from pipeline.results import PoseGuess


def get_error(hand, take) -> np.ndarray:
    return np.linalg.norm(hand.joints_mm - take.joints_mm, axis=2)


@pytest.fixture
def work(model):
    def work(take, report=None, **options):
        side = take.settings.side
        return take.fuse(model, report, FusionOptions(**options))[side]

    return work


@pytest.mark.parametrize("seed", [0, 1])
def test_exact_points_between_the_frames_of_three_clocks_give_the_hand_back(make_take, work, seed):
    take = make_take(seconds=0.6, seed=seed)
    hand = work(take)
    assert get_error(hand, take).mean() < 0.1
    assert get_error(hand, take).max() < 0.5
    assert hand.quality.mean() > 0.6
    np.testing.assert_array_equal(hand.time_s, take.time_s)


def test_the_parameters_pose_the_joints_of_the_result(make_take, work, model):
    hand = work(make_take(seconds=0.3, noise_px=2.0))
    _, joints = model.pose_arrays(hand.betas, hand.global_orient, hand.hand_pose, hand.transl_mm)
    np.testing.assert_allclose(joints, hand.joints_mm, atol=1e-3)
    np.testing.assert_allclose(np.linalg.det(hand.hand_pose), 1.0, atol=1e-9)


def test_noisy_points_come_out_better_than_triangulated(make_take, work):
    take = make_take(seconds=0.6, noise_px=6.0)
    hand = work(take)
    joints, _ = triangulate_evidence(take.collect())
    plain = np.linalg.norm(joints - take.joints_mm, axis=2)
    assert get_error(hand, take).mean() < 0.85 * np.nanmean(plain)


@pytest.mark.parametrize("noise_px", [1.0, 4.0])
def test_the_truth_lies_within_two_sigma_as_often_as_it_should(make_take, work, noise_px):
    inside = []
    for seed in range(3):
        take = make_take(seconds=0.5, noise_px=noise_px, seed=seed)
        hand = work(take)
        miss = np.abs(hand.joints_mm - take.joints_mm) / hand.joint_sigma_mm[..., None]
        inside.append((miss < 2).mean())
    assert 0.90 < np.mean(inside) < 0.98


def test_a_left_hand_is_as_good_as_a_right_one_and_lies_where_it_is(make_take, work):
    take = make_take(seconds=0.4, side="left")
    hand = work(take)
    assert get_error(hand, take).max() < 0.5


def test_a_mirrored_take_gives_the_mirrored_hand(make_take, work):
    right = make_take(seconds=0.2, noise_px=2.0, same_clock=True)
    views, cameras = {}, {}
    for name, tracks in right.views.items():
        track, camera = tracks["right"], right.rig.cameras[name]
        points = track.keypoints_px.copy()
        points[..., 0] = camera.size_px[0] - 1 - points[..., 0]
        # What the left camera sees of a left hand, the right one sees of a right hand.
        other = {"left": "right", "right": "left"}.get(name, name)
        views[other] = {"left": replace(track, keypoints_px=points)}
        cameras[other] = mirror_camera(camera)
    left = replace(
        right,
        settings=right.settings.model_copy(update={"side": "left"}),
        views=views,
        rig=replace(right.rig, cameras=cameras),
    )
    np.testing.assert_allclose(work(left).joints_mm, mirror_points(work(right).joints_mm), atol=0.02)


def test_a_single_frame_is_enough(make_take, work):
    take = make_take(seconds=1 / 60, same_clock=True)
    assert get_error(work(take), take).max() < 0.5


def test_two_cameras_are_enough(make_take, work):
    take = make_take(seconds=0.3, cameras=("front", "top"))
    assert get_error(work(take), take).mean() < 0.5


def test_four_cameras_fit_as_well(make_take, work):
    take = make_take(seconds=0.3, cameras=("front", "left", "right", "top"))
    assert get_error(work(take), take).max() < 0.5


def test_one_camera_works_and_says_what_that_costs(make_take, work):
    take = make_take(seconds=0.3, cameras=("front",), sigma_px=1.0, betas_scale=0.0)
    report = Reporter()
    hand = work(take, report)
    assert any("front" in warning and "mean hand" in warning for warning in report.warnings)
    assert hand.quality.max() <= 0.5
    assert get_error(hand, take).mean() < 25.0
    assert hand.joint_sigma_mm.mean() > 1.0


def test_a_view_that_lies_is_outvoted_and_the_quality_says_so(make_take, work):
    take = make_take(seconds=0.4, noise_px=1.0, cameras=("front", "left", "top"), same_clock=True)
    tip = JOINTS.index("index_tip")
    track = take.views["left"]["right"]
    track.keypoints_px[8:20, tip] += [60.0, -40.0]
    hand = work(take)
    lied = get_error(hand, take)[8:20, tip]
    assert lied.mean() < 3.0
    assert hand.quality[8:20, tip].mean() < 0.75 < hand.quality[8:20, tip - 1].mean()


def test_a_joint_that_all_views_bridge_has_no_quality_and_one_that_a_view_measured_has_half(make_take, work):
    take = make_take(seconds=0.5, noise_px=1.0, same_clock=True)
    tip = JOINTS.index("index_tip")
    for tracks in take.views.values():
        tracks["right"].keypoints_px[12:15, tip] = np.nan
    for camera in ("left", "right"):
        take.views[camera]["right"].keypoints_px[20:23, tip] = np.nan
    hand = work(take)
    assert np.isfinite(hand.joints_mm[12:15, tip]).all()
    assert (hand.quality[12:15, tip] == 0).all()
    assert hand.quality[[11, 15], tip].min() > 0.5
    assert 0.2 < hand.quality[20:23, tip].max() <= 0.5
    assert (hand.quality[:, tip - 1] > 0.5).all()


def test_lone_outliers_of_every_joint_and_view_bend_no_finger(make_take, work):
    take = make_take(seconds=0.6, noise_px=1.0)
    rng = np.random.default_rng(3)
    for tracks in take.views.values():
        points = tracks["right"].keypoints_px
        away = rng.normal(size=points.shape)
        away *= 90.0 / np.linalg.norm(away, axis=2, keepdims=True)
        points += np.where(rng.random((*points.shape[:2], 1)) < 0.05, away, 0.0)
    error = get_error(work(take), take)
    assert error.mean() < 1.0
    assert np.quantile(error, 0.99) < 12.0


def test_joints_that_nobody_saw_for_a_moment_are_bridged_with_growing_sigma_and_no_quality(make_take, work):
    take = make_take(seconds=0.5, noise_px=1.0)
    tip = JOINTS.index("index_tip")
    for tracks in take.views.values():
        track = tracks["right"]
        own = take.sync.to_reference_s(next(n for n, v in take.views.items() if v is tracks), track.time_s)
        track.keypoints_px[(own > 0.15) & (own < 0.35), tip] = np.nan
    hand = work(take)
    assert np.isfinite(hand.joints_mm).all()
    assert (hand.quality[12:18, tip] == 0).all()
    assert hand.joint_sigma_mm[15, tip] > 3 * hand.joint_sigma_mm[5, tip]


def test_a_gap_in_which_no_camera_saw_the_hand_is_not_filled(make_take, work):
    take = make_take(seconds=0.7, noise_px=1.0, same_clock=True)
    for tracks in take.views.values():
        tracks["right"].keypoints_px[15:27] = np.nan  # 200 ms
        tracks["right"].keypoints_px[33:35] = np.nan  # 33 ms, bridged by interpolation
    hand = work(take)
    gone = np.zeros(42, dtype=bool)
    gone[15:27] = True
    for part in (hand.joints_mm, hand.joint_sigma_mm, hand.transl_mm, hand.hand_pose, hand.global_orient):
        flat = part.reshape(42, -1)
        assert np.isnan(flat[gone]).all()
        assert np.isfinite(flat[~gone]).all()
    assert (hand.quality[gone] == 0).all()


def test_a_tremor_of_7_hz_keeps_its_size_and_phase(make_take, work, model):
    take = make_take(seconds=1.0, noise_px=0.0, same_clock=True)
    shake = np.sin(2 * np.pi * 7 * take.time_s)
    transl = take.transl_mm[:1] + np.outer(shake, [1.0, 0, 0])
    orient = np.repeat(take.global_orient[:1], 60, axis=0)
    pose = np.repeat(take.hand_pose[:1], 60, axis=0)
    joints = model.pose_arrays(take.betas, orient, pose, transl)[1].astype(float)
    rng = np.random.default_rng(0)
    for name, tracks in take.views.items():
        track = tracks["right"]
        pixels = take.rig.cameras[name].project(joints)
        track.keypoints_px[:] = pixels + rng.normal(size=pixels.shape)
        track.sigma_px[:] = 20.0  # an estimator that trusts itself little must not be smoothed away
    hand = work(take)
    wrist = hand.joints_mm[:, :, 0].mean(axis=1)
    wave = np.exp(-2j * np.pi * 7 * take.time_s)
    gain = (wrist * wave).sum() / (shake * wave).sum()
    assert 0.8 < abs(gain) < 1.05
    assert abs(np.angle(gain)) / (2 * np.pi * 7) < 0.001


def test_a_dystonic_pose_is_not_drawn_to_the_middle(make_take, work, model):
    """Index curled with the middle stretched beyond straight, before three noisy views."""
    take = make_take(seconds=0.4, same_clock=True)
    from pipeline.hand.joints import MANO_POSE_JOINTS

    pose = take.hand_pose.copy()
    for number, name in enumerate(MANO_POSE_JOINTS):
        bend = {"index": 1.5, "middle": -0.4}.get(name.split("_")[0])
        if bend is not None:
            pose[:, number] = Rotation.from_rotvec([0, 0, bend]).as_matrix()
    joints = model.pose_arrays(take.betas, take.global_orient, pose, take.transl_mm)[1].astype(float)
    rng = np.random.default_rng(1)
    for name, tracks in take.views.items():
        pixels = take.rig.cameras[name].project(joints)
        tracks["right"].keypoints_px[:] = pixels + 2 * rng.normal(size=pixels.shape)
        tracks["right"].sigma_px[:] = 2.0
    hand = work(take)
    tips = [JOINTS.index("index_tip"), JOINTS.index("middle_tip")]
    bias = np.linalg.norm((hand.joints_mm - joints)[:, tips].mean(axis=0), axis=1)
    assert bias.max() < 2.5


def test_pictures_of_another_size_than_the_calibrations_are_brought_to_it(make_take, work):
    take = make_take(seconds=0.3)
    for tracks in take.views.values():
        track = tracks["right"]
        tracks["right"] = replace(
            track, keypoints_px=(track.keypoints_px + 0.5) / 1.5 - 0.5, sigma_px=track.sigma_px / 1.5,
            size_px=(1280, 720),
        )  # fmt: skip
    assert get_error(work(take), take).max() < 0.5


def test_an_estimators_own_pose_is_where_the_fit_starts(make_take, work):
    take = make_take(seconds=0.3, noise_px=1.0)
    rng = np.random.default_rng(2)
    for name, tracks in take.views.items():
        track, camera = tracks["right"], take.rig.cameras[name]
        near = np.abs(np.subtract.outer(take.sync.to_reference_s(name, track.time_s), take.time_s)).argmin(
            axis=1
        )
        jitter = Rotation.from_rotvec(0.1 * rng.normal(size=(len(near) * 15, 3))).as_matrix()
        tracks["right"] = replace(
            track,
            guess=PoseGuess(
                take.betas + 0.3 * rng.normal(size=(len(near), 10)),
                camera.R @ take.global_orient[near],
                take.hand_pose[near] @ jitter.reshape(-1, 15, 3, 3),
            ),
        )
    hand = work(take)
    assert np.abs(hand.betas - take.betas).max() < 0.2
    assert get_error(hand, take).mean() < 1.0


@pytest.mark.parametrize("side", ["right", "left"])
def test_one_camera_starts_from_its_estimators_own_pose(make_take, work, side):
    take = make_take(seconds=0.3, cameras=("front",), noise_px=1.0, betas_scale=0.0, side=side)
    blind = get_error(work(take), take).mean()
    track = take.views["front"][side]
    guess = PoseGuess(np.zeros((len(track.time_s), 10)), take.global_orient, take.hand_pose)
    take.views["front"][side] = replace(track, guess=guess)
    assert get_error(work(take), take).mean() < min(0.8 * blind, 5.0)


def test_a_hand_that_no_camera_saw_is_an_error_that_names_side_and_cameras(make_take, work):
    take = make_take(seconds=0.2)
    for tracks in take.views.values():
        tracks["right"].keypoints_px[:] = np.nan
    with pytest.raises(FusionError, match=r"right hand .*front, left, right"):
        work(take)


def test_a_hand_never_seen_by_two_cameras_at_once_is_an_error_that_names_them(make_take, work):
    take = make_take(seconds=0.4, same_clock=True)
    for number, tracks in enumerate(take.views.values()):
        keep = np.arange(24) // 8 == number
        tracks["right"].keypoints_px[~keep] = np.nan
    with pytest.raises(FusionError, match="two cameras at once"):
        work(take)


def test_fingertips_alone_do_not_place_a_hand_and_that_is_said(make_take, work):
    take = make_take(seconds=0.2)
    for tracks in take.views.values():
        tracks["right"].keypoints_px[:, [joint for joint in range(21) if joint not in (8, 12)]] = np.nan
    with pytest.raises(FusionError, match="wrist nor the palm"):
        work(take)


def test_a_camera_without_calibration_is_named(make_take, work):
    take = make_take(seconds=0.2)
    del take.rig.cameras["left"]
    with pytest.raises(FusionError, match="Camera left has no calibration"):
        work(take)


def test_a_camera_without_a_clock_is_named(make_take, work):
    take = make_take(seconds=0.2)
    del take.sync.cameras["right"]
    with pytest.raises(FusionError, match="clock of camera right"):
        work(take)


def test_a_missing_reference_camera_is_named(make_take, work):
    take = make_take(seconds=0.2)
    del take.views["front"]
    with pytest.raises(FusionError, match="reference camera front"):
        work(take)


def drop_frames(track):
    parts = ("time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score")
    return replace(track, **{part: getattr(track, part)[:0] for part in parts})


def test_a_reference_camera_without_frames_is_named(make_take, work):
    take = make_take(seconds=0.2)
    take.views["front"]["right"] = drop_frames(take.views["front"]["right"])
    with pytest.raises(FusionError, match="reference camera front"):
        work(take)


def test_another_camera_without_frames_takes_nothing_away(make_take, work):
    take = make_take(seconds=0.3, noise_px=1.0)
    guess = PoseGuess(np.empty((0, 10)), np.empty((0, 3, 3)), np.empty((0, 15, 3, 3)))
    take.views["left"]["right"] = replace(drop_frames(take.views["left"]["right"]), guess=guess)
    hand = work(take)
    assert get_error(hand, take).mean() < 1.0
    assert set(hand.view_state[1]) == {"not filming"}


def test_an_estimators_pose_at_another_time_is_that_of_the_nearest_frame(make_take):
    take = make_take(seconds=0.2, cameras=("front", "left"))
    track = take.views["left"]["right"]
    numbers = np.arange(len(track.time_s), dtype=float)
    guess = PoseGuess(
        np.repeat(numbers[:, None], 10, axis=1),
        np.tile(np.eye(3), (len(numbers), 1, 1)),
        np.tile(np.eye(3), (len(numbers), 15, 1, 1)),
    )
    take.views["left"]["right"] = replace(track, guess=guess)
    found = take.collect().guesses[1].betas[:, 0]
    away_s = np.abs(np.subtract.outer(take.sync.from_reference_s("left", take.time_s), track.time_s))
    np.testing.assert_array_equal(found, away_s.argmin(axis=1))


def test_a_picture_of_another_shape_than_the_calibrations_is_refused(make_take, work):
    take = make_take(seconds=0.2)
    take.views["left"]["right"] = replace(take.views["left"]["right"], size_px=(1080, 1920))
    with pytest.raises(FusionError, match="Camera left was calibrated at 1920x1080"):
        work(take)


def test_of_two_hands_the_one_that_was_seen_is_fused_and_the_other_named(make_take, model):
    take = make_take(seconds=0.2)
    for tracks in take.views.values():
        seen = tracks["right"]
        tracks["left"] = replace(seen, keypoints_px=np.full_like(seen.keypoints_px, np.nan))
    settings = take.settings.model_copy(update={"side": "both"})
    report = Reporter()
    hands = fuse(settings, take.sync, take.rig, take.views, model, report)
    assert list(hands) == ["right"]
    assert any("left hand" in warning for warning in report.warnings)
