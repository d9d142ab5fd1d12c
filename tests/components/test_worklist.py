"""The worklist's table: the verdict in mark and word, the order in the head, and each cell with its label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dash
from dash import html

from components.attributes import NOT_TRANSLATED
from pipeline.measures.quality_types import QualityVerdict
from pipeline.measures.summary import Summary
from records.service import ORDERS
from tests.components.test_report_parts import read_text, walk
from tests.components.test_trend import DAYS, add_visits, make_visit
from tests.records.site import make_session, open_site


def test_the_verdict_stands_in_the_table_and_can_be_asked_for(summary: Summary, tmp_path: Path) -> None:
    verdicts: tuple[QualityVerdict, ...] = ("passed", "failed")
    visits = [
        replace(made, quality=replace(made.quality, verdict=verdict))
        for made, verdict in zip([make_visit(summary, day, 10.0) for day in DAYS], verdicts, strict=False)
    ]
    with open_site(tmp_path / "data") as site:
        from pages.worklist import HEADS, ORDER_WORDS, table  # a page wants its app first

        add_visits(site, tmp_path, visits)
        site.records.add_recording(make_session(tmp_path / "bare", 'subject = "P-9"\ntask = "banjo"'))
        drawn = dash.page_registry["pages.worklist"]["layout"]()
        said = read_text(drawn)
        for word in ("Recording quality", "passed", "failed", "Not started", "P-9"):
            assert word in said
        rows = site.records.list_recordings(quality="failed")
        assert [row.visit.isoformat() for row in rows.rows if row.visit] == [DAYS[1]]
        shown = table(site.records.list_recordings(order="quality"), "quality")
    (sorted_head,) = [
        part for part in walk(shown) if isinstance(part, html.Th) and hasattr(part, "aria-sort")
    ]
    assert sorted_head.children == "Recording quality"
    first: Any = next(part for part in walk(shown) if isinstance(part, html.Tbody)).children[0]
    assert "failed" in read_text(first)
    labels = [getattr(cell, "data-label", "") for cell in walk(first) if isinstance(cell, html.Td)]
    assert labels == [head for head, _ in HEADS[1:]]
    typed = [part for part in walk(shown) if getattr(part, "className", "") == NOT_TRANSLATED]
    assert "banjo" in read_text(typed)
    assert set(ORDER_WORDS) == set(ORDERS)
    assert {by for _, by in HEADS if by} <= set(ORDERS)
