"""All visits of a person over time: each number with its interval, a table beside it, and a verdict."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any, Final

import dash_bootstrap_components as dbc
import plotly.graph_objects as go
from dash import MATCH, Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids
from components.comparison import (
    choose_digits,
    headline_changes,
    open_study,
    say_difference,
    say_verdict,
    say_verdicts,
    study_note,
)
from components.graphs import GRAPH_CONFIG, GRID, INK, QUIET, base_layout
from components.headlines import space_unit
from components.scores import Span, read_span, write_span
from components.states import failed, partial
from components.status import FINGER_LABELS, panel, say_number, simulated_note
from pipeline.errors import RedysError
from pipeline.hand.angles import ANGLE_INFO
from pipeline.hand.joints import FINGERS, SIDES, Side
from pipeline.measures.summary import SIMULATED_NOTE, Summary
from pipeline.measures.trend import Trend, TrendLine, TrendVisit, count_visits, make_trend
from records import RecordingRow, get_records
from records.research import DAY_ZERO

HEIGHT_PX = 200
LEFT_PX = 58
MIN_TICK_SHARE = 0.14
"""Dates nearer than this share of the whole time are not written below one another."""

REPEAT_SHARE = 0.015
"""Recordings of one day stand this share of the whole time apart."""

_CALENDAR_BEGINS: Final = DAY_ZERO.year + 500
"""Earlier dates are days since a person's first visit (`records.research`)."""

LINE: Final = "#0B5C7A"
BAND: Final = "#8E9AA6"

MEANING = (
    "Bars are 95 % intervals within one recording; they do not hold how a person differs from day to day. "
    "The verdict holds the last visit against the first."
)


def read_summaries(recordings: Sequence[RecordingRow]) -> tuple[dict[str, list[Summary]], list[RedysError]]:
    """The reports of recordings by task, in their order, and what could not be read."""
    records = get_records()
    by_task: dict[str, list[Summary]] = {}
    errors: list[RedysError] = []
    for recording in recordings:
        if not recording.report_run_id:
            continue
        try:
            summary = records.read_summary(recording.report_run_id)
        except RedysError as error:
            errors.append(error)
            continue
        if summary is not None:
            by_task.setdefault(recording.task, []).append(summary)
    return by_task, errors


def trend_panels(subject_id: str, recordings: Sequence[RecordingRow], span: Span | None = None) -> list[Any]:
    """A panel for each task and hand: what it takes where there is one visit only.

    ``span`` is the stretch of time that all plots of the page share; without it each panel has its own.
    """
    by_task, errors = read_summaries(recordings)
    parts: list[Any] = [failed(error) for error in errors]
    for task, summaries in by_task.items():
        for side in SIDES:
            visits = count_visits(summaries, side)
            own = [summary for summary in summaries if side in summary.sides]
            if own:
                title = f"Over time: {task}, {side} hand"
                undated = sum(not summary.visit for summary in own)
                shown = _trend_panel(title, subject_id, task, side, own, span) if visits > 1 else None
                parts.append(shown or panel(title, _say_too_few(visits)))
                if undated:
                    parts.append(partial(f"Not shown, for want of a date: {undated} of {len(own)}."))
    return parts


def _say_too_few(visits: int) -> html.P:
    """The empty state of a trend."""
    if not visits:
        return html.P(
            "No recording of this hand has a date of visit: write it into its session.toml and run it again."
        )
    return html.P(
        "One visit has a report so far; a trend takes two. Later visits of the same task appear here by "
        "themselves."
    )


def _trend_panel(
    title: str, subject_id: str, task: str, side: Side, summaries: list[Summary], span: Span | None
) -> html.Section | None:
    study = open_study()
    trend = make_trend(summaries, side, study.reliability)
    if trend is None:
        return None
    worst = summaries[-1].sides[side].worst
    simulated = any(summary.provenance.baseline_simulated for summary in summaries)
    finger = ANGLE_INFO[worst[0].angle].finger if worst else "index"
    return panel(
        title,
        html.P(f"Last visit against the first. {say_verdicts(trend.overall)}"),
        headline_changes(trend.overall),
        simulated_note(SIMULATED_NOTE) if simulated else None,
        study_note(study, trend.study_obstacles),
        _say_breaks(trend),
        _legend(trend),
        html.H3("Headline numbers over the visits"),
        *(trend_row(line, trend, span) for line in trend.headlines),
        html.H3("Medians of the joint angles over the visits"),
        _choose_finger(subject_id, task, side, finger, span),
        html.Div(_angle_rows(trend, finger, span), id=ids.trend_angles(task, side)),
        lead=MEANING,
    )


