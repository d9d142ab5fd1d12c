"""The numbers of many recordings as long tables: what is in them, and what is not."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RunFolderError
from pipeline.export.study import write_study
from pipeline.measures.summary import write_summary
from pipeline.measures.summary_types import (
    AngleSummary,
    TremorSummary,
)
from pipeline.results import RunFolder
from tests.pipeline.export.made import make_summary

ANGLE = AngleSummary(
    "ring_pip_flexion", "ring finger PIP flexion", "ring", "ring_pip", 41.5, 5.0, 20.0, 2.0, 2.0, 1.0, 3.0,
    "1 to 3 SD", False, 40.0, 8.0, 0.75, note="=typed", peak_deg=60.0, peak_z=2.5, far_share=0.125,
    median_low=40.5, median_high=42.5, rms_deg=6.0,
)  # fmt: skip
TYPED = ("P-014", "2026-03-02", "secret", "Grandma", "typed", "Withheld")
"""What `make_summary` and this file have of what people, files or devices name."""


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    """What a study of one recording holds, by the name of the file."""
    made = make_summary(("right", "left"))
    tremor = TremorSummary("index", "seen", 5.5, 5.25, 5.75, 0.5, 0.25, 0.75, 0.125)
    right = dataclasses.replace(made.sides["right"], angles=(ANGLE,), tremor=(tremor,), ldlj=-7.5)
    summary = dataclasses.replace(
        made,
        task="Grandma's waltz",
        sides={"right": right, "left": made.sides["left"]},
        comparability={"task": "Grandma's waltz", "method version": "7"},
    )
    run = RunFolder(tmp_path / "run of Grandma")
    write_summary(run.summary_json, summary)
    who = {"recording": "ab" * 16, "person": "R-AAAAAAAA", "day": 42, "task": "task BBBBBBBB"}
    score = {"person": "R-AAAAAAAA", "day": 42, "scale": "TFR", "item": "2", "value": 0.5, "blinded": None}
    write_study(
        {"recordings": [who | {"run": str(run.path)}], "scores": [score], "marks": []}, tmp_path / "n.zip"
    )
    with zipfile.ZipFile(tmp_path / "n.zip") as archive:
        texts = {Path(name).name: archive.read(name).decode() for name in archive.namelist()}
    return {
        name: json.loads(text) if name.endswith(".json") else list(csv.DictReader(io.StringIO(text)))
        for name, text in texts.items()
    } | {"all": " ".join([*texts, *texts.values()])}


def test_the_tables_hold_the_numbers_under_codes_and_days(tables: dict[str, Any]) -> None:
    (recording,), angles, headlines = (
        tables[f"{name}.csv"] for name in ("recordings", "angles", "headlines")
    )
    assert (recording["person"], recording["day"], recording["task"]) == ("R-AAAAAAAA", "42", "task BBBBBBBB")
    assert (recording["cameras"], recording["frames"], recording["quality"]) == ("2", "480", "limited")
    assert (recording["method_version"], recording["reference_simulated"]) == ("7", "1")
    assert [(row["side"], row["angle"]) for row in angles] == [("right", "ring_pip_flexion")]
    numbers = {"median_deg": 41.5, "z_high": 3.0, "peak_z": 2.5, "reference_mean_deg": 40.0}
    assert {name: float(angles[0][name]) for name in numbers} == numbers
    assert {row["side"] for row in headlines} == {"right", "left"}
    assert [row["value"] for row in headlines[:2]] == ["", "12.5"]  # the first is withheld
    strokes = {(row["side"], row["measure"]): row["value"] for row in tables["strokes.csv"]}
    assert float(strokes["right", "tremor_frequency"]) == 5.5
    assert float(strokes["right", "log_dimensionless_jerk"]) == -7.5
    assert (tables["scores.csv"][0]["value"], tables["scores.csv"][0]["blinded"]) == ("0.5", "")


def test_no_column_is_empty_where_the_recording_has_its_number(tables: dict[str, Any]) -> None:
    for name in ("recordings.csv", "angles.csv", "headlines.csv"):
        rows = tables[name]
        empty = {column for column in rows[0] if all(row[column] == "" for row in rows)}
        # The reference that was made up here is none of the box.
        assert empty <= {"worse", "reference_digest"}, name


def test_every_column_is_explained_and_none_else(tables: dict[str, Any]) -> None:
    for name, columns in tables["columns.json"]["tables"].items():
        assert all(column["meaning"] for column in columns)
        if tables[name]:
            assert [column["name"] for column in columns] == list(tables[name][0])
    assert tables["marks.csv"] == []


def test_nothing_that_was_typed_is_taken_away(tables: dict[str, Any]) -> None:
    assert [word for word in TYPED if word in tables["all"]] == []


def test_a_run_that_is_gone_is_said_and_nothing_is_left_behind(tmp_path: Path) -> None:
    gone = {"run": str(tmp_path / "gone"), "recording": "a", "person": "b", "day": 0, "task": ""}
    plan = {"recordings": [gone], "scores": [], "marks": []}
    with pytest.raises(RunFolderError):
        write_study(plan, tmp_path / "out" / "n.zip")
    assert list(tmp_path.rglob("*.zip")) == []
