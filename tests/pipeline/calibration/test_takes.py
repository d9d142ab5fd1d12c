import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calibration.takes import (
    MOST_SHIFT_S,
    Motion,
    Rest,
    choose_frame,
    find_valleys,
    joint_motion,
    smooth,
)


def rests_and_moves(n_rests=8, rest=25, move=20, quiet=0.3, loud=4.0, seed=0):
    rng = np.random.default_rng(seed)
    level: list[float] = []
    middles: list[int] = []
    for _ in range(n_rests):
        middles.append(len(level) + rest // 2)
        level += list(quiet + rng.uniform(0, 0.05, rest)) + list(loud + rng.uniform(-1, 1, move))
    return np.array(level), middles


def test_each_rest_becomes_one_valley_at_its_middle():
    raw, middles = rests_and_moves()
    found = sorted(valley.frame for valley in find_valleys(smooth(raw)))
    assert len(found) == len(middles)
    np.testing.assert_allclose(found, middles, atol=3)


def test_the_stillest_rest_comes_first():
    raw, middles = rests_and_moves()
    raw[middles[5] - 8 : middles[5] + 8] = 0.05
    assert abs(find_valleys(smooth(raw))[0].frame - middles[5]) <= 3


def test_the_moving_average_spans_five_frames_and_keeps_a_constant():
    np.testing.assert_allclose(smooth(np.array([0, 0, 0, 5.0, 0, 0, 0])), [0, 1.25, 1, 1, 1, 1.25, 0])
    np.testing.assert_allclose(smooth(np.full(9, 2.5)), 2.5)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 400), st.integers(5, 60))
def test_valleys_are_never_closer_than_asked(seed, n_frames, separation):
    level = smooth(np.random.default_rng(seed).uniform(0, 5, n_frames))
    frames = sorted(valley.frame for valley in find_valleys(level, 50, separation, least_length=1))
    assert frames
    assert all(b - a >= separation for a, b in itertools.pairwise(frames))


def test_no_motion_measured_gives_no_valley():
    assert find_valleys(np.full(50, np.nan)) == []


def test_a_rest_counts_only_where_all_cameras_see_it():
    raw, middles = rests_and_moves()
    time_s = np.arange(len(raw)) / 30
    other = smooth(raw).copy()
    other[: middles[1] + 20] = 4.0  # somebody walks through the other camera's picture
    offset_s = 1.25
    together = joint_motion(
        [Motion(time_s, smooth(raw), (640, 360)), Motion(time_s - offset_s, other, (640, 360))],
        [0.0, offset_s],
    )
    found = sorted(valley.frame for valley in find_valleys(together.level, least_length=8))
    np.testing.assert_allclose(found, middles[2:], atol=3)


def test_moments_that_one_camera_did_not_film_are_not_measured():
    raw, _ = rests_and_moves()
    time_s = np.arange(len(raw)) / 30
    motion = Motion(time_s, smooth(raw), (640, 360))
    late = joint_motion([motion, motion], [0.0, 3.0])
    assert np.isnan(late.level[time_s < 3.0]).all()
    assert np.isfinite(late.level[time_s > 3.1]).all()


def test_the_window_of_a_rest_begins_at_a_key_frame_where_one_is_near():
    time_s = np.arange(90) / 30
    is_key = np.arange(90) % 15 == 0
    assert choose_frame(time_s, Rest(0, 48 / 30, 35 / 30, 62 / 30), is_key) == 47  # 45 to 49, from 45 on
    assert choose_frame(time_s, Rest(0, 45 / 30, 35 / 30, 62 / 30), is_key) == 47


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 2.9), st.floats(0.02, 1.0), st.integers(1, 40))
def test_the_window_of_a_rest_stays_near_its_middle(middle_s, half_s, gop):
    time_s = np.arange(90) / 30
    frame = choose_frame(
        time_s, Rest(0, middle_s, middle_s - half_s, middle_s + half_s), np.arange(90) % gop == 0
    )
    assert abs(time_s[frame] - middle_s) <= max(min(MOST_SHIFT_S, half_s), 0.5 / 30) + 1e-9
