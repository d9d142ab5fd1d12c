"""The curvature of the objective, block-tridiagonal in time.

Tangent coordinates of a frame (51): translation (3, mm), then for each of the 16 joints, in MANO's order, a
turn ``R_j exp([w]x)`` (3, rad). Frames meet only their neighbours (L_temporal), so the curvature of N
frames is N blocks of 51 x 51 beside as many off-diagonal ones: linear in N in time and memory.
Its inverse makes the solver's steps (`pipeline.fusion.solver`) and the error bars
(`pipeline.fusion.uncertainty`).

A turn of joint j by w about the world's axes moves what hangs on it, x, by ``w x u`` with its arm
``u = x - P_j``. All blocks are worked out in turns about the world's axes, where they are sums of products
of arms, and brought to the joints' own axes at the end (`_get_axes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.fusion.kinematics import DESCENDANTS
from pipeline.fusion.objective import Cameras, Objective, Pose, get_gibbs, reprojection_loss
from pipeline.hand.joints import MANO_PARENTS

_CHUNK = 64
"""Frames whose Jacobians are held at a time: about 7 MB of them."""

_LEAST_SHARE = 0.15
"""What bending must leave of a direction's Gauss-Newton curvature."""


@dataclass(frozen=True)
class Curvature:
    """``N_obs`` times the Hessian of the objective; B = 3 + 3 x turning joints, 51 for all 16.

    Attributes
    ----------
    diagonal : ndarray (T, B, B)
    lower : ndarray (T - 1, B, B)
        ``lower[t]`` couples frame t + 1 (rows) with frame t (columns).
    joint_jacobian : ndarray (T, 63, B)
        Of the 21 joints (world, mm) by the tangent coordinates.
    data_trace : float
        Mean over frames and axes of the points' information on a translation, mm^-2.
    """

    diagonal: np.ndarray
    lower: np.ndarray
    joint_jacobian: np.ndarray
    data_trace: float


def get_curvature(objective: Objective, pose: Pose, turning: int = 16, bending: bool = False) -> Curvature:
    """The curvature at a pose: Gauss-Newton's, the information matrix.

    For MANO the change of the surface by its pose blend shapes is left out here (some tenths of a mm a
    joint); the objective itself has it in full.

    Parameters
    ----------
    objective : Objective
        Whose curvature.
    pose : Pose
        Where.
    turning : int
        By the coordinates of the first so many joints: 1 is the hand as a whole.
    bending : bool
        Add what Gauss-Newton leaves out, the residuals times the bending of the joints' paths, as far as it
        leaves every direction some of its curvature. With it a few steps get there where points are noisy.
    """
    orient, hand_pose, transl = pose.to_matrices()
    rotation, bones = objective.hand.get_transforms(orient, hand_pose, transl)
    joints = objective.hand.get_joints(rotation, bones, hand_pose)
    features = torch.as_tensor(objective.hand.get_features())
    frames, size, count = len(transl), 3 + 3 * turning, objective.seen.n_observations
    forces = _get_forces(objective, joints) if bending else None
    temporal = 2.0 * objective.lambda_temp * count / max(frames - 1, 1)
    # Directions that nothing determines (a lone frame's twist) need some floor to be inverted.
    floor = torch.diag(torch.tensor([1e-9] * 3 + [1e-3] * (size - 3), dtype=torch.float64))
    diagonal = torch.empty(frames, size, size, dtype=torch.float64)
    lower = torch.empty(max(frames - 1, 0), size, size, dtype=torch.float64)
    jacobians = torch.empty(frames, 63, size, dtype=torch.float64)
    data_trace = 0.0
    for start in range(0, frames, _CHUNK):
        part = slice(start, min(start + _CHUNK, frames))
        wide = slice(start, min(start + _CHUNK + 1, frames))  # with the next chunk's first frame
        own = slice(0, part.stop - part.start)
        axes = _get_axes(rotation[wide, :turning])
        arms = _get_arms(objective, features, rotation[wide], bones[wide], turning)
        jacobian = _get_joint_jacobian(arms[own, ..., :21])
        block = _get_data_blocks(objective, joints[part], jacobian, part)
        data_trace += float(block[:, :3, :3].diagonal(dim1=1, dim2=2).sum()) / (3 * frames)
        block += floor
        if objective.outline is not None:
            block += _get_outline_blocks(objective, rotation[part], bones[part], turning, start)
        if turning == 16:
            block += _get_prior_blocks(objective, hand_pose[part], rotation[part])
        if forces is not None:
            block += _limit_bending(block, _get_bending(arms[own, ..., :21], forces[part]))
        skin, mass = arms[..., 21:], features[21:, :, 3].sum(1)
        number = torch.arange(part.start, part.stop)
        neighbours = (number > 0).double() + (number < frames - 1).double()
        square = _get_skin_blocks(skin[own], skin[own], mass)
        block += square.mul_(temporal * neighbours[:, None, None])
        beside = _get_skin_blocks(skin[1:], skin[:-1], mass).mul_(-temporal)
        torch.matmul(axes[own].mT @ block, axes[own], out=diagonal[part])
        torch.matmul(axes[1:].mT @ beside, axes[:-1], out=lower[wide.start : wide.stop - 1])
        torch.matmul(jacobian.transpose(1, 3).flatten(1, 2), axes[own], out=jacobians[part])
    return Curvature(diagonal.numpy(), lower.numpy(), jacobians.numpy(), data_trace)


