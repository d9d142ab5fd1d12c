"""Predictions for a published data set held against its truth, by the data set's own rules and by ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.datasets.arrays import read_hands
from pipeline.datasets.freihand import Split, read_freihand, read_freihand_predictions
from pipeline.datasets.interhand import InterhandSample, read_interhand, read_interhand_predictions
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
)
from pipeline.hand.joints import N_JOINTS


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
    samples = list(read_interhand(folder, split, subset).samples())
    if not samples:
        raise DatasetError(f"{folder} has no annotation in the {split} split.")
    joints = read_interhand_predictions(predictions, np.array([sample.number for sample in samples]))
    true = np.stack([sample.joints_mm for sample in samples])
    two = np.array([sample.hand_type == "interacting" for sample in samples])
    flat, true_flat = joints.reshape(-1, N_JOINTS, 3), true.reshape(-1, N_JOINTS, 3)
    rooted, true_rooted = (subtract_root(points, points[:, 0]) for points in (flat, true_flat))
    distances = measure_distances(rooted, true_rooted).reshape(len(samples), 2 * N_JOINTS)
    values = {
        "mpjpe": average(measure_distances(flat, true_flat)),
        "mpjpe_root": average(distances),
        "pa_mpjpe": average(measure_distances(align(flat, true_flat), true_flat)),
        "mrrpe": average(measure_root_distances(joints, true)[two]),
        "interhand_mpjpe": average_by_point(distances),
        "interhand_mpjpe_single": average_by_point(distances[~two]),
        "interhand_mpjpe_two": average_by_point(distances[two]),
    }
    if fps is not None:
        clips, time_s = _find_sequences(samples, fps)
        values |= score_accelerations(flat, true_flat, clips, time_s)
    return ScoreCard(
        of=f"{predictions.name} against InterHand2.6M, {split} ({subset})",
        frames=len(samples),
        share=share_estimated(flat, true_flat),
        values={key: values[key] for key in DEFINITIONS if key in values},
        notes=(f"{int((~two).sum())} pictures of single hands, {int(two.sum())} of interacting ones.",),
    )


def _find_sequences(samples: list[InterhandSample], fps: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows of each sequence, camera and hand in the order of frames, and the times (2 N,) of all rows.

    Row ``2 n`` is the right hand of sample n, row ``2 n + 1`` the left one.
    """
    frames = np.array([int(sample.frame) for sample in samples])
    members: dict[tuple[str, str, str], list[int]] = {}
    for number, sample in enumerate(samples):
        members.setdefault((sample.capture, sample.sequence, sample.camera.name), []).append(number)
    clips, time_s = [], np.full(2 * len(samples), np.nan)
    for numbers in members.values():
        ordered = np.array(sorted(numbers, key=lambda number: frames[number]))
        steps = np.diff(frames[ordered])
        step = np.median(steps) if steps.size else 1.0
        for hand in (0, 1):
            clips.append(2 * ordered + hand)
            time_s[clips[-1]] = frames[ordered] / step / fps
    return clips, time_s
