"""What researchers see: recordings under codes, days in the place of dates, numbers, nothing that was typed.

This is the one place that decides it. What comes out of here holds no pseudonym, title, note or name of a
file, camera, rig or user, no moment of the calendar, no picture and no sound; and the codes, also those of
addresses, cannot be led back without the installation's key. Pages for researchers ask here and nowhere else.

A code is an HMAC of an identifier with a key of its own (`records.keys`): the same as long as that key is the
same, on every machine of the installation. Clinicians are told a person's code, researchers never a person.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import functools
import hashlib
import hmac
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from pipeline.errors import RedysError
from pipeline.export.formats import FORMATS
from pipeline.files import hash_json, write_json
from pipeline.share_files import PARTS, SHARE_FILE
from pipeline.version import PROGRAM_VERSION
from records import models
from records.errors import NotFound
from records.exports import AT_ONCE_S, Export
from records.keys import derive_key
from records.rows import RecordingRow
from records.shares import share_command

if TYPE_CHECKING:  # numpy is loaded by those that read results, not by every supervisor
    from pipeline.hand.joints import Side
    from pipeline.measures.change import SideChange
    from pipeline.measures.reliability_types import Reliability
    from pipeline.measures.summary_types import Summary
    from pipeline.measures.trend import Trend
    from pipeline.results import RunFolder
    from records.service import Records

PURPOSE: Final = "research codes"
DAY_ZERO: Final = datetime.date(1000, 1, 1)
"""The day of everybody's first visit where a day of the calendar is wanted, as by plots."""

TRY_AGAIN_S: Final = 60.0
"""After so long a moving hand that could not be made is tried again."""

NUMBERS: Final = "numbers.zip"
NUMBERS_TITLE: Final = "Numbers of all recordings"
VIEW_TITLE: Final = "The moving hand"

_EXPORT = re.compile(r"(?P<format>[a-z0-9]+)\.zip")
_FILE = re.compile(r"[a-z0-9_]+\.(json|mp4|u8|i16|i32|u32|f32)")
_CODE_BYTES: Final = 5
"""Eight letters: among 10,000 people, one in 20,000 installations has the same code twice."""


@dataclass(frozen=True)
class ResearchRow:
    """A recording as researchers see it.

    Attributes
    ----------
    id : str
        Code of the recording, for addresses and tables.
    person : str
        Code of the person: "R-7F3K9QMN".
    day : int or None
        Of the visit, from the person's earliest that is kept; None = not known.
    task : str
        As this program names it, or a code.
    side : str
        "right", "left" or "both".
    quality : str
        Verdict of the report on the recording.
    """

    id: str
    person: str
    day: int | None
    task: str
    side: str
    quality: str


@dataclass(frozen=True)
class ResearchScore:
    """A clinical scale as researchers see it: the total, and items that go by a number."""

    person: str
    day: int | None
    scale: str
    value: float
    items: tuple[tuple[str, float], ...]
    blinded: bool | None


@dataclass(frozen=True)
class ResearchComparison:
    """Two recordings held against each other.

    Attributes
    ----------
    sides : dict of SideChange
        Hands measured in both.
    warnings : tuple of str
        What keeps them from being comparable.
    has_study, study_fits : bool
        Whether the clinic has a reliability study, and whether it holds for these recordings.
    """

    sides: dict[Side, SideChange]
    warnings: tuple[str, ...]
    has_study: bool
    study_fits: bool


