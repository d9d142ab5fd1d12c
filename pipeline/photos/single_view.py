"""The hand in space from one picture: the fusion's own fit, of one camera and one moment.

The losses are the fusion's (`pipeline.fusion.objective`), which are those of Boukhayma et al. 2019 for one
picture: ``L_2D`` with each joint weighed by its own error, and ``L_reg`` on the joints' angles; in place of
``L_3D`` a pull of the pose towards the network's own idea of it in space. Shape is held at the average hand
(or scaled to a stated length): of one picture its error would be larger than the spread among people, and a
larger hand further away looks the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch

from pipeline.errors import FusionError
from pipeline.fusion.curvature import get_curvature
from pipeline.fusion.evidence import Evidence
from pipeline.fusion.fuse import make_objective, one_thread
from pipeline.fusion.initial import MIN_PNP, can_place, get_flat_joints, guess_from_joints
from pipeline.fusion.kinematics import FixedShapeHand, fix_shape
from pipeline.fusion.lifting import lift_joints
from pipeline.fusion.objective import Pose, project
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import Solution, solve
from pipeline.hand.joints import PALM, Side
from pipeline.hand.model import HandModel
from pipeline.hand.rotations import mirror_points
from pipeline.progress import Reporter
from pipeline.results import Camera

ANCHOR_RAD = 0.35
"""Spread of a joint about the network's own idea of the pose: as far as its depths may be trusted."""

SIGMA_SCALE = np.array([1.4, 1.4, 1.9])
"""Times the curvature's own sigma along x, y and z: what a network's errors have that no spread of passes
tells, and people's proportions. Set on 173 made pictures in two lots: 95 % of their errors lie within twice
1.1 to 1.6 (across) and 1.7 to 2.2 (along the view) of it. On 40 others (`benchmarks.photo_failures`) 97.5,
92.8 and 96.2 % of the errors along x, y and z lie within two of the sigmas that it gives."""


@dataclass(frozen=True)
class SpatialGuess:
    """What a network itself says of the hand in space: ``joints_mm`` (21, 3) along the picture's axes, of any
    size and place.
    """

    joints_mm: np.ndarray


@dataclass(frozen=True)
class SpatialHand:
    """A hand fitted to one picture, in the camera's frame (+x right, +y down, +z away), of the side it has.

    Attributes
    ----------
    joints_mm : ndarray (21, 3)
        The wrist is at (0, 0, 0).
    sigma_mm : ndarray (21, 3)
        Standard deviation of ``joints_mm`` along x, y and z for a hand of the stated size; 0 at the wrist.
    wrist_mm : ndarray (3,)
        Where the wrist would be if size and lens were exactly as stated.
    vertices_mm : ndarray (V, 3)
        The surface, in the camera's frame (not shifted to the wrist).
    projected_px : ndarray (21, 2)
        ``joints_mm`` in the picture.
    reprojection_px : float
        Root mean square distance of the points from ``projected_px``.
    """

    joints_mm: np.ndarray
    sigma_mm: np.ndarray
    wrist_mm: np.ndarray
    vertices_mm: np.ndarray
    projected_px: np.ndarray
    reprojection_px: float


def fit_hand(
    points_px: np.ndarray,
    sigma_px: np.ndarray,
    camera: Camera,
    side: Side,
    model: HandModel,
    guess: SpatialGuess | None,
    scale: float = 1.0,
) -> SpatialHand:
    """Fit the hand model to one picture's points.

    Parameters
    ----------
    points_px : ndarray (21, 2)
        NaN = not seen.
    sigma_px : ndarray (21,)
        One standard deviation of them along each axis, in whole.
    camera : Camera
        Stated, not calibrated; at the origin.
    side : "right" | "left"
        The hand's.
    model : HandModel
        The right hand that is posed.
    guess : SpatialGuess or None
        Without it the likeliest reading of each finger is taken (`pipeline.fusion.lifting`).
    scale : float
        Size of the hand, times the model's average.

    Raises
    ------
    FusionError
        Too little of the palm is seen to place the hand.
    """
    if np.isfinite(points_px[list(PALM)]).all(axis=1).sum() < MIN_PNP:
        raise FusionError(
            "Too little of the palm is seen to place the hand in space.",
            "Take a picture that shows the palm or the back of the hand whole.",
        )
    options = replace(FusionOptions(), anchor_rad=ANCHOR_RAD if guess is not None else 1.0)
    points = points_px.astype(float)
    guessed = None if guess is None else _face_ray(guess.joints_mm, points, camera)
    if side == "left":
        points = np.stack([camera.size_px[0] - 1 - points[:, 0], points[:, 1]], axis=1)
        matrix = camera.K.copy()
        matrix[0, 2] = camera.size_px[0] - 1 - matrix[0, 2]
        camera = replace(camera, K=matrix)
        guessed = None if guessed is None else mirror_points(guessed)
    evidence = Evidence(
        names=(camera.name,),
        cameras=(camera,),
        time_s=np.zeros(1),
        points_px=points[None, None],
        sigma_px=np.maximum(sigma_px, options.min_sigma_px)[None, None],
        manual=np.ones((1, 1, 21)),
        guesses=(None,),
    )
    with one_thread():
        hand = fix_shape(model, np.zeros(model.n_betas))
        start, spread = _start(evidence, hand, guessed, options)
        objective = make_objective(evidence, hand, start, options)
        solution = solve(objective, start, options, Reporter("photos"))
        return _describe(evidence, hand, solution, spread, side, scale)


