"""The estimator ``redys``: MediaPipe's hand-landmark network trained further on made hands.

It is the original's graph with other bytes where the weights are, so it runs wherever the original does, as
fast. How it was trained and how well it does: ``redys.md``.
"""

from __future__ import annotations

from pipeline.pose.landmarks import LandmarkEstimator, LandmarkNetwork
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.tflite_file import write_graph
from pipeline.pose.weights_file import TrainedWeights, check_source, locate_weights, read_weights


class RedysEstimator(LandmarkEstimator):
    """The trained network; it states how far each joint may be off.

    Parameters
    ----------
    weights : TrainedWeights, optional
        By default those of `locate_weights`.

    Raises
    ------
    ModelError
        The weights are missing, damaged, or of another file than the installed one.
    """

    name = "redys"

    def __init__(self, weights: TrainedWeights | None = None) -> None:
        weights, original = weights or read_weights(locate_weights()), locate(LANDMARK_FILE)
        check_source(weights, original)
        super().__init__(LandmarkNetwork(write_graph(original, weights.constants)))
        self.sigma_scale, self.offset_share = weights.sigma_factor, weights.offset_share
