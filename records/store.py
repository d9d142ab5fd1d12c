"""Where the files of recordings, runs and rigs are kept when machines have no disk in common.

Without ``REDYS_STORE_URL`` the data folder is the store, and everything here does nothing. With it, each
folder (a recording's, a run's) and each rig's file is kept in an S3-compatible store or another folder, and
what lies in a machine's data folder is a copy: brought when it is wanted, dropped when room is.

A folder is kept as ``ID/files/SHA-256`` for its files and ``ID/manifests/SHA-256.json`` for what it is made
of; ``ID`` is the hash of its path in the data folder. Neither is ever written over. Which manifest holds is
said by a row of the database (`records.models.StoredFolder`), changed in one step when everything is there:
whatever is killed at whatever moment, a folder is the one before or the one after. A row also says which
machine has something newer that is not kept yet, so that nothing is lost while the store is away, and a
lease keeps two machines from changing the same folder at once.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import delete, or_, select, update

from records import models
from records.copies import Fault
from records.leases import LEASE_S
from records.manifests import ITSELF, Entry, name_folder
from records.models import now
from records.sending import Sending
from records.store_rows import LOCAL

__all__ = ["LOCAL", "Entry", "Fault", "Store", "name_folder"]

log = logging.getLogger(__name__)

HOLD_S: Final = 15.0
"""How long a change waits for another machine's."""

PUSH_EVERY_S: Final = 10.0
TIDY_EVERY_S: Final = 600.0

_FOLDER = re.compile(r"[0-9a-f]{32}/")


