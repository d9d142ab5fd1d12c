"""What the fusion set aside of a hand: a short table, the worst first, each row a link to its moment."""

from __future__ import annotations

from typing import Final

from dash import html

from components import routes
from components.attributes import aria
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
            html.Th(row.camera, scope="row"),
            html.Td([say_parts(row.parts), html.Div(REASONS.get(row.reason, row.reason), className="quiet")]),
            html.Td([link, html.Div(length.replace(" ", "\N{NO-BREAK SPACE}"), className="quiet")]),
        ]
    )


def say_parts(parts: tuple[str, ...]) -> str:
    """Fingers in words; all of them are the "whole hand"."""
    return "whole hand" if len(parts) >= _WHOLE_HAND else name_parts(parts)
