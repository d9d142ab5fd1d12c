"""What a made camera's file shows, worked out once for all its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.hand.rotations import mirror_points
from pipeline.synth.arm import N_VERTICES as N_ARM_VERTICES
from pipeline.synth.arm import make_arm_faces, pose_arm
from pipeline.synth.board import BoardMotion
from pipeline.synth.motion import PRESS_DEPTH_MM
from pipeline.synth.picture import Scene
from pipeline.synth.render import KEY_MM, Mesh, make_colours
from pipeline.synth.rig import Stage
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Take, pose_take

_CHUNK = 256


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
