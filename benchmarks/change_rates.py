"""How often two visits are called changed: ``python -m benchmarks.change_rates [--folder FOLDER]``.

Made people (`pipeline.synth`, at the level of joint tracks; every third is dystonic) who differ from one
another, from day to day and from moment to moment go through the real measures, summary and comparison. A
reliability study is worked out from some of them by what ``python -m pipeline reliability`` calls; the others
make pairs of visits.

1. No true change: how often a measure is called better or worse (bar: <= 5 % of the verdicts), how often a
   pair has one such verdict at least, and the same averaged over many studies, each of some of the pairs and
   tried on the rest: one study of 30 people knows its limits to 13 % only.
2. A true change of twice MDC95, put upon the later visit's numbers: how often it is called so (bar: >= 90 %).
   The same of the PIP angles, put upon the fingers' posture before anything is measured.
3. How often the 95 % interval within a take holds the value of the ten minutes that the take was cut from.

``--folder`` keeps the summaries; a second call goes on with them.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import MANO_POSE_JOINTS, Side
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.measures.baseline import (
    Baseline,
    build_from_people,
    measure_person,
    read_baseline,
    write_baseline,
)
from pipeline.measures.change import NO_DIRECTION, Change, Comparison, compare
from pipeline.measures.headlines import MIN_VALID_SHARE, compute_headlines
from pipeline.measures.measure import HandMeasures, measure, measure_hand
from pipeline.measures.reliability import StudyRecording, describe_reliability, work_out_reliability
from pipeline.measures.reliability_types import Reliability
from pipeline.measures.resampling import bound_quantile, draw_blocks
from pipeline.measures.summary import HEADLINES, SideSummary, Summary, read_summary, summarise, write_summary
from pipeline.results import Camera, CameraSync, HandTrack, Rig, SyncResult, ViewTrack
from pipeline.session import SessionSettings
from pipeline.synth.motion import make_motion
from pipeline.synth.spec import SynthSpec

SIDE: Side = "right"
CAMERAS = ("front", "left", "right")
DAY_DEG, DAY_SPREAD_DEG = 2.0, 1.0
"""How far a person's resting posture differs from day to day: joints' flexion and sideways (SD)."""
DAY_LOG, PERSON_LOG = 0.08, 0.15
"""The same of the strength and quickness of strokes, of their logarithm; and between people."""
DAY_SEVERITY = 0.08
JITTER_MM = 0.3
DRAWN = {"reference": 10_000, "study": 20_000, "pair": 30_000, "long": 40_000}
"""First number of the people of each part; no person is in two."""


@dataclasses.dataclass(frozen=True)
class Take:
    """One recording: who, on which day, which take, how long, and what was changed by then (degrees)."""

    person: int
    day: int
    number: int = 0
    seconds: float = 30.0
    pip_deg: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)


def make_hand(take: Take, model: HandModel) -> HandTrack:
    """The joints of a take. Every third person is dystonic; healthy ones never are."""
    own = np.random.default_rng([take.person, 1])
    today = np.random.default_rng([take.person, 2, take.day])
    severity = own.uniform(0.2, 0.7) + today.normal(0, DAY_SEVERITY) if take.person % 3 == 0 else 0.0
    spec = SynthSpec(
        seconds=take.seconds,
        seed=take.person * 100 + take.day * 10 + take.number,
        subject=take.person,
        kind="dystonic" if severity > 0 else "healthy",
        severity=float(np.clip(severity, 0, 1)),
    )
    motion = make_motion(spec, model)
    strength, quickness = np.exp(own.normal(0, PERSON_LOG, 2) + today.normal(0, DAY_LOG, 2))
    motion.strokes = [
        dataclasses.replace(
            stroke,
            strength=stroke.strength * strength,
            down_s=stroke.down_s / quickness,
            up_s=stroke.up_s / quickness,
        )
        for stroke in motion.strokes
    ]
    motion.rest_flexion = motion.rest_flexion + np.radians(today.normal(0, DAY_DEG, 15))
    for finger, extra in zip(("index", "middle", "ring", "pinky"), take.pip_deg, strict=True):
        motion.rest_flexion[MANO_POSE_JOINTS.index(f"{finger}_pip")] += np.radians(extra)
    spread = motion.person.rest_abduction + np.radians(today.normal(0, DAY_SPREAD_DEG, 15))
    motion.person = dataclasses.replace(motion.person, rest_abduction=spread)
    time_s = spec.frame_times_s()
    pose = motion.at(time_s)
    _, joints = model.pose_arrays(motion.person.betas, pose.orient, pose.hand_pose, pose.wrist_mm)
    jitter = JITTER_MM * np.exp(today.normal(0, DAY_LOG))
    noise = np.random.default_rng([spec.seed, 3]).normal(0, jitter, joints.shape)
    return HandTrack(
        time_s=time_s,
        betas=motion.person.betas,
        global_orient=pose.orient,
        hand_pose=pose.hand_pose,
        transl_mm=pose.wrist_mm,
        joints_mm=joints + noise,
        joint_sigma_mm=np.full(joints.shape[:2], jitter),
        residual_px=np.ones((len(CAMERAS), len(time_s), 21)),
        quality=np.ones(joints.shape[:2]),
        cameras=CAMERAS,
    )


def summarise_hand(hand: HandTrack, person: int, day: int, baseline: Baseline) -> Summary:
    """What a run without faults would have put into ``summary.json``."""
    frames, eye = len(hand.time_s), np.eye(3)
    view = ViewTrack(
        time_s=hand.time_s,
        box_px=np.zeros((frames, 4)),
        box_state=np.array(["detected"] * frames),
        keypoints_px=np.zeros((frames, 21, 2)),
        sigma_px=np.ones((frames, 21)),
        score=np.ones(frames),
        size_px=(1280, 720),
    )
    cameras = {name: Camera(name, (1280, 720), eye, np.zeros(5), eye, np.zeros(3), 0.2) for name in CAMERAS}
    visit = datetime.date(2026, 1, 1) + datetime.timedelta(days=7 * day)
    hands: dict[Side, HandTrack] = {SIDE: hand}
    return summarise(
        settings=SessionSettings(subject=f"made-{person}", visit=visit),
        sync=SyncResult("front", {name: CameraSync(0.0, 1e-4) for name in CAMERAS}),
        rig=Rig("front", cameras),
        views={name: {SIDE: view} for name in CAMERAS},
        hands=hands,
        measures=measure(hands, baseline),
        baseline=baseline,
        model_name="built-in hand",
    )


@dataclasses.dataclass
class Workshop:
    """Makes summaries and keeps them in a folder."""

    folder: Path
    model: HandModel
    baseline: Baseline

    def get(self, take: Take) -> Summary:
        """The summary of a take."""
        bent = "-".join(f"{extra:.3f}" for extra in take.pip_deg) if any(take.pip_deg) else "as-is"
        name = f"{take.person}-{take.day}-{take.number}-{take.seconds:g}-{bent}.json"
        return self.keep(name, lambda: (make_hand(take, self.model), take.person, take.day))

    def keep(self, name: str, make: Callable[[], tuple[HandTrack, int, int]]) -> Summary:
        """The summary of that name; made where it is not there yet."""
        path = self.folder / name
        if not path.is_file():
            write_summary(path, summarise_hand(*make(), self.baseline))
        return read_summary(path)


def make_reference(folder: Path, model: HandModel, people: int, seconds: float) -> Baseline:
    path = folder / "reference.json"
    if not path.is_file():
        # Numbers that leave a rest by three, so that all are healthy.
        numbers = [DRAWN["reference"] + 3 * number for number in range(people)]
        assert all(number % 3 for number in numbers)
        takes = [Take(number, 0, 0, seconds) for number in numbers]
        measured = [
            measure_person(f"made-{take.person}", "piano", [(SIDE, make_hand(take, model))]) for take in takes
        ]
        write_baseline(path, build_from_people(measured, "made people", "none", "made", simulated=True))
    return read_baseline(path)


def make_study(shop: Workshop, people: int, seconds: float, repeats: int = 1) -> Reliability:
    takes = [
        Take(DRAWN["study"] + number, day, repeat, seconds)
        for number in range(people)
        for day in (0, 1)
        for repeat in range(repeats)
    ]
    return work_out_reliability(
        [StudyRecording(f"take {number}", shop.get(take)) for number, take in enumerate(takes)],
        "made people, a third of them dystonic",
    )


# --- verdicts ------------------------------------------------------------------------------------


def changes_of(comparison: Comparison) -> list[Change]:
    side = comparison.sides[SIDE]
    return [*side.headlines, *side.angles, *side.postures]


def is_called(change: Change) -> bool:
    return change.verdict in ("better", "worse")


def is_past(change: Change) -> bool:
    """Called changed, or would be if either direction of this measure were better."""
    return is_called(change) or change.reason == NO_DIRECTION


def kinds(comparisons: Sequence[Comparison]) -> dict[str, list[str]]:
    side = comparisons[0].sides[SIDE]
    return {
        "headlines": [change.id for change in side.headlines],
        "angles": [change.id for change in side.angles],
        "shares of time far off": [change.id for change in side.postures],
    }


def shift(summary: Summary, study: Reliability, before: Summary) -> Summary:
    """The later visit with every number worse by twice MDC95: away from the reference, or up."""
    side, first = summary.sides[SIDE], before.sides[SIDE]

    def step(name: str) -> float:
        return 2 * study.measures[name].mdc95

    headlines = []
    for found in side.headlines:
        by = step(found.id) * (-1 if found.worse == "lower" else 1)
        headlines.append(
            dataclasses.replace(found, value=found.value + by, low=found.low + by, high=found.high + by)
        )
    angles = []
    for angle, earlier in zip(side.angles, first.angles, strict=True):
        by = step(angle.angle) * (1 if earlier.median_deg > angle.reference_mean_deg else -1)
        angles.append(
            dataclasses.replace(
                angle,
                median_deg=angle.median_deg + by,
                median_low=angle.median_low + by,
                median_high=angle.median_high + by,
            )
        )
    shifted: SideSummary = dataclasses.replace(side, headlines=tuple(headlines), angles=tuple(angles))
    return dataclasses.replace(summary, sides={SIDE: shifted})


def rate(changes: Iterable[Change], test: Callable[[Change], bool]) -> float:
    """Share (%) of the changes that a verdict is possible for; NaN without any."""
    known = [one for one in changes if np.isfinite(one.limit) and np.isfinite(one.difference)]
    return 100 * float(np.mean([test(change) for change in known])) if known else float("nan")


def collect(comparisons: Iterable[Comparison]) -> dict[str, list[Change]]:
    by_name: dict[str, list[Change]] = {}
    for comparison in comparisons:
        for change in changes_of(comparison):
            by_name.setdefault(change.id, []).append(change)
    return by_name


Rates = dict[str, list[float]]


def try_studies(visits: Sequence[tuple[Summary, Summary]], people: int, studies: int) -> tuple[Rates, Rates]:
    """False verdicts and changes detected (%) by measure, of studies of some pairs tried on the others."""
    random = np.random.default_rng(1)
    false: Rates = {}
    detected: Rates = {}
    for _ in range(studies):
        order = random.permutation(len(visits))
        own = [StudyRecording("take", take) for number in order[:people] for take in visits[number]]
        study = work_out_reliability(own)
        rest = [visits[number] for number in order[people:]]
        for name, changes in collect(compare(a, b, study) for a, b in rest).items():
            false.setdefault(name, []).append(rate(changes, is_called))
        for name, changes in collect(compare(a, shift(b, study, a), study) for a, b in rest).items():
            detected.setdefault(name, []).append(rate(changes, is_past))
    return false, detected


def average(rates: Rates, names: Iterable[str]) -> float:
    """Over measures and studies; NaN where no study established them."""
    known = [one for name in names for one in rates[name] if np.isfinite(one)]
    return float(np.mean(known)) if known else float("nan")


def compare_pairs(shop: Workshop, study: Reliability, options: argparse.Namespace) -> None:
    people = [DRAWN["pair"] + number for number in range(options.pairs)]
    visits = [
        (shop.get(Take(one, 0, 0, options.seconds)), shop.get(Take(one, 1, 0, options.seconds)))
        for one in people
    ]
    null = [compare(before, after, study) for before, after in visits]
    quiet = collect(null)
    loud = collect(compare(before, shift(after, study, before), study) for before, after in visits)
    false, detected = try_studies(visits, min(options.people, options.pairs // 2), options.studies)
    print(f"\n{options.pairs} pairs, %. false: better or worse though nothing changed; detected: past the")
    print(f"limit after a change of 2 MDC95, called: and so called; mean: over {options.studies} studies")
    print(f"{'measure':38} {'false':>6} {'mean':>6} {'detected':>9} {'mean':>6} {'called':>7}")

    def print_row(label: str, names: list[str]) -> None:
        now = [change for name in names for change in quiet[name]]
        then = [change for name in names for change in loud[name]]
        left = f"{rate(now, is_called):6.1f} {average(false, names):6.1f}"
        right = f"{rate(then, is_past):9.1f} {average(detected, names):6.1f} {rate(then, is_called):7.1f}"
        print(f"{label:38} {left} {right}")

    for kind, names in kinds(null).items():
        for name in names:
            print_row(name, [name])
        print_row(f"all {kind}", names)
        hit = [any(is_called(one) for one in changes_of(found) if one.id in names) for found in null]
        print(f"{'pairs with one false verdict or more':38} {100 * np.mean(hit):6.1f}")
    print_row("headlines with a direction", [name for name in HEADLINES if HEADLINES[name][2]])
    every = [is_called(change) for changes in quiet.values() for change in changes]
    print(f"over all {len(every)} verdicts of all measures: {100 * np.mean(every):.2f} % better or worse")


def bend_fingers(shop: Workshop, study: Reliability, pairs: int, seconds: float) -> None:
    """The later visit with all PIPs 2 MDC95 farther off, as joints, before anything is measured."""
    names = [f"{finger}_pip_flexion" for finger in ("index", "middle", "ring", "pinky")]
    found = []
    for number in range(pairs):
        person = DRAWN["pair"] + number
        before = shop.get(Take(person, 0, 0, seconds))
        angles = {angle.angle: angle for angle in before.sides[SIDE].angles}
        bend = [
            2 * study.measures[name].mdc95
            * (1 if angles[name].median_deg > angles[name].reference_mean_deg else -1)
            for name in names
        ]  # fmt: skip
        after = shop.get(Take(person, 1, 0, seconds, (bend[0], bend[1], bend[2], bend[3])))
        changes = {change.id: change for change in compare(before, after, study).sides[SIDE].angles}
        found += [changes[name] for name in names]
    past, called = rate(found, is_past), rate(found, is_called)
    print(f"\nPIPs bent by 2 MDC95 away from the reference in {pairs} pairs: past the limit {past:.1f} %, ")
    print(f"called better or worse {called:.1f} %")


# --- intervals -----------------------------------------------------------------------------------


MOVEMENT = ("speed", "acceleration", "jerk")


def cut(found: HandMeasures, part: slice) -> HandMeasures:
    """A stretch of what was measured of a hand."""
    names = ("time_s", "joints_mm", *(f"{of}{what}" for of in MOVEMENT for what in ("", "_noise")))
    movement = dataclasses.replace(
        found.kinematics, **{name: getattr(found.kinematics, name)[part] for name in names}
    )
    degrees = {name: getattr(found, name)[part] for name in ("degrees", "sigma_deg", "z", "jitter_deg")}
    return dataclasses.replace(found, kinematics=movement, **degrees)


def bound_all(found: HandMeasures, baseline: Baseline) -> dict[str, tuple[float, float, float]]:
    """Value and interval of each headline and each angle's median, as a summary has them."""
    draws = draw_blocks(len(found.kinematics.time_s), found.kinematics.fps)
    numbers = compute_headlines(found, baseline).numbers
    bounds = {name: (one.value, one.interval.low, one.interval.high) for name, one in numbers.items()}
    for column, angle in enumerate(ANGLES):
        degrees = found.degrees[:, column]
        if np.isfinite(degrees).mean() >= MIN_VALID_SHARE:
            median = float(np.nanmedian(degrees))
            interval = bound_quantile(degrees, draws, 0.5, median)
            bounds[angle] = (median, interval.low, interval.high)
    return bounds


