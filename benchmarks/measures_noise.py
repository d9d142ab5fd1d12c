"""Noise and cost of the measures against naive differences: ``python -m benchmarks.measures_noise``.

1. Smoothness: SPARC and LDLJ of the movement for which monalysa 0.2.1 (whose author defined SPARC) states its
   values; with ``--peer PYTHON``, an environment with ``pip install monalysa==0.2.1``, its own answers too.
2. A resting hand with 1 mm of independent jitter per axis at 60 frames/s, 3 minutes: noise per axis of
   acceleration and jerk and false brisk movements, against repeated differences (the floor) with the same
   threshold. Then the same jitter as the fusion's smoother leaves it, and that brought to 1 mm again.
3. Everything that the measuring stage works out of two playing hands of 10,800 frames, with sound: seconds.

Frame rates and lengths: ``benchmarks/measures_invariance.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from benchmarks.measures_invariance import flat_joints, measure_take
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import FINGERS, Side
from pipeline.hand.model import load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.measures.baseline import read_baseline
from pipeline.measures.features import tabulate_features
from pipeline.measures.kinematics import compute_kinematics
from pipeline.measures.measure import measure
from pipeline.measures.playing import take_features
from pipeline.measures.rotations import measure_track, tabulate_rotations
from pipeline.measures.scores import BRISK_ACCELERATION, find_brisk_events
from pipeline.measures.smoothness import compute_ldlj, compute_sparc
from pipeline.measures.summary import summarise, write_summary
from pipeline.measures.timing import RATE_HZ, Heard, find_onsets
from pipeline.results import CameraSync, HandTrack, Rig, SyncResult, write_table
from pipeline.session import SessionSettings
from pipeline.synth.sound import make_sounds
from pipeline.synth.spec import SOUND_RATE_HZ, SynthSpec
from pipeline.synth.truth import Take, make_take

FRAMES, FPS = 10_800, 60.0
TIPS = tuple(f"{finger}_tip" for finger in FINGERS)
SPARC, LDLJ = -1.41403, -5.81636
"""monalysa's own, of ``exp(-5 t²)`` from -1 s to 1 s at 100 samples/s."""

_PEER = """
import json
import numpy as np
from monalysa.quality import smoothness
move = np.exp(-5 * np.arange(-1, 1, 0.01) ** 2)
ldlj = smoothness.log_dimensionless_jerk(np.array([move]).T, fs=100.0)
print(json.dumps([float(smoothness.sparc(move, 100.0)[0]), float(ldlj)]))
"""


def compare_smoothness(peer: str) -> None:
    bell = np.exp(-5 * np.arange(-1, 1, 0.01) ** 2)
    theirs = [SPARC, LDLJ]
    if peer:
        answer = subprocess.run([peer, "-c", _PEER], capture_output=True, text=True, check=True)
        theirs = json.loads(answer.stdout)
    ours = [compute_sparc(bell, 100.0), compute_ldlj(bell, 100.0)]
    for name, own, stated, other in zip(("SPARC", "LDLJ"), ours, (SPARC, LDLJ), theirs, strict=True):
        word = "monalysa" if peer else "monalysa as published"
        print(f"{name}: {own:.5f}, {word} {other:.5f}, difference from {stated}: {abs(own - stated):.1e}")


def draw_rest(jitter_mm: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, jitter_mm, (FRAMES, 21, 3))


def pass_fused(hertz: np.ndarray) -> np.ndarray:
    """What the fusion's smoother leaves: 1 / (1 + s (2 - 2 cos w)²), set by its gain at one frequency."""
    slowness = 2.0 - 2.0 * np.cos(2 * np.pi * hertz / FPS)
    at = 2.0 - 2.0 * np.cos(2 * np.pi * FusionOptions.smooth_hz / FPS)
    strength = (1.0 / FusionOptions.smooth_gain - 1.0) / at**2
    return np.asarray(1.0 / (1.0 + strength * slowness**2))


def smooth_as_fused(joints_mm: np.ndarray) -> np.ndarray:
    """Joints (T, 21, 3) as the fusion's smoother leaves them."""
    gain = pass_fused(np.fft.rfftfreq(len(joints_mm), 1 / FPS))
    spectrum = np.fft.rfft(joints_mm, axis=0) * gain[:, None, None]
    return np.fft.irfft(spectrum, len(joints_mm), axis=0)


def per_axis(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(values**2) / 3))


