"""Test-time augmentation: seven passes, their mean and their spread (seed 000, section 5).

What a sigma means. The passes' spread ``s = sqrt(Var(x) + Var(y))`` says how far a network disagrees with
itself, not how far it is off. Each estimator states ``sigma_scale`` so that ``sigma = sigma_scale * s`` is
about one standard deviation of the error along each axis: over all joints and frames of made sessions,
``sigma_scale = median(|error| / s) / 1.1774``, where 1.1774 is the median length of a plane Gaussian vector
of one standard deviation an axis. The median, because a few joints taken for those of another finger would
otherwise rule it. Part of such an error is constant (where a network sees a joint and where the hand model
has it, and what it makes up of hidden fingers); that part does not average out over frames, and no spread of
passes tells it. Each estimator states its size beside ``sigma_scale``, as ``offset_share`` of the palm's
length in the picture (`measure_palm_px`): by the median too, over views and lasting postures, of a joint's
median error there.

A network that states its own sigma for each joint knows more than its passes' spread: `join_sigmas` takes
both, and its ``sigma_scale`` is a factor on that, fitted on held-out pictures so that as many coordinates lie
within two sigmas as of a Gaussian (`pipeline.pose.training.finish`). It is a factor of all seven passes: of a
single one, whose error is larger, it states somewhat too little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.hand.joints import JOINTS, Side
from pipeline.pose.crops import cut_enhanced
from pipeline.pose.protocols import Estimator
from pipeline.pose.regions import Region, apply_affine
from pipeline.results import PoseGuess

NOMINAL_SCALE = 1.3
"""The seed's middle scale: a pass of this scale and 0 degrees is the estimator's nominal crop."""

PASSES: tuple[tuple[float, float], ...] = (
    (1.3, 0.0),
    (1.2, 0.0),
    (1.4, 0.0),
    (1.3, 20.0),
    (1.3, -20.0),
    (1.3, 40.0),
    (1.3, -40.0),
)
"""Scale and rotation in degrees of the K = 7 passes."""

ONE_PASS = PASSES[:1]

KNUCKLES = [JOINTS.index(f"{finger}_mcp") for finger in ("index", "middle", "ring", "pinky")]


@dataclass(frozen=True)
class Measurement:
    """One hand in one picture.

    Attributes
    ----------
    points_px : ndarray (21, 2)
        Mean of the passes in full-image px.
    sigma_px : ndarray (21,)
        One standard deviation along each axis (`state_sigma`); NaN from a single pass of a network that
        states none, which has no spread.
    score : float
        Mean of the passes' confidence, 0 to 1.
    right : float
        Mean probability of a right hand; NaN where the network cannot tell.
    guess : PoseGuess or None
        The first pass's hand-model pose, without the axis of time; None from networks without a hand model.
    n_passes : int
        Passes that it is the mean of.
    """

    points_px: np.ndarray
    sigma_px: np.ndarray
    score: float
    right: float
    guess: PoseGuess | None = None
    n_passes: int = len(PASSES)


@dataclass(frozen=True)
class Passes:
    """What an estimator says of one hand in each of K passes.

    Attributes
    ----------
    points_px : ndarray (K, 21, 2)
        In full-image px.
    score : ndarray (K,)
    right : ndarray (K,)
        Probability of a right hand; NaN where the network cannot tell.
    guess : PoseGuess or None
        The first pass's, without the axis of time.
    relative_mm : ndarray (K, 21, 3) or None
        As in `Estimates`, turned back to the picture's axes.
    sigma_px : ndarray (K, 21) or None
        As in `Estimates`, in full-image px.
    """

    points_px: np.ndarray
    score: np.ndarray
    right: np.ndarray
    guess: PoseGuess | None = None
    relative_mm: np.ndarray | None = None
    sigma_px: np.ndarray | None = None


def measure_hand(
    image_bgr: np.ndarray,
    region: Region,
    estimator: Estimator,
    side: Side,
    preset: str,
    passes: Sequence[tuple[float, float]] = PASSES,
) -> Measurement:
    """Run the passes on one hand: one crop each from the enhanced picture, all in one call of the network.

    Each pass's points go back to the full image through the very affine that cut its crop.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        The whole upright picture, as it was decoded.
    region : Region
        The estimator's nominal crop.
    estimator : Estimator
        The network.
    side : "right" | "left"
        The hand's, for networks that know one side only.
    preset : str
        One of `pipeline.preprocess.PRESETS`.
    passes : sequence of (scale, degrees)
        Scale 1.3 is the nominal crop.
    """
    found = run_passes(image_bgr, region, estimator, side, preset, passes)
    return Measurement(
        points_px=found.points_px.mean(axis=0),
        sigma_px=state_sigma(found, estimator.sigma_scale),
        score=float(found.score.mean()),
        right=float(found.right.mean()),
        guess=found.guess,
        n_passes=len(passes),
    )


def run_passes(
    image_bgr: np.ndarray,
    region: Region,
    estimator: Estimator,
    side: Side,
    preset: str,
    passes: Sequence[tuple[float, float]] = PASSES,
) -> Passes:
    """Each pass's own answer; the parameters are those of `measure_hand`."""
    regions = [region.vary(scale / NOMINAL_SCALE, math.radians(degrees)) for scale, degrees in passes]
    crops, image_from_crop = cut_enhanced(image_bgr, regions, estimator.input_px, preset)
    estimates = estimator.estimate(crops, side)
    pairs = zip(image_from_crop, estimates.points_px, strict=True)
    relative, sigma = estimates.relative_mm, estimates.sigma_px
    if sigma is not None:
        sigma = sigma * np.array([each.size_px / estimator.input_px for each in regions])[:, None]
    if relative is not None:
        angles = [each.angle_rad for each in regions]
        relative = np.stack([_turn(joints, angle) for joints, angle in zip(relative, angles, strict=True)])
    return Passes(
        points_px=np.stack([apply_affine(affine, found) for affine, found in pairs]),
        score=estimates.score,
        right=estimates.right,
        guess=None if estimates.guess is None else estimates.guess.at(0),
        relative_mm=relative,
        sigma_px=sigma,
    )


