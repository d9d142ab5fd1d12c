"""Errors of the views' points that stay the same in every frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.fusion import fuse as door
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Observations, Pose
from pipeline.fusion.offsets import estimate_offsets, get_offset_sigma
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import minimise
from pipeline.hand.joints import JOINTS
from pipeline.progress import Reporter

TIP = JOINTS.index("index_tip")


def shift_views(take, offset_px, stated_px):
    """The take with offsets (C, 21, 2) on its views' points, of which it states a size."""
    side = take.settings.side
    views = {}
    for name, offset in zip(take.views, offset_px, strict=True):
        track = take.views[name][side]
        views[name] = {
            side: replace(
                track,
                keypoints_px=track.keypoints_px + offset,
                offset_sigma_px=np.full(21, float(stated_px)),
            )
        }
    return replace(take, views=views)


def get_error(hand, take) -> np.ndarray:
    return np.linalg.norm(hand.joints_mm - take.joints_mm, axis=2)


def fit(take, model):
    return take.fuse(model, None, FusionOptions())[take.settings.side]


@pytest.mark.parametrize(("prior_px", "share"), [(0.0, 0.0), (1.0, 0.5), (1e4, 1.0)])
def test_an_offset_is_the_weighted_mean_residual_shrunk_by_what_is_stated(prior_px, share):
    """Two independent frames of 2 px tell as much as a prior of 1 px at half their number's weight."""
    points, found = torch.zeros(1, 4, 21, 2), torch.zeros(1, 4, 21, 2)
    points[:, :, TIP] = torch.tensor([6.0, -2.0])
    points[0, 3, TIP] = 500.0  # without weight
    weights = torch.ones(1, 4, 21)
    weights[0, 3] = 0.0
    seen = Observations(points.double(), torch.full((1, 4, 21), 3**0.5).double(), weights.double())
    offset = estimate_offsets(seen, found.double(), torch.full((1, 21), prior_px).double(), 1.0)
    np.testing.assert_allclose(offset[0, TIP], share * np.array([6.0, -2.0]), rtol=1e-6, atol=1e-12)
    assert offset.abs().sum() == pytest.approx(share * 8.0)


def test_the_stated_sigma_is_how_far_such_offsets_move_the_joints(make_take, model):
    """Against fits of points that are shifted along either axis."""
    take = make_take(seconds=0.15, noise_px=2.0)
    evidence = take.collect()
    hand = fix_shape(model, take.betas)
    start = Pose.from_arrays(take.global_orient, take.hand_pose, take.transl_mm)
    objective = door.make_objective(evidence, hand, start, FusionOptions())
    pose, _, _ = minimise(objective, start, 60, False, Reporter())
    sigma_px = np.zeros((3, 21))
    sigma_px[1, TIP] = 0.5
    moved_mm = []
    for axis in range(2):
        points = objective.seen.keypoints_px.clone()
        points[1, :, TIP, axis] += 0.5
        shifted = replace(objective, seen=replace(objective.seen, keypoints_px=points))
        other, _, _ = minimise(shifted, pose, 60, False, Reporter())
        moved_mm.append((other.get_joints(hand) - pose.get_joints(hand)).numpy())
    wanted = np.sqrt((np.square(moved_mm).sum(axis=0)).mean(axis=-1))
    found = get_offset_sigma(objective, pose, sigma_px)
    assert wanted[:, TIP].min() > 0.01
    np.testing.assert_allclose(found[:, TIP], wanted[:, TIP], rtol=0.15)
    np.testing.assert_allclose(found, wanted, atol=0.1 * wanted.max())


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_view_that_sees_a_joint_beside_it_all_the_time_is_found_and_outvoted(make_take, model, side):
    cameras = ("front", "top", "left", "right")
    take = make_take(seconds=0.3, noise_px=1.0, sigma_px=4.0, cameras=cameras, side=side, same_clock=True)
    offset_px = np.zeros((4, 21, 2))
    offset_px[1, TIP] = [9.0, -6.0]
    before = fit(shift_views(take, offset_px, 0.0), model)
    after = fit(shift_views(take, offset_px, 10.0), model)
    assert before.view_offset_px is None
    found = after.view_offset_px[after.cameras.index("top"), TIP]
    assert (found / offset_px[1, TIP] > 0.2).all()
    assert (found / offset_px[1, TIP] < 1.1).all()
    assert get_error(after, take)[:, TIP].mean() < get_error(before, take)[:, TIP].mean()
    assert np.nanmean(after.residual_px[1, :, TIP]) < np.nanmean(before.residual_px[1, :, TIP])


def test_the_truth_lies_within_two_sigma_though_the_points_are_off_all_the_time(make_take, model):
    stated: list[float] = []
    silent: list[float] = []
    for seed in range(2):
        take = make_take(seconds=0.3, noise_px=2.0, seed=seed)
        offset_px = 8.0 * np.random.default_rng(seed).normal(size=(3, 21, 2))
        for inside, stated_px in ((stated, 8.0), (silent, 0.0)):
            hand = fit(shift_views(take, offset_px, stated_px), model)
            miss = np.abs(hand.joints_mm - take.joints_mm) / hand.joint_sigma_mm[..., None]
            inside.append((miss < 2).mean())
    assert np.mean(silent) < 0.90 < np.mean(stated) < 0.99


def test_of_the_whole_sigma_the_constant_part_grows_with_what_is_stated_and_jitter_does_not(make_take, model):
    take = make_take(seconds=0.3, noise_px=2.0)
    none = np.zeros((3, 21, 2))
    silent, small, large = (fit(shift_views(take, none, stated), model) for stated in (0.0, 1.0, 4.0))
    assert silent.joint_offset_sigma_mm is None
    np.testing.assert_allclose(
        large.joint_offset_sigma_mm, 4 * small.joint_offset_sigma_mm, rtol=0.2, atol=0.1
    )
    assert np.median(large.jitter_sigma_mm / silent.joint_sigma_mm) == pytest.approx(1.0, abs=0.05)
    assert (large.joint_sigma_mm > large.joint_offset_sigma_mm).all()


def test_a_smaller_video_of_a_calibrated_camera_states_in_its_own_pixels(make_take):
    take = make_take(seconds=0.1, same_clock=True)
    track = replace(take.views["left"]["right"], offset_sigma_px=np.full(21, 3.0))
    track = replace(track, size_px=(960, 540), keypoints_px=track.keypoints_px / 2 - 0.25)
    evidence = replace(take, views=take.views | {"left": {"right": track}}).collect()
    np.testing.assert_allclose(evidence.offset_sigma_px[evidence.names.index("left")], 6.0)
    assert (evidence.offset_sigma_px[evidence.names.index("front")] == 0).all()


def test_one_camera_has_nothing_to_hold_its_offsets_against_but_states_them(make_take, model):
    take = make_take(seconds=0.2, cameras=("front",), sigma_px=1.0, betas_scale=0.0)
    hand = fit(shift_views(take, np.zeros((1, 21, 2)), 5.0), model)
    assert hand.view_offset_px is None
    assert hand.joint_offset_sigma_mm.mean() > 1.0
