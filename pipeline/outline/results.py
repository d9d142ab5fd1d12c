"""The masks of one hand in one camera, as they are kept: packed bits within the hand's box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from pipeline.files import read_npz, write_npz
from pipeline.hand.joints import Side
from pipeline.results import RunFolder

REASONS: tuple[str, ...] = (
    "",
    "hand not found",
    "camera or scene moved",
    "skin and background too alike",
    "hand never away",
    "another hand or arm beside",
    "mask does not lie on the points",
)
"""Why a mask is not wholly trusted; the first is: it is."""


@dataclass(frozen=True)
class Outline:
    """One hand's mask in one camera, frame by frame, without the forearm beyond the wrist.

    A cell covers ``step`` x ``step`` px. The centre of cell (row, column) of frame t lies at
    ``step * (corner[t] + (column, row)) + (step - 1) / 2`` full-image px.

    Attributes
    ----------
    time_s : ndarray (T,) float64
        As the view's track.
    size_px : (int, int)
        Width and height of the upright pictures.
    step : int
        Px of the picture a cell.
    corner : ndarray (T, 2) int32
        Column and row, in cells of the whole picture, of the mask's first cell.
    shape : ndarray (T, 2) int32
        Rows and columns; 0 where there is no mask.
    bits : tuple of ndarray uint8
        By frame, packed along the flattened mask (`numpy.packbits`).
    cut_px : ndarray (T, 3) float32
        (a, b, c): where ``a x + b y + c > 0`` (full-image px, a² + b² = 1) the arm begins; NaN = no mask.
    confidence : ndarray (T,) float32
        0 to 1; 0 where there is no mask.
    reason : ndarray (T,) uint8
        Number of the worst of `REASONS`.
    """

    time_s: np.ndarray
    size_px: tuple[int, int]
    step: int
    corner: np.ndarray
    shape: np.ndarray
    bits: tuple[np.ndarray, ...]
    cut_px: np.ndarray
    confidence: np.ndarray
    reason: np.ndarray

    def get_mask(self, frame: int) -> np.ndarray:
        """The mask (rows, columns) bool of a frame; (0, 0) where there is none."""
        rows, columns = (int(n) for n in self.shape[frame])
        return np.unpackbits(self.bits[frame], count=rows * columns).reshape(rows, columns).astype(bool)

    def to_px(self, frame: int, cells: np.ndarray) -> np.ndarray:
        """Full-image px (..., 2) of points (..., 2), column and row, of a frame's mask."""
        return self.step * (self.corner[frame] + cells) + (self.step - 1) / 2

    def describe_doubts(self) -> list[str]:
        """Each reason, with the share of frames in which it holds, the commonest first."""
        numbers, counts = np.unique(self.reason[self.reason > 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        total = max(len(self.reason), 1)
        return [f"{REASONS[numbers[at]]} ({counts[at] / total:.0%} of the frames)" for at in order]


def write_outlines(run: RunFolder, camera: str, outlines: dict[Side, Outline]) -> None:
    """Write ``outlines/<camera>.npz``: names with ``right_`` or ``left_`` before them."""
    arrays: dict[str, np.ndarray] = {"sides": np.array(list(outlines), dtype="U5")}
    for side, outline in outlines.items():
        lengths = [len(part) for part in outline.bits]
        fields: dict[str, np.ndarray] = {
            "time_s": outline.time_s.astype(np.float64),
            "size_px": np.array(outline.size_px, dtype=np.int64),
            "step": np.array(outline.step, dtype=np.int64),
            "corner": outline.corner.astype(np.int32),
            "shape": outline.shape.astype(np.int32),
            "bits": np.concatenate([np.zeros(0, np.uint8), *outline.bits]),
            "length": np.array(lengths, dtype=np.int32),
            "cut_px": outline.cut_px.astype(np.float32),
            "confidence": outline.confidence.astype(np.float32),
            "reason": outline.reason.astype(np.uint8),
        }
        arrays |= {f"{side}_{name}": value for name, value in fields.items()}
    write_npz(run.outline_npz(camera), **arrays)


def read_outlines(run: RunFolder, camera: str) -> dict[Side, Outline]:
    """Read ``outlines/<camera>.npz``."""
    arrays = read_npz(run.outline_npz(camera))
    outlines: dict[Side, Outline] = {}
    for name in arrays["sides"]:
        side = cast(Side, str(name))
        ends = np.cumsum(arrays[f"{side}_length"])[:-1]
        size = arrays[f"{side}_size_px"]
        outlines[side] = Outline(
            size_px=(int(size[0]), int(size[1])),
            step=int(arrays[f"{side}_step"]),
            bits=tuple(np.split(arrays[f"{side}_bits"], ends)),
            time_s=arrays[f"{side}_time_s"],
            corner=arrays[f"{side}_corner"],
            shape=arrays[f"{side}_shape"],
            cut_px=arrays[f"{side}_cut_px"],
            confidence=arrays[f"{side}_confidence"],
            reason=arrays[f"{side}_reason"],
        )
    return outlines
