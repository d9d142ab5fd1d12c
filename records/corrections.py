"""Corrections by a person: what the pipeline is told otherwise than it was, by whom, when and why.

What is in force stands in the session folder's ``session.toml``, which the pipeline reads and a person may
edit; each correction is kept beside it as a row with what it was and what it became, and can be undone while
nobody has changed the same thing since. One door for all kinds, a person at a time.

File and row agree after a crash: what is about to be done is first written to ``.correction.json`` in the
session folder, then the file, then the row; whoever comes next finds that note and ends what was begun.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from sqlalchemy import select

from pipeline.errors import RedysError, RunFolderError, SessionError
from pipeline.files import hash_json, read_json, write_bytes, write_json
from pipeline.session import ExcludedSection, Session, SessionSettings, parse_settings, read_session
from records import models
from records.errors import NotFound, StoreError
from records.models import new_id, now
from records.offsets import check_offset, round_offset
from records.rows import CorrectionKind, CorrectionRow, RecordingRow, RunRow
from records.session_file import (
    add_section,
    dump,
    hold_folder,
    open_document,
    put_table,
    put_value,
    read_text,
    remove_section,
)

if TYPE_CHECKING:
    from records.service import Records

JOURNAL: Final = ".correction.json"
MAX_REASON: Final = 500
MAX_CAMERA_BYTES: Final = 120
"""Of a camera's name: files are called after it, with more before and behind."""

DECIMALS_S: Final = 3
"""Of an excluded section: frames are further apart than a millisecond."""

_TABLES: Final = ("cameras", "calibration_cameras", "offset_s", "focal_35mm")
"""What a correction of the cameras' names may change, beside the reference."""


@dataclass(frozen=True)
class CameraNames:
    """What the cameras of a recording should be called.

    Attributes
    ----------
    names : mapping of str
        The right name by the one that the camera has now; those that are not named keep theirs.
    with_calibration : bool
        Whether the checkerboard's takes, or the rig, have the same wrong names. Where they were right, a view
        gets another camera's calibration.
    """

    names: Mapping[str, str]
    with_calibration: bool = True


