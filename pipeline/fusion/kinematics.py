"""The hand at one fixed shape: joints and bone transforms without posing a vertex.

A vertex of a skinned hand is a linear function of the 16 bone transforms, ``V = sum_j w_j (A_j p + b_j)``.
So sums of squares over all vertices are a quadratic form in those transforms, and its 64 x 64 matrix
(`FixedShapeHand.gram`) is worked out once. This is exact for a hand whose surface does not depend on the
pose but through its bones (the built-in hand); for MANO, whose pose blend shapes move vertices too,
`FixedShapeHand.get_vertices` is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.errors import ModelError
from pipeline.hand.joints import JOINTS_FROM_MANO, MANO_PARENTS
from pipeline.hand.model import MM_PER_M, HandModel

_LEVELS: tuple[tuple[int, ...], ...] = ((1, 4, 7, 10, 13), (2, 5, 8, 11, 14), (3, 6, 9, 12, 15))
"""MANO's joints 1 to 15 by depth in the tree: three products of five matrices pose a hand."""

_BY_LEVEL = np.argsort([0, *_LEVELS[0], *_LEVELS[1], *_LEVELS[2]])

DESCENDANTS = np.zeros((16, 16), dtype=bool)
"""``DESCENDANTS[j, k]``: bone k moves when joint j turns (k = j counts)."""
for _bone in range(16):
    _above = _bone
    while _above >= 0:
        DESCENDANTS[_above, _bone] = True
        _above = MANO_PARENTS[_above]