class Research:
    """The researchers' view of one database.

    Parameters
    ----------
    records : Records
        Where recordings and runs are.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: dict[str, str] = {}

    # --- codes -----------------------------------------------------------------------------------

    @functools.cached_property
    def _key(self) -> bytes:
        return derive_key(self._records.settings, PURPOSE)

    def _hash(self, kind: str, words: str) -> bytes:
        told = f"{kind}\0{words}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, told, hashlib.sha256).digest()

    def recode(self, kind: str, words: str) -> str:
        """A code for words that a person typed: the same for the same words ("task 7F3K9QMN")."""
        return f"{kind} {_spell(self._hash(kind, words))}"

    def code_person(self, subject_id: str) -> str:
        """The code of a person, by the subject's id."""
        return f"R-{_spell(self._hash('person', subject_id))}"

    def _code_recording(self, recording_id: str) -> str:
        code = self._hash("recording", recording_id).hex()[:32]
        self._known[code] = recording_id
        return code

    # --- what there is ---------------------------------------------------------------------------

    def list_recordings(self, search: str = "") -> tuple[ResearchRow, ...]:
        """Recordings that have a report, by person, day, task and side.

        Parameters
        ----------
        search : str
            A part of a person's code; nothing else is searched.
        """
        wanted = search.strip().upper()
        rows = (self._row(found, first) for found, first in self._find_all())
        return tuple(sorted((row for row in rows if wanted in row.person), key=_order))

    def list_person(self, person: str) -> tuple[ResearchRow, ...]:
        """The recordings of a person, the earliest day first.

        Raises
        ------
        NotFound
        """
        rows = tuple(row for row in self.list_recordings() if row.person == person)
        if not rows:
            raise _not_there("person")
        return rows

    def get(self, code: str) -> ResearchRow:
        """A recording by its code.

        Raises
        ------
        NotFound
        """
        recording = self._origin(code)
        return self._row(recording, self._find_first_days([recording.subject_id]))

    def _find_all(self) -> Iterator[tuple[RecordingRow, dict[str, datetime.date]]]:
        first = self._find_first_days()
        for recording in self._records.list_of_kind("video"):
            if recording.report_run_id is not None:
                yield recording, first

    def _find_first_days(self, subject_ids: Sequence[str] = ()) -> dict[str, datetime.date]:
        """By subject, the day of the earliest visit that is kept, in sight or in the trash."""
        visit = models.Visit
        query = select(visit.subject_id, func.min(visit.date)).where(visit.date.is_not(None))
        query = query.where(visit.subject_id.in_(subject_ids)) if subject_ids else query
        with self._records.reading() as database:
            found = database.execute(query.group_by(visit.subject_id))
            return {subject: day for subject, day in found if day is not None}

    def _row(self, recording: RecordingRow, first: dict[str, datetime.date]) -> ResearchRow:
        from pipeline.sharing import name_task

        return ResearchRow(
            id=self._code_recording(recording.id),
            person=self.code_person(recording.subject_id),
            day=_count_days(recording.visit, first.get(recording.subject_id)),
            task=name_task(recording.task, self.recode),
            side=recording.side,
            quality=recording.quality,
        )

    def _origin(self, code: str) -> RecordingRow:
        """The recording that a code stands for; it does not leave this module."""
        if code not in self._known:
            for recording, _ in self._find_all():
                self._code_recording(recording.id)
        try:
            recording = self._records.get_recording(self._known.get(code, ""))
        except NotFound:
            raise _not_there("recording") from None
        if recording.report_run_id is None or recording.kind != "video":
            raise _not_there("recording")
        return recording

    def note(self, codes: Sequence[str], action: str, actor: str, more: str = "") -> None:
        """Write down that somebody looked at recordings, or took them along: by their own identifiers."""
        about = " ".join(self._origin(code).id for code in codes)
        self._records.note(actor, f"research.{action}", f"{about}{more}")

    # --- numbers ---------------------------------------------------------------------------------

    def read_summary(self, code: str) -> Summary:
        """The numbers of a recording's report.

        Raises
        ------
        NotFound
            There is no such recording, or its report cannot be read.
        """
        from pipeline.sharing import strip_for_research

        row = self.get(code)
        return strip_for_research(self._read_original(code), row.person, row.day, self.recode)

    def _read_original(self, code: str) -> Summary:
        run_id = self._origin(code).report_run_id or ""
        try:
            summary = self._records.read_summary(run_id)
        except RedysError:
            raise _unreadable() from None  # its words name folders
        if summary is None:
            raise _unreadable()
        return summary

    def compare(self, earlier: str, later: str) -> ResearchComparison:
        """Two recordings held against each other, with the clinic's own reliability study if there is one.

        Raises
        ------
        NotFound
        """
        from pipeline.measures.change import compare, find_differences

        reliability = self._read_reliability()
        found = compare(self._read_original(earlier), self._read_original(later), reliability)
        return ResearchComparison(
            sides=found.sides,
            warnings=find_differences(self.read_summary(earlier), self.read_summary(later)),
            has_study=reliability is not None,
            study_fits=reliability is not None and not found.study_obstacles,
        )

    def make_trends(self, person: str) -> list[tuple[str, Side, Trend]]:
        """Each task and hand of a person over days, where there are two visits or more.

        Raises
        ------
        NotFound
        """
        from pipeline.hand.joints import SIDES
        from pipeline.measures.trend import make_trend

        rows = [row for row in self.list_person(person) if row.day is not None]
        found = []
        for task in dict.fromkeys(row.task for row in rows):
            own = [row for row in rows if row.task == task]
            with_day = [(DAY_ZERO + datetime.timedelta(days=row.day or 0)).isoformat() for row in own]
            originals, stripped = (
                [dataclasses.replace(read(row.id), visit=day) for row, day in zip(own, with_day, strict=True)]
                for read in (self._read_original, self.read_summary)
            )
            for side in SIDES:
                # What holds a study against recordings reads words as they were typed; what is told does not.
                judged = make_trend(originals, side, self._read_reliability())
                shown = make_trend(stripped, side)
                if judged is not None and shown is not None:
                    trend = dataclasses.replace(judged, visits=shown.visits, study_obstacles=())
                    found.append((task, side, trend))
        return found

    @property
    def has_study(self) -> bool:
        """Whether the clinic has a reliability study."""
        return self._read_reliability() is not None

    def _read_reliability(self) -> Reliability | None:
        """The clinic's study; None where it has none, or one whose file the clinic's pages complain about."""
        from pipeline.measures.reliability_types import read_reliability

        path = self._records.settings.reliability
        try:
            return read_reliability(path) if path is not None else None
        except RedysError:
            return None

    def list_scores(self, person: str = "") -> tuple[ResearchScore, ...]:
        """Clinical scales of the people whose recordings are seen, without raters and notes."""
        first = self._find_first_days()
        subjects = {recording.subject_id for recording, _ in self._find_all()}
        table = models.ClinicalScore
        query = select(table).where(table.withdrawn.is_(None), table.subject_id.in_(subjects))
        with self._records.reading() as database:
            found = [
                ResearchScore(
                    person=self.code_person(score.subject_id),
                    day=_count_days(score.date, first.get(score.subject_id)),
                    scale=score.scale,
                    value=score.value,
                    items=tuple(
                        (name, value)
                        for name, value in (json.loads(score.items) if score.items else {}).items()
                        if name.isascii() and name.isdigit() and len(name) <= 3
                    ),
                    blinded=score.blinded,
                )
                for score in database.scalars(query)
            ]
        mine = [score for score in found if person in ("", score.person)]
        return tuple(sorted(mine, key=lambda each: (each.person, each.scale, each.day or 0, each.value)))

    # --- files -----------------------------------------------------------------------------------

    def prepare_view(self, code: str, wait_s: float = AT_ONCE_S) -> Export:
        """Have the moving hand made, as links show it: a mean hand, without video and sound.

        One that failed is tried again after `TRY_AGAIN_S`.

        Raises
        ------
        NotFound
        pipeline.errors.RunFolderError
            The data folder cannot be written.
        """
        run, folder = self._open(code)
        path = folder / "view"
        found = Export("working", "view", VIEW_TITLE, code, path)

        def command() -> list[str]:
            os.utime(folder)
            return share_command([run.path], path, (), "", None)

        again = folder.is_dir() and time.time() - folder.stat().st_mtime > TRY_AGAIN_S
        return _plain(self._records.exports.see_to(found, command, again, wait_s))

    def open_view(self, code: str) -> RunFolder:
        """The folder that `prepare_view` makes, for the readers of moving numbers; it may not be there yet.

        Raises
        ------
        NotFound
        """
        from pipeline.results import RunFolder

        return RunFolder(self._open(code)[1] / "view" / PARTS[0])

    def find_file(self, code: str, name: str) -> Path:
        """A file of the moving hand, by its plain name.

        Raises
        ------
        NotFound
        """
        path = self.open_view(code).web / name
        if not _FILE.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise _not_there("file")
        if not (path.parent.parent.parent / SHARE_FILE).is_file():
            raise _not_there("file")
        return path

    def prepare_export(self, code: str, name: str, again: bool = False, wait_s: float = AT_ONCE_S) -> Export:
        """A recording's numbers in a format of another program ("c3d.zip").

        Raises
        ------
        NotFound
            There is no such recording or format.
        pipeline.errors.RunFolderError
            The data folder cannot be written.
        """
        matched = _EXPORT.fullmatch(name)
        if matched is None or matched["format"] not in FORMATS:
            raise NotFound("There is no such file.", "The address may be mistyped.")
        run, folder = self._open(code)
        found = Export("working", name, FORMATS[matched["format"]].title, code, folder / name)

        def command() -> list[str]:
            recoded = folder / "recoded.json"
            day = self.get(code).day
            write_json(recoded, {"summary": dataclasses.asdict(self.read_summary(code)), "day": day})
            words = ["export", str(run.path), "--format", matched["format"], "--recoded", str(recoded)]
            return [sys.executable, "-m", "pipeline", *words, "--out", str(found.path), "--json-progress"]

        return _plain(self._records.exports.see_to(found, command, again, wait_s))

    def prepare_numbers(self, again: bool = False, wait_s: float = AT_ONCE_S) -> Export:
        """The numbers of all recordings as long tables.

        Raises
        ------
        pipeline.errors.RunFolderError
            The data folder cannot be written.
        """
        plan = self._plan_numbers()
        folder = self._records.exports.root / "research" / hash_json([plan, PROGRAM_VERSION])[:16]
        found = Export("working", NUMBERS, NUMBERS_TITLE, "", folder / NUMBERS)

        def command() -> list[str]:
            write_json(folder / "plan.json", plan)
            words = ["study", str(folder / "plan.json"), "--out", str(found.path), "--json-progress"]
            return [sys.executable, "-m", "pipeline", *words]

        return _plain(self._records.exports.see_to(found, command, again, wait_s))

    def _plan_numbers(self) -> dict[str, Any]:
        recordings = {}
        runs = {}
        for recording, first in self._find_all():
            recordings[recording.id] = self._row(recording, first)
            runs[recording.id] = str(self._records.open_run(recording.report_run_id or "").path)
        ordered = sorted(recordings.items(), key=lambda each: _order(each[1]))
        told = [
            {"recording": row.id, "person": row.person, "day": row.day, "task": row.task}
            for _, row in ordered
        ]
        return {
            "recordings": [{"run": runs[key], **each} for (key, _), each in zip(ordered, told, strict=True)],
            "scores": [line for score in self.list_scores() for line in _list_lines(score)],
            "marks": self._list_marks(dict(ordered)),
        }

    def _list_marks(self, recordings: dict[str, ResearchRow]) -> list[dict[str, Any]]:
        table = models.Mark
        query = select(table).where(table.withdrawn.is_(None), table.recording_id.in_(recordings))
        with self._records.reading() as database:
            found = [
                {
                    "recording": recordings[mark.recording_id].id,
                    "person": recordings[mark.recording_id].person,
                    "day": recordings[mark.recording_id].day,
                    "kind": mark.kind,
                    "start_s": mark.start_s,
                    "end_s": mark.end_s,
                    "side": mark.side or "",
                    "joint": mark.joint or "",
                    "blinded": mark.blinded,
                }
                for mark in database.scalars(query)
            ]
        return sorted(found, key=lambda mark: (mark["person"], mark["recording"], mark["start_s"]))

    def _open(self, code: str) -> tuple[RunFolder, Path]:
        """The run of a recording's report, and where what is made of it for researchers lies."""
        recording = self._origin(code)
        run = self._records.open_run(recording.report_run_id or "")
        row = self.get(code)
        told = hash_json([PURPOSE, row.person, row.day, row.task])
        return run, self._records.exports.folder_of(recording.report_run_id or "", run.path, told)


