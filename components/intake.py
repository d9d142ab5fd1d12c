"""Taking in a new recording: its form, what is wrong with it in words, and its way into the records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dash_bootstrap_components as dbc
import flask
from dash import html

from components import ids, routes
from components.attributes import as_written, data
from components.models import missing_models, model_select
from components.rigs import say_rig
from components.states import notice
from pipeline.errors import RedysError, SessionError
from pipeline.session import RIG_FILES, Checkerboard, SessionSettings, read_session
from records import RigRow, get_records
from records.checking import Finding, Look, check_folder, keep_look
from records.checking import look_into as look_file
from records.drafts import (
    ALLOWED_SUFFIXES,
    Placed,
    is_from_form,
    list_server_folders,
    list_session_files,
    looks_like_session,
    require_inside,
    write_session_toml,
)
from records.errors import UploadError
from records.room import SHORT_BYTES, say_bytes
from settings import get_settings

ACCEPT = ",".join(ALLOWED_SUFFIXES)

NOT_CHECKED = "Nothing has been checked yet."

OWN_SETTINGS = "This folder has a session.toml; it is used as it is, and the settings below are not."

FROM_FILES, SAVED_RIG, FROM_HAND = "files", "rig", "hand"
"""Where the cameras' places come from."""

CHECK_MARKS = {"note": ("●", "Note"), "warning": ("▲", "Mind"), "error": ("◆", "Problem")}
"""Shape and word of what was found in a file."""

_LEFT_OUT = {FROM_FILES: (), SAVED_RIG: ("rig", "calibration"), FROM_HAND: ("rig", "calibration")}
"""Kinds of sent files that a choice has no use for."""

PRESETS = (
    ("standard", "Standard: indoor light"),
    ("minimal", "Minimal: good light, pictures as they are"),
    ("dystonia", "Dystonia: shadowed hands"),
    ("latching_fix", "Latching fix: fingers that overlap"),
)


# --- the form ------------------------------------------------------------------------------------


def settings_form(tasks: tuple[str, ...]) -> html.Fieldset:
    """The settings that become ``session.toml``, with the pipeline's own defaults."""
    default = SessionSettings()
    sides = [("right", "Right hand"), ("left", "Left hand"), ("both", "Both hands")]
    known = sorted({*tasks, "piano", "banjo"})
    board = default.checkerboard
    fields = [
        _field(
            "Pseudonym", dbc.Input(id=ids.NEW_SUBJECT, placeholder="P-014", maxLength=64), "Never a name."
        ),
        _field("Day of the visit", dbc.Input(id=ids.NEW_VISIT, type="date")),
        _field("Task", dbc.Input(id=ids.NEW_TASK, value=default.task, list="new-tasks", maxLength=64)),
        _field("Side", _select(ids.NEW_SIDE, sides, default.side)),
        _field("Pictures", _select(ids.NEW_PRESET, PRESETS, default.preset)),
        _field(
            "Reference camera",
            dbc.Input(id=ids.NEW_REFERENCE, value=default.reference, maxLength=32),
            "The others are set against it.",
        ),
        _field("Finds the hand", model_select(ids.NEW_DETECTOR, "detector", default.detector)),
        _field("Finds the joints", model_select(ids.NEW_ESTIMATOR, "estimator", default.estimator)),
    ]
    checkerboard = [
        _field("Inner corners across", _number(ids.NEW_BOARD_COLUMNS, board.columns, 3, 40)),
        _field("Inner corners down", _number(ids.NEW_BOARD_ROWS, board.rows, 3, 40)),
        _field("Square, mm", _number(ids.NEW_BOARD_SQUARE, board.square_mm, 0.1, 1000, "any")),
    ]
    hand = _field(
        "Hand length, mm (wrist crease to middle fingertip)",
        _number(ids.NEW_HAND_LENGTH, None, 80, 280, "any"),
        "May be left empty. Gives the scale where no checkerboard and no saved rig does.",
    )
    return html.Fieldset(
        [
            html.Legend("Settings"),
            html.Div(fields, className="form-grid"),
            missing_models(),
            html.H2("Checkerboard"),
            html.P("For the takes in which a board is shown to all cameras at once.", className="hint"),
            html.Div(checkerboard, className="form-grid"),
            html.H2("Size of the hand"),
            html.Div(hand, className="form-grid form-wide"),
            html.Datalist([html.Option(value=task) for task in known], id="new-tasks"),
        ],
        id=ids.NEW_FORM,
        className="card",
    )


