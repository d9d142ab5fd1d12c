"""Where in a picture a hand and its arm may be, by the hand's points: on a grid of cells."""

from __future__ import annotations

import cv2
import numpy as np

PALM = (0, 1, 5, 9, 13, 17)
"""Wrist, thumb's root and knuckles: what a network sees right even where it misreads the fingers."""

KNUCKLES = (5, 9, 13, 17)

_ARM_WIDTH = 0.45
"""Width of the strip in which the arm may lie, as a share of the hand's size."""

_WRIST_BEYOND = 0.06
"""The hand ends this share of the palm's length beyond the wrist joint."""


def get_size(points_px: np.ndarray) -> float:
    """The hand's size in px: the longer side of its points' (21, 2) box."""
    return float((points_px.max(axis=0) - points_px.min(axis=0)).max())


def get_cut(points_px: np.ndarray) -> np.ndarray:
    """The line (3,) beyond which the arm begins, ``a x + b y + c > 0``, from points (21, 2)."""
    wrist, knuckles = points_px[0], points_px[list(KNUCKLES)].mean(axis=0)
    along = wrist - knuckles
    length = float(np.linalg.norm(along))
    along = along / max(length, 1e-6)
    return np.array([*along, -along @ wrist - _WRIST_BEYOND * length])


def fill_hull(shape: tuple[int, int], points: np.ndarray, margin: float) -> np.ndarray:
    """Cells (rows, columns) uint8 0 or 1 of the convex hull of points (n, 2), widened by ``margin`` cells."""
    out = np.zeros(shape, np.uint8)
    hull = cv2.convexHull(np.round(points).astype(np.int32))
    cv2.fillConvexPoly(out, hull, 1)
    if margin >= 1:
        cv2.polylines(out, [hull], True, 1, 2 * round(margin) + 1)
    return out


def fill_arm(shape: tuple[int, int], points: np.ndarray, size: float) -> np.ndarray:
    """Cells (rows, columns) uint8 0 or 1 where the arm may be: a strip on from the wrist."""
    out = np.zeros(shape, np.uint8)
    wrist, knuckles = points[0], points[list(KNUCKLES)].mean(axis=0)
    along = (wrist - knuckles) / max(float(np.linalg.norm(wrist - knuckles)), 1e-6)
    end = wrist + 6.0 * size * along
    start, end = (tuple(int(v) for v in np.round(p)) for p in (wrist, end))
    cv2.line(out, start, end, 1, max(round(_ARM_WIDTH * 2 * size), 1))
    return out


def fill_palm(shape: tuple[int, int], points: np.ndarray, size: float) -> np.ndarray:
    """Cells (rows, columns) uint8 0 or 1 well inside the palm."""
    palm = points[list(PALM)]
    middle = palm.mean(axis=0)
    return fill_hull(shape, middle + 0.85 * (palm - middle), 0.0)
