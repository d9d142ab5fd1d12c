"""The verdict of a report on its recording, kept with the run so that the worklist can be searched by it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from pipeline.errors import RunFolderError
from pipeline.files import read_json
from records import models

if TYPE_CHECKING:
    from records.service import Records

log = logging.getLogger(__name__)

VERDICTS: Final = ("passed", "limited", "failed")
"""Of `pipeline.measures.quality`, the best first."""

MOST_AT_ONCE: Final = 200
"""Older runs that are looked at in one go: a few milliseconds each."""


def read_verdict(summary_json: Path) -> str:
    """The verdict in a run's ``summary.json``; empty where there is none, or none that is known."""
    if not summary_json.is_file():
        return ""
    try:
        verdict = read_json(summary_json)["quality"]["verdict"]
    except (RunFolderError, KeyError, TypeError) as error:
        log.warning("%s has no verdict: %s", summary_json, error)
        return ""
    return verdict if verdict in VERDICTS else ""


class Verdicts:
    """Fills in the verdicts of runs that were closed before they were kept."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._without: set[str] = set()

    def fill_in(self) -> int:
        """Look once at each finished run that has no verdict yet; how many were filled in."""
        wanted = select(models.Run.id, models.Run.folder).where(
            models.Run.state == "done", models.Run.quality == ""
        )
        with self._records.reading() as database:
            runs = [(run_id, folder) for run_id, folder in database.execute(wanted)]
        new = [(run_id, folder) for run_id, folder in runs if run_id not in self._without][:MOST_AT_ONCE]
        found = {
            run_id: read_verdict(self._records.full_path(folder) / "summary.json") for run_id, folder in new
        }
        self._without |= {run_id for run_id, verdict in found.items() if not verdict}
        known = {run_id: verdict for run_id, verdict in found.items() if verdict}
        if known:
            with self._records.writing() as database:
                for run_id, verdict in known.items():
                    database.execute(
                        update(models.Run).where(models.Run.id == run_id).values(quality=verdict)
                    )
        return len(known)
