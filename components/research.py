"""What researchers see: lists, recordings and visits under codes, and what they take away.

Everything comes from `records.research`, which decides what may be seen; nothing here asks for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import flask
from dash import dcc, html

from components import routes
from components.attributes import aria, as_written, data
from components.comparison import NO_STUDY
from components.exports import STATUS, comes_from_elsewhere, send_export, waiting_page
from components.headlines import provenance_list
from components.nameless import Part
from components.playing import strokes, timing
from components.report import LIMITS
from components.security import current_actor
from components.states import failed, loading, notice
from components.status import panel, say_number, verdict_badge
from pipeline.errors import RedysError
from pipeline.export.formats import FORMATS
from pipeline.measures.summary import Summary
from records import NotFound, Records, ResearchRow, get_records
from records.research import NUMBERS, ResearchComparison, ResearchScore
from records.scores import SCALES

WHAT_THIS_IS: Final = (
    "People stand under codes, which stay the same here, and visits are days from a person's first. Names, "
    "dates, notes, videos and sound are not here. The 3D hand is a mean hand in the measured pose."
)
NOT_ANONYMOUS: Final = (
    "The movement itself may be known again by who has seen it, so these numbers are pseudonymous, not "
    "anonymous: keep them as such."
)
VERDICTS_REST: Final = "Verdicts rest on a reliability study of the clinic."
STUDY_DOES_NOT_HOLD: Final = (
    "The reliability study does not hold for these recordings, so there is no verdict."
)


def say_day(day: int | None) -> str:
    """A visit: "day 42", or "day not known"."""
    return "day not known" if day is None else f"day {day}"


def name_coded(row: ResearchRow) -> str:
    """A recording in a few words: "R-7F3K9QMN, day 42, piano, right"."""
    return f"{row.person}, {say_day(row.day)}, {row.task}, {row.side}"


def say_study(has_study: bool, study_fits: bool = True) -> str:
    """What verdicts rest on."""
    if not has_study:
        return NO_STUDY.partition(" (")[0] + "."
    return VERDICTS_REST if study_fits else STUDY_DOES_NOT_HOLD


# --- lists ---------------------------------------------------------------------------------------

HEADS: Final = ("Person", "Visit", "Task", "Side", "Recording quality", "")


def table(rows: Sequence[ResearchRow], offset: int, total: int) -> list[Any]:
    """A page of the recordings; ``offset`` is the place of its first."""
    if not rows:
        return [notice("info", html.P("No recording fits. Change the search or the filters."), role="status")]
    head = html.Thead(html.Tr([html.Th(word, scope="col") for word in HEADS]))
    caption = html.Caption(f"{offset + 1} to {offset + len(rows)} of {total}. By person and day.")
    body = html.Tbody([_line(row) for row in rows])
    return [
        html.Div(
            html.Table([caption, head, body], className="table worklist"),
            className="table-frame",
            tabIndex=0,
            role="region",
            **aria(label="Recordings"),
        )
    ]


def _line(row: ResearchRow) -> html.Tr:
    person = dcc.Link(as_written(row.person), href=routes.research_person_url(row.person))
    report = dcc.Link(
        "Numbers",
        href=routes.research_recording_url(row.id),
        title=f"Numbers of {row.person}, {say_day(row.day)}",
    )
    quality: Any = verdict_badge(row.quality) if row.quality else html.Span("–", **aria(label="not known"))
    cells = (say_day(row.day), as_written(row.task), row.side, quality, report)
    # On a phone the heads are gone, and each cell says its own.
    return html.Tr(
        [
            html.Th(person, scope="row"),
            *(html.Td(cell, **data(label=head)) for head, cell in zip(HEADS[1:], cells, strict=True)),
        ]
    )


def scores_table(scores: Sequence[ResearchScore]) -> html.Section | None:
    """Clinical scales of a person as numbers; None without any."""
    if not scores:
        return None
    rows = [
        html.Tr(
            [
                html.Th(say_day(score.day), scope="row"),
                html.Td(SCALES[score.scale].label if score.scale in SCALES else score.scale),
                html.Td(say_number(score.value, 1)),
                html.Td({True: "yes", False: "no", None: "not known"}[score.blinded]),
            ]
        )
        for score in sorted(scores, key=lambda each: (each.day is None, each.day or 0, each.scale))
    ]
    head = html.Tr([html.Th(word, scope="col") for word in ("Visit", "Scale", "Value", "Blinded")])
    shown = html.Table([html.Thead(head), html.Tbody(rows)], className="numbers")
    scroll = html.Div(
        shown, className="table-scroll", tabIndex=0, role="group", **aria(label="Clinical scales")
    )
    return panel("Clinical scales", scroll, lead="As raters gave them; days from the person's first visit.")


# --- a recording ---------------------------------------------------------------------------------


def open_part(row: ResearchRow) -> Part:
    """A recording for `components.nameless`: its moving hand is made at the first look.

    Raises
    ------
    NotFound
    RedysError
        The data folder cannot be written.
    """
    research = get_records().research
    view = research.prepare_view(row.id)
    waiting: tuple[Any, ...] = ()
    if view.state == "working":
        words = "The moving hand is being made. This takes some seconds; the page goes on by itself."
        waiting = (loading(words), html.Div(**data(module="reload")))
    elif view.state == "failed":
        waiting = (failed(RedysError(view.what, view.advice)),)
    return Part(
        base=routes.research_data_url(row.id),
        summary=research.read_summary(row.id),
        folder=research.open_view(row.id),
        waiting=waiting,
    )


def playing_panels(summary: Summary) -> list[html.Section]:
    """Tremor, individuation and key timing."""
    several = len(summary.sides) > 1
    parts = [
        panel(f"Strokes and tremor, {side} hand" if several else "Strokes and tremor", strokes(found))
        for side, found in summary.sides.items()
    ]
    lead = "From the sound track, never from the video: the evenness of all strokes heard, whichever hand's."
    return [*parts, panel("Key timing", timing(summary.timing), lead=lead)]


def take_away_coded(row: ResearchRow) -> html.Section:
    """The formats of a recording's numbers."""
    entries = [
        html.Li(
            [
                html.Strong(entry.title),
                html.P(entry.contents),
                html.A(
                    "Download",
                    href=routes.research_export_url(row.id, f"{entry.id}.zip"),
                    **aria(label=f"Download: {entry.title}"),
                ),
            ]
        )
        for entry in FORMATS.values()
    ]
    return panel(
        "Take the numbers away",
        html.Details(
            [
                html.Summary("Choose a format"),
                html.Ul(entries, className="formats"),
                html.P(WHAT_THIS_IS, className="plot-note"),
                html.P(NOT_ANONYMOUS, className="plot-note"),
            ],
            className="take-away",
        ),
    )


