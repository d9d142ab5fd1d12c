"""The command line of records."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from records import Records, get_records
from records.__main__ import main
from tests.records.site import make_session, surroundings


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Records]:
    with surroundings(tmp_path / "data"):
        yield get_records()


def test_add_prints_the_address_of_the_recording(
    own: Records, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = make_session(tmp_path / "s", 'subject = "P-1"\nvisit = 2026-03-02\n')
    assert main(["add", str(session), "--title", "First"]) == 0
    address = capsys.readouterr().out.strip()
    row = own.get_recording(address.removeprefix("/recording/"))
    assert (row.title, row.visit) == ("First", datetime.date(2026, 3, 2))


def test_what_cannot_be_added_is_said_in_words(
    own: Records, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", str(tmp_path / "nowhere")]) == 2
    session = make_session(tmp_path / "s")
    assert main(["add", str(session), "--run-out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "nowhere is not a folder" in told
    assert "summary.json is missing" in told
    assert "What to do" in told


def test_a_user_is_added_with_the_password_of_the_surroundings(
    own: Records, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDYS_PASSWORD", "a long enough sentence")
    assert main(["add-user", "somebody"]) == 0
    assert own.users.verify("somebody", "a long enough sentence") is not None
    monkeypatch.setenv("REDYS_PASSWORD", "short")
    assert main(["add-user", "other"]) == 2
    assert "sentence" not in capsys.readouterr().out


def test_an_unknown_run_is_not_supervised(own: Records) -> None:
    assert main(["supervise", "0" * 32]) == 2
    assert main(["migrate"]) == 0
