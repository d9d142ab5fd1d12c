"""What ``summary.json`` holds: every number that a report prints, with unit, interval, reference and origin.

Frozen dataclasses with a round trip through JSON. NaN = cannot be told (null in the file); the `note` or
`reasons` beside it say why. Intervals come from the one recording (moving-block bootstrap) and hold nothing
of how a person differs from day to day.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import RunFolderError
from pipeline.files import read_json, write_json
from pipeline.hand.joints import Side
from pipeline.measures.levels import LEVELS, UNKNOWN, Level
from pipeline.measures.playing_types import FeatureSummary, Individuation, KeyTiming, TremorSummary
from pipeline.measures.quality_types import QualityReport

SUMMARY_VERSION = 1

NAN = float("nan")

INTERVAL_NOTE = "95 % interval within this recording; it does not hold how a person differs from day to day."
SIMULATED_NOTE = "The reference is simulated: for trying the software, not for a patient."


@dataclass(frozen=True)
class Recording:
    """What was recorded.

    Attributes
    ----------
    duration_s : float
        From the first to the last fused frame.
    fps : float
        Nominal frame rate of the reference camera's times.
    n_frames : int
        Fused frames.
    cameras : tuple of str
        The reference camera first.
    """

    duration_s: float
    fps: float
    n_frames: int
    cameras: tuple[str, ...]


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: printed at the foot of every report.

    Attributes
    ----------
    program_version : str
        Version of this program.
    hand_model, detector, estimator, preset : str
        What found and modelled the hand.
    filter : str
        The derivatives' filter and its windows, in words.
    baseline : str
        The reference's name.
    baseline_simulated : bool
        True: made motion, not people. Say so at every z.
    baseline_n_people : int
        People in it.
    baseline_minutes : float
        Minutes in it.
    baseline_task, baseline_licence, baseline_provenance : str
        What they did, under what terms it may be used, who was recorded and how.
    baseline_digest : str
        SHA-256 of the reference's content.
    """

    program_version: str
    hand_model: str
    detector: str
    estimator: str
    preset: str
    filter: str
    baseline: str
    baseline_simulated: bool
    baseline_n_people: int
    baseline_minutes: float
    baseline_task: str
    baseline_licence: str
    baseline_provenance: str
    baseline_digest: str


@dataclass(frozen=True)
class AngleSummary:
    """One joint angle over the recording, against the reference.

    Attributes
    ----------
    angle : str
        Id, one of `pipeline.hand.angles.ANGLES`.
    label : str
        In words.
    finger, joint : str
        The finger, and the joint to draw it at.
    median_deg, sd_deg : float
        Median and standard deviation over valid time. Flexion +, hyperextension -, abduction away from the
        middle finger +.
    range_of_motion_deg : float
        97.5th minus 2.5th percentile.
    sigma_deg : float
        Median measurement error (standard deviation) of one frame: the whole, of which the part that stays
        the same over the recording is in no interval.
    z : float
        Signed, person level: the median against the people of the reference, in the spread between people,
        with Crawford and Howell's correction for a small reference. Not the frame level of
        ``angles.parquet``.
    z_low, z_high : float
        95 % interval of z: the recording's own uncertainty, the measurement error and the reference's small
        number together.
    level : str
        One of `pipeline.measures.levels.LEVELS`, of z.
    certain : bool
        The whole interval lies within that level; False is drawn hatched.
    reference_mean_deg, reference_sd_deg : float
        Mean over the reference's people of their medians, and the spread between people.
    valid_share : float
        Share of the recording (0 to 1) in which the angle was measured.
    note : str
        Why a number is missing, in words; empty if none is.
    peak_deg : float
        Where the angle is at its farthest: its 5th or 95th percentile, whichever lies farther outward of the
        same percentile of the reference's people. A posture held for less than half of the time moves this
        and leaves the median where it was.
    peak_z, peak_z_low, peak_z_high : float
        Signed person-level z of ``peak_deg`` and its interval. It is the larger of two, so it is somewhat
        larger than ``z`` by chance alone.
    peak_level : str
        Of ``peak_z``.
    peak_certain : bool
        As ``certain``.
    peak_reference_mean_deg, peak_reference_sd_deg : float
        That percentile over the reference's people.
    far_share : float
        Share of valid time (0 to 1) at a frame-level z of 3 or more to either side.
    far_low, far_high : float
        Its 95 % interval within this recording; NaN in an older summary.
    median_low, median_high : float
        95 % interval of the median within this recording.
    rms_deg, rms_low, rms_high : float
        Root mean square distance from the reference's mean over valid time, as the Movement Analysis Profile
        has it (Baker 2009), and its 95 % interval within this recording.
    reference_rms_deg : float
        The same for all frames of the reference's people together.
    """

    angle: str
    label: str
    finger: str
    joint: str
    median_deg: float
    sd_deg: float
    range_of_motion_deg: float
    sigma_deg: float
    z: float
    z_low: float
    z_high: float
    level: Level
    certain: bool
    reference_mean_deg: float
    reference_sd_deg: float
    valid_share: float
    note: str = ""
    peak_deg: float = NAN
    peak_z: float = NAN
    peak_z_low: float = NAN
    peak_z_high: float = NAN
    peak_level: Level = UNKNOWN
    peak_certain: bool = False
    peak_reference_mean_deg: float = NAN
    peak_reference_sd_deg: float = NAN
    far_share: float = NAN
    far_low: float = NAN
    far_high: float = NAN
    median_low: float = NAN
    median_high: float = NAN
    rms_deg: float = NAN
    rms_low: float = NAN
    rms_high: float = NAN
    reference_rms_deg: float = NAN

    @property
    def is_peak_farther(self) -> bool:
        """Whether the peak lies farther from the reference than the median, on its own side."""
        is_outward = self.peak_z * (self.peak_deg - self.median_deg) > 0
        return is_outward and abs(self.peak_z) > abs(self.z)

    @property
    def farthest(self) -> FarthestPosture:
        """Of median and peak, the one farther from the reference: what a picture of the hand shows."""
        if self.is_peak_farther:
            return FarthestPosture(
                degrees=self.peak_deg,
                z=self.peak_z,
                z_low=self.peak_z_low,
                z_high=self.peak_z_high,
                level=self.peak_level,
                certain=self.peak_certain,
                reference_mean_deg=self.peak_reference_mean_deg,
                reference_sd_deg=self.peak_reference_sd_deg,
            )
        return FarthestPosture(
            degrees=self.median_deg,
            z=self.z,
            z_low=self.z_low,
            z_high=self.z_high,
            level=self.level,
            certain=self.certain,
            reference_mean_deg=self.reference_mean_deg,
            reference_sd_deg=self.reference_sd_deg,
        )


