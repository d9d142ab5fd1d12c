"""What an unknown address shows."""

from __future__ import annotations

from typing import Any

import dash
from dash import html

from components import routes
from components.states import empty

dash.register_page(__name__, title="Not found - ReDys")


def layout(**_: Any) -> Any:
    """A way back."""
    return [
        html.H1("There is no such page"),
        empty("The address may be mistyped, or the page was removed.", "To the recordings", routes.WORKLIST),
    ]
