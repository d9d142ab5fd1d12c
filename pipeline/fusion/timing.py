"""Residual time shifts of the views: how much later than the reference camera each one shows the hand move.

A camera's clock comes from sound, from the hand's motion or from a person, and the pictures of a file may lie
some ms beside its sound. So once the poses are at their optimum they are fitted on together with one shift a
camera. The poses' curvature A is block-tridiagonal; the shifts s add a dense column each,

    [ A    B ] [poses ]     [g_poses ]
    [ B^T  D ] [shifts] = - [g_shifts]

and a step in the shifts comes from the Schur complement ``S = D - B^T A^-1 B``: what the points say of a
shift that no other movement of the hand explains as well.

The derivative of a view's points by its shift is the velocity of the *fitted* joints in its pictures,
smoothed. That of the points themselves holds their noise, and noise in what one divides by pulls a result
to 0. Its slow part is taken away, for networks err by an amount that changes slowly and is no shift. Both
cost steps but do not bias the result: at every step the points are read at the shifted times themselves.

`pipeline.sync.reprojection` judges clocks before there is a fit, pair by pair by epipolar lines alone: it
finds offsets that are off by seconds, and tells the drift. What is here starts from a fit, so it knows the
bones, takes all views together and sees a shift along the epipolar lines too; but it looks some frames far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from pipeline.fusion.curvature import get_curvature, get_projection_rows
from pipeline.fusion.objective import Objective, Pose, project
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import evaluate, get_residual_sigmas, move, weigh_robustly
from pipeline.fusion.tridiagonal import factorise
from pipeline.fusion.uncertainty import get_typical_scale
from pipeline.progress import Reporter
from pipeline.results import HandTrack, SyncResult

_SMOOTHING_S = 0.02
"""Standard deviation of the velocity's smoothing: with less it holds noise, with more it misses strokes."""

_SLOW_S = 0.35
"""Standard deviation of the window whose mean is slow, as in `pipeline.sync.reprojection`."""

_BLOCK_S = 0.5
"""What lies further apart errs independently."""

_FEW_BLOCKS = 6
"""Of fewer the scatter says nothing; frames within ``independent_s`` are then counted as one, and the points
as sure as their residuals are typically small."""

_LEAST_TOGETHER = 0.3
"""Robust and manual weights make points look less sure than they are, but not by more."""

_LEAST_SIGMA_S = 1e-4
"""Cameras expose a picture over some ms, and rolling shutters read it in as many."""

_REACH = 2.5
"""Shifts are looked for up to so many times the largest that is ever taken off."""

_STEPS = 10
_SETTLED = 0.5
"""Stop when no shift changed by more than this share of its sigma; the next change is a few times less."""

_FURTHEST = np.array([40.0] * 3 + [0.5] * 48)
"""No coordinate of a frame goes further in a step (mm, rad): as far as a hand at 1 m/s gets in the largest
shift. Points that fit no hand would send it through the cameras."""

_BRIDGED = 2.5
"""Points further apart than this many frames are not read between."""


@dataclass(frozen=True)
class TimeShifts:
    """How much later than the reference camera each camera shows the hand move.

    Attributes
    ----------
    shift_s : ndarray (C,)
        By the clocks that were believed: taken off a camera's offset it mends it. 0 for the first camera,
        the reference.
    sigma_s : ndarray (C,)
        Standard error; NaN for the reference. Of a hand that hardly moves about the prior's spread. Infinite
        where the search had to stop: the shift is that large at least.
    """

    shift_s: np.ndarray
    sigma_s: np.ndarray


