"""The door of the fusion: every camera's keypoints in, one hand a side in the world out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.errors import FusionError
from pipeline.fusion.curvature import get_curvature
from pipeline.fusion.initial import (
    Guess,
    can_place,
    get_flat_joints,
    guess_from_joints,
    guess_from_one_view,
    guess_shape,
    median_rotation,
)
from pipeline.fusion.kinematics import FixedShapeHand, fix_shape
from pipeline.fusion.objective import (
    Cameras,
    Objective,
    Observations,
    Pose,
    choose_lambda_temp,
    make_axes_prior,
    project,
)
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.resample import resample_keypoints
from pipeline.fusion.solver import Solution, solve
from pipeline.fusion.triangulate import triangulate_robust
from pipeline.fusion.uncertainty import get_joint_sigma, get_noise_scale
from pipeline.fusion.weights import get_view_weights
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.hand.rotations import mirror_points, mirror_rotations
from pipeline.progress import Reporter
from pipeline.results import Camera, HandTrack, PoseGuess, Rig, SyncResult, ViewTrack
from pipeline.session import SessionSettings

_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Evidence:
    """What the cameras saw of one hand, as a right hand, at the reference camera's frame times.

    Attributes
    ----------
    names : tuple of str
        The cameras, C.
    cameras : tuple of Camera
        Mirrored for a left hand.
    time_s : ndarray (T,)
    points_px : ndarray (C, T, 21, 2)
        NaN = not seen.
    sigma_px : ndarray (C, T, 21)
        NaN = not seen.
    manual : ndarray (C, T, 21)
        ``w_manual`` of the right hand that this is worked as; ``rescue_weight`` where it would leave a joint
        to a single view.
    guesses : tuple of PoseGuess or None
        By camera, at the same times, global_orient in the world.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    time_s: np.ndarray
    points_px: np.ndarray
    sigma_px: np.ndarray
    manual: np.ndarray
    guesses: tuple[PoseGuess | None, ...]

    @property
    def seen(self) -> np.ndarray:
        """Where a camera saw a joint: (C, T, 21) bool."""
        return np.isfinite(self.sigma_px)

    @property
    def fps(self) -> float:
        """Frames a second."""
        return 1.0 / float(np.median(np.diff(self.time_s))) if len(self.time_s) > 1 else 60.0

    def get_tensors(self) -> tuple[Cameras, Observations]:
        """The same for the objective; what was not seen has weight 0."""
        cameras = Cameras(
            *(
                torch.as_tensor(np.stack([np.asarray(getattr(camera, name)) for camera in self.cameras]))
                for name in ("K", "distortion", "R", "t_mm")
            )
        )
        weights = np.where(self.seen, self.manual, 0.0)
        observations = Observations(
            torch.as_tensor(np.nan_to_num(self.points_px)),
            torch.as_tensor(np.where(self.seen, self.sigma_px, 1.0)),
            torch.as_tensor(weights),
        )
        return cameras, observations


def fuse(
    settings: SessionSettings,
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    model: HandModel,
    report: Reporter,
    options: FusionOptions | None = None,
) -> dict[Side, HandTrack]:
    """Fuse the views into one hand a side (seed 000 section 7).

    Parameters
    ----------
    settings : SessionSettings
        ``reference`` names the camera whose frame times the result has.
    sync : SyncResult
        Clock of every camera.
    rig : Rig
        Lens and place of every camera.
    views : dict of dict of ViewTrack
        By camera and side.
    model : HandModel
        The right hand that is posed.
    report : Reporter
        Hears of progress and warnings.
    options : FusionOptions, optional
        By default the documented constants.

    Returns
    -------
    dict of HandTrack
        By side, float64. In gaps of more than ``max_gap_s`` in which no camera saw the hand everything is
        NaN; shorter ones, and joints that no camera saw, are bridged by the model with quality 0.

    Raises
    ------
    FusionError
        A camera without a clock or a calibration, the reference camera without a track, or no side of
        which anything can be worked out. Names the camera or side.
    """
    options = options or FusionOptions()
    cameras = _check_cameras(settings, sync, rig, views)
    sides = [side for side in settings.sides if any(side in tracks for tracks in views.values())]
    hands: dict[Side, HandTrack] = {}
    failures: list[FusionError] = []
    for number, side in enumerate(sides):
        part = report.part(number / len(sides), (number + 1) / len(sides))
        try:
            evidence = collect(settings.reference, cameras, sync, rig, views, side, options)
            hands[side] = fuse_side(evidence, side, model, part, options)
        except FusionError as failure:
            failures.append(failure)
    if not hands:
        if failures:
            raise failures[0]
        raise FusionError(
            f"No camera was searched for the {' or '.join(settings.sides)} hand.", "Run the pose stage again."
        )
    for each in failures:  # one hand of two is a result, but not a silent one
        report.warn(str(each))
    return hands


