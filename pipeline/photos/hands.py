"""The hands of a picture: found, measured in seven passes, and asked once more in the mirror."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.photos.single_view import SpatialGuess
from pipeline.pose.augmentation import ONE_PASS, PASSES, Passes, measure_palm_px, run_passes, state_sigma
from pipeline.pose.protocols import Detection, Detector, Estimator
from pipeline.pose.regions import Region, bound_points, compute_overlap, get_area
from pipeline.pose.tracking import MAX_HANDS, SAME_HAND
from pipeline.results import PoseGuess

MIN_SCORE = 0.3
"""Below this mean confidence of the passes there is no hand; up to `failures.MIN_SCORE` a doubtful one."""

TILE_SHARE = 0.6
"""Where the whole picture shows no hand, tiles of this share of its sides are searched, which overlap: a
detector sees a picture small, and a hand of a group photo smaller."""


@dataclass(frozen=True)
class MeasuredHand:
    """A hand in a picture.

    Attributes
    ----------
    side : "right" | "left"
        By the votes of the passes and of the mirror, or the detector's where the network cannot tell.
    side_share : float
        Mean probability of that side over the passes and the mirrored one, 0.5 to 1; NaN where the network
        cannot tell.
    side_votes : tuple of 2 int
        Passes for that side, of how many; the mirrored one counts. (0, 0) where the network cannot tell.
    points_px : ndarray (21, 2)
    sigma_px : ndarray (21,)
        One standard deviation along each axis: the passes' spread, scaled as the estimator states, and the
        part of a point's error that all passes share. Of a network that states its own sigma, that.
    spread_px : ndarray (21,)
        The passes' part alone; of a network that states its own sigma, that.
    score : float
        Mean confidence of the passes, 0 to 1.
    box_px : ndarray (4,)
        x1 y1 x2 y2.
    palm_px : float
        Length of the palm in the picture.
    region : Region
        What the estimator saw at scale 1.3.
    guess : SpatialGuess or None
        What the network says of the hand in space.
    second_look : bool
        Found in a tile, not in the picture as a whole.
    """

    side: Side
    side_share: float
    side_votes: tuple[int, int]
    points_px: np.ndarray
    sigma_px: np.ndarray
    spread_px: np.ndarray
    score: float
    box_px: np.ndarray
    palm_px: float
    region: Region
    guess: SpatialGuess | None
    second_look: bool = False


def find_hands(
    image_bgr: np.ndarray, detector: Detector, estimator: Estimator, preset: str, model: HandModel
) -> list[MeasuredHand]:
    """Every hand of a picture (H, W, 3) uint8 BGR, the largest first; at most `MAX_HANDS`.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        Upright.
    detector, estimator
        Of `pipeline.pose.registry`.
    preset : str
        One of `pipeline.preprocess.PRESETS`.
    model : HandModel
        Poses the hand of networks that answer with a hand model.
    """
    detections = detector.detect(image_bgr)
    found = _measure_all(image_bgr, detections, estimator, preset, model, second_look=False)
    if not found:
        detections = _search_tiles(image_bgr, detector)
        found = _measure_all(image_bgr, detections, estimator, preset, model, second_look=True)
    return found


def _search_tiles(image_bgr: np.ndarray, detector: Detector) -> list[Detection]:
    height, width = image_bgr.shape[:2]
    tall, wide = round(TILE_SHARE * height), round(TILE_SHARE * width)
    detections = []
    for y in (0, (height - tall) // 2, height - tall):
        for x in (0, (width - wide) // 2, width - wide):
            tile = np.ascontiguousarray(image_bgr[y : y + tall, x : x + wide])
            detections += [_shift(each, x, y) for each in detector.detect(tile)]
    return detections


def _shift(detection: Detection, x: int, y: int) -> Detection:
    region = detection.region
    return Detection(
        detection.box_px + np.array([x, y, x, y]),
        detection.side,
        detection.score,
        Region(region.x_px + x, region.y_px + y, region.size_px, region.angle_rad),
    )


def _measure_all(
    image_bgr: np.ndarray,
    detections: list[Detection],
    estimator: Estimator,
    preset: str,
    model: HandModel,
    second_look: bool,
) -> list[MeasuredHand]:
    kept: list[MeasuredHand] = []
    for detection in sorted(detections, key=lambda each: -each.score):
        hand = _measure(image_bgr, detection, estimator, preset, model, second_look)
        same = any(compute_overlap(hand.box_px, other.box_px) > SAME_HAND for other in kept)
        if hand.score >= MIN_SCORE and not same and len(kept) < MAX_HANDS:
            kept.append(hand)
    return sorted(kept, key=lambda each: -float(get_area(each.box_px)))


def _measure(
    image_bgr: np.ndarray,
    detection: Detection,
    estimator: Estimator,
    preset: str,
    model: HandModel,
    second_look: bool,
) -> MeasuredHand:
    """One hand: a first pass centres the crop, seven measure, one looks at the mirrored picture."""
    region = estimator.frame_detection(detection)
    first = run_passes(image_bgr, region, estimator, detection.side, preset, ONE_PASS)
    if first.score[0] >= MIN_SCORE:
        region = estimator.frame_points(first.points_px[0])
    passes = run_passes(image_bgr, region, estimator, detection.side, preset, PASSES)
    mirrored = _look_in_mirror(image_bgr, region, estimator, detection.side, preset)
    side, share, votes = _vote(detection, passes, mirrored)
    if side != detection.side:  # networks that know one side only were shown the other
        passes = run_passes(image_bgr, region, estimator, side, preset, PASSES)
    points = passes.points_px.mean(axis=0)
    palm = measure_palm_px(points[None])
    jitter = state_sigma(passes, estimator.sigma_scale)
    # A network's own sigma is of the whole error; the spread of passes knows nothing of its constant part.
    constant = 0.0 if passes.sigma_px is not None else palm * np.array(estimator.offset_share)
    return MeasuredHand(
        side=side,
        side_share=share,
        side_votes=votes,
        points_px=points,
        sigma_px=np.hypot(jitter, constant),
        spread_px=jitter,
        score=float(passes.score.mean()),
        box_px=bound_points(points),
        palm_px=palm,
        region=region,
        guess=_get_guess(passes, side, model),
        second_look=second_look,
    )


def _look_in_mirror(
    image_bgr: np.ndarray, region: Region, estimator: Estimator, side: Side, preset: str
) -> Passes:
    width = image_bgr.shape[1]
    turned = Region(width - 1 - region.x_px, region.y_px, region.size_px, -region.angle_rad)
    other: Side = "left" if side == "right" else "right"
    return run_passes(cv2.flip(image_bgr, 1), turned, estimator, other, preset, ONE_PASS)


def _vote(detection: Detection, passes: Passes, mirrored: Passes) -> tuple[Side, float, tuple[int, int]]:
    """Side, its mean probability, its votes and all votes; in the mirror a right hand is a left one."""
    right = np.concatenate([passes.right, 1.0 - mirrored.right])
    right = right[np.isfinite(right)]
    if not len(right):
        return detection.side, float("nan"), (0, 0)
    share = float(right.mean())
    side: Side = "right" if share >= 0.5 else "left"
    own = right if side == "right" else 1.0 - right
    return side, float(own.mean()), (int((own >= 0.5).sum()), len(own))


def _get_guess(passes: Passes, side: Side, model: HandModel) -> SpatialGuess | None:
    if passes.guess is not None and np.isfinite(passes.guess.hand_pose).all():
        return SpatialGuess(_pose_guess(passes.guess, side, model))
    if passes.relative_mm is not None:
        return SpatialGuess(passes.relative_mm.mean(axis=0))
    return None


def _pose_guess(guess: PoseGuess, side: Side, model: HandModel) -> np.ndarray:
    """Joints (21, 3) of a network's own hand-model pose; a left hand's is that of the mirrored right hand."""
    _, joints = model.pose_arrays(
        np.zeros(model.n_betas), guess.global_orient[None], guess.hand_pose[None], np.zeros((1, 3))
    )
    found = joints[0].astype(float)
    return found * [-1.0, 1.0, 1.0] if side == "left" else found
