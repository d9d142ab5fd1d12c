"""Triangles to pixels: which triangle a pixel shows, and where in it.

Far triangles are drawn first as numbers by OpenCV: a picture of a hand takes milliseconds on one core.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SHIFT = 4


@dataclass(frozen=True)
class Fragments:
    """The pixels that show a mesh.

    Attributes
    ----------
    rows, columns : ndarray (P,) int
        Where they lie.
    corners : ndarray (P, 3) int
        The vertices of each one's triangle.
    shares : ndarray (P, 3) float32
        How near it lies to each of them; they add up to 1.
    """

    rows: np.ndarray
    columns: np.ndarray
    corners: np.ndarray
    shares: np.ndarray

    def blend(self, values: np.ndarray) -> np.ndarray:
        """Values (V, C) of vertices at the pixels, (P, C)."""
        return np.einsum("pk,pkc->pc", self.shares, values[self.corners])


def rasterise(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, size_px: int, clockwise: bool = False
) -> Fragments:
    """What a square picture shows of a mesh.

    Parameters
    ----------
    pixels : ndarray (V, 2)
        Projected vertices.
    depth : ndarray (V,)
        Distance along the optical axis.
    faces : ndarray (F, 3)
        Triangles, outward; those seen from behind are left out.
    size_px : int
        Side of the picture.
    clockwise : bool
        Outward triangles run clockwise, as those of a mirrored mesh do.
    """
    corners = pixels[faces].astype(np.float32)
    area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inside = (corners.max(axis=1) > 0).all(axis=1) & (corners.min(axis=1) < size_px).all(axis=1)
    seen = np.flatnonzero(((area > 0) if clockwise else (area < 0)) & inside)
    seen = seen[np.argsort(-depth[faces[seen]].mean(axis=1), kind="stable")]
    numbers = np.full((size_px, size_px), -1, dtype=np.int32)
    fixed = np.round(np.clip(corners[seen], -8 * size_px, 8 * size_px) * (1 << _SHIFT)).astype(np.int32)
    for number, triangle in zip(seen.tolist(), fixed, strict=True):
        cv2.fillConvexPoly(numbers, triangle, number, cv2.LINE_8, _SHIFT)
    rows, columns = np.nonzero(numbers >= 0)
    shown = numbers[rows, columns]
    return Fragments(rows, columns, faces[shown], _find_shares(corners, area, shown, columns, rows))


def _find_shares(
    corners: np.ndarray, area: np.ndarray, shown: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    place = np.stack([columns, rows], axis=1).astype(np.float32)
    a, b, c = (corners[shown, k] for k in range(3))
    whole = area[shown]
    first = _cross(b - place, c - place) / whole
    second = _cross(c - place, a - place) / whole
    shares = np.clip(np.stack([first, second, 1 - first - second], axis=1), 0, 1)
    return shares / shares.sum(axis=1, keepdims=True)


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]


def find_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of vertices (V, 3), outward where the triangles are."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    normal = np.empty_like(vertices)
    corner = faces.ravel()
    for axis in range(3):
        normal[:, axis] = np.bincount(corner, np.repeat(flat[:, axis], 3), minlength=len(vertices))
    return normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)


def cast_shadows(vertices: np.ndarray, faces: np.ndarray, light: np.ndarray, points: np.ndarray,
                 cells: int = 160, bias: float = 4.0) -> np.ndarray:  # fmt: skip
    """How far points (P, 3) lie in the mesh's own shadow, 0 (lit) to 1, with soft edges.

    ``light`` (3,) is the unit direction to the lamp; within ``bias`` mm of depth nothing shades itself.
    """
    across = np.cross(light, [0.0, 1.0, 0.0] if abs(light[1]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    frame = np.stack([across, np.cross(light, across), light])
    turned = vertices @ frame.T
    low, high = turned[:, :2].min(axis=0), turned[:, :2].max(axis=0)
    scale = (cells - 1) / max(float((high - low).max()), 1e-6)
    corners = ((turned[faces][..., :2] - low) * scale * (1 << _SHIFT)).round().astype(np.int32)
    height = turned[faces][..., 2].mean(axis=1)
    nearest = np.full((cells, cells), -1e9, dtype=np.float32)
    order = np.argsort(height, kind="stable")
    for level, triangle in zip(height[order].tolist(), corners[order], strict=True):
        cv2.fillConvexPoly(nearest, triangle, level, cv2.LINE_8, _SHIFT)
    local = points @ frame.T
    place = ((local[:, :2] - low) * scale).astype(np.float32)
    behind = np.zeros(len(points), np.float32)
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)):
        x, y = (np.clip(np.round(place[:, k] + d), 0, cells - 1).astype(int) for k, d in ((0, dx), (1, dy)))
        behind += nearest[y, x] > local[:, 2] + bias
    return behind / 5
