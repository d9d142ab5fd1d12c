"""A site with two made visits, served as a person would serve it, and a real Chromium to open it."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from pipeline.export.web import write_web
from pipeline.files import write_json
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.measures.baseline import read_baseline
from pipeline.measures.measure import measure
from pipeline.measures.summary import summarise, write_summary
from pipeline.progress import Reporter
from pipeline.results import HandTrack, RunFolder, ViewTrack, write_hand, write_rig, write_sync, write_table
from pipeline.session import read_session
from pipeline.synth.session import make_session
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Truth, read_truth
from records import Records
from settings import ROOT, Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 60.0


@dataclass(frozen=True)
class Site:
    """The running site and the two visits on it, the earlier first."""

    url: str
    recordings: tuple[str, str]
    runs: tuple[RunFolder, RunFolder]
    log: Path

    def report(self, visit: int = 0, fragment: str = "") -> str:
        return f"{self.url}/recording/{self.recordings[visit]}{fragment}"


@dataclass
class Watch:
    """What a page said and asked for while it was open."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def make_run(session_folder: Path, out: Path, model: HandModel) -> RunFolder:
    """A run folder as the pipeline would leave it, had it found the truth."""
    run, session, truth = RunFolder(out), read_session(session_folder), read_truth(session_folder)
    hand, views, baseline = _track(truth), _views(truth), read_baseline()
    hands = {truth.side: hand}
    measures = measure(hands, baseline)
    write_sync(run.sync_json, truth.sync)
    write_rig(run.rig_json, truth.rig)
    write_table(run.measures_parquet, measures.measures)
    write_table(run.angles_parquet, measures.angles)
    summary = summarise(
        settings=session.settings,
        sync=truth.sync,
        rig=truth.rig,
        views=views,
        hands=hands,
        measures=measures,
        baseline=baseline,
        model_name=model.name,
    )
    write_summary(run.summary_json, summary)
    write_web(run, session, truth.sync, truth.rig, views, hands, measures, model, Reporter("web"), baseline)
    used = {"role": "hand model", "name": model.name, "licence": model.licence, "sha256": model.digest}
    write_hand(run, truth.side, hand)
    write_json(run.run_json, {"state": "done", "versions": {"redys": "made"}, "models": [used]})
    return run


def _track(truth: Truth) -> HandTrack:
    frames, cameras = len(truth.time_s), tuple(truth.rig.cameras)
    trust = np.ones((len(cameras), frames, 21))
    trust[1, 30:50, 13:17] = 0.0  # the second camera shows the ring finger elsewhere
    return HandTrack(
        time_s=truth.time_s,
        betas=truth.betas,
        global_orient=truth.global_orient,
        hand_pose=truth.hand_pose,
        transl_mm=truth.transl_mm,
        joints_mm=truth.joints_mm,
        joint_sigma_mm=np.full((frames, 21), 0.5),
        residual_px=np.ones((len(truth.rig.cameras), frames, 21)),
        quality=np.ones((frames, 21)),
        cameras=cameras,
        trust=trust,
        view_state=np.full((len(cameras), frames), "used", dtype="U10"),
    )


def _views(truth: Truth) -> dict[str, dict]:
    views = {}
    for camera, points in truth.keypoints_px.items():
        low, high = points.min(axis=1), points.max(axis=1)
        views[camera] = {
            truth.side: ViewTrack(
                time_s=truth.camera_time_s[camera],
                box_px=np.concatenate([low, high], axis=1),
                box_state=np.full(len(points), "detected"),
                keypoints_px=points,
                sigma_px=np.ones(points.shape[:2]),
                score=np.ones(len(points)),
                size_px=truth.size_px,
            )
        }
    return views


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two visits of one made person on a site of their own, on a free port of this computer."""
    data = tmp_path_factory.mktemp("site")
    model = load_hand_model()
    records = Records(Settings(data_dir=data))
    recordings, runs = [], []
    kinds: tuple[tuple[Literal["healthy", "dystonic"], float], ...] = (("dystonic", 2.5), ("healthy", 1.2))
    for visit, (kind, seconds) in enumerate(kinds):
        spec = SynthSpec(
            seconds=seconds,
            size_px=(640, 360),
            fps=Fraction(60000, 1001),
            seed=11 + visit,
            subject=4,
            kind=kind,
            name="P-browser",
            visit=datetime.date(2026, 3 + 2 * visit, 2),
            calibration=False,
            max_offset_s=0.25,
        )
        make_session(data / f"visit-{visit}", spec, Reporter("synth"), model)
        run = make_run(data / f"visit-{visit}", data / f"run-{visit}", model)
        recording = records.add_recording(data / f"visit-{visit}")
        records.add_finished_run(recording.id, run.path)
        recordings.append(recording.id)
        runs.append(run)
    records.close()
    yield from _serve(data, (recordings[0], recordings[1]), (runs[0], runs[1]))


def _serve(data: Path, recordings: tuple[str, str], runs: tuple[RunFolder, RunFolder]) -> Iterator[Site]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = data / "server.log"
    own = {"REDYS_DATA_DIR": str(data), "REDYS_PORT": str(port), "REDYS_HOST": "127.0.0.1"}
    environment = {**os.environ, **own}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield Site(f"http://127.0.0.1:{port}", recordings, runs, log)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"The site did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless, with software graphics."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("The browser tests need Chromium: install it (Debian: sudo apt-get install chromium).")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def watch() -> Watch:
    """Filled by `page`; tests may look, and the page's end does."""
    return Watch()


@pytest.fixture
def page(browser: Browser, site: Site, watch: Watch) -> Iterator[Page]:
    """A fresh page; whatever it logs as an error or asks of another host fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            watch.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def see(request: Request) -> None:
        if not request.url.startswith((site.url, "data:", "blob:")):
            watch.foreign.append(request.url)

    opened.on("console", hear)
    opened.on("pageerror", lambda error: watch.errors.append(str(error)))
    opened.on("request", see)
    yield opened
    context.close()
    assert not watch.errors
    assert not watch.foreign
