"""The door to everything that is kept: recordings, runs, people who sign in, what was done."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import functools
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Engine, and_, case, func, or_, select, text, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import aliased, joinedload

from pipeline.errors import SessionError
from pipeline.files import hash_json
from pipeline.photos.folder import PhotoSettings, read_photo_set
from pipeline.session import Session, SessionSettings, read_session
from records import models
from records.audit import Audit
from records.broker import find_need
from records.corrections import Corrections
from records.database import migrate, open_engine
from records.drafts import Drafts
from records.errors import NotFound, RetentionError, StoreError
from records.exports import Exports
from records.maintenance import note_use
from records.marks import Marks
from records.models import LIVE_STATES, new_id, now
from records.parts import parts_path
from records.photos import PhotoSets
from records.research import Research
from records.retention import Retention
from records.reuse import take_over
from records.rigs import Rigs
from records.room import read_limits
from records.rows import Page, RecordingKind, RecordingRow, RunRow, SubjectRow
from records.scores import Scores
from records.second_factor import SecondFactor
from records.shares import Shares
from records.sign_ins import SignIns
from records.store import Store
from records.users import Users
from records.verdicts import Verdicts, read_verdict
from settings import Settings, get_settings

if TYPE_CHECKING:  # numpy and pandas are loaded by those that read results, not by every supervisor
    from pipeline.measures.summary_types import Summary
    from pipeline.results import RunFolder

MOST_SEARCHED = 200
"""Letters of a search that are looked at; databases refuse patterns of any length."""

SUMMON_AGAIN_S = 15.0
"""How long a supervisor that was called has before another is: starting Python takes a few seconds."""

GLANCE = ("run.json", "log.jsonl")
"""Of a run's folder: what `records.progress` reads."""

FULL_BYTES = 2**20
"""A disk with less free is full: there is no room to work in."""

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_ARTEFACT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+")
ARTEFACT_SUFFIXES = frozenset(
    {".mp4", ".flac", ".png", ".jpg", ".json", ".csv", ".toml", ".yaml", ".bin"}
    | {".i8", ".u8", ".i16", ".u16", ".i32", ".u32", ".f32"}
)
"""What the browser may be given of a run's ``web`` folder: pictures, video, sound and blobs, never code."""


@functools.lru_cache(maxsize=16)
def _read_summary(path: Path, changed_ns: int, inode: int, size: int) -> Summary:
    """A page asks for it several times, and it never changes without its file."""
    from pipeline.measures.summary_types import read_summary

    return read_summary(path)


