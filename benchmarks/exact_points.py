"""The hand from exact 2D points: what the fusion alone adds of error.

    python -m benchmarks.exact_points [--seconds 8] [--seed 3] [--dystonic | --healthy]

Makes a session of exact keypoints at three cameras' own instants (true rig, true offsets, clocks that drift
unseen), works it by ``python -m pipeline run``'s own code, and prints the figures of ``evaluate``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from pipeline.evaluation.made_session import evaluate
from pipeline.files import write_bytes, write_npz
from pipeline.hand.model import load_hand_model
from pipeline.results import write_rig
from pipeline.run import run_session
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Truth, make_truth, write_truth

SIGMA_PX = 0.5


def write_session(folder: Path, truth: Truth) -> None:
    """The truth's exact points as another tool would give them, with the truth beside."""
    folder.mkdir(parents=True)
    for camera, points in truth.keypoints_px.items():
        write_npz(
            folder / "keypoints" / f"{camera}.npz",
            time_s=truth.camera_time_s[camera],
            keypoints_px=points,
            sigma_px=np.full(points.shape[:2], SIGMA_PX),
        )
    write_rig(folder / "rig.json", truth.rig)
    offsets = [f"{camera} = {offset!r}" for camera, offset in truth.offset_s.items()]
    write_bytes(folder / "session.toml", "\n".join(["[offset_s]", *offsets, ""]).encode())
    write_truth(folder, truth)


def main() -> None:
    """Make, work and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=3)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--healthy", dest="kind", action="store_const", const="healthy")
    kind.add_argument("--dystonic", dest="kind", action="store_const", const="dystonic", default="dystonic")
    options = parser.parse_args()
    spec = SynthSpec(seconds=options.seconds, seed=options.seed, kind=options.kind)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "session"
        write_session(folder, make_truth(spec, load_hand_model()))
        figures = evaluate(run_session(folder, folder / "run"), folder).to_json()["joints"]
    for method, groups in figures.items():
        for group in ("ordinary", "dystonic", "all"):
            if group in groups:
                error = groups[group]["21"]
                print(
                    f"{method:32s} {group:9s} MPJPE {error['mpjpe_mm']:.4f} mm, "
                    f"acceleration {error['acceleration_m_s2']:.3f} m/s2, seen {error['share']:.1%}"
                )


if __name__ == "__main__":
    main()
