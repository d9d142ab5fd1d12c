"""HTML attributes that have a hyphen in their name, and text that is a person's own."""

from __future__ import annotations

from typing import Any, Final

from dash import html

NOT_TRANSLATED: Final = "notranslate"
"""Class of what stays as it is in every language; browsers' own translators leave it alone as well."""


class Written(str):
    """A person's own words where only a string can stand (an option's label, a placeholder)."""

    __slots__ = ()


def aria(**values: str) -> dict[str, Any]:
    """``**aria(label="Pages")`` is ``aria-label="Pages"``."""
    return {f"aria-{name}": value for name, value in values.items()}


def data(**values: str) -> dict[str, Any]:
    """``**data(module="player")`` is ``data-module="player"`` (see ``assets/00_bridge.js``)."""
    return {f"data-{name}": value for name, value in values.items()}


def as_written(text: str) -> html.Span:
    """What a person typed (a pseudonym, a title, a task, a note): never translated."""
    return html.Span(Written(text), className=NOT_TRANSLATED)
