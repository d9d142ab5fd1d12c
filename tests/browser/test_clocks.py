"""A camera's clock set by eye and ear: dragged, typed, moved by keys, heard, compared with rivals, kept."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from pipeline.progress import Reporter
from pipeline.results import RunFolder, write_sync
from pipeline.session import read_session
from pipeline.sync.cameras import synchronise
from pipeline.sync.waveforms import to_pcm, write_waveforms
from pipeline.video import VideoWriter, read_audio
from records import Records, models
from records.models import now
from settings import Settings
from tests.browser.conftest import Site, _serve

pytestmark = pytest.mark.browser

RATE_HZ = 16000
BAR_S = 4.0
TRUE_S = 1.2345
"""The start of camera left on the clock of front; the music comes again every bar, so it fits there too."""
RIVALS_S = (-6.7655, -2.7655, 5.2345, 9.2345)


def make_bar() -> np.ndarray:
    """A bar of plucked tones and clicks (M,)."""
    random = np.random.default_rng(7)
    bar = np.zeros(round(BAR_S * RATE_HZ))
    for start_s in (0, 0.5, 1.0, 1.25, 1.75, 2.3, 3.0, 3.5):
        time_s = np.arange(RATE_HZ) / RATE_HZ
        hertz = 262 * 2 ** (random.integers(0, 14) / 12)
        tone = np.zeros(RATE_HZ)
        for h in range(1, 6):
            tone += np.sin(2 * np.pi * hertz * h * time_s) / h * np.exp(-time_s * (3 + h))
        tone[:400] += random.standard_normal(400) * np.exp(-np.arange(400) / 80)
        first = round(start_s * RATE_HZ)
        bar[first : first + RATE_HZ] += tone[: len(bar) - first]
    return bar / np.abs(bar).max()


def hear(start_s: float, seconds: float, level: float, seed: int) -> np.ndarray:
    """The music from ``start_s`` on, with a microphone's own noise; between samples by Fourier."""
    n = round(seconds * RATE_HZ)
    music = np.tile(make_bar(), 6)
    hertz = np.fft.rfftfreq(len(music), 1 / RATE_HZ)
    music = np.fft.irfft(np.fft.rfft(music) * np.exp(2j * np.pi * hertz * start_s), len(music))
    noise = np.random.default_rng(seed).standard_normal(n)
    return (level * (music[:n] + 0.02 * noise)).astype(np.float32)


