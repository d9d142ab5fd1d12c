"""One set of still pictures: how its run stands, and what was found."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import ids, jobs, photos, policy, routes
from components.attributes import as_written
from components.states import failed, notice
from pipeline.errors import RedysError
from records import NotFound, RecordingRow, get_records

dash.register_page(__name__, path_template=routes.PHOTO_SET, title="Photos - ReDys")


def layout(recording_id: str | None = None, **_: Any) -> Any:
    """Who and when, how the run stands, and what the newest run that is done has found."""
    records = get_records()
    try:
        recording = records.photos.get(recording_id or "")
    except NotFound as error:
        return [html.H1("Photos"), failed(error), dcc.Link("All sets of pictures", href=routes.PHOTOS)]
    parts: list[Any] = [_head(recording)]
    run = recording.run
    if run is None:
        parts.append(_start(recording.id))
    elif run.state != "done":
        parts.append(jobs.run_panel(run))
    if recording.report_run_id is not None:
        parts += _results(recording.report_run_id)
    return html.Article(parts, className="report photo-report")


def _head(recording: RecordingRow) -> html.Header:
    facts: list[Any] = [
        ("Person", as_written(recording.subject)),
        ("Day", recording.visit.isoformat() if recording.visit else "not stated"),
        ("Pictures", str(get_records().photos.count(recording) or "–")),
    ]
    return html.Header(
        [
            html.P(dcc.Link("All sets of pictures", href=routes.PHOTOS), className="photo-back"),
            html.H1(as_written(photos.name_set(recording))),
            html.Dl(
                [html.Div([html.Dt(word), html.Dd(fact)]) for word, fact in facts], className="photo-who"
            ),
        ],
        className="report-head",
    )


def _start(recording_id: str) -> html.Div:
    words = html.P("These pictures have not been worked on yet.")
    button = html.Button("Start", id=ids.START_RUN, value=recording_id, className="btn btn-primary")
    return html.Div(notice("info", words, button if policy.may("work") else None), id=ids.START_PANEL)


def _results(run_id: str) -> list[Any]:
    try:
        results = get_records().photos.read(run_id)
    except RedysError as error:
        return [failed(error)]
    if results is None:
        return [failed(RedysError("The results of this set are gone.", "Work the pictures again."))]
    return photos.results_view(run_id, results)
