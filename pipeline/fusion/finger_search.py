"""Where fingers point by the masks: each finger's bend tried over its whole range.

Matching edges (`pipeline.fusion.matching`) goes downhill, and from a finger that a network saw curled no way
leads down to one that is stiff. So each of the four fingers is tried in postures all over its range, the
others held, and the posture that leaves least of the masks uncovered and least of the finger outside them is
taken, by the costs of a while together.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import roma
import torch
from scipy.ndimage import uniform_filter1d

from pipeline.fusion.masks import Masks
from pipeline.fusion.objective import Objective, Pose, get_gibbs, project
from pipeline.fusion.silhouette import Surface
from pipeline.hand.rotations import encode_sixd

SEARCH_HZ = 10.0
"""Frames a second that are searched; the others take the nearest one's posture."""

_TOGETHER_S = 0.3
"""Costs are averaged over this time: a posture lasts, a lucky fit of one frame does not."""

_GRID = 96
"""Cells along each side of a mask's distance map, over a square 1.7 times the mask's longer side."""

_WIDE = 1.7
_INNER = 100
"""Points of a mask that want to be covered."""

_SWEEPS = 2
_MOST_MM = 40.0
"""Farther off than this is no worse."""

_TOLERANCE_MM = 6.0
"""A point of the mask this near to a vertex is covered: vertices lie some mm apart."""

_GAIN_MM = 0.15
"""By so much less must a new posture cost to be taken."""

_FINGER_SHARE = 0.15
"""Share of the hand's picture that a finger is."""

_BONES = ((1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))
"""MANO's joints of index, middle, ring and pinky."""

_MCP, _PIP, _SPREAD = (-0.2, 0.2, 0.6, 1.0), (0.05, 0.6, 1.2, 1.7), 0.3
_DIP_SHARE = 0.55


@dataclass(frozen=True)
class _Maps:
    """Masks of C views at T times on grids: ``outside`` (C, T, G, G) px from the mask (0 within it, and
    beyond the arm's line), ``origin`` (C, T, 2) and ``cell`` (C, T) px of the grids, ``inner``
    (C, T, N, 2) px of points of the masks, ``trust`` (C, T).
    """

    outside: torch.Tensor
    origin: torch.Tensor
    cell: torch.Tensor
    inner: torch.Tensor
    trust: torch.Tensor


def search_fingers(
    objective: Objective, pose: Pose, surface: Surface, masks: Masks, times_s: np.ndarray
) -> Pose:
    """The pose with its fingers where the masks want them; as it is where masks have no say.

    Parameters
    ----------
    objective : Objective
        For its hand, its cameras and the fingers' axes.
    pose : Pose
        Whose palm is right.
    surface : Surface
        Of the objective's hand.
    masks : Masks
        At the pose's times.
    times_s : ndarray (T,)
        Times of the frames.
    """
    step = max(round(1.0 / (SEARCH_HZ * float(np.median(np.diff(times_s))))), 1) if len(times_s) > 1 else 1
    rows = np.arange(0, len(times_s), step)
    maps = _make_maps(masks.keep(rows))
    if not bool((maps.trust > 0).any()):
        return pose
    orient, hand_pose, transl = (part[rows].clone() for part in pose.to_matrices())
    px_per_mm = _get_scale(objective, orient, hand_pose, transl)
    window = max(round(_TOGETHER_S / (step * float(np.median(np.diff(times_s))))), 1)
    taken = torch.zeros(len(rows), 15, dtype=torch.bool)
    for _ in range(_SWEEPS):
        for bones in _BONES:
            number = torch.tensor([bone - 1 for bone in bones])
            found, better = _try_finger(
                objective, surface, maps, (orient, hand_pose, transl), bones, px_per_mm, window
            )
            hand_pose[:, number] = torch.where(better[:, None, None, None], found, hand_pose[:, number])
            taken[:, number] |= better[:, None]
    nearest = np.abs(np.arange(len(times_s))[:, None] - rows[None]).argmin(axis=1)
    _, whole, _ = pose.to_matrices()
    changed = torch.where(taken[nearest][..., None, None], hand_pose[nearest], whole)
    return Pose(pose.transl_mm, pose.theta_global, encode_sixd(changed))


def _get_scale(
    objective: Objective, orient: torch.Tensor, hand_pose: torch.Tensor, transl: torch.Tensor
) -> torch.Tensor:
    """Px a mm (C, T)."""
    _, bones = objective.hand.get_transforms(orient, hand_pose, transl)
    cameras = objective.cameras
    depth = torch.einsum("cj,tj->ct", cameras.R[:, 2], bones.mean(dim=1)) + cameras.t_mm[:, 2, None]
    return cameras.K[:, 0, 0, None] / depth.clamp(min=1.0)


