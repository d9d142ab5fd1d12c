"""What may be wrong with a hand in a picture, each reason with the figure that raised it and its limit.

A reason is a likely one, not a proof: `benchmarks.photo_failures` says on made pictures how often each is
raised where it is true and where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.hand.joints import FINGERS, PARTS
from pipeline.photos.hands import MeasuredHand
from pipeline.photos.single_view import SpatialHand
from pipeline.pose.crops import cut

Reason = Literal["truncated", "blurred", "low confidence", "sides disagree", "occluded"]
REASONS: tuple[Reason, ...] = ("truncated", "blurred", "low confidence", "sides disagree", "occluded")

BORDER_SHARE = 0.02
"""A joint nearer to the picture's edge than this share of the hand's size, or beyond it, is at the border."""

CROP_PX = 224
"""Sharpness is measured on a crop of this side, the network's own: what it cannot see does not matter."""

MAX_BLUR_PX = 2.2
MIN_SLOPE = 0.4
"""Grey levels a px; weaker edges drown in the noise of the sensor."""

_FINE, _COARSE = 1.5, 4.0

MIN_SCORE = 0.75
MAX_SPREAD = 0.14
"""Median spread of the passes as a share of the palm's length: they do not agree where the hand is."""

MIN_SIDE_SHARE = 0.65
"""Mean probability of the side over the passes and the mirror."""

MAX_COLOUR = 26.0
MIN_COVERED = 2
MAX_SELF_HIDDEN = 14


@dataclass(frozen=True)
class Failure:
    """A likely reason why a hand's points may be wrong.

    Attributes
    ----------
    reason : str
        One of `REASONS`.
    figure, limit : float
        What was measured, and from where on it counts.
    unit : str
        Of both, in words ("joints", "px of 224", "share").
    joints : tuple of int
        The joints that it is about; empty = the whole hand.
    """

    reason: Reason
    figure: float
    limit: float
    unit: str
    joints: tuple[int, ...] = ()


def judge(
    image_bgr: np.ndarray,
    hand: MeasuredHand,
    others: Sequence[MeasuredHand],
    spatial: SpatialHand | None,
    faces: np.ndarray,
) -> tuple[Failure, ...]:
    """Every reason that holds, in the order of `REASONS`.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        The whole picture.
    hand : MeasuredHand
        The hand in question.
    others : sequence of MeasuredHand
        The other hands of the picture.
    spatial : SpatialHand or None
        Its fit in space: tells which joints the hand itself hides.
    faces : ndarray (F, 3)
        Triangles of ``spatial.vertices_mm``.
    """
    found = (
        find_truncated(image_bgr.shape[:2], hand),
        find_blurred(image_bgr, hand),
        find_low_confidence(hand),
        find_side_doubt(hand, others),
        find_occluded(image_bgr, hand, others, spatial, faces),
    )
    return tuple(each for each in found if each is not None)


def find_truncated(size: tuple[int, int], hand: MeasuredHand) -> Failure | None:
    """Joints at or beyond the border of a picture of ``size`` (height, width)."""
    height, width = size
    margin = BORDER_SHARE * measure_size_px(hand)
    x, y = hand.points_px.T
    out = (x < margin) | (y < margin) | (x > width - 1 - margin) | (y > height - 1 - margin)
    joints = tuple(int(joint) for joint in np.flatnonzero(out))
    return Failure("truncated", len(joints), 1, "joints", joints) if joints else None


def measure_size_px(hand: MeasuredHand) -> float:
    """The longer side of the box of a hand's joints."""
    return float(np.ptp(hand.points_px, axis=0).max())


def find_blurred(image_bgr: np.ndarray, hand: MeasuredHand) -> Failure | None:
    """Edges wider than a hand's should be, by `measure_blur_px`."""
    blur = measure_blur_px(image_bgr, hand)
    if not math.isfinite(blur) or blur <= MAX_BLUR_PX:
        return None
    return Failure("blurred", blur, MAX_BLUR_PX, f"px of {CROP_PX}")


def measure_blur_px(image_bgr: np.ndarray, hand: MeasuredHand) -> float:
    """Width of the hand's edges in px of the network's crop: the standard deviation of a Gaussian.

    An edge blurred by b has at scale s a slope of ``A / sqrt(2 pi (b² + s²))``; so the slopes at two scales
    tell b whatever the contrast A. Median over the strongest edges of the hand; NaN without any.
    """
    crop, image_from_crop = cut(image_bgr, hand.region, CROP_PX)
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    fine, coarse = (_slope(grey, scale) for scale in (_FINE, _COARSE))
    edges = _mask(hand, image_from_crop) & _find_ridges(fine)
    if edges.sum() < 8:
        return float("nan")
    strong = edges & (fine >= np.quantile(fine[edges], 0.75)) & (fine > MIN_SLOPE)
    if strong.sum() < 4:
        return float("nan")
    ratio = float(np.median(fine[strong] / np.maximum(coarse[strong], 1e-6))) ** 2
    square = (_COARSE**2 - ratio * _FINE**2) / max(ratio - 1.0, 1e-6)
    return math.sqrt(min(max(square, 0.0), float(CROP_PX)))


def _slope(grey: np.ndarray, scale: float) -> np.ndarray:
    smooth = cv2.GaussianBlur(grey, (0, 0), scale)
    return np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8)


def _find_ridges(slope: np.ndarray) -> np.ndarray:
    """Where the slope is the greatest of its surroundings: the middle of an edge."""
    return slope >= cv2.dilate(slope, np.ones((5, 5))) - 1e-6


