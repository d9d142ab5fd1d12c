"""Tremor of the hand and of each finger: how fast, how far, and whether it can be told at all.

The places are those of the fused joints as they are, since the filters of `pipeline.measures.kinematics`
would take part of what is looked for (a third of 10 Hz). The hand is its wrist and knuckles in the world; a
finger is its tip seen from the palm, so that a tremor of the whole arm is not counted five times.

1. Keystrokes have harmonics in the tremor's band. What comes again and again around the strokes of a finger
   is worked out by least squares (deconvolution, so that strokes may overlap) and taken away.
2. Spectrum of the acceleration by Welch: windows of 2 s, Hann, half overlapping, the three axes added up.
   Windows are as long for every recording, so that a longer one has no finer and higher peaks.
3. Background: a parabola through the logarithm of the spectrum over that of the frequency, without the
   neighbourhood of the frequency looked at; or the chord over that neighbourhood, where it is higher.
   Voluntary movement and the noise of the fusion are both in it.
4. A peak is tremor only where it stands over that background by `MIN_RATIO`, by more for a short recording,
   over the noise of the recording's quietest second by as much, and not where the strokes themselves come
   at that rate, which the spectrum of their onsets shows. Strokes are those that are heard; without sound
   those that are seen.

"None seen" says how large a tremor would have had to be; where that is more than `MAX_LIMIT_MM`, or too
little could be measured, the answer is "cannot tell". Frequencies are good; amplitudes are what is left of
the movement by the fusion (`docs/accuracy.md` says how much).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from pipeline.hand.joints import FINGERS, Side
from pipeline.measures.kinematics import MAX_GAP_S, MIN_FPS_ANY, make_grid
from pipeline.measures.playing_types import TremorSummary
from pipeline.measures.resampling import DRAWS
from pipeline.measures.strokes import PALM_COLUMNS, TIP_COLUMNS, Strokes, place_hand, see_tips_from_palm

BAND_HZ = (3.0, 12.0)
"""Where tremor is looked for."""

WINDOW_S = 2.0
"""Length of a window of the spectrum."""

MIN_WINDOWS = 6
"""Fewer whole windows tell nothing (7 s without a gap have 6)."""

MIN_RATIO = 3.0
"""A peak under this many times its background is not called tremor, however long the recording."""

MIN_RATIO_SHORT = 6.0
"""The same with `MIN_WINDOWS`: a mean of few windows scatters, as the root of their number."""

CALM_RATE_HZ = 4.0
"""With more strokes a second they run into one another and leave peaks of their own: a finger's then has to
stand higher, as the square of the rate."""

MIN_SIZE_MM = 0.1
"""Smaller ones (root mean square) are not spoken of: that of a healthy hand is about half of this."""

LIMIT_BAND_HZ = (4.0, 12.0)
"""Where the size that could have gone unseen is looked for; below, ordinary playing hides nearly all."""

MAX_LIMIT_MM = 2.0
"""Where a tremor of this size (root mean square) could have gone unseen, "none seen" is not said."""

STROKE_MARGIN_HZ = 0.4
"""A peak this close to a rate at which strokes come is not told from playing."""

MAX_STROKE_RHYTHM: dict[float, float] = {2.0: 2.5, 8.0: 5.0}
"""By length of window in s: where the strokes' own spectrum is more times that of strokes at random, a peak
is theirs."""

MIN_UNHEARD_DEPTH_MM = 5.0
"""Without sound only movements this deep are taken as strokes, since a tremor's beats may be deeper than
`pipeline.measures.strokes.MIN_DEPTH_MM`."""

MAX_HEARD_APART_S = 0.08
"""A stroke that is seen belongs to an onset that is heard this close."""

PEAK_HALF_WIDTH_HZ = 1.0
"""The band power of a peak is taken this far to either side."""

SITES: tuple[str, ...] = ("hand", *FINGERS)

_FIT_HZ = (1.5, 16.0)
_FIT_GAP_HZ = 1.5
_EDGE_HZ = 0.5
_PADDING = 4
_STROKE_BEFORE_S, _STROKE_AFTER_S = 0.25, 0.4
_STROKE_KNOT_S = 0.05
_MIN_STROKES = 4
_HANN_BANDWIDTH = 1.5
_RIDGE = 1e-3


@dataclass(frozen=True)
class Spectrum:
    """Spectra of the windows of one site.

    Attributes
    ----------
    hertz : ndarray (F,)
        Frequencies, `_PADDING` times finer than a window resolves.
    windows : ndarray (W, F)
        Displacement, mm²/Hz, the three axes added up.
    """

    hertz: np.ndarray
    windows: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean over the windows (F,)."""
        return np.asarray(self.windows.mean(axis=0))


