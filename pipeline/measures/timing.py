"""How evenly the keys are struck, from the sound track: never from video, whose frames are 17 ms apart.

1. Onsets: the energy of the sound in bands of half an octave, 2.5 ms apart, as logarithm; where it rises
   in many bands at once (half-wave rectified difference, "spectral flux"), a tone or a knock begins.
2. Each is placed to a fraction of a millisecond where the energy over 1 kHz, smoothed over a millisecond,
   first rises to half of what it reaches: the same place on every stroke, so that what is left of the delay
   falls out of the intervals.
3. Onsets less than `CHORD_S` apart are one stroke (a chord): its first.
4. Intervals count only within even runs: at least `MIN_RUN` strokes whose intervals all stay within
   `EVEN_SHARE` of the run's median. What is farther off is rhythm, which the sound alone cannot tell from
   unevenness. In each run a straight line through the intervals takes away the tempo and its drift; what is
   left over all runs is the variability (Jabusch 2004 and van Vugt 2012 use scales played evenly, which is
   one run).

The sound does not tell whose hand or which finger struck, so the number is the recording's, not a hand's.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import signal
from scipy.ndimage import maximum_filter1d, median_filter, uniform_filter1d
from scipy.stats import chi2

from pipeline.measures.playing_types import KeyTiming

RATE_HZ = 16000
"""Sampling rate that `find_onsets` expects."""

CHORD_S = 0.03
"""Onsets closer than this are one stroke."""

MIN_RUN = 8
"""Strokes of an even run."""

EVEN_SHARE = 1 / 3
"""How far an interval of an even run may be from its median."""

MIN_INTERVALS = 20
"""With fewer intervals in even runs the variability is withheld (with 20 it is known to a sixth)."""

MIN_ONSETS = 8
"""With fewer onsets there is nothing to hear."""

MIN_CLEARNESS = 5.0
"""Where the onsets stand less over the sound around them (median), they are noise; hiss alone has 3."""

GOOD_CLEARNESS = 10.0
"""From here on onsets are placed as well as they can be."""

ONSET_SIGMA_S, FAINT_ONSET_SIGMA_S = 1.4e-3, 4e-3
"""Scatter of onsets in made rooms, clear and faint ones (``benchmarks/events_accuracy.py``)."""

_HOP = 40
_FRAME = 160
_CHUNK = 4096
_LOWEST_HZ, _HIGHEST_HZ = 150.0, 7000.0
_FLUX_FLOOR = 1e-6
_FLUX_MIN = 0.35
_QUIET_FLUX = 0.01
_CLEARNESS_MIN = 2.0
_FLUX_OF_LOUD = 0.5
_RISE_HOPS = 4
_APART_S = 0.02
_FINE_LOW_HZ = 1000.0
_FINE_S = 1e-3
_FINE_BEFORE_S, _FINE_AFTER_S = 0.015, 0.015
_SILENCE_RMS = 3e-5
"""-90 dB of full scale."""


@dataclass(frozen=True)
class Onsets:
    """Beginnings of sounds.

    Attributes
    ----------
    time_s : ndarray (N,)
        On the sound's clock, in order, chords counted once.
    clearness : ndarray (N,)
        How many times it rises over what the sound does in the second around it.
    chords : int
        How many of them are chords.
    is_chord : ndarray (N,) of bool or None
        Which of them are; None where that was not kept.
    """

    time_s: np.ndarray
    clearness: np.ndarray
    chords: int = 0
    is_chord: np.ndarray | None = None


NO_ONSETS = Onsets(np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Heard:
    """What a recording's sound tells of its strokes (`pipeline.measures.listening`).

    Attributes
    ----------
    onsets : Onsets
        On the reference camera's clock.
    duration_s : float
        Length of the sound.
    source : str
        The camera whose sound it is; empty without any.
    reason : str
        Why there is none; empty otherwise.
    excluded_s : tuple of (start, end)
        Sections that a person excluded: without onsets, not in ``duration_s``, and no interval spans one.
    """

    onsets: Onsets
    duration_s: float = 0.0
    source: str = ""
    reason: str = ""
    excluded_s: tuple[tuple[float, float], ...] = ()

    @property
    def strokes_s(self) -> np.ndarray | None:
        """Times (N,) of the strokes where they can be relied on, else None."""
        few = len(self.onsets.time_s) < MIN_ONSETS
        return None if few or float(np.median(self.onsets.clearness)) < MIN_CLEARNESS else self.onsets.time_s


NOT_HEARD = Heard(NO_ONSETS, reason="There is no sound to listen to.")


def find_onsets(sound: np.ndarray) -> Onsets:
    """Onsets in a sound (N,) at `RATE_HZ`, any level; none in silence."""
    sound = np.asarray(sound, dtype=float)
    if len(sound) < RATE_HZ // 2 or float(np.sqrt((sound**2).mean())) < _SILENCE_RMS:
        return NO_ONSETS
    flux = _take_flux(sound)
    step_s = _HOP / RATE_HZ
    usual = median_filter(flux, round(1.0 / step_s) | 1, mode="nearest")
    near = 2 * round(_APART_S / step_s) + 1
    at = np.flatnonzero(
        (flux == maximum_filter1d(flux, near)) & (flux > np.maximum(_FLUX_MIN, _CLEARNESS_MIN * usual))
    )
    if not len(at):
        return NO_ONSETS
    # Echoes and hiss are far weaker than the strokes of the same recording.
    at = at[flux[at] > _FLUX_OF_LOUD * np.percentile(flux[at], 90)]
    fine = _fine_energy(sound)
    times = np.array([_refine(fine, place * _HOP) for place in at]) / RATE_HZ
    return _join_chords(times, flux[at] / np.maximum(usual[at], _QUIET_FLUX))


def _take_flux(sound: np.ndarray) -> np.ndarray:
    """Mean rise (K,) of the logarithm of the bands' energy over 10 ms."""
    bands = _take_bands(sound)
    # Each band over its own quiet level: steady noise does not rise.
    floor = np.percentile(bands, 10, axis=1, keepdims=True)
    loud = np.log1p(bands / (4.0 * np.maximum(floor, _FLUX_FLOOR * bands.max())))
    rise = np.zeros_like(loud)
    rise[:, _RISE_HOPS:] = np.maximum(loud[:, _RISE_HOPS:] - loud[:, :-_RISE_HOPS], 0.0)
    return np.asarray(rise.mean(axis=0))


