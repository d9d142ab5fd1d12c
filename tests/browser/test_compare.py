"""Two visits lined up by a person: players, curves and maps go by it, and a link brings it back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def open_compare(page: Page, site: Any, fragment: str = "") -> None:
    page.goto(f"{site.url}/compare/{site.recordings[0]}/{site.recordings[1]}{fragment}")
    page.wait_for_selector(".alignment[data-ready]", timeout=60_000)


def frames(page: Page) -> tuple[int, int]:
    """The frames that both players show once they have come to rest."""
    page.wait_for_timeout(700)
    first, second = (page.get_attribute(f"#{each}", "data-frame") for each in ("player", "player-b"))
    return int(first or -1), int(second or -1)


def test_an_event_of_each_visit_lines_up_players_curves_and_map_and_survives_a_reload(
    page: Page, site: Any
) -> None:
    open_compare(page, site)
    expect(page.locator("#difference-map .share-map")).to_have_count(1, timeout=20_000)
    page.locator("#difference-view label", has_text="Moment by moment").click()
    expect(page.locator("#difference-map")).to_contain_text("Line the visits up")
    page.get_by_label("At an event of each").check()
    first, second = page.locator("select[data-visit=a]"), page.locator("select[data-visit=b]")
    expect(first).to_be_visible(timeout=20_000)
    shown = [
        float(each.locator("option").first.get_attribute("data-time") or "nan") for each in (first, second)
    ]
    expect(page.locator(".alignment-status")).to_contain_text("is shown beside")
    a, b = frames(page)
    assert abs(a / 59.94 - shown[0]) < 0.02
    assert abs((b - a) / 59.94 - (shown[1] - shown[0])) < 0.03
    expect(page.locator("#difference-map")).to_contain_text("Laid over each other at")
    shift = "() => { const [a, b] = document.querySelector('#curves .js-plotly-plot')._fullData;"
    shift += " return a.x[0] - b.x[0]; }"
    page.wait_for_timeout(500)
    assert abs(page.evaluate(shift) - (shown[1] - shown[0])) < 0.02
    assert re.search(r"#.*al=[a-z]+-1(~|%7E)[a-z]+-1", page.url)
    page.reload()
    expect(page.locator(".alignment-status")).to_contain_text("is shown beside", timeout=60_000)
    a, b = frames(page)
    assert abs((b - a) / 59.94 - (shown[1] - shown[0])) < 0.03


def test_by_hand_the_later_visit_is_moved_frame_by_frame_and_a_link_opens_on_it(
    page: Page, site: Any
) -> None:
    open_compare(page, site, "#al=0.5000~0.3000")
    expect(page.locator(".alignment-status")).to_contain_text(
        "0.50 s of the earlier visit is shown beside 0.30 s"
    )
    expect(page.locator(".alignment")).to_have_attribute("data-offset", "-0.2000")
    page.get_by_role("button", name="1 frame on").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    offset = float(page.locator(".alignment").get_attribute("data-offset") or 0)
    assert abs(offset - (-0.2 + 2 / 59.94)) < 1e-3
    page.get_by_label("From their starts").check()
    assert "al=" not in page.url
    expect(page.locator(".alignment")).to_have_attribute("data-offset", "0.0000")


def test_a_link_to_an_event_that_is_gone_says_so(page: Page, site: Any) -> None:
    open_compare(page, site, "#al=posture-9999~posture-1")
    expect(page.locator(".alignment-status")).to_contain_text(
        "not in these recordings any more", timeout=20_000
    )
