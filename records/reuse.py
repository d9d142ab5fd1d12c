"""What a new run need not do again: the parts of the recording's last run that take long."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path, PurePosixPath

from pipeline.errors import RunFolderError
from pipeline.files import read_json, write_json

log = logging.getLogger(__name__)


def take_over(earlier: Path, fresh: Path) -> tuple[str, ...]:
    """Give a new run folder the cameras' views and the rig of an earlier one.

    Whether they still hold is not decided here: `pipeline.run` compares each stage's key, which contains its
    settings and the hashes of its inputs, and works the stage anew where it differs. Later stages are
    left out, since a run folder must not hold results of other settings while it is at work.

    Parameters
    ----------
    earlier, fresh : Path
        Run folders; ``fresh`` does not exist yet.

    Returns
    -------
    tuple of str
        Names of the stages that were taken over; empty where there was nothing to take. A folder that cannot
        be read costs time, never a run: the log says so.
    """
    from pipeline.results import SCHEMA_VERSION

    try:
        record = read_json(earlier / "run.json")
    except RunFolderError:
        return ()
    if record.get("schema_version") != SCHEMA_VERSION:
        return ()
    stages = {name: entry for name, entry in record.get("stages", {}).items() if _takes_long(name)}
    outputs = [PurePosixPath(name) for entry in stages.values() for name in entry.get("outputs", ())]
    if not stages or not all(_is_inside(earlier, name) for name in outputs):
        return ()
    try:
        for name in outputs:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            _link(earlier / name, fresh / name)
        write_json(fresh / "run.json", {**record, "state": "queued", "error": None, "stages": stages})
    except (OSError, RunFolderError):
        log.exception("%s cannot be taken over; the new run starts from nothing", earlier)
        shutil.rmtree(fresh, ignore_errors=True)
        return ()
    return tuple(stages)


def _takes_long(stage: str) -> bool:
    return stage == "calibration" or stage.startswith("pose:")


def _is_inside(folder: Path, name: PurePosixPath) -> bool:
    return not name.is_absolute() and ".." not in name.parts and (folder / name).is_file()


def _link(source: Path, target: Path) -> None:
    """Both names for one file, which nobody ever writes into (`pipeline.files` replaces); else a copy."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
