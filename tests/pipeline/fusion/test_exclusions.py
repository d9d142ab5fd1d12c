"""The list of what was set aside, from tracks whose trust is known."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.fusion.exclusions import MOST_LISTED, list_exclusions
from pipeline.fusion.lengths import compare_lengths
from pipeline.hand.joints import JOINTS
from pipeline.results import HandTrack

CAMERAS = ("front", "left", "right")
FRAMES = 300  # 5 s
RING = [JOINTS.index(f"ring_{part}") for part in ("mcp", "pip", "dip", "tip")]


@pytest.fixture
def hand():
    """Three cameras that agree on everything."""
    eye = np.eye(3)
    return HandTrack(
        time_s=np.arange(FRAMES) / 60,
        betas=np.zeros(10),
        global_orient=np.tile(eye, (FRAMES, 1, 1)),
        hand_pose=np.tile(eye, (FRAMES, 15, 1, 1)),
        transl_mm=np.zeros((FRAMES, 3)),
        joints_mm=np.zeros((FRAMES, 21, 3)),
        joint_sigma_mm=np.ones((FRAMES, 21)),
        residual_px=np.ones((3, FRAMES, 21)),
        quality=np.ones((FRAMES, 21)),
        cameras=CAMERAS,
        trust=np.ones((3, FRAMES, 21)),
        view_state=np.full((3, FRAMES), "used", dtype="U10"),
    )


def test_where_all_agree_nothing_is_listed(hand):
    found = list_exclusions(hand)
    assert (found.listed, found.more, found.lone_outliers) == ((), 0, 0)
    assert found.camera_share == dict.fromkeys(CAMERAS, 0.0)


def test_a_finger_that_a_camera_shows_elsewhere_is_one_row_whatever_its_joints_and_interruptions(hand):
    hand.trust[1, 60:120, RING] = 0.05
    hand.trust[1, 80:84, RING] = 0.9
    hand.trust[1, 100, RING[0]] = 1.0
    (row,) = list_exclusions(hand).listed
    assert (row.camera, row.parts, row.reason) == ("left", ("ring",), "contradicts")
    assert row.joints == tuple(JOINTS[joint] for joint in RING)
    assert (row.from_s, row.to_s, row.frame) == pytest.approx((1.0, 2.0, 60))
    assert row.seconds == pytest.approx(56 / 60)
    assert row.share == pytest.approx(56 / 300)


def test_fingers_that_are_off_at_the_same_time_are_one_row(hand):
    hand.trust[2, 60:120, 5:13] = 0.0
    (row,) = list_exclusions(hand).listed
    assert row.parts == ("index", "middle")


def test_lone_outliers_are_counted_and_not_listed(hand):
    rng = np.random.default_rng(0)
    for frame in range(10, 300, 40):
        hand.trust[rng.integers(3), frame, rng.integers(21)] = 0.0
    found = list_exclusions(hand)
    assert (found.listed, found.lone_outliers) == ((), 8)


def test_of_two_views_with_a_say_neither_is_called_right(hand):
    hand.trust[2] = np.nan
    hand.trust[1, 60:120, RING] = 0.05
    conflict = [row for row in list_exclusions(hand).listed if row.reason == "conflict"]
    assert [(row.camera, row.parts) for row in conflict] == [("front and left", ("ring",))]
    assert not [row for row in list_exclusions(hand).listed if row.reason == "contradicts"]


def test_a_camera_without_the_hand_and_the_one_that_is_left_alone_are_told_apart(hand):
    for camera in (1, 2):
        hand.trust[camera, 200:260] = np.nan
        hand.residual_px[camera, 200:260] = np.nan
    rows = {(row.camera, row.reason): row for row in list_exclusions(hand).listed}
    assert set(rows) == {("left", "not seen"), ("right", "not seen"), ("front", "one view")}
    assert len(rows["left", "not seen"].parts) == 6


def test_a_view_that_followed_something_else_comes_first_and_only_once(hand):
    hand.view_state[1, 60:120] = "other hand"
    hand.trust[1, 60:120] = 0.0
    hand.trust[2, :, 4] = 0.0
    first, *others = list_exclusions(hand).listed
    assert (first.camera, first.reason, len(first.parts)) == ("left", "other hand", 6)
    assert not [row for row in others if row.camera == "left" and row.reason == "contradicts"]


def test_a_long_recording_full_of_trouble_gives_a_list_that_can_be_read(hand):
    frames = 60 * 180
    rng = np.random.default_rng(1)
    bad = rng.random((3, frames // 15, 21)).repeat(15, axis=1) < 0.1
    long = replace(
        hand,
        time_s=np.arange(frames) / 60,
        residual_px=np.ones((3, frames, 21)),
        trust=np.where(bad, 0.0, 1.0),
        view_state=np.full((3, frames), "used", dtype="U10"),
    )
    found = list_exclusions(long)
    assert len(found.listed) == MOST_LISTED
    assert found.more > 0
    weight = [row.seconds * len(row.joints) for row in found.listed]
    assert weight == sorted(weight, reverse=True)


def test_a_track_of_an_older_run_lists_nothing(hand):
    assert list_exclusions(replace(hand, trust=None)).camera_share is None


def test_a_joint_that_a_camera_shows_elsewhere_is_found_in_a_fit(make_take, model):
    take = make_take(seconds=0.6, noise_px=1.0, cameras=("front", "left", "top"), same_clock=True)
    tip = JOINTS.index("index_tip")
    take.views["left"]["right"].keypoints_px[8:26, tip] += [60.0, -40.0]
    found = [row for row in list_exclusions(take.fuse(model)["right"]).listed if row.reason == "contradicts"]
    assert [(row.camera, row.joints) for row in found] == [("left", ("index_tip",))]
    assert (found[0].from_s, found[0].to_s) == pytest.approx((8 / 60, 26 / 60), abs=0.02)


def test_two_cameras_that_contradict_each_other_leave_a_joint_a_sigma_that_says_so(make_take, model):
    take = make_take(seconds=0.6, noise_px=1.0, cameras=("front", "top"), same_clock=True)
    tip = JOINTS.index("index_tip")
    take.views["top"]["right"].keypoints_px[10:26, tip] += [60.0, -40.0]
    hand = take.fuse(model)["right"]
    assert [row.reason for row in list_exclusions(hand).listed] == ["conflict"]
    miss = np.abs(hand.joints_mm - take.joints_mm)[10:26, tip] / hand.joint_sigma_mm[10:26, tip, None]
    assert (miss < 2).mean() > 0.9
    assert hand.joint_sigma_mm[10:26, tip].mean() > 3 * hand.joint_sigma_mm[30:, tip].mean()


def test_triangulated_lengths_are_the_hand_s_and_people_s_stand_beside_them(make_take, model):
    take = make_take(seconds=0.4, same_clock=True, betas_scale=0.0)
    lengths_mm = compare_lengths(take.joints_mm, model)
    np.testing.assert_allclose(lengths_mm[0], lengths_mm[2], rtol=0.01)
    assert (lengths_mm[1] < 0.01 * lengths_mm[0]).all()
    assert np.isnan(compare_lengths(np.full((4, 21, 3), np.nan), model)[:2]).all()


def test_a_second_without_one_camera_is_bridged_and_the_error_is_as_large_as_it_says(make_take, model):
    take = make_take(seconds=1.4, noise_px=2.0, same_clock=True)
    take.views["right"]["right"].keypoints_px[12:72] = np.nan
    hand = take.fuse(model)["right"]
    miss = np.abs(hand.joints_mm - take.joints_mm) / hand.joint_sigma_mm[..., None]
    assert 0.9 < (miss[12:72] < 2).mean() <= 1.0
    sigma = np.median(hand.joint_sigma_mm, axis=1)
    assert sigma[20:64].mean() > 1.1 * sigma[np.r_[:10, 74:84]].mean()
    first = list_exclusions(hand).listed[0]
    assert (first.camera, first.reason, len(first.parts)) == ("right", "not seen", 6)
    assert (first.from_s, first.to_s) == pytest.approx((0.2, 1.2), abs=0.01)


def test_where_one_camera_is_left_sigma_and_quality_say_so_and_both_come_back(make_take, model):
    take = make_take(seconds=1.0, noise_px=2.0, same_clock=True)
    for camera in ("left", "right"):
        take.views[camera]["right"].keypoints_px[15:45] = np.nan
    hand = take.fuse(model)["right"]
    assert np.isfinite(hand.joints_mm).all()
    alone, before, after = (
        hand.joint_sigma_mm[rows].mean() for rows in (slice(17, 43), slice(12), slice(48, 60))
    )
    assert alone > 2 * before
    assert after < 1.3 * before
    assert hand.quality[17:43].max() <= 0.5 < hand.quality[:12].mean()
    assert ("front", "one view") in [(row.camera, row.reason) for row in list_exclusions(hand).listed]


def test_a_finger_that_no_camera_saw_for_a_while_is_not_taken_for_known(make_take, model):
    inside, grown = [], []
    for seed in (0, 3):
        take = make_take(seconds=0.8, noise_px=2.0, same_clock=True, seed=seed)
        for tracks in take.views.values():
            tracks["right"].keypoints_px[15:33, 6:9] = np.nan
        hand = take.fuse(model)["right"]
        sigma = hand.joint_sigma_mm[:, 6:9].mean(axis=1)
        miss = np.abs(hand.joints_mm - take.joints_mm)[15:33, 6:9] / hand.joint_sigma_mm[15:33, 6:9, None]
        inside.append((miss < 2).mean())
        grown.append(sigma[22:26].mean() > 1.2 * sigma[[15, 32]].mean() > 5 * sigma[:12].mean())
    assert np.mean(inside) > 0.85
    assert all(grown)


def test_a_camera_that_began_late_was_not_filming_and_did_not_fail_to_see(make_take, model):
    take = make_take(seconds=1.0, same_clock=True)
    track = take.views["left"]["right"]
    rows = slice(24, None)
    take.views["left"]["right"] = replace(
        track,
        **{
            name: getattr(track, name)[rows]
            for name in ("time_s", "box_px", "box_state", "keypoints_px", "sigma_px", "score")
        },
    )
    hand = take.fuse(model)["right"]
    rows_of = {(row.camera, row.reason): row for row in list_exclusions(hand).listed}
    assert ("left", "not seen") not in rows_of
    late = rows_of["left", "not filming"]
    assert (late.from_s, late.to_s) == pytest.approx((0.0, 0.4), abs=0.02)
    assert len(late.parts) == 6
