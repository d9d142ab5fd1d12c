"""What a reference's file holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

from pipeline.files import hash_json
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS
from pipeline.measures.kinematics import FILTER_NAME
from pipeline.measures.summary_types import NAN

BASELINE_VERSION = 1

PLAYING_INFO: dict[str, tuple[str, str]] = {
    "tremor_seen": ("share of recordings with a tremor at this site, of those that tell", ""),
    "tremor_rms_mm": ("size of a tremor where one is seen (root mean square)", "mm"),
    "individuation": ("individuation index of a finger (1 = the others stay)", ""),
    "timing_sd_ms": ("unevenness of the strokes that are heard", "ms"),
    "timing_cv": ("the same over their mean interval", ""),
}
"""The kinds of `Baseline.playing`: label and unit. Tremor and individuation have the site or finger after a
colon."""


@dataclass(frozen=True)
class AngleReference:
    """One angle over the people of a reference, degrees.

    Attributes
    ----------
    n_people : int
        In whom it could be measured.
    frame_mean_deg, frame_sd_deg : float
        Over all frames of all people.
    person_mean_deg, person_sd_deg : float
        Over the people's medians.
    percentiles_deg : dict of float
        Of all frames, by percent ("2.5", ...).
    person_p5_mean_deg, person_p5_sd_deg, person_p95_mean_deg, person_p95_sd_deg : float
        Over the people's own 5th and 95th percentiles.
    """

    n_people: int
    frame_mean_deg: float
    frame_sd_deg: float
    person_mean_deg: float
    person_sd_deg: float
    percentiles_deg: dict[str, float] = field(default_factory=dict)
    person_p5_mean_deg: float = NAN
    person_p5_sd_deg: float = NAN
    person_p95_mean_deg: float = NAN
    person_p95_sd_deg: float = NAN


@dataclass(frozen=True)
class JointReference:
    """One joint's movement over all frames of the people of a reference: m/s³ and m/s².

    ``n_people`` is 0 and the rest NaN where their frame rate does not carry jerk, or the reference is of
    postures alone.
    """

    n_people: int
    jerk_p50: float
    jerk_p95: float
    acceleration_p50: float
    acceleration_p95: float


@dataclass(frozen=True)
class NumberReference:
    """A number over the people of a reference: mean and spread between people, and how many they are."""

    n_people: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Baseline:
    """A reference.

    Attributes
    ----------
    name : str
        What reports call it.
    simulated : bool
        True: made motion, not people.
    n_people : int
        People in it.
    n_minutes : float
        Minutes of recording in it, gaps included; two hands of one recording count once each.
    task : str
        What they did.
    fps : float
        Median frame rate of the recordings.
    filter : str
        The filter of positions and derivatives: jerk is only compared with the same.
    licence, provenance : str
        Under what terms it may be used; who was recorded, how, when.
    angles : dict of AngleReference
        By angle id.
    joints : dict of JointReference
        By joint id.
    headlines : dict of NumberReference
        By headline id.
    leave_one_out : dict of float
        Each person held against the others: shares of frames and of medians beyond 1, 2 and 3, with what
        chance alone would give (see `pipeline.measures.null_rates.check_leave_one_out`).
    script_sha256 : str
        Of the code that worked it out.
    schema_version : int
        `BASELINE_VERSION`.
    version : str
        Of this reference, as its makers count; empty in older files.
    program_version : str
        Of the program that worked it out; empty in older files.
    posture_only : str
        Why it holds postures alone, in words for the report: no speed, acceleration or jerk. Empty where it
        holds movement.
    playing : dict of NumberReference
        Numbers of the strokes and of tremor by id, such as ``individuation:index`` (`PLAYING_INFO`); empty
        in older files and where no run told of them.
    """

    name: str
    simulated: bool
    n_people: int
    n_minutes: float
    task: str
    fps: float
    filter: str
    licence: str
    provenance: str
    angles: dict[str, AngleReference]
    joints: dict[str, JointReference]
    headlines: dict[str, NumberReference] = field(default_factory=dict)
    leave_one_out: dict[str, float] = field(default_factory=dict)
    script_sha256: str = ""
    schema_version: int = BASELINE_VERSION
    version: str = ""
    program_version: str = ""
    posture_only: str = ""
    playing: dict[str, NumberReference] = field(default_factory=dict)

    def frame_level(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (20,) of all frames, degrees, in the order of `ANGLES`; NaN where there is none."""
        found = [self.angles.get(angle) for angle in ANGLES]
        return (
            np.array([entry.frame_mean_deg if entry else NAN for entry in found]),
            np.array([entry.frame_sd_deg if entry else NAN for entry in found]),
        )

    def person_level(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, spread and number (20,) of people's medians, degrees, in the order of `ANGLES`."""
        found = [self.angles.get(angle) for angle in ANGLES]
        return (
            np.array([entry.person_mean_deg if entry else NAN for entry in found]),
            np.array([entry.person_sd_deg if entry else NAN for entry in found]),
            np.array([entry.n_people if entry else 0 for entry in found]),
        )

    def jerk_reference(self) -> tuple[np.ndarray, np.ndarray]:
        """P50 and P95 (21,) of jerk, m/s³, in the order of `JOINTS`; NaN for another filter."""
        found = [self.joints.get(joint) if self.filter == FILTER_NAME else None for joint in JOINTS]
        return (
            np.array([entry.jerk_p50 if entry else NAN for entry in found]),
            np.array([entry.jerk_p95 if entry else NAN for entry in found]),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        content = asdict(self)
        for name in ("version", "program_version", "posture_only", "playing"):
            if not content[name]:  # so that a file from before these fields keeps its digest
                del content[name]
        return hash_json(content)
