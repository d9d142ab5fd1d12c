"""Whether the cameras still stand as they were calibrated, from the hand's own points.

The rays of a joint from all cameras that saw it should meet. What keeps them apart is compared with what a
turn of one camera would do: a robust least squares, together with what each clock may be off (a wrong offset
shifts points along their motion, to and fro; a turn shifts them one way). A camera is held for moved where
its turn explains much of what keeps the rays apart, more than any other camera's does.

The networks' errors differ from joint to joint and stay the same in time. So it is the joints, not the
frames, that count as independent for the turn's standard error, and a small gain of the fit says nothing:
with the true rig the best turn of a camera takes away up to a ninth of the cost (`GOOD_GAIN`).

Whatever the cause, views whose points do not meet cannot be measured by: where a camera's points lie a good
part of the hand's length from where the others put them, the rig is doubted even if no turn explains it
(another lens, a camera turned over or pushed nearer, names exchanged, a wrong clock).

What can be seen: a turn of 1 degree up, down or sideways, and a shift to the side, up or down by 2 % of the
distance, which looks the same (with a network's points sideways only as a doubt, and without telling which
camera; `benchmarks/hand_sync.py` prints the table). What cannot: a turn about the line of sight below about 4
degrees, since the hand is small and near the middle of the picture; a shift towards the hand or away from it
below about a tenth of the distance; with two cameras, anything that moves points along the epipolar lines,
and which of the two it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.calibration.bundle import measure_hands
from pipeline.fusion.triangulate import triangulate
from pipeline.hand.joints import JOINTS, Side
from pipeline.results import Camera, CameraCheck, CheckVerdict, Rig, RigCheck, SyncResult, ViewTrack
from pipeline.sync.reprojection import Geometry, get_essential

MOVED_GAIN = 0.3
GOOD_GAIN = 0.14
"""Share of the robust cost that one camera's turn takes away. With three cameras, the true rig and a
network's points it is 0.11 at most on made sessions; a turn of 1 degree up, down or sideways gives 0.18 to
0.65."""
MOVED_GAIN_OF_TWO = 0.45
GOOD_GAIN_OF_TWO = 0.3
"""With two cameras only a single number a point tells anything, and the networks' errors fill more of it."""
MOVED_DEG = 0.7
GOOD_DEG = 0.3
"""Smaller turns do not matter, however well they are seen: 0.3 degrees are 4 mm at 0.7 m."""
SIGMAS = 4.0
SAME_GAIN = 0.04
"""Two cameras whose turns explain nearly the same cannot be told apart."""
FAR_SHARE = 0.07
FAR_SHARE_OF_TWO = 0.05
"""Of the hand's length in the picture: 13 and 9 mm. With the true rig the embedded network's points lie 0.03
from where the others put them, with two cameras 0.014 from the epipolar line."""
LOST_SHARE = 0.2
"""No network is so far off."""
LEAST_POINTS = 300
LEAST_JOINTS = 8
LEAST_SHARE = 0.5
"""Of the points seen by two cameras, as many must lie in front of them all."""
MOST_INSTANTS = 250
PRIOR_DEG = 2.0
"""Turns that the points do not show stay near zero by this."""
PRIOR_OFFSET_S = 0.02
LEAST_SCALE_PX = 0.3
_ROUNDS = 12

_ORDER = ("unknown", "good", "doubtful", "moved")

Names = tuple[str, ...]


