"""The doctor names what is missing, and changes nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from records import Records, doctor
from records.__main__ import main
from records.backup import make_backup
from records.doctor import Finding, examine
from settings import Settings
from tests.records.site import surroundings


def look(**values: object) -> dict[str, Finding]:
    """The findings by part, the worst of each."""
    settings = Settings(_env_file=None, **values)  # type: ignore[arg-type, call-arg]
    order = ("missing", "note", "ok")
    found: dict[str, Finding] = {}
    for each in examine(Records(settings)):
        if each.part not in found or order.index(each.level) < order.index(found[each.part].level):
            found[each.part] = each
    return found


def test_a_fresh_installation_works_and_is_told_what_to_know(tmp_path: Path) -> None:
    found = look(data_dir=tmp_path / "data")
    assert {part: each.level for part, each in found.items() if each.level == "missing"} == {}
    assert "simulated" in found["Reference"].what
    assert found["Measurement error"].advice
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_a_short_key_and_readable_folders_are_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "secret_key").write_text("key", encoding="ascii")
    (data / "secret_key").chmod(0o644)
    ahead = time.time() + 3600
    (data / ".health").touch()
    os.utime(data / ".health", (ahead, ahead))
    found = look(data_dir=data)
    assert found["Secret key"].level == found["Clock"].level == "missing"
    assert "Everybody" in found["Data folder"].what
    assert look(data_dir=data, SECRET_KEY="short")["Secret key"].level == "missing"


def test_what_does_not_answer_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    found = look(
        data_dir=tmp_path,
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing",
        REDIS_URL="redis://127.0.0.1:1",
        node_modules=tmp_path / "none",
        models_dir=tmp_path / "none",
        detector="nonsense",
        baseline=tmp_path / "none.npz",
        reliability=tmp_path / "none.json",
    )
    missing = {part for part, each in found.items() if each.level == "missing"}
    assert {"Database", "Queue", "Browser modules", "Hand model", "Networks"} <= missing
    assert {"Reference", "Measurement error"} <= missing
    assert all(each.advice for each in found.values() if each.level == "missing")
    assert found["Python"].level == "ok"


def test_a_package_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("Flask==0.1\nno-such-package==1\n", encoding="utf-8")
    (found,) = doctor._look_at_packages(tmp_path / "requirements.txt")
    assert "Flask" in found.what
    assert "no-such-package is not there" in found.what


def test_a_backup_of_today_is_enough_and_one_of_last_week_is_not(records: Records, tmp_path: Path) -> None:
    place = tmp_path / "backups"
    made = make_backup(records, place)
    (today,) = doctor._look_at_backup(records.settings.data_dir)
    made.folder.rename(place / "2026-01-01T000000Z")
    (old,) = doctor._look_at_backup(records.settings.data_dir)
    assert (today.level, old.level) == ("ok", "note")
    assert "2026-01-01" in old.what


@pytest.mark.parametrize(("detector", "code"), [("mediapipe", 0), ("nonsense", 2)])
def test_the_command_says_it_by_its_exit_code(
    tmp_path: Path, detector: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with surroundings(tmp_path / "data", REDYS_DETECTOR=detector):
        assert main(["doctor"]) == code
    assert "Networks" in capsys.readouterr().out
