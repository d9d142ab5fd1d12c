"""The outline on made sessions: its masks against what was drawn, and the fusion with and without it.

    python -m benchmarks.outline_accuracy [--seeds 8] [--seconds 6] [--keep FOLDER]
        [--thicker 1.1] [--estimator NAME]

Makes dystonic sessions (1280x720, 30 frames/s), finds the hand with the estimator, traces its outline, and
fuses the very same points with true cameras and clocks twice. Errors are of 20 joints without the wrist, in
ordinary and dystonic phases; the ratio is with over without. Masks are held against the drawn hand on this
side of their own line at the wrist (intersection over union). ``--thicker`` lets the fusion's model have
fingers and palm thicker than those that were drawn by that factor, bones and joints the same: a real person's
hand is no model's. ``--keep`` uses sessions and runs that lie in FOLDER from before, and leaves them there.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline.evaluation.made_session import ORDINARY, SETS, compare_joints
from pipeline.fusion.evidence import Evidence, collect
from pipeline.fusion.fuse import fuse_side, make_masks
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.outline.results import Outline, read_outlines, write_outlines
from pipeline.outline.trace import trace_outlines
from pipeline.pose.estimate import estimate_view
from pipeline.progress import Reporter
from pipeline.results import HandTrack, RunFolder, read_view, write_view
from pipeline.session import read_session
from pipeline.synth.session import make_session
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import Take, Truth, make_take, pose_take, read_truth

FIRST_SEED = 501
SIZE_PX, FPS = (1280, 720), Fraction(30000, 1001)
EVERY = 6
"""Of so many masks one is held against the truth."""


@dataclass(frozen=True)
class Case:
    """A session with its points and outlines; seconds that points and outlines took."""

    spec: SynthSpec
    truth: Truth
    evidence: Evidence
    outlines: dict[str, Outline]
    seconds: tuple[float, float]


def make_spec(seed: int, seconds: float) -> SynthSpec:
    """A dystonic session whose cameras start within 50 ms."""
    return SynthSpec(
        seconds=seconds, size_px=SIZE_PX, fps=FPS, seed=seed, kind="dystonic", max_offset_s=0.05,
        calibration=False,
    )  # fmt: skip


def make_case(folder: Path, spec: SynthSpec, estimator: str) -> Case:
    """Make, find and trace what is not there yet."""
    made, run = folder / f"s{spec.seed}", RunFolder(folder / f"r{spec.seed}")
    if not (made / "truth.npz").is_file():
        make_session(made, spec, Reporter(), workers=1)
    session = read_session(made)
    session = replace(session, settings=session.settings.model_copy(update={"estimator": estimator}))
    truth, took = read_truth(made), np.full(2, np.nan)
    start = time.process_time()
    for camera in CAMERAS:
        if not run.view_npz(camera).is_file():
            run.views.mkdir(parents=True, exist_ok=True)
            write_view(run, camera, estimate_view(session, camera, Reporter(), workers=1))
            took[0] = time.process_time() - start
    views = {camera: read_view(run, camera) for camera in CAMERAS}
    start = time.process_time()
    for camera in CAMERAS:
        if not run.outline_npz(camera).is_file():
            run.outline_npz(camera).parent.mkdir(exist_ok=True)
            write_outlines(run, camera, trace_outlines(session.videos[camera], views[camera], Reporter()))
            took[1] = time.process_time() - start
    outlines = {camera: read_outlines(run, camera)["right"] for camera in CAMERAS}
    evidence = collect(CAMERAS[0], CAMERAS, truth.sync, truth.rig, views, "right")
    return Case(spec, truth, evidence, outlines, (float(took[0]), float(took[1])))


def draw_truth(take: Take, camera: str, frames: Sequence[int]) -> list[np.ndarray]:
    """The hand's own cells (H, W) bool as they were drawn, without the arm."""
    times_s = take.clocks.to_reference_s(camera, take.spec.frame_times_s())[list(frames)]
    vertices, _, _ = pose_take(take, times_s)
    out = []
    for posed in vertices:
        corners = take.stage.rig.cameras[camera].project(posed.astype(float))[take.model.faces]
        cells = np.zeros(take.spec.size_px[::-1], np.uint8)
        for triangle in np.round(corners * 16).astype(np.int32):
            cv2.fillConvexPoly(cells, triangle, 1, cv2.LINE_8, 4)
        out.append(cells > 0)
    return out


def compare_masks(outline: Outline, frames: Sequence[int], true: Sequence[np.ndarray]) -> np.ndarray:
    """Intersection over union by frame; NaN where no mask was made."""
    out = []
    for frame, cells in zip(frames, true, strict=True):
        mask = outline.get_mask(frame)
        if not mask.size:
            out.append(np.nan)
            continue
        height, width = cells.shape
        y, x = np.mgrid[:height, :width]
        a, b, c = outline.cut_px[frame]
        wanted = cells & (a * x + b * y + c <= 0)
        column = np.floor((x + 0.5) / outline.step).astype(int) - outline.corner[frame, 0]
        row = np.floor((y + 0.5) / outline.step).astype(int) - outline.corner[frame, 1]
        inside = (column >= 0) & (row >= 0) & (column < mask.shape[1]) & (row < mask.shape[0])
        found = inside & mask[row.clip(0, mask.shape[0] - 1), column.clip(0, mask.shape[1] - 1)]
        out.append((wanted & found).sum() / (wanted | found).sum())
    return np.array(out)


