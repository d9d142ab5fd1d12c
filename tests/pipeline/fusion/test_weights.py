import numpy as np
import pytest

from pipeline.fusion.weights import get_manual_weights, get_view_weights
from pipeline.hand.joints import JOINTS


def test_the_front_camera_is_trusted_throughout():
    assert (get_manual_weights("front", "right") == 1.0).all()


@pytest.mark.parametrize(
    ("camera", "joint", "weight"),
    [
        ("left", "wrist", 1.0),
        ("left", "index_tip", 1.0),
        ("left", "middle_mcp", 0.25),
        ("left", "middle_tip", 0.5),
        ("left", "ring_mcp", 0.125),
        ("left", "ring_tip", 0.25),
        ("left", "pinky_mcp", 0.0),
        ("right", "wrist", 1.0),
        ("right", "thumb_tip", 0.0),
        ("right", "index_mcp", 0.0),
        ("right", "middle_mcp", 0.125),
        ("right", "middle_pip", 0.25),
        ("right", "ring_mcp", 0.25),
        ("right", "ring_tip", 0.5),
        ("right", "pinky_tip", 1.0),
    ],
)
def test_side_cameras_have_the_weights_of_appendix_c(camera, joint, weight):
    assert get_manual_weights(camera, "right")[JOINTS.index(joint)] == weight


def test_for_a_left_hand_the_side_cameras_swap_roles():
    assert (get_manual_weights("left", "left") == get_manual_weights("right", "right")).all()
    assert (get_manual_weights("right", "left") == get_manual_weights("left", "right")).all()
    assert (get_manual_weights("front", "left") == 1.0).all()


def test_a_camera_of_another_name_is_trusted_throughout():
    assert (get_manual_weights("ceiling", "right") == 1.0).all()


def test_a_silenced_view_speaks_only_where_a_joint_would_be_left_to_one_view():
    seen = np.ones((3, 2, 21), dtype=bool)
    seen[2, 1] = False  # the right camera loses the hand in the second frame
    weights = get_view_weights(("front", "left", "right"), "right", seen, 0.05)
    pinky = JOINTS.index("pinky_tip")
    assert weights[:, 0, pinky].tolist() == [1.0, 0.0, 1.0]
    assert weights[:2, 1, pinky].tolist() == [1.0, 0.05]
