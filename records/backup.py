"""Backups of a data folder and its database, made while both are in use, and put back whole.

A folder of backups holds one folder a backup, called after its moment: ``manifest.json`` (every file with its
SHA-256), the database as one file, and the files themselves. A file that has not changed since the backup
before is the same file (a hard link), where the disk can. Beside them stands the list of what was erased,
which every restore replays (`records.erasure`).

What can be made anew is left out (caches, uploads under way), and so are share links' folders and the key
that signs sessions and seals second factors: after a restore everybody signs in again and shares again, since
no session or link that was ended in the meantime may come back to life. The key of the data folder that is
restored into stays; with another one, second factors have to be set up again.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from pipeline.errors import RunFolderError
from pipeline.files import hash_file, read_json, sync_folder, write_bytes, write_json
from pipeline.version import PROGRAM_VERSION
from records import models
from records.audit import read_head
from records.dump import Dump, check_kind, dump_database, is_database_empty, load_database
from records.erasure import (
    ERASED,
    Erased,
    Erasure,
    append_erased,
    note_backup_place,
    note_in_store,
    read_all_erased,
    read_erased,
)
from records.errors import MaintenanceError, StoreError, StoreMissing
from records.keys import KEY_FILE
from records.maintenance import (
    IN_USE,
    MAINTENANCE,
    RESTORE,
    begin_restore,
    end_restore,
    hold_unused,
    is_half_restored,
    maintain,
)
from records.models import now
from records.standing import STANDING, append_standing, read_standing, replay_standing
from records.store import LOCAL, Entry

if TYPE_CHECKING:
    from records.service import Records

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DIGEST: Final = "manifest.sha256"
FILES: Final = "files"
KEEP_DAYS: Final = 35
"""How long a backup is kept: as long as what was erased may still be in one."""

LEFT_OUT: Final = frozenset(
    {"cache", "shares", KEY_FILE, STANDING, ".health", ".scrub", LOCAL, IN_USE, MAINTENANCE, RESTORE}
)
"""Of the data folder's own entries: what is made anew, and what must not come back."""

STAGED: Final = ".restoring-"
"""Beginning of the names of what a restore copies in before it changes anything."""

ASIDE: Final = ".replaced-"
"""Beginning of the names of the folders that a restore puts what was there into, until it is done."""

