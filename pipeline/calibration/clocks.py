"""Bringing the checkerboard takes of different cameras onto one clock.

A take starts when somebody presses a button, so every rig's takes have offsets of their own. Sound tells
them best; without it, the board's motion, which all cameras see at the same moments, does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import correlate, correlation_lags, find_peaks

from pipeline.calibration.takes import Motion
from pipeline.errors import CalibrationError, RedysError
from pipeline.progress import Reporter
from pipeline.sync.sound import find_offset
from pipeline.video import read_audio

RATE_HZ = 4000
"""Of the takes' sound: a hundredth of a frame is more than a resting board asks for."""

MOTION_RATE_HZ = 120.0
REACH_S = 60.0
LEAST_OVERLAP_S = 4.0
MOST_CANDIDATES = 6
LEAST_CORRELATION = 0.8
"""Takes of one board reach 0.93 and more, takes of different ones up to 0.75."""


@dataclass(frozen=True)
class TakeOffset:
    """``t_reference = t_take + offset_s``.

    Attributes
    ----------
    offset_s : float
    source : "reference" | "audio" | "motion"
    others_s : tuple of float
        Offsets that the motion allows as well, the likelier first.
    """

    offset_s: float
    source: str
    others_s: tuple[float, ...] = ()


def find_take_offsets(
    takes: dict[str, Path], motions: dict[str, Motion], reference: str, report: Reporter
) -> dict[str, TakeOffset]:
    """Offsets of the takes' clocks against the reference camera's take.

    By sound where both takes have some and `pipeline.sync.sound.find_offset` calls the result reliable,
    else by the motion of the pictures, which is said as a warning.

    Parameters
    ----------
    takes : dict of Path
        Checkerboard takes by camera.
    motions : dict of Motion
        `pipeline.calibration.takes.measure_motion` of each.
    reference : str
        The camera whose clock counts.
    report : Reporter
        Hears the warnings.

    Raises
    ------
    CalibrationError
        A take matches the reference's neither in sound nor in motion.
    """
    sounds = {camera: _read_sound(path) for camera, path in takes.items()}
    offsets = {reference: TakeOffset(0.0, "reference")}
    for camera in takes:
        if camera == reference:
            continue
        by_sound = _offset_by_sound(sounds[reference], sounds[camera])
        if by_sound is not None:
            offsets[camera] = TakeOffset(by_sound, "audio")
            continue
        candidates = offsets_by_motion(motions[reference], motions[camera])
        likely = [one for one in candidates if one[1] >= LEAST_CORRELATION]
        if not likely:
            raise CalibrationError(
                f"The checkerboard takes of cameras {reference} and {camera} do not match in time: neither "
                "their sound nor the board's motion agrees.",
                f"Film the board again with all cameras running at once and sound on, or take out "
                f"calibration/{takes[camera].name} if it belongs to another take.",
            )
        report.warn(
            f"The checkerboard take of camera {camera} was timed by the board's motion "
            f"(correlation {likely[0][1]:.2f}), since its sound could not be matched with that of camera "
            f"{reference}."
        )
        offsets[camera] = TakeOffset(likely[0][0], "motion", tuple(offset_s for offset_s, _ in likely[1:]))
    return offsets


def _read_sound(path: Path) -> np.ndarray | None:
    try:
        return read_audio(path, RATE_HZ)
    except RedysError:
        return None  # pictures alone will do: motion takes the place of sound, with a warning


def _offset_by_sound(reference: np.ndarray | None, target: np.ndarray | None) -> float | None:
    if reference is None or target is None:
        return None
    try:
        estimate = find_offset(reference, target, RATE_HZ)
    except RedysError:
        return None  # silent or too short, see above
    return estimate.offset_s if estimate.verdict == "reliable" else None


def offsets_by_motion(reference: Motion, target: Motion) -> list[tuple[float, float]]:
    """Offsets in s of the target's clock that the motion allows, the likeliest first, with correlations.

    ``t_reference = t_target + offset_s``. The correlation coefficient of the two motion signals over their
    overlap, at every lag within 60 s with at least 4 s of overlap; a parabola through each peak gives
    fractions of a frame. Somebody who moves the board in a steady rhythm makes several peaks of nearly the
    same height: all within a tenth of the highest are given, longer overlaps first among equals, and the
    boards themselves must decide. Empty if there is no such overlap.
    """
    a, b = (_resample(motion) for motion in (reference, target))
    lags = correlation_lags(len(a), len(b))
    r, count = _correlate(a, b)
    possible = (count >= LEAST_OVERLAP_S * MOTION_RATE_HZ) & (np.abs(lags) <= REACH_S * MOTION_RATE_HZ)
    r = np.where(possible, r, -1.0)
    score = np.where(r > -1.0, r * np.sqrt(count / count.max()), -1.0)
    peaks, _ = find_peaks(score, height=0.9 * max(score.max(), 1e-6), distance=round(0.3 * MOTION_RATE_HZ))
    best = sorted(peaks.tolist(), key=lambda peak: -score[peak])[:MOST_CANDIDATES]
    return [(float((lags[k] + _parabola(r[k - 1 : k + 2])) / MOTION_RATE_HZ), float(r[k])) for k in best]


def _correlate(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation coefficients over the overlap at every lag, -1 where nothing moves, and its samples."""
    one_a, one_b = np.ones(len(a)), np.ones(len(b))
    count = np.maximum(correlate(one_a, one_b, method="fft").round(), 1.0)
    sum_a, sum_b = correlate(a, one_b, method="fft"), correlate(one_a, b, method="fft")
    square_a, square_b = correlate(a**2, one_b, method="fft"), correlate(one_a, b**2, method="fft")
    covariance = correlate(a, b, method="fft") - sum_a * sum_b / count
    variance = (square_a - sum_a**2 / count) * (square_b - sum_b**2 / count)
    # An overlap in which hardly anything moves has no say: its correlation is noise over noise.
    floor = 0.05 * a.var() * b.var() * count**2
    r = np.where(variance > floor, covariance / np.sqrt(np.maximum(variance, 1e-12)), -1.0)
    return r, count


def _parabola(y: np.ndarray) -> float:
    """Place of the peak of three values round the middle one, -0.5 to 0.5."""
    curvature = y[0] - 2 * y[1] + y[2]
    return float(np.clip(0.5 * (y[0] - y[2]) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0


def _resample(motion: Motion) -> np.ndarray:
    """The motion (N,) at `MOTION_RATE_HZ` as logarithm, so that one jerk does not outweigh all pauses."""
    time_s = np.arange(0.0, float(motion.time_s[-1]), 1 / MOTION_RATE_HZ)
    level = np.log(np.maximum(np.interp(time_s, motion.time_s, motion.level), 1e-3))
    return level - level.mean()
