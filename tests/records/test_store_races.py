"""What two machines, a slow one and one that is killed do to the store at the wrong moment."""

import datetime
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from records import RecordingRow, Records, RunRow, models, parts, supervise
from records.errors import StoreAway, StoreBusy, StoreError
from records.manifests import Copy
from records.models import new_id, now
from records.objects import Objects
from records.parts import Sharing, parts_path
from records.run_files import RunFiles
from records.store import name_folder
from records.supervise import claim_run, see_through
from tests.records.site import make_session
from tests.records.test_store import fill, forget_fresh, give, open_machine, own, read

Machine = Callable[..., Records]

WAITS = "import time; time.sleep(60)"


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, str | None]:
    (tmp_path / "store").mkdir()
    return f"file://{tmp_path / 'store'}", None


@pytest.fixture
def machine(tmp_path: Path, place: tuple[str, str | None]) -> Iterator[Machine]:
    opened: dict[int, Records] = {}

    def command(session: Path, run: Path) -> Sequence[str]:
        return [sys.executable, "-c", WAITS]

    def make(number: int) -> Records:
        if number not in opened:
            settings = open_machine(tmp_path, place, number)
            opened[number] = Records(settings.settings, command)
            settings.close()
        return opened[number]

    yield make
    for each in opened.values():
        each.close()


def add_run(records: Records) -> tuple[RecordingRow, RunRow]:
    recording = records.add_recording(make_session(own(records, f"sessions/{'a' * 32}"), 'subject = "P"\n'))
    records.store.keep(recording.folder)
    return recording, records.submit_run(recording.id)


def note(records: Records, path: Path) -> None:
    with records.writing() as database:
        records.store.note_change(database, path)


class TestErasedElsewhere:
    def test_what_was_not_sent_yet_goes_from_the_machine_that_has_it(self, machine: Machine) -> None:
        kept = fill(own(machine(1), "sessions/a"), front_mp4="a hand")
        note(machine(1), kept)
        machine(2).store.drop([own(machine(2), "sessions/a")])
        machine(1).store.tidy()
        assert not kept.exists()

    def test_what_a_run_left_before_it_was_sent_goes_too(self, machine: Machine) -> None:
        folder = own(machine(1), "runs/a")
        machine(1).store.take(folder)
        fill(folder, views__front_npz="a hand")
        machine(2).store.take(own(machine(2), "runs/a"))
        machine(2).store.drop([own(machine(2), "runs/a")])
        machine(1).store.tidy()
        assert not folder.exists()

    def test_what_a_killed_sender_sent_last_is_removed_when_its_lease_has_ended(
        self, machine: Machine
    ) -> None:
        give(machine(1), fill(own(machine(1), "runs/a"), a_txt="a"))
        objects, folder_id = machine(1).store.objects, name_folder("runs/a")
        sending = machine(1).store._lease("runs/a", 1.0)
        sending.__enter__()
        machine(2).store.drop([own(machine(2), "runs/a")])
        objects.write(f"{folder_id}/files/{'0' * 64}", b"a hand")  # and then it is killed
        machine(2).store.tidy()
        assert objects.list(folder_id)  # it might be sending still
        with machine(2).writing() as database:
            earlier = now() - datetime.timedelta(hours=1)
            database.execute(update(models.StoredFolder).values(dropped=earlier))
        machine(2).store.tidy()
        assert not objects.list(folder_id)
        with machine(2).reading() as database:
            assert list(database.scalars(select(models.StoredFolder.key))) == [""]

    def test_a_restore_does_not_forget_what_was_erased(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "runs/a"), a_txt="a")
        give(machine(1), folder)
        machine(2).store.drop([own(machine(2), "runs/a"), own(machine(2), "runs/unknown")])
        machine(2).store.start_over()
        machine(1).store.tidy()
        assert not folder.exists()

    def test_a_run_that_is_erased_while_it_works_ends_and_sends_nothing(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervise, "LOOK_EVERY_S", 0.02)
        monkeypatch.setattr(supervise, "WRITE_EVERY_S", 0.05)
        records = machine(2)
        _, run = add_run(machine(1))
        assert claim_run(records, run.id, "one")
        pids: list[int] = []

        def erase(row: RunRow) -> None:
            with records.reading() as database:
                pid = database.scalar(select(models.Run.child_pid).where(models.Run.id == run.id))
            if pid is not None and not pids:
                pids.append(pid)
                machine(1).store.drop([run.folder])
                with machine(1).writing() as database:
                    database.execute(delete(models.Run).where(models.Run.id == run.id))

        see_through(records, run.id, erase)
        assert pids
        assert _ends(pids[0])
        records.store.push_waiting()
        with records.reading() as database:
            query = select(models.StoredFolder.key).where(models.StoredFolder.machine.is_not(None))
            assert not [key for key in database.scalars(query) if key.startswith("runs/")]


