"""The player's place on a page; ``assets/modules/player.mjs`` does the rest in the browser."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from components import ids, routes


def player(
    run_id: str,
    title: str,
    player_id: str = ids.PLAYER,
    links: bool = True,
    follows: str | None = None,
    offset_s: float = 0.0,
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
    """
    base = routes.media_url(run_id, "index.json").removesuffix("/index.json")
    marks: dict[str, Any] = {"data-module": "player", "data-base": base, "data-title": title}
    if links:
        marks |= {"data-links": "true", "data-playhead": ids.PLAYHEAD}
    if follows:
        marks |= {"data-follow": follows, "data-offset": f"{offset_s:.4f}"}
    return html.Div(id=player_id, className="player-host", **marks)


def playhead() -> dcc.Store:
    """Where the player tells Dash what it shows, at most four times a second: ``{frame, joint}``."""
    return dcc.Store(id=ids.PLAYHEAD)
