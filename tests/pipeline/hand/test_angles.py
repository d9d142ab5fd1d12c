from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.hand.angles import ANGLE_INFO, ANGLES, compute_angle_sigma, compute_angles
from pipeline.hand.joints import FINGERS, JOINTS
from pipeline.hand.rotations import mirror_points

# The hand's own frame: x to the little finger, y distal, z out of the back of the hand.
KNUCKLES = {"index": -25.0, "middle": -5.0, "ring": 12.0, "pinky": 25.0}
LENGTHS = {"index": (42, 25, 20), "middle": (45, 28, 21), "ring": (42, 26, 20), "pinky": (33, 19, 18)}


def make_hand(degrees=None, side="right"):
    """Joints (1, 21, 3) of a right or left hand that holds the given angles by id; others are 0."""
    wanted = {angle: 0.0 for angle in ANGLES} | (degrees or {})
    rad = {angle: np.radians(value) for angle, value in wanted.items()}
    joints = np.zeros((21, 3))
    for finger, x in KNUCKLES.items():
        outward = -1.0 if finger == "index" else 1.0
        flexion, sideways = rad[f"{finger}_mcp_flexion"], outward * rad[f"{finger}_mcp_abduction"]
        base = np.array([x, 85.0, 0.0])
        # The proximal phalanx by its two angles; the rest of the finger bends about its hinge.
        forward = np.array([0.0, np.cos(flexion), -np.sin(flexion)])
        along = np.sin(sideways) * np.array([1.0, 0, 0]) + np.cos(sideways) * forward
        hinge = np.array([1.0, 0, 0]) - along[0] * along
        hinge /= np.linalg.norm(hinge)
        points, direction = [base], along
        for length, bend in zip(
            LENGTHS[finger], (0.0, rad[f"{finger}_pip_flexion"], rad[f"{finger}_dip_flexion"]), strict=True
        ):
            direction = Rotation.from_rotvec(-bend * hinge).apply(direction)
            points.append(points[-1] + length * direction)
        start = JOINTS.index(f"{finger}_mcp")
        joints[start : start + 4] = points
    joints[1:5] = _thumb(rad)
    if side == "left":
        joints = mirror_points(joints)
    return joints[None]


def _thumb(rad):
    flexion, out = rad["thumb_cmc_flexion"], rad["thumb_cmc_abduction"]
    direction = np.array([np.cos(out) * np.sin(flexion), np.cos(out) * np.cos(flexion), -np.sin(out)])
    hinge = np.array([0, 0, 1.0]) - direction[2] * direction
    hinge /= np.linalg.norm(hinge)
    points = [np.array([-25.0, 20.0, -5.0])]
    for length, bend in zip(
        (45, 32, 25), (0.0, rad["thumb_mcp_flexion"], rad["thumb_ip_flexion"]), strict=True
    ):
        direction = Rotation.from_rotvec(-bend * hinge).apply(direction)
        points.append(points[-1] + length * direction)
    return points


postures = st.fixed_dictionaries(
    {
        angle: st.floats(-25, 25) if info.movement == "abduction" else st.floats(-30, 65)
        for angle, info in ANGLE_INFO.items()
    }
)
turns = st.tuples(*[st.floats(-3, 3)] * 3)


@settings(max_examples=60, deadline=None)
@given(postures, turns, st.sampled_from(["right", "left"]))
def test_every_posture_is_read_back_on_either_hand_however_the_hand_is_turned(posture, turn, side):
    joints = Rotation.from_rotvec(turn).apply(make_hand(posture, side)[0])[None] + [10.0, -300.0, 700.0]
    found = np.degrees(compute_angles(joints, side)[0])
    np.testing.assert_allclose(found, [posture[angle] for angle in ANGLES], atol=1e-6)


def test_hyperextension_is_negative_and_flexion_positive():
    joints = make_hand({"index_mcp_flexion": 45, "index_pip_flexion": -12, "index_dip_flexion": -20})
    found = dict(zip(ANGLES, np.degrees(compute_angles(joints, "right")[0]), strict=True))
    assert found["index_mcp_flexion"] == pytest.approx(45)
    assert found["index_pip_flexion"] == pytest.approx(-12)
    assert found["index_dip_flexion"] == pytest.approx(-20)


