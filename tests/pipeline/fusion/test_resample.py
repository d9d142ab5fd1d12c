import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from pipeline.fusion.resample import find_bridged, resample_keypoints


def make_track(time_s: np.ndarray, hertz: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    phase = np.arange(42).reshape(21, 2)
    points = 500 + 60 * np.sin(2 * np.pi * hertz * time_s[:, None, None] + phase)
    return points, np.full((len(time_s), 21), 1.5)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 1 / 60))
def test_a_press_of_a_key_at_60_frames_is_met_between_frames_to_a_twentieth_of_a_pixel(shift):
    time_s = np.arange(60) / 60
    points, sigma = make_track(time_s)
    wanted = time_s[5:-5] + shift
    found, _ = resample_keypoints(time_s, points, sigma, wanted)
    assert np.abs(found - make_track(wanted)[0]).max() < 0.05


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
def test_a_lone_outlier_spoils_only_the_time_that_it_is_nearest_to(shift):
    time_s = np.arange(60) / 60
    points, sigma = make_track(time_s)
    points[30, 8] += [70.0, -50.0]  # a spline through it takes 40 of these px to the frame beside
    wanted = time_s[5:-5] + shift / 60
    found, _ = resample_keypoints(time_s, points, sigma, wanted)
    off = np.linalg.norm(found - make_track(wanted)[0], axis=2)
    assert off[25, 8] > 80.0
    off[25, 8] = 0.0
    assert off.max() < 10.0


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 120.0])
def test_a_finger_that_stops_on_a_key_is_no_outlier(fps):
    """It comes down with 1 m/s before a camera that shows 2.5 px a mm, and stops within 10 ms."""
    time_s = np.arange(round(fps)) / fps
    down = np.clip((0.53 - time_s) / 0.02, 0, 1)
    points = np.zeros((len(time_s), 21, 2)) + (50 * down * down * (3 - 2 * down))[:, None, None]
    wanted = time_s[2:-2] + 0.3 / fps
    found, _ = resample_keypoints(time_s, points, np.ones(points.shape[:2]), wanted)
    np.testing.assert_allclose(found[:, 0, 0], CubicSpline(time_s, points[:, 0, 0])(wanted), atol=1e-9)


def test_at_the_frames_themselves_nothing_changes():
    time_s = np.cumsum(np.random.default_rng(0).uniform(0.015, 0.019, size=40))  # a variable frame rate
    points, sigma = make_track(time_s)
    found, found_sigma = resample_keypoints(time_s, points, sigma, time_s)
    np.testing.assert_allclose(found, points, atol=1e-9)
    np.testing.assert_allclose(found_sigma, sigma)


def test_a_gap_longer_than_100_ms_stays_unmeasured_and_a_shorter_one_is_bridged_with_growing_sigma():
    time_s = np.arange(60) / 60
    points, sigma = make_track(time_s, hertz=0.5)
    points[10:14] = np.nan  # 83 ms between frames 9 and 14
    points[30:37] = np.nan  # 133 ms
    found, found_sigma = resample_keypoints(time_s, points, sigma, time_s)
    assert np.isfinite(found[10:14]).all()
    assert (found_sigma[11:13] > 2 * 1.5).all()
    assert np.isnan(found[30:37]).all()
    assert np.isnan(found_sigma[30:37]).all()
    assert np.isfinite(found[37:]).all()


def test_as_many_points_are_bridged_as_frames_are_lost_in_short_gaps():
    time_s = np.arange(60) / 60
    points, sigma = make_track(time_s)
    points[10:14, 8] = np.nan
    points[30:37, 8] = np.nan  # too long to be bridged
    points[50, 8] = np.nan
    for shift in (0.0, 0.2, 0.45):
        bridged = find_bridged(time_s, points, sigma, time_s + shift / 60)
        assert np.flatnonzero(bridged.any(axis=0)).tolist() == [8]
        assert np.flatnonzero(bridged[:, 8]).tolist() == [10, 11, 12, 13, 50]


def test_a_camera_of_half_the_frame_rate_bridges_nothing():
    time_s = np.arange(30) / 30
    assert not find_bridged(time_s, *make_track(time_s), np.arange(58) / 60).any()


def test_a_bridge_over_quick_motion_says_how_far_it_may_be_off():
    time_s = np.arange(120) / 60
    points, sigma = make_track(time_s, hertz=3.0)
    lost = (np.arange(120) % 20 >= 10) & (np.arange(120) % 20 < 14)
    found, found_sigma = resample_keypoints(
        time_s, np.where(lost[:, None, None], np.nan, points), sigma, time_s
    )
    z = ((found - points) / found_sigma[..., None])[lost]
    assert np.abs(found - points)[lost].max() > 15.0  # of points that are known to 1.5
    assert 0.3 < np.sqrt(np.mean(z**2)) < 1.5
    np.testing.assert_allclose(found_sigma[~lost], 1.5)


def test_times_outside_the_recording_stay_unmeasured():
    time_s = np.arange(30) / 60
    points, sigma = make_track(time_s)
    found, _ = resample_keypoints(time_s, points, sigma, np.array([-0.01, 0.1, 0.5]))
    assert np.isnan(found[[0, 2]]).all()
    assert np.isfinite(found[1]).all()


def test_joints_are_lost_one_by_one():
    time_s = np.arange(30) / 60
    points, sigma = make_track(time_s)
    points[5:20, 8] = np.nan
    found, _ = resample_keypoints(time_s, points, sigma, time_s + 0.001)
    assert np.isnan(found[6:19, 8]).all()
    assert np.isfinite(np.delete(found, 8, axis=1)[:-1]).all()


def test_a_track_without_any_point_gives_nothing():
    time_s = np.arange(10) / 60
    points, sigma = make_track(time_s)
    found, found_sigma = resample_keypoints(time_s, points * np.nan, sigma * np.nan, time_s)
    assert np.isnan(found).all()
    assert np.isnan(found_sigma).all()