def fit_time_shifts(
    objective: Objective, pose: Pose, manual: torch.Tensor, time_s: np.ndarray, options: FusionOptions
) -> TimeShifts:
    """The shift of each camera but the first, fitted together with the poses, from their optimum on.

    Parameters
    ----------
    objective : Objective
        Whose points are at the times that the clocks say.
    pose : Pose
        Its optimum.
    manual : Tensor (C, T, 21)
        Manual weights, 0 where not seen.
    time_s : ndarray (T,)
        Times of the frames, ascending.
    options : FusionOptions
        The shifts' prior and reach, and the robust scale.

    Returns
    -------
    TimeShifts
        Zeros and NaN where there is one camera, or fewer than three frames; zeros and the prior's spread
        where the reference never saw the hand.
    """
    views = len(manual)
    shift_s, sigma_s = np.zeros(views), np.full(views, np.nan)
    if views < 2 or len(time_s) < 3:
        return TimeShifts(shift_s, sigma_s)
    if not bool((manual[0] > 0).any()):
        sigma_s[1:] = options.time_shift_prior_s
        return TimeShifts(shift_s, sigma_s)
    prior = np.full(views - 1, options.time_shift_prior_s**-2)
    most_s = options.time_shift_most_s
    for _ in range(_STEPS):
        there = _read(objective, manual, time_s, shift_s)
        weighed = there.with_weights(weigh_robustly(there, pose, there.seen.weights, options))
        system = _make_system(weighed, pose, time_s)
        together = system.get_together(options.independent_s, _get_scale(there, weighed, pose))
        information = system.information / np.sqrt(np.outer(together, together)) + np.diag(prior)
        score = system.score / together - prior * shift_s[1:]
        step_s = np.linalg.solve(information, score).clip(-most_s, most_s)
        sigma_s[1:] = np.sqrt(np.diag(np.linalg.inv(information)))
        pose = move(pose, (system.to_rest + system.answers @ step_s).clip(-_FURTHEST, _FURTHEST))
        shift_s[1:] = (shift_s[1:] + step_s).clip(-_REACH * most_s, _REACH * most_s)
        if (np.abs(step_s) < _SETTLED * sigma_s[1:]).all():
            break
    # Where the search had to stop nothing says how much further it would have gone.
    sigma_s[np.abs(shift_s) >= _REACH * most_s] = np.inf
    return TimeShifts(shift_s, np.hypot(sigma_s, _LEAST_SIGMA_S))


def _get_scale(there: Objective, weighed: Objective, pose: Pose) -> float:
    """How many of their sigmas the points are typically off, at least 1; by manual and robust weights."""
    z = get_residual_sigmas(there, pose)
    weights = (part.seen.weights.numpy() for part in (weighed, there))
    return max(get_typical_scale(z.numpy(), *weights), 1.0)


def choose_time_shifts(hand: HandTrack, most_s: float, report: Reporter) -> np.ndarray:
    """The cameras (C,) bool whose time shift may be taken off; of larger ones it warns."""
    shift_s = np.zeros(len(hand.cameras)) if hand.time_shift_s is None else hand.time_shift_s
    sigma_s = np.full(len(shift_s), np.nan) if hand.time_shift_sigma_s is None else hand.time_shift_sigma_s
    for camera, shift, sigma in zip(hand.cameras, shift_s, sigma_s, strict=True):
        if abs(shift) > most_s:
            least = "at least " if np.isinf(sigma) else ""
            when = f"{least}{abs(shift) * 1e3:.0f} ms {'later' if shift > 0 else 'earlier'}"
            report.warn(
                f"The hand in camera {camera} seems to move {when} than in camera {hand.cameras[0]}. That is "
                "too much to be set right here: look at its clock, and give its offset_s in session.toml."
            )
    return (shift_s != 0) & (np.abs(shift_s) <= most_s)


def take_off_time_shifts(sync: SyncResult, hand: HandTrack, applied: np.ndarray) -> SyncResult:
    """The clocks, those of the cameras marked in ``applied`` (C,) put right by the hand's time shifts."""
    assert hand.time_shift_s is not None
    clocks = dict(sync.cameras)
    for camera, shift_s, wanted in zip(hand.cameras, hand.time_shift_s, applied, strict=True):
        if wanted:
            clocks[camera] = replace(clocks[camera], offset_s=clocks[camera].offset_s - float(shift_s))
    return replace(sync, cameras=clocks)


@dataclass(frozen=True)
class _System:
    """The bordered system at a pose and at shifts; K = C - 1 of them.

    Attributes
    ----------
    to_rest : ndarray (T, B)
        ``-A^-1 g_poses``: where the poses go with the shifts held.
    answers : ndarray (T, B, K)
        ``-A^-1 B``: how the poses answer to the shifts.
    information : ndarray (K, K)
        S, in s^-2.
    score : ndarray (K,)
        ``-(g_shifts - B^T A^-1 g_poses)``, s^-1.
    parts : ndarray (K, T)
        What each frame adds to the score.
    time_s : ndarray (T,)
    """

    to_rest: np.ndarray
    answers: np.ndarray
    information: np.ndarray
    score: np.ndarray
    parts: np.ndarray
    time_s: np.ndarray

    def get_together(self, independent_s: float, scale: float) -> np.ndarray:
        """How many times less than it looks each shift's information is worth (K,): errors hang together.

        By the score's own scatter over stretches of time; of too few of them by the time over which errors
        hang together, and by how many sigmas the points are typically off.
        """
        block = np.floor((self.time_s - self.time_s[0]) / _BLOCK_S).astype(int)
        count = int(block[-1]) + 1
        if count < _FEW_BLOCKS:
            frame_s = float(np.median(np.diff(self.time_s)))
            return np.full(len(self.score), max(independent_s / frame_s, 1.0) * scale**2)
        sums = np.stack([np.bincount(block, part, count) for part in self.parts])
        scatter = count * sums.var(axis=1, ddof=1)
        return np.maximum(scatter / np.diag(self.information).clip(min=1e-9), _LEAST_TOGETHER)


