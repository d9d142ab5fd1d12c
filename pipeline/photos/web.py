"""What the browser shows of a picture: a copy without hidden details, and the hand models drawn over it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.files import replace_atomically, write_bytes
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.photos.single_view import SpatialHand
from pipeline.results import Camera
from pipeline.synth.render import Mesh, draw_mesh, make_colours, shade

WEB_SIDE_PX = 1600
THUMB_SIDE_PX = 480
JPEG_QUALITY = 88

COLOURS_BGR: dict[Side, tuple[int, int, int]] = {"right": (214, 160, 70), "left": (70, 150, 235)}
"""Blue for right hands and orange for left ones; the page says the side in words as well."""

_LIGHT = np.array([-0.35, -0.55, -0.76])


def write_copies(folder: Path, number: int, image_bgr: np.ndarray) -> float:
    """Write ``picture_NNN.jpg`` and ``thumb_NNN.jpg``; returns the larger one's scale.

    Drawn anew from the pixels, they carry nothing of the file's hidden details.
    """
    longest = max(image_bgr.shape[:2])
    scale = min(WEB_SIDE_PX / longest, 1.0)
    for name, side in (("picture", WEB_SIDE_PX), ("thumb", THUMB_SIDE_PX)):
        small = _shrink(image_bgr, min(side / longest, 1.0))
        _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        write_bytes(folder / "web" / f"{name}_{number:03d}.jpg", data.tobytes())
    return scale


def _shrink(image: np.ndarray, scale: float) -> np.ndarray:
    if scale >= 1:
        return image
    height, width = image.shape[:2]
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def write_mesh(
    folder: Path,
    number: int,
    camera: Camera,
    scale: float,
    hands: list[tuple[int, Side, SpatialHand]],
    model: HandModel,
) -> None:
    """Write ``mesh_NNN.png``, the hand models as the stated camera sees them, and each one's surface.

    Parameters
    ----------
    folder : Path
        The run folder.
    number : int
        The picture's.
    camera : Camera
        Of the picture.
    scale : float
        Of the browser's copy.
    hands : list of (int, Side, SpatialHand)
        Each with its number in the picture.
    model : HandModel
        For its triangles.
    """
    width, height = (max(round(side * scale), 1) for side in camera.size_px)
    drawn = np.zeros((height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    for index, side, hand in sorted(hands, key=lambda each: -float(each[2].vertices_mm[:, 2].mean())):
        faces = model.faces if side == "right" else model.faces[:, ::-1]
        mesh = Mesh(
            faces=np.ascontiguousarray(faces),
            albedo=np.ones(len(hand.vertices_mm)),
            material=np.zeros(len(faces), np.uint8),
            colours=make_colours(np.array(COLOURS_BGR[side], dtype=float))[None],
        )
        pixels = (camera.project(hand.vertices_mm) + 0.5) * scale - 0.5
        brightness = shade(mesh, hand.vertices_mm, _LIGHT)
        own = np.zeros_like(drawn)
        if np.isfinite(pixels).all():
            draw_mesh(own, mesh, pixels, hand.vertices_mm[:, 2], brightness)
        mask = own.any(axis=2)
        drawn[mask], alpha[mask] = own[mask], 255
        surface = (hand.vertices_mm - hand.wrist_mm).astype("<f4")
        write_bytes(folder / "web" / f"vertices_{number:03d}_{index}.f32", surface.tobytes())
    with replace_atomically(folder / "web" / f"mesh_{number:03d}.png") as temporary:
        cv2.imwrite(str(temporary), np.dstack([drawn, alpha]))


def write_faces(folder: Path, model: HandModel) -> None:
    """Write the triangles (F, 3) of both sides, outward."""
    faces = model.faces.astype("<u4")
    write_bytes(folder / "web" / "faces_right.u32", faces.tobytes())
    write_bytes(folder / "web" / "faces_left.u32", np.ascontiguousarray(faces[:, ::-1]).tobytes())
