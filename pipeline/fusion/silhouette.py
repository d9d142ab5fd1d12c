"""L_mask (seed 001): the projected hand covers the mask and stays within it.

Distances are those of the two outlines' distance transforms, taken where they are wanted: a vertex that lies
outside the mask is as far off as the mask's nearest edge; a point of the mask's edge as the nearest vertex of
the projected silhouette that faces the same way. Both are rows ``n . (pi_v(V_k) - b)`` that hold between one
matching and the next, so the solver's Gauss-Newton steps know their curvature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.fusion.kinematics import FixedShapeHand
from pipeline.fusion.objective import Cameras, apply_lens

_CHUNK = 64

_STAND_INS = 112
"""Vertices by which the curvature is worked out, each for those round it; the gradient knows them all."""


@dataclass(frozen=True)
class Surface:
    """The hand's surface as linear maps of the 16 bones' transforms.

    Pose blend shapes, some tenths of a mm, are left out.

    Attributes
    ----------
    features : Tensor (V, 64)
        Of the vertices.
    normals : Tensor (V, 64)
        Of their outward normals (not of unit length).
    stand_in : Tensor (V,) int
        Number, among ``chosen``, of the vertex that stands for each in the curvature.
    chosen : Tensor (S,) int
    """

    features: torch.Tensor
    normals: torch.Tensor
    stand_in: torch.Tensor
    chosen: torch.Tensor

    def get_vertices(self, affine: torch.Tensor) -> torch.Tensor:
        """Vertices (T, V, 3) in world mm from the transforms (T, 16, 3, 4)."""
        return self.features @ affine.transpose(2, 3).reshape(len(affine), 64, 3)

    def get_normals(self, affine: torch.Tensor) -> torch.Tensor:
        """Outward normals (T, V, 3) of unit length."""
        out = self.normals @ affine.transpose(2, 3).reshape(len(affine), 64, 3)
        return out * (out * out).sum(-1, keepdim=True).clamp(min=1e-12).rsqrt()


def make_surface(hand: FixedShapeHand, faces: np.ndarray) -> Surface:
    """The surface of a hand whose triangles are ``faces`` (F, 3), outward."""
    points, weights = hand.vertices_mm, hand.weights
    corners = points[torch.as_tensor(faces)]
    flat = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = torch.zeros_like(points)
    for corner in range(3):
        normal.index_add_(0, torch.as_tensor(faces[:, corner]), flat)
    normal = normal / normal.norm(dim=1, keepdim=True).clamp(min=1e-9)
    one = torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
    none = torch.cat([normal, torch.zeros_like(points[:, :1])], dim=1)
    chosen = _spread_out(points.numpy(), _STAND_INS)
    apart = torch.cdist(points, points[chosen])
    return Surface(
        (weights[:, :, None] * one[:, None]).reshape(-1, 64),
        (weights[:, :, None] * none[:, None]).reshape(-1, 64),
        apart.argmin(dim=1),
        torch.as_tensor(chosen),
    )


def _spread_out(points: np.ndarray, count: int) -> np.ndarray:
    """Numbers of ``count`` points, each the farthest from those before it."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


@dataclass(frozen=True)
class Rows:
    """What is matched: row i asks that ``normal . pi_camera(vertex) = target`` px in its frame.

    Attributes
    ----------
    start : ndarray (T + 1,)
        Where each frame's rows begin.
    frame, camera, vertex : Tensor (N,) int
        By frame.
    normal : Tensor (N, 2)
    target : Tensor (N,)
    weight : Tensor (N,)
        ``confidence * robust / sigma^2``, px^-2.
    """

    start: np.ndarray
    frame: torch.Tensor
    camera: torch.Tensor
    vertex: torch.Tensor
    normal: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True)
