"""Offset and drift of two clocks from the sound that both recorded (seed 000, section 3, and more).

The way from two sound tracks to an offset:

1. Cross-correlation by FFT within 60 s either way, on sound whose spectrum is flattened in part, which
   makes narrow peaks of music's broad ones (generalised cross-correlation, Knapp and Carter 1976).
2. Windows along the recording, each correlated by itself close to that peak; their correlations are added
   up along every line offset + drift * t, and the highest sum gives the line. A window that slips by one
   period of a tone does not matter to the sum.
3. The windows' own peaks near that line give the drift by weighted least squares, its standard error, and
   that of the offset. A short take says little of the drift: it is shrunk towards zero by what is known of
   quartz clocks, so that it never makes a short take worse.
4. With the target brought to the reference's rate, the likeliest lag is looked for once more: of a bar that
   comes again the highest sum prefers the repeat that shares most time.
5. Seed 000's cross-correlation of the sound as recorded, with its parabola and its confidence, gives the
   offset near that lag.

Sound takes 2.9 ms for every metre: a microphone a metre further from the keys than the reference's hears
everything 2.9 ms later, so that its offset comes out 2.9 ms too small. The sigma does not contain that;
`pipeline.sync.cameras.travel_time_s` tells how much it is once the cameras' places are known.

What sound cannot tell: two recordings that share an exact copy of three seconds of sound, and not the
moment when it was heard (a loop longer than the take, of which each camera heard another round).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage, signal

from pipeline.errors import SyncError
from pipeline.results import Verdict

RATE_HZ = 16000
MAX_LAG_S = 60.0
RELIABLE_CONFIDENCE = 0.7
MANUAL_CONFIDENCE = 0.3

MAX_DRIFT_PPM = 200.0
"""Clocks of phones and recorders differ by less (145 ppm is the most that was found in the field)."""
DOUBTFUL_DRIFT_PPM = 100.0
DRIFT_PRIOR_PPM = 40.0
"""Standard deviation of the difference of two quartz clocks before anything is measured."""

SILENCE_RMS = 3e-5
"""-90 dB of full scale: one step of 16 bits."""
SHORTEST_SOUND_S = 0.1
CLIPPED_LEVEL = 0.999
CLIPPED_SHARE = 0.01
SILENT_BLOCK_S = 0.1
SILENT_SHARE = 0.25
SILENT_RATIO = 1e-3
"""60 dB below the whole: less than any room, so the recorder was muted or lost its sound."""
SHORT_OVERLAP_S = 3.0
REPETITION_RATIO = 0.75
REPETITION_CLEARANCE_S = 0.1
"""Closer peaks are the tone's own periods and the room's echoes, not a repeat of the music."""
REPEAT_MATCH_SHARE = 0.7
"""A repeat matches about as well as the original; a lag that fits by chance does not."""
SHORTEST_OVERLAP_S = 1.0
SHORTEST_OVERLAP_SHARE = 0.05
POLARITY_SHARE = 0.3
"""A peak that a drift smears has its other sign nearly as high, or higher."""
RIVAL_OVERLAP_S = 0.5
RIVAL_SURROUNDINGS_S = 0.25
RIVAL_SCORE = 3.2
"""Takes without repeats stay below 2.7, repeats that leave a second or two of overlap have 3.9 and more."""
JUMP_REACH_S = 0.1
JUMP_SHARE = 0.2
MATCH_SCORE = 6.0
AGREED_MATCH_SCORE = 4.0
AGREED_SHARE = 0.75
"""Of 140 unrelated pairs none had a score above 5.5, none above 4 with a share above 0.7."""
AGREEMENT_S = 2e-3
AGREEING_SHARE = 0.4
WINDOW_REACH_S = 1e-3
WINDOW_SIGMA_S = 5e-5
"""What a window's offset is uncertain by at least: echoes differ from tone to tone."""
DRIFT_SPAN_S = 5.0
"""Shorter recordings say nothing of the drift."""
WHITENING = 0.7
LOW_CUT_HZ = 60.0
FADE_S = 0.02


