"""Checkerboard takes: where the board rests, and what each camera sees of it there.

Seed 000, section 6 (motion valleys). A take is decoded once at a small size for its motion; then only the
few frames round each rest are read at full size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.calibration.board import BoardSearch, find_board, refine_corners
from pipeline.progress import Reporter
from pipeline.session import Checkerboard
from pipeline.video import read_frames

MOTION_WIDTH_PX = 160
SMOOTHING_FRAMES = 5
SEPARATION_FRAMES = 30
WINDOW_FRAMES = 5
"""Frames read round a rest: their corners are averaged, and their spread tells whether the board rests."""

STILL_PX = 0.3
"""Largest way of the corners across the window for which their mean is better than one frame alone."""

MOVING_PX = 1.0
"""Way of the corners across the window from which the board is not at rest."""


@dataclass(frozen=True)
class Motion:
    """How much the picture of one take changes.

    Attributes
    ----------
    time_s : ndarray (T,)
        Times of the frames on the take's own clock.
    level : ndarray (T,)
        Mean absolute difference to the frame before in grey levels, moving average of 5 (seed 000).
    size_px : (int, int)
        Width and height of the pictures.
    """

    time_s: np.ndarray
    level: np.ndarray
    size_px: tuple[int, int]


@dataclass(frozen=True)
class Valley:
    """A stretch of frames with little motion: ``start`` to ``stop`` (left out), ``frame`` its middle."""

    frame: int
    start: int
    stop: int
    level: float


@dataclass(frozen=True)
class Sight:
    """What one camera sees at one rest of the board.

    Attributes
    ----------
    rest : int
        Number of the rest; the same for all cameras.
    frame : int
        Index of the middle frame in the take.
    time_s : float
        Its time on the take's own clock.
    corners_px : ndarray (rows * columns, 2) or None
        None = no board.
    is_dark_first : bool
        See `pipeline.calibration.board.BoardSearch`.
    shake_px : float
        Way of the corners across the window of frames; NaN without a board.
    reason : str
        Why there is no board; empty with one.
    """

    rest: int
    frame: int
    time_s: float
    corners_px: np.ndarray | None
    is_dark_first: bool = False
    shake_px: float = math.nan
    reason: str = ""


def measure_motion(path: Path, report: Reporter | None = None) -> Motion:
    """Decode a take once and measure its motion (seed 000, section 6).

    Raises
    ------
    pipeline.errors.VideoError
        The take cannot be decoded.
    """
    times: list[float] = []
    raw: list[float] = []
    before: np.ndarray | None = None
    size_px = (0, 0)
    for frame in read_frames(path):
        height, width = frame.image.shape[:2]
        size_px = (width, height)
        small_size = (min(width, MOTION_WIDTH_PX), max(1, round(height * min(1.0, MOTION_WIDTH_PX / width))))
        small = cv2.resize(_to_grey(frame.image), small_size, interpolation=cv2.INTER_AREA)
        raw.append(math.nan if before is None else float(cv2.absdiff(small, before).mean()))
        before = small
        times.append(frame.time_s)
        if report is not None and len(times) % 16 == 0:
            report.check()
    if len(raw) > 1:
        raw[0] = raw[1]  # the first frame has none before it
    level = smooth(np.array(raw)) if len(raw) > 1 else np.zeros(len(raw))
    return Motion(np.array(times), level, size_px)


def _to_grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def smooth(raw: np.ndarray, window: int = SMOOTHING_FRAMES) -> np.ndarray:
    """Moving average (T,) over ``window`` frames; at the ends over those that are there."""
    kernel = np.ones(window)
    return np.convolve(raw, kernel, "same") / np.convolve(np.ones(len(raw)), kernel, "same")


def find_valleys(
    level: np.ndarray, most: int = 24, separation: int = SEPARATION_FRAMES, least_length: int = 3
) -> list[Valley]:
    """The stillest moments of a take, stillest first.

    Seed 000, section 6: local minima of the smoothed motion, widened to valleys, chosen by stillness with
    at least ``separation`` frames between any two.

    Parameters
    ----------
    level : ndarray (T,)
        Smoothed motion. NaN = not measured; no valley goes there.
    most : int
        Valleys wanted at most.
    separation : int
        Frames between the middles of two valleys, at least.
    least_length : int
        A valley shorter than this is a moment of turning round, not a rest.
    """
    filled = np.where(np.isfinite(level), level, np.inf)
    if not np.isfinite(filled).any():
        return []
    usual = float(np.median(filled[np.isfinite(filled)]))
    minima = _local_minima(filled)
    found: list[Valley] = []
    taken: list[int] = []
    for index in minima[np.argsort(filled[minima], kind="stable")]:
        valley = _widen(filled, int(index), usual)
        apart = all(abs(valley.frame - other) >= separation for other in taken)
        if apart and valley.stop - valley.start >= least_length:
            found.append(valley)
            taken.append(valley.frame)
        if len(found) == most:
            break
    return found


def _local_minima(level: np.ndarray) -> np.ndarray:
    padded = np.concatenate([[np.inf], level, [np.inf]])
    is_minimum = (padded[1:-1] <= padded[:-2]) & (padded[1:-1] <= padded[2:]) & np.isfinite(level)
    return np.flatnonzero(is_minimum)


def _widen(level: np.ndarray, index: int, usual: float) -> Valley:
    """The stretch round a minimum in which the motion stays near it."""
    low = level[index]
    limit = max(1.5 * low, low + 0.1 * max(usual - low, 0.0))
    over = np.flatnonzero(level > limit)
    start = int(over[over < index].max() + 1) if (over < index).any() else 0
    stop = int(over[over > index].min()) if (over > index).any() else len(level)
    return Valley((start + stop - 1) // 2, start, stop, float(low))


def joint_motion(motions: Sequence[Motion], offsets_s: Sequence[float]) -> Motion:
    """Motion of all takes on one clock: at each moment that of the camera that sees the most of it.

    Every take is measured by its own usual motion first, since a camera further away sees less of it.

    Parameters
    ----------
    motions : sequence of Motion
        The reference's first.
    offsets_s : sequence of float
        ``t_reference = t_take + offset_s``.

    Returns
    -------
    Motion
        At the reference's frame times, over those of which all takes have pictures.
    """
    time_s = motions[0].time_s
    levels = []
    for motion, offset_s in zip(motions, offsets_s, strict=True):
        low, high = np.percentile(motion.level, [2, 75])
        scaled = (motion.level - low) / max(high - low, 1e-9)
        levels.append(np.interp(time_s, motion.time_s + offset_s, scaled, left=np.nan, right=np.nan))
    return Motion(time_s, np.max(levels, axis=0), motions[0].size_px)


def look_at(
    path: Path, motion: Motion, rests: Iterable[tuple[int, float]], board: Checkerboard, report: Reporter
) -> list[Sight]:
    """What a camera sees of the board at given moments.

    Parameters
    ----------
    path : Path
        The camera's take.
    motion : Motion
        Its `measure_motion`.
    rests : iterable of (int, float)
        Numbers and times of the rests on the take's own clock, in s; those outside the take are left out.
    board : Checkerboard
        The board to look for.
    report : Reporter
        A checkpoint for cancelling at every rest.
    """
    sights = []
    for rest, time_s in rests:
        report.check()
        frame = int(np.argmin(np.abs(motion.time_s - time_s)))
        if abs(motion.time_s[frame] - time_s) > 0.1:
            continue
        half = WINDOW_FRAMES // 2
        frames = read_frames(path, max(frame - half, 0), frame + half + 1)
        window = {one.index: _to_grey(one.image) for one in frames}
        if not window:
            continue
        middle = min(window, key=lambda index: abs(index - frame))
        sight = Sight(rest, middle, float(motion.time_s[min(middle, len(motion.time_s) - 1)]), None)
        sights.append(_observe(sight, window, board))
    return sights


def read_grey(path: Path, frame: int) -> np.ndarray:
    """One picture of a take in grey, (H, W) uint8."""
    return _to_grey(next(iter(read_frames(path, frame, frame + 1))).image)


def _observe(sight: Sight, window: dict[int, np.ndarray], board: Checkerboard) -> Sight:
    """Find the board in the middle frame and place its corners by all frames of the window."""
    found: BoardSearch = find_board(window[sight.frame], board)
    if found.corners_px is None:
        return replace(sight, reason=found.reason)
    placed = {index: refine_corners(grey, found.corners_px, board) for index, grey in sorted(window.items())}
    whole = [corners for corners in placed.values() if corners is not None]
    shake_px = math.inf
    corners = found.corners_px
    if len(whole) == len(window):
        shake_px = float(np.median(np.linalg.norm(whole[-1] - whole[0], axis=1)))
        if shake_px <= STILL_PX:
            corners = np.mean(whole, axis=0)
    return replace(sight, corners_px=corners, is_dark_first=found.is_dark_first, shake_px=shake_px, reason="")
