"""Rigs that need no board: solved before, or one camera alone. Scaling and re-rooting of cameras."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.calibration.focal import guess_focal
from pipeline.calibration.formats import add_doubts, read_rig_file
from pipeline.errors import CalibrationError
from pipeline.results import Camera, Rig
from pipeline.session import Session, rename_cameras
from pipeline.video import probe

ASPECT_TOLERANCE = 0.01


def scale_camera(camera: Camera, size_px: tuple[int, int]) -> Camera:
    """The same camera for pictures of another size.

    Parameters
    ----------
    camera : Camera
        As it was calibrated.
    size_px : (int, int)
        Width and height wanted; the same aspect within 1 %.

    Returns
    -------
    Camera
        K and the errors in px scaled; the pixel convention (centre of the first pixel at 0) is kept: a point
        u goes to ``(u + 1/2) s - 1/2``.

    Raises
    ------
    CalibrationError
        The aspect differs: then one of the two is cropped, and by how much on which side is not known.
    """
    if camera.size_px == size_px:
        return camera
    sx, sy = size_px[0] / camera.size_px[0], size_px[1] / camera.size_px[1]
    if abs(sx / sy - 1) > ASPECT_TOLERANCE:
        raise CalibrationError(
            f"Camera {camera.name} was calibrated at {camera.size_px[0]}x{camera.size_px[1]}, but its video "
            f"is {size_px[0]}x{size_px[1]}: another shape of picture.",
            "Film the checkerboard in the same mode of the camera as the recording, or record again.",
        )
    K = np.diag([sx, sy, 1.0]) @ camera.K
    K[0, 2] += (sx - 1) / 2
    K[1, 2] += (sy - 1) / 2
    scale = (sx + sy) / 2
    return replace(
        camera, size_px=size_px, K=K, rms_px=camera.rms_px * scale, left_out_px=camera.left_out_px * scale
    )


def move_reference(rig: Rig, reference: str) -> Rig:
    """The same rig with another camera as its world.

    The expected errors, which are against the world, are those of both cameras together, taken as
    independent; the turn's part in a place goes with the distance.
    """
    if rig.reference == reference:
        return rig
    root = rig.cameras[reference]
    away_mm = float(np.linalg.norm(root.t_mm))
    cameras = {}
    for name, camera in rig.cameras.items():
        R = camera.R @ root.R.T
        t_mm = camera.t_mm - R @ root.t_mm
        sigma_deg = math.hypot(camera.sigma_deg, root.sigma_deg)
        sigma_mm = math.hypot(camera.sigma_mm, root.sigma_mm, math.radians(sigma_deg) * away_mm)
        cameras[name] = replace(camera, R=R, t_mm=t_mm, sigma_deg=sigma_deg, sigma_mm=sigma_mm)
    home: dict[str, Any] = {"R": np.eye(3), "t_mm": np.zeros(3)}
    if math.isfinite(root.sigma_deg):
        home |= {"sigma_deg": 0.0, "sigma_mm": 0.0}
    cameras[reference] = replace(root, **home)
    return replace(rig, reference=reference, cameras=cameras)


def fit_to_session(rig: Rig, session: Session) -> Rig:
    """The rig for exactly the session's cameras, reference and picture sizes.

    A camera that recorded at another size than it was calibrated at has its lens scaled, and makes the
    verdict "check" at best: many cameras crop in one mode and not in the other, which nothing shows.

    Raises
    ------
    CalibrationError
        A camera is missing from the rig, or its pictures have another shape.
    """
    missing = [name for name in session.cameras if name not in rig.cameras]
    if missing:
        raise CalibrationError(
            f"The rig has no camera {', '.join(missing)}; it has {', '.join(sorted(rig.cameras))}.",
            "Name the videos after the rig's cameras, or calibrate again with all cameras.",
        )
    rig = move_reference(rig, session.settings.reference)
    cameras, doubts = {}, []
    for name in session.cameras:
        cameras[name] = camera = rig.cameras[name]
        if session.videos:
            cameras[name] = scale_camera(camera, probe(session.videos[name]).size_px)
        if cameras[name].size_px != camera.size_px:
            doubts.append(say_scaled(name, camera.size_px, cameras[name].size_px))
    pairs = [pair for pair in rig.pairs if pair["a"] in cameras and pair["b"] in cameras]
    return add_doubts(replace(rig, cameras=cameras, pairs=pairs), doubts)


def say_scaled(name: str, calibrated_px: tuple[int, int], recorded_px: tuple[int, int]) -> str:
    """What it means that a camera recorded at another size of the same shape than it was calibrated at."""
    was, now = (f"{width}x{height}" for width, height in (calibrated_px, recorded_px))
    return (
        f"Camera {name} was calibrated at {was} and recorded at {now}: the lens is scaled, which holds only "
        "if the camera does not crop."
    )


def reuse_rig(session: Session, path: Path) -> Rig:
    """Read the rig of an earlier visit for this session; its source becomes "file".

    Raises
    ------
    CalibrationError
        As `fit_to_session`, or the file cannot be read.
    """
    return replace(fit_to_session(read_session_rig(path, session), session), source="file")


def read_session_rig(path: Path, session: Session) -> Rig:
    """A session's rig file, its cameras by the names that the session has for them.

    Raises
    ------
    CalibrationError
        The file cannot be read, or ``calibration_cameras`` does not fit it.
    """
    rig, names = read_rig_file(path), session.settings.calibration_cameras
    if not names:
        return rig
    try:
        cameras = rename_cameras(rig.cameras, names)
    except ValueError as error:
        raise CalibrationError(
            f"{path.name} does not fit calibration_cameras in session.toml: {error}.",
            f"The rig has {', '.join(sorted(rig.cameras))}; name each once at most.",
        ) from error
    right = {wrong: name for name, wrong in names.items()}
    return replace(
        rig,
        reference=right.get(rig.reference, rig.reference),
        cameras={name: replace(camera, name=name) for name, camera in cameras.items()},
        pairs=[
            {**pair, **{end: right.get(pair[end], pair[end]) for end in ("a", "b")}} for pair in rig.pairs
        ],
    )


def nominal_rig(session: Session) -> Rig:
    """One camera with the lens that its kind usually has.

    Directions and proportions are then right within some per cent, but depth and every length in mm hang
    on the guess; the verdict says so.

    Raises
    ------
    CalibrationError
        The session has keypoints alone, so that the size of the pictures is not known.
    """
    (name,) = session.cameras
    if name not in session.videos:
        raise CalibrationError(
            f"The picture size of camera {name} is not known, since there are keypoints but no video.",
            "Put a rig.json of this camera into the session folder.",
        )
    size_px = probe(session.videos[name]).size_px
    focal = guess_focal(session, name, size_px)
    focal_px = focal.focal_px
    whence = {
        "settings": "is taken from focal_35mm in session.toml",
        "file": "is taken from what its file states",
        "guess": "is a guess",
    }[focal.source]
    K = np.array([[focal_px, 0, (size_px[0] - 1) / 2], [0, focal_px, (size_px[1] - 1) / 2], [0, 0, 1.0]])
    camera = Camera(name, size_px, K, np.zeros(5), np.eye(3), np.zeros(3))
    reason = (
        f"Camera {name} is alone and was not calibrated: its focal length {whence} ({focal_px:.0f} px, "
        f"{focal_px / max(size_px):.2f} of the picture's longer side), and depth is inferred from one view. "
        "Angles are rough, lengths and speeds in mm may be off by 20 % and more. Film with two or three "
        "cameras and a checkerboard to measure."
    )
    return Rig(name, {name: camera}, source="single", verdict="check", reasons=(reason,))