def _field(label: str, control: Any, hint: str = "") -> html.Div:
    parts = [html.Label(label, htmlFor=control.id), control]
    return html.Div([*parts, html.Div(hint, className="hint")] if hint else parts, className="field")


def _select(control_id: str, options: Any, value: str) -> dbc.Select:
    return dbc.Select(
        id=control_id, options=[{"label": word, "value": key} for key, word in options], value=value
    )


def _number(
    control_id: str, value: float | None, low: float, high: float, step: float | str = 1
) -> dbc.Input:
    return dbc.Input(id=control_id, type="number", value=value, min=low, max=high, step=step)


def places_choice(rigs: tuple[RigRow, ...]) -> html.Fieldset:
    """Where the cameras' places come from: the files, a rig that is kept, or the hand itself."""
    options = [
        {"label": "From the files: checkerboard takes, or a rig file", "value": FROM_FILES},
        {"label": "A saved rig", "value": SAVED_RIG, "disabled": not rigs},
        {"label": "From the hand alone", "value": FROM_HAND},
    ]
    choices = [{"label": row.name, "value": row.id} for row in rigs]
    rig = dbc.Select(id=ids.NEW_RIG, options=choices, value=rigs[0].id if rigs else None)
    none = "No rig is kept yet: keep one from the report of a recording with a checkerboard."
    return html.Fieldset(
        [
            html.Legend("Where the cameras stand"),
            dbc.RadioItems(id=ids.NEW_PLACES, options=options, value=FROM_FILES),
            None if rigs else html.P(none, className="hint"),
            html.Div(_field("Saved rig", rig), id=ids.NEW_RIG_PANE, className="form-grid", hidden=True),
            html.P(id=ids.NEW_RIG_NOTE, className="hint", role="status"),
        ],
        className="card",
    )


def describe_places(places: str | None, rig_id: str | None) -> str:
    """What a choice of the cameras' places means."""
    if places == FROM_HAND:
        return (
            "Self-calibrated: checkerboard takes and rig files are left out, lengths hang on the size of the "
            "hand, and the report states the expected error. Give the hand's length above if it is known."
        )
    if places != SAVED_RIG:
        return "The takes of a checkerboard shown to all cameras at once, or a rig file, are among the files."
    try:
        return f"{say_rig(get_records().rigs.get(rig_id or ''))}. Name the videos after these cameras."
    except RedysError as error:
        return str(error)


def folder_choice() -> html.Div:
    """A choice among the server's folders; on this computer alone any path may be typed."""
    folders = [str(folder) for folder in _server_folders()]
    if _may_type():
        control: Any = dbc.Input(
            id=ids.NEW_FOLDER, placeholder="/path/to/session", list="new-folders", debounce=True
        )
        extra = [html.Datalist([html.Option(value=folder) for folder in folders], id="new-folders")]
    else:
        options = [{"label": Path(folder).name, "value": folder} for folder in folders]
        control, extra = dbc.Select(id=ids.NEW_FOLDER, options=options, placeholder="Choose a folder"), []
    hint = "" if folders or _may_type() else "There are no folders to choose from."
    return html.Div([_field("Folder with front.mp4, left.mp4, right.mp4", control, hint), *extra])


def _server_folders() -> tuple[Path, ...]:
    settings = get_settings()
    return list_server_folders(settings.data_dir, settings.session_folders)


def _may_type() -> bool:
    """Only who sits at the server may name any folder of it, and only if no folder was set aside for this."""
    return get_settings().session_folders is None and bool(flask.current_app.extensions.get("redys_local"))


def describe_folder(folder: str | None) -> str:
    """What the settings below mean for a folder."""
    if not folder or not folder.strip():
        return ""
    try:
        return OWN_SETTINGS if _has_own_settings(_allowed(folder)) else "The settings below apply."
    except RedysError as error:
        return str(error)