def _check_cameras(
    settings: SessionSettings, sync: SyncResult, rig: Rig, views: dict[str, dict[Side, ViewTrack]]
) -> tuple[str, ...]:
    if not views.get(settings.reference):
        raise FusionError(
            f"There are no keypoints of the reference camera {settings.reference}.",
            "Run the pose stage for it, or name another reference in session.toml.",
        )
    for camera in views:
        if camera not in rig.cameras:
            raise FusionError(
                f"Camera {camera} has no calibration.",
                "Calibrate it with the others, or take its video out of the session folder.",
            )
        if camera not in sync.cameras or not np.isfinite(sync.cameras[camera].offset_s):
            raise FusionError(
                f"The clock of camera {camera} is not known.",
                f"Give its offset in session.toml: [offset_s] {camera} = ...",
            )
    return tuple(sorted(views, key=lambda name: (name != settings.reference, name)))


def collect(
    reference: str,
    cameras: tuple[str, ...],
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    side: Side,
    options: FusionOptions | None = None,
) -> Evidence:
    """Bring one side's keypoints of all cameras to the reference camera's frame times, as a right hand.

    A left hand is mirrored here (`pipeline/conventions.md`), and mirrored back in `fuse_side` alone.
    """
    options = options or FusionOptions()
    time_s = np.asarray(next(iter(views[reference].values())).time_s, dtype=float)
    names = tuple(name for name in cameras if side in views[name])
    points, sigmas, guesses, lenses = [], [], [], []
    for name in names:
        track, camera = views[name][side], rig.cameras[name]
        keypoints, sigma = _to_calibrated_size(track, camera)
        wanted = sync.from_reference_s(name, time_s)
        keypoints, sigma = resample_keypoints(track.time_s, keypoints, sigma, wanted, options.max_gap_s)
        if side == "left":
            keypoints[..., 0] = camera.size_px[0] - 1 - keypoints[..., 0]
            camera = mirror_camera(camera)
        points.append(keypoints)
        sigmas.append(np.maximum(sigma, options.min_sigma_px))
        lenses.append(camera)
        guesses.append(_resample_guess(track, wanted, camera))
    return Evidence(
        names=names,
        cameras=tuple(lenses),
        time_s=time_s,
        points_px=np.stack(points),
        sigma_px=np.stack(sigmas),
        manual=get_view_weights(names, side, np.isfinite(np.stack(sigmas)), options.rescue_weight),
        guesses=tuple(guesses),
    )


