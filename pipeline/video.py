"""Video files: true timestamps in, browser video out (PyAV, FFmpeg's libraries).

Every file is opened with the container format that its suffix names, so that a playlist or another text
that calls itself ``.mp4`` is refused instead of making FFmpeg open other files. Times are the container's
own (phones record at a variable frame rate), pictures stand upright.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.errors import VideoError
from pipeline.files import replace_atomically

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".3gp": "mp4",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".avi": "avi",
    ".mts": "mpegts",
}
"""Container formats by suffix, as FFmpeg names its readers."""

STANDARD_RATES = tuple(
    sorted(
        [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120, 200, 240, 480)]
        + [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120, 240)]
    )
)
"""Frame rates that cameras are built for; a measured rate close to one is that one."""

MAX_PIXELS = 4096 * 2304
"""Of a picture: 4K. A small file can say that it is far larger, and memory goes by what it says."""

CODECS = frozenset(
    {
        "h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "libvpx", "libvpx-vp9", "mpeg1video",
        "mpeg2video", "mpeg4", "h263", "mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff",
        "utvideo", "rawvideo", "png", "dvvideo", "msmpeg4v3", "aac", "aac_latm", "mp3", "mp3float",
        "mp2", "mp2float", "ac3", "eac3", "opus", "libopus", "vorbis", "libvorbis", "flac", "alac",
        "amrnb", "amrwb", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le",
        "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_u8", "pcm_s8", "pcm_mulaw",
        "pcm_alaw", "pcm_bluray", "pcm_dvd", "adpcm_ima_wav", "adpcm_ms"
    }
)  # fmt: skip
"""What cameras and telephones write; FFmpeg knows hundreds more, which few have tried to break."""

MAX_STREAMS = 32
"""Of a file; a telephone's has a handful."""

MAX_SOUND_S = 3600.0
"""Of a file of sound alone; that of a video ends with its pictures."""

SOUND_APART_S = 60.0
"""How much before and after the pictures sound may be: what is said to be farther away is left out."""

MAX_RATE_HZ = 192_000

SLOWEST_RATE = Fraction(1, 1001)
RATE_TOLERANCE = 1e-3
VARIABLE_RATE_TOLERANCE = 1e-2
AUDIO_GAP_S = 0.02


