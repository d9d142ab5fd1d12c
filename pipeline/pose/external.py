"""2D points from another tool: ``keypoints/<camera>.npz`` of a session folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.calibration.rig import read_session_rig
from pipeline.errors import PoseError, RunFolderError
from pipeline.files import read_npz
from pipeline.hand.joints import N_JOINTS, Side
from pipeline.pose.regions import bound_points
from pipeline.results import ViewTrack
from pipeline.session import Session


def read_keypoints(session: Session, camera: str) -> dict[Side, ViewTrack]:
    """A camera's track from ``keypoints/<camera>.npz`` instead of a video.

    The file holds ``time_s`` (T,) ascending, ``keypoints_px`` (T, 21, 2) in the joint order of
    `pipeline.hand.joints`, ``sigma_px`` (T, 21) standard deviation per axis, and, where the session has no
    rig file, ``size_px`` (2,) width and height. Optional: ``score`` (T,), and ``offset_sigma_px`` (21,), the
    standard deviation along each axis of that part of each joint's error that stays the same over the
    recording (0 without it). NaN = not measured. For both hands all arrays but time and size are there
    twice, as ``right_keypoints_px``, ``left_keypoints_px`` ...

    Raises
    ------
    PoseError
        The file is not so; names it, the array and what is wrong.
    """
    path = session.keypoints[camera]
    try:
        arrays = read_npz(path)
    except RunFolderError as error:
        raise _refuse(path, "it cannot be read as an .npz of plain arrays") from error
    time_s = _take(path, arrays, "time_s", (None,))
    if not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
        raise _refuse(path, "time_s is not ascending")
    size_px = _find_size(session, camera, path, arrays)
    sides = session.settings.sides
    tracks: dict[Side, ViewTrack] = {}
    for side in sides:
        prefix = f"{side}_" if len(sides) > 1 else ""
        tracks[side] = _make_track(path, arrays, prefix, time_s, size_px)
    return tracks


def _make_track(
    path: Path, arrays: dict[str, np.ndarray], prefix: str, time_s: np.ndarray, size_px: tuple[int, int]
) -> ViewTrack:
    n_frames = len(time_s)
    points = _take(path, arrays, prefix + "keypoints_px", (n_frames, N_JOINTS, 2))
    sigma = _take(path, arrays, prefix + "sigma_px", (n_frames, N_JOINTS))
    measured = np.isfinite(points).all(axis=2)
    if not measured.any():
        raise _refuse(path, f"{prefix}keypoints_px holds no point")
    if not (sigma[measured] > 0).all():
        raise _refuse(path, f"{prefix}sigma_px is not above zero wherever {prefix}keypoints_px has a point")
    seen = measured.any(axis=1)
    score = np.where(seen, 1.0, np.nan)
    if prefix + "score" in arrays:
        score = _take(path, arrays, prefix + "score", (n_frames,))
    offset = np.zeros(N_JOINTS)
    if prefix + "offset_sigma_px" in arrays:
        offset = _take(path, arrays, prefix + "offset_sigma_px", (N_JOINTS,))
        if not (np.isfinite(offset) & (offset >= 0)).all():
            raise _refuse(path, f"{prefix}offset_sigma_px is not 0 or more for every joint")
    box = np.full((n_frames, 4), np.nan)
    for frame in np.flatnonzero(seen):
        box[frame] = bound_points(points[frame, measured[frame]])
    return ViewTrack(
        time_s=time_s,
        box_px=box.astype(np.float32),
        box_state=np.where(seen, "detected", "none").astype("U12"),
        keypoints_px=np.where(measured[..., None], points, np.nan).astype(np.float32),
        sigma_px=np.where(measured, sigma, np.nan).astype(np.float32),
        score=score.astype(np.float32),
        size_px=size_px,
        offset_sigma_px=offset,
    )


def _take(path: Path, arrays: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in arrays:
        raise _refuse(path, f"{name} is missing; there are {', '.join(sorted(arrays)) or 'no arrays'}")
    values = arrays[name]
    fits = values.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(values.shape, shape, strict=True)
    )
    if not fits or values.size == 0:
        wanted = ", ".join("T" if want is None else str(want) for want in shape)
        raise _refuse(path, f"{name} has shape {values.shape} instead of ({wanted})")
    if values.dtype.kind not in "fiu":
        raise _refuse(path, f"{name} holds {values.dtype} instead of numbers")
    return values.astype(float)


def _find_size(session: Session, camera: str, path: Path, arrays: dict[str, np.ndarray]) -> tuple[int, int]:
    if session.rig is not None:
        cameras = read_session_rig(session.rig, session).cameras
        if camera in cameras:
            return cameras[camera].size_px
    if "size_px" not in arrays:
        raise _refuse(path, "neither a rig file nor an array size_px (2,) tells the size of the pictures")
    size = _take(path, arrays, "size_px", (2,))
    if not (np.isfinite(size) & (size >= 1)).all():
        raise _refuse(path, "size_px is not a width and a height in pixels")
    return int(size[0]), int(size[1])


def _refuse(path: Path, reason: str) -> PoseError:
    return PoseError(
        f"{path}: {reason}.",
        "Write time_s (T,), keypoints_px (T, 21, 2) and sigma_px (T, 21) with numpy.savez, "
        "and size_px (2,) if the session has no rig file.",
    )
