"""How far a run has come, stage by stage and camera by camera, and what it said before it ended.

Read from the run folder, which the pipeline writes: the database holds only where it stands as a whole.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import RedysError
from pipeline.files import read_json
from records.rows import RunRow
from records.supervise import error_path

StepState = Literal["done", "working", "waiting", "stopped"]

LOG_LINES = 12
ERROR_LINES = 30
_TAIL_BYTES = 64_000

_PATH = re.compile(r"(?<![\w.:/-])(?:/[^\s/:'\"()<>,;]+)+/([^\s/:'\"()<>,;]+)")
"""An absolute path; where the server keeps things is nobody's business, but the file's name helps."""


@dataclass(frozen=True)
class Step:
    """One stage of a run.

    Attributes
    ----------
    name, label : str
        The pipeline's name of the stage, and the work in words; a stage of one camera names it.
    state : str
        "done", "working", "waiting", or "stopped" (where a run that has ended came no further).
    fraction : float
        0 to 1 within the stage.
    seconds : float or None
        How long it took; None until it is done, and where an earlier run had done it.
    """

    name: str
    label: str
    state: StepState
    fraction: float
    seconds: float | None


def list_steps(run: RunRow) -> tuple[Step, ...]:
    """The stages of a run in their order; none while it has not begun, or of a run without a plan."""
    record = _read_record(run.folder)
    plan = record.get("plan")
    stages = record.get("stages")
    if not isinstance(plan, list) or not isinstance(stages, dict):
        return ()
    total = sum(float(stage["weight"]) for stage in plan) or 1.0
    steps, before = [], 0.0
    for stage in plan:
        name, share = str(stage["name"]), float(stage["weight"]) / total
        within = min(max((run.fraction - before) / share, 0.0), 1.0) if share else 0.0
        before += share
        entry = stages.get(name)
        # A stage that an earlier run did counts as done only once this run has come past it.
        if isinstance(entry, dict) and run.fraction >= before - 1e-3:
            steps.append(Step(name, str(stage["label"]), "done", 1.0, _seconds(entry)))
        elif name == run.stage and run.state != "queued":
            state: StepState = "working" if run.state == "running" else "stopped"
            steps.append(Step(name, str(stage["label"]), state, within, None))
        else:
            steps.append(Step(name, str(stage["label"]), "waiting", 0.0, None))
    return tuple(steps)


def _seconds(entry: dict[str, Any]) -> float | None:
    seconds = entry.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else None


def _read_record(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(RedysError, OSError):
        record = read_json(folder / "run.json")
        if isinstance(record, dict):
            return record
    return {}


def read_details(run: RunRow) -> str:
    """The last of what a run wrote down and of its error output, without the server's paths; may be empty."""
    lines = [_say_event(line) for line in _tail(run.folder / "log.jsonl", LOG_LINES)]
    errors = _tail(error_path(run.folder), ERROR_LINES)
    parts = [part for part in ("\n".join(filter(None, lines)), "\n".join(errors)) if part]
    return hide_paths("\n\n".join(parts))


def hide_paths(text: str) -> str:
    """A text in which absolute paths are cut down to the last name: ".../front.mp4"."""
    return _PATH.sub(r".../\1", text)


def _tail(path: Path, most: int) -> list[str]:
    """The last whole lines of a text file; none if it is not there."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-most:]


def _say_event(line: str) -> str:
    """A line of the run's log as a person reads it; progress is left out, since the panel shows it."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or event.get("event") == "progress":
        return ""
    rest = [f"{key} {value}" for key, value in event.items() if key not in ("time", "event")]
    moment = str(event.get("time", ""))[11:19]
    return ", ".join([f"{moment} {event.get('event', '')}".strip(), *rest])
