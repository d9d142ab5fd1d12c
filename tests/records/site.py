"""A whole site in a folder of its own, for tests that ask it over HTTP without a server."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask.testing
from dash import Dash
from dash._callback import GLOBAL_CALLBACK_LIST, GLOBAL_CALLBACK_MAP

from records import Records, get_records
from settings import Settings, get_settings

CLEARED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "REDYS_SESSION_FOLDERS", "REDYS_HOST")


class Browser(flask.testing.FlaskClient):
    base_url = "http://localhost"

    def open(self, *args: Any, **values: Any) -> Any:
        values.setdefault("base_url", self.base_url)
        return super().open(*args, **values)


@dataclass
class Site:
    app: Dash
    records: Records
    settings: Settings

    def browser(self, scheme: str = "http", host: str = "localhost") -> flask.testing.FlaskClient:
        """A client with cookies of its own, that calls the site by this address."""
        client = Browser(self.app.server, self.app.server.response_class, use_cookies=True)
        client.base_url = f"{scheme}://{host}"
        return client


def page_body(path: Any, search: Any = "") -> dict[str, Any]:
    """What a browser asks when it goes to an address of the site."""
    return {
        "output": ".._pages_content.children..._pages_store.data..",
        "outputs": [
            {"id": "_pages_content", "property": "children"},
            {"id": "_pages_store", "property": "data"},
        ],
        "inputs": [
            {"id": "_pages_location", "property": "pathname", "value": path},
            {"id": "_pages_location", "property": "search", "value": search},
        ],
        "changedPropIds": ["_pages_location.pathname"],
    }


def token_of(client: flask.testing.FlaskClient, path: str = "/") -> dict[str, str]:
    """Open a page and give the header that a script of it would send."""
    client.get(path)
    cookie = client.get_cookie("_csrf_token")
    assert cookie is not None
    return {"X-CSRFToken": cookie.value}


@contextlib.contextmanager
def surroundings(data_dir: Path, **more: str) -> Iterator[None]:
    """Settings for this process, read anew; the ones before come back afterwards."""
    before = dict(os.environ)
    for name in CLEARED:
        os.environ.pop(name, None)
    os.environ.update({"REDYS_DATA_DIR": str(data_dir), **more})
    _forget()
    try:
        yield
    finally:
        get_records().close()
        os.environ.clear()
        os.environ.update(before)
        _forget()


def _forget() -> None:
    get_settings.cache_clear()
    get_records.cache_clear()


@contextlib.contextmanager
def open_site(data_dir: Path, **more: str) -> Iterator[Site]:
    from app import make_app

    with surroundings(data_dir, **more):
        app = make_app()
        _give_callbacks()
        yield Site(app, get_records(), get_settings())


_kept: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
"""Callbacks of components by their output, with what the browser is told of them."""


def _give_callbacks() -> None:
    """Dash gives a component's callbacks to the first app of a process alone; each site shall have them."""
    told = {each["output"]: each for each in GLOBAL_CALLBACK_LIST}
    for output, entry in GLOBAL_CALLBACK_MAP.items():
        callback = entry.get("callback")
        if callback is not None and callback.__module__.startswith("components.") and output in told:
            _kept[output] = (entry, told[output])
    for output, (entry, spec) in _kept.items():
        if output not in GLOBAL_CALLBACK_MAP:
            GLOBAL_CALLBACK_MAP[output] = entry
            GLOBAL_CALLBACK_LIST.append(spec)


def inline_scripts(html: str) -> list[str]:
    """The scripts that stand in a page itself; data blocks are no scripts."""
    found = re.findall(r"<script([^>]*)>(.*?)</script>", html, flags=re.S)
    return [body for tag, body in found if "src=" not in tag and "application/json" not in tag]


def make_session(folder: Path, toml: str = "", cameras: tuple[str, ...] = ("front", "left", "right")) -> Path:
    """A folder that reads as a session; its videos are none."""
    folder.mkdir(parents=True, exist_ok=True)
    for camera in cameras:
        (folder / f"{camera}.mp4").write_bytes(b"no video")
    if toml:
        (folder / "session.toml").write_text(toml, encoding="utf-8")
    return folder
