import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.fusion.initial import (
    clean_joints,
    fill_points,
    fill_rotations,
    get_flat_joints,
    guess_from_joints,
    guess_shape,
    median_rotation,
    place_from_one_view,
)
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Pose
from pipeline.fusion.options import FusionOptions


def pose_again(hand, orient, hand_pose, transl) -> np.ndarray:
    return Pose.from_arrays(orient, hand_pose, transl).get_joints(hand).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_the_shape_behind_exact_joints_has_their_bone_lengths(make_take, model, seed):
    take = make_take(seconds=0.5, seed=seed)
    betas = guess_shape(model, take.joints_mm, 60.0, FusionOptions())
    hand = fix_shape(model, betas)
    joints = pose_again(hand, take.global_orient, take.hand_pose, take.transl_mm)
    # The wrist of another shape lies elsewhere under the same translation.
    shift = take.joints_mm[:, :1] - joints[:, :1]
    assert np.linalg.norm(joints + shift - take.joints_mm, axis=2).max() < 0.3


def test_without_any_joint_the_shape_is_the_mean_hand(model):
    assert (guess_shape(model, np.full((5, 21, 3), np.nan), 60.0, FusionOptions()) == 0).all()


@pytest.mark.parametrize("fps", [30.0, 60.0, 240.0])
def test_a_lone_outlier_is_gone_from_the_start_at_any_frame_rate(fps):
    time_s = np.arange(round(fps)) / fps
    smooth = 40 * np.sin(2 * np.pi * time_s)[:, None, None] + np.arange(63.0).reshape(21, 3)
    joints = smooth.copy()
    joints[len(joints) // 2, 8] += 90.0
    joints[len(joints) // 4] = np.nan
    cleaned = clean_joints(time_s, joints, 0.15)
    np.testing.assert_array_equal(np.isnan(cleaned), np.isnan(joints))
    # At the ends only one side has frames: there the median lags by a quarter of the window.
    assert np.nanmax(np.abs(cleaned - smooth)) < 40 * 2 * np.pi * 0.15 / 4


@pytest.mark.parametrize("frames", range(1, 9))
def test_the_start_of_a_short_take_is_measured_where_the_take_is(frames):
    joints = np.random.default_rng(0).normal(size=(frames, 21, 3))
    joints[::3, 5] = np.nan
    cleaned = clean_joints(np.arange(frames) / 60, joints, 0.15)
    np.testing.assert_array_equal(np.isnan(cleaned), np.isnan(joints))


def test_a_hand_that_comes_back_elsewhere_does_not_draw_the_start_of_what_it_did_before():
    time_s = np.r_[np.arange(10), np.arange(15, 25)] / 60  # 83 ms
    joints = np.repeat([0.0, 500.0], 10)[:, None, None] * np.ones((1, 21, 3))
    np.testing.assert_array_equal(clean_joints(time_s, joints, 0.15), joints)


def test_inverse_kinematics_meets_exact_joints(make_take, model):
    take = make_take(seconds=0.3)
    hand = fix_shape(model, take.betas)
    orient, hand_pose, transl = guess_from_joints(hand, take.joints_mm)
    assert np.linalg.norm(pose_again(hand, orient, hand_pose, transl) - take.joints_mm, axis=2).max() < 0.5
    np.testing.assert_allclose(np.linalg.det(hand_pose), 1.0, atol=1e-9)


def test_lost_joints_and_frames_start_from_their_neighbours(make_take, model):
    take = make_take(seconds=0.3)
    hand = fix_shape(model, take.betas)
    joints = take.joints_mm.copy()
    joints[5:8] = np.nan
    joints[10:12, 8] = np.nan
    orient, hand_pose, transl = guess_from_joints(hand, joints)
    error = np.linalg.norm(pose_again(hand, orient, hand_pose, transl) - take.joints_mm, axis=2)
    assert np.isfinite(error).all()
    assert error[5:12].max() < 15.0


def test_one_view_places_the_mean_hand(make_take, model):
    take = make_take(seconds=0.2, cameras=("front",), betas_scale=0.0)
    hand = fix_shape(model, np.zeros(10))
    camera = take.rig.cameras["front"]
    normal = camera.normalise(take.views["front"]["right"].keypoints_px)
    flat = get_flat_joints(hand)
    orient, transl = place_from_one_view(flat, normal)
    assert np.linalg.norm(transl + flat[0] - take.joints_mm[:, 0], axis=1).max() < 10.0
    turned = Rotation.from_matrix(orient.swapaxes(1, 2) @ take.global_orient).magnitude()
    assert turned.max() < 0.1


def test_gaps_are_bridged_and_ends_held():
    points = np.full((5, 3), np.nan)
    points[1], points[3] = [0, 0, 0], [2, 4, 6]
    assert fill_points(points).tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, 3], [2, 4, 6], [2, 4, 6]]
    known = np.array([False, True, False, True, False])
    turns = Rotation.from_rotvec(np.arange(5)[:, None] * [0.0, 0.0, 0.2]).as_matrix()
    filled = Rotation.from_matrix(fill_rotations(np.where(known[:, None, None], turns, np.nan), known))
    np.testing.assert_allclose(filled.as_rotvec()[:, 2], [0.2, 0.2, 0.4, 0.6, 0.6], atol=1e-9)


def test_the_median_of_rotations_ignores_the_one_that_is_far_off():
    turns = Rotation.from_rotvec([[0, 0, 0.2], [0, 0, 0.21], [2.0, 0, 0]]).as_matrix()
    found = Rotation.from_matrix(median_rotation(turns[:, None]))
    assert np.linalg.norm(found.as_rotvec()[0] - [0, 0, 0.2]) < 0.15
    assert np.isnan(median_rotation(np.full((2, 1, 3, 3), np.nan))).all()
