"""Postures of a made hand: every finger by itself, from bent back to a fist, at rest and dystonic."""

from __future__ import annotations

import numpy as np
import roma
import torch

from pipeline.hand.joints import FINGERS, MANO_POSE_JOINTS
from pipeline.synth.person import Axes

_LONG = FINGERS[1:]
_CHANCES = {
    "independent": 0.28,
    "resting": 0.17,
    "open": 0.13,
    "fist": 0.08,
    "dystonic": 0.26,
    "pinch": 0.08,
}
KINDS = tuple(_CHANCES)
"""Kinds of postures; dystonic: one finger curled beside fingers that are stretched stiff."""

_LEAST = {"mcp": -0.6, "pip": -0.25, "dip": -0.35}
_MOST = {"mcp": 1.55, "pip": 1.95, "dip": 1.4}
"""Ranges of the fingers' joints in rad, as wide as hands go."""


def draw_posture(random: np.random.Generator, axes: Axes, kinds: tuple[str, ...] = KINDS) -> np.ndarray:
    """Rotations (15, 3, 3) of `MANO_POSE_JOINTS`, of one of the ``kinds``."""
    chances = np.array([_CHANCES[kind] for kind in kinds])
    kind = str(random.choice(kinds, p=chances / chances.sum()))
    bends = _draw_bends(random, kind)
    spread = float(random.normal(0.0, 0.12))
    turns = np.zeros((15, 3))
    for number, joint in enumerate(MANO_POSE_JOINTS):
        finger, part = joint.split("_")
        if finger == "thumb":
            turns[number] = _turn_thumb(random, axes, number, part, kind)
            continue
        turns[number] = bends[finger][part] * axes.flexion[number]
        if part == "mcp":
            fan = {"index": 1.0, "middle": 0.1, "ring": -0.6, "pinky": -1.2}[finger] * spread
            turns[number] += (fan + random.normal(0, 0.09)) * axes.abduction[number]
        else:
            turns[number] += random.normal(0, 0.03) * axes.abduction[number]
    return roma.rotvec_to_rotmat(torch.as_tensor(turns)).numpy()


def _draw_bends(random: np.random.Generator, kind: str) -> dict[str, dict[str, float]]:
    """Flexion in rad by finger and joint."""
    common = random.uniform(0, 1)
    bends = {}
    for finger in _LONG:
        bend = {
            "independent": _bend_freely,
            "resting": _bend_at_rest,
            "open": _hold_open,
            "fist": _close,
            "dystonic": _bend_at_rest,
            "pinch": _bend_at_rest if finger != "index" else _bend_freely,
        }[kind](random, common)
        bends[finger] = bend
    if kind == "dystonic":
        curled, *stiff = random.permutation(_LONG)[: 1 + random.integers(1, 4)].tolist()
        bends[curled] = _curl(random)
        for finger in stiff:
            bends[finger] = _stretch(random)
    return {
        finger: {part: float(np.clip(value, _LEAST[part], _MOST[part])) for part, value in bend.items()}
        for finger, bend in bends.items()
    }


def _bend_freely(random: np.random.Generator, _common: float) -> dict[str, float]:
    pip = random.uniform(-0.15, 1.9)
    dip = 0.6 * pip + random.normal(0, 0.25) if random.random() < 0.7 else random.uniform(-0.35, 1.3)
    return {"mcp": random.uniform(-0.5, 1.5), "pip": pip, "dip": dip}


def _bend_at_rest(random: np.random.Generator, common: float) -> dict[str, float]:
    level = 0.35 + 0.9 * common
    return {
        "mcp": 0.45 * level + random.normal(0, 0.17),
        "pip": 0.65 * level + random.normal(0, 0.17),
        "dip": 0.32 * level + random.normal(0, 0.12),
    }


def _hold_open(random: np.random.Generator, _common: float) -> dict[str, float]:
    return {part: random.normal(0.02, deviation) for part, deviation in
            (("mcp", 0.2), ("pip", 0.1), ("dip", 0.08))}  # fmt: skip


def _close(random: np.random.Generator, common: float) -> dict[str, float]:
    level = 0.7 + 0.4 * common
    return {
        "mcp": 1.3 * level + random.normal(0, 0.15),
        "pip": 1.65 * level + random.normal(0, 0.15),
        "dip": 0.9 * level + random.normal(0, 0.15),
    }


def _curl(random: np.random.Generator) -> dict[str, float]:
    return {
        "mcp": random.uniform(0.2, 1.5),
        "pip": random.uniform(0.8, 1.95),
        "dip": random.uniform(0.2, 1.3),
    }


def _stretch(random: np.random.Generator) -> dict[str, float]:
    return {"mcp": random.uniform(-0.6, 0.4), "pip": random.normal(0, 0.12), "dip": random.normal(0, 0.12)}


def _turn_thumb(random: np.random.Generator, axes: Axes, number: int, part: str, kind: str) -> np.ndarray:
    if part == "cmc":
        across = random.normal(0.0, 0.25) + (0.35 if kind in ("fist", "pinch") else 0.0)
        return (
            random.normal(0.05, 0.3) * axes.flexion[number]
            + random.normal(0.0, 0.22) * axes.abduction[number]
            + across * axes.thumb_press
        )
    most = {"mcp": (-0.25, 0.9), "ip": (-0.5, 1.3)}[part]
    free = random.random() < 0.5 or kind in ("fist", "independent")
    return (random.uniform(*most) if free else random.normal(0.15, 0.15)) * axes.flexion[number]
