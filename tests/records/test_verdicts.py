"""The worklist knows each report's verdict, of older runs too, and can be searched and put in order by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import update

from pipeline.files import write_json
from records import RecordingRow, Records, models
from records.verdicts import read_verdict

Add = Callable[..., RecordingRow]


def finish(records: Records, recording: RecordingRow, verdict: str, when: str = "closed") -> str:
    """A run that is done; an ``older`` one was closed before verdicts were kept."""
    run = models.Run(id=models.new_id(), recording_id=recording.id, state="done", folder="")
    run.folder = f"runs/{run.id}"
    run.quality = verdict if when == "closed" else ""
    with records.writing() as database:
        database.add(run)
    folder = records.settings.data_dir / "runs" / run.id
    folder.mkdir(parents=True)
    if verdict:
        write_json(folder / "summary.json", {"quality": {"verdict": verdict}})
    return run.id


def test_older_runs_are_looked_at_once_and_found_by_their_verdict(add: Add, records: Records) -> None:
    rows = {verdict: add(verdict) for verdict in ("passed", "limited", "failed")}
    for verdict, row in rows.items():
        finish(records, row, verdict, "older")
    bare = add("bare")
    finish(records, add("broken"), "")
    assert records.verdicts.fill_in() == 3
    assert records.verdicts.fill_in() == 0
    for verdict, row in rows.items():
        (found,) = records.list_recordings(quality=verdict).rows
        assert (found.id, found.quality) == (row.id, verdict)
    assert [row.id for row in records.list_recordings(quality="none").rows] == [bare.id]


def test_a_newer_report_replaces_the_verdict_and_a_failed_run_does_not(add: Add, records: Records) -> None:
    row = add("one")
    finish(records, row, "failed")
    finish(records, row, "passed")
    with records.writing() as database:
        database.add(models.Run(recording_id=row.id, state="failed", folder="runs/x"))
    assert records.get_recording(row.id).quality == "passed"


def test_a_verdict_that_is_not_known_is_none(tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "summary.json", {"quality": {"verdict": "limited"}})
    assert read_verdict(tmp_path / "run" / "summary.json") == "limited"
    (tmp_path / "run" / "summary.json").write_text("{")
    assert read_verdict(tmp_path / "run" / "summary.json") == ""
    write_json(tmp_path / "run" / "summary.json", {"quality": {"verdict": "splendid"}})
    assert read_verdict(tmp_path / "run" / "summary.json") == ""


ORDERS = {
    "added": ["c", "b", "a"],
    "person": ["b", "c", "a"],
    "visit": ["a", "c", "b"],
    "task": ["a", "c", "b"],
    "quality": ["b", "c", "a"],
}


def test_the_worklist_can_be_put_in_order(add: Add, records: Records) -> None:
    rows = {
        "a": add("a", 'subject = "P-9"\nvisit = 2026-05-01\ntask = "banjo"'),
        "b": add("b", 'subject = "p-1"\ntask = "Piano"'),
        "c": add("c", 'subject = "P-2"\nvisit = 2026-03-01\ntask = "guitar"'),
    }
    for name, verdict in {"a": "passed", "b": "failed", "c": "limited"}.items():
        finish(records, rows[name], verdict)
    names = {row.id: name for name, row in rows.items()}
    for order, expected in ORDERS.items():
        assert [names[row.id] for row in records.list_recordings(order=order).rows] == expected


def test_sets_of_pictures_are_not_in_the_list_of_recordings(add: Add, records: Records) -> None:
    row, other = add("one", 'task = "piano"'), add("two", 'task = "banjo"')
    with records.writing() as database:
        changed = update(models.Recording).where(models.Recording.id == other.id)
        database.execute(changed.values(kind="photos"))
    assert [each.id for each in records.list_recordings().rows] == [row.id]
    assert records.list_tasks() == ("piano",)
