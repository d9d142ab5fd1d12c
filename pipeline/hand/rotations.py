"""Rotations as the solver holds them, and the one place where left hands are mirrored."""

from __future__ import annotations

import numpy as np
import roma
import torch


def encode_sixd(rotation: torch.Tensor) -> torch.Tensor:
    """First two columns of a rotation matrix, as seed 000 section 7 and Zhou et al. 2019.

    Parameters
    ----------
    rotation : Tensor (..., 3, 3)
        Proper rotation matrices.

    Returns
    -------
    Tensor (..., 6)
        ``[R[:, 0], R[:, 1]]``.
    """
    return torch.cat([rotation[..., :, 0], rotation[..., :, 1]], dim=-1)


def decode_sixd(sixd: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (..., 3, 3) from 6D (..., 6) by Gram-Schmidt: the inverse of `encode_sixd`."""
    columns = torch.stack([sixd[..., :3], sixd[..., 3:]], dim=-1)
    return roma.special_gramschmidt(columns)


def mirror_points(points: np.ndarray) -> np.ndarray:
    """Mirror points (..., 3) at the plane x = 0: a left hand becomes a right one, and back."""
    return points * np.array([-1.0, 1.0, 1.0], dtype=points.dtype)


def mirror_rotations(rotation: np.ndarray) -> np.ndarray:
    """Mirror rotation matrices (..., 3, 3) at the plane x = 0: ``S R S`` with S = diag(-1, 1, 1)."""
    signs = np.array([-1.0, 1.0, 1.0], dtype=rotation.dtype)
    return signs[:, None] * rotation * signs[None, :]
