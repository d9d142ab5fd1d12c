"""The maps of difference: a frozen scale, words for each filling, nothing drawn that would mislead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from dash import dcc

from components.alignment import Alignment, read_alignment
from components.curves import draw_curves
from components.difference import (
    Pair,
    compare_shares,
    draw_difference,
    draw_moment_map,
    draw_share_map,
    find_moments,
)
from components.graphs import GRAPH_CONFIG
from components.signals import Signals
from pipeline.measures.difference import (
    RATIO_EDGE,
    SHARES,
    Z_EDGE,
    compare_angle_moments,
    make_columns,
)
from tests.components.test_report_parts import read_text, walk
from tests.pipeline.measures.test_difference import make_course


def make_pair(*unlike: str) -> Pair:
    nobody: Any = None  # recordings are only asked for their strokes, by moment
    after = make_course(2)
    bent = after.z.copy()
    bent[:300, 6] -= 9.0
    return Pair((nobody, nobody), (make_course(1), replace(after, z=bent)), unlike)


def graphs(parts: Any) -> list[Any]:
    return [part for part in walk(parts) if isinstance(part, dcc.Graph)]


def test_the_scale_is_the_same_for_every_pair_and_its_ends_are_written() -> None:
    pair = make_pair()
    for measure, edge, words in (
        ("angles", Z_EDGE, "+6 SD or more"),
        ("jerk", np.log2(RATIO_EDGE), "×4 or more"),
    ):
        figure = draw_share_map(
            compare_shares(pair.courses, measure), measure, find_moments(pair.courses, measure)
        )
        for trace in figure.data:
            assert (trace.zmin, trace.zmax) == (-edge, edge)
        drawn = draw_difference(pair, "right", "shares", measure, Alignment())
        said = read_text(drawn)
        assert words in said
        assert "cannot tell" in said
        (graph,) = graphs(drawn)
        assert graph.config == GRAPH_CONFIG


def test_cells_say_their_number_and_carry_a_moment_of_each_visit() -> None:
    pair = make_pair()
    found = compare_shares(pair.courses, "angles")
    figure = draw_share_map(found, "angles", find_moments(pair.courses, "angles"))
    column = SHARES.index(5)
    (sure,) = [trace for trace in figure.data if np.isfinite(trace.z[6][column])]
    assert sure.text[6][column].startswith("−")
    moments = sure.customdata[6][column]
    for course, moment in zip(pair.courses, moments, strict=True):
        at = int(np.abs(course.time_s - moment).argmin())
        target = np.nanpercentile(course.z[:, 6], 5)
        assert abs(course.z[at, 6] - target) < 0.2
    said = read_text(draw_difference(pair, "right", "shares", "angles", Alignment()))
    assert "Largest: Index PIP −" in said.replace("  ", " ")
    assert "The same as a table" in said
    assert "at percentile" in said


def test_visits_that_are_not_lined_up_have_no_map_by_moment() -> None:
    drawn = draw_difference(make_pair(), "right", "moments", "angles", Alignment())
    assert graphs(drawn) == []
    assert "Line the visits up" in read_text(drawn)


def test_numbers_of_unlike_making_are_withheld_and_others_are_not() -> None:
    pair = make_pair("reference")
    for view in ("shares", "moments"):
        drawn = draw_difference(pair, "right", view, "angles", Alignment())
        assert graphs(drawn) == []
        assert "Withheld: the reference of the two recordings differ" in read_text(drawn)
    assert len(graphs(draw_difference(pair, "right", "shares", "jerk", Alignment()))) == 1
    filtered = make_pair("filter", "frame rate")
    assert graphs(draw_difference(filtered, "right", "shares", "jerk", Alignment())) == []


def test_a_map_by_moment_has_the_joints_to_go_to_and_a_line_at_the_event() -> None:
    first, second = make_pair().courses
    found = compare_angle_moments(first, second, 0.0, make_columns(1.0, 3.0))
    figure = draw_moment_map(found, "angles", (1.0, 3.0), 2.0)
    assert figure.layout.xaxis.range == (1.0, 3.0)
    assert len(figure.layout.shapes) == 1
    assert all(trace.meta[0] == "thumb_cmc" for trace in figure.data)


def test_curves_of_the_later_visit_are_shifted_by_the_offset(signals: Signals) -> None:
    shown: list[Any] = [(signals, "right", {}), (signals, "right", {})]
    first, second = draw_curves(shown, "index", (0.0, 0.5)).data[:2]
    assert np.allclose(np.asarray(first.x) - 0.5, np.asarray(second.x), atol=1e-5)


def test_what_the_browser_says_of_the_alignment_is_checked() -> None:
    whole = {"how": "event", "offset_s": 0.5, "a_s": 1.0, "b_s": 1.5}
    assert read_alignment(whole) == Alignment("event", 0.5, 1.0, 1.5)
    for broken in (None, {}, {"how": "magic"}, whole | {"a_s": None}, {"how": "hand"}):
        assert read_alignment(broken) == Alignment()
