"""The store of recordings and runs: whole or absent, on a folder and on an S3-compatible server."""

import datetime
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import select, update

from records import Records, models
from records.errors import NotKeptYet, StoreAway, StoreBusy, StoreError, StoreMissing
from records.objects import CHUNK_BYTES, Objects
from records.store import LOCAL, Store, name_folder
from settings import Settings
from tests.records.conftest import fresh_postgres

BUCKET = "redys-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3-compatible server of this module's own."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


Place = tuple[str, str | None]


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A store's address and server, empty."""
    if request.param == "file":
        (tmp_path / "store").mkdir()
        return f"file://{tmp_path / 'store'}", None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    endpoint = request.getfixturevalue("s3")
    import fsspec

    files = fsspec.filesystem("s3", endpoint_url=endpoint, use_listings_cache=False)
    if not files.exists(BUCKET):
        files.mkdir(BUCKET)
    return f"s3://{BUCKET}/{tmp_path.name}", endpoint


Machine = Callable[[int], Records]


@pytest.fixture
def machine(tmp_path: Path, place: Place) -> Iterator[Machine]:
    """``machine(2)``: a machine with a data folder of its own, on the same database and store."""
    opened: dict[int, Records] = {}

    def make(number: int) -> Records:
        if number not in opened:
            opened[number] = open_machine(tmp_path, place, number)
        return opened[number]

    yield make
    for each in opened.values():
        each.close()


def open_machine(tmp_path: Path, place: Place, number: int, **more: Any) -> Records:
    url = more.pop("DATABASE_URL", f"sqlite:///{tmp_path / 'shared.sqlite3'}")
    values = {"store_url": place[0], "store_endpoint": place[1], **more}
    return Records(
        Settings(data_dir=tmp_path / f"machine-{number}", DATABASE_URL=url, _env_file=None, **values)  # type: ignore[call-arg]
    )


def fill(folder: Path, **files: str | bytes) -> Path:
    for name, said in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(said.encode() if isinstance(said, str) else said)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        each.relative_to(folder).as_posix(): each.read_bytes()
        for each in sorted(folder.rglob("*"))
        if each.is_file()
    }


def own(records: Records, name: str) -> Path:
    return records.settings.data_dir.resolve() / name


def give(records: Records, path: Path) -> None:
    with records.writing() as database:
        records.store.note_change(database, path)
    records.store.keep(path)


def forget_fresh(records: Records) -> None:
    records.store._fresh.clear()


