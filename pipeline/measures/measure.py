"""From fused hands to the tables ``measures.parquet`` and ``angles.parquet``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.hand.angles import ANGLES, compute_angle_sigma, compute_angles
from pipeline.hand.joints import JOINTS, Side
from pipeline.measures.kinematics import Kinematics, compute_kinematics
from pipeline.measures.scores import score_acceleration, score_frames, score_jerk
from pipeline.results import HandTrack

if TYPE_CHECKING:
    from pipeline.measures.baseline import Baseline


@dataclass(frozen=True)
class HandMeasures:
    """What is measured of one hand, frame by frame, as arrays.

    Attributes
    ----------
    kinematics : Kinematics
        Movement of the 21 joints.
    degrees, sigma_deg, z : ndarray (T, 20)
        Signed angles, their measurement error, and their signed frame-level z. NaN = cannot be told.
    jitter_deg : ndarray (T, 20)
        The part of ``sigma_deg`` that changes within the recording.
    """

    kinematics: Kinematics
    degrees: np.ndarray
    sigma_deg: np.ndarray
    z: np.ndarray
    jitter_deg: np.ndarray


@dataclass(frozen=True)
class MeasureTables:
    """What was measured as the tables of the run folder.

    Attributes
    ----------
    measures : DataFrame
        ``side, time_s, joint, speed, acceleration, jerk`` (m/s, m/s², m/s³), ``speed_noise,
        acceleration_noise, jerk_noise`` (standard deviation per axis), ``jerk_score`` (within the recording),
        ``acceleration_score`` (flash), ``valid`` (the joint was measured and its speed is known). Sorted by
        side, time, joint.
    angles : DataFrame
        ``side, time_s, angle, degrees, sigma_deg, z`` (signed, frame level), ``valid``. Sorted likewise.
    features : DataFrame, optional
        From `pipeline.measures.features.tabulate_features`; an older run folder has none.
    rotations : DataFrame, optional
        From `pipeline.measures.rotations.tabulate_rotations`; an older run folder has none.
    """

    measures: pd.DataFrame
    angles: pd.DataFrame
    features: pd.DataFrame | None = field(default=None, kw_only=True)
    rotations: pd.DataFrame | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Measures(MeasureTables):
    """Everything measured: the tables, and ``hands``, the same by side as arrays."""

    hands: dict[Side, HandMeasures]


def measure(hands: dict[Side, HandTrack], baseline: Baseline) -> Measures:
    """Measure fused hands against a reference.

    Parameters
    ----------
    hands : dict of HandTrack
        By side.
    baseline : Baseline
        From `pipeline.measures.baseline.read_baseline`.

    Raises
    ------
    MeasureError
        A hand has fewer than two frames, or times that do not increase.
    """
    measured = {side: measure_hand(hand, side, baseline) for side, hand in hands.items()}
    sides = list(measured)
    return Measures(
        measures=_stack(
            [_tabulate_joints(side, measured[side].kinematics) for side in sides], _JOINT_COLUMNS
        ),
        angles=_stack([_tabulate_angles(side, measured[side]) for side in sides], _ANGLE_COLUMNS),
        hands=measured,
    )


def measure_hand(hand: HandTrack, side: Side, baseline: Baseline | None) -> HandMeasures:
    """Measure one hand; without a reference z is NaN.

    Joints whose quality is 0 (interpolated or contradicted) count as not measured. Angles are taken from the
    filtered positions, so that their curves carry no more jitter than the derivatives do; their stated error
    is that of the positions as fused. Of movement only the part of that error that changes makes noise.
    """
    not_measured = ~(np.asarray(hand.quality) > 0)
    joints_mm = np.where(not_measured[..., None], np.nan, hand.joints_mm).astype(float)
    kinematics = compute_kinematics(
        hand.time_s, joints_mm, hand.jitter_sigma_mm, hand.response_hz, hand.response_gain
    )
    degrees = np.degrees(compute_angles(kinematics.joints_mm, side))
    jitter_mm = np.fmax(hand.jitter_sigma_mm, kinematics.measured_sigma_mm)
    jitter_deg = np.degrees(compute_angle_sigma(kinematics.joints_mm, jitter_mm, side))
    sigma_deg = jitter_deg
    lasting_mm = [part for part in (hand.joint_offset_sigma_mm, hand.reading_sigma_mm) if part is not None]
    if lasting_mm:
        lasting = compute_angle_sigma(kinematics.joints_mm, np.sqrt(np.square(lasting_mm).sum(axis=0)), side)
        sigma_deg = np.hypot(sigma_deg, np.degrees(lasting))
    if baseline is None:
        z = np.full(degrees.shape, np.nan)
    else:
        mean, sd = baseline.frame_level()
        z = score_frames(degrees, mean, sd)
    return HandMeasures(kinematics, degrees, sigma_deg, z, jitter_deg)


_JOINT_COLUMNS = (
    "side", "time_s", "joint", "speed", "acceleration", "jerk", "speed_noise", "acceleration_noise",
    "jerk_noise", "jerk_score", "acceleration_score", "valid",
)  # fmt: skip
_ANGLE_COLUMNS = ("side", "time_s", "angle", "degrees", "sigma_deg", "z", "valid")


def _tabulate_joints(side: Side, found: Kinematics) -> pd.DataFrame:
    jerk_score = score_jerk(found.jerk, found.jerk_noise)
    flash = score_acceleration(found.time_s, found.acceleration, found.acceleration_noise)
    columns = {
        "speed": found.speed,
        "acceleration": found.acceleration,
        "jerk": found.jerk,
        "speed_noise": found.speed_noise,
        "acceleration_noise": found.acceleration_noise,
        "jerk_noise": found.jerk_noise,
        "jerk_score": jerk_score,
        "acceleration_score": flash,
    }
    return _lengthen(side, found.time_s, "joint", JOINTS, columns, np.isfinite(found.speed))


def _tabulate_angles(side: Side, found: HandMeasures) -> pd.DataFrame:
    columns = {"degrees": found.degrees, "sigma_deg": found.sigma_deg, "z": found.z}
    valid = np.isfinite(found.degrees)
    return _lengthen(side, found.kinematics.time_s, "angle", ANGLES, columns, valid)


def _lengthen(
    side: Side,
    time_s: np.ndarray,
    what: str,
    names: tuple[str, ...],
    columns: dict[str, np.ndarray],
    valid: np.ndarray,
) -> pd.DataFrame:
    """Arrays (T, N) as a long table, time by time."""
    frames = len(time_s)
    codes = np.tile(np.arange(len(names), dtype=np.int8), frames)
    return pd.DataFrame(
        {
            "side": pd.Categorical([side], categories=["right", "left"]).repeat(frames * len(names)),
            "time_s": np.repeat(time_s, len(names)),
            what: pd.Categorical.from_codes(codes, categories=pd.Index(names)),
            **{name: values.astype(np.float32).ravel() for name, values in columns.items()},
            "valid": valid.ravel(),
        }
    )


def _stack(tables: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(tables, ignore_index=True)[list(columns)]
