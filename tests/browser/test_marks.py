"""The timeline and its marks in a real browser, by keyboard; and a rating that sees no numbers."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_a_mark_is_set_at_the_players_moment_by_keyboard_and_leads_back_to_it(page: Page, site: Site) -> None:
    page.goto(site.report(0, "#f=60"))
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    expect(page.locator(".player-slider")).to_have_value("60")
    cursor = page.locator(".lane-cursor")
    share = 60 / 59.94 / float(page.locator(".timeline").get_attribute("data-duration") or 0)
    expect(cursor).to_have_attribute("style", re.compile(r"translateX\(4"))
    at = re.findall(r"translateX\(([\d.]+)%", cursor.get_attribute("style") or "")
    assert float(at[0]) == pytest.approx(100 * share, abs=0.1)
    page.locator("#player .player").focus()
    page.keyboard.press("m")
    expect(page.locator("#mark-start")).to_have_value(re.compile(r"^1\.00"))
    expect(page.locator("#mark-kind")).to_be_focused()
    page.locator("#mark-kind").select_option("abnormal movement")
    page.locator("#mark-text").fill("<b>little finger</b>")
    page.keyboard.press("Enter")
    mark = page.locator(".lane-item.lane-abnormal-movement")
    expect(mark).to_have_count(1)
    assert float(re.findall(r"left: ([\d.]+)%", mark.get_attribute("style") or "")[0]) == pytest.approx(
        100 * share, abs=0.1
    )
    expect(page.locator(".marks-table")).to_contain_text("<b>little finger</b>")
    # Along the track by arrow keys, one stop for the Tab key; Enter goes to the moment.
    page.locator(".lane-item[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert page.locator(".lane-item[tabindex='0']").count() == 1
    page.keyboard.press("End")
    page.locator(".player-slider").fill("3")
    expect(page.locator(".player-readout")).to_contain_text("frame 3")
    mark.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".player-slider")).to_have_value("60")
    page.get_by_role("button", name="Withdraw").click()
    expect(mark).to_have_count(0)
    page.get_by_text("Withdrawn: 1").click()
    page.get_by_role("button", name="Bring back").click()
    expect(mark).to_have_count(1)
    page.get_by_role("button", name="Withdraw").click()
    expect(mark).to_have_count(0)


def test_what_is_missing_of_a_section_is_said_and_nothing_is_worked(page: Page, site: Site) -> None:
    page.goto(site.report())
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    page.get_by_text("Leave a section out").click()
    page.locator("[data-fill=exclude-start]").click()
    expect(page.locator("#exclude-start")).to_have_value("0")
    page.locator("#exclude-end").fill("1.5")
    page.locator("#exclude-go").click()
    expect(page.locator("#corrections-answer")).to_contain_text("needs a reason")
    expect(page.locator("#corrections")).to_contain_text("Nothing has been corrected")


def test_who_rates_sees_neither_numbers_nor_date_and_marks_blinded(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/recording/{site.recordings[0]}/mark")
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    words = page.locator("main").inner_text()
    for told in ("2026", "SD", "m/s", "P-browser", "sustained posture"):
        assert told not in words
    expect(page.locator(".lane-posture, .lane-brisk")).to_have_count(0)
    expect(page.locator(".player-hand, .player-legend")).to_have_count(2)
    for each in page.locator(".player-hand, .player-legend").all():
        expect(each).to_be_hidden()
    expect(page.locator(".player-toggle input:checked")).to_have_count(0)  # nothing drawn on the film
    expect(page.locator("#mark-blinded")).to_be_disabled()
    expect(page.locator("#mark-blinded")).to_have_value("yes")
    page.locator("#mark-start").fill("0.5")
    page.locator("#mark-add").click()
    expect(page.locator(".marks-table")).to_contain_text("blinded")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator(".marks-table").first).to_contain_text("withdrawn")
