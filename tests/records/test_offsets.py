"""A clock set by hand: the settings keep everything else, and two people do not undo each other."""

import errno
import os
import re
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline.errors import SessionError
from pipeline.session import read_session
from records import NotFound, RecordingRow, Records, models
from records.drafts import is_from_form, write_session_toml
from records.offsets import _edit, read_offsets, set_offsets, set_offsets_and_run

Add = Callable[..., RecordingRow]

BY_HAND = """\
# Notes of the lab: camera left was started late.
subject = "P-014"   # a pseudonym
task = 'banjo'

[offset_s]          # by ear, see the log
# right = 0.2       not sure
left = 0.184        # clap at the start

[checkerboard]
columns = 9
square_mm = 25.0    # measured with a calliper
"""


def offsets_of(recording: RecordingRow) -> dict[str, float]:
    return read_offsets(recording)[1]


def audit(records: Records) -> list[tuple[str, str, str]]:
    with Session(records.engine) as database:
        events = database.scalars(select(models.AuditEvent).order_by(models.AuditEvent.id))
        return [(event.actor, event.action, event.object) for event in events]


def test_an_offset_changes_its_own_number_and_nothing_else(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    set_offsets(records, recording.id, {"left": -0.25}, "somebody")
    path = recording.folder / "session.toml"
    assert path.read_text() == BY_HAND.replace("left = 0.184 ", "left = -0.25 ")
    assert read_session(recording.folder).settings.offset_s == {"left": -0.25}
    assert audit(records)[-1] == ("somebody", "recording.offset", recording.id)


def test_taking_an_offset_away_keeps_the_other_and_every_comment(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    set_offsets(records, recording.id, {"right": 1.5})
    set_offsets(records, recording.id, {"left": None})
    text = (recording.folder / "session.toml").read_text()
    assert offsets_of(recording) == {"right": 1.5}
    for comment in re.findall(r"#.*", BY_HAND.replace("# clap at the start", "")):
        assert comment in text
    set_offsets(records, recording.id, {"left": None})  # twice is no fault
    assert offsets_of(recording) == {"right": 1.5}


def test_a_folder_without_settings_gets_them_and_loses_them_again(add: Add, records: Records) -> None:
    recording = add("one")
    set_offsets(records, recording.id, {"left": 0.5, "right": -0.0})
    assert (recording.folder / "session.toml").read_text() == "[offset_s]\nleft = 0.5\nright = 0.0\n"
    set_offsets(records, recording.id, {"left": None, "right": None})
    assert (recording.folder / "session.toml").read_text() == ""


def test_settings_of_the_form_become_a_persons_own(add: Add, records: Records) -> None:
    recording = add("one")
    path = recording.folder / "session.toml"
    write_session_toml(path, {"subject": "P-1", "checkerboard": {"rows": 6}})
    assert is_from_form(path)
    set_offsets(records, recording.id, {"left": 0.5})
    assert not is_from_form(path)  # or the form would write over the offset at its next check
    assert read_session(recording.folder).settings.subject == "P-1"


KEYS = st.sampled_from(["subject = 'x'", 'task = "a # b"', "# only words", "", "side = 'left' # note"])


@given(
    st.lists(KEYS, max_size=5, unique=True),
    st.sampled_from(["", "[offset_s]\n", "[offset_s]\nleft=1e-3# x\n", "offset_s = {left = 2, right = 1}\n"]),
    st.sampled_from(["", "\n[checkerboard] # z\nrows=7\n"]),
    st.sampled_from(["\n", "\r\n"]),
    st.floats(-3600, 3600),
)  # fmt: skip
def test_whatever_a_person_wrote_stays(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[str],
    table: str,
    board: str,
    line_end: str,
    value: float,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    before = ("\n".join(keys) + "\n" + table + board).replace("\n", line_end)
    path.write_bytes(before.encode())
    edited = _edit(path, {"left": value})
    wanted = tomllib.loads(before)
    wanted["offset_s"] = {**wanted.get("offset_s", {}), "left": round(value, 6)}
    assert tomllib.loads(edited) == wanted
    for line in before.split(line_end):
        assert "left" in line or line.strip() in edited
    path.write_bytes(edited.encode())
    removed = tomllib.loads(_edit(path, {"left": None}))
    wanted["offset_s"].pop("left")
    assert removed.pop("offset_s", {}) == wanted.pop("offset_s")
    assert removed == wanted


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ({"top": 0.5}, "no camera top"),
        ({"front": 0.5}, "the reference"),
        ({"left": float("nan")}, "camera left"),
        ({"left": 1e6}, "camera left"),
        ({"right": 0.1, "left": float("inf")}, "camera left"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    add: Add, records: Records, offsets: dict[str, float], words: str
) -> None:
    recording = add("one", BY_HAND)
    with pytest.raises(SessionError, match=words):
        set_offsets(records, recording.id, offsets)
    assert (recording.folder / "session.toml").read_text() == BY_HAND
    assert audit(records)[-1][1] == "recording.add"
    with pytest.raises(NotFound):
        set_offsets(records, "0" * 32, {"left": 0.1})


def test_a_folder_that_cannot_be_written_is_said_in_words(
    add: Add, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = add("one", BY_HAND)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(SessionError, match="could not be set") as caught:
        set_offsets(records, recording.id, {"left": 0.1})
    assert str(recording.folder) in caught.value.what
    assert "--out" not in str(caught.value)  # that is for those who run the pipeline by hand
    assert (recording.folder / "session.toml").read_text() == BY_HAND


def test_a_folder_that_is_gone_is_said_in_words(add: Add, records: Records, tmp_path: Path) -> None:
    recording = add("one", BY_HAND)
    recording.folder.rename(tmp_path / "elsewhere")
    with pytest.raises(SessionError, match="cannot be opened"):
        set_offsets(records, recording.id, {"left": 0.1})
    with pytest.raises(SessionError, match="cannot be opened") as caught:
        read_offsets(recording)
    assert str(recording.folder) in caught.value.what
    assert "Put it back" in caught.value.advice


def test_two_who_set_two_cameras_at_once_are_both_heard(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    start = threading.Barrier(2)
    failures: list[Exception] = []

    def set_often(camera: str) -> None:
        try:
            start.wait(5)
            for count in range(8):
                set_offsets(records, recording.id, {camera: float(count)})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=set_often, args=(camera,)) for camera in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert offsets_of(recording) == {"left": 7.0, "right": 7.0}
    assert not list(recording.folder.glob(".session-*"))


def test_the_run_is_queued_with_the_offset_and_until_it_ends_no_other_is_taken(
    add: Add, records: Records
) -> None:
    recording = add("one", BY_HAND)
    run = set_offsets_and_run(records, recording.id, {"left": 0.3}, "somebody")
    assert run.state == "queued"
    assert [event[:2] for event in audit(records)[-2:]] == [
        ("somebody", "recording.offset"),
        ("somebody", "run.submit"),
    ]
    with pytest.raises(SessionError, match="being worked on"):
        set_offsets_and_run(records, recording.id, {"left": 0.4})
    assert offsets_of(recording) == {"left": 0.3}
    records.request_cancel(run.id)
    again = set_offsets_and_run(records, recording.id, {"left": None})
    assert again.id != run.id
    assert offsets_of(recording) == {}


def test_of_two_who_set_and_run_at_once_one_is_taken_and_one_is_told(add: Add, records: Records) -> None:
    recording = add("one", BY_HAND)
    start = threading.Barrier(2)
    outcome: dict[float, object] = {}

    def use(offset_s: float) -> None:
        start.wait(5)
        try:
            outcome[offset_s] = set_offsets_and_run(records, recording.id, {"left": offset_s})
        except SessionError as error:
            outcome[offset_s] = error

    threads = [threading.Thread(target=use, args=(offset_s,)) for offset_s in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    taken = [offset_s for offset_s, found in outcome.items() if not isinstance(found, SessionError)]
    assert len(taken) == 1
    assert offsets_of(recording)["left"] == taken[0]
    assert len(records.list_runs(recording.id)) == 1
