"""Looking into what comes from outside before it is worked, in a process of its own.

Whatever a crafted video, picture or rig does to its reader, it does it there: with limits on memory, time
and what it may write, without the server's database or keys, and where the system lets us, without a network.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.errors import CalibrationError, RedysError, RunFolderError
from pipeline.files import read_json, write_json
from pipeline.session import VIDEO_SUFFIXES, Checkerboard, read_session
from settings import ROOT

TIME_LIMIT_S = 40.0
"""Twenty to look through a file, and twenty to search a checkerboard; and `BYTES_PER_S` besides."""

BYTES_PER_S = 20e6
"""What a slow disk reads: a file of some GB may take its time."""

MEMORY_LIMIT_BYTES = 900 * 10**6
"""What a reader may fill. Two cores decode 4096 x 2304 in a third of it."""

ADDRESS_LIMIT_BYTES = 8 * 2**30
"""Of address space, most of which a decoder only reserves."""

MOST_CORES = 2
OPEN_FILES_LIMIT = 128
WRITE_LIMIT_BYTES = 2**22
"""Of a file that a reader writes: a rig, or nothing. A file without its notes may be as long as it was."""

MORE_THAN_IT_WAS = 1.25
"""Another container's tables may be longer."""

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


@dataclass(frozen=True)
class Unwritten(Finding):
    """A file could not be written: the server's fault and not the file's, which may be tried again."""


_SECRET: Final = re.compile(
    r"SECRET|TOKEN|PASSWORD|DATABASE_URL|REDIS_URL|ACCESS_KEY|^AWS_|_STORE_", re.IGNORECASE
)
"""Names of surroundings that open a door: a crafted file shall find none of them."""


def drop_secrets(surroundings: Mapping[str, str]) -> dict[str, str]:
    """Surroundings for a process that reads what comes from outside."""
    return {key: value for key, value in surroundings.items() if not _SECRET.search(key)}


def _work_apart(*arguments: str, read_bytes: int = 0) -> subprocess.CompletedProcess[bytes]:
    """``python -m records`` in a process of its own, without the server's database or keys.

    ``read_bytes`` is how much it has to read; it gets the more time.
    """
    with _AT_ONCE:
        return subprocess.run(
            [sys.executable, "-m", "records", *arguments],
            cwd=ROOT,
            env=drop_secrets(os.environ) | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries say as much there as a crafted file makes them
            timeout=_time_limit_s(read_bytes),
            start_new_session=True,
            check=False,
        )


_AT_ONCE = threading.Semaphore(2)
"""Readers of this process that are under way: files arrive together, and decoding takes a core each."""


def _time_limit_s(read_bytes: int) -> float:
    return TIME_LIMIT_S + read_bytes / BYTES_PER_S


_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
"""Flags of unshare(2)."""


def cut_network() -> bool:
    """Take the network away from this process, where the system lets it; whether it is gone.

    FFmpeg is told to read files alone as well (`pipeline.video`); this holds for whatever a reader is made to
    do. In most containers it is not allowed: there the network of the container itself is the border.
    """
    if not sys.platform.startswith("linux"):
        return False
    user, group = os.getuid(), os.getgid()
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(_NEW_NETWORK) == 0:
        return True
    if unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    with contextlib.suppress(OSError):  # who it was, so that it may still write what it is asked to
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _limit(read_bytes: int = 0, write_bytes: int = WRITE_LIMIT_BYTES) -> None:
    """What a reader may take, set before it opens anything."""
    cut_network()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > MOST_CORES:  # a decoder takes as many pictures into memory as it has cores
        os.sched_setaffinity(0, random.sample(cores, MOST_CORES))
    seconds = round(MOST_CORES * _time_limit_s(read_bytes))
    for what, most in (
        (resource.RLIMIT_DATA, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_AS, ADDRESS_LIMIT_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, write_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES_LIMIT),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (value, value))


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


