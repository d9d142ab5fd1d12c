"""Resumable upload: the tus protocol 1.0.0 (core, creation, termination), streamed to the disk.

https://tus.io/protocols/resumable-upload; the browser's side is tus-js-client. A cut connection costs what
was under way: the client asks how far the file is (HEAD) and goes on from there (PATCH).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import flask
from werkzeug.exceptions import ClientDisconnected

from components import intake, routes
from components.intake import CHECK_MARKS
from components.language import translate
from components.security import current_actor
from pipeline.errors import RedysError, SessionError
from pipeline.session import Checkerboard
from records import NotFound, Records
from records.checking import Look
from records.drafts import DraftKind, Drafts, UploadedFile
from records.errors import UploadError
from settings import Settings

TUS_VERSION = "1.0.0"
CHUNK_BYTES = 2**20

_MIME = "application/offset+octet-stream"


def add_routes(server: flask.Flask, records: Records, settings: Settings) -> None:
    """Put the upload routes on the server; the gate of `components.security` stands before them."""
    drafts = records.drafts
    _add_looks(server, drafts)

    @server.route(routes.UPLOAD, methods=["POST"])
    def upload_draft() -> flask.typing.ResponseReturnValue:
        """Begin a new recording."""
        kind: DraftKind = "photos" if flask.request.args.get("kind") == "photos" else "video"
        return flask.jsonify(draft=drafts.create(current_actor(), kind)), 201

    @server.route(f"{routes.UPLOAD}/<draft_id>", methods=["GET", "POST", "OPTIONS"])
    def upload_files(draft_id: str) -> flask.typing.ResponseReturnValue:
        """GET: the files of a draft. POST: tus creation."""
        if flask.request.method == "OPTIONS":
            return _answer(204, {"Tus-Extension": "creation,termination"}, settings)
        if flask.request.method == "GET":
            files = drafts.list_files(draft_id, current_actor())
            return flask.jsonify(files=[_plain(file, draft_id) for file in files])
        if wrong := _wrong_version():
            return wrong
        name = _metadata("filename")
        file = drafts.begin(draft_id, current_actor(), name, _number("Upload-Length"))
        return _answer(201, {"Location": _address(draft_id, file.id), "Upload-Offset": "0"})

    @server.route(f"{routes.UPLOAD}/<draft_id>/<file_id>", methods=["HEAD", "PATCH", "DELETE"])
    def upload_file(draft_id: str, file_id: str) -> flask.typing.ResponseReturnValue:
        """How far a file is (HEAD), more of it (PATCH), or away with it (DELETE)."""
        if wrong := _wrong_version():
            return wrong
        return _METHODS[flask.request.method](drafts, settings, draft_id, file_id)

    @server.errorhandler(UploadError)
    def refuse(error: UploadError) -> flask.Response:
        return _words(error, error.status)

    @server.errorhandler(NotFound)
    def miss(error: NotFound) -> flask.Response:
        return _words(error, 404)


def _add_looks(server: flask.Flask, drafts: Drafts) -> None:
    @server.route(f"{routes.UPLOAD}/<draft_id>/<file_id>/look")
    def look_upload(draft_id: str, file_id: str) -> flask.typing.ResponseReturnValue:
        """What a file that has arrived is, in words, with a picture of it."""
        if foreign := _refuse_foreign():
            return foreign
        return _say_look(drafts.look_into(draft_id, current_actor(), file_id, _board()))

    @server.route(routes.LOOK)
    def look_folder() -> flask.typing.ResponseReturnValue:
        """The same of a file in a folder on the server."""
        if foreign := _refuse_foreign():
            return foreign
        folder, name = (flask.request.args.get(key, "") for key in ("folder", "file"))
        try:
            return _say_look(intake.look_into(folder, name, _board()))
        except SessionError as error:
            return _words(error, 404)


def _refuse_foreign() -> flask.Response | None:
    """Asking has an effect, a process, so no page but ours may ask; another port is another site here."""
    if flask.request.headers.get("Sec-Fetch-Site") in (None, "same-origin", "none"):
        return None
    return flask.Response("The request comes from another site.\n", 403, mimetype="text/plain")


def _board() -> Checkerboard | None:
    """The board to look for, where one is asked for: ``columns`` and ``rows`` of inner corners."""
    given = {key: flask.request.args.get(key, "") for key in ("columns", "rows")}
    if not any(given.values()):
        return None
    try:
        return Checkerboard.model_validate(given)
    except ValueError as error:
        raise UploadError(
            "A checkerboard has 3 to 40 inner corners each way.", "Count where four squares meet."
        ) from error


def _say_look(look: Look) -> flask.Response:
    """A look as the browser shows it, in the reader's language."""
    return flask.jsonify(
        findings=[
            {
                "level": finding.level,
                "mark": CHECK_MARKS[finding.level][0],
                "word": translate(CHECK_MARKS[finding.level][1]),
                "text": f"{translate(finding.what)} {translate(finding.advice)}".strip(),
            }
            for finding in look.findings
        ],
        picture=f"data:image/jpeg;base64,{look.picture}" if look.picture else "",
        board=look.board,
    )


