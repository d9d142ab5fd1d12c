"""Whether the cameras agree on a hand, and whether what they agree on is one: in figures and in sentences."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from pipeline.fusion.exclusions import PART_WORDS, REASONS, list_exclusions, name_parts
from pipeline.fusion.weights import LOW_TRUST
from pipeline.hand.joints import FINGERS, JOINTS, PARTS, Side
from pipeline.measures.quality_types import HandQuality
from pipeline.results import HandTrack

MAX_SHAPE_LIMITED, MAX_SHAPE_FAILED = 1.8, 3.0
"""Distance of the triangulated lengths from people's proportions, in standard deviations (root mean square).
The embedded network's made sessions have 0.8 to 1.1, with a camera turned by 2 degrees up to 1.3. A camera
turned by 4 degrees has 2.4 to 2.6 and by 8 over 4, exchanged thumb and little finger 3.7, other things over
5."""

MAX_SPREAD_LIMITED, MAX_SPREAD_FAILED = 0.1, 0.2
"""Spread of a triangulated length over the recording, as a share of it (median of all lengths). Made
sessions: 0.02 to 0.04; a camera turned by 2 degrees 0.06; points at random 0.28."""

MAX_FINGER_ASIDE = 0.25
"""A camera of which a finger loses its say in more of the recording is named."""

MAX_ODD_FAILED = 0.3
"""Where the cameras contradict each other as a whole for more of the recording, it is "failed"."""

MAX_FINGER_REPROJECTION_SHARE = 0.03
"""A finger whose fused joints lie further from what a camera shows (median, share of the picture's width) is
named. Made sessions: up to 0.024, at the wrist, where the network and the hand model mean another point."""

_WHOLE = ("other hand", "mirrored", "doubted")


def describe_agreement(hand: HandTrack) -> dict[str, Any]:
    """The fields of `HandQuality` that say how far the cameras agree; nothing for an older run's track."""
    if hand.trust is None:
        return {}
    found = list_exclusions(hand)
    heard = np.where(np.isfinite(hand.trust), hand.residual_px, np.nan)
    low = np.where(np.isfinite(hand.trust), hand.trust < LOW_TRUST, np.nan)
    names = hand.cameras
    distance, worst = _measure_shape(hand.lengths_mm)
    return {
        "joint_reprojection_px": {
            name: tuple(_median(heard[number], axis=0).tolist()) for number, name in enumerate(names)
        },
        "length_spread": _measure_spread(hand.lengths_mm),
        "shape_distance": distance,
        "shape_worst": worst,
        "set_aside": found.camera_share or {},
        "finger_set_aside": {
            name: {part: _mean(low[number][:, joints]) for part, joints in PARTS.items()}
            for number, name in enumerate(names)
        },
        "view_set_aside": _share_views(hand),
        "exclusions": found.listed,
        "exclusions_more": found.more,
        "lone_outliers": found.lone_outliers,
    }


def _measure_shape(lengths_mm: np.ndarray | None) -> tuple[float, str]:
    """Distance from people's proportions, and the finger or palm that is farthest off.

    The common scale is taken off: it is the rig's, and judged with that (`pipeline.calibration.scale`).
    """
    from pipeline.fusion.initial import DISTANCES  # here, since the web process must not load torch

    if lengths_mm is None or (lengths_mm[0] > 0).sum() < _MIN_LENGTHS:
        return float("nan"), ""
    # Joints that coincide have no length, and no proportion either.
    logs = np.log(np.where(lengths_mm[0] > 0, lengths_mm[0], np.nan) / lengths_mm[2])
    z = (logs - np.nanmedian(logs)) / (lengths_mm[3] / lengths_mm[2])
    joint = DISTANCES[int(np.nanargmax(np.abs(z)))]
    palm = DISTANCES.index(joint) < _N_PALM
    finger = next((finger for finger in FINGERS if JOINTS[joint[1]].startswith(finger)), "wrist")
    return float(np.sqrt(np.nanmean(z**2))), "palm" if palm else finger


_MIN_LENGTHS = 6
_N_PALM = 15
"""So many of `DISTANCES` are the palm's; the others are the fingers' bones."""


def _measure_spread(lengths_mm: np.ndarray | None) -> float:
    if lengths_mm is None:
        return float("nan")
    return float(_median(lengths_mm[1] / np.where(lengths_mm[0] > 0, lengths_mm[0], np.nan), axis=0))


def _share_views(hand: HandTrack) -> dict[str, dict[str, float]]:
    """By camera and reason: share of the recording in which the whole view was set aside, where it was."""
    if hand.view_state is None:
        return {}
    shares = {
        name: {reason: float((row == reason).mean()) for reason in _WHOLE if (row == reason).any()}
        for name, row in zip(hand.cameras, hand.view_state, strict=True)
    }
    return {name: share for name, share in shares.items() if share}


# --- in sentences ----------------------------------------------------------------------------------


def fail_agreement(side: Side, quality: HandQuality) -> list[str]:
    """Why a hand should not be used, in sentences; empty if nothing speaks against it."""
    reasons = []
    worst = PART_WORDS.get(quality.shape_worst, "")
    if quality.shape_distance > MAX_SHAPE_FAILED:
        reasons.append(
            f"What the cameras show of the {side} hand is not shaped like a hand (the {worst} is "
            "farthest off): do they stand as the rig says, and is it the same hand in all pictures?"
        )
    if quality.length_spread > MAX_SPREAD_FAILED:
        reasons.append(_say_spread(side, quality))
    doubted = max((share.get("doubted", 0.0) for share in quality.view_set_aside.values()), default=0.0)
    if doubted > MAX_ODD_FAILED:
        reasons.append(
            f"The cameras contradict each other about the {side} hand in {100 * doubted:.0f} % of the "
            "recording, and nothing tells which is right."
        )
    return reasons


def limit_agreement(side: Side, quality: HandQuality, widths_px: dict[str, int]) -> list[str]:
    """Why a hand is to be read with care, in sentences.

    Parameters
    ----------
    side : "right" | "left"
        The hand.
    quality : HandQuality
        With the fields of `describe_agreement`.
    widths_px : dict of int
        Width of each camera's pictures.
    """
    reasons = _limit_views(side, quality)
    if MAX_SHAPE_LIMITED < quality.shape_distance <= MAX_SHAPE_FAILED:
        reasons.append(
            f"The proportions of the {side} hand are unusual (most so the "
            f"{PART_WORDS.get(quality.shape_worst, '')}): do the cameras stand as the rig says?"
        )
    if MAX_SPREAD_LIMITED < quality.length_spread <= MAX_SPREAD_FAILED:
        reasons.append(_say_spread(side, quality))
    reasons += _limit_fingers(side, quality)
    return reasons + _limit_reprojection(side, quality, widths_px)


def _limit_views(side: Side, quality: HandQuality) -> list[str]:
    reasons = []
    for camera, shares in quality.view_set_aside.items():
        for reason, share in shares.items():
            part = f"in {100 * share:.0f} % of the recording"
            if reason != "doubted" and share > MAX_ODD_FAILED:
                reasons.append(
                    f"Camera {camera} shows something else than the others {part}, and was left out there: "
                    "has it moved, is its clock wrong, or does it follow another hand?"
                )
            elif reason != "doubted":
                reasons.append(f"Camera {camera} {REASONS[reason]} {part}: it was left out there.")
    doubted = max((shares.get("doubted", 0.0) for shares in quality.view_set_aside.values()), default=0.0)
    if 0 < doubted <= MAX_ODD_FAILED:
        reasons.append(
            f"The cameras contradict each other about the {side} hand in {100 * doubted:.0f} % of the "
            "recording, and nothing tells which is right: none is believed there."
        )
    return reasons


def _is_odd(camera: str, quality: HandQuality) -> bool:
    """Whether so much of a whole view was set aside that its fingers are not worth a word of their own."""
    return sum(quality.view_set_aside.get(camera, {}).values()) > MAX_FINGER_ASIDE


def _say_spread(side: Side, quality: HandQuality) -> str:
    return (
        f"The bones of the {side} hand, as the cameras show them, change their length by "
        f"{100 * quality.length_spread:.0f} % over the recording: the cameras do not agree on where it is."
    )


def _limit_fingers(side: Side, quality: HandQuality) -> list[str]:
    reasons = []
    for camera, shares in quality.finger_set_aside.items():
        off = {part: share for part, share in shares.items() if share > MAX_FINGER_ASIDE}
        if off and not _is_odd(camera, quality):
            reasons.append(
                f"Camera {camera} contradicts the others about the {name_parts(off)} of the {side} hand in "
                f"{100 * max(off.values()):.0f} % of the recording."
            )
    return reasons


def _limit_reprojection(side: Side, quality: HandQuality, widths_px: dict[str, int]) -> list[str]:
    reasons = []
    for camera, pixels in quality.joint_reprojection_px.items():
        limit_px = MAX_FINGER_REPROJECTION_SHARE * widths_px.get(camera, 0)
        off = {part: _median(np.array(pixels)[joints], axis=0) for part, joints in PARTS.items()}
        far = {part: value for part, value in off.items() if limit_px > 0 and value > limit_px}
        if far and not _is_odd(camera, quality):
            reasons.append(
                f"The fused {name_parts(far)} of the {side} hand lies {max(far.values()):.0f} px from what "
                f"camera {camera} shows (median; up to {limit_px:.0f} is expected)."
            )
    return reasons


def _median(values: np.ndarray, axis: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing heard is NaN, as meant
        return np.nanmedian(values, axis=axis)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
