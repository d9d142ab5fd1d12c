"""Offsets of clocks from the geometry of a known rig: at the right instant the views' rays meet.

For two cameras and a joint, the distance of one view's point from the other's epipolar line (Sampson's form,
in standard deviations of the points) depends on when the one is read against the other. Networks err by an
amount that depends on the view and the joint, which leaves a distance at any offset; but it changes slowly,
while what a wrong offset adds goes with the speed. So slow parts are taken away from the distances, and the
offset is the one at which what is left does not go with the speed (a robust least squares in offset and
drift).

Motion along the epipolar lines tells nothing; a third camera looks from elsewhere and sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from pipeline.fusion.resample import resample_keypoints, to_calibrated_size
from pipeline.fusion.weights import get_manual_weights
from pipeline.hand.joints import SIDES, Side
from pipeline.results import Camera, Rig, SyncResult, ViewTrack

RATE_HZ = 120.0
MAX_GAP_S = 0.1
SMOOTHING_S = 0.015
SLOW_S = 0.35
"""Standard deviation of the window whose mean counts as a view's own error and is taken away."""
BLOCK_S = 0.5
"""What lies further apart than this errs independently."""
DRIFT_PRIOR_PPM = 40.0
LEAST_SIGMA_PX = 0.5
LEAST_SIGMA_S = 1e-3
"""What the networks' errors that follow the movement leave uncertain, however much there is of it."""
ROBUST = 2.5
"""Residual, in robust standard deviations, at which a point counts half."""
REACH_S = 0.04
"""How far from a start the offset is looked for before the least squares take over."""
CLEAR_RATIO = 1.1
CLEAR_SIGMAS = 3.0
LEAST_POINTS = 200
LEAST_BLOCKS = 4
MOST_INSTANTS = 2000
"""Of longer takes every second, third ... frame is compared: errors of neighbours are much the same."""
_STEPS = 20


@dataclass(frozen=True)
class Refined:
    """A camera's clock from the geometry.

    Attributes
    ----------
    offset_s, drift_ppm : float
        ``t_reference = t_camera + offset_s + drift_ppm * 1e-6 * t_camera``; NaN if it cannot be told.
    sigma_s, drift_sigma_ppm : float
        Standard errors, from the scatter of stretches of half a second; the drift's after shrinking.
    error_px : float
        Median distance from the epipolar lines, the views' own constant errors included.
    scatter_px : float
        The same without what changes slowly: what the offset can make smaller.
    n_points : int
        Points compared.
    blocks : dict
        Mean robust cost by stretch of the reference clock (index of half a second).
    rivals_s : tuple of float
        Other offsets at which the views fit about as well; not empty where a movement repeats exactly.
    """

    offset_s: float
    sigma_s: float
    drift_ppm: float
    drift_sigma_ppm: float
    error_px: float
    scatter_px: float
    n_points: int
    blocks: dict[int, float]
    rivals_s: tuple[float, ...] = ()

    @property
    def cost(self) -> float:
        """Mean cost of the stretches; NaN without any."""
        return float(np.mean(list(self.blocks.values()))) if self.blocks else float("nan")

    @property
    def is_known(self) -> bool:
        """Whether enough was seen together to say anything."""
        return self.n_points >= LEAST_POINTS and len(self.blocks) >= LEAST_BLOCKS


def compare_fits(first: Refined, second: Refined) -> tuple[float, float]:
    """How much better the first fits than the second, stretch by stretch.

    Returns
    -------
    ratio : float
        Cost of the second over that of the first on the stretches that both have; NaN without any.
    sigmas : float
        The mean difference of the costs in standard errors, positive where the first fits better.
    """
    common = sorted(first.blocks.keys() & second.blocks.keys())
    if len(common) < LEAST_BLOCKS:
        return float("nan"), float("nan")
    a = np.array([first.blocks[k] for k in common])
    b = np.array([second.blocks[k] for k in common])
    spread = float(np.std(b - a, ddof=1)) / np.sqrt(len(common))
    return float(b.mean() / a.mean()), float((b - a).mean() / max(spread, 1e-12))


