"""Bringing an estimate onto the truth before their distance is taken: by a root, by frame, by clip.

Which part of the error an alignment forgives is most of what papers differ in; `pipeline.evaluation.scores`
says it for each number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_POINTS = 3


@dataclass(frozen=True)
class Similarity:
    """One similarity for each of N sets of points: ``scale * R x + shift``.

    Attributes
    ----------
    scale : ndarray (N,)
    rotation : ndarray (N, 3, 3)
    shift : ndarray (N, 3)
        In the points' unit. All three are NaN where there were fewer than three points.
    """

    scale: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (N, J, 3), or (M, J, 3) where N is 1, after their similarity; NaN stays NaN."""
        turned = np.einsum("...ik,...jk->...ji", self.rotation, points)
        return self.scale[:, None, None] * turned + self.shift[:, None]


def fit_similarity(
    estimate: np.ndarray, true: np.ndarray, *, with_scale: bool = True, with_mirror: bool = False
) -> Similarity:
    """The similarity of least squares from ``estimate`` to ``true``, for each of N sets (Umeyama 1991).

    Parameters
    ----------
    estimate, true : ndarray (N, J, 3)
        Corresponding points; one that is NaN in either is left out. They must not lie on one line.
    with_scale : bool
        False keeps the estimate's size: a rigid motion.
    with_mirror : bool
        True lets the rotation be a reflection where that fits better, as FreiHAND's own code does.
    """
    seen = np.isfinite(estimate).all(axis=2) & np.isfinite(true).all(axis=2)
    weight = seen[..., None] / np.maximum(seen.sum(axis=1), 1)[:, None, None]
    a, b = np.where(seen[..., None], estimate, 0.0), np.where(seen[..., None], true, 0.0)
    centre_a, centre_b = (weight * a).sum(axis=1), (weight * b).sum(axis=1)
    a, b = a - centre_a[:, None], b - centre_b[:, None]
    u, size, vt = np.linalg.svd(np.einsum("tji,tjk->tik", weight * b, a))
    sign = np.ones_like(size)
    if not with_mirror:
        sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    spread = (weight * a**2).sum(axis=(1, 2))
    scale = (size * sign).sum(axis=1) / np.where(spread > 0, spread, 1.0) if with_scale else np.ones(len(a))
    shift = centre_b - scale[:, None] * np.einsum("tik,tk->ti", rotation, centre_a)
    enough = seen.sum(axis=1) >= MIN_POINTS
    return Similarity(
        scale=np.where(enough, scale, np.nan),
        rotation=np.where(enough[:, None, None], rotation, np.nan),
        shift=np.where(enough[:, None], shift, np.nan),
    )


def align(
    estimate: np.ndarray, true: np.ndarray, *, with_scale: bool = True, with_mirror: bool = False
) -> np.ndarray:
    """Each frame (T, J, 3) after its own best similarity onto the true one: Procrustes; NaN stays NaN.

    Frames with fewer than three common points cannot be aligned and become NaN. Points that the truth lacks
    become NaN, too: there is nothing to hold them against.
    """
    moved = fit_similarity(estimate, true, with_scale=with_scale, with_mirror=with_mirror).apply(estimate)
    return np.where(np.isfinite(true).all(axis=2, keepdims=True), moved, np.nan)


def align_clip(
    estimate: np.ndarray, true: np.ndarray, *, frames: int | None = None, with_scale: bool = True
) -> np.ndarray:
    """A whole clip (T, J, 3) after one similarity for all its frames; NaN stays NaN.

    Parameters
    ----------
    estimate, true : ndarray (T, J, 3)
        Corresponding points.
    frames : int, optional
        Fit the similarity to the first so many frames that have three common points, and apply it to all;
        by default it is fitted to all frames.
    with_scale : bool
        False: a rigid motion.
    """
    fitted = np.arange(len(true))
    if frames is not None:
        common = np.isfinite(estimate).all(axis=2) & np.isfinite(true).all(axis=2)
        fitted = np.flatnonzero(common.sum(axis=1) >= MIN_POINTS)[:frames]
    joined = [points[fitted].reshape(1, -1, 3) for points in (estimate, true)]
    return fit_similarity(joined[0], joined[1], with_scale=with_scale).apply(estimate)


def subtract_root(points: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Points (T, J, 3) seen from a root (T, 3) of each frame; all NaN where the root is."""
    return points - root[:, None]
