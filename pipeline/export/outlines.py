"""The outline of the fused hand in each picture, as the browser draws it: rings of points, frame by frame.

The posed surface is projected with the camera's lens, distortion included, filled at the size that the
mosaic shows, and its border traced. What cannot be seen of a hand outside the picture leaves no ring there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.results import Camera

_CHUNK = 64
"""Frames projected at once: enough for speed, few enough for memory."""

_MARGIN_PX = 8
"""Drawn around the picture, so that a hand that leaves it has no line along the picture's edge."""

_FINEST_PX = 0.6
"""Points of a ring are left out where the ring stays this near to the traced one."""

_SHIFT = 4  # OpenCV's fixed point: sixteenths of a pixel


def trace_outlines(
    vertices_mm: np.ndarray, faces: np.ndarray, camera: Camera, shown_px: tuple[int, int]
) -> Iterator[list[np.ndarray]]:
    """The rings of each frame.

    Parameters
    ----------
    vertices_mm : ndarray (T, V, 3)
        The posed surface in the world when the picture of each frame was taken. NaN = not measured, or no
        picture.
    faces : ndarray (F, 3) int
        Triangles, outward.
    camera : Camera
        Whose picture it is.
    shown_px : (width, height)
        Size of the picture in the mosaic.

    Yields
    ------
    list of ndarray (K, 2)
        Rings, outer ones and holes, in parts of the picture's width and height, (0, 0) its top-left corner.
        Empty where the surface is not known or a part of it lies behind the camera.
    """
    scale = np.array(shown_px) / np.array(camera.size_px)
    is_open = not is_closed(faces)
    for start in range(0, len(vertices_mm), _CHUNK):
        pixels = (camera.project(vertices_mm[start : start + _CHUNK]) + 0.5) * scale - 0.5
        for points in pixels:
            yield _trace(points, faces, is_open, shown_px) if np.isfinite(points).all() else []


def is_closed(faces: np.ndarray) -> bool:
    """Whether every edge of the triangles (F, 3) belongs to two of them."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return bool((counts == 2).all())


def _trace(
    points_px: np.ndarray, faces: np.ndarray, is_open: bool, size_px: tuple[int, int]
) -> list[np.ndarray]:
    import cv2  # here, since the web process imports this package and must not load OpenCV

    width, height = size_px
    # A point that is thrown far out by the lens would overflow the fixed point.
    near = np.clip(points_px + _MARGIN_PX, -4 * width, 5 * width)
    corners = np.round(near * (1 << _SHIFT)).astype(np.int32)[faces]
    if not is_open:
        # The near side of a closed surface covers the far side: half of the triangles are enough.
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        turn = first[:, 0].astype(np.int64) * second[:, 1] - first[:, 1].astype(np.int64) * second[:, 0]
        corners = corners[turn < 0]
    mask = np.zeros((height + 2 * _MARGIN_PX, width + 2 * _MARGIN_PX), np.uint8)
    for triangle in corners:
        cv2.fillConvexPoly(mask, triangle, 255, shift=_SHIFT)
    found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [cv2.approxPolyDP(ring, _FINEST_PX, True)[:, 0] for ring in found]
    return [(ring - _MARGIN_PX + 0.5) / np.array(size_px) for ring in rings if len(ring) > 2]
