"""Kill -9 at random moments: what was answered stays, nothing half is seen, and work goes on.

    python -m benchmarks.kills [--moments 200] [--only upload run ...] [--seed 0] [--folder FOLDER]

Real sites are served (gunicorn with two processes, and ``app.py``) and asked over HTTP; moments are drawn
evenly over the time that each part takes without a kill. After each the site is started again and looked at.

upload      pieces of files by tus; whole tree or one server process
intake      look, check and start of a new recording
run         the pipeline on a short recording: everything, supervisor, server, pipeline, one of its workers
export      a run's numbers as files of other programs
migration   every table filled at the first revision that has it, brought to the newest; SQLite and PostgreSQL
backup      a backup of a data folder, and its restore
changes     corrections, marks, scores, share links, sets of pictures, by a process that says what is done

Bars: 0 lost of what was acknowledged, 0 half-visible recordings, every run completes, audit and database
whole, no process left behind. Exits with 1 on any failure.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, inspect, select, text

from benchmarks.served import (
    PIECE_BYTES,
    Asker,
    Cluster,
    Served,
    Server,
    UnexpectedAnswer,
    find_port,
    own_cluster,
    wait_for,
)
from pipeline.files import hash_file, read_json
from records import Records, models
from settings import ROOT, Settings

SHARES = {"upload": 36, "intake": 24, "run": 50, "export": 36, "migration": 28, "backup": 10, "changes": 16}
"""Of 200 moments."""

LONGEST_RUN_S = 600.0
SAME_MM = 1e-3
"""Sums in another order differ in the last bit of a float32, 6e-5 mm at half a metre."""

CUT = (OSError, http.client.HTTPException)


@dataclass
class Result:
    """What came of one part."""

    part: str
    moments: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, what: str) -> None:
        """Note a failure, at once."""
        self.failures.append(what)
        print(f"  {self.part}: FAILED after {self.moments} kills: {what}", flush=True)

    def require(self, holds: object, what: str) -> bool:
        """Note a failure unless something holds."""
        if not holds:
            self.fail(what)
        return bool(holds)


@dataclass(frozen=True)
class Made:
    """What all parts work with: a made session, and what the pipeline makes of it without a kill."""

    session: Path
    run: Path
    run_s: float


# --- what must hold after every kill -------------------------------------------------------------


@contextlib.contextmanager
def look_at(settings: Settings) -> Iterator[Records]:
    """The records of a data folder, from outside."""
    records = Records(settings)
    try:
        yield records
    finally:
        records.close()


def check_database(result: Result, url: str) -> None:
    """SQLite's own checks; PostgreSQL's rows are held by its constraints."""
    engine = create_engine(url)
    with engine.connect() as connection:
        if url.startswith("sqlite"):
            said = connection.execute(text("PRAGMA integrity_check")).scalar()
            result.require(said == "ok", f"integrity_check says {said}")
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
            result.require(not broken, f"foreign keys are broken: {broken[:3]}")
    engine.dispose()


def check_records(result: Result, settings: Settings) -> None:
    """The database is whole, the audit unbroken, and every recording that can be seen can be opened."""
    check_database(result, settings.effective_database_url)
    with look_at(settings) as records:
        records.audit.verify()
        page = records.list_recordings(limit=10_000)
        for row in page.rows:
            check_recording(result, records, row.id)
    check_no_halves(result, settings.data_dir)


def check_recording(result: Result, records: Records, recording_id: str) -> None:
    """A recording's folder reads as a session, and its report as a report."""
    from pipeline.session import read_session

    row = records.get_recording(recording_id)
    try:
        session = read_session(row.folder)
        result.require(session.videos, f"{row.folder.name} has no videos")
        if row.report_run_id is not None:
            result.require(records.read_summary(row.report_run_id), f"run {row.report_run_id} has no summary")
    except Exception as error:  # each is a recording that is seen and is not whole
        result.fail(f"recording {recording_id} is seen and not whole: {error}")


def check_no_halves(result: Result, data: Path) -> None:
    """What has its final name is whole: JSON reads, archives open, and no link leads nowhere."""
    for path in data.rglob("*"):
        if path.name.startswith(".") or "incoming" in path.parts or not path.is_file():
            continue
        with contextlib.suppress(FileNotFoundError):
            if path.suffix == ".json":
                try:
                    json.loads(path.read_text(encoding="utf-8"))
                except ValueError:
                    result.fail(f"{path} is half written")
            elif path.suffix == ".npz" or path.name.endswith(".zip"):
                result.require(zipfile.is_zipfile(path), f"{path} is half written")


def check_nobody_left(result: Result, site: Served) -> None:
    """When the site is stopped and its work has ended, no process of it lives."""
    wait_for(lambda: not site.processes(), 15)
    left = [" ".join(each.cmdline())[-80:] for each in site.processes()]
    result.require(not left, f"processes are left behind: {left}")


