"""What the player and the report page cost in a real browser, each figure beside its bar and floor.

    python -m benchmarks.dashboard_playing [--data DATA] [--only seek page ...] [--minutes 10]

On a worked recording (``make demo``, or the data folder named) and on one of three minutes of both hands made
from it (`benchmarks.dashboard_site`), in Chromium with software graphics:

same-frame  the frame code in the pixels of every panel, overlay, 3D hand and cursors tell one frame
work        the main thread's work for each frame while playing, by tracing; tasks over 50 ms
frames      frames drawn, against a bare video element of the same file, in turns
seek        from asking for a frame to its being shown whole
page        the report of three minutes, warm: time until it is usable, bytes before video and vertices
memory      heap and graphics contexts after 30 page changes and the minutes asked for of playing
foreign     requests to another host on every page
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page

from benchmarks.dashboard_site import Site, open_chromium, serve
from settings import get_settings
from tests.browser.test_player import COLLECT

READY = ".player-host[data-ready=true]"
SPEEDS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2)
LONG_TASK_MS = 50.0
STREAMED = ("mosaic.mp4", "vertices_")
WATCH_CURSORS = """
() => player.clock.subscribe((frame) => {
  const cursors = [...document.querySelectorAll("[data-module=cursors][data-frame]")];
  seen.at(-1).cursors = cursors.map((element) => Number(element.dataset.frame));
  seen.at(-1).late = player.element.hasAttribute("data-late");
})
"""

SEEK = """
async (frames) => {
  const { getPlayer } = await import("/assets/modules/clock.mjs");
  const player = getPlayer("player");
  const times = [];
  for (const frame of frames) {
    await new Promise((resolve) => setTimeout(resolve, 120));
    const start = performance.now();
    await new Promise((resolve) => {
      const look = new MutationObserver(() => {
        const { element } = player;
        if (Number(element.dataset.frame) !== frame || element.hasAttribute("data-late")) return;
        look.disconnect();
        resolve();
      });
      look.observe(player.element, { attributes: true });
      player.clock.seek(frame);
    });
    times.push(performance.now() - start);
  }
  return times;
}
"""

COUNT_PLAYER = """
async (ms) => {
  const { getPlayer } = await import("/assets/modules/clock.mjs");
  const { clock, video } = getPlayer("player");
  clock.setRate(1);
  clock.setLoop(0, clock.nFrames - 1);
  clock.pause();
  clock.seek(0);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const frames = [];
  const stop = clock.subscribe((frame) => frames.push(frame));
  await clock.play();
  await new Promise((resolve) => setTimeout(resolve, ms));
  clock.pause();
  stop();
  return frames.filter((frame, i) => frame !== frames[i - 1]).length;
}
"""

COUNT_BARE = """
async ([url, width, ms]) => {
  const video = document.createElement("video");
  Object.assign(video, { src: url, muted: true, preload: "auto", loop: true });
  video.style.width = `${width}px`;
  document.body.replaceChildren(video);
  await new Promise((resolve) => video.addEventListener("canplaythrough", resolve, { once: true }));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  let frames = 0;
  let last = -1;
  const count = (now, { mediaTime }) => {
    if (mediaTime !== last) frames += 1;
    last = mediaTime;
    video.requestVideoFrameCallback(count);
  };
  video.requestVideoFrameCallback(count);
  await video.play();
  await new Promise((resolve) => setTimeout(resolve, ms));
  video.pause();
  return frames;
}
"""


def open_report(page: Page, site: Site, which: str) -> None:
    """Open a recording's report and wait until its player shows a frame whole."""
    page.goto(site.report(which))
    page.wait_for_selector(READY, timeout=120_000)


def new_page(browser: Browser) -> Page:
    """A page of a context of its own, as wide as a laptop."""
    return browser.new_context(viewport={"width": 1440, "height": 900}).new_page()


# --- same frame ----------------------------------------------------------------------------------


