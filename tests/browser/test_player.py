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

READY = ".player-host[data-ready=true]"

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
            const [u, v] = [points[2 * joint] / 8192, points[2 * joint + 1] / 8192];
            worst = Math.max(worst, Math.hypot(x - u, y - v));
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


def test_dash_hears_of_the_playhead_when_it_rests_and_not_while_it_plays(page: Page, site: Any) -> None:
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
    assert page.evaluate("() => told") == 0
    page.evaluate("() => { told = 0; player.clock.pause(); }")
    page.wait_for_function("() => told > 0", timeout=3000)


def test_the_outline_lies_about_the_points_of_the_hand(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    page.get_by_label("Outline").check()
    go_to(page, 70)
    page.wait_for_function("() => !player.element.hasAttribute('data-late')")
    # Against the skeleton's points, which come another way: the fingers' joints lie within the rings.
    inside = page.evaluate(
        """() => {
          const { overlays, index } = player;
          const context = document.createElement("canvas").getContext("2d");
          return index.cameras.map(({ name }, camera) => {
            const ofCamera = overlays.tracks.filter((one) => one.camera === name);
            const find = (kind) => ofCamera.find((one) => one.kind === kind).stream.at(70).values;
            const path = new Path2D();
            let open = false;
            const rings = find("outline");
            for (let i = 0; i < rings.length; i += 2) {
              if (rings[i] === index.missing.i16) { path.closePath(); open = false; continue; }
              if (open) path.lineTo(rings[i], rings[i + 1]);
              else path.moveTo(rings[i], rings[i + 1]);
              open = true;
            }
            const points = find("reprojected");
            const isInside = (joint) => context.isPointInPath(path, points[2 * joint], points[2 * joint + 1]);
            return [2, 5, 6, 9, 10, 13, 14, 17, 18].filter(isInside).length;
          });
        }"""
    )
    assert all(count >= 8 for count in inside), inside
    assert page.evaluate("() => player.canvas.dataset.frame") == "70"


def test_the_references_posture_lies_on_the_palm(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    go_to(page, 70)
    assert page.evaluate("() => player.hand.dataset.ghost") == ""  # none unless it is asked for
    page.get_by_label("Ghost").select_option("reference")
    page.wait_for_function("() => player.hand.dataset.ghost === 'all'")
    assert "The reference is simulated" in page.locator(".player-ghost-note").inner_text()
    distance = page.evaluate(
        """async () => {
          const THREE = await import("three");
          const [hand] = player.hand3d.hands;
          const joints = player.hand3d.ghost.at(hand.side).joints;
          return [0, 5, 9, 13, 17].map((joint) => {
            const laid = new THREE.Vector3().fromArray(joints, joint * 3).applyMatrix4(hand.ghost.matrix);
            return laid.distanceTo(new THREE.Vector3().fromArray(hand.points, joint * 3));
          });
        }"""
    )
    assert max(distance) < 6.0  # mm: the palm is one, whatever the fingers do
    page.get_by_label("Ghost").select_option("none")
    page.wait_for_function("() => player.hand.dataset.ghost === ''")


def test_events_are_gone_to_and_looped_by_key_and_by_mouse(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    events = page.evaluate("() => JSON.parse(player.element.dataset.events).map(([frame]) => frame)")
    later = [frame for frame in events if frame > 0]
    page.evaluate("() => player.root.focus()")
    page.keyboard.press("n")
    page.wait_for_function("(frame) => player.clock.frame === frame", arg=later[0])
    page.get_by_role("button", name="Next event").click()
    page.wait_for_function("(frame) => player.clock.frame === frame", arg=later[1])
    assert page.locator(".player-said").inner_text().startswith(f"Event {events.index(later[0]) + 2} of")
    page.get_by_role("button", name="Loop this event").click()
    start, end = page.evaluate("() => player.clock.loop")
    assert start <= later[1] <= end
    assert page.locator(".player-loop").is_visible()
    page.get_by_role("button", name="No loop").click()
    go_to(page, 30)
    page.get_by_role("button", name="Loop from here").click()
    go_to(page, 90)
    page.get_by_role("button", name="Loop to here").click()
    assert page.evaluate("() => player.clock.loop") == [30, 90]
    # Keys of a single character can be switched off; the others stay.
    page.get_by_role("button", name="Keys", exact=True).click()
    page.get_by_label("Keys of a single character act").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("\\")
    page.keyboard.press("Home")
    page.wait_for_function("() => player.clock.frame === 0")
    assert page.evaluate("() => [player.clock.loop[0], localStorage.getItem('redys-player-keys')]") == [
        30,
        "off",
    ]


def test_a_followers_offset_can_change_and_its_hand_be_the_others_ghost(page: Page, site: Any) -> None:
    page.goto(f"{site.url}/compare/{site.recordings[0]}/{site.recordings[1]}")
    page.wait_for_function(
        "() => document.querySelectorAll('.player-host[data-ready]').length === 2", timeout=60_000
    )
    collect(page)
    page.evaluate("() => redys.call('player', 'setFollowOffset', 'player-b', -0.5)")
    go_to(page, 60)
    # 60.5 frames at 59.94/s, less half a second, are frame 30 of the other.
    page.wait_for_function("() => document.querySelector('#player-b').dataset.frame === '30'")
    page.locator("#player").get_by_label("Ghost").select_option("visit")
    page.wait_for_function("() => player.hand.dataset.ghost === '30'")
    go_to(page, 10)  # before the other's start
    page.wait_for_function("() => player.hand.dataset.ghost === ''")
    assert "has no frame at this moment" in page.locator("#player .player-ghost-note").inner_text()


def test_a_seek_back_to_the_frame_just_left_is_not_lost(page: Page, site: Any) -> None:
    open_report(page, site.report())
    collect(page)
    go_to(page, 50)
    # Another seek has landed, but its frame has not been announced yet.
    page.evaluate(
        """() => {
          player.video.addEventListener("seeked", () => player.clock.seek(50), { once: true });
          player.clock.seek(10);
        }"""
    )
    page.wait_for_timeout(800)
    assert page.evaluate("() => Math.floor(player.video.currentTime * player.clock.fps)") == 50
    assert page.evaluate("() => player.clock.frame") == 50


def test_a_link_to_the_moment_that_the_address_names_goes_there_again(page: Page, site: Any) -> None:
    open_report(page, site.report(fragment="#f=40"))
    collect(page)
    page.wait_for_function("() => player.clock.frame === 40")
    page.evaluate(
        """() => {
          const link = Object.assign(document.createElement("a"), { href: "#f=40", textContent: "there" });
          document.querySelector("main").append(link);
          player.video.addEventListener("seeked", () => {
            history.replaceState(history.state, "", "#f=40"); // as while it plays, when the address rests
            link.click();
          }, { once: true });
          player.clock.seek(60);
        }"""
    )
    page.wait_for_timeout(800)
    assert page.evaluate("() => player.clock.frame") == 40
