"""PianoMotion10M (Gan et al. 2024, arXiv:2406.09326): 116 h of piano from one camera above, as MANO poses.

Layout, as its makers read it: ``annotation/<uploader>/<video>/<video>_seq_NNNN.json`` with ``left`` and
``right`` (T, 62), ``fps``, and more. A row: a flag (what it means is not published; no frame is left out by
it), translation 3, global rotation 3, pose 45 and betas 10; rotations as axis-angle. A left hand is stored as
the mirrored right hand: its makers draw it with the right model and turn x over.

**What the pose starts from is not published.** The network that found it (HaMeR) gives rotations from the
flat hand; the makers' own drawing adds MANO's mean pose. The two differ in every flexion, so it has to be
stated (`PoseConvention`), and `describe_conventions` shows what either makes of the data.

Postures alone: one camera, gaps filled, outliers taken out and smoothed before publication, 30 frames/s or
so. Jerk is refused. Angles need MANO's own bones and axes, so the user's licensed file; without it nothing
can be worked out, since the built-in hand's joints turn about other axes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.datasets.postures import PostureShelf
from pipeline.datasets.reading import read_json_of, to_array
from pipeline.errors import DatasetError, ModelError
from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import SIDES, Side
from pipeline.hand.model import HandModel
from pipeline.hand.rotations import mirror_points
from pipeline.measures.baseline_build import BaselineLabel, PersonData, build_labelled
from pipeline.measures.baseline_types import Baseline
from pipeline.measures.rotations import HINGE_COLUMNS, measure_rotations
from pipeline.progress import Reporter

PoseConvention = Literal["absolute", "from-mean"]
CONVENTIONS: tuple[PoseConvention, ...] = ("absolute", "from-mean")
"""``absolute``: rotations from the flat hand. ``from-mean``: MANO's mean pose is to be added."""

NAME = "PianoMotion10M"
TASK = "piano"
LICENCE = "code Apache-2.0; the data by their makers' terms (zenodo.org/records/13297386)"
POSTURE_ONLY = (
    "PianoMotion10M gives no jerk and no acceleration: one camera, about 30 frames a second, and smoothed "
    "before it was published."
)
ROW = 62
_POSE, _BETAS = slice(7, 52), slice(52, 62)
_N_BETAS = 10
_CHUNK = 3000
_SAMPLES = 20
_FLEXION = {
    part: [ANGLES.index(f"{finger}_{part}_flexion") for finger in ("index", "middle", "ring", "pinky")]
    for part in ("mcp", "pip", "dip")
}
_LIMITS_DEG = {"mcp": (-30.0, 100.0), "pip": (-15.0, 120.0), "dip": (-25.0, 90.0)}


@dataclass(frozen=True)
class Sequence:
    """One stretch of a video.

    Attributes
    ----------
    path : Path
        Its JSON file.
    uploader : str
        Whose channel it is: taken as one person.
    """

    path: Path
    uploader: str


@dataclass(frozen=True)
class SequencePoses:
    """Both hands' poses as published.

    Attributes
    ----------
    fps : float
        Frames a second.
    pose : dict of ndarray (T, 15, 3)
        By side, axis-angle in rad; a left hand's are those of the mirrored right hand.
    betas : dict of ndarray (10,)
        By side, median over the frames that are whole: a hand has one shape. NaN where none is.
    """

    fps: float
    pose: dict[Side, np.ndarray]
    betas: dict[Side, np.ndarray]


def list_sequences(folder: Path) -> list[Sequence]:
    """The sequences in ``annotation/``, by uploader and name.

    Raises
    ------
    DatasetError
        There is none.
    """
    root = folder / "annotation"
    found = [Sequence(path, path.parts[-3]) for path in sorted(root.glob("*/*/*.json"))]
    if not found:
        raise DatasetError(
            f"{root} holds no <uploader>/<video>/<sequence>.json.",
            "Unpack the data set's annotation.zip there.",
        )
    return found


