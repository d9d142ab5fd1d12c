"""Clocks set by hand: a person's offsets in a recording's ``session.toml``, and the run that uses them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import SessionError
from pipeline.session import Session, read_session
from records.session_file import GONE, PUT_BACK, dump, open_document, put_table

if TYPE_CHECKING:
    from records.rows import RecordingRow, RunRow
    from records.service import Records

MAX_OFFSET_S = 86_400.0
"""A day: cameras of one take are not further apart."""

DECIMALS = 6
"""Microseconds: a sample of sound is 20 to 60 of them."""


def read_offsets(recording: RecordingRow) -> tuple[Session, dict[str, float]]:
    """The session of a recording and the offsets in s that a person has set, by camera.

    Raises
    ------
    pipeline.errors.SessionError
        The session folder is gone or not what it should be.
    """
    if not recording.folder.is_dir():
        raise SessionError(f"{GONE} ({recording.folder}).", PUT_BACK)
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
    records.corrections.apply(recording_id, "offset", offsets_s, actor)


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
    return records.corrections.apply_and_run(recording_id, "offset", offsets_s, actor)


def round_offset(offset_s: float | None) -> float | None:
    """An offset as it is kept."""
    return None if offset_s is None else round(float(offset_s), DECIMALS) + 0.0  # no "-0.0"


def check_offset(session: Session, camera: str, offset_s: float | None) -> None:
    """Refuse an offset that cannot be, in words.

    Raises
    ------
    pipeline.errors.SessionError
        The camera is not of this recording or is the reference, or the offset is no number.
    """
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
    document = open_document(path)
    put_table(document, "offset_s", {camera: round_offset(value) for camera, value in offsets_s.items()})
    return dump(document)