class Corrections:
    """The corrections of one data folder's recordings."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # --- reading ---------------------------------------------------------------------------------

    def list(self, recording_id: str) -> tuple[CorrectionRow, ...]:
        """All corrections of a recording, the newest first, and which of them are in force.

        Raises
        ------
        NotFound
        """
        recording = self._records.get_recording(recording_id)
        self.settle(recording)
        wanted = select(models.Correction).where(models.Correction.recording_id == recording.id)
        with self._records.reading() as database:
            rows = list(database.scalars(wanted))
        in_file = self._read_stated(recording)
        in_report = self._read_report_settings(recording)
        rows.sort(key=lambda row: (row.created, row.id), reverse=True)
        return tuple(_row(row, in_file, in_report) for row in rows)

    def is_report_current(self, recording_id: str) -> bool | None:
        """Whether the report was worked with what ``session.toml`` says now; None without a report.

        Raises
        ------
        NotFound
        """
        recording = self._records.get_recording(recording_id)
        in_report = self._read_report_settings(recording)
        in_file = self._read_stated(recording)
        if in_report is None or in_file is None:
            return None
        mattering = {"side", "exclude", "reference", *_TABLES}
        return in_report.model_dump(include=mattering) == in_file.model_dump(include=mattering)

    def _read_report_settings(self, recording: RecordingRow) -> SessionSettings | None:
        """What the run of the report worked with."""
        if recording.report_run_id is None:
            return None
        try:
            folder = self._records.get_run(recording.report_run_id).folder
            record = read_json(self._records.store.outline(folder, ("run.json",)) / "run.json")
            return SessionSettings.model_validate(record["settings"])
        except (RedysError, KeyError, TypeError, ValueError):
            return None

    def _read_stated(self, recording: RecordingRow) -> SessionSettings | None:
        """What ``session.toml`` says, wherever it is."""
        try:
            return _read_settings(self._records.store.outline(recording.folder))
        except StoreError:
            return None

    # --- changing --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _holding(self, recording: RecordingRow) -> Iterator[None]:
        """Hold a recording's settings alone, among all machines; what was changed is sent to the store."""
        with self._records.store.hold(recording.folder), hold_folder(recording.folder):
            yield
        self._records.store.nudge()

    def apply(
        self,
        recording_id: str,
        kind: CorrectionKind,
        wanted: Any,
        author: str = "local",
        reason: str = "",
    ) -> CorrectionRow | None:
        """Correct a recording.

        Parameters
        ----------
        recording_id : str
            Which one.
        kind : str
            "offset", "side", "cameras" or "exclusions".
        wanted : Any
            Of an offset: the seconds (None takes a manual one away) by camera. Of a side: "right", "left" or
            "both". Of the cameras: `CameraNames`. Of exclusions: the `pipeline.session.ExcludedSection` that
            is added.
        author : str
            Who corrects.
        reason : str
            Why.

        Returns
        -------
        CorrectionRow or None
            None where that is so already.

        Raises
        ------
        NotFound
        pipeline.errors.SessionError
            It cannot be so, in words; a run is at work; the folder cannot be read or written.
        """
        recording = self._records.get_recording(recording_id)
        with self._holding(recording):
            return self._apply(recording.id, kind, wanted, author, reason)

    def apply_and_run(
        self,
        recording_id: str,
        kind: CorrectionKind,
        wanted: Any,
        author: str = "local",
        reason: str = "",
    ) -> RunRow:
        """As `apply`, and put the recording into the queue before anybody else can correct another.

        Raises
        ------
        NotFound
        pipeline.errors.SessionError
            As `apply`.
        """
        recording = self._records.get_recording(recording_id)
        with self._holding(recording):
            self._apply(recording.id, kind, wanted, author, reason)
            return self._records.submit_run(recording.id, author)

    def undo(self, correction_id: str, author: str = "local") -> CorrectionRow:
        """Put back what a correction changed; the row stays, with who undid it and when.

        Raises
        ------
        NotFound
        pipeline.errors.SessionError
            It is undone already, or the same was changed since; a run is at work.
        """
        row = self._find(correction_id)
        recording = self._records.get_recording(row.recording_id)
        with self._holding(recording):
            return self._undo(recording.id, correction_id, author)

    def undo_and_run(self, correction_id: str, author: str = "local") -> RunRow:
        """As `undo`, and put the recording into the queue.

        Raises
        ------
        NotFound
        pipeline.errors.SessionError
            As `undo`.
        """
        row = self._find(correction_id)
        recording = self._records.get_recording(row.recording_id)
        with self._holding(recording):
            self._undo(recording.id, correction_id, author)
            return self._records.submit_run(recording.id, author)

    def settle(self, recording: RecordingRow) -> None:
        """End a correction that was begun when the program went down; nothing to do almost always."""
        if (recording.folder / JOURNAL).is_file():
            with self._holding(recording):
                self._settle(recording)

    def _apply(
        self, recording_id: str, kind: CorrectionKind, wanted: Any, author: str, reason: str
    ) -> CorrectionRow | None:
        recording = self._require_still(recording_id)
        path = recording.folder / "session.toml"
        session = read_session(recording.folder)
        stated = parse_settings(read_text(path).removeprefix("\ufeff"), path)
        before, after = _PLANS[kind](session, stated, wanted)
        if before == after:
            return None
        row = {
            "id": new_id(),
            "recording_id": recording.id,
            "kind": kind,
            "before": json.dumps(before),
            "after": json.dumps(after),
            "reason": _check_reason(reason),
            "author": author,
            "created": now().isoformat(),
        }
        self._carry_out(recording, _edit(path, kind, before, after), {"add": row})
        return self._get(row["id"])

    def _undo(self, recording_id: str, correction_id: str, author: str) -> CorrectionRow:
        recording = self._require_still(recording_id)
        row = self._find(correction_id)
        if row.undone is not None:
            raise SessionError("This correction has been undone already.", "Open the page again.")
        path = recording.folder / "session.toml"
        stated = parse_settings(read_text(path).removeprefix("\ufeff"), path)
        kind, before, after = _take(row)
        if not _holds(stated, kind, before, after):
            raise SessionError(
                "The same was changed again since this correction, so it cannot be undone by itself.",
                "Undo the later correction first, or correct it anew.",
            )
        text = _edit(path, kind, after, before)
        done = {"id": row.id, "undone": now().isoformat(), "undone_by": author}
        self._carry_out(recording, text, {"undo": done, "kind": kind, "before": row.before})
        return self._get(row.id)

    def _require_still(self, recording_id: str) -> RecordingRow:
        """The recording as it is now that its folder is held, with nothing half done and no run at work."""
        recording = self._records.get_recording(recording_id)
        self._settle(recording)
        if recording.run is not None and recording.run.is_live:
            raise SessionError(
                "This recording is being worked on, with everything as it was.",
                "Wait until that run has ended, or cancel it, then correct it.",
            )
        return recording

    # --- file and row together -------------------------------------------------------------------

    def _carry_out(self, recording: RecordingRow, text: str, done: dict[str, Any]) -> None:
        path = recording.folder / "session.toml"
        # As the pipeline will read it: what does not fit the files is refused before anything is written.
        read_session(recording.folder, parse_settings(text, path))
        journal = {**done, "from": hash_json(read_text(path)), "to": hash_json(text), "text": text}
        try:
            write_json(recording.folder / JOURNAL, journal)
            write_bytes(path, text.encode())
        except RunFolderError as error:
            (recording.folder / JOURNAL).unlink(missing_ok=True)
            raise SessionError(
                f"The correction could not be set. {error.what}",
                "Let the program write to that folder, or write it into its session.toml yourself.",
            ) from error
        self._record(recording, journal)

    def _settle(self, recording: RecordingRow) -> None:
        path = recording.folder / "session.toml"
        if not (recording.folder / JOURNAL).is_file():
            return
        journal = read_json(recording.folder / JOURNAL)
        stands = hash_json(read_text(path))
        if stands == journal["from"]:
            write_bytes(path, journal["text"].encode())
        elif stands != journal["to"]:
            # Somebody has written the file since; it is theirs, and the row is compared with it when read.
            pass
        self._record(recording, journal)

    def _record(self, recording: RecordingRow, journal: dict[str, Any]) -> None:
        """Write the row of what the file says by now, once however often it is tried; end the journal."""
        side = read_session(recording.folder).settings.side
        with self._records.writing() as database:
            if "add" in journal:
                row = journal["add"]
                if database.get(models.Correction, row["id"]) is None:
                    created = datetime.datetime.fromisoformat(row["created"])
                    database.add(models.Correction(**{**row, "created": created}))
                    actor, action = row["author"], f"recording.{row['kind']}"
                    database.add(models.AuditEvent(actor=actor, action=action, object=recording.id))
            else:
                undo = journal["undo"]
                found = database.get(models.Correction, undo["id"])
                if found is not None and found.undone is None:
                    found.undone = datetime.datetime.fromisoformat(undo["undone"])
                    found.undone_by = undo["undone_by"]
                    actor = undo["undone_by"]
                    event = models.AuditEvent(actor=actor, action="recording.undo", object=recording.id)
                    database.add(event)
            kept = database.get(models.Recording, recording.id)
            if kept is not None:
                kept.side = side
            self._records.store.note_change(database, recording.folder)
        (recording.folder / JOURNAL).unlink(missing_ok=True)

    def _find(self, correction_id: str) -> models.Correction:
        with self._records.reading() as database:
            row = database.get(models.Correction, str(correction_id))
            if row is None:
                raise NotFound("There is no such correction.", "Open the page again.")
            database.expunge(row)
            return row

    def _get(self, correction_id: str) -> CorrectionRow:
        row = self._find(correction_id)
        recording = self._records.get_recording(row.recording_id)
        return _row(row, self._read_stated(recording), self._read_report_settings(recording))


