"""Who may ask for what: loopback without sign-in, everything else with; one gate before every route.

On loopback only this machine's browser is answered: the caller's address, the name it calls us by and the
absence of a proxy are all checked, since a page of another site can reach 127.0.0.1 under its own name
(DNS rebinding) and a proxy or a server bound elsewhere would open the door to everybody.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

import dash
import flask
import flask_login
from itsdangerous import BadSignature, Signer

from components import policy, routes
from components.language import (
    LANGUAGE_COOKIE,
    YEAR_S,
    current_language,
    list_languages,
    translate,
    translate_page,
)
from pipeline.errors import RedysError
from pipeline.files import write_bytes
from records import Records, UserRow
from records.addresses import is_loopback
from records.users import Backoff
from settings import Settings

CSRF_COOKIE = "_csrf_token"
CSRF_HEADER = "X-CSRFToken"
SESSION_HOURS = 12
"""A sign-in lasts a working day; the person signs in again after it."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def read_secret_key(settings: Settings) -> str:
    """The key that signs cookies and job handles: the one given, or one made once in the data folder.

    Raises
    ------
    pipeline.errors.RunFolderError
        The data folder cannot be written.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / "secret_key"
    if not path.is_file():
        _make_secret_key(path)
    return path.read_text(encoding="ascii").strip()


def _make_secret_key(path: Path) -> None:
    made = path.with_name(f".secret_key-{secrets.token_hex(8)}")
    write_bytes(made, secrets.token_urlsafe(48).encode())
    made.chmod(0o600)
    try:
        with contextlib.suppress(FileExistsError):  # another process was first; its key holds
            os.link(made, path)
    finally:
        made.unlink()


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
    server.config.update(
        SESSION_COOKIE_NAME="redys_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=not local,
        MAX_CONTENT_LENGTH=4 * 2**20,
    )
    server.extensions["redys_local"] = local
    policy.guard_pages(current_actor)
    signer = Signer(server.secret_key, salt="csrf")
    _add_sign_in(server, records, signer)
    hashes = _hash_of(IMPORT_MAP)

    @server.before_request
    def gate() -> flask.typing.ResponseReturnValue | None:
        if not local and flask.request.endpoint == "metrics" and _is_scraper(settings):
            return None
        return (
            (_refuse_strangers(settings) if local else _refuse_unknown())
            or _refuse_foreign_posts(signer)
            or (None if local else _refuse_role(app, records))
        )

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
        _give_csrf_token(response, signer, secure=not local)
        return response


# --- the gate ------------------------------------------------------------------------------------


def _refuse_strangers(settings: Settings) -> flask.typing.ResponseReturnValue | None:
    """Without sign-in: only a browser on this machine, calling us by a name of this machine."""
    if is_direct(settings.host):
        return None
    return _refuse(403, "This server answers only the machine it runs on. Open it as http://127.0.0.1.")


def is_direct(host: str = "") -> bool:
    """Whether a program on this machine asks, without a proxy between, by a name of this machine."""
    name = urlsplit(f"//{flask.request.host}").hostname or ""
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
    if request.endpoint in policy.PUBLIC | policy.LINK:
        return None
    if request.path.startswith(policy.OWN_CODE) and request.method in _SAFE_METHODS:
        return None
    since = flask.session.get("signed_in", 0.0)
    fresh = 0 <= time.time() - since <= SESSION_HOURS * 3600
    if flask_login.current_user.is_authenticated and fresh:
        return None
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return flask.redirect(flask.url_for("sign_in", next=request.full_path.rstrip("?")))
    return _refuse(401, "Sign in first.")


def _refuse_foreign_posts(signer: Signer) -> flask.typing.ResponseReturnValue | None:
    """Whatever changes something must come from a page of ours: same origin, and our token said twice."""
    request = flask.request
    if request.method in _SAFE_METHODS:
        return None
    if not _is_same_origin(request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")):
        return _refuse(403, "The request comes from another site.")
    cookie = request.cookies.get(CSRF_COOKIE, "")
    said = request.headers.get(CSRF_HEADER) or _said_in_form()
    same = secrets.compare_digest(cookie.encode(), said.encode())
    if not cookie or not same or not _is_signed(cookie, signer):
        return _refuse(403, "The page is out of date. Reload it and try again.")
    return None


def _refuse_role(app: dash.Dash, records: Records) -> flask.typing.ResponseReturnValue | None:
    """What the role of who signed in does not allow, and what nobody classified."""
    request = flask.request
    if request.endpoint in policy.PUBLIC | policy.LINK or policy.may_request(app):
        return None
    records.note(current_actor(), f"request.{request.endpoint}", result="refused")
    return _refuse(403, f"{policy.REFUSED} {policy.ASK}")


def _is_same_origin(origin: str | None, fetch_site: str | None) -> bool:
    """Whether the browser says that a page of ours sent this; what is no browser says nothing.

    Under our own Referrer-Policy a plain form is sent with the origin "null", so for it the other header
    has to vouch.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return False
    if origin == "null":
        return fetch_site == "same-origin"
    return origin is None or urlsplit(origin).netloc == flask.request.host


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


