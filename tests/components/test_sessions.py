"""Sessions and cached figures on Redis: who can write there signs nobody in, and it may be away."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask.testing
import pytest
import redis

from components import cache as caching
from components.cache import SealedCache
from components.sealed import SealedStore
from tests.own_redis import own_redis
from tests.records.site import Site, open_site

PASSWORD = "twelve characters and more"


@pytest.fixture
def redis_url() -> Iterator[str]:
    with own_redis() as url:
        yield url


@pytest.fixture
def store(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as found:
        yield found


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site that demands sign-in, with its sessions on Redis."""
    more = {"REDIS_URL": redis_url, "SECRET_KEY": "k" * 48}
    with open_site(tmp_path / "data", **more) as local:
        local.records.users.add("ada", PASSWORD, "clinician")
    with open_site(tmp_path / "data", REDYS_HOST="0.0.0.0", **more) as opened:
        yield opened


def sign_in(site: Site) -> flask.testing.FlaskClient:
    client = site.browser("https", "redys.example")
    form = {"name": "ada", "password": PASSWORD, "csrf_token": token_for(client)}
    answer = client.post("/sign-in", data=form)
    assert answer.status_code == 302, answer.text
    return client


def token_for(client: flask.testing.FlaskClient) -> str:
    client.get("/sign-in")
    cookie = client.get_cookie("__Host-_csrf_token", domain="redys.example")
    assert cookie is not None
    return cookie.value


def cookie_of(client: flask.testing.FlaskClient) -> Any:
    return client.get_cookie("__Host-redys_session", domain="redys.example")


def is_in(client: flask.testing.FlaskClient) -> bool:
    return client.get("/_dash-layout").status_code == 200


def names(store: Any) -> list[bytes]:
    return sorted(store.keys("redys-sessions:*"))


def test_who_signed_in_is_known_by_a_key_that_redis_does_not_hold(site: Site, store: Any) -> None:
    client = sign_in(site)
    assert is_in(client)
    cookie = cookie_of(client)
    assert cookie.http_only
    assert cookie.secure
    (name,) = names(store)
    assert cookie.value.encode() not in name + (store.get(name) or b"")
    assert 0 < store.ttl(name) <= 13 * 3600


def test_signing_in_gives_a_new_key_and_signing_out_ends_it_on_the_server(site: Site, store: Any) -> None:
    client = site.browser("https", "redys.example")
    client.set_cookie("__Host-redys_session", "chosen-by-somebody-else", domain="redys.example")
    client.post("/sign-in", data={"name": "ada", "password": PASSWORD, "csrf_token": token_for(client)})
    key = cookie_of(client).value
    assert key != "chosen-by-somebody-else"
    thief = site.browser("https", "redys.example")
    thief.set_cookie("__Host-redys_session", key, domain="redys.example")
    assert is_in(thief)
    client.post("/sign-out", headers={"X-CSRFToken": token_for(client)})
    assert names(store) == []
    assert not is_in(client)
    assert not is_in(thief)


def test_what_somebody_else_wrote_into_redis_signs_nobody_in(site: Site, store: Any) -> None:
    client = sign_in(site)
    (name,) = names(store)
    kept = store.get(name) or b""
    store.set(name, kept[:-1] + b" ")
    assert not is_in(client)
    store.set(name, b"\x80\x04.")
    assert not is_in(client)
    store.set(name, kept)
    assert is_in(client)
    other = sign_in(site)
    (elsewhere,) = set(names(store)) - {name}
    store.set(elsewhere, kept)  # one that is right, but for another key
    assert not is_in(other)


def test_while_redis_is_away_a_page_says_so_and_what_asks_nobody_is_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(site)

    def away(*_: Any, **__: Any) -> Any:
        raise redis.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(SealedStore, "read", away)
        patch.setattr(SealedStore, "write", away)
        page = client.get("/", headers={"Accept": "text/html"})
        assert (page.status_code, "Traceback" in page.text) == (503, False)
        assert "Redis" in page.text
        assert client.get("/_dash-layout").status_code == 503
        assert client.get("/assets/css/app.css").status_code == 200
        assert client.get("/sign-in").status_code == 200
        form = {"name": "ada", "password": PASSWORD, "csrf_token": token_for(client)}
        assert client.post("/sign-in", data=form).status_code == 503
    assert is_in(client)


class _Trap:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (pytest.fail, ("it was unpickled",))


def test_the_cache_unpickles_its_own_values_alone(site: Site, store: Any) -> None:
    cache = SealedCache(SealedStore(site.settings, "pages"))
    assert cache.set("a", ("right", 1.5))
    assert cache.get("a") == ("right", 1.5)
    assert cache.has("a")
    for hostile in (pickle.dumps(_Trap()), b"x" * 32 + pickle.dumps(_Trap())):
        store.set("redys-pages:a", hostile)
        assert cache.get("a") is None
        assert not cache.has("a")


def test_a_cache_that_is_away_is_passed_over_and_then_used_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SealedCache(SealedStore(site.settings, "pages"))
    clock, asked = [100.0], []

    def away(*_: Any) -> Any:
        asked.append(1)
        raise redis.ConnectionError

    monkeypatch.setattr(caching.time, "monotonic", lambda: clock[0])
    with monkeypatch.context() as patch:
        patch.setattr(SealedStore, "read", away)
        assert [cache.get("a") for _ in range(5)] == [None] * 5
        assert len(asked) == 1
    assert not cache.set("a", 1)
    clock[0] += caching.PASSED_OVER_S
    assert cache.set("a", 1)
    assert cache.get("a") == 1