def folder_files(folder: str | None) -> html.Div | None:
    """The files of a folder on the server, each to be looked into by the browser's asking for it."""
    try:
        path = _allowed(folder)
        files = list_session_files(path)
    except (RedysError, OSError):
        return None  # `describe_folder` says what is wrong with it
    rows = [
        html.Li(
            [
                html.Div(as_written(name), className="name"),
                html.Div(**data(url=routes.look_url(str(path), name), take=str("/" in name).lower())),
            ],
            className="folder-file",
        )
        for name in files
    ]
    return html.Div(
        html.Ul(rows, className="upload-list"),
        # A new folder is a new element: the browser's module looks into each once, when it appears.
        key=str(path),
        **data(module="looks", columns=ids.NEW_BOARD_COLUMNS, rows=ids.NEW_BOARD_ROWS),
    )


def look_into(folder: str, name: str, board: Checkerboard | None) -> Look:
    """What a file of a folder on the server is, and what is wrong with it.

    Raises
    ------
    SessionError
        The folder is none of the server's, or has no such file.
    """
    path = _allowed(folder)
    if name not in list_session_files(path):
        raise SessionError(f"{name} is no file of this folder.", "Choose the folder again.")
    kept = keep_look(get_settings().data_dir, path / name)
    if board is None or not _has_own_settings(path):
        return look_file(path / name, name, kept, board)
    found = look_file(path / name, name, kept, read_session(path).settings.checkerboard)
    return replace(found, board=None)  # the form, which it would be offered for, has no say there


def _has_own_settings(folder: Path) -> bool:
    """Whether somebody wrote a ``session.toml`` there; what this form wrote at an earlier check is none."""
    path = folder / "session.toml"
    return path.is_file() and not is_from_form(path)


def _allowed(folder: str | None) -> Path:
    if not folder or not folder.strip():
        raise SessionError("No folder was given.", "Choose the folder that holds the cameras' videos.")
    path = Path(folder.strip()).expanduser()
    if not _may_type() and path not in _server_folders():
        raise SessionError("This folder is not one of the server's.", "Choose one of the list.")
    if not path.is_absolute() or not path.is_dir():
        raise SessionError(
            f"{path} is not a folder on the server.", "Give its whole path, from the first slash on."
        )
    if not _may_type():
        require_inside(path, get_settings())
    return path


# --- what happens with it ------------------------------------------------------------------------


def prepare(source: str, files: dict[str, Any], folder: str | None, form: dict[str, Any], owner: str) -> Path:
    """The session folder that the form describes, ready to be checked.

    Raises
    ------
    RedysError
        Something is missing; says what.
    """
    if source == "folder":
        path = _allowed(folder)
        if not looks_like_session(path):
            raise SessionError(f"No videos in {path}.", "Choose the folder that holds the cameras' videos.")
        if not _has_own_settings(path):
            write_session_toml(path / "session.toml", _settings(form))
        _place_cameras(path, form)
        return path
    sent = files.get("files") or []
    if not files.get("draft") or not sent:
        raise UploadError("No files yet.", "Choose the cameras' videos first.")
    late = [str(file["name"]) for file in sent if not file["complete"]]
    if late:
        raise UploadError(f"Not arrived yet: {', '.join(late)}.", "Wait for them, or remove them.")
    left_out = _LEFT_OUT[_places(form)]
    placed = [
        Placed(str(file.get("id")), str(file.get("kind")), str(file.get("camera")))
        for file in sent
        if file.get("kind") not in left_out
    ]
    session = get_records().drafts.assemble(str(files["draft"]), owner, placed, _settings(form))
    _place_cameras(session.path, form)
    return session.path


def _places(form: dict[str, Any]) -> str:
    places = form.get("places")
    return places if places in _LEFT_OUT else FROM_FILES


def _place_cameras(folder: Path, form: dict[str, Any]) -> None:
    """Put the chosen rig into a session folder, or take out the one that an earlier choice put there.

    Raises
    ------
    RedysError
        No rig was chosen, or the folder has files that say otherwise.
    """
    rigs, places = get_records().rigs, _places(form)
    if places == SAVED_RIG:
        if not form.get("rig"):
            raise SessionError("No rig was chosen.", "Choose one, or another way to place the cameras.")
        rigs.use(folder, str(form["rig"]))
        return
    rigs.withdraw(folder)
    if places != FROM_HAND:
        return
    own = [name for name in ("calibration", *RIG_FILES) if (folder / name).exists()]
    if own:
        raise SessionError(
            f"The folder has {' and '.join(own)}, which would place the cameras.",
            "Move it elsewhere, or choose that the cameras' places come from the files.",
        )