class Records:
    """The database and the data folder; one a process (`get_records`).

    Parameters
    ----------
    settings : Settings
        Where the data folder and the database are.
    command : callable, optional
        ``command(session_folder, run_folder) -> list of str``: the process that works a run. By default
        this Python with ``-m pipeline run``.
    """

    def __init__(
        self, settings: Settings, command: Callable[[Path, Path], Sequence[str]] | None = None
    ) -> None:
        self.settings = settings
        self.command = command or pipeline_command
        self.restoring = False
        """Whether these put a backup into place: nobody else may open a folder before that is done."""
        self._engine: Engine | None = None
        self._use: int | None = None
        self._opening = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The database, opened and migrated at first use.

        Raises
        ------
        records.database.DatabaseError
            It cannot be opened.
        records.errors.MaintenanceError
            A backup is being put into its place, or that was broken off.
        """
        with self._opening:
            if self._engine is None:
                engine = open_engine(self.settings.effective_database_url)
                self.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._use = note_use(self.settings.data_dir, self.restoring)
                migrate(engine)
                self._engine = engine
            return self._engine

    @functools.cached_property
    def users(self) -> Users:
        """Those who may sign in."""
        return Users(self)

    @functools.cached_property
    def sign_ins(self) -> SignIns:
        """Who is signed in."""
        return SignIns(self)

    @functools.cached_property
    def second_factor(self) -> SecondFactor:
        """Codes beside their passwords."""
        return SecondFactor(self)

    @functools.cached_property
    def audit(self) -> Audit:
        """Who did what."""
        return Audit(self)

    @functools.cached_property
    def rigs(self) -> Rigs:
        """Calibrated cameras that are used again."""
        return Rigs(self)

    @functools.cached_property
    def scores(self) -> Scores:
        """Clinical scales as raters gave them."""
        return Scores(self)

    @functools.cached_property
    def retention(self) -> Retention:
        """The trash, dates of retention, erasure."""
        return Retention(self)

    @functools.cached_property
    def verdicts(self) -> Verdicts:
        """Reports' verdicts on their recordings."""
        return Verdicts(self)

    @functools.cached_property
    def corrections(self) -> Corrections:
        """What people told the pipeline otherwise."""
        return Corrections(self)

    @functools.cached_property
    def marks(self) -> Marks:
        """What people set on recordings' timelines."""
        return Marks(self)

    @functools.cached_property
    def shares(self) -> Shares:
        """Links for collaborators."""
        return Shares(self)

    @functools.cached_property
    def exports(self) -> Exports:
        """Runs' numbers as files of other programs."""
        return Exports(self)

    @functools.cached_property
    def store(self) -> Store:
        """Where files are kept when machines have no disk in common."""
        return Store(self)

    @functools.cached_property
    def research(self) -> Research:
        """What researchers see."""
        return Research(self)

    @functools.cached_property
    def photos(self) -> PhotoSets:
        """Sets of still pictures."""
        return PhotoSets(self)

    def make_command(self, recording: RecordingRow, run_folder: Path) -> Sequence[str]:
        """The process that works a recording, by its kind."""
        command = photos_command if recording.kind == "photos" else self.command
        return command(recording.folder, run_folder)

    @functools.cached_property
    def drafts(self) -> Drafts:
        """Uploads under way."""
        return Drafts(self.settings.data_dir, read_limits(self.settings), self.has_folder)

    def close(self) -> None:
        """Let go of the database's connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._use is not None:
            os.close(self._use)
            self._use = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[DatabaseSession]:
        """A transaction: all of it or nothing."""
        with DatabaseSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[DatabaseSession]:
        """A transaction that only reads, and so waits for nobody."""
        with DatabaseSession(self.engine.execution_options(read_only=True)) as session:
            yield session

    # --- recordings ------------------------------------------------------------------------------

    def add_recording(self, session_folder: Path, title: str = "", actor: str = "local") -> RecordingRow:
        """Take a session folder into the worklist; a folder that is there already is brought up to date.

        Raises
        ------
        pipeline.errors.SessionError
            The folder is not a session, or a set of pictures.
        RetentionError
            Its recording is in the trash.
        """
        session = read_session(Path(session_folder).resolve())
        for attempt in range(3):
            try:
                recording_id = self._store_recording(session, title, actor)
                break
            except IntegrityError:  # two at once added the same person or folder
                if attempt == 2:
                    raise
        self.store.nudge()
        return self.get_recording(recording_id)

    def _store_recording(self, session: Session, title: str, actor: str) -> str:
        settings = session.settings
        with self.writing() as database:
            visit = self.find_visit(database, settings.subject, settings.visit)
            folder = self.store_path(session.path)
            recording = database.scalar(select(models.Recording).where(models.Recording.folder == folder))
            if recording is not None:
                self.refuse_trashed(recording)
                if recording.kind != "video":
                    raise SessionError("This folder is a set of pictures.", "Choose another folder.")
            action = "recording.update" if recording else "recording.add"
            recording = recording or models.Recording(id=new_id(), folder=folder)
            recording.visit_id = visit.id
            recording.task, recording.side = settings.task, settings.side
            recording.title = title or recording.title or ""
            recording.rig_id = self.rigs.find(database, session)
            database.add(recording)
            _note(database, actor, action, recording.id)
            self.store.note_change(database, session.path)
            return recording.id

    def has_folder(self, folder: Path) -> bool:
        """Whether a session folder is a recording, in sight or in the trash."""
        stored = self.store_path(folder)
        with self.reading() as database:
            found = select(models.Recording.id).where(models.Recording.folder == stored)
            return database.scalar(found) is not None

    def refuse_trashed(self, recording: models.Recording) -> None:
        """Raise `RetentionError` for a recording that is in the trash: its folder is not taken in again."""
        if recording.trashed is not None:
            raise RetentionError(
                "This folder's recording is in the trash.", "Bring it back from there, or purge it first."
            )

    def find_visit(
        self, database: DatabaseSession, pseudonym: str, date: datetime.date | None
    ) -> models.Visit:
        """The visit of a person on a day; both are made where they are new."""
        subject = database.scalar(
            select(models.Subject).where(models.Subject.pseudonym == pseudonym)
        ) or models.Subject(id=new_id(), pseudonym=pseudonym)
        database.add(subject)
        database.flush()
        visit = database.scalar(
            select(models.Visit).where(
                models.Visit.subject_id == subject.id,
                models.Visit.date.is_(None) if date is None else models.Visit.date == date,
            )
        ) or models.Visit(id=new_id(), subject_id=subject.id, date=date)
        database.add(visit)
        database.flush()
        return visit

    def list_of_kind(self, kind: RecordingKind) -> tuple[RecordingRow, ...]:
        """All recordings of a kind, the newest first."""
        return tuple(self._read_recordings(models.Recording.kind == kind))

    def get_recording(self, recording_id: str) -> RecordingRow:
        """One recording.

        Raises
        ------
        NotFound
        """
        rows = self._read_recordings(models.Recording.id == _checked(recording_id, "recording"))
        if not rows:
            raise _not_found("recording")
        return rows[0]

    def list_recordings(
        self,
        search: str = "",
        state: str | None = None,
        side: str | None = None,
        task: str | None = None,
        limit: int = 50,
        offset: int = 0,
        quality: str | None = None,
        order: str = "added",
    ) -> Page[RecordingRow]:
        """Recordings of video, in an order.

        Parameters
        ----------
        search : str
            Words that must all be in pseudonym, title or task.
        state : str or None
            State of the newest run; "new" = never run.
        side, task : str or None
            Exactly these.
        limit, offset : int
            How many, from where.
        quality : str or None
            The report's verdict on the recording; "none" = there is no report.
        order : str
            One of `ORDERS`; what is equal in it comes newest first.
        """
        self.verdicts.fill_in()
        newest, report = aliased(models.Run), aliased(models.Run)
        conditions: list[ColumnElement[bool]] = [_IN_SIGHT, models.Recording.kind == "video"]
        for word in search[:MOST_SEARCHED].split():
            conditions.append(
                or_(
                    models.Subject.pseudonym.icontains(word, autoescape=True),
                    models.Recording.title.icontains(word, autoescape=True),
                    models.Recording.task.icontains(word, autoescape=True),
                )
            )
        if state:
            conditions.append(newest.id.is_(None) if state == "new" else newest.state == state)
        if side:
            conditions.append(models.Recording.side == side)
        if task:
            conditions.append(models.Recording.task == task)
        if quality:
            conditions.append(report.id.is_(None) if quality == "none" else report.quality == quality)
        chosen = (
            select(models.Recording.id)
            .join(models.Visit)
            .join(models.Subject)
            .outerjoin(newest, newest.id == _newest_run_id())
            .outerjoin(report, report.id == _newest_run_id("done"))
            .where(*conditions)
        )
        by: dict[str, tuple[Any, ...]] = {
            "person": (func.lower(models.Subject.pseudonym), models.Visit.date.is_(None), models.Visit.date),
            "visit": (models.Visit.date.is_(None), models.Visit.date.desc()),
            "task": (func.lower(models.Recording.task), models.Recording.side),
            "state": (_place_in(func.coalesce(newest.state, "new"), STATE_ORDER),),
            "quality": (_place_in(func.coalesce(report.quality, ""), QUALITY_ORDER),),
        }
        with self.reading() as database:
            total = database.scalar(select(func.count()).select_from(chosen.subquery())) or 0
            ordered = (*by.get(order, ()), models.Recording.created.desc(), models.Recording.id)
            ids = list(database.scalars(chosen.order_by(*ordered).limit(limit).offset(offset)))
        rows = {row.id: row for row in self._read_recordings(models.Recording.id.in_(ids))} if ids else {}
        return Page(tuple(rows[each] for each in ids if each in rows), total, offset)

    def list_tasks(self) -> tuple[str, ...]:
        """The tasks that occur, by name."""
        with self.reading() as database:
            return tuple(
                database.scalars(
                    select(models.Recording.task)
                    .where(_IN_SIGHT, models.Recording.kind == "video")
                    .distinct()
                    .order_by(models.Recording.task)
                )
            )

    def get_subject(self, subject_id: str) -> SubjectRow:
        """A person.

        Raises
        ------
        NotFound
        """
        with self.reading() as database:
            subject = database.get(models.Subject, _checked(subject_id, "person"))
            if subject is None:
                raise _not_found("person")
            return SubjectRow(subject.id, subject.pseudonym, subject.created)

    def list_subject(self, subject_id: str) -> tuple[RecordingRow, ...]:
        """All recordings of video of a person, the earliest visit first; those without a date come last.

        Raises
        ------
        NotFound
        """
        self.get_subject(subject_id)
        rows = self._read_recordings(models.Visit.subject_id == subject_id, models.Recording.kind == "video")
        return tuple(sorted(rows, key=lambda row: (row.visit or datetime.date.max, row.created)))

    def _read_recordings(self, *conditions: ColumnElement[bool]) -> list[RecordingRow]:
        query = _recordings_query().where(*conditions)
        with self.reading() as database:
            queue = _read_queue(database)
            return [
                self._recording_row(recording, run, report_run_id, quality or "", queue)
                for recording, run, report_run_id, quality in database.execute(query).unique()
            ]

    def _recording_row(
        self,
        recording: models.Recording,
        run: models.Run | None,
        report_run_id: str | None,
        quality: str,
        queue: list[str],
    ) -> RecordingRow:
        subject = recording.visit.subject
        return RecordingRow(
            id=recording.id,
            subject_id=subject.id,
            subject=subject.pseudonym,
            visit=recording.visit.date,
            title=recording.title,
            task=recording.task,
            side=recording.side,
            folder=self.full_path(recording.folder),
            created=recording.created,
            run=None if run is None else self._run_row(run, recording, queue),
            report_run_id=report_run_id,
            rig_id=recording.rig_id,
            quality=quality,
            kind=recording.kind,  # type: ignore[arg-type]  # the table's own check holds it
        )

    # --- runs ------------------------------------------------------------------------------------

    def submit_run(self, recording_id: str, actor: str = "local") -> RunRow:
        """Put a recording into the queue; while it is waiting or at work, this gives that run.

        What takes long and has not changed since the recording's last run is taken from it
        (`records.reuse`).

        Raises
        ------
        NotFound
        pipeline.errors.SessionError, pipeline.errors.PhotoError
            The session folder, or the folder of pictures, is gone or not what it was.
        """
        recording = self.get_recording(recording_id)
        if recording.run is not None and recording.run.is_live:
            return recording.run
        run_id = new_id()
        folder = self.settings.data_dir.resolve() / "runs" / run_id
        settings: SessionSettings | PhotoSettings
        if recording.kind == "photos":
            settings = read_photo_set(self.store.outline(recording.folder)).settings
        else:
            self.corrections.settle(recording)
            session = read_session(self.store.outline(recording.folder))
            settings = session.settings
            if recording.run is not None and not self.store.is_on:  # else where it is worked
                take_over(recording.run.folder, folder, session)
        try:
            with self.writing() as database:
                _hold_in_sight(database, recording.id)
                run = models.Run(
                    id=run_id,
                    recording_id=recording.id,
                    folder=self.store_path(folder),
                    settings_hash=hash_json(settings.model_dump(mode="json")),
                    needs=find_need(settings.detector, settings.estimator),
                    message="Waiting to start",
                    summoned=now(),  # whoever submits also calls the supervisor
                )
                database.add(run)
                database.flush()
                _note(database, actor, "run.submit", run_id)
        except NotFound:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except IntegrityError:  # another tab was quicker
            shutil.rmtree(folder, ignore_errors=True)
            return self._live_run_of(recording.id)
        return self.get_run(run_id)

    def _live_run_of(self, recording_id: str) -> RunRow:
        run = self.get_recording(recording_id).run
        if run is None:
            raise _not_found("run")
        return run

    def add_finished_run(self, recording_id: str, run_folder: Path, actor: str = "local") -> RunRow:
        """Take a run folder that was made elsewhere (``python -m pipeline run``) as a finished run.

        Raises
        ------
        NotFound
        pipeline.errors.RunFolderError
            The folder is not that of a finished run.
        """
        from pipeline.measures.summary_types import read_summary
        from pipeline.results import RunFolder

        recording = self.get_recording(recording_id)
        folder = Path(run_folder).resolve()
        read_summary(RunFolder(folder).summary_json)
        stored = self.store_path(folder)
        with self.writing() as database:
            run = database.scalar(
                select(models.Run).where(models.Run.folder == stored, models.Run.recording_id == recording.id)
            )
            if run is None:
                run = models.Run(id=new_id(), recording_id=recording.id, folder=stored)
                _note(database, actor, "run.add", run.id)
            run.state, run.fraction, run.message, run.finished = "done", 1.0, "Finished", now()
            run.quality = read_verdict(folder / "summary.json")
            database.add(run)
            self.store.note_change(database, folder)
            run_id = run.id
        self.store.nudge()
        return self.get_run(run_id)

    def get_run(self, run_id: str) -> RunRow:
        """One run.

        Raises
        ------
        NotFound
        """
        rows = self._read_runs(models.Run.id == _checked(run_id, "run"))
        if not rows:
            raise _not_found("run")
        return rows[0]

    def list_runs(self, recording_id: str) -> tuple[RunRow, ...]:
        """All runs of a recording, the newest first."""
        rows = self._read_runs(models.Run.recording_id == _checked(recording_id, "recording"))
        return tuple(sorted(rows, key=lambda row: (row.created, row.id), reverse=True))

    def list_live_runs(self) -> tuple[RunRow, ...]:
        """Runs at work, then those that wait, in the order of the queue."""
        rows = self._read_runs(models.Run.state.in_(LIVE_STATES))
        return tuple(sorted(rows, key=lambda row: (row.state != "running", row.queued, row.id)))

    def list_ended_runs(self, since: datetime.datetime) -> tuple[RunRow, ...]:
        """Runs that ended after ``since``, the newest first: what the person may not have heard of yet."""
        rows = self._read_runs(models.Run.finished > since, models.Run.state.not_in(LIVE_STATES))
        return tuple(sorted(rows, key=lambda row: row.finished or row.created, reverse=True))

    def _read_runs(self, *conditions: ColumnElement[bool]) -> list[RunRow]:
        query = _runs_query().where(*conditions)
        with self.reading() as database:
            runs = list(database.scalars(query).unique())
            # Every supervisor asks for its own run each second: the queue is for those that stand in it.
            queue = _read_queue(database) if any(run.state == "queued" for run in runs) else []
            return [self._run_row(run, run.recording, queue) for run in runs]

    def _run_row(self, run: models.Run, recording: models.Recording, queue: list[str]) -> RunRow:
        parts = [recording.visit.subject.pseudonym, recording.task]
        parts += [recording.side] if recording.kind == "video" else []
        if recording.visit.date:
            parts.insert(1, recording.visit.date.isoformat())
        return RunRow(
            id=run.id,
            recording_id=run.recording_id,
            title=recording.title or ", ".join(parts),
            state=run.state,  # type: ignore[arg-type]  # the table's own check holds it
            folder=self.full_path(run.folder),
            stage=run.stage,
            fraction=run.fraction,
            message=run.message,
            eta_s=run.eta_s,
            warnings=run.warnings,
            error_what=run.error_what,
            error_advice=run.error_advice,
            exit_code=run.exit_code,
            cancel_requested=run.cancel_requested,
            attempts=run.attempts,
            position=queue.index(run.id) + 1 if run.id in queue else 0,
            created=run.created,
            queued=run.queued,
            started=run.started,
            finished=run.finished,
            heartbeat=run.heartbeat,
            kind=recording.kind,  # type: ignore[arg-type]  # the table's own check holds it
        )

    def request_cancel(self, run_id: str, actor: str = "local") -> RunRow:
        """Ask a run to stop: one that waits is cancelled at once, one at work by its supervisor."""
        run_id = self.get_run(run_id).id
        with self.writing() as database:
            stopped = self.change(
                database,
                models.Run.id == run_id,
                models.Run.state == "queued",
                state="cancelled",
                finished=now(),
                message="Cancelled before it started",
            )
            asked = stopped or self.change(
                database, models.Run.id == run_id, models.Run.state == "running", cancel_requested=True
            )
            if asked:
                _note(database, actor, "run.cancel", run_id)
        return self.get_run(run_id)

    def retry(self, run_id: str, actor: str = "local") -> RunRow:
        """Queue a failed, cancelled or lost run again, in the same folder: it goes on where it stood."""
        run = self.get_run(run_id)
        try:
            with self.writing() as database:
                _hold_in_sight(database, run.recording_id)
                again = self.change(
                    database,
                    models.Run.id == run.id,
                    models.Run.state.in_(("failed", "cancelled", "lost")),
                    state="queued",
                    attempts=0,
                    message="Waiting to go on",
                    error_what="",
                    error_advice="",
                    **QUEUED_AGAIN | {"queued": now(), "summoned": now()},
                )
                if again:
                    _note(database, actor, "run.retry", run.id)
        except IntegrityError:  # the recording has another live run
            return self._live_run_of(run.recording_id)
        return self.get_run(run.id)

    def change(self, database: DatabaseSession, *conditions: ColumnElement[bool], **values: Any) -> bool:
        """Change the run that meets the conditions; whether there was one. The one way to move a state."""
        result = database.execute(update(models.Run).where(*conditions).values(**values))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    def summon(self, run_id: str) -> bool:
        """Whether the caller shall start a supervisor for this run: yes for one caller each 15 s."""
        before = now() - datetime.timedelta(seconds=SUMMON_AGAIN_S)
        with self.writing() as database:
            return self.change(
                database,
                models.Run.id == run_id,
                models.Run.state.in_(LIVE_STATES),
                or_(models.Run.summoned.is_(None), models.Run.summoned < before),
                summoned=now(),
            )

    def count_runs(self) -> dict[str, int]:
        """How many runs there are in each state, in sight or in the trash."""
        with self.reading() as database:
            query = select(models.Run.state, func.count()).group_by(models.Run.state)
            return {state: count for state, count in database.execute(query)}

    def oldest_wait_s(self) -> float:
        """How long the first run of the queue has waited, in s; 0 where none waits."""
        with self.reading() as database:
            waiting = select(func.min(models.Run.queued)).where(models.Run.state == "queued")
            queued: datetime.datetime | None = database.scalar(waiting)
        return 0.0 if queued is None else max(0.0, (now() - queued).total_seconds())

    # --- artefacts -------------------------------------------------------------------------------

    def open_run(self, run_id: str) -> RunFolder:
        """The run folder of a run, for the readers of `pipeline.results`: here, and as the store has it.

        Raises
        ------
        NotFound
        records.errors.StoreError
            It is not here, and cannot be brought.
        """
        from pipeline.results import RunFolder

        folder = self.get_run(run_id).folder
        self.store.bring(folder)
        return RunFolder(folder)

    def glance(self, run: RunRow) -> RunRow:
        """A run whose folder has what tells how far it is, though it is at work on another machine.

        Where that cannot be had just now, the run as it is: its row says the most of it.
        """
        from records.supervise import error_path

        try:
            folder = self.store.outline(run.folder, GLANCE)
            if folder == run.folder:
                return run
            self.store.bring(error_path(run.folder))
        except StoreError:
            return run
        with contextlib.suppress(OSError):  # most runs said nothing
            shutil.copyfile(error_path(run.folder), error_path(folder))
        return dataclasses.replace(run, folder=folder)

    def read_summary(self, run_id: str) -> Summary | None:
        """What a run's report prints; None while there is none.

        Raises
        ------
        NotFound
        pipeline.errors.RunFolderError
            It is there but cannot be read.
        """
        path = self.open_run(run_id).summary_json
        if not path.is_file():
            return None
        about = path.stat()
        return _read_summary(path, about.st_mtime_ns, about.st_ino, about.st_size)

    def artefact(self, run_id: str, name: str) -> Path:
        """A file that the browser may stream: of the run's ``web`` folder, by its plain name.

        Raises
        ------
        NotFound
            Also for names that are no plain file names, and for suffixes that are not listed.
        """
        folder = self.open_run(run_id).web
        if not _ARTEFACT.fullmatch(name) or Path(name).suffix not in ARTEFACT_SUFFIXES:
            raise _not_found("file")
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise _not_found("file")
        return path

    def store_path(self, path: Path) -> str:
        """How a path is kept: relative to the data folder where it lies in it."""
        path, data = Path(path).resolve(), self.settings.data_dir.resolve()
        return path.relative_to(data).as_posix() if path.is_relative_to(data) else path.as_posix()

    def full_path(self, stored: str) -> Path:
        """The path that `store_path` kept."""
        return self.settings.data_dir.resolve() / stored

    # --- audit and health ------------------------------------------------------------------------

    def note(self, actor: str, action: str, about: str = "", result: str = "ok") -> None:
        """Write down who did what: identifiers only, never content."""
        with self.writing() as database:
            _note(database, actor, action, about, result)

    def check_health(self) -> None:
        """Touch the database and the disk.

        Raises
        ------
        records.database.DatabaseError, sqlalchemy.exc.SQLAlchemyError, OSError
            One of them does not answer.
        """
        with self.reading() as database:
            database.execute(text("SELECT 1"))
        probe = self.settings.data_dir / ".health"
        probe.write_text(now().isoformat(), encoding="ascii")
        if shutil.disk_usage(self.settings.data_dir).free < FULL_BYTES:  # what is written over finds room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


QUEUED_AGAIN: dict[str, Any] = {
    "cancel_requested": False,
    "summoned": None,
    "finished": None,
    "exit_code": None,
    "eta_s": None,
    "heartbeat": None,
    "host": None,
    "worker": "",
    "supervisor_pid": None,
    "supervisor_started": None,
    "child_pid": None,
    "child_started": None,
}
"""What a run forgets when it goes back into the queue."""


STATE_ORDER = ("running", "queued", "failed", "lost", "cancelled", "new", "done")
"""What wants a person's eye comes first."""

