"""The report, the comparison and the printed page in a real browser."""

from __future__ import annotations

import json
import re
import zipfile
from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

READY = ".player-host[data-ready=true]"
GET_PLAYER = """
async () => {
  const { whenPlayer } = await import("/assets/modules/clock.mjs");
  window.player = await whenPlayer("player");
}
"""
ORDER = [
    "Quality of the recording",
    "Hand map",
    "Player",
    "Movement over time",
    "Joint angles over time",
    "Events",
    "Distance from the reference",
    "Strokes and tremor",
    "Key timing",
    "Headline numbers",
    "Notes and marks",
    "Corrections",
    "Cameras",
    "Take the numbers away",
    "Limits and origin",
]


def open_report(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(READY, timeout=60_000)
    # Plots come when they are near the screen, or printed.
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .main-svg').length >= 8")
    page.evaluate(GET_PLAYER)


def test_the_report_reads_in_its_order(page: Page, site: Any) -> None:
    open_report(page, site.report())
    assert page.locator("h1").inner_text() == "P-browser, 2026-03-02, piano"
    # What is off the screen is not rendered, and has no inner text.
    assert page.locator(".panel > header h2").all_text_contents() == [*ORDER, "How long this is kept"]
    assert page.get_by_text("for trying the software, not for a patient").count() >= 1
    bar = page.get_by_role("navigation", name="On this page")
    assert bar.get_by_role("link").all_inner_texts() == ORDER
    for title in ("Events", "Limits and origin", "Hand map"):
        bar.get_by_role("link", name=title).press("Enter")
        page.wait_for_function("title => document.activeElement.innerText.startsWith(title)", arg=title)
        assert page.locator("section:focus").is_visible()
        page.wait_for_selector(f".contents [aria-current]:text-is('{title}')")


def test_a_click_on_a_heat_map_goes_to_its_moment_and_joint(page: Page, site: Any) -> None:
    open_report(page, site.report())
    spot = page.evaluate(
        """() => {
          const plot = document.querySelectorAll(".js-plotly-plot")[2];
          plot.scrollIntoView({ block: "center", behavior: "instant" });
          const { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          const time = player.times[60];
          const [across, down] = [xaxis._offset + xaxis.d2p(time), yaxis._offset + yaxis.d2p("Ring PIP")];
          return [box.left + across, box.top + down];
        }"""
    )
    page.mouse.move(*spot)
    page.wait_for_timeout(300)
    page.mouse.click(*spot)
    page.wait_for_function("() => player.clock.frame === 60 && player.clock.joint === 'ring_pip'")
    # The finger of the joint in focus is the one whose curves are shown.
    page.wait_for_function("() => document.querySelector('#curves')?.innerText.includes('Ring PIP')")


def test_all_cursors_stand_where_the_player_does(page: Page, site: Any) -> None:
    open_report(page, site.report())
    page.evaluate("() => player.clock.seek(90)")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every((plot) => plot.dataset.frame === '90')"
    )
    places = page.evaluate(
        """() => [...document.querySelectorAll(".plot")].map((plot) => {
          const line = plot.querySelector(".cursor-line").getBoundingClientRect();
          return line.left + line.width / 2;
        })"""
    )
    assert len(places) == 4
    assert max(places) - min(places) < 1.5


def test_an_event_opens_its_moment(page: Page, site: Any) -> None:
    open_report(page, site.report())
    link = page.locator(".moment:visible").first  # what was set aside has some, too, behind its heading
    named = re.fullmatch(r"#f=(\d+)&j=(\w+)", link.get_attribute("href") or "")
    assert named is not None
    frame, joint = named.groups()
    link.click()
    page.wait_for_function(
        "([frame, joint]) => player.clock.frame === frame && player.clock.joint === joint",
        arg=[int(frame), joint],
    )


def test_another_finger_shows_its_own_curves(page: Page, site: Any) -> None:
    open_report(page, site.report())
    page.get_by_label("Thumb", exact=True).check()
    page.wait_for_function("() => document.querySelector('#curves')?.innerText.includes('Thumb MCP')")
    page.evaluate("() => player.clock.seek(50)")
    page.wait_for_function("() => document.querySelector('#curves').closest('.plot').dataset.frame === '50'")


