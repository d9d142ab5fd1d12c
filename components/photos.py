"""Still pictures of hands on the pages: the list, the form, the pictures and what may be wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import dash_bootstrap_components as dbc
import flask
from dash import dcc, html

from components import ids, policy, routes
from components.attributes import aria, as_written, data
from components.intake import PRESETS, room_note
from components.models import missing_models, model_select
from components.security import current_actor
from components.states import notice, partial, state_badge
from components.status import panel, say_number
from pipeline.errors import PhotoError
from pipeline.hand.joints import JOINTS
from pipeline.photos.folder import MAX_PICTURES, SETTINGS_FILE, SUFFIXES, PhotoSettings
from pipeline.photos.results import FailureRow, HandRow, PhotoResults, PictureRow
from records import NotFound, RecordingRow, Records
from records.drafts import is_from_form, require_inside
from records.photos import list_photo_folders
from settings import get_settings

ACCEPT = ",".join(SUFFIXES)

OWN_SETTINGS = "This folder has a photos.toml; it is used as it is, and the settings below are not."

FILES: Final = re.compile(r"points(_\d{3})?\.csv|points\.npz|photos\.json")
"""What may be taken away of a finished set."""

REASON_MARKS: Final = {
    "truncated": ("◧", "Cut off"),
    "blurred": ("≈", "Blurred"),
    "low confidence": ("?", "Low confidence"),
    "sides disagree": ("⇄", "Sides disagree"),
    "occluded": ("◩", "Covered"),
    "no hand": ("○", "No hand found"),
    "unreadable": ("◆", "Cannot be read"),
}
"""Sign and word of each likely reason."""

ADVICE: Final = {
    "truncated": "Take the picture again with the whole hand in it, and some room around it.",
    "blurred": "Hold the camera still, let it focus on the hand, come nearer or make more light.",
    "low confidence": "Make more light, choose a plain background, and show the hand's back or palm.",
    "sides disagree": "Check the side by eye. Pictures from a selfie camera may be mirrored.",
    "occluded": "Move what lies before the hand, or take the picture from another side.",
    "no hand": "Come nearer: the hand should fill a third of the picture or more.",
}

LIMITS: Final = (
    "One picture does not tell how large a hand is. Lengths in mm hold for the length of the hand that is "
    "stated above the pictures, and change in proportion with it.",
    "How far a joint lies behind another is seen least well: the third of the three errors is the largest.",
    "The camera is not calibrated: its lens is taken from the picture's own details or assumed, and "
    "distortion at the edges of wide lenses is not taken out.",
    "The errors were set on made pictures of a hand model, not on photographs with a known truth.",
    "A reason in the table is a likely one by the figure beside it. A picture without one may be wrong too.",
    "Sides are those of the person, if the picture is not mirrored.",
    "There is no reference to compare still pictures with, and no angle here is judged.",
)


# --- files ---------------------------------------------------------------------------------------


def add_routes(server: flask.Flask, records: Records) -> None:
    """Put the route of the files on the server; the gate of `components.security` stands before it."""

    @server.route(routes.PHOTO_FILE)
    def photo_file(run_id: str, name: str) -> flask.typing.ResponseReturnValue:
        """A table of points, all points as arrays, or the whole record."""
        try:
            run, folder = records.get_run(run_id), records.open_run(run_id).path
        except NotFound as error:
            return flask.Response(f"{error}\n", 404, mimetype="text/plain")
        path = folder / "tables" / name if name.endswith(".csv") else folder / name
        if run.kind != "photos" or run.state != "done" or not FILES.fullmatch(name) or not path.is_file():
            return flask.Response("There is no such file.\n", 404, mimetype="text/plain")
        records.note(current_actor(), "photos.export", run_id)
        response = flask.send_file(path, as_attachment=True, download_name=name, max_age=0)
        response.headers["Cache-Control"] = "private, no-cache"
        return response


# --- the list ------------------------------------------------------------------------------------

HEADS = ("Set", "Person", "Day", "Pictures", "State", "Added")


def name_set(recording: RecordingRow) -> str:
    """What a set is called: as the person called it, or by whom it shows."""
    return recording.title or recording.subject


def set_list(rows: tuple[RecordingRow, ...], count: Callable[[RecordingRow], int]) -> Any:
    """The table of sets; the empty state says what a set is."""
    if not rows:
        words = (
            "There are no pictures yet. A set is up to 50 still pictures of hands; each is looked at by "
            "itself."
        )
        return html.Div(
            [html.P(words), html.A("Add the first set", href="#new-set", className="btn btn-primary")],
            className="empty-state",
        )
    body = [_list_row(row, count(row)) for row in rows]
    head = html.Tr([html.Th(head, scope="col") for head in HEADS])
    return html.Div(
        html.Table([html.Thead(head), html.Tbody(body)], className="table worklist photo-sets"),
        className="table-frame",
        tabIndex=0,
        role="region",
        **aria(label="Sets of pictures"),
    )


def _list_row(row: RecordingRow, pictures: int) -> html.Tr:
    link = dcc.Link(as_written(name_set(row)), href=routes.photo_set_url(row.id), className="row-link")
    cells: list[Any] = [
        as_written(row.subject),
        row.visit.isoformat() if row.visit else "–",
        str(pictures) if pictures else "–",
        state_badge(row.run.state if row.run else "new"),
        row.created.date().isoformat(),
    ]
    labelled = [html.Td(cell, **data(label=head)) for head, cell in zip(HEADS[1:], cells, strict=True)]
    return html.Tr([html.Th(link, scope="row"), *labelled])


# --- the form ------------------------------------------------------------------------------------


def new_set_form() -> html.Section:
    """Pictures from this computer or a folder on the server, their settings, start."""
    return html.Section(
        [
            html.H2("New set", id="new-set"),
            dbc.RadioItems(
                id=ids.PHOTOS_SOURCE,
                options=[
                    {"label": "Send from this computer", "value": "upload"},
                    {"label": "A folder on the server", "value": "folder"},
                ],
                value="upload",
                inline=True,
            ),
            html.Div(
                [
                    html.Div(
                        id=ids.PHOTOS_UPLOAD,
                        **data(
                            module="photo_upload",
                            store=ids.PHOTOS_FILES,
                            tus=routes.vendor_url("tus.min.js"),
                            accept=ACCEPT,
                            most=str(MAX_PICTURES),
                        ),
                    ),
                    html.P(
                        "The place, the owner and the camera that pictures may carry unseen are taken out "
                        "when they are sent; how long the lens is and which way is up stays.",
                        className="hint",
                    ),
                    room_note(current_actor()),
                ],
                id=ids.PHOTOS_UPLOAD_PANE,
            ),
            html.Div(
                [_folder_choice(), html.P(id=ids.PHOTOS_FOLDER_NOTE, className="hint", role="status")],
                id=ids.PHOTOS_FOLDER_PANE,
                hidden=True,
            ),
            _settings_form(),
            html.Div(
                html.Button("Start", id=ids.PHOTOS_START, className="btn btn-primary"), className="actions"
            ),
            html.Div(id=ids.PHOTOS_RESULT, role="status"),
            dcc.Store(id=ids.PHOTOS_FILES),
        ],
        className="card photo-new",
    )


def _settings_form() -> html.Div:
    default = PhotoSettings()
    presets = [{"label": word, "value": key} for key, word in PRESETS]
    return html.Div(
        [
            html.Div(
                [
                    _field("Title", dbc.Input(id=ids.PHOTOS_TITLE, maxLength=120), "May be left empty."),
                    _field(
                        "Pseudonym",
                        dbc.Input(id=ids.PHOTOS_SUBJECT, placeholder="P-014", maxLength=64),
                        "Never a name. May be left empty.",
                    ),
                    _field("Day", dbc.Input(id=ids.PHOTOS_VISIT, type="date")),
                    _field(
                        "Hand length, mm",
                        dbc.Input(id=ids.PHOTOS_LENGTH, type="number", min=81, max=279, step="any"),
                        "Wrist crease to middle fingertip, by ruler. Without it the average hand counts.",
                    ),
                ],
                className="form-grid",
            ),
            html.Details(
                [
                    html.Summary("More settings"),
                    html.Div(
                        [
                            _field(
                                "Lens, mm as on 35 mm film",
                                dbc.Input(id=ids.PHOTOS_FOCAL, type="number", min=8, max=1000, step="any"),
                                "For pictures that do not say it. Without it 28 mm is assumed.",
                            ),
                            _field(
                                "Pictures",
                                dbc.Select(id=ids.PHOTOS_PRESET, options=presets, value=default.preset),
                            ),
                            _field(
                                "Finds the hand",
                                model_select(ids.PHOTOS_DETECTOR, "detector", default.detector),
                            ),
                            _field(
                                "Finds the joints",
                                model_select(ids.PHOTOS_ESTIMATOR, "estimator", default.estimator),
                            ),
                        ],
                        className="form-grid",
                    ),
                    missing_models(),
                ],
                className="photo-more",
            ),
        ]
    )


def _field(label: str, control: Any, hint: str = "") -> html.Div:
    parts = [html.Label(label, htmlFor=control.id), control]
    return html.Div([*parts, html.Div(hint, className="hint")] if hint else parts, className="field")


def _folder_choice() -> html.Div:
    folders = [str(folder) for folder in _server_folders()]
    if _may_type():
        control: Any = dbc.Input(
            id=ids.PHOTOS_FOLDER, placeholder="/path/to/pictures", list="photo-folders", debounce=True
        )
        extra = [html.Datalist([html.Option(value=folder) for folder in folders], id="photo-folders")]
        hint = ""
    else:
        options = [{"label": Path(folder).name, "value": folder} for folder in folders]
        control, extra = dbc.Select(id=ids.PHOTOS_FOLDER, options=options, placeholder="Choose a folder"), []
        hint = "" if folders else "There are no folders to choose from."
    return html.Div([_field("Folder with pictures", control, hint), *extra])


def _server_folders() -> tuple[Path, ...]:
    settings = get_settings()
    return list_photo_folders(settings.data_dir, settings.session_folders)


def _may_type() -> bool:
    """Only who sits at the server may name any folder of it, and only if no folder was set aside for this."""
    return get_settings().session_folders is None and bool(flask.current_app.extensions.get("redys_local"))


def allow_folder(folder: str | None) -> Path:
    """The folder that was chosen, if it may be.

    Raises
    ------
    PhotoError
        None was given, or it is not one of the server's.
    """
    if not folder or not folder.strip():
        raise PhotoError("No folder was given.", "Choose the folder that holds the pictures.")
    path = Path(folder.strip()).expanduser()
    if not _may_type() and path not in _server_folders():
        raise PhotoError("This folder is not one of the server's.", "Choose one of the list.")
    if not path.is_absolute() or not path.is_dir():
        raise PhotoError(
            f"{path} is not a folder on the server.", "Give its whole path, from the first slash on."
        )
    if not _may_type():
        require_inside(path, get_settings())
    return path


def has_own_settings(folder: Path) -> bool:
    """Whether a folder has a ``photos.toml`` that no form has written."""
    path = folder / SETTINGS_FILE
    return path.is_file() and not is_from_form(path)


# --- the pictures --------------------------------------------------------------------------------


def results_view(run_id: str, results: PhotoResults) -> list[Any]:
    """Everything that was found: sum, pictures, likely faults, files, limits."""
    return [
        _summary(results),
        partial(*results.warnings) if results.warnings else None,
        _gallery(run_id, results),
        _failure_table(results),
        _downloads(run_id),
        panel("Limits", html.Ul([html.Li(words) for words in LIMITS])),
    ]


def _summary(results: PhotoResults) -> html.Div:
    hands = [hand for picture in results.pictures for hand in picture.hands]
    with_hands = sum(bool(picture.hands) for picture in results.pictures)
    doubtful = sum(bool(hand.failures) or hand.joints_mm is None for hand in hands)
    length = say_number(results.hand_length_mm, 0)
    if results.scale_source == "stated":
        scale = f"Lengths in mm rest on the stated hand length of {length} mm."
    else:
        scale = (
            f"The scale is not known: lengths in mm are those of an average hand, {length} mm long. "
            "Directions and proportions do not hang on it."
        )
    found = f"Hands in {with_hands} of {len(results.pictures)} pictures, {len(hands)} hands in all."
    doubts = f"{doubtful} of them have a likely fault." if doubtful else "None of them shows a likely fault."
    model = f"Hand model: {results.hand_model}."
    return notice("info", html.P([found, " ", doubts]), html.P([scale, " ", model]))


def _gallery(run_id: str, results: PhotoResults) -> html.Section:
    switches = [
        ("points", "Points", True),
        ("bones", "Bones", True),
        ("sigma", "Error of each point", False),
        ("mesh", "Hand model", False),
    ]
    controls = html.Fieldset(
        [
            html.Legend("Shown over the pictures", className="visually-hidden"),
            *[
                html.Button(
                    word,
                    type="button",
                    className="choice-button photo-switch",
                    **data(layer=layer),
                    **aria(pressed=str(on).lower()),
                )
                for layer, word, on in switches
            ],
        ],
        className="photo-switches",
    )
    cards = [_card(run_id, picture) for picture in results.pictures]
    return html.Section(
        [
            html.Header([html.H2("Pictures"), controls], className="photo-head"),
            html.P(
                "The error of each point is drawn as a circle of one standard deviation. Open a picture for "
                "the hand in space and its numbers.",
                className="panel-lead",
            ),
            html.Ol(cards, className="photo-grid"),
            html.Div(
                className="photo-stage",
                **data(
                    module="photos",
                    media=routes.media_url(run_id, ""),
                    files=routes.photo_file_url(run_id, "") if policy.may("export") else "",
                    length=say_number(results.hand_length_mm, 0),
                    scale=results.scale_source,
                ),
            ),
        ],
        className="panel photos",
    )


def _card(run_id: str, picture: PictureRow) -> html.Li:
    number = picture.number
    if picture.what:
        return html.Li(
            html.Figure(
                [
                    html.Div("◆", className="photo-none", **aria(hidden="true")),
                    html.Figcaption([html.Strong(as_written(picture.name)), html.Div("Cannot be read")]),
                ]
            ),
            className="photo-card",
        )
    width, height = picture.size_px
    pictures = [
        html.Img(src=routes.media_url(run_id, f"thumb_{number:03d}.jpg"), alt="", className="photo"),
        html.Img(src=routes.media_url(run_id, f"mesh_{number:03d}.png"), alt="", className="mesh"),
    ]
    frame = html.Span(
        pictures,
        className="photo-frame",
        style={"aspectRatio": f"{width} / {height}"},
        **data(frame=str(number)),
    )
    return html.Li(
        html.Figure(
            [
                html.Button(
                    frame,
                    type="button",
                    className="photo-open",
                    **data(open=str(number), name=picture.name),
                    **aria(label=f"Open picture {number + 1}"),
                ),
                html.Figcaption(
                    [html.Strong(as_written(picture.name)), html.Div(say_hands(picture)), *_badges(picture)]
                ),
            ]
        ),
        className="photo-card",
    )


def say_hands(picture: PictureRow) -> str:
    """Which hands a picture shows, in words."""
    words = {("right",): "Right hand", ("left",): "Left hand"}
    sides = tuple(hand.side for hand in picture.hands)
    if not sides:
        return "No hand found"
    if sides in words:
        return words[sides]
    if sorted(sides) == ["left", "right"]:
        return "Both hands"
    return f"{len(sides)} hands"


def _badges(picture: PictureRow) -> list[Any]:
    reasons = list(dict.fromkeys(each.reason for _, each in picture.failures))
    if not reasons:
        return []
    return [html.Div([reason_badge(reason) for reason in reasons], className="photo-reasons")]


def reason_badge(reason: str) -> html.Span:
    """A likely reason as sign and word."""
    sign, word = REASON_MARKS[reason]
    return html.Span([html.Span(sign, **aria(hidden="true")), html.Span(word)], className="photo-reason")


# --- what may be wrong ---------------------------------------------------------------------------


def _failure_table(results: PhotoResults) -> html.Section:
    rows = [row for picture in results.pictures for row in _failure_rows(picture)]
    lead = "Likely reasons why points may be wrong, each with the figure that raised it."
    if not rows:
        words = "No picture shows a likely fault. That is no proof that every point is right."
        return panel("What may be wrong", html.P(words))
    head = html.Tr(
        [
            html.Th(word, scope="col")
            for word in ("Picture", "Hand", "Likely reason", "What was seen", "What to do")
        ]
    )
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="table photo-failures")
    frame = html.Div(
        table, className="table-scroll", tabIndex=0, role="region", **aria(label="What may be wrong")
    )
    return panel("What may be wrong", frame, lead=lead)


def _failure_rows(picture: PictureRow) -> list[html.Tr]:
    if picture.what:
        return [_failure_row(picture, "–", "unreadable", picture.what, picture.advice)]
    if not picture.hands:
        words = "Neither the whole picture nor a part of it shows a hand to the network."
        return [_failure_row(picture, "–", "no hand", words, ADVICE["no hand"])]
    rows = []
    for number, hand in enumerate(picture.hands):
        name = say_hand(hand, number, len(picture.hands))
        rows += [
            _failure_row(picture, name, each.reason, say_failure(each), ADVICE[each.reason])
            for each in hand.failures
        ]
        if hand.fault:
            rows.append(_failure_row(picture, name, "low confidence", hand.fault, ADVICE["low confidence"]))
    return rows


def _failure_row(picture: PictureRow, hand: str, reason: str, seen: str, advice: str) -> html.Tr:
    name: Any = as_written(picture.name)
    if not picture.what:
        name = html.A(name, href=f"#p={picture.number + 1}")
    cells: list[Any] = [hand, reason_badge(reason), seen, advice]
    return html.Tr([html.Th(name, scope="row"), *[html.Td(cell) for cell in cells]])


def say_hand(hand: HandRow, number: int, total: int) -> str:
    """A hand of a picture in words; numbered where there are more."""
    word = "Right hand" if hand.side == "right" else "Left hand"
    return word if total == 1 else f"{word}, no. {number + 1}"


def say_failure(failure: FailureRow) -> str:
    """The figure that raised a reason, and its limit, in a sentence."""
    count, names = round(failure.figure), ", ".join(JOINTS[joint] for joint in failure.joints)
    if failure.reason == "truncated":
        return f"Joints at the picture's edge or beyond it: {count} ({names})."
    if failure.reason == "blurred":
        figure, limit = say_number(failure.figure, 1), say_number(failure.limit, 1)
        return f"The hand's edges are {figure} px wide in the network's view of 224 px; the limit is {limit}."
    if failure.reason == "occluded":
        if failure.unit == "joints":
            return f"Joints under another hand, or of another colour than the palm: {count} ({names})."
        return f"Joints behind the hand itself, by the fitted model: {count} of 21."
    if failure.reason == "sides disagree":
        return _say_sides(failure)
    figure, limit = say_number(failure.figure, 2), say_number(failure.limit, 2)
    if failure.unit == "score":
        return f"The network's confidence is {figure}; the limit is {limit}."
    return f"The passes differ by {figure} of the palm's length; the limit is {limit}."


def _say_sides(failure: FailureRow) -> str:
    if failure.unit == "mean probability":
        figure, limit = say_number(failure.figure, 2), say_number(failure.limit, 2)
        return f"The side's mean probability is {figure}; the limit is {limit}."
    if failure.unit == "votes":
        return (
            f"{round(failure.figure)} passes see this side, the mirrored picture among them; "
            f"at least {round(failure.limit)} should."
        )
    return "Both hands of the picture are seen as the same side."


def _downloads(run_id: str) -> html.Section | None:
    if not policy.may("export"):
        return None
    files = [
        ("points.csv", "Points of all hands, a row a joint (CSV)"),
        ("points.npz", "The same as arrays (NumPy)"),
        ("photos.json", "Settings, versions, sides, reasons (JSON)"),
    ]
    items = [
        html.Li(html.A(word, href=routes.photo_file_url(run_id, name), download=name)) for name, word in files
    ]
    return panel("Files", html.Ul(items), lead="Each picture's own table is offered where it is opened.")
