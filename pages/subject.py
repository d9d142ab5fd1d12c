"""All visits of one person: the earliest first, which can be compared, scales and each number over time."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import policy, routes
from components.attributes import as_written
from components.comparability import comparability_panel
from components.corrections import behind_notice
from components.scores import find_span, scores_panel
from components.states import empty, failed, notice, state_badge
from components.status import verdict_badge
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
    head = [html.H1(["Visits of ", as_written(subject.pseudonym)]), _say_code(subject.id)]
    ready = [recording for recording in recordings if recording.report_run_id]
    rated = [score.date for score in get_records().scores.list(subject.id)]
    span = find_span([*(each.visit for each in ready if each.visit), *rated])
    if not recordings:
        why = "There are no recordings of this person."
        nothing = empty(why, "Add one", routes.NEW) if policy.may("work") else notice("info", html.P(why))
        return [*head, nothing, scores_panel(subject.id, span)]
    return [
        *head,
        behind_notice(*ready) if ready else None,
        html.Ol([_visit(each, _before(each, ready)) for each in recordings], className="visit-list"),
        *comparability_panel(ready),
        scores_panel(subject.id, span),
        *trend_panels(subject.id, ready, span),
    ]


def _say_code(subject_id: str) -> html.P | None:
    """What researchers call this person, for who may answer their questions."""
    if not policy.may("work"):
        return None
    code = get_records().research.code_person(subject_id)
    return html.P(["Researchers see this person as ", as_written(code), "."], className="hint")


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
    links: list[Any] = [dcc.Link([f"{day}: ", as_written(name)], href=routes.recording_url(recording.id))]
    if before is not None:
        since = before.visit.isoformat() if before.visit else "the one before"
        links.append(
            dcc.Link(
                f"Compare with {since}",
                href=routes.compare_url(before.id, recording.id),
                className="row-side-link",
            )
        )
    marks: list[Any] = [state_badge(recording.run.state if recording.run else "new")]
    if recording.quality:
        marks.insert(0, html.Span(["Quality: ", verdict_badge(recording.quality)], className="visit-quality"))
    return html.Li([html.Div(links), html.Div(marks, className="visit-marks")])
