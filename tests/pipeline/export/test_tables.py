"""Tables that leave the house: units, gaps, and nothing that a spreadsheet would work out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export.tables import MEANINGS, UNITS, escape_formula, to_csv, write_tables
from pipeline.measures.features import FEATURE_COLUMNS
from pipeline.measures.measure import _ANGLE_COLUMNS, _JOINT_COLUMNS
from pipeline.measures.rotations import ROTATION_COLUMNS


def make_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "side": ["right", "right"],
            "time_s": [0.0, 1 / 60],
            "joint": pd.Categorical(["wrist", "=1+1"]),
            "jerk": [12.345678, np.nan],
            "valid": [True, False],
        }
    )


def test_headers_carry_units_and_gaps_are_empty() -> None:
    lines = to_csv(make_table()).splitlines()
    assert lines[0] == "side,time_s [s],joint,jerk [m/s³],valid"
    assert lines[1] == "right,0,wrist,12.3457,1"
    assert lines[2] == "right,0.016667,'=1+1,,0"


@given(st.text(max_size=12))
def test_no_cell_starts_a_formula(text: str) -> None:
    table = make_table().assign(joint=[text, text])
    back = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=False, dtype=str)
    assert not any(str(cell).startswith(("=", "+", "-", "@", "\t", "\r")) for cell in back["joint"])


def test_ordinary_text_is_left_alone() -> None:
    assert escape_formula("index_pip") == "index_pip"
    assert escape_formula("-1+2") == "'-1+2"


def test_the_sidecar_says_what_every_column_means(tmp_path: Path) -> None:
    table = make_table()
    measures: Any = SimpleNamespace(measures=table, angles=table, features=None, rotations=table)
    names = write_tables(tmp_path, measures)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    sidecar = json.loads((tmp_path / "tables.json").read_text())
    assert sidecar["tables"]["angles.csv"]["rows"] == 2
    assert "rotations.csv" in sidecar["tables"]
    assert [column["unit"] for column in sidecar["tables"]["angles.csv"]["columns"]] == [
        "",
        "s",
        "",
        "m/s³",
        "",
    ]


def test_every_column_of_the_run_folder_has_a_meaning_and_its_unit() -> None:
    columns = {*_JOINT_COLUMNS, *_ANGLE_COLUMNS, *FEATURE_COLUMNS, *ROTATION_COLUMNS}
    for column in columns:
        assert MEANINGS.get(column), column
    unitless = {"side", "joint", "angle", "rotation", "grasp", "valid"}
    unitless |= {"jerk_score", "acceleration_score", "openness", "openness_sigma"}
    assert columns - unitless <= set(UNITS)


def test_times_late_in_a_long_recording_stay_apart():
    table = pd.DataFrame({"side": "right", "time_s": [1799.983317, 1800.000000], "speed": [1.0, 2.0]})
    assert [line.split(",")[1] for line in to_csv(table).splitlines()[1:]] == ["1799.983317", "1800"]


@given(st.floats(allow_nan=True, allow_infinity=False, width=32))
def test_a_number_comes_back_with_six_significant_digits_or_as_an_empty_cell(number: float) -> None:
    table = pd.DataFrame({"side": ["right"], "speed": [number]})
    found = to_csv(table).splitlines()[1].split(",")[1]
    if np.isnan(number):
        assert found == ""
    else:
        assert float(found) == pytest.approx(float(f"{number:.6g}"), rel=1e-12, abs=0)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6))
def test_text_with_commas_and_quotes_comes_back(text: str) -> None:
    table = pd.DataFrame({"joint": [text, "wrist"], "speed": [1.5, 2.0]})
    back = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=False, dtype=str)
    assert list(back["joint"]) == [escape_formula(text), "wrist"]


def test_text_that_is_missing_is_an_empty_cell() -> None:
    table = pd.DataFrame({"grasp": pd.Categorical(["open", None]), "speed": [1.0, 2.0]})
    assert to_csv(table).splitlines()[1:] == ["open,1", ",2"]
