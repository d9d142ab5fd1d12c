"""What is not a page: files of a run, and browser libraries."""

from __future__ import annotations

import gzip
import logging
import mimetypes

import flask
from dash.exceptions import DependencyException

from components import routes
from pipeline.errors import RedysError
from records import NotFound, Records
from settings import Settings

log = logging.getLogger(__name__)

VENDOR_FILES = {
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
    "tus.min.js": "tus-js-client/dist/tus.min.js",
    "three/build/three.module.js": "three/build/three.module.js",
    "three/build/three.core.js": "three/build/three.core.js",
    "three/examples/jsm/controls/OrbitControls.js": "three/examples/jsm/controls/OrbitControls.js",
}
"""Browser libraries that the site serves, by the name after /vendor/, and where npm put them."""

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".flac": "audio/flac"}
"""Where the answer must not hang on what the machine knows: Python 3.12 alone does not know FLAC."""


def add_routes(server: flask.Flask, records: Records, settings: Settings) -> None:
    """Put the routes on the server; the gate of `components.security` stands before them."""
    server.after_request(_compress)

    @server.errorhandler(DependencyException)
    def miss_library(_error: DependencyException) -> flask.typing.ResponseReturnValue:
        """Dash's own route of libraries raises this for a name that it does not know."""
        return flask.Response("There is no such library.\n", 404, mimetype="text/plain")

    @server.route(routes.MEDIA)
    def media(run_id: str, name: str) -> flask.typing.ResponseReturnValue:
        """A file of a run, whole or the byte range that the player asks for."""
        try:
            path = records.artefact(run_id, name)
        except NotFound as error:
            return flask.Response(f"{error}\n", 404, mimetype="text/plain")
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        response = flask.send_file(path, mimetype=kind, conditional=True, etag=True, max_age=0)
        # A run may be worked again in the same folder, so each use asks whether the file is still the same.
        response.headers["Cache-Control"] = "private, no-cache"
        return response

    @server.route(routes.RIG_FILE)
    def rig_file(rig_id: str, name: str) -> flask.typing.ResponseReturnValue:
        """A kept rig in one of the formats that other programs read."""
        try:
            data = records.rigs.download(rig_id, name)
        except RedysError as error:
            status = 404 if isinstance(error, NotFound) else 500
            return flask.Response(f"{error}\n", status, mimetype="text/plain")
        kind = "application/json" if name.endswith(".json") else "text/plain"
        response = flask.Response(data, mimetype=kind)
        response.headers["Content-Disposition"] = f"attachment; filename={name}"
        response.headers["Cache-Control"] = "private, no-cache"
        return response

    @server.route(f"{routes.VENDOR}/<path:name>")
    def vendor(name: str) -> flask.typing.ResponseReturnValue:
        """A browser library, as npm installed it."""
        place = VENDOR_FILES.get(name)
        if place is None:
            return flask.Response("There is no such library.\n", 404, mimetype="text/plain")
        path = settings.node_modules / place
        if not path.is_file():
            log.error("%s is missing; run `make setup`", path)
            words = f"{place} is missing on the server. Run `make setup` there.\n"
            return flask.Response(words, 503, mimetype="text/plain")
        return flask.send_file(path, mimetype=_TYPES[path.suffix], conditional=True, max_age=3600)


_COMPRESS_FROM = 20_000
"""Bytes below which packing costs more than it saves."""


def _compress(response: flask.Response) -> flask.Response:
    """Pages as JSON, several times smaller; what is streamed from a file keeps its byte ranges."""
    if (
        response.direct_passthrough
        or response.status_code != 200
        or response.mimetype != "application/json"
        or "Content-Encoding" in response.headers
        or "gzip" not in flask.request.headers.get("Accept-Encoding", "")
    ):
        return response
    data = response.get_data()
    if len(data) >= _COMPRESS_FROM:
        response.set_data(gzip.compress(data, compresslevel=1, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response
