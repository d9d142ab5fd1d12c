"""A run at work shared out: other workers do the pose stage of cameras that it has not come to yet.

The run's supervisor offers the cameras after the one at work (`Sharing`). A worker with nothing to do takes
the last of them (`take_part`), works it alone (`work_part`), and leaves the files beside the run folder,
through the store or on the common disk; the pipeline takes them over (`pipeline.parts`). It waits for a
worker that is at it, never for one that is gone. Runs that wait come first: a camera is for who finds none.

By default a worker helps runs of other machines alone: the pipeline uses all processors of its own machine,
so that nothing is gained there (`docs/scaling.md` has the measurement).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError, IntegrityError

from pipeline.errors import RedysError
from pipeline.files import read_json
from pipeline.parts import mark_path, part_path
from records import models
from records.broker import Need, offer_work
from records.checking import drop_secrets
from records.errors import StoreError
from records.models import new_id
from settings import ROOT

if TYPE_CHECKING:
    from records.rows import RunRow
    from records.service import Records

log = logging.getLogger(__name__)

SILENT_S: Final = 15.0
"""A worker whose count has stood still for so long is not waited for."""

BEAT_S: Final = 1.0

_SHARED: Final = "pose:"
"""Stages that are shared out: they take most of the time, and read no other's results."""


def parts_path(run_folder: Path) -> Path:
    """Where what others did of a run is left, beside the run folder."""
    return run_folder.with_name(run_folder.name + ".parts")


# --- the run's side ------------------------------------------------------------------------------


@dataclass
class _Counted:
    beats: int
    since_s: float


class Sharing:
    """What a run's supervisor does about its parts: offers them, marks who is at them, fetches them."""

    def __init__(self, records: Records, run: RunRow) -> None:
        self._records, self._run = records, run
        self._parts = parts_path(run.folder)
        self._offered = False
        self._counted: dict[str, _Counted] = {}
        self._fetching: dict[str, threading.Thread] = {}

    def look(self, stage: str) -> None:
        """See to the parts; to be called about once a second, with the stage at work."""
        if self._records.settings.split == "never" or not stage.startswith(_SHARED):
            return
        with contextlib.suppress(DBAPIError):  # parts are a help, and no run waits for them
            if not self._offered:
                self._offered = True
                self._offer(stage)
            self._close_begun(stage)
            for part in self._list():
                self._see_to(part)

    def end(self) -> None:
        """Nobody need do anything for this run any more."""
        if not self._offered:
            return
        with contextlib.suppress(DBAPIError):
            with self._records.writing() as database:
                database.execute(delete(models.RunPart).where(models.RunPart.run_id == self._run.id))
            self._drop_fetched()
        shutil.rmtree(self._parts, ignore_errors=True)

    def _drop_fetched(self) -> None:
        if not self._records.store.is_on or not self._fetching:
            return
        try:
            self._records.store.drop([part_path(self._parts, stage) for stage in self._fetching])
        except StoreError as error:  # the housekeeper finishes it
            log.warning("run %s: parts are removed later: %s", self._run.id, error.what)

    def _offer(self, stage: str) -> None:
        wanted = _list_after(self._run.folder, stage)
        if not wanted:
            return
        with contextlib.suppress(IntegrityError), self._records.writing() as database:
            needs = database.get_one(models.Run, self._run.id).needs
            database.execute(delete(models.RunPart).where(models.RunPart.run_id == self._run.id))
            for name in wanted:
                database.add(models.RunPart(id=new_id(), run_id=self._run.id, stage=name, needs=needs))
        offer_work(self._records)

    def _close_begun(self, stage: str) -> None:
        """The run has come to a camera that nobody took: it does it itself."""
        _change(
            self._records,
            models.RunPart.run_id == self._run.id,
            models.RunPart.stage == stage,
            models.RunPart.state == "offered",
            state="closed",
        )

    def _list(self) -> list[models.RunPart]:
        with self._records.reading() as database:
            parts = list(
                database.scalars(select(models.RunPart).where(models.RunPart.run_id == self._run.id))
            )
            database.expunge_all()
        return parts

    def _see_to(self, part: models.RunPart) -> None:
        if part.state == "taken":
            counted = self._counted.setdefault(part.stage, _Counted(-1, time.monotonic()))
            if counted.beats != part.beats:
                counted.beats, counted.since_s = part.beats, time.monotonic()
            if time.monotonic() - counted.since_s < SILENT_S:
                self._mark(part.stage)
        elif part.state == "done":
            fetching = self._fetching.get(part.stage)
            if fetching is None:
                fetching = threading.Thread(target=self._fetch, args=(part.stage,), name="part", daemon=True)
                self._fetching[part.stage] = fetching
                self._mark(part.stage)
                fetching.start()  # the run's heartbeat must not wait for the store
            elif fetching.is_alive():
                self._mark(part.stage)  # until it is here
            else:
                mark_path(self._parts, part.stage).unlink(missing_ok=True)

    def _fetch(self, stage: str) -> None:
        try:
            self._records.store.bring(part_path(self._parts, stage))
        except RedysError as error:  # the run does it itself
            log.warning("run %s: a part could not be fetched: %s", self._run.id, type(error).__name__)

    def _mark(self, stage: str) -> None:
        self._parts.mkdir(parents=True, exist_ok=True)
        mark_path(self._parts, stage).touch()


