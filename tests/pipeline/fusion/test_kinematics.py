import numpy as np
import pytest
import torch

from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.objective import temporal_loss, temporal_loss_of_bones


@pytest.mark.parametrize("blended", [False, True])
def test_joints_and_vertices_are_those_of_smplx(make_double, make_pose, blended):
    double = make_double(blended)
    betas = np.random.default_rng(1).normal(size=10)
    orient, pose, transl = make_pose()
    vertices, joints = double.pose(torch.as_tensor(betas), orient, pose, transl)
    hand = fix_shape(double, betas)
    rotation, bones = hand.get_transforms(orient, pose, transl)
    np.testing.assert_allclose(hand.get_joints(rotation, bones, pose), joints, atol=1e-5)
    np.testing.assert_allclose(hand.get_vertices(rotation, bones, pose), vertices, atol=1e-5)
    assert (hand.posedirs_mm is not None) == blended


def test_the_quadratic_form_is_the_sum_over_all_vertices(model, make_pose):
    hand = fix_shape(model, np.random.default_rng(2).normal(size=10))
    orient, pose, transl = make_pose(frames=7)
    rotation, bones = hand.get_transforms(orient, pose, transl)
    plain = temporal_loss(hand.get_vertices(rotation, bones, pose))
    fast = temporal_loss_of_bones(hand, hand.get_affine(rotation, bones))
    assert float(fast) == pytest.approx(float(plain), rel=1e-10)


def test_the_features_stand_for_joints_and_vertices(model, make_pose):
    hand = fix_shape(model, np.zeros(10))
    orient, pose, transl = make_pose(frames=3)
    rotation, bones = hand.get_transforms(orient, pose, transl)
    affine = hand.get_affine(rotation, bones).numpy()
    points = np.einsum("rkc,tkac->tra", hand.get_features(), affine)
    np.testing.assert_allclose(points[:, :21], hand.get_joints(rotation, bones, pose), atol=1e-8)
    vertices = hand.get_vertices(rotation, bones, pose).numpy()
    wanted = np.square(np.diff(vertices, axis=0)).sum(axis=(1, 2))
    np.testing.assert_allclose(np.square(np.diff(points[:, 21:], axis=0)).sum(axis=(1, 2)), wanted, rtol=1e-9)
