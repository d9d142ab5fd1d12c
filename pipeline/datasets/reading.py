"""Opening a data set's files: what is missing or broken is said with the file's name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DatasetError
from pipeline.files import BROKEN_JSON, BROKEN_NPZ


@dataclass(frozen=True)
class ManoParameters:
    """Parameters of one of MANO's own hands, as smplx takes them with ``use_pca=False``.

    Unlike the pose in results (`pipeline/conventions.md`) it is relative to MANO's mean pose, and a left
    hand's belong to the left model.

    Attributes
    ----------
    global_orient : ndarray (3,)
        Axis-angle in rad.
    hand_pose : ndarray (15, 3)
        Axis-angle in rad, joints in MANO's order, without the mean pose.
    betas : ndarray (10,)
    transl_mm : ndarray (3,)
        smplx's shift; NaN where the data set says otherwise where the hand is.
    """

    global_orient: np.ndarray
    hand_pose: np.ndarray
    betas: np.ndarray
    transl_mm: np.ndarray


def read_json_of(path: Path, data_set: str) -> Any:
    """A JSON file of a data set (NaN as Python writes it is understood).

    Raises
    ------
    DatasetError
        The file is missing or no JSON; it is named.
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{path} is missing.",
            f"{data_set[:1].upper()}{data_set[1:]} has it; give the folder as its makers lay it out.",
        ) from error
    except BROKEN_JSON as error:
        raise DatasetError(f"{path} cannot be read ({error}).", f"Get it from {data_set} again.") from error


def read_npz_of(path: Path) -> dict[str, np.ndarray]:
    """Every array of an ``.npz``; object arrays (pickles) are refused.

    Raises
    ------
    DatasetError
        The file is missing or no ``.npz`` of plain arrays; it is named.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f"{path} is missing.", "Give the path of an .npz file.") from error
    except BROKEN_NPZ as error:
        raise DatasetError(
            f"{path} is no .npz of plain arrays ({error}).", "Write it with numpy.savez."
        ) from error


def to_array(value: Any, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """``value`` as floats of a shape, in which None stands for any length.

    Raises
    ------
    DatasetError
        It is ragged, not of numbers, or of another shape; ``what`` names it (file and entry).
    """
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{what} is no table of numbers ({error}).") from error
    if len(array.shape) != len(shape) or any(
        wanted not in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    ):
        wanted_text = " x ".join("any" if length is None else str(length) for length in shape)
        raise DatasetError(f"{what} is {' x '.join(map(str, array.shape))}, not {wanted_text}.")
    return array


def to_integers(value: Any, length: int | None, what: str) -> np.ndarray:
    """``value`` as integers (N,), as `to_array`; `DatasetError` where one is not whole."""
    numbers = to_array(value, (length,), what)
    if not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
        raise DatasetError(f"{what} is not of whole numbers alone.")
    return numbers.astype(int)
