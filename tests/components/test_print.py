"""The printed report: a page for each hand, whole by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dash

from pipeline.files import write_json
from pipeline.measures.summary import Summary, write_summary
from pipeline.results import RunFolder
from tests.components.test_report_parts import read_text, walk
from tests.records.site import make_session, open_site


def print_report(summary: Summary, folder: Path) -> tuple[Any, list[Any]]:
    """The whole page, and its sheets."""
    with open_site(folder / "data") as site:
        session = make_session(folder / "session", f'subject = "P-1"\nvisit = {summary.visit}')
        run = RunFolder(folder / "run")
        write_json(run.run_json, {"state": "done"})
        write_summary(run.summary_json, summary)
        row = site.records.add_recording(session)
        site.records.add_finished_run(row.id, run.path)
        page = dash.page_registry["pages.print"]["layout"](recording_id=row.id)
    return page, [part for part in walk(page) if getattr(part, "className", "") == "sheet"]


def test_each_hand_has_a_page_of_its_own_with_who_quality_and_page_number(
    summary: Summary, tmp_path: Path
) -> None:
    (right,) = summary.sides.values()
    both = replace(summary, sides={"right": right, "left": right})
    page, sheets = print_report(both, tmp_path)
    assert len(sheets) == 2
    for number, (side, sheet) in enumerate(zip(("right", "left"), sheets, strict=True), start=1):
        said = read_text(sheet)
        assert f"Hand map, {side} hand" in said
        assert f"Page {number} of 2" in said
        assert "P-1" in said
        assert "Recording quality" in said
    assert "2 A4 pages" in read_text(page)


def test_of_a_failed_recording_one_page_says_so_without_numbers(summary: Summary, tmp_path: Path) -> None:
    failed = replace(summary, quality=replace(summary.quality, verdict="failed"))
    page, sheets = print_report(failed, tmp_path)
    (said,) = (read_text(sheet) for sheet in sheets)
    assert "Recording quality: failed" in said
    assert "Hand map" not in said
    assert "one A4 page" in read_text(page)