def headline_trends(title: str, trend: Trend, study: str) -> html.Section:
    """A panel of the headline numbers alone; ``study`` says what the verdicts rest on."""
    return panel(
        title,
        html.P(f"Last visit against the first. {say_verdicts(trend.overall)}"),
        headline_changes(trend.overall),
        html.P(study, className="plot-note"),
        _say_breaks(trend),
        _legend(trend),
        *(trend_row(line, trend) for line in trend.headlines),
        lead=MEANING,
    )


def _say_breaks(trend: Trend) -> html.Div | None:
    """Where recordings stop being comparable, and why."""
    found = [
        f"From {say_date(visit)} on, not comparable with before. {' '.join(visit.differences)}"
        for visit in trend.visits
        if visit.differences
    ]
    return partial(*found) if found else None


def _legend(trend: Trend) -> html.Ul:
    marks = [("line-trend", "value with its interval")]
    if any(math.isfinite(line.change.limit) for line in (*trend.headlines, *trend.angles)):
        marks.append(("line-band", "smallest detectable change round the first visit"))
    if any(visit.differences for visit in trend.visits):
        marks.append(("line-break", "not comparable across"))
    if any(visit.is_doubtful for visit in trend.visits):
        marks.append(("line-doubtful", "quality check failed"))
    items = [html.Li([html.Span(className=f"line-sample {name}"), word]) for name, word in marks]
    return html.Ul(items, className="line-legend")


def _choose_finger(subject_id: str, task: str, side: Side, finger: str, span: Span | None) -> html.Fieldset:
    choice = dbc.RadioItems(
        id=ids.trend_finger(task, side),
        options=[{"value": value, "label": word} for value, word in FINGER_LABELS.items()],
        value=finger,
        inline=True,
        className="choice-row",
    )
    shared = {"subject": subject_id, "span": write_span(span)}
    store = dcc.Store(id=ids.trend_person(task, side), data=shared)
    return html.Fieldset([html.Legend("Finger", className="visually-hidden"), choice, store])


def _angle_rows(trend: Trend, finger: str, span: Span | None) -> list[html.Section]:
    return [trend_row(line, trend, span) for line in trend.angles if ANGLE_INFO[line.id].finger == finger]


# --- one measure ---------------------------------------------------------------------------------


def trend_row(line: TrendLine, trend: Trend, span: Span | None = None) -> html.Section:
    """One measure over the visits: verdict, plot, and the same as a table beside it."""
    digits = choose_digits(line.unit, (point.value for point in line.points))
    name = line.label[:1].upper() + line.label[1:]
    figure = draw_trend(line, trend, span)
    graph = dcc.Graph(figure=figure, config=_CONFIG, style={"height": f"{HEIGHT_PX}px"})
    verdict = [
        say_verdict(line.change),
        html.Span([" ", *say_difference(line.change, digits), f". {line.change.reason}"]),
    ]
    if math.isfinite(line.within_sem):
        within = f"{say_number(line.within_sem, digits + 1)}{space_unit(line.unit)}"
        verdict.append(html.Span(f" Repeats on one day differ by {within} (SD): a lower bound of the error."))
    label: dict[str, Any] = {"aria-label": f"{name} over the visits; the table has the numbers"}
    plot = html.Div(graph, className="trend-plot", role="group", **label)
    return html.Section(
        [
            html.H4(name),
            html.P(verdict, className="trend-verdict"),
            html.Div([plot, _table(line, trend, digits, name)], className="trend-row"),
        ],
        className="trend",
    )


_CONFIG: Final[Any] = GRAPH_CONFIG | {"displayModeBar": False}