def look_into(
    path: Path,
    name: str,
    kept: Path,
    board: Checkerboard | None = None,
    was_sent: bool = False,
    version: tuple[int, int] | None = None,
) -> Look:
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
    was_sent : bool
        Somebody sent it: the limits for that hold (`pipeline.checks.check_sent`).
    version : (int, int), optional
        Which file it is, in place of its size and time, which change when its notes are taken out.
    """
    status = path.stat()
    size_bytes, changed = version or (status.st_size, status.st_mtime_ns)
    size = [board.columns, board.rows] if board else None
    question = {"size": size_bytes, "changed": changed, "board": size, "name": name}
    with contextlib.suppress(RedysError, KeyError, TypeError, ValueError):
        before = read_json(kept) if kept.is_file() else {}
        if before.get("question") == question:
            return _as_look(before["look"])
    arguments = [] if board is None else ["--board", f"{board.columns}x{board.rows}"]
    arguments += ["--sent"] if was_sent else []
    try:
        # A name may begin as an option does.
        done = _work_apart("look", *arguments, "--", str(path), name, read_bytes=status.st_size)
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


def print_look(path: Path, name: str, board: Checkerboard | None, was_sent: bool = False) -> None:
    """Print what is found as JSON: what the child process does."""
    _limit(path.stat().st_size)
    from pipeline.checks import check_file

    findings = [
        Finding(one.level, _hide(one.what, path, name), _hide(one.advice, path, name))
        for one in check_file(path, name, board is not None, was_sent)
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


# --- what a file tells of place and person -------------------------------------------------------


@dataclass(frozen=True)
class Bare:
    """A file that was written anew without what it told (`pipeline.metadata.Stripped`)."""

    removed: tuple[str, ...]
    sha256_sent: str
    sha256_kept: str
    is_truncated: bool = False


@dataclass(frozen=True)
class ToStrip:
    """A video or picture that was sent, where to write it, and what the person calls it."""

    source: Path
    target: Path
    name: str


def strip(files: Sequence[ToStrip]) -> list[Bare | Finding]:
    """Write what is looked at and heard of files that were sent, and nothing else; or why one is not taken.

    Parameters
    ----------
    files : sequence of ToStrip
        The suffixes say of which kind they are.

    Returns
    -------
    list of Bare or Finding
        One for each file.
    """
    found: list[Bare | Finding] = []
    while len(found) < len(files):
        rest = files[len(found) :]
        found += _strip_some(rest)
        if len(found) < len(files):  # the reader ended at the next one, and begins anew behind it
            found.append(_refuse_strip(files[len(found)]))
    return found


def _strip_some(files: Sequence[ToStrip]) -> list[Bare | Finding]:
    """The same for as many, in their order, as one process comes to."""
    paths = [str(path) for file in files for path in (file.source, file.target)]
    try:
        out = _work_apart("strip", "--", *paths, read_bytes=_count_strip_bytes(files)).stdout
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
    found: list[Bare | Finding] = []
    for file, line in zip(files, out.splitlines(), strict=False):
        try:
            said = json.loads(line)
            if "unwritten" in said:
                found.append(_say_unwritten(file.name, said["unwritten"]))
                continue
            if "what" in said:
                words = (_hide(said[key], file.source, file.name) for key in ("what", "advice"))
                found.append(Finding("error", *words))
                continue
            hashes = (said["sha256_sent"], said["sha256_kept"])
            found.append(Bare(tuple(said["removed"]), *hashes, bool(said["is_truncated"])))
        except (ValueError, TypeError, KeyError):
            break
    return found


def _say_unwritten(name: str, reason: str) -> Unwritten:
    return Unwritten(
        "error",
        f"{name} could not be written on the server ({reason}).",
        "Ask who runs this server whether its disk is full, then try again.",
    )


def _count_strip_bytes(files: Sequence[ToStrip]) -> int:
    """Each file is looked through, copied, compared and hashed."""
    return 4 * sum(file.source.stat().st_size for file in files)


def _refuse_strip(file: ToStrip) -> Finding:
    for left in file.target.parent.glob(f".unfinished-{file.target.stem}-*"):
        left.unlink(missing_ok=True)
    return Finding(
        "error",
        f"{file.name} could not be read to its end within the limits for files that are sent.",
        "It may be damaged, or not be what it says. Convert it to MP4 (H.264), pictures to JPEG.",
    )


def print_stripped(paths: Sequence[Path]) -> None:
    """Write them, and print as a line of JSON each what became of it: what the child process does."""
    files = [
        ToStrip(source, target, source.name) for source, target in zip(paths[::2], paths[1::2], strict=True)
    ]
    longest = max(file.source.stat().st_size for file in files)
    _limit(_count_strip_bytes(files), round(MORE_THAN_IT_WAS * longest) + WRITE_LIMIT_BYTES)
    for file in files:
        print(json.dumps(_strip_one(file)), flush=True)


def _strip_one(file: ToStrip) -> dict[str, Any]:
    from pipeline.checks import check_file
    from pipeline.metadata import MUXERS, strip_picture, strip_video

    try:
        if file.source.suffix.lower() not in MUXERS:
            return asdict(strip_picture(file.source, file.target))
        found = check_file(file.source, file.name, is_take=True, was_sent=True)
        wrong = [one for one in found if one.level == "error"]
        return asdict(wrong[0] if wrong else strip_video(file.source, file.target))
    except RunFolderError as error:  # its words are for who runs a pipeline, and name folders of the server
        return {"unwritten": str(getattr(error.__cause__, "strerror", None) or type(error).__name__)}
    except RedysError as error:
        return {"what": error.what, "advice": error.advice}


# --- a session folder ----------------------------------------------------------------------------


def check_folder(session_folder: Path, was_sent: bool = False) -> tuple[Finding, ...]:
    """Everything worth saying about a session folder, what stops a run first.

    Parameters
    ----------
    session_folder : Path
        The folder.
    was_sent : bool
        As for `look_into`.
    """
    arguments = ["--sent"] if was_sent else []
    size_bytes = sum(path.stat().st_size for path in session_folder.rglob("*") if path.is_file())
    try:
        done = _work_apart("check", *arguments, "--", str(session_folder), read_bytes=size_bytes)
    except subprocess.TimeoutExpired:
        return (
            Finding(
                "error",
                f"The files could not be looked through within {_time_limit_s(size_bytes):.0f} s.",
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


def print_checks(session_folder: Path, was_sent: bool = False) -> None:
    """Print the findings as JSON: what the child process does."""
    _limit(sum(path.stat().st_size for path in session_folder.rglob("*") if path.is_file()))
    print(json.dumps([asdict(finding) for finding in _look_into(session_folder, was_sent)]))


def _look_into(session_folder: Path, was_sent: bool) -> list[Finding]:
    from pipeline.checks import check_session

    try:
        return [
            Finding(check.level, check.what, check.advice)
            for check in check_session(read_session(session_folder), was_sent)
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
        done = _work_apart("convert-rig", "--", str(path), str(out))
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
    _limit(write_bytes=2**25)
    from pipeline.calibration.formats import read_rig_file, write_rig_file

    what, advice = "", ""
    try:
        write_rig_file(out, read_rig_file(path))
    except RedysError as error:
        what, advice = error.what.replace(str(path), path.name), error.advice  # the folder is not theirs
    print(json.dumps({"what": what, "advice": advice}))
