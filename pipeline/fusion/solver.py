"""All frames at once: L-BFGS on the objective, in coordinates in which it is well rounded.

The schedule is seed 000's: 50 iterations on theta_global and t with ``L_reproj + 10 lambda_temp L_temporal``,
then 150 on everything with the anchor. Between parts of the second stage the views' weights are set anew.

A hand in mm and rad is an ill-rounded problem: a turn of the wrist moves all tips, a turn of a DIP one
point. So L-BFGS runs in ``y`` with ``x = x0 + P y``, where ``P P^T`` is the inverse of the Gauss-Newton
curvature at the start (`pipeline.fusion.curvature`). Objective, variables and minimum are the same; it gets
there in tens of iterations where plain L-BFGS needs hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg.blas
import torch

from pipeline.fusion.curvature import N_TANGENT, Curvature, factorise, get_curvature, get_sixd_basis
from pipeline.fusion.objective import N_PARAMETERS, Objective, Observations, Pose, project
from pipeline.fusion.options import FusionOptions
from pipeline.progress import Reporter

_HISTORY = 12
_TOLERANCE_PER_FRAME = 1e-6
"""Stop when the log likelihood of a frame changes by less, or no variable by so many of its sigmas in all."""

_GLOBAL = 6
"""Tangent coordinates of stage 1: translation and global orientation."""


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
        L-BFGS iterations in all.
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
    pose, loss, iterations = minimise(first, pose, options.iterations_global, True, report.part(0.0, 0.2))
    losses = [loss]
    current = objective
    for number in range(options.rounds):
        current = objective.with_weights(weigh_robustly(objective, pose, manual, options))
        part = report.part(0.2 + 0.8 * number / options.rounds, 0.2 + 0.8 * (number + 1) / options.rounds)
        budget = options.iterations_full // options.rounds
        pose, loss, used = minimise(current, pose, budget, False, part)
        losses.append(loss)
        iterations += used
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
    objective: Objective, start: Pose, iterations: int, only_global: bool, report: Reporter
) -> tuple[Pose, float, int]:
    """L-BFGS on the objective from a pose.

    Parameters
    ----------
    objective : Objective
        What to minimise; its weights are held.
    start : Pose
        Where to start; it is normalised.
    iterations : int
        At most so many; fewer when the objective no longer falls.
    only_global : bool
        Hold theta_hand.
    report : Reporter
        Hears of progress.

    Returns
    -------
    pose : Pose
        6D normalised.
    loss : float
    iterations : int
        Used.
    """
    coordinates = _Coordinates(start, get_curvature(objective, start), objective, only_global)

    scale = objective.seen.n_observations  # times N_obs the objective is minus a log likelihood
    y = torch.zeros(coordinates.size, dtype=torch.float64, requires_grad=True)
    frames = len(start.transl_mm)
    optimiser = torch.optim.LBFGS(
        [y],
        max_iter=iterations,
        history_size=_HISTORY,
        tolerance_grad=0.0,
        tolerance_change=_TOLERANCE_PER_FRAME * frames,
        line_search_fn="strong_wolfe",
    )
    calls = 0

    def closure() -> float:
        nonlocal calls
        calls += 1
        report.update(calls / (2 * iterations), "Fitting the hand to all views")
        x = torch.as_tensor(coordinates.to_pose(y.detach().numpy())).requires_grad_(True)
        loss = objective.loss(*_split(x))
        (gradient,) = torch.autograd.grad(loss, x)
        y.grad = torch.as_tensor(coordinates.to_gradient(gradient.numpy()) * scale)
        return float(loss.detach()) * scale

    optimiser.step(closure)
    best = _split(torch.as_tensor(coordinates.to_pose(y.detach().numpy())))
    with torch.no_grad():
        loss = float(objective.loss(*best))
    report.update(1.0)
    return Pose(*best).normalise(), loss, int(optimiser.state[y]["n_iter"])


def _split(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``t``, ``theta_global`` and ``theta_hand`` of variables (T, 99)."""
    return x[:, :3], x[:, 3:9], x[:, 9:].reshape(len(x), 15, 6)


