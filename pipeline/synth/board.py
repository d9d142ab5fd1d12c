"""The checkerboard takes: one board that moves and rests before all cameras at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pipeline.results import Camera, Rig
from pipeline.synth.spec import CAMERAS, SynthSpec

COLUMNS, ROWS, SQUARE_MM = 9, 6, 25.0
"""Inner corners along and across, and the size of a square."""

N_RESTS = 16
REST_S, MOVE_S = 0.75, 0.7
_TEXTURE_PX_PER_MM = 4.0
_BORDER_MM = 1.5 * SQUARE_MM
_WHITE, _BLACK = 225.0, 28.0


@dataclass(frozen=True)
class BoardMotion:
    """Where the board is: rests joined by minimum-jerk moves.

    Attributes
    ----------
    R : ndarray (N, 3, 3)
        Rotations from the board to the world at the rests. Board: corner 0 at 0, +x along a row of
        corners, +y to the next row, z = 0.
    t_mm : ndarray (N, 3)
    start_s : ndarray (N,)
        Beginning of each rest by the reference clock of the takes.
    """

    R: np.ndarray
    t_mm: np.ndarray
    start_s: np.ndarray

    @property
    def seconds(self) -> float:
        """Length of the takes that show all rests to the reference camera."""
        return float(self.start_s[-1] + REST_S)

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray, int]:
        """Rotation, translation and number of the rest (-1 while moving) at a time."""
        last = len(self.start_s) - 1
        number = int(np.clip(np.searchsorted(self.start_s, time_s, side="right") - 1, 0, last))
        moved = (time_s - self.start_s[number] - REST_S) / MOVE_S
        if moved <= 0 or number == last:
            return self.R[number], self.t_mm[number], number
        u = min(moved, 1.0)
        share = u**3 * (10 - 15 * u + 6 * u**2)
        # OpenCV's, not roma's: the rendering processes do without torch, which takes seconds to load.
        rotvec, _ = cv2.Rodrigues(self.R[number].T @ self.R[number + 1])
        turn, _ = cv2.Rodrigues(rotvec * share)
        t = self.t_mm[number] + share * (self.t_mm[number + 1] - self.t_mm[number])
        return self.R[number] @ turn, t, -1

    def rests(self) -> list[dict[str, Any]]:
        """The rests for ``truth.json``."""
        return [
            {"start_s": float(start), "end_s": float(start) + REST_S, "R": R, "t_mm": t}
            for start, R, t in zip(self.start_s, self.R, self.t_mm, strict=True)
        ]


def board_points_mm() -> np.ndarray:
    """The inner corners (54, 3) in the board's frame, row by row."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    return np.stack([x.ravel(), y.ravel(), np.zeros(ROWS * COLUMNS)], axis=1) * SQUARE_MM


def make_board_motion(spec: SynthSpec, rig: Rig) -> BoardMotion:
    """Choose rests that all cameras see, and that fill their pictures and tilt the board well.

    Of many drawn poses the ones are taken, one after another, that show corners in most cells of the
    pictures' 6 by 4 grids that have none yet, and that tilt the board unlike those before.
    """
    random = spec.draw("board")
    candidates = [_draw_pose(random, rig) for _ in range(500)]
    views = [_see(rig, R, t) for R, t in candidates]
    candidates = [pose for pose, view in zip(candidates, views, strict=True) if view is not None]
    cells = np.array([view for view in views if view is not None])
    covered = np.zeros(cells.shape[1])
    chosen: list[int] = []
    for _ in range(N_RESTS):
        gain = (cells * np.maximum(1.0 - 0.45 * covered, 0.05)).sum(axis=1)
        gain += 6.0 * np.array([_novelty(candidates, chosen, i) for i in range(len(candidates))])
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        covered += cells[best]
    return BoardMotion(
        np.stack([candidates[i][0] for i in chosen]),
        np.stack([candidates[i][1] for i in chosen]),
        np.arange(N_RESTS) * (REST_S + MOVE_S),
    )


