"""How far each other finger moves with the one that strikes: the event-locked 5 x 5 matrix.

Around each stroke, 150 ms before to 100 ms after the fingertip arrives, the path of every fingertip seen from
the palm (out of the back of the hand and into it, less its mean) is set against that of the striking finger:
``S_ij = sum(x_i x_j) / sum(x_i²)``, the slope of Schieber 1991 and Häger-Ross and Schieber 2000 taken in
playing instead of on instruction. 0 = finger j stays, 1 = it goes as far as the striking one, below 0 = the
other way. Being a slope, it has no bias by the jitter of finger j, which a distance would have.

A cell is the median over the strokes of finger i in which finger j has no stroke of its own near
(`CLEAR_BEFORE_S`, `CLEAR_AFTER_S`): letting a key go as the next is struck is playing, not following. Strokes
in which two fingers go down nearly alike are left out and counted: joints do not tell which pressed the key.

Index of a finger: ``II_i = 1 - (sum_j |S_ij| - 1) / (n - 1)`` over the n = 5 fingers, 1 = the others stay.
"""

from __future__ import annotations

import numpy as np

from pipeline.hand.joints import FINGERS
from pipeline.measures.playing_types import Coupling, FingerIndex, Individuation
from pipeline.measures.resampling import DRAWS
from pipeline.measures.strokes import Strokes
from pipeline.measures.summary_types import NAN

BEFORE_S, AFTER_S = 0.15, 0.10
"""The window around a stroke's arrival."""

CLEAR_BEFORE_S, CLEAR_AFTER_S = 0.40, 0.30
"""Another finger's own stroke this close takes it out of the cell."""

MIN_EVENTS = 8
"""A cell of fewer strokes is withheld."""

ALIKE_SHARE = 0.67
"""Where another finger goes down by more than this share of the deepest, the stroke is not clear."""

TOGETHER_S = 0.08
"""Movements of fingers this close are one stroke, and a stroke is heard this close to its onset."""

MIN_UNHEARD_DEPTH_MM = 5.0
"""Without sound a stroke must be this deep."""


def choose_events(strokes: Strokes, heard_s: np.ndarray | None) -> tuple[Strokes, int]:
    """The strokes whose finger is clear, and how many are not.

    Parameters
    ----------
    strokes : Strokes
        Every movement of every fingertip.
    heard_s : ndarray (N,) or None
        Onsets heard, on the same clock: only what is heard is a stroke. None = no sound that tells.
    """
    count = len(strokes.time_s)
    free = np.ones(count, dtype=bool)
    kept, unclear = [], 0
    for leader in np.argsort(-strokes.depth_mm, kind="stable"):
        if not free[leader]:
            continue
        together = free & (np.abs(strokes.time_s - strokes.time_s[leader]) <= TOGETHER_S)
        free &= ~together
        if not _is_stroke(strokes, int(leader), heard_s):
            continue
        others = together & (strokes.finger != strokes.finger[leader])
        if (strokes.depth_mm[others] > ALIKE_SHARE * strokes.depth_mm[leader]).any():
            unclear += 1
        else:
            kept.append(leader)
    return strokes.pick(np.array(sorted(kept, key=lambda at: strokes.time_s[at]), dtype=int)), unclear


def _is_stroke(strokes: Strokes, which: int, heard_s: np.ndarray | None) -> bool:
    if heard_s is None:
        return bool(strokes.depth_mm[which] >= MIN_UNHEARD_DEPTH_MM)
    return bool(len(heard_s)) and float(np.abs(heard_s - strokes.time_s[which]).min()) <= TOGETHER_S


