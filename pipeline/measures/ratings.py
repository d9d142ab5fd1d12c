"""Raters' marks of movements in figures: how many a minute, and how far they and the program agree.

The count a minute is that of the scale for the frequency of abnormal movements (FAM): each mark is a
movement. Its interval takes the marks as independent of each other (Poisson, exact).

Agreement is between marks and the program's sustained postures. Postures of one finger that overlap are one
movement. A mark and a movement belong together where less than `TOLERANCE_S` lies between them, each used
once; the share of positive agreement is ``2 a / (2 a + b + c)`` (a together, b marks alone, c movements
alone), which is F1. Its interval is Wilson's of ``a / (a + b + c)``, carried over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import gammaincinv

NAN = float("nan")

TOLERANCE_S = 0.5
"""A rater who marks while the video runs is late by a reaction, and ends a mark when it is surely over."""

MIN_TOGETHER = 10
"""With fewer marks and movements in all nothing is said of agreement: its interval would span nearly all."""

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Span:
    """A stretch of time; ``finger`` is empty where it is not told. A moment has ``end_s`` = ``start_s``."""

    start_s: float
    end_s: float
    finger: str = ""


@dataclass(frozen=True)
class Rate:
    """Marks a minute, with the 95 % interval; NaN = cannot tell (nothing was there to be rated)."""

    count: int
    minutes: float
    per_min: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How far one rater's marks and the program's movements agree.

    Attributes
    ----------
    together, marks_alone, movements_alone : int
    positive : float
        Share of positive agreement, 0 to 1; NaN = cannot tell.
    low, high : float
        95 % interval.
    note : str
        Why it cannot be told; empty otherwise.
    """

    together: int
    marks_alone: int
    movements_alone: int
    positive: float = NAN
    low: float = NAN
    high: float = NAN
    note: str = ""


def count_per_minute(count: int, minutes: float) -> Rate:
    """Marks a minute of ``minutes`` that could be rated."""
    if not minutes > 0:
        return Rate(count, minutes, NAN, NAN, NAN)
    low = float(gammaincinv(count, 0.025)) if count else 0.0
    high = float(gammaincinv(count + 1, 0.975))
    return Rate(count, minutes, count / minutes, low / minutes, high / minutes)


def join_movements(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans of one finger that overlap as one; by start."""
    joined: list[Span] = []
    by_finger: dict[str, Span] = {}
    for span in sorted(spans, key=lambda each: each.start_s):
        last = by_finger.get(span.finger)
        if last is not None and span.start_s <= last.end_s:
            joined.remove(last)
            span = Span(last.start_s, max(last.end_s, span.end_s), span.finger)
        by_finger[span.finger] = span
        joined.append(span)
    return tuple(sorted(joined, key=lambda each: each.start_s))


def match(marks: Sequence[Span], movements: Sequence[Span]) -> list[tuple[int, int]]:
    """Pairs (mark, movement) that belong together, the nearest first, each used once."""
    near = []
    for i, mark in enumerate(marks):
        for j, movement in enumerate(movements):
            if mark.finger and movement.finger and mark.finger != movement.finger:
                continue
            apart = max(movement.start_s - mark.end_s, mark.start_s - movement.end_s, 0.0)
            if apart <= TOLERANCE_S:
                near.append((apart, abs(mark.start_s - movement.start_s), i, j))
    pairs: list[tuple[int, int]] = []
    for _, _, i, j in sorted(near):
        if all(i != one and j != other for one, other in pairs):
            pairs.append((i, j))
    return pairs


def agree(marks: Sequence[Span], movements: Sequence[Span]) -> Agreement:
    """How far marks and movements agree."""
    together = len(match(marks, movements))
    alone, unmarked = len(marks) - together, len(movements) - together
    total = together + alone + unmarked
    if total < MIN_TOGETHER:
        words = "Too few to tell" if total else "Nothing was marked or found"
        return Agreement(together, alone, unmarked, note=f"{words}.")
    low, high = _bound_share(together, total)
    share, low, high = (2 * part / (1 + part) for part in (together / total, low, high))
    return Agreement(together, alone, unmarked, share, low, high)


def _bound_share(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, z2 = count / total, _Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(middle - half, 0.0), min(middle + half, 1.0)
