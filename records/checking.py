"""Looking into what comes from outside before it is worked, in a process of its own.

Whatever a crafted video or rig does to its reader, it does it there: with limits on
memory and time, and without the server's database or keys.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.errors import CalibrationError, RedysError
from pipeline.files import read_json, write_json
from pipeline.session import VIDEO_SUFFIXES, Checkerboard, read_session
from settings import ROOT

TIME_LIMIT_S = 120
MEMORY_LIMIT_BYTES = 8 * 2**30
"""Of address space, most of which a decoder only reserves."""

KEEP_LOOKS_S = 7 * 86_400.0

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


_SECRET: Final = re.compile(r"SECRET|TOKEN|PASSWORD|DATABASE_URL|REDIS_URL|ACCESS_KEY", re.IGNORECASE)
"""Names of surroundings that open a door: a crafted file shall find none of them."""


def drop_secrets(surroundings: Mapping[str, str]) -> dict[str, str]:
    """Surroundings for a process that reads what comes from outside."""
    return {key: value for key, value in surroundings.items() if not _SECRET.search(key)}


def _work_apart(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """``python -m records`` in a process of its own, without the server's database or keys."""
    return subprocess.run(
        [sys.executable, "-m", "records", *arguments],
        cwd=ROOT,
        env=drop_secrets(os.environ) | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIME_LIMIT_S,
        start_new_session=True,
        check=False,
    )


# --- one file, as soon as it is there ------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What a look into one file has found.

    Attributes
    ----------
    findings : tuple of Finding
        What stops a run first.
    picture : str
        A frame as JPEG in base64, with the corners of the checkerboard where one was looked for; empty
        where there is none.
    board : (int, int) or None
        Inner corners (columns, rows) of another checkerboard that seems to be there.
    """

    findings: tuple[Finding, ...]
    picture: str = ""
    board: tuple[int, int] | None = None


_AT_ONCE = threading.Semaphore(2)
"""Looks of this process that are under way: files arrive together, and decoding takes a core each."""


def look_into(path: Path, name: str, kept: Path, board: Checkerboard | None = None) -> Look:
    """What one file is and what is wrong with it; of a checkerboard take, whether the board is found.

    Parameters
    ----------
    path : Path
        A video or a rig, whole; its suffix says which.
    name : str
        What the person calls it.
    kept : Path
        Where what was found is kept, and read the next time while the file is the same.
    board : Checkerboard, optional
        The board to look for.
    """
    status = path.stat()
    size = [board.columns, board.rows] if board else None
    question = {"size": status.st_size, "changed": status.st_mtime_ns, "board": size, "name": name}
    with contextlib.suppress(RedysError, KeyError, TypeError, ValueError):
        before = read_json(kept) if kept.is_file() else {}
        if before.get("question") == question:
            return _as_look(before["look"])
    arguments = [] if board is None else ["--board", f"{board.columns}x{board.rows}"]
    try:
        with _AT_ONCE:
            done = _work_apart("look", *arguments, str(path), name)
        found = json.loads(done.stdout)
        look = _as_look(found)
    except (subprocess.TimeoutExpired, ValueError, TypeError, KeyError):
        return Look((Finding("error", f"{name} could not be looked into.", "It may be damaged."),))
    write_json(kept, {"question": question, "look": found})
    return look


def _as_look(found: dict[str, Any]) -> Look:
    board = found["board"]
    return Look(
        tuple(Finding(**entry) for entry in found["findings"]),
        str(found["picture"]),
        (int(board[0]), int(board[1])) if board else None,
    )


def print_look(path: Path, name: str, board: Checkerboard | None) -> None:
    """Print what is found as JSON: what the child process does."""
    from pipeline.checks import check_file

    _limit()
    findings = [
        Finding(one.level, _hide(one.what, path, name), _hide(one.advice, path, name))
        for one in check_file(path, name, board is not None)
    ]
    picture, guess = b"", None
    if Path(name).suffix.lower() in VIDEO_SUFFIXES and all(one.level != "error" for one in findings):
        try:
            said, picture, guess = _look_at_pictures(path, name, board)
            findings += said
        except RedysError as error:
            findings.append(Finding("error", _hide(error.what, path, name), error.advice))
    found = [asdict(finding) for finding in findings]
    print(json.dumps({"findings": found, "picture": base64.b64encode(picture).decode(), "board": guess}))


def _hide(words: str, path: Path, name: str) -> str:
    """Words with the file's name as the person knows it; where it lies on the server is not theirs."""
    return words.replace(f"{path.parent}/", "").replace(path.name, name)


def _look_at_pictures(
    path: Path, name: str, board: Checkerboard | None
) -> tuple[list[Finding], bytes, tuple[int, int] | None]:
    from pipeline.preview import draw_middle, preview_board, say_board

    if board is None:
        return [], draw_middle(path), None
    preview = preview_board(path, board)
    said = say_board(preview, board, name)
    return [Finding(said.level, said.what, said.advice)], preview.jpeg, preview.guess


def keep_look(data_dir: Path, path: Path) -> Path:
    """Where a look into a file of a server's folder is kept; those of last week's files are forgotten."""
    folder = data_dir / "cache" / "looks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > KEEP_LOOKS_S:
                old.unlink()
    return folder / f"{hashlib.sha256(str(path).encode()).hexdigest()}.json"


# --- a session folder ----------------------------------------------------------------------------


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
