"""Drawing the hand and its keyboard fast: polygons by OpenCV, shading per pixel by numpy.

The hand's triangles are drawn as numbers, far ones first; every pixel then takes the brightness that
its triangle interpolates between its corners (Gouraud), and a colour by brightness. Only the hand's box
is drawn, over a background that stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.results import Camera
from pipeline.synth.rig import Stage
from pipeline.synth.spec import SynthSpec

_SHIFT = 4
LENS_SIGMA = 0.6
"""Blur of the lens in px (Gaussian)."""

NOISE_SIGMA = 2.2
"""Sensor noise, standard deviation in grey levels at 8 bits."""

_N_TILES = 6


@dataclass(frozen=True)
class Mesh:
    """What is drawn as the hand: its triangles and how their corners take the light.

    Attributes
    ----------
    faces : ndarray (F, 3)
    albedo : ndarray (V,)
        Brightness of the skin, about 1.
    material : ndarray (F,) uint8
        Row of ``colours``.
    colours : ndarray (M, 256, 3) uint8
        BGR by brightness.
    """

    faces: np.ndarray
    albedo: np.ndarray
    material: np.ndarray
    colours: np.ndarray


def make_colours(base_bgr: np.ndarray) -> np.ndarray:
    """BGR (256, 3) uint8 by brightness: dark skin tones turn redder, bright ones paler."""
    level = np.arange(256)[:, None] / 200.0
    tint = np.array([1.15, 1.06, 0.94])
    colours = base_bgr * level ** np.where(level < 1, tint, 1.0)
    return np.clip(colours, 0, 255).astype(np.uint8)


def shade(mesh: Mesh, vertices_mm: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Brightness (V,) of a posed mesh (V, 3) under a lamp in direction ``light`` (3,), 0 to 255."""
    a, b, c = (vertices_mm[mesh.faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    normal = np.empty_like(vertices_mm)
    corner = mesh.faces.ravel()
    for axis in range(3):
        normal[:, axis] = np.bincount(corner, np.repeat(flat[:, axis], 3), minlength=len(vertices_mm))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    lit = 0.42 + 0.58 * np.clip(normal @ light, 0, 1) + 0.10 * (normal @ light)
    return np.clip(200 * lit * mesh.albedo, 8, 250)


def draw_mesh(
    image_bgr: np.ndarray, mesh: Mesh, pixels: np.ndarray, depth: np.ndarray, brightness: np.ndarray
) -> tuple[slice, slice] | None:
    """Draw a mesh into ``image_bgr`` in place.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        Drawn into.
    mesh : Mesh
        Triangles, skin and colours.
    pixels : ndarray (V, 2)
        Projected corners, px.
    depth : ndarray (V,)
        Distance along the optical axis; nearer triangles are drawn later.
    brightness : ndarray (V,)
        From `shade`.

    Returns
    -------
    (slice, slice) or None
        Rows and columns that were drawn into; None if the mesh is out of the picture.
    """
    height, width = image_bgr.shape[:2]
    low = np.floor(pixels.min(axis=0)).astype(int) - 2
    high = np.ceil(pixels.max(axis=0)).astype(int) + 3
    x0, y0 = np.maximum(low, 0)
    x1, y1 = min(high[0], width), min(high[1], height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    corners = pixels[mesh.faces]
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    # Outward triangles run anticlockwise seen from outside; y down turns that round.
    seen = np.flatnonzero(area < 0)
    seen = seen[np.argsort(-depth[mesh.faces[seen]].mean(axis=1), kind="stable")]
    numbers = np.zeros((y1 - y0, x1 - x0), dtype=np.int32)
    fixed = np.round((corners[seen] - (x0, y0)) * (1 << _SHIFT)).astype(np.int32)
    for number, triangle in zip((seen + 1).tolist(), fixed, strict=True):
        cv2.fillConvexPoly(numbers, triangle, number, cv2.LINE_8, _SHIFT)
    rows, columns = np.nonzero(numbers)
    drawn = numbers[rows, columns] - 1
    value = _interpolate(mesh, corners, area, brightness, drawn, columns + x0, rows + y0)
    box = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
    image_bgr[box][rows, columns] = mesh.colours[mesh.material[drawn], value]
    return box


def _interpolate(
    mesh: Mesh,
    corners: np.ndarray,
    area: np.ndarray,
    brightness: np.ndarray,
    drawn: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Brightness (P,) uint8 of pixels within their triangles ``drawn`` (P,), linear between corners."""
    value = brightness[mesh.faces]
    safe = np.where(np.abs(area) < 1e-6, 1e-6, area)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    rise1, rise2 = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    slope_x = (rise1 * edge2[:, 1] - rise2 * edge1[:, 1]) / safe
    slope_y = (rise2 * edge1[:, 0] - rise1 * edge2[:, 0]) / safe
    start = value[:, 0] - slope_x * corners[:, 0, 0] - slope_y * corners[:, 0, 1]
    plane = np.stack([slope_x, slope_y, start, value.min(axis=1), value.max(axis=1)], 1).astype(np.float32)
    at = plane[drawn]
    level = at[:, 0] * x + at[:, 1] * y + at[:, 2]
    return np.clip(level, at[:, 3], at[:, 4]).astype(np.uint8)


def cast_shadow(image_bgr: np.ndarray, pixels: np.ndarray, scale: float) -> tuple[slice, slice] | None:
    """Darken, softly and in place, where the points ``pixels`` (V, 2) of the hand's shadow fall.

    ``scale`` is the picture's height over 720: how coarse the shadow is.
    """
    height, width = image_bgr.shape[:2]
    margin = int(24 * scale) + 4
    x0, y0 = np.clip(np.floor(pixels.min(axis=0)).astype(int) - margin, 0, (width, height))
    x1, y1 = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + margin, 0, (width, height))
    if x1 - x0 < 16 or y1 - y0 < 16:
        return None
    step = max(2, round(6 * scale))
    small = np.zeros(((y1 - y0) // step + 1, (x1 - x0) // step + 1), dtype=np.uint8)
    cells = ((pixels - (x0, y0)) / step).astype(int)
    inside = ((cells >= 0) & (cells < (small.shape[1], small.shape[0]))).all(axis=1)
    small[cells[inside, 1], cells[inside, 0]] = 255
    small = cv2.dilate(small, np.ones((3, 3), np.uint8))
    small = cv2.GaussianBlur(small, (5, 5), 1.2)
    shade_ = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    keep = cv2.LUT(shade_, (255 - 0.45 * np.arange(256)).astype(np.uint8))
    box = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
    image_bgr[box] = cv2.multiply(image_bgr[box], cv2.merge([keep, keep, keep]), scale=1 / 255)
    return box


def soften(image_bgr: np.ndarray, box: tuple[slice, slice]) -> None:
    """Blur a box of the picture as the lens does, in place; smooths the edges of polygons as well."""
    image_bgr[box] = cv2.GaussianBlur(image_bgr[box], (5, 5), LENS_SIGMA)


class Noise:
    """Sensor noise from a bank of tiles: each frame takes one of them, shifted by its own amount."""

    def __init__(self, spec: SynthSpec, camera: str) -> None:
        width, height = spec.size_px
        random = spec.draw("noise", camera)
        self._seed = spec, camera
        self._size = (height, width)
        self._tiles = []
        for _ in range(_N_TILES):
            grey = random.standard_normal((height + 64, width + 64), dtype=np.float32) * NOISE_SIGMA
            grain = cv2.GaussianBlur(grey, (3, 3), 0.5)
            up, down = np.clip(np.round(grain), 0, 255), np.clip(np.round(-grain), 0, 255)
            self._tiles.append((up.astype(np.uint8), down.astype(np.uint8)))

    def add(self, image_bgr: np.ndarray, index: int) -> np.ndarray:
        """The picture with the noise of frame ``index``."""
        spec, camera = self._seed
        tile, x, y = spec.draw("noise", camera, index).integers([_N_TILES, 64, 64])
        height, width = self._size
        up, down = (cv2.cvtColor(part[y : y + height, x : x + width], cv2.COLOR_GRAY2BGR)
                    for part in self._tiles[tile])  # fmt: skip
        return cv2.subtract(cv2.add(image_bgr, up), down)


# --- the keyboard ----------------------------------------------------------------------------------

KEY_MM = 23.5
_KEY_FRONT, _KEY_BACK = -52.0, 98.0
_BLACK_AFTER = (0, 1, 3, 4, 5)
_N_KEYS = 36


class Keyboard:
    """The keyboard as one camera sees it: a picture of it at rest, and keys that go down."""

    def __init__(self, spec: SynthSpec, stage: Stage, camera: Camera) -> None:
        self._stage, self._camera = stage, camera
        random = spec.draw("keyboard")
        self._light = random.uniform(0.85, 1.05)
        look = spec.draw("look", camera.name)
        self._balance = np.clip(look.normal(1.0, 0.015, 3), 0.95, 1.05) * look.uniform(0.88, 1.06)
        wood = np.array([40, 55, 80]) * random.uniform(0.5, 1.6)
        image = np.zeros((camera.size_px[1], camera.size_px[0], 3), np.uint8)
        image[:] = self._tone(np.array([92, 98, 104]) * random.uniform(0.6, 1.3))
        self._clutter(image, random, -420, (-700, -160), (60, 220), (25, 130))
        self._plane(image, (-450, 450), (-75, -54), -2, wood)
        self._plane(image, (-450, 450), (_KEY_BACK, _KEY_BACK + 6), 4, np.array([30, 25, 120]))
        self._plane(image, (-450, 450), (_KEY_BACK + 6, 300), 45, wood * 0.6)
        self._clutter(image, random, 46, (150, 260), (15, 70), (90, 200))
        self._box_front(image, (-450, 450), _KEY_BACK + 6, (0, 45), wood * 0.4)
        for key in range(-_N_KEYS // 2, _N_KEYS // 2):
            self._white(image, key, 0.0)
        for key in range(-_N_KEYS // 2, _N_KEYS // 2):
            self._black(image, key)
        self.picture = self._light_up(cv2.GaussianBlur(image, (5, 5), LENS_SIGMA), look)

    def press(self, image_bgr: np.ndarray, key: int, down_mm: float) -> None:
        """Draw key ``key`` pressed by ``down_mm``, in place."""
        self._white(image_bgr, key, down_mm)
        for neighbour in (key - 1, key):
            self._black(image_bgr, neighbour)

    def _tone(self, bgr: np.ndarray) -> list[float]:
        return np.clip(np.asarray(bgr) * self._balance * self._light, 0, 255).tolist()

    def _clutter(
        self,
        image: np.ndarray,
        random: np.random.Generator,
        z: float,
        y: tuple[float, float],
        size_mm: tuple[float, float],
        grey: tuple[float, float],
    ) -> None:
        """Things that lie about, the same for all cameras: so that not everything but the keys is plain."""
        for _ in range(7):
            centre = np.array([random.uniform(-500, 500), random.uniform(*y)])
            a, b = random.uniform(*size_mm, 2) / 2
            turn = random.uniform(0, np.pi)
            axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            corners = centre + np.array([[-a, -b], [a, -b], [a, b], [-a, b]]) @ axes
            colour = random.uniform(*grey) * random.uniform(0.8, 1.2, 3)
            self._fill(image, np.column_stack([corners, np.full(4, z)]), colour)

    def _white(self, image: np.ndarray, key: int, down_mm: float) -> None:
        left, right = key * KEY_MM + 0.5, (key + 1) * KEY_MM - 0.5
        # A key turns about a far axis: its back end hardly moves.
        top = np.array(
            [[left, _KEY_FRONT, -down_mm], [right, _KEY_FRONT, -down_mm], [right, _KEY_BACK, -0.25 * down_mm],
             [left, _KEY_BACK, -0.25 * down_mm]]
        )  # fmt: skip
        gap = np.array([[left - 1, _KEY_FRONT - 1], [right + 1, _KEY_FRONT - 1], [right + 1, _KEY_BACK],
                        [left - 1, _KEY_BACK]])  # fmt: skip
        self._fill(image, np.column_stack([gap, np.full(4, -down_mm)]), np.array([52, 55, 58]))
        face = np.array([[left, _KEY_FRONT, -down_mm], [right, _KEY_FRONT, -down_mm],
                         [right, _KEY_FRONT, -18], [left, _KEY_FRONT, -18]])  # fmt: skip
        self._fill(image, face, np.array([150, 160, 165]))
        self._fill(image, top, np.array([212, 222, 226]) * (1 - 0.012 * down_mm))

    def _black(self, image: np.ndarray, key: int) -> None:
        if key % 7 not in _BLACK_AFTER:
            return
        x, half, front = (key + 1) * KEY_MM, 5.0, _KEY_FRONT + 50.0
        for sign in (-1, 1):
            low, high = x + sign * (half + 1), x + sign * half
            side = np.array([[low, front, 0], [high, front + 3, 11], [high, _KEY_BACK, 11],
                             [low, _KEY_BACK, 0]])  # fmt: skip
            self._fill(image, side, np.array([34, 32, 32]))
        face = np.array([[x - half - 1, front, 0], [x + half + 1, front, 0], [x + half, front + 3, 11],
                         [x - half, front + 3, 11]])  # fmt: skip
        self._fill(image, face, np.array([60, 58, 56]))
        top = np.array([[x - half, front + 3, 11], [x + half, front + 3, 11], [x + half, _KEY_BACK, 11],
                        [x - half, _KEY_BACK, 11]])  # fmt: skip
        self._fill(image, top, np.array([44, 42, 42]))

    def _plane(
        self, image: np.ndarray, x: tuple[float, float], y: tuple[float, float], z: float, bgr: np.ndarray
    ) -> None:
        corners = np.array([[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]])
        self._fill(image, corners, bgr)

    def _box_front(
        self, image: np.ndarray, x: tuple[float, float], y: float, z: tuple[float, float], bgr: np.ndarray
    ) -> None:
        corners = np.array([[x[0], y, z[0]], [x[1], y, z[0]], [x[1], y, z[1]], [x[0], y, z[1]]])
        self._fill(image, corners, bgr)

    def _fill(self, image: np.ndarray, corners_mm: np.ndarray, bgr: np.ndarray) -> None:
        """Fill a polygon (N, 3) of the piano's frame; its edges follow the lens's distortion."""
        share = np.arange(4)[:, None] / 4
        edges = [
            a + share * (b - a) for a, b in zip(corners_mm, np.roll(corners_mm, -1, axis=0), strict=True)
        ]
        pixels = self._camera.project(self._stage.to_world_mm(np.concatenate(edges)))
        if np.isfinite(pixels).all() and np.abs(pixels).max() < 2e4:
            fixed = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(image, [fixed], self._tone(bgr), cv2.LINE_AA, _SHIFT)

    def _light_up(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A lamp that is not everywhere the same."""
        height, width = image.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        cx, cy = random.uniform(0.3, 0.7, 2) * (width, height)
        away = np.hypot(x - cx, y - cy) / np.hypot(width, height)
        return np.clip(image * (1.03 - 0.35 * away**2)[..., None], 0, 255).astype(np.uint8)
