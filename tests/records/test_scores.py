"""Clinical scales as raters gave them: checked, attributed, taken back and brought again, never gone."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from records import NotFound, RecordingRow, Records, models
from records.errors import ScoreError
from records.scores import SCALES, read_items

DAY = datetime.date(2026, 3, 2)


@pytest.fixture
def person(add: Callable[..., RecordingRow]) -> str:
    return add("one", 'subject = "P-1"\nvisit = 2026-03-02').subject_id


def test_a_score_is_kept_with_who_gave_it_who_entered_it_and_how(records: Records, person: str) -> None:
    kept = records.scores.add(
        person, "bfmdrs", 12.5, DAY, "  rater  A ", version="1985", blinded=True, note="after warm-up",
        items={"arm": 4.0}, actor="dr-b",
    )  # fmt: skip
    (row,) = records.scores.list(person)
    assert row == kept
    assert (row.value, row.rater, row.blinded, row.items) == (12.5, "rater A", True, {"arm": 4.0})
    assert (row.author, row.withdrawn) == ("dr-b", None)
    assert records.scores.list_at(person, DAY) == (row,)
    assert records.scores.list_at(person, DAY + datetime.timedelta(days=1)) == ()
    assert records.scores.list_at(person, None) == ()


def test_what_is_taken_back_stays_is_attributed_and_can_come_again(records: Records, person: str) -> None:
    kept = records.scores.add(person, "tcs", 3, DAY, "A", actor="one")
    gone = records.scores.withdraw(kept.id, "two")
    assert records.scores.list(person) == ()
    assert records.scores.list(person, withdrawn=True) == (gone,)
    assert gone.withdrawn_by == "two"
    assert gone.withdrawn is not None
    assert records.scores.bring_back(kept.id, "three") == kept
    with records.reading() as database:
        events = list(database.scalars(select(models.AuditEvent).order_by(models.AuditEvent.id)))
        said = [(event.actor, event.action) for event in events if event.action.startswith("score.")]
    assert said == [("one", "score.add"), ("two", "score.withdraw"), ("three", "score.bring-back")]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"scale": "none"}, "No scale is chosen"),
    ({"value": 5.5, "scale": "tcs"}, "goes from 0 to 5"),
    ({"value": 2.5, "scale": "tcs"}, "whole grades only"),
    ({"value": float("nan")}, "is not on"),
    ({"value": -1.0, "scale": "fam"}, "0 or more a minute"),
    ({"rater": "  "}, "The rater is missing"),
    ({"date": datetime.date(2126, 1, 1)}, "still to come"),
    ({"date": datetime.date(26, 1, 1)}, "too long ago"),
    ({"note": "x" * 501}, "there is room for 500"),
    ({"items": {str(n): 1.0 for n in range(61)}}, "more than any scale has"),
]


def test_what_cannot_be_a_score_is_refused_in_words_and_not_kept(records: Records, person: str) -> None:
    right: dict[str, Any] = {"scale": "bfmdrs", "value": 10.0, "date": DAY, "rater": "A"}
    for wrong, words in WRONG:
        with pytest.raises(ScoreError, match=words):
            records.scores.add(person, **right | wrong)
    assert records.scores.list(person, withdrawn=True) == ()


def test_every_scale_takes_the_ends_of_its_range(records: Records, person: str) -> None:
    for scale in SCALES.values():
        records.scores.add(person, scale.id, scale.low, DAY, "A")
        records.scores.add(person, scale.id, min(scale.high, 1000.0), DAY, "A")
    assert len(records.scores.list(person)) == 2 * len(SCALES)


def test_a_score_of_nobody_is_refused(records: Records) -> None:
    with pytest.raises(NotFound):
        records.scores.add("0" * 32, "tcs", 3, DAY, "A")
    with pytest.raises(NotFound):
        records.scores.withdraw("nothing")


def test_items_are_read_as_a_person_writes_them() -> None:
    assert read_items("1: 2, 2: 0.5; arm left: 3") == {"1": 2.0, "2": 0.5, "arm left": 3.0}
    assert read_items(" ") == {}
    alike = "left hand, from the first to the last bar "  # two that differ in their last letter only
    for wrong in ("1", "1: two", ": 3", "1: 2, 1: 3", f"{alike}a: 1; {alike}b: 2".replace(", ", " ")):
        with pytest.raises(ScoreError):
            read_items(wrong)