@dataclass(frozen=True)
class FixedShapeHand:
    """A hand model with its betas worked in: float64, mm, template frame.

    Attributes
    ----------
    joints_mm : Tensor (16, 3)
        Joints of the template at this shape, MANO's order.
    vertices_mm : Tensor (V, 3)
    weights : Tensor (V, 16)
        Skin weights.
    posedirs_mm : Tensor (135, V, 3) or None
        Pose blend shapes; None where they are all zero.
    tips : tuple of 5 int
        Fingertip vertices, thumb to pinky.
    gram : Tensor (64, 64)
        ``sum_v f_v f_v^T`` with ``f_v = w_vj (p_v, 1)`` stacked over the 16 bones.
    """

    joints_mm: torch.Tensor
    vertices_mm: torch.Tensor
    weights: torch.Tensor
    posedirs_mm: torch.Tensor | None
    tips: tuple[int, ...]
    gram: torch.Tensor

    @property
    def n_vertices(self) -> int:
        """Number of vertices V."""
        return int(self.vertices_mm.shape[0])

    def get_transforms(
        self, global_orient: torch.Tensor, hand_pose: torch.Tensor, transl_mm: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """World transforms of the 16 bones, as smplx's LBS has them.

        Parameters
        ----------
        global_orient : Tensor (T, 3, 3)
            Of the wrist, in the world.
        hand_pose : Tensor (T, 15, 3, 3)
            Of the joints, MANO's order.
        transl_mm : Tensor (T, 3)
            As smplx's.

        Returns
        -------
        rotation : Tensor (T, 16, 3, 3)
            World from template, by bone.
        joints_mm : Tensor (T, 16, 3)
            Posed joints; a template point p of bone j goes to ``rotation_j (p - J_j) + joints_j``.
        """
        root = global_orient[:, None]
        rotations, positions = [root], [(self.joints_mm[0] + transl_mm)[:, None]]
        parent_rotation, parent_position = root, positions[0]
        for level in _LEVELS:
            children = list(level)
            parents = [MANO_PARENTS[child] for child in children]
            bone = (self.joints_mm[children] - self.joints_mm[parents])[..., None]
            parent_position = parent_position + (parent_rotation @ bone)[..., 0]
            parent_rotation = parent_rotation @ hand_pose[:, [child - 1 for child in children]]
            rotations.append(parent_rotation)
            positions.append(parent_position)
        order = torch.as_tensor(_BY_LEVEL)
        return torch.cat(rotations, dim=1)[:, order], torch.cat(positions, dim=1)[:, order]

    def get_joints(
        self, rotation: torch.Tensor, joints_mm: torch.Tensor, hand_pose: torch.Tensor
    ) -> torch.Tensor:
        """The 21 joints (T, 21, 3) in world mm from `get_transforms`, tips on the surface."""
        tips = self._skin(list(self.tips), rotation, joints_mm, hand_pose)
        return torch.cat([joints_mm, tips], dim=1)[:, list(JOINTS_FROM_MANO)]

    def get_vertices(
        self, rotation: torch.Tensor, joints_mm: torch.Tensor, hand_pose: torch.Tensor
    ) -> torch.Tensor:
        """All vertices (T, V, 3) in world mm from `get_transforms`."""
        return self._skin(slice(None), rotation, joints_mm, hand_pose)

    def get_affine(self, rotation: torch.Tensor, joints_mm: torch.Tensor) -> torch.Tensor:
        """``(A_j, b_j)`` (T, 16, 3, 4): a template point p of bone j goes to ``A_j p + b_j``."""
        shift = joints_mm - (rotation @ self.joints_mm[..., None])[..., 0]
        return torch.cat([rotation, shift[..., None]], dim=-1)

    def _skin(
        self,
        chosen: list[int] | slice,
        rotation: torch.Tensor,
        joints_mm: torch.Tensor,
        hand_pose: torch.Tensor,
    ) -> torch.Tensor:
        affine = self.get_affine(rotation, joints_mm)
        points = self.vertices_mm[chosen]
        weights = self.weights[chosen]
        frames = len(rotation)
        if self.posedirs_mm is None:
            features = (weights[:, :, None] * _homogeneous(points)[:, None]).reshape(len(points), 64)
            return features @ affine.transpose(2, 3).reshape(frames, 64, 3)
        feature = (hand_pose - torch.eye(3, dtype=hand_pose.dtype)).reshape(frames, 135)
        moved = points + torch.einsum("tk,kvc->tvc", feature, self.posedirs_mm[:, chosen])
        blend = torch.einsum("vj,tjab->tvab", weights, affine)
        return (blend[..., :3] @ moved[..., None])[..., 0] + blend[..., 3]

    def get_features(self) -> np.ndarray:
        """Linear maps (85, 16, 4) from the affine transforms: the 21 joints, and 64 points that stand for all
        vertices (``sum_r |d point_r|^2 = sum_v |d V_v|^2``; rows of a root of `gram`).
        """
        mano = np.zeros((21, 16, 4))
        for joint in range(16):
            mano[joint, joint] = [*self.joints_mm[joint].tolist(), 1.0]
        tips = list(self.tips)
        mano[16:] = (self.weights[tips][:, :, None] * _homogeneous(self.vertices_mm[tips])[:, None]).numpy()
        values, vectors = torch.linalg.eigh(self.gram)
        root = (vectors * values.clamp(min=0.0).sqrt()).T.reshape(64, 16, 4)
        return np.concatenate([mano[list(JOINTS_FROM_MANO)], root.numpy()])


def fix_shape(model: HandModel, betas: np.ndarray) -> FixedShapeHand:
    """Work betas (10,) into a hand model.

    Raises
    ------
    ModelError
        The model's tree of joints is not MANO's.
    """
    layer = model.layer
    if tuple(int(parent) for parent in layer.parents) != MANO_PARENTS:
        raise ModelError(
            f"The tree of joints of the {model.name} is not MANO's.", "Use MANO_RIGHT.pkl of mano_v1_2.zip."
        )
    shape = torch.as_tensor(np.asarray(betas), dtype=torch.float64)
    vertices = layer.v_template.double() + layer.shapedirs.double() @ shape
    joints = layer.J_regressor.double() @ vertices
    weights = layer.lbs_weights.double()
    vertices = vertices * MM_PER_M
    posedirs = None
    if float(layer.posedirs.abs().max()) > 0.0:
        posedirs = layer.posedirs.double().reshape(135, -1, 3) * MM_PER_M
    features = (weights[:, :, None] * _homogeneous(vertices)[:, None]).reshape(-1, 64)
    return FixedShapeHand(
        joints_mm=joints * MM_PER_M,
        vertices_mm=vertices,
        weights=weights,
        posedirs_mm=posedirs,
        tips=model.tip_vertices,
        gram=features.T @ features,
    )


def _homogeneous(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
