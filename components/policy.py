"""What each role may do, and what each route, page and callback asks for: the one place that says so.

What is not named here is refused to everybody who has to sign in. Without sign-in (loopback) there are no
roles, and `components.security` alone decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import dash
import flask
import flask_login
from dash import dcc, html

from components import callbacks, routes
from components.states import failed, notice
from pipeline.errors import RedysError
from records import get_records
from records.rows import Role
from settings import get_settings

Permission = Literal["self", "see", "export", "research", "work", "administer"]
"""self: one's own sign-in and the pages about the program. see: recordings and their reports. export: take
numbers away. research: see numbers under codes, and take them away (`records.research`). work: add, correct,
score, start and stop. administer: users, audit."""

GRANTS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        "administrator": frozenset({"self", "administer"}),
        "clinician": frozenset({"self", "see", "export", "work"}),
        "researcher": frozenset({"self", "research"}),
        "viewer": frozenset({"self", "see"}),
    }
)
"""An administrator keeps the house and sees no patient; who needs both has two names. A researcher sees
nobody's pseudonym, date or video: none of the clinic's pages and files, but pages of their own."""

PUBLIC: Final = frozenset({"sign_in", "health", "vendor", "words"})
"""Endpoints that are answered without sign-in on any address."""

LINK: Final = frozenset({"shared", "shared_open", "shared_view", "shared_data", "shared_close"})
"""Endpoints for who has a link: they ask nobody to sign in, and ask anew at each request whether the link
still stands (`components.shared_view`)."""

OWN_CODE: Final = ("/assets/css/", "/assets/modules/", "/assets/00_bridge.js")
"""Addresses of the program's own style sheets and browser modules: they hold nothing of anybody's."""

ENDPOINTS: Final[Mapping[str, Permission]] = MappingProxyType(
    {
        "/": "self",  # the shell; what stands in it are pages and callbacks
        "/<path:path>": "self",
        "/_dash-component-suites/<string:package_name>/<path:fingerprinted_path>": "self",
        "/_dash-dependencies": "self",
        "/_dash-layout": "self",
        "/_dash-update-component": "self",  # each callback by its own, below
        "/_favicon.ico": "self",
        "/_reload-hash": "self",
        "_dash_assets.static": "self",
        "static": "self",
        "sign_out": "self",
        "metrics": "administer",  # and whoever `components.security` lets read them without signing in
        "media": "see",
        "report_pdf": "export",
        "marks_file": "export",
        "export": "export",
        "photo_file": "export",
        "rig_file": "export",
        "research_data": "research",
        "research_export": "research",
        "research_numbers": "research",
        "look_folder": "work",
        "look_upload": "work",
        "upload_draft": "work",
        "upload_files": "work",
        "upload_file": "work",
    }
)

PAGES: Final[Mapping[str, Permission]] = MappingProxyType(
    {
        "pages.worklist": "see",
        "pages.about": "self",
        "pages.clocks": "work",
        "pages.compare": "see",
        "pages.mark": "work",
        "pages.new": "work",
        "pages.not_found_404": "self",
        "pages.photo_set": "see",
        "pages.photos": "see",
        "pages.print": "see",
        "pages.recording": "see",
        "pages.rig": "see",
        "pages.rigs": "see",
        "pages.subject": "see",
        "pages.research": "research",
        "pages.research_recording": "research",
        "pages.research_compare": "research",
        "pages.research_person": "research",
        "pages.links": "work",
        "pages.account": "self",
        "pages.admin": "administer",
        "pages.trash": "work",
    }
)

CALLBACKS: Final[Mapping[str, Permission]] = MappingProxyType(
    {
        "dash.dash": "self",  # shows a page, which asks for itself
        "components.jobs:run_job": "work",
        "components.jobs:update_tray": "self",
        "components.jobs:update_panel": "see",
        "components.jobs:cancel": "work",
        "components.jobs:retry": "work",
        "components.jobs:start": "work",
        "components.alignment:show_events": "see",
        "components.curves:show_finger": "see",
        "components.difference:show_difference": "see",
        "components.graphs:show_late_graph": "see",
        "components.rigs:keep_rig": "work",
        "components.marks": "work",
        "components.corrections": "work",
        "components.scores:add_score": "work",
        "components.scores:change_score": "work",
        "components.scores:show_scale": "see",
        "components.trend:show_finger": "see",
        "components.shares": "work",
        "components.retention": "work",
        "pages.account": "self",
        "pages.admin": "administer",
        "pages.trash": "work",
        "pages.photos": "work",
        "pages.rig:rename": "work",
        "pages.rig:retire": "work",
        "pages.rigs:add_rig": "work",
        "pages.worklist:find": "see",
        "pages.research:find": "research",
        "pages.new": "work",
        "pages.clocks:use": "work",
    }
)
"""By "module:function", or a module for all of its callbacks."""

PASSIVE_ENDPOINTS: Final = frozenset(
    {
        "/_dash-component-suites/<string:package_name>/<path:fingerprinted_path>",
        "/_dash-dependencies",
        "/_favicon.ico",
        "/_reload-hash",
        "_dash_assets.static",
        "static",
        "metrics",
    }
)
"""What browsers and programs ask for by themselves: a sign-in does not last longer for it."""

PASSIVE_CALLBACKS: Final = frozenset(
    {
        "components.jobs:run_job",
        "components.jobs:update_tray",
        "components.jobs:update_panel",
        "components.shares:look",
    }
)
"""Those that a clock of the page asks for."""

ACTIVE_HEADER: Final = "X-ReDys-Active"
"""Said by a page (``assets/modules/watch.mjs``) whose reader touched a key or the screen since it last asked:
who plays and scrubs what has arrived already asks the server for nothing."""

REFUSED: Final = "Your sign-in does not allow this."
ASK: Final = "Ask an administrator, if you need it."

PASSWORD_FIRST: Final = "Somebody else gave you this password. Change it first; nothing else opens before."
FACTOR_FIRST: Final = "Administrators sign in with a code as well as a password. Set that up first."

_GUARDED: Final = "redys_guarded"
_OBJECTS: Final = ("recording_id", "recording_a", "recording_b", "subject_id", "rig_id")
"""Parts of addresses that name what is looked at."""


def current_role() -> Role | None:
    """The role of who asks; None where there is no sign-in."""
    if not flask.has_request_context() or flask.current_app.extensions.get("redys_local", False):
        return None
    user = flask_login.current_user
    return user.user.role if user.is_authenticated else "viewer"


def may(permission: Permission) -> bool:
    """Whether who asks may; for what a page offers. What they ask for all the same is refused elsewhere."""
    return allows(current_role(), permission) and _what_is_first(permission) is None


def allows(role: Role | None, permission: Permission | None) -> bool:
    """Whether a role may; without sign-in (None) there are no roles. What nobody classified is refused."""
    if role is None:
        return True
    return permission is not None and permission in GRANTS[role]


def home() -> str:
    """The page that who asks begins with: not everybody may see the clinic's recordings."""
    if may("see"):
        return routes.WORKLIST
    if may("research"):
        return routes.RESEARCH
    return routes.ADMIN if may("administer") else routes.ACCOUNT