def _table(line: TrendLine, trend: Trend, digits: int, name: str) -> html.Div:
    rows = []
    for visit, point in zip(trend.visits, line.points, strict=True):
        known = math.isfinite(point.value)
        value = f"{say_number(point.value, digits)}{space_unit(line.unit)}" if known else "withheld"
        interval = "–"
        if math.isfinite(point.low) and math.isfinite(point.high):
            interval = f"{say_number(point.low, digits)} to {say_number(point.high, digits)}"
        notes = [point.note if not known else "", "Quality check failed." if visit.is_doubtful else ""]
        notes.append("Not comparable with the one before." if visit.differences else "")
        cells = [html.Td(value, className="interval"), html.Td(interval, className="interval")]
        note = html.Td(" ".join(word for word in notes if word), className="quiet")
        rows.append(html.Tr([html.Th(say_date(visit), scope="row"), *cells, note]))
    head = html.Tr([html.Th(word, scope="col") for word in ("Visit", "Value", "95 % interval", "Note")])
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="numbers")
    marks: dict[str, Any] = {"aria-label": f"{name}: numbers of the visits"}
    return html.Div(table, className="table-scroll", tabIndex=0, role="group", **marks)


def say_date(visit: TrendVisit) -> str:
    """The day of a visit: "2 Mar 2026", and which recording of that day it is."""
    words = _say_day(datetime.date.fromisoformat(visit.date))
    return f"{words}, again ({visit.repeat + 1})" if visit.repeat else words


def _say_day(day: datetime.date, with_year: bool = True) -> str:
    """A day of the calendar, or the number of days since the first visit where only that is told."""
    if day.year < _CALENDAR_BEGINS:
        return f"day {(day - DAY_ZERO).days}"
    return f"{day.day} {day:%b}" + (f" {day.year}" if with_year else "")


def draw_trend(line: TrendLine, trend: Trend, shared: Span | None = None) -> go.Figure:
    """A measure's values with their intervals over the dates of the visits.

    The band is the smallest detectable change round the first visit; lines stop where recordings are not
    comparable; what failed the quality check is drawn hollow.
    """
    times = place_visits(trend.visits)
    figure = go.Figure()
    change = line.change
    if math.isfinite(change.limit) and math.isfinite(change.before):
        figure.add_hrect(
            y0=change.before - change.limit, y1=change.before + change.limit, fillcolor=BAND, opacity=0.26,
            line_width=0, layer="below",
        )  # fmt: skip
    for number, visit in enumerate(trend.visits):
        if visit.differences:
            middle = times[number - 1] + (times[number] - times[number - 1]) / 2
            figure.add_vline(x=middle, line={"color": INK, "width": 1.2, "dash": "dash"})
    for stretch in _split(trend.visits):
        _add_stretch(figure, line, trend.visits, times, stretch)
    first, last = shared or (times[0], times[-1])
    first, last = min(first, times[0]), max(last, times[-1])
    margin = 0.06 * (last - first)
    ticks = _choose_ticks(trend.visits, times)
    figure.update_layout(**base_layout(HEIGHT_PX, top=8, bottom=30))
    figure.update_layout(margin={"l": LEFT_PX})
    figure.update_xaxes(
        range=[first - margin, last + margin], tickvals=[when for when, _ in ticks],
        ticktext=[word for _, word in ticks], showgrid=False, zeroline=False, ticks="outside", ticklen=4,
        tickcolor="#b6bfc8", tickfont={"color": QUIET, "size": 11}, fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(
        gridcolor=GRID, zeroline=False, tickfont={"size": 11, "color": QUIET}, nticks=5, fixedrange=True,
        range=_find_range(line), ticksuffix="°" if line.unit == "°" else "",
        title={"text": "" if line.unit == "°" else line.unit, "font": {"size": 11, "color": QUIET}},
    )  # fmt: skip
    return figure


def place_visits(visits: Sequence[TrendVisit]) -> list[datetime.datetime]:
    """When each recording is drawn: its day, repeats a little after one another and before the next day."""
    days = [datetime.datetime.fromisoformat(visit.date) for visit in visits]
    widest = (days[-1] - days[0]) * REPEAT_SHARE
    places = []
    for day, visit in zip(days, visits, strict=True):
        until_next = min((later - day for later in days if later > day), default=widest * len(days))
        places.append(day + visit.repeat * min(widest, until_next / days.count(day)))
    return places


def _choose_ticks(
    visits: Sequence[TrendVisit], times: Sequence[datetime.datetime]
) -> list[tuple[datetime.datetime, str]]:
    """The days that are written below the plot: the first, the last, and those far enough from both."""
    least = (times[-1] - times[0]) * MIN_TICK_SHARE
    last = max(number for number, visit in enumerate(visits) if not visit.repeat)
    chosen: list[tuple[datetime.datetime, str]] = []
    year = 0
    for number, (visit, when) in enumerate(zip(visits, times, strict=True)):
        near_last = number < last and times[last] - when < least
        if not visit.repeat and not near_last and (not chosen or when - chosen[-1][0] >= least):
            words = _say_day(when.date(), with_year=False)
            is_new = when.year != year and when.year >= _CALENDAR_BEGINS
            chosen.append((when, words + (f"<br>{when.year}" if is_new else "")))
            year = when.year
    return chosen


def _split(visits: Sequence[TrendVisit]) -> list[range]:
    """Stretches of recordings that are comparable with one another."""
    starts = [0, *(number for number, visit in enumerate(visits) if number and visit.differences)]
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(visits)], strict=True)]