def _mask(hand: MeasuredHand, image_from_crop: np.ndarray) -> np.ndarray:
    """The hand and its outline in its crop: about its bones, by half a palm's breadth."""
    crop_from_image = cv2.invertAffineTransform(image_from_crop)
    points = hand.points_px @ crop_from_image[:, :2].T + crop_from_image[:, 2]
    width = max(int(0.35 * hand.palm_px * CROP_PX / hand.region.size_px), 3)
    mask = np.zeros((CROP_PX, CROP_PX), np.uint8)
    for finger in FINGERS:
        line = np.round(points[[0, *PARTS[finger]]]).astype(np.int32)
        cv2.polylines(mask, [line], False, 1, width)
    return mask > 0


def find_low_confidence(hand: MeasuredHand) -> Failure | None:
    """The network's own doubt: a low score, or passes that do not agree where the joints are."""
    if hand.score < MIN_SCORE:
        return Failure("low confidence", hand.score, MIN_SCORE, "score")
    spread = float(np.median(hand.spread_px)) / hand.palm_px
    if spread > MAX_SPREAD:
        return Failure("low confidence", spread, MAX_SPREAD, "spread of palm")
    return None


def find_side_doubt(hand: MeasuredHand, others: Sequence[MeasuredHand]) -> Failure | None:
    """The passes or the mirror see another side, or two hands of a picture are said to be the same one."""
    if math.isfinite(hand.side_share):
        votes, total = hand.side_votes
        if hand.side_share < MIN_SIDE_SHARE:
            return Failure("sides disagree", hand.side_share, MIN_SIDE_SHARE, "mean probability")
        if votes < total - 1:
            return Failure("sides disagree", votes, total - 1, "votes")
    if len(others) == 1 and others[0].side == hand.side:
        return Failure("sides disagree", 2, 1, f"{hand.side} hands")
    return None


def find_occluded(
    image_bgr: np.ndarray,
    hand: MeasuredHand,
    others: Sequence[MeasuredHand],
    spatial: SpatialHand | None,
    faces: np.ndarray,
) -> Failure | None:
    """Joints under something: another hand, a thing of another colour, or most of the hand itself."""
    covered = find_foreign_colour(image_bgr, hand) | find_under_others(hand, others)
    if covered.sum() >= MIN_COVERED:
        joints = tuple(int(joint) for joint in np.flatnonzero(covered))
        return Failure("occluded", len(joints), MIN_COVERED, "joints", joints)
    hidden = np.zeros(21, bool) if spatial is None else find_self_hidden(spatial, faces)
    if hidden.sum() >= MAX_SELF_HIDDEN:
        joints = tuple(int(joint) for joint in np.flatnonzero(hidden))
        return Failure("occluded", len(joints), MAX_SELF_HIDDEN, "joints behind the hand itself", joints)
    return None


def find_foreign_colour(image_bgr: np.ndarray, hand: MeasuredHand) -> np.ndarray:
    """Joints (21,) bool whose surroundings have another colour than the palm, whatever the light on it."""
    lab = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2LAB).astype(np.float32)
    radius = max(round(0.06 * hand.palm_px), 1)
    patches = np.stack([_take_colour(lab, point, radius) for point in hand.points_px])
    palm_points = [hand.points_px[[0, knuckle]].mean(axis=0) for knuckle in (5, 9, 13, 17)]
    palm = np.nanmedian([_take_colour(lab, point, radius) for point in palm_points], axis=0)
    if not np.isfinite(palm).all():
        return np.zeros(21, bool)
    # Light changes the brightness of skin far more than its hue.
    away = np.linalg.norm((patches - palm) * [0.25, 1.0, 1.0], axis=1)
    foreign = away > MAX_COLOUR
    # A lone joint may lie beside its finger; a finger's worth of neighbours lie under something.
    alone = ~(np.roll(foreign, 1) | np.roll(foreign, -1))
    return foreign & ~alone & (np.arange(21) > 0)


def _take_colour(lab: np.ndarray, point: np.ndarray, radius: int) -> np.ndarray:
    """Median colour (3,) about a point; NaN outside the picture."""
    x, y = np.round(point).astype(int)
    patch = lab[max(y - radius, 0) : max(y + radius + 1, 0), max(x - radius, 0) : max(x + radius + 1, 0)]
    return np.median(patch.reshape(-1, 3), axis=0) if patch.size else np.full(3, np.nan)


def find_under_others(hand: MeasuredHand, others: Sequence[MeasuredHand]) -> np.ndarray:
    """Joints (21,) bool within the outline of another hand's joints: hidden by it, or taken for its own."""
    under = np.zeros(21, bool)
    for other in others:
        outline = cv2.convexHull(other.points_px.astype(np.float32))
        inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in hand.points_px]
        under |= np.array(inside)
    return under


def find_self_hidden(spatial: SpatialHand, faces: np.ndarray, behind_mm: float = 15.0) -> np.ndarray:
    """Joints (21,) bool with another part of the fitted hand more than ``behind_mm`` in front of them.

    A joint lies within its own finger, about half a finger's thickness under the skin.
    """
    joints = spatial.joints_mm + spatial.wrist_mm
    corners = spatial.vertices_mm[faces]
    flat = corners[..., :2] / corners[..., 2:]
    rays = joints[:, :2] / joints[:, 2:]
    a, b, c = (flat[None, :, k] for k in range(3))
    p = rays[:, None]
    d1, d2, d3 = _cross(b - a, p - a), _cross(c - b, p - b), _cross(a - c, p - c)
    inside = ((d1 >= 0) & (d2 >= 0) & (d3 >= 0)) | ((d1 <= 0) & (d2 <= 0) & (d3 <= 0))
    depth = np.where(inside, corners[:, :, 2].mean(axis=1)[None], np.inf).min(axis=1)
    return depth < joints[:, 2] - behind_mm


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
