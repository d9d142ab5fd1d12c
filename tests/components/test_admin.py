"""Administration: users, erasing, and that an administrator sees no patient."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask.testing
import pytest

from records import get_records
from records.errors import NotFound, UserError
from records.rows import UserRow
from tests.components.test_policy import show, token
from tests.components.test_security import OPEN, PASSWORD, come_in, sign_in
from tests.records.site import Site, make_session, open_site, page_body, surroundings

CANARY = "Kanarienvogel-7431"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("admin")
    with surroundings(folder / "data", **OPEN):
        get_records().users.add("keeper", PASSWORD, "administrator")
        get_records().users.add("doctor", PASSWORD, "clinician")
        for name in ("one", "two"):
            toml = f'subject = "{CANARY}"\ntask = "{CANARY}"\n'
            get_records().add_recording(make_session(folder / name, toml), title=CANARY)
    with open_site(folder / "data", **OPEN) as opened:
        yield opened


def signed_in(site: Site, name: str) -> flask.testing.FlaskClient:
    client = site.browser("https", "redys.example")
    come_in(client, name)
    return client


def user(site: Site, name: str) -> UserRow:
    return next(each for each in site.records.users.list() if each.name == name)


def press(client: flask.testing.FlaskClient, site: Site, name: str, *values: Any, trigger: str = "") -> str:
    """Ask a page's callback as the browser would; its answer as text."""
    output = next(
        output
        for output, entry in site.app.callback_map.items()
        if entry.get("callback") and f"{entry['callback'].__module__}:{entry['callback'].__name__}" == name
    )
    outputs = [
        {"id": part.rpartition(".")[0], "property": part.rpartition(".")[2].split("@")[0]}
        for part in output.strip(".").split("...")
    ]
    body = {
        "output": output,
        "outputs": outputs if len(outputs) > 1 else outputs[0],
        "inputs": [values[0]],
        "state": list(values[1:]),
        "changedPropIds": [trigger or f"{values[0]['id']}.n_clicks"],
    }
    answer = client.post(
        "/_dash-update-component",
        data=json.dumps(body),
        headers=token(client),
        content_type="application/json",
    )
    assert answer.status_code in (200, 204, 403), answer.get_data(as_text=True)[:500]
    return str(answer.status_code) if answer.status_code == 403 else answer.get_data(as_text=True)


def of(name: str, value: Any, prop: str = "value") -> dict[str, Any]:
    return {"id": name, "property": prop, "value": value}


def click(name: str) -> dict[str, Any]:
    return of(name, 1, "n_clicks")


def act(client: flask.testing.FlaskClient, site: Site, action: str, name: str, role: str = "viewer") -> str:
    """Press a button of a user's row."""
    place = {"type": "admin-do", "action": action, "user": user(site, name).id}
    choice = {"type": "admin-role", "user": user(site, name).id}
    return press(
        client,
        site,
        "pages.admin:change_user",
        [{"id": place, "property": "n_clicks", "value": 1}],
        [{"id": choice, "property": "value", "value": role}],
        [{"id": choice, "property": "id", "value": choice}],
        trigger=json.dumps(place, sort_keys=True, separators=(",", ":")) + ".n_clicks",
    )


# --- what the page shows -------------------------------------------------------------------------


def test_an_administrator_reads_of_no_recording_what_it_is(site: Site) -> None:
    recording = site.records.list_recordings().rows[0]
    site.records.retention.trash(recording.id)
    drawn = show(signed_in(site, "keeper"), "/admin")
    assert recording.id in drawn
    assert CANARY not in drawn
    assert CANARY in show(signed_in(site, "doctor"), "/trash")
    site.records.retention.bring_back(recording.id)


def test_the_header_offers_what_may_be_opened(site: Site) -> None:
    for name, offered, withheld in (("keeper", "/admin", "/new"), ("doctor", "/new", "/admin")):
        layout = signed_in(site, name).get("/_dash-layout").get_data(as_text=True).replace("\\u002f", "/")
        assert f'"href":"{offered}"' in layout
        assert f'"href":"{withheld}"' not in layout


def test_who_keeps_the_house_comes_in_at_its_page(site: Site) -> None:
    client = site.browser("https", "redys.example")
    page = client.get("/sign-in").get_data(as_text=True)
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    form = {"name": "keeper", "password": PASSWORD, "csrf_token": found[1]}
    assert client.post("/sign-in", data=form).headers["Location"] == "/admin"