class _Coordinates:
    """``x = x0 + P y``: y1 moves along the tangents, rounded by the curvature; y2 along the rest of 6D.

    A 6D rotation has three directions that turn nothing (lengths and angle of its columns). They belong to
    the variables as seed 000 has them, and large turns need them.
    """

    def __init__(self, start: Pose, curvature: Curvature, objective: Objective, only_global: bool) -> None:
        frames = len(start.transl_mm)
        self.start = torch.cat(
            [start.transl_mm, start.theta_global, start.theta_hand.reshape(frames, 90)], dim=1
        ).numpy()
        self.block = _GLOBAL if only_global else N_TANGENT
        self.rotations = 1 if only_global else 16
        size = self.block
        factor = factorise(curvature.diagonal[:, :size, :size], curvature.lower[:, :size, :size])
        self.band = factor.to_band()
        orient, hand_pose, _ = start.to_matrices()
        matrices = torch.cat([orient[:, None], hand_pose], dim=1)[:, : self.rotations]
        self.tangent = get_sixd_basis(matrices).numpy()
        self.rest = _get_rest(matrices).numpy()
        # Along the rest only the anchor counts.
        stiffness = 2 * objective.lambda_anchor * objective.seen.n_observations / frames
        self.rest_scale = np.full((self.rotations, 1), 1.0 / np.sqrt(stiffness + 1.0))
        self.rest_scale[0] = 1.0
        self.frames = frames
        self.size = frames * (size + 3 * self.rotations)

    def to_pose(self, y: np.ndarray) -> np.ndarray:
        """Variables (T, 99) at y."""
        split = self.frames * self.block
        step = _solve_band(self.band, y[:split], transposed=True).reshape(self.frames, self.block)
        rest = y[split:].reshape(self.frames, self.rotations, 3) * self.rest_scale
        turn = step[:, 3:].reshape(self.frames, self.rotations, 3)
        sixd = (self.tangent @ turn[..., None] + self.rest @ rest[..., None])[..., 0]
        x = self.start.copy()
        x[:, :3] += step[:, :3]
        x[:, 3 : 3 + 6 * self.rotations] += sixd.reshape(self.frames, -1)
        return x

    def to_gradient(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient by y from the gradient (T, 99) by x."""
        if gradient.shape != (self.frames, N_PARAMETERS):
            raise ValueError(f"a gradient of shape {gradient.shape}")
        sixd = gradient[:, 3 : 3 + 6 * self.rotations].reshape(self.frames, self.rotations, 6, 1)
        turn = (self.tangent.swapaxes(2, 3) @ sixd).reshape(self.frames, -1)
        rest = (self.rest.swapaxes(2, 3) @ sixd)[..., 0] * self.rest_scale
        step = np.concatenate([gradient[:, :3], turn], axis=1).reshape(-1)
        return np.concatenate([_solve_band(self.band, step, transposed=False), rest.reshape(-1)])


def _get_rest(rotation: torch.Tensor) -> torch.Tensor:
    """Basis (..., 6, 3) of what Gram-Schmidt takes out of 6D: both lengths, and column 0 in column 1."""
    c0, c1, _ = rotation.unbind(-1)
    zero = torch.zeros_like(c0)
    columns = [torch.cat([c0, zero], -1), torch.cat([zero, c1], -1), torch.cat([zero, c0], -1)]
    return torch.stack(columns, dim=-1)


def _solve_band(band: np.ndarray, right: np.ndarray, transposed: bool) -> np.ndarray:
    """Solve ``L x = right`` or ``L^T x = right`` for L in lower band form."""
    return scipy.linalg.blas.dtbsv(
        len(band) - 1, band, np.ascontiguousarray(right), lower=1, trans=int(transposed)
    )
