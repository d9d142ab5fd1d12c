"""Made playing hands, as data sets would hold them."""

from __future__ import annotations

import numpy as np

from pipeline.hand.joints import FINGERS, JOINTS, Side

_KNUCKLE_X = {"index": -25.0, "middle": -5.0, "ring": 12.0, "pinky": 25.0}
_LENGTHS_MM = (42.0, 26.0, 20.0)
_REST_DEG = (25.0, 35.0, 10.0)


def make_playing_mm(frames: int, fps: float, seed: int, side: Side = "right") -> np.ndarray:
    """Joints (T, 21, 3) in mm of a hand whose fingers swing; the seed draws its habits."""
    random = np.random.default_rng(seed)
    time_s = np.arange(frames) / fps
    joints = np.zeros((frames, 21, 3))
    joints[:, 1:5] = [[-25, 20, -5], [-45, 52, -8], [-58, 82, -10], [-66, 106, -12]]
    for finger in FINGERS[1:]:
        first = JOINTS.index(f"{finger}_mcp")
        joints[:, first] = [_KNUCKLE_X[finger], 85.0, 0.0]
        wave = np.sin(2 * np.pi * time_s * random.uniform(0.7, 3.5) + random.uniform(0, 6))
        pitch = np.zeros(frames)
        for part, (length, rest) in enumerate(zip(_LENGTHS_MM, _REST_DEG, strict=True)):
            pitch = pitch + np.radians(rest + random.normal(0, 4) + 8 * wave / (part + 1))
            step = length * np.stack([0 * pitch, np.cos(pitch), -np.sin(pitch)], axis=1)
            joints[:, first + part + 1] = joints[:, first + part] + step
    return joints * [-1.0, 1.0, 1.0] if side == "left" else joints
