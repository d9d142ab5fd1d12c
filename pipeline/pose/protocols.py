"""What a detector and an estimator are. A new network: a file that has these, a line in the registry.

One that may have to change its ways while it works (a GPU without memory) has ``notes`` as well, a list of
sentences for the person: who reads it empties it, and the run's report keeps them as warnings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.hand.joints import Side
from pipeline.pose.regions import Region
from pipeline.results import PoseGuess


@dataclass(frozen=True)
class Detection:
    """A hand found in a picture.

    Attributes
    ----------
    box_px : ndarray (4,)
        x1 y1 x2 y2 of the whole hand in full-image px.
    side : "right" | "left"
        As the network sees it; a single picture may err, so tracks vote.
    score : float
        0 to 1.
    region : Region
        The hand with its direction, as exactly as the detector knows it.
    """

    box_px: np.ndarray
    side: Side
    score: float
    region: Region


@dataclass(frozen=True)
class Estimates:
    """What an estimator says of N crops.

    Attributes
    ----------
    points_px : ndarray (N, 21, 2)
        In crop px: the centre of the crop's top-left pixel is (0, 0).
    score : ndarray (N,)
        The network's confidence that the crop holds a hand, 0 to 1.
    right : ndarray (N,)
        The network's probability that it is a right hand; NaN from a network that cannot tell.
    guess : PoseGuess or None
        Only from networks with a hand model: the pose of N hands, absolute, each in the frame of its own
        crop's camera; of a left hand the mirrored right hand's.
    relative_mm : ndarray (N, 21, 3) or None
        Only from networks that guess the joints in space: along the crop's own axes, +z away from the viewer,
        of a hand of some canonical size. They tell directions and which joint lies in front, and no size.
    sigma_px : ndarray (N, 21) or None
        Only from networks that state how far each joint may be off: standard deviation of a Gaussian along
        each axis, of the whole error of that one crop's answer, in crop px, before ``sigma_scale``. NaN =
        nothing is said of a joint.
    """

    points_px: np.ndarray
    score: np.ndarray
    right: np.ndarray
    guess: PoseGuess | None = None
    relative_mm: np.ndarray | None = None
    sigma_px: np.ndarray | None = None


class Detector(Protocol):
    """Finds hands in a whole picture."""

    name: str

    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        """Hands in a picture (H, W, 3) uint8 BGR, in any order; an empty list without a hand."""
        ...


class Estimator(Protocol):
    """Finds the 21 joints in crops of one hand.

    Attributes
    ----------
    name : str
    input_px : int
        Side of the square crops that it takes.
    nominal_crop : str
        In words: the crop that counts as scale 1.3 of the TTA passes.
    sigma_scale : float
        Times the TTA spread, or what a network's own sigma and the spread come to together, it gives one
        standard deviation per axis (`pipeline.pose.augmentation`).
    offset_share : tuple of 21 floats
        Times the palm's length in the picture it gives one standard deviation per axis of that part of a
        joint's error that stays the same over a recording (`pipeline.pose.augmentation`).
    """

    name: str
    input_px: int
    nominal_crop: str
    sigma_scale: float
    offset_share: tuple[float, ...]

    def estimate(self, crops_bgr: np.ndarray, side: Side) -> Estimates:
        """Joints in crops (N, S, S, 3) uint8 BGR of a hand of ``side``, all N in one call."""
        ...

    def frame_detection(self, detection: Detection) -> Region:
        """The nominal crop of a detected hand."""
        ...

    def frame_points(self, points_px: np.ndarray) -> Region:
        """The nominal crop of a hand whose joints (21, 2) in full-image px are known (the frame before)."""
        ...
