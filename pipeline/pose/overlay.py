"""The hand drawn over a picture: points, bones and box."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.hand.joints import BONES, Side

SIDE_COLOURS_BGR: dict[Side, tuple[int, int, int]] = {"right": (180, 119, 31), "left": (14, 127, 255)}
"""Blue for right, orange for left: told apart with any colour vision."""

_SURE_BGR, _UNSURE_BGR = np.array([119.0, 158, 27]), np.array([0.0, 0, 139])
_SUBPIXEL_BITS = 4


def draw_hand(
    image_bgr: np.ndarray,
    keypoints_px: np.ndarray,
    sigma_px: np.ndarray,
    box_px: np.ndarray,
    side: Side,
    box_state: str = "detected",
) -> None:
    """Draw one hand into a picture (H, W, 3) uint8 BGR, in place.

    Bones and box have the side's colour and the side's letter stands at the box; a box that was not
    detected is drawn thin. Points go from green to dark red as sigma goes from 0 to a tenth of the box's
    size.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        Changed in place.
    keypoints_px : ndarray (21, 2)
        NaN points and their bones are left out.
    sigma_px : ndarray (21,)
        NaN = unknown, drawn as unsure.
    box_px : ndarray (4,)
        NaN = no box drawn.
    side : "right" | "left"
        Whose hand it is.
    box_state : str
        One of `pipeline.results.BOX_STATES`.
    """
    height, width = image_bgr.shape[:2]
    unit = max(round(max(height, width) / 640), 1)
    colour = SIDE_COLOURS_BGR[side]
    size = 0.1 * max(width, height)
    if np.isfinite(box_px).all():
        low, high = _round(box_px[:2]), _round(box_px[2:])
        thickness = 2 * unit if box_state == "detected" else unit
        cv2.rectangle(image_bgr, low, high, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        corner = (int(box_px[0]), int(box_px[1]) - 3 * unit)
        letter, font = side[0].upper(), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(image_bgr, letter, corner, font, 0.6 * unit, colour, unit, cv2.LINE_AA)
        size = float(max(box_px[2] - box_px[0], box_px[3] - box_px[1]))
    seen = np.isfinite(keypoints_px).all(axis=1)
    for parent, child in BONES:
        if seen[parent] and seen[child]:
            ends = _round(keypoints_px[parent]), _round(keypoints_px[child])
            cv2.line(image_bgr, *ends, colour, unit, cv2.LINE_AA, _SUBPIXEL_BITS)
    doubt = np.clip(np.nan_to_num(sigma_px / (0.1 * size), nan=1.0), 0, 1)
    for joint in np.flatnonzero(seen):
        shade = (1 - doubt[joint]) * _SURE_BGR + doubt[joint] * _UNSURE_BGR
        radius = 2 * unit << _SUBPIXEL_BITS
        centre = _round(keypoints_px[joint])
        cv2.circle(image_bgr, centre, radius, shade.tolist(), -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _round(point_px: np.ndarray) -> tuple[int, int]:
    x, y = np.round(np.asarray(point_px, dtype=float) * (1 << _SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)
