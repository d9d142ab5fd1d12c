"""Corrections by a person: which are in force, what was changed by whom, and the forms that correct."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

import dash_bootstrap_components as dbc
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import Written, aria, as_written
from components.jobs import job_request, run_panel
from components.marks import field, name_author, time_field
from components.security import current_actor
from components.states import failed, notice
from components.status import say_number, say_time
from pipeline.errors import RedysError, SessionError
from pipeline.measures.summary import Summary
from pipeline.session import Session, read_session
from records import CorrectionRow, RecordingRow, RunRow, get_records
from records.corrections import CameraNames

BEHIND: Final = "The numbers of this report are from before the latest corrections."

KIND_WORDS: Final = {
    "offset": "Clock of a camera",
    "cameras": "Cameras' names",
    "side": "Hand",
    "exclusions": "Section left out",
}
_HANDS: Final = [{"value": side, "label": side.capitalize()} for side in ("right", "left", "both")]


def excluded_note(summary: Summary) -> html.Div | None:
    """What was left out by hand, and why; None where nothing was."""
    if not summary.excluded:
        return None
    lines = []
    for each in summary.excluded:
        whose = f", {each.side} hand" if each.side else ""
        when = f"{say_time(each.start_s)} to {say_time(each.end_s)}"
        words = f"{each.seconds:.1f} s left out by hand, {when}{whose}: "
        lines.append(html.Li([words, as_written(each.reason)]))
    return html.Div(html.Ul(lines, className="excluded-note"), className="excluded")


def behind_notice(*recordings: RecordingRow) -> html.Div | None:
    """That numbers are from before the latest corrections, and whose; None where they are not."""
    behind = []
    for recording in recordings:
        with contextlib.suppress(RedysError):  # the panel of the corrections says what is wrong with them
            if get_records().corrections.is_report_current(recording.id) is False:
                behind.append(recording)
    if not behind:
        return None
    if len(recordings) == 1:
        return notice("partial", html.P(BEHIND), role="status")
    links = [
        html.Li(dcc.Link(str(each.visit or "undated"), href=routes.recording_url(each.id))) for each in behind
    ]
    return notice("partial", html.P("These numbers are from before the latest corrections:"), html.Ul(links))


# --- the panel -----------------------------------------------------------------------------------


def corrections_panel(recording: RecordingRow) -> list[Any]:
    """What stands in the panel of a recording's corrections."""
    return [
        dcc.Store(id=ids.CORRECTIONS_OF, data=recording.id),
        html.Div(show_corrections(recording), id=ids.CORRECTIONS, className="corrections"),
        html.Div(id=ids.CORRECTIONS_ANSWER, role="status"),
    ]


def show_corrections(recording: RecordingRow) -> list[Any]:
    """Everything of a recording's corrections: what the report lacks, the history, the forms."""
    try:
        rows = get_records().corrections.list(recording.id)
        current = get_records().corrections.is_report_current(recording.id)
    except RedysError as error:
        return [failed(error)]
    may = policy.may("work")
    is_live = recording.run is not None and recording.run.is_live
    parts: list[Any] = []
    if current is False:
        parts.append(_say_behind(is_live, may))
    parts.append(history(rows, may and not is_live))
    if may and is_live:
        words = "This recording is being worked on; it can be corrected when that has ended."
        parts.append(notice("info", html.P(words)))
    elif may:
        parts += _forms(recording)
    return parts


def _say_behind(is_live: bool, may: bool) -> html.Div:
    words = BEHIND
    if is_live:
        return notice("partial", html.P(f"{words} A run with them is under way."))
    button = (
        html.Button("Work it again", id=ids.CORRECTIONS_RUN, className="btn btn-primary") if may else None
    )
    return notice("partial", html.P(words), button)


def history(rows: Sequence[CorrectionRow], may: bool) -> html.Div:
    """All corrections, the newest first; ``may`` adds the buttons that undo them."""
    if not rows:
        return notice("info", html.P("Nothing has been corrected on this recording."))
    head = ["When", "Who", "What", "Before and after", "Why", "Now"]
    body = [
        html.Tr(
            [
                html.Th(f"{row.created:%Y-%m-%d %H:%M} UTC", scope="row"),
                html.Td(name_author(row.author)),
                html.Td(KIND_WORDS[row.kind]),
                html.Td(say_change(row)),
                html.Td(as_written(row.reason) if row.reason else _reason_of(row)),
                html.Td(_say_state(row, may)),
            ]
        )
        for row in rows
    ]
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(body)],
        className="numbers",
    )
    return html.Div(table, className="table-scroll", tabIndex=0, role="region", **aria(label="Corrections"))


