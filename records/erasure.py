"""Taking away for good: rows, folders, caches, and the list of what was taken, replayed after a restore.

Files go before rows, so that what was broken off can be found and done again. The list (``erased.jsonl``)
holds identifiers only. It stands in the data folder and, as soon as something is erased, also in each folder
that backups were made in: a restored backup must not bring anybody back.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table, delete, or_, select, text, update
from sqlalchemy.orm import Session as DatabaseSession

from pipeline.files import read_json, write_json
from records import models
from records.errors import LiveRunError, MaintenanceError, RetentionError, StoreError
from records.lists import append_entries
from records.models import LIVE_STATES, now

if TYPE_CHECKING:
    from records.service import Records

ERASED: Final = "erased.jsonl"
BACKUP_PLACES: Final = "backups.json"
STORED: Final = "erased"
"""In the store: an object for each entry of the list."""

LET_GO: Final = frozenset({("rig", "from_run_id")})
"""References that are only emptied: a rig is cameras, not a person. Every other row that points at what is
erased goes with it."""

_PROGRESS: Final = "-progress"
"""End of the keys under which Dash keeps how far a job is."""

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Erased:
    """What was taken away.

    Attributes
    ----------
    recordings, runs : int
        How many.
    size_bytes : int
        Of the files that went.
    outside : tuple of Path
        Folders outside the data folder, which this program did not make and does not remove: the person's to
        delete.
    """

    recordings: int = 0
    runs: int = 0
    size_bytes: int = 0
    outside: tuple[Path, ...] = ()

    def __add__(self, other: Erased) -> Erased:
        return Erased(
            self.recordings + other.recordings,
            self.runs + other.runs,
            self.size_bytes + other.size_bytes,
            (*self.outside, *other.outside),
        )


@dataclass(frozen=True)
class Doomed:
    """What belongs to some recordings: ids, folders, and words by which copies are known.

    ``pseudonym`` is empty where single recordings go and not the person.
    """

    subject_id: str
    pseudonym: str
    recording_ids: tuple[str, ...]
    run_ids: tuple[str, ...]
    session_folders: tuple[Path, ...]
    run_folders: tuple[Path, ...]
    link_ids: tuple[str, ...]
    words: tuple[str, ...]


class Erasure:
    """Takes recordings and persons out of one database and data folder."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def _data_dir(self) -> Path:
        return self._records.settings.data_dir.resolve()

    def collect(self, recording_ids: Sequence[str], subject_id: str = "") -> Doomed:
        """What goes with recordings, or with a person and all of theirs."""
        with self._records.reading() as database:
            if subject_id:
                mine = select(models.Recording.id).join(models.Visit)
                recording_ids = list(database.scalars(mine.where(models.Visit.subject_id == subject_id)))
            recordings = list(
                database.scalars(select(models.Recording).where(models.Recording.id.in_(recording_ids)))
            )
            ids = [each.id for each in recordings]
            runs = list(database.scalars(select(models.Run).where(models.Run.recording_id.in_(ids))))
            links = database.scalars(
                select(models.ShareLink.id).where(
                    or_(models.ShareLink.recording_id.in_(ids), models.ShareLink.recording_b_id.in_(ids))
                )
            ).all()
            subject = database.get(models.Subject, subject_id) if subject_id else None
            pseudonym = subject.pseudonym if subject else ""
            words = {pseudonym, *(each.title for each in recordings)}
        full = self._records.full_path
        return Doomed(
            subject_id=subject_id,
            pseudonym=pseudonym,
            recording_ids=tuple(ids),
            run_ids=tuple(each.id for each in runs),
            session_folders=tuple(full(each.folder) for each in recordings),
            run_folders=tuple(full(each.folder) for each in runs),
            link_ids=tuple(links),
            words=tuple(sorted(word for word in words if len(word) > 2)),
        )

    def check_idle(self, recording_ids: Iterable[str]) -> None:
        """Raise `LiveRunError` while a run of one of these waits or is at work."""
        live = select(models.Run.id).where(
            models.Run.recording_id.in_(list(recording_ids)), models.Run.state.in_(LIVE_STATES)
        )
        with self._records.reading() as database:
            if database.scalar(live.limit(1)) is not None:
                raise LiveRunError()

    def erase(self, doomed: Doomed, actor: str, action: str) -> Erased:
        """Take it all away and write that down; what was begun before and broken off is finished.

        Parameters
        ----------
        doomed : Doomed
            As `collect` found it.
        actor, action : str
            For the audit, which keeps the identifiers and nothing else.

        Raises
        ------
        RetentionError
            A run is live, or a folder cannot be removed (nothing of the database has gone then).
        """
        self.check_idle(doomed.recording_ids)
        try:
            self._list(doomed)
        except StoreError as error:
            raise _not_now(error) from error
        self._hide(doomed.recording_ids, actor)
        self._records.shares.revoke_of(doomed.recording_ids, actor)
        size = self._remove_files(doomed)
        self._clear_caches(doomed)
        if doomed.subject_id:
            self._records.rigs.forget_names(doomed.run_ids, doomed.words, actor)
        self._scrub_mark.touch(mode=0o600)
        self._remove_rows(doomed, actor, action)
        self._scrub()
        return Erased(
            len(doomed.recording_ids), len(doomed.run_ids), size, tuple(self._outside(doomed.session_folders))
        )

    def finish(self) -> Erased:
        """Go on with what was broken off: a process that was killed, a machine that was switched off.

        Raises
        ------
        RetentionError, MaintenanceError
        """
        done = self.replay(read_erased(self._data_dir / ERASED))
        if self._scrub_mark.exists():
            self._scrub()
        return done

    @property
    def _scrub_mark(self) -> Path:
        """Stands while rows may be gone from the tables and not from the database's files."""
        return self._data_dir / ".scrub"

    def _scrub(self) -> None:
        scrub(self._records)
        self._scrub_mark.unlink(missing_ok=True)

    # --- files -----------------------------------------------------------------------------------

    def _outside(self, folders: Iterable[Path]) -> list[Path]:
        return [each for each in folders if not self._is_ours(each) and each.exists()]

    def _is_ours(self, folder: Path) -> bool:
        resolved = folder.resolve()
        return resolved != self._data_dir and resolved.is_relative_to(self._data_dir)

    def _remove_files(self, doomed: Doomed) -> int:
        from records.supervise import end_claimed

        data = self._data_dir
        folders = [each for each in (*doomed.session_folders, *doomed.run_folders) if self._is_ours(each)]
        folders += [data / "runs" / run_id for run_id in doomed.run_ids]
        folders += [data / "sessions" / recording_id for recording_id in doomed.recording_ids]
        made = [data / "cache" / "exports" / run_id for run_id in doomed.run_ids]
        made += [data / "shares" / link_id for link_id in doomed.link_ids]
        for claim in (found for folder in made for found in folder.rglob("*claim.json")):
            end_claimed(claim)  # what is still being written would come back
        folders += made
        folders += self._find_drafts(doomed.pseudonym)
        try:
            self._records.store.drop(folders)
        except StoreError as error:
            raise _not_now(error) from error
        files = [
            file
            for folder in (*doomed.run_folders, *(data / "runs" / run_id for run_id in doomed.run_ids))
            for file in (folder.parent.glob(f"{folder.name}.*") if self._is_ours(folder) else ())
        ]
        size = 0
        try:
            for path in dict.fromkeys((*folders, *files)):
                size += _remove(path)
            for folder in folders:
                self._remove_empty(folder.parent)
        except OSError as error:
            raise RetentionError(
                f"{error.filename} could not be removed ({error.strerror}).",
                "Let this program write to its data folder, then erase again: it goes on where it stopped.",
            ) from error
        return size

    def _remove_empty(self, folder: Path) -> None:
        kept = {self._data_dir / name for name in ("runs", "sessions", "incoming", "demo")}
        while self._is_ours(folder) and folder not in kept and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _find_drafts(self, pseudonym: str) -> list[Path]:
        """Uploads that were begun for the same person and never finished."""
        found = []
        for mark in (self._data_dir / "incoming").glob("*/draft.json") if pseudonym else ():
            for toml in mark.parent.glob("*/*.toml"):
                with contextlib.suppress(OSError, ValueError):  # not a file of ours
                    if tomllib.loads(toml.read_text(encoding="utf-8")).get("subject") == pseudonym:
                        found.append(mark.parent)
        return found

    def _clear_caches(self, doomed: Doomed) -> None:
        """Caches are made anew when they are wanted; job stores lose what speaks of what is erased."""
        for name in ("pages", "looks", "exports/research"):
            folder = self._data_dir / "cache" / name
            for path in folder.iterdir() if folder.is_dir() else ():
                _remove(path)
        needles = [*doomed.words, *doomed.recording_ids, *doomed.run_ids]
        _forget_jobs(self._data_dir / "cache" / "jobs", needles)
        if self._records.settings.redis_url:
            _forget_redis(self._records.settings.redis_url, needles)
        log = self._data_dir / "runs" / "supervisor.log"
        if log.is_file() and any(needle.encode() in log.read_bytes() for needle in needles):
            os.truncate(log, 0)

    # --- rows ------------------------------------------------------------------------------------

    def _hide(self, recording_ids: Sequence[str], actor: str) -> None:
        with self._records.writing() as database:
            database.execute(
                update(models.Recording)
                .where(models.Recording.id.in_(recording_ids), models.Recording.trashed.is_(None))
                .values(trashed=now(), trashed_by=actor)
            )

    def _remove_rows(self, doomed: Doomed, actor: str, action: str) -> None:
        with self._records.writing() as database:
            visits = select(models.Recording.visit_id).where(models.Recording.id.in_(doomed.recording_ids))
            visit_ids = list(database.scalars(visits))
            subjects = select(models.Visit.subject_id).where(models.Visit.id.in_(visit_ids))
            subject_ids = list(database.scalars(subjects))
            remove_rows(database, models.Recording.__table__, doomed.recording_ids)
            if doomed.subject_id:
                remove_rows(database, models.Subject.__table__, [doomed.subject_id])
            else:
                _remove_emptied(database, visit_ids, subject_ids)
            for run_id in doomed.run_ids:
                database.add(models.AuditEvent(actor=actor, action="run.erase", object=run_id))
            for recording_id in doomed.recording_ids:
                database.add(models.AuditEvent(actor=actor, action=action, object=recording_id))
            if doomed.subject_id:
                database.add(models.AuditEvent(actor=actor, action="subject.erase", object=doomed.subject_id))

    # --- the list --------------------------------------------------------------------------------

    def _list(self, doomed: Doomed) -> None:
        entry = {
            "at": now().isoformat(timespec="seconds"),
            "subject": doomed.subject_id,
            "recordings": list(doomed.recording_ids),
            "runs": list(doomed.run_ids),
            "sessions": [each.name for each in doomed.session_folders if _IDENTIFIER.fullmatch(each.name)],
        }
        note_in_store(self._records, [entry])
        for folder in (self._data_dir, *list_backup_places(self._data_dir)):
            with contextlib.suppress(FileNotFoundError):  # a disk that is put away; the next backup merges
                append_erased(folder / ERASED, [entry])

    def replay(self, entries: Iterable[dict[str, Any]]) -> Erased:
        """Erase again what was erased before: after a restore, or where it was broken off.

        Raises
        ------
        RetentionError
            As `erase` raises it.
        """
        total = Erased()
        for entry in entries:
            doomed = self.collect(entry["recordings"], entry["subject"])
            left = [
                path
                for name, ids in (("runs", entry["runs"]), ("sessions", entry["sessions"]))
                for each in ids
                for path in (self._data_dir / name).glob(f"{each}*")
            ]
            if doomed.recording_ids or self._is_known(doomed.subject_id):
                self._stop_runs(doomed.recording_ids)
                total += self.erase(doomed, "system", "recording.erase-again")
            total += Erased(size_bytes=sum(_remove(path) for path in left))
        return total

    def _is_known(self, subject_id: str) -> bool:
        with self._records.reading() as database:
            return bool(subject_id) and database.get(models.Subject, subject_id) is not None

    def _stop_runs(self, recording_ids: Sequence[str]) -> None:
        """What was live when the backup was made is not any more: nobody else has the folder now."""
        with self._records.writing() as database:
            database.execute(
                update(models.Run)
                .where(models.Run.recording_id.in_(recording_ids), models.Run.state.in_(LIVE_STATES))
                .values(state="lost", finished=now())
            )