def _check_reason(reason: str) -> str:
    reason = " ".join(str(reason).split())
    if len(reason) > MAX_REASON:
        raise SessionError(
            f"The reason is {len(reason)} letters long, and {MAX_REASON} is the most.", "Shorten it."
        )
    return reason


def _read_settings(folder: Path) -> SessionSettings | None:
    try:
        return parse_settings(read_text(folder / "session.toml").removeprefix("\ufeff"), folder)
    except RedysError:
        return None


def _take(row: models.Correction) -> tuple[CorrectionKind, Any, Any]:
    kind: CorrectionKind = row.kind  # type: ignore[assignment]
    return kind, json.loads(row.before), json.loads(row.after)


def _row(
    row: models.Correction, in_file: SessionSettings | None, in_report: SessionSettings | None
) -> CorrectionRow:
    kind, before, after = _take(row)
    return CorrectionRow(
        id=row.id,
        recording_id=row.recording_id,
        kind=kind,
        before=before,
        after=after,
        reason=row.reason,
        author=row.author,
        created=row.created,
        undone=row.undone,
        undone_by=row.undone_by,
        in_force=row.undone is None and in_file is not None and _holds(in_file, kind, before, after),
        in_report=in_report is not None and _holds(in_report, kind, before, after),
    )


# --- what each kind is before and after -----------------------------------------------------------


def _plan_offset(session: Session, stated: SessionSettings, wanted: Any) -> tuple[Any, Any]:
    for camera, offset_s in wanted.items():
        check_offset(session, camera, offset_s)
    before = {camera: stated.offset_s.get(camera) for camera in wanted}
    return before, {camera: round_offset(value) for camera, value in wanted.items()}


def _plan_side(session: Session, stated: SessionSettings, wanted: Any) -> tuple[Any, Any]:
    if wanted not in ("right", "left", "both"):
        raise SessionError(f"{wanted!r} is no side.", 'Choose "right", "left" or "both".')
    return stated.side, wanted


