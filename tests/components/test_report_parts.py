"""What a report is made of: words, shapes and numbers that a reader can trust."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from dash import dcc, html
from dash.development.base_component import Component
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components import ids
from components.comparison import angle_changes, headline_changes, posture_changes, warnings
from components.curves import LINES, curves, draw_curves, thin
from components.events import MOST, events
from components.graphs import GRAPH_CONFIG, draw_graph
from components.hand_map import draw_hand, hand_map, say_worst
from components.headlines import headlines, provenance_list, say_value
from components.heat_map import WITHHELD, heat_maps, reduce_columns
from components.player import player
from components.quality import quality_box
from components.signals import Signals
from components.status import LEVEL_COLOURS, TEXT_COLOURS, draw_shape, level_icon, say_number, say_time
from pipeline.hand.angles import ANGLES
from pipeline.measures.change import compare
from pipeline.measures.levels import LEVELS, UNKNOWN, level_of
from pipeline.measures.summary import SIMULATED_NOTE, SideSummary, Summary


def walk(component: Any) -> list[Any]:
    """A component and everything in it."""
    if isinstance(component, (list, tuple)):
        return [found for child in component for found in walk(child)]
    if not isinstance(component, Component):
        return []
    return [component, *walk(getattr(component, "children", None))]


def read_text(component: Any) -> str:
    """All words of a component, as one line."""
    if isinstance(component, (list, tuple)):
        return " ".join(read_text(child) for child in component)
    if isinstance(component, Component):
        return read_text(getattr(component, "children", None))
    return "" if component is None else str(component)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(a: str, b: str) -> float:
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# --- graphs --------------------------------------------------------------------------------------


def every_graph(signals: Signals) -> list[Any]:
    late = draw_graph(draw_curves([(signals, "right", LINES["right"])], "index"), ids.CURVES)
    layout = [heat_maps(signals, "right"), html.Div(late),
              curves([("a", signals), ("b", signals)], "ring", visits=True)]  # fmt: skip
    return [found for found in walk(layout) if isinstance(found, dcc.Graph)]


def test_no_graph_offers_to_send_itself_anywhere(signals: Signals) -> None:
    graphs = every_graph(signals)
    assert len(graphs) == 5
    for graph in graphs:
        assert graph.config["showSendToCloud"] is False
        assert graph.config["plotlyServerURL"] == ""
    assert GRAPH_CONFIG["displaylogo"] is False


def test_all_graphs_over_time_stand_on_the_same_line(signals: Signals) -> None:
    layouts = [graph.figure.layout for graph in every_graph(signals)]
    assert len({(layout.margin.l, layout.margin.r) for layout in layouts}) == 1
    assert len({tuple(layout.xaxis.range) for layout in layouts}) == 1
    assert not any(layout.yaxis.automargin for layout in layouts)


def test_a_click_knows_its_joint(signals: Signals) -> None:
    for graph in every_graph(signals)[:3]:
        trace = graph.figure.data[0]
        assert len(trace.meta) == len(trace.y) == trace.z.shape[0]
    for trace in draw_curves([(signals, "right", {})], "ring").data:
        assert trace.meta.startswith("ring_")


def test_every_angle_with_a_reference_has_its_grey_band(signals: Signals) -> None:
    assert (
        len(draw_curves([(signals, "right", {})], "index").layout.shapes) == 8
    )  # band and mean, four angles
    assert len(draw_curves([(signals, "right", {})], "pinky").layout.shapes) == 6  # one has no reference


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 400), st.just(3)),
               elements=st.floats(-9, 9, width=32) | st.just(np.float32(np.nan))),
    st.integers(5, 90),
)  # fmt: skip
def test_fewer_columns_keep_the_strongest_value_of_each_group(values: np.ndarray, most: int) -> None:
    reduced, first = reduce_columns(values, most)
    assert len(reduced) == len(first) <= most
    edges = [*first, len(values)]
    for column, (start, end) in enumerate(itertools.pairwise(edges)):
        group = np.abs(values[start:end])
        for row in range(3):
            here = group[:, row][~np.isnan(group[:, row])]
            assert (
                np.isnan(reduced[column, row]) if not len(here) else abs(reduced[column, row]) == here.max()
            )


@given(hnp.arrays(np.float64, st.integers(1, 3000), elements=st.floats(-90, 90) | st.just(np.nan)))
def test_a_thinned_curve_keeps_its_extremes_and_order(values: np.ndarray) -> None:
    time_s, kept = thin(np.arange(len(values), dtype=float), values, most=200)
    assert (np.diff(time_s) >= 0).all()
    assert len(kept) <= 430
    finite = values[np.isfinite(values)]
    if len(finite):
        assert np.nanmax(kept) == finite.max()
        assert np.nanmin(kept) == finite.min()


# --- levels --------------------------------------------------------------------------------------


def test_no_two_levels_share_colour_or_shape() -> None:
    assert len(set(LEVEL_COLOURS.values())) == len(LEVELS)
    shapes = {re.sub(r"fill=\S+", "", draw_shape(level, 0, 0, 10)) for level in LEVELS}
    assert len(shapes) == len(LEVELS)


def test_words_on_colours_can_be_read() -> None:
    for level in LEVELS:
        assert contrast(TEXT_COLOURS[level], LEVEL_COLOURS[level]) >= 4.5, level


def test_what_is_uncertain_is_striped() -> None:
    def svg(icon: Any) -> str:
        return base64.b64decode(icon.src.split(",")[1]).decode()

    assert 'fill="url(#hatch)"' not in svg(level_icon(LEVELS[0]))
    assert 'fill="url(#hatch)"' in svg(level_icon(LEVELS[0], certain=False))
    assert 'fill="url(#hatch)"' in svg(level_icon(UNKNOWN))


@pytest.mark.parametrize(
    ("value", "digits", "signed", "word"),
    [(-1.25, 1, True, "−1.2"), (2.0, 1, True, "+2.0"), (-0.04, 1, True, "0.0"), (float("nan"), 1, True, "–"),
     (7.0, 0, False, "7")],
)  # fmt: skip
def test_numbers_are_printed_one_way(value: float, digits: int, signed: bool, word: str) -> None:
    assert say_number(value, digits, signed) == word


def test_times_are_printed_one_way() -> None:
    assert say_time(4.321) == "4.32 s"
    assert say_time(64.5) == "1:04.50"


# --- hand map ------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_hand_map_is_a_drawing_with_all_twenty_numbers(side_summary: SideSummary, side: Any) -> None:
    drawing = ET.fromstring(draw_hand(side_summary.angles, side))
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("+0.4") == texts.count("−1.8") == texts.count("+3.6") == texts.count("–") == 5


def test_the_hand_map_shows_what_the_sentence_of_the_worst_says(
    side_summary: SideSummary, provenance: Any
) -> None:
    held = dataclasses.replace(
        side_summary.angles[0], peak_deg=80.0, peak_z=9.3, peak_z_low=8.0, peak_z_high=10.0,
        peak_level=level_of(9.3), peak_certain=True, peak_reference_mean_deg=42.0, peak_reference_sd_deg=4.0,
    )  # fmt: skip
    inward = dataclasses.replace(held, peak_deg=held.median_deg - 1, angle="index_pip_flexion")
    summary = dataclasses.replace(side_summary, angles=(held, inward))
    assert held.is_peak_farther
    assert not inward.is_peak_farther
    drawing = draw_hand(summary.angles, "right")
    assert ">+9.3<" in drawing
    assert LEVEL_COLOURS[level_of(9.3)] in drawing
    assert ">+0.4<" in drawing
    shown = read_text(hand_map(summary, "right", provenance))
    assert "+9.3  (+8.0 to +10.0) 80° at times 42 ± 4°" in shown


def test_badges_of_the_hand_map_do_not_overlap(side_summary: SideSummary) -> None:
    from components.hand_map import _BADGES, _RADIUS, HEIGHT, WIDTH

    places = np.array([_BADGES[angle] for angle in ANGLES])
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e9 * np.eye(len(places))
    assert distance.min() > 2.2 * _RADIUS
    assert (places > _RADIUS).all()
    assert (places < np.array([WIDTH, HEIGHT]) - _RADIUS).all()


def test_a_simulated_reference_is_named_at_every_z(side_summary: SideSummary, provenance: Any) -> None:
    shown = read_text(hand_map(side_summary, "right", provenance))
    assert SIMULATED_NOTE in shown
    assert "Simulated reference, n = 24" in shown
    real = dataclasses.replace(provenance, baseline_simulated=False)
    assert "imulated" not in read_text(hand_map(side_summary, "right", real)).replace("(simulated", "")


def test_the_table_says_every_level_in_words(side_summary: SideSummary, provenance: Any) -> None:
    shown = read_text(hand_map(side_summary, "right", provenance))
    for level in LEVELS:
        assert level in shown
    assert not re.search(r"\b(ab)?normal\b", shown)
    assert say_worst(side_summary).count("far.") == 3


# --- numbers, events, quality --------------------------------------------------------------------


def test_headlines_print_value_interval_reference_and_note(side_summary: SideSummary) -> None:
    shown = read_text(headlines(side_summary))
    assert "withheld" in shown
    assert "Withheld: too short." in shown
    assert "95 % interval 10.0 to 15.0" in shown
    assert "reference 8 ± 2 (simulated, n = 24)" in shown
    assert say_value(side_summary.headlines[1]) == "12.5\N{NARROW NO-BREAK SPACE}/min"


def test_events_are_links_to_their_frame_and_joint(side_summary: SideSummary, signals: Signals) -> None:
    moments = [found for found in walk(events(side_summary, signals)) if isinstance(found, html.A)]
    links = [moment.to_plotly_json()["props"]["href"] for moment in moments]
    assert links[0] == "#f=30&j=ring_pip"
    assert len(links) == 1 + MOST
    assert f"the {MOST} strongest of 80" in read_text(events(side_summary, signals))


def test_events_that_cannot_be_told_are_not_called_none(side_summary: SideSummary, signals: Signals) -> None:
    headlines = tuple(
        dataclasses.replace(each, value=float("nan"), note="Acceleration is withheld: 30 frames/s.")
        if each.id == "brisk_events"
        else each
        for each in side_summary.headlines
    )
    shown = read_text(events(dataclasses.replace(side_summary, brisk=(), headlines=headlines), signals))
    assert "Cannot tell. Acceleration is withheld: 30 frames/s." in shown
    assert "None in this recording" not in shown


def test_a_heat_map_without_a_value_states_no_scale(signals: Signals) -> None:
    blank = np.full_like(signals.sides["right"].acceleration, np.nan)
    side = dataclasses.replace(signals.sides["right"], acceleration=blank)
    shown = read_text(heat_maps(dataclasses.replace(signals, sides={"right": side}), "right"))
    assert "The scale ends" not in shown
    assert shown.count(WITHHELD) == 1


def test_a_length_counts_its_last_frame(side_summary: SideSummary, signals: Signals) -> None:
    instant = dataclasses.replace(side_summary.brisk[0], start_s=1.0, end_s=1.0)
    shown = read_text(events(dataclasses.replace(side_summary, brisk=(instant,)), signals))
    assert f" {1000 / signals.fps:.0f} ms" in shown
    assert f" {0.4 + 1 / signals.fps:.2f} s" in shown


def test_an_empty_list_of_events_says_so(side_summary: SideSummary, signals: Signals) -> None:
    quiet = dataclasses.replace(side_summary, bouts=(), brisk=())
    assert read_text(events(quiet, signals)).count("None in this recording") == 2


def test_the_quality_box_gives_verdict_reasons_and_figures(summary: Summary) -> None:
    shown = read_text(quality_box(summary))
    for words in (
        "limited",
        "Camera right: the hand is found",
        "0.20 ms",
        "checkerboard",
        "−1900.00",
        "70 %",
    ):
        assert words in shown
    assert "simulated" in read_text(provenance_list(summary.provenance))


def test_a_comparison_warns_and_never_claims_what_it_cannot(summary: Summary) -> None:
    other = dataclasses.replace(summary, visit="2026-06-01", comparability={"task": "banjo"})
    comparison = compare(summary, other)
    assert "The task differs" in read_text(warnings(comparison))
    side = comparison.sides["right"]
    shown = read_text([headline_changes(side), angle_changes(side), posture_changes(side)])
    assert "cannot tell" in shown
    assert "better" not in shown
    assert warnings(compare(summary, dataclasses.replace(summary, visit="2026-06-01"))) is None


def test_the_player_says_where_its_data_are() -> None:
    made = player("ab" * 16, "P-1", player_id=ids.PLAYER_B, follows=ids.PLAYER, offset_s=0.25, links=False)
    marks = made.to_plotly_json()["props"]
    assert marks["data-base"] == f"/media/{'ab' * 16}"
    assert marks["data-follow"] == ids.PLAYER
    assert "data-links" not in marks
