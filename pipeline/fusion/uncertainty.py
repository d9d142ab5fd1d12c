"""How sure each joint is: the spread that the curvature at the optimum leaves it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
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


_LASTING = 0.5
"""A view whose typical trust (0 to 1) in a joint over a while is less contradicts the others there."""


def get_noise_scale(z: np.ndarray, robust: np.ndarray, manual: np.ndarray, frames: float) -> np.ndarray:
    """How many of its sigmas each joint's points are truly off: (T, 21), at least 1.

    The greater of two: that of the whole recording, and the joint's own about that time. A lone outlier
    counts in neither by more than it has moved the fit. But of what has lost its weight for a while nothing
    says which view is right, so there residuals count in full: the joint gets a sigma that says so, though
    the fit has settled on one of the views.

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
    use, trust, manual, squares, free = _prepare(z, robust, manual)
    if not use.any():
        return np.ones(z.shape[1:])
    lone = _take_median(np.where(use, trust, np.nan), frames) >= _LASTING
    own_trust = np.where(lone, trust, 1.0)
    here = _get_variance(own_trust, manual, squares, lambda part: _smooth(part.sum(axis=0), frames))
    return np.sqrt(np.maximum(here / free, max(get_typical_scale(z, robust, manual), 1.0) ** 2))


def get_typical_scale(z: np.ndarray, robust: np.ndarray, manual: np.ndarray) -> float:
    """How many of their sigmas the points of the whole recording are truly off; 0 where they are exact.

    The arguments are those of `get_noise_scale`; 1 without any point.
    """
    use, trust, manual, squares, free = _prepare(z, robust, manual)
    if not use.any():
        return 1.0
    everywhere = _get_variance(trust, manual, squares, lambda part: part.sum(keepdims=True))
    return float(np.sqrt(everywhere.item() / free))


def _prepare(
    z: np.ndarray, robust: np.ndarray, manual: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """What has a say, the fit's trust in it (0 to 1), manual weights and squares, all 0 where it has none;
    and the share of the points' freedom that the fit has left.
    """
    use = np.isfinite(z) & (robust > 0)
    manual, squares = np.where(use, manual, 0.0), np.where(use, np.nan_to_num(z) ** 2, 0.0)
    trust = np.divide(robust, manual, out=np.zeros(z.shape), where=use)
    total = max(2 * (manual * trust).sum(), 1e-9)
    return use, trust, manual, squares, max(1 - _FREEDOM * use.any(axis=(0, 2)).sum() / total, 0.1)


def _get_variance(
    trust: np.ndarray,
    manual: np.ndarray,
    squares: np.ndarray,
    add: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The factor by which noise of such squares (in sigmas) makes the inverse of the curvature too small.

    ``A^-1 B A^-1`` of Huber's sandwich over the curvature's ``1 / sum(w)``: with Cauchy weights w the slope
    of ``w z`` in two dimensions is on average ``w^2``. ``add`` sums (C, T, 21) over the points that share a
    factor.
    """
    weight, slope = add(manual * trust), add(manual * trust**2)
    moved = add(manual * trust**2 * squares)
    return np.divide(moved * weight, 2 * slope**2, out=np.zeros_like(moved), where=slope > 1e-6)


def _take_median(trust: np.ndarray, frames: float) -> np.ndarray:
    """Median (C, T, 21) over about ``frames`` frames of what was seen; NaN with nothing seen."""
    table = pd.DataFrame(trust.swapaxes(0, 1).reshape(trust.shape[1], -1))
    window = table.rolling(max(round(frames), 1), center=True, min_periods=1)
    return window.median().to_numpy().reshape(trust.shape[1], len(trust), -1).swapaxes(0, 1)


def _smooth(values: np.ndarray, frames: float) -> np.ndarray:
    """Mean over about ``frames`` frames (T first)."""
    return gaussian_filter1d(values, max(frames / 3.5, 1e-3), axis=0, mode="nearest")
