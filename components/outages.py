"""What the site says while something that it stands on is away: status 503 and words."""

from __future__ import annotations

import logging
from typing import Final

import flask
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from components import routes
from components.language import current_language, translate, translate_page
from pipeline.errors import RedysError
from records.outages import OutageError, find_outage

log = logging.getLogger(__name__)

AGAIN_S: Final = 10
"""After how long a page that could not be shown asks again by itself."""

KINDS: Final = (SQLAlchemyError, RedisError, KombuError, OSError, RedysError)
"""What an outage may look like where it is met; what is none of it is raised again."""


def add_handlers(server: flask.Flask) -> None:
    """Answer for all routes; those that say more themselves are asked first."""
    for kind in KINDS:
        server.register_error_handler(kind, answer)


def answer(error: Exception) -> flask.Response:
    """A page for who opens one, a sentence for everything else.

    Raises
    ------
    Exception
        The same error, if nothing is away.
    """
    outage = find_outage(error)
    if outage is None:
        raise error
    # Who asks cannot be found out now either, and whoever writes a line about this request must not try.
    flask.g.outage = True
    log.warning("%s %s: %s", flask.request.method, flask.request.endpoint, outage, exc_info=error)
    response = _page(outage) if _wants_page() else _words(outage)
    response.headers["Retry-After"] = str(AGAIN_S)
    response.headers["Cache-Control"] = "no-store"
    return response


def is_outage() -> bool:
    """Whether this request met an outage."""
    return bool(flask.g.get("outage", False))


def _wants_page() -> bool:
    return flask.request.method == "GET" and "text/html" in flask.request.headers.get("Accept", "")


def _words(outage: OutageError) -> flask.Response:
    said = f"{translate(outage.what)} {translate(outage.advice)}".strip()
    return flask.Response(f"{said}\n", 503, mimetype="text/plain")


def _page(outage: OutageError) -> flask.Response:
    body = flask.render_template_string(
        _HTML,
        t=translate,
        language=current_language(),
        what=translate(outage.what),
        advice=translate(outage.advice),
        again_s=AGAIN_S,
        bootstrap=routes.vendor_url("bootstrap.min.css"),
    )
    return flask.Response(translate_page(body), 503, mimetype="text/html")


_HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ t("Away for a moment - ReDys") }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{{ again_s }}">
<link rel="icon" href="data:,"><link rel="stylesheet" href="{{ bootstrap }}">
<link rel="stylesheet" href="/assets/css/theme.css"><link rel="stylesheet" href="/assets/css/app.css"></head>
<body><main class="sign-in"><h1>ReDys</h1>
<div class="notice notice-failed" role="alert"><p>{{ what }}</p><p>{{ advice }}</p></div>
<p>{{ t("This page tries again by itself.") }}</p>
</main></body></html>"""
