"""Checkerboard takes: where the board rests, and what each camera sees of it there.

Seed 000, section 6 (motion valleys). A take is decoded once and made small for its motion; then only a few
frames of each rest are read again at full size, from a key frame on where one is near.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.calibration.board import find_board, follow_corners, place_corners
from pipeline.progress import Reporter
from pipeline.session import Checkerboard
from pipeline.video import find_key_frames, read_frames, read_windows

MOTION_WIDTH_PX = 160
SMOOTHING_FRAMES = 5
SEPARATION_FRAMES = 30
WINDOW_FRAMES = 5
"""Frames read of a rest: their mean has less noise, and the corners' way tells whether the board rests."""

MOST_SHIFT_S = 0.1
"""How far from a rest's middle a camera may look for the sake of a key frame: a board in hands creeps."""

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
class Rest:
    """A stretch of time in which the board rests: from ``start_s`` to ``stop_s``, ``time_s`` its middle.

    ``number`` is the same for all cameras that are asked about it.
    """

    number: int
    time_s: float
    start_s: float
    stop_s: float

    def on_clock(self, offset_s: float) -> Rest:
        """The same rest on the clock of a take with ``t_reference = t_take + offset_s``."""
        return Rest(self.number, self.time_s - offset_s, self.start_s - offset_s, self.stop_s - offset_s)


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


def measure_motion(path: Path, report: Reporter | None = None, one_thread: bool = False) -> Motion:
    """Decode a take once and measure its motion (seed 000, section 6).

    ``one_thread`` as for `pipeline.video.read_frames`.

    Raises
    ------
    pipeline.errors.VideoError
        The take cannot be decoded.
    """
    times: list[float] = []
    raw: list[float] = []
    before: np.ndarray | None = None
    size_px = (0, 0)
    for frame in read_frames(path, grey=True, one_thread=one_thread):
        height, width = frame.image.shape
        size_px = (width, height)
        small = _shrink(frame.image)
        raw.append(math.nan if before is None else float(cv2.absdiff(small, before).mean()))
        before = small
        times.append(frame.time_s)
        if report is not None and len(times) % 16 == 0:
            report.check()
    if len(raw) > 1:
        raw[0] = raw[1]  # the first frame has none before it
    level = smooth(np.array(raw)) if len(raw) > 1 else np.zeros(len(raw))
    return Motion(np.array(times), level, size_px)


