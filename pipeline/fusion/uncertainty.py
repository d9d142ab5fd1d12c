"""How sure each joint is: the spread that the curvature at the optimum leaves it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.fusion.curvature import Curvature
from pipeline.fusion.tridiagonal import factorise


def get_joint_sigma(curvature: Curvature, noise_scale: np.ndarray, floor_mm: float) -> np.ndarray:
    """Standard deviation (T, 21) in mm, per axis, of each joint (Laplace's approximation).

    The inverse of the curvature of all frames together is the covariance of their tangent coordinates;
    each frame's block of it, carried through the joints' Jacobian, is that of its joints.

    Parameters
    ----------
    curvature : Curvature
        At the optimum, with the weights that found it.
    noise_scale : ndarray (T, 21)
        The points' true noise in their sigmas, from `get_noise_scale`.
    floor_mm : float
        Added in quadrature: what the model itself is not sure of.
    """
    covariance = factorise(curvature.diagonal, curvature.lower).get_marginals()
    # Frame by frame: a whole recording's products at once would be the fit's greatest need of memory.
    spread = [
        ((rows @ c) * rows).sum(axis=1) for rows, c in zip(curvature.joint_jacobian, covariance, strict=True)
    ]
    per_axis = np.reshape(spread, (-1, 21, 3)).mean(axis=2)
    return np.sqrt(noise_scale**2 * per_axis + floor_mm**2)


_FREEDOM = 26.0
"""Ways in which a real hand moves: place 3, orientation 3, four a finger. The fit takes so many numbers of
a frame's points, whatever the model could turn beside."""


def get_noise_scale(z: np.ndarray, robust: np.ndarray, manual: np.ndarray, frames: float) -> np.ndarray:
    """How many of its sigmas each joint's points are truly off: (T, 21), at least 1.

    The greater of two roots of chi-square a degree of freedom: that of the whole recording, as the fit weighs
    it, and the joint's own about that time without robust weights. So a joint on which the views contradict
    each other gets a sigma that says so, though the fit has settled on one of them.

    Parameters
    ----------
    z : ndarray (C, T, 21)
        Residuals in sigmas; NaN = not seen.
    robust : ndarray (C, T, 21)
        Weights of the fit.
    manual : ndarray (C, T, 21)
        Manual weights.
    frames : float
        Over how many frames an estimator's errors hang together.
    """
    use = np.isfinite(z) & (robust > 0)
    if not use.any():
        return np.ones(z.shape[1:])
    weights, squares = np.where(use, robust, 0.0), np.where(use, np.nan_to_num(z) ** 2, 0.0)
    total = 2 * weights.sum()
    degrees = max(total - _FREEDOM * use.any(axis=(0, 2)).sum(), 0.1 * total)
    everywhere = (weights * squares).sum() / degrees
    trust = np.where(use, manual, 0.0)
    own = _smooth((trust * squares).sum(axis=0), frames)
    points = 2 * _smooth(trust.sum(axis=0), frames) * degrees / total
    here = np.divide(own, points, out=np.zeros_like(own), where=points > 1e-6)
    return np.sqrt(np.maximum(np.maximum(here, everywhere), 1.0))


def _smooth(values: np.ndarray, frames: float) -> np.ndarray:
    """Mean over about ``frames`` frames (T first)."""
    return gaussian_filter1d(values, max(frames / 3.5, 1e-3), axis=0, mode="nearest")
