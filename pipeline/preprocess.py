"""The four ways to bring out a hand in a picture before a network sees it (seed 000, section 4).

The order is fixed, so that noise is not amplified: bilateral denoising, gamma, CLAHE, unsharp masking.
Works on a crop as well as on a whole picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

BILATERAL_DIAMETER_PX = 5
BILATERAL_SIGMA_PX = 2.0


@dataclass(frozen=True)
class PresetParameters:
    """One row of seed 000, appendix A.

    Attributes
    ----------
    denoise_h : float
        Range sigma of the bilateral filter in grey levels a channel; 0 leaves the step out.
    gamma : float
        Exponent 1/gamma; 1 leaves the step out.
    clahe_clip : float
        Clip limit of CLAHE on L of LAB; 0 leaves the step out.
    clahe_tiles : int
        Tiles along each side.
    sharpen_alpha : float
        Strength of the unsharp mask; 0 leaves the step out.
    sharpen_sigma : float
        Sigma of the mask's Gaussian, in px.
    """

    denoise_h: float = 0.0
    gamma: float = 1.0
    clahe_clip: float = 0.0
    clahe_tiles: int = 8
    sharpen_alpha: float = 0.0
    sharpen_sigma: float = 1.0


PRESETS: dict[str, PresetParameters] = {
    "minimal": PresetParameters(),
    "standard": PresetParameters(gamma=0.6, clahe_clip=2.0),
    "dystonia": PresetParameters(denoise_h=6.0, gamma=0.85, clahe_clip=2.0, sharpen_alpha=0.2),
    "latching_fix": PresetParameters(
        denoise_h=3.0, gamma=0.75, clahe_clip=3.0, sharpen_alpha=1.5, sharpen_sigma=1.5
    ),
}
"""Seed 000, appendix A."""


def enhance(image_bgr: np.ndarray, preset: str) -> np.ndarray:
    """Enhance a picture or a crop for detection and pose estimation.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        Blue, green, red; not changed.
    preset : str
        A key of `PRESETS`.

    Returns
    -------
    ndarray (H, W, 3) uint8
        For "minimal" the picture itself.

    Raises
    ------
    KeyError
        The preset is not known.
    ValueError
        The picture is empty or is no BGR picture of bytes.

    Notes
    -----
    Seed 000, section 4. Gamma follows its formula ``I_out = I_in ** (1 / gamma)`` on intensities 0 to 1.
    The text beside that formula says that gamma < 1 brightens; by the formula, and by its own example
    0.6 -> I ** 1.667, it darkens. The formula holds.
    """
    parameters = PRESETS[preset]
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or image_bgr.size == 0:
        raise ValueError(f"picture is {image_bgr.dtype} {image_bgr.shape}, expected uint8 (H, W, 3)")
    image = image_bgr
    if parameters.denoise_h > 0:
        image = _denoise(image, parameters.denoise_h)
    if parameters.gamma != 1.0:
        image = cv2.LUT(image, _gamma_table(parameters.gamma))
    if parameters.clahe_clip > 0:
        image = _equalise(image, parameters.clahe_clip, parameters.clahe_tiles)
    if parameters.sharpen_alpha > 0:
        image = _sharpen(image, parameters.sharpen_alpha, parameters.sharpen_sigma)
    return image


def _denoise(image: np.ndarray, h: float) -> np.ndarray:
    # OpenCV adds up the absolute differences of the three channels: a sigma of h a channel is 3 h there.
    return cv2.bilateralFilter(image, BILATERAL_DIAMETER_PX, 3.0 * h, BILATERAL_SIGMA_PX)


@functools.lru_cache(maxsize=8)
def _gamma_table(gamma: float) -> np.ndarray:
    table = np.round(255.0 * (np.arange(256) / 255.0) ** (1.0 / gamma)).astype(np.uint8)
    table.flags.writeable = False
    return table


def _equalise(image: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=clip, tileGridSize=(tiles, tiles)).apply(lab[:, :, 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


def _sharpen(image: np.ndarray, alpha: float, sigma_px: float) -> np.ndarray:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px)
    return cv2.addWeighted(image, 1.0 + alpha, blurred, -alpha, 0.0)
