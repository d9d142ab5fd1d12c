"""Visits over time, and what verdicts rest on: the clinic's reliability study on the pages."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import dash
import pytest
from dash import dcc

from components.comparison import BY_CHANCE, NO_STUDY, Study, open_study, study_note
from components.graphs import GRAPH_CONFIG
from components.trend import draw_trend, place_visits, show_finger, trend_panels, trend_row
from pipeline.files import write_json
from pipeline.measures.reliability import list_values
from pipeline.measures.reliability_types import MeasureReliability, Reliability, write_reliability
from pipeline.measures.summary import SIMULATED_NOTE, Summary, write_summary
from pipeline.measures.trend import Trend, TrendLine, make_trend
from pipeline.results import RunFolder
from tests.components.test_report_parts import read_text, walk
from tests.records.site import Site, make_session, open_site

Verdict = Literal["passed", "limited", "failed"]

DAYS = ("2026-03-02", "2026-05-04", "2026-06-08")


def make_visit(summary: Summary, day: str, value: float, verdict: Verdict = "passed", **key: str) -> Summary:
    """The made report on another day, every headline number with this value."""
    side = summary.sides["right"]
    headlines = tuple(
        dataclasses.replace(one, value=value, low=value - 0.5, high=value + 0.5, note="Withheld: too short.")
        for one in side.headlines
    )
    return dataclasses.replace(
        summary,
        visit=day,
        quality=dataclasses.replace(summary.quality, verdict=verdict),
        sides={"right": dataclasses.replace(side, headlines=headlines)},
        comparability={**summary.comparability, **key},
    )


def make_study(summary: Summary, limit: float = 3.0) -> Reliability:
    measures = {
        name: MeasureReliability(name, label, unit, 24, mdc95=0.95 * limit, limit95=limit)
        for name, (label, unit, _) in list_values(summary.sides["right"]).items()
    }
    return Reliability(
        measures, 24, "Pianists of a clinic, 2026", days_apart=7, days_least=5, days_most=14,
        hands={"right": 24}, conditions=dict(summary.comparability), program_version="0.3.0",
    )  # fmt: skip


def get_line(trend: Trend | None, name: str = "smoothness") -> TrendLine:
    assert trend is not None
    return next(line for line in trend.headlines if line.id == name)


def test_each_measure_has_its_verdict_its_plot_and_the_same_numbers_in_a_table(summary: Summary) -> None:
    visits = [make_visit(summary, day, value) for day, value in zip(DAYS, (10.0, 12.0, 20.0), strict=True)]
    trend = make_trend(visits, "right", make_study(summary))
    assert trend is not None
    row = trend_row(get_line(trend), trend)
    said = read_text(row)
    for words in ("better", "+10.0", "2 Mar 2026", "4 May 2026", "8 Jun 2026", "19.5 to 20.5", "Past the"):
        assert words in said
    graphs: list[Any] = [part for part in walk(row) if isinstance(part, dcc.Graph)]
    (graph,) = graphs
    assert graph.config["showSendToCloud"] is False
    assert graph.config["plotlyServerURL"] == GRAPH_CONFIG["plotlyServerURL"]
    (band,) = graph.figure.layout.shapes
    assert (band.y0, band.y1) == (7.0, 13.0)


def test_lines_stop_and_a_mark_stands_where_visits_are_not_comparable(summary: Summary) -> None:
    visits = [make_visit(summary, DAYS[0], 10.0), make_visit(summary, DAYS[1], 12.0, filter="new")]
    trend = make_trend([*visits, make_visit(summary, DAYS[2], 14.0, filter="new")], "right")
    assert trend is not None
    figure = draw_trend(get_line(trend), trend)
    assert [len(trace.x) for trace in figure.data] == [1, 2]
    assert len(figure.layout.shapes) == 1
    said = read_text(trend_row(get_line(trend), trend))
    assert "Not comparable with the one before." in said
    assert "cannot tell" in said


def test_what_was_withheld_or_failed_says_so_and_repeats_stand_side_by_side(
    summary: Summary,
) -> None:
    visits = [
        make_visit(summary, DAYS[0], 10.0), make_visit(summary, DAYS[0], 11.0),
        make_visit(summary, DAYS[1], math.nan), make_visit(summary, DAYS[2], 12.0, "failed"),
    ]  # fmt: skip
    trend = make_trend(visits, "right", make_study(summary))
    assert trend is not None
    said = read_text(trend_row(get_line(trend), trend))
    for words in ("withheld", "Withheld: too short.", "Quality check failed.", "again (2)", "a lower bound"):
        assert words in said
    times = place_visits(trend.visits)
    assert sorted(times) == times
    assert len(set(times)) == 4
    (trace,) = draw_trend(get_line(trend), trend).data
    assert trace.y[2] is None
    assert trace.marker.symbol[3] == "circle-open"


def test_the_study_is_named_beside_the_verdicts_or_its_absence_is(summary: Summary) -> None:
    said = read_text(study_note(Study(make_study(summary)), ("The task differs.",)))
    for words in (
        "24 people",
        "7 days (5 to 14) apart",
        "Pianists of a clinic",
        "ReDys 0.3.0",
        "The task differs.",
    ):
        assert words in said
    assert BY_CHANCE not in said
    assert BY_CHANCE in read_text(study_note(Study(make_study(summary))))
    assert NO_STUDY in read_text(study_note(Study()))


def test_repeats_of_a_day_are_drawn_before_the_next_day_however_near_it_is(summary: Summary) -> None:
    days = ("2026-03-02",) * 4 + ("2026-03-03",) * 2 + ("2027-03-02",) * 2
    trend = make_trend([make_visit(summary, day, 10.0) for day in days], "right")
    assert trend is not None
    times = place_visits(trend.visits)
    assert sorted(set(times)) == times
    assert [f"{time:%Y-%m-%d}" for time in times[:5]] == list(days[:5])


# --- pages ---------------------------------------------------------------------------------------


@pytest.fixture
def open_with(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Opens the site, with a reliability file of this content where it is given."""
    with contextlib.ExitStack() as stack:

        def enter(study: Reliability | str | None = None) -> Site:
            more = {}
            if study is not None:
                path = tmp_path / "reliability.json"
                path.write_text(study) if isinstance(study, str) else write_reliability(path, study)
                more["REDYS_RELIABILITY"] = str(path)
            return stack.enter_context(open_site(tmp_path / "data", **more))

        yield enter


