"""A recording as researchers see it: the moving mean hand and the numbers, under codes."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import routes
from components.attributes import as_written
from components.nameless import draw_one
from components.research import (
    WHAT_THIS_IS,
    limits,
    name_coded,
    open_part,
    playing_panels,
    say_day,
    take_away_coded,
)
from components.security import current_actor
from components.states import failed
from pipeline.errors import RedysError
from records import get_records

dash.register_page(__name__, path_template=routes.RESEARCH_RECORDING, title="Numbers - ReDys")


def layout(coded: str | None = None, **_: Any) -> Any:
    """Who and when by code and day, the moving hand, and every number of the report."""
    research = get_records().research
    try:
        row = research.get(coded or "")
        part = open_part(row)
    except RedysError as error:
        back = dcc.Link("All recordings for research", href=routes.RESEARCH)
        return [html.H1("Numbers"), failed(error), back]
    research.note([row.id], "view", current_actor())
    person = dcc.Link(as_written(row.person), href=routes.research_person_url(row.person))
    found: list[tuple[str, Any]] = [
        ("Person", person),
        ("Visit", say_day(row.day)),
        ("Task", as_written(row.task)),
        ("Hand", row.side),
        ("Length", f"{part.summary.recording.duration_s:.1f} s"),
    ]
    head = html.Header(
        [
            html.H1(as_written(name_coded(row))),
            html.Dl(
                [html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures who"
            ),
            html.P(WHAT_THIS_IS, className="plot-note"),
        ],
        className="report-head",
    )
    drawn = draw_one(part, name_coded(row), *playing_panels(part.summary))
    return html.Article([head, *drawn, take_away_coded(row), limits(part.summary)], className="report")