class Timer:
    """Does something once after some seconds, unless it is called off; whether it was done."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self.begun, self.done = threading.Event(), threading.Event()
        self._acting = threading.Lock()
        self._off = False
        self._act = act
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def _fire(self) -> None:
        with self._acting:
            if not self._off:
                self.begun.set()
                self._act()
                self.done.set()

    def settle(self) -> bool:
        """Call it off, or wait for it if it has begun."""
        with self._acting:
            self._off = True
        self._timer.cancel()
        return self.done.is_set()


# --- uploads and intake --------------------------------------------------------------------------


@dataclass
class Flow:
    """One recording on its way in, as the browser remembers it over every cut."""

    files: dict[str, bytes]
    draft: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    checked: dict[str, Any] | None = None
    place: str = ""

    @property
    def is_sent(self) -> bool:
        """Whether every byte was acknowledged."""
        return all(self.acknowledged.get(name) == len(data) for name, data in self.files.items())


class Intake:
    """Recordings that are sent and started, again and again, while the site is killed under them."""

    def __init__(self, part: str, made: Made, folder: Path, moments: int, rng: random.Random) -> None:
        self.result = Result(part)
        self.made, self.moments, self.rng = made, moments, rng
        self.site = Served(folder / part / "data")
        self.asker = Asker(self.site.port)
        self.seconds: list[float] = []
        self.flows: list[Flow] = []
        self.whole: dict[str, str] = {}

    def work(self) -> Result:
        """Until there were so many kills."""
        self._start()
        try:
            self._carry(None)  # how long it takes without a kill
            while self.result.moments < self.moments:
                self._carry(self._draw())
            self._check_all()
        finally:
            self.site.stop()
        check_nobody_left(self.result, self.site)
        return self.result

    def _start(self) -> None:
        server: Server = self.rng.choice(("gunicorn", "app.py"))
        self.site.start(server)
        self.result.kinds[f"on {server}"] += 1
        self.asker = Asker(self.site.port)
        self.asker.open()
        self.asker.learn()

    def _draw(self) -> float:
        return self.rng.uniform(0, float(np.median(self.seconds)))

    def _make_flow(self) -> Flow:
        files = {}
        for name in ("front", "left"):
            files[f"{name}.mp4"] = (self.made.session / f"{name}.mp4").read_bytes()
        if self.result.part == "upload":  # longer, of which the pipeline knows nothing
            files["right.mp4"] = self.rng.randbytes(24 * 2**20)
        flow = Flow(files)
        if self.result.part == "intake":
            self._send(flow)
        return flow

    def _carry(self, first_s: float | None) -> None:
        """One recording from beginning to end, with a kill or more on the way."""
        flow = self._make_flow()
        kill_s, spent, tries = first_s, 0.0, 0
        while True:
            tries += 1
            begun = time.monotonic()
            timer = None if kill_s is None else Timer(kill_s, self._kill)
            finished = False
            try:
                self._send(flow)
                if self.result.part == "intake":
                    self._take_in(flow)
                finished = True
            except (*CUT, UnexpectedAnswer) as error:
                unexpected = isinstance(error, UnexpectedAnswer)
                if timer is None or (unexpected and not wait_for(timer.begun.is_set, 2)):
                    self.result.fail(f"without a kill: {error!r}")
                    return
            killed = timer is not None and timer.settle()
            spent += time.monotonic() - begun
            if killed:
                self.result.moments += 1
                self._recover(flow)
            if finished:
                break
            if tries > 20:
                self.result.fail("twenty tries were not enough")
                return
            more = self.result.moments < self.moments and self.rng.random() < 0.5
            kill_s = self._draw() if more else None
        if first_s is None:
            self.seconds.append(spent)
        self.flows.append(flow)
        self._end(flow)

    def _send(self, flow: Flow) -> None:
        flow.draft = flow.draft or self.asker.begin_draft()
        for name, data in flow.files.items():
            if name not in flow.addresses:
                flow.addresses[name] = self.asker.begin_file(flow.draft, name, len(data))
                flow.acknowledged[name] = 0
            place = self.asker.find_offset(flow.addresses[name])
            self.result.require(
                place >= flow.acknowledged[name],
                f"{name}: {place} bytes are there and {flow.acknowledged[name]} were acknowledged",
            )
            while place < len(data):
                answer = self.asker.send_piece(flow.addresses[name], place, data[place : place + PIECE_BYTES])
                if answer.status == 423:  # the process that was cut off has not let go yet
                    time.sleep(0.05)
                    place = self.asker.find_offset(flow.addresses[name])
                    continue
                if answer.status != 204:
                    raise UnexpectedAnswer(f"{answer.status} {answer.text}")
                place = int(answer.headers["Upload-Offset"])
                flow.acknowledged[name] = place

    def _take_in(self, flow: Flow) -> None:
        for name in flow.files:
            looked = self.asker.ask("GET", f"{flow.addresses[name]}/look")
            if looked.status != 200:
                raise UnexpectedAnswer(f"look: {looked.status} {looked.text[:200]}")
        if flow.checked is None:
            flow.checked = self._check(flow)
        if not flow.place:
            values = {"new-start.n_clicks": 1, "new-checked.data": flow.checked, "tray-tick.n_intervals": 1}
            said = self.asker.fire("new-start.n_clicks", values, "location.href").json
            place = ((said or {}).get("response", {}).get("location") or {}).get("href")
            if not place:
                flow.checked = None  # a person presses Check again, as the page says
                raise UnexpectedAnswer(f"start: {json.dumps(said)[:400]}")
            flow.place = place

    def _check(self, flow: Flow) -> dict[str, Any]:
        files = [
            {"id": address.rsplit("/", 1)[1], "name": name, "kind": "video", "camera": name.split(".")[0],
             "complete": True, "board": None}
            for name, address in flow.addresses.items()
        ]  # fmt: skip
        values = {
            "new-check.n_clicks": 1, "new-source.value": "upload", "new-subject.value": "P-1",
            "new-files.data": {"draft": flow.draft, "files": files}, "new-side.value": "right",
            "new-places.value": "hand", "new-preset.value": "minimal", "new-task.value": "piano",
            "new-detector.value": "mediapipe", "new-estimator.value": "mediapipe",
            "new-visit.value": "2026-03-02", "new-reference.value": "front",
        }  # fmt: skip
        said = self.asker.fire("new-check.n_clicks", values, "new-checks").json
        checked = ((said or {}).get("response", {}).get("new-checked") or {}).get("data")
        if not checked:
            raise UnexpectedAnswer(f"check: {json.dumps(said)[:600]}")
        return dict(checked)

    def _kill(self) -> None:
        processes = self.site.find("gunicorn")
        if len(processes) > 1 and self.rng.random() < 0.25:
            workers = [each for each in processes if each.ppid() in {one.pid for one in processes}]
            self.result.kinds["one server process"] += 1
            self.site.kill_one(self.rng.choice(workers or processes))
            return
        self.result.kinds["everything"] += 1
        self.site.kill()

    def _recover(self, flow: Flow) -> None:
        if not self.site.is_up or not self.site.processes():
            self.site.kill()
            self._start()
        else:
            wait_for(lambda: len(self.site.find("gunicorn")) >= 3, 20)
        with look_at(self.site.settings) as records:
            seen = records.list_recordings(limit=10_000)
            for row in seen.rows:
                check_recording(self.result, records, row.id)
                self._compare(row.folder)

    def _compare(self, folder: Path) -> None:
        """Files are what came of the same ones without a kill: what they tell of places is taken out."""
        for path in sorted(folder.glob("*.mp4")):
            digest = hash_file(path)
            whole = self.whole.setdefault(path.name, digest)
            self.result.require(digest == whole, f"{folder.name}/{path.name} is not what was sent")

    def _end(self, flow: Flow) -> None:
        if self.result.part == "upload":
            for name, address in flow.addresses.items():
                part = self.site.data / "incoming" / flow.draft / f"{address.rsplit('/', 1)[1]}.part"
                same = hash_file(part) == hashlib.sha256(flow.files[name]).hexdigest()
                self.result.require(same, f"{name} did not arrive as it was sent")
                self.asker.ask("DELETE", address, Tus_Resumable="1.0.0")
            self.result.figures["files whole"] += len(flow.addresses)
            return
        with look_at(self.site.settings) as records:
            found = [
                row for row in records.list_recordings(limit=10_000).rows if flow.draft == row.folder.name
            ]
            if self.result.require(len(found) == 1, f"{flow.draft} is {len(found)} recordings"):
                self._compare(found[0].folder)
                runs = records.list_runs(found[0].id)
                self.result.require(len(runs) == 1, f"{flow.draft} has {len(runs)} runs")
                self.result.require(f"/recording/{found[0].id}" == flow.place, "another recording was shown")
                for run in runs:  # what becomes of it is the part "run"
                    records.request_cancel(run.id)
                    wait_for(lambda run=run: not records.get_run(run.id).is_live, 60)
        self.result.figures["recordings whole"] += 1

    def _check_all(self) -> None:
        check_records(self.result, self.site.settings)
        with look_at(self.site.settings) as records:
            there = {row.id for row in records.list_recordings(limit=10_000).rows}
        lost = [flow.place for flow in self.flows if flow.place and flow.place.rsplit("/", 1)[1] not in there]
        self.result.require(not lost, f"acknowledged recordings are lost: {lost}")


# --- runs ----------------------------------------------------------------------------------------

VICTIMS = ("everything", "everything", "everything", "supervisor", "server", "pipeline", "a worker of it")


class Runs:
    """Runs of the pipeline that are killed on their way."""

    def __init__(self, made: Made, folder: Path, moments: int, rng: random.Random) -> None:
        self.result = Result("run")
        self.made, self.moments, self.rng = made, moments, rng
        self.site = Served(folder / "run" / "data")
        self.records = Records(self.site.settings)
        self.folder = folder / "run"
        self._number = 0

    def work(self) -> Result:
        """Until there were so many kills."""
        self.site.start()
        try:
            while self.result.moments < self.moments and len(self.result.failures) < 5:
                self._carry(self.rng.randint(1, 4))
            check_records(self.result, self.site.settings)
        finally:
            self.records.close()
            self.site.stop()
        check_nobody_left(self.result, self.site)
        return self.result

    def _carry(self, kills: int) -> None:
        self._number += 1
        session = self.folder / f"session-{self._number}"
        shutil.copytree(self.made.session, session)
        row = self.records.add_recording(session)
        run = self.records.submit_run(row.id)
        call_supervisor_apart(self.site, run.id)
        for _ in range(min(kills, self.moments - self.result.moments)):
            until = time.monotonic() + self.rng.uniform(0, self.made.run_s)
            while time.monotonic() < until and self.records.get_run(run.id).is_live:
                time.sleep(0.05)
            if not self.records.get_run(run.id).is_live:
                break
            if self._kill(run.id):
                self.result.moments += 1
            self._recover(run.id)
        ended = wait_for(lambda: self._has_ended(run.id), LONGEST_RUN_S, 0.2)
        self._check(run.id, ended)

    def _kill(self, run_id: str) -> bool:
        victim = self.rng.choice(VICTIMS)
        pipelines = self.site.find("pipeline", "run")
        mains = [each for each in pipelines if run_id in " ".join(each.cmdline())]
        if victim == "everything":
            self.site.kill()
        elif victim == "server":
            for each in self.site.find("gunicorn"):
                self.site.kill_one(each)
        else:
            workers = [
                child for main in mains for child in main.children() if "spawn" in " ".join(child.cmdline())
            ]
            chosen = {"supervisor": self.site.find("supervise"), "pipeline": mains, "a worker of it": workers}
            if not chosen[victim]:
                return False
            self.site.kill_one(self.rng.choice(chosen[victim]))
        self.result.kinds[victim] += 1
        return True

    def _recover(self, run_id: str) -> None:
        with contextlib.suppress(Exception):
            self.records.engine.dispose()
        row = self.records.get_recording(self.records.get_run(run_id).recording_id)
        if row.report_run_id is not None:
            record = read_json(self.records.get_run(row.report_run_id).folder / "run.json")
            self.result.require(record["state"] == "done", "a report is seen of a run that is not done")
        if not self.site.find("gunicorn"):
            self.site.start(self.rng.choice(("gunicorn", "app.py")))

    def _has_ended(self, run_id: str) -> bool:
        run = self.records.get_run(run_id)
        if run.state == "failed" and (
            "ended from outside" in run.error_what or "unexpectedly" in run.error_what
        ):
            # The pipeline alone was killed; the page says so, and a person presses "Go on where it stopped".
            self.result.figures["went on by the button"] += 1
            self.records.retry(run_id)
            call_supervisor_apart(self.site, run_id)
            return False
        return not run.is_live

    def _check(self, run_id: str, ended: bool) -> None:
        run = self.records.get_run(run_id)
        if not self.result.require(
            ended and run.state == "done", f"run {run_id} is {run.state}: {run.error_what}"
        ):
            return
        self.result.figures["runs completed"] += 1
        try:
            compare_runs(self.result, self.made.run, run.folder)
        except Exception as error:
            self.result.fail(f"run {run_id} is not whole: {error!r}")
        left = [path.name for path in run.folder.rglob(".unfinished-*")]
        self.result.require(not left, f"unfinished files are left: {left}")


def call_supervisor_apart(site: Served, run_id: str) -> None:
    """As the background job of the page does, in the site's surroundings."""
    code = "import sys; from records import get_records; from records.supervise import call_supervisor; "
    code += "call_supervisor(get_records().settings, sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, run_id], cwd=ROOT, env=site.environment, check=True)