def thicken(model: HandModel, factor: float) -> HandModel:
    """The model with its skin so much farther from its bones; joints and tips stay."""
    layer = copy.deepcopy(model.layer)
    joints = layer.J_regressor @ layer.v_template
    ends = {child: parent for child, parent in enumerate(layer.parents.tolist()) if parent >= 0}
    points = layer.v_template.clone()
    bone = layer.lbs_weights.argmax(dim=1)
    for number in range(16):
        child = next((c for c, parent in ends.items() if parent == number), None)
        tip = {15: 0, 3: 1, 6: 2, 12: 3, 9: 4}.get(number)
        end = joints[child] if child is not None else layer.v_template[model.tip_vertices[tip or 0]]
        along = torch.nn.functional.normalize(end - joints[number], dim=0)
        mine = bone == number
        away = layer.v_template[mine] - joints[number]
        beside = away - (away @ along)[:, None] * along
        # The palm is as wide as its bones lie apart; only its back and front move.
        beside = beside if number else beside * torch.tensor([0.0, 1.0, 0.0])
        points[mine] = layer.v_template[mine] + (factor - 1) * beside
    points[list(model.tip_vertices)] = layer.v_template[list(model.tip_vertices)]
    layer.v_template = points
    return replace(model, layer=layer)


def get_errors(hand: HandTrack, truth: Truth) -> dict[str, tuple[float, float, float]]:
    """By phase: MPJPE in mm, acceleration error in m/s2, share of coordinates within 2 sigma."""
    ordinary = np.zeros(len(truth.time_s), dtype=bool)
    for phase in truth.phases:
        inside = (truth.time_s >= phase["start_s"]) & (truth.time_s < phase["end_s"])
        ordinary |= inside & (phase["name"] == ORDINARY)
    out = {}
    for name, rows in ((ORDINARY, ordinary), ("dystonic", ~ordinary)):
        found, true = hand.joints_mm[:, SETS["20"]], truth.joints_mm[:, SETS["20"]]
        errors = compare_joints(found, true, 1 / float(truth.fps), rows)
        miss = np.abs(found - true)[rows] < 2 * hand.joint_sigma_mm[rows, SETS["20"], None]
        out[name] = (errors.mpjpe_mm, errors.acceleration_m_s2, float(miss.mean()))
    return out


def measure_case(case: Case, model: HandModel, thicker: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Prints a session's lines; by phase the errors without and with masks."""
    frames = range(0, len(case.truth.time_s), EVERY)
    take = make_take(case.spec, model)
    line = []
    for camera, outline in case.outlines.items():
        ious = compare_masks(outline, frames, draw_truth(take, camera, frames))
        trust = outline.confidence.mean()
        line.append(f"{camera} {np.nanmean(ious):.3f} (least {np.nanmin(ious):.3f}, trust {trust:.2f})")
    print(f"seed {case.spec.seed}: IoU {', '.join(line)}", flush=True)
    used = model if thicker == 1.0 else thicken(model, thicker)
    options, errors, took = FusionOptions(), [], []
    outlines: dict[str, dict[Side, Outline]] = {c: {"right": each} for c, each in case.outlines.items()}
    masks = make_masks(case.evidence, case.truth.sync, outlines, "right", options)
    report = Reporter()
    for given in (None, masks):
        start = time.process_time()
        hand = fuse_side(case.evidence, "right", used, report, options, given)
        took.append(time.process_time() - start)
        errors.append(get_errors(hand, case.truth))
    kept = "kept" if hand.outline_trust is not None else "NOT kept"
    for phase in errors[0]:
        (plain, jerky, _), (better, smooth, inside) = errors[0][phase], errors[1][phase]
        print(
            f"  {phase:9} {plain:6.2f} to {better:6.2f} mm, ratio {better / plain:.2f}; acceleration "
            f"{jerky:.2f} to {smooth:.2f} m/s2; within 2 sigma {inside:.0%}"
        )
    ratio = took[1] / took[0]
    print(f"  {kept}; fit {took[0]:.1f} s without, {took[1]:.1f} s with (ratio {ratio:.1f})", flush=True)
    if np.isfinite(case.seconds).all():
        print(f"  points {case.seconds[0]:.1f} s, outlines {case.seconds[1]:.1f} s of processor time")
    return {phase: (np.array(errors[0][phase]), np.array(errors[1][phase])) for phase in errors[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--thicker", type=float, default=1.0)
    parser.add_argument("--estimator", default="mediapipe")
    options = parser.parse_args()
    model, all_errors = load_hand_model(), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            case = make_case(folder, make_spec(seed, options.seconds), options.estimator)
            all_errors.append(measure_case(case, model, options.thicker))
    print()
    for phase in all_errors[0]:
        plain, better = (np.array([errors[phase][which] for errors in all_errors]) for which in (0, 1))
        ratios = better[:, 0] / plain[:, 0]
        before, after = plain[:, 0].mean(), better[:, 0].mean()
        print(
            f"{phase:9} MPJPE {before:.2f} to {after:.2f} mm, ratio {after / before:.2f} "
            f"({ratios.min():.2f} to {ratios.max():.2f}); "
            f"acceleration {plain[:, 1].mean():.2f} to {better[:, 1].mean():.2f} m/s2; within 2 sigma "
            f"{plain[:, 2].mean():.0%} to {better[:, 2].mean():.0%}"
        )


if __name__ == "__main__":
    main()