def take_spectrum(places_mm: np.ndarray, fps: float) -> Spectrum:
    """Spectra of a movement (T, 3) in mm on an even grid; windows with any NaN are left out."""
    length = round(WINDOW_S * fps)
    # Second differences flatten the spectrum, so that slow travel does not leak into the band; their gain is
    # known exactly and taken out again.
    bent = np.diff(places_mm, 2, axis=0)
    shape = np.hanning(length + 2)[1:-1]
    starts = range(0, len(bent) - length + 1, max(length // 2, 1))
    kept = [bent[start : start + length] for start in starts]
    kept = [part - part.mean(axis=0) for part in kept if np.isfinite(part).all()]
    points = _PADDING * length
    hertz = np.fft.rfftfreq(points, 1.0 / fps)
    gain = (2.0 * np.sin(np.pi * hertz / fps)) ** 4
    gain[0] = np.inf
    scale = 2.0 / (fps * (shape**2).sum())
    windows = [
        (np.abs(np.fft.rfft(part * shape[:, None], points, axis=0)) ** 2).sum(axis=1) * scale / gain
        for part in kept
    ]
    return Spectrum(hertz, np.array(windows).reshape(-1, len(hertz)))


def fit_background(hertz: np.ndarray, power: np.ndarray) -> np.ndarray:
    """The spectrum (F,) as it would be without a peak at each frequency; NaN far outside `BAND_HZ`."""
    high = min(_FIT_HZ[1], 0.45 * 2 * hertz[-1])
    use = (hertz >= _FIT_HZ[0]) & (hertz <= high) & (power > 0)
    x, y = np.log(np.where(hertz > 0, hertz, np.nan)), np.log(np.where(power > 0, power, np.nan))
    out = np.full(len(hertz), np.nan)
    for at in np.flatnonzero((hertz >= BAND_HZ[0] - _EDGE_HZ) & (hertz <= BAND_HZ[1] + _EDGE_HZ)):
        near = use & (np.abs(hertz - hertz[at]) > _FIT_GAP_HZ)
        if near.sum() < 12:
            continue
        terms = np.vander(x[near] - x[at], 3)
        weight = np.ones(len(terms))
        for _ in range(4):  # least absolute deviations: another peak does not lift the background
            found = np.linalg.lstsq(terms * weight[:, None], y[near] * weight, rcond=None)[0]
            weight = 1.0 / np.sqrt(np.maximum(np.abs(y[near] - terms @ found), 0.1))
        out[at] = max(np.exp(found[2]), _take_chord(hertz, power, hertz[at]))
    return out


def _take_chord(hertz: np.ndarray, power: np.ndarray, middle_hz: float) -> float:
    """The spectrum at a frequency, straight between what lies beside it.

    Where it falls steeply towards the noise it is bent the other way than a parabola, and this is higher.
    """
    away = hertz - middle_hz
    ends = []
    for side in (-1.0, 1.0):
        beside = (side * away >= _FIT_GAP_HZ - 0.25) & (side * away <= _FIT_GAP_HZ + 0.5) & (power > 0)
        if not beside.any():
            return 0.0
        ends.append((np.log(hertz[beside]).mean(), np.log(power[beside]).mean()))
    (x0, y0), (x1, y1) = ends
    return float(np.exp(y0 + (y1 - y0) * (np.log(middle_hz) - x0) / (x1 - x0)))


def remove_strokes(time_s: np.ndarray, places_mm: np.ndarray, strokes: Strokes) -> np.ndarray:
    """A movement (T, 3) without what comes again around every stroke and every release.

    Parameters
    ----------
    time_s : ndarray (T,)
        Even times.
    places_mm : ndarray (T, 3)
        NaN = not measured; those frames stay NaN and are left out of the fit.
    strokes : Strokes
        The movement around each is taken as proportional to its depth. Under `_MIN_STROKES` nothing is taken
        away.
    """
    if len(strokes.time_s) < _MIN_STROKES:
        return places_mm
    size = strokes.depth_mm / np.median(strokes.depth_mm)
    terms = np.hstack([_spread(time_s, at_s, size) for at_s in (strokes.time_s, strokes.release_s)])
    known = np.isfinite(places_mm).all(axis=1)
    # Second differences: slow travel must not draw the fit.
    bent, bent_terms = np.diff(np.where(known[:, None], places_mm, 0.0), 2, axis=0), np.diff(terms, 2, axis=0)
    whole = known[2:] & known[1:-1] & known[:-2]
    left, right = bent_terms[whole], bent[whole]
    normal = left.T @ left
    normal += _RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    return np.asarray(places_mm - terms @ np.linalg.solve(normal, left.T @ right))


def _spread(time_s: np.ndarray, events_s: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Splines along the time around events, their sum over the events weighted by size: (T, K)."""
    knots = np.arange(-_STROKE_BEFORE_S, _STROKE_AFTER_S + 1e-9, _STROKE_KNOT_S)
    margin = 2 * _STROKE_KNOT_S
    terms = np.zeros((len(time_s), len(knots)))
    for event_s, weight in zip(events_s, size, strict=True):
        ends_s = [event_s + knots[0] - margin, event_s + knots[-1] + margin]
        first, last = np.searchsorted(time_s, ends_s)
        terms[first:last] += weight * _spline((time_s[first:last, None] - event_s - knots) / _STROKE_KNOT_S)
    return terms


def _spline(away: np.ndarray) -> np.ndarray:
    """The cubic B-spline with knots at whole numbers, 0 beyond 2."""
    beyond, within = np.maximum(2.0 - np.abs(away), 0.0), np.maximum(1.0 - np.abs(away), 0.0)
    return (beyond * beyond * beyond - 4.0 * within * within * within) / 6.0


def is_rhythmic(onsets_s: np.ndarray, duration_s: float, hertz: np.ndarray) -> bool:
    """Whether strokes at ``onsets_s`` (N,), from 0 to ``duration_s``, come at a rate of ``hertz`` (F,).

    The spectrum of the onsets is held against that of as many at random, which is 1, in windows of the
    spectrum's own length and in long ones, for fingers that strike once in a while but evenly.
    """
    if len(onsets_s) < _MIN_STROKES:
        return False
    return any(
        float(_onset_spectrum(onsets_s, duration_s, hertz, window_s).max()) > most
        for window_s, most in MAX_STROKE_RHYTHM.items()
    )


def _onset_spectrum(
    onsets_s: np.ndarray, duration_s: float, hertz: np.ndarray, window_s: float
) -> np.ndarray:
    total, count = np.zeros(len(hertz)), 0.0
    for start in np.arange(0.0, max(duration_s - window_s, 0.0) + 1e-9, window_s / 2):
        inside = onsets_s[(onsets_s >= start) & (onsets_s < start + window_s)]
        weight = np.sin(np.pi * (inside - start) / window_s) ** 2
        total += np.abs(np.exp(-2j * np.pi * np.outer(hertz, inside)) @ weight) ** 2
        count += float((weight**2).sum())
    return np.asarray(total / max(count, 1e-9))


def assess_tremor(
    time_s: np.ndarray,
    joints_mm: np.ndarray,
    side: Side,
    strokes: Strokes,
    heard_s: np.ndarray | None,
    jitter_mm: np.ndarray,
) -> tuple[TremorSummary, ...]:
    """Tremor of the hand and of each finger, in the order of `SITES`.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times.
    joints_mm : ndarray (T, 21, 3)
        As fused, not filtered. NaN = not measured.
    side : "right" | "left"
        Which hand.
    strokes : Strokes
        Seen ones, from `pipeline.measures.strokes.find_strokes`.
    heard_s : ndarray (N,) or None
        Onsets that were heard, on the same clock; None = no sound that tells.
    jitter_mm : ndarray (21,)
        Jitter per axis; NaN = not known, and nothing is asked of it then.

    Raises
    ------
    pipeline.errors.MeasureError
        Fewer than two frames, or times that do not increase.
    """
    grid = make_grid(time_s)
    if grid.fps < 0.99 * MIN_FPS_ANY:
        note = f"Tremor needs {MIN_FPS_ANY:g} frames/s or more; this recording has {grid.fps:.0f}."
        return tuple(TremorSummary(site, "cannot tell", note=note) for site in SITES)
    even_s = time_s[0] + np.arange(grid.size) / grid.fps
    tips = see_tips_from_palm(joints_mm, side)
    series = {"hand": place_hand(joints_mm)} | {name: tips[:, i] for i, name in enumerate(FINGERS)}
    noise_mm = _site_noise(jitter_mm)
    chosen = _choose_strokes(strokes, heard_s)
    every_s = chosen.time_s if heard_s is None else heard_s
    found = []
    for number, site in enumerate(SITES):
        own = chosen if site == "hand" else chosen.pick(chosen.finger == number - 1)
        places = _to_even(time_s, series[site], even_s)
        spectra = tuple(
            take_spectrum(part, grid.fps) for part in (remove_strokes(even_s, places, own), places)
        )
        strictness = (
            1.0 if site == "hand" else max(len(every_s) / grid.size * grid.fps / CALM_RATE_HZ, 1.0) ** 2
        )
        found.append(_judge(site, spectra, noise_mm[number], (own.time_s, every_s), even_s, strictness))
    return tuple(found)


def _site_noise(jitter_mm: np.ndarray) -> np.ndarray:
    """Jitter per axis of each site (6,): of a mean of five joints, and of a tip against that mean."""
    palm = float(np.sqrt((jitter_mm[PALM_COLUMNS] ** 2).sum())) / len(PALM_COLUMNS)
    return np.array([palm, *np.hypot(jitter_mm[TIP_COLUMNS], palm)])


def _choose_strokes(strokes: Strokes, heard_s: np.ndarray | None) -> Strokes:
    """Those that were heard; without sound those that are deep."""
    if heard_s is None:
        return strokes.pick(strokes.depth_mm >= MIN_UNHEARD_DEPTH_MM)
    if not len(heard_s):
        return strokes.pick(np.zeros(len(strokes.time_s), dtype=bool))
    away = np.abs(strokes.time_s[:, None] - heard_s)
    heard = strokes.pick(away.min(axis=1) <= MAX_HEARD_APART_S)
    # The tone's own time: a tremor draws the moment that is seen to its beat.
    at = heard_s[away.argmin(axis=1)[away.min(axis=1) <= MAX_HEARD_APART_S]]
    return replace(heard, time_s=at)


def _to_even(time_s: np.ndarray, places_mm: np.ndarray, even_s: np.ndarray) -> np.ndarray:
    """A movement (T, 3) on even times; gaps up to `MAX_GAP_S` are bridged, longer ones are NaN."""
    known = np.isfinite(places_mm).all(axis=1)
    out = np.full((len(even_s), 3), np.nan)
    if known.sum() < 4:
        return out
    at = time_s[known]
    after = np.clip(np.searchsorted(at, even_s), 1, len(at) - 1)
    step_s = float(np.median(np.diff(time_s)))
    inside = (even_s >= at[0] - step_s / 2) & (even_s <= at[-1] + step_s / 2)
    inside &= at[after] - at[after - 1] <= MAX_GAP_S + 1.01 * step_s
    out[inside] = CubicSpline(at, places_mm[known])(even_s[inside])
    return out


def _needed_ratio(windows: int) -> float:
    return MIN_RATIO + (MIN_RATIO_SHORT - MIN_RATIO) * float(np.sqrt(MIN_WINDOWS / windows))


def _judge(
    site: str,
    spectra: tuple[Spectrum, ...],
    noise_mm: float,
    onsets_s: tuple[np.ndarray, np.ndarray],
    even_s: np.ndarray,
    strictness: float,
) -> TremorSummary:
    """One site from its spectra without and with its strokes."""
    spectrum, count = spectra[0], len(spectra[0].windows)
    if count < MIN_WINDOWS:
        seconds = (MIN_WINDOWS + 1) * WINDOW_S / 2
        note = f"Less than {seconds:g} s were measured without a gap."
        return TremorSummary(site, "cannot tell", note=note)
    hertz, power = spectrum.hertz, spectrum.mean
    fps = 1.0 / float(even_s[1] - even_s[0])
    background = fit_background(hertz, power)
    floor = np.fmax(background, np.nan_to_num(6.0 * noise_mm**2 / fps))
    needed = strictness * _needed_ratio(count)
    limit_mm = _find_limit(hertz, floor, needed)
    peak = _find_peak(power / background, power * hertz**4)
    if peak >= 0 and power[peak] >= needed * floor[peak]:
        found = _describe_peak(site, spectra, background, peak, limit_mm)
        if found.rms_mm >= MIN_SIZE_MM:
            near = hertz[np.abs(hertz - hertz[peak]) <= STROKE_MARGIN_HZ]
            if not any(is_rhythmic(times - even_s[0], float(np.ptp(even_s)), near) for times in onsets_s):
                return found
            note = f"A peak at {hertz[peak]:.1f} Hz, where the strokes come too, is not told from playing."
            return TremorSummary(site, "cannot tell", limit_mm=limit_mm, windows=count, note=note)
    if not limit_mm <= MAX_LIMIT_MM:
        note = f"Playing hides tremors up to {limit_mm:.1f} mm."
        return TremorSummary(site, "cannot tell", limit_mm=limit_mm, windows=count, note=note)
    return TremorSummary(site, "none seen", limit_mm=limit_mm, windows=count)


def _find_peak(ratio: np.ndarray, acceleration: np.ndarray) -> int:
    """The highest peak over the background that is one of the acceleration's too; -1 if there is none."""
    best, height = -1, 0.0
    for at in range(1, len(ratio) - 1):
        near = slice(max(at - 2, 0), at + 3)
        is_peak = (
            ratio[at] >= np.max(ratio[near])
            and acceleration[at] > acceleration[[near.start, near.stop - 1]].min()
        )
        if is_peak and ratio[at] > height:  # False where the band ends: NaN
            best, height = at, float(ratio[at])
    return best


def _find_limit(hertz: np.ndarray, floor: np.ndarray, needed: float) -> float:
    """Root mean square of the largest steady tremor that would have been missed, in mm."""
    inside = (hertz >= LIMIT_BAND_HZ[0]) & (hertz <= LIMIT_BAND_HZ[1])
    missed = (needed - 1.0) * floor[inside] * _HANN_BANDWIDTH / WINDOW_S
    return max(float(np.sqrt(missed.max())), MIN_SIZE_MM)


def _describe_peak(
    site: str, spectra: tuple[Spectrum, ...], background: np.ndarray, peak: int, limit_mm: float
) -> TremorSummary:
    """Frequency and size of a peak, their intervals from draws of the windows.

    The size is the larger of that without and that with the strokes: a strong tremor draws the moments of
    release that are seen to its own beat, so that part of it is taken away with them.
    """
    spectrum = spectra[0]
    hertz, windows = spectrum.hertz, spectrum.windows
    drawn = np.random.default_rng(0).multinomial(len(windows), np.full(len(windows), 1 / len(windows)), DRAWS)
    near = np.flatnonzero(np.abs(hertz - hertz[peak]) <= PEAK_HALF_WIDTH_HZ)
    near = near[np.isfinite(background[near])]
    step = hertz[1] - hertz[0]
    powers = np.vstack([spectrum.mean[None, near], drawn @ windows[:, near] / len(windows)])
    over = np.maximum(powers - background[near], 0.0)
    whole = fit_background(hertz, spectra[1].mean)[near]
    of_whole = np.vstack([spectra[1].mean[None, near], drawn @ spectra[1].windows[:, near] / len(windows)])
    sizes = [np.sqrt(part.sum(axis=1) * step) for part in (over, np.maximum(of_whole - whole, 0.0))]
    rms = max(sizes, key=lambda size: float(size[0]))
    # Of the acceleration: taking its gain out leans a peak over to its lower side.
    sharp = hertz[near] ** 4
    highest = hertz[near][int((over[0] * sharp).argmax())]
    narrow = np.abs(hertz[near] - highest) <= PEAK_HALF_WIDTH_HZ / 2
    weight = over * sharp * narrow
    centre = weight @ hertz[near] / np.maximum(weight.sum(axis=1), 1e-12)
    low, high = np.percentile(centre[1:], [2.5, 97.5])
    small, large = np.percentile(rms[1:], [2.5, 97.5])
    return TremorSummary(
        site=site,
        verdict="seen",
        frequency_hz=float(centre[0]),
        frequency_low_hz=float(low),
        frequency_high_hz=float(high),
        rms_mm=float(rms[0]),
        rms_low_mm=float(small),
        rms_high_mm=float(large),
        ratio=float(spectrum.mean[peak] / background[peak]),
        limit_mm=limit_mm,
        windows=len(windows),
    )
