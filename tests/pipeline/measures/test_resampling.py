from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from pipeline.measures.resampling import _draw_quantiles, bound_mean, bound_quantile, draw_blocks


def walk(seed, frames=3600, keep=0.95):
    """A series whose neighbours are alike: (T,), mean and median 0, variance 1."""
    pushes = np.random.default_rng(seed).normal(0, np.sqrt(1 - keep**2), frames)
    return lfilter([1.0], [1.0, -keep], pushes)


def test_intervals_hold_the_truth_about_as_often_as_they_say_though_frames_are_alike():
    draws = draw_blocks(3600, 60.0)
    hits = {"mean": 0, "median": 0}
    for seed in range(60):
        series = walk(seed)
        mean = bound_mean(series, draws, float(series.mean()))
        median = bound_quantile(series, draws, 0.5, float(np.median(series)))
        hits["mean"] += mean.low <= 0 <= mean.high
        hits["median"] += median.low <= 0 <= median.high
    assert min(hits.values()) / 60 > 0.8


def test_the_standard_error_is_several_times_that_of_independent_frames():
    series = walk(1)
    found = bound_mean(series, draw_blocks(3600, 60.0), float(series.mean()))
    assert found.standard_error > 3 * series.std() / np.sqrt(3600)


def test_equal_recordings_have_equal_intervals():
    series = walk(2)
    one, two = (bound_quantile(series, draw_blocks(3600, 60.0), 0.95, 1.5) for _ in range(2))
    assert one == two


def test_a_recording_under_four_seconds_has_no_interval():
    found = bound_mean(walk(3, 200), draw_blocks(200, 60.0), 0.0)
    assert np.isnan([found.low, found.high, found.standard_error]).all()


def test_missing_frames_are_left_out_and_a_root_mean_square_can_be_bounded():
    series = walk(4) ** 2
    series[::5] = np.nan
    value = float(np.sqrt(np.nanmean(series)))
    found = bound_mean(series, draw_blocks(3600, 60.0), value, "sqrt")
    assert found.low < value < found.high
    assert found.high - found.low < value


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_quantiles_of_several_series_together_are_those_of_all_values(share):
    values = np.stack([walk(5), walk(6) + 1], axis=1)
    value = float(np.quantile(values, share))
    found = bound_quantile(values, draw_blocks(3600, 60.0), share, value)
    assert found.low < value < found.high


@given(st.integers(0, 1000), st.integers(1, 300), st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
def test_quantiles_of_draws_are_those_of_counting_one_by_one(seed, size, share):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 4, (7, 40)).astype(np.float32)
    counts[:, 0] += 1
    ordered, sample = np.sort(random.normal(size=size).round(1)), random.integers(0, 40, size)
    sample[random.integers(size)] = 0  # no draw is without any value
    running = np.cumsum(counts[:, sample], axis=1)
    plain = ordered[(running >= share * running[:, -1:]).argmax(axis=1)]
    assert (_draw_quantiles(counts, sample, ordered, share) == plain).all()
