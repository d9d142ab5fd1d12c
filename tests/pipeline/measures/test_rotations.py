from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import JOINTS, MANO_POSE_JOINTS
from pipeline.hand.model import load_hand_model
from pipeline.measures.rotations import (
    HINGE_COLUMNS,
    MAX_TWIST_DEG,
    judge_hinges,
    measure_hinge_twist,
    measure_rotations,
    measure_track,
    tabulate_rotations,
)
from pipeline.results import read_table, write_table
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, pose_take


def pose(hand_pose: np.ndarray) -> np.ndarray:
    model, count = load_hand_model(), len(hand_pose)
    eye = np.tile(np.eye(3), (count, 1, 1))
    return model.pose_arrays(np.zeros(model.n_betas), eye, hand_pose, np.zeros((count, 3)))[1].astype(float)


def rest(count: int = 1) -> np.ndarray:
    return np.tile(np.eye(3), (count, 15, 1, 1))


@pytest.fixture(scope="module")
def flat_mm() -> np.ndarray:
    return pose(rest())[0]


def test_a_flat_hand_has_the_angles_of_its_joints_and_no_twist(flat_mm):
    found = measure_rotations(rest(), flat_mm)
    from_joints = np.degrees(compute_angles(flat_mm[None], "right"))[0]
    for column, joint in enumerate(MANO_POSE_JOINTS):
        assert found.bend[0, column] == pytest.approx(from_joints[ANGLES.index(f"{joint}_flexion")], abs=0.2)
    np.testing.assert_allclose(found.twist, 0.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["healthy", "dystonic"])
def test_bends_from_rotations_and_from_joints_agree_with_their_signs(kind):
    spec = SynthSpec(seconds=12.0, seed=3, kind=kind, calibration=False)
    take = make_take(spec, load_hand_model())
    _, joints, parameters = pose_take(take, spec.frame_times_s())
    eye, betas = np.eye(3)[None], take.motion.person.betas
    _, flat = take.model.pose_arrays(betas, eye, np.tile(eye, (1, 15, 1, 1)), np.zeros((1, 3)))
    found = measure_rotations(parameters["hand_pose"], flat[0])
    from_joints = np.degrees(compute_angles(joints, "right"))
    for column, joint in enumerate(MANO_POSE_JOINTS):
        if joint.startswith("thumb") and kind == "dystonic":
            continue  # its metacarpal is far out of the plane, where the order of turns matters
        away = found.bend[:, column] - from_joints[:, ANGLES.index(f"{joint}_flexion")]
        assert np.abs(away).max() < 2.5, joint
        if f"{joint}_abduction" in ANGLES:
            spread = found.spread[:, column] - from_joints[:, ANGLES.index(f"{joint}_abduction")]
            assert np.nanmax(np.abs(spread)) < 1.0, joint


def test_hyperextension_is_below_zero(flat_mm):
    column = MANO_POSE_JOINTS.index("middle_pip")
    bone = flat_mm[JOINTS.index("middle_dip")] - flat_mm[JOINTS.index("middle_pip")]
    across = np.cross([0.0, 1.0, 0.0], bone)
    across /= np.linalg.norm(across)
    bent = rest(2)
    bent[0, column] = Rotation.from_rotvec(np.radians(40) * across).as_matrix()
    bent[1, column] = Rotation.from_rotvec(np.radians(-20) * across).as_matrix()
    start = measure_rotations(rest(), flat_mm).bend[0, column]
    np.testing.assert_allclose(measure_rotations(bent, flat_mm).bend[:, column] - start, [40, -20], atol=0.5)


def test_a_joint_not_measured_blanks_the_rotations_that_rest_on_it(flat_mm, track):
    hand = track(0.5)
    quality = np.array(hand.quality)
    quality[:, JOINTS.index("index_dip")] = 0.0
    found = measure_track(dataclasses.replace(hand, quality=quality), flat_mm)
    lost = {MANO_POSE_JOINTS[column] for column in np.flatnonzero(np.isnan(found.bend[0]))}
    assert lost == {"index_pip", "index_dip"}


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_table_of_rotations_has_a_row_for_each_time_and_joint_and_survives_its_file(
    side, flat_mm, track, tmp_path
):
    hand = track(0.5, side=side)
    pose_now = rest(len(hand.time_s))
    pose_now[:, MANO_POSE_JOINTS.index("middle_pip")] = Rotation.from_rotvec([0, 0, 0.5]).as_matrix()
    found = measure_track(dataclasses.replace(hand, hand_pose=pose_now), flat_mm)
    write_table(tmp_path / "rotations.parquet", tabulate_rotations({side: (hand.time_s, found)}))
    table = read_table(tmp_path / "rotations.parquet")
    assert len(table) == len(hand.time_s) * len(MANO_POSE_JOINTS)
    assert set(table["side"]) == {side}
    assert table["valid"].all()
    rows = table[table["rotation"] == "middle_pip"]
    np.testing.assert_allclose(rows["time_s"], hand.time_s)
    column = MANO_POSE_JOINTS.index("middle_pip")
    np.testing.assert_allclose(rows["bend_deg"], found.bend[:, column], atol=1e-4)
    np.testing.assert_allclose(rows["twist_deg"], found.twist[:, column], atol=1e-4)
    assert rows["bend_deg"].min() > measure_rotations(rest(), flat_mm).bend[0, column] + 20


def test_no_hand_makes_an_empty_table_of_rotations():
    assert list(tabulate_rotations({}).columns)[:3] == ["side", "time_s", "rotation"]


def test_a_twisted_hinge_is_named_and_a_bent_one_is_not(flat_mm):
    column = MANO_POSE_JOINTS.index("ring_dip")
    bone = flat_mm[JOINTS.index("ring_tip")] - flat_mm[JOINTS.index("ring_dip")]
    bone /= np.linalg.norm(bone)
    twisted, bent = rest(30), rest(30)
    twisted[:, column] = Rotation.from_rotvec(np.radians(MAX_TWIST_DEG + 7) * bone).as_matrix()
    across = np.cross(bone, [0.0, 1.0, 0.0])
    bent[:, column] = Rotation.from_rotvec(np.radians(-50) * across / np.linalg.norm(across)).as_matrix()
    said = judge_hinges(twisted, flat_mm, "left")
    assert "DIP joint of the ring finger" in said
    assert "left hand" in said
    assert "22°" in said
    assert judge_hinges(bent, flat_mm, "left") == ""


def test_frames_not_measured_stay_so_and_do_not_count(flat_mm):
    partly = rest(10)
    partly[:4] = np.nan
    found = measure_rotations(partly, flat_mm)
    assert np.isnan(found.bend[:4]).all()
    assert np.isfinite(found.twist[4:]).all()
    assert np.isfinite(measure_hinge_twist(partly, flat_mm)).all()
    assert measure_hinge_twist(rest(3) * np.nan, flat_mm).shape == (len(HINGE_COLUMNS),)
    assert judge_hinges(rest(3) * np.nan, flat_mm, "right") == ""