class TestKeepingAndBringing:
    def test_what_one_machine_keeps_another_brings(self, machine: Machine) -> None:
        big = os.urandom(2 * CHUNK_BYTES + 17)
        kept = fill(own(machine(1), "runs/a"), run_json="{}", web__mosaic_mp4=big, empty_bin=b"")
        give(machine(1), kept)
        brought = own(machine(2), "runs/a")
        machine(2).store.bring(brought)
        assert read(brought) == read(kept)

    def test_a_second_keep_sends_only_what_changed(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = fill(own(machine(1), "runs/a"), one_txt="one", two_txt="two")
        give(machine(1), folder)
        sent: list[str] = []
        write = Objects.write

        def count(self: Objects, name: str, data: bytes) -> None:
            sent.append(name)
            write(self, name, data)

        monkeypatch.setattr(Objects, "write", count)
        fill(folder, two_txt="another")
        give(machine(1), folder)
        assert sum("/files/" in name for name in sent) == 1
        forget_fresh(machine(1))
        give(machine(1), folder)
        assert len(sent) == 2  # one file, one manifest, and nothing for a folder that is the same

    def test_a_newer_version_is_brought_and_what_went_goes(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "sessions/a"), session_toml="old", old_txt="x", same_txt="same")
        give(machine(1), folder)
        copy = own(machine(2), "sessions/a")
        machine(2).store.bring(copy)
        same = (copy / "same.txt").stat().st_ino
        fill(folder, session_toml="new", sub__added_txt="y")
        (folder / "old.txt").unlink()
        give(machine(1), folder)
        forget_fresh(machine(2))
        machine(2).store.bring(copy)
        assert read(copy) == read(folder)
        assert (copy / "same.txt").stat().st_ino == same  # not sent again

    def test_what_no_version_needs_any_more_is_removed(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "runs/a"), one_txt="one")
        give(machine(1), folder)
        fill(folder, one_txt="another")
        give(machine(1), folder)
        assert len(machine(1).store.objects.list(name_folder("runs/a"))) == 2

    def test_a_single_file_is_kept_like_a_folder(self, machine: Machine) -> None:
        path = fill(own(machine(1), "rigs"), a_json="{}") / "a.json"
        give(machine(1), path)
        brought = own(machine(2), "rigs/a.json")
        machine(2).store.bring(brought)
        assert brought.read_text() == "{}"

    def test_what_lies_outside_and_what_was_never_given_is_let_be(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        outside = fill(tmp_path / "elsewhere", a_txt="a")
        give(machine(1), outside)
        machine(1).store.bring(outside)
        machine(1).store.bring(own(machine(1), "runs/unknown"))
        assert machine(1).store.list_keys() == ()

    def test_a_run_inside_a_recording_is_a_folder_of_its_own(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "demo/one"), session_toml="", run__run_json="{}", run__a_txt="a")
        give(machine(1), folder)
        give(machine(1), folder / "run")
        machine(2).store.bring(own(machine(2), "demo/one"))
        assert set(read(own(machine(2), "demo/one"))) == {"session.toml"}
        machine(2).store.bring(own(machine(2), "demo/one/run"))
        assert read(own(machine(2), "demo/one")) == read(folder)
        fill(folder, session_toml="changed")
        give(machine(1), folder)
        forget_fresh(machine(2))
        machine(2).store.bring(own(machine(2), "demo/one"))
        assert read(own(machine(2), "demo/one")) == read(folder)

    def test_links_and_unfinished_files_are_not_kept(self, machine: Machine, tmp_path: Path) -> None:
        secret = fill(tmp_path / "elsewhere", canary_txt="canary") / "canary.txt"
        folder = fill(own(machine(1), "sessions/a"), front_mp4="video")
        (folder / "left.mp4").symlink_to(secret)
        (folder / ".unfinished-x.json").write_text("half")
        give(machine(1), folder)
        machine(2).store.bring(own(machine(2), "sessions/a"))
        assert set(read(own(machine(2), "sessions/a"))) == {"front.mp4"}

    def test_a_damaged_object_is_never_taken_for_the_file(self, machine: Machine) -> None:
        give(machine(1), fill(own(machine(1), "runs/a"), one_txt="one", two_txt="two"))
        objects = machine(1).store.objects
        victim = next(name for name in objects.list(name_folder("runs/a")) if "/files/" in name)
        objects.write(victim, b"eno")
        with pytest.raises(StoreMissing, match="not what was kept"):
            machine(2).store.bring(own(machine(2), "runs/a"))
        assert not own(machine(2), "runs/a").exists()
        objects.remove([victim])
        assert len(machine(1).store.verify()) == 1
        assert machine(1).store.verify(mend=True) == ()
        machine(2).store.bring(own(machine(2), "runs/a"))
        assert set(read(own(machine(2), "runs/a"))) == {"one.txt", "two.txt"}

    def test_an_outline_has_names_and_small_files(self, machine: Machine) -> None:
        video = os.urandom(2**20 + 1)
        folder = fill(own(machine(1), "sessions/a"), session_toml='task = "piano"', front_mp4=video)
        give(machine(1), folder)
        outline = machine(2).store.outline(own(machine(2), "sessions/a"))
        assert read(outline) == {"session.toml": b'task = "piano"', "front.mp4": b""}
        assert not own(machine(2), "sessions/a").exists()
        assert machine(1).store.outline(folder) == folder


