"""Rendering the files of a made session in several processes.

A worker loads neither torch nor the hand model: it gets posed meshes and finished sound on disk.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import Cancelled, RedysError, SessionError
from pipeline.processes import leave_interrupts_to_parent
from pipeline.progress import Reporter
from pipeline.synth.picture import Scene, open_painter
from pipeline.synth.spec import SOUND_RATE_HZ
from pipeline.video import VideoWriter

_PRESET = "ultrafast"


@dataclass(frozen=True)
class Job:
    """One file to render: what it shows, its sound (``.npy``), and how it is coded."""

    scene: Scene
    out: Path
    fps: Fraction
    sound: Path
    crf: int


_shared: dict[str, Any] = {}


def _start_worker(done: Any, stop: Any) -> None:
    import cv2

    cv2.setNumThreads(1)
    _shared.update(done=done, stop=stop)


def _render(job: Job) -> None:
    """Render one file in a worker; stops between pictures when asked to."""
    painter = open_painter(job.scene)
    audio = (np.load(job.sound), SOUND_RATE_HZ)
    size_px = job.scene.spec.size_px
    with VideoWriter(job.out, size_px, job.fps, job.crf, audio=audio, preset=_PRESET) as video:
        for index in range(job.scene.n_frames):
            if _shared["stop"].is_set():
                raise Cancelled
            video.write(painter.frame(index))
            with _shared["done"].get_lock():
                _shared["done"].value += 1


def render_all(jobs: list[Job], report: Reporter, workers: int = 0) -> None:
    """Render all files; ``workers`` processes, 0 takes as many as there are cores.

    Raises
    ------
    Cancelled
        The person asked to stop; files not yet whole are gone.
    RedysError
        A file could not be written.
    """
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    total = sum(job.scene.n_frames for job in jobs)
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    with ProcessPoolExecutor(workers, context, _start_worker, (done, stop)) as pool:
        with leave_interrupts_to_parent():  # the pool starts its processes as work comes in
            futures = [pool.submit(_render, job) for job in jobs]
        try:
            while not all(future.done() for future in futures):
                _raise_first(futures)
                report.update(done.value / total, f"Rendering pictures: {done.value} of {total}")
                time.sleep(0.1)
            _raise_first(futures)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _raise_first(futures: list[Future[None]]) -> None:
    for future in futures:
        if future.done() and (error := future.exception()) is not None:
            if isinstance(error, (RedysError, OSError)):
                raise error
            raise SessionError(f"A picture could not be rendered ({error}).", "Run it again.") from error