def _give_csrf_token(response: flask.Response, signer: Signer, secure: bool) -> None:
    """Dash reads the token from this cookie and says it in a header, so scripts must see it."""
    if response.mimetype != "text/html" or response.status_code >= 400:
        return
    if _is_signed(flask.request.cookies.get(CSRF_COOKIE, ""), signer):
        return
    token = flask.g.get("csrf_token") or _new_token(signer)
    response.set_cookie(CSRF_COOKIE, token, samesite="Strict", secure=secure, httponly=False, path="/")


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
    token: str = flask.request.cookies.get(CSRF_COOKIE, "")
    return token


def _add_sign_in(server: flask.Flask, records: Records, signer: Signer) -> None:
    manager = flask_login.LoginManager(server)
    manager.session_protection = "strong"
    backoff = Backoff()

    @manager.user_loader
    def load(identity: str) -> _SignedIn | None:
        user_id, _, epoch = identity.partition(":")
        user = records.users.get(user_id)
        ok = user is not None and not user.disabled and str(user.epoch) == epoch
        return _SignedIn(user) if ok and user is not None else None

    @server.route(routes.SIGN_IN, methods=["GET", "POST"])
    def sign_in() -> flask.typing.ResponseReturnValue:
        if flask.request.method == "GET":
            language = flask.request.args.get("language", "")
            return _choose_language(language) if language else _sign_in_page(signer)
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
            records.note("nobody", "sign-in", result="refused")
            return _sign_in_page(signer, "The name, the password or the code is not right.", 403)
        backoff.succeeded(name, caller)
        flask.session.clear()
        flask_login.login_user(_SignedIn(user))
        flask.session["signed_in"] = time.time()
        records.note(user.id, "sign-in")
        return flask.redirect(_safe_target(flask.request.args.get("next", "")))

    @server.route(routes.SIGN_OUT, methods=["POST"])
    def sign_out() -> flask.typing.ResponseReturnValue:
        records.note(current_actor(), "sign-out")
        flask_login.logout_user()
        flask.session.clear()
        return flask.redirect(routes.SIGN_IN)


def _safe_target(target: str) -> str:
    """A path of this site, or the worklist: a link must not lead a fresh sign-in elsewhere."""
    parts = urlsplit(target.replace("\\", "/"))
    own = target.startswith("/") and not target.startswith(("//", "/\\"))
    safe = own and not parts.scheme and not parts.netloc and target != routes.WORKLIST
    return target if safe else policy.home()


def _sign_in_page(signer: Signer, message: str = "", status: int = 200) -> flask.Response:
    token = flask.request.cookies.get(CSRF_COOKIE, "")
    if not _is_signed(token, signer):
        token = _new_token(signer)
        flask.g.csrf_token = token
    body = flask.render_template_string(
        _SIGN_IN_HTML,
        t=translate,
        message=translate(message),
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
    shown = flask.redirect(flask.url_for("sign_in", next=flask.request.args.get("next") or None))
    if language in list_languages():
        shown.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_S, samesite="Lax", path="/")
    return shown


_SIGN_IN_HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ t("Sign in - ReDys") }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="{{ bootstrap }}">
<link rel="stylesheet" href="/assets/css/theme.css"><link rel="stylesheet" href="/assets/css/app.css"></head>
<body><main class="sign-in"><h1>ReDys</h1>
<p>{{ t("Measures hand movement from video.") }}</p>
{% if message %}<p class="notice notice-failed" role="alert">{{ message }}</p>{% endif %}
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
 href="?{{ {"language": code, "next": target} | urlencode }}">{{ word }}</a>
{% endfor %}</nav>{% endif %}
</main></body></html>"""
