"""The estimator ``redys``: MediaPipe's hand-landmark network trained further on made hands.

It is the original's graph with other bytes where the weights are, so it runs wherever the original does, as
fast. How it was trained and how well it does: ``redys.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.hand.joints import Side
from pipeline.pose.landmarks import LandmarkEstimator, LandmarkNetwork
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.protocols import Estimates
from pipeline.pose.tflite_file import write_graph
from pipeline.pose.weights_file import check_source, locate_weights, read_weights


class RedysEstimator(LandmarkEstimator):
    """The trained network; it states how far each joint may be off.

    Raises
    ------
    ModelError
        The weights are missing, damaged, or of another file than the installed one.
    """

    name = "redys"
    sigma_scale = float("nan")
    """The spread of its passes says nothing by itself: it states its own sigma."""

    def __init__(self) -> None:
        weights, original = read_weights(locate_weights()), locate(LANDMARK_FILE)
        check_source(weights, original)
        super().__init__(LandmarkNetwork(write_graph(original, weights.constants)))
        self.offset_share = weights.offset_share
        self._sigma_factor = weights.sigma_factor

    def estimate(self, crops_bgr: np.ndarray, side: Side) -> Estimates:
        """Joints in crops (N, 224, 224, 3) uint8 BGR, with a calibrated sigma."""
        found = super().estimate(crops_bgr, side)
        assert found.sigma_px is not None
        return replace(found, sigma_px=found.sigma_px * self._sigma_factor)
