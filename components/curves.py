"""Joint angles over time over a grey reference band."""

from __future__ import annotations

import math
from typing import Any, Final

import dash_bootstrap_components as dbc
import numpy as np
import plotly.graph_objects as go
from dash import Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate
from plotly.subplots import make_subplots

from components import ids
from components.alignment import read_alignment
from components.exclusions import hatch_left_out
from components.graphs import (
    GRID,
    LATE,
    QUIET,
    base_layout,
    draw_graph,
    make_graph,
    make_late_graph,
    time_axis,
)
from components.heat_map import name_angle
from components.signals import Signals, read_signals
from components.status import FINGER_LABELS
from pipeline.hand.angles import ANGLE_INFO, ANGLES
from pipeline.hand.joints import FINGERS, Side
from records import get_records

MAX_POINTS = 1600
ROW_PX = 112
_LABEL = "Joint angles of one finger over time"
LEAST_SPAN_DEG = 30.0
"""Least range of an angle's axis."""

LINES: Final[dict[str, dict[str, Any]]] = {
    "right": {"color": "#0B5C7A", "width": 1.6, "dash": "solid"},
    "left": {"color": "#B4540A", "width": 1.6, "dash": "dot"},
}
"""Right and left by colour and by line, the same everywhere."""

VISIT_LINES: Final[tuple[dict[str, Any], ...]] = (
    {"color": "#7A8894", "width": 1.5, "dash": "dot"},
    {"color": "#0B5C7A", "width": 1.6, "dash": "solid"},
)
"""Of two visits the earlier and the later."""


