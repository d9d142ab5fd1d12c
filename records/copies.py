"""Copies of what is in the store, on this machine: brought whole, and dropped when room is wanted."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from pipeline.files import hash_json, sync_folder
from records import models
from records.errors import NotKeptYet, StoreError, StoreMissing
from records.manifests import (
    ITSELF,
    LOOK,
    Copy,
    Entry,
    describe,
    is_as_seen,
    is_same,
    list_files,
    name_folder,
    parse_manifest,
)
from records.models import LIVE_STATES
from records.store_rows import StoreRows

log = logging.getLogger(__name__)

FRESH_S: Final = 1.0
"""For so long a copy that was found to be the newest is not asked about again: ranges come fast."""

UNUSED_S: Final = 600.0
"""A copy that was used within this time is not dropped, whatever the room."""

KEEP_FREE_SHARE: Final = 0.05
SEVERAL: Final = 4
"""Objects that are sent or brought at a time."""

MOST_BYTES_OF_TEXT: Final = 2**20
"""Files up to this size stand in an outline with what is in them."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that is kept and not whole: where it lies in the data folder, and what is wrong."""

    key: str
    what: str


def _go_on() -> None:
    """Nothing stands against going on."""


class Copies(StoreRows):
    """What lies in this machine's data folder, held against the store."""

    # --- bringing --------------------------------------------------------------------------------

    def bring(self, path: Path, newest: bool = False, check: Callable[[], None] = _go_on) -> None:
        """Make what lies at a path of the data folder what the store says it is.

        Does nothing where there is no store, for what lies outside the data folder, for what was never given
        to the store, and where the copy is the one.

        Parameters
        ----------
        path : Path
            A recording's or run's folder, or a rig's file.
        newest : bool
            Whether something newer on another machine, which is not kept yet, is an error; else what the
            store has is brought.
        check : callable
            Called again and again; what it raises ends the bringing.

        Raises
        ------
        StoreAway
            The store does not answer.
        NotKeptYet
            The files, or the newest, are on another machine alone.
        StoreError
            What was kept is not whole, or the disk has no room.
        """
        key = self._key(path)
        if not key:
            return
        folder_id = name_folder(key)
        if not newest and time.monotonic() - self._fresh.get(folder_id, -FRESH_S) < FRESH_S:
            return
        for attempt in range(3):
            row = self._read(folder_id)
            if row is None or row.dropped is not None:
                return
            is_elsewhere = row.machine not in (None, self.machine)
            if is_elsewhere and (newest or not row.digest):
                raise _say_elsewhere()
            if row.machine == self.machine or self._is_current(row, path):
                self._touch(folder_id)
                return
            if not row.digest:
                return
            if self._bring_if_newest(row, path, attempt == 2, check):
                return

    def _bring_if_newest(
        self, row: models.StoredFolder, path: Path, is_last: bool, check: Callable[[], None]
    ) -> bool:
        """Bring a version; False where it is gone, since another machine has kept a newer one meanwhile."""
        try:
            self._bring(row, path, check)
        except StoreMissing:
            again = self._read(row.id)
            if is_last or again is None or again.digest == row.digest:
                raise
            return False
        return True

    def _is_current(self, row: models.StoredFolder, path: Path) -> bool:
        copy = self._read_copy(row.id)
        return bool(row.digest) and copy is not None and copy.digest == row.digest and path.exists()

    def _bring(self, row: models.StoredFolder, path: Path, check: Callable[[], None]) -> None:
        with _on_this_disk(), self._alone(row.id):
            if self._is_current(row, path):  # another thread or process was quicker
                self._touch(row.id)
                return
            files = self._read_manifest(row.id, row.digest)
            known = self._read_copy(row.id) or Copy(row.key, "", {})
            here = {name: each for name, each in list_files(path)} if path.exists() else {}
            missing = {
                name: entry
                for name, entry in files.items()
                if name not in here or not is_same(here[name], entry, known, name)
            }
            self._make_room(sum(entry.size for entry in missing.values()), row.id)
            with self._staging(row.id) as staged:
                self._fetch(row.id, missing, staged / "new", check)
                self._write_copy(row.id, Copy(row.key, "", {}))  # of no manifest until it is whole
                self._put_in_place(path, staged / "new", missing, set(here) - set(files))
            self._write_copy(row.id, describe(row.key, row.digest, path, files))
            self._touch(row.id)

    def _fetch(
        self, folder_id: str, wanted: Mapping[str, Entry], to: Path, check: Callable[[], None] = _go_on
    ) -> None:
        """Bring files into a folder, each compared with its SHA-256."""

        def bring_one(item: tuple[str, Entry]) -> None:
            name, entry = item
            target = to / "itself" if name == ITSELF else to / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            digest = hashlib.sha256()
            with open(target, "wb") as out:
                for part in self.objects.read_parts(f"{folder_id}/files/{entry.sha256}", entry.size):
                    check()
                    digest.update(part)
                    out.write(part)
                out.flush()
                os.fsync(out.fileno())
            if digest.hexdigest() != entry.sha256:
                raise StoreMissing(f"{name} in the store is not what was kept.", LOOK)

        to.mkdir(parents=True, exist_ok=True, mode=0o700)
        do_several(bring_one, wanted.items())

    def _put_in_place(self, path: Path, new: Path, brought: Iterable[str], gone: Iterable[str]) -> None:
        """From here on the network is not needed any more; a kill leaves a copy that is of no manifest."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if ITSELF in brought:
            os.replace(new / "itself", path)
        elif not path.exists():
            os.rename(new, path)
        else:
            for name in brought:
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(new / name, path / name)
            for name in gone:
                (path / name).unlink(missing_ok=True)
        sync_folder(path.parent)

    def _read_manifest(self, folder_id: str, digest: str) -> dict[str, Entry]:
        data = self.objects.read(f"{folder_id}/manifests/{digest}.json")
        return parse_manifest(data, digest)

    def outline(self, path: Path, only: tuple[str, ...] = ()) -> Path:
        """A folder to read names and small files from, without bringing videos.

        The folder itself where it is here; else one of the same name in which the other files are empty.

        Parameters
        ----------
        path : Path
            A recording's or run's folder.
        only : tuple of str
            The files that are wanted with what is in them; by default each below a megabyte.

        Raises
        ------
        StoreError
            As `bring`.
        """
        key = self._key(path)
        row = self._read(name_folder(key)) if key else None
        if row is None or row.dropped is not None or row.machine == self.machine:
            return path
        if self._is_current(row, path):
            self._touch(row.id)
            return path
        if not row.digest:
            raise _say_elsewhere()
        root = self._local / "outlines" / row.id
        version = f"{row.digest[:32]}-{hash_json(only)[:8]}"
        outline = root / version / path.name
        if outline.is_dir():
            return outline
        files = self._read_manifest(row.id, row.digest)
        wanted = {
            name: entry
            for name, entry in files.items()
            if (name in only if only else entry.size <= MOST_BYTES_OF_TEXT)
        }
        with _on_this_disk(), self._alone(row.id), self._staging(row.id) as staged:
            if outline.is_dir():
                return outline
            self._fetch(row.id, wanted, staged / "new" / path.name)
            for name in files.keys() - wanted.keys():
                empty = staged / "new" / path.name / name
                empty.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                empty.touch()
            for older in root.glob("*"):
                if not older.name.startswith(row.digest[:32]):
                    shutil.rmtree(older, ignore_errors=True)
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.rename(staged / "new", root / version)
        return outline

    # --- room ------------------------------------------------------------------------------------

    def _make_room(self, size_bytes: int, but: str) -> None:
        def fits() -> bool:
            disk = shutil.disk_usage(self._data)
            return disk.free - size_bytes > KEEP_FREE_SHARE * disk.total

        if fits():
            return
        self.drop_copies(0, size_bytes, but)
        if not fits():
            raise StoreError(
                f"The disk of this machine has no room for {size_bytes / 1e9:.1f} GB from the store.",
                "Ask who runs this server to free some space, or to set REDYS_STORE_CACHE_BYTES lower.",
            )

    def drop_copies(self, most_bytes: int, wanted_bytes: int = 0, but: str = "") -> int:
        """Drop copies that the store has whole, the least used first; gives the bytes that went.

        Never one that is not kept yet, of a live run, or in use within the last ten minutes.

        Parameters
        ----------
        most_bytes : int
            What may stay.
        wanted_bytes : int
            Enough has gone when this much has; 0 = until what stays is below ``most_bytes``.
        but : str
            A copy's id that stays.

        Raises
        ------
        StoreAway
            What the store has cannot be looked at, so nothing is dropped.
        """
        sizes = {each: self._size_of(each) for each in self._list_copies()}
        total, gone = sum(sizes.values()), 0
        live = self._list_live_ids()
        for folder_id, size in sizes.items():
            if total - gone <= most_bytes or (wanted_bytes and gone >= wanted_bytes):
                break
            if folder_id != but and folder_id not in live and self._drop_copy(folder_id):
                gone += size
        return gone

    def _list_copies(self) -> list[str]:
        """Ids of this machine's copies, that which was not used for longest first."""
        found = []
        for path in (self._local / "copies").glob("*.json"):
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path.stem))
        return [folder_id for _, folder_id in sorted(found)]

    def _size_of(self, folder_id: str) -> int:
        copy = self._read_copy(folder_id)
        return 0 if copy is None else sum(size for _, size, _, _ in copy.files.values())

    def _list_live_ids(self) -> set[str]:
        with self._records.reading() as database:
            query = (
                select(models.Run.folder, models.Recording.folder)
                .join(models.Recording, models.Recording.id == models.Run.recording_id)
                .where(models.Run.state.in_(LIVE_STATES))
            )
            return {name_folder(key) for pair in database.execute(query) for key in pair}

    def _drop_copy(self, folder_id: str) -> bool:
        """Drop one copy if the store has all of it and nobody needs it here; whether it went."""
        with self._alone(folder_id, wait=False) as is_mine:
            copy, row = self._read_copy(folder_id), self._read(folder_id)
            path = None if copy is None else self._records.full_path(copy.key)
            if not is_mine or copy is None or row is None or path is None or row.machine is not None:
                return False
            is_used = time.time() - self._copy_path(folder_id).stat().st_mtime < UNUSED_S
            if is_used or row.lease is not None or row.dropped is not None or copy.digest != row.digest:
                return False
            if not is_as_seen(path, copy):
                log.warning("%s was changed past the store; it stays, and is kept", copy.key)
                with self._records.writing() as database:
                    self.note_change(database, path)
                return False
            if self._find_faults(row):
                log.error("%s is not whole in the store; its copy stays", copy.key)
                return False
            self._fresh.pop(folder_id, None)
            self._write_copy(folder_id, Copy(copy.key, "", {}))
            again = self._read(folder_id)  # whoever asks from now on waits for the lock above
            if again is None or (again.machine, again.lease, again.digest) != (None, None, copy.digest):
                self._write_copy(folder_id, copy)
                return False
            with self._staging(folder_id) as staged:  # a kill leaves what the next bringing puts right
                for name in (name for name, _ in list_files(path)) if path.is_dir() else (ITSELF,):
                    target = staged / name if name != ITSELF else staged / "itself"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path / name if name != ITSELF else path, target)
            _remove_empty(path)
            self._copy_path(folder_id).unlink()
            return True

    def _find_faults(self, row: models.StoredFolder) -> list[Fault]:
        there = self.objects.list(row.id)
        try:
            files = self._read_manifest(row.id, row.digest)
        except StoreMissing as error:
            return [Fault(row.key, error.what)]
        return [
            Fault(row.key, f"{name} is missing in the store, or of another length.")
            for name, entry in files.items()
            if there.get(f"{row.id}/files/{entry.sha256}") != entry.size
        ]


@contextlib.contextmanager
def _on_this_disk() -> Iterator[None]:
    """Give what this machine's disk refuses in words; what the store refuses is in words already."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The disk of this machine could not take what the store has ({error.strerror or error}).",
            "Ask who runs this server to free some space.",
        ) from error


def _say_elsewhere() -> NotKeptYet:
    return NotKeptYet(
        "The newest files are still on the machine that took them, and not in the store.",
        "Wait a minute. If it stays so, that machine is off or cannot reach the store.",
    )


def _remove_empty(path: Path) -> None:
    """Remove the folders of a copy whose files are gone; one in which somebody put something stays."""
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def do_several(work: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Do the same for each, a few at a time; the first that fails ends it."""
    listed = list(items)
    if len(listed) < 2:
        for item in listed:
            work(item)
        return
    with ThreadPoolExecutor(SEVERAL, thread_name_prefix="store") as pool:
        begun = [pool.submit(work, item) for item in listed]
        try:
            for each in begun:
                each.result()
        except BaseException:
            for each in begun:
                each.cancel()
            raise
