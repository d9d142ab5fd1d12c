"""A recording to be rated without its numbers: the video, the rater's own marks, and the form."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import ids, routes
from components.marks import marks_panel, timeline
from components.player import player, playhead
from components.signals import read_signals
from components.states import empty, failed
from components.status import panel
from pipeline.errors import RedysError
from records import NotFound, get_records

dash.register_page(__name__, path_template=routes.MARK, title="Rate - ReDys")

LEAD = (
    "For a rating that the program's numbers and the visit's date cannot sway: neither is on this page, nor "
    "are its events, the hand in 3D or other people's marks. Marks set here are kept as blinded."
)


def layout(recording_id: str | None = None, **_: Any) -> Any:
    """The player without what the program found; marks set here are kept as blinded."""
    records = get_records()
    title = html.H1("Rate a recording")
    try:
        recording = records.get_recording(recording_id or "")
    except NotFound as error:
        return [title, failed(error), dcc.Link("All recordings", href=routes.WORKLIST)]
    head = html.Header([title, html.P(LEAD, className="panel-lead")], className="report-head")
    run_id = recording.report_run_id
    if run_id is None:
        why = "There is no video to rate yet: the recording has to be worked on first."
        return html.Article([head, empty(why, "To the recording", routes.recording_url(recording.id))])
    try:
        summary = records.read_summary(run_id)
        signals = read_signals(records.open_run(run_id))
        if summary is None:
            raise RedysError("The run ended without a report.", "Run the pipeline again.")
    except RedysError as error:
        return html.Article([head, failed(error)])
    parts = [
        panel(
            "Player",
            player(run_id, "recording", ids.PLAYER),
            playhead(),
            timeline(recording.id, run_id, summary, signals, blind=True),
        ),
        panel("Your marks", *marks_panel(recording.id, summary, signals, blind=True)),
        html.P(
            dcc.Link(
                "To the report, which shows the numbers: end the rating first",
                href=routes.recording_url(recording.id),
            )
        ),
    ]
    return html.Article([head, *parts], className="report rating")
