"""A site for the benchmarks of the dashboard: a worked recording, and one of three minutes made from it.

The long one is the worked one over and over: its video's packets, its arrays, its events, until three minutes
are full; and its hand a second time, mirrored, as the left one. What the browser has to fetch, decode and
draw is that of a recording of three minutes of both hands.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from pipeline.files import write_json
from pipeline.hand.joints import N_JOINTS
from records import Records
from settings import ROOT, Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONG_S = 180.0
START_S = 60.0
MISSING = -32768

_BY_FRAME = (
    "shown_",
    "vertices_",
    "joints_",
    "measured_",
    "reprojected_",
    "jerk_",
    "acceleration_",
    "z_",
    "angles_",
)


@dataclass(frozen=True)
class Site:
    """The running site; recordings, runs and ``web/`` by name: "demo", "other" (the next visit), "long"."""

    url: str
    recordings: dict[str, str]
    runs: dict[str, str]
    webs: dict[str, Path]

    def report(self, which: str, fragment: str = "") -> str:
        """Address of a recording's report."""
        return f"{self.url}/recording/{self.recordings[which]}{fragment}"

    def media(self, which: str, name: str) -> str:
        """Address of a file of the newest run of a recording."""
        return f"{self.url}/media/{self.runs[which]}/{name}"


@contextmanager
def serve(data: Path, folder: Path) -> Iterator[Site]:
    """A site of its own in ``folder`` with the worked recordings of the data folder ``data``, served."""
    records = Records(Settings(data_dir=folder))
    recordings: dict[str, str] = {}
    runs: dict[str, str] = {}
    webs: dict[str, Path] = {}
    for name, (session, run) in zip(("demo", "other"), find_worked(data), strict=False):
        recordings[name], runs[name], webs[name] = _add(records, folder, name, session, run)
    recordings["long"], runs["long"], webs["long"] = _add(
        records, folder, "long", *find_worked(data)[0], lengthen=True
    )
    records.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    own = {"REDYS_DATA_DIR": str(folder), "REDYS_PORT": str(port), "REDYS_HOST": "127.0.0.1"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"{url}/health", server)
        yield Site(url, recordings, runs, webs)
    finally:
        server.terminate()
        server.wait(timeout=20)


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """The system's Chromium, headless, with software graphics."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        sys.exit("Chromium is missing (Debian: sudo apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def find_worked(data: Path) -> list[tuple[Path, Path]]:
    """Session and run folder of the finished runs of a data folder, the earliest first."""
    database = data / "redys.sqlite3"
    if not database.is_file():
        sys.exit(f"{data} is no data folder: run `make demo` first, or name one with --data.")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT recording.folder, run.folder FROM run JOIN recording ON run.recording_id = recording.id "
            "WHERE run.state = 'done' ORDER BY run.created"
        ).fetchall()
    found = [
        (data / session, data / run) for session, run in rows if (data / run / "web" / "index.json").is_file()
    ]
    if not found:
        sys.exit(f"{data} has no finished run.")
    return found


def _add(
    records: Records, folder: Path, name: str, session: Path, run: Path, lengthen: bool = False
) -> tuple[str, str, Path]:
    own_session, own_run = folder / f"session-{name}", folder / f"run-{name}"
    shutil.copytree(session, own_session, ignore=shutil.ignore_patterns("calibration", "truth.*"))
    shutil.copytree(run, own_run)
    if lengthen:
        make_long(own_run)
    recording = records.add_recording(own_session)
    added = records.add_finished_run(recording.id, own_run)
    return recording.id, added.id, own_run / "web"


def make_long(run: Path) -> None:
    """Make a run folder's ``web/`` and ``summary.json`` those of three minutes of both hands, in place."""
    web = run / "web"
    index = json.loads((web / "index.json").read_text())
    rate = Fraction(*index["fps"])
    times = int(np.ceil(LONG_S * rate / index["n_frames"]))
    one_s = float(index["n_frames"] / rate)
    for name, file in list(index["files"].items()):
        array = _read(web / name, file) if name.startswith((*_BY_FRAME, "time_s", "outline_")) else None
        if array is None:
            continue
        if name.startswith("time_s"):
            array = np.concatenate([array + np.float32(turn * one_s) for turn in range(times)])
        elif name.startswith("outline_start_"):
            array = np.concatenate(
                [array[:-1] + turn * array[-1] for turn in range(times)] + [array[-1:] * times]
            )
        else:
            array = np.tile(array, (times, *[1] * (array.ndim - 1)))
        _write(web, index, name, array)
    _loop_video(web / index["mosaic"]["file"], times)
    index["files"][index["mosaic"]["file"]]["bytes"] = (web / index["mosaic"]["file"]).stat().st_size
    index["n_frames"] *= times
    summary = json.loads((run / "summary.json").read_text())
    side = index["sides"][0]
    _lengthen_events(summary["sides"][side], times, one_s)
    if len(index["sides"]) == 1:
        _mirror(web, index, side, "left" if side == "right" else "right")
        summary["sides"][index["sides"][1]] = summary["sides"][side]
    summary["recording"]["duration_s"] = float(index["n_frames"] / rate)
    summary["recording"]["n_frames"] = index["n_frames"]
    write_json(run / "summary.json", summary)
    write_json(web / "index.json", index)


