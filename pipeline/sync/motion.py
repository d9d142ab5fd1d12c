"""Offset of two cameras' clocks from the movement of the hand that both saw; no rig is needed.

How fast a finger moves over the palm, and the palm over the picture, looks different from every side, but
it starts and stops at the same instants. So the signals are speeds, in hand sizes a second: one of the palm
and one of each fingertip against the palm, for each hand. They are brought to one fine raster by the
container's own times, and correlated over what both recorded at every lag within 60 s. Signals that agree
well count for more: what is added up is the information that one view's signal gives about the other's,
``-n log(1 - r^2)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from pipeline.fusion.resample import resample_keypoints
from pipeline.hand.joints import JOINTS, SIDES, Side
from pipeline.results import Verdict, ViewTrack

MAX_LAG_S = 60.0
RATE_HZ = 120.0
SMOOTHING_S = 0.03
"""Standard deviation of the smoothing: jitter of the points lies above its band, strokes of fingers in it."""
MAX_GAP_S = 0.1
LEAST_OVERLAP_S = 2.0
LEAST_OVERLAP_SHARE = 0.1

MATCH_SCORE = 45.0
"""Views of different movements reach 40 at most, unless both play the same notes in the same time."""
STRONG_SCORE = 120.0
"""Two takes of the same piece by the same hand reach 100; one take seen by two cameras 200 and more."""
RIVAL_RATIO = 0.5
CLEARANCE_S = 0.1
"""Closer peaks are one peak with a rough top."""
CANDIDATE_RATIO = 0.35
MOST_CANDIDATES = 6
DOUBTFUL_SIGMA_S = 8e-3
"""Half a frame at 60 frames a second."""
LEAST_SIGMA_S = 1e-3
"""Speeds seen from different sides do not have quite the same course, however much there is of them."""

_PALM = tuple(JOINTS.index(name) for name in ("wrist", "index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp"))
_TIPS = tuple(JOINTS.index(f"{finger}_tip") for finger in ("thumb", "index", "middle", "ring", "pinky"))
_REACH = 8
_BLOCK_S = 0.7


@dataclass(frozen=True)
class Candidate:
    """A lag at which the movements fit.

    Attributes
    ----------
    offset_s : float
        ``t_reference = t_target + offset_s``.
    share : float
        How well it fits compared with the best, 0 to 1.
    """

    offset_s: float
    share: float


@dataclass(frozen=True)
class MotionOffset:
    """How a target's clock relates to a reference's, from the hand's movement.

    Attributes
    ----------
    offset_s : float
        ``t_reference = t_target + offset_s`` in the middle of what both recorded; NaN if there is none.
    sigma_s : float
        Standard error, by leaving out one stretch of the recording after the other.
    confidence : float
        0 to 1: how far the best lag stands above the next, less where little agrees.
    match : float
        Information that agrees, ``-n log(1 - r^2)`` added up over the signals with n the number of
        independent samples; chi-square with one degree of freedom a signal where nothing is shared.
    rival : float
        The next best lag's match over the best's.
    overlap_s : float
        How long both saw the hand at the best lag.
    candidates : tuple of Candidate
        Lags worth trying, the likeliest first; more than one where the movement repeats.
    verdict : "reliable" | "check" | "failed"
    reasons : tuple of str
        Why the verdict is not "reliable".
    """

    offset_s: float
    sigma_s: float
    confidence: float
    match: float
    rival: float
    overlap_s: float
    candidates: tuple[Candidate, ...] = ()
    verdict: Verdict = "failed"
    reasons: tuple[str, ...] = ()


def find_offset_by_motion(
    reference: dict[Side, ViewTrack], target: dict[Side, ViewTrack], max_lag_s: float = MAX_LAG_S
) -> MotionOffset:
    """Offset of a target camera against a reference camera from what both saw of the hand.

    Parameters
    ----------
    reference, target : dict of ViewTrack
        By side, each on its camera's own clock; only hands that both looked for count.
    max_lag_s : float
        Largest offset looked for.

    Returns
    -------
    MotionOffset
        Verdict "failed" where the views share no movement; nothing is raised.
    """
    tracks = [(reference[side], target[side]) for side in SIDES if side in reference and side in target]
    tracks = [pair for pair in tracks if min(len(track.time_s) for track in pair) > 1]
    pairs = [pair for both in tracks for pair in _pair_signals(*both)]
    if not pairs:
        return _failed("The hand is not seen for long enough to compare its movement.")
    start_s = float(tracks[0][0].time_s[0] - tracks[0][1].time_s[0])
    scan = _scan(pairs, max_lag_s, start_s)
    if scan is None:
        return _failed("The hand is not seen for long enough to compare its movement.")
    peaks = _find_peaks(scan)
    if not peaks:
        return _failed("The hand hardly moves, or not alike in the two views.")
    best = scan.lags[peaks[0]]
    rival = float(scan.match[peaks[1]] / scan.match[peaks[0]]) if len(peaks) > 1 else 0.0
    candidates = tuple(
        Candidate(_refine(scan, peak) + start_s, float(scan.match[peak] / scan.match[peaks[0]]))
        for peak in peaks
        if scan.match[peak] >= CANDIDATE_RATIO * scan.match[peaks[0]]
    )
    match = float(scan.match[peaks[0]])
    return _judge(
        MotionOffset(
            offset_s=candidates[0].offset_s,
            sigma_s=_jackknife(pairs, int(best)),
            confidence=max(0.0, 1 - rival) * min(1.0, match / STRONG_SCORE),
            match=match,
            rival=rival,
            overlap_s=float(scan.overlap_s[peaks[0]]),
            candidates=candidates[:MOST_CANDIDATES],
        )
    )


def _failed(reason: str) -> MotionOffset:
    unknown = float("nan")
    return MotionOffset(unknown, unknown, 0.0, 0.0, unknown, 0.0, reasons=(reason,))


def _judge(found: MotionOffset) -> MotionOffset:
    if found.match < MATCH_SCORE:
        reason = "The hand moves too little, or not alike in the two views."
        return replace(found, verdict="failed", reasons=(reason,))
    reasons = []
    if found.match < STRONG_SCORE:
        reasons.append("The two views' movements agree only in part.")
    if found.rival > RIVAL_RATIO:
        others = ", ".join(f"{candidate.offset_s:.2f} s" for candidate in found.candidates[1:])
        reasons.append(f"The movement repeats: other offsets fit almost as well ({others}).")
    if not found.sigma_s <= DOUBTFUL_SIGMA_S:  # NaN too
        size = f"to ±{found.sigma_s * 1e3:.0f} ms" if np.isfinite(found.sigma_s) else "roughly"
        reasons.append(f"The movement tells the offset only {size}.")
    return replace(found, verdict="check" if reasons else "reliable", reasons=tuple(reasons))


# --- signals -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Signal:
    """Speed (N,) on the raster and its weight (N,), 0 where it was not measured."""

    value: np.ndarray
    weight: np.ndarray


def _pair_signals(reference: ViewTrack, target: ViewTrack) -> list[tuple[_Signal, _Signal]]:
    first, second = _get_signals(reference), _get_signals(target)
    return [
        (a, b)
        for a, b in zip(first, second, strict=True)
        if min((a.weight > 0).sum(), (b.weight > 0).sum()) >= LEAST_OVERLAP_S * RATE_HZ
    ]


def _get_signals(track: ViewTrack) -> list[_Signal]:
    """Speed of the palm in the picture, and of each fingertip over the palm, in hand sizes a second.

    The square root is taken of each, so that a few wild points do not outweigh all the playing.
    """
    time_s = np.asarray(track.time_s, dtype=float)
    raster_s = np.arange(time_s[0], time_s[-1] + 0.5 / RATE_HZ, 1 / RATE_HZ)
    points, sigma = resample_keypoints(time_s, track.keypoints_px, track.sigma_px, raster_s, MAX_GAP_S)
    seen = np.isfinite(points).all(axis=2) & np.isfinite(sigma)
    if not seen[:, _PALM].all(axis=1).any():
        return [_Signal(np.zeros(len(raster_s)), np.zeros(len(raster_s)))] * (1 + len(_TIPS))
    size_px = np.nanmedian(np.linalg.norm(points[:, _PALM[1:]] - points[:, :1], axis=2))
    weight = _weigh(sigma, seen)
    palm = points[:, _PALM].mean(axis=1)
    is_palm, palm_weight = seen[:, _PALM].all(axis=1), weight[:, _PALM].mean(axis=1)
    signals = [_get_speed(palm / size_px, is_palm, palm_weight)]
    for tip in _TIPS:
        is_both = is_palm & seen[:, tip]
        signals.append(_get_speed((points[:, tip] - palm) / size_px, is_both, weight[:, tip]))
    return signals


def _weigh(sigma_px: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Weight (N, 21) by sigma against the joint's usual one: all of it below, little far above."""
    usual = np.ones(sigma_px.shape[1])
    for joint in np.flatnonzero(seen.any(axis=0)):
        usual[joint] = np.median(sigma_px[seen[:, joint], joint])
    ratio = np.where(seen, sigma_px, np.inf) / np.maximum(usual, 1e-9)
    return 1.0 / np.maximum(1.0, ratio) ** 2