@dataclass(frozen=True)
class OffsetEstimate:
    """How a target's clock relates to a reference's, from their sound.

    Attributes
    ----------
    offset_s : float
        ``t_reference = t_target + offset_s + drift_ppm * 1e-6 * t_target``.
    sigma_s : float
        Standard error of ``offset_s``, from the spread of the windows; NaN with too few of them.
    drift_ppm, drift_sigma_ppm : float
        Clock drift and its standard error, parts per million, both after shrinking.
    confidence : float
        Seed 000, section 3: ``min(1, c[peak] / (20 median|c| + eps))``.
    agreement : float
        Share of the windows whose own highest correlation lies on the line; NaN without windows.
    match : float
        How far the windows' correlations along the line rise above their own scatter, in standard deviations.
        Unrelated sound stays below `MATCH_SCORE`.
    rival : float
        Height of the highest other peak relative to the chosen one, for equal overlaps.
    rival_offset_s : float
        Another offset that matches by itself, however short the overlap that it leaves; NaN without one.
    jump_s : float
        By how much later the reference hears what the other windows hear, where a good part of them agree on
        an offset of their own: the sound has a gap; 0 if not.
    overlap_s : float
        How long both recorded.
    verdict : "reliable" | "check" | "failed"
    reasons : tuple of str
        Why the verdict is not "reliable".
    """

    offset_s: float
    sigma_s: float
    drift_ppm: float
    drift_sigma_ppm: float
    confidence: float
    agreement: float
    match: float
    rival: float
    rival_offset_s: float
    jump_s: float
    overlap_s: float
    verdict: Verdict
    reasons: tuple[str, ...] = ()


def find_offset(reference: np.ndarray, target: np.ndarray, rate_hz: int = RATE_HZ) -> OffsetEstimate:
    """Offset and drift of a target's clock against a reference's, from their sound.

    Parameters
    ----------
    reference : ndarray (N,)
        Sound on the reference's clock, sample k at ``k / rate_hz``; any level.
    target : ndarray (M,)
        Sound on the target's clock likewise.
    rate_hz : int
        Sampling rate of both, in Hz; seed 000 has 16000.

    Returns
    -------
    OffsetEstimate

    Raises
    ------
    SyncError
        One of them is silent or shorter than a tenth of a second.

    Notes
    -----
    Seed 000, section 3: ``c[n] = sum_k a_ref[k] a_target[k + n]``, the peak within 60 s, the parabola
    ``(y0 - y2) / (2 (y0 - 2 y1 + y2))`` through it and its neighbours, and the confidence. A sound that
    comes first in the reference and n samples later in the target means that the target's clock is ahead:
    ``offset_s = -n / rate_hz``.
    """
    for name, samples in (("reference", reference), ("target", target)):
        if len(samples) < SHORTEST_SOUND_S * rate_hz:
            raise SyncError(f"The {name}'s sound is too short to compare.", "Record for longer.")
        if rms_level(samples) < SILENCE_RMS:
            raise SyncError(f"The {name}'s sound is silent.", "Use a recording with sound.")
    plain = [_high_pass(samples, rate_hz) for samples in (reference, target)]
    sharp = [_flatten(samples, rate_hz) for samples in plain]
    line, polarity = _first_line(sharp, plain, rate_hz)
    plain[1], sharp[1] = polarity * plain[1], polarity * sharp[1]
    fits = _fit_of_lags([sharp[0], _resample(sharp[1], line.drift_ppm)], rate_hz)
    likeliest_s = -fits.likeliest / rate_hz
    if abs(likeliest_s - line.offset_s) > WINDOW_REACH_S:
        other = _fit_line(sharp, plain, likeliest_s, rate_hz)
        if other.match > REPEAT_MATCH_SHARE * line.match:
            line = other
            fits = _fit_of_lags([sharp[0], _resample(sharp[1], line.drift_ppm)], rate_hz)
    level = [plain[0], _resample(plain[1], line.drift_ppm)]
    lags, c = _correlate(level[0], level[1], rate_hz)
    peak = _peak_near(c, lags, -line.offset_s * rate_hz, max(1, round(WINDOW_REACH_S * rate_hz)))
    offset_s = -(lags[peak] + _parabola(c[peak - 1 : peak + 2])) / rate_hz
    confidence = float(_confidence(c)[peak])
    overlap_s = _overlap(len(reference), len(level[1]), offset_s * rate_hz) / rate_hz
    estimate = OffsetEstimate(
        offset_s=float(offset_s),
        sigma_s=line.sigma_s,
        drift_ppm=line.drift_ppm,
        drift_sigma_ppm=line.drift_sigma_ppm,
        confidence=confidence,
        agreement=line.agreement,
        match=line.match,
        rival=fits.rival(-offset_s * rate_hz, rate_hz),
        rival_offset_s=-fits.rival_lag(-offset_s * rate_hz, rate_hz) / rate_hz,
        jump_s=_find_jump(line, sharp, plain, rate_hz),
        overlap_s=overlap_s,
        verdict="reliable",
    )
    return _judge(estimate, line.offset_s, (reference, target))


