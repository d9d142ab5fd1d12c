"""Plain features of the hand per frame (seed 002): how open it is, which grasp it makes, where it goes.

- Openness: mean over the five fingers of the straight distance from wrist to tip over the length of the bones
  between them; 1 = stretched out, about a half = a fist. It has no unit, whatever the hand's size.
- Grasp: seed 002's classes with its thresholds on the distance of the thumb's tip from those of index and
  middle finger. They are geometry: a hand over a keyboard is in one of them as well, and holds nothing.
- Wrist path: where the wrist is, filtered as the derivatives are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.hand.joints import FINGERS, JOINTS, Side
from pipeline.measures.headlines import MIN_VALID_SHARE, TOO_LITTLE
from pipeline.measures.playing_types import FeatureSummary
from pipeline.measures.resampling import bound_mean, bound_quantile, draw_blocks
from pipeline.measures.summary_types import NAN

PRECISION_MM = 20.0
"""Thumb's tip nearer than this to those of index and middle finger both: "precision"."""

POWER_MM = 40.0
"""Else nearer than this to the index finger's: "power"; else "open"."""

GRASPS: tuple[str, ...] = ("precision", "power", "open", "cannot tell")

_SURE_SIGMAS = 2.0
_CHAINS = tuple([0, *range(1 + 4 * finger, 5 + 4 * finger)] for finger in range(len(FINGERS)))
_THUMB, _INDEX, _MIDDLE = (JOINTS.index(f"{finger}_tip") for finger in FINGERS[:3])


@dataclass(frozen=True)
class HandFeatures:
    """Features of one hand. NaN = not measured.

    Attributes
    ----------
    openness, openness_sigma : ndarray (T,)
        0 to 1, and its standard deviation from that of the joints.
    thumb_index_mm, thumb_middle_mm : ndarray (T,)
        Between the tips.
    distance_sigma_mm : ndarray (T,)
        Standard deviation of these distances, the larger of both.
    grasp : ndarray (T,) int8
        Place in `GRASPS`; "cannot tell" also where a distance is within 2 standard deviations of a threshold
        that decides.
    wrist_mm : ndarray (T, 3)
        In the world.
    """

    openness: np.ndarray
    openness_sigma: np.ndarray
    thumb_index_mm: np.ndarray
    thumb_middle_mm: np.ndarray
    distance_sigma_mm: np.ndarray
    grasp: np.ndarray
    wrist_mm: np.ndarray


def compute_features(joints_mm: np.ndarray, sigma_mm: np.ndarray) -> HandFeatures:
    """Features of one hand from its joints.

    Parameters
    ----------
    joints_mm : ndarray (T, 21, 3)
        Filtered, in the world. NaN = not measured.
    sigma_mm : ndarray (T, 21)
        Standard deviation per axis. NaN = not known, which makes no class sure.
    """
    openness, openness_sigma = _open(joints_mm, sigma_mm)
    index = np.linalg.norm(joints_mm[:, _INDEX] - joints_mm[:, _THUMB], axis=1)
    middle = np.linalg.norm(joints_mm[:, _MIDDLE] - joints_mm[:, _THUMB], axis=1)
    of_index = np.hypot(sigma_mm[:, _INDEX], sigma_mm[:, _THUMB])
    of_middle = np.hypot(sigma_mm[:, _MIDDLE], sigma_mm[:, _THUMB])
    return HandFeatures(
        openness=openness,
        openness_sigma=openness_sigma,
        thumb_index_mm=index,
        thumb_middle_mm=middle,
        distance_sigma_mm=np.maximum(of_index, of_middle),
        grasp=_classify(index, middle, of_index, of_middle),
        wrist_mm=np.asarray(joints_mm[:, 0], dtype=float),
    )


