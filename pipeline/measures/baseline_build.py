"""How a reference is built: from run folders, or from people measured one after the other.

Two sigmas, never mixed: the *frame* spread (all frames of all people) is for the overlay's z, the *person*
spread (between people's medians) for the report's. People count alike, however long each was recorded.

People are described as they come, and of their frames only what the headlines take is kept, so that hours of
recordings need little memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import pipeline.hand.angles
import pipeline.measures.kinematics
import pipeline.measures.null_rates
from pipeline.errors import MeasureError, RunFolderError
from pipeline.files import read_json
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import JOINTS, Side
from pipeline.measures.baseline_types import AngleReference, Baseline, JointReference, NumberReference
from pipeline.measures.headlines import MIN_VALID_SHARE, compute_headlines
from pipeline.measures.kinematics import FILTER_NAME
from pipeline.measures.measure import HandMeasures, measure_hand
from pipeline.measures.null_rates import PersonAngle, check_leave_one_out, find_frame_level
from pipeline.measures.scores import score_frames
from pipeline.measures.summary_types import HEADLINES, NAN, Summary, read_summary
from pipeline.results import HandTrack, RunFolder, list_sides, read_hand
from pipeline.version import PROGRAM_VERSION

POSTURE_FILTER_NAME = "local polynomial: order 4 over 183 ms (positions), of joints as published"
"""Of references that hold postures alone."""

MIN_PEOPLE = 2
PERCENTILES = (2.5, 5.0, 25.0, 50.0, 75.0, 95.0, 97.5)
_QUANTILES = np.linspace(0.0, 1.0, 1001)
_MOVEMENT = ("speed", "acceleration", "jerk", "speed_noise", "acceleration_noise", "jerk_noise")
_NEED_A_REFERENCE = ("posture_share", "posture_bouts", "angle_deviation", "jerk_over_reference")


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
    playing : tuple of dict of float
        Numbers of the strokes and of tremor, one dict a run; ids as in `Baseline.playing`.
    """

    subject: str
    task: str
    hands: tuple[HandMeasures, ...]
    playing: tuple[dict[str, float], ...] = ()

    @property
    def minutes(self) -> float:
        """Length of all recordings; two hands of one recording count once each."""
        return sum(len(hand.kinematics.time_s) / hand.kinematics.fps for hand in self.hands) / 60.0


@dataclass(frozen=True)
class BaselineLabel:
    """What a reference says of itself that cannot be measured.

    Attributes
    ----------
    name, licence, provenance : str
        What reports print about it.
    simulated : bool
        The people are made.
    version : str
        Of the reference, as its makers count.
    posture_only : str
        Why no speed, acceleration or jerk is taken from these recordings; empty where it is.
    """

    name: str = "local baseline"
    licence: str = "not stated"
    provenance: str = "not stated"
    simulated: bool = False
    version: str = "1"
    posture_only: str = ""


