"""Plotly graphs as this site shows them: quiet, on one time axis, and never offering to send themselves."""

from __future__ import annotations

from typing import Any, Final

import plotly.graph_objects as go
from dash import dcc, html

from components import ids

GRAPH_CONFIG: Final[Any] = {
    # plotly.js shows a button that uploads the figure to another company's server unless it is told not to.
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}
"""The configuration of every graph; a test walks the layouts for it."""

INK: Final = "#1c2733"
QUIET: Final = "#5b6875"
GRID: Final = "#e6eaee"
LEFT_PX: Final = 96
RIGHT_PX: Final = 14
"""All graphs over time have the same margins, so that one moment stands on one line."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def base_layout(height: int, top: int = 12, bottom: int = 36) -> dict[str, Any]:
    """The layout that all graphs over time share; ``height`` in px."""
    return {
        "height": height,
        "margin": {"l": LEFT_PX, "r": RIGHT_PX, "t": top, "b": bottom},
        "font": {"family": _FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": "#ffffff", "font": {"color": INK, "size": 12}},
        "dragmode": "zoom",
        "showlegend": False,
    }


def time_axis(duration_s: float, title: str = "Time (s)") -> dict[str, Any]:
    """The x axis of every graph over time: 0 to the recording's end, in s."""
    return {
        "range": [0, duration_s],
        "title": {"text": title, "font": {"size": 12, "color": QUIET}, "standoff": 6},
        "showgrid": False,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#b6bfc8",
        "tickfont": {"color": QUIET},
        "fixedrange": False,
    }


def make_graph(figure: go.Figure, label: str, graph_id: Any = None, hatched: bool = False) -> html.Div:
    """A graph that follows the player: with a cursor line, and a click on it goes to that moment.

    Parameters
    ----------
    figure : Figure
        Its x axis is time in s; traces carry their joints in ``meta``.
    label : str
        What it shows, for people who cannot see it.
    graph_id : str or dict, optional
        Component id of the graph.
    hatched : bool
        Stripes behind the plot, where a heat map has no value.
    """
    own: dict[str, Any] = {"id": graph_id} if graph_id is not None else {}
    height = figure.layout.height or 300
    marks: dict[str, Any] = {"aria-label": label, "data-module": "cursors", "data-player": ids.PLAYER}
    if graph_id == ids.CURVES:
        marks["data-choice"] = ids.CURVES_FINGER
    return html.Div(
        [
            html.Div(className="plot-hatch") if hatched else None,
            html.Div(className="cursor-line"),
            dcc.Graph(figure=figure, config=GRAPH_CONFIG, style={"height": f"{height}px"}, **own),
        ],
        className="plot",
        role="group",
        **marks,
    )
