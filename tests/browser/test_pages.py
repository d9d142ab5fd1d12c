"""The pages around the report: list, upload, start, watch, cancel, with keyboard and on a phone."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.browser

WIDTHS = (1440, 1024, 390)

UNNAMED = """() => [...document.querySelectorAll('main input, main select, main button, a, progress')]
  .filter(e => e.offsetParent && !e.getAttribute('aria-label') && !(e.labels && e.labels.length)
               && !e.textContent.trim())
  .map(e => e.outerHTML.slice(0, 120))"""


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("main h1")).to_have_count(1)


@pytest.mark.parametrize("path", ["/", "/new", "/about", "/nonsense"])
def test_a_page_fits_every_width_and_names_every_control(page: Page, site: Any, path: str) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        open_page(page, site.url + path)
        page.wait_for_timeout(300)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(UNNAMED) == []


def test_the_worklist_finds_filters_and_says_when_nothing_fits(page: Page, site: Any) -> None:
    open_page(page, site.url + "/")
    rows = page.locator("table.worklist tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first.locator(".row-worst li").first).to_contain_text("SD")
    page.fill("#worklist-search", "nobody")
    expect(page.locator("#worklist-table")).to_contain_text("No recording fits")
    page.fill("#worklist-search", "p-browser")
    expect(rows).to_have_count(2)
    page.select_option("#worklist-side", "left")
    expect(page.locator("#worklist-table")).to_contain_text("No recording fits")
    page.select_option("#worklist-side", "right")
    expect(rows).to_have_count(2)


def test_the_keyboard_reaches_a_report_from_the_first_key(page: Page, site: Any) -> None:
    open_page(page, site.url + "/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.className.includes('row-link')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/recording/*")


def test_visits_of_a_person_lead_to_their_comparison(page: Page, site: Any) -> None:
    open_page(page, site.url + "/")
    page.get_by_role("link", name="all visits").first.click()
    page.wait_for_url("**/subject/*")
    expect(page.locator(".visit-list > li")).to_have_count(2)
    plots = page.locator(".trend .js-plotly-plot")
    expect(plots).to_have_count(12, timeout=30_000)  # eight headline numbers, four angles
    page.get_by_role("radio", name="Ring").check()
    expect(page.locator(".trend h4").last).to_have_text("Ring finger DIP flexion")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(500)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(UNNAMED) == []
    page.get_by_role("link", name=re.compile("Compare with")).click()
    page.wait_for_url(f"**/compare/{site.recordings[0]}/{site.recordings[1]}")


def test_an_upload_that_is_cut_goes_on_and_arrives_whole(
    page: Page, site: Any, watch: Any, tmp_path: Path
) -> None:
    data = os.urandom(400_000)
    (tmp_path / "left hand.mp4").write_bytes(data)
    cuts = [0]

    def cut(route: Route) -> None:
        if route.request.method == "PATCH" and cuts[0] < 2:
            cuts[0] += 1
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/upload/*/*", cut)
    open_page(page, site.url + "/new")
    page.set_input_files("#upload-input", tmp_path / "left hand.mp4")
    expect(page.locator(".upload-file .status")).to_have_text("Arrived, 400.0 kB", timeout=30_000)
    assert cuts == [2]
    watch.errors.clear()  # the browser logs the two that were cut
    expect(page.locator(".upload-file input")).to_have_value("left")
    expect(page.locator(".look .check-error")).to_contain_text("left hand.mp4 is not a video", timeout=30_000)
    stored = list(site.log.parent.glob("incoming/*/*.part"))
    assert [hashlib.sha256(path.read_bytes()).digest() for path in stored] == [hashlib.sha256(data).digest()]

    page.reload()
    expect(page.locator(".upload-file .status")).to_have_text("Arrived, 400.0 kB")
    page.fill("#new-subject", "P-upload")
    page.click("#new-check")
    expect(page.locator("#new-checks")).to_contain_text("left hand.mp4 is not a video", timeout=30_000)
    expect(page.locator("#new-start")).to_be_disabled()
    page.get_by_role("button", name="Remove left hand.mp4").click()
    expect(page.locator(".upload-file")).to_have_count(0)
    assert not list(site.log.parent.glob("incoming/*/*.part"))


def test_a_new_recording_is_sent_checked_started_watched_and_cancelled(page: Page, site: Any) -> None:
    open_page(page, site.url + "/new")
    page.set_input_files("#upload-input", site.log.parent / "visit-0" / "front.mp4")
    expect(page.locator(".upload-file .status")).to_contain_text("Arrived", timeout=30_000)
    expect(page.locator(".look")).to_contain_text("front.mp4: 2.5 s, 640x360", timeout=30_000)
    expect(page.locator(".look img")).to_be_visible()
    page.fill("#new-subject", "P-new")
    page.fill("#new-visit", "2026-06-07")
    page.click("#new-check")
    expect(page.locator("#new-start")).to_be_enabled(timeout=60_000)
    page.fill("#new-task", "banjo")
    page.keyboard.press("Tab")
    expect(page.locator("#new-start")).to_be_disabled()  # what changed after the check is checked again
    page.click("#new-check")
    expect(page.locator("#new-start")).to_be_enabled(timeout=60_000)
    page.click("#new-start")
    page.wait_for_url("**/recording/*", timeout=30_000)
    tray = page.locator("#tray")
    expect(tray).to_contain_text("P-new", timeout=30_000)
    expect(tray).to_contain_text("%", timeout=60_000)
    page.reload()  # nothing is lost
    expect(tray).to_contain_text("%", timeout=30_000)
    expect(page.locator(".step-working")).to_have_count(1, timeout=30_000)
    expect(page.locator(".steps")).to_contain_text("Finding the hand in camera front")
    expect(page).to_have_title(re.compile(r"^\[\d+ %\] Report"))
    open_page(page, site.url + "/about")
    tray.get_by_role("button", name=re.compile("Cancel")).click(timeout=30_000)
    expect(page.locator("#toasts")).to_contain_text("Cancelled", timeout=60_000)
    expect(tray).to_be_hidden()
    expect(page).to_have_title("[Cancelled] About - ReDys")
    page.locator("#toasts a").click()
    expect(page.get_by_role("button", name="Go on where it stopped")).to_be_visible(timeout=30_000)


def test_a_server_that_is_not_heard_of_is_said_to_be_silent_until_it_is_back(
    page: Page, site: Any, watch: Any
) -> None:
    open_page(page, site.url + "/about")
    heard = page.locator("#tray-heard")
    expect(heard).to_be_empty()
    page.context.set_offline(True)
    expect(heard).to_contain_text("No network", timeout=5000)
    page.context.set_offline(False)
    expect(heard).to_contain_text("The connection is back", timeout=20_000)
    watch.errors.clear()  # the browser logs what it could not fetch meanwhile
