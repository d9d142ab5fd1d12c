"""References: what healthy people's hands do, as a file, and how one is built.

Two sigmas, never mixed: the *frame* spread (all frames of all people) is for the overlay's z, the *person*
spread (between people's medians) for the report's. People count alike, however long each was recorded.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from scipy.stats import t as student

import pipeline.hand.angles
import pipeline.measures.kinematics
from pipeline.errors import MeasureError, RunFolderError
from pipeline.files import hash_json, read_json, write_json
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS, Side
from pipeline.measures.headlines import MIN_VALID_SHARE, compute_headlines
from pipeline.measures.kinematics import FILTER_NAME
from pipeline.measures.measure import HandMeasures, measure_hand
from pipeline.measures.scores import score_frames, score_person
from pipeline.measures.summary_types import HEADLINES, NAN, from_plain
from pipeline.results import HandTrack, RunFolder, list_sides, read_hand

BASELINE_VERSION = 1
BUILTIN_BASELINE = Path(__file__).with_name("baseline_simulated.json")
"""The built-in reference, worked out from made people (`pipeline.synth.people`)."""

MIN_PEOPLE = 2
PERCENTILES = (2.5, 5.0, 25.0, 50.0, 75.0, 95.0, 97.5)
_QUANTILES = np.linspace(0.0, 1.0, 1001)


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

    ``n_people`` is 0 and the rest NaN where their frame rate does not carry jerk.
    """

    n_people: int
    jerk_p50: float
    jerk_p95: float
    acceleration_p50: float
    acceleration_p95: float


@dataclass(frozen=True)
class NumberReference:
    """A headline number over the people of a reference."""

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
        Minutes of recording in it, gaps included.
    task : str
        What they did.
    fps : float
        Median frame rate of the recordings.
    filter : str
        The derivatives' filter: jerk is only compared with the same.
    licence, provenance : str
        Under what terms it may be used; who was recorded, how, when.
    angles : dict of AngleReference
        By angle id.
    joints : dict of JointReference
        By joint id.
    headlines : dict of NumberReference
        By headline id.
    leave_one_out : dict of float
        Each person held against the others: shares of frames and of medians beyond 1 and 3, with what chance
        alone would give (see `check_leave_one_out`).
    script_sha256 : str
        Of the code that worked it out.
    schema_version : int
        `BASELINE_VERSION`.
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
        return hash_json(asdict(self))


@dataclass(frozen=True)
class PersonData:
    """One person's recordings, measured without a reference.

    Attributes
    ----------
    subject : str
        Pseudonym: recordings of one person are pooled by it.
    task : str
        What was done.
    hands : tuple of HandMeasures
        One for each recorded hand and run.
    """

    subject: str
    task: str
    hands: tuple[HandMeasures, ...]

    @property
    def minutes(self) -> float:
        """Length of all recordings; two hands of one recording count once each."""
        return sum(len(hand.kinematics.time_s) / hand.kinematics.fps for hand in self.hands) / 60.0


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a reference as JSON, whole or not at all."""
    write_json(path, asdict(baseline))


def read_baseline(path: Path | None = None) -> Baseline:
    """Read a reference; without a path the built-in simulated one.

    Raises
    ------
    RunFolderError
        The file is missing or broken.
    MeasureError
        It is no reference of this program, or of another schema.
    """
    return _read_baseline(Path(path or BUILTIN_BASELINE).resolve(), _stamp(Path(path or BUILTIN_BASELINE)))


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@functools.lru_cache(maxsize=4)
def _read_baseline(path: Path, stamp: int) -> Baseline:
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != BASELINE_VERSION:
        raise MeasureError(
            f"The reference {path.name} has schema {version}; this program reads {BASELINE_VERSION}.",
            "Build it again with `python -m pipeline baseline build`.",
        )
    try:
        return cast(Baseline, from_plain(Baseline, raw))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(
            f"{path.name} is not a reference of this program ({error}).",
            "Build it again with `python -m pipeline baseline build`.",
        ) from error


def build_baseline(
    runs: Sequence[RunFolder],
    name: str = "local baseline",
    licence: str = "not stated",
    provenance: str = "not stated",
    simulated: bool = False,
) -> Baseline:
    """Build a reference from run folders of healthy people.

    Parameters
    ----------
    runs : sequence of RunFolder
        Finished runs. Runs with the same ``subject`` in their session settings are one person.
    name, licence, provenance : str
        What reports print about it.
    simulated : bool
        The people are made.

    Raises
    ------
    MeasureError
        Fewer than two people, or tasks that differ.
    RunFolderError
        A run folder is not finished or cannot be read.
    """
    people: dict[str, PersonData] = {}
    for run in runs:
        record = read_json(run.run_json)
        if record.get("state") != "done":  # what an earlier run left there may be of other settings
            raise RunFolderError(
                f"The run in {run.path} is not finished.", "Run the pipeline on its session first."
            )
        settings = record.get("settings", {})
        subject, task = str(settings.get("subject", run.path.name)), str(settings.get("task", ""))
        sides = list_sides(run)
        if not sides:
            raise RunFolderError(f"{run.path} holds no fused hand.", "Run the pipeline on its session first.")
        person = measure_person(subject, task, ((side, read_hand(run, side)) for side in sides))
        before = people.get(subject)
        if before:
            if before.task != task:
                raise _mixed_tasks({before.task, task})
            person = PersonData(subject, task, before.hands + person.hands)
        people[subject] = person
    return build_from_people(list(people.values()), name, licence, provenance, simulated)


def measure_person(subject: str, task: str, hands: Iterable[tuple[Side, HandTrack]]) -> PersonData:
    """Measure one person's hands without a reference."""
    return PersonData(subject, task, tuple(measure_hand(hand, side, None) for side, hand in hands))


