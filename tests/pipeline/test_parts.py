"""Stages that somebody else does: taken over whole, waited for while somebody is at them, never otherwise."""

import os
import time
from pathlib import Path

import pytest

from pipeline import parts
from pipeline.errors import Cancelled
from pipeline.files import write_json
from pipeline.parts import mark_path, part_path, take_part, write_part

STAGE = "pose:left"


def nothing() -> None:
    """Nobody asks to stop."""


def leave(folder: Path, tmp_path: Path, key: str = "k") -> None:
    run = tmp_path / "helper"
    (run / "views").mkdir(parents=True)
    (run / "views" / "left.npz").write_bytes(b"result")
    write_part(part_path(folder, STAGE), run, {"key": key, "outputs": ["views/left.npz"], "seconds": 1.0})


def test_what_is_done_is_taken_over_with_its_entry(tmp_path: Path) -> None:
    leave(tmp_path / "r.parts", tmp_path)
    entry = take_part(tmp_path / "r.parts", STAGE, "k", tmp_path / "r", 10.0, nothing)
    assert entry is not None
    assert entry["outputs"] == ["views/left.npz"]
    assert (tmp_path / "r" / "views" / "left.npz").read_bytes() == b"result"
    assert not (tmp_path / "helper").exists()


@pytest.mark.parametrize("fault", ["nothing", "other key", "file gone", "no JSON", "no list"])
def test_what_is_not_this_stage_or_not_whole_is_not_looked_at(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "r.parts"
    if fault != "nothing":
        leave(folder, tmp_path, "another" if fault == "other key" else "k")
    said = part_path(folder, STAGE) / parts.PART_JSON
    if fault == "file gone":
        (part_path(folder, STAGE) / "views" / "left.npz").unlink()
    elif fault == "no JSON":
        said.write_text("{")
    elif fault == "no list":
        write_json(said, {"key": "k", "outputs": None})
    begun = time.monotonic()
    assert take_part(folder, STAGE, "k", tmp_path / "r", 10.0, nothing) is None
    assert time.monotonic() - begun < 0.2
    assert not (tmp_path / "r").exists()


def test_somebody_who_is_at_it_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LOOK_EVERY_S", 0.01)
    folder = tmp_path / "r.parts"
    folder.mkdir()
    mark_path(folder, STAGE).touch()
    looks: list[int] = []

    def check() -> None:
        looks.append(1)
        if len(looks) == 5:
            leave(folder, tmp_path)

    assert take_part(folder, STAGE, "k", tmp_path / "r", 10.0, check) is not None
    assert len(looks) == 5


def test_nobody_waits_for_one_who_is_gone_too_slow_or_while_the_run_shall_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOOK_EVERY_S", 0.01)
    folder = tmp_path / "r.parts"
    folder.mkdir()
    mark = mark_path(folder, STAGE)
    mark.touch()
    assert take_part(folder, STAGE, "k", tmp_path / "r", 0.1, nothing) is None
    before = time.time() - parts.SILENT_S - 1
    os.utime(mark, (before, before))
    begun = time.monotonic()
    assert take_part(folder, STAGE, "k", tmp_path / "r", 10.0, nothing) is None
    assert time.monotonic() - begun < 1

    def stop() -> None:
        raise Cancelled

    mark.touch()
    with pytest.raises(Cancelled):
        take_part(folder, STAGE, "k", tmp_path / "r", 10.0, stop)
