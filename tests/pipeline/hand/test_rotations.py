import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.hand.rotations import decode_sixd, encode_sixd, mirror_points, mirror_rotations

quick = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, count: int = 4) -> np.ndarray:
    return Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix()


@quick
@given(seeds)
def test_6d_and_back_is_the_same_rotation(seed):
    rotation = torch.as_tensor(draw(seed))
    torch.testing.assert_close(decode_sixd(encode_sixd(rotation)), rotation)


@quick
@given(seeds)
def test_6d_is_the_first_two_columns(seed):
    rotation = draw(seed)
    sixd = encode_sixd(torch.as_tensor(rotation)).numpy()
    np.testing.assert_array_equal(sixd[:, :3], rotation[:, :, 0])
    np.testing.assert_array_equal(sixd[:, 3:], rotation[:, :, 1])


@quick
@given(seeds, st.floats(0.1, 10), st.floats(0.1, 10), st.floats(-3, 3))
def test_lengths_and_lean_of_the_columns_do_not_change_the_rotation(seed, first, second, lean):
    rotation = torch.as_tensor(draw(seed))
    sixd = encode_sixd(rotation)
    stretched = torch.cat([first * sixd[:, :3], second * sixd[:, 3:] + lean * sixd[:, :3]], dim=-1)
    torch.testing.assert_close(decode_sixd(stretched), rotation, atol=1e-9, rtol=0)


@quick
@given(seeds)
def test_any_6d_gives_a_proper_rotation(seed):
    sixd = torch.as_tensor(np.random.default_rng(seed).normal(size=(5, 6)))
    rotation = decode_sixd(sixd).numpy()
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.tile(np.eye(3), (5, 1, 1)), atol=1e-7)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-7)


@quick
@given(seeds)
def test_mirroring_twice_changes_nothing(seed):
    rotation, points = draw(seed), np.random.default_rng(seed).normal(size=(4, 3))
    np.testing.assert_array_equal(mirror_rotations(mirror_rotations(rotation)), rotation)
    np.testing.assert_array_equal(mirror_points(mirror_points(points)), points)


@quick
@given(seeds)
def test_a_mirrored_rotation_turns_mirrored_points_as_the_mirror_shows_it(seed):
    rotation, points = draw(seed), np.random.default_rng(seed).normal(size=(4, 3))
    turned = np.einsum("nij,nj->ni", rotation, points)
    again = np.einsum("nij,nj->ni", mirror_rotations(rotation), mirror_points(points))
    np.testing.assert_allclose(again, mirror_points(turned), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(mirror_rotations(rotation)), 1.0)


def test_unmeasured_points_stay_unmeasured_in_the_mirror():
    assert np.isnan(mirror_points(np.array([[np.nan, 1.0, 2.0]]))[0, 0])


def test_the_precision_of_the_input_is_kept():
    assert mirror_points(np.zeros((1, 3), np.float32)).dtype == np.float32
    assert mirror_rotations(np.eye(3, dtype=np.float32)).dtype == np.float32


def test_the_gradient_through_6d_is_that_of_small_steps():
    sixd = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 6))).requires_grad_(True)
    assert torch.autograd.gradcheck(decode_sixd, (sixd,))