def remove_rows(database: DatabaseSession, table: Any, ids: Sequence[str]) -> None:
    """Delete rows and all that point at them, but for references that are only let go (`LET_GO`)."""
    if not ids:
        return
    for child in models.Base.metadata.tables.values():
        for key in child.foreign_keys:
            if key.column.table is not table:
                continue
            pointing = key.parent.in_(list(ids))
            if (child.name, key.parent.name) in LET_GO:
                database.execute(update(child).where(pointing).values({key.parent.name: None}))
            else:
                remove_rows(database, child, list(database.scalars(select(_key_of(child)).where(pointing))))
    database.execute(delete(table).where(_key_of(table).in_(list(ids))))


def _key_of(table: Table) -> Any:
    return next(iter(table.primary_key.columns))


def _remove_emptied(database: DatabaseSession, visit_ids: Sequence[str], subject_ids: Sequence[str]) -> None:
    """Visits without a recording, and persons of whom nothing is left."""
    for visit_id in dict.fromkeys(visit_ids):
        used = select(models.Recording.id).where(models.Recording.visit_id == visit_id)
        if database.scalar(used.limit(1)) is None:
            remove_rows(database, models.Visit.__table__, [visit_id])
    for subject_id in dict.fromkeys(subject_ids):
        visits = select(models.Visit.id).where(models.Visit.subject_id == subject_id)
        scores = select(models.ClinicalScore.id).where(models.ClinicalScore.subject_id == subject_id)
        if database.scalar(visits.limit(1)) is None and database.scalar(scores.limit(1)) is None:
            remove_rows(database, models.Subject.__table__, [subject_id])


