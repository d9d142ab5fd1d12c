"""CSV: every table of the run and the joints, with a JSON sidecar that says what the columns mean."""

from __future__ import annotations

from pathlib import Path

from pipeline.export.joint_table import list_tables
from pipeline.export.source import ExportSource, state_provenance
from pipeline.export.tables import describe_tables, to_csv
from pipeline.files import write_bytes, write_json


def write(source: ExportSource, folder: Path) -> None:
    """Write ``joints.csv``, ``angles.csv``, ``measures.csv``, ... and ``tables.json`` into a folder."""
    tables = {f"{name}.csv": table for name, table in list_tables(source).items()}
    for name, table in tables.items():
        write_bytes(folder / name, to_csv(table).encode())
    write_json(folder / "tables.json", {**describe_tables(tables), "provenance": state_provenance(source)})
