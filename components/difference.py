"""What differs between two visits as pictures: percentiles whatever the moment, and moments in step."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import dash_bootstrap_components as dbc
import numpy as np
import plotly.graph_objects as go
from dash import Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids, routes
from components.alignment import Alignment, open_played, read_alignment
from components.attributes import aria, data
from components.graphs import GRAPH_CONFIG, INK, QUIET, base_layout, make_graph, time_axis
from components.heat_map import ROW_PX, name_angle, name_joint
from components.states import failed, loading, notice
from components.status import say_number
from pipeline.errors import RedysError
from pipeline.hand.angles import ANGLE_INFO, ANGLES
from pipeline.hand.joints import JOINTS, SIDES, Side
from pipeline.measures.difference import (
    INSIDE,
    RATIO_EDGE,
    SHARES,
    SURE,
    UNCERTAIN,
    Z_EDGE,
    Course,
    Difference,
    Shares,
    compare_angle_moments,
    compare_angle_shares,
    compare_pace_moments,
    compare_pace_shares,
    make_columns,
    read_course,
    take_shares,
)
from pipeline.measures.moments import IN_STEP_S, find_in_step
from pipeline.results import RunFolder
from records import RecordingRow, get_records

SCALE: Final = (
    (0.0, "#3A7FBF"),
    (0.25, "#8DB7DC"),
    (0.5, "#FAFAF7"),
    (0.75, "#EDAF7C"),
    (1.0, "#CF6E26"),
)
"""Blue: less at the later visit; orange: more; white in the middle: no difference."""

INSIDE_COLOUR: Final = "#EEF1F4"
UNCERTAIN_OPACITY: Final = 0.62
SHARE_ROW_PX: Final = 21
UNHEARD_S: Final = 1.0
"""Without strokes to count, no more than this is drawn to both sides of the event."""

MEASURES: Final = {"angles": "Joint angles", "acceleration": "Acceleration", "jerk": "Jerk"}
VIEWS: Final = {"shares": "By share of the time", "moments": "Moment by moment"}
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "angles": ("reference",),
    "acceleration": ("filter", "frame rate"),
    "jerk": ("filter", "frame rate"),
}
"""What of two recordings must be the same for a measure's numbers to mean the same."""


@dataclass(frozen=True)
class Pair:
    """Two visits' hands: the recordings, what they did by frame, and what of their making differs."""

    recordings: tuple[RecordingRow, RecordingRow]
    courses: tuple[Course, Course]
    unlike: tuple[str, ...]


def difference_panel(sides: list[Side]) -> list[Any]:
    """The choices and the place of the map."""
    choices: list[Any] = [
        _choice("Compared", ids.DIFFERENCE_VIEW, VIEWS, "shares"),
        _choice("Measure", ids.DIFFERENCE_MEASURE, MEASURES, "angles"),
        _choice("Hand", ids.DIFFERENCE_SIDE, {side: side.capitalize() for side in sides}, sides[0]),
    ]
    if len(sides) == 1:
        choices[-1] = html.Div(choices[-1], hidden=True)
    return [
        html.Div(choices, className="difference-choices"),
        html.Div(loading("Comparing both visits …"), id=ids.DIFFERENCE_MAP),
    ]


def _choice(label: str, control_id: str, words: Mapping[str, str], value: str) -> html.Fieldset:
    options = [{"value": key, "label": word} for key, word in words.items()]
    radios = dbc.RadioItems(id=control_id, options=options, value=value, inline=True, className="choice-row")
    return html.Fieldset([html.Legend(label), radios])


@callback(
    Output(ids.DIFFERENCE_MAP, "children"),
    Input(ids.DIFFERENCE_VIEW, "value"),
    Input(ids.DIFFERENCE_MEASURE, "value"),
    Input(ids.DIFFERENCE_SIDE, "value"),
    Input(ids.ALIGNMENT_CHOSEN, "data"),
    State(ids.ALIGNMENT_RUNS, "data"),
)
def show_difference(
    view: str, measure: str, side: str, chosen: dict[str, Any] | None, shown: dict[str, Any] | None
) -> Any:
    """Draw what was chosen; says so where nothing can be told."""
    if not shown or view not in VIEWS or measure not in MEASURES or side not in SIDES:
        raise PreventUpdate
    which: Side = "left" if side == "left" else "right"
    try:
        pair = _open_pair(shown["recordings"][:2], which)
        return draw_difference(pair, which, view, measure, read_alignment(chosen))
    except RedysError as error:
        return failed(error)


