"""A report on one A4 page for each hand: nothing moves, everything prints, the numbers are the screen's."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import policy, routes
from components.attributes import Written, as_written
from components.scores import say_scores_at
from components.sheet import HandPart, Number, Sheet, compose, require_summary
from components.states import failed
from components.status import level_icon, level_legend, simulated_note, svg_image
from pipeline.errors import RedysError
from records import get_records

dash.register_page(__name__, path_template=routes.PRINT, title="Report to print - ReDys")


def layout(recording_id: str | None = None, **_: Any) -> Any:
    """The page; it says so where there is no report."""
    records = get_records()
    try:
        recording = records.get_recording(recording_id or "")
        found = records.read_summary(recording.report_run_id) if recording.report_run_id else None
        scales = say_scores_at(recording, brief=True)
        sheets = compose(recording, require_summary(recording, found), scales)
    except RedysError as error:
        return [html.H1("Report to print"), failed(error), dcc.Link("All recordings", href=routes.WORKLIST)]
    return [
        html.Div(
            [
                dcc.Link("Back to the report", href=routes.recording_url(recording.id)),
                *_file(recording.id, sheets),
            ],
            className="screen-only print-actions",
        ),
        *(_draw(sheet) for sheet in sheets),
    ]


def _file(recording_id: str, sheets: tuple[Sheet, ...]) -> list[Any]:
    """The way to the same as a file, for who may take it away."""
    pages = _say_pages(sheets)
    if not policy.may("export"):
        return [html.Span(f"This has {pages} and prints with Ctrl+P.", className="quiet")]
    address = routes.pdf_url(recording_id)
    return [
        html.A("PDF file", href=address, download="", className="btn btn-primary"),
        html.Span(f"The file has {pages}; this page prints with Ctrl+P too.", className="quiet"),
    ]


def _say_pages(sheets: tuple[Sheet, ...]) -> str:
    return "one A4 page" if len(sheets) == 1 else f"{len(sheets)} A4 pages, one for each hand"


def _draw(sheet: Sheet) -> html.Article:
    name = html.H1([as_written(sheet.subject), f", {sheet.visit}, ", as_written(sheet.task)])
    who = [html.Div([html.Dt(term), html.Dd(_own(words))]) for term, words in sheet.who]
    return html.Article(
        [
            html.Header([name, html.Dl(who, className="figures who")]),
            _quality(sheet),
            *(_hand(sheet.hand) if sheet.hand else ()),
            _footer(sheet),
        ],
        className="sheet",
    )


def _own(words: str) -> Any:
    return as_written(words) if isinstance(words, Written) else words


def _quality(sheet: Sheet) -> html.Section:
    lines: list[Any] = [html.Li(reason) for reason in sheet.reasons]
    lines += [html.Li([words, _own(why)]) for words, why in sheet.changed]
    reasons = html.Ul(lines) if lines else None
    figures = [part for figure in sheet.figures for part in ("; ", html.Span(figure))][1:]
    verdict = html.P([level_icon(sheet.level), html.Strong(f"{sheet.verdict}. "), *figures, "."])
    kind = sheet.verdict.rpartition(" ")[2]
    return html.Section([verdict, reasons], className=f"sheet-quality quality-{kind}")


def _hand(hand: HandPart) -> list[Any]:
    more = [
        html.P([html.Strong(f"{label}: "), f"{words}."], className="sheet-more") for label, words in hand.more
    ]
    # What else is told goes below the map, which is the shorter of both columns.
    left = html.Div([svg_image(hand.map_svg, hand.map_words, "hand-map-image"), *more])
    return [
        html.Section(
            [
                html.H2(hand.title),
                html.P(hand.worst, className="worst"),
                simulated_note(hand.simulated) if hand.simulated else None,
                html.Div([left, _numbers(hand.numbers)], className="sheet-columns"),
            ]
        ),
        html.P(hand.caption, className="plot-note"),
        level_legend(),
    ]


def _numbers(numbers: tuple[Number, ...]) -> html.Table:
    rows = [
        html.Tr(
            [
                html.Th(number.label, scope="row"),
                html.Td([html.Strong(number.value) if number.value else None, html.Span(number.details)]),
            ]
        )
        for number in numbers
    ]
    return html.Table(html.Tbody(rows), className="numbers")


def _footer(sheet: Sheet) -> html.Footer:
    return html.Footer(
        [
            html.P(" ".join(sheet.notes)),
            html.P(
                [
                    html.Span(sheet.origin),
                    html.Span(f" ReDys {sheet.version}. Report {sheet.report_id}. "),
                    html.Span(f"Page {sheet.number} of {sheet.count}."),
                ]
            ),
            html.P(["Examiner and date: ", html.Span(className="signature")]),
        ]
    )
