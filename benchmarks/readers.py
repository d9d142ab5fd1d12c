"""People who read reports and scrub, all at once: how long pages and byte ranges take.

    python -m benchmarks.readers --people 50 --seconds 60 [--data DATA]

gunicorn as the image starts it (2 processes of 16 threads, sign-in on) serves the worked recordings of a
data folder. People come from this process over loopback, on the same cores; what they take of them is
printed. Each signs in before the clock runs, and then goes round and round as a browser does:

- the worklist: the page, what it is drawn from, a look at the tray; 3 to 8 s of thinking;
- a report: the page; 2 to 6 s of thinking; the index of what the player asks for;
- scrubbing: 12 moves over 6 s, each a range of 256 KiB of the video and 16 KiB of the moving hand;
- the tray every 10 s.

Pages' bar: 95 % within 500 ms. Ranges' bar: 95 % within 300 ms. No errors. Ends with 1 where one is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import resource
import shutil
import sys
import threading
import time
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dashboard_site import find_worked
from benchmarks.served import OPEN, Served, own_data
from tests.records.site import page_body

PASSWORD = "a long enough sentence"
VIDEO_BYTES, ARRAY_BYTES = 256 * 1024, 16 * 1024
BARS_MS = {"page": 500.0, "range": 300.0}


@dataclass
class Times:
    """Seconds of each answer by its kind, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Reader:
    """Somebody with a browser of their own."""

    def __init__(self, port: int, name: str, reports: list[tuple[str, str]], times: Times) -> None:
        self.port, self.name, self.reports, self.times = port, name, reports, times
        self.random = random.Random(name)
        self.cookies: dict[str, str] = {}
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.seen: Any = None
        self.looked = 0.0

    def sign_in(self) -> None:
        """Come in; not measured."""
        self.ask("", "GET", "/sign-in")
        form = {"name": "reader", "password": PASSWORD, "csrf_token": self.cookies["__Host-_csrf_token"]}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.ask("", "POST", "/sign-in", urllib.parse.urlencode(form).encode(), kind)[0] != 302:
            sys.exit(f"{self.name} could not sign in.")

    def ask(
        self, kind: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request; its time is kept under its kind."""
        said = {"Host": "redys.example", "Accept-Encoding": "gzip", "User-Agent": "reader", **(headers or {})}
        said["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        begun = time.perf_counter()
        try:
            try:
                answer, data = self.exchange(method, target, body, said)
            except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
                self.line.close()  # the server let go of an idle line; a browser asks again by itself
                answer, data = self.exchange(method, target, body, said)
        except (OSError, http.client.HTTPException) as error:
            self.line.close()
            with self.times.lock:
                self.times.errors.append(f"{target}: {error!r}")
            return 0, b""
        seconds = time.perf_counter() - begun
        for each in answer.headers.get_all("Set-Cookie", []):
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value
        with self.times.lock:
            self.times.sent_bytes += len(data)
            if kind:
                self.times.seconds[kind].append(seconds)
            if answer.status >= 400:
                self.times.errors.append(f"{method} {target} {answer.status} {data[:80]!r}")
        if answer.headers.get("Content-Encoding") == "gzip":
            import gzip

            data = gzip.decompress(data)
        return answer.status, data

    def exchange(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """A request and what comes back, over the line that is kept."""
        self.line.request(method, target, body or None, headers)
        answer = self.line.getresponse()
        return answer, answer.read()

    def call(self, kind: str, body: dict[str, Any]) -> Any:
        """A callback."""
        token = self.cookies.get("__Host-_csrf_token", "")
        headers = {"Content-Type": "application/json", "X-CSRFToken": token}
        status, data = self.ask(kind, "POST", "/_dash-update-component", json.dumps(body).encode(), headers)
        return json.loads(data) if status == 200 and data else None

    def think(self, low_s: float, high_s: float, end: float) -> None:
        """Wait as a person does, and look at the tray meanwhile."""
        until = min(time.monotonic() + self.random.uniform(low_s, high_s), end)
        while (left := until - time.monotonic()) > 0:
            if time.monotonic() - self.looked > 10.0:
                self.looked = time.monotonic()
                self.tray()
            time.sleep(min(left, 1.0))

    def tray(self) -> None:
        """What the shell asks every ten seconds."""
        self.call("tray", self.tray_body)

    def live(self, end: float) -> None:
        """Go round until the end."""
        self.think(0.0, 8.0, end)  # people do not come all at once
        while time.monotonic() < end:
            self.open_worklist()
            self.think(3.0, 8.0, end)
            if time.monotonic() < end:
                self.read_report(end)

    def open_worklist(self) -> None:
        """The page from its address: the shell, then what stands in it."""
        self.ask("page", "GET", "/", headers={"Accept": "text/html"})
        self.ask("page", "GET", "/_dash-layout")
        self.call("page", page_body("/"))

    def read_report(self, end: float) -> None:
        """A report, its plots as they come near, and the hand."""
        recording, run = self.random.choice(self.reports)
        self.call("page", page_body(f"/recording/{recording}"))
        self.think(2.0, 6.0, end)
        base = f"/media/{run}"
        _, data = self.ask("range", "GET", f"{base}/index.json")
        if not data:
            return
        index = json.loads(data)
        video = index["mosaic"]["file"]
        size = index["files"][video]["bytes"]
        arrays = [
            name for name, file in index["files"].items() if file["bytes"] > ARRAY_BYTES and name != video
        ]
        for move in range(12):
            if time.monotonic() >= end:
                return
            at = self.random.randrange(max(size - VIDEO_BYTES, 1))
            self.part(f"{base}/{video}", at, VIDEO_BYTES)
            name = self.random.choice(arrays)
            self.part(f"{base}/{name}", 0 if move < 2 else self.random.randrange(1000), ARRAY_BYTES)
            time.sleep(self.random.uniform(0.3, 0.7))

    def part(self, target: str, start: int, length: int) -> None:
        """A byte range, as a player asks for it."""
        status, _ = self.ask("range", "GET", target, headers={"Range": f"bytes={start}-{start + length - 1}"})
        if status not in (0, 206):
            with self.times.lock:
                self.times.errors.append(f"{target} {status}, not a range")

    tray_body: dict[str, Any]


def make_tray_body() -> dict[str, Any]:
    """The tray's callback as the application declares it."""
    from app import make_app

    app = make_app()
    output, entry = next(
        (key, each) for key, each in app.callback_map.items() if "tray-heard" in key and each.get("callback")
    )

    def name(each: Any) -> dict[str, str]:
        return {"id": each.component_id_str(), "property": each.component_property}

    return {
        "output": output,
        "outputs": [name(each) for each in entry["output"]],
        "inputs": [{**each, "value": 1} for each in entry["inputs"]],
        "state": [{**each, "value": None} for each in entry["state"]],
        "changedPropIds": ["tray-tick.n_intervals"],
    }


def plant(data: Path, folder: Path) -> list[tuple[str, str]]:
    """The worked recordings in a folder of its own, and one to read them as; recordings and their runs."""
    from records import get_records

    records = get_records()
    records.users.add("reader", PASSWORD, "clinician")
    found = []
    for number, (session, run) in enumerate(find_worked(data)):
        own_session, own_run = folder / f"session-{number}", folder / f"run-{number}"
        shutil.copytree(session, own_session, ignore=shutil.ignore_patterns("calibration", "truth.*"))
        shutil.copytree(run, own_run)
        recording = records.add_recording(own_session, f"Reading {number}")
        found.append((recording.id, records.add_finished_run(recording.id, own_run).id))
    return found


def report(times: Times, seconds: float, cpu_s: float) -> bool:
    """Print the figures; whether the bars are kept."""
    kept = not times.errors
    for kind, found in sorted(times.seconds.items()):
        p50, p95, p99 = (1000 * np.percentile(found, share) for share in (50, 95, 99))
        bar = BARS_MS.get(kind)
        said = f", bar {bar:.0f}: {'kept' if p95 < bar else 'missed'}" if bar else ""
        kept &= bar is None or bool(p95 < bar)
        print(f"{kind:<6} {len(found):>6} answers: p50 {p50:.0f} ms, p95 {p95:.0f}, p99 {p99:.0f}{said}")
    print(f"errors {len(times.errors)}; {times.sent_bytes / 1e6 / seconds:.1f} MB/s")
    print(f"the people themselves took {100 * cpu_s / seconds:.0f} % of one core")
    for each in times.errors[:5]:
        print(f"    ! {each[:200]}")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="a data folder with worked recordings"
    )
    parser.add_argument("--port", type=int, default=8161)
    parser.add_argument("--workers", type=int, default=2, help="processes of gunicorn")
    options = parser.parse_args()
    with own_data() as folder:
        reports = plant(options.data, folder)
        Reader.tray_body = make_tray_body()
        times = Times()
        with Served(folder, OPEN, port=options.port).serving(options.workers):
            people = [
                Reader(options.port, f"reader {each}", reports, times) for each in range(options.people)
            ]
            for each in people:
                each.sign_in()
            end = time.monotonic() + options.seconds
            before = resource.getrusage(resource.RUSAGE_SELF)
            threads = [threading.Thread(target=each.live, args=(end,), daemon=True) for each in people]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return 0 if report(times, options.seconds, cpu_s) else 1


if __name__ == "__main__":
    sys.exit(main())