@dataclass(frozen=True)
class VideoInfo:
    """What a video file is, without decoding it.

    Attributes
    ----------
    path : Path
    container : str
        FFmpeg's name of the container format ("mov,mp4,m4a,3gp,3g2,mj2").
    codec : str
        Name of the picture codec ("h264", "hevc").
    size_px : (int, int)
        Width and height of the upright pictures.
    fps : Fraction
        Nominal frame rate, exact (60000/1001, not 59.94). With a variable rate the rate that the
        camera runs at where it drops nothing; times always come from `read_times`.
    n_frames : int
        Counted from the packets that are there and whole.
    duration_s : float
        From the first frame to the end of the last.
    has_audio : bool
        There is a sound track that can be decoded (which may still be silent).
    is_variable_rate : bool
        The steps between frames differ by more than the container's rounding.
    rotation_deg : int
        By how much a stored picture is turned clockwise to stand upright: 0, 90, 180 or 270.
    is_truncated : bool
        The file's header promises more than the file holds.
    tracks : (int, int)
        How many tracks of pictures and of sound there are; a still picture for the cover is none.
    """

    path: Path
    container: str
    codec: str
    size_px: tuple[int, int]
    fps: Fraction
    n_frames: int
    duration_s: float
    has_audio: bool
    is_variable_rate: bool
    rotation_deg: int
    is_truncated: bool = False
    tracks: tuple[int, int] = (1, 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes
    ----------
    index : int
        Number of the frame in order of presentation, from 0: the place of its time in `read_times`.
    time_s : float
        Presentation time; the file's first frame is at 0.
    image : ndarray (H, W, 3) uint8, or (H, W) uint8
        Blue, green, red; of a grey reading the brightness alone. Upright.
    """

    index: int
    time_s: float
    image: np.ndarray


@dataclass(frozen=True)
class _Scan:
    """The packets of the picture stream in order of presentation.

    ``pts`` (T,) and ``dts`` (T,) in ticks of ``time_base_s``, ``is_key`` (T,). ``has_pts`` is False where
    the container keeps no presentation times (AVI): then ``pts`` holds decoding times, and frames are
    numbered as they come out of the decoder.
    """

    pts: np.ndarray
    dts: np.ndarray
    is_key: np.ndarray
    time_base: Fraction
    has_pts: bool
    is_truncated: bool

    @property
    def time_s(self) -> np.ndarray:
        return (self.pts - self.pts[0]) * float(self.time_base)


def probe(path: Path) -> VideoInfo:
    """Look at a video file: its packets are counted, one picture is decoded.

    Raises
    ------
    VideoError
        The file is missing, is no video, was cut off before its index was written, or none of its
        pictures can be decoded. Names the file and says what to do.
    """
    path = Path(path)
    scan = _scan(path)
    with open_video(path) as container, _explained(path):
        stream = _video_stream(container, path)
        first = _first_frame(container, stream, path)
        matrix = _display_matrix(first)
        size_px = (first.height, first.width) if matrix[0][0] == 0 else (first.width, first.height)
        fps, is_variable = _rate(scan, stream, path)
        time_s = scan.time_s
        return VideoInfo(
            path=path,
            container=container.format.name,
            codec=stream.codec_context.name,
            size_px=size_px,
            fps=fps,
            n_frames=len(time_s),
            duration_s=float(time_s[-1]) + float(1 / fps),
            has_audio=_audio_stream(container) is not None,
            is_variable_rate=is_variable,
            rotation_deg=_rotation_deg(matrix),
            is_truncated=scan.is_truncated,
            tracks=_count_tracks(container),
        )


def read_times(path: Path) -> np.ndarray:
    """Presentation times of all frames, from the packets (nothing is decoded).

    Returns
    -------
    ndarray (T,) float64
        s, rising, the first at 0, in order of presentation.

    Raises
    ------
    VideoError
        As `probe`.
    """
    return _scan(Path(path)).time_s


def find_key_frames(path: Path) -> np.ndarray:
    """At which frames (T,) bool decoding can begin; from the packets, as `read_times`.

    Raises
    ------
    VideoError
        As `probe`.
    """
    return _scan(Path(path)).is_key.astype(bool)


def read_frames(
    path: Path, start: int = 0, stop: int | None = None, grey: bool = False, one_thread: bool = False
) -> Iterator[Frame]:
    """Decode frames ``start`` to ``stop`` (left out) in order of presentation.

    Decoding begins at the last key frame before ``start``. A picture that cannot be decoded is left out;
    `Frame.index` tells which ones came.

    Parameters
    ----------
    path : Path
        A video file.
    start, stop : int
        Numbers of frames; by default all.
    grey : bool
        Give the brightness as the codec stores it (mostly 16 for black to 235 for white) instead of colours:
        nothing is converted and mostly nothing copied, which saves half of the time.
    one_thread : bool
        Decode in the caller's thread alone: less work in all, where as many files as cores are read at once.

    Raises
    ------
    VideoError
        As `probe`, or not one of the frames asked for can be decoded.
    """
    path = Path(path)
    scan = _scan(path)
    stop = len(scan.pts) if stop is None else min(stop, len(scan.pts))
    start = max(start, 0)
    if start >= stop:
        return
    turn: _Turn | None = None
    time_s = scan.time_s
    for index, frame in _decode_range(path, scan, start, stop, one_thread):
        turn = turn or _display_matrix(frame)
        yield Frame(index, float(time_s[index]), _upright(_luma(frame) if grey else _colours(frame), turn))
    if turn is None:
        raise VideoError(f"No picture of {path.name} can be decoded.", _CONVERT)


def read_windows(path: Path, windows: Iterable[tuple[int, int]], grey: bool = False) -> Iterator[list[Frame]]:
    """Decode several short stretches of a file, which is opened once: `read_frames` for each of them.

    Parameters
    ----------
    path : Path
        A video file.
    windows : iterable of (int, int)
        First frame and the one after the last, in any order.
    grey : bool
        As for `read_frames`.

    Yields
    ------
    list of Frame
        Those of a window that are there and can be decoded; maybe none.

    Raises
    ------
    VideoError
        As `probe`.
    """
    path = Path(path)
    scan = _scan(path)
    time_s = scan.time_s
    turn: _Turn | None = None
    with open_video(path) as container, _explained(path):
        stream = _video_stream(container, path)
        # Threads decode pictures ahead that nobody asked for, and start anew at every window.
        stream.thread_type = "NONE"
        for start, stop in windows:
            start, stop = max(start, 0), min(stop, len(scan.pts))
            frames: list[Frame] = []
            for index, frame in _seek_range(container, stream, path, scan, start, stop):
                turn = turn or _display_matrix(frame)
                picture = _upright(_luma(frame) if grey else _colours(frame), turn)
                frames.append(Frame(index, float(time_s[index]), picture))
            yield frames


def read_audio(path: Path, rate_hz: int = 16000) -> np.ndarray | None:
    """The sound of a video file, mixed to one channel, on the clock of its pictures.

    Sample k belongs to the time ``k / rate_hz`` of `read_times`: sound before the first picture is cut,
    a late start and gaps within the track are filled with zeros.

    Parameters
    ----------
    path : Path
        A video file, or a file of sound alone (its sample 0 is then the file's first).
    rate_hz : int
        Sampling rate wanted, in Hz.

    Returns
    -------
    ndarray (N,) float32, or None
        Full scale is 1; None if the file has no sound track.

    Raises
    ------
    VideoError
        As `probe`, or the sound track cannot be decoded.
    """
    from scipy.signal import resample_poly

    path = Path(path)
    with open_video(path) as container, _explained(path):
        stream = _audio_stream(container)
        if stream is None:
            return None
        scan = _scan(path) if container.streams.best("video") is not None else None
        within_s = (-MAX_SOUND_S, MAX_SOUND_S)
        if scan is not None:
            first_s, last_s = (float(pts * scan.time_base) for pts in (scan.pts[0], scan.pts[-1]))
            within_s = (first_s - SOUND_APART_S, last_s + SOUND_APART_S)
        samples, start_s, source_hz = _decode_audio(container, stream, path, within_s)
    if scan is not None:
        samples = _shift(samples, round((start_s - float(scan.pts[0] * scan.time_base)) * source_hz))
    if source_hz != rate_hz:
        ratio = Fraction(rate_hz, source_hz)
        samples = resample_poly(samples, ratio.numerator, ratio.denominator)
    return samples.astype(np.float32)


class VideoWriter:
    """Writes an MP4 that every browser plays: H.264, yuv420p, BT.709, no B-frames, index first.

    A context manager. The file appears under its name when the block ends well, whole; if it does not,
    nothing is left behind.

    Parameters
    ----------
    path : Path
        Where to; ends in ``.mp4``.
    size_px : (int, int)
        Width and height, both even (the codec halves the colours).
    fps : Fraction
        Exact frame rate; frame k is shown at ``k / fps``.
    crf : int
        x264's quality, 0 (lossless) to 51; 18 can hardly be told from the source.
    gop : int, optional
        Frames from key frame to key frame; by default half a second, so that seeking is quick.
    audio : (ndarray (N,) or (N, 2), int), optional
        Samples, full scale 1, and their rate in Hz; written as AAC.
    preset : str
        x264's trade of time for size.

    Raises
    ------
    VideoError
        The size is odd, or nothing was written.
    pipeline.errors.RunFolderError
        The disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size_px: tuple[int, int],
        fps: Fraction,
        crf: int = 23,
        gop: int | None = None,
        audio: tuple[np.ndarray, int] | None = None,
        preset: str = "veryfast",
    ) -> None:
        if size_px[0] % 2 or size_px[1] % 2 or min(size_px) <= 0:
            raise VideoError(
                f"{Path(path).name} cannot be {size_px[0]}x{size_px[1]}: H.264 needs even numbers.",
                "Choose a size of even numbers.",
            )
        self.path = Path(path)
        self.size_px = size_px
        self.fps = Fraction(fps)
        self._crf = crf
        self._gop = gop or max(1, round(float(self.fps) / 2))
        self._preset = preset
        self._sound = _Sound(*audio) if audio is not None else None
        self._n_frames = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        import av

        temporary = self._stack.enter_context(replace_atomically(self.path))
        try:
            self._container = av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            self._add_streams()
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _add_streams(self) -> None:
        from av.video.reformatter import ColorRange, Colorspace

        options = {"preset": self._preset, "crf": str(self._crf), "bf": "0"}
        stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        stream.width, stream.height = self.size_px
        stream.pix_fmt = "yuv420p"
        stream.gop_size = self._gop
        stream.codec_context.time_base = 1 / self.fps
        stream.codec_context.color_range = ColorRange.MPEG
        # 1 is BT.709 in each of H.264's three tables of colour; untagged, browsers guess by the height.
        stream.codec_context.colorspace = 1
        stream.codec_context.color_primaries = 1
        stream.codec_context.color_trc = 1
        self._stream = stream
        self._colorspace = Colorspace.ITU709
        if self._sound is not None:
            self._sound.add_to(self._container)

    def write(self, image_bgr: np.ndarray) -> None:
        """Add a picture (H, W, 3) uint8 in blue, green, red of the writer's size."""
        import av

        width, height = self.size_px
        if image_bgr.shape != (height, width, 3) or image_bgr.dtype != np.uint8:
            raise ValueError(
                f"picture is {image_bgr.dtype} {image_bgr.shape}, expected uint8 {(height, width, 3)}"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_bgr), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._colorspace, dst_color_range="MPEG")
        frame.pts = self._n_frames
        frame.time_base = 1 / self.fps
        self._container.mux(self._stream.encode(frame))
        self._n_frames += 1
        if self._sound is not None:
            self._sound.write_until(self._container, float(self._n_frames / self.fps))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            if error is None:
                self._finish()
        except BaseException as late:
            # Closing again must not hide what went wrong first.
            with contextlib.suppress(Exception):
                self._container.close()
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        if error is not None:
            with contextlib.suppress(Exception):
                self._container.close()
        return self._stack.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if self._n_frames == 0:
            raise VideoError(f"{self.path.name} got no pictures.", "Check the recording it is made from.")
        if self._sound is not None:
            self._sound.write_until(self._container, float("inf"))
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _Sound:
    """A sound track that is written along with the pictures."""

    def __init__(self, samples: np.ndarray, rate_hz: int) -> None:
        samples = np.asarray(samples, dtype=np.float32)
        self._samples = np.clip(samples if samples.ndim == 2 else samples[:, None], -1.0, 1.0)
        self._rate_hz = int(rate_hz)
        self._written = 0

    def add_to(self, container: Any) -> None:
        self._layout = "mono" if self._samples.shape[1] == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=self._rate_hz)
        self._stream.layout = self._layout
        self._stream.bit_rate = 64_000 * self._samples.shape[1]

    def write_until(self, container: Any, time_s: float) -> None:
        import av

        n = len(self._samples)
        end = n if time_s == float("inf") else min(n, round(time_s * self._rate_hz))
        if end > self._written:
            part = np.ascontiguousarray(self._samples[self._written : end].T)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=self._layout)
            frame.sample_rate = self._rate_hz
            frame.pts = self._written
            frame.time_base = Fraction(1, self._rate_hz)
            container.mux(self._stream.encode(frame))
            self._written = end
        if time_s == float("inf"):
            container.mux(self._stream.encode(None))


