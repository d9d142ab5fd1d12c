"""Tidy tables for spreadsheets and statistics: CSV with units in the header, and a JSON sidecar."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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
    "x_mm": "mm",
    "y_mm": "mm",
    "z_mm": "mm",
    "sigma_mm": "mm",
    "thumb_index_mm": "mm",
    "thumb_middle_mm": "mm",
    "distance_sigma_mm": "mm",
    "wrist_x_mm": "mm",
    "wrist_y_mm": "mm",
    "wrist_z_mm": "mm",
    "bend_deg": "°",
    "spread_deg": "°",
    "twist_deg": "°",
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
    "frame": "number of the reference camera's frame, from 0",
    "x_mm": "place of the joint to the right, as the reference camera sees it",
    "y_mm": "place of the joint downwards, as the reference camera sees it",
    "z_mm": "place of the joint away from the reference camera",
    "sigma_mm": "standard deviation of the place's error, per axis",
    "openness": "how open the hand is: 1 = stretched out, about 0.5 = a fist",
    "openness_sigma": "standard deviation of the openness's error",
    "thumb_index_mm": "distance between the tips of thumb and index finger",
    "thumb_middle_mm": "distance between the tips of thumb and middle finger",
    "distance_sigma_mm": "standard deviation of these distances' error",
    "grasp": "precision: both under 20 mm; power: thumb to index under 40 mm; else open; or cannot tell",
    "wrist_x_mm": "place of the wrist to the right, as the reference camera sees it",
    "wrist_y_mm": "place of the wrist downwards, as the reference camera sees it",
    "wrist_z_mm": "place of the wrist away from the reference camera",
    "rotation": "one of the 15 joints that the hand model turns",
    "bend_deg": "flexion +, hyperextension -, from the model's rotation as fitted (not filtered)",
    "spread_deg": "sideways turn, away from the middle finger +; a PIP or DIP joint's is misfit, no movement",
    "twist_deg": "turn of the bone about itself; a PIP or DIP joint's is misfit, over 15° a bad fit",
    "quality": "share of the evidence that agrees, 0 to 1; 0 = not measured",
}

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = re.compile(r'[",\r\n]')
_DIGITS = 6
_DECIMALS = {"time_s": 6} | {f"{point}{axis}_mm": 4 for point in ("", "wrist_") for axis in "xyz"}
"""Where six significant digits are too few: an hour in microseconds, metres in tenths of a micrometre."""


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
    microseconds, places 0.1 µm.
    """
    # Arrow writes numbers ten times as fast as pandas formats them, so they are rounded first.
    import pyarrow as pa
    import pyarrow.csv

    columns: dict[str, pa.Array] = {}
    needs_quotes = False
    for name in table.columns:
        values = table[name]
        if pd.api.types.is_bool_dtype(values):
            columns[str(name)] = pa.array(values.to_numpy(dtype=np.int8))
        elif pd.api.types.is_float_dtype(values):
            columns[str(name)] = pa.array(_round(values, str(name)), from_pandas=True)
        elif pd.api.types.is_numeric_dtype(values):
            columns[str(name)] = pa.array(values)
        else:
            texts = values.astype(object)
            escaped = {text: escape_formula(str(text)) for text in texts.dropna().unique()}
            needs_quotes |= any(_QUOTED.search(text) for text in escaped.values())
            columns[str(name)] = pa.array(texts.map(escaped), pa.string(), from_pandas=True)
    titles = pd.DataFrame(columns=[escape_formula(title_column(str(name))) for name in table.columns])
    body = io.BytesIO()
    options = pyarrow.csv.WriteOptions(
        include_header=False, quoting_style="needed" if needs_quotes else "none"
    )
    pyarrow.csv.write_csv(pa.table(columns), body, options)
    return str(titles.to_csv(index=False, lineterminator="\n")) + body.getvalue().decode()


def _round(values: pd.Series, column: str) -> np.ndarray:
    """Numbers as they are printed: to the column's decimals, else to six significant digits; NaN stays."""
    numbers = values.to_numpy(dtype=float)
    if column in _DECIMALS:
        return np.round(numbers, _DECIMALS[column])
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(numbers)))
    power = np.where(np.isfinite(exponent), _DIGITS - 1 - exponent, 0.0)
    # A whole number divided by, or times, an exact power of ten is the decimal that is meant.
    up, down = 10.0 ** np.clip(power, 0, 300), 10.0 ** np.clip(-power, 0, 300)
    return np.asarray(np.round(numbers * up / down) / up * down)


def write_tables(folder: Path, measures: MeasureTables) -> list[str]:
    """Write ``measures.csv``, ``angles.csv`` and so on with a sidecar ``tables.json``; returns the names.

    Parameters
    ----------
    folder : Path
        Where to.
    measures : MeasureTables
        Its tables are the run folder's Parquet tables; without ``features`` there is no ``features.csv``,
        without ``rotations`` no ``rotations.csv``.

    Raises
    ------
    pipeline.errors.RunFolderError
        The folder cannot be written.
    """
    tables = {"measures.csv": measures.measures, "angles.csv": measures.angles}
    if measures.features is not None:
        tables["features.csv"] = measures.features
    if measures.rotations is not None:
        tables["rotations.csv"] = measures.rotations
    for name, table in tables.items():
        with replace_atomically(folder / name) as temporary:
            temporary.write_text(to_csv(table), encoding="utf-8")
    write_json(folder / "tables.json", describe_tables(tables))
    return [*tables, "tables.json"]


def describe_tables(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """What the columns of some tables mean, as the sidecar beside them has it."""
    return {
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
    }
