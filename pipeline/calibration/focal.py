"""Focal lengths that nobody measured: from session.toml, from the video file, or the usual one."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import VideoError
from pipeline.session import FOCAL_RANGE_MM, Session
from pipeline.video import FORMATS

NOMINAL_FOCAL = 0.8
"""Focal length of a lens that nobody measured, in units of the picture's longer side.

Main cameras of phones film at 24 to 28 mm of the full-frame equivalent (36 mm wide), the crop for video
stabilisation makes that 26 to 32 mm: 0.72 to 0.9.
"""

NOMINAL_SIGMA = 0.12
"""Relative standard error of `NOMINAL_FOCAL`, telephoto and ultra-wide lenses left aside."""

FILM_MM = 36.0
STABILISATION_CROP = 1.1
STATED_SIGMA = 0.06
"""A stated focal length tells the angle of a photograph. Film is 36 mm wide; video of the same lens is
cropped by 0 to 20 % for stabilisation, and makers reckon by the diagonal of a photograph of another shape."""


@dataclass(frozen=True)
class FocalGuess:
    """What is known of a focal length that nobody measured.

    Attributes
    ----------
    focal_px : float
    sigma : float
        Relative standard error.
    source : "settings" | "file" | "guess"
        ``focal_35mm`` of session.toml, the video file's own, or neither.
    """

    focal_px: float
    sigma: float
    source: str


def guess_focal(session: Session, name: str, size_px: tuple[int, int]) -> FocalGuess:
    """Focal length of a camera from session.toml, else from its video file, else the usual one.

    Parameters
    ----------
    session : Session
        Its settings, and where its videos are.
    name : str
        The camera.
    size_px : (int, int)
        Of its upright pictures.
    """
    stated, source = session.settings.focal_35mm.get(name), "settings"
    if stated is None and name in session.videos:
        stated, source = read_focal_35mm(session.videos[name]), "file"
    if stated is None:
        return FocalGuess(NOMINAL_FOCAL * max(size_px), NOMINAL_SIGMA, "guess")
    return FocalGuess(stated / FILM_MM * STABILISATION_CROP * max(size_px), STATED_SIGMA, source)


def read_focal_35mm(path: Path) -> float | None:
    """Focal length that a QuickTime file states of its camera, in mm as if on 35 mm film.

    Apple's ``com.apple.quicktime.camera.focal_length.35mm_equivalent``: by AVFoundation's documentation a
    text such as "50.00mm" in the metadata of the video track, where FFmpeg does not look; some programs write
    it, or a whole number, for the file as a whole.

    Returns
    -------
    float or None
        None where the file states none, or nothing that a lens could be.

    Raises
    ------
    VideoError
        The file cannot be read.
    """
    path = Path(path)
    if FORMATS.get(path.suffix.lower()) not in ("mp4", "mov"):
        return None
    try:
        with path.open("rb") as file:
            moov = _find_atom(file, b"moov")
    except OSError as error:
        raise VideoError(f"{path.name} cannot be read ({error.strerror}).", "Copy it again.") from error
    for place in ((b"trak", b"meta"), (b"meta",), (b"udta", b"meta")):
        for meta in _descend(moov, place):
            value = _read_item(meta, FOCAL_KEY)
            if value is not None and FOCAL_RANGE_MM[0] <= value <= FOCAL_RANGE_MM[1]:
                return value
    return None


FOCAL_KEY = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"
_MOST_HEADER_BYTES = 64 * 2**20


def _find_atom(file: BinaryIO, kind: bytes) -> bytes:
    """The content of the first atom of a kind at the top of a QuickTime file; empty if there is none."""
    while len(head := file.read(8)) == 8:
        size, length = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, length = int.from_bytes(file.read(8), "big"), 16
        if head[4:] == kind:
            return file.read(min(size - length, _MOST_HEADER_BYTES)) if size >= length else b""
        if size < length:
            break
        file.seek(size - length, 1)
    return b""


def _list_atoms(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and contents of the atoms in ``data``, one after the other; stops where they make no sense."""
    start = 0
    while start + 8 <= len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        if size < 8 or start + size > len(data):
            return
        yield data[start + 4 : start + 8], data[start + 8 : start + size]
        start += size


def _descend(data: bytes, place: tuple[bytes, ...]) -> Iterator[bytes]:
    for kind, content in _list_atoms(data):
        if kind == place[0]:
            yield from _descend(content, place[1:]) if len(place) > 1 else (content,)


def _read_item(meta: bytes, key: bytes) -> float | None:
    """The number that a QuickTime metadata atom (``keys`` and ``ilst``) holds under a key."""
    if meta[4:8] not in (b"hdlr", b"keys", b"ilst"):
        meta = meta[4:]  # MP4 puts version and flags first, QuickTime does not
    atoms = dict(_list_atoms(meta))
    names = [content for _, content in _list_atoms(atoms.get(b"keys", b"")[8:])]
    if key not in names:
        return None
    wanted = (names.index(key) + 1).to_bytes(4, "big")
    for kind, content in _list_atoms(atoms.get(b"ilst", b"")):
        data = dict(_list_atoms(content)).get(b"data", b"")
        if kind == wanted and len(data) > 8:
            return _read_number(int.from_bytes(data[:4], "big"), data[8:])
    return None


def _read_number(kind: int, value: bytes) -> float | None:
    """A number of one of QuickTime's well-known types: text (1), integers (21, 22), floats (23, 24)."""
    if kind == 1:
        match = re.match(rb"\s*([0-9]+(?:\.[0-9]+)?)", value)
        return float(match[1]) if match else None
    if kind in (21, 22):
        return float(int.from_bytes(value, "big", signed=kind == 21))
    if kind in (23, 24) and len(value) == {23: 4, 24: 8}[kind]:
        return float(struct.unpack(">f" if kind == 23 else ">d", value)[0])
    return None
