"""All visits of one person: each measure over time, and the last visit held against the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.hand.joints import Side
from pipeline.measures.change import Change, SideChange, compare, find_differences
from pipeline.measures.reliability import compute_within_sem
from pipeline.measures.reliability_types import Reliability
from pipeline.measures.summary_types import NAN, AngleSummary, Headline, SideSummary, Summary


@dataclass(frozen=True)
class TrendVisit:
    """One recording of a trend.

    Attributes
    ----------
    date : str
        ISO, of the visit.
    repeat : int
        0 for the first recording of that day, then 1, 2, ...
    is_doubtful : bool
        Its quality check failed: shown, never judged.
    differences : tuple of str
        Why it is not comparable with the recording before it; empty if it is, and for the first.
    """

    date: str
    repeat: int
    is_doubtful: bool
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrendPoint:
    """A measure at one recording: value and 95 % interval within it; NaN = withheld, ``note`` says why."""

    value: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class TrendLine:
    """One measure over the recordings.

    Attributes
    ----------
    id, label, unit : str
        Of the headline or angle.
    points : tuple of TrendPoint
        One for each of `Trend.visits`.
    change : Change
        The last visit's first recording against the first visit's; its ``limit`` is NaN where the two are not
        comparable or no reliability study holds for them.
    within_sem : float
        Standard deviation of comparable repeats on one day, a lower bound of the measurement error; NaN
        without repeats.
    """

    id: str
    label: str
    unit: str
    points: tuple[TrendPoint, ...]
    change: Change
    within_sem: float


@dataclass(frozen=True)
class Trend:
    """One hand over the visits.

    Attributes
    ----------
    side : "right" | "left"
    visits : tuple of TrendVisit
        By date; recordings of one day in the order given.
    headlines, angles : tuple of TrendLine
        The headline numbers, and the median of each angle.
    overall : SideChange
        The last visit against the first.
    study_obstacles : tuple of str
        Why the reliability study that was given does not hold here.
    """

    side: Side
    visits: tuple[TrendVisit, ...]
    headlines: tuple[TrendLine, ...]
    angles: tuple[TrendLine, ...]
    overall: SideChange
    study_obstacles: tuple[str, ...] = ()

    @property
    def has_repeats(self) -> bool:
        """Whether any visit has several recordings."""
        return any(visit.repeat for visit in self.visits)


def count_visits(summaries: Sequence[Summary], side: Side) -> int:
    """Days on which a hand was measured; recordings without a date are no visit."""
    return len({summary.visit for summary in summaries if summary.visit and side in summary.sides})


def make_trend(
    summaries: Sequence[Summary], side: Side, reliability: Reliability | None = None
) -> Trend | None:
    """One hand of one person over time.

    Parameters
    ----------
    summaries : sequence of Summary
        Of one task; those without a date or without this hand do not count. Recordings of one day in the
        order in which they were made.
    side : "right" | "left"
        The hand.
    reliability : Reliability, optional
        The clinic's study.

    Returns
    -------
    Trend or None
        None with fewer than two visits.
    """
    shown = [summary for summary in summaries if summary.visit and side in summary.sides]
    shown.sort(key=lambda summary: summary.visit)
    if count_visits(shown, side) < 2:
        return None
    visits = _list_visits(shown)
    starts = [summary for summary, visit in zip(shown, visits, strict=True) if not visit.repeat]
    comparison = compare(starts[0], starts[-1], reliability)
    overall = comparison.sides[side]
    hands = [summary.sides[side] for summary in shown]
    groups = _group_repeats(shown, visits)
    return Trend(
        side=side,
        visits=visits,
        headlines=tuple(_trace(change, hands, groups) for change in overall.headlines),
        angles=tuple(_trace(change, hands, groups) for change in overall.angles),
        overall=overall,
        study_obstacles=comparison.study_obstacles.get(side, ()),
    )


def _list_visits(summaries: Sequence[Summary]) -> tuple[TrendVisit, ...]:
    visits: list[TrendVisit] = []
    for number, summary in enumerate(summaries):
        visit = TrendVisit(summary.visit, 0, summary.quality.verdict == "failed")
        if number:
            differences = find_differences(summaries[number - 1], summary)
            is_same_day = visits[-1].date == summary.visit
            visit = replace(visit, differences=differences, repeat=is_same_day * (visits[-1].repeat + 1))
        visits.append(visit)
    return tuple(visits)


def _group_repeats(summaries: Sequence[Summary], visits: Sequence[TrendVisit]) -> list[list[int]]:
    """Places of the recordings of each day that compare with one another and passed the quality check."""
    groups: dict[tuple, list[int]] = {}
    for number, (summary, visit) in enumerate(zip(summaries, visits, strict=True)):
        if not visit.is_doubtful:
            key = (visit.date, tuple(sorted(summary.comparability.items())))
            groups.setdefault(key, []).append(number)
    return list(groups.values())


def _trace(change: Change, hands: Sequence[SideSummary], groups: list[list[int]]) -> TrendLine:
    points = tuple(_find_point(change.id, hand) for hand in hands)
    within = compute_within_sem([[points[number].value for number in group] for group in groups])
    return TrendLine(change.id, change.label, change.unit, points, change, within)


def _find_point(measure: str, hand: SideSummary) -> TrendPoint:
    entry: Headline | AngleSummary
    for entry in hand.headlines:
        if entry.id == measure:
            note = "" if math.isfinite(entry.value) else entry.note
            return TrendPoint(entry.value, entry.low, entry.high, note)
    for entry in hand.angles:
        if entry.angle == measure:
            note = "" if math.isfinite(entry.median_deg) else entry.note
            return TrendPoint(entry.median_deg, entry.median_low, entry.median_high, note)
    return TrendPoint(NAN, NAN, NAN, "Not worked out.")
