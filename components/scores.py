"""Clinical scales of a person as raters gave them: entered, listed, drawn beside what is measured."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any, Final

import dash_bootstrap_components as dbc
import plotly.graph_objects as go
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids
from components.attributes import aria, as_written
from components.graphs import GRAPH_CONFIG, GRID, QUIET, base_layout
from components.policy import may
from components.security import current_actor
from components.states import failed, notice
from components.status import panel, say_number
from pipeline.errors import RedysError
from records import RecordingRow, ScoreRow, get_records
from records.errors import ScoreError
from records.scores import MAX_NOTE, MAX_WORDS, SCALES, Scale, read_items

Span = tuple[datetime.datetime, datetime.datetime]

HEIGHT_PX: Final = 200
LEFT_PX: Final = 58
LINE: Final = "#5C4B8A"
"""Another colour than what is measured: these are a person's judgement."""

BLINDED: Final = {True: "yes", False: "no", None: "not known"}

MEANING: Final = (
    "What raters gave, beside what is measured and never merged into it. No measurement error of a scale is "
    "held here, so no change in one is judged."
)

MARKS: Final = (
    "Filled mark: the rater did not know which visit it was. Hollow: the rater did, or it is not known. A "
    "dotted line joins the scores of one rater and one version."
)

_CONFIG: Final[Any] = GRAPH_CONFIG | {"displayModeBar": False}


def find_span(days: Sequence[datetime.date]) -> Span | None:
    """The stretch of time that all of a page's plots over visits share; None without two days."""
    if len(set(days)) < 2:
        return None
    first, last = (datetime.datetime.combine(day, datetime.time()) for day in (min(days), max(days)))
    return first, last


def scores_panel(subject_id: str, span: Span | None) -> html.Section:
    """The scales of a person with the form to enter one."""
    default = None
    recordings = [each for each in get_records().list_subject(subject_id) if each.visit]
    if recordings:
        default = recordings[-1].visit
    parts: list[Any] = [
        dcc.Store(id=ids.SCORE_PERSON, data={"subject": subject_id, "span": write_span(span)}),
        html.Div(list_scores(subject_id, span), id=ids.SCORE_LIST),
    ]
    if may("work"):
        parts.append(_form(default))
    return panel("Clinical scales", *parts, lead=MEANING)


def write_span(span: Span | None) -> list[str] | None:
    """A span as a store holds it."""
    return [each.isoformat() for each in span] if span else None


def read_span(person: dict[str, Any]) -> Span | None:
    """What `write_span` put into a store; None where there is none."""
    try:
        first, last = (datetime.datetime.fromisoformat(each) for each in person.get("span") or ())
    except (TypeError, ValueError):
        return None
    return first, last


# --- what is there -------------------------------------------------------------------------------


def list_scores(subject_id: str, span: Span | None) -> list[Any]:
    """A part for each scale that was used; the withdrawn ones below."""
    try:
        rows = get_records().scores.list(subject_id, withdrawn=True)
    except RedysError as error:
        return [failed(error)]
    valid = [row for row in rows if row.withdrawn is None]
    withdrawn = [row for row in rows if row.withdrawn is not None]
    parts: list[Any] = [
        _scale_row(scale, [row for row in valid if row.scale == scale.id], span)
        for scale in SCALES.values()
        if any(row.scale == scale.id for row in valid)
    ]
    if not parts:
        parts.append(notice("info", html.P("No clinical scale has been entered for this person.")))
    else:
        parts.append(html.P(MARKS, className="plot-note"))
    if withdrawn:
        summary = html.Summary(f"Withdrawn scores ({len(withdrawn)})")
        parts.append(
            html.Details([summary, _table(withdrawn, "Withdrawn scores")], className="score-withdrawn")
        )
    return parts


