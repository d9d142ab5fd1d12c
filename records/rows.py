"""What `records` hands out: plain typed values, detached from the database."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

Row = TypeVar("Row")

CheckVerdict = Literal["good", "doubtful", "moved", "unknown"]
Role = Literal["administrator", "clinician", "researcher", "viewer"]
CorrectionKind = Literal["offset", "cameras", "side", "exclusions"]
MarkKind = Literal["note", "tag", "abnormal movement"]
RecordingKind = Literal["video", "photos"]
RunState = Literal["queued", "running", "done", "failed", "cancelled", "lost"]


@dataclass(frozen=True)
class RunRow:
    """Where one working of a recording stands.

    Attributes
    ----------
    id, recording_id : str
    title : str
        What the run works on, in words ("P-014, piano, right").
    state : str
        queued, running, done, failed, cancelled or lost (its process is gone and nobody knows how).
    folder : Path
        The run folder.
    stage : str
        Name of the stage at work, one of the pipeline's.
    fraction : float
        0 to 1 over the whole run.
    message : str
        The work in words.
    eta_s : float or None
        Seconds left, where the pipeline can tell.
    warnings : int
        How many warnings the run has given so far.
    error_what, error_advice : str
        Why it failed and what to do.
    exit_code : int or None
        Of the process; negative = ended by that signal.
    cancel_requested : bool
    attempts : int
        How often it was started.
    position : int
        Place in the queue, from 1; 0 = not waiting.
    created, queued : datetime
        UTC, as are all times here.
    started, finished, heartbeat : datetime or None
    kind : str
        "video" or "photos": what is worked.
    """

    id: str
    recording_id: str
    title: str
    state: RunState
    folder: Path
    stage: str
    fraction: float
    message: str
    eta_s: float | None
    warnings: int
    error_what: str
    error_advice: str
    exit_code: int | None
    cancel_requested: bool
    attempts: int
    position: int
    created: datetime.datetime
    queued: datetime.datetime
    started: datetime.datetime | None
    finished: datetime.datetime | None
    heartbeat: datetime.datetime | None
    kind: RecordingKind = "video"

    @property
    def is_live(self) -> bool:
        """Waiting or at work."""
        return self.state in ("queued", "running")

    @property
    def can_retry(self) -> bool:
        """Ended without a result."""
        return self.state in ("failed", "cancelled", "lost")


@dataclass(frozen=True)
class RecordingRow:
    """One recording with the visit and the person it belongs to.

    Attributes
    ----------
    id, subject_id : str
    subject : str
        The pseudonym.
    visit : date or None
    title, task, side : str
    folder : Path
        The session folder.
    created : datetime
        When it was added, UTC.
    run : RunRow or None
        The newest run.
    report_run_id : str or None
        The newest run that is done: what the report shows.
    rig_id : str or None
        The kept rig that it was given.
    quality : str
        The verdict of that report on the recording: "passed", "limited" or "failed"; empty without one.
    kind : str
        "video", or "photos": still pictures (`records.photos`).
    """

    id: str
    subject_id: str
    subject: str
    visit: datetime.date | None
    title: str
    task: str
    side: str
    folder: Path
    created: datetime.datetime
    run: RunRow | None
    report_run_id: str | None
    rig_id: str | None = None
    quality: str = ""
    kind: RecordingKind = "video"


@dataclass(frozen=True)
class RigUse:
    """A recording that was given a kept rig, and whether its cameras still stood so.

    Attributes
    ----------
    recording_id, title : str
    verdict : "good" | "doubtful" | "moved" | "unknown" or None
        Of the rig check of the newest run that is done; None where none has been made.
    checked : datetime or None
        When that run ended.
    """

    recording_id: str
    title: str
    verdict: CheckVerdict | None
    checked: datetime.datetime | None


@dataclass(frozen=True)
class RigRow:
    """A rig that is kept.

    Attributes
    ----------
    id, name : str
    cameras : tuple of str
    source, verdict : str
        As in `pipeline.results.Rig`.
    retired : bool
        No longer offered; kept for the recordings that used it.
    created : datetime
        When it was kept.
    from_run_id, from_recording_id : str or None
        Where it was calibrated; None for a file that was handed in.
    from_title : str
        That recording in words.
    uses : tuple of RigUse
        Recordings that were given it, the newest first.
    """

    id: str
    name: str
    cameras: tuple[str, ...]
    source: str
    verdict: str
    retired: bool
    created: datetime.datetime
    from_run_id: str | None
    from_recording_id: str | None
    from_title: str
    uses: tuple[RigUse, ...]

    @property
    def last_check(self) -> RigUse | None:
        """The newest use whose cameras were checked."""
        checked = [use for use in self.uses if use.verdict is not None and use.checked is not None]
        return max(checked, key=lambda use: use.checked or self.created, default=None)


@dataclass(frozen=True)
class ScoreRow:
    """A clinical scale as a rater gave it (`records.scores`).

    Attributes
    ----------
    id, subject_id : str
    date : date
        The day that it was given.
    scale : str
        One of `records.scores.SCALES`.
    value : float
        The total, in the scale's unit.
    items : mapping of float
        Single items by number or region; empty where only the total is known.
    rater, version, note : str
        As entered.
    blinded : bool or None
        Whether the rater did not know which visit it was; None = not known.
    author, created : str, datetime
        Who entered it, and when.
    withdrawn, withdrawn_by : datetime or None, str or None
        When and by whom it was taken back; None = it holds.
    """

    id: str
    subject_id: str
    date: datetime.date
    scale: str
    value: float
    items: Mapping[str, float]
    rater: str
    version: str
    blinded: bool | None
    note: str
    author: str
    created: datetime.datetime
    withdrawn: datetime.datetime | None
    withdrawn_by: str | None


@dataclass(frozen=True)
class CorrectionRow:
    """A correction by a person.

    Attributes
    ----------
    id, recording_id : str
    kind : "offset" | "cameras" | "side" | "exclusions"
    before, after : Any
        What it was and became: an offset in s by camera (None = from the sound), a side, the tables of
        ``session.toml`` that name cameras, or an excluded section (None = there was or is none).
    reason, author : str
        As typed; who did it.
    created : datetime
    undone, undone_by : datetime or None, str or None
        When and by whom it was undone.
    in_force : bool
        ``session.toml`` says so now. One that is neither undone nor in force was overruled since.
    in_report : bool
        The run of the report was worked with it.
    """

    id: str
    recording_id: str
    kind: CorrectionKind
    before: Any
    after: Any
    reason: str
    author: str
    created: datetime.datetime
    undone: datetime.datetime | None
    undone_by: str | None
    in_force: bool
    in_report: bool


@dataclass(frozen=True)
class MarkRow:
    """What a person set on a recording's timeline.

    Attributes
    ----------
    id, recording_id : str
    kind : "note" | "tag" | "abnormal movement"
    start_s : float
        On the reference camera's clock.
    end_s : float or None
        None for a moment.
    side, joint : str or None
        Of which hand and joint; None where that was not said.
    text : str
        As typed.
    rater : str
        Who judged, where that is not the author.
    blinded : bool or None
        Whether the rater saw neither the numbers nor which visit it was; None = not known.
    author, created : str, datetime
        Who entered it, and when.
    withdrawn, withdrawn_by : datetime or None, str or None
        When and by whom it was taken back; None = it holds.
    """

    id: str
    recording_id: str
    kind: MarkKind
    start_s: float
    end_s: float | None
    side: str | None
    joint: str | None
    text: str
    rater: str
    blinded: bool | None
    author: str
    created: datetime.datetime
    withdrawn: datetime.datetime | None
    withdrawn_by: str | None


@dataclass(frozen=True)
class SubjectRow:
    """A person, by pseudonym."""

    id: str
    pseudonym: str
    created: datetime.datetime


@dataclass(frozen=True)
class UserRow:
    """Someone who may sign in.

    Attributes
    ----------
    id, name : str
    epoch : int
        Changes when all their sessions shall end.
    disabled : bool
    role : str
    has_totp : bool
        Signs in with a code as well.
    password_ends : datetime.datetime or None
        The password was given by somebody else, and is good until then (UTC) to be changed.
    """

    id: str
    name: str
    epoch: int
    disabled: bool
    role: Role
    has_totp: bool = False
    password_ends: datetime.datetime | None = None

    @property
    def has_ended_password(self) -> bool:
        """Whether the password was given by somebody else, and was not changed in time."""
        return self.password_ends is not None and self.password_ends < datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class AuditRow:
    """One event of the audit.

    Attributes
    ----------
    at : datetime
        UTC.
    actor : str
        The user's name, "local" (no sign-in), "command", "system", or "nobody".
    role : str
        The user's role at that moment; empty for what is no user.
    action : str
    object : str
        Identifier of what it was done to; never content.
    result : str
        "ok" or "refused".
    """

    at: datetime.datetime
    actor: str
    role: str
    action: str
    object: str
    result: str


@dataclass(frozen=True)
class Page(Generic[Row]):
    """A part of a longer list.

    Attributes
    ----------
    rows : tuple
    total : int
        Length of the whole list.
    offset : int
        Place of the first row, from 0.
    """

    rows: tuple[Row, ...]
    total: int
    offset: int
