"""The reliability file: how exact each measure is from visit to visit, by a test-retest study.

Worked out by `pipeline.measures.reliability`, used by `pipeline.measures.change`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from pipeline.errors import MeasureError, RunFolderError
from pipeline.files import read_json, write_json
from pipeline.hand.joints import Side
from pipeline.measures.summary_types import NAN, from_plain

RELIABILITY_VERSION = 2
"""Version 1 held ``mdc95`` by measure, ``n_people`` and ``provenance``, and nothing of the recordings."""

WORK_OUT_AGAIN = "Work it out again with `python -m pipeline reliability`."


FAR_SHARE = "_far_share"
"""After an angle's id: its share of time far from the reference."""


@dataclass(frozen=True)
class MeasureReliability:
    """One measure over the people of a study, in the measure's own unit. NaN = cannot be told.

    Attributes
    ----------
    id, label, unit : str
        Of the headline, of the angle (its median), or ``<angle>_far_share``.
    n_people : int
        Who had it at every session.
    mean, sd : float
        Of all their values; ``sd`` holds people and sessions together.
    lowest, highest : float
        The range of these values.
    icc_agreement, icc_low, icc_high : float
        ICC(A,1), absolute agreement of single recordings, and its 95 % interval (McGraw and Wong 1996).
    icc_consistency : float
        ICC(C,1): much above the agreement where a whole session differs from the other.
    sem : float
        Standard error of measurement: the square root of the residual mean square of people by sessions,
        which for two sessions is ``SD(difference) / sqrt(2)``.
    mdc95 : float
        ``1.96 * sqrt(2) * sem``.
    limit95 : float
        What a change is held against: as ``mdc95`` with Student's t for the few people that ``sem`` rests on,
        and no less than 95 % of the study's own differences between sessions stay under, which from 19 people
        on holds for new ones whatever their distribution. NaN where too few people varied.
    bias, bias_low, bias_high : float
        Last session minus first over the people, with its 95 % interval: learning.
    within_sem : float
        Standard deviation of repeats within one session: a lower bound of ``sem``. NaN without repeats.
    mdc_share : float
        ``mdc95`` as a share (0 to 1) of the range.
    flags : tuple of str
        What is to be said with it.
    """

    id: str
    label: str
    unit: str
    n_people: int
    mean: float = NAN
    sd: float = NAN
    lowest: float = NAN
    highest: float = NAN
    icc_agreement: float = NAN
    icc_low: float = NAN
    icc_high: float = NAN
    icc_consistency: float = NAN
    sem: float = NAN
    mdc95: float = NAN
    limit95: float = NAN
    bias: float = NAN
    bias_low: float = NAN
    bias_high: float = NAN
    within_sem: float = NAN
    mdc_share: float = NAN
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reliability:
    """A test-retest study: what `read_reliability` gives.

    Attributes
    ----------
    measures : dict of MeasureReliability
        By id.
    n_people, n_sessions : int
        People in the study, and sessions of each.
    days_apart : float
        Median days from one session to the next; ``days_least`` and ``days_most`` bound them.
    hands : dict of int
        How many people by the hand that was measured.
    conditions : dict of str
        What all recordings of the study have in common, as ``Summary.comparability``; a change is only
        judged where its recordings have the same. Empty in files of version 1.
    provenance : str
        Who was recorded and how, in the words of who made the study.
    left_out : tuple of str
        Recordings and people that were given and do not count, and why.
    n_recordings : int
        Recordings that count, repeats included.
    simulated : bool
        The reference of these recordings is simulated.
    program_version : str
        Version of the program that worked it out.
    schema_version : int
        `RELIABILITY_VERSION`.
    """

    measures: dict[str, MeasureReliability]
    n_people: int
    provenance: str = ""
    n_sessions: int = 2
    days_apart: float = NAN
    days_least: float = NAN
    days_most: float = NAN
    hands: dict[Side, int] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    n_recordings: int = 0
    simulated: bool = False
    program_version: str = ""
    schema_version: int = RELIABILITY_VERSION

    def limit_of(self, measure: str) -> float:
        """Smallest detectable change of a measure, `MeasureReliability.limit95`; NaN = not established."""
        found = self.measures.get(measure)
        return found.limit95 if found else NAN


def list_mismatches(
    before: Mapping[str, str], after: Mapping[str, str], words: tuple[str, str] = ("before", "after")
) -> tuple[str, ...]:
    """What of two recordings' comparability differs, in words; empty if nothing does."""
    found = []
    for key in dict.fromkeys([*before, *after]):
        then, now = before.get(key, "not stated"), after.get(key, "not stated")
        if then != now:
            found.append(f"The {key} differs: {then} {words[0]}, {now} {words[1]}.")
    return tuple(found)


def write_reliability(path: Path, reliability: Reliability) -> None:
    """Write a reliability file, whole or not at all; NaN becomes null."""
    write_json(path, asdict(reliability))


def read_reliability(path: Path) -> Reliability:
    """Read a reliability file of this or the first version.

    Raises
    ------
    MeasureError
        It is no such file, or of a later schema.
    RunFolderError
        It is missing or broken.
    """
    raw = _read(path)
    try:
        if raw.get("schema_version", 1) == 1:
            raw = _bring_up_to_date(raw)
        found = cast(Reliability, from_plain(Reliability, raw))
        if found.schema_version != RELIABILITY_VERSION:
            raise ValueError(f"schema {found.schema_version}; this program reads {RELIABILITY_VERSION}")
        for name, measure in found.measures.items():
            if measure.id != name or not (math.isnan(measure.limit95) or 0 < measure.limit95 < math.inf):
                raise ValueError(f"the entry {name} is not its own, or its limit is no positive number")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(
            f"{Path(path).name} is not a reliability file of this program ({error}).", WORK_OUT_AGAIN
        ) from error
    return found


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except RunFolderError as error:
        raise RunFolderError(error.what, WORK_OUT_AGAIN) from error


def _bring_up_to_date(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 as the present one; of the recordings it says nothing, so its conditions stay empty."""
    people = int(raw["n_people"])
    limits = {str(name): float(value) for name, value in raw["mdc95"].items()}
    if not all(value > 0 for value in limits.values()):
        raise ValueError("an MDC95 that is not positive")
    measures = {
        name: {"id": name, "label": name, "unit": "", "n_people": people, "mdc95": value, "limit95": value}
        for name, value in limits.items()
    }
    return {"measures": measures, "n_people": people, "provenance": str(raw["provenance"])}
