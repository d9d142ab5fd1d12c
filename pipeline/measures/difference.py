"""Two takes of one task held against each other: by how often each posture and pace occurs, and by moment.

Two takes are never the same movement frame by frame, so two questions are answered apart:

- *By share of the time*: each measure's percentiles, whatever the moment. It holds for takes of different
  tempo and length. Its interval is the movement's own variation within each recording (moving blocks) and
  the measurement error together.
- *By moment*: only while the takes are in step round an event that a person chose
  (`pipeline.measures.moments.find_in_step`), angles over a quarter of a second and pace over one second,
  since a stroke 20 ms earlier would otherwise be a difference. It describes these two takes, not a change.

Angles differ by the reference's standard deviations of single frames (the later less the earlier); pace
(acceleration and jerk) by how many times the later is the earlier, with the noise taken out of both.

A difference inside what jitter and the recordings' own variation make is `INSIDE`. Past that, an angle's may
still be the error that lasts over a whole recording (how a network reads this hand from these cameras):
whether both visits share it nobody knows, so it is counted for each, and such a difference is `UNCERTAIN`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from pipeline.hand.angles import ANGLES, compute_angle_sigma
from pipeline.hand.joints import JOINTS, Side
from pipeline.measures.resampling import BLOCK_S, MIN_BLOCKS
from pipeline.results import RunFolder, read_hand, read_table

SHARES = (5, 10, 25, 50, 75, 90, 95)
"""Percentiles that are held against each other."""

NOISE_TRUST = 1.5
"""The true noise is taken to lie within the stated one times and by this."""

Z_EDGE = 6.0
"""The scale of angles goes to this many standard deviations, of every pair of recordings."""

RATIO_EDGE = 4.0
"""The scale of pace goes from a quarter to four times, of every pair of recordings."""

ANGLE_WINDOW_S, PACE_WINDOW_S = 0.25, 1.0
"""By moment: the mean of an angle, the root mean square of a pace over this time."""

LEAST_SHARE = 0.5
"""A window with less than this share measured cannot tell."""

INSIDE, UNCERTAIN, SURE = 0, 1, 2
"""How much of a difference is known: see the module."""

_STEPS_PER_S = 20
_JITTER_FRAMES = 300
_JITTER_PER_S = 14.0
"""Independent values of the jitter in a second: the fit keeps little of it over 7 Hz."""

_MAX_COLUMNS = 600
_DRAWS = 200
_ENOUGH_BLOCKS = 8
_LONGEST_BLOCK_S = 3.0
_SAMPLES = 400
_BOUND = 1.96


@dataclass(frozen=True)
class Course:
    """What one hand did in a recording, by frame. NaN = not measured.

    Attributes
    ----------
    time_s : ndarray (T,)
        On the reference camera's clock.
    z, z_sigma : ndarray (T, 20)
        Angles in the reference's standard deviations, signed, and their measurement error.
    z_jitter : ndarray (20,)
        The part of that error that changes from frame to frame, median.
    sd_deg : ndarray (20,)
        The reference's standard deviation in degrees.
    acceleration, acceleration_noise, jerk, jerk_noise : ndarray (T, 21)
        m/s² and m/s³; the noise is per axis.
    """

    time_s: np.ndarray
    z: np.ndarray
    z_sigma: np.ndarray
    z_jitter: np.ndarray
    sd_deg: np.ndarray
    acceleration: np.ndarray
    acceleration_noise: np.ndarray
    jerk: np.ndarray
    jerk_noise: np.ndarray


@dataclass(frozen=True)
class Difference:
    """A difference with what is known of it. NaN = cannot tell.

    Attributes
    ----------
    columns : ndarray (C,)
        Percentiles, or times in s on the earlier take's clock.
    value : ndarray (C, K)
        Angles: the later less the earlier, in standard deviations of the reference. Pace: the later over the
        earlier.
    known : ndarray (C, K) int
        `INSIDE`, `UNCERTAIN` or `SURE`.
    """

    columns: np.ndarray
    value: np.ndarray
    known: np.ndarray


def read_course(run: RunFolder, side: Side) -> Course:
    """What a run measured of one hand.

    Raises
    ------
    pipeline.errors.RunFolderError
        Its tables are not there.
    """
    angles = read_table(run.angles_parquet, ("side", "time_s", "angle", "degrees", "sigma_deg", "z", "valid"))
    angles = angles[(angles["side"] == side) & angles["valid"]]
    names = ("acceleration", "acceleration_noise", "jerk", "jerk_noise")
    pace = read_table(run.measures_parquet, ("side", "time_s", "joint", "valid", *names))
    time_s = np.unique(pace.loc[pace["side"] == side, "time_s"].to_numpy(dtype=float))
    pace = pace[(pace["side"] == side) & pace["valid"]]

    def spread(table, key: str, order: tuple[str, ...], column: str) -> np.ndarray:  # type: ignore[no-untyped-def]
        grid = np.full((len(time_s), len(order)), np.nan)
        rows = np.searchsorted(time_s, table["time_s"].to_numpy(dtype=float))
        places = {name: place for place, name in enumerate(order)}
        columns = table[key].map(places).to_numpy(dtype=int)
        grid[rows, columns] = table[column].to_numpy(dtype=float)
        return grid

    degrees, z = (spread(angles, "angle", ANGLES, name) for name in ("degrees", "z"))
    sd_deg = _find_spread(degrees, z)
    return Course(
        time_s,
        z,
        spread(angles, "angle", ANGLES, "sigma_deg") / sd_deg,
        _read_jitter(run, side) / sd_deg,
        sd_deg,
        *(spread(pace, "joint", JOINTS, name) for name in names),
    )


def _read_jitter(run: RunFolder, side: Side) -> np.ndarray:
    """Jitter (20,) of the angles in degrees, median over some frames of the recording."""
    hand = read_hand(run, side)
    step = max(len(hand.time_s) // _JITTER_FRAMES, 1)
    joints_mm = np.where((np.asarray(hand.quality) > 0)[..., None], hand.joints_mm, np.nan)[::step]
    sigma = compute_angle_sigma(joints_mm.astype(float), np.asarray(hand.jitter_sigma_mm)[::step], side)
    return np.degrees([_median(sigma[:, column]) for column in range(sigma.shape[1])])


def _find_spread(degrees: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The reference's standard deviation (20,) in degrees: z is a straight line of the angle."""
    known = np.isfinite(degrees) & np.isfinite(z)
    low, high = (
        np.where(known, degrees, fill).argsort(axis=0)[at] for fill, at in ((np.inf, 0), (-np.inf, -1))
    )
    every = np.arange(degrees.shape[1])
    rise = z[high, every] - z[low, every]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.abs(rise) > 1e-3, (degrees[high, every] - degrees[low, every]) / rise, np.nan)


