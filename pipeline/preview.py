"""A first look into one file before anything is run: a picture of it, and whether a checkerboard is found.

Made to be quick, not exact: the calibration searches anew, at full size and where the board rests.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pipeline.calibration.board import find_board, guess_board_size
from pipeline.checks import Finding
from pipeline.session import Checkerboard
from pipeline.video import find_key_frames, read_frames, read_windows

PICTURE_WIDTH_PX: Final = 480
JPEG_QUALITY: Final = 82
MOST_FRAMES: Final = 60
"""Looked at in a take: a minute of it at one a second."""

SEARCH_WIDTH_PX: Final = 1280
"""Pictures are made this small first: a board that only 4K shows is too far away anyway."""

FEW_FRAMES: Final = 6
"""Fewer frames with the board than this do not calibrate a lens, wherever they are."""

LONGEST_SEARCH_S: Final = 20.0
EARLY_FRAMES: Final = 12
"""After so many frames without the board another one is looked for: most often its size was mistaken."""

GUESSED_FRAMES: Final = 6


@dataclass(frozen=True)
class BoardPreview:
    """Whether a checkerboard is found in a take.

    Attributes
    ----------
    looked, found : int
        Frames looked at, and those with the whole board.
    reason : str
        The commonest reason why there is none in a frame; empty if it is in all.
    guess : (int, int) or None
        Inner corners (columns, rows) of a board that seems to be there instead; None if there is no such.
    jpeg : bytes
        A frame with the corners drawn: those of the board, else of the guessed one, else none.
    """

    looked: int
    found: int
    reason: str
    guess: tuple[int, int] | None
    jpeg: bytes


def draw_middle(path: Path) -> bytes:
    """A picture from the middle of a video as JPEG, `PICTURE_WIDTH_PX` wide, upright.

    Raises
    ------
    pipeline.errors.VideoError
        It cannot be decoded.
    """
    is_key = find_key_frames(path)
    keys = np.flatnonzero(is_key)
    middle = len(is_key) // 2
    frame = int(keys[np.argmin(np.abs(keys - middle))]) if len(keys) else middle
    return _encode(_shrink(_read(path, frame), PICTURE_WIDTH_PX))


def preview_board(path: Path, board: Checkerboard, longest_s: float = LONGEST_SEARCH_S) -> BoardPreview:
    """Search some frames of a take, spread over it, for the board.

    Parameters
    ----------
    path : Path
        A take.
    board : Checkerboard
        What is said about the board.
    longest_s : float
        The search ends after this long, in the middle if need be; ``looked`` says how far it came.

    Raises
    ------
    pipeline.errors.VideoError
        It cannot be decoded.
    """
    end = time.monotonic() + longest_s
    found: list[tuple[int, np.ndarray]] = []
    empty: list[tuple[int, np.ndarray]] = []
    reasons: Counter[str] = Counter()
    frames = _choose_frames(find_key_frames(path))
    for window in read_windows(path, [(frame, frame + 1) for frame in frames], grey=True):
        if not window:
            continue
        grey = _shrink(window[0].image, SEARCH_WIDTH_PX)
        search = find_board(grey, board)
        if search.corners_px is not None:
            found.append((window[0].index, search.corners_px / grey.shape[1]))
        else:
            reasons[search.reason] += 1
            empty.append((window[0].index, grey))
        if time.monotonic() > end or (not found and len(empty) == EARLY_FRAMES and _sees_other(empty, board)):
            break
    reason = reasons.most_common(1)[0][0] if reasons else ""
    looked = len(found) + len(empty)
    if found:
        frame, corners = found[len(found) // 2]
        jpeg = _encode(_draw(_read(path, frame), corners, board))
        return BoardPreview(looked, len(found), reason, None, jpeg)
    guess, jpeg = _guess(path, empty, board)
    return BoardPreview(looked, 0, reason, guess, jpeg)


def say_board(preview: BoardPreview, board: Checkerboard, name: str) -> Finding:
    """What a search has found, in words; with the likely mistake where there is one.

    Parameters
    ----------
    preview : BoardPreview
        What was found.
    board : Checkerboard
        What was looked for.
    name : str
        What the take is called.
    """
    share = f"found in {preview.found} of {preview.looked} frames looked at"
    if preview.found >= FEW_FRAMES:
        return Finding(name, "note", f"{name}: the checkerboard is {share}.")
    stated = f"{board.columns} x {board.rows} inner corners"
    if preview.found:
        what = f"{name}: the checkerboard of {stated} is only {share}; else {preview.reason}."
        return Finding(name, "warning", what, _SHOW_IT)
    if preview.guess is None:
        what = f"{name}: no checkerboard of {stated} is {share}."
        return Finding(name, "error", what, f"Is it a checkerboard take of this camera? {_SHOW_IT}")
    columns, rows = preview.guess
    what = f"{name}: no checkerboard of {stated}, but one of {columns} x {rows} seems to be there."
    if (columns + 1, rows + 1) == _size(board):
        advice = "Squares were counted, it seems: count the corners where four squares meet."
    else:
        advice = f"Set {columns} across and {rows} down if that is the board."
    return Finding(name, "error", what, advice)


_SHOW_IT: Final = "The board must be seen whole, with its white edge, sharp, and held still at each place."


def _choose_frames(is_key: np.ndarray) -> list[int]:
    """Frames (at most `MOST_FRAMES`) spread over a take, at which decoding can begin where these suffice."""
    keys = np.flatnonzero(is_key)
    pool = keys if len(keys) >= MOST_FRAMES // 2 else np.arange(len(is_key))
    chosen = np.linspace(0, len(pool) - 1, min(MOST_FRAMES, len(pool)))
    return [int(frame) for frame in np.unique(pool[chosen.round().astype(int)])]


def _sees_other(frames: list[tuple[int, np.ndarray]], board: Checkerboard) -> bool:
    """Whether another board seems to be there."""
    size = guess_board_size([grey for _, grey in _spread(frames)], board)
    return size is not None and size != _size(board)


def _guess(
    path: Path, frames: list[tuple[int, np.ndarray]], board: Checkerboard
) -> tuple[tuple[int, int] | None, bytes]:
    """Another board that seems to be there, and a frame with it."""
    if not frames:
        return None, draw_middle(path)
    some = _spread(frames)
    size = guess_board_size([grey for _, grey in some], board)
    if size is not None and size != _size(board):
        other = Checkerboard(columns=size[0], rows=size[1], square_mm=board.square_mm)
        for frame, grey in some:
            search = find_board(grey, other)
            if search.corners_px is not None:
                return size, _encode(_draw(_read(path, frame), search.corners_px / grey.shape[1], other))
    frame = some[len(some) // 2][0]
    return None, _encode(_shrink(_read(path, frame), PICTURE_WIDTH_PX))


def _spread(frames: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    places = np.linspace(0, len(frames) - 1, min(GUESSED_FRAMES, len(frames))).round().astype(int)
    return [frames[place] for place in places]


def _size(board: Checkerboard) -> tuple[int, int]:
    return max(board.columns, board.rows), min(board.columns, board.rows)


def _read(path: Path, frame: int) -> np.ndarray:
    return next(iter(read_frames(path, frame, frame + 1))).image


def _shrink(image: np.ndarray, width_px: int) -> np.ndarray:
    scale = width_px / image.shape[1]
    if scale >= 1:
        return image
    size = (width_px, max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _draw(image: np.ndarray, corners: np.ndarray, board: Checkerboard) -> np.ndarray:
    """The corners (N, 2), in widths of the picture, on it."""
    small = np.ascontiguousarray(_shrink(image, PICTURE_WIDTH_PX))
    places = np.ascontiguousarray(corners[:, None] * small.shape[1], dtype=np.float32)
    cv2.drawChessboardCorners(small, (board.columns, board.rows), places, True)
    return small


def _encode(image: np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(data)
