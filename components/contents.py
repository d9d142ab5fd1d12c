"""What a long page has, in a bar that stays at its top: a link to each panel, the one in view marked."""

from __future__ import annotations

import re
from typing import Any

from dash import html

from components.attributes import aria, data


def contents(panels: list[Any]) -> html.Nav:
    """Links to the panels (`components.status.panel`) among ``panels``; each gets its anchor here."""
    links = []
    for each in panels:
        title = _title(each)
        if title is None:
            continue
        each.id = "section-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        links.append(html.Li(html.A(title, href=f"#{each.id}")))
    marks = aria(label="On this page") | data(module="contents")
    return html.Nav(html.Ul(links), className="contents", **marks)


def _title(part: Any) -> str | None:
    """The heading of a panel; None of anything else."""
    if not isinstance(part, html.Section) or getattr(part, "className", "") != "panel":
        return None
    return str(part.children[0].children[0].children)
