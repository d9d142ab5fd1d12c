"""What files tell beside their pictures and sound, and files that do not tell it.

A telephone writes into each recording where it was made, whose it is, when, and with what; programs add
titles, notes, chapters and small copies. Nobody needs any of it here but the focal length and which way is
up. Nothing is coded anew: videos get the same packets with the same times in a new container, pictures keep
their coded parts, and what came out is read again and compared with what went in.

What an encoder writes into the coded pictures themselves (x264's settings, say) stays: it is part of them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.calibration.focal import FOCAL_KEY, read_focal_35mm
from pipeline.errors import PhotoError, VideoError
from pipeline.files import hash_file, replace_atomically
from pipeline.video import CODECS, open_video, probe, read_times

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from PIL.Image import Image

MUXERS: Final = {
    ".mp4": "mp4", ".m4v": "mp4", ".3gp": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska",
    ".avi": "avi", ".mts": "mpegts",
}  # fmt: skip
"""Container that a video is written into again, by its suffix: that which it came in."""

_DISK_FAULTS: Final = (errno.ENOSPC, errno.EDQUOT)
"""Of the disk that is written to: no fault of the video."""

MOST_SOUND_TRACKS: Final = 2
PICTURE_TIME_TOLERANCE_S: Final = 1e-9
SOUND_TIME_TOLERANCE_S: Final = 1e-4
"""MPEG-TS says when every few pieces of sound are heard, and those between are reckoned."""

PLACE: Final = "the place"
NAMES: Final = "names, titles and notes"
DEVICE: Final = "make and number of the camera"
WHEN: Final = "day and hour"
CHAPTERS: Final = "marks of chapters"
TRACKS: Final = "tracks that are neither pictures nor sound"
COPIES: Final = "small copies and attached files"
OTHERS: Final = "other details"
KINDS: Final = (PLACE, NAMES, DEVICE, WHEN, CHAPTERS, TRACKS, COPIES, OTHERS)
"""In which order they are said."""


@dataclass(frozen=True)
class Stripped:
    """What became of a file.

    Attributes
    ----------
    removed : tuple of str
        What it told, of `KINDS`.
    sha256_sent, sha256_kept : str
        Of the file as it came, and as it was written.
    is_truncated : bool
        The file as it came was cut off; the one that was written no longer shows it.
    """

    removed: tuple[str, ...]
    sha256_sent: str
    sha256_kept: str
    is_truncated: bool = False


# --- videos --------------------------------------------------------------------------------------

_KEYS: Final = (
    (PLACE, re.compile(r"location|gps|xyz|geo|latitude|longitude|altitude")),
    (WHEN, re.compile(r"date|time(?!scale)|year|day|idit|dtim")),
    (
        DEVICE,
        re.compile(
            r"make|model|software|firmware|device|serial|android|camera|lens|encoded_by|isft|\bmak|\bmod"
        ),
    ),
)
_SILENT_KEYS: Final = re.compile(
    r"major_brand|minor_version|compatible_brands|handler_name|vendor_id|encoder|language|rotate|timecode|"
    r"duration(-\w+)?|bps(-\w+)?|number_of_(frames|bytes)(-\w+)?|_statistics.*|variant_bitrate|"
    r"service_(name|provider)|stream_(id|size).*|id3v2_priv.*|alpha_mode|reel_name|"
    + re.escape(FOCAL_KEY.decode())
)
"""What containers write of themselves."""


def strip_video(source: Path, target: Path) -> Stripped:
    """Write the pictures and the sound of a video, as they are coded, into a file that tells nothing else.

    Times, rotation and the focal length that a telephone states stay; they are read again and compared.

    Parameters
    ----------
    source : Path
        A video; its suffix says which container.
    target : Path
        Where to; the same suffix.

    Raises
    ------
    VideoError
        It cannot be read, or its times would not stay as they are.
    pipeline.errors.RunFolderError
        The target cannot be written.
    """
    before = probe(source)
    with replace_atomically(target) as temporary:
        removed, sound = _copy_tracks(source, temporary)
        after = probe(temporary)
        for name in ("codec", "size_px", "fps", "n_frames", "has_audio", "rotation_deg"):
            if getattr(before, name) != getattr(after, name):
                raise _changed(source, "pictures")
        if not _are_close([read_times(source)], [read_times(temporary)], PICTURE_TIME_TOLERANCE_S):
            raise _changed(source, "times of pictures")
        if not _are_close(sound, _read_sound_times(temporary), SOUND_TIME_TOLERANCE_S):
            raise _changed(source, "times of sound")
    return Stripped(removed, hash_file(source), hash_file(target), before.is_truncated)


def _changed(source: Path, what: str) -> VideoError:
    return VideoError(
        f"{source.name} cannot be written without what it tells of place and person: its {what} would "
        "change.",
        "Convert it to MP4 (H.264) with a program of your own, and send that.",
    )


def _copy_tracks(source: Path, target: Path) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Copy packets; what was left out, and when each kept track's sound is heard."""
    import av

    form = MUXERS[source.suffix.lower()]
    options = {"fflags": "+bitexact"}
    focal_mm = read_focal_35mm(source) if form in ("mp4", "mov") else None
    if focal_mm is not None:
        options["movflags"] = "use_metadata_tags"
    if form == "mpegts":
        options |= {"mpegts_copyts": "1", "max_delay": "0"}
    with open_video(source) as given:
        kept = _choose_tracks(given)
        removed = _list_removed(given, kept)
        try:
            with av.open(str(target), "w", format=form, options=options) as written:
                if focal_mm is not None:
                    written.metadata[FOCAL_KEY.decode()] = f"{focal_mm:g}"
                sound = _copy_packets(given, written, kept)
        except (av.FFmpegError, ValueError) as error:
            number: Any = getattr(error, "errno", None)
            if number in _DISK_FAULTS:
                raise OSError(number, os.strerror(number)) from error
            if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
                raise
            raise _changed(source, "tracks") from error
    return removed, sound