def _reason_of(row: CorrectionRow) -> Any:
    """A section has its own reason."""
    if row.kind == "exclusions" and isinstance(row.after, dict):
        return as_written(row.after["reason"])
    return "–"


def _say_state(row: CorrectionRow, may: bool) -> list[Any]:
    if row.undone is not None:
        return [f"undone {row.undone:%Y-%m-%d %H:%M} UTC by ", name_author(row.undone_by or "")]
    if not row.in_force:
        return ["overruled since"]
    words = "in force" if row.in_report else "in force, not yet in this report"
    undo = html.Button(
        "Undo",
        id=ids.correction_undo(row.id),
        className="btn btn-sm btn-outline-secondary",
        **aria(label=f"Undo: {KIND_WORDS[row.kind]}, {row.created:%Y-%m-%d %H:%M} UTC"),
    )
    return [html.Div(words), undo if may else None]


def say_change(row: CorrectionRow) -> list[Any]:
    """What a correction changed, from what it was to what it became."""
    if row.kind == "side":
        return [f"{row.before} → {row.after}"]
    if row.kind == "offset":
        return [
            html.Div([as_written(camera), f": {_say_offset(row.before[camera])} → {_say_offset(value)}"])
            for camera, value in row.after.items()
        ]
    if row.kind == "exclusions":
        section = row.after or row.before
        whose = f", {section['side']} hand" if section["side"] else ", both hands"
        span = f"{say_time(section['start_s'])} to {say_time(section['end_s'])}{whose}"
        return [f"measured → left out: {span}" if row.after else f"left out → measured: {span}"]
    return _say_names(row)


def _say_offset(offset_s: float | None) -> str:
    return "from the sound" if offset_s is None else f"{say_number(offset_s, 4, signed=True)} s"


def _say_names(row: CorrectionRow) -> list[Any]:
    files = {name: name for name in (*row.before["cameras"].values(), *row.after["cameras"].values())}
    was = files | {file: name for name, file in row.before["cameras"].items()}
    now = files | {file: name for name, file in row.after["cameras"].items()}
    lines: list[Any] = [
        html.Div([as_written(was[file]), " → ", as_written(now[file]), " (file ", as_written(file), ")"])
        for file in sorted(files)
        if was[file] != now[file]
    ]
    takes_moved = row.before["calibration_cameras"] != row.after["calibration_cameras"]
    words = "with the calibration" if takes_moved else "the calibration kept its names"
    return [*lines, html.Div(words, className="quiet")]


def list_printed(recording_id: str, summary: Summary) -> tuple[tuple[str, str], ...]:
    """What the printed page says of corrections in its numbers: words, and why as typed."""
    lines = [
        (
            f"{each.seconds:.1f} s left out by hand, {say_time(each.start_s)} to {say_time(each.end_s)}"
            f"{f', {each.side} hand' if each.side else ''}: ",
            Written(each.reason),
        )
        for each in summary.excluded
    ]
    try:
        rows = get_records().corrections.list(recording_id)
        if get_records().corrections.is_report_current(recording_id) is False:
            lines.insert(0, (BEHIND, Written("")))  # first, so that a long list does not hide it
    except RedysError:
        return tuple(lines)
    for row in reversed(rows):
        if row.in_report and row.undone is None and row.kind != "exclusions":
            lines.append((f"{_say_plainly(row)}{': ' if row.reason else '.'}", Written(row.reason)))
    return tuple(lines)


def _say_plainly(row: CorrectionRow) -> str:
    day = f"{row.created:%Y-%m-%d}"
    if row.kind == "side":
        return f"Hand corrected {day}, {row.before} → {row.after}"
    if row.kind == "offset":
        return f"Clock of camera {', '.join(row.after)} set by hand {day}"
    cameras = row.after["cameras"]
    names = (
        ", ".join(f"{file} is {name}" for name, file in sorted(cameras.items())) or "as the files are called"
    )
    return f"Cameras' names corrected {day}, {names}"


# --- the forms -----------------------------------------------------------------------------------


