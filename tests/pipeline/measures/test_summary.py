from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import RunFolderError
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import FINGERS, JOINTS, Side
from pipeline.measures.kinematics import compute_kinematics
from pipeline.measures.levels import BEYOND, UNKNOWN
from pipeline.measures.measure import measure
from pipeline.measures.quality import assess_quality
from pipeline.measures.summary import (
    HEADLINES,
    SIMULATED_NOTE,
    Summary,
    count_levels,
    get_headline,
    read_summary,
    summarise,
    write_summary,
)
from pipeline.results import Camera, CameraSync, HandTrack, Rig, SyncResult, ViewTrack
from pipeline.session import SessionSettings


def stages(hand: HandTrack, cameras=("front", "left")):
    """What the stages before would have left for a recording without faults."""
    frames = len(hand.time_s)
    view = ViewTrack(
        time_s=hand.time_s,
        box_px=np.zeros((frames, 4)),
        box_state=np.array(["detected"] * frames),
        keypoints_px=np.zeros((frames, 21, 2)),
        sigma_px=np.ones((frames, 21)),
        score=np.ones(frames),
        size_px=(1280, 720),
    )
    eye = np.eye(3)
    rig = {name: Camera(name, (1280, 720), eye, np.zeros(5), eye, np.zeros(3), 0.2) for name in cameras}
    return {
        "sync": SyncResult("front", {name: CameraSync(0.0, 1e-4) for name in cameras}),
        "rig": Rig("front", rig),
        "views": {name: {"right": view} for name in cameras},
    }


@pytest.fixture(scope="module")
def summary_of(baseline) -> Callable[..., Summary]:
    def make(hand: HandTrack, settings: SessionSettings | None = None, **changed) -> Summary:
        hands: dict[Side, HandTrack] = {"right": hand}
        return summarise(
            settings=settings or SessionSettings(subject="p1"),
            **(stages(hand) | changed),
            hands=hands,
            measures=measure(hands, baseline),
            baseline=baseline,
            model_name="built-in hand",
        )

    return make


@pytest.fixture(scope="module")
def ordinary(summary_of, track) -> Summary:
    return summary_of(track(12.0))


@pytest.fixture(scope="module")
def bent(summary_of, track) -> Summary:
    return summary_of(track(12.0, bend_deg=45.0))


def test_a_summary_survives_its_file(ordinary, tmp_path):
    write_summary(tmp_path / "summary.json", ordinary)
    assert repr(read_summary(tmp_path / "summary.json")) == repr(ordinary)
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_everything_a_report_prints_is_there(ordinary):
    side = ordinary.sides["right"]
    assert [a.angle for a in side.angles] == list(ANGLES)
    assert [h.id for h in side.headlines] == list(HEADLINES)
    assert [f.finger for f in side.fingers] == list(FINGERS)
    assert [j.joint for j in side.jerk_reference] == list(JOINTS)
    assert len(side.worst) == 3
    assert ordinary.quality.verdict == "passed"
    assert ordinary.quality.reasons == ()
    assert ordinary.recording.fps == pytest.approx(60)
    assert SIMULATED_NOTE in ordinary.notes
    assert ordinary.provenance.baseline_simulated


def test_every_headline_that_is_told_has_an_interval_round_it_and_a_reference(ordinary):
    for headline in ordinary.sides["right"].headlines:
        assert np.isfinite(headline.value), headline.id
        assert headline.low <= headline.value <= headline.high, headline.id
        assert "simulated" in headline.reference


def test_a_constant_error_is_stated_beside_an_angle_and_widens_no_interval_within_the_recording(
    ordinary, summary_of, track
):
    hand = track(12.0)
    constant = np.full(hand.joint_sigma_mm.shape, 3.0)
    stated = dataclasses.replace(
        hand, joint_sigma_mm=np.hypot(hand.joint_sigma_mm, constant), joint_offset_sigma_mm=constant
    )
    for before, after in zip(
        ordinary.sides["right"].angles, summary_of(stated).sides["right"].angles, strict=True
    ):
        assert after.sigma_deg > 3 * before.sigma_deg
        assert (after.z, after.z_low, after.z_high) == pytest.approx((before.z, before.z_low, before.z_high))
        assert after.peak_z_low == pytest.approx(before.peak_z_low, nan_ok=True)


def test_a_bent_finger_is_far_from_the_reference_and_named_in_words(ordinary, bent):
    angle = {a.angle: a for a in bent.sides["right"].angles}["ring_pip_flexion"]
    before = {a.angle: a for a in ordinary.sides["right"].angles}["ring_pip_flexion"]
    assert angle.median_deg - before.median_deg == pytest.approx(45, abs=1.5)
    assert angle.level == BEYOND
    assert angle.z_low < angle.z < angle.z_high
    assert angle.far_share > 0.9
    worst = bent.sides["right"].worst[0]
    assert "PIP flexion" in worst.sentence
    assert "more flexed" in worst.sentence
    assert "n = 12, simulated" in worst.sentence
    assert get_headline(bent.sides["right"], "posture_share").value > 90
    assert get_headline(ordinary.sides["right"], "posture_share").value < 20