class OutlineTerm:
    """``N_obs L_mask = 1/2 sum_i weight_i (normal_i . pi(V_i) - target_i)^2`` as part of the objective."""

    surface: Surface
    rows: Rows

    def loss(self, cameras: Cameras, affine: torch.Tensor) -> torch.Tensor:
        """``N_obs L_mask`` at transforms (T, 16, 3, 4); its gradient goes to them, chunk by chunk."""
        pull = torch.zeros_like(affine)
        total = 0.0
        still = affine.detach()
        for first in range(0, len(affine), _CHUNK):
            last = min(first + _CHUNK, len(affine))
            part = slice(int(self.rows.start[first]), int(self.rows.start[last]))
            if part.start == part.stop:
                continue
            vertices = self.surface.get_vertices(still[first:last])
            here = self.rows.frame[part] - first
            with torch.enable_grad():
                points = vertices[here, self.rows.vertex[part]].requires_grad_(True)
                residual = self._get_residuals(cameras, points, part)
                value = 0.5 * (self.rows.weight[part] * residual.square()).sum()
                (slope,) = torch.autograd.grad(value, points)
            total += float(value.detach())
            force = torch.zeros_like(vertices)
            force.index_put_((here, self.rows.vertex[part]), slope, accumulate=True)
            moved = self.surface.features.T @ force
            pull[first:last] = moved.reshape(last - first, 16, 4, 3).transpose(2, 3)
        # The value as it is, with the gradient that was worked out above.
        return (pull * (affine - still)).sum() + total

    def get_residuals(self, cameras: Cameras, affine: torch.Tensor) -> torch.Tensor:
        """Px (N,) by which each row is missed."""
        out = torch.empty(len(self.rows.frame), dtype=torch.float64)
        for first in range(0, len(affine), _CHUNK):
            last = min(first + _CHUNK, len(affine))
            part = slice(int(self.rows.start[first]), int(self.rows.start[last]))
            vertices = self.surface.get_vertices(affine[first:last])
            points = vertices[self.rows.frame[part] - first, self.rows.vertex[part]]
            out[part] = self._get_residuals(cameras, points, part)
        return out

    def _get_residuals(self, cameras: Cameras, points: torch.Tensor, part: slice) -> torch.Tensor:
        camera = self.rows.camera[part]
        local = (cameras.R[camera] @ points[..., None])[..., 0] + cameras.t_mm[camera]
        px = apply_lens(cameras.K[camera], cameras.distortion[camera], local)
        return (self.rows.normal[part] * px).sum(-1) - self.rows.target[part]

    def get_information(self, cameras: Cameras, affine: torch.Tensor, first: int) -> torch.Tensor:
        """``N_obs`` times the curvature (T, S, 3, 3) of L_mask by the places of the vertices that stand in.

        ``affine`` (T, 16, 3, 4) are the transforms of the frames from ``first`` on.
        """
        count = len(affine)
        part = slice(int(self.rows.start[first]), int(self.rows.start[first + count]))
        out = torch.zeros(count, len(self.surface.chosen), 9, dtype=torch.float64)
        if part.start == part.stop:
            return out.unflatten(2, (3, 3))
        here = self.rows.frame[part] - first
        points = self.surface.get_vertices(affine)[here, self.rows.vertex[part]]
        camera, normal = self.rows.camera[part], self.rows.normal[part]
        R = cameras.R[camera]
        local = (R @ points[..., None])[..., 0] + cameras.t_mm[camera]
        z = local[:, 2].clamp(min=1.0)
        a, b = normal[:, 0] * cameras.K[camera, 0, 0] / z, normal[:, 1] * cameras.K[camera, 1, 1] / z
        row = torch.stack([a, b, -(a * local[:, 0] + b * local[:, 1]) / z], dim=1)
        row = (row[:, None] @ R)[:, 0]
        square = (self.rows.weight[part, None, None] * row[:, :, None] * row[:, None]).flatten(1)
        out.index_put_((here, self.surface.stand_in[self.rows.vertex[part]]), square, accumulate=True)
        return out.unflatten(2, (3, 3))
