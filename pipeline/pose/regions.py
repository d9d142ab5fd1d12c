"""Square, turned regions of a picture, and the exact affine maps between them and the network's crops."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

BOX_MARGIN = 0.1
"""A hand's box is that of its joints, widened by this share on each side: joints lie inside the skin."""


@dataclass(frozen=True)
class Region:
    """A square part of a picture, turned about its centre.

    Attributes
    ----------
    x_px, y_px : float
        Centre in full-image px.
    size_px : float
        Side of the square in full-image px.
    angle_rad : float
        How far the crop's axes are turned from the picture's, from +x towards +y. 0: upright.
    """

    x_px: float
    y_px: float
    size_px: float
    angle_rad: float

    def vary(self, scale: float, turn_rad: float) -> Region:
        """The region ``scale`` times as large, turned further by ``turn_rad`` about the same centre."""
        return replace(self, size_px=self.size_px * scale, angle_rad=self.angle_rad + turn_rad)

    def get_image_from_crop(self, crop_px: int) -> np.ndarray:
        """Affine (2, 3) from px of a crop (crop_px, crop_px) to full-image px.

        Pixel 0 of the crop lies on the region's edge and the crop's middle is ``crop_px / 2``, as in
        MediaPipe's ImageToTensorCalculator, whose networks answer in these coordinates.
        """
        step = self.size_px / crop_px
        cosine, sine = step * math.cos(self.angle_rad), step * math.sin(self.angle_rad)
        half = crop_px / 2
        return np.array(
            [
                [cosine, -sine, self.x_px - half * (cosine - sine)],
                [sine, cosine, self.y_px - half * (sine + cosine)],
            ]
        )

    def get_corners_px(self) -> np.ndarray:
        """The four corners (4, 2) in full-image px, from the crop's top left clockwise."""
        return apply_affine(self.get_image_from_crop(1), np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]))

    def to_array(self) -> np.ndarray:
        """(4,): x_px, y_px, size_px, angle_rad."""
        return np.array([self.x_px, self.y_px, self.size_px, self.angle_rad])

    @staticmethod
    def from_array(values: np.ndarray) -> Region:
        """The inverse of `to_array`."""
        return Region(*(float(value) for value in values))


def apply_affine(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) through an affine (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]


def bound_points(points_px: np.ndarray) -> np.ndarray:
    """Box (..., 4) x1 y1 x2 y2 of joints (..., 21, 2), widened by `BOX_MARGIN`; NaN where a joint is NaN."""
    low, high = points_px.min(axis=-2), points_px.max(axis=-2)
    margin = BOX_MARGIN * (high - low)
    return np.concatenate([low - margin, high + margin], axis=-1)


def get_area(box_px: np.ndarray) -> np.ndarray:
    """Area (...,) of boxes (..., 4) in px²: seed 000 section 5, (x2 - x1)(y2 - y1)."""
    return (box_px[..., 2] - box_px[..., 0]) * (box_px[..., 3] - box_px[..., 1])


def compute_overlap(one_px: np.ndarray, other_px: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    width = min(one_px[2], other_px[2]) - max(one_px[0], other_px[0])
    height = min(one_px[3], other_px[3]) - max(one_px[1], other_px[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / (get_area(one_px) + get_area(other_px) - shared))
