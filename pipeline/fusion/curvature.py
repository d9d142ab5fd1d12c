"""The curvature of the objective: Gauss-Newton, block-tridiagonal in time.

Tangent coordinates of a frame (51): translation (3, mm), then for each of the 16 joints, in MANO's order, a
turn ``R_j exp([w]x)`` (3, rad). Frames meet only their neighbours (L_temporal), so the curvature of N
frames is N blocks of 51 x 51 beside as many off-diagonal ones: linear in N in time and memory.
It preconditions L-BFGS (`pipeline.fusion.solver`) and gives the error bars (`pipeline.fusion.uncertainty`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.fusion.kinematics import DESCENDANTS
from pipeline.fusion.objective import Objective, Pose, get_gibbs

N_TANGENT = 51

_CHUNK = 64
"""Frames whose Jacobians are held at a time: about 7 MB of them."""


@dataclass(frozen=True)
class Curvature:
    """``N_obs`` times the Gauss-Newton Hessian of the objective: the information matrix.

    Attributes
    ----------
    diagonal : ndarray (T, 51, 51)
    lower : ndarray (T - 1, 51, 51)
        ``lower[t]`` couples frame t + 1 (rows) with frame t (columns).
    joint_jacobian : ndarray (T, 63, 51)
        Of the 21 joints (world, mm) by the tangent coordinates.
    data_trace : float
        Mean over frames and axes of the points' information on a translation, mm^-2.
    """

    diagonal: np.ndarray
    lower: np.ndarray
    joint_jacobian: np.ndarray
    data_trace: float


def get_curvature(objective: Objective, pose: Pose) -> Curvature:
    """The curvature at a pose.

    For MANO the change of the surface by its pose blend shapes is left out here (some tenths of a mm a
    joint); the objective itself has it in full.
    """
    orient, hand_pose, transl = pose.to_matrices()
    rotation, bones = objective.hand.get_transforms(orient, hand_pose, transl)
    joints = objective.hand.get_joints(rotation, bones, hand_pose)
    frames, count = len(transl), objective.seen.n_observations
    features = torch.as_tensor(objective.hand.get_features())
    diagonal = torch.zeros(frames, N_TANGENT, N_TANGENT, dtype=torch.float64)
    lower = torch.zeros(max(frames - 1, 0), N_TANGENT, N_TANGENT, dtype=torch.float64)
    jacobians = torch.zeros(frames, 63, N_TANGENT, dtype=torch.float64)
    temporal = 2.0 * objective.lambda_temp * count / max(frames - 1, 1)
    data_trace = 0.0
    last: torch.Tensor | None = None
    for start in range(0, frames, _CHUNK):
        part = slice(start, min(start + _CHUNK, frames))
        jacobian = _get_feature_jacobian(objective, features, rotation[part], bones[part])
        jacobians[part] = jacobian[:, :21].reshape(-1, 63, N_TANGENT)
        data = _get_data_blocks(objective, joints[part], jacobian[:, :21], part)
        data_trace += float(data[:, :3, :3].diagonal(dim1=1, dim2=2).sum()) / (3 * frames)
        diagonal[part] += data
        skin = jacobian[:, 21:].reshape(-1, 64 * 3, N_TANGENT)
        square = temporal * (skin.transpose(1, 2) @ skin)
        number = torch.arange(part.start, part.stop)
        neighbours = (number > 0).double() + (number < frames - 1).double()
        diagonal[part] += neighbours[:, None, None] * square
        with_last = skin if last is None else torch.cat([last, skin])
        first = part.start if last is None else part.start - 1
        lower[first : part.stop - 1] = -temporal * (with_last[1:].transpose(1, 2) @ with_last[:-1])
        last = skin[-1:]
    diagonal += _get_prior_blocks(objective, hand_pose)
    # Directions that nothing determines (a lone frame's twist) need some floor to be inverted.
    diagonal += torch.diag(torch.tensor([1e-9] * 3 + [1e-3] * 48, dtype=torch.float64))
    return Curvature(diagonal.numpy(), lower.numpy(), jacobians.numpy(), data_trace)


def _get_feature_jacobian(
    objective: Objective, features: torch.Tensor, rotation: torch.Tensor, bones: torch.Tensor
) -> torch.Tensor:
    """Derivative (T, 85, 3, 51) of linear maps (85, 16, 4) of the transforms by the tangent coordinates.

    A turn of joint j about the world axis a moves what hangs on it, x, by ``a x (x - P_j)``.
    """
    affine = objective.hand.get_affine(rotation, bones)
    frames, count = len(rotation), len(features)
    below = torch.as_tensor(DESCENDANTS).double()
    by_bone = torch.einsum("rkc,tkac->trka", features, affine)
    moved = torch.einsum("jk,trka->trja", below, by_bone)
    mass = torch.einsum("jk,rk->rj", below, features[:, :, 3])
    arm = moved - mass[None, :, :, None] * bones[:, None]
    axes = rotation.transpose(2, 3)[:, None]  # (T, 1, 16, 3 axes, 3 world)
    turned = torch.linalg.cross(axes, arm[:, :, :, None, :], dim=-1)
    out = torch.zeros(frames, count, 3, N_TANGENT, dtype=torch.float64)
    shift = features[:, :, 3].sum(1)[:, None, None] * torch.eye(3, dtype=torch.float64)
    out[..., :3] = shift
    out[..., 3:] = turned.permute(0, 1, 4, 2, 3).reshape(frames, count, 3, 48)
    return out


def _get_data_blocks(
    objective: Objective, joints: torch.Tensor, jacobian: torch.Tensor, part: slice
) -> torch.Tensor:
    """``J^T W J`` (T, 51, 51) of the points."""
    cameras, seen = objective.cameras, objective.seen
    local = torch.einsum("cij,tkj->ctki", cameras.R, joints) + cameras.t_mm[:, None, None]
    z = local[..., 2].clamp(min=1.0)
    # The lens's distortion changes the scale by a few per cent: left out of the curvature.
    fx, fy = cameras.K[:, 0, 0, None, None], cameras.K[:, 1, 1, None, None]
    zero = torch.zeros_like(z)
    du = torch.stack([fx / z, zero, -fx * local[..., 0] / z**2], dim=-1)
    dv = torch.stack([zero, fy / z, -fy * local[..., 1] / z**2], dim=-1)
    rows = torch.stack([du, dv], dim=-2) @ cameras.R[:, None, None]
    weight = seen.weights[:, part] / (seen.sigma_px[:, part].square() + objective.epsilon)
    information = torch.einsum("ctkui,ctk,ctkuj->tkij", rows, weight, rows)
    flat = jacobian.reshape(len(joints), 63, N_TANGENT)
    weighted = (information @ jacobian).reshape(len(joints), 63, N_TANGENT)
    return flat.transpose(1, 2) @ weighted


def _get_prior_blocks(objective: Objective, hand_pose: torch.Tensor) -> torch.Tensor:
    """Curvature (T, 51, 51) of L_anchor and L_axes: 3 x 3 blocks by joint."""
    frames, count = len(hand_pose), objective.seen.n_observations
    sixd = get_sixd_basis(hand_pose)
    blocks = 2 * objective.lambda_anchor * count / frames * (sixd.transpose(-1, -2) @ sixd)
    g = get_gibbs(hand_pose)
    eye = torch.eye(3, dtype=torch.float64)
    slope = eye + _cross_matrix(g) + g[..., :, None] * g[..., None, :]
    inside, beyond = objective.axes.residuals(hand_pose)
    rows = torch.einsum("jai,tjik->tjak", objective.axes.axes, slope)
    weight = torch.ones_like(inside) / objective.axes.spread.square()
    weight[..., 2] += (beyond != 0).double() / objective.axes.extra**2
    prior = torch.einsum("tjai,tja,tjak->tjik", rows, weight, rows)
    blocks = blocks + objective.lambda_axes * count / frames * prior
    out = torch.zeros(frames, N_TANGENT, N_TANGENT, dtype=torch.float64)
    for joint in range(15):
        own = slice(6 + 3 * joint, 9 + 3 * joint)
        out[:, own, own] = blocks[:, joint]
    return out


def get_sixd_basis(rotation: torch.Tensor) -> torch.Tensor:
    """Derivative (..., 6, 3) of the 6D form of ``R exp([w]x)`` by w at w = 0."""
    c0, c1, c2 = rotation.unbind(-1)
    zero = torch.zeros_like(c0)
    # d c0 = w2 c1 - w1 c2 and d c1 = w0 c2 - w2 c0 in the rotation's own columns.
    first = torch.stack([zero, -c2, c1], dim=-1)
    second = torch.stack([c2, zero, -c0], dim=-1)
    return torch.cat([first, second], dim=-2)


def _cross_matrix(vector: torch.Tensor) -> torch.Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)


@dataclass(frozen=True)
class Factor:
    """Block Cholesky factor ``H = L L^T`` of a `Curvature`.

    Attributes
    ----------
    diagonal : ndarray (T, B, B)
        Lower triangular.
    lower : ndarray (T - 1, B, B)
    """

    diagonal: np.ndarray
    lower: np.ndarray

    def to_band(self) -> np.ndarray:
        """LAPACK's lower band form of L (2 B, T B), for triangular solves in one call."""
        frames, size, _ = self.diagonal.shape
        band = np.zeros((2 * size, frames, size))
        rows, columns = np.tril_indices(size)
        band[rows - columns, :, columns] = self.diagonal[:, rows, columns].T
        rows, columns = (index.reshape(-1) for index in np.indices((size, size)))
        band[size + rows - columns, :-1, columns] = self.lower[:, rows, columns].T
        return np.asfortranarray(band.reshape(2 * size, frames * size))

    def get_marginals(self) -> np.ndarray:
        """Diagonal blocks (T, B, B) of the inverse: each frame's covariance, all frames considered.

        The backward recursion of Takahashi: ``S_t = L_t^-T (1 + C_t^T S_{t+1} C_t) L_t^-1`` with C_t the
        factor's block below L_t.
        """
        diagonal, lower = torch.as_tensor(self.diagonal), torch.as_tensor(self.lower)
        eye = torch.eye(diagonal.shape[1], dtype=torch.float64)
        inverses = torch.linalg.solve_triangular(diagonal, eye.expand_as(diagonal), upper=False)
        out = torch.empty_like(diagonal)
        for t in range(len(diagonal) - 1, -1, -1):
            middle = eye if t == len(lower) else eye + lower[t].T @ out[t + 1] @ lower[t]
            out[t] = inverses[t].T @ middle @ inverses[t]
        return out.numpy()


def factorise(diagonal: np.ndarray, lower: np.ndarray) -> Factor:
    """Block Cholesky of a symmetric block-tridiagonal matrix: (T, B, B) and (T - 1, B, B)."""
    # torch, for it keeps to the threads it is given; scipy's BLAS starts a crew for every small block.
    blocks, coupling = torch.as_tensor(diagonal), torch.as_tensor(lower)
    factors, below = torch.empty_like(blocks), torch.empty_like(coupling)
    for t in range(len(blocks)):
        block = blocks[t] if t == 0 else blocks[t] - below[t - 1] @ below[t - 1].T
        factors[t] = torch.linalg.cholesky(block)
        if t < len(below):
            below[t] = torch.linalg.solve_triangular(factors[t], coupling[t].T, upper=False).T
    return Factor(factors.numpy(), below.numpy())