def find_drift(reference: np.ndarray, target: np.ndarray, offset_s: float, rate_hz: int = RATE_HZ) -> float:
    """Drift of a target's clock whose offset a person has set, in ppm.

    Parameters
    ----------
    reference, target : ndarray (N,), (M,)
        As for `find_offset`, neither silent.
    offset_s : float
        The offset in use; 20 ms off at most, or the sounds will not be found to match there.
    rate_hz : int
        Sampling rate of both, in Hz.

    Returns
    -------
    float
        NaN where the two do not sound alike at that offset.
    """
    plain = [_high_pass(samples, rate_hz) for samples in (reference, target)]
    sharp = [_flatten(samples, rate_hz) for samples in plain]
    lines = []
    for polarity in (1, -1):
        turned = [[tracks[0], polarity * tracks[1]] for tracks in (sharp, plain)]
        lines.append(_fit_line(turned[0], turned[1], offset_s, rate_hz))
    line = max(lines, key=lambda one: one.match)
    return line.drift_ppm if is_match(line) else float("nan")


def _judge(
    estimate: OffsetEstimate, line_offset_s: float, tracks: tuple[np.ndarray, np.ndarray]
) -> OffsetEstimate:
    """Verdict and reasons, as sentences; what is wrong with a track is said where there is doubt."""
    doubts = [*_doubt_peak(estimate), *_doubt_windows(estimate, line_offset_s)]
    if doubts:
        doubts += _list_faults("reference camera", tracks[0]) + _list_faults("camera", tracks[1])
    is_lost = estimate.confidence < MANUAL_CONFIDENCE or not is_match(estimate)
    verdict: Verdict = "failed" if is_lost else "check" if doubts else "reliable"
    return replace(estimate, verdict=verdict, reasons=tuple(doubts))


def _doubt_peak(estimate: OffsetEstimate) -> list[str]:
    doubts = []
    if estimate.confidence < RELIABLE_CONFIDENCE:
        doubts.append(
            f"The peak of the cross-correlation is low (confidence {estimate.confidence:.2f}, reliable from "
            f"{RELIABLE_CONFIDENCE})."
        )
    if estimate.match < MATCH_SCORE:
        doubts.append(f"The two sounds hardly match (score {estimate.match:.1f} of {MATCH_SCORE:.0f}).")
    is_known = bool(np.isfinite(estimate.rival_offset_s))
    which = f"an offset of {estimate.rival_offset_s:.3f} s" if is_known else "another offset"
    if REPETITION_RATIO < estimate.rival < float("inf"):  # infinite: too short an overlap to compare any
        doubts.append(f"The sound repeats itself: {which} fits as well or nearly so ({estimate.rival:.0%}).")
    elif is_known:
        doubts.append(f"The sound repeats itself: {which} matches too.")
    return doubts


def _doubt_windows(estimate: OffsetEstimate, line_offset_s: float) -> list[str]:
    doubts = []
    is_apart = abs(estimate.offset_s - line_offset_s) > AGREEMENT_S or estimate.sigma_s > AGREEMENT_S
    if estimate.jump_s:
        doubts.append(
            "The windows along the recording disagree about the offset: that of a part is "
            f"{estimate.jump_s * 1e3:+.0f} ms apart, as if sound were missing between."
        )
    elif is_apart or estimate.agreement < AGREEING_SHARE:
        doubts.append("The windows along the recording disagree about the offset.")
    heard_s = estimate.agreement * estimate.overlap_s
    if estimate.overlap_s < SHORT_OVERLAP_S:
        doubts.append(f"The recordings share only {estimate.overlap_s:.1f} s.")
    elif heard_s < SHORT_OVERLAP_S:
        doubts.append(f"Of {estimate.overlap_s:.1f} s that both recorded only {heard_s:.1f} s sound alike.")
    if abs(estimate.drift_ppm) > DOUBTFUL_DRIFT_PPM:
        doubts.append(f"The clocks drift by {estimate.drift_ppm:.0f} ppm, more than clocks do.")
    return doubts