def _remove(path: Path) -> int:
    """Remove a file or folder, and say how many bytes went; one that is gone is no error."""
    if path.is_symlink() or path.is_file():
        size = path.lstat().st_size
        path.unlink(missing_ok=True)
        return size
    if not path.is_dir():
        return 0
    size = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() or file.is_symlink())
    shutil.rmtree(path)
    return size


def _forget_jobs(folder: Path, needles: Sequence[str]) -> None:
    """Take what names one of the words out of Dash's store of background jobs, and all lines of progress.

    A line of progress may call a person by what is none of the words; it is written anew within a second.
    """
    if not (folder / "cache.db").is_file():
        return
    import diskcache

    with diskcache.Cache(str(folder), eviction_policy="none", timeout=60) as store:
        for key in list(store.iterkeys()):
            said = f"{key!r} {store.get(key, default=None)!r}"
            if str(key).endswith(_PROGRESS) or any(needle in said for needle in needles):
                store.delete(key)
    _scrub_sqlite(sqlite3.connect(folder / "cache.db", timeout=60, isolation_level=None))


def _forget_redis(url: str, needles: Sequence[str]) -> None:
    import redis

    wanted = [needle.encode() for needle in needles]
    with redis.Redis.from_url(url, socket_timeout=10) as store:
        for key in store.scan_iter(count=500):
            if store.type(key) == b"string":
                said = key + (store.get(key) or b"")
                if (
                    key.startswith(b"redys-pages")
                    or key.endswith(_PROGRESS.encode())
                    or any(needle in said for needle in wanted)
                ):
                    store.delete(key)