def _open_pair(recording_ids: list[str], side: Side) -> Pair:
    records = get_records()
    first, second = (records.get_recording(each) for each in recording_ids)
    summaries = [records.read_summary(each.report_run_id or "") for each in (first, second)]
    keys = [summary.comparability if summary is not None else {} for summary in summaries]
    unlike = tuple(key for key in {**keys[0], **keys[1]} if keys[0].get(key) != keys[1].get(key))
    return Pair((first, second), (_open_course(first, side), _open_course(second, side)), unlike)


def _open_course(recording: RecordingRow, side: Side) -> Course:
    run = get_records().open_run(recording.report_run_id or "")
    table = run.measures_parquet
    return _read_course(run, side, table.stat().st_mtime_ns if table.is_file() else 0)


@functools.lru_cache(maxsize=4)
def _read_course(run: RunFolder, side: Side, changed: int) -> Course:
    return read_course(run, side)


def draw_difference(pair: Pair, side: Side, view: str, measure: str, alignment: Alignment) -> list[Any]:
    """Words, map and legend of a view of a measure."""
    differs = [key for key in _NEEDS[measure] if key in pair.unlike]
    if differs:
        words = (
            f"Withheld: the {' and the '.join(differs)} of the two recordings differ, so these numbers do "
        )
        return [notice("info", html.P(words + "not mean the same. The warning at the top says more."))]
    if view == "shares":
        return _draw_shares(pair, side, measure)
    return _draw_moments(pair, side, measure, alignment)


# --- by share of the time ------------------------------------------------------------------------


def _draw_shares(pair: Pair, side: Side, measure: str) -> list[Any]:
    found = compare_shares(pair.courses, measure)
    words = (
        "Each row holds an angle's percentiles, the later visit less the earlier. Column 50 is the median; "
        "column 95 is what the angle passes for only 5 % of the time, column 5 what it stays under for 5 %. "
        "The moment plays no part, so tempo and length may differ."
        if measure == "angles"
        else f"Each row holds the percentiles of a joint's {measure}, the later visit over the earlier, "
        "noise taken out of both. Column 50 is the median, column 95 the quickest 5 % of the time. The "
        "moment plays no part, so tempo and length may differ, but a quicker piece is quicker here, too."
    )
    moments = find_moments(pair.courses, measure)
    figure = draw_share_map(found, measure, moments)
    label = f"Differences of percentiles, {MEASURES[measure].lower()}, {side} hand"
    marks: dict[str, Any] = aria(label=label) | data(module="shares")
    graph = dcc.Graph(figure=figure, config=GRAPH_CONFIG, style={"height": f"{figure.layout.height}px"})
    return [
        html.P(words, className="plot-note"),
        html.P(_sum_up(found, measure), className="difference-sum"),
        _largest(found, measure, pair.courses, moments),
        html.P(BY_CHANCE, className="plot-note"),
        _legend(measure, found),
        html.Div(
            [html.Div(className="plot-hatch"), graph], className="plot share-map", role="group", **marks
        ),
        html.P(
            "A click on a cell lays a moment of each visit over the other in which it has about that value.",
            className="plot-note",
        ),
        _table(found, measure),
    ]


def compare_shares(courses: tuple[Course, Course], measure: str) -> Difference:
    """The difference of a measure's percentiles."""
    before, after = (_take_shares(course, measure) for course in courses)
    return (compare_angle_shares if measure == "angles" else compare_pace_shares)(before, after)


def _take_shares(course: Course, measure: str) -> Shares:
    if measure == "angles":
        return take_shares(course.time_s, course.z, course.z_sigma)
    return take_shares(course.time_s, getattr(course, measure), getattr(course, f"{measure}_noise"))


def draw_share_map(found: Difference, measure: str, moments: np.ndarray) -> go.Figure:
    """Rows of angles or joints, columns of percentiles, numbers in the cells."""
    columns = [str(share) for share in SHARES]
    figure = go.Figure(_traces(columns, found, measure, "percentile %{x}", moments, is_numbered=True))
    figure.update_layout(
        **base_layout(len(_names(measure)) * SHARE_ROW_PX + 60, top=8, bottom=44),
        xaxis={
            "type": "category", "fixedrange": True, "ticks": "", "tickfont": {"color": QUIET},
            "title": {"text": "Percentile", "font": {"size": 12, "color": QUIET}, "standoff": 6},
        },
        yaxis=_rows_axis(),
    )  # fmt: skip
    return figure


