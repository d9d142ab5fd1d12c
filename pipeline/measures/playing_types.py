"""Tremor, strokes and posture of the whole hand: a part of ``summary.json``. NaN = cannot be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TremorSummary:
    """Tremor of the hand as a whole, or of one finger against the palm (`pipeline.measures.tremor`).

    Attributes
    ----------
    site : str
        "hand" or one of `pipeline.hand.joints.FINGERS`.
    verdict : "seen" | "none seen" | "cannot tell"
        "none seen" holds for tremors over ``limit_mm`` between 4 and 12 Hz.
    frequency_hz, frequency_low_hz, frequency_high_hz : float
        Middle of the peak and its 95 % interval within this recording; NaN unless seen.
    rms_mm, rms_low_mm, rms_high_mm : float
        Root mean square size within 1 Hz of the peak, the three axes together, background taken off. Its
        square is the band power in mm².
    ratio : float
        How many times the peak stands over its background.
    limit_mm : float
        Largest tremor (root mean square) that would not have been seen; NaN = not known.
    windows : int
        Windows of 2 s it rests on.
    note : str
        Why it cannot be told; empty otherwise.
    """

    site: str
    verdict: str
    frequency_hz: float = math.nan
    frequency_low_hz: float = math.nan
    frequency_high_hz: float = math.nan
    rms_mm: float = math.nan
    rms_low_mm: float = math.nan
    rms_high_mm: float = math.nan
    ratio: float = math.nan
    limit_mm: float = math.nan
    windows: int = 0
    note: str = ""


@dataclass(frozen=True)
class KeyTiming:
    """How evenly strokes follow one another, from the sound track (`pipeline.measures.timing`).

    Of the recording, not of a hand: the sound does not tell which hand struck.

    Attributes
    ----------
    source : str
        The camera whose sound it is; empty without sound.
    verdict : "measured" | "cannot tell"
    onsets, chords : int
        Strokes heard (a chord is one), and how many of them are chords.
    rate_per_min : float
        Strokes a minute.
    runs, intervals : int
        Even runs, and the intervals in them that the variability rests on.
    interval_ms : float
        Mean of these intervals.
    sd_ms, sd_low_ms, sd_high_ms : float
        Their standard deviation about the tempo, with its 95 % interval for so many.
    median_run_sd_ms : float
        Median over the runs of their own.
    cv : float
        ``sd_ms / interval_ms``.
    error_ms : float
        What of ``sd_ms`` the onsets' own error would make by itself.
    note : str
        Why it cannot be told; empty otherwise.
    """

    source: str = ""
    verdict: str = "cannot tell"
    onsets: int = 0
    chords: int = 0
    rate_per_min: float = math.nan
    runs: int = 0
    intervals: int = 0
    interval_ms: float = math.nan
    sd_ms: float = math.nan
    sd_low_ms: float = math.nan
    sd_high_ms: float = math.nan
    median_run_sd_ms: float = math.nan
    cv: float = math.nan
    error_ms: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Coupling:
    """How far one finger moves with the stroke of another.

    Attributes
    ----------
    striking, other : str
        Fingers.
    share : float
        Of the striking finger's own way: 0 stays, 1 goes as far, below 0 the other way. NaN = too few.
    low, high : float
        95 % interval within this recording, from draws of the strokes.
    events : int
        Strokes it rests on.
    """

    striking: str
    other: str
    share: float
    low: float
    high: float
    events: int


@dataclass(frozen=True)
class FingerIndex:
    """Individuation index of one finger: 1 = the others stay while it strikes.

    NaN where one of its four couplings is withheld. ``strokes`` counts its clear strokes.
    """

    finger: str
    index: float
    low: float
    high: float
    strokes: int


@dataclass(frozen=True)
class Individuation:
    """Event-locked 5 x 5 matrix (`pipeline.measures.individuation`).

    Attributes
    ----------
    couplings : tuple of Coupling
        The 20 cells off the diagonal, row by row.
    fingers : tuple of FingerIndex
        Thumb to little finger.
    events, unclear : int
        Clear strokes, and those left out because two fingers went down nearly alike.
    heard : bool
        Strokes are those that were heard too; False: by sight alone.
    note : str
        Why nothing could be told; empty otherwise.
    """

    couplings: tuple[Coupling, ...]
    fingers: tuple[FingerIndex, ...]
    events: int
    unclear: int
    heard: bool
    note: str = ""


@dataclass(frozen=True)
class FeatureSummary:
    """Plain features of the hand over the recording (`pipeline.measures.features`).

    Attributes
    ----------
    openness, openness_low, openness_high : float
        Median, without unit: 1 = stretched out, about a half = a fist; 95 % interval within this recording.
    openness_p5, openness_p95 : float
        What it moves between.
    openness_sigma : float
        Median measurement error of one frame.
    grasp_shares : dict of float
        Share of measured time (0 to 1) in each class of `pipeline.measures.features.GRASPS`.
    wrist_path_mm_s, wrist_path_low_mm_s, wrist_path_high_mm_s : float
        Length of the wrist's path a second, and its interval.
    note : str
        Why it is withheld; empty otherwise.
    """

    openness: float = math.nan
    openness_low: float = math.nan
    openness_high: float = math.nan
    openness_p5: float = math.nan
    openness_p95: float = math.nan
    openness_sigma: float = math.nan
    grasp_shares: dict[str, float] = field(default_factory=dict)
    wrist_path_mm_s: float = math.nan
    wrist_path_low_mm_s: float = math.nan
    wrist_path_high_mm_s: float = math.nan
    note: str = ""
