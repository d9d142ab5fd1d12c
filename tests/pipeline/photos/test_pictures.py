"""Reading pictures: upright, by their own word on the lens, and named where they cannot be read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.errors import PhotoError
from pipeline.photos import pictures
from pipeline.photos.folder import MAX_PICTURES, read_photo_set
from pipeline.photos.pictures import get_focal_px, read_picture

HALVES = np.zeros((80, 120, 3), np.uint8)
HALVES[:, :60] = [255, 0, 0]  # the left half is red, the right half black


def save(path: Path, image: np.ndarray = HALVES, **exif: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image)
    tags = picture.getexif()
    own = {"Orientation": ExifTags.Base.Orientation, "Make": ExifTags.Base.Make}
    for name, value in exif.items():
        if name in own:
            tags[own[name]] = value
        else:
            tags.get_ifd(ExifTags.IFD.Exif)[getattr(ExifTags.Base, name)] = value
    picture.save(path, exif=tags)
    return path


def test_a_picture_is_turned_as_it_says(tmp_path: Path) -> None:
    turned = read_picture(save(tmp_path / "a.jpg", Orientation=6)).image_bgr
    assert turned.shape == (120, 80, 3)
    assert turned[20, 40].tolist() == pytest.approx([0, 0, 254], abs=8)  # what was left is on top now
    assert turned[100, 40].max() < 30


def test_the_lens_counts_only_while_the_picture_is_whole(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.jpg", FocalLengthIn35mmFilm=26, ExifImageWidth=4800, ExifImageHeight=3200)
    cut = save(tmp_path / "b.jpg", FocalLengthIn35mmFilm=26, ExifImageWidth=4000, ExifImageHeight=3000)
    silent = save(tmp_path / "c.jpg")
    assert [read_picture(path).focal_35mm for path in (whole, cut, silent)] == [26.0, None, None]
    assert get_focal_px(43.2666, (300, 400)) == pytest.approx(500, rel=1e-4)


def test_see_through_and_deep_pictures_are_read_as_seen(tmp_path: Path) -> None:
    clear = np.zeros((80, 80, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "a.png")
    Image.fromarray(np.full((80, 80), 40_000, np.uint16)).save(tmp_path / "b.png")
    assert read_picture(tmp_path / "a.png").image_bgr.min() == 255
    assert read_picture(tmp_path / "b.png").image_bgr[0, 0].tolist() == [156, 156, 156]


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    whole = save(tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "phone.heic").write_bytes(whole)
    Image.fromarray(HALVES).save(tmp_path / "gif.jpg", format="GIF")
    save(tmp_path / "tiny.png", HALVES[:20, :20])
    for name in ("text.jpg", "half.jpg", "phone.heic", "gif.jpg", "tiny.png"):
        with pytest.raises(PhotoError, match=name):
            read_picture(tmp_path / name)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    with pytest.raises(PhotoError, match="million pixels"):
        read_picture(tmp_path / "whole.jpg")


@pytest.mark.parametrize("kind", [1, 2, 11])  # bytes, text, a float, where a whole number belongs
def test_details_of_the_wrong_kind_are_no_crash(tmp_path: Path, kind: int) -> None:
    entries = struct.pack(">HHLL HHLHH", 0x0100, kind, 1, 0x00010002, 0x0112, 3, 1, 6, 0)
    details = b"Exif\0\0MM\0*" + struct.pack(">LH", 8, 2) + entries + bytes(4)
    path = tmp_path / "odd.jpg"
    Image.fromarray(HALVES).save(path, exif=details)
    with pytest.raises(PhotoError, match=r"odd\.jpg cannot be read"):
        read_picture(path)


def test_a_set_lists_its_pictures_as_a_person_would(tmp_path: Path) -> None:
    for name in ("IMG_10.jpg", "IMG_9.jpg", "note.txt", "x.heic"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x")
    (tmp_path / "photos.toml").write_text('subject = "P-3"\nhand_length_mm = 180\n')
    found = read_photo_set(tmp_path)
    assert [path.name for path in found.pictures] == ["IMG_9.jpg", "IMG_10.jpg", "x.heic"]
    assert (found.settings.subject, found.settings.hand_length_mm) == ("P-3", 180.0)


@pytest.mark.parametrize(
    ("names", "toml", "words"),
    [
        ([], "", "No pictures"),
        ([f"{n}.png" for n in range(MAX_PICTURES + 1)], "", "is the most"),
        (["a.png"], "hand_lenght_mm = 180", "hand_lenght_mm"),
        (["a.png"], "hand_length_mm = 5", "hand_length_mm"),
        (["a.png"], "= 5", "not TOML"),
    ],
)
def test_a_set_that_cannot_be_worked_says_why(
    tmp_path: Path, names: list[str], toml: str, words: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "photos.toml").write_text(toml)
    with pytest.raises(PhotoError, match=words):
        read_photo_set(tmp_path)
