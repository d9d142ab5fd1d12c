"""All visits of one person: the earliest first, the way to compare two, and each number over time."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import routes
from components.states import empty, failed, state_badge
from components.trend import trend_panels
from records import NotFound, RecordingRow, get_records

dash.register_page(__name__, path_template=routes.SUBJECT, title="Visits - ReDys")


def layout(subject_id: str | None = None, **_: Any) -> Any:
    """The list of a person's recordings, and below it what changed from visit to visit."""
    try:
        subject = get_records().get_subject(subject_id or "")
    except NotFound as error:
        return [html.H1("Visits"), failed(error)]
    recordings = get_records().list_subject(subject.id)
    head = [html.H1(f"Visits of {subject.pseudonym}")]
    if not recordings:
        return [*head, empty("There are no recordings of this person.", "Add one", routes.NEW)]
    ready = [recording for recording in recordings if recording.report_run_id]
    return [
        *head,
        html.Ol([_visit(each, _before(each, ready)) for each in recordings], className="visit-list"),
        *trend_panels(subject.id, ready),
    ]


def _before(recording: RecordingRow, ready: list[RecordingRow]) -> RecordingRow | None:
    """The recording to compare with: the last of the same task and side before this one that has a report."""
    if recording not in ready:
        return None
    earlier = ready[: ready.index(recording)]
    alike = [each for each in earlier if (each.task, each.side) == (recording.task, recording.side)]
    return alike[-1] if alike else None


def _visit(recording: RecordingRow, before: RecordingRow | None) -> html.Li:
    day = recording.visit.isoformat() if recording.visit else "No date"
    name = recording.title or f"{recording.task}, {recording.side}"
    links: list[Any] = [dcc.Link(f"{day}: {name}", href=routes.recording_url(recording.id))]
    if before is not None:
        since = before.visit.isoformat() if before.visit else "the one before"
        links.append(
            dcc.Link(
                f"Compare with {since}",
                href=routes.compare_url(before.id, recording.id),
                className="row-side-link",
            )
        )
    return html.Li([html.Div(links), state_badge(recording.run.state if recording.run else "new")])
