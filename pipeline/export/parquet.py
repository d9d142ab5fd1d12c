"""Parquet: every table of the run and the joints, with units on the columns and provenance in the file."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.export.joint_table import list_tables
from pipeline.export.source import ExportSource, state_provenance
from pipeline.export.tables import MEANINGS, UNITS
from pipeline.files import replace_atomically, to_plain

PROVENANCE_KEY = b"redys"
"""Key of the provenance (JSON) in the metadata of each file's schema."""


def write(source: ExportSource, folder: Path) -> None:
    """Write ``joints.parquet``, ``angles.parquet``, ``measures.parquet``, ... into a folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    provenance = json.dumps(to_plain(state_provenance(source)), ensure_ascii=False).encode()
    for name, frame in list_tables(source).items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        fields = [
            column.with_metadata(
                {"unit": UNITS.get(column.name, ""), "meaning": MEANINGS.get(column.name, "")}
            )
            for column in table.schema
        ]
        schema = pa.schema(fields, metadata={**(table.schema.metadata or {}), PROVENANCE_KEY: provenance})
        with replace_atomically(folder / f"{name}.parquet") as temporary:
            pq.write_table(table.cast(schema), temporary)