def build_baseline(
    runs: Sequence[RunFolder],
    name: str = "local baseline",
    licence: str = "not stated",
    provenance: str = "not stated",
    simulated: bool = False,
    version: str = "1",
) -> Baseline:
    """Build a reference from run folders of healthy people.

    Parameters
    ----------
    runs : sequence of RunFolder
        Finished runs. Runs with the same ``subject`` in their session settings are one person.
    name, licence, provenance, version : str
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
    by_subject: dict[str, list[RunFolder]] = {}
    tasks: dict[str, str] = {}
    for run in runs:
        settings = _read_settings(run)
        subject = str(settings.get("subject", run.path.name))
        by_subject.setdefault(subject, []).append(run)
        task = str(settings.get("task", ""))
        if tasks.setdefault(subject, task) != task:
            raise _mixed_tasks({tasks[subject], task})
    people = (_measure_runs(subject, tasks[subject], own) for subject, own in by_subject.items())
    return build_labelled(people, BaselineLabel(name, licence, provenance, simulated, version))


def _read_settings(run: RunFolder) -> dict[str, str]:
    record = read_json(run.run_json)
    if record.get("state") != "done":  # what an earlier run left there may be of other settings
        raise RunFolderError(
            f"The run in {run.path} is not finished.", "Run the pipeline on its session first."
        )
    if not list_sides(run):
        raise RunFolderError(f"{run.path} holds no fused hand.", "Run the pipeline on its session first.")
    settings: dict[str, str] = record.get("settings", {})
    return settings


def _measure_runs(subject: str, task: str, runs: Sequence[RunFolder]) -> PersonData:
    hands: list[HandMeasures] = []
    playing = []
    for run in runs:
        for side in list_sides(run):
            hands.append(keep_for_headlines(measure_hand(read_hand(run, side), side, None)))
        if run.summary_json.is_file():
            playing.append(take_playing(read_summary(run.summary_json)))
    return PersonData(subject, task, tuple(hands), tuple(playing))


def take_playing(summary: Summary) -> dict[str, float]:
    """Numbers of tremor, individuation and timing of one run, by id; those withheld are left out.

    Of two hands the mean.
    """
    found: dict[str, list[float]] = {}
    for side in summary.sides.values():
        for tremor in side.tremor:
            if tremor.verdict != "cannot tell":
                found.setdefault(f"tremor_seen:{tremor.site}", []).append(float(tremor.verdict == "seen"))
            found.setdefault(f"tremor_rms_mm:{tremor.site}", []).append(tremor.rms_mm)
        for finger in side.individuation.fingers if side.individuation else ():
            found.setdefault(f"individuation:{finger.finger}", []).append(finger.index)
    if summary.timing and summary.timing.verdict == "measured":
        found |= {"timing_sd_ms": [summary.timing.sd_ms], "timing_cv": [summary.timing.cv]}
    known = {name: [value for value in values if np.isfinite(value)] for name, values in found.items()}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def measure_person(subject: str, task: str, hands: Iterable[tuple[Side, HandTrack]]) -> PersonData:
    """Measure one person's hands without a reference."""
    return PersonData(subject, task, tuple(measure_hand(hand, side, None) for side, hand in hands))


def keep_for_headlines(found: HandMeasures) -> HandMeasures:
    """The same hand without what no reference takes: a quarter of the memory."""
    movement = found.kinematics
    light = {name: getattr(movement, name).astype(np.float32) for name in _MOVEMENT}
    return _keep(found, light, movement.reasons)


def keep_postures(found: HandMeasures, reason: str) -> HandMeasures:
    """The same hand's angles and times alone: speed, acceleration and jerk are withheld for a ``reason``."""
    return _keep(found, {}, (reason,))


def _keep(found: HandMeasures, movement: dict[str, np.ndarray], reasons: tuple[str, ...]) -> HandMeasures:
    shape, unknown = found.kinematics.speed.shape, _nothing(found.degrees.shape)
    arrays: dict[str, Any] = {name: movement.get(name, _nothing(shape)) for name in _MOVEMENT}
    kinematics = replace(found.kinematics, joints_mm=_nothing((*shape, 3)), reasons=reasons, **arrays)
    degrees = np.asarray(found.degrees, dtype=np.float32)
    return HandMeasures(kinematics, degrees, unknown, unknown, unknown)


def _nothing(shape: tuple[int, ...]) -> np.ndarray:
    """NaN of any shape that takes no memory."""
    return np.broadcast_to(np.float32(np.nan), shape)


def build_from_people(
    people: Iterable[PersonData], name: str, licence: str, provenance: str, simulated: bool
) -> Baseline:
    """Build a reference from measured people, and hold each against the others; see `build_labelled`."""
    return build_labelled(people, BaselineLabel(name, licence, provenance, simulated))