def _list_faults(name: str, samples: np.ndarray) -> list[str]:
    faults = []
    if np.mean(np.abs(samples) >= CLIPPED_LEVEL) > CLIPPED_SHARE:
        faults.append(f"The {name}'s sound is clipped.")
    if (share := silent_share(samples)) > SILENT_SHARE:
        faults.append(f"The {name}'s sound is silent for {share:.0%} of the time.")
    return faults


def is_match(estimate: OffsetEstimate | _Line) -> bool:
    """Whether the two heard the same. The confidence does not tell: unrelated music reaches 0.8."""
    is_agreed = estimate.match >= AGREED_MATCH_SCORE and estimate.agreement >= AGREED_SHARE
    return estimate.match >= MATCH_SCORE or is_agreed


@dataclass(frozen=True)
class OffsetRatings:
    """How good every offset is; both have one value for each lag of a whole sample within 60 s.

    Attributes
    ----------
    offset_s : ndarray (L,)
        Descending.
    confidence : ndarray (L,)
        Seed 000: ``min(1, c[lag] / (20 median|c| + eps))``; 0 where the correlation is negative.
    fit : ndarray (L,)
        Correlation of the flattened sound over what both share, 1 at the highest; 0 where they share too
        little. Unlike the confidence it has no ceiling, so it tells rivals apart.
    """

    offset_s: np.ndarray
    confidence: np.ndarray
    fit: np.ndarray


def rate_offsets(
    reference: np.ndarray, target: np.ndarray, drift_ppm: float, offset_s: float, rate_hz: int = RATE_HZ
) -> OffsetRatings:
    """How good every offset is, so that a person sees the rivals of the best one.

    Parameters
    ----------
    reference, target : ndarray (N,), (M,)
        As for `find_offset`; of silence all is 0.
    drift_ppm : float
        Drift of the target's clock, taken out before.
    offset_s : float
        The offset in use, whose neighbourhood tells whether one microphone is wired the other way round;
        NaN if not known.
    rate_hz : int
        Sampling rate of both, in Hz.
    """
    plain = [_high_pass(samples, rate_hz) for samples in (reference, _resample(target, drift_ppm))]
    sharp = [_flatten(samples, rate_hz) for samples in plain]
    lags, c = _correlate(plain[0], plain[1], rate_hz)
    fit = _fit_of_lags(sharp, rate_hz).fit
    near = fit
    if np.isfinite(offset_s):
        near = fit[np.abs(lags + offset_s * rate_hz) <= WINDOW_REACH_S * rate_hz]
    if len(near) and -float(near.min()) > float(near.max()):
        c, fit = -c, -fit
    highest = max(float(fit.max()), float(np.finfo(float).tiny))
    return OffsetRatings(-lags / rate_hz, _confidence(c), np.clip(fit / highest, 0.0, 1.0))


# --- signals -----------------------------------------------------------------------------------------


def _confidence(c: np.ndarray) -> np.ndarray:
    """Seed 000: ``min(1, c / (20 median|c| + eps))`` at every lag (L,), 0 where ``c`` is negative."""
    eps = float(np.finfo(c.dtype).eps)
    return np.clip(c / (20 * float(np.median(np.abs(c))) + eps), 0.0, 1.0)


def rms_level(samples: np.ndarray) -> float:
    """Root mean square of samples (N,), on their own scale; 0 without samples."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def silent_share(samples: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """Share of samples (N,) that lie in silent tenths of a second, 0 to 1; 1 without samples."""
    block = round(SILENT_BLOCK_S * rate_hz)
    if len(samples) < block:
        return float(rms_level(samples) < SILENCE_RMS)
    power = np.square(samples[: len(samples) // block * block], dtype=np.float64)
    level = np.sqrt(power.reshape(-1, block).mean(axis=1))
    return float(np.mean(level < max(SILENCE_RMS, SILENT_RATIO * rms_level(samples))))


def _high_pass(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Take away hum, handling and the constant part, without moving anything in time."""
    sos = signal.butter(2, LOW_CUT_HZ, "highpass", fs=rate_hz, output="sos")
    samples = samples - samples.mean(dtype=np.float64)
    # Two abrupt beginnings are alike, and would match at the lag 0.
    fade = signal.windows.tukey(len(samples), min(1.0, 2 * FADE_S * rate_hz / len(samples)))
    return (fade * signal.sosfiltfilt(sos, samples)).astype(np.float32)


