"""One clock for all cameras, from the sound that they share (seed 000, section 3, and what it leaves open).

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

Sound takes 2.9 ms for every metre: a microphone a metre further from the keys than the reference's makes its
camera seem 2.9 ms late. The sigma does not contain that.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import fft, ndimage, signal

from pipeline.errors import SyncError
from pipeline.progress import Reporter
from pipeline.results import CameraSync, SyncResult, Verdict
from pipeline.session import Session
from pipeline.video import probe, read_audio

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
CLIPPED_LEVEL = 0.999
CLIPPED_SHARE = 0.01
SHORT_OVERLAP_S = 3.0
REPETITION_RATIO = 0.75
REPETITION_CLEARANCE_S = 0.1
"""Closer peaks are the tone's own periods and the room's echoes, not a repeat of the music."""
REPEAT_MATCH_SHARE = 0.7
"""A repeat matches about as well as the original; a lag that fits by chance does not."""
SHORTEST_OVERLAP_S = 1.0
SHORTEST_OVERLAP_SHARE = 0.05
MATCH_SCORE = 6.0
AGREED_MATCH_SCORE = 4.0
AGREED_SHARE = 0.75
"""Of 140 unrelated pairs none had a score above 5.5, none above 4 with a share above 0.7."""
AGREEMENT_S = 2e-3
AGREEING_SHARE = 0.4
WINDOW_REACH_S = 1e-3
CLOSURE_S = 2e-3
WINDOW_SIGMA_S = 5e-5
"""What a window's offset is uncertain by at least: echoes differ from tone to tone."""
DRIFT_SPAN_S = 5.0
"""Shorter recordings say nothing of the drift."""
WHITENING = 0.7
LOW_CUT_HZ = 60.0


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
    overlap_s: float
    verdict: Verdict
    reasons: tuple[str, ...] = ()


# --- sessions ----------------------------------------------------------------------------------------


def synchronise(session: Session, report: Reporter) -> SyncResult:
    """Bring all cameras of a session onto the reference camera's clock.

    An offset in ``session.toml`` wins over the measured one. Sessions made of keypoints have no sound:
    their cameras are taken as started together unless the settings say otherwise, and are marked so.

    Raises
    ------
    SyncError
        A camera has no sound or a silent track and no offset is given; the sound of two cameras has nothing
        in common; two cameras' times do not overlap. Names the camera and says what to do.
    pipeline.errors.VideoError
        A file cannot be read.
    """
    settings = session.settings
    if session.videos:
        return synchronise_videos(session.videos, settings.reference, report, settings.offset_s)
    cameras = {
        name: _given(name, settings.reference, settings.offset_s)
        or CameraSync(
            offset_s=0.0,
            sigma_s=float("nan"),
            confidence=0.0,
            verdict="check",
            reasons=("There is no sound beside keypoints: the cameras are taken as started together.",),
            source="none",
        )
        for name in session.cameras
    }
    return SyncResult(settings.reference, cameras, source=_common_source(cameras))


def synchronise_videos(
    videos: dict[str, Path],
    reference: str,
    report: Reporter,
    manual_offset_s: dict[str, float] | None = None,
) -> SyncResult:
    """As `synchronise`, for any set of files that were recorded together (the checkerboard takes too)."""
    given = {
        name: known
        for name in videos
        if (known := _given(name, reference, manual_offset_s or {})) is not None
    }
    unknown = [name for name in sorted(videos) if name not in given]
    tracks = _read_tracks(videos, [reference, *unknown] if unknown else [], report.part(0.0, 0.3))
    pairs = [(reference, name) for name in unknown]
    if len(unknown) > 1:  # the other sides of the triangles
        pairs += list(itertools.combinations(unknown, 2))
    found: dict[tuple[str, str], OffsetEstimate] = {}
    for count, (first, second) in enumerate(pairs):
        report.update(0.3 + 0.7 * count / len(pairs), f"Comparing the sound of {first} and {second}")
        found[first, second] = find_offset(tracks[first], tracks[second], RATE_HZ)
    for name in unknown:
        _require_match(found[reference, name], reference, name)
    closure_s, open_pairs = _closure(found, reference, unknown, tracks)
    cameras = dict(given)
    for name in unknown:
        cameras[name] = _to_camera_sync(found[reference, name], name in open_pairs, closure_s)
    result = SyncResult(
        reference, {name: cameras[name] for name in videos}, closure_s, _common_source(cameras)
    )
    _require_overlap(result, videos)
    for name, camera in result.cameras.items():
        if camera.verdict != "reliable":
            report.warn(f"Synchronisation of camera {name}: {' '.join(camera.reasons)}")
    report.update(1.0, "The cameras are on one clock")
    return result


