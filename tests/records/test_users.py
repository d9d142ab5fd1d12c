"""Signing in."""

import pytest

from records import Records, models
from records.errors import UserError
from records.users import LONGEST_DELAY_S, Backoff

PASSWORD = "a long enough sentence"


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'users.sqlite3'}"


def test_the_right_password_opens_and_nothing_else_does(records: Records) -> None:
    added = records.users.add(" Dr. Eins ", PASSWORD)
    assert records.users.verify("Dr. Eins", PASSWORD) == added
    for name, password in (("Dr. Eins", PASSWORD + " "), ("Dr. Eins", ""), ("Nobody", PASSWORD), ("", "")):
        assert records.users.verify(name, password) is None


def test_a_password_is_kept_only_as_argon2id(records: Records) -> None:
    user = records.users.add("somebody", PASSWORD)
    with records.reading() as database:
        kept = database.get_one(models.User, user.id).password_hash
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


def test_a_new_password_ends_the_sessions_of_the_old(records: Records) -> None:
    before = records.users.add("somebody", PASSWORD)
    after = records.users.add("somebody", PASSWORD + "!")
    assert after.id == before.id
    assert after.epoch == before.epoch + 1
    assert records.users.verify("somebody", PASSWORD) is None
    assert records.users.count() == 1


def test_who_is_disabled_may_not_sign_in(records: Records) -> None:
    user = records.users.add("somebody", PASSWORD)
    with records.writing() as database:
        database.get_one(models.User, user.id).disabled = True
    assert records.users.verify("somebody", PASSWORD) is None
    assert records.users.count() == 0


@pytest.mark.parametrize(
    ("name", "password"), [("", PASSWORD), ("x" * 201, PASSWORD), ("a", "short"), ("a", "")]
)
def test_an_empty_name_and_a_short_password_are_refused(records: Records, name: str, password: str) -> None:
    with pytest.raises(UserError):
        records.users.add(name, password)
    assert records.users.count() == 0


def test_failed_tries_wait_longer_each_time_but_never_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("records.users.time.monotonic", lambda: clock[0])
    backoff = Backoff()
    waits = []
    for _ in range(12):
        backoff.failed("somebody", "here")
        waits.append(backoff.wait_s("somebody", "here"))
    assert waits[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert max(waits) == LONGEST_DELAY_S
    assert backoff.wait_s("somebody", "elsewhere") == 0.0
    clock[0] += LONGEST_DELAY_S
    assert backoff.wait_s("somebody", "here") == 0.0
    backoff.failed("somebody", "here")
    backoff.succeeded("somebody", "here")
    assert backoff.wait_s("somebody", "here") == 0.0
