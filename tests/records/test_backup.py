"""The drill: back up while in use, lose everything, restore, compare by checksum."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyotp
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

import app
from pipeline.files import hash_file
from records import Records, doctor, models
from records import backup as backups
from records.backup import check_backup, find_backup, make_backup, restore_backup
from records.erasure import ERASED
from records.errors import MaintenanceError
from records.maintenance import hold_unused
from records.models import now
from records.standing import STANDING, read_standing
from settings import ROOT, Settings
from tests.records.site import surroundings
from tests.records.test_retention import CANARY, database_url, find_bytes, make_person

__all__ = ["database_url"]

PASSWORD = "a long enough sentence"

BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def sums(data: Path) -> dict[str, str]:
    """What must come back, by its SHA-256."""
    return {
        path.relative_to(data).as_posix(): hash_file(path)
        for name in ("sessions", "runs", "rigs")
        for path in sorted((data / name).rglob("*"))
        if path.is_file()
    }


def rows(records: Records) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the database."""
    with records.engine.connect() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(text(f'SELECT * FROM "{table.name}"'))), key=str
            )
            for table in models.Base.metadata.sorted_tables
            if table.name not in ("audit_event", "user_account", "share_link")
        }


def lose_everything(records: Records) -> None:
    """The disk is gone; the database server stands, empty."""
    records.close()
    shutil.rmtree(records.settings.data_dir)
    if not records.settings.effective_database_url.startswith("sqlite"):
        with records.engine.begin() as connection:
            names = ", ".join(table.name for table in models.Base.metadata.sorted_tables)
            connection.execute(text(f"DROP TABLE {names}, alembic_version CASCADE"))
        records.close()
        shutil.rmtree(records.settings.data_dir)


@BOTH
def test_what_was_lost_comes_back_byte_by_byte(records: Records, place: Path) -> None:
    one = make_person(records, "P-1")
    user = records.users.add("somebody", "a long enough sentence")
    records.note("somebody", "look", one.id)
    before, files, head = rows(records), sums(records.settings.data_dir), records.audit.head()
    made = make_backup(records, place)
    assert made.files == len(files)
    lose_everything(records)

    done = restore_backup(records, place)
    assert rows(records) == before
    assert sums(records.settings.data_dir) == files
    with records.reading() as database:
        assert [link.revoked is None for link in database.scalars(select(models.ShareLink))] == [False]
    records.audit.verify(head)
    again = records.users.get(user.id)
    assert again is not None
    assert again.epoch != user.epoch  # nobody's session outlives a restore
    assert records.users.verify("somebody", "a long enough sentence") is not None
    assert done.erased.recordings == 0
    records.note("somebody", "look", one.id)  # counters go on where they were
    records.retention.trash(one.id)
    records.audit.verify(head)


@BOTH
def test_who_was_erased_does_not_come_back_with_yesterdays_backup(records: Records, place: Path) -> None:
    make_person(records, "P-2")
    gone = make_person(records, CANARY)
    make_backup(records, place)
    assert find_bytes(place, CANARY)
    records.retention.erase_subject(CANARY)
    assert [each["subject"] for each in backups.read_erased(place / ERASED)] == [gone.subject_id]
    lose_everything(records)  # with the list in the data folder

    done = restore_backup(records, place)
    assert done.erased.recordings == 1
    assert find_bytes(records.settings.data_dir, CANARY) == []
    assert [row.subject for row in records.list_recordings().rows] == ["P-2"]
    if records.engine.dialect.name == "postgresql":
        assert CANARY not in str(rows(records))
    records.audit.verify()
    later = make_backup(records, place)
    assert find_bytes(later.folder, CANARY) == []


