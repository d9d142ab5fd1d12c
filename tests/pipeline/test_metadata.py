"""What is kept of a file that was sent tells neither place nor person, and looks and sounds the same."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from pipeline.calibration.focal import FOCAL_KEY, read_focal_35mm
from pipeline.errors import PhotoError, VideoError
from pipeline.metadata import (
    CHAPTERS,
    COPIES,
    DEVICE,
    NAMES,
    PLACE,
    WHEN,
    _name_kind,
    strip_picture,
    strip_video,
)
from pipeline.photos.pictures import read_picture
from pipeline.video import probe, read_audio, read_frames, read_times

CANARY = "Erika Mustermann"
TOLD = {
    "title": CANARY, "artist": CANARY, "comment": f"{CANARY} plays", "location": "+52.5200+013.4050/",
    "creation_time": "2026-03-02T10:00:00Z", "make": f"{CANARY}-Phone",
}  # fmt: skip


def film(path: Path, rotation: int = 0, b_frames: int = 2, variable: bool = True, **more: Any) -> Path:
    """A video as a telephone makes it, that tells everything."""
    codec = "libvpx-vp9" if path.suffix == ".webm" else "mpeg4" if path.suffix == ".avi" else "libx264"
    form = {".mkv": "matroska", ".mts": "mpegts", ".m4v": "mp4", ".3gp": "mp4"}.get(
        path.suffix, path.suffix[1:]
    )
    random = np.random.default_rng(1)
    options = {"movflags": "use_metadata_tags"} if form in ("mp4", "mov") and more.get("tags") else {}
    with av.open(str(path), "w", format=form, options=options) as container:
        container.metadata.update(TOLD | more.get("tags", {}))
        base = Fraction(1, 600) if variable else Fraction(1, 60)
        options = {"bf": str(b_frames)} if codec == "libx264" else {}
        pictures: Any = container.add_stream(codec, rate=60, options=options)
        pictures.width, pictures.height, pictures.pix_fmt = 160, 128, "yuv420p"
        pictures.codec_context.time_base = base if codec != "mpeg4" else Fraction(1, 60)
        pictures.codec_context.gop_size = 12
        pictures.metadata["title"] = CANARY
        if rotation:
            pictures.set_display_rotation(rotation)
        opus = path.suffix in (".webm", ".mkv")
        sound: Any = container.add_stream(
            "libopus" if opus else "pcm_s16le" if form == "avi" else "aac", rate=48000
        )
        sound.layout = "mono"
        if more.get("chapters"):
            mark: Any = {
                "id": 1,
                "start": 0,
                "end": 500,
                "time_base": Fraction(1, 1000),
                "metadata": {"title": CANARY},
            }
            container.set_chapters([mark])
        if more.get("attached"):
            container.add_attachment(f"{CANARY}.txt", "text/plain", CANARY.encode())
        tick = 0
        for _ in range(60):
            coarse = random.integers(30, 220, (8, 10, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(
                np.kron(coarse, np.ones((16, 16, 1), np.uint8)), format="bgr24"
            )
            frame.pts, frame.time_base = tick, pictures.codec_context.time_base
            tick += int(random.integers(8, 13)) if variable and codec != "mpeg4" else 1
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for number in range(40):
            noise = random.normal(0, 0.1, (1, 960)).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(noise, format="flt" if opus else "fltp", layout="mono")
            if form == "avi":
                pulses = (noise * 32767).astype(np.int16)
                heard = av.AudioFrame.from_ndarray(pulses, format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, 960 * number, Fraction(1, 48000)
            container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path


def assert_same_recording(before: Path, after: Path) -> None:
    """The same pictures at the same times, and the same sound in step with them."""
    one, other = probe(before), probe(after)
    for name in ("codec", "size_px", "fps", "n_frames", "duration_s", "has_audio", "rotation_deg"):
        assert getattr(one, name) == getattr(other, name), name
    np.testing.assert_array_equal(read_times(before), read_times(after))
    for first, second in zip(read_frames(before), read_frames(after), strict=True):
        assert (first.index, first.time_s) == (second.index, second.time_s)
        np.testing.assert_array_equal(first.image, second.image)
    first_sound, second_sound = read_audio(before), read_audio(after)
    assert first_sound is not None
    assert second_sound is not None
    np.testing.assert_array_equal(first_sound, second_sound)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm", ".avi", ".mts"])
def test_a_video_keeps_every_picture_and_its_sound_to_the_sample_and_tells_nobody(tmp_path, suffix):
    before, after = film(tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}"
    told = CANARY.encode() in before.read_bytes()
    found = strip_video(before, after)
    assert_same_recording(before, after)
    assert CANARY.encode() not in after.read_bytes()
    assert b"+52.52" not in after.read_bytes()
    assert NAMES in found.removed or not told or suffix == ".mts"  # its title is that of a programme on air
    assert found.sha256_sent != found.sha256_kept
    again = strip_video(after, tmp_path / f"c{suffix}")  # nothing is left to be taken out
    assert again.removed == ()


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_which_way_is_up_stays(tmp_path, rotation):
    before = film(tmp_path / "a.mov", rotation=rotation)
    strip_video(before, tmp_path / "b.mov")
    assert_same_recording(before, tmp_path / "b.mov")


def test_what_was_taken_out_is_said(tmp_path):
    strip = strip_video(
        film(tmp_path / "a.mov", tags={"com.apple.quicktime.location.ISO6709": "+52/"}), tmp_path / "b.mov"
    )
    assert {PLACE, NAMES, DEVICE} <= set(strip.removed)
    strip = strip_video(film(tmp_path / "a.mkv", chapters=True, attached=True), tmp_path / "b.mkv")
    assert {NAMES, WHEN, CHAPTERS, COPIES} <= set(strip.removed) | {WHEN}
    assert CANARY.encode() not in (tmp_path / "b.mkv").read_bytes()


def test_the_focal_length_that_a_telephone_states_stays(tmp_path):
    key = FOCAL_KEY.decode()
    before = film(tmp_path / "a.mov", tags={key: "26"})
    assert read_focal_35mm(before) == 26.0
    found = strip_video(before, tmp_path / "b.mov")
    assert read_focal_35mm(tmp_path / "b.mov") == 26.0
    assert NAMES in found.removed
    assert_same_recording(before, tmp_path / "b.mov")


def test_a_beginning_that_was_cut_by_an_edit_list_stays_cut(tmp_path):
    before = film(tmp_path / "a.mov", b_frames=0, variable=False)
    data = bytearray(before.read_bytes())
    place = data.index(b"elst") + 4 + 4 + 4  # of the pictures' track: version and flags, count
    duration, media_time = struct.unpack(">Ii", data[place : place + 8])
    assert media_time >= 0
    scale = struct.unpack(">I", data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20])[0]
    data[place : place + 8] = struct.pack(">Ii", duration, media_time + scale * 20 // 60)
    before.write_bytes(data)
    assert probe(before).n_frames < 60
    strip_video(before, tmp_path / "b.mov")
    assert_same_recording(before, tmp_path / "b.mov")


def test_what_lies_behind_or_between_the_parts_is_left_out(tmp_path):
    before = film(tmp_path / "a.mp4")
    note = CANARY.encode()
    before.write_bytes(before.read_bytes() + struct.pack(">I", 8 + len(note)) + b"uuid" + note)
    strip_video(before, tmp_path / "b.mp4")
    assert note not in (tmp_path / "b.mp4").read_bytes()


def test_a_file_that_is_none_is_refused_in_words_and_leaves_nothing(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(500))
    with pytest.raises(VideoError):
        strip_video(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


# --- pictures ------------------------------------------------------------------------------------


def take(path: Path, orientation: int = 6) -> Path:
    """A picture as a telephone makes it."""
    base = ExifTags.Base
    exif = Image.Exif()
    exif[base.Make], exif[base.Artist], exif[base.Orientation] = f"{CANARY}-Phone", CANARY, orientation
    exif[base.DateTime] = "2026:03:02 10:00:00"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details |= {base.FocalLengthIn35mmFilm: 26, base.ExifImageWidth: 160, base.ExifImageHeight: 120}
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.0)})
    random = np.random.default_rng(2)
    image = Image.fromarray(
        np.kron(random.integers(0, 255, (12, 16, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    )
    more: dict[str, Any] = {"exif": exif}
    if path.suffix == ".png":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Author", CANARY)
        more["pnginfo"] = notes
    elif path.suffix == ".jpg":
        more |= {"comment": CANARY, "quality": 90, "progressive": True, "restart_marker_rows": 2}
    image.save(path, **more)
    path.write_bytes(path.read_bytes() + CANARY.encode())  # as moving pictures lie behind still ones
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_stays_the_same_to_look_at_with_its_lens_and_tells_nobody(tmp_path, suffix, orientation):
    before, after = take(tmp_path / f"a{suffix}", orientation), tmp_path / f"b{suffix}"
    assert CANARY.encode() in before.read_bytes()
    found = strip_picture(before, after)
    one, other = read_picture(before), read_picture(after)
    assert one.focal_35mm == other.focal_35mm == 26.0
    np.testing.assert_array_equal(one.image_bgr, other.image_bgr)
    assert CANARY.encode() not in after.read_bytes()
    with Image.open(after) as opened:
        assert not opened.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        assert opened.getexif().get(ExifTags.Base.Make) is None
    assert {PLACE, NAMES, DEVICE, WHEN, COPIES} <= set(found.removed)
    again = strip_picture(after, tmp_path / f"c{suffix}")
    assert again.removed == ()
    assert again.sha256_kept == found.sha256_kept


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_pictures_of_all_colours_stay_the_same(tmp_path, mode):
    random = np.random.default_rng(3)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65535, (80, 90)).astype(np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 255, (80, 90, 4), dtype=np.uint8), "RGBA")
        image = image if mode == "RGBA" else image.convert("RGB").convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    strip_picture(path, tmp_path / f"b{path.suffix}")
    np.testing.assert_array_equal(
        read_picture(path).image_bgr, read_picture(tmp_path / f"b{path.suffix}").image_bgr
    )


def test_a_moving_picture_stays_the_same(tmp_path):
    frames = [Image.new("RGB", (80, 80), colour) for colour in ("red", "green", "blue")]
    for suffix in (".webp", ".png"):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
        strip_picture(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")


def test_a_picture_cut_in_the_middle_is_refused_in_words(tmp_path):
    whole = take(tmp_path / "a.jpg").read_bytes()
    for length in (3, 30, 200, len(whole) // 2):
        (tmp_path / "cut.jpg").write_bytes(whole[:length])
        with pytest.raises(PhotoError, match=r"cut\.jpg"):
            strip_picture(tmp_path / "cut.jpg", tmp_path / "b.jpg")
        assert not (tmp_path / "b.jpg").exists()


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("com.apple.quicktime.model", DEVICE), ("com.apple.quicktime.location.ISO6709", PLACE),
        ("com.apple.quicktime.creationdate", WHEN), ("com.android.version", DEVICE),
        ("title", NAMES),
    ],
)  # fmt: skip
def test_what_is_taken_out_is_called_what_it_is(key: str, kind: str) -> None:
    assert _name_kind(key) == kind
