"""Watching over a run: claim it, start the pipeline in a process of its own, follow it to its end.

The database row is the truth. The pipeline writes its progress to a file, not a pipe, so it outlives the
supervisor; the supervisor is a process of its own, so it outlives the web server and Dash's workers. Whoever
looks (`tend`) finds runs whose supervisor is gone and calls another, which takes over the living process
or, if that is gone too, puts the run back into the queue: the pipeline goes on where it stopped.

With more than one machine (``REDIS_URL``) the supervisor is a thread of a worker (`records.worker`), and
what waits is offered to all workers (`records.broker`).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import errno
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session as DatabaseSession

from pipeline.errors import RedysError
from pipeline.files import read_json
from records import models
from records.broker import offer_work
from records.checking import drop_secrets
from records.errors import NotKeptYet, StoreAway, StoreBusy, StoreError
from records.models import FINAL_STATES, now
from records.parts import Sharing
from records.rows import RunRow, RunState
from records.run_files import RunFiles, Stopped
from records.service import FULL_BYTES, QUEUED_AGAIN, Records
from records.verdicts import read_verdict
from settings import ROOT, Settings, get_settings

log = logging.getLogger(__name__)

NOT_KEPT_S = 600.0
"""How long a run waits for a recording that is still on its way from the machine that took it."""

ASK_AGAIN_S = 2.0
LOOK_EVERY_S = 0.25
"""How often the supervisor reads the progress file."""

WRITE_EVERY_S = 1.0
"""How often it writes the row: the page looks every two seconds."""

STALE_S = 45.0
"""A heartbeat that stood still for so long while we looked, of a process that cannot be asked, means that it
is gone. Counted by our own clock: those of two machines may differ, and while the database was away nobody
could look."""

BLIND_S = 20.0
"""After not having looked for so long the count begins anew."""

KILLED_WITHIN_S = 5.0
KILL_AFTER_S = 10.0
"""How long a run that was asked to stop has to reach its next checkpoint."""

LEAVE_AFTER_S = 3.0
"""How long it has where only this worker leaves: another goes on with it, and stages are whole or absent."""

MAX_ATTEMPTS = 3
"""A run that takes its machine down with it is not started for ever: so often within one stage."""

GATE = 'read -r go && exec "$@" </dev/null'
"""What a pipeline waits in until its row names it: one that nobody knows of would hold the run folder."""

Listener = Callable[[RunRow], None]


def host_name() -> str:
    """What this machine is called in the table."""
    return get_settings().machine or socket.gethostname()


# --- processes -----------------------------------------------------------------------------------


def process_started(pid: int) -> float | None:
    """When a living process began, s since the epoch; None if it is gone or only waits to be buried."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_process(pid: int | None, started: float | None) -> bool:
    """Whether the very process that began then is alive, and not another with its number."""
    if pid is None or started is None:
        return False
    begun = process_started(pid)
    return begun is not None and abs(begun - started) < 1.0


def end_claimed(claim: Path) -> None:
    """Kill the process that a claim (``host``, ``pid``, ``started``) names, with all that it started.

    One of another machine, or that has ended, is let be; it is gone when this returns.
    """
    try:
        said = read_json(claim)
        mine = said["host"] == host_name() and is_process(said["pid"], said["started"])
    except (RedysError, KeyError, TypeError):
        return
    if not mine:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(said["pid"], signal.SIGKILL)  # it leads its own group
    end = time.monotonic() + KILLED_WITHIN_S
    while is_process(said["pid"], said["started"]) and time.monotonic() < end:
        time.sleep(0.01)


def environment(settings: Settings) -> dict[str, str]:
    """The surroundings in which a child of this program sees the same settings."""
    values = {
        "REDYS_DATA_DIR": settings.data_dir.resolve(),
        "REDYS_MODELS_DIR": settings.models_dir.resolve(),
        "REDYS_NODE_MODULES": settings.node_modules.resolve(),
        "REDYS_WORKERS": settings.workers,
        "DATABASE_URL": settings.effective_database_url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    kept = {key: value for key, value in os.environ.items() if key != "SECRET_KEY"}
    return kept | {key: str(value) for key, value in values.items()}


def call_supervisor(settings: Settings, run_id: str) -> None:
    """Start ``python -m records supervise RUN_ID`` so that it belongs to nobody.

    Dash ends a job by killing its process and all that descend from it. A shell that puts the supervisor
    into the background and leaves makes it a child of the system instead.
    """
    runs = settings.data_dir.resolve() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "records", "supervise", run_id]
    with open(runs / "supervisor.log", "ab") as out:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            cwd=ROOT,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            check=True,
        )


