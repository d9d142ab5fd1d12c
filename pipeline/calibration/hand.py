"""A rig from the hand's own motion, for sessions with neither a checkerboard nor a rig solved before.

Focal lengths come from the files or from a stated guess, relative poses from the 21 joints that all cameras
saw, scale from bone lengths; then everything is refined together (`pipeline.calibration.bundle`). What comes
out is far less sure than a checkerboard's rig, since a network's points are off by some per cent of the
hand's size, the same way in frame after frame. So the verdict is never better than "check".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.calibration.bundle import (
    Bundle,
    Priors,
    Sightings,
    State,
    get_residuals,
    measure_hands,
    refine,
)
from pipeline.calibration.epipolar import LEAST_POINTS, angle_deg, place_by_hand, propose_turns, resect
from pipeline.calibration.focal import FocalGuess, guess_focal
from pipeline.calibration.proportions import Proportions, expect_lengths
from pipeline.errors import CalibrationError
from pipeline.fusion.resample import resample_keypoints
from pipeline.fusion.triangulate import triangulate
from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.progress import Reporter
from pipeline.results import Camera, Rig, SyncResult, ViewTrack
from pipeline.session import Session
from pipeline.sync.motion import find_offset_by_motion

MOST_INSTANTS = 100
FIRST_INSTANTS, QUICK_INSTANTS = 10, 24
MOST_TRIED = 3
ALIKE_DEG = 8.0
LEAST_INSTANTS = 30
LEAST_JOINTS = 12
"""Joints that a camera must see at an instant for it to count."""
LEAST_ANGLE_DEG = 10.0
MOST_SIGMA_DEG = 15.0
SIGMA_FLOOR = 0.003
"""Least error of a point, in hand sizes: no network is better."""
BIAS_SHARE = 2.0
"""Constant offset that a network's points may have, in their stated sigma."""
COVERAGE_FACTOR = 1.25
"""What the refinement's own standard errors are multiplied with: on made sessions with the embedded network's
points the errors of rotation were 1.2 times what it expected, root mean square."""
LEAST_CORRELATION = 0.1
MOST_SEEDS = 3
MIRROR_MARGIN = 0.8
"""A world in which the fingers bend backwards must fit better by this factor to be called the true one."""

_BENDS = tuple(
    index
    for index, name in enumerate(ANGLES)
    if name.endswith(("pip_flexion", "dip_flexion")) and not name.startswith("thumb")
)
_FILM = (
    "Film a checkerboard with all cameras at once and put the takes into calibration/ under the same names, "
    "or copy the rig.json of an earlier visit if no camera was moved since."
)


@dataclass(frozen=True)
class Scene:
    """What the cameras saw of one hand, and what is known beforehand.

    Attributes
    ----------
    names : tuple of str
        The cameras, the reference first.
    side : "right" | "left"
    sightings : Sightings
    sizes_px : list of (int, int)
    focals : list of FocalGuess
    proportions : Proportions
    offset_sigma_s : float
        Of offsets that come from the hand's motion.
    """

    names: tuple[str, ...]
    side: Side
    sightings: Sightings
    sizes_px: list[tuple[int, int]]
    focals: list[FocalGuess]
    proportions: Proportions
    offset_sigma_s: float

    @property
    def priors(self) -> Priors:
        """For the refinement."""
        seen = self.sightings.sigma_px
        size = measure_sizes(self.sightings.points_px)[..., None]
        return Priors(
            focal_px=np.array([focal.focal_px for focal in self.focals]),
            focal_sigma=np.array([focal.sigma for focal in self.focals]),
            lengths_mm=self.proportions.lengths_mm,
            length_covariance=self.proportions.covariance,
            bias=BIAS_SHARE * float(np.nanmedian(seen / size)),
            offset_s=self.offset_sigma_s,
        )


