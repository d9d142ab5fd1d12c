"""Who may ask for what: loopback without sign-in, everything else with; one gate before every route.

On loopback only this machine's browser is answered: the caller's address, the name it calls us by and the
absence of a proxy are all checked, since a page of another site can reach 127.0.0.1 under its own name
(DNS rebinding) and a proxy or a server bound elsewhere would open the door to everybody.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from urllib.parse import SplitResult, urlsplit

import dash
import flask
import flask_login
from gunicorn.http.errors import ParseException
from itsdangerous import BadSignature, Signer
from sqlalchemy.exc import SQLAlchemyError

from components import callbacks, policy, routes
from components.cookies import is_secure, name_cookie
from components.language import (
    LANGUAGE_COOKIE,
    YEAR_S,
    current_language,
    list_languages,
    translate,
    translate_page,
)
from pipeline.errors import RedysError
from records import Records, UserRow
from records.addresses import cut_address, is_loopback
from records.keys import read_secret_key
from records.sign_ins import HOURS
from records.users import ASK_FOR_ANOTHER, PASSWORD_ENDED, Backoff
from settings import Settings

log = logging.getLogger(__name__)

SESSION_COOKIE = "redys_session"
CSRF_COOKIE = "_csrf_token"
CSRF_HEADER = "X-CSRFToken"
ENDED_HEADER = "X-ReDys-Ended"
"""Tells a page why its reader is signed out: it goes to the sign-in (``assets/modules/watch.mjs``)."""

_KEY = "sign_in"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def protect(app: dash.Dash, records: Records, settings: Settings) -> None:
    """Put the gate before every route of the server and the headers behind it.

    Raises
    ------
    RedysError
        The address is not loopback and nobody may sign in.
    """
    server = app.server
    local = is_loopback(settings.host)
    if not local and records.users.count() == 0:
        raise RedysError(
            f"{settings.host} can be reached from other machines, and nobody may sign in yet.",
            "Add somebody with `python -m records add-user NAME`, or serve on 127.0.0.1.",
        )
    server.secret_key = read_secret_key(settings)
    records.second_factor.seal_all()
    server.config.update(
        SESSION_COOKIE_NAME=name_cookie(SESSION_COOKIE, local),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=not local,
        MAX_CONTENT_LENGTH=4 * 2**20,
    )
    server.extensions["redys_local"] = local
    server.json = callbacks.StrictJSON(server)
    server.register_error_handler(ParseException, _refuse_torn)
    policy.guard_pages(current_actor)
    signer = Signer(server.secret_key, salt="csrf")
    _add_sign_in(server, records, signer)
    hashes = _hash_of(IMPORT_MAP)

    @server.before_request
    def gate() -> flask.typing.ResponseReturnValue | None:
        if not local and flask.request.endpoint == "metrics" and _is_scraper(settings):
            return None
        refused = (
            (_refuse_strangers(settings) if local else _refuse_unknown())
            or _refuse_foreign_posts(signer)
            or (None if local else _refuse_role(app, records))
            or _refuse_misshapen(app)
        )
        if refused is None and not local:
            _note_deed(app, records)
        return refused

    @server.after_request
    def seal(response: flask.Response) -> flask.Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", _policy(app, hashes, response))
        if not local:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        if flask.request.endpoint == "words":  # the program's own; asked for anew, sent only when changed
            response.headers["Cache-Control"] = "public, no-cache"
        elif response.mimetype in ("text/html", "application/json"):
            response.headers["Cache-Control"] = "no-store"
        _give_csrf_token(response, signer)
        if not local and flask.request.method == "PATCH":
            _note_deed(app, records)  # a piece of an upload may have been on its way for long
        return response


# --- the gate ------------------------------------------------------------------------------------


def _refuse_strangers(settings: Settings) -> flask.typing.ResponseReturnValue | None:
    """Without sign-in: only a browser on this machine, calling us by a name of this machine."""
    if is_direct(settings.host):
        return None
    return _refuse(403, "This server answers only the machine it runs on. Open it as http://127.0.0.1.")


def is_direct(host: str = "") -> bool:
    """Whether a program on this machine asks, without a proxy between, by a name of this machine."""
    called = _split(f"//{flask.request.host}")
    name = (called.hostname or "") if called else ""
    forwarded = "X-Forwarded-For" in flask.request.headers or "Forwarded" in flask.request.headers
    caller = flask.request.remote_addr or ""
    return (is_loopback(name) or (name == host and bool(host))) and is_loopback(caller) and not forwarded


def _is_scraper(settings: Settings) -> bool:
    """Who reads the figures without signing in: this machine, or who has the token."""
    if is_direct():
        return True
    if settings.metrics_token is None:
        return False
    wanted = f"Bearer {settings.metrics_token.get_secret_value()}"
    return secrets.compare_digest(flask.request.headers.get("Authorization", "").encode(), wanted.encode())


def _refuse_unknown() -> flask.typing.ResponseReturnValue | None:
    """With sign-in: only those who did, but for the few public routes."""
    request = flask.request
    if policy.asks_nobody() or flask_login.current_user.is_authenticated:
        return None
    ended = flask.g.get("sign_in_ended")
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return flask.redirect(flask.url_for("sign_in", next=request.full_path.rstrip("?"), ended=ended))
    refused = _refuse(401, "Sign in first.")
    if ended:
        refused.headers[ENDED_HEADER] = ended
    return refused


def _note_deed(app: dash.Dash, records: Records) -> None:
    """Let the sign-in last, if a person is behind the request."""
    sign_in = flask.g.get("sign_in")
    if sign_in is None or not policy.is_deed(app):
        return
    try:
        records.sign_ins.note(sign_in)
    except SQLAlchemyError:  # a full disk must not keep anybody from reading; they sign in again sooner
        log.exception("It could not be noted that somebody is at work")


def _refuse_foreign_posts(signer: Signer) -> flask.typing.ResponseReturnValue | None:
    """Whatever changes something must come from a page of ours: same origin, and our token said twice."""
    request = flask.request
    if request.method in _SAFE_METHODS:
        return None
    if not _is_same_origin(request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")):
        return _refuse(403, "The request comes from another site.")
    cookie = _csrf_cookie()
    said = request.headers.get(CSRF_HEADER) or _said_in_form()
    same = secrets.compare_digest(cookie.encode(), said.encode())
    if not cookie or not same or not _is_signed(cookie, signer):
        return _refuse(403, "The page is out of date. Reload it and try again.")
    return None


def _refuse_role(app: dash.Dash, records: Records) -> flask.typing.ResponseReturnValue | None:
    """What the role of who signed in does not allow, and what nobody classified."""
    request = flask.request
    if policy.asks_nobody() or policy.may_request(app):
        return None
    records.audit.note_refusal(current_actor(), f"request.{request.endpoint}")
    return _refuse(403, f"{policy.REFUSED} {policy.ASK}")


def _refuse_misshapen(app: dash.Dash) -> flask.typing.ResponseReturnValue | None:
    """What asks for a callback in a way that no page of ours does; the log says what was wrong with it."""
    if flask.request.endpoint != callbacks.UPDATE or flask.request.method != "POST":
        return None
    try:
        callbacks.check_request(app.callback_map)
    except callbacks.WrongShape as wrong:
        log.warning("A callback was refused: %s", wrong)
        return _refuse(400, "The request is not one that this page sends. Reload the page and try again.")
    return None


def _refuse_torn(_error: ParseException) -> flask.Response:
    """A body that is not what its head says; found only when it is read."""
    return _refuse(400, "The request did not arrive whole.")


def _is_same_origin(origin: str | None, fetch_site: str | None) -> bool:
    """Whether the browser says that a page of ours sent this; what is no browser says nothing.

    Under our own Referrer-Policy a plain form is sent with the origin "null", so for it the other header
    has to vouch.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return False
    if origin == "null":
        return fetch_site == "same-origin"
    if origin is None:
        return True
    said = _split(origin)
    return said is not None and said.netloc == flask.request.host