# --- following a run -----------------------------------------------------------------------------


@dataclass
class _Progress:
    """What the pipeline has said so far."""

    stage: str = ""
    fraction: float = 0.0
    message: str = "Starting"
    eta_s: float | None = None
    warnings: int = 0
    ending: str = ""
    error_what: str = ""
    error_advice: str = ""

    def hear(self, line: Mapping[str, Any]) -> None:
        kind = line.get("type")
        if kind == "progress":
            self.stage = str(line.get("stage", ""))
            self.fraction = min(max(float(line.get("overall") or 0.0), 0.0), 1.0)
            self.message = str(line.get("message", ""))
            eta = line.get("eta_s")
            self.eta_s = float(eta) if isinstance(eta, (int, float)) else None
        elif kind == "warning":
            self.warnings += 1
        elif kind in ("done", "error", "cancelled"):
            self.ending = str(kind)
            self.error_what = str(line.get("what", ""))
            self.error_advice = str(line.get("advice", ""))

    @property
    def columns(self) -> dict[str, Any]:
        names = ("stage", "fraction", "message", "eta_s", "warnings")
        return {name: getattr(self, name) for name in names}


class _Tail:
    """Reads the whole lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def read(self) -> Iterator[dict[str, Any]]:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):  # a library's own print is no progress
                value = json.loads(line)
                if isinstance(value, dict):
                    yield value


def progress_path(run_folder: Path) -> Path:
    """Where the pipeline's progress is written: beside the run folder, which is the pipeline's own."""
    return run_folder.with_name(run_folder.name + ".progress.jsonl")


def error_path(run_folder: Path) -> Path:
    """Where the pipeline's error output is kept."""
    return run_folder.with_name(run_folder.name + ".errors.txt")


class _Process:
    """The pipeline at work: our child, or one that a supervisor before us left behind."""

    def __init__(self, pid: int, started: float, child: subprocess.Popen[bytes] | None) -> None:
        self.pid, self.started, self._child = pid, started, child

    def poll(self) -> tuple[bool, int | None]:
        """Whether it has ended, and its exit code if we may know it."""
        if self._child is not None:
            code = self._child.poll()
            return code is not None, code
        return not is_process(self.pid, self.started), None

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number is signal.SIGKILL:
                os.killpg(self.pid, number)  # it leads its own group, and its workers are in it
            else:
                os.kill(self.pid, number)


