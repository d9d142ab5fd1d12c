"""Exports on demand: written once by a process of their own, told in words when that fails."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.files import write_json
from records import NotFound, Records, name_export
from records.exports import AT_MOST, KEEP_S, Export, export_command
from tests.records.site import make_session

LONG_S = 20.0


@pytest.fixture
def run_id(records: Records, tmp_path: Path) -> str:
    """A run that is done, as far as exports look at it before they are written."""
    recording = records.add_recording(make_session(tmp_path / "one"))
    run = records.submit_run(recording.id)
    write_json(run.folder / "run.json", {"state": "done"})
    with records.writing() as database:
        from records import models

        records.change(database, models.Run.id == run.id, state="done")
    return run.id


def let(records: Records, code: str) -> list[Path]:
    """Have this Python do ``code`` instead of writing an export to ``OUT``; returns what was asked."""
    asked: list[Path] = []

    def command(run_folder: Path, format_id: str, deidentified: bool, out: Path) -> list[str]:
        asked.append(out)
        return [sys.executable, "-c", f"OUT = {str(out)!r}; {code}"]

    records.exports.command = command
    return asked


def wait_for(records: Records, run_id: str, name: str) -> Export:
    for _ in range(200):
        found = records.exports.prepare(run_id, name)
        if found.state != "working":
            return found
        time.sleep(0.1)
    raise AssertionError("the export never ended")


def test_an_export_is_written_once_and_then_given(records: Records, run_id: str) -> None:
    asked = let(records, "open(OUT, 'w').write('numbers')")
    first = records.exports.prepare(run_id, "csv.zip", wait_s=LONG_S)
    second = records.exports.prepare(run_id, "csv.zip", wait_s=0)
    assert first.state == second.state == "ready"
    assert first.path.read_text() == "numbers"
    assert len(asked) == 1
    other = records.exports.prepare(run_id, "csv-deidentified.zip", wait_s=LONG_S)
    assert other.path != first.path
    assert len(asked) == 2


def test_one_that_takes_long_is_at_work_and_not_begun_twice(records: Records, run_id: str) -> None:
    asked = let(records, "import time; time.sleep(1); open(OUT, 'w').write('numbers')")
    assert records.exports.prepare(run_id, "c3d.zip", wait_s=0).state == "working"
    assert records.exports.prepare(run_id, "c3d.zip", wait_s=0).state == "working"
    assert Records(records.settings).exports.prepare(run_id, "c3d.zip", wait_s=0).state == "working"
    assert wait_for(records, run_id, "c3d.zip").state == "ready"
    assert len(asked) == 1


def test_requests_at_once_begin_it_once(records: Records, run_id: str) -> None:
    asked = let(records, "import time; time.sleep(0.5); open(OUT, 'w').write('numbers')")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: records.exports.prepare(run_id, "csv.zip", wait_s=0), range(8)))
    assert {each.state for each in found} == {"working"}
    assert len(asked) == 1


def test_a_failure_is_told_in_the_processs_words_and_tried_again_when_asked(
    records: Records, run_id: str
) -> None:
    words = '{"type": "error", "what": "The hand model is another one.", "advice": "Put it back."}'
    asked = let(records, f"print({words!r}); raise SystemExit(2)")
    found = records.exports.prepare(run_id, "glb.zip", wait_s=LONG_S)
    assert (found.state, found.what, found.advice) == (
        "failed", "The hand model is another one.", "Put it back.",
    )  # fmt: skip
    assert records.exports.prepare(run_id, "glb.zip", wait_s=LONG_S).state == "failed"
    assert len(asked) == 1
    again = let(records, "open(OUT, 'w').write('numbers')")
    assert records.exports.prepare(run_id, "glb.zip", again=True, wait_s=LONG_S).state == "ready"
    assert len(again) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what is tried is a process
def test_a_process_that_died_without_a_word_is_a_failure(
    records: Records, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    let(records, "import os; os.kill(os.getpid(), 9)")
    found = records.exports.prepare(run_id, "nwb.zip", wait_s=LONG_S)
    assert found.state == "failed"
    assert "could not be written" in found.what
    assert "without a word (exit code -9)" in caplog.text
    let(records, "open(OUT, 'w').write('numbers')")
    records.exports.prepare(run_id, "csv.zip", wait_s=LONG_S)  # others in between do not lose it
    caplog.clear()
    assert records.exports.prepare(run_id, "nwb.zip", wait_s=0).state == "failed"
    assert "exit code -9" in caplog.text
    Records(records.settings).exports.prepare(run_id, "nwb.zip", wait_s=0)
    assert "exit code not known" in caplog.text


def test_only_so_many_are_written_at_a_time(records: Records, run_id: str) -> None:
    asked = let(records, "import time; time.sleep(1); open(OUT, 'w').write('numbers')")
    names = ["csv.zip", "c3d.zip", "nwb.zip"]
    assert {records.exports.prepare(run_id, name, wait_s=0).state for name in names} == {"working"}
    assert len(asked) == AT_MOST
    assert {wait_for(records, run_id, name).state for name in names} == {"ready"}
    assert len(asked) == len(names)


def test_a_run_that_was_worked_again_gets_new_exports(records: Records, run_id: str) -> None:
    let(records, "open(OUT, 'w').write('numbers')")
    before = records.exports.prepare(run_id, "csv.zip", wait_s=LONG_S)
    write_json(records.open_run(run_id).run_json, {"state": "done", "again": True})
    after = records.exports.prepare(run_id, "csv.zip", wait_s=LONG_S)
    assert after.state == "ready"
    assert after.path != before.path


def test_an_export_is_kept_for_a_day(records: Records, run_id: str) -> None:
    let(records, "open(OUT, 'w').write('numbers')")
    old = records.exports.prepare(run_id, "csv.zip", wait_s=LONG_S).path
    write_json(records.open_run(run_id).run_json, {"state": "done", "again": True})
    past = time.time() - KEEP_S - 10
    os.utime(old.parent, (past, past))
    records.exports.prepare(run_id, "csv.zip", wait_s=LONG_S)
    assert not old.exists()


@pytest.mark.parametrize("name", ["bvh.zip", "csv", "csv.tar", "../csv.zip", "csv-deidentified-x.zip", ""])
def test_what_is_no_export_is_not_there(records: Records, run_id: str, name: str) -> None:
    with pytest.raises(NotFound):
        records.exports.prepare(run_id, name)


def test_an_unfinished_run_has_none(records: Records, tmp_path: Path) -> None:
    recording = records.add_recording(make_session(tmp_path / "two"))
    run = records.submit_run(recording.id)
    with pytest.raises(NotFound, match="not finished"):
        records.exports.prepare(run.id, "csv.zip")
    with pytest.raises(NotFound):
        records.exports.prepare("0" * 32, "csv.zip")


def test_names_and_commands_say_format_and_deidentification(tmp_path: Path) -> None:
    assert name_export("csv") == "csv.zip"
    assert name_export("csv", deidentified=True) == "csv-deidentified.zip"
    plain = export_command(tmp_path, "csv", False, tmp_path / "a.zip")
    assert plain[1:5] == ["-m", "pipeline", "export", str(tmp_path)]
    assert "--deidentify" not in plain
    assert "--deidentify" in export_command(tmp_path, "csv", True, tmp_path / "a.zip")
