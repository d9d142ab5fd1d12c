"""Three cameras round a keyboard, and where the keyboard lies for them.

The piano's own frame: +X to the player's right, +Y away from the player, +Z up, in mm; the keys' tops
are the plane Z = 0 and the hand plays near the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.results import Camera, Rig
from pipeline.synth.spec import CAMERAS, SynthSpec

TARGET_MM = np.array([0.0, -35.0, 25.0])
"""What the cameras look at: the middle of the playing hand, in the piano's frame."""


@dataclass(frozen=True)
class Stage:
    """The rig and the keyboard's place in its world.

    Attributes
    ----------
    rig : Rig
        The world is the front camera.
    world_R_piano : ndarray (3, 3)
    piano_in_world_mm : ndarray (3,)
        ``x_world = world_R_piano x_piano + piano_in_world_mm``.
    """

    rig: Rig
    world_R_piano: np.ndarray
    piano_in_world_mm: np.ndarray

    def to_world_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the piano's frame in the world, in mm."""
        return points_mm @ self.world_R_piano.T + self.piano_in_world_mm

    def to_piano_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the world in the piano's frame, in mm."""
        return (points_mm - self.piano_in_world_mm) @ self.world_R_piano


def make_stage(spec: SynthSpec) -> Stage:
    """Draw the cameras: distances 0.6 to 0.8 m, left and right 40 to 52 degrees off, own lenses.

    The front camera has no roll and stands in the keyboard's plane of symmetry, so that a left hand is
    a right hand mirrored at x = 0 of the world over the same keyboard.
    """
    random = spec.draw("rig")
    poses = {}
    for camera, side in zip(CAMERAS, (0, -1, 1), strict=True):
        azimuth = side * np.deg2rad(random.uniform(40, 52))
        tilt = np.deg2rad(random.uniform(14, 22) if side == 0 else random.uniform(8, 28))
        distance = random.uniform(620, 700) if side == 0 else random.uniform(620, 800)
        roll = np.deg2rad(random.uniform(-5, 5)) * abs(side)
        aim = TARGET_MM + random.uniform(-12, 12, 3) * abs(side)
        poses[camera] = _look(aim, azimuth, tilt, distance, roll)
    front_R, front_t = poses["front"]
    cameras = {}
    for camera, (R, t) in poses.items():
        relative = R @ front_R.T
        if camera == "front":
            relative = np.eye(3)
        cameras[camera] = Camera(
            name=camera,
            size_px=spec.size_px,
            K=_draw_lens(spec, random),
            distortion=np.array([random.uniform(-0.12, 0.06), random.uniform(-0.03, 0.03), 0.0, 0.0, 0.0]),
            R=relative,
            t_mm=t - relative @ front_t,
        )
    return Stage(Rig(reference="front", cameras=cameras, source="file"), front_R, front_t)


def _look(
    aim: np.ndarray, azimuth: float, tilt: float, distance: float, roll: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and translation (3,) from the piano's frame to a camera that looks at ``aim``.

    The picture's upper edge points away from the player, as of a camera on a boom.
    """
    towards = np.array(
        [np.sin(azimuth) * np.cos(tilt), np.sin(tilt), np.cos(azimuth) * np.cos(tilt)]
    )  # from the aim to the camera
    forward = -towards
    down = -np.array([0.0, 1.0, 0.0])
    down = down - forward * (down @ forward)
    down /= np.linalg.norm(down)
    right = np.cross(down, forward)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    R = np.stack([right, down, forward])
    return R, -R @ (aim + distance * towards)


def _draw_lens(spec: SynthSpec, random: np.random.Generator) -> np.ndarray:
    """Square pixels, principal point in the middle, focal length 1.5 to 1.75 picture heights."""
    width, height = spec.size_px
    focal = random.uniform(1.5, 1.75) * height
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
