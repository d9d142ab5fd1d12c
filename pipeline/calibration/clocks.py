"""Bringing the checkerboard takes of different cameras onto one clock.

A take starts when somebody presses a button, so every rig's takes have offsets of their own. Sound tells
them best; without it, the board's motion, which all cameras see at the same moments, does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import correlate, correlation_lags

from pipeline.calibration.takes import Motion
from pipeline.errors import CalibrationError, RedysError
from pipeline.progress import Reporter
from pipeline.sync import find_offset
from pipeline.video import read_audio

RATE_HZ = 16000
MOTION_RATE_HZ = 120.0
REACH_S = 60.0
LEAST_OVERLAP_S = 4.0
LEAST_CORRELATION = 0.8
"""Takes of one board reach 0.93 and more, takes of different ones up to 0.75."""


@dataclass(frozen=True)
class TakeOffset:
    """``t_reference = t_take + offset_s``; ``source`` is "reference", "audio" or "motion"."""

    offset_s: float
    source: str


def find_take_offsets(
    takes: dict[str, Path], motions: dict[str, Motion], reference: str, report: Reporter
) -> dict[str, TakeOffset]:
    """Offsets of the takes' clocks against the reference camera's take.

    By sound where both takes have some and `pipeline.sync.find_offset` calls the result reliable, else by
    the motion of the pictures, which is said as a warning.

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
        offset_s, correlation = offset_by_motion(motions[reference], motions[camera])
        if not correlation >= LEAST_CORRELATION:
            raise CalibrationError(
                f"The checkerboard takes of cameras {reference} and {camera} do not match in time: neither "
                "their sound nor the board's motion agrees.",
                f"Film the board again with all cameras running at once and sound on, or take out "
                f"calibration/{takes[camera].name} if it belongs to another take.",
            )
        report.warn(
            f"The checkerboard take of camera {camera} was timed by the board's motion "
            f"(correlation {correlation:.2f}), since its sound could not be matched with that of camera "
            f"{reference}."
        )
        offsets[camera] = TakeOffset(offset_s, "motion")
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


def offset_by_motion(reference: Motion, target: Motion) -> tuple[float, float]:
    """Offset in s of the target's clock (``t_reference = t_target + offset_s``) and the correlation there.

    The correlation coefficient of the two motion signals, over their overlap, at every lag within 60 s
    with at least 4 s of overlap; a parabola through the highest gives fractions of a frame. NaN for both
    if there is no such overlap.
    """
    a, b = (_resample(motion) for motion in (reference, target))
    lags = correlation_lags(len(a), len(b))
    count = correlate(np.ones(len(a)), np.ones(len(b)), method="fft").round()
    sums_a, sums_b = correlate(a, np.ones(len(b)), method="fft"), correlate(np.ones(len(a)), b, method="fft")
    squares_a = correlate(a**2, np.ones(len(b)), method="fft")
    squares_b = correlate(np.ones(len(a)), b**2, method="fft")
    possible = (count >= LEAST_OVERLAP_S * MOTION_RATE_HZ) & (np.abs(lags) <= REACH_S * MOTION_RATE_HZ)
    if not possible.any():
        return math.nan, math.nan
    count = np.maximum(count, 1.0)
    covariance = correlate(a, b, method="fft") - sums_a * sums_b / count
    variance = (squares_a - sums_a**2 / count) * (squares_b - sums_b**2 / count)
    # An overlap in which hardly anything moves has no say: its correlation is noise over noise.
    floor = 0.05 * a.var() * b.var() * count**2
    r = np.where(possible & (variance > floor), covariance / np.sqrt(np.maximum(variance, 1e-12)), -1.0)
    # Short overlaps reach high correlations by chance: Fisher's z over its standard error weighs that.
    best = int(np.argmax(np.arctanh(np.clip(r, -0.999, 0.999)) * np.sqrt(count)))
    fraction = 0.0
    if 0 < best < len(r) - 1 and min(r[best - 1], r[best + 1]) > -1:
        y0, y1, y2 = r[best - 1 : best + 2]
        curvature = y0 - 2 * y1 + y2
        fraction = 0.5 * (y0 - y2) / curvature if curvature < 0 else 0.0
    return float((lags[best] + fraction) / MOTION_RATE_HZ), float(r[best])


def _resample(motion: Motion) -> np.ndarray:
    """The motion (N,) at `MOTION_RATE_HZ` as logarithm, so that one jerk does not outweigh all pauses."""
    time_s = np.arange(0.0, float(motion.time_s[-1]), 1 / MOTION_RATE_HZ)
    level = np.log(np.maximum(np.interp(time_s, motion.time_s, motion.level), 1e-3))
    return level - level.mean()
