"""What a single camera leaves open, and how it is read."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.fusion import lifting
from pipeline.fusion.evidence import collect, triangulate_evidence
from pipeline.fusion.initial import clean_joints
from pipeline.fusion.kinematics import fix_shape
from pipeline.fusion.lifting import find_path, lift_joints
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import PALM, PARTS
from pipeline.hand.rotations import mirror_points

OPTIONS = FusionOptions()
BELOW = [joint for finger in ("thumb", "index", "middle", "ring", "pinky") for joint in PARTS[finger][1:]]


def silence(take, camera: str, rows: slice) -> None:
    take.views[camera]["right"].keypoints_px[rows] = np.nan


def lift(take, model, evidence=None):
    evidence = evidence or take.collect()
    joints, _ = triangulate_evidence(evidence, OPTIONS)
    joints = clean_joints(evidence.time_s, joints, OPTIONS.start_window_s)
    return lift_joints(evidence, fix_shape(model, take.betas), joints, OPTIONS)


def measure_miss(take, model) -> np.ndarray:
    """How far the lifted joints (T, 21) of a right hand lie from the true ones, mm."""
    return np.linalg.norm(lift(take, model).joints_mm - take.joints_mm, axis=2)


@given(
    hnp.arrays(float, (4, 3), elements=st.floats(0, 5)),
    hnp.arrays(float, (3, 3, 3), elements=st.floats(0, 5)),
)
def test_the_path_is_the_likeliest_of_all_and_shares_are_sums_over_all(cost, moves):
    best, share = find_path(cost, moves)
    totals = {
        path: sum(cost[t, s] for t, s in enumerate(path))
        + sum(moves[t, a, b] for t, (a, b) in enumerate(itertools.pairwise(path)))
        for path in itertools.product(range(3), repeat=4)
    }
    assert totals[tuple(best)] == pytest.approx(min(totals.values()))
    weights = {path: np.exp(-total) for path, total in totals.items()}
    for t, state in itertools.product(range(4), range(3)):
        wanted = sum(weight for path, weight in weights.items() if path[t] == state) / sum(weights.values())
        assert share[t, state] == pytest.approx(wanted)


def test_every_reading_has_the_bones_lengths_and_lies_on_the_rays_and_one_is_true(make_take):
    take = make_take(seconds=0.3, cameras=("left",), same_clock=True)
    camera, finger = take.rig.cameras["left"], PARTS["ring"]
    points_px = camera.project(take.joints_mm[:, finger[1:]])
    lengths = np.linalg.norm(np.diff(take.joints_mm[0, finger], axis=0), axis=1)
    root = take.joints_mm[:, finger[0]]
    centres = np.broadcast_to(-camera.R.T @ camera.t_mm, root.shape)
    readings = lifting._read_bones(centres, lifting._get_rays(camera, points_px), root, lengths)
    np.testing.assert_allclose(camera.project(readings), np.repeat(points_px[:, None], 8, axis=1), atol=1e-3)
    chain = np.concatenate([np.repeat(take.joints_mm[:, None, finger[:1]], 8, axis=1), readings], axis=2)
    real = np.isclose(np.linalg.norm(np.diff(chain, axis=2), axis=3), lengths, atol=0.01).all(axis=2)
    assert real.any(axis=1).all()
    off = np.linalg.norm(readings - take.joints_mm[:, None, finger[1:]], axis=3).max(axis=2).min(axis=1)
    assert off.max() < 1.0


@pytest.mark.parametrize("silent", ["front", "left"])
def test_of_two_cameras_one_silent_for_seconds_leaves_a_hand_as_far_off_as_its_sigma_says(
    make_take, model, silent
):
    inside, miss_mm = [], []
    for seed in (0, 1):
        take = make_take(
            seconds=3.0, cameras=("front", "left"), noise_px=1.0, seed=seed, same_clock=True, fps=30.0
        )
        rows = slice(20, 70)
        silence(take, silent, rows)
        hand = take.fuse(model)["right"]
        off = np.abs(hand.joints_mm - take.joints_mm)[rows]
        inside.append((off < 2 * hand.joint_sigma_mm[rows][..., None]).mean())
        miss_mm.append(np.linalg.norm(off, axis=2).mean())
        assert np.median(hand.jitter_sigma_mm[rows]) < 0.7 * np.median(hand.joint_sigma_mm[rows])
    assert np.mean(inside) > 0.9
    assert max(miss_mm) < 12.0


def test_where_a_finger_may_point_either_way_the_spread_says_how_far_apart_the_readings_are(make_take, model):
    take = make_take(seconds=3.0, cameras=("front", "left"), same_clock=True, fps=30.0)
    silence(take, "left", slice(20, 70))
    lifted = lift(take, model)
    assert (lifted.spread_mm[:20] == 0).all()
    assert (lifted.spread_mm[70:] == 0).all()
    palm = lifted.spread_mm[20:70][:, [0, 5, 9, 13, 17]]
    away_mm = np.linalg.norm(take.joints_mm[20:70, :1], axis=2)  # the front camera is the world
    np.testing.assert_allclose(palm / away_mm, lifting._DEPTH_SHARE, rtol=0.1)
    off = np.linalg.norm(lifted.joints_mm - take.joints_mm, axis=2)[20:70][:, BELOW]
    far = off > 20.0
    assert far.mean() < 0.2
    assert (off < 2 * lifted.spread_mm[20:70][:, BELOW] + 8.0).mean() > 0.9


def test_what_is_hidden_for_a_moment_is_left_to_the_frames_beside(make_take, model):
    take = make_take(seconds=1.0, cameras=("front", "left"), same_clock=True)
    silence(take, "left", slice(20, 20 + round(OPTIONS.hold_s * 60)))
    lifted = lift(take, model)
    assert np.isnan(lifted.joints_mm[25]).all()
    assert (lifted.spread_mm == 0).all()


def test_a_finger_that_one_camera_alone_sees_is_read_beside_a_palm_that_both_see(make_take, model):
    take = make_take(seconds=2.0, cameras=("front", "left"), same_clock=True, fps=30.0)
    take.views["left"]["right"].keypoints_px[15:45, PARTS["index"][1:]] = np.nan
    lifted = lift(take, model)
    joints = lifted.joints_mm[15:45]
    assert np.isfinite(joints).all()
    assert (lifted.spread_mm[:, PARTS["ring"]] == 0).all()
    camera = take.rig.cameras["front"]
    seen = camera.project(take.joints_mm[15:45])
    assert np.median(np.linalg.norm(camera.project(joints) - seen, axis=2)) < 8.0


@pytest.mark.parametrize("fps", [24.0, 240.0])
def test_the_readings_are_chosen_as_well_at_any_frame_rate(make_take, model, fps):
    take = make_take(seconds=2.5, cameras=("front", "left"), noise_px=1.0, seed=1, same_clock=True, fps=fps)
    rows = slice(round(0.6 * fps), round(2.0 * fps))
    silence(take, "left", rows)
    lifted = lift(take, model)
    off = np.linalg.norm(lifted.joints_mm - take.joints_mm, axis=2)[rows][:, BELOW]
    assert off.mean() < 12.0
    assert (off < 2 * lifted.spread_mm[rows][:, BELOW] + 8.0).mean() > 0.9


def test_a_left_hand_is_read_as_its_mirror_image(make_take, model):
    take = make_take(seconds=2.0, cameras=("front", "left"), same_clock=True, fps=30.0, side="left")
    take.views["left"]["left"].keypoints_px[15:45] = np.nan
    evidence = collect("front", tuple(take.views), take.sync, take.rig, take.views, "left")
    lifted = lift(take, model, evidence)
    miss_mm = np.linalg.norm(lifted.joints_mm - mirror_points(take.joints_mm), axis=2)
    assert np.median(miss_mm[15:45]) < 8.0
    assert (lifted.spread_mm[:15] == 0).all()


def test_where_another_camera_is_left_than_before_each_is_asked_in_its_time(make_take, model):
    take = make_take(seconds=3.0, same_clock=True, fps=30.0)
    silence(take, "right", slice(15, 75))
    silence(take, "left", slice(15, 45))
    silence(take, "front", slice(45, 75))
    miss_mm = measure_miss(take, model)
    for rows in (slice(15, 45), slice(45, 75)):
        assert np.median(miss_mm[rows]) < 8.0


def test_a_palm_that_the_camera_left_sees_in_part_is_placed_from_the_frames_beside_on(make_take, model):
    take = make_take(seconds=2.0, cameras=("front", "left"), same_clock=True, fps=30.0)
    silence(take, "left", slice(15, 45))
    take.views["front"]["right"].keypoints_px[15:45, [0, 1]] = np.nan
    miss_mm = measure_miss(take, model)
    assert miss_mm[15:45][:, PALM].max() < 30.0
    assert np.median(miss_mm[15:45]) < 12.0


@pytest.mark.parametrize("lost", [slice(0, 30), slice(30, 60)])
def test_at_the_beginning_and_at_the_end_the_frames_on_one_side_are_enough(make_take, model, lost):
    take = make_take(seconds=2.0, cameras=("front", "left"), same_clock=True, fps=30.0)
    silence(take, "left", lost)
    miss_mm = measure_miss(take, model)
    assert np.median(miss_mm[lost]) < 8.0


def test_what_no_camera_sees_is_left_open(make_take, model):
    take = make_take(seconds=2.0, cameras=("front", "left"), same_clock=True, fps=30.0)
    silence(take, "left", slice(10, 50))
    silence(take, "front", slice(25, 40))
    lifted = lift(take, model)
    assert np.isnan(lifted.joints_mm[25:40]).all()
    assert np.isfinite(lifted.joints_mm[10:25]).all()
    assert np.isfinite(lifted.joints_mm[40:50]).all()


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_single_camera_s_few_frames_are_read(make_take, model, frames):
    take = make_take(seconds=frames / 30, cameras=("front",), same_clock=True, fps=30.0)
    lifted = lift(take, model)
    assert np.isfinite(lifted.joints_mm).all()
    assert (lifted.spread_mm[:, BELOW] > 0).any()
