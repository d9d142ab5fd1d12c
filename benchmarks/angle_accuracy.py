"""The signed angles against truth: ``python -m benchmarks.angle_accuracy``.

1. Made hands of known angles, right and left, hyperextension included, turned at random: largest error.
2. Bias and spread under 1 mm of jitter per axis, by posture, against the unsigned form (the angle between two
   bones by arccos), which is what is usually worked out.
3. The same angles from the hand model's rotations and from its joints, on made playing hands.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.measures_invariance import KINDS, Kind, flat_joints
from pipeline.hand.angles import ANGLE_INFO, ANGLES, compute_angle_sigma, compute_angles
from pipeline.hand.joints import FINGERS, JOINTS, MANO_POSE_JOINTS, SIDES
from pipeline.hand.model import load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.measures.rotations import measure_rotations
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, pose_take

KNUCKLE_X_MM = {"index": -25.0, "middle": -5.0, "ring": 12.0, "pinky": 25.0}
LENGTHS_MM = {"index": (42, 25, 20), "middle": (45, 28, 21), "ring": (42, 26, 20), "pinky": (33, 19, 18)}
THUMB_MM = (45, 32, 25)
DRAWS = 100_000

POSTURES = {
    "straight": {"mcp": 0.0, "pip": 0.0, "dip": 0.0, "ip": 0.0},
    "playing": {"mcp": 25.0, "pip": 40.0, "dip": 15.0, "ip": 15.0},
    "fist": {"mcp": 60.0, "pip": 90.0, "dip": 50.0, "ip": 50.0},
    "hyperextended": {"mcp": -20.0, "pip": -12.0, "dip": -20.0, "ip": -15.0},
}
"""Flexion by joint, degrees; the thumb's CMC stands 30 out of the palm."""


def build_hands(angles: np.ndarray) -> np.ndarray:
    """Joints (T, 21, 3) in mm of right hands from angles (T, 20) in rad, bone by bone from the definitions.

    x to the little finger, y distal, z out of the back of the hand.
    """
    x, z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    joints = np.zeros((len(angles), 21, 3))

    def get(name: str) -> np.ndarray:
        return angles[:, ANGLES.index(name)]

    out, across = get("thumb_cmc_abduction"), get("thumb_cmc_flexion")
    along = np.stack([np.cos(out) * np.sin(across), np.cos(out) * np.cos(across), -np.sin(out)], axis=1)
    bends = [0 * out, get("thumb_mcp_flexion"), get("thumb_ip_flexion")]
    joints[:, 1:5] = _chain(np.array([-25.0, 20.0, -5.0]), along, z, bends, THUMB_MM)
    for finger, knuckle_x in KNUCKLE_X_MM.items():
        flexion = get(f"{finger}_mcp_flexion")
        side = get(f"{finger}_mcp_abduction") * (-1.0 if finger == "index" else 1.0)
        forward = np.stack([0 * flexion, np.cos(flexion), -np.sin(flexion)], axis=1)
        along = np.sin(side)[:, None] * x + np.cos(side)[:, None] * forward
        bends = [0 * flexion, get(f"{finger}_pip_flexion"), get(f"{finger}_dip_flexion")]
        first = JOINTS.index(f"{finger}_mcp")
        base = np.array([knuckle_x, 85.0, 0.0])
        joints[:, first : first + 4] = _chain(base, along, x, bends, LENGTHS_MM[finger])
    return joints


def _chain(
    base: np.ndarray, along: np.ndarray, axis: np.ndarray, bends: list[np.ndarray], lengths: tuple[int, ...]
) -> np.ndarray:
    """Points (T, 4, 3) of a finger that bends about ``axis`` less its part along the first bone."""
    hinge = axis - (along @ axis)[:, None] * along
    hinge /= np.linalg.norm(hinge, axis=1, keepdims=True)
    points, direction = [np.broadcast_to(base, along.shape)], along
    for length, bend in zip(lengths, bends, strict=True):
        direction = Rotation.from_rotvec(-bend[:, None] * hinge).apply(direction)
        points.append(points[-1] + length * direction)
    return np.stack(points, axis=1)


