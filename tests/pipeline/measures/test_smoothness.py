from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.smoothness import compute_ldlj, compute_sparc, measure_windows

TIME_S = np.arange(-1, 1, 0.01)
BELL = np.exp(-5 * TIME_S**2)


def test_sparc_has_its_published_value():
    assert compute_sparc(BELL, 100.0) == pytest.approx(-1.41403, abs=1e-4)


def test_ldlj_has_its_published_value():
    assert compute_ldlj(BELL, 100.0) == pytest.approx(-5.81636, abs=1e-4)


@given(st.floats(1e-3, 1e3))
def test_smoothness_does_not_depend_on_the_size_of_the_movement(scale):
    assert compute_sparc(scale * BELL, 100.0) == pytest.approx(compute_sparc(BELL, 100.0), rel=1e-9)
    assert compute_ldlj(scale * BELL, 100.0) == pytest.approx(compute_ldlj(BELL, 100.0), rel=1e-9)


def test_a_broken_movement_is_less_smooth():
    broken = BELL + np.roll(BELL, 60)
    assert compute_sparc(broken, 100.0) < compute_sparc(BELL, 100.0)


def test_stillness_has_no_smoothness():
    assert np.isnan(compute_sparc(np.zeros(100), 60.0))
    assert np.isnan(compute_ldlj(np.zeros(100), 60.0))


def test_the_windowed_median_does_not_drift_with_length():
    random = np.random.default_rng(0)
    waves = [(random.uniform(0.3, 4), random.uniform(0, 6)) for _ in range(60)]
    time_s = np.arange(180 * 60) / 60
    speed = np.abs(sum(np.sin(2 * np.pi * f * time_s + p) for f, p in waves))[:, None]
    medians = [
        np.nanmedian(measure_windows(speed[: s * 60], 0 * speed[: s * 60], 60.0)) for s in (20, 60, 180)
    ]
    np.testing.assert_allclose(medians, medians[-1], rtol=0.05)


def test_windows_with_a_gap_or_with_noise_alone_are_left_out():
    speed = np.tile(np.concatenate([BELL, BELL])[:, None], (1, 2))
    speed[50, 0] = np.nan
    noise = np.full_like(speed, 0.01)
    noise[:, 1] = 1.0
    found = measure_windows(speed, noise, 100.0)
    assert np.isnan(found[0, 0])
    assert np.isfinite(found[1, 0])
    assert np.isnan(found[:, 1]).all()


def test_both_measures_come_from_the_same_windows():
    time_s = np.arange(600) / 60
    speed = np.abs(np.sin(2 * np.pi * time_s[:, None] * np.array([[1.0, 3.0]])))
    speed[150, 1] = np.nan
    windows = [measure_windows(speed, 0 * speed, 60.0, measure) for measure in (compute_sparc, compute_ldlj)]
    assert windows[0].shape == windows[1].shape == (5, 2)
    assert np.array_equal(np.isnan(windows[0]), np.isnan(windows[1]))
    assert windows[1][0, 0] == pytest.approx(compute_ldlj(speed[:120, 0], 60.0))
    assert np.isnan(windows[1][1, 1])
