"""Tables that leave the house: units, gaps, and nothing that a spreadsheet would work out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export.tables import MEANINGS, UNITS, escape_formula, to_csv, write_tables
from pipeline.measures.measure import _ANGLE_COLUMNS, _JOINT_COLUMNS


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
    assert lines[1] == "right,0.000000,wrist,12.3457,1"
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
    measures: Any = SimpleNamespace(measures=table, angles=table)
    names = write_tables(tmp_path, measures)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    sidecar = json.loads((tmp_path / "tables.json").read_text())
    assert sidecar["tables"]["angles.csv"]["rows"] == 2
    assert [column["unit"] for column in sidecar["tables"]["angles.csv"]["columns"]] == [
        "",
        "s",
        "",
        "m/s³",
        "",
    ]


def test_every_column_of_the_run_folder_has_a_meaning_and_its_unit() -> None:
    for column in (*_JOINT_COLUMNS, *_ANGLE_COLUMNS):
        assert MEANINGS.get(column), column
    unitless = {"side", "joint", "angle", "valid", "jerk_score", "acceleration_score"}
    assert {column for column in (*_JOINT_COLUMNS, *_ANGLE_COLUMNS)} - unitless <= set(UNITS)


def test_times_late_in_a_long_recording_stay_apart():
    table = pd.DataFrame({"side": "right", "time_s": [1799.983317, 1800.000000], "speed": [1.0, 2.0]})
    assert [line.split(",")[1] for line in to_csv(table).splitlines()[1:]] == ["1799.983317", "1800.000000"]
