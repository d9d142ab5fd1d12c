import numpy as np
import pytest

from pipeline.calibration.clocks import LEAST_CORRELATION, offset_by_motion
from pipeline.calibration.takes import Motion, smooth


def moving_board(time_s, seed=0):
    """Motion of a board that rests and moves at irregular moments."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.5, 1.4, 60))
    is_moving = np.searchsorted(edges, time_s) % 2 == 1
    loud = rng.uniform(2, 6, 61)[np.searchsorted(edges, time_s)]
    return np.where(is_moving, loud, 0.3)


def motion(fps, start_s, length_s=22.0, gain=1.0, seed=0, noise_seed=1):
    time_s = np.arange(0, length_s, 1 / fps)
    noise = np.random.default_rng(noise_seed).uniform(0.9, 1.1, len(time_s))
    return Motion(time_s, smooth(gain * noise * moving_board(time_s + start_s, seed)), (640, 360))


@pytest.mark.parametrize("offset_s", [0.0, 0.813, -2.31, 7.4])
def test_the_boards_motion_tells_the_offset_within_a_frame(offset_s):
    reference = motion(30, 10.0)
    target = motion(60, 10.0 + offset_s, gain=0.4, noise_seed=2)
    found_s, correlation = offset_by_motion(reference, target)
    assert found_s == pytest.approx(offset_s, abs=1 / 30)
    assert correlation > 0.9


def test_takes_of_other_boards_do_not_correlate():
    worst = max(offset_by_motion(motion(30, 0), motion(30, 0, seed=seed))[1] for seed in range(1, 9))
    assert worst < LEAST_CORRELATION


def test_takes_that_are_too_short_give_nothing():
    found_s, correlation = offset_by_motion(motion(30, 0, 2.0), motion(30, 0, 2.0))
    assert np.isnan(found_s)
    assert np.isnan(correlation)
