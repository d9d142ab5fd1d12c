from __future__ import annotations

import math

import pytest

from pipeline.measures.reliability_types import MeasureReliability, Reliability
from pipeline.measures.trend import Trend, count_visits, make_trend
from tests.pipeline.measures.test_reliability import KEY, visit

STUDY = Reliability(
    {"smoothness": MeasureReliability("smoothness", "s", "", 24, limit95=1.0)},
    24,
    hands={"right": 24},
    conditions=KEY,
)


def trend_of(summaries, reliability=None) -> Trend:
    trend = make_trend(summaries, "right", reliability)
    assert trend is not None
    return trend


def line(trend, name="smoothness"):
    return {found.id: found for found in (*trend.headlines, *trend.angles)}[name]


def test_visits_come_in_the_order_of_time_each_with_its_interval():
    trend = trend_of([visit("a", 30, 12.0), visit("a", 0, 10.0), visit("a", 60, 14.0)])
    assert [one.date for one in trend.visits] == ["2026-01-01", "2026-01-31", "2026-03-02"]
    assert [point.value for point in line(trend).points] == [10.0, 12.0, 14.0]
    assert [point.low for point in line(trend).points] == pytest.approx([9.9, 11.9, 13.9])
    assert line(trend, "ring_pip_flexion").unit == "°"
    assert line(trend).change.difference == 4.0


def test_the_last_visit_is_judged_against_the_first_by_the_study_and_only_by_it():
    visits = [visit("a", 0, 10.0), visit("a", 30, 5.0), visit("a", 60, 12.0)]
    assert line(trend_of(visits)).change.verdict == "cannot tell"
    trend = trend_of(visits, STUDY)
    assert (line(trend).change.verdict, line(trend).change.limit) == ("better", 1.0)
    assert trend_of(visits[:2], STUDY).overall.headlines[3].verdict == "worse"
    other = [visit("a", day, key={"task": "piano", "filter": "g"}) for day in (0, 30)]
    assert trend_of(other, STUDY).study_obstacles == (
        "The filter differs: f in the reliability study, g here.",
    )


def test_a_break_stands_where_a_recording_is_not_comparable_with_the_one_before():
    new = {"task": "piano", "filter": "g"}
    trend = trend_of([visit("a", 0), visit("a", 30), *(visit("a", day, key=new) for day in (60, 90))])
    assert [bool(one.differences) for one in trend.visits] == [False, False, True, False]
    assert trend.visits[2].differences == ("The filter differs: f before, g after.",)
    assert {change.verdict for change in trend.overall.headlines} == {"cannot tell"}


def test_repeats_of_a_day_give_the_error_within_it_and_do_not_end_a_trend():
    visits = [
        visit("a", 0, 10.0),
        visit("a", 0, 12.0),
        visit("a", 30, 20.0),
        visit("a", 30, 99.0, verdict="failed"),
    ]
    trend = trend_of(visits, STUDY)
    assert [one.repeat for one in trend.visits] == [0, 1, 0, 1]
    assert trend.has_repeats
    assert line(trend).within_sem == pytest.approx(math.sqrt(2))  # what failed does not count
    assert line(trend).change.after == 20.0
    alone = trend_of([visit("a", 0), visit("a", 30)])
    assert not alone.has_repeats
    assert math.isnan(line(alone).within_sem)


def test_one_visit_is_no_trend_nor_are_recordings_without_a_date_or_of_the_other_hand():
    summaries = [visit("a", 0), visit("a", 0), visit("a", None), visit("a", 30, side="left")]
    assert count_visits(summaries, "right") == 1
    assert make_trend(summaries, "right") is None


def test_a_withheld_value_says_why():
    trend = trend_of([visit("a", 0), visit("a", 30, math.nan)])
    assert math.isnan(line(trend).points[1].value)
    assert line(trend).change.verdict == "cannot tell"
