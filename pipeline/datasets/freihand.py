"""FreiHAND (Zimmermann et al. 2019): single right hands in single pictures, joints and surface in metres.

    DIR/training_K.json  training_xyz.json  [training_verts.json  training_mano.json  training_scale.json]
    DIR/evaluation_K.json  ... the same
    DIR/training/rgb/00000000.jpg ...       each of the four versions follows the whole of the one before
    DIR/evaluation/rgb/00000000.jpg ...     one version

One entry of each file belongs to one hand. Coordinates are the camera's, OpenCV's way, and are projected by K
alone; the joints have this project's order (wrist, then thumb to pinky, base to tip): only the unit changes.
Where pixel (0, 0) lies is not stated. Predictions are FreiHAND's own ``pred.json``:
``[xyz, verts]``, both in metres, one entry a hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.datasets.reading import ManoParameters, read_json_of, to_array
from pipeline.errors import DatasetError
from pipeline.hand.joints import N_JOINTS

NAME = "FreiHAND"
MM_PER_M = 1e3
MANO_NUMBERS = 61

Split = Literal["training", "evaluation"]
Version = Literal["gs", "hom", "sample", "auto"]
SPLITS: tuple[Split, ...] = ("training", "evaluation")
VERSIONS: tuple[Version, ...] = ("gs", "hom", "sample", "auto")
"""Green screen, harmonised, and two ways of colouring anew; in the order of the pictures' numbers."""


@dataclass(frozen=True)
class FreihandSample:
    """One hand in one picture.

    Attributes
    ----------
    number : int
        Place in the files, from 0.
    image : Path
        The picture, 224 x 224 in the published set; it need not be there.
    K : ndarray (3, 3)
        Intrinsics in px.
    joints_mm : ndarray (21, 3)
        In the camera's frame, in the order of `pipeline.hand.joints.JOINTS`.
    vertices_mm : ndarray (V, 3) or None
        MANO's 778 vertices in the camera's frame.
    mano : ManoParameters or None
        Without ``transl_mm`` (NaN): the hand is placed by its joints.
    bone_mm : float
        Length of the middle finger's proximal phalanx; NaN where the split has no ``_scale.json``.
    """

    number: int
    image: Path
    K: np.ndarray
    joints_mm: np.ndarray
    vertices_mm: np.ndarray | None
    mano: ManoParameters | None
    bone_mm: float


@dataclass(frozen=True)
class FreihandSplit:
    """A split of FreiHAND with N hands; see `FreihandSample` for what each array holds.

    Attributes
    ----------
    folder : Path
    split : str
    K : ndarray (N, 3, 3)
    joints_mm : ndarray (N, 21, 3)
    vertices_mm : ndarray (N, V, 3) or None
    mano : ndarray (N, 61) or None
        48 of pose, 10 of shape, then root in px and scale, as the file has them.
    bone_mm : ndarray (N,)
    """

    folder: Path
    split: Split
    K: np.ndarray
    joints_mm: np.ndarray
    vertices_mm: np.ndarray | None
    mano: np.ndarray | None
    bone_mm: np.ndarray

    def __len__(self) -> int:
        return len(self.joints_mm)

    def find_image(self, number: int, version: Version = "gs") -> Path:
        """Path of a hand's picture in a version; the evaluation split has "gs" alone."""
        if self.split == "evaluation" and version != "gs":
            raise DatasetError(f"FreiHAND's evaluation split has no version {version}.", "Use gs.")
        place = number + len(self) * VERSIONS.index(version)
        return self.folder / self.split / "rgb" / f"{place:08d}.jpg"

    def samples(self, version: Version = "gs") -> Iterator[FreihandSample]:
        """Each hand in turn."""
        for number in range(len(self)):
            yield FreihandSample(
                number=number,
                image=self.find_image(number, version),
                K=self.K[number],
                joints_mm=self.joints_mm[number],
                vertices_mm=None if self.vertices_mm is None else self.vertices_mm[number],
                mano=None if self.mano is None else _split_mano(self.mano[number]),
                bone_mm=float(self.bone_mm[number]),
            )


