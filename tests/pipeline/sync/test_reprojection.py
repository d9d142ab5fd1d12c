"""Offsets made precise by a known rig, on made hands; and what rounding them to frames would cost."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import FusionError
from pipeline.fusion.evidence import collect, triangulate_evidence
from pipeline.hand.rotations import mirror_points
from pipeline.results import CameraSync, SyncResult
from pipeline.sync.reprojection import LEAST_SIGMA_S, compare_fits, is_better, refine_offset
from tests.pipeline.sync.made_views import as_right, get_repeated, get_truth, hide, make_track, make_views

FRAME_S = 1001 / 60000


@pytest.fixture(scope="module")
def truth():
    return get_truth()


@pytest.fixture(scope="module")
def views(truth):
    return make_views(truth)


def start(truth, camera):
    """The true clocks, but for one camera's, of which nothing is believed."""
    cameras = {**truth.sync.cameras, camera: CameraSync(float("nan"), drift_ppm=0.0)}
    return replace(truth.sync, cameras=cameras)


def get_error_s(truth, camera, found):
    middle_s = float(truth.camera_time_s[camera].mean())
    drift = (found.drift_ppm - truth.drift_ppm[camera]) * 1e-6
    return found.offset_s + drift * middle_s - truth.offset_s[camera]


@pytest.mark.parametrize("camera", ["left", "right"])
@pytest.mark.parametrize("off_s", [-0.045, 0.02])
def test_the_offset_is_found_to_a_fraction_of_a_frame_from_three_frames_off(truth, views, camera, off_s):
    found = refine_offset(truth.rig, views, start(truth, camera), camera, [truth.offset_s[camera] + off_s])
    error_s = get_error_s(truth, camera, found)
    assert abs(error_s) < 1e-3
    assert abs(error_s) < 3 * found.sigma_s < 5e-3
    assert found.error_px < 2.0
    assert found.rivals_s == ()


def test_constant_errors_of_a_view_do_not_move_the_offset(truth):
    views = make_views(truth, bias_px=8.0)
    found = refine_offset(truth.rig, views, start(truth, "left"), "left", [truth.offset_s["left"]])
    assert found.error_px > 3.0
    assert found.scatter_px < found.error_px / 2
    assert abs(get_error_s(truth, "left", found)) < 2e-3


def test_more_noise_makes_the_stated_error_larger(truth):
    own_s = []
    for noise_px in (1.0, 20.0):
        views = make_views(truth, noise_px=noise_px)
        found = refine_offset(truth.rig, views, start(truth, "left"), "left", [truth.offset_s["left"]])
        own_s.append(np.sqrt(found.sigma_s**2 - LEAST_SIGMA_S**2))
        assert abs(get_error_s(truth, "left", found)) < 3.5 * found.sigma_s
    assert own_s[1] > 2 * own_s[0] > 0


def test_the_best_of_several_starts_is_taken(truth, views):
    true_s = truth.offset_s["left"]
    found = refine_offset(
        truth.rig, views, start(truth, "left"), "left", [true_s + 1.65, true_s - 0.5, true_s]
    )
    assert abs(get_error_s(truth, "left", found)) < 1e-3
    assert found.rivals_s == ()


def test_a_movement_that_comes_back_exactly_leaves_its_repeats_as_rivals(truth):
    time_s, joints = get_repeated(bar_s=1.6)
    views = {
        name: as_right(make_track(time_s, truth.rig.cameras[name].project(joints), seed=number))
        for number, name in enumerate(("front", "left"))
    }
    sync = SyncResult("front", {"front": CameraSync(0.0), "left": CameraSync(float("nan"))})
    found = refine_offset(truth.rig, views, sync, "left", [0.0, 1.6, -1.6, 0.8])
    assert found.offset_s == pytest.approx(0.0, abs=2e-3)
    assert sorted(found.rivals_s) == pytest.approx([-1.6, 1.6], abs=2e-2)


def test_fits_are_compared_stretch_by_stretch(truth, views):
    sync = start(truth, "left")
    right = refine_offset(truth.rig, views, sync, "left", [truth.offset_s["left"]])
    wrong = refine_offset(truth.rig, views, sync, "left", [truth.offset_s["left"] + 0.7])
    ratio, sigmas = compare_fits(right, wrong)
    assert ratio > 1.5
    assert sigmas > 3
    assert is_better(right, wrong)
    assert not is_better(wrong, right)
    assert not is_better(right, right)