def add_visits(site: Site, folder: Path, visits: list[Summary]) -> list[Any]:
    rows = []
    for number, summary in enumerate(visits):
        day = f"visit = {summary.visit}" if summary.visit else ""
        session = make_session(folder / f"s{number}", f'subject = "P-1"\n{day}')
        run = RunFolder(folder / f"r{number}")
        write_json(run.run_json, {"state": "done"})
        write_summary(run.summary_json, summary)
        row = site.records.add_recording(session)
        site.records.add_finished_run(row.id, run.path)
        rows.append(site.records.get_recording(row.id))
    return rows


def show(page: str, **where: str) -> str:
    return read_text(dash.page_registry[page]["layout"](**where))


def test_the_clinics_study_reaches_the_comparison_and_a_broken_one_is_said_there(
    open_with: Callable[..., Site], summary: Summary, tmp_path: Path
) -> None:
    visits = [make_visit(summary, DAYS[0], 10.0), make_visit(summary, DAYS[1], 20.0)]
    site = open_with(make_study(summary))
    first, second = add_visits(site, tmp_path, visits)
    said = show("pages.compare", recording_a=first.id, recording_b=second.id)
    for words in ("Pianists of a clinic, 2026", "better", "Past the smallest detectable change of 3"):
        assert words in said
    assert said.count(SIMULATED_NOTE) == 2
    person = show("pages.subject", subject_id=first.subject_id)
    assert "better" in person
    assert SIMULATED_NOTE in person
    (tmp_path / "reliability.json").write_text("{")
    broken = show("pages.compare", recording_a=first.id, recording_b=second.id)
    assert "reliability.json cannot be read" in broken
    assert "better" not in broken.replace("Better or worse is only said", "").replace(
        "neither direction is", ""
    )
    assert "10.0" in broken


def test_a_person_has_a_trend_for_each_task_and_one_visit_says_what_it_takes(
    open_with: Callable[..., Site], summary: Summary, tmp_path: Path
) -> None:
    site = open_with()
    rows = add_visits(site, tmp_path, [make_visit(summary, DAYS[0], 10.0)])
    said = show("pages.subject", subject_id=rows[0].subject_id)
    assert "a trend takes two" in said
    rows = add_visits(site, tmp_path / "more", [make_visit(summary, day, 12.0) for day in DAYS[1:]])
    said = show("pages.subject", subject_id=rows[0].subject_id)
    assert "Over time: piano, right hand" in said
    assert NO_STUDY in said
    assert "Thumb CMC flexion" in said or "Index finger MCP flexion" in said
    drawn = show_finger("pinky", {"task": "piano", "side": "right"}, {"subject": rows[0].subject_id})
    assert len(drawn) == 4
    assert "Little finger PIP flexion" in read_text(drawn)
    assert open_study().reliability is None
    assert trend_panels(rows[0].subject_id, []) == []


def test_a_visit_without_a_date_is_no_earlier_one_and_has_no_verdict(
    open_with: Callable[..., Site], summary: Summary, tmp_path: Path
) -> None:
    site = open_with(make_study(summary))
    dated, undated = add_visits(
        site, tmp_path, [make_visit(summary, DAYS[0], 10.0), make_visit(summary, "", 20.0)]
    )
    said = show("pages.compare", recording_a=undated.id, recording_b=dated.id)
    assert "Which recording came first is not known" in said
    assert "Past the" not in said
    assert "+10.0" in said
    person = show("pages.subject", subject_id=dated.subject_id)
    assert "Not shown, for want of a date: 1 of 2" in person
