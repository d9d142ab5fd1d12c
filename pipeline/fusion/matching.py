"""Which point of the hand's surface belongs to which point of a mask's edge, at a pose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree

from pipeline.fusion.masks import Masks
from pipeline.fusion.objective import Cameras, Objective, Pose, project
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.silhouette import Rows, Surface

_CHUNK = 64

_EDGE_POINTS = 56
"""Points of a mask's edge that are held against the silhouette."""

_FACING = 0.35
"""A vertex is of the silhouette when the cosine between its normal and the line of sight is less."""

_TURN_MM = 18.0
"""Facing the other way counts as this far off in a match: the near side of the next finger is no match."""

_CUT_MM = 12.0
"""Next to the arm's line the edge is the line's and not the hand's."""


@dataclass(frozen=True)
class Edge:
    """The edge of a mask in calibrated px.

    Attributes
    ----------
    points : ndarray (n, 2)
        On the edge itself, half a cell outside the outermost cells.
    normals : ndarray (n, 2)
        Outward, of unit length.
    chosen : ndarray (m,) int
        Points that are held against the silhouette: evenly spread, away from the arm's line.
    cut : ndarray (3,)
        The arm's line.
    tree : cKDTree
        Of ``points``.
    mask : ndarray (rows, columns) bool
        With a rim of two empty cells.
    scale, shift : ndarray (2,)
        ``px = scale * (column, row) + shift`` of its cells.
    """

    points: np.ndarray
    normals: np.ndarray
    chosen: np.ndarray
    cut: np.ndarray
    tree: cKDTree
    mask: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    def is_outside(self, px: np.ndarray) -> np.ndarray:
        """Which points (n, 2) lie neither in the mask nor beyond the arm's line."""
        cells = np.rint((px - self.shift) / self.scale).astype(int)
        limit = np.array(self.mask.shape[::-1]) - 1
        cells = cells.clip(0, limit)
        return ~self.mask[cells[:, 1], cells[:, 0]] & (px @ self.cut[:2] + self.cut[2] < 0)


def find_edge(masks: Masks, view: int, time: int, px_per_mm: float) -> Edge | None:
    """The edge of a mask; None where there is hardly any."""
    mask, scale, shift = masks.get(view, time)
    padded = np.pad(mask.astype(np.uint8), 2)
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cells = np.concatenate([np.zeros((0, 2), int), *(part[:, 0] for part in contours if len(part) > 8)])
    if len(cells) < 24:
        return None
    soft = cv2.GaussianBlur(padded.astype(np.float32), (0, 0), 1.5)
    slope = np.stack([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], axis=-1)
    outward = -slope[cells[:, 1], cells[:, 0]].astype(float)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
    points = (cells - 2 + 0.5 * outward) * scale + shift
    normals = outward * np.sign(scale)
    cut = masks.get_cut(view, time)
    free = points @ cut[:2] + cut[2] < -_CUT_MM * px_per_mm
    usable = np.flatnonzero(free)
    if len(usable) < 24:
        return None
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, _EDGE_POINTS).astype(int))]
    return Edge(points, normals, chosen, cut, cKDTree(points), padded > 0, scale, shift - 2 * scale)


def match(
    objective: Objective,
    pose: Pose,
    surface: Surface,
    masks: Masks,
    edges: dict[tuple[int, int], Edge],
    times_s: np.ndarray,
    reach: float,
    options: FusionOptions,
) -> Rows:
    """Match the surface at a pose to the masks' edges.

    Parameters
    ----------
    objective : Objective
        For its hand and cameras.
    pose : Pose
        Where the surface is.
    surface : Surface
        Of the objective's hand.
    masks : Masks
        For their lags and confidence.
    edges : dict
        By view and time (`find_edge`).
    times_s : ndarray (T,)
        Times of the frames.
    reach : float
        Pairs this many of their sigmas apart count half.
    options : FusionOptions
        ``mask_sigma_mm`` and ``mask_points``.
    """
    found: list[tuple[np.ndarray, ...]] = []
    start = np.zeros(len(times_s) + 1, dtype=int)
    orient, hand_pose, transl = pose.to_matrices()
    rotation, bones = objective.hand.get_transforms(orient, hand_pose, transl)
    affine = objective.hand.get_affine(rotation, bones)
    for first in range(0, len(times_s), _CHUNK):
        last = min(first + _CHUNK, len(times_s))
        wide = slice(max(first - 1, 0), min(last + 1, len(times_s)))
        seen = _look(objective.cameras, surface, affine[wide], times_s[wide])
        for time in range(first, last):
            for view in range(len(masks.frame)):
                edge = edges.get((view, time))
                if edge is not None:
                    rows = _match_one(
                        edge, seen, view, time - wide.start, masks.lag_s[view, time], reach, options
                    )
                    weight = masks.confidence[view, time] * rows[-1]
                    n = len(weight)
                    found.append((np.full(n, time), np.full(n, view), *rows[:-1], weight))
                    start[time + 1] += n
    return _stack(found, np.cumsum(start))