def build_from_people(
    people: Sequence[PersonData], name: str, licence: str, provenance: str, simulated: bool
) -> Baseline:
    """Build a reference from measured people, and hold each against the others.

    Raises
    ------
    MeasureError
        Fewer than two people, or tasks that differ.
    """
    if len(people) < MIN_PEOPLE:
        raise MeasureError(
            f"A reference of {len(people)} people cannot tell how people differ.",
            f"Give recordings of at least {MIN_PEOPLE} people (20 is a beginning), each with a subject of "
            "their own in session.toml.",
        )
    tasks = {person.task for person in people}
    if len(tasks) > 1:
        raise _mixed_tasks(tasks)
    baseline = Baseline(
        name=name,
        simulated=simulated,
        n_people=len(people),
        n_minutes=round(sum(person.minutes for person in people), 2),
        task=tasks.pop(),
        fps=round(float(np.median([hand.kinematics.fps for one in people for hand in one.hands])), 3),
        filter=FILTER_NAME,
        licence=licence,
        provenance=provenance,
        angles=_build_angles([_describe_person(person) for person in people]),
        joints=_build_joints(people),
        leave_one_out=check_leave_one_out(people),
        script_sha256=_hash_scripts(),
    )
    return replace(baseline, headlines=_build_headlines(people, baseline))


def _mixed_tasks(tasks: set[str]) -> MeasureError:
    return MeasureError(
        f"The recordings are of different tasks: {', '.join(sorted(tasks))}.",
        "Build one reference for each task.",
    )


