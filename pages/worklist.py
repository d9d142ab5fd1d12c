"""The worklist: every recording, how its run stands, and the angles farthest from the reference."""

from __future__ import annotations

from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import Input, Output, callback, ctx, dcc, html

from components import ids, policy, routes
from components.attributes import Written, aria, as_written, data
from components.cache import is_reference_simulated, worst_angles
from components.states import STATE_WORDS, empty, notice, say_seconds, state_badge
from components.status import level_icon, verdict_badge
from pipeline.errors import RedysError
from pipeline.measures.summary_types import WorstAngle
from records import Page, RecordingRow, get_records
from records.verdicts import VERDICTS

dash.register_page(__name__, path=routes.WORKLIST, title="Recordings - ReDys")

PAGE_SIZE = 50
ANY = "any"
"""Of a filter; an empty value would be shown as a blank field."""

HEADS = (
    ("Person", "person"),
    ("Visit", "visit"),
    ("Task", "task"),
    ("Side", ""),
    ("State", "state"),
    ("Recording quality", "quality"),
    ("Farthest from the reference", ""),
)
"""Columns, and the order that goes by each."""

ORDER_WORDS = {
    "added": "Newest first",
    "person": "By person",
    "visit": "By visit, latest first",
    "task": "By task",
    "state": "By state, working first",
    "quality": "By quality, failed first",
}


def layout(**_: Any) -> Any:
    """The filters and the table; an empty house leads to the first recording."""
    page = get_records().list_recordings(limit=PAGE_SIZE)
    may = policy.may("work")
    new = dcc.Link("New recording", href=routes.NEW, className="btn btn-primary") if may else None
    trash = html.P(dcc.Link("Trash", href=routes.TRASH)) if may else None
    heading = html.Div([html.H1("Recordings"), new], className="page-head")
    if not page.total:
        why = "There are no recordings yet. A recording is one video per camera of a hand at its task."
        shown = empty(why, "Add the first recording", routes.NEW) if may else notice("info", html.P(why))
        return [html.H1("Recordings"), shown, trash]
    return [
        heading,
        _filters(),
        html.Div(table(page), id=ids.WORKLIST_TABLE),
        html.Div(
            _field(
                "Page",
                dbc.Select(id=ids.WORKLIST_PAGE, options=_page_options(page), value="0"),
                ids.WORKLIST_PAGE,
            ),
            id=ids.WORKLIST_PAGER,
            className="pager",
            hidden=page.total <= PAGE_SIZE,
        ),
        trash,
    ]


def _filters() -> html.Div:
    tasks = get_records().list_tasks()
    states = [(state, word) for state, (_, word) in STATE_WORDS.items()]
    sides = [("right", "Right"), ("left", "Left"), ("both", "Both")]
    qualities = [*((verdict, verdict.capitalize()) for verdict in VERDICTS), ("none", "No report yet")]
    orders = [{"label": word, "value": value} for value, word in ORDER_WORDS.items()]
    order = dbc.Select(id=ids.WORKLIST_ORDER, options=orders, value="added")
    search = dbc.Input(
        id=ids.WORKLIST_SEARCH, type="search", debounce=300, placeholder="Pseudonym, task or title"
    )
    return html.Div(
        [
            _field("Search", search, ids.WORKLIST_SEARCH),
            _choice("State", ids.WORKLIST_STATE, states),
            _choice("Side", ids.WORKLIST_SIDE, sides),
            _choice("Task", ids.WORKLIST_TASK, [(task, Written(task)) for task in tasks]),
            _choice("Quality", ids.WORKLIST_QUALITY, qualities),
            _field("Order", order, ids.WORKLIST_ORDER),
        ],
        className="filters",
        role="search",
    )


def _field(label: str, control: Any, control_id: str) -> html.Div:
    return html.Div([html.Label(label, htmlFor=control_id), control], className="field")


def _choice(label: str, control_id: str, options: list[tuple[str, str]]) -> html.Div:
    """A native select: the keyboard and screen readers know it."""
    choices = [{"label": word, "value": value} for value, word in [(ANY, "Any"), *options]]
    return _field(label, dbc.Select(id=control_id, options=choices, value=ANY), control_id)


