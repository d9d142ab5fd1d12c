"""Signed joint angles of the hand from its 21 joints, and how sure they are.

The sign rule, the same for both hands: **flexion +, hyperextension -, abduction away from the middle
finger +**. Left hands are mirrored first, so that equal postures have equal angles. The 21 joints have no
forearm, so wrist angles cannot be worked out.

The palm's frame, from the wrist and the knuckles of index and little finger (right hand): ``y`` distal,
``n`` out of the back of the hand, ``x`` towards the little finger. From it:

- finger MCP flexion: the proximal phalanx turned out of the palm's plane, about ``x``;
- finger MCP abduction: its angle to the plane of ``y`` and ``n``. The middle finger's own is + towards the
  little finger. Undefined where the finger points along ``n``, so it is NaN beyond `MAX_ELEVATION_DEG` of MCP
  flexion;
- PIP and DIP flexion: the bend about the finger's hinge, ``x`` less its part along the proximal phalanx;
- thumb CMC flexion: the metacarpal's direction within the palm's plane, 0 along ``y``, + towards the little
  finger (so radial abduction is -). NaN where the metacarpal points along ``n`` (beyond `MAX_ELEVATION_DEG`);
- thumb CMC abduction: the metacarpal out of the palm's plane, + towards the palm's side (palmar abduction);
- thumb MCP and IP flexion: the bend about the thumb's hinge, ``n`` less its part along the metacarpal: at
  rest the thumbnail stands upright on the palm's plane. A thumb that is pronated in opposition bends partly
  out of this plane, and that part is not counted.

A hinge axis keeps the sign near full extension, where the unsigned arccos form folds hyperextension over and
is biased by several degrees by a millimetre of jitter. Zero is this geometry's zero, not a goniometer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.hand.joints import FINGER_NAMES, FINGERS, JOINTS, Side

MAX_ELEVATION_DEG = 70.0
"""Beyond this angle out of the palm's plane a sideways angle is not defined well enough to be reported."""

_FINGERS_2_TO_5 = FINGERS[1:]
_STEP_MM = 1e-3


@dataclass(frozen=True)
class Angle:
    """One of the 20 angles.

    Attributes
    ----------
    id : str
        Stable name of tables, links and exports, such as "index_pip_flexion".
    label : str
        In words: "index finger PIP flexion".
    finger : str
        One of `pipeline.hand.joints.FINGERS`.
    joint : str
        The joint that bends, one of `pipeline.hand.joints.JOINTS`: where maps and the 3D hand show it.
    movement : "flexion" | "abduction"
    more, less : str
        What a larger and a smaller angle are called: "more flexed", "more extended".
    """

    id: str
    label: str
    finger: str
    joint: str
    movement: str
    more: str
    less: str


def _describe(finger: str, part: str, movement: str) -> Angle:
    more, less = "more flexed", "more extended"
    if movement == "abduction":
        more, less = {
            "thumb": ("further out of the palm", "closer to the plane of the palm"),
            "middle": ("further to the little finger's side", "further to the thumb's side"),
        }.get(finger, ("further from the middle finger", "closer to the middle finger"))
    return Angle(
        id=f"{finger}_{part}_{movement}",
        label=f"{FINGER_NAMES[finger]} {part.upper()} {movement}",
        finger=finger,
        joint=f"{finger}_{part}",
        movement=movement,
        more=more,
        less=less,
    )


_THUMB_PARTS = (("cmc", "flexion"), ("cmc", "abduction"), ("mcp", "flexion"), ("ip", "flexion"))
_FINGER_PARTS = (("mcp", "flexion"), ("mcp", "abduction"), ("pip", "flexion"), ("dip", "flexion"))

ANGLE_INFO: dict[str, Angle] = {
    angle.id: angle
    for angle in (
        _describe(finger, part, movement)
        for finger in FINGERS
        for part, movement in (_THUMB_PARTS if finger == "thumb" else _FINGER_PARTS)
    )
}
"""The 20 angles by id, thumb to little finger."""

