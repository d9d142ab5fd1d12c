from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from pipeline.hand.joints import JOINTS
from pipeline.measures.levels import BETWEEN, BEYOND, UNKNOWN, WITHIN, is_certain, level_of
from pipeline.measures.scores import (
    find_brisk_events,
    score_acceleration,
    score_jerk,
    score_jerk_against,
    score_person,
)

JERK = np.random.default_rng(0).gamma(2.0, 50.0, (2000, 3))
QUIET = np.ones_like(JERK)


def test_the_jerk_score_is_the_seeds_clipped_to_its_range():
    score = score_jerk(JERK, QUIET)
    p50, p95 = np.percentile(JERK[:, 0], [50, 95])
    middle = (JERK[:, 0] > p50) & (JERK[:, 0] < p95)
    np.testing.assert_allclose(score[middle, 0], np.sqrt((JERK[middle, 0] - p50) / (p95 - p50)))
    assert (score[JERK[:, 0] <= p50, 0] == 0).all()
    assert (score[JERK[:, 0] >= p95, 0] == 1).all()


def test_within_the_recording_larger_movement_looks_the_same_but_against_a_reference_it_scores_higher():
    p50, p95 = np.percentile(JERK, [50, 95], axis=0)
    np.testing.assert_allclose(score_jerk(2 * JERK, QUIET), score_jerk(JERK, QUIET))
    once, twice = (score_jerk_against(k * JERK, QUIET, p50, p95).mean() for k in (1, 2))
    assert twice > 1.5 * once


def test_a_joint_that_shows_only_noise_has_no_score():
    noise = np.linalg.norm(np.random.default_rng(1).normal(0, 30, (2000, 1, 3)), axis=2)
    assert np.isnan(score_jerk(noise, np.full_like(noise, 30.0))).all()
    assert np.isfinite(score_jerk(noise, np.full_like(noise, 1.0))).all()


def test_frames_not_measured_have_no_score_and_do_not_disturb_the_others():
    holed = JERK.copy()
    holed[::7] = np.nan
    score = score_jerk(holed, QUIET)
    assert np.isnan(score[::7]).all()
    assert np.isfinite(np.delete(score, np.s_[::7], axis=0)).all()


def test_the_flash_needs_acceleration_surely_over_5_and_fades_within_300_ms():
    time_s = np.arange(120) / 60
    acceleration = np.zeros((120, 2))
    acceleration[30] = 6.0
    noise = np.stack([np.full(120, 0.2), np.full(120, 0.8)], axis=1)
    flash = score_acceleration(time_s, acceleration, noise)
    assert flash[30, 0] == 1
    assert flash[39, 0] == pytest.approx(0.5)
    assert flash[48, 0] == pytest.approx(0, abs=1e-9)
    assert (flash[:, 1] == 0).all()


def test_the_flash_does_not_depend_on_the_frame_rate():
    for fps in (50, 60, 120, 240):
        time_s = np.arange(fps) / fps
        acceleration = np.where(time_s[:, None] == 0, 9.0, 0.0)
        flash = score_acceleration(time_s, acceleration, 0 * acceleration)
        np.testing.assert_allclose(flash[:, 0], np.clip(1 - time_s / 0.3, 0, 1), atol=1e-9)


def test_crossings_closer_than_100_ms_are_one_brisk_movement():
    time_s = np.arange(300) / 60
    acceleration = np.zeros((300, 21))
    column = JOINTS.index("ring_tip")
    acceleration[[50, 53], column] = [7.0, 9.0]
    acceleration[100, column] = 8.0
    events = find_brisk_events(time_s, acceleration, 0 * acceleration, ("ring_tip", "index_tip"))
    assert [(e.joint, e.peak_acceleration) for e in events] == [("ring_tip", 9.0), ("ring_tip", 8.0)]
    assert events[0].start_s == pytest.approx(50 / 60)
    assert events[0].end_s == pytest.approx(53 / 60)


def test_levels_begin_where_the_seed_says():
    found = [level_of(z) for z in (0.0, -1.0, 1.001, -2.999, 3.0, -9.0, float("nan"))]
    assert found == [WITHIN, WITHIN, BETWEEN, BETWEEN, BEYOND, BEYOND, UNKNOWN]


def test_a_level_is_certain_only_if_the_whole_interval_has_it():
    assert is_certain(-0.9, 0.8)
    assert is_certain(1.2, 2.5)
    assert not is_certain(0.8, 1.2)
    assert not is_certain(-1.5, 2.0)
    assert not is_certain(-4.0, 4.0)
    assert not is_certain(float("nan"), 1.0)


@pytest.mark.parametrize("people", [8, 15, 40])
def test_healthy_people_exceed_a_person_level_z_as_often_as_students_t_says(people):
    random = np.random.default_rng(people)
    samples = random.normal(size=(4000, people + 1))
    means, sds = samples[:, 1:].mean(axis=1), samples[:, 1:].std(axis=1, ddof=1)
    z = [score_person(*row, people).z for row in zip(samples[:, 0], means, sds, strict=True)]
    share = np.mean(np.abs(z) > 2)
    assert share == pytest.approx(2 * student.sf(2, people - 1), abs=0.012)


def test_the_interval_of_z_is_that_of_the_literature_and_widens_with_the_standard_error():
    found = score_person(2.0, 0.0, 1.0, 30)
    small = np.sqrt(31 / 30)
    assert found.low * small == pytest.approx(1.37, abs=0.06)
    assert found.high * small == pytest.approx(2.62, abs=0.06)
    wide = score_person(2.0, 0.0, 1.0, 30, standard_error=1.0)
    assert wide.low < found.low < found.z < found.high < wide.high


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 20), st.integers(2, 200))
def test_z_keeps_its_sign_and_lies_within_its_interval(value, mean, sd, people):
    found = score_person(value, mean, sd, people)
    assert found.z * (value - mean) >= 0  # the smallest of numbers may round to no difference
    assert found.low <= found.z <= found.high


def test_without_enough_people_or_spread_there_is_no_z():
    assert np.isnan(score_person(1.0, 0.0, 1.0, 1).z)
    assert np.isnan(score_person(1.0, 0.0, 0.0, 20).z)
    assert np.isnan(score_person(1.0, 0.0, 1.0, 20, float("nan")).low)
