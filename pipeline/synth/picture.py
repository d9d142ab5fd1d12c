"""The pictures of a made camera, frame by frame: the playing hand, or the checkerboard.

Runs in processes of its own, so nothing here loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.results import Camera
from pipeline.synth.board import BoardMotion, BoardPainter
from pipeline.synth.frame_code import draw_frame_code
from pipeline.synth.render import (
    Keyboard,
    Mesh,
    Noise,
    cast_shadow,
    draw_mesh,
    shade,
    soften,
)
from pipeline.synth.rig import Stage
from pipeline.synth.spec import SynthSpec

EXPOSURE_S = 1 / 125
"""How long the shutter is open."""

BLUR_FROM_PX = 2.5
"""Where some part of the hand moves farther than this during the exposure, sub-frames are averaged."""


@dataclass(frozen=True)
class Scene:
    """What one camera's file shows; small enough to be sent to another process.

    Attributes
    ----------
    spec : SynthSpec
    stage : Stage
    camera : str
    n_frames : int
    light : ndarray (3,)
        Direction to the lamp in the world.
    mesh : Mesh or None
        The hand; None in a checkerboard take.
    vertices : Path
        ``.npy`` (T, V, 3) float32: the mesh in the world at the camera's frames.
    press_mm : ndarray (T, 5)
        How far the keys under the five fingers are down.
    keys : ndarray (T, 5) int
        Their numbers.
    board : BoardMotion or None
    board_time_s : ndarray (T,)
        Reference times of a checkerboard take's frames.
    """

    spec: SynthSpec
    stage: Stage
    camera: str
    n_frames: int
    light: np.ndarray
    mesh: Mesh | None = None
    vertices: Path = Path()
    press_mm: np.ndarray = field(default_factory=lambda: np.zeros((0, 5)))
    keys: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), dtype=int))
    board: BoardMotion | None = None
    board_time_s: np.ndarray = field(default_factory=lambda: np.zeros(0))


def open_painter(scene: Scene) -> HandPainter | BoardScenePainter:
    """The painter of a scene."""
    return HandPainter(scene) if scene.board is None else BoardScenePainter(scene)


class HandPainter:
    """Paints the frames of a main take; ``keyboard`` is what lies behind the hand."""

    def __init__(self, scene: Scene) -> None:
        assert scene.mesh is not None
        self._scene, self._mesh = scene, scene.mesh
        self._camera: Camera = scene.stage.rig.cameras[scene.camera]
        self.keyboard = Keyboard(scene.spec, scene.stage, self._camera)
        self._noise = Noise(scene.spec, scene.camera) if scene.spec.noise else None
        self._vertices = np.load(scene.vertices, mmap_mode="r")

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index`` (H, W, 3) uint8, with its code."""
        image = self.keyboard.picture.copy()
        self._press_keys(image, index)
        vertices = self._vertices[index].astype(float)
        velocity = self._velocity(index)
        pixels = self._camera.project(vertices)
        cast_shadow(image, self._shadow(vertices), self._scene.spec.size_px[1] / 720)
        moved = self._camera.project(vertices + velocity * EXPOSURE_S) - pixels
        travel = float(np.abs(moved).max())
        if travel < BLUR_FROM_PX:
            self._draw(image, vertices)
        else:
            image = self._blur(image, vertices, velocity, travel)
        if self._noise is not None:
            image = self._noise.add(image, index)
        draw_frame_code(image, index)
        return image

    def _draw(self, image: np.ndarray, vertices: np.ndarray) -> None:
        camera = self._camera
        depth = vertices @ camera.R[2] + camera.t_mm[2]
        brightness = shade(self._mesh, vertices, self._scene.light)
        box = draw_mesh(image, self._mesh, camera.project(vertices), depth, brightness)
        if box is not None:
            soften(image, box)

    def _blur(
        self, image: np.ndarray, vertices: np.ndarray, velocity: np.ndarray, travel: float
    ) -> np.ndarray:
        """The mean of 3 to 6 sub-frames spread over the exposure."""
        n = int(np.clip(np.ceil(travel / 2), 3, 6))
        total = np.zeros(image.shape, np.float32)
        for share in (np.arange(n) + 0.5) / n - 0.5:
            sharp = image.copy()
            self._draw(sharp, vertices + velocity * (share * EXPOSURE_S))
            cv2.accumulate(sharp, total)
        return np.round(total / n).astype(np.uint8)

    def _velocity(self, index: int) -> np.ndarray:
        """Velocity (V, 3) in mm/s of the mesh by central differences."""
        last = len(self._vertices) - 1
        before, after = max(index - 1, 0), min(index + 1, last)
        steps = max(after - before, 1)
        return (
            (self._vertices[after].astype(float) - self._vertices[before])
            * float(self._scene.spec.fps)
            / steps
        )

    def _shadow(self, vertices: np.ndarray) -> np.ndarray:
        """Where the hand's shadow falls on the keys (V, 2) px."""
        stage = self._scene.stage
        points = stage.to_piano_mm(vertices)
        light = stage.world_R_piano.T @ self._scene.light
        fallen = points - light * (points[:, 2:] / light[2])
        return self._camera.project(stage.to_world_mm(fallen))

    def _press_keys(self, image: np.ndarray, index: int) -> None:
        down: dict[int, float] = {}
        for key, depth in zip(self._scene.keys[index], self._scene.press_mm[index], strict=True):
            if depth > 0.2:
                down[int(key)] = max(down.get(int(key), 0.0), float(depth))
        for key, depth in sorted(down.items()):
            self.keyboard.press(image, key, depth)


class BoardScenePainter:
    """Paints the frames of a checkerboard take."""

    def __init__(self, scene: Scene) -> None:
        assert scene.board is not None
        self._scene, self._board, self._time_s = scene, scene.board, scene.board_time_s
        camera = scene.stage.rig.cameras[scene.camera]
        self._background = Keyboard(scene.spec, scene.stage, camera).picture
        self._painter = BoardPainter(camera)
        self._noise = Noise(scene.spec, f"board-{scene.camera}") if scene.spec.noise else None
        self._resting: tuple[int, np.ndarray] | None = None

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index`` (H, W, 3) uint8, with its code."""
        R, t_mm, rest = self._board.at(float(self._time_s[index]))
        if rest >= 0 and self._resting is not None and self._resting[0] == rest:
            image = self._resting[1].copy()
        else:
            image = self._background.copy()
            self._painter.paint(image, R, t_mm)
            if rest >= 0:
                self._resting = (rest, image.copy())
        if self._noise is not None:
            image = self._noise.add(image, index)
        draw_frame_code(image, index)
        return image
