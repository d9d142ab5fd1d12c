import numpy as np
import pytest
import torch

from pipeline.fusion.tridiagonal import factorise


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


def test_a_solution_is_that_of_the_dense_matrix(tridiagonal):
    dense, diagonal, lower = tridiagonal
    right = np.random.default_rng(0).normal(size=(6, 4))
    found = factorise(diagonal, lower).solve(right)
    np.testing.assert_allclose(found.reshape(-1), np.linalg.solve(dense, right.reshape(-1)), atol=1e-10)


def test_many_right_sides_are_solved_in_place_as_each_alone(tridiagonal):
    dense, diagonal, lower = tridiagonal
    right = torch.as_tensor(np.random.default_rng(1).normal(size=(6, 4, 3)))
    wanted = np.linalg.solve(dense, right.numpy().reshape(24, 3))
    factorise(diagonal, lower).solve_columns(right)
    np.testing.assert_allclose(right.numpy().reshape(24, 3), wanted, atol=1e-10)


def test_one_frame_alone_is_solved(tridiagonal):
    _, diagonal, lower = tridiagonal
    found = factorise(diagonal[:1], lower[:0]).solve(np.ones((1, 4)))
    np.testing.assert_allclose(diagonal[0] @ found[0], 1.0)


def test_what_is_added_lies_on_the_diagonal(tridiagonal):
    dense, diagonal, lower = tridiagonal
    added = np.random.default_rng(1).uniform(size=(6, 4))
    found = factorise(diagonal, lower, added).solve(np.ones((6, 4)))
    wanted = np.linalg.solve(dense + np.diag(added.reshape(-1)), np.ones(24))
    np.testing.assert_allclose(found.reshape(-1), wanted, atol=1e-10)
