"""How long recordings are kept: the trash, dates of retention, and the purge that follows both.

A recording in the trash is hidden everywhere and can be brought back for 30 days. One whose date has passed
is announced first (``retention_noticed``), stays in sight for 30 days more, and goes then, unless somebody
gives it a later date. Everything is written down in the audit.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from pipeline.files import read_json, write_json
from records import models
from records.erasure import Doomed, Erased, Erasure, read_all_erased
from records.errors import LiveRunError, MaintenanceError, NotFound, RetentionError
from records.maintenance import maintain
from records.models import LIVE_STATES, now

if TYPE_CHECKING:
    from records.service import Records

log = logging.getLogger(__name__)

TRASH_DAYS: Final = 30
NOTICE_DAYS: Final = 30
LONGEST_YEARS: Final = 100
PURGED: Final = "purged.json"
"""Mark in the data folder: when a purge was last made."""


@dataclass(frozen=True)
class KeptRow:
    """A recording in the trash, or with a date of retention.

    Attributes
    ----------
    recording_id, subject, title : str
        The pseudonym and title as typed.
    visit : date or None
    trashed, trashed_by : datetime or None, str or None
        When and by whom it was put into the trash.
    retain_until : date or None
    noticed : datetime or None
        When it was announced that the date has passed.
    purged_after : datetime or None
        From when on the purge takes it; None = no purge does.
    """

    recording_id: str
    subject: str
    title: str
    visit: datetime.date | None
    trashed: datetime.datetime | None
    trashed_by: str | None
    retain_until: datetime.date | None
    noticed: datetime.datetime | None
    purged_after: datetime.datetime | None


@dataclass(frozen=True)
class Plan:
    """What erasing a person would take: counts, and folders that would be left to delete by hand.

    ``rigs`` are the names of cameras that stay and are called otherwise, since a name may tell who it was.
    """

    subject_id: str
    pseudonym: str
    recordings: int
    runs: int
    scores: int
    outside: tuple[Path, ...]
    rigs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Purge:
    """What a purge did: how many were announced, and what was erased."""

    noticed: int
    erased: Erased


class Retention:
    """Trash, dates and erasure of one database and data folder."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._erasure = Erasure(records)

    # --- the trash -------------------------------------------------------------------------------

    def trash(self, recording_id: str, actor: str = "local") -> None:
        """Hide a recording everywhere, and end all links to it; it is purged after 30 days.

        Raises
        ------
        NotFound
        LiveRunError
        """
        recording_id = self._records.get_recording(recording_id).id
        with self._records.writing() as database:
            recording = database.get_one(models.Recording, recording_id, with_for_update=True)
            live = select(models.Run.id).where(
                models.Run.recording_id == recording_id, models.Run.state.in_(LIVE_STATES)
            )
            if database.scalar(live.limit(1)) is not None:
                raise LiveRunError()
            recording.trashed, recording.trashed_by = now(), actor
            database.add(models.AuditEvent(actor=actor, action="recording.trash", object=recording_id))
        self._records.shares.revoke_of([recording_id], actor)

    def bring_back(self, recording_id: str, actor: str = "local") -> None:
        """Take a recording out of the trash.

        Raises
        ------
        NotFound
            It is not in the trash.
        RetentionError
            It is being erased, or that was broken off: what is left of it is not whole.
        """
        begun = read_all_erased(self._records)
        if any(recording_id in entry["recordings"] for entry in begun):
            raise RetentionError("This recording is being erased.", "It cannot be brought back any more.")
        with self._records.writing() as database:
            recording = database.get(models.Recording, recording_id, with_for_update=True)
            if recording is None or recording.trashed is None:
                raise NotFound("This recording is not in the trash.", "It may have been purged.")
            recording.trashed = recording.trashed_by = None
            database.add(models.AuditEvent(actor=actor, action="recording.bring-back", object=recording_id))

    def list_trash(self) -> tuple[KeptRow, ...]:
        """What is in the trash, the newest first."""
        rows = self._read(models.Recording.trashed.is_not(None))
        return tuple(sorted(rows, key=lambda row: row.trashed or now(), reverse=True))

    # --- dates -----------------------------------------------------------------------------------

    def set_date(self, recording_id: str, until: datetime.date | None, actor: str = "local") -> None:
        """Say until when a recording is kept; None = without an end.

        Raises
        ------
        NotFound
        RetentionError
            The day is past, or so far off that it is a mistake.
        """
        recording_id = self._records.get_recording(recording_id).id
        today = now().date()
        if until is not None and not today <= until <= today.replace(day=1, year=today.year + LONGEST_YEARS):
            raise RetentionError(
                f"{until.isoformat()} is no day to keep a recording until.",
                f"Give one from today on, at most {LONGEST_YEARS} years ahead.",
            )
        with self._records.writing() as database:
            recording = database.get_one(models.Recording, recording_id)
            recording.retain_until, recording.retention_noticed = until, None
            database.add(models.AuditEvent(actor=actor, action="recording.retain", object=recording_id))

    def get(self, recording_id: str) -> KeptRow:
        """How long a recording is kept.

        Raises
        ------
        NotFound
            Also if it is in the trash.
        """
        recording_id = self._records.get_recording(recording_id).id
        return self._read(models.Recording.id == recording_id)[0]

    def list_due(self) -> tuple[KeptRow, ...]:
        """What has a date that has passed and is not in the trash, the oldest date first."""
        rows = self._read(models.Recording.retain_until < now().date(), models.Recording.trashed.is_(None))
        return tuple(sorted(rows, key=lambda row: (row.retain_until or datetime.date.max, row.recording_id)))

    def _read(self, *conditions: object) -> list[KeptRow]:
        query = (
            select(models.Recording)
            .where(*conditions)  # type: ignore[arg-type]
            .options(joinedload(models.Recording.visit).joinedload(models.Visit.subject))
        )
        with self._records.reading() as database:
            found = list(database.scalars(query))
            names = {user.id: user.name for user in database.scalars(select(models.User))}
        return [_row(recording, names) for recording in found]

    # --- purge -----------------------------------------------------------------------------------

    def purge(self, actor: str = "system") -> Purge:
        """Announce what has come due, and erase what was in the trash or announced for 30 days.

        What was being erased when a process was killed is erased first.

        Raises
        ------
        MaintenanceError
            The list of what was erased cannot be read.
        RetentionError
            A folder cannot be removed; what went before it is gone.
        """
        with maintain(self._records.settings.data_dir.resolve()):
            erased = self._erasure.finish()
            self._records.sign_ins.drop_old()
            noticed = self._give_notice()
            moment = now()
            wanted = (*self.list_trash(), *self.list_due())
            for row in wanted:
                if self._is_due(row.recording_id, moment):
                    erased += self._erase_one(row.recording_id, actor)
            write_json(self._mark, {"at": moment.isoformat()})
        return Purge(noticed, erased)

    def _is_due(self, recording_id: str, moment: datetime.datetime) -> bool:
        """Whether a recording goes now; asked anew for each, since erasing those before may take long."""
        rows = self._read(models.Recording.id == recording_id)
        return any(row.purged_after is not None and row.purged_after <= moment for row in rows)

    def purge_daily(self) -> Purge | None:
        """A purge, if none was made for a day; what goes wrong is for the log and for the next one."""
        with contextlib.suppress(OSError):
            if self._mark.is_file():
                last = datetime.datetime.fromisoformat(read_json(self._mark)["at"])
                if datetime.timedelta(0) <= now() - last < datetime.timedelta(days=1):
                    return None
        try:
            return self.purge()
        except (RetentionError, MaintenanceError):
            log.exception("The daily purge stopped")
            return None

    def purge_one(self, recording_id: str, actor: str = "local") -> Erased:
        """Erase a recording that is in the trash, before its time.

        Raises
        ------
        NotFound
            It is not in the trash.
        RetentionError
        """
        with maintain(self._records.settings.data_dir.resolve()):
            if all(row.recording_id != recording_id for row in self.list_trash()):
                raise NotFound("This recording is not in the trash.", "Put it there first.")
            return self._erase_one(recording_id, actor)

    @property
    def _mark(self) -> Path:
        return self._records.settings.data_dir.resolve() / PURGED

    def _give_notice(self) -> int:
        today = now().date()
        due = (
            models.Recording.retain_until < today,
            models.Recording.retention_noticed.is_(None),
            models.Recording.trashed.is_(None),
        )
        with self._records.writing() as database:
            ids = list(database.scalars(select(models.Recording.id).where(*due)))
            database.execute(
                update(models.Recording).where(models.Recording.id.in_(ids)).values(retention_noticed=now())
            )
            for recording_id in ids:
                database.add(models.AuditEvent(actor="system", action="recording.due", object=recording_id))
        return len(ids)

    def _erase_one(self, recording_id: str, actor: str) -> Erased:
        try:
            return self._erasure.erase(self._erasure.collect([recording_id]), actor, "recording.purge")
        except LiveRunError:
            log.warning("recording %s has a live run and is not purged", recording_id)
            return Erased()

    # --- persons ---------------------------------------------------------------------------------

    def plan_erasure(self, pseudonym: str) -> Plan:
        """What erasing a person would take.

        Raises
        ------
        NotFound
            There is nobody of that pseudonym.
        """
        subject_id, doomed = self._find(pseudonym)
        with self._records.reading() as database:
            mine = select(models.ClinicalScore.id).where(models.ClinicalScore.subject_id == subject_id)
            scores = len(database.scalars(mine).all())
        data = self._records.settings.data_dir.resolve()
        outside = tuple(
            each
            for each in doomed.session_folders
            if not each.resolve().is_relative_to(data) and each.exists()
        )
        rigs = self._records.rigs.list_of(doomed.run_ids, doomed.words)
        recordings, runs = len(doomed.recording_ids), len(doomed.run_ids)
        return Plan(subject_id, pseudonym, recordings, runs, scores, outside, rigs)

    def erase_subject(self, pseudonym: str, actor: str = "local") -> Erased:
        """Erase a person: rows, folders, caches, and whatever else this program made of them.

        The audit keeps identifiers, which lead to nobody any more. Backups keep the person until they are
        dropped, and a restore erases them again.

        Raises
        ------
        NotFound
        RetentionError
            A run is live, or a folder cannot be removed.
        """
        with maintain(self._records.settings.data_dir.resolve()):
            subject_id, doomed = self._find(pseudonym)
            log.info("subject %s is being erased", subject_id)
            return self._erasure.erase(doomed, actor, "recording.erase")

    def _find(self, pseudonym: str) -> tuple[str, Doomed]:
        with self._records.reading() as database:
            subject_id = database.scalar(
                select(models.Subject.id).where(models.Subject.pseudonym == pseudonym)
            )
        if subject_id is None:
            raise NotFound("There is nobody of that pseudonym.", "Write it exactly as it is in the list.")
        return subject_id, self._erasure.collect((), subject_id)


def _row(recording: models.Recording, names: dict[str, str]) -> KeptRow:
    after = None
    if recording.trashed is not None:
        after = recording.trashed + datetime.timedelta(days=TRASH_DAYS)
    elif recording.retention_noticed is not None:
        after = recording.retention_noticed + datetime.timedelta(days=NOTICE_DAYS)
    by = recording.trashed_by
    return KeptRow(
        recording_id=recording.id,
        subject=recording.visit.subject.pseudonym,
        title=recording.title or recording.task,
        visit=recording.visit.date,
        trashed=recording.trashed,
        trashed_by=names.get(by, by) if by else None,
        retain_until=recording.retain_until,
        noticed=recording.retention_noticed,
        purged_after=after,
    )
