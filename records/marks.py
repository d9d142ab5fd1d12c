"""What people set on a recording's timeline: notes, tags, and raters' marks of movements.

A mark is never changed or deleted: a wrong one is withdrawn, and can be brought back. Times are the reference
camera's, as everywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from pipeline.hand.joints import JOINTS, SIDES
from records import models
from records.errors import MarkError, NotFound
from records.models import now
from records.rows import MarkKind, MarkRow

if TYPE_CHECKING:
    from records.service import Records

KINDS: Final[tuple[MarkKind, ...]] = ("note", "tag", "abnormal movement")
MAX_TEXT: Final = 500
MAX_RATER: Final = 80
LATEST_S: Final = 86_400.0
"""A day: recordings are not longer."""


class Marks:
    """The marks of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def list(self, recording_id: str, withdrawn: bool = False) -> tuple[MarkRow, ...]:
        """Marks of a recording by start; with ``withdrawn`` those, too.

        Raises
        ------
        NotFound
        """
        recording = self._records.get_recording(recording_id)
        wanted = select(models.Mark).where(models.Mark.recording_id == recording.id)
        if not withdrawn:
            wanted = wanted.where(models.Mark.withdrawn.is_(None))
        with self._records.reading() as database:
            rows = [_row(mark) for mark in database.scalars(wanted)]
        return tuple(sorted(rows, key=lambda row: (row.start_s, row.created, row.id)))

    def add(
        self,
        recording_id: str,
        kind: str,
        start_s: float | None,
        end_s: float | None = None,
        *,
        side: str | None = None,
        joint: str | None = None,
        text: str = "",
        rater: str = "",
        blinded: bool | None = None,
        actor: str = "local",
    ) -> MarkRow:
        """Set a mark.

        Parameters
        ----------
        recording_id : str
            On which recording.
        kind : str
            One of `KINDS`.
        start_s, end_s : float or None
            On the reference camera's clock; without an end it is a moment.
        side, joint : str or None
            Of which hand, of which of the 21 joints; empty where that is not said.
        text : str
            In the person's words; a note and a tag need some.
        rater : str
            Who judged, of a movement; by default who enters it.
        blinded : bool or None
            Whether the rater saw neither the numbers nor which visit it was; None = not known.
        actor : str
            Who enters it.

        Raises
        ------
        NotFound
            There is no such recording.
        MarkError
            Something about it cannot be; says what.
        """
        recording = self._records.get_recording(recording_id)
        start_s, end_s = _check_times(start_s, end_s)
        if kind not in KINDS:
            raise MarkError("No kind of mark is chosen.", f"Choose one of {', '.join(KINDS)}.")
        text = _clean(text, "The text", MAX_TEXT)
        if not text and kind != "abnormal movement":
            raise MarkError(f"A {kind} needs a text.", "Write a few words.")
        if side and side not in SIDES:
            raise MarkError(f"{side!r} is no side.", "Choose right or left, or leave it out.")
        if joint and joint not in JOINTS:
            raise MarkError(f"{joint!r} is no joint.", "Choose one of the 21 joints, or leave it out.")
        is_rating = kind == "abnormal movement"
        mark = models.Mark(
            recording_id=recording.id,
            kind=kind,
            start_s=start_s,
            end_s=end_s,
            side=side or None,
            joint=joint or None,
            text=text,
            rater=(_clean(rater, "The rater", MAX_RATER) or actor) if is_rating else "",
            blinded=blinded if is_rating else None,
            author=actor,
        )
        with self._records.writing() as database:
            database.add(mark)
            database.flush()
            database.add(models.AuditEvent(actor=actor, action="mark.add", object=mark.id))
        return _row(mark)

    def withdraw(self, mark_id: str, actor: str = "local") -> MarkRow:
        """Take a mark off the timeline; it stays in the database with who did it and when.

        Raises
        ------
        NotFound
        """
        return self._set_withdrawn(mark_id, actor, True)

    def bring_back(self, mark_id: str, actor: str = "local") -> MarkRow:
        """Undo `withdraw`.

        Raises
        ------
        NotFound
        """
        return self._set_withdrawn(mark_id, actor, False)

    def _set_withdrawn(self, mark_id: str, actor: str, withdrawn: bool) -> MarkRow:
        with self._records.writing() as database:
            mark = database.get(models.Mark, str(mark_id))
            if mark is None:
                raise NotFound("There is no such mark.", "Open the page again.")
            if (mark.withdrawn is not None) != withdrawn:
                mark.withdrawn = now() if withdrawn else None
                mark.withdrawn_by = actor if withdrawn else None
                action = "mark.withdraw" if withdrawn else "mark.bring-back"
                database.add(models.AuditEvent(actor=actor, action=action, object=mark.id))
            return _row(mark)


def _check_times(start_s: float | None, end_s: float | None) -> tuple[float, float | None]:
    if start_s is None or not math.isfinite(start_s) or not 0 <= start_s <= LATEST_S:
        raise MarkError("The mark has no time.", "Give seconds from the start, or take the player's moment.")
    if end_s is None:
        return float(start_s), None
    if not math.isfinite(end_s) or not start_s <= end_s <= LATEST_S:
        raise MarkError("The mark ends before it begins.", "Give a later end, or none for a moment.")
    return float(start_s), float(end_s)


def _clean(text: str, what: str, most: int) -> str:
    words = " ".join(str(text or "").split())
    if len(words) > most:
        raise MarkError(f"{what} has {len(words)} letters; there is room for {most}.", "Shorten it.")
    return words


def _row(mark: models.Mark) -> MarkRow:
    kind: MarkKind = mark.kind  # type: ignore[assignment]
    return MarkRow(
        id=mark.id,
        recording_id=mark.recording_id,
        kind=kind,
        start_s=mark.start_s,
        end_s=mark.end_s,
        side=mark.side,
        joint=mark.joint,
        text=mark.text,
        rater=mark.rater,
        blinded=mark.blinded,
        author=mark.author,
        created=mark.created,
        withdrawn=mark.withdrawn,
        withdrawn_by=mark.withdrawn_by,
    )
