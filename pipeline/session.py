"""The session folder: what lies in it, what ``session.toml`` says, and what is wrong with it in words."""

from __future__ import annotations

import datetime
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import SessionError
from pipeline.hand.joints import SIDES, Side
from settings import get_settings

RIG_FILES = ("rig.json", "rig.toml", "rig.yaml", "rig.yml")
"""A rig solved before, in one of the formats of `pipeline.calibration.formats`; a session has one at most."""
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mts", ".3gp")
MAX_CAMERAS = 8
FOCAL_RANGE_MM = (8.0, 1000.0)
"""What lenses have, as if on 35 mm film."""

Preset = Literal["minimal", "standard", "dystonia", "latching_fix"]

Value = TypeVar("Value")

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; strict, since ``true`` would pass for 1."""


class Checkerboard(BaseModel):
    """The board shown to the cameras: inner corners along and across, and the size of a square."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: int = Field(default=9, ge=3, le=40)
    rows: int = Field(default=6, ge=3, le=40)
    square_mm: Number = Field(default=25.0, gt=0)


class ExcludedSection(BaseModel):
    """A stretch that a person excluded: nothing is measured in it (`pipeline.measures.excluded`).

    From ``start_s`` up to ``end_s`` on the reference camera's clock; of both hands where ``side`` is None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_s: Number = Field(ge=0)
    end_s: Number
    reason: str = Field(min_length=1)
    side: Side | None = None

    @model_validator(mode="after")
    def _require_order(self) -> ExcludedSection:
        if not self.end_s > self.start_s:
            raise ValueError("end_s must be later than start_s")
        return self


class SessionSettings(BaseModel):
    """``session.toml``; an unknown key is an error, since a misspelt one would be ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str = "unnamed"
    visit: datetime.date | None = None
    task: str = "piano"
    side: Literal["right", "left", "both"] = "right"
    reference: str = "front"
    preset: Preset = "standard"
    detector: str = Field(default_factory=lambda: get_settings().detector)
    estimator: str = Field(default_factory=lambda: get_settings().estimator)
    checkerboard: Checkerboard = Checkerboard()
    hand_length_mm: Number | None = Field(default=None, gt=80, lt=280)
    """Wrist crease to the middle finger's tip, by ruler: gives the scale where no checkerboard does."""
    focal_35mm: dict[str, Annotated[Number, Field(ge=FOCAL_RANGE_MM[0], le=FOCAL_RANGE_MM[1])]] = Field(
        default_factory=dict
    )
    """Focal length by camera as phone makers state it (as if on 35 mm film), where no checkerboard tells."""
    offset_s: dict[str, Number] = Field(default_factory=dict)
    apply_time_shift: bool = Field(default=False, strict=True)
    """Whether the clocks are put right by what the fitted hand tells of them, for offsets set by eye."""
    outline: bool = Field(default=False, strict=True)
    """Whether the hand's outline is traced in the pictures and has a say in the fit."""
    cameras: dict[str, str] = Field(default_factory=dict)
    """Which file a camera's video is where its name is wrong: the file's name without its ending, by camera.
    The reference, offsets and focal lengths go by the camera's right name."""
    calibration_cameras: dict[str, str] = Field(default_factory=dict)
    """The same for the checkerboard's takes and the rig: what they call the camera, by its right name."""
    exclude: tuple[ExcludedSection, ...] = ()
    """Sections in which nothing is measured."""

    @property
    def sides(self) -> tuple[Side, ...]:
        """The hands to look for."""
        return SIDES if self.side == "both" else (self.side,)


