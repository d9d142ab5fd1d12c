"""From boxes to the crops that the networks were trained on, and from their camera to the whole picture.

Left hands are shown to them mirrored, and their answers stay those of the mirrored right hand.
"""

from __future__ import annotations

import numpy as np

from pipeline.hand.joints import Side
from pipeline.pose.networks.hand_layer import FOCAL
from pipeline.pose.networks.vit import MAP_HEIGHT, MAP_WIDTH, PICTURE_PX
from pipeline.pose.regions import Region, apply_affine

BOX_SCALE = 2.0
"""The published programs look at twice the hand's box."""

MIN_REDUCTION = 1.1
"""Parts of a picture larger than so many times two crops are blurred before they are made smaller."""

MEAN_RGB = np.array([0.485, 0.456, 0.406], dtype=np.float32) * 255
DEVIATION_RGB = np.array([0.229, 0.224, 0.225], dtype=np.float32) * 255


def frame_box(box_px: np.ndarray) -> Region:
    """The nominal crop of a hand's box (4,) x1 y1 x2 y2: upright, about the box's middle.

    Twice the box, its short side lengthened until it is 3 wide to 4 high, and the longer side's square.
    """
    middle = (box_px[:2] + box_px[2:]) / 2
    width, height = BOX_SCALE * (box_px[2:] - box_px[:2])
    side = max(height, width * MAP_HEIGHT / MAP_WIDTH)
    return Region(float(middle[0]), float(middle[1]), float(side), 0.0)


def mirror_region(region: Region, width_px: int) -> Region:
    """The same part of the picture mirrored at its middle column, ``u -> width - 1 - u``."""
    return Region(width_px - 1 - region.x_px, region.y_px, region.size_px, -region.angle_rad)


def cut_as_published(image_bgr: np.ndarray, region: Region, side: Side) -> np.ndarray:
    """A crop (256, 256, 3) float32 BGR 0 to 255 as the published programs cut it; a left hand mirrored.

    A picture much finer than the crop is blurred first; what lies outside it is black.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        The whole picture.
    region : Region
        Part of the picture as it is, not mirrored.
    side : "right" | "left"
        The hand's.
    """
    import cv2

    width_px = image_bgr.shape[1]
    if side == "left":
        affine = mirror_region(region, width_px).get_image_from_crop(PICTURE_PX)
        affine = affine * [[-1.0], [1.0]] + np.array([[0, 0, width_px - 1.0], [0, 0, 0]])
    else:
        affine = region.get_image_from_crop(PICTURE_PX)
    reduction = region.size_px / PICTURE_PX / 2
    sigma = (reduction - 1) / 2 if reduction > MIN_REDUCTION else 0.0
    patch, corner = _take_patch(image_bgr, affine, reach=int(4 * sigma + 0.5))
    if sigma:
        taps = 2 * int(4 * sigma + 0.5) + 1
        patch = cv2.GaussianBlur(patch, (taps, taps), sigma, borderType=cv2.BORDER_REPLICATE)
    affine[:, 2] -= corner
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(patch, affine, (PICTURE_PX, PICTURE_PX), flags=flags)


def _take_patch(image_bgr: np.ndarray, affine: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """The upright part of a picture that a crop and a filter of some reach need, float32, and its corner."""
    height, width = image_bgr.shape[:2]
    corners = apply_affine(
        affine, np.array([[0.0, 0], [PICTURE_PX, 0], [PICTURE_PX, PICTURE_PX], [0, PICTURE_PX]])
    )
    low = np.clip(np.floor(corners.min(axis=0)) - reach - 2, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + reach + 3, low + 1, [width, height]).astype(int)
    return image_bgr[low[1] : high[1], low[0] : high[0]].astype(np.float32), low


def make_pictures(crops_bgr: np.ndarray) -> np.ndarray:
    """Crops (N, 256, 256, 3) BGR 0 to 255 as the networks take them: (N, 3, 256, 256) float32."""
    rgb = crops_bgr[..., ::-1].astype(np.float32)
    return np.ascontiguousarray(((rgb - MEAN_RGB) / DEVIATION_RGB).transpose(0, 3, 1, 2))


def turn_about_view(angle_rad: float) -> np.ndarray:
    """Rotation (3, 3) about the line of sight that turns a crop's axes into the picture's."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def get_focal_px(size_px: tuple[int, int]) -> float:
    """The networks' pseudo focal length of a whole picture (width, height): no camera's, so depth is none."""
    return FOCAL / PICTURE_PX * max(size_px)


def place_in_picture(camera: np.ndarray, region: Region, size_px: tuple[int, int]) -> np.ndarray:
    """Translation (3,) in metres for a camera that sees the whole picture with `get_focal_px`.

    Parameters
    ----------
    camera : ndarray (3,)
        Weak perspective in the crop: scale and shift in x and y.
    region : Region
        The crop's, in the picture (mirrored for a left hand).
    size_px : (int, int)
        Width and height of the picture.
    """
    scaled = region.size_px * camera[0] + 1e-9
    shift = turn_about_view(region.angle_rad)[:2, :2] @ camera[1:]
    x, y = shift + 2 * (np.array([region.x_px, region.y_px]) - np.array(size_px) / 2) / scaled
    return np.array([x, y, 2 * get_focal_px(size_px) / scaled])


def project_to_picture(points_m: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Points (..., 3) in the frame of the whole picture's camera to its px (..., 2)."""
    return points_m[..., :2] / points_m[..., 2:] * get_focal_px(size_px) + np.array(size_px) / 2
