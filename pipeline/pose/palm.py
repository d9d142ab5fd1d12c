"""MediaPipe's palm detector: anchors, decoding, weighted non-maximum suppression, the hand's region.

Source: MediaPipe's palm_detection_cpu and palm_detection_detection_to_roi graphs (Apache-2.0), written anew.
Coordinates inside are shares of the letterboxed square, 0 to 1.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.pose.litert import PALM_FILE, Network, locate
from pipeline.pose.regions import Region

INPUT_PX = 192
STRIDES = (8, 16, 16, 16)
ANCHORS_PER_CELL = 2
MIN_SCORE = 0.5
SCORE_CLIP = 100.0
MAX_OVERLAP = 0.3
WRIST, MIDDLE_MCP = 0, 2
"""Of the detector's seven points, the two that give the hand's direction."""
SHIFT, SCALE = -0.5, 2.6
"""From the palm's box to the hand's region: half a palm towards the fingers, then 2.6 times as large."""


@dataclass(frozen=True)
class Palm:
    """A palm in full-image px: box (4,) x1 y1 x2 y2, seven points (7, 2), score 0 to 1."""

    box_px: np.ndarray
    points_px: np.ndarray
    score: float


@functools.cache
def make_anchors() -> np.ndarray:
    """Centres (2016, 2) of the SSD's fixed-size anchors, x y as shares of the square.

    Layers of equal stride share their cells: 24 x 24 cells with 2 anchors, then 12 x 12 with 6.
    """
    layers = []
    for stride in sorted(set(STRIDES)):
        cells = INPUT_PX // stride
        rows, columns = np.mgrid[:cells, :cells]
        centres = np.stack([columns, rows], axis=-1).reshape(-1, 2)
        layers.append(np.repeat((centres + 0.5) / cells, ANCHORS_PER_CELL * STRIDES.count(stride), axis=0))
    return np.concatenate(layers).astype(np.float32)


def decode(raw: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4), points (N, 7, 2) and scores (N,) of the anchors that reach `MIN_SCORE`.

    Parameters
    ----------
    raw : ndarray (2016, 18)
        Per anchor the box's centre, width and height and seven points, in px of the 192 px square,
        relative to the anchor.
    logits : ndarray (2016,)
        Of the score, before the sigmoid.
    """
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -SCORE_CLIP, SCORE_CLIP)))
    kept = scores >= MIN_SCORE
    values = (raw[kept] / INPUT_PX).reshape(-1, 9, 2)
    anchors = make_anchors()[kept]
    centre, half = values[:, 0] + anchors, values[:, 1] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes, values[:, 2:] + anchors[:, None], scores[kept]


def suppress(boxes: np.ndarray, points: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
    """Groups of candidates that are one palm: index arrays, the group with the best score first."""
    order = np.argsort(-scores, kind="stable")
    groups: list[np.ndarray] = []
    while len(order):
        best = boxes[order[0]]
        overlaps = _compute_overlaps(best, boxes[order])
        overlaps[0] = 1.0  # a box of no area overlaps nothing, not even itself
        groups.append(order[overlaps > MAX_OVERLAP])
        order = order[overlaps <= MAX_OVERLAP]
    return groups


def _compute_overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / np.maximum(areas + np.prod(box[2:] - box[:2]) - shared, 1e-12)


class PalmNetwork:
    """The palm detector on whole pictures."""

    def __init__(self) -> None:
        self._network = Network(locate(PALM_FILE))

    def find(self, image_bgr: np.ndarray) -> list[Palm]:
        """Palms in a picture (H, W, 3) uint8 BGR, best score first."""
        square, scale, pad = letterbox(image_bgr)
        raw, logits = self._network.run(square[None])
        boxes, points, scores = decode(raw[0], logits[0, :, 0])
        palms = []
        for group in suppress(boxes, points, scores):
            weights = scores[group] / scores[group].sum()
            box = weights @ boxes[group]
            seven = np.tensordot(weights, points[group], axes=1)
            palms.append(
                Palm(
                    box_px=_to_image(box.reshape(2, 2), scale, pad).ravel(),
                    points_px=_to_image(seven, scale, pad),
                    score=float(scores[group].max()),
                )
            )
        return palms


def letterbox(image_bgr: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The network's square (192, 192, 3) float32 RGB 0 to 1 of a picture; scale; padding (2,) in px."""
    height, width = image_bgr.shape[:2]
    scale = INPUT_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (INPUT_PX - size[0]) // 2, (INPUT_PX - size[1]) // 2
    square = np.zeros((INPUT_PX, INPUT_PX, 3), np.float32)
    square[top : top + size[1], left : left + size[0]] = small[..., ::-1] / np.float32(255)
    return square, scale, np.array([left, top], dtype=float)


def _to_image(shares: np.ndarray, scale: float, pad: np.ndarray) -> np.ndarray:
    """Shares (..., 2) of the letterboxed square to full-image px, whose pixel centres are whole numbers."""
    return (shares * INPUT_PX - pad) / scale - 0.5


def frame_palm(palm: Palm) -> Region:
    """The region of the whole hand: wrist to middle knuckle points up in the crop."""
    wrist, knuckle = palm.points_px[WRIST], palm.points_px[MIDDLE_MCP]
    angle = math.atan2(knuckle[1] - wrist[1], knuckle[0] - wrist[0]) + math.pi / 2
    width, height = palm.box_px[2:] - palm.box_px[:2]
    x, y = (palm.box_px[:2] + palm.box_px[2:]) / 2
    return make_region(x, y, width, height, angle, SHIFT, SCALE)


def make_region(
    x: float, y: float, width: float, height: float, angle: float, shift: float, scale: float
) -> Region:
    """MediaPipe's RectTransformation: shift along the turned height, square on the long side, scale."""
    return Region(
        x_px=float(x - height * shift * math.sin(angle)),
        y_px=float(y + height * shift * math.cos(angle)),
        size_px=float(max(width, height) * scale),
        angle_rad=math.remainder(angle, 2 * math.pi),
    )