def test_the_downloads_are_there(page: Page, site: Any) -> None:
    open_report(page, site.report())
    page.get_by_text("Choose a format").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Joint angles (CSV)").click()
    head = download.value.path().read_text().splitlines()[0]
    assert head == "side,time_s [s],angle,degrees [°],sigma_deg [°],z [SD],valid"


def test_the_numbers_are_taken_away_by_keyboard_even_where_the_file_must_be_written_first(
    page: Page, site: Any
) -> None:
    open_report(page, site.report())
    page.get_by_text("Choose a format").focus()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Download de-identified: Movement laboratories (C3D)")
    link.focus()
    with page.expect_download(timeout=90_000) as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "redys-c3d-deidentified.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sorted(archive.namelist()) == ["joints.c3d", "manifest.json"]
        assert json.loads(archive.read("manifest.json"))["deidentified"] is True
    if page.get_by_text("ready").count():  # it took longer than the click waits for
        page.get_by_role("link", name="Back to the report").click()
        page.wait_for_selector(READY, timeout=60_000)
    assert page.url.startswith(site.report())


def test_the_printed_report_is_one_page_with_the_same_numbers(page: Page, site: Any) -> None:
    open_report(page, site.report())
    values = page.locator(".headline-value").all_inner_texts()
    page.goto(site.report() + "/print")
    page.wait_for_selector(".sheet")
    shown = page.locator(".sheet").inner_text()
    for value in values:
        assert value in shown
    assert page.locator("canvas, video, .js-plotly-plot").count() == 0
    assert page.evaluate(
        "() => document.querySelector('.sheet').scrollHeight <= 1123 + 2"
    )  # A4 at 96 px/inch
    pdf = page.pdf(prefer_css_page_size=True, print_background=False)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1


def test_two_visits_play_on_one_clock(page: Page, site: Any) -> None:
    page.goto(f"{site.url}/compare/{site.recordings[1]}/{site.recordings[0]}")  # in the wrong order of time
    page.wait_for_function(f"() => document.querySelectorAll('{READY}').length === 2", timeout=60_000)
    assert page.get_by_text("Earlier: P-browser, 2026-03-02").count() == 1
    page.evaluate(
        """async () => {
          const { whenPlayer } = await import("/assets/modules/clock.mjs");
          window.first = await whenPlayer("player");
          window.second = await whenPlayer("player-b");
        }"""
    )
    page.evaluate("() => first.clock.seek(40)")
    page.wait_for_function("() => first.clock.frame === 40 && second.clock.frame === 40")
    page.evaluate("() => { first.clock.setRate(0.5); first.clock.play(); }")
    page.wait_for_timeout(1500)
    page.evaluate("() => first.clock.pause()")
    page.wait_for_function(
        "() => !second.clock.playing && first.clock.frame > 45"
        " && second.clock.frame === Math.min(first.clock.frame, second.clock.nFrames - 1)"
    )


def test_an_unknown_recording_is_said_in_words(page: Page, site: Any) -> None:
    for address in ("/recording/nothing", f"/recording/{'0' * 32}/print", f"/compare/x/{'0' * 32}"):
        page.goto(site.url + address)
        page.wait_for_selector("[role=alert]")
        assert "There is no such recording" in page.locator("[role=alert]").inner_text()


def test_a_server_that_lost_its_video_is_said_with_a_way_on(page: Page, site: Any, watch: Any) -> None:
    page.route("**/index.json", lambda route: route.fulfill(status=503, body="busy"))
    page.goto(site.report())
    message = page.locator(".player-message-failed")
    message.wait_for()
    assert "503" in message.inner_text()
    page.unroute("**/index.json")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(READY)
    assert [error for error in watch.errors if "503" in error]
    watch.errors.clear()


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_no_width_makes_the_page_scroll_sideways(page: Page, site: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_report(page, site.report())
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
