"""Strokes, tremor, individuation and key timing on the page: what is known, and why the rest is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from dash import html

from components.playing import (
    NOT_WORKED_OUT,
    deviation,
    features,
    individuation,
    list_print_rows,
    say_timing,
    strokes,
    timing,
    tremor,
)
from pipeline.hand.joints import FINGERS
from pipeline.measures.playing_types import (
    Coupling,
    FeatureSummary,
    FingerIndex,
    Individuation,
    KeyTiming,
    TremorSummary,
)
from pipeline.measures.summary import SideSummary
from tests.components.test_report_parts import read_text, walk

NAN = float("nan")

SEEN = TremorSummary("index", "seen", 6.2, 5.9, 6.4, 0.84, 0.7, 0.96, 21.0, 0.5, 12)
UNSEEN = TremorSummary("hand", "none seen", limit_mm=0.3, windows=12)
UNTOLD = TremorSummary(
    "ring", "cannot tell", limit_mm=2.6, windows=12, note="Playing hides tremors up to 2.6 mm."
)
MEASURED = KeyTiming(
    "front", "measured", 120, 3, 240.0, 4, 110, 250.0, 12.3, 10.9, 14.2, 11.8, 0.049, 2.0
)  # fmt: skip


@pytest.fixture
def matrix() -> Individuation:
    cells = tuple(
        Coupling(striking, other, *((NAN, NAN, NAN, 3) if other == "thumb" else (-0.18, -0.24, -0.1, 31)))
        for striking in FINGERS
        for other in FINGERS
        if other != striking
    )
    indices = (
        FingerIndex("thumb", 0.82, 0.76, 0.9, 20),
        *(FingerIndex(f, NAN, NAN, NAN, 9) for f in FINGERS[1:]),
    )
    return Individuation(cells, indices, 152, 4, True)


@pytest.fixture
def side(side_summary: SideSummary, matrix: Individuation) -> SideSummary:
    return dataclasses.replace(
        side_summary,
        tremor=(UNSEEN, SEEN, UNTOLD),
        individuation=matrix,
        features=FeatureSummary(
            0.91,
            0.88,
            0.93,
            0.84,
            0.95,
            0.01,
            {"open": 0.9, "power": 0.1, "precision": 0.0},
            37.0,
            30.0,
            45.0,
        ),
    )


def test_seen_none_seen_and_cannot_tell_are_three_different_answers() -> None:
    words = read_text(tremor((UNSEEN, SEEN, UNTOLD)))
    assert "6.2\N{NARROW NO-BREAK SPACE}Hz (5.9 to 6.4)" in words
    assert "0.84\N{NARROW NO-BREAK SPACE}mm (0.70 to 0.96)" in words
    assert "none over 0.3\N{NARROW NO-BREAK SPACE}mm" in words
    assert "cannot tell Playing hides tremors up to 2.6 mm." in words


def test_the_matrix_has_every_pair_and_says_where_it_does_not_know(matrix: Individuation) -> None:
    found = individuation(matrix)
    cells = [part for part in walk(found) if isinstance(part, html.Td)]
    assert len(cells) == 5 * 6
    unknown = [cell for cell in cells if getattr(cell, "className", "") == "cell-unknown"]
    assert sum("n = 3" in read_text(cell) for cell in unknown) == 4
    assert len(unknown) == 8  # and four indices
    words = read_text(found)
    assert "−18" in words
    assert "−24 to −10" in words
    assert "0.82 0.76 to 0.90" in words
    assert "4 left out" in words


def test_without_enough_strokes_the_counts_are_said() -> None:
    words = read_text(individuation(Individuation((), (), 17, 6, False, "No finger has 8 clear strokes.")))
    assert "Cannot tell. No finger has 8 clear strokes." in words
    assert "17 strokes by sight alone" in words


def test_key_timing_has_its_interval_and_never_a_reference() -> None:
    words = read_text(timing(MEASURED))
    assert "12.3\N{NARROW NO-BREAK SPACE}ms (10.9 to 14.2)" in words
    assert "4.9 % of 250 ms" in words
    assert "there is no reference for this number" in words


def test_key_timing_that_cannot_be_told_says_why() -> None:
    words = read_text(timing(KeyTiming(note="There is no sound to listen to.")))
    assert words == "Cannot tell. There is no sound to listen to."
    assert "no sound" in say_timing(KeyTiming(note="There is no sound to listen to."))


def test_an_older_run_says_that_it_must_be_run_again(side_summary: SideSummary) -> None:
    for part in (tremor(()), individuation(None), timing(None), features(None)):
        assert NOT_WORKED_OUT in read_text(part)
    assert list_print_rows(side_summary) == []
    assert say_timing(None) == ""


def test_every_angle_has_its_distance_or_a_reason(side: SideSummary) -> None:
    far = tuple(
        dataclasses.replace(angle, rms_deg=12.0, rms_low=10.0, rms_high=14.0, reference_rms_deg=6.0)
        if place % 4
        else dataclasses.replace(angle, note="Withheld: too little.")
        for place, angle in enumerate(side.angles)
    )
    found = deviation(dataclasses.replace(side, angles=far))
    words = read_text(found)
    assert words.count("12.0° (10.0 to 14.0); reference 6.0°") == 15
    assert words.count("Withheld: too little.") == 5
    lengths: list[Any] = [part for part in walk(found) if getattr(part, "className", "") == "bar-length"]
    assert all(float(part.style["width"].rstrip("%")) <= 100.0 for part in lengths)
    assert "not a score of severity" in words


def test_no_part_says_normal_or_abnormal(side: SideSummary) -> None:
    words = read_text([strokes(side), timing(MEASURED), deviation(side)]).lower()
    assert "normal" not in words


def test_the_printed_page_has_the_same_numbers(side: SideSummary) -> None:
    rows = dict(list_print_rows(side))
    assert "index 6.2\N{NARROW NO-BREAK SPACE}Hz" in rows["Tremor, 3 to 12 Hz"]
    assert "cannot tell" in rows["Tremor, 3 to 12 Hz"]
    assert "thumb 0.82 (0.76 to 0.90)" in rows["Individuation (1 = the other fingers stay)"]
    assert "12.3" in say_timing(MEASURED)


def test_a_reference_of_tremor_and_individuation_stands_beside_where_there_is_one(
    matrix: Individuation,
) -> None:
    references = {"tremor_seen:hand": "0.10 ± 0.05, own, n = 12", "individuation:index": "0.91 ± 0.02"}
    shaking = read_text(tremor((UNSEEN, SEEN, UNTOLD), references))
    assert "Reference: share with a tremor" in shaking
    apart = read_text(individuation(matrix, references))
    assert "Reference index" in apart
    assert "0.91 ± 0.02" in apart
    assert "Reference" not in read_text([tremor((UNSEEN, SEEN, UNTOLD)), individuation(matrix)])
