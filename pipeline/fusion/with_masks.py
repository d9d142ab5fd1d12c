"""The fit once more with masks, and which of the two is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from pipeline.fusion.evidence import Evidence
from pipeline.fusion.finger_search import search_fingers
from pipeline.fusion.masks import Masks
from pipeline.fusion.matching import Edge, find_edge, match
from pipeline.fusion.objective import Objective, Pose, project
from pipeline.fusion.offsets import estimate_offsets
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.silhouette import OutlineTerm, Surface
from pipeline.fusion.solver import Solution, get_residual_sigmas, minimise, weigh_robustly
from pipeline.progress import Reporter

_REACHES = (16.0, 8.0, 5.0, 4.0)
"""Of the edges' matches, round by round, in sigmas: first from far, then only what fits."""

_RATED_REACH = 6.0
_OFFSETS_FROM = 1
"""The round from which on the points' constant offsets are estimated anew."""

_STRETCH_S = 0.5

_STEPS = 8
"""Newton's steps between two matchings."""


@dataclass(frozen=True)
class Refit:
    """What masks made of a fit.

    Attributes
    ----------
    solution : Solution
        The one that is kept.
    offset_px : ndarray (C, 21, 2) or None
        Constant offsets taken off the points in it.
    kept : bool
        Whether it is the fit with masks.
    points_cost : (float, float)
        Mean robust cost of the points, without masks and with them.
    worst_cost : float
        By how much it rises in the worst stretch.
    mask_mm : (float, float)
        How far edges and silhouettes lie apart, without and with.
    """

    solution: Solution
    offset_px: np.ndarray | None
    kept: bool
    points_cost: tuple[float, float] = (np.nan, np.nan)
    worst_cost: float = np.nan
    mask_mm: tuple[float, float] = (np.nan, np.nan)


@dataclass(frozen=True)
class _Job:
    """What stays the same over the rounds."""

    plain: Objective
    evidence: Evidence
    surface: Surface
    masks: Masks
    edges: dict[tuple[int, int], Edge]
    options: FusionOptions

    def match(self, pose: Pose, reach: float) -> OutlineTerm:
        """L_mask at a pose."""
        times_s = self.evidence.time_s
        rows = match(self.plain, pose, self.surface, self.masks, self.edges, times_s, reach, self.options)
        return OutlineTerm(self.surface, rows)


def fit_with_masks(
    plain: Objective,
    solution: Solution,
    offset_px: np.ndarray | None,
    masks: Masks,
    surface: Surface,
    evidence: Evidence,
    options: FusionOptions,
    report: Reporter,
) -> Refit:
    """Fit with L_mask, from the fit without it, and keep it only if the points do not speak against it.

    Kept is what brings the silhouettes nearer to the masks while the points' mean robust cost rises by no
    more than ``mask_worse``, and in no stretch of ``_STRETCH_S`` by more than ``mask_worse_at_worst``.

    Parameters
    ----------
    plain : Objective
        With the points as they were measured and ``w_manual``.
    solution : Solution
        The fit without masks.
    offset_px : ndarray (C, 21, 2) or None
        Constant offsets taken off the points in it.
    masks : Masks
        At the evidence's times.
    surface : Surface
        Of the objective's hand.
    evidence : Evidence
        What the points are of: its times, and the spread of their offsets.
    options : FusionOptions
        Those of the masks, and the robust scale.
    report : Reporter
        Hears of progress, and, as a warning, where the fit with masks was not kept.
    """
    edges = _find_edges(masks, _get_scale(plain, solution.pose))
    job = _Job(plain, evidence, surface, masks, edges, options)
    if not edges:
        report.warn("No outline of the hand can be trusted, so none has a say in the fit.")
        return Refit(solution, offset_px, False)
    report.update(0.0, "Trying where the fingers point by their outline")
    pose = search_fingers(plain, solution.pose, surface, masks, evidence.time_s)
    other, other_offset_px = _refine(job, solution, pose, offset_px, report.part(0.2, 1.0))
    before, after = _rate_points(solution, job), _rate_points(other, job)
    points_cost = float(before.mean()), float(after.mean())
    worst = float(_average(after - before, _STRETCH_S * evidence.fps).max())
    mask_mm = _rate_masks(solution, job), _rate_masks(other, job)
    kept = (
        mask_mm[1] < mask_mm[0]
        and points_cost[1] <= points_cost[0] + options.mask_worse
        and worst <= options.mask_worse_at_worst
    )
    if not kept:
        report.warn(
            "The fit with the hand's outline is not kept: the points speak against it "
            f"(cost {points_cost[0]:.2f} to {points_cost[1]:.2f}, at worst {worst:.2f} more)."
        )
    chosen = (other, other_offset_px) if kept else (solution, offset_px)
    return Refit(*chosen, kept, points_cost, worst, mask_mm)


