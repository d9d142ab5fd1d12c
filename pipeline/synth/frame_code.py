"""The frame code: the number of a made video's frame, drawn into its top-left corner.

A strip of `N_CELLS` black and white cells in the top-left corner. Cell ``i`` covers, in shares of the
picture, x from ``i * CELL_WIDTH`` to ``(i + 1) * CELL_WIDTH`` and y from 0 to ``CELL_HEIGHT``. In order:
black, white (guards), 16 bits of the frame number, highest first (white = 1), 4 bits of checksum, highest
first, white, black (guards). The checksum is the sum of the number's four nibbles plus 5, modulo 16.

To read it from a browser's canvas: take the mean brightness of the middle half of each cell; the
threshold lies half-way between the guards; refuse if the guards differ by less than 60 or the checksum
does not fit.
"""

from __future__ import annotations

import numpy as np

CELL_WIDTH = 1 / 80
"""Width of a cell as a share of the picture's width: 8 px at 640."""

CELL_HEIGHT = 1 / 30
"""Height of a cell as a share of the picture's height: 12 px at 360."""

N_BITS = 16
N_CHECK = 4
N_CELLS = 2 + N_BITS + N_CHECK + 2
CHECK_START = 5
MIN_CONTRAST = 60.0


def encode_frame_code(index: int) -> np.ndarray:
    """The cells (24,) uint8, 1 = white, of a frame number (modulo 65536)."""
    index %= 1 << N_BITS
    bits = [(index >> shift) & 1 for shift in reversed(range(N_BITS))]
    check = [(_checksum(index) >> shift) & 1 for shift in reversed(range(N_CHECK))]
    return np.array([0, 1, *bits, *check, 1, 0], dtype=np.uint8)


def draw_frame_code(image_bgr: np.ndarray, index: int) -> None:
    """Draw the code of frame ``index`` into ``image_bgr`` (H, W, 3) uint8, in place."""
    height, width = image_bgr.shape[:2]
    edges = np.round(np.arange(N_CELLS + 1) * CELL_WIDTH * width).astype(int)
    row = np.repeat(encode_frame_code(index) * np.uint8(235), np.diff(edges))
    image_bgr[: round(CELL_HEIGHT * height), : len(row)] = row[None, :, None]


def read_frame_code(image_bgr: np.ndarray) -> int | None:
    """The frame number in a picture (H, W, 3) or (H, W) of any size; None where no valid code stands."""
    height, width = image_bgr.shape[:2]
    y0, y1 = _middle(0.0, CELL_HEIGHT * height)
    spans = [_middle(i * CELL_WIDTH * width, (i + 1) * CELL_WIDTH * width) for i in range(N_CELLS)]
    cells = np.array([image_bgr[y0:y1, x0:x1].mean() for x0, x1 in spans])
    black, white = (cells[0] + cells[-1]) / 2, (cells[1] + cells[-2]) / 2
    if white - black < MIN_CONTRAST:
        return None
    bits = (cells > (black + white) / 2).astype(int)
    if list(bits[[0, 1, -2, -1]]) != [0, 1, 1, 0]:
        return None
    index = int("".join(map(str, bits[2 : 2 + N_BITS])), 2)
    check = int("".join(map(str, bits[2 + N_BITS : -2])), 2)
    return index if check == _checksum(index) else None


def _middle(start: float, end: float) -> tuple[int, int]:
    """Pixels of the middle half of a span, at least one."""
    quarter = (end - start) / 4
    first = round(start + quarter)
    return first, max(round(end - quarter), first + 1)


def _checksum(index: int) -> int:
    return (CHECK_START + sum((index >> shift) & 15 for shift in (0, 4, 8, 12))) % 16
