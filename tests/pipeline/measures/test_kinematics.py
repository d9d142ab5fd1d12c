from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_coeffs

from pipeline.errors import MeasureError
from pipeline.measures.kinematics import (
    ACCELERATION_WINDOW_S,
    JERK_WINDOW_S,
    compute_kinematics,
    make_grid,
    make_kernel,
)
from pipeline.measures.scores import find_brisk_events


def moving_points(time_s, joints=2, scale=1.0, seed=0):
    """Smooth movement under 4 Hz, (T, J, 3) in mm."""
    random = np.random.default_rng(seed)
    rate = random.uniform(0.5, 4.0, (6, joints, 3))
    phase = random.uniform(0, 2 * np.pi, (6, joints, 3))
    angle = 2 * np.pi * time_s[:, None, None, None] * rate + phase
    return scale * 8.0 * np.sin(angle).sum(axis=1)


def run(time_s, joints_mm, sigma_mm=0.1):
    return compute_kinematics(time_s, joints_mm, np.full(joints_mm.shape[:2], sigma_mm))


@pytest.mark.parametrize(
    ("frames", "order", "derivative", "window_s"),
    [(11, 4, 2, ACCELERATION_WINDOW_S), (11, 4, 1, ACCELERATION_WINDOW_S), (15, 5, 3, JERK_WINDOW_S)],
)
def test_at_60_frames_the_kernels_are_scipys(frames, order, derivative, window_s):
    ours = make_kernel(60.0, window_s, order, derivative).weights
    theirs = savgol_coeffs(frames, order, deriv=derivative, delta=1 / 60, use="dot")
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("fps", [50.0, 60000 / 1001, 90.0, 120.0, 240.0])
@pytest.mark.parametrize("derivative", [0, 1, 2, 3])
def test_the_kernels_of_every_frame_rate_leave_the_same_of_every_frequency(fps, derivative):
    window_s, order = (JERK_WINDOW_S, 5) if derivative == 3 else (ACCELERATION_WINDOW_S, 4)
    turns = 2j * np.pi * np.arange(1.0, 13.0)

    def gains(rate):
        kernel = make_kernel(rate, window_s, order, derivative)
        return (np.exp(turns[:, None] * kernel.offsets_s) @ kernel.weights / turns**derivative).real

    np.testing.assert_allclose(gains(fps), gains(60.0), atol=0.02)