def compare_runs(result: Result, wanted: Path, found: Path) -> None:
    """A run that was interrupted gives the numbers of one that was not."""
    before, after = read_json(wanted / "run.json"), read_json(found / "run.json")
    result.require(after["state"] == "done", f"{found.name}: run.json says {after['state']}")
    for stage, entry in before["stages"].items():
        missing = [name for name in entry["outputs"] if not (found / name).is_file()]
        result.require(not missing, f"{found.name}: {stage} lacks {missing}")
        result.require(after["stages"][stage]["outputs"] == entry["outputs"], f"{stage} wrote other files")
    with np.load(wanted / "hand_right.npz") as one, np.load(found / "hand_right.npz") as other:
        far = np.nanmax(np.abs(one["joints_mm"] - other["joints_mm"]))
    result.require(far < SAME_MM, f"{found.name}: joints differ by {far} mm")
    import av

    with av.open(str(found / "web" / "mosaic.mp4")) as video:
        result.require(sum(1 for _ in video.decode(video=0)) > 0, f"{found.name}: no video")


# --- exports -------------------------------------------------------------------------------------

EXPORTS = ("csv", "parquet", "c3d", "glb", "nwb", "bids")


class Exports:
    """Exports of one finished run that are killed while they are written."""

    def __init__(self, made: Made, folder: Path, moments: int, rng: random.Random) -> None:
        self.result = Result("export")
        self.made, self.moments, self.rng = made, moments, rng
        self.site = Served(folder / "export" / "data")
        self.whole: dict[str, tuple[float, set[str]]] = {}

    def work(self) -> Result:
        """Until there were so many kills."""
        from pipeline.export.formats import FORMATS

        with look_at(self.site.settings) as records:
            row = records.add_recording(self.made.session)
            shutil.copytree(self.made.run, self.site.data / "runs" / "made")
            self.run_id = records.add_finished_run(row.id, self.site.data / "runs" / "made").id
        names = [name for name in EXPORTS if name in FORMATS]
        self._start()
        try:
            for name in names:
                begun = time.monotonic()
                self._fetch(name)
                self.whole[name] = (time.monotonic() - begun, self._list(name))
            while self.result.moments < self.moments and len(self.result.failures) < 5:
                self._carry(names[self.result.moments % len(names)])
            check_records(self.result, self.site.settings)
        finally:
            self.site.stop()
        check_nobody_left(self.result, self.site)
        return self.result

    def _start(self) -> None:
        self.site.start(self.rng.choice(("gunicorn", "app.py")))
        self.asker = Asker(self.site.port)

    def _paths(self, name: str) -> list[Path]:
        return list(self.site.data.glob(f"cache/exports/*/*/{name}.zip"))

    def _list(self, name: str) -> set[str]:
        (path,) = self._paths(name)
        with zipfile.ZipFile(path) as archive:
            self.result.require(archive.testzip() is None, f"{name}.zip is damaged")
            return set(archive.namelist())

    def _fetch(self, name: str) -> None:
        """As the page does: it asks again by itself, and a person presses "Try again"."""
        address = f"/export/{self.run_id}/{name}.zip"
        until = time.monotonic() + 120
        while time.monotonic() < until:
            answer = self.asker.ask("GET", address)
            if answer.status == 200:
                return
            if answer.status not in (202, 500):
                raise UnexpectedAnswer(f"{answer.status} {answer.text[:200]}")
            self.result.figures["tried again by the button"] += answer.status == 500
            time.sleep(0.1)
        raise UnexpectedAnswer(f"{name} was not written in time")

    def _carry(self, name: str) -> None:
        shutil.rmtree(self.site.data / "cache" / "exports", ignore_errors=True)
        timer = Timer(self.rng.uniform(0, self.whole[name][0]), self._kill)
        try:
            self._fetch(name)
        except (*CUT, UnexpectedAnswer) as error:
            if not wait_for(timer.begun.is_set, 2):
                self.result.fail(f"{name}: {error!r}")
        if timer.settle():
            self.result.moments += 1
        for path in self._paths(name):
            self.result.require(zipfile.is_zipfile(path), f"{path.name} is half written")
        if not self.site.find("gunicorn") and not self.site.find("app.py"):
            self._start()
        try:
            self._fetch(name)
        except (*CUT, UnexpectedAnswer) as error:
            self.result.fail(f"{name} after the kill: {error!r}")
            return
        if self.result.require(self._list(name) == self.whole[name][1], f"{name}.zip holds other files"):
            self.result.figures["exports whole"] += 1

    def _kill(self) -> None:
        writers = self.site.find("pipeline", "export")
        victim = self.rng.choice(("everything", "server", "writer"))
        if victim == "writer" and writers:
            self.site.kill_one(writers[0])
        elif victim == "server":
            for each in (*self.site.find("gunicorn"), *self.site.find("app.py")):
                self.site.kill_one(each)
        else:
            victim = "everything"
            self.site.kill()
        self.result.kinds[victim] += 1


