"""The player shows one frame everywhere, and does what a person asks of it."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from pipeline.synth.frame_code import CELL_HEIGHT, CELL_WIDTH, MIN_CONTRAST, N_CELLS
from pipeline.synth.frame_code import CHECK_START as CHECK

pytestmark = pytest.mark.browser

READY = "[data-ready=true]"

# Reads the frame code of every camera's panel from the pixels that the video shows when overlays and 3D hand
# draw. These are taken from the picture that the clock holds at that instant: a second look at
# the video, milliseconds later on a busy machine, may see the next one. Fills window.seen with
# {frame, overlay, hand, codes: {camera: number or null}}.
COLLECT = f"""
async () => {{
  const {{ getPlayer }} = await import("/assets/modules/clock.mjs");
  const player = getPlayer("player");
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", {{ willReadFrequently: true }});
  [canvas.width, canvas.height] = player.index.mosaic.size_px;
  const middle = (start, end) => {{
    const first = Math.round(start + (end - start) / 4);
    return [first, Math.max(Math.round(end - (end - start) / 4), first + 1)];
  }};
  function readCode([x, y, width, height]) {{
    const across = Math.ceil({N_CELLS} * {CELL_WIDTH} * width);
    const {{ data }} = context.getImageData(x, y, across, Math.ceil({CELL_HEIGHT} * height));
    const [y0, y1] = middle(0, {CELL_HEIGHT} * height);
    const cells = [];
    for (let cell = 0; cell < {N_CELLS}; cell += 1) {{
      const [x0, x1] = middle(cell * {CELL_WIDTH} * width, (cell + 1) * {CELL_WIDTH} * width);
      let sum = 0;
      for (let v = y0; v < y1; v += 1) for (let u = x0; u < x1; u += 1) {{
        const at = (v * across + u) * 4;
        sum += (data[at] + data[at + 1] + data[at + 2]) / 3;
      }}
      cells.push(sum / ((y1 - y0) * (x1 - x0)));
    }}
    const last = cells.length - 1;
    const black = (cells[0] + cells[last]) / 2;
    const white = (cells[1] + cells[last - 1]) / 2;
    if (white - black < {MIN_CONTRAST}) return null;
    const bits = cells.map((value) => (value > (black + white) / 2 ? 1 : 0));
    if (bits[0] || !bits[1] || !bits[last - 1] || bits[last]) return null;
    const number = parseInt(bits.slice(2, 18).join(""), 2);
    const check = parseInt(bits.slice(18, 22).join(""), 2);
    const sum = [0, 4, 8, 12].reduce((total, shift) => total + ((number >> shift) & 15), {CHECK});
    return check === sum % 16 ? number : null;
  }}
  window.seen = [];
  window.player = player;
  player.clock.subscribe((frame) => {{
    const {{ picture }} = player.clock;
    context.drawImage(picture ?? player.video, 0, 0);
    const read = ({{ name, picture_px: box }}) => [name, readCode(box)];
    const codes = Object.fromEntries(player.index.cameras.map(read));
    const [overlay, hand] = [player.canvas, player.hand].map((element) => Number(element.dataset.frame));
    window.seen.push({{ frame, overlay, hand, codes }});
  }});
}}
"""


def open_report(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(READY, timeout=60_000)


def collect(page: Page) -> None:
    page.evaluate(COLLECT)


def go_to(page: Page, frame: int) -> None:
    page.evaluate("(frame) => { player.clock.pause(); player.clock.seek(frame); }", frame)
    page.wait_for_function("(frame) => seen.length && seen.at(-1).frame === frame", arg=frame, timeout=15_000)


def shown_frames(site: Any, visit: int = 0) -> dict[str, np.ndarray]:
    names = ("front", "left", "right")
    return {
        name: np.fromfile(site.runs[visit].web / f"shown_{number}.i32", "<i4")
        for number, name in enumerate(names)
    }


def check_all(seen: list[dict[str, Any]], shown: dict[str, np.ndarray]) -> int:
    """Every frame announced is the one in the pixels of every panel, in the overlay and in the 3D hand."""
    for entry in seen:
        frame = entry["frame"]
        assert entry["overlay"] == frame, entry
        assert entry["hand"] == frame, entry
        for camera, code in entry["codes"].items():
            wanted = int(shown[camera][frame])
            assert code == (wanted if wanted >= 0 else None), (camera, wanted, entry)
    return len(seen)


@pytest.mark.parametrize("rate", [0.5, 1, 2])
def test_everything_shows_the_same_frame_while_playing(page: Page, site: Any, rate: float) -> None:
    open_report(page, site.report())
    collect(page)
    page.evaluate("(rate) => { player.clock.setRate(rate); player.clock.setLoop(20, 80); }", rate)
    page.evaluate("() => player.clock.play()")
    page.wait_for_timeout(4000)
    page.evaluate("() => player.clock.pause()")
    seen = page.evaluate("() => seen")
    assert check_all(seen, shown_frames(site)) >= 40
    assert len({entry["frame"] for entry in seen}) >= 30  # it moved
    loop = [entry["frame"] for entry in seen[5:]]
    assert any(after < before for before, after in itertools.pairwise(loop))  # and came round


def test_everything_shows_the_same_frame_after_every_seek(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    n_frames = page.evaluate("() => player.clock.nFrames")
    chance = random.Random(3)
    for frame in [0, n_frames - 1, *(chance.randrange(n_frames) for _ in range(60))]:
        go_to(page, frame)
    assert check_all(page.evaluate("() => seen"), shown_frames(site)) >= 60


def test_everything_shows_the_same_frame_when_stepping(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    go_to(page, 60)
    for expected in [*range(61, 76), *range(74, 59, -1)]:
        forward = expected > page.evaluate("() => seen.at(-1).frame")
        page.get_by_role("button", name="One frame on" if forward else "One frame back").click()
        page.wait_for_function("(frame) => seen.at(-1).frame === frame", arg=expected)
    assert check_all(page.evaluate("() => seen"), shown_frames(site)) >= 30


def test_a_burst_of_seeks_lands_on_the_last(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    page.evaluate("() => { for (let frame = 5; frame <= 120; frame += 5) player.clock.seek(frame); }")
    page.wait_for_function("() => seen.length && seen.at(-1).frame === 120")
    assert check_all(page.evaluate("() => seen"), shown_frames(site)) <= 12  # not one decode a call


def test_a_link_opens_on_its_frame_and_joint(page: Page, site: Any) -> None:
    open_report(page, site.report(fragment="#f=97&j=index_pip"))
    collect(page)
    page.wait_for_function("() => player.clock.frame === 97 && player.clock.joint === 'index_pip'")
    page.evaluate("() => { location.hash = '#f=33&j=ring_dip'; }")
    page.wait_for_function("() => player.clock.frame === 33 && player.clock.joint === 'ring_dip'")
    page.evaluate("() => { location.hash = '#f=99999&j=nonsense'; }")
    page.wait_for_function("() => player.clock.frame === player.clock.nFrames - 1")
    assert page.evaluate("() => player.clock.joint") == "ring_dip"


def test_the_address_follows_and_can_be_copied(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    assert page.evaluate("() => location.hash") == ""
    go_to(page, 42)
    page.evaluate("() => player.clock.focus('middle_tip')")
    page.wait_for_function("() => location.hash === '#f=42&j=middle_tip'")
    page.get_by_role("button", name="Copy link to this moment").click()
    page.wait_for_function(
        "async () => (await navigator.clipboard.readText()).endsWith('#f=42&j=middle_tip')"
    )


def test_keys_act_only_while_the_player_has_the_focus(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert page.evaluate("() => player.clock.frame") == 0

    last = page.evaluate("() => player.clock.nFrames - 1")
    page.evaluate("() => player.root.focus()")
    for key, frame in [
        ("ArrowRight", 1),
        (".", 2),
        ("ArrowLeft", 1),
        ("Shift+ArrowRight", 61),
        ("End", last),
    ]:
        page.keyboard.press(key)
        page.wait_for_function("(frame) => player.clock.frame === frame", arg=frame)
    page.keyboard.press("Home")
    page.wait_for_function("() => player.clock.frame === 0")
    page.keyboard.press("+")
    assert page.evaluate("() => player.clock.rate") == 1.5
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert page.evaluate("() => player.clock.rate") == 0.75
    page.keyboard.press("2")
    assert page.evaluate("() => player.stage.dataset.layout") == "solo"
    page.keyboard.press("0")
    assert page.evaluate("() => player.stage.dataset.layout") == "cell"
    page.keyboard.press("[")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function("() => player.clock.frame === 60")
    page.keyboard.press("]")
    assert page.evaluate("() => player.clock.loop") == [0, 60]
    page.keyboard.press("\\")
    assert page.evaluate("() => player.clock.loop") == [None, None]
    page.keyboard.press("Space")
    page.wait_for_function("() => player.clock.playing")
    page.keyboard.press("Space")
    page.wait_for_function("() => !player.clock.playing")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog[open]')")


def test_an_enlarged_camera_keeps_overlay_and_picture_together(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    go_to(page, 70)
    page.get_by_role("button", name="Enlarge left").click()
    placed = page.evaluate(
        """() => {
          const video = player.video.getBoundingClientRect();
          const overlay = player.canvas.getBoundingClientRect();
          const [x, y, width, height] = player.index.cameras[1].panel_px;
          const scale = video.width / player.index.mosaic.size_px[0];
          return [overlay.left - (video.left + x * scale), overlay.top - (video.top + y * scale),
                  overlay.width - width * scale, overlay.height - height * scale];
        }"""
    )
    assert np.abs(placed).max() < 1.5


def test_looking_through_a_camera_lays_the_3d_hand_over_its_skeleton(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    go_to(page, 70)
    # The 3D camera's own projection of the fused joints against the overlay's points (which carry the lens's
    # distortion and the camera's own instant): within a small share of the picture.
    distance = page.evaluate(
        """async () => {
          const THREE = await import("three");
          const { hand3d, index, overlays } = player;
          hand3d.lookThrough("left");
          const [width, height] = [player.hand.clientWidth, player.hand.clientHeight];
          const [pw, ph] = index.cameras[1].source_px;
          const fit = Math.min(width / pw, height / ph);
          const track = overlays.tracks.find((one) => one.camera === "left" && one.kind === "reprojected");
          let worst = 0;
          for (let joint = 0; joint < 21; joint += 1) {
            const point = new THREE.Vector3().fromArray(hand3d.hands[0].points, joint * 3);
            point.applyMatrix4(hand3d.world.matrixWorld).project(hand3d.view);
            const x = ((point.x * width) / 2 / fit) / pw + 0.5;
            const y = ((-point.y * height) / 2 / fit) / ph + 0.5;
            const points = track.stream.at(70).values;
            worst = Math.max(worst, Math.hypot(x - points[2 * joint] / 8192, y - points[2 * joint + 1] / 8192));
          }
          return worst;
        }"""
    )
    assert distance < 0.02


def test_leaving_the_page_ends_everything(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    page.evaluate("() => { window.gl = player.hand3d.renderer.getContext(); player.clock.play(); }")
    page.get_by_role("link", name="Recordings").click()
    page.wait_for_function("() => !document.querySelector('[data-module=player]')")
    page.wait_for_function("() => gl.isContextLost() && player.video.paused && !player.video.networkState")
    assert page.evaluate("() => player.clock.listeners.size") == 0


def test_coming_and_going_loses_no_graphics_context(page: Page, site: Any) -> None:
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if "context" in message.text else None)
    open_report(page, site.report())
    for _ in range(17):
        page.get_by_role("link", name="Recordings", exact=True).click()
        page.wait_for_function("() => !document.querySelector('[data-module=player]')")
        page.go_back()
        page.wait_for_selector(READY)
    assert not [text for text in warnings if "Too many active WebGL" in text]


def test_dash_hears_of_the_playhead_at_most_four_times_a_second(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    page.evaluate(
        """() => {
          window.told = 0;
          const tell = dash_clientside.set_props;
          dash_clientside.set_props = (...args) => { told += 1; return tell(...args); };
          player.clock.play();
        }"""
    )
    page.wait_for_timeout(2000)
    assert 2 <= page.evaluate("() => told") <= 9
