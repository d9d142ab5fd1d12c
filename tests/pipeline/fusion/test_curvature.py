from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.fusion import fuse as door
from pipeline.fusion.curvature import get_curvature, get_sixd_basis
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Objective, Pose
from pipeline.fusion.options import FusionOptions
from pipeline.hand.rotations import encode_sixd


def make_problem(make_take, model, **how):
    take = make_take(**how)
    evidence = take.collect()
    hand = fix_shape(model, take.betas)
    start = Pose.from_arrays(take.global_orient, take.hand_pose, take.transl_mm)
    return door.make_objective(evidence, hand, start, FusionOptions()), start, take


def turn(pose: Pose, step: np.ndarray) -> Pose:
    """The pose moved by tangent coordinates (T, 51)."""
    orient, hand_pose, transl = (part.numpy() for part in pose.to_matrices())
    matrices = np.concatenate([orient[:, None], hand_pose], axis=1)
    moved = matrices @ Rotation.from_rotvec(step[:, 3:].reshape(-1, 3)).as_matrix().reshape(-1, 16, 3, 3)
    return Pose.from_arrays(moved[:, 0], moved[:, 1:], transl + step[:, :3])


def test_the_joints_jacobian_is_that_of_small_steps(make_take, model):
    objective, pose, _ = make_problem(make_take, model, seconds=0.05)
    jacobian = get_curvature(objective, pose).joint_jacobian
    rng = np.random.default_rng(0)
    step = rng.normal(size=(len(jacobian), 51)) * 1e-5
    ahead = turn(pose, step).get_joints(objective.hand)
    behind = turn(pose, -step).get_joints(objective.hand)
    wanted = ((ahead - behind) / 2).numpy().reshape(len(jacobian), 63)
    np.testing.assert_allclose((jacobian @ step[..., None])[..., 0], wanted, atol=1e-8)


def test_at_the_truth_the_curvature_is_the_objectives_second_derivative(make_take, model):
    """Where residuals vanish Gauss-Newton is exact, but for the lens's small change of scale."""
    objective, pose, _ = make_problem(make_take, model, seconds=0.1, sigma_px=1.0)
    curvature = get_curvature(objective, pose)
    count = objective.seen.n_observations
    rng = np.random.default_rng(1)

    def loss(step: np.ndarray) -> float:
        moved = turn(pose, step)
        return count * float(objective.loss(moved.transl_mm, moved.theta_global, moved.theta_hand))

    for _ in range(5):
        direction = rng.normal(size=(len(pose.transl_mm), 51))
        step = 1e-3 * direction
        second = (loss(step) - 2 * loss(0 * step) + loss(-step)) / 1e-6
        predicted = np.einsum("ti,tij,tj->", direction, curvature.diagonal, direction)
        predicted += 2 * np.einsum("ti,tij,tj->", direction[1:], curvature.lower, direction[:-1])
        assert predicted == pytest.approx(second, rel=0.1)


def test_the_6d_basis_is_the_derivative_of_a_turn():
    rotation = Rotation.from_rotvec([0.4, -0.2, 0.9])
    step = np.array([3e-6, -2e-6, 5e-6])

    def encode(turned: Rotation) -> np.ndarray:
        return encode_sixd(torch.as_tensor(turned.as_matrix())).numpy()

    moved = (
        encode(rotation * Rotation.from_rotvec(step)) - encode(rotation * Rotation.from_rotvec(-step))
    ) / 2
    basis = get_sixd_basis(torch.as_tensor(rotation.as_matrix())).numpy()
    np.testing.assert_allclose(basis @ step, moved, atol=1e-12)


def test_bending_is_what_residuals_add_to_the_second_derivative(make_take, model):
    """Gauss-Newton is the same for exact points and for points a little off; the objective is not."""
    exact, pose, _ = make_problem(make_take, model, seconds=0.1, sigma_px=1.0)
    off = 0.1 * torch.as_tensor(np.random.default_rng(2).normal(size=exact.seen.keypoints_px.shape))
    noisy = replace(exact, seen=replace(exact.seen, keypoints_px=exact.seen.keypoints_px + off))
    bent = get_curvature(noisy, pose, bending=True).diagonal - get_curvature(noisy, pose).diagonal
    rng = np.random.default_rng(1)

    def get_second(objective: Objective, direction: np.ndarray) -> float:
        losses = []
        for size in (1e-3, 0.0, -1e-3):
            moved = turn(pose, size * direction)
            losses.append(float(objective.loss(moved.transl_mm, moved.theta_global, moved.theta_hand)))
        return objective.seen.n_observations * (losses[0] - 2 * losses[1] + losses[2]) / 1e-6

    wanted, found = [], []
    for _ in range(20):
        direction = np.zeros((len(pose.transl_mm), 51))
        direction[:, 3:] = rng.normal(size=(len(direction), 48))
        wanted.append(get_second(noisy, direction) - get_second(exact, direction))
        found.append(np.einsum("ti,tij,tj->", direction, bent, direction))
    # What is left is the bending of the projection itself, some arm lengths over the distance.
    assert np.linalg.norm(np.subtract(found, wanted)) < 0.4 * np.linalg.norm(wanted)


def test_bending_never_takes_a_direction_all_of_its_curvature(make_take, model):
    """Points far off bend the objective downwards; a step must go down all the same."""
    take = make_take(seconds=0.1, sigma_px=1.0)
    evidence = take.collect()
    evidence.points_px[:] += 40 * np.random.default_rng(3).normal(size=evidence.points_px.shape)
    pose = Pose.from_arrays(take.global_orient, take.hand_pose, take.transl_mm)
    objective = door.make_objective(evidence, fix_shape(model, take.betas), pose, FusionOptions())
    plain, bent = (get_curvature(objective, pose, bending=bending) for bending in (False, True))
    for without, with_it in zip(plain.diagonal, bent.diagonal, strict=True):
        root = np.linalg.inv(np.linalg.cholesky(without))
        shares = np.linalg.eigvalsh(root @ with_it @ root.T)
        assert shares.min() > 0.1
        assert shares.max() > 1.5


def test_the_curvature_of_the_whole_hand_is_the_corner_of_that_of_all_joints(make_take, model):
    objective, pose, _ = make_problem(make_take, model, seconds=0.1)
    whole, full = get_curvature(objective, pose, turning=1), get_curvature(objective, pose)
    np.testing.assert_allclose(whole.diagonal, full.diagonal[:, :6, :6], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(whole.lower, full.lower[:, :6, :6], rtol=1e-9, atol=1e-6)


def test_frames_worked_in_parts_join_without_a_seam(make_take, model, monkeypatch):
    objective, pose, _ = make_problem(make_take, model, seconds=0.2, noise_px=1.0)
    whole = get_curvature(objective, pose, bending=True)
    monkeypatch.setattr("pipeline.fusion.curvature._CHUNK", 5)
    parts = get_curvature(objective, pose, bending=True)
    np.testing.assert_allclose(parts.diagonal, whole.diagonal, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(parts.lower, whole.lower, rtol=1e-9, atol=1e-6)
