"""The smoother on paths whose truth is known, and the response against the response that a fit shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.fusion.evidence import triangulate_evidence
from pipeline.fusion.fuse import make_objective
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Pose
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.smoothing import lessen_sigma, make_smoother, measure_response
from pipeline.fusion.solver import minimise, solve
from pipeline.fusion.start import make_guess
from pipeline.progress import Reporter

OPTIONS = FusionOptions()


def make_times(seconds: float, fps: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    time_s = np.arange(round(seconds * fps)) / fps
    return time_s, np.zeros(len(time_s), dtype=bool)


def smooth(pose: Pose, time_s: np.ndarray, lost: np.ndarray, noise_mm: float) -> Pose:
    """The pose smoothed as points of such noise want it."""
    smoother = make_smoother(time_s, lost, noise_mm, OPTIONS)
    assert smoother is not None
    return smoother.smooth(pose)


def make_pose(transl_mm: np.ndarray, turn_rad: np.ndarray) -> Pose:
    """A hand on the way, whose every joint turns likewise about an axis of its own."""
    axes = np.random.default_rng(0).normal(size=(16, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    base = Rotation.from_rotvec(axes[::-1])
    turns = np.stack([(base * Rotation.from_rotvec(angle * axes)).as_matrix() for angle in turn_rad])
    return Pose.from_arrays(turns[:, 0], turns[:, 1:], transl_mm)


@pytest.mark.parametrize("fps", [30.0, 60.0, 120.0, 240.0])
def test_a_tremor_keeps_its_stated_share_and_its_phase_at_any_frame_rate(fps):
    time_s, lost = make_times(2.0, fps)
    shake = np.sin(2 * np.pi * 7 * time_s)
    pose = make_pose(np.outer(shake, [1.0, 0.5, 0.0]), 0.05 * shake)
    found = smooth(pose, time_s, lost, 1e6)
    wave = np.exp(-2j * np.pi * 7 * time_s)
    still = make_pose(np.zeros((len(time_s), 3)), np.zeros(len(time_s)))
    turns = still.to_matrices()[1].mT @ found.to_matrices()[1]
    # Of a small turn the antisymmetric part is the turn itself.
    turned = (turns - turns.mT).flatten(2).norm(dim=2) / 8**0.5
    signed = turned[:, 0].numpy() * np.sign(np.sin(2 * np.pi * 7 * time_s))
    for path, size in ((found.transl_mm[:, 0].numpy(), 1.0), (signed, 0.05)):
        gain = (path * wave).sum() / (size * shake * wave).sum()
        assert abs(gain) == pytest.approx(OPTIONS.smooth_gain, abs=0.02)
        assert abs(np.angle(gain)) / (2 * np.pi * 7) < 0.0005


def test_noise_goes_and_steady_motion_stays():
    time_s, lost = make_times(2.0)
    rng = np.random.default_rng(1)
    steady = make_pose(np.outer(time_s, [100.0, 20.0, 0.0]), 2.0 * time_s)
    straight = smooth(steady, time_s, lost, 1e6)
    for kept, found in zip(steady.to_matrices(), straight.to_matrices(), strict=True):
        torch.testing.assert_close(found, kept, atol=1e-6, rtol=0)
    noise = 0.01 * rng.normal(size=len(time_s))
    noisy = make_pose(np.outer(time_s, [100.0, 20.0, 0.0]) + rng.normal(size=(120, 3)), 2 * time_s + noise)
    quiet = smooth(noisy, time_s, lost, 1e6)
    for kept, found, rough in zip(
        steady.to_matrices(), quiet.to_matrices(), noisy.to_matrices(), strict=True
    ):
        # A third of the frequencies pass, and 0.55 of the amplitude of white noise.
        assert (found - kept).norm() < 0.7 * (rough - kept).norm()
        assert (found - kept).diff(2, dim=0).norm() < 0.2 * (rough - kept).diff(2, dim=0).norm()


def test_frames_that_come_unevenly_do_not_bend_a_straight_path():
    rng = np.random.default_rng(2)
    time_s = np.cumsum(rng.uniform(0.01, 0.03, size=60))
    pose = make_pose(np.outer(time_s, [300.0, 0.0, 0.0]), np.zeros(60))
    found = smooth(pose, time_s, np.zeros(60, dtype=bool), 1e6)
    torch.testing.assert_close(found.transl_mm, pose.transl_mm, atol=1e-6, rtol=0)


def test_sigma_knows_what_smoothing_took_out_of_the_noise_and_not_what_it_took_of_a_stroke():
    time_s, lost = make_times(10.0)
    smoother = make_smoother(time_s, lost, 1e6, OPTIONS)
    assert smoother is not None
    noise = np.random.default_rng(3).normal(size=(600, 21, 3))
    stroke = np.where(np.abs(np.arange(600) - 300) < 2, 30.0, 0.0)[:, None, None]
    fitted = noise + stroke
    smoothed = smoother.filter(fitted.reshape(600, -1)).reshape(fitted.shape)
    sigma = lessen_sigma(np.ones((600, 21)), fitted, smoothed, smoother)
    error = smoother.filter(noise.reshape(600, -1)).std()
    assert error < sigma.mean() < 1.4 * error
    assert sigma[300] == pytest.approx(sigma[100])


def test_sigma_stays_where_the_error_is_slow():
    time_s, lost = make_times(10.0)
    smoother = make_smoother(time_s, lost, 1e6, OPTIONS)
    assert smoother is not None
    slow = np.cumsum(np.random.default_rng(4).normal(size=(600, 21, 3)), axis=0) / 10
    smoothed = smoother.filter(slow.reshape(600, -1)).reshape(slow.shape)
    sigma = lessen_sigma(np.ones((600, 21)), slow, smoothed, smoother)
    assert (sigma > 0.98).all()


def test_nothing_is_smoothed_across_a_long_gap():
    time_s, lost = make_times(1.0)
    lost[25:40] = True
    place = np.where(np.arange(60) < 30, 0.0, 500.0)
    pose = make_pose(np.outer(place, [1.0, 0.0, 0.0]), np.zeros(60))
    found = smooth(pose, time_s, lost, 1e6)
    torch.testing.assert_close(found.transl_mm, pose.transl_mm, atol=1e-9, rtol=0)


def test_sharp_points_are_left_as_they_are():
    time_s, lost = make_times(1.0)
    place = 5 * np.sin(2 * np.pi * 4 * time_s)
    pose = make_pose(np.outer(place, [1.0, 0.0, 0.0]), np.zeros(60))
    found = smooth(pose, time_s, lost, 0.01)
    assert (found.transl_mm - pose.transl_mm).abs().max() < 0.01


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_short_takes_pass(frames):
    time_s, lost = np.arange(frames) / 60, np.zeros(frames, dtype=bool)
    smoother = make_smoother(time_s, lost, 1e6, OPTIONS)
    assert (smoother is None) == (frames < 3)
    if smoother is not None:
        pose = make_pose(np.outer(np.arange(frames), np.ones(3)), np.zeros(frames))
        torch.testing.assert_close(smoother.smooth(pose).transl_mm, pose.transl_mm, atol=1e-6, rtol=0)


@pytest.fixture
def fit(make_take, model):
    """A fit to noisy points, whose temporal term is strong enough to be seen."""
    take = make_take(seconds=1.1, noise_px=3.0, same_clock=True)
    evidence = take.collect()
    options = replace(OPTIONS, tremor_gain=0.8, surface_speed_m_s=0.01)
    guess = make_guess(evidence, triangulate_evidence(evidence, options)[0], model, options)
    hand = fix_shape(model, guess.betas)
    start = Pose.from_arrays(guess.global_orient, guess.hand_pose, guess.transl_mm)
    solution = solve(make_objective(evidence, hand, start, options), start, options, Reporter())
    return evidence, hand, solution, options


def test_the_response_is_the_one_that_shaken_points_get(fit):
    evidence, hand, solution, options = fit
    objective, pose, time_s = solution.objective, solution.pose, evidence.time_s
    lost = np.zeros(len(time_s), dtype=bool)
    smoother = make_smoother(time_s, lost, 1.0, options)
    response = measure_response(objective, pose, smoother, time_s, lost)
    assert smoother is not None
    assert response is not None
    assert (np.diff(response.gain) < 0).all()
    hertz, height = response.hertz[5], 0.5 * np.ones(3)
    shake = np.sin(2 * np.pi * hertz * time_s)
    joints = pose.get_joints(hand).numpy()
    added = [c.project(joints + shake[:, None, None] * height) - c.project(joints) for c in evidence.cameras]
    points = objective.seen.keypoints_px + torch.as_tensor(np.stack(added))
    shaken = replace(objective, seen=replace(objective.seen, keypoints_px=points))
    found = minimise(shaken, pose, 30, False, Reporter())[0].get_joints(hand).numpy()
    change = smoother.filter((found - joints).mean(axis=1)) @ height / (height @ height)
    wave = np.exp(-2j * np.pi * hertz * time_s)
    gain = abs((change * wave).sum() / (shake * wave).sum())
    assert gain == pytest.approx(response.gain[0, 5], abs=0.05)


def test_the_bandwidth_is_where_half_the_power_is_left_and_half_the_frame_rate_for_sharp_points(fit):
    evidence, _, solution, options = fit
    lost = np.zeros(len(evidence.time_s), dtype=bool)
    wide = replace(solution.objective, lambda_temp=0.0)
    sharp = measure_response(wide, solution.pose, None, evidence.time_s, lost)
    assert sharp is not None
    np.testing.assert_allclose(sharp.bandwidth_hz, 30.0)
    smoother = make_smoother(evidence.time_s, lost, 1e6, options)
    response = measure_response(wide, solution.pose, smoother, evidence.time_s, lost)
    assert smoother is not None
    assert response is not None
    slowness = np.sqrt((1 / 0.5**0.5 - 1) / smoother.strength)
    wanted = np.arccos(1 - slowness / 2) * 60 / (2 * np.pi)
    np.testing.assert_allclose(response.bandwidth_hz, wanted, rtol=0.05)


def test_a_finger_that_nobody_sees_says_nothing_of_the_bandwidth(fit):
    evidence, _, solution, options = fit
    lost = np.zeros(len(evidence.time_s), dtype=bool)
    smoother = make_smoother(evidence.time_s, lost, 1.0, options)
    weights = solution.objective.seen.weights.clone()
    weights[:, :, 17:] = 0.0
    hidden = solution.objective.with_weights(weights)
    seen, unseen = (
        measure_response(objective, solution.pose, smoother, evidence.time_s, lost)
        for objective in (solution.objective, hidden)
    )
    assert seen is not None
    assert unseen is not None
    np.testing.assert_allclose(unseen.gain[1], seen.gain[1], atol=0.03)
