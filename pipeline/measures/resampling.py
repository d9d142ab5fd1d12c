"""Intervals from one recording: the moving-block bootstrap (Künsch 1989).

Frames follow one another and are alike, so drawing single frames would give intervals several times too
narrow. Blocks of at least a second are drawn instead. The interval says how sure the number is for this
recording; it holds nothing of how a person differs from day to day.

A draw is kept as how often it holds each sample, so that means and quantiles of a thousand draws cost
little more than one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_S = 1.0
"""Length of a block."""

MIN_BLOCKS = 4
"""A recording of fewer blocks has no interval."""

DRAWS = 1000
_MAX_SAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """Standard error and 95 % interval of a number; NaN = the recording is too short for one."""

    standard_error: float
    low: float
    high: float


NO_INTERVAL = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Draws:
    """Which samples of a recording a thousand draws hold.

    Attributes
    ----------
    step : int
        Every how many frames a sample is taken: neighbours say the same.
    counts : ndarray (D, N) or None
        How often each draw holds each sample; None where the recording is too short.
    """

    step: int
    counts: np.ndarray | None


def draw_blocks(frames: int, fps: float, block_s: float = BLOCK_S, seed: int = 0) -> Draws:
    """Draw blocks of a recording of ``frames`` frames; equal arguments give equal draws."""
    # A block keeps a few samples however long the recording is.
    step = max(min(int(np.ceil(frames / _MAX_SAMPLES)), int(fps * block_s / 8)), 1)
    samples = int(np.ceil(frames / step))
    block = max(round(block_s * fps / step), 1)
    if samples < MIN_BLOCKS * block:
        return Draws(step, None)
    random = np.random.default_rng(seed)
    blocks = int(np.ceil(samples / block))
    starts = random.integers(0, samples - block + 1, size=(DRAWS, blocks))
    index = (starts[..., None] + np.arange(block)).reshape(DRAWS, -1)[:, :samples]
    flat = index + samples * np.arange(DRAWS)[:, None]
    counts = np.bincount(flat.ravel(), minlength=DRAWS * samples).reshape(DRAWS, samples)
    return Draws(step, counts.astype(np.float32))


def bound_mean(values: np.ndarray, draws: Draws, value: float, transform: str = "") -> Interval:
    """The interval of a mean of a series (T,), NaN left out.

    ``value`` is the number itself, which the interval is put round; ``transform`` "sqrt" is for the
    square root of the mean (a root mean square).
    """
    if draws.counts is None or not np.isfinite(value):
        return NO_INTERVAL
    thin = np.asarray(values, dtype=float)[:: draws.step]
    known = np.isfinite(thin)
    filled = np.where(known, thin, 0.0)
    weight = draws.counts @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (draws.counts @ filled) / weight
        whole = filled.sum() / known.sum()
    if transform == "sqrt":
        drawn, whole = np.sqrt(drawn), np.sqrt(whole)
    return _interval(drawn - whole, value)


def bound_quantile(values: np.ndarray, draws: Draws, share: float, value: float) -> Interval:
    """The interval of a quantile (``share`` 0 to 1) of series (T,) or (T, K) taken together, NaN left out."""
    if draws.counts is None or not np.isfinite(value):
        return NO_INTERVAL
    thin = np.asarray(values, dtype=float)[:: draws.step].reshape(draws.counts.shape[1], -1)
    sample = np.repeat(np.arange(len(thin)), thin.shape[1])
    flat = thin.ravel()
    sample, flat = sample[np.isfinite(flat)], flat[np.isfinite(flat)]
    order = np.argsort(flat)
    ordered, sample = flat[order], sample[order]
    drawn = _draw_quantiles(draws.counts, sample, ordered, share)
    whole = ordered[min(int(np.ceil(share * len(ordered))), len(ordered)) - 1]
    return _interval(drawn - whole, value)


def _draw_quantiles(counts: np.ndarray, sample: np.ndarray, ordered: np.ndarray, share: float) -> np.ndarray:
    """Each draw's quantile (D,) of ordered values (V,), of which ``sample`` says where they come from.

    Values are counted by groups first and one by one only in the group that the quantile lies in.
    """
    groups = int(np.ceil(np.sqrt(len(ordered))))
    edges = np.linspace(0, len(ordered), groups + 1).astype(int)
    group = np.repeat(np.arange(groups), np.diff(edges))
    share_of = np.bincount(sample * groups + group, minlength=counts.shape[1] * groups)
    reached = np.cumsum(counts @ share_of.reshape(-1, groups).astype(np.float32), axis=1)
    target = share * reached[:, -1]
    rows = np.arange(len(counts))
    which = (reached >= target[:, None]).argmax(axis=1)
    before = np.where(which > 0, reached[rows, which - 1], 0)
    place = np.minimum(edges[which][:, None] + np.arange(np.diff(edges).max()), len(ordered) - 1)
    running = before[:, None] + np.cumsum(counts[rows[:, None], sample[place]], axis=1)
    return ordered[place[rows, (running >= target[:, None]).argmax(axis=1)]]


def _interval(shift: np.ndarray, value: float) -> Interval:
    shift = shift[np.isfinite(shift)]
    if not len(shift):
        return NO_INTERVAL
    low, high = np.percentile(shift, [2.5, 97.5])
    return Interval(float(shift.std()), float(value + low), float(value + high))
