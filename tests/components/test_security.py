"""The gate: who is let in, from where, and what every answer carries."""

import datetime
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask.testing
import pytest

from components import security
from components.policy import LINK, PUBLIC
from records import get_records, models, sign_ins
from records.addresses import is_loopback
from records.errors import UserError
from records.keys import read_secret_key
from settings import Settings
from tests.records.site import Site, open_site, surroundings, token_of

CHROMIUM_ACCEPTS = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
PASSWORD = "a long enough sentence"
OPEN = {"REDYS_HOST": "0.0.0.0", "REDYS_SECOND_FACTOR": "optional"}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("local") / "data") as site:
        yield site


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("guarded") / "data"
    with surroundings(data, **OPEN):
        get_records().users.add("somebody", PASSWORD)
    with open_site(data, **OPEN) as site:
        yield site


def sign_in(client: flask.testing.FlaskClient, name: str = "somebody", password: str = PASSWORD) -> int:
    page = client.get("/sign-in").get_data(as_text=True)
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    form = {"name": name, "password": password, "csrf_token": found[1]}
    return client.post("/sign-in", data=form).status_code


def come_in(client: flask.testing.FlaskClient, name: str = "somebody") -> None:
    """Sign in; a test before may have failed on purpose, and then there is a wait."""
    for _ in range(20):
        if (status := sign_in(client, name)) != 429:
            break
        time.sleep(0.2)
    assert status == 302


def browser(site: Site) -> flask.testing.FlaskClient:
    return site.browser("https", "redys.example")


def token_in(client: flask.testing.FlaskClient) -> str:
    cookie = client.get_cookie("__Host-_csrf_token", domain="redys.example")
    assert cookie is not None
    return cookie.value


