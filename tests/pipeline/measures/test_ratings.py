"""Raters' marks in figures: the count a minute, and agreement with what the program found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, poisson

from pipeline.measures.ratings import MIN_TOGETHER, Span, agree, count_per_minute, join_movements, match


@pytest.mark.parametrize(("count", "minutes"), [(0, 2.0), (1, 0.5), (17, 3.0), (240, 12.0)])
def test_a_rate_has_the_exact_interval_of_a_count(count, minutes):
    found = count_per_minute(count, minutes)
    assert found.per_min == pytest.approx(count / minutes)
    # At the upper end so few are seen in 2.5 % of cases, at the lower so many.
    assert poisson.cdf(count, found.high * minutes) == pytest.approx(0.025, abs=1e-6)
    if count:
        assert poisson.sf(count - 1, found.low * minutes) == pytest.approx(0.025, abs=1e-6)
    else:
        assert found.low == 0


def test_without_time_there_is_no_rate():
    assert np.isnan(count_per_minute(3, 0.0).per_min)


def test_postures_of_one_finger_that_overlap_are_one_movement():
    spans = [Span(1, 2, "ring"), Span(1.5, 3, "ring"), Span(1.5, 1.8, "index"), Span(5, 6, "ring")]
    assert join_movements(spans) == (Span(1, 3, "ring"), Span(1.5, 1.8, "index"), Span(5, 6, "ring"))


def test_each_mark_and_movement_is_used_once_and_fingers_are_kept_apart():
    movements = [Span(1.0, 2.0, "ring"), Span(4.0, 5.0, "index")]
    assert match([Span(2.4, 2.4), Span(1.2, 1.2)], movements) == [(1, 0)]
    assert match([Span(2.6, 2.6)], movements) == []  # farther than the tolerance
    assert match([Span(1.5, 1.5, "index")], movements) == []
    assert sorted(match([Span(1.5, 1.5, "ring"), Span(3.6, 3.6)], movements)) == [(0, 0), (1, 1)]


def test_positive_agreement_is_f1_with_an_interval_and_few_cannot_tell():
    movements = [Span(10.0 * k, 10.0 * k + 1, "ring") for k in range(12)]
    marks = [Span(10.0 * k + 0.5, 10.0 * k + 0.5) for k in range(9)] + [Span(5.0, 5.0), Span(15.0, 15.0)]
    found = agree(marks, movements)
    assert (found.together, found.marks_alone, found.movements_alone) == (9, 2, 3)
    precision, recall = 9 / 11, 9 / 12
    assert found.positive == pytest.approx(2 * precision * recall / (precision + recall))
    wilson = binomtest(9, 14).proportion_ci(method="wilson")
    assert found.low == pytest.approx(2 * wilson.low / (1 + wilson.low))
    assert found.high == pytest.approx(2 * wilson.high / (1 + wilson.high))
    few = agree(marks[: MIN_TOGETHER - 1], movements[: MIN_TOGETHER - 1])
    assert np.isnan(few.positive)
    assert few.note
    assert agree([], []).note != few.note
