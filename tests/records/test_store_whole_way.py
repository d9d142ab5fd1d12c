"""Three machines without a disk in common: taken on one, worked on another, read on a third."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.files import read_json
from records import RecordingRow, Records, RunRow
from records.backup import check_backup, find_backup, make_backup, restore_backup
from records.checking import drop_secrets
from records.errors import MaintenanceError, RetentionError, StoreAway, StoreError
from records.objects import Objects
from records.offsets import set_offsets
from records.progress import read_details
from records.store import name_folder
from records.supervise import supervise_run
from settings import Settings
from tests.records.site import make_session
from tests.records.test_store import forget_fresh, own, read

WORK = """
import json, pathlib, sys, time
session, run, done = map(pathlib.Path, sys.argv[1:4])
assert (session / "front.mp4").read_bytes() == b"no video", "the recording is not here"
run.mkdir(parents=True, exist_ok=True)
here = sorted(path.name for path in run.glob("*.stage"))
(run / f"{len(here)}.stage").write_text("worked")
(run / "web").mkdir(exist_ok=True)
(run / "web" / "mosaic.mp4").write_bytes(b"moving pictures" * 1000)
(run / "run.json").write_text(json.dumps({"found": here}))
print(json.dumps({"type": "progress", "stage": "pose", "overall": 0.5, "message": "Working"}), flush=True)
if done.name == "fails":
    print("a library fell over", file=sys.stderr)
    print(json.dumps({"type": "error", "what": "It cannot be.", "advice": "Try."}), flush=True)
    sys.exit(2)
