"""How far a run has come by stage and camera, and what it said, without the server's paths."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.files import write_json
from records import Records, RunRow, get_records
from records.progress import Step, hide_paths, list_steps, read_details
from records.supervise import error_path
from tests.records.site import make_session, surroundings

PLAN = [
    {"name": "check", "label": "Checking the files", "weight": 10},
    {"name": "pose:front", "label": "Finding the hand in camera front", "weight": 40},
    {"name": "pose:left", "label": "Finding the hand in camera left", "weight": 40},
    {"name": "web", "label": "Preparing video", "weight": 10},
]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with surroundings(tmp_path / "data"):
        yield get_records()


@pytest.fixture
def run(records: Records, tmp_path: Path) -> RunRow:
    row = records.submit_run(records.add_recording(make_session(tmp_path / "s", 'subject = "P-1"\n')).id)
    row.folder.mkdir(parents=True)
    return row


def write_plan(run: RunRow, *done: str) -> None:
    stages = {name: {"seconds": 12.5, "outputs": []} for name in done}
    write_json(run.folder / "run.json", {"plan": PLAN, "stages": stages})


def say(steps: tuple[Step, ...]) -> list[tuple[str, str, float]]:
    return [(step.name, step.state, round(step.fraction, 2)) for step in steps]


def test_a_run_that_has_not_begun_has_no_steps(run: RunRow) -> None:
    assert list_steps(run) == ()
    write_json(run.folder / "run.json", {"state": "running", "stages": {}})  # of an older program
    assert list_steps(run) == ()
    (run.folder / "run.json").write_text("{", encoding="utf-8")
    assert list_steps(run) == ()


def test_a_camera_at_work_is_told_from_those_done_and_to_come(run: RunRow) -> None:
    write_plan(run, "check", "pose:front")
    at_work = replace(run, state="running", stage="pose:left", fraction=0.7)
    assert say(list_steps(at_work)) == [
        ("check", "done", 1.0), ("pose:front", "done", 1.0), ("pose:left", "working", 0.5),
        ("web", "waiting", 0.0),
    ]  # fmt: skip
    assert [step.seconds for step in list_steps(at_work)] == [12.5, 12.5, None, None]


def test_a_run_that_has_failed_says_where_it_stopped(run: RunRow) -> None:
    write_plan(run, "check")
    failed = replace(run, state="failed", stage="pose:front", fraction=0.2)
    assert say(list_steps(failed))[1:3] == [("pose:front", "stopped", 0.25), ("pose:left", "waiting", 0.0)]


def test_what_an_earlier_run_did_counts_once_this_one_has_come_past_it(run: RunRow) -> None:
    write_plan(run, "check", "pose:front", "pose:left")
    again = replace(run, state="running", stage="check", fraction=0.02)
    assert [state for _, state, _ in say(list_steps(again))] == ["working", "waiting", "waiting", "waiting"]


def test_the_details_are_the_last_lines_in_words_without_paths(run: RunRow) -> None:
    events = [{"time": "2026-11-21T23:30:01.5+00:00", "event": "stage started", "stage": "check"}]
    events += [{"time": "2026-11-21T23:30:02.0+00:00", "event": "progress", "stage": "check"}] * 3
    text = "\n".join(json.dumps(event) for event in events)
    (run.folder / "log.jsonl").write_text(f"{text}\n", encoding="utf-8")
    error_path(run.folder).write_text(
        f'  File "{run.folder}/deep/worker.py", line 3\nOSError: no space on {run.folder}/web\n'
    )
    said = read_details(run)
    assert "23:30:01 stage started, stage check" in said
    assert "progress" not in said
    assert 'File ".../worker.py", line 3' in said
    assert "OSError: no space on .../web" in said
    assert str(run.folder.parent) not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at /data/runs/ab12/web/mosaic.mp4, line 3", "at .../mosaic.mp4, line 3"),
        ("http://127.0.0.1:8050/recording/ab", "http://127.0.0.1:8050/recording/ab"),
        ("8 m/s³ and 3/4 of 1/min", "8 m/s³ and 3/4 of 1/min"),
        ("calibration/front.mp4 is cut off", "calibration/front.mp4 is cut off"),
    ],
)
def test_only_absolute_paths_are_cut(text: str, shown: str) -> None:
    assert hide_paths(text) == shown


def test_a_run_without_a_word_has_no_details(run: RunRow) -> None:
    assert read_details(run) == ""
