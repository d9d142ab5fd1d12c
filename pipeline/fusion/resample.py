"""Keypoints of every camera at the reference camera's frame times, at sub-frame precision."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

_MIN_CUBIC = 4
_CONTIGUOUS = 1.5
"""Frames further apart than this many frame intervals belong to different runs."""


def resample_keypoints(
    time_s: np.ndarray,
    keypoints_px: np.ndarray,
    sigma_px: np.ndarray,
    wanted_s: np.ndarray,
    max_gap_s: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring keypoints to other times of the same clock.

    Cubic splines within unbroken runs of frames (at 60 frames/s a press of a key is sampled well enough
    that their error is a few hundredths of a px), straight lines across gaps up to ``max_gap_s``.

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
        Interpolated; inside a gap it grows with the distance to the nearest frame.
    """
    points = np.asarray(keypoints_px, dtype=float)
    sigma = np.asarray(sigma_px, dtype=float)
    out_points = np.full((len(wanted_s), *points.shape[1:]), np.nan)
    out_sigma = np.full((len(wanted_s), points.shape[1]), np.nan)
    valid = np.isfinite(points).all(axis=2) & np.isfinite(sigma)
    frame_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else max_gap_s
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


def _interpolate(
    knots_s: np.ndarray, values: np.ndarray, wanted_s: np.ndarray, frame_s: float, max_gap_s: float
) -> np.ndarray:
    """Values (S, J, 3: u, v, sigma) at ``wanted_s``: (T, J, 3)."""
    out = np.full((len(wanted_s), *values.shape[1:]), np.nan)
    after = np.searchsorted(knots_s, wanted_s, side="right").clip(1, max(len(knots_s) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(knots_s) - 1)
    # A clock read to the microsecond must not lose the first or last frame.
    tolerance = 1e-6
    inside = (wanted_s >= knots_s[0] - tolerance) & (wanted_s <= knots_s[-1] + tolerance)
    gap = knots_s[after] - knots_s[before]
    near_before, near_after = wanted_s - knots_s[before], knots_s[after] - wanted_s
    nearest = np.maximum(np.minimum(near_before, near_after), 0.0)
    use = inside & ((gap <= max_gap_s + tolerance) | (nearest <= tolerance))
    share = np.divide(near_before, gap, out=np.zeros_like(gap), where=gap > 0).clip(0, 1)[:, None, None]
    out[use] = ((1 - share) * values[before] + share * values[after])[use]
    bridged = use & (gap > _CONTIGUOUS * frame_s)
    out[bridged, :, 2] *= (1.0 + nearest[bridged] / frame_s)[:, None]

    starts = np.flatnonzero(np.r_[True, np.diff(knots_s) > _CONTIGUOUS * frame_s])
    for start, stop in zip(starts, np.r_[starts[1:], len(knots_s)], strict=True):
        if stop - start < _MIN_CUBIC:
            continue
        run = use & (wanted_s >= knots_s[start] - tolerance) & (wanted_s <= knots_s[stop - 1] + tolerance)
        if run.any():
            out[run, :, :2] = CubicSpline(knots_s[start:stop], values[start:stop, :, :2])(wanted_s[run])
    return out