def _choose_tracks(container: InputContainer) -> list[Any]:
    """The pictures that are looked at, and what sound there is that can be heard."""
    pictures: Any = container.streams.best("video")
    heard: list[Any] = [
        one
        for one in container.streams.audio
        if one.codec_context is not None and one.codec_context.codec.name in CODECS
    ]
    best = container.streams.best("audio")
    heard.sort(key=lambda one: best is None or one.index != best.index)
    return [pictures, *heard[:MOST_SOUND_TRACKS]]


def _copy_packets(given: InputContainer, written: OutputContainer, kept: list[Any]) -> list[np.ndarray]:
    tracks = {}
    for stream in kept:
        track = written.add_stream_from_template(stream)
        track.metadata.clear()
        track.time_base = stream.time_base
        tracks[stream.index] = track
    times = _Times(kept)
    for packet in given.demux(kept):
        if packet.size == 0 or packet.is_corrupt:
            continue
        times.hear(packet)
        packet.stream = tracks[packet.stream.index]
        written.mux_one(packet)
    return times.list_sound()


class _Times:
    """When packets of sound are heard, after the first picture."""

    def __init__(self, kept: list[Any]) -> None:
        self._pictures = kept[0].index
        self._sound: dict[int, list[float]] = {stream.index: [] for stream in kept[1:]}
        self._first_s = float("inf")

    def hear(self, packet: Any) -> None:
        tick = packet.dts if packet.pts is None else packet.pts
        if tick is None:
            return
        time_s = float(tick * packet.time_base)
        if packet.stream.index != self._pictures:
            self._sound[packet.stream.index].append(time_s)
        elif not packet.is_discard:
            self._first_s = min(self._first_s, time_s)

    def list_sound(self) -> list[np.ndarray]:
        return [np.array(times) - self._first_s for times in self._sound.values()]


def _read_sound_times(path: Path) -> list[np.ndarray]:
    with open_video(path) as container:
        kept = _choose_tracks(container)
        times = _Times(kept)
        for packet in container.demux(kept):
            if packet.size and not packet.is_corrupt:
                times.hear(packet)
    return times.list_sound()


def _are_close(before: list[np.ndarray], after: list[np.ndarray], tolerance_s: float) -> bool:
    return [len(one) for one in before] == [len(one) for one in after] and all(
        np.allclose(one, other, rtol=0, atol=tolerance_s) for one, other in zip(before, after, strict=True)
    )