def read_freihand(folder: Path, split: Split, *, with_vertices: bool = True) -> FreihandSplit:
    """Read a split's annotations.

    Parameters
    ----------
    folder : Path
        With ``training_xyz.json`` or ``evaluation_xyz.json``.
    split : str
        "training" or "evaluation".
    with_vertices : bool
        False leaves the vertices' file closed: that of the training split needs many GB of memory.

    Raises
    ------
    DatasetError
        ``_K.json`` or ``_xyz.json`` is missing, a file is broken, or their lengths differ; it is named.
        The other files may be missing, as they were in the evaluation split for years.
    """
    K = _read(folder / f"{split}_K.json", (None, 3, 3))
    count = len(K)
    vertices = _read_if_there(folder / f"{split}_verts.json", (None, None, 3)) if with_vertices else None
    mano = _read_mano(folder / f"{split}_mano.json")
    bone = _read_if_there(folder / f"{split}_scale.json", (None,))
    joints = _read(folder / f"{split}_xyz.json", (None, N_JOINTS, 3))
    for part, values in (("xyz", joints), ("verts", vertices), ("mano", mano), ("scale", bone)):
        if values is not None and len(values) != count:
            raise DatasetError(
                f"{folder / f'{split}_{part}.json'} has {len(values)} entries, {split}_K.json {count}.",
                "All files must be of one release of FreiHAND.",
            )
    return FreihandSplit(
        folder=folder,
        split=split,
        K=K,
        joints_mm=joints * MM_PER_M,
        vertices_mm=None if vertices is None else vertices * MM_PER_M,
        mano=mano,
        bone_mm=np.full(count, np.nan) if bone is None else bone * MM_PER_M,
    )


def read_freihand_predictions(path: Path, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Joints (N, 21, 3) and vertices (N, W, 3) in mm of a ``pred.json``; None where it has no vertices.

    A hand that was not found is null or NaN.

    Raises
    ------
    DatasetError
        The file is missing or broken, or has not ``count`` entries.
    """
    value = read_json_of(path, "whoever made the predictions")
    if not isinstance(value, list) or len(value) != 2:
        raise DatasetError(f"{path} is no list of two, [xyz, verts].", "FreiHAND's pred.py writes one.")
    for part, name in zip(value, ("xyz", "verts"), strict=True):
        found = len(part) if isinstance(part, list) else 0
        if found != count and not (name == "verts" and not part):
            raise DatasetError(
                f"{path} has {found} entries of {name}, the split {count}.",
                "Give one for each hand of the split, null where none was found.",
            )
    joints = to_array(_fill(value[0], N_JOINTS), (None, N_JOINTS, 3), f"{path}: xyz")
    known = [entry for entry in value[1] or [] if entry]
    if not known:
        return joints * MM_PER_M, None
    points = len(known[0]) if isinstance(known[0], list) else 0
    vertices = to_array(_fill(value[1], points), (None, None, 3), f"{path}: verts")
    return joints * MM_PER_M, vertices * MM_PER_M


def _fill(entries: list[Any], points: int) -> list[Any]:
    """The entries with NaN points where there is none."""
    nothing = np.full((points, 3), np.nan).tolist()
    return [entry if entry else nothing for entry in entries]


def _read(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    return to_array(read_json_of(path, NAME), shape, str(path))


def _read_if_there(path: Path, shape: tuple[int | None, ...]) -> np.ndarray | None:
    return _read(path, shape) if path.is_file() else None


def _read_mano(path: Path) -> np.ndarray | None:
    """Parameters (N, 61); each entry is a list of one list."""
    found = _read_if_there(path, (None, 1, MANO_NUMBERS))
    return None if found is None else found[:, 0]


def _split_mano(numbers: np.ndarray) -> ManoParameters:
    return ManoParameters(
        global_orient=numbers[:3],
        hand_pose=numbers[3:48].reshape(15, 3),
        betas=numbers[48:58],
        transl_mm=np.full(3, np.nan),
    )
