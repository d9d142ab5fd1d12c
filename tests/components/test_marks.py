"""Marks and corrections on the report: what is said of whom, and that figures are the records'."""

import dataclasses
import datetime
from typing import Any

import numpy as np
import pytest

from components import marks
from components.corrections import excluded_note, say_change
from components.curves import draw_curves
from components.marks import rate_marks, write_marks
from components.signals import LeftOut, SideSignals, Signals
from pipeline.measures.summary import Summary
from pipeline.measures.summary_types import Excluded, PostureBout
from records import CorrectionRow, MarkRow

NOW = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)


def make_mark(start_s: float, **changes: Any) -> MarkRow:
    plain: dict[str, Any] = {
        "id": "m", "recording_id": "r", "kind": "abnormal movement", "start_s": start_s, "end_s": None,
        "side": None, "joint": None, "text": "", "rater": "R1", "blinded": True, "author": "local",
        "created": NOW, "withdrawn": None, "withdrawn_by": None,
    }  # fmt: skip
    return MarkRow(**(plain | changes))


def words_of(part: Any) -> str:
    """All text in a component, in order."""
    if part is None:
        return ""
    if isinstance(part, (list, tuple)):
        return "".join(words_of(each) for each in part)
    return words_of(part.children) if hasattr(part, "children") else str(part)


@pytest.fixture
def bouts() -> tuple[PostureBout, ...]:
    return tuple(
        PostureBout("ring_pip_flexion", "ring", "hyperextended", 10.0 * k, 10.0 * k + 1, -4.0, True)
        for k in range(1, 13)
    )


def with_bouts(summary: Summary, bouts: tuple[PostureBout, ...], **changes: Any) -> Summary:
    sides = {side: dataclasses.replace(found, bouts=bouts) for side, found in summary.sides.items()}
    recording = dataclasses.replace(summary.recording, duration_s=180.0)
    return dataclasses.replace(summary, sides=sides, recording=recording, **changes)


def test_raters_are_counted_apart_and_not_where_nothing_was_measured(summary: Summary, bouts: Any) -> None:
    """A minute of three was left out: its marks do not count, nor does its time."""
    left_out = (Excluded(120.0, 180.0, 60.0, "a pause"),)
    shown = with_bouts(summary, bouts, excluded=left_out)
    own = [make_mark(10.0 * k + 0.4, joint="ring_pip") for k in range(1, 12)] + [make_mark(130.0)]
    other = [make_mark(10.2, rater="R2", blinded=False), make_mark(11.0, kind="note", text="x")]
    found = {rater: (blinded, rate, agreement) for rater, blinded, rate, agreement in
             rate_marks([*own, *other], shown)}  # fmt: skip
    assert set(found) == {"R1", "R2"}
    assert found["R1"][1].count == 11
    assert found["R1"][1].per_min == pytest.approx(5.5)
    assert found["R1"][2].together == 11
    assert found["R2"][2].together == 1
    assert found["R2"][0] is False


def test_the_table_says_when_agreement_cannot_be_told(summary: Summary) -> None:
    shown = with_bouts(summary, ())
    said = words_of(marks._ratings([make_mark(3.0)], shown))
    assert "Cannot tell" in said
    assert f"{marks.TOLERANCE_S:g} s" in said


def test_what_was_left_out_is_said_with_its_reason_as_typed(summary: Summary) -> None:
    assert excluded_note(summary) is None
    note = excluded_note(dataclasses.replace(summary, excluded=(Excluded(1.0, 3.5, 2.5, "Start", "left"),)))
    assert note is not None
    assert "2.5 s left out by hand, 1.00 s to 3.50 s, left hand: Start" in words_of(note)
    typed = note.children.children[0].children[1]
    assert typed.className == "notranslate"


def make_change(kind: Any, before: Any, after: Any) -> CorrectionRow:
    return CorrectionRow("c", "r", kind, before, after, "", "local", NOW, None, None, True, True)


NAMES: dict[str, Any] = {"calibration_cameras": {}, "offset_s": {}, "focal_35mm": {}, "reference": None}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (make_change("side", "right", "left"), "right → left"),
        (make_change("offset", {"left": None}, {"left": -0.25}), "left: from the sound → −0.2500 s"),
        (
            make_change("exclusions", None, {"start_s": 1.0, "end_s": 2.0, "side": None, "reason": "x"}),
            "measured → left out: 1.00 s to 2.00 s, both hands",
        ),
        (
            make_change(
                "cameras", {"cameras": {}, **NAMES}, {"cameras": {"left": "right", "right": "left"}, **NAMES}
            ),
            "left → right (file left)right → left (file right)the calibration kept its names",
        ),
    ],
)
def test_a_change_is_said_from_what_it_was_to_what_it_became(row: CorrectionRow, words: str) -> None:
    assert words_of(say_change(row)) == words


def make_signals(**changes: Any) -> Signals:
    time_s = np.arange(0, 10, 0.1)
    jerk, z = np.zeros((100, 21)), np.zeros((100, 20))
    side = SideSignals(jerk, jerk, z, z, {}, 5.0)
    return Signals(time_s, 10.0, ("front",), {"right": side}, **changes)


def test_curves_stripe_what_was_left_out_and_only_of_their_hand() -> None:
    line = {"color": "#000000"}
    plain = draw_curves([(make_signals(), "right", line)], "ring")
    both = make_signals(excluded=(LeftOut(2.0, 4.0, ""), LeftOut(50.0, 60.0, "")))
    striped = draw_curves([(both, "right", line)], "ring")
    edges = [shape.x0 for shape in striped.layout.shapes if shape.x0 == shape.x1 and shape.yref == "y domain"]
    assert edges == [2.0, 4.0]  # nothing past the end
    assert any(note.text == "left out" for note in striped.layout.annotations)
    for shape in striped.layout.shapes:
        assert shape.x0 is None or shape.xref.endswith("domain") or 2.0 <= shape.x0 <= shape.x1 <= 4.0
    other = draw_curves([(make_signals(excluded=(LeftOut(2.0, 4.0, "left"),)), "right", line)], "ring")
    assert len(other.layout.shapes) == len(plain.layout.shapes)


def test_marks_as_a_table_run_nothing_in_a_spreadsheet() -> None:
    rows = [make_mark(1.25, text="=1+1", end_s=2.0), make_mark(3.0, withdrawn=NOW, withdrawn_by="local")]
    head, first, second = write_marks("r", rows).splitlines()
    assert head.split(",") == list(marks.COLUMNS)
    assert first.startswith("r,abnormal movement,1.250,2.000,,,'=1+1,R1,yes,local,2026-03-02T12:00:00+00:00")
    assert second.endswith("2026-03-02T12:00:00+00:00,local")