def calibrate_from_hand(
    session: Session,
    sound: SyncResult,
    views: dict[str, dict[Side, ViewTrack]],
    model: HandModel,
    report: Reporter,
) -> Rig:
    """Lenses and places of the cameras from the hand that they all saw.

    Parameters
    ----------
    session : Session
        ``hand_length_mm`` gives the scale and ``focal_35mm`` the lenses, where they are there.
    sound : SyncResult
        Clocks as far as sound tells; cameras without take theirs from the hand's motion, and it is refined
        with everything else.
    views : dict of dict of ViewTrack
        By camera and side.
    model : HandModel
        Tells proportions and, without ``hand_length_mm``, size of hands.
    report : Reporter
        Hears progress and warnings.

    Returns
    -------
    Rig
        Source "hand", verdict "check", with the expected errors in its reasons, ``sigma_deg``, ``sigma_mm``
        and ``scale_sigma``.

    Raises
    ------
    CalibrationError
        The hand cannot carry a calibration: too few common moments, too little movement, views too close,
        or a hand that comes out mirrored. Names the camera.
    """
    report.update(0.0, "Gathering what all cameras saw of the hand")
    scene = gather(session, sound, views, model)
    report.update(0.1, "Working out where the cameras stand from the hand")
    bundle = solve(scene, report.part(0.1, 0.95))
    _require_geometry(scene, bundle)
    rig = make_rig(scene, bundle)
    for reason in rig.reasons:
        report.warn(reason)
    report.update(1.0, "The cameras are calibrated from the hand")
    return rig


# --- what was seen ---------------------------------------------------------------------------------


def gather(
    session: Session, sound: SyncResult, views: dict[str, dict[Side, ViewTrack]], model: HandModel
) -> Scene:
    """One hand's points in all cameras at common instants, with what is known of lenses and bones."""
    names = session.cameras
    side = _choose_side(session, views)
    tracks = {name: views[name][side] for name in names if side in views.get(name, {})}
    for name in names:
        if name not in tracks:
            raise CalibrationError(f"Camera {name} has no keypoints of the {side} hand.", _FILM)
    clocks, free, sigma_s = _get_clocks(sound, tracks, side)
    time_s = np.asarray(tracks[names[0]].time_s, dtype=float)
    seen = [_resample(tracks[name], clocks, name, time_s) for name in names]
    points, sigma, velocity = (np.stack([part[k] for part in seen]) for k in range(3))
    rows = _choose_instants(names, sigma)
    points, sigma, velocity = points[:, rows], sigma[:, rows], velocity[:, rows]
    sizes_px = [tracks[name].size_px for name in names]
    sigma = np.maximum(sigma, SIGMA_FLOOR * measure_sizes(points)[..., None])
    return Scene(
        names=names,
        side=side,
        sightings=Sightings(
            points_px=points,
            sigma_px=sigma,
            velocity_px_s=velocity,
            centre_px=(np.array(sizes_px, dtype=float) - 1) / 2,
            free_offset=np.array([name in free for name in names]),
        ),
        sizes_px=sizes_px,
        focals=[guess_focal(session, name, tracks[name].size_px) for name in names],
        proportions=expect_lengths(model, session.settings.hand_length_mm),
        offset_sigma_s=sigma_s,
    )


def _choose_side(session: Session, views: dict[str, dict[Side, ViewTrack]]) -> Side:
    """The hand that was seen most by the camera that saw it least."""

    def least_seen(side: Side) -> int:
        tracks = [views.get(name, {}).get(side) for name in session.cameras]
        return min(0 if t is None else int(np.isfinite(t.keypoints_px[..., 0]).sum()) for t in tracks)

    return max(session.settings.sides, key=least_seen)