def is_better(first: Refined, second: Refined) -> bool:
    """Whether the first fits clearly better than the second."""
    ratio, sigmas = compare_fits(first, second)
    return ratio > CLEAR_RATIO and sigmas > CLEAR_SIGMAS


def _choose(fits: list[Refined]) -> Refined:
    """The likeliest fit, which comes first, unless another is clearly better; the rest that are not worse."""
    if not fits:
        unknown = float("nan")
        return Refined(unknown, unknown, unknown, unknown, unknown, unknown, 0, {})
    best = fits[0]
    for fit in fits[1:]:
        if is_better(fit, best):
            best = fit
    rivals: list[float] = []
    for fit in fits:
        apart_s = min(abs(fit.offset_s - other) for other in (best.offset_s, *rivals))
        is_comparable = np.isfinite(compare_fits(best, fit)[0])
        is_worse = is_better(best, fit) if is_comparable else fit.cost > CLEAR_RATIO * best.cost
        if apart_s > REACH_S and not is_worse:
            rivals.append(fit.offset_s)
    return replace(best, rivals_s=tuple(rivals))


def refine_offset(
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    sync: SyncResult,
    camera: str,
    starts_s: Sequence[float],
    witnesses: Iterable[str] | None = None,
) -> Refined:
    """The clock of one camera at which its points lie on the other cameras' epipolar lines.

    Parameters
    ----------
    rig : Rig
        Lenses and places.
    views : dict of dict of ViewTrack
        By camera and side.
    sync : SyncResult
        Clocks of the others; of ``camera`` itself only the drift is read, as what is believed beforehand.
    camera : str
        Whose offset is looked for.
    starts_s : sequence of float
        Offsets near which to look, the likeliest first; a later one is taken where it fits clearly better.
    witnesses : iterable of str, optional
        Cameras to compare with; by default all whose offset is known.

    Returns
    -------
    Refined
        Offset NaN where too little was seen together at any of the starts.

    Raises
    ------
    FusionError
        A camera was calibrated for pictures of another shape.
    """
    others = [
        name for name in (sync.cameras if witnesses is None else witnesses)
        if name != camera and name in rig.cameras and name in views
        and np.isfinite(sync.cameras[name].offset_s)
    ]  # fmt: skip
    geometry = Geometry(rig, views, [*others, camera])
    if camera not in geometry.paths:
        return _choose([])
    return geometry.refine(sync, camera, [name for name in others if name in geometry.paths], starts_s)


