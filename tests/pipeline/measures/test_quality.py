"""What the quality box says of cameras and hands."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.hand.joints import SIDES
from pipeline.measures.measure import measure_hand
from pipeline.measures.quality import assess_quality
from pipeline.results import Camera, CameraSync, Rig, SyncResult, ViewTrack

SIZE_PX = (640, 360)


def make_view(frames: int, share: float) -> ViewTrack:
    """A track that has the hand in the first ``share`` of its frames."""
    points = np.full((frames, 21, 2), np.nan)
    points[: round(share * frames)] = 100.0
    return ViewTrack(
        time_s=np.arange(frames) / 60.0,
        box_px=np.zeros((frames, 4)),
        box_state=np.full(frames, "detected"),
        keypoints_px=points,
        sigma_px=np.ones((frames, 21)),
        score=np.ones(frames),
        size_px=SIZE_PX,
    )


def assess(hand, *shares: float):
    """The quality of a right hand seen by one camera, in which both hands, or one, were looked for."""
    camera = Camera("front", SIZE_PX, np.eye(3), np.zeros(5), np.eye(3), np.zeros(3), 0.1)
    frames = len(hand.time_s)
    tracks = {side: make_view(frames, share) for side, share in zip(SIDES, shares, strict=False)}
    return assess_quality(
        SyncResult("front", {"front": CameraSync(0.0, source="reference")}),
        Rig("front", {"front": camera}),
        {"front": tracks},
        {"right": dataclasses.replace(hand, residual_px=np.zeros((1, frames, 21)))},
        {"right": measure_hand(hand, "right", None).kinematics},
    )


def test_of_two_hands_the_one_that_was_not_there_is_named_and_the_other_is_not_blamed(track):
    quality = assess(track(6.0), 1.0, 0.0)
    assert quality.verdict == "limited"
    assert "The left hand could not be measured." in quality.reasons
    assert "Camera front shows the left hand in only 0 % of its frames." in quality.reasons
    assert not any("the right hand in only" in reason for reason in quality.reasons)


def test_of_one_hand_the_side_goes_without_saying(track):
    assert "Camera front shows the hand in only 50 % of its frames." in assess(track(6.0), 0.5).reasons
