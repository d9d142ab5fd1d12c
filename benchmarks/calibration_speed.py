"""Time of the sound and calibration stages against the pure decoding of the files that they read.

    python -m benchmarks.calibration_speed SESSION [--rounds 3]

SESSION is a folder with takes in ``calibration/``, such as ``python -m pipeline synth`` makes. The floor is
PyAV alone: pictures and sound of the takes and the sound of the recordings, with the decoder's threads of
the stages, one file after the other, nothing converted and nothing kept. Printed are the elapsed time, in
which cores that are idle or busy elsewhere count, and the processors' time, which other work on the machine
hardly touches; of several rounds the quickest. The bar is 1.5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import av

from pipeline.calibration.calibrate import calibrate
from pipeline.progress import Reporter
from pipeline.session import Session, read_session
from pipeline.sync.cameras import synchronise

BAR = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("session", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    session = read_session(arguments.session)
    works: dict[str, Callable[[], object]] = {
        "pure decoding": lambda: decode(session),
        "sound stage": lambda: synchronise(session, Reporter()),
        "calibration stage": lambda: calibrate(session, Reporter()),
    }
    works["calibration stage"]()  # loads what is loaded once, and fills the disk's cache for all alike
    best: dict[str, tuple[float, float]] = {}
    for _ in range(arguments.rounds):
        for name, work in works.items():
            elapsed_s, processor_s = measure(work)
            before = best.get(name, (elapsed_s, processor_s))
            best[name] = min(elapsed_s, before[0]), min(processor_s, before[1])
    for name, (elapsed_s, processor_s) in best.items():
        print(f"{name:20s} {elapsed_s:6.2f} s elapsed, {processor_s:6.2f} s of processors")
    stages = [best[name] for name in list(works)[1:]]
    ratios = [sum(stage[k] for stage in stages) / best["pure decoding"][k] for k in range(2)]
    print(f"both stages together: {ratios[0]:.2f} times the decoding elapsed, {ratios[1]:.2f} of processors "
          f"(bar {BAR})")  # fmt: skip


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Elapsed seconds and seconds of processors, of all threads, that a piece of work takes."""
    start, start_processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - start_processor


def decode(session: Session) -> None:
    """Decode what the two stages have to read, and throw it away."""
    for path in session.calibration_videos.values():
        decode_streams(path, pictures=True)
    for path in session.videos.values():
        decode_streams(path, pictures=False)


def decode_streams(path: Path, pictures: bool) -> None:
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if pictures or stream.type == "audio"]
        for stream in container.streams.video:
            stream.thread_type = "AUTO"
        for packet in container.demux(streams):
            packet.decode()


if __name__ == "__main__":
    main()