@dataclass(frozen=True)
class FarthestPosture:
    """An angle's median or peak with its z and reference, whichever lies farther out.

    Attributes
    ----------
    degrees : float
        The posture.
    z, z_low, z_high : float
        Signed, person level, with its 95 % interval.
    level : str
        Of z.
    certain : bool
        The whole interval lies within that level.
    reference_mean_deg, reference_sd_deg : float
        The same statistic over the reference's people.
    """

    degrees: float
    z: float
    z_low: float
    z_high: float
    level: Level
    certain: bool
    reference_mean_deg: float
    reference_sd_deg: float

    @property
    def sure_z(self) -> float:
        """How far from the reference it surely is: the near end of the interval, 0 where that holds 0.

        0 without an interval, too: what is not known to be far is not called far first.
        """
        if not self.z_low * self.z_high > 0:  # also where an end is NaN
            return 0.0
        return min(abs(self.z_low), abs(self.z_high))


@dataclass(frozen=True)
class WorstAngle:
    """One of the three angles farthest from the reference.

    Attributes
    ----------
    angle : str
        Id.
    z : float
        Signed, person level: of the median, or of the peak where that is farther.
    level : str
        Of z.
    sentence : str
        In words: "Right ring finger PIP flexion: 2.4 SD more flexed, 68° against 41 ± 11° (n = 24)".
    """

    angle: str
    z: float
    level: Level
    sentence: str


@dataclass(frozen=True)
class Headline:
    """One of the few numbers at the top of a report.

    Attributes
    ----------
    id : str
        Stable name: one of `HEADLINES`.
    label : str
        In words.
    value : float
        NaN = withheld; `note` says why.
    unit : str
        "%", "1/min", "m/s³", "m/s²", "°" or "" (no unit).
    low, high : float
        95 % interval within this recording.
    reference_mean, reference_sd : float
        The same number over the reference's people; NaN where the reference does not have it.
    reference : str
        The reference in words, simulated or not, with n; empty without one.
    note : str
        How to read it, or why it is withheld.
    valid_share : float
        Share of the recording (0 to 1) it rests on.
    worse : "higher" | "lower" | ""
        The direction that counts as worse; empty where neither does.
    """

    id: str
    label: str
    value: float
    unit: str
    low: float = NAN
    high: float = NAN
    reference_mean: float = NAN
    reference_sd: float = NAN
    reference: str = ""
    note: str = ""
    valid_share: float = NAN
    worse: str = ""