def build_labelled(people: Iterable[PersonData], label: BaselineLabel) -> Baseline:
    """Build a reference from measured people, and hold each against the others.

    Parameters
    ----------
    people : iterable of PersonData
        One after the other; of an iterator no more than one is held whole.
    label : BaselineLabel
        What it says of itself.

    Raises
    ------
    MeasureError
        Fewer than two people, or tasks that differ.
    """
    described = [_describe_person(person, bool(label.posture_only)) for person in people]
    if len(described) < MIN_PEOPLE:
        raise MeasureError(
            f"A reference of {len(described)} people cannot tell how people differ.",
            f"Give recordings of at least {MIN_PEOPLE} people (20 is a beginning), each with a subject of "
            "their own in session.toml.",
        )
    tasks = {person.task for person in described}
    if len(tasks) > 1:
        raise _mixed_tasks(tasks)
    baseline = Baseline(
        name=label.name,
        simulated=label.simulated,
        n_people=len(described),
        n_minutes=round(sum(person.minutes for person in described), 2),
        task=tasks.pop(),
        fps=round(float(np.median([fps for one in described for fps in one.rates])), 3),
        filter=POSTURE_FILTER_NAME if label.posture_only else FILTER_NAME,
        licence=label.licence,
        provenance=label.provenance,
        angles={
            angle: _refer_angle([one.angles[column] for one in described])
            for column, angle in enumerate(ANGLES)
        },
        joints={joint: _refer_joint(column, described) for column, joint in enumerate(JOINTS)},
        leave_one_out=check_leave_one_out([person.angles for person in described]),
        script_sha256=_hash_scripts(),
        version=label.version,
        program_version=PROGRAM_VERSION,
        posture_only=label.posture_only,
        playing=_refer_numbers([_pool_runs(person.playing) for person in described]),
    )
    return replace(baseline, headlines=_build_headlines(described, baseline))


def _mixed_tasks(tasks: set[str]) -> MeasureError:
    return MeasureError(
        f"The recordings are of different tasks: {', '.join(sorted(tasks))}.",
        "Build one reference for each task.",
    )


def _hash_scripts() -> str:
    digest = hashlib.sha256()
    for script in (
        __file__,
        pipeline.measures.null_rates.__file__,
        pipeline.hand.angles.__file__,
        pipeline.measures.kinematics.__file__,
    ):
        digest.update(Path(str(script)).read_bytes())
    return digest.hexdigest()


# --- one person ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Described:
    """One person as far as a reference takes it.

    Attributes
    ----------
    jerk, acceleration : list of ndarray (Q,)
        Quantiles by joint; empty where too little was measured.
    hands : list of HandMeasures
        Angles, and what of movement the headlines need a reference for.
    numbers : list of dict of float
        The headlines that need none, by hand.
    """

    task: str
    minutes: float
    rates: tuple[float, ...]
    angles: list[PersonAngle]
    jerk: list[np.ndarray]
    acceleration: list[np.ndarray]
    hands: list[HandMeasures]
    numbers: list[dict[str, float]]
    playing: tuple[dict[str, float], ...] = field(default=())


def _describe_person(person: PersonData, posture_only: bool) -> _Described:
    numbers: list[dict[str, float]] = [{} for _ in person.hands]
    if posture_only:  # also where a frame rate would carry more
        hands = [keep_postures(hand, "") for hand in person.hands]
    else:
        numbers = [
            {name: number.value for name, number in compute_headlines(hand, None).numbers.items()}
            for hand in person.hands
        ]
        hands = [
            _keep(hand, {"jerk": hand.kinematics.jerk}, hand.kinematics.reasons) for hand in person.hands
        ]
    columns = range(len(JOINTS))
    return _Described(
        task=person.task,
        minutes=person.minutes,
        rates=tuple(hand.kinematics.fps for hand in person.hands),
        angles=describe_angles(person),
        jerk=[_take_quantiles([hand.kinematics.jerk[:, i] for hand in hands]) for i in columns],
        acceleration=[
            np.empty(0)
            if posture_only
            else _take_quantiles([hand.kinematics.acceleration[:, i] for hand in person.hands])
            for i in columns
        ],
        hands=hands,
        numbers=numbers,
        playing=person.playing,
    )


def describe_angles(person: PersonData) -> list[PersonAngle]:
    """Each of the 20 angles over all of a person's recordings, in the order of `ANGLES`."""
    return [
        _describe_angle(np.concatenate([hand.degrees[:, column] for hand in person.hands]))
        for column in range(len(ANGLES))
    ]