def find_moments(courses: tuple[Course, Course], measure: str) -> np.ndarray:
    """A moment of each visit (K, P, 2), s, at which the measure is nearest to its percentile."""
    times = []
    for course in courses:
        values = course.z if measure == "angles" else getattr(course, measure)
        found = np.full((values.shape[1], len(SHARES)), np.nan)
        for row in range(values.shape[1]):
            known = np.flatnonzero(np.isfinite(values[:, row]))
            if len(known):
                targets = np.percentile(values[known, row], SHARES)
                nearest = np.abs(values[known, row][:, None] - targets).argmin(axis=0)
                found[row] = course.time_s[known[nearest]]
        times.append(found)
    return np.stack(times, axis=2)


_MARKS: Final = {INSIDE: "noise", UNCERTAIN: "may be error", SURE: ""}


def _table(found: Difference, measure: str) -> html.Details:
    """The same numbers to be read, each with its word where it is not past the measurement error."""
    is_angle = measure == "angles"
    head = ["Angle" if is_angle else "Joint", *(str(share) for share in SHARES)]
    rows = []
    for row, name in enumerate(_names(measure)):
        cells = []
        for value, known in zip(found.value[:, row], found.known[:, row], strict=True):
            told = math.isfinite(value)
            mark = _MARKS[int(known)] if told else ""
            words = _say_cell(value, is_angle) if told else "cannot tell"
            cells.append(html.Td([words, html.Small(f" {mark}") if mark else None]))
        rows.append(html.Tr([html.Th(name, scope="row"), *cells]))
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(rows)],
        className="numbers",
    )
    label = aria(label="Differences of percentiles as a table")
    scroll = html.Div(table, className="table-scroll", tabIndex=0, role="group", **label)
    return html.Details([html.Summary("The same as a table"), scroll], className="difference-table")


# --- by moment -----------------------------------------------------------------------------------


def _draw_moments(pair: Pair, side: Side, measure: str, alignment: Alignment) -> list[Any]:
    if alignment.how == "start":
        words = (
            "From their starts the two takes do different things at the same instant: a difference there "
            "would be the music's, not the hand's, so none is drawn. Line the visits up above, at an event "
            "or by hand, or compare by share of the time."
        )
        return [notice("info", html.P(words))]
    stretch, words = _find_stretch(pair, side, alignment)
    if stretch is None:
        return [notice("info", html.P(words))]
    columns_s = make_columns(*stretch)
    if measure == "angles":
        found = compare_angle_moments(*pair.courses, alignment.offset_s, columns_s)
        meaning = "a quarter of a second round each moment, the later visit less the earlier"
    else:
        found = compare_pace_moments(*pair.courses, alignment.offset_s, columns_s, measure)
        meaning = "one second round each moment, the later visit over the earlier, noise taken out of both"
    figure = draw_moment_map(found, measure, stretch, alignment.a_s)
    label = f"Differences moment by moment, {MEASURES[measure].lower()}, {side} hand"
    return [
        html.P(words, className="difference-sum"),
        html.P(
            f"Each column is {meaning}. It tells how these two takes differ there, not that the hand has "
            "changed: one take differs from the next, too.",
            className="plot-note",
        ),
        html.P(_sum_up(found, measure), className="difference-sum"),
        _legend(measure, found),
        make_graph(figure, label, hatched=True),
        html.P("A click goes to that moment and joint in both players.", className="plot-note"),
    ]