def _list_removed(container: InputContainer, kept: list[Any]) -> tuple[str, ...]:
    keys = [*container.metadata, *(key for stream in container.streams for key in stream.metadata)]
    found = {_name_kind(key) for key in keys if not _SILENT_KEYS.fullmatch(key.lower())}
    if container.chapters():
        found.add(CHAPTERS)
    indices = {stream.index for stream in kept}
    for stream in container.streams:
        if stream.index not in indices:
            is_copy = stream.type in ("video", "attachment")
            found.add(COPIES if is_copy else TRACKS)
    return _in_order(found)


def _name_kind(key: str) -> str:
    name = key.lower().removeprefix("com.apple.quicktime.")  # has a time in it that is none
    for kind, pattern in _KEYS:
        if pattern.search(name):
            return kind
    return NAMES


def _in_order(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found), key=KINDS.index))


# --- pictures ------------------------------------------------------------------------------------


def strip_picture(source: Path, target: Path) -> Stripped:
    """Write a picture's coded parts, with its focal length and which way is up, and nothing else.

    Parameters
    ----------
    source, target : Path
        A picture of a kind that `pipeline.photos.pictures.read_picture` reads, and where to.

    Raises
    ------
    PhotoError
        It is no such picture, damaged, or would not stay the same.
    pipeline.errors.RunFolderError
        The target cannot be written.
    """
    from PIL import Image

    from pipeline.photos.pictures import FORMATS

    before = _digest_picture(source)
    data = source.read_bytes()
    with Image.open(source, formats=FORMATS) as opened:
        form = str(opened.format)
        exif, told = _keep_exif(opened)
    try:
        bare, left_out = {"JPEG": _bare_jpeg, "PNG": _bare_png, "WEBP": _bare_webp}[form](data, exif)
    except (ValueError, IndexError, KeyError) as error:
        raise PhotoError(
            f"{source.name} is not put together as such a picture is.", "Save it again as JPEG."
        ) from error
    with replace_atomically(target) as temporary:
        temporary.write_bytes(bare)
        if _digest_picture(temporary) != before:
            raise PhotoError(
                f"{source.name} cannot be written without what it tells of place and person.",
                "Save it again as JPEG.",
            )
    return Stripped(_in_order({*told, *left_out}), hash_file(source), hash_file(target))


def _digest_picture(path: Path) -> tuple[float | None, tuple[int, ...], str]:
    """What is seen of a picture, and its lens; two large ones at once would not fit a reader's memory."""
    from pipeline.photos.pictures import read_picture

    picture = read_picture(path)
    return picture.focal_35mm, picture.image_bgr.shape, hashlib.sha256(picture.image_bgr.data).hexdigest()


def _keep_exif(opened: Image) -> tuple[bytes, set[str]]:
    """EXIF of what is kept, as a TIFF (empty: nothing); and what else there was."""
    from PIL import ExifTags, Image

    base = ExifTags.Base
    given, kept, told = opened.getexif(), Image.Exif(), set()
    orientation = given.get(base.Orientation)
    if orientation in range(2, 9):
        kept[base.Orientation] = orientation
    lens = (base.FocalLengthIn35mmFilm, base.ExifImageWidth, base.ExifImageHeight)
    details = given.get_ifd(ExifTags.IFD.Exif)
    for tag in lens:
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            kept.get_ifd(ExifTags.IFD.Exif)[tag] = int(details[tag])
    if given.get_ifd(ExifTags.IFD.GPSInfo):
        told.add(PLACE)
    silent = {base.Orientation, base.ExifOffset, base.GPSInfo, *lens}
    for tag in {*given, *details} - silent:
        told.add(_name_tag(ExifTags.TAGS.get(tag, "")))
    if not any(kept.get_ifd(ExifTags.IFD.Exif).values()) and base.Orientation not in kept:
        return b"", told
    return kept.tobytes().removeprefix(b"Exif\0\0"), told


_TAGS: Final = (
    (WHEN, re.compile("Date|Time")),
    (DEVICE, re.compile("Make$|Model|Serial|Software|Lens|HostComputer|Firmware")),
    (
        NAMES,
        re.compile(
            "Artist|Copyright|Author|Owner|Description|Comment|Title|Subject|Keywords|DocumentName|XP"
        ),
    ),
)


