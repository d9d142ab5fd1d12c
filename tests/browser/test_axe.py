"""Every page against axe-core (no violation of WCAG or of good practice), and by keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from settings import get_settings
from tests.browser.keyboard import walk

pytestmark = pytest.mark.browser

RUN = "async () => (await axe.run(document)).violations.map(each => [each.id, each.help,"
RUN += " each.nodes.slice(0, 3).map(node => node.html.slice(0, 160) + ' ' + node.failureSummary)])"

PAGES = {
    "worklist": "/",
    "new recording": "/new",
    "rigs": "/rigs",
    "trash": "/trash",
    "administration": "/admin",
    "photos": "/photos",
    "about": "/about",
    "links": "/links",
    "not found": "/nonsense",
    "report": "/recording/{0}",
    "print": "/recording/{0}/print",
    "clocks": "/recording/{0}/clocks",
    "rate": "/recording/{0}/mark",
    "compare": "/compare/{0}/{1}",
    "subject": "/subject/{subject}",
}


@pytest.mark.parametrize("name", list(PAGES))
def test_axe_finds_no_fault_and_the_keyboard_reaches_everything(page: Page, site: Any, name: str) -> None:
    page.add_init_script(path=get_settings().node_modules / "axe-core" / "axe.min.js")
    subject = ""
    if name == "subject":
        page.goto(site.url + "/")
        link = page.locator("main a[href^='/subject/']").first
        subject = (link.get_attribute("href") or "").removeprefix("/subject/")
    page.goto(site.url + PAGES[name].format(*site.recordings, subject=subject))
    expect(page.locator("main h1")).not_to_have_count(0)
    if name in ("report", "compare", "rate"):
        page.wait_for_selector(".player-host[data-ready=true]", timeout=60_000)
    page.wait_for_timeout(1500)
    found = page.evaluate(RUN)
    assert found == [], "\n".join(map(str, found))
    faults = walk(page)
    assert not faults, "\n".join(faults)
