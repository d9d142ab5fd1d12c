"""A recording into the trash and back, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_recording_goes_into_the_trash_in_two_steps_and_comes_back(
    page: Page, site: Any, watch: Any
) -> None:
    page.goto(site.report(1))
    sure = page.get_by_role("button", name="Yes, put this recording into the trash")
    expect(page.locator(".keep-trash summary")).to_be_visible(timeout=60_000)
    expect(sure).to_be_hidden()
    page.locator(".keep-trash summary").click()
    sure.click()
    page.get_by_role("link", name="Open the trash").click()
    # What the report still streamed is refused from that moment on.
    watch.errors[:] = [error for error in watch.errors if "404" not in error or "/media/" not in error]
    try:
        expect(page.get_by_role("heading", name="Trash", exact=True)).to_be_visible()
        page.goto(site.url + "/")
        expect(page.locator(f"main a[href$='{site.recordings[0]}']").first).to_be_visible()
        expect(page.locator(f"main a[href$='{site.recordings[1]}']")).to_have_count(0)
        page.goto(site.report(1))
        expect(page.get_by_text("There is no such recording.")).to_be_visible()
    finally:
        page.goto(site.url + "/trash")
        page.get_by_role("button", name="Bring back").click()
    page.get_by_role("link", name="Open its report").click()
    expect(page.locator(".report h1")).to_be_visible(timeout=60_000)
