"""Sustained postures far from the reference: when, which way, how long."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from pipeline.hand.angles import ANGLE_INFO, ANGLES
from pipeline.hand.joints import FINGERS
from pipeline.measures.levels import FAR_SD
from pipeline.measures.summary_types import PostureBout

ENTER_SD = FAR_SD
"""A bout begins where the frame-level z is this far from 0."""

LEAVE_SD = 2.0
"""It lasts while z is at least this far on the same side."""

MIN_BOUT_S = 0.2
"""Shorter ones are movement, not posture."""

MAX_BRIDGE_S = 0.1
"""A bout goes on through frames not measured for this long."""


def find_bouts(time_s: np.ndarray, z: np.ndarray) -> tuple[PostureBout, ...]:
    """All posture bouts of one hand, by start.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times.
    z : ndarray (T, 20)
        Signed frame-level z of the angles, in the order of `pipeline.hand.angles.ANGLES`. NaN = cannot be
        told.
    """
    bouts = []
    for column, angle in enumerate(ANGLES):
        info = ANGLE_INFO[angle]
        for sign, direction in ((1.0, info.more), (-1.0, info.less)):
            for start, stop, begun in _find_runs(time_s, sign * z[:, column]):
                part = z[start:stop, column]
                peak = float(part[np.nanargmax(sign * part)])
                bouts.append(
                    PostureBout(
                        angle=angle,
                        finger=info.finger,
                        direction=direction,
                        start_s=float(time_s[start]),
                        end_s=float(time_s[stop - 1]),
                        peak_z=peak,
                        begun=begun,
                    )
                )
    return tuple(sorted(bouts, key=lambda bout: (bout.start_s, ANGLES.index(bout.angle))))


def _find_runs(time_s: np.ndarray, z: np.ndarray) -> list[tuple[int, int, bool]]:
    """Half-open frame ranges of bouts on the positive side of one z (T,); True = seen to begin."""
    known = np.flatnonzero(np.isfinite(z))
    if not len(known):
        return []
    inside = z[known] >= LEAVE_SD
    # Positions along the known frames; a long gap between two of them parts the run.
    broken = np.diff(time_s[known]) > MAX_BRIDGE_S + np.median(np.diff(time_s)) * 1.5
    segment = np.concatenate([[0], np.cumsum(broken)])
    runs = []
    for part in np.unique(segment):
        of_part = segment == part
        first = known[of_part][0]
        labels, count = label(inside & of_part)
        for run in range(1, count + 1):
            frames = known[labels == run]
            high = frames[z[frames] >= ENTER_SD]
            if len(high):
                runs.append((int(high[0]), int(frames[-1]) + 1, bool(frames[0] > first)))
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
    return [run for run in runs if time_s[run[1] - 1] - time_s[run[0]] + step >= MIN_BOUT_S - 1e-6]


def mark_bouts(time_s: np.ndarray, bouts: tuple[PostureBout, ...]) -> np.ndarray:
    """Which frames lie in a bout: (T, 20) bool, in the order of `pipeline.hand.angles.ANGLES`."""
    marked = np.zeros((len(time_s), len(ANGLES)), dtype=bool)
    for bout in bouts:
        inside = (time_s >= bout.start_s) & (time_s <= bout.end_s)
        marked[inside, ANGLES.index(bout.angle)] = True
    return marked


def columns_of_finger(finger: str) -> list[int]:
    """Columns of a finger's four angles in arrays (T, 20)."""
    if finger not in FINGERS:
        raise ValueError(f"{finger} is no finger")
    return [column for column, angle in enumerate(ANGLES) if ANGLE_INFO[angle].finger == finger]