# --- opening ---------------------------------------------------------------------------------------

_CONVERT = "Copy the file from the camera again, or convert it to MP4 (H.264)."


def open_video(path: Path) -> InputContainer:
    """Open a file with the container that its suffix names, and with the limits of this module.

    Raises
    ------
    VideoError
        As `probe`.
    """
    import av

    if not path.is_file():
        raise VideoError(f"{path} is missing.", "Check the name, or copy the file there.")
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty (0 bytes).", "Copy the file from the camera again.")
    known = FORMATS.get(path.suffix.lower())
    if known is None and path.suffix.lower() not in _SOUND_FORMATS:
        raise VideoError(
            f"{path.name} has a suffix that is not read here.", f"These are: {', '.join(FORMATS)}."
        )
    form = known or _SOUND_FORMATS[path.suffix.lower()]
    try:
        if not _begins_as(path, form):
            raise _refuse(path)
        return av.open(
            f"file:{path.resolve()}",
            mode="r",
            format=form,
            options={
                "protocol_whitelist": "file",
                "max_streams": str(MAX_STREAMS),
                "codec_whitelist": ",".join(sorted(CODECS)),
                "max_pixels": str(MAX_PIXELS),
            },
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _refuse(path, error) from error


_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp", b"moof", b"sidx")
"""What an MP4 or MOV file begins with; old ones lack ``ftyp``."""


def _begins_as(path: Path, form: str) -> bool:
    """Whether a file's first bytes are those of its container, before FFmpeg reads any of it."""
    with path.open("rb") as file:
        head = file.read(16)
    if form in ("mp4", "mov"):
        return head[4:8] in _ATOMS
    if form == "matroska":
        return head[:4] == b"\x1a\x45\xdf\xa3"
    if form in ("avi", "wav"):
        return head[:4] in (b"RIFF", b"RF64") and head[8:12] == {"avi": b"AVI ", "wav": b"WAVE"}[form]
    if form == "mpegts":
        return (
            head[:1] == b"\x47" or head[4:5] == b"\x47"
        )  # with a time before each packet as camcorders have
    return True  # sound alone, which nobody sends


_SOUND_FORMATS = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".m4a": "mp4"}


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors while reading ``path`` into a `VideoError`."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise _refuse(path, error) from error


