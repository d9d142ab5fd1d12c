"""What is in the trash, and what is past its date."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, Input, Output, callback, ctx, dcc, html
from dash.exceptions import PreventUpdate

from components import ids, routes
from components.retention import trash_body
from components.security import current_actor
from components.states import failed, notice
from pipeline.errors import RedysError
from records import get_records

dash.register_page(__name__, path=routes.TRASH, title="Trash - ReDys")


def layout(**_: Any) -> Any:
    """Both lists; an empty one says so."""
    return [
        html.H1("Trash"),
        html.Div(id=ids.TRASH_ANSWER, role="status"),
        html.Div(trash_body(), id=ids.TRASH_BODY),
        html.P(dcc.Link("All recordings", href=routes.WORKLIST)),
    ]


@callback(
    Output(ids.TRASH_BODY, "children"),
    Output(ids.TRASH_ANSWER, "children", allow_duplicate=True),
    Input(ids.trash_back(ALL), "n_clicks"),
    prevent_initial_call=True,
)
def bring_back(clicks: list[int | None]) -> tuple[Any, Any]:
    """Take a recording out of the trash."""
    if not any(clicks) or not isinstance(ctx.triggered_id, dict) or not ctx.triggered[0]["value"]:
        raise PreventUpdate
    recording_id = str(ctx.triggered_id["recording"])
    try:
        get_records().retention.bring_back(recording_id, current_actor())
    except RedysError as error:
        return trash_body(), failed(error)
    link = dcc.Link("Open its report", href=routes.recording_url(recording_id))
    return trash_body(), notice("info", html.P(["It is back. ", link]))
