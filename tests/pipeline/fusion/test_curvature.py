import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.fusion import fuse as door
from pipeline.fusion.curvature import Factor, factorise, get_curvature, get_sixd_basis
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import Pose
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


@pytest.fixture
def tridiagonal() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    frames, size = 6, 4
    root = np.zeros((frames * size, frames * size))
    for t in range(frames):
        here = slice(t * size, (t + 1) * size)
        root[here, here] = np.tril(rng.normal(size=(size, size))) + 3 * np.eye(size)
        if t:
            root[here, (t - 1) * size : t * size] = rng.normal(size=(size, size))
    dense = root @ root.T
    blocks = dense.reshape(frames, size, frames, size).swapaxes(1, 2)
    diagonal = np.stack([blocks[t, t] for t in range(frames)])
    return dense, diagonal, np.stack([blocks[t + 1, t] for t in range(frames - 1)])


def test_the_marginals_are_the_blocks_of_the_inverse(tridiagonal):
    dense, diagonal, lower = tridiagonal
    marginals = factorise(diagonal, lower).get_marginals()
    inverse = np.linalg.inv(dense).reshape(6, 4, 6, 4).swapaxes(1, 2)
    np.testing.assert_allclose(marginals, np.stack([inverse[t, t] for t in range(6)]), atol=1e-10)


def test_the_band_holds_the_factor(tridiagonal):
    dense, diagonal, lower = tridiagonal
    factor: Factor = factorise(diagonal, lower)
    band = factor.to_band()
    root = np.zeros_like(dense)
    for offset in range(len(band)):
        for column in range(len(dense) - offset):
            root[column + offset, column] = band[offset, column]
    np.testing.assert_allclose(root @ root.T, dense, atol=1e-9)
