"""Where two cameras stand to each other from the points of a hand that both saw, without any board.

Essential matrices of all instants' points together give most candidates; a hand is nearly flat and small for
its distance, so they are joined by what such a scene can be mistaken for: its relief turned inside out
(the bas-relief ambiguity). Which candidate is true is told by a short refinement, and by the hand itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

LEAST_POINTS = 60
_SUBSETS = 2
_MIRROR = np.diag([1.0, 1.0, -1.0])
_SAME_TURN_DEG = 5.0
_ORBIT_DEG = 45.0


def propose_turns(
    a: np.ndarray, b: np.ndarray, sigma: float, random: np.random.Generator
) -> list[np.ndarray]:
    """Candidates for the rotation from camera a to camera b.

    Parameters
    ----------
    a, b : ndarray (N, 21, 2)
        Normalised image coordinates of the same points at the same instants; NaN = not seen.
    sigma : float
        Their usual error, in the same units.
    random : Generator
        Draws subsets of the instants.

    Returns
    -------
    list of ndarray (3, 3)
        ``x_b = R x_a + t``; no two within 5 degrees of each other. Empty with too few points.
    """
    found: list[np.ndarray] = []
    for rows in _draw_subsets(len(a), random):
        both = np.isfinite(a[rows]).all(axis=-1) & np.isfinite(b[rows]).all(axis=-1)
        x, y = a[rows][both], b[rows][both]
        if len(x) < LEAST_POINTS:
            continue
        for E in _find_essentials(x, y, sigma):
            first, second, _ = cv2.decomposeEssentialMat(E)
            found += [first, second]
    # A hand that turns inside out in depth looks the same from afar.
    found += [_MIRROR @ R @ _MIRROR for R in found]
    kept: list[np.ndarray] = []
    for R in found:
        if np.trace(R) > -0.9 and all(angle_deg(R @ other.T) > _SAME_TURN_DEG for other in kept):
            kept.append(R)
    return kept


def _draw_subsets(n: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    yield np.arange(n)
    for _ in range(_SUBSETS):
        yield np.sort(random.choice(n, size=max(n // 3, min(n, 8)), replace=False))


def _find_essentials(x: np.ndarray, y: np.ndarray, sigma: float) -> Iterator[np.ndarray]:
    cv2.setRNGSeed(1)
    for method, threshold in ((cv2.RANSAC, 2 * sigma), (cv2.LMEDS, sigma)):
        E, _ = cv2.findEssentialMat(x, y, np.eye(3), method=method, prob=0.999, threshold=threshold)
        if E is not None and E.shape == (3, 3):
            yield E


def angle_deg(R: np.ndarray) -> float:
    """Angle of a rotation (3, 3) in degrees."""
    sine = np.linalg.norm(R - R.T) / np.sqrt(8)
    return float(np.degrees(np.arctan2(sine, (np.trace(R) - 1) / 2)))


def place_by_hand(
    turn: np.ndarray, a: np.ndarray, b: np.ndarray, size_a: np.ndarray, size_b: np.ndarray, hand_mm: float
) -> np.ndarray:
    """Translation (3,) in mm that puts the hand, at the distance its size tells, onto both cameras' rays.

    Parameters
    ----------
    turn : ndarray (3, 3)
        Rotation from a to b.
    a, b : ndarray (N, 21, 2)
        Normalised image coordinates.
    size_a, size_b : ndarray (N,)
        The hand's size in the same units.
    hand_mm : float
        And in mm.
    """
    centres = []
    for points, size in ((a, size_a), (b, size_b)):
        ray = np.concatenate([np.nanmean(points, axis=1), np.ones((len(points), 1))], axis=1)
        centres.append(ray * (hand_mm / size)[:, None])
    return np.nanmedian(centres[1] - centres[0] @ turn.T, axis=0)


def resect(joints_mm: np.ndarray, points: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Pose (R, t in mm) of a camera that sees joints (N, 21, 3) at normalised points (N, 21, 2), or None."""
    both = np.isfinite(joints_mm).all(axis=-1) & np.isfinite(points).all(axis=-1)
    if both.sum() < LEAST_POINTS:
        return None
    # OpenCV's iterations stop at steps that are small in px
    focal = 1000.0
    cv2.setRNGSeed(1)
    found, rvec, tvec, _ = cv2.solvePnPRansac(
        joints_mm[both],
        points[both] * focal,
        np.diag([focal, focal, 1.0]),
        None,
        iterationsCount=200,
        reprojectionError=float(max(4 * sigma * focal, 2.0)),
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or float(tvec[2, 0]) <= 0:
        return None
    return cv2.Rodrigues(rvec)[0], tvec.ravel()