def read_sequence(path: Path) -> SequencePoses:
    """Read one sequence.

    Raises
    ------
    DatasetError
        It is missing or laid out otherwise; it is named.
    """
    raw = read_json_of(path, NAME)
    fps = raw.get("fps") if isinstance(raw, dict) else None
    if not isinstance(fps, (int, float)) or not 0 < fps < 1000:
        raise DatasetError(f"{path} does not state its frames a second.", "Get it from its makers again.")
    rows = {
        side: to_array(raw[side], (None, ROW), f"{path}, {side} hand,")
        for side in SIDES
        if raw.get(side)  # absent or empty: not seen
    }
    if not rows:
        raise DatasetError(f"{path} holds neither a left nor a right hand.", "Get it from its makers again.")
    return SequencePoses(
        float(fps),
        {side: table[:, _POSE].reshape(-1, 15, 3) for side, table in rows.items()},
        {side: _take_shape(table) for side, table in rows.items()},
    )


def _take_shape(table: np.ndarray) -> np.ndarray:
    """Median shape (10,) over the rows (T, 62) that are whole; NaN if none is."""
    known = table[np.isfinite(table).all(axis=1)]
    return np.median(known[:, _BETAS], axis=0) if len(known) else np.full(_N_BETAS, np.nan)


def pose_joints(
    pose: np.ndarray, betas: np.ndarray, side: Side, model: HandModel, start: np.ndarray
) -> np.ndarray:
    """Joints (T, 21, 3) in mm, wrist unturned and in place.

    Parameters
    ----------
    pose : ndarray (T, 15, 3)
        As published.
    betas : ndarray (10,)
        Shape.
    side : "right" | "left"
        A left hand is mirrored back.
    model : HandModel
        The user's MANO.
    start : ndarray (15, 3)
        Axis-angle that is added to each pose, as smplx adds the mean pose: zeros, or the mean pose.

    Raises
    ------
    ModelError
        The model is the built-in hand.
    """
    require_mano(model)
    parts = []
    for first in range(0, len(pose), _CHUNK):
        turns = turn_matrices(pose[first : first + _CHUNK], start)
        still = np.tile(np.eye(3), (len(turns), 1, 1))
        parts.append(model.pose_arrays(betas, still, turns, np.zeros((len(turns), 3)))[1])
    joints = np.concatenate(parts).astype(float)
    return mirror_points(joints) if side == "left" else joints


