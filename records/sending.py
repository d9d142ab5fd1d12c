"""Sending to the store what this machine has and the store has not."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session as DatabaseSession

from pipeline.errors import RedysError
from records import models
from records.copies import Copies, do_several
from records.errors import StoreAway, StoreError, StoreMissing
from records.leases import LEASE_S, Lease
from records.manifests import Copy, Entry, format_manifest, is_as_seen, list_files, look_at, name_folder
from records.models import LIVE_STATES

if TYPE_CHECKING:
    from records.service import Records

log = logging.getLogger(__name__)


MOST_OPEN: Final = 64
"""Files that are open at once while a folder is sent: a set of pictures may have thousands."""

Seen = tuple[str, int, int, int]


class Sending(Copies):
    """What this machine gives to the store."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        self._pushing = threading.Lock()
        self._pusher: threading.Thread | None = None

    def take(
        self,
        path: Path,
        is_mine: Callable[[DatabaseSession], bool] = lambda database: True,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on with a run's folder on this machine: bring what the store has of it, whoever had it last.

        Parameters
        ----------
        path : Path
            The run's folder.
        is_mine : callable
            Asked in the transaction that makes the folder this machine's: whether it still may.
        check : callable
            As `bring` has it.

        Raises
        ------
        StoreError
            As `bring`, or it is not for this machine any more.
        """
        key = self._key(path)
        if not key:
            return
        for attempt in range(3):
            row = self._read(name_folder(key))
            if row is None or row.machine == self.machine or row.dropped is not None:
                break
            if not row.digest:
                if row.machine is not None and path.exists():
                    shutil.rmtree(path)  # of an earlier attempt here; another machine has gone on since
                break
            if self._is_current(row, path) or self._bring_if_newest(row, path, attempt == 2, check):
                break
        with self._records.writing() as database:
            if not is_mine(database):
                raise _say_gone_on()
            self.note_change(database, path)

    def keep(self, path: Path, done: bool = True) -> None:
        """Send a folder or file to the store, only what it does not have; when this returns it is kept.

        Parameters
        ----------
        path : Path
            A folder of the data folder, or a file.
        done : bool
            Whether it stays like this for now. A run at work is kept whenever a stage is done, and stays this
            machine's.

        Raises
        ------
        StoreAway
            The store does not answer; what was sent so far need not be sent again.
        StoreError
            Another machine has gone on with it.
        """
        key = self._key(path)
        if not key:
            return
        with self._lease(key, LEASE_S) as lease:
            for attempt in range(3):
                try:
                    self._keep(lease, key, path, done)
                    return
                except _Moved:
                    if attempt == 2:
                        raise StoreError(
                            f"{path.name} changes while it is sent to the store.", "It is tried again."
                        ) from None

    def _keep(self, lease: Lease, key: str, path: Path, done: bool) -> None:
        row = self._read(lease.folder_id)
        if row is None or row.dropped is not None:
            return
        if row.machine not in (None, self.machine):
            raise _say_gone_on()
        if row.machine is None and row.digest:
            return  # kept by another thread or process meanwhile; the copy may even have been dropped since
        if not path.exists():
            self._forget_lost(key)
            return
        copy = self._read_copy(row.id) or Copy(key, "", {})
        there = self._list_kept(row, copy)
        files, seen = self._send_files(row.id, path, copy, there, lease.beat)
        data = format_manifest(key, files)
        digest = hashlib.sha256(data).hexdigest()
        if digest != row.digest:
            self.objects.write(f"{row.id}/manifests/{digest}.json", data)
        # Before the row: a reader of this machine compares the two, and until the row is changed it is told
        # that the newest is here.
        self._write_copy(row.id, Copy(key, digest, seen))
        size = sum(entry.size for entry in files.values())
        if not lease.finish(digest, size, row.changed, done):
            if (again := self._read(row.id)) is not None and again.dropped is not None:
                self.objects.remove_all(row.id)  # it was erased while it was sent
            raise _say_gone_on()
        if done and row.digest != digest:
            self._remove_orphans(lease, digest, files)

    def _list_kept(self, row: models.StoredFolder, copy: Copy) -> frozenset[str]:
        """The SHA-256 of what the store has for certain: the files of the manifest that holds."""
        if not row.digest:
            return frozenset()
        if copy.digest == row.digest:
            return frozenset(sha256 for sha256, *_ in copy.files.values())
        try:
            return frozenset(entry.sha256 for entry in self._read_manifest(row.id, row.digest).values())
        except StoreMissing:
            return frozenset()

    def _send_files(
        self, folder_id: str, path: Path, copy: Copy, there: frozenset[str], beat: Callable[[], None]
    ) -> tuple[dict[str, Entry], dict[str, Seen]]:
        """Send what the store has not got of a folder; gives all its files, and each as it was seen."""
        files: dict[str, Entry] = {}
        seen: dict[str, Seen] = {}
        fresh: dict[str, tuple[IO[bytes], int]] = {}
        with contextlib.ExitStack() as opened:
            for name, each in list_files(path):
                with contextlib.suppress(FileNotFoundError):  # it went since the folder was listed
                    entry, about, source = look_at(each, copy, name, there, beat)
                    files[name] = entry
                    seen[name] = (entry.sha256, about.st_size, about.st_mtime_ns, about.st_ino)
                    if source is not None:
                        fresh[entry.sha256] = (opened.enter_context(source), entry.size)
                if len(fresh) >= MOST_OPEN:
                    self._send(folder_id, fresh, beat)
                    fresh.clear()
                    opened.close()
            self._send(folder_id, fresh, beat)
        return files, seen

    def _send(
        self, folder_id: str, fresh: Mapping[str, tuple[IO[bytes], int]], beat: Callable[[], None]
    ) -> None:
        def send_one(item: tuple[str, tuple[IO[bytes], int]]) -> None:
            sha256, (source, size) = item
            name = f"{folder_id}/files/{sha256}"
            if self.objects.write_stream(name, source, size, beat) != sha256:
                self.objects.remove([name])
                raise _Moved

        do_several(send_one, fresh.items())

    def _remove_orphans(self, lease: Lease, digest: str, files: Mapping[str, Entry]) -> None:
        """What no manifest that holds names; should the store go away now, the next time does."""
        wanted = {f"{lease.folder_id}/files/{entry.sha256}" for entry in files.values()}
        wanted.add(f"{lease.folder_id}/manifests/{digest}.json")
        with contextlib.suppress(StoreError):
            orphans = set(self.objects.list(lease.folder_id)) - wanted
            lease.renew()
            for name in orphans:
                lease.beat()  # another machine may want what was an orphan a moment ago
                self.objects.remove([name])

    # --- what waits ------------------------------------------------------------------------------

    def push_waiting(self) -> int:
        """Send what this machine has and the store has not; how many folders were sent.

        Runs at work are left to those that see them through.

        Raises
        ------
        StoreError
            The store is away; what waits is tried again.
        """
        if not self.is_on:
            return 0
        sent = 0
        with self._alone("pushing", wait=False) as is_mine:
            for key in self._list_waiting() if is_mine else ():
                path = self._records.full_path(key)
                try:
                    if path.exists():
                        self.keep(path)
                        sent += 1
                    else:
                        self._forget_lost(key)
                except StoreAway:
                    raise
                except (RedysError, OSError) as error:  # the others need not wait for it
                    log.warning("%s could not be kept, and is tried again: %s", key, error)
        return sent

    def _list_waiting(self) -> list[str]:
        table = models.StoredFolder
        live = select(models.Run.folder).where(models.Run.state.in_(LIVE_STATES))
        waiting = select(table.key).where(
            table.machine == self.machine, table.dropped.is_(None), table.key.not_in(live)
        )
        with self._records.reading() as database:
            return list(database.scalars(waiting.order_by(table.changed)))

    def _forget_lost(self, key: str) -> None:
        """What should be here and is not: the store's own holds again, if it has one."""
        log.error("%s was to be kept and is not here any more", key)
        table = models.StoredFolder
        with self._records.writing() as database:
            database.execute(
                update(table)
                .where(table.id == name_folder(key), table.machine == self.machine)
                .values(machine=None)
            )

    def nudge(self) -> None:
        """Begin to send what waits, without waiting for it."""
        if not self.is_on:
            return
        with self._pushing:
            if self._pusher is None or not self._pusher.is_alive():
                self._pusher = threading.Thread(target=self._push_quietly, name="store", daemon=True)
                self._pusher.start()

    def _push_quietly(self) -> None:
        try:
            while self.push_waiting():
                pass
        except StoreError as error:
            log.warning("What waits is kept later: %s", error.what)
        except Exception:  # the housekeeper tries again
            log.exception("What waits could not be sent to the store")

    def adopt(self) -> int:
        """Let wait what is here and the store has never heard of: all of it, where a store is new.

        Gives how many folders and files that were.
        """
        if not self.is_on:
            return 0
        with self._records.writing() as database:
            known = set(database.scalars(select(models.StoredFolder.id)))
            paths = [self._records.full_path(key) for key in self._list_named(database)]
            new = [path for path in paths if name_folder(self._key(path)) not in known and path.exists()]
            for path in new:
                self.note_change(database, path)
        return len(new)

    def _list_named(self, database: DatabaseSession) -> list[str]:
        """Paths that recordings, runs and rigs name."""
        columns = (models.Recording.folder, models.Run.folder, models.Rig.file)
        return list(dict.fromkeys(key for column in columns for key in database.scalars(select(column))))

    def _send_again(self, row: models.StoredFolder) -> None:
        """Everything of a copy once more, whatever the store is thought to have."""
        path = self._records.full_path(row.key)
        copy = self._read_copy(row.id)
        if copy is None or not is_as_seen(path, copy):
            log.error("%s is not what was kept, and is not sent again", row.key)
            return
        with self._lease(row.key, LEASE_S) as lease:
            unknown = Copy(row.key, "", {})
            files, _ = self._send_files(row.id, path, unknown, frozenset(), lease.beat)
            data = format_manifest(row.key, files)
            if hashlib.sha256(data).hexdigest() != row.digest:
                log.error("%s is not what was kept: what was sent of it goes the next time", row.key)
                return
            self.objects.write(f"{row.id}/manifests/{row.digest}.json", data)


def _say_gone_on() -> StoreError:
    return StoreError("Another machine has gone on with these files.", "Nothing is to be done here.")


class _Moved(Exception):
    """A file was written into while it was sent."""
