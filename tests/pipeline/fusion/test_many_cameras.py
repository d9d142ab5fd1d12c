"""One to eight cameras of any name, lens, size and frame rate; one hand and two; short and uneven takes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.errors import FusionError
from pipeline.fusion.fuse import fuse
from pipeline.fusion.single import get_size_spread
from pipeline.progress import Reporter
from pipeline.results import Camera, CameraSync, HandTrack

PLACES = {
    "desk": (0, 0), "lamp": (-40, 0), "door": (40, 0), "shelf": (0, -45), "floor": (0, 40),
    "window": (-30, -30), "wall": (30, -30), "phone": (70, 10),
}  # fmt: skip
"""Yaw and pitch, in degrees, of eight cameras about the hand."""


def make_camera(
    name: str, yaw: float, pitch: float, size: tuple[int, int] = (1920, 1080), focal: float = 1600.0,
    k1: float = -0.12,
) -> Camera:  # fmt: skip
    rotation = Rotation.from_euler("yx", [yaw, pitch], degrees=True).as_matrix()
    place = np.array([0.0, 0.0, 600.0])
    intrinsics = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
    return Camera(
        name, size, intrinsics, np.array([k1, -k1 / 3, 0, 0, 0]), rotation, place - rotation @ place
    )


def make_rig(*names: str) -> dict[str, Camera]:
    return {name: make_camera(name, *PLACES[name]) for name in names}


def get_error(hand: HandTrack, take) -> np.ndarray:
    return np.linalg.norm(hand.joints_mm - take.joints_mm, axis=2)


def get_share_inside(hand: HandTrack, take, sigmas: float = 2.0) -> float:
    """Share of coordinates within so many sigma of the truth."""
    return float((np.abs(hand.joints_mm - take.joints_mm) < sigmas * hand.joint_sigma_mm[..., None]).mean())


def blind(take, camera: str, frames: slice = slice(None)) -> None:
    for track in take.views[camera].values():
        track.keypoints_px[frames] = np.nan
        track.sigma_px[frames] = np.nan


@pytest.fixture
def work(model):
    def work(take, report=None):
        return take.fuse(model, report)[take.settings.side]

    return work


def test_more_cameras_are_better_and_the_sigma_knows(make_take, work):
    errors, stated = [], []
    for count in (2, 3, 5, 8):
        take = make_take(seconds=0.3, noise_px=3.0, rig=make_rig(*list(PLACES)[:count]))
        hand = work(take)
        assert hand.cameras == (next(iter(PLACES)), *sorted(list(PLACES)[1:count]))
        assert hand.residual_px.shape[0] == count
        assert get_share_inside(hand, take) > 0.88
        errors.append(get_error(hand, take).mean())
        stated.append(hand.joint_sigma_mm.mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6 * errors[0]
    assert stated == sorted(stated, reverse=True)


def test_four_cameras_give_exact_points_back(make_take, work):
    take = make_take(seconds=0.3, rig=make_rig("desk", "lamp", "shelf", "phone"))
    assert get_error(work(take), take).max() < 0.3


def test_cameras_of_different_pictures_lenses_and_frame_rates_fit_together(make_take, work):
    rig = {
        "desk": make_camera("desk", 0, 0),
        "phone": make_camera("phone", 45, -20, (1080, 1920), 2200.0, -0.25),
        "web": make_camera("web", -50, 0, (1280, 720), 900.0, 0.1),
    }
    take = make_take(seconds=0.4, rig=rig, fps_of={"web": 30.0, "phone": 120.0})
    assert get_error(work(take), take).max() < 0.5
    noisy = make_take(seconds=0.4, noise_px=1.0, rig=rig, fps_of={"web": 30.0, "phone": 120.0})
    assert get_share_inside(work(noisy), noisy) > 0.9


def test_the_reference_need_not_be_the_first_by_name(make_take, work):
    take = make_take(seconds=0.3, rig=make_rig("shelf", "desk", "lamp"))
    hand = work(take)
    assert hand.cameras == ("shelf", "desk", "lamp")
    assert get_error(hand, take).max() < 0.3


def test_left_and_right_without_a_third_camera_still_measure_all_fingers(make_take, work):
    rig = {"left": make_camera("left", -40, 0), "right": make_camera("right", 40, 0)}
    take = make_take(seconds=0.3, noise_px=2.0, rig=rig)
    hand = work(take)
    assert get_error(hand, take).mean(axis=0).max() < 4.0
    assert get_share_inside(hand, take) > 0.9
    assert (hand.quality > 0).all()


@pytest.mark.parametrize("lost", ["desk", "lamp"])
def test_a_camera_that_sees_nothing_takes_nothing_away(make_take, work, lost):
    take = make_take(seconds=0.3, noise_px=1.0, rig=make_rig("desk", "lamp", "door"))
    blind(take, lost)
    hand = work(take)
    assert get_error(hand, take).mean() < 1.0
    assert get_share_inside(hand, take) > 0.9
    assert np.isnan(hand.residual_px[hand.cameras.index(lost)]).all()
    assert np.isfinite(hand.joints_mm).all()


def test_of_two_cameras_one_that_sees_nothing_leaves_too_little(make_take, work):
    take = make_take(seconds=0.2, rig=make_rig("desk", "lamp"))
    blind(take, "lamp")
    with pytest.raises(FusionError, match=r"two cameras at once \(desk, lamp\)"):
        work(take)


def test_where_a_camera_no_longer_sees_the_hand_sigma_is_larger(make_take, work):
    take = make_take(seconds=0.5, noise_px=1.0, same_clock=True, rig=make_rig("desk", "lamp", "door"))
    blind(take, "door", slice(15, None))
    hand = work(take)
    assert hand.joint_sigma_mm[18:].mean() > 1.15 * hand.joint_sigma_mm[:12].mean()
    assert get_share_inside(hand, take) > 0.9


# --- one camera ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_camera_is_a_stated_case_and_its_sigma_knows_that_size_is_guessed(make_take, work, seed):
    take = make_take(seconds=0.2, noise_px=1.0, rig=make_rig("desk"), seed=seed)
    report = Reporter()
    hand = work(take, report)
    assert any("Only camera desk" in warning and "mean hand" in warning for warning in report.warnings)
    off = hand.joints_mm - take.joints_mm  # this camera looks along z
    assert np.abs(off[..., 2]).mean() > 2 * np.abs(off[..., :2]).mean()
    assert get_share_inside(hand, take, 3.0) > 0.9


def test_the_distance_from_one_camera_is_no_jitter(make_take, work, model):
    take = make_take(seconds=0.2, noise_px=1.0, rig=make_rig("desk"), betas_scale=0.0)
    hand = work(take)
    spread = get_size_spread(model, 1.0)
    assert 0.04 < spread < 0.09
    along_mm = spread * np.linalg.norm(take.joints_mm.mean(axis=1), axis=1)
    np.testing.assert_allclose(hand.place_sigma_mm, along_mm / 3**0.5, rtol=0.05)
    assert (hand.joint_sigma_mm > hand.place_sigma_mm[:, None]).all()
    assert np.median(hand.jitter_sigma_mm) < 0.3 * np.median(hand.joint_sigma_mm)


# --- two hands -----------------------------------------------------------------------------------


def test_two_hands_are_fused_each_from_the_views_that_it_has(make_take, model):
    right = make_take(seconds=0.3, noise_px=1.0, rig=make_rig("desk", "lamp", "door"), seed=1)
    left = make_take(seconds=0.3, noise_px=1.0, rig=make_rig("desk", "lamp", "door"), seed=2, side="left")
    views = {
        "desk": {**right.views["desk"], **left.views["desk"]},
        "lamp": {"right": right.views["lamp"]["right"]},
        "door": {"left": left.views["door"]["left"]},
    }
    settings = right.settings.model_copy(update={"side": "both"})
    hands = fuse(settings, right.sync, right.rig, views, model, Reporter())
    assert hands["right"].cameras == ("desk", "lamp")
    assert hands["left"].cameras == ("desk", "door")
    for hand, take in ((hands["right"], right), (hands["left"], left)):
        assert get_error(hand, take).mean() < 1.5
        assert get_share_inside(hand, take) > 0.88


# --- frame rates and lengths ---------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_takes_of_a_few_frames_are_measured(make_take, work, frames):
    take = make_take(seconds=frames / 60, noise_px=1.0)
    hand = work(take)
    assert hand.joints_mm.shape == (frames, 21, 3)
    assert get_error(hand, take).mean() < 1.5
    assert get_share_inside(hand, take, 3.0) > 0.9


def test_one_picture_a_camera_is_enough_whatever_the_clocks_say(make_take, work):
    take = make_take(seconds=1 / 60, noise_px=1.0, same_clock=True)
    for name, time_s, offset_s in (("front", 0.7, 0.0), ("left", 0.4, 0.3), ("right", 0.6, 0.1)):
        take.views[name]["right"].time_s[:] = time_s
        take.sync.cameras[name] = CameraSync(offset_s)
    hand = work(take)
    assert (hand.view_state == "used").all()
    assert get_error(hand, take).mean() < 1.5


@pytest.mark.parametrize("fps", [30.0, 120.0, 240.0])
def test_any_frame_rate_of_the_reference_is_as_good(make_take, work, fps):
    take = make_take(seconds=0.2, noise_px=1.0, fps=fps, fps_of={"left": 60.0})
    hand = work(take)
    assert len(hand.time_s) == round(0.2 * fps)
    assert get_error(hand, take).mean() < 1.0
    assert get_share_inside(hand, take) > 0.9


@pytest.mark.parametrize("kind", ["variable", "dropped"])
def test_a_reference_whose_frames_are_uneven_or_missing_is_as_good(make_take, work, kind):
    rng = np.random.default_rng(0)
    if kind == "variable":
        time_s = np.cumsum(rng.choice([1 / 120, 1 / 60, 1 / 60, 1 / 30], 24))
    else:
        time_s = np.flatnonzero(rng.random(30) > 0.1) / 60
    take = make_take(seconds=0.5, noise_px=1.0, times_s=time_s - time_s[0])
    hand = work(take)
    np.testing.assert_array_equal(hand.time_s, take.time_s)
    assert get_error(hand, take).mean() < 1.0
    assert get_share_inside(hand, take) > 0.9


def test_frames_that_another_camera_dropped_are_bridged(make_take, work):
    take = make_take(seconds=0.4, noise_px=1.0)
    keep = np.random.default_rng(1).random(len(take.views["left"]["right"].time_s)) > 0.1
    track = take.views["left"]["right"]
    take.views["left"]["right"] = replace(
        track, **{name: getattr(track, name)[keep] for name in (
            "time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score"
        )},
    )  # fmt: skip
    hand = work(take)
    assert get_error(hand, take).mean() < 1.0
    assert get_share_inside(hand, take) > 0.9
