"""Predictions for a published data set held against its truth, by the data set's own rules and by ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.datasets.arrays import read_hands
from pipeline.datasets.freihand import Split, read_freihand, read_freihand_predictions
from pipeline.datasets.interhand import InterhandSplit, read_interhand, read_interhand_predictions
from pipeline.errors import DatasetError
from pipeline.evaluation.alignment import align, subtract_root
from pipeline.evaluation.definitions import DEFINITIONS
from pipeline.evaluation.errors import (
    average,
    average_by_point,
    measure_area,
    measure_distances,
)
from pipeline.evaluation.scores import (
    ScoreCard,
    align_surfaces,
    average_f_scores,
    measure_root_distances,
    score_accelerations,
    score_hands,
    score_joints,
    score_vertices,
    share_estimated,
    split_by,
)
from pipeline.hand.joints import N_JOINTS

CHUNK = 20_000


def score_arrays(truth: Path, predictions: Path, root: str = "wrist") -> ScoreCard:
    """Hold predictions against a truth, both in the neutral layout (`pipeline.datasets.arrays`).

    Raises
    ------
    DatasetError
        A file is missing or broken, or the two do not match.
    """
    of = f"{predictions.name} against {truth.name}"
    return score_hands(read_hands(predictions), read_hands(truth), of, root)


def score_freihand(folder: Path, predictions: Path, split: Split = "evaluation") -> ScoreCard:
    """Hold FreiHAND's ``pred.json`` against a split: its own numbers and the usual ones.

    FreiHAND's own code gives what is here as ``mpjpe``, ``auc``, ``freihand_pa_mpjpe``, ``freihand_auc_pa``,
    ``mpvpe``, ``freihand_auc_mesh``, ``freihand_pa_mpvpe``, ``freihand_auc_mesh_pa``, ``f_*`` and
    ``freihand_f_*``, distances in cm. For meshes with other vertices than MANO's it aligns by the joints
    without taking the prediction's size out; here the size is taken out.

    Raises
    ------
    DatasetError
        A file is missing or broken, or the predictions are not one for each hand.
    """
    truth = read_freihand(folder, split)
    joints, vertices = read_freihand_predictions(predictions, len(truth))
    wanted = np.isfinite(truth.joints_mm).all(axis=2)
    mirrored = measure_distances(align(joints, truth.joints_mm, with_mirror=True), truth.joints_mm)
    values = score_joints(joints, truth.joints_mm) | {
        "freihand_pa_mpjpe": average(mirrored),
        "freihand_auc_pa": measure_area(mirrored, wanted),
    }
    notes = []
    if vertices is None or truth.vertices_mm is None:
        missing = "predictions have" if vertices is None else f"{split} split has"
        notes.append(f"The {missing} no vertices: no MPVPE, no F-scores.")
    else:
        values |= _score_freihand_surfaces(vertices, truth.vertices_mm, joints, truth.joints_mm)
        if vertices.shape != truth.vertices_mm.shape:
            notes.append("The predictions' mesh has other vertices: no MPVPE, and F-scores by the joints.")
    return ScoreCard(
        of=f"{predictions.name} against FreiHAND, {split}",
        frames=len(truth),
        share=share_estimated(joints, truth.joints_mm),
        values={key: values[key] for key in DEFINITIONS if key in values},
        notes=tuple(notes),
    )


def _score_freihand_surfaces(
    vertices: np.ndarray, true: np.ndarray, joints: np.ndarray, true_joints: np.ndarray
) -> dict[str, float]:
    """FreiHAND's numbers of surfaces (N, V, 3); of corresponding vertices only where their number is one."""
    aligned = align_surfaces(vertices, true, joints, true_joints, with_mirror=True)
    values = average_f_scores("f", vertices, true) | average_f_scores("freihand_f", aligned, true)
    if vertices.shape != true.shape:
        return values
    wanted = np.isfinite(true).all(axis=2)
    plain, moved = measure_distances(vertices, true), measure_distances(aligned, true)
    return (
        values
        | score_vertices(vertices, true, joints[:, 0], true_joints[:, 0])
        | {
            "freihand_auc_mesh": measure_area(plain, wanted),
            "freihand_pa_mpvpe": average(moved),
            "freihand_auc_mesh_pa": measure_area(moved, wanted),
        }
    )


