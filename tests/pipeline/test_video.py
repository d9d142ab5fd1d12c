from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RunFolderError, VideoError
from pipeline.video import (
    VideoWriter,
    find_key_frames,
    probe,
    read_audio,
    read_frames,
    read_times,
    read_windows,
)

RATE = Fraction(60000, 1001)
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """White, red and green quarters, and one whose grey tells the index."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 255
    image[: height // 2, width // 2 :] = (0, 0, 255)
    image[height // 2 :, : width // 2] = (0, 255, 0)
    image[height // 2 :, width // 2 :] = 8 * (index % 30)
    return image


def quarters(image: np.ndarray) -> np.ndarray:
    """Colours at the middles of the four quarters, row by row."""
    h, w = image.shape[:2]
    return np.array([image[y * h // 4, x * w // 4] for y in (1, 3) for x in (1, 3)], dtype=int)


def index_of(image: np.ndarray) -> int:
    return round(float(quarters(image)[3].mean()) / 8)


def write_plain(path: Path, n: int = 30, rate: Fraction = RATE, audio=None) -> Path:
    with VideoWriter(path, (64, 48), rate, crf=10, audio=audio) as writer:
        for index in range(n):
            writer.write(picture(index))
    return path


def encode(path: Path, codec="libx264", pts=None, time_base=None, rotation=0, hflip=False, b_frames=0, n=30):
    """A file as other programs write them: any container, codec, times and display matrix."""
    formats = {".mts": "mpegts", ".m4v": "mp4"}
    with av.open(str(path), "w", format=formats.get(path.suffix)) as container:
        options = {"bf": str(b_frames), "qp": "10"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=Fraction(30000, 1001), options=options)
        stream.width, stream.height, stream.gop_size = 64, 48, 10
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec != "libx264":
            stream.bit_rate = 4_000_000
        if rotation or hflip:
            stream.set_display_rotation(rotation, hflip=hflip)
        time_base = time_base or Fraction(1001, 30000)
        stream.codec_context.time_base = time_base
        for index in range(n):
            frame = av.VideoFrame.from_ndarray(picture(index), format="bgr24")
            frame.pts = index if pts is None else int(pts[index])
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_what_is_written_is_read_back_with_rate_size_times_and_colours(tmp_path):
    path = write_plain(tmp_path / "a.mp4", 31)
    info = probe(path)
    assert (info.fps, info.n_frames, info.size_px, info.codec) == (RATE, 31, (64, 48), "h264")
    assert info.duration_s == pytest.approx(31 * 1001 / 60000, abs=1e-9)
    assert (info.has_audio, info.is_variable_rate, info.rotation_deg, info.is_truncated) == (
        False,
        False,
        0,
        False,
    )
    np.testing.assert_allclose(read_times(path), np.arange(31) / float(RATE), atol=1e-12)
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(31))
    assert [index_of(frame.image) for frame in frames] == [*range(30), 0]
    np.testing.assert_allclose(quarters(frames[4].image), quarters(picture(4)), atol=8)
    assert frames[4].image.flags.c_contiguous
    assert frames[4].image.dtype == np.uint8


def test_the_browser_file_has_no_b_frames_short_gops_and_its_index_first(tmp_path):
    path = write_plain(tmp_path / "a.mp4", 90)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert container.streams.video[0].codec_context.colorspace == 1
    assert np.all(np.diff([p.pts or 0 for p in packets]) > 0)
    keys = [index for index, p in enumerate(packets) if p.is_keyframe]
    assert max(np.diff(keys)) <= 30
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 3), (1, 4), (29, 31), (30, None), (59, 200), (7, 7), (90, 99)]
)
def test_a_range_of_frames_is_the_same_range_of_all_frames(tmp_path, start, stop):
    path = write_plain(tmp_path / "a.mp4", 60)
    whole = list(read_frames(path))
    part = list(read_frames(path, start, stop))
    assert [frame.index for frame in part] == list(range(60))[start:stop]
    for frame in part:
        np.testing.assert_array_equal(frame.image, whole[frame.index].image)
        assert frame.time_s == whole[frame.index].time_s


@pytest.mark.parametrize(
    ("suffix", "codec", "b_frames"),
    [
        (".mp4", "libx264", 3), (".mkv", "libx264", 3), (".mts", "libx264", 3), (".mov", "mjpeg", 0),
        (".avi", "mpeg4", 0), (".avi", "libx264", 2), (".webm", "libvpx-vp9", 0), (".3gp", "mpeg4", 0),
        (".m4v", "libx264", 2),
    ],
)  # fmt: skip
def test_every_container_gives_frames_in_order_of_presentation(tmp_path, suffix, codec, b_frames):
    path = encode(tmp_path / f"a{suffix}", codec, b_frames=b_frames)
    info = probe(path)
    assert (info.fps, info.n_frames, info.is_variable_rate) == (Fraction(30000, 1001), 30, False)
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([index_of(frame.image) for frame in frames], np.arange(30), atol=2)
    np.testing.assert_allclose(read_times(path), np.arange(30) * 1001 / 30000, atol=6e-4)
    for frame in read_frames(path, 13, 17):
        np.testing.assert_array_equal(frame.image, frames[frame.index].image)


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_turned_phone_s_pictures_stand_upright(tmp_path, rotation, hflip):
    path = encode(tmp_path / "a.mp4", rotation=rotation, hflip=hflip, n=2)
    expected = np.rot90(picture(0), rotation // 90)
    expected = expected[:, ::-1] if hflip else expected
    image = next(read_frames(path)).image
    assert image.shape == expected.shape
    np.testing.assert_allclose(quarters(image), quarters(expected), atol=8)
    info = probe(path)
    assert info.size_px == (expected.shape[1], expected.shape[0])
    if not hflip:
        assert info.rotation_deg == -rotation % 360


def encode_levels(path, codec, pix_fmt, rotation=0):
    """Twelve pictures whose brightness rises along and down and from picture to picture."""
    ramp = np.add.outer(np.arange(48), 2 * np.arange(64))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(12):
            grey = (20 + ramp + 3 * index).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="bgr24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "is_full_range"),
    [
        ("libx264", "yuv420p", False), ("libx264", "yuv422p", False), ("libx264", "yuv420p10le", False),
        ("libx264", "nv12", False), ("mjpeg", "yuvj420p", True), ("png", "rgb24", True),
    ],
)  # fmt: skip
def test_a_grey_reading_gives_the_brightness_of_the_colours(tmp_path, codec, pix_fmt, is_full_range):
    path = encode_levels(tmp_path / "a.mov", codec, pix_fmt)
    colours = [frame.image.mean(axis=2) for frame in read_frames(path)]
    kept = list(
        read_frames(path, grey=True, one_thread=True)
    )  # all of them at once: none may be written over by a later one
    for frame, wanted in zip(kept, colours, strict=True):
        assert frame.image.shape == (48, 64)
        assert frame.image.dtype == np.uint8
        grey = frame.image if is_full_range else (frame.image.astype(float) - 16) * 255 / 219
        np.testing.assert_allclose(grey, wanted, atol=4)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_grey_picture_stands_upright_as_well(tmp_path, rotation):
    path = encode_levels(tmp_path / "a.mp4", "libx264", "yuv420p", rotation)
    for colour, grey in zip(read_frames(path), read_frames(path, grey=True), strict=True):
        assert grey.image.flags.c_contiguous
        np.testing.assert_allclose(
            (grey.image.astype(float) - 16) * 255 / 219, colour.image.mean(axis=2), atol=4
        )


@pytest.mark.parametrize(
    ("suffix", "codec", "b_frames"),
    [(".mp4", "libx264", 0), (".mp4", "libx264", 3), (".mts", "libx264", 2), (".avi", "mpeg4", 0)],
)
@pytest.mark.parametrize("grey", [False, True])
def test_windows_of_a_file_in_any_order_are_the_frames_asked_for(tmp_path, suffix, codec, b_frames, grey):
    path = encode(tmp_path / f"a{suffix}", codec, b_frames=b_frames)
    whole = list(read_frames(path, grey=grey))
    asked = [(22, 25), (0, 2), (27, 40), (3, 3), (9, 12), (29, 30), (-2, 1)]
    for (start, stop), part in zip(asked, read_windows(path, asked, grey), strict=True):
        assert [frame.index for frame in part] == list(range(30))[max(start, 0) : stop]
        for frame in part:
            assert frame.time_s == whole[frame.index].time_s
            np.testing.assert_array_equal(frame.image, whole[frame.index].image)


def test_key_frames_are_where_they_were_written(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, (64, 48), RATE, gop=7) as writer:
        for _ in range(20):
            writer.write(picture(3))
    assert np.flatnonzero(find_key_frames(path)).tolist() == [0, 7, 14]


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (5, 11)])
def test_a_range_of_grey_pictures_is_that_range(tmp_path, start, stop):
    path = encode_levels(tmp_path / "a.mp4", "libx264", "yuv420p")
    whole = list(read_frames(path, grey=True))
    part = list(read_frames(path, start, stop, grey=True))
    assert [frame.index for frame in part] == list(range(start, stop))
    for frame in part:
        np.testing.assert_array_equal(frame.image, whole[frame.index].image)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.integers(5, 40), min_size=29, max_size=29))
def test_the_true_times_of_a_variable_rate_are_kept(tmp_path_factory, steps):
    pts = np.concatenate([[0], np.cumsum(steps)])
    path = encode(tmp_path_factory.mktemp("v") / "a.mov", pts=pts + 7, time_base=Fraction(1, 600))
    np.testing.assert_allclose(read_times(path), pts / 600, atol=1e-9)
    info = probe(path)
    assert info.is_variable_rate == bool(np.any(np.abs(steps - np.median(steps)) > 1))
    frames = list(read_frames(path, 11, 14))
    assert [index_of(frame.image) for frame in frames] == [11, 12, 13]
    np.testing.assert_allclose([frame.time_s for frame in frames], pts[11:14] / 600, atol=1e-9)


def test_a_phone_that_drops_frames_keeps_its_nominal_rate(tmp_path):
    steps = np.full(79, 10)
    steps[[11, 40, 41]] = 20
    path = encode(
        tmp_path / "a.mov", pts=np.concatenate([[0], np.cumsum(steps)]), time_base=Fraction(1, 600), n=80
    )
    assert probe(path).fps == 60
    assert probe(path).is_variable_rate


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(120), Fraction(47)]
)
def test_the_nominal_rate_is_exact(tmp_path, rate):
    assert probe(write_plain(tmp_path / "a.mp4", 20, rate)).fps == rate


def test_a_file_cut_off_behind_its_index_gives_what_is_there(tmp_path):
    whole = write_plain(tmp_path / "whole.mp4", 200)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 2 // 3])
    info = probe(cut)
    assert info.is_truncated
    assert 20 < info.n_frames < 200
    frames = list(read_frames(cut))
    assert [frame.index for frame in frames] == list(range(info.n_frames))
    assert all(index_of(frame.image) == frame.index % 30 for frame in frames)
    assert not probe(whole).is_truncated


def test_a_file_cut_off_before_its_index_says_so(tmp_path):
    path = encode(tmp_path / "left.mp4")
    data = path.read_bytes()
    assert data.find(b"moov") > data.find(b"mdat")
    path.write_bytes(data[: data.find(b"moov") + 40])
    with pytest.raises(VideoError, match=r"left\.mp4 is cut off.*Copy the file"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.mp4", b"hello " * 100),
        ("a.mp4", b"\x89PNG\r\n\x1a\n" + bytes(300)),
        ("a.avi", b"RIFF" + bytes(200)),
        ("a.mkv", bytes(5000)),
        ("a.mts", bytes(5000)),
        ("a.mov", b""),
        ("a.txt", b"hello"),
    ],
)
def test_a_file_that_is_no_video_is_named_with_advice(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    for read in (probe, read_times, lambda path: list(read_frames(path)), read_audio):
        with pytest.raises(VideoError) as caught:
            read(path)
        assert name in caught.value.what
        assert caught.value.advice


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"front\.mp4 is missing"):
        probe(tmp_path / "front.mp4")


def test_a_playlist_that_calls_itself_a_video_is_not_followed(tmp_path):
    target = write_plain(tmp_path / "secret.mp4")
    for text in (
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{target.name}'\n",
    ):
        for suffix in (".mp4", ".mkv", ".avi", ".mts"):
            path = tmp_path / f"playlist{suffix}"
            path.write_text(text)
            with pytest.raises(VideoError):
                probe(path)


def test_a_file_of_sound_alone_has_no_pictures(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no pictures, only sound"):
        probe(path)


def test_a_file_replaced_under_the_same_name_is_read_anew(tmp_path):
    path = write_plain(tmp_path / "a.mp4", 10)
    assert len(read_times(path)) == 10
    write_plain(path, 20)
    assert len(read_times(path)) == 20


# --- sound


def noise(seconds: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """Band-limited noise that a lossy codec keeps."""
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * rate_hz)))
    hertz = np.fft.rfftfreq(round(seconds * rate_hz), 1 / rate_hz)
    return (0.1 * np.fft.irfft(white * (hertz < 3000) * (hertz > 100), round(seconds * rate_hz))).astype(
        np.float32
    )


def lag_s(first: np.ndarray, second: np.ndarray, rate_hz: int) -> float:
    n = len(first) + len(second)
    c = np.fft.irfft(np.conj(np.fft.rfft(first, n)) * np.fft.rfft(second, n), n)
    lag = int(c.argmax())
    return (lag if lag < n // 2 else lag - n) / rate_hz


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_sound_comes_back_on_the_clock_of_the_pictures(tmp_path, rate_hz, channels):
    mono = noise(1.0, rate_hz)
    samples = mono if channels == 1 else np.stack([mono, mono], axis=1)
    path = write_plain(tmp_path / "a.mp4", 60, audio=(samples, rate_hz))
    assert probe(path).has_audio
    back = read_audio(path, rate_hz)
    assert back is not None
    assert back.dtype == np.float32
    assert lag_s(mono, back, rate_hz) == 0.0
    assert np.corrcoef(mono, back[: len(mono)])[0, 1] > 0.95
    at_16k = read_audio(path)
    assert at_16k is not None
    assert len(at_16k) == pytest.approx(len(back) * 16000 / rate_hz, abs=2)


@pytest.mark.parametrize("late_s", [-0.5, -0.1, 0.0, 0.3])
def test_sound_that_starts_at_another_time_than_the_pictures_is_moved(tmp_path, late_s):
    """The pictures start at 1 s, the sound ``late_s`` after them; both on the file's own clock."""
    path, rate_hz = tmp_path / "a.mkv", 16000
    samples = noise(2.0, rate_hz)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_f32le", rate=rate_hz)
        audio.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = round((1 + late_s) * rate_hz)
        container.mux(audio.encode(frame))
        for index in range(25):
            image = av.VideoFrame.from_ndarray(picture(index), format="bgr24")
            image.pts, image.time_base = 25 + index, Fraction(1, 25)
            container.mux(video.encode(image))
        container.mux(video.encode(None))
    back = read_audio(path, rate_hz)
    assert back is not None
    assert lag_s(samples, back, rate_hz) == pytest.approx(late_s, abs=1e-3)
    assert read_times(path)[0] == 0.0