def _to_calibrated_size(track: ViewTrack, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints and sigma in pixels of the pictures that the calibration holds for."""
    scale = np.array(camera.size_px, dtype=float) / np.array(track.size_px, dtype=float)
    if abs(scale[0] / scale[1] - 1) > _ASPECT_TOLERANCE:
        raise FusionError(
            f"Camera {camera.name} was calibrated at {camera.size_px[0]}x{camera.size_px[1]} but recorded at "
            f"{track.size_px[0]}x{track.size_px[1]}.",
            "Calibrate it in the same mode, held the same way up.",
        )
    keypoints = (np.asarray(track.keypoints_px, dtype=float) + 0.5) * scale - 0.5
    return keypoints, np.asarray(track.sigma_px, dtype=float) * float(scale.mean())


def mirror_camera(camera: Camera) -> Camera:
    """The camera that sees the mirrored world in its mirrored picture (`pipeline/conventions.md`)."""
    intrinsics = camera.K.copy()
    intrinsics[0, 2] = camera.size_px[0] - 1 - intrinsics[0, 2]
    intrinsics[0, 1] = -intrinsics[0, 1]
    distortion = camera.distortion * np.array([1.0, 1.0, 1.0, -1.0, 1.0])
    return replace(
        camera,
        K=intrinsics,
        distortion=distortion,
        R=mirror_rotations(camera.R),
        t_mm=mirror_points(camera.t_mm),
    )


def _resample_guess(track: ViewTrack, wanted_s: np.ndarray, camera: Camera) -> PoseGuess | None:
    """An estimator's pose at other times: of the nearest frame, which is start enough; in the world."""
    if track.guess is None:
        return None
    nearest = np.abs(np.subtract.outer(wanted_s, track.time_s)).argmin(axis=1)
    apart = np.abs(track.time_s[nearest] - wanted_s) > 1.0 / 24.0
    betas = np.where(apart[:, None], np.nan, track.guess.betas[nearest])
    orient = np.where(apart[:, None, None], np.nan, camera.R.T @ track.guess.global_orient[nearest])
    pose = np.where(apart[:, None, None, None], np.nan, track.guess.hand_pose[nearest])
    return PoseGuess(betas, orient, pose)


def triangulate_evidence(
    evidence: Evidence, options: FusionOptions | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Plain robust triangulation of all joints, without a hand model.

    Returns
    -------
    joints_mm : ndarray (T, 21, 3)
        World of the right hand that the evidence is worked as; NaN where fewer than two views saw it.
    residual : ndarray (C, T, 21)
        In sigmas; NaN = not seen.
    """
    options = options or FusionOptions()
    normal = np.stack([c.normalise(p) for c, p in zip(evidence.cameras, evidence.points_px, strict=True)])
    focal = np.array([np.sqrt(c.K[0, 0] * c.K[1, 1]) for c in evidence.cameras])[:, None, None]
    projections = np.stack([camera.projection for camera in evidence.cameras])
    return triangulate_robust(
        normal, projections, evidence.sigma_px / focal, evidence.manual, options.robust_sigmas
    )


def fuse_side(
    evidence: Evidence, side: Side, model: HandModel, report: Reporter, options: FusionOptions
) -> HandTrack:
    """Fit one hand to its evidence; the way of `fuse` for a side."""
    _check_evidence(evidence, side, report)
    report.update(0.0, f"Placing the {side} hand")
    with one_thread():
        guess = make_guess(evidence, model, options)
        hand = fix_shape(model, guess.betas)
        start = Pose.from_arrays(guess.global_orient, guess.hand_pose, guess.transl_mm)
        objective = make_objective(evidence, hand, start, options)
        solution = solve(objective, start, options, report.part(0.05, 0.95))
        track = _make_track(evidence, hand, guess.betas, solution, options)
    return track if side == "right" else replace(track, joints_mm=mirror_points(track.joints_mm))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the fit's many small products gain nothing from more, and on a busy computer
    threads that wait for each other cost it a factor of ten.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_evidence(evidence: Evidence, side: Side, report: Reporter) -> None:
    names = ", ".join(evidence.names)
    if not evidence.seen.any():
        raise FusionError(
            f"The {side} hand was not seen by any camera ({names}).",
            "Look at the pictures: is it in view, and is `side` in session.toml right?",
        )
    if len(evidence.names) == 1:
        report.warn(
            f"Only camera {names} sees the {side} hand: its distance and size rest on the bone lengths of "
            "the mean hand, so lengths in mm may be wrong by a tenth, and depth by more."
        )
        return
    if not (evidence.seen & (evidence.manual > 0)).sum(axis=0).max() >= 2:
        raise FusionError(
            f"No joint of the {side} hand was seen by two cameras at once ({names}).",
            "Check the cameras' offsets, and that the hand is in all pictures at the same time.",
        )


def make_guess(evidence: Evidence, model: HandModel, options: FusionOptions) -> Guess:
    """Where the fit starts: the estimators' own guess if they have one, else inverse kinematics."""
    guesses = [guess for guess in evidence.guesses if guess is not None]
    if len(evidence.names) == 1 and not guesses:
        hand = fix_shape(model, np.zeros(model.n_betas))
        camera = evidence.cameras[0]
        orient, pose, transl = guess_from_one_view(hand, camera.normalise(evidence.points_px[0]))
        if not np.isfinite(transl).all():
            raise FusionError(
                f"Camera {evidence.names[0]} never sees the whole palm, and it is the only one.",
                "Record with a second camera, or with the palm in view.",
            )
        return Guess(np.zeros(model.n_betas), camera.R.T @ orient, pose, _from_camera(camera, hand, transl))
    joints, _ = triangulate_evidence(evidence, options)
    if not can_place(joints):
        raise FusionError(
            f"Neither the wrist nor the palm was seen by two cameras at once ({', '.join(evidence.names)}), "
            "so there is no telling where the hand is.",
            "Check the cameras' offsets, and that wrist and palm are in two pictures at the same time.",
        )
    betas = _median_betas(guesses, model)
    if betas is None:
        betas = guess_shape(model, joints, evidence.fps, options)
    hand = fix_shape(model, betas)
    orient, pose, transl = guess_from_joints(hand, joints)
    if guesses:
        orient, pose = _use_guesses(evidence.guesses, orient, pose)
    return Guess(betas, orient, pose, transl)


def _from_camera(camera: Camera, hand: FixedShapeHand, transl: np.ndarray) -> np.ndarray:
    """The translation in the world, as smplx has it, from the one in a camera's frame."""
    wrist = get_flat_joints(hand)[0]
    return (transl + wrist - camera.t_mm) @ camera.R - wrist


def _median_betas(guesses: list[PoseGuess], model: HandModel) -> np.ndarray | None:
    """Median over frames and views (seed 000); None without a guess."""
    if not guesses:
        return None
    betas = np.concatenate([guess.betas for guess in guesses])
    betas = betas[np.isfinite(betas).all(axis=1)]
    return np.median(betas, axis=0).astype(float) if len(betas) else None


def _use_guesses(
    guesses: tuple[PoseGuess | None, ...], orient: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Front orientation and median hand pose (seed 000); inverse kinematics where no estimator answers."""
    given = [guess for guess in guesses if guess is not None]
    own = median_rotation(np.stack([guess.hand_pose for guess in given]).astype(float))
    pose = np.where(np.isfinite(own), own, pose)
    front = next(guess for guess in guesses if guess is not None).global_orient
    known = np.isfinite(front).all(axis=(1, 2))
    return np.where(known[:, None, None], np.nan_to_num(front), orient), pose


def make_objective(
    evidence: Evidence, hand: FixedShapeHand, start: Pose, options: FusionOptions
) -> Objective:
    """The objective with its lambdas, where the options leave them open, chosen for this evidence."""
    cameras, seen = evidence.get_tensors()
    frames = len(evidence.time_s)
    anchor = options.lambda_anchor
    if anchor is None:
        anchor = frames / seen.n_observations / (2 * 4 / 3 * options.anchor_rad**2)
    objective = Objective(
        hand=hand,
        cameras=cameras,
        seen=seen,
        theta_anchor=start.theta_hand,
        lambda_temp=0.0,
        lambda_anchor=anchor,
        lambda_axes=frames / seen.n_observations,
        axes=make_axes_prior(hand, options),
        epsilon=options.epsilon,
    )
    temporal = options.lambda_temp
    if temporal is None:
        information = get_curvature(objective, start).data_trace
        temporal = choose_lambda_temp(hand, seen, information, evidence.fps, options)
    return replace(objective, lambda_temp=temporal)


def _make_track(
    evidence: Evidence, hand: FixedShapeHand, betas: np.ndarray, solution: Solution, options: FusionOptions
) -> HandTrack:
    objective, pose = solution.objective, solution.pose
    joints = pose.get_joints(hand)
    residual = (project(objective.cameras, joints) - objective.seen.keypoints_px).norm(dim=-1).numpy()
    residual = np.where(evidence.seen, residual, np.nan)
    robust = objective.seen.weights.numpy()
    z = residual / evidence.sigma_px
    scale = get_noise_scale(z, robust, evidence.manual, options.independent_s * evidence.fps)
    sigma = get_joint_sigma(get_curvature(objective, pose), scale, options.model_sigma_mm)
    orient, hand_pose, transl = (part.numpy().copy() for part in pose.to_matrices())
    points = joints.numpy().copy()
    quality = get_quality(evidence, robust)
    lost = find_long_gaps(evidence, options.max_gap_s)
    for array in (orient, hand_pose, transl, points, sigma):
        array[lost] = np.nan
    quality[lost] = 0.0
    return HandTrack(
        time_s=evidence.time_s,
        betas=betas,
        global_orient=orient,
        hand_pose=hand_pose,
        transl_mm=transl,
        joints_mm=points,
        joint_sigma_mm=sigma,
        residual_px=residual,
        quality=quality,
        cameras=evidence.names,
    )


def get_quality(evidence: Evidence, robust: np.ndarray) -> np.ndarray:
    """Share of the evidence that agrees (T, 21), 0 to 1.

    The robust weights of the views that have a say, over their manual weights; halved where only one
    view saw the joint, for nobody contradicts it; 0 where none did.
    """
    manual = np.where(evidence.seen, evidence.manual, 0.0)
    total = manual.sum(axis=0)
    share = np.divide(robust.sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    views = (manual > 0).sum(axis=0)
    return share * np.where(views >= 2, 1.0, 0.5)


def find_long_gaps(evidence: Evidence, max_gap_s: float) -> np.ndarray:
    """Frames (T,) bool inside gaps, in which no camera saw any joint, of more than ``max_gap_s``."""
    seen = evidence.seen.any(axis=(0, 2))
    time_s, lost = evidence.time_s, ~seen
    index = np.flatnonzero(seen)
    out = np.zeros(len(time_s), dtype=bool)
    for t in np.flatnonzero(lost):
        before, after = index[index < t], index[index > t]
        if not len(before) or not len(after):
            nearest = time_s[index[0]] - time_s[t] if len(after) else time_s[t] - time_s[index[-1]]
            out[t] = nearest > max_gap_s
        else:
            out[t] = time_s[after[0]] - time_s[before[-1]] > max_gap_s
    return out