ANGLES: tuple[str, ...] = tuple(ANGLE_INFO)
"""Ids of the 20 angles, in the order of the columns of `compute_angles`."""


def compute_angles(joints_mm: np.ndarray, side: Side) -> np.ndarray:
    """The 20 signed angles in rad.

    Parameters
    ----------
    joints_mm : ndarray (T, 21, 3)
        Joints of the hand as it is, in any right-handed frame (the world of the reference camera). NaN = not
        measured.
    side : "right" | "left"
        Which hand it is; left hands are mirrored here.

    Returns
    -------
    ndarray (T, 20)
        In the order of `ANGLES`; float64. NaN where a joint that the angle needs is NaN (all need wrist and
        the MCP joints of index and little finger), and where the angle is undefined (see the module).
    """
    return _blank_undefined(_raw_angles(mirror_to_right(joints_mm, side)))


def compute_angle_sigma(joints_mm: np.ndarray, joint_sigma_mm: np.ndarray, side: Side) -> np.ndarray:
    """Standard deviation of each angle in rad, from that of the joints, to first order.

    The derivative of every angle by every coordinate it depends on is taken numerically; joints are
    taken as independent, with equal variance along the three axes.

    Parameters
    ----------
    joints_mm : ndarray (T, 21, 3)
        As in `compute_angles`.
    joint_sigma_mm : ndarray (T, 21)
        Standard deviation per axis. NaN = not known.
    side : "right" | "left"
        Which hand it is.

    Returns
    -------
    ndarray (T, 20)
        NaN where the angle is NaN or the sigma of a joint it depends on is.
    """
    joints = mirror_to_right(joints_mm, side)
    sigma = np.asarray(joint_sigma_mm, dtype=float)
    base = _raw_angles(joints)
    variance = np.zeros_like(base)
    for group, of_angle, depends in _independent_groups():
        for axis in range(3):
            moved = joints.copy()
            moved[:, group, axis] += _STEP_MM
            slope = _wrap(_raw_angles(moved) - base) / _STEP_MM
            variance[:, depends] += (slope * sigma[:, of_angle])[:, depends] ** 2
    variance[np.isnan(_blank_undefined(base))] = np.nan
    return np.sqrt(variance)


def mirror_to_right(joints_mm: np.ndarray, side: Side) -> np.ndarray:
    """A copy of the joints (T, 21, 3) as those of a right hand: a left one is mirrored."""
    joints = np.array(joints_mm, dtype=float)
    if side == "left":
        joints[..., 0] *= -1.0  # mirrored at any plane, a left hand is a right one with the same angles
    return joints


def _raw_angles(joints: np.ndarray) -> np.ndarray:
    """All 20 angles (T, 20) in rad of right hands (T, 21, 3), undefined ones included."""
    x, y, n = find_palm_frame(joints)
    columns = [*_thumb_angles(joints, x, y, n)]
    for finger in _FINGERS_2_TO_5:
        columns += _finger_angles(joints, finger, x, y, n)
    return np.stack(columns, axis=1)


