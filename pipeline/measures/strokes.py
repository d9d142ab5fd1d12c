"""When each finger strikes, from the joints alone: what individuation and tremor are taken around.

A stroke is a quick movement of a fingertip towards the palm's side, seen from the palm. It says which finger
moved and about when (to a frame or two); when the tone began is for the sound to say
(`pipeline.measures.timing`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import find_peaks

from pipeline.hand.angles import find_palm_frame, mirror_to_right
from pipeline.hand.joints import FINGERS, JOINTS, Side

MIN_DEPTH_MM = 3.0
"""A fingertip that goes down by less, seen from the palm, has not struck."""

MIN_DEPTH_SIGMAS = 6.0
"""Nor one that goes down by less than this many standard deviations of its own jitter."""

MAX_WAY_DOWN_S = 0.25
"""The way down is counted over this time: slower is travel, not a stroke."""

ARRIVED_SHARE = 0.9
"""Of its way down a fingertip has this behind it when it arrives."""

MAX_HOLD_S = 0.5
"""A key is looked for to be let go within this time."""

MIN_APART_S = 0.12
"""One finger's strokes are at least this far apart."""

TIP_COLUMNS = [JOINTS.index(f"{finger}_tip") for finger in FINGERS]
_WALL_MM = 1e6
PALM_COLUMNS = [0, *(JOINTS.index(f"{finger}_mcp") for finger in FINGERS[1:])]


@dataclass(frozen=True)
class Strokes:
    """Strokes of the five fingers, by time.

    Attributes
    ----------
    time_s : ndarray (N,)
        When the fingertip arrives: where it first has `ARRIVED_SHARE` of its way down behind it. The deepest
        moment may be anywhere while a key is held.
    finger : ndarray (N,) int
        Place in `pipeline.hand.joints.FINGERS`.
    depth_mm : ndarray (N,)
        How far down it went.
    release_s : ndarray (N,)
        When it rises fastest afterwards, within `MAX_HOLD_S`.
    """

    time_s: np.ndarray
    finger: np.ndarray
    depth_mm: np.ndarray
    release_s: np.ndarray

    def pick(self, which: np.ndarray) -> Strokes:
        """Some of them: ``which`` (N,) is a mask or places."""
        return Strokes(self.time_s[which], self.finger[which], self.depth_mm[which], self.release_s[which])


def place_hand(joints_mm: np.ndarray) -> np.ndarray:
    """The hand as a whole: the mean of wrist and the four knuckles, (T, 3) mm in the world."""
    return np.asarray(joints_mm[:, PALM_COLUMNS].mean(axis=1), dtype=float)


def see_tips_from_palm(joints_mm: np.ndarray, side: Side) -> np.ndarray:
    """The five fingertips seen from the palm, so that the hand's own travel and turns are out of them.

    Parameters
    ----------
    joints_mm : ndarray (T, 21, 3)
        In the world. NaN = not measured.
    side : "right" | "left"
        Which hand; a left one is mirrored first, so that equal movements have equal numbers.

    Returns
    -------
    ndarray (T, 5, 3)
        mm, in the order of `FINGERS`: towards the little finger, distal, and out of the back of the hand;
        from the mean of wrist and knuckles. NaN where tip or palm is.
    """
    joints = mirror_to_right(joints_mm, side)
    frame = np.stack(find_palm_frame(joints), axis=1)
    away = joints[:, TIP_COLUMNS] - place_hand(joints)[:, None]
    return np.einsum("tij,tfj->tfi", frame, away)


def find_strokes(time_s: np.ndarray, tips_mm: np.ndarray, sigma_mm: np.ndarray | float = 0.0) -> Strokes:
    """Every quick movement of a fingertip towards the palm's side.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times.
    tips_mm : ndarray (T, 5, 3)
        From `see_tips_from_palm`, of filtered positions. NaN = not measured; no stroke is found across it.
    sigma_mm : ndarray (5,) or float
        Jitter of the fingertips per axis; NaN = not known.
    """
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
    reach = max(round(MAX_WAY_DOWN_S / step_s), 1)
    least = np.fmax(np.broadcast_to(sigma_mm, (len(FINGERS),)) * MIN_DEPTH_SIGMAS, MIN_DEPTH_MM)
    found = []
    for finger in range(len(FINGERS)):
        depth = -tips_mm[:, finger, 2]
        known = np.isfinite(depth)
        # A gap is a wall: nothing rises out of it.
        peaks, _ = find_peaks(
            np.where(known, depth, _WALL_MM), distance=max(round(MIN_APART_S / step_s), 1), prominence=1e-6
        )
        for peak in peaks[np.isfinite(depth[peaks])]:
            before = depth[max(peak - reach, 0) : peak + 1]
            way = depth[peak] - before.min()
            if np.isfinite(before).all() and way >= least[finger]:
                arrived_s = _find_arrival(before - before.min(), way) * step_s + time_s[peak]
                after = np.diff(depth[peak : peak + round(MAX_HOLD_S / step_s) + 1])
                rise = int(np.nanargmin(after)) if np.isfinite(after).any() else 0
                found.append((arrived_s, finger, way, time_s[peak + rise]))
    columns = np.array(sorted(found), dtype=float).reshape(-1, 4).T
    return Strokes(columns[0], columns[1].astype(int), columns[2], columns[3])


def _find_arrival(rise_mm: np.ndarray, way_mm: float) -> float:
    """Where a way down (N,) has `ARRIVED_SHARE` of its whole length behind it: frames from its end."""
    start = int(rise_mm.argmin())
    after = start + int(np.argmax(rise_mm[start:] >= ARRIVED_SHARE * way_mm))
    low, high = rise_mm[after - 1], rise_mm[after]
    return float(after - (high - ARRIVED_SHARE * way_mm) / (high - low) - (len(rise_mm) - 1))