def _plan_exclusion(session: Session, stated: SessionSettings, wanted: Any) -> tuple[Any, Any]:
    try:
        section = ExcludedSection.model_validate(wanted if isinstance(wanted, dict) else wanted.model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SessionError(f"The section cannot be left out: {key}: {first['msg']}.", "Mend that.") from error
    plain = section.model_copy(
        update={
            "start_s": round(section.start_s, DECIMALS_S),
            "end_s": round(section.end_s, DECIMALS_S),
            "reason": _check_reason(section.reason),
        }
    )
    if not plain.reason:
        raise SessionError("An excluded section needs a reason.", "Say why it is left out.")
    if plain.end_s <= plain.start_s:
        raise SessionError("The section ends where it begins.", "Give it an end that is later.")
    return (plain.model_dump() if plain in stated.exclude else None), plain.model_dump()


def _plan_cameras(session: Session, stated: SessionSettings, wanted: Any) -> tuple[Any, Any]:
    names = {old: new.strip() for old, new in wanted.names.items() if old != new.strip()}
    _check_names(session, names)
    new_name = {old: names.get(old, old) for old in session.cameras}
    files = {name: stated.cameras.get(name, name) for name in session.cameras}
    takes = {name: stated.calibration_cameras.get(name, name) for name in session.cameras}
    before = _state_cameras(stated)
    after = {
        "cameras": {new_name[old]: file for old, file in files.items() if new_name[old] != file},
        # The calibration belongs to a camera's name, unless it had the same wrong names.
        "calibration_cameras": {new_name[old]: take for old, take in takes.items() if new_name[old] != take}
        if wanted.with_calibration
        else {name: take for name, take in stated.calibration_cameras.items() if name in new_name.values()},
        # The clock that counts stays the same camera's, so that times of marks and sections stay right.
        "reference": stated.reference if "reference" in stated.model_fields_set else None,
        "offset_s": {new_name.get(old, old): value for old, value in stated.offset_s.items()},
        "focal_35mm": {new_name.get(old, old): value for old, value in stated.focal_35mm.items()},
    }
    moved = new_name[session.settings.reference]
    if moved != session.settings.reference or after["reference"] is not None:
        after["reference"] = moved
    return (before, after) if names else (before, before)


def _check_names(session: Session, names: Mapping[str, str]) -> None:
    there = ", ".join(session.cameras)
    for old, new in names.items():
        if old not in session.cameras:
            raise SessionError(f"There is no camera {old} in this recording.", f"The cameras are {there}.")
        if not new or new != Path(new).name or new.startswith(".") or not new.isprintable():
            raise SessionError(f"{new!r} is no name for a camera.", "Use letters, digits and hyphens.")
        if len(new.encode()) > MAX_CAMERA_BYTES:
            raise SessionError(f"{new[:20]}… is too long for the name of a camera.", "Shorten it.")
    result = [names.get(old, old) for old in session.cameras]
    twice = sorted({name for name in result if result.count(name) > 1})
    if twice:
        raise SessionError(f"Two cameras would be called {twice[0]}.", "Give each camera its own name.")


def _state_cameras(stated: SessionSettings) -> dict[str, Any]:
    tables = {key: dict(getattr(stated, key)) for key in _TABLES}
    return {**tables, "reference": stated.reference if "reference" in stated.model_fields_set else None}


_PLANS: Final = {
    "offset": _plan_offset,
    "side": _plan_side,
    "cameras": _plan_cameras,
    "exclusions": _plan_exclusion,
}
"""Each gives what it is and what it becomes, as plain values, or says why it cannot be."""


def _holds(stated: SessionSettings, kind: CorrectionKind, before: Any, after: Any) -> bool:
    """Whether settings are as a correction left them."""
    if kind == "side":
        return bool(stated.side == after)
    if kind == "offset":
        return all(stated.offset_s.get(camera) == value for camera, value in after.items())
    if kind == "exclusions":
        sections = [section.model_dump() for section in stated.exclude]
        return after in sections if after is not None else before not in sections
    found = {key: dict(getattr(stated, key)) for key in _TABLES}
    return found == {key: after[key] for key in _TABLES} and after["reference"] in (None, stated.reference)


def _edit(path: Path, kind: CorrectionKind, present: Any, wanted: Any) -> str:
    """The text of ``session.toml`` in which ``present`` has become ``wanted``."""
    document = open_document(path)
    if kind == "side":
        put_value(document, "side", wanted)
    elif kind == "offset":
        put_table(document, "offset_s", wanted)
    elif kind == "exclusions":
        if present is not None:
            remove_section(document, "exclude", present)
        if wanted is not None:
            add_section(document, "exclude", wanted)
    else:
        for key in _TABLES:
            gone = dict.fromkeys(set(present[key]) - set(wanted[key]))
            put_table(document, key, {**gone, **wanted[key]})
        put_value(document, "reference", wanted["reference"])
    return dump(document)