def test_a_millimetre_of_jitter_at_60_frames_stays_within_its_stated_noise_and_is_never_brisk():
    time_s = np.arange(10_800) / 60
    joints = np.random.default_rng(1).normal(size=(len(time_s), 21, 3))
    found = run(time_s, joints, 1.0)
    per_axis = [np.sqrt(np.nanmean(values**2) / 3) for values in (found.acceleration, found.jerk)]
    assert per_axis[0] <= 1.0
    assert per_axis[1] <= 30.0
    assert np.nanmedian(found.acceleration_noise) == pytest.approx(per_axis[0], rel=0.15)
    assert np.nanmedian(found.jerk_noise) == pytest.approx(per_axis[1], rel=0.15)
    tips = tuple(f"{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "pinky"))
    assert find_brisk_events(time_s, found.acceleration, found.acceleration_noise, tips) == ()


@settings(max_examples=40, deadline=None)
@given(fps=st.floats(50, 240), jerk=st.floats(-200, 200), acceleration=st.floats(-10, 10))
def test_movement_of_constant_jerk_is_measured_exactly_at_any_frame_rate(fps, jerk, acceleration):
    time_s = np.arange(int(fps)) / fps
    metres = acceleration * time_s**2 / 2 + jerk * time_s**3 / 6
    joints = np.stack([1000 * metres, 0 * metres, 0 * metres], axis=1)[:, None]
    found = run(time_s, joints)
    inside = np.isfinite(found.jerk[:, 0])
    assert inside.sum() > 0.6 * len(time_s)
    np.testing.assert_allclose(found.jerk[inside, 0], abs(jerk), atol=1e-3)
    np.testing.assert_allclose(
        found.acceleration[inside, 0], np.abs(acceleration + jerk * time_s[inside]), atol=1e-4
    )


def test_one_movement_measures_alike_at_30_and_59_94_and_60_and_120_frames():
    figures = {}
    for fps in (30.0, 60000 / 1001, 60.0, 120.0):
        time_s = np.arange(int(30 * fps)) / fps
        found = run(time_s, moving_points(time_s))
        figures[fps] = [
            np.nanpercentile(values, q) if np.isfinite(values).any() else np.nan
            for values in (found.speed, found.acceleration, found.jerk)
            for q in (50, 95)
        ]
    reference = np.array(figures.pop(60.0))
    for fps, values in figures.items():
        ratio = np.array(values) / reference
        assert np.nanmax(np.abs(ratio - 1)) < 0.05, fps
        assert np.isfinite(ratio[2:]).all() == (fps > 49)


def test_twice_the_movement_has_twice_the_jerk():
    time_s = np.arange(600) / 60
    once, twice = (run(time_s, moving_points(time_s, scale=scale)) for scale in (1.0, 2.0))
    np.testing.assert_allclose(twice.jerk, 2 * once.jerk, rtol=1e-6)


def test_gaps_up_to_100_ms_are_bridged_and_longer_ones_stay_gaps():
    time_s = np.arange(600) / 60
    joints = moving_points(time_s)
    whole = run(time_s, joints)
    joints[200:206, 0] = np.nan
    joints[400:407, 0] = np.nan
    found = run(time_s, joints)
    assert np.isfinite(found.speed[190:216, 0]).all()
    np.testing.assert_allclose(found.speed[200:206, 0], whole.speed[200:206, 0], atol=0.1)
    assert np.isnan(found.speed[395:412, 0]).all()
    assert np.isnan(found.joints_mm[400:407, 0]).all()
    assert np.isfinite(found.speed[190:212, 1]).all()
    assert np.nanmax(found.speed_noise[:, 0]) <= 2 * np.nanmedian(found.speed_noise[:, 0])


def test_the_ends_of_a_recording_are_not_measured_rather_than_guessed():
    time_s = np.arange(120) / 60
    found = run(time_s, moving_points(time_s))
    assert np.isnan(found.speed[:5]).all()
    assert np.isfinite(found.speed[5:-5]).all()
    assert np.isnan(found.jerk[-7:]).all()
    assert np.isfinite(found.jerk[7:-7]).all()


def test_scattered_missing_frames_state_the_noise_that_they_have():
    random = np.random.default_rng(3)
    time_s = np.arange(6000) / 60
    joints = random.normal(size=(6000, 4, 3))
    joints[random.random((6000, 4)) < 0.15] = np.nan
    found = run(time_s, joints, 1.0)
    seen = np.sqrt(np.nanmean(found.acceleration**2) / 3)
    assert np.sqrt(np.nanmean(found.acceleration_noise**2)) == pytest.approx(seen, rel=0.1)


def test_times_rounded_to_milliseconds_and_dropped_frames_change_nothing():
    time_s = np.arange(1200) / (60000 / 1001)
    joints = moving_points(time_s)
    kept = np.ones(1200, dtype=bool)
    kept[[300, 301, 777]] = False
    whole, found = run(time_s, joints), run(np.round(time_s[kept], 3), joints[kept])
    assert found.fps == pytest.approx(60000 / 1001, rel=1e-4)
    np.testing.assert_allclose(found.jerk[50:250], whole.jerk[kept][50:250], rtol=1e-3, atol=1e-3)
    assert np.isfinite(found.speed[290:310]).all()


def test_uneven_times_of_a_phone_are_resampled():
    random = np.random.default_rng(5)
    time_s = np.sort(np.arange(1800) / 60 + random.uniform(-0.004, 0.004, 1800))
    even = np.arange(1800) / 60
    found, wanted = run(time_s, moving_points(time_s)), run(even, moving_points(even))
    assert found.fps == pytest.approx(60, rel=2e-3)
    for values, expected in ((found.speed, wanted.speed), (found.acceleration, wanted.acceleration)):
        assert np.nanpercentile(values, 95) == pytest.approx(np.nanpercentile(expected, 95), rel=0.03)


def test_a_frame_that_jumps_away_and_back_is_left_out():
    time_s = np.arange(600) / 60
    joints = moving_points(time_s)
    whole = run(time_s, joints)
    joints[300, 0] += 60.0
    found = run(time_s, joints)
    assert np.nanmax(np.abs(found.acceleration - whole.acceleration)) < 0.5


def test_a_quick_movement_at_few_frames_a_second_is_not_taken_for_a_jump():
    def poke(fps):
        time_s = np.arange(int(10 * fps)) / fps
        since = (time_s - 0.3) % 1.0 / 0.15
        depth = np.where(since < 1, 30 * np.sin(np.pi * since.clip(0, 1)) ** 2, 0.0)
        joints = np.stack([depth, 0 * depth, 0 * depth], axis=1)[:, None]
        return np.nanpercentile(run(time_s, joints).joints_mm[:, 0, 0], [95, 99])

    np.testing.assert_allclose(poke(30.0), poke(60.0), rtol=0.05)


@pytest.mark.parametrize("fps", [24.0, 240.0])
def test_the_slowest_and_the_fastest_cameras_are_measured_or_withheld_in_words(fps):
    time_s = np.arange(int(6 * fps)) / fps
    found = run(time_s, moving_points(time_s))
    assert np.isfinite(found.joints_mm).mean() > 0.99
    assert np.isfinite(found.jerk).any() == (not found.reasons) == (fps > 49)


def test_too_few_frames_a_second_are_withheld_with_the_reason():
    for fps, speed_known, word in ((25.0, False, "No movement"), (29.97, True, "Acceleration and jerk")):
        time_s = np.arange(300) / fps
        found = run(time_s, moving_points(time_s))
        assert np.isfinite(found.speed).any() == speed_known
        assert not np.isfinite(found.jerk).any()
        assert word in found.reasons[0]


def test_stated_sigma_that_lasts_is_not_taken_for_jitter_but_worse_frames_are():
    time_s = np.arange(1200) / 60
    joints = moving_points(time_s, scale=0.1) + np.random.default_rng(2).normal(0, 0.2, (1200, 2, 3))
    stated = np.full((1200, 2), 3.0)
    stated[600:] = 6.0
    joints[600:] += np.random.default_rng(3).normal(0, 2.0, (600, 2, 3))
    found = compute_kinematics(time_s, joints, stated)
    assert found.measured_sigma_mm == pytest.approx(0.2, rel=0.3)
    ratio = np.nanmedian(found.jerk_noise[700:], axis=0) / np.nanmedian(found.jerk_noise[:500], axis=0)
    assert ratio == pytest.approx(2.0)


def test_times_that_do_not_increase_are_refused_in_words():
    with pytest.raises(MeasureError, match="do not increase"):
        make_grid(np.array([0.0, 0.1, 0.1]))
    with pytest.raises(MeasureError, match="1 frames"):
        make_grid(np.array([0.0]))


@settings(max_examples=40, deadline=None)
@given(
    fps=st.floats(24, 240),
    start=st.floats(-5, 100),
    drops=st.sets(st.integers(5, 150), max_size=12),
)
def test_the_frame_rate_is_found_whatever_frames_are_dropped(fps, start, drops):
    kept = np.array([k for k in range(200) if k not in drops])
    grid = make_grid(start + kept / fps)
    assert grid.is_regular
    assert grid.fps == pytest.approx(fps, rel=1e-6)
    np.testing.assert_array_equal(grid.place, kept)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([60.0, 120.0]), st.floats(9.0, 14.0), st.floats(0.3, 2.0))
