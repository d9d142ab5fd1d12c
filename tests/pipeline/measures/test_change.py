from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pipeline.measures.change import (
    NO_DIRECTION,
    NOT_COMPARABLE,
    NOT_ESTABLISHED,
    POOR_QUALITY,
    WITHHELD,
    compare,
)
from pipeline.measures.quality_types import HandQuality, QualityReport
from pipeline.measures.reliability_types import MeasureReliability, Reliability
from pipeline.measures.summary import (
    HEADLINES,
    AngleSummary,
    Headline,
    Provenance,
    Recording,
    SideSummary,
    Summary,
)

KEY = {"task": "piano", "filter": "f", "frame rate": "60 frames/s"}


def visit(date, smoothness=-3.0, half=0.2, pip_deg=60.0, verdict="passed", key=None, subject="p1"):
    headlines = tuple(
        Headline(name, label, smoothness, unit, smoothness - half, smoothness + half, worse=worse)
        for name, (label, unit, worse) in HEADLINES.items()
    )
    angle = AngleSummary(
        "ring_pip_flexion", "ring finger PIP flexion", "ring", "ring_pip", pip_deg, 5.0, 20.0, 2.0,
        2.0, 1.0, 3.0, "1 to 3 SD", False, 40.0, 8.0, 1.0, median_low=pip_deg - 2, median_high=pip_deg + 2,
    )  # fmt: skip
    return Summary(
        subject=subject,
        visit=date,
        task="piano",
        recording=Recording(60.0, 60.0, 3600, ("front",)),
        quality=QualityReport(verdict, (), (), {}, "audio", "file", "reliable"),
        provenance=Provenance("1", "m", "d", "e", "p", "f", "r", False, 20, 10.0, "piano", "x", "x", "x"),
        sides={"right": SideSummary((angle,), (), headlines, (), (), (), ())},
        comparability=KEY if key is None else key,
    )


def change_of(found, name):
    side = found.sides["right"]
    return {change.id: change for change in (*side.headlines, *side.angles)}[name]


LIMITS = {"smoothness": 0.5, "ring_pip_flexion": 8.0, "jerk_p95": 0.1}
STUDY = Reliability(
    {name: MeasureReliability(name, name, "", 20, limit95=limit) for name, limit in LIMITS.items()},
    20,
    "made for a test",
    hands={"right": 20},
    conditions=KEY,
)


def test_without_a_reliability_study_nothing_is_called_a_change():
    found = compare(visit("2026-01-01", -6.0), visit("2026-02-01", -2.0))
    assert found.is_comparable
    for change in (*found.sides["right"].headlines, *found.sides["right"].angles):
        assert (change.verdict, change.reason) == ("cannot tell", NOT_ESTABLISHED)
    assert change_of(found, "smoothness").difference == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("after", "verdict"), [(-2.0, "better"), (-4.0, "worse"), (-2.6, "no detectable change")]
)
def test_past_the_smallest_detectable_change_there_is_a_verdict(after, verdict):
    found = change_of(compare(visit("a"), visit("b", after), STUDY), "smoothness")
    assert found.verdict == verdict
    assert found.limit == 0.5


def test_an_interval_that_holds_0_is_no_detectable_change_however_large_the_difference():
    found = change_of(compare(visit("a"), visit("b", -2.0, half=1.5), STUDY), "smoothness")
    assert found.low < 0 < found.high
    assert found.verdict == "no detectable change"


def test_an_angle_is_better_nearer_to_the_reference_mean_and_worse_farther():
    for after, verdict in ((45.0, "better"), (75.0, "worse"), (62.0, "no detectable change")):
        found = change_of(compare(visit("a"), visit("b", pip_deg=after), STUDY), "ring_pip_flexion")
        assert found.verdict == verdict
    across = change_of(compare(visit("a"), visit("b", pip_deg=20.0), STUDY), "ring_pip_flexion")
    assert (across.verdict, across.reason) == ("cannot tell", NO_DIRECTION)  # as far off on the other side
    nearer = change_of(compare(visit("a"), visit("b", pip_deg=35.0), STUDY), "ring_pip_flexion")
    assert nearer.verdict == "better"


def test_a_number_without_a_better_direction_never_has_a_verdict_of_better_or_worse():
    assert change_of(compare(visit("a"), visit("b", -1.0), STUDY), "jerk_p95").verdict == "cannot tell"


def test_recordings_that_differ_in_what_must_agree_are_not_judged_and_the_warning_says_why():
    other = visit("b", -1.0, key=KEY | {"filter": "g"})
    found = compare(visit("a"), other, STUDY)
    assert found.warnings == ("The filter differs: f before, g after.",)
    assert change_of(found, "smoothness").reason == NOT_COMPARABLE
    assert math.isnan(change_of(found, "smoothness").limit)
    (warning,) = compare(visit("a"), visit("b", subject="p2")).warnings
    assert "different people" in warning


@pytest.mark.parametrize("days", [("", "2026-02-01"), ("2026-01-01", ""), ("", "")])
def test_without_both_dates_nobody_knows_which_way_a_change_went(days):
    found = compare(visit(days[0], -6.0), visit(days[1], -2.0), STUDY)
    assert "no date of visit" in found.warnings[0]
    assert {change.verdict for change in found.sides["right"].headlines} == {"cannot tell"}


def test_a_recording_that_failed_its_quality_check_or_withheld_a_number_is_not_judged():
    found = compare(visit("a"), visit("b", -1.0, verdict="failed"), STUDY)
    assert change_of(found, "smoothness").reason == POOR_QUALITY
    found = compare(visit("a"), visit("b", float("nan")), STUDY)
    assert change_of(found, "smoothness").reason == WITHHELD
    assert np.isnan(change_of(found, "smoothness").difference)


def test_the_interval_of_a_difference_holds_the_true_one_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        before, after = random.normal([-3.0, -2.5], 0.1)
        found = change_of(compare(visit("a", before, 0.196), visit("b", after, 0.196)), "smoothness")
        hits += found.low <= 0.5 <= found.high
    assert 0.92 < hits / 400 < 0.98


def test_swapping_the_visits_turns_the_difference_round():
    a, b = visit("a", -3.0, 0.1), visit("b", -2.0, 0.4)
    there, back = change_of(compare(a, b), "smoothness"), change_of(compare(b, a), "smoothness")
    assert there.difference == -back.difference
    assert there.low == pytest.approx(-back.high)


def test_a_posture_held_for_less_than_half_of_the_time_is_compared_though_the_median_stays():
    before, after = visit("2026-03-02"), visit("2026-06-08")
    for summary, share in ((before, 0.4), (after, 0.05)):
        side = summary.sides["right"]
        angle = dataclasses.replace(
            side.angles[0], far_share=share, far_low=share - 0.04, far_high=share + 0.03
        )
        summary.sides["right"] = dataclasses.replace(side, angles=(angle,))
    (change,) = compare(before, after).sides["right"].postures
    assert (change.before, change.after) == (40.0, 5.0)
    assert change.difference == -35.0
    assert change.unit == "%"
    assert (change.low, change.high) == (pytest.approx(-40.0), pytest.approx(-30.0))
    assert (change.verdict, change.reason) == ("cannot tell", NOT_ESTABLISHED)


def test_only_hands_measured_at_both_visits_are_compared():
    other = dataclasses.replace(visit("b"), sides={"left": visit("b").sides["right"]})
    found = compare(visit("a"), other)
    assert found.sides == {}
    assert "No hand was measured at both visits." in found.warnings


def with_sigma(summary, sigma_mm):
    hand = HandQuality(1.0, sigma_mm, 0.2, 1.0)
    return dataclasses.replace(summary, quality=dataclasses.replace(summary.quality, hands={"right": hand}))


@pytest.mark.parametrize(
    ("then", "now", "comparable"), [(1.5, 2.5, True), (1.0, 4.0, False), (0.2, 0.8, True)]
)
def test_recordings_of_very_unlike_error_are_not_compared(then, now, comparable):
    before, after = visit("2026-03-02", -3.0), visit("2026-06-08", -5.0)
    found = compare(with_sigma(before, then), with_sigma(after, now), STUDY)
    assert found.is_comparable == comparable
    assert (change_of(found, "smoothness").reason == NOT_COMPARABLE) != comparable
    if not comparable:
        assert "placed to 1.0 mm before and 4.0 mm after" in found.warnings[0]