def _get_axes(rotation: torch.Tensor) -> torch.Tensor:
    """The joints' own axes (T, J, 3, 3), in the world, as columns of (T, 3 + 3 J, 3 + 3 J)."""
    frames, turning = rotation.shape[:2]
    out = torch.zeros(frames, 3 + 3 * turning, 3 + 3 * turning, dtype=torch.float64)
    out[:, :3, :3] = torch.eye(3, dtype=torch.float64)
    for joint in range(turning):
        own = slice(3 + 3 * joint, 6 + 3 * joint)
        out[:, own, own] = rotation[:, joint]
    return out


def _get_arms(
    objective: Objective, features: torch.Tensor, rotation: torch.Tensor, bones: torch.Tensor, turning: int
) -> torch.Tensor:
    """Arms (T, J, 3, F) from each joint to what hangs on it of linear maps (F, 16, 4) of the transforms."""
    affine = objective.hand.get_affine(rotation, bones).transpose(0, 1)
    moved = (affine.flatten(1, 2) @ features.permute(1, 2, 0)).unflatten(1, (len(rotation), 3))
    for bone in range(15, 0, -1):
        moved[MANO_PARENTS[bone]] += moved[bone]
    mass = torch.as_tensor(DESCENDANTS[:turning]).double() @ features[:, :, 3].T
    shift = mass[:, None] * bones[:, :turning, :, None]
    return torch.sub(moved[:turning].transpose(0, 1), shift, out=torch.empty_like(shift))


def _get_joint_jacobian(arms: torch.Tensor) -> torch.Tensor:
    """Derivative (T, 3 + 3 J, 3, 21) of the 21 joints, world axes, from their arms (T, J, 3, 21)."""
    frames, turning, _, count = arms.shape
    out = torch.zeros(frames, 3 + 3 * turning, 3, count, dtype=torch.float64)
    out[:, :3] = torch.eye(3, dtype=torch.float64)[..., None]
    for turn, moved, arm in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        torch.neg(arms[:, :, arm], out=out[:, 3 + turn :: 3, moved])
        out[:, 3 + turn :: 3, arm] = arms[:, :, moved]
    return out