def _given(name: str, reference: str, manual_offset_s: dict[str, float]) -> CameraSync | None:
    if name == reference:
        return CameraSync(offset_s=0.0, source="reference")
    if name in manual_offset_s:
        unknown = float("nan")
        return CameraSync(
            offset_s=manual_offset_s[name], sigma_s=unknown, confidence=unknown, source="manual"
        )
    return None


def _common_source(cameras: dict[str, CameraSync]) -> str:
    sources = [camera.source for camera in cameras.values()]
    return next((kind for kind in ("audio", "none", "manual") if kind in sources), "reference")


def _read_tracks(videos: dict[str, Path], names: list[str], report: Reporter) -> dict[str, np.ndarray]:
    tracks: dict[str, np.ndarray] = {}
    for count, name in enumerate(names):
        report.update(count / len(names), f"Listening to camera {name}")
        samples = read_audio(videos[name], RATE_HZ)
        if samples is None:
            raise SyncError(
                f"Camera {name} ({videos[name].name}) has no sound, so its start cannot be found.",
                _give_offset(names, name),
            )
        if _rms(samples) < SILENCE_RMS:
            raise SyncError(
                f"The sound of camera {name} ({videos[name].name}) is silent, so its start cannot be found.",
                _give_offset(names, name),
            )
        tracks[name] = samples
    return tracks


def _give_offset(names: list[str], name: str) -> str:
    """What to write into ``session.toml``; without the reference's sound every camera needs it."""
    wanted = names[1:] if name == names[0] else [name]
    return (
        f"Give offset_s in session.toml for {' and '.join(wanted)}: the seconds that are added to its time "
        f"to get {names[0]}'s."
    )


def _require_match(estimate: OffsetEstimate, reference: str, name: str) -> None:
    if not _is_match(estimate):
        raise SyncError(
            f"The sound of camera {name} has nothing in common with that of {reference} "
            f"(confidence {estimate.confidence:.2f}): their times do not seem to overlap.",
            f"Check that both files are of one take, started within {MAX_LAG_S:.0f} s of each other; "
            f"if they are, give offset_s for {name} in session.toml.",
        )


def _require_overlap(result: SyncResult, videos: dict[str, Path]) -> None:
    reference = result.reference
    spans = {}
    for name in videos if len(videos) > 1 else ():
        ends = result.to_reference_s(name, np.array([0.0, probe(videos[name]).duration_s]))
        spans[name] = (float(ends[0]), float(ends[1]))
    for first, second in itertools.combinations(spans, 2):
        (start_a, end_a), (start_b, end_b) = spans[first], spans[second]
        if min(end_a, end_b) <= max(start_a, start_b):
            raise SyncError(
                f"Cameras {first} and {second} did not record together: {first} ran from {start_a:.1f} to "
                f"{end_a:.1f} s, {second} from {start_b:.1f} to {end_b:.1f} s on the clock of {reference}.",
                "Check that the files are of one take, and the offset_s in session.toml if there is one.",
            )