def check_same_frame(browser: Browser, site: Site, which: str) -> None:
    """300 checks or more: playing at every speed, looping, stepping, seeking."""
    page = new_page(browser)
    open_report(page, site, which)
    page.wait_for_timeout(2000)
    page.evaluate(COLLECT)
    page.evaluate(WATCH_CURSORS)
    page.evaluate("() => { seen.length = 0; }")
    for speed in SPEEDS:
        page.evaluate("(rate) => { player.clock.setRate(rate); player.clock.setLoop(100, 160); }", speed)
        page.evaluate("() => player.clock.play()")
        page.wait_for_timeout(4000)
        page.evaluate("() => player.clock.pause()")
        page.wait_for_timeout(300)
    playing = page.evaluate("() => seen.length")
    page.evaluate("() => player.clock.setLoop(null, null)")
    n_frames = page.evaluate("() => player.clock.nFrames")
    chance = random.Random(5)
    for frame in [chance.randrange(n_frames) for _ in range(60)]:
        _go(page, "(frame) => player.clock.seek(frame)", frame)
    for frame in range(200, 240):
        _go(page, "(frame) => player.clock.step(frame - player.clock.heading)", frame)
    seen = page.evaluate("() => seen")
    shown = [np.fromfile(site.webs[which] / f"shown_{number}.i32", "<i4") for number in range(3)]
    bad = [entry for entry in seen if not _is_same(entry, shown)]
    late = sum(entry["late"] for entry in seen)
    print(
        f"same frame, {which}: {len(seen) - len(bad)} of {len(seen)} checks "
        f"({playing} playing at {len(SPEEDS)} speeds in a loop, {len(seen) - playing} by seeks and steps), "
        f"{100 * (1 - len(bad) / len(seen)):.1f} % (bar 100 %); {late} told that a part was on its way"
    )
    for entry in bad[:3]:
        print("   ", json.dumps(entry)[:300])
    page.context.close()


def _go(page: Page, act: str, frame: int) -> None:
    page.evaluate(act, frame)
    page.wait_for_function(
        "(frame) => player.clock.frame === frame && !player.element.hasAttribute('data-late')", arg=frame
    )


def _is_same(entry: dict[str, Any], shown: list[np.ndarray]) -> bool:
    frame = entry["frame"]
    if entry.get("late"):
        return True  # it says itself that a part is on its way
    codes = list(entry["codes"].values())
    wanted = [int(numbers[frame]) for numbers in shown]
    return (
        entry["overlay"] == frame
        and entry["hand"] == frame
        and all(cursor == frame for cursor in entry.get("cursors", []))
        and all(code == (number if number >= 0 else None) for code, number in zip(codes, wanted, strict=True))
    )


# --- work ----------------------------------------------------------------------------------------


def measure_work(browser: Browser, site: Site, which: str, seconds: float = 60.0) -> None:
    """The main thread's tasks between one frame and the next, while the whole report is open."""
    page = new_page(browser)
    open_report(page, site, which)
    page.wait_for_timeout(4000)
    page.evaluate(
        """async () => {
          const { getPlayer } = await import("/assets/modules/clock.mjs");
          window.player = getPlayer("player");
          player.clock.setLoop(0, player.clock.nFrames - 1);
          player.clock.subscribe(() => performance.mark("frame"));
        }"""
    )
    categories = ["toplevel", "blink.user_timing", "disabled-by-default-lighthouse"]
    path = Path(tempfile.mkdtemp()) / "trace.json"
    browser.start_tracing(page=page, path=path, categories=categories)
    page.evaluate("() => player.clock.play()")
    page.wait_for_timeout(int(1000 * seconds))
    page.evaluate("() => player.clock.pause()")
    browser.stop_tracing()
    events = json.loads(path.read_text())["traceEvents"]
    path.unlink()
    page.context.close()
    wall, cpu, longest = _sum_tasks(events)
    print(
        f"work, {which}: main thread {np.median(wall):.2f} ms a frame median, "
        f"P95 {np.percentile(wall, 95):.2f} (of the processor {np.median(cpu):.2f}), of {len(wall)} frames "
        f"(bar 4 ms); longest task {max(longest):.0f} ms, "
        f"{sum(task > LONG_TASK_MS for task in longest)} over 50 ms in {seconds:.0f} s (bar none)"
    )


