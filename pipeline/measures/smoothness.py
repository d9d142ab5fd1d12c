"""Smoothness of movement: SPARC (Balasubramanian 2012, 2015) and LDLJ (Hogan and Sternad 2009).

Both were made for single movements. On continuous playing they drift with the length of the recording, so
SPARC is taken in windows of 2 s and reported as their median. LDLJ moves by several units for 0.2 mm of
jitter: it is here for comparison and is no headline.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WINDOW_S = 2.0
"""Length of the windows of `measure_windows`."""

MIN_SPEED_NOISES = 5.0
"""With a peak speed under this many standard deviations of its noise a window holds no movement."""


def compute_sparc(
    speed: np.ndarray, fps: float, padlevel: int = 4, cutoff_hz: float = 10.0, threshold: float = 0.05
) -> float:
    """Spectral arc length of a speed profile: dimensionless, negative, nearer 0 is smoother.

    Parameters
    ----------
    speed : ndarray (N,)
        Speed, any unit, without NaN.
    fps : float
        Samples a second.
    padlevel : int
        The spectrum has ``2 ** (ceil(log2 N) + padlevel)`` points.
    cutoff_hz : float
        Nothing above counts.
    threshold : float
        Nor what lies beyond the last point where the spectrum is this share of its maximum.

    Returns
    -------
    float
        NaN where there is no movement.
    """
    points = 2 ** (int(np.ceil(np.log2(len(speed)))) + padlevel)
    spectrum = np.abs(np.fft.rfft(speed, points))
    if not np.isfinite(spectrum).all() or spectrum.max() <= 0:
        return float("nan")
    frequency = np.fft.rfftfreq(points, 1.0 / fps)
    spectrum = (spectrum / spectrum.max())[frequency <= cutoff_hz]
    frequency = frequency[frequency <= cutoff_hz]
    above = np.flatnonzero(spectrum >= threshold)
    kept = slice(above[0], above[-1] + 1)
    frequency, spectrum = frequency[kept], spectrum[kept]
    if len(frequency) < 2:
        return float("nan")
    across = np.diff(frequency) / (frequency[-1] - frequency[0])
    return -float(np.sum(np.hypot(across, np.diff(spectrum))))


def compute_ldlj(speed: np.ndarray, fps: float) -> float:
    """Log dimensionless jerk of a speed profile: negative, nearer 0 is smoother. Noise-prone.

    Parameters
    ----------
    speed : ndarray (N,)
        Speed, any unit, without NaN; filtered.
    fps : float
        Samples a second.

    Returns
    -------
    float
        ``-ln(T³ / peak² · sum of |d²v/dt²|² dt)``; NaN where there is no movement.
    """
    peak = float(np.max(np.abs(speed))) if len(speed) > 2 else 0.0
    jerk = np.diff(speed, 2) * fps**2
    amount = float(np.sum(jerk**2)) / fps * (len(speed) / fps) ** 3 / peak**2 if peak > 0 else 0.0
    return -float(np.log(amount)) if amount > 0 else float("nan")


def measure_windows(
    speed: np.ndarray,
    speed_noise: np.ndarray,
    fps: float,
    measure: Callable[[np.ndarray, float], float] = compute_sparc,
    window_s: float = WINDOW_S,
) -> np.ndarray:
    """SPARC or LDLJ of each whole window of a recording; NaN where it is not measured or nothing moves.

    Parameters
    ----------
    speed : ndarray (T, J)
        Speeds of the joints, m/s. NaN = not measured.
    speed_noise : ndarray (T, J)
        Their noise per axis, m/s.
    fps : float
        Frames a second.
    measure : function
        `compute_sparc` or `compute_ldlj`.
    window_s : float
        Length of a window.

    Returns
    -------
    ndarray (W, J)
        W whole windows; a window with any frame missing is NaN.
    """
    length = max(round(window_s * fps), 4)
    windows = len(speed) // length
    out = np.full((windows, speed.shape[1]), np.nan)
    for window in range(windows):
        part = slice(window * length, (window + 1) * length)
        for joint in range(speed.shape[1]):
            values, noise = speed[part, joint], speed_noise[part, joint]
            if np.isfinite(values).all() and values.max() > MIN_SPEED_NOISES * np.max(noise, initial=0.0):
                out[window, joint] = measure(values, fps)
    return out
