"""Where the fit starts: shape, orientation, pose and place of the hand (seed 000 section 7).

Estimators with a hand model say shape and pose themselves; of the others' points the triangulated joints
give them: shape from bone lengths, orientation from the palm, fingers from the directions of their bones.
Place is always the triangulated wrist under the real calibration. The triangulated joints are cleaned of lone
outliers first: the fit judges the views from where it starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import roma
import scipy.optimize
import torch
from scipy.spatial.transform import Rotation, Slerp

from pipeline.fusion.kinematics import FixedShapeHand
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import BONES, JOINTS_FROM_MANO, MANO_PARENTS, MANO_POSE_JOINTS, PALM
from pipeline.hand.model import MM_PER_M, HandModel

_PALM_DISTANCES = tuple((a, b) for i, a in enumerate(PALM) for b in PALM[i + 1 :])
_FINGER_BONES = tuple(bone for bone in BONES if bone[0] != 0)
DISTANCES = _PALM_DISTANCES + _FINGER_BONES
"""Pairs of joints whose distance no pose changes."""

_JOINT_OF_MANO = {mano: joint for joint, mano in enumerate(JOINTS_FROM_MANO)}
_MIN_PALM = 3
MIN_PNP = 4
"""With a pose to start from, so many of the palm's points in one picture place it."""

_PNP_FOCAL_PX = 1000.0
_REST_BEND_RAD = 0.3
"""Bend of a finger joint of which nothing is known: a relaxed hand."""


@dataclass(frozen=True)
class Guess:
    """Where the fit starts.

    Attributes
    ----------
    betas : ndarray (10,)
    global_orient : ndarray (T, 3, 3)
    hand_pose : ndarray (T, 15, 3, 3)
    transl_mm : ndarray (T, 3)
    spread_mm : ndarray (T, 21) or None
        As in `pipeline.fusion.lifting.Lifted`; None = 0.
    """

    betas: np.ndarray
    global_orient: np.ndarray
    hand_pose: np.ndarray
    transl_mm: np.ndarray
    spread_mm: np.ndarray | None = None


def clean_joints(time_s: np.ndarray, joints_mm: np.ndarray, window_s: float) -> np.ndarray:
    """Triangulated joints without lone outliers: the running median over time, each coordinate by itself.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times, ascending.
    joints_mm : ndarray (T, 21, 3)
        NaN = not measured; it stays so, and has no part in its neighbours' medians.
    window_s : float
        The median is over the frames within half of it before and after, so none reaches across a gap longer
        than that half on either side.

    Returns
    -------
    ndarray (T, 21, 3)
    """
    table = pd.DataFrame(joints_mm.reshape(len(joints_mm), -1), index=pd.to_timedelta(time_s, unit="s"))
    window = table.rolling(pd.Timedelta(seconds=window_s), center=True, min_periods=1, closed="both")
    return np.where(np.isfinite(joints_mm), window.median().to_numpy().reshape(joints_mm.shape), np.nan)


def guess_shape(model: HandModel, joints_mm: np.ndarray, fps: float, options: FusionOptions) -> np.ndarray:
    """Betas (10,) whose bones have the median lengths of triangulated joints (T, 21, 3), NaN = not measured.

    Least squares with a prior of ``shape_sigma`` about the mean hand; each length weighs by its own spread
    over the recording, counting frames within ``independent_s`` of each other as one.
    """
    pairs = np.array(DISTANCES)
    lengths = np.linalg.norm(joints_mm[:, pairs[:, 0]] - joints_mm[:, pairs[:, 1]], axis=2)
    counts = np.isfinite(lengths).sum(axis=0)
    known = counts > 0
    if not known.any():
        return np.zeros(model.n_betas)
    medians = np.nanmedian(lengths[:, known], axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(lengths[:, known] - medians), axis=0)
    independent = np.maximum(counts[known] / max(options.independent_s * fps, 1.0), 1.0)
    # 1.25: a median is that much less sharp than a mean.
    share = np.hypot(1.25 / np.sqrt(independent), options.shape_systematic)
    errors = np.hypot(spread * share, options.shape_floor_mm)
    template, directions = get_joint_shapes(model)
    a, b = pairs[known].T

    def residuals(betas: np.ndarray) -> np.ndarray:
        joints = template + directions @ betas
        misfit = (np.linalg.norm(joints[a] - joints[b], axis=1) - medians) / errors
        return np.concatenate([misfit, betas / options.shape_sigma])

    return scipy.optimize.least_squares(residuals, np.zeros(model.n_betas), loss="soft_l1", f_scale=3.0).x


def get_joint_shapes(model: HandModel) -> tuple[np.ndarray, np.ndarray]:
    """The 21 joints of the flat template (21, 3) in mm, and how betas move them (21, 3, 10)."""
    layer, tips = model.layer, list(model.tip_vertices)
    regressor = layer.J_regressor.double()
    vertices, shapes = layer.v_template.double(), layer.shapedirs.double()
    points = torch.cat([regressor @ vertices, vertices[tips]]) * MM_PER_M
    moved = torch.cat([torch.einsum("jv,vcb->jcb", regressor, shapes), shapes[tips]]) * MM_PER_M
    order = list(JOINTS_FROM_MANO)
    return points[order].numpy(), moved[order].numpy()