# --- migration -----------------------------------------------------------------------------------

ROWS = 2000
"""In each table, so that a migration takes long enough to be met."""


def list_revisions() -> list[str]:
    """The revisions, the first one first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from records.database import MIGRATIONS

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return [each.revision for each in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))]


def fill_database(url: str, until: str, rows: int = ROWS) -> dict[str, int]:
    """Tables at a revision with rows in each, put in at the first revision that has it; rows by table."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import MetaData

    from records.database import MIGRATIONS, open_engine

    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    filled: set[str] = set()
    counts: dict[str, int] = {}
    for revision in list_revisions():
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        with engine.begin() as connection:
            metadata = MetaData()
            metadata.reflect(connection)
            for table in metadata.sorted_tables:
                if table.name not in filled and table.name != "alembic_version":
                    filled.add(table.name)
                    connection.execute(table.insert(), [_make_row(table, n) for n in range(rows)])
            counts = {
                table.name: connection.execute(text(f'SELECT count(*) FROM "{table.name}"')).scalar() or 0
                for table in metadata.sorted_tables
                if table.name != "alembic_version"
            }
        if revision == until:
            break
    engine.dispose()
    return counts


_WORDS = {
    ("recording", "side"): "right", ("run", "state"): "done", ("user_account", "role"): "clinician",
    ("recording", "kind"): "video", ("mark", "kind"): "note", ("correction", "kind"): "side",
}  # fmt: skip