@dataclass(frozen=True)
class Session:
    """A session folder, read and checked for what can be seen without decoding.

    Attributes
    ----------
    path : Path
    settings : SessionSettings
    videos : dict of Path
        One file a camera, by the camera's name (its own, where ``settings.cameras`` does not say another);
        empty where keypoints are given instead.
    calibration_videos : dict of Path
        The checkerboard takes, by camera; empty without.
    rig : Path or None
        A rig solved before.
    keypoints : dict of Path
        Keypoints from another tool, by camera, instead of videos.
    """

    path: Path
    settings: SessionSettings
    videos: dict[str, Path]
    calibration_videos: dict[str, Path] = field(default_factory=dict)
    rig: Path | None = None
    keypoints: dict[str, Path] = field(default_factory=dict)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, the reference camera first, then by name."""
        names = self.videos or self.keypoints
        return tuple(sorted(names, key=lambda name: (name != self.settings.reference, name)))

    @property
    def inputs(self) -> dict[str, Path]:
        """Every file that the results depend on, by its path inside the folder."""
        files = [*self.videos.values(), *self.calibration_videos.values(), *self.keypoints.values()]
        files += [self.rig] if self.rig else []
        return {path.relative_to(self.path).as_posix(): path for path in sorted(files)}


def read_session(path: Path, settings: SessionSettings | None = None) -> Session:
    """Read a session folder.

    Parameters
    ----------
    path : Path
        The folder.
    settings : SessionSettings, optional
        In place of those of its ``session.toml``: what it would be with them.

    Raises
    ------
    SessionError
        The folder is missing, holds no videos or too many, two files of one camera, two rigs, or its
        ``session.toml`` is not what it should be. Names the file and says what to do.
    """
    path = Path(path)
    if not path.is_dir():
        raise SessionError(f"{path} is not a folder.", "Give the folder that holds the cameras' videos.")
    settings = _read_settings(path / "session.toml") if settings is None else settings
    videos = _find_videos(path)
    files = sorted((path / "keypoints").glob("*.npz"))
    keypoints = {file.stem: file for file in files if not file.name.startswith(".")}
    if videos and keypoints:
        keypoints = {}  # videos are the evidence; keypoints are for sessions without them
    where = path / "session.toml"
    videos = _rename(videos, settings.cameras, "cameras", where)
    keypoints = _rename(keypoints, settings.cameras, "cameras", where)
    takes = _find_videos(path / "calibration")
    if takes:
        takes = _rename(takes, settings.calibration_cameras, "calibration_cameras", where)
    if not videos and not keypoints:
        raise SessionError(
            f"No videos in {path}.",
            "Put one file a camera there, named after it: front.mp4, left.mp4, right.mp4 "
            f"({', '.join(VIDEO_SUFFIXES)}).",
        )
    names = videos or keypoints
    if len(names) > MAX_CAMERAS:
        raise SessionError(
            f"{len(names)} cameras in {path}, and {MAX_CAMERAS} is the most.",
            "Move the files that are no camera of this session elsewhere.",
        )
    settings = _check_reference(settings, names, path)
    _check_names(settings, names, path)
    return Session(
        path=path,
        settings=settings,
        videos=videos,
        calibration_videos=takes,
        rig=_find_rig(path),
        keypoints=keypoints,
    )


def _find_videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    videos: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in VIDEO_SUFFIXES or file.name.startswith("."):
            continue
        if file.stem in videos:
            raise SessionError(
                f"Two videos of camera {file.stem}: {videos[file.stem].name} and {file.name} in {folder}.",
                "Keep one of them.",
            )
        videos[file.stem] = file
    return videos


def rename_cameras(named: dict[str, Value], names: dict[str, str]) -> dict[str, Value]:
    """Things by camera as files call it, by the camera's right name.

    Parameters
    ----------
    named : dict
        By the name that a file or a rig has.
    names : dict of str
        By right name the one in ``named``; those that it does not speak of keep theirs.

    Raises
    ------
    ValueError
        Two would have one name, or ``names`` speaks of one that is not there; says which.
    """
    lost = sorted(set(names.values()) - set(named))
    if lost:
        raise ValueError(f"there is no {lost[0]}")
    right = {wrong: name for name, wrong in names.items()}
    renamed: dict[str, Value] = {}
    for wrong, value in named.items():
        name = right.get(wrong, wrong)
        if name in renamed or len(right) < len(names):
            raise ValueError(f"two would be camera {name}")
        renamed[name] = value
    return renamed


def _rename(files: dict[str, Path], names: dict[str, str], key: str, path: Path) -> dict[str, Path]:
    if not files or not names:
        return files
    try:
        return rename_cameras(files, names)
    except ValueError as error:
        raise SessionError(
            f"{path}: {key} does not fit the files: {error}.",
            f"The files are called {', '.join(sorted(files))}; name each once at most.",
        ) from error


def _find_rig(folder: Path) -> Path | None:
    rigs = [folder / name for name in RIG_FILES if (folder / name).is_file()]
    if len(rigs) > 1:
        names = " and ".join(rig.name for rig in rigs)
        raise SessionError(f"{len(rigs)} rigs in {folder}: {names}.", "Keep the one that is meant.")
    return rigs[0] if rigs else None


def _read_settings(path: Path) -> SessionSettings:
    if not path.is_file():
        return SessionSettings()
    try:
        text = read_settings_text(path)
    except ValueError as error:
        raise SessionError(f"{path} is not TOML: {error}.", "Mend that line.") from error
    return parse_settings(text, path)


MAX_SETTINGS_BYTES = 2**20
"""Ten thousand exclusions fit in it."""


def read_settings_text(path: Path) -> str:
    """A TOML file's text, which anybody may have made.

    Raises
    ------
    ValueError
        It is no text in UTF-8, or far too long.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_SETTINGS_BYTES + 1)
    if len(data) > MAX_SETTINGS_BYTES:
        raise ValueError(f"it is longer than {MAX_SETTINGS_BYTES // 2**10} kB")
    return data.decode("utf-8-sig")  # Windows adds a mark


