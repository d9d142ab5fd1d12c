"""How long the bones of a hand are before it is measured: the hand model's people, and a ruler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fusion.initial import DISTANCES, get_joint_shapes
from pipeline.hand.joints import JOINTS
from pipeline.hand.model import HandModel

HAND_LENGTH: tuple[int, ...] = (0, 9, 10, 11, 12)
"""Wrist, along the middle finger's bones, to its tip: what a ruler measures on a flat hand."""

RULER_SIGMA = 0.015
"""Relative error of a hand's length by ruler: 3 mm, for nobody's wrist has a mark."""

ADULT_SIGMA = 0.06
"""Scatter of adults' hand lengths. ANSUR II (Gordon et al. 2014) has 193 mm for men and 181 mm for women
with a standard deviation of about 10 mm in each: 6 % of both together."""

_JOINT_SIGMA = 0.06
_LOOSE_SIGMA = 0.10
"""How far the length between two of a network's points may be from that between the joints. Where a wrist is,
and where a thumb begins, networks and models agree less than about fingers."""

_FIRST_THUMB, _LAST_THUMB = JOINTS.index("thumb_cmc"), JOINTS.index("thumb_tip")


@dataclass(frozen=True)
class Proportions:
    """What to expect of the lengths that no pose changes.

    Attributes
    ----------
    lengths_mm : ndarray (30,)
        Of `pipeline.fusion.initial.DISTANCES`.
    covariance : ndarray (30, 30)
        Of their logarithms.
    size_mm : float
        The hand's size as `pipeline.calibration.bundle.measure_hands` takes it, seen flat.
    scale_floor : float
        Part of the error of scale that more points do not reduce.
    hand_length_mm : float or None
        The stated length that they rest on; None: the mean hand.
    """

    lengths_mm: np.ndarray
    covariance: np.ndarray
    size_mm: float
    scale_floor: float
    hand_length_mm: float | None


def measure_hand_length(joints_mm: np.ndarray) -> np.ndarray:
    """Length along the bones, wrist to the middle finger's tip, of joints (..., 21, 3): (...)."""
    chain = joints_mm[..., list(HAND_LENGTH), :]
    return np.linalg.norm(np.diff(chain, axis=-2), axis=-1).sum(axis=-1)


def expect_lengths(model: HandModel, hand_length_mm: float | None) -> Proportions:
    """Lengths of the model's people; of those with a hand of ``hand_length_mm``, where it is given.

    Betas are standard normal among people; logarithms of lengths are taken as linear in them.
    """
    flat, directions = get_joint_shapes(model)
    lengths, hand_length = _measure(flat)
    slopes, hand_slope = [], []
    for beta in np.eye(directions.shape[-1]):
        high, low = (_measure(flat + sign * 0.5 * directions @ beta) for sign in (1, -1))
        slopes.append(np.log(high[0] / low[0]))
        hand_slope.append(np.log(high[1] / low[1]))
    slope, of_hand = np.array(slopes).T, np.array(hand_slope)
    # The model's scatter of size is its own; people's is known better.
    spread, mean = np.eye(len(of_hand)), np.zeros(len(of_hand))
    widen = max(ADULT_SIGMA**2 - float(of_hand @ of_hand), 0.0)
    if hand_length_mm is not None:
        gain = spread @ of_hand / (of_hand @ spread @ of_hand + RULER_SIGMA**2)
        mean = gain * np.log(hand_length_mm / hand_length)
        spread = spread - np.outer(gain, of_hand @ spread)
        widen = 0.0
    pairs = np.array(DISTANCES)
    loose = (pairs == 0).any(axis=1) | ((pairs >= _FIRST_THUMB) & (pairs <= _LAST_THUMB)).any(axis=1)
    own = np.where(loose, _LOOSE_SIGMA, _JOINT_SIGMA) ** 2
    expected = np.exp(np.log(lengths) + slope @ mean)
    scale = float(np.median(expected / lengths))
    return Proportions(
        lengths_mm=expected,
        covariance=slope @ spread @ slope.T + np.diag(own) + widen,
        size_mm=scale * 3.0 * float(np.sqrt(((flat - flat.mean(axis=0)) ** 2).sum(axis=1).mean())),
        scale_floor=RULER_SIGMA if hand_length_mm is not None else 0.0,
        hand_length_mm=hand_length_mm,
    )


def _measure(joints_mm: np.ndarray) -> tuple[np.ndarray, float]:
    pairs = np.array(DISTANCES)
    lengths = np.linalg.norm(joints_mm[pairs[:, 0]] - joints_mm[pairs[:, 1]], axis=1)
    return lengths, float(measure_hand_length(joints_mm))