def _face_ray(joints_mm: np.ndarray, points_px: np.ndarray, camera: Camera) -> np.ndarray:
    """Joints (21, 3) as seen straight ahead, turned to where in the picture the hand is."""
    middle = np.nanmean(camera.normalise(points_px[None])[0], axis=0)
    ray = np.array([middle[0], middle[1], 1.0])
    ray /= np.linalg.norm(ray)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return joints_mm
    rotvec = axis / sine * math.atan2(sine, ray[2])
    return joints_mm @ roma.rotvec_to_rotmat(torch.as_tensor(rotvec)).numpy().T


def _start(
    evidence: Evidence, hand: FixedShapeHand, guessed_mm: np.ndarray | None, options: FusionOptions
) -> tuple[Pose, np.ndarray]:
    """Where the fit starts, and how far apart (21,) in mm the other readings of the joints lie."""
    if guessed_mm is not None:
        orient, hand_pose, transl = guess_from_joints(hand, guessed_mm[None])
        turned = _pose_joints(hand, orient, hand_pose, transl)
        transl = transl + _place(turned, evidence.points_px[0, 0], evidence.cameras[0])
        return Pose.from_arrays(orient, hand_pose, transl), np.zeros(21)
    lifted = lift_joints(evidence, hand, np.full((1, 21, 3), np.nan), options)
    if not can_place(lifted.joints_mm):
        raise FusionError(
            "Too little of the palm is seen to place the hand in space.",
            "Take a picture that shows the palm or the back of the hand whole.",
        )
    return Pose.from_arrays(*guess_from_joints(hand, lifted.joints_mm)), lifted.spread_mm[0]


def _pose_joints(
    hand: FixedShapeHand, orient: np.ndarray, hand_pose: np.ndarray, transl: np.ndarray
) -> np.ndarray:
    return Pose.from_arrays(orient, hand_pose, transl).get_joints(hand)[0].numpy()


def _place(joints_mm: np.ndarray, points_px: np.ndarray, camera: Camera) -> np.ndarray:
    """Shift (3,) that brings joints to where the picture shows them: their size there gives the depth."""
    flat = camera.normalise(points_px[None])[0]
    seen = np.isfinite(flat).all(axis=1)
    flat, joints = flat[seen], joints_mm[seen]
    spread = np.sqrt(((joints[:, :2] - joints[:, :2].mean(axis=0)) ** 2).sum(axis=1).mean())
    seen_spread = np.sqrt(((flat - flat.mean(axis=0)) ** 2).sum(axis=1).mean())
    depth = spread / max(seen_spread, 1e-9)
    return np.array([*(flat.mean(axis=0) * depth), depth]) - joints.mean(axis=0)


def _describe(
    evidence: Evidence,
    hand: FixedShapeHand,
    solution: Solution,
    spread_mm: np.ndarray,
    side: Side,
    scale: float,
) -> SpatialHand:
    pose = solution.pose
    orient, hand_pose, transl = pose.to_matrices()
    rotation, bones = hand.get_transforms(orient, hand_pose, transl)
    joints = hand.get_joints(rotation, bones, hand_pose)
    vertices = hand.get_vertices(rotation, bones, hand_pose)[0].numpy()
    projected = project(solution.objective.cameras, joints)[0, 0].numpy()
    residual = np.linalg.norm(projected - evidence.points_px[0, 0], axis=1)
    found = joints[0].numpy()
    sigma = np.sqrt(_relative_variance(solution) * SIGMA_SCALE**2 + spread_mm[:, None] ** 2 * [0, 0, 1])
    sigma[0] = 0.0
    if side == "left":
        found, vertices = mirror_points(found), mirror_points(vertices)
        width = evidence.cameras[0].size_px[0]
        projected = np.stack([width - 1 - projected[:, 0], projected[:, 1]], axis=1)
    return SpatialHand(
        joints_mm=(found - found[0]) * scale,
        sigma_mm=sigma * scale,
        wrist_mm=found[0] * scale,
        vertices_mm=vertices * scale,
        projected_px=projected,
        reprojection_px=float(np.sqrt(np.nanmean(residual**2))),
    )


def _relative_variance(solution: Solution) -> np.ndarray:
    """Variance (21, 3) in mm² of the joints against the wrist by the curvature at the optimum (Laplace)."""
    curvature = get_curvature(solution.objective, solution.pose)
    covariance = np.linalg.inv(curvature.diagonal[0])
    jacobian = curvature.joint_jacobian[0].reshape(21, 3, -1)
    relative = jacobian - jacobian[:1]
    return np.einsum("jab,bc,jac->ja", relative, covariance, relative)


def measure_average_length(model: HandModel) -> float:
    """Length in mm of the model's average hand: wrist to the middle finger's tip along the bones, flat."""
    flat = get_flat_joints(fix_shape(model, np.zeros(model.n_betas)))
    return float(np.linalg.norm(np.diff(flat[[0, 9, 10, 11, 12]], axis=0), axis=1).sum())