def _forms(recording: RecordingRow) -> list[Any]:
    try:
        session = read_session(get_records().store.outline(recording.folder))
    except RedysError as error:
        return [failed(error)]
    clocks = html.Details(
        [
            html.Summary("A camera's clock is off"),
            html.P(dcc.Link("Set the clocks by eye and ear", href=routes.clocks_url(recording.id))),
        ]
    )
    named = [_names_form(session)] if len(session.cameras) > 1 or session.videos else []
    return [_section_form(), _side_form(session), *named, *([clocks] if len(session.cameras) > 1 else [])]


def _form(title: str, lead: str, fields: list[Any], reason: html.Div, go: str) -> html.Details:
    button = html.Button("Correct and work again", id=go, className="btn btn-primary")
    parts = [html.P(lead, className="plot-note"), html.Div([*fields, reason], className="form-grid"), button]
    return html.Details([html.Summary(title), html.Div(parts, className="correct-form")])


def _reason(control_id: str) -> html.Div:
    return field("Why", dbc.Input(id=control_id, maxLength=500), control_id)


def _section_form() -> html.Details:
    hands = [{"value": "both", "label": "Both"}, *_HANDS[:2]]
    return _form(
        "Leave a section out",
        "Nothing is measured in it: no figure, event or curve uses it. The video and the 3D hand stay. Only "
        "the measures are worked again.",
        [
            time_field("From (s)", ids.EXCLUDE_START),
            time_field("To (s)", ids.EXCLUDE_END),
            field("Hand", dbc.Select(id=ids.EXCLUDE_SIDE, options=hands, value="both"), ids.EXCLUDE_SIDE),
        ],
        _reason(ids.EXCLUDE_REASON),
        ids.EXCLUDE_GO,
    )


def _side_form(session: Session) -> html.Details:
    choice = dbc.Select(id=ids.CORRECT_SIDE, options=_HANDS, value=session.settings.side)
    return _form(
        "The wrong hand was measured",
        "The hand is looked for again in every camera, which takes as long as the first run.",
        [field("Hand that is to be measured", choice, ids.CORRECT_SIDE)],
        _reason(ids.CORRECT_SIDE_REASON),
        ids.CORRECT_SIDE_GO,
    )


def _names_form(session: Session) -> html.Details:
    files = session.videos or session.keypoints
    fields: list[Any] = []
    for camera in session.cameras:
        control_id = ids.correct_camera(camera)
        control = dbc.Input(id=control_id, value=camera, maxLength=60)
        words: list[Any] = [as_written(files[camera].name), " is camera"]
        # A pattern's id is no plain text that a label could name, so the label holds its field.
        fields.append(html.Label([html.Span(words), control], className="field field-label"))
    takes = dbc.Select(
        id=ids.CORRECT_CAMERAS_TAKES,
        options=[
            {"value": "with", "label": "Had the same wrong names"},
            {"value": "without", "label": "Was named rightly"},
        ],
        value="with",
    )
    fields.append(field("The calibration", takes, ids.CORRECT_CAMERAS_TAKES))
    return _form(
        "Cameras have the wrong names",
        "The clocks and lenses go along with their camera. What each camera saw of the hand is kept; it is "
        "brought together anew.",
        fields,
        _reason(ids.CORRECT_CAMERAS_REASON),
        ids.CORRECT_CAMERAS_GO,
    )


# --- what happens --------------------------------------------------------------------------------

_OUTPUTS = (
    Output(ids.CORRECTIONS, "children", allow_duplicate=True),
    Output(ids.JOB_REQUEST, "data", allow_duplicate=True),
    Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
    Output(ids.CORRECTIONS_ANSWER, "children", allow_duplicate=True),
)


def _correct(
    recording_id: str, tick: int | None, kind: Any, wanted: Any, reason: str | None
) -> tuple[Any, ...]:
    """Apply, and put the recording into the queue."""
    try:
        run = get_records().corrections.apply_and_run(
            recording_id, kind, wanted, current_actor(), reason or ""
        )
    except RedysError as error:
        return no_update, no_update, no_update, failed(error)
    return _show_run(recording_id, run, tick)


def _show_run(recording_id: str, run: RunRow, tick: int | None) -> tuple[Any, ...]:
    """The history anew, and how the run stands; its panel brings the new report when it is done."""
    shown = show_corrections(get_records().get_recording(recording_id))
    return shown, job_request(run.id), (tick or 0) + 1, run_panel(run)