def test_a_file_without_sound_gives_none(tmp_path):
    assert read_audio(write_plain(tmp_path / "a.mp4", 5)) is None


# --- writing whole or not at all


def test_an_interrupted_writer_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = write_plain(tmp_path / "a.mp4", 10)
    before = path.read_bytes()

    def write_half() -> None:
        with VideoWriter(path, (64, 48), RATE) as writer:
            writer.write(picture(0))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_writer_without_pictures_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(VideoError, match="got no pictures"), VideoWriter(tmp_path / "a.mp4", (64, 48), RATE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError), VideoWriter(tmp_path / "file" / "a.mp4", (64, 48), RATE):
        pass


def test_odd_sizes_and_wrong_pictures_are_refused(tmp_path):
    with pytest.raises(VideoError, match="even"):
        VideoWriter(tmp_path / "a.mp4", (63, 48), RATE)
    with (
        pytest.raises(ValueError, match="expected uint8"),
        VideoWriter(tmp_path / "a.mp4", (64, 48), RATE) as writer,
    ):
        writer.write(picture(0)[:-2])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n_frames", "size_px", "fps", "has_audio"),
    [
        ("hand-videos/video1.mp4", 202, (640, 360), 25, True),
        ("hand-videos/video2.mp4", 195, (1280, 720), 25, True),
        ("signing-hand/asl_hand.25fps.mp4", 325, (620, 1080), 25, False),
        ("two-camera-hand/cam0_test.mp4", 378, (720, 720), 30, False),
    ],
)
def test_real_videos_are_read_as_stated(name, n_frames, size_px, fps, has_audio):
    if not DATA.is_dir():
        pytest.skip("../shared/data is not there")
    info = probe(DATA / name)
    assert (info.n_frames, info.size_px, info.fps, info.has_audio) == (n_frames, size_px, fps, has_audio)
    indices = [frame.index for frame in read_frames(DATA / name, n_frames - 20)]
    assert indices == list(range(n_frames - 20, n_frames))


