"""What asks for a callback otherwise than a page of ours does is refused before the callback runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import flask.testing
import pytest

from tests.records.site import Site, open_site, page_body, token_of

UPDATE = "/_dash-update-component"
FINGER = "curves.figure"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("asked") / "data") as opened:
        yield opened


@pytest.fixture
def client(site: Site) -> flask.testing.FlaskClient:
    return site.browser()


def page(path: Any = "/", search: Any = "") -> dict[str, Any]:
    return page_body(path, search)


def curves(runs: Any, finger: Any = "index") -> dict[str, Any]:
    return {
        "output": FINGER,
        "outputs": {"id": "curves", "property": "figure"},
        "inputs": [
            {"id": "curves-finger", "property": "value", "value": finger},
            {"id": "curves-shift", "property": "data", "value": None},
        ],
        "changedPropIds": ["curves-finger.value"],
        "state": [{"id": "curves-runs", "property": "data", "value": runs}],
    }


def ask(client: flask.testing.FlaskClient, body: Any) -> tuple[int, str]:
    data = body if isinstance(body, str) else json.dumps(body)
    answer = client.post(UPDATE, data=data, content_type="application/json", headers=token_of(client))
    return answer.status_code, answer.get_data(as_text=True)


def test_what_a_page_asks_is_answered(client: flask.testing.FlaskClient) -> None:
    assert ask(client, page())[0] == 200
    assert ask(client, curves(None))[0] == 204


def job(request: Any) -> dict[str, Any]:
    return {
        "output": "job-done.data",
        "outputs": {"id": "job-done", "property": "data"},
        "inputs": [{"id": "job-request", "property": "data", "value": request}],
        "changedPropIds": ["job-request.data"],
    }


def test_work_that_a_page_asks_for_is_begun_and_followed(client: flask.testing.FlaskClient) -> None:
    status, said = ask(client, job({"run_id": "0" * 32, "request": "1"}))
    assert status == 200
    begun = json.loads(said)
    asked = f"{UPDATE}?cacheKey={begun['cacheKey']}&job={begun['job']}"
    answer = client.post(asked, json=job(None), headers=token_of(client))  # a page asks on without its inputs
    assert answer.status_code == 200
    assert ask(client, job({"run_id": 7, "request": "1"}))[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        curves({"runs": [], "visits": False}),
        page() | {"outputs": [[], {"id": "_pages_store", "property": "data"}]},
        [],
        7,
        None,
        "{",
        "[" * 5000 + "]" * 5000,
        {"output": "nonsense.children"},
        page(7),
        page({}),
        page(["/"]),
        page("x"),
        page(search=[]),
        page("\ud800"),
        page() | {"inputs": []},
        page() | {"inputs": {}},
        page() | {"outputs": []},
        page() | {"outputs": None},
        page() | {"changedPropIds": ["x.y"]},
        page() | {"changedPropIds": [7]},
        page() | {"changedPropIds": 7},
        page() | {"changedPropIds": ['{"type":.x']},
        page() | {"inputs": [{"id": "other", "property": "pathname", "value": "/"}] * 2},
        json.dumps(page()).replace('"value": ""', '"value": NaN'),
        json.dumps(page()).replace('"value": ""', '"value": 1e999'),
        json.dumps(page()).replace('"value": ""', f'"value": {10**400}'),
        curves({"runs": -1, "visits": False}),
        curves({}),
        curves([]),
        curves({"runs": [1], "visits": True}),
        curves(None, finger=2**60),
        curves(None, finger=None),
    ],
)
def test_what_no_page_asks_is_refused_in_words(client: flask.testing.FlaskClient, body: Any) -> None:
    status, words = ask(client, body)
    assert status == 400
    assert "not one that this page sends" in words


@pytest.mark.parametrize(("name", "value"), [("Origin", "http://["), ("Host", "[::1"), ("Host", "a:b:c")])
def test_an_address_that_is_none_is_refused(client: flask.testing.FlaskClient, name: str, value: str) -> None:
    headers = token_of(client) | {name: value}
    assert client.post("/upload", headers=headers).status_code in (400, 403)
