"""Clocks set by hand: a person's offsets in a recording's ``session.toml``, and the run that uses them."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment

from pipeline.errors import RunFolderError, SessionError
from pipeline.files import write_bytes
from pipeline.session import Session, read_session
from records.drafts import FROM_FORM

if TYPE_CHECKING:
    from records.rows import RecordingRow, RunRow
    from records.service import Records

MAX_OFFSET_S = 86_400.0
"""A day: cameras of one take are not further apart."""

DECIMALS = 6
"""Microseconds: a sample of sound is 20 to 60 of them."""

_GONE = "The folder of this recording cannot be opened"
_PUT_BACK = "Put it back to where it was, or add the recording again."


def read_offsets(recording: RecordingRow) -> tuple[Session, dict[str, float]]:
    """The session of a recording and the offsets in s that a person has set, by camera.

    Raises
    ------
    pipeline.errors.SessionError
        The session folder is gone or not what it should be.
    """
    if not recording.folder.is_dir():
        raise SessionError(f"{_GONE} ({recording.folder}).", _PUT_BACK)
    session = read_session(recording.folder)
    return session, dict(session.settings.offset_s)


def set_offsets(
    records: Records, recording_id: str, offsets_s: Mapping[str, float | None], actor: str = "local"
) -> None:
    """Write clocks set by hand into a recording's ``session.toml``, leaving everything else as it is.

    Parameters
    ----------
    records : Records
        Where the recording is kept.
    recording_id : str
        Which one.
    offsets_s : mapping
        By camera: the seconds that are added to its times to get the reference camera's,
        ``t_reference = t_camera + offset_s``; None takes a manual offset away. Cameras that are not named
        keep what they have.
    actor : str
        Who did it, for the audit.

    Raises
    ------
    records.NotFound
    pipeline.errors.SessionError
        A camera is not of this recording or is the reference; an offset is no number; a run is at work;
        the folder cannot be read or written.
    """
    recording = records.get_recording(recording_id)
    with _alone(recording.folder):
        _write(records, recording.id, offsets_s, actor)


def set_offsets_and_run(
    records: Records, recording_id: str, offsets_s: Mapping[str, float | None], actor: str = "local"
) -> RunRow:
    """As `set_offsets`, and put the recording into the queue before anybody else can set another.

    Raises
    ------
    records.NotFound
    pipeline.errors.SessionError
        As `set_offsets`.
    """
    recording = records.get_recording(recording_id)
    with _alone(recording.folder):
        _write(records, recording.id, offsets_s, actor)
        return records.submit_run(recording.id, actor)


def _write(records: Records, recording_id: str, offsets_s: Mapping[str, float | None], actor: str) -> None:
    recording = records.get_recording(recording_id)
    if recording.run is not None and recording.run.is_live:
        raise SessionError(
            "This recording is being worked on, with the clocks as they were.",
            "Wait until that run has ended, or cancel it, then set the clock.",
        )
    session = read_session(recording.folder)
    for camera, offset_s in offsets_s.items():
        _check(session, camera, offset_s)
    path = session.path / "session.toml"
    text = _edit(path, offsets_s)
    try:
        write_bytes(path, text.encode())
    except RunFolderError as error:
        raise SessionError(
            f"The clock could not be set. {error.what}",
            "Let the program write to that folder, or write offset_s into its session.toml yourself.",
        ) from error
    records.note(actor, "recording.offset", recording.id)


def _check(session: Session, camera: str, offset_s: float | None) -> None:
    if camera not in session.cameras:
        raise SessionError(
            f"There is no camera {camera} in this recording.",
            f"The cameras are {', '.join(session.cameras)}.",
        )
    if offset_s is None:
        return
    if camera == session.settings.reference:
        raise SessionError(
            f"Camera {camera} is the reference: its clock is the one that counts.",
            "Set the other cameras' clocks.",
        )
    if not math.isfinite(offset_s) or abs(offset_s) > MAX_OFFSET_S:
        raise SessionError(
            f"{offset_s} is no offset for the clock of camera {camera}.",
            "Give the seconds that are added to its times to get the reference camera's.",
        )


def _edit(path: Path, offsets_s: Mapping[str, float | None]) -> str:
    """``session.toml`` with these offsets; every other line, order and comment as it was."""
    try:
        text = path.read_bytes().decode("utf-8") if path.is_file() else ""  # as bytes: line ends stay
        # From here on a person has a hand in this file, and the form must not write over it.
        document = tomlkit.parse(text.removeprefix(f"{FROM_FORM}\n"))
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise SessionError(f"{path} cannot be read ({error}).", "Mend the file.") from error
    table: Any = document.get("offset_s")
    for camera, offset_s in offsets_s.items():
        if offset_s is not None:
            if table is None:
                document["offset_s"] = tomlkit.table()
                table = document["offset_s"]
            table[camera] = round(float(offset_s), DECIMALS) + 0.0  # no "-0.0"
        elif table is not None and camera in table:
            del table[camera]
    if table is not None and not table and not _has_comments(table):
        del document["offset_s"]
    edited = tomlkit.dumps(document)
    tomllib.loads(edited)  # what the pipeline reads it with
    return edited


def _has_comments(table: Any) -> bool:
    return any(isinstance(item, Comment) for _, item in getattr(table.value, "body", []))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a session folder's settings alone: two people who set two cameras must both be heard."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SessionError(f"{_GONE} ({error.strerror}).", _PUT_BACK) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
