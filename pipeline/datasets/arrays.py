"""The neutral layout for any data set and any estimator: one ``.npz`` of hands over frames.

``joints_mm`` (T, 21, 3), or (T, 2, 21, 3) for both hands, right first; and as there is: ``vertices_mm``
(T, V, 3) or (T, 2, V, 3), ``time_s`` (T,) for frames of videos, ``clip`` (T,) integers for several videos.
Other arrays are passed over, so that a run's ``hand_<side>.npz`` and a made session's ``truth.npz`` will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.datasets.reading import read_npz_of, to_array, to_integers
from pipeline.errors import DatasetError
from pipeline.hand.joints import N_JOINTS


@dataclass(frozen=True)
class Hands:
    """Hands over T frames, estimated or true, in the camera's or the world's frame; NaN = not there.

    Attributes
    ----------
    joints_mm : ndarray (T, H, 21, 3)
        In the order of `pipeline.hand.joints.JOINTS`; H is 1, or 2: right and left.
    vertices_mm : ndarray (T, H, V, 3), optional
    time_s : ndarray (T,), optional
        Given for frames of videos; it rises within each clip.
    clip : ndarray (T,) int, optional
        Which video each frame belongs to; by default they are all of one.
    """

    joints_mm: np.ndarray
    vertices_mm: np.ndarray | None = None
    time_s: np.ndarray | None = None
    clip: np.ndarray | None = None


def read_hands(path: Path) -> Hands:
    """Read hands in the neutral layout.

    Raises
    ------
    DatasetError
        The file is missing or broken, ``joints_mm`` is missing, a shape is wrong, or times do not rise.
    """
    arrays = read_npz_of(path)
    if "joints_mm" not in arrays:
        raise DatasetError(
            f"{path} has no joints_mm (it has {', '.join(sorted(arrays)) or 'nothing'}).",
            "Write joints_mm (T, 21, 3) in mm, or (T, 2, 21, 3) for the right and the left hand.",
        )
    joints = _read_points(arrays, "joints_mm", path, N_JOINTS)
    frames, hands = joints.shape[:2]
    vertices = None
    if "vertices_mm" in arrays:
        vertices = _read_points(arrays, "vertices_mm", path, None)
        if vertices.shape[:2] != (frames, hands):
            raise DatasetError(f"{path}: vertices_mm and joints_mm differ in frames or hands.")
    clip = None
    if "clip" in arrays:
        clip = to_integers(arrays["clip"], frames, f"{path}: clip")
    time_s = None
    if "time_s" in arrays:
        time_s = to_array(arrays["time_s"], (frames,), f"{path}: time_s")
        _check_times(time_s, np.zeros(frames, dtype=int) if clip is None else clip, path)
    return Hands(joints, vertices, time_s, clip)


def _read_points(arrays: dict[str, np.ndarray], name: str, path: Path, count: int | None) -> np.ndarray:
    """Points (T, H, count, 3), with one hand where the file has no axis of hands."""
    points = arrays[name]
    if points.ndim == 3:
        points = points[:, None]
    points = to_array(points, (None, None, count, 3), f"{path}: {name}")
    if points.shape[1] not in (1, 2):
        raise DatasetError(f"{path}: {name} has {points.shape[1]} hands, not 1 or 2 (right, left).")
    return points


def _check_times(time_s: np.ndarray, clip: np.ndarray, path: Path) -> None:
    for number in np.unique(clip):
        own_s = time_s[clip == number]
        if not (np.isfinite(own_s).all() and (np.diff(own_s) > 0).all()):
            raise DatasetError(
                f"{path}: time_s does not rise from frame to frame in clip {number}.",
                "Sort the frames by time, and tell several videos apart by clip (T,).",
            )