def _sum_tasks(events: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Milliseconds of tasks by frame, on the clock and on the processor, and every task's length."""
    marks = sorted(
        (event["ts"], event["pid"], event["tid"])
        for event in events
        if event.get("name") == "frame" and "ts" in event
    )
    thread = marks[0][1:]
    at = np.array([mark[0] for mark in marks])
    wall, cpu, lengths = np.zeros(len(at)), np.zeros(len(at)), []
    for event in events:
        if event.get("ph") != "X" or (event["pid"], event["tid"]) != thread:
            continue
        # The same task is also told as "RunTask": counted once.
        if event["name"] != "ThreadControllerImpl::RunTask" or not at[0] <= event["ts"] <= at[-1]:
            continue
        frame = int(np.searchsorted(at, event["ts"] + event["dur"], side="right")) - 1
        wall[frame] += event["dur"] / 1000
        cpu[frame] += event.get("tdur", 0) / 1000
        lengths.append(event["dur"] / 1000)
    return wall[1:-1], cpu[1:-1], lengths


# --- frames --------------------------------------------------------------------------------------


def count_frames(browser: Browser, site: Site, which: str, rounds: int = 3, seconds: float = 10.0) -> None:
    """Frames that the player announces and draws, and those of a bare video element, in turns."""
    ratios, counts = [], []
    for _ in range(rounds):
        page = new_page(browser)
        open_report(page, site, which)
        page.locator("#player").scroll_into_view_if_needed()
        page.wait_for_timeout(3000)
        width = page.evaluate("() => document.querySelector('.player-video').clientWidth")
        drawn = page.evaluate(COUNT_PLAYER, 1000 * seconds)
        page.context.close()
        bare = new_page(browser)
        bare.goto(f"{site.url}/health")
        floor = bare.evaluate(COUNT_BARE, [site.media(which, "mosaic.mp4"), width, 1000 * seconds])
        bare.context.close()
        ratios.append(drawn / floor)
        counts.append((drawn / seconds, floor / seconds))
    said = ", ".join(f"{drawn:.1f} of {floor:.1f} frames/s" for drawn, floor in counts)
    print(f"frames, {which}: {np.median(ratios):.3f} of a bare video element's (bar 0.95): {said}")


# --- seek ----------------------------------------------------------------------------------------


def measure_seek(browser: Browser, site: Site, which: str, count: int = 60) -> None:
    """From asking for a frame until panels, overlay and 3D hand show it."""
    page = new_page(browser)
    open_report(page, site, which)
    page.wait_for_timeout(3000)
    n_frames = page.evaluate("() => Number(document.querySelector('.player-slider').max) + 1")
    chance = random.Random(2)
    times = np.array(page.evaluate(SEEK, [chance.randrange(1, n_frames) for _ in range(count)]))
    page.context.close()
    print(
        f"seek, {which}: median {np.median(times):.0f} ms, P95 {np.percentile(times, 95):.0f} ms of {count} "
        "(bar 80 and 150 ms)"
    )


# --- page ----------------------------------------------------------------------------------------


def measure_page(browser: Browser, site: Site, which: str, rounds: int = 3) -> None:
    """The report in a browser that has seen it: seconds, and bytes but for video and vertices until then."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    rows = [_open_measured(context, site, which) for _ in range(rounds + 1)][1:]
    context.close()
    words, usable, drawn, bytes_, parts = (np.array(values) for values in zip(*rows, strict=True))
    print(
        f"page, {which}: usable (player shows a frame whole) after {np.median(usable):.2f} s, numbers after "
        f"{np.median(words):.2f} s, every plot after {np.median(drawn):.2f} s (bar 1.5 s); "
        f"{np.median(bytes_) / 1e6:.2f} MB before video and vertices (bar 1.5 MB)"
    )
    for name, size in sorted(parts[-1].items(), key=lambda part: -part[1])[:8]:
        print(f"    {size / 1e3:7.0f} kB  {name}")


def _open_measured(
    context: BrowserContext, site: Site, which: str
) -> tuple[float, float, float, int, dict[str, int]]:
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    names: dict[str, str] = {}
    sizes: dict[str, int] = {}
    session.on("Network.responseReceived", lambda e: names.update({e["requestId"]: e["response"]["url"]}))
    session.on(
        "Network.dataReceived",
        lambda e: sizes.update({e["requestId"]: sizes.get(e["requestId"], 0) + e["encodedDataLength"]}),
    )
    start = time.perf_counter()
    page.goto(site.report(which), wait_until="commit")
    page.wait_for_selector(".hand-map, [class*=hand-map]", timeout=60_000)
    words = time.perf_counter() - start
    page.wait_for_selector(READY, timeout=120_000)
    usable = time.perf_counter() - start
    before = dict(sizes)  # what comes now is streamed while the page is used
    page.wait_for_function(
        "() => [...document.querySelectorAll('.dash-graph')].every(g => g.querySelector('.main-svg'))"
    )
    drawn = time.perf_counter() - start
    parts: dict[str, int] = {}
    for key, size in before.items():
        name = names.get(key, "?").split("?")[0].removeprefix(site.url)
        if not any(word in name for word in STREAMED):
            parts[name] = parts.get(name, 0) + size
    page.close()
    return words, usable, drawn, sum(parts.values()), parts


# --- memory --------------------------------------------------------------------------------------


def measure_memory(browser: Browser, site: Site, which: str, minutes: float) -> None:
    """The page's heap after changes of page and minutes of playing, against that after the first few."""
    page = new_page(browser)
    said: list[str] = []
    page.on(
        "console", lambda message: said.append(message.text) if "context" in message.text.lower() else None
    )
    session = page.context.new_cdp_session(page)
    open_report(page, site, which)
    for _ in range(4):  # what is made once, is made now
        _leave_and_return(page)
    before = _heap(session, page)
    for _ in range(15):
        _leave_and_return(page)
    changed = _heap(session, page)
    page.evaluate(
        """async () => {
          const { getPlayer } = await import("/assets/modules/clock.mjs");
          const { clock } = getPlayer("player");
          clock.setLoop(0, clock.nFrames - 1);
          clock.play();
        }"""
    )
    page.wait_for_timeout(10_000)
    playing = _heap(session, page)
    page.wait_for_timeout(int(60_000 * minutes))
    played = _heap(session, page)
    lost = [text for text in said if "lost" in text.lower() or "too many" in text.lower()]
    page.context.close()
    print(
        f"memory, {which}: heap {before:.1f} MB, after 30 page changes {changed:.1f} MB "
        f"({100 * (changed / before - 1):+.1f} %), after 10 s of playing {playing:.1f} MB and "
        f"{minutes:g} min more {played:.1f} MB ({100 * (played / playing - 1):+.1f} %) (bar +10 %); "
        f"contexts lost: {len(lost)} (bar none)"
    )


def _leave_and_return(page: Page) -> None:
    page.get_by_role("link", name="Recordings", exact=True).first.click()
    page.wait_for_function("() => !document.querySelector('[data-module=player]')")
    page.go_back()
    # Not wait_for_selector: the handle that it gives would hold the page that was left.
    page.wait_for_function("ready => !!document.querySelector(ready)", arg=READY, timeout=60_000)


def _heap(session: Any, page: Page) -> float:
    """Megabytes held by scripts and their arrays, once what can go has gone."""
    page.wait_for_timeout(1500)
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return (usage["usedSize"] + usage.get("backingStorageSize", 0)) / 1e6


# --- foreign requests ----------------------------------------------------------------------------


def check_foreign(browser: Browser, site: Site) -> None:
    """Every page once, and what each asked of another host."""
    page = new_page(browser)
    foreign: list[str] = []
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((site.url, "data:", "blob:")) else foreign.append(request.url)
        ),
    )
    demo, other = site.recordings["demo"], site.recordings.get("other", site.recordings["long"])
    pages = ["/", "/new", "/rigs", "/about", "/photos", f"/recording/{demo}", f"/recording/{demo}/print"]
    pages += [f"/recording/{demo}/clocks", f"/compare/{demo}/{other}"]
    for address in pages:
        page.goto(site.url + address)
        page.wait_for_timeout(2500)
    page.context.close()
    print(f"foreign: {len(foreign)} requests to another host on {len(pages)} pages (bar none) {foreign[:3]}")


