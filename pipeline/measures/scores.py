"""Scores: jerk within the recording and against a frozen reference, brisk movement, and z at two levels.

Two kinds of z, never mixed:

- *frame level*, for the overlay: one frame's angle in the spread of all frames of all people (seed 000
  section 9, signed here; the colour takes its absolute value);
- *person level*, for the report: the recording's median in the spread between people's medians.
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, label
from scipy.stats import t as student

from pipeline.hand.joints import JOINTS
from pipeline.measures.summary_types import BriskEvent

BRISK_ACCELERATION = 5.0
"""m/s²: seed 000 section 9. Ordinary strokes cross it (30 mm in under 0.19 s), so it says brisk, not more."""

BRISK_NOISE_SDS = 2.0
"""Acceleration counts as over the threshold only with this many standard deviations of its noise to spare."""

BRISK_DECAY_S = 0.3
"""The flash fades linearly over this time."""

BRISK_MERGE_S = 0.1
"""Crossings closer than this are one movement."""

MIN_SPREAD_NOISES = 2.0
"""P95 - P50 of pure noise is 1.26 of its standard deviation per axis; under 2, a score shows nothing."""


def score_jerk(jerk: np.ndarray, jerk_noise: np.ndarray) -> np.ndarray:
    """Jerk score within the recording, seed 000 section 9: the picture, not a number to compare.

    ``sqrt(clip((jerk - P50) / (P95 - P50), 0, 1))`` for each joint.

    Parameters
    ----------
    jerk : ndarray (T, J)
        m/s³. NaN = not measured.
    jerk_noise : ndarray (T, J)
        Standard deviation of its noise per axis, m/s³.

    Returns
    -------
    ndarray (T, J)
        0 to 1; NaN where jerk is, and for joints whose spread is no more than noise (`MIN_SPREAD_NOISES`).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # joints without one valid frame are NaN, as meant
        p50, p95 = np.nanpercentile(jerk, [50, 95], axis=0)
        noise = np.nanmedian(jerk_noise, axis=0)
    return _scale(jerk, p50, p95, noise)