def test_a_posture_held_for_a_third_of_the_time_shows_in_the_peak_and_not_in_the_median(summary_of, track):
    hand, bent = track(12.0), track(12.0, bend_deg=50.0)
    joints = hand.joints_mm.copy()
    joints[300:540] = bent.joints_mm[300:540]
    found = summary_of(dataclasses.replace(hand, joints_mm=joints)).sides["right"]
    angle = {a.angle: a for a in found.angles}["ring_pip_flexion"]
    assert abs(angle.z) < 3 < angle.peak_z
    assert angle.peak_level == BEYOND
    assert "at times" in found.worst[0].sentence
    assert any(bout.angle == "ring_pip_flexion" and bout.direction == "more flexed" for bout in found.bouts)


def test_what_is_surely_far_is_named_before_what_only_seems_farther(summary_of, track):
    angles = {a.angle: a for a in summary_of(track(12.0, bend_deg=25.0)).sides["right"].angles}
    sure = angles["ring_pip_flexion"].farthest
    unsure = dataclasses.replace(sure, z=2 * sure.z, z_low=-1.0, z_high=5 * sure.z)
    unknown = dataclasses.replace(unsure, z_low=float("nan"), z_high=float("nan"))
    assert sure.sure_z > 0
    assert unsure.sure_z == unknown.sure_z == 0.0


def test_a_recording_too_short_for_an_interval_names_nothing_for_sure_and_counts_nothing(summary_of, track):
    side = summary_of(track(2.0, bend_deg=45.0)).sides["right"]
    assert all("not sure" in worst.sentence for worst in side.worst)
    for headline in ("posture_bouts", "brisk_events"):
        assert np.isnan(get_headline(side, headline).value)
        assert "too short" in get_headline(side, headline).note


def test_larger_movement_has_more_jerk_over_the_frozen_reference(summary_of, track):
    small, large = (summary_of(track(12.0, swing_deg=swing)).sides["right"] for swing in (6.0, 12.0))
    for headline in ("jerk_over_reference", "jerk_p95", "acceleration_p95"):
        assert get_headline(large, headline).value > 1.5 * get_headline(small, headline).value


def test_a_hand_measured_for_less_than_80_percent_is_withheld_and_says_so(summary_of, track):
    hand = track(12.0)
    quality = hand.quality.copy()
    quality[:200] = 0
    found = summary_of(dataclasses.replace(hand, quality=quality))
    assert found.quality.verdict == "limited"
    assert any("72 %" in reason for reason in found.quality.reasons)
    side = found.sides["right"]
    assert all(np.isnan(angle.z) and angle.level == UNKNOWN and angle.note for angle in side.angles)
    assert all(np.isnan(h.value) and "80 %" in h.note for h in side.headlines)
    assert side.worst == ()
    assert count_levels(side)[UNKNOWN] == 20


def test_at_30_frames_postures_are_told_and_jerk_is_withheld_with_the_reason(summary_of, track):
    side = summary_of(track(12.0, fps=30.0)).sides["right"]
    assert np.isfinite(get_headline(side, "posture_share").value)
    for headline in ("jerk_p95", "jerk_over_reference", "acceleration_p95", "brisk_events"):
        found = get_headline(side, headline)
        assert np.isnan(found.value)
        assert "30.0 frames/s" in found.note


def test_faults_of_the_stages_are_in_the_quality_box_by_name(summary_of, track):
    hand = track(6.0)
    given = stages(hand)
    cameras = dict(given["sync"].cameras)
    cameras["left"] = CameraSync(0.1, verdict="check", confidence=0.5, reasons=("Two peaks are alike.",))
    found = summary_of(hand, sync=dataclasses.replace(given["sync"], cameras=cameras)).quality
    assert found.verdict == "limited"
    assert found.reasons == ("The clock of camera left is doubtful: Two peaks are alike.",)
    cameras["left"] = CameraSync(float("nan"), verdict="failed")
    assert (
        summary_of(hand, sync=dataclasses.replace(given["sync"], cameras=cameras)).quality.verdict == "failed"
    )
    bad_rig = dataclasses.replace(given["rig"], verdict="failed", reasons=("No board in camera left.",))
    found = summary_of(hand, rig=bad_rig).quality
    assert found.verdict == "failed"
    assert "No board in camera left." in found.reasons[0]


def test_another_task_than_the_references_is_said(summary_of, track):
    found = summary_of(track(5.0), SessionSettings(task="banjo"))
    assert any("banjo" in note for note in found.notes)


def test_the_words_normal_and_abnormal_are_never_said(ordinary, bent, tmp_path):
    write_summary(tmp_path / "a.json", ordinary)
    write_summary(tmp_path / "b.json", bent)
    assert "normal" not in ((tmp_path / "a.json").read_text() + (tmp_path / "b.json").read_text()).lower()