def parse_settings(text: str, path: Path) -> SessionSettings:
    """Settings from the text of a ``session.toml``.

    Raises
    ------
    SessionError
        It is not TOML, or not what it should be; names ``path``.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # nested without end, or a number of thousands of digits
        raise SessionError(f"{path} is not TOML: {error}.", "Mend that line.") from error
    try:
        return SessionSettings.model_validate(raw)
    except ValidationError as error:
        raise SessionError(f"{path}: {_say(error)}.", "Mend it; the README lists every key.") from error


def _say(error: ValidationError) -> str:
    """The first thing wrong, as a sentence with the key's name and the nearest right one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*SessionSettings.model_fields, *Checkerboard.model_fields, *ExcludedSection.model_fields]
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"unknown key {key}{hint}"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, but it is {first['input']!r:.80}"


def _check_reference(settings: SessionSettings, names: dict[str, Path], path: Path) -> SessionSettings:
    if settings.reference in names:
        return settings
    if "reference" not in settings.model_fields_set and len(names) == 1:
        return settings.model_copy(update={"reference": next(iter(names))})
    raise SessionError(
        f"No video of the reference camera {settings.reference} in {path}; "
        f"there are {', '.join(sorted(names))}.",
        "Name one of the files so, or set reference in session.toml.",
    )


def _check_names(settings: SessionSettings, names: dict[str, Path], path: Path) -> None:
    for key, stated in (("offset_s", settings.offset_s), ("focal_35mm", settings.focal_35mm)):
        for camera in stated:
            if camera not in names:
                raise SessionError(
                    f"{path / 'session.toml'}: {key} names camera {camera}, of which there is no video.",
                    f"The cameras are {', '.join(sorted(names))}.",
                )
    if settings.offset_s.get(settings.reference):
        raise SessionError(
            f"{path / 'session.toml'}: offset_s names {settings.reference}, which is the reference camera: "
            "its clock is the one that counts.",
            "Give the other cameras' offsets instead: the seconds that are added to their times to get "
            f"{settings.reference}'s.",
        )