class _Supervision:
    """One run, from the claim to the end."""

    def __init__(
        self, records: Records, run_id: str, listen: Listener, is_leaving: Callable[[], bool]
    ) -> None:
        self.records, self.run_id, self.listen, self.is_leaving = records, run_id, listen, is_leaving
        self.run = records.get_run(run_id)
        self.progress = _Progress()
        self._asked_at: float | None = None
        self._killed = False
        self._is_ours = True
        self._process: _Process | None = None
        self.files = RunFiles(records, self.run)
        self.sharing = Sharing(records, self.run)

    def work(self) -> None:
        process = self._adopt()
        if process is None and self._see_to(lambda: self.files.fetch(self._is_mine, self._check)):
            process = self._start()
        if process is None:
            return
        self._process = process
        tail = _Tail(progress_path(self.run.folder))
        written, spoken = 0.0, ""
        while True:
            ended, code = process.poll()
            for line in tail.read():
                self.progress.hear(line)
            if ended:
                break
            moment = time.monotonic()
            if self.progress.stage != spoken:
                self.files.keep_soon()
            if moment - written >= WRITE_EVERY_S or self.progress.stage != spoken:
                written, spoken = moment, self.progress.stage
                self._beat()
                self.sharing.look(self.progress.stage)
            if not self._is_ours:  # somebody took us for gone: two must not work in one folder
                process.kill()
                return
            self._stop_if_asked(process)
            time.sleep(LOOK_EVERY_S)
        self.sharing.end()
        self._finish(process, code)

    def _see_to(self, work: Callable[[], None]) -> bool:
        """Do something with the store while the row lives, and wait while the store is away; False = stop."""
        if not self.records.store.is_on:
            return True
        begun, said = time.monotonic(), self.progress.message
        with ThreadPoolExecutor(1, thread_name_prefix="store") as pool:
            while True:
                asked = pool.submit(work)
                while not asked.done() and self._is_ours:
                    concurrent.futures.wait([asked], WRITE_EVERY_S)
                    self._beat()
                error = asked.exception()
                self.progress.message = said
                if error is None or not self._is_ours:
                    return self._is_ours
                if not isinstance(error, StoreError):
                    raise error
                waited_s = time.monotonic() - begun
                is_passing = isinstance(error, NotKeptYet | StoreBusy) and waited_s < NOT_KEPT_S
                if not isinstance(error, StoreAway | Stopped) and not is_passing:
                    self._close("failed", None, error.what, error.advice)
                    return False
                self.progress.message = f"Waiting. {error.what}"
                self._beat()
                if self.run.cancel_requested:
                    self._close("cancelled", None)
                    return False
                if self.is_leaving():
                    self._release()
                    return False
                time.sleep(ASK_AGAIN_S)

    def _is_mine(self, database: DatabaseSession) -> bool:
        """Whether the run is this supervisor's; nobody else claims it before the transaction ends."""
        mine = (models.Run.id == self.run_id, models.Run.state == "running", _is_ours())
        return database.scalar(select(models.Run.id).where(*mine).with_for_update()) is not None

    def _check(self) -> None:
        if not self._is_ours or self.run.cancel_requested or self.is_leaving():
            raise Stopped("The run is not to go on here.", "Nothing is to be done here.")

    def _adopt(self) -> _Process | None:
        with self.records.reading() as database:
            run = database.get_one(models.Run, self.run_id)
            pid, started, host = run.child_pid, run.child_started, run.host
        if host != host_name() or pid is None or started is None:
            return None
        log.info("run %s: taking over process %s", self.run_id, pid)
        return _Process(pid, started, None)

    def _start(self) -> _Process | None:
        folder = self.run.folder
        try:
            recording = self.records.get_recording(self.run.recording_id)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with open(progress_path(folder), "wb") as out, open(error_path(folder), "wb") as errors:
                command = list(self.records.make_command(recording, folder))
                if shutil.which(command[0]) is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
                child = subprocess.Popen(
                    ["/bin/sh", "-c", GATE, "sh", *command],
                    cwd=ROOT,
                    env=drop_secrets(environment(self.records.settings)),
                    stdin=subprocess.PIPE,
                    bufsize=0,
                    stdout=out,
                    stderr=errors,
                    start_new_session=True,
                )
        except OSError as error:
            self._close(
                "failed",
                None,
                f"The pipeline could not be started ({error.strerror or error}).",
                "Check that the data folder can be written to and that the disk is not full, then retry.",
            )
            return None
        started = process_started(child.pid) or time.time()
        assert child.stdin is not None
        with child.stdin as gate:
            if not self._persist(child_pid=child.pid, child_started=started):
                return None
            with contextlib.suppress(BrokenPipeError):  # it is gone already; the end is told below
                gate.write(b"go\n")
        log.info("run %s: started process %s", self.run_id, child.pid)
        return _Process(child.pid, started, child)

    def _beat(self) -> None:
        # A database that is away for a while must not end a run of hours: the next beat tries again.
        with contextlib.suppress(DBAPIError):
            self._is_ours = self._change(heartbeat=now(), **self.progress.columns)
            if self._is_ours:  # else it may be erased
                self.run = self.records.get_run(self.run_id)
                self.listen(self.run)

    def _stop_if_asked(self, process: _Process) -> None:
        if not self.run.cancel_requested and not self.is_leaving():
            return
        patience_s = KILL_AFTER_S if self.run.cancel_requested else LEAVE_AFTER_S
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            process.ask_to_stop()
        elif not self._killed and time.monotonic() - self._asked_at > patience_s:
            self._killed = True
            process.kill()

    def _finish(self, process: _Process, code: int | None) -> None:
        ending = self.progress.ending
        if ending == "done" and code in (0, None):
            if self._see_to(self.files.keep):  # before anybody is told that there is a report
                self._close("done", code)
        elif ending == "error":
            self._close("failed", code, self.progress.error_what, self.progress.error_advice)
        elif self._asked_at is not None and not self._is_cancelled():
            process.kill()  # its workers too
            self._release()
        elif ending == "cancelled" or self._asked_at is not None or code == 130:
            process.kill()  # workers that did not hear
            self._close("cancelled", code)
        else:
            what, advice = _explain_end(code, self.progress, error_path(self.run.folder))
            self._close("failed", code, what, advice)

    def _is_cancelled(self) -> bool:
        """Whether a person asked as well, perhaps just now."""
        with contextlib.suppress(DBAPIError):
            self.run = self.records.get_run(self.run_id)
        return self.run.cancel_requested

    def give_up(self) -> None:
        """End the work after a fault of this program; it is taken up again as after any interruption."""
        with self.records.reading() as database:
            run = database.get(models.Run, self.run_id)
            database.expunge_all()
        if run is None:  # it was erased
            if self._process is not None:
                self._process.kill()
            return
        if run.child_pid is not None and is_process(run.child_pid, run.child_started):
            _Process(run.child_pid, run.child_started or 0.0, None).kill()
        if run.state == "running" and (run.host, run.supervisor_pid) == (host_name(), os.getpid()):
            _lose(self.records, run)

    def _release(self) -> None:
        """Give the run back: it goes on elsewhere at once, and this start does not count."""
        log.info("run %s: given back, since this worker leaves", self.run_id)
        with contextlib.suppress(StoreError):  # then another machine goes on from what was kept before
            self.files.keep(done=False)
        self._persist(
            **self.progress.columns
            | QUEUED_AGAIN
            | {
                "state": "queued",
                "message": "Waiting to go on",
                "attempts": max(0, self.run.attempts - 1),
            }
        )

    def _close(self, state: RunState, code: int | None, what: str = "", advice: str = "") -> None:
        message = {"done": "Finished", "cancelled": "Cancelled"}.get(state, "Stopped")
        values: dict[str, Any] = {
            **self.progress.columns,
            "state": state,
            "message": message,
            "eta_s": None,
            "exit_code": code,
            "error_what": what,
            "error_advice": advice,
            "finished": now(),
            "heartbeat": now(),
        }
        if state == "done":
            values["fraction"] = 1.0
            values["quality"] = read_verdict(self.run.folder / "summary.json")
        log.info("run %s: %s (exit code %s)", self.run_id, state, code)
        if not self._persist(**values):
            return
        if state != "done":
            with contextlib.suppress(DBAPIError):  # what it said is on this machine then
                self.files.leave(error_path(self.run.folder))
        self.run = self.records.get_run(self.run_id)
        self.listen(self.run)

    def _persist(self, **values: Any) -> bool:
        """As `_change`, but through ten minutes without a database: what has happened must not be lost."""
        for wait_s in (*([1.0] * 10), *([5.0] * 120)):
            try:
                return self._change(**values)
            except DBAPIError as error:
                log.warning("run %s: the database does not answer: %s", self.run_id, error)
                time.sleep(wait_s)
        return self._change(**values)

    def _change(self, **values: Any) -> bool:
        """Write to the row; whether it is still this supervisor's."""
        with self.records.writing() as database:
            mine = (models.Run.id == self.run_id, models.Run.state == "running", _is_ours())
            ours = self.records.change(database, *mine, **values)
        if not ours:
            log.warning("run %s is no longer ours", self.run_id)
        return ours


