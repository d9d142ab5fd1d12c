"""Clocks that are a little wrong, and what the fitted hand says of them."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.fusion.options import FusionOptions
from pipeline.fusion.timing import choose_time_shifts, take_off_time_shifts
from pipeline.progress import Reporter
from pipeline.results import CameraSync, RunFolder, SyncResult, read_hand, write_hand
from pipeline.session import SessionSettings


def make_late(take, **late_s: float):
    """The same take, its clocks believed wrong: so much later does each camera show the hand."""
    cameras = {
        name: replace(clock, offset_s=clock.offset_s + late_s.get(name, 0.0))
        for name, clock in take.sync.cameras.items()
    }
    return replace(take, sync=replace(take.sync, cameras=cameras))


def add_outliers(take, share: float = 0.05) -> None:
    rng = np.random.default_rng(3)
    for tracks in take.views.values():
        for track in tracks.values():
            lost = rng.random(track.sigma_px.shape) < share
            track.keypoints_px[lost] += rng.uniform(-100, 100, (lost.sum(), 2))


def get_shifts_ms(hand) -> dict[str, tuple[float, float]]:
    return {
        name: (1e3 * float(shift), 1e3 * float(sigma))
        for name, shift, sigma in zip(
            hand.cameras, hand.time_shift_s, hand.time_shift_sigma_s, strict=True
        )
    }  # fmt: skip


@pytest.mark.parametrize("late_ms", [(0.0, 0.0), (20.0, -8.0), (-3.0, 12.0)])
def test_shifts_are_found_under_noise_and_outliers_to_half_a_millisecond(make_take, model, late_ms):
    take = make_take(seconds=1.2, noise_px=2.0, seed=1)
    add_outliers(take)
    late = make_late(take, left=late_ms[0] / 1e3, right=late_ms[1] / 1e3)
    found = get_shifts_ms(late.fuse(model)["right"])
    assert found["front"][0] == 0
    assert np.isnan(found["front"][1])
    for camera, true in zip(("left", "right"), late_ms, strict=True):
        shift, sigma = found[camera]
        assert shift == pytest.approx(true, abs=0.5)
        assert abs(shift - true) < 3 * sigma
        assert sigma < 1.0


def test_an_error_that_stays_the_same_is_no_shift(make_take, model):
    take = make_take(seconds=1.2, noise_px=2.0, seed=2)
    rng = np.random.default_rng(0)
    for tracks in take.views.values():
        tracks["right"].keypoints_px[:] += 8.0 * rng.normal(size=(21, 2))
    for shift, sigma in list(get_shifts_ms(take.fuse(model)["right"]).values())[1:]:
        assert abs(shift) < 2 * sigma < 4.0


def test_of_a_hand_that_hardly_moves_nothing_is_claimed(make_take, model):
    take = make_take(seconds=1.0, noise_px=2.0, same_clock=True)
    rng = np.random.default_rng(5)
    for name, tracks in take.views.items():
        still = take.rig.cameras[name].project(take.joints_mm[:1])
        tracks["right"].keypoints_px[:] = still + 2 * rng.normal(size=tracks["right"].keypoints_px.shape)
    prior_ms = 1e3 * FusionOptions().time_shift_prior_s
    for shift, sigma in list(get_shifts_ms(take.fuse(model)["right"]).values())[1:]:
        assert sigma > 0.3 * prior_ms
        assert abs(shift) < 2 * sigma


def test_one_camera_has_no_shift(make_take, model):
    hand = make_take(seconds=0.1, cameras=("front",), sigma_px=1.0).fuse(model)["right"]
    assert hand.time_shift_s.tolist() == [0.0]
    assert np.isnan(hand.time_shift_sigma_s).all()


def test_points_that_fit_no_hand_do_not_stop_the_fit(make_take, model):
    take = make_take(seconds=0.5, noise_px=1.0, same_clock=True)
    rng = np.random.default_rng(0)
    for tracks in take.views.values():
        points = tracks["right"].keypoints_px
        points[:] = rng.uniform(0, 1900, points.shape)
    hand = take.fuse(model)["right"]
    assert np.isfinite(hand.time_shift_sigma_s[1:]).all()
    assert np.median(hand.joint_sigma_mm) > 20.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_garbage_in_a_short_take_leaves_the_shifts_within_their_sigma(make_take, model, seed):
    take = make_take(seconds=0.5, noise_px=1.0, same_clock=True, seed=seed)
    rng = np.random.default_rng(seed)
    for tracks in take.views.values():
        points = tracks["right"].keypoints_px
        garbage = rng.random(points.shape[:2]) < 0.5
        points[garbage] = rng.uniform(0, 1900, (garbage.sum(), 2))
    for shift, sigma in list(get_shifts_ms(take.fuse(model)["right"]).values())[1:]:
        assert abs(shift) <= 3 * sigma


def test_a_shift_at_the_limit_of_reach_is_said_to_be_that_large_at_least(make_take, model):
    take = make_late(make_take(seconds=0.5, noise_px=1.0, seed=1), left=0.03)
    options = FusionOptions(time_shift_most_s=0.004)
    found = get_shifts_ms(take.fuse(model, options=options)["right"])
    assert found["left"][0] == pytest.approx(10.0)
    assert np.isinf(found["left"][1])
    assert found["right"][1] < 2.0


def test_a_shift_that_is_taken_off_brings_the_hand_nearer_to_the_truth(make_take, model):
    take = make_take(seconds=0.7, noise_px=1.0, seed=1)
    late = make_late(take, left=0.015)
    plain = late.fuse(model)["right"]
    mended = late.fuse(model, options=FusionOptions(apply_time_shift=True))["right"]
    errors = [np.linalg.norm(hand.joints_mm - take.joints_mm, axis=2).mean() for hand in (plain, mended)]
    assert errors[1] < 0.8 * errors[0]
    assert not plain.time_shift_applied.any()
    assert mended.time_shift_applied.tolist() == [False, True, True]
    assert mended.time_shift_s[1] == pytest.approx(0.015, abs=5e-4)


def test_the_session_says_whether_shifts_are_taken_off(make_take, model):
    late = make_late(make_take(seconds=0.3, noise_px=1.0), left=0.015)
    assert not SessionSettings().apply_time_shift
    settings = late.settings.model_copy(update={"apply_time_shift": True})
    assert replace(late, settings=settings).fuse(model)["right"].time_shift_applied[1]


def test_a_wrong_clock_is_not_set_right_but_said(make_take, model):
    take = make_late(make_take(seconds=0.3, noise_px=1.0, seed=1), left=0.05)
    report = Reporter()
    hand = take.fuse(model, report, FusionOptions(apply_time_shift=True))["right"]
    assert not hand.time_shift_applied[1]
    assert any("camera left" in warning and "ms later" in warning for warning in report.warnings)


@pytest.mark.parametrize("late_s", [0.0, 0.015])
def test_what_both_fits_find_is_said_once(make_take, model, late_s):
    take = make_take(seconds=0.5, noise_px=1.0, cameras=("front", "left", "top"), same_clock=True)
    take.views["left"]["right"].keypoints_px[10:25] += 500.0
    report = Reporter()
    options = FusionOptions(apply_time_shift=True, time_shift_most_s=0.0 if late_s == 0.0 else 0.04)
    make_late(take, top=late_s).fuse(model, report, options)
    assert sum("camera left seems to follow" in warning.lower() for warning in report.warnings) == 1


def test_a_shift_is_taken_off_the_offset_of_its_camera_alone(make_take, model):
    hand = make_take(seconds=0.05, same_clock=True).fuse(model)["right"]
    hand = replace(hand, time_shift_s=np.array([0.0, 0.012, -0.05]))
    applied = choose_time_shifts(hand, 0.04, Reporter())
    sync = SyncResult("front", {name: CameraSync(1.0) for name in hand.cameras})
    mended = take_off_time_shifts(sync, hand, applied)
    assert [mended.cameras[name].offset_s for name in hand.cameras] == [1.0, 1.0 - 0.012, 1.0]


def test_the_shifts_are_in_the_file_and_older_files_have_none(make_take, model, tmp_path):
    hand = make_take(seconds=0.05, same_clock=True).fuse(model)["right"]
    run = RunFolder(tmp_path)
    write_hand(run, "right", hand)
    again = read_hand(run, "right")
    assert hand.time_shift_s is not None
    assert again.time_shift_s is not None
    assert again.time_shift_applied is not None
    np.testing.assert_allclose(again.time_shift_s, hand.time_shift_s, atol=1e-8)
    assert again.time_shift_applied.dtype == bool
    older = replace(hand, time_shift_s=None, time_shift_sigma_s=None, time_shift_applied=None)
    write_hand(run, "right", older)
    assert read_hand(run, "right").time_shift_s is None