@dataclass(frozen=True)
class FingerProfile:
    """How far one finger lies from the reference (the idea of the Movement Analysis Profile, Baker 2009).

    Attributes
    ----------
    finger : str
        One of `pipeline.hand.joints.FINGERS`.
    rms_deg : float
        Root mean square, over valid time and the finger's four angles, of the distance from the reference
        mean.
    rms_z : float
        Root mean square of the finger's signed person-level z.
    posture_share : float
        Share of valid time (0 to 1) in which any of its angles is in a posture bout.
    bouts_per_min : float
        Posture bouts that begin, a minute of valid time, its angles together.
    rms_low, rms_high : float
        95 % interval of ``rms_deg`` within this recording.
    reference_rms_deg : float
        ``rms_deg`` of all frames of the reference's people together.
    """

    finger: str
    rms_deg: float
    rms_z: float
    posture_share: float
    bouts_per_min: float
    rms_low: float = NAN
    rms_high: float = NAN
    reference_rms_deg: float = NAN


@dataclass(frozen=True)
class PostureBout:
    """A sustained posture: an angle 3 SD or more away, until it is under 2 again, for at least 200 ms.

    Attributes
    ----------
    angle, finger : str
        Which.
    direction : str
        In words ("more flexed").
    start_s, end_s : float
        On the reference camera's clock.
    peak_z : float
        Signed frame-level z where it is farthest.
    begun : bool
        Seen to begin; False: under way already when the angle was first measured, at the recording's start or
        after a gap. Such a one is no count by the minute, which short recordings would have more of.
    """

    angle: str
    finger: str
    direction: str
    start_s: float
    end_s: float
    peak_z: float
    begun: bool = True


@dataclass(frozen=True)
class BriskEvent:
    """A brisk movement: acceleration surely over 5 m/s² (less two standard deviations of its noise).

    Attributes
    ----------
    joint : str
        Which.
    start_s, end_s, peak_s : float
        On the reference camera's clock.
    peak_acceleration : float
        m/s².
    """

    joint: str
    start_s: float
    end_s: float
    peak_s: float
    peak_acceleration: float


@dataclass(frozen=True)
class JointJerk:
    """One joint's jerk against the frozen reference: the number, where the jerk score is the picture.

    Attributes
    ----------
    joint : str
        Which.
    p50, p95 : float
        Percentiles over valid time, m/s³.
    noise : float
        Median standard deviation of its noise per axis, m/s³.
    reference_p50, reference_p95 : float
        The reference's; NaN if it has none for this frame rate and filter.
    share_over_reference : float
        Share of valid time (0 to 1) over the reference's P95; 0.05 is what its own people have.
    mean_reference_score : float
        Mean of ``sqrt(clip((jerk - P50) / (P95 - P50), 0, 1))`` with the reference's percentiles.
    note : str
        Why a number is missing.
    """

    joint: str
    p50: float
    p95: float
    noise: float
    reference_p50: float
    reference_p95: float
    share_over_reference: float
    mean_reference_score: float
    note: str = ""


@dataclass(frozen=True)
class SideSummary:
    """One hand.

    Attributes
    ----------
    angles : tuple of AngleSummary
        All 20, in the order of `pipeline.hand.angles.ANGLES`.
    worst : tuple of WorstAngle
        Up to three, the farthest first.
    headlines : tuple of Headline
        In the order of `HEADLINES`.
    fingers : tuple of FingerProfile
        Thumb to little finger.
    bouts : tuple of PostureBout
        By start.
    brisk : tuple of BriskEvent
        By start.
    jerk_reference : tuple of JointJerk
        All 21 joints.
    tremor : tuple of TremorSummary
        The hand, and the fingers thumb to little finger; empty in an older summary.
    individuation : Individuation, optional
        How far the other fingers move with the one that strikes; None in an older summary.
    features : FeatureSummary, optional
        Openness, grasp, wrist path; None in an older summary.
    hinge_twist_deg : float
        What the model twists the PIP or DIP joint by that it twists most (median): a fit check.
    ldlj : float
        Log dimensionless jerk of the fingertips' speed, median over windows as SPARC's. 0.2 mm of jitter
        moves it by several units, so it is no headline and no change is told from it. NaN = nothing moved,
        or an older summary.
    """

    angles: tuple[AngleSummary, ...]
    worst: tuple[WorstAngle, ...]
    headlines: tuple[Headline, ...]
    fingers: tuple[FingerProfile, ...]
    bouts: tuple[PostureBout, ...]
    brisk: tuple[BriskEvent, ...]
    jerk_reference: tuple[JointJerk, ...]
    tremor: tuple[TremorSummary, ...] = ()
    individuation: Individuation | None = None
    features: FeatureSummary | None = None
    hinge_twist_deg: float = NAN
    ldlj: float = NAN


@dataclass(frozen=True)
class Excluded:
    """A section that a person excluded: nothing was measured in it.

    Attributes
    ----------
    start_s, end_s : float
        On the reference camera's clock.
    seconds : float
        How much of the recording it takes; 0 past its end.
    reason : str
        As the person typed it.
    side : str
        "right" or "left"; empty = both hands.
    """

    start_s: float
    end_s: float
    seconds: float
    reason: str
    side: str = ""


