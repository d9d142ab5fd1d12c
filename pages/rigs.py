"""The rigs that are kept: calibrated cameras that recordings use again as long as nobody touches them."""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path
from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import aria, data
from components.rigs import check_badge, say_source
from components.security import current_actor
from components.states import empty, failed, notice
from components.status import verdict_badge
from pipeline.errors import RedysError
from records import RigRow, get_records
from records.drafts import RIG_SUFFIXES
from records.errors import UploadError

dash.register_page(__name__, path=routes.RIGS, title="Rigs - ReDys")

MAX_BYTES = 2 * 2**20
"""A calibration of a thousand frames takes a third of it, and it goes through a form, which is limited."""

HEADS = ("Name", "Cameras", "From", "Verdict", "Kept on", "Calibrated in", "Used by", "Last check")


def layout(**_: Any) -> Any:
    """The list, and the way for a rig from elsewhere; the empty state says how a rig comes to be."""
    rows = get_records().rigs.list()
    return [
        html.H1("Rigs"),
        html.P(
            "A rig is a set of calibrated cameras. Recordings may use it again as long as no camera, lens or "
            "zoom has been touched; each run checks that with the hand itself.",
            className="panel-lead",
        ),
        html.Div(rig_list(rows), id=ids.RIG_LIST),
        _add_form() if policy.may("work") else None,
    ]


def rig_list(rows: tuple[RigRow, ...]) -> Any:
    """The table of rigs."""
    if not rows and not policy.may("work"):
        return notice("info", html.P("No rig is kept yet."))
    if not rows:
        return empty(
            "No rig is kept yet. Film a checkerboard with all cameras at once, add the recording, and keep "
            "the rig from its report, under “Cameras”.",
            "Add a recording",
            routes.NEW,
        )
    return html.Div(
        html.Table(
            [
                html.Thead(html.Tr([html.Th(head, scope="col") for head in HEADS])),
                html.Tbody([_row(row) for row in rows]),
            ],
            className="table worklist rig-list",
        ),
        className="table-frame",
        tabIndex=0,
        role="region",
        **aria(label="Rigs"),
    )


def _row(row: RigRow) -> html.Tr:
    name: list[Any] = [dcc.Link(row.name, href=routes.rig_url(row.id), className="row-link")]
    if row.retired:
        name.append(html.Div("retired: no longer offered", className="row-note"))
    origin: Any = "a file"
    if row.from_recording_id is not None:
        origin = dcc.Link(row.from_title, href=routes.recording_url(row.from_recording_id))
    count = len(row.uses)
    last = row.last_check
    check: Any = "–"
    if last is not None and last.verdict is not None and last.checked is not None:
        day = html.Div(last.checked.date().isoformat(), className="row-note")
        check = [check_badge(last.verdict), day]
    cells = [
        ", ".join(row.cameras),
        say_source(row),
        verdict_badge(row.verdict),
        row.created.date().isoformat(),
        origin,
        f"{count} recording{'' if count == 1 else 's'}",
        check,
    ]
    # On a phone the heads are gone and each cell says its own.
    labelled = [html.Td(cell, **data(label=head)) for head, cell in zip(HEADS[1:], cells, strict=True)]
    return html.Tr([html.Th(name, scope="row"), *labelled])


def _add_form() -> html.Section:
    return html.Section(
        [
            html.H2("Add a rig from a file"),
            html.P(
                "rig.json of this program, YAML of OpenCV, TOML of aniposelib. The latter two do not say how "
                "good the calibration was, so they are kept as “check”; lengths are taken as mm.",
                className="hint",
            ),
            html.Div(
                [
                    html.Div(
                        [
                            html.Label("Name of the rig", htmlFor=ids.RIG_ADD_NAME),
                            dbc.Input(id=ids.RIG_ADD_NAME, placeholder="Studio, desk left", maxLength=80),
                        ],
                        className="field",
                    ),
                    html.Div(
                        id=ids.RIG_ADD,
                        className="field",
                        **data(
                            module="rigfile",
                            store=ids.RIG_ADD_FILE,
                            accept=",".join(RIG_SUFFIXES),
                            most=str(MAX_BYTES),
                            label="File (added as soon as it is chosen)",
                        ),
                    ),
                    dcc.Store(id=ids.RIG_ADD_FILE),
                ],
                className="rig-form",
            ),
            dcc.Loading(html.Div(id=ids.RIG_ADD_RESULT, role="status"), delay_show=300, type="dot"),
        ],
        className="card",
    )


@callback(
    Output(ids.RIG_ADD_RESULT, "children"),
    Output(ids.RIG_LIST, "children"),
    Input(ids.RIG_ADD_FILE, "data"),
    State(ids.RIG_ADD_NAME, "value"),
    prevent_initial_call=True,
)
def add_rig(file: dict[str, Any] | None, name: str | None) -> tuple[Any, Any]:
    """Keep a rig from a file that was chosen; without a name it is called after its file."""
    if not file:
        raise PreventUpdate
    path = Path(Path(str(file.get("name") or "rig")).name)
    try:
        row = _add(str(file.get("contents")), path, (name or "").strip() or path.stem)
    except RedysError as error:
        return failed(error), no_update
    said = notice("info", html.P(["Kept as ", dcc.Link(row.name, href=routes.rig_url(row.id)), "."]))
    return said, rig_list(get_records().rigs.list())


def _add(contents: str, file: Path, name: str) -> RigRow:
    try:
        content = base64.b64decode(contents, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UploadError(f"{file.name} did not arrive whole.", "Choose it again.") from error
    if len(content) > MAX_BYTES:
        raise UploadError(f"{file.name} is larger than {MAX_BYTES // 2**20} MB.", "That is no rig.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (_plain(file.stem) + file.suffix.lower())  # messages name the file
        path.write_bytes(content)
        return get_records().rigs.add(path, name, current_actor())


def _plain(stem: str) -> str:
    """A file's name that can do no harm as one."""
    return "".join(letter for letter in stem if letter.isalnum() or letter in " -_")[:80] or "rig"
