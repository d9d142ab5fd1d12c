"""Boxes that are missing or jump: linear interpolation and the MAD rule (seed 000, section 5)."""

from __future__ import annotations

import itertools

import numpy as np

from pipeline.pose.regions import get_area
from pipeline.results import Gap

MAX_GAP_S = 0.1
"""A hand moves on within a tenth of a second by less than a crop's margin; beyond it a box is a guess."""

WINDOW_S = 0.5
"""The median filter's window: long against a detector's slip, short against a hand's way along the keys."""

MAD_FACTOR = 3.0

NOT_FOUND = "no hand found"
JUMPED_OFF = "the box jumped off"
NOT_RECOGNISED = "no hand recognised where it should be"
"""Reasons of gaps."""

MIN_JUMP = 0.5
"""A centre nearer to the median than this share of the box's size (root of its area) is no outlier, however
small the MAD. A hand at rest has a MAD of next to nothing, and then a lifted hand or a flicked finger, the
very jerks to be measured, would count as slips. A detector that slips lands farther off."""


def find_outliers(time_s: np.ndarray, box_px: np.ndarray) -> np.ndarray:
    """Which boxes lie off their neighbours': (T,) bool.

    ``|c_t - median(c)| > 3 MAD`` with ``MAD = median(|c_i - median(c)|)`` for either coordinate of the
    centre, median and MAD over the boxes within `WINDOW_S` around t (median filter), and beyond `MIN_JUMP`.
    Towards the ends the window shrinks on both sides alike: one-sided, steady movement looks like a jump.

    Parameters
    ----------
    time_s : ndarray (T,)
        Ascending.
    box_px : ndarray (T, 4)
        NaN = no box; such frames are no outliers and take no part.
    """
    outlier = np.zeros(len(time_s), dtype=bool)
    valid = np.flatnonzero(np.isfinite(box_px).all(axis=1))
    if not len(valid):
        return outlier
    centres = (box_px[valid, :2] + box_px[valid, 2:]) / 2
    least = MIN_JUMP * np.sqrt(get_area(box_px[valid]))
    times = time_s[valid]
    half = np.minimum(WINDOW_S / 2, np.minimum(times - times[0], times[-1] - times)) + 1e-6
    first = np.searchsorted(times, times - half, side="left")
    last = np.searchsorted(times, times + half, side="right")
    for row, frame in enumerate(valid):
        window = slice(first[row], last[row])
        median = np.median(centres[window], axis=0)
        mad = np.median(np.abs(centres[window] - median), axis=0)
        limit = np.maximum(MAD_FACTOR * mad, np.median(least[window]))
        outlier[frame] = bool((np.abs(centres[row] - median) > limit).any())
    return outlier


def find_bridges(time_s: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Which frames without a valid box lie in a gap short enough to bridge: (T,) bool.

    A gap's length is the time that its missing frames would have filled: from the valid frame before to
    the one after, less one frame interval (the mean one inside the gap). `MAX_GAP_S` itself is bridged.
    Gaps at the beginning and the end have no two neighbours and are not bridged.
    """
    bridged = np.zeros(len(time_s), dtype=bool)
    known = np.flatnonzero(valid)
    for before, after in itertools.pairwise(known):
        missing = after - before - 1
        length_s = (time_s[after] - time_s[before]) * missing / (missing + 1)
        if missing and length_s <= MAX_GAP_S + 1e-6:
            bridged[before + 1 : after] = True
    return bridged


def interpolate(time_s: np.ndarray, values: np.ndarray, valid: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """``values`` (T, D), with the rows in ``wanted`` on the line between their valid neighbours in time.

    ``v_t = (1 - a) v_prev + a v_next`` with ``a = (t - t_prev) / (t_next - t_prev)``. Rows neither valid
    nor wanted become NaN.
    """
    out = np.full(values.shape, np.nan)
    out[valid] = values[valid]
    if wanted.any():
        for column in range(values.shape[1]):
            out[wanted, column] = np.interp(time_s[wanted], time_s[valid], values[valid, column])
    return out


def repair_boxes(time_s: np.ndarray, box_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (T, 4) with outliers and short gaps interpolated, and each frame's state (T,).

    States: ``detected``; ``interpolated`` (was missing); ``outlier`` (was found elsewhere, interpolated);
    ``none`` (no box: gaps longer than `MAX_GAP_S`, and the ends), where the box is NaN.
    """
    found = np.isfinite(box_px).all(axis=1)
    outlier = find_outliers(time_s, box_px)
    valid = found & ~outlier
    bridged = find_bridges(time_s, valid)
    state = np.full(len(time_s), "none", dtype="U12")
    state[valid] = "detected"
    state[bridged] = np.where(outlier[bridged], "outlier", "interpolated")
    return interpolate(time_s, box_px, valid, bridged), state


def list_gaps(
    time_s: np.ndarray, measured: np.ndarray, found: np.ndarray, state: np.ndarray
) -> tuple[Gap, ...]:
    """The stretches without measured points that are longer than `MAX_GAP_S`, and why they are.

    Parameters
    ----------
    time_s : ndarray (T,)
        Of the frames, ascending.
    measured : ndarray (T,) bool
        Where the track has points.
    found : ndarray (T,) bool
        Where a hand was found before the boxes were repaired.
    state : ndarray (T,) str
        Of the repaired boxes.
    """
    edges = np.flatnonzero(np.diff(np.r_[True, measured, True]))
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
    ends_s = np.r_[time_s, time_s[-1:] + step_s]
    gaps = []
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        rows = slice(first, after)
        if ends_s[after] - ends_s[first] <= MAX_GAP_S + 1e-6:
            continue
        reasons = np.select(
            [~found[rows], state[rows] == "none"], [NOT_FOUND, JUMPED_OFF], default=NOT_RECOGNISED
        )
        words, counts = np.unique(reasons, return_counts=True)
        gaps.append(Gap(float(ends_s[first]), float(ends_s[after]), str(words[np.argmax(counts)])))
    return tuple(gaps)