def check_rig(rig: Rig, sync: SyncResult, views: dict[str, dict[Side, ViewTrack]]) -> RigCheck:
    """Hold a rig against the hand that its cameras saw.

    Parameters
    ----------
    rig : Rig
        As calibrated; only its cameras with views and a known clock are judged.
    sync : SyncResult
        Clocks; errors of a frame or so are estimated along with the turns.
    views : dict of dict of ViewTrack
        By camera and side.

    Returns
    -------
    RigCheck
        "unknown" where too little was seen by two cameras at once. Of two cameras both get the same verdict.
    """
    names = tuple(
        name for name in sync.cameras
        if name in rig.cameras and views.get(name) and np.isfinite(sync.cameras[name].offset_s)
    )  # fmt: skip
    geometry = Geometry(rig, views, names)
    names = tuple(geometry.paths)
    if len(names) < 2:
        return RigCheck("unknown", {name: CameraCheck("unknown") for name in names})
    seen = _look(geometry, sync, names)
    joints_seen = len(np.unique(np.nonzero((seen.trust > 0).any(axis=0))[1]))
    if seen.n_points < LEAST_POINTS or joints_seen < LEAST_JOINTS:
        return RigCheck("unknown", {name: CameraCheck("unknown") for name in names})
    system = _make_system(rig, seen)
    if len(system.joint) < LEAST_SHARE * seen.n_points:
        return _refuse(names)
    still = _fit(system, ())
    turns = {name: _fit(system, (name,)) for name in names}
    scale_px = max(min(fit.median_px for fit in (still, *turns.values())), LEAST_SCALE_PX)
    gains = {name: 1 - fit.cost(scale_px) / still.cost(scale_px) for name, fit in turns.items()}
    verdicts, accused = _judge(system, turns, gains, scale_px)
    cameras = {name: _describe(rig, seen, name, turns[name], verdicts[name]) for name in names}
    reasons = tuple(_say(group, names, verdicts, cameras) for group in accused)
    worst = max(verdicts.values(), key=_ORDER.index)
    return _doubt_distances(RigCheck(worst, cameras, reasons), seen)


def _refuse(names: Names) -> RigCheck:
    """The rig is too far from the truth to say more."""
    reason = (
        f"The lines of sight of cameras {' and '.join(names)} to the hand do not meet in front of them: the "
        "calibration does not belong to these videos, or a camera was moved far. Calibrate again."
    )
    return RigCheck("moved", {name: CameraCheck("moved") for name in names}, (reason,))


# --- the verdict -------------------------------------------------------------------------------------


def _judge(
    system: _System, turns: dict[str, _Fit], gains: dict[str, float], scale_px: float
) -> tuple[dict[str, CheckVerdict], list[Names]]:
    """Verdicts by camera, and the cameras that are accused, those that cannot be told apart together."""
    verdicts: dict[str, CheckVerdict] = dict.fromkeys(turns, "good")
    first = max(gains, key=lambda name: gains[name])
    good, moved = (GOOD_GAIN, MOVED_GAIN) if len(turns) > 2 else (GOOD_GAIN_OF_TWO, MOVED_GAIN_OF_TWO)
    verdict = _rate(turns[first], gains[first], good, moved)
    if verdict == "good":
        return verdicts, []
    alike = tuple(name for name in turns if len(turns) == 2 or gains[first] - gains[name] < SAME_GAIN)
    verdicts |= dict.fromkeys(alike, verdict)
    accused = [alike]
    # What one camera's turn leaves over may be another's.
    for name in turns if len(turns) > 2 and len(alike) == 1 else ():
        if name != first:
            both = _fit(system, (first, name))
            gain = 1 - both.cost(scale_px) / turns[first].cost(scale_px)
            verdicts[name] = _rate(both.of(name), gain, good, moved)
            if verdicts[name] != "good":
                accused.append((name,))
    return verdicts, accused


def _rate(fit: _Fit, gain: float, good_gain: float, moved_gain: float) -> CheckVerdict:
    if gain < good_gain or fit.turn_deg < GOOD_DEG or fit.wald < SIGMAS:
        return "good"
    return "moved" if gain >= moved_gain and fit.turn_deg >= MOVED_DEG else "doubtful"


def _describe(rig: Rig, seen: _Seen, name: str, fit: _Fit, verdict: CheckVerdict) -> CameraCheck:
    error_px, n_points = _left_out_px(rig, seen, name)
    turned = _turn(rig.cameras[name], fit.turn)
    expected_px, _ = _left_out_px(replace(rig, cameras={**rig.cameras, name: turned}), seen, name)
    return CameraCheck(
        verdict if n_points else "unknown", error_px, expected_px, fit.turn_deg, fit.turn_sigma_deg, n_points
    )


