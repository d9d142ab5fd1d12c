import numpy as np
import pytest

from pipeline.calibration.lens import FULL_LENS, USUAL_LENS, LensModel, board_poses, calibrate_lens
from pipeline.session import Checkerboard
from tests.pipeline.calibration.board_pictures import board_points, make_camera, place, random_poses

BOARD = Checkerboard()


def views_of(camera, count=14, noise_px=0.0, seed=0):
    rng = np.random.default_rng(seed)
    poses = random_poses(BOARD, count, rng)
    exact = [camera.project(place(board_points(BOARD), pose)) for pose in poses]
    return [view + rng.normal(0, noise_px, view.shape) for view in exact]


def test_exact_corners_give_the_exact_lens():
    camera = make_camera(size_px=(1280, 720), focal_px=1100, k1=-0.1, k2=0.05)
    fit = calibrate_lens(views_of(camera), BOARD, camera.size_px)
    assert fit.K[0, 0] == pytest.approx(1100, rel=1e-4)
    np.testing.assert_allclose(fit.distortion, [-0.1, 0.05, 0, 0, 0], atol=2e-3)
    assert fit.rms_px < 0.01


def test_the_principal_point_is_the_middle_of_the_picture_and_the_rest_of_the_lens_is_zero():
    camera = make_camera(focal_px=560, k1=-0.1)
    fit = calibrate_lens(views_of(camera, noise_px=0.3), BOARD, camera.size_px)
    assert fit.K[0, 2] == (640 - 1) / 2
    assert fit.K[1, 2] == (360 - 1) / 2
    assert fit.K[0, 0] == fit.K[1, 1]
    np.testing.assert_array_equal(fit.distortion[2:], 0)


def test_the_same_views_give_the_same_lens_to_the_last_digit():
    camera = make_camera(focal_px=560, k1=-0.1)
    views = views_of(camera, noise_px=0.3)
    lenses = [calibrate_lens(views, BOARD, camera.size_px) for _ in range(5)]
    assert len({(lens.K.tobytes(), lens.distortion.tobytes()) for lens in lenses}) == 1


def test_focal_lengths_may_differ_when_asked():
    camera = make_camera(focal_px=560)
    camera.K[1, 1] = 540
    fit = calibrate_lens(views_of(camera), BOARD, camera.size_px, LensModel(equal_focal=False))
    np.testing.assert_allclose([fit.K[0, 0], fit.K[1, 1]], [560, 540], rtol=1e-3)


def test_the_full_model_finds_a_principal_point_off_the_middle():
    camera = make_camera(focal_px=560)
    camera.K[:2, 2] += [9, -6]
    fit = calibrate_lens(views_of(camera, 20), BOARD, camera.size_px, FULL_LENS)
    np.testing.assert_allclose(fit.K[:2, 2], camera.K[:2, 2], atol=0.2)


def test_a_view_with_misplaced_corners_is_left_out():
    camera = make_camera(focal_px=560)
    views = views_of(camera, noise_px=0.1)
    views[4][10:20] += [3.0, -2.0]
    fit = calibrate_lens(views, BOARD, camera.size_px)
    assert np.flatnonzero(~fit.used).tolist() == [4]
    assert fit.view_rms_px[4] > 5 * fit.rms_px
    assert fit.K[0, 0] == pytest.approx(560, rel=2e-3)


def test_the_stated_uncertainty_of_the_focal_length_covers_its_error():
    camera = make_camera(focal_px=560, k1=-0.05)
    fits = [calibrate_lens(views_of(camera, 12, 0.2, seed), BOARD, camera.size_px) for seed in range(12)]
    z = np.array([(fit.K[0, 0] - 560) / fit.focal_sigma_px for fit in fits])
    assert 0.3 < np.sqrt((z**2).mean()) < 2.0


def test_the_true_pose_is_among_those_proposed():
    camera = make_camera(focal_px=560)
    for pose in random_poses(BOARD, 10, np.random.default_rng(3), distance_mm=2500):
        corners = camera.project(place(board_points(BOARD), pose))
        found = board_poses(corners, camera.K, camera.distortion, BOARD)
        assert min(np.linalg.norm(t_mm - pose[1]) for _, t_mm, _ in found) < 0.5
        assert all(np.linalg.det(R) == pytest.approx(1.0) for R, _, _ in found)


@pytest.mark.parametrize("model", [USUAL_LENS, FULL_LENS, LensModel(equal_focal=False, free_centre=True)])
def test_a_lens_survives_being_packed_for_the_solver(model):
    camera = make_camera(focal_px=560, k1=-0.1, k2=0.02)
    values = model.pack(camera.K, camera.distortion)
    K, distortion = model.unpack(values * 1.01, camera.K, camera.distortion)
    np.testing.assert_allclose(model.pack(K, distortion), values * 1.01)
    assert model.reduce(np.zeros((10, 9))).shape == (10, len(values))
