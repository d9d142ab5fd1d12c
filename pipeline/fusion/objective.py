"""The objective of the fusion, formula by formula (seed 000 section 7).

Symbols: V the views, J_j the 21 joints, N the frames, theta the rotations in 6D, t the translation.
Lengths in mm, pictures in px, so ``lambda_temp`` is in mm^-2 and ``lambda_anchor`` has no unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.utils.checkpoint

from pipeline.fusion.kinematics import FixedShapeHand
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import MANO_POSE_JOINTS
from pipeline.hand.rotations import decode_sixd, encode_sixd

if TYPE_CHECKING:
    from pipeline.fusion.silhouette import OutlineTerm

N_PARAMETERS = 99
"""Variables a frame: translation (3), theta_global (6), theta_hand (15 x 6)."""

_CHUNK_VERTICES = 256


@dataclass(frozen=True)
class Cameras:
    """The views' cameras as tensors (C first): ``K`` (C, 3, 3), ``distortion`` (C, 5) as k1 k2 p1 p2 k3,
    ``R`` (C, 3, 3), ``t_mm`` (C, 3); OpenCV's convention.
    """

    K: torch.Tensor
    distortion: torch.Tensor
    R: torch.Tensor
    t_mm: torch.Tensor


@dataclass(frozen=True)
class Observations:
    """What the views saw, at the reference camera's frame times.

    Attributes
    ----------
    keypoints_px : Tensor (C, T, 21, 2)
        ``J^2D_hat``; 0 where not seen.
    sigma_px : Tensor (C, T, 21)
        ``sigma_v,j``; 1 where not seen.
    weights : Tensor (C, T, 21)
        ``w_manual`` times the robust weight; 0 where not seen.
    """

    keypoints_px: torch.Tensor
    sigma_px: torch.Tensor
    weights: torch.Tensor

    @property
    def n_observations(self) -> int:
        """N_obs: keypoints that have a say."""
        return max(int((self.weights > 0).sum()), 1)


def project(cameras: Cameras, points_mm: torch.Tensor) -> torch.Tensor:
    """``pi_v``: perspective projection with radial distortion (and OpenCV's tangential terms).

    Parameters
    ----------
    cameras : Cameras
        The C views.
    points_mm : Tensor (T, J, 3)
        World points.

    Returns
    -------
    Tensor (C, T, J, 2)
        Pixels.
    """
    local = torch.einsum("cij,tkj->ctki", cameras.R, points_mm) + cameras.t_mm[:, None, None]
    return apply_lens(cameras.K[:, None, None], cameras.distortion[:, None, None], local)


def apply_lens(K: torch.Tensor, distortion: torch.Tensor, local_mm: torch.Tensor) -> torch.Tensor:
    """Pixels (..., 2) of points (..., 3) in their camera's axes; K is (..., 3, 3), distortion (..., 5)."""
    # A point on its way through the camera during a line search must not divide by zero.
    xy = local_mm[..., :2] / local_mm[..., 2:].clamp(min=1.0)
    x, y = xy[..., 0], xy[..., 1]
    k1, k2, p1, p2, k3 = distortion.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    column = K[..., 0, 0] * u + K[..., 0, 1] * v + K[..., 0, 2]
    return torch.stack([column, K[..., 1, 1] * v + K[..., 1, 2]], dim=-1)


def reprojection_loss(
    cameras: Cameras, seen: Observations, joints_mm: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """``L_reproj = 1/N_obs sum_v sum_j w_manual / (2 (sigma^2 + epsilon)) |pi_v(J_j) - J_hat|^2``."""
    squares = (project(cameras, joints_mm) - seen.keypoints_px).square().sum(-1)
    return (seen.weights / (2 * (seen.sigma_px.square() + epsilon)) * squares).sum() / seen.n_observations


def anchor_loss(theta_hand: torch.Tensor, theta_anchor: torch.Tensor) -> torch.Tensor:
    """``L_anchor = 1/N sum_t |theta_hand,t - theta_anchor,t|^2`` of the 6D hand pose (T, 15, 6)."""
    return (theta_hand - theta_anchor).square().sum() / len(theta_hand)


def choose_sixd(rotation: torch.Tensor, theta_anchor: torch.Tensor) -> torch.Tensor:
    """The 6D form (..., 6) of rotations (..., 3, 3) for which L_anchor is least.

    Lengths and angle of the two columns turn nothing: Gram-Schmidt takes them out, and only L_anchor feels
    them. So they need no search: the nearest to the anchor are its projections.
    """
    c0, c1, _ = rotation.unbind(-1)
    a0, a1 = theta_anchor.split(3, dim=-1)
    # Beyond a quarter turn from the anchor the nearest length would be none.
    first, second = ((c * a).sum(-1, keepdim=True).clamp(min=0.01) for c, a in ((c0, a0), (c1, a1)))
    return torch.cat([first * c0, second * c1 + (c0 * a1).sum(-1, keepdim=True) * c0], dim=-1)


def temporal_loss(vertices_mm: torch.Tensor) -> torch.Tensor:
    """``L_temporal = 1/(N-1) sum_t sum_v |V_t - V_{t-1}|^2`` over all vertices (T, V, 3)."""
    return vertices_mm.diff(dim=0).square().sum() / max(len(vertices_mm) - 1, 1)


def temporal_loss_of_bones(hand: FixedShapeHand, affine: torch.Tensor) -> torch.Tensor:
    """`temporal_loss` from the bone transforms (T, 16, 3, 4) alone: ``sum_axis d^T G d``, the same number.

    Holds for hands without pose blend shapes.
    """
    steps = affine.diff(dim=0).permute(0, 2, 1, 3).reshape(-1, 64)
    return ((steps @ hand.gram) * steps).sum() / max(len(affine) - 1, 1)


# --- the prior beyond seed 000 ---------------------------------------------------------------------


@dataclass(frozen=True)
class AxesPrior:
    """L_axes: how far the joints turn about axes about which hands turn little.

    ``g`` is the Gibbs vector of a joint's rotation (axis times tan(angle / 2)), in twist, spread and bend:
    ``L_axes = 1/N sum_t sum_joint sum_axis (2 g_axis / s_axis)^2 / 2``, and beyond the ends of bending
    ``((2 g_bend - end) / s_extra)^2 / 2``.

    Attributes
    ----------
    axes : Tensor (15, 3, 3)
        Rows: twist (along the bone), spread (back of the hand), bend (positive closes the hand).
    spread : Tensor (15, 3)
        ``s_axis`` in rad.
    ends : Tensor (2,)
        Least and most bending, ``2 tan(angle / 2)``.
    extra : float
        ``s_extra`` in rad.
    """

    axes: torch.Tensor
    spread: torch.Tensor
    ends: torch.Tensor
    extra: float

    def residuals(self, hand_pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Residuals (T, 15, 3) and those beyond the ends (T, 15) of rotations (T, 15, 3, 3), in sigmas."""
        turned = 2 * torch.einsum("jai,tji->tja", self.axes, get_gibbs(hand_pose))
        bend = turned[..., 2]
        beyond = (bend - self.ends[1]).clamp(min=0) + (bend - self.ends[0]).clamp(max=0)
        return turned / self.spread, beyond / self.extra

    def loss(self, hand_pose: torch.Tensor) -> torch.Tensor:
        """``L_axes`` of rotations (T, 15, 3, 3)."""
        inside, beyond = self.residuals(hand_pose)
        return (inside.square().sum() + beyond.square().sum()) / (2 * len(hand_pose))


def get_gibbs(rotation: torch.Tensor) -> torch.Tensor:
    """Axis times tan(angle / 2) (..., 3) of rotation matrices; large near half a turn."""
    skew = rotation - rotation.transpose(-1, -2)
    vector = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    # Half a turn is no pose of a joint; the floor keeps a wild line-search step finite.
    return vector / (1 + trace).clamp(min=0.05)


def make_axes_prior(hand: FixedShapeHand, options: FusionOptions) -> AxesPrior:
    """The prior for a hand: its axes from the template's bones, its spreads from the options."""
    rest = hand.joints_mm.numpy()
    tips = {
        bone: hand.vertices_mm[tip].numpy() for bone, tip in zip((15, 3, 6, 12, 9), hand.tips, strict=True)
    }
    axes, spread = np.zeros((15, 3, 3)), np.zeros((15, 3))
    for number, name in enumerate(MANO_POSE_JOINTS):
        bone = number + 1
        along = tips.get(bone, rest[min(bone + 1, 15)]) - rest[bone]
        along = along / np.linalg.norm(along)
        # manotorch's "up": the back of the hand, for the thumb turned towards the others.
        up = np.array([1.0, 1.0, 1.0]) if name.startswith("thumb") else np.array([0.0, 1.0, 0.0])
        bend = np.cross(up, along)
        bend /= np.linalg.norm(bend)
        axes[number] = [along, np.cross(along, bend), bend]
        spread[number] = _spreads(name, options)
    ends = 2 * np.tan(np.array([options.bend_least_rad, options.bend_most_rad]) / 2)
    return AxesPrior(
        torch.as_tensor(axes), torch.as_tensor(spread), torch.as_tensor(ends), options.bend_extra_rad
    )


def _spreads(joint: str, options: FusionOptions) -> tuple[float, float, float]:
    if joint in ("thumb_cmc", "thumb_mcp"):
        return options.thumb_twist_rad, options.thumb_spread_rad, options.bend_rad
    if joint.endswith("mcp"):
        return options.twist_rad, options.spread_rad, options.bend_rad
    return options.hinge_rad, options.hinge_rad, options.bend_rad


# --- all of it ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Objective:
    """``L = L_reproj + lambda_anchor L_anchor + lambda_temp L_temporal + lambda_axes L_axes (+ L_mask)``.

    Attributes
    ----------
    hand : FixedShapeHand
    cameras : Cameras
    seen : Observations
    theta_anchor : Tensor (T, 15, 6)
    lambda_temp : float
        mm^-2.
    lambda_anchor : float
    lambda_axes : float
        ``N / N_obs`` makes L_axes, like L_reproj, minus the logarithm of a density a point.
    axes : AxesPrior
    epsilon : float
        px^2.
    outline : OutlineTerm or None
        L_mask, where masks have a say.
    """

    hand: FixedShapeHand
    cameras: Cameras
    seen: Observations
    theta_anchor: torch.Tensor
    lambda_temp: float
    lambda_anchor: float
    lambda_axes: float
    axes: AxesPrior
    epsilon: float = 1e-5
    outline: OutlineTerm | None = None

    def with_weights(self, weights: torch.Tensor) -> Objective:
        """The same with other observation weights (C, T, 21)."""
        return replace(self, seen=replace(self.seen, weights=weights))

    def loss(
        self, transl_mm: torch.Tensor, theta_global: torch.Tensor, theta_hand: torch.Tensor
    ) -> torch.Tensor:
        """The objective at ``t`` (T, 3), ``theta_global`` (T, 6), ``theta_hand`` (T, 15, 6)."""
        hand_pose = decode_sixd(theta_hand)
        rotation, bones = self.hand.get_transforms(decode_sixd(theta_global), hand_pose, transl_mm)
        joints = self.hand.get_joints(rotation, bones, hand_pose)
        loss = reprojection_loss(self.cameras, self.seen, joints, self.epsilon)
        if self.lambda_temp > 0:
            loss = loss + self.lambda_temp * self._temporal(rotation, bones, hand_pose)
        if self.lambda_anchor > 0:
            loss = loss + self.lambda_anchor * anchor_loss(theta_hand, self.theta_anchor)
        if self.lambda_axes > 0:
            loss = loss + self.lambda_axes * self.axes.loss(hand_pose)
        if self.outline is not None:
            term = self.outline.loss(self.cameras, self.hand.get_affine(rotation, bones))
            loss = loss + term / self.seen.n_observations
        return loss

    def _temporal(self, rotation: torch.Tensor, bones: torch.Tensor, hand_pose: torch.Tensor) -> torch.Tensor:
        if self.hand.posedirs_mm is None:
            return temporal_loss_of_bones(self.hand, self.hand.get_affine(rotation, bones))
        total = rotation.new_zeros(())
        steps = max(len(rotation) - 1, 1)
        for start in range(0, len(rotation) - 1, _CHUNK_VERTICES):
            part = slice(start, start + _CHUNK_VERTICES + 1)  # one frame of overlap: no step is lost
            total = total + torch.utils.checkpoint.checkpoint(
                _sum_steps, self.hand, rotation[part], bones[part], hand_pose[part], use_reentrant=False
            )
        return total / steps


def _sum_steps(
    hand: FixedShapeHand, rotation: torch.Tensor, bones: torch.Tensor, hand_pose: torch.Tensor
) -> torch.Tensor:
    return hand.get_vertices(rotation, bones, hand_pose).diff(dim=0).square().sum()


@dataclass(frozen=True)
class Pose:
    """The variables of the fusion: ``t`` (T, 3) mm, ``theta_global`` (T, 6), ``theta_hand`` (T, 15, 6)."""

    transl_mm: torch.Tensor
    theta_global: torch.Tensor
    theta_hand: torch.Tensor

    @classmethod
    def from_arrays(cls, global_orient: np.ndarray, hand_pose: np.ndarray, transl_mm: np.ndarray) -> Pose:
        """From rotation matrices (T, 3, 3), (T, 15, 3, 3) and translations (T, 3)."""
        return cls(
            torch.as_tensor(transl_mm, dtype=torch.float64),
            encode_sixd(torch.as_tensor(global_orient, dtype=torch.float64)),
            encode_sixd(torch.as_tensor(hand_pose, dtype=torch.float64)),
        )

    def to_matrices(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``(global_orient, hand_pose, transl_mm)`` with proper rotation matrices."""
        return decode_sixd(self.theta_global), decode_sixd(self.theta_hand), self.transl_mm

    def normalise(self) -> Pose:
        """The same pose with 6D columns of unit length at right angles, as `encode_sixd` gives them."""
        orient, hand, transl = self.to_matrices()
        return Pose(transl, encode_sixd(orient), encode_sixd(hand))

    def get_joints(self, hand: FixedShapeHand) -> torch.Tensor:
        """The 21 joints (T, 21, 3) in world mm."""
        orient, pose, transl = self.to_matrices()
        rotation, bones = hand.get_transforms(orient, pose, transl)
        return hand.get_joints(rotation, bones, pose)


def choose_lambda_temp(
    hand: FixedShapeHand, seen: Observations, information: float, fps: float, options: FusionOptions
) -> float:
    """``lambda_temp`` in mm^-2 where the options leave it open: the lesser of two.

    - By speed: L_temporal as the random walk of 16 bones of ``surface_speed_m_s``. Sums over the vertices
      are divided by their number, so a finer mesh does not smooth more.
    - By gain: the term filters a translation of the whole hand by ``1 / (1 + b/a (2 - 2 cos w))``, where a is
      the points' information a frame on it and b that of the term; it must pass ``tremor_gain`` at
      ``tremor_hz``.

    Parameters
    ----------
    hand : FixedShapeHand
        For its number of vertices.
    seen : Observations
        For N_obs and N.
    information : float
        a: information of a frame's points on a translation along one axis, mm^-2.
    fps : float
        Frames a second.
    options : FusionOptions
        The speed, and the gain that a tremor keeps.
    """
    frames = seen.weights.shape[1]
    per_observation = max(frames - 1, 1) / seen.n_observations
    step_mm = 1000.0 * options.surface_speed_m_s / fps
    by_speed = 16.0 / (2.0 * step_mm**2 * hand.n_vertices)
    slowness = 2.0 - 2.0 * np.cos(2.0 * np.pi * min(options.tremor_hz / fps, 0.5))
    stiffness = information * (1.0 / options.tremor_gain - 1.0) / slowness
    by_gain = stiffness / (2.0 * hand.n_vertices)
    return float(per_observation * min(by_speed, by_gain))
