"""What is found in pictures, as typed values and as files.

- ``photos.json``: state, settings, versions, models, warnings, and of each picture all but its points.
- ``points.npz``: every hand's points, 2D and 3D, and their error.
- ``tables/``: ``points.csv`` with a row a joint; ``points_000.csv`` of one picture.
- ``web/``, what the browser asks for: ``picture_000.json``, one picture with its points; ``picture_000.jpg``
  and ``thumb_000.jpg``, as taken but without hidden details (place, owner, camera); ``mesh_000.png``, the
  hand models alone, see-through; ``vertices_000_0.f32``, a hand model's surface (V, 3) in mm about its
  wrist; ``faces_right.u32`` and ``faces_left.u32``.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RunFolderError
from pipeline.files import read_json, write_bytes, write_json, write_npz
from pipeline.hand.joints import JOINTS, Side

SCHEMA_VERSION = 1

CSV_HEADS = (
    *("picture", "hand", "side", "joint", "x_px", "y_px", "sigma_px"),
    *("x_mm", "y_mm", "z_mm", "sigma_x_mm", "sigma_y_mm", "sigma_z_mm"),
    *("model_x_px", "model_y_px", "at_fault"),
)


@dataclass(frozen=True)
class FailureRow:
    """A likely reason why a hand's points may be wrong (`pipeline.photos.failures.Failure`)."""

    reason: str
    figure: float
    limit: float
    unit: str
    joints: tuple[int, ...] = ()


@dataclass(frozen=True)
class HandRow:
    """A hand of a picture.

    Attributes
    ----------
    side : "right" | "left"
    side_share : float or None
        Mean probability of that side; None where the network cannot tell.
    side_votes : (int, int)
        Passes for that side, of how many.
    score : float
        The network's confidence, 0 to 1.
    second_look : bool
        Found only in a part of the picture.
    box_px : list of 4 floats
    points_px : list (21, 2)
    sigma_px : list (21,)
        One standard deviation along each axis.
    reprojection_px : float or None
        Root mean square distance of the points from the hand model's joints; None without a fit, as are
        those below.
    joints_mm : list (21, 3) or None
        In the camera's frame, from the wrist on.
    sigma_mm : list (21, 3) or None
        One standard deviation along x, y and z (away from the viewer).
    wrist_mm : list (3,) or None
        Where the wrist is if lens and size are as stated.
    projected_px : list (21, 2) or None
        The hand model's joints in the picture.
    fault : str
        Why there is no fit; empty where there is one.
    failures : tuple of FailureRow
    """

    side: Side
    side_share: float | None
    side_votes: tuple[int, int]
    score: float
    second_look: bool
    box_px: list[float]
    points_px: list[list[float]]
    sigma_px: list[float]
    reprojection_px: float | None = None
    joints_mm: list[list[float]] | None = None
    sigma_mm: list[list[float]] | None = None
    wrist_mm: list[float] | None = None
    projected_px: list[list[float]] | None = None
    fault: str = ""
    failures: tuple[FailureRow, ...] = ()


@dataclass(frozen=True)
class PictureRow:
    """A picture.

    Attributes
    ----------
    number : int
        From 0, in the order of the names.
    name : str
        The file's name, as the person has it.
    key : str
        What its results hang on; while it is the same they are kept.
    size_px : (int, int)
        Width and height; (0, 0) where it cannot be read.
    web_scale : float
        Of the browser's copy against the picture.
    focal_35mm : float
    focal_source : str
        "picture", "settings" or "assumed".
    what, advice : str
        Why it cannot be read; empty where it can.
    hands : tuple of HandRow
        The largest first.
    """

    number: int
    name: str
    key: str
    size_px: tuple[int, int] = (0, 0)
    web_scale: float = 1.0
    focal_35mm: float = float("nan")
    focal_source: str = "assumed"
    what: str = ""
    advice: str = ""
    hands: tuple[HandRow, ...] = ()

    @property
    def failures(self) -> tuple[tuple[int, FailureRow], ...]:
        """Every likely reason, with the number of its hand."""
        return tuple((number, each) for number, hand in enumerate(self.hands) for each in hand.failures)


@dataclass(frozen=True)
class PhotoResults:
    """A finished set.

    Attributes
    ----------
    settings : dict
        As in ``photos.toml``.
    hand_length_mm : float
        What counts as the hand's length.
    scale_source : str
        "average" hand or "stated" length.
    hand_model : str
    versions : dict
    models : list of dict
    warnings : tuple of str
    pictures : tuple of PictureRow
    """

    settings: dict[str, Any]
    hand_length_mm: float
    scale_source: str
    hand_model: str
    versions: dict[str, str]
    models: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()
    pictures: tuple[PictureRow, ...] = field(default=())


def picture_file(folder: Path, number: int) -> Path:
    """Where a picture's record lies in a run folder."""
    return folder / "web" / f"picture_{number:03d}.json"


def write_picture(folder: Path, picture: PictureRow) -> None:
    """Write a picture's record: last of all its files, so that where it is, all are."""
    write_json(picture_file(folder, picture.number), asdict(picture))


