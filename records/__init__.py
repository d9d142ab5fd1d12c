"""Subjects, visits, recordings, runs and users: the database and the folders of artefacts.

Pages and components ask `get_records` and get plain typed rows; nothing else opens the database or
the data folder.
"""

from __future__ import annotations

from records.errors import NotFound
from records.exports import Export, name_export
from records.research import ResearchRow
from records.rows import (
    CorrectionRow,
    MarkRow,
    Page,
    RecordingRow,
    RigRow,
    RigUse,
    RunRow,
    RunState,
    ScoreRow,
    SubjectRow,
    UserRow,
)
from records.service import Records, get_records

__all__ = [
    "CorrectionRow",
    "Export",
    "MarkRow",
    "NotFound",
    "Page",
    "RecordingRow",
    "Records",
    "ResearchRow",
    "RigRow",
    "RigUse",
    "RunRow",
    "RunState",
    "ScoreRow",
    "SubjectRow",
    "UserRow",
    "get_records",
    "name_export",
]