def _list_after(run_folder: Path, stage: str) -> list[str]:
    """The stages to share out: those after the one at work that this run has not done before."""
    try:
        record = read_json(run_folder / "run.json")
        names = [str(each["name"]) for each in record["plan"]]
        done = record["stages"]
    except (RedysError, KeyError, TypeError):
        return []
    after = names[names.index(stage) + 1 :] if stage in names else []
    return [name for name in after if name.startswith(_SHARED) and name not in done]


# --- the helper's side ---------------------------------------------------------------------------


def take_part(records: Records, machine: str, worker: str, offers: frozenset[Need]) -> models.RunPart | None:
    """Take a camera of a run that is at work, the one it comes to last; None where there is none to take."""
    if records.settings.split == "never":
        return None
    query = (
        select(models.RunPart)
        .join(models.Run, models.Run.id == models.RunPart.run_id)
        .where(
            models.Run.state == "running", models.RunPart.state == "offered", models.RunPart.needs.in_(offers)
        )
        .order_by(models.Run.queued, models.Run.id, models.RunPart.stage.desc())
    )
    if records.settings.split == "machines":
        query = query.where(models.Run.host != machine)
    with records.reading() as database:
        found = list(database.scalars(query.limit(10)))
        database.expunge_all()
    for part in found:
        mine = {"state": "taken", "host": machine, "worker": worker}
        if _change(records, models.RunPart.id == part.id, models.RunPart.state == "offered", **mine):
            return part
    return None


def work_part(records: Records, part: models.RunPart, is_leaving: Callable[[], bool]) -> bool:
    """Work a part that was taken, and leave its files beside the run; whether it was done.

    It ends at once when the run does not want it any more.
    """
    run = records.get_run(part.run_id)
    out = part_path(parts_path(run.folder), part.stage)
    done = False
    try:
        recording = records.get_recording(run.recording_id)
        records.store.bring(recording.folder)
        out.parent.mkdir(parents=True, exist_ok=True)
        done = _see_through(records, part, recording.folder, out, is_leaving)
        if done:
            with records.writing() as database:  # one of an earlier try may be there, or dropped
                records.store.note_change(database, out)
            records.store.keep(out)
    except RedysError as error:  # the run does it itself, and says so if there is something to say
        log.warning("run %s: a part could not be worked: %s", run.id, type(error).__name__)
        done = False
    finally:
        state = "done" if done else "offered" if is_leaving() else "closed"
        wanted = _change(records, models.RunPart.id == part.id, models.RunPart.state == "taken", state=state)
        if not wanted:  # the run has ended meanwhile, and would not remove what comes after it
            shutil.rmtree(out, ignore_errors=True)
            with contextlib.suppress(StoreError):  # the housekeeper finishes it
                records.store.drop([out])
    return done


def _see_through(
    records: Records, part: models.RunPart, session: Path, out: Path, is_leaving: Callable[[], bool]
) -> bool:
    from records.supervise import environment

    command = [sys.executable, "-m", "pipeline", "run", str(session), "--only", part.stage]
    child = subprocess.Popen(
        [*command, "--out", str(out), "--with-parent"],
        cwd=ROOT,
        env=drop_secrets(environment(records.settings)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while child.poll() is None:
            if is_leaving() or not _beat(records, part):
                return False
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=BEAT_S)
        return child.returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _beat(records: Records, part: models.RunPart) -> bool:
    """Say that somebody is at it; whether the run still wants it."""
    try:
        at_work = select(models.Run.id).where(models.Run.id == part.run_id, models.Run.state == "running")
        mine = (models.RunPart.id == part.id, models.RunPart.state == "taken", at_work.exists())
        return _change(records, *mine, beats=models.RunPart.beats + 1)
    except DBAPIError:
        return True


def _change(records: Records, *conditions: ColumnElement[bool], **values: Any) -> bool:
    with records.writing() as database:
        result = database.execute(update(models.RunPart).where(*conditions).values(**values))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
