"""Files made to do harm, sent as people send files: whether the server stays up and reads nothing else.

    python -m benchmarks.hostile_uploads [--only video rig photos folder] [--runs 12] [--at-once 3] [--list]

A site of its own is started on a data folder in which another person's recording lies: the canary. Each file
of `benchmarks.hostile_files` is sent by tus, looked into, checked with the form and started, also where the
look says that it is not taken, as somebody does who talks to the server without the page; folders are named
as those on the server are. Runs that begin are followed to their end, as many as ``--runs`` says.

Bars: 0 crashes (answers of 5xx but 507, a server that is gone, errors in its log), 0 reads outside (the
canary is watched for being opened, and sought in every byte that was written or answered; nothing connects
to a port that files name; no file appears elsewhere), every process below 1 GB at its highest, each refusal
a sentence.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import json
import os
import queue
import re
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.hostile_files import SIZE_PX, Hostile, make_files
from benchmarks.served import Answer, Asker, Served, UnexpectedAnswer, find_port
from pipeline.video import VideoWriter
from records import Records

MOST_BYTES = 10**9
LEAST_FILES = 60
TRAP_PORT = 8139
LONGEST_RUN_S = 180.0

MIN_WORDS = 20
"""Letters that a sentence has at least."""
NEEDLE = b"CANARY-4d1c9be07a"

_OPEN_OR_READ = 0x20 | 0x01


@dataclass
class Outcome:
    """What became of one file."""

    file: Hostile
    where: str = "taken"
    words: str = ""
    recording_id: str = ""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Canary:
    """Another person's video: whoever opens it is noticed, and its bytes are sought everywhere."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "front.mp4"
        random = np.random.default_rng(9)
        with VideoWriter(self.path, SIZE_PX, Fraction(30), preset="ultrafast", crf=10) as writer:
            for _ in range(30):
                writer.write(random.integers(0, 255, (SIZE_PX[1], SIZE_PX[0], 3), dtype=np.uint8))
        data = self.path.read_bytes()
        note = len(NEEDLE) + 8
        self.path.write_bytes(data + struct.pack(">I", note) + b"free" + NEEDLE)
        self.needles = (NEEDLE, data[len(data) // 2 : len(data) // 2 + 24])
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        if self._watch < 0 or libc.inotify_add_watch(self._watch, os.fsencode(self.path), _OPEN_OR_READ) < 0:
            raise SystemExit("The canary cannot be watched: this system has no inotify.")

    def was_opened(self) -> bool:
        """Whether anybody opened it since it was made."""
        try:
            return bool(os.read(self._watch, 4096))
        except BlockingIOError:
            return False

    def is_in(self, data: bytes) -> bool:
        """Whether bytes hold anything of it."""
        return any(needle in data for needle in self.needles)


class Trap:
    """A port that files name: whoever connects is counted."""

    def __init__(self) -> None:
        self.count = 0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", TRAP_PORT))
        self._socket.listen()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while True:
            self._socket.accept()[0].close()
            self.count += 1


class Memory:
    """The highest that each process of the site held, by the kernel's own account."""

    def __init__(self, site: Served) -> None:
        self.most: dict[int, tuple[int, str]] = {}
        self._site, self._end = site, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            for process in self._site.processes():
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    command = " ".join(process.cmdline()[1:4])
                except (OSError, psutil.Error):
                    continue
                found = re.search(r"VmHWM:\s+(\d+) kB", status)
                if found:
                    self.most[process.pid] = (int(found[1]) * 1024, command)

    def stop(self) -> None:
        """No more."""
        self._end.set()
        self._thread.join()


# --- one file ------------------------------------------------------------------------------------

_FORM = {
    "new-subject.value": "P-hostile", "new-visit.value": "2026-03-02", "new-task.value": "piano",
    "new-side.value": "right", "new-preset.value": "standard", "new-detector.value": "mediapipe",
    "new-estimator.value": "mediapipe", "new-reference.value": "front", "new-board-columns.value": 9,
    "new-board-rows.value": 6, "new-board-square.value": 25, "new-places.value": "files",
}  # fmt: skip


class Sender:
    """Somebody who sends files to the site."""

    def __init__(self, site: Served, canary: Canary, folders: Path, good: bytes) -> None:
        self.site, self.canary, self.folders, self.good = site, canary, folders, good
        self.asker = Asker(site.port, timeout_s=200.0)
        self.asker.open()
        self.asker.learn()

    def try_file(self, file: Hostile) -> Outcome:
        """Send one, and go as far as the site lets us."""
        outcome, begun = Outcome(file), time.monotonic()
        try:
            work = {"folder": self._folder, "photos": self._photos}.get(file.kind, self._sent)
            work(file, outcome)
        except (OSError, UnexpectedAnswer, KeyError, TypeError, ValueError) as error:
            outcome.faults.append(f"{type(error).__name__}: {error}")
        if outcome.where != "taken":
            self._judge_words(outcome)
        outcome.seconds = time.monotonic() - begun
        return outcome

    def _hear(self, answer: Answer, outcome: Outcome) -> Answer:
        if answer.status >= 500 and answer.status != 507:
            outcome.faults.append(f"status {answer.status}")
        if self.canary.is_in(answer.text.encode("utf-8", "replace")):
            outcome.faults.append("the canary was answered")
        return answer

    def _judge_words(self, outcome: Outcome) -> None:
        words = outcome.words
        if len(words) < MIN_WORDS or "." not in words:
            outcome.faults.append(f"no sentence: {words!r}")
        for wrong in ("Traceback", str(self.site.data), "Errno", "Exception", "<class"):
            if wrong in words:
                outcome.faults.append(f"its words hold {wrong}")

    def _send(self, draft: str, file: Hostile, outcome: Outcome, name: str = "", data: bytes = b"") -> str:
        """Announce and send a file; its address, or nothing where it was refused."""
        data, name = data or file.data, name or file.name
        meta = f"filename {base64.b64encode(name.encode()).decode()}"
        headers = {"Tus_Resumable": "1.0.0", "Upload_Length": str(len(data)), "Upload_Metadata": meta}
        answer = self._hear(self.asker.ask("POST", f"/upload/{draft}", **headers), outcome)
        if answer.status != 201:
            outcome.where, outcome.words = "announced", answer.text
            return ""
        address = answer.headers["Location"]
        answer = self._hear(self.asker.send_piece(address, 0, data), outcome)
        if answer.status != 204:
            outcome.where, outcome.words = "sent", answer.text
            return ""
        return address

    def _sent(self, file: Hostile, outcome: Outcome) -> None:
        draft = self.asker.begin_draft()
        address = self._send(draft, file, outcome)
        if not address:
            return
        files = [_entry(address, file.name, file.kind)]
        if file.kind == "rig":
            beside = self._send(draft, file, outcome, "front.mp4", self.good)
            files.append(_entry(beside, "front.mp4", "video"))
        look = self._hear(self.asker.ask("GET", f"{address}/look"), outcome)
        said = look.json or {"findings": [{"level": "error", "text": look.text}]}
        wrong = [one["text"] for one in said["findings"] if one["level"] == "error"]
        if wrong:
            outcome.where, outcome.words = "looked into", wrong[0]
        elif file.kind == "video":
            self._hear(self.asker.ask("GET", f"{address}/look?columns=9&rows=6"), outcome)
        # Whoever talks to the server without the page goes on all the same.
        self._start(
            {"new-source.value": "upload", "new-files.data": {"draft": draft, "files": files}}, outcome
        )

    def _folder(self, file: Hostile, outcome: Outcome) -> None:
        path = self.folders / uuid.uuid4().hex
        path.mkdir()
        assert file.build is not None
        file.build(path)
        try:
            values = {"new-source.value": "folder", "new-folder.value": str(path)}
            self._hear(self.asker.fire("new-folder.value", values, "new-folder-note"), outcome)
            self._hear(self.asker.ask("GET", f"/look?folder={path}&file=front.mp4"), outcome)
            self._start(values, outcome)
        finally:
            if not outcome.recording_id:
                shutil.rmtree(path)

    def _start(self, values: dict[str, Any], outcome: Outcome) -> None:
        every = {**_FORM, **values}
        check = self._hear(self.asker.fire("new-check.n_clicks", {**every, "new-check.n_clicks": 1}), outcome)
        response = (check.json or {}).get("response", {})
        words = list(_texts(response.get("new-checks", {}).get("children")))
        is_disabled = response.get("new-start", {}).get("disabled", True)
        if is_disabled and outcome.where == "taken":
            outcome.where, outcome.words = "checked", _worst(words)
        checked = response.get("new-checked", {}).get("data")
        if checked is None and "new-files.data" in values:
            checked = {"source": "upload", "draft": values["new-files.data"]["draft"], "folder": None}
        if checked is None or (is_disabled and checked["source"] == "folder"):
            return
        began = self._hear(self.asker.fire(
            "new-start.n_clicks", {"new-start.n_clicks": 1, "new-checked.data": checked}
        ), outcome)  # fmt: skip
        self._note_run(began, outcome)

    def _photos(self, file: Hostile, outcome: Outcome) -> None:
        draft = self.asker.begin_draft("photos")
        address = self._send(draft, file, outcome)
        if not address:
            return
        files = {"draft": draft, "files": [_entry(address, file.name, "photo")]}
        began = self._hear(self.asker.fire("photos-start.n_clicks", {
            "photos-start.n_clicks": 1, "photos-source.value": "upload", "photos-files.data": files,
            "photos-subject.value": "P-hostile", "photos-preset.value": "standard",
            "photos-detector.value": "mediapipe", "photos-estimator.value": "mediapipe",
        }), outcome)  # fmt: skip
        words = list(_texts((began.json or {}).get("response", {}).get("photos-result", {}).get("children")))
        self._note_run(began, outcome)
        if not outcome.recording_id:
            outcome.where, outcome.words = "started", " ".join(words)

    def _note_run(self, began: Answer, outcome: Outcome) -> None:
        found = re.search(r"/(?:recording|photos)/([0-9a-f]{32})", json.dumps(began.json))
        if not found:
            return
        outcome.recording_id = found[1]


def _entry(address: str, name: str, kind: str) -> dict[str, Any]:
    return {"id": address.rsplit("/", 1)[-1], "name": name, "kind": kind, "camera": "front", "complete": True}


def _texts(tree: Any) -> Any:
    """The words of a tree of components."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, list):
        for each in tree:
            yield from _texts(each)
    elif isinstance(tree, dict):
        yield from _texts((tree.get("props") or {}).get("children"))


def _worst(words: list[str]) -> str:
    """What is said of the first problem."""
    for number, each in enumerate(words):
        if "◆" in each and number + 1 < len(words):
            return words[number + 1]
    return " ".join(words)


# --- all of them ---------------------------------------------------------------------------------


def send_all(files: list[Hostile], make: Any, at_once: int, most_s: float) -> list[Outcome]:
    """Every file that is begun in time, by several people at once; in the order in which they were done."""
    end = time.monotonic() + most_s
    waiting: queue.Queue[Hostile] = queue.Queue()
    for file in files:
        waiting.put(file)
    done: list[Outcome] = []

    def work() -> None:
        sender = make()
        while time.monotonic() < end:
            try:
                file = waiting.get_nowait()
            except queue.Empty:
                return
            one = sender.try_file(file)
            done.append(one)
            print(f"{len(done)} of {len(files)}: {_line(one)}", file=sys.stderr, flush=True)

    people = [threading.Thread(target=work) for _ in range(at_once)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    return done


def follow_runs(site: Served, done: list[Outcome], most: int) -> Counter[str]:
    """See runs to their end, and cancel those beyond ``most``; how they ended.

    What was refused and begun all the same, past the page, is always followed: its run has to refuse it too.
    """
    records = Records(site.settings)
    begun = [one for one in done if one.recording_id]
    taken = [one for one in begun if one.where == "taken"]
    try:
        for one in taken[most:]:
            run = records.get_recording(one.recording_id).run
            if run is not None and run.state in ("queued", "running"):
                records.request_cancel(run.id)
        end = time.monotonic() + LONGEST_RUN_S * max(1, min(most + len(begun) - len(taken), len(begun)))
        states: Counter[str] = Counter()
        for one in begun:
            run = records.get_recording(one.recording_id).run
            while run is not None and run.state in ("queued", "running") and time.monotonic() < end:
                time.sleep(0.5)
                run = records.get_recording(one.recording_id).run
            state = "none" if run is None else run.state
            states[state] += 1
            said = "" if run is None else run.error_what
            if state not in ("done", "failed", "cancelled"):
                one.faults.append(f"its run is still {state}")
            if one.where != "taken" and (state != "failed" or len(said) < MIN_WORDS):
                one.faults.append(f"it was refused, and its run is {state}: {said!r}")
            if "should not" in said or "stopped unexpectedly" in said or "Traceback" in said:
                one.faults.append(f"its run failed so: {said}")
        return states
    finally:
        records.close()


def seek(folder: Path, canary: Canary) -> list[str]:
    """Files below a folder that hold something of the canary."""
    found = []
    for path in folder.rglob("*"):
        is_small = path.is_file() and not path.is_symlink() and path.stat().st_size < 2**30
        if is_small and path != canary.path and canary.is_in(path.read_bytes()):
            found.append(str(path.relative_to(folder)))
    return found


def main() -> None:
    """Send, follow, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["video", "rig", "photos", "folder"])
    parser.add_argument("--runs", type=int, default=12, help="runs that are followed to their end")
    parser.add_argument("--at-once", type=int, default=3, help="people who send at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0, help="by default any that is free")
    parser.add_argument("--minutes", type=float, default=60.0, help="no file is begun after so long")
    parser.add_argument("--every", type=int, default=1, help="every so-many-th file only")
    parser.add_argument("--match", default="", help="only files whose name or fault has this")
    parser.add_argument("--list", action="store_true", help="print what became of each")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        raise SystemExit(0 if work(Path(name).resolve(), options) else 1)


def work(folder: Path, options: argparse.Namespace) -> bool:
    """Everything below one folder; whether every bar was met."""
    folders, data = folder / "folders", folder / "data"
    other = data / "sessions" / uuid.uuid4().hex
    for each in (folders, other):
        each.mkdir(parents=True)
    canary, trap = Canary(other), Trap()
    every = list(make_files(folder / "scratch", canary.path, options.seed))
    files = [
        one for one in every[:: options.every]
        if one.kind in options.only and (options.match in one.name or options.match in one.what)
    ]  # fmt: skip
    good = (folder / "scratch" / "plain.mp4").read_bytes()
    site = Served(data, {"REDYS_SESSION_FOLDERS": str(folders), "REDYS_KEEP_FREE_SHARE": "0.01"})
    site.port = options.port or find_port()
    site.environment["REDYS_PORT"] = str(site.port)
    canary.was_opened()
    site.start("app.py")
    memory = Memory(site)
    server = {process.pid for process in site.find("app.py")}
    if not server:
        raise SystemExit(f"The site did not start: {site.log.read_text()[-500:]}")
    try:
        begun = time.monotonic()
        most_s = 60.0 * options.minutes
        done = send_all(files, lambda: Sender(site, canary, folders, good), options.at_once, most_s)
        states = follow_runs(site, done, options.runs)
        seconds = time.monotonic() - begun
        is_up = Asker(site.port).ask("GET", "/health").status == 200
        is_same = server <= {process.pid for process in site.find("app.py")}
        memory.stop()
        opened, held = canary.was_opened(), seek(data, canary)
        # A picture keeps the last part of its name, beside the others of its set.
        away = [path for path in folder.rglob("evil*") if path.parent.parent.parent != data / "sessions"]
        evil = [str(path) for path in [*away, *Path.cwd().glob("evil*")]]
        log = site.log.read_text(errors="replace")
    finally:
        site.kill()
    return report(done, states, memory, seconds, options.list, {
        "the server answers at the end, the same process": is_up and is_same,
        "no error in its log": "Traceback" not in log,
        "the canary was never opened": not opened,
        f"nothing of the canary was written{held or ''}": not held,
        "nobody connected to the trap": trap.count == 0,
        f"no file appeared elsewhere {evil or ''}": not evil,
    })  # fmt: skip


def _line(one: Outcome) -> str:
    name, faults = ascii(one.file.name[-24:]), " ".join(one.faults)
    return (
        f"{one.file.kind:7} {one.where:12} {one.seconds:5.1f} s  {one.file.what[:44]:44} {name:27} "
        f"{one.words[:140]} {faults}"
    )


def report(
    done: list[Outcome],
    states: Counter[str],
    memory: Memory,
    seconds: float,
    whole: bool,
    more: dict[str, bool],
) -> bool:
    """Print what became of them; whether every bar was met."""
    if whole:
        for one in sorted(done, key=lambda one: (one.file.kind, one.where)):
            print(_line(one))
    for one in done:
        for fault in one.faults:
            print(f"FAULT {one.file.kind} {one.file.what} ({one.file.name[-40:]!r}): {fault}")
    kinds, places = Counter(one.file.kind for one in done), Counter(one.where for one in done)
    print(f"{len(done)} files in {seconds:.0f} s: {dict(kinds)}")
    print(f"refused or taken when: {dict(places)}; runs: {dict(states)}")
    print(f"longest with one file: {max(one.seconds for one in done):.1f} s")
    peaks = sorted(memory.most.values(), reverse=True)
    print(f"{len(peaks)} processes; the largest: "
          + ", ".join(f"{size / 1e6:.0f} MB ({command})" for size, command in peaks[:4]))  # fmt: skip
    bars = {
        f"at least {LEAST_FILES} files": len(done) >= LEAST_FILES,
        "no fault with any file": not any(one.faults for one in done),
        "every process below 1 GB": bool(peaks) and peaks[0][0] < MOST_BYTES,
        **more,
    }
    for bar, is_met in bars.items():
        print(f"{'met' if is_met else 'MISSED':7} {bar}")
    return all(bars.values())


if __name__ == "__main__":
    main()
