"""Rigs as a person meets them: kept from a report, looked at, named, chosen, retired."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipeline.calibration.formats import read_rig_file, write_rig_file
from pipeline.results import RigCheck, read_rig, write_rig_check
from tests.browser.test_pages import UNNAMED, WIDTHS, open_page

pytestmark = pytest.mark.browser


def fits(page: Page, url: str) -> None:
    """At every width nothing hangs over the edge, and every control has a name."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        open_page(page, url)
        page.wait_for_timeout(300)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(UNNAMED) == []
    page.set_viewport_size({"width": 1440, "height": 900})


def test_an_empty_list_says_how_a_rig_comes_to_be_and_an_unknown_one_what_to_do(
    page: Page, site: Any
) -> None:
    fits(page, site.url + "/rigs")
    expect(page.locator("main")).to_contain_text("keep the rig from its report")
    open_page(page, f"{site.url}/rigs/{'0' * 32}")
    expect(page.get_by_role("alert")).to_contain_text("no such rig")
    open_page(page, site.url + "/new")
    expect(page.get_by_label("A saved rig")).to_be_disabled()


def test_a_sent_file_is_taken_for_what_its_name_says(page: Page, site: Any) -> None:
    open_page(page, site.url + "/new")
    for name, kind in (
        ("lab.toml", "rig"),
        ("x/Rig.YML", "rig"),
        ("calib/front.mp4", "calibration"),
        ("a.mp4", "video"),
    ):
        ask = f"() => import('/assets/modules/upload.mjs').then((upload) => upload.guess('{name}').kind)"
        assert page.evaluate(ask) == kind


def test_a_rig_is_kept_from_its_report_named_chosen_and_retired(
    page: Page, site: Any, tmp_path: Path
) -> None:
    write_rig_check(site.runs[0].rig_check_json, RigCheck("doubtful", {}, ("Camera left fits less well.",)))
    open_page(page, site.report())
    cameras = page.locator("section.panel", has=page.locator("h2", has_text=re.compile("^Cameras$")))
    expect(cameras).to_contain_text("The cameras since the calibration: doubtful")
    expect(cameras).to_contain_text("Camera left fits less well.")
    page.get_by_label("Name of the rig").fill("Browser studio")
    page.keyboard.press("Enter")  # as good as the button
    expect(cameras.get_by_role("status")).to_contain_text("Kept as Browser studio")
    cameras.get_by_role("link", name="Browser studio").click()
    page.wait_for_url("**/rigs/*")
    expect(page.locator("h1")).to_have_text("Rig Browser studio")
    address = page.url

    expect(page.locator("table.rig-table").first).to_contain_text("origin")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("aniposelib")).click()
    download.value.save_as(tmp_path / "rig.toml")
    names = list(read_rig(site.runs[0].rig_json).cameras)
    assert list(read_rig_file(tmp_path / "rig.toml").cameras) == names

    page.get_by_label("Name", exact=True).fill("Browser room")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("h1")).to_have_text("Rig Browser room")
    fits(page, address)
    fits(page, site.url + "/rigs")
    expect(page.locator("table.worklist tbody tr")).to_have_count(1)

    open_page(page, site.url + "/new")
    page.get_by_label("A saved rig").check()
    expect(page.locator("#new-rig-note")).to_contain_text(f"cameras {', '.join(names)}")
    page.get_by_label("From the hand alone").check()
    expect(page.locator("#new-rig")).to_be_hidden()
    expect(page.locator("#new-rig-note")).to_contain_text("Self-calibrated")

    open_page(page, address)
    page.get_by_role("button", name="Retire").click()
    expect(page.locator("#rig-heading")).to_contain_text("no longer offered")
    open_page(page, site.url + "/new")
    expect(page.get_by_label("A saved rig")).to_be_disabled()


def test_a_saved_rig_is_used_by_a_new_recording_on_the_way_from_files_to_start(page: Page, site: Any) -> None:
    folder = site.log.parent / "visit-1"
    rig = read_rig(site.runs[1].rig_json)
    write_rig_file(site.log.parent / "lab.yaml", rig)
    open_page(page, site.url + "/rigs")
    page.get_by_label("Name of the rig").fill("From a file")
    page.set_input_files("#rig-file-input", site.log.parent / "lab.yaml")
    expect(page.locator("#rig-add-result")).to_contain_text("Kept as From a file", timeout=30_000)
    expect(page.locator("#rig-list")).to_contain_text("From a file")
    page.set_input_files("#rig-file-input", folder / "session.toml")
    expect(page.locator("#rig-add-result")).to_contain_text("session.toml", timeout=30_000)

    open_page(page, site.url + "/new")
    videos = [folder / f"{name}.mp4" for name in rig.cameras]
    page.set_input_files("#upload-input", videos)
    for number in range(len(videos)):
        expect(page.locator(".upload-file .status").nth(number)).to_contain_text("Arrived", timeout=30_000)
    page.fill("#new-subject", "P-rig")
    page.get_by_label("A saved rig").check()
    page.get_by_label("Saved rig", exact=True).select_option(label="From a file")
    page.get_by_label(re.compile("Hand length")).fill("183")
    page.click("#new-check")
    expect(page.locator("#new-checks .checks")).to_contain_text("rig.json (From a file)", timeout=60_000)
    expect(page.locator("#new-start")).to_be_enabled()
    page.click("#new-start")
    page.wait_for_url("**/recording/*", timeout=30_000)
    page.get_by_role("button", name=re.compile("Cancel")).first.click(timeout=60_000)
    expect(page.locator("#toasts")).to_contain_text("Cancelled", timeout=60_000)
    open_page(page, site.url + "/rigs")
    row = page.locator("table.worklist tbody tr", has_text="From a file")
    expect(row).to_contain_text("1 recording")
    kept = list(site.log.parent.glob("sessions/*/session.toml"))
    assert any("hand_length_mm = 183" in path.read_text() for path in kept)