def test_the_noise_of_jitter_that_the_fusion_has_smoothed_is_stated_as_large_as_it_is(fps, passed_hz, mm):
    hertz = np.geomspace(1.0, 0.45 * fps, 24)
    time_s = np.arange(round(30 * fps)) / fps
    white = np.random.default_rng(0).normal(0.0, mm, (len(time_s), 21, 3))
    own_hz = np.fft.rfftfreq(len(white), 1 / fps)
    gain = np.interp(own_hz, hertz, 1 / (1 + (hertz / passed_hz) ** 4))
    joints = np.fft.irfft(np.fft.rfft(white, axis=0) * gain[:, None, None], len(white), axis=0)
    response = hertz, np.tile(1 / (1 + (hertz / passed_hz) ** 4), (2, 1))
    stated = np.full(joints.shape[:2], joints.std())
    found = compute_kinematics(time_s, joints, stated, *response)
    assert np.median(found.measured_sigma_mm) == pytest.approx(joints.std(), rel=0.15)
    for name in ("acceleration", "jerk"):
        true = np.sqrt(np.nanmean(getattr(found, name) ** 2) / 3)
        assert np.nanmedian(getattr(found, f"{name}_noise")) == pytest.approx(true, rel=0.2)
    unaware = compute_kinematics(time_s, joints, stated)
    assert np.nanmedian(unaware.jerk_noise) < 0.7 * np.nanmedian(found.jerk_noise)


def test_a_response_that_passes_everything_changes_nothing():
    time_s = np.arange(600) / 60
    joints = moving_points(time_s, joints=21) + np.random.default_rng(1).normal(0, 0.5, (600, 21, 3))
    stated = np.full((600, 21), 0.5)
    plain = compute_kinematics(time_s, joints, stated)
    told = compute_kinematics(time_s, joints, stated, np.array([1.0, 27.0]), np.ones((2, 2)))
    np.testing.assert_allclose(told.jerk_noise, plain.jerk_noise)
    np.testing.assert_allclose(told.measured_sigma_mm, plain.measured_sigma_mm)


def test_a_second_in_which_the_film_stood_still_does_not_pass_for_a_recording_without_jitter():
    time_s = np.arange(1200) / 60
    joints = moving_points(time_s) + np.random.default_rng(1).normal(0, 0.5, (1200, 2, 3))
    joints[300:390] = joints[300]
    found = run(time_s, joints, 0.5)
    alive = np.r_[100:250, 500:1100]
    assert np.nanmin(found.acceleration_noise[alive]) >= 0.05 * 0.5 * 0.9
