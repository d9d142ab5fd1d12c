"""What a fit makes of one hand: its path, how sure each joint is, and what became of the evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.fusion.curvature import get_curvature
from pipeline.fusion.evidence import Evidence, find_long_gaps
from pipeline.fusion.kinematics import FixedShapeHand
from pipeline.fusion.objective import Objective, Pose, project
from pipeline.fusion.odd_views import USED
from pipeline.fusion.offsets import get_offset_sigma
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.smoothing import lessen_sigma, make_smoother, measure_response
from pipeline.fusion.solver import Solution
from pipeline.fusion.uncertainty import get_joint_sigma, get_noise_scale, get_typical_scale
from pipeline.hand.rotations import mirror_points
from pipeline.results import HandTrack


def make_track(
    evidence: Evidence, hand: FixedShapeHand, betas: np.ndarray, solution: Solution, options: FusionOptions
) -> HandTrack:
    """The fitted hand, smoothed, with the errors of its joints; NaN in long gaps."""
    objective, pose = solution.objective, solution.pose
    robust = objective.seen.weights.numpy()
    lost = find_long_gaps(evidence, options.max_gap_s)
    sigma, noise_mm = _get_jitter(evidence, solution, options)
    constant = None
    if evidence.offset_sigma_px is not None:
        constant = get_offset_sigma(objective, pose, evidence.offset_sigma_px)
    smoother = make_smoother(evidence.time_s, lost, noise_mm, options)
    response = measure_response(objective, pose, smoother, evidence.time_s, lost)
    if smoother is not None:
        fitted, pose = pose, smoother.smooth(pose)
        before, after = (part.get_joints(hand).numpy() for part in (fitted, pose))
        sigma = lessen_sigma(sigma, before, after, smoother)
    if constant is not None:
        sigma = np.hypot(sigma, constant)
    joints = pose.get_joints(hand).numpy().copy()
    orient, hand_pose, transl = (part.numpy().copy() for part in pose.to_matrices())
    residual_px = _get_residual_px(evidence, objective, pose)
    residual_px[:, lost] = np.nan
    quality = get_quality(evidence, robust)
    for array in (orient, hand_pose, transl, joints, sigma, *([] if constant is None else [constant])):
        array[lost] = np.nan
    quality[lost] = 0.0
    return HandTrack(
        time_s=evidence.time_s,
        betas=betas,
        global_orient=orient,
        hand_pose=hand_pose,
        transl_mm=transl,
        joints_mm=joints,
        joint_sigma_mm=sigma,
        residual_px=residual_px,
        quality=quality,
        cameras=evidence.names,
        trust=get_trust(evidence, robust),
        view_state=evidence.view_state,
        joint_offset_sigma_mm=constant,
        response_hz=None if response is None else response.hertz,
        response_gain=None if response is None else response.gain,
        bandwidth_hz=None if response is None else response.bandwidth_hz,
    )


def _get_residual_px(evidence: Evidence, objective: Objective, pose: Pose) -> np.ndarray:
    joints = pose.get_joints(objective.hand)
    residual = (project(objective.cameras, joints) - objective.seen.keypoints_px).norm(dim=-1).numpy()
    return np.where(evidence.seen, residual, np.nan)


def _get_jitter(evidence: Evidence, solution: Solution, options: FusionOptions) -> tuple[np.ndarray, float]:
    """Sigma (T, 21) in mm of the joints by the points' noise, and how large that typically is."""
    objective, pose = solution.objective, solution.pose
    robust = objective.seen.weights.numpy()
    z = _get_residual_px(evidence, objective, pose) / evidence.sigma_px
    together = options.independent_s * evidence.fps
    scale = get_noise_scale(z, robust, evidence.manual, together)
    curvature = get_curvature(_say_priors_once(objective, together), pose)
    sigma = get_joint_sigma(curvature, scale, options.model_sigma_mm)
    return sigma, float(np.median(sigma / scale)) * get_typical_scale(z, robust, evidence.manual)


def _say_priors_once(objective: Objective, frames: float) -> Objective:
    """The objective with the priors of the pose as of one frame in so many.

    What they take for granted is wrong in the next frame as it is in this one. Counted anew in each, they
    would make a finger that nobody sees for a while look known to half of what it is.
    """
    share = 1.0 / max(frames, 1.0)
    return replace(
        objective,
        lambda_anchor=share * objective.lambda_anchor,
        lambda_axes=share * objective.lambda_axes,
    )


def get_quality(evidence: Evidence, robust: np.ndarray) -> np.ndarray:
    """Share of the evidence that agrees (T, 21), 0 to 1.

    The robust weights of the views that have a say, over their manual weights; halved where only one
    view saw the joint, for nobody contradicts it; 0 where none did. Points bridged in time are no evidence:
    they agree with the frames beside them, whatever the hand did meanwhile.
    """
    measured = evidence.seen if evidence.bridged is None else evidence.seen & ~evidence.bridged
    manual = np.where(measured, evidence.manual, 0.0)
    total = manual.sum(axis=0)
    agreeing = np.where(measured, robust, 0.0).sum(axis=0)
    share = np.divide(agreeing, total, out=np.zeros_like(total), where=total > 0)
    views = (manual > 0).sum(axis=0)
    return share * np.where(views >= 2, 1.0, 0.5)


def get_trust(evidence: Evidence, robust: np.ndarray) -> np.ndarray:
    """Share (C, T, 21) of its manual weight that the fit left to each point; NaN = it never had a say."""
    say = evidence.seen & (evidence.manual > 0)
    trust = np.divide(robust, evidence.manual, out=np.full(robust.shape, np.nan), where=say)
    if evidence.view_state is not None:
        trust[evidence.seen & (evidence.view_state != USED)[..., None]] = 0.0
    return trust


def mirror_track(track: HandTrack) -> HandTrack:
    """A hand that was worked as a right one where the left one is (`pipeline/conventions.md`)."""
    offset_px = None if track.view_offset_px is None else track.view_offset_px * np.array([-1.0, 1.0])
    return replace(track, joints_mm=mirror_points(track.joints_mm), view_offset_px=offset_px)