# --- what is said to be there, and is not --------------------------------------------------------


def test_pictures_whose_times_have_nothing_in_common_have_a_rate_all_the_same(tmp_path):
    path = encode(tmp_path / "a.mkv", pts=[0, 1, 2, 1000, 3_000_000], time_base=Fraction(1, 30), n=5)
    info = probe(path)
    assert info.duration_s > 99_000
    assert info.fps > 0


def test_a_picture_larger_than_4k_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 4098, 2306, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(4098, 2306, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="4098x2306, and 4096x2304 is the most"):
        probe(path)


def test_a_size_that_changes_in_the_middle_is_named(tmp_path):
    from benchmarks.hostile_files import film

    small = film(tmp_path / "a.mts", tracks=(1, 0), form="mpegts")
    large = film(tmp_path / "b.mts", size=(320, 240), ticks=[40, 41, 42], tracks=(1, 0), form="mpegts")
    (tmp_path / "both.mts").write_bytes(small + large)
    with pytest.raises(VideoError, match=r"both\.mts changes the size"):
        list(read_frames(tmp_path / "both.mts"))


def test_sound_that_is_said_to_go_on_for_a_day_is_not_filled_with_silence(tmp_path):
    from benchmarks.hostile_files import film

    film(tmp_path / "a.mkv", sound=[0, 960, 48000 * 86_400])
    sound = read_audio(tmp_path / "a.mkv")
    assert sound is not None
    assert len(sound) < 16_000 * 60


def test_a_text_that_calls_itself_a_video_never_reaches_the_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("it was opened"))
    for suffix in (".mp4", ".mov", ".mkv", ".avi", ".mts", ".webm"):
        path = tmp_path / f"a{suffix}"
        path.write_text("#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n")
        with pytest.raises(VideoError, match="not a video that can be opened"):
            probe(path)
