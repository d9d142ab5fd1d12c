import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.fusion.triangulate import project_norm, triangulate, triangulate_robust


def make_projections(count: int) -> np.ndarray:
    """Cameras on a quarter circle about a point 600 mm off."""
    out = []
    for angle in np.linspace(-45, 45, count):
        rotation = Rotation.from_euler("y", angle, degrees=True).as_matrix()
        centre = np.array([0, 0, 600.0])
        out.append(np.c_[rotation, centre - rotation @ centre])
    return np.stack(out)


points = st.tuples(*(st.floats(-100, 100) for _ in range(3)))


@settings(deadline=None, max_examples=30)
@given(points, st.integers(2, 5))
def test_exact_rays_give_the_point_back(point, count):
    projections = make_projections(count)
    world = np.array(point) + np.array([0, 0, 600.0])
    seen = project_norm(world, projections)
    found = triangulate(seen, projections, np.ones(count))
    np.testing.assert_allclose(found, world, atol=1e-5)


def test_one_view_alone_gives_nan():
    projections = make_projections(3)
    seen = project_norm(np.array([[0, 0, 600.0], [10, 0, 600.0]]), projections)
    seen[1:, 0] = np.nan
    found = triangulate(seen, projections, np.ones((3, 2)))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_a_view_without_weight_has_no_say():
    projections = make_projections(3)
    world = np.array([20, -10, 610.0])
    seen = project_norm(world, projections)
    seen[2] += 0.2
    found = triangulate(seen, projections, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(found, world, atol=1e-6)


def test_a_view_that_contradicts_three_others_is_outvoted():
    projections = make_projections(4)
    world = np.array([20, -10, 610.0])
    seen = project_norm(world, projections)
    seen[2] += [0.1, 0.05]
    sigma = np.full(4, 0.002)
    found, residual = triangulate_robust(seen, projections, sigma)
    plain = triangulate(seen, projections, np.ones(4))
    assert np.linalg.norm(found - world) < 1.0 < np.linalg.norm(plain - world)
    assert residual[2] > 10 > residual[[0, 1, 3]].max()


def test_noise_leaves_the_smallest_reprojection_error():
    rng = np.random.default_rng(3)
    projections = make_projections(3)
    world = rng.uniform(-60, 60, size=(200, 3)) + np.array([0, 0, 600.0])
    seen = project_norm(world, projections) + rng.normal(size=(3, 200, 2)) * 1e-3
    found, _ = triangulate_robust(seen, projections, np.full((3, 200), 1e-3), robust_sigmas=1e3)
    cost = np.square(project_norm(found, projections) - seen).sum(axis=(0, 2))
    for step in 0.02 * np.concatenate([np.eye(3), -np.eye(3)]):
        moved = np.square(project_norm(found + step, projections) - seen).sum(axis=(0, 2))
        assert (moved > cost - 1e-9).mean() > 0.99
