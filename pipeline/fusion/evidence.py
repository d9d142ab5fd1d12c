"""What the cameras saw of one hand: on one clock, as a right hand, without views that follow another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.errors import FusionError
from pipeline.fusion.objective import Cameras, Observations
from pipeline.fusion.odd_views import NOT_FILMING, USED, describe_odd_views, find_odd_views
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.resample import CLOCK_S, find_bridged, resample_keypoints, to_calibrated_size
from pipeline.fusion.triangulate import triangulate_robust
from pipeline.fusion.weights import get_view_weights
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.hand.rotations import mirror_points, mirror_rotations
from pipeline.progress import Reporter
from pipeline.results import Camera, PoseGuess, Rig, SyncResult, ViewTrack


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
    view_state : ndarray (C, T) of str, optional
        As in `HandTrack`; until `leave_out_odd_views` has looked, only who films. What is not "used" has
        manual weight 0.
    offset_sigma_px : ndarray (C, 21) or None
        As in `ViewTrack`, in px of the calibration's pictures; None where no view states any.
    bridged : ndarray (C, T, 21) bool or None
        Points that no frame measured but that lie on a line across a short gap; None = there are none.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    time_s: np.ndarray
    points_px: np.ndarray
    sigma_px: np.ndarray
    manual: np.ndarray
    guesses: tuple[PoseGuess | None, ...]
    view_state: np.ndarray | None = None
    offset_sigma_px: np.ndarray | None = None
    bridged: np.ndarray | None = None

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
    points, sigmas, guesses, lenses, bridged, states = [], [], [], [], [], []
    for name in names:
        track, camera = views[name][side], rig.cameras[name]
        keypoints, sigma = to_calibrated_size(track, camera)
        wanted = sync.from_reference_s(name, time_s)
        states.append(_say_who_films(track.time_s, wanted))
        bridged.append(find_bridged(track.time_s, keypoints, sigma, wanted, options.max_gap_s))
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
        view_state=np.stack(states),
        offset_sigma_px=_collect_offset_sigmas([views[name][side] for name in names], lenses),
        bridged=np.stack(bridged),
    )


def _say_who_films(time_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """States (T,) by whether the camera films at such times, to half a frame."""
    if not len(time_s):
        return np.full(len(wanted_s), NOT_FILMING)
    half_s = 0.5 * float(np.median(np.diff(time_s))) if len(time_s) > 1 else CLOCK_S
    films = (wanted_s >= time_s[0] - half_s) & (wanted_s <= time_s[-1] + half_s)
    return np.where(films, USED, NOT_FILMING)


def _collect_offset_sigmas(tracks: list[ViewTrack], cameras: list[Camera]) -> np.ndarray | None:
    sigmas = [
        np.asarray(track.offset_sigma_px, dtype=float) * camera.size_px[0] / track.size_px[0]
        for track, camera in zip(tracks, cameras, strict=True)
    ]
    return np.stack(sigmas) if np.any(sigmas) else None


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
    if track.guess is None or not len(track.time_s):
        return None
    middles_s = 0.5 * (track.time_s[1:] + track.time_s[:-1])
    nearest = np.searchsorted(middles_s, wanted_s)
    apart = np.abs(track.time_s[nearest] - wanted_s) > 1.0 / 24.0
    betas = np.where(apart[:, None], np.nan, track.guess.betas[nearest])
    orient = np.where(apart[:, None, None], np.nan, camera.R.T @ track.guess.global_orient[nearest])
    pose = np.where(apart[:, None, None, None], np.nan, track.guess.hand_pose[nearest])
    return PoseGuess(betas, orient, pose)


def leave_out_odd_views(
    evidence: Evidence, side: Side, model: HandModel, report: Reporter, options: FusionOptions
) -> Evidence:
    """The evidence without a say for views while they follow something else (`find_odd_views`); they warn."""
    state = find_odd_views(evidence.cameras, evidence.time_s, evidence.points_px, model)
    for sentence in describe_odd_views(evidence.names, evidence.time_s, state):
        report.warn(sentence)
    if evidence.view_state is not None:
        state = np.where(evidence.view_state == NOT_FILMING, NOT_FILMING, state)
    used = state == USED
    weights = get_view_weights(evidence.names, side, evidence.seen & used[..., None], options.rescue_weight)
    guesses = tuple(
        None if guess is None else PoseGuess(*(_blank(part, ~keep) for part in vars(guess).values()))
        for guess, keep in zip(evidence.guesses, used, strict=True)
    )
    return replace(
        evidence, manual=np.where(used[..., None], weights, 0.0), guesses=guesses, view_state=state
    )


def _blank(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.where(rows.reshape(-1, *(1,) * (values.ndim - 1)), np.nan, values)


def check_evidence(evidence: Evidence, side: Side, report: Reporter) -> None:
    """Raise `FusionError` where nothing can be worked out; warn of what rests on a single camera."""
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


def find_long_gaps(evidence: Evidence, max_gap_s: float) -> np.ndarray:
    """Frames (T,) bool in gaps of more than ``max_gap_s`` in which no joint in any camera had a say."""
    seen = (evidence.seen & (evidence.manual > 0)).any(axis=(0, 2))
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
