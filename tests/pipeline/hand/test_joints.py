from pipeline.hand.joints import (
    BONES,
    JOINTS,
    JOINTS_FROM_MANO,
    MANO_PARENTS,
    MANO_POSE_JOINTS,
    get_finger,
)


def test_manos_joints_land_on_their_own_names():
    tips = ("thumb_tip", "index_tip", "middle_tip", "ring_tip", "pinky_tip")
    mano = ("wrist", *MANO_POSE_JOINTS, *tips)
    assert tuple(mano[i] for i in JOINTS_FROM_MANO) == JOINTS


def test_every_bone_joins_neighbours_of_one_finger_and_bases_hang_on_the_wrist():
    for parent, child in BONES:
        if parent == 0:
            assert get_finger(JOINTS[parent]) is None
        else:
            assert get_finger(JOINTS[parent]) == get_finger(JOINTS[child])
            assert child == parent + 1
    assert len(BONES) == 20


def test_manos_parents_agree_with_its_joint_names():
    names = ("wrist", *MANO_POSE_JOINTS)
    for joint, parent in enumerate(MANO_PARENTS[1:], start=1):
        if parent:
            assert get_finger(names[joint]) == get_finger(names[parent])
