from dataclasses import replace

import numpy as np

from pipeline.calibration.lens import FULL_LENS, USUAL_LENS
from pipeline.calibration.refine import Observation, RigState, _Problem, refine, to_rvec
from pipeline.session import Checkerboard
from tests.pipeline.calibration.board_pictures import board_points, make_rig_cameras, place, random_poses

BOARD = Checkerboard(columns=7, rows=5)


def made(noise_px=0.0, count=10, seed=0):
    rng = np.random.default_rng(seed)
    cameras = list(make_rig_cameras().values())
    poses = random_poses(BOARD, count, rng)
    truth = RigState(
        K=np.stack([camera.K for camera in cameras]),
        distortion=np.stack([camera.distortion for camera in cameras]),
        cameras=[(to_rvec(camera.R), camera.t_mm) for camera in cameras],
        boards=[(to_rvec(R), t_mm) for R, t_mm in poses],
    )
    observations = []
    for c, camera in enumerate(cameras):
        for b, pose in enumerate(poses):
            corners = camera.project(place(board_points(BOARD), pose))
            observations.append(Observation(c, b, corners + rng.normal(0, noise_px, corners.shape)))
    return truth, observations


def disturbed(truth, seed=1):
    rng = np.random.default_rng(seed)

    def shake(pose):
        return pose[0] + rng.normal(0, 0.02, 3), pose[1] + rng.normal(0, 8, 3)

    K = truth.K.copy()
    K[:, [0, 1], [0, 1]] *= 1.03
    return replace(
        truth,
        K=K,
        distortion=np.zeros_like(truth.distortion),
        cameras=[truth.cameras[0], *map(shake, truth.cameras[1:])],
        boards=[shake(pose) for pose in truth.boards],
    )


def error_mm(state, truth):
    return max(np.linalg.norm(a[1] - b[1]) for a, b in zip(state.cameras, truth.cameras, strict=True))


def test_exact_corners_bring_a_disturbed_rig_back():
    truth, observations = made()
    state = refine(disturbed(truth), observations, BOARD)
    assert error_mm(state, truth) < 0.02
    np.testing.assert_allclose(state.K, truth.K, rtol=1e-4)


def test_noisy_corners_leave_a_rig_within_its_noise():
    truth, observations = made(noise_px=0.1)
    state = refine(disturbed(truth), observations, BOARD)
    assert error_mm(state, truth) < 2.0
    np.testing.assert_allclose(state.K[:, 0, 0], truth.K[:, 0, 0], rtol=2e-3)


def test_single_wild_corners_pull_little():
    truth, observations = made(noise_px=0.05)
    wild = [replace(one, corners_px=one.corners_px.copy()) for one in observations]
    for one in wild[::3]:
        one.corners_px[7] += [15.0, -9.0]
    clean = refine(disturbed(truth), observations, BOARD)
    robust = refine(disturbed(truth), wild, BOARD)
    assert error_mm(robust, clean) < 1.5


def test_the_reference_camera_stays_the_world():
    truth, observations = made(noise_px=0.2)
    state = refine(disturbed(truth), observations, BOARD)
    np.testing.assert_array_equal(state.cameras[0][0], 0)
    np.testing.assert_array_equal(state.cameras[0][1], 0)


def test_fixed_lenses_stay_as_they_are():
    truth, observations = made(noise_px=0.1)
    state = refine(truth, observations, BOARD, fixed_lenses=True)
    np.testing.assert_array_equal(state.K, truth.K)
    np.testing.assert_array_equal(state.distortion, truth.distortion)


def test_the_jacobian_is_the_derivative_of_the_residuals():
    truth, observations = made(count=3)
    for model, fixed in ((USUAL_LENS, False), (FULL_LENS, False), (USUAL_LENS, True)):
        problem = _Problem(truth, observations, BOARD, model, fixed)
        x = problem.pack(disturbed(truth))
        exact = problem.jacobian(x).toarray()
        step = 1e-6 * np.maximum(np.abs(x), 1.0)
        for k in range(len(x)):
            shift = np.zeros(len(x))
            shift[k] = step[k]
            numeric = (problem.residuals(x + shift) - problem.residuals(x - shift)) / (2 * step[k])
            scale = max(np.abs(numeric).max(), 1.0)
            np.testing.assert_allclose(exact[:, k] / scale, numeric / scale, atol=1e-5)