def scrub(records: Records) -> None:
    """Take out of the database's files what was deleted from its tables.

    PostgreSQL keeps it in its write-ahead log until that is used again, and in archives of it for as long as
    those are kept.
    """
    if records.engine.dialect.name == "sqlite":
        connection = records.engine.raw_connection()
        try:
            _scrub_sqlite(connection.driver_connection, close=False)
        finally:
            connection.close()
        return
    with records.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as database:
        for table in models.Base.metadata.tables.values():
            database.execute(text(f'VACUUM (FULL) "{table.name}"'))


def _scrub_sqlite(connection: Any, close: bool = True) -> None:
    try:
        connection.execute("PRAGMA busy_timeout=60000")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        if close:
            connection.close()


# --- the list as a file --------------------------------------------------------------------------


def _not_now(error: StoreError) -> RetentionError:
    return RetentionError(
        f"Erasing waits for the store. {error.what}",
        "Erase again when it is back: it goes on where it stopped.",
    )


def note_in_store(records: Records, entries: Iterable[dict[str, Any]]) -> None:
    """Add to the list of what was erased that stands in the store, for every machine's restores.

    Raises
    ------
    StoreError
    """
    if records.store.is_on:
        for entry in entries:
            line = json.dumps(entry, sort_keys=True).encode("ascii") + b"\n"
            records.store.objects.write(f"{STORED}/{hashlib.sha256(line).hexdigest()}.json", line)