def check_exactness(count: int = 5000) -> None:
    random = np.random.default_rng(0)
    wanted = np.stack(
        [
            random.uniform(-25, 25, count) if info.movement == "abduction" else random.uniform(-30, 65, count)
            for info in ANGLE_INFO.values()
        ],
        axis=1,
    )
    right = build_hands(np.radians(wanted))
    turned = np.einsum("tij,tkj->tki", Rotation.random(count, random).as_matrix(), right)
    for side in SIDES:
        joints = mirror_points(turned) if side == "left" else turned
        away = np.degrees(compute_angles(joints, side)) - wanted
        over = (wanted[:, ANGLES.index("thumb_mcp_flexion")] < 0).mean()
        print(
            f"{count} random {side} hands, each joint hyperextended in {over:.0%}: largest error "
            f"{np.abs(away).max():.1e}°"
        )


def check_bias() -> None:
    print(f"1 mm of jitter per axis, {DRAWS} draws a posture and side; flexion and abduction, 20 angles")
    random = np.random.default_rng(1)
    for name, flexion in POSTURES.items():
        parts = [info.joint.split("_")[1] for info in ANGLE_INFO.values()]
        wanted = np.array([flexion.get(part, 0.0) for part in parts])
        wanted[[info.movement == "abduction" for info in ANGLE_INFO.values()]] = 5.0
        wanted[ANGLES.index("thumb_cmc_abduction")] = 30.0
        hand = build_hands(np.radians(wanted)[None])
        for side in SIDES:
            joints = mirror_points(hand) if side == "left" else hand
            noisy = joints + random.normal(0, 1, (DRAWS, 21, 3))
            away = np.degrees(compute_angles(noisy, side)) - wanted
            bias, spread = np.nanmean(away, axis=0), np.nanstd(away, axis=0)
            stated = np.degrees(compute_angle_sigma(joints, np.ones((1, 21)), side)[0])
            worst = int(np.abs(bias).argmax())
            print(
                f"  {name}, {side}: largest bias {bias[worst]:+.2f} ± {spread[worst] / np.sqrt(DRAWS):.2f}° "
                f"({ANGLES[worst]}); spread {spread.min():.1f} to {spread.max():.1f}°, stated within "
                f"{np.abs(stated / spread - 1).max():.0%}; unsigned form {_unsigned_bias(noisy, joints)}"
            )


def _unsigned_bias(noisy: np.ndarray, joints: np.ndarray) -> str:
    """Bias of arccos at PIP and DIP, mean of the four fingers, against its own noiseless value."""
    words = []
    for part, offset in (("PIP", 1), ("DIP", 2)):
        away = []
        for finger in FINGERS[1:]:
            at = JOINTS.index(f"{finger}_mcp") + offset
            away.append(_bend(noisy, at).mean() - _bend(joints, at)[0])
        words.append(f"{part} {np.mean(away):+.1f}°")
    return ", ".join(words)


def _bend(joints: np.ndarray, at: int) -> np.ndarray:
    before, after = joints[:, at] - joints[:, at - 1], joints[:, at + 1] - joints[:, at]
    cosine = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def check_rotations(kind: Kind) -> None:
    for side in SIDES:
        spec = SynthSpec(seconds=30.0, seed=5, kind=kind, side=side, calibration=False)
        take = make_take(spec, load_hand_model())
        _, joints, parameters = pose_take(take, spec.frame_times_s())
        turned = measure_rotations(parameters["hand_pose"], flat_joints(take))
        seen = np.degrees(compute_angles(joints, side))
        away: dict[str, list[np.ndarray]] = {"fingers": [], "abduction": [], "thumb": []}
        for column, joint in enumerate(MANO_POSE_JOINTS):
            of_bend = turned.bend[:, column] - seen[:, ANGLES.index(f"{joint}_flexion")]
            away["thumb" if joint.startswith("thumb") else "fingers"].append(of_bend)
            if f"{joint}_abduction" in ANGLES:
                of_spread = turned.spread[:, column] - seen[:, ANGLES.index(f"{joint}_abduction")]
                away["abduction"].append(of_spread)
        words = []
        for name, parts in away.items():
            values = np.abs(np.concatenate(parts))
            values = values[np.isfinite(values)]
            words.append(f"{name} median {np.median(values):.2f}°, most {values.max():.1f}°")
        print(f"model's rotations against joints, {kind}, {side}: {'; '.join(words)}")


def main() -> None:
    check_exactness()
    check_bias()
    for kind in KINDS:
        check_rotations(kind)


if __name__ == "__main__":
    main()
