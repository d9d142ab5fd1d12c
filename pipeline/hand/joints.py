"""The 21 joints in the order of seed 000, appendix B, and how MANO's own order maps onto it."""

from __future__ import annotations

from typing import Literal

Side = Literal["right", "left"]
SIDES: tuple[Side, ...] = ("right", "left")

FINGERS: tuple[str, ...] = ("thumb", "index", "middle", "ring", "pinky")

FINGER_NAMES: dict[str, str] = {
    "thumb": "thumb",
    "index": "index finger",
    "middle": "middle finger",
    "ring": "ring finger",
    "pinky": "little finger",
}
"""What sentences call the fingers."""

JOINTS: tuple[str, ...] = (
    "wrist",
    "thumb_cmc",
    "thumb_mcp",
    "thumb_ip",
    "thumb_tip",
    "index_mcp",
    "index_pip",
    "index_dip",
    "index_tip",
    "middle_mcp",
    "middle_pip",
    "middle_dip",
    "middle_tip",
    "ring_mcp",
    "ring_pip",
    "ring_dip",
    "ring_tip",
    "pinky_mcp",
    "pinky_pip",
    "pinky_dip",
    "pinky_tip",
)
"""Names of the 21 joints: the stable ids of tables, links and exports."""

N_JOINTS = len(JOINTS)

PARTS: dict[str, list[int]] = {
    part: [number for number, joint in enumerate(JOINTS) if joint.startswith(part)]
    for part in ("wrist", *FINGERS)
}
"""The joints, as indices into `JOINTS`, of the wrist and of each finger."""

PALM: tuple[int, ...] = (0, 1, 5, 9, 13, 17)
"""The joints that move with the wrist as one: the wrist, the thumb's CMC and four knuckles."""

BONES: tuple[tuple[int, int], ...] = tuple(
    (0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, N_JOINTS)
)
"""The 20 bones as (parent, child) indices into `JOINTS`."""

MANO_PARENTS: tuple[int, ...] = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""Parent of each of MANO's 16 joints. MANO's order: wrist, index, middle, PINKY, RING, thumb."""

JOINTS_FROM_MANO: tuple[int, ...] = (
    0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20,
)  # fmt: skip
"""``joints21 = mano21[JOINTS_FROM_MANO]``, where ``mano21`` is MANO's 16 joints and then the five
tips in the order thumb, index, middle, ring, pinky (as smplx appends them)."""

MANO_POSE_JOINTS: tuple[str, ...] = (
    "index_mcp",
    "index_pip",
    "index_dip",
    "middle_mcp",
    "middle_pip",
    "middle_dip",
    "pinky_mcp",
    "pinky_pip",
    "pinky_dip",
    "ring_mcp",
    "ring_pip",
    "ring_dip",
    "thumb_cmc",
    "thumb_mcp",
    "thumb_ip",
)
"""The joint that each of the 15 rotations of ``hand_pose`` turns, in MANO's order."""


def get_finger(joint: str) -> str | None:
    """The finger a joint belongs to, or None for the wrist."""
    finger = joint.split("_")[0]
    return finger if finger in FINGERS else None
