"""HTML attributes that have a hyphen in their name."""

from __future__ import annotations

from typing import Any


def aria(**values: str) -> dict[str, Any]:
    """``**aria(label="Pages")`` is ``aria-label="Pages"``."""
    return {f"aria-{name}": value for name, value in values.items()}


def data(**values: str) -> dict[str, Any]:
    """``**data(module="player")`` is ``data-module="player"`` (see ``assets/00_bridge.js``)."""
    return {f"data-{name}": value for name, value in values.items()}