def _find_stretch(pair: Pair, side: Side, alignment: Alignment) -> tuple[tuple[float, float] | None, str]:
    """The stretch of the earlier visit in which the takes are in step, and why, in words."""
    strokes = [open_played(recording, side).best for recording in pair.recordings]
    at = f"Laid over each other at {alignment.a_s:.2f} s and {alignment.b_s:.2f} s"
    if not all(strokes):
        low = max(alignment.a_s - UNHEARD_S, 0.0, -alignment.offset_s)
        first_s, second_s = (float(course.time_s[-1]) for course in pair.courses)
        high = min(alignment.a_s + UNHEARD_S, first_s, second_s - alignment.offset_s)
        words = (
            f"{at}. No strokes were heard or seen in one of the visits, so whether the takes go on in step "
            "is not known: only the second to both sides is drawn."
        )
        return ((low, high), words) if high > low else (None, words)
    before_s, after_s = (np.array([stroke.time_s for stroke in each]) for each in strokes)
    found = find_in_step(before_s, after_s, alignment.a_s, alignment.b_s)
    by = "heard" if all(open_played(each, side).heard for each in pair.recordings) else "heard or seen"
    if found is None:
        return None, (
            f"{at}, the takes are not in step even to the next stroke {by} (within "
            f"{1000 * IN_STEP_S:.0f} ms), so no moment of one has its counterpart in the other. Choose "
            "another event, or compare by share of the time."
        )
    count = int(((before_s >= found[0] - 1e-6) & (before_s <= found[1] + 1e-6)).sum())
    return found, (
        f"{at}, the takes are in step (within {1000 * IN_STEP_S:.0f} ms by {count} strokes {by}) from "
        f"{found[0]:.2f} s to {found[1]:.2f} s of the earlier visit. Outside it a column would hold two "
        "different moments of the music, so nothing is drawn there."
    )


def draw_moment_map(found: Difference, measure: str, stretch: tuple[float, float], at_s: float) -> go.Figure:
    """Rows of angles or joints over the time in step, the event as an upright line."""
    figure = go.Figure(
        _traces(found.columns.astype(np.float32), found, measure, "%{x:.2f} s", None, is_numbered=False)
    )
    names = _names(measure)
    figure.update_layout(
        **base_layout(len(names) * ROW_PX + 56, top=12, bottom=44),
        xaxis=time_axis(stretch[1], title="Time of the earlier visit (s)") | {"range": list(stretch)},
        yaxis=_rows_axis(),
    )
    if stretch[0] <= at_s <= stretch[1]:
        figure.add_vline(x=at_s, line={"color": INK, "width": 1, "dash": "dot"})
    return figure


# --- what both have ------------------------------------------------------------------------------


def _names(measure: str) -> list[str]:
    return [name_angle(angle) for angle in ANGLES] if measure == "angles" else [name_joint(j) for j in JOINTS]


def _joints(measure: str) -> list[str]:
    """The joint of each row."""
    return [ANGLE_INFO[angle].joint for angle in ANGLES] if measure == "angles" else list(JOINTS)


def _rows_axis() -> dict[str, Any]:
    return {
        "autorange": "reversed", "tickfont": {"size": 11, "color": INK}, "fixedrange": True, "ticks": "",
        "automargin": False,
    }  # fmt: skip


def _traces(
    columns: Any, found: Difference, measure: str, where: str, moments: np.ndarray | None, is_numbered: bool
) -> list[go.Heatmap]:
    """One heat map for each of inside, uncertain and sure: the stripes behind show through the second."""
    is_angle = measure == "angles"
    names = _names(measure)
    joints = _joints(measure)
    shown = found.value.T if is_angle else np.log2(np.where(found.value > 0, found.value, np.nan)).T
    edge = Z_EDGE if is_angle else math.log2(RATIO_EDGE)
    text = np.array([[_say_cell(value, is_angle) for value in row] for row in found.value.T])
    unit = "SD" if is_angle else "times the earlier"
    traces = []
    for known, words, more in (
        (INSIDE, "inside what noise makes", {"colorscale": [[0, INSIDE_COLOUR], [1, INSIDE_COLOUR]]}),
        (UNCERTAIN, "may be measurement error that lasts", {"opacity": UNCERTAIN_OPACITY}),
        (SURE, "past the measurement error", {}),
    ):
        z = np.where((known == found.known.T) & np.isfinite(shown), shown, np.nan)
        if not np.isfinite(z).any():
            continue
        own: dict[str, Any] = {"colorscale": [list(step) for step in SCALE]} | more
        if is_numbered and known != INSIDE:
            own |= {"texttemplate": "%{text}", "textfont": {"size": 11} | ({"color": INK} if more else {})}
        if moments is not None:
            own["customdata"] = moments
        traces.append(
            go.Heatmap(
                x=columns, y=names, z=np.ascontiguousarray(z, dtype=np.float32), text=text, meta=joints,
                zmin=-edge, zmax=edge, showscale=False, hoverongaps=False, xgap=1 if is_numbered else 0,
                ygap=1 if is_numbered else 0,
                hovertemplate=f"%{{y}}, {where}<br>%{{text}} {unit}<br>{words}<extra></extra>", **own,
            )
        )  # fmt: skip
    if traces:
        return traces
    blank = np.full((len(names), len(columns)), np.nan, dtype=np.float32)
    return [go.Heatmap(x=columns, y=names, z=blank, meta=joints, showscale=False, hoverongaps=False)]