def thin(time_s: np.ndarray, values: np.ndarray, most: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most about ``most`` points of a curve that keep every peak: lowest and highest of each group.

    Gaps stay gaps: a group without any value becomes NaN.
    """
    if len(values) <= most:
        return time_s, values
    group = -(-2 * len(values) // most)
    count = len(values) // group
    body = values[: count * group].reshape(count, group)
    low = np.where(np.isnan(body), np.inf, body).argmin(axis=1)
    high = np.where(np.isnan(body), -np.inf, body).argmax(axis=1)
    picks = np.sort(np.stack([low, high], axis=1), axis=1) + np.arange(count)[:, None] * group
    rest = np.arange(count * group, len(values))
    kept = np.concatenate([picks.reshape(-1), rest])
    return time_s[kept], values[kept]


def draw_curves(
    shown: list[tuple[Signals, Side, dict[str, Any]]], finger: str, ahead_s: tuple[float, ...] = ()
) -> go.Figure:
    """The four angles of a finger, one below the other on one time axis.

    Parameters
    ----------
    shown : list of (Signals, side, line)
        What to draw: a hand of a run, and its line. The first one's reference is the band.
    finger : str
        One of `pipeline.hand.joints.FINGERS`.
    ahead_s : tuple of float
        By what is shown: how far it is ahead of the axis's clock; 0 by default.
    """
    ahead_s = ahead_s or (0.0,) * len(shown)
    angles = _angles_of(finger)
    figure = make_subplots(rows=len(angles), cols=1, shared_xaxes=True, vertical_spacing=0.035)
    start_s = min(0.0, *(-ahead for ahead in ahead_s))
    end_s = max(signals.duration_s - ahead for (signals, _, _), ahead in zip(shown, ahead_s, strict=True))
    for row, angle in enumerate(angles, start=1):
        column = ANGLES.index(angle)
        band = shown[0][0].sides[shown[0][1]].bands.get(angle)
        if band is not None and all(math.isfinite(value) for value in band):
            _add_band(figure, row, band)
        for (signals, side, line), ahead in zip(shown, ahead_s, strict=True):
            time_s, degrees = thin(signals.time_s - ahead, signals.sides[side].degrees[:, column])
            figure.add_trace(
                go.Scatter(
                    x=time_s.astype(np.float32), y=degrees.astype(np.float32), mode="lines", line=line,
                    meta=ANGLE_INFO[angle].joint, connectgaps=False,
                    hovertemplate=f"{name_angle(angle)}, %{{x:.2f}} s<br>%{{y:.1f}}°<extra></extra>",
                ),
                row=row, col=1,
            )  # fmt: skip
        values = [signals.sides[side].degrees[:, column] for signals, side, _ in shown]
        figure.add_annotation(
            text=f"<b>{name_angle(angle)}</b> (°)", x=0, y=1, xref="x domain", yref="y domain",
            xanchor="left", yanchor="top", xshift=6, yshift=2, showarrow=False, font={"size": 11},
            bgcolor="rgba(255,255,255,0.75)", row=row, col=1,
        )  # fmt: skip
        figure.update_yaxes(
            row=row, col=1, range=_find_range(values, band), automargin=False,
            gridcolor=GRID, zeroline=True, zerolinecolor="#C3CAD1", tickfont={"size": 11, "color": QUIET},
            nticks=4, fixedrange=True,
        )  # fmt: skip
    figure.update_xaxes(time_axis(end_s, title="") | {"range": [start_s, end_s]})
    figure.update_xaxes(title=time_axis(end_s)["title"], row=len(angles), col=1)
    figure.update_layout(**base_layout(_height(len(angles)), top=8, bottom=44))
    if len({id(signals) for signals, _, _ in shown}) == 1:  # of two visits it would not be clear whose
        hatch_left_out(figure, shown[0][0], shown[0][1] if len(shown) == 1 else None, len(angles))
    return figure


def _find_range(values: list[np.ndarray], band: tuple[float, float] | None) -> list[float]:
    """Range of an axis in degrees: all values and the band, and never so few degrees that jitter looms."""
    every = np.concatenate([part[np.isfinite(part)] for part in values])
    if band is not None:
        every = np.append(every, [band[0] - band[1], band[0] + band[1]])
    every = every[np.isfinite(every)]
    if not len(every):
        return [-LEAST_SPAN_DEG / 2, LEAST_SPAN_DEG / 2]
    low, high = float(every.min()), float(every.max())
    half = max((high - low) * 0.56, LEAST_SPAN_DEG / 2)
    return [(low + high) / 2 - half, (low + high) / 2 + half]


def _add_band(figure: go.Figure, row: int, band: tuple[float, float]) -> None:
    mean, sd = band
    # Plotly leaves out panels that have no curve yet unless told otherwise.
    figure.add_hrect(
        y0=mean - sd, y1=mean + sd, fillcolor="#8E9AA6", opacity=0.26, line_width=0, layer="below",
        row=row, col=1, exclude_empty_subplots=False,
    )  # fmt: skip
    figure.add_hline(
        y=mean, line={"color": "#8E9AA6", "width": 1}, layer="below",
        row=row, col=1, exclude_empty_subplots=False,
    )  # fmt: skip


def curves(runs: list[tuple[str, Signals]], finger: str, visits: bool = False) -> html.Div:
    """The choice of finger and its curves.

    Parameters
    ----------
    runs : list of (run id, Signals)
        One run, or two visits to be laid over each other.
    finger : str
        The finger to open on.
    visits : bool
        Lines tell visits apart, not sides.
    """
    shown = _lines([signals for _, signals in runs], visits)
    choice = dbc.RadioItems(
        id=ids.CURVES_FINGER,
        options=[{"value": value, "label": word} for value, word in FINGER_LABELS.items()],
        value=finger,
        inline=True,
        className="choice-row",
    )
    legend = [
        html.Li([html.Span(className=f"line-sample line-{kind}"), word])
        for kind, word in _legend(shown, visits)
    ]
    band = html.Li([html.Span(className="line-sample line-band"), "reference, mean ± 1 SD of its postures"])
    return html.Div(
        [
            dcc.Store(id=ids.CURVES_SHIFT),
            dcc.Store(id=ids.CURVES_RUNS, data={"runs": [run_id for run_id, _ in runs], "visits": visits}),
            html.Div(
                [html.Fieldset([html.Legend("Finger", className="visually-hidden"), choice]),
                 html.Ul([*legend, band], className="line-legend")],
                className="curves-head",
            ),
            make_graph(draw_curves(shown, finger), _LABEL, ids.CURVES) if visits else
            make_late_graph("curves", (runs[0][0], finger), _height(4), _LABEL, ids.CURVES),
        ]
    )  # fmt: skip


def _draw_late(run_id: str, finger: str) -> dcc.Graph:
    if finger not in FINGERS:
        raise PreventUpdate
    signals = read_signals(get_records().open_run(run_id))
    return draw_graph(draw_curves(_lines([signals], visits=False), finger), ids.CURVES)


LATE["curves"] = _draw_late


def _angles_of(finger: str) -> list[str]:
    return [angle for angle in ANGLES if ANGLE_INFO[angle].finger == finger]


def _height(n_rows: int) -> int:
    return ROW_PX * n_rows + 60


def _legend(shown: list[tuple[Signals, Side, dict[str, Any]]], visits: bool) -> list[tuple[str, str]]:
    if visits:
        return [("earlier", "earlier visit"), ("later", "later visit")]
    return [(side, f"{side} hand") for _, side, _ in shown]


def _lines(all_signals: list[Signals], visits: bool) -> list[tuple[Signals, Side, dict[str, Any]]]:
    if not visits:
        return [(signals, side, LINES[side]) for signals in all_signals for side in signals.sides]
    common = [side for side in all_signals[0].sides if all(side in other.sides for other in all_signals)]
    return [
        (signals, side, VISIT_LINES[visit])
        for visit, signals in enumerate(all_signals)
        for side in common[:1]
    ]


def _shift(shown: dict[str, Any], alignment: dict[str, Any] | None) -> tuple[float, ...]:
    """Of two visits laid over each other the later by its offset; nothing else is shifted."""
    return (0.0, read_alignment(alignment).offset_s) if shown.get("visits") else ()


@callback(
    Output(ids.CURVES, "figure"),
    Input(ids.CURVES_FINGER, "value"),
    Input(ids.CURVES_SHIFT, "data"),
    State(ids.CURVES_RUNS, "data"),
    prevent_initial_call=True,
)
def show_finger(finger: str, alignment: dict[str, Any] | None, shown: dict[str, Any] | None) -> go.Figure:
    """Draw the curves of the finger that was chosen, two visits as they are laid over each other."""
    if not shown or finger not in FINGERS:
        raise PreventUpdate
    records = get_records()
    all_signals = [read_signals(records.open_run(run_id)) for run_id in shown["runs"][:2]]
    lines = _lines(all_signals, bool(shown.get("visits")))
    shift = _shift(shown, alignment)
    return draw_curves(lines, finger, shift if len(shift) == len(lines) else ())