def score_jerk_against(
    jerk: np.ndarray, jerk_noise: np.ndarray, reference_p50: np.ndarray, reference_p95: np.ndarray
) -> np.ndarray:
    """The same score with a frozen reference's percentiles (J,): larger movement has a larger score."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        noise = np.nanmedian(jerk_noise, axis=0)
    return _scale(jerk, reference_p50, reference_p95, noise)


def _scale(jerk: np.ndarray, p50: np.ndarray, p95: np.ndarray, noise: np.ndarray) -> np.ndarray:
    spread = p95 - p50
    # Not known noise hides nothing; no spread at all has no score.
    is_noise = ~(spread > MIN_SPREAD_NOISES * np.nan_to_num(noise))
    share = (jerk - p50) / np.where(is_noise, np.nan, spread)
    return np.sqrt(np.clip(share, 0.0, 1.0))


def is_brisk(acceleration: np.ndarray, acceleration_noise: np.ndarray) -> np.ndarray:
    """Where acceleration (T, J), m/s², surely passes `BRISK_ACCELERATION`: bool (T, J)."""
    return acceleration - BRISK_NOISE_SDS * acceleration_noise > BRISK_ACCELERATION


def score_acceleration(
    time_s: np.ndarray, acceleration: np.ndarray, acceleration_noise: np.ndarray
) -> np.ndarray:
    """The flash of seed 000: 1 where a movement is brisk, fading to 0 over `BRISK_DECAY_S`.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times.
    acceleration, acceleration_noise : ndarray (T, J)
        m/s²; the noise is per axis. NaN = not measured.

    Returns
    -------
    ndarray (T, J)
        0 to 1; NaN where acceleration is, unless a flash still fades there.
    """
    brisk = is_brisk(acceleration, acceleration_noise)
    last = np.maximum.accumulate(np.where(brisk, time_s[:, None], -np.inf), axis=0)
    flash = np.clip(1.0 - (time_s[:, None] - last) / BRISK_DECAY_S, 0.0, 1.0)
    return np.where(np.isfinite(acceleration) | (flash > 0), flash, np.nan)


def find_brisk_events(
    time_s: np.ndarray, acceleration: np.ndarray, acceleration_noise: np.ndarray, joints: tuple[str, ...]
) -> tuple[BriskEvent, ...]:
    """Brisk movements of the named joints, by start.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times.
    acceleration, acceleration_noise : ndarray (T, 21)
        m/s², all joints in the order of `pipeline.hand.joints.JOINTS`.
    joints : tuple of str
        Whose movements to list.
    """
    brisk = is_brisk(acceleration, acceleration_noise)
    events = []
    for joint in joints:
        column = JOINTS.index(joint)
        runs, _ = label(_bridge(time_s, brisk[:, column]))
        for (run,) in find_objects(runs):
            frames = np.arange(run.start, run.stop)
            peak = frames[np.nanargmax(acceleration[frames, column])]
            events.append(
                BriskEvent(
                    joint=joint,
                    start_s=float(time_s[frames[0]]),
                    end_s=float(time_s[frames[-1]]),
                    peak_s=float(time_s[peak]),
                    peak_acceleration=float(acceleration[peak, column]),
                )
            )
    return tuple(sorted(events, key=lambda event: (event.start_s, event.joint)))


def _bridge(time_s: np.ndarray, brisk: np.ndarray) -> np.ndarray:
    """Crossings (T,) less than `BRISK_MERGE_S` apart made one."""
    bridged = brisk.copy()
    at = np.flatnonzero(brisk)
    for a, b in itertools.pairwise(at):
        if b > a + 1 and time_s[b] - time_s[a] <= BRISK_MERGE_S:
            bridged[a:b] = True
    return bridged


def score_frames(degrees: np.ndarray, mean_deg: np.ndarray, sd_deg: np.ndarray) -> np.ndarray:
    """Signed frame-level z (T, A) of angles (T, A): seed 000's ``|theta - mu| / sigma`` with its sign.

    ``mean_deg`` and ``sd_deg`` (A,) are over all frames of all people; NaN there gives NaN.
    """
    return (degrees - mean_deg) / np.where(sd_deg > 0, sd_deg, np.nan)


@dataclass(frozen=True)
class PersonScore:
    """A person against a small reference sample, with its 95 % interval; NaN = cannot be told."""

    z: float
    low: float
    high: float


def standardise_person(
    value: np.ndarray | float, mean: np.ndarray | float, sd: np.ndarray | float, n_people: np.ndarray | int
) -> np.ndarray:
    """Crawford and Howell's z: ``(value - mean) / (sd * sqrt((n + 1) / n))``, for any arrays."""
    return np.asarray((value - mean) / (sd * np.sqrt((n_people + 1) / n_people)))


def score_person(
    value: float, mean: float, sd: float, n_people: int, standard_error: float = 0.0
) -> PersonScore:
    """Signed person-level z after Crawford and Howell (1998).

    ``z = (value - mean) / (sd * sqrt((n + 1) / n))``; under the null it follows Student's t with n - 1
    degrees of freedom. The interval holds the uncertainty of mean and sd of a sample of n, ``1/n + z² / (2
    (n - 1))`` (as Crawford and Garthwaite's 2002 interval, to first order), and the standard error of the
    value itself.

    Parameters
    ----------
    value : float
        The person's median.
    mean, sd : float
        Over the people of the reference.
    n_people : int
        How many they are; under 2 there is no score.
    standard_error : float
        Of ``value``, in its unit: measurement and recording together. NaN gives no interval.
    """
    if n_people < 2 or not sd > 0 or not np.isfinite(value):
        return PersonScore(float("nan"), float("nan"), float("nan"))
    small = np.sqrt((n_people + 1) / n_people)
    z = float(standardise_person(value, mean, sd, n_people)) * small
    spread = np.sqrt(1 / n_people + z**2 / (2 * (n_people - 1)) + (standard_error / sd) ** 2)
    half = student.ppf(0.975, n_people - 1) * spread
    return PersonScore(float(z / small), float((z - half) / small), float((z + half) / small))
