"""Healthy made people, filmed by made cameras and worked by the real networks and the real fusion.

The built-in reference is built from them (``python -m pipeline baseline simulate``). A network has its own
idea of where a joint is, so a reference must come the way that a recording comes: only then do its biases
cancel in z. Clocks and cameras are the true ones, since their errors are far below the networks'.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.fusion.fuse import fuse
from pipeline.hand.joints import SIDES
from pipeline.hand.model import load_hand_model
from pipeline.measures.baseline import Baseline, PersonData, build_from_people, measure_person
from pipeline.pose.estimate import estimate_view
from pipeline.progress import Reporter
from pipeline.results import HandTrack, RunFolder, read_hand, write_hand
from pipeline.session import read_session
from pipeline.synth.session import make_session
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import read_truth

SIZE_PX = (960, 540)
_FIRST_SUBJECT = 10_000  # far from the seeds that sessions are usually made with


def build_simulated_baseline(
    work: Path, report: Reporter, n_people: int = 24, seconds: float = 5.0
) -> Baseline:
    """Make people, film and work them, and build a reference from them.

    Parameters
    ----------
    work : Path
        Folder for the fused hands; a second call goes on with what is there.
    report : Reporter
        Hears of each person.
    n_people : int
        How many; each has a hand, habits, cameras and a take of their own. Right and left hands in turn.
    seconds : float
        Length of each take.
    """
    people = []
    for number in range(n_people):
        report.update(number / n_people, f"Made person {number + 1} of {n_people}")
        people.append(make_person(work, number, seconds))
    return build_from_people(
        people,
        name="built-in simulated reference",
        licence="made by this program; free of rights of others",
        provenance=(
            f"{n_people} made people playing {seconds:g} s each (pipeline.synth, healthy, "
            f"{SIZE_PX[0]}x{SIZE_PX[1]}), found by the embedded networks and fused as recordings are. "
            "Not recorded from people: for trying the software, not for a patient."
        ),
        simulated=True,
    )


def make_person(work: Path, number: int, seconds: float) -> PersonData:
    """One made person, measured. The fused hand is kept in ``work``; the videos are not."""
    spec = SynthSpec(
        seconds=seconds,
        size_px=SIZE_PX,
        seed=_FIRST_SUBJECT + number,
        kind="healthy",
        side=SIDES[number % 2],
        name=f"made-{number:03d}",
        calibration=False,
        max_offset_s=0.2,  # nearly all of a short take is seen by all
    )
    run = RunFolder(work / spec.name)
    if not run.hand_npz(spec.side).is_file():
        session = work / f"{spec.name}-session"
        if not (session / "truth.json").is_file():
            make_session(session, spec, Reporter("synth"))
        write_hand(run, spec.side, _work(session, spec))
        shutil.rmtree(session)
    return measure_person(spec.name, spec.task, [(spec.side, read_hand(run, spec.side))])


def _work(folder: Path, spec: SynthSpec) -> HandTrack:
    session, truth = read_session(folder), read_truth(folder)
    views = {camera: estimate_view(session, camera, Reporter("pose")) for camera in CAMERAS}
    hands = fuse(session.settings, truth.sync, truth.rig, views, load_hand_model(), Reporter("fusion"))
    return hands[spec.side]
