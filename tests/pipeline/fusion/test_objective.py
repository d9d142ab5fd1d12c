"""The objective against a plain version: smplx for the hand, the formulas of seed 000 written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.fusion import fuse as door
from pipeline.fusion.kinematics import FixedShapeHand, fix_shape
from pipeline.fusion.objective import (
    Pose,
    anchor_loss,
    choose_sixd,
    get_gibbs,
    make_axes_prior,
    project,
    temporal_loss,
)
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import MANO_POSE_JOINTS
from pipeline.hand.rotations import decode_sixd, encode_sixd


def plain_loss(double, betas, objective, evidence, t, theta_global, theta_hand):
    """``L_reproj + lambda_anchor L_anchor + lambda_temp L_temporal``, as seed 000 writes it."""
    hand_pose = decode_sixd(theta_hand)
    vertices, joints = double.pose(torch.as_tensor(betas), decode_sixd(theta_global), hand_pose, t)
    total, n_obs = joints.new_zeros(()), 0
    for camera, points, sigmas, manual in zip(
        evidence.cameras, evidence.points_px, evidence.sigma_px, evidence.manual, strict=True
    ):
        local = joints @ torch.as_tensor(camera.R).T + torch.as_tensor(camera.t_mm)
        xy = local[..., :2] / local[..., 2:]
        r2 = xy.square().sum(-1, keepdim=True)
        k1, k2, _, _, k3 = camera.distortion
        xy = xy * (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3)
        pixels = xy * torch.tensor([camera.K[0, 0], camera.K[1, 1]]) + torch.as_tensor(camera.K[:2, 2])
        for frame in range(len(t)):
            for j in range(21):
                if np.isfinite(sigmas[frame, j]) and manual[frame, j] > 0:
                    miss = pixels[frame, j] - torch.as_tensor(points[frame, j])
                    total = total + manual[frame, j] / (2 * (sigmas[frame, j] ** 2 + 1e-5)) * (miss @ miss)
                    n_obs += 1
    anchor = sum(((theta_hand[n] - objective.theta_anchor[n]) ** 2).sum() for n in range(len(t))) / len(t)
    steps = sum(((vertices[n] - vertices[n - 1]) ** 2).sum() for n in range(1, len(t))) / (len(t) - 1)
    return total / n_obs + objective.lambda_anchor * anchor + objective.lambda_temp * steps


@pytest.mark.parametrize("blended", [False, True])
def test_value_and_gradient_are_those_of_the_plain_version(make_double, make_take, blended):
    double = make_double(blended)
    take = make_take(seconds=0.1, noise_px=3.0)
    evidence = take.collect()
    rng = np.random.default_rng(0)
    evidence.sigma_px[:] = rng.uniform(0.5, 6, size=evidence.sigma_px.shape)
    evidence.points_px[1, 2, 4:9] = np.nan
    evidence.sigma_px[1, 2, 4:9] = np.nan
    hand = fix_shape(double, take.betas)
    start = Pose.from_arrays(take.global_orient, take.hand_pose, take.transl_mm)
    objective = door.make_objective(evidence, hand, start, FusionOptions(lambda_temp=2e-4, lambda_anchor=0.3))
    objective = replace(objective, lambda_axes=0.0)
    # Off the anchor, and off the unit columns of a proper rotation: 6D variables are free.
    variables = [
        (part + scale * torch.as_tensor(rng.normal(size=part.shape))).requires_grad_(True)
        for part, scale in ((start.transl_mm, 3.0), (start.theta_global, 0.2), (start.theta_hand, 0.2))
    ]
    fast = objective.loss(*variables)
    plain = plain_loss(double, take.betas, objective, evidence, *variables)
    assert fast.item() == pytest.approx(plain.item(), rel=1e-8)
    wanted = torch.autograd.grad(plain, variables)
    for one, other in zip(torch.autograd.grad(fast, variables), wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-7


def test_projection_is_opencvs(make_take):
    take = make_take(seconds=0.1)
    camera = replace(take.rig.cameras["left"], distortion=np.array([-0.2, 0.08, 1e-3, -2e-3, 0.01]))
    evidence = take.collect()
    cameras, _ = replace(evidence, cameras=(camera,)).get_tensors()
    pixels = project(cameras, torch.as_tensor(take.joints_mm))[0]
    np.testing.assert_allclose(pixels, camera.project(take.joints_mm), atol=1e-8)


def test_the_lengths_of_the_6d_columns_are_those_that_the_anchor_likes_best(make_pose):
    rotation = make_pose(frames=3)[1]
    anchor = encode_sixd(make_pose(frames=3, seed=1)[1] @ rotation[:1, :1]) * 0.9
    near = encode_sixd(rotation) + 0.2 * (anchor - encode_sixd(rotation))
    sixd = choose_sixd(rotation, near).requires_grad_(True)
    torch.testing.assert_close(decode_sixd(sixd), rotation)
    (slope,) = torch.autograd.grad(anchor_loss(sixd, near), sixd)
    c0, c1, _ = rotation.unbind(-1)
    for column, part in ((c0, slope[..., :3]), (c1, slope[..., 3:]), (c0, slope[..., 3:])):
        assert float((column * part).sum(-1).abs().max()) < 1e-12


def test_one_frame_alone_has_no_motion(model):
    assert float(temporal_loss(torch.ones(1, 9, 3))) == 0.0


@pytest.fixture
def hand(model) -> FixedShapeHand:
    return fix_shape(model, np.zeros(10))


def test_the_gibbs_vector_is_the_axis_times_tan_half_the_angle():
    vector = np.array([0.3, -0.8, 0.5])
    angle = np.linalg.norm(vector)
    found = get_gibbs(torch.as_tensor(Rotation.from_rotvec(vector).as_matrix()))
    np.testing.assert_allclose(found, vector / angle * np.tan(angle / 2))


@pytest.mark.parametrize("bend", [-0.7, 0.0, 0.8, 1.9])
def test_the_prior_leaves_bending_to_the_pictures(hand, bend):
    prior = make_axes_prior(hand, FusionOptions())
    pose = Rotation.from_rotvec(bend * prior.axes[:, 2].numpy()).as_matrix()
    inside, beyond = prior.residuals(torch.as_tensor(pose)[None])
    assert float(inside[..., :2].abs().max()) < 1e-9
    assert float(beyond.abs().max()) == 0.0
    # Even at its ends bending costs less than two sigmas.
    assert float(inside[..., 2].abs().max()) < 2.0


def test_the_prior_speaks_against_twisting_a_middle_joint_but_less_against_splaying_a_knuckle(hand):
    prior = make_axes_prior(hand, FusionOptions())

    def cost(joint: str, axis: int, angle: float) -> float:
        pose = np.tile(np.eye(3), (1, 15, 1, 1))
        number = MANO_POSE_JOINTS.index(joint)
        pose[0, number] = Rotation.from_rotvec(angle * prior.axes[number, axis].numpy()).as_matrix()
        return float(prior.loss(torch.as_tensor(pose)))

    assert cost("index_pip", 0, 0.3) > 4.0
    assert cost("index_mcp", 1, 0.3) < 0.5
    assert cost("thumb_cmc", 1, 0.5) < 1.0


def test_bending_is_positive_towards_the_palm(hand):
    """A bent finger's tip goes to where the palm looks: -y of the template."""
    prior = make_axes_prior(hand, FusionOptions())
    flat = torch.eye(3, dtype=torch.float64).expand(1, 15, 3, 3)
    bent = torch.as_tensor(Rotation.from_rotvec(0.5 * prior.axes[:, 2].numpy()).as_matrix())[None]
    eye = torch.eye(3, dtype=torch.float64)[None]

    def tips(pose: torch.Tensor) -> np.ndarray:
        rotation, bones = hand.get_transforms(eye, pose, torch.zeros(1, 3, dtype=torch.float64))
        return hand.get_joints(rotation, bones, pose)[0, 4::4].numpy()

    assert (tips(bent)[1:, 1] - tips(flat)[1:, 1] < -10).all()
