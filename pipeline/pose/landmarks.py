"""MediaPipe's hand-landmark network as detector (after the palm detector) and as estimator.

Source: MediaPipe's hand_landmark_cpu and hand_landmark_landmarks_to_roi graphs (Apache-2.0), written anew.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from pipeline.hand.joints import Side
from pipeline.pose.crops import cut
from pipeline.pose.litert import LANDMARK_FILE, Network, locate
from pipeline.pose.palm import PalmNetwork, frame_palm, make_region
from pipeline.pose.protocols import Detection, Estimates
from pipeline.pose.regions import Region, apply_affine, bound_points

INPUT_PX = 224
MIN_PRESENCE = 0.5
MM_PER_M = 1000.0
SHIFT, SCALE = -0.1, 2.0
"""From the box of the palm's and the inner fingers' joints to the next frame's crop."""

LOG_SIGMA = (-1.5, 4.5)
"""Bounds of the log sigma, of crop px, that a network trained here states."""

_FRAMING = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
"""Wrist to PIP joints: the part of the hand that stays when fingers bend, so the crop does not breathe."""


class LandmarkNetwork:
    """21 joints, presence and side from crops. Takes left and right hands as they are.

    Parameters
    ----------
    data : bytes, optional
        The network's file with weights that were trained here, to be run in the place of the original's.
        Such a network's depth of an image landmark is the log of its sigma.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self._network = Network(locate(LANDMARK_FILE), data)
        self._states_sigma = data is not None

    def run(self, crops_bgr: np.ndarray) -> Estimates:
        """Joints in crops (N, 224, 224, 3) uint8 BGR."""
        rows = cv2.cvtColor(crops_bgr.reshape(-1, INPUT_PX, 3), cv2.COLOR_BGR2RGB)
        pictures = np.multiply(rows, np.float32(1 / 255), dtype=np.float32).reshape(crops_bgr.shape)
        points, presence, handedness, world = self._network.run(pictures)
        marks = points.reshape(-1, 21, 3).astype(float)
        return Estimates(
            points_px=marks[..., :2],
            score=presence[:, 0].astype(float),
            # Named for a mirrored (selfie) picture the output is that of "left": of "right" in ours.
            right=handedness[:, 0].astype(float),
            relative_mm=world.reshape(-1, 21, 3).astype(float) * MM_PER_M,
            sigma_px=np.exp(np.clip(marks[..., 2], *LOG_SIGMA)) if self._states_sigma else None,
        )


class MediaPipeDetector:
    """Palms, each looked at once by the landmark network: that tells its side, its box and false alarms."""

    name = "mediapipe"

    def __init__(self) -> None:
        self._palms = PalmNetwork()
        self._landmarks = LandmarkNetwork()

    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        """Hands in a picture (H, W, 3) uint8 BGR, best palm first."""
        found = []
        for palm in self._palms.find(image_bgr):
            region = frame_palm(palm)
            crop, image_from_crop = cut(image_bgr, region, INPUT_PX)
            estimate = self._landmarks.run(crop[None])
            if estimate.score[0] < MIN_PRESENCE:
                continue
            points = apply_affine(image_from_crop, estimate.points_px[0])
            side: Side = "right" if estimate.right[0] >= 0.5 else "left"
            found.append(
                Detection(bound_points(points), side, float(estimate.score[0]), frame_landmarks(points))
            )
        return found


class LandmarkEstimator:
    """A landmark network behind the estimator protocol: what does not hang on its weights."""

    input_px = INPUT_PX
    nominal_crop = (
        "twice the box of the joints from wrist to PIP, square, turned so that the fingers point up"
    )

    def __init__(self, network: LandmarkNetwork) -> None:
        self._landmarks = network

    def estimate(self, crops_bgr: np.ndarray, side: Side) -> Estimates:
        """Joints in crops (N, 224, 224, 3) uint8 BGR; left and right hands are taken as they are."""
        return self._landmarks.run(crops_bgr)

    def frame_detection(self, detection: Detection) -> Region:
        """The nominal crop of a detected hand."""
        return detection.region

    def frame_points(self, points_px: np.ndarray) -> Region:
        """The nominal crop around joints (21, 2) in full-image px."""
        return frame_landmarks(points_px)


class MediaPipeEstimator(LandmarkEstimator):
    """MediaPipe's own landmark network."""

    name = "mediapipe"
    sigma_scale = 1.5
    """Measured on nine views of three made sessions, as `pipeline.pose.augmentation` defines it: 1.28 to 1.97
    by view, 1.52 together (``python -m benchmarks.sigma_reliability``)."""
    offset_share: tuple[float, ...] = (0.16, 0.035, 0.04, 0.07, 0.1, *4 * (0.05, 0.03, 0.03, 0.05))
    """Measured likewise on three made sessions (seeds 3, 4, 7), the four fingers together: 0.032 to 0.064 by
    view for all joints but the wrist. Three others (0, 1, 2): 0.033 to 0.070, each joint within 0.02."""

    def __init__(self) -> None:
        super().__init__(LandmarkNetwork())


def frame_landmarks(points_px: np.ndarray) -> Region:
    """The next crop from joints (21, 2) in full-image px; wrist to knuckles points up in it."""
    wrist = points_px[0]
    knuckles = (points_px[5] + points_px[13]) / 4 + points_px[9] / 2
    angle = math.atan2(knuckles[1] - wrist[1], knuckles[0] - wrist[0]) + math.pi / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    points = points_px[_FRAMING]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    turned = (points - middle) @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    x, y = middle + (low + high) / 2 @ turn
    width, height = high - low
    return make_region(x, y, width, height, angle, SHIFT, SCALE)