def _split(address: str) -> SplitResult | None:
    """The parts of an address; None where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _said_in_form() -> str:
    if flask.request.mimetype != "application/x-www-form-urlencoded":
        return ""
    return str(flask.request.form.get("csrf_token", ""))


def _refuse(status: int, words: str) -> flask.Response:
    return flask.Response(words + "\n", status, mimetype="text/plain")


def _is_signed(token: str, signer: Signer) -> bool:
    try:
        signer.unsign(token)
    except BadSignature:
        return False
    return True


def _give_csrf_token(response: flask.Response, signer: Signer) -> None:
    """Dash reads the token from this cookie and says it in a header, so scripts must see it."""
    if response.mimetype != "text/html" or response.status_code >= 400:
        return
    if _is_signed(_csrf_cookie(), signer):
        return
    token = flask.g.get("csrf_token") or _new_token(signer)
    response.set_cookie(
        name_cookie(CSRF_COOKIE), token, samesite="Strict", secure=is_secure(), httponly=False, path="/"
    )


def _csrf_cookie() -> str:
    return flask.request.cookies.get(name_cookie(CSRF_COOKIE), "")


def _new_token(signer: Signer) -> str:
    return signer.sign(secrets.token_urlsafe(24)).decode()


# --- content security policy ---------------------------------------------------------------------

IMPORT_MAP = (
    '{"imports": {"three": "' + routes.vendor_url("three/build/three.module.js") + '", '
    '"three/addons/": "' + routes.vendor_url("three/examples/jsm/") + '"}}'
)
"""Where browser modules find three.js by its name: its own add-ons import it so."""


def _policy(app: dash.Dash, hashes: str, response: flask.Response) -> str:
    """The policy of a page. Hashes are asked for now: Dash knows its inline scripts only after set-up."""
    if response.mimetype != "text/html":
        return "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    scripts = " ".join(["'self'", hashes, *dict.fromkeys(app.csp_hashes())])
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",  # React writes style attributes
            "img-src 'self' data: blob:",  # Plotly draws heat maps as data: pictures
            "media-src 'self' blob:",
            "worker-src 'self' blob:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def _hash_of(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# --- signing in ----------------------------------------------------------------------------------


class _SignedIn(flask_login.UserMixin):
    """Flask-Login's view of a user; the id carries the epoch, so that raising it ends the session."""

    def __init__(self, user: UserRow) -> None:
        self.user = user

    def get_id(self) -> str:
        return f"{self.user.id}:{self.user.epoch}"


