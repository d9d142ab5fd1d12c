"""Corrections by a person: kept, attributed, undoable; file and row agree, whatever happens in between."""

import functools
import json
import math
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline.errors import SessionError
from pipeline.session import ExcludedSection, read_session
from records import NotFound, RecordingRow, Records, corrections, models
from records.corrections import JOURNAL, CameraNames

Add = Callable[..., RecordingRow]

BY_HAND = """\
# Notes of the lab: the tripods were exchanged.
subject = "P-014"   # a pseudonym
side = 'right'      # as on the sheet

[offset_s]          # by ear, see the log
left = 0.184        # clap at the start

[focal_35mm]
left = 26.0
"""
COUGH = ExcludedSection(start_s=1.0, end_s=2.5, reason="a cough")
SWAP = CameraNames({"left": "right", "right": "left"})


def text_of(recording: RecordingRow) -> str:
    return (recording.folder / "session.toml").read_text()


def audit(records: Records) -> list[tuple[str, str, str]]:
    with Session(records.engine) as database:
        events = database.scalars(select(models.AuditEvent).order_by(models.AuditEvent.id))
        return [(event.actor, event.action, event.object) for event in events]


def test_a_wrong_side_is_corrected_and_put_back(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    made = records.corrections.apply(recording.id, "side", "left", "anna", "filmed  mirrored")
    assert made is not None
    assert (made.before, made.after, made.author, made.reason) == ("right", "left", "anna", "filmed mirrored")
    assert text_of(recording) == BY_HAND.replace("'right'     ", '"left"     ')
    assert records.get_recording(recording.id).side == "left"
    assert records.corrections.list(recording.id) == (made,)
    assert made.in_force
    undone = records.corrections.undo(made.id, "ben")
    assert (undone.undone_by, undone.in_force) == ("ben", False)
    assert tomllib.loads(text_of(recording)) == tomllib.loads(BY_HAND)
    assert records.get_recording(recording.id).side == "right"
    who = [event for event in audit(records) if event[2] == recording.id]
    assert who[-2:] == [("anna", "recording.side", recording.id), ("ben", "recording.undo", recording.id)]
    with pytest.raises(SessionError, match="undone already"):
        records.corrections.undo(made.id)


def test_sections_are_added_and_each_is_undone_by_itself(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    first = records.corrections.apply(recording.id, "exclusions", COUGH)
    second = records.corrections.apply(
        recording.id, "exclusions", {"start_s": 4, "end_s": 5.00049, "reason": "speech", "side": "left"}
    )
    assert first is not None
    assert second is not None
    found = read_session(recording.folder).settings.exclude
    assert found == (COUGH, ExcludedSection(start_s=4.0, end_s=5.0, reason="speech", side="left"))
    for comment in ("tripods", "as on the sheet", "clap at the start"):
        assert comment in text_of(recording)
    assert records.corrections.apply(recording.id, "exclusions", COUGH) is None  # twice is no fault
    records.corrections.undo(first.id)
    assert [each.reason for each in read_session(recording.folder).settings.exclude] == ["speech"]
    records.corrections.undo(second.id)
    assert tomllib.loads(text_of(recording)) == tomllib.loads(BY_HAND)


def test_exchanged_cameras_take_their_clocks_and_lenses_along(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    made = records.corrections.apply(recording.id, "cameras", SWAP)
    assert made is not None
    session = read_session(recording.folder)
    assert {name: path.name for name, path in session.videos.items()} == {
        "front": "front.mp4", "left": "right.mp4", "right": "left.mp4"
    }  # fmt: skip
    assert session.settings.offset_s == {"right": 0.184}
    assert session.settings.focal_35mm == {"right": 26.0}
    assert session.settings.calibration_cameras == {"left": "right", "right": "left"}
    records.corrections.undo(made.id)
    assert tomllib.loads(text_of(recording)) == tomllib.loads(BY_HAND)


def test_where_the_calibration_was_named_rightly_it_stays(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    records.corrections.apply(recording.id, "cameras", CameraNames(SWAP.names, with_calibration=False))
    assert read_session(recording.folder).settings.calibration_cameras == {}


def test_the_clock_that_counts_stays_the_same_cameras(add: Add, records: Records) -> None:
    """Times of marks and sections are on it; front and left exchanged, it is left's clock by name."""
    recording = add("one", "[offset_s]\nright = 0.5\n")
    names = CameraNames({"front": "left", "left": "front"})
    made = records.corrections.apply(recording.id, "cameras", names)
    session = read_session(recording.folder)
    assert made is not None
    assert session.settings.reference == "left"
    assert session.videos["left"].name == "front.mp4"
    assert session.settings.offset_s == {"right": 0.5}
    # Named once more: from what it is called now.
    again = CameraNames({"left": "top"})
    records.corrections.apply(recording.id, "cameras", again)
    assert read_session(recording.folder).settings.reference == "top"
    assert read_session(recording.folder).videos["top"].name == "front.mp4"
    with pytest.raises(SessionError, match="changed again"):
        records.corrections.undo(made.id)
    latest = records.corrections.list(recording.id)[0]
    records.corrections.undo(latest.id)
    records.corrections.undo(made.id)
    assert tomllib.loads(text_of(recording)) == {"offset_s": {"right": 0.5}}


@pytest.mark.parametrize(
    ("kind", "wanted", "words"),
    [
        ("side", "up", "no side"),
        ("cameras", CameraNames({"top": "left"}), "no camera top"),
        ("cameras", CameraNames({"left": "right"}), "Two cameras would be called right"),
        ("cameras", CameraNames({"left": "../x"}), "no name"),
        ("cameras", CameraNames({"left": "手" * 41}), "too long"),
        ("exclusions", {"start_s": math.nan, "end_s": 2.0, "reason": "x"}, "start_s"),
        ("exclusions", {"start_s": -1.0, "end_s": 2.0, "reason": "x"}, "start_s"),
        ("exclusions", {"start_s": 1.0, "end_s": 2.0, "reason": "x", "side": "up"}, "side"),
        ("exclusions", {"start_s": 1.0, "end_s": 1.0001, "reason": "x"}, "ends where it begins"),
        ("exclusions", {"start_s": 1.0, "end_s": 2.0, "reason": "  "}, "needs a reason"),
        ("offset", {"front": 0.5}, "the reference"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    add: Add, records: Records, kind: Any, wanted: Any, words: str
) -> None:
    recording = add("one", BY_HAND)
    with pytest.raises(SessionError, match=words):
        records.corrections.apply(recording.id, kind, wanted)
    assert text_of(recording) == BY_HAND
    assert records.corrections.list(recording.id) == ()
    assert not (recording.folder / JOURNAL).exists()
    with pytest.raises(NotFound):
        records.corrections.undo("0" * 32)


def test_a_later_change_by_hand_is_not_undone_over(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    made = records.corrections.apply(recording.id, "offset", {"left": 0.3})
    assert made is not None
    path = recording.folder / "session.toml"
    path.write_text(path.read_text().replace("0.3", "0.7"))
    (row,) = records.corrections.list(recording.id)
    assert not row.in_force
    assert row.undone is None
    with pytest.raises(SessionError, match="changed again"):
        records.corrections.undo(made.id)
    assert read_session(recording.folder).settings.offset_s == {"left": 0.7}


@pytest.mark.parametrize("where", ["before the file", "before the row", "before its end"])
@pytest.mark.parametrize("what", ["apply", "undo"])
def test_what_was_begun_when_the_program_went_down_is_ended(
    add: Add, records: Records, monkeypatch: pytest.MonkeyPatch, where: str, what: str
) -> None:
    recording = add("one", BY_HAND)
    made = records.corrections.apply(recording.id, "side", "left") if what == "undo" else None

    class Down(BaseException):
        pass

    def go_down(*_: object, **__: object) -> None:
        raise Down

    with monkeypatch.context() as patched:
        if where == "before the file":
            patched.setattr(corrections, "write_bytes", go_down)
        elif where == "before the row":
            patched.setattr(corrections.Corrections, "_record", go_down)
        else:
            patched.setattr(Path, "unlink", go_down)
        act: Callable[[], object]
        if made is None:
            act = functools.partial(records.corrections.apply, recording.id, "side", "left", "anna")
        else:
            act = functools.partial(records.corrections.undo, made.id, "anna")
        with pytest.raises(Down):
            act()
    assert (recording.folder / JOURNAL).is_file()
    (row,) = records.corrections.list(recording.id)  # whoever comes next
    assert not (recording.folder / JOURNAL).exists()
    expected = "left" if what == "apply" else "right"
    assert read_session(recording.folder).settings.side == expected
    assert records.get_recording(recording.id).side == expected
    assert row.in_force == (what == "apply")
    assert row.undone_by == (None if what == "apply" else "anna")
    acts = [event[1] for event in audit(records) if event[0] == "anna"]
    assert acts == ["recording.side" if what == "apply" else "recording.undo"]


def test_a_run_is_never_begun_on_half_a_correction(
    add: Add, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = add("one", BY_HAND)
    with monkeypatch.context() as patched:
        patched.setattr(corrections, "write_bytes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            records.corrections.apply(recording.id, "side", "left")
    records.submit_run(recording.id)
    assert read_session(recording.folder).settings.side == "left"
    assert len(records.corrections.list(recording.id)) == 1


def test_a_correction_goes_with_a_run_and_none_is_taken_while_it_lives(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    run = records.corrections.apply_and_run(recording.id, "exclusions", COUGH, "anna")
    assert run.state == "queued"
    with pytest.raises(SessionError, match="being worked on"):
        records.corrections.apply(recording.id, "side", "left")
    (made,) = records.corrections.list(recording.id)
    with pytest.raises(SessionError, match="being worked on"):
        records.corrections.undo(made.id)
    records.request_cancel(run.id)
    assert records.corrections.undo_and_run(made.id).id != run.id


def test_two_who_correct_at_once_are_both_heard(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    start = threading.Barrier(2)
    failures: list[Exception] = []

    def exclude(first: int) -> None:
        try:
            start.wait(5)
            for place in range(5):
                section = {"start_s": first + 2.0 * place, "end_s": first + 2.0 * place + 1, "reason": "x"}
                records.corrections.apply(recording.id, "exclusions", section, f"p{first}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=exclude, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert len(read_session(recording.folder).settings.exclude) == 10
    rows = records.corrections.list(recording.id)
    assert sorted(row.author for row in rows) == ["p0"] * 5 + ["p1"] * 5
    assert all(row.in_force for row in rows)


def test_what_the_report_was_worked_with_is_told_from_what_is_in_force(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    assert records.corrections.is_report_current(recording.id) is None
    run = records.submit_run(recording.id)
    settings = read_session(recording.folder).settings.model_dump(mode="json")
    run.folder.mkdir(parents=True)
    (run.folder / "run.json").write_text(json.dumps({"settings": settings}))
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, state="done")
    assert records.corrections.is_report_current(recording.id) is True
    made = records.corrections.apply(recording.id, "exclusions", COUGH)
    assert made is not None
    assert (made.in_force, made.in_report) == (True, False)
    assert records.corrections.is_report_current(recording.id) is False
