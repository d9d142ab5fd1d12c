"""What lenses and places of cameras can be: asked of every rig, whoever made it. Needs no OpenCV."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from pipeline.results import Camera

FOCAL_RANGE = (0.4, 4.0)
"""Usual focal lengths, in units of the picture's longer side: a phone's widest camera to a telephoto lens."""

MOST_OFF_CENTRE = 0.2
"""How far an optical centre may lie from the picture's middle, as a share of its width or height."""

NEAREST_CAMERAS_MM = 10.0
"""No two cameras stand nearer."""


def is_usual_focal(camera: Camera) -> bool:
    """Whether both focal lengths are such as cameras have for a picture of this size."""
    low, high = FOCAL_RANGE
    return all(low < focal / max(camera.size_px) < high for focal in (camera.K[0, 0], camera.K[1, 1]))


def is_centred(camera: Camera) -> bool:
    """Whether the optical centre lies near the picture's middle."""
    off = camera.K[:2, 2] - (np.array(camera.size_px) - 1) / 2
    return bool((np.abs(off) <= MOST_OFF_CENTRE * np.array(camera.size_px)).all())


def is_monotonic(camera: Camera) -> bool:
    """Whether the radial distortion rises all the way to the picture's corners."""
    corner = np.array(camera.size_px) / 2 / [camera.K[0, 0], camera.K[1, 1]]
    r = np.linspace(0, 1.05 * float(np.linalg.norm(corner)), 100)
    k1, k2, _, _, k3 = camera.distortion
    return bool((1 + 3 * k1 * r**2 + 5 * k2 * r**4 + 7 * k3 * r**6 > 0).all())


def measure_distances_mm(cameras: Mapping[str, Camera]) -> dict[tuple[str, str], float]:
    """How far any two cameras stand apart, in mm, by their names."""
    centres = {name: -camera.R.T @ camera.t_mm for name, camera in cameras.items()}
    return {
        (a, b): float(np.linalg.norm(centres[a] - centres[b])) for a, b in itertools.combinations(centres, 2)
    }


def list_doubts(cameras: Mapping[str, Camera]) -> list[str]:
    """What is odd about the cameras of a rig, as sentences that name the camera; empty if nothing is.

    Nothing here proves a rig wrong, but most often a picture's size or a unit belongs to another one.
    """
    doubts = []
    for name, camera in cameras.items():
        K, (width, height) = camera.K, camera.size_px
        what = []
        if not is_usual_focal(camera):
            what.append(f"a focal length of {K[0, 0]:.0f} and {K[1, 1]:.0f} px")
        if not is_centred(camera):
            what.append(f"an optical centre at ({K[0, 2]:.0f}, {K[1, 2]:.0f}) px")
        if what:
            doubts.append(
                f"Camera {name} has {' and '.join(what)}, unusual for a picture of {width}x{height} px; is "
                "that the size it was calibrated at?"
            )
        if not is_monotonic(camera):
            doubts.append(f"Camera {name}: the lens distortion turns back before the picture's corners.")
    for (a, b), apart_mm in measure_distances_mm(cameras).items():
        if apart_mm < NEAREST_CAMERAS_MM:
            doubts.append(f"Cameras {a} and {b} stand {apart_mm:.1f} mm apart, nearer than cameras can.")
    return doubts
