"""Every route, page and callback by every role: allowed or refused, and nothing that nobody classified."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import dash
import flask.testing
import pytest

from components import policy
from components.policy import (
    CALLBACKS,
    ENDPOINTS,
    GRANTS,
    LINK,
    PAGES,
    PUBLIC,
    Permission,
    callback_permission,
)
from records import get_records
from records.rows import Role
from records.shares import SHARING_ROLES
from records.users import ROLES
from tests.components.test_security import come_in
from tests.records.site import Site, open_site, page_body, surroundings

PASSWORD = "a long enough sentence"
OPEN = {"REDYS_HOST": "0.0.0.0", "REDYS_SECOND_FACTOR": "optional"}
UPDATE = "/_dash-update-component"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("roles") / "data"
    with surroundings(data, **OPEN):
        for role in ROLES:
            get_records().users.add(role, PASSWORD, role)
    with open_site(data, **OPEN) as opened:
        opened.browser("https", "redys.example").get("/sign-in")  # Dash adds its own at the first request
        yield opened


@pytest.fixture(scope="module", params=ROLES)
def someone(request: pytest.FixtureRequest, site: Site) -> tuple[Role, flask.testing.FlaskClient]:
    """A role, and who has signed in with it."""
    client = site.browser("https", "redys.example")
    come_in(client, request.param)
    return request.param, client


def token(client: flask.testing.FlaskClient) -> dict[str, str]:
    cookie = client.get_cookie("__Host-_csrf_token", domain="redys.example")
    assert cookie is not None
    return {"X-CSRFToken": cookie.value}


def test_every_route_is_classified_and_every_class_is_a_routes(site: Site) -> None:
    there = {rule.endpoint for rule in site.app.server.url_map.iter_rules()}
    assert there == set(ENDPOINTS) | PUBLIC | LINK
    assert LINK.isdisjoint(PUBLIC | set(ENDPOINTS))


def test_every_page_is_classified(site: Site) -> None:
    assert set(dash.page_registry) == set(PAGES)


def test_every_callback_is_classified_and_every_class_is_a_callbacks(site: Site) -> None:
    functions = [entry["callback"] for entry in site.app.callback_map.values() if entry.get("callback")]
    unknown = [
        f"{each.__module__}:{each.__qualname__}" for each in functions if not callback_permission(each)
    ]
    assert unknown == []
    modules = {each.__module__ for each in functions}
    names = {f"{each.__module__}:{each.__qualname__.rpartition('.')[2]}" for each in functions}
    assert set(CALLBACKS) <= modules | names


def test_an_administrator_has_no_clinical_view_by_default() -> None:
    assert GRANTS["administrator"].isdisjoint({"see", "export", "work"})
    assert all("administer" not in GRANTS[role] for role in ROLES if role != "administrator")
    assert set().union(*GRANTS.values()) == set(get_args(Permission))


def test_links_stand_of_who_may_share_and_of_nobody_else() -> None:
    assert {role for role in ROLES if CALLBACKS["components.shares"] in GRANTS[role]} == SHARING_ROLES


def address(rule: str) -> str:
    return re.sub(r"<[^>]+>", "0" * 32, rule)


def test_every_route_answers_each_role_as_the_table_says(
    site: Site, someone: tuple[Role, flask.testing.FlaskClient]
) -> None:
    role, client = someone
    wrong = []
    for rule in site.app.server.url_map.iter_rules():
        if rule.endpoint in PUBLIC | LINK or rule.endpoint in ("sign_out", UPDATE):
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = client.open(address(rule.rule), method=method, headers=token(client))
            allowed = ENDPOINTS[rule.endpoint] in GRANTS[role]
            if (answer.status_code == 403) is allowed:
                wrong.append((method, rule.rule, answer.status_code))
    assert wrong == []


def test_what_is_shared_asks_for_a_link_and_never_for_a_role(
    site: Site, someone: tuple[Role, flask.testing.FlaskClient]
) -> None:
    for client in (someone[1], site.browser("https", "redys.example")):
        assert client.get("/shared").status_code == 200
        for path in ("/assets/modules/player.mjs", "/assets/00_bridge.js", "/assets/css/player.css"):
            assert client.get(path).status_code == 200
        assert client.get("/assets/modules/../../settings.py").status_code != 200
        for path in ("/shared/view", "/shared/data/a/index.json", "/shared/data/a/mosaic.mp4"):
            assert client.get(path).status_code == 404
        assert client.post("/shared/open", json={"token": "x" * 43}).status_code == 403  # no CSRF token
        answer = client.post("/shared/open", json={"token": "x" * 43}, headers=token(client))
        assert answer.status_code == 404


def ask(client: flask.testing.FlaskClient, output: str, entry: dict[str, Any]) -> int:
    body = {"output": output, "outputs": [], "inputs": [], "changedPropIds": [], "state": []}
    return client.post(
        UPDATE, data=json.dumps(body), headers=token(client), content_type="application/json"
    ).status_code


def test_every_callback_answers_each_role_as_the_table_says(
    site: Site, someone: tuple[Role, flask.testing.FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    role, client = someone
    wrong = []
    monkeypatch.setitem(site.app.server.config, "PROPAGATE_EXCEPTIONS", False)
    for output, entry in list(site.app.callback_map.items()):
        if not entry.get("callback"):
            continue
        allowed = callback_permission(entry["callback"]) in GRANTS[role]
        with site.app.server.test_request_context(
            UPDATE, method="POST", data=json.dumps({"output": output}), content_type="application/json"
        ):
            assert (policy.request_permission(site.app) in GRANTS[role]) is allowed
        if not allowed and ask(client, output, entry) != 403:
            wrong.append(output)
    assert wrong == []


@pytest.mark.parametrize("output", ["nonsense.children", "", None, 7, {}])
def test_a_callback_that_is_none_is_refused(site: Site, output: Any) -> None:
    client = site.browser("https", "redys.example")
    come_in(client, "clinician")
    answer = client.post(UPDATE, data=json.dumps({"output": output}), headers=token(client),
                         content_type="application/json")  # fmt: skip
    assert answer.status_code == 403


def show(client: flask.testing.FlaskClient, path: str) -> str:
    """A page as the browser asks for it."""
    body = page_body(path)
    answer = client.post(
        UPDATE, data=json.dumps(body), headers=token(client), content_type="application/json"
    )
    assert answer.status_code == 200, answer.get_data(as_text=True)[:300]
    return answer.get_data(as_text=True)


def test_every_page_is_drawn_for_each_role_as_the_table_says(
    site: Site, someone: tuple[Role, flask.testing.FlaskClient]
) -> None:
    role, client = someone
    for module, page in dash.page_registry.items():
        if module == "pages.not_found_404":
            continue
        drawn = show(client, address(page.get("path_template") or page["path"]))
        assert (policy.REFUSED in drawn) is (PAGES[module] not in GRANTS[role]), module


def test_views_and_refusals_are_written_down(site: Site) -> None:
    for role in ("viewer", "administrator"):
        client = site.browser("https", "redys.example")
        come_in(client, role)
        show(client, f"/recording/{'0' * 32}")
    events = [(row.actor, row.action, row.object, row.result) for row in site.records.audit.list().rows]
    assert ("viewer", "view.recording", "0" * 32, "ok") in events
    assert ("administrator", "view.recording", "0" * 32, "refused") in events
    site.records.audit.verify()


def test_a_role_that_was_taken_away_ends_the_session(site: Site) -> None:
    site.records.users.add("changes", PASSWORD, "clinician")
    client = site.browser("https", "redys.example")
    come_in(client, "changes")
    assert policy.REFUSED not in show(client, "/new")
    site.records.users.add("changes", PASSWORD, "viewer")
    assert client.post(UPDATE, data="{}", headers=token(client)).status_code == 401


def test_what_a_clock_of_a_page_asks_for_is_there(site: Site) -> None:
    """A name that has changed would let a page that nobody looks at keep its reader signed in."""
    functions = [entry["callback"] for entry in site.app.callback_map.values() if entry.get("callback")]
    assert {policy._name(function) for function in functions} >= policy.PASSIVE_CALLBACKS
    endpoints = {rule.endpoint for rule in site.app.server.url_map.iter_rules()}
    assert endpoints >= policy.PASSIVE_ENDPOINTS