def _draw_pose(random: np.random.Generator, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """A board that faces the cameras' middle, tilted and turned at random, top edge upwards."""
    tilt = np.deg2rad(random.uniform([-32, -26, -22], [32, 26, 22]))
    R, _ = cv2.Rodrigues(tilt)
    depth = np.median([np.linalg.norm(camera.t_mm) for camera in rig.cameras.values()])
    centre = np.array([0, 0, 660.0]) + random.uniform([-170, -110, -150], [170, 110, 90])
    centre[2] = max(centre[2], 0.4 * depth)
    middle = np.array([(COLUMNS - 1) / 2, (ROWS - 1) / 2, 0]) * SQUARE_MM
    return R, centre - R @ middle


def _see(rig: Rig, R: np.ndarray, t_mm: np.ndarray) -> np.ndarray | None:
    """Cells (C * 24,) of the pictures that hold corners; None unless all see the board, upright."""
    ring = np.array([[-1, -1], [COLUMNS, -1], [COLUMNS, ROWS], [-1, ROWS]]) * SQUARE_MM
    ring3 = np.column_stack([ring, np.zeros(4)]) @ R.T + t_mm
    corners = board_points_mm() @ R.T + t_mm
    cells = []
    for name in CAMERAS:
        camera = rig.cameras[name]
        size = np.array(camera.size_px)
        outline, inner = camera.project(ring3), camera.project(corners)
        normal = camera.R @ R[:, 2]
        towards = camera.R @ corners.mean(axis=0) + camera.t_mm
        facing = normal @ towards / np.linalg.norm(towards)
        if facing < 0.42 or (outline < 2).any() or (outline > size - 3).any():
            return None
        # Upright in every picture: the top-right corner clearly above the bottom-left one.
        if inner[COLUMNS - 1, 1] > inner[-COLUMNS, 1] - 0.05 * size[1]:
            return None
        cell = np.minimum((inner / size * (6, 4)).astype(int), (5, 3))
        seen = np.zeros(24)
        seen[cell[:, 1] * 6 + cell[:, 0]] = 1
        cells.append(seen)
    return np.concatenate(cells)


def _novelty(poses: list[tuple[np.ndarray, np.ndarray]], chosen: list[int], index: int) -> float:
    """How unlike the chosen boards' directions this one's is, 0 to 1."""
    if not chosen:
        return 1.0
    normal = poses[index][0][:, 2]
    nearest = max(float(poses[i][0][:, 2] @ normal) for i in chosen)
    return min(np.degrees(np.arccos(np.clip(nearest, -1, 1))) / 20.0, 1.0)


class BoardPainter:
    """Draws the board into one camera's picture, true to its lens.

    Every pixel's undistorted ray is cut with the board's plane and looks its brightness up in a board
    drawn at 4 px a mm and blurred to the picture's resolution, so that corners lie where they should to
    a hundredth of a pixel.
    """

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        width, height = camera.size_px
        x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
        rays = camera.normalise(np.stack([x, y], axis=-1))
        self._rays = rays.astype(np.float32)
        self._texture, self._mask = _draw_board()
        self._cache: dict[tuple[float, float], np.ndarray] = {}

    def paint(self, image_bgr: np.ndarray, R: np.ndarray, t_mm: np.ndarray) -> None:
        """Draw the board at a pose (board to world) into the picture, in place."""
        camera = self._camera
        to_camera = camera.R @ R
        t = camera.R @ t_mm + camera.t_mm
        pixels = camera.project(_outline() @ R.T + t_mm)
        width, height = camera.size_px
        x0, y0 = np.clip(np.floor(pixels.min(axis=0)).astype(int) - 2, 0, (width, height))
        x1, y1 = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 3, 0, (width, height))
        if x1 <= x0 or y1 <= y0:
            return
        box = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
        # Ray (x, y, 1) meets the board where s (x, y, 1) = H (u, v, 1).
        back = np.linalg.inv(np.column_stack([to_camera[:, 0], to_camera[:, 1], t]))
        rays = self._rays[box]
        flat = cv2.perspectiveTransform(rays.reshape(-1, 1, 2), back).reshape(rays.shape)
        spots = ((flat + _BORDER_MM + SQUARE_MM) * _TEXTURE_PX_PER_MM - 0.5).astype(np.float32)
        texture = self._blurred(_measure_footprint(spots))
        grey = _look_up(texture, spots, cv2.BORDER_REPLICATE)
        alpha = _look_up(self._mask, spots, cv2.BORDER_CONSTANT)
        over = (alpha * grey)[..., None] + (1 - alpha[..., None]) * image_bgr[box]
        image_bgr[box] = np.round(over).astype(np.uint8)

    def _blurred(self, footprint: tuple[float, float]) -> np.ndarray:
        """The board as pixels that span ``footprint`` texture px along and across average it."""
        key = (round(2 * footprint[0]) / 2, round(2 * footprint[1]) / 2)
        if key not in self._cache:
            if len(self._cache) > 12:
                self._cache.clear()
            sigma = [max(0.5 * span, 0.3) for span in key]
            self._cache[key] = cv2.GaussianBlur(self._texture, (0, 0), sigma[0], sigmaY=sigma[1])
        return self._cache[key]


def _measure_footprint(spots: np.ndarray) -> tuple[float, float]:
    """Texture px along and across that one pixel spans in the middle of ``spots`` (H, W, 2)."""
    y, x = spots.shape[0] // 2, spots.shape[1] // 2
    steps = np.stack([spots[y, x] - spots[y, x - 1], spots[y, x] - spots[y - 1, x]])
    along, across = np.linalg.norm(steps, axis=0)
    return float(along), float(across)


def _look_up(picture: np.ndarray, spots: np.ndarray, border: int) -> np.ndarray:
    """Values of ``picture`` at ``spots`` (H, W, 2), linear between pixels."""
    x, y = np.ascontiguousarray(spots[..., 0]), np.ascontiguousarray(spots[..., 1])
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border))


def _outline() -> np.ndarray:
    """Points round the board's edge (N, 3) in its frame, mm."""
    low = -_BORDER_MM - SQUARE_MM
    right, bottom = (COLUMNS - 1) * SQUARE_MM - low, (ROWS - 1) * SQUARE_MM - low
    corners = np.array([[low, low], [right, low], [right, bottom], [low, bottom]])
    share = np.arange(8)[:, None] / 8
    edges = [a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    points = np.concatenate(edges)
    return np.column_stack([points, np.zeros(len(points))])


def _draw_board() -> tuple[np.ndarray, np.ndarray]:
    """The board (float32, grey levels) and its extent (1 inside), `_TEXTURE_PX_PER_MM` px a mm."""
    squares = np.indices((ROWS + 1, COLUMNS + 1)).sum(axis=0) % 2
    side = round(SQUARE_MM * _TEXTURE_PX_PER_MM)
    field = np.kron(np.where(squares == 0, _BLACK, _WHITE), np.ones((side, side)))
    edge = round(_BORDER_MM * _TEXTURE_PX_PER_MM)
    board = np.pad(field, edge, constant_values=_WHITE).astype(np.float32)
    mask = np.pad(np.ones_like(board)[1:-1, 1:-1], 1)
    return board, mask
