"""Joint angles from the hand model's own rotations: bend, spread and twist, and the fit check in them.

The 21 joints say how a finger bends; the model's 15 rotations say besides how each bone is twisted about
itself. PIP and DIP joints are hinges: what they twist and spread in a fitted hand is no movement but misfit,
which joints alone cannot show. It is reported as such.

Each rotation is taken apart about axes of the flat hand (its joints with identity pose): ``R = R_bend
R_spread R_twist``. The hinge is that of `pipeline.hand.angles`, so that a bend here and there is the same
angle and has the same sign; the angle that the flat hand has already is added. For the hinges (PIP, DIP, and
the thumb's MCP and IP) twist is about the bone beyond the joint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from pipeline.hand.angles import ANGLES, compute_angles, find_palm_frame
from pipeline.hand.joints import FINGER_NAMES, JOINTS, MANO_POSE_JOINTS, Side
from pipeline.results import HandTrack

MAX_TWIST_DEG = 15.0
"""A PIP or DIP joint that is twisted by more has not been fitted well."""

HINGE_COLUMNS: tuple[int, ...] = tuple(
    column for column, joint in enumerate(MANO_POSE_JOINTS) if joint.endswith(("pip", "dip"))
)
"""The PIP and DIP joints among the 15 rotations."""


@dataclass(frozen=True)
class PoseAngles:
    """Angles of the 15 rotations, in the order of `pipeline.hand.joints.MANO_POSE_JOINTS`.

    Attributes
    ----------
    bend, spread, twist : ndarray (T, 15)
        Degrees. Bend and spread have the signs of `pipeline.hand.angles` (flexion +; abduction away from the
        middle finger +; the thumb's CMC: towards the palm's side +). NaN = not measured.
    """

    bend: np.ndarray
    spread: np.ndarray
    twist: np.ndarray


def measure_rotations(hand_pose: np.ndarray, flat_mm: np.ndarray) -> PoseAngles:
    """Take a hand's rotations apart.

    Parameters
    ----------
    hand_pose : ndarray (T, 15, 3, 3)
        As in a run folder: of a right hand, or of a left one mirrored; identity = the flat hand. NaN = not
        measured.
    flat_mm : ndarray (21, 3)
        The flat hand's joints (identity pose) with the same betas, of the right hand, any place.
    """
    frames, outward = _find_frames(np.asarray(flat_mm, dtype=float))
    known = np.isfinite(hand_pose).all(axis=(2, 3))
    pose = np.where(known[..., None, None], hand_pose, np.eye(3))
    local = np.einsum("jai,tjab,jbk->tjik", frames, pose, frames, optimize=True)
    angles = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_euler("YZX", degrees=True)
    angles = np.where(known[..., None], angles.reshape(*known.shape, 3), np.nan)
    flat = np.degrees(compute_angles(flat_mm[None].astype(float), "right"))[0]
    bend, spread = -angles[..., 0], angles[..., 1] * outward
    for column, joint in enumerate(MANO_POSE_JOINTS):
        bend[:, column] += flat[ANGLES.index(f"{joint}_flexion")]
        if f"{joint}_abduction" in ANGLES:
            spread[:, column] += flat[ANGLES.index(f"{joint}_abduction")]
    return PoseAngles(bend, spread, angles[..., 2])


def _find_frames(flat_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes of each joint as columns (15, 3, 3): along the bone, the hinge, across; and the sign of spread."""
    x, _, n = (axis[0] for axis in find_palm_frame(flat_mm[None]))
    frames, outward = np.zeros((len(MANO_POSE_JOINTS), 3, 3)), np.ones(len(MANO_POSE_JOINTS))
    for column, joint in enumerate(MANO_POSE_JOINTS):
        at = JOINTS.index(joint)
        bone = flat_mm[at + 1] - flat_mm[at]
        hinge = n if joint.startswith("thumb") else x
        if at % 4 != 1:  # a joint within the finger turns about a hinge across its own bones
            before = flat_mm[at] - flat_mm[at - 1]
            hinge = hinge - before * (hinge @ before) / (before @ before)
        hinge = hinge / np.linalg.norm(hinge)
        along = bone - hinge * (bone @ hinge)
        along /= np.linalg.norm(along)
        frames[column] = np.stack([along, hinge, np.cross(along, hinge)], axis=1)
        outward[column] = -1.0 if joint.startswith(("index", "thumb")) else 1.0
    return frames, outward


