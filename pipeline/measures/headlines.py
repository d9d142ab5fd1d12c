"""The few numbers at the top of a report, worked out alike for a recording and for a reference's people."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.hand.joints import FINGERS, JOINTS
from pipeline.measures.posture import find_bouts, mark_bouts
from pipeline.measures.resampling import (
    BLOCK_S,
    MIN_BLOCKS,
    NO_INTERVAL,
    Draws,
    Interval,
    bound_mean,
    bound_quantile,
    draw_blocks,
)
from pipeline.measures.scores import find_brisk_events
from pipeline.measures.smoothness import WINDOW_S, compute_ldlj, measure_windows
from pipeline.measures.summary_types import HEADLINES, BriskEvent, PostureBout

if TYPE_CHECKING:
    from pipeline.measures.baseline import Baseline
    from pipeline.measures.measure import HandMeasures

TIPS: tuple[str, ...] = tuple(f"{finger}_tip" for finger in FINGERS)
TIP_COLUMNS = [JOINTS.index(tip) for tip in TIPS]

MIN_VALID_SHARE = 0.8
"""A number that rests on less of the recording than this is withheld."""

TOO_LITTLE = "Withheld: less than 80 % of the recording could be measured."
TOO_SHORT_TO_COUNT = f"Withheld: under {MIN_BLOCKS * BLOCK_S:g} s is too short to count by the minute."
NO_REFERENCE = "The reference does not have what this takes."


@dataclass(frozen=True)
class Number:
    """A headline's value, interval and the share of the recording it rests on; `reason` if it is withheld."""

    value: float
    interval: Interval
    valid_share: float
    reason: str = ""


@dataclass(frozen=True)
class HandNumbers:
    """The headlines of one hand by id, with the events they count.

    Attributes
    ----------
    numbers : dict of Number
        By id, in the order of `pipeline.measures.summary_types.HEADLINES`.
    bouts : tuple of PostureBout
        Sustained postures.
    in_bout : ndarray (T, 20) bool
        Which angles are in one.
    brisk : tuple of BriskEvent
        Brisk movements of the fingertips.
    """

    numbers: dict[str, Number]
    bouts: tuple[PostureBout, ...]
    in_bout: np.ndarray
    brisk: tuple[BriskEvent, ...]


def compute_headlines(found: HandMeasures, baseline: Baseline | None) -> HandNumbers:
    """The headline numbers of one hand; those that need a reference are withheld without one."""
    movement = found.kinematics
    time_s, fps = movement.time_s, movement.fps
    draws = draw_blocks(len(time_s), fps)
    bouts = find_bouts(time_s, found.z)
    marked = mark_bouts(time_s, bouts)
    brisk = find_brisk_events(time_s, movement.acceleration, movement.acceleration_noise, TIPS)
    numbers = (
        _posture_numbers(found, bouts, marked, draws)
        | _angle_number(found, baseline, draws)
        | {"smoothness": _smoothness(found)}
        | _movement_numbers(found, brisk, draws)
        | {"jerk_over_reference": _jerk_over(found, baseline, draws)}
    )
    return HandNumbers({name: numbers[name] for name in HEADLINES}, bouts, marked, brisk)


def _posture_numbers(
    found: HandMeasures, bouts: tuple[PostureBout, ...], marked: np.ndarray, draws: Draws
) -> dict[str, Number]:
    known = np.isfinite(found.z)
    valid = known.any(axis=1)
    share = float(known[:, known.any(axis=0)].mean()) if known.any() else 0.0
    inside = np.where(valid, 100.0 * marked.any(axis=1), np.nan)
    starts = np.searchsorted(found.kinematics.time_s, [bout.start_s for bout in bouts if bout.begun])
    per_frame = np.where(valid, np.bincount(starts, minlength=len(valid)).astype(float), np.nan)
    per_minute = per_frame * 60.0 * found.kinematics.fps
    return {
        "posture_share": _mean_number(inside, share, draws),
        "posture_bouts": _rate_number(per_minute, share, draws),
    }


def _angle_number(found: HandMeasures, baseline: Baseline | None, draws: Draws) -> dict[str, Number]:
    if baseline is None:
        return {"angle_deviation": _withheld(NO_REFERENCE)}
    mean, _, _ = baseline.person_level()
    away = (found.degrees - mean) ** 2
    known = np.isfinite(away)
    share = float(known[:, known.any(axis=0)].mean()) if known.any() else 0.0
    squared = _quiet(np.nanmean, away, axis=1)
    return {"angle_deviation": _mean_number(squared, share, draws, "sqrt")}


