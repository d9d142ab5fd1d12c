"""Errors and alignments against scipy, roma and arithmetic by hand."""

import itertools

import numpy as np
import pytest
import roma
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import minimize
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from pipeline.evaluation.alignment import align, align_clip, fit_similarity, subtract_root
from pipeline.evaluation.errors import (
    average,
    average_by_point,
    count_correct,
    measure_acceleration_errors,
    measure_area,
    measure_distances,
    measure_f_scores,
)

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A truth and an estimate that lies turned, shifted, scaled and noisy beside it."""
    random = np.random.default_rng(seed)
    true = random.normal(0, 40, shape)
    turn = Rotation.random(random_state=seed).as_matrix()
    return (
        random.uniform(0.7, 1.4) * true @ turn.T + random.normal(0, 200, 3) + random.normal(0, 8, shape),
        true,
    )


@given(SEEDS)
def test_aligned_residuals_are_those_of_scipys_procrustes(seed: int) -> None:
    estimate, true = draw(seed, (3, 21, 3))
    residual = align(estimate, true) - true
    for frame in range(3):
        _, _, disparity = procrustes(true[frame], estimate[frame])
        size = ((true[frame] - true[frame].mean(axis=0)) ** 2).sum()
        assert (residual[frame] ** 2).sum() == pytest.approx(disparity * size, rel=1e-9)


@given(SEEDS, st.booleans())
def test_similarities_are_those_of_roma(seed: int, with_scale: bool) -> None:
    estimate, true = draw(seed, (4, 21, 3))
    found = fit_similarity(estimate, true, with_scale=with_scale)
    a, b = torch.from_numpy(estimate), torch.from_numpy(true)
    if with_scale:
        R, t, s = roma.rigid_points_registration(a, b, compute_scaling=True)
        np.testing.assert_allclose(found.scale, s.numpy(), rtol=1e-9)
    else:
        R, t = roma.rigid_points_registration(a, b)
        assert (found.scale == 1).all()
    np.testing.assert_allclose(found.rotation, R.numpy(), atol=1e-9)
    np.testing.assert_allclose(found.shift, t.numpy(), atol=1e-6)


def test_no_other_similarity_comes_nearer() -> None:
    estimate, true = draw(5, (1, 21, 3))
    least = (measure_distances(align(estimate, true), true) ** 2).sum()

    def cost(x: np.ndarray) -> float:
        turn = roma.rotvec_to_rotmat(torch.from_numpy(x[:3])).numpy()
        return float((((x[3] * estimate[0] @ turn.T + x[4:]) - true[0]) ** 2).sum())

    found = fit_similarity(estimate, true)
    start = np.concatenate(
        [roma.rotmat_to_rotvec(torch.from_numpy(found.rotation[0])).numpy(), found.scale, found.shift[0]]
    )
    random = np.random.default_rng(0)
    for _ in range(2):
        near = minimize(cost, start * (1 + 0.02 * random.normal(size=7)), method="BFGS")
        assert near.fun >= least * (1 - 1e-9)
        assert near.fun == pytest.approx(least, rel=1e-6)


def test_a_mirrored_hand_fits_exactly_only_where_reflections_are_let_in() -> None:
    true = np.random.default_rng(0).normal(0, 50, (1, 21, 3))
    mirrored = true * [-1, 1, 1]
    assert measure_distances(align(mirrored, true, with_mirror=True), true).max() < 1e-9
    assert measure_distances(align(mirrored, true), true).mean() > 5


@given(SEEDS)
def test_alignment_with_reflections_is_scipys_orthogonal_procrustes(seed: int) -> None:
    estimate, true = draw(seed, (1, 21, 3))
    if seed % 2:
        estimate = estimate * [-1, 1, 1]
    a, b = estimate[0] - estimate[0].mean(axis=0), true[0] - true[0].mean(axis=0)
    turn, size = orthogonal_procrustes(a, b)
    expected = a @ turn * size / (a**2).sum() + true[0].mean(axis=0)
    np.testing.assert_allclose(align(estimate, true, with_mirror=True)[0], expected, atol=1e-8)


def test_a_clip_gets_one_similarity_from_all_frames_or_from_its_first_two() -> None:
    random = np.random.default_rng(2)
    true = random.normal(0, 40, (30, 21, 3))
    turn = Rotation.from_rotvec([0.3, -2.0, 0.7]).as_matrix()
    moved = 1.3 * true @ turn.T + [10, -300, 55]
    for frames in (None, 2, 1):
        assert measure_distances(align_clip(moved, true, frames=frames), true).max() < 1e-9
    drift = moved + np.arange(30)[:, None, None] * np.array([1.3, 0, 0]) @ turn.T  # 1 mm a frame
    by_first = measure_distances(align_clip(drift, true, frames=1), true)
    np.testing.assert_allclose(by_first, np.arange(30)[:, None] * np.ones(21), atol=1e-9)
    by_all = measure_distances(align_clip(drift, true), true).mean()
    assert by_all < 0.6 * by_first.mean()
    assert measure_distances(align_clip(moved, true, with_scale=False), true).mean() > 5


def test_a_clip_begins_where_both_have_a_hand() -> None:
    true = np.random.default_rng(3).normal(0, 40, (10, 21, 3))
    moved = 2 * true + 100
    moved[0] = np.nan
    true_gap = true.copy()
    true_gap[1, 2:] = np.nan  # two joints are not enough
    moved[4:] += [7.0, 0, 0]
    aligned = align_clip(moved, true_gap, frames=2)
    assert measure_distances(aligned, true)[2:4].max() < 1e-9
    np.testing.assert_allclose(measure_distances(aligned, true)[4:], 3.5)
    assert np.isnan(aligned[0]).all()


def test_what_is_missing_is_left_out_and_too_little_is_not_aligned() -> None:
    estimate, true = draw(4, (2, 21, 3))
    estimate[0, 3:] = np.nan
    estimate[1, 2:] = np.nan
    true[0, 0] = np.nan
    assert np.isnan(align(estimate, true)).all()  # two common points a frame
    distances = measure_distances(estimate, true)
    assert np.isfinite(distances).sum() == 4
    assert average(distances) == pytest.approx(np.nanmean(distances))
    assert np.isnan(average(np.full(3, np.nan)))


def test_a_root_that_is_not_there_takes_its_hand_with_it() -> None:
    points = np.random.default_rng(0).normal(size=(2, 21, 3))
    points[1, 0] = np.nan
    rooted = subtract_root(points, points[:, 0])
    assert (rooted[0, 0] == 0).all()
    assert np.isnan(rooted[1]).all()


def test_averages_by_point_weigh_points_alike() -> None:
    distances = np.array([[1.0, 5.0, np.nan], [3.0, np.nan, np.nan]])
    assert average_by_point(distances) == pytest.approx((2 + 5) / 2)
    assert average(distances) == pytest.approx(3.0)


def test_pck_counts_what_was_not_estimated_as_wrong() -> None:
    distances = np.array([[10.0, 20.0, np.nan, 5.0]])
    wanted = np.array([[True, True, True, False]])
    assert count_correct(distances, wanted, 10.0) == pytest.approx(1 / 3)  # 10 mm is within 10 mm
    assert count_correct(distances, wanted, 9.9) == 0
    assert np.isnan(count_correct(distances, ~wanted & False, 10.0))


@given(SEEDS)
def test_auc_is_the_area_worked_out_threshold_by_threshold(seed: int) -> None:
    random = np.random.default_rng(seed)
    distances = random.gamma(2.0, 10.0, (20, 21))
    distances[random.random((20, 21)) < 0.1] = np.nan
    wanted = random.random((20, 21)) < 0.9
    thresholds = np.linspace(0.0, 50.0, 100)
    share = [count_correct(distances, wanted, threshold) for threshold in thresholds]
    area = sum((a + b) / 2 * (50 / 99) for a, b in itertools.pairwise(share)) / 50
    assert measure_area(distances, wanted) == pytest.approx(area, abs=1e-12)


def test_auc_is_one_for_no_error_and_nothing_beyond_the_last_threshold() -> None:
    wanted = np.ones((3, 21), dtype=bool)
    assert measure_area(np.zeros((3, 21)), wanted) == pytest.approx(1.0)
    assert measure_area(np.full((3, 21), 51.0), wanted) == 0


@given(SEEDS)
def test_f_scores_are_those_of_all_distances(seed: int) -> None:
    random = np.random.default_rng(seed)
    true, estimate = random.normal(0, 10, (2, 40, 3)), random.normal(0, 10, (2, 55, 3))
    limits = (2.0, 5.0, 15.0)
    for limit, scores in zip(limits, measure_f_scores(estimate, true, limits).T, strict=True):
        for frame in range(2):
            between = np.linalg.norm(estimate[frame][:, None] - true[frame][None], axis=2)
            precision, recall = (between.min(axis=axis) < limit for axis in (1, 0))
            both = precision.mean() + recall.mean()
            expected = 2 * precision.mean() * recall.mean() / both if both else 0.0
            assert scores[frame] == pytest.approx(expected)
    estimate[1, 0] = np.nan
    assert np.isnan(measure_f_scores(estimate, true, limits)[1]).all()


def test_acceleration_error_is_exact_on_parabolas_at_uneven_times() -> None:
    random = np.random.default_rng(1)
    time_s = np.cumsum(random.uniform(0.012, 0.021, 50))
    true = random.normal(0, 40, (1, 21, 3)) + time_s[:, None, None] * 100.0
    estimate = true + 0.5 * 3000.0 * time_s[:, None, None] ** 2 * np.array([0.6, 0.0, 0.8])  # 3,000 mm/s²
    errors = measure_acceleration_errors(estimate, true, time_s)
    np.testing.assert_allclose(errors[1:-1], 3.0, rtol=1e-6)
    assert np.isnan(errors[[0, -1]]).all()


def test_accelerations_are_not_taken_across_gaps() -> None:
    time_s = np.concatenate([np.arange(10), np.arange(15, 25)]) / 60
    true = np.zeros((20, 21, 3))
    errors = measure_acceleration_errors(true, true, time_s)
    assert np.isnan(errors[[9, 10]]).all()
    assert (errors[[8, 11]] == 0).all()


def test_acceleration_by_frames_is_the_plain_second_difference() -> None:
    true = np.zeros((5, 1, 3))
    estimate = true.copy()
    estimate[2, 0, 1] = 2.0
    errors = measure_acceleration_errors(estimate, true)[:, 0]
    np.testing.assert_allclose(errors[1:-1], [2.0, 4.0, 2.0])
    in_si = measure_acceleration_errors(estimate, true, np.arange(5) / 30)[:, 0]
    np.testing.assert_allclose(in_si[1:-1], errors[1:-1] * 30**2 / 1e3)
    assert np.isnan(measure_acceleration_errors(estimate[:2], true[:2])).all()
