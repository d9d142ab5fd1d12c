"""The rig from the hand alone, against the truth of made sessions.

    python -m benchmarks.self_calibration [--seeds 6] [--seconds 20] [--noise 2]   exact points with noise
    python -m benchmarks.self_calibration --run RUN --truth SESSION [--run ...]    a network's own points

For each session errors of rotation (degrees) and translation (% of its length) of the worse camera, once with
the focal length guessed and once with it stated to 3 % (``focal_35mm``), both with ``hand_length_mm`` given;
beside them what the rig itself expects. Last the root mean square of error over expected error, all cameras.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.calibration.focal import FILM_MM, STABILISATION_CROP
from pipeline.calibration.hand import calibrate_from_hand
from pipeline.calibration.proportions import measure_hand_length
from pipeline.errors import CalibrationError
from pipeline.hand.joints import Side
from pipeline.hand.model import load_hand_model
from pipeline.progress import Reporter
from pipeline.results import Rig, RunFolder, ViewTrack, read_view
from pipeline.session import Session, SessionSettings
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Truth, make_truth, read_truth

Views = dict[str, dict[Side, ViewTrack]]


def main() -> None:
    """Make or read, calibrate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--noise", type=float, default=2.0, help="px")
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--truth", type=Path, action="append", default=[])
    options = parser.parse_args()
    if options.run:
        cases = [read_case(*both) for both in zip(options.run, options.truth, strict=True)]
    else:
        cases = [make_case(seed, options.seconds, options.noise) for seed in range(options.seeds)]
    for stated in (False, True):
        print("focal length stated to 3 %" if stated else "focal length guessed")
        ratios, worst = [], []
        for name, truth, views in cases:
            start = time.perf_counter()
            try:
                rig = calibrate_from_hand(
                    make_session(truth, stated), truth.sync, views, load_hand_model(), Reporter()
                )
            except CalibrationError as error:
                print(f"  {name}: refused: {error.what}")
                continue
            taken_s = time.perf_counter() - start
            found, expected = measure(rig, truth)
            ratios.append(found / expected)
            worst.append(found.max(axis=0))
            print(
                f"  {name}: rotation {worst[-1][0]:.2f} deg (expects {expected.max(axis=0)[0]:.2f}), "
                f"translation {worst[-1][1]:.1f} % (expects {expected.max(axis=0)[1]:.1f}), "
                f"{rig.verdict}, {taken_s:.0f} s"
            )
        if not ratios:
            continue
        spread = np.sqrt((np.concatenate(ratios) ** 2).mean(axis=0))
        median = np.median(worst, axis=0)
        print(
            f"  median rotation {median[0]:.2f} deg, translation {median[1]:.1f} %; error over expected "
            f"error {spread[0]:.2f} and {spread[1]:.2f}"
        )


def make_case(seed: int, seconds: float, noise_px: float) -> tuple[str, Truth, Views]:
    """A made session's exact points with noise; every other one of a healthy hand."""
    kind: Literal["healthy", "dystonic"] = "healthy" if seed % 2 else "dystonic"
    spec = SynthSpec(seconds=seconds, seed=seed, kind=kind, calibration=False)
    truth = make_truth(spec, load_hand_model())
    random = np.random.default_rng(seed)
    views: Views = {}
    for camera, points in truth.keypoints_px.items():
        n = len(points)
        views[camera] = {
            truth.side: ViewTrack(
                time_s=truth.camera_time_s[camera],
                box_px=np.full((n, 4), np.nan),
                box_state=np.full(n, "detected"),
                keypoints_px=points + random.normal(0, noise_px, points.shape),
                sigma_px=np.full(points.shape[:2], noise_px),
                score=np.ones(n),
                size_px=truth.size_px,
            )
        }
    return f"seed {seed} ({kind}, {noise_px:g} px)", truth, views


def read_case(run: Path, session: Path) -> tuple[str, Truth, Views]:
    """A run's points beside the truth of its session."""
    truth = read_truth(session)
    return run.name, truth, {camera: read_view(RunFolder(run), camera) for camera in truth.rig.cameras}


def make_session(truth: Truth, stated: bool) -> Session:
    """A session without any calibration; lens and ruler as a clinic would write them down."""
    eye = np.eye(3)
    flat = np.tile(eye, (1, 15, 1, 1))
    _, joints = load_hand_model().pose_arrays(truth.betas, eye[None], flat, np.zeros((1, 3)))
    random = np.random.default_rng(truth.seed)
    to_mm = FILM_MM / STABILISATION_CROP / max(truth.size_px)
    lenses = {
        name: float(camera.K[0, 0] * to_mm * random.normal(1, 0.03))
        for name, camera in truth.rig.cameras.items()
    }
    settings = SessionSettings(
        side=truth.side,
        hand_length_mm=round(float(measure_hand_length(joints[0])), 1),
        focal_35mm=lenses if stated else {},
    )
    return Session(Path(), settings, {}, keypoints={name: Path(f"{name}.npz") for name in truth.rig.cameras})


def measure(rig: Rig, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Errors (C - 1, 2) of rotation in degrees and translation in %, and the expected ones."""
    found, expected = [], []
    for name, camera in rig.cameras.items():
        if name == rig.reference:
            continue
        true = truth.rig.cameras[name]
        length = np.linalg.norm(true.t_mm) / 100
        cosine = np.clip((np.trace(camera.R @ true.R.T) - 1) / 2, -1, 1)
        found.append((np.degrees(np.arccos(cosine)), np.linalg.norm(camera.t_mm - true.t_mm) / length))
        expected.append((camera.sigma_deg, camera.sigma_mm / length))
    return np.array(found), np.array(expected)


if __name__ == "__main__":
    main()
