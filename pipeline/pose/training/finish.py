"""From a training's weights to the file of the estimator ``redys``: how sure the network truly is.

A network that learns its sigma from pictures that it is trained on is too sure of others. One factor mends
that (as temperature does for probabilities; Guo and others, 2017). It is fitted on what the program uses, the
mean of seven passes (`pipeline.pose.augmentation`), and on pictures that no training has seen: made sessions
with their truth, and real frames with the original's answers where these may be trusted. Both have the same
say, and as many coordinates lie within two sigmas as of a Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from pipeline.errors import ModelError
from pipeline.files import hash_file, read_npz
from pipeline.hand.joints import Side
from pipeline.pose.augmentation import ONE_PASS, measure_hand
from pipeline.pose.landmarks import MediaPipeDetector, MediaPipeEstimator
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.redys import RedysEstimator
from pipeline.pose.regions import Region
from pipeline.pose.tracking import MIN_SCORE
from pipeline.pose.training.graph import LandmarkModule, read_graph
from pipeline.pose.training.kept import find_trusted, list_files, open_pictures
from pipeline.pose.training.losses import TEACHER_SHARE
from pipeline.pose.training.train import begin_sigma
from pipeline.pose.weights_file import TrainedWeights
from pipeline.progress import Reporter
from pipeline.session import read_session
from pipeline.synth.truth import read_truth
from pipeline.video import read_frames

WITHIN_2 = 0.9545
"""Share of a Gaussian within two standard deviations."""

MOST_PICTURES = 300
"""Of made pictures and of real ones each: the share is known to a percent then."""

_RANGE = (1e-2, 1e2)


@dataclass(frozen=True)
class Misses:
    """Coordinates of joints that were held out, all (n,) in px; wrists, defined unlike, are left out.

    Attributes
    ----------
    error_px : ndarray
        Distance from what counts as true, along one axis.
    sigma_px : ndarray
        As stated without a factor.
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


def mix_weights(trained: dict[int, np.ndarray], share: float) -> dict[int, np.ndarray]:
    """Weights that lie a ``share`` of the way from where the training began to where it ended, fp16.

    Nearly all that was learned, and less of what was known is forgotten (Wortsman and others, 2022, "Robust
    fine-tuning of zero-shot models").

    Raises
    ------
    ModelError
        The weights are not of this network.
    """
    module = LandmarkModule(read_graph(locate(LANDMARK_FILE)))
    begin_sigma(module)
    begun = module.constants()
    if any(tensor not in begun or begun[tensor].shape != values.shape for tensor, values in trained.items()):
        raise ModelError(
            "The weights do not belong to MediaPipe's hand-landmark network.",
            "Name weights.npz of a folder that python -m pipeline train wrote to.",
        )
    return {
        tensor: ((1 - share) * begun[tensor].astype(float) + share * values.astype(float)).astype(np.float16)
        for tensor, values in trained.items()
    }


def finish(
    weights: Path,
    made: Sequence[Path],
    real: Path | None,
    offset_share: Sequence[float],
    report: Reporter,
    share: float = 1.0,
) -> tuple[TrainedWeights, dict[str, float]]:
    """The weights with their factor, and what share of each held-out set lies within two sigmas with it.

    Parameters
    ----------
    weights : Path
        A file as the training writes it.
    made : sequence of Path
        Made sessions with their truth, by ``python -m pipeline synth``.
    real : Path or None
        The folder whose videos and pictures were trained on in part; the other part is looked at.
    offset_share : sequence of 21 floats
        As in `TrainedWeights`.
    report : Reporter
        Hears of progress.
    share : float
        As `mix_weights` has it; to be chosen on what was held out, never on what is tested with.

    Raises
    ------
    ModelError
        The weights are not of this network, or their sigma has nothing to do with their errors.
    """
    original = locate(LANDMARK_FILE)
    constants = {int(name): values for name, values in read_npz(weights).items() if name.isdecimal()}
    plain = TrainedWeights(mix_weights(constants, share), hash_file(original), 1.0, tuple(offset_share))
    estimator = RedysEstimator(plain)
    sets = {"made": look_at_made(estimator, made, report.part(0, 0.5))}
    if real is not None:
        sets["real"] = look_at_real(estimator, real, report.part(0.5, 1))
    factor = fit_factor(list(sets.values()))
    within = {name: misses.cover(factor) for name, misses in sets.items()}
    return replace(plain, sigma_factor=factor), within


def look_at_made(estimator: RedysEstimator, sessions: Sequence[Path], report: Reporter) -> Misses:
    """The estimator's answers to frames of made sessions, as many of each camera."""
    found = []
    views = [(folder, camera) for folder in sessions for camera in read_session(folder).cameras]
    for number, (folder, camera) in enumerate(views):
        truth = read_truth(folder)
        true_px = truth.keypoints_px[camera]
        step = max(len(true_px) * len(views) // MOST_PICTURES, 1)
        for frame in read_frames(read_session(folder).videos[camera], 0, len(true_px)):
            if frame.index % step:
                continue
            region = estimator.frame_points(true_px[frame.index])
            found.append(_look(estimator, frame.image, region, truth.side, true_px[frame.index], 0.0))
        report.update((number + 1) / len(views), f"{folder.name}, camera {camera}")
    return _join(found)


def look_at_real(estimator: RedysEstimator, folder: Path, report: Reporter) -> Misses:
    """The estimator's answers to real frames that were held out, where the original's may be trusted."""
    detector, original = MediaPipeDetector(), MediaPipeEstimator()
    files = list(enumerate(list_files(folder)))
    held_out = sum(held for number, path in files for _, held in open_pictures(path, number))
    step = max(held_out // MOST_PICTURES, 1)
    found, seen = [], 0
    for number, path in files:
        for image, held in open_pictures(path, number):
            seen += held
            if not held or seen % step:
                continue
            for hand in find_trusted(image, detector, original):
                doubt_px = TEACHER_SHARE * hand.palm_px
                found.append(_look(estimator, image, hand.region, hand.side, hand.points_px, doubt_px))
        report.update((number + 1) / len(files), path.name)
    return _join(found)


def _look(
    estimator: RedysEstimator,
    image_bgr: np.ndarray,
    region: Region,
    side: Side,
    true_px: np.ndarray,
    doubt_px: float,
) -> Misses:
    """One hand, in the crop that tracking would give; nothing where the network sees no hand."""
    first = measure_hand(image_bgr, region, estimator, side, "standard", ONE_PASS)
    hand = measure_hand(image_bgr, estimator.frame_points(first.points_px), estimator, side, "standard")
    error = np.abs(hand.points_px - true_px)[1:]
    known = np.isfinite(error) & (hand.score >= MIN_SCORE)
    sigma = np.broadcast_to(hand.sigma_px[1:, None], error.shape)[known]
    return Misses(error[known], sigma, np.full(len(sigma), doubt_px))


def _join(parts: Sequence[Misses]) -> Misses:
    if not any(len(part.error_px) for part in parts):
        raise ModelError(
            "No hand was found in the pictures that are held out.",
            "Name made sessions, and a folder with videos or photographs of hands.",
        )
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Misses(*(np.concatenate(each) for each in columns))


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