def _refuse(path: Path, error: Exception | None = None) -> VideoError:
    if isinstance(error, PermissionError):
        return VideoError(f"{path.name} cannot be read: permission denied.", "Change the file's permissions.")
    boxes = _top_boxes(path) if FORMATS.get(path.suffix.lower()) in ("mp4", "mov") else set()
    if "ftyp" in boxes and "moov" not in boxes:
        return VideoError(
            f"{path.name} is cut off: the camera writes the index last, and it is not there.",
            "Copy the file from the camera again; if it is the same there, the recording was interrupted "
            "and a repair tool is needed.",
        )
    return VideoError(
        f"{path.name} is not a video that can be opened as {path.suffix.lower().lstrip('.')}.", _CONVERT
    )


def _top_boxes(path: Path) -> set[str]:
    """Names of the outermost boxes of an MP4 or MOV file that are whole (ISO/IEC 14496-12, section 4.2)."""
    names: set[str] = set()
    with open(path, "rb") as file:
        position, end = 0, path.stat().st_size
        while position + 8 <= end and len(names) < 64:
            file.seek(position)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            size = end - position if size == 0 else size  # 0: to the end of the file
            if size < 8 or position + size > end:
                break
            names.add(head[4:8].decode("latin-1"))
            position += size
    return names


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if len(container.streams) == 0:
        raise _refuse(path)
    if stream is None:
        raise VideoError(f"{path.name} has no pictures, only sound.", "Give the camera's video file.")
    context: Any = stream.codec_context
    if context is None or context.codec.name not in CODECS:
        coded = "in a way that is unknown here" if context is None else f"as {context.codec.name}"
        raise VideoError(f"{path.name} is coded {coded}, which is not read.", _CONVERT)
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(
            f"{path.name} has pictures of {context.width}x{context.height}, and 4096x2304 is the most.",
            "Film in 4K or less: 1920x1080 is enough where the hand fills a third of the picture.",
        )
    # Pictures may say in the middle of a file that they are larger from there on.
    context.options = {"max_pixels": str(MAX_PIXELS)}
    context.thread_type = "AUTO"
    return stream  # type: ignore[return-value]


