"""The lengths that no pose changes, as the pictures alone have them: whether that is shaped like a hand.

The fitted hand cannot tell: its bones are constant and a hand's by construction.
"""

from __future__ import annotations

import numpy as np

from pipeline.calibration.proportions import expect_lengths
from pipeline.fusion.initial import DISTANCES
from pipeline.hand.model import HandModel


def compare_lengths(joints_mm: np.ndarray, model: HandModel) -> np.ndarray:
    """Lengths between triangulated joints, and those of people.

    Parameters
    ----------
    joints_mm : ndarray (T, 21, 3)
        Triangulated without a hand model; NaN = not measured.
    model : HandModel
        Whose people they are held against.

    Returns
    -------
    ndarray (4, 30)
        By `DISTANCES`, mm: median over the recording, spread (1.4826 MAD) over it, mean of people, and the
        standard deviation among people and of what a network takes for the joints. NaN = not measured.
    """
    pairs = np.array(DISTANCES)
    seen = np.linalg.norm(joints_mm[:, pairs[:, 0]] - joints_mm[:, pairs[:, 1]], axis=2)
    known = np.isfinite(seen).any(axis=0)
    median, spread = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    median[known] = np.nanmedian(seen[:, known], axis=0)
    spread[known] = 1.4826 * np.nanmedian(np.abs(seen[:, known] - median[known]), axis=0)
    expected = expect_lengths(model, None)
    sigma = expected.lengths_mm * np.sqrt(np.diag(expected.covariance))
    return np.stack([median, spread, expected.lengths_mm, sigma])
