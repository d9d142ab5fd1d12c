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


def test_jitter_drowns_brisk_movements_and_a_constant_error_only_small_differences_of_angles(track):
    calm, shaky = track(6.0), track(6.0, jitter_mm=2.0)
    constant = np.full(calm.joint_sigma_mm.shape, 3.0)
    off = dataclasses.replace(
        calm, joint_sigma_mm=np.hypot(calm.joint_sigma_mm, constant), joint_offset_sigma_mm=constant
    )
    assert assess(calm, 1.0).hands["right"].jitter_sigma_mm == pytest.approx(0.2)
    slow = dataclasses.replace(calm, joint_sigma_mm=constant)  # what changes slowly is no jitter
    said = [" ".join(assess(hand, 1.0).reasons) for hand in (calm, off, shaky, slow)]
    assert ["small differences of angles" in words for words in said] == [False, True, True, True]
    assert ["brisk" in words for words in said] == [False, False, True, False]
    assert "known to 3.0 mm" in said[1]
    assert "jitter by 2.0 mm" in said[2]


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


def shifted(hand, shift_s, sigma_s, applied=False):
    """The quality where camera left shows a hand that is well measured later than front by so much."""
    frames = len(hand.time_s)
    names = ("front", "left")
    cameras = {
        name: Camera(name, SIZE_PX, np.eye(3), np.zeros(5), np.eye(3), np.zeros(3), 0.1) for name in names
    }
    hand = dataclasses.replace(
        hand,
        cameras=names,
        residual_px=np.zeros((2, frames, 21)),
        time_shift_s=np.array([0.0, shift_s]),
        time_shift_sigma_s=np.array([np.nan, sigma_s]),
        time_shift_applied=np.array([False, applied]),
    )
    return assess_quality(
        SyncResult("front", {name: CameraSync(0.0) for name in names}),
        Rig("front", cameras),
        {name: {"right": make_view(frames, 1.0)} for name in names},
        {"right": hand},
        {"right": measure_hand(hand, "right", None).kinematics},
    )


def test_a_camera_that_shows_the_hand_clearly_later_is_named(track):
    late = "The hand in camera left moves 12 ms later than in camera front: look at its clock."
    quality = shifted(track(6.0), 0.012, 0.002)
    assert late in quality.reasons
    assert (quality.cameras[1].time_shift_s, quality.cameras[1].time_shift_sigma_s) == (0.012, 0.002)
    assert np.isnan(quality.cameras[0].time_shift_sigma_s)
    early = shifted(track(6.0), -0.012, 0.002)
    assert late.replace("later", "earlier") in early.reasons
    beyond = shifted(track(6.0), 0.1, np.inf)
    assert late.replace("12 ms", "at least 100 ms") in beyond.reasons
    assert beyond.cameras[1].time_shift_s == 0.1


@pytest.mark.parametrize(
    ("shift_s", "sigma_s", "applied"), [(0.003, 1e-4, False), (0.012, 0.005, False), (0.012, 0.002, True)]
)
def test_a_shift_that_is_small_or_unsure_or_taken_off_is_no_reason(track, shift_s, sigma_s, applied):
    quality = shifted(track(6.0), shift_s, sigma_s, applied)
    assert not any("look at its clock" in reason for reason in quality.reasons)
