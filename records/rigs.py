"""Rigs that are kept, named and used again: a row in the database and a ``rig.json`` in the data folder.

A rig stays as long as a recording used it: it is retired, never removed, so that a report can always be
traced to the cameras behind it. Only what a checkerboard gave, or a file from elsewhere, is kept: a rig
solved from one hand's motion carries that recording's errors into every later one, and takes minutes to
solve anew.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import joinedload

from pipeline.errors import RedysError
from pipeline.files import hash_json, read_json, write_json
from records import models
from records.checking import convert_rig
from records.errors import NotFound, RigError
from records.models import new_id
from records.rows import RigRow, RigUse

if TYPE_CHECKING:  # numpy is loaded by those that read results, not by every supervisor
    from pipeline.results import Rig
    from pipeline.session import Session
    from records.service import Records

MAX_NAME = 80
RIG_NAME = "rig.json"
DOWNLOADS = (RIG_NAME, "rig.yaml", "rig.toml")

_CHOSEN = "chosen_in_form"
"""Key in a session's ``rig.json`` that a form put there, which may take it out again."""

_CHECKED = ("rig.json", "rig_check.json")
"""Of a run's folder: what says whether its cameras still stood as the rig has them."""

_NOT_KEPT = {
    "hand": (
        "This rig was worked out from the hand in one recording.",
        "Let each recording work out its own, or film a checkerboard and keep that rig.",
    ),
    "single": (
        "This is one camera with a guessed lens.",
        "Film a checkerboard with it; that rig can be kept.",
    ),
}

log = logging.getLogger(__name__)

_TELLS_NOBODY = re.compile(r"Rig [0-9a-f]{8}")
"""What a rig is called whose name went with a person."""


