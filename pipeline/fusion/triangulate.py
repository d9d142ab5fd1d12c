"""Points in space from points in several pictures: weighted DLT, refined to the smallest reprojection."""

from __future__ import annotations

import numpy as np

_ROUNDS = 6


def triangulate(points_norm: np.ndarray, projections: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted linear triangulation (DLT; Hartley and Zisserman 12.2).

    Parameters
    ----------
    points_norm : ndarray (C, ..., 2)
        Undistorted normalised image coordinates by camera; NaN = not seen.
    projections : ndarray (C, 3, 4)
        ``[R | t]`` of each camera, t in mm.
    weights : ndarray (C, ...)
        Weight of each row, ``1 / sigma`` in normalised units; 0 or NaN leaves a view out.

    Returns
    -------
    ndarray (..., 3)
        World points in mm; NaN where fewer than two views have weight.
    """
    seen = np.isfinite(points_norm).all(axis=-1) & (np.nan_to_num(weights) > 0)
    weight = np.where(seen, np.nan_to_num(weights), 0.0)
    points = np.where(seen[..., None], points_norm, 0.0)
    # u * P3 - P1 = 0 and v * P3 - P2 = 0, stacked over cameras.
    shape = (-1, *(1,) * (points.ndim - 2), 1, 4)
    rows = points[..., None] * projections[:, 2].reshape(shape) - _rows(projections, points.ndim)
    rows = rows * weight[..., None, None]
    rows = np.moveaxis(rows, 0, -3).reshape(*points.shape[1:-1], -1, 4)
    normal = np.einsum("...ki,...kj->...ij", rows, rows)
    out = np.full((*points.shape[1:-1], 3), np.nan)
    enough = seen.sum(axis=0) >= 2
    if enough.any():
        a, b = normal[enough][:, :3, :3], normal[enough][:, :3, 3]
        # Near-parallel rays make the system close to singular; the tiny ridge keeps it solvable.
        ridge = 1e-12 * np.trace(a, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        out[enough] = -np.linalg.solve(a + ridge, b[..., None])[..., 0]
    return out


def _rows(projections: np.ndarray, dimensions: int) -> np.ndarray:
    return projections[:, :2].reshape(-1, *(1,) * (dimensions - 2), 2, 4)


def project_norm(points_mm: np.ndarray, projections: np.ndarray) -> np.ndarray:
    """Normalised image coordinates (C, ..., 2) of world points (..., 3) in mm; NaN behind a camera."""
    camera = np.einsum("cij,...j->c...i", projections[:, :, :3], points_mm)
    camera = camera + projections[:, :, 3].reshape(-1, *(1,) * (points_mm.ndim - 1), 3)
    depth = np.where(camera[..., 2:] > 0, camera[..., 2:], np.nan)
    return camera[..., :2] / depth


def triangulate_robust(
    points_norm: np.ndarray,
    projections: np.ndarray,
    sigma_norm: np.ndarray,
    weights: np.ndarray | None = None,
    robust_sigmas: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate so that views which contradict the others lose their say.

    Linear triangulation, reweighted a few times by depth (so that the error is one in the picture, not
    an algebraic one) and by Cauchy weights of the residual in sigmas.

    Parameters
    ----------
    points_norm : ndarray (C, ..., 2)
        Undistorted normalised image coordinates by camera; NaN = not seen.
    projections : ndarray (C, 3, 4)
        ``[R | t]`` of each camera, t in mm.
    sigma_norm : ndarray (C, ...)
        Standard deviation in normalised units.
    weights : ndarray (C, ...), optional
        Trust in each view, 0 to 1; by default 1.
    robust_sigmas : float
        Residual, in sigmas, at which a view counts half.

    Returns
    -------
    points_mm : ndarray (..., 3)
        NaN where fewer than two views see the point.
    residual : ndarray (C, ...)
        Reprojection residual in sigmas; NaN = not seen.
    """
    trust = np.ones_like(sigma_norm) if weights is None else np.broadcast_to(weights, sigma_norm.shape)
    base = np.sqrt(np.nan_to_num(trust)) / np.where(np.isfinite(sigma_norm), sigma_norm, np.inf)
    row_weight = base.copy()
    points = triangulate(points_norm, projections, row_weight)
    residual = np.full(sigma_norm.shape, np.nan)
    for _ in range(_ROUNDS):
        residual = np.linalg.norm(project_norm(points, projections) - points_norm, axis=-1) / sigma_norm
        depth = np.einsum("ci,...i->c...", projections[:, 2, :3], points)
        depth = depth + projections[:, 2, 3].reshape(-1, *(1,) * (points.ndim - 1))
        robust = 1.0 / np.sqrt(1.0 + np.nan_to_num(residual, nan=1e3) ** 2 / robust_sigmas**2)
        row_weight = np.nan_to_num(base * robust / np.where(depth > 0, depth, np.nan))
        points = triangulate(points_norm, projections, row_weight)
    residual = np.linalg.norm(project_norm(points, projections) - points_norm, axis=-1) / sigma_norm
    return points, residual