def find_palm_frame(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of right hands (T, 21, 3): ``x`` to the little finger, ``y`` distal, ``n`` dorsal; each (T, 3)."""
    index = joints[:, JOINTS.index("index_mcp")] - joints[:, 0]
    pinky = joints[:, JOINTS.index("pinky_mcp")] - joints[:, 0]
    y = _unit(index + pinky)
    n = -_cross(index, pinky)
    n = _unit(n - _dot(n, y)[:, None] * y)
    return _cross(y, n), y, n


def _finger_angles(
    joints: np.ndarray, finger: str, x: np.ndarray, y: np.ndarray, n: np.ndarray
) -> list[np.ndarray]:
    first = JOINTS.index(f"{finger}_mcp")
    proximal, middle, distal = (joints[:, first + i + 1] - joints[:, first + i] for i in range(3))
    along = _unit(proximal)
    hinge = _unit(x - _dot(x, along)[:, None] * along)
    outward = -1.0 if finger == "index" else 1.0
    return [
        np.arctan2(-_dot(proximal, n), _dot(proximal, y)),
        outward * np.arcsin(np.clip(_dot(along, x), -1.0, 1.0)),
        _bend(proximal, middle, hinge),
        _bend(middle, distal, hinge),
    ]


def _thumb_angles(joints: np.ndarray, x: np.ndarray, y: np.ndarray, n: np.ndarray) -> list[np.ndarray]:
    first = JOINTS.index("thumb_cmc")
    metacarpal, proximal, distal = (joints[:, first + i + 1] - joints[:, first + i] for i in range(3))
    along = _unit(metacarpal)
    hinge = _unit(n - _dot(n, along)[:, None] * along)
    return [
        np.arctan2(_dot(metacarpal, x), _dot(metacarpal, y)),
        np.arcsin(np.clip(-_dot(along, n), -1.0, 1.0)),
        _bend(metacarpal, proximal, hinge),
        _bend(proximal, distal, hinge),
    ]


def _bend(proximal: np.ndarray, distal: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """Signed angle (T,) from one segment to the next about a hinge, flexion +."""
    return np.arctan2(-_dot(_cross(proximal, distal), hinge), _dot(proximal, distal))


def _blank_undefined(angles: np.ndarray) -> np.ndarray:
    """A copy in which sideways angles of segments that point out of the palm's plane are NaN."""
    blanked = angles.copy()
    for blank, by in _BLANKED_BY:
        blanked[np.abs(angles[:, by]) > np.radians(MAX_ELEVATION_DEG), blank] = np.nan
    return blanked


_BLANKED_BY: tuple[tuple[int, int], ...] = (
    (ANGLES.index("thumb_cmc_flexion"), ANGLES.index("thumb_cmc_abduction")),
    *(
        (ANGLES.index(f"{finger}_mcp_abduction"), ANGLES.index(f"{finger}_mcp_flexion"))
        for finger in _FINGERS_2_TO_5
    ),
)


def _needed_joints(angle: Angle) -> set[int]:
    """The joints whose place the angle depends on."""
    chain = [JOINTS.index(f"{angle.finger}_{part}") for part in _parts(angle.finger)]
    reach = {"cmc": 2, "mcp": 2, "pip": 3, "dip": 4, "ip": 4}[angle.joint.split("_")[1]]
    if angle.finger == "thumb" and angle.joint == "thumb_mcp":
        reach = 3
    palm = {0, JOINTS.index("index_mcp"), JOINTS.index("pinky_mcp")}
    return palm | set(chain[:reach])


def _parts(finger: str) -> tuple[str, ...]:
    return ("cmc", "mcp", "ip", "tip") if finger == "thumb" else ("mcp", "pip", "dip", "tip")


def _independent_groups() -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Joints that can be moved at once, since no angle depends on two of them.

    Yields the joints, the joint of the group that each angle (20,) depends on (or the group's first), and
    whether it depends on one at all (20,).
    """
    shared = [0, JOINTS.index("index_mcp"), JOINTS.index("pinky_mcp")]
    groups = [[joint] for joint in shared]
    for place in range(4):
        chain = [JOINTS.index(f"{finger}_{_parts(finger)[place]}") for finger in FINGERS]
        groups.append([joint for joint in chain if joint not in shared])
    for group in groups:
        hits = [_needed_joints(angle) & set(group) for angle in ANGLE_INFO.values()]
        of_angle = np.array([min(hit) if hit else group[0] for hit in hits])
        yield group, of_angle, np.array([bool(hit) for hit in hits])


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.sqrt(_dot(vector, vector))
    return vector / np.where(length > 0, length, np.nan)[:, None]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ti,ti->t", a, b)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # Written out: numpy's cross spends most of its time on axes and broadcasting.
    return np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )
