"""Two visits of one person: what changed, with its interval, and what may be said of it.

Four verdicts: "better", "worse", "no detectable change", "cannot tell". A change is only called one past the
smallest detectable change of a reliability study *and* with an interval that leaves out 0. Without such a
study, or with one of other recordings than these, the verdict is "cannot tell": a recording's own interval
does not know how a person differs from day to day.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.hand.joints import Side
from pipeline.measures.reliability_types import FAR_SHARE, WORK_OUT_AGAIN, Reliability, list_mismatches
from pipeline.measures.summary_types import NAN, AngleSummary, Headline, SideSummary, Summary

ChangeVerdict = Literal["better", "worse", "no detectable change", "cannot tell"]

NOT_ESTABLISHED = "Measurement error for this measure has not been established."
NOT_COMPARABLE = "The two recordings are not comparable; see the warnings."
WITHHELD = "It could not be measured at both visits."
POOR_QUALITY = "The quality check of one recording failed."
NO_INTERVAL_OF_SHARE = "There is no interval of this share, so no verdict."
OTHER_STUDY = "The reliability study was made with other recordings than these."
NO_CONDITIONS = "The reliability file does not say what its recordings were like."
NO_DIRECTION = "It changed by more than its measurement error, but neither direction is better."


MAX_SIGMA_RATIO, LEAST_SIGMA_MM = 2.0, 1.0
"""Recordings whose joints' error differs by more than the factor are not compared, unless both are good."""


@dataclass(frozen=True)
class Change:
    """One measure at two visits.

    Attributes
    ----------
    id, label, unit : str
        Of the headline or angle.
    before, after, difference : float
        ``difference`` is after minus before; NaN = withheld.
    low, high : float
        95 % interval of the difference, within the two recordings only.
    limit : float
        Smallest detectable change (`pipeline.measures.reliability_types.MeasureReliability.limit95`); NaN =
        not established for such recordings, or the two are not comparable.
    verdict : str
        One of the four.
    reason : str
        Why the verdict is what it is.
    """

    id: str
    label: str
    unit: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    limit: float
    verdict: ChangeVerdict
    reason: str


@dataclass(frozen=True)
class SideChange:
    """All measures of one hand at two visits.

    Attributes
    ----------
    headlines : tuple of Change
        The headline numbers.
    angles : tuple of Change
        The median of each angle.
    postures : tuple of Change
        The share of time each angle is 3 SD or more from the reference: a posture held for less than half of
        the time changes this and leaves the median where it was.
    """

    headlines: tuple[Change, ...]
    angles: tuple[Change, ...]
    postures: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two visits held against each other.

    Attributes
    ----------
    before, after : str
        The visits' dates, as in the summaries.
    is_comparable : bool
        Everything that must agree does.
    warnings : tuple of str
        What does not agree, in words.
    sides : dict of SideChange
        Hands measured at both visits.
    study_obstacles : dict of tuple of str
        By hand, why the reliability study that was given does not hold for these recordings; without an entry
        it does, or none was given.
    """

    before: str
    after: str
    is_comparable: bool
    warnings: tuple[str, ...]
    sides: dict[Side, SideChange] = field(default_factory=dict)
    study_obstacles: dict[Side, tuple[str, ...]] = field(default_factory=dict)


def compare(before: Summary, after: Summary, reliability: Reliability | None = None) -> Comparison:
    """Hold two visits against each other.

    Parameters
    ----------
    before, after : Summary
        In the order of time. Without both dates the order is not known, and no verdict is given.
    reliability : Reliability, optional
        From a test-retest study; without it no verdict but "cannot tell" is given.
    """
    warnings = find_differences(before, after)
    common = [side for side in before.sides if side in after.sides]
    obstacles = (
        {side: find_study_obstacles(reliability, after, side) for side in common} if reliability else {}
    )
    sides: dict[Side, SideChange] = {}
    for side in common:
        judge = _Judge(reliability, _find_obstacle(before, after, warnings), bool(obstacles.get(side)))
        sides[side] = _compare_side(before.sides[side], after.sides[side], judge)
    found = {side: why for side, why in obstacles.items() if why}
    return Comparison(before.visit, after.visit, not warnings, warnings, sides, found)


def find_differences(before: Summary, after: Summary) -> tuple[str, ...]:
    """What keeps two recordings from being comparable, in words; empty if nothing does."""
    warnings = []
    if before.subject != after.subject:
        warnings.append(f"The recordings are of different people: {before.subject} and {after.subject}.")
    if not (before.visit and after.visit):
        warnings.append("Which recording came first is not known: one has no date of visit.")
    warnings += list_mismatches(before.comparability, after.comparability)
    warnings += _compare_sigmas(before, after)
    if not set(before.sides) & set(after.sides):
        warnings.append("No hand was measured at both visits.")
    return tuple(warnings)


def _compare_sigmas(before: Summary, after: Summary) -> list[str]:
    """Where the joints were placed much worse at one of the visits: more of what differs is then error."""
    found = []
    for side, hand in before.quality.hands.items():
        other = after.quality.hands.get(side)
        then, now = hand.stated_sigma_mm, other.stated_sigma_mm if other else NAN
        if max(then, now) >= LEAST_SIGMA_MM and max(then, now) > MAX_SIGMA_RATIO * min(then, now):
            found.append(
                f"The joints of the {side} hand are placed to {then:.1f} mm before and {now:.1f} mm after: "
                "too unlike to be compared."
            )
    return found


def find_study_obstacles(reliability: Reliability, summary: Summary, side: Side) -> tuple[str, ...]:
    """Why a reliability study does not hold for a recording's hand, in words; empty if it does."""
    if not reliability.conditions:
        return (f"{NO_CONDITIONS} {WORK_OUT_AGAIN}",)
    words = ("in the reliability study", "here")
    found = list_mismatches(reliability.conditions, summary.comparability, words)
    if side not in reliability.hands:
        found += (f"No {side} hand is in the reliability study.",)
    return found


