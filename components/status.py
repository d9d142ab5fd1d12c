"""Levels and verdicts: always a colour, a shape and a word together, on screen and on paper."""

from __future__ import annotations

import base64
import math
from typing import Any, Final

from dash import html

from pipeline.hand.joints import FINGERS
from pipeline.measures.levels import BETWEEN, BEYOND, LEVELS, UNKNOWN, WITHIN, Level

GREEN: Final = "#1B9E77"
YELLOW: Final = "#FFC20A"
RED: Final = "#8B0000"
GREY: Final = "#C3CAD1"
DARK: Final = "#10202C"

LEVEL_COLOURS: Final[dict[Level, str]] = {WITHIN: GREEN, BETWEEN: YELLOW, BEYOND: RED, UNKNOWN: GREY}
"""Distinct for readers with colour blindness and in grey print (lightness 58, 82, 28)."""

TEXT_COLOURS: Final[dict[Level, str]] = {WITHIN: DARK, BETWEEN: DARK, BEYOND: "#FFFFFF", UNKNOWN: DARK}

_VERDICT_LEVELS: Final[dict[str, Level]] = {
    "passed": WITHIN,
    "reliable": WITHIN,
    "limited": BETWEEN,
    "check": BETWEEN,
    "failed": BEYOND,
}

HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="2.4" height="6" fill="#FFFFFF" fill-opacity="0.62"/></pattern>'
)
"""SVG pattern of stripes for what is not certain."""

STRIPED: Final = "striped: the interval reaches further"
"""What stripes over a mark mean."""

FINGER_LABELS: Final = {finger: finger.capitalize() for finger in FINGERS} | {"pinky": "Little"}
"""What rows, columns and choices call the fingers."""


def draw_shape(level: Level, x: float, y: float, radius: float, fill: str | None = None) -> str:
    """The shape of a level as SVG: circle, triangle, octagon, and a rounded square for "cannot tell"."""
    style = f'fill="{fill or LEVEL_COLOURS[level]}" stroke="{DARK}" stroke-width="{radius * 0.07:.2f}"'
    if level == WITHIN:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {style}/>'
    if level == UNKNOWN:
        side = radius * 1.7
        return (
            f'<rect x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" height="{side:.1f}" '
            f'rx="{radius * 0.25:.1f}" {style}/>'
        )
    if level == BETWEEN:
        tall, wide = radius * 1.36, radius * 1.4
        corners = [(x, y - tall), (x + wide, y + tall * 0.74), (x - wide, y + tall * 0.74)]
    else:
        cut = radius * 0.4142
        corners = [
            (x - cut, y - radius), (x + cut, y - radius), (x + radius, y - cut), (x + radius, y + cut),
            (x + cut, y + radius), (x - cut, y + radius), (x - radius, y + cut), (x - radius, y - cut),
        ]  # fmt: skip
    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
    return f'<polygon points="{points}" stroke-linejoin="round" {style}/>'


def svg_image(svg: str, alt: str, class_name: str = "", **attributes: Any) -> html.Img:
    """A drawing as an image: it prints in its colours and runs nothing."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return html.Img(src=source, alt=alt, className=class_name, **attributes)


def draw_icon(level: Level, certain: bool = True) -> str:
    """The small mark of a level as an SVG document; striped where the interval reaches into another level."""
    mark = draw_shape(level, 12, 12.6 if level == BETWEEN else 12, 9)
    if not certain or level == UNKNOWN:
        mark += draw_shape(level, 12, 12.6 if level == BETWEEN else 12, 9, "url(#hatch)")
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><defs>{HATCH}</defs>{mark}</svg>'


def level_icon(level: Level, certain: bool = True) -> html.Img:
    """The small mark of a level (`draw_icon`)."""
    return svg_image(draw_icon(level, certain), "", "level-icon")


def level_badge(level: Level, certain: bool = True) -> html.Span:
    """A level in mark and word."""
    word = level if certain or level == UNKNOWN else f"{level}, uncertain"
    return html.Span([level_icon(level, certain), word], className="level-badge")


def verdict_badge(verdict: str) -> html.Span:
    """A verdict ("passed", "limited", "failed"; "reliable", "check") in mark and word."""
    level = _VERDICT_LEVELS.get(verdict, UNKNOWN)
    return html.Span([level_icon(level), verdict], className=f"level-badge verdict verdict-{verdict}")


def level_legend() -> html.Ul:
    """What the marks mean; belongs beside every picture that uses them."""
    items = [html.Li(level_badge(level)) for level in LEVELS]
    striped = html.Span([level_icon(BETWEEN, certain=False), STRIPED])
    return html.Ul([*items, html.Li(striped, className="level-badge")], className="level-legend")


def simulated_note(note: str) -> html.P:
    """The sentence that stands at every z of a simulated reference."""
    return html.P([html.Strong("Simulated reference. "), note], className="simulated-note")


def panel(title: str, *children: Any, lead: str = "") -> html.Section:
    """One part of a page with its heading."""
    head = [html.H2(title), html.P(lead, className="panel-lead") if lead else None]
    return html.Section([html.Header(head), *children], className="panel")


def say_number(value: float, digits: int = 1, signed: bool = False) -> str:
    """A number as it is printed everywhere: a true minus sign, and a dash for "cannot tell"."""
    if not math.isfinite(value):
        return "–"
    rounded = round(value, digits) + 0.0  # no "−0"
    sign = "+" if signed and rounded != 0 else ""
    return f"{rounded:{sign}.{digits}f}".replace("-", "−")


def say_time(time_s: float) -> str:
    """A moment of a recording: "1:04.32" past a minute, else "4.32 s"."""
    if time_s < 60:
        return f"{time_s:.2f} s"
    return f"{int(time_s // 60)}:{time_s % 60:05.2f}"
