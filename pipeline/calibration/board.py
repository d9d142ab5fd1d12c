"""The checkerboard in one picture: search, order of the corners, and checks against false boards.

Seed 000, section 6. Corners are (rows * columns, 2) px, row by row, in the order of `board_points_mm`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.session import Checkerboard

MAX_GRID_DEVIATION = 0.15
"""Largest departure of a cell from a parallelogram, as a share of the mean spacing (seed 000, section 6)."""

SEARCH_WIDTH_PX = 640
"""Width of the first search: a board that fills a quarter of it still has squares of 16 px."""

MIN_CONTRAST = 12.0
"""Grey levels between dark and light squares below which nothing can be told."""

MAX_QUADRANT_MISMATCH = 0.6
"""Largest difference of diagonal quadrants, as a share of the difference of adjacent ones."""

MIN_PATTERN_SHARE = 0.9
"""Share of corners that must show the pattern; the rest may lie under a reflection or a thumb."""

AGREE_PX = 0.4
"""Largest difference of a corner's place between windows of two sizes that see nothing but the corner."""

REFINE_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)


@dataclass(frozen=True)
class BoardSearch:
    """What the search of one picture gave.

    Attributes
    ----------
    corners_px : ndarray (rows * columns, 2) float64, or None
        Row by row in the order of `normalise_order`; None = no board.
    is_dark_first : bool
        The square between the first four corners is dark. On a board with an even number of corners one
        way and an odd number the other, this tells a board from the same board turned by 180 degrees.
    reason : str
        Why there is no board; empty with one.
    """

    corners_px: np.ndarray | None
    is_dark_first: bool = False
    reason: str = ""


def board_points_mm(board: Checkerboard) -> np.ndarray:
    """Inner corners (rows * columns, 3) in mm in the board's own frame: x along a row, y down, z = 0."""
    grid = np.mgrid[0 : board.columns, 0 : board.rows].T.reshape(-1, 2) * board.square_mm
    return np.concatenate([grid, np.zeros((len(grid), 1))], axis=1)


def is_asymmetric(board: Checkerboard) -> bool:
    """Whether the board's colours tell it from itself turned by 180 degrees."""
    return (board.columns + board.rows) % 2 == 1


def find_board(grey: np.ndarray, board: Checkerboard) -> BoardSearch:
    """Search one picture for the board.

    Two stages: a fast search on a picture ``SEARCH_WIDTH_PX`` wide, then, if that finds nothing, the
    sector-based search (Duda and Frese 2018) there and at full size; corners are refined at full size.
    What is found must pass the pattern check, the parallelogram check and the size check, or the next
    search is tried.

    Parameters
    ----------
    grey : ndarray (H, W) uint8
        The picture.
    board : Checkerboard
        The board to look for.

    Returns
    -------
    BoardSearch
        Corners in full-size px, or the reason for there being none.
    """
    reason = "no board found"
    for corners in _candidates(grey, board):
        placed = place_corners(grey, normalise_order(corners, board), board)
        if placed is None:
            reason = "the corners cannot be placed exactly"
            continue
        refined = normalise_order(placed, board)
        reason = check_grid(grey, refined, board)
        if not reason:
            return BoardSearch(refined, _is_dark_first(grey, refined, board))
    return BoardSearch(None, reason=reason)


def _candidates(grey: np.ndarray, board: Checkerboard) -> Iterable[np.ndarray]:
    """Corners (N, 2) in full-size px by one method after the other, cheapest first."""
    scale = max(1.0, grey.shape[1] / SEARCH_WIDTH_PX)
    size = (round(grey.shape[1] / scale), round(grey.shape[0] / scale))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if scale > 1 else grey
    back = np.array([grey.shape[1] / size[0], grey.shape[0] / size[1]])
    pattern = (board.columns, board.rows)
    fast = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    found, corners = cv2.findChessboardCorners(small, pattern, flags=fast)
    if found:
        yield (corners.reshape(-1, 2) + 0.5) * back - 0.5
    found, corners = cv2.findChessboardCornersSB(small, pattern, flags=0)
    if found:
        yield (corners.reshape(-1, 2) + 0.5) * back - 0.5
    if scale > 1:
        found, corners = cv2.findChessboardCornersSB(grey, pattern, flags=0)
        if found:
            yield corners.reshape(-1, 2)


