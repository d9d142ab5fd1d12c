"""The four states of a panel (empty, loading, failed, partial), and small words that recur."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from components.attributes import aria
from pipeline.errors import RedysError

STATE_WORDS = {
    "queued": ("○", "Waiting"),
    "running": ("◐", "Working"),
    "done": ("●", "Ready"),
    "failed": ("◆", "Failed"),
    "cancelled": ("–", "Cancelled"),
    "lost": ("◇", "Interrupted"),
    "new": ("·", "Not started"),
}
"""Shape and word of a run's state: never told by colour alone."""


def notice(kind: str, *content: Any, role: str | None = None) -> html.Div:
    """A framed message; ``kind`` is info, partial or failed."""
    return html.Div(list(content), className=f"notice notice-{kind}", role=role or "note")


def empty(why: str, action: str, href: str) -> html.Div:
    """Nothing here: why, and the one thing to do."""
    return html.Div(
        [html.P(why), dcc.Link(action, href=href, className="btn btn-primary")], className="empty-state"
    )


def loading(what: str) -> html.Div:
    """Something is being fetched; names the work."""
    return html.Div([html.Span(className="spinner", **aria(hidden="true")), what], className="loading")


def failed(error: RedysError) -> html.Div:
    """What happened, and what to do."""
    return notice("failed", html.P(error.what), html.P(error.advice) if error.advice else None, role="alert")


def partial(*reasons: str) -> html.Div:
    """What is shown is not the whole, and why."""
    return notice("partial", html.Ul([html.Li(reason) for reason in reasons]))


def state_badge(state: str) -> html.Span:
    """A run's state as shape and word."""
    shape, word = STATE_WORDS[state]
    return html.Span([html.Span(shape, **aria(hidden="true")), f" {word}"], className=f"state state-{state}")


def say_seconds(seconds: float | None) -> str:
    """A duration left in words that do not pretend to be exact; empty if not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return "less than a minute left"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min left"
    return f"about {minutes / 60:.1f} h left"


def say_duration(seconds: float) -> str:
    """How long something took: "4.2 s", "2 min 5 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
