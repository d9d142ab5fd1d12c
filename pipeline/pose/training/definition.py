"""Where the original network sees a joint, against where the mesh has it.

A mesh's knuckle is where it turns; the network was taught where people click. Trained on the mesh's own
points it would have to unlearn what is right on photographs. So each joint gets a constant offset in the
frame of the part of the hand that it ends, fitted on easy made pictures, where the original network is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.hand.joints import N_JOINTS
from pipeline.pose.augmentation import KNUCKLES
from pipeline.pose.landmarks import MM_PER_M, LandmarkNetwork
from pipeline.pose.training.pictures import Painter, Sample

_CONFIDENT = 0.9
_RIGHT_WITHIN = 0.25
"""Shares of the palm's length: a joint that lies farther off was not seen right."""

_PALM_MM = 95.0
_SMOOTH_MM = 4.0
"""Residuals up to this count in full (Huber)."""


@dataclass(frozen=True)
class Definition:
    """Offsets (21, 3) in mm in the joints' frames, of a right hand; and how they were found.

    Attributes
    ----------
    offset_mm : ndarray (21, 3)
    n_pictures : int
        Pictures that the original saw right.
    before_mm, after_mm : ndarray (21,)
        Median distance of its points from the mesh's, without and with the offsets.
    palm_m : float
        Mean distance of the knuckles from the wrist in its world landmarks: the size of its canonical hand.
    """

    offset_mm: np.ndarray
    n_pictures: int
    before_mm: np.ndarray
    after_mm: np.ndarray
    palm_m: float


def place_points(sample: Sample, offset_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sample's joints as the network defines them: (21, 2) in crop px, (21, 3) in mm from the wrist."""
    local = offset_mm if sample.right else offset_mm * [-1.0, 1.0, 1.0]
    moved = np.einsum("jab,jb->ja", sample.frames, local)
    points = sample.points_px + moved[:, :2] * sample.px_per_mm[:, None]
    joints = sample.joints_mm + moved
    return points, joints - joints[:1]


def fit_definition(painter: Painter, n_pictures: int = 1500, first_seed: int = 900_000_000) -> Definition:
    """Fit the offsets on easy pictures with the original network, which must run here."""
    network = LandmarkNetwork()
    rows: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    palms: list[float] = []
    for number in range(n_pictures):
        sample = painter.draw(first_seed + number, easy=True)
        found = network.run(sample.image_bgr[None])
        away = (found.points_px[0] - sample.points_px) / sample.px_per_mm[:, None]
        palm = np.linalg.norm(away, axis=1) / _PALM_MM
        if found.score[0] < _CONFIDENT or palm[1:].max() > _RIGHT_WITHIN:
            continue
        flip = np.ones(3) if sample.right else np.array([-1.0, 1.0, 1.0])
        rows.append(sample.frames[:, :2] * flip)
        targets.append(away)
        assert found.relative_mm is not None
        palms.append(_measure_palm(found.relative_mm[0]))
    matrix, target = np.array(rows), np.array(targets)
    offset = np.stack([_fit(matrix[:, joint], target[:, joint]) for joint in range(N_JOINTS)])
    rest = target - np.einsum("njab,jb->nja", matrix, offset)
    before, after = (np.median(np.linalg.norm(each, axis=2), axis=0) for each in (target, rest))
    return Definition(offset, len(matrix), before, after, float(np.median(palms)) / MM_PER_M)


def _measure_palm(joints_mm: np.ndarray) -> float:
    return float(np.linalg.norm(joints_mm[KNUCKLES] - joints_mm[0], axis=1).mean())


def _fit(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Offset (3,) by least squares that spare what is far off; matrix (N, 2, 3), target (N, 2)."""
    weight = np.ones(len(matrix))
    offset = np.zeros(3)
    for _ in range(12):
        scaled = matrix * np.sqrt(weight)[:, None, None]
        aims = target * np.sqrt(weight)[:, None]
        offset = np.linalg.lstsq(scaled.reshape(-1, 3), aims.reshape(-1), rcond=None)[0]
        rest = np.linalg.norm(target - matrix @ offset, axis=1)
        weight = np.minimum(1.0, _SMOOTH_MM / np.maximum(rest, 1e-9))
    return offset