def test_splayed_fingers_are_positive_and_the_middle_finger_counts_towards_the_little_finger():
    joints = make_hand()
    for finger, step in {"index": -9.0, "ring": 9.0, "pinky": 9.0, "middle": 9.0}.items():
        joints[0, JOINTS.index(f"{finger}_pip"), 0] += step
    found = dict(zip(ANGLES, compute_angles(joints, "right")[0], strict=True))
    assert all(found[f"{finger}_mcp_abduction"] > 0.1 for finger in FINGERS[1:])


def test_abduction_is_blank_where_the_finger_points_out_of_the_palms_plane():
    found = compute_angles(make_hand({"ring_mcp_flexion": 75, "index_mcp_flexion": 65}), "right")[0]
    assert np.isnan(found[ANGLES.index("ring_mcp_abduction")])
    assert np.isfinite(found).sum() == len(ANGLES) - 1


def test_a_joint_that_was_not_measured_blanks_only_the_angles_that_need_it():
    joints = make_hand()
    joints[0, JOINTS.index("ring_tip")] = np.nan
    found = compute_angles(joints, "right")[0]
    sigma = compute_angle_sigma(joints, np.ones((1, 21)), "right")[0]
    assert [ANGLES[i] for i in np.flatnonzero(np.isnan(found))] == ["ring_dip_flexion"]
    assert [ANGLES[i] for i in np.flatnonzero(np.isnan(sigma))] == ["ring_dip_flexion"]


@pytest.mark.parametrize("flexion", [0.0, 60.0])
@pytest.mark.parametrize("side", ["right", "left"])
def test_sigma_agrees_with_the_spread_of_jittered_hands(flexion, side):
    posture = {angle: flexion for angle in ANGLES if angle.endswith("flexion") and "thumb" not in angle}
    joints = make_hand(posture | {"thumb_cmc_abduction": 30, "thumb_mcp_flexion": 20}, side)
    sigma_mm = np.linspace(0.2, 0.8, 21)
    noise = np.random.default_rng(3).normal(size=(6000, 21, 3)) * sigma_mm[:, None]
    spread = compute_angles(joints + noise, side).std(axis=0)
    stated = compute_angle_sigma(joints, sigma_mm[None], side)[0]
    np.testing.assert_allclose(stated, spread, rtol=0.06)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "flexion",
    [
        pytest.param({"mcp": 0, "pip": 0, "dip": 0, "ip": 0}, id="straight"),
        pytest.param({"mcp": 60, "pip": 90, "dip": 50, "ip": 50}, id="fist"),
        pytest.param({"mcp": -20, "pip": -12, "dip": -20, "ip": -15}, id="hyperextended"),
    ],
)
def test_a_millimetre_of_jitter_does_not_bias_an_angle(flexion, side):
    posture = {angle: flexion.get(info.joint.split("_")[1], 0.0) for angle, info in ANGLE_INFO.items()}
    posture |= {angle: 5.0 for angle, info in ANGLE_INFO.items() if info.movement == "abduction"}
    joints = make_hand(posture, side)
    noise = np.random.default_rng(4).normal(size=(10000, 21, 3))
    # Each draw with its opposite: what is left of the spread is far below the bar.
    found = [np.degrees(compute_angles(joints + sign * noise, side)) for sign in (1, -1)]
    error_deg = np.nanmean(found, axis=(0, 1)) - [posture[angle] for angle in ANGLES]
    assert np.abs(error_deg).max() < 0.2


def test_bending_the_hand_models_own_joints_is_flexion_by_that_angle():
    from pipeline.hand.joints import MANO_POSE_JOINTS
    from pipeline.hand.model import load_hand_model

    model = load_hand_model()
    pose = np.tile(np.eye(3), (2, 15, 1, 1))
    # In the template's frame (fingers to -x, back of the hand to +y) flexion turns about +z.
    pose[1, MANO_POSE_JOINTS.index("middle_pip")] = Rotation.from_rotvec([0, 0, np.radians(30)]).as_matrix()
    _, joints = model.pose_arrays(np.zeros(10), np.tile(np.eye(3), (2, 1, 1)), pose, np.zeros((2, 3)))
    flat, bent = np.degrees(compute_angles(joints.astype(float), "right"))
    change = dict(zip(ANGLES, bent - flat, strict=True))
    assert change.pop("middle_pip_flexion") == pytest.approx(30, abs=1.0)
    assert max(abs(value) for value in change.values()) < 1.5
