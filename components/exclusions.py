"""What does not count: what the fusion set aside of a hand, and how plots show sections left out by hand."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go
from dash import html

from components import routes
from components.attributes import aria, as_written
from components.graphs import QUIET
from components.signals import Signals
from components.states import notice
from components.status import say_time
from pipeline.fusion.exclusions import REASONS, Exclusion, name_parts
from pipeline.hand.joints import FINGERS, Side
from pipeline.measures.quality_types import HandQuality

_WHOLE_HAND: Final = 1 + len(FINGERS)
_HEAD: Final = ("Camera", "What and why", "When and how long")


def exclusions(side: Side, hand: HandQuality) -> html.Div:
    """The list of one hand; in words where it is empty, or where an older run does not have it."""
    title = html.H3(f"Set aside of the {side} hand")
    if not hand.set_aside:
        words = "This run does not say what it set aside. Run the pipeline again to have it listed."
        return html.Div([title, notice("info", html.P(words))], className="exclusions")
    lone = _say_lone(hand.lone_outliers)
    if not hand.exclusions:
        words = f"Every camera saw the hand all along, and nothing was set aside for long.{lone}"
        return html.Div([title, html.P(words, className="plot-note")], className="exclusions")
    more = f" {hand.exclusions_more} shorter ones are not listed." if hand.exclusions_more else ""
    note = f"The worst first.{more}{lone} A time opens that moment in the player."
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(word, scope="col") for word in _HEAD])),
            html.Tbody([_row(each) for each in hand.exclusions]),
        ],
        className="numbers",
    )
    scroll = html.Div(
        table,
        className="table-scroll event-list",
        tabIndex=0,
        role="region",
        **aria(label=f"Set aside of the {side} hand"),
    )
    return html.Div([title, html.P(note, className="plot-note"), scroll], className="exclusions")


def _say_lone(points: int) -> str:
    if not points:
        return ""
    what = "single point was" if points == 1 else "single points were"
    return f" Beside that, {points} {what} off for an instant."


def _row(row: Exclusion) -> html.Tr:
    joint = row.joints[-1] if row.joints and len(row.parts) < _WHOLE_HAND else None
    link = html.A(
        f"{say_time(row.from_s)} to {say_time(row.to_s)}",
        href=routes.moment_fragment(row.frame, joint),
        className="moment",
    )
    length = f"{row.seconds:.1f} s ({100 * row.share:.0f} %)"
    return html.Tr(
        [
            html.Th(as_written(row.camera), scope="row"),
            html.Td([say_parts(row.parts), html.Div(REASONS.get(row.reason, row.reason), className="quiet")]),
            html.Td([link, html.Div(length.replace(" ", "\N{NO-BREAK SPACE}"), className="quiet")]),
        ]
    )


def say_parts(parts: tuple[str, ...]) -> str:
    """Fingers in words; all of them are the "whole hand"."""
    return "whole hand" if len(parts) >= _WHOLE_HAND else name_parts(parts)


def hatch_left_out(
    figure: go.Figure, signals: Signals, side: Side | None = None, rows: int = 1, stripes: bool = True
) -> None:
    """Stripe the sections that a person left out, in every row of a figure over time.

    Parameters
    ----------
    figure : Figure
        Its x axis is time in s.
    signals : Signals
        What it shows.
    side : str, optional
        The hand that it shows; without it shows both, and a section of either is striped.
    rows : int
        How many plots stand over each other.
    stripes : bool
        A heat map has stripes of its own where nothing was measured, and gets only the section's ends.
    """
    for section in signals.excluded:
        if side is not None and section.side not in ("", side):
            continue
        start_s, end_s = section.start_s, min(section.end_s, signals.duration_s)
        if end_s <= start_s:
            continue
        for row in range(1, rows + 1):
            axis = "" if row == 1 else str(row)
            domain = {"xref": f"x{axis}", "yref": f"y{axis} domain"}
            for line_s in (start_s, end_s):
                figure.add_shape(
                    type="line", x0=line_s, x1=line_s, y0=0, y1=1, line={"color": QUIET, "width": 1}, **domain
                )
            for line in _stripe(start_s, end_s, signals.duration_s) if stripes else ():
                figure.add_shape(
                    type="line", line={"color": "#A9B2BC", "width": 1}, layer="below", **line, **domain
                )
        figure.add_annotation(
            text="left out", x=(start_s + end_s) / 2, y=1, xref="x", yref="y domain",
            yanchor="top" if stripes else "bottom", showarrow=False, font={"size": 11, "color": QUIET},
            bgcolor="rgba(255,255,255,0.85)",
        )  # fmt: skip


def _stripe(start_s: float, end_s: float, duration_s: float) -> list[dict[str, float]]:
    """Slanted lines across a section, as far apart everywhere: ends in s and parts of the height."""
    step = duration_s / 120
    slant = 3 * step
    lines = []
    at = start_s - slant
    while at < end_s:
        x0, x1 = max(at, start_s), min(at + slant, end_s)
        if x1 > x0:
            lines.append({"x0": x0, "x1": x1, "y0": (x0 - at) / slant, "y1": (x1 - at) / slant})
        at += step
    return lines
