"""What the quality box says of cameras and hands."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.hand.joints import SIDES
from pipeline.measures.measure import measure_hand
from pipeline.measures.quality import assess_quality
from pipeline.results import Camera, CameraCheck, CameraSync, Rig, RigCheck, SyncResult, ViewTrack
from pipeline.session import SessionSettings

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


def check_of(hand, verdict):
    """The quality of a hand whose camera is checked against its rig with this verdict."""
    camera = Camera("front", SIZE_PX, np.eye(3), np.zeros(5), np.eye(3), np.zeros(3), 0.1)
    frames = len(hand.time_s)
    return assess_quality(
        SyncResult("front", {"front": CameraSync(0.0, source="reference")}),
        Rig("front", {"front": camera}),
        {"front": {"right": make_view(frames, 1.0)}},
        {"right": dataclasses.replace(hand, residual_px=np.zeros((1, frames, 21)))},
        {"right": measure_hand(hand, "right", None).kinematics},
        RigCheck(
            verdict, {"front": CameraCheck(verdict, 9.0, 2.0)}, ("Camera front has turned by 3.0 degrees.",)
        ),
    )


def test_a_camera_that_moved_since_its_calibration_fails_the_recording(track):
    quality = check_of(track(6.0), "moved")
    assert quality.verdict == "failed"
    assert any("no longer stand" in reason and "Camera front" in reason for reason in quality.reasons)
    assert (quality.cameras[0].check_verdict, quality.cameras[0].check_px) == ("moved", 9.0)


def test_a_camera_that_may_have_moved_limits_it_and_one_that_stands_says_nothing(track):
    doubtful, good = check_of(track(6.0), "doubtful"), check_of(track(6.0), "good")
    assert any("Whether the cameras still stand so" in reason for reason in doubtful.reasons)
    assert doubtful.verdict == "limited"
    assert not any("stand" in reason for reason in good.reasons)


@pytest.mark.parametrize(
    ("source", "verdict", "is_said"),
    [("file", "unknown", True), ("file", "good", False), ("checkerboard", "unknown", False)],
)
def test_a_kept_rig_that_could_not_be_checked_is_not_passed_in_silence(track, source, verdict, is_said):
    hand, frames = track(6.0), len(track(6.0).time_s)
    camera = Camera("front", SIZE_PX, np.eye(3), np.zeros(5), np.eye(3), np.zeros(3), 0.1)
    names = ("front", "left")
    quality = assess_quality(
        SyncResult("front", {name: CameraSync(0.0) for name in names}),
        Rig("front", {name: dataclasses.replace(camera, name=name) for name in names}, source=source),
        {name: {"right": make_view(frames, 1.0)} for name in names},
        {"right": dataclasses.replace(hand, residual_px=np.zeros((1, frames, 21)))},
        {"right": measure_hand(hand, "right", None).kinematics},
        RigCheck(verdict),
    )
    assert any("could not be checked" in reason for reason in quality.reasons) == is_said
    assert not (is_said and quality.verdict == "passed")


def scaled(hand, factor, rig_source="checkerboard", **settings):
    """The quality of a hand whose rig is off by a factor, with the session's settings."""
    camera = Camera("front", SIZE_PX, np.eye(3), np.zeros(5), np.eye(3), np.zeros(3), 0.1)
    frames = len(hand.time_s)
    bones = np.linalg.norm(np.diff(hand.joints_mm[0, [0, 9, 10, 11, 12]], axis=0), axis=1).sum()
    large = dataclasses.replace(
        hand, joints_mm=hand.joints_mm * factor * 182 / bones, residual_px=np.zeros((1, frames, 21))
    )
    return assess_quality(
        SyncResult("front", {"front": CameraSync(0.0, source="reference")}),
        Rig("front", {"front": camera}, source=rig_source),
        {"front": {"right": make_view(frames, 1.0)}},
        {"right": large},
        {"right": measure_hand(hand, "right", None).kinematics},
        settings=SessionSettings(**settings),
    )


def test_a_hand_far_too_long_doubts_the_board_s_squares(track):
    asked = [reason for reason in scaled(track(6.0), 1.4).reasons if "square_mm (25.0 mm)" in reason]
    assert len(asked) == 1
    assert "measures 255 mm" in asked[0]
    assert not any("square_mm" in reason for reason in scaled(track(6.0), 1.0).reasons)
    assert not any("square_mm" in reason for reason in scaled(track(6.0), 1.4, "hand").reasons)


def test_a_hand_of_another_length_than_by_ruler_limits_the_recording(track):
    quality = scaled(track(6.0), 1.0, hand_length_mm=220.0)
    assert quality.verdict == "limited"
    assert any("220 mm by ruler" in reason for reason in quality.reasons)
