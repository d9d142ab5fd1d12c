"""From a training's weights to the file of the estimator ``redys``: how sure the network truly is.

A network that is trained by its likelihood on pictures that it has seen is too sure of those that it has not.
One factor on its sigma mends that (as temperature does for probabilities; Guo and others, 2017), fitted where
it may be: on held-out made pictures and on held-out real ones, both with the same say, so that as many
coordinates lie within two sigmas as of a Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from pipeline.errors import ModelError
from pipeline.files import hash_file, read_npz
from pipeline.pose.landmarks import LandmarkNetwork
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.tflite_file import write_graph
from pipeline.pose.training.losses import TEACHER_SHARE
from pipeline.pose.training.shards import read_shard
from pipeline.pose.weights_file import TrainedWeights

WITHIN_2 = 0.9545
"""Share of a Gaussian within two standard deviations."""

_RANGE = (1e-2, 1e2)
_BATCH = 48


@dataclass(frozen=True)
class Misses:
    """Coordinates of held-out crops, all (n,) in crop px.

    Attributes
    ----------
    error_px : ndarray
        Distance from what counts as true, along one axis.
    sigma_px : ndarray
        As the network states it.
    doubt_px : ndarray
        Standard deviation of what counts as true: 0 of made pictures; on real ones it is the original's
        answer, which is off itself.
    """

    error_px: np.ndarray
    sigma_px: np.ndarray
    doubt_px: np.ndarray

    def cover(self, factor: float) -> float:
        """Share of the true coordinates that lie within two times ``factor`` times sigma."""
        reach = 2 * factor * self.sigma_px
        doubt = np.maximum(self.doubt_px, 1e-6)
        return float((ndtr((reach - self.error_px) / doubt) - ndtr((-reach - self.error_px) / doubt)).mean())


def finish(
    training: Path, weights: Path, offset_share: Sequence[float]
) -> tuple[TrainedWeights, dict[str, float]]:
    """The weights with their factor, and what share each held-out set has within two sigmas with it.

    Parameters
    ----------
    training : Path
        The folder of ``python -m pipeline train``: the shards ``held-out`` and, where real frames were
        trained on, ``real/held-out``.
    weights : Path
        A file as the training writes it.
    offset_share : sequence of 21 floats
        As in `TrainedWeights`, by ``python -m benchmarks.sigma_reliability``.

    Raises
    ------
    ModelError
        The folder has no held-out pictures, or the weights are not of this network.
    """
    original = locate(LANDMARK_FILE)
    constants = {int(name): values for name, values in read_npz(weights).items() if name.isdecimal()}
    network = LandmarkNetwork(write_graph(original, constants))
    places = {"made": training / "held-out", "real": training / "real" / "held-out"}
    found = {
        name: look(network, shards, real=name == "real")
        for name, place in places.items()
        if (shards := sorted(place.glob("*.npz")))
    }
    if "made" not in found:
        raise ModelError(
            f"{training} has no held-out pictures.",
            "Name the folder that python -m pipeline train wrote to.",
        )
    factor = fit_factor(list(found.values()))
    within = {name: misses.cover(factor) for name, misses in found.items()}
    return TrainedWeights(constants, hash_file(original), factor, tuple(offset_share)), within


def look(network: LandmarkNetwork, shards: Sequence[Path], real: bool) -> Misses:
    """The network's answers to all crops of shards whose joints are known; the wrist is left out.

    A mesh's wrist and the network's are not the same place, whatever offset is fitted.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for path in shards:
        shard = read_shard(path)
        for first in range(0, len(shard.pictures), _BATCH):
            rows = slice(first, first + _BATCH)
            numbers = range(first, min(first + _BATCH, len(shard.pictures)))
            seen = network.run(np.stack([shard.decode(number) for number in numbers]))
            assert seen.sigma_px is not None
            error = np.abs(seen.points_px - shard.points_px[rows])[:, 1:]
            doubt = TEACHER_SHARE * shard.palm_px[rows] if real else np.zeros(len(error))
            known = np.isfinite(error)
            sigma, doubts = seen.sigma_px[:, 1:, None], doubt[:, None, None]
            parts.append(tuple(np.broadcast_to(each, error.shape)[known] for each in (error, sigma, doubts)))
    return Misses(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def fit_factor(sets: Sequence[Misses]) -> float:
    """The factor with which, as a mean over the sets, `WITHIN_2` of the coordinates lie within 2 sigmas.

    Raises
    ------
    ModelError
        No factor between a hundredth and a hundred does that: the network's sigma says nothing.
    """

    def miss(log_factor: float) -> float:
        return float(np.mean([each.cover(float(np.exp(log_factor))) for each in sets])) - WITHIN_2

    low, high = np.log(_RANGE)
    if miss(low) > 0 or miss(high) < 0:
        raise ModelError(
            "The sigma of these weights has nothing to do with their errors.",
            "Train longer, or choose weights of another look.",
        )
    return float(np.exp(brentq(miss, low, high, xtol=1e-4)))
