"""Views that follow something else for a while, beside views that are merely bad."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.fusion.evidence import leave_out_odd_views
from pipeline.fusion.odd_views import describe_odd_views, find_odd_views, measure_palms
from pipeline.fusion.options import FusionOptions
from pipeline.hand.rotations import mirror_points
from pipeline.progress import Reporter

AWAY = slice(40, 80)


def find(take, model):
    evidence = take.collect()
    return find_odd_views(evidence.cameras, evidence.time_s, evidence.points_px, model), evidence.names


def see_other_hand(take, camera, rows=AWAY):
    """Let a camera's track follow the person's left hand, a span to the side."""
    joints = mirror_points(take.joints_mm[rows][::-1]) + np.array([-180.0, 15.0, 30.0])
    track = take.views[camera]["right"]
    noise = np.random.default_rng(1).normal(size=(len(joints), 21, 2))
    track.keypoints_px[rows] = take.rig.cameras[camera].project(joints) + noise


def see_mirrored(take, camera, rows=AWAY):
    """Let a camera read the hand as a left one: thumb where the little finger is."""
    points = take.views[camera]["right"].keypoints_px[rows].copy()
    wrist = points[:, :1]
    along = points[:, [9, 13]].mean(axis=1, keepdims=True) - wrist
    along /= np.linalg.norm(along, axis=2, keepdims=True)
    off = points - wrist
    mirrored = wrist + 2 * (off * along).sum(axis=2, keepdims=True) * along - off
    take.views[camera]["right"].keypoints_px[rows] = mirrored


@pytest.fixture
def take(make_take):
    return make_take(seconds=2.0, noise_px=2.0, same_clock=True)


@pytest.mark.parametrize("camera", ["front", "left", "right"])
def test_of_three_views_the_one_that_follows_another_hand_is_found_and_when(take, model, camera):
    see_other_hand(take, camera)
    state, names = find(take, model)
    odd = state[names.index(camera)] == "other hand"
    assert odd[AWAY].mean() > 0.9
    assert (state != "used").sum() == odd.sum() <= 42


@pytest.mark.parametrize("camera", ["front", "left", "right"])
def test_a_view_that_reads_the_hand_mirrored_is_found(take, model, camera):
    see_mirrored(take, camera)
    state, names = find(take, model)
    odd = state[names.index(camera)]
    assert (odd[AWAY] == "mirrored").mean() > 0.9
    assert (np.delete(state, names.index(camera), axis=0) == "used").all()


def test_of_four_views_two_may_be_odd_at_different_times(make_take, model):
    take = make_take(seconds=2.0, noise_px=2.0, cameras=("front", "left", "right", "top"), same_clock=True)
    see_other_hand(take, "top", slice(20, 50))
    see_other_hand(take, "left", slice(70, 100))
    state, names = find(take, model)
    for camera, rows in (("top", slice(20, 50)), ("left", slice(70, 100))):
        odd = state[names.index(camera)] == "other hand"
        assert odd[rows].mean() > 0.9
        assert odd.sum() <= 32


def test_two_views_that_contradict_each_other_are_both_doubted(make_take, model):
    take = make_take(seconds=2.0, noise_px=2.0, cameras=("front", "left"), same_clock=True)
    see_other_hand(take, "left")
    state, _ = find(take, model)
    assert (state[:, AWAY] == "doubted").mean() > 0.9
    assert (state == "doubted").sum() <= 2 * 42


@pytest.mark.parametrize("cameras", [("front", "left", "right"), ("front", "left"), ("left", "right")])
@pytest.mark.parametrize("noise_px", [0.0, 8.0])
def test_views_that_are_only_noisy_hide_joints_and_have_outliers_are_believed(
    make_take, model, cameras, noise_px
):
    take = make_take(seconds=2.0, noise_px=noise_px, cameras=cameras, same_clock=True)
    rng = np.random.default_rng(3)
    for tracks in take.views.values():
        points = tracks["right"].keypoints_px
        points[rng.random(points.shape[:2]) < 0.05] += [90.0, -70.0]
        points[rng.random(points.shape[:2]) < 0.15] = np.nan
    assert (find(take, model)[0] == "used").all()


def test_a_camera_that_has_turned_a_little_is_no_other_hand(take, model):
    camera = take.rig.cameras["left"]
    turn = Rotation.from_rotvec([0.0, np.radians(2.0), 0.0]).as_matrix()
    take.rig.cameras["left"] = replace(camera, R=turn @ camera.R, t_mm=turn @ camera.t_mm)
    assert (find(take, model)[0] == "used").all()


def test_a_rig_of_wrong_scale_is_no_other_hand(take, model):
    for name, camera in take.rig.cameras.items():
        take.rig.cameras[name] = replace(camera, t_mm=1.5 * camera.t_mm)
    assert (find(take, model)[0] == "used").all()


def test_a_view_that_follows_another_hand_spoils_nothing_and_that_is_said(take, model):
    clean = take.fuse(model)["right"]
    see_other_hand(take, "left")
    report = Reporter()
    hand = take.fuse(model, report)["right"]
    off = np.linalg.norm(hand.joints_mm - take.joints_mm, axis=2)
    assert off[AWAY].mean() < 2 * np.linalg.norm(clean.joints_mm - take.joints_mm, axis=2)[AWAY].mean()
    left = hand.cameras.index("left")
    assert (hand.trust[left, 45:75] == 0).all()
    assert np.isfinite(hand.residual_px[left, AWAY]).all()
    assert any("Camera left seems to follow another hand from 0.7 s to 1.3 s" in w for w in report.warnings)


def test_where_two_views_contradict_each_other_nothing_is_measured(make_take, model):
    take = make_take(seconds=2.0, noise_px=2.0, cameras=("front", "left"), same_clock=True)
    see_other_hand(take, "left")
    hand = take.fuse(model)["right"]
    assert np.isnan(hand.joints_mm[45:75]).all()
    assert (hand.quality[45:75] == 0).all()
    assert np.isfinite(hand.joints_mm[:38]).all()


@pytest.mark.parametrize("cameras", [("front", "left"), ("front", "left", "right")])
def test_of_points_that_all_coincide_nothing_is_known_and_nothing_said(make_take, model, cameras):
    take = make_take(seconds=0.3, cameras=cameras, same_clock=True)
    for name in cameras:
        wrist = take.rig.cameras[name].project(take.joints_mm[:, :1])
        take.views[name]["right"].keypoints_px[:] = wrist
    evidence = take.collect()
    with np.errstate(all="raise"):
        errors = measure_palms(evidence.cameras, evidence.points_px, model)
        state, _ = find(take, model)
    for name in ("rays", "shape", "miss", "turn", "shift", "place"):
        assert np.isnan(getattr(errors, name)).all()
    assert (state == "used").all()


def test_joints_that_appendix_c_silences_are_heard_when_the_view_beside_them_is_out(take, model):
    see_other_hand(take, "front")
    evidence = take.collect()
    heard = leave_out_odd_views(evidence, "right", model, Reporter(), FusionOptions())
    names, pinky = evidence.names, 20
    assert (heard.manual[names.index("front"), 45:75] == 0).all()
    assert (heard.manual[names.index("left"), 45:75, pinky] > 0).all()
    assert (heard.manual[names.index("left"), :35, pinky] == 0).all()


def test_a_view_that_is_odd_all_along_is_not_said_to_follow_a_hand_for_sure():
    time_s = np.arange(100) / 50.0
    state = np.full((3, 100), "used", dtype="U10")
    state[1, 5:] = "other hand"
    (said,) = describe_odd_views(("front", "left", "right"), time_s, state)
    assert "Camera left" in said
    assert "has it moved, is its clock wrong" in said
