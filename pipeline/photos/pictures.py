"""Reading pictures that anybody may have made: upright, with limits, and with what they say of their lens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from pipeline.errors import PhotoError
from pipeline.photos.folder import SUFFIXES
from pipeline.session import FOCAL_RANGE_MM

MAX_BYTES = 80 * 2**20
MAX_PIXELS = 60_000_000
MIN_SIDE_PX = 64

DEFAULT_FOCAL_35MM = 28.0
"""Where neither the picture nor a person says: that of telephones is 23 to 28, of webcams about 30."""

DIAGONAL_35MM = 43.2666
SAME_SHAPE = 0.02
"""A picture whose sides relate otherwise than the camera wrote them was cut, and its lens says nothing."""

FORMATS = ("JPEG", "PNG", "WEBP")
"""As Pillow names them; no other of its readers ever sees a file."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    name : str
        The file's.
    image_bgr : ndarray (H, W, 3) uint8
        Upright.
    focal_35mm : float or None
        What the picture says of its lens, as on 35 mm film; None where it says nothing or was cut.
    """

    name: str
    image_bgr: np.ndarray
    focal_35mm: float | None

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


def read_picture(path: Path) -> Picture:
    """Decode a picture, turned as its EXIF says; of a moving one the first.

    Raises
    ------
    PhotoError
        It is no picture of a kind that is read here, damaged, or too large; names the file.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PhotoError(
            f"{path.name} is a kind of picture that is not read here.",
            "Save it as JPEG. Telephones have a setting for that (iPhone: Camera, Formats, Most Compatible).",
        )
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PhotoError(f"{path.name} is larger than {MAX_BYTES // 2**20} MB.", "Save it smaller.")
        with Image.open(path, formats=FORMATS) as opened:
            _check_size(opened, path.name)
            focal_35mm = _read_focal(opened)
            ImageOps.exif_transpose(opened, in_place=True)  # a copy of 48 million pixels takes 200 MB
            image = np.array(_to_rgb(opened))[..., ::-1]
    except PhotoError:
        raise
    except Exception as error:  # a reader of damaged bytes stumbles in its own ways, TypeError among them
        raise PhotoError(
            f"{path.name} cannot be read as a picture ({type(error).__name__}).",
            "It is damaged or something else than its name says: save it again as JPEG.",
        ) from error
    return Picture(path.name, np.ascontiguousarray(image), focal_35mm)


def _check_size(opened: Image.Image, name: str) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise PhotoError(
            f"{name} has {width * height / 1e6:.0f} million pixels, and {MAX_PIXELS / 1e6:.0f} is the most.",
            "Save it smaller.",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise PhotoError(
            f"{name} is {width}x{height} px: too small to tell joints in.", "Use the picture as it was taken."
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):  # 16 bits of grey
        return Image.fromarray((np.array(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _read_focal(opened: Image.Image) -> float | None:
    """What EXIF says, where it can be of this picture."""
    details = opened.getexif().get_ifd(ExifTags.IFD.Exif)
    try:
        focal = float(details[ExifTags.Base.FocalLengthIn35mmFilm])
        written = [
            float(details[tag]) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
        ]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not FOCAL_RANGE_MM[0] <= focal <= FOCAL_RANGE_MM[1] or min(written) <= 0:
        return None
    shape, then = (max(sides) / min(sides) for sides in (opened.size, written))
    return focal if abs(shape / then - 1.0) < SAME_SHAPE else None


def get_focal_px(focal_35mm: float, size_px: tuple[int, int]) -> float:
    """Focal length in px of a picture, by its diagonal."""
    return focal_35mm / DIAGONAL_35MM * math.hypot(*size_px)
