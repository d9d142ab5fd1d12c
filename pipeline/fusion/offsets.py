"""Constant offsets of the views' points: what no number of frames averages away.

A network has its own idea of where a joint is, so camera c sees joint j of every frame t at
``pi_c(J_j(t)) + b_cj + noise``. Only the part of ``b`` in which the views contradict each other, or the
hand's bone lengths, shows in the residuals: that is taken off the points, between fits (`fit_offsets`). What
they have in common looks like another posture. It stays in the joints, and its size is known by what the
estimators state of themselves alone; `get_offset_sigma` carries that through the fit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pipeline.fusion.curvature import get_curvature, get_projection_rows
from pipeline.fusion.objective import Objective, Observations, Pose, project
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import Solution, minimise, weigh_robustly
from pipeline.fusion.tridiagonal import factorise
from pipeline.progress import Reporter

_ROUNDS = 2
"""Fits with the offsets of the fit before taken off; a third moves the joints by hundredths of a mm."""


def fit_offsets(
    objective: Objective,
    solution: Solution,
    offset_sigma_px: np.ndarray,
    independent_frames: float,
    options: FusionOptions,
    report: Reporter,
) -> tuple[Solution, np.ndarray]:
    """Fit offsets and hand in turn, from a hand that was fitted without offsets.

    Parameters
    ----------
    objective : Objective
        Its weights are ``w_manual``, 0 where not seen.
    solution : Solution
        The fit without offsets.
    offset_sigma_px : ndarray (C, 21)
        Prior spread of each view's and joint's offset along each axis; 0 holds it at 0.
    independent_frames : float
        Frames over which the rest of a point's error hangs together; so many count as one.
    options : FusionOptions
        Iterations and robust scale.
    report : Reporter
        Hears of progress.

    Returns
    -------
    solution : Solution
        Its objective's points have the offsets taken off.
    offset_px : ndarray (C, 21, 2)
    """
    points_px, manual = objective.seen.keypoints_px, objective.seen.weights
    current, pose = solution.objective, solution.pose
    losses, iterations = list(solution.losses), solution.iterations
    for number in range(_ROUNDS):
        found_px = project(objective.cameras, pose.get_joints(objective.hand))
        seen = replace(current.seen, keypoints_px=points_px)
        offset_px = estimate_offsets(seen, found_px, torch.as_tensor(offset_sigma_px), independent_frames)
        less = replace(seen, keypoints_px=points_px - offset_px[:, None], weights=manual)
        current = replace(current, seen=less)
        current = current.with_weights(weigh_robustly(current, pose, manual, options))
        part = report.part(number / _ROUNDS, (number + 1) / _ROUNDS)
        budget = options.iterations_full // options.rounds
        pose, loss, used = minimise(current, pose, budget, False, part, rough=number < _ROUNDS - 1)
        losses.append(loss)
        iterations += used
    return Solution(pose, current, tuple(losses), iterations), offset_px.numpy()


def estimate_offsets(
    seen: Observations, found_px: torch.Tensor, offset_sigma_px: torch.Tensor, independent_frames: float
) -> torch.Tensor:
    """The likeliest offsets (C, 21, 2) of a hand held fast, its joints at ``found_px`` (C, T, 21, 2).

    ``b = sum_t(w r / s^2) / (sum_t(w / s^2) + n / offset_sigma^2)`` with r the points less where the joints
    are, and n the frames that count as one: the fewer tell, the less is taken off.
    """
    variance = offset_sigma_px.square()[..., None]
    information = (seen.weights / seen.sigma_px.square())[..., None]
    pull = (information * (seen.keypoints_px - found_px)).sum(dim=1)
    return variance * pull / (variance * information.sum(dim=1) + independent_frames)


def get_offset_sigma(objective: Objective, pose: Pose, offset_sigma_px: np.ndarray) -> np.ndarray:
    """Standard deviation (T, 21) in mm, per axis, of the joints' error that constant offsets make.

    Offsets b shift the optimum by ``H^-1 J^T W b`` with H the curvature of all frames, their priors and
    L_temporal included; b's spread, carried so to the joints, is theirs. It is that before anything was
    taken off: against the truth, what `fit_offsets` finds is a tenth of the offsets' size.

    Parameters
    ----------
    objective : Objective
        With the weights that found the pose.
    pose : Pose
        The optimum.
    offset_sigma_px : ndarray (C, 21)
        Spread of each view's and joint's offset along each axis.
    """
    curvature = get_curvature(objective, pose)
    factor = factorise(curvature.diagonal, curvature.lower)
    jacobian = torch.as_tensor(curvature.joint_jacobian)
    rows = get_projection_rows(objective.cameras, pose.get_joints(objective.hand))
    information = objective.seen.weights / (objective.seen.sigma_px.square() + objective.epsilon)
    weights = information * torch.as_tensor(offset_sigma_px)[:, None]
    spread = torch.zeros(len(jacobian), 63, dtype=torch.float64)
    for camera in range(len(rows)):  # one at a time: 42 numbers of each of the frame's coordinates
        pull = rows[camera] * weights[camera, :, :, None, None]
        shift = torch.empty(len(jacobian), jacobian.shape[2], 42, dtype=torch.float64)
        for frame, moved in enumerate(jacobian):
            # (21, 2, 3) by (21, 3, B): what each offset pulls at each of the frame's coordinates.
            shift[frame] = (pull[frame] @ moved.unflatten(0, (21, 3))).flatten(0, 1).T
        factor.solve_columns(shift)
        for frame, moved in enumerate(jacobian):
            spread[frame] += (moved @ shift[frame]).square().sum(dim=1)
    return spread.view(-1, 21, 3).mean(dim=2).sqrt().numpy()
