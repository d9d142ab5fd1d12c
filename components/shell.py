"""What every page stands in: header, tray of work going on, announcements, the page itself, the foot."""

from __future__ import annotations

from typing import Any

import dash
import dash_bootstrap_components as dbc
from dash import dcc, html

from components import ids, jobs, routes, security
from components.attributes import aria
from pipeline.version import PROGRAM_VERSION

INTENDED_USE = "Research use: a measurement aid, not a diagnosis."


def index_page() -> str:
    """The HTML that Dash fills; the import map must stand before the first module."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
{{%metas%}}
<title>{{%title%}}</title>
<script type="importmap">{security.IMPORT_MAP}</script>
{{%css%}}
</head>
<body>
<a class="skip-link" href="#{ids.MAIN}">Skip to the page</a>
{{%app_entry%}}
<footer class="d-none">{{%config%}}{{%scripts%}}{{%renderer%}}</footer>
</body>
</html>"""


def layout() -> html.Div:
    """The shell; drawn anew at each load, so that it says who is signed in."""
    return html.Div(
        [
            dcc.Location(id=ids.LOCATION, refresh="callback-nav"),
            *jobs.parts(),
            _header(),
            _banner(),
            jobs.tray(),
            html.Main(dash.page_container, id=ids.MAIN, tabIndex="-1"),
            html.Div(id=ids.TOASTS, className="toasts"),
            html.Div(id=ids.LIVE_REGION, className="visually-hidden", **aria(live="polite")),
            _foot(),
        ],
        className="shell",
    )


def _header() -> html.Header:
    links = [
        ("Recordings", routes.WORKLIST),
        ("New recording", routes.NEW),
        ("Rigs", routes.RIGS),
        ("About", routes.ABOUT),
    ]
    parts: list[Any] = [
        dcc.Link("ReDys", href=routes.WORKLIST, className="brand"),
        html.Nav(
            [dbc.NavLink(word, href=address, active="exact") for word, address in links],
            **aria(label="Pages"),
        ),
    ]
    name = security.current_name()
    if name is not None:
        parts.append(
            html.Form(
                [
                    dcc.Input(type="hidden", name="csrf_token", value=security.csrf_token()),
                    html.Span(name, className="who"),
                    html.Button("Sign out", type="submit", className="btn btn-sm btn-outline-light"),
                ],
                action=routes.SIGN_OUT,
                method="post",
                className="sign-out",
            )
        )
    return html.Header(parts, className="site-header")


def _banner() -> html.Aside | None:
    """Without sign-in everybody at this computer sees everything: said, not assumed."""
    if security.current_name() is not None:
        return None
    return html.Aside(
        "No sign-in: everybody who uses this computer can see all recordings. "
        "The server answers this computer only.",
        className="banner",
        **aria(label="Who can see this"),
    )


def _foot() -> html.Footer:
    return html.Footer(
        [html.Span(INTENDED_USE), html.Span(f"ReDys {PROGRAM_VERSION}")], className="site-footer"
    )
