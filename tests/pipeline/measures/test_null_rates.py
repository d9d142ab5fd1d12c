from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from pipeline.measures.baseline import expect_new_frames_beyond, read_baseline
from pipeline.measures.null_rates import (
    LIMITS,
    PersonAngle,
    check_leave_one_out,
    expect_frames_beyond,
    expect_persons_beyond,
)

GRID = (np.arange(1001) + 0.5) / 1001


def describe(frames: np.ndarray) -> PersonAngle:
    low, median, high = np.percentile(frames, [5, 50, 95])
    return PersonAngle(True, frames.mean(), frames.var(), median, low, high, np.sort(frames))


def draw_group(random: np.random.Generator, people: int, between: tuple[float, ...], moments: np.ndarray):
    """People whose means are normal with a spread by angle, their moments around it as given."""
    return [[describe(random.normal(0, spread) + moments) for spread in between] for _ in range(people)]


def test_person_level_follows_student_with_one_degree_less_than_the_reference_has_people():
    assert expect_persons_beyond(3, 15) == pytest.approx(2 * student.sf(3, 14))
    assert expect_persons_beyond(3, 15) == pytest.approx(0.0096, abs=0.0001)
    assert np.isnan(expect_persons_beyond(3, 1))


@pytest.mark.parametrize("limit", LIMITS)
def test_frames_of_many_alike_people_are_spread_as_their_moments_are(limit):
    assert expect_frames_beyond(limit, 10_000, 1e-6, 1.0) == pytest.approx(2 * norm.sf(limit), abs=3e-4)
    # Moments that are evenly spread never reach 2.
    evenly = np.linspace(-1, 1, 2001)
    beyond = float((np.abs(evenly) > limit * evenly.std()).mean())
    assert expect_frames_beyond(limit, 10_000, 1e-6, evenly) == pytest.approx(beyond, abs=3e-3)


@pytest.mark.parametrize("people", [4, 15, 24])
def test_frames_of_people_who_do_not_move_follow_student_without_the_small_sample_correction(people):
    for limit in LIMITS:
        wanted = 2 * student.sf(limit / np.sqrt(1 + 1 / people), people - 1)
        assert expect_frames_beyond(limit, people, 1.0, 0.0) == pytest.approx(wanted, rel=0.06)


def test_frames_between_the_two_are_as_often_beyond_as_in_a_hundred_thousand_draws():
    random, people, spread = np.random.default_rng(1), 9, 1.3
    of_others = random.normal(0, spread, (100_000, people))
    found_sd = np.sqrt(of_others.var(axis=1, ddof=1) + 1.0)
    frame = random.normal(0, spread, 100_000) + random.normal(0, 1, 100_000)
    z = np.abs(frame - of_others.mean(axis=1)) / found_sd
    for limit in LIMITS:
        assert expect_frames_beyond(limit, people, spread, 1.0) == pytest.approx(
            float((z >= limit).mean()), abs=0.004
        )


@pytest.mark.parametrize("moments", [norm.ppf(GRID), np.log(1 / (1 - GRID)) - 1], ids=["even", "lopsided"])
def test_healthy_people_left_out_one_by_one_are_beyond_as_often_as_stated(moments):
    """These references of 16 people share nobody, so their scatter is the sampling error."""
    random = np.random.default_rng(5)
    groups = [check_leave_one_out(draw_group(random, 16, (0.5, 2.0), moments)) for _ in range(40)]
    for level in ("frame", "person"):
        for limit in LIMITS:
            name = f"{level}_beyond_{limit}"
            away = np.array([group[name] - group[f"{name}_by_chance"] for group in groups])
            error = away.std(ddof=1) / np.sqrt(len(away))
            assert abs(away.mean()) < 3 * error, name
            # The check has power: a rate that is off by this share of its size would be seen.
            stated = np.mean([group[f"{name}_by_chance"] for group in groups])
            assert 3 * error < stated * {1: 0.15, 2: 0.5, 3: 1.2}[limit], name


def test_its_standard_error_is_that_of_people_and_not_of_their_frames():
    random = np.random.default_rng(6)
    groups = [check_leave_one_out(draw_group(random, 16, (1.0, 1.0), norm.ppf(GRID))) for _ in range(20)]
    scatter = np.std([group["frame_beyond_1"] for group in groups], ddof=1)
    stated = np.median([group["frame_beyond_1_error"] for group in groups])
    assert stated == pytest.approx(scatter, rel=0.5)


def test_a_patient_among_the_healthy_is_beyond_and_the_others_are_not_told_from_them():
    group = draw_group(np.random.default_rng(7), 20, (1.0,), norm.ppf(GRID))
    group[3] = [describe(30.0 + norm.ppf(GRID))]
    found = check_leave_one_out(group)
    assert found["person_beyond_3"] == pytest.approx(1 / 20)


def test_what_was_measured_too_little_is_left_out_and_three_people_are_too_few():
    random = np.random.default_rng(8)
    group = draw_group(random, 6, (1.0, 1.0), norm.ppf(GRID))
    group = [[person[0], PersonAngle(False)] for person in group]
    found = check_leave_one_out(group)
    assert np.isfinite(found["frame_beyond_1"])
    assert found["person_beyond_1_by_chance"] == pytest.approx(2 * student.sf(1, 4))
    assert check_leave_one_out(group[:3]) == {}


def test_an_angle_that_is_the_same_in_all_has_no_rate():
    group = [[describe(np.full(1001, 7.0))] for _ in range(6)]
    found = check_leave_one_out(group)
    assert np.isnan([found["frame_beyond_1"], found["person_beyond_1"]]).all()
    assert np.isnan([found["frame_beyond_1_by_chance"], found["person_beyond_1_by_chance"]]).all()


def test_the_built_in_references_frames_are_beyond_about_as_often_as_its_two_spreads_say():
    built_in = read_baseline()
    for limit in (1, 3):
        stated = expect_new_frames_beyond(limit, built_in, built_in.n_people - 1)
        assert built_in.leave_one_out[f"frame_beyond_{limit}"] == pytest.approx(stated, rel=0.25)
