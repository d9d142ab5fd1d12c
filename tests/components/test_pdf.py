"""The PDF file of a report: the page's own numbers, a page a hand, readable by programs, always the same."""

import datetime
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dash
import pypdf
import pytest

from components import pdf
from components.attributes import Written
from components.corrections import BEHIND, behind_notice
from components.language import LANGUAGE_COOKIE
from components.sheet import MOST_CHANGED, MOST_REASONS, Sheet, compose
from pipeline.files import write_json
from pipeline.measures.summary import Summary, write_summary
from pipeline.results import RunFolder
from pipeline.session import ExcludedSection, read_session
from records import RecordingRow, models
from tests.components.test_report_parts import read_text, walk
from tests.records.site import Site, make_session, open_site

FINISHED = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
NUMBER = re.compile(r"[+−]?\d+(?:\.\d+)?")


def add_report(site: Site, summary: Summary, folder: Path, subject: str = "P-1") -> RecordingRow:
    session = make_session(folder / "session", f'subject = "{subject}"\nvisit = {summary.visit}')
    run = RunFolder(folder / "run")
    write_json(run.run_json, {"state": "done"})
    write_summary(run.summary_json, summary)
    row = site.records.add_recording(session)
    site.records.add_finished_run(row.id, run.path)
    return site.records.get_recording(row.id)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "data") as opened:
        yield opened


def read_pages(data: bytes) -> list[str]:
    """The pages' text, every gap a single space."""
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    return [" ".join(page.extract_text().split()) for page in pages]


def sheets_of(summary: Summary, site: Site, folder: Path) -> tuple[Sheet, ...]:
    return compose(add_report(site, summary, folder), summary)


def both_hands(summary: Summary) -> Summary:
    (right,) = summary.sides.values()
    return replace(summary, sides={"right": right, "left": right})


