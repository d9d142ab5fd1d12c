"""Files that are made to harm whoever reads them, for `benchmarks.hostile_uploads`.

`make_files` gives them all, the same for the same seed. ``canary`` is a file that none of them may make
anybody read: the names and addresses in playlists, data references and links lead there.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from PIL import Image, PngImagePlugin

Kind = Literal["video", "rig", "photos", "folder"]

SIZE_PX = (160, 128)
N_FUZZED = 60
FLIPS = (1, 4, 16, 64, 256)


@dataclass(frozen=True)
class Hostile:
    """A file to be sent, or a folder to be named.

    Attributes
    ----------
    what : str
        What is wrong with it.
    kind : str
        How it comes: as a camera's video, a rig, a picture, or in a session folder on the server.
    name : str
        Of the file.
    data : bytes
        Its content; of a folder none.
    build : callable or None
        Puts a session folder in place.
    """

    what: str
    kind: Kind
    name: str
    data: bytes = b""
    build: Callable[[Path], None] | None = None


def make_files(scratch: Path, canary: Path, seed: int) -> Iterator[Hostile]:
    """All of them."""
    scratch.mkdir(parents=True, exist_ok=True)
    yield from _texts(canary)
    yield from _videos(scratch, canary)
    yield from _named(scratch)
    yield from _rigs()
    yield from _pictures(canary)
    yield from _folders(scratch, canary)
    yield from _fuzzed(scratch, seed)


# --- texts that call themselves videos -----------------------------------------------------------


def _texts(canary: Path) -> Iterator[Hostile]:
    path = str(canary)
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n".encode()
    for suffix in (".mp4", ".mov", ".mkv", ".avi", ".mts", ".webm"):
        yield Hostile("HLS playlist that names another video", "video", f"hls{suffix}", hls)
    keyed = f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{path}"\n#EXTINF:9,\nhttp://127.0.0.1:8139/x\n'
    yield Hostile("HLS playlist with a key and a host", "video", "key.mp4", keyed.encode())
    for suffix in (".mp4", ".mkv"):
        text = f"ffconcat version 1.0\nfile '{path}'\n".encode()
        yield Hostile("ffconcat list of another video", "video", f"list{suffix}", text)
    dash = f'<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><Representation id="1">' \
        f"<BaseURL>file://{path}</BaseURL></Representation></AdaptationSet></Period></MPD>"  # fmt: skip
    yield Hostile("DASH manifest", "video", "dash.mp4", dash.encode())
    xxe = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{path}">]><svg><text>&e;</text></svg>'
    yield Hostile("SVG with an outer entity", "video", "drawn.webm", xxe.encode())
    mvg = f"push graphic-context\nimage over 0,0 0,0 'ephemeral:{path}'\npop graphic-context\n"
    yield Hostile("MVG that names a file", "video", "drawn.mp4", mvg.encode())
    sdp = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 8139 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    yield Hostile("SDP that opens a socket", "video", "net.mp4", sdp.encode())
    yield Hostile("a web page", "video", "page.mp4", b"<html><script>alert(1)</script></html>")
    yield Hostile("a program", "video", "elf.mp4", b"\x7fELF" + bytes(5000))
    yield Hostile("gzip bomb", "video", "bomb.mp4", gzip.compress(bytes(200 * 2**20), 9))
    yield Hostile("zip bomb", "video", "zip.mkv", _zip_bomb())
    yield Hostile("a single byte", "video", "one.mp4", b"\0")
    yield Hostile("64 MB of nothing", "video", "nothing.mp4", bytes(64 * 2**20))
    yield Hostile(
        "ftyp and noise", "video", "noise.mp4", _atom(b"ftyp", b"isom") + random.Random(1).randbytes(9**6)
    )


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("../../evil.mp4", bytes(200 * 2**20))
    return file.getvalue()


# --- videos that are well formed, or nearly ------------------------------------------------------


def film(
    path: Path,
    codec: str = "libx264",
    size: tuple[int, int] = SIZE_PX,
    ticks: list[int] | None = None,
    rate: Fraction = Fraction(30),
    sound: list[int] | None = None,
    tracks: tuple[int, int] = (1, 1),
    form: str | None = None,
    attach: str = "",
) -> bytes:
    """A video with pictures at ``ticks`` of 1/``rate`` s, and sound at those of 1/48000 s."""
    ticks = list(range(36)) if ticks is None else ticks
    sound = list(range(0, 48000, 1024)) if sound is None else sound
    with av.open(str(path), "w", format=form) as container:
        container.metadata["title"] = "=cmd|' /C calc'!A0"
        pictures: list[Any] = []
        for _ in range(tracks[0]):
            options = {"preset": "ultrafast", "tune": "zerolatency"} if codec == "libx264" else {}
            stream: Any = container.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height = size
            stream.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            stream.codec_context.time_base = 1 / rate
            pictures.append(stream)
        heard: list[Any] = []
        for _ in range(tracks[1]):
            one: Any = container.add_stream(
                "libopus" if path.suffix in (".webm", ".mkv") else "aac", rate=48000
            )
            one.layout = "mono"
            heard.append(one)
        if attach:
            container.add_attachment(attach, "text/plain", b"attached")
        for number, tick in enumerate(ticks):
            frame = _blank(size, number).reformat(format=pictures[0].pix_fmt)
            frame.pts, frame.time_base = tick, 1 / rate
            for stream in pictures:
                container.mux(stream.encode(frame))
        for one in heard:
            samples = 960 if path.suffix in (".webm", ".mkv") else 1024
            for tick in sound:
                quiet = np.zeros((1, samples), np.float32)
                planar = "flt" if samples == 960 else "fltp"
                piece = av.AudioFrame.from_ndarray(quiet, format=planar, layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 48000, tick, Fraction(1, 48000)
                container.mux(one.encode(piece))
        for stream in (*pictures, *heard):
            container.mux(stream.encode(None))
    return path.read_bytes()


def _blank(size: tuple[int, int], number: int) -> Any:
    frame = av.VideoFrame(*size, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([60 + number % 60]) * plane.buffer_size)
    return frame


def _videos(scratch: Path, canary: Path) -> Iterator[Hostile]:
    plain = film(scratch / "plain.mp4")

    def video(what: str, name: str, data: bytes) -> Hostile:
        return Hostile(what, "video", name, data)

    huge = film(scratch / "huge.mp4", size=(12000, 12000), ticks=[0, 1, 2], tracks=(1, 0))
    yield video("12000 x 12000", "huge.mp4", huge)
    yield video("12000 x 12000, renamed", "huge.mkv", huge)
    yield video("30000 x 30000 in PNG", "png.mov", _set_size(
        film(scratch / "png.mov", "png", ticks=[0, 1], tracks=(1, 0)), 30000))  # fmt: skip
    yield video("its size is said to be 65535", "said.mp4", _set_size(plain, 65535))
    yield video("larger from the middle on", "grows.mts", _grow(scratch))
    yield video("smaller from the middle on", "shrinks.mts", _grow(scratch, (128, 96)))
    for suffix in (".mp4", ".mkv", ".mov"):
        far = film(scratch / f"far{suffix}", ticks=[0, 1, 2, 1000, 3_000_000], tracks=(1, 0))
        yield video("100,000 s with five pictures", f"far{suffix}", far)
    yield video("sound that goes on after 100,000 s", "late.mp4", film(
        scratch / "late.mp4", sound=[0, 1024, 48000 * 100_000]))  # fmt: skip
    yield video("sound that goes on after 100,000 s", "late.mkv", film(
        scratch / "late.mkv", sound=[0, 960, 48000 * 100_000]))  # fmt: skip
    at = sorted(random.Random(2).sample(range(10**6), 60))
    yield video("pictures at odd times", "odd.mp4", film(scratch / "odd.mp4", rate=Fraction(90000), ticks=at))
    yield video("1000 pictures a second", "fast.mp4", film(scratch / "fast.mp4", rate=Fraction(1000)))
    yield video(
        "one picture a second", "slow.mp4", film(scratch / "slow.mp4", rate=Fraction(1), sound=[0, 1024])
    )
    yield video("one picture", "still.mp4", film(scratch / "still.mp4", ticks=[0]))
    yield video("four tracks of sound", "four.mp4", film(scratch / "four.mp4", tracks=(1, 4)))
    yield video("three tracks of pictures", "three.mp4", film(scratch / "three.mp4", tracks=(3, 1)))
    yield video("sound alone", "sound.mp4", _sound(scratch))
    yield video(
        "an unusual codec",
        "flash.mov",
        film(scratch / "flv.avi", "h261", (176, 144), tracks=(1, 0), form="avi"),
    )
    yield video(
        "a file attached as ../../x", "attached.mkv", film(scratch / "at.mkv", attach="../../../evil.txt")
    )
    for share in (10, 50, 90):
        yield video(f"cut at {share} %", f"cut{share}.mp4", plain[: len(plain) * share // 100])
    faststart = _swap(plain)
    yield video("its end is missing, its index first", "cut.mov", faststart[: len(faststart) * 7 // 10])
    yield video("without its index", "index.mp4", _without(plain, b"moov"))
    yield video("without its pictures", "empty.mp4", _without(plain, b"mdat"))
    yield video(
        "pictures in another file (url)", "dref.mov", _refer(plain, b"url ", f"file://{canary}".encode())
    )
    yield video("pictures in another file (alias)", "alis.mov", _refer(plain, b"alis", _alias(canary)))
    for what, name, change in _table_tricks():
        changed = bytearray(plain)
        change(changed)
        yield video(what, name, bytes(changed))
    mkv = film(scratch / "plain.mkv")
    for what, value in (("NaN", float("nan")), ("minus infinity", float("-inf")), ("1e300", 1e300)):
        yield video(f"it lasts {what}", f"lasts-{what.split()[-1]}.mkv", _set_duration(mkv, value))
    yield video("boxes in boxes, 5000 deep", "deep.mp4", _atom(b"ftyp", b"isom") + _nest(b"moov", 5000))
    yield video("elements in elements, 5000 deep", "deep.mkv", mkv[:40] + b"\x18\x53\x80\x67\xff" * 5000)
    yield video(
        "index that says 4 GB", "moov.mp4", _atom(b"ftyp", b"isom") + b"\xff\xff\xff\xf0moov" + bytes(9999)
    )


def _sound(scratch: Path) -> bytes:
    path = scratch / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        stream.layout = "mono"
        for number in range(40):
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 48000, 1024 * number, Fraction(1, 48000)
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _grow(scratch: Path, to: tuple[int, int] = (8000, 8000)) -> bytes:
    """A stream whose pictures change their size in the middle, as MPEG-TS allows."""
    small, large = scratch / "small.mts", scratch / "large.mts"
    film(small, tracks=(1, 0), form="mpegts")
    film(large, size=to, ticks=[40, 41, 42], tracks=(1, 0), form="mpegts")
    return small.read_bytes() + large.read_bytes()


# --- boxes of MP4 --------------------------------------------------------------------------------

_HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"udta")


def _atom(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def _split(data: bytes) -> list[tuple[bytes, bytes]]:
    parts, place = [], 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        parts.append((data[place + 4 : place + 8], data[place + 8 : place + size]))
        place += size
    return parts


def _rebuild(data: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """The same boxes, each content as ``change(kind, content)`` gives it."""
    out = b""
    for kind, content in _split(data):
        out += _atom(kind, _rebuild(content, change) if kind in _HOLDERS else change(kind, content))
    return out


def _without(data: bytes, kind: bytes) -> bytes:
    return b"".join(_atom(*part) for part in _split(data) if part[0] != kind)


def _swap(data: bytes) -> bytes:
    """The index before the pictures, with its offsets moved."""
    parts = dict(_split(data))
    moov = _atom(b"moov", parts[b"moov"])

    def move(kind: bytes, content: bytes) -> bytes:
        if kind != b"stco":
            return content
        places = struct.unpack(f">{len(content) // 4 - 2}I", content[8:])
        return content[:8] + struct.pack(f">{len(places)}I", *(place + len(moov) for place in places))

    others = [(kind, content) for kind, content in _split(data) if kind not in (b"ftyp", b"moov")]
    rest = b"".join(_atom(kind, content) for kind, content in others)
    return _atom(b"ftyp", parts[b"ftyp"]) + _rebuild(moov, move) + rest


def _refer(data: bytes, kind: bytes, place: bytes) -> bytes:
    """Data references to somewhere else; the index comes last, so nothing has to be moved."""

    def change(box: bytes, content: bytes) -> bytes:
        if box != b"dref":
            return content
        return bytes(4) + (1).to_bytes(4, "big") + _atom(kind, bytes(4) + place + b"\0")

    return _rebuild(data, change)


def _alias(path: Path) -> bytes:
    """An Apple alias record to a path: volume, name, and the whole path in entry 18."""
    name, folder = path.name.encode()[:63], str(path).encode()
    head = struct.pack(">4sHHH", b"\0\0\0\0", 150 + 4 + len(folder) + 4, 2, 0)
    body = (
        bytes([0]) * 27
        + bytes(4)
        + b"H+"
        + bytes(2)
        + bytes(4)
        + bytes([len(name)])
        + name.ljust(63, b"\0")
        + bytes(40)
    )
    return head + body + struct.pack(">hH", 18, len(folder)) + folder + struct.pack(">hH", -1, 0)


def _set_size(data: bytes, size: int) -> bytes:
    """Width and height in the sample description, whatever the pictures say."""

    def change(kind: bytes, content: bytes) -> bytes:
        if kind != b"stsd" or content[12:16] not in (b"avc1", b"png "):
            return content
        return content[:40] + struct.pack(">HH", min(size, 65535), min(size, 65535)) + content[44:]

    return _rebuild(data, change)


def _nest(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _atom(kind, data)
    return data


def _table_tricks() -> Iterator[tuple[str, str, Callable[[bytearray], None]]]:
    def at(kind: bytes, skip: int, value: bytes) -> Callable[[bytearray], None]:
        def change(data: bytearray) -> None:
            place = data.index(kind) + 4 + skip
            data[place : place + len(value)] = value

        return change

    most = b"\x7f\xff\xff\xff"
    yield "two thousand million samples of a byte", "many.mp4", at(b"stsz", 4, b"\0\0\0\x01" + most)
    yield "two thousand million times", "times.mp4", at(b"stts", 4, b"\0\0\0\x01" + most + b"\0\0\0\x01")
    yield "two thousand million entries of times", "entries.mp4", at(b"stts", 4, most)
    yield "two thousand million chunks", "chunks.mp4", at(b"stco", 4, most)
    yield "chunks behind the end", "behind.mp4", at(b"stco", 8, most)
    yield "a clock of zero ticks", "zero.mp4", at(b"mdhd", 12, bytes(4))
    yield "a film of zero ticks", "zero-film.mp4", at(b"mvhd", 12, bytes(4))
    yield "negative lengths", "negative.mp4", at(b"stts", 12, b"\xff\xff\xff\xf0")
    yield "an edit that begins before the beginning", "edit.mp4", at(b"elst", 12, b"\x80\0\0\x01")
    yield "two thousand million edits", "edits.mp4", at(b"elst", 4, most)
    yield "its matrix is noise", "matrix.mp4", at(b"tkhd", 40, random.Random(3).randbytes(36))


def _set_duration(data: bytes, value: float) -> bytes:
    """Duration of a Matroska file (element 4489, a float of 8 bytes)."""
    place = data.index(b"\x44\x89\x88") + 3
    return data[:place] + struct.pack(">d", value) + data[place + 8 :]


# --- names ---------------------------------------------------------------------------------------


def _named(scratch: Path) -> Iterator[Hostile]:
    data = (scratch / "plain.mp4").read_bytes()
    for name in (
        "../../../../etc/cron.d/evil.mp4", "/etc/passwd.mp4", "..\\..\\windows\\evil.mp4", "a\0b.mp4",
        "two\nlines\r\n.mp4", "\u202e4pm.exe\u202c.mp4", "x" * 4000 + ".mp4", "手" * 300 + ".mp4", "CON.mp4",
        "-rf.mp4", "--help.mp4", "=cmd|' /C calc'!A0.mp4", "<img src=x onerror=alert(1)>.mp4",
        ".mp4",
        "..mp4", "%2e%2e%2fevil.mp4", "a;touch evil;.mp4", "$(touch evil).mp4", "file:evil.mp4",
        "concat:a|b.mp4",
    ):  # fmt: skip
        yield Hostile("a name that does something", "video", name, data)
    for name in ("evil.mp4.exe", "evil.exe", "evil", "", "front.m3u8", "x.svg", "x.html"):
        yield Hostile("a kind that is not taken", "video", name, data)


# --- rigs ----------------------------------------------------------------------------------------


def make_rig(name: str = "front") -> dict[str, Any]:
    """A rig of one camera, as this program writes it."""
    camera = {
        "name": name, "size_px": SIZE_PX, "K": [[200, 0, 79.5], [0, 200, 63.5], [0, 0, 1]],
        "distortion": [0, 0, 0, 0, 0], "R": np.eye(3).tolist(), "t_mm": [0, 0, 0],
    }  # fmt: skip
    return {"reference": name, "cameras": {name: camera}}


def _rigs() -> Iterator[Hostile]:
    def rig(what: str, name: str, text: str) -> Hostile:
        return Hostile(what, "rig", name, text.encode())

    yield rig("lists 100,000 deep", "deep.json", "[" * 100_000 + "]" * 100_000)
    yield rig("maps 100,000 deep", "maps.json", '{"a":' * 100_000 + "1" + "}" * 100_000)
    yield rig("millions of empty lists", "wide.json", "[" + "[]," * 5_000_000 + "[]]")
    yield rig("a number of a million digits", "digits.json", '{"reference": ' + "9" * 1_000_000 + "}")
    yield rig(
        "NaN and infinities",
        "nan.json",
        json.dumps(make_rig()).replace("200", "NaN").replace("79.5", "1e999"),
    )
    yield rig("a camera called ../../x", "path.json", json.dumps(make_rig("../../../evil")))
    yield rig("a camera called as a formula", "cell.json", json.dumps(make_rig("=cmd|' /C calc'!A0")))
    yield rig("no map", "none.json", "null")
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 40))
    yield rig("aliases of aliases", "bomb.yaml", f"%YAML:1.0\n---\nl0: &l0 x\n{levels}\n")
    yield rig("an object to be made", "object.yaml", '!!python/object/apply:os.system ["touch evil"]\n')
    yield rig("flow lists 100,000 deep", "deep.yaml", "%YAML:1.0\n---\na: " + "[" * 100_000)
    yield rig("lists 100,000 deep", "deep.toml", "a = " + "[" * 100_000 + "]" * 100_000)
    yield rig("a key of 50,000 parts", "keys.toml", ".".join(["a"] * 50_000) + " = 1")
    yield rig("a number of 200,000 digits", "digits.toml", "a = " + "9" * 200_000)
    yield rig("250 kB of tables", "tables.toml", "".join(f"[a{n}]\n" for n in range(30_000)))
    yield Hostile("no text", "rig", "noise.json", random.Random(4).randbytes(50_000))
    yield Hostile("gzip bomb", "rig", "bomb.json", gzip.compress(bytes(100 * 2**20), 9))


# --- pictures ------------------------------------------------------------------------------------


def _save(image: Image.Image, form: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def _png(size: tuple[int, int], data: bytes, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", *size, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + b"".join(more)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _pictures(canary: Path) -> Iterator[Hostile]:
    def picture(what: str, name: str, data: bytes) -> Hostile:
        return Hostile(what, "photos", name, data)

    plain = Image.fromarray(np.random.default_rng(5).integers(0, 255, (120, 160, 3), dtype=np.uint8))
    yield picture("12000 x 12000", "huge.png", _png((12000, 12000), _zeros(12000, 12000)))
    yield picture("7700 x 7700 with transparency", "large.png", _png((7700, 7700), _zeros(7700, 7700)))
    yield picture(
        "2147483647 x 2147483647", "most.png", _png((2**31 - 1, 2**31 - 1), zlib.compress(bytes(9999)))
    )
    bomb = zlib.compress(bytes(400 * 2**20), 9)
    yield picture("notes that unpack to 400 MB", "ztxt.png", _png(
        (160, 120), _zeros(160, 120), _chunk(b"zTXt", b"Author\0\0" + bomb)))  # fmt: skip
    yield picture("a profile that unpacks to 400 MB", "iccp.png", _png(
        (160, 120), _zeros(160, 120), _chunk(b"iCCP", b"x\0\0" + bomb)))  # fmt: skip
    yield picture("pictures that unpack to 400 MB", "idat.png", _png((160, 120), bomb))
    jpeg = _save(plain, "JPEG")
    place = jpeg.index(b"\xff\xc0")
    yield picture(
        "65500 x 65500", "sof.jpg", jpeg[: place + 5] + struct.pack(">HH", 65500, 65500) + jpeg[place + 9 :]
    )
    yield picture("cut in the middle", "cut.jpg", jpeg[: len(jpeg) // 2])
    yield picture("a zip archive behind it", "both.jpg", jpeg + _zip_bomb())
    # One entry, which leads to the directory that it is in; so does the link to the next one.
    ring = struct.pack(">2sHIHHHIII", b"MM", 42, 8, 1, 0x8769, 4, 1, 8, 8)
    yield picture(
        "details that contain themselves", "self.jpg", _save(plain, "JPEG", exif=b"Exif\0\0" + ring)
    )
    yield picture(
        "details of nonsense",
        "exif.jpg",
        jpeg[:2] + b"\xff\xe1\x10\x02Exif\0\0" + random.Random(6).randbytes(4090) + jpeg[2:],
    )
    notes = PngImagePlugin.PngInfo()
    for number in range(5000):
        notes.add_text(f"k{number}", "x" * 100)
    yield picture("5000 notes", "notes.png", _save(plain, "PNG", pnginfo=notes))
    yield picture("16383 x 16383", "wide.webp", _webp_header())
    eps = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({canary}) (r) file\n".encode()
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{canary}"/></svg>'.encode()
    yield picture("PostScript", "script.jpg", eps)
    yield picture("SVG that names a file", "drawn.png", svg)
    yield picture("TIFF", "other.jpg", _save(plain, "TIFF"))
    yield picture("GIF", "other.png", _save(plain.convert("P"), "GIF"))
    yield picture("a web page", "page.webp", b"RIFF\x10\0\0\0WEBP<script>alert(1)</script>")
    frames = [Image.new("RGB", (80, 80), (n, 0, 0)) for n in range(200)]
    yield picture(
        "200 moving pictures", "moving.png", _save(frames[0], "PNG", save_all=True, append_images=frames[1:])
    )
    for name in (
        "=cmd|' /C calc'!A0.jpg",
        "../../evil.jpg",
        "-2+3.jpg",
        "NUL.jpg",
        "@SUM(1).jpg",
        "\u202egpj.exe.jpg",
    ):
        yield picture("a name that does something", name, jpeg)


def _zeros(width: int, height: int) -> bytes:
    pack = zlib.compressobj(9)
    row = bytes(4 * width + 1)
    return b"".join(pack.compress(row) for _ in range(height)) + pack.flush()


def _webp_header() -> bytes:
    body = b"WEBPVP8L" + struct.pack("<I", 20) + b"\x2f" + struct.pack("<I", 16383 | 16383 << 14) + bytes(15)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# --- session folders -----------------------------------------------------------------------------


def _folders(scratch: Path, canary: Path) -> Iterator[Hostile]:
    plain = scratch / "plain.mp4"

    def folder(what: str, build: Callable[[Path], None]) -> Hostile:
        return Hostile(what, "folder", "", build=build)

    def with_file(name: str, data: bytes) -> Callable[[Path], None]:
        def build(path: Path) -> None:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / "front.mp4").write_bytes(plain.read_bytes())
            (path / name).write_bytes(data)

        return build

    def sparse(path: Path) -> None:
        with open(path / "front.mp4", "wb") as file:
            file.write(_atom(b"ftyp", b"isom"))
            file.truncate(200 * 2**30)

    def sparse_settings(path: Path) -> None:
        with_file("session.toml", b"")(path)
        with open(path / "session.toml", "wb") as file:
            file.truncate(20 * 2**30)

    def pipe(path: Path) -> None:
        import os

        os.mkfifo(path / "front.mp4")

    def many(path: Path) -> None:
        for number in range(2000):
            (path / f"c{number}.mp4").write_bytes(b"x")

    yield folder(
        "a video that leads to another recording's", lambda path: (path / "front.mp4").symlink_to(canary)
    )
    yield folder(
        "a video that is an endless device", lambda path: (path / "front.mp4").symlink_to("/dev/zero")
    )
    yield folder("a video that is a pipe", pipe)
    yield folder("a video that is a folder", lambda path: (path / "front.mp4").mkdir())
    yield folder("a video that leads to itself", lambda path: (path / "front.mp4").symlink_to("front.mp4"))
    yield folder("a video of 200 GB of nothing", sparse)
    yield folder("2000 videos", many)
    yield folder("settings of 20 GB", sparse_settings)
    yield folder("settings 100,000 deep", with_file("session.toml", b"task = " + b"[" * 100_000))
    yield folder(
        "settings with a key of 50,000 parts", with_file("session.toml", b".".join([b"a"] * 50_000) + b" = 1")
    )
    yield folder("settings of noise", with_file("session.toml", random.Random(7).randbytes(9999)))
    yield folder("a rig 100,000 deep", with_file("rig.json", b"[" * 100_000))
    for what, data in (("that unpack to 1 GB", _npz_bomb()), ("that are a pickle", _npz_pickle())):
        yield folder(f"points {what}", _with_points(data))
    yield folder("points that say they are endless", _with_points(_npz_header()))


def _with_points(data: bytes) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        (path / "keypoints").mkdir()
        (path / "keypoints" / "front.npz").write_bytes(data)

    return build


def _npz(**arrays: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def _npz_bomb() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(2**27))
    return _npz(time_s=file.getvalue())


def _npz_pickle() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return _npz(time_s=file.getvalue())


def _npz_header() -> bytes:
    said = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    return _npz(time_s=b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said)


# --- whatever comes ------------------------------------------------------------------------------


def _fuzzed(scratch: Path, seed: int) -> Iterator[Hostile]:
    """Valid files with some bytes changed, taken out or doubled."""
    chance = random.Random(seed)
    plain = Image.fromarray(np.random.default_rng(8).integers(0, 255, (120, 160, 3), dtype=np.uint8))
    whole: list[tuple[Kind, str, bytes]] = [
        ("video", "plain.mp4", (scratch / "plain.mp4").read_bytes()),
        ("video", "plain.mkv", (scratch / "plain.mkv").read_bytes()),
        ("video", "plain.mov", film(scratch / "plain.mov")),
        ("video", "plain.webm", film(scratch / "plain.webm", "libvpx-vp9")),
        ("video", "plain.avi", film(scratch / "plain.avi", "mpeg4")),
        ("video", "plain.mts", film(scratch / "plain.mts", form="mpegts")),
        ("rig", "plain.json", json.dumps(make_rig()).encode()),
        ("photos", "plain.jpg", _save(plain, "JPEG")),
        ("photos", "plain.png", _save(plain, "PNG")),
        ("photos", "plain.webp", _save(plain, "WEBP")),
    ]
    for number in range(N_FUZZED):
        kind, name, data = whole[number % len(whole)]
        changed = bytearray(data)
        flips = chance.choice(FLIPS)
        for _ in range(flips):
            place = chance.randrange(min(len(changed), 4096) if chance.random() < 0.5 else len(changed))
            act = chance.random()
            if act < 0.7:
                changed[place] = chance.randrange(256)
            elif act < 0.85:
                del changed[place : place + chance.randrange(1, 64)]
            else:
                changed[place:place] = changed[place : place + chance.randrange(1, 64)]
            changed = changed or bytearray(b"x")
        stem, _, suffix = name.partition(".")
        yield Hostile(f"{flips} bytes of {name} changed", kind, f"{stem}-{number}.{suffix}", bytes(changed))