@callback(
    *_OUTPUTS,
    Input(ids.EXCLUDE_GO, "n_clicks"),
    State(ids.EXCLUDE_START, "value"),
    State(ids.EXCLUDE_END, "value"),
    State(ids.EXCLUDE_SIDE, "value"),
    State(ids.EXCLUDE_REASON, "value"),
    State(ids.CORRECTIONS_OF, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def exclude(
    clicks: int | None, start_s: Any, end_s: Any, side: str, reason: str | None, recording_id: str,
    tick: int | None,
) -> tuple[Any, ...]:  # fmt: skip
    """Leave a section out."""
    if not clicks:
        raise PreventUpdate
    if not _is_time(start_s) or not _is_time(end_s):
        error = SessionError(
            "The section has no beginning or no end.", "Give both, or take them from the player."
        )
        return no_update, no_update, no_update, failed(error)
    if not end_s > start_s:
        error = SessionError("The section ends where it begins, or before.", "Give it a later end.")
        return no_update, no_update, no_update, failed(error)
    if not (reason or "").strip():
        error = SessionError("An excluded section needs a reason.", "Say why it is left out.")
        return no_update, no_update, no_update, failed(error)
    section = {"start_s": start_s, "end_s": end_s, "reason": reason, "side": None if side == "both" else side}
    return _correct(recording_id, tick, "exclusions", section, "")


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 86_400


@callback(
    *_OUTPUTS,
    Input(ids.CORRECT_SIDE_GO, "n_clicks"),
    State(ids.CORRECT_SIDE, "value"),
    State(ids.CORRECT_SIDE_REASON, "value"),
    State(ids.CORRECTIONS_OF, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def change_side(
    clicks: int | None, side: str, reason: str | None, recording_id: str, tick: int | None
) -> tuple[Any, ...]:
    """Measure another hand."""
    if not clicks:
        raise PreventUpdate
    if get_records().get_recording(recording_id).side == side:
        return _unchanged("That hand is measured already.")
    return _correct(recording_id, tick, "side", side, reason)


def _unchanged(words: str) -> tuple[Any, ...]:
    return no_update, no_update, no_update, notice("info", html.P(words))


@callback(
    *_OUTPUTS,
    Input(ids.CORRECT_CAMERAS_GO, "n_clicks"),
    State(ids.correct_camera(ALL), "value"),
    State(ids.correct_camera(ALL), "id"),
    State(ids.CORRECT_CAMERAS_TAKES, "value"),
    State(ids.CORRECT_CAMERAS_REASON, "value"),
    State(ids.CORRECTIONS_OF, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def name_cameras(
    clicks: int | None, names: list[str | None], which: list[dict[str, str]], takes: str, reason: str | None,
    recording_id: str, tick: int | None,
) -> tuple[Any, ...]:  # fmt: skip
    """Give the cameras their right names."""
    if not clicks:
        raise PreventUpdate
    wanted = {each["camera"]: (name or "").strip() for each, name in zip(which, names, strict=True)}
    if all(old == new for old, new in wanted.items()):
        return _unchanged("The cameras are called so already.")
    return _correct(recording_id, tick, "cameras", CameraNames(wanted, takes != "without"), reason)


@callback(
    *_OUTPUTS,
    Input(ids.correction_undo(ALL), "n_clicks"),
    State(ids.CORRECTIONS_OF, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def undo(clicks: list[int | None], recording_id: str, tick: int | None) -> tuple[Any, ...]:
    """Put back what a correction changed, and work the recording again."""
    asked = ctx.triggered_id
    if not isinstance(asked, dict) or not ctx.triggered[0]["value"]:
        raise PreventUpdate  # drawing a button also fires its callback, with no click
    try:
        run = get_records().corrections.undo_and_run(asked["correction"], current_actor())
    except RedysError as error:
        return no_update, no_update, no_update, failed(error)
    return _show_run(recording_id, run, tick)


@callback(
    *_OUTPUTS,
    Input(ids.CORRECTIONS_RUN, "n_clicks"),
    State(ids.CORRECTIONS_OF, "data"),
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def work_again(clicks: int | None, recording_id: str, tick: int | None) -> tuple[Any, ...]:
    """Put the recording into the queue with the corrections as they stand."""
    if not clicks:
        raise PreventUpdate
    try:
        run = get_records().submit_run(recording_id, current_actor())
    except RedysError as error:
        return no_update, no_update, no_update, failed(error)
    return _show_run(recording_id, run, tick)