def _make_system(objective: Objective, pose: Pose, time_s: np.ndarray) -> _System:
    curvature = get_curvature(objective, pose)
    seen, joints = objective.seen, pose.get_joints(objective.hand)
    rows = get_projection_rows(objective.cameras, joints)
    fitted = project(objective.cameras, joints)
    trust = (seen.weights / (seen.sigma_px.square() + objective.epsilon))[..., None]
    velocity = torch.as_tensor(_get_velocity(fitted.numpy(), time_s))[1:]
    weighted = trust[1:] * velocity
    jacobian = torch.as_tensor(curvature.joint_jacobian)
    pulls = torch.einsum("ctkij,ctki->tkjc", rows[1:], weighted).flatten(1, 2)
    _, gradient = evaluate(objective, pose)
    solved = torch.cat([-torch.as_tensor(gradient)[..., None], jacobian.mT @ pulls], dim=2)
    factorise(curvature.diagonal, curvature.lower).solve_columns(solved)
    # How the points of view c move: (C, T, 21, 2, 1 + K).
    moved = torch.einsum("ctkij,tkjn->ctkin", rows, (jacobian @ solved).unflatten(1, (21, 3)))
    residual = fitted - seen.keypoints_px + moved[..., 0]
    answers = moved[..., 1:]
    own = torch.diag((weighted * velocity).sum(dim=(1, 2, 3)))
    parts = (weighted * residual[1:]).sum(dim=(2, 3))
    return _System(
        to_rest=solved[..., 0].numpy(),
        answers=solved[..., 1:].numpy(),
        information=(own - torch.einsum("ctki,ctkin->cn", weighted, answers[1:])).numpy(),
        score=parts.sum(dim=1).numpy(),
        parts=parts.numpy(),
        time_s=time_s,
    )


def _get_velocity(fitted_px: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """The quick part of the velocity (C, T, 21, 2), px/s, of points (C, T, 21, 2)."""
    frame_s = float(np.median(np.diff(time_s)))
    velocity = np.gradient(fitted_px, time_s, axis=1)
    smooth = gaussian_filter1d(velocity, _SMOOTHING_S / frame_s, axis=1, mode="nearest")
    return smooth - gaussian_filter1d(smooth, _SLOW_S / frame_s, axis=1, mode="nearest")


def _read(objective: Objective, manual: torch.Tensor, time_s: np.ndarray, shift_s: np.ndarray) -> Objective:
    """The objective with each view's points read later by its shift, without weight where there are none.

    On straight lines: they blunt a path but do not delay it, and an outlier spoils two frames and no more.
    """
    points = np.where(manual.numpy()[..., None] > 0, objective.seen.keypoints_px.numpy(), np.nan)
    frame_s = float(np.median(np.diff(time_s)))
    out = points.copy()
    for view in np.flatnonzero(shift_s):
        wanted_s = time_s + shift_s[view]
        after = np.searchsorted(time_s, wanted_s).clip(1, len(time_s) - 1)
        gap_s = time_s[after] - time_s[after - 1]
        share = (wanted_s - time_s[after - 1]) / gap_s
        inside = (share >= 0) & (share <= 1) & (gap_s < _BRIDGED * frame_s)
        share = np.where(inside, share, np.nan)[:, None, None]
        out[view] = (1 - share) * points[view, after - 1] + share * points[view, after]
    known = torch.as_tensor(np.isfinite(out).all(axis=-1))
    seen = replace(objective.seen, keypoints_px=torch.as_tensor(np.nan_to_num(out)), weights=manual * known)
    return replace(objective, seen=seen)
