"""Two visits of one person: what changed, with its interval, and what may be said of it.

Four verdicts: "better", "worse", "no detectable change", "cannot tell". A change is only called one past the
smallest detectable change (MDC95) of a reliability study *and* with an interval that leaves out 0. Without
such a study the verdict is "cannot tell": a recording's own interval does not know how a person differs
from day to day.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, cast

from pipeline.errors import MeasureError
from pipeline.files import read_json, write_json
from pipeline.hand.joints import Side
from pipeline.measures.summary_types import NAN, AngleSummary, Headline, SideSummary, Summary, from_plain

ChangeVerdict = Literal["better", "worse", "no detectable change", "cannot tell"]

NOT_ESTABLISHED = "Measurement error for this measure has not been established."
NOT_COMPARABLE = "The two recordings are not comparable; see the warnings."
WITHHELD = "It could not be measured at both visits."
POOR_QUALITY = "The quality check of one recording failed."
NO_DIRECTION = "It changed by more than its measurement error, but neither direction is better."

RELIABILITY_VERSION = 1


@dataclass(frozen=True)
class Reliability:
    """Smallest detectable changes from a test-retest study.

    Attributes
    ----------
    mdc95 : dict of float
        ``2.77 * SEM`` by headline or angle id, in the measure's own unit.
    n_people : int
        People in the study.
    provenance : str
        Who was recorded, how, how far apart.
    schema_version : int
        `RELIABILITY_VERSION`.
    """

    mdc95: dict[str, float]
    n_people: int
    provenance: str
    schema_version: int = RELIABILITY_VERSION


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
    mdc95 : float
        Smallest detectable change; NaN = not established.
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
    mdc95: float
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
        the time changes this and leaves the median where it was. Without an interval.
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
    """

    before: str
    after: str
    is_comparable: bool
    warnings: tuple[str, ...]
    sides: dict[Side, SideChange] = field(default_factory=dict)


def read_reliability(path: Path) -> Reliability:
    """Read a reliability file.

    Raises
    ------
    MeasureError
        It is no such file, or of another schema.
    RunFolderError
        It is missing or broken.
    """
    raw = read_json(path)
    try:
        found = cast(Reliability, from_plain(Reliability, raw))
        if found.schema_version != RELIABILITY_VERSION or any(not v > 0 for v in found.mdc95.values()):
            raise ValueError("another schema, or an MDC95 that is not positive")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(
            f"{Path(path).name} is not a reliability file of this program ({error}).",
            'It needs "mdc95" (measure: value), "n_people" and "provenance".',
        ) from error
    return found


def write_reliability(path: Path, reliability: Reliability) -> None:
    """Write a reliability file, whole or not at all."""
    write_json(path, asdict(reliability))


def compare(before: Summary, after: Summary, reliability: Reliability | None = None) -> Comparison:
    """Hold two visits against each other.

    Parameters
    ----------
    before, after : Summary
        In the order of time.
    reliability : Reliability, optional
        From a test-retest study; without it no verdict but "cannot tell" is given.
    """
    warnings = find_differences(before, after)
    obstacle = ""
    if "failed" in (before.quality.verdict, after.quality.verdict):
        obstacle = POOR_QUALITY
    elif warnings:
        obstacle = NOT_COMPARABLE
    sides: dict[Side, SideChange] = {
        side: _compare_side(before.sides[side], after.sides[side], reliability, obstacle)
        for side in before.sides
        if side in after.sides
    }
    return Comparison(before.visit, after.visit, not warnings, warnings, sides)


def find_differences(before: Summary, after: Summary) -> tuple[str, ...]:
    """What keeps two recordings from being comparable, in words; empty if nothing does."""
    warnings = []
    if before.subject != after.subject:
        warnings.append(f"The recordings are of different people: {before.subject} and {after.subject}.")
    for key in dict.fromkeys([*before.comparability, *after.comparability]):
        then, now = before.comparability.get(key, "not stated"), after.comparability.get(key, "not stated")
        if then != now:
            warnings.append(f"The {key} differs: {then} before, {now} after.")
    if not set(before.sides) & set(after.sides):
        warnings.append("No hand was measured at both visits.")
    return tuple(warnings)


def _compare_side(
    before: SideSummary, after: SideSummary, reliability: Reliability | None, obstacle: str
) -> SideChange:
    headlines = tuple(
        _judge(_headline_change(a, b), reliability, obstacle, a.worse)
        for a, b in _pair(before.headlines, after.headlines)
    )
    angles = tuple(
        _judge(_angle_change(a, b), reliability, obstacle, _worse_way(a, b))
        for a, b in _pair(before.angles, after.angles)
    )
    postures = tuple(
        _judge(_posture_change(a, b), reliability, obstacle, "higher")
        for a, b in _pair(before.angles, after.angles)
    )
    return SideChange(headlines, angles, postures)


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
    first, second = ((100.0 * angle.far_share, NAN, NAN) for angle in (a, b))
    return _difference(f"{a.angle}_far_share", a.label, "%", first, second)


def _worse_way(a: AngleSummary, b: AngleSummary) -> str:
    """An angle is worse farther from the reference mean; across it there is no direction."""
    away = (a.median_deg - a.reference_mean_deg, b.median_deg - b.reference_mean_deg)
    if not all(math.isfinite(value) for value in away) or away[0] * away[1] < 0:
        return ""
    return "higher" if away[0] + away[1] > 0 else "lower"


def _difference(
    name: str, label: str, unit: str, a: tuple[float, float, float], b: tuple[float, float, float]
) -> Change:
    """After minus before, its interval by adding the two half-widths in squares (Newcombe 1998)."""
    difference = b[0] - a[0]
    low = difference - math.hypot(b[0] - b[1], a[2] - a[0])
    high = difference + math.hypot(b[2] - b[0], a[0] - a[1])
    return Change(name, label, unit, a[0], b[0], difference, low, high, NAN, "cannot tell", "")


def _judge(change: Change, reliability: Reliability | None, obstacle: str, worse: str) -> Change:
    mdc = reliability.mdc95.get(change.id, NAN) if reliability else NAN
    verdict, reason = _decide(change, mdc, obstacle, worse)
    return Change(**{**vars(change), "mdc95": mdc, "verdict": verdict, "reason": reason})


def _decide(change: Change, mdc: float, obstacle: str, worse: str) -> tuple[ChangeVerdict, str]:
    if not math.isfinite(change.difference):
        return "cannot tell", WITHHELD
    if obstacle:
        return "cannot tell", obstacle
    if math.isnan(mdc):
        return "cannot tell", NOT_ESTABLISHED
    if math.isnan(change.low) or math.isnan(change.high):
        return "cannot tell", "A recording is too short for an interval."
    if abs(change.difference) <= mdc or change.low <= 0 <= change.high:
        return (
            "no detectable change",
            f"Within the smallest detectable change of {mdc:.3g} {change.unit}".strip(),
        )
    if not worse:
        return "cannot tell", NO_DIRECTION
    is_worse = (change.difference > 0) == (worse == "higher")
    reason = f"Past the smallest detectable change of {mdc:.3g} {change.unit}".strip()
    return ("worse" if is_worse else "better"), reason
