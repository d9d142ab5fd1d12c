"""Texts with letters that a database cannot hold: kept with a sign in their place, never an error."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest

from records import RecordingRow, Records

STRANGE = ("a\x00b", "a\ud800b")


@pytest.mark.parametrize("words", STRANGE)
def test_what_no_database_holds_is_replaced_and_found_again(
    records: Records, add: Callable[..., RecordingRow], words: str
) -> None:
    recording = add("one")
    kept = "a�b"
    records.marks.add(recording.id, "note", 1.0, text=words)
    assert [mark.text for mark in records.marks.list(recording.id)] == [kept]
    day = datetime.date(2026, 3, 2)
    records.scores.add(recording.subject_id, "tcs", 3, day, words, note=words)
    assert [(row.rater, row.note) for row in records.scores.list(recording.subject_id)] == [(kept, kept)]
    assert records.users.verify(words, "a long enough sentence") is None
    assert records.list_recordings(search=words, task=words).total == 0
    records.note("nobody", "view.recording", words)
    records.audit.verify()
