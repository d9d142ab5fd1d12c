"""Keypoints of every camera at the reference's frame times, in the size of picture of the calibration."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import median_filter

from pipeline.errors import FusionError
from pipeline.results import Camera, ViewTrack

_ASPECT_TOLERANCE = 0.01
_MIN_CUBIC = 4
_CONTIGUOUS = 1.5
"""Frames further apart than this many frame intervals belong to different runs."""

_OUTLIER_SIGMAS, _OUTLIER_PX, _OUTLIER_FRAME_S = 5.0, 20.0, 1 / 60
"""A point this far, by both, from what its neighbours in time say is a lone outlier. The px are for frames of
this length and less, and grow with the square of it: as far as a fingertip that stops on a key strays."""

_NEIGHBOURS = 5

CLOCK_S = 1e-6
"""A clock read to the microsecond must not lose the first or last frame."""


def to_calibrated_size(track: ViewTrack, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (T, 21, 2) and sigma (T, 21) in px of the pictures that the calibration holds for.

    Raises
    ------
    FusionError
        The pictures have another shape; names the camera.
    """
    scale = np.array(camera.size_px, dtype=float) / np.array(track.size_px, dtype=float)
    if abs(scale[0] / scale[1] - 1) > _ASPECT_TOLERANCE:
        raise FusionError(
            f"Camera {camera.name} was calibrated at {camera.size_px[0]}x{camera.size_px[1]} but recorded at "
            f"{track.size_px[0]}x{track.size_px[1]}.",
            "Calibrate it in the same mode, held the same way up.",
        )
    keypoints = (np.asarray(track.keypoints_px, dtype=float) + 0.5) * scale - 0.5
    return keypoints, np.asarray(track.sigma_px, dtype=float) * float(scale.mean())


