"""A link from end to end: made on the report, opened by somebody else, played, taken back."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from settings import get_settings
from tests.browser.keyboard import walk
from tests.browser.test_axe import RUN
from tests.browser.test_pages import WIDTHS

pytestmark = pytest.mark.browser

ASK = """() => fetch("/shared/data/a/vertices_right.i16", {headers: {Range: "bytes=0-9"}})
    .then((answer) => answer.status)"""
OVER = "() => document.documentElement.scrollWidth - innerWidth"


def fits(page: Page) -> None:
    """No fault by axe, and nothing over the edge at any width."""
    assert page.evaluate(RUN) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(200)
        assert page.evaluate(OVER) <= 0
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_link_is_made_opened_played_and_taken_back(page: Page, browser: Browser, site: Any) -> None:
    axe = get_settings().node_modules / "axe-core" / "axe.min.js"
    page.add_init_script(path=axe)
    page.goto(site.report(1))
    page.get_by_text("Share", exact=True).click()
    page.get_by_label("Times it may be opened").fill("1")
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_label("The link", exact=True).input_value()
    expect(page.locator("#share-list .link-open")).to_be_visible(timeout=60_000)
    assert page.evaluate(RUN) == []

    context = browser.new_context(viewport={"width": 1440, "height": 900})
    guest = context.new_page()
    guest.add_init_script(path=axe)
    asked: list[str] = []
    guest.on("request", lambda request: asked.append(request.url))
    guest.goto(link)
    guest.wait_for_selector("form[data-ready=true]")
    assert guest.url == f"{site.url}/shared"
    fits(guest)
    assert walk(guest) == []
    guest.get_by_role("button", name="Open").click()
    guest.wait_for_selector(".player-host[data-ready=true]", timeout=60_000)
    fits(guest)
    player = guest.locator(".player-host")
    guest.get_by_role("button", name="Play", exact=True).click()
    expect(player).not_to_have_attribute("data-frame", "0")
    assert guest.evaluate(ASK) == 206
    assert [url for url in asked if not url.startswith((site.url, "data:", "blob:"))] == []
    token = link.partition("#")[2]
    assert [url for url in asked if token in url.partition("#")[0]] == []

    page.get_by_role("button", name="Revoke link").click()
    expect(page.locator("#share-list .link-revoked")).to_be_visible()
    begun = time.monotonic()
    assert guest.evaluate(ASK) == 404
    assert time.monotonic() - begun < 1.0
    guest.reload()
    expect(guest.get_by_role("alert")).to_contain_text("There is nothing to see here")
    context.close()
