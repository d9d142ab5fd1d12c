"""Signing in."""

import datetime

import pytest
from sqlalchemy import select

from records import Records, models, sign_ins
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


def test_passwords_that_are_tried_first_are_refused_with_the_reason(records: Records) -> None:
    for name, password, why in [
        ("a", "passwordpassword", "again and again"),
        ("a", "qwertyuiopasdf", "tried first"),
        ("a", "123456789012", "tried first"),
        ("a", "redysredysredys", "again and again"),
        ("Dr. Heinzelmann-Mayr", "heinzelmannmayr", "too little"),
        ("a", "1999-12-31 01", ""),
    ]:
        with pytest.raises(UserError, match="guessed soon") as refused:
            records.users.add(name, password)
        assert why in str(refused.value)
    for password in (
        PASSWORD,
        "xxx" + "kd9 2ölm4 ü" * 90,
        "correct horse battery staple",
        "  vier Wörter mit Rand ",
    ):
        records.users.add("b", password)
        assert records.users.verify("b", password) is not None


def test_a_password_that_is_too_weak_now_still_opens_if_it_was_taken_before(records: Records) -> None:
    user = records.users.add("somebody", PASSWORD)
    with records.writing() as database:
        database.get_one(models.User, user.id).password_hash = records.users._hasher.hash("password")
    assert records.users.verify("somebody", "password") is not None


def test_sign_ins_that_are_over_are_dropped(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    user = records.users.add("somebody", PASSWORD)
    old, begun = records.sign_ins.begin(user.id), models.now()
    monkeypatch.setattr(sign_ins, "now", lambda: begun + datetime.timedelta(hours=13, minutes=1))
    fresh = records.sign_ins.begin(user.id)
    found = records.sign_ins.find(old)
    assert found is not None
    assert found.state == "over"
    assert records.sign_ins.drop_old() == 1
    assert records.sign_ins.find(old) is None
    found = records.sign_ins.find(fresh)
    assert found is not None
    assert (found.state, found.user.id) == ("open", user.id)
    with records.reading() as database:
        kept = database.scalars(select(models.SignIn.id)).all()
    assert len(kept) == 1
    assert fresh not in kept


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
