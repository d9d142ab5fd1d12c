"""Time of the sound and calibration stages against the pure decoding of the files that they read.

    python -m benchmarks.calibration_speed SESSION [--rounds 3] [--megabits 17]

SESSION is a folder with takes in ``calibration/``, such as ``python -m pipeline synth`` makes. The floor is
PyAV alone: pictures and sound of the takes and the sound of the recordings, with the decoder's threads of
the stages, one file after the other, nothing converted and nothing kept. Printed are the elapsed time, in
which cores that are idle or busy elsewhere count, and the processors' time, which other work on the machine
hardly touches; of several rounds the quickest. The bar is 1.5.

Made takes are written for speed, so they decode in a third of the time that a telephone's take of the same
length needs; with ``--megabits`` they are encoded anew first, at a telephone's rate.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
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
    parser.add_argument("--megabits", type=float, help="encode the takes anew at this rate per second first")
    arguments = parser.parse_args()
    if arguments.megabits is None:
        compare(read_session(arguments.session), arguments.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "session"
        shutil.copytree(arguments.session, copy)
        for name, path in read_session(arguments.session).calibration_videos.items():
            encode_take(path, copy / "calibration" / f"{name}.mp4", arguments.megabits)
        compare(read_session(copy), arguments.rounds)


def compare(session: Session, rounds: int) -> None:
    """Time the stages and the decoding in turn, and print both and their ratio."""
    works: dict[str, Callable[[], object]] = {
        "pure decoding": lambda: decode(session),
        "sound stage": lambda: synchronise(session, Reporter()),
        "calibration stage": lambda: calibrate(session, Reporter()),
    }
    works["calibration stage"]()  # loads what is loaded once, and fills the disk's cache for all alike
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
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


def encode_take(source: Path, target: Path, megabits: float) -> None:
    """Encode a take's pictures anew as telephones do: high profile, no B-frames, a key frame a second."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        before = old.streams.video[0]
        pictures = new.add_stream("libx264", rate=before.average_rate)
        pictures.width, pictures.height, pictures.pix_fmt = before.width, before.height, "yuv420p"
        pictures.bit_rate = round(megabits * 1e6)
        if before.time_base is not None:
            pictures.codec_context.time_base = before.time_base
        pictures.options = {"preset": "veryfast", "bf": "0", "g": str(round(before.average_rate or 60))}
        sound = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(before, old.streams.audio[0]):
            if packet.stream.type == "video":
                frames = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
                new.mux([coded for frame in frames for coded in pictures.encode(frame)])
            elif packet.dts is not None:
                packet.stream = sound
                new.mux(packet)
        new.mux(pictures.encode())


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
