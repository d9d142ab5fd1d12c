"""Manual weights per view and joint (seed 000, appendix C)."""

from __future__ import annotations

import numpy as np

from pipeline.hand.joints import N_JOINTS, Side

MANUAL_WEIGHTS: dict[str, tuple[float, ...]] = {
    "front": (1.0,) * N_JOINTS,
    "left": (
        1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25, 0.5,
        0.5, 0.5, 0.125, 0.25, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0,
    ),
    "right": (
        1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.125, 0.25,
        0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0,
    ),
}  # fmt: skip
"""``w_manual`` of a right hand by camera name: what a side camera sees of the far fingers is guessed."""

LOW_TRUST = 0.25
"""A point that the fit has left less than this of its manual weight has lost its say: with Cauchy weights of
3 sigmas it lies more than 5 sigmas off."""

_OTHER_SIDE = {"left": "right", "right": "left"}


def get_manual_weights(camera: str, side: Side) -> np.ndarray:
    """Manual occlusion weights (21,) of a camera, 0 to 1 (seed 000, appendix C).

    Left hands are mirrored right hands, so the roles of the left and the right camera swap.
    Cameras of other names get 1 everywhere: appendix C knows three places, and where another camera stands
    says nothing of what the fingers hide from it. With them `front` is one of many, and a `left` or `right`
    beside them still gives up what it guesses. Of `left` and `right` without any other camera each finger
    has one view with a say, and `rescue_weight` of the other for its depth.
    """
    name = camera if side == "right" else _OTHER_SIDE.get(camera, camera)
    return np.array(MANUAL_WEIGHTS.get(name, (1.0,) * N_JOINTS))


def get_view_weights(
    names: tuple[str, ...], side: Side, seen: np.ndarray, rescue_weight: float
) -> np.ndarray:
    """`get_manual_weights` of several cameras, frame by frame: (C, T, 21).

    Where fewer than two views with a weight see a joint (a side camera started late, or lost the hand), those
    that see it but are silenced get ``rescue_weight`` instead of 0.

    Parameters
    ----------
    names : tuple of str
        The C cameras.
    side : "right" | "left"
        The hand.
    seen : ndarray (C, T, 21) bool
        Which camera saw which joint.
    rescue_weight : float
        0 turns the rescue off.
    """
    manual = np.stack([get_manual_weights(name, side) for name in names])
    weights = np.broadcast_to(manual[:, None], seen.shape).copy()
    alone = (seen & (weights > 0)).sum(axis=0) < 2
    weights[(weights == 0) & alone[None]] = rescue_weight
    return weights
