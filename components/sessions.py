"""Sessions of who is signed in, on Redis where there is more than one machine.

The cookie holds a random key and nothing else; what it stands for is kept under the key's hash as JSON, so
who reads Redis cannot take a session over and who writes there cannot make one (`components.sealed`). It is
read only by requests that ask who is there: everything else is answered while Redis is away.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final

import flask
import flask_login
from flask.sessions import SessionInterface, SessionMixin
from flask_login.utils import _user_context_processor
from redis.exceptions import RedisError

from components.sealed import SealedStore
from settings import Settings

log = logging.getLogger(__name__)

KEPT_S: Final = 13 * 3600
"""A little longer than a sign-in lasts (`records.sign_ins.HOURS`)."""

_PURPOSE: Final = "sessions"


def attach(server: flask.Flask, settings: Settings) -> None:
    """Keep the server's sessions on Redis where there is one; else they are in signed cookies.

    After `components.security.protect`.
    """
    _ask_nobody_twice(server)
    if settings.redis_url:
        server.session_interface = RedisSessions(SealedStore(settings, _PURPOSE))


def _ask_nobody_twice(server: flask.Flask) -> None:
    """Flask-Login asks who is there for each template and answer, for what is not used here.

    It would read session and user for pages that need neither, such as the one that says what is away.
    """
    manager: flask_login.LoginManager = server.login_manager  # type: ignore[attr-defined]
    server.after_request_funcs[None].remove(manager._update_remember_cookie)
    server.template_context_processors[None].remove(_user_context_processor)


class KeptSession(SessionMixin):
    """A session that is read when somebody first asks it something.

    Attributes
    ----------
    is_renewed : bool
        It was emptied, as signing in and out do: what comes after gets a key of its own.
    """

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        self._read = read
        self._held: dict[str, Any] | None = None
        self.modified = self.is_renewed = False

    @property
    def _values(self) -> dict[str, Any]:
        if self._held is None:
            self._held = self._read()
        return self._held

    @property
    def is_read(self) -> bool:
        """Whether anybody has asked."""
        return self._held is not None

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value
        self.modified = True

    def __delitem__(self, name: str) -> None:
        del self._values[name]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Empty it."""
        self._values.clear()
        self.modified = self.is_renewed = True


class RedisSessions(SessionInterface):
    """Flask's way to sessions."""

    def __init__(self, store: SealedStore) -> None:
        self._store = store

    def open_session(self, app: flask.Flask, request: flask.Request) -> KeptSession:
        """The session of a request; nothing is asked of Redis yet."""
        key = request.cookies.get(self.get_cookie_name(app), "")
        return KeptSession(lambda: self._fetch(key) if key else {})

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        """Keep what has changed; the answer says so where it cannot be kept."""
        assert isinstance(session, KeptSession)
        if session.is_read:
            response.vary.add("Cookie")
        if not session.modified:
            return
        try:
            self._save(app, session, response)
        except RedisError:
            log.exception("A session could not be kept")
            response.status_code = 503
            response.headers.pop("Location", None)
            response.set_data("Redis does not answer. Wait a moment and try again.\n")
            response.mimetype = "text/plain"

    def _fetch(self, key: str) -> dict[str, Any]:
        kept = self._store.read(_hash(key))
        return dict(json.loads(kept)) if kept is not None else {}

    def _save(self, app: flask.Flask, session: KeptSession, response: flask.Response) -> None:
        name = self.get_cookie_name(app)
        domain, path = self.get_cookie_domain(app), self.get_cookie_path(app)
        key = flask.request.cookies.get(name, "")
        if key and session.is_renewed:
            self._store.remove(_hash(key))
            key = ""
        if not session:
            response.delete_cookie(name, domain=domain, path=path, secure=self.get_cookie_secure(app))
            return
        # A key that we did not give out, or whose session has ended, is not taken.
        if not key or self._store.read(_hash(key)) is None:
            key = secrets.token_urlsafe(32)
        self._store.write(_hash(key), json.dumps(dict(session)).encode(), KEPT_S)
        response.set_cookie(
            name,
            key,
            httponly=self.get_cookie_httponly(app),
            secure=self.get_cookie_secure(app),
            samesite=self.get_cookie_samesite(app),
            domain=domain,
            path=path,
        )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
