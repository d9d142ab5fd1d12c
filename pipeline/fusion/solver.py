"""All frames at once: Newton's steps on the objective, kept safe as Levenberg and Marquardt do.

The schedule is seed 000's: at most 50 iterations on theta_global and t with ``L_reproj + 10 lambda_temp
L_temporal``, then at most 150 on everything with the anchor. Between parts of the second stage the views'
weights are set anew.

A hand in mm and rad is an ill-rounded problem: a turn of the wrist moves all tips, a turn of a DIP one
point; plain L-BFGS has not got there after hundreds of iterations. But frames meet only their neighbours, so
the curvature (`pipeline.fusion.curvature`) is block-tridiagonal, and a step with its inverse costs about as
much as five gradients. Objective, variables and minimum are the same; a few steps are enough. It is one
problem for any length of recording: time and memory are linear in frames, and there are no pieces to join.

One damping holds for all frames, so a few whose points lie far off hold the others back: 26 to 36 steps where
5 % of the points are off by 80 px, 10 to 15 without. Damping by frame, by what the gradients at both ends of
a step say that it gained each frame, was tried: 29 and 30 steps in place of 33 and 36, the same minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch

from pipeline.fusion.curvature import Curvature, get_curvature
from pipeline.fusion.objective import Objective, Observations, Pose, choose_sixd, project
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.tridiagonal import factorise
from pipeline.hand.rotations import encode_sixd
from pipeline.progress import Reporter

_TOLERANCE = 1e-6
"""Stop when a step promises to change the log likelihood of a frame by less."""

_ROUGH = 1e-3
"""Where only the next round's weights are wanted: when it promises less than this share of the objective."""

_SETTLED = 1e-4
"""The round is the last when no weight changes by more."""

_NEAR = 0.1
"""Bending helps once a step promises a frame less: far from the minimum the residuals mislead."""

_DAMPING, _LEAST_DAMPING = 1e-4, 1e-9
"""Share of its own curvature added to each coordinate: at the start, and at least."""


@dataclass(frozen=True)
class Solution:
    """What the solver found.

    Attributes
    ----------
    pose : Pose
    objective : Objective
        With the weights of the last round.
    losses : tuple of float
        The objective at the end of stage 1 and of each round of stage 2.
    iterations : int
        Steps tried, in all.
    """

    pose: Pose
    objective: Objective
    losses: tuple[float, ...]
    iterations: int


def solve(objective: Objective, start: Pose, options: FusionOptions, report: Reporter) -> Solution:
    """Both stages, with the views' robust weights set anew between the rounds of the second.

    Parameters
    ----------
    objective : Objective
        Its weights are ``w_manual``, 0 where not seen.
    start : Pose
        The initial guess; L_anchor holds theta_hand to the objective's own anchor.
    options : FusionOptions
        Iterations, rounds and robust scale.
    report : Reporter
        Hears of progress.
    """
    manual = objective.seen.weights
    pose = start.normalise()
    first = replace(
        objective,
        lambda_temp=options.global_temporal_factor * objective.lambda_temp,
        lambda_anchor=0.0,
        lambda_axes=0.0,
    )
    first = first.with_weights(weigh_robustly(first, pose, manual, options))
    pose, loss, iterations = minimise(
        first, pose, options.iterations_global, True, report.part(0.0, 0.2), True
    )
    losses = [loss]
    current = objective
    for number in range(options.rounds):
        weights = weigh_robustly(objective, pose, manual, options)
        settled = number > 0 and torch.allclose(weights, current.seen.weights, rtol=0.0, atol=_SETTLED)
        last = settled or number == options.rounds - 1
        current = objective.with_weights(weights)
        part = report.part(0.2 + 0.8 * number / options.rounds, 0.2 + 0.8 * (number + 1) / options.rounds)
        budget = options.iterations_full // options.rounds
        pose, loss, used = minimise(current, pose, budget, False, part, not last)
        losses.append(loss)
        iterations += used
        if last:
            break
    report.update(1.0)
    return Solution(pose, current, tuple(losses), iterations)


def weigh_robustly(
    objective: Objective, pose: Pose, manual: torch.Tensor, options: FusionOptions
) -> torch.Tensor:
    """Weights (C, T, 21): ``w_manual / (1 + z^2 / c^2)`` with z the residual in sigmas (Cauchy).

    A frame whose pose is still rough has all its points far off, and none of them is an outlier for that:
    z counts in units of the frame's typical residual, but never of less than sigma.
    """
    with torch.no_grad():
        z = get_residual_sigmas(objective, pose)
        known = torch.where(manual > 0, z, torch.full_like(z, torch.nan))
        # The median of a Rayleigh-distributed |z| is 1.18 sigma.
        typical = known.transpose(0, 1).flatten(1).nanmedian(dim=1).values / 1.18
        typical = typical.nan_to_num(1.0).clamp(min=1.0)[None, :, None]
        return manual / (1 + (z / (typical * options.robust_sigmas)).square())