class Store(Sending):
    """The store of one `Records`."""

    @contextlib.contextmanager
    def hold(self, path: Path) -> Iterator[None]:
        """Hold a folder alone among all machines, and have its newest files here.

        Raises
        ------
        StoreError
            Somebody else holds it, the newest files are on another machine, or the store is away and they
            are not here.
        """
        key = self._key(path)
        if not key:
            yield
            return
        with self._lease(key, HOLD_S) as lease:
            self.bring(path, newest=True)
            lease.renew()  # bringing may have taken longer than it lasts
            yield

    def is_here(self, key: str) -> bool:
        """Whether this machine has the newest of a path of the data folder."""
        row = self._read(name_folder(key))
        if row is None or row.machine == self.machine:
            return True
        return self._is_current(row, self._records.full_path(key))

    def read_kept(self, key: str, digest: str) -> Iterator[tuple[str, Entry, Iterator[bytes]]]:
        """The files of what is kept: path in the data folder, SHA-256 and size, and the bytes.

        Raises
        ------
        StoreError
        """
        folder_id = name_folder(key)
        for name, entry in self._read_manifest(folder_id, digest).items():
            place = key if name == ITSELF else f"{key}/{name}"
            yield place, entry, self.objects.read_parts(f"{folder_id}/files/{entry.sha256}", entry.size)

    def keep_house(self) -> None:
        """Send what waits and drop what is not needed, for as long as this process lives."""
        if not self.is_on:
            return

        def look() -> None:
            tidied = time.monotonic()
            try:
                self.adopt()
            except Exception:  # the next start tries again
                log.exception("What the store has not heard of yet could not be found")
            while True:
                self._push_quietly()
                if time.monotonic() - tidied > TIDY_EVERY_S:
                    tidied = time.monotonic()
                    try:
                        self.tidy()
                    except Exception:  # the next time tries again
                        log.exception("Copies of the store could not be tidied")
                time.sleep(PUSH_EVERY_S)

        threading.Thread(target=look, name="store-house", daemon=True).start()

    # --- dropping --------------------------------------------------------------------------------

    def drop(self, paths: Iterable[Path]) -> None:
        """Take folders, and what is called after them (``runs/ID.*``), out of the store for good.

        Their rows stay, so that other machines remove their copies; without a name, once nobody can be at
        sending them any more.

        Raises
        ------
        StoreError
            The store is away; nothing is forgotten, and dropping again goes on.
        """
        keys = [key for path in paths if (key := self._key(path))]
        if not keys:
            return
        table = models.StoredFolder
        with self._records.writing() as database:
            named = or_(
                *(or_(table.key == key, table.key.startswith(f"{key}.", autoescape=True)) for key in keys)
            )
            ids = dict.fromkeys([*map(name_folder, keys), *database.scalars(select(table.id).where(named))])
            for key in keys:
                self._ensure(database, name_folder(key), key)
            at_work = select(table.id).where(table.id.in_(list(ids)), table.lease.is_not(None))
            busy = set(database.scalars(at_work))  # tidying looks again when its last word has been sent
            values = {"dropped": now(), "digest": "", "size_bytes": 0, "machine": None, "lease": None}
            database.execute(update(table).where(table.id.in_(list(ids))).values(**values))
        for folder_id in ids:
            self.objects.remove_all(folder_id)
            self._remove_traces(folder_id)
        self._forget_names(ids.keys() - busy)

    def _forget_names(self, ids: Iterable[str]) -> None:
        table = models.StoredFolder
        with self._records.writing() as database:
            gone = (table.id.in_(list(ids)), table.dropped.is_not(None))
            database.execute(update(table).where(*gone).values(key=""))

    def _finish_drops(self) -> None:
        """What was dropped while the store was away, or while another machine was sending it."""
        table = models.StoredFolder
        before = now() - datetime.timedelta(seconds=LEASE_S)
        with self._records.reading() as database:
            left = list(database.scalars(select(table.id).where(table.key != "", table.dropped < before)))
        for folder_id in left:
            self.objects.remove_all(folder_id)
            self._forget_names([folder_id])

    def _remove_traces(self, folder_id: str) -> None:
        self._fresh.pop(folder_id, None)
        self._copy_path(folder_id).unlink(missing_ok=True)
        shutil.rmtree(self._local / "outlines" / folder_id, ignore_errors=True)
        for left in (self._local / "staging").glob(f"{folder_id}-*"):
            shutil.rmtree(left, ignore_errors=True)

    def tidy(self) -> None:
        """Remove this machine's copies of what was dropped elsewhere, and copies beyond the bound."""
        if not self.is_on:
            return
        with self._records.reading() as database:
            gone = set(
                database.scalars(
                    select(models.StoredFolder.id).where(models.StoredFolder.dropped.is_not(None))
                )
            )
        for folder_id in self._list_copies():
            if folder_id in gone:
                self._remove_dropped(folder_id)
        for folder in (self._local / "outlines").glob("*"):
            if folder.name in gone or time.time() - folder.stat().st_mtime > 86_400.0:
                shutil.rmtree(folder, ignore_errors=True)
        self._finish_drops()
        self.drop_copies(self._records.settings.store_cache_bytes)

    def _remove_dropped(self, folder_id: str) -> None:
        copy = self._read_copy(folder_id)
        if copy is None or not copy.key:
            return
        path = self._records.full_path(copy.key)
        for each in (path, *path.parent.glob(f"{path.name}.*"), self._data / "cache" / "exports" / path.name):
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)
        self._remove_traces(folder_id)

    # --- looking and mending ---------------------------------------------------------------------

    def check(self) -> None:
        """Ask the store whether it is there and can be written to.

        Raises
        ------
        StoreError
        """
        if self.is_on:
            self.objects.check()

    def is_empty(self) -> bool:
        """Whether nothing is kept in the store.

        Raises
        ------
        StoreError
        """
        return not self.is_on or not any(_FOLDER.match(name) for name in self.objects.list(""))

    def verify(self, mend: bool = False) -> tuple[Fault, ...]:
        """Look whether everything that should be kept is in the store, by name and size.

        Parameters
        ----------
        mend : bool
            Whether what is not whole is sent again from this machine's copy, where it has one.

        Raises
        ------
        StoreAway
        """
        faults: list[Fault] = []
        for key, _digest in self.list_keys():
            row = self._read(name_folder(key))
            found = [] if row is None or not row.digest else self._find_faults(row)
            if found and mend and row is not None and self._is_current(row, self._records.full_path(key)):
                self._send_again(row)
                found = self._find_faults(row)
            faults += found
        return tuple(faults)

    def start_over(self) -> int:
        """Empty the store, but for the list of what was erased, and let wait all that is here.

        For a data folder that a backup was put into: it has everything, and the store may have what is newer
        than the backup and must not come back. Gives how much waits.

        Raises
        ------
        StoreError
            The store is away; doing it again goes on.
        """
        if not self.is_on:
            return 0
        names = [name for name in self.objects.list("") if _FOLDER.match(name)]
        for folder_id in dict.fromkeys(name.partition("/")[0] for name in names):
            self.objects.remove_all(folder_id)
        with self._records.writing() as database:
            # Rows of what was erased stay: other machines may still have copies.
            named = [name_folder(key) for key in self._list_named(database)]
            table = models.StoredFolder
            database.execute(delete(table).where(or_(table.dropped.is_(None), table.id.in_(named))))
        self._fresh.clear()
        self.__dict__.pop("machine", None)  # the data folder may be another one by now
        for copy in (self._local / "copies").glob("*.json"):
            copy.unlink()
        return self.adopt()