def _stack(found: list[tuple[np.ndarray, ...]], start: np.ndarray) -> Rows:
    if not found:
        none = torch.zeros(0, dtype=torch.int64)
        empty = torch.zeros(0, dtype=torch.float64)
        return Rows(start, none, none, none, torch.zeros(0, 2, dtype=torch.float64), empty, empty)
    columns = [torch.as_tensor(np.concatenate(part)) for part in zip(*found, strict=True)]
    return Rows(start, *columns)


@dataclass(frozen=True)
class _Look:
    """Vertices as the views see them: px (C, T, V, 2), their speed in px/s, directions in which normals point
    in the picture (C, T, V, 2), whether they are of the silhouette (C, T, V), px a mm (C, T).
    """

    px: np.ndarray
    speed: np.ndarray
    normals: np.ndarray
    rim: np.ndarray
    px_per_mm: np.ndarray


def _look(cameras: Cameras, surface: Surface, affine: torch.Tensor, times_s: np.ndarray) -> _Look:
    vertices = surface.get_vertices(affine)
    px = project(cameras, vertices).numpy()
    speed = np.gradient(px, times_s, axis=1) if len(times_s) > 1 else np.zeros_like(px)
    local = torch.einsum("cij,tkj->ctki", cameras.R, vertices) + cameras.t_mm[:, None, None]
    normal = torch.einsum("cij,tkj->ctki", cameras.R, surface.get_normals(affine))
    # Spelled out: torch's norm along an axis of three takes many times as long.
    facing = (local * normal).sum(-1) * (local * local).sum(-1).rsqrt()
    flat = (
        normal[..., :2] * (normal[..., :2] * normal[..., :2]).sum(-1, keepdim=True).clamp(min=1e-12).rsqrt()
    )
    scale = cameras.K[:, 0, 0, None] / local[..., 2].mean(dim=-1).clamp(min=1.0)
    return _Look(px, speed, flat.numpy(), (facing.abs() < _FACING).numpy(), scale.numpy())


def _match_one(
    edge: Edge, seen: _Look, view: int, at: int, lag_s: float, reach: float, options: FusionOptions
) -> tuple[np.ndarray, ...]:
    """Vertex (n,), normal (n, 2), target (n,) and weight (n,) of one view and time."""
    drift = -lag_s * seen.speed[view, at]  # the mask was taken so much earlier
    px = seen.px[view, at] + drift
    scale = float(seen.px_per_mm[view, at])
    rim = np.flatnonzero(seen.rim[view, at])
    turn = _TURN_MM * scale
    tree = cKDTree(np.concatenate([px[rim], turn * seen.normals[view, at, rim]], axis=1))
    goal, facing = edge.points[edge.chosen], edge.normals[edge.chosen]
    _, nearest = tree.query(np.concatenate([goal, turn * facing], axis=1))
    cover = rim[nearest]
    outside = np.flatnonzero(edge.is_outside(px))
    _, near = edge.tree.query(px[outside])
    away = px[outside] - edge.points[near]
    length = np.linalg.norm(away, axis=1, keepdims=True)
    direction = np.where(length > 2 * scale, away / np.maximum(length, 1e-9), edge.normals[near])
    vertex = np.concatenate([cover, outside])
    normal = np.concatenate([facing, direction])
    goals = np.concatenate([goal, edge.points[near]])
    target = (normal * (goals - drift[vertex])).sum(axis=1)
    apart = np.concatenate([np.linalg.norm(px[cover] - goal, axis=1), length[:, 0]])
    sigma = options.mask_sigma_mm * scale
    robust = 1.0 / (1.0 + (apart / (reach * sigma)) ** 2)
    share = np.concatenate([np.full(len(cover), 1.0 / len(cover)), np.full(len(outside), 1.0 / len(px))])
    return vertex, normal, target, options.mask_points * share * robust / sigma**2