def check_coverage(shop: Workshop, people: int, seconds: float, long_s: float = 600.0) -> None:
    hits: dict[str, list[bool]] = {}
    frames = round(seconds * 60000 / 1001)
    for number in range(people):
        hand = make_hand(Take(DRAWN["long"] + number, 0, 0, long_s), shop.model)
        found = measure_hand(hand, SIDE, shop.baseline)
        truth = bound_all(found, shop.baseline)
        for part in range(int(long_s // seconds)):
            stretch = cut(found, slice(part * frames, (part + 1) * frames))
            for name, (_, low, high) in bound_all(stretch, shop.baseline).items():
                if name in truth and np.isfinite(low) and np.isfinite(truth[name][0]):
                    hits.setdefault(name, []).append(low <= truth[name][0] <= high)
    print(
        f"\n95 % intervals of takes of {seconds:g} s against their {long_s:g} s, {people} people: % hold it"
    )
    for name, held in hits.items():
        print(f"{name:38} {100 * np.mean(held):6.1f}  of {len(held)}")
    for kind, names in (("headlines", set(HEADLINES)), ("angles", set(ANGLES))):
        held = [one for name in names for one in hits.get(name, [])]
        print(f"{'all ' + kind:38} {100 * np.mean(held):6.1f}  of {len(held)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="How often two visits are called changed.")
    parser.add_argument("--folder", type=Path, help="keep the summaries there")
    parser.add_argument("--people", type=int, default=30, help="in a reliability study")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--studies", type=int, default=40, help="to average over")
    parser.add_argument("--bent", type=int, default=40, help="pairs with bent fingers")
    parser.add_argument("--long", type=int, default=12, help="people of ten minutes")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        model = load_hand_model()
        shop = Workshop(folder, model, make_reference(folder, model, 20, options.seconds))
        study = make_study(shop, options.people, options.seconds)
        print(describe_reliability(study))
        compare_pairs(shop, study, options)
        bend_fingers(shop, study, options.bent, options.seconds)
        check_coverage(shop, options.long, options.seconds)


if __name__ == "__main__":
    main()
