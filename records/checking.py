"""Looking into what comes from outside before it is worked, in a process of its own.

Whatever a crafted video or rig does to its reader, it does it there: with limits on
memory and time, and without the server's database or keys.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import CalibrationError, RedysError
from pipeline.session import read_session
from settings import ROOT

TIME_LIMIT_S = 120
MEMORY_LIMIT_BYTES = 8 * 2**30
"""Of address space, most of which a decoder only reserves."""

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    level : str
        "error" (it will not work), "warning" (it will, but), or "note".
    what : str
        What was found, naming the file or camera.
    advice : str
        What to do; empty if nothing.
    """

    level: Level
    what: str
    advice: str = ""


def _work_apart(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """``python -m records`` in a process of its own, without the server's database or keys."""
    kept = {key: value for key, value in os.environ.items() if key not in ("SECRET_KEY", "DATABASE_URL")}
    return subprocess.run(
        [sys.executable, "-m", "records", *arguments],
        cwd=ROOT,
        env=kept | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIME_LIMIT_S,
        start_new_session=True,
        check=False,
    )


def check_folder(session_folder: Path) -> tuple[Finding, ...]:
    """Everything worth saying about a session folder, what stops a run first."""
    try:
        done = _work_apart("check", str(session_folder))
    except subprocess.TimeoutExpired:
        return (
            Finding(
                "error",
                f"The files could not be looked through within {TIME_LIMIT_S} s.",
                "One of them may be damaged. Try them one at a time.",
            ),
        )
    try:
        found = [Finding(**entry) for entry in json.loads(done.stdout)]
    except (ValueError, TypeError):
        return (
            Finding(
                "error",
                f"Looking through the files failed (exit code {done.returncode}).",
                "One of them may be damaged, or not be a video. Try them one at a time.",
            ),
        )
    return tuple(found)


def print_checks(session_folder: Path) -> None:
    """Print the findings as JSON: what the child process does."""
    _limit()
    print(json.dumps([asdict(finding) for finding in _look_into(session_folder)]))


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT_S, TIME_LIMIT_S))


def _look_into(session_folder: Path) -> list[Finding]:
    from pipeline.checks import check_session

    try:
        return [
            Finding(check.level, check.what, check.advice)
            for check in check_session(read_session(session_folder))
        ]
    except RedysError as error:
        return [Finding("error", error.what, error.advice)]


# --- a rig from elsewhere ------------------------------------------------------------------------


def convert_rig(path: Path, out: Path) -> None:
    """Read a rig of any known format and write it as this program's JSON.

    Raises
    ------
    pipeline.errors.CalibrationError
        It is no rig, or cannot be read; names the file and says why.
    """
    damaged = CalibrationError(
        f"{path.name} could not be read.",
        "It may be damaged. Export the rig again from the program that made it.",
    )
    try:
        done = _work_apart("convert-rig", str(path), str(out))
        said = json.loads(done.stdout)
        what, advice = str(said["what"]), str(said["advice"])
    except (subprocess.TimeoutExpired, ValueError, TypeError, KeyError) as error:
        raise damaged from error
    if what:
        raise CalibrationError(what, advice)
    if done.returncode or not out.is_file():
        raise damaged


def print_conversion(path: Path, out: Path) -> None:
    """Convert, and print as JSON what went wrong: what the child process does."""
    from pipeline.calibration.formats import read_rig_file, write_rig_file

    _limit()
    what, advice = "", ""
    try:
        write_rig_file(out, read_rig_file(path))
    except RedysError as error:
        what, advice = error.what.replace(str(path), path.name), error.advice  # the folder is not theirs
    print(json.dumps({"what": what, "advice": advice}))