def current_actor() -> str:
    """Who asks, for the audit: a user's id, or "local" where there is no sign-in."""
    if not flask.has_request_context() or flask.current_app.extensions.get("redys_local", False):
        return "local"
    user = flask_login.current_user
    return user.user.id if user.is_authenticated else "nobody"


def current_name() -> str | None:
    """The name of who is signed in; None where nobody has to."""
    if not flask.has_request_context() or flask.current_app.extensions.get("redys_local", False):
        return None
    user = flask_login.current_user
    return user.user.name if user.is_authenticated else None


def csrf_token() -> str:
    """The token for a plain form of this page."""
    return _csrf_cookie()


def _add_sign_in(server: flask.Flask, records: Records, signer: Signer) -> None:
    manager = flask_login.LoginManager(server)
    manager.session_protection = "strong"
    backoff = Backoff()

    @manager.user_loader
    def load(identity: str) -> _SignedIn | None:
        found = records.sign_ins.find(flask.session.get(_KEY, ""))
        if found is None or found.user.disabled or f"{found.user.id}:{found.user.epoch}" != identity:
            return None
        if found.state != "open":
            flask.g.sign_in_ended = found.state
            return None
        flask.g.sign_in = found
        return _SignedIn(found.user)

    @server.route(routes.SIGN_IN, methods=["GET", "POST"])
    def sign_in() -> flask.typing.ResponseReturnValue:
        if flask.request.method == "GET":
            language = flask.request.args.get("language", "")
            said = _say_ended(flask.request.args.get("ended", ""), records.sign_ins.idle_minutes)
            return _choose_language(language) if language else _sign_in_page(signer, said, kind="info")
        name = flask.request.form.get("name", "")[:200]
        caller = flask.request.remote_addr or ""
        wait_s = backoff.wait_s(name, caller)
        if wait_s > 0:
            page = _sign_in_page(signer, f"Too many tries. Wait {wait_s:.0f} s and try again.", 429)
            page.headers["Retry-After"] = str(int(wait_s) + 1)
            return page
        user = records.users.verify(name, flask.request.form.get("password", ""))
        # Asked for together: who has one of them right is not told so.
        if user is not None and not records.second_factor.check(user.id, flask.request.form.get("code", "")):
            user = None
        if user is None:
            backoff.failed(name, caller)
            records.audit.note_refusal("nobody", "sign-in", source=cut_address(caller))
            return _sign_in_page(signer, "The name, the password or the code is not right.", 403)
        backoff.succeeded(name, caller)
        if user.has_ended_password:
            records.audit.note_refusal(user.id, "sign-in", source=cut_address(caller))
            return _sign_in_page(signer, PASSWORD_ENDED, 403, advice=ASK_FOR_ANOTHER)
        _end_sign_in(records)
        flask_login.login_user(_SignedIn(user))
        flask.session[_KEY] = records.sign_ins.begin(user.id)
        records.note(user.id, "sign-in")
        if user.password_ends is not None:
            return flask.redirect(routes.ACCOUNT)
        return flask.redirect(_safe_target(flask.request.args.get("next", "")))

    @server.route(routes.SIGN_OUT, methods=["POST"])
    def sign_out() -> flask.typing.ResponseReturnValue:
        records.note(current_actor(), "sign-out")
        flask_login.logout_user()
        _end_sign_in(records)
        return flask.redirect(routes.SIGN_IN)