def _open(joints_mm: np.ndarray, sigma_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shares, variances = [], []
    for chain in _CHAINS:
        bones = np.linalg.norm(np.diff(joints_mm[:, chain], axis=1), axis=2).sum(axis=1)
        shares.append(np.linalg.norm(joints_mm[:, chain[-1]] - joints_mm[:, 0], axis=1) / bones)
        # The tip's error along the line from the wrist; errors of the bones' lengths are small beside it.
        variances.append((sigma_mm[:, chain[-1]] ** 2 + sigma_mm[:, 0] ** 2) / bones**2)
    return np.mean(shares, axis=0), np.sqrt(np.sum(variances, axis=0)) / len(_CHAINS)


def _classify(
    index: np.ndarray, middle: np.ndarray, of_index: np.ndarray, of_middle: np.ndarray
) -> np.ndarray:
    """The class that holds all through two standard deviations of both distances; else "cannot tell"."""
    with np.errstate(invalid="ignore"):
        classes = [
            np.where((i < PRECISION_MM) & (m < PRECISION_MM), 0, np.where(i < POWER_MM, 1, 2))
            for i in (index - _SURE_SIGMAS * of_index, index + _SURE_SIGMAS * of_index)
            for m in (middle - _SURE_SIGMAS * of_middle, middle + _SURE_SIGMAS * of_middle)
        ]
    known = np.isfinite(index + middle + of_index + of_middle)
    same = np.ptp(np.stack(classes), axis=0) == 0
    return np.where(known & same, classes[0], GRASPS.index("cannot tell")).astype(np.int8)


def summarise_features(found: HandFeatures, speed: np.ndarray, fps: float) -> FeatureSummary:
    """The report's few numbers of these.

    Parameters
    ----------
    found : HandFeatures
        Of one hand.
    speed : ndarray (T,)
        Of the wrist, m/s. NaN = not measured.
    fps : float
        Frames a second.
    """
    known = np.isfinite(found.openness)
    if known.mean() < MIN_VALID_SHARE:
        return FeatureSummary(note=TOO_LITTLE)
    draws = draw_blocks(len(known), fps)
    median = float(np.median(found.openness[known]))
    interval = bound_quantile(found.openness, draws, 0.5, median)
    low, high = np.percentile(found.openness[known], [5, 95])
    counts = np.bincount(found.grasp[known], minlength=len(GRASPS)) / known.sum()
    moving = 1e3 * speed
    travel = float(np.nanmean(moving)) if np.isfinite(speed).mean() >= MIN_VALID_SHARE else NAN
    of_travel = bound_mean(moving, draws, travel)
    return FeatureSummary(
        openness=median,
        openness_low=interval.low,
        openness_high=interval.high,
        openness_p5=float(low),
        openness_p95=float(high),
        openness_sigma=float(np.nanmedian(found.openness_sigma)),
        grasp_shares=dict(zip(GRASPS, counts.tolist(), strict=True)),
        wrist_path_mm_s=travel,
        wrist_path_low_mm_s=of_travel.low,
        wrist_path_high_mm_s=of_travel.high,
    )


FEATURE_COLUMNS = (
    "side", "time_s", "openness", "openness_sigma", "thumb_index_mm", "thumb_middle_mm", "distance_sigma_mm",
    "grasp", "wrist_x_mm", "wrist_y_mm", "wrist_z_mm", "valid",
)  # fmt: skip


def tabulate_features(hands: dict[Side, tuple[np.ndarray, HandFeatures]]) -> pd.DataFrame:
    """A tidy table of features, one row a frame: `FEATURE_COLUMNS`, sorted by side and time.

    Parameters
    ----------
    hands : dict of (time_s (T,), HandFeatures)
        By side.
    """
    parts = [
        pd.DataFrame(
            {
                "side": pd.Categorical([side] * len(time_s), categories=["right", "left"]),
                "time_s": time_s,
                "openness": found.openness.astype(np.float32),
                "openness_sigma": found.openness_sigma.astype(np.float32),
                "thumb_index_mm": found.thumb_index_mm.astype(np.float32),
                "thumb_middle_mm": found.thumb_middle_mm.astype(np.float32),
                "distance_sigma_mm": found.distance_sigma_mm.astype(np.float32),
                "grasp": pd.Categorical.from_codes(found.grasp, categories=pd.Index(GRASPS)),
                **{
                    f"wrist_{axis}_mm": found.wrist_mm[:, place].astype(np.float32)
                    for place, axis in enumerate("xyz")
                },
                "valid": np.isfinite(found.openness),
            }
        )
        for side, (time_s, found) in hands.items()
    ]
    if not parts:
        return pd.DataFrame(columns=list(FEATURE_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(FEATURE_COLUMNS)]
