"""One's own sign-in over HTTP: the code is asked for together with the password."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import flask.testing
import pyotp
import pytest

from components import policy
from records import get_records
from records.rows import UserRow
from tests.components.test_admin import act, click, of, press, show, signed_in, user
from tests.components.test_security import OPEN, PASSWORD
from tests.records.site import Site, open_site, surroundings

STRICT = {**OPEN, "REDYS_SECOND_FACTOR": "administrators"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("account") / "data"
    with surroundings(data, **STRICT):
        get_records().users.add("keeper", PASSWORD, "administrator")
        get_records().users.add("doctor", PASSWORD, "clinician")
    with open_site(data, **STRICT) as opened:
        yield opened


def sign_in(site: Site, name: str, password: str = PASSWORD, code: str = "") -> int:
    """One try; those before it are forgotten, as if there had been a wait."""
    client: flask.testing.FlaskClient = site.browser("https", "redys.example")
    page = client.get("/sign-in").get_data(as_text=True)
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    form = {"name": name, "password": password, "code": code, "csrf_token": found[1]}
    for _ in range(30):
        status = client.post("/sign-in", data=form).status_code
        if status != 429:
            break
        time.sleep(0.1)
    return status


def set_up(site: Site, name: str) -> tuple[str, tuple[str, ...]]:
    secret = site.records.second_factor.propose()
    earlier = pyotp.TOTP(secret).at(int(time.time()) - 30)  # so that the present code is still to be used
    return secret, site.records.second_factor.confirm(user(site, name).id, secret, earlier)


def test_an_administrator_sets_up_a_code_before_anything_else(site: Site) -> None:
    keeper = signed_in(site, "keeper")
    assert policy.FACTOR_FIRST in show(keeper, "/admin")
    assert act(keeper, site, "role", "doctor", "administrator") == "403"
    assert keeper.get("/metrics").status_code == 403
    page = show(keeper, "/account")
    secret = re.search(r'"data":"([A-Z2-7]{32})"', page)
    assert secret
    asked = [click("factor-go"), of("factor-secret", secret[1], "data")]
    assert "not right" in press(keeper, site, "pages.account:set_up", *asked, of("factor-code", "000000"))
    code = pyotp.TOTP(secret[1]).at(int(time.time()) - 30)
    said = press(keeper, site, "pages.account:set_up", *asked, of("factor-code", code))
    assert len(re.findall(r"[a-z0-9]{4}(?:-[a-z0-9]{4}){3}", said)) == 8
    assert "Erase a person" in show(keeper, "/admin")
    assert keeper.get("/metrics").status_code == 200


def test_password_and_code_are_asked_for_together_and_no_answer_says_which_was_wrong(site: Site) -> None:
    site.records.users.add("careful", PASSWORD, "clinician")
    secret, codes = set_up(site, "careful")
    assert sign_in(site, "careful") == 403
    assert sign_in(site, "careful", "wrong", pyotp.TOTP(secret).now()) == 403
    time.sleep(0.3)
    assert sign_in(site, "careful", PASSWORD, pyotp.TOTP(secret).now()) == 302
    assert sign_in(site, "careful", PASSWORD, codes[0]) == 302
    assert sign_in(site, "doctor") == 302


def test_ones_own_password_is_changed_with_the_old_one_and_ends_all_sessions(site: Site) -> None:
    found: UserRow = site.records.users.add("changes", PASSWORD, "viewer")
    client = signed_in(site, "changes")
    asked = [click("account-go"), of("account-old", "wrong"), of("account-new", "another long sentence")]
    assert "not right" in press(client, site, "pages.account:change_password", *asked)
    asked[1] = of("account-old", PASSWORD)
    assert "It is changed" in press(client, site, "pages.account:change_password", *asked)
    assert client.get("/_dash-layout").status_code == 401
    assert sign_in(site, "changes", "another long sentence") == 302
    assert user(site, "changes").role == found.role
