"""A report on one A4 page for each hand: nothing moves, everything prints, the numbers are the screen's."""

from __future__ import annotations

import math
from typing import Any

import dash
from dash import dcc, html

from components import routes
from components.hand_map import CAPTION, hand_image, say_worst
from components.headlines import say_headline_reference, say_interval, say_value
from components.playing import list_print_rows, say_timing
from components.report import LIMITS, name_recording, who_and_when
from components.states import failed
from components.status import level_icon, level_legend, simulated_note
from pipeline.errors import RedysError
from pipeline.hand.joints import Side
from pipeline.measures.levels import BETWEEN, BEYOND, WITHIN
from pipeline.measures.summary import SIMULATED_NOTE, Headline, SideSummary, Summary
from records import RecordingRow, get_records

dash.register_page(__name__, path_template=routes.PRINT, title="Report to print - ReDys")


def layout(recording_id: str | None = None, **_: Any) -> Any:
    """The page; it says so where there is no report."""
    records = get_records()
    try:
        recording = records.get_recording(recording_id or "")
        summary = records.read_summary(recording.report_run_id) if recording.report_run_id else None
        if summary is None:
            raise RedysError("There is no report of this recording yet.", "Run the pipeline on it first.")
    except RedysError as error:
        return [html.H1("Report to print"), failed(error), dcc.Link("All recordings", href=routes.WORKLIST)]
    return [
        html.P(
            [
                dcc.Link("Back to the report", href=routes.recording_url(recording.id)),
                html.Span(f" Print with Ctrl+P; it fits {_say_pages(summary)}.", className="quiet"),
            ],
            className="screen-only",
        ),
        *draw_sheets(recording, summary),
    ]


def _list_sheets(summary: Summary) -> list[Side | None]:
    """The hand of each page; of a recording that failed its checks there is one page without."""
    return [None] if summary.quality.verdict == "failed" else [*summary.sides] or [None]


def _say_pages(summary: Summary) -> str:
    pages = len(_list_sheets(summary))
    return "one A4 page" if pages == 1 else f"{pages} A4 pages, one for each hand"


def draw_sheets(recording: RecordingRow, summary: Summary) -> list[html.Article]:
    """The pages, one for each hand, each whole by itself: they come apart on a desk."""
    sides = _list_sheets(summary)
    return [
        html.Article(
            [
                html.Header([html.H1(name_recording(recording)), who_and_when(recording, summary)]),
                _quality(summary),
                *(_hand(summary, side) if side else ()),
                _footer(recording, summary, f"Page {number} of {len(sides)}."),
            ],
            className="sheet",
        )
        for number, side in enumerate(sides, start=1)
    ]


def _hand(summary: Summary, side: Side) -> list[Any]:
    simulated = summary.provenance.baseline_simulated
    return [
        html.Section(
            [
                html.H2(f"Hand map, {side} hand (standard deviations from the reference)"),
                html.P(say_worst(summary.sides[side]), className="worst"),
                simulated_note(SIMULATED_NOTE) if simulated else None,
                _columns(summary, side),
            ]
        ),
        html.P(CAPTION, className="plot-note"),
        level_legend(),
    ]


def _footer(recording: RecordingRow, summary: Summary, page: str) -> html.Footer:
    provenance = summary.provenance
    return html.Footer(
        [
            html.P(" ".join((*summary.notes, *LIMITS))),
            html.P(
                f"Reference: {provenance.baseline}, n = {provenance.baseline_n_people}"
                f"{', simulated' if provenance.baseline_simulated else ''}. "
                f"{provenance.hand_model}; {provenance.detector}, {provenance.estimator}; "
                f"{provenance.filter}. "
                f"ReDys {provenance.program_version}. Report {recording.report_run_id}. {page}"
            ),
            html.P(["Examiner and date: ", html.Span(className="signature")]),
        ]
    )


def _columns(summary: Summary, side: Side) -> html.Div:
    """Map and numbers; what else is told goes below the map, which is the shorter of both."""
    found = summary.sides[side]
    left = html.Div([hand_image(found, side), *_more(summary, side)])
    return html.Div([left, _numbers(found)], className="sheet-columns")


def _more(summary: Summary, side: Side) -> list[html.P]:
    """Tremor and strokes of a hand, below its map; the sound's, which are both hands', on each page."""
    rows = list_print_rows(summary.sides[side])
    if summary.timing is not None:
        rows.append(("Evenness of the strokes, by sound", say_timing(summary.timing)))
    return [html.P([html.Strong(f"{label}: "), f"{words}."], className="sheet-more") for label, words in rows]


def _quality(summary: Summary) -> html.Section:
    quality = summary.quality
    level = {"passed": WITHIN, "limited": BETWEEN}.get(quality.verdict, BEYOND)
    figures = [f"{len(summary.recording.cameras)} cameras at {summary.recording.fps:.2f} frames/s"]
    for side, hand in quality.hands.items():
        figures.append(f"{side} hand measured in {100 * hand.valid_share:.0f} %")
        if math.isfinite(hand.stated_sigma_mm):
            figures.append(f"joint position error {hand.stated_sigma_mm:.1f} mm")
    words = "; ".join(figures) + "."
    return html.Section(
        [
            html.P([level_icon(level), html.Strong(f"Recording quality: {quality.verdict}. "), words]),
            html.Ul([html.Li(reason) for reason in quality.reasons[:5]]) if quality.reasons else None,
        ],
        className=f"sheet-quality quality-{quality.verdict}",
    )


def _numbers(summary: SideSummary) -> html.Table:
    return html.Table(html.Tbody([_row(headline) for headline in summary.headlines]), className="numbers")


def _row(headline: Headline) -> html.Tr:
    if not math.isfinite(headline.value):
        return html.Tr([html.Th(headline.label, scope="row"), html.Td(f"withheld: {headline.note}")])
    lines = [say_interval(headline), say_headline_reference(headline)]
    value = [html.Strong(say_value(headline)), html.Span("; ".join(line for line in lines if line))]
    return html.Tr([html.Th(headline.label, scope="row"), html.Td(value)])
