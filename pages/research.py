"""What researchers begin with: recordings under codes, and the numbers of all of them as tables."""

from __future__ import annotations

from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import Input, Output, callback, ctx, html

from components import ids, routes
from components.attributes import Written
from components.research import NOT_ANONYMOUS, WHAT_THIS_IS, table
from components.states import notice
from records import ResearchRow, get_records

dash.register_page(__name__, path=routes.RESEARCH, title="Research - ReDys")

PAGE_SIZE = 50
ANY = "any"


def layout(**_: Any) -> Any:
    """The filters, the table, and the way to take all numbers along."""
    rows = get_records().research.list_recordings()
    download = html.A("All numbers (CSV)", href=routes.RESEARCH_NUMBERS, className="btn btn-primary")
    heading = html.Div(
        [html.H1("Recordings for research"), download if rows else None], className="page-head"
    )
    about = [html.P(WHAT_THIS_IS), html.P(NOT_ANONYMOUS, className="plot-note")]
    if not rows:
        return [heading, *about, notice("info", html.P("No recording has a report yet."))]
    return [
        heading,
        *about,
        _filters(rows),
        html.Div(table(rows[:PAGE_SIZE], 0, len(rows)), id=ids.RESEARCH_TABLE),
        html.Div(
            _field(
                "Page",
                dbc.Select(id=ids.RESEARCH_PAGE, options=_page_options(len(rows)), value="0"),
                ids.RESEARCH_PAGE,
            ),
            id=ids.RESEARCH_PAGER,
            className="pager",
            hidden=len(rows) <= PAGE_SIZE,
        ),
    ]


def _filters(rows: tuple[ResearchRow, ...]) -> html.Div:
    search = dbc.Input(id=ids.RESEARCH_SEARCH, type="search", debounce=300, placeholder="A person's code")
    tasks = sorted({row.task for row in rows})
    options = [{"label": "Any", "value": ANY}, *({"label": Written(task), "value": task} for task in tasks)]
    task = dbc.Select(id=ids.RESEARCH_TASK, options=options, value=ANY)
    return html.Div(
        [_field("Search", search, ids.RESEARCH_SEARCH), _field("Task", task, ids.RESEARCH_TASK)],
        className="filters",
        role="search",
    )


def _field(label: str, control: Any, control_id: str) -> html.Div:
    return html.Div([html.Label(label, htmlFor=control_id), control], className="field")


def _page_options(total: int) -> list[dict[str, str]]:
    count = max(1, -(-total // PAGE_SIZE))
    return [{"label": f"{number + 1} of {count}", "value": str(number)} for number in range(count)]


@callback(
    Output(ids.RESEARCH_TABLE, "children"),
    Output(ids.RESEARCH_PAGE, "options"),
    Output(ids.RESEARCH_PAGE, "value"),
    Output(ids.RESEARCH_PAGER, "hidden"),
    Input(ids.RESEARCH_SEARCH, "value"),
    Input(ids.RESEARCH_TASK, "value"),
    Input(ids.RESEARCH_PAGE, "value"),
    prevent_initial_call=True,
)
def find(search: str | None, task: str | None, number: str | None) -> tuple[Any, Any, str, bool]:
    """What fits; again from its first page, unless the page is what was chosen."""
    rows = get_records().research.list_recordings(search or "")
    rows = tuple(row for row in rows if task in (None, ANY, row.task))
    stays = ctx.triggered_id == ids.RESEARCH_PAGE and (number or "").isdecimal()
    offset = min(PAGE_SIZE * int(number or "0"), len(rows)) if stays else 0
    shown = rows[offset : offset + PAGE_SIZE]
    return (
        table(shown, offset, len(rows)),
        _page_options(len(rows)),
        str(offset // PAGE_SIZE),
        len(rows) <= PAGE_SIZE,
    )
