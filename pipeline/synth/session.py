"""Making a session folder: three videos with sound, checkerboard takes, ``session.toml`` and the truth."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import Cancelled, RedysError, SessionError
from pipeline.files import write_bytes
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.progress import Reporter
from pipeline.synth.board import make_board_motion
from pipeline.synth.picture import Scene, make_calibration_scene, make_scene, open_painter
from pipeline.synth.sound import RATE_HZ, make_calibration_sounds, make_sounds
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import Take, make_take, make_truth, write_truth
from pipeline.video import VideoWriter

_PRESET = "ultrafast"
_CRF, _CRF_CLEAN = 20, 10


@dataclass(frozen=True)
class _Job:
    """One file to render: a scene and its sound, on disk, since processes share nothing else."""

    scene: Scene
    out: Path
    fps: Fraction
    sound: Path
    crf: int


def make_session(
    out: Path,
    spec: SynthSpec,
    report: Reporter,
    model: HandModel | None = None,
    workers: int = 0,
) -> None:
    """Make a session folder with known truth.

    Parameters
    ----------
    out : Path
        The folder to make; it must not hold a session yet.
    spec : SynthSpec
        What to make. Equal specs give equal arrays and equal pictures (before they are coded).
    report : Reporter
        Hears of progress; cancelling stops between two pictures.
    model : HandModel, optional
        By default the one that `pipeline.hand.model.load_hand_model` finds.
    workers : int
        Processes; 0 takes as many as there are cores.

    Raises
    ------
    SessionError
        The spec asks for what cannot be made, or the folder already holds something.
    ModelError
        No hand model is there.
    """
    spec.check()
    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise SessionError(f"{out} is not empty.", "Give a new folder, or delete this one first.")
    take = make_take(spec, model or load_hand_model())
    with tempfile.TemporaryDirectory(prefix="redys-synth-") as scratch:
        jobs = _prepare(take, out, Path(scratch), report.part(0.0, 0.05))
        _render_all(jobs, report.part(0.05, 0.99), workers)
    write_bytes(out / "session.toml", _settings_toml(spec).encode())
    write_truth(out, make_truth(spec, take.model, take))
    report.update(1.0, f"Made {out.name}")


def _prepare(take: Take, out: Path, scratch: Path, report: Reporter) -> list[_Job]:
    """Everything that needs the hand model or the whole take at once; the longest jobs first."""
    report.update(0.0, "Drawing the movement and the sound")
    crf = _CRF if take.spec.noise else _CRF_CLEAN
    jobs = []
    sounds = make_sounds(take)
    for camera in CAMERAS:
        scene = make_scene(take, camera, scratch / f"{camera}.npy")
        sound = _keep(scratch / f"{camera}-sound.npy", sounds[camera])
        jobs.append(_Job(scene, out / f"{camera}.mp4", take.spec.fps, sound, crf))
        report.check()
    if take.spec.calibration:
        board = make_board_motion(take.spec, take.stage.rig)
        sounds = make_calibration_sounds(take, board.seconds)
        for camera in CAMERAS:
            scene = make_calibration_scene(take, camera, board)
            sound = _keep(scratch / f"{camera}-claps.npy", sounds[camera])
            file = out / "calibration" / f"{camera}.mp4"
            jobs.append(_Job(scene, file, take.spec.calibration_fps, sound, crf))
    report.update(1.0)
    return jobs


def _keep(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def _settings_toml(spec: SynthSpec) -> str:
    lines = [f'subject = "{spec.name}"']
    if spec.visit is not None:
        lines.append(f"visit = {spec.visit.isoformat()}")
    lines += [f'task = "{spec.task}"', f'side = "{spec.side}"', f'reference = "{CAMERAS[0]}"']
    return "\n".join(lines) + "\n"


# --- rendering in several processes ----------------------------------------------------------------

_shared: dict[str, Any] = {}


def _start_worker(done: Any, stop: Any) -> None:
    import cv2

    cv2.setNumThreads(1)
    _shared.update(done=done, stop=stop)


def _render(job: _Job) -> None:
    """Render one file in a worker; stops between pictures when asked to."""
    painter = open_painter(job.scene)
    audio = (np.load(job.sound), RATE_HZ)
    size_px = job.scene.spec.size_px
    with VideoWriter(job.out, size_px, job.fps, job.crf, audio=audio, preset=_PRESET) as video:
        for index in range(job.scene.n_frames):
            if _shared["stop"].is_set():
                raise Cancelled
            video.write(painter.frame(index))
            with _shared["done"].get_lock():
                _shared["done"].value += 1


def _render_all(jobs: list[_Job], report: Reporter, workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    total = sum(job.scene.n_frames for job in jobs)
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    with ProcessPoolExecutor(workers, context, _start_worker, (done, stop)) as pool:
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
