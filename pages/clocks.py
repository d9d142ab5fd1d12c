"""A camera's clock, set by eye and ear."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, State, callback, dcc, html

from components import ids, jobs, routes
from components.clocks import clock_bench, read_clocks, use_offset
from components.report import name_recording
from components.states import failed, notice
from pipeline.errors import RedysError
from records import NotFound, get_records

dash.register_page(__name__, path_template=routes.CLOCKS, title="Clocks - ReDys")

LEAD = (
    "All cameras must be on the reference camera's clock. The sound that both recorded tells how far a "
    "camera is off; where it does not tell for certain, the offset can be set here by eye and ear."
)
HEAR_FIRST = (
    "No run has kept this recording's sound yet, so there is none to show. "
    "An offset can be typed all the same; the next run keeps the sound."
)


def layout(recording_id: str | None = None, **_: Any) -> Any:
    """The cameras' sound over each other, and what can be done with it."""
    try:
        recording = get_records().get_recording(recording_id or "")
    except NotFound as error:
        return [html.H1("Clocks"), failed(error), dcc.Link("All recordings", href=routes.WORKLIST)]
    head = html.Header(
        [
            html.Div(
                [
                    html.H1("Clocks"),
                    html.Div(
                        dcc.Link(
                            "Back to the recording",
                            href=routes.recording_url(recording.id),
                            className="btn btn-outline-secondary",
                        ),
                        className="actions",
                    ),
                ],
                className="report-title",
            ),
            html.P(name_recording(recording), className="who"),
            html.P(LEAD, className="panel-lead"),
        ],
        className="report-head",
    )
    try:
        clocks = read_clocks(recording)
    except RedysError as error:
        return html.Article([head, failed(error)])
    if len(clocks.cameras) < 2:
        alone = "This recording has one camera: there is no other clock to set."
        return html.Article([head, notice("info", html.P(alone))])
    hint = notice("partial", html.P(HEAR_FIRST)) if clocks.run_id is None else None
    run = recording.run
    at_work = jobs.run_panel(run) if run is not None and run.is_live else None
    return html.Article([head, at_work, hint, clock_bench(recording, clocks)])


@callback(
    Output(ids.LOCATION, "href", allow_duplicate=True),
    Output(ids.JOB_REQUEST, "data", allow_duplicate=True),
    Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
    Output(ids.CLOCKS_ANSWER, "children"),
    Input(ids.CLOCKS_REQUEST, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def use(request: dict[str, Any] | None, tick: int | None) -> tuple[Any, ...]:
    """Keep what the person chose, work the recording again, and go to its page."""
    return use_offset(request, tick)
