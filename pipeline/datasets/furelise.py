"""FürElise (Wang et al. 2024, arXiv:2410.05791): 15 elite pianists, 153 pieces, 10 h; CC BY-NC 4.0.

Layout, as its makers state it: ``metadata.json``, a list with ``piece_id`` and ``subject_id``; and
``dataset/<piece_id>/motion.pkl``, for ``left`` and ``right`` each ``joints`` (N, 21, 3) in m, in the order
of `pipeline.hand.joints.JOINTS`, and ``mano_params``, which are not needed. World: x towards the player, y up
the keyboard, z up; 59.94 frames/s. The pickle is read without running it (`pipeline.datasets.pickles`).

Angles come from the joints, through the same filter as a recording's. Jerk and acceleration are not taken:
the motion was fitted with MANO and refined so that keys are met, and its noise is not that of a recording
here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.pickles import read_array_pickle
from pipeline.datasets.postures import PostureShelf
from pipeline.datasets.reading import read_json_of, to_array
from pipeline.errors import DatasetError
from pipeline.hand.joints import N_JOINTS, SIDES, Side
from pipeline.measures.baseline_build import BaselineLabel, PersonData, build_labelled
from pipeline.measures.baseline_types import Baseline
from pipeline.progress import Reporter

FPS = 60000 / 1001
NAME = "FürElise"
TASK = "piano"
LICENCE = "CC BY-NC 4.0 (FürElise, Wang et al. 2024): not for commercial use"
POSTURE_ONLY = (
    "FürElise gives no jerk and no acceleration: its motion was fitted and refined otherwise, so that its "
    "noise is not that of a recording here."
)
_MM_PER_M = 1000.0


@dataclass(frozen=True)
class Piece:
    """One piece.

    Attributes
    ----------
    path : Path
        Its ``motion.pkl``.
    piece, subject : int
        By ``metadata.json``.
    """

    path: Path
    piece: int
    subject: int


@dataclass(frozen=True)
class PieceMotion:
    """Both hands of one piece.

    Attributes
    ----------
    time_s : ndarray (N,)
        At 60000/1001 frames/s, from 0.
    joints_mm : dict of ndarray (N, 21, 3)
        By side, each hand as it is. NaN = not measured.
    """

    time_s: np.ndarray
    joints_mm: dict[Side, np.ndarray]


def list_pieces(folder: Path) -> list[Piece]:
    """The pieces that are there, by subject and piece; those that were not downloaded are left out.

    Raises
    ------
    DatasetError
        There is no ``metadata.json`` or no piece, or a piece is not in the metadata.
    """
    metadata = folder / "metadata.json"
    subjects = _read_subjects(metadata)
    pieces = []
    for path in sorted(folder.glob("**/motion.pkl")):
        name = path.parent.name
        piece = int(name) if name.isdecimal() else -1
        if piece not in subjects:
            raise DatasetError(
                f"{metadata} does not say who played {path.parent}.",
                "Get metadata.json from the same place as the pieces, or take the folder away.",
            )
        pieces.append(Piece(path, piece, subjects[piece]))
    if not pieces:
        raise DatasetError(
            f"{folder} holds no motion.pkl.",
            "Unpack the data set's dataset.zip there, so that dataset/<piece>/motion.pkl is in it.",
        )
    return sorted(pieces, key=lambda found: (found.subject, found.piece))


def _read_subjects(metadata: Path) -> dict[int, int]:
    try:
        return {int(row["piece_id"]): int(row["subject_id"]) for row in read_json_of(metadata, NAME)}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{metadata} is no list of pieces with piece_id and subject_id "
            f"({type(error).__name__}: {error}).",
            "Get it from the makers of the data set again.",
        ) from error


def read_motion(path: Path) -> PieceMotion:
    """Read one ``motion.pkl``.

    Raises
    ------
    DatasetError
        It is missing, holds anything but plain arrays, or is laid out otherwise; it is named.
    """
    raw = read_array_pickle(path)
    hands = {side: _take_joints(raw, side, path) for side in SIDES if _has(raw, side)}
    if not hands:
        raise DatasetError(f"{path} holds neither a left nor a right hand.", "Get it from its makers again.")
    frames = {len(joints) for joints in hands.values()}
    if len(frames) > 1:
        raise DatasetError(
            f"{path}: the hands have {' and '.join(map(str, sorted(frames)))} frames.",
            "Get it from its makers again.",
        )
    return PieceMotion(np.arange(frames.pop()) / FPS, hands)


def _has(raw: Any, side: Side) -> bool:
    return isinstance(raw, dict) and raw.get(side) is not None


def _take_joints(raw: dict[str, Any], side: Side, path: Path) -> np.ndarray:
    hand = raw[side]
    joints = hand.get("joints") if isinstance(hand, dict) else hand
    joints = to_array(joints, (None, N_JOINTS, 3), f"{path}, joints of the {side} hand,")
    return joints * _MM_PER_M


def build_furelise(folder: Path, report: Reporter, version: str = "1") -> Baseline:
    """Build a reference of postures from FürElise, or from the part of it that is there.

    Parameters
    ----------
    folder : Path
        With ``metadata.json`` and ``dataset/``.
    report : Reporter
        Hears of each piece; also where it is asked to stop.
    version : str
        Of the reference.

    Raises
    ------
    DatasetError
        The folder is not laid out so.
    MeasureError
        It holds fewer than two people.
    """
    pieces = list_pieces(folder)
    people = {piece.subject for piece in pieces}
    label = BaselineLabel(
        name=NAME,
        licence=LICENCE,
        provenance=(
            f"FürElise, {len(pieces)} pieces of {len(people)} elite pianists (not typical of all who play), "
            "anonymous, age and sex not recorded; several cameras, hands fitted with MANO and refined by the "
            "keys that were struck; 59.94 frames/s. Angles from its joints by this program."
        ),
        version=version,
        posture_only=POSTURE_ONLY,
    )
    with tempfile.TemporaryDirectory(prefix="redys-furelise-") as scratch:
        return build_labelled(_measure_people(pieces, Path(scratch), report), label)


def _measure_people(pieces: list[Piece], scratch: Path, report: Reporter) -> Iterator[PersonData]:
    shelf = PostureShelf(scratch, POSTURE_ONLY)
    done = 0
    for subject in dict.fromkeys(piece.subject for piece in pieces):
        hands = []
        for piece in (one for one in pieces if one.subject == subject):
            report.update(done / len(pieces), f"Piece {piece.piece} of subject {subject}")
            motion = read_motion(piece.path)
            hands += [
                shelf.measure(motion.time_s, joints, side, f"{piece.path} ({side})")
                for side, joints in motion.joints_mm.items()
            ]
            done += 1
        yield PersonData(f"furelise-{subject:02d}", TASK, tuple(hands))
