"""Two visits of one person: what differs, with interval and verdict, and why they may not be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from dash import html

from components.headlines import pick_digits, space_unit
from components.states import failed, partial
from components.status import level_icon, say_number
from pipeline.errors import RedysError
from pipeline.measures.change import Change, Comparison, SideChange
from pipeline.measures.levels import BETWEEN, UNKNOWN, WITHIN, Level
from pipeline.measures.reliability_types import Reliability, read_reliability
from settings import get_settings

_MARKS: Final[dict[str, Level]] = {
    "better": WITHIN,
    "no detectable change": UNKNOWN,
    "cannot tell": UNKNOWN,
    "worse": BETWEEN,
}

INTERVAL_MEANING = (
    "Intervals hold what varies within the two recordings, not how a person differs from day to day. "
    "Better or worse is only said past the measurement error of a reliability study."
)


BY_CHANCE = (
    "Though nothing changed, a number passes its smallest detectable change in up to one case in twenty, "
    "after a study of fewer than 20 people in more: of many numbers, one alone says little."
)

LIMIT_MEANING = (
    "MDC95: the smallest change that a study of repeated recordings can tell from none, with Student's t for "
    "the few people that it rests on."
)

NO_STUDY = (
    "No reliability study is set up here, so no change is called better or worse "
    "(python -m pipeline reliability, then REDYS_RELIABILITY)."
)


@dataclass(frozen=True)
class Study:
    """The clinic's reliability study as the pages have it: there, not set up, or broken.

    ``reliability`` is None unless it is there; ``error`` says why it cannot be read.
    """

    reliability: Reliability | None = None
    error: RedysError | None = None


def open_study() -> Study:
    """The study that the settings name; a broken file is told, and nothing else fails by it."""
    path = get_settings().reliability
    if path is None:
        return Study()
    try:
        return Study(read_reliability(path))
    except RedysError as error:
        return Study(error=error)


def study_note(study: Study, obstacles: tuple[str, ...] = ()) -> html.Div:
    """What the verdicts beside it rest on: whose measurement error, and why it may not hold here."""
    if study.error is not None:
        return failed(study.error)
    found = study.reliability
    if found is None:
        return html.Div(html.P(NO_STUDY, className="plot-note"))
    parts: list[Any] = [html.P([html.Strong("Measurement error: "), say_study(found)], className="plot-note")]
    if found.simulated:
        parts.append(html.P(["It was worked out against a simulated reference."], className="simulated-note"))
    if obstacles:
        why = "The reliability study does not hold for these recordings, so there is no verdict."
        parts.append(partial(why, *obstacles))
    else:
        parts.append(html.P(BY_CHANCE, className="plot-note"))
    return html.Div(parts)


def say_study(found: Reliability) -> str:
    """Who was recorded how often, how far apart, by which version."""
    hands = " and ".join(f"{count} {side}" for side, count in found.hands.items())
    days = ""
    if math.isfinite(found.days_apart):
        spread = "" if found.days_least == found.days_most else (
            f" ({found.days_least:g} to {found.days_most:g})"
        )  # fmt: skip
        days = f", {found.days_apart:g} days{spread} apart"
    program = f" ReDys {found.program_version}." if found.program_version else ""
    people = f"{found.n_people} people" + (f" ({hands} hands)" if hands else "")
    told = f" {found.provenance.rstrip('.')}." if found.provenance else ""
    return f"{people}, {found.n_sessions} sessions each{days}.{told}{program}"


def warnings(comparison: Comparison) -> html.Div | None:
    """Why the two recordings are not comparable; None if they are."""
    return partial(*comparison.warnings) if comparison.warnings else None


def say_verdict(change: Change) -> html.Span:
    """One of the four verdicts in mark and word, its reason beside it."""
    return html.Span(
        [level_icon(_MARKS[change.verdict]), change.verdict], className="level-badge", title=change.reason
    )


def say_verdicts(side: SideChange) -> str:
    """All verdicts of the headline numbers in a sentence."""
    found = [change.verdict for change in side.headlines]
    counts = [
        f"{found.count(verdict)} {verdict}"
        for verdict in ("better", "worse", "no detectable change", "cannot tell")
        if verdict in found
    ]
    return f"Of {len(found)} headline numbers: {', '.join(counts)}."


def headline_changes(side: SideChange) -> html.Div:
    """The headline numbers of both visits with their difference."""
    return _table(side.headlines, "Headline numbers of both visits")


def angle_changes(side: SideChange) -> html.Div:
    """The median of each angle at both visits with their difference."""
    return _table(side.angles, "Joint angles of both visits")


def posture_changes(side: SideChange) -> html.Div:
    """The share of time that each angle is far from the reference, at both visits."""
    return _table(side.postures, "Time far from the reference at both visits", digits=0)


def _table(changes: tuple[Change, ...], label: str, digits: int | None = None) -> html.Div:
    """``digits`` after the point; None chooses them by the size of each row's numbers."""
    has_interval = any(math.isfinite(change.low) for change in changes)
    difference = "Difference (95 % interval)" if has_interval else "Difference"
    has_limit = any(math.isfinite(change.limit) for change in changes)
    head = ["Measure", "Earlier", "Later", difference, *(["MDC95"] if has_limit else []), "Verdict"]
    reasons = {change.reason for change in changes}
    common = reasons.pop() if len(reasons) == 1 else ""  # said once, not in every row
    if not common:
        head.append("Why")
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(word, scope="col") for word in head])),
            html.Tbody([_row(change, bool(common), has_limit, digits) for change in changes]),
        ],
        className="numbers",
    )
    marks: dict[str, Any] = {"aria-label": label}
    scroll = html.Div(table, className="table-scroll", tabIndex=0, role="group", **marks)
    notes = [f"All of them: {common}"] if common else []
    if has_limit:
        notes.append(LIMIT_MEANING)
    return html.Div([scroll, *(html.P(note, className="plot-note") for note in notes)])