def _take_bands(sound: np.ndarray) -> np.ndarray:
    """Energy (B, K) in bands of half an octave, every `_HOP` samples."""
    # By hand, many frames at once: scipy's ShortTimeFFT goes frame by frame and takes ten times as long.
    padded = np.pad(sound, (_FRAME // 2, _FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][: len(sound) // _HOP]
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, round(2 * np.log2(_HIGHEST_HZ / _LOWEST_HZ)) + 1)
    columns = np.unique(np.searchsorted(np.fft.rfftfreq(2 * _FRAME, 1 / RATE_HZ), edges))
    bands = np.empty((len(columns) - 1, len(frames)))
    for start in range(0, len(frames), _CHUNK):
        part = slice(start, start + _CHUNK)
        energy = np.abs(np.fft.rfft(frames[part] * np.hanning(_FRAME), 2 * _FRAME, axis=1)) ** 2
        bands[:, part] = np.add.reduceat(energy, columns, axis=1)[:, :-1].T
    return bands


def _fine_energy(sound: np.ndarray) -> np.ndarray:
    high = signal.sosfiltfilt(signal.butter(2, _FINE_LOW_HZ, "highpass", fs=RATE_HZ, output="sos"), sound)
    return np.asarray(uniform_filter1d(high**2, round(_FINE_S * RATE_HZ)))


def _refine(energy: np.ndarray, sample: int) -> float:
    """Where (in samples) the energy around an onset first rises to half of what it reaches."""
    first = max(sample - round(_FINE_BEFORE_S * RATE_HZ), 0)
    part = energy[first : sample + round(_FINE_AFTER_S * RATE_HZ)]
    if not len(part):
        return float(sample)
    base = float(np.median(part[: max(len(part) // 5, 1)]))
    half = base + 0.5 * (float(part.max()) - base)
    over = int(np.argmax(part >= half))
    if over == 0 or part[over] == part[over - 1]:
        return float(first + over)
    return float(first + over - (part[over] - half) / (part[over] - part[over - 1]))


def _join_chords(time_s: np.ndarray, clearness: np.ndarray) -> Onsets:
    order = np.argsort(time_s, kind="stable")
    time_s, clearness = time_s[order], clearness[order]
    kept: list[int] = []
    chords = set()
    for place in range(len(time_s)):
        if kept and time_s[place] - time_s[kept[-1]] < CHORD_S:
            chords.add(kept[-1])
        else:
            kept.append(place)
    return Onsets(time_s[kept], clearness[kept], len(chords), np.isin(kept, list(chords)))


def describe_timing(heard: Heard) -> KeyTiming:
    """How evenly the strokes that were heard come."""
    onsets = heard.onsets
    count = len(onsets.time_s)
    found = KeyTiming(source=heard.source, onsets=count, chords=onsets.chords)
    if heard.reason:
        return _cannot_tell(found, heard.reason)
    if count < MIN_ONSETS:
        return _cannot_tell(found, f"Only {count} strokes could be heard.")
    clearness = float(np.median(onsets.clearness))
    if clearness < MIN_CLEARNESS:
        return _cannot_tell(found, "The strokes cannot be heard clearly over the other sound.")
    intervals = _take_intervals(heard)
    runs = find_even_runs(intervals)
    left = [_remove_tempo(intervals[start:stop]) for start, stop in runs]
    used = sum(len(part) for part in left)
    found = dataclasses.replace(
        found, rate_per_min=60.0 * count / heard.duration_s, runs=len(runs), intervals=used
    )
    if used < MIN_INTERVALS:
        return _cannot_tell(
            found,
            f"Only {used} intervals lie in even runs of {MIN_RUN} strokes or more; {MIN_INTERVALS} are "
            "needed. A scale or an exercise in equal notes has them.",
        )
    freedom = used - 2 * len(runs)
    squares = sum(float((part**2).sum()) for part in left)
    mean_s = float(np.mean(np.concatenate([intervals[start:stop] for start, stop in runs])))
    sd_s = np.sqrt(squares / freedom)
    low, high = (np.sqrt(squares / chi2.ppf(share, freedom)) for share in (0.975, 0.025))
    own = [float(np.sqrt((part**2).sum() / (len(part) - 2))) for part in left]
    sigma_s = ONSET_SIGMA_S if clearness >= GOOD_CLEARNESS else FAINT_ONSET_SIGMA_S
    return dataclasses.replace(
        found,
        verdict="measured",
        interval_ms=1e3 * mean_s,
        sd_ms=1e3 * float(sd_s),
        sd_low_ms=1e3 * float(low),
        sd_high_ms=1e3 * float(high),
        median_run_sd_ms=1e3 * float(np.median(own)),
        cv=float(sd_s) / mean_s,
        error_ms=1e3 * float(np.sqrt(2.0)) * sigma_s,
    )


def _take_intervals(heard: Heard) -> np.ndarray:
    """Times between the onsets (N - 1,); infinite across an excluded section, which makes no run even."""
    times = heard.onsets.time_s
    intervals = np.diff(times)
    for start_s, end_s in heard.excluded_s:
        intervals[(times[:-1] < end_s) & (times[1:] > start_s)] = np.inf
    return intervals


def _cannot_tell(found: KeyTiming, note: str) -> KeyTiming:
    return dataclasses.replace(found, verdict="cannot tell", note=note)


def find_even_runs(intervals_s: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of intervals (N,) that make even runs, from the first on, each as long as it goes."""
    runs = []
    start = 0
    while start + MIN_RUN - 1 <= len(intervals_s):
        stop = start + MIN_RUN - 1
        if not _is_even(intervals_s[start:stop]):
            start += 1
            continue
        while stop < len(intervals_s) and _is_even(intervals_s[start : stop + 1]):
            stop += 1
        runs.append((start, stop))
        start = stop
    return runs


def _is_even(intervals_s: np.ndarray) -> bool:
    middle = np.median(intervals_s)
    return bool((np.abs(intervals_s - middle) <= EVEN_SHARE * middle).all())


def _remove_tempo(intervals_s: np.ndarray) -> np.ndarray:
    """Intervals (N,) less a straight line through them."""
    place = np.arange(len(intervals_s))
    return np.asarray(intervals_s - np.polyval(np.polyfit(place, intervals_s, 1), place))
