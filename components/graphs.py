"""Plotly graphs as this site shows them: quiet, on one time axis, and never offering to send themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import plotly.graph_objects as go
from dash import MATCH, Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids
from components.states import failed
from pipeline.errors import RedysError

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
    return _frame(draw_graph(figure, graph_id), label, hatched, _choice(graph_id))


def draw_graph(figure: go.Figure, graph_id: Any = None) -> dcc.Graph:
    """The graph alone, as high as its figure says."""
    own: dict[str, Any] = {"id": graph_id} if graph_id is not None else {}
    return dcc.Graph(
        figure=figure, config=GRAPH_CONFIG, style={"height": f"{figure.layout.height or 300}px"}, **own
    )


LATE: Final[dict[str, Callable[..., dcc.Graph]]] = {}
"""What draws a late graph, by the first word of its key; called with the others. Each room adds its own."""


def make_late_graph(
    kind: str, parts: tuple[str, ...], height: int, label: str, graph_id: Any = None, hatched: bool = False
) -> html.Div:
    """The place of a graph that is fetched when it comes near the screen: a long report opens at once.

    Parameters
    ----------
    kind : str
        Which of `LATE` draws it.
    parts : tuple of str
        What that is called with; without a slash.
    height : int
        Of the graph, px, so that nothing moves when it comes.
    label, graph_id, hatched
        As in `make_graph`.
    """
    key = "/".join((kind, *parts))
    waiting = html.P("Loading the plot …", className="plot-note plot-waiting")
    place = html.Div(waiting, id=ids.late_plot(key), style={"minHeight": f"{height}px"})
    marks = {"data-late": key, **_choice(graph_id)}
    return _frame([dcc.Store(id=ids.late_wanted(key)), place], label, hatched, marks)


@callback(
    Output(ids.late_plot(MATCH), "children"),
    Input(ids.late_wanted(MATCH), "data"),
    State(ids.late_wanted(MATCH), "id"),
    prevent_initial_call=True,
)
def show_late_graph(wanted: bool | None, place: dict[str, str]) -> Any:
    """Draw a graph that has come near the screen."""
    kind, *parts = place["key"].split("/")
    if not wanted or kind not in LATE:
        raise PreventUpdate
    try:
        return LATE[kind](*parts)
    except RedysError as error:
        return failed(error)


def _choice(graph_id: Any) -> dict[str, str]:
    return {"data-choice": ids.CURVES_FINGER} if graph_id == ids.CURVES else {}


def _frame(graph: Any, label: str, hatched: bool, marks: dict[str, str]) -> html.Div:
    """What lies about a graph: stripes behind it, the cursor over it."""
    own: dict[str, Any] = {"aria-label": label, "data-module": "cursors", "data-player": ids.PLAYER, **marks}
    return html.Div(
        [
            html.Div(className="plot-hatch") if hatched else None,
            html.Div(className="cursor-line"),
            *(graph if isinstance(graph, list) else [graph]),
        ],
        className="plot",
        role="group",
        **own,
    )
