"""What stands below the site goes away for a while: what is said meanwhile, and what is left afterwards.

    python -m benchmarks.outages [--only database redis store disk readonly] [--seconds 60] [--folder FOLDER]

database    a PostgreSQL of its own is stopped under a served site with sign-in and a run at work
redis       a Redis of its own is stopped under a served site with a Celery worker and a run at work
store       an S3-compatible store behind a gate that is shut, with a run at work
disk        the data folder's file system (a small tmpfs, which needs root) is filled
readonly    the data folder loses its rights to be written to

Meanwhile pages, callbacks, buttons, uploads and downloads are asked again and again. Bars: an answer within
10 s, in words, never 500 and no stack; the run ends well; all is answered again without a restart; nothing
that was acknowledged is lost, database and audit whole. Exits with 1 on any failure.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.kills import Made, Result, call_supervisor_apart, check_records, look_at, make_made
from benchmarks.served import Answer, Asker, Served, find_port, own_cluster, wait_for
from settings import ROOT

PARTS = ("database", "redis", "store", "disk", "readonly")
LONGEST_S = 10.0
BACK_WITHIN_S = 20.0
RUN_WITHIN_S = 400.0
NAME, PASSWORD = "anna", "a long enough sentence"
AWAY_WORDS = (
    "does not answer",
    "is full",
    "cannot be written",
    "does not keep up",
    "no room",
    "could not be",
)


@dataclass
class Probe:
    """One thing that was asked during an outage, as it was answered worst."""

    name: str
    statuses: set[int] = field(default_factory=set)
    longest_s: float = 0.0
    words: str = ""


class Look:
    """Asks for everything, again and again, and notes what is said.

    Parameters
    ----------
    result : Result
        Where failures go.
    site : Served
    signed_in : bool
        Whether somebody has to sign in.
    """

    def __init__(self, result: Result, site: Served, recording_id: str, run_id: str, signed_in: bool) -> None:
        self.result, self.site = result, site
        self.recording_id, self.run_id = recording_id, run_id
        self.asker = Asker(site.port, timeout_s=60)
        self.signed_in = signed_in
        self.enter()
        self.asker.learn()
        self.draft = self.asker.begin_draft()
        self.address = self.asker.begin_file(self.draft, "front.mp4", 64 * 2**20)
        self.sent = 0
        self.probes: dict[str, Probe] = {}

    def enter(self) -> None:
        """Sign in where that is asked, or open the first page."""
        if not self.signed_in:
            self.asker.open()
            return
        answer = self.asker.sign_in(NAME, PASSWORD)
        self.result.require(answer.status == 302, f"sign-in: {answer.status}")

    def enter_again(self) -> None:
        """Sessions that were kept in what came back empty have to be begun again."""
        if self.signed_in and self.asker.ask("GET", "/upload/x").status == 401:
            self.result.figures["signed in again"] += 1
            self.enter()

    def _probes(self) -> dict[str, Callable[[], Answer]]:
        ask = self.asker.ask
        tick = "tray-tick.n_intervals"
        return {
            "GET /health": lambda: ask("GET", "/health"),
            "GET / (a page is opened)": lambda: self.asker.open("/"),
            "page: worklist": lambda: self.asker.show("/"),
            "page: report": lambda: self.asker.show(f"/recording/{self.recording_id}"),
            "page: new recording": lambda: self.asker.show("/new"),
            "page: rigs": lambda: self.asker.show("/rigs"),
            "page: trash": lambda: self.asker.show("/trash"),
            "callback: tray": lambda: self.asker.fire(tick, {tick: 1}, "tray.hidden"),
            "callback: search": lambda: self.asker.fire(
                "worklist-search.value", {"worklist-search.value": "x", "worklist-order.value": "added"}
            ),
            "button: start": lambda: self.asker.fire(
                "start-run.n_clicks",
                {"start-run.n_clicks": 1, "start-run.value": self.recording_id, "tray-tick.n_intervals": 1},
            ),
            "video": lambda: ask("GET", f"/media/{self.run_id}/mosaic.mp4", Range="bytes=0-999"),
            "export": lambda: ask("GET", f"/export/{self.run_id}/csv.zip"),
            "upload: new": lambda: ask("POST", "/upload"),
            "upload: piece": self._send,
        }  # fmt: skip

    def _send(self) -> Answer:
        piece = b"x" * 2**18
        answer = self.asker.send_piece(self.address, self.sent, piece)
        if answer.status == 409:  # what was written before the disk was full counts
            there = self.asker.find_offset(self.address)
            self.result.require(there >= self.sent, f"{there} bytes are there, {self.sent} were acknowledged")
            self.sent = there
        elif answer.status == 204:
            self.sent = int(answer.headers["Upload-Offset"])
        return answer

    def around(self, is_away: bool) -> bool:
        """Ask for everything once; whether all was answered as on a good day."""
        good = True
        for name, ask in self._probes().items():
            try:
                answer = ask()
            except (OSError, http.client.HTTPException) as error:
                self.result.require(False, f"{name}: not answered ({error!r})")
                good = False
                continue
            away = answer.status >= 500 or answer.status == 401 or "Away for a moment" in answer.text
            good = good and not away
            if is_away:
                self._note(name, answer, away)
        return good

    def _note(self, name: str, answer: Answer, away: bool) -> None:
        probe = self.probes.setdefault(name, Probe(name))
        probe.statuses.add(answer.status)
        probe.longest_s = max(probe.longest_s, answer.seconds)
        self.result.require(answer.seconds < LONGEST_S, f"{name}: answered after {answer.seconds:.1f} s")
        self.result.require(
            answer.status not in (500, 502, 504), f"{name}: {answer.status} {answer.text[:200]}"
        )
        self.result.require("Traceback" not in answer.text, f"{name}: a stack is shown")
        if away and name != "GET /health":
            said = next((words for words in AWAY_WORDS if words in answer.text), "")
            self.result.require(said, f"{name}: no words: {answer.text[:200]}")
            place = answer.text.find(said)
            probe.words = probe.words or _sentence(answer.text, place)
        elif name == "GET /health" and answer.status != 200:
            probe.words = answer.text.strip()

    def print(self) -> None:
        """What was answered meanwhile."""
        for probe in self.probes.values():
            statuses = "/".join(map(str, sorted(probe.statuses)))
            print(
                f"    {probe.name:<26} {statuses:<8} {probe.longest_s:5.1f} s  {probe.words[:90]}", flush=True
            )


def _sentence(text: str, place: int) -> str:
    begin = max(text.rfind(mark, 0, place) for mark in ('"', ">", "\n", ". "))
    ends = [end for mark in ('"', "<", "\n") if (end := text.find(mark, place)) > 0]
    return text[begin + 1 : min(ends, default=len(text))].strip()


# --- one outage ------------------------------------------------------------------------------------


@dataclass
class Outage:
    """How something goes away and comes back, and what the site is served with."""

    part: str
    site: Served
    away: Callable[[], Any]
    back: Callable[[], Any]
    signed_in: bool = False
    run_survives: bool = True


def prepare(outage: Outage, made: Made) -> tuple[str, str, str]:
    """Two recordings: one with a report, one that is to be worked; ids of the first, its run, the second."""
    site = outage.site
    with look_at(site.settings) as records:
        if outage.signed_in:
            records.users.add(NAME, PASSWORD, "clinician")
        ids = []
        for name in ("first", "second"):
            session = site.data / "sessions" / name
            shutil.copytree(made.session, session)
            ids.append(records.add_recording(session).id)
        shutil.copytree(made.run, site.data / "runs" / "made")
        run_id = records.add_finished_run(ids[0], site.data / "runs" / "made").id
    return ids[0], run_id, ids[1]


def carry(outage: Outage, made: Made, seconds: float) -> Result:
    """Serve, begin a run, let it go away and come back, and look."""
    result = Result(outage.part, moments=1)
    site = outage.site
    recording_id, run_id, second = prepare(outage, made)
    site.start()
    first_pids = {each.pid for each in site.find("gunicorn")}
    try:
        look = Look(result, site, recording_id, run_id, outage.signed_in)
        result.require(look.around(False), "not all was answered before the outage")
        with look_at(site.settings) as records:
            work = records.submit_run(second)
            head = records.audit.head()
        call_supervisor_apart(site, work.id)
        time.sleep(made.run_s * 0.2)
        outage.away()
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < seconds:
                look.around(True)
                time.sleep(2)
        finally:
            outage.back()
        returned = time.monotonic()
        result.require(wait_for(lambda: is_well(look), BACK_WITHIN_S, 0.5), "the site is not well again")
        look.enter_again()
        result.require(wait_for(lambda: look.around(False), BACK_WITHIN_S, 1), "not all is answered again")
        result.figures["back after s"] = round(time.monotonic() - returned)
        look.print()
        finish(result, site, work.id, outage.run_survives)
        with look_at(site.settings) as records:
            records.audit.verify(head)
        answer = look.asker.ask("HEAD", look.address, Tus_Resumable="1.0.0")
        there = int(answer.headers.get("Upload-Offset", -1))
        result.require(there >= look.sent, f"of the upload {there} bytes are there, {look.sent} acknowledged")
        result.require(
            first_pids <= {each.pid for each in site.find("gunicorn")}, "the server did not live on"
        )
        check_records(result, site.settings)
        stacks = site.log.read_text(errors="replace").count("ERROR in app")
        result.figures["unhandled in the log"] = stacks
    finally:
        site.stop()
    return result


def is_well(look: Look) -> bool:
    """Whether the site says so of itself."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return look.asker.ask("GET", "/health").status == 200
    return False


