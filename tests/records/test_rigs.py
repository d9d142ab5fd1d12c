"""Rigs that are kept, named and used again."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from pipeline.calibration.formats import write_rig_file
from pipeline.errors import CalibrationError
from pipeline.results import CameraCheck, Rig, RigCheck, RunFolder, read_rig, write_rig, write_rig_check
from pipeline.session import read_session
from records import NotFound, RecordingRow, Records, models
from records.errors import RigError
from tests.pipeline.calibration.board_pictures import make_rig_cameras

Add = Callable[..., RecordingRow]


def make_rig(shift_mm: float = 0.0, **more: Any) -> Rig:
    cameras = make_rig_cameras((640, 360))
    left = cameras["left"]
    cameras["left"] = replace(left, t_mm=left.t_mm + shift_mm)
    return replace(Rig("front", cameras), **more)


def finish_run(records: Records, recording: RecordingRow, rig: Rig, day: int = 1) -> str:
    """A run that is done, with this rig."""
    run = models.Run(
        id=models.new_id(),
        recording_id=recording.id,
        state="done",
        folder="",
        finished=datetime.datetime(2026, 5, day, tzinfo=datetime.UTC),
    )
    run.folder = f"runs/{run.id}"
    with records.writing() as database:
        database.add(run)
    write_rig(records.open_run(run.id).rig_json, rig)
    return run.id


def check_run(records: Records, run_id: str, verdict: str) -> None:
    folder = RunFolder(records.get_run(run_id).folder)
    write_rig(folder.rig_json, replace(read_rig(folder.rig_json), source="file"))
    check = RigCheck(verdict, {"left": CameraCheck(verdict)})  # type: ignore[arg-type]
    write_rig_check(folder.rig_check_json, check)


def notes(records: Records) -> list[tuple[str, str]]:
    with records.reading() as database:
        events = select(models.AuditEvent).order_by(models.AuditEvent.id)
        return [(event.action, event.object) for event in database.scalars(events)]


def test_the_rig_of_a_run_is_kept_under_a_name_and_read_back(records: Records, add: Add) -> None:
    rig = make_rig(verdict="check", reasons=("Mind left.",))
    recording = add("one", 'subject = "P-1"')
    run_id = finish_run(records, recording, rig)
    kept = records.rigs.keep(run_id, "  Studio,\n desk ", "anna")
    assert (kept.name, kept.cameras, kept.verdict) == ("Studio, desk", ("front", "left", "right"), "check")
    assert (kept.from_run_id, kept.from_recording_id) == (run_id, recording.id)
    assert "P-1" in kept.from_title
    back = records.rigs.read(kept.id)
    assert (back.name, back.reasons, back.source) == ("Studio, desk", ("Mind left.",), "checkerboard")
    np.testing.assert_array_equal(back.cameras["left"].t_mm, rig.cameras["left"].t_mm)
    assert notes(records)[-1] == ("rig.keep", kept.id)
    assert records.rigs.list() == (kept,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "hand", "verdict": "check"}, "from the hand"),
        ({"source": "single", "verdict": "check"}, "guessed lens"),
        ({"verdict": "failed"}, "failed"),
    ],
)
def test_what_should_not_be_used_again_is_not_kept(
    records: Records, add: Add, changes: dict[str, Any], said: str
) -> None:
    run_id = finish_run(records, add("one"), make_rig(**changes))
    with pytest.raises(RigError, match=said) as caught:
        records.rigs.keep(run_id, "Studio")
    assert caught.value.advice
    assert records.rigs.list() == ()
    assert not list(records.settings.data_dir.glob("rigs/*"))


def test_the_same_rig_and_the_same_name_are_kept_once(records: Records, add: Add) -> None:
    recording = add("one")
    records.rigs.keep(finish_run(records, recording, make_rig()), "Studio")
    with pytest.raises(RigError, match="kept already, as Studio"):
        records.rigs.keep(finish_run(records, recording, make_rig(), day=2), "Other")
    with pytest.raises(RigError, match="called Studio already"):
        records.rigs.keep(finish_run(records, recording, make_rig(1.0), day=3), "Studio")
    assert len(list(records.settings.data_dir.glob("rigs/*"))) == 1


@pytest.mark.parametrize("name", ["", "  ", "\n", "x" * 81])
def test_a_rig_needs_a_name(records: Records, add: Add, name: str) -> None:
    run_id = finish_run(records, add("one"), make_rig())
    with pytest.raises(RigError, match="name"):
        records.rigs.keep(run_id, name)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is tried is a process on a file
@pytest.mark.parametrize("suffix", [".json", ".yaml", ".toml"])
def test_a_file_of_another_program_is_kept_as_to_be_checked(
    records: Records, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"lab{suffix}"
    write_rig_file(path, make_rig())
    kept = records.rigs.add(path, "Lab")
    assert kept.from_run_id is None
    rig = records.rigs.read(kept.id)
    assert (kept.source, kept.verdict) == (rig.source, rig.verdict)
    assert kept.verdict == ("reliable" if suffix == ".json" else "check")
    np.testing.assert_allclose(rig.cameras["left"].t_mm, make_rig().cameras["left"].t_mm, rtol=1e-12)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is tried is a process on a file
def test_a_file_that_is_no_rig_is_refused_in_words_and_leaves_nothing(
    records: Records, tmp_path: Path
) -> None:
    path = tmp_path / "harm.yaml"
    path.write_text("%YAML:1.0\n---\ncameras: " + "[" * 5000)
    with pytest.raises(CalibrationError, match=r"harm\.yaml is nested too deeply"):
        records.rigs.add(path, "Lab")
    assert not list(records.settings.data_dir.glob("rigs/*"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is tried is a process on a file
@pytest.mark.parametrize("text", ['{"cameras": {"front"', "[1, 2]", '{"cameras": {"front": {}}}'])
def test_a_broken_file_is_named_as_the_person_knows_it(records: Records, tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(CalibrationError) as caught:
        records.rigs.add(path, "Lab")
    assert "broken.json" in caught.value.what
    assert str(tmp_path) not in str(caught.value)
    assert "run the pipeline" not in caught.value.advice


def test_a_rig_that_is_used_lies_in_the_session_and_the_recording_knows_it(
    records: Records, add: Add, tmp_path: Path
) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    other = add("two")
    assert other.rig_id is None
    path = records.rigs.use(other.folder, kept.id)
    assert path == other.folder / "rig.json"
    assert read_rig(path).name == "Studio"
    assert read_session(other.folder).rig == path
    assert records.add_recording(other.folder).rig_id == kept.id
    assert [use.recording_id for use in records.rigs.get(kept.id).uses] == [other.id]


def test_a_renamed_rig_is_still_known_in_the_sessions_that_have_it(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    other = add("two")
    records.rigs.use(other.folder, kept.id)
    renamed = records.rigs.rename(kept.id, "Room 4")
    assert records.rigs.read(kept.id).name == renamed.name == "Room 4"
    assert records.add_recording(other.folder).rig_id == kept.id
    assert notes(records)[-2:] == [("rig.rename", kept.id), ("recording.update", other.id)]


def test_a_name_that_is_taken_changes_nothing(records: Records, add: Add) -> None:
    recording = add("one")
    records.rigs.keep(finish_run(records, recording, make_rig()), "Studio")
    second = records.rigs.keep(finish_run(records, recording, make_rig(1.0), day=2), "Lab")
    with pytest.raises(RigError, match="Studio already"):
        records.rigs.rename(second.id, "Studio")
    assert records.rigs.read(second.id).name == records.rigs.get(second.id).name == "Lab"


def test_another_rig_in_the_folder_is_never_overwritten(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    for name in ("rig.json", "rig.toml"):
        folder = add(name.replace(".", "-")).folder
        write_rig_file(folder / name, make_rig(5.0))
        before = (folder / name).read_bytes()
        with pytest.raises(RigError, match=rf"{name}"):
            records.rigs.use(folder, kept.id)
        records.rigs.withdraw(folder)
        assert (folder / name).read_bytes() == before


def test_a_choice_can_be_changed_and_taken_back(records: Records, add: Add) -> None:
    recording = add("one")
    first = records.rigs.keep(finish_run(records, recording, make_rig()), "Studio")
    second = records.rigs.keep(finish_run(records, recording, make_rig(1.0), day=2), "Lab")
    folder = add("two").folder
    records.rigs.use(folder, first.id)
    records.rigs.use(folder, second.id)
    assert records.add_recording(folder).rig_id == second.id
    records.rigs.withdraw(folder)
    assert read_session(folder).rig is None
    assert records.add_recording(folder).rig_id is None


def test_the_newest_check_of_each_recording_tells_when_a_rig_went_stale(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    uses = []
    for name in ("two", "three"):
        recording = add(name)
        records.rigs.use(recording.folder, kept.id)
        uses.append(records.add_recording(recording.folder))
    assert {use.verdict for use in records.rigs.get(kept.id).uses} == {None}
    assert records.rigs.get(kept.id).last_check is None
    check_run(records, finish_run(records, uses[0], make_rig(), day=2), "good")
    check_run(records, finish_run(records, uses[1], make_rig(), day=3), "doubtful")
    time.sleep(0.002)
    check_run(records, finish_run(records, uses[1], make_rig(), day=4), "moved")
    row = records.rigs.get(kept.id)
    assert {use.recording_id: use.verdict for use in row.uses} == {uses[0].id: "good", uses[1].id: "moved"}
    last = row.last_check
    assert last is not None
    assert (last.verdict, last.checked and last.checked.day) == ("moved", 4)


def test_a_run_from_before_the_rig_was_given_is_no_check_of_it(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    other = add("two")
    run_id = finish_run(records, other, make_rig(3.0))
    write_rig_check(records.open_run(run_id).rig_check_json, RigCheck("good"))
    records.rigs.use(other.folder, kept.id)
    records.add_recording(other.folder)
    assert [use.verdict for use in records.rigs.get(kept.id).uses] == [None]


def test_a_retired_rig_is_kept_but_not_offered(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    folder = add("two").folder
    assert records.rigs.retire(kept.id).retired
    assert records.rigs.list(retired=False) == ()
    assert len(records.rigs.list()) == 1
    with pytest.raises(RigError, match="retired"):
        records.rigs.use(folder, kept.id)
    assert not records.rigs.retire(kept.id, retired=False).retired
    records.rigs.use(folder, kept.id)
    assert [action for action, _ in notes(records)][-2:] == ["rig.retire", "rig.return"]


def test_the_database_lets_no_rig_go_that_a_recording_used(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    other = add("two")
    records.rigs.use(other.folder, kept.id)
    records.add_recording(other.folder)
    with pytest.raises(IntegrityError), records.writing() as database:
        database.delete(database.get(models.Rig, kept.id))


@pytest.mark.parametrize("rig_id", ["", "0" * 32, "../../etc/passwd", "x" * 500])
def test_an_unknown_rig_is_not_found(records: Records, rig_id: str) -> None:
    for ask in (records.rigs.get, records.rigs.read, records.rigs.retire):
        with pytest.raises(NotFound):
            ask(rig_id)
    with pytest.raises(NotFound):
        records.rigs.rename(rig_id, "x")


def test_a_recording_that_used_a_kept_rig_has_nothing_to_keep(records: Records, add: Add) -> None:
    kept = records.rigs.keep(finish_run(records, add("one"), make_rig()), "Studio")
    other = add("two")
    records.rigs.use(other.folder, kept.id)
    other = records.add_recording(other.folder)
    run_id = finish_run(records, other, make_rig(source="file"))
    with pytest.raises(RigError, match="Studio"):
        records.rigs.keep(run_id, "Again")


def test_rigs_lose_the_name_of_who_is_erased_and_keep_their_cameras(records: Records, add: Add) -> None:
    grandma = add("one", 'subject = "Grandma-7"')
    other = add("two", 'subject = "P-2"')
    kept = {
        name: records.rigs.keep(finish_run(records, recording, make_rig(shift_mm)), name)
        for shift_mm, (name, recording) in enumerate(
            {"Desk": grandma, "at grandma-7's house": other, "Studio": other}.items()
        )
    }
    cameras = {name: records.rigs.read(rig.id).cameras["left"].t_mm for name, rig in kept.items()}
    records.retention.erase_subject("Grandma-7", "anna")
    names = {before: records.rigs.get(rig.id).name for before, rig in kept.items()}
    assert names["Studio"] == "Studio"
    for before in ("Desk", "at grandma-7's house"):
        assert names[before] == f"Rig {kept[before].id[:8]}"
        assert records.rigs.read(kept[before].id).name == names[before]
        np.testing.assert_array_equal(
            records.rigs.read(kept[before].id).cameras["left"].t_mm, cameras[before]
        )
    files = [path for path in records.settings.data_dir.rglob("*") if path.is_file()]
    assert [path.name for path in files if b"grandma-7" in path.read_bytes().lower()] == []


def test_a_rig_whose_file_is_damaged_loses_its_name_all_the_same(records: Records, add: Add) -> None:
    recording = add("one", 'subject = "Grandma-7"')
    rig = records.rigs.keep(finish_run(records, recording, make_rig()), "Grandma-7")
    (file,) = [
        path for path in records.settings.data_dir.rglob("*") if rig.id in path.name and path.is_file()
    ]
    file.write_text("Grandma-7, damaged", encoding="utf-8")
    records.retention.erase_subject("Grandma-7", "anna")
    assert records.rigs.get(rig.id).name == f"Rig {rig.id[:8]}"
    assert not file.exists()