_STAMP = "%Y-%m-%dT%H%M%SZ"
_STEP = 1 << 20


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Attributes
    ----------
    folder : Path
    files, size_bytes : int
        What it holds.
    copied_bytes : int
        Of that, what was not in the backup before.
    outside : tuple of str
        Session folders that are not in it, since they lie outside the data folder.
    dropped : tuple of str
        Older backups that were removed.
    """

    folder: Path
    files: int
    size_bytes: int
    copied_bytes: int
    outside: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """A backup that was put back: when it was made, what it held, and what was erased again.

    ``restood`` is how many users were given the role back that they had, or disabled again; ``unreadable``
    names those whose second factor was sealed with another ``SECRET_KEY``.
    """

    made: str
    files: int
    erased: Erased
    outside: tuple[str, ...]
    restood: int
    unreadable: tuple[str, ...]


# --- making --------------------------------------------------------------------------------------


def make_backup(records: Records, place: Path, keep_days: int = KEEP_DAYS) -> Backup:
    """Make a backup of everything into a folder of backups.

    The database is taken first, as it was at one moment; a file that is written in the meantime is taken as
    it is then. Nothing can be erased or purged while the backup is made.

    Parameters
    ----------
    records : Records
        What to back up.
    place : Path
        The folder of backups; made if it is not there. Not inside the data folder.
    keep_days : int
        Older backups are removed, but never this one.

    Raises
    ------
    MaintenanceError
        It cannot be written, or lies in the data folder.
    """
    data, place = records.settings.data_dir.resolve(), place.resolve()
    if place.is_relative_to(data) or data.is_relative_to(place):
        raise MaintenanceError(
            f"{place} and the data folder {data} are one inside the other.",
            "Choose a folder elsewhere, best on another disk.",
        )
    _ = records.engine
    try:
        with maintain(data):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sweep_unfinished(place)
            backup = _write(records, data, place)
            append_erased(place / ERASED, read_all_erased(records))
            append_standing(place / STANDING, read_standing(data / STANDING))
            note_backup_place(data, place)
    except OSError as error:
        raise MaintenanceError(
            f"The backup could not be written to {place} ({error.strerror or error}).",
            "Check that the folder can be written to and that its disk has room. Earlier backups are whole.",
        ) from error
    records.note("command", "backup.make", backup.folder.name)
    dropped = _drop_old(place, backup.folder.name, keep_days)
    return Backup(
        backup.folder, backup.files, backup.size_bytes, backup.copied_bytes, backup.outside, dropped
    )


def _write(records: Records, data: Path, place: Path) -> Backup:
    moment = now()
    name = moment.strftime(_STAMP)
    while (place / name).exists():
        moment += datetime.timedelta(seconds=1)
        name = moment.strftime(_STAMP)
    before = _latest(place)
    known = {} if before is None else _read_manifest(before)["files"]
    unfinished = place / f".unfinished-{name}"
    (unfinished / FILES).mkdir(parents=True, mode=0o700)
    try:
        dump = dump_database(records.engine, unfinished)
        files: dict[str, Any] = {}
        copied = 0
        stored = dict(records.store.list_keys())
        away = {key for key in stored if not records.store.is_here(key)}
        for path in _list_files(data, _database_files(records)):
            relative = path.relative_to(data).as_posix()
            if _find_key(relative, stored) in away:  # a copy that is older than what the store has
                continue
            with contextlib.suppress(FileNotFoundError):  # it ended since the folder was listed
                entry, fresh = _take(path, relative, unfinished, before, known.get(relative))
                files[relative] = entry
                copied += entry["size"] if fresh else 0
        for key in sorted(away):
            taken, fresh_bytes = _take_stored(records, key, unfinished, before, known)
            files.update(taken)
            copied += fresh_bytes
        outside = _list_outside(records, data)
        _seal(unfinished, moment, dump, files, outside)
        os.rename(unfinished, place / name)
        sync_folder(place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    size = sum(entry["size"] for entry in files.values())
    return Backup(place / name, len(files), size, copied, outside, ())


def _take(
    path: Path, relative: str, unfinished: Path, before: Path | None, known: dict[str, Any] | None
) -> tuple[dict[str, Any], bool]:
    """One file into the backup: its entry in the manifest, and whether it had to be copied."""
    target = unfinished / FILES / relative
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = path.stat()
    if before is not None and known is not None:
        same = (known["size"], known["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
        old = before / FILES / relative
        if same and old.is_file() and old.stat().st_size == status.st_size:
            with contextlib.suppress(OSError):  # a disk without hard links: copied anew
                os.link(old, target)
                return known, False
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as source, open(target, "wb") as out:
        while block := source.read(_STEP):
            digest.update(block)
            size += len(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    # A file that grew meanwhile has another time by now, and so is copied again the next time.
    return {"size": size, "mtime_ns": status.st_mtime_ns, "sha256": digest.hexdigest()}, True


def _find_key(relative: str, stored: dict[str, str]) -> str:
    """The folder of the store that a file belongs to: the innermost; empty where there is none."""
    place = PurePosixPath(relative)
    return next((str(each) for each in (place, *place.parents) if str(each) in stored), "")


def _take_stored(
    records: Records, key: str, unfinished: Path, before: Path | None, known: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    """A folder that the store has and this machine has not: its entries, and the bytes that were copied."""
    for attempt in range(3):
        digest = dict(records.store.list_keys()).get(key, "")
        entries: dict[str, Any] = {}
        copied = 0
        try:
            for relative, entry, parts in records.store.read_kept(key, digest) if digest else ():
                target = _inside(unfinished / FILES, relative)
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                target.unlink(missing_ok=True)
                earlier = known.get(relative, {})
                if before is not None and earlier.get("sha256") == entry.sha256:
                    with contextlib.suppress(OSError):  # a disk without hard links: brought anew
                        os.link(before / FILES / relative, target)
                        entries[relative] = earlier
                        continue
                _write_parts(target, entry, parts)
                mtime_ns = target.stat().st_mtime_ns
                entries[relative] = {"size": entry.size, "mtime_ns": mtime_ns, "sha256": entry.sha256}
                copied += entry.size
        except StoreMissing as error:
            if attempt == 2:
                raise MaintenanceError(
                    f"{key} is not whole in the store. {error.what}",
                    "Mend it (`python -m records store --mend` where it is), then back up again.",
                ) from error
            continue  # it was kept anew, or erased, while it was read
        except StoreError as error:
            raise MaintenanceError(
                f"The backup needs files that only the store has. {error.what}",
                "Back up again when it is there. Earlier backups are whole.",
            ) from error
        return entries, copied
    return {}, 0


def _write_parts(target: Path, entry: Entry, parts: Iterator[bytes]) -> None:
    digest = hashlib.sha256()
    with open(target, "wb") as out:
        for part in parts:
            digest.update(part)
            out.write(part)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != entry.sha256:
        raise StoreMissing(f"{target.name} is not what was kept.")


def _seal(
    folder: Path, moment: datetime.datetime, dump: Dump, files: dict[str, Any], outside: tuple[str, ...]
) -> None:
    write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "program": PROGRAM_VERSION,
            "made": moment.isoformat(timespec="seconds"),
            "database": {
                "kind": dump.kind,
                "file": dump.file.name,
                "sha256": hash_file(dump.file),
                "revision": dump.revision,
                "audit_head": dump.audit_head,
            },
            "files": files,
            "outside": list(outside),
        },
    )
    write_bytes(folder / DIGEST, f"{hash_file(folder / MANIFEST)}  {MANIFEST}\n".encode())
    sync_folder(folder)


def _list_files(data: Path, database: frozenset[Path]) -> Iterator[Path]:
    """The files of a data folder that a backup holds; links are not followed."""
    for top in sorted(data.iterdir()):
        if top.name in LEFT_OUT or top.name.startswith((".unfinished-", STAGED, ASIDE)):
            continue
        for folder, names, files in os.walk(top) if top.is_dir() and not top.is_symlink() else _one(top):
            here = Path(folder)
            names[:] = sorted(name for name in names if not (here / name / "draft.json").is_file())
            for name in sorted(files):
                path = here / name
                unfinished = name.startswith(".unfinished-")
                if path.is_file() and not path.is_symlink() and not unfinished and path not in database:
                    yield path


def _one(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    yield str(path.parent), [], [path.name]


def _database_files(records: Records) -> frozenset[Path]:
    """The files of SQLite's own, which are taken by its means."""
    url = records.engine.url
    if url.get_backend_name() != "sqlite" or not url.database:
        return frozenset()
    path = Path(url.database).resolve()
    return frozenset(path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", ".lock"))


def _list_outside(records: Records, data: Path) -> tuple[str, ...]:
    with records.reading() as database:
        folders = list(database.scalars(select(models.Recording.folder).order_by(models.Recording.folder)))
    return tuple(each for each in folders if not (data / each).is_relative_to(data))


def _drop_old(place: Path, newest: str, keep_days: int) -> tuple[str, ...]:
    oldest = (now() - datetime.timedelta(days=keep_days)).strftime(_STAMP)
    dropped = [each for each in _list(place) if each.name < oldest and each.name != newest]
    for each in dropped:
        shutil.rmtree(each)
    return tuple(each.name for each in dropped)


def _list(place: Path) -> list[Path]:
    """The backups of a folder, the oldest first."""
    found = []
    for each in place.iterdir() if place.is_dir() else ():
        with contextlib.suppress(ValueError):
            datetime.datetime.strptime(each.name, _STAMP)
            if (each / MANIFEST).is_file():
                found.append(each)
    return sorted(found)


def _latest(place: Path) -> Path | None:
    found = _list(place)
    return found[-1] if found else None


def _sweep_unfinished(place: Path) -> None:
    for each in place.glob(".unfinished-*"):
        shutil.rmtree(each, ignore_errors=True)


# --- checking ------------------------------------------------------------------------------------


def find_backup(place: Path, name: str = "") -> Path:
    """A backup of a folder: by its name, or the newest.

    Raises
    ------
    MaintenanceError
        There is none.
    """
    found = _list(place)
    chosen = [each for each in found if not name or each.name == name]
    if not chosen:
        names = ", ".join(each.name for each in found[-5:])
        raise MaintenanceError(
            f"{place} holds no backup{f' called {name}' if name else ''}.",
            f"It has {names}." if names else "Give the folder that `python -m records backup` was given.",
        )
    return chosen[-1]


def check_backup(folder: Path) -> int:
    """Read every byte of a backup and compare; gives how many files it holds.

    Raises
    ------
    MaintenanceError
        A file is missing or not what it was; names it.
    """
    manifest = _read_manifest(folder)
    database = manifest["database"]
    _check_file(folder / database["file"], database["sha256"])
    for relative, entry in manifest["files"].items():
        _check_file(_inside(folder / FILES, relative), entry["sha256"])
    return len(manifest["files"])


def _check_file(path: Path, sha256: str) -> None:
    try:
        found = hash_file(path)
    except OSError as error:
        raise MaintenanceError(
            f"{path} of the backup cannot be read ({error.strerror}).", _DAMAGED
        ) from error
    if found != sha256:
        raise MaintenanceError(f"{path} of the backup is not what was written.", _DAMAGED)


_DAMAGED: Final = "Restore an earlier backup: --backup NAME."


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        said = (folder / DIGEST).read_text(encoding="ascii").split()[0]
        _check_file(folder / MANIFEST, said)
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
    except (OSError, IndexError, UnicodeDecodeError, RunFolderError) as error:
        raise MaintenanceError(f"{folder} is no whole backup ({error}).", _DAMAGED) from error
    if manifest.get("format") != FORMAT:
        raise MaintenanceError(
            f"{folder} is of another kind of backup ({manifest.get('format')}).",
            f"Restore it with ReDys {manifest.get('program')}.",
        )
    return manifest


def _inside(folder: Path, relative: str) -> Path:
    parts = PurePosixPath(relative).parts
    if not parts or PurePosixPath(relative).is_absolute() or ".." in parts:
        raise MaintenanceError(f"{folder.parent} names a file outside itself.", _DAMAGED)
    return folder / relative


# --- restoring -----------------------------------------------------------------------------------


def restore_backup(records: Records, place: Path, name: str = "", replace: bool = False) -> Restored:
    """Put a backup in place, files and database, and erase again what was erased.

    Nothing is touched before every byte of the backup has been read and compared. From its first change to
    its last the folder bears a mark that keeps every other process from it (`records.maintenance`); a restore
    that was broken off between is done by restoring again, this backup or another.

    Parameters
    ----------
    records : Records
        Where it goes; not used yet.
    place : Path
        The folder of backups.
    name : str
        Which backup; the newest by default.
    replace : bool
        Whether a data folder or database that is not empty is replaced. One that is half restored is
        replaced in any case.

    Raises
    ------
    MaintenanceError
        The backup is not whole, the data folder is in use or not empty, or cannot be written.
    records.errors.DatabaseError
    """
    folder = find_backup(place, name)
    files = check_backup(folder)
    manifest = _read_manifest(folder)
    data = records.settings.data_dir.resolve()
    url = records.settings.effective_database_url
    check_kind(url, manifest["database"]["kind"])
    replace |= is_half_restored(data)
    # Read before anything is touched: a list that cannot be read must stop the restore.
    erased, standing = _read_lists(records, place)
    if not replace and not records.store.is_empty():
        raise MaintenanceError(
            "The store is not empty.",
            "For a drill use another, or none; else give --replace: what is there is removed then.",
        )
    with hold_unused(data):
        if not replace and not (_is_empty(data) and is_database_empty(url)):
            raise MaintenanceError(
                f"{data} or its database is not empty.",
                "Restore into an empty one, or give --replace: what is there is removed then.",
            )
        try:
            staged = _stage(folder, manifest, data)
            begin_restore(data, folder)
            _exchange(data, staged)
        except OSError as error:
            raise MaintenanceError(
                f"The backup could not be put into {data} ({error.strerror or error}).",
                "Check that it can be written to and that its disk has room, and restore again.",
            ) from error
        load_database(url, manifest["database"]["kind"], folder / manifest["database"]["file"])
        append_erased(data / ERASED, erased)
        append_standing(data / STANDING, standing)
        note_backup_place(data, place)
    records.restoring = True
    try:
        note_in_store(records, erased)
        done = _finish(records, manifest, erased)
        records.store.start_over()
        restood = replay_standing(records, standing)
        records.second_factor.seal_all()
    finally:
        records.restoring = False
    end_restore(data)
    for each in list_left(data, ASIDE):
        shutil.rmtree(each, ignore_errors=True)
    unreadable = records.second_factor.list_unreadable()
    return Restored(manifest["made"], files, done, tuple(manifest["outside"]), restood, unreadable)


def _read_lists(records: Records, place: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Who was erased and who may sign in, by every list there is.

    The newest may be the data folder's own, which a restore that was broken off has put aside.
    """
    data = records.settings.data_dir.resolve()
    folders = [place, *list_left(data, ASIDE)]
    erased = [entry for each in folders for entry in read_erased(each / ERASED)] + read_all_erased(records)
    standing = [entry for each in (*folders, data) for entry in read_standing(each / STANDING)]
    return erased, standing


def _is_empty(data: Path) -> bool:
    """Whether nothing is in a data folder that a restore would take away."""
    return not _list_entries(data) and not list_left(data, ASIDE)


def _list_entries(data: Path) -> list[Path]:
    """What a restore puts aside."""
    stays = {IN_USE, MAINTENANCE, KEY_FILE, RESTORE}
    left = (STAGED, ASIDE)
    return [each for each in data.iterdir() if each.name not in stays and not each.name.startswith(left)]


def list_left(data: Path, beginning: str) -> list[Path]:
    """What a restore has left in a data folder, by how its names begin (`STAGED`, `ASIDE`)."""
    return sorted(data.glob(f"{beginning}*"))


def _stage(folder: Path, manifest: dict[str, Any], data: Path) -> Path:
    """Copy the backup's files beside those that are there; hashed once more on the way."""
    _drop_staged(data)  # of a restore that was killed: the disk may have no room for two
    staged = data / f"{STAGED}{secrets.token_hex(4)}"
    try:
        for relative, entry in manifest["files"].items():
            source, target = _inside(folder / FILES, relative), _inside(staged, relative)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copy2(source, target)
            _check_file(target, entry["sha256"])
        staged.mkdir(exist_ok=True, mode=0o700)
    except BaseException:
        _drop_staged(data)
        raise
    return staged


def _drop_staged(data: Path) -> None:
    for each in list_left(data, STAGED):
        if each.is_dir():
            shutil.rmtree(each)
        else:  # a database that was on its way into its place
            each.unlink()


def _exchange(data: Path, staged: Path) -> None:
    """Move what is there aside and the staged files in.

    Within the folder, since the folder itself may be a mounted disk, which cannot be renamed.
    """
    aside = data / f"{ASIDE}{secrets.token_hex(4)}"
    aside.mkdir(mode=0o700)
    for each in _list_entries(data):
        os.rename(each, aside / each.name)
    for each in sorted(staged.iterdir()):
        os.rename(each, data / each.name)
    staged.rmdir()


def _finish(records: Records, manifest: dict[str, Any], erased: list[dict[str, Any]]) -> Erased:
    """What must not come back is ended, what was erased is erased again, and the audit goes on."""
    records.audit.verify(read_head(manifest["database"]["audit_head"]))
    with records.writing() as database:
        # A session that was ended since must not live again: no epoch is one that was ever given out.
        database.execute(
            update(models.User).values(epoch=models.User.epoch + 1_000_000 + secrets.randbelow(1_000_000_000))
        )
        _end_links(database)
    records.note("command", "backup.restore", manifest["made"])
    with maintain(records.settings.data_dir.resolve()):
        return Erasure(records).replay(erased)


def _end_links(database: Any) -> None:
    """Revoke every share link: one that was revoked since the backup must not open again."""
    links: Any = models.Base.metadata.tables.get("share_link")
    if links is not None:
        database.execute(update(links).where(links.c.revoked.is_(None)).values(revoked=now()))