def _spell(digest: bytes) -> str:
    return base64.b32encode(digest[:_CODE_BYTES]).decode()


def _count_days(date: datetime.date | None, first: datetime.date | None) -> int | None:
    return None if date is None or first is None else (date - first).days


def _order(row: ResearchRow) -> tuple[Any, ...]:
    """By what is told anyway: never by when something was added."""
    return (row.person, row.day is None, row.day or 0, row.task, row.side, row.id)


def _list_lines(score: ResearchScore) -> Iterator[dict[str, Any]]:
    """A score as rows of the table: its total, then its items."""
    of = {"person": score.person, "day": score.day, "scale": score.scale, "blinded": score.blinded}
    yield of | {"item": "total", "value": score.value}
    for name, value in score.items:
        yield of | {"item": name, "value": value}


def _plain(made: Export) -> Export:
    """An export whose failure is told without the words of the process, which may name folders."""
    if made.state != "failed":
        return made
    what = "The file could not be written."
    advice = "Try again; if it fails again, ask who keeps this installation: the server's log says why."
    return dataclasses.replace(made, what=what, advice=advice)


def _not_there(kind: str) -> NotFound:
    return NotFound(f"There is no such {kind}.", "It may have been removed, or the address is mistyped.")


def _unreadable() -> NotFound:
    return NotFound(
        "The report of this recording cannot be read.",
        "Ask who keeps this installation: the clinic's page of the recording says why.",
    )