def _doubt_distances(check: RigCheck, seen: _Seen) -> RigCheck:
    """The check, worse where the points lie too far apart for any true rig, whatever a turn explains."""
    shares = {name: check.cameras[name].error_px / _hand_px(seen, name) for name in seen.names}
    worst = max(shares, key=lambda name: np.nan_to_num(shares[name]))
    share, error_px = shares[worst], check.cameras[worst].error_px
    far = FAR_SHARE if len(shares) > 2 else FAR_SHARE_OF_TWO
    verdict: CheckVerdict = "moved" if share >= LOST_SHARE else "doubtful" if share >= far else "good"
    if _ORDER.index(verdict) <= _ORDER.index(check.verdict):
        return check
    # The worst camera spoils the others' distances; of two either may be the one.
    accused = seen.names if len(seen.names) == 2 else (worst,)
    cameras = {
        name: replace(camera, verdict=verdict) if name in accused else camera
        for name, camera in check.cameras.items()
    }
    reason = (
        f"The views' points of the hand do not meet: camera {worst}'s lie {error_px:.0f} px from where the "
        f"others put them, {share:.0%} of the hand's length. The calibration is not of these videos, or a "
        "camera was zoomed, turned over or moved far, or a clock is wrong. Calibrate again."
    )
    return RigCheck(verdict, cameras, (*check.reasons, reason))


def _hand_px(seen: _Seen, name: str) -> float:
    """Usual length of the hand in a camera's picture, in px; NaN if it is never seen."""
    own = seen.names.index(name)
    hands = seen.points[own].reshape(1, -1, len(JOINTS), 2) * seen.focal_px[own]
    hands = hands[:, np.isfinite(hands).all(axis=(0, 3)).sum(axis=1) >= LEAST_JOINTS]
    sizes = np.sqrt(np.abs(np.linalg.det(measure_hands(hands))))
    sizes = sizes[np.isfinite(sizes)]
    return float(np.median(sizes)) if len(sizes) else float("nan")


def _say(
    accused: Names, names: Names, verdicts: dict[str, CheckVerdict], cameras: dict[str, CameraCheck]
) -> str:
    first = max(accused, key=lambda name: cameras[name].turn_deg)
    check = cameras[first]
    seems = "seems to have been moved" if verdicts[first] == "moved" else "may have been moved"
    size = f"about {check.turn_deg:.1f}° (±{check.turn_sigma_deg:.1f}°)"
    if len(accused) == 1:
        who = f"Camera {accused[0]} {seems}"
        which = f"turned by {size}, or shifted by as much as looks the same"
        todo = f"Calibrate again with {accused[0]} where it stands now, or take it out of the session"
    else:
        who = f"One of the cameras {' and '.join(accused)} {seems}"
        which = f"turned by {size}, or shifted by as much as looks the same; the points cannot tell which one"
        todo = "Calibrate again with the cameras where they stand now"
    return (
        f"{who} since the calibration ({which}): its points of the hand lie {check.error_px:.1f} px from "
        f"where the others put them. {todo}."
    )


