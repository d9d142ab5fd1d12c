"""How often healthy made people lie beyond 1, 2 and 3, beside what is stated.

``python -m benchmarks.null_rates``

Each person is held against a reference of the others of their group (leave one out), at frame level and at
person level, 20 angles each.

1. Drawn angles: people and moments with known spreads, moments lopsided and of a person's own size, angles
   that go together; groups of 8, 15 (FürElise) and 24 (the built-in reference).
2. Playing hands: made people (`pipeline.synth`, healthy) play for some seconds; their true joints go through
   `pipeline.measures.measure.measure_hand`; groups of 24.
3. The built-in reference's own figures, whose sampling error is the scatter of the groups of 2.

Groups share nobody, so the standard error is that of the mean over groups, and what is seen is held against
what is stated group by group. The floor is what a plain normal spread would have: 31.7, 4.55 and 0.27 %.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.special import ndtr

from pipeline.datasets.postures import make_track
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import SIDES
from pipeline.hand.model import load_hand_model
from pipeline.measures.baseline import PersonData, expect_new_frames_beyond, read_baseline
from pipeline.measures.baseline_build import describe_angles, keep_for_headlines
from pipeline.measures.measure import measure_hand
from pipeline.measures.null_rates import LIMITS, PersonAngle, check_leave_one_out
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, pose_take

QUANTILES = np.linspace(0, 1, 1001)
FPS = 60000 / 1001
FIRST_SEED = 50_000


def draw_person(random: np.random.Generator, mixing: np.ndarray, between: np.ndarray) -> list[PersonAngle]:
    """A person whose 20 means are normal about 0 with ``between`` (20,), and whose moments are lopsided."""
    means = between * (mixing @ random.normal(size=len(ANGLES)))
    sizes = np.exp(random.normal(0, 0.25, len(ANGLES)))
    moments = random.gamma(2.0, 1.0, 2000)
    moments = np.quantile((moments - 2.0) / np.sqrt(2.0), QUANTILES)  # mean 0, variance 1
    described = []
    for mean, size in zip(means, sizes, strict=True):
        frames = mean + size * moments
        low, median, high = frames[[50, 500, 950]]
        described.append(
            PersonAngle(True, float(frames.mean()), float(frames.var()), median, low, high, frames)
        )
    return described


def draw_groups(people: int, groups: int, seed: int) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    together = 0.3 + 0.7 * np.eye(len(ANGLES))  # any two angles of a hand correlate by 0.3
    mixing = np.linalg.cholesky(together)
    between = np.linspace(0.3, 2.0, len(ANGLES))  # people differ less than moments do, up to twice as much
    return [
        check_leave_one_out([draw_person(random, mixing, between) for _ in range(people)])
        for _ in range(groups)
    ]


def play(number: int, seconds: float) -> list[PersonAngle]:
    """A made healthy person's true joints, measured as a recording is."""
    side = SIDES[number % 2]
    spec = SynthSpec(seconds=seconds, seed=FIRST_SEED + number, kind="healthy", side=side, calibration=False)
    time_s = np.arange(round(seconds * FPS)) / FPS
    _, joints, _ = pose_take(make_take(spec, load_hand_model()), time_s)
    found = keep_for_headlines(measure_hand(make_track(time_s, joints), side, None))
    return describe_angles(PersonData(f"made-{number}", "piano", (found,)))


def print_rates(title: str, groups: list[dict[str, float]]) -> None:
    print(f"\n{title}: {len(groups)} groups")
    for level in ("frame", "person"):
        for limit in LIMITS:
            name = f"{level}_beyond_{limit}"
            seen = 100 * np.array([group[name] for group in groups])
            stated = 100 * np.array([group[f"{name}_by_chance"] for group in groups])
            error, of_difference = (
                float(values.std(ddof=1) / np.sqrt(len(seen))) for values in (seen, seen - stated)
            )
            away = float((seen - stated).mean()) / of_difference
            plain = 200 * float(ndtr(-limit))
            print(
                f"  {level:6s} |z| >= {limit}: {seen.mean():6.3f} % ± {error:.3f}, "
                f"stated {stated.mean():6.3f} ({away:+.1f} standard errors); plain normal {plain:6.3f}"
            )


def print_builtin(groups: list[dict[str, float]]) -> None:
    """The built-in reference's own people; its file holds 1 and 3, and 2 once it is made anew."""
    built_in = read_baseline()
    check = built_in.leave_one_out
    print(f"\n{built_in.name}, its own {built_in.n_people} people")
    for level in ("frame", "person"):
        for limit in LIMITS:
            name = f"{level}_beyond_{limit}"
            if name not in check:
                continue
            stated = check.get(f"{name}_by_chance", np.nan)
            if not np.isfinite(stated):
                stated = expect_new_frames_beyond(limit, built_in, built_in.n_people - 1)
            scatter = float(np.std([group[name] for group in groups], ddof=1))
            print(
                f"  {level:6s} |z| >= {limit}: {100 * check[name]:6.3f} %, stated {100 * stated:6.3f}, "
                f"scatter of such a group ± {100 * scatter:.3f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=200, help="of drawn angles, of each size")
    parser.add_argument("--people", type=int, default=480, help="who play; a multiple of 24")
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    for people in (8, 15, 24):
        groups = draw_groups(people, options.groups, seed=people)
        print_rates(f"drawn angles, groups of {people}", groups)
    start = time.perf_counter()
    described = [play(number, options.seconds) for number in range(options.people)]
    groups = [check_leave_one_out(described[at : at + 24]) for at in range(0, len(described), 24)]
    print_rates(f"playing hands, groups of 24, {options.seconds:g} s each", groups)
    print(f"  ({(time.perf_counter() - start) / options.people:.2f} s a person)")
    print_builtin(groups)


if __name__ == "__main__":
    main()
