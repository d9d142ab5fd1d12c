"""The player's place on a page; ``assets/modules/player.mjs`` does the rest in the browser."""

from __future__ import annotations

import json
from typing import Any

from dash import dcc, html

from components import ids, routes
from components.events import MOST
from components.signals import Signals
from pipeline.hand.angles import ANGLE_INFO
from pipeline.hand.joints import Side
from pipeline.measures.summary import SideSummary

Event = tuple[int, int, int, str, str, Side]
"""frame that its link leads to, first and last frame, "posture" or "brisk", joint, side."""


def list_events(sides: dict[Side, SideSummary], signals: Signals) -> list[Event]:
    """The events of the report's lists for `player`, in the order of time."""
    found: list[Event] = []
    for side, summary in sides.items():
        for bout in sorted(summary.bouts, key=lambda bout: -abs(bout.peak_z))[:MOST]:
            first, last = signals.frame_at(bout.start_s), signals.frame_at(bout.end_s)
            found.append((first, first, last, "posture", ANGLE_INFO[bout.angle].joint, side))
        for brisk in sorted(summary.brisk, key=lambda event: -event.peak_acceleration)[:MOST]:
            frame = signals.frame_at(brisk.peak_s)
            first, last = signals.frame_at(brisk.start_s), signals.frame_at(brisk.end_s)
            found.append((frame, first, last, "brisk", brisk.joint, side))
    return sorted(found)


def player(
    run_id: str,
    title: str,
    player_id: str = ids.PLAYER,
    links: bool = True,
    follows: str | None = None,
    offset_s: float = 0.0,
    events: list[Event] | None = None,
) -> html.Div:
    """The player of a run.

    Parameters
    ----------
    run_id : str
        Whose ``web`` folder to play.
    title : str
        What is played, in words.
    player_id : str
        Component id.
    links : bool
        Keep the page's address at the moment shown.
    follows : str, optional
        Id of another player whose clock drives this one.
    offset_s : float
        What this one is ahead of the other.
    events : list, optional
        From `list_events`: shown on the seek bar, and gone to by buttons and keys.
    """
    base = routes.media_url(run_id, "index.json").removesuffix("/index.json")
    marks: dict[str, Any] = {"data-module": "player", "data-base": base, "data-title": title}
    if links:
        marks |= {"data-links": "true", "data-playhead": ids.PLAYHEAD}
    if follows:
        marks |= {"data-follow": follows, "data-offset": f"{offset_s:.4f}"}
    if events:
        marks["data-events"] = json.dumps(events, separators=(",", ":"))
    return html.Div(id=player_id, className="player-host", **marks)


def playhead() -> dcc.Store:
    """Where the player tells Dash what it shows once it rests: ``{frame, joint}``."""
    return dcc.Store(id=ids.PLAYHEAD)
