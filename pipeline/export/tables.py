"""Tidy tables for spreadsheets and statistics: CSV with units in the header, and a JSON sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.files import replace_atomically, write_json

if TYPE_CHECKING:
    from pipeline.measures.measure import MeasureTables

TABLES_VERSION = 1

UNITS: dict[str, str] = {
    "time_s": "s",
    "speed": "m/s",
    "acceleration": "m/s²",
    "jerk": "m/s³",
    "speed_noise": "m/s",
    "acceleration_noise": "m/s²",
    "jerk_noise": "m/s³",
    "degrees": "°",
    "sigma_deg": "°",
    "z": "SD",
    "z_sigma": "SD",
}
"""Unit of each column that has one; printed in the header as "jerk [m/s³]"."""

MEANINGS: dict[str, str] = {
    "side": "right or left hand",
    "time_s": "time on the reference camera's clock",
    "joint": "one of the 21 joints",
    "angle": "one of 20 joint angles; flexion +, hyperextension -, abduction from the middle finger +",
    "speed": "speed of the joint",
    "acceleration": "size of the joint's acceleration",
    "jerk": "size of the joint's jerk",
    "speed_noise": "standard deviation of the speed's noise per axis",
    "acceleration_noise": "standard deviation of the acceleration's noise per axis",
    "jerk_noise": "standard deviation of the jerk's noise per axis",
    "jerk_score": "jerk from the recording's median (0) to its 95th percentile (1), square root",
    "acceleration_score": "flash of a brisk movement: 1 at its peak, fading out",
    "degrees": "signed joint angle",
    "sigma_deg": "standard deviation of the angle's measurement error",
    "z": "signed distance from the reference in its standard deviations, frame by frame",
    "valid": "1 = measured; 0 = leave this row out",
}

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FORMAT = "%.6g"


def escape_formula(text: str) -> str:
    """Text that a spreadsheet shows and does not work out: a formula's first sign gets a quote before it.

    OWASP ASVS 5.0, 1.2.10.
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def title_column(column: str) -> str:
    """A column's header with its unit: "jerk [m/s³]"."""
    unit = UNITS.get(column)
    return f"{column} [{unit}]" if unit else column


def to_csv(table: pd.DataFrame) -> str:
    """A tidy table as CSV text, UTF-8, comma, point; empty = not measured; booleans as 1 and 0.

    Text cells are guarded against being read as formulas; numbers have six significant digits, times
    microseconds.
    """
    out = table.copy()
    for column in out.columns:
        if column == "time_s":
            out[column] = out[column].map("{:.6f}".format)
        elif pd.api.types.is_bool_dtype(out[column]):
            out[column] = out[column].astype(int)
        elif not pd.api.types.is_numeric_dtype(out[column]):
            names = out[column].astype(str)
            out[column] = names.map({name: escape_formula(name) for name in names.unique()})
    out.columns = pd.Index([escape_formula(title_column(str(column))) for column in table.columns])
    return str(out.to_csv(index=False, float_format=_FORMAT, lineterminator="\n"))


def write_tables(folder: Path, measures: MeasureTables) -> list[str]:
    """Write ``measures.csv``, ``angles.csv`` and their sidecar ``tables.json``; returns the names.

    Parameters
    ----------
    folder : Path
        Where to.
    measures : MeasureTables
        Its ``measures`` and ``angles`` are the run folder's Parquet tables.

    Raises
    ------
    pipeline.errors.RunFolderError
        The folder cannot be written.
    """
    tables = {"measures.csv": measures.measures, "angles.csv": measures.angles}
    for name, table in tables.items():
        with replace_atomically(folder / name) as temporary:
            temporary.write_text(to_csv(table), encoding="utf-8")
    write_json(
        folder / "tables.json",
        {
            "schema_version": TABLES_VERSION,
            "missing": "empty cell",
            "tables": {
                name: {
                    "rows": len(table),
                    "columns": [
                        {
                            "name": title_column(str(column)),
                            "unit": UNITS.get(str(column), ""),
                            "meaning": MEANINGS.get(str(column), ""),
                        }
                        for column in table.columns
                    ],
                }
                for name, table in tables.items()
            },
        },
    )
    return [*tables, "tables.json"]