def place_corners(grey: np.ndarray, corners_px: np.ndarray, board: Checkerboard) -> np.ndarray | None:
    """Place corners (N, 2) exactly, at full size; None if one of them runs away.

    The saddle point search of `cv2.cornerSubPix` on a slightly blurred picture, in a window of 0.4
    squares: the blur takes away the bias that the pixel raster otherwise leaves (on pictures with exactly
    known corners 0.02 px remain instead of 0.05). Where a smaller window says something else, the large one
    has more in it than the corner (the board's edge, a finger): the largest window counts that agrees with
    the next smaller one, and the smallest if none does.

    Parameters
    ----------
    grey : ndarray (H, W) uint8 or float32
        The picture.
    corners_px : ndarray (rows * columns, 2)
        Row by row, to a few px.
    board : Checkerboard
        Its numbers of corners.
    """
    spacing = _smallest_spacing(corners_px, board)
    half = round(0.4 * spacing)
    if half < 2:
        return None
    margin = half + 8
    low = np.maximum(np.floor(corners_px.min(axis=0)).astype(int) - margin, 0)
    high = np.ceil(corners_px.max(axis=0)).astype(int) + margin
    blur = min(max(spacing / 30, 0.8), 1.5)
    crop = cv2.GaussianBlur(grey[low[1] : high[1], low[0] : high[0]], (0, 0), blur)
    start = np.ascontiguousarray((corners_px - low)[:, None], dtype=np.float32)
    placed = before = _saddle_points(crop, start, max(half // 2, 2))
    for size in (max(round(0.75 * half), 2), half):
        now = _saddle_points(crop, before, size)
        agrees = np.linalg.norm(now - before, axis=-1, keepdims=True) < AGREE_PX
        placed = np.where(agrees, now, placed)
        before = now
    if np.linalg.norm(placed - start, axis=-1).max() > max(0.25 * spacing, 2.0):
        return None
    return placed[:, 0].astype(np.float64) + low


def follow_corners(grey: np.ndarray, corners_px: np.ndarray, board: Checkerboard) -> np.ndarray | None:
    """Where corners (N, 2) are in a picture a few frames away, by a small window; None if it is too small."""
    half = round(0.2 * _smallest_spacing(corners_px, board))
    if half < 2:
        return None
    low = np.maximum(np.floor(corners_px.min(axis=0)).astype(int) - half - 8, 0)
    high = np.ceil(corners_px.max(axis=0)).astype(int) + half + 8
    start = np.ascontiguousarray((corners_px - low)[:, None], dtype=np.float32)
    crop = np.ascontiguousarray(grey[low[1] : high[1], low[0] : high[0]])
    return _saddle_points(crop, start, half)[:, 0].astype(np.float64) + low


def _saddle_points(grey: np.ndarray, start: np.ndarray, half: int) -> np.ndarray:
    """The saddle points (N, 1, 2) nearest to ``start``, in windows that reach ``half`` px each way."""
    return np.asarray(cv2.cornerSubPix(grey, start.copy(), (half, half), (-1, -1), REFINE_STEPS))


def _grid(corners_px: np.ndarray, board: Checkerboard) -> np.ndarray:
    return corners_px.reshape(board.rows, board.columns, 2)


def _smallest_spacing(corners_px: np.ndarray, board: Checkerboard) -> float:
    """The distance of neighbours in the direction and the part of the board where they are closest, px."""
    grid = _grid(corners_px, board)
    along = np.linalg.norm(np.diff(grid, axis=1), axis=-1)
    down = np.linalg.norm(np.diff(grid, axis=0), axis=-1)
    return float(min(np.percentile(along, 10), np.percentile(down, 10)))


def normalise_order(corners_px: np.ndarray, board: Checkerboard) -> np.ndarray:
    """Bring corners into the one order that the calibration works with.

    Detectors give a board from either end. Seed 000, section 6: with c columns and r rows the top right
    corner has index c - 1, the bottom left one (r - 1) * c; if the top right one lies lower in the picture
    than the bottom left one, the order is turned round. Before that a mirrored order is mirrored back, so
    that rows run to the right of columns as on the board itself.

    Parameters
    ----------
    corners_px : ndarray (rows * columns, 2)
        Row by row from either end.
    board : Checkerboard
        Its numbers of corners.

    Returns
    -------
    ndarray (rows * columns, 2)
        The same corners in another order.
    """
    grid = _grid(corners_px, board)
    along = (grid[:, -1] - grid[:, 0]).mean(axis=0)
    down = (grid[-1] - grid[0]).mean(axis=0)
    if along[0] * down[1] - along[1] * down[0] < 0:
        grid = grid[:, ::-1]
    top_right, bottom_left = grid[0, -1], grid[-1, 0]
    if top_right[1] > bottom_left[1]:
        grid = grid[::-1, ::-1]
    return np.ascontiguousarray(grid).reshape(-1, 2)


def check_grid(grey: np.ndarray, corners_px: np.ndarray, board: Checkerboard) -> str:
    """Why corners (N, 2) are no board of this size, in words; empty if they are one.

    The checks of seed 000, section 6 (parallelograms, intensity pattern), and one for a larger board of
    which only a part was taken.
    """
    deviation = grid_deviation(corners_px, board)
    if deviation > MAX_GRID_DEVIATION:
        return f"the corners form no regular grid (deviation {deviation:.2f}, at most {MAX_GRID_DEVIATION})"
    pattern = _pattern(grey, corners_px, board)
    inner = pattern[1:-1, 1:-1]
    if np.mean(inner) < MIN_PATTERN_SHARE:
        return "the squares do not alternate between dark and light as a checkerboard's do"
    sides = [pattern[0, 1:-1], pattern[-1, 1:-1], pattern[1:-1, 0], pattern[1:-1, -1]]
    if max(float(np.mean(side)) for side in sides) >= MIN_PATTERN_SHARE:
        return f"the board goes on beyond {board.columns} x {board.rows} inner corners"
    return ""


def grid_deviation(corners_px: np.ndarray, board: Checkerboard) -> float:
    """How far corners (N, 2) are from a grid of parallelograms: the largest deviation over the spacing.

    Seed 000, section 6: row vectors parallel within each row, column vectors parallel within each column,
    opposite sides of each cell equal. A tilted board is no such grid as a whole (perspective turns its
    rows and shrinks its far cells), but is one from cell to cell: so vectors are compared with their
    neighbours in the row, and cells by themselves. A 250 mm board tilted by 60 degrees at 500 mm stays
    below 0.1.
    """
    grid = _grid(corners_px, board)
    along, down = np.diff(grid, axis=1), np.diff(grid, axis=0)
    lengths = np.concatenate([np.linalg.norm(along, axis=-1).ravel(), np.linalg.norm(down, axis=-1).ravel()])
    spacing = float(lengths.mean())
    if spacing <= 0:
        return math.inf
    cells = np.linalg.norm(along[1:] - along[:-1], axis=-1)
    rows = _bend(along[:, :-1], along[:, 1:])
    columns = _bend(down[:-1], down[1:])
    return float(max(cells.max(), rows.max(), columns.max()) / spacing)


def _bend(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far (px) the second vectors stand off the direction of the first, and inf if they turn back."""
    length = np.maximum(np.linalg.norm(first, axis=-1), 1e-9)
    cross = np.abs(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]) / length
    return np.where((first * second).sum(axis=-1) > 0, cross, np.inf)


def _pattern(grey: np.ndarray, corners_px: np.ndarray, board: Checkerboard) -> np.ndarray:
    """Where the picture has the corner of four alternating squares: (rows + 2, columns + 2) bool.

    The grid is continued by one corner on each side. A corner has the pattern if its diagonal quadrants
    match, its adjacent quadrants differ, and dark and light change places from corner to corner.
    """
    contrast, mismatch = _quadrants(grey, _extend(_grid(corners_px, board), 2))
    parity = np.indices(contrast.shape).sum(axis=0) % 2 * 2 - 1
    signed = contrast * parity
    inner = signed[1:-1, 1:-1]
    usual = float(np.nanmedian(inner)) if np.isfinite(inner).any() else 0.0
    strong = signed * np.sign(usual) > max(MIN_CONTRAST, 0.3 * abs(usual))
    return strong & (mismatch < MAX_QUADRANT_MISMATCH * np.abs(contrast))


def _extend(grid: np.ndarray, by: int) -> np.ndarray:
    """Continue a grid (R, C, 2) by ``by`` corners on every side, with the curvature of its last three."""
    for _ in range(by):
        first, last = 3 * grid[:1] - 3 * grid[1:2] + grid[2:3], 3 * grid[-1:] - 3 * grid[-2:-1] + grid[-3:-2]
        grid = np.concatenate([first, grid, last], axis=0)
        first = 3 * grid[:, :1] - 3 * grid[:, 1:2] + grid[:, 2:3]
        last = 3 * grid[:, -1:] - 3 * grid[:, -2:-1] + grid[:, -3:-2]
        grid = np.concatenate([first, grid, last], axis=1)
    return grid


def _quadrants(grey: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contrast and mismatch of the quadrants round the inside corners of a grid (R, C, 2), in grey levels.

    Contrast (R - 2, C - 2): half the difference of the two diagonals, positive where the upper left and
    the lower right are light. Mismatch (R - 2, C - 2): the larger difference within a diagonal. The
    quadrants are sampled near the corner, since some boards' outermost squares are cut; NaN outside.
    """
    corner = grid[1:-1, 1:-1]
    along, down = (grid[1:-1, 2:] - grid[1:-1, :-2]) / 2, (grid[2:, 1:-1] - grid[:-2, 1:-1]) / 2
    means = []
    for x, y in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        samples = [
            _sample(grey, corner + x * u * along + y * v * down)
            for u, v in ((0.15, 0.15), (0.25, 0.25), (0.15, 0.3), (0.3, 0.15))
        ]
        means.append(np.mean(samples, axis=0))
    upper_left, upper_right, lower_left, lower_right = means
    contrast = ((upper_left + lower_right) - (upper_right + lower_left)) / 2
    mismatch = np.maximum(np.abs(upper_left - lower_right), np.abs(upper_right - lower_left))
    return contrast, mismatch


def _sample(grey: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Grey levels at points (R, C, 2); NaN outside the picture."""
    points = points_px.astype(np.float32)
    sample = cv2.remap(
        grey, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = (points >= 0).all(axis=-1) & (points <= np.array(grey.shape[::-1]) - 1).all(axis=-1)
    return np.where(inside, sample, np.nan)


def _is_dark_first(grey: np.ndarray, corners_px: np.ndarray, board: Checkerboard) -> bool:
    """Whether the square between the first four corners is one of the dark ones."""
    contrast, _ = _quadrants(grey, _extend(_grid(corners_px, board), 1))
    parity = 1 - np.indices(contrast.shape).sum(axis=0) % 2 * 2
    return bool(np.nanmedian(contrast * parity) < 0)


def guess_board_size(pictures: Iterable[np.ndarray], board: Checkerboard) -> tuple[int, int] | None:
    """The number of inner corners (columns, rows) of a board that seems to be there, the larger first.

    For the advice when the stated board is not found. Boards from 3 x 3 on are searched for by the
    sector-based method; the size that most pictures agree on wins. None if no picture shows a board.
    """
    votes: Counter[tuple[int, int]] = Counter()
    flags = cv2.CALIB_CB_LARGER | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_NORMALIZE_IMAGE
    for grey in pictures:
        scale = min(1.0, 2 * SEARCH_WIDTH_PX / grey.shape[1])
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found, corners, meta = cv2.findChessboardCornersSBWithMeta(small, (3, 3), flags)
        if not found:
            continue
        rows, columns = meta.shape[:2]
        size = Checkerboard(columns=columns, rows=rows, square_mm=board.square_mm)
        if not check_grid(small, normalise_order(corners.reshape(-1, 2).astype(float), size), size):
            votes[(max(columns, rows), min(columns, rows))] += 1
    return votes.most_common(1)[0][0] if votes else None