def say_places(source: str, files: dict[str, Any], form: dict[str, Any]) -> tuple[Finding, ...]:
    """What the choice of the cameras' places leaves out of the files that were sent."""
    left_out = _LEFT_OUT[_places(form)] if source == "upload" else ()
    names = [str(file["name"]) for file in files.get("files") or [] if file.get("kind") in left_out]
    if not names:
        return ()
    what = f"Left out: {', '.join(names)}, since the cameras' places come from elsewhere."
    return (Finding("note", what, "Choose “From the files” to use them."),)


def say_visit(source: str, folder: str | None, form: dict[str, Any]) -> tuple[Finding, ...]:
    """What it costs to leave the day of the visit out, where the form has a say in it."""
    if form.get("visit") or (source == "folder" and _has_own_settings(_allowed(folder))):
        return ()
    what = "No day of the visit: change between visits is not judged without the days of both."
    return (Finding("warning", what, "Give the day above."),)


def _settings(form: dict[str, Any]) -> dict[str, Any]:
    """The form as ``session.toml``; an empty field is the default."""
    subject = (form.get("subject") or "").strip()
    if not subject:
        raise SessionError("The pseudonym is missing.", "Give one: it joins the visits of one person.")
    reference = (form.get("reference") or "").strip()
    names = ("columns", "rows", "square_mm")
    return {
        "subject": subject,
        "visit": form.get("visit") or None,
        "task": (form.get("task") or "").strip() or None,
        "side": form.get("side"),
        "preset": form.get("preset"),
        "detector": form.get("detector"),
        "estimator": form.get("estimator"),
        "hand_length_mm": form.get("hand_length_mm"),
        # Not said unless it differs: a single camera of any name is its own reference.
        "reference": reference if reference not in ("", SessionSettings().reference) else None,
        "checkerboard": {name: form[name] for name in names if form.get(name) is not None},
    }


def check(session_folder: Path, was_sent: bool = False) -> tuple[Finding, ...]:
    """What is to be said about the folder, what stops a run first; what was sent has limits of its own."""
    return check_folder(session_folder, was_sent)


def say_bare(files: dict[str, Any], owner: str) -> tuple[Finding, ...]:
    """What was taken out of the files that were sent.

    Raises
    ------
    RedysError
        The upload is gone.
    """
    return get_records().drafts.say_bare(str(files["draft"]), owner)


def room_note(owner: str) -> html.P | None:
    """How much may be sent, where it is little."""
    room = get_records().drafts.room(owner)
    if room.least >= SHORT_BYTES:
        return None
    if room.least == 0:
        words = "There is no room for files at present. Ask who runs this server to free some space."
    else:
        words = f"There is room for {say_bytes(room.least)} of files."
    return html.P(words, className="notice notice-partial", role="status")


def keep(checked: dict[str, Any], owner: str) -> Path:
    """The session folder of what was checked, moved to where it stays; `forget` ends what was sent.

    Raises
    ------
    RedysError
        The upload is gone, or the folder is none of the server's.
    """
    if checked.get("source") == "folder":
        return _allowed(checked.get("folder"))
    return get_records().drafts.keep(str(checked.get("draft")), owner)


def forget(checked: dict[str, Any], owner: str) -> None:
    """End what was sent, once it is a recording.

    Raises
    ------
    RedysError
        The upload is gone.
    """
    if checked.get("source") != "folder":
        get_records().drafts.forget(str(checked.get("draft")), owner)


def findings(found: tuple[Finding, ...]) -> html.Div:
    """The checks as a list: shape, word, sentence."""
    bad = sum(finding.level == "error" for finding in found)
    head = f"{bad} to mend before it can start." if bad else "Ready to start."
    items = [
        html.Li(
            [
                html.Span(" ".join(CHECK_MARKS[finding.level]), className="check-word"),
                html.Span(f"{finding.what} {finding.advice}".strip()),
            ],
            className=f"check-{finding.level}",
        )
        for finding in found
    ]
    return html.Div(
        [notice("failed" if bad else "info", html.P(head)), html.Ul(items, className="checks")], role="status"
    )