def _audio_stream(container: InputContainer) -> Any:
    """The sound track to listen to: FFmpeg's choice among those that it can decode."""
    stream = container.streams.best("audio")
    context: Any = None if stream is None else stream.codec_context
    return stream if context is not None and context.codec.name in CODECS else None


def _count_tracks(container: InputContainer) -> tuple[int, int]:
    """Tracks of pictures, without covers, and of sound."""
    from av.stream import Disposition

    pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    return len(pictures), len(container.streams.audio)


# --- timestamps ------------------------------------------------------------------------------------


def _scan(path: Path) -> _Scan:
    try:
        state = path.stat()
    except OSError as error:
        raise VideoError(f"{path} is missing.", "Check the name, or copy the file there.") from error
    return _scan_unchanged(path.resolve(), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _scan_unchanged(path: Path, mtime_ns: int, size: int) -> _Scan:
    """Read all packets of the picture stream once; ``mtime_ns`` and ``size`` are the cache's key."""
    from av.stream import Discard

    with open_video(path) as container, _explained(path):
        stream = _video_stream(container, path)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all  # the sound of a long take is not read from the disk
        rows = []
        n_seen = 0
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            n_seen += not packet.is_corrupt
            if not packet.is_discard and not packet.is_corrupt:
                rows.append((packet.pts, packet.dts, packet.is_keyframe))
        time_base = stream.time_base
        promised = stream.frames
        header_s = container.duration / 1e6 if container.duration else 0.0
        name = container.format.name
    if not rows or time_base is None:
        raise VideoError(f"{path.name} holds no pictures.", _CONVERT)
    # AVI keeps the order of decoding only; FFmpeg's presentation times of it are guesses.
    has_pts = name != "avi" and all(pts is not None for pts, _, _ in rows)
    ticks = [pts if has_pts else dts for pts, dts, _ in rows]
    if any(tick is None for tick in ticks):
        raise VideoError(f"{path.name} has frames without times.", "Convert it to MP4 (H.264).")
    order = np.argsort(np.array(ticks, dtype=np.int64), kind="stable")
    pts = np.array(ticks, dtype=np.int64)[order]
    dts = np.array([t if dts is None else dts for t, (_, dts, _) in zip(ticks, rows, strict=True)])[order]
    span_s = float((pts[-1] - pts[0]) * time_base)
    is_short = name.startswith("matroska") and header_s - span_s > max(1.0, 0.02 * header_s)
    return _Scan(
        pts=pts,
        dts=dts.astype(np.int64),
        is_key=np.array([key for _, _, key in rows])[order],
        time_base=Fraction(time_base),
        has_pts=has_pts,
        is_truncated=promised > n_seen or is_short,
    )


def _rate(scan: _Scan, stream: VideoStream, path: Path) -> tuple[Fraction, bool]:
    """Nominal frame rate and whether the steps between frames vary."""
    declared = stream.average_rate
    steps = np.diff(scan.pts)
    steps = steps[steps > 0]
    if len(steps) == 0:
        if not declared:
            raise VideoError(f"{path.name} holds a single picture.", "Give a video.")
        return Fraction(declared), False
    typical = float(np.median(steps))
    # Containers round times to ticks: steps may differ by one without the camera having done so.
    is_variable = bool(np.any(np.abs(steps - typical) > max(1.0, 0.02 * typical)))
    regular = steps[np.abs(steps - typical) <= max(1.0, 0.5 * typical)]
    step = float(regular.mean()) if len(regular) else typical  # steps may have nothing in common
    measured = 1.0 / (step * float(scan.time_base))
    rounding = 1.0 / (typical * len(steps))
    if (
        declared
        and abs(float(declared) / measured - 1.0) < max(2e-5, rounding)
        and declared.denominator <= 1001
    ):
        return Fraction(declared), is_variable
    nearest = min(STANDARD_RATES, key=lambda rate: abs(float(rate) - measured))
    tolerance = VARIABLE_RATE_TOLERANCE if is_variable else RATE_TOLERANCE
    if abs(float(nearest) / measured - 1.0) < max(tolerance, rounding):
        return nearest, is_variable
    return max(Fraction(measured).limit_denominator(1001), SLOWEST_RATE), is_variable


# --- pictures --------------------------------------------------------------------------------------


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    for frame in _decode(container, stream):
        return frame
    raise VideoError(f"No picture of {path.name} can be decoded.", _CONVERT)


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode on past damaged packets: what is there is shown, as players do."""
    import av

    size: tuple[int, int] | None = None
    for packet in container.demux(stream):
        if packet.is_corrupt:  # cut in the middle; not counted by `_scan` either
            continue
        is_end = packet.size == 0
        for _ in range(64 if is_end else 1):  # a damaged picture among the last must not cost those behind it
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue
            except av.EOFError:
                break
            for frame in frames:
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    name = Path(container.name).name
                    raise VideoError(f"{name} changes the size of its pictures in the middle.", _CONVERT)
                yield frame
            if not frames:
                break


def _decode_range(
    path: Path, scan: _Scan, start: int, stop: int, one_thread: bool = False
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames ``start`` to ``stop`` with their index, from the key frame before."""
    with open_video(path) as container, _explained(path):
        stream = _video_stream(container, path)
        if one_thread:
            stream.thread_type = "NONE"
        if start > 0 and scan.has_pts:
            yield from _seek_range(container, stream, path, scan, start, stop)
            return
        for index, frame in _indexed(container, stream, scan):
            if index >= stop:
                return
            if index >= start:
                yield index, frame


def _seek_range(
    container: InputContainer, stream: VideoStream, path: Path, scan: _Scan, start: int, stop: int
) -> Iterator[tuple[int, VideoFrame]]:
    """The same in a file that is open, wherever it stands."""
    if not scan.has_pts:  # frames are numbered as they come, from the beginning
        yield from _decode_from_beginning(path, scan, start, stop)
        return
    is_key = scan.is_key[: start + 1]
    key = int(np.flatnonzero(is_key)[-1]) if is_key.any() else 0
    container.seek(int(scan.dts[key]), stream=stream, backward=True)
    indexed = _indexed(container, stream, scan)
    head = next(indexed, None)
    if head is None or head[0] > start:  # the container's index led too far: from the beginning
        yield from _decode_from_beginning(path, scan, start, stop)
        return
    for index, frame in itertools.chain([head], indexed):
        if index >= stop:
            return
        if index >= start:
            yield index, frame


def _decode_from_beginning(
    path: Path, scan: _Scan, start: int, stop: int
) -> Iterator[tuple[int, VideoFrame]]:
    for index, frame in _decode_range(path, scan, 0, stop):
        if index >= start:
            yield index, frame


def _indexed(container: InputContainer, stream: VideoStream, scan: _Scan) -> Iterator[tuple[int, VideoFrame]]:
    """Decoded frames with their place in order of presentation; frames without one are left out."""
    for count, frame in enumerate(_decode(container, stream)):
        if not scan.has_pts:
            if count < len(scan.pts):
                yield count, frame
            continue
        if frame.pts is None:
            continue
        index = int(np.searchsorted(scan.pts, frame.pts))
        if index < len(scan.pts) and scan.pts[index] == frame.pts:
            yield index, frame


_Turn = tuple[tuple[int, int], tuple[int, int]]


def _display_matrix(frame: VideoFrame) -> _Turn:
    """Signs of the display matrix, as rows ((a, b), (c, d)): x' = a x + c y, y' = b x + d y.

    FFmpeg's libavutil/display.h. Turns that are no quarter turns do not occur in cameras; the nearest
    quarter turn is taken.
    """
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data  # PyAV types it as a mapping of str; it iterates over its entries
    entries = [entry for entry in side_data if entry.type == Type.DISPLAYMATRIX]
    if not entries:
        return (1, 0), (0, 1)
    a, b, _, c, d, *_ = np.frombuffer(bytes(entries[0]), dtype=np.int32)[:9].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (1 if a >= 0 else -1, 0), (0, 1 if d >= 0 else -1)
    return (0, 1 if b >= 0 else -1), (1 if c >= 0 else -1, 0)


def _rotation_deg(matrix: _Turn) -> int:
    _, (c, d) = matrix
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[d, -c]


def _colours(frame: VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="bgr24")


def _luma(frame: VideoFrame) -> np.ndarray:
    """The brightness (H, W) uint8 of a frame: its first plane, seen where it lies if it has 8 bits."""
    kind, plane = frame.format, frame.planes[0]
    bits = kind.components[0].bits
    is_plane = kind.name == "gray" or (kind.is_planar and kind.name.startswith(("yuv", "nv12", "nv21")))
    if not is_plane or (bits > 8 and not kind.name.endswith("le")):
        return frame.reformat(format="gray").to_ndarray()
    view = memoryview(plane)
    if bits > 8:
        deep = np.frombuffer(view, np.uint16).reshape(plane.height, -1)[: frame.height, : frame.width]
        return (deep >> (bits - 8)).astype(np.uint8)
    return np.frombuffer(view, np.uint8).reshape(plane.height, -1)[: frame.height, : frame.width]


def _upright(image: np.ndarray, matrix: _Turn) -> np.ndarray:
    """A picture (H, W) or (H, W, 3) as it should be seen; a file turns all its pictures alike."""
    (a, b), (c, d) = matrix
    if (a, d) == (1, 1):
        return image
    if a == 0:
        image = image.swapaxes(0, 1)
    flip_x, flip_y = (a < 0, d < 0) if a else (c < 0, b < 0)
    image = image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return np.ascontiguousarray(image)


# --- sound -----------------------------------------------------------------------------------------


def _decode_audio(
    container: InputContainer, stream: Any, path: Path, within_s: tuple[float, float]
) -> tuple[np.ndarray, float, int]:
    """All sound of a track in one channel (N,), the time of its first sample in s, its rate in Hz.

    Sound that is said to be outside ``within_s`` is left out: a single wrong time would else become hours of
    silence in memory.
    """
    import av

    resampler: Any = None
    parts: list[np.ndarray] = []
    count = 0
    start_s = 0.0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts is not None and not within_s[0] <= frame.pts * frame.time_base <= within_s[1]:
                continue
            if resampler is None:
                rate_hz = int(frame.sample_rate)
                if not 0 < rate_hz <= MAX_RATE_HZ:
                    raise VideoError(f"The sound of {path.name} is said to have {rate_hz} Hz.", _CONVERT)
                resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
                start_s = 0.0 if frame.pts is None else float(frame.pts * frame.time_base)
            if frame.pts is not None:
                expected = round((float(frame.pts * frame.time_base) - start_s) * rate_hz)
                if expected - count > AUDIO_GAP_S * rate_hz:
                    parts.append(np.zeros(expected - count, dtype=np.float32))
                    count = expected
            for piece in resampler.resample(frame):
                parts.append(piece.to_ndarray()[0].astype(np.float32, copy=False))
                count += parts[-1].shape[0]
    if not parts:
        raise VideoError(f"The sound of {path.name} cannot be decoded.", _CONVERT)
    return np.concatenate(parts), start_s, rate_hz


def _shift(samples: np.ndarray, n: int) -> np.ndarray:
    """Move a signal (N,) by ``n`` samples to later, with zeros before it; negative cuts its beginning."""
    return np.concatenate([np.zeros(n, dtype=samples.dtype), samples]) if n > 0 else samples[-n:]
