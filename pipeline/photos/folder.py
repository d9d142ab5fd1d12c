"""A set of pictures on disk: which files, and what ``photos.toml`` says of them.

my-set/
  photos.toml       optional
  left_out.json     optional: what was sent for it and is no picture, each with its reason
  photos/           the pictures; without this folder they lie in my-set itself
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import PhotoError, RunFolderError
from pipeline.files import read_json, write_json
from pipeline.session import FOCAL_RANGE_MM, Number, Preset, read_settings_text
from settings import get_settings

MAX_PICTURES = 50
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
NAMED_SUFFIXES = (".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".bmp")
"""Pictures that are not read here; they are named as such rather than passed over."""

SETTINGS_FILE = "photos.toml"
PICTURES_FOLDER = "photos"
LEFT_OUT_FILE = "left_out.json"


class PhotoSettings(BaseModel):
    """``photos.toml``; an unknown key is an error, since a misspelt one would be ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str = "unnamed"
    """A pseudonym, never a name."""
    visit: datetime.date | None = None
    preset: Preset = "standard"
    detector: str = Field(default_factory=lambda: get_settings().detector)
    estimator: str = Field(default_factory=lambda: get_settings().estimator)
    hand_length_mm: Number | None = Field(default=None, gt=80, lt=280)
    """Wrist crease to the middle finger's tip, by ruler: gives the scale, which no single picture tells."""
    focal_35mm: Number | None = Field(default=None, ge=FOCAL_RANGE_MM[0], le=FOCAL_RANGE_MM[1])
    """Focal length as on 35 mm film, for pictures that do not say theirs."""


@dataclass(frozen=True)
class LeftOut:
    """A file that was sent for a set and not taken: its name, why, and what to do."""

    name: str
    what: str
    advice: str


@dataclass(frozen=True)
class PhotoSet:
    """A set of pictures: its folder, its settings, its files in the order of their names, and what is not."""

    path: Path
    settings: PhotoSettings
    pictures: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()


def read_photo_set(path: Path) -> PhotoSet:
    """Read a folder of pictures.

    Raises
    ------
    PhotoError
        It is no folder, holds no pictures or too many, or one of its own files is not what it should be.
    """
    path = Path(path)
    if not path.is_dir():
        raise PhotoError(f"{path} is not a folder.", "Give the folder that holds the pictures.")
    settings = _read_settings(path / SETTINGS_FILE)
    inner = path / PICTURES_FOLDER
    pictures = list_pictures(inner if inner.is_dir() else path)
    if not pictures:
        raise PhotoError(f"No pictures in {path}.", f"Put pictures there ({', '.join(SUFFIXES)}).")
    if len(pictures) > MAX_PICTURES:
        raise PhotoError(
            f"{len(pictures)} pictures in {path}, and {MAX_PICTURES} is the most.", "Make more sets than one."
        )
    return PhotoSet(path, settings, pictures, _read_left_out(path / LEFT_OUT_FILE))


def write_left_out(folder: Path, files: Sequence[LeftOut]) -> None:
    """Write down beside a set's pictures what was not taken; nothing is written where there is nothing."""
    if files:
        write_json(folder / LEFT_OUT_FILE, [asdict(file) for file in files])


def _read_left_out(path: Path) -> tuple[LeftOut, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(
            LeftOut(str(each["name"]), str(each["what"]), str(each["advice"])) for each in read_json(path)
        )
    except (RunFolderError, KeyError, TypeError) as error:
        raise PhotoError(f"{path} is damaged.", "Remove it: it only names what is missing.") from error


def list_pictures(folder: Path) -> tuple[Path, ...]:
    """The pictures that lie in a folder, by name with numbers as numbers; also those of kinds not read."""
    kinds = (*SUFFIXES, *NAMED_SUFFIXES)
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in kinds and not file.name.startswith(".") and file.is_file()
    ]
    return tuple(sorted(files, key=lambda file: _natural(file.name)))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def _read_settings(path: Path) -> PhotoSettings:
    if not path.is_file():
        return PhotoSettings()
    try:
        return PhotoSettings.model_validate(tomllib.loads(read_settings_text(path)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(PhotoSettings.model_fields)
        raise PhotoError(f"{path}: {key}: {first['msg']}.", f"Mend it; the keys are {known}.") from error
    except (ValueError, RecursionError) as error:
        raise PhotoError(f"{path} is not TOML: {error}.", "Mend that line.") from error
