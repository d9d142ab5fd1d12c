"""Which visits of a person can be held against each other: a table of all pairs, each a link."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dash import dcc, html

from components import routes
from components.attributes import aria, as_written
from components.states import failed
from components.status import level_icon, panel
from pipeline.errors import RedysError
from pipeline.measures.change import find_differences
from pipeline.measures.levels import BETWEEN, UNKNOWN, WITHIN, Level
from pipeline.measures.summary import Summary
from records import RecordingRow, get_records


@dataclass(frozen=True)
class Visit:
    """A recording with its report; ``name`` tells it from the others of its day."""

    recording: RecordingRow
    summary: Summary
    name: str


def comparability_panel(recordings: Sequence[RecordingRow]) -> list[Any]:
    """A table for each task with two reports or more; nothing without."""
    visits, errors = _open(recordings)
    parts: list[Any] = [failed(error) for error in errors]
    tasks = dict.fromkeys(visit.recording.task for visit in visits)
    for task in tasks:
        own = [visit for visit in visits if visit.recording.task == task]
        if len(own) > 1:
            parts += [html.H3(as_written(task)) if len(tasks) > 1 else None, *_table(own)]
    if not parts:
        return []
    lead = "Earlier visits across, later ones down. A link compares the two."
    return [panel("Which visits can be compared", *parts, lead=lead)]


def _open(recordings: Sequence[RecordingRow]) -> tuple[list[Visit], list[RedysError]]:
    visits: list[Visit] = []
    errors: list[RedysError] = []
    days: dict[tuple[str, datetime.date | None], int] = {}
    for recording in recordings:
        try:
            summary = get_records().read_summary(recording.report_run_id or "")
        except RedysError as error:
            errors.append(error)
            continue
        if summary is not None:
            key = (recording.task, recording.visit)
            days[key] = days.get(key, 0) + 1
            name = recording.visit.isoformat() if recording.visit else "undated"
            visits.append(Visit(recording, summary, f"{name} ({days[key]})" if days[key] > 1 else name))
    return visits, errors


def _table(visits: list[Visit]) -> list[Any]:
    across = visits[:-1]
    reasons: dict[str, int] = {}
    head = html.Tr([html.Td(), *(html.Th(visit.name, scope="col") for visit in across)])
    rows = []
    for number, later in enumerate(visits[1:], start=1):
        cells = [
            _cell(earlier, later, reasons) if place < number else html.Td("", className="pair-none")
            for place, earlier in enumerate(across)
        ]
        rows.append(html.Tr([html.Th(later.name, scope="row"), *cells]))
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="numbers pairs")
    notes = [html.Li([html.Strong(f"{number}. "), words]) for words, number in reasons.items()]
    return [
        html.Div(table, className="table-scroll", tabIndex=0, role="group", **aria(label="Pairs of visits")),
        html.Ul(notes, className="pair-reasons") if notes else None,
    ]


def _cell(earlier: Visit, later: Visit, reasons: dict[str, int]) -> html.Td:
    """Mark, word and the numbers of the reasons, which are spelled out once below the table."""
    differences = find_differences(earlier.summary, later.summary)
    failed_check = "failed" in (earlier.summary.quality.verdict, later.summary.quality.verdict)
    level: Level = WITHIN
    word = "comparable"
    if differences:
        level, word = BETWEEN, "not comparable"
    elif failed_check:
        level, word = UNKNOWN, "quality check failed"
    for words in differences:
        reasons.setdefault(words, len(reasons) + 1)
    which = ", ".join(str(reasons[words]) for words in differences)
    link = dcc.Link(
        [level_icon(level), word],
        href=routes.compare_url(earlier.recording.id, later.recording.id),
        title=f"Compare {earlier.name} with {later.name}",
    )
    return html.Td([link, html.Span(f" ({which})", className="quiet") if which else None])
