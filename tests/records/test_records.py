"""Recordings, runs and artefacts: what goes in comes out, on both databases."""

import datetime
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from pipeline.errors import RunFolderError, SessionError
from records import NotFound, RecordingRow, Records, models
from records.models import now
from tests.records.site import make_session

Add = Callable[..., RecordingRow]
NOBODY = "0" * 32


def test_a_session_becomes_a_recording_with_what_its_settings_say(add: Add, tmp_path: Path) -> None:
    row = add("one", 'subject = "P-014"\nvisit = 2026-03-02\ntask = "banjo"\nside = "left"\n')
    assert (row.subject, row.visit, row.task, row.side) == (
        "P-014",
        datetime.date(2026, 3, 2),
        "banjo",
        "left",
    )
    assert row.folder == tmp_path / "sessions" / "one"
    assert row.run is None
    assert row.report_run_id is None
    assert now() - row.created < datetime.timedelta(minutes=1)


def test_a_folder_is_a_recording_only_once_and_follows_its_settings(add: Add, records: Records) -> None:
    first = add("one", 'subject = "P-1"\n')
    again = add("one", 'subject = "P-2"\nside = "both"\n')
    assert again.id == first.id
    assert (again.subject, again.side) == ("P-2", "both")
    assert records.list_recordings().total == 1


def test_visits_of_one_pseudonym_belong_to_one_person(add: Add, records: Records) -> None:
    later = add("b", 'subject = "P-1"\nvisit = 2026-05-01\n')
    undated = add("c", 'subject = "P-1"\n')
    earlier = add("a", 'subject = "P-1"\nvisit = 2026-03-01\n')
    other = add("d", 'subject = "P-2"\n')
    assert earlier.subject_id == later.subject_id != other.subject_id
    listed = records.list_subject(earlier.subject_id)
    assert [row.id for row in listed] == [earlier.id, later.id, undated.id]
    assert records.get_subject(other.subject_id).pseudonym == "P-2"


def test_what_is_no_session_leaves_no_trace(records: Records, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="No videos"):
        records.add_recording(make_session(tmp_path / "empty", cameras=()))
    assert records.list_recordings().total == 0


@pytest.mark.parametrize(
    ("search", "found"),
    [("", 3), ("p-1", 2), ("P-1 banjo", 1), ("BANJO", 1), ("nothing", 0), ("%", 0), ("_", 1), ("p 2", 1)],
)
def test_search_wants_every_word_and_takes_wildcards_as_letters(
    add: Add, records: Records, search: str, found: int
) -> None:
    add("a", 'subject = "P-1"\ntask = "banjo"\n')
    add("b", 'subject = "P-1"\ntask = "piano"\n')
    add("c", 'subject = "P_2"\ntask = "piano"\n')
    assert records.list_recordings(search).total == found


def test_filters_hold_together_and_pages_cut_the_list(add: Add, records: Records) -> None:
    rows = [add(f"s{number}", f'subject = "P-{number}"\nside = "left"\n') for number in range(7)]
    add("other", 'side = "right"\n')
    page = records.list_recordings(side="left", state="new", task="piano", limit=3, offset=3)
    assert page.total == 7
    assert [row.id for row in page.rows] == [row.id for row in rows[::-1][3:6]]
    assert records.list_recordings(state="queued").total == 0
    records.submit_run(rows[2].id)
    assert [row.id for row in records.list_recordings(state="queued").rows] == [rows[2].id]
    assert records.list_tasks() == ("piano",)


@pytest.mark.parametrize("identifier", [NOBODY, "", "..", "x" * 32, "A" * 32, "1' OR '1'='1"])
def test_what_is_not_there_is_not_found(records: Records, identifier: str) -> None:
    for ask in (records.get_recording, records.get_run, records.get_subject, records.list_subject):
        with pytest.raises(NotFound):
            ask(identifier)


def test_a_recording_has_one_live_run_however_often_it_is_submitted(add: Add, records: Records) -> None:
    recording = add("one")
    found: list[str] = []
    together = threading.Barrier(6)

    def submit() -> None:
        together.wait()
        found.append(records.submit_run(recording.id).id)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert records.get_recording(recording.id).run.id == found[0]  # type: ignore[union-attr]


def test_the_database_itself_refuses_a_second_run_at_work_on_a_machine(add: Add, records: Records) -> None:
    runs = [records.submit_run(add(name).id) for name in ("a", "b")]
    with records.writing() as database:
        records.change(database, models.Run.id == runs[0].id, state="running", host="here")
    with pytest.raises(IntegrityError), records.writing() as database:
        records.change(database, models.Run.id == runs[1].id, state="running", host="here")
    with records.writing() as database:
        assert records.change(database, models.Run.id == runs[1].id, state="running", host="there")


