"""The door of the outline: a camera's video and its track in, the hand's masks out.

Two readings of the video, both without a network: one picks the moments that the background and the colours
are learned from, the other makes the masks. Memory holds `pipeline.outline.background.MOMENTS` small pictures
and one frame.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.hand.joints import Side
from pipeline.outline.background import MOMENTS, Scene, compare_to_scene, learn_scene, measure_light
from pipeline.outline.mask import find_mask
from pipeline.outline.regions import fill_arm, fill_hull, get_size
from pipeline.outline.results import REASONS, Outline
from pipeline.progress import Reporter
from pipeline.results import ViewTrack
from pipeline.video import Frame, read_frames

CELLS = 140
"""A hand is worked about so many cells long; pictures are reduced to that by whole steps."""

_ROUND = 0.5
"""Share of its points' box by which a hand is searched for beyond it: a finger that the network misses may
stick out of them by half the hand."""

_SPARSE = 3
"""Of so many rows and columns one tells of light and changes."""

_CHANGED = 4.0
"""Cells this many times their noise from the scene have changed."""


class _Grid:
    """The cells of the pictures, and the part of them in which a hand ever is."""

    def __init__(self, tracks: dict[Side, ViewTrack]) -> None:
        points = np.stack([np.asarray(track.keypoints_px, dtype=float) for track in tracks.values()], axis=1)
        whole = np.isfinite(points).all(axis=(2, 3))
        sizes = [get_size(hand) for hand in points[whole]]
        self.size_px = next(iter(tracks.values())).size_px
        self.step = max(round(float(np.median(sizes)) / CELLS), 1) if sizes else 1
        self.points = np.where(whole[..., None, None], (points - (self.step - 1) / 2) / self.step, np.nan)
        self.shape = (self.size_px[1] // self.step, self.size_px[0] // self.step)
        self.boxes = np.zeros((*whole.shape, 4), dtype=int)  # x0 y0 x1 y1 in cells, empty where no hand is
        for frame, hand in zip(*np.nonzero(whole), strict=True):
            self.boxes[frame, hand] = self._widen(self.points[frame, hand])
        used = self.boxes[whole]
        self.part = (*used[:, :2].min(axis=0), *used[:, 2:].max(axis=0)) if len(used) else (0, 0, 0, 0)
        self.whole = whole

    def _widen(self, points: np.ndarray) -> np.ndarray:
        margin = _ROUND * get_size(points)
        low = np.floor(points.min(axis=0) - margin).astype(int)
        high = np.ceil(points.max(axis=0) + margin).astype(int) + 1
        most = np.array(self.shape[::-1])
        return np.concatenate([low.clip(0, most), high.clip(0, most)])

    def reduce(self, image: np.ndarray) -> np.ndarray:
        """The part of a picture (H, W, 3), in cells."""
        x0, y0, x1, y1 = (int(n) * self.step for n in self.part)
        part = image[y0:y1, x0:x1]
        if self.step == 1:
            return part
        size = (part.shape[1] // self.step, part.shape[0] // self.step)
        return cv2.resize(part, size, interpolation=cv2.INTER_AREA)

    def cut_out(self, box: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of a box within the part."""
        x0, y0 = self.part[:2]
        return slice(int(box[1] - y0), int(box[3] - y0)), slice(int(box[0] - x0), int(box[2] - x0))


class _Drawer:
    """The masks of one hand, frame by frame."""

    def __init__(self, n_frames: int) -> None:
        self.corner = np.zeros((n_frames, 2), np.int32)
        self.shape = np.zeros((n_frames, 2), np.int32)
        self.bits = [np.zeros(0, np.uint8)] * n_frames
        self.cut_px = np.full((n_frames, 3), np.nan, np.float32)
        self.confidence = np.zeros(n_frames, np.float32)
        self.reason = np.full(n_frames, REASONS.index("hand not found"), np.uint8)

    def draw(
        self,
        grid: _Grid,
        scene: Scene,
        picture: np.ndarray,
        frame: int,
        hand: int,
        gain: np.ndarray,
        moved: float,
    ) -> None:
        """Find and keep the mask of a frame."""
        box = grid.boxes[frame, hand]
        where = grid.cut_out(box)
        mask = find_mask(scene.take(*where), picture[where], grid.points[frame, hand] - box[:2], gain, moved)
        self.confidence[frame], self.reason[frame] = mask.confidence, mask.reason
        rows, columns = np.nonzero(mask.cells)
        if not len(rows):
            return
        y, x = int(rows.min()), int(columns.min())
        tight = mask.cells[y : int(rows.max()) + 1, x : int(columns.max()) + 1]
        self.corner[frame] = box[0] + x, box[1] + y
        self.shape[frame] = tight.shape
        self.bits[frame] = np.packbits(tight)
        a, b, c = mask.cut
        at_px = (grid.step - 1) / 2 + grid.step * box[:2]
        self.cut_px[frame] = a, b, c * grid.step - a * at_px[0] - b * at_px[1]