def read_all_erased(records: Records) -> list[dict[str, Any]]:
    """The list of this machine's data folder and that of the store.

    Raises
    ------
    MaintenanceError, StoreError
    """
    entries = read_erased(records.settings.data_dir.resolve() / ERASED)
    if records.store.is_on:
        objects = records.store.objects
        for name in objects.list(STORED):
            try:
                entries.append(_read_entry(objects.read(name).decode("ascii")))
            except (ValueError, KeyError, TypeError) as error:
                raise MaintenanceError(
                    f"{name} in the store cannot be read as one of what was erased.",
                    "Put back a copy of it: the list stands in each folder that backups were made in.",
                ) from error
    return entries


def append_erased(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Add what is not in a list yet; on the disk when this returns."""
    append_entries(path, entries, read_erased)


def read_erased(path: Path) -> list[dict[str, Any]]:
    """The list; empty where there is none. A last line that a power cut left unfinished does not count.

    Raises
    ------
    MaintenanceError
        It is no such list: without it nobody may be brought back.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path) from error
    try:
        return [_read_entry(line) for line in lines if line.endswith("\n")]
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(path) from error


def _read_entry(line: str) -> dict[str, Any]:
    value = json.loads(line)
    ids = [*value["recordings"], *value["runs"], *value["sessions"], value["subject"]]
    if not all(each == "" or _IDENTIFIER.fullmatch(each) for each in ids):
        raise ValueError(line)
    datetime.datetime.fromisoformat(value["at"])
    return dict(value)


def _broken(path: Path) -> MaintenanceError:
    return MaintenanceError(
        f"{path} cannot be read as a list of what was erased.",
        "Put back a copy of it: one stands in each folder that backups were made in.",
    )


def list_backup_places(data_dir: Path) -> tuple[Path, ...]:
    """Folders that backups of this data folder were made in."""
    path = data_dir / BACKUP_PLACES
    return tuple(Path(each) for each in read_json(path)) if path.is_file() else ()


def note_backup_place(data_dir: Path, folder: Path) -> None:
    """Keep in mind that backups are made in a folder."""
    places = {each.as_posix() for each in list_backup_places(data_dir)} | {folder.resolve().as_posix()}
    write_json(data_dir / BACKUP_PLACES, sorted(places))