class Rigs:
    """The rigs of one database and data folder."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def keep(self, run_id: str, name: str, actor: str = "local") -> RigRow:
        """Keep the rig of a finished run.

        Raises
        ------
        NotFound
        RigError
            It must not be kept (from a hand, from one uncalibrated camera, failed), it is kept already, or
            the name is taken or no name.
        pipeline.errors.RunFolderError
            The run has no rig that can be read.
        """
        from pipeline.results import read_rig

        run = self._records.get_run(run_id)
        recording = self._records.get_recording(run.recording_id)
        if recording.rig_id is not None:
            kept = self.get(recording.rig_id)
            raise RigError(
                f"This recording was given the rig {kept.name}, which is kept.", "There is nothing to do."
            )
        rig = read_rig(self._records.open_run(run_id).rig_json)
        return self._store(rig, name, actor, run_id)

    def add(self, path: Path, name: str, actor: str = "local") -> RigRow:
        """Keep a rig from a file that was handed in, in any format of `pipeline.calibration.formats`.

        It is read in a process of its own with limits, since it comes from outside.

        Raises
        ------
        pipeline.errors.CalibrationError
            It is no rig; says why.
        RigError
            As `keep`.
        """
        from pipeline.results import read_rig

        with tempfile.TemporaryDirectory(dir=self._folder()) as folder:
            out = Path(folder) / RIG_NAME
            convert_rig(path, out)
            rig = read_rig(out)
        return self._store(rig, name, actor, None)

    def _store(self, rig: Rig, name: str, actor: str, run_id: str | None) -> RigRow:
        from pipeline.results import write_rig

        name = _clean(name)
        _refuse(rig)
        rig_id = new_id()
        path = self._folder() / f"{rig_id}.json"
        write_rig(path, replace(rig, name=name))  # before its row: a row without a file would be a broken one
        row = models.Rig(
            id=rig_id,
            name=name,
            from_run_id=run_id,
            file=self._records.store_path(path),
            digest=_digest(rig),
            cameras=json.dumps(list(rig.cameras), ensure_ascii=False),
            verdict=rig.verdict,
            source=rig.source,
            retired=False,
        )
        try:
            with self._records.writing() as database:
                self._refuse_twin(database, row)
                database.add(row)
                database.flush()
                self._records.store.note_change(database, path)
                _note(database, actor, "rig.keep", rig_id)
        except IntegrityError as error:
            path.unlink(missing_ok=True)
            raise RigError(
                f"{name} was kept by someone else just now.", "Look at the list of rigs."
            ) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._records.store.nudge()
        return self.get(rig_id)

    def _refuse_twin(self, database: DatabaseSession, row: models.Rig) -> None:
        same = database.scalar(select(models.Rig).where(models.Rig.digest == row.digest))
        if same is not None:
            retired = " It is retired; use it again there." if same.retired else ""
            raise RigError(
                f"This rig is kept already, as {same.name}.", f"Choose it from the list of rigs.{retired}"
            )
        _refuse_taken(database, row.name, row.id)

    def list(self, retired: bool = True) -> tuple[RigRow, ...]:
        """The rigs, those in use first, the newest first; without the retired ones if so wanted."""
        query = select(models.Rig).order_by(models.Rig.retired, models.Rig.created.desc(), models.Rig.id)
        if not retired:
            query = query.where(models.Rig.retired.is_(False))
        with self._records.reading() as database:
            return tuple(self._row(database, rig) for rig in database.scalars(query))

    def get(self, rig_id: str) -> RigRow:
        """One rig.

        Raises
        ------
        NotFound
        """
        with self._records.reading() as database:
            return self._row(database, _find(database, rig_id))

    def read(self, rig_id: str) -> Rig:
        """The cameras of a rig.

        Raises
        ------
        NotFound
        pipeline.errors.RunFolderError
            Its file cannot be read.
        """
        from pipeline.results import read_rig

        with self._records.reading() as database:
            return read_rig(self._path(_find(database, rig_id)))

    def download(self, rig_id: str, name: str) -> bytes:
        """A rig as the content of ``rig.json``, ``rig.yaml`` or ``rig.toml``.

        Raises
        ------
        NotFound
            Also for any other name.
        pipeline.errors.RunFolderError
            Its file cannot be read.
        """
        from pipeline.calibration.formats import format_rig

        if name not in DOWNLOADS:
            raise NotFound("There is no such file.", "The address may be mistyped.")
        if name == RIG_NAME:
            with self._records.reading() as database:
                return self._path(_find(database, rig_id)).read_bytes()
        return format_rig(self.read(rig_id), Path(name).suffix)

    def rename(self, rig_id: str, name: str, actor: str = "local") -> RigRow:
        """Call a rig something else.

        Raises
        ------
        NotFound
        RigError
            The name is taken or no name.
        """
        from pipeline.results import write_rig

        name, rig = _clean(name), self.read(rig_id)
        try:
            with self._records.writing() as database:
                row = _find(database, rig_id)
                _refuse_taken(database, name, rig_id)
                row.name = name
                database.flush()
                write_rig(self._path(row), replace(rig, name=name))
                self._records.store.note_change(database, self._path(row))
                _note(database, actor, "rig.rename", rig_id)
        except IntegrityError as error:
            raise RigError(f"{name} was taken by someone else just now.", "Choose another name.") from error
        self._records.store.nudge()
        return self.get(rig_id)

    def list_of(self, run_ids: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
        """Names of rigs that were calibrated in these runs, or whose name holds one of these words."""
        return tuple(row.name for row in self._find_of(run_ids, words))

    def forget_names(self, run_ids: Sequence[str], words: Sequence[str], actor: str) -> None:
        """Give those of `list_of` names that tell nobody: cameras stay, and who they were called after goes.

        A rig whose file cannot be read gets its new name all the same, and its file goes.
        """
        for row in self._find_of(run_ids, words):
            name = f"Rig {row.id[:8]}"
            try:
                self.rename(row.id, name, actor)
            except RedysError:
                log.exception("rig %s: its file cannot be read and is removed with its name", row.id)
                with self._records.writing() as database:
                    kept = _find(database, row.id)
                    kept.name = name
                    self._path(kept).unlink(missing_ok=True)
                    _note(database, actor, "rig.rename", row.id)

    def _find_of(self, run_ids: Sequence[str], words: Sequence[str]) -> tuple[RigRow, ...]:
        wanted, parts = set(run_ids), [word.casefold() for word in words]
        return tuple(
            row
            for row in self.list()
            if not _TELLS_NOBODY.fullmatch(row.name)
            and (row.from_run_id in wanted or any(part in row.name.casefold() for part in parts))
        )

    def retire(self, rig_id: str, retired: bool = True, actor: str = "local") -> RigRow:
        """Offer a rig no longer, or again; recordings that used it keep it.

        Raises
        ------
        NotFound
        """
        with self._records.writing() as database:
            _find(database, rig_id).retired = retired
            _note(database, actor, "rig.retire" if retired else "rig.return", rig_id)
        return self.get(rig_id)

    def use(self, session_folder: Path, rig_id: str) -> Path:
        """Put a rig into a session folder, whole or not at all; gives the file.

        Raises
        ------
        NotFound
        RigError
            It is retired, or the folder has a rig of its own, which is never overwritten.
        pipeline.errors.RunFolderError
            It cannot be read, or the folder not written.
        """
        from pipeline.session import RIG_FILES

        row = self.get(rig_id)
        if row.retired:
            raise RigError(
                f"The rig {row.name} is retired.", "Choose another, or take it up again on its page."
            )
        self.withdraw(session_folder)
        for name in RIG_FILES:
            if (session_folder / name).exists():
                raise RigError(
                    f"The folder has a rig of its own, {name}.",
                    "Move it elsewhere, or choose that the cameras' places come with the files.",
                )
        with self._records.reading() as database:
            plain = read_json(self._path(_find(database, rig_id)))
        write_json(session_folder / RIG_NAME, {**plain, _CHOSEN: True})
        return session_folder / RIG_NAME

    def withdraw(self, session_folder: Path) -> None:
        """Take a rig that `use` put there out of a session folder; anything else stays."""
        path = session_folder / RIG_NAME
        with contextlib.suppress(RedysError):
            plain = read_json(path)
            if isinstance(plain, dict) and plain.get(_CHOSEN) is True:
                path.unlink(missing_ok=True)

    def find(self, database: DatabaseSession, session: Session) -> str | None:
        """Which kept rig lies in a session folder; None for another rig or none."""
        from pipeline.results import read_rig

        if session.rig is None or session.rig.name != RIG_NAME:
            return None
        try:
            digest = _digest(read_rig(session.rig))
        except (RedysError, AttributeError, RecursionError):
            return None  # the checks and the run say what is wrong with it
        return database.scalar(select(models.Rig.id).where(models.Rig.digest == digest))

    def _row(self, database: DatabaseSession, rig: models.Rig) -> RigRow:
        run = None if rig.from_run_id is None else database.get(models.Run, rig.from_run_id)
        if run is not None and run.recording.trashed is not None:
            run = None
        return RigRow(
            id=rig.id,
            name=rig.name,
            cameras=tuple(json.loads(rig.cameras)),
            source=rig.source,
            verdict=rig.verdict,
            retired=rig.retired,
            created=rig.created,
            from_run_id=rig.from_run_id,
            from_recording_id=None if run is None else run.recording_id,
            from_title="" if run is None else _title(run.recording),
            uses=self._list_uses(database, rig.id),
        )

    def _list_uses(self, database: DatabaseSession, rig_id: str) -> tuple[RigUse, ...]:
        recordings = database.scalars(
            select(models.Recording)
            .where(models.Recording.rig_id == rig_id, models.Recording.trashed.is_(None))
            .options(joinedload(models.Recording.visit).joinedload(models.Visit.subject))
            .order_by(models.Recording.created.desc(), models.Recording.id)
        )
        return tuple(self._use(database, recording) for recording in recordings.unique())

    def _use(self, database: DatabaseSession, recording: models.Recording) -> RigUse:
        from pipeline.results import RunFolder, read_rig, read_rig_check

        run = database.scalar(
            select(models.Run)
            .where(models.Run.recording_id == recording.id, models.Run.state == "done")
            .order_by(models.Run.created.desc(), models.Run.id)
            .limit(1)
        )
        unchecked = RigUse(recording.id, _title(recording), None, None)
        if run is None:
            return unchecked
        try:
            path = self._records.full_path(run.folder)
            folder = RunFolder(self._records.store.outline(path, _CHECKED))
            if read_rig(folder.rig_json).source != "file":
                return unchecked  # a run from before the recording was given this rig
            return replace(
                unchecked, verdict=read_rig_check(folder.rig_check_json).verdict, checked=run.finished
            )
        except (RedysError, KeyError, TypeError):
            return unchecked

    def _folder(self) -> Path:
        folder = self._records.settings.data_dir.resolve() / "rigs"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _path(self, rig: models.Rig) -> Path:
        path = self._records.full_path(rig.file)
        self._records.store.bring(path)
        return path


def refuse_reason(rig: Rig) -> str:
    """Why a rig is not kept, in a sentence; empty where it may be."""
    try:
        _refuse(rig)
    except RigError as error:
        return str(error)
    return ""


def _refuse(rig: Rig) -> None:
    if rig.verdict == "failed":
        raise RigError(
            "This rig failed its own checks.", "Film the checkerboard again; its reasons say what went wrong."
        )
    if rig.source in _NOT_KEPT:
        raise RigError(*_NOT_KEPT[rig.source])


def _refuse_taken(database: DatabaseSession, name: str, rig_id: str) -> None:
    other = database.scalar(select(models.Rig.id).where(models.Rig.name == name, models.Rig.id != rig_id))
    if other is not None:
        raise RigError(f"There is a rig called {name} already.", "Choose another name.")


def _clean(name: str) -> str:
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    if not name or len(name) > MAX_NAME:
        raise RigError(
            f"A rig needs a name of at most {MAX_NAME} letters.", "Give one, such as Studio, desk left."
        )
    return name


def _digest(rig: Rig) -> str:
    return hash_json({key: value for key, value in asdict(rig).items() if key != "name"})


def _find(database: DatabaseSession, rig_id: str) -> models.Rig:
    rig = database.get(models.Rig, rig_id) if isinstance(rig_id, str) and len(rig_id) == 32 else None
    if rig is None:
        raise NotFound("There is no such rig.", "The address may be mistyped.")
    return rig


def _title(recording: models.Recording) -> str:
    visit = recording.visit
    day = visit.date.isoformat() if visit.date else "undated"
    return recording.title or f"{visit.subject.pseudonym}, {day}, {recording.task}"


def _note(database: DatabaseSession, actor: str, action: str, about: str) -> None:
    database.add(models.AuditEvent(actor=actor, action=action, object=about))