def read_picture_row(path: Path) -> PictureRow:
    """Read a picture's record.

    Raises
    ------
    RunFolderError
        It is missing or damaged.
    """
    raw = read_json(path)
    try:
        hands = tuple(_parse_hand(hand) for hand in raw.pop("hands"))
        raw["size_px"] = (int(raw["size_px"][0]), int(raw["size_px"][1]))
        focal = raw.pop("focal_35mm")
        return PictureRow(**raw, focal_35mm=float("nan") if focal is None else float(focal), hands=hands)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{path} is no record of a picture.", "Work the pictures again.") from error


def _parse_hand(raw: dict[str, Any]) -> HandRow:
    failures = tuple(
        FailureRow(**{**each, "joints": tuple(each.get("joints") or ())}) for each in raw.pop("failures")
    )
    votes = raw.pop("side_votes")
    return HandRow(**raw, side_votes=(int(votes[0]), int(votes[1])), failures=failures)


def read_results(folder: Path) -> PhotoResults:
    """Read a finished set's run folder.

    Raises
    ------
    RunFolderError
        A part is missing, damaged, or of another schema.
    """
    raw = read_json(folder / "photos.json")
    if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
        raise RunFolderError(f"{folder} is no set of pictures that this program reads.", "Work it again.")
    try:
        pictures = tuple(read_picture_row(picture_file(folder, n)) for n in range(len(raw["pictures"])))
        return PhotoResults(
            settings=dict(raw["settings"]),
            hand_length_mm=float(raw["hand_length_mm"]),
            scale_source=str(raw["scale_source"]),
            hand_model=str(raw["hand_model"]),
            versions=dict(raw["versions"]),
            models=list(raw["models"]),
            warnings=tuple(raw["warnings"]),
            pictures=pictures,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{folder / 'photos.json'} cannot be read.", "Work the set again.") from error


def summarise_picture(picture: PictureRow) -> dict[str, Any]:
    """A picture in ``photos.json``: all but the points."""
    values = asdict(picture)
    for hand in values["hands"]:
        for name in ("points_px", "sigma_px", "joints_mm", "sigma_mm", "projected_px"):
            hand.pop(name)
    return values


def write_points(folder: Path, pictures: tuple[PictureRow, ...]) -> None:
    """Write ``points.npz``, and ``tables/`` with a row a joint."""
    hands = [(picture, number, hand) for picture in pictures for number, hand in enumerate(picture.hands)]

    def stack(name: str, *shape: int) -> np.ndarray:
        values = [getattr(hand, name) for _, _, hand in hands]
        blank = np.full(shape, np.nan)
        filled = [blank if value is None else np.array(value, dtype=float) for value in values]
        return np.stack(filled) if filled else np.empty((0, *shape))

    write_npz(
        folder / "points.npz",
        picture=np.array([picture.number for picture, _, _ in hands], dtype=int),
        name=np.array([picture.name for picture, _, _ in hands], dtype="U"),
        hand=np.array([number for _, number, _ in hands], dtype=int),
        side=np.array([hand.side for _, _, hand in hands], dtype="U5"),
        points_px=stack("points_px", 21, 2),
        sigma_px=stack("sigma_px", 21),
        joints_mm=stack("joints_mm", 21, 3),
        sigma_mm=stack("sigma_mm", 21, 3),
        wrist_mm=stack("wrist_mm", 3),
        projected_px=stack("projected_px", 21, 2),
    )
    rows = {picture.number: _list_rows(picture) for picture in pictures}
    for picture in pictures:
        if picture.hands:
            write_csv(folder / "tables" / f"points_{picture.number:03d}.csv", rows[picture.number])
    write_csv(folder / "tables" / "points.csv", [row for number in rows for row in rows[number]])


def _list_rows(picture: PictureRow) -> list[list[Any]]:
    rows = []
    for number, hand in enumerate(picture.hands):
        faults = {joint for each in hand.failures for joint in each.joints}
        for joint, name in enumerate(JOINTS):
            space = [hand.joints_mm, hand.sigma_mm, hand.projected_px]
            spatial = [["", "", ""], ["", "", ""], ["", ""]]
            spatial = [
                blank if part is None else _round(part[joint])
                for part, blank in zip(space, spatial, strict=True)
            ]
            rows.append(
                [
                    *(picture.name, number + 1, hand.side, name),
                    *_round(hand.points_px[joint]),
                    *_round([hand.sigma_px[joint]]),
                    *spatial[0],
                    *spatial[1],
                    *spatial[2],
                    int(joint in faults),
                ]
            )
    return rows


def _round(values: list[float]) -> list[Any]:
    return [round(float(value), 2) for value in values]


def write_csv(path: Path, rows: list[list[Any]]) -> None:
    """Write rows under `CSV_HEADS`; a name that a spreadsheet would run as a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_HEADS)
    for row in rows:
        name = str(row[0])
        writer.writerow([f"'{name}" if name[:1] in "=+-@\t" else name, *row[1:]])
    write_bytes(path, out.getvalue().encode())