def _hash_scripts() -> str:
    digest = hashlib.sha256()
    for script in (__file__, pipeline.hand.angles.__file__, pipeline.measures.kinematics.__file__):
        digest.update(Path(str(script)).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Person:
    """One person's values of one angle, degrees; an empty one was measured for too little of the time."""

    known: bool
    mean: float = NAN
    variance: float = NAN
    median: float = NAN
    p5: float = NAN
    p95: float = NAN
    quantiles: np.ndarray = field(default_factory=lambda: np.empty(0))


def _describe_person(person: PersonData) -> list[_Person]:
    """Each of the 20 angles over all of a person's recordings."""
    degrees = _pool([hand.degrees for hand in person.hands])
    described = []
    for values in degrees.T:
        usable = _usable([values])
        if not usable:
            described.append(_Person(False))
            continue
        (known,) = usable
        quantiles = np.quantile(known, _QUANTILES)
        median, p5, p95 = np.interp([0.5, 0.05, 0.95], _QUANTILES, quantiles)
        described.append(
            _Person(True, float(known.mean()), float(known.var()), float(median), p5, p95, quantiles)
        )
    return described


def _build_angles(people: Sequence[list[_Person]]) -> dict[str, AngleReference]:
    """The reference of each angle, from what `_describe_person` says of each person."""
    return {angle: _refer_angle([one[column] for one in people]) for column, angle in enumerate(ANGLES)}


def _build_joints(people: Sequence[PersonData]) -> dict[str, JointReference]:
    jerks = [_pool([hand.kinematics.jerk for hand in person.hands]) for person in people]
    accelerations = [_pool([hand.kinematics.acceleration for hand in person.hands]) for person in people]
    return {
        joint: _refer_joint([one[:, column] for one in jerks], [one[:, column] for one in accelerations])
        for column, joint in enumerate(JOINTS)
    }


def _pool(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, axis=0)


def _usable(series: list[np.ndarray]) -> list[np.ndarray]:
    """The finite values of each person who was measured for long enough."""
    return [
        values[np.isfinite(values)]
        for values in series
        if len(values) and np.isfinite(values).mean() >= MIN_VALID_SHARE
    ]


def _refer_angle(people: list[_Person]) -> AngleReference:
    known = [person for person in people if person.known]
    if len(known) < MIN_PEOPLE:
        return AngleReference(len(known), NAN, NAN, NAN, NAN)
    means, medians, low, high = (
        np.array([getattr(person, name) for person in known]) for name in ("mean", "median", "p5", "p95")
    )
    within = float(np.mean([person.variance for person in known]))
    pooled = np.percentile(np.concatenate([person.quantiles for person in known]), PERCENTILES)
    return AngleReference(
        n_people=len(known),
        frame_mean_deg=float(means.mean()),
        frame_sd_deg=math.sqrt(within + float(means.var(ddof=1))),
        person_mean_deg=float(medians.mean()),
        person_sd_deg=float(medians.std(ddof=1)),
        percentiles_deg={f"{p:g}": float(value) for p, value in zip(PERCENTILES, pooled, strict=True)},
        person_p5_mean_deg=float(low.mean()),
        person_p5_sd_deg=float(low.std(ddof=1)),
        person_p95_mean_deg=float(high.mean()),
        person_p95_sd_deg=float(high.std(ddof=1)),
    )


def _refer_joint(jerk: list[np.ndarray], acceleration: list[np.ndarray]) -> JointReference:
    known, quick = _usable(jerk), _usable(acceleration)
    if not known or not quick:
        return JointReference(0, NAN, NAN, NAN, NAN)
    pooled = np.concatenate([np.quantile(values, _QUANTILES) for values in known])
    pooled_quick = np.concatenate([np.quantile(values, _QUANTILES) for values in quick])
    p50, p95 = np.percentile(pooled, [50, 95])
    a50, a95 = np.percentile(pooled_quick, [50, 95])
    return JointReference(len(known), float(p50), float(p95), float(a50), float(a95))


def _build_headlines(people: Sequence[PersonData], baseline: Baseline) -> dict[str, NumberReference]:
    mean, sd = baseline.frame_level()
    values: dict[str, list[float]] = {name: [] for name in HEADLINES}
    for person in people:
        of_hands = [compute_headlines(_against(hand, mean, sd), baseline).numbers for hand in person.hands]
        for name in HEADLINES:
            known = [numbers[name].value for numbers in of_hands if np.isfinite(numbers[name].value)]
            if known:
                values[name].append(float(np.mean(known)))
    return {
        name: NumberReference(
            len(known),
            float(np.mean(known)) if known else NAN,
            float(np.std(known, ddof=1)) if len(known) > 1 else NAN,
        )
        for name, known in values.items()
    }


def _against(hand: HandMeasures, mean: np.ndarray, sd: np.ndarray) -> HandMeasures:
    return replace(hand, z=score_frames(hand.degrees, mean, sd))


def check_leave_one_out(people: Sequence[PersonData]) -> dict[str, float]:
    """Hold each person against a reference of the others.

    Returns
    -------
    dict of float
        ``frame_beyond_1``, ``frame_beyond_3``: share of frames and angles with frame-level |z| over 1, from
        3; ``person_beyond_1``, ``person_beyond_3``: share of angles with person-level |z| so;
        ``person_beyond_1_by_chance``, ``person_beyond_3_by_chance``: what Student's t with this many people
        gives; ``n_people``. Empty with fewer than four people.
    """
    if len(people) < 4:
        return {}
    described = [_describe_person(person) for person in people]
    frames, persons = [], []
    for left_out, own in enumerate(described):
        angles = _build_angles(described[:left_out] + described[left_out + 1 :])
        for person, entry in zip(own, angles.values(), strict=True):
            # Quantiles stand for the frames: every person counts alike.
            frames.append(np.abs(person.quantiles - entry.frame_mean_deg) / entry.frame_sd_deg)
            score = score_person(person.median, entry.person_mean_deg, entry.person_sd_deg, entry.n_people)
            persons.append(abs(score.z))
    every_frame = np.concatenate(frames)
    every_frame = every_frame[np.isfinite(every_frame)]
    every_person = np.array(persons)[np.isfinite(persons)]
    free = len(people) - 2
    return {
        "n_people": float(len(people)),
        "frame_beyond_1": float((every_frame > 1).mean()),
        "frame_beyond_3": float((every_frame >= 3).mean()),
        "person_beyond_1": float((every_person > 1).mean()),
        "person_beyond_3": float((every_person >= 3).mean()),
        "person_beyond_1_by_chance": float(2 * student.sf(1, free)),
        "person_beyond_3_by_chance": float(2 * student.sf(3, free)),
    }


def describe_baseline(baseline: Baseline) -> str:
    """A reference in a few lines: origin, size, and the leave-one-out check."""
    lines = [
        f"{baseline.name}: {baseline.n_people} people, {baseline.n_minutes:.1f} min of {baseline.task}, "
        f"{baseline.fps:.2f} frames/s" + (", SIMULATED" if baseline.simulated else ""),
        f"licence: {baseline.licence}",
        f"provenance: {baseline.provenance}",
    ]
    check = baseline.leave_one_out
    if check:
        lines += [
            "each person against the others:",
            f"  frames with |z| > 1: {100 * check['frame_beyond_1']:.1f} %, "
            f">= 3: {100 * check['frame_beyond_3']:.2f} % (a normal spread has 31.7 and 0.27)",
            f"  medians with |z| > 1: {100 * check['person_beyond_1']:.1f} % "
            f"(chance {100 * check['person_beyond_1_by_chance']:.1f}), "
            f">= 3: {100 * check['person_beyond_3']:.2f} % "
            f"(chance {100 * check['person_beyond_3_by_chance']:.2f})",
        ]
    return "\n".join(lines)
