"""A run's numbers as files of other programs: written on demand by a process of its own, kept for a day.

The web process loads none of the formats' libraries: it starts ``python -m pipeline export`` and looks
whether it has ended. What stands on disk is the truth, so that any web process answers for any other.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.export.formats import EXPORT_VERSION, FORMATS
from pipeline.files import hash_file, hash_json, read_json, write_json
from pipeline.version import PROGRAM_VERSION
from records.checking import drop_secrets
from records.errors import NotFound
from settings import ROOT

if TYPE_CHECKING:
    from records.service import Records

log = logging.getLogger(__name__)

AT_ONCE_S = 1.5
"""What is written within this time is given at once, without a page that says to wait."""

AT_MOST = 2
"""So many are written at a time: each may take a gigabyte of memory."""

ELSEWHERE_S = 600.0
"""A process of another machine cannot be asked; after this long it is taken for dead."""

KEEP_S = 24 * 3600
DEIDENTIFIED = "-deidentified"
_NAME = re.compile(rf"(?P<format>[a-z0-9]+)(?P<deidentified>{DEIDENTIFIED})?\.zip")


@dataclass(frozen=True)
class Export:
    """How one export stands.

    Attributes
    ----------
    state : "ready" | "working" | "failed"
    name : str
        The file's name in addresses: "c3d.zip", "c3d-deidentified.zip".
    title : str
        The format in plain words.
    recording_id : str
        Whose run it is of.
    path : Path
        The file, where it is or will be.
    what, advice : str
        Why it failed, and what to do.
    """

    state: Literal["ready", "working", "failed"]
    name: str
    title: str
    recording_id: str
    path: Path
    what: str = ""
    advice: str = ""


def name_export(format_id: str, deidentified: bool = False) -> str:
    """The file's name in addresses."""
    return f"{format_id}{DEIDENTIFIED if deidentified else ''}.zip"


