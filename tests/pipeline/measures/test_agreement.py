"""What the quality says where cameras disagree, or agree on something that is no hand."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.fusion.lengths import compare_lengths
from pipeline.hand.joints import JOINTS
from pipeline.hand.model import load_hand_model
from pipeline.measures.agreement import describe_agreement, fail_agreement, limit_agreement
from pipeline.measures.quality_types import HandQuality
from pipeline.measures.summary_types import from_plain

CAMERAS = ("front", "left", "right")
WIDTHS = dict.fromkeys(CAMERAS, 1920)


@pytest.fixture(scope="module")
def model():
    return load_hand_model()


@pytest.fixture
def make_hand(track, model):
    """A hand of the mean shape that three cameras agree on; its triangulated joints are changed by a test."""
    template, pose = np.zeros(10), np.tile(np.eye(3), (60, 15, 1, 1))
    _, joints = model.pose_arrays(template, np.tile(np.eye(3), (60, 1, 1)), pose, np.zeros((60, 3)))

    def make(change=lambda joints: joints):
        hand = track(1.0)
        rng = np.random.default_rng(0)
        seen = change(joints.astype(float)) + rng.normal(size=joints.shape)
        return replace(
            hand,
            cameras=CAMERAS,
            residual_px=np.full((3, 60, 21), 4.0),
            trust=np.full((3, 60, 21), 0.9),
            view_state=np.full((3, 60), "used", dtype="U10"),
            lengths_mm=compare_lengths(seen, model),
        )

    return make


def judge(hand):
    """The quality, and what fails and limits it."""
    quality = HandQuality(1.0, 0.5, 0.3, 4.0, **describe_agreement(hand))
    return quality, fail_agreement("right", quality), limit_agreement("right", quality, WIDTHS)


def test_cameras_that_agree_on_a_hand_say_nothing(make_hand):
    quality, failed, limited = judge(make_hand())
    assert (failed, limited) == ([], [])
    assert quality.shape_distance < 1.0
    assert quality.length_spread < 0.1
    assert quality.joint_reprojection_px["left"] == (4.0,) * 21


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_a_hand_of_another_size_is_a_hand(make_hand, scale):
    _, failed, limited = judge(make_hand(lambda joints: scale * joints))
    assert (failed, limited) == ([], [])


def test_joints_that_all_coincide_have_no_proportions(make_hand):
    hand = make_hand()
    lengths_mm = hand.lengths_mm.copy()
    lengths_mm[:2] = 0.0
    with np.errstate(all="raise"):
        quality, _, _ = judge(replace(hand, lengths_mm=lengths_mm))
    assert np.isnan(quality.shape_distance)
    assert np.isnan(quality.length_spread)
    assert quality.shape_worst == ""


def test_thumb_and_little_finger_exchanged_are_no_hand(make_hand):
    order = [0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4]
    _, failed, _ = judge(make_hand(lambda joints: joints[:, order]))
    assert any("not shaped like a hand" in reason for reason in failed)


def test_an_object_that_is_no_hand_fails(make_hand):
    points = np.random.default_rng(5).normal(size=(1, 21, 3)) * 50
    _, failed, _ = judge(make_hand(lambda joints: np.broadcast_to(points, joints.shape)))
    assert any("not shaped like a hand" in reason for reason in failed)


def test_a_squashed_hand_is_unusual_and_the_farthest_part_is_named(make_hand):
    def stretch(joints):
        tips = [JOINTS.index(f"index_{part}") for part in ("pip", "dip", "tip")]
        out = joints.copy()
        out[:, tips] = joints[:, tips] + np.array([[-45.0, 0, 0], [-75.0, 0, 0], [-95.0, 0, 0]])
        return out

    quality, failed, limited = judge(make_hand(stretch))
    assert quality.shape_worst == "index"
    assert any("index" in reason and "hand" in reason for reason in [*failed, *limited])


def test_bones_that_change_their_length_limit_and_then_fail(make_hand):
    def breathe(amount):
        return lambda joints: joints * (1 + amount * np.linspace(-1, 1, len(joints)))[:, None, None]

    _, failed, limited = judge(make_hand(breathe(0.2)))
    assert any("change their length by" in reason for reason in limited)
    assert not failed
    _, failed, _ = judge(make_hand(breathe(0.5)))
    assert any("change their length by" in reason for reason in failed)


def test_a_finger_that_a_camera_shows_elsewhere_is_named_with_the_camera(make_hand):
    hand = make_hand()
    hand.trust[2, :20, JOINTS.index("ring_mcp") : JOINTS.index("ring_tip") + 1] = 0.0
    quality, failed, limited = judge(hand)
    assert limited == [
        "Camera right contradicts the others about the ring finger of the right hand in 33 % of the "
        "recording."
    ]
    assert not failed
    assert quality.set_aside["right"] == pytest.approx(4 / 21 / 3)


def test_a_finger_far_from_what_a_camera_shows_is_named(make_hand):
    hand = make_hand()
    hand.residual_px[1, :, 1:5] = 90.0
    _, _, limited = judge(hand)
    assert len(limited) == 1
    assert "fused thumb of the right hand lies 90 px from what camera left shows" in limited[0]


def test_a_view_that_followed_another_hand_limits_and_views_at_odds_for_long_fail(make_hand):
    hand = make_hand()
    hand.view_state[1, :12] = "other hand"
    hand.trust[1, :12] = 0.0
    _, failed, limited = judge(hand)
    assert limited == [
        "Camera left seems to follow another hand in 20 % of the recording: it was left out there."
    ]
    assert not failed
    hand.view_state[:, 20:50] = "doubted"
    _, failed, _ = judge(hand)
    assert any("contradict each other about the right hand in 50 %" in reason for reason in failed)


def test_a_track_of_an_older_run_says_nothing_of_it(track):
    hand = track(1.0)
    assert describe_agreement(hand) == {}
    assert judge(hand)[1:] == ([], [])


def test_the_fields_come_back_from_json(make_hand):
    hand = make_hand()
    hand.view_state[1, :12] = "other hand"
    hand.trust[1, :12] = 0.0
    quality, _, _ = judge(hand)
    plain = json.loads(json.dumps(dataclasses.asdict(quality)))
    assert repr(from_plain(HandQuality, plain)) == repr(quality)  # NaN is not equal to itself


def test_a_view_that_sees_something_else_nearly_always_is_asked_whether_it_moved(make_hand):
    hand = make_hand()
    hand.view_state[1, :55] = "other hand"
    hand.trust[1, :55] = 0.0
    hand.residual_px[1] = 300.0
    _, _, limited = judge(hand)
    assert len(limited) == 1
    assert "Camera left shows something else than the others in 92 %" in limited[0]
    assert "has it moved" in limited[0]


def test_cameras_at_odds_for_a_while_are_said_once(make_hand):
    hand = make_hand()
    hand.view_state[:, :6] = "doubted"
    hand.trust[:, :6] = 0.0
    _, failed, limited = judge(hand)
    assert not failed
    assert len(limited) == 1
    assert "none is believed there" in limited[0]
