"""How sure each joint is: the spread that the curvature at the optimum leaves it."""

from __future__ import annotations

import numpy as np

from pipeline.fusion.curvature import Curvature, factorise


def get_joint_sigma(curvature: Curvature, noise_scale: float, floor_mm: float) -> np.ndarray:
    """Standard deviation (T, 21) in mm, per axis, of each joint (Laplace's approximation).

    The inverse of the curvature of all frames together is the covariance of their tangent coordinates;
    each frame's block of it, carried through the joints' Jacobian, is that of its joints.

    Parameters
    ----------
    curvature : Curvature
        At the optimum, with the weights that found it.
    noise_scale : float
        Square root of the residuals' chi-square a degree of freedom: the points' true noise in their sigmas.
    floor_mm : float
        Added in quadrature: what the model itself is not sure of.
    """
    covariance = factorise(curvature.diagonal, curvature.lower).get_marginals()
    frames = len(covariance)
    jacobian = curvature.joint_jacobian
    spread = np.einsum("tri,tij,trj->tr", jacobian, covariance, jacobian, optimize=True)
    per_axis = spread.reshape(frames, 21, 3).mean(axis=2)
    return np.sqrt(noise_scale**2 * per_axis + floor_mm**2)