def test_a_foreign_or_older_file_is_refused_by_name(ordinary, tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, ordinary)
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"schema_version": 0}))
    with pytest.raises(RunFolderError, match="schema 0"):
        read_summary(path)
    path.write_text(json.dumps(raw | {"surprise": 1}))
    with pytest.raises(RunFolderError, match=r"summary\.json"):
        read_summary(path)
    for text in ("[]", json.dumps(raw | {"sides": []}), json.dumps(raw | {"subject": 5})):
        path.write_text(text)
        with pytest.raises(RunFolderError, match=r"summary\.json"):
            read_summary(path)


def test_reading_a_summary_loads_neither_torch_nor_opencv():
    code = (
        "import sys, pipeline.measures.summary, pipeline.measures.change, pipeline.hand.angles; "
        "sys.exit(bool({'torch', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_deviation_of_an_angle_is_its_distance_from_the_reference_in_degrees(ordinary, bent):
    for summary in (ordinary, bent):
        for angle in summary.sides["right"].angles:
            if np.isfinite(angle.rms_deg):
                assert angle.rms_deg >= abs(angle.median_deg - angle.reference_mean_deg) * 0.5
                assert angle.rms_low <= angle.rms_deg <= angle.rms_high
                assert angle.reference_rms_deg > 0
    for finger in bent.sides["right"].fingers:
        assert finger.rms_low <= finger.rms_deg <= finger.rms_high
    column = ANGLES.index("ring_pip_flexion")
    more = bent.sides["right"].angles[column].rms_deg - ordinary.sides["right"].angles[column].rms_deg
    assert more == pytest.approx(45.0, abs=6.0)


def test_a_fingers_deviation_is_the_mean_square_of_its_angles(bent):
    side = bent.sides["right"]
    of_ring = [angle.rms_deg for angle in side.angles if angle.finger == "ring"]
    expected = np.sqrt(np.mean(np.square(of_ring)))
    assert side.fingers[FINGERS.index("ring")].rms_deg == pytest.approx(expected, rel=0.01)


def test_tremor_strokes_and_features_are_in_the_summary_with_their_reasons(ordinary):
    side = ordinary.sides["right"]
    assert [tremor.site for tremor in side.tremor] == ["hand", *FINGERS]
    assert all(tremor.note for tremor in side.tremor if tremor.verdict == "cannot tell")
    assert side.individuation is not None
    assert side.individuation.note or side.individuation.events
    assert side.features is not None
    assert 0.4 < side.features.openness <= 1.0
    assert ordinary.timing is not None
    assert ordinary.timing.verdict == "cannot tell"
    assert ordinary.timing.note


def test_a_summary_from_before_there_was_tremor_is_still_read(ordinary, tmp_path):
    write_summary(tmp_path / "summary.json", ordinary)
    raw = json.loads((tmp_path / "summary.json").read_text())
    del raw["timing"]
    for side in raw["sides"].values():
        for name in ("tremor", "individuation", "features", "hinge_twist_deg"):
            del side[name]
        for part in (*side["angles"], *side["fingers"]):
            for name in ("rms_low", "rms_high", "reference_rms_deg"):
                del part[name]
    (tmp_path / "summary.json").write_text(json.dumps(raw))
    older = read_summary(tmp_path / "summary.json")
    assert older.timing is None
    assert older.sides["right"].tremor == ()
    assert older.sides["right"].individuation is None
    assert np.isnan(older.sides["right"].angles[0].rms_low)


def test_a_twisted_hinge_limits_the_quality(summary_of, track):
    hand = track(6.0)
    flat = hand.joints_mm[0]
    assert not any("twists" in reason for reason in summary_of(hand).quality.reasons)
    model_pose = np.array(hand.hand_pose)
    turn = np.radians(30.0)
    model_pose[:] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    hands: dict[Side, HandTrack] = {"right": dataclasses.replace(hand, hand_pose=model_pose)}
    given = stages(hand)
    found = assess_quality(
        given["sync"], given["rig"], given["views"], hands,
        {"right": compute_kinematics(hand.time_s, hand.joints_mm, hand.joint_sigma_mm)},
        flat_mm={"right": flat},
    )  # fmt: skip
    assert any("twists" in reason for reason in found.reasons)


def test_the_share_of_time_far_from_the_reference_has_an_interval_within_0_and_1(ordinary):
    angles = ordinary.sides["right"].angles
    known = [angle for angle in angles if np.isfinite(angle.far_share)]
    assert known
    assert all(0 <= angle.far_low <= angle.far_share <= angle.far_high <= 1 for angle in known)
    assert any(angle.far_high > angle.far_low for angle in known)


def test_the_log_dimensionless_jerk_stands_beside_the_smoothness(ordinary):
    side = ordinary.sides["right"]
    (smoothness,) = (headline for headline in side.headlines if headline.id == "smoothness")
    assert -20 < side.ldlj < -2
    assert f"Log dimensionless jerk −{abs(side.ldlj):.1f}, which noise moves far" in smoothness.note