def finish(result: Result, site: Served, run_id: str, by_itself: bool) -> None:
    """The run at work ends well: by itself, or where the disk failed it by the button."""
    with look_at(site.settings) as records:
        wait_for(lambda: not records.get_run(run_id).is_live, RUN_WITHIN_S, 0.5)
        run = records.get_run(run_id)
        if run.state == "failed" and not by_itself:
            print(f"    the run: {run.error_what} {run.error_advice}", flush=True)
            result.figures["runs that went on by the button"] += 1
            records.retry(run_id)
            call_supervisor_apart(site, run_id)
            wait_for(lambda: not records.get_run(run_id).is_live, RUN_WITHIN_S, 0.5)
            run = records.get_run(run_id)
        result.require(run.state == "done", f"the run is {run.state}: {run.error_what}")


# --- what goes away --------------------------------------------------------------------------------


@contextlib.contextmanager
def no_database(folder: Path) -> Iterator[Outage]:
    """PostgreSQL is stopped as by a kill."""
    with own_cluster(find_port()) as cluster:
        url = cluster.make_database("outage")
        site = Served(folder / "data", {"DATABASE_URL": url, "REDYS_HOST": "0.0.0.0"})
        yield Outage("database", site, cluster.stop, cluster.start, signed_in=True)


@contextlib.contextmanager
def no_redis(folder: Path) -> Iterator[Outage]:
    """Redis is stopped, and comes back empty."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is missing (Debian: sudo apt-get install redis-server).")
    port = find_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    servers: list[subprocess.Popen[bytes]] = []

    def back() -> None:
        servers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder))
        wait_for(lambda: _listens(port), 10)

    def away() -> None:
        servers[-1].kill()
        servers[-1].wait()

    back()
    more = {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "REDYS_HOST": "0.0.0.0", "SECRET_KEY": "s" * 48}
    site = Served(folder / "data", more)
    workers = []
    for app, pool, queues in (("app", "prefork", "redys"), ("records.worker", "threads", "redys-cpu")):
        options = ["--pool", pool, "--concurrency", "1", "--queues", queues, "-n", f"{queues}@%h"]
        with open(folder / f"{queues}.log", "ab") as log:
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", f"{app}:celery_app", "worker", *options],
                    cwd=ROOT, env=site.environment, stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip
    try:
        yield Outage("redis", site, away, back, signed_in=True)
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
        site.kill()
        away()


class Gate:
    """A way through to a server, which can be shut: a port that then refuses everybody."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, find_port()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Let everybody through."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Cut off who is through, and refuse who comes."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self._open += [caller, server]
            for one, other in ((caller, server), (server, caller)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def no_store(folder: Path) -> Iterator[Outage]:
    """An S3-compatible store behind a gate."""
    import fsspec

    port = find_port()
    code = "import sys; from moto.server import main; main(['-p', sys.argv[1]])"
    with open(folder / "moto.log", "ab") as log:
        server = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=log, stderr=log)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys)
    gate = Gate(port)
    try:
        wait_for(lambda: _listens(port), 30)
        gate.open()
        endpoint = f"http://127.0.0.1:{gate.port}"
        fsspec.filesystem("s3", endpoint_url=endpoint, use_listings_cache=False).mkdir("redys")
        more = {"REDYS_STORE_URL": "s3://redys/site", "REDYS_STORE_ENDPOINT": endpoint, **keys}
        yield Outage("store", Served(folder / "data", more), gate.shut, gate.open)
    finally:
        gate.shut()
        server.terminate()
        server.wait(timeout=20)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[Outage]:
    """A file system of its own that somebody else fills to the last byte."""
    if os.getuid() != 0:
        raise SystemExit("The part disk needs root: it mounts a file system.")
    (folder / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder / "disk")], check=True)
    ballast = folder / "disk" / "ballast"

    def fill() -> None:
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            size = 2**20
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2

    site = Served(folder / "disk" / "data")
    site.log = folder / "disk.server.log"
    try:
        yield Outage("disk", site, fill, ballast.unlink, run_survives=False)
    finally:
        site.kill()
        subprocess.run(["umount", "-l", str(folder / "disk")], check=False)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Outage]:
    """Every folder and file loses its right to be written to."""
    # The machine's administrator may write to everything, unless told otherwise.
    rights = "-dac_override,-dac_read_search"
    before = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.getuid() == 0 else []
    site = Served(folder / "data", before=before)

    def change(bits: Callable[[int], int]) -> None:
        for path in (site.data, *site.data.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if not path.is_symlink():
                    path.chmod(bits(path.stat().st_mode))

    def away() -> None:
        change(lambda mode: mode & ~0o222)

    def back() -> None:
        change(lambda mode: mode | 0o200)

    yield Outage("readonly", site, away, back, run_survives=False)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


WAYS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Outage]]] = {
    "database": no_database,
    "redis": no_redis,
    "store": no_store,
    "disk": full_disk,
    "readonly": read_only,
}


def main() -> None:
    """Take away, ask, give back, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    results = []
    with contextlib.ExitStack() as stack:
        root = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(parents=True, exist_ok=True)
        made = make_made(root)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=root)))
        for path in (root, work):
            path.chmod(0o755)  # PostgreSQL's own user, and the one without rights, go through it
        for part in options.only:
            folder = work / part
            folder.mkdir()
            print(f"\n{part}, away for {options.seconds:.0f} s", flush=True)
            with WAYS[part](folder) as outage:
                results.append(carry(outage, made, options.seconds))
            figures = ", ".join(f"{name} {count}" for name, count in results[-1].figures.items())
            print(f"    {len(results[-1].failures)} failures; {figures}", flush=True)
    failures = sum(len(each.failures) for each in results)
    print(f"\n{len(results)} outages: {failures} failures")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
