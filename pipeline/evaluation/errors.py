"""Errors of points in space, point by point; `pipeline.evaluation.scores` makes numbers of them.

Everywhere: estimates and truth are (T, J, 3) in mm, T frames and J joints or vertices; NaN = not there. What
comes back is (T, J), NaN where either is missing.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

AUC_TO_MM = 50.0
AUC_STEPS = 100
MAX_STEP = 1.5
"""Frames further apart than so many usual steps are not neighbours."""


def measure_distances(estimate_mm: np.ndarray, true_mm: np.ndarray) -> np.ndarray:
    """Distance (T, J) of each point to its true place, in mm."""
    return np.linalg.norm(estimate_mm - true_mm, axis=-1)


def average(values: np.ndarray) -> float:
    """Mean of what is there; NaN if nothing is."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else float("nan")


def average_by_point(distances: np.ndarray) -> float:
    """Mean over the points (columns) of each point's mean over the frames; points never seen do not count."""
    return average(np.array([average(column) for column in distances.T]))


def count_correct(distances: np.ndarray, wanted: np.ndarray, threshold_mm: float) -> float:
    """PCK: share (0 to 1) of the wanted points that were estimated at most ``threshold_mm`` away.

    Parameters
    ----------
    distances : ndarray (T, J)
        In mm; NaN = not estimated, which counts as wrong.
    wanted : ndarray (T, J) bool
        The points that the truth has.
    threshold_mm : float
        The largest distance that counts as correct.
    """
    if not wanted.any():
        return float("nan")
    return float((distances[wanted] <= threshold_mm).mean())


def measure_area(
    distances: np.ndarray, wanted: np.ndarray, to_mm: float = AUC_TO_MM, steps: int = AUC_STEPS
) -> float:
    """AUC: area under PCK from 0 to ``to_mm`` (``steps`` thresholds, trapezoid) over that of a perfect one.

    Parameters as those of `count_correct`.
    """
    if not wanted.any():
        return float("nan")
    thresholds = np.linspace(0.0, to_mm, steps)
    ordered = np.sort(np.where(np.isfinite(distances[wanted]), distances[wanted], np.inf))
    correct = np.searchsorted(ordered, thresholds, side="right") / ordered.size
    return float(np.trapezoid(correct, thresholds) / to_mm)


def measure_f_scores(
    estimate_mm: np.ndarray, true_mm: np.ndarray, thresholds_mm: tuple[float, ...]
) -> np.ndarray:
    """F-scores (T, N) of each frame's surface at N thresholds; NaN where a point of it is missing.

    An F-score is the harmonic mean of precision, the share of estimated points with a true point nearer than
    the threshold, and recall, that of true points with an estimated one as near. The points need not
    correspond: (T, V, 3) and (T, W, 3).
    """
    limits = np.asarray(thresholds_mm, dtype=float)
    scores = np.full((len(true_mm), len(limits)), np.nan)
    for frame, (estimate, true) in enumerate(zip(estimate_mm, true_mm, strict=True)):
        if not (np.isfinite(estimate).all() and np.isfinite(true).all() and estimate.size and true.size):
            continue
        precision = (cKDTree(true).query(estimate)[0][:, None] < limits).mean(axis=0)
        recall = (cKDTree(estimate).query(true)[0][:, None] < limits).mean(axis=0)
        both = precision + recall
        scores[frame] = 2 * precision * recall / np.where(both > 0, both, 1.0)
    return scores


def measure_acceleration_errors(
    estimate_mm: np.ndarray, true_mm: np.ndarray, time_s: np.ndarray | None = None
) -> np.ndarray:
    """Length (T, J) of the difference of accelerations, from three neighbouring frames; NaN at both ends.

    Parameters
    ----------
    estimate_mm, true_mm : ndarray (T, J, 3)
        Corresponding points.
    time_s : ndarray (T,), optional
        The frames' own times, rising. With them the result is in m/s² (second divided differences, so
        frames need not be evenly spaced), and NaN where a step is over 1.5 times the usual one. Without them
        it is in mm/frame² (plain second differences).
    """
    difference = estimate_mm - true_mm
    errors = np.full(difference.shape[:2], np.nan)
    if len(difference) < 3:
        return errors
    if time_s is None:
        errors[1:-1] = np.linalg.norm(np.diff(difference, 2, axis=0), axis=-1)
        return errors
    step = np.diff(time_s)
    velocity = np.diff(difference, axis=0) / step[:, None, None]
    bend = 2 * np.diff(velocity, axis=0) / (step[1:] + step[:-1])[:, None, None] / 1e3
    near = find_neighbours(time_s)
    errors[1:-1] = np.where((near[1:] & near[:-1])[:, None], np.linalg.norm(bend, axis=-1), np.nan)
    return errors


def find_neighbours(time_s: np.ndarray) -> np.ndarray:
    """Whether each frame (T - 1,) is followed by a neighbour: no step is over 1.5 times the median step."""
    step = np.diff(time_s)
    return step <= MAX_STEP * np.median(step) if step.size else np.zeros(0, dtype=bool)