def score_interhand(
    folder: Path, predictions: Path, split: str = "test", subset: str = "all", fps: float | None = None
) -> ScoreCard:
    """Hold joints in camera frames against a split of InterHand2.6M: its own numbers and PA-MPJPE.

    Predictions are as `pipeline.datasets.interhand.read_interhand_predictions` says. MRRPE is that of
    pictures of interacting hands with both wrists valid. The annotations hold no times: with ``fps`` the
    usual step between the frames of a sequence lasts 1 / fps s, and acceleration errors are given, too.

    Raises
    ------
    DatasetError
        A file is missing or broken, or the split has no annotation.
    """
    truth = _gather(read_interhand(folder, split, subset))
    if not len(truth.number):
        raise DatasetError(f"{folder} has no annotation in the {split} split.")
    joints = read_interhand_predictions(predictions, truth.number)
    flat, true_flat = joints.reshape(-1, N_JOINTS, 3), truth.joints_mm.reshape(-1, N_JOINTS, 3)
    plain, rooted, aligned = _measure_in_chunks(flat, true_flat)
    by_joint = rooted.reshape(-1, 2 * N_JOINTS)
    values = {
        "mpjpe": average(plain),
        "mpjpe_root": average(rooted),
        "pa_mpjpe": average(aligned),
        "mrrpe": average(measure_root_distances(joints, truth.joints_mm)[truth.interacting]),
        "interhand_mpjpe": average_by_point(by_joint),
        "interhand_mpjpe_single": average_by_point(by_joint[~truth.interacting]),
        "interhand_mpjpe_two": average_by_point(by_joint[truth.interacting]),
    }
    if fps is not None:
        clips, time_s = _find_sequences(truth, fps)
        values |= score_accelerations(flat, true_flat, clips, time_s)
    two = int(truth.interacting.sum())
    return ScoreCard(
        of=f"{predictions.name} against InterHand2.6M, {split} ({subset})",
        frames=len(truth.number),
        share=share_estimated(flat, true_flat),
        values={key: values[key] for key in DEFINITIONS if key in values},
        notes=(f"{len(truth.number) - two} pictures of single hands, {two} of interacting ones.",),
    )


@dataclass(frozen=True)
class _InterhandTruth:
    """What scores need of N samples: a split has up to a million of them."""

    number: np.ndarray
    joints_mm: np.ndarray  # (N, 2, 21, 3)
    interacting: np.ndarray
    frame: np.ndarray
    sequence: np.ndarray  # which sequence and camera each is of, as a number


def _gather(split: InterhandSplit) -> _InterhandTruth:
    count = len(split)
    joints = np.empty((count, 2, N_JOINTS, 3))
    number, frame, sequence = (np.zeros(count, dtype=int) for _ in range(3))
    interacting = np.zeros(count, dtype=bool)
    sequences: dict[tuple[str, str, str], int] = {}
    for row, sample in enumerate(split.samples()):
        joints[row], number[row], frame[row] = sample.joints_mm, sample.number, int(sample.frame)
        interacting[row] = sample.hand_type == "interacting"
        key = (sample.capture, sample.sequence, sample.camera.name)
        sequence[row] = sequences.setdefault(key, len(sequences))
    return _InterhandTruth(number, joints, interacting, frame, sequence)


def _measure_in_chunks(joints: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (N, 21) as they are, from the wrist, and aligned, worked out a part at a time."""
    found: list[tuple[np.ndarray, ...]] = []
    for start in range(0, max(len(true), 1), CHUNK):
        a, b = (points[start : start + CHUNK] for points in (joints, true))
        rooted = measure_distances(subtract_root(a, a[:, 0]), subtract_root(b, b[:, 0]))
        found.append((measure_distances(a, b), rooted, measure_distances(align(a, b), b)))
    plain, rooted, aligned = (np.concatenate(part) for part in zip(*found, strict=True))
    return plain, rooted, aligned


def _find_sequences(truth: _InterhandTruth, fps: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows of each sequence, camera and hand in the order of frames, and the times (2 N,) of all rows.

    Row ``2 n`` is the right hand of sample n, row ``2 n + 1`` the left one. A frame counts once.
    """
    clips, time_s = [], np.full(2 * len(truth.number), np.nan)
    for members in split_by(truth.sequence):
        frames, first = np.unique(truth.frame[members], return_index=True)
        step = np.median(np.diff(frames)) if len(frames) > 1 else 1.0
        for hand in (0, 1):
            clips.append(2 * members[first] + hand)
            time_s[clips[-1]] = frames / step / fps
    return clips, time_s