def get_residual_sigmas(objective: Objective, pose: Pose) -> torch.Tensor:
    """Reprojection residuals (C, T, 21) in sigmas; 0 where not seen."""
    seen: Observations = objective.seen
    residual = project(objective.cameras, pose.get_joints(objective.hand)) - seen.keypoints_px
    z = residual.norm(dim=-1) / (seen.sigma_px.square() + objective.epsilon).sqrt()
    return torch.where(seen.weights > 0, z, torch.zeros_like(z))


def minimise(
    objective: Objective,
    start: Pose,
    iterations: int,
    only_global: bool,
    report: Reporter,
    rough: bool = False,
) -> tuple[Pose, float, int]:
    """Newton's steps on the objective from a pose.

    A step that does not bring the objective down is not taken and tried again shorter, with more damping.

    Parameters
    ----------
    objective : Objective
        What to minimise; its weights are held.
    start : Pose
        Where to start; it is normalised.
    iterations : int
        At most so many steps; fewer when the objective no longer falls.
    only_global : bool
        Hold theta_hand.
    report : Reporter
        Hears of progress.
    rough : bool
        Stop early: the next round goes on from here.

    Returns
    -------
    pose : Pose
        6D normalised.
    loss : float
        With the 6D columns that L_anchor likes best (`choose_sixd`).
    iterations : int
        Steps tried.
    """
    turning = 1 if only_global else 16
    pose, damping, promised, used = start.normalise(), _DAMPING, np.inf, 0
    frames = len(pose.transl_mm)
    value, gradient = evaluate(objective, pose, turning)
    curvature: Curvature | None = None
    while used < iterations:
        report.update(used / iterations, "Fitting the hand to all views")
        used += 1
        near = promised < _NEAR * frames
        curvature = curvature or get_curvature(objective, pose, turning, bending=near)
        step, promised = _get_step(curvature, gradient, damping)
        trial = move(pose, step)
        trial_value, trial_gradient = evaluate(objective, trial, turning)
        if trial_value < value:
            kept_promise = value - trial_value > 0.25 * promised
            damping = max(0.1 * damping, _LEAST_DAMPING) if kept_promise else damping
            pose, value, gradient, curvature = trial, trial_value, trial_gradient, None
        else:
            damping = max(10 * damping, _DAMPING)
        if promised < (_ROUGH * value if rough else _TOLERANCE * frames):
            break
    report.update(1.0)
    return pose, value / objective.seen.n_observations, used


def evaluate(objective: Objective, pose: Pose, turning: int = 16) -> tuple[float, np.ndarray]:
    """``N_obs`` times the objective, and its gradient (T, 3 + 3 x turning) by tangent coordinates."""
    orient, hand_pose, transl = pose.to_matrices()
    theta_hand = (
        choose_sixd(hand_pose, objective.theta_anchor) if objective.lambda_anchor > 0 else pose.theta_hand
    )
    variables = [part.clone().requires_grad_(True) for part in (transl, pose.theta_global, theta_hand)]
    loss = objective.loss(*variables)
    by_transl, by_global, by_hand = torch.autograd.grad(loss, variables)
    by_sixd = torch.cat([by_global[:, None], by_hand], dim=1)[:, :turning]
    sixd = torch.cat([pose.theta_global[:, None], theta_hand], dim=1)[:, :turning]
    rotation = torch.cat([orient[:, None], hand_pose], dim=1)[:, :turning]
    # Turned by R exp([w]x) a column c = R l moves by R (w x l), whatever its length.
    columns = torch.linalg.cross(sixd.unflatten(2, (2, 3)), by_sixd.unflatten(2, (2, 3))).sum(2)
    by_turn = (columns[:, :, None] @ rotation).flatten(1)
    scale = objective.seen.n_observations  # times N_obs the objective is minus a log likelihood
    return float(loss.detach()) * scale, scale * torch.cat([by_transl, by_turn], dim=1).numpy()


def _get_step(curvature: Curvature, gradient: np.ndarray, damping: float) -> tuple[np.ndarray, float]:
    """The damped step (T, 3 + 3 x turning), and by how much it promises to bring the objective down."""
    added = damping * curvature.diagonal.diagonal(axis1=1, axis2=2)
    step = -factorise(curvature.diagonal, curvature.lower, added).solve(gradient)
    return step, 0.5 * float((step * (added * step - gradient)).sum())


def move(pose: Pose, step: np.ndarray) -> Pose:
    """The pose moved by tangent coordinates (T, 6) or (T, 51)."""
    orient, hand_pose, transl = pose.to_matrices()
    matrices = torch.cat([orient[:, None], hand_pose], dim=1)
    turns = torch.as_tensor(step[:, 3:]).unflatten(1, (-1, 3))
    turning = turns.shape[1]
    matrices[:, :turning] = matrices[:, :turning] @ roma.rotvec_to_rotmat(turns)
    return Pose(
        transl + torch.as_tensor(step[:, :3]), encode_sixd(matrices[:, 0]), encode_sixd(matrices[:, 1:])
    )