def test_the_queue_keeps_its_order_and_tells_the_place(add: Add, records: Records) -> None:
    runs = [records.submit_run(add(name).id) for name in ("a", "b", "c")]
    assert [run.id for run in records.list_live_runs()] == [run.id for run in runs]
    assert [run.position for run in records.list_live_runs()] == [1, 2, 3]
    records.request_cancel(runs[0].id)
    assert [run.position for run in records.list_live_runs()] == [1, 2]
    assert records.get_run(runs[0].id).position == 0


def test_a_waiting_run_is_cancelled_at_once_and_a_retry_goes_on_in_its_folder(
    add: Add, records: Records
) -> None:
    run = records.submit_run(add("one").id)
    cancelled = records.request_cancel(run.id)
    assert cancelled.state == "cancelled"
    assert cancelled.can_retry
    again = records.retry(run.id)
    assert (again.id, again.state, again.folder) == (run.id, "queued", run.folder)
    assert again.finished is None
    assert records.retry(run.id).state == "queued"


def test_a_retry_beside_a_live_run_gives_the_live_one(add: Add, records: Records) -> None:
    recording = add("one")
    old = records.submit_run(recording.id)
    records.request_cancel(old.id)
    new = records.submit_run(recording.id)
    assert new.id != old.id
    assert records.retry(old.id).id == new.id
    assert records.get_run(old.id).state == "cancelled"


def test_only_one_caller_is_told_to_start_a_supervisor(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    assert not records.summon(run.id)  # whoever submitted calls one
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, summoned=now() - datetime.timedelta(minutes=1))
    assert [records.summon(run.id) for _ in range(3)] == [True, False, False]
    records.request_cancel(run.id)
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, summoned=None)
    assert not records.summon(run.id)


def test_ended_runs_are_told_to_who_has_not_heard(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    before = now()
    assert records.list_ended_runs(before) == ()
    ended = records.request_cancel(run.id)
    assert [each.id for each in records.list_ended_runs(before)] == [run.id]
    assert ended.finished is not None
    assert records.list_ended_runs(ended.finished) == ()


def test_a_run_folder_without_a_summary_is_not_finished(add: Add, records: Records, tmp_path: Path) -> None:
    recording = add("one")
    with pytest.raises(RunFolderError, match=r"summary\.json"):
        records.add_finished_run(recording.id, tmp_path)
    assert records.get_recording(recording.id).run is None


def test_artefacts_are_plain_files_of_the_web_folder_and_nothing_else(
    add: Add, records: Records, tmp_path: Path
) -> None:
    run = records.submit_run(add("one").id)
    web = records.open_run(run.id).web
    web.mkdir(parents=True)
    (web / "joints.f32").write_bytes(b"1234")
    (web / "page.html").write_text("<script>")
    (web / ".hidden.json").write_text("{}")
    (web.parent / "run.json").write_text("{}")
    os.symlink("/etc/passwd", web / "out.json")
    (web / "deep").mkdir()
    (web / "deep" / "a.json").write_text("{}")
    assert records.artefact(run.id, "joints.f32") == web / "joints.f32"
    for name in (
        "page.html", ".hidden.json", "../run.json", "out.json", "deep/a.json", "missing.json",
        "..", "", "joints.f32/", "joints.f32\x00.json", "deep", "/etc/passwd", "..\\run.json",
    ):  # fmt: skip
        with pytest.raises(NotFound):
            records.artefact(run.id, name)


def test_folders_inside_the_data_folder_move_with_it(records: Records, tmp_path: Path) -> None:
    inside = make_session(records.settings.data_dir / "sessions" / "x")
    assert records.store_path(inside) == "sessions/x"
    assert records.full_path("sessions/x") == inside
    assert records.store_path(tmp_path / "elsewhere") == str(tmp_path / "elsewhere")
    row = records.add_recording(inside)
    assert row.folder == inside


def test_what_is_done_is_written_down(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id, actor="somebody")
    records.request_cancel(run.id, actor="somebody")
    with records.reading() as database:
        events = database.execute(select(models.AuditEvent.action, models.AuditEvent.actor)).all()
    assert [tuple(event) for event in events] == [
        ("recording.add", "local"),
        ("run.submit", "somebody"),
        ("run.cancel", "somebody"),
    ]


def test_many_writers_at_once_lose_nothing(records: Records) -> None:
    def write(name: int) -> None:
        for number in range(10):
            records.note(f"writer-{name}", f"event-{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with records.reading() as database:
        assert database.scalar(select(func.count()).select_from(models.AuditEvent)) == 60


def test_health_touches_the_database_and_the_disk(records: Records) -> None:
    records.check_health()
    probe = records.settings.data_dir / ".health"
    first = probe.read_text()
    records.check_health()
    assert probe.read_text() != first


def test_sqlite_is_opened_to_last(records: Records, database_url: str) -> None:
    if not database_url.startswith("sqlite"):
        with records.reading() as database:
            assert database.scalar(text("SHOW server_version_num")) is not None
        return
    with records.reading() as database:
        found = [
            database.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]