def measure_individuation(
    time_s: np.ndarray, tips_mm: np.ndarray, strokes: Strokes, heard_s: np.ndarray | None
) -> Individuation:
    """The matrix, its intervals and counts, and the index of each finger.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times.
    tips_mm : ndarray (T, 5, 3)
        From `pipeline.measures.strokes.see_tips_from_palm`, of filtered positions. NaN = not measured;
        strokes around which one is missing are left out.
    strokes : Strokes
        All of them, from `pipeline.measures.strokes.find_strokes`.
    heard_s : ndarray (N,) or None
        Onsets heard; None = no sound that tells.
    """
    events, unclear = choose_events(strokes, heard_s)
    slopes = _take_slopes(time_s, tips_mm[:, :, 2], events)
    random = np.random.default_rng(0)
    couplings, indices = [], []
    for striking, name in enumerate(FINGERS):
        own = slopes[events.finger == striking]
        draws = random.integers(0, max(len(own), 1), (DRAWS, len(own)))
        medians, drawn = np.full(len(FINGERS), NAN), np.full((DRAWS, len(FINGERS)), NAN)
        for other, other_name in enumerate(FINGERS):
            if other == striking:
                medians[other], drawn[:, other] = 1.0, 1.0
                continue
            used = int(np.isfinite(own[:, other]).sum())
            low = high = NAN
            if used >= MIN_EVENTS:
                medians[other] = float(np.nanmedian(own[:, other]))
                drawn[:, other] = _median_of_draws(own[:, other], draws)
                low, high = (float(end) for end in np.nanpercentile(drawn[:, other], [2.5, 97.5]))
            couplings.append(Coupling(name, other_name, float(medians[other]), low, high, used))
        indices.append(_state_index(name, len(own), medians, drawn))
    note = ""
    if all(np.isnan(cell.share) for cell in couplings):
        note = f"No finger has {MIN_EVENTS} clear strokes in which the others have none of their own."
    return Individuation(
        couplings=tuple(couplings),
        fingers=tuple(indices),
        events=len(events.time_s),
        unclear=unclear,
        heard=heard_s is not None,
        note=note,
    )


def _take_slopes(time_s: np.ndarray, height_mm: np.ndarray, events: Strokes) -> np.ndarray:
    """Slope (N, 5) of each finger's path on the striking one's; NaN where it has a stroke of its own."""
    slopes = np.full((len(events.time_s), len(FINGERS)), np.nan)
    for place, (at_s, striking) in enumerate(zip(events.time_s, events.finger, strict=True)):
        if at_s - BEFORE_S < time_s[0] or at_s + AFTER_S > time_s[-1]:
            continue
        window = height_mm[(time_s >= at_s - BEFORE_S - 1e-6) & (time_s <= at_s + AFTER_S + 1e-6)]
        away = window - window.mean(axis=0)
        slopes[place] = away[:, striking] @ away / (away[:, striking] ** 2).sum()
        near = (events.time_s >= at_s - CLEAR_BEFORE_S) & (events.time_s <= at_s + CLEAR_AFTER_S)
        busy = set(events.finger[near]) - {striking}
        slopes[place, list(busy)] = np.nan
    return slopes


def _median_of_draws(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Median (D,) of values (N,) over drawn places (D, N), NaN left out; NaN for a draw of none."""
    ordered = np.sort(values[draws], axis=1)  # NaN goes to the end
    known = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(ordered))
    low, high = np.maximum(known - 1, 0) // 2, known // 2
    middle = (ordered[rows, low] + ordered[rows, np.minimum(high, ordered.shape[1] - 1)]) / 2
    return np.where(known > 0, middle, np.nan)


def _state_index(name: str, strokes: int, medians: np.ndarray, drawn: np.ndarray) -> FingerIndex:
    others = len(FINGERS) - 1
    value = float(1.0 - (np.abs(medians).sum() - 1.0) / others)  # NaN where a cell is
    if np.isnan(value):
        return FingerIndex(name, NAN, NAN, NAN, strokes)
    spread = 1.0 - (np.abs(drawn).sum(axis=1) - 1.0) / others
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    return FingerIndex(name, value, float(low), float(high), strokes)
