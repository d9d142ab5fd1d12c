"""What every page stands in: header, tray of work going on, announcements, the page itself, the foot."""

from __future__ import annotations

from typing import Any, Final

import dash
import dash_bootstrap_components as dbc
from dash import dcc, html

from components import ids, jobs, policy, routes, security
from components.attributes import NOT_TRANSLATED, aria, as_written, data
from components.catalogue import list_languages
from components.language import current_language, current_theme
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
            html.Div([], id=ids.TOASTS, className="toasts"),
            html.Div(id=ids.LIVE_REGION, className="visually-hidden", **aria(live="polite")),
            _foot(),
        ],
        className="shell",
    )


LINKS: Final[tuple[tuple[str, str, policy.Permission], ...]] = (
    ("Recordings", routes.WORKLIST, "see"),
    ("New recording", routes.NEW, "work"),
    ("Photos", routes.PHOTOS, "see"),
    ("Rigs", routes.RIGS, "see"),
    ("Research", routes.RESEARCH, "research"),
    ("Administration", routes.ADMIN, "administer"),
    ("About", routes.ABOUT, "self"),
)
"""The header's pages, each for those who may open it."""


def _header() -> html.Header:
    links = [(word, address) for word, address, permission in LINKS if policy.may(permission)]
    parts: list[Any] = [
        dcc.Link("ReDys", href=policy.home(), className="brand"),
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
                    html.Span(dcc.Link(as_written(name), href=routes.ACCOUNT), className="who"),
                    html.Button("Sign out", type="submit", className="btn btn-sm btn-outline-light"),
                ],
                action=routes.SIGN_OUT,
                method="post",
                className="sign-out",
            )
        )
    parts.append(_display())
    return html.Header(parts, className="site-header")


THEMES = {"dark-video": "Dark around video", "light": "Light"}


def _display() -> html.Details:
    """Language and theme: buttons, so that nothing changes before it is asked for."""
    languages = [
        html.Button(
            name,
            type="button",
            lang=code,
            className=f"choice-button {NOT_TRANSLATED}",
            **data(language=code),
            **aria(pressed=str(code == current_language()).lower()),
        )
        for code, name in list_languages().items()
    ]
    themes = [
        html.Button(
            word,
            type="button",
            className="choice-button",
            **data(theme=theme),
            **aria(pressed=str(theme == current_theme()).lower()),
        )
        for theme, word in THEMES.items()
    ]
    return html.Details(
        [
            html.Summary("Display"),
            html.Div(
                [_choices("Language", languages), _choices("Theme", themes)],
                className="display-choices",
            ),
        ],
        className="display",
        **data(module="display"),
    )


def _choices(name: str, buttons: list[html.Button]) -> html.Div:
    return html.Div(
        [html.Span(name, className="choice-name", **aria(hidden="true")), *buttons],
        role="group",
        **aria(label=name),
    )


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
