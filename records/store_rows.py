"""What the database says of the folders of the store, and this machine's part of it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as DatabaseSession

from pipeline.errors import RedysError
from pipeline.files import read_json, write_json
from records import models
from records.errors import StoreBusy
from records.leases import Lease
from records.manifests import Copy, name_folder
from records.models import now
from records.objects import Objects

if TYPE_CHECKING:
    from records.service import Records

LOCAL: Final = ".store"
"""This machine's own part of the data folder: who it is, and what its copies are copies of."""


class StoreRows:
    """What all of a store's work needs: its bytes, this machine's name, rows and leases."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._fresh: dict[str, float] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is a store beside the data folder."""
        return self._records.settings.store_url is not None

    @functools.cached_property
    def objects(self) -> Objects:
        """The store's bytes.

        Raises
        ------
        StoreError
            The address is none that can be opened.
        """
        settings = self._records.settings
        assert settings.store_url is not None
        return Objects(settings.store_url, settings.store_endpoint)

    @functools.cached_property
    def machine(self) -> str:
        """Who this machine is: a random name of its data folder."""
        path = self._local / "machine"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            fresh = path.with_name(f"machine.{secrets.token_hex(4)}")
            fresh.write_text(secrets.token_hex(8), encoding="ascii")
            try:
                os.link(fresh, path)  # whole, or somebody else's
            finally:
                fresh.unlink()
        return path.read_text(encoding="ascii")

    @property
    def _data(self) -> Path:
        return self._records.settings.data_dir.resolve()

    @property
    def _local(self) -> Path:
        return self._data / LOCAL

    def _key(self, path: Path) -> str:
        """A path as the store knows it; empty for what is none of its: outside the data folder."""
        stored = self._records.store_path(path)
        return "" if not self.is_on or stored.startswith("/") or stored == "." else stored

    # --- rows ------------------------------------------------------------------------------------

    def _read(self, folder_id: str) -> models.StoredFolder | None:
        with self._records.reading() as database:
            row = database.get(models.StoredFolder, folder_id)
            if row is not None:
                database.expunge(row)
            return row

    def note_change(self, database: DatabaseSession, path: Path) -> None:
        """Say, in a transaction of the caller's, that this machine has something newer than the store.

        After it `nudge` sends it; should that fail, the housekeeper does.
        """
        key = self._key(path)
        if not key:
            return
        folder_id = name_folder(key)
        self._ensure(database, folder_id, key)
        if self._read_copy(folder_id) is None:  # so that it goes from here when another machine drops it
            self._write_copy(folder_id, Copy(key, "", {}))
        changed = {"key": key, "machine": self.machine, "changed": now(), "dropped": None}
        database.execute(
            update(models.StoredFolder).where(models.StoredFolder.id == folder_id).values(**changed)
        )
        self._fresh.pop(folder_id, None)

    def _ensure(self, database: DatabaseSession, folder_id: str, key: str) -> None:
        insert = postgresql.insert if database.get_bind().dialect.name == "postgresql" else sqlite.insert
        values = {"id": folder_id, "key": key, "digest": "", "size_bytes": 0}
        database.execute(insert(models.StoredFolder).values(**values).on_conflict_do_nothing())

    def count_waiting(self) -> int:
        """How many folders, of all machines, are newer than what the store has."""
        table = models.StoredFolder
        with self._records.reading() as database:
            query = select(func.count()).where(table.machine.is_not(None), table.dropped.is_(None))
            return int(database.scalar(query) or 0)

    def is_waiting(self, path: Path) -> bool:
        """Whether what lies at a path, on whatever machine, is newer than what the store has."""
        key = self._key(path)
        row = self._read(name_folder(key)) if key else None
        return row is not None and row.machine is not None

    def list_keys(self) -> tuple[tuple[str, str], ...]:
        """What the store has, as (path in the data folder, digest of its manifest), by path."""
        table = models.StoredFolder
        with self._records.reading() as database:
            query = select(table.key, table.digest).where(table.dropped.is_(None), table.digest != "")
            return tuple((key, digest) for key, digest in database.execute(query.order_by(table.key)))

    # --- this machine's part ---------------------------------------------------------------------

    def _copy_path(self, folder_id: str) -> Path:
        return self._local / "copies" / f"{folder_id}.json"

    def _read_copy(self, folder_id: str) -> Copy | None:
        path = self._copy_path(folder_id)
        with contextlib.suppress(RedysError, KeyError, TypeError, ValueError):
            if path.is_file():
                said = read_json(path)
                files = {
                    name: (str(a), int(b), int(c), int(d)) for name, (a, b, c, d) in said["files"].items()
                }
                return Copy(str(said["key"]), str(said["digest"]), files)
        return None

    def _write_copy(self, folder_id: str, copy: Copy) -> None:
        write_json(self._copy_path(folder_id), dataclasses.asdict(copy))

    def _touch(self, folder_id: str) -> None:
        """Note that a copy was used; what was used last is dropped last."""
        self._fresh[folder_id] = time.monotonic()
        path = self._copy_path(folder_id)
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 60.0:
                os.utime(path)

    @contextlib.contextmanager
    def _alone(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold a lock of this machine; whether it was free."""
        path = self._local / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    @contextlib.contextmanager
    def _staging(self, folder_id: str) -> Iterator[Path]:
        """A folder on the data folder's disk for what is not whole yet; what a kill left there is removed."""
        root = self._local / "staging"
        for left in root.glob(f"{folder_id}-*"):
            shutil.rmtree(left, ignore_errors=True)
        staged = root / f"{folder_id}-{secrets.token_hex(4)}"
        staged.mkdir(parents=True, mode=0o700)
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    # --- leases ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lease(self, key: str, wait_s: float) -> Iterator[Lease]:
        lease = Lease(self._records, name_folder(key))
        end = time.monotonic() + wait_s
        with self._records.writing() as database:
            self._ensure(database, lease.folder_id, key)
        while not lease.take():
            if time.monotonic() > end:
                raise StoreBusy(
                    "These files are being changed or sent elsewhere.", "Wait a minute, then try again."
                )
            time.sleep(0.2)
        try:
            yield lease
        finally:
            with contextlib.suppress(SQLAlchemyError):  # it ends by itself
                lease.give_back()