def _name_tag(name: str) -> str:
    for kind, pattern in _TAGS:
        if pattern.search(name):
            return kind
    return OTHERS


_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In a JPEG's coded pictures: any but those that are part of them (ITU-T T.81, B.1.1.2)."""

_TOLD_ELSEWHERE: Final = (b"Exif\0", b"ICC_PROFILE\0")
"""EXIF is looked into by `_keep_exif`; a colour profile tells nothing of anybody."""

_JFIF: Final = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def _bare_jpeg(data: bytes, exif: bytes) -> tuple[bytes, set[str]]:
    """A JPEG without application segments, comments and what follows its end."""
    parts, told = [data[:2]], set()
    if exif:
        head = b"Exif\0\0" + exif
        parts.append(b"\xff\xe1" + (len(head) + 2).to_bytes(2, "big") + head)
    for marker, segment in _list_segments(data):
        if marker == 0xD9:
            parts.append(segment[:2])
            told |= {COPIES} if segment[2:].strip(b"\0") else set()
        elif marker == 0xE0 and segment[4:9] == b"JFIF\0":
            parts.insert(1, _JFIF)  # says how colours are meant; a small copy may follow
        elif marker == 0xEE and segment[4:9] == b"Adobe":
            parts.append(b"\xff\xee\x00\x0e" + segment[4:16])
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            if not segment[4:].startswith(_TOLD_ELSEWHERE):
                told.add(NAMES if marker == 0xFE else OTHERS)
        else:
            parts.append(segment)
    return b"".join(parts), told


def _list_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of a JPEG with what belongs to them: the coded picture, or at the end all that follows it."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise ValueError("no marker")
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xD9:
            yield marker, data[place:]
            return
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if end > len(data) or end < place + 4:
            raise ValueError("a segment that ends nowhere")
        if marker == 0xDA:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield marker, data[place:end]
        place = end


def _bare_png(data: bytes, exif: bytes) -> tuple[bytes, set[str]]:
    """A PNG of its critical chunks and transparency."""
    parts, told, place = [data[:8]], set(), 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            raise ValueError("a chunk that ends nowhere")
        if kind == b"IDAT" and exif:
            chunk = b"eXIf" + exif
            parts.append(len(exif).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big"))
            exif = b""
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"):
            parts.append(data[place:end])
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            told.add(NAMES)
        elif kind == b"tIME":
            told.add(WHEN)
        place = end
        if kind == b"IEND":
            break
    if data[place:].strip(b"\0"):
        told.add(COPIES)
    return b"".join(parts), told


def _list_chunks(data: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and contents of RIFF's chunks."""
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + length > len(data):
            raise ValueError("a chunk that ends nowhere")
        yield kind, data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _make_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


_CODED: Final = (b"VP8 ", b"VP8L", b"ALPH")
_WEBP_EXIF, _WEBP_TOLD = 0x08, 0x2C
"""Flags of VP8X: EXIF; and with it colour profile and XMP."""


def _bare_webp(data: bytes, exif: bytes) -> tuple[bytes, set[str]]:
    """A WebP of its coded pictures."""
    size = int.from_bytes(data[4:8], "little") + 8
    parts, told = [], set()
    for kind, content in _list_chunks(data[:size], 12):
        if kind == b"VP8X":
            flags = content[0] & ~_WEBP_TOLD | (_WEBP_EXIF if exif else 0)
            parts.append(_make_chunk(kind, bytes([flags]) + content[1:10]))
        elif kind in _CODED or kind == b"ANIM":
            parts.append(_make_chunk(kind, content))
        elif kind == b"ANMF":
            frames = [_make_chunk(*chunk) for chunk in _list_chunks(content, 16) if chunk[0] in _CODED]
            parts.append(_make_chunk(kind, content[:16] + b"".join(frames)))
        elif kind not in (b"EXIF", b"ICCP"):
            told.add(OTHERS)
    if exif:
        parts.append(_make_chunk(b"EXIF", exif))
    if data[size + size % 2 :].strip(b"\0"):
        told.add(COPIES)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body, told