def _describe_angle(degrees: np.ndarray) -> PersonAngle:
    """One angle (T,) over all of a person's recordings."""
    known = _usable(degrees)
    if known is None:
        return PersonAngle(False)
    quantiles = np.quantile(known, _QUANTILES)
    median, p5, p95 = (float(value) for value in np.interp([0.5, 0.05, 0.95], _QUANTILES, quantiles))
    return PersonAngle(True, float(known.mean()), float(known.var()), median, p5, p95, quantiles)


def _take_quantiles(parts: list[np.ndarray]) -> np.ndarray:
    known = _usable(np.concatenate(parts))
    return np.empty(0) if known is None else np.quantile(known, _QUANTILES)


def _usable(values: np.ndarray) -> np.ndarray | None:
    """The finite values (N,) of somebody who was measured for long enough, in double precision."""
    known = np.isfinite(values)
    if not len(values) or known.mean() < MIN_VALID_SHARE:
        return None
    return values[known].astype(float)


# --- all people ----------------------------------------------------------------------------------


def _refer_angle(people: list[PersonAngle]) -> AngleReference:
    known = [person for person in people if person.known]
    if len(known) < MIN_PEOPLE:
        return AngleReference(len(known), NAN, NAN, NAN, NAN)
    means, variances, medians, low, high = (
        np.array([getattr(person, name) for person in known])
        for name in ("mean", "variance", "median", "p5", "p95")
    )
    frame_mean, frame_sd = find_frame_level(means, variances)
    pooled = np.percentile(np.concatenate([person.quantiles for person in known]), PERCENTILES)
    return AngleReference(
        n_people=len(known),
        frame_mean_deg=frame_mean,
        frame_sd_deg=frame_sd,
        person_mean_deg=float(medians.mean()),
        person_sd_deg=float(medians.std(ddof=1)),
        percentiles_deg={f"{p:g}": float(value) for p, value in zip(PERCENTILES, pooled, strict=True)},
        person_p5_mean_deg=float(low.mean()),
        person_p5_sd_deg=float(low.std(ddof=1)),
        person_p95_mean_deg=float(high.mean()),
        person_p95_sd_deg=float(high.std(ddof=1)),
    )


def _refer_joint(column: int, people: Sequence[_Described]) -> JointReference:
    jerk = [person.jerk[column] for person in people if len(person.jerk[column])]
    quick = [person.acceleration[column] for person in people if len(person.acceleration[column])]
    if not jerk or not quick:
        return JointReference(0, NAN, NAN, NAN, NAN)
    p50, p95 = np.percentile(np.concatenate(jerk), [50, 95])
    a50, a95 = np.percentile(np.concatenate(quick), [50, 95])
    return JointReference(len(jerk), float(p50), float(p95), float(a50), float(a95))


def _build_headlines(people: Sequence[_Described], baseline: Baseline) -> dict[str, NumberReference]:
    mean, sd = baseline.frame_level()
    by_person = []
    for person in people:
        of_hands = []
        for hand, numbers in zip(person.hands, person.numbers, strict=True):
            against = replace(hand, z=score_frames(hand.degrees, mean, sd))
            found = compute_headlines(against, baseline).numbers
            of_hands.append(numbers | {name: found[name].value for name in _NEED_A_REFERENCE})
        by_person.append(_pool_runs(of_hands))
    found_numbers = _refer_numbers(by_person)
    return {name: found_numbers.get(name, NumberReference(0, NAN, NAN)) for name in HEADLINES}


def _pool_runs(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the hands or runs of one person; what none of them tells is left out."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            if np.isfinite(value):
                values.setdefault(name, []).append(value)
    return {name: float(np.mean(known)) for name, known in values.items()}


def _refer_numbers(people: Sequence[dict[str, float]]) -> dict[str, NumberReference]:
    values: dict[str, list[float]] = {}
    for person in people:
        for name, value in person.items():
            values.setdefault(name, []).append(value)
    return {
        name: NumberReference(
            len(known), float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else NAN
        )
        for name, known in sorted(values.items())
    }
