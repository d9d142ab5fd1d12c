"""Strokes, tremor, individuation, hand features and the fit check of one hand, for its summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.hand.joints import Side
from pipeline.measures.features import HandFeatures, compute_features, summarise_features
from pipeline.measures.individuation import measure_individuation
from pipeline.measures.measure import HandMeasures
from pipeline.measures.rotations import measure_hinge_twist
from pipeline.measures.strokes import TIP_COLUMNS, find_strokes, see_tips_from_palm
from pipeline.measures.summary_types import NAN
from pipeline.measures.timing import NOT_HEARD, Heard
from pipeline.measures.tremor import assess_tremor
from pipeline.results import HandTrack


def describe_playing(
    hand: HandTrack,
    side: Side,
    found: HandMeasures,
    heard: Heard = NOT_HEARD,
    flat_mm: np.ndarray | None = None,
) -> dict[str, Any]:
    """Fields of a `pipeline.measures.summary_types.SideSummary`, by name.

    Parameters
    ----------
    hand : HandTrack
        As fused.
    side : "right" | "left"
        Which hand.
    found : HandMeasures
        What `pipeline.measures.measure.measure_hand` made of it.
    heard : Heard
        The strokes that were heard.
    flat_mm : ndarray (21, 3) or None
        The flat hand's joints with the same betas; without them there is no fit check.
    """
    movement = found.kinematics
    tips = see_tips_from_palm(movement.joints_mm, side)
    strokes = find_strokes(hand.time_s, tips, movement.measured_sigma_mm[TIP_COLUMNS])
    measured = np.where((np.asarray(hand.quality) > 0)[..., None], hand.joints_mm, np.nan).astype(float)
    features = take_features(hand, found)
    return {
        "tremor": assess_tremor(
            hand.time_s, measured, side, strokes, heard.strokes_s, movement.measured_sigma_mm
        ),
        "individuation": measure_individuation(hand.time_s, tips, strokes, heard.strokes_s),
        "features": summarise_features(features, movement.speed[:, 0], movement.fps),
        "hinge_twist_deg": (
            NAN if flat_mm is None else float(measure_hinge_twist(hand.hand_pose, flat_mm).max())
        ),
    }


def take_features(hand: HandTrack, found: HandMeasures) -> HandFeatures:
    """Features of one hand by frame."""
    return compute_features(found.kinematics.joints_mm, np.asarray(hand.joint_sigma_mm, dtype=float))
