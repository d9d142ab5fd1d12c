"""Two takes held against each other: what is a difference, what may be error, what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.measures.difference import (
    INSIDE,
    SHARES,
    SURE,
    UNCERTAIN,
    Course,
    Shares,
    compare_angle_moments,
    compare_angle_shares,
    compare_pace_moments,
    compare_pace_shares,
    make_columns,
    take_shares,
)
from pipeline.measures.moments import IN_STEP_S, find_in_step

FPS = 60.0


def make_course(seed: int, seconds: float = 20.0, tempo: float = 1.0) -> Course:
    """Angles that come and go with the strokes, pace of 2 m/s² and 60 m/s³, small errors."""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * FPS)) / FPS
    wave = np.sin(2 * np.pi * 2.0 * tempo * time_s)[:, None]
    z = wave * np.linspace(0.5, 2, 20) + 0.05 * random.standard_normal((len(time_s), 20))
    pace = 1.0 + 0.5 * np.abs(wave) + 0.02 * random.random((len(time_s), 21))
    return Course(
        time_s, z, np.full(z.shape, 0.2), np.full(20, 0.1), np.full(20, 5.0),
        2 * pace, np.full(pace.shape, 0.05), 60 * pace, np.full(pace.shape, 2.0),
    )  # fmt: skip


def angle_shares(course: Course, **more: Any) -> Shares:
    course = replace(course, **more)
    return take_shares(course.time_s, course.z, course.z_sigma)


def test_the_same_playing_at_another_tempo_has_no_difference_past_its_error() -> None:
    before, after = make_course(1), make_course(2, tempo=1.3)
    found = compare_angle_shares(angle_shares(before), angle_shares(after))
    assert np.isfinite(found.value).all()
    assert (found.known == SURE).sum() == 0
    pace = compare_pace_shares(
        take_shares(before.time_s, before.jerk, before.jerk_noise),
        take_shares(after.time_s, after.jerk, after.jerk_noise),
    )
    assert (np.abs(np.log2(pace.value)) < 0.1).all()


def test_a_posture_that_is_held_is_found_in_its_percentiles_and_only_there() -> None:
    before, after = make_course(1), make_course(2)
    bent = after.z.copy()
    bent[: len(bent) // 4, 7] += 8.0
    found = compare_angle_shares(angle_shares(before), angle_shares(after, z=bent))
    row = found.value[:, 7]
    assert row[SHARES.index(90)] > 5
    assert found.known[SHARES.index(10), 7] == INSIDE
    others = np.delete(found.known, 7, axis=1)
    assert (others == SURE).sum() == 0


def test_what_the_lasting_error_may_make_is_uncertain_and_a_larger_one_is_sure() -> None:
    before = make_course(1)
    shifted = replace(make_course(2), z=make_course(2).z + 1.5)
    exact = compare_angle_shares(angle_shares(before), angle_shares(shifted))
    assert (exact.known[3] == SURE).all()
    coarse = np.full(before.z.shape, 2.0)
    rough = compare_angle_shares(angle_shares(before, z_sigma=coarse), angle_shares(shifted, z_sigma=coarse))
    assert (rough.known[3] == UNCERTAIN).all()
    assert np.array_equal(rough.value, exact.value)


def test_a_take_too_short_or_hardly_measured_cannot_tell() -> None:
    short, whole = make_course(1, seconds=3.0), make_course(2)
    found = compare_angle_shares(angle_shares(short), angle_shares(whole))
    assert np.isnan(found.value).all()
    gaps = whole.z.copy()
    gaps[: int(0.6 * len(gaps)), 3] = np.nan
    found = compare_angle_shares(angle_shares(make_course(1)), angle_shares(whole, z=gaps))
    assert np.isnan(found.value[:, 3]).all()
    assert np.isfinite(found.value[:, 4]).all()


def test_twice_the_pace_is_twice_and_pace_that_is_noise_tells_nothing() -> None:
    before, after = make_course(1), make_course(2)
    fast = replace(after, jerk=2 * after.jerk)
    shares = [take_shares(each.time_s, each.jerk, each.jerk_noise) for each in (before, fast)]
    found = compare_pace_shares(*shares)
    assert np.allclose(found.value, 2.0, rtol=0.05)
    assert (found.known == SURE).all()
    still = [
        replace(each, jerk=np.full_like(each.jerk, 3.4), jerk_noise=np.full_like(each.jerk, 2.0))
        for each in (before, after)
    ]
    nothing = compare_pace_shares(*(take_shares(each.time_s, each.jerk, each.jerk_noise) for each in still))
    assert np.isnan(nothing.value).all()
    moving = compare_pace_shares(
        take_shares(still[0].time_s, still[0].jerk, still[0].jerk_noise),
        take_shares(after.time_s, after.jerk, after.jerk_noise),
    )
    assert (moving.value > 1).all()  # at least so much: the earlier may have been all noise


def test_moments_are_held_against_their_counterparts_and_one_side_missing_is_unknown() -> None:
    before = make_course(1)
    later = replace(before, time_s=before.time_s + 0.7)  # the same take, begun later
    columns_s = make_columns(2.0, 5.0)
    same = compare_angle_moments(before, later, 0.7, columns_s)
    assert (np.abs(same.value) < 1e-6).all()
    assert (same.known == INSIDE).all()
    wrong = compare_angle_moments(before, later, 0.95, columns_s)
    assert np.abs(wrong.value).max() > 1
    outside = compare_angle_moments(before, later, 100.0, columns_s)
    assert np.isnan(outside.value).all()
    pace = compare_pace_moments(before, later, 0.7, columns_s, "acceleration")
    assert np.allclose(pace.value, 1.0)


def test_takes_are_in_step_until_a_stroke_comes_too_far_apart_or_is_left_out() -> None:
    strokes = np.arange(0.5, 8.0, 0.4)
    assert find_in_step(strokes, strokes + 1.0, 2.5, 3.5) == (strokes[0], strokes[-1])
    slower = 2.5 + (strokes - 2.5) * 1.1
    low, high = find_in_step(strokes, slower, 2.5, 2.5) or (0, 0)
    assert 2.5 - IN_STEP_S / 0.1 - 0.01 <= low < 2.5 < high <= 2.5 + IN_STEP_S / 0.1 + 0.01
    left_out = np.delete(strokes, 8)
    found = find_in_step(strokes, left_out, strokes[5], strokes[5])
    assert found == (strokes[0], strokes[7])
    assert find_in_step(strokes, strokes[:1], 7.5, 0.5) is None
    assert find_in_step(np.zeros(0), strokes, 1.0, 1.0) is None


def test_of_two_takes_alike_chance_alone_makes_few_differences() -> None:
    """Strokes at random times over a posture that wanders for seconds, no measurement error at all."""
    kernel = np.hanning(180)
    kernel /= np.linalg.norm(kernel)

    def play(seed: int) -> Shares:
        random = np.random.default_rng(seed)
        time_s = np.arange(int(30 * FPS)) / FPS
        z = np.zeros((len(time_s), 20))
        for column in range(20):
            hits = np.zeros(len(time_s))
            hits[random.integers(0, len(time_s), 75)] = random.gamma(4, 0.4, 75)
            wander = np.convolve(random.standard_normal(len(time_s) + 400), kernel, "same")[200:-200]
            z[:, column] = np.convolve(hits, np.hanning(20), "same") + 0.4 * wander
        return take_shares(time_s, z, np.full(z.shape, 1e-6))

    takes = [play(seed) for seed in range(12)]
    false = [
        (compare_angle_shares(a, b).known > INSIDE).mean()
        for a, b in zip(takes[::2], takes[1::2], strict=True)
    ]
    assert np.mean(false) <= 0.05
