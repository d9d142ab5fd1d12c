"""The built-in reference: made people play, and their exact joints, with a made measurement error, are
measured.

``python -m pipeline.measures.simulated`` makes `BUILTIN_BASELINE` anew; equal arguments give an equal file.
It is for trying the software, not for a patient, and says so wherever it is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from pipeline.hand.joints import Side
from pipeline.measures.baseline import (
    BUILTIN_BASELINE,
    Baseline,
    PersonData,
    build_from_people,
    describe_baseline,
    measure_person,
    write_baseline,
)
from pipeline.results import HandTrack

JITTER_MM = 0.3
"""Made error per axis that is new in every frame."""

SLOW_ERROR_MM = 1.0
"""Made error per axis that changes slowly, as a network's do."""

SLOW_TIME_S = 0.5
"""Over this time the slow error forgets itself."""

_FPS = Fraction(60000, 1001)
_FIRST_SUBJECT = 10_000  # far from the seeds that sessions are usually made with


def build_simulated_baseline(n_people: int = 40, seconds: float = 20.0, seed: int = 0) -> Baseline:
    """Work out a reference from healthy made people.

    Parameters
    ----------
    n_people : int
        How many; each has a hand, habits and a take of their own. Right and left hands in turn.
    seconds : float
        Length of each take.
    seed : int
        Other seeds draw other people.
    """
    return build_from_people(
        list(make_people(n_people, seconds, seed)),
        name="built-in simulated reference",
        licence="made by this program; free of rights of others",
        provenance=(
            f"{n_people} made people playing {seconds:g} s each on made hands (pipeline.synth, healthy, "
            f"seed {seed}), {JITTER_MM:g} mm of independent and {SLOW_ERROR_MM:g} mm of slow error per axis "
            "added to the joints. Not recorded from people: for trying the software, not for a patient."
        ),
        simulated=True,
    )


def make_people(n_people: int, seconds: float, seed: int, kind: str = "healthy") -> Iterator[PersonData]:
    """Made people, measured; ``kind`` as in `pipeline.synth.spec.SynthSpec`."""
    for number in range(n_people):
        side: Side = "right" if number % 2 == 0 else "left"
        hand = make_hand_track(_FIRST_SUBJECT * (seed + 1) + number, seconds, side, kind)
        yield measure_person(f"made-{number:03d}", "piano", [(side, hand)])


def make_hand_track(subject: int, seconds: float, side: Side, kind: str = "healthy") -> HandTrack:
    """A made person's take as a fused hand would be, with the made measurement error."""
    from pipeline.hand.model import load_hand_model  # torch only where people are made
    from pipeline.synth.spec import SynthSpec
    from pipeline.synth.truth import make_take, pose_take

    spec = SynthSpec(
        seconds=seconds, fps=_FPS, seed=subject, subject=subject, kind="healthy", side=side, calibration=False
    )
    if kind == "dystonic":
        spec = SynthSpec(**{**vars(spec), "kind": "dystonic"})
    take = make_take(spec, load_hand_model())
    time_s = spec.frame_times_s()
    _, joints_mm, parameters = pose_take(take, time_s)
    random = spec.draw("measurement error")
    joints_mm = joints_mm + _draw_error(random, joints_mm.shape)
    frames = len(time_s)
    return HandTrack(
        time_s=time_s,
        betas=take.motion.person.betas,
        **parameters,
        joints_mm=joints_mm,
        joint_sigma_mm=np.full((frames, 21), np.hypot(JITTER_MM, SLOW_ERROR_MM)),
        residual_px=np.full((1, frames, 21), np.nan),
        quality=np.ones((frames, 21)),
        cameras=("front",),
    )


def _draw_error(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent jitter and a slow first-order error of each coordinate: shape (T, 21, 3), mm."""
    keep = float(np.exp(-1.0 / (SLOW_TIME_S * float(_FPS))))
    pushes = random.normal(0.0, SLOW_ERROR_MM * np.sqrt(1 - keep**2), shape)
    pushes[0] = random.normal(0.0, SLOW_ERROR_MM, shape[1:])
    slow = lfilter([1.0], [1.0, -keep], pushes, axis=0)
    return slow + random.normal(0.0, JITTER_MM, shape)


def main() -> None:
    """Make the built-in reference and print its check."""
    parser = argparse.ArgumentParser(description="Make the built-in simulated reference.")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=BUILTIN_BASELINE)
    options = parser.parse_args()
    baseline = build_simulated_baseline(options.people, options.seconds, options.seed)
    write_baseline(options.out, baseline)
    print(describe_baseline(baseline))


if __name__ == "__main__":
    main()
