"""Taking a run's numbers away: the list on the report, and the answers while a file is being written."""

from __future__ import annotations

import flask
from dash import html

from components import routes
from components.attributes import aria
from components.language import translate, translate_page
from components.security import current_actor
from components.status import panel
from pipeline.errors import RedysError
from pipeline.export.formats import FORMATS, ExportFormat
from records import Export, NotFound, Records, name_export

LOOK_AGAIN_S = 2

_DEIDENTIFIED_NOTE = (
    "De-identified: without pseudonym, date and cameras' names, and with a mean hand's proportions, since "
    "lengths of bones tell who somebody is. The movement itself stays, with angles and speeds as measured, "
    "and so does the task's name, as somebody typed it."
)


def take_away(run_id: str, *more: html.Ul) -> html.Section:
    """The panel that lists the formats, each with what is inside and its two links."""
    return panel(
        "Take the numbers away",
        html.Details(
            [
                html.Summary("Choose a format"),
                html.Ul([_entry(run_id, entry) for entry in FORMATS.values()], className="formats"),
                html.P(_DEIDENTIFIED_NOTE, className="plot-note"),
                html.P(
                    "Each file is a ZIP with a manifest: what is inside, where the numbers come from, and a "
                    "SHA-256 of every part. They describe movement; they are not a diagnosis.",
                    className="plot-note",
                ),
                *([html.H3("Single files of this report"), *more] if more else []),
            ],
            className="take-away",
        ),
    )


def _entry(run_id: str, entry: ExportFormat) -> html.Li:
    def link(words: str, deidentified: bool) -> html.A:
        address = routes.export_url(run_id, name_export(entry.id, deidentified))
        return html.A(words, href=address, **aria(label=f"{words}: {entry.title}"))

    return html.Li(
        [
            html.Strong(entry.title),
            html.P(entry.contents),
            html.P(
                [link("Download", False), " · ", link("Download de-identified", True)],
                className="format-links",
            ),
        ]
    )


def add_routes(server: flask.Flask, records: Records) -> None:
    """Put the route on the server; the gate of `components.security` stands before it."""

    @server.route(routes.EXPORT)
    def export(run_id: str, name: str) -> flask.typing.ResponseReturnValue:
        """A run's numbers in one format: the file, or a page that waits for it or says what went wrong."""
        if comes_from_elsewhere():
            return flask.Response("The request comes from another site.\n", 403, mimetype="text/plain")
        waited = "waited" in flask.request.args
        try:
            if flask.request.method == "HEAD":  # who only asks what is there has nothing made
                return _say_standing(records.exports.look(run_id, name))
            found = records.exports.prepare(run_id, name, again=not waited)
        except RedysError as error:
            status = 404 if isinstance(error, NotFound) else 500
            return flask.Response(f"{error}\n", status, mimetype="text/plain")
        if found.state == "ready" and not waited:
            return _send(records, run_id, found)
        return flask.Response(_page(run_id, found), STATUS[found.state], mimetype="text/html")


def comes_from_elsewhere() -> bool:
    """Whether another site asks: asking has an effect, a process, so no page but ours may.

    Another port is another site here.
    """
    return flask.request.headers.get("Sec-Fetch-Site") not in (None, "same-origin", "none")


STATUS = {"ready": 200, "working": 202, "failed": 500}
"""Of the page that says how a file stands."""


def _say_standing(found: Export | None) -> flask.Response:
    """Of a HEAD request: the status, without starting, noting or sending anything."""
    state = "working" if found is None else found.state  # what GET would answer first
    mimetype = "application/zip" if state == "ready" else "text/html"
    return flask.Response(status=STATUS[state], mimetype=mimetype)


def _send(records: Records, run_id: str, found: Export) -> flask.Response:
    records.note(current_actor(), "run.export", f"{run_id}/{found.name}")
    return send_export(found)


def send_export(found: Export) -> flask.Response:
    """The file as a download; who took it is the caller's to write down."""
    response = flask.send_file(
        found.path, mimetype="application/zip", as_attachment=True, download_name=f"redys-{found.name}"
    )
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _page(run_id: str, found: Export) -> str:
    address = routes.export_url(run_id, found.name)
    again = routes.export_url(run_id, found.name, waited=True)
    return waiting_page(found, address, again, routes.recording_url(found.recording_id))


def waiting_page(found: Export, address: str, again: str, back: str) -> str:
    """A small page without scripts: it looks again by itself until the file is there.

    Parameters
    ----------
    found : Export
        How the file stands.
    address, again : str
        Where it is asked for, and where this page asks whether it is there by now.
    back : str
        The page that one came from.
    """
    page = flask.render_template_string(
        _PAGE,
        t=translate,
        found=found,
        address=address,
        refresh={"ready": f"0; url={address}", "working": f"{LOOK_AGAIN_S}; url={again}"}.get(found.state),
        report=back,
        bootstrap=routes.vendor_url("bootstrap.min.css"),
    )
    return translate_page(page)


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ t(found.title) }} - ReDys</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if refresh %}<meta http-equiv="refresh" content="{{ refresh }}">{% endif %}
<link rel="icon" href="data:,"><link rel="stylesheet" href="{{ bootstrap }}">
<link rel="stylesheet" href="/assets/css/theme.css"><link rel="stylesheet" href="/assets/css/app.css"></head>
<body><main class="sign-in"><h1>{{ t(found.title) }}</h1>
{% if found.state == "working" %}
<p role="status">
{{ t("The file is being written. This takes some seconds; the page goes on by itself.") }}
</p>
{% elif found.state == "ready" %}
<p role="status">{{ t("The file is ready, and its download begins by itself.") }}</p>
<p><a href="{{ address }}">{{ t("Download it again") }}</a></p>
{% else %}
<div class="notice notice-failed" role="alert"><p>{{ t(found.what) }}</p><p>{{ t(found.advice) }}</p></div>
<p><a href="{{ address }}">{{ t("Try again") }}</a></p>
{% endif %}
<p><a href="{{ report }}">{{ t("Back to the report") }}</a></p>
</main></body></html>"""