def _look(drafts: Drafts, settings: Settings, draft_id: str, file_id: str) -> flask.Response:
    file = drafts.find(draft_id, current_actor(), file_id)
    return _answer(200, {"Upload-Offset": str(file.received), "Upload-Length": str(file.length)})


def _add(drafts: Drafts, settings: Settings, draft_id: str, file_id: str) -> flask.Response:
    if flask.request.mimetype != _MIME:
        raise UploadError(f"A piece of a file is sent as {_MIME}.", status=415)
    # The general limit is for forms; a piece is as long as the file may be, and never held in memory.
    flask.request.max_content_length = settings.max_upload_bytes
    file = drafts.append(draft_id, current_actor(), file_id, _number("Upload-Offset"), _read_stream())
    return _answer(204, {"Upload-Offset": str(file.received)})


def _remove(drafts: Drafts, settings: Settings, draft_id: str, file_id: str) -> flask.Response:
    drafts.remove(draft_id, current_actor(), file_id)
    return _answer(204)


_METHODS = {"HEAD": _look, "PATCH": _add, "DELETE": _remove}


def _read_stream() -> Iterator[bytes]:
    """The body as it arrives; a cut connection ends it, and what came before counts."""
    while True:
        try:
            chunk = flask.request.stream.read(CHUNK_BYTES)
        except (ClientDisconnected, ConnectionError, TimeoutError):
            return
        if not chunk:
            return
        yield chunk


def _answer(
    status: int, headers: dict[str, str] | None = None, settings: Settings | None = None
) -> flask.Response:
    response = flask.Response(status=status)
    response.headers["Tus-Resumable"] = TUS_VERSION
    response.headers["Cache-Control"] = "no-store"
    if settings is not None:
        response.headers["Tus-Version"] = TUS_VERSION
        response.headers["Tus-Max-Size"] = str(settings.max_upload_bytes)
    response.headers.update(headers or {})
    return response


def _words(error: RedysError, status: int) -> flask.Response:
    response = _answer(status)
    response.set_data(f"{translate(error.what)} {translate(error.advice)}".strip() + "\n")
    response.mimetype = "text/plain"
    return response


def _wrong_version() -> flask.Response | None:
    if flask.request.headers.get("Tus-Resumable") == TUS_VERSION:
        return None
    return _answer(412, {"Tus-Version": TUS_VERSION})


def _number(header: str) -> int:
    text = flask.request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise UploadError(f"The header {header} is not a number of bytes.")
    return int(text)


def _metadata(key: str) -> str:
    """A value of Upload-Metadata: ``key base64,key base64``; empty without."""
    for pair in flask.request.headers.get("Upload-Metadata", "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name == key:
            try:
                return base64.b64decode(value, validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise UploadError("The file's name cannot be read.", "Rename the file.") from error
    return ""


def _address(draft_id: str, file_id: str) -> str:
    return f"{routes.upload_url(draft_id)}/{file_id}"


def _plain(file: UploadedFile, draft_id: str) -> dict[str, object]:
    return {
        "id": file.id,
        "name": file.name,
        "length": file.length,
        "received": file.received,
        "url": _address(draft_id, file.id),
    }