def _shrink(grey: np.ndarray) -> np.ndarray:
    """The picture at `MOTION_WIDTH_PX`; of a large one every few lines, two or more for each line left."""
    height, width = grey.shape
    share = min(1.0, MOTION_WIDTH_PX / width)
    size = (round(width * share), max(1, round(height * share)))
    lines = grey[:: max(1, int(0.5 / share))]
    if lines.shape[0] % 2 == 0 and width % 2 == 0 and share < 0.25:  # halving is what OpenCV does quickest
        lines = cv2.resize(lines, (width // 2, lines.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(lines, size, interpolation=cv2.INTER_AREA))


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


def find_rests(motion: Motion, most: int, first_number: int = 0) -> list[Rest]:
    """The valleys of a motion as rests, the stillest first, numbered from ``first_number`` on."""
    time_s = motion.time_s
    return [
        Rest(
            first_number + index,
            float(time_s[valley.frame]),
            float(time_s[valley.start]),
            float(time_s[valley.stop - 1]),
        )
        for index, valley in enumerate(find_valleys(motion.level, most))
    ]


def look_at(
    path: Path, motion: Motion, rests: Iterable[Rest], board: Checkerboard, report: Reporter
) -> list[Sight]:
    """What a camera sees of the board at given rests.

    Parameters
    ----------
    path : Path
        The camera's take.
    motion : Motion
        Its `measure_motion`.
    rests : iterable of Rest
        On the take's own clock; those outside the take are left out.
    board : Checkerboard
        The board to look for.
    report : Reporter
        A checkpoint for cancelling at every rest.
    """
    is_key = find_key_frames(path)
    half = WINDOW_FRAMES // 2
    filmed = [rest for rest in rests if np.abs(motion.time_s - rest.time_s).min() <= 0.1]
    frames = [choose_frame(motion.time_s, rest, is_key) for rest in filmed]
    windows = read_windows(path, [(frame - half, frame + half + 1) for frame in frames], grey=True)
    sights = []
    for rest, frame, window in zip(filmed, frames, windows, strict=True):
        report.check()
        if not window:
            continue
        middle = min(window, key=lambda one: abs(one.index - frame))
        sight = Sight(rest.number, middle.index, middle.time_s, None)
        sights.append(_observe(sight, {one.index: one.image for one in window}, board))
    return sights


def choose_frame(time_s: np.ndarray, rest: Rest, is_key: np.ndarray) -> int:
    """The middle frame of the window that shows a rest: near its middle, and near behind a key frame.

    Decoding begins at a key frame, half a second back on average in phones' files. Of the frames within
    `MOST_SHIFT_S` of the rest's middle the one is taken that needs the fewest decoded, the nearest among
    equals; of a rest that is shorter, within itself.

    Parameters
    ----------
    time_s : ndarray (T,)
        Times of the take's frames.
    rest : Rest
        On the same clock.
    is_key : ndarray (T,) bool
        Frames at which decoding can begin.
    """
    half = WINDOW_FRAMES // 2
    distance_s = np.abs(time_s - rest.time_s)
    near = np.flatnonzero((distance_s <= MOST_SHIFT_S) & (time_s >= rest.start_s) & (time_s <= rest.stop_s))
    keys = np.flatnonzero(is_key[: len(time_s)])
    if len(near) == 0 or len(keys) == 0:
        return int(np.argmin(distance_s))
    first = np.maximum(near - half, 0)
    n_before = first - keys[np.maximum(np.searchsorted(keys, first, side="right") - 1, 0)]
    return int(near[np.lexsort((distance_s[near], n_before))[0]])


def read_grey(path: Path, frame: int) -> np.ndarray:
    """The brightness of one picture of a take, (H, W) uint8."""
    return next(iter(read_frames(path, frame, frame + 1, grey=True))).image


def _observe(sight: Sight, window: dict[int, np.ndarray], board: Checkerboard) -> Sight:
    """Find the board in the middle frame, and place its corners in the mean of the window if it rests."""
    found = find_board(window[sight.frame], board)
    if found.corners_px is None:
        return replace(sight, reason=found.reason)
    corners, shake_px = found.corners_px, math.inf
    ends = [follow_corners(window[index], corners, board) for index in (min(window), max(window))]
    if ends[0] is not None and ends[1] is not None:
        shake_px = float(np.median(np.linalg.norm(ends[1] - ends[0], axis=1)))
    if shake_px <= STILL_PX:
        mean, corner_px = _mean_round(corners, list(window.values()))
        placed = place_corners(mean, corners - corner_px, board)
        corners = corners if placed is None else placed + corner_px
    return replace(sight, corners_px=corners, is_dark_first=found.is_dark_first, shake_px=shake_px)


def _mean_round(corners_px: np.ndarray, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (h, w) float32 of the pictures round the corners, and where (2,) its first pixel lies."""
    low, high = corners_px.min(axis=0), corners_px.max(axis=0)
    margin = 0.3 * (high - low).max() + 16
    low = np.maximum(np.floor(low - margin), 0).astype(int)
    high = np.ceil(high + margin).astype(int)
    mean = np.zeros(pictures[0][low[1] : high[1], low[0] : high[0]].shape, np.float32)
    for picture in pictures:
        cv2.accumulate(picture[low[1] : high[1], low[0] : high[0]], mean)
    return mean / len(pictures), low.astype(float)