def _row(change: Change, is_common: bool, has_limit: bool, digits: int | None) -> html.Tr:
    if digits is None:
        digits = choose_digits(change.unit, (change.before, change.after))
    unit = space_unit(change.unit)
    difference = say_difference(change, digits)
    label = change.label[:1].upper() + change.label[1:]
    return html.Tr(
        [
            html.Th(label, scope="row"),
            html.Td(_say(change.before, digits, unit), className="interval"),
            html.Td(_say(change.after, digits, unit), className="interval"),
            html.Td(difference, className="interval"),
            html.Td(_say_limit(change, digits), className="interval") if has_limit else None,
            html.Td(say_verdict(change)),
            None if is_common else html.Td(change.reason, className="quiet"),
        ]
    )


def _say_limit(change: Change, digits: int) -> str:
    """The smallest detectable change, with one digit more than the numbers that it judges."""
    if not math.isfinite(change.limit):
        return "not established"
    return f"{say_number(change.limit, digits + 1)}{space_unit(change.unit)}"


def choose_digits(unit: str, values: Iterable[float]) -> int:
    """Decimals for a row of numbers, by the largest."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=math.nan)
    return 0 if unit == "°" else pick_digits(largest)


def say_difference(change: Change, digits: int) -> list[Any]:
    """The difference with its unit, and its interval where there is one."""
    interval = ""
    if math.isfinite(change.low) and math.isfinite(change.high):
        low, high = (say_number(value, digits, signed=True) for value in (change.low, change.high))
        interval = f" ({low} to {high})"
    shown = say_number(change.difference, digits, signed=True)
    unit = space_unit(change.unit) if math.isfinite(change.difference) else ""
    return [html.Strong(f"{shown}{unit}"), interval]


def _say(value: float, digits: int, unit: str) -> str:
    return f"{say_number(value, digits)}{unit}" if math.isfinite(value) else "withheld"
