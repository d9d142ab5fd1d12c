"""A new recording: its files (sent, or on the server already), its settings, checks in words, start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, intake, routes
from components.attributes import data
from components.jobs import job_request
from components.security import current_actor
from components.states import failed
from pipeline.errors import RedysError
from records import get_records

dash.register_page(__name__, path=routes.NEW, title="New recording - ReDys")


def layout(**_: Any) -> Any:
    """The form, from top to bottom in the order in which it is filled."""
    return [
        html.H1("New recording"),
        html.Div(
            [
                dcc.Store(id=ids.NEW_FILES),
                dcc.Store(id=ids.NEW_CHECKED),
                _source(),
                intake.settings_form(get_records().list_tasks()),
                intake.places_choice(get_records().rigs.list(retired=False)),
                html.Section(
                    [
                        html.H2("Check and start"),
                        html.Div(
                            [
                                html.Button("Check the files", id=ids.NEW_CHECK, className="btn btn-primary"),
                                html.Button(
                                    "Start", id=ids.NEW_START, className="btn btn-primary", disabled=True
                                ),
                            ],
                            className="actions",
                        ),
                        dcc.Loading(
                            html.Div(intake.NOT_CHECKED, id=ids.NEW_CHECKS, className="check-result"),
                            delay_show=300,
                            type="dot",
                        ),
                    ],
                    className="card",
                ),
            ],
            className="new-page",
        ),
    ]


def _source() -> html.Section:
    return html.Section(
        [
            html.H2("Files"),
            dbc.RadioItems(
                id=ids.NEW_SOURCE,
                options=[
                    {"label": "Send from this computer", "value": "upload"},
                    {"label": "A folder on the server", "value": "folder"},
                ],
                value="upload",
                inline=True,
            ),
            html.Div(
                [
                    html.P(
                        "One video per camera. A cut connection goes on where it stopped; a reload finds "
                        "what has arrived.",
                        className="hint",
                    ),
                    html.P(
                        "At most ten minutes and 4096 x 2304 each. The place, names, the camera's number and "
                        "all else that a file tells beside pictures and sound is taken out when it has "
                        "arrived; how long the lens is and which way is up stays.",
                        className="hint",
                    ),
                    intake.room_note(current_actor()),
                    html.Div(
                        id=ids.NEW_UPLOAD,
                        **data(
                            module="upload",
                            store=ids.NEW_FILES,
                            tus=routes.vendor_url("tus.min.js"),
                            accept=intake.ACCEPT,
                            columns=ids.NEW_BOARD_COLUMNS,
                            rows=ids.NEW_BOARD_ROWS,
                        ),
                    ),
                    html.Datalist(
                        [html.Option(value=camera) for camera in ("front", "left", "right")],
                        id="upload-cameras",
                    ),
                ],
                id=ids.NEW_UPLOAD_PANE,
            ),
            html.Div(
                [
                    intake.folder_choice(),
                    html.P(id=ids.NEW_FOLDER_NOTE, className="hint", role="status"),
                    html.Div(id=ids.NEW_FOLDER_FILES),
                ],
                id=ids.NEW_FOLDER_PANE,
                hidden=True,
            ),
        ],
        className="card",
    )


_FORM = {
    "subject": State(ids.NEW_SUBJECT, "value"),
    "visit": State(ids.NEW_VISIT, "value"),
    "task": State(ids.NEW_TASK, "value"),
    "side": State(ids.NEW_SIDE, "value"),
    "preset": State(ids.NEW_PRESET, "value"),
    "detector": State(ids.NEW_DETECTOR, "value"),
    "estimator": State(ids.NEW_ESTIMATOR, "value"),
    "reference": State(ids.NEW_REFERENCE, "value"),
    "columns": State(ids.NEW_BOARD_COLUMNS, "value"),
    "rows": State(ids.NEW_BOARD_ROWS, "value"),
    "square_mm": State(ids.NEW_BOARD_SQUARE, "value"),
    "hand_length_mm": State(ids.NEW_HAND_LENGTH, "value"),
    "places": State(ids.NEW_PLACES, "value"),
    "rig": State(ids.NEW_RIG, "value"),
}


@callback(
    Output(ids.NEW_UPLOAD_PANE, "hidden"),
    Output(ids.NEW_FOLDER_PANE, "hidden"),
    Output(ids.NEW_FORM, "disabled"),
    Output(ids.NEW_FOLDER_NOTE, "children"),
    Output(ids.NEW_FOLDER_FILES, "children"),
    Input(ids.NEW_SOURCE, "value"),
    Input(ids.NEW_FOLDER, "value"),
)
def choose_source(source: str, folder: str | None) -> tuple[bool, bool, bool, str, Any]:
    """Show the pane of the source and what is in a folder; one with settings of its own keeps them."""
    if source != "folder":
        return False, True, False, "", None
    note = intake.describe_folder(folder)
    return True, False, note == intake.OWN_SETTINGS, note, intake.folder_files(folder)


@callback(
    Output(ids.NEW_RIG_PANE, "hidden"),
    Output(ids.NEW_RIG_NOTE, "children"),
    Input(ids.NEW_PLACES, "value"),
    Input(ids.NEW_RIG, "value"),
)
def choose_places(places: str, rig_id: str | None) -> tuple[bool, Any]:
    """Show the rigs where one is to be chosen, and say what the choice means."""
    return places != intake.SAVED_RIG, intake.describe_places(places, rig_id)


@callback(
    Output(ids.NEW_CHECKS, "children"),
    Output(ids.NEW_CHECKED, "data"),
    Output(ids.NEW_START, "disabled"),
    Input(ids.NEW_CHECK, "n_clicks"),
    State(ids.NEW_SOURCE, "value"),
    State(ids.NEW_FILES, "data"),
    State(ids.NEW_FOLDER, "value"),
    _FORM,
    prevent_initial_call=True,
)
def check(
    clicks: int | None, source: str, files: dict[str, Any] | None, folder: str | None, form: dict[str, Any]
) -> tuple[Any, Any, bool]:
    """Say in words what is wrong before anything runs."""
    if not clicks:
        raise PreventUpdate
    try:
        session_folder = intake.prepare(source, files or {}, folder, form, current_actor())
        said = (*intake.say_places(source, files or {}, form), *intake.say_visit(source, folder, form))
        if source == "upload" and files:
            said = (*said, *intake.say_bare(files, current_actor()))
    except RedysError as error:
        return failed(error), None, True
    found = (*intake.check(session_folder, was_sent=source == "upload"), *said)
    checked = {"source": source, "draft": (files or {}).get("draft"), "folder": folder}
    return intake.findings(found), checked, any(finding.level == "error" for finding in found)


@callback(
    Output(ids.NEW_CHECKS, "children", allow_duplicate=True),
    Output(ids.NEW_CHECKED, "data", allow_duplicate=True),
    Output(ids.NEW_START, "disabled", allow_duplicate=True),
    Input(ids.NEW_SOURCE, "value"),
    Input(ids.NEW_FILES, "data"),
    Input(ids.NEW_FOLDER, "value"),
    [Input(each.component_id, "value") for each in _FORM.values()],
    State(ids.NEW_CHECKED, "data"),
    prevent_initial_call=True,
)
def forget_check(*values: Any) -> tuple[Any, None, bool]:
    """Whatever changes after the check must be checked again."""
    if values[-1] is None:
        raise PreventUpdate
    return intake.NOT_CHECKED, None, True


@callback(
    Output(ids.LOCATION, "href"),
    Output(ids.JOB_REQUEST, "data", allow_duplicate=True),
    Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
    Output(ids.NEW_CHECKS, "children", allow_duplicate=True),
    Input(ids.NEW_START, "n_clicks"),
    State(ids.NEW_CHECKED, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def start(clicks: int | None, checked: dict[str, Any] | None, tick: int | None) -> tuple[Any, ...]:
    """Make the recording and its run, and go to its page."""
    if not clicks or not checked:
        raise PreventUpdate
    actor = current_actor()
    try:
        folder: Path = intake.keep(checked, actor)
        recording = get_records().add_recording(folder, actor=actor)
        run = get_records().submit_run(recording.id, actor)
        intake.forget(checked, actor)
    except RedysError as error:
        return no_update, no_update, no_update, failed(error)
    return routes.recording_url(recording.id), job_request(run.id), (tick or 0) + 1, no_update
