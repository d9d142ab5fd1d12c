"""Stage 3's speed against its inference floor: frames a second and core with seven passes, decoding included.

The floor is seven times the time of a single crop in the bare network, measured in the same run on the same
core. Both are CPU times of one process on one thread, so that other work on the machine does not enter.

    python benchmarks/pose_speed.py [--session FOLDER] [--camera front] [--preset standard]

Without a session it makes one of 3 s at 1280x720 first (a minute or so).
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.pose.augmentation import PASSES
from pipeline.pose.crew import Crew
from pipeline.pose.estimate import estimate_view
from pipeline.pose.litert import LANDMARK_FILE, Network, locate
from pipeline.progress import Reporter
from pipeline.session import Session, read_session
from pipeline.video import probe

TARGET_FPS = 12.0
N_CALLS = 60


def measure_crop_s(batch: int) -> float:
    """CPU seconds a crop of the bare landmark network, in batches; the median of some calls."""
    network = Network(locate(LANDMARK_FILE))
    pictures = np.random.default_rng(0).random((batch, 224, 224, 3), dtype=np.float32)
    network.run(pictures)
    times = []
    for _ in range(max(N_CALLS // batch, 5)):
        start = time.process_time()
        network.run(pictures)
        times.append((time.process_time() - start) / batch)
    return float(np.median(times))


def measure_frame_s(session: Session, camera: str) -> float:
    """CPU seconds a frame of the stage, less the networks' loading, which a long video does not feel."""
    start = time.process_time()
    with Crew(session.settings.detector, session.settings.estimator, 1):
        pass
    loading = time.process_time() - start
    start = time.process_time()
    estimate_view(session, camera, Reporter(), workers=1)
    return (time.process_time() - start - loading) / probe(session.videos[camera]).n_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--session", type=Path)
    parser.add_argument("--camera", default="front")
    parser.add_argument("--preset", default="standard")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.session or make(Path(scratch) / "made")
        session = read_session(folder)
        settings = session.settings.model_copy(update={"preset": options.preset})
        session = Session(session.path, settings, session.videos)
        before = measure_crop_s(1)
        frame_s = measure_frame_s(session, options.camera)
        crop_s = (before + measure_crop_s(1)) / 2
        batched_s = measure_crop_s(len(PASSES))
        size = probe(session.videos[options.camera]).size_px
    passes = len(PASSES)
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"video                 {size[0]}x{size[1]}, preset {options.preset}, {passes} passes")
    print(
        f"one crop              {crop_s * 1e3:.2f} ms alone, {batched_s * 1e3:.2f} ms in a batch of {passes}"
    )
    print(f"inference floor       {passes * crop_s * 1e3:.1f} ms a frame")
    print(f"the stage             {frame_s * 1e3:.1f} ms a frame")
    print(f"frames/s and core     {1 / frame_s:.1f} (aim: {TARGET_FPS:.0f})")
    print(f"ratio to the floor    {frame_s / (passes * crop_s):.2f}")
    print(f"ratio, batched floor  {frame_s / (passes * batched_s):.2f}")
    print(f"peak memory           {memory_mib:.0f} MiB")


def make(folder: Path) -> Path:
    """A made session to measure on."""
    from pipeline.synth.session import SynthSpec, make_session

    spec = SynthSpec(seconds=3.0, size_px=(1280, 720), fps=Fraction(60), calibration=False)
    make_session(folder, spec, Reporter())
    return folder


if __name__ == "__main__":
    main()