def _add_stretch(
    figure: go.Figure,
    line: TrendLine,
    visits: Sequence[TrendVisit],
    times: Sequence[datetime.datetime],
    stretch: range,
) -> None:
    points = [line.points[number] for number in stretch]
    symbols = ["circle-open" if visits[number].is_doubtful else "circle" for number in stretch]
    above = [max(point.high - point.value, 0) if math.isfinite(point.high) else 0 for point in points]
    below = [max(point.value - point.low, 0) if math.isfinite(point.low) else 0 for point in points]
    figure.add_trace(
        go.Scatter(
            x=[times[number] for number in stretch],
            y=[point.value if math.isfinite(point.value) else None for point in points],
            error_y={"type": "data", "array": above, "arrayminus": below, "color": LINE, "thickness": 1.4,
                     "width": 4},
            mode="lines+markers", connectgaps=False,
            line={"color": LINE, "width": 1.6},
            marker={"size": 8, "symbol": symbols, "color": LINE, "line": {"color": LINE, "width": 1.6}},
            customdata=[say_date(visits[number]) for number in stretch],
            hovertemplate=f"%{{customdata}}<br>%{{y:.4~g}} {line.unit}<extra></extra>",
        )
    )  # fmt: skip


def _find_range(line: TrendLine) -> list[float] | None:
    """All values, intervals and the band; None leaves it to Plotly where there is none."""
    values = [value for point in line.points for value in (point.value, point.low, point.high)]
    if math.isfinite(line.change.limit):
        values += [line.change.before - line.change.limit, line.change.before + line.change.limit]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None
    low, high = min(known), max(known)
    margin = 0.08 * (high - low) or max(abs(high) * 0.1, 1.0)
    return [low - margin, high + margin]


@callback(
    Output(ids.trend_angles(MATCH, MATCH), "children"),
    Input(ids.trend_finger(MATCH, MATCH), "value"),
    State(ids.trend_finger(MATCH, MATCH), "id"),
    State(ids.trend_person(MATCH, MATCH), "data"),
    prevent_initial_call=True,
)
def show_finger(finger: str, chosen: dict[str, str], person: dict[str, Any] | None) -> list[html.Section]:
    """Draw the angles of the finger that was chosen."""
    if not person or finger not in FINGERS or chosen["side"] not in SIDES:
        raise PreventUpdate
    side: Side = "left" if chosen["side"] == "left" else "right"
    by_task, _ = read_summaries(get_records().list_subject(person["subject"]))
    trend = make_trend(by_task.get(chosen["task"], []), side, open_study().reliability)
    if trend is None:
        raise PreventUpdate
    return _angle_rows(trend, finger, read_span(person))
