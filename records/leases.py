"""The right to change one folder of the store, for one machine at a time."""

from __future__ import annotations

import datetime
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session as DatabaseSession

from records import models
from records.errors import StoreError
from records.models import now

if TYPE_CHECKING:
    from records.service import Records

LEASE_S: Final = 120.0
RENEW_S: Final = 20.0


class Lease:
    """The right to change one folder, for a while; it ends by itself when its machine is gone."""

    def __init__(self, records: Records, folder_id: str) -> None:
        self._records, self.folder_id = records, folder_id
        self._token = secrets.token_hex(8)
        self._renewed = 0.0
        self._renewing = threading.Lock()

    def _change(self, *conditions: Any, **values: Any) -> bool:
        table = models.StoredFolder
        with self._records.writing() as database:
            done = database.execute(
                update(table).where(table.id == self.folder_id, *conditions).values(**values)
            )
            assert isinstance(done, CursorResult)
            return done.rowcount == 1

    @property
    def _is_mine(self) -> Any:
        return models.StoredFolder.lease == self._token

    def take(self) -> bool:
        """Whether nobody has it."""
        self._renewed = time.monotonic()
        return self._prolong(is_new=True)

    def _prolong(self, is_new: bool) -> bool:
        table = models.StoredFolder
        with self._records.writing() as database:
            moment = _read_clock(database)
            is_free = or_(table.lease.is_(None), table.leased_until < moment)
            done = database.execute(
                update(table)
                .where(table.id == self.folder_id, is_free if is_new else self._is_mine)
                .values(lease=self._token, leased_until=moment + datetime.timedelta(seconds=LEASE_S))
            )
            assert isinstance(done, CursorResult)
            return done.rowcount == 1

    def beat(self) -> None:
        """Renew it now and then."""
        if time.monotonic() - self._renewed > RENEW_S and self._renewing.acquire(blocking=False):
            try:
                self.renew()
            finally:
                self._renewing.release()

    def renew(self) -> None:
        """Go on having it.

        Raises
        ------
        StoreError
            It ended, and somebody else has it.
        """
        if not self._prolong(is_new=False):
            raise StoreError("Another machine has gone on with these files.", "Ask again.")
        self._renewed = time.monotonic()

    def finish(self, digest: str, size_bytes: int, changed: datetime.datetime | None, done: bool) -> bool:
        """Let a manifest hold from now on, if this still has the lease; it waits no longer unless changed."""
        table = models.StoredFolder
        values: dict[str, Any] = {"digest": digest, "size_bytes": size_bytes, "kept": now()}
        held = (self._is_mine, table.dropped.is_(None))
        if done:
            unchanged = table.changed.is_(None) if changed is None else table.changed == changed
            if self._change(*held, unchanged, machine=None, **values):
                return True
        return self._change(*held, **values)

    def give_back(self) -> None:
        """Let others have it."""
        self._change(self._is_mine, lease=None, leased_until=None)


def _read_clock(database: DatabaseSession) -> datetime.datetime:
    """The moment as the database has it: clocks of two machines may differ by more than a lease lasts."""
    if database.get_bind().dialect.name == "postgresql":
        return database.scalars(select(func.clock_timestamp())).one()
    return now()  # SQLite is a file of one machine
