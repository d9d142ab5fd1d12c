"""A run: the stages in order, each done once, with resume, progress, cancelling and provenance.

    check ─► sound ─► calibration ─► pose (a camera at a time) ─► sync ─► fusion ─► measures ─► web

Without a checkerboard and a rig the calibration comes after the pose, since it works with the hand.

Every stage reads its inputs from the session and run folders and writes its own files whole. A stage has a
key: the hash of the program's version, its settings, its inputs' hashes and the keys of the stages before it.
Where ``run.json`` has the same key and the files are there, the stage is not run again; so a killed run goes
on where it stopped.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from pipeline.errors import Cancelled, RedysError, RunFolderError, SessionError
from pipeline.files import hash_file, hash_json, read_json, remove_unfinished, write_json
from pipeline.parts import PART_JSON, take_part, write_part
from pipeline.progress import Progress, Reporter
from pipeline.results import SCHEMA_VERSION, RunFolder
from pipeline.session import Session, read_session
from pipeline.stages import Context, Stage, list_stages
from pipeline.version import PROGRAM_VERSION

_PACKAGES = (
    "av", "ai-edge-litert", "mediapipe", "numpy", "opencv-python", "pandas",
    "roma", "scipy", "smplx", "torch", "ultralytics",
)  # fmt: skip
_LOG_EVERY_S = 2.0
_LOCK_PATIENCE_S = 2.0
_OTHERS_S = 600.0


@dataclass(frozen=True)
class RunProgress:
    """Where the whole run stands: a stage's `Progress`, the share of all work done, and the time left.

    Attributes
    ----------
    stage : str
    label : str
        The stage in words.
    fraction : float
        0 to 1 within the stage.
    overall : float
        0 to 1 of the whole run, by the stages' usual share of the time.
    message : str
    eta_s : float
        Seconds left at the pace so far; NaN while that cannot be told.
    warning : bool
    """

    stage: str
    label: str
    fraction: float
    overall: float
    message: str
    eta_s: float
    warning: bool = False


@dataclass
class _Record:
    """``run.json`` while the run goes on."""

    path: Path
    values: dict[str, Any]
    log_path: Path
    warnings: list[str] = field(default_factory=list)

    def save(self, **changes: Any) -> None:
        self.values.update(changes)
        write_json(self.path, self.values)

    def log(self, event: str, **fields: Any) -> None:
        line = {"time": say_now(), "event": event, **fields}
        with open(self.log_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def run_session(
    session_path: Path,
    out: Path,
    listen: Callable[[RunProgress], None] = lambda progress: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    workers: int = 0,
    networks: Mapping[str, str] | None = None,
    parts: Path | None = None,
) -> RunFolder:
    """Work a session folder into a run folder.

    Parameters
    ----------
    session_path : Path
        The session folder (design: "The session folder").
    out : Path
        The run folder; made if it is missing, gone on with if a run stopped there.
    listen : callable
        Called with every `RunProgress`.
    is_cancelled : callable
        Asked at every checkpoint; when it answers True the run stops and keeps what is finished.
    workers : int
        Processes for the networks; 0 takes the setting.
    networks : mapping, optional
        ``detector`` and ``estimator`` in place of the session's own choice.
    parts : Path, optional
        Where others leave stages that they do meanwhile (`pipeline.parts`).

    Raises
    ------
    RedysError
        Something that a person can mend, in words; ``run.json`` says it too.
    Cancelled
        The person asked to stop.
    """
    session = read_session(session_path)
    if networks:
        session = replace(session, settings=session.settings.model_copy(update=dict(networks)))
    folder = RunFolder(Path(out))
    _require_apart(session, folder)
    with lock_folder(folder):
        remove_unfinished(folder.path)
        stages = list_stages(session)
        record = _open_record(folder, session, stages)
        meter = _Meter(stages, listen)
        try:
            _run_stages(session, folder, stages, record, meter, is_cancelled, workers, parts)
        except Cancelled:
            record.save(state="cancelled", finished=say_now())
            record.log("cancelled")
            raise
        except RedysError as error:
            record.save(
                state="failed", finished=say_now(), error={"what": error.what, "advice": error.advice}
            )
            record.log("failed", what=error.what, advice=error.advice)
            raise
        except Exception as error:
            what = f"The program failed in a way it should not ({type(error).__name__}: {error})."
            record.save(
                state="failed",
                finished=say_now(),
                error={"what": what, "advice": "Please report it with log.jsonl of this run."},
            )
            record.log("crashed", traceback=traceback.format_exc())
            raise
    return folder


def _require_apart(session: Session, folder: RunFolder) -> None:
    """A run writes a ``rig.json`` of its own: in the session folder it would be taken for an input."""
    if folder.path.resolve() == session.path.resolve():
        raise RunFolderError(
            f"{folder.path} is the session folder itself: results would lie among the recordings.",
            "Choose another folder with --out.",
        )


def _run_stages(
    session: Session,
    folder: RunFolder,
    stages: list[Stage],
    record: _Record,
    meter: _Meter,
    is_cancelled: Callable[[], bool],
    workers: int,
    parts: Path | None,
) -> None:
    inputs = _hash_inputs(session)
    record.save(inputs=inputs)
    keys: dict[str, str] = {}
    for stage in stages:
        keys[stage.name] = _make_key(stage, inputs, keys)
        entry = record.values["stages"].get(stage.name, {})
        if entry.get("key") == keys[stage.name] and _is_complete(folder, stage, entry):
            meter.skip(stage)
            continue
        if parts is not None and _take_over(
            parts, folder, stage, keys[stage.name], record, meter, is_cancelled
        ):
            continue
        _run_stage(session, folder, stage, keys[stage.name], record, meter, is_cancelled, workers)
    warnings = [warning for stage in stages for warning in record.values["stages"][stage.name]["warnings"]]
    record.save(state="done", finished=say_now(), warnings=warnings, error=None)
    record.log("done")


def _make_key(stage: Stage, inputs: dict[str, str], keys: dict[str, str]) -> str:
    hashes = {name: inputs[name] for name in stage.inputs}
    return hash_json(
        {
            "stage": stage.nameless or stage.name,
            "program": PROGRAM_VERSION,
            "settings": stage.settings,
            "inputs": sorted(hashes.values()) if stage.nameless else hashes,
            "before": [keys[name] for name in stage.after],
        }
    )


def _is_complete(folder: RunFolder, stage: Stage, entry: dict[str, Any]) -> bool:
    return all((folder.path / name).is_file() for name in entry.get("outputs", stage.outputs))


def _run_stage(
    session: Session,
    folder: RunFolder,
    stage: Stage,
    key: str,
    record: _Record,
    meter: _Meter,
    is_cancelled: Callable[[], bool],
    workers: int,
) -> None:
    record.values["stages"].pop(stage.name, None)
    record.save(state="running", stage=stage.name)
    record.log("stage started", stage=stage.name)
    reporter = Reporter(stage.name, meter.start(stage, record), is_cancelled)
    start = time.perf_counter()
    reporter.update(0.0, stage.label)
    written = stage.work(Context(session, folder, reporter, workers))
    reporter.update(1.0, stage.label)
    seconds = time.perf_counter() - start
    record.values["stages"][stage.name] = {
        "key": key,
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(measure_peak_memory_mb(), 1),
        "finished": say_now(),
        "outputs": sorted(path.relative_to(folder.path).as_posix() for path in written),
        "warnings": list(dict.fromkeys(reporter.warnings)),
    }
    record.save()
    record.log("stage done", stage=stage.name, seconds=round(seconds, 3))


def _take_over(
    parts: Path,
    folder: RunFolder,
    stage: Stage,
    key: str,
    record: _Record,
    meter: _Meter,
    is_cancelled: Callable[[], bool],
) -> bool:
    """Take a stage over that somebody else did; waits for them no longer than twice what such a one takes."""
    kind = stage.name.partition(":")[0]
    took_s = [
        float(entry["seconds"])
        for name, entry in record.values["stages"].items()
        if name.partition(":")[0] == kind and name != stage.name
    ]
    patience_s = 2.0 * max(took_s, default=_OTHERS_S)
    check = Reporter(stage.name, is_cancelled=is_cancelled).check
    entry = take_part(parts, stage.name, key, folder.path, patience_s, check)
    if entry is None:
        return False
    record.values["stages"][stage.name] = entry
    record.save()
    record.log("stage taken over", stage=stage.name, seconds=entry["seconds"])
    meter.skip(stage, "done by another worker")
    return True


def run_alone(
    session_path: Path,
    name: str,
    out: Path,
    listen: Callable[[RunProgress], None] = lambda progress: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    workers: int = 0,
) -> None:
    """Work one stage of a session, which reads no other's results, into a part (`pipeline.parts`).

    Parameters
    ----------
    session_path : Path
        The session folder.
    name : str
        As ``pose:left``.
    out : Path
        Folder of the part; appears whole.
    listen, is_cancelled, workers
        As for `run_session`.

    Raises
    ------
    RedysError
        In words; also where there is no such stage.
    Cancelled
    """
    session = read_session(session_path)
    stage = next((each for each in list_stages(session) if each.name == name and not each.after), None)
    if stage is None:
        raise SessionError(f"{session.path.name} has no stage {name} that can be worked alone.")
    folder = RunFolder(out.with_name(f".unfinished-{out.name}-{os.getpid()}"))
    folder.path.mkdir(parents=True)
    try:
        record = _Record(folder.path / PART_JSON, {"stages": {}}, folder.log_jsonl)
        key = _make_key(stage, _hash_inputs(session), {})
        meter = _Meter([stage], listen)
        _run_stage(session, folder, stage, key, record, meter, is_cancelled, workers)
        write_part(out, folder.path, record.values["stages"][name])
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


class _Meter:
    """Turns the progress of stages into the progress of the run."""

    def __init__(self, stages: list[Stage], listen: Callable[[RunProgress], None]) -> None:
        self.total = sum(stage.weight for stage in stages)
        self.listen = listen
        self.done = 0.0
        self.skipped = 0.0
        self.started = time.perf_counter()

    def skip(self, stage: Stage, why: str = "unchanged, kept") -> None:
        self.done += stage.weight
        self.skipped += stage.weight
        self._tell(stage, 1.0, f"{stage.label}: {why}", self.done)

    def start(self, stage: Stage, record: _Record) -> Callable[[Progress], None]:
        before = self.done
        self.done += stage.weight
        last_logged = 0.0

        def hear(progress: Progress) -> None:
            nonlocal last_logged
            if progress.warning:
                record.log("warning", stage=stage.name, message=progress.message)
                self._tell(stage, float("nan"), progress.message, before, warning=True)
                return
            now = time.perf_counter()
            if now - last_logged > _LOG_EVERY_S:
                last_logged = now
                record.log("progress", stage=stage.name, fraction=round(progress.fraction, 4))
            self._tell(stage, progress.fraction, progress.message, before + stage.weight * progress.fraction)

        return hear

    def _tell(self, stage: Stage, fraction: float, message: str, done: float, warning: bool = False) -> None:
        worked = done - self.skipped
        elapsed = time.perf_counter() - self.started
        eta = (self.total - done) * elapsed / worked if worked > 0.02 * self.total else float("nan")
        self.listen(RunProgress(stage.name, stage.label, fraction, done / self.total, message, eta, warning))


@contextlib.contextmanager
def lock_folder(folder: RunFolder) -> Iterator[IO[str]]:
    """Hold the run folder alone; the lock goes with the process, however it ends."""
    path = folder.path / ".lock"
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115 - closed below, after the lock
    except OSError as error:
        raise RunFolderError(
            f"The run folder {folder.path} cannot be written to ({error.strerror}).",
            "Choose another folder with --out, or change its permissions.",
        ) from error
    with file:
        # A run that was just killed may hold it a moment longer, by a child that it was starting.
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise RunFolderError(
                    f"Another run is at work in {folder.path}.", "Wait until it ends, or cancel it first."
                )
            time.sleep(0.05)
        yield file


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _open_record(folder: RunFolder, session: Session, stages: list[Stage]) -> _Record:
    """Start ``run.json`` anew, keeping what the stages of an earlier run in this folder left."""
    earlier: dict[str, Any] = {}
    if folder.run_json.is_file():
        earlier = read_json(folder.run_json)
        if not isinstance(earlier, dict):
            raise RunFolderError(
                f"{folder.run_json} is no record of a run.",
                "Delete it to work the session again, or choose a new folder with --out.",
            )
        if earlier.get("schema_version") != SCHEMA_VERSION:
            raise RunFolderError(
                f"{folder.path} was written by another version of the program "
                f"(schema {earlier.get('schema_version')}, this one writes {SCHEMA_VERSION}).",
                "Choose a new folder with --out.",
            )
    names = {stage.name for stage in stages}
    stages_then = earlier.get("stages")
    kept = {
        name: entry
        for name, entry in (stages_then if isinstance(stages_then, dict) else {}).items()
        if name in names and isinstance(entry, dict)
    }
    settings = session.settings.model_dump(mode="json")
    record = _Record(
        folder.run_json,
        {
            "schema_version": SCHEMA_VERSION,
            "state": "running",
            "session": session.path.name,
            "settings": settings,
            "settings_hash": hash_json(settings),
            "versions": list_versions(),
            "models": _list_models(session),
            "inputs": {},
            "plan": [{"name": stage.name, "label": stage.label, "weight": stage.weight} for stage in stages],
            "stages": kept,
            "warnings": [],
            "error": None,
            "started": say_now(),
            "finished": None,
        },
        folder.log_jsonl,
    )
    record.save()
    record.log("started", session=session.path.name)
    return record


def _hash_inputs(session: Session) -> dict[str, str]:
    hashes = {}
    for name, path in session.inputs.items():
        try:
            hashes[name] = hash_file(path)
        except OSError as error:
            raise SessionError(
                f"{name} cannot be read ({error.strerror or error}).",
                "Check that it is a file that may be read, or copy it there again.",
            ) from error
    return hashes


def list_versions() -> dict[str, str]:
    """Versions of what results hang on: the program, Python, packages."""
    versions = {"redys": PROGRAM_VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _list_models(session: Session) -> list[dict[str, Any]]:
    from pipeline.hand.model import load_hand_model

    hand = load_hand_model()
    models = [{"role": "hand model", "name": hand.name, "licence": hand.licence, "sha256": hand.digest}]
    if session.videos:
        from pipeline.pose.registry import describe_models

        models += describe_models(session.settings.detector, session.settings.estimator)
    return models


def read_run(folder: RunFolder) -> dict[str, Any]:
    """``run.json`` of a run folder, its schema version checked.

    Raises
    ------
    RunFolderError
        It is missing, broken, or of another schema.
    """
    values = read_json(folder.run_json)
    if not isinstance(values, dict):
        raise RunFolderError(
            f"{folder.run_json} is no record of a run.", "Run the pipeline again to make it."
        )
    if values.get("schema_version") != SCHEMA_VERSION:
        raise RunFolderError(
            f"{folder.path} has schema {values.get('schema_version')}; this program reads {SCHEMA_VERSION}.",
            "Run the pipeline again on the session.",
        )
    return dict(values)


def measure_peak_memory_mb() -> float:
    """Largest resident memory so far of this process or of one of its children, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) * unit / 1e6


def say_now() -> str:
    """The moment in UTC, as records carry it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
