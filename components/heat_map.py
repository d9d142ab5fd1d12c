"""Heat maps over time: jerk and acceleration of 21 joints, and the deviation of 20 angles."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from dash import dcc, html
from dash.exceptions import PreventUpdate

from components import ids
from components.exclusions import hatch_left_out
from components.graphs import (
    INK,
    LATE,
    QUIET,
    base_layout,
    draw_graph,
    make_graph,
    make_late_graph,
    time_axis,
)
from components.signals import SideSignals, Signals, read_signals
from components.status import GREEN, RED, YELLOW
from pipeline.hand.angles import ANGLE_INFO, ANGLES
from pipeline.hand.joints import JOINTS, Side
from pipeline.measures.levels import FAR_SD, NEAR_SD
from records import get_records

MAX_COLUMNS = 1200
"""More columns than pixels only cost time; a column then shows the strongest value of its frames."""

ROW_PX = 15

_SHORT_FINGER: Final = {
    "thumb": "Thumb",
    "index": "Index",
    "middle": "Middle",
    "ring": "Ring",
    "pinky": "Little",
}


def name_joint(joint: str) -> str:
    """A joint in a few letters: "Little PIP"."""
    if joint == "wrist":
        return "Wrist"
    finger, part = joint.split("_")
    return f"{_SHORT_FINGER[finger]} {part if part == 'tip' else part.upper()}"


def name_angle(angle: str) -> str:
    """An angle in a few letters: "Little PIP", "Index spread"."""
    info = ANGLE_INFO[angle]
    if info.movement == "flexion":
        return name_joint(info.joint)
    return f"{_SHORT_FINGER[info.finger]} spread"


def reduce_columns(values: np.ndarray, most: int = MAX_COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """At most ``most`` columns of (T, K): of each group of frames the value farthest from zero.

    Returns
    -------
    reduced : ndarray (C, K) float32
        NaN only where the whole group is.
    first : ndarray (C,) int
        First frame of each group.
    """
    n_frames = len(values)
    if n_frames <= most:
        return values.astype(np.float32), np.arange(n_frames)
    group = -(-n_frames // most)
    first = np.arange(0, n_frames, group)
    padded = np.full((len(first) * group, values.shape[1]), np.nan, dtype=np.float32)
    padded[:n_frames] = values
    grouped = padded.reshape(len(first), group, -1)
    farthest = np.where(np.isnan(grouped), -1.0, np.abs(grouped)).argmax(axis=1)
    return np.take_along_axis(grouped, farthest[:, None], axis=1)[:, 0], first


def _draw(
    signals: Signals, values: np.ndarray, names: list[str], joints: list[str], trace: dict[str, Any]
) -> go.Figure:
    reduced, first = reduce_columns(values)
    group = int(first[1] - first[0]) if len(first) > 1 else 1
    last = np.minimum(first + group - 1, len(signals.time_s) - 1)
    middle_s = (signals.time_s[first] + signals.time_s[last]) / 2
    figure = go.Figure(
        go.Heatmap(
            x=middle_s.astype(np.float32), y=names, z=np.ascontiguousarray(reduced.T), meta=joints,
            hoverongaps=False, **trace,
        )
    )  # fmt: skip
    figure.update_layout(
        **base_layout(_height(len(names)), top=28, bottom=44),
        xaxis=time_axis(signals.duration_s),
        yaxis={
            "autorange": "reversed",
            "tickfont": {"size": 11, "color": INK},
            "fixedrange": True,
            "ticks": "",
            "automargin": False,
        },
    )
    return figure


def _height(n_rows: int) -> int:
    """Of a heat map with its axis and scale, px."""
    return n_rows * ROW_PX + 72


def _scale_bar(**more: Any) -> dict[str, Any]:
    return {
        "orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "ypad": 4, "xpad": 0,
        "len": 190, "lenmode": "pixels", "thickness": 7, "outlinewidth": 0,
        "tickfont": {"size": 11, "color": QUIET}, **more,
    }  # fmt: skip


def draw_jerk(signals: Signals, side: SideSignals) -> go.Figure:
    """Jerk score of the 21 joints relative to this recording, 0 to 1."""
    return _draw(
        signals, side.jerk, [name_joint(joint) for joint in JOINTS], list(JOINTS),
        {
            "zmin": 0, "zmax": 1, "colorscale": "Cividis",
            "colorbar": _scale_bar(tickvals=[0, 0.5], ticktext=["0", "0.5"]),
            "hovertemplate": "%{y}, %{x:.2f} s<br>jerk score %{z:.2f}<extra></extra>",
        },
    )  # fmt: skip


def draw_acceleration(signals: Signals, side: SideSignals) -> go.Figure:
    """Acceleration of the 21 joints in m/s², up to the 99th percentile of this recording."""
    top = side.acceleration_top
    return _draw(
        signals, side.acceleration, [name_joint(joint) for joint in JOINTS], list(JOINTS),
        {
            "zmin": 0, "zmax": top, "colorscale": "Cividis",
            "colorbar": _scale_bar(tickvals=[0, top / 2], ticktext=["0", f"{top / 2:.3g} m/s²"]),
            "hovertemplate": "%{y}, %{x:.2f} s<br>%{z:.1f} m/s²<extra></extra>",
        },
    )  # fmt: skip


def draw_z(signals: Signals, side: SideSignals) -> go.Figure:
    """Deviation of the 20 angles from the reference, frame by frame, in the three levels' colours."""
    edge = 6.0
    steps = [
        (-edge, RED),
        (-FAR_SD, YELLOW),
        (-NEAR_SD, GREEN),
        (NEAR_SD, YELLOW),
        (FAR_SD, RED),
        (edge, RED),
    ]
    scale: list[list[Any]] = []
    for (low, colour), (high, _) in itertools.pairwise(steps):
        scale += [[(low + edge) / (2 * edge), colour], [(high + edge) / (2 * edge), colour]]
    return _draw(
        signals, side.z, [name_angle(angle) for angle in ANGLES], [ANGLE_INFO[a].joint for a in ANGLES],
        {
            "zmin": -edge, "zmax": edge, "colorscale": scale,
            "colorbar": _scale_bar(tickvals=[-3, -1, 1, 3], ticktext=["−3", "−1", "+1", "+3 SD"]),
            "hovertemplate": "%{y}, %{x:.2f} s<br>%{z:+.1f} SD<extra></extra>",
        },
    )  # fmt: skip


