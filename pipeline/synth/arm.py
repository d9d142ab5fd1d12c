"""The forearm and the sleeve that hang on a made hand, so that it does not float over the keys."""

from __future__ import annotations

import numpy as np

from pipeline.hand.model import MM_PER_M, HandModel
from pipeline.synth.motion import Pose

_SIDES = 18
# Distance from the wrist (mm), thickness against the wrist's, and 0 = skin, 1 = cloth, by ring.
_RINGS = (
    (8.0, 0.70, 0), (20.0, 0.90, 0), (27.0, 1.0, 0), (45.0, 1.02, 0), (68.0, 1.06, 0),
    (64.0, 1.20, 1), (68.0, 1.36, 1), (130.0, 1.45, 1), (210.0, 1.6, 1), (320.0, 1.75, 1),
)  # fmt: skip
_BEND_MM = 90.0
"""Way along which the arm turns from the hand's direction into its own."""

_ELBOW = np.array([0.30, -1.0, -0.12])
"""Direction to the elbow in the piano's frame."""

N_VERTICES = len(_RINGS) * _SIDES


def make_arm_faces() -> tuple[np.ndarray, np.ndarray]:
    """Triangles (F, 3), outward, numbered from 0, and the material (F,) uint8 of each: skin or cloth."""
    faces, material = [], []
    for ring in range(len(_RINGS) - 1):
        if _RINGS[ring][2] != _RINGS[ring + 1][2]:
            continue
        for side in range(_SIDES):
            after = (side + 1) % _SIDES
            a, b = ring * _SIDES + side, ring * _SIDES + after
            c, d = a + _SIDES, b + _SIDES
            faces += [(a, b, c), (b, d, c)]
            material += [_RINGS[ring][2]] * 2
    return np.array(faces), np.array(material, dtype=np.uint8)


def pose_arm(model: HandModel, pose: Pose) -> np.ndarray:
    """Corners (T, N_VERTICES, 3) of the forearm in the piano's frame, in mm, for poses at T times."""
    thick, wide = _measure_wrist(model)
    hand_axis = pose.orient[:, :, 0]  # the template's +x points from the fingers to the arm
    elbow = _ELBOW / np.linalg.norm(_ELBOW)
    up0 = pose.orient[:, :, 1]
    angle = np.arange(_SIDES) / _SIDES * 2 * np.pi
    rings = []
    for distance, thickness, _ in _RINGS:
        share = np.clip(distance / _BEND_MM, 0, 1)
        direction = _unit((1 - share) * hand_axis + share * elbow)
        halfway = _unit((1 - share / 2) * hand_axis + share / 2 * elbow)
        up = _unit(up0 - direction * (up0 * direction).sum(axis=1, keepdims=True))
        across = np.cross(direction, up)
        centre = pose.wrist_mm + distance * halfway
        ring = thick * np.cos(angle)[None, :, None] * up[:, None] * thickness
        ring = ring + wide * np.sin(angle)[None, :, None] * across[:, None] * thickness
        rings.append(centre[:, None] + ring)
    return np.concatenate(rings, axis=1)


def _measure_wrist(model: HandModel) -> tuple[float, float]:
    """Half the thickness and half the width (mm) of the template where the hand ends."""
    vertices = model.layer.v_template.numpy() * MM_PER_M
    end = vertices[vertices[:, 0] > vertices[:, 0].max() - 14]
    low, high = end.min(axis=0), end.max(axis=0)
    return float(high[1] - low[1]) / 2, float(high[2] - low[2]) / 2


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