def _is_ours() -> Any:
    return (models.Run.supervisor_pid == os.getpid()) & (models.Run.host == host_name())


def _is_full(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < FULL_BYTES
    return False


def _explain_end(code: int | None, progress: _Progress, errors: Path) -> tuple[str, str]:
    """Why a run without a word of its own ended, and what to do."""
    where = f" while at the stage {progress.stage}" if progress.stage else ""
    if code == errno.ENOSPC or _is_full(errors.parent):  # it has no room to say so
        return (
            f"The disk is full: the pipeline could write nothing more{where}.",
            "Free some space and retry: it goes on where it stopped.",
        )
    if code is not None and code < 0:
        name = {each.value: each.name for each in signal.Signals}.get(-code, f"signal {-code}")
        return (
            f"The pipeline was ended from outside{where} ({name}).",
            "This machine most likely ran out of memory, or somebody stopped the process. Close other "
            "programs and retry: it goes on where it stopped.",
        )
    with contextlib.suppress(OSError):
        lines = [line for line in errors.read_text(encoding="utf-8", errors="replace").splitlines() if line]
        if lines:
            return (
                f"The pipeline stopped unexpectedly{where}: {lines[-1][:300]}",
                f"Retry; if it happens again, report it with the file {errors.name} of the runs folder.",
            )
    return f"The pipeline stopped unexpectedly{where}, without a word.", "Retry; it goes on where it stopped."


# --- claiming ------------------------------------------------------------------------------------


def supervise_run(
    records: Records,
    run_id: str,
    listen: Listener = lambda run: None,
    worker: str = "",
    is_leaving: Callable[[], bool] = lambda: False,
) -> RunRow:
    """Claim a run and see it through; a run that is somebody else's, or has ended, is left alone.

    At most one run is at work on a machine, or for each worker of it: while another is, nothing happens,
    since that one's supervisor goes on with the queue (`drain`).

    Parameters
    ----------
    records : Records
        Where the run is kept.
    run_id : str
        Which run.
    listen : callable
        Called with the `RunRow` about once a second.
    worker : str
        Which worker of this machine works it; empty where the machine as a whole does.
    is_leaving : callable
        Asked all the time; when it answers True the run is given back, for another to go on with.

    Returns
    -------
    RunRow
        How the run stands now.

    Raises
    ------
    NotFound
    """
    tend(records)
    if claim_run(records, run_id, worker) or _take_over(records, run_id):
        see_through(records, run_id, listen, is_leaving)
    return records.get_run(run_id)


def see_through(
    records: Records,
    run_id: str,
    listen: Listener = lambda run: None,
    is_leaving: Callable[[], bool] = lambda: False,
) -> None:
    """Follow a run that this process has claimed to its end, as `supervise_run` says."""
    supervision = _Supervision(records, run_id, listen, is_leaving)
    try:
        listen(supervision.run)
        supervision.work()
    except Exception:  # this process lives on, and would be taken to be at it
        supervision.give_up()
        raise


def _identity() -> dict[str, Any]:
    started = process_started(os.getpid())
    return {
        "host": host_name(),
        "supervisor_pid": os.getpid(),
        "supervisor_started": started,
        "heartbeat": now(),
    }


def claim_run(records: Records, run_id: str, worker: str = "") -> bool:
    """Move a waiting run to running; the unique index on machine and worker keeps it to one.

    False where it does not wait any more, or this worker has one at work.
    """
    try:
        with records.writing() as database:
            return records.change(
                database,
                models.Run.id == run_id,
                models.Run.state == "queued",
                state="running",
                started=now(),
                message="Starting",
                attempts=models.Run.attempts + 1,
                cancel_requested=False,
                child_pid=None,
                child_started=None,
                worker=worker,
                **_identity(),
            )
    except IntegrityError:
        return False


def _take_over(records: Records, run_id: str) -> bool:
    """Step into the place of a supervisor of this machine that is gone while its process lives."""
    with records.reading() as database:
        run = database.get(models.Run, run_id)
        if run is None or run.state != "running" or run.host != host_name():
            return False
        if is_process(run.supervisor_pid, run.supervisor_started):
            return False
        before = run.supervisor_pid
        if not is_process(run.child_pid, run.child_started):
            return False
    with records.writing() as database:
        mine = (models.Run.id == run_id, models.Run.state == "running", models.Run.supervisor_pid == before)
        return records.change(database, *mine, **_identity())


def drain(records: Records, run_id: str) -> None:
    """Work a run, then whatever waits, until nothing does that this machine may take.

    Where workers take what waits (``REDIS_URL``), only a run that has lost its supervisor is watched over.
    """
    if records.settings.redis_url:
        if _take_over(records, run_id):
            see_through(records, run_id)
        return
    supervise_run(records, run_id)
    while True:
        with records.reading() as database:
            waiting = select(models.Run.id).where(models.Run.state == "queued")
            queue = list(database.scalars(waiting.order_by(models.Run.queued, models.Run.id)))
        worked = [each for each in queue[:1] if supervise_run(records, each).state in FINAL_STATES]
        if not worked:
            return


def tend(records: Records) -> tuple[str, ...]:
    """Look after runs that nobody watches.

    A running run whose supervisor and process are gone becomes lost; the first times it is put back into
    the queue, since most often a machine was switched off.

    Returns
    -------
    tuple of str
        Runs of this machine's reach that want a supervisor: those whose process lives without one and,
        where this machine works alone, the first that waits if none is at work here.
    """
    with records.reading() as database:
        running = list(database.scalars(select(models.Run).where(models.Run.state == "running")))
        database.expunge_all()
    wanted = []
    busy = False
    for run in running:
        fate = _look_at(run)
        if fate == "orphaned":
            wanted.append(run.id)
        elif fate == "gone":
            _lose(records, run)
        busy = busy or (fate != "gone" and run.host == host_name())
    if not busy and not records.settings.redis_url:
        with records.reading() as database:
            first = select(models.Run.id).where(models.Run.state == "queued")
            waiting = database.scalar(first.order_by(models.Run.queued, models.Run.id).limit(1))
        wanted += [waiting] if waiting else []
    return tuple(wanted)


def _look_at(run: models.Run) -> str:
    """Watched, orphaned (its process lives, its supervisor does not) or gone."""
    if run.host != host_name():
        return "gone" if _is_silent(run) else "watched"
    if is_process(run.supervisor_pid, run.supervisor_started):
        return "watched"
    return "orphaned" if is_process(run.child_pid, run.child_started) else "gone"


@dataclass
class _Heard:
    """The last heartbeat that this process saw of a run on another machine, and when, by `time.monotonic`."""

    beat: datetime.datetime | None
    since_s: float
    looked_s: float


_heard: dict[str, _Heard] = {}


def _is_silent(run: models.Run) -> bool:
    moment = time.monotonic()
    heard = _heard.setdefault(run.id, _Heard(run.heartbeat, moment, moment))
    if heard.beat != run.heartbeat or moment - heard.looked_s > BLIND_S:
        heard.beat, heard.since_s = run.heartbeat, moment
    heard.looked_s = moment
    return moment - heard.since_s >= STALE_S


def _has_come_further(records: Records, run: models.Run) -> bool:
    """Whether a stage has ended since the run was claimed: then the interruption is none of its making."""
    with contextlib.suppress(RedysError, AttributeError, KeyError, TypeError, ValueError):
        folder = records.store.outline(records.full_path(run.folder), ("run.json",))
        stages = read_json(folder / "run.json")["stages"].values()
        ends = [datetime.datetime.fromisoformat(stage["finished"]) for stage in stages]
        return run.started is not None and any(end > run.started for end in ends)
    return False


def _lose(records: Records, run: models.Run) -> None:
    attempts = 0 if _has_come_further(records, run) else run.attempts
    again = attempts < MAX_ATTEMPTS and not run.cancel_requested
    what = "The machine or its program stopped while the run was at work."
    values: dict[str, Any] = (
        {
            "state": "queued",
            "attempts": attempts,
            "message": "Waiting to go on after an interruption",
            **QUEUED_AGAIN,
        }
        if again
        else {
            "state": "cancelled" if run.cancel_requested else "lost",
            "message": "Interrupted",
            "error_what": "" if run.cancel_requested else what,
            "error_advice": "" if run.cancel_requested else "Retry: it goes on where it stopped.",
            "finished": now(),
        }
    )
    same = (
        models.Run.id == run.id,
        models.Run.state == "running",
        or_(models.Run.supervisor_pid == run.supervisor_pid, models.Run.supervisor_pid.is_(None)),
        or_(models.Run.heartbeat == run.heartbeat, models.Run.heartbeat.is_(None)),
    )
    with records.writing() as database:
        if records.change(database, *same, **values):
            database.add(models.AuditEvent(actor="system", action="run.lost", object=run.id))
            log.warning("run %s was lost%s", run.id, ", queued again" if again else "")


# --- waiting -------------------------------------------------------------------------------------


def follow_run(records: Records, run_id: str, every_s: float = 0.5) -> Iterator[RunRow]:
    """How a run stands, again and again until it has ended; calls supervisors where they are wanted.

    A Dash background job does this: it may be killed at any moment without harm to the run.

    Raises
    ------
    NotFound
    """
    if run_id in tend(records):
        call_supervisor(records.settings, run_id)
    offer_work(records)
    while True:
        run = None
        with contextlib.suppress(DBAPIError):  # away for a while: it is asked again
            run = records.get_run(run_id)
        if run is not None:
            yield run
            if not run.is_live:
                return
        time.sleep(every_s)
        with contextlib.suppress(DBAPIError):
            look_after(records)


def look_after(records: Records) -> None:
    """Call supervisors for the runs of this machine's reach that want one."""
    for wanted in tend(records):
        if records.summon(wanted):
            call_supervisor(records.settings, wanted)
