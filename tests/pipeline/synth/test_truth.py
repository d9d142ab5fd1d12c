from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import RunFolderError, SessionError
from pipeline.hand.rotations import mirror_points
from pipeline.synth.spec import CAMERAS, SynthSpec
from pipeline.synth.truth import make_take, make_truth, pose_take, read_truth, write_truth


def project_by_hand(camera, points_mm):
    """The pinhole with k1 and k2, written out."""
    x = points_mm @ camera.R.T + camera.t_mm
    a, b = x[..., 0] / x[..., 2], x[..., 1] / x[..., 2]
    r2 = a**2 + b**2
    bent = 1 + camera.distortion[0] * r2 + camera.distortion[1] * r2**2
    return np.stack(
        [camera.K[0, 0] * a * bent + camera.K[0, 2], camera.K[1, 1] * b * bent + camera.K[1, 2]], -1
    )


def test_keypoints_are_the_true_joints_seen_at_each_cameras_own_instants(take, truth):
    for camera in CAMERAS:
        own_s = truth.camera_time_s[camera]
        reference_s = own_s + truth.offset_s[camera] + truth.drift_ppm[camera] * 1e-6 * own_s
        _, joints, _ = pose_take(take, reference_s)
        expected = project_by_hand(truth.rig.cameras[camera], joints)
        assert np.abs(expected - truth.keypoints_px[camera]).max() < 1e-3


def test_parameters_give_the_joints(model, truth):
    _, joints = model.pose_arrays(truth.betas, truth.global_orient, truth.hand_pose, truth.transl_mm)
    assert np.abs(joints - truth.joints_mm).max() < 1e-2
    assert np.allclose(np.linalg.det(truth.hand_pose), 1)


def test_a_left_hand_is_the_right_hand_of_the_mirrored_world(model):
    spec = SynthSpec(seconds=2.0, seed=8)
    right, left = make_truth(spec, model), make_truth(replace(spec, side="left"), model)
    assert np.allclose(left.joints_mm, mirror_points(right.joints_mm), atol=1e-3)
    assert np.array_equal(left.global_orient, right.global_orient)


def test_equal_specs_give_equal_truth_and_other_seeds_another(model):
    spec = SynthSpec(seconds=1.5, seed=13, fps=Fraction(30))
    first, second = make_truth(spec, model), make_truth(spec, model)
    other = make_truth(replace(spec, seed=14), model)
    assert np.array_equal(first.joints_mm, second.joints_mm)
    assert first.offset_s == second.offset_s
    assert all(np.array_equal(first.keypoints_px[c], second.keypoints_px[c]) for c in CAMERAS)
    assert not np.allclose(first.joints_mm, other.joints_mm)
    assert first.offset_s != other.offset_s


def test_cameras_differ_in_lens_clock_and_place(model):
    for seed in range(10):
        truth = make_truth(SynthSpec(seconds=8.0, seed=seed, fps=Fraction(10)), model)
        cameras = truth.rig.cameras
        assert truth.offset_s["front"] == truth.drift_ppm["front"] == 0
        for name in ("left", "right"):
            assert 0 < abs(truth.offset_s[name]) <= 1.6
            assert abs(truth.offset_s[name] * 59.94 % 1) > 1e-6
            assert 0 < abs(truth.drift_ppm[name]) <= 60
            assert truth.calibration_offset_s[name] != truth.offset_s[name]
            angle = np.degrees(np.arccos((np.trace(cameras[name].R) - 1) / 2))
            assert 35 <= angle <= 60
        assert len({camera.K[0, 0] for camera in cameras.values()}) == 3
        for camera in cameras.values():
            assert list(camera.distortion[2:]) == [0, 0, 0]
            assert np.allclose(camera.K[:2, 2], (np.array(camera.size_px) - 1) / 2)
        assert cameras["left"].t_mm[0] > 0 > cameras["right"].t_mm[0]


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_hand_stays_in_all_pictures_and_fills_about_a_third(model, side):
    for seed in range(6):
        take = make_take(SynthSpec(seconds=8.0, seed=seed, side=side, size_px=(1280, 720)), model)
        vertices, _, _ = pose_take(take, np.linspace(0, 8, 80))
        for camera in take.stage.rig.cameras.values():
            pixels = camera.project(vertices)
            inside = ((pixels >= 0) & (pixels <= np.array(camera.size_px) - 1)).all(axis=2)
            assert inside.mean() > 0.98
            heights = np.ptp(pixels[..., 1], axis=1) / camera.size_px[1]
            assert 0.25 < np.median(heights) < 0.6


def test_truth_is_read_as_it_was_written(tmp_path, truth):
    write_truth(tmp_path, truth)
    again = read_truth(tmp_path)
    for name in ("time_s", "joints_mm", "betas", "hand_pose", "global_orient", "transl_mm"):
        assert np.array_equal(getattr(again, name), getattr(truth, name))
    assert again.offset_s == truth.offset_s
    assert again.calibration_offset_s == truth.calibration_offset_s
    assert again.phases == truth.phases
    assert (again.fps, again.size_px, again.side, again.kind) == (
        truth.fps, truth.size_px, truth.side, truth.kind
    )  # fmt: skip
    for name, camera in truth.rig.cameras.items():
        found = again.rig.cameras[name]
        assert (found.name, found.size_px) == (camera.name, camera.size_px)
        for key in ("K", "distortion", "R", "t_mm"):
            assert np.array_equal(getattr(found, key), getattr(camera, key))
    assert read_truth(tmp_path / "truth.json").seed == truth.seed


def test_a_missing_or_foreign_truth_is_said(tmp_path, truth):
    with pytest.raises(RunFolderError, match=r"truth\.npz is missing"):
        read_truth(tmp_path)
    write_truth(tmp_path, truth)
    (tmp_path / "truth.json").write_text('{"rig": {"cameras": {}}}')
    with pytest.raises(RunFolderError, match="not one of this program"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"size_px": (641, 360)}, {"size_px": (320, 640)}, {"seconds": 0.2}, {"severity": 2.0},
     {"fps": Fraction(1)}, {"seconds": float("nan")}],
)  # fmt: skip
def test_a_spec_that_cannot_be_made_is_refused_in_words(model, wrong):
    with pytest.raises(SessionError, match=r"made session|severity"):
        make_take(replace(SynthSpec(), **wrong), model)
