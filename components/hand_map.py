"""The hand map: the back of a hand with its 20 joint angles, each a number, a colour, a shape and a word."""

from __future__ import annotations

import math
from html import escape
from typing import Any, Final

from dash import html

from components import routes
from components.status import (
    DARK,
    HATCH,
    LEVEL_COLOURS,
    TEXT_COLOURS,
    draw_shape,
    level_badge,
    level_legend,
    say_number,
    simulated_note,
    svg_image,
)
from pipeline.hand.joints import FINGERS, Side
from pipeline.measures.levels import BETWEEN, UNKNOWN
from pipeline.measures.summary import SIMULATED_NOTE, AngleSummary, Provenance, SideSummary

CAPTION: Final = (
    "Numbers are standard deviations between people from the reference, of the median posture or, where "
    "that is farther, of the posture at times; + is more flexed, or further from the middle finger."
)

WIDTH, HEIGHT = 600, 540

# A right hand seen from behind, thumb to the left. Joints from the knuckle (thumb: from its root) to the tip.
_BONES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "thumb": ((196, 432), (134, 366), (92, 304), (64, 248)),
    "index": ((212, 268), (198, 180), (190, 112), (184, 52)),
    "middle": ((290, 250), (288, 152), (287, 82), (286, 20)),
    "ring": ((367, 264), (379, 172), (386, 104), (391, 46)),
    "pinky": ((440, 304), (465, 230), (480, 176), (492, 128)),
}
_ROOT = (318, 500)
_BADGES: Final[dict[str, tuple[float, float]]] = {
    "thumb_cmc_flexion": (196, 446), "thumb_cmc_abduction": (166, 396),
    "thumb_mcp_flexion": (126, 346), "thumb_ip_flexion": (84, 286),
    "index_mcp_abduction": (222, 336), "index_mcp_flexion": (212, 270),
    "index_pip_flexion": (198, 184), "index_dip_flexion": (189, 112),
    "middle_mcp_abduction": (292, 322), "middle_mcp_flexion": (290, 252),
    "middle_pip_flexion": (288, 162), "middle_dip_flexion": (287, 88),
    "ring_mcp_abduction": (360, 334), "ring_mcp_flexion": (367, 266),
    "ring_pip_flexion": (378, 180), "ring_dip_flexion": (386, 108),
    "pinky_mcp_abduction": (424, 366), "pinky_mcp_flexion": (440, 304),
    "pinky_pip_flexion": (463, 236), "pinky_dip_flexion": (479, 176),
}  # fmt: skip
_ROWS: Final[tuple[tuple[str, float], ...]] = (
    ("DIP", 176),
    ("PIP", 236),
    ("MCP flexion", 304),
    ("spread", 366),
)
_RADIUS = 22.0
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def draw_hand(angles: tuple[AngleSummary, ...], side: Side) -> str:
    """The hand map as an SVG document.

    Parameters
    ----------
    angles : tuple of AngleSummary
        All 20; an angle that is missing is drawn as "cannot tell" by its own level.
    side : "right" | "left"
        Left hands are drawn mirrored, so that the thumb is where it is.
    """
    parts = [_draw_outline(side), *(_draw_badge(angle, side) for angle in angles), _draw_names(side)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -14 {WIDTH} {HEIGHT + 14}" '
        f'font-family="{escape(_FONT)}">'
        f"<defs>{HATCH}</defs>{''.join(parts)}</svg>"
    )


def _x(x: float, side: Side) -> float:
    return x if side == "right" else WIDTH - x


def _draw_outline(side: Side) -> str:
    """Palm and fingers as one quiet shape: the light fill lies over a wider dark stroke."""
    palm = [
        _BONES["index"][0], _BONES["middle"][0], _BONES["ring"][0], _BONES["pinky"][0],
        (398, 470), (_ROOT[0], _ROOT[1]), (244, 478), (206, 428),
    ]  # fmt: skip
    palm_path = "M" + " L".join(f"{_x(x, side):.0f},{y:.0f}" for x, y in palm) + " Z"
    fingers = ["M" + " L".join(f"{_x(x, side):.0f},{y:.0f}" for x, y in bones) for bones in _BONES.values()]
    fingers[0] = f"M{_x(236, side):.0f},452 L" + fingers[0][1:]
    drawn = ""
    for colour, extra in (("#AEB8C2", 2.6), ("#F0F3F6", 0.0)):
        drawn += (
            f'<path d="{palm_path}" fill="{colour}" stroke="{colour}" stroke-width="{56 + extra}" '
            'stroke-linejoin="round"/>'
        )
        for path in fingers:
            drawn += (
                f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{54 + extra}" '
                'stroke-linecap="round" stroke-linejoin="round"/>'
            )
    return drawn


def _draw_badge(angle: AngleSummary, side: Side) -> str:
    x, y = _BADGES[angle.angle]
    x = _x(x, side)
    shown = angle.farthest
    shapes = draw_shape(shown.level, x, y, _RADIUS)
    certain = shown.certain and shown.level != UNKNOWN
    if not certain:
        shapes += draw_shape(shown.level, x, y, _RADIUS, "url(#hatch)")
    colour = TEXT_COLOURS[shown.level]
    # Over stripes a number needs a rim: light round dark words, the level's own round white ones.
    rim = "#FFFFFF" if colour == DARK else LEVEL_COLOURS[shown.level]
    halo = "" if certain else f' stroke="{rim}" stroke-width="4" paint-order="stroke"'
    number = say_number(shown.z, 1, signed=True)
    size = 14.5 if len(number) <= 4 else 12  # "−14.3" must not reach over the mark's edge
    lower = y + (9.5 if shown.level == BETWEEN else 5)
    return (
        f"<g>{shapes}<text x='{x:.1f}' y='{lower:.1f}' text-anchor='middle' font-size='{size}' "
        f'font-weight="700" fill="{colour}"{halo}>{number}</text></g>'
    )


