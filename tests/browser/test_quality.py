"""The quality box in a browser: the list of what was set aside by keyboard, its links, and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

READY = ".player-host[data-ready=true]"


def open_list(page: Page, site: Any, width: int) -> Any:
    """The report at a width, with the list of what was set aside opened by keyboard."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(site.report())
    page.wait_for_selector(READY, timeout=60_000)
    details = page.locator(".quality-details", has=page.get_by_text("What was set aside"))
    if details.get_attribute("open") is None:
        details.locator("summary").focus()
        page.keyboard.press("Enter")
    shown = page.locator(".exclusions")
    shown.wait_for()
    return shown


def test_a_row_names_camera_and_finger_and_opens_its_moment(page: Page, site: Any) -> None:
    shown = open_list(page, site, 1440)
    assert "ring finger" in shown.inner_text()
    assert "contradicts the other cameras" in shown.inner_text()
    shown.locator("a.moment").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('f=30')")
    page.wait_for_function(
        "() => { const at = document.querySelector('.player-host').getBoundingClientRect();"
        " return at.top < innerHeight / 2 && at.bottom > innerHeight / 2; }"
    )


def test_on_a_phone_the_list_needs_no_scrolling_sideways(page: Page, site: Any) -> None:
    shown = open_list(page, site, 390)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    assert shown.locator(".table-scroll").evaluate("part => part.scrollWidth - part.clientWidth") <= 0
    shown.locator("tbody th").first.evaluate("cell => { cell.textContent = 'GX010042_'.repeat(8); }")
    assert shown.locator(".table-scroll").evaluate("part => part.scrollWidth - part.clientWidth") <= 0