class Exports:
    """The exports of one data folder.

    Parameters
    ----------
    records : Records
        Where the runs are.
    command : callable, optional
        ``command(run_folder, format_id, deidentified, out) -> list of str``: the process that writes one.
    """

    def __init__(
        self, records: Records, command: Callable[[Path, str, bool, Path], Sequence[str]] | None = None
    ) -> None:
        self._records = records
        self.command = command or export_command
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        self._deciding = threading.Lock()  # two requests at once would both begin the same file

    def prepare(self, run_id: str, name: str, again: bool = False, wait_s: float = AT_ONCE_S) -> Export:
        """Give an export if it is there; else have it written, and say how that stands.

        Parameters
        ----------
        run_id : str
            A finished run.
        name : str
            As `name_export` makes it.
        again : bool
            Whether one that failed is tried again; else its failure is told.
        wait_s : float
            How long to wait for one that was just started.

        Raises
        ------
        NotFound
            There is no such run or format, or the run is not finished.
        pipeline.errors.RunFolderError
            The run's record or the data folder cannot be read or written.
        """
        found, asked = self._find(run_id, name)
        return self.see_to(found, lambda: self.command(*asked, found.path), again, wait_s)

    def see_to(
        self, found: Export, command: Callable[[], Sequence[str]], again: bool, wait_s: float = AT_ONCE_S
    ) -> Export:
        """Give a file, or a folder, if it is there; else have it made by a process of its own.

        Parameters
        ----------
        found : Export
            As if at work; its ``path`` lies where `folder_of` says, or beside those.
        command : callable
            The process, asked for when it is to start.
        again, wait_s
            As `prepare` has them.
        """
        with self._deciding:
            standing = self._look(found)
            if standing is not None and (standing.state != "failed" or not again):
                return standing
            self._sweep()
            if self._count_working() >= AT_MOST:
                return found
            child = self._start(found.path, command)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=wait_s)
        return self._look(found) or found

    def look(self, run_id: str, name: str) -> Export | None:
        """How an export stands, without beginning it; None where nobody has. Raises as `prepare` does."""
        return self._look(self._find(run_id, name)[0])

    def _find(self, run_id: str, name: str) -> tuple[Export, tuple[Path, str, bool]]:
        """An export as if at work, and what its process is told: run folder, format, de-identified."""
        matched = _NAME.fullmatch(name)
        if matched is None or matched["format"] not in FORMATS:
            raise NotFound("There is no such file.", "The address may be mistyped.")
        run = self._records.get_run(run_id)
        if run.state != "done":
            raise NotFound("This run is not finished.", "Its numbers can be taken away when it is.")
        path = self.folder_of(run_id, run.folder) / name
        found = Export("working", name, FORMATS[matched["format"]].title, run.recording_id, path)
        return found, (self._records.open_run(run_id).path, matched["format"], bool(matched["deidentified"]))

    def folder_of(self, run_id: str, run_folder: Path, *more: str) -> Path:
        """Where the exports of a run as it is now are: a run that is worked again gets others.

        ``more`` is what they hang on besides.
        """
        record = run_folder / "run.json"
        told = [hash_file(record) if record.is_file() else "", EXPORT_VERSION, PROGRAM_VERSION, *more]
        return self.root / run_id / hash_json(told)[:16]

    @property
    def root(self) -> Path:
        """Where all of them are: a folder for each run, and in it one for each of its versions."""
        return self._records.settings.data_dir.resolve() / "cache" / "exports"

    def _look(self, export: Export) -> Export | None:
        """How an export stands by what is on disk; None where nobody has begun it."""
        # First the process, then what it makes: one that ends in between has left that.
        claim = _claim_path(export.path)
        begun = read_json(claim) if claim.is_file() else None
        living = begun is not None and _is_at_work(begun)
        if export.path.exists():
            return _with_state(export, "ready")
        if begun is None:
            return None
        return export if living else _explain(export, self._say_end(export.path))

    def _start(self, out: Path, command: Callable[[], Sequence[str]]) -> subprocess.Popen[bytes]:
        from records.supervise import environment, host_name, process_started

        out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(_said_path(out), "wb") as said:
            child = subprocess.Popen(
                list(command()),
                cwd=ROOT,
                env=drop_secrets(environment(self._records.settings)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = process_started(child.pid) or time.time()
        write_json(_claim_path(out), {"host": host_name(), "pid": child.pid, "started": started})
        self._children[out] = child
        return child

    def _count_working(self) -> int:
        """How many this process has at work; those that have ended are let go, except failures still told."""
        self._children = {
            out: child
            for out, child in self._children.items()
            if child.poll() is None or (_claim_path(out).is_file() and not out.exists())
        }
        return sum(child.returncode is None for child in self._children.values())

    def _say_end(self, out: Path) -> str:
        child = self._children.get(out)
        code = None if child is None else child.poll()
        return "of another server process, exit code not known" if code is None else f"exit code {code}"

    def _sweep(self) -> None:
        """Remove exports where none was written for a day."""
        for folder in self.root.glob("*/*"):
            with contextlib.suppress(OSError):  # another process may be sweeping, too
                if time.time() - folder.stat().st_mtime > KEEP_S:
                    shutil.rmtree(folder)


def export_command(run_folder: Path, format_id: str, deidentified: bool, out: Path) -> list[str]:
    """The process that writes one export."""
    arguments = ["export", str(run_folder), "--format", format_id, "--out", str(out), "--json-progress"]
    return [sys.executable, "-m", "pipeline", *arguments, *(["--deidentify"] if deidentified else [])]


def _claim_path(out: Path) -> Path:
    """Which process writes an export."""
    return out.with_name(f"{out.name}.claim.json")


def _is_at_work(claim: dict[str, Any]) -> bool:
    """Whether the process that claimed an export lives; of another machine's, whether it still may."""
    from records.supervise import host_name, is_process

    if claim["host"] != host_name():
        return bool(time.time() - claim["started"] < ELSEWHERE_S)
    return is_process(claim["pid"], claim["started"])


def _said_path(out: Path) -> Path:
    """What that process said."""
    return out.with_name(f"{out.name}.said.jsonl")


def _with_state(
    export: Export, state: Literal["ready", "failed"], what: str = "", advice: str = ""
) -> Export:
    return Export(state, export.name, export.title, export.recording_id, export.path, what, advice)


def _explain(export: Export, end: str) -> Export:
    """An export whose process has ended without it, with what the process said of that."""
    with contextlib.suppress(OSError):
        lines = _said_path(export.path).read_text(encoding="utf-8", errors="replace").splitlines()
        for line in reversed(lines):
            with contextlib.suppress(ValueError, AttributeError):
                said = json.loads(line)
                if said.get("type") == "error":
                    return _with_state(export, "failed", str(said["what"]), str(said["advice"]))
        log.error("export %s ended without a word (%s): %s", export.path, end, os.linesep.join(lines[-20:]))
    return _with_state(
        export,
        "failed",
        "The file could not be written.",
        "Try again; if it fails again, the server's log says why.",
    )