@dataclass(frozen=True)
class _Judge:
    """What verdicts of one hand rest on; ``obstacle`` is why there can be none, whatever the study says."""

    reliability: Reliability | None
    obstacle: str
    is_other_study: bool

    def limit_of(self, measure: str) -> float:
        if self.reliability is None or self.is_other_study or self.obstacle == NOT_COMPARABLE:
            return NAN
        return self.reliability.limit_of(measure)

    def decide(self, change: Change, worse: str) -> Change:
        limit = self.limit_of(change.id)
        obstacle = self.obstacle
        if not obstacle and self.is_other_study:
            obstacle = OTHER_STUDY
        verdict, reason = _decide(change, limit, obstacle, worse)
        return replace(change, limit=limit, verdict=verdict, reason=reason)


def _find_obstacle(before: Summary, after: Summary, warnings: tuple[str, ...]) -> str:
    if "failed" in (before.quality.verdict, after.quality.verdict):
        return POOR_QUALITY
    return NOT_COMPARABLE if warnings else ""


def _compare_side(before: SideSummary, after: SideSummary, judge: _Judge) -> SideChange:
    angles = _pair(before.angles, after.angles)
    return SideChange(
        headlines=tuple(
            judge.decide(_headline_change(a, b), a.worse) for a, b in _pair(before.headlines, after.headlines)
        ),
        angles=tuple(
            judge.decide(_angle_change(a, b), _worse_way(a, b, judge.limit_of(a.angle))) for a, b in angles
        ),
        postures=tuple(judge.decide(_posture_change(a, b), "higher") for a, b in angles),
    )


def _pair(before: Iterable, after: Iterable) -> list[tuple]:
    """The entries with the same id at both visits, in the order of the first."""
    later = {_id(entry): entry for entry in after}
    return [(entry, later[_id(entry)]) for entry in before if _id(entry) in later]


def _id(entry: Headline | AngleSummary) -> str:
    return entry.angle if isinstance(entry, AngleSummary) else entry.id


def _headline_change(a: Headline, b: Headline) -> Change:
    return _difference(a.id, a.label, a.unit, (a.value, a.low, a.high), (b.value, b.low, b.high))


def _angle_change(a: AngleSummary, b: AngleSummary) -> Change:
    first = (a.median_deg, a.median_low, a.median_high)
    return _difference(a.angle, a.label, "°", first, (b.median_deg, b.median_low, b.median_high))


def _posture_change(a: AngleSummary, b: AngleSummary) -> Change:
    first, second = (
        (100.0 * angle.far_share, 100.0 * angle.far_low, 100.0 * angle.far_high) for angle in (a, b)
    )
    return _difference(f"{a.angle}{FAR_SHARE}", a.label, "%", first, second)


def _worse_way(a: AngleSummary, b: AngleSummary, limit: float) -> str:
    """An angle is worse farther from the reference mean; "" where that distance stays within the limit."""
    before, after = (abs(angle.median_deg - angle.reference_mean_deg) for angle in (a, b))
    if not math.isfinite(after - before) or abs(after - before) <= limit:
        return ""
    return "higher" if (after > before) == (b.median_deg > a.median_deg) else "lower"


def _difference(
    name: str, label: str, unit: str, a: tuple[float, float, float], b: tuple[float, float, float]
) -> Change:
    """After minus before, its interval by adding the two half-widths in squares (Newcombe 1998)."""
    difference = b[0] - a[0]
    low = difference - math.hypot(b[0] - b[1], a[2] - a[0])
    high = difference + math.hypot(b[2] - b[0], a[0] - a[1])
    return Change(name, label, unit, a[0], b[0], difference, low, high, NAN, "cannot tell", "")


def _decide(change: Change, limit: float, obstacle: str, worse: str) -> tuple[ChangeVerdict, str]:
    if not math.isfinite(change.difference):
        return "cannot tell", WITHHELD
    if obstacle:
        return "cannot tell", obstacle
    if math.isnan(limit):
        return "cannot tell", NOT_ESTABLISHED
    if math.isnan(change.low) or math.isnan(change.high):
        is_share = change.id.endswith(FAR_SHARE)
        return (
            "cannot tell",
            NO_INTERVAL_OF_SHARE if is_share else "A recording is too short for an interval.",
        )
    smallest = f"the smallest detectable change of {limit:.3g} {change.unit}".strip().replace(" °", "°")
    if abs(change.difference) <= limit:
        return "no detectable change", f"Within {smallest}."
    if change.low <= 0 <= change.high:
        return "no detectable change", f"Past {smallest}, but the interval holds 0."
    if not worse:
        return "cannot tell", NO_DIRECTION
    is_worse = (change.difference > 0) == (worse == "higher")
    return ("worse" if is_worse else "better"), f"Past {smallest}."