def _smoothness(found: HandMeasures) -> Number:
    movement = found.kinematics
    speed, noise = movement.speed[:, TIP_COLUMNS], movement.speed_noise[:, TIP_COLUMNS]
    share = float(np.isfinite(speed).mean())
    if share < MIN_VALID_SHARE:
        return _withheld(movement.reasons[0] if movement.reasons and share == 0 else TOO_LITTLE, share)
    windows = measure_windows(speed, noise, movement.fps)
    if not np.isfinite(windows).any():
        return _withheld("No 2 s of the recording show fingertips in movement without a gap.", share)
    value = float(np.nanmedian(windows))
    draws = draw_blocks(len(windows), 1.0 / WINDOW_S, block_s=WINDOW_S)
    return Number(value, bound_quantile(windows, draws, 0.5, value), share)


def measure_ldlj(found: HandMeasures) -> float:
    """Median LDLJ of the fingertips over the windows of SPARC: noise-prone, for comparison alone."""
    movement = found.kinematics
    speed, noise = movement.speed[:, TIP_COLUMNS], movement.speed_noise[:, TIP_COLUMNS]
    windows = measure_windows(speed, noise, movement.fps, compute_ldlj)
    return float(np.nanmedian(windows)) if np.isfinite(windows).any() else float("nan")


def _movement_numbers(found: HandMeasures, brisk: tuple[BriskEvent, ...], draws: Draws) -> dict[str, Number]:
    movement = found.kinematics
    acceleration = movement.acceleration[:, TIP_COLUMNS]
    valid = np.isfinite(acceleration).any(axis=1)
    starts = np.searchsorted(movement.time_s, [event.start_s for event in brisk])
    per_frame = np.where(valid, np.bincount(starts, minlength=len(valid)).astype(float), np.nan)
    share = float(np.isfinite(acceleration).mean())
    numbers = {
        "jerk_p95": _p95(movement.jerk[:, TIP_COLUMNS], draws),
        "acceleration_p95": _p95(acceleration, draws),
        "brisk_events": _rate_number(per_frame * 60.0 * movement.fps, share, draws),
    }
    return {name: _explain(number, movement.reasons) for name, number in numbers.items()}


def _jerk_over(found: HandMeasures, baseline: Baseline | None, draws: Draws) -> Number:
    jerk = found.kinematics.jerk[:, TIP_COLUMNS]
    if baseline is None:
        return _withheld(NO_REFERENCE)
    _, p95 = baseline.jerk_reference()
    limit = p95[TIP_COLUMNS]
    share = float(np.isfinite(jerk).mean())
    if not np.isfinite(limit).all() and share > 0:
        return _withheld(baseline.posture_only or NO_REFERENCE, share)
    over = np.where(np.isfinite(jerk), 100.0 * (jerk > limit), np.nan)
    number = _mean_number(_quiet(np.nanmean, over, axis=1), share, draws)
    return _explain(number, found.kinematics.reasons)


def _p95(values: np.ndarray, draws: Draws) -> Number:
    share = float(np.isfinite(values).mean())
    if share < MIN_VALID_SHARE:
        return _withheld(TOO_LITTLE, share)
    value = float(np.nanpercentile(values, 95))
    return Number(value, bound_quantile(values, draws, 0.95, value), share)


def _mean_number(values: np.ndarray, share: float, draws: Draws, transform: str = "") -> Number:
    if share < MIN_VALID_SHARE or not np.isfinite(values).any():
        return _withheld(TOO_LITTLE, share)
    value = float(np.nanmean(values))
    value = float(np.sqrt(value)) if transform == "sqrt" else value
    return Number(value, bound_mean(values, draws, value, transform), share)


def _rate_number(per_minute: np.ndarray, share: float, draws: Draws) -> Number:
    """A count a minute: a second of playing times sixty tells nothing, so a short recording has none."""
    if draws.counts is None:
        return _withheld(TOO_SHORT_TO_COUNT, share)
    return _mean_number(per_minute, share, draws)


def _explain(number: Number, reasons: tuple[str, ...]) -> Number:
    """Where the frame rate is why, say so."""
    if number.reason and number.valid_share == 0 and reasons:
        return _withheld(reasons[0])
    return number


def _withheld(reason: str, share: float = 0.0) -> Number:
    return Number(float("nan"), NO_INTERVAL, share, reason)


def _quiet(function: Callable[..., np.ndarray], values: np.ndarray, axis: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without one value are NaN, as meant
        return function(values, axis=axis)
