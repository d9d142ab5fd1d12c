"""L_mask: its slope is its own, it mends what points misread, and it never breaks a good fit."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.fusion.fuse import fuse_side, make_masks, make_objective
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.matching import find_edge, match
from pipeline.fusion.objective import Pose
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.silhouette import OutlineTerm, make_surface
from pipeline.fusion.solver import evaluate, move
from pipeline.hand.joints import Side
from pipeline.outline.results import Outline
from pipeline.progress import Reporter

STEP = 4
MIDDLE = slice(9, 13)


def draw_outline(take, model, name, shift_px=0.0):
    """The true silhouette of a take in one camera, without doubt."""
    track, camera = take.views[name]["right"], take.rig.cameras[name]
    vertices, _ = model.pose_arrays(take.betas, take.global_orient, take.hand_pose, take.transl_mm)
    corner, shape, bits, cuts = [], [], [], []
    for posed in vertices:
        px = camera.project(posed.astype(float)) + shift_px
        cells = np.zeros((camera.size_px[1] // STEP, camera.size_px[0] // STEP), np.uint8)
        for triangle in np.round((px - 1.5) / STEP * 16).astype(np.int32)[model.faces]:
            cv2.fillConvexPoly(cells, triangle, 1, cv2.LINE_8, 4)
        rows, columns = np.nonzero(cells)
        tight = cells[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        corner.append((columns.min(), rows.min()))
        shape.append(tight.shape)
        bits.append(np.packbits(tight))
        cuts.append((0.0, 1.0, -1e5))  # these hands have no arm
    n = len(vertices)
    return Outline(
        track.time_s, camera.size_px, STEP, np.array(corner), np.array(shape), tuple(bits),
        np.array(cuts, dtype=np.float32), np.ones(n, np.float32), np.zeros(n, np.uint8),
    )  # fmt: skip


def draw_outlines(take, model, shift_px=0.0) -> dict[str, dict[Side, Outline]]:
    return {name: {"right": draw_outline(take, model, name, shift_px)} for name in take.views}


@pytest.fixture
def take(make_take):
    return make_take(seconds=0.4, fps=15.0, noise_px=2.0, sigma_px=15.0, same_clock=True)


def misread(take, model):
    """The evidence with the points of a middle finger that is bent by 0.9 rad more at each joint."""
    evidence, pose = take.collect(), take.hand_pose.copy()
    pose[:, 3:6] = pose[:, 3:6] @ Rotation.from_rotvec([0.0, 0.0, 0.9]).as_matrix()
    _, joints = model.pose_arrays(take.betas, take.global_orient, pose, take.transl_mm)
    points = evidence.points_px.copy()
    for view, camera in enumerate(evidence.cameras):
        points[view, :, MIDDLE] = camera.project(joints[:, MIDDLE].astype(float))
    return replace(evidence, points_px=points)


def fuse_twice(take, model, evidence, shift_px=0.0, options=None):
    """Hands without and with masks, and what the second fit said."""
    options = options or FusionOptions()
    outlines = draw_outlines(take, model, shift_px)
    masks = make_masks(evidence, take.sync, outlines, "right", options)
    said = []
    report = Reporter("fusion", lambda progress: said.append(progress.message) if progress.warning else None)
    plain = fuse_side(evidence, "right", model, Reporter(), options)
    return plain, fuse_side(evidence, "right", model, report, options, masks), said


def test_a_finger_that_the_points_misread_is_found_by_its_outline(take, model):
    evidence = misread(take, model)
    # The points are surely wrong here: by the margin as it stands they would be believed.
    options = FusionOptions(mask_worse=1.0, mask_worse_at_worst=2.0)
    plain, better, said = fuse_twice(take, model, evidence, options=options)
    assert not [sentence for sentence in said if "not kept" in sentence]
    before, after = (
        np.linalg.norm(hand.joints_mm - take.joints_mm, axis=2)[:, MIDDLE].mean() for hand in (plain, better)
    )
    assert before > 8.0
    assert after < 0.6 * before
    assert better.outline_trust is not None
    assert plain.outline_trust is None


def test_masks_that_the_points_contradict_change_nothing_and_it_is_said(take, model):
    plain, with_wrong, said = fuse_twice(take, model, take.collect(), shift_px=90.0)
    np.testing.assert_array_equal(with_wrong.joints_mm, plain.joints_mm)
    assert with_wrong.outline_trust is None
    assert any("not kept" in sentence for sentence in said)


def test_the_gradient_is_the_slope_of_the_loss_and_the_curvature_is_near_its_own(take, model):
    options, evidence = FusionOptions(), take.collect()
    hand = fix_shape(model, take.betas)
    pose = Pose.from_arrays(take.global_orient, take.hand_pose, take.transl_mm + np.array([3.0, -2.0, 5.0]))
    objective = replace(make_objective(evidence, hand, pose, options), lambda_temp=0.0)
    outlines = draw_outlines(take, model)
    masks = make_masks(evidence, take.sync, outlines, "right", options)
    surface = make_surface(hand, model.faces)
    found = {(view, time): find_edge(masks, view, time, 1.5) for view in range(3) for time in range(6)}
    edges = {place: edge for place, edge in found.items() if edge is not None}
    assert len(edges) == 18
    rows = match(objective, pose, surface, masks, edges, evidence.time_s, 20.0, options)
    term = OutlineTerm(surface, rows)
    both = replace(objective, outline=term)
    rng = np.random.default_rng(0)
    step = rng.normal(size=(len(evidence.time_s), 51)) * 1e-3
    up, down = (evaluate(both, move(pose, sign * step))[0] for sign in (1, -1))
    slope = (evaluate(both, pose)[1] * step).sum()
    assert (up - down) / 2 == pytest.approx(slope, rel=1e-3)
    affine = hand.get_affine(*hand.get_transforms(*(pose.to_matrices()[k] for k in (0, 1, 2))))
    information = term.get_information(objective.cameras, affine, 0).sum(dim=(0, 1))
    shifted = []
    for axis in range(3):
        moved = torch.zeros(3, dtype=torch.float64)
        moved[axis] = 0.5
        near = affine.clone()
        near[..., 3] += moved
        apart = term.get_residuals(objective.cameras, near) - term.get_residuals(objective.cameras, affine)
        shifted.append(float((rows.weight * (apart / 0.5).square()).sum()))
    np.testing.assert_allclose(information.diagonal().numpy(), shifted, rtol=0.15)
