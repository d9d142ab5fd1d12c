import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.resample import resample_keypoints


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
