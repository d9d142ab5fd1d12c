"""Still pictures in a real browser: sent, worked, shown, opened, turned; and without a fault by axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
from playwright.sync_api import Page, expect

from pipeline.hand.model import load_hand_model
from pipeline.synth.still import make_still
from settings import get_settings

pytestmark = pytest.mark.browser

AXE = "async () => (await axe.run(document)).violations.map(each => [each.id, each.help,"
AXE += " each.nodes.slice(0, 3).map(node => node.html.slice(0, 160) + ' ' + node.failureSummary)])"


def draw_pictures(folder: Path) -> list[Path]:
    paths = [folder / "first.jpg", folder / "second.png"]
    for path, seed in zip(paths, (0, 9), strict=True):
        cv2.imwrite(str(path), make_still(seed, load_hand_model(), size_px=(640, 480)).image_bgr)
    return paths


def test_two_pictures_are_sent_worked_and_shown(page: Page, site: Any, tmp_path: Path) -> None:
    page.add_init_script(path=get_settings().node_modules / "axe-core" / "axe.min.js")
    page.goto(site.url + "/photos")
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    page.locator("#photo-input").set_input_files([*draw_pictures(tmp_path), tmp_path / "torn.jpg"])
    expect(page.locator(".photo-chosen .status", has_text="Arrived")).to_have_count(3)
    page.get_by_label("Title").fill("Two pictures")
    page.get_by_label("Hand length, mm").fill("185")
    assert page.evaluate(AXE) == []
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/photos/*")
    expect(page.get_by_role("heading", name="Two pictures")).to_be_visible()
    stage = page.locator(".photo-stage[data-ready=true]")
    stage.wait_for(state="attached", timeout=120_000)  # worked by a process of its own, and the page reloaded
    expect(page.get_by_text("Hands in 2 of 3 pictures")).to_be_visible()
    expect(page.locator(".photo-failures tr", has_text="torn.jpg")).to_contain_text(
        "cannot be read as a picture"
    )
    expect(page.get_by_text("stated hand length of 185 mm")).to_be_visible()
    expect(page.locator(".photo-card .photo-overlay .layer-points > *")).to_have_count(42)

    mesh = page.locator(".photo-card .mesh").first
    expect(mesh).to_have_css("opacity", "0")
    page.get_by_role("button", name="Hand model").click()
    expect(mesh).not_to_have_css("opacity", "0")

    page.get_by_role("button", name="Open picture 2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_have_attribute("data-shown", "1")
    expect(dialog.locator(".photo3d[data-hands='1']")).to_be_visible()
    for words in (
        "Error in space along the view, median",
        "stated hand length 185 mm",
        "28 mm as on 35 mm film",
    ):
        expect(dialog.get_by_text(words)).to_be_visible()
    assert page.url.endswith("#p=2")
    before = dialog.locator(".photo3d canvas").screenshot()
    dialog.get_by_role("button", name="Turn to the left").click()
    assert dialog.locator(".photo3d canvas").screenshot() != before
    assert page.evaluate(AXE) == []
    dialog.get_by_role("button", name="Picture before").click()
    expect(dialog).to_have_attribute("data-shown", "0")
    with page.expect_download() as got:
        dialog.get_by_role("link", name="Points of this picture (CSV)").click()
    assert Path(got.value.path()).read_text().startswith("picture,hand,side,joint,x_px")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Open picture 1")).to_be_focused()
    assert page.evaluate(AXE) == []

    page.goto(site.url + "/photos")
    expect(page.get_by_role("link", name="Two pictures")).to_be_visible()
