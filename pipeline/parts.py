"""Stages that somebody else works meanwhile: a process does one alone, and the run takes its files over.

Beside a run folder lies a folder of parts (``--parts``). In it ``pose-left/`` holds the files of the stage
``pose:left`` and ``part.json``, its entry for ``run.json`` with its key; it appears whole. As long as a file
``pose-left.taken`` is touched, somebody is at it. A part whose key is not that of the run is not looked at.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pipeline.errors import RunFolderError
from pipeline.files import read_json, replace_atomically, sync_folder, write_json

PART_JSON: Final = "part.json"

SILENT_S: Final = 15.0
"""Whoever has not touched its mark for so long is taken to be gone, and the run does the stage itself."""

LOOK_EVERY_S: Final = 0.25


def part_path(parts: Path, stage: str) -> Path:
    """The folder of a stage's results."""
    return parts / stage.replace(":", "-")


def mark_path(parts: Path, stage: str) -> Path:
    """The file that is touched while somebody is at the stage."""
    folder = part_path(parts, stage)
    return folder.with_name(folder.name + ".taken")


def write_part(out: Path, run: Path, entry: dict[str, Any]) -> None:
    """Keep the outputs of one stage, which lie in a run folder, as a part; whole or not at all.

    Parameters
    ----------
    out : Path
        `part_path` of the stage; what is there goes.
    run : Path
        The run folder with the files; it is used up.
    entry : dict
        Of ``run.json``: ``key``, ``outputs``, ``seconds``, ``warnings`` and so on.
    """
    write_json(run / PART_JSON, entry)
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    os.replace(run, out)
    sync_folder(out.parent)


def take_part(
    parts: Path, stage: str, key: str, to: Path, patience_s: float, check: Callable[[], None]
) -> dict[str, Any] | None:
    """Take over what somebody has done of a stage; waits while they are at it.

    Parameters
    ----------
    parts : Path
        The folder of parts; it need not be there.
    stage, key : str
        As ``run.json`` has them.
    to : Path
        The run folder.
    patience_s : float
        The longest to wait, in s.
    check : callable
        Called all the time; raises `pipeline.errors.Cancelled` if the run shall stop.

    Returns
    -------
    dict or None
        The stage's entry; None where the run has to work it.
    """
    until = time.monotonic() + patience_s
    while True:
        check()
        entry = _read_entry(part_path(parts, stage), key)
        if entry is not None:
            for name in entry["outputs"]:
                with replace_atomically(to / name) as unfinished:
                    shutil.copyfile(part_path(parts, stage) / name, unfinished)
            return entry
        if not _is_touched(mark_path(parts, stage)) or time.monotonic() > until:
            return None
        time.sleep(LOOK_EVERY_S)


def _read_entry(folder: Path, key: str) -> dict[str, Any] | None:
    path = folder / PART_JSON
    if not path.is_file():
        return None
    try:
        entry = read_json(path)
    except RunFolderError:
        return None
    if not isinstance(entry, dict) or entry.get("key") != key:
        return None
    names = entry.get("outputs")
    whole = isinstance(names, list) and all((folder / str(name)).is_file() for name in names)
    return entry if whole else None


def _is_touched(mark: Path) -> bool:
    try:
        return time.time() - mark.stat().st_mtime < SILENT_S
    except OSError:
        return False