def limits(*summaries: Summary) -> html.Section:
    """What limits the numbers, and where they come from."""
    notes = [note for summary in summaries for note in summary.notes]
    return panel(
        "Limits and origin",
        html.Ul([html.Li(text) for text in dict.fromkeys((*LIMITS, *notes))], className="limits"),
        provenance_list(summaries[0].provenance),
    )


def say_comparison(found: ResearchComparison) -> str:
    """What the verdicts of a comparison rest on."""
    return say_study(found.has_study, found.study_fits)


# --- routes --------------------------------------------------------------------------------------


def add_routes(server: flask.Flask, records: Records) -> None:
    """Put the routes on the server; the gate of `components.security` stands before them."""

    @server.route(routes.RESEARCH_DATA)
    def research_data(coded: str, name: str) -> flask.typing.ResponseReturnValue:
        """A file of the moving hand, whole or a byte range."""
        try:
            path = records.research.find_file(coded, name)
        except NotFound as error:
            return flask.Response(f"{error}\n", 404, mimetype="text/plain")
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        # Without the file's own time, which says when somebody first looked.
        response = flask.send_file(path, mimetype=kind, conditional=True, etag=False, max_age=0)
        response.headers.pop("Last-Modified", None)
        response.headers["Cache-Control"] = "private, no-store"
        return response

    @server.route(routes.RESEARCH_EXPORT)
    def research_export(coded: str, name: str) -> flask.typing.ResponseReturnValue:
        """A recording's numbers in one format: the file, or a page that waits for it."""
        address = routes.research_export_url(coded, name)
        back = routes.research_recording_url(coded)
        return _give(
            lambda again: records.research.prepare_export(coded, name, again),
            lambda: records.research.note([coded], "export", current_actor(), f"/{name}"),
            address,
            back,
        )

    @server.route(routes.RESEARCH_NUMBERS)
    def research_numbers() -> flask.typing.ResponseReturnValue:
        """The numbers of all recordings as long tables, or a page that waits for them."""
        return _give(
            records.research.prepare_numbers,
            lambda: records.note(current_actor(), "research.export", NUMBERS),
            routes.RESEARCH_NUMBERS,
            routes.RESEARCH,
        )


_TYPES: Final = {".json": "application/json", ".mp4": "video/mp4"}


def _give(prepare: Any, note: Any, address: str, back: str) -> flask.typing.ResponseReturnValue:
    """The answer for a file that is written on demand, as `components.exports` answers."""
    if comes_from_elsewhere():
        return flask.Response("The request comes from another site.\n", 403, mimetype="text/plain")
    waited = "waited" in flask.request.args
    try:
        found = prepare(not waited and flask.request.method != "HEAD")
    except NotFound as error:
        return flask.Response(f"{error}\n", 404, mimetype="text/plain")
    except RedysError:  # its words name folders
        words = "The file could not be written. Ask who keeps this installation.\n"
        return flask.Response(words, 500, mimetype="text/plain")
    if found.state == "ready" and not waited:
        if flask.request.method != "HEAD":
            note()
        answer = send_export(found)
        answer.headers.pop("Last-Modified", None)
        return answer
    page = waiting_page(found, address, f"{address}?waited=1", back)
    return flask.Response(page, STATUS[found.state], mimetype="text/html")