def _get_clocks(
    sound: SyncResult, tracks: dict[str, ViewTrack], side: Side
) -> tuple[SyncResult, set[str], float]:
    """Clocks, with those that sound did not tell from the hand; whose these are, and their sigma."""
    cameras, free, sigmas = dict(sound.cameras), set(), [1e-3]
    for name, track in tracks.items():
        if not math.isnan(cameras[name].offset_s):
            continue
        reference = tracks[sound.reference]
        found = find_offset_by_motion({side: reference}, {side: track})
        if found.verdict == "failed":
            raise CalibrationError(
                f"Camera {name} has no usable sound, and its view of the hand cannot be brought onto one "
                f"clock with camera {sound.reference}'s: {' '.join(found.reasons)}",
                f"Give its offset in session.toml: [offset_s] {name} = SECONDS, or record with sound.",
            )
        cameras[name] = replace(cameras[name], offset_s=found.offset_s, drift_ppm=0.0)
        free.add(name)
        sigmas.append(found.sigma_s if math.isfinite(found.sigma_s) else 0.03)
    return replace(sound, cameras=cameras), free, max(sigmas)


def _resample(
    track: ViewTrack, clocks: SyncResult, name: str, time_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (T, 21, 2), sigma (T, 21) and velocity (T, 21, 2) at times of the reference's clock."""
    own = clocks.from_reference_s(name, time_s)
    args = (np.asarray(track.time_s, dtype=float), track.keypoints_px, track.sigma_px)
    points, sigma = resample_keypoints(*args, own)
    step = 0.02
    after, before = (resample_keypoints(*args, own + sign * step)[0] for sign in (1, -1))
    few = np.isfinite(points).all(axis=-1).sum(axis=1) < LEAST_JOINTS
    points[few], sigma[few] = np.nan, np.nan
    return points, np.where(np.isfinite(points[..., 0]), sigma, np.nan), (after - before) / (2 * step)


def _choose_instants(names: Sequence[str], sigma: np.ndarray) -> np.ndarray:
    """Instants that two cameras at least saw, spread over the recording; refuses where a camera has few."""
    seen = np.isfinite(sigma).any(axis=2)
    common = seen.sum(axis=0) >= 2
    for camera, name in enumerate(names):
        n_common = int((seen[camera] & common).sum())
        if n_common < LEAST_INSTANTS:
            raise CalibrationError(
                f"There is no checkerboard, and camera {name} saw the hand together with another camera in "
                f"{n_common} frames only: too few to work out where it stands.",
                f"{_FILM} Or record again with the hand in every picture.",
            )
    # Instants that all cameras share tie the rig together; others help cameras that share few.
    everywhere = np.flatnonzero(seen.all(axis=0))
    rows = everywhere if len(everywhere) >= LEAST_INSTANTS else np.flatnonzero(common)
    return rows[np.unique(np.linspace(0, len(rows) - 1, MOST_INSTANTS).round().astype(int))]


def measure_sizes(points_px: np.ndarray) -> np.ndarray:
    """Hand sizes (C, N) in px: half as long again as a hand's spread; see `measure_hands`."""
    return np.sqrt(np.abs(np.linalg.det(measure_hands(points_px))))


# --- from points to cameras ------------------------------------------------------------------------


def solve(scene: Scene, report: Reporter) -> Bundle:
    """Try every candidate of the pairs in a short refinement, and refine the best one in full."""
    starts = list(_propose(scene))
    rough: list[Trial] = []
    for number, start in enumerate(starts):
        report.update(0.4 * number / len(starts), "Trying how the cameras may stand")
        rough += _try(scene, start, FIRST_INSTANTS, 5)
    found: list[Trial] = []
    for trial in _keep_best(rough):
        found += _try(scene, trial.bundle.state, QUICK_INSTANTS, 15)
    if not found:
        raise CalibrationError(
            "The cameras' views of the hand fit no arrangement of the cameras.",
            f"{_FILM}",
        )
    best = _choose(scene, found)
    report.update(0.6, "Refining cameras and hand together")
    seen, priors = scene.sightings, scene.priors
    first = refine(_with_joints(best.state, seen), seen, priors)
    report.update(0.8, "Refining cameras and hand together")
    # A network's errors hang together in time: frames that repeat an error are not so many witnesses.
    seen = replace(seen, sigma_px=seen.sigma_px * measure_repetition(first, seen, priors))
    return refine(first.state, seen, priors)


def measure_repetition(bundle: Bundle, sightings: Sightings, priors: Priors) -> float:
    """By what sigma must grow so that instants may count as independent: at least 1.

    The root of the residuals' correlation time in instants (Geyer's sum over positive lags) times how much
    larger than stated they are.
    """
    z = get_residuals(bundle.state, sightings, priors)
    weight = bundle.weights[..., None]
    mean = (weight * z).sum(axis=1, keepdims=True) / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    z = np.where(weight > 0, z - mean, 0.0)
    square = (weight * z**2).sum()
    time = 1.0
    for lag in range(1, z.shape[1] // 3):
        both = np.minimum(weight[:, lag:], weight[:, :-lag])
        correlation = (both * z[:, lag:] * z[:, :-lag]).sum() / square * z.shape[1] / (z.shape[1] - lag)
        if correlation < LEAST_CORRELATION:
            break
        time += 2 * correlation
    n_cameras = len(z)
    freedom = max(1 - 63 / (42 * n_cameras + 30), 0.2)
    size = square / np.maximum((weight > 0).sum() * 2 * freedom, 1)
    return float(np.sqrt(time * max(size, 1.0)))


@dataclass(frozen=True)
class Trial:
    """A short refinement, and whether the fingers bend the way fingers do."""

    bundle: Bundle
    forwards: bool

    @property
    def cost(self) -> float:
        """See `Bundle`."""
        return self.bundle.cost


def _try(scene: Scene, start: State, n_instants: int, iterations: int) -> list[Trial]:
    """A short refinement on a few instants; none where the start is behind a camera."""
    n = scene.sightings.points_px.shape[1]
    few = scene.sightings.take(np.unique(np.linspace(0, n - 1, n_instants).astype(int)))
    bundle = refine(_with_joints(start, few), few, scene.priors, iterations, with_bias=False)
    if not np.isfinite(bundle.cost):
        return []
    return [Trial(bundle, bends_forwards(bundle.state.joints_mm, scene.side))]


def _keep_best(trials: list[Trial]) -> list[Trial]:
    """The best trials of each way of bending, no two of nearly the same arrangement."""
    kept: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: trial.cost):
        alike = [
            max(angle_deg(a @ b.T) for a, b in zip(trial.bundle.state.R, other.bundle.state.R, strict=True))
            for other in kept
            if other.forwards == trial.forwards
        ]
        if len(alike) < MOST_TRIED and all(angle > ALIKE_DEG for angle in alike):
            kept.append(trial)
    return kept


def _choose(scene: Scene, found: list[Trial]) -> Bundle:
    """The best fit in which the fingers bend the way fingers do."""
    best = min(found, key=lambda trial: trial.cost)
    right = min((trial for trial in found if trial.forwards), key=lambda trial: trial.cost, default=None)
    if right is None or best.cost < MIRROR_MARGIN * right.cost:
        raise CalibrationError(
            f"In the only arrangement of the cameras that fits, the fingers of the {scene.side} hand bend "
            "backwards, as they would in a mirrored world.",
            "Check `side` in session.toml, and that no camera's picture is mirrored (selfie view).",
        )
    return right.bundle


def bends_forwards(joints_mm: np.ndarray, side: Side) -> bool:
    """Whether the fingers (T, 21, 3) bend towards the palm: they do not in the mirror image of the world."""
    angles = compute_angles(joints_mm, side)[:, _BENDS]
    return float(np.nanmedian(np.nansum(angles, axis=1))) > 0


def _propose(scene: Scene) -> Iterator[State]:
    """Starts: a pair by each of its candidates, the other cameras by resection."""
    seen = scene.sightings
    focal = np.array([guess.focal_px for guess in scene.focals])
    normal = (seen.points_px - seen.centre_px[:, None, None]) / focal[:, None, None, None]
    sigma = np.nanmedian(seen.sigma_px, axis=(1, 2)) / focal
    hand = measure_sizes(seen.points_px) / focal[:, None]
    random = np.random.default_rng(1)
    for a, b in _choose_pairs(seen.seen):
        pair_sigma = float(np.hypot(sigma[a], sigma[b]))
        for turn in propose_turns(normal[a], normal[b], pair_sigma, random):
            t_mm = place_by_hand(turn, normal[a], normal[b], hand[a], hand[b], scene.proportions.size_mm)
            poses = {a: (np.eye(3), np.zeros(3)), b: (turn, t_mm)}
            joints = _triangulate(poses, normal)
            for camera in range(len(focal)):
                if camera not in poses:
                    pose = resect(joints, normal[camera], float(sigma[camera]))
                    if pose is not None:
                        poses[camera] = pose
            if len(poses) == len(focal):
                yield _make_state(scene, focal, poses)


def _choose_pairs(seen: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of cameras, those that share most first."""
    shared = {(a, b): int((seen[a] & seen[b]).sum()) for a, b in itertools.combinations(range(len(seen)), 2)}
    pairs = sorted(shared, key=lambda pair: -shared[pair])
    return [pair for pair in pairs if shared[pair] >= LEAST_POINTS][:MOST_SEEDS]


def _triangulate(poses: dict[int, tuple[np.ndarray, np.ndarray]], normal: np.ndarray) -> np.ndarray:
    projections = np.stack([np.concatenate([R, t[:, None]], axis=1) for R, t in poses.values()])
    points = np.stack([normal[camera] for camera in poses])
    return triangulate(points, projections, np.ones(points.shape[:-1]))


def _make_state(scene: Scene, focal: np.ndarray, poses: dict[int, tuple[np.ndarray, np.ndarray]]) -> State:
    """A start with the first camera as the world; joints are triangulated later."""
    R0, t0 = poses[0]
    R = np.stack([poses[camera][0] @ R0.T for camera in range(len(focal))])
    t = np.stack([poses[camera][1] - R[camera] @ t0 for camera in range(len(focal))])
    return State(
        focal_px=focal,
        R=R,
        t_mm=t,
        offset_s=np.zeros(len(focal)),
        joints_mm=np.zeros((0, 21, 3)),
        lengths_mm=scene.proportions.lengths_mm,
        bias=np.zeros((len(focal), 21, 2)),
    )


def _with_joints(state: State, seen: Sightings) -> State:
    """The state with its joints triangulated anew from these sightings."""
    normal = (seen.points_px - seen.centre_px[:, None, None]) / state.focal_px[:, None, None, None]
    joints = _triangulate({c: (state.R[c], state.t_mm[c]) for c in range(len(normal))}, normal)
    # What triangulation misses starts where the instant's other joints are.
    middle = np.nanmedian(joints, axis=1, keepdims=True)
    middle = np.where(np.isfinite(middle), middle, np.nanmedian(middle, axis=0))
    return replace(state, joints_mm=np.where(np.isfinite(joints), joints, middle))


# --- what it is worth ------------------------------------------------------------------------------


def get_sigma(bundle: Bundle, camera: int) -> tuple[float, float]:
    """Expected error of a camera's rotation in degrees and translation in mm, against the first camera."""
    first = 8 * camera
    turn = bundle.covariance[first + 1 : first + 4, first + 1 : first + 4]
    place = bundle.covariance[first + 4 : first + 7, first + 4 : first + 7]
    return (
        COVERAGE_FACTOR * math.degrees(math.sqrt(np.trace(turn))),
        COVERAGE_FACTOR * math.sqrt(np.trace(place)),
    )


def _require_geometry(scene: Scene, bundle: Bundle) -> None:
    state = bundle.state
    centres = -np.einsum("cji,cj->ci", state.R, state.t_mm)
    rays = np.nanmedian(state.joints_mm, axis=(0, 1)) - centres
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    for camera, name in enumerate(scene.names):
        others = [c for c in range(len(rays)) if c != camera]
        angle = max(math.degrees(math.acos(np.clip(rays[camera] @ rays[c], -1, 1))) for c in others)
        if angle < LEAST_ANGLE_DEG:
            raise CalibrationError(
                f"Camera {name} sees the hand from nearly the same side as the others ({angle:.0f} degrees "
                "apart): depth cannot be told from so near.",
                f"Stand the cameras 40 to 60 degrees apart. {_FILM}",
            )
        sigma_deg, _ = get_sigma(bundle, camera)
        if sigma_deg > MOST_SIGMA_DEG:
            raise CalibrationError(
                f"The hand moves too little, or is seen too roughly, to tell where camera {name} stands "
                f"(to {sigma_deg:.0f} degrees only).",
                f"Let the hand turn and travel in front of all cameras for ten seconds. {_FILM}",
            )


def make_rig(scene: Scene, bundle: Bundle) -> Rig:
    """The rig in the files' terms, with its expected errors in words."""
    state, cameras = bundle.state, {}
    for index, name in enumerate(scene.names):
        f, centre = state.focal_px[index], scene.sightings.centre_px[index]
        sigma_deg, sigma_mm = get_sigma(bundle, index) if index else (0.0, 0.0)
        cameras[name] = Camera(
            name=name,
            size_px=scene.sizes_px[index],
            K=np.array([[f, 0, centre[0]], [0, f, centre[1]], [0, 0, 1.0]]),
            distortion=np.zeros(5),
            R=state.R[index],
            t_mm=state.t_mm[index],
            rms_px=float(bundle.rms_px[index]),
            sigma_deg=sigma_deg,
            sigma_mm=sigma_mm,
        )
    lengths = slice(8 * len(scene.names), None)
    spread = bundle.covariance[lengths, lengths]
    scale_sigma = float(np.hypot(np.sqrt(spread.mean()), scene.proportions.scale_floor))
    return Rig(
        reference=scene.names[0],
        cameras=cameras,
        pairs=_describe_pairs(scene, bundle),
        scale_sigma=scale_sigma,
        source="hand",
        verdict="check",
        reasons=_explain(scene, list(cameras.values()), scale_sigma),
    )


def _describe_pairs(scene: Scene, bundle: Bundle) -> list[dict[str, object]]:
    seen = np.asarray(scene.sightings.seen.any(axis=2))
    return [
        {
            "a": scene.names[a],
            "b": scene.names[b],
            "rms_px": float(np.hypot(*bundle.rms_px[[a, b]]) / math.sqrt(2)),
            "frames": int((seen[a] & seen[b]).sum()),
        }
        for a, b in itertools.combinations(range(len(scene.names)), 2)
    ]


def _explain(scene: Scene, cameras: list[Camera], scale_sigma: float) -> tuple[str, ...]:
    others = cameras[1:]
    worst_deg = max(camera.sigma_deg for camera in others)
    share = max(camera.sigma_mm / float(np.linalg.norm(camera.t_mm)) for camera in others)
    from_what = (
        f"the hand's stated length of {scene.proportions.hand_length_mm:.0f} mm"
        if scene.proportions.hand_length_mm
        else "the mean hand, since hand_length_mm is not in session.toml"
    )
    reasons = [
        "Self-calibrated from the hand: there was no checkerboard and no saved rig. Expected error "
        f"{worst_deg:.1f} degrees of the cameras' directions, {100 * share:.0f} % of distances, "
        f"{100 * scale_sigma:.0f} % of scale. Scale is from {from_what}."
    ]
    guessed = [name for name, focal in zip(scene.names, scene.focals, strict=True) if focal.source == "guess"]
    if guessed:
        reasons.append(
            f"The focal length of camera {', '.join(guessed)} is not known; it was guessed and refined with "
            "the hand. Give focal_35mm in session.toml if you know it."
        )
    return tuple(reasons)
