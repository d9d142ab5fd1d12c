import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pose.repair import MAX_GAP_S, find_outliers, interpolate, repair_boxes


def _make_boxes(time_s, speed_px_s=(100.0, 30.0), size=(120.0, 90.0)):
    corner = time_s[:, None] * np.array(speed_px_s) + [300, 200]
    return np.concatenate([corner, corner + size], axis=1)


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30, 50, 59.94, 60, 120, 240])
def test_a_gap_of_a_tenth_of_a_second_is_bridged_and_a_longer_one_is_not(fps):
    time_s = np.arange(200) / fps
    most = int(np.floor(MAX_GAP_S * fps + 1e-3))
    for missing, bridged in [(most, True), (most + 1, False)]:
        box = _make_boxes(time_s)
        box[50 : 50 + missing] = np.nan
        repaired, state = repair_boxes(time_s, box)
        inside = slice(50, 50 + missing)
        assert set(state[inside]) == ({"interpolated"} if bridged else {"none"})
        assert np.isfinite(repaired[inside]).all() == bridged
        assert set(np.delete(state, np.arange(50, 50 + missing))) == {"detected"}


def test_a_gap_is_measured_in_time_where_the_frame_rate_varies():
    time_s = np.cumsum(np.r_[0, np.full(40, 1 / 60), np.full(40, 1 / 12), np.full(40, 1 / 60)])
    box = _make_boxes(time_s)
    box[[20, 21, 22, 60, 61]] = np.nan
    _, state = repair_boxes(time_s, box)
    assert set(state[20:23]) == {"interpolated"}  # 50 ms
    assert set(state[60:62]) == {"none"}  # 167 ms


@given(st.integers(2, 30), st.floats(0.0, 0.05))
def test_interpolation_is_linear_in_time_between_the_valid_neighbours(seed, jitter):
    rng = np.random.default_rng(seed)
    time_s = np.cumsum(1 / 60 + rng.uniform(0, jitter, 40))
    line = np.outer(time_s, [3.0, -2.0]) + np.array([5.0, 7.0])
    valid = rng.random(40) > 0.3
    valid[[0, -1]] = True
    filled = interpolate(time_s, np.where(valid[:, None], line, 999.0), valid, ~valid)
    assert filled == pytest.approx(line)


def test_what_is_neither_valid_nor_wanted_is_missing():
    time_s = np.arange(5.0)
    filled = interpolate(
        time_s, np.ones((5, 2)), np.array([1, 1, 0, 0, 1], bool), np.array([0, 0, 1, 0, 0], bool)
    )
    assert np.isnan(filled).all(axis=1).tolist() == [False, False, False, True, False]


def test_the_ends_have_no_two_neighbours_and_stay_missing():
    time_s = np.arange(60) / 60
    box = _make_boxes(time_s)
    box[:2] = box[-1:] = np.nan
    repaired, state = repair_boxes(time_s, box)
    assert list(state[[0, 1, 2, -2, -1]]) == ["none", "none", "detected", "detected", "none"]
    assert np.isnan(repaired[[0, 1, -1]]).all()


def test_a_box_that_jumps_off_for_two_frames_is_an_outlier_and_lies_on_the_line_again():
    time_s = np.arange(120) / 60
    box = _make_boxes(time_s) + np.random.default_rng(0).normal(0, 1, (120, 1))
    wrong = box.copy()
    wrong[70:72] += 250
    repaired, state = repair_boxes(time_s, wrong)
    assert np.flatnonzero(state == "outlier").tolist() == [70, 71]
    assert repaired[70:72] == pytest.approx(box[70:72], abs=6)
    assert repaired[:70] == pytest.approx(box[:70])


def test_a_jump_along_one_axis_alone_is_seen():
    time_s = np.arange(60) / 60
    box = _make_boxes(time_s, speed_px_s=(0, 0))
    box[30, [1, 3]] -= 60
    assert np.flatnonzero(find_outliers(time_s, box)).tolist() == [30]


def test_a_hand_at_rest_has_no_outliers_though_its_mad_is_nothing():
    time_s = np.arange(120) / 60
    box = _make_boxes(time_s, speed_px_s=(0, 0))
    assert not find_outliers(time_s, box).any()
    box[60] += 3  # three pixels of a hundred: any MAD rule without a floor would call it one
    assert not find_outliers(time_s, box).any()


def test_a_steadily_moving_hand_and_a_tremor_are_no_outliers():
    time_s = np.arange(300) / 60
    box = _make_boxes(time_s, speed_px_s=(900, -400))
    assert not find_outliers(time_s, box).any()
    box = _make_boxes(time_s, (0, 0)) + 15 * np.sin(2 * np.pi * 6 * time_s)[:, None]
    assert not find_outliers(time_s, box).any()


def test_a_lifted_hand_is_no_outlier_though_it_rested_before_and_after():
    time_s = np.arange(120) / 60
    box = _make_boxes(time_s, (0, 0))
    box[50:62, [1, 3]] -= 40 * np.sin(np.linspace(0, np.pi, 12))[:, None]
    assert not find_outliers(time_s, box).any()


def test_a_moving_hand_is_no_outlier_at_the_ends_of_the_recording():
    time_s = np.arange(120) / 60
    box = _make_boxes(time_s, (0, 0)) + 400 * np.cumsum(np.sin(3 * time_s))[:, None] / 60
    assert not find_outliers(time_s, box).any()


def test_outliers_longer_than_a_gap_may_be_stay_missing():
    time_s = np.arange(120) / 60
    box = _make_boxes(time_s, (0, 0))
    box[50:60] += 300  # 167 ms, less than half of the window
    repaired, state = repair_boxes(time_s, box)
    assert set(state[50:60]) == {"none"}
    assert np.isnan(repaired[50:60]).all()


def test_no_box_at_all_is_no_box_at_all():
    repaired, state = repair_boxes(np.arange(5) / 30, np.full((5, 4), np.nan))
    assert set(state) == {"none"}
    assert np.isnan(repaired).all()


def test_a_single_box_is_kept():
    box = np.full((5, 4), np.nan)
    box[2] = [1, 2, 30, 40]
    repaired, state = repair_boxes(np.arange(5) / 30, box)
    assert list(state) == ["none", "none", "detected", "none", "none"]
    assert repaired[2] == pytest.approx([1, 2, 30, 40])