def copy_of(client: flask.testing.FlaskClient) -> flask.testing.FlaskClient:
    """Somebody else's client, with a copy of the session's cookie."""
    cookie = client.get_cookie("__Host-redys_session", domain="redys.example")
    assert cookie is not None
    thief = type(client)(client.application, client.application.response_class, use_cookies=True)
    thief.base_url = client.base_url  # type: ignore[attr-defined]
    thief.set_cookie("__Host-redys_session", cookie.value, domain="redys.example")
    return thief


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of sign-ins, as seconds since now, to be moved by hand."""
    begun, clock = models.now(), [0.0]
    monkeypatch.setattr(sign_ins, "now", lambda: begun + datetime.timedelta(seconds=clock[0]))
    return clock


def look_at_tray(client: flask.testing.FlaskClient, site: Site, more: dict[str, str] | None = None) -> Any:
    """What the tray asks by itself every few seconds."""
    output = next(each for each in site.app.callback_map if each.startswith("..tray.hidden"))
    parts = [part.rpartition(".") for part in output.strip(".").split("...")]
    body = {
        "output": output,
        "outputs": [{"id": name, "property": prop.split("@")[0]} for name, _, prop in parts],
        "inputs": [{"id": "tray-tick", "property": "n_intervals", "value": 1}],
        "state": [
            {"id": "tray-seen", "property": "data", "value": None},
            {"id": "tray-runs", "property": "children", "value": None},
        ],
        "changedPropIds": ["tray-tick.n_intervals"],
    }
    headers = {"X-CSRFToken": token_in(client), **(more or {})}
    return client.post("/_dash-update-component", json=body, headers=headers)


# --- without sign-in -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
        ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("192.168.1.5", False), ("::", False),
        ("localhost.example.org", False), ("127.0.0.1.example.org", False), ("", False),
    ],
)  # fmt: skip
def test_only_the_machines_own_addresses_are_loopback(address: str, own: bool) -> None:
    assert is_loopback(address) is own


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8050", "[::1]:8050"])
def test_this_machines_browser_is_answered(local: Site, host: str) -> None:
    assert local.browser(host=host).get("/").status_code == 200


def test_another_sites_name_for_this_machine_is_refused(local: Site) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "192.168.1.5:8050"):
        for path in ("/", "/_dash-layout", "/media/x/y.mp4", "/health"):
            assert local.browser(host=host).get(path).status_code == 403


def test_a_caller_from_elsewhere_and_a_proxy_are_refused(local: Site) -> None:
    client = local.browser()
    assert client.get("/", environ_base={"REMOTE_ADDR": "192.168.1.9"}).status_code == 403
    assert client.get("/", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert client.get("/", headers={"Forwarded": "for=10.0.0.1"}).status_code == 403


# --- what changes something ----------------------------------------------------------------------


def test_a_change_needs_the_pages_token(local: Site) -> None:
    client = local.browser()
    assert client.post("/upload").status_code == 403
    header = token_of(client)
    assert client.post("/upload", headers=header).status_code == 201
    assert client.post("/upload", headers={"X-CSRFToken": header["X-CSRFToken"] + "x"}).status_code == 403
    client.set_cookie("_csrf_token", "made.up")
    assert client.post("/upload", headers={"X-CSRFToken": "made.up"}).status_code == 403
    client.set_cookie("_csrf_token", "\xe9")
    assert client.post("/upload", headers={"X-CSRFToken": "\xe9"}).status_code == 403


def test_a_change_from_another_site_is_refused(local: Site) -> None:
    client = local.browser()
    header = token_of(client)
    for origin in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/upload", headers={**header, **origin}).status_code == 403
    for origin in ({"Origin": "http://localhost"}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}):
        assert client.post("/upload", headers={**header, **origin}).status_code == 201


def test_every_route_that_changes_something_is_behind_the_token(local: Site) -> None:
    client = local.browser()
    for rule in local.app.server.url_map.iter_rules():
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}:
            path = re.sub(r"<[^>]+>", "x", rule.rule)
            assert client.open(path, method=method).status_code == 403, (method, rule.rule)


def test_every_answer_carries_the_headers(local: Site) -> None:
    client = local.browser()
    for path in ("/", "/health", "/vendor/bootstrap.min.css", "/media/x/y.mp4", "/upload/x", "/nonsense"):
        headers = client.get(path).headers
        for name, value in security.HEADERS.items():
            assert headers[name] == value, (path, name)
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "object-src 'none'" in headers["Content-Security-Policy"]
    assert client.get("/").headers["Cache-Control"] == "no-store"


# --- with sign-in --------------------------------------------------------------------------------


def test_every_route_but_the_public_ones_is_refused_without_sign_in(guarded: Site) -> None:
    client = browser(guarded)
    refused = 0
    for rule in guarded.app.server.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        answer = client.get(path)
        if rule.endpoint in PUBLIC | LINK and "GET" in (rule.methods or set()):
            assert answer.status_code in (200, 404), rule.rule
        elif "GET" in (rule.methods or set()):
            assert answer.status_code in (302, 401), rule.rule
            refused += 1
    assert refused >= 10


def test_a_range_of_a_file_is_refused_without_sign_in(guarded: Site) -> None:
    answer = browser(guarded).get(f"/media/{'0' * 32}/mosaic.mp4", headers={"Range": "bytes=0-1"})
    assert answer.status_code == 401


def test_signing_in_opens_the_page_that_was_asked_for(guarded: Site) -> None:
    client = browser(guarded)
    asked = client.get("/subject/x?a=b", headers={"Accept": CHROMIUM_ACCEPTS})
    assert asked.status_code == 302
    assert asked.headers["Location"] == "/sign-in?next=/subject/x?a%3Db"
    come_in(client)
    assert client.get("/").status_code == 200
    layout = client.get("/_dash-layout").get_data(as_text=True)
    assert "somebody" in layout
    assert "No sign-in" not in layout


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:1", ""],
)
def test_a_link_cannot_lead_a_fresh_sign_in_elsewhere(target: str) -> None:
    assert security._safe_target(target) == "/"


def test_a_wrong_name_and_a_wrong_password_are_told_alike(guarded: Site) -> None:
    texts = set()
    for name, password in (("somebody", "x" * 20), ("nobody-at-all", PASSWORD)):
        client = browser(guarded)
        page = client.get("/sign-in").get_data(as_text=True)
        token = re.search(r'value="([^"]+)"', page)[1]  # type: ignore[index]
        answer = client.post("/sign-in", data={"name": name, "password": password, "csrf_token": token})
        assert answer.status_code == 403
        texts.add(re.sub(r'value="[^"]*"', "", answer.get_data(as_text=True)))
        assert client.get("/").status_code != 200
    assert len(texts) == 1


def test_tries_in_a_row_have_to_wait(guarded: Site) -> None:
    client = browser(guarded)
    answers = [sign_in(client, "guesser", "x" * 20) for _ in range(4)]
    assert answers[0] == 403
    assert 429 in answers


def test_a_name_is_shown_as_text(guarded: Site) -> None:
    client = browser(guarded)
    page = client.get("/sign-in").get_data(as_text=True)
    token = re.search(r'value="([^"]+)"', page)[1]  # type: ignore[index]
    form = {"name": '"><script>alert(1)</script>', "password": "x", "csrf_token": token}
    assert "<script>alert" not in client.post("/sign-in", data=form).get_data(as_text=True)


def test_the_cookies_are_secure_and_out_of_scripts_reach(guarded: Site) -> None:
    client = browser(guarded)
    come_in(client)
    session = client.get_cookie("__Host-redys_session", domain="redys.example")
    assert session is not None
    assert (session.http_only, session.secure, session.same_site) == (True, True, "Lax")
    token = client.get_cookie("__Host-_csrf_token", domain="redys.example")
    assert token is not None
    assert (token.secure, token.same_site) == (True, "Strict")


def test_signing_out_and_a_new_password_end_a_session(guarded: Site) -> None:
    client, other = browser(guarded), browser(guarded)
    come_in(client)
    come_in(other)
    cookie = client.get_cookie("__Host-_csrf_token", domain="redys.example")
    assert cookie is not None
    client.get("/sign-out")  # only a page of ours may sign somebody out
    assert client.get("/").status_code == 200
    client.post("/sign-out", data={"csrf_token": cookie.value})
    assert client.get("/").status_code == 401
    assert other.get("/").status_code == 200
    with guarded.records.writing() as database:
        user = guarded.records.users.verify("somebody", PASSWORD)
        assert user is not None
        database.get_one(models.User, user.id).epoch += 1
    assert other.get("/").status_code == 401


def test_a_sign_in_lasts_a_working_day(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser(guarded)
    come_in(client)
    clock = stop_clock(monkeypatch)
    for _ in range(35):
        clock[0] += 1200
        assert client.get("/").status_code == 200
    clock[0] += 1500
    answer = client.get("/", headers={"Accept": CHROMIUM_ACCEPTS})
    assert answer.headers["Location"] == "/sign-in?next=/&ended=over"
    assert "A sign-in lasts 12 hours" in client.get(answer.headers["Location"]).text


def test_a_sign_in_ends_when_nothing_is_done_for_half_an_hour(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser(guarded)
    come_in(client)
    thief = copy_of(client)
    clock = stop_clock(monkeypatch)
    header = {"X-CSRFToken": token_in(client)}
    draft = client.post("/upload", headers=header).get_json()["draft"]
    deeds = [
        lambda: client.get("/"),
        lambda: client.get(f"/media/{'0' * 32}/mosaic.mp4", headers={"Range": "bytes=0-1"}),
        lambda: client.patch(f"/upload/{draft}/x", headers=header),
        lambda: look_at_tray(client, guarded, {"X-ReDys-Active": "1"}),
    ]
    for deed in deeds:  # each but the first comes 29 minutes after the last and 58 after the one before that
        clock[0] += 29 * 60
        assert deed().status_code != 401
    for _ in range(6):  # a clock of the page, style sheets and the choice of a language let it end
        clock[0] += 299
        assert look_at_tray(client, guarded).status_code == 200
        assert client.get("/_dash-dependencies").status_code == 200
        client.get("/sign-in?language=de")
    clock[0] += 60
    answer = look_at_tray(client, guarded)
    assert (answer.status_code, answer.headers["X-ReDys-Ended"]) == (401, "idle")
    asked = client.get("/subject/x?a=b", headers={"Accept": CHROMIUM_ACCEPTS}).headers["Location"]
    assert asked == "/sign-in?next=/subject/x?a%3Db&ended=idle"
    client.delete_cookie("__Host-redys_language", domain="redys.example")
    assert "signed out after 30 minutes in which nothing was done" in client.get(asked).text
    assert "30 Minuten" in client.get(asked, headers={"Accept-Language": "de"}).text
    form = {"name": "somebody", "password": PASSWORD, "csrf_token": token_in(client)}
    assert client.post(asked, data=form).headers["Location"] == "/subject/x?a=b"
    assert client.get("/").status_code == 200
    assert thief.get("/").status_code == 401


def test_a_copied_cookie_is_worthless_after_signing_out(guarded: Site) -> None:
    client = browser(guarded)
    come_in(client)
    thief = copy_of(client)
    assert thief.get("/").status_code == 200
    client.post("/sign-out", data={"csrf_token": token_in(client)})
    assert thief.get("/").status_code == 401
    assert "ended" not in thief.get("/", headers={"Accept": CHROMIUM_ACCEPTS}).headers["Location"]


def test_a_given_password_opens_only_its_own_change_and_ends_after_a_week(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, password = guarded.records.users.invite("newcomer", "clinician", "test")
    client = browser(guarded)
    page = client.get("/sign-in").text
    token = re.search(r'value="([^"]+)"', page)[1]  # type: ignore[index]
    form = {"name": "newcomer", "password": password, "csrf_token": token}
    assert client.post("/sign-in?next=/new", data=form).headers["Location"] == "/account"
    assert client.get("/_dash-layout").status_code == 200
    assert client.post("/upload", headers={"X-CSRFToken": token_in(client)}).status_code == 403
    assert client.get(f"/media/{'0' * 32}/mosaic.mp4").status_code == 403
    with guarded.records.writing() as database:
        database.get_one(models.User, user.id).password_ends = models.now() - datetime.timedelta(seconds=1)
    answer = browser(guarded)
    page = answer.get("/sign-in").text
    form["csrf_token"] = re.search(r'value="([^"]+)"', page)[1]  # type: ignore[index]
    refused = answer.post("/sign-in", data=form)
    assert refused.status_code == 403
    assert "The password that you were given has ended." in refused.text
    with pytest.raises(UserError, match="has ended"):
        guarded.records.users.change_password(user.id, password, "another long sentence")
    renewed = guarded.records.users.renew_password(user.id, "test")
    with pytest.raises(UserError, match="is the present one"):
        guarded.records.users.change_password(user.id, renewed, renewed)
    assert guarded.records.users.change_password(user.id, renewed, PASSWORD).password_ends is None
    come_in(client, "newcomer")
    assert client.post("/upload", headers={"X-CSRFToken": token_in(client)}).status_code == 201


def test_an_upload_is_its_owners(guarded: Site) -> None:
    guarded.records.users.add("another", PASSWORD)
    client, other = browser(guarded), browser(guarded)
    come_in(client)
    come_in(other, "another")
    cookie = client.get_cookie("__Host-_csrf_token", domain="redys.example")
    assert cookie is not None
    draft = client.post("/upload", headers={"X-CSRFToken": cookie.value}).get_json()["draft"]
    assert client.get(f"/upload/{draft}").status_code == 200
    assert other.get(f"/upload/{draft}").status_code == 404


# --- the secret key ------------------------------------------------------------------------------


def test_the_secret_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    first = read_secret_key(settings)
    assert len(first) >= 48
    assert read_secret_key(settings) == first
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_key_that_was_given_is_used_and_not_written(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, SECRET_KEY="given", _env_file=None)  # type: ignore[call-arg]
    assert read_secret_key(settings) == "given"
    assert list(tmp_path.iterdir()) == []
