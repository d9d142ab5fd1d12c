"""Likely reasons: each is raised by what is true of a made picture, and none by a clean one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.hand.model import HandModel, load_hand_model
from pipeline.photos import failures
from pipeline.photos.hands import MeasuredHand
from pipeline.pose.augmentation import measure_palm_px
from pipeline.pose.landmarks import frame_landmarks
from pipeline.pose.regions import bound_points
from pipeline.synth.still import Still, blur, cover, cut_off, make_still


@pytest.fixture(scope="module")
def model() -> HandModel:
    return load_hand_model()


@pytest.fixture(scope="module")
def still(model: HandModel) -> Still:
    return make_still(5, model)


def see(still: Still, which: int = 0) -> MeasuredHand:
    """The made hand as a network without error would measure it."""
    made = still.hands[which]
    points = made.keypoints_px
    return MeasuredHand(
        side=made.side,
        side_share=0.97,
        side_votes=(8, 8),
        points_px=points,
        sigma_px=np.ones(21),
        spread_px=np.ones(21),
        score=0.98,
        box_px=bound_points(points),
        palm_px=measure_palm_px(points[None]),
        region=frame_landmarks(points),
        guess=None,
    )


def list_reasons(still: Still, hand: MeasuredHand, *others: MeasuredHand) -> list[str]:
    found = failures.judge(still.image_bgr, hand, others, None, np.zeros((0, 3), int))
    return [each.reason for each in found]


def test_a_clean_picture_raises_nothing(still: Still) -> None:
    assert list_reasons(still, see(still)) == []


def test_joints_beyond_the_edge_are_counted_and_named(still: Still) -> None:
    spoilt = cut_off(still, 0.3)
    (found,) = failures.judge(spoilt.image_bgr, see(spoilt), (), None, np.zeros((0, 3), int))
    out = np.flatnonzero(spoilt.hands[0].keypoints_px[:, 1] < 0)
    assert found.reason == "truncated"
    assert set(out) <= set(found.joints)
    assert found.figure == len(found.joints)


def test_blur_is_measured_whatever_the_contrast(still: Still) -> None:
    size = float(np.ptp(still.hands[0].keypoints_px, axis=0).max())
    spoilt = blur(still, 0.03)
    hand = see(spoilt)
    true_px = 0.03 * size * failures.CROP_PX / hand.region.size_px
    pale = replace(spoilt, image_bgr=(spoilt.image_bgr // 2 + 60).astype(np.uint8))
    for picture in (spoilt, pale):
        assert failures.measure_blur_px(picture.image_bgr, hand) == pytest.approx(true_px, rel=0.35)
        assert "blurred" in list_reasons(picture, hand)


def test_a_thing_before_a_finger_is_seen_by_its_colour(still: Still) -> None:
    seen = [
        "occluded" in list_reasons(spoilt, see(spoilt))
        for spoilt in (cover(still, "index", seed) for seed in range(6))
    ]
    assert sum(seen) >= 4  # some things have the colour of skin


def test_a_hand_under_another_is_occluded(model: HandModel) -> None:
    pair = make_still(11, model, ("right", "left"), apart=0.1)
    one, other = see(pair, 0), see(pair, 1)
    assert "occluded" in list_reasons(pair, one, other)


def test_doubt_about_the_hand_and_its_side_is_said(still: Still) -> None:
    hand = see(still)
    assert list_reasons(still, replace(hand, score=0.5)) == ["low confidence"]
    wide = np.full(21, 0.3 * hand.palm_px)
    assert list_reasons(still, replace(hand, spread_px=wide)) == ["low confidence"]
    assert list_reasons(still, replace(hand, side_share=0.55)) == ["sides disagree"]
    assert list_reasons(still, replace(hand, side_votes=(6, 8))) == ["sides disagree"]
    far = replace(hand, points_px=hand.points_px + 5000.0)
    assert list_reasons(still, hand, far) == ["sides disagree"]
    assert list_reasons(still, replace(hand, side_share=float("nan"), side_votes=(0, 0))) == []