class Geometry:
    """The views' paths of all joints, undistorted and smoothed once, to be read at any instants.

    ``paths`` holds them by camera; a video of a single picture has none.
    """

    def __init__(self, rig: Rig, views: dict[str, dict[Side, ViewTrack]], names: Iterable[str]) -> None:
        self.rig = rig
        self.paths = {
            name: _make_path(rig.cameras[name], views[name]) for name in names
            if all(len(track.time_s) > 1 for track in views[name].values())
        }  # fmt: skip

    def refine(
        self, sync: SyncResult, camera: str, witnesses: Sequence[str], starts_s: Sequence[float]
    ) -> Refined:
        """As `refine_offset`."""
        prior_ppm = float(np.nan_to_num(sync.cameras[camera].drift_ppm))
        fits: list[Refined] = []
        for start_s in starts_s:
            near = [start_s + shift for shift in np.arange(-2, 3) * REACH_S / 2]
            rough = [self.measure(sync, camera, witnesses, at, prior_ppm) for at in near]
            known = [fit for fit in rough if fit.is_known]
            if known:
                begin = min(known, key=lambda fit: fit.cost)
                fits.append(self._descend(sync, camera, witnesses, begin.offset_s, prior_ppm))
        return _choose([fit for fit in fits if fit.is_known])

    def measure(
        self, sync: SyncResult, camera: str, witnesses: Sequence[str], offset_s: float, drift_ppm: float
    ) -> Refined:
        """How well a given clock fits; nothing is refined, the standard errors are NaN."""
        unknown = float("nan")
        rows = [self._compare(sync, name, camera, offset_s, drift_ppm) for name in witnesses]
        rows = [row for row in rows if row.n_points]
        if not rows:
            return Refined(offset_s, unknown, drift_ppm, unknown, unknown, unknown, 0, {})
        return Refined(
            offset_s, unknown, drift_ppm, unknown,
            error_px=float(np.median(np.concatenate([np.abs(row.distance_px[row.seen]) for row in rows]))),
            scatter_px=float(np.median(np.concatenate([np.abs(row.quick_px[row.seen]) for row in rows]))),
            n_points=sum(row.n_points for row in rows),
            blocks=_cost_by_block(rows),
        )  # fmt: skip

    def _descend(
        self, sync: SyncResult, camera: str, witnesses: Sequence[str], offset_s: float, prior_ppm: float
    ) -> Refined:
        """Least squares in offset and drift, from a start close by."""
        clock = np.array([offset_s, prior_ppm * 1e-6])
        prior = np.diag([0.0, (DRIFT_PRIOR_PPM * 1e-6) ** -2])
        believed = np.array([0.0, prior_ppm * 1e-6])
        covariance = np.full((2, 2), np.nan)
        for _ in range(_STEPS):
            rows = [self._compare(sync, name, camera, clock[0], clock[1] * 1e6) for name in witnesses]
            rows = [row for row in rows if row.n_points]
            if not rows:
                break
            scale = _robust_scale(np.concatenate([row.quick[row.seen] for row in rows]))
            information, score, scatter = _normal_equations(rows, scale)
            if not information[0, 0] > 0:
                break
            # Neighbouring frames and joints err together: they count for as much as their scatter shows.
            together = max(1.0, scatter[0, 0] / information[0, 0])
            total = information / together + prior
            step = np.linalg.solve(total, score / together + prior @ (believed - clock))
            covariance = np.linalg.inv(total)
            step *= min(1.0, 0.02 / max(abs(step[0]), 1e-12))
            clock = clock + step
            if abs(step[0]) < 2e-6 and abs(step[1]) < 1e-8:
                break
        fit = self.measure(sync, camera, witnesses, float(clock[0]), float(clock[1] * 1e6))
        sigma = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
        return Refined(
            fit.offset_s, float(np.hypot(sigma[0], LEAST_SIGMA_S)), fit.drift_ppm, float(sigma[1] * 1e6),
            fit.error_px, fit.scatter_px, fit.n_points, fit.blocks,
        )  # fmt: skip

    def _compare(
        self, sync: SyncResult, witness: str, camera: str, offset_s: float, drift_ppm: float
    ) -> _Distances:
        """Distances from the epipolar lines at the witness's instants, and how they go with the clock."""
        first, second = self.paths[witness], self.paths[camera]
        reference_s = sync.to_reference_s(witness, first.time_s)
        time_s = (reference_s - offset_s) / (1 + drift_ppm * 1e-6)
        points, speed, sigma = second.read(time_s)
        essential = get_essential(self.rig.cameras[witness], self.rig.cameras[camera])
        lines = _homogeneous(first.points) @ essential.T
        back = _homogeneous(points) @ essential
        error = np.sum(_homogeneous(points) * lines, axis=-1)
        slope = np.linalg.norm(lines[..., :2], axis=-1), np.linalg.norm(back[..., :2], axis=-1)
        size = np.sqrt((slope[0] * sigma) ** 2 + (slope[1] * first.sigma) ** 2)
        px = np.hypot(slope[0] / second.focal_px, slope[1] / first.focal_px)
        weight = np.sqrt(first.trust * second.trust)
        seen = np.isfinite(error) & np.isfinite(size) & (size > 0) & (weight > 0)
        size, px = np.where(seen, size, 1.0), np.where(seen, px, 1.0)
        frame_s = float(np.median(np.diff(first.time_s)))
        quick = _take_slow_away(np.where(seen, error / size, 0.0), seen, frame_s)
        rate = np.where(seen, -np.sum(lines[..., :2] * speed, axis=-1) / size, 0.0)
        return _Distances(
            block=np.floor(reference_s / BLOCK_S).astype(int),
            camera_s=time_s,
            seen=seen,
            quick=quick,
            rate=_take_slow_away(rate, seen, frame_s),
            weight=np.broadcast_to(weight, seen.shape),
            distance_px=error / px,
            quick_px=quick * size / px,
        )


