"""Skin against everything else, by colour, learned from the recording itself."""

from __future__ import annotations

import cv2
import numpy as np

_BINS = (16, 64, 64)
"""Cells of brightness, of red less green and of green less blue, both relative to brightness."""

_SMOOTH = (2.0, 1.2, 1.2)
"""Widths (Gaussian, in cells) by which histograms are smoothed: skin is seen in more light and shade than the
back of the hand shows."""

_FLOOR = 0.02
"""Share of a histogram that lies evenly on all colours: none is impossible."""

MOST = 4.0
"""Logarithm of the odds that a colour alone can give."""


def learn_colours(skin_bgr: np.ndarray, other_bgr: np.ndarray) -> np.ndarray:
    """Log odds (16, 64, 64) float32 of skin by colour, clipped to ``MOST``.

    Parameters
    ----------
    skin_bgr, other_bgr : ndarray (n, 3) uint8
        Colours that are skin, and that are not.
    """
    skin, other = _count(skin_bgr), _count(other_bgr)
    return np.clip(np.log(skin / other), -MOST, MOST).astype(np.float32)


def _count(colours_bgr: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    counts = np.bincount(_get_bin(colours_bgr), minlength=int(np.prod(_BINS))).reshape(_BINS).astype(float)
    smooth = gaussian_filter(counts, _SMOOTH, mode="nearest")
    return (1 - _FLOOR) * smooth / max(smooth.sum(), 1e-9) + _FLOOR / smooth.size


def _get_bin(colours_bgr: np.ndarray) -> np.ndarray:
    """Flat index (n,) of colours (n, 3): relative to brightness, which shade changes most."""
    wide = colours_bgr.astype(np.float32)
    blue, green, red = wide[..., 0], wide[..., 1], wide[..., 2]
    total = blue + green + red + 24.0
    level = np.clip((blue + 2 * green + red) / 4 / 256 * _BINS[0], 0, _BINS[0] - 1).astype(np.int64)
    first = np.clip((red - green) / total * 110 + 16, 0, _BINS[1] - 1).astype(np.int64)
    second = np.clip((green - blue) / total * 110 + 16, 0, _BINS[2] - 1).astype(np.int64)
    return (level * _BINS[1] + first) * _BINS[2] + second


def rate_skin(table: np.ndarray, picture_bgr: np.ndarray) -> np.ndarray:
    """Log odds (H, W) float32 that a pixel is skin by its colour, from `learn_colours`."""
    smooth = cv2.GaussianBlur(picture_bgr, (3, 3), 0)
    return table.ravel()[_get_bin(smooth.reshape(-1, 3))].reshape(picture_bgr.shape[:2])