def _end_sign_in(records: Records) -> None:
    """End the sign-in of this browser, if it has one, for whoever has a copy of its cookie."""
    if key := flask.session.get(_KEY):
        records.sign_ins.end(key)
    flask.session.clear()


def _say_ended(state: str, idle_minutes: int) -> str:
    """Why somebody is asked to sign in again; nothing where they were not signed in."""
    if state == "idle":
        return (
            f"You were signed out after {idle_minutes} minutes in which nothing was done. "
            "Sign in, and you are back where you were."
        )
    if state == "over":
        return f"A sign-in lasts {HOURS} hours at most. Sign in, and you are back where you were."
    return ""


def _safe_target(target: str) -> str:
    """A path of this site, or the worklist: a link must not lead a fresh sign-in elsewhere."""
    parts = _split(target.replace("\\", "/"))
    own = target.startswith("/") and not target.startswith(("//", "/\\"))
    safe = own and parts is not None and not parts.scheme and not parts.netloc and target != routes.WORKLIST
    return target if safe else policy.home()


def _sign_in_page(
    signer: Signer, message: str = "", status: int = 200, advice: str = "", kind: str = "failed"
) -> flask.Response:
    token = _csrf_cookie()
    if not _is_signed(token, signer):
        token = _new_token(signer)
        flask.g.csrf_token = token
    body = flask.render_template_string(
        _SIGN_IN_HTML,
        t=translate,
        message=f"{translate(message)} {translate(advice)}".strip(),
        kind=kind,
        ended=flask.request.args.get("ended", ""),
        languages=[] if len(list_languages()) == 1 else list_languages().items(),
        language=current_language(),
        target=flask.request.args.get("next", ""),
        token=token,
        name=flask.request.form.get("name", ""),
        bootstrap=routes.vendor_url("bootstrap.min.css"),
    )
    return flask.Response(translate_page(body), status, mimetype="text/html")


def _choose_language(language: str) -> flask.typing.ResponseReturnValue:
    """Keep the language asked for, and show the page anew in it."""
    target, ended = (flask.request.args.get(name) or None for name in ("next", "ended"))
    shown = flask.redirect(flask.url_for("sign_in", next=target, ended=ended))
    if language in list_languages():
        name = name_cookie(LANGUAGE_COOKIE)
        shown.set_cookie(name, language, max_age=YEAR_S, samesite="Lax", secure=is_secure(), path="/")
    return shown


_SIGN_IN_HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ t("Sign in - ReDys") }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="{{ bootstrap }}">
<link rel="stylesheet" href="/assets/css/theme.css"><link rel="stylesheet" href="/assets/css/app.css"></head>
<body><main class="sign-in"><h1>ReDys</h1>
<p>{{ t("Measures hand movement from video.") }}</p>
{% if message %}<p class="notice notice-{{ kind }}" role="alert">{{ message }}</p>{% endif %}
<form method="post">
<input type="hidden" name="csrf_token" value="{{ token }}">
<label class="form-label" for="name">{{ t("Name") }}</label>
<input class="form-control" id="name" name="name" value="{{ name }}"
 autocomplete="username" required autofocus>
<label class="form-label" for="password">{{ t("Password") }}</label>
<input class="form-control" id="password" name="password" type="password"
 autocomplete="current-password" required>
<label class="form-label" for="code">{{ t("Code, if you set one up") }}</label>
<input class="form-control" id="code" name="code" autocomplete="one-time-code" maxlength="40">
<button class="btn btn-primary" type="submit">{{ t("Sign in") }}</button>
</form>
{% if languages %}<nav class="languages" aria-label="{{ t("Language") }}">
{% for code, word in languages %}<a lang="{{ code }}" hreflang="{{ code }}"
 {%- if code == language %} aria-current="true"{% endif %}
 href="?{{ {"language": code, "next": target, "ended": ended} | urlencode }}">{{ word }}</a>
{% endfor %}</nav>{% endif %}
</main></body></html>"""