def _get_speed(path: np.ndarray, seen: np.ndarray, weight: np.ndarray) -> _Signal:
    """Square root of the speed along a path (N, 2), smoothed over what was seen of it."""
    width = SMOOTHING_S * RATE_HZ
    share = ndimage.gaussian_filter1d(seen.astype(float), width, mode="nearest")
    filled = np.where(seen[:, None], path, 0.0)
    smooth = ndimage.gaussian_filter1d(filled, width, axis=0, mode="nearest")
    smooth = smooth / np.maximum(share, 1e-6)[:, None]
    speed = np.sqrt(np.linalg.norm(np.gradient(smooth, axis=0), axis=1) * RATE_HZ)
    # Where part of the window is missing the mean jumps with what is left of it: that is no movement.
    whole = ndimage.binary_erosion(seen, iterations=round(2 * width), border_value=1)
    use = whole & (np.arange(len(seen)) >= width) & (np.arange(len(seen)) < len(seen) - width)
    kept = np.where(use, np.nan_to_num(weight), 0.0)
    if kept.sum() <= 0:
        return _Signal(np.zeros(len(seen)), np.zeros(len(seen)))
    centred = np.where(use, speed - np.average(speed, weights=kept), 0.0)
    return _Signal(centred, kept)


# --- lags --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scan:
    """Match (L,) at the lags (L,), in steps of the raster, and the overlap (L,) in s."""

    lags: np.ndarray
    match: np.ndarray
    overlap_s: np.ndarray


