"""Clinical scales as raters gave them: kept beside what is measured, never merged into it.

A score is never changed or deleted: a wrong one is withdrawn, and can be brought back. Of a scale only its
name, range and direction are here; the items' texts belong to those who made it.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from records import models
from records.errors import NotFound, ScoreError
from records.models import now
from records.rows import ScoreRow

if TYPE_CHECKING:
    from records.service import Records

Better = Literal["higher", "lower"]

MAX_WORDS: Final = 80
"""Letters of a rater's name or a version."""

MAX_NOTE: Final = 500
MAX_ITEMS: Final = 60
MAX_ITEM: Final = 40
"""Letters of an item's name."""

EARLIEST: Final = datetime.date(1950, 1, 1)


@dataclass(frozen=True)
class Scale:
    """A clinical scale.

    Attributes
    ----------
    id, label : str
        Stable name, and what it is called.
    low, high : float
        The range of its total; ``high`` is infinite where none is stated.
    unit : str
        "%", "1/min" or "" (points).
    better : "higher" | "lower"
        Which way is better.
    whole : bool
        Only whole numbers.
    about : str
        How its total is entered.
    """

    id: str
    label: str
    low: float
    high: float
    unit: str
    better: Better
    whole: bool
    about: str

    @property
    def short(self) -> str:
        """What those who use it call it: "TCS"."""
        return self.label.partition("(")[2].partition(")")[0].partition(",")[0] or self.label

    @property
    def range_words(self) -> str:
        """The range with its unit: "0 to 120", "0 or more a minute"."""
        unit = {"%": " %", "1/min": " a minute"}.get(self.unit, "")
        if math.isinf(self.high):
            return f"{self.low:g} or more{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"


_SCALES = (
    Scale("tcs", "Tubiana-Chamagne Scale (TCS)", 0, 5, "", "higher", True,
          "One grade: 0 cannot play, 5 plays concerts."),
    Scale("adds", "Arm Dystonia Disability Scale (ADDS)", 0, 100, "%", "higher", False,
          "In %, 100 = not limited. From the sum of its seven activities: 90 − 90 × sum / 21."),
    Scale("fam", "Frequency of Abnormal Movements (FAM)", 0, math.inf, "1/min", "lower", False,
          "Abnormal movements a minute, counted in a video."),
    Scale("taps-ta", "TAPS, technical ability", 0, math.inf, "", "higher", False,
          "As the player reported it. Its upper end is not checked here."),
    Scale("taps-ps", "TAPS, performing score", 0, math.inf, "", "higher", False,
          "As the player reported it. Its upper end is not checked here."),
    Scale("bfmdrs", "Burke-Fahn-Marsden scale, movement (BFMDRS)", 0, 120, "", "lower", False,
          "Sum of the movement part."),
    Scale("udrs", "Unified Dystonia Rating Scale (UDRS)", 0, 112, "", "lower", False, "Sum of all regions."),
    Scale("gdrs", "Global Dystonia Rating Scale (GDRS, GDS)", 0, 140, "", "lower", False,
          "Sum of all regions."),
)  # fmt: skip

SCALES: Final[Mapping[str, Scale]] = {scale.id: scale for scale in _SCALES}
"""By id: those of musicians first, then those of any dystonia."""