def get_essential(first: Camera, second: Camera) -> np.ndarray:
    """Essential matrix (3, 3), ``x_second^T E x_first = 0``, of unit baseline."""
    R = second.R @ first.R.T
    t = second.t_mm - R @ first.t_mm
    x, y, z = t / max(float(np.linalg.norm(t)), 1e-12)
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ R


# --- paths -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Path:
    """Joints of all hands in one view, smoothed, in undistorted normalised coordinates.

    ``time_s`` (T,) are times of frames with ``points`` (T, J, 2) and ``sigma`` (T, J) at them;
    ``raster_s`` (N,), ``raster`` (N, J, 2), ``speed`` (N, J, 2) and ``raster_sigma`` (N, J) are for reading
    between them. NaN = not seen. ``trust`` (J,) is the manual weight of the view.
    """

    time_s: np.ndarray
    points: np.ndarray
    sigma: np.ndarray
    raster_s: np.ndarray
    raster: np.ndarray
    speed: np.ndarray
    raster_sigma: np.ndarray
    trust: np.ndarray
    focal_px: float

    def read(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (T, J, 2), speeds (T, J, 2) and sigma (T, J) at other times; NaN outside."""
        return _read(self.raster_s, self.raster, self.speed, self.raster_sigma, time_s)


def _read(
    raster_s: np.ndarray, points: np.ndarray, speed: np.ndarray, sigma: np.ndarray, time_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    step_s = 1 / RATE_HZ
    place = (time_s - raster_s[0]) / step_s
    inside = (place >= 0) & (place <= len(raster_s) - 1)
    low = np.clip(np.floor(place).astype(int), 0, len(raster_s) - 2)
    s = np.where(inside, place - low, np.nan)[:, None, None]
    a, b, va, vb = points[low], points[low + 1], speed[low] * step_s, speed[low + 1] * step_s
    # cubic Hermite: straight lines between smooth samples would bend the path where strokes turn round
    out = (
        (1 + 2 * s) * (1 - s) ** 2 * a + s * (1 - s) ** 2 * va + s**2 * (3 - 2 * s) * b + s**2 * (s - 1) * vb
    )
    return (
        out,
        (1 - s) * speed[low] + s * speed[low + 1],
        (1 - s[..., 0]) * sigma[low] + s[..., 0] * sigma[low + 1],
    )


def _make_path(camera: Camera, tracks: dict[Side, ViewTrack]) -> _Path:
    sides = [side for side in SIDES if side in tracks]
    focal_px = float(np.sqrt(camera.K[0, 0] * camera.K[1, 1]))
    time_s = np.asarray(tracks[sides[0]].time_s, dtype=float)
    raster_s = np.arange(time_s[0], time_s[-1] + 2 / RATE_HZ, 1 / RATE_HZ)
    points, sigmas, trust = [], [], []
    for side in sides:
        keypoints, sigma = to_calibrated_size(tracks[side], camera)
        here, error = resample_keypoints(time_s, keypoints, sigma, raster_s, MAX_GAP_S)
        points.append(camera.normalise(here))
        sigmas.append(np.maximum(error, LEAST_SIGMA_PX) / focal_px)
        trust.append(get_manual_weights(camera.name, side))
    raster, sigma = np.concatenate(points, axis=1), np.concatenate(sigmas, axis=1)
    time_s = time_s[:: max(1, len(time_s) // MOST_INSTANTS)]
    smooth = _smooth(raster)
    speed = np.gradient(smooth, axis=0) * RATE_HZ
    here, _, error = _read(raster_s, smooth, speed, sigma, time_s)
    return _Path(time_s, here, error, raster_s, smooth, speed, sigma, np.concatenate(trust), focal_px)


def _smooth(points: np.ndarray) -> np.ndarray:
    """Gaussian smoothing (N, J, 2) that keeps NaN where it was and does not reach into it."""
    width = SMOOTHING_S * RATE_HZ
    seen = np.isfinite(points).all(axis=2)
    share = ndimage.gaussian_filter1d(seen.astype(float), width, axis=0, mode="constant")
    filled = np.where(seen[..., None], points, 0.0)
    smooth = (
        ndimage.gaussian_filter1d(filled, width, axis=0, mode="constant") / np.maximum(share, 1e-9)[..., None]
    )
    # At the rim of a gap only one side is left to average over, which shifts the point in time.
    whole = seen & (
        share > 0.98 * ndimage.gaussian_filter1d(np.ones(len(points)), width, mode="nearest")[:, None]
    )
    return np.where(whole[..., None], smooth, np.nan)


# --- distances ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Distances:
    """Distances of one pair of views, in standard deviations, at the witness's T frames and J joints.

    ``quick`` (T, J) is the distance without its slow part, ``rate`` (T, J) its change with the offset.
    """

    block: np.ndarray
    camera_s: np.ndarray
    seen: np.ndarray
    quick: np.ndarray
    rate: np.ndarray
    weight: np.ndarray
    distance_px: np.ndarray
    quick_px: np.ndarray

    @property
    def n_points(self) -> int:
        return int(self.seen.sum())


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


def _take_slow_away(values: np.ndarray, seen: np.ndarray, frame_s: float) -> np.ndarray:
    """Values (T, J) less their mean over a window, joint by joint; 0 where nothing was seen."""
    width = SLOW_S / frame_s
    share = ndimage.gaussian_filter1d(seen.astype(float), width, axis=0, mode="constant")
    slow = ndimage.gaussian_filter1d(np.where(seen, values, 0.0), width, axis=0, mode="constant")
    return np.where(seen, values - slow / np.maximum(share, 1e-9), 0.0)


def _robust_scale(values: np.ndarray) -> float:
    return max(1.4826 * float(np.median(np.abs(values))), 1e-6)


def _normal_equations(rows: list[_Distances], scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Information (2, 2), score (2,), and the score's own scatter (2, 2) from independent stretches."""
    information, score = np.zeros((2, 2)), np.zeros(2)
    by_block: dict[int, np.ndarray] = {}
    for row in rows:
        z = row.quick / scale
        weight = np.where(row.seen, row.weight, 0.0) / (1 + (z / ROBUST) ** 2) ** 2 / scale**2
        # a change of the drift moves the clock by as much as the camera has run
        lever = np.stack([np.ones(len(row.camera_s)), row.camera_s])
        squares = np.sum(weight * row.rate**2, axis=1)
        information += (lever * squares) @ lever.T
        pull = lever * -np.sum(weight * row.rate * row.quick, axis=1)
        score += pull.sum(axis=1)
        for block, share in zip(*_sum_by(row.block, pull), strict=True):
            by_block[int(block)] = by_block.get(int(block), np.zeros(2)) + share
    pulls = np.array(list(by_block.values())) - score / max(len(by_block), 1)
    few = len(pulls) / max(len(pulls) - 2, 1)
    return information, score, few * pulls.T @ pulls


def _sum_by(block: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (B, ...) of values (..., T) by block (T,)."""
    blocks, member = np.unique(block, return_inverse=True)
    sums = np.stack([np.bincount(member, row, len(blocks)) for row in values], axis=1)
    return blocks, sums


def _cost_by_block(rows: list[_Distances]) -> dict[int, float]:
    """Mean cost of the quick distances by stretch; bounded, so that a lost finger counts as one."""
    sums: dict[int, np.ndarray] = {}
    for row in rows:
        weight = np.where(row.seen, row.weight, 0.0)
        cost = weight * np.log1p(row.quick**2 / ROBUST**2)
        values = np.stack([cost.sum(axis=1), weight.sum(axis=1)])
        for block, share in zip(*_sum_by(row.block, values), strict=True):
            sums[int(block)] = sums.get(int(block), np.zeros(2)) + share
    return {block: float(cost / weight) for block, (cost, weight) in sums.items() if weight >= 10}