class TestSeveralMachines:
    def test_the_newest_on_another_machine_is_said_and_not_guessed(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "sessions/a"), session_toml="old")
        with machine(1).writing() as database:
            machine(1).store.note_change(database, folder)
        with pytest.raises(NotKeptYet):
            machine(2).store.bring(own(machine(2), "sessions/a"))
        machine(1).store.keep(folder)
        fill(folder, session_toml="new")
        with machine(1).writing() as database:
            machine(1).store.note_change(database, folder)
        machine(2).store.bring(own(machine(2), "sessions/a"))
        assert read(own(machine(2), "sessions/a"))["session.toml"] == b"old"
        with pytest.raises(NotKeptYet), machine(2).store.hold(own(machine(2), "sessions/a")):
            pass
        assert machine(2).store.count_waiting() == 1
        assert machine(2).store.push_waiting() == 0
        assert machine(1).store.push_waiting() == 1
        with machine(2).store.hold(own(machine(2), "sessions/a")):
            assert read(own(machine(2), "sessions/a"))["session.toml"] == b"new"

    def test_one_machine_at_a_time_changes_a_folder(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("records.store.HOLD_S", 0.3)
        give(machine(1), fill(own(machine(1), "sessions/a"), session_toml="old"))
        second = machine(2).store.hold(own(machine(2), "sessions/a"))
        with (
            machine(1).store.hold(own(machine(1), "sessions/a")),
            pytest.raises(StoreError, match="changed or sent elsewhere"),
        ):
            second.__enter__()
        with machine(2).store.hold(own(machine(2), "sessions/a")):
            pass

    def test_the_lease_of_a_machine_that_is_gone_ends(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = fill(own(machine(1), "runs/a"), a_txt="a")
        give(machine(1), folder)
        stale = machine(1).store._lease("runs/a", 1.0)
        lease = stale.__enter__()
        with machine(2).writing() as database:
            database.execute(update(models.StoredFolder).values(leased_until=models.now()))
        machine(2).store.take(own(machine(2), "runs/a"))
        machine(2).store.keep(own(machine(2), "runs/a"))
        with pytest.raises(StoreError, match="Another machine"):
            lease.renew()
        assert not lease.finish("0" * 64, 1, None, True)
        stale.__exit__(None, None, None)

    def test_a_run_goes_on_where_another_machine_left_it(self, machine: Machine) -> None:
        first = own(machine(1), "runs/a")
        machine(1).store.take(first)
        fill(first, run_json="{}", views__front_npz="front")
        machine(1).store.keep(first, done=False)
        fill(first, views__left_npz="lost with the machine")
        second = own(machine(2), "runs/a")
        machine(2).store.take(second)
        assert set(read(second)) == {"run.json", "views/front.npz"}
        fill(second, views__left_npz="left")
        with pytest.raises(StoreError, match="Another machine"):
            machine(1).store.keep(first)  # it was not dead after all
        machine(2).store.keep(second)
        forget_fresh(machine(1))
        machine(1).store.bring(first)
        assert read(first) == read(second)

    def test_what_is_dropped_goes_from_the_store_and_from_every_machine(self, machine: Machine) -> None:
        folder = fill(own(machine(1), "runs/a"), a_txt="a")
        give(machine(1), folder)
        give(machine(1), fill(own(machine(1), "runs"), **{"a_errors_txt": "words"}) / "a.errors.txt")
        give(machine(1), fill(own(machine(1), "runs/b"), b_txt="b"))
        for name in ("runs/a", "runs/b"):
            machine(2).store.bring(own(machine(2), name))
        machine(1).store.drop([folder])
        left = machine(1).store.objects.list("")
        assert {name.partition("/")[0] for name in left} == {name_folder("runs/b")}
        machine(2).store.tidy()
        assert not own(machine(2), "runs/a").exists()
        assert own(machine(2), "runs/b").exists()
        with machine(1).reading() as database:
            assert not [key for key in database.scalars(select(models.StoredFolder.key)) if "runs/a" in key]
        machine(2).store.bring(own(machine(2), "runs/a"))  # nothing, and no error
        assert not own(machine(2), "runs/a").exists()


class TestRoom:
    def test_the_least_used_copies_go_and_come_back(self, machine: Machine) -> None:
        records = machine(1)
        for age, name in ((3, "a"), (2, "b"), (1, "c")):
            give(records, fill(own(records, f"runs/{name}"), data_bin=os.urandom(1000)))
            old = time.time() - age * 86_400
            os.utime(records.store._copy_path(name_folder(f"runs/{name}")), (old, old))
        before = read(own(records, "runs/a"))
        assert records.store.drop_copies(2000) == 1000
        assert not own(records, "runs/a").exists()
        assert own(records, "runs/b").exists()
        forget_fresh(records)
        records.store.bring(own(records, "runs/a"))
        assert read(own(records, "runs/a")) == before

    def test_who_comes_late_to_send_a_dropped_copy_does_not_empty_the_store(self, machine: Machine) -> None:
        records = machine(1)
        give(records, fill(own(records, "runs/a"), data_bin="data"))
        os.utime(records.store._copy_path(name_folder("runs/a")), (1e9, 1e9))
        assert records.store.drop_copies(0) == 4
        records.store.keep(own(records, "runs/a"))
        own(records, "runs/a").mkdir()
        records.store.keep(own(records, "runs/a"))
        machine(2).store.bring(own(machine(2), "runs/a"))
        assert read(own(machine(2), "runs/a")) == {"data.bin": b"data"}

    def test_what_is_not_whole_in_the_store_or_changed_or_in_use_stays(self, machine: Machine) -> None:
        records = machine(1)
        for name in ("used", "waiting", "edited", "damaged"):
            give(records, fill(own(records, f"runs/{name}"), data_bin=os.urandom(1000)))
            if name != "used":
                os.utime(records.store._copy_path(name_folder(f"runs/{name}")), (1e9, 1e9))
        with records.writing() as database:
            records.store.note_change(database, own(records, "runs/waiting"))
        fill(own(records, "runs/edited"), data_bin="by hand")
        objects = records.store.objects
        objects.remove(name for name in objects.list(name_folder("runs/damaged")) if "/files/" in name)
        assert records.store.drop_copies(0) == 0
        assert {each.name for each in own(records, "runs").iterdir()} == {
            "used",
            "waiting",
            "edited",
            "damaged",
        }
        records.store.push_waiting()
        machine(2).store.bring(own(machine(2), "runs/edited"))
        assert read(own(machine(2), "runs/edited")) == {"data.bin": b"by hand"}


class _Killed(BaseException):
    """Stands for kill -9: nothing that runs on an error may count on being run."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """End at the n-th operation on the store, the disk or the row."""
    count: list[str] = []

    def count_down(what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **values: Any) -> Any:
            if len(count) == step:
                raise _Killed
            count.append(what)
            return work(*arguments, **values)

        return counted

    with monkeypatch.context() as patch:
        for name in ("write", "read", "read_parts", "list", "remove"):
            patch.setattr(Objects, name, count_down(name, getattr(Objects, name)))
        patch.setattr("records.leases.Lease.finish", count_down("finish", _finish()))
        patch.setattr("records.copies.os.replace", count_down("replace", os.replace))
        patch.setattr("records.copies.os.rename", count_down("rename", os.rename))
        patch.setattr(Store, "_write_copy", count_down("copy", Store._write_copy))
        patch.setattr("records.leases.Lease.give_back", lambda self: None)  # the dead give nothing back
        patch.setattr("records.copies.shutil.rmtree", lambda *a, **k: None)  # and tidy nothing
        try:
            yield count
        except _Killed:
            count.append("killed")


def stride(place: Place) -> int:
    """Each operation on a folder, which is quick; some on a server, where they are the same."""
    return 4 if place[1] else 1


def _finish() -> Callable[..., Any]:
    from records.leases import Lease

    return Lease.finish


def end_leases(records: Records) -> None:
    """As time does."""
    with records.writing() as database:
        database.execute(update(models.StoredFolder).values(lease=None))


class TestKilled:
    def test_keeping_killed_anywhere_leaves_the_version_before_or_the_one_after(
        self, machine: Machine, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = own(machine(1), "runs/a")
        for step in range(0, 100, stride(place)):
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder, run_json=f"old {step}", b_txt="b", gone_txt=f"gone {step}")
            give(machine(1), folder)
            before = read(folder)
            fill(folder, run_json=f"new {step}", c_txt=f"c {step}")
            (folder / "gone.txt").unlink()
            after = read(folder)
            with machine(1).writing() as database:
                machine(1).store.note_change(database, folder)
            with killed_at(step, monkeypatch) as operations:
                machine(1).store.keep(folder)
            end_leases(machine(1))
            shutil.rmtree(own(machine(2), ""), ignore_errors=True)
            forget_fresh(machine(2))
            machine(2).store.bring(own(machine(2), "runs/a"))
            assert read(own(machine(2), "runs/a")) in (before, after), operations
            machine(1).store.push_waiting()  # the housekeeper, afterwards
            forget_fresh(machine(2))
            machine(2).store.bring(own(machine(2), "runs/a"))
            assert read(own(machine(2), "runs/a")) == after
            if "killed" not in operations:
                break
        assert step > 5

    def test_bringing_killed_anywhere_leaves_nothing_half(
        self, machine: Machine, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = fill(own(machine(1), "runs/a"), run_json="old", b_txt="b", gone_txt="gone")
        give(machine(1), folder)
        copy = own(machine(2), "runs/a")
        for has_old in (False, True):
            for step in range(0, 100, stride(place)):
                shutil.rmtree(own(machine(2), ""), ignore_errors=True)
                fill(folder, run_json="old", b_txt="b", gone_txt="gone")
                (folder / "c.txt").unlink(missing_ok=True)
                give(machine(1), folder)
                old = read(folder)
                if has_old:
                    forget_fresh(machine(2))
                    machine(2).store.bring(copy)
                fill(folder, run_json="new", c_txt="c")
                (folder / "gone.txt").unlink()
                give(machine(1), folder)
                forget_fresh(machine(2))
                with killed_at(step, monkeypatch) as operations:
                    machine(2).store.bring(copy)
                known = machine(2).store._read_copy(name_folder("runs/a"))
                if not has_old:
                    assert not copy.exists() or read(copy) == read(folder), operations
                elif known is not None and known.digest:  # it says what it is, and is that
                    assert read(copy) in (old, read(folder)), operations
                forget_fresh(machine(2))
                machine(2).store.bring(copy)
                assert read(copy) == read(folder)
                if "killed" not in operations:
                    break
            assert step > 3


class TestAway:
    def test_a_store_that_is_away_is_said_soon_and_comes_back_by_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setattr("records.objects.AWAY_S", 0.3)
        port = free_port()
        records = open_machine(tmp_path, ("s3://made-later", f"http://127.0.0.1:{port}"), 1)
        folder = fill(own(records, "runs/a"), a_txt="a")
        with records.writing() as database:
            records.store.note_change(database, folder)
        begun = time.monotonic()
        with pytest.raises(StoreAway, match="does not answer"):
            records.store.keep(folder)
        assert time.monotonic() - begun < 10
        begun = time.monotonic()
        with pytest.raises(StoreAway):
            records.store.check()
        assert time.monotonic() - begun < 0.2  # nobody queues up behind it
        records.store.bring(folder)  # what is here goes on
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        try:
            time.sleep(0.4)
            with pytest.raises(StoreAway, match="bucket is not there"):
                records.store.push_waiting()
            import fsspec

            endpoint = f"http://127.0.0.1:{port}"
            fsspec.filesystem("s3", endpoint_url=endpoint, use_listings_cache=False).mkdir("made-later")
            time.sleep(0.4)
            records.store.check()
            assert records.store.push_waiting() == 1
            assert records.store.count_waiting() == 0
        finally:
            server.stop()
            records.close()

    def test_a_folder_that_is_not_mounted_is_not_taken_for_an_empty_store(self, tmp_path: Path) -> None:
        records = open_machine(tmp_path, (f"file://{tmp_path / 'not-mounted'}", None), 1)
        folder = fill(own(records, "runs/a"), a_txt="a")
        with records.writing() as database:
            records.store.note_change(database, folder)
        with pytest.raises(StoreAway, match="not there"):
            records.store.keep(folder)
        assert not (tmp_path / "not-mounted").exists()
        records.close()


def test_postgresql_keeps_the_same_rows_and_has_the_clock_of_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    place = (f"file://{tmp_path / 'store'}", None)
    with fresh_postgres() as url:
        one = open_machine(tmp_path, place, 1, DATABASE_URL=url)
        two = open_machine(tmp_path, place, 2, DATABASE_URL=url)
        folder = fill(own(one, "sessions/a"), a_txt="a")
        give(one, folder)
        with two.store.hold(own(two, "sessions/a")):
            assert read(own(two, "sessions/a")) == read(folder)
        with one.store.hold(folder):
            monkeypatch.setattr("records.store.HOLD_S", 0.0)
            ahead = models.now() + datetime.timedelta(hours=1)  # as a machine has it whose clock is wrong
            monkeypatch.setattr("records.leases.now", lambda: ahead)
            with pytest.raises(StoreBusy), two.store.hold(own(two, "sessions/a")):
                pytest.fail("two machines hold one folder")
        two.store.drop([own(two, "sessions/a")])
        one.store.tidy()
        assert not folder.exists()
        one.close()
        two.close()


def test_without_a_store_nothing_is_done(tmp_path: Path) -> None:
    records = Records(Settings(data_dir=tmp_path / "data", DATABASE_URL=None, _env_file=None))  # type: ignore[call-arg]
    folder = fill(own(records, "runs/a"), a_txt="a")
    give(records, folder)
    records.store.bring(folder)
    records.store.drop([folder])
    with records.store.hold(folder):
        assert records.store.outline(folder) == folder
    assert not (own(records, "") / LOCAL).exists()
    records.close()