def _both(
    question: Callable[[Browser, Site, str], None],
) -> Callable[[Browser, Site, argparse.Namespace], None]:
    def ask(browser: Browser, site: Site, arguments: argparse.Namespace) -> None:
        for which in ("demo", "long"):
            question(browser, site, which)

    return ask


QUESTIONS: dict[str, Callable[[Browser, Site, argparse.Namespace], None]] = {
    "same-frame": _both(check_same_frame),
    "work": lambda browser, site, asked: measure_work(browser, site, "demo", asked.seconds),
    "frames": lambda browser, site, asked: count_frames(browser, site, "demo"),
    "seek": _both(measure_seek),
    "page": lambda browser, site, asked: measure_page(browser, site, "long"),
    "memory": lambda browser, site, asked: measure_memory(browser, site, "demo", asked.minutes),
    "foreign": lambda browser, site, asked: check_foreign(browser, site),
}


def main() -> None:
    """Ask what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=None, help="a data folder with worked recordings")
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--minutes", type=float, default=10.0, help="of playing, for memory")
    parser.add_argument("--seconds", type=float, default=60.0, help="of playing, for work")
    arguments = parser.parse_args()
    data = arguments.data or get_settings().data_dir
    print(f"{os.cpu_count()} processors, {os.getloadavg()[0]:.1f} others waiting for them at the start")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(data, Path(folder)) as site,
        open_chromium() as browser,
    ):
        for name in arguments.only:
            QUESTIONS[name](browser, site, arguments)


if __name__ == "__main__":
    main()