def _make_maps(masks: Masks) -> _Maps:
    n_views, times = masks.frame.shape
    outside = np.zeros((n_views, times, _GRID, _GRID), np.float32)
    origin, cell = np.zeros((n_views, times, 2)), np.ones((n_views, times))
    inner = np.zeros((n_views, times, _INNER, 2))
    random = np.random.default_rng(0)
    for view, time in zip(*np.nonzero(masks.frame >= 0), strict=True):
        mask, scale, shift = masks.get(int(view), int(time))
        corners = np.stack([shift, shift + scale * (np.array(mask.shape[::-1]) - 1)])
        side = _WIDE * float(np.ptp(corners, axis=0).max())
        origin[view, time], cell[view, time] = corners.mean(axis=0) - side / 2, side / _GRID
        axis = (np.arange(_GRID) + 0.5) * side / _GRID
        x, y = origin[view, time, 0] + axis, origin[view, time, 1] + axis
        column, row = (
            np.round((x - shift[0]) / scale[0]).astype(int),
            np.round((y - shift[1]) / scale[1]).astype(int),
        )
        there = ((row >= 0) & (row < mask.shape[0]))[:, None] & ((column >= 0) & (column < mask.shape[1]))
        hit = there & mask[row.clip(0, mask.shape[0] - 1)][:, column.clip(0, mask.shape[1] - 1)]
        far = cv2.distanceTransform((~hit).astype(np.uint8), cv2.DIST_L2, 3) * cell[view, time]
        cut = masks.get_cut(int(view), int(time))
        beyond = cut[0] * x + cut[1] * y[:, None] + cut[2] > 0
        outside[view, time] = np.where(beyond, 0.0, far)
        rows, columns = np.nonzero(mask)
        some = random.integers(len(rows), size=_INNER)
        inner[view, time] = np.stack([columns[some], rows[some]], axis=1) * scale + shift
    parts = (outside, origin, cell, inner, masks.confidence)
    return _Maps(*[torch.as_tensor(part, dtype=torch.float32) for part in parts])


def _list_postures(objective: Objective, hand_pose: torch.Tensor, bones: tuple[int, ...]) -> torch.Tensor:
    """Rotations (P, T, 3, 3, 3) of a finger's joints to try: its own first."""
    number = [bone - 1 for bone in bones]
    axes = objective.axes.axes[number]
    own = hand_pose[:, number]
    turned = 2 * torch.einsum("jai,tji->tja", axes, get_gibbs(own))
    spread = turned[:, 0, 1].clamp(-0.3, 0.3)
    out = [own]
    for mcp in _MCP:
        for pip in _PIP:
            for aside in (0.0, -_SPREAD, _SPREAD) if mcp < 1.0 and pip < 1.0 else (0.0,):
                vector = torch.zeros(len(own), 3, 3, dtype=torch.float64)
                bend = (mcp, pip, _DIP_SHARE * pip)
                for joint in range(3):
                    vector[:, joint] = bend[joint] * axes[joint, 2]
                turns = roma.rotvec_to_rotmat(vector)
                aside_turn = roma.rotvec_to_rotmat((spread + aside)[:, None] * axes[0, 1])
                turns[:, 0] = aside_turn @ turns[:, 0]
                out.append(turns)
    return torch.stack(out)


def _try_finger(
    objective: Objective,
    surface: Surface,
    maps: _Maps,
    pose: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    bones: tuple[int, ...],
    px_per_mm: torch.Tensor,
    window: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best posture (T, 3, 3, 3) of a finger, and where (T,) it is better than the finger's own."""
    orient, hand_pose, transl = pose
    number = [bone - 1 for bone in bones]
    mine = torch.isin(objective.hand.weights.argmax(dim=1), torch.tensor(bones))
    finger, rest = (torch.nonzero(part)[:, 0] for part in (mine, ~mine))
    finger, rest = finger[:: max(len(finger) // 36, 1)], rest[:: max(len(rest) // 220, 1)]
    others = _project(objective, surface, orient, hand_pose, transl, rest)
    covered = _get_nearest(maps.inner, others)
    postures = _list_postures(objective, hand_pose, bones)
    costs = []
    trial = hand_pose.clone()
    for posture in postures:
        trial[:, number] = posture
        px = _project(objective, surface, orient, trial, transl, finger)
        costs.append(_rate(maps, px, covered, px_per_mm))
    cost = uniform_filter1d(torch.stack(costs).numpy(), window, axis=1, mode="nearest")
    best = torch.as_tensor(cost.argmin(axis=0))
    better = torch.as_tensor(cost.min(axis=0) < cost[0] - _GAIN_MM)
    return postures[best, torch.arange(len(best))], better


def _project(
    objective: Objective,
    surface: Surface,
    orient: torch.Tensor,
    hand_pose: torch.Tensor,
    transl: torch.Tensor,
    chosen: torch.Tensor,
) -> torch.Tensor:
    """Px (C, T, n, 2) float32 of some vertices."""
    rotation, bones = objective.hand.get_transforms(orient, hand_pose, transl)
    affine = objective.hand.get_affine(rotation, bones).transpose(2, 3).reshape(len(orient), 64, 3)
    return project(objective.cameras, surface.features[chosen] @ affine).float()


def _get_nearest(goals: torch.Tensor, px: torch.Tensor) -> torch.Tensor:
    """Px (C, T, N) from goals (C, T, N, 2) to the nearest of points (C, T, n, 2)."""
    out = torch.empty(goals.shape[:3])
    for first in range(0, goals.shape[1], 16):
        part = slice(first, first + 16)
        out[:, part] = torch.cdist(goals[:, part], px[:, part]).amin(dim=-1)
    return out


def _rate(maps: _Maps, px: torch.Tensor, covered: torch.Tensor, px_per_mm: torch.Tensor) -> torch.Tensor:
    """Cost (T,) in mm of a finger's vertices at px (C, T, n, 2), where the rest covers the masks to within
    ``covered`` (C, T, N) px.
    """
    scale = px_per_mm.float()[..., None]
    cells = ((px - maps.origin[:, :, None]) / maps.cell[..., None, None]).floor().long().clamp(0, _GRID - 1)
    views, times = maps.trust.shape
    flat = maps.outside.reshape(views, times, -1)
    outside = flat.gather(2, cells[..., 1] * _GRID + cells[..., 0]) / scale
    left = (torch.minimum(covered, _get_nearest(maps.inner, px)) / scale - _TOLERANCE_MM).clamp(min=0)
    cost = _FINGER_SHARE * outside.clamp(max=_MOST_MM).mean(-1) + left.clamp(max=_MOST_MM).mean(-1)
    return (maps.trust * cost).sum(0) / maps.trust.sum(0).clamp(min=1e-6)