_CHOICE = re.compile(r"(\w+)\W+(?:IN|= ANY)\b.*?'([^']+)'", re.DOTALL)
"""A check that a column is one of some words, as either database tells of it: the column and the first."""


def _make_row(table: Any, number: int) -> dict[str, Any]:
    """A row that meets the table's constraints; keys of other tables are those of the same number."""
    import datetime

    row: dict[str, Any] = {}
    said = [_CHOICE.search(str(each.sqltext)) for each in table.constraints if hasattr(each, "sqltext")]
    choices = {found[1]: found[2] for found in said if found}
    foreign = {key.parent.name: key.column for key in table.foreign_keys}
    for column in table.columns:
        kind = str(column.type).upper()
        if column.name in foreign:
            row[column.name] = None if column.nullable else f"{foreign[column.name].table.name}-{number}"
        elif column.primary_key and "INT" in kind:
            continue
        elif (table.name, column.name) in _WORDS:
            row[column.name] = _WORDS[table.name, column.name]
        elif column.name in choices:
            row[column.name] = choices[column.name]
        elif column.nullable:
            row[column.name] = None
        elif "DATE" in kind and "TIME" not in kind:
            row[column.name] = datetime.date(2026, 1, 1)
        elif "TIME" in kind:
            moment = datetime.datetime(2026, 1, 2, 3, 4, 5, number, tzinfo=datetime.UTC)
            row[column.name] = moment
        elif "BOOL" in kind:
            row[column.name] = False
        elif "INT" in kind or "FLOAT" in kind or "DOUBLE" in kind or "REAL" in kind:
            row[column.name] = number % 7
        else:
            row[column.name] = f"{table.name}-{number}"
    return row