def test_the_file_has_every_number_and_sentence_of_the_page(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    row = add_report(site, both_hands(summary), tmp_path)
    page = dash.page_registry["pages.print"]["layout"](recording_id=row.id)
    drawn = [part for part in walk(page) if getattr(part, "className", "") == "sheet"]
    answer = site.browser().get(f"/recording/{row.id}/report.pdf")
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    told = read_pages(answer.data)
    assert len(told) == len(drawn) == 2
    for one, sheet in zip(told, drawn, strict=True):
        said = NUMBER.findall(read_text(sheet).replace("Page 1 of 2", "").replace("Page 2 of 2", ""))
        assert len(said) > 30
        assert set(said) - set(NUMBER.findall(one)) == set()
        squeezed = re.sub(r"\W", "", one)
        for part in walk(sheet):
            words = part.children if isinstance(getattr(part, "children", None), str) else ""
            # The foot of each page says who and which report in words of its own.
            if words and "Report" not in words and "Page" not in words:
                assert re.sub(r"\W", "", words) in squeezed, words


def test_every_page_says_whose_it_is_which_report_and_which_page(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    sheets = sheets_of(both_hands(summary), site, tmp_path)
    for number, said in enumerate(read_pages(pdf.make_pdf(sheets, FINISHED)), start=1):
        assert said.count("P-1, 2026-03-02, piano") == 2  # heading and foot
        assert f"Report {sheets[0].report_id} ReDys {sheets[0].version}" in said
        assert said.endswith(f"Page {number} of 2")
        assert "not a diagnosis" in said


def make_worst(sheet: Sheet) -> Sheet:
    """As full as a sheet can be: all reasons long, nothing measured without a remark, a long name."""
    assert sheet.hand is not None
    sentence = "Camera right: the hand is found in 71 % of its frames, and its clock may be off by 40 ms. "
    numbers = tuple(
        replace(number, value="", details=f"withheld: {2 * sentence}") for number in sheet.hand.numbers
    )
    more = tuple((f"Another measure of this hand, number {n}", 2 * sentence) for n in range(4))
    worst = "; ".join(["Ring finger PIP flexion: at times 16.6 SD more flexed, 58° against 34 ± 4°"] * 3)
    return replace(
        sheet,
        subject=Written("P-" + 62 * "W"),
        reasons=(2 * sentence,) * MOST_REASONS,
        changed=tuple(
            (f"Section {n} was left out: ", Written("the hand left the keys. " * 4))
            for n in range(MOST_CHANGED)
        ),
        notes=(*sheet.notes, *(sentence,) * 8),
        hand=replace(sheet.hand, numbers=numbers, more=more, worst=worst),
    )


def test_the_fullest_sheet_stays_on_its_page_and_loses_nothing(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    sheets = tuple(make_worst(sheet) for sheet in sheets_of(both_hands(summary), site, tmp_path))
    pages = read_pages(pdf.make_pdf(sheets, FINISHED))
    longer = pdf.make_pdf(sheets, FINISHED, "de", lambda text: f"{text} {text[: len(text) // 4]}".strip())
    assert len(pages) == len(sheets) == len(read_pages(longer))
    for page in pages:
        assert page.count("the hand left the keys.") == 4 * MOST_CHANGED
        assert page.count("and its clock may be off by 40 ms") == 2 * 6 + 2 * 8 + 2 * 4 + 8
        assert "Another measure of this hand, number 3" in page
        assert "Examiner and date" in page


def test_a_sheet_that_no_page_holds_goes_on_overleaf_and_the_pages_count_on(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    (sheet,) = sheets_of(summary, site, tmp_path)
    pages = read_pages(pdf.make_pdf((replace(sheet, notes=(*sheet.notes, "Too much. " * 2000)),), FINISHED))
    assert [page.rpartition("Page ")[2] for page in pages] == ["1 of 2", "2 of 2"]


def test_reasons_that_are_left_out_are_counted(summary: Summary, site: Site, tmp_path: Path) -> None:
    quality = replace(summary.quality, reasons=tuple(f"Reason {n}." for n in range(9)))
    (sheet,) = sheets_of(replace(summary, quality=quality), site, tmp_path)
    assert len(sheet.reasons) == MOST_REASONS
    assert sheet.reasons[-1].startswith("And 4 more")


def list_alternatives(node: Any) -> list[str]:
    """What stands for pictures in a tree of tags."""
    node = node.get_object()
    if isinstance(node, list):
        return [words for part in node for words in list_alternatives(part)]
    if not isinstance(node, dict):
        return []
    own = [str(node["/Alt"])] if "/Alt" in node else []
    return own + (list_alternatives(node["/K"]) if "/K" in node else [])


def test_a_reader_program_finds_title_language_tags_and_the_map_in_words(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    sheets = sheets_of(summary, site, tmp_path)
    reader = pypdf.PdfReader(io.BytesIO(pdf.make_pdf(sheets, FINISHED, "de", lambda text: text)))
    root: Any = reader.trailer["/Root"]
    assert (root["/Lang"], root["/MarkInfo"]["/Marked"]) == ("de", True)
    assert reader.metadata is not None
    assert reader.metadata.title == "P-1, 2026-03-02, piano"
    assert b"pdfuaid:part" in root["/Metadata"].get_data()
    assert any("Hand map, right hand" in words for words in list_alternatives(root["/StructTreeRoot"]))


def test_the_same_report_is_the_same_file_and_draws_without_pixels(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    sheets = sheets_of(summary, site, tmp_path)
    first = pdf.make_pdf(sheets, FINISHED)
    pdf._set.cache_clear()
    assert pdf.make_pdf(sheets, FINISHED) == first
    for page in pypdf.PdfReader(io.BytesIO(first)).pages:
        assert list(page.images) == []


def test_words_are_said_in_the_readers_language_but_for_what_a_person_wrote(
    summary: Summary, site: Site, tmp_path: Path
) -> None:
    row = add_report(site, summary, tmp_path, subject="Task")
    data = pdf.make_pdf(compose(row, summary), FINISHED, "de", lambda text: f"‹{text}›")
    (said,) = read_pages(data)
    assert "‹Task›" in said  # the heading of the column
    assert "Task, ‹2026-03-02›, piano" in said  # the person who is called so
    assert "‹Page 1 of 1›" in said
    assert "‹spread›" in said


def test_a_reader_gets_the_file_in_the_language_chosen(summary: Summary, site: Site, tmp_path: Path) -> None:
    row = add_report(site, summary, tmp_path)
    client = site.browser()
    client.set_cookie(LANGUAGE_COOKIE, "de")
    reader = pypdf.PdfReader(io.BytesIO(client.get(f"/recording/{row.id}/report.pdf").data))
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == "de"
    assert "8,0 s" in " ".join(page.extract_text() for page in reader.pages)


def test_who_has_no_report_gets_no_file_but_a_reason(site: Site, tmp_path: Path) -> None:
    row = site.records.add_recording(make_session(tmp_path / "s", 'subject = "P-2"'))
    client = site.browser()
    answer = client.get(f"/recording/{row.id}/report.pdf")
    assert answer.status_code == 404
    assert "no report of this recording yet" in answer.get_data(as_text=True)
    assert client.get(f"/recording/{'0' * 32}/report.pdf").status_code == 404


def test_taking_the_file_away_is_written_down(summary: Summary, site: Site, tmp_path: Path) -> None:
    row = add_report(site, summary, tmp_path, subject="Ünal / P-3")
    answer = site.browser().get(f"/recording/{row.id}/report.pdf")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="nal-P-3-2026-03-02.pdf"'
    with site.records.reading() as database:
        events = [event for event in database.query(models.AuditEvent) if event.action == "report.pdf"]
    assert [event.object for event in events] == [row.report_run_id]


def test_numbers_from_before_a_correction_say_so_on_the_page(
    site: Site, summary: Summary, tmp_path: Path
) -> None:
    row = add_report(site, summary, tmp_path)
    settings = read_session(row.folder).settings.model_dump(mode="json")
    assert row.run is not None
    write_json(row.run.folder / "run.json", {"state": "done", "settings": settings})
    assert (BEHIND, "") not in compose(row, summary)[0].changed
    assert behind_notice(row) is None
    cough = ExcludedSection(start_s=0.1, end_s=0.5, reason="a cough")
    made = site.records.corrections.apply(row.id, "exclusions", cough)
    assert made is not None
    assert compose(row, summary)[0].changed[0] == (BEHIND, "")
    assert BEHIND in str(behind_notice(row))
    assert "before the latest corrections" in str(behind_notice(row, row))
    site.records.corrections.undo(made.id)
    assert (BEHIND, "") not in compose(row, summary)[0].changed
