"""Marks on a timeline: kept with who and when, withdrawn and brought back, never lost."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from records import NotFound, RecordingRow, Records, models
from records.errors import MarkError

Add = Callable[..., RecordingRow]


def test_a_mark_is_kept_withdrawn_and_brought_back(add: Add, records: Records) -> None:
    recording = add("one")
    later = records.marks.add(recording.id, "tag", 9.0, text="trill", actor="anna")
    mark = records.marks.add(
        recording.id, "abnormal movement", 1.25, 2.5, side="left", joint="ring_pip", rater="R2",
        blinded=True, actor="anna",
    )  # fmt: skip
    assert records.marks.list(recording.id) == (mark, later)
    assert (mark.rater, mark.blinded, mark.author, mark.end_s) == ("R2", True, "anna", 2.5)
    gone = records.marks.withdraw(mark.id, "ben")
    assert gone.withdrawn_by == "ben"
    assert records.marks.withdraw(mark.id, "carl").withdrawn_by == "ben"  # twice is no fault
    assert records.marks.list(recording.id) == (later,)
    assert gone in records.marks.list(recording.id, withdrawn=True)
    assert records.marks.bring_back(mark.id, "ben") == mark
    with records.reading() as database:
        events = database.scalars(select(models.AuditEvent).where(models.AuditEvent.object == mark.id))
        acts = [(event.actor, event.action) for event in events]
    assert acts == [("anna", "mark.add"), ("ben", "mark.withdraw"), ("ben", "mark.bring-back")]


def test_who_enters_a_rating_is_its_rater_unless_another_is_named(add: Add, records: Records) -> None:
    recording = add("one")
    assert records.marks.add(recording.id, "abnormal movement", 1.0, actor="anna").rater == "anna"
    assert records.marks.add(recording.id, "note", 1.0, text="x", rater="R", blinded=True).rater == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "score"}, "No kind"),
        ({"start_s": None}, "no time"),
        ({"start_s": math.nan}, "no time"),
        ({"start_s": -0.1}, "no time"),
        ({"start_s": 2.0, "end_s": 1.0}, "ends before"),
        ({"text": "  "}, "needs a text"),
        ({"text": "x" * 501}, "501 letters"),
        ({"side": "both"}, "no side"),
        ({"joint": "elbow"}, "no joint"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    add: Add, records: Records, changes: dict[str, Any], words: str
) -> None:
    recording = add("one")
    values = {"kind": "note", "start_s": 1.0, "text": "x", **changes}
    with pytest.raises(MarkError, match=words):
        records.marks.add(recording.id, **values)
    assert records.marks.list(recording.id) == ()


def test_of_a_recording_that_is_not_there_nothing_is_kept(records: Records) -> None:
    for act in (lambda: records.marks.list("0" * 32), lambda: records.marks.withdraw("0" * 32)):
        with pytest.raises(NotFound):
            act()