def measure_track(hand: HandTrack, flat_mm: np.ndarray) -> PoseAngles:
    """A fused hand's rotations; NaN where the joint or one beside it in the finger was not measured.

    They are as fitted, not filtered as the positions are that `pipeline.hand.angles` is given.

    Parameters
    ----------
    hand : HandTrack
        As fused.
    flat_mm : ndarray (21, 3)
        As in `measure_rotations`.
    """
    measured = np.asarray(hand.quality) > 0
    columns = np.array([JOINTS.index(joint) for joint in MANO_POSE_JOINTS])
    before = np.where(columns % 4 == 1, 0, columns - 1)
    known = measured[:, columns] & measured[:, before] & measured[:, columns + 1]
    return measure_rotations(np.where(known[..., None, None], hand.hand_pose, np.nan), flat_mm)


ROTATION_COLUMNS = ("side", "time_s", "rotation", "bend_deg", "spread_deg", "twist_deg", "valid")


def tabulate_rotations(hands: dict[Side, tuple[np.ndarray, PoseAngles]]) -> pd.DataFrame:
    """A tidy table of the 15 rotations: `ROTATION_COLUMNS`, sorted by side, time and rotation.

    Parameters
    ----------
    hands : dict of (time_s (T,), PoseAngles)
        By side.
    """
    parts = [
        pd.DataFrame(
            {
                "side": pd.Categorical([side], categories=["right", "left"]).repeat(found.bend.size),
                "time_s": np.repeat(time_s, len(MANO_POSE_JOINTS)),
                "rotation": pd.Categorical.from_codes(
                    np.tile(np.arange(len(MANO_POSE_JOINTS), dtype=np.int8), len(time_s)),
                    categories=pd.Index(MANO_POSE_JOINTS),
                ),
                "bend_deg": found.bend.astype(np.float32).ravel(),
                "spread_deg": found.spread.astype(np.float32).ravel(),
                "twist_deg": found.twist.astype(np.float32).ravel(),
                "valid": np.isfinite(found.bend).ravel(),
            }
        )
        for side, (time_s, found) in hands.items()
    ]
    if not parts:
        return pd.DataFrame(columns=list(ROTATION_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(ROTATION_COLUMNS)]


def measure_hinge_twist(hand_pose: np.ndarray, flat_mm: np.ndarray) -> np.ndarray:
    """Median twist of each PIP and DIP joint over the recording, degrees: (8,), as `HINGE_COLUMNS`."""
    twist = np.abs(measure_rotations(hand_pose, flat_mm).twist[:, HINGE_COLUMNS])
    twist = twist[np.isfinite(twist).all(axis=1)]
    return np.median(twist, axis=0) if len(twist) else np.full(len(HINGE_COLUMNS), np.nan)


def judge_hinges(hand_pose: np.ndarray, flat_mm: np.ndarray, side: str) -> str:
    """A sentence where the model has twisted hinges to fit the pictures; empty where it has not.

    Parameters
    ----------
    hand_pose, flat_mm
        As in `measure_rotations`.
    side : str
        For the sentence.
    """
    twist = measure_hinge_twist(hand_pose, flat_mm)
    if not (twist > MAX_TWIST_DEG).any():
        return ""
    worst = int(np.argmax(twist))
    finger, part = MANO_POSE_JOINTS[HINGE_COLUMNS[worst]].split("_")
    return (
        f"The fitted {side} hand twists the {part.upper()} joint of the {FINGER_NAMES[finger]} by "
        f"{twist[worst]:.0f}° (median; a hinge does not twist, over {MAX_TWIST_DEG:.0f}° is a bad fit): its "
        "angles may be wrong."
    )
