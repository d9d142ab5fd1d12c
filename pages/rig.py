"""One rig that is kept: its cameras, who used it, its files, its name."""

from __future__ import annotations

from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import as_written
from components.rigs import FORMATS, check_badge, rig_report, uses_table
from components.security import current_actor
from components.states import failed, notice
from components.status import panel
from pipeline.errors import RedysError
from records import NotFound, RigRow, get_records

dash.register_page(__name__, path_template=routes.RIG, title="Rig - ReDys")


def layout(rig_id: str | None = None, **_: Any) -> Any:
    """The rig; what cannot be read of it is said, and its name and uses stand all the same."""
    try:
        row = get_records().rigs.get(rig_id or "")
    except NotFound as error:
        return [html.H1("Rig"), failed(error), dcc.Link("All rigs", href=routes.RIGS)]
    try:
        cameras: Any = rig_report(get_records().rigs.read(row.id))
    except RedysError as error:
        cameras = failed(error)
    return html.Article(
        [
            dcc.Store(id=ids.RIG_ID, data=row.id),
            html.Div(heading(row), id=ids.RIG_HEADING),
            panel("Cameras", cameras),
            panel("Recordings that used it", uses_table(row)),
            panel("Files for other programs", _downloads(row)) if policy.may("export") else None,
            _name_form(row) if policy.may("work") else None,
        ],
        className="report",
    )


def heading(row: RigRow) -> list[Any]:
    """Name, origin, and whether it may have gone stale."""
    origin: Any = "a file"
    if row.from_recording_id is not None:
        origin = dcc.Link(row.from_title, href=routes.recording_url(row.from_recording_id))
    found: list[tuple[str, Any]] = [
        ("Calibrated in", origin),
        ("Kept on", row.created.date().isoformat()),
        ("Used by", f"{len(row.uses)} recording{'' if len(row.uses) == 1 else 's'}"),
    ]
    parts: list[Any] = [
        html.H1(f"Rig {row.name}"),
        html.Dl([html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures who"),
    ]
    if row.retired:
        parts.append(notice("partial", html.P("Retired: it is no longer offered for new recordings.")))
    last = row.last_check
    if last is not None and last.verdict in ("doubtful", "moved") and last.checked is not None:
        link = dcc.Link(as_written(last.title), href=routes.recording_url(last.recording_id))
        day = last.checked.date().isoformat()
        words: list[Any] = ["Last check, ", day, " in ", link, ": ", check_badge(last.verdict), ". "]
        advice = "Film the checkerboard again before the next recording, and retire this rig."
        parts.append(notice("partial", html.P([*words, advice])))
    return parts


def _downloads(row: RigRow) -> html.Ul:
    links = [
        html.Li(html.A(words, href=routes.rig_file_url(row.id, suffix), download=f"rig{suffix}"))
        for suffix, words in FORMATS
    ]
    return html.Ul(links, className="downloads")


def _name_form(row: RigRow) -> Any:
    return panel(
        "Name, and whether it is offered",
        html.Div(
            [
                html.Div(
                    [
                        html.Label("Name", htmlFor=ids.RIG_NAME),
                        dbc.Input(id=ids.RIG_NAME, value=row.name, maxLength=80),
                    ],
                    className="field",
                ),
                html.Button("Rename", id=ids.RIG_RENAME, className="btn btn-outline-secondary"),
                html.Button(_retire_words(row), id=ids.RIG_RETIRE, className="btn btn-outline-secondary"),
            ],
            className="rig-form",
        ),
        html.P(
            "A retired rig is no longer offered. It is not removed: the recordings that used it keep it.",
            className="plot-note",
        ),
        html.Div(id=ids.RIG_RESULT, role="status"),
    )


def _retire_words(row: RigRow) -> str:
    return "Offer it again" if row.retired else "Retire"


@callback(
    Output(ids.RIG_HEADING, "children"),
    Output(ids.RIG_RESULT, "children"),
    Input(ids.RIG_RENAME, "n_clicks"),
    Input(ids.RIG_NAME, "n_submit"),
    State(ids.RIG_NAME, "value"),
    State(ids.RIG_ID, "data"),
    prevent_initial_call=True,
)
def rename(clicks: int | None, submits: int | None, name: str | None, rig_id: str) -> tuple[Any, Any]:
    """Call the rig something else."""
    if not clicks and not submits:
        raise PreventUpdate
    rigs = get_records().rigs
    try:
        row = rigs.rename(rig_id, name or "", current_actor())
    except RedysError as error:
        return heading(rigs.get(rig_id)), failed(error)
    return heading(row), notice("info", html.P(f"It is called {row.name} now."))


@callback(
    Output(ids.RIG_HEADING, "children", allow_duplicate=True),
    Output(ids.RIG_RESULT, "children", allow_duplicate=True),
    Output(ids.RIG_RETIRE, "children"),
    Input(ids.RIG_RETIRE, "n_clicks"),
    State(ids.RIG_ID, "data"),
    prevent_initial_call=True,
)
def retire(clicks: int | None, rig_id: str) -> tuple[Any, Any, str]:
    """Offer the rig no longer, or again."""
    if not clicks:
        raise PreventUpdate
    rigs = get_records().rigs
    row = rigs.retire(rig_id, not rigs.get(rig_id).retired, current_actor())
    words = "It is no longer offered." if row.retired else "It is offered again."
    return heading(row), notice("info", html.P(words)), _retire_words(row)