def film(path: Path, sound: np.ndarray | None, seconds: float) -> None:
    audio = None if sound is None else (sound, RATE_HZ)
    with VideoWriter(path, (32, 32), Fraction(10), audio=audio) as writer:
        for index in range(round(seconds * 10)):
            writer.write(np.full((32, 32, 3), index % 256, np.uint8))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One recording to look at and one to change: their runs have listened and then stopped."""
    data = tmp_path_factory.mktemp("clocks")
    folders = [data / "look", data / "change"]
    folders[0].mkdir()
    film(folders[0] / "front.mp4", hear(0.0, 16.0, 0.5, 1), 16.0)
    film(folders[0] / "left.mp4", hear(TRUE_S, 14.0, 0.2, 2), 14.0)
    film(folders[0] / "right.mp4", None, 14.0)
    shutil.copytree(folders[0], folders[1])
    (folders[1] / "session.toml").write_text('subject = "P-clocks"  # not a name\n# the end\n')
    records = Records(Settings(data_dir=data))
    session = read_session(folders[0])
    sync = synchronise(session, Reporter("sound"))
    recordings: list[str] = []
    runs: list[RunFolder] = []
    for folder in folders:
        recording = records.add_recording(folder)
        run = records.submit_run(recording.id)
        left = RunFolder(run.folder)
        left.web.mkdir(parents=True)
        write_sync(left.sound_json, sync)
        if runs:
            shutil.copytree(runs[0].web, left.web, dirs_exist_ok=True)
        else:
            write_waveforms(session, sync, left.web, Reporter("sound"))
        with records.writing() as database:
            ended = {"state": "failed", "stage": "sync", "finished": now(), "error_what": "Not on one clock."}
            records.change(database, models.Run.id == run.id, **ended)
        recordings.append(recording.id)
        runs.append(left)
    records.close()
    yield from _serve(data, (recordings[0], recordings[1]), (runs[0], runs[1]))


def open_clocks(page: Page, site: Site, camera: str = "left", which: int = 0) -> None:
    page.goto(f"{site.report(which)}/clocks#c={camera}")
    page.wait_for_selector(f"#clocks[data-ready={camera}]", timeout=30_000)


def offset_of(page: Page) -> float:
    return float(page.locator("#clocks").get_attribute("data-offset") or "nan")


def box_of(canvas: Locator) -> dict[str, float]:
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


def view_of(page: Page) -> dict[str, float]:
    view: dict[str, float] = page.evaluate(
        """async () => {
          const bench = (await import("/assets/modules/clocks.mjs")).getBench("clocks");
          return { ...bench.view, cursor: bench.cursor };
        }"""
    )
    return view


# --- looking ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1440, 820, 390])
def test_the_page_fits_every_width_and_every_control_can_be_named_and_hit(
    page: Page, site: Site, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_clocks(page, site)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    faults = page.evaluate(
        """() => [...document.querySelectorAll("#clocks :is(button, input, select, canvas, summary)")]
          .filter((one) => one.checkVisibility())
          .filter((one) => {
            const { width, height } = (one.closest("label") ?? one).getBoundingClientRect();
            const named = one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim();
            return !named || width < 24 || height < 24;
          }).map((one) => one.outerHTML.slice(0, 100))"""
    )
    assert faults == []
    assert page.locator("main h1").count() == 1


def test_the_camera_that_needs_a_person_comes_first(page: Page, site: Site) -> None:
    page.goto(f"{site.report()}/clocks")
    page.wait_for_selector("#clocks[data-ready]")
    tabs = page.locator(".clock-tab")
    assert [tab.inner_text().split() for tab in tabs.all()] == [["right", "not", "known"], ["left", "check"]]
    expect(page.get_by_role("radio", name="right")).to_be_checked()
    page.get_by_role("radio", name="left").check()
    page.wait_for_selector("#clocks[data-ready=left]")
    assert page.evaluate("() => location.hash") == "#c=left"
    expect(page.locator(".clock-why")).to_contain_text("repeats itself")


def test_what_was_measured_is_shown_with_its_error_and_its_confidence(page: Page, site: Site) -> None:
    open_clocks(page, site)
    assert offset_of(page) == pytest.approx(TRUE_S, abs=2e-4)
    readout = page.locator(".clock-readout")
    expect(readout).to_contain_text("Measured by sound")
    expect(readout).to_contain_text("ms")
    expect(readout).to_contain_text("1.00, high")
    expect(readout).to_contain_text("none")  # no difference from the measured
    label = page.locator(".clock-curve").get_attribute("aria-label") or ""
    assert "+5.23" in label


def test_the_two_sounds_lie_under_each_other_when_the_offset_is_right(page: Page, site: Site) -> None:
    """The columns of the two lanes, read from the pixels, rise and fall together only at the right offset."""
    open_clocks(page, site)
    page.wait_for_selector("#clocks[data-sound=ready]")
    likeness = """() => {
      const canvas = document.querySelector(".clock-closeup");
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
      const lane = Math.floor((height - 22 * devicePixelRatio) / 2);
      const filled = (from, x) => {
        let count = 0;
        for (let y = from; y < from + lane; y += 1) {
          const [r, , b, a] = data.slice((y * width + x) * 4, (y * width + x) * 4 + 4);
          if (a > 128 && Math.abs(r - b) > 40) count += 1;
        }
        return count;
      };
      const rows = [0, lane].map((from) => Array.from({ length: width }, (_, x) => filled(from, x)));
      const mean = rows.map((row) => row.reduce((a, b) => a + b) / width);
      const moved = rows.map((row, i) => row.map((value) => value - mean[i]));
      const sum = (i, j) => moved[i].reduce((total, value, x) => total + value * moved[j][x], 0);
      return sum(0, 1) / Math.sqrt(sum(0, 0) * sum(1, 1));
    }"""
    assert page.evaluate(likeness) > 0.9
    page.get_by_label("Seconds added to the camera's time").fill("1.5")
    assert page.evaluate(likeness) < 0.6


def test_a_drift_is_said_and_the_offset_is_that_of_the_middle(page: Page, site: Site) -> None:
    """A clock set by hand has no drift: what was measured is shown where that does the least harm."""
    path = site.runs[0].web / "sound.json"
    before = path.read_text()
    index = json.loads(before)
    index["cameras"][1]["drift_ppm"] = 100.0
    path.write_text(json.dumps(index))
    try:
        open_clocks(page, site)
    finally:
        path.write_text(before)
    assert offset_of(page) == pytest.approx(index["cameras"][1]["offset_s"] + 7 * 100e-6, abs=2e-6)
    expect(page.locator(".clock-readout")).to_contain_text("+1.4 ms over the recording")
    expect(page.locator(".clock-readout")).to_contain_text("none")
    page.get_by_label("Seconds added").fill("3.5")
    expect(page.locator(".clock-readout")).to_contain_text("+2.26")  # s, no longer ms


# --- choosing --------------------------------------------------------------------------------------------


def test_keys_move_the_camera_by_a_millisecond_by_ten_and_by_a_tenth(page: Page, site: Site) -> None:
    open_clocks(page, site)
    start = offset_of(page)
    closeup = page.get_by_role("slider", name="Offset of camera left")
    closeup.focus()
    for key, step in (
        ("ArrowRight", 1e-3), ("Shift+ArrowRight", 1e-2), ("Control+ArrowRight", 1e-4), ("ArrowLeft", -1e-3),
        ("Shift+ArrowLeft", -1e-2), ("Shift+ArrowLeft", -1e-2), ("Control+ArrowLeft", -1e-4),
    ):  # fmt: skip
        page.keyboard.press(key)
        start += step
        assert offset_of(page) == pytest.approx(start, abs=2e-6)
    assert float(page.get_by_label("Seconds added").input_value()) == pytest.approx(start, abs=1e-5)
    said = closeup.get_attribute("aria-valuetext") or ""
    assert "seconds" in said
    assert "confidence" in said
    expect(page.locator(".clock-readout")).to_contain_text("−10.00 ms")
    page.get_by_role("button", name="Later by 10 ms").click()
    page.get_by_role("button", name="Back to the measured one").click()
    expect(page.locator(".clock-readout")).to_contain_text("none")


def test_the_camera_is_dragged_and_the_reference_only_looked_along(page: Page, site: Site) -> None:
    open_clocks(page, site)
    closeup = page.locator(".clock-closeup")
    box = box_of(closeup)
    span, width = view_of(page)["span"], box["width"] - 2  # its border
    middle = box["x"] + box["width"] / 2
    start, lower = offset_of(page), box["y"] + box["height"] * 0.65
    page.mouse.move(middle, lower)
    page.mouse.down()
    page.mouse.move(middle + 40, lower, steps=4)
    page.mouse.move(middle + 120, lower, steps=4)
    page.mouse.up()
    dragged = start + 120 * span / width
    assert offset_of(page) == pytest.approx(dragged, abs=2e-5)

    before = view_of(page)
    upper = box["y"] + box["height"] * 0.25
    page.mouse.move(middle, upper)
    page.mouse.down()
    page.mouse.move(middle - 100, upper, steps=4)
    page.mouse.up()
    assert offset_of(page) == pytest.approx(dragged, abs=2e-5)
    assert view_of(page)["start"] == pytest.approx(before["start"] + 100 * span / width, abs=1e-4)

    page.mouse.click(box["x"] + 1 + width / 4, lower)  # a click moves neither
    after = view_of(page)
    assert after["cursor"] == pytest.approx(after["start"] + after["span"] / 4, abs=2 * span / width)
    assert offset_of(page) == pytest.approx(dragged, abs=2e-5)


def test_the_wheel_zooms_at_the_pointer_once_the_close_up_has_the_focus(page: Page, site: Site) -> None:
    open_clocks(page, site)
    closeup = page.locator(".clock-closeup")
    box = box_of(closeup)
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40)
    before = view_of(page)
    page.mouse.wheel(0, -50)
    page.wait_for_timeout(200)
    assert view_of(page)["span"] == before["span"]  # a passing wheel scrolls the page
    closeup.focus()
    box = box_of(closeup)
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(200)
    after = view_of(page)
    assert after["span"] == pytest.approx(before["span"] / 2, rel=1e-6)
    at = before["start"] + before["span"] / 4
    assert after["start"] + after["span"] / 4 == pytest.approx(at, abs=0.01)
    page.keyboard.press("-")
    assert view_of(page)["span"] == pytest.approx(before["span"], rel=1e-6)
    page.get_by_role("button", name="Whole").click()
    assert view_of(page)["span"] == pytest.approx(16.0, abs=0.05)
    for _ in range(16):
        page.get_by_role("button", name="Show less, larger").click()
    assert view_of(page)["span"] == pytest.approx(0.004, rel=0.01)  # single samples


def test_what_is_typed_is_taken_or_refused_in_words(page: Page, site: Site) -> None:
    open_clocks(page, site)
    typed, use = page.get_by_label("Seconds added"), page.get_by_role("button", name="Use this offset")
    typed.fill("-2.5")
    assert offset_of(page) == -2.5
    expect(use).to_be_enabled()
    expect(page.locator(".clock-readout")).to_contain_text("11.50 s")  # 14 s less 2.5 s: what both recorded
    for text, taken in (("-2,75", -2.75), ("−2.5 ", -2.5), (".5", 0.5)):  # a comma, the pages' own minus sign
        typed.fill("")
        typed.press_sequentially(text)
        assert offset_of(page) == taken
        expect(page.locator("#clock-error")).to_be_empty()
    typed.press("ArrowUp")
    typed.press("Shift+ArrowUp")
    typed.press("Control+ArrowDown")
    assert offset_of(page) == pytest.approx(0.5109, abs=1e-9)
    expect(typed).to_have_value("0.51090")
    for text in ("", "1e9", "1,000.5", "-", "99999"):
        typed.fill(text)
        expect(page.locator("#clock-error")).to_contain_text("in seconds")
        expect(typed).to_have_attribute("aria-invalid", "true")
        expect(use).to_be_disabled()
    typed.fill("16.5")
    expect(page.locator("#clock-error")).to_contain_text("did not record at the same time")
    expect(use).to_be_disabled()
    typed.fill("0.184")
    expect(page.locator("#clock-error")).to_be_empty()
    expect(use).to_be_enabled()


def test_a_used_offset_is_said_for_the_same_moment_as_the_measured_one(page: Page, site: Site) -> None:
    open_clocks(page, site)
    said = page.evaluate(
        """async () => {
          const bench = (await import("/assets/modules/clocks.mjs")).getBench("clocks");
          const { measured } = bench.camera;
          measured.drift_ppm = 1000; // 7 ms in the middle of 14 s
          bench.camera.used = { ...measured, source: "audio" };
          bench.setOffset(bench.measured());
          const rows = [...document.querySelectorAll(".clock-readout > div")].map((row) => row.innerText);
          const find = (term) => rows.find((row) => row.startsWith(term));
          return [find("Measured by sound"), find("Used in the last run")];
        }"""
    )
    numbers = [re.search(r"[+−][\d.]+ s", row) for row in said]
    assert numbers[0] is not None
    assert numbers[1] is not None
    assert numbers[0].group() == numbers[1].group()


def test_the_fit_tells_a_bar_that_comes_again_from_hills_of_confidence_without_one(
    page: Page, site: Site
) -> None:
    open_clocks(page, site)
    expect(page.locator(".clock-fits")).to_contain_text("has no such ceiling")
    found = {}
    for text in page.locator(".clock-peaks button").all_inner_texts():
        match = re.search(r"([+−][\d.]+) s.*fit ([\d.]+)", text, re.DOTALL)
        assert match is not None
        found[float(match[1].replace("−", "-"))] = float(match[2])
    repeats = {offset for offset in found if abs((offset - TRUE_S + 0.1) % BAR_S - 0.1) < 0.05}
    assert all(found[offset] > 0.9 for offset in repeats), found
    assert found.keys() - repeats, "there is nothing to tell apart"
    assert all(found[offset] < 0.5 for offset in found.keys() - repeats), found
    assert max(fit for offset, fit in found.items() if abs(offset - TRUE_S) < 0.05) == 1.0


def test_next_peak_goes_through_the_rivals_of_a_bar_that_comes_again(page: Page, site: Site) -> None:
    open_clocks(page, site)
    page.wait_for_selector("#clocks[data-sound=ready]")
    expect(page.locator(".clock-fits")).to_contain_text("does not tell which is right")
    found = []
    count = page.locator(".clock-peaks button").count()
    for _ in range(count):
        page.get_by_role("button", name="Next peak").click()
        found.append(offset_of(page))
        expect(page.locator(".clock-peaks button[aria-pressed=true]")).to_have_count(1)
    for true_s in (TRUE_S, *RIVALS_S):
        assert min(abs(offset - true_s) for offset in found) < 2e-4, (true_s, found)
    assert found[-1] == pytest.approx(TRUE_S, abs=2e-4)  # once round
    page.locator(".clock-closeup").focus()
    page.keyboard.press("n")
    assert offset_of(page) == found[0]


def test_a_peak_of_the_curve_can_be_clicked(page: Page, site: Site) -> None:
    open_clocks(page, site)
    page.wait_for_selector("#clocks[data-sound=ready]")
    box = box_of(page.locator(".clock-curve"))
    first, last = -14.0, 16.0  # offsets at which both were recording
    page.mouse.click(box["x"] + (RIVALS_S[2] - first) / (last - first) * box["width"] + 3, box["y"] + 60)
    assert offset_of(page) == pytest.approx(RIVALS_S[2], abs=2e-4)
    page.mouse.click(box["x"] + 0.97 * box["width"], box["y"] + 60)  # far from any
    assert offset_of(page) == pytest.approx(first + 0.97 * (last - first), abs=0.1)
    expect(page.locator(".clock-readout")).to_contain_text("low")


def test_the_middle_of_a_hill_with_a_flat_top_is_its_peak(page: Page, site: Site) -> None:
    open_clocks(page, site)
    found = page.evaluate(
        """async () => {
          const { findPeaks } = await import("/assets/modules/waveforms.mjs");
          const values = new Uint8Array(20001).fill(8);
          const hill = (middle, top, half) => { for (let k = -600; k <= 600; k += 1) {
            values[middle + k] = Math.max(values[middle + k], top - Math.max(0, Math.abs(k) - half)); } };
          hill(4000, 255, 40); hill(9000, 150, 0); hill(15000, 255, 3);
          return findPeaks(values, 0.001);
        }"""
    )
    assert [(peak["index"], peak["value"]) for peak in found] == [(4000, 255), (9000, 150), (15000, 255)]
    assert [peak["reach"] for peak in found] == [40, 0, 3]


# --- hearing ---------------------------------------------------------------------------------------------

LISTEN = """() => {
  window.starts = [];
  window.pans = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when, at, length) {
    starts.push({ when, at, length, rate: this.context.sampleRate, stopped: false });
    const number = starts.length - 1;
    const stop = this.stop;
    this.stop = (...args) => { starts[number].stopped = true; return stop.apply(this, args); };
    return start.call(this, when, at, length);
  };
  const pan = AudioContext.prototype.createStereoPanner;
  AudioContext.prototype.createStereoPanner = function () {
    const made = pan.call(this);
    pans.push(made.pan);
    return made;
  };
}"""


MOVE_CURSOR = """async (time) => {
  (await import("/assets/modules/clocks.mjs")).getBench("clocks").moveCursor(time);
}"""


def starts_of(page: Page, count: int = 2) -> list[dict[str, float]]:
    page.wait_for_function("(count) => starts.length >= count", arg=count, timeout=15_000)
    starts: list[dict[str, float]] = page.evaluate("() => starts")
    return starts


def open_and_listen(page: Page, site: Site) -> None:
    open_clocks(page, site)
    page.wait_for_selector("#clocks[data-sound=ready]")
    page.evaluate(LISTEN)


def test_both_sounds_start_so_that_the_offset_holds_to_the_sample(page: Page, site: Site) -> None:
    open_and_listen(page, site)
    for typed, cursor_s in (("1.2345", 5.0), ("-2.76553", 3.0), ("6.5", 2.0)):
        page.evaluate("() => { starts.length = 0; pans.length = 0; }")
        page.get_by_label("Seconds added").fill(typed)
        page.evaluate(MOVE_CURSOR, cursor_s)
        play = page.get_by_role("button", name="Play from the cursor")
        play.click()
        reference, camera = starts_of(page)
        # at any instant of the audio clock: time of the reference = time of the camera + offset
        heard = (reference["at"] - reference["when"]) - (camera["at"] - camera["when"])
        assert heard == pytest.approx(float(typed), abs=0.25 / RATE_HZ)
        assert reference["at"] == pytest.approx(cursor_s, abs=1e-9)
        assert min(reference["at"], camera["at"]) >= 0
        assert reference["rate"] == RATE_HZ
        assert page.evaluate("() => pans.map((pan) => pan.value)") == [-1, 1]
        page.get_by_role("button", name="Stop").click()
        assert all(start["stopped"] for start in page.evaluate("() => starts"))
    assert camera["when"] > reference["when"] + 4  # the camera had not started yet: it comes in later


def test_a_loop_comes_round_the_cursor_and_follows_the_offset(page: Page, site: Site) -> None:
    open_and_listen(page, site)
    page.get_by_label("Loop 3 s around the cursor").check()
    page.get_by_label("Ears").select_option("middle")
    page.locator(".clock-closeup").focus()
    page.keyboard.press("Space")
    rounds = starts_of(page, 4)
    pairs = list(itertools.batched(rounds, 2)) if hasattr(itertools, "batched") else [rounds[:2], rounds[2:4]]
    for reference, camera in pairs[:2]:
        heard = (reference["at"] - reference["when"]) - (camera["at"] - camera["when"])
        assert heard == pytest.approx(offset_of(page), abs=0.25 / RATE_HZ)
        assert reference["length"] == pytest.approx(3.0, abs=1e-6)
        assert reference["at"] == pytest.approx(view_of(page)["cursor"] - 1.5, abs=1e-6)
    assert page.evaluate("() => pans.map((pan) => pan.value)")[:4] == [0, 0, 0, 0]
    count = page.evaluate("() => starts.length")
    page.keyboard.press("Shift+ArrowRight")
    moved = starts_of(page, count + 2)[-2:]
    heard = (moved[0]["at"] - moved[0]["when"]) - (moved[1]["at"] - moved[1]["when"])
    assert heard == pytest.approx(offset_of(page), abs=0.25 / RATE_HZ)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play from the cursor")).to_be_visible()


def test_what_is_played_are_the_files_samples(page: Page, site: Site) -> None:
    open_and_listen(page, site)
    got = page.evaluate(
        """async () => {
          const bench = (await import("/assets/modules/clocks.mjs")).getBench("clocks");
          const { buffer } = bench.tracks.get("left");
          return [buffer.sampleRate, buffer.length, Array.from(buffer.getChannelData(0).slice(40000, 40400))];
        }"""
    )
    samples = read_audio(site.log.parent / "look" / "left.mp4", RATE_HZ)
    assert samples is not None
    assert got[:2] == [RATE_HZ, len(samples)]
    assert np.abs(np.array(got[2]) - to_pcm(samples)[40000:40400] / 32768).max() < 2e-4


def test_leaving_the_page_ends_the_sound(page: Page, site: Site) -> None:
    open_and_listen(page, site)
    page.get_by_role("button", name="Play from the cursor").click()
    starts_of(page)
    page.get_by_role("link", name="Recordings").click()
    page.wait_for_function("() => !document.querySelector('#clocks') && starts.every((one) => one.stopped)")


# --- what is not there -----------------------------------------------------------------------------------


def test_a_camera_without_sound_says_so_and_its_offset_is_typed(page: Page, site: Site) -> None:
    open_clocks(page, site, "right")
    expect(page.locator(".clock-message")).to_contain_text("no sound of camera right (right.mp4)")
    expect(page.locator(".clock-stage")).to_be_hidden()
    expect(page.locator(".clock-fits")).to_be_hidden()
    use = page.get_by_role("button", name="Use this offset")
    expect(use).to_be_disabled()  # nobody knows it: no number stands there as if it were one
    expect(page.get_by_label("Seconds added")).to_have_value("")
    page.get_by_label("Seconds added").fill("0.25")
    expect(use).to_be_enabled()
    page.get_by_role("radio", name="left").check()
    page.wait_for_selector("#clocks[data-ready=left]")
    page.get_by_role("radio", name="right").check()
    expect(page.get_by_label("Seconds added")).to_have_value("0.25000")  # kept while one looks elsewhere


def test_sound_that_does_not_come_is_said_and_can_be_asked_for_again(
    page: Page, site: Site, watch: Any
) -> None:
    page.route("**/sound_1_peaks.i8", lambda route: route.abort("connectionreset"))
    page.goto(f"{site.report()}/clocks#c=left")
    expect(page.locator(".clock-message")).to_contain_text("could not be loaded", timeout=15_000)
    expect(page.get_by_label("Seconds added")).to_have_value("1.23450")
    page.unroute("**/sound_1_peaks.i8")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".clock-stage")).to_be_visible()
    expect(page.locator(".clock-message")).to_be_empty()
    watch.errors.clear()  # the browser logs the file that did not come


# --- keeping ---------------------------------------------------------------------------------------------


def wait_for_end(site: Site) -> None:
    """The run that was started on the second recording is stopped, so that the next can be."""
    records = Records(Settings(data_dir=site.log.parent))
    run = records.get_recording(site.recordings[1]).run
    assert run is not None
    if run.is_live:
        with records.writing() as database:
            records.change(database, models.Run.id == run.id, state="cancelled", finished=now())
    records.close()


def test_an_offset_is_kept_a_run_started_and_both_taken_back(page: Page, site: Site) -> None:
    path = site.log.parent / "change" / "session.toml"
    first = site.runs[1].path.name
    open_clocks(page, site, which=1)
    page.get_by_label("Seconds added").fill("1.2355")
    page.get_by_role("button", name="Use this offset and run again").click()
    page.wait_for_url(site.report(1), timeout=20_000)
    assert path.read_text() == 'subject = "P-clocks"  # not a name\n# the end\n\n[offset_s]\nleft = 1.2355\n'
    records = Records(Settings(data_dir=site.log.parent))
    run = records.get_recording(site.recordings[1]).run
    records.close()
    assert run is not None
    assert run.id != first
    wait_for_end(site)

    open_clocks(page, site, which=1)
    expect(page.locator(".clock-tab", has_text="left")).to_contain_text("set by hand")
    assert offset_of(page) == 1.2355
    expect(page.locator(".clock-readout")).to_contain_text("+1.0")  # ms from what the sound told
    page.get_by_role("button", name="Remove the manual offset").click()
    page.wait_for_url(site.report(1), timeout=20_000)
    assert path.read_text().strip() == 'subject = "P-clocks"  # not a name\n# the end'
    wait_for_end(site)


def test_a_server_that_does_not_answer_is_said(page: Page, site: Site, watch: Any) -> None:
    page.clock.install()
    open_clocks(page, site, which=1)
    page.context.set_offline(True)
    page.get_by_role("button", name="Use this offset and run again").click()
    expect(page.locator(".clock-use")).to_contain_text("Sending")
    page.clock.run_for(16_000)
    expect(page.locator(".clock-use")).to_contain_text("has not answered")
    expect(page.get_by_role("button", name="Use this offset and run again")).to_be_enabled()
    watch.errors.clear()  # the browser logs the request that was cut
    assert read_session(site.log.parent / "change").settings.offset_s == {}


def test_a_folder_that_is_gone_is_said_on_the_page(page: Page, site: Site) -> None:
    open_clocks(page, site, which=1)
    folder = site.log.parent / "change"
    away = folder.rename(folder.with_name("away"))
    try:
        page.get_by_role("button", name="Use this offset and run again").click()
        expect(page.locator("#clocks-answer")).to_contain_text("cannot be opened", timeout=15_000)
        expect(page.get_by_role("button", name="Use this offset and run again")).to_be_enabled()
    finally:
        away.rename(folder)


def test_while_a_run_is_at_work_no_clock_is_set(page: Page, site: Site) -> None:
    records = Records(Settings(data_dir=site.log.parent))
    run = records.get_recording(site.recordings[1]).run
    assert run is not None
    try:
        with records.writing() as database:
            records.change(database, models.Run.id == run.id, state="queued", summoned=now())
        open_clocks(page, site, which=1)
        expect(page.get_by_role("button", name="Use this offset and run again")).to_be_disabled()
        expect(page.locator(".clock-use")).to_contain_text("being worked on")
    finally:
        wait_for_end(site)
        records.close()


def test_a_failed_run_leads_to_its_clocks(page: Page, site: Site) -> None:
    page.goto(site.report(0))
    page.get_by_role("link", name="See the cameras' sound and set a clock by hand").click()
    page.wait_for_url("**/clocks*")
    page.wait_for_selector("#clocks[data-ready]")
    index = json.loads((site.runs[0].web / "sound.json").read_text())
    assert page.locator(".clock-tab").count() == len(index["cameras"]) - 1