def test_what_was_purged_or_left_without_a_row_does_not_come_back(records: Records, place: Path) -> None:
    one = make_person(records, CANARY)
    run = records.get_recording(one.id).run
    assert run is not None
    make_backup(records, place)
    records.retention.trash(one.id)
    records.retention.purge_one(one.id)
    records.close()
    restore_backup(records, place, replace=True)
    with records.reading() as database:
        assert database.get(models.Recording, one.id) is None
    assert find_bytes(records.settings.data_dir, run.id) == [ERASED] or not list(
        (records.settings.data_dir / "runs").glob(f"{run.id}*")
    )


def test_an_unchanged_file_is_the_same_file_in_the_next_backup(records: Records, place: Path) -> None:
    one = make_person(records, "P-1")
    first = make_backup(records, place)
    (one.folder / "session.toml").write_text('subject = "P-1"\ntask = "banjo"\n', encoding="utf-8")
    second = make_backup(records, place)
    video = (one.folder / "front.mp4").relative_to(records.settings.data_dir)
    assert (first.folder / "files" / video).stat().st_ino == (second.folder / "files" / video).stat().st_ino
    assert 0 < second.copied_bytes < 1000
    assert second.files >= first.files
    assert check_backup(first.folder) == first.files
    assert check_backup(second.folder) == second.files


