"""Two recordings held against each other as researchers see them."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import routes
from components.attributes import as_written
from components.nameless import draw_two
from components.research import WHAT_THIS_IS, limits, name_coded, open_part, say_comparison
from components.security import current_actor
from components.states import failed
from pipeline.errors import RedysError
from records import get_records

dash.register_page(__name__, path_template=routes.RESEARCH_COMPARE, title="Two recordings - ReDys")


def layout(coded_a: str | None = None, coded_b: str | None = None, **_: Any) -> Any:
    """What changed from the earlier to the later, whatever the address has first."""
    research = get_records().research
    try:
        if coded_a == coded_b:
            raise RedysError("This is one recording, twice.", "Choose two visits of a person to compare.")
        rows = [research.get(coded or "") for coded in (coded_a, coded_b)]
        if rows[0].person == rows[1].person:
            rows.sort(key=lambda row: (row.day is None, row.day or 0))
        comparison = research.compare(rows[0].id, rows[1].id)
        parts = [open_part(row) for row in rows]
    except RedysError as error:
        back = dcc.Link("All recordings for research", href=routes.RESEARCH)
        return [html.H1("Two recordings"), failed(error), back]
    research.note([row.id for row in rows], "view", current_actor())
    links = [
        html.Div([html.Dt(word), html.Dd(dcc.Link(as_written(name_coded(row)), href=address))])
        for word, row in zip(("Earlier visit", "Later visit"), rows, strict=True)
        for address in (routes.research_recording_url(row.id),)
    ]
    head = html.Header(
        [
            html.H1("Two recordings"),
            html.Dl(links, className="figures"),
            html.P(WHAT_THIS_IS, className="plot-note"),
        ]
    )
    drawn = draw_two(parts, comparison.sides, comparison.warnings, say_comparison(comparison))
    return html.Article([head, *drawn, limits(*(part.summary for part in parts))], className="report")