def _scale_row(scale: Scale, rows: list[ScoreRow], span: Span | None) -> html.Section:
    figure = draw_scale(scale, rows, span)
    graph = dcc.Graph(figure=figure, config=_CONFIG, style={"height": f"{HEIGHT_PX}px"})
    label = f"{scale.label} over time; the table has the numbers"
    plot = html.Div(graph, className="trend-plot", role="group", **aria(label=label))
    words = f"{_capital(scale.range_words)}; {scale.better} is better."
    return html.Section(
        [
            html.H3(scale.label),
            html.P(words, className="plot-note"),
            html.Div([plot, _table(rows, f"{scale.label}: scores")], className="trend-row"),
        ],
        className="trend score",
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def draw_scale(scale: Scale, rows: Sequence[ScoreRow], span: Span | None) -> go.Figure:
    """Scores over time on the axis of the trends; a line joins those of one rater and version only.

    A rater who did not know the visit is a filled mark, any other a hollow one.
    """
    figure = go.Figure()
    for rater, version in dict.fromkeys((row.rater, row.version) for row in rows):
        own = [row for row in rows if (row.rater, row.version) == (rater, version)]
        figure.add_trace(
            go.Scatter(
                x=[datetime.datetime.combine(row.date, datetime.time()) for row in own],
                y=[row.value for row in own],
                mode="lines+markers",
                line={"color": LINE, "width": 1.4, "dash": "dot"},
                marker={
                    "size": 9, "color": LINE, "line": {"color": LINE, "width": 1.6},
                    "symbol": ["diamond" if row.blinded else "diamond-open" for row in own],
                },
                hovertemplate="%{x|%Y-%m-%d}<br>%{y:.4~g}<extra></extra>",
            )
        )  # fmt: skip
    days = sorted({datetime.datetime.combine(row.date, datetime.time()) for row in rows})
    first, last = span or (days[0] - datetime.timedelta(days=15), days[-1] + datetime.timedelta(days=15))
    margin = (last - first) * 0.06
    figure.update_layout(**base_layout(HEIGHT_PX, top=8, bottom=30))
    figure.update_layout(margin={"l": LEFT_PX})
    figure.update_xaxes(
        range=[first - margin, last + margin], tickvals=days[:1] + (days[-1:] if len(days) > 1 else []),
        ticktext=[f"{day.day} {day:%b}<br>{day.year}" for day in (days[0], days[-1])][: len(days)],
        showgrid=False, zeroline=False, ticks="outside", ticklen=4, tickcolor="#b6bfc8",
        tickfont={"color": QUIET, "size": 11}, fixedrange=True,
    )  # fmt: skip
    top = scale.high if math.isfinite(scale.high) else 1.15 * max([row.value for row in rows] + [1.0])
    reach = 0.06 * (top - scale.low)
    if scale.whole:
        figure.update_yaxes(dtick=1)
    figure.update_yaxes(
        range=[scale.low - reach, top + reach], gridcolor=GRID, zeroline=False, fixedrange=True,
        nticks=8 if scale.whole else 5, tickfont={"size": 11, "color": QUIET},
        title={"text": scale.unit, "font": {"size": 11, "color": QUIET}},
    )  # fmt: skip
    return figure


def say_score(row: ScoreRow) -> str:
    """A score with its unit."""
    scale = SCALES.get(row.scale)
    unit = {"%": " %", "1/min": " /min"}.get(scale.unit if scale else "", "")
    digits = next(digits for digits in (0, 1, 2) if digits == 2 or row.value == round(row.value, digits))
    return f"{say_number(row.value, digits)}{unit}"


_HEADS: Final = ("Date", "Score", "Rater", "Blinded", "Note", "Entered", "")


def _table(rows: Sequence[ScoreRow], label: str) -> html.Div:
    head = [html.Th(word, scope="col") if word else html.Td() for word in _HEADS]
    body = html.Tbody([_row(row) for row in rows])
    table = html.Table([html.Thead(html.Tr(head)), body], className="numbers scores")
    return html.Div(table, className="table-scroll", tabIndex=0, role="group", **aria(label=label))


def _row(row: ScoreRow) -> html.Tr:
    scale = SCALES.get(row.scale)
    entered: list[Any] = [f"{row.created:%Y-%m-%d}", html.Div(["by ", as_written(row.author)])]
    score: list[Any] = [html.Strong(say_score(row))]
    if row.items:
        items = ", ".join(f"{name}: {value:g}" for name, value in row.items.items())
        score.append(html.Details([html.Summary("items"), as_written(items)], className="score-items"))
    if row.withdrawn is not None:
        score.append(html.Div(scale.label if scale else row.scale, className="row-note"))
        by = as_written(row.withdrawn_by or "")
        entered.append(html.Div([f"withdrawn {row.withdrawn:%Y-%m-%d} by ", by], className="row-note"))
    version = html.Div(["version ", as_written(row.version)], className="row-note") if row.version else None
    return html.Tr(
        [
            html.Th(row.date.isoformat(), scope="row"),
            html.Td(score),
            html.Td([as_written(row.rater), version]),
            html.Td(BLINDED[row.blinded]),
            html.Td(as_written(row.note), className="score-note"),
            html.Td(entered, className="quiet"),
            html.Td(_action(row) if may("work") else None),
        ]
    )


def _action(row: ScoreRow) -> html.Button:
    """Withdraw or bring back: nothing is lost by either, so neither asks first."""
    word = "Bring back" if row.withdrawn else "Withdraw"
    return html.Button(
        word,
        id=ids.score_action(row.id, "back" if row.withdrawn else "withdraw"),
        type="button",
        className="btn btn-outline-secondary btn-sm",
        **aria(label=f"{word} the score of {row.date.isoformat()}, {say_score(row)}"),
    )


def say_scores_at(recording: RecordingRow, brief: bool = False) -> str:
    """The scales of a recording's visit in a sentence; empty without any, and of a visit without a date."""
    said = []
    for row in get_records().scores.list_at(recording.subject_id, recording.visit):
        scale = SCALES.get(row.scale)
        if scale is None:
            continue
        how = {True: "blinded", False: "not blinded", None: "blinding not known"}[row.blinded]
        more = f"{scale.range_words}, {scale.better} is better"
        said.append(f"{scale.short if brief else scale.label} {say_score(row)} ({more}; {how})")
    return "; ".join(said)


def scores_line(recording: RecordingRow) -> html.P | None:
    """The same as a line of a report."""
    words = say_scores_at(recording)
    if not words:
        return None
    return html.P([html.Strong("Clinical scales at this visit: "), f"{words}."], className="scores-line")


# --- entering ------------------------------------------------------------------------------------


def _form(date: datetime.date | None) -> html.Details:
    scales = [{"value": scale.id, "label": scale.label} for scale in SCALES.values()]
    blinded = [{"value": key, "label": word} for key, word in
               (("unknown", "Not known"), ("yes", "Yes"), ("no", "No"))]  # fmt: skip
    fields = [
        _field("Scale", dbc.Select(id=ids.SCORE_SCALE, options=scales, value=scales[0]["value"]),
               ids.SCORE_SCALE),
        _field("Total", dbc.Input(id=ids.SCORE_VALUE, type="number", step="any", required=True),
               ids.SCORE_VALUE),
        _field("Date of the rating",
               dbc.Input(id=ids.SCORE_DATE, type="date", value=date.isoformat() if date else "",
                         required=True), ids.SCORE_DATE),
        _field("Rater (a code or a role)",
               dbc.Input(id=ids.SCORE_RATER, maxLength=MAX_WORDS, required=True), ids.SCORE_RATER),
        _field("Rater did not know which visit it was (blinded)",
               dbc.Select(id=ids.SCORE_BLINDED, options=blinded, value="unknown"), ids.SCORE_BLINDED),
        _field("Version of the scale (optional)", dbc.Input(id=ids.SCORE_VERSION, maxLength=MAX_WORDS),
               ids.SCORE_VERSION),
        _field("Single items (optional), as 1: 2, 2: 0.5", dbc.Input(id=ids.SCORE_ITEMS, maxLength=2000),
               ids.SCORE_ITEMS),
        _field("Note (optional)", dbc.Input(id=ids.SCORE_NOTE, maxLength=MAX_NOTE), ids.SCORE_NOTE),
    ]  # fmt: skip
    return html.Details(
        [
            html.Summary("Enter a score"),
            html.P(_say_scale(scales[0]["value"]), id=ids.SCORE_HINT, className="hint"),
            html.Div(fields, className="score-form"),
            html.Button("Keep the score", id=ids.SCORE_ADD, type="button", className="btn btn-primary"),
            html.Div(id=ids.SCORE_RESULT, role="status"),
        ],
        className="score-entry",
    )


def _field(label: str, control: Any, control_id: str) -> html.Div:
    return html.Div([html.Label(label, htmlFor=control_id), control], className="field")


def _say_scale(scale_id: str) -> str:
    scale = SCALES.get(scale_id)
    if scale is None:
        return ""
    return f"{scale.about} Range: {scale.range_words}; {scale.better} is better."


@callback(Output(ids.SCORE_HINT, "children"), Input(ids.SCORE_SCALE, "value"), prevent_initial_call=True)
def show_scale(scale_id: str | None) -> str:
    """How the total of the scale that was chosen is entered."""
    return _say_scale(scale_id or "")


@callback(
    Output(ids.SCORE_RESULT, "children"),
    Output(ids.SCORE_LIST, "children", allow_duplicate=True),
    Output(ids.SCORE_VALUE, "value"),
    Output(ids.SCORE_ITEMS, "value"),
    Output(ids.SCORE_NOTE, "value"),
    Input(ids.SCORE_ADD, "n_clicks"),
    State(ids.SCORE_PERSON, "data"),
    State(ids.SCORE_SCALE, "value"),
    State(ids.SCORE_VALUE, "value"),
    State(ids.SCORE_DATE, "value"),
    State(ids.SCORE_RATER, "value"),
    State(ids.SCORE_BLINDED, "value"),
    State(ids.SCORE_VERSION, "value"),
    State(ids.SCORE_ITEMS, "value"),
    State(ids.SCORE_NOTE, "value"),
    prevent_initial_call=True,
)
def add_score(
    clicks: int | None,
    person: dict[str, Any] | None,
    scale: str | None,
    value: Any,
    date: str | None,
    rater: str | None,
    blinded: str | None,
    version: str | None,
    items: str | None,
    note: str | None,
) -> tuple[Any, Any, Any, Any, Any]:
    """Keep a score as it was entered; what cannot be is said, and the form stays as it is."""
    if not clicks or not person:
        raise PreventUpdate
    try:
        row = get_records().scores.add(
            person["subject"],
            scale or "",
            _read_value(value),
            _read_date(date),
            rater or "",
            version=version or "",
            blinded={"yes": True, "no": False}.get(blinded or ""),
            note=note or "",
            items=read_items(items or ""),
            actor=current_actor(),
        )
    except RedysError as error:
        return failed(error), no_update, no_update, no_update, no_update
    said = notice(
        "info", html.P(f"Kept: {SCALES[row.scale].label}, {say_score(row)}, {row.date.isoformat()}.")
    )
    return said, list_scores(person["subject"], read_span(person)), None, "", ""


def _read_value(value: Any) -> float:
    try:
        return float(str(value).replace(",", "."))
    except ValueError as error:
        raise ScoreError("The total is no number.", "Enter the total of the scale.") from error


def _read_date(text: str | None) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text or "")
    except ValueError as error:
        raise ScoreError("The date of the rating is missing.", "Enter the day of the rating.") from error


@callback(
    Output(ids.SCORE_LIST, "children", allow_duplicate=True),
    Input(ids.score_action(ALL, ALL), "n_clicks"),
    State(ids.SCORE_PERSON, "data"),
    prevent_initial_call=True,
)
def change_score(clicks: list[int | None], person: dict[str, Any] | None) -> Any:
    """Withdraw a score or bring it back."""
    if not person or not any(clicks) or not isinstance(ctx.triggered_id, dict):
        raise PreventUpdate
    scores = get_records().scores
    act = scores.bring_back if ctx.triggered_id["action"] == "back" else scores.withdraw
    try:
        act(str(ctx.triggered_id["score"]), current_actor())
    except RedysError as error:
        return [failed(error), *list_scores(person["subject"], read_span(person))]
    return list_scores(person["subject"], read_span(person))
