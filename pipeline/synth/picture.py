"""The pictures of a made camera, frame by frame: the playing hand, or the checkerboard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.hand.rotations import mirror_points
from pipeline.results import Camera
from pipeline.synth.arm import N_VERTICES as N_ARM_VERTICES
from pipeline.synth.arm import make_arm_faces, pose_arm
from pipeline.synth.board import BoardMotion, BoardPainter
from pipeline.synth.frame_code import draw_frame_code
from pipeline.synth.motion import PRESS_DEPTH_MM
from pipeline.synth.render import (
    KEY_MM,
    Keyboard,
    Mesh,
    Noise,
    cast_shadow,
    draw_mesh,
    make_colours,
    shade,
    soften,
)
from pipeline.synth.rig import Stage
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Take, pose_take

EXPOSURE_S = 1 / 125
"""How long the shutter is open."""

BLUR_FROM_PX = 2.5
"""Where some part of the hand moves farther than this during the exposure, sub-frames are averaged."""

_CHUNK = 256


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
    vertices : Path or None
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
    vertices: Path | None = None
    press_mm: np.ndarray | None = None
    keys: np.ndarray | None = None
    board: BoardMotion | None = None
    board_time_s: np.ndarray | None = None


def make_scene(take: Take, camera: str, vertices: Path) -> Scene:
    """The playing hand as ``camera`` sees it; writes the posed meshes to ``vertices``."""
    spec = take.spec
    reference_s = take.clocks.to_reference_s(camera, spec.frame_times_s())
    n = len(reference_s)
    shape = (n, take.model.n_vertices + N_ARM_VERTICES, 3)
    posed = np.lib.format.open_memmap(vertices, "w+", np.float32, shape)
    tips = np.empty((n, 5, 3))
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        hand, joints, _ = pose_take(take, reference_s[part])
        arm = take.stage.to_world_mm(pose_arm(take.model, take.motion.at(reference_s[part])))
        posed[part] = np.concatenate([hand, mirror_points(arm) if spec.side == "left" else arm], axis=1)
        tips[part] = joints[:, [4, 8, 12, 16, 20]]
    posed.flush()
    tips_mm = take.stage.to_piano_mm(tips)
    # A key is down as far as the finger on it is below the keys' rest.
    down = np.clip(
        np.where(take.motion.press(reference_s) > 0.05, 1.0 - tips_mm[..., 2], 0.0), 0, PRESS_DEPTH_MM
    )
    return Scene(
        spec=spec,
        stage=take.stage,
        camera=camera,
        n_frames=n,
        light=_draw_light(spec, take.stage),
        mesh=_make_mesh(take),
        vertices=vertices,
        press_mm=down,
        keys=np.floor(tips_mm[..., 0] / KEY_MM).astype(int),
    )


def make_calibration_scene(take: Take, camera: str, board: BoardMotion) -> Scene:
    """The checkerboard as ``camera`` sees it."""
    n = round(board.seconds * take.spec.calibration_fps)
    time_s = np.arange(n) / float(take.spec.calibration_fps)
    return Scene(
        spec=take.spec,
        stage=take.stage,
        camera=camera,
        n_frames=n,
        light=_draw_light(take.spec, take.stage),
        board=board,
        board_time_s=take.calibration_clocks.to_reference_s(camera, time_s),
    )


def _draw_light(spec: SynthSpec, stage: Stage) -> np.ndarray:
    """Direction to the lamp: from above, somewhat from a side and from behind the player or the piano."""
    random = spec.draw("light")
    lamp = np.array([random.uniform(-0.6, 0.6), random.uniform(-0.3, 0.7), 1.0])
    return stage.world_R_piano @ (lamp / np.linalg.norm(lamp))


def _make_mesh(take: Take) -> Mesh:
    random = take.spec.draw_person("skin")
    n = take.model.n_vertices
    albedo = 1.0 + 0.05 * random.standard_normal(n)
    faces = take.model.faces
    for _ in range(2):  # skin varies over centimetres, not from corner to corner
        total, count = np.zeros(n), np.zeros(n)
        for a, b in ((0, 1), (1, 2), (2, 0)):
            np.add.at(total, faces[:, a], albedo[faces[:, b]])
            np.add.at(count, faces[:, a], 1.0)
        albedo = 0.5 * albedo + 0.5 * total / np.maximum(count, 1)
    arm, cloth = make_arm_faces()
    faces = np.concatenate([faces, arm + n])
    if take.spec.side == "left":
        faces = faces[:, ::-1].copy()
    sleeve = take.spec.draw("sleeve").uniform(40, 190, 3)
    return Mesh(
        faces=faces,
        albedo=np.concatenate([albedo, np.ones(N_ARM_VERTICES)]),
        material=np.concatenate([np.zeros(len(faces) - len(arm), np.uint8), cloth]),
        colours=np.stack([make_colours(take.motion.person.skin_bgr), make_colours(sleeve)]),
    )


def open_painter(scene: Scene) -> HandPainter | BoardScenePainter:
    """The painter of a scene."""
    return HandPainter(scene) if scene.board is None else BoardScenePainter(scene)


class HandPainter:
    """Paints the frames of a main take."""

    def __init__(self, scene: Scene) -> None:
        assert scene.mesh is not None
        assert scene.vertices is not None
        self._scene, self._mesh = scene, scene.mesh
        self._camera: Camera = scene.stage.rig.cameras[scene.camera]
        self._keyboard = Keyboard(scene.spec, scene.stage, self._camera)
        self._noise = Noise(scene.spec, scene.camera) if scene.spec.noise else None
        self._vertices = np.load(scene.vertices, mmap_mode="r")

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index`` (H, W, 3) uint8, with its code."""
        image = self._keyboard.picture.copy()
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
        assert self._scene.press_mm is not None
        assert self._scene.keys is not None
        down: dict[int, float] = {}
        for key, depth in zip(self._scene.keys[index], self._scene.press_mm[index], strict=True):
            if depth > 0.2:
                down[int(key)] = max(down.get(int(key), 0.0), float(depth))
        for key, depth in sorted(down.items()):
            self._keyboard.press(image, key, depth)


class BoardScenePainter:
    """Paints the frames of a checkerboard take."""

    def __init__(self, scene: Scene) -> None:
        assert scene.board is not None
        assert scene.board_time_s is not None
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