class Migrations:
    """Databases of the past that are brought to the newest revision, killed on the way."""

    def __init__(self, folder: Path, moments: int, rng: random.Random, cluster: Cluster) -> None:
        self.result = Result("migration")
        self.moments, self.rng, self.cluster = moments, rng, cluster
        self.folder = folder / "migration"
        self.folder.mkdir(parents=True)
        self.seconds: dict[tuple[str, str], float] = {}
        self.filled: dict[tuple[str, str], dict[str, int]] = {}

    def work(self) -> Result:
        """Half of the moments on SQLite, half on PostgreSQL; from the first revision and from later ones."""
        revisions = list_revisions()
        for number in range(self.moments):
            kind = ("sqlite", "postgresql")[number % 2]
            since = revisions[0] if number % 4 < 2 else self.rng.choice(revisions[:-1])
            try:
                self._carry(kind, since, number)
            except Exception as error:
                self.result.fail(f"{kind} from {since}: {error!r}")
        return self.result

    def _carry(self, kind: str, since: str, number: int) -> None:
        data = self.folder / f"data-{number}"
        data.mkdir()
        url = self._copy(kind, since, data, f"kills_{number}")
        if (kind, since) not in self.seconds:
            timed = self._copy(kind, since, data, f"timed_{number}")
            process, begun = self._begin(timed), time.monotonic()
            assert process.stdout is not None
            self.result.require(process.stdout.readline() == b"done\n", f"{kind} from {since}: not migrated")
            self.seconds[kind, since] = time.monotonic() - begun
            process.wait()
        process = self._begin(url)
        time.sleep(self.rng.uniform(0, self.seconds[kind, since]))
        process.kill()
        process.wait()
        self.result.moments += 1
        self._check(url, since, self.filled[kind, since], number)

    def _copy(self, kind: str, since: str, data: Path, name: str) -> str:
        """A filled database at a revision; each is filled once."""
        mould = f"mould_{since}"
        if kind == "sqlite":
            path = self.folder / f"{mould}.sqlite3"
            if (kind, since) not in self.filled:
                self.filled[kind, since] = fill_database(f"sqlite:///{path}", since)
            shutil.copy(path, data / f"{name}.sqlite3")
            return f"sqlite:///{data / name}.sqlite3"
        if (kind, since) not in self.filled:
            self.filled[kind, since] = fill_database(self.cluster.make_database(mould), since)
        return self.cluster.make_database(name, mould)

    def _begin(self, url: str) -> subprocess.Popen[bytes]:
        """A process at the moment at which it begins to migrate."""
        code = "import sys; from records.database import migrate, open_engine; e = open_engine(sys.argv[1]); "
        code += "e.connect().close(); print('begin', flush=True); migrate(e); print('done', flush=True)"
        process = subprocess.Popen(
            [sys.executable, "-c", code, url], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def _check(self, url: str, since: str, before: dict[str, int], number: int) -> None:
        from records.database import migrate, open_engine

        engine = open_engine(url)
        with engine.connect() as connection:
            stands = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        revisions = list_revisions()
        self.result.require(stands in revisions[revisions.index(since) :], f"the database stands at {stands}")
        self.result.kinds["before or after" if stands in (since, revisions[-1]) else "between"] += 1
        self.result.figures["already done" if stands == revisions[-1] else "rolled back or between"] += 1
        check_database(self.result, url)
        migrate(engine)
        with engine.connect() as connection:
            self.result.require(
                connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == revisions[-1],
                "it was not brought to the newest revision",
            )
            for name, count in before.items():
                now = connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar()
                self.result.require(now == count, f"{name} had {count} rows and has {now}")
            missing = {table.name for table in models.Base.metadata.sorted_tables} - set(
                inspect(connection).get_table_names()
            )
            self.result.require(not missing, f"tables are missing: {missing}")
        check_database(self.result, url)
        engine.dispose()
        records = Records(Settings(data_dir=self.folder / f"data-{number}", DATABASE_URL=url, _env_file=None))  # type: ignore[call-arg]
        if since < "0004":  # later ones were filled with digests that are none
            records.audit.verify()
        records.close()


# --- backups -------------------------------------------------------------------------------------


class Backups:
    """Backups, and restores of them, that are killed."""

    def __init__(self, made: Made, folder: Path, moments: int, rng: random.Random) -> None:
        self.result = Result("backup")
        self.made, self.moments, self.rng = made, moments, rng
        self.folder = folder / "backup"
        self.site = Served(self.folder / "data")
        self.place = self.folder / "place"

    def work(self) -> Result:
        """Half of the moments making one, half putting one back."""
        with look_at(self.site.settings) as records:
            session = self.site.data / "sessions" / "made"
            shutil.copytree(self.made.session, session)
            row = records.add_recording(session)
            shutil.copytree(self.made.run, self.site.data / "runs" / "made")
            records.add_finished_run(row.id, self.site.data / "runs" / "made")
            for number in range(300):
                records.note("local", "recording.view", f"{number}")
        whole = self._time("backup", str(self.place))
        back = self._time("restore", str(self.place), "--replace")
        for number in range(self.moments):
            if number % 2 == 0:
                self._kill_backup(whole)
            else:
                self._kill_restore(back)
        return self.result

    def _begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "records", *arguments],
            cwd=ROOT,
            env=self.site.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _time(self, *arguments: str) -> float:
        begun = time.monotonic()
        process = self._begin(*arguments)
        said, _ = process.communicate(timeout=120)
        self.result.require(process.returncode == 0, f"{arguments[0]}: {said.decode()[-300:]}")
        return time.monotonic() - begun

    def _cut(self, within_s: float, *arguments: str) -> None:
        process = self._begin(*arguments)
        time.sleep(self.rng.uniform(0, within_s))
        process.kill()
        process.communicate()
        self.result.moments += 1
        self.result.kinds[arguments[0]] += 1

    def _kill_backup(self, within_s: float) -> None:
        from records.backup import _list, check_backup

        before = {each.name for each in _list(self.place)}
        self._cut(within_s, "backup", str(self.place))
        for each in _list(self.place):
            try:
                check_backup(each)
            except Exception as error:
                self.result.fail(f"a backup is not whole: {error}")
        self.result.require(before <= {each.name for each in _list(self.place)}, "an earlier backup is gone")
        self._time("backup", str(self.place))
        left = list(self.place.glob(".unfinished-*"))
        self.result.require(not left, f"unfinished backups are left: {left}")
        self.result.figures["backups whole"] += 1

    def _kill_restore(self, within_s: float) -> None:
        files = self._list_files()
        self._cut(within_s, "restore", str(self.place), "--replace")
        self._time("restore", str(self.place), "--replace")
        self.result.require(self._list_files() == files, "a restore put other files back")
        left = [each.name for each in self.site.data.glob(".re[sp]*")]
        self.result.require(not left, f"a restore left {left}")
        check_records(self.result, self.site.settings)
        self.result.figures["restores whole"] += 1

    def _list_files(self) -> dict[str, str]:
        kept = [path for top in ("sessions", "runs") for path in (self.site.data / top).rglob("*")]
        return {str(path.relative_to(self.site.data)): hash_file(path) for path in kept if path.is_file()}