def _turn(joints: np.ndarray, angle_rad: float) -> np.ndarray:
    """Joints (21, 3) along a crop's axes, turned by ``angle_rad`` from the picture's, along the picture's."""
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return joints @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]).T


def measure_palm_px(keypoints_px: np.ndarray) -> float:
    """Length of the palm in the pictures: median distance from the wrist to the four knuckles.

    Of points (T, 21, 2); NaN = not measured, and NaN where no palm is. Of the sizes that keypoints tell, the
    constant errors of a network are most alike over views as a share of this one.
    """
    reach = np.linalg.norm(keypoints_px[:, KNUCKLES] - keypoints_px[:, :1], axis=2)
    return float(np.nanmedian(reach)) if np.isfinite(reach).any() else float("nan")


def state_offset_sigma(offset_share: Sequence[float], keypoints_px: np.ndarray) -> np.ndarray:
    """``offset_sigma_px`` (21,) of a view's points (T, 21, 2) from its estimator's; 0 without any palm."""
    return np.nan_to_num(measure_palm_px(keypoints_px)) * np.array(offset_share)


def state_sigma(found: Passes, sigma_scale: float) -> np.ndarray:
    """One standard deviation (21,) along each axis, in full-image px, of the error of the passes' mean.

    ``sigma_scale`` times `join_sigmas`; of a network that states no sigma, times the spread of the passes.
    """
    if found.sigma_px is None:
        return sigma_scale * aggregate(found.points_px)[1]
    return sigma_scale * join_sigmas(found.points_px, found.sigma_px)


def join_sigmas(points_px: np.ndarray, sigma_px: np.ndarray) -> np.ndarray:
    """What K passes' own sigmas and their spread come to: (21,) px along each axis, before any scale.

    ``sqrt(within + between)``: the mean of the passes' variances, and the variance of their points (divided
    by K, mean of both axes). Each pass says where the joint may be; taken together as one distribution their
    variance is that sum (law of total variance).

    It is not what the mean of independent measurements would have, ``within / K``: the passes look at the
    same picture with the same network, and what one makes up the others do too. Nor ``within - between``,
    which the mean of correlated passes has if every stated variance is true to the point (averaging takes
    off just what the passes differ by): there a joint whose passes disagree would be surer. In truth a
    network's variances are guesses, and disagreement says that they were too small. Held against the errors
    of a sigma read out of the original network's features on made sessions, the sum had the higher
    likelihood of the two, and held what it states wherever the passes disagreed. That averaging helps all
    the same is a constant share, which `sigma_scale` holds.

    Parameters
    ----------
    points_px : ndarray (K, 21, 2)
        In full-image px.
    sigma_px : ndarray (K, 21)
        In full-image px along each axis; NaN = nothing is said of a joint, and then nothing comes of it.
    """
    within = np.square(sigma_px).mean(axis=0)
    between = points_px.var(axis=0).mean(axis=-1)
    return np.sqrt(within + between)


def aggregate(points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (21, 2) and spread (21,) of K passes' points (K, 21, 2).

    ``spread_j = sqrt(Var(x_j) + Var(y_j))`` with the variance over the K passes (divided by K), seed 000
    section 5. NaN for K = 1.
    """
    spread = np.sqrt(points_px.var(axis=0).sum(axis=-1))
    return points_px.mean(axis=0), spread if len(points_px) > 1 else np.full_like(spread, np.nan)