def compare_noise() -> None:
    white = draw_rest(1.0)
    smoothed = smooth_as_fused(white)
    hertz = np.geomspace(1.0, 0.45 * FPS, 24)
    passed = hertz, np.tile(pass_fused(hertz), (2, 1))
    for words, joints, response in (
        ("1 mm of white jitter", white, (None, None)),
        (f"the same as the fusion's smoother leaves it ({smoothed.std():.2f} mm)", smoothed, passed),
        ("that brought to 1 mm", smoothed / smoothed.std(), passed),
    ):
        found = compute_kinematics(np.arange(FRAMES) / FPS, joints, np.ones((FRAMES, 21)), *response)
        naive = [
            np.linalg.norm(np.diff(joints, order, axis=0), axis=2) * FPS**order * 1e-3 for order in (2, 3)
        ]
        brisk = len(find_brisk_events(found.time_s, found.acceleration, found.acceleration_noise, TIPS))
        false = 100 * float((naive[0] > BRISK_ACCELERATION).mean())
        print(f"resting hand, 3 min, {words}, per axis:")
        for name, unit, values, stated, theirs in (
            ("acceleration", "m/s²", found.acceleration, found.acceleration_noise, naive[0]),
            ("jerk", "m/s³", found.jerk, found.jerk_noise, naive[1]),
        ):
            print(
                f"  {name} noise {per_axis(values):.2f} {unit} (stated {np.nanmedian(stated):.2f}), "
                f"differences {per_axis(theirs):.2f}"
            )
        print(f"  brisk movements of five fingertips: {brisk}; differences: {false:.0f} % of frames")


def make_stage_inputs() -> tuple[Take, dict[Side, HandTrack], np.ndarray]:
    """Two playing hands of 3 min and the sound of one camera."""
    spec = SynthSpec(seconds=FRAMES / FPS, seed=4, kind="dystonic", calibration=False, fps=Fraction(60))
    take = make_take(spec, load_hand_model())
    right = measure_take(take, np.arange(FRAMES) / FPS, 0.0, 0.3)
    left = dataclasses.replace(right, joints_mm=mirror_points(right.joints_mm))
    sound = resample_poly(make_sounds(take)["front"].astype(float), 1, SOUND_RATE_HZ // RATE_HZ)
    return take, {"right": right, "left": left}, sound


def time_stage(folder: Path) -> None:
    """All that the stage does, but for the reading of the fused hands and of the videos' sound."""
    take, hands, sound = make_stage_inputs()
    baseline, flat = read_baseline(), flat_joints(take)
    spent: dict[str, tuple[float, float]] = {}

    def clock(name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        spent[name] = (time.perf_counter() - wall, time.process_time() - cpu)
        return result

    measures = clock("movement and angles", lambda: measure(hands, baseline))
    onsets = clock("onsets of 3 min of sound", lambda: find_onsets(sound))
    summary = clock(
        "summary with intervals, tremor, individuation",
        lambda: summarise(
            settings=SessionSettings(subject="made"),
            sync=SyncResult("front", {"front": CameraSync(0.0, source="reference")}),
            rig=Rig("front", {}),
            views={},
            hands=hands,
            measures=measures,
            baseline=baseline,
            model_name=take.model.name,
            heard=Heard(onsets, FRAMES / FPS, "front"),
            flat_mm=dict.fromkeys(hands, flat),
        ),
    )

    def write_all() -> None:
        found = measures.hands
        features = {side: (hand.time_s, take_features(hand, found[side])) for side, hand in hands.items()}
        rotations = {side: (hand.time_s, measure_track(hand, flat)) for side, hand in hands.items()}
        write_table(folder / "measures.parquet", measures.measures)
        write_table(folder / "angles.parquet", measures.angles)
        write_table(folder / "features.parquet", tabulate_features(features))
        write_table(folder / "rotations.parquet", tabulate_rotations(rotations))
        write_summary(folder / "summary.json", summary)

    clock("features, rotations, tables on the disk", write_all)
    print(f"everything of two hands of {FRAMES} frames:")
    for name, (wall, cpu) in spent.items():
        print(f"  {name}: {wall:.1f} s ({cpu:.1f} s CPU)")
    wall, cpu = np.sum(list(spent.values()), axis=0)
    print(f"  together {wall:.1f} s ({cpu:.1f} s CPU); bar 10 s on 2 cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default="", help="python of an environment with monalysa 0.2.1")
    compare_smoothness(parser.parse_args().peer)
    compare_noise()
    with tempfile.TemporaryDirectory() as folder:
        time_stage(Path(folder))


if __name__ == "__main__":
    main()