def _ends(pid: int) -> bool:
    import psutil

    try:
        psutil.Process(pid).wait(timeout=5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


class TestSlowMachines:
    def test_who_lost_a_run_while_it_fetched_does_not_take_its_folder(self, machine: Machine) -> None:
        folder = own(machine(2), "runs/a")
        machine(2).store.take(folder)
        with pytest.raises(StoreError, match="gone on"):
            machine(1).store.take(own(machine(1), "runs/a"), is_mine=lambda database: False)
        machine(2).store.keep(fill(folder, run_json="{}"))
        forget_fresh(machine(1))
        machine(1).store.bring(own(machine(1), "runs/a"))
        assert read(own(machine(1), "runs/a")) == {"run.json": b"{}"}

    def test_bringing_ends_when_it_is_not_wanted_any_more(self, machine: Machine) -> None:
        give(machine(1), fill(own(machine(1), "sessions/a"), front_mp4="video"))

        def stop() -> None:
            raise StoreBusy("Stop.", "")

        with pytest.raises(StoreBusy):
            machine(2).store.bring(own(machine(2), "sessions/a"), check=stop)
        assert not own(machine(2), "sessions/a").exists()

    def test_a_run_that_is_cancelled_while_its_files_are_fetched_ends_at_once(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, run = add_run(machine(1))
        records = machine(2)
        assert claim_run(records, run.id, "one")
        read_parts = Objects.read_parts

        def cancel(self: Objects, name: str, size_bytes: int) -> Iterator[bytes]:
            machine(1).request_cancel(run.id)
            supervision.run = records.get_run(run.id)  # as the next heartbeat does
            yield from read_parts(self, name, size_bytes)

        monkeypatch.setattr(Objects, "read_parts", cancel)
        supervision = supervise._Supervision(records, run.id, lambda row: None, lambda: False)
        supervision.work()
        assert records.get_run(run.id).state == "cancelled"
        assert not own(records, f"sessions/{'a' * 32}").exists()

    def test_a_change_waits_for_the_newest_and_fails_if_another_came_first(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give(machine(1), fill(own(machine(1), "sessions/a"), session_toml="old"))
        slow = machine(2).store
        bring = slow.bring

        def bring_slowly(path: Path, newest: bool = False) -> None:
            bring(path, newest)
            with machine(1).writing() as database:  # so long that the lease ended
                database.execute(update(models.StoredFolder).values(lease="another"))

        monkeypatch.setattr(slow, "bring", bring_slowly)
        with pytest.raises(StoreError, match="gone on"), slow.hold(own(machine(2), "sessions/a")):
            pytest.fail("two machines change one folder")

    def test_the_end_of_a_run_waits_for_what_is_being_sent_of_it(self, machine: Machine) -> None:
        _, run = add_run(machine(1))
        files = RunFiles(machine(1), machine(1).get_run(run.id))
        machine(1).store.take(run.folder)
        fill(run.folder, run_json="{}")
        files.keep_soon()
        fill(run.folder, run_json='{"stages": {}}')
        files.keep()
        assert files._sending is not None
        assert not files._sending.is_alive()
        assert not machine(1).store.is_waiting(run.folder)


class TestSending:
    def test_one_that_cannot_be_sent_does_not_hold_the_others_up(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = machine(1).store
        for name in ("runs/a", "runs/b"):
            note(machine(1), fill(own(machine(1), name), a_txt=name))
        keep = store.keep

        def refuse(path: Path, done: bool = True) -> None:
            if path.name == "a":
                raise PermissionError(13, "Permission denied")
            keep(path, done)

        monkeypatch.setattr(store, "keep", refuse)
        assert store.push_waiting() == 1
        assert [key for key, _ in store.list_keys()] == ["runs/b"]
        assert store.count_waiting() == 1

    def test_a_folder_of_more_files_than_may_be_open_is_sent(self, machine: Machine) -> None:
        folder = own(machine(1), "sessions/a")
        fill(folder, **{f"{number}_jpg": f"picture {number}" for number in range(300)})
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        open_now = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 150, hard))
        try:
            give(machine(1), folder)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        machine(2).store.bring(own(machine(2), "sessions/a"))
        assert read(own(machine(2), "sessions/a")) == read(folder)

    def test_a_full_disk_is_said_in_words_wherever_it_is_met(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give(machine(1), fill(own(machine(1), "sessions/a"), a_txt="a"))
        mkdir = Path.mkdir

        def refuse(self: Path, *arguments: object, **values: object) -> None:
            if "staging" in self.parts:
                raise OSError(28, "No space left on device")
            mkdir(self, *arguments, **values)  # type: ignore[arg-type]

        monkeypatch.setattr(Path, "mkdir", refuse)
        for ask in (machine(2).store.bring, machine(2).store.outline):
            with pytest.raises(StoreError, match="could not take what the store has"):
                ask(own(machine(2), "sessions/a"))

    def test_a_copy_of_nothing_is_never_the_newest(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "runs/a"), a_txt="a")
        give(machine(1), folder)
        copy = fill(own(machine(2), "runs/a"), b_txt="left by one that was killed")
        machine(2).store._write_copy(name_folder("runs/a"), Copy("runs/a", "", {}))
        machine(2).store.bring(copy)
        assert read(copy) == read(folder)


class TestParts:
    @pytest.fixture
    def shared(self, machine: Machine) -> tuple[Sharing, models.RunPart]:
        """A run at work on machine 1, and its one part, which machine 2 has done."""
        _, run = add_run(machine(1))
        part = models.RunPart(id=new_id(), run_id=run.id, stage="pose:left", state="taken")
        with machine(1).writing() as database:
            database.add(part)
        return Sharing(machine(1), run), part

    def test_a_part_that_is_done_again_is_the_newer_one(
        self, machine: Machine, shared: tuple[Sharing, models.RunPart], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sharing, part = shared
        said = "first"

        def work(helper: Records, part: models.RunPart, session: Path, out: Path, _: object) -> bool:
            fill(out, part_json=said)
            return True

        monkeypatch.setattr(parts, "_see_through", work)
        place = parts_path(sharing._run.folder) / "pose-left"
        for said in ("first", "second", "third"):
            with machine(2).writing() as database:
                database.execute(update(models.RunPart).values(state="taken"))
            assert parts.work_part(machine(2), part, lambda: False)
            forget_fresh(machine(1))
            machine(1).store.bring(place)
            assert (place / "part.json").read_text() == said
            if said == "second":
                machine(1).store.drop([place])

    def test_a_store_that_is_away_at_the_end_does_not_fail_the_run(
        self, machine: Machine, shared: tuple[Sharing, models.RunPart], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sharing, part = shared
        give(machine(2), fill(parts_path(own(machine(2), "runs") / part.run_id) / "pose-left", a_txt="a"))
        with machine(1).writing() as database:
            database.execute(update(models.RunPart).values(state="done"))
        sharing._offered = True
        sharing.look("pose:front")

        def refuse(self: Objects, prefix: str) -> None:
            raise StoreAway("The store of recordings does not answer.", "Wait a moment.")

        with monkeypatch.context() as patch:
            patch.setattr(Objects, "remove_all", refuse)
            sharing.end()
        with machine(1).writing() as database:
            earlier = now() - datetime.timedelta(hours=1)
            database.execute(update(models.StoredFolder).values(dropped=earlier))
        machine(1).store.tidy()
        left = f"runs/{part.run_id}.parts/pose-left"
        assert not machine(1).store.objects.list(name_folder(left))
