import numpy as np
import pytest

from pipeline.calibration.clocks import LEAST_CORRELATION, offsets_by_motion
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
    found_s, correlation = offsets_by_motion(reference, target)[0]
    assert found_s == pytest.approx(offset_s, abs=1 / 30)
    assert correlation > 0.9


def test_takes_of_other_boards_do_not_correlate():
    worst = max(offsets_by_motion(motion(30, 0), motion(30, 0, seed=seed))[0][1] for seed in range(1, 9))
    assert worst < LEAST_CORRELATION


def test_takes_that_are_too_short_give_nothing():
    assert offsets_by_motion(motion(30, 0, 2.0), motion(30, 0, 2.0)) == []


def test_a_steady_rhythm_gives_several_offsets_with_the_true_one_among_them():
    rng = np.random.default_rng(3)
    time_s = np.arange(0, 20, 1 / 30)

    def steady(start_s):
        level = np.where((time_s + start_s) % 1.45 > 0.75, 4.0, 0.3) * rng.uniform(0.8, 1.2, len(time_s))
        return Motion(time_s, smooth(level), (640, 360))

    found = offsets_by_motion(steady(2.0), steady(3.1))
    assert len(found) > 1
    assert min(abs(offset_s - 1.1) for offset_s, _ in found) < 1 / 30