print(json.dumps({"type": "done"}), flush=True)
"""


MOSAIC = b"moving pictures" * 1000


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    monkeypatch.setattr("records.objects.AWAY_S", 0.2)
    monkeypatch.setattr("records.supervise.ASK_AGAIN_S", 0.2)
    monkeypatch.setattr("records.supervise.WRITE_EVERY_S", 0.1)
    monkeypatch.setattr("records.supervise.LOOK_EVERY_S", 0.02)
    return path


Machine = Callable[..., Records]


@pytest.fixture
def machine(tmp_path: Path, place: Path) -> Iterator[Machine]:
    opened: dict[int, Records] = {}

    def make(number: int, ends: str = "done") -> Records:
        if number not in opened:

            def command(session: Path, run: Path) -> Sequence[str]:
                return [sys.executable, "-c", WORK, str(session), str(run), str(tmp_path / ends)]

            values: dict[str, Any] = {
                "data_dir": tmp_path / f"machine-{number}",
                "store_url": f"file://{place}",
            }
            url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
            settings = Settings(DATABASE_URL=url, _env_file=None, **values)  # type: ignore[call-arg]
            opened[number] = Records(settings, command)
        return opened[number]

    yield make
    for each in opened.values():
        each.close()


def upload(records: Records, name: str = "a" * 32, toml: str = 'subject = "P-1"\n') -> RecordingRow:
    """A session folder where uploads end, taken in."""
    recording = records.add_recording(make_session(own(records, f"sessions/{name}"), toml))
    wait_until(lambda: not records.store.is_waiting(recording.folder))
    return recording


def wait_until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def take_away(place: Path) -> Path:
    """As a disk that is unmounted, or a server that is off."""
    return place.rename(place.with_name("taken-away"))


def work(records: Records, recording: RecordingRow) -> RunRow:
    return supervise_run(records, records.submit_run(recording.id).id)


def test_taken_on_one_machine_worked_on_another_and_read_on_a_third(machine: Machine) -> None:
    recording = upload(machine(1))
    run = machine(1).submit_run(recording.id)
    run = supervise_run(machine(2), run.id)
    assert run.state == "done", (run.error_what, run.message)
    assert not own(machine(1), f"runs/{run.id}").exists()
    found = machine(3).artefact(run.id, "mosaic.mp4")
    assert found.read_bytes() == MOSAIC
    assert found.is_relative_to(own(machine(3), "runs"))
    assert read(machine(3).open_run(run.id).path) == read(machine(2).open_run(run.id).path)


def test_a_run_whose_machine_is_gone_goes_on_from_what_was_kept(machine: Machine) -> None:
    recording = upload(machine(1))
    run = machine(1).submit_run(recording.id)
    folder = own(machine(2), f"runs/{run.id}")
    machine(2).store.take(folder)
    folder.mkdir(parents=True)
    (folder / "0.stage").write_text("worked")
    (folder / "run.json").write_text("{}")
    machine(2).store.keep(folder, done=False)
    assert read_json(machine(1).glance(machine(1).get_run(run.id)).folder / "run.json") == {}
    shutil.rmtree(machine(2).settings.data_dir)
    run = supervise_run(machine(3), run.id)
    assert run.state == "done", run.error_what
    assert read_json(machine(1).open_run(run.id).path / "run.json") == {"found": ["0.stage"]}


def test_what_a_failed_run_said_is_read_elsewhere(machine: Machine) -> None:
    recording = upload(machine(1))
    run = supervise_run(machine(2, "fails"), machine(1).submit_run(recording.id).id)
    assert (run.state, run.error_what) == ("failed", "It cannot be.")
    assert machine(2).store.push_waiting() == 2
    assert "a library fell over" in read_details(machine(3).glance(machine(3).get_run(run.id)))


def test_a_correction_on_another_machine_is_what_the_next_run_works_with(machine: Machine) -> None:
    recording = upload(machine(1))
    set_offsets(machine(2), recording.id, {"left": 0.25}, "tester")
    there = machine(2).get_recording(recording.id).folder
    wait_until(lambda: not machine(2).store.is_waiting(there))
    forget_fresh(machine(1))
    assert machine(1).corrections.list(recording.id)[0].in_force
    assert "0.25" not in (recording.folder / "session.toml").read_text()  # read without bringing the videos
    run = supervise_run(machine(1), machine(1).submit_run(recording.id).id)
    assert run.state == "done"
    assert "0.25" in (recording.folder / "session.toml").read_text()


def test_while_the_store_is_away_uploads_end_and_runs_wait(machine: Machine, place: Path) -> None:
    before = work(machine(1), upload(machine(1)))
    away = take_away(place)
    folder = make_session(own(machine(1), "sessions/" + "b" * 32), 'subject = "P-2"\n')
    recording = machine(1).add_recording(folder)  # an upload ends
    assert machine(1).store.count_waiting() == 1
    said: list[str] = []
    run_id = machine(1).submit_run(recording.id).id
    worker = threading.Thread(
        target=supervise_run, args=(machine(2), run_id, lambda run: said.append(run.message))
    )
    worker.start()
    wait_until(lambda: any(word.startswith("Waiting") for word in said))
    assert machine(1).get_run(run_id).state == "running"
    assert machine(1).artefact(before.id, "mosaic.mp4").is_file()  # what is here works
    with pytest.raises((StoreAway, StoreError)) as caught:
        machine(3).artefact(before.id, "mosaic.mp4")
    assert "store" in str(caught.value).lower()
    away.rename(place)
    machine(1).store.objects._away_until = 0.0  # for so long nobody asks again
    machine(1).store.push_waiting()
    worker.join(timeout=30)
    assert machine(1).get_run(run_id).state == "done"
    assert machine(3).artefact(before.id, "mosaic.mp4").is_file()


def test_a_store_that_goes_away_before_the_end_is_waited_for(
    machine: Machine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = upload(machine(1))
    run_id = machine(1).submit_run(recording.id).id
    said: list[str] = []
    write = Objects.write
    back_at: list[float] = []

    def fail_at_first(self: Objects, name: str, data: bytes) -> None:
        back_at[:] = back_at or [time.monotonic() + 0.5]
        if time.monotonic() < back_at[0]:
            raise StoreAway("The store of recordings does not answer.")
        write(self, name, data)

    monkeypatch.setattr(Objects, "write", fail_at_first)
    run = supervise_run(machine(2), run_id, lambda run: said.append(run.message))
    assert run.state == "done"
    assert "Waiting. The store of recordings does not answer." in said
    assert machine(3).artefact(run.id, "mosaic.mp4").is_file()


def test_erasing_leaves_nothing_in_the_store_and_on_other_machines(machine: Machine, place: Path) -> None:
    recording = upload(machine(1), toml='subject = "canary-person"\n')
    run = supervise_run(machine(2), machine(1).submit_run(recording.id).id)
    machine(3).open_run(run.id)
    away = take_away(place)
    machine(1).store.objects._away_until = 0.0
    with pytest.raises(RetentionError, match="waits for the store"):
        machine(1).retention.erase_subject("canary-person")
    assert machine(1).get_recording(recording.id)  # nothing has begun
    away.rename(place)
    machine(1).store.objects._away_until = 0.0
    machine(1).retention.erase_subject("canary-person")
    for each in (2, 3):
        machine(each).store.tidy()
    left = [
        path
        for root in (place, *(machine(each).settings.data_dir for each in (1, 2, 3)))
        for path in root.rglob("*")
        if path.is_file()
        and (
            run.id in str(path) or b"canary-person" in path.read_bytes() or b"moving pic" in path.read_bytes()
        )
    ]
    assert left == []


def test_a_backup_has_what_only_the_store_has_and_a_restore_gives_it_back(
    machine: Machine, tmp_path: Path, place: Path
) -> None:
    recording = upload(machine(1))
    gone = upload(machine(1), "c" * 32, 'subject = "canary-person"\n')
    run = supervise_run(machine(2), machine(1).submit_run(recording.id).id)
    backup = make_backup(machine(1), tmp_path / "backups")
    assert not own(machine(1), f"runs/{run.id}").exists()
    assert check_backup(find_backup(tmp_path / "backups")) == backup.files
    again = make_backup(machine(1), tmp_path / "backups")
    assert again.copied_bytes < backup.copied_bytes / 2  # what the store has is linked, not brought again
    machine(2).retention.erase_subject("canary-person")  # on a machine that knows of no backup
    upload(machine(1), "d" * 32, 'subject = "P-9"\n')
    with pytest.raises(MaintenanceError, match="store is not empty"):
        restore_backup(machine(1), tmp_path / "backups")
    for each in (1, 2):
        machine(each).close()
    fresh = machine(4)
    done = restore_backup(fresh, tmp_path / "backups", replace=True)
    assert done.erased.recordings == 1
    assert gone.id not in {row.id for row in fresh.list_recordings().rows}
    assert fresh.artefact(run.id, "mosaic.mp4").read_bytes() == MOSAIC
    while fresh.store.push_waiting():
        pass
    assert fresh.store.verify() == ()
    assert machine(3).artefact(run.id, "mosaic.mp4").read_bytes() == MOSAIC
    names = {name.partition("/")[0] for name in fresh.store.objects.list("")}
    assert name_folder("sessions/" + "d" * 32) not in names
    assert name_folder("sessions/" + "c" * 32) not in names


def test_a_backup_that_the_store_keeps_from_being_whole_is_refused(
    machine: Machine, tmp_path: Path, place: Path
) -> None:
    run = supervise_run(machine(2), machine(1).submit_run(upload(machine(1)).id).id)
    assert run.state == "done"
    take_away(place)
    with pytest.raises(MaintenanceError, match="only the store has"):
        make_backup(machine(1), tmp_path / "backups")
    assert not list((tmp_path / "backups").glob("2*"))


def test_what_was_there_before_the_store_is_given_to_it(machine: Machine, tmp_path: Path) -> None:
    values: dict[str, Any] = {"data_dir": tmp_path / "machine-1"}
    url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    alone = Records(Settings(DATABASE_URL=url, _env_file=None, **values))  # type: ignore[call-arg]
    recording = alone.add_recording(make_session(own(alone, "sessions/" + "a" * 32)))
    alone.close()
    assert machine(1).store.adopt() == 1
    assert machine(1).store.push_waiting() == 1
    assert machine(2).corrections.list(recording.id) == ()
    with machine(2).store.hold(machine(2).get_recording(recording.id).folder):
        assert (machine(2).get_recording(recording.id).folder / "front.mp4").is_file()


def test_readers_of_strange_files_find_no_key_of_the_store() -> None:
    given = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "AWS_PROFILE": "d",
        "AWS_SHARED_CREDENTIALS_FILE": "e",
        "REDYS_STORE_URL": "s3://bucket",
        "REDYS_STORE_ENDPOINT": "http://store",
        "PATH": os.environ.get("PATH", ""),
    }
    assert list(drop_secrets(given)) == ["PATH"]