def _draw_names(side: Side) -> str:
    anchor = "start" if side == "right" else "end"
    drawn = ""
    for word, y in _ROWS:
        drawn += (
            f'<text x="{_x(520, side):.0f}" y="{y + 4:.0f}" font-size="13" fill="#5B6875" '
            f'text-anchor="{anchor}">{word}</text>'
        )
    for word, x, y in (("IP", 30, 290), ("MCP", 62, 350), ("CMC spread", 62, 402), ("CMC flexion", 92, 452)):
        end = "start" if side == "right" else "end"
        drawn += (
            f'<text x="{_x(x - 28, side):.0f}" y="{y:.0f}" font-size="13" fill="#5B6875" '
            f'text-anchor="{end}">{word}</text>'
        )
    return drawn


def say_reference(angle: AngleSummary) -> str:
    """The reference of one angle: "41 ± 11°"; `name_reference` says whose."""
    shown = angle.farthest
    if not math.isfinite(shown.reference_mean_deg):
        return "none"
    return f"{say_number(shown.reference_mean_deg, 0)} ± {say_number(shown.reference_sd_deg, 0)}°"


def say_posture(angle: AngleSummary) -> str:
    """The posture that the map shows: the median, "23°", or what is farther, "−80° at times"."""
    if not math.isfinite(angle.median_deg):
        return "–"
    words = " at times" if angle.is_peak_farther else ""
    return f"{say_number(angle.farthest.degrees, 0)}°{words}"


def _say_median(angle: AngleSummary) -> str | None:
    """For a row that shows something else than the median."""
    return f"Median {say_number(angle.median_deg, 0)}°" if angle.is_peak_farther else None


def name_reference(provenance: Provenance) -> str:
    """Heading of a column of references: "Simulated reference, n = 24"."""
    kind = "Simulated reference" if provenance.baseline_simulated else "Reference"
    return f"{kind}, n = {provenance.baseline_n_people}"


def say_worst(summary: SideSummary) -> str:
    """The angles farthest from the reference, as sentences."""
    sentences = [worst.sentence.rstrip(".") for worst in summary.worst]
    return ". ".join(sentences) + "." if sentences else "No angle could be compared with the reference."


def describe_map(summary: SideSummary, side: Side) -> str:
    """The map in words, for those who cannot see it."""
    angles = [
        f"{angle.label} {say_number(angle.farthest.z, 1, True)} ({angle.farthest.level})"
        for angle in summary.angles
    ]
    return f"Hand map, {side} hand, standard deviations from the reference: " + "; ".join(angles)


def hand_image(summary: SideSummary, side: Side) -> html.Img:
    """The map as an image, the same on screen and on paper."""
    return svg_image(draw_hand(summary.angles, side), describe_map(summary, side), "hand-map-image")


def hand_map(summary: SideSummary, side: Side, provenance: Provenance) -> html.Div:
    """The map, the three worst in a sentence, and all 20 as a table beside it."""
    note = simulated_note(SIMULATED_NOTE) if provenance.baseline_simulated else None
    return html.Div(
        [
            html.P(say_worst(summary), className="worst"),
            note,
            html.Div(
                [
                    html.Figure(
                        [
                            hand_image(summary, side),
                            html.Figcaption(
                                [
                                    f"Back of the {side} hand. {CAPTION}",
                                    level_legend(),
                                ]
                            ),
                        ],
                        className="hand-map-figure",
                    ),
                    _table(summary, provenance),
                ],
                className="hand-map",
            ),
        ]
    )


def _table(summary: SideSummary, provenance: Provenance) -> html.Div:
    head = ["Angle", "SD (95 % interval)", "Posture", name_reference(provenance), "Level"]
    body: list[Any] = []
    for finger in FINGERS:
        body += [_row(angle) for angle in summary.angles if angle.finger == finger]
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(body)],
        className="numbers hand-map-table",
    )
    return html.Div(table, className="table-scroll", tabIndex=0, role="group", **_LABEL)


_LABEL: Final[dict[str, Any]] = {"aria-label": "All 20 angles as a table"}


def _row(angle: AngleSummary) -> html.Tr:
    shown = angle.farthest
    interval = f" ({say_number(shown.z_low, 1, True)} to {say_number(shown.z_high, 1, True)})"
    z: list[Any] = [html.Strong(say_number(shown.z, 1, True)), interval if math.isfinite(shown.z_low) else ""]
    name = angle.label[:1].upper() + angle.label[1:]
    return html.Tr(
        [
            html.Th(html.A(name, href=routes.moment_fragment(joint=angle.joint)), scope="row"),
            html.Td(z, className="interval"),
            html.Td(say_posture(angle), className="interval", title=_say_median(angle)),
            html.Td(say_reference(angle), className="quiet"),
            html.Td(level_badge(shown.level, shown.certain)),
        ],
        title=angle.note or None,
    )
