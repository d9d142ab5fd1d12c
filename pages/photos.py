"""Still pictures of hands: the sets there are, and a new one."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, State, callback, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, photos, policy, routes
from components.jobs import job_request
from components.security import current_actor
from components.states import failed
from pipeline.errors import RedysError
from pipeline.photos.folder import SETTINGS_FILE
from records import get_records
from records.drafts import write_session_toml
from records.errors import UploadError

dash.register_page(__name__, path=routes.PHOTOS, title="Photos - ReDys")


def layout(**_: Any) -> Any:
    """The list, and the form of a new set."""
    sets = get_records().photos
    return [
        html.H1("Photos"),
        html.P(
            "Up to 50 still pictures of hands at a time: points in the picture and in space, the hand model "
            "over the picture, how sure each point is, and what may be wrong with a picture.",
            className="panel-lead",
        ),
        html.Div(photos.set_list(sets.list(), sets.count)),
        photos.new_set_form() if policy.may("work") else None,
    ]


_FORM = {
    "subject": State(ids.PHOTOS_SUBJECT, "value"),
    "visit": State(ids.PHOTOS_VISIT, "value"),
    "preset": State(ids.PHOTOS_PRESET, "value"),
    "detector": State(ids.PHOTOS_DETECTOR, "value"),
    "estimator": State(ids.PHOTOS_ESTIMATOR, "value"),
    "hand_length_mm": State(ids.PHOTOS_LENGTH, "value"),
    "focal_35mm": State(ids.PHOTOS_FOCAL, "value"),
}


@callback(
    Output(ids.PHOTOS_UPLOAD_PANE, "hidden"),
    Output(ids.PHOTOS_FOLDER_PANE, "hidden"),
    Output(ids.PHOTOS_FOLDER_NOTE, "children"),
    Input(ids.PHOTOS_SOURCE, "value"),
    Input(ids.PHOTOS_FOLDER, "value"),
)
def choose_source(source: str, folder: str | None) -> tuple[bool, bool, str]:
    """Show the pane of the source; a folder with settings of its own keeps them."""
    if source != "folder":
        return False, True, ""
    try:
        own = bool(folder) and photos.has_own_settings(photos.allow_folder(folder))
    except RedysError as error:
        return True, False, str(error)
    return True, False, photos.OWN_SETTINGS if own else ""


@callback(
    Output(ids.LOCATION, "href", allow_duplicate=True),
    Output(ids.JOB_REQUEST, "data", allow_duplicate=True),
    Output(ids.TRAY_TICK, "n_intervals", allow_duplicate=True),
    Output(ids.PHOTOS_RESULT, "children"),
    Input(ids.PHOTOS_START, "n_clicks"),
    State(ids.PHOTOS_SOURCE, "value"),
    State(ids.PHOTOS_FILES, "data"),
    State(ids.PHOTOS_FOLDER, "value"),
    State(ids.PHOTOS_TITLE, "value"),
    _FORM,
    State(ids.TRAY_TICK, "n_intervals"),
    prevent_initial_call=True,
)
def start(
    clicks: int | None,
    source: str,
    files: dict[str, Any] | None,
    folder: str | None,
    title: str | None,
    form: dict[str, Any],
    tick: int | None,
) -> tuple[Any, ...]:
    """Make the set and its run, and go to its page."""
    if not clicks:
        raise PreventUpdate
    actor, records = current_actor(), get_records()
    try:
        path = _take_folder(folder, form) if source == "folder" else _take_upload(files or {}, form, actor)
        recording = records.photos.add(path, (title or "").strip()[:120], actor)
        run = records.submit_run(recording.id, actor)
        if source != "folder":
            records.drafts.forget(str((files or {}).get("draft")), actor)
    except RedysError as error:
        return no_update, no_update, no_update, failed(error)
    return routes.photo_set_url(recording.id), job_request(run.id), (tick or 0) + 1, no_update


def _clean(form: dict[str, Any]) -> dict[str, Any]:
    """The form as ``photos.toml``; an empty field is the default."""
    return {key: (value.strip() or None) if isinstance(value, str) else value for key, value in form.items()}


def _take_folder(folder: str | None, form: dict[str, Any]) -> Any:
    path = photos.allow_folder(folder)
    if not photos.has_own_settings(path):
        write_session_toml(path / SETTINGS_FILE, _clean(form))
    return path


def _take_upload(files: dict[str, Any], form: dict[str, Any], actor: str) -> Any:
    draft = files.get("draft")
    if not draft:
        raise UploadError("No pictures yet.", "Choose some first.")
    drafts = get_records().drafts
    drafts.assemble_photos(str(draft), actor, _clean(form))
    return drafts.keep(str(draft), actor)
