"""One frame's mask of the hand, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.outline.background import Scene, compare_to_scene
from pipeline.outline.colour import rate_skin
from pipeline.outline.regions import PALM, fill_hull, get_cut, get_size
from pipeline.outline.results import REASONS

_SMALL_HOLE = 0.01
"""Holes smaller than this share of the mask are closed; larger ones are what one sees between fingers."""

_BAND = 2
"""Cells on either side of the outline in which the decision has to be clear."""

_BEYOND = 0.1
"""What lies farther from the points' hull than this share of the hand's size is hardly the hand's."""

_SURE = 1.0
"""Log odds from which a cell is clear."""


@dataclass(frozen=True)
class Mask:
    """A frame's mask ``cells`` (h, w) bool, the arm's line in cells ``cut`` (3,), confidence, reason."""

    cells: np.ndarray
    cut: np.ndarray
    confidence: float
    reason: int


def find_mask(
    scene: Scene, picture_bgr: np.ndarray, points: np.ndarray, gain: np.ndarray, moved: float
) -> Mask:
    """The mask of the hand whose points are given.

    Parameters
    ----------
    scene : Scene
        The part of it that the picture shows.
    picture_bgr : ndarray (h, w, 3) uint8
        The hand and what is round it.
    points : ndarray (21, 2)
        In cells of the picture.
    gain : ndarray (3,)
        Light against the scene's.
    moved : float
        Share of the cells without a hand, of the whole scene, that have changed.
    """
    difference, _ = compare_to_scene(scene, picture_bgr, gain)
    plain = np.clip(picture_bgr / gain.astype(np.float32), 0, 255).astype(np.uint8)
    odds = cv2.GaussianBlur(rate_skin(scene.colours, plain) + difference, (3, 3), 0)
    cut = get_cut(points)
    rows, columns = np.mgrid[: odds.shape[0], : odds.shape[1]]
    arm = cut[0] * columns + cut[1] * rows + cut[2] > 0
    whole, beside = _choose_part(odds > 0, points)
    cells = whole & ~arm
    if not cells.any():
        return Mask(cells, cut, 0.0, REASONS.index("mask does not lie on the points"))
    doubts = _list_doubts(scene, odds, cells, arm, points, beside, moved)
    reason = min(doubts, key=lambda number: doubts[number])
    confidence = float(np.prod(list(doubts.values())))
    return Mask(cells, cut, confidence, reason if doubts[reason] < 0.75 else 0)


def _choose_part(found: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
    """The connected part that holds most of the hand's hull, small holes closed; and how much there is
    beside it, as a share of it.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    tidy = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    n, labels, stats, _ = cv2.connectedComponentsWithStats(tidy, connectivity=4)
    if n < 2:
        return np.zeros_like(found), 0.0
    hull = fill_hull(found.shape, points, 0.0) > 0
    inside = np.bincount(labels[hull], minlength=n)
    inside[0] = 0
    if not inside.any():
        return np.zeros_like(found), 0.0
    chosen = int(inside.argmax())
    # Fingers that something thin crosses are parts of their own, within the hull.
    size = stats[:, cv2.CC_STAT_AREA]
    ours = (inside > 0.6 * size) & (size > 0.002 * hull.sum())
    ours[chosen], ours[0] = True, False
    others = size[1:][~ours[1:]].sum()
    part = ours[labels]
    return _close_holes(part), float(others / max(part.sum(), 1))


def _close_holes(part: np.ndarray) -> np.ndarray:
    n, labels, stats, _ = cv2.connectedComponentsWithStats((~part).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < _SMALL_HOLE * part.sum()
    small[0] = False  # the part itself
    return part | small[labels] if n > 1 else part


def _list_doubts(
    scene: Scene,
    odds: np.ndarray,
    cells: np.ndarray,
    arm: np.ndarray,
    points: np.ndarray,
    beside: float,
    moved: float,
) -> dict[int, float]:
    """By number of the reason: 1 = no doubt, 0 = no trust."""
    kernel = np.ones((3, 3), np.uint8)
    mask = cells.astype(np.uint8)
    wide = cv2.dilate(mask, kernel, iterations=_BAND + 1) > 0
    near = cv2.dilate(mask, kernel, iterations=1) > 0
    inner = cells & ~(cv2.erode(mask, kernel, iterations=_BAND + 1) > 0)
    rim = cells & ~(cv2.erode(mask, kernel, iterations=1) > 0)
    outer = wide & ~near & ~arm
    clear = 0.5 * float((odds[inner & ~rim] > _SURE).mean() if (inner & ~rim).any() else 0.0)
    clear += 0.5 * float((odds[outer] < -_SURE).mean() if outer.any() else 0.0)
    unknown = float((~scene.known[outer]).mean()) if outer.any() else 1.0
    palm = np.round(points[list(PALM)]).astype(int).clip(0, np.array(cells.shape[::-1]) - 1)
    fat = cv2.dilate(
        (cells | arm).astype(np.uint8), kernel, iterations=max(round(0.02 * get_size(points)), 1)
    )
    on = float((fat[palm[:, 1], palm[:, 0]] > 0).mean())
    size = get_size(points)
    hull = fill_hull(cells.shape, points, 0.06 * size)
    filled = cells.sum() / max(float(hull.sum()), 1.0)
    # A finger that the network misread sticks out of its points; another hand does with much more.
    beyond = float((cells & (fill_hull(cells.shape, points, _BEYOND * size) == 0)).sum() / cells.sum())
    return {
        REASONS.index("camera or scene moved"): _fall(moved, 0.08, 0.3),
        REASONS.index("skin and background too alike"): 1 - _fall(clear, 0.6, 0.9),
        REASONS.index("hand never away"): 1 - 0.7 * (1 - _fall(unknown, 0.3, 0.8)),
        REASONS.index("another hand or arm beside"): _fall(beside, 0.15, 0.6) * _fall(beyond, 0.12, 0.25),
        REASONS.index("mask does not lie on the points"): (1 - _fall(on, 0.5, 0.95))
        * (1 - _fall(filled, 0.3, 0.6)),
    }


def _fall(value: float, start: float, end: float) -> float:
    """1 up to ``start``, 0 from ``end`` on, straight between."""
    return float(np.clip((end - value) / (end - start), 0.0, 1.0))