def _scan(pairs: list[tuple[_Signal, _Signal]], max_lag_s: float, start_s: float) -> _Scan | None:
    n_reference = len(pairs[0][0].value)
    n_target = len(pairs[0][1].value)
    lags = np.arange(-n_target + 1, n_reference)
    lags = lags[np.abs(lags / RATE_HZ + start_s) <= max_lag_s + 1.5 / RATE_HZ]
    if len(lags) < 3:
        return None
    seen = np.zeros(len(lags))
    match = np.zeros(len(lags))
    shortest = np.inf
    for first, second in pairs:
        is_first, is_second = (first.weight > 0).astype(float), (second.weight > 0).astype(float)
        n = np.round(_correlate(is_first, is_second, lags))
        seen = np.maximum(seen, n)
        shortest = min(shortest, is_first.sum(), is_second.sum())
        r = _correlation(first, second, lags)
        least = max(LEAST_OVERLAP_S * RATE_HZ, LEAST_OVERLAP_SHARE * shortest)
        independent = n / _correlation_time(first, second)
        match += np.where(n >= least, -independent * np.log1p(-(np.clip(r, 0.0, 0.999) ** 2)), 0.0)
    return _Scan(lags, match, seen / RATE_HZ)


def _correlate(a: np.ndarray, b: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """``sum_k a[k] b[k - lag]`` (L,)."""
    n = fft.next_fast_len(len(a) + len(b), real=True)
    return fft.irfft(fft.rfft(a, n) * np.conj(fft.rfft(b, n)), n)[lags]


def _correlation(a: _Signal, b: _Signal, lags: np.ndarray) -> np.ndarray:
    """Weighted correlation coefficient (L,) over the overlap at each lag."""
    moments = (
        _correlate(a.weight * a.value**i, b.weight * b.value**j, lags)
        for i, j in ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
    )
    return _coefficient(*moments)


def _coefficient(
    w: np.ndarray, a: np.ndarray, b: np.ndarray, aa: np.ndarray, bb: np.ndarray, ab: np.ndarray
) -> np.ndarray:
    """Correlation coefficient from weighted sums; 0 where there is nothing or nothing moves."""
    with np.errstate(divide="ignore", invalid="ignore"):
        var_a, var_b = aa / w - (a / w) ** 2, bb / w - (b / w) ** 2
        r = (ab / w - a * b / w**2) / np.sqrt(var_a * var_b)
    is_moving = (w > 1e-6) & (var_a > 1e-9) & (var_b > 1e-9)
    return np.where(is_moving, np.clip(np.nan_to_num(r), -1.0, 1.0), 0.0)


def _correlation_time(a: _Signal, b: _Signal) -> float:
    """Samples that a chance agreement of two signals lasts: their autocorrelations' products (Bartlett)."""
    lags = np.arange(int(RATE_HZ))
    product = np.ones(len(lags))
    for signal in (a, b):
        own = _correlate(signal.weight * signal.value, signal.weight * signal.value, lags)
        product = product * (own / own[0] if own[0] > 0 else np.eye(1, len(lags))[0])
    return float(max(1.0, 2 * product.sum() - 1))


def _find_peaks(scan: _Scan) -> list[int]:
    """Indices of the peaks, the highest first, none closer to a higher one than the clearance."""
    match = scan.match
    top = np.flatnonzero((match[1:-1] > match[:-2]) & (match[1:-1] >= match[2:]) & (match[1:-1] > 0)) + 1
    chosen: list[int] = []
    for index in top[np.argsort(match[top])[::-1]][:200]:
        if all(abs(index - other) > CLEARANCE_S * RATE_HZ for other in chosen):
            chosen.append(int(index))
        if len(chosen) >= MOST_CANDIDATES:
            break
    return chosen


def _refine(scan: _Scan, peak: int) -> float:
    return (float(scan.lags[peak]) + _parabola(scan.match[peak - 1 : peak + 2])) / RATE_HZ


def _parabola(y: np.ndarray) -> float:
    bend = float(y[0]) - 2 * float(y[1]) + float(y[2])
    return float(np.clip((float(y[0]) - float(y[2])) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


# --- standard error ----------------------------------------------------------------------------------


def _jackknife(pairs: list[tuple[_Signal, _Signal]], lag: int) -> float:
    """Standard error in s: how the top near a lag moves when one stretch after the other is left out."""
    near = np.arange(lag - _REACH, lag + _REACH + 1)
    sums, taus, counts = [], [], []
    n_blocks = 0
    for first, second in pairs:
        n = len(first.value)
        n_blocks = int(np.clip(n / (_BLOCK_S * RATE_HZ), 4, 60))
        edges = np.linspace(0, n, n_blocks + 1).astype(int)[:-1]
        sums.append(np.stack([_block_sums(first, second, int(at), edges) for at in near], axis=1))
        taus.append(_correlation_time(first, second))
        counts.append(float((first.weight > 0).sum()))
    filled = np.array([np.any([s[0, _REACH, k] > 0 for s in sums]) for k in range(n_blocks)])
    if filled.sum() < 4:
        return float("nan")
    places = np.array([_top(sums, taus, counts, int(k)) for k in np.flatnonzero(filled)])
    n_filled = len(places)
    variance = (n_filled - 1) / n_filled * float(np.sum((places - places.mean()) ** 2))
    return float(np.hypot(np.sqrt(variance) / RATE_HZ, LEAST_SIGMA_S))


def _block_sums(a: _Signal, b: _Signal, lag: int, edges: np.ndarray) -> np.ndarray:
    """The six weighted sums at one lag, block by block of the reference's raster: (6, blocks)."""
    n = len(a.value)
    at = np.arange(n) - lag
    inside = (at >= 0) & (at < len(b.value))
    at = np.clip(at, 0, len(b.value) - 1)
    weight = np.where(inside, a.weight * b.weight[at], 0.0)
    x, y = a.value, b.value[at]
    products = weight * np.stack([np.ones(n), x, y, x * x, y * y, x * y])
    return np.add.reduceat(products, edges, axis=1)


def _top(sums: list[np.ndarray], taus: list[float], counts: list[float], left_out: int) -> float:
    """Place of the highest match, in steps from the middle lag, without one block."""
    match = np.zeros(2 * _REACH + 1)
    for blocks, tau, n in zip(sums, taus, counts, strict=True):
        r = _coefficient(*(blocks.sum(axis=2) - blocks[:, :, left_out]))
        match += -n / tau * np.log1p(-(np.clip(r, 0.0, 0.999) ** 2))
    peak = int(np.clip(match.argmax(), 1, len(match) - 2))
    return peak + _parabola(match[peak - 1 : peak + 2]) - _REACH