def _lengthen_events(side: dict[str, Any], times: int, one_s: float) -> None:
    for kind in ("bouts", "brisk"):
        side[kind] = [
            {key: value + turn * one_s if key.endswith("_s") else value for key, value in event.items()}
            for turn in range(times)
            for event in side[kind]
        ]


def _mirror(web: Path, index: dict[str, Any], side: str, other: str) -> None:
    """A second hand, the first one in a mirror beside it."""
    middle_mm = index["vertices"]["offset_mm"][0]
    for name, file in list(index["files"].items()):
        if f"_{side}" not in name:
            continue
        array = _read(web / name, file)
        if name.startswith("faces_"):
            array = array[:, ::-1]
        elif name.startswith("vertices_"):
            flipped = array.copy()
            flipped[..., 0] = np.where(array[..., 0] == MISSING, MISSING, -array[..., 0])
            array = flipped
        elif name.startswith("joints_") and array.shape[-2:] == (N_JOINTS, 3):
            array = array * np.array([-1, 1, 1], "f4") + np.array([2 * middle_mm, 0, 0], "f4")
        _write(web, index, name.replace(f"_{side}", f"_{other}"), np.ascontiguousarray(array))
    index["sides"].append(other)
    for table in ("ranges", "bands", "reference_posture"):
        index[table][other] = index[table][side]
    about = index["bounds"]["about_palm_mm"]
    about[other] = about[side]


def _read(path: Path, file: dict[str, Any]) -> np.ndarray:
    return np.fromfile(path, np.dtype(file["dtype"]).newbyteorder("<")).reshape(file["shape"])


def _write(web: Path, index: dict[str, Any], name: str, array: np.ndarray) -> None:
    array.tofile(web / name)
    index["files"][name] = {
        "dtype": array.dtype.newbyteorder("=").name,
        "shape": list(array.shape),
        "bytes": array.nbytes,
        "sha256": "",
    }


def _loop_video(path: Path, times: int) -> None:
    """The same packets again and again: every turn begins with a key frame."""
    looped = path.with_suffix(".long.mp4")
    with av.open(str(path)) as source, av.open(str(looped), "w", options={"movflags": "+faststart"}) as out:
        video = source.streams.video[0]
        copy = out.add_stream_from_template(video)
        packets = [packet for packet in source.demux(video) if packet.dts is not None]
        length = sum(packet.duration or 0 for packet in packets)
        # Bytes are kept: a packet is changed by being written.
        kept = [
            (bytes(each), each.pts or 0, each.dts or 0, each.duration or 0, each.is_keyframe)
            for each in packets
        ]
        for turn in range(times):
            for data, pts, dts, duration, is_key in kept:
                packet = av.Packet(data)
                packet.stream, packet.duration, packet.is_keyframe = copy, duration, is_key
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                if video.time_base is not None:
                    packet.time_base = video.time_base
                out.mux(packet)
    looped.replace(path)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("The site did not start; its log lies beside its data.")