def turn_matrices(pose: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Axis-angle (T, 15, 3), with a start (15, 3) added, as matrices (T, 15, 3, 3); NaN = not measured."""
    vectors = (pose + start).reshape(-1, 3)
    known = np.isfinite(vectors).all(axis=1)
    turns = np.full((len(vectors), 3, 3), np.nan)
    turns[known] = Rotation.from_rotvec(vectors[known]).as_matrix()
    return turns.reshape(*pose.shape[:2], 3, 3)


def require_mano(model: HandModel) -> None:
    """Refuse the built-in hand (`ModelError`): these poses are MANO's."""
    if model.name != "MANO":
        raise ModelError(
            f"PianoMotion10M holds poses of MANO, and the model here is the {model.name}, whose joints turn "
            "about other axes: its angles would be wrong, so none are worked out.",
            "Register with MANO's makers and put MANO_RIGHT.pkl into models/mano/.",
        )


def choose_start(convention: PoseConvention, mean_pose: np.ndarray) -> np.ndarray:
    """What is added to the published pose (15, 3)."""
    return np.zeros((15, 3)) if convention == "absolute" else mean_pose


def describe_conventions(sequences: list[Sequence], model: HandModel, mean_pose: np.ndarray) -> str:
    """What either convention makes of some sequences: the evidence to choose by.

    For each: median flexion of the fingers' joints; the share of it beyond what joints can do; and how far
    the PIP and DIP joints are twisted, which hinges cannot be. The right one has little of the last two.
    """
    require_mano(model)
    few = sequences[:: max(len(sequences) // _SAMPLES, 1)][:_SAMPLES]
    lines = [f"{NAME}: what the published pose may start from, by {len(few)} of {len(sequences)} sequences:"]
    read = [read_sequence(one.path) for one in few]
    for convention in CONVENTIONS:
        start = choose_start(convention, mean_pose)
        degrees, twist = [], []
        for poses in read:
            for side, pose in poses.pose.items():
                thin = pose[:: max(len(pose) // 100, 1)]
                joints = pose_joints(thin, poses.betas[side], side, model, start)
                degrees.append(np.degrees(compute_angles(joints, side)))
                flat = pose_joints(-start[None], poses.betas[side], "right", model, start)[0]
                turned = measure_rotations(turn_matrices(thin, start), flat)
                twist.append(np.abs(turned.twist[:, HINGE_COLUMNS]))
        lines.append(f"  {convention}: {_describe_degrees(np.concatenate(degrees), np.concatenate(twist))}")
    return "\n".join(lines)


def _describe_degrees(degrees: np.ndarray, twist: np.ndarray) -> str:
    parts, beyond = [], []
    for part, columns in _FLEXION.items():
        values = degrees[:, columns]
        values = values[np.isfinite(values)]
        low, high = _LIMITS_DEG[part]
        parts.append(f"{part.upper()} {np.median(values):.0f}°")
        beyond.append((values < low) | (values > high))
    return (
        f"median flexion {', '.join(parts)}; beyond what joints can do "
        f"{100 * np.concatenate(beyond).mean():.1f} %; hinges twisted by {np.nanmedian(twist):.1f}°"
    )


def build_pianomotion(
    folder: Path,
    convention: PoseConvention,
    model: HandModel,
    mean_pose: np.ndarray,
    report: Reporter,
    version: str = "1",
) -> Baseline:
    """Build a reference of postures from PianoMotion10M, or from the part of it that is there.

    Parameters
    ----------
    folder : Path
        With ``annotation/``.
    convention : "absolute" | "from-mean"
        What the published pose starts from; `describe_conventions` helps to tell.
    model : HandModel
        The user's MANO.
    mean_pose : ndarray (15, 3)
        From `pipeline.hand.model.read_mean_pose`.
    report : Reporter
        Hears of each sequence; also where it is asked to stop.
    version : str
        Of the reference.

    Raises
    ------
    ModelError
        The model is not MANO.
    DatasetError
        The folder is not laid out so.
    MeasureError
        It holds fewer than two uploaders.
    """
    require_mano(model)
    sequences = list_sequences(folder)
    people = {one.uploader for one in sequences}
    of_pose = "as published" if convention == "absolute" else "with MANO's mean pose added"
    label = BaselineLabel(
        name=NAME,
        licence=LICENCE,
        provenance=(
            f"PianoMotion10M, {len(sequences)} stretches of video of {len(people)} uploaders, each taken as "
            "one person; age, sex and health not recorded; found by HaMeR in one camera from above, gaps "
            "filled and smoothed by its makers. Angles by this program from the MANO pose "
            f"{of_pose} ({convention})."
        ),
        version=version,
        posture_only=POSTURE_ONLY,
    )
    start = choose_start(convention, mean_pose)
    with tempfile.TemporaryDirectory(prefix="redys-pianomotion-") as scratch:
        people_data = _measure_people(
            sequences, model, start, PostureShelf(Path(scratch), POSTURE_ONLY), report
        )
        return build_labelled(people_data, label)


def _measure_people(
    sequences: list[Sequence], model: HandModel, start: np.ndarray, shelf: PostureShelf, report: Reporter
) -> Iterator[PersonData]:
    done = 0
    for uploader in dict.fromkeys(one.uploader for one in sequences):
        hands = []
        for sequence in (one for one in sequences if one.uploader == uploader):
            report.update(done / len(sequences), f"{sequence.path.stem} of uploader {uploader}")
            poses = read_sequence(sequence.path)
            for side, pose in poses.pose.items():
                joints = pose_joints(pose, poses.betas[side], side, model, start)
                time_s = np.arange(len(joints)) / poses.fps
                hands.append(shelf.measure(time_s, joints, side, f"{sequence.path} ({side})"))
            done += 1
        yield PersonData(f"pianomotion-{uploader}", TASK, tuple(hands))
