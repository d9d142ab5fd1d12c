"""Moments worth looking at: sustained postures and brisk movements, each a link to its frame and joint."""

from __future__ import annotations

import math
from typing import Any

from dash import html

from components import routes
from components.heat_map import name_angle, name_joint
from components.signals import Signals
from components.states import notice
from components.status import say_number, say_time
from pipeline.hand.angles import ANGLE_INFO
from pipeline.measures.summary import BriskEvent, PostureBout, SideSummary

MOST = 60
"""Longer lists are not read; the strongest are kept, and how many there are is said."""


def events(summary: SideSummary, signals: Signals) -> html.Div:
    """Both lists of one hand."""
    return html.Div(
        [
            _bouts(summary.bouts, signals, _why_withheld(summary, "posture_bouts")),
            _brisk(summary.brisk, signals, _why_withheld(summary, "brisk_events")),
        ],
        className="events",
    )


def _why_withheld(summary: SideSummary, headline_id: str) -> str:
    """Why events of a kind cannot be counted; empty where they can. "None" is not "unknown"."""
    for headline in summary.headlines:
        if headline.id == headline_id and not math.isfinite(headline.value):
            return headline.note or "withheld"
    return ""


def _bouts(bouts: tuple[PostureBout, ...], signals: Signals, withheld: str) -> html.Div:
    strongest = sorted(bouts, key=lambda bout: -abs(bout.peak_z))[:MOST]
    rows = [
        _row(
            signals.frame_at(bout.start_s),
            ANGLE_INFO[bout.angle].joint,
            bout.start_s,
            [
                name_angle(bout.angle),
                bout.direction,
                f"{_length_s(bout, signals):.2f} s",
                f"{say_number(bout.peak_z, 1, signed=True)} SD",
            ],
        )
        for bout in sorted(strongest, key=lambda bout: bout.start_s)
    ]
    return _list(
        "Sustained postures",
        "3 SD or more from the reference for at least 0.2 s",
        ["Start", "Angle", "Direction", "Length", "Farthest"],
        rows,
        len(bouts),
        withheld,
    )


def _brisk(brisk: tuple[BriskEvent, ...], signals: Signals, withheld: str) -> html.Div:
    strongest = sorted(brisk, key=lambda event: -event.peak_acceleration)[:MOST]
    rows = [
        _row(
            signals.frame_at(event.peak_s),
            event.joint,
            event.peak_s,
            [name_joint(event.joint), f"{1000 * _length_s(event, signals):.0f} ms",
             f"{event.peak_acceleration:.1f} m/s²"],
        )
        for event in sorted(strongest, key=lambda event: event.peak_s)
    ]  # fmt: skip
    return _list(
        "Brisk movements",
        "acceleration surely over 5 m/s²; ordinary key strokes can be brisk too",
        ["Peak", "Joint", "Length", "Acceleration"],
        rows,
        len(brisk),
        withheld,
    )


def _length_s(event: PostureBout | BriskEvent, signals: Signals) -> float:
    """From the start of the first frame to the end of the last: what is seen in one frame lasts one frame."""
    return event.end_s - event.start_s + signals.frame_s


def _row(frame: int, joint: str, time_s: float, cells: list[str]) -> html.Tr:
    link = html.A(say_time(time_s), href=routes.moment_fragment(frame, joint), className="moment")
    return html.Tr([html.Th(link, scope="row"), *[html.Td(cell) for cell in cells]])


def _list(title: str, note: str, head: list[str], rows: list[html.Tr], total: int, withheld: str) -> html.Div:
    label: dict[str, Any] = {"aria-label": title}
    if not rows:
        words = f"Cannot tell. {withheld}" if withheld else f"None in this recording ({note})."
        return html.Div([html.H3(title), notice("info", html.P(words))])
    count = f"{total} in this recording" if total <= MOST else f"the {MOST} strongest of {total}"
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(rows)],
        className="numbers",
    )
    return html.Div(
        [
            html.H3(title),
            html.P(f"{count}; {note}. A time opens that moment in the player.", className="plot-note"),
            html.Div(table, className="table-scroll event-list", tabIndex=0, role="group", **label),
        ]
    )