# --- what was seen -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """Joints at common instants: ``points`` (C, T, J, 2) and ``speed`` (C, T, J, 2) in normalised coordinates
    (per second), ``trust`` (C, T, J) with 0 for what was not seen by two, ``focal_px`` (C,).
    """

    names: Names
    points: np.ndarray
    speed: np.ndarray
    trust: np.ndarray
    focal_px: np.ndarray

    @property
    def n_points(self) -> int:
        return int((self.trust > 0).any(axis=0).sum())


def _look(geometry: Geometry, sync: SyncResult, names: Names) -> _Seen:
    """All cameras at the same instants, spread over what at least two of them recorded."""
    spans = [sync.to_reference_s(name, geometry.paths[name].time_s[[0, -1]]) for name in names]
    start_s, end_s = sorted(span[0] for span in spans)[1], sorted(span[1] for span in spans)[-2]
    n = int(np.clip((end_s - start_s) * 30, 2, MOST_INSTANTS))
    reference_s = np.linspace(start_s, max(end_s, start_s), n)
    points, speed, trust = [], [], []
    for name in names:
        path = geometry.paths[name]
        here, moving, sigma = path.read(sync.from_reference_s(name, reference_s))
        is_seen = np.isfinite(here).all(axis=2) & np.isfinite(sigma)
        points.append(here)
        speed.append(moving)
        trust.append(np.where(is_seen, path.trust, 0.0))
    together = np.stack(trust)
    together = np.where((together > 0).sum(axis=0) >= 2, together, 0.0)
    focal_px = np.array([geometry.paths[name].focal_px for name in names])
    return _Seen(names, np.stack(points), np.stack(speed), together, focal_px)


def _turn(camera: Camera, turn: np.ndarray) -> Camera:
    """The camera turned by an axis-angle (3,) of its own frame about its own centre."""
    by = cv2.Rodrigues(turn)[0]
    return replace(camera, R=by @ camera.R, t_mm=by @ camera.t_mm)


def _left_out_px(rig: Rig, seen: _Seen, name: str) -> tuple[float, int]:
    """Median distance of a camera's points from where the others put them, and how many there were.

    From the joint as the others alone triangulate it; where only one other camera saw it, from its line.
    """
    own = seen.names.index(name)
    trust = np.delete(seen.trust, own, axis=0)
    points = np.delete(seen.points, own, axis=0)
    others = [rig.cameras[other] for other in seen.names if other != name]
    is_own = seen.trust[own] > 0
    weights = np.sqrt(trust) * np.delete(seen.focal_px, own)[:, None, None]
    joints = triangulate(points, np.stack([camera.projection for camera in others]), weights)
    camera = rig.cameras[name]
    there = joints @ camera.R.T + camera.t_mm
    depth = np.where(there[..., 2:] > 0, there[..., 2:], np.nan)
    distance = np.linalg.norm(there[..., :2] / depth - seen.points[own], axis=-1)
    for other, view, weight in zip(others, points, trust, strict=True):
        line = _homogeneous(view) @ get_essential(other, camera).T
        from_line = np.abs(np.sum(line * _homogeneous(seen.points[own]), axis=-1))
        from_line = from_line / np.linalg.norm(line[..., :2], axis=-1)
        distance = np.where(np.isnan(distance) & (weight > 0), from_line, distance)
    found = distance[is_own & np.isfinite(distance)] * seen.focal_px[own]
    return (float(np.median(found)), len(found)) if len(found) else (float("nan"), 0)


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


# --- least squares -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _System:
    """What keeps the rays apart, point by point, and what a turn or a clock would change of it.

    All in px and freed of what a shift of the joint itself explains: ``residual`` (N, 2 C), ``turn`` by
    camera (N, 2 C, 3) per rad, ``clock`` by camera (N, 2 C, 1) per s, the joint (N,) of each point.
    """

    residual: np.ndarray
    turn: dict[str, np.ndarray]
    clock: dict[str, np.ndarray]
    joint: np.ndarray


def _make_system(rig: Rig, seen: _Seen) -> _System:
    cameras = [rig.cameras[name] for name in seen.names]
    projections = np.stack([camera.projection for camera in cameras])
    focal = seen.focal_px[:, None, None]
    joints = triangulate(seen.points, projections, np.sqrt(seen.trust) * focal)
    there = np.einsum("cij,tkj->ctki", projections[:, :, :3], joints) + projections[:, None, None, :, 3]
    in_front = np.isfinite(joints).all(axis=-1) & (there[..., 2] > 0).all(axis=0)
    use = in_front & (seen.trust > 0).any(axis=0)
    depth = np.where(there[..., 2] > 0, there[..., 2], np.nan)[..., None]
    place = there[..., :2] / depth
    weight = (np.where(use, np.sqrt(seen.trust), 0.0) * focal)[..., None]

    def to_picture(shift: np.ndarray) -> np.ndarray:
        """Change in px (N, 2 C) of a camera-frame shift (C, T, J, 3) in mm."""
        return flatten((shift[..., :2] - place * shift[..., 2:]) / depth)

    def flatten(values: np.ndarray) -> np.ndarray:
        weighed = np.where(weight > 0, np.nan_to_num(values) * weight, 0.0)
        return np.moveaxis(weighed, 0, 2).reshape(use.size, -1)[use.reshape(-1)]

    axes = [np.broadcast_to(projections[:, None, None, :, k], there.shape) for k in range(3)]
    free = _project_out(np.stack([to_picture(axis) for axis in axes], axis=-1))
    turns = np.stack([to_picture(np.cross(axis, there)) for axis in np.eye(3)], axis=-1)
    moved = flatten(seen.speed)[..., None]
    turn, clock = {}, {}
    for c, name in enumerate(seen.names):
        own = np.zeros((2 * len(seen.names), 1))
        own[2 * c : 2 * c + 2] = 1.0
        turn[name] = free(-turns * own)
        clock[name] = free(-moved * own)
    joint = np.broadcast_to(np.arange(use.shape[1]), use.shape)[use]
    return _System(free(flatten(seen.points - place)[..., None])[..., 0], turn, clock, joint)


def _project_out(directions: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that takes from (N, 2 C, K) what lies along directions (N, 2 C, 3)."""
    square = np.einsum("nik,nil->nkl", directions, directions)
    ridge = 1e-9 * np.trace(square, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    inverse = np.linalg.inv(square + ridge + 1e-30 * np.eye(3))

    def take_out(values: np.ndarray) -> np.ndarray:
        along = np.einsum("nik,nij->nkj", directions, values)
        return values - directions @ (inverse @ along)

    return take_out


@dataclass(frozen=True)
class _Fit:
    """The turns (3 each, axis-angle in rad) of some cameras, their covariance, and what they leave over."""

    names: Names
    turns: np.ndarray
    covariance: np.ndarray
    left_px: np.ndarray

    def of(self, name: str) -> _Fit:
        """One camera's part."""
        k = 3 * self.names.index(name)
        return _Fit((name,), self.turns[k : k + 3], self.covariance[k : k + 3, k : k + 3], self.left_px)

    def cost(self, scale_px: float) -> float:
        """Mean robust cost of what is left over."""
        return float(np.log1p((self.left_px / scale_px) ** 2).mean())

    @property
    def median_px(self) -> float:
        return float(np.median(self.left_px))

    @property
    def turn(self) -> np.ndarray:
        return self.turns[:3]

    @property
    def turn_deg(self) -> float:
        return float(np.rad2deg(np.linalg.norm(self.turn)))

    @property
    def turn_sigma_deg(self) -> float:
        """Standard error along the turn's own axis."""
        axis = self.turn / max(float(np.linalg.norm(self.turn)), 1e-12)
        variance = float(axis @ self.covariance[:3, :3] @ axis)
        return float(np.rad2deg(np.sqrt(max(variance, 0.0))))

    @property
    def wald(self) -> float:
        """The turn in standard errors, whichever direction shows it best."""
        return float(
            np.sqrt(max(float(self.turn @ np.linalg.solve(self.covariance[:3, :3], self.turn)), 0.0))
        )


def _fit(system: _System, turned: Sequence[str]) -> _Fit:
    """Robust least squares in the turns of some cameras and in all clocks but the first's."""
    clocks = list(system.clock)[1:]
    columns = [*(system.turn[name] for name in turned), *(system.clock[name] for name in clocks)]
    design = np.concatenate(columns, axis=2)
    prior = np.diag([np.deg2rad(PRIOR_DEG) ** -2] * 3 * len(turned) + [PRIOR_OFFSET_S**-2] * len(clocks))
    n_joints = len(np.unique(system.joint))
    wanted = np.zeros(design.shape[2])
    for _ in range(_ROUNDS):
        left = system.residual + design @ wanted
        size = np.linalg.norm(left, axis=1)
        scale = max(float(np.median(size)), LEAST_SCALE_PX)
        # A joint's error is the same in all frames: all its frames together count as one point or two.
        weight = 2 * n_joints / len(size) / scale**2 / (1 + (size / (2 * scale)) ** 2)
        weighed = design * weight[:, None, None]
        total = np.tensordot(weighed, design, axes=((0, 1), (0, 1))) + prior
        wanted = np.linalg.solve(total, -np.tensordot(weighed, system.residual, axes=((0, 1), (0, 1))))
    left = system.residual + design @ wanted
    pull = np.einsum("nik,ni->nk", weighed, left)
    by_joint = np.stack([np.bincount(system.joint, pull[:, k]) for k in range(pull.shape[1])], axis=1)
    few = n_joints / max(n_joints - len(wanted), 1)
    inverse = np.linalg.inv(total)
    covariance = inverse @ (few * by_joint.T @ by_joint + prior) @ inverse
    k = 3 * len(turned)
    return _Fit(tuple(turned), wanted[:k], covariance[:k, :k], np.linalg.norm(left, axis=1))