QUALITY_ORDER = ("failed", "limited", "passed", "")

ORDERS = ("added", "person", "visit", "task", "state", "quality")
"""Orders of `Records.list_recordings`."""


def _place_in(column: Any, order: Sequence[str]) -> ColumnElement[int]:
    """A column's place in an order of words, to sort by."""
    return case({word: place for place, word in enumerate(order)}, value=column, else_=len(order))


_IN_SIGHT = models.Recording.trashed.is_(None)
"""What is in the trash is nowhere to be seen (`records.retention`)."""


def _hold_in_sight(database: DatabaseSession, recording_id: str) -> None:
    """Make sure that nobody puts the recording into the trash before this transaction ends."""
    recording = database.get(models.Recording, recording_id, with_for_update=True)
    if recording is None or recording.trashed is not None:
        raise _not_found("recording")


@functools.cache
def _recordings_query() -> Any:
    """Recordings in sight with newest run and report; put together once, which costs more than asking."""
    newest, report = aliased(models.Run), aliased(models.Run)
    return (
        select(models.Recording, newest, report.id, report.quality)
        .join(models.Visit)
        .join(models.Subject)
        .outerjoin(newest, newest.id == _newest_run_id())
        .outerjoin(report, report.id == _newest_run_id("done"))
        .where(_IN_SIGHT)
        .options(joinedload(models.Recording.visit).joinedload(models.Visit.subject))
        .order_by(models.Recording.created.desc(), models.Recording.id)
    )


