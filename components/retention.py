"""How long a recording is kept: on its report, and the page of what is in the trash."""

from __future__ import annotations

import datetime
from typing import Any

import dash_bootstrap_components as dbc
from dash import Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import aria, as_written, data
from components.security import current_actor
from components.states import failed, notice
from components.status import panel
from pipeline.errors import RedysError
from records import get_records
from records.retention import NOTICE_DAYS, TRASH_DAYS, KeptRow


def keep_panel(recording_id: str) -> html.Section | None:
    """Until when, and the way into the trash; None for who may not change that."""
    if not policy.may("work"):
        return None
    row = get_records().retention.get(recording_id)
    return panel(
        "How long this is kept",
        _due_note(row),
        dcc.Store(id=ids.KEEP_OF, data=recording_id),
        html.Div(
            [
                html.Div(
                    [
                        html.Label("Keep until (empty: without an end)", htmlFor=ids.KEEP_UNTIL),
                        dbc.Input(
                            id=ids.KEEP_UNTIL,
                            type="date",
                            value=row.retain_until.isoformat() if row.retain_until else None,
                        ),
                    ],
                    className="field",
                ),
                html.Button("Set the date", id=ids.KEEP_GO, className="btn btn-outline-secondary"),
            ],
            className="keep-form",
        ),
        html.Div(id=ids.KEEP_ANSWER, role="status"),
        html.Details(
            [
                html.Summary("Put into the trash", className="btn btn-outline-danger"),
                html.Div(
                    [
                        html.P(
                            "The recording, its runs, notes and corrections are hidden everywhere and all "
                            f"links to it are ended. It can be brought back for {TRASH_DAYS} days; after "
                            "that everything is removed for good."
                        ),
                        html.Button(
                            "Yes, put this recording into the trash",
                            id=ids.TRASH_GO,
                            className="btn btn-danger",
                        ),
                    ],
                    className="keep-sure",
                ),
            ],
            className="keep-trash",
        ),
        html.Div(id=ids.TRASH_ANSWER, role="status"),
        lead=f"After the date it is announced here, and {NOTICE_DAYS} days later everything is removed.",
    )


def _due_note(row: KeptRow) -> html.Div | None:
    if row.retain_until is None or row.purged_after is None:
        return None
    return notice(
        "partial",
        html.P(
            f"It was to be kept until {row.retain_until.isoformat()}. It is removed for good after "
            f"{row.purged_after.date().isoformat()}, unless a later date is set."
        ),
    )


@callback(
    Output(ids.KEEP_ANSWER, "children"),
    Input(ids.KEEP_GO, "n_clicks"),
    State(ids.KEEP_UNTIL, "value"),
    State(ids.KEEP_OF, "data"),
    prevent_initial_call=True,
)
def set_date(clicks: int | None, until: str | None, recording_id: str) -> Any:
    """Keep a recording until another day."""
    if not clicks:
        raise PreventUpdate
    try:
        day = datetime.date.fromisoformat(until) if until else None
        get_records().retention.set_date(recording_id, day, current_actor())
    except ValueError:
        return failed(RedysError(f"{until} is no day.", "Write it as 2026-03-31."))
    except RedysError as error:
        return failed(error)
    words = f"It is kept until {day.isoformat()}." if day else "It is kept without an end."
    return notice("info", html.P(words))


@callback(
    Output(ids.TRASH_ANSWER, "children"),
    Input(ids.TRASH_GO, "n_clicks"),
    State(ids.KEEP_OF, "data"),
    prevent_initial_call=True,
)
def put_away(clicks: int | None, recording_id: str) -> Any:
    """Put a recording into the trash."""
    if not clicks:
        raise PreventUpdate
    try:
        get_records().retention.trash(recording_id, current_actor())
    except RedysError as error:
        return failed(error)
    return notice(
        "info",
        html.P(["It is in the trash. ", dcc.Link("Open the trash", href=routes.TRASH)]),
        html.P(dcc.Link("All recordings", href=routes.WORKLIST)),
    )


# --- the trash -----------------------------------------------------------------------------------


def trash_body() -> list[Any]:
    """What is in the trash, and what has come due."""
    retention = get_records().retention
    return [
        panel(
            "In the trash",
            _trash_table(retention.list_trash()),
            lead=f"Removed for good {TRASH_DAYS} days after they were put here.",
        ),
        panel(
            "Past their date",
            _due_table(retention.list_due()),
            lead=f"Removed for good {NOTICE_DAYS} days after that was announced, unless they get a later "
            "date on their report.",
        ),
    ]


def _trash_table(rows: tuple[KeptRow, ...]) -> Any:
    if not rows:
        return html.P("The trash is empty.", className="hint")
    body = [
        html.Tr(
            [
                html.Th(as_written(row.subject), scope="row"),
                _cell("Visit", row.visit.isoformat() if row.visit else "undated"),
                _cell("Recording", as_written(row.title)),
                _cell("Put here on", _say_day(row.trashed)),
                _cell("By", as_written(row.trashed_by or "")),
                _cell("Removed after", _say_day(row.purged_after)),
                _cell(
                    "",
                    html.Button(
                        "Bring back",
                        id=ids.trash_back(row.recording_id),
                        className="btn btn-sm btn-outline-secondary",
                    ),
                ),
            ]
        )
        for row in rows
    ]
    return table(
        "In the trash", ("Person", "Visit", "Recording", "Put here on", "By", "Removed after", ""), body
    )


def _due_table(rows: tuple[KeptRow, ...]) -> Any:
    if not rows:
        return html.P("No recording is past its date.", className="hint")
    body = [
        html.Tr(
            [
                html.Th(as_written(row.subject), scope="row"),
                _cell("Visit", row.visit.isoformat() if row.visit else "undated"),
                _cell(
                    "Recording", dcc.Link(as_written(row.title), href=routes.recording_url(row.recording_id))
                ),
                _cell("Kept until", row.retain_until.isoformat() if row.retain_until else "–"),
                _cell("Announced on", _say_day(row.noticed)),
                _cell("Removed after", _say_day(row.purged_after)),
            ]
        )
        for row in rows
    ]
    heads = ("Person", "Visit", "Recording", "Kept until", "Announced on", "Removed after")
    return table("Past their date", heads, body)


def table(name: str, heads: tuple[str, ...], body: list[html.Tr]) -> html.Div:
    """A table in its frame; on a narrow screen each cell says its own head."""
    return html.Div(
        html.Table(
            [
                html.Thead(
                    html.Tr(
                        [
                            html.Th(head or html.Span("Action", className="visually-hidden"), scope="col")
                            for head in heads
                        ]
                    )
                ),
                html.Tbody(body),
            ],
            className="table worklist",
        ),
        className="table-frame",
        tabIndex=0,
        role="region",
        **aria(label=name),
    )


def _cell(head: str, content: Any) -> html.Td:
    return html.Td(content, **data(label=head))


def _say_day(moment: datetime.datetime | None) -> str:
    return "–" if moment is None else moment.date().isoformat()
