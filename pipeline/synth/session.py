"""Making a session folder: three videos with sound, checkerboard takes, ``session.toml`` and the truth."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from pipeline.calibration.proportions import measure_hand_length
from pipeline.errors import SessionError
from pipeline.files import write_bytes
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.progress import Reporter
from pipeline.synth.board import make_board_motion
from pipeline.synth.film import Job, render_all
from pipeline.synth.scene import make_calibration_scene, make_scene
from pipeline.synth.sound import make_calibration_sounds, make_sounds
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import Take, make_take, make_truth, write_truth

__all__ = ["SynthSpec", "make_session"]

_CRF, _CRF_CLEAN = 20, 10


def make_session(
    out: Path,
    spec: SynthSpec,
    report: Reporter,
    model: HandModel | None = None,
    workers: int = 0,
) -> None:
    """Make a session folder with known truth; it appears whole or not at all.

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
        The spec asks for what cannot be made, the folder already holds something, or it cannot be
        written.
    ModelError
        No hand model is there.
    """
    spec.check()
    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise SessionError(f"{out} is not empty.", "Give a new folder, or delete this one first.")
    take = make_take(spec, model or load_hand_model())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, on the same disk, so that the finished session only has to be renamed.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            made = Path(scratch) / "session"
            made.mkdir()
            jobs = _prepare(take, made, Path(scratch), report.part(0.0, 0.05))
            render_all(jobs, report.part(0.05, 0.99), workers)
            write_bytes(made / "session.toml", _settings_toml(take).encode())
            write_truth(made, make_truth(spec, take.model, take))
            if out.is_dir():
                out.rmdir()
            made.rename(out)
    except OSError as error:
        raise SessionError(
            f"{out} could not be made ({error.strerror or error}).",
            "Check that there is room on the disk and that the folder may be written to.",
        ) from error
    report.update(1.0, f"Made {out.name}")


def _prepare(take: Take, out: Path, scratch: Path, report: Reporter) -> list[Job]:
    """Everything that needs the hand model or the whole take at once; the longest jobs first."""
    report.update(0.0, "Drawing the movement and the sound")
    crf = _CRF if take.spec.noise else _CRF_CLEAN
    jobs = []
    sounds = make_sounds(take)
    for camera in CAMERAS:
        scene = make_scene(take, camera, scratch / f"{camera}.npy")
        sound = _keep(scratch / f"{camera}-sound.npy", sounds[camera])
        jobs.append(Job(scene, out / f"{camera}.mp4", take.spec.fps, sound, crf))
        report.check()
    if take.spec.calibration:
        board = make_board_motion(take.spec, take.stage.rig)
        sounds = make_calibration_sounds(take, board.seconds)
        for camera in CAMERAS:
            scene = make_calibration_scene(take, camera, board)
            sound = _keep(scratch / f"{camera}-claps.npy", sounds[camera])
            file = out / "calibration" / f"{camera}.mp4"
            jobs.append(Job(scene, file, take.spec.calibration_fps, sound, crf))
    report.update(1.0)
    return jobs


def _keep(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def measure_person_mm(take: Take) -> float:
    """Length of the made person's flat hand along the bones, wrist to middle fingertip, as by ruler."""
    eye = np.eye(3)
    flat = np.tile(eye, (1, 15, 1, 1))
    _, joints = take.model.pose_arrays(take.motion.person.betas, eye[None], flat, np.zeros((1, 3)))
    return float(measure_hand_length(joints[0]))


def _settings_toml(take: Take) -> str:
    spec = take.spec
    lines = [f'subject = "{spec.name}"']
    if spec.visit is not None:
        lines.append(f"visit = {spec.visit.isoformat()}")
    lines += [f'task = "{spec.task}"', f'side = "{spec.side}"', f'reference = "{CAMERAS[0]}"']
    if not spec.calibration:
        # A ruler is how a clinic without a checkerboard gives the scale.
        lines.append(f"hand_length_mm = {measure_person_mm(take):.1f}")
    return "\n".join(lines) + "\n"
