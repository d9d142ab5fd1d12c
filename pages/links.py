"""The links that somebody made: how they stand, who opened them, and taking them back."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import routes
from components.shares import links_panel

dash.register_page(__name__, path=routes.LINKS, title="Your links - ReDys")


def layout(**_: Any) -> Any:
    """All of one's own links, the newest first."""
    return [
        html.H1("Your links"),
        links_panel(),
        html.P(dcc.Link("All recordings", href=routes.WORKLIST)),
    ]
