"""Language and theme as a person chooses them, and every page in German."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from settings import get_settings
from tests.browser.test_axe import RUN

pytestmark = pytest.mark.browser

ENGLISH = re.compile(r"\b(the|and|of|is|are|with|from|this|which|cannot|not|been|were)\b")
"""Words that no German sentence has: where one stands, a text was left."""

PAGES = (
    "/", "/new", "/rigs", "/photos", "/about", "/nonsense", "/recording/{1}", "/recording/{1}/clocks",
    "/recording/{1}/mark", "/recording/{1}/print", "/compare/{1}/{0}",
)  # fmt: skip


def speak(page: Page, site: Any, language: str, theme: str = "dark-video") -> None:
    page.context.add_cookies(
        [
            {"name": "redys_language", "value": language, "url": site.url},
            {"name": "redys_theme", "value": theme, "url": site.url},
        ]
    )


def test_german_is_chosen_by_keyboard_and_stays_with_the_moment_of_the_report(page: Page, site: Any) -> None:
    page.goto(site.report(1, "#f=9&j=index_pip"))
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    page.locator(".display > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="English")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    expect(page.get_by_role("heading", name="Qualität der Aufnahme")).to_be_visible()
    expect(page.get_by_role("button", name="Abspielen")).to_be_visible()
    expect(page.locator(".player-readout")).to_contain_text("Bild 9 von")
    assert page.evaluate("() => location.hash") == "#f=9&j=index_pip"
    page.reload()
    expect(page.get_by_role("heading", name="Qualität der Aufnahme")).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_no_sentence_is_left_in_english(page: Page, site: Any, path: str) -> None:
    speak(page, site, "de")
    page.goto(site.url + path.format(*site.recordings))
    expect(page.locator("main h1")).not_to_have_count(0)
    if "mark" in path or path.endswith("}"):
        page.wait_for_selector("[data-ready=true]", timeout=60_000)
    page.evaluate("() => document.querySelectorAll('main details').forEach((each) => { each.open = true; })")
    page.wait_for_timeout(600)
    said = page.locator("body").inner_text().splitlines()
    said += page.evaluate(
        "() => ['aria-label', 'title', 'alt', 'placeholder'].flatMap((name) =>"
        " [...document.querySelectorAll(`[${name}]`)].map((each) => each.getAttribute(name)))"
    )
    assert [line for line in said if ENGLISH.search(line)] == []


def test_axe_finds_no_fault_in_german_and_in_the_light_theme(page: Page, site: Any) -> None:
    page.add_init_script(path=get_settings().node_modules / "axe-core" / "axe.min.js")
    speak(page, site, "de", "light")
    page.goto(site.report(1))
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    page.locator(".display > summary").click()
    page.wait_for_timeout(500)
    found = page.evaluate(RUN)
    assert found == [], "\n".join(map(str, found))


def test_what_frames_the_pictures_is_light_once_chosen_and_dark_again(page: Page, site: Any) -> None:
    def brightness() -> float:
        return page.evaluate(
            "() => getComputedStyle(document.querySelector('.player')).backgroundColor.match(/\\d+/g)"
            ".slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765"
        )

    page.goto(site.report(1))
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    assert brightness() < 0.2
    page.locator(".display > summary").click()
    page.get_by_role("button", name="Light", exact=True).click()
    expect(page.get_by_role("button", name="Light", exact=True)).to_have_attribute("aria-pressed", "true")
    assert brightness() > 0.8
    page.reload()
    page.wait_for_selector("[data-ready=true]", timeout=60_000)
    assert brightness() > 0.8
    page.locator(".display > summary").click()
    page.get_by_role("button", name="Dark around video").click()
    page.keyboard.press("Escape")
    expect(page.locator(".display")).not_to_have_attribute("open", "")
    assert brightness() < 0.2
