"""Two visits of one person: what differs, with interval and verdict, and why they may not be compared."""

from __future__ import annotations

import math
from typing import Any, Final

from dash import html

from components.headlines import pick_digits, space_unit
from components.states import partial
from components.status import level_icon, say_number
from pipeline.measures.change import Change, Comparison, SideChange
from pipeline.measures.levels import BETWEEN, UNKNOWN, WITHIN, Level
from pipeline.measures.summary import SIMULATED_NOTE, SideSummary

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
    head = ["Measure", "Earlier", "Later", difference, "Verdict"]
    reasons = {change.reason for change in changes}
    common = reasons.pop() if len(reasons) == 1 else ""  # said once, not in every row
    if not common:
        head.append("Why")
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(word, scope="col") for word in head])),
            html.Tbody([_row(change, bool(common), digits) for change in changes]),
        ],
        className="numbers",
    )
    marks: dict[str, Any] = {"aria-label": label}
    scroll = html.Div(table, className="table-scroll", tabIndex=0, role="group", **marks)
    return html.Div([scroll, html.P(f"All of them: {common}", className="plot-note") if common else None])


def _row(change: Change, is_common: bool, digits: int | None) -> html.Tr:
    largest = max((abs(v) for v in (change.before, change.after) if math.isfinite(v)), default=math.nan)
    if digits is None:
        digits = 0 if change.unit == "°" else pick_digits(largest)
    unit = space_unit(change.unit)
    interval = ""
    if math.isfinite(change.low) and math.isfinite(change.high):
        low, high = (say_number(value, digits, signed=True) for value in (change.low, change.high))
        interval = f" ({low} to {high})"
    shown = say_number(change.difference, digits, signed=True)
    difference: list[Any] = [
        html.Strong(f"{shown}{unit if math.isfinite(change.difference) else ''}"),
        interval,
    ]
    label = change.label[:1].upper() + change.label[1:]
    return html.Tr(
        [
            html.Th(label, scope="row"),
            html.Td(_say(change.before, digits, unit), className="interval"),
            html.Td(_say(change.after, digits, unit), className="interval"),
            html.Td(difference, className="interval"),
            html.Td(say_verdict(change)),
            None if is_common else html.Td(change.reason, className="quiet"),
        ]
    )


def _say(value: float, digits: int, unit: str) -> str:
    return f"{say_number(value, digits)}{unit}" if math.isfinite(value) else "withheld"


def simulated_sentence(before: SideSummary, after: SideSummary, simulated: bool) -> str:
    """The sentence that stands beside both hand maps; empty with a reference of people."""
    measured = any(math.isfinite(angle.z) for angle in (*before.angles, *after.angles))
    return SIMULATED_NOTE if simulated and measured else ""