def _get_skin_blocks(arms: torch.Tensor, others: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """``J^T J'`` (T, 3 + 3 J, 3 + 3 J) of all vertices, world axes, from the arms (T, J, 3, 64) of two poses.

    Without J itself, by ``(a x u) . (b x v) = (a . b)(u . v) - (a . v)(u . b)``.
    """
    frames, turning = arms.shape[:2]
    products = arms.flatten(1, 2) @ others.flatten(1, 2).mT
    products = products.view(frames, turning, 3, turning, 3)
    out = torch.empty(frames, 3 + 3 * turning, 3 + 3 * turning, dtype=torch.float64)
    out[:, :3, :3] = mass.square().sum() * torch.eye(3, dtype=torch.float64)
    out[:, :3, 3:] = _get_shift_by_turn(others, mass)
    out[:, 3:, :3] = _get_shift_by_turn(arms, mass).mT
    turns = out[:, 3:, 3:].unflatten(1, (turning, 3)).unflatten(3, (turning, 3))
    torch.neg(products.transpose(2, 4), out=turns)
    trace = products.diagonal(dim1=2, dim2=4).sum(-1)
    turns.diagonal(dim1=2, dim2=4).add_(trace[..., None])
    return out


def _get_shift_by_turn(arms: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """Products (T, 3, 3 J) of the vertices' derivatives by translation and by turns."""
    return -_cross_matrix(arms @ mass).transpose(1, 2).flatten(2)


def _get_forces(objective: Objective, joints: torch.Tensor) -> torch.Tensor:
    """``N_obs`` times the derivative of L_reproj by the joints (T, 21, 3)."""
    free = joints.detach().requires_grad_(True)
    loss = reprojection_loss(objective.cameras, objective.seen, free, objective.epsilon)
    return torch.autograd.grad(loss, free)[0] * objective.seen.n_observations


def _get_bending(arms: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
    """``sum f . d2x`` (T, 3 + 3 J, 3 + 3 J), world axes, of joints with arms (T, J, 3, 21).

    Turning k and then j, which k hangs on, ``f . (a x (b x u_k)) = (a . u_k)(b . f) - (a . b)(u_k . f)``.
    """
    frames, turning = arms.shape[:2]
    moment = (arms.flatten(1, 2) @ forces).view(frames, turning, 3, 3)
    trace = moment.diagonal(dim1=2, dim2=3).sum(-1)
    moment = moment - trace[..., None, None] * torch.eye(3, dtype=torch.float64)
    above = torch.as_tensor(DESCENDANTS[:turning, :turning]).double() - 0.5 * torch.eye(turning)
    half = (above[:, None, :, None] * moment.permute(0, 2, 1, 3)[:, None]).reshape(frames, 3 * turning, -1)
    return torch.nn.functional.pad(half + half.transpose(1, 2), (3, 0, 3, 0))


def _limit_bending(block: torch.Tensor, bent: torch.Tensor) -> torch.Tensor:
    """The bending (T, B, B), limited where it would leave a direction less than ``_LEAST_SHARE``."""
    most = 1.0 - _LEAST_SHARE
    bad = torch.linalg.cholesky_ex(most * block + bent).info != 0
    if bad.any():
        root = torch.linalg.cholesky(block[bad])
        half = torch.linalg.solve_triangular(root, bent[bad], upper=False)
        values, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.mT, upper=False))
        vectors = root @ vectors
        bent[bad] = (vectors * values.clamp(min=-most)[:, None]) @ vectors.mT
    return bent


def get_projection_rows(cameras: Cameras, joints: torch.Tensor) -> torch.Tensor:
    """Derivative (C, T, J, 2, 3), px a mm, of where cameras see joints (T, J, 3) by their place (world)."""
    local = torch.einsum("cij,tkj->ctki", cameras.R, joints) + cameras.t_mm[:, None, None]
    z = local[..., 2].clamp(min=1.0)
    # The lens's distortion changes the scale by a few per cent: left out of the curvature.
    fx, fy = cameras.K[:, 0, 0, None, None], cameras.K[:, 1, 1, None, None]
    zero = torch.zeros_like(z)
    du = torch.stack([fx / z, zero, -fx * local[..., 0] / z**2], dim=-1)
    dv = torch.stack([zero, fy / z, -fy * local[..., 1] / z**2], dim=-1)
    return torch.stack([du, dv], dim=-2) @ cameras.R[:, None, None]


def _get_data_blocks(
    objective: Objective, joints: torch.Tensor, jacobian: torch.Tensor, part: slice
) -> torch.Tensor:
    """``J^T W J`` (T, 3 + 3 J, 3 + 3 J) of the points from the joints' Jacobian (T, 3 + 3 J, 3, 21)."""
    seen = objective.seen
    rows = get_projection_rows(objective.cameras, joints)
    weight = seen.weights[:, part] / (seen.sigma_px[:, part].square() + objective.epsilon)
    rows, weight = rows.permute(1, 2, 0, 3, 4), weight.permute(1, 2, 0)[..., None, None]
    information = ((rows * weight).flatten(2, 3).mT @ rows.flatten(2, 3)).permute(0, 2, 3, 1).contiguous()
    return _weigh(jacobian, information)


def _weigh(jacobian: torch.Tensor, information: torch.Tensor) -> torch.Tensor:
    """``J^T W J`` (T, B, B) from J^T (T, B, 3, n) and what is known of the points' places (T, 3, 3, n)."""
    weighted = information[:, None, :, 0] * jacobian[:, :, 0, None]
    for axis in (1, 2):
        weighted.addcmul_(information[:, None, :, axis], jacobian[:, :, axis, None])
    return jacobian.flatten(2) @ weighted.flatten(2).mT


def _get_outline_blocks(
    objective: Objective, rotation: torch.Tensor, bones: torch.Tensor, turning: int, first: int
) -> torch.Tensor:
    """``J^T W J`` (T, 3 + 3 J, 3 + 3 J) of L_mask, world axes, of the frames from ``first`` on."""
    assert objective.outline is not None
    surface = objective.outline.surface
    features = surface.features[surface.chosen].unflatten(1, (16, 4))
    jacobian = _get_joint_jacobian(_get_arms(objective, features, rotation, bones, turning))
    affine = objective.hand.get_affine(rotation, bones)
    information = objective.outline.get_information(objective.cameras, affine, first)
    return _weigh(jacobian, information.permute(0, 2, 3, 1).contiguous())


def _get_prior_blocks(objective: Objective, hand_pose: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Curvature (T, 51, 51), world axes, of L_anchor and L_axes: 3 x 3 blocks by joint."""
    share = objective.seen.n_observations / len(objective.theta_anchor)
    sixd = get_sixd_basis(hand_pose)
    blocks = 2 * objective.lambda_anchor * share * (sixd.transpose(-1, -2) @ sixd)
    g = get_gibbs(hand_pose)
    eye = torch.eye(3, dtype=torch.float64)
    slope = eye + _cross_matrix(g) + g[..., :, None] * g[..., None, :]
    inside, beyond = objective.axes.residuals(hand_pose)
    rows = torch.einsum("jai,tjik->tjak", objective.axes.axes, slope)
    weight = torch.ones_like(inside) / objective.axes.spread.square()
    weight[..., 2] += (beyond != 0).double() / objective.axes.extra**2
    prior = torch.einsum("tjai,tja,tjak->tjik", rows, weight, rows)
    turns = rotation[:, 1:]
    blocks = turns @ (blocks + objective.lambda_axes * share * prior) @ turns.transpose(2, 3)
    out = torch.zeros(len(hand_pose), 51, 51, dtype=torch.float64)
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