def _closure(
    found: dict[tuple[str, str], OffsetEstimate],
    reference: str,
    unknown: list[str],
    tracks: dict[str, np.ndarray],
) -> tuple[float, set[str]]:
    """Largest misfit round a triangle with the reference, in s, and the cameras of triangles that stay open.

    The same instant of the second camera is brought to the reference's clock directly and by way of the
    first; in the middle of the recording, where the drifts are known best.
    """
    worst = float("nan")
    open_cameras: set[str] = set()
    for first, second in itertools.combinations(unknown, 2):
        middle_s = len(tracks[second]) / RATE_HZ / 2
        directly = _map(found[reference, second], middle_s)
        by_way = _map(found[reference, first], _map(found[first, second], middle_s))
        misfit = abs(directly - by_way)
        worst = misfit if np.isnan(worst) else max(worst, misfit)
        if misfit > CLOSURE_S:
            open_cameras |= {first, second}
    return worst, open_cameras


def _map(estimate: OffsetEstimate, time_s: float) -> float:
    return time_s + estimate.offset_s + estimate.drift_ppm * 1e-6 * time_s


def _to_camera_sync(estimate: OffsetEstimate, is_open: bool, closure_s: float) -> CameraSync:
    if is_open:
        reason = f"The cameras' offsets contradict each other by {closure_s * 1e3:.1f} ms."
        verdict: Verdict = "check" if estimate.verdict == "reliable" else estimate.verdict
        estimate = replace(estimate, verdict=verdict, reasons=(*estimate.reasons, reason))
    return CameraSync(
        offset_s=estimate.offset_s,
        sigma_s=estimate.sigma_s,
        drift_ppm=estimate.drift_ppm,
        confidence=estimate.confidence,
        verdict=estimate.verdict,
        reasons=estimate.reasons,
        source="audio",
    )


# --- two sound tracks --------------------------------------------------------------------------------


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
        if len(samples) < rate_hz // 10:
            raise SyncError(f"The {name}'s sound is too short to compare.", "Record for longer.")
        if _rms(samples) < SILENCE_RMS:
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
    eps = float(np.finfo(c.dtype).eps)
    confidence = float(np.clip(c[peak] / (20 * float(np.median(np.abs(c))) + eps), 0.0, 1.0))
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
        overlap_s=overlap_s,
        verdict="reliable",
    )
    return _judge(estimate, line.offset_s, (reference, target))


def _judge(
    estimate: OffsetEstimate, line_offset_s: float, tracks: tuple[np.ndarray, np.ndarray]
) -> OffsetEstimate:
    """Verdict and reasons, as sentences."""
    doubts = []
    if estimate.confidence < RELIABLE_CONFIDENCE:
        doubts.append(
            f"The peak of the cross-correlation is low (confidence {estimate.confidence:.2f}, reliable from "
            f"{RELIABLE_CONFIDENCE})."
        )
    if estimate.match < MATCH_SCORE:
        doubts.append(f"The two sounds hardly match (score {estimate.match:.1f} of {MATCH_SCORE:.0f}).")
    if REPETITION_RATIO < estimate.rival < float("inf"):  # infinite: too short an overlap to compare any
        doubts.append(
            f"The sound repeats itself: another offset fits as well or nearly so ({estimate.rival:.0%})."
        )
    is_apart = abs(estimate.offset_s - line_offset_s) > AGREEMENT_S or estimate.sigma_s > AGREEMENT_S
    if is_apart or estimate.agreement < AGREEING_SHARE:
        doubts.append("The windows along the recording disagree about the offset.")
    if estimate.overlap_s < SHORT_OVERLAP_S:
        doubts.append(f"The recordings share only {estimate.overlap_s:.1f} s.")
    if abs(estimate.drift_ppm) > DOUBTFUL_DRIFT_PPM:
        doubts.append(f"The clocks drift by {estimate.drift_ppm:.0f} ppm, more than clocks do.")
    if doubts:
        doubts += [
            f"The {name}'s sound is clipped."
            for name, samples in zip(("reference camera", "camera"), tracks, strict=True)
            if np.mean(np.abs(samples) >= CLIPPED_LEVEL) > CLIPPED_SHARE
        ]
    is_lost = estimate.confidence < MANUAL_CONFIDENCE or not _is_match(estimate)
    verdict: Verdict = "failed" if is_lost else "check" if doubts else "reliable"
    return replace(estimate, verdict=verdict, reasons=tuple(doubts))


