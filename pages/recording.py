"""A recording's report on screen."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import jobs, policy, routes
from components.attributes import as_written
from components.corrections import behind_notice
from components.report import name_recording, report, who_and_when
from components.retention import keep_panel
from components.scores import scores_line
from components.shares import share_panel
from components.states import failed
from pipeline.errors import RedysError
from records import NotFound, RecordingRow, get_records

dash.register_page(__name__, path_template=routes.RECORDING, title="Report - ReDys")


def layout(recording_id: str | None = None, **_: Any) -> Any:
    """Who and when, how a run stands, and the report of the newest run that is done."""
    try:
        recording = get_records().get_recording(recording_id or "")
    except NotFound as error:
        return [html.H1("Report"), failed(error), dcc.Link("All recordings", href=routes.WORKLIST)]
    if recording.kind == "photos":
        words = "This is a set of still pictures, which has a page of its own."
        link = dcc.Link("Open the pictures", href=routes.photo_set_url(recording.id))
        return [html.H1("Report"), html.P(words), html.P(link)]
    parts: list[Any] = [_head(recording)]
    run = recording.run
    if run is None:
        parts.append(jobs.start_panel(recording.id))
    elif run.state != "done":
        parts.append(jobs.run_panel(run))
    if recording.report_run_id is not None:
        parts.append(behind_notice(recording))
        parts.append(share_panel([recording.id]))
        parts += report(recording, recording.report_run_id)
    parts.append(keep_panel(recording.id))
    return html.Article(parts, className="report")


def _head(recording: RecordingRow) -> html.Header:
    summary = None
    if recording.report_run_id is not None:
        try:
            summary = get_records().read_summary(recording.report_run_id)
        except RedysError:
            summary = None  # the report below says what is wrong with it
    actions: list[Any] = []
    if summary is not None:
        actions.append(
            html.A("Print", href=routes.print_url(recording.id), className="btn btn-outline-secondary")
        )
        if policy.may("export"):
            actions.append(_pdf(recording))
        earlier = _earlier(recording)
        if earlier is not None:
            actions.append(
                dcc.Link(
                    f"Compare with {earlier.visit.isoformat() if earlier.visit else 'the earlier visit'}",
                    href=routes.compare_url(earlier.id, recording.id),
                    className="btn btn-outline-secondary",
                )
            )
    return html.Header(
        [
            html.Div(
                [html.H1(as_written(name_recording(recording))), html.Div(actions, className="actions")],
                className="report-title",
            ),
            who_and_when(recording, summary),
            scores_line(recording),
        ],
        className="report-head",
    )


def _pdf(recording: RecordingRow) -> html.A:
    address = routes.pdf_url(recording.id)
    return html.A("PDF", href=address, download="", className="btn btn-outline-secondary")


def _earlier(recording: RecordingRow) -> RecordingRow | None:
    """The visit before this one that has a report too; else the one after it, to compare with."""
    others = [
        other
        for other in get_records().list_subject(recording.subject_id)
        if other.id != recording.id and other.report_run_id is not None
    ]
    before = [other for other in others if _order(other) < _order(recording)]
    return max(before, key=_order) if before else None


def _order(recording: RecordingRow) -> tuple[str, str]:
    return (recording.visit.isoformat() if recording.visit else "", recording.created.isoformat())