@dataclass(frozen=True)
class Summary:
    """``summary.json``.

    Attributes
    ----------
    subject : str
        Pseudonym.
    visit : str
        ISO date; empty if not given.
    task : str
        As in ``session.toml``.
    recording : Recording
        What was recorded.
    quality : QualityReport
        Comes first on a report.
    provenance : Provenance
        Where the numbers come from.
    sides : dict of SideSummary
        By side.
    comparability : dict of str
        What must agree for two recordings to be compared (`pipeline.measures.change`).
    notes : tuple of str
        What holds for the whole report.
    timing : KeyTiming, optional
        How evenly the strokes come; None in an older summary.
    playing_reference : dict of str
        The reference's numbers of tremor, individuation and timing in words, by the ids of
        `pipeline.measures.baseline_types.Baseline.playing`; empty where it has none.
    excluded : tuple of Excluded
        Sections that a person excluded, by start.
    schema_version : int
        `SUMMARY_VERSION`.
    """

    subject: str
    visit: str
    task: str
    recording: Recording
    quality: QualityReport
    provenance: Provenance
    sides: dict[Side, SideSummary]
    comparability: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timing: KeyTiming | None = None
    schema_version: int = SUMMARY_VERSION
    playing_reference: dict[str, str] = field(default_factory=dict)
    excluded: tuple[Excluded, ...] = ()


HEADLINES: dict[str, tuple[str, str, str]] = {
    "posture_share": ("Time in a sustained posture far from the reference", "%", "higher"),
    "posture_bouts": ("Sustained postures a minute", "1/min", "higher"),
    "angle_deviation": ("Distance of the joint angles from the reference", "°", "higher"),
    "smoothness": ("Smoothness of the fingertips (SPARC; nearer 0 is smoother)", "", "lower"),
    "jerk_over_reference": ("Fingertip time above the reference's 95th percentile of jerk", "%", "higher"),
    "jerk_p95": ("95th percentile of fingertip jerk", "m/s³", ""),
    "acceleration_p95": ("95th percentile of fingertip acceleration", "m/s²", ""),
    "brisk_events": ("Brisk fingertip movements a minute", "1/min", ""),
}
"""The headline numbers by id: label, unit, and which direction counts as worse ("" = neither)."""


def write_summary(path: Path, summary: Summary) -> None:
    """Write ``summary.json``, whole or not at all; NaN becomes null."""
    write_json(path, dataclasses.asdict(summary))


def read_summary(path: Path) -> Summary:
    """Read a ``summary.json``; null becomes NaN.

    Raises
    ------
    RunFolderError
        It is missing, broken, or of another schema.
    """
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SUMMARY_VERSION:
        raise RunFolderError(
            f"{path} has schema {version}; this program reads {SUMMARY_VERSION}.",
            "Run the pipeline again on the session.",
        )
    try:
        return typing.cast(Summary, from_plain(Summary, raw))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"{path} is not a summary of this program ({error}).", "Run the pipeline again on the session."
        ) from error


def from_plain(kind: Any, value: Any) -> Any:
    """Rebuild a dataclass (or a tuple, dict or number) of type ``kind`` from what JSON gave.

    Unknown keys are a `TypeError`, missing ones too where there is no default, and so is anything else in the
    place of a text. A number that is too large is a `ValueError`.
    """
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{key: from_plain(hints[key], item) for key, item in value.items()})
    origin = typing.get_origin(kind)
    if origin is tuple and not isinstance(value, str):
        return tuple(from_plain(typing.get_args(kind)[0], item) for item in value)
    if origin is dict:
        return {key: from_plain(typing.get_args(kind)[1], item) for key, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        inner = next(arg for arg in typing.get_args(kind) if arg is not type(None))
        return None if value is None else from_plain(inner, value)
    if kind is float or kind is int:
        return _to_number(kind, value)
    if kind is str and not isinstance(value, str):
        raise TypeError(f"{value!r} where a text should be")
    return value


def _to_number(kind: type[float] | type[int], value: Any) -> float | int:
    if kind is float and value is None:
        return NAN
    try:
        return kind(value)
    except OverflowError as error:
        raise ValueError("a number that is too large") from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def get_headline(side: SideSummary, headline: str) -> Headline:
    """The headline with this id, or an empty one that says it was not worked out."""
    for found in side.headlines:
        if found.id == headline:
            return found
    label, unit, worse = HEADLINES[headline]
    return Headline(headline, label, NAN, unit, note="Not worked out.", worse=worse)


def count_levels(side: SideSummary) -> dict[Level, int]:
    """How many of the angles are at each level, every level named; hatched ones count at their level."""
    found = [angle.level for angle in side.angles]
    return {level: found.count(level) for level in LEVELS}