WITHHELD = "Withheld: it cannot be told from this recording. The quality box says why."


_DRAW: Final = {"jerk": draw_jerk, "acceleration": draw_acceleration, "z": draw_z}


def heat_maps(signals: Signals, side: Side, run_id: str = "") -> list[html.Div]:
    """The three heat maps of one hand, each with its title.

    Parameters
    ----------
    signals : Signals
        The run over time.
    side : "right" | "left"
        Which hand.
    run_id : str
        The run that they are fetched from when they come near the screen; empty to have them at once.
    """
    values = signals.sides[side]
    shown = [
        ("jerk", "Jerk, relative to this recording",
         "Yellow is where this recording is jerkiest; colours cannot be compared between recordings.",
         values.jerk),
        ("acceleration", "Acceleration, relative to this recording",
         f"The scale ends at {values.acceleration_top:.0f} m/s², this recording's 99th percentile.",
         values.acceleration),
        ("z", "Joint angles, standard deviations from the reference, by frame",
         "Green within 1 SD, yellow 1 to 3, red 3 or more. Passing moments are ordinary: duration counts.",
         values.z),
    ]  # fmt: skip
    return [
        html.Div(
            [
                html.H3(title),
                html.P(note if np.isfinite(numbers).any() else WITHHELD, className="plot-note"),
                make_late_graph(
                    "heat",
                    (run_id, kind, side),
                    _height(numbers.shape[1]),
                    f"{title}, {side} hand",
                    hatched=True,
                )
                if run_id
                else make_graph(
                    _draw_kind(signals, side, kind), f"{title}, {side} hand", ids.heat_map(kind, side), True
                ),
            ],
            className="heat",
        )
        for kind, title, note, numbers in shown
    ]


def _draw_kind(signals: Signals, side: Side, kind: str) -> go.Figure:
    figure = _DRAW[kind](signals, signals.sides[side])
    hatch_left_out(figure, signals, side, stripes=False)
    return figure


def _draw_late(run_id: str, kind: str, side: str) -> dcc.Graph:
    signals = read_signals(get_records().open_run(run_id))
    for known in signals.sides:
        if known == side and kind in _DRAW:
            return draw_graph(_draw_kind(signals, known, kind), ids.heat_map(kind, known))
    raise PreventUpdate


LATE["heat"] = _draw_late