# --- what people change --------------------------------------------------------------------------


def act(data: Path, recording_id: str, seed: int) -> None:
    """Change things for ever, and say each time what is done. Runs in a process of its own."""
    from pipeline.session import ExcludedSection
    from records.rows import ScoreRow  # noqa: F401  (loads what scores need before the first word)

    records = Records(Settings(data_dir=data, _env_file=None))  # type: ignore[call-arg]
    rng = random.Random(seed)
    _ = records.engine
    print(json.dumps(["ready", ""]), flush=True)
    while True:
        what = rng.choice(("offset", "exclusion", "undo", "mark", "share", "photos", "note"))
        done = ""
        if what == "offset":
            made = records.corrections.apply(recording_id, "offset", {"left": round(rng.uniform(-1, 1), 3)})
            done = made.id if made else ""
        elif what == "exclusion":
            start = round(rng.uniform(0, 1), 3)
            section = ExcludedSection(start_s=start, end_s=start + 0.2, reason="talk")
            made = records.corrections.apply(recording_id, "exclusions", section)
            done = made.id if made else ""
        elif what == "undo":
            standing = [row for row in records.corrections.list(recording_id) if row.undone is None]
            if standing:
                done = records.corrections.undo(standing[0].id).id
        elif what == "mark":
            done = records.marks.add(recording_id, "note", rng.uniform(0, 1), text="a word").id
        elif what == "share":
            done = records.shares.create([recording_id])[0].id
        elif what == "photos":
            folder = data / "sessions" / f"set-{rng.getrandbits(64):016x}"
            (folder / "photos").mkdir(parents=True)
            (folder / "photos" / "one.jpg").write_bytes(b"\xff\xd8\xff")
            done = records.photos.add(folder).id
        else:
            done = f"{rng.getrandbits(64):016x}"
            records.note("local", "recording.view", done)
        print(json.dumps([what, done]), flush=True)


class Changes:
    """Small changes by a process that says what it has done, killed at any word."""

    def __init__(self, made: Made, folder: Path, moments: int, rng: random.Random) -> None:
        self.result = Result("changes")
        self.made, self.moments, self.rng = made, moments, rng
        self.site = Served(folder / "changes" / "data")
        self.said: list[tuple[str, str]] = []

    def work(self) -> Result:
        """Until there were so many kills."""
        with look_at(self.site.settings) as records:
            session = self.site.data / "sessions" / "made"
            shutil.copytree(self.made.session, session)
            row = records.add_recording(session)
            shutil.copytree(self.made.run, self.site.data / "runs" / "made")
            records.add_finished_run(row.id, self.site.data / "runs" / "made")
        self.recording_id = row.id
        for number in range(self.moments):
            self._carry(number)
        check_records(self.result, self.site.settings)
        self.result.figures["changes acknowledged"] = len(self.said)
        self.site.kill()
        return self.result

    def _carry(self, number: int) -> None:
        code = "import sys; from pathlib import Path; from benchmarks.kills import act; "
        code += "act(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))"
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                str(self.site.data),
                self.recording_id,
                str(self.rng.getrandbits(32)),
            ],
            cwd=ROOT,
            env=self.site.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        time.sleep(self.rng.uniform(0.05, 3.0))
        alive = process.poll() is None
        process.kill()
        rest = process.stdout.read().decode()
        self.result.require(
            alive, f"the process that changes things fell: {process.stderr.read().decode()[-600:]}"
        )
        process.wait()
        self.result.moments += 1
        lines = [line for line in rest.splitlines() if line.endswith("]")]
        self.said += [(what, done) for what, done in map(json.loads, lines) if done]
        self._check()

    def _check(self) -> None:
        with look_at(self.site.settings) as records:
            rows = {
                row.id: row for row in records.corrections.list(self.recording_id)
            }  # settles what was begun
            undone = {done for what, done in self.said if what == "undo"}
            with records.reading() as database:
                marks = set(database.scalars(select(models.Mark.id)))
                links = set(database.scalars(select(models.ShareLink.id)))
                sets = set(database.scalars(select(models.Recording.id)))
                notes = set(database.scalars(select(models.AuditEvent.object)))
            there = {"offset": set(rows), "exclusion": set(rows), "mark": marks, "share": links}
            there |= {"photos": sets, "note": notes, "undo": {key for key in rows if rows[key].undone}}
            lost = [(what, done) for what, done in self.said if done not in there[what]]
            self.result.require(not lost, f"acknowledged and lost: {lost[:5]}")
            self.result.require(undone <= set(rows), "an undone correction is gone")
            newest = next((row for row in rows.values() if row.kind == "offset" and not row.undone), None)
            self.result.require(newest is None or newest.in_force, "session.toml is not what the rows say")
            for row in records.shares.list_own("local"):
                self.result.require(row.state in ("open", "preparing", "failed"), f"a link is {row.state}")
        self.result.require(
            not (self.site.data / "sessions" / "made" / ".correction.json").exists(), "a journal is left"
        )