def _flatten(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Divide the spectrum by its own smoothed size to the power `WHITENING`; phases stay."""
    n = fft.next_fast_len(len(samples) + 2048, real=True)
    hertz, power = signal.welch(samples, rate_hz, nperseg=min(2048, len(samples)))
    size = np.sqrt(np.interp(fft.rfftfreq(n, 1 / rate_hz), hertz, power))
    loudest = max(float(size.max()), float(np.finfo(float).tiny))  # 0 of a silent track
    gain = 1 / np.maximum(size / loudest, 1e-3) ** WHITENING
    return fft.irfft(fft.rfft(samples, n) * gain.astype(np.float32), n)[: len(samples)].astype(np.float32)


def _correlate(reference: np.ndarray, target: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Lags n within 60 s (L,) and ``c[n] = sum_k reference[k] target[k + n]`` (L,)."""
    c = signal.correlate(target, reference, mode="full", method="fft")
    lags = np.arange(len(c)) - (len(reference) - 1)
    within = np.abs(lags) <= MAX_LAG_S * rate_hz + 1  # the outermost peak needs a neighbour
    return lags[within], c[within]


def _peak_near(c: np.ndarray, lags: np.ndarray, lag: float, reach: int) -> int:
    """Index of the highest value within ``reach`` of ``lag``, with a neighbour on each side."""
    centre = int(np.clip(round(lag) - lags[0], 1, len(c) - 2))
    low, high = max(1, centre - reach), min(len(c) - 2, centre + reach)
    return low + int(np.argmax(c[low : high + 1]))


def _parabola(y: np.ndarray) -> float:
    """Place of the top of a parabola through three values, from the middle one, -0.5 to 0.5."""
    bend = float(y[0]) - 2 * float(y[1]) + float(y[2])
    return float(np.clip((float(y[0]) - float(y[2])) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _resample(samples: np.ndarray, drift_ppm: float) -> np.ndarray:
    """Sound on a clock that runs ``1 + drift`` times as fast: sample k was at ``k / (1 + drift)``."""
    n = len(samples)
    if abs(drift_ppm) * 1e-6 * n < 0.1:
        return samples
    at = np.arange(round(n * (1 + drift_ppm * 1e-6))) / (1 + drift_ppm * 1e-6)
    return ndimage.map_coordinates(samples, [at], order=3, mode="nearest").astype(np.float32)


def _overlap(n_reference: int, n_target: int, offset: float) -> float:
    """Samples that both share when the target's sample 0 is the reference's sample ``offset``."""
    return float(max(0.0, min(n_reference, n_target + offset) - max(0.0, offset)))


@dataclass(frozen=True)
class _Fits:
    """Correlation coefficient (L,) of two sounds' overlap at each of the lags (L,), and its length (L,).

    ``is_long`` (L,) tells where the overlap is long enough to be chosen.
    """

    lags: np.ndarray
    fit: np.ndarray
    length: np.ndarray
    is_long: np.ndarray

    @property
    def likeliest(self) -> int:
        """The lag of highest likelihood: Gaussian signals so correlated where they overlap, else not at all.

        The plain correlation grows with the overlap and so prefers, of a bar that comes again and
        again, the repeat that shares most time; this one prefers the repeat that fits.
        """
        fit = np.where(self.is_long, np.clip(self.fit, 0.0, 0.999), 0.0)
        return int(self.lags[int((-self.length * np.log1p(-(fit**2))).argmax())])

    def rival(self, lag: float, rate_hz: int) -> float:
        """Height of the highest other peak over the chosen one."""
        distance = np.abs(self.lags - lag)
        own = self.fit[self.is_long & (distance <= 2e-3 * rate_hz)].max(initial=0.0)
        other = self.fit[self.is_long & (distance > REPETITION_CLEARANCE_S * rate_hz)].max(initial=0.0)
        return float(other / own) if own > 0 else float("inf")

    def rival_lag(self, lag: float, rate_hz: int) -> float:
        """Another lag that matches by itself, however short the overlap that it leaves; NaN without one.

        Only sound that comes again does that: the true lag may leave so short an overlap that its repeat,
        which leaves more, seems better. Its peak stands alone, where music that is merely alike has
        many as high: the score is the peak's height over the usual one around it, times the square root
        of its height over that of the chosen one.
        """
        width = 1 + 2 * round(RIVAL_SURROUNDINGS_S * rate_hz)
        is_there = ndimage.uniform_filter1d((self.fit != 0).astype(float), width, mode="constant")
        around = ndimage.uniform_filter1d(np.abs(self.fit), width, mode="constant")
        usual = 1.25 * around / np.maximum(is_there, 1e-3)  # as a standard deviation
        distance = np.abs(self.lags - lag)
        own = float(self.fit[distance <= 2e-3 * rate_hz].max(initial=0.0))
        other = np.where(distance > REPETITION_CLEARANCE_S * rate_hz, np.maximum(self.fit, 0.0), 0.0)
        score = other / np.maximum(usual, 1e-9) * np.sqrt(other / max(own, 1e-9))
        return float(self.lags[int(score.argmax())]) if score.max() > RIVAL_SCORE else float("nan")


def _fit_of_lags(tracks: list[np.ndarray], rate_hz: int) -> _Fits:
    """How well two sounds fit at each lag; too short an overlap fits 0, whatever it holds."""
    reference, target = tracks
    lags, c = _correlate(reference, target, rate_hz)
    energy_r = np.concatenate([[0.0], np.cumsum(np.square(reference, dtype=np.float64))])
    energy_t = np.concatenate([[0.0], np.cumsum(np.square(target, dtype=np.float64))])
    first = np.maximum(0, -lags)
    last = np.maximum(first, np.minimum(len(reference), len(target) - lags))
    shared = (energy_r[last] - energy_r[first]) * (energy_t[last + lags] - energy_t[first + lags])
    length = last - first
    shorter = min(len(reference), len(target))
    is_long = length >= max(SHORTEST_OVERLAP_S * rate_hz, SHORTEST_OVERLAP_SHARE * shorter)
    least = 1e-6 * energy_r[-1] * energy_t[-1]
    enough = (length >= RIVAL_OVERLAP_S * rate_hz) & (shared > least)
    fit = np.divide(c, np.sqrt(shared), out=np.zeros(len(c)), where=enough)
    return _Fits(lags, fit, length, is_long)


# --- the line offset + drift * t ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """``t_reference - t_target = offset_s + drift_ppm * 1e-6 * t_target``, with standard errors."""

    offset_s: float
    sigma_s: float
    drift_ppm: float
    drift_sigma_ppm: float
    match: float = 0.0
    agreement: float = float("nan")


@dataclass(frozen=True)
class _Windows:
    """Correlations of the windows along the target.

    ``time_s`` (W,) middles on the target's clock; ``fit`` (W, 2 S + 1) correlation coefficients of the
    flattened sound, ``plain`` likewise the plain sum of products of the sound as recorded; column j stands
    for ``t_reference - t_target = start_s + (j - S) / rate``.
    """

    time_s: np.ndarray
    fit: np.ndarray
    plain: np.ndarray
    reach: int


def _first_line(sharp: list[np.ndarray], plain: list[np.ndarray], rate_hz: int) -> tuple[_Line, int]:
    """The line through the highest peak, and -1 if one microphone is wired the other way round, else 1.

    Drift smears the peak of a long recording over the milliseconds that the clocks part by, until a
    chance alignment of tones can stand higher: so power is added up over that width. What is left of the
    peak's sign says little then: the windows decide.
    """
    lags, c = _correlate(sharp[0], sharp[1], rate_hz)
    shared = min(len(sharp[0]), len(sharp[1]))
    width = 1 + 2 * round(DRIFT_PRIOR_PPM * 1e-6 * shared)
    centre = int(ndimage.uniform_filter1d(np.square(c, dtype=np.float64), width, mode="constant").argmax())
    near = c[max(0, centre - width) : centre + width + 1]
    heights = {1: float(near.max()), -1: -float(near.min())}
    lines = []
    for polarity, height in heights.items():
        if height > POLARITY_SHARE * max(heights.values()):
            turned = [[tracks[0], polarity * tracks[1]] for tracks in (sharp, plain)]
            lines.append((_fit_line(turned[0], turned[1], -float(lags[centre]) / rate_hz, rate_hz), polarity))
    return max(lines, key=lambda found: found[0].match)


def _fit_line(sharp: list[np.ndarray], plain: list[np.ndarray], start_s: float, rate_hz: int) -> _Line:
    windows = _cut_windows(sharp, plain, start_s, rate_hz)
    unknown = float("nan")
    if len(windows.time_s) == 0:
        return _Line(start_s, unknown, 0.0, DRIFT_PRIOR_PPM)
    columns, match = _stack(windows, rate_hz)
    offsets, weights = _window_peaks(windows, columns, rate_hz)
    line = _least_squares(windows.time_s, start_s + offsets, weights)
    agrees = np.abs(windows.fit.argmax(axis=1) - columns) <= WINDOW_REACH_S * rate_hz
    return replace(line, match=match, agreement=float(agrees.mean()))


def _find_jump(line: _Line, sharp: list[np.ndarray], plain: list[np.ndarray], rate_hz: int) -> float:
    """Offset of the windows off the line from it, in s, where they agree on one; else 0.

    A recorder that loses sound for a moment has two offsets, and the line goes through the longer part.
    """
    windows = _cut_windows(sharp, plain, line.offset_s, rate_hz, JUMP_REACH_S)
    if len(windows.time_s) == 0:
        return 0.0
    expected = windows.reach + (line.drift_ppm * 1e-6 * windows.time_s) * rate_hz
    is_off = np.abs(windows.fit.argmax(axis=1) - expected) > WINDOW_REACH_S * rate_hz
    if is_off.sum() < max(2, JUMP_SHARE * len(is_off)):
        return 0.0
    rest = replace(
        windows, time_s=windows.time_s[is_off], fit=windows.fit[is_off], plain=windows.plain[is_off]
    )
    columns, match = _stack(rest, rate_hz)
    jump_s = float(np.median(columns - expected[is_off])) / rate_hz
    return jump_s if match >= MATCH_SCORE and abs(jump_s) > AGREEMENT_S else 0.0


def _cut_windows(
    sharp: list[np.ndarray],
    plain: list[np.ndarray],
    start_s: float,
    rate_hz: int,
    reach_s: float = 0.02,
) -> _Windows:
    shift = round(start_s * rate_hz)
    n_reference, n_target = len(sharp[0]), len(sharp[1])
    first, last = max(0, -shift), min(n_target, n_reference - shift)
    shared_s = max(1e-9, (last - first) / rate_hz)
    n_windows = max(1, round(shared_s / np.clip(shared_s / 24, min(1.0, shared_s / 4), 4.0)))
    length = max(0, last - first) // n_windows
    reach = round((reach_s + MAX_DRIFT_PPM * 1e-6 * shared_s) * rate_hz)
    padded = [[np.pad(tracks[0], reach), tracks[1]] for tracks in (sharp, plain)]
    times, fits, sums = [], [], []
    for begin in range(first, last - length + 1, length) if length > rate_hz // 20 else ():
        own = slice(begin, begin + length)
        around = slice(begin + shift, begin + shift + length + 2 * reach)  # padded: starts `reach` earlier
        there, here = padded[0][0][around], padded[0][1][own]
        energy = np.cumsum(np.concatenate([[0.0], np.square(there, dtype=np.float64)]))
        size = np.sqrt((energy[length:] - energy[:-length]) * np.sum(np.square(here, dtype=np.float64)))
        if float(size.max()) <= 0:
            continue
        c = signal.correlate(there, here, mode="valid", method="fft")
        fits.append(c / np.maximum(size, 1e-3 * size.max()))
        sums.append(signal.correlate(padded[1][0][around], padded[1][1][own], mode="valid", method="fft"))
        times.append((begin + length / 2) / rate_hz)
    shape = (len(times), 2 * reach + 1)
    return _Windows(np.array(times), np.array(fits).reshape(shape), np.array(sums).reshape(shape), reach)


def _stack(windows: _Windows, rate_hz: int) -> tuple[np.ndarray, float]:
    """The line along which the windows' correlations add up highest.

    Returns
    -------
    columns : ndarray (W,)
        The line's column in each window (not whole numbers).
    match : float
        Height of the sum in standard deviations of such sums elsewhere.
    """
    fit, reach = windows.fit, windows.reach
    n_columns = fit.shape[1]
    lever_s = windows.time_s - windows.time_s.mean()
    span_s = max(float(np.abs(lever_s).max()), 1e-9)
    is_long = 2 * span_s >= DRIFT_SPAN_S
    steps = int(np.ceil(MAX_DRIFT_PPM * 1e-6 * span_s * rate_hz * 2)) if is_long else 0
    drifts = np.linspace(-MAX_DRIFT_PPM, MAX_DRIFT_PPM, 2 * steps + 1) * 1e-6 if steps else np.zeros(1)
    best = (-np.inf, 0, 0.0)
    margin = int(np.ceil(MAX_DRIFT_PPM * 1e-6 * span_s * rate_hz)) + 1
    padded = np.pad(fit, ((0, 0), (margin, margin)))
    for drift in drifts:
        begin = margin + np.round(drift * lever_s * rate_hz).astype(int)
        total = sum(row[b : b + n_columns] for row, b in zip(padded, begin, strict=True))
        column = int(np.argmax(total))
        if total[column] > best[0]:
            best = (float(total[column]), column, float(drift))
    height, column, drift = best
    scatter = float(np.sqrt(np.sum(np.median(np.abs(fit), axis=1) ** 2))) / 0.6745
    columns = column + drift * lever_s * rate_hz
    return np.clip(columns, 1, 2 * reach - 1), height / max(scatter, 1e-12)


def _window_peaks(windows: _Windows, columns: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Each window's own peak near the line: offsets from the start value (W,) in s, and weights (W,).

    The weight is the bend of the plain correlation at its peak: the correlation over everything, which
    is the sum of the windows', has its peak at the mean of theirs so weighted.
    """
    near = max(1, round(WINDOW_REACH_S * rate_hz))
    offsets, weights = [], []
    for row, column in zip(windows.plain, columns, strict=True):
        peak = _peak_near(row, np.arange(len(row)), float(column), near)
        y = row[peak - 1 : peak + 2].astype(float)
        is_peak = y[1] >= y[0] and y[1] >= y[2] and y[1] > 0
        offsets.append((peak + _parabola(y) - windows.reach) / rate_hz)
        weights.append(2 * y[1] - y[0] - y[2] if is_peak else 0.0)
    return np.array(offsets), np.array(weights)


def _least_squares(time_s: np.ndarray, offset_s: np.ndarray, weight: np.ndarray) -> _Line:
    """Weighted least squares with outliers left out, the drift shrunk by what is known of clocks.

    Standard errors come from the windows' own residuals (White's sandwich), so that loud windows that
    disagree count as what they are.
    """
    unknown = float("nan")
    use = weight > 0
    drift = 0.0
    for _ in range(4):
        if not use.any():
            return _Line(float(np.median(offset_s)), unknown, 0.0, DRIFT_PRIOR_PPM)
        share = np.where(use, weight, 0.0) / weight[use].sum()
        middle_s, mean_s = float(share @ time_s), float(share @ offset_s)
        lever = time_s - middle_s
        moment = float(share @ lever**2)
        drift = float(share @ (lever * (offset_s - mean_s))) / moment if moment > 0 else 0.0
        residual = offset_s - mean_s - drift * lever
        spread = 1.4826 * float(np.median(np.abs(residual[use])))
        use = (weight > 0) & (np.abs(residual) <= max(4 * spread, 2e-5))
    n = int(use.sum())
    if n < 3 or moment <= 0:
        return _Line(mean_s, unknown, 0.0, DRIFT_PRIOR_PPM)
    prior = (DRIFT_PRIOR_PPM * 1e-6) ** 2
    if np.ptp(time_s[use]) < DRIFT_SPAN_S:
        drift, var_drift, few = 0.0, prior, n / (n - 1)
    else:
        few = n / (n - 2)
        noise = few * residual**2 + WINDOW_SIGMA_S**2
        var_drift = float((share * lever) ** 2 @ noise) / moment**2
        shrink = prior / (prior + var_drift)
        drift, var_drift = shrink * drift, shrink * var_drift
    residual = offset_s - mean_s - drift * lever
    var_mean = float(share**2 @ (few * residual**2 + WINDOW_SIGMA_S**2))
    return _Line(
        offset_s=mean_s - drift * middle_s,
        sigma_s=float(np.sqrt(var_mean + middle_s**2 * var_drift)),
        drift_ppm=drift * 1e6,
        drift_sigma_ppm=float(np.sqrt(var_drift)) * 1e6,
    )
