"""Stage 3 with one pass against MediaPipe's own Python pipeline, and its memory on a long file.

    python -m benchmarks.pose_throughput --session SESSION [--peer PYTHON] [--times 3] [--rounds 3]

PYTHON is that of an environment of its own with ``pip install mediapipe==0.10.21``. The camera's video is
repeated ``--times`` times in one file without being encoded anew, and both work the whole file in turn, so
that what else the machine does hits both. Decoding is included on both sides; starting up (importing, loading
networks) is left out on both. Frames a second with as many processes as ``--workers`` are what a person waits
for; frames a second of processor time, in one process, tell more on a busy machine. Without ``--peer`` only
the memory is shown: ``--times 23 --rounds 1`` on a made take of 8 s is a file of 3 min.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np

from pipeline.pose.augmentation import ONE_PASS
from pipeline.pose.estimate import estimate_view
from pipeline.progress import Progress, Reporter
from pipeline.session import Session, read_session
from pipeline.video import probe

PEER = Path(__file__).with_name("mediapipe_peer.py")


def repeat(source: Path, times: int, path: Path) -> None:
    """A video's packets written one after the other, ``times`` times."""
    with av.open(str(path), "w") as out:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(source)) as file:
                video = file.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                end = shift
                for packet in file.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    out.mux(packet)
                shift = end


class MemoryWatch:
    """The largest resident memory in MiB of any process of this program, looked at ten times a second."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._done = threading.Event()

    def __enter__(self) -> MemoryWatch:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        import multiprocessing
        import os

        while not self._done.wait(0.1):
            for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
                self.peak_mib = max(self.peak_mib, _read_resident_mib(pid))


def _read_resident_mib(pid: int | None) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # ended meanwhile
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return float(lines[0].split()[1]) / 1024 if lines else 0.0


def run_ours(session: Session, camera: str, workers: int) -> tuple[float, float]:
    """Wall and processor seconds of one pass over the video, from the first frame that is done to the end.

    Processor seconds are those of this process: they tell the work with one worker only.
    """
    begun: list[tuple[float, float]] = []

    def hear(progress: Progress) -> None:
        if not begun and "frame " in progress.message and not progress.message.endswith("frame 0"):
            begun.append((time.perf_counter(), time.process_time()))

    estimate_view(session, camera, Reporter(listen=hear), workers, ONE_PASS)
    start, start_cpu = begun[0]
    return time.perf_counter() - start, time.process_time() - start_cpu


def run_peer(python: Path, video: Path) -> tuple[float, float]:
    """The same of MediaPipe's own pipeline."""
    answer = subprocess.run([python, PEER, video], capture_output=True, text=True, check=True).stdout.split()
    return float(answer[2]), float(answer[3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--session", type=Path, required=True)
    parser.add_argument("--camera", default="front")
    parser.add_argument("--preset", default="standard", help="minimal is what MediaPipe itself does: nothing")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    source = read_session(options.session)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{options.camera}.mp4"
        repeat(source.videos[options.camera], options.times, path)
        settings = source.settings.model_copy(update={"preset": options.preset})
        session = Session(Path(scratch), settings, {options.camera: path})
        info = probe(path)
        n_frames, size = info.n_frames, "x".join(map(str, info.size_px))
        print(f"{n_frames} frames, {size}, one pass, preset {options.preset}", flush=True)
        ours, peers = [], []
        with MemoryWatch() as watch:
            for _ in range(options.rounds):
                wall_s, cpu_s = run_ours(session, options.camera, options.workers)
                if options.peer:
                    peers.append(run_peer(options.peer, path))
                    _, cpu_s = run_ours(session, options.camera, 1)
                ours.append((wall_s, cpu_s))
    if peers:
        print_speeds(n_frames, np.array(ours), np.array(peers))
    print(f"peak memory of a process: {watch.peak_mib:.0f} MiB")


def print_speeds(n_frames: int, ours: np.ndarray, peers: np.ndarray) -> None:
    """Medians of the rounds (n, 2): wall and processor seconds."""
    ours_fps, peer_fps = n_frames / np.median(ours, axis=0), n_frames / np.median(peers, axis=0)
    print(f"ours:      {ours_fps[0]:6.1f} frames/s, {ours_fps[1]:6.1f} a processor second")
    print(f"MediaPipe: {peer_fps[0]:6.1f} frames/s, {peer_fps[1]:6.1f} a processor second")
    print(f"ratio:     {ours_fps[0] / peer_fps[0]:6.2f}           {ours_fps[1] / peer_fps[1]:6.2f}")


if __name__ == "__main__":
    main()
