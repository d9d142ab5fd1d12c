"""Two people, one recording, and everything that can go wrong between them and the server.

    python -m benchmarks.dashboard_robustness [--seconds 6] [--pictures FOLDER]

A site with sign-in is served as the image serves it, with a made recording; two people in browsers of their
own open it. Both press Start at once; one reloads the page in the middle of the run, the other is without
network for ten seconds, then the server is stopped for five and started again, and the first goes to another
page. The bar: the run ends, the one sees the report come up, the other is told where she is, and nothing
happened twice (one run, one attempt, each stage begun once). Progress must never go back. Needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.progress import Reporter
from pipeline.synth.session import make_session
from pipeline.synth.spec import SynthSpec
from records import Records, models
from settings import ROOT, Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]
PASSWORD = "a long enough sentence"
OFFLINE_S = 10.0
STOPPED_S = 5.0
LONGEST_S = 600.0
UNDER_WAY = 5.0
"""Share of the work in %, from which on things go wrong."""


class Server:
    """The site, which can be stopped and started again on the same port."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Serve, and wait until it answers."""
        own = {"REDYS_DATA_DIR": str(self.data), "REDYS_HOST": "0.0.0.0", "REDYS_PORT": str(self.port)}
        bind = ["--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread", "--threads", "16"]
        with open(self.data / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "app:server", "--workers", "2", *bind],
                cwd=ROOT,
                env=os.environ | own,
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=2).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit(f"The site did not start: {(self.data / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """As a machine that is shut down: requests under way are given up."""
        self.process.terminate()
        self.process.wait(timeout=60)


class Person:
    """Somebody with a browser of their own, who only looks."""

    def __init__(self, browser: Browser, server: Server, name: str) -> None:
        self.name = name
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page: Page = self.context.new_page()
        self.shares: list[float] = []
        self.ends: list[str] = []
        self.notices: list[str] = []
        self.page.goto(server.url)
        self.page.fill("#name", name)
        self.page.fill("#password", PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("main h1")

    def look(self) -> None:
        """Note what the page shows: share of the work, announcements, whether the server is heard."""
        shown = self.page.locator("#tray-text").text_content() or ""
        if found := re.search(r"(\d+) %", shown):
            self.shares.append(float(found[1]))
        for toast in self.page.locator("#toasts .toast-header").all_text_contents():
            if toast not in self.ends:
                self.ends.append(toast)
        notice = self.page.locator("#tray-heard").text_content() or ""
        if notice and notice not in self.notices:
            self.notices.append(notice)

    def falls(self) -> int:
        """How often the share went back by more than its rounding."""
        return sum(later < earlier - 1 for earlier, later in zip(self.shares, self.shares[1:], strict=False))


def find_chromium() -> str:
    """Where Chromium is."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("Chromium is missing: install it (Debian: sudo apt-get install chromium).")
    return path


def wait(people: list[Person], seconds: float) -> None:
    """Let time go by while all look."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for person in people:
            person.look()
            person.page.wait_for_timeout(150)


def play(
    server: Server, browser: Browser, recording_id: str, pictures: Path | None
) -> tuple[list[Person], bool]:
    """The story; the two people, and whether both heard of the end by themselves."""
    eva, udo = people = [Person(browser, server, name) for name in ("eva", "udo")]
    for person in people:
        person.page.goto(f"{server.url}/recording/{recording_id}")
        person.page.wait_for_selector("#start-run")
    for person in people:
        person.page.evaluate("() => { setTimeout(() => document.getElementById('start-run').click(), 300) }")
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end and not any(share >= UNDER_WAY for share in eva.shares):
        wait(people, 0.5)
    eva.page.reload()
    wait(people, 2.0)
    udo.context.set_offline(True)
    wait(people, OFFLINE_S)
    udo.context.set_offline(False)
    wait(people, 3.0)
    if pictures:
        eva.page.screenshot(path=str(pictures / "working.png"), full_page=True)
    server.stop()
    wait(people, STOPPED_S)
    if pictures:
        udo.page.screenshot(path=str(pictures / "stopped.png"), full_page=True)
    server.start()
    eva.page.goto(f"{server.url}/about")
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end and not (see_report(udo) and "Ready" in eva.ends):
        wait(people, 0.5)
    told = "Ready" in eva.ends and "Ready" in eva.page.title()
    eva.page.locator("#toasts a").click(timeout=30_000)
    eva.page.wait_for_selector(".quality", timeout=60_000)
    return people, see_report(udo) and told


def see_report(person: Person) -> bool:
    """Whether the report has come up without a click."""
    return person.page.locator(".quality").count() > 0


def count_twice(records: Records, recording_id: str) -> tuple[dict[str, Any], str]:
    """What the database and the run's log say happened; and how the newest run ended."""
    runs = records.list_runs(recording_id)
    begun: Counter[str] = Counter()
    for line in (runs[0].folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] in ("stage started", "started"):
            begun[event.get("stage", "run")] += 1
    with records.reading() as database:
        submitted = database.query(models.AuditEvent).filter_by(action="run.submit").count()
    figures = {"runs": len(runs), "attempts": runs[0].attempts, "submitted": submitted}
    return figures | {f"{name} begun": count for name, count in begun.items()}, runs[0].state


def main() -> None:
    """Make, serve, play, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the recording")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the pages on the way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        spec = SynthSpec(
            seconds=options.seconds, size_px=(640, 360), fps=Fraction(60), seed=3, calibration=False
        )
        make_session(data / "visit", spec, Reporter("synth"))
        records = Records(Settings(data_dir=data))
        for name in ("eva", "udo"):
            records.users.add(name, PASSWORD)
        recording = records.add_recording(data / "visit")
        server = Server(data)
        begun = time.monotonic()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
                people, saw = play(server, browser, recording.id, options.pictures)
                browser.close()
        finally:
            server.stop()
        figures, state = count_twice(records, recording.id)
        records.close()
        seconds = time.monotonic() - begun
        print(f"run {state} after {seconds:.0f} s; the one saw the report, the other was told: {saw}")
        print(", ".join(f"{name} {count}" for name, count in figures.items()))
        for person in people:
            print(
                f"{person.name}: share seen {len(person.shares)} times, from {min(person.shares):.0f} to "
                f"{max(person.shares):.0f} %, went back {person.falls()} times; announced: {person.ends}; "
                f"notices: {person.notices}"
            )
        once = all(count == 1 for count in figures.values())
        calm = all(person.falls() == 0 for person in people)
        if state != "done" or not saw or not once or not calm:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
