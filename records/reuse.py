"""What a new run need not do again: the parts of the recording's last run that still hold."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from pipeline.errors import RunFolderError
from pipeline.files import read_json, write_json
from pipeline.session import Session, SessionSettings
from pipeline.version import PROGRAM_VERSION

log = logging.getLogger(__name__)


FREE = ("exclude", "subject", "visit", "task")
"""Settings that change nothing before the measures."""


def take_over(earlier: Path, fresh: Path, session: Session | None = None) -> tuple[str, ...]:
    """Give a new run folder what an earlier one has worked out and what may still hold.

    Views and rig always: they take long. The rest up to the fused hand only where the settings before it are
    the same, since a run folder must not hold results of other settings while it is at work. Whether anything
    holds is not decided here: `pipeline.run` compares each stage's key, which contains its settings and the
    hashes of its inputs, and works the stage anew where it differs.

    Parameters
    ----------
    earlier, fresh : Path
        Run folders; ``fresh`` does not exist yet.
    session : Session, optional
        What the new run will work on; a camera that it calls otherwise keeps its view under the new name.

    Returns
    -------
    tuple of str
        Names of the stages that were taken over, as the new run calls them; empty where there was nothing to
        take. A folder that cannot be read costs time, never a run: the log says so.
    """
    from pipeline.results import SCHEMA_VERSION

    try:
        record = read_json(earlier / "run.json")
    except RunFolderError:
        return ()
    if record.get("schema_version") != SCHEMA_VERSION:
        return ()
    holds = _holding_stages(record, session)
    stages = {name: entry for name, entry in record.get("stages", {}).items() if holds(name)}
    outputs = [PurePosixPath(name) for entry in stages.values() for name in entry.get("outputs", ())]
    if not stages or not all(_is_inside(earlier, name) for name in outputs):
        return ()
    named = {} if session is None else _find_renamed(record, session)
    stages, files = _rename_stages(stages, outputs, named)
    try:
        for name, source in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            _link(earlier / source, fresh / name)
        write_json(fresh / "run.json", {**record, "state": "queued", "error": None, "stages": stages})
    except (OSError, RunFolderError):
        log.exception("%s cannot be taken over; the new run starts from nothing", earlier)
        shutil.rmtree(fresh, ignore_errors=True)
        return ()
    return tuple(stages)


def _takes_long(stage: str) -> bool:
    return stage == "calibration" or stage.startswith("pose:")


def _holding_stages(record: dict[str, Any], session: Session | None) -> Callable[[str], bool]:
    """Which stages may be taken: more than the long ones where the settings before them are the same."""
    if session is None or record.get("versions", {}).get("redys") != PROGRAM_VERSION:
        return _takes_long
    try:
        then = SessionSettings.model_validate(record.get("settings", {})).model_dump(mode="json")
    except ValidationError:
        return _takes_long
    now = session.settings.model_dump(mode="json")
    changed = {key for key in now if then[key] != now[key]}
    more: tuple[str, ...] = ()
    if not changed - set(FREE):
        more = ("sound", "sync", "fusion")
    elif not changed & {"reference", "offset_s", "cameras"}:
        more = ("sound",)
    return lambda stage: _takes_long(stage) or stage in more


def _find_renamed(record: dict[str, Any], session: Session) -> dict[str, str]:
    """Cameras that are called otherwise now, the earlier name first: the same file under another name."""
    then = record.get("settings", {}).get("cameras") or {}
    now = session.settings.cameras
    files_then = {then.get(stage[5:], stage[5:]): stage[5:] for stage in record["stages"] if _is_pose(stage)}
    files_now = {now.get(name, name): name for name in session.cameras}
    return {
        files_then[file]: name
        for file, name in files_now.items()
        if file in files_then and files_then[file] != name
    }


def _is_pose(stage: str) -> bool:
    return stage.startswith("pose:")


def _rename_stages(
    stages: dict[str, Any], outputs: list[PurePosixPath], named: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Stages as the new run calls them, and the files: new name, earlier name."""
    files = {str(name): str(name) for name in outputs}
    if not named:
        return stages, files
    renamed: dict[str, Any] = {}
    for stage, entry in stages.items():
        camera = stage.removeprefix("pose:")
        if not _is_pose(stage) or camera not in named:
            # Its file may be one that a camera of now gets.
            if not (_is_pose(stage) and camera in named.values()):
                renamed[stage] = entry
            continue
        own, name = f"views/{camera}.npz", f"views/{named[camera]}.npz"
        warnings = [
            warning.replace(f"Camera {camera}:", f"Camera {named[camera]}:", 1)
            for warning in entry.get("warnings", ())
        ]
        given = sorted(name if each == own else each for each in entry.get("outputs", ()))
        renamed[f"pose:{named[camera]}"] = {**entry, "outputs": given, "warnings": warnings}
    sources = {f"views/{name}.npz": f"views/{camera}.npz" for camera, name in named.items()}
    kept = {name for entry in renamed.values() for name in entry.get("outputs", ())}
    return renamed, {name: sources.get(name, name) for name in kept}


def _is_inside(folder: Path, name: PurePosixPath) -> bool:
    return not name.is_absolute() and ".." not in name.parts and (folder / name).is_file()


def _link(source: Path, target: Path) -> None:
    """Both names for one file, which nobody ever writes into (`pipeline.files` replaces); else a copy."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
