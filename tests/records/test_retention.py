"""The trash, dates of retention, and erasing a person without a trace."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import diskcache
import pytest
from sqlalchemy import func, select, update

from records import NotFound, RecordingRow, Records, models
from records.erasure import ERASED, LET_GO, Doomed, Erased, Erasure, append_erased, read_erased
from records.errors import LiveRunError, MaintenanceError, RetentionError
from records.models import now
from tests.records.site import make_session

CANARY = "Kanarienvogel-7431"

Add = Callable[..., RecordingRow]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite, which keeps what is deleted in its file; PostgreSQL where a test asks for it."""
    if getattr(request, "param", "") == "postgresql":
        url: str = request.getfixturevalue("empty_postgres")
        return url
    return f"sqlite:///{tmp_path / 'data' / 'test.sqlite3'}"


def find_bytes(folder: Path, needle: str) -> list[str]:
    """The files of a folder, and names in it, that hold some text."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if needle in path.name or (path.is_file() and needle.encode() in path.read_bytes())
    ]


def make_person(records: Records, name: str) -> RecordingRow:
    """Somebody whose pseudonym is in all places where this program puts it, with a finished run."""
    data = records.settings.data_dir
    folder = make_session(
        data / "sessions" / models.new_id(), f'subject = "{name}"\ntask = "piano, {name}"\n'
    )
    recording = records.add_recording(folder, title=f"Title {name}")
    run = records.submit_run(recording.id)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "summary.json").write_text(json.dumps({"subject": name}), encoding="utf-8")
    run.folder.with_name(f"{run.id}.errors.txt").write_text(name, encoding="utf-8")
    exported = data / "cache" / "exports" / run.id / "1"
    exported.mkdir(parents=True)
    (exported / "csv.zip").write_bytes(name.encode())
    pages = data / "cache" / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    (pages / "a").write_bytes(name.encode())
    (data / "runs" / "supervisor.log").write_text(f"about {name}\n", encoding="utf-8")
    draft = data / "incoming" / models.new_id()
    make_session(draft / "session", f'subject = "{name}"\n')
    (draft / "draft.json").write_text("{}", encoding="utf-8")
    with diskcache.Cache(str(data / "cache" / "jobs"), eviction_policy="none") as store:
        store["progress"] = f"{name}, piano: 40 %"
        store["other"] = "P-2, piano: 40 %"
    link_id = models.new_id()
    (data / "shares" / link_id).mkdir(parents=True)
    (data / "shares" / link_id / "view.json").write_text(name, encoding="utf-8")
    with records.writing() as database:
        database.execute(update(models.Run).where(models.Run.id == run.id).values(state="done"))
        week = now() + datetime.timedelta(days=7)
        database.add(
            models.ShareLink(
                id=link_id, token_hash=models.new_id(), owner="local", code="A", expires=week,
                recording_id=recording.id,
            )
        )  # fmt: skip
        database.add(
            models.ClinicalScore(
                subject_id=recording.subject_id, date=datetime.date(2026, 3, 2), scale="TCS", value=2.0,
                rater=name, author="local",
            )
        )  # fmt: skip
        database.add(
            models.Mark(recording_id=recording.id, kind="note", start_s=1.0, text=name, author="local")
        )
    return recording


def count(records: Records, table: type[models.Base]) -> int:
    with records.reading() as database:
        return database.scalar(select(func.count()).select_from(table)) or 0


def age(records: Records, column: str, days: float) -> None:
    with records.writing() as database:
        values = {column: now() - datetime.timedelta(days=days)}
        database.execute(update(models.Recording).values(values))


def actions(records: Records) -> list[str]:
    return [row.action for row in records.audit.list().rows]


# --- the trash -----------------------------------------------------------------------------------


def test_what_is_in_the_trash_is_nowhere_to_be_seen_and_comes_back_whole(records: Records, add: Add) -> None:
    one = add("one", 'subject = "P-1"')
    run = records.submit_run(one.id)
    records.request_cancel(run.id)
    records.retention.trash(one.id, "somebody")
    assert records.list_recordings().total == 0
    assert records.list_tasks() == ()
    assert records.list_subject(one.subject_id) == ()
    hidden: tuple[Callable[[], object], ...] = (
        lambda: records.get_recording(one.id),
        lambda: records.submit_run(one.id),
        lambda: records.retention.trash(one.id),
        lambda: records.get_run(run.id),
        lambda: records.open_run(run.id),
        lambda: records.retry(run.id),
        lambda: records.exports.prepare(run.id, "csv.zip"),
    )
    for look in hidden:
        with pytest.raises(NotFound):
            look()
    with pytest.raises(RetentionError, match="in the trash"):
        records.add_recording(one.folder)
    kept = records.retention.list_trash()[0]
    assert (kept.recording_id, kept.subject, kept.trashed_by) == (one.id, "P-1", "somebody")
    records.retention.bring_back(one.id)
    assert records.get_recording(one.id) == replace(one, run=records.get_run(run.id))
    assert actions(records)[:2] == ["recording.bring-back", "recording.trash"]


def test_a_recording_at_work_is_not_put_into_the_trash(records: Records, add: Add) -> None:
    one = add("one")
    records.submit_run(one.id)
    with pytest.raises(LiveRunError):
        records.retention.trash(one.id)
    assert records.get_recording(one.id).run is not None


@pytest.mark.parametrize(("days", "gone"), [(29.9, False), (30.1, True)])
def test_the_purge_takes_what_was_in_the_trash_for_thirty_days(
    records: Records, days: float, gone: bool
) -> None:
    one = make_person(records, "P-7431")
    records.retention.trash(one.id)
    age(records, "trashed", days)
    assert records.retention.purge().erased.recordings == int(gone)
    assert one.folder.exists() is not gone
    if not gone:
        records.retention.bring_back(one.id)
        assert records.get_recording(one.id).folder.exists()
    else:
        assert count(records, models.Run) == count(records, models.Mark) == 0
        assert count(records, models.Subject) == 1  # a score of theirs is kept
        assert "recording.purge" in actions(records)


def test_what_is_brought_back_while_the_purge_is_at_work_stays(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [make_person(records, f"P-743{number}").id for number in (1, 2)]
    for each in both:
        records.retention.trash(each)
    age(records, "trashed", 31)
    erase = Erasure.erase
    left: list[str] = []

    def erase_and_rescue(self: Erasure, doomed: Doomed, *more: str) -> Erased:
        left.extend({*both} - {*doomed.recording_ids})
        records.retention.bring_back(left[0])
        return erase(self, doomed, *more)

    monkeypatch.setattr(Erasure, "erase", erase_and_rescue)
    assert records.retention.purge().erased.recordings == 1
    assert records.get_recording(left[0]).folder.exists()


# --- dates ---------------------------------------------------------------------------------------


def test_a_date_that_passed_is_announced_and_only_then_followed(records: Records, add: Add) -> None:
    one = add("one")
    records.retention.set_date(one.id, now().date())
    assert records.retention.purge().noticed == 0  # kept until the end of that day
    with records.writing() as database:
        database.execute(update(models.Recording).values(retain_until=datetime.date(2026, 1, 1)))
    assert [row.purged_after for row in records.retention.list_due()] == [None]
    done = records.retention.purge()
    assert (done.noticed, done.erased.recordings) == (1, 0)
    assert records.get_recording(one.id)
    age(records, "retention_noticed", 29.9)
    assert records.retention.purge().erased.recordings == 0
    age(records, "retention_noticed", 30.1)
    done = records.retention.purge()
    assert (done.noticed, done.erased.recordings) == (0, 1)
    assert [row.action for row in records.audit.list().rows if row.actor == "system"] == [
        "recording.purge",
        "recording.due",
    ]


def test_a_later_date_takes_the_announcement_back(records: Records, add: Add) -> None:
    one = add("one")
    with records.writing() as database:
        database.execute(update(models.Recording).values(retain_until=datetime.date(2026, 1, 1)))
    records.retention.purge()
    age(records, "retention_noticed", 31)
    records.retention.set_date(one.id, now().date() + datetime.timedelta(days=365))
    assert records.retention.purge().erased.recordings == 0
    assert records.retention.get(one.id).noticed is None


@pytest.mark.parametrize("day", [datetime.date(2020, 1, 1), datetime.date(9999, 1, 1)])
def test_a_day_that_is_past_or_far_off_is_refused(records: Records, add: Add, day: datetime.date) -> None:
    with pytest.raises(RetentionError, match="is no day"):
        records.retention.set_date(add("one").id, day)


def test_a_session_folder_outside_the_data_folder_is_named_and_left(
    records: Records, add: Add, tmp_path: Path
) -> None:
    one = add("one", 'subject = "P-1"')
    assert records.retention.plan_erasure("P-1").outside == (one.folder,)
    erased = records.retention.erase_subject("P-1")
    assert erased.outside == (one.folder,)
    assert (one.folder / "front.mp4").exists()


def test_the_purge_of_a_day_is_made_once(records: Records) -> None:
    assert records.retention.purge_daily() is not None
    assert records.retention.purge_daily() is None


# --- erasing a person ----------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_nothing_of_an_erased_person_is_left_in_any_byte(records: Records) -> None:
    other = make_person(records, "P-2")
    make_person(records, CANARY)
    assert len(find_bytes(records.settings.data_dir, CANARY)) >= 9
    plan = records.retention.plan_erasure(CANARY)
    assert (plan.recordings, plan.runs, plan.scores) == (1, 1, 1)
    erased = records.retention.erase_subject(CANARY, "somebody")
    assert (erased.recordings, erased.runs, erased.outside) == (1, 1, ())
    assert find_bytes(records.settings.data_dir, CANARY) == []
    assert records.get_recording(other.id).folder.exists()
    records.audit.verify()
    assert "subject.erase" in actions(records)
    with pytest.raises(NotFound):
        records.retention.plan_erasure(CANARY)


def test_an_export_at_work_does_not_come_back_after_erasing(records: Records, tmp_path: Path) -> None:
    person = make_person(records, CANARY)
    run_id = records.get_recording(person.id).report_run_id
    assert run_id is not None
    code = f'echo on > {tmp_path}/begun; sleep 0.5; mkdir -p "$(dirname "$0")"; echo {CANARY} > "$0"'
    records.exports.command = lambda _run, _format, _plain, out: ["/bin/sh", "-c", code, str(out)]
    assert records.exports.prepare(run_id, "c3d.zip", wait_s=0.0).state == "working"
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    records.retention.erase_subject(CANARY)
    time.sleep(0.8)
    assert find_bytes(records.settings.data_dir, CANARY) == []


def test_the_audit_never_held_the_name(records: Records) -> None:
    make_person(records, CANARY)
    records.retention.erase_subject(CANARY)
    with records.reading() as database:
        said = [
            (each.actor, each.action, each.object) for each in database.scalars(select(models.AuditEvent))
        ]
    assert said
    assert all(CANARY not in "".join(words) for words in said)


def test_a_person_at_work_is_not_erased_and_stays_whole(records: Records, add: Add) -> None:
    one = add("one", 'subject = "P-1"')
    records.submit_run(one.id)
    with pytest.raises(LiveRunError):
        records.retention.erase_subject("P-1")
    assert records.get_recording(one.id)


def test_erasing_goes_on_where_it_was_broken_off(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_person(records, CANARY)
    import records.erasure as erasure

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(erasure.shutil, "rmtree", full)
        with pytest.raises(RetentionError, match="could not be removed"):
            records.retention.erase_subject(CANARY)
    with pytest.raises(NotFound):
        records.get_recording(one.id)  # hidden from the first moment
    with pytest.raises(RetentionError, match="being erased"):
        records.retention.bring_back(one.id)
    records.retention.erase_subject(CANARY)
    assert find_bytes(records.settings.data_dir, CANARY) == []


class Killed(BaseException):
    """The process is gone, without a word."""


@pytest.mark.parametrize("place", ["_hide", "_remove_files", "_remove_rows", "_scrub"])
def test_the_daily_purge_ends_what_was_killed_while_it_erased(
    records: Records, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    make_person(records, CANARY)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Erasure, place, kill)
        with pytest.raises(Killed):
            records.retention.erase_subject(CANARY)
    assert find_bytes(records.settings.data_dir, CANARY)
    records.retention.purge()
    assert find_bytes(records.settings.data_dir, CANARY) == []
    records.audit.verify()


def test_every_reference_to_a_recording_is_followed_or_known_to_be_let_go() -> None:
    tables = models.Base.metadata.tables
    for table, column in LET_GO:
        assert tables[table].columns[column].nullable
    followed = {
        (table.name, key.parent.name, key.column.table.name)
        for table in tables.values()
        for key in table.foreign_keys
        if key.column.table.name in ("recording", "run", "subject", "visit")
    }
    assert {("run", "recording_id", "recording"), ("mark", "recording_id", "recording")} <= followed


# --- the list ------------------------------------------------------------------------------------


def test_the_list_holds_each_entry_once_and_only_ids(records: Records, tmp_path: Path) -> None:
    one = make_person(records, CANARY)
    records.retention.erase_subject(CANARY)
    path = records.settings.data_dir / ERASED
    entries = read_erased(path)
    assert [each["recordings"] for each in entries] == [[one.id]]
    append_erased(path, entries)
    assert read_erased(path) == entries
    with open(path, "ab") as file:
        file.write(b'{"at": "2026-0')  # a power cut
    assert read_erased(path) == entries


@pytest.mark.parametrize("words", ["nonsense\n", '{"at": 1}\n', '{"recordings": ["../../etc"]}\n'])
def test_a_list_that_is_none_is_refused(tmp_path: Path, words: str) -> None:
    (tmp_path / ERASED).write_text(words, encoding="ascii")
    with pytest.raises(MaintenanceError):
        read_erased(tmp_path / ERASED)
