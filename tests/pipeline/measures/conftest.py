from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.hand.joints import FINGERS, JOINTS, Side
from pipeline.measures.baseline import Baseline, PersonData, build_from_people, measure_person
from pipeline.results import HandTrack

KNUCKLE_X = {"index": -25.0, "middle": -5.0, "ring": 12.0, "pinky": 25.0}
LENGTHS_MM = (42.0, 26.0, 20.0)
REST_DEG = (25.0, 35.0, 10.0)


def playing_hand(
    time_s: np.ndarray, swing_deg: float = 6.0, bend_deg: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Joints (T, 21, 3) of a right hand whose fingers swing; each PIP is bent by ``bend_deg`` more."""
    random = np.random.default_rng(seed)
    joints = np.zeros((len(time_s), 21, 3))
    joints[:, 1:5] = np.array([[-25, 20, -5], [-45, 52, -8], [-58, 82, -10], [-66, 106, -12.0]])
    for finger in FINGERS[1:]:
        joints[:, JOINTS.index(f"{finger}_mcp")] = [KNUCKLE_X[finger], 85.0, 0.0]
        rates, phases = random.uniform(0.7, 3.5, 3), random.uniform(0, 2 * np.pi, 3)
        waves = np.sin(2 * np.pi * time_s[:, None] * rates + phases).sum(axis=1)
        pitch = np.zeros(len(time_s))
        for part, (length, rest) in enumerate(zip(LENGTHS_MM, REST_DEG, strict=True)):
            extra = bend_deg if part == 1 else 0.0
            pitch = pitch + np.radians(rest + extra + swing_deg * waves / (part + 1))
            step = length * np.stack([0 * pitch, np.cos(pitch), -np.sin(pitch)], axis=1)
            start = JOINTS.index(f"{finger}_mcp") + part
            joints[:, start + 1] = joints[:, start] + step
    return joints + np.array([10.0, -40.0, 600.0])


def make_track(
    seconds: float = 10.0,
    fps: float = 60.0,
    side: Side = "right",
    swing_deg: float = 6.0,
    bend_deg: float = 0.0,
    jitter_mm: float = 0.2,
    seed: int = 0,
) -> HandTrack:
    """A fused hand with independent jitter, which is also what it states."""
    time_s = np.arange(round(seconds * fps)) / fps
    joints = playing_hand(time_s, swing_deg, bend_deg, seed)
    joints += np.random.default_rng(seed + 1).normal(0, 1, joints.shape) * jitter_mm
    if side == "left":
        joints = joints * [-1.0, 1.0, 1.0]
    frames, eye = len(time_s), np.eye(3)
    return HandTrack(
        time_s=time_s,
        betas=np.zeros(10),
        global_orient=np.tile(eye, (frames, 1, 1)),
        hand_pose=np.tile(eye, (frames, 15, 1, 1)),
        transl_mm=np.zeros((frames, 3)),
        joints_mm=joints,
        joint_sigma_mm=np.full((frames, 21), max(jitter_mm, 1e-3)),
        residual_px=np.full((1, frames, 21), 1.0),
        quality=np.ones((frames, 21)),
        cameras=("front",),
    )


@pytest.fixture(scope="session")
def track() -> Callable[..., HandTrack]:
    return make_track


@pytest.fixture(scope="session")
def people() -> list[PersonData]:
    """Twelve people who differ in how far they bend the PIP and in how they swing."""
    random = np.random.default_rng(7)
    return [
        measure_person(
            f"p{number}",
            "piano",
            [("right", make_track(6.0, bend_deg=float(random.normal(0, 4)), seed=100 + number))],
        )
        for number in range(12)
    ]


@pytest.fixture(scope="session")
def baseline(people) -> Baseline:
    return build_from_people(people, "test reference", "none", "made for a test", simulated=True)
