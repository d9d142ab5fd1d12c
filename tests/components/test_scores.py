"""Clinical scales on the page: entered in words, drawn on the trends' axis, in the report as a line."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import dcc, html

from components.comparability import comparability_panel
from components.scores import add_score, draw_scale, find_span, list_scores, say_scores_at, scores_panel
from components.trend import draw_trend
from pipeline.measures.summary import Summary
from pipeline.measures.trend import make_trend
from records.scores import SCALES
from tests.components.test_report_parts import read_text, walk
from tests.components.test_trend import DAYS, add_visits, get_line, make_visit
from tests.records.site import Site, open_site

DAY = datetime.date(2026, 3, 2)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "data") as opened:
        yield opened


def enter(subject: str, **more: Any) -> list[Any]:
    given: dict[str, Any] = {
        "scale": "tcs",
        "value": 3,
        "date": "2026-03-02",
        "rater": "A",
        "blinded": "yes",
    } | more
    answer = add_score(
        1, {"subject": subject, "span": None}, given["scale"], given["value"], given["date"], given["rater"],
        given["blinded"], "", given.get("items", ""), "",
    )  # fmt: skip
    return list(answer)


def test_a_score_is_entered_listed_and_stands_on_report_and_sheet(
    site: Site, summary: Summary, tmp_path: Path
) -> None:
    visits = [make_visit(summary, day, 10.0) for day in DAYS[:2]]
    first, second = add_visits(site, tmp_path, visits)
    empty = read_text(scores_panel(first.subject_id, None))
    assert "No clinical scale has been entered" in empty
    assert "0 cannot play, 5 plays concerts" in empty
    said, shown, value, *_ = enter(first.subject_id)
    assert "Kept: Tubiana-Chamagne Scale (TCS), 3, 2026-03-02" in read_text(said)
    assert value is None
    for words in ("0 to 5; higher is better", "2026-03-02", "local", "Withdraw", "never merged"):
        assert words in read_text(shown) + empty
    assert say_scores_at(first, brief=True) == "TCS 3 (0 to 5, higher is better; blinded)"
    assert say_scores_at(second) == ""


def test_what_is_wrong_is_said_and_the_form_stays(site: Site, summary: Summary, tmp_path: Path) -> None:
    (row,) = add_visits(site, tmp_path, [make_visit(summary, DAYS[0], 10.0)])
    for wrong, words in (
        ({"value": None}, "The total is no number"),
        ({"value": "9"}, "goes from 0 to 5"),
        ({"date": ""}, "The date of the rating is missing"),
        ({"rater": None}, "The rater is missing"),
        ({"items": "one"}, "no item with its number"),
    ):
        said, *rest = enter(row.subject_id, **wrong)
        assert words in read_text(said)
        assert all(type(part).__name__ == "NoUpdate" for part in rest)
    assert site.records.scores.list(row.subject_id) == ()


def test_withdrawn_scores_are_below_with_who_and_can_come_back(
    site: Site, summary: Summary, tmp_path: Path
) -> None:
    (row,) = add_visits(site, tmp_path, [make_visit(summary, DAYS[0], 10.0)])
    kept = site.records.scores.add(row.subject_id, "fam", 12, DAY, "A")
    site.records.scores.withdraw(kept.id, "dr-b")
    parts = list_scores(row.subject_id, None)
    assert not [part for part in walk(parts) if isinstance(part, dcc.Graph)]
    said = read_text(parts)
    for words in ("Withdrawn scores (1)", "dr-b", "Bring back", "12 /min"):
        assert words in said


def test_scales_and_measures_share_their_axis_of_time(site: Site, summary: Summary, tmp_path: Path) -> None:
    (row,) = add_visits(site, tmp_path, [make_visit(summary, DAYS[0], 10.0)])
    rows = [
        site.records.scores.add(row.subject_id, "fam", value, day, "A", blinded=blinded)
        for value, day, blinded in ((12, DAY, True), (9, datetime.date(2026, 10, 1), None))
    ]
    span = find_span([score.date for score in rows] + [datetime.date.fromisoformat(day) for day in DAYS])
    trend = make_trend([make_visit(summary, day, 10.0) for day in DAYS], "right")
    assert trend is not None
    own = draw_scale(SCALES["fam"], rows, span)
    assert own.layout.xaxis.range == draw_trend(get_line(trend), trend, span).layout.xaxis.range
    (trace,) = own.data
    assert trace.marker.symbol == ("diamond", "diamond-open")
    assert find_span([DAY, DAY]) is None


def test_each_pair_of_visits_says_whether_it_can_be_compared_and_leads_there(
    site: Site, summary: Summary, tmp_path: Path
) -> None:
    visits = [make_visit(summary, DAYS[0], 10.0), make_visit(summary, DAYS[1], 12.0, filter="new")]
    rows = add_visits(site, tmp_path, [*visits, make_visit(summary, DAYS[2], 14.0, filter="new")])
    (shown,) = comparability_panel(rows)
    said = read_text(shown)
    assert said.count("not comparable") == 2
    assert "The filter differs" in said
    links: list[Any] = [part for part in walk(shown) if isinstance(part, dcc.Link)]
    assert len(links) == 3
    assert {rows[1].id, rows[2].id} <= set("/".join(link.href for link in links).split("/"))
    assert len([part for part in walk(shown) if isinstance(part, html.Li)]) == 1
    assert comparability_panel(rows[:1]) == []
