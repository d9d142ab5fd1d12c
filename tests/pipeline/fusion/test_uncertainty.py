import numpy as np
import pytest

from pipeline.fusion.curvature import Curvature
from pipeline.fusion.uncertainty import get_joint_sigma, get_noise_scale


def draw(scale: float, frames: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals of 3 views after a fit that took 26 numbers a frame, and their weights."""
    rng = np.random.default_rng(0)
    shrink = np.sqrt(1 - 26 / 126)
    z = scale * shrink * np.linalg.norm(rng.normal(size=(3, frames, 21, 2)), axis=-1)
    return z, np.ones_like(z), np.ones_like(z)


@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_noise_larger_than_its_sigmas_is_found(scale):
    found = get_noise_scale(*draw(scale), frames=15)
    assert np.median(found) == pytest.approx(scale, rel=0.1)


def test_noise_smaller_than_its_sigmas_is_not_taken_for_certainty():
    assert (get_noise_scale(*draw(0.3), frames=15) == 1.0).all()


def test_a_joint_on_which_the_views_contradict_each_other_gets_its_own_scale_though_its_weight_is_low():
    z, robust, manual = draw(1.0)
    z[1, 80:120, 8] = 20.0
    robust[1, 80:120, 8] = 0.02
    found = get_noise_scale(z, robust, manual, frames=15)
    assert found[100, 8] > 5.0
    assert found[100, 7] < 1.5
    assert found[20, 8] < 1.5


def test_lone_outliers_that_the_fit_has_set_aside_make_no_joint_less_sure():
    z, robust, manual = draw(1.0)
    wild = np.random.default_rng(1).random(z.shape) < 0.05
    z[wild] = 40.0
    robust[wild] = 1 / (1 + 40.0**2 / 9)
    found = get_noise_scale(z, robust, manual, frames=15)
    assert np.median(found) < 1.15
    assert np.quantile(found, 0.99) < 1.5


def test_the_scale_makes_the_curvature_the_spread_of_a_robust_fit():
    """Sixty views place each joint by itself; their noise is 3 sigmas, and 5 % of them are far off."""
    rng = np.random.default_rng(2)
    points = 3.0 * rng.normal(size=(60, 100, 21, 2))
    points[rng.random(points.shape[:3]) < 0.05] += 60.0
    place = np.median(points, axis=0)
    for _ in range(30):
        z = np.linalg.norm(points - place, axis=-1)
        robust = 1 / (1 + (z / 9) ** 2)
        place = (robust[..., None] * points).sum(axis=0) / robust.sum(axis=0)[..., None]
    found = get_noise_scale(z, robust, np.ones_like(z), frames=15)
    stated = found / np.sqrt(robust.sum(axis=0))
    assert np.sqrt((stated**2).mean()) == pytest.approx(place.std(), rel=0.1)


def test_without_any_point_the_scale_is_one():
    z = np.full((2, 5, 21), np.nan)
    assert (get_noise_scale(z, 0 * z, np.ones_like(z), frames=15) == 1.0).all()


def test_sigma_is_the_spread_that_the_curvature_leaves():
    """One frame whose translation is known to 2 mm along each axis and whose joints only move with it."""
    diagonal = np.eye(51)[None].copy()
    diagonal[0, :3, :3] = np.eye(3) / 4.0
    jacobian = np.zeros((1, 63, 51))
    jacobian[0, :, :3] = np.tile(np.eye(3), (21, 1))
    curvature = Curvature(diagonal, np.zeros((0, 51, 51)), jacobian, 0.25)
    sigma = get_joint_sigma(curvature, np.full((1, 21), 3.0), floor_mm=8.0)
    np.testing.assert_allclose(sigma, np.hypot(6.0, 8.0))