@functools.cache
def _runs_query() -> Any:
    """Runs of recordings in sight; put together once."""
    of_visit = joinedload(models.Run.recording).joinedload(models.Recording.visit)
    return (
        select(models.Run)
        .where(models.Run.recording.has(_IN_SIGHT))
        .options(of_visit.joinedload(models.Visit.subject))
    )


def _newest_run_id(state: str | None = None) -> Any:
    """Subquery: the newest run of the recording in hand, or the newest in a state."""
    run = aliased(models.Run)
    condition = run.recording_id == models.Recording.id
    if state is not None:
        condition = and_(condition, run.state == state)
    return (
        select(run.id)
        .where(condition)
        .order_by(run.created.desc(), run.id)
        .limit(1)
        .correlate(models.Recording)
        .scalar_subquery()
    )


def _read_queue(database: DatabaseSession) -> list[str]:
    waiting = select(models.Run.id).where(models.Run.state == "queued")
    return list(database.scalars(waiting.order_by(models.Run.queued, models.Run.id)))


def _note(database: DatabaseSession, actor: str, action: str, about: str, result: str = "ok") -> None:
    database.add(models.AuditEvent(actor=actor, action=action, object=about, result=result))


def _checked(identifier: str, kind: str) -> str:
    """An identifier as it must look; anything else is simply not there."""
    if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
        raise _not_found(kind)
    return identifier


def _not_found(kind: str) -> NotFound:
    return NotFound(f"There is no such {kind}.", "It may have been removed, or the address is mistyped.")


def pipeline_command(session_folder: Path, run_folder: Path) -> list[str]:
    """The process that works a run."""
    arguments = ["run", str(session_folder), "--out", str(run_folder), "--json-progress"]
    arguments += ["--parts", str(parts_path(run_folder))]
    return [sys.executable, "-m", "pipeline", *arguments]


def photos_command(set_folder: Path, run_folder: Path) -> list[str]:
    """The process that works a set of pictures."""
    arguments = ["photos", str(set_folder), "--out", str(run_folder), "--json-progress"]
    return [sys.executable, "-m", "pipeline", *arguments]


@functools.lru_cache(maxsize=1)
def get_records() -> Records:
    """The `Records` of this process, by the settings of its surroundings."""
    return Records(get_settings())
