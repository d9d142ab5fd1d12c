"""Codes beside the password: each counts once, whoever shows it."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyotp
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from records import Records, models
from records.errors import UserError
from records.second_factor import RECOVERY_CODES, SecondFactor, draw_secret


@pytest.fixture
def user_id(records: Records) -> str:
    return records.users.add("somebody", "a long enough sentence").id


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of codes, to be set; that of waits goes on by itself."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("records.second_factor.time.time", lambda: now[0])
    return now


def set_up(records: Records, user_id: str, at: float) -> tuple[str, tuple[str, ...]]:
    secret = records.second_factor.propose()
    return secret, records.second_factor.confirm(user_id, secret, pyotp.TOTP(secret).at(int(at)))


def check(records: Records, user_id: str, code: str) -> bool:
    """A try without the wait that misses before it earned."""
    return SecondFactor(records).check(user_id, code)


def test_a_code_counts_once_and_none_before_it(records: Records, user_id: str, moment: list[float]) -> None:
    secret, _ = set_up(records, user_id, moment[0])
    code = pyotp.TOTP(secret)
    assert not check(records, user_id, code.at(int(moment[0])))  # the one that set it up
    moment[0] += 60
    assert check(records, user_id, code.at(int(moment[0])))
    assert not check(records, user_id, code.at(int(moment[0])))
    assert not check(records, user_id, code.at(int(moment[0]) - 30))
    assert check(records, user_id, code.at(int(moment[0]) + 30))  # a phone that is a little ahead
    moment[0] += 300
    assert not check(records, user_id, code.at(int(moment[0]) - 90))
    moment[0] -= 300  # a clock that is set back brings no code back
    assert not check(records, user_id, code.at(int(moment[0])))


def test_of_many_who_show_one_code_at_once_one_is_let_in(
    records: Records, user_id: str, moment: list[float]
) -> None:
    secret, codes = set_up(records, user_id, moment[0])
    moment[0] += 60
    for code in (pyotp.TOTP(secret).at(int(moment[0])), codes[0]):
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda _, code=code: check(records, user_id, code), range(8)))
        assert sum(done) == 1


def test_codes_on_paper_work_once_each_and_are_kept_as_hashes(
    records: Records, user_id: str, moment: list[float]
) -> None:
    _, codes = set_up(records, user_id, moment[0])
    assert len(set(codes)) == RECOVERY_CODES
    assert check(records, user_id, codes[3].upper())
    assert not check(records, user_id, codes[3])
    assert check(records, user_id, codes[4])
    from records import models

    with records.reading() as database:
        user = database.get_one(models.User, user_id)
        assert len(json.loads(user.recovery)) == RECOVERY_CODES - 2
        assert not any(code in user.recovery for code in codes)


def test_six_digits_cannot_be_tried_one_after_the_other(
    records: Records, user_id: str, moment: list[float]
) -> None:
    secret, _ = set_up(records, user_id, moment[0])
    moment[0] += 60
    assert not records.second_factor.check(user_id, "000000")
    right = pyotp.TOTP(secret).at(int(moment[0]))
    assert not records.second_factor.check(user_id, right)  # too soon
    time.sleep(0.25)
    assert records.second_factor.check(user_id, right)


def test_nothing_is_kept_before_a_right_code_is_shown(records: Records, user_id: str) -> None:
    for secret in (records.second_factor.propose(), "short", "JBSWY3DP"):
        with pytest.raises(UserError, match="not right"):
            records.second_factor.confirm(user_id, secret, "123")
    found = records.users.get(user_id)
    assert found is not None
    assert not found.has_totp
    assert records.second_factor.check(user_id, "")


def test_doing_without_ends_all_sessions_and_a_new_secret_takes_no_old_code(
    records: Records, user_id: str, moment: list[float]
) -> None:
    set_up(records, user_id, moment[0])
    before = records.users.get(user_id)
    assert before is not None
    assert before.has_totp
    moment[0] += 60
    with pytest.raises(UserError, match="already"):
        set_up(records, user_id, moment[0])
    records.second_factor.remove(user_id, "keeper")
    after = records.users.get(user_id)
    assert after is not None
    assert (after.has_totp, after.epoch) == (False, before.epoch + 1)


def test_the_picture_holds_the_secret_and_asks_nobody_for_it(tmp_path: Path) -> None:
    address = draw_secret("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "somebody")
    assert address.startswith("data:image/svg+xml")
    said = base64.b64decode(address.partition("base64,")[2]).decode() if "base64," in address else address
    assert "svg" in said
    assert "//example" not in said


def kept(records: Records) -> str:
    with records.reading() as database:
        return database.scalar(select(models.User.totp_secret)) or ""


def test_a_secret_lies_sealed_in_the_database_and_opens_with_its_key_alone(
    records: Records, user_id: str, moment: list[float]
) -> None:
    secret, codes = set_up(records, user_id, moment[0])
    assert secret not in kept(records)
    moment[0] += 60
    code = pyotp.TOTP(secret).at(int(moment[0]))
    another = Records(records.settings.model_copy(update={"secret_key": SecretStr("another key")}))
    assert another.second_factor.list_unreadable() == ("somebody",)
    assert not check(another, user_id, code)
    assert check(another, user_id, codes[0])  # what is on paper needs no key
    another.close()
    assert records.second_factor.list_unreadable() == ()
    assert check(records, user_id, code)


def test_what_an_earlier_version_kept_in_plain_is_sealed(
    records: Records, user_id: str, moment: list[float]
) -> None:
    secret, _ = set_up(records, user_id, moment[0])
    with records.writing() as database:
        database.execute(update(models.User).values(totp_secret=secret))
    assert records.second_factor.seal_all() == 1
    assert records.second_factor.seal_all() == 0
    assert secret not in kept(records)
    if records.engine.dialect.name == "sqlite":
        records.close()
        folder = records.settings.data_dir
        assert not [path for path in folder.glob("*sqlite3*") if secret.encode() in path.read_bytes()]
    moment[0] += 60
    assert check(records, user_id, pyotp.TOTP(secret).at(int(moment[0])))