# --- all -----------------------------------------------------------------------------------------


def make_made(folder: Path) -> Made:
    """A session of two seconds, and one run of it that nothing interrupts."""
    from pipeline.progress import Reporter
    from pipeline.synth.session import make_session
    from pipeline.synth.spec import SynthSpec

    session, run = folder / "made" / "session", folder / "made" / "run"
    if not (run / "run.json").is_file() or read_json(run / "run.json")["state"] != "done":
        shutil.rmtree(folder / "made", ignore_errors=True)
        make_session(session, SynthSpec(seconds=2.0, size_px=(640, 360), fps=Fraction(30)), Reporter("synth"))
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pipeline", "run", str(session), "--out", str(run)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    record = read_json(run / "run.json")
    worked = sum(stage["seconds"] for stage in record["stages"].values())
    return Made(session, run, max(worked, time.monotonic() - begun))


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--lanes", type=int, default=2, help="parts at a time")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    whole = sum(SHARES[part] for part in options.only)
    moments = {part: max(1, round(options.moments * SHARES[part] / whole)) for part in options.only}
    moments[options.only[-1]] += max(0, options.moments - sum(moments.values()))
    with contextlib.ExitStack() as stack:
        root = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        made = make_made(root)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=root)))
        work.chmod(0o755)  # PostgreSQL's own user goes through it
        print(f"made a session; a run takes {made.run_s:.0f} s", flush=True)
        cluster = None
        if "migration" in options.only:
            cluster = stack.enter_context(own_cluster(find_port()))
        results = run_parts(moments, made, work, options.seed, cluster, options.lanes)
        report(results, time.monotonic() - begun)


def run_parts(
    moments: dict[str, int], made: Made, work: Path, seed: int, cluster: Cluster | None, lanes: int
) -> list[Result]:
    """The parts, some at a time, the longest first; each in a process, since migrations are one at a time."""
    order = sorted(moments, key=lambda part: part != "run")
    with ProcessPoolExecutor(lanes, multiprocessing.get_context("spawn")) as pool:
        begun = [
            pool.submit(run_part, part, moments[part], made, work, random.Random(f"{seed} {part}"), cluster)
            for part in order
        ]
        return [each.result() for each in begun]


def run_part(
    part: str, count: int, made: Made, work: Path, rng: random.Random, cluster: Cluster | None
) -> Result:
    """One part from beginning to end; whatever ends it early is a failure."""
    begun = time.monotonic()
    try:
        if part in ("upload", "intake"):
            result = Intake(part, made, work, count, rng).work()
        elif part == "migration":
            assert cluster is not None
            result = Migrations(work, count, rng, cluster).work()
        else:
            kinds: dict[str, Any] = {"run": Runs, "export": Exports, "backup": Backups, "changes": Changes}
            result = kinds[part](made, work, count, rng).work()
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        result = Result(part, failures=[f"the part fell: {error!r}"])
    result.seconds = time.monotonic() - begun
    print(f"  {part}: {result.moments} kills in {result.seconds:.0f} s", flush=True)
    return result


def report(results: list[Result], seconds: float) -> None:
    """Print the table; exit with 1 on a failure."""
    print(f"\n{'part':<10} {'kills':>5} {'failures':>8} {'s':>5}  what was killed; what came of it")
    for each in sorted(results, key=lambda result: list(SHARES).index(result.part)):
        kinds = ", ".join(
            f"{count} {kind}" for kind, count in each.kinds.items() if not kind.startswith("on ")
        )
        figures = ", ".join(f"{count} {name}" for name, count in each.figures.items() if count)
        counts = f"{each.part:<10} {each.moments:>5} {len(each.failures):>8} {each.seconds:>5.0f}"
        print(f"{counts}  {kinds}; {figures}")
    failures = [(each.part, what) for each in results for what in each.failures]
    print(f"\n{sum(each.moments for each in results)} kills in {seconds:.0f} s: {len(failures)} failures")
    for part, what in failures:
        print(f"  {part}: {what}")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