def _page_options(page: Page[RecordingRow]) -> list[dict[str, str]]:
    count = max(1, -(-page.total // PAGE_SIZE))
    return [{"label": f"{number + 1} of {count}", "value": str(number)} for number in range(count)]


def table(page: Page[RecordingRow], order: str = "added") -> list[Any]:
    """The table of a page of recordings in an order of `ORDER_WORDS`."""
    if not page.rows:
        return [notice("info", html.P("No recording fits. Change the search or the filters."), role="status")]
    last = page.offset + len(page.rows)
    return [
        html.Div(
            html.Table(
                [
                    html.Caption(f"{page.offset + 1} to {last} of {page.total}. {ORDER_WORDS[order]}."),
                    html.Thead(html.Tr([_head(word, by, order) for word, by in HEADS])),
                    html.Tbody([_row(recording) for recording in page.rows]),
                ],
                className="table worklist",
            ),
            className="table-frame",
            tabIndex=0,
            role="region",
            **aria(label="Recordings"),
        ),
    ]


def _head(word: str, by: str, order: str) -> html.Th:
    if by != order:
        return html.Th(word, scope="col")
    return html.Th(word, scope="col", **aria(sort="descending" if by == "visit" else "ascending"))


def _row(recording: RecordingRow) -> html.Tr:
    title = as_written(f"{recording.subject}: {recording.title}" if recording.title else recording.subject)
    person = [
        dcc.Link(title, href=routes.recording_url(recording.id), className="row-link"),
        dcc.Link(
            "all visits",
            href=routes.subject_url(recording.subject_id),
            className="row-side-link",
            title=f"All visits of {recording.subject}",
        ),
    ]
    cells = [
        as_written(recording.task),
        recording.side,
        _state(recording),
        _quality(recording),
        _worst(recording),
    ]
    # On a phone the heads are gone, and each cell says its own.
    return html.Tr(
        [
            html.Th(person, scope="row"),
            html.Td(recording.visit.isoformat() if recording.visit else "no date", **data(label="Visit")),
            *(html.Td(cell, **data(label=head)) for (head, _), cell in zip(HEADS[2:], cells, strict=True)),
        ]
    )


def _quality(recording: RecordingRow) -> Any:
    """The report's verdict on the recording in mark and word."""
    if not recording.quality:
        return html.Span("–", **aria(label="no report yet"))
    return verdict_badge(recording.quality)


def _state(recording: RecordingRow) -> list[Any]:
    run = recording.run
    if run is None:
        return [state_badge("new")]
    more = ""
    if run.state == "running":
        left = say_seconds(run.eta_s)
        more = ", ".join(part for part in (run.message, f"{100 * run.fraction:.0f} %", left) if part)
    elif run.state == "queued":
        more = f"place {run.position}"
    elif run.can_retry:
        more = run.error_what
    return [state_badge(run.state), html.Div(more, className="row-note") if more else None]


def _worst(recording: RecordingRow) -> Any:
    if recording.report_run_id is None:
        return html.Span("–", **aria(label="no result yet"))
    try:
        worst = worst_angles(recording.report_run_id)
        simulated = is_reference_simulated(recording.report_run_id)
    except RedysError as error:
        return html.Span(error.what, className="row-note")
    if not worst:
        return html.Span("none to tell", className="row-note")
    note = html.Div("Simulated reference, not for a patient", className="row-note") if simulated else None
    return [html.Ol([html.Li(_angle(each)) for each in worst], className="row-worst"), note]


def _angle(worst: WorstAngle) -> list[Any]:
    return [
        level_icon(worst.level),
        html.Span(f" {worst.sentence.partition(':')[0]} "),
        html.Span(f"{worst.z:+.1f} SD".replace("-", "−"), className="number"),
        html.Span(f" ({worst.level})", className="visually-hidden"),
    ]


@callback(
    Output(ids.WORKLIST_TABLE, "children"),
    Output(ids.WORKLIST_PAGE, "options"),
    Output(ids.WORKLIST_PAGE, "value"),
    Output(ids.WORKLIST_PAGER, "hidden"),
    Input(ids.WORKLIST_SEARCH, "value"),
    Input(ids.WORKLIST_STATE, "value"),
    Input(ids.WORKLIST_SIDE, "value"),
    Input(ids.WORKLIST_TASK, "value"),
    Input(ids.WORKLIST_QUALITY, "value"),
    Input(ids.WORKLIST_ORDER, "value"),
    Input(ids.WORKLIST_PAGE, "value"),
    Input(ids.TRAY_SEEN, "data"),
    prevent_initial_call=True,
)
def find(
    search: str | None,
    state: str | None,
    side: str | None,
    task: str | None,
    quality: str | None,
    order: str | None,
    number: str | None,
    _seen: Any,
) -> tuple[Any, Any, str, bool]:
    """The table of what fits; again from its first page, unless the page is what was chosen.

    The tray's store changes when a run does, and the table with it.
    """
    stays = ctx.triggered_id in (ids.WORKLIST_PAGE, ids.TRAY_SEEN)
    offset = PAGE_SIZE * int(number) if stays and (number or "").isdigit() else 0  # type: ignore[arg-type]
    page = get_records().list_recordings(
        search or "", _chosen(state), _chosen(side), _chosen(task), quality=_chosen(quality),
        order=order or "added", limit=PAGE_SIZE, offset=offset,
    )  # fmt: skip
    return (
        table(page, order if order in ORDER_WORDS else "added"),
        _page_options(page),
        str(page.offset // PAGE_SIZE),
        page.total <= PAGE_SIZE,
    )


def _chosen(value: str | None) -> str | None:
    return None if value in (None, ANY) else value