def _is_match(estimate: OffsetEstimate) -> bool:
    """Whether the two hear the same. The confidence does not tell: unrelated music reaches 0.8."""
    is_agreed = estimate.match >= AGREED_MATCH_SCORE and estimate.agreement >= AGREED_SHARE
    return estimate.match >= MATCH_SCORE or is_agreed


# --- signals -----------------------------------------------------------------------------------------


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _high_pass(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Take away hum, handling and the constant part, without moving anything in time."""
    sos = signal.butter(2, LOW_CUT_HZ, "highpass", fs=rate_hz, output="sos")
    samples = samples - samples.mean(dtype=np.float64)
    return signal.sosfiltfilt(sos, samples).astype(np.float32)


def _flatten(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Divide the spectrum by its own smoothed size to the power `WHITENING`; phases stay."""
    n = fft.next_fast_len(len(samples) + 2048, real=True)
    hertz, power = signal.welch(samples, rate_hz, nperseg=min(2048, len(samples)))
    size = np.sqrt(np.interp(fft.rfftfreq(n, 1 / rate_hz), hertz, power))
    gain = 1 / np.maximum(size / size.max(), 1e-3) ** WHITENING
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
    """Correlation coefficient (L,) of two sounds' overlap at each of the lags (L,), and its length (L,)."""

    lags: np.ndarray
    fit: np.ndarray
    length: np.ndarray

    @property
    def likeliest(self) -> int:
        """The lag of highest likelihood: Gaussian signals so correlated where they overlap, else not at all.

        The plain correlation grows with the overlap and so prefers, of a bar that comes again and
        again, the repeat that shares most time; this one prefers the repeat that fits.
        """
        likelihood = -self.length * np.log1p(-(np.clip(self.fit, 0.0, 0.999) ** 2))
        return int(self.lags[int(likelihood.argmax())])

    def rival(self, lag: float, rate_hz: int) -> float:
        """Height of the highest other peak over the chosen one."""
        distance = np.abs(self.lags - lag)
        own = self.fit[distance <= 2e-3 * rate_hz].max(initial=0.0)
        other = self.fit[distance > REPETITION_CLEARANCE_S * rate_hz].max(initial=0.0)
        return float(other / own) if own > 0 else float("inf")


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
    enough = length >= max(SHORTEST_OVERLAP_S * rate_hz, SHORTEST_OVERLAP_SHARE * shorter)
    least = 1e-6 * energy_r[-1] * energy_t[-1]
    fit = np.where(enough & (shared > least), c / np.sqrt(np.maximum(shared, least)), 0.0)
    return _Fits(lags, fit, length)


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
        if height > 0.7 * max(heights.values()):
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


def _cut_windows(sharp: list[np.ndarray], plain: list[np.ndarray], start_s: float, rate_hz: int) -> _Windows:
    shift = round(start_s * rate_hz)
    n_reference, n_target = len(sharp[0]), len(sharp[1])
    first, last = max(0, -shift), min(n_target, n_reference - shift)
    shared_s = max(1e-9, (last - first) / rate_hz)
    n_windows = max(1, round(shared_s / np.clip(shared_s / 24, min(1.0, shared_s / 4), 4.0)))
    length = max(0, last - first) // n_windows
    reach = round((0.02 + MAX_DRIFT_PPM * 1e-6 * shared_s) * rate_hz)
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