# --- users ---------------------------------------------------------------------------------------


def test_a_new_user_signs_in_with_the_password_that_was_told_once(site: Site) -> None:
    keeper = signed_in(site, "keeper")
    said = press(keeper, site, "pages.admin:add_user", click("admin-add"), of("admin-name", "newcomer"),
                 of("admin-role", "viewer"))  # fmt: skip
    password = re.search(r"[a-z0-9]{5}(-[a-z0-9]{5}){3}", said)
    assert password
    assert sign_in(site.browser("https", "redys.example"), "newcomer", password[0]) == 302
    again = press(keeper, site, "pages.admin:add_user", click("admin-add"), of("admin-name", "newcomer"),
                  of("admin-role", "administrator"))  # fmt: skip
    assert "There is a user newcomer already." in again
    assert user(site, "newcomer").role == "viewer"
    assert password[0] not in show(keeper, "/admin")


@pytest.mark.parametrize("action", ["disable", "end", "password", "role"])
def test_what_is_done_to_a_user_ends_their_sessions_at_once(site: Site, action: str) -> None:
    site.records.users.add("leaves", PASSWORD, "clinician")
    site.records.users.set_disabled(user(site, "leaves").id, False, "test")
    client = signed_in(site, "leaves")
    assert client.get("/_dash-layout").status_code == 200
    act(signed_in(site, "keeper"), site, action, "leaves")
    assert client.get("/_dash-layout").status_code == 401
    status = sign_in(site.browser("https", "redys.example"), "leaves")
    assert status == (403 if action in ("disable", "password") else 302)
    done = next(row for row in site.records.audit.list().rows if row.action.startswith("user."))
    assert (done.actor, done.role, done.object) == ("keeper", "administrator", user(site, "leaves").id)


def test_a_clinician_is_refused_what_only_administrators_may(site: Site) -> None:
    doctor = signed_in(site, "doctor")
    assert act(doctor, site, "role", "doctor", "administrator") == "403"
    assert user(site, "doctor").role == "clinician"
    asked = [click("admin-erase-go"), of("admin-erase", CANARY), of("admin-erase-again", CANARY)]
    assert press(doctor, site, "pages.admin:erase", *asked) == "403"
    assert site.records.list_recordings().total == 2


def test_the_last_administrator_stays_one(site: Site) -> None:
    keeper = user(site, "keeper")
    for change in (
        lambda: site.records.users.set_role(keeper.id, "viewer", "test"),
        lambda: site.records.users.set_disabled(keeper.id, True, "test"),
    ):
        with pytest.raises(UserError, match="last administrator"):
            change()
    other = site.records.users.add("second", PASSWORD, "administrator")
    site.records.users.set_disabled(keeper.id, True, "test")
    with pytest.raises(UserError, match="last administrator"):
        site.records.users.set_role(other.id, "viewer", "test")
    site.records.users.set_disabled(keeper.id, False, "test")
    site.records.users.set_disabled(other.id, True, "test")
    with pytest.raises(NotFound):
        site.records.users.end_sessions("0" * 32, "test")


# --- erasing -------------------------------------------------------------------------------------


def test_a_person_is_erased_only_when_written_twice(site: Site) -> None:
    keeper = signed_in(site, "keeper")
    seen = press(keeper, site, "pages.admin:look", click("admin-erase-look"), of("admin-erase", CANARY))
    assert "Recordings: 2." in seen

    def erase(again: str) -> str:
        return press(keeper, site, "pages.admin:erase", click("admin-erase-go"), of("admin-erase", CANARY),
                     of("admin-erase-again", again))  # fmt: skip

    assert "not the same" in erase("Kanarienvogel")
    assert site.records.list_recordings().total == 2
    said = erase(CANARY)
    assert "Erased: 2 recordings" in said
    assert "yours to delete" in said  # the session folders lie elsewhere
    assert site.records.list_recordings().total == 0
    site.records.audit.verify()


def test_without_sign_in_the_page_says_that_there_are_no_users(tmp_path: Path) -> None:
    with open_site(tmp_path / "data") as site:
        client = site.browser()
        client.get("/")
        body = page_body("/admin")
        cookie = client.get_cookie("_csrf_token")
        assert cookie is not None
        answer = client.post(
            "/_dash-update-component", json=body, headers={"X-CSRFToken": cookie.value}
        ).get_data(as_text=True)
    assert "There are no users here" in answer
    assert "Erase a person" in answer
