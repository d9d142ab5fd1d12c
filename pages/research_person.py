"""All recordings of one person as researchers see them: days, scales, and each headline number over time."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import routes
from components.attributes import as_written
from components.research import say_day, say_study, scores_table
from components.security import current_actor
from components.states import failed, partial
from components.status import verdict_badge
from components.trend import headline_trends
from pipeline.errors import RedysError
from records import ResearchRow, get_records

dash.register_page(__name__, path_template=routes.RESEARCH_PERSON, title="Visits - ReDys")


def layout(person: str | None = None, **_: Any) -> Any:
    """The visits by day, each with the one to compare it with, and the trends."""
    research = get_records().research
    try:
        rows = research.list_person(person or "")
        trends = research.make_trends(person or "")
    except RedysError as error:
        back = dcc.Link("All recordings for research", href=routes.RESEARCH)
        return [html.H1("Visits"), failed(error), back]
    research.note([row.id for row in rows[:1]], "view-person", current_actor())
    undated = sum(row.day is None for row in rows)
    study = say_study(research.has_study)
    return [
        html.H1(["Visits of ", as_written(rows[0].person)]),
        html.Ol([_visit(row, _before(row, rows)) for row in rows], className="visit-list"),
        scores_table(research.list_scores(rows[0].person)),
        partial(f"Not in the plots, since their day is not known: {undated} of {len(rows)}.")
        if undated
        else None,
        *(headline_trends(f"Over time: {task}, {side} hand", trend, study) for task, side, trend in trends),
    ]


def _before(row: ResearchRow, rows: tuple[ResearchRow, ...]) -> ResearchRow | None:
    """The last recording of the same task and side before this one."""
    earlier = [each for each in rows[: rows.index(row)] if (each.task, each.side) == (row.task, row.side)]
    return earlier[-1] if earlier and row.day is not None else None


def _visit(row: ResearchRow, before: ResearchRow | None) -> html.Li:
    address = routes.research_recording_url(row.id)
    links: list[Any] = [
        dcc.Link([f"{say_day(row.day)}: ", as_written(row.task), f", {row.side}"], href=address)
    ]
    if before is not None:
        links.append(
            dcc.Link(
                f"Compare with {say_day(before.day)}",
                href=routes.research_compare_url(before.id, row.id),
                className="row-side-link",
            )
        )
    quality = html.Span(["Quality: ", verdict_badge(row.quality)], className="visit-quality")
    return html.Li([html.Div(links), html.Div(quality if row.quality else None, className="visit-marks")])
