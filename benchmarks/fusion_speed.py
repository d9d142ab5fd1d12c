"""Time of the fusion against the plain way: smplx posed in full by torch.optim.LBFGS, 50 + 150 iterations.

    python -m benchmarks.fusion_speed [--frames 480] [--noise-px 3]

Same evidence (three made views of a hand in motion), same start, same objective, same run. Prints seconds
of processor time on one thread, the objective that each reaches, and the ratio.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pipeline.fusion.evidence import collect, triangulate_evidence
from pipeline.fusion.fuse import fuse, make_objective, one_thread
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Objective, Pose, anchor_loss, reprojection_loss, temporal_loss
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import solve
from pipeline.fusion.start import make_guess
from pipeline.hand.joints import MANO_POSE_JOINTS, Side
from pipeline.hand.model import MM_PER_M, HandModel, load_hand_model
from pipeline.hand.rotations import decode_sixd
from pipeline.progress import Reporter
from pipeline.results import Camera, CameraSync, Rig, SyncResult, ViewTrack
from pipeline.session import SessionSettings

FPS = 60.0
YAW_DEGREES = {"front": 0.0, "left": -40.0, "right": 40.0}


def make_evidence(
    model: HandModel, frames: int, noise_px: float
) -> tuple[SyncResult, Rig, dict[str, dict[Side, ViewTrack]], np.ndarray]:
    """Three views of a hand in smooth random motion, with noise, and the true joints (T, 21, 3)."""
    rng = np.random.default_rng(0)

    def drift(*shape: int) -> np.ndarray:
        noise = gaussian_filter1d(rng.normal(size=(frames, *shape)), 6, axis=0)
        return noise / noise.std()

    base = Rotation.from_matrix([[0, 0, 1.0], [0, -1, 0], [1, 0, 0]])
    orient = (Rotation.from_rotvec(0.2 * drift(3)) * base).as_matrix()
    bend = 0.5 + 0.3 * drift(15)
    bend[:, [name.startswith("thumb") for name in MANO_POSE_JOINTS]] *= 0.3
    pose = Rotation.from_rotvec((bend[..., None] * [0.0, 0.0, 1.0]).reshape(-1, 3)).as_matrix()
    transl = np.array([0.0, 0.0, 600.0]) + 20 * drift(3)
    _, joints = model.pose_arrays(rng.normal(size=10), orient, pose.reshape(-1, 15, 3, 3), transl)
    cameras: dict[str, Camera] = {}
    views: dict[str, dict[Side, ViewTrack]] = {}
    centre = np.array([0.0, 0.0, 600.0])
    for name, yaw in YAW_DEGREES.items():
        rotation = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
        intrinsics = np.array([[1700.0, 0, 960], [0, 1700.0, 540], [0, 0, 1]])
        camera = Camera(
            name,
            (1920, 1080),
            intrinsics,
            np.array([-0.1, 0.03, 0, 0, 0]),
            rotation,
            centre - rotation @ centre,
        )
        pixels = camera.project(joints)
        pixels = pixels + noise_px * rng.normal(size=pixels.shape)
        cameras[name] = camera
        views[name] = {
            "right": ViewTrack(
                time_s=np.arange(frames) / FPS,
                box_px=np.full((frames, 4), np.nan),
                box_state=np.full(frames, "detected"),
                keypoints_px=pixels,
                sigma_px=np.full((frames, 21), noise_px),
                score=np.ones(frames),
                size_px=camera.size_px,
            )
        }
    sync = SyncResult("front", {name: CameraSync(0.0) for name in cameras})
    return sync, Rig("front", cameras), views, joints


def solve_plainly(
    model: HandModel, betas: np.ndarray, objective: Objective, start: Pose
) -> tuple[float, float]:
    """Seconds and final objective of the plain way, float32 as smplx is."""
    shape = torch.as_tensor(betas, dtype=torch.float32)
    to_float = torch.float32
    seen = replace(objective.seen, **{key: value.to(to_float) for key, value in vars(objective.seen).items()})
    cameras = replace(
        objective.cameras, **{key: value.to(to_float) for key, value in vars(objective.cameras).items()}
    )
    prior = replace(
        objective.axes,
        axes=objective.axes.axes.to(to_float),
        spread=objective.axes.spread.to(to_float),
        ends=objective.axes.ends.to(to_float),
    )
    anchor = objective.theta_anchor.to(to_float)
    variables = [part.to(to_float).clone() for part in (start.transl_mm / MM_PER_M, start.theta_global)]
    hand = start.theta_hand.to(to_float).clone()

    def evaluate(full: bool) -> torch.Tensor:
        hand_pose = decode_sixd(hand)
        vertices, joints = model.pose(shape, decode_sixd(variables[1]), hand_pose, variables[0] * MM_PER_M)
        loss = reprojection_loss(cameras, seen, joints, objective.epsilon)
        factor = 1.0 if full else 10.0
        loss = loss + factor * objective.lambda_temp * temporal_loss(vertices)
        if full:
            loss = loss + objective.lambda_anchor * anchor_loss(hand, anchor)
            loss = loss + objective.lambda_axes * prior.loss(hand_pose)
        return loss

    began = time.process_time()
    for full, iterations in ((False, 50), (True, 150)):
        moving = [*variables, hand] if full else variables
        for variable in moving:
            variable.requires_grad_(True)
        optimiser = torch.optim.LBFGS(moving, max_iter=iterations, line_search_fn="strong_wolfe")

        def closure(full: bool = full, optimiser: torch.optim.LBFGS = optimiser) -> torch.Tensor:
            optimiser.zero_grad()
            loss = evaluate(full)
            loss.backward()
            return loss

        optimiser.step(closure)
    seconds = time.process_time() - began
    final = objective.loss(
        (variables[0].detach() * MM_PER_M).double(), variables[1].detach().double(), hand.detach().double()
    )
    return seconds, float(final)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--noise-px", type=float, default=3.0)
    parser.add_argument("--without-plain", action="store_true", help="time the fusion alone")
    arguments = parser.parse_args()
    model = load_hand_model()
    sync, rig, views, joints = make_evidence(model, arguments.frames, arguments.noise_px)
    # Without robust weights the objective is one and the same for both.
    options = FusionOptions(robust_sigmas=1e9)
    evidence = collect("front", tuple(views), sync, rig, views, "right", options)
    guess = make_guess(evidence, triangulate_evidence(evidence, options)[0], model, options)
    start = Pose.from_arrays(guess.global_orient, guess.hand_pose, guess.transl_mm)
    objective = make_objective(evidence, fix_shape(model, guess.betas), start, options)

    began = time.process_time()
    with one_thread():
        solution = solve(objective, start, options, Reporter())
    ours = time.process_time() - began
    print(f"{arguments.frames} frames, 3 views, processor time on one thread, {model.name}")
    reached = f"objective {solution.losses[-1]:.6f}   ({solution.iterations} iterations)"
    print(f"fusion        {ours:8.1f} s   {reached}")
    if not arguments.without_plain:
        with one_thread():
            plain, loss = solve_plainly(model, guess.betas, objective, start)
        print(f"smplx + LBFGS {plain:8.1f} s   objective {loss:.6f}   (50 + 150 iterations)")
        print(f"ratio         {plain / ours:8.1f}")
    began = time.process_time()
    hand = fuse(SessionSettings(), sync, rig, views, model, Reporter())["right"]
    whole = time.process_time() - began
    error = np.linalg.norm(hand.joints_mm - joints, axis=2).mean()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"fuse() in all {whole:8.1f} s   MPJPE {error:.2f} mm at {arguments.noise_px:g} px noise")
    print(f"peak memory   {memory:8.2f} GiB")


if __name__ == "__main__":
    main()