def resample_keypoints(
    time_s: np.ndarray,
    keypoints_px: np.ndarray,
    sigma_px: np.ndarray,
    wanted_s: np.ndarray,
    max_gap_s: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring keypoints to other times of the same clock.

    Within unbroken runs of frames the nearest frame's point, moved on as a cubic spline moves over the part
    of a frame between (at 60 frames/s a press of a key is sampled well enough that the spline's error is a
    few hundredths of a px). Lone outliers do not bend the spline, so each spoils only the times that it is
    nearest to. Straight lines across gaps up to ``max_gap_s``.

    Parameters
    ----------
    time_s : ndarray (S,)
        Frame times, ascending.
    keypoints_px : ndarray (S, 21, 2)
        NaN = not measured.
    sigma_px : ndarray (S, 21)
        NaN = not measured.
    wanted_s : ndarray (T,)
        Times to come to, on the same clock as ``time_s``.
    max_gap_s : float
        Longer gaps, and times outside the recording, stay NaN.

    Returns
    -------
    keypoints_px : ndarray (T, 21, 2) float64
    sigma_px : ndarray (T, 21) float64
        Interpolated; inside a gap it grows with the distance to the nearest frame, and by how far straight
        lines over such a time miss the paths of this recording.
    """
    points = np.asarray(keypoints_px, dtype=float)
    sigma = np.asarray(sigma_px, dtype=float)
    out_points = np.full((len(wanted_s), *points.shape[1:]), np.nan)
    out_sigma = np.full((len(wanted_s), points.shape[1]), np.nan)
    valid = np.isfinite(points).all(axis=2) & np.isfinite(sigma)
    frame_s = _get_frame_s(time_s, max_gap_s)
    # Joints are mostly seen and lost together: one pass for each distinct pattern.
    patterns, member = np.unique(valid.T, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        joints = np.flatnonzero(member.reshape(-1) == number)
        values = np.concatenate([points[pattern][:, joints], sigma[pattern][:, joints, None]], axis=2)
        result = _interpolate(time_s[pattern], values, wanted_s, frame_s, max_gap_s)
        out_points[:, joints], out_sigma[:, joints] = result[..., :2], result[..., 2]
    return out_points, out_sigma


def find_bridged(
    time_s: np.ndarray,
    keypoints_px: np.ndarray,
    sigma_px: np.ndarray,
    wanted_s: np.ndarray,
    max_gap_s: float = 0.1,
) -> np.ndarray:
    """Which points of `resample_keypoints` (its parameters) no frame measured: (T, 21) bool.

    They lie on the straight line across a gap, further than half a frame from either end of it.
    """
    valid = np.isfinite(keypoints_px).all(axis=2) & np.isfinite(sigma_px)
    frame_s = _get_frame_s(time_s, max_gap_s)
    out = np.zeros((len(wanted_s), valid.shape[1]), dtype=bool)
    for joint in np.flatnonzero(valid.any(axis=0)):
        knots_s = time_s[valid[:, joint]]
        before, after, use = _bracket(knots_s, wanted_s, max_gap_s)
        nearest = np.minimum(wanted_s - knots_s[before], knots_s[after] - wanted_s)
        wide = knots_s[after] - knots_s[before] > _CONTIGUOUS * frame_s
        out[:, joint] = use & wide & (nearest > 0.5 * frame_s + CLOCK_S)
    return out


def _get_frame_s(time_s: np.ndarray, otherwise_s: float) -> float:
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else otherwise_s


def _bracket(
    knots_s: np.ndarray, wanted_s: np.ndarray, max_gap_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The knots before and after each time, and where (T,) bool they lie near enough to be used."""
    after = np.searchsorted(knots_s, wanted_s, side="right").clip(1, max(len(knots_s) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(knots_s) - 1)
    inside = (wanted_s >= knots_s[0] - CLOCK_S) & (wanted_s <= knots_s[-1] + CLOCK_S)
    nearest = np.minimum(wanted_s - knots_s[before], knots_s[after] - wanted_s)
    use = inside & ((knots_s[after] - knots_s[before] <= max_gap_s + CLOCK_S) | (nearest <= CLOCK_S))
    return before, after, use


def _interpolate(
    knots_s: np.ndarray, values: np.ndarray, wanted_s: np.ndarray, frame_s: float, max_gap_s: float
) -> np.ndarray:
    """Values (S, J, 3: u, v, sigma) at ``wanted_s``: (T, J, 3)."""
    out = np.full((len(wanted_s), *values.shape[1:]), np.nan)
    before, after, use = _bracket(knots_s, wanted_s, max_gap_s)
    gap = knots_s[after] - knots_s[before]
    near_before, near_after = wanted_s - knots_s[before], knots_s[after] - wanted_s
    nearest = np.maximum(np.minimum(near_before, near_after), 0.0)
    share = np.divide(near_before, gap, out=np.zeros_like(gap), where=gap > 0).clip(0, 1)[:, None, None]
    out[use] = ((1 - share) * values[before] + share * values[after])[use]
    bridged = use & (gap > _CONTIGUOUS * frame_s)
    if bridged.any():
        bend = _get_bend(knots_s, values[..., :2], frame_s, max_gap_s)
        missed = 0.5 * (near_before * near_after)[bridged, None] * bend
        grown = out[bridged, :, 2] * (1.0 + nearest[bridged] / frame_s)[:, None]
        out[bridged, :, 2] = np.hypot(grown, missed)

    nearer = np.where(near_before <= near_after, before, after)
    starts = np.flatnonzero(np.r_[True, np.diff(knots_s) > _CONTIGUOUS * frame_s])
    for start, stop in zip(starts, np.r_[starts[1:], len(knots_s)], strict=True):
        if stop - start < _MIN_CUBIC:
            continue
        run = use & (wanted_s >= knots_s[start] - CLOCK_S) & (wanted_s <= knots_s[stop - 1] + CLOCK_S)
        if run.any():
            path = _replace_outliers(values[start:stop, :, :2], values[start:stop, :, 2], frame_s)
            curve = CubicSpline(knots_s[start:stop], path)
            moved = curve(wanted_s[run]) - curve(knots_s[nearer[run]])
            out[run, :, :2] = values[nearer[run], :, :2] + moved
    return out


def _get_bend(knots_s: np.ndarray, points: np.ndarray, frame_s: float, max_gap_s: float) -> np.ndarray:
    """How much the paths (S, J, 2) bend within such a gap: (J,), px/s^2 along an axis; 0 of a few frames.

    From the whole recording, by the second difference over as long as the longest gap. A line over time g
    misses such a path by g^2 / 8 of it, however sharp its ends are.
    """
    lag = max(round(0.5 * max_gap_s / frame_s), 1)
    reach_s = knots_s[2 * lag :] - knots_s[: -2 * lag]
    whole = reach_s < (2 * lag + 0.5) * frame_s
    if not whole.any():
        return np.zeros(points.shape[1])
    second = points[2 * lag :] - 2 * points[lag:-lag] + points[: -2 * lag]
    # A normal distribution's 90 %: outliers have no part in it, and rests between movements little.
    size = np.quantile(np.abs(second[whole]), 0.9, axis=(0, 2)) / 1.645
    return size / (lag * frame_s) ** 2


def _replace_outliers(points: np.ndarray, sigma: np.ndarray, frame_s: float) -> np.ndarray:
    """Points (S, J, 2) of one run, lone outliers replaced by what their neighbours in time say.

    An outlier lies far both from its neighbours' median, which good points do too where motion turns sharply,
    and from a curve through its neighbours, which those do too for its sake.
    """
    median = median_filter(points, size=(_NEIGHBOURS, 1, 1), mode="mirror")
    typical = median_filter(sigma, size=(_NEIGHBOURS, 1), mode="mirror")
    least_px = _OUTLIER_PX * max(frame_s / _OUTLIER_FRAME_S, 1.0) ** 2
    limit = np.maximum(_OUTLIER_SIGMAS * np.hypot(sigma, typical), least_px)[..., None]
    far = (np.abs(points - median) > limit) & (np.abs(points - _predict(points)) > limit)
    far = far.any(axis=2, keepdims=True)
    return np.where(far, _predict(np.where(far, median, points)), points)


def _predict(points: np.ndarray) -> np.ndarray:
    """Each point (S, J, 2) as the curve through its neighbours has it; S at least 4."""
    out = np.empty_like(points)
    out[2:-2] = (4 * (points[1:-3] + points[3:-1]) - points[:-4] - points[4:]) / 6
    out[[1, -2]] = (points[[0, -3]] + points[[2, -1]]) / 2
    out[[0, -1]] = 2 * points[[1, -2]] - points[[2, -3]]
    return out