def _find_edges(masks: Masks, px_per_mm: np.ndarray) -> dict[tuple[int, int], Edge]:
    places = zip(*(part.tolist() for part in np.nonzero(masks.frame >= 0)), strict=True)
    found = {(view, time): find_edge(masks, view, time, px_per_mm[view, time]) for view, time in places}
    return {place: edge for place, edge in found.items() if edge is not None}


def _get_scale(objective: Objective, pose: Pose) -> np.ndarray:
    """Px a mm (C, T)."""
    cameras = objective.cameras
    middle = pose.get_joints(objective.hand).mean(dim=1)
    depth = torch.einsum("cj,tj->ct", cameras.R[:, 2], middle) + cameras.t_mm[:, 2, None]
    return (cameras.K[:, 0, 0, None] / depth.clamp(min=1.0)).numpy()


def _refine(
    job: _Job, solution: Solution, pose: Pose, offset_px: np.ndarray | None, report: Reporter
) -> tuple[Solution, np.ndarray | None]:
    """Match, estimate the points' offsets, weigh them, step; in turn."""
    current, manual = solution.objective, job.plain.seen.weights
    losses, iterations = list(solution.losses), solution.iterations
    for number, reach in enumerate(_REACHES):
        part = report.part(number / len(_REACHES), (number + 1) / len(_REACHES))
        current = replace(current, outline=job.match(pose, reach))
        if offset_px is not None and number >= _OFFSETS_FROM:
            current, offset_px = _take_offsets(job, current, pose)
        current = current.with_weights(weigh_robustly(current, pose, manual, job.options))
        last = number == len(_REACHES) - 1
        pose, loss, used = minimise(current, pose, _STEPS, False, part, rough=not last)
        losses.append(loss)
        iterations += used
    return Solution(pose, current, tuple(losses), iterations), offset_px


def _take_offsets(job: _Job, current: Objective, pose: Pose) -> tuple[Objective, np.ndarray]:
    """The objective with its points' constant offsets taken off, as they are against this pose."""
    assert job.evidence.offset_sigma_px is not None
    found_px = project(current.cameras, pose.get_joints(current.hand))
    seen = replace(current.seen, keypoints_px=job.plain.seen.keypoints_px)
    sigma = torch.as_tensor(job.evidence.offset_sigma_px)
    offset_px = estimate_offsets(seen, found_px, sigma, job.options.independent_s * job.evidence.fps)
    less = replace(seen, keypoints_px=seen.keypoints_px - offset_px[:, None])
    return replace(current, seen=less), offset_px.numpy()


def _rate_points(solution: Solution, job: _Job) -> np.ndarray:
    """Mean (T,) of ``log(1 + z^2 / c^2)`` over a frame's points, in proportion to their manual weight; 0
    where there are none.
    """
    manual = job.plain.seen.weights
    z = get_residual_sigmas(solution.objective.with_weights(manual), solution.pose)
    cost = manual * torch.log1p((z / job.options.robust_sigmas).square())
    return (cost.sum(dim=(0, 2)) / manual.sum(dim=(0, 2)).clamp(min=1e-9)).numpy()


def _average(values: np.ndarray, frames: float) -> np.ndarray:
    return uniform_filter1d(values, max(round(frames), 1), mode="nearest")


def _rate_masks(solution: Solution, job: _Job) -> float:
    """Root mean square, in mm, of how far edges and silhouettes lie apart, far ones counted by less."""
    term = job.match(solution.pose, _RATED_REACH)
    orient, hand_pose, transl = solution.pose.to_matrices()
    hand = solution.objective.hand
    affine = hand.get_affine(*hand.get_transforms(orient, hand_pose, transl))
    off = term.get_residuals(solution.objective.cameras, affine)
    weight = term.rows.weight
    total = float((weight * off.square()).sum() / weight.sum().clamp(min=1e-12))
    return float(np.sqrt(total) / np.median(_get_scale(solution.objective, solution.pose)))