def test_a_backup_is_whole_while_others_write(records: Records, place: Path) -> None:
    one = make_person(records, "P-1")
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            records.note("somebody", "look", one.id)
            (one.folder / "log.jsonl").open("a").write("line\n" * 50)
            written.append(1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(written) < 3:
            pass
        made = [make_backup(records, place) for _ in range(3)]
    finally:
        stop.set()
        thread.join()
    records.close()
    for each in made:
        check_backup(each.folder)
        restore_backup(records, place, each.folder.name, replace=True)
        records.audit.verify()
        records.close()


def test_nothing_secret_or_made_anew_is_in_a_backup(records: Records, place: Path) -> None:
    make_person(records, "P-1")
    data = records.settings.data_dir
    (data / "secret_key").write_text("key", encoding="ascii")
    made = make_backup(records, place)
    names = {path.relative_to(made.folder / "files").as_posix() for path in made.folder.rglob("*")
             if path.is_relative_to(made.folder / "files")}  # fmt: skip
    assert not [name for name in names if name.startswith(("cache", "secret_key", "incoming"))]
    assert not [name for name in names if "sqlite3" in name]
    assert oct((made.folder / "database.sqlite3").stat().st_mode & 0o777) == "0o600"


def test_old_backups_are_dropped_but_never_the_newest(records: Records, place: Path) -> None:
    first = make_backup(records, place)
    old = now() - datetime.timedelta(days=36)
    first.folder.rename(place / old.strftime("%Y-%m-%dT%H%M%SZ"))
    second = make_backup(records, place)
    assert len(second.dropped) == 1
    assert find_backup(place) == second.folder
    assert make_backup(records, place, keep_days=0).folder.exists()


# --- restores that are killed ---------------------------------------------------------------------

DYING = """
import os, signal, sys

event, word, place = sys.argv[1:]

def look(name, values):
    if name == event and word in str(values):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(look)
from records.__main__ import main

main(["restore", place, "--replace"])
"""
"""A restore that is killed where Python is about to do something to a file of some name."""


def restore_and_die(records: Records, place: Path, event: str, word: str) -> None:
    records.close()
    settings = records.settings
    own = {"REDYS_DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.effective_database_url}
    command = [sys.executable, "-c", DYING, event, word, str(place)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, timeout=60)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def erased_since(records: Records, place: Path) -> Records:
    """A backup with two people, one of whom was erased since; the data folder alone knows of that."""
    make_person(records, "P-2")
    make_person(records, CANARY)
    make_backup(records, place)
    records.retention.erase_subject(CANARY)
    (place / ERASED).unlink()
    return records


@pytest.mark.parametrize(
    ("event", "word"),
    [("os.rename", "/.replaced-"), ("os.rename", "/.restoring-"), ("sqlite3.connect", ".sqlite3")],
    ids=["what was there half aside", "nothing in yet", "sessions not ended yet"],
)
def test_nothing_starts_on_a_half_restored_folder_until_it_is_restored_again(
    erased_since: Records, place: Path, event: str, word: str
) -> None:
    records, data = erased_since, erased_since.settings.data_dir
    restore_and_die(records, place, event, word)
    with pytest.raises(MaintenanceError, match="half restored") as raised:
        _ = records.engine
    assert str(find_backup(place).name) in raised.value.advice
    with (
        surroundings(data, DATABASE_URL=records.settings.effective_database_url),
        pytest.raises(MaintenanceError, match="half restored"),
    ):
        app.make_app()
    (said,) = (each for each in doctor._look_at_restore(data) if each.level == "missing")
    assert said.advice == raised.value.advice

    done = restore_backup(records, place)  # needs no --replace: what was there is aside already
    assert done.erased.recordings == 1
    assert [row.subject for row in records.list_recordings().rows] == ["P-2"]
    assert find_bytes(data, CANARY) == []
    assert list(doctor._look_at_restore(data)) == []
    records.audit.verify()


@pytest.mark.parametrize(
    ("event", "word", "left"),
    [("shutil.copyfile", "front.mp4", ".restoring-"), ("shutil.rmtree", "/.replaced-", ".replaced-")],
    ids=["nothing changed yet", "nothing but tidying left"],
)
def test_a_restore_killed_before_its_first_change_or_after_its_last_hinders_nobody_and_is_told_of(
    erased_since: Records, place: Path, event: str, word: str, left: str
) -> None:
    records, data = erased_since, erased_since.settings.data_dir
    restore_and_die(records, place, event, word)
    assert [row.subject for row in records.list_recordings().rows] == ["P-2"]
    (said,) = doctor._look_at_restore(data)
    assert said.level == "note"
    assert left in said.what
    assert "delete" in said.advice
    records.close()
    with pytest.raises(MaintenanceError, match="not empty"):
        restore_backup(records, place)
    restore_backup(records, place, replace=True)
    assert find_bytes(data, CANARY) == []
    assert list(doctor._look_at_restore(data)) == []


# --- what is refused -----------------------------------------------------------------------------


def test_a_folder_in_use_or_not_empty_is_not_restored_over(records: Records, place: Path) -> None:
    make_person(records, "P-1")
    make_backup(records, place)
    before = sums(records.settings.data_dir)
    with pytest.raises(MaintenanceError, match="in use"):
        restore_backup(Records(records.settings), place, replace=True)
    records.close()
    with pytest.raises(MaintenanceError, match="not empty"):
        restore_backup(records, place)
    assert sums(records.settings.data_dir) == before
    with hold_unused(records.settings.data_dir), pytest.raises(MaintenanceError, match="being restored"):
        _ = records.engine


@pytest.mark.parametrize("harm", ["flip", "drop", "manifest", "database", "cut"])
def test_a_damaged_backup_is_found_before_anything_is_touched(
    records: Records, place: Path, harm: str
) -> None:
    one = make_person(records, "P-1")
    folder = make_backup(records, place).folder
    video = folder / "files" / (one.folder / "front.mp4").relative_to(records.settings.data_dir)
    target = {"manifest": folder / "manifest.json", "database": folder / "database.sqlite3"}.get(harm, video)
    if harm == "drop":
        target.unlink()
    elif harm == "cut":
        os.truncate(target, 3)
    else:
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
    records.close()
    before = sums(records.settings.data_dir)
    with pytest.raises(MaintenanceError, match="backup"):
        restore_backup(records, place, replace=True)
    assert sums(records.settings.data_dir) == before
    assert records.get_recording(one.id)


def test_a_backup_that_names_a_file_elsewhere_is_refused(records: Records, place: Path) -> None:
    folder = make_backup(records, place).folder
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["../../stolen"] = {"size": 1, "mtime_ns": 1, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "manifest.sha256").write_text(hash_file(folder / "manifest.json"), encoding="ascii")
    with pytest.raises(MaintenanceError, match="outside itself"):
        check_backup(folder)


def test_a_list_of_the_erased_that_cannot_be_read_stops_the_restore(records: Records, place: Path) -> None:
    make_backup(records, place)
    (place / ERASED).write_text("nonsense\n", encoding="ascii")
    records.close()
    with pytest.raises(MaintenanceError, match="erased"):
        restore_backup(records, place, replace=True)


def test_a_backup_goes_neither_into_the_data_folder_nor_around_it(records: Records) -> None:
    data = records.settings.data_dir
    for place in (data, data / "backups", data.parent):
        with pytest.raises(MaintenanceError, match="inside the other"):
            make_backup(records, place)


def test_a_full_disk_leaves_the_earlier_backup_whole(
    records: Records, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_person(records, "P-1")
    first = make_backup(records, place)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(backups, "_take", full)
        with pytest.raises(MaintenanceError, match="No space left"):
            make_backup(records, place)
    assert [each.name for each in place.iterdir() if each.is_dir()] == [first.folder.name]
    assert check_backup(find_backup(place)) == first.files


def test_a_folder_without_backups_is_said_so(records: Records, place: Path) -> None:
    with pytest.raises(MaintenanceError, match="holds no backup"):
        find_backup(place)
    make_backup(records, place)
    with pytest.raises(MaintenanceError, match="called 2020"):
        find_backup(place, "2020")


def test_a_backup_of_the_other_database_is_refused_before_anything_is_touched(
    records: Records, place: Path, empty_postgres: str, tmp_path: Path
) -> None:
    make_person(records, "P-1")
    make_backup(records, place)
    other: Settings = records.settings.model_copy(
        update={"data_dir": tmp_path / "other", "database_url": empty_postgres}
    )
    with pytest.raises(MaintenanceError, match="is of sqlite"):
        restore_backup(Records(other), place, replace=True)
    assert not other.data_dir.exists()


def test_who_was_disabled_or_given_a_lesser_role_since_stays_so(records: Records, place: Path) -> None:
    left = records.users.add("left", PASSWORD, "clinician")
    lesser = records.users.add("lesser", PASSWORD, "clinician")
    stays = records.users.add("stays", PASSWORD, "viewer")
    make_backup(records, place)
    records.users.set_disabled(left.id, True, "administrator")
    records.users.set_role(lesser.id, "viewer", "administrator")
    records.close()
    shutil.rmtree(records.settings.data_dir)  # the machine is lost; the list beside the backups is not
    done = restore_backup(records, place, replace=True)
    assert done.restood == 2
    found = {user.name: (user.role, user.disabled) for user in records.users.list()}
    assert found == {"left": ("clinician", True), "lesser": ("viewer", False), "stays": ("viewer", False)}
    assert records.users.verify("left", PASSWORD) is None
    assert records.users.verify("stays", PASSWORD) is not None
    assert stays.id in {entry["user"] for entry in read_standing(records.settings.data_dir / STANDING)}


def test_a_list_of_who_may_sign_in_that_cannot_be_read_stops_a_restore(records: Records, place: Path) -> None:
    records.users.add("somebody", PASSWORD)
    make_backup(records, place)
    records.close()
    (place / STANDING).write_text("nonsense\n", encoding="ascii")
    with pytest.raises(MaintenanceError, match="who may sign in"):
        restore_backup(records, place, replace=True)


def test_second_factors_outlast_a_restore_with_the_same_key_and_are_named_without_it(
    records: Records, place: Path
) -> None:
    user = records.users.add("somebody", PASSWORD)
    secret = records.second_factor.propose()
    records.second_factor.confirm(user.id, secret, pyotp.TOTP(secret).now())
    make_backup(records, place)
    records.close()
    assert restore_backup(records, place, replace=True).unreadable == ()
    records.close()
    elsewhere = records.settings.model_copy(update={"secret_key": SecretStr("of another machine")})
    other = Records(elsewhere)
    assert restore_backup(other, place, replace=True).unreadable == ("somebody",)
    other.close()