def test_a_drift_in_a_long_take_is_found_and_in_a_short_one_left_at_zero(truth):
    # The same seconds of playing over and over, on a clock that runs 100 ppm fast.
    time_s, joints = get_repeated(bar_s=1.6, seconds=60.0)
    front = as_right(make_track(time_s, truth.rig.cameras["front"].project(joints), seed=1))
    points = truth.rig.cameras["left"].project(joints)
    left = as_right(make_track(time_s / (1 + 100e-6), points, seed=2))
    sync = SyncResult("front", {"front": CameraSync(0.0), "left": CameraSync(float("nan"))})
    views = {"front": front, "left": left}
    found = refine_offset(truth.rig, views, sync, "left", [0.0])
    assert found.drift_ppm == pytest.approx(100.0, abs=30.0)
    assert abs(found.drift_ppm - 100.0) < 3.5 * found.drift_sigma_ppm
    assert found.drift_sigma_ppm < 25.0
    short = {name: as_right(hide(tracks["right"], slice(360, None))) for name, tracks in views.items()}
    found = refine_offset(truth.rig, short, sync, "left", [0.0])
    assert abs(found.drift_ppm) < 40.0
    assert found.drift_sigma_ppm > 25.0


def test_pictures_of_another_size_are_brought_to_the_calibrated_one(truth, views):
    small = {
        name: {
            side: replace(
                track,
                keypoints_px=(track.keypoints_px + 0.5) / 2 - 0.5,
                sigma_px=track.sigma_px / 2,
                size_px=(640, 360),
            )
            for side, track in tracks.items()
        }
        for name, tracks in views.items()
    }
    sync = start(truth, "left")
    whole = refine_offset(truth.rig, views, sync, "left", [truth.offset_s["left"]])
    half = refine_offset(truth.rig, small, sync, "left", [truth.offset_s["left"]])
    assert half.offset_s == pytest.approx(whole.offset_s, abs=2e-4)


def test_pictures_of_another_shape_are_refused_by_name(truth, views):
    square = as_right(replace(views["left"]["right"], size_px=(720, 720)))
    with pytest.raises(FusionError, match="left"):
        refine_offset(truth.rig, {**views, "left": square}, start(truth, "left"), "left", [0.0])


def test_nothing_seen_together_gives_no_offset(truth, views):
    far = refine_offset(truth.rig, views, start(truth, "left"), "left", [40.0])
    assert np.isnan(far.offset_s)
    assert far.n_points == 0
    unseen = {**views, "left": as_right(hide(views["left"]["right"], slice(None)))}
    none = refine_offset(truth.rig, unseen, start(truth, "left"), "left", [truth.offset_s["left"]])
    assert np.isnan(none.offset_s)


def test_a_left_hand_does_as_well():
    truth = get_truth(7, "left")
    views = make_views(truth)
    found = refine_offset(truth.rig, views, start(truth, "left"), "left", [truth.offset_s["left"] + 0.02])
    assert abs(get_error_s(truth, "left", found)) < 1e-3


# --- full precision downstream -----------------------------------------------------------------------


def get_errors(truth, sync, side="right"):
    """Median and 95th percentile of the 3D error in mm, and the median reprojection error in sigmas."""
    views = make_views(truth, noise_px=0.0)
    evidence = collect("front", tuple(truth.rig.cameras), sync, truth.rig, views, side)
    joints, residual = triangulate_evidence(evidence)
    joints = joints if side == "right" else mirror_points(joints)
    error_mm = np.linalg.norm(joints - truth.joints_mm, axis=2)
    return np.nanmedian(error_mm), np.nanpercentile(error_mm, 95), np.nanmedian(residual)


def test_offsets_rounded_to_frames_would_be_seen(truth):
    cameras = {
        name: replace(camera, offset_s=round(camera.offset_s / FRAME_S) * FRAME_S)
        for name, camera in truth.sync.cameras.items()
    }
    shifts = [abs(cameras[name].offset_s - truth.offset_s[name]) for name in cameras]
    assert 1e-3 < max(shifts) <= FRAME_S / 2  # else the rounding of this take would test nothing
    exact = get_errors(truth, truth.sync)
    rounded = get_errors(truth, replace(truth.sync, cameras=cameras))
    assert exact[0] < 0.1
    for good, bad in zip(exact, rounded, strict=True):
        assert bad > 5 * good


def test_a_drift_left_out_would_be_seen():
    truth = get_truth()
    n_s = 180.0  # as at the end of a take of three minutes: the offset holds at the start, the drift adds up
    late = {
        name: replace(camera, offset_s=camera.offset_s - camera.drift_ppm * 1e-6 * n_s, drift_ppm=0.0)
        for name, camera in truth.sync.cameras.items()
    }
    exact = get_errors(truth, truth.sync)
    without = get_errors(truth, replace(truth.sync, cameras=late))
    for good, bad in zip(exact, without, strict=True):
        assert bad > 2 * good
