from __future__ import annotations

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest

from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import JOINTS
from pipeline.measures.measure import measure
from pipeline.results import read_table, write_table

MEASURES = [
    "side", "time_s", "joint", "speed", "acceleration", "jerk", "speed_noise", "acceleration_noise",
    "jerk_noise", "jerk_score", "acceleration_score", "valid",
]  # fmt: skip


def test_the_tables_have_a_row_for_every_side_frame_and_joint_or_angle(track, baseline, tmp_path):
    found = measure({"right": track(3.0), "left": track(3.0, side="left")}, baseline)
    assert list(found.measures.columns) == MEASURES
    assert list(found.angles.columns) == ["side", "time_s", "angle", "degrees", "sigma_deg", "z", "valid"]
    assert len(found.measures) == 2 * 180 * 21
    assert len(found.angles) == 2 * 180 * 20
    assert found.measures["joint"].iloc[:21].tolist() == list(JOINTS)
    assert found.angles["angle"].iloc[:20].tolist() == list(ANGLES)
    write_table(tmp_path / "measures.parquet", found.measures)
    again = read_table(tmp_path / "measures.parquet")
    pd.testing.assert_frame_equal(again, found.measures, check_categorical=False)
    assert set(again["side"].unique()) == {"right", "left"}


def test_a_left_hand_measures_as_its_mirror_image(track, baseline):
    found = measure({"right": track(4.0), "left": track(4.0, side="left")}, baseline)
    right, left = found.hands["right"], found.hands["left"]
    np.testing.assert_allclose(left.degrees, right.degrees, atol=1e-9)
    np.testing.assert_allclose(left.kinematics.jerk, right.kinematics.jerk, rtol=1e-9)
    np.testing.assert_allclose(left.z, right.z, atol=1e-9)


def test_z_is_signed_and_in_the_spread_of_frames(track, baseline):
    found = measure({"right": track(4.0, bend_deg=30.0)}, baseline)
    column = ANGLES.index("ring_pip_flexion")
    entry = baseline.angles["ring_pip_flexion"]
    table = found.angles[found.angles["angle"] == "ring_pip_flexion"]
    expected = (table["degrees"] - entry.frame_mean_deg) / entry.frame_sd_deg
    np.testing.assert_allclose(table["z"], expected, rtol=1e-4, atol=1e-4)
    assert found.hands["right"].z[:, column].mean() > 2


def test_joints_that_the_fusion_did_not_measure_are_not_valid(track, baseline):
    hand = track(4.0)
    quality = hand.quality.copy()
    tip = JOINTS.index("index_tip")
    quality[100:140, tip] = 0
    found = measure({"right": dataclasses.replace(hand, quality=quality)}, baseline)
    rows = found.measures[found.measures["joint"] == "index_tip"]
    assert not rows["valid"].iloc[100:140].any()
    assert rows["jerk"].iloc[100:140].isna().all()
    assert not found.angles[found.angles["angle"] == "index_dip_flexion"]["valid"].iloc[100:140].any()
    assert found.angles[found.angles["angle"] == "index_pip_flexion"]["valid"].all()


def test_a_constant_error_makes_angles_less_sure_and_no_noise_of_movement(track, baseline):
    hand = track(4.0, jitter_mm=0.6)
    stated = dataclasses.replace(
        hand,
        joint_sigma_mm=np.hypot(hand.joint_sigma_mm, 3.0),
        joint_offset_sigma_mm=np.full(hand.joint_sigma_mm.shape, 3.0),
    )
    plain = measure({"right": hand}, baseline).hands["right"]
    found = measure({"right": stated}, baseline).hands["right"]
    np.testing.assert_allclose(found.kinematics.jerk_noise, plain.kinematics.jerk_noise, rtol=1e-6)
    np.testing.assert_allclose(found.jitter_deg, plain.sigma_deg, rtol=1e-6)
    assert np.nanmedian(found.sigma_deg / found.jitter_deg) == pytest.approx(
        np.hypot(3.0, 0.6) / 0.6, rel=0.1
    )


def test_angles_are_those_of_the_joints_less_jitter(track, baseline):
    clean, jittered = track(4.0, jitter_mm=0.0), track(4.0, jitter_mm=0.5)
    exact = np.degrees(compute_angles(clean.joints_mm, "right"))
    raw = np.degrees(compute_angles(jittered.joints_mm, "right")) - exact
    found = measure({"right": jittered}, baseline).hands["right"].degrees - exact
    assert np.nanstd(found[10:-10]) < 0.8 * np.nanstd(raw[10:-10])


def test_no_hands_give_empty_tables_with_the_same_columns(baseline):
    found = measure({}, baseline)
    assert list(found.measures.columns) == MEASURES
    assert len(found.angles) == 0


@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_three_minutes_of_a_hand_are_measured_within_five_seconds(track, baseline, missing):
    hand = track(180.0)
    joints = hand.joints_mm.copy()
    joints[np.random.default_rng(0).random(joints.shape[:2]) < missing] = np.nan
    hand = dataclasses.replace(hand, joints_mm=joints)
    start = time.process_time()
    found = measure({"right": hand}, baseline)
    assert time.process_time() - start < 5
    assert len(found.measures) == 10_800 * 21