# --- by share of the time ------------------------------------------------------------------------


@dataclass(frozen=True)
class Shares:
    """Percentiles of one recording: ``value`` and its standard error (P, K), and the median error (K,).

    ``error`` is the measurement error of an angle in SD; of a pace it is the noise per axis.
    """

    value: np.ndarray
    spread: np.ndarray
    error: np.ndarray


def take_shares(
    time_s: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    seed: int = 0,
) -> Shares:
    """The percentiles `SHARES` of series (T, K) with what the recording's own variation makes of them.

    Blocks of one to three seconds are drawn, and a little more is taken for their small number. A recording
    shorter than `MIN_BLOCKS` of them has no standard error (NaN), nor has a series with less than half of its
    time measured. Of two takes alike, one cell in thirty is past this at 30 s, one in thirteen at 8 s.
    """
    measured = np.isfinite(values).mean(axis=0) >= LEAST_SHARE
    kept = np.where(measured, values, np.nan)
    value = np.full((len(SHARES), values.shape[1]), np.nan)
    spread = value.copy()
    if measured.any():
        value[:, measured] = np.nanpercentile(kept[:, measured], SHARES, axis=0)
        spread[:, measured] = _draw_spread(time_s, kept[:, measured], seed)
    with np.errstate(invalid="ignore"):
        error = np.array([_median(errors[:, column]) for column in range(errors.shape[1])])
    return Shares(value, spread, error)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _draw_spread(time_s: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    duration_s = float(time_s[-1] - time_s[0]) if len(time_s) > 1 else 0.0
    # Postures come and go over seconds: longer blocks, as long as there are enough of them.
    blocks = int(duration_s / float(np.clip(duration_s / _ENOUGH_BLOCKS, BLOCK_S, _LONGEST_BLOCK_S)))
    if blocks < MIN_BLOCKS:
        return np.full((len(SHARES), values.shape[1]), np.nan)
    frames = len(values) // blocks
    within = np.linspace(0, frames - 1, min(max(_SAMPLES // blocks, 8), frames)).astype(int)
    random = np.random.default_rng(seed)
    drawn = np.empty((_DRAWS, len(SHARES), values.shape[1]))
    for draw in range(_DRAWS):
        starts = random.integers(0, len(values) - frames + 1, size=blocks)
        sample = np.sort(values[(starts[:, None] + within).ravel()], axis=0)  # NaN comes last
        known = np.isfinite(sample).sum(axis=0)
        places = np.clip(np.array(SHARES)[:, None] / 100 * (known - 1), 0, None).round().astype(int)
        drawn[draw] = np.take_along_axis(sample, places, axis=0)
    counts = np.isfinite(drawn).sum(axis=0)
    mean = np.nansum(drawn, axis=0) / np.maximum(counts, 1)
    spread = np.sqrt(np.nansum((drawn - mean) ** 2, axis=0) / np.maximum(counts - 1, 1))
    # Few blocks make the spread too small, and it is itself known to few degrees of freedom.
    few = float(student.ppf(0.975, blocks - 1)) / _BOUND * np.sqrt(blocks / (blocks - 1))
    return np.where(counts >= _DRAWS // 2, few * spread, np.nan)


def compare_angle_shares(before: Shares, after: Shares) -> Difference:
    """Percentiles of the angles, the later less the earlier, in SD of the reference."""
    value = after.value - before.value
    spread = np.hypot(before.spread, after.spread)
    # Drawing frames anew draws their jitter anew, so the spread holds it.
    whole = np.hypot(spread, np.hypot(before.error, after.error))
    return _judge_angles(np.array(SHARES), value, spread, whole)


def _judge_angles(
    columns: np.ndarray, value: np.ndarray, random: np.ndarray, whole: np.ndarray
) -> Difference:
    """``random`` is the standard error without what lasts over a recording, ``whole`` with it."""
    told = np.isfinite(value) & np.isfinite(whole)
    with np.errstate(invalid="ignore"):
        size = np.abs(value)
        known = (told & (size > _BOUND * random)).astype(int) + (told & (size > _BOUND * whole))
    return Difference(columns, np.where(told, value, np.nan), known)


def compare_pace_shares(before: Shares, after: Shares) -> Difference:
    """Percentiles of a pace, the later over the earlier."""
    with np.errstate(invalid="ignore", divide="ignore"):
        random = _BOUND * np.hypot(before.spread / before.value, after.spread / after.value)
    return _compare_pace(
        np.array(SHARES), (before.value, before.error), (after.value, after.error), np.exp(random)
    )


def _compare_pace(
    columns: np.ndarray,
    before: tuple[np.ndarray, np.ndarray],
    after: tuple[np.ndarray, np.ndarray],
    margin: np.ndarray | float,
) -> Difference:
    """The later pace over the earlier; each is a size and its noise per axis, three of which add up.

    Where noise may be all of one of them, the least difference that is certain is given instead, if there is
    one; where it may be all of both, nothing can be told. ``margin`` is a factor to be passed besides.
    """
    (low_a, mid_a, high_a), (low_b, mid_b, high_b) = (_remove_noise(*each) for each in (before, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        least, most = low_b / high_a / margin, high_b / low_a * margin
        first, second = low_a > 0, low_b > 0
        value = np.where(first & second, mid_b / mid_a, np.nan)
        value = np.where(~first & second & (low_b > high_a), low_b / high_a, value)
        value = np.where(first & ~second & (high_b < low_a), high_b / low_a, value)
        known = np.isfinite(value) & np.isfinite(margin) & (value > 0)
        sure = known & ((least > 1) | (most < 1))
        return Difference(columns, np.where(known, value, np.nan), np.where(sure, SURE, INSIDE))


def _remove_noise(size: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A size without its noise: at least, probably, at most."""
    share = 3.0 * np.square(noise)

    def less(factor: float) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.maximum(np.square(size) - factor**2 * share, 0.0))

    return less(NOISE_TRUST), less(1.0), less(1.0 / NOISE_TRUST)


# --- by moment -----------------------------------------------------------------------------------


def make_columns(start_s: float, end_s: float) -> np.ndarray:
    """Times (C,) in s of the columns of a stretch."""
    count = int(np.clip(round((end_s - start_s) * _STEPS_PER_S) + 1, 2, _MAX_COLUMNS))
    return np.linspace(start_s, end_s, count)


def compare_angle_moments(
    before: Course, after: Course, offset_s: float, columns_s: np.ndarray
) -> Difference:
    """The angles round each moment, the later less the earlier, in SD of the reference.

    ``offset_s`` is what the later take is ahead: its moment ``t + offset_s`` is held against ``t``. A quarter
    of a second holds a few independent values of the jitter; what lasts stays as large as it is.
    """
    pairs = []
    for course, times_s in ((before, columns_s), (after, columns_s + offset_s)):
        mean = _average(course.time_s, course.z, times_s, ANGLE_WINDOW_S)
        error = np.sqrt(_average(course.time_s, np.square(course.z_sigma), times_s, ANGLE_WINDOW_S))
        pairs.append((mean, error))
    (first, error_a), (second, error_b) = pairs
    jitter = np.hypot(before.z_jitter, after.z_jitter) / np.sqrt(ANGLE_WINDOW_S * _JITTER_PER_S)
    return _judge_angles(columns_s, second - first, jitter, np.hypot(error_a, error_b))


def compare_pace_moments(
    before: Course, after: Course, offset_s: float, columns_s: np.ndarray, name: str
) -> Difference:
    """How many times the earlier pace the later is round each moment; ``name`` is acceleration or jerk."""
    sizes = []
    for course, times_s in ((before, columns_s), (after, columns_s + offset_s)):
        values, noise = getattr(course, name), getattr(course, f"{name}_noise")
        sizes.append(
            tuple(
                np.sqrt(_average(course.time_s, np.square(each), times_s, PACE_WINDOW_S))
                for each in (values, noise)
            )
        )
    return _compare_pace(columns_s, sizes[0], sizes[1], 1.0)


def _average(time_s: np.ndarray, values: np.ndarray, at_s: np.ndarray, window_s: float) -> np.ndarray:
    """Means (C, K) of series (T, K) in a window round each time; NaN where less than half is measured."""
    known = np.isfinite(values)
    zero = np.zeros((1, values.shape[1]))
    sums = np.concatenate([zero, np.cumsum(np.where(known, values, 0.0), axis=0)])
    counts = np.concatenate([zero, np.cumsum(known, axis=0)])
    first, last = (np.searchsorted(time_s, at_s + half) for half in (-window_s / 2, window_s / 2))
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else window_s
    number = counts[last] - counts[first]
    enough = number >= max(LEAST_SHARE * window_s / step_s, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, (sums[last] - sums[first]) / number, np.nan)
