"""The audit: who did what to which object, in a chain that shows every change, gap and reordering.

Each event carries the digest of the one before it, so an event that is altered, dropped or moved breaks the
chain from there on. What is cut off at the end leaves a shorter chain that is whole in itself: only a head
that was noted elsewhere shows it (`head`, `verify` with ``expected``). The database refuses changes and
deletions itself (triggers of migration 0004); the chain shows those of who can get past it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, func, select, text
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import UOWTransaction

from records.errors import AuditError
from records.models import AuditEvent, User, make_storable, now
from records.rows import AuditRow, Page

if TYPE_CHECKING:
    from records.service import Records

FIRST = "0" * 64
"""What the first event has as the digest before it."""

_APPEND_LOCK = 0x41756474
"""Number of the PostgreSQL advisory lock that lets one transaction at a time append ("Audt")."""

_STEP = 1000

REFUSALS_IN_FULL = 50
MOST_KINDS = 10_000
HOUR_S = 3600.0


def digest_of(entry: AuditEvent) -> str:
    """SHA-256 of all that an event says and of the digest before it, as hexadecimal digits."""
    said = [
        entry.at.isoformat(timespec="microseconds"),
        entry.actor,
        entry.role,
        entry.action,
        entry.object,
        entry.result,
        entry.previous,
    ]
    return hashlib.sha256(json.dumps(said, ensure_ascii=True).encode()).hexdigest()


@event.listens_for(DatabaseSession, "before_flush")
def _chain(session: DatabaseSession, _context: UOWTransaction, _instances: Any) -> None:
    """Give every new event its place in the chain, in the transaction that writes it."""
    fresh = [each for each in session.new if isinstance(each, AuditEvent)]
    if not fresh:
        return
    with session.no_autoflush:
        if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
        last = session.scalar(select(AuditEvent.digest).order_by(AuditEvent.id.desc()).limit(1)) or FIRST
        for each in fresh:
            each.at = each.at or now()
            each.object = make_storable(each.object or "")  # as it will be read when it is verified
            each.result = each.result or "ok"
            each.role = session.scalar(select(User.role).where(User.id == each.actor)) or ""
            each.previous = last
            last = each.digest = digest_of(each)


class Refusals:
    """Which refusals are written down: of each kind the first ones of an hour, then every tenfold number.

    Whoever asks in vain all night would otherwise fill the disk with rows that nothing may delete. Kept in
    the memory of one process: how many rows there are at most goes by the number of processes.
    """

    def __init__(self, in_full: int = REFUSALS_IN_FULL) -> None:
        self._in_full = in_full
        self._counts: dict[tuple[str, ...], int] = {}
        self._begun = float("-inf")
        self._lock = threading.Lock()

    def words(self, *kind: str) -> str | None:
        """What is said of one more refusal of a kind: nothing, its number, or None = it is not written."""
        with self._lock:
            if time.monotonic() - self._begun >= HOUR_S:
                self._begun, self._counts = time.monotonic(), {}
            if kind not in self._counts and len(self._counts) >= MOST_KINDS:
                kind = ("others",)
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
        if number <= self._in_full:
            return ""
        is_tenfold = set(str(number)[1:]) == {"0"} and str(number)[0] == "1"
        return f"number {number} of this hour" if is_tenfold else None


@dataclass(frozen=True)
class Head:
    """The end of the chain: how many events there are, and the digest of the last.

    Noted away from the machine, it shows later whether events were cut off.
    """

    count: int
    digest: str

    def __str__(self) -> str:
        return f"{self.count}:{self.digest}"


def read_head(words: str) -> Head:
    """A head as it was printed, "COUNT:DIGEST".

    Raises
    ------
    AuditError
        It is not one.
    """
    count, _, digest = words.strip().partition(":")
    if not count.isdigit() or len(digest) != 64:
        raise AuditError(
            f"{words!r} is no head of an audit.", "Give what `python -m records audit-head` said."
        )
    return Head(int(count), digest)


class Audit:
    """The audit of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.refusals = Refusals()

    def note_refusal(self, actor: str, action: str, about: str = "", source: str = "") -> None:
        """Write a refusal down, unless the same was refused too often within the hour (`Refusals`).

        Parameters
        ----------
        actor, action, about : str
            As in `Records.note`.
        source : str
            What is counted together beside actor and action: a part of a network address.
        """
        said = self.refusals.words(actor, action, source)
        if said is not None:
            self._records.note(actor, action, f"{about} {said}".strip(), "refused")

    def verify(self, expected: Head | None = None) -> Head:
        """Walk the whole chain.

        Parameters
        ----------
        expected : Head, optional
            A head noted earlier: it must still stand in the chain at its place.

        Raises
        ------
        AuditError
            The chain is broken; says at which event, and how.
        """
        last, count = FIRST, 0
        for entry in self._walk():
            count += 1
            where = f"Event {count} of the audit (number {entry.id}, {entry.at:%Y-%m-%d %H:%M:%S} UTC)"
            if entry.previous != last:
                raise AuditError(
                    f"{where} does not follow the one before it: events were dropped, added or moved.",
                    _ADVICE,
                )
            if entry.digest != digest_of(entry):
                raise AuditError(f"{where} is not what was written.", _ADVICE)
            last = entry.digest
            if expected is not None and count == expected.count and last != expected.digest:
                raise AuditError(f"{where} is not the one that the noted head names.", _ADVICE)
        if expected is not None and count < expected.count:
            raise AuditError(
                f"The audit has {count} events and had {expected.count}: its end was cut off.", _ADVICE
            )
        return Head(count, last)

    def head(self) -> Head:
        """The end of the chain, unchecked."""
        with self._records.reading() as database:
            last = database.scalar(select(AuditEvent.digest).order_by(AuditEvent.id.desc()).limit(1))
            count = database.scalar(select(func.count()).select_from(AuditEvent)) or 0
        return Head(count, last or FIRST)

    def list(self, limit: int = 100, offset: int = 0) -> Page[AuditRow]:
        """The newest events first."""
        with self._records.reading() as database:
            total = database.scalar(select(func.count()).select_from(AuditEvent)) or 0
            names = {user.id: user.name for user in database.scalars(select(User))}
            query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit).offset(offset)
            rows = tuple(
                AuditRow(each.at, names.get(each.actor, each.actor), each.role, each.action, each.object,
                         each.result)
                for each in database.scalars(query)
            )  # fmt: skip
        return Page(rows, total, offset)

    def _walk(self) -> Iterator[AuditEvent]:
        last_id = 0
        while True:
            with self._records.reading() as database:
                query = select(AuditEvent).where(AuditEvent.id > last_id).order_by(AuditEvent.id).limit(_STEP)
                entries = database.scalars(query).all()
            if not entries:
                return
            yield from entries
            last_id = entries[-1].id


_ADVICE = "Keep the database as it is and compare it with a backup: somebody changed it outside this program."