def _say_cell(value: float, is_angle: bool) -> str:
    if not math.isfinite(value):
        return ""
    return say_number(value, 1 if abs(value) < 9.95 else 0, signed=True) if is_angle else _say_ratio(value)


def _say_ratio(value: float) -> str:
    return f"×{say_number(value, 2 if value < 10 else 0)}"


def _sum_up(found: Difference, measure: str) -> str:
    told = np.isfinite(found.value)
    counts = [int((told & (found.known == known)).sum()) for known in (SURE, UNCERTAIN, INSIDE)]
    parts = [f"{counts[0]} of {told.size} cells differ by more than the measurement error"]
    if measure == "angles":
        parts.append(f"{counts[1]} by an amount that may be measurement error that lasts over a recording")
    parts.append(f"{counts[2]} lie inside what noise makes")
    parts.append(f"of {told.size - int(told.sum())} nothing can be told")
    return f"{', '.join(parts)}."


BY_CHANCE: Final = (
    "Of two takes that do not differ, chance alone puts up to one cell in twenty past the noise, of takes "
    "under 20 s up to one in ten: single cells say little, a row that holds together says more."
)


def _largest(
    found: Difference, measure: str, courses: tuple[Course, Course], moments: np.ndarray
) -> html.Div | None:
    """The largest differences of three rows in words, each a link to moments that have it."""
    is_angle = measure == "angles"
    size = np.abs(found.value if is_angle else np.log2(np.where(found.value > 0, found.value, np.nan)))
    known = SURE if (found.known == SURE).any() else UNCERTAIN
    size = np.where((found.known == known) & np.isfinite(size), size, -1.0)
    names, said = _names(measure), []
    for row in np.argsort(-size.max(axis=0))[:3]:
        column = int(size[:, row].argmax())
        if size[column, row] <= 0:
            break
        value = float(found.value[column, row])
        words = f"{names[row]} {_say_cell(value, is_angle)}"
        if is_angle:
            degrees = value * float(courses[0].sd_deg[row])
            words += f" SD ({say_number(degrees, 0, signed=True)}°)"
        a_s, b_s = moments[row, column]
        href = routes.alignment_fragment(float(a_s), float(b_s), _joints(measure)[row])
        said.append(html.Li(html.A(f"{words} at percentile {SHARES[column]}", href=href, className="moment")))
    if not said:
        return None
    start = "Largest" if known == SURE else "Largest, each of which may be measurement error"
    return html.Div([html.Span(f"{start}: "), html.Ul(said)], className="difference-largest")


def _legend(measure: str, found: Difference) -> html.Div:
    """The frozen scale with its values, and what the fillings mean."""
    if measure == "angles":
        low, high = f"−{Z_EDGE:.0f} SD or less", f"+{Z_EDGE:.0f} SD or more"
        middle, more = "no difference", "orange: more flexed or spread at the later visit; blue: less"
    else:
        low, high = f"×{1 / RATIO_EDGE:.2f} or less", f"×{RATIO_EDGE:.0f} or more"
        middle, more = "×1", "orange: more at the later visit; blue: less"
    ramp = html.Div(
        [
            html.Span(low),
            html.Span(className="difference-ramp", **aria(hidden="true")),
            html.Span(high),
            html.Span(f"({middle} in the middle; {more}; the same scale for every pair of recordings)"),
        ],
        className="difference-scale",
    )
    marks = [
        ("uncertain", "colour over stripes: may be measurement error that lasts"),
        ("inside", "plain pale grey: inside what noise and the recordings' own variation make"),
        ("unknown", "striped grey: cannot tell"),
    ]
    if measure != "angles":
        marks = marks[1:]
    items = [
        html.Li([html.Span(className=f"difference-sample difference-{name}", **aria(hidden="true")), words])
        for name, words in marks
    ]
    return html.Div([ramp, html.Ul(items, className="difference-legend")])