def lacks_second_factor() -> bool:
    """Whether who asks is an administrator who has to set up a second factor before anything else."""
    if current_role() != "administrator" or get_settings().second_factor == "optional":
        return False
    return not flask_login.current_user.user.has_totp


def has_given_password() -> bool:
    """Whether who asks signed in with a password that somebody gave them, which has to be changed first."""
    user = flask_login.current_user
    if current_role() is None or not user or not user.is_authenticated:
        return False
    return user.user.password_ends is not None


def _what_is_first(permission: Permission | None) -> str | None:
    """What who asks has to do before this; None where there is nothing."""
    if permission != "self" and has_given_password():
        return PASSWORD_FIRST
    return FACTOR_FIRST if permission == "administer" and lacks_second_factor() else None


def asks_nobody() -> bool:
    """Whether the request in hand is answered whoever asks: public, by a link, or our own code."""
    request = flask.request
    if request.endpoint in PUBLIC | LINK:
        return True
    return request.path.startswith(OWN_CODE) and request.method in ("GET", "HEAD", "OPTIONS")


def may_request(app: dash.Dash) -> bool:
    """Whether who asks may have the request in hand answered."""
    permission = request_permission(app)
    return permission is not None and may(permission) if current_role() else True


def callback_permission(function: Callable[..., Any] | None) -> Permission | None:
    """What a callback asks for; None if nobody said."""
    if function is None:
        return None
    return CALLBACKS.get(_name(function), CALLBACKS.get(function.__module__))


def request_permission(app: dash.Dash) -> Permission | None:
    """What the request in hand asks for; None if nobody said."""
    endpoint = flask.request.endpoint
    if endpoint is None:
        return "self"  # there is no such route: the answer says so
    if endpoint != callbacks.UPDATE:
        return ENDPOINTS.get(endpoint)
    return callback_permission(_asked_callback(app))


def is_deed(app: dash.Dash) -> bool:
    """Whether a person's doing is behind the request in hand; else a clock's or a browser's own."""
    if flask.request.headers.get(ACTIVE_HEADER) == "1":
        return True
    if flask.request.endpoint != callbacks.UPDATE:
        return flask.request.endpoint not in PASSIVE_ENDPOINTS
    function = _asked_callback(app)
    return function is not None and _name(function) not in PASSIVE_CALLBACKS


def _asked_callback(app: dash.Dash) -> Callable[..., Any] | None:
    asked = flask.request.get_json(silent=True)
    output = asked.get("output") if isinstance(asked, dict) else None
    entry = app.callback_map.get(output) if isinstance(output, str) else None
    return entry.get("callback") if entry else None


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__.rpartition('.')[2]}"


def guard_pages(current_actor: Callable[[], str]) -> None:
    """Let every page ask before it is drawn, and write down who looked at what."""
    for module, page in dash.page_registry.items():
        layout = page["layout"]
        if not hasattr(layout, _GUARDED):
            page["layout"] = _guard(module, layout, current_actor)


def _guard(module: str, layout: Callable[..., Any], current_actor: Callable[[], str]) -> Callable[..., Any]:
    def shown(**values: Any) -> Any:
        about = " ".join(str(values[name]) for name in _OBJECTS if values.get(name))
        action = f"view.{module.rpartition('.')[2]}"
        permission = PAGES.get(module)
        if (first := _what_is_first(permission)) is not None:
            link = dcc.Link("Go there", href=routes.ACCOUNT)
            return [html.H1("Not yet"), notice("partial", html.P(first), html.P(link))]
        if not allows(current_role(), permission):
            get_records().audit.note_refusal(current_actor(), action, about[:200])
            return [html.H1("Not allowed"), failed(RedysError(REFUSED, ASK))]
        if about:
            get_records().note(current_actor(), action, about[:200])
        return layout(**values)

    setattr(shown, _GUARDED, True)
    return shown
