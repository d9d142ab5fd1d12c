"""A person's hand in a posture that is given by its angles: the way back from angles to the hand model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import MANO_POSE_JOINTS

if TYPE_CHECKING:
    from pipeline.hand.model import HandModel

_STEP_RAD = 1e-3
_REST_WEIGHT = 0.02
"""Twenty angles do not fix 45 rotations: the rest, such as a finger's twist, stays near the flat hand's."""


@dataclass(frozen=True)
class Posture:
    """A right hand at the model's own place.

    Attributes
    ----------
    vertices_mm : ndarray (V, 3)
    joints_mm : ndarray (21, 3)
    largest_error_deg : float
        Farthest that one of its 20 angles is from what was asked for.
    """

    vertices_mm: np.ndarray
    joints_mm: np.ndarray
    largest_error_deg: float


def pose_by_angles(model: HandModel, betas: np.ndarray, degrees: np.ndarray) -> Posture:
    """Bend a person's hand until its angles are those given, as near as the hand's joints allow.

    Parameters
    ----------
    model : HandModel
        Whose right hand.
    betas : ndarray (10,)
        The person's shape.
    degrees : ndarray (20,)
        Signed angles in the order of `pipeline.hand.angles.ANGLES`; all finite.

    Returns
    -------
    Posture
        The same for a left hand, mirrored: angles are those of mirrored left hands.

    Raises
    ------
    ValueError
        An angle is not finite, or there are not 20.
    """
    from scipy.optimize import least_squares  # here and below, since pages import this package

    wanted = np.radians(np.asarray(degrees, dtype=float))
    if wanted.shape != (len(ANGLES),) or not np.isfinite(wanted).all():
        raise ValueError("A posture needs every one of its angles")
    n_turns = 3 * len(MANO_POSE_JOINTS)

    def measure(turns: np.ndarray) -> np.ndarray:
        """Angles (N, 20) in rad of rotations (N, 45); undefined ones as far off as can be."""
        angles = compute_angles(_pose(model, betas, turns)[1].astype(float), "right")
        return np.where(np.isfinite(angles), angles, np.pi)

    def miss(turns: np.ndarray) -> np.ndarray:
        return np.concatenate([measure(turns[None])[0] - wanted, _REST_WEIGHT * turns])

    def slope(turns: np.ndarray) -> np.ndarray:
        moved = measure(
            np.concatenate([turns + _STEP_RAD * np.eye(n_turns), turns - _STEP_RAD * np.eye(n_turns)])
        )
        by_turn = (moved[:n_turns] - moved[n_turns:]).T / (2 * _STEP_RAD)
        return np.concatenate([by_turn, _REST_WEIGHT * np.eye(n_turns)])

    found = least_squares(miss, np.zeros(n_turns), jac=slope, max_nfev=60, xtol=1e-6, ftol=1e-8)
    vertices, joints = _pose(model, betas, found.x[None])
    error = np.abs(measure(found.x[None])[0] - wanted).max()
    return Posture(vertices[0], joints[0], float(np.degrees(error)))


def _pose(model: HandModel, betas: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, V, 3) and joints (N, 21, 3) in mm of rotation vectors (N, 45)."""
    import roma
    import torch

    count = len(turns)
    vectors = torch.from_numpy(np.ascontiguousarray(turns.reshape(count, len(MANO_POSE_JOINTS), 3)))
    pose = roma.rotvec_to_rotmat(vectors).numpy()
    orient = np.broadcast_to(np.eye(3), (count, 3, 3))
    return model.pose_arrays(betas, orient, pose, np.zeros((count, 3)))