class Scores:
    """The clinical scores of one database."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def list(self, subject_id: str, withdrawn: bool = False) -> tuple[ScoreRow, ...]:
        """Scores of a person by scale, date and entry; with ``withdrawn`` those, too.

        Raises
        ------
        NotFound
            There is no such person.
        """
        subject = self._records.get_subject(subject_id)
        wanted = select(models.ClinicalScore).where(models.ClinicalScore.subject_id == subject.id)
        if not withdrawn:
            wanted = wanted.where(models.ClinicalScore.withdrawn.is_(None))
        with self._records.reading() as database:
            rows = [_row(score) for score in database.scalars(wanted)]
        order = list(SCALES)
        place = {name: number for number, name in enumerate(order)}
        return tuple(
            sorted(rows, key=lambda row: (place.get(row.scale, len(order)), row.date, row.created, row.id))
        )

    def list_at(self, subject_id: str, date: datetime.date | None) -> tuple[ScoreRow, ...]:
        """Scores of a person of one day; none of a visit without a date."""
        if date is None:
            return ()
        return tuple(row for row in self.list(subject_id) if row.date == date)

    def add(
        self,
        subject_id: str,
        scale: str,
        value: float,
        date: datetime.date,
        rater: str,
        *,
        version: str = "",
        blinded: bool | None = None,
        note: str = "",
        items: Mapping[str, float] | None = None,
        actor: str = "local",
    ) -> ScoreRow:
        """Keep a score.

        Parameters
        ----------
        subject_id : str
            Whose.
        scale : str
            One of `SCALES`.
        value : float
            The total, in the scale's unit.
        date : date
            The day that it was given.
        rater : str
            Who gave it: a code or a role, as the clinic has it.
        version : str
            Of the scale, as the rater states it.
        blinded : bool or None
            Whether the rater did not know which visit it was; None = not known.
        note : str
            In the rater's words.
        items : mapping of float, optional
            Single items by their number or region.
        actor : str
            Who entered it.

        Raises
        ------
        NotFound
            There is no such person.
        ScoreError
            Something about it cannot be; says what.
        """
        subject = self._records.get_subject(subject_id)
        known = _check(scale, value, date)
        score = models.ClinicalScore(
            subject_id=subject.id,
            date=date,
            scale=known.id,
            value=float(value),
            items=_write_items(items or {}),
            rater=_clean(rater, "The rater", MAX_WORDS, needed=True),
            version=_clean(version, "The version", MAX_WORDS),
            blinded=blinded,
            note=_clean(note, "The note", MAX_NOTE),
            author=actor,
        )
        with self._records.writing() as database:
            database.add(score)
            database.flush()
            _note(database, actor, "score.add", score.id)
        return _row(score)

    def withdraw(self, score_id: str, actor: str = "local") -> ScoreRow:
        """Take a score out of tables and plots; it stays in the database with who did it and when.

        Raises
        ------
        NotFound
        """
        return self._set_withdrawn(score_id, actor, True)

    def bring_back(self, score_id: str, actor: str = "local") -> ScoreRow:
        """Undo `withdraw`.

        Raises
        ------
        NotFound
        """
        return self._set_withdrawn(score_id, actor, False)

    def _set_withdrawn(self, score_id: str, actor: str, withdrawn: bool) -> ScoreRow:
        with self._records.writing() as database:
            score = database.get(models.ClinicalScore, str(score_id))
            if score is None:
                raise NotFound("There is no such score.", "Load the page again.")
            if (score.withdrawn is not None) != withdrawn:
                score.withdrawn = now() if withdrawn else None
                score.withdrawn_by = actor if withdrawn else None
                _note(database, actor, "score.withdraw" if withdrawn else "score.bring-back", score.id)
            return _row(score)


def _check(scale: str, value: float, date: datetime.date) -> Scale:
    known = SCALES.get(scale)
    if known is None:
        raise ScoreError("No scale is chosen.", "Choose the scale that was used.")
    if not math.isfinite(value) or not known.low <= value <= known.high:
        raise ScoreError(
            f"{value:g} is not on the {known.label}, which goes from {known.range_words}."
            if math.isfinite(known.high)
            else f"{value:g} is not on the {known.label}, which is {known.range_words}.",
            "Check the total, and that the scale is the right one.",
        )
    if known.whole and value != round(value):
        raise ScoreError(f"The {known.label} has whole grades only, not {value:g}.", "Enter the grade.")
    if date > datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1):
        raise ScoreError(f"The date {date.isoformat()} is still to come.", "Enter the day of the rating.")
    if date < EARLIEST:
        raise ScoreError(f"The date {date.isoformat()} is too long ago.", "Check the year.")
    return known


def _clean(text: str, what: str, most: int, needed: bool = False) -> str:
    words = " ".join(str(text or "").split())
    if needed and not words:
        raise ScoreError(f"{what} is missing.", "Say who gave the score: a code or a role is enough.")
    if len(words) > most:
        raise ScoreError(f"{what} has {len(words)} letters; there is room for {most}.", "Shorten it.")
    return words


def _write_items(items: Mapping[str, float]) -> str:
    if len(items) > MAX_ITEMS:
        raise ScoreError(f"{len(items)} items are more than any scale has.", "Enter the total alone.")
    for name, value in items.items():
        if not math.isfinite(value):
            raise ScoreError(f"Item {name} has no number.", "Leave out what was not rated.")
    return json.dumps(dict(items), ensure_ascii=False, sort_keys=True) if items else ""


def read_items(text: str) -> dict[str, float]:
    """Items as a person writes them: "1: 2, 2: 0.5" by number or region; empty without any.

    Raises
    ------
    ScoreError
        A part is no "name: number".
    """
    found: dict[str, float] = {}
    for part in (each.strip() for each in str(text or "").replace(";", ",").replace("\n", ",").split(",")):
        if not part:
            continue
        name, colon, number = (each.strip() for each in part.rpartition(":"))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not colon or not name or not math.isfinite(value):
            raise ScoreError(
                f"“{part}” is no item with its number.",
                "Write them as “1: 2, 2: 0.5, 3: 1”.",
            )
        if len(name) > MAX_ITEM:
            raise ScoreError(
                f"Item {name[:MAX_ITEM]}… has {len(name)} letters; there is room for {MAX_ITEM}.",
                "Shorten it.",
            )
        if name in found:
            raise ScoreError(f"Item {name} is there twice.", "Give each item once.")
        found[name] = value
    return found


def _row(score: models.ClinicalScore) -> ScoreRow:
    return ScoreRow(
        id=score.id,
        subject_id=score.subject_id,
        date=score.date,
        scale=score.scale,
        value=score.value,
        items=json.loads(score.items) if score.items else {},
        rater=score.rater,
        version=score.version,
        blinded=score.blinded,
        note=score.note,
        author=score.author,
        created=score.created,
        withdrawn=score.withdrawn,
        withdrawn_by=score.withdrawn_by,
    )


def _note(database: DatabaseSession, actor: str, action: str, about: str) -> None:
    database.add(models.AuditEvent(actor=actor, action=action, object=about))