def guess_from_joints(
    hand: FixedShapeHand, joints_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse kinematics in closed form from joints (T, 21, 3), NaN = not measured.

    The palm's points give the global orientation (Kabsch); each bone is then turned, by the smallest turn,
    from where its parent carries it to where it was seen. Frames and joints without points take what their
    neighbours in time have.

    Returns
    -------
    global_orient : ndarray (T, 3, 3)
    hand_pose : ndarray (T, 15, 3, 3)
    transl_mm : ndarray (T, 3)
    """
    flat = get_flat_joints(hand)
    orient, palm_transl = align_palm(flat, joints_mm)
    known = np.isfinite(orient).all(axis=(1, 2))
    orient = fill_rotations(orient, known)
    # The wrist itself where it was triangulated; else where the palm says it is.
    wrist = joints_mm[:, 0] - hand.joints_mm[0].numpy()
    transl = np.where(np.isfinite(wrist), wrist, palm_transl)
    hand_pose = _bend_fingers(flat, orient, joints_mm)
    return orient, hand_pose, fill_points(transl)


def can_place(joints_mm: np.ndarray) -> bool:
    """Whether joints (T, 21, 3), NaN = not measured, say anywhere where the hand is: by wrist or palm."""
    known = np.isfinite(joints_mm).all(axis=2)
    return bool(known[:, 0].any() or (known[:, PALM].sum(axis=1) >= _MIN_PALM).any())


def get_flat_joints(hand: FixedShapeHand) -> np.ndarray:
    """The 21 joints (21, 3) of the flat hand at the template's place, mm."""
    points = torch.cat([hand.joints_mm, hand.vertices_mm[list(hand.tips)]])
    return points[list(JOINTS_FROM_MANO)].numpy()


def align_palm(flat: np.ndarray, joints_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orientation (T, 3, 3) and translation (T, 3), as smplx has them, of the palm of joints (T, 21, 3).

    NaN with fewer than three points of it. ``flat`` (21, 3) is the flat hand.
    """
    palm = joints_mm[:, PALM]
    seen = np.isfinite(palm).all(axis=2)
    enough = seen.sum(axis=1) >= _MIN_PALM
    orient = np.full((len(palm), 3, 3), np.nan)
    transl = np.full((len(palm), 3), np.nan)
    if not enough.any():
        return orient, transl
    weights = torch.as_tensor(seen[enough].astype(float))
    source = torch.as_tensor(flat[list(PALM)]).expand(len(weights), -1, -1)
    target = torch.as_tensor(np.nan_to_num(palm[enough]))
    rotation, _ = roma.rigid_points_registration(source, target, weights=weights)
    orient[enough] = rotation.numpy()
    # smplx turns the hand about its own wrist; roma about the origin.
    total = weights.sum(1, keepdim=True)
    centre = ((target * weights[..., None]).sum(1) / total).numpy()
    own = ((source * weights[..., None]).sum(1) / total).numpy() - flat[0]
    transl[enough] = centre - (rotation.numpy() @ own[..., None])[..., 0] - flat[0]
    return orient, transl


def _bend_fingers(flat: np.ndarray, orient: np.ndarray, joints_mm: np.ndarray) -> np.ndarray:
    """Rotations (T, 15, 3, 3) that turn each bone to where its two ends were seen."""
    frames = len(orient)
    hand_pose = np.empty((frames, 15, 3, 3))
    world = np.empty((frames, 16, 3, 3))
    world[:, 0] = orient
    for bone, name in enumerate(MANO_POSE_JOINTS, start=1):
        joint = _JOINT_OF_MANO[bone]
        parent = world[:, MANO_PARENTS[bone]]
        seen = joints_mm[:, joint + 1] - joints_mm[:, joint]
        known = np.isfinite(seen).all(axis=1)
        local = (parent.swapaxes(1, 2) @ np.nan_to_num(seen)[..., None])[..., 0]
        if known.any():
            turn = np.full((frames, 3, 3), np.nan)
            turn[known] = _turn_onto(flat[joint + 1] - flat[joint], local[known])
            hand_pose[:, bone - 1] = fill_rotations(turn, known)
        else:
            hand_pose[:, bone - 1] = get_rest_pose(flat)[MANO_POSE_JOINTS.index(name)]
        world[:, bone] = parent @ hand_pose[:, bone - 1]
    return hand_pose


def _turn_onto(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Smallest rotations (T, 3, 3) that bring direction ``source`` (3,) onto ``target`` (T, 3)."""
    a = source / np.linalg.norm(source)
    b = target / np.linalg.norm(target, axis=1, keepdims=True).clip(min=1e-9)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (b @ a)[:, None])
    return Rotation.from_rotvec(axis / sine.clip(min=1e-9) * angle).as_matrix()


def get_rest_pose(flat: np.ndarray) -> np.ndarray:
    """A relaxed hand (15, 3, 3): every finger joint bent a little towards the palm."""
    out = np.empty((15, 3, 3))
    for bone, name in enumerate(MANO_POSE_JOINTS, start=1):
        joint = _JOINT_OF_MANO[bone]
        up = np.ones(3) if name.startswith("thumb") else np.array([0.0, 1.0, 0.0])
        axis = np.cross(up, flat[joint + 1] - flat[joint])
        out[bone - 1] = Rotation.from_rotvec(_REST_BEND_RAD * axis / np.linalg.norm(axis)).as_matrix()
    return out


def fill_points(points: np.ndarray) -> np.ndarray:
    """Points (T, 3), gaps bridged by straight lines and ends held: a start for the fit, no measurement."""
    known = np.isfinite(points).all(axis=1)
    index = np.arange(len(points))
    columns = [np.interp(index, index[known], points[known, axis]) for axis in range(3)]
    return np.stack(columns, axis=1)


def fill_rotations(rotations: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) with gaps bridged by slerp and ends held: a start for the fit, no measurement."""
    index = np.flatnonzero(known)
    if len(index) == 0:
        return np.broadcast_to(np.eye(3), rotations.shape).copy()
    if len(index) == 1:
        return np.broadcast_to(rotations[index[0]], rotations.shape).copy()
    slerp = Slerp(index, Rotation.from_matrix(rotations[index]))
    return slerp(np.arange(len(rotations)).clip(index[0], index[-1])).as_matrix()


def median_rotation(rotations: np.ndarray) -> np.ndarray:
    """Median over the first axis of rotations (C, ..., 3, 3), NaN left out; NaN where all are NaN.

    By elements, then the nearest rotation.
    """
    known = np.isfinite(rotations).all(axis=(-1, -2))
    out = np.full(rotations.shape[1:], np.nan)
    some = known.any(axis=0)
    if some.any():
        median = np.nanmedian(rotations[:, some], axis=0)
        out[some] = roma.special_procrustes(torch.as_tensor(median)).numpy()
    return out


def place_from_one_view(
    flat: np.ndarray, points_norm: np.ndarray, start: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Orientation and place, as smplx has them, from one camera's normalised points, in its frame.

    The palm, taken as rigid and of the hand's size, is placed by perspective-n-point; each frame
    starts from the one before, so that the palm does not flip between its two mirror poses. The first needs
    the whole palm, those after it ``MIN_PNP`` points.

    Parameters
    ----------
    flat : ndarray (21, 3)
        Joints of the flat hand (`get_flat_joints`).
    points_norm : ndarray (T, 21, 2)
        Undistorted normalised image coordinates; NaN = not seen.
    start : (ndarray (3, 3), ndarray (3,)), optional
        Orientation and translation before the first frame, which then need not show the whole palm.

    Returns
    -------
    global_orient : ndarray (T, 3, 3)
        Frames that show too little take what their neighbours have; NaN where all do.
    transl_mm : ndarray (T, 3)
    """
    palm, frames = np.array(PALM), len(points_norm)
    orient = np.full((frames, 3, 3), np.nan)
    transl = np.full((frames, 3), np.nan)
    before: tuple[np.ndarray, np.ndarray] | None = None
    if start is not None:
        rvec, tvec = Rotation.from_matrix(start[0]).as_rotvec(), start[1] + flat[0] - start[0] @ flat[0]
        before = rvec[:, None], tvec[:, None]
    for t in range(frames):
        seen = np.isfinite(points_norm[t, palm]).all(axis=1)
        if seen.sum() < (MIN_PNP if before else len(palm)):
            continue
        found = _place(flat[palm[seen]], points_norm[t, palm[seen]], before)
        if found is None:
            continue
        before = found
        orient[t] = Rotation.from_rotvec(found[0].ravel()).as_matrix()
        transl[t] = found[1].ravel() + orient[t] @ flat[0] - flat[0]
    known = np.isfinite(transl).all(axis=1)
    if not known.any():
        return orient, transl
    return fill_rotations(orient, known), fill_points(transl)


def _place(
    model_points: np.ndarray, image: np.ndarray, before: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Turn and place, as OpenCV has them; None where the hand would be behind the camera."""
    # OpenCV stops at a step that is small in px, so the picture must not be one unit wide.
    intrinsics = np.diag([_PNP_FOCAL_PX, _PNP_FOCAL_PX, 1.0])
    image = image * _PNP_FOCAL_PX
    if before is None:
        found, rvec, tvec = cv2.solvePnP(model_points, image, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    else:
        rvec, tvec = (part.copy() for part in before)
        found, rvec, tvec = cv2.solvePnP(
            model_points, image, intrinsics, None, rvec, tvec, True, cv2.SOLVEPNP_ITERATIVE
        )
    return (rvec, tvec) if found and float(np.ravel(tvec)[2]) > 0 else None