def trace_outlines(path: Path, tracks: dict[Side, ViewTrack], report: Reporter) -> dict[Side, Outline]:
    """The masks of the hand or hands in a camera's video.

    Parameters
    ----------
    path : Path
        The camera's video.
    tracks : dict of ViewTrack
        What the pose stage found in it, by side.
    report : Reporter
        Hears of progress; hears a warning where most masks cannot be trusted.

    Returns
    -------
    dict of Outline
        By side. Where a mask cannot be trusted its confidence is low and its reason says why.

    Raises
    ------
    VideoError
        The video cannot be decoded.
    """
    grid = _Grid(tracks)
    n_frames = len(grid.whole)
    drawers = [_Drawer(n_frames) for _ in tracks]
    if grid.whole.any():
        scene = _learn(path, grid, report.part(0.0, 0.45))
        drawing = report.part(0.45, 1.0)
        for frame in read_frames(path):
            drawing.update(frame.index / n_frames, "Drawing the hand's outline")
            _draw(grid, scene, frame, drawers)
    outlines = {
        side: Outline(
            time_s=track.time_s,
            size_px=track.size_px,
            step=grid.step,
            corner=drawer.corner,
            shape=drawer.shape,
            bits=tuple(drawer.bits),
            cut_px=drawer.cut_px,
            confidence=drawer.confidence,
            reason=drawer.reason,
        )
        for (side, track), drawer in zip(tracks.items(), drawers, strict=True)
    }
    report.update(1.0)
    return outlines


def _learn(path: Path, grid: _Grid, report: Reporter) -> Scene:
    """The scene from moments spread over the frames in which a hand is."""
    there = np.flatnonzero(grid.whole.any(axis=1))
    chosen = set(there[np.unique(np.linspace(0, len(there) - 1, MOMENTS).round().astype(int))].tolist())
    pictures, points = [], []
    for frame in read_frames(path, 0, max(chosen) + 1):
        report.update(frame.index / len(grid.whole), "Learning what is behind the hand")
        if frame.index in chosen:
            pictures.append(grid.reduce(frame.image).copy())
            points.append(grid.points[frame.index] - np.array(grid.part[:2]))
    return learn_scene(np.stack(pictures), np.stack(points))


def _draw(grid: _Grid, scene: Scene, frame: Frame, drawers: list[_Drawer]) -> None:
    hands = np.flatnonzero(grid.whole[frame.index])
    if not len(hands):
        return
    picture = grid.reduce(frame.image)
    gain, moved = _look_round(grid, scene, picture, grid.points[frame.index, hands] - np.array(grid.part[:2]))
    for hand in hands:
        drawers[hand].draw(grid, scene, picture, frame.index, int(hand), gain, moved)


def _look_round(
    grid: _Grid, scene: Scene, picture: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, float]:
    """The light (3,), and which share of the scene has changed where no hand is; every few cells tell."""
    few = slice(None, None, _SPARSE)
    thin, seen = scene.take(few, few), picture[few, few]
    shape = seen.shape[0], seen.shape[1]
    clear = np.ones(shape, bool)
    for hand in points / _SPARSE:
        size = get_size(hand)
        clear &= (fill_arm(shape, hand, size) == 0) & (fill_hull(shape, hand, _ROUND * size) == 0)
    gain = measure_light(thin, seen, clear)
    _, apart = compare_to_scene(thin, seen, gain)
    clear &= thin.known
    return gain, float((apart[clear] > _CHANGED).mean()) if clear.sum() > 50 else 0.0
