import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.files import read_npz
from pipeline.hand.builtin import GLB_IN_PACKAGE, SHAPE_DIRECTIONS, SHAPE_STEP, make_builtin_hand
from pipeline.hand.joints import JOINTS
from pipeline.hand.model import load_hand_model
from settings import get_settings


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    out = tmp_path_factory.mktemp("hand") / "hand.npz"
    make_builtin_hand(get_settings().node_modules / GLB_IN_PACKAGE, out)
    return read_npz(out)


def test_it_is_a_closed_surface_with_outward_faces(fields):
    vertices, faces = fields["v_template"], fields["f"]
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()
    corners = vertices[faces]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert 150e-6 < volume < 600e-6  # m³: an adult hand


def test_it_lies_in_manos_frame_as_a_right_hand(fields):
    joints = fields["J_regressor"] @ fields["v_template"]
    wrist, index, middle, pinky, thumb = joints[0], joints[1], joints[4], joints[7], joints[13]
    assert (middle - wrist)[0] < -0.05  # fingers to -x
    assert index[2] > pinky[2]  # palm down, fingers ahead: the index is on the thumb's side, +z
    assert thumb[2] > index[2]
    assert thumb[1] < middle[1]  # the back of the hand is up


def test_skin_weights_are_shares(fields):
    weights = fields["weights"]
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("finger", ["thumb", "index", "middle", "ring", "pinky"])
def test_a_finger_length_changes_that_finger_alone_and_by_its_share(finger):
    model = load_hand_model()
    if model.name != "built-in hand":
        pytest.skip("models/mano/MANO_RIGHT.pkl is there; this is about the built-in hand")
    eye = np.eye(3)[None]
    rest = (eye, np.broadcast_to(np.eye(3), (1, 15, 3, 3)), np.zeros((1, 3)))
    betas = np.zeros(10)
    _, before = model.pose_arrays(betas, *rest)
    betas[SHAPE_DIRECTIONS.index(f"{finger}_length")] = 1.0
    _, after = model.pose_arrays(betas, *rest)
    for name in ("thumb", "index", "middle", "ring", "pinky"):
        first = next(i for i, joint in enumerate(JOINTS) if joint.startswith(name))
        length_before = np.linalg.norm(np.diff(before[0, first : first + 4], axis=0), axis=1).sum()
        length_after = np.linalg.norm(np.diff(after[0, first : first + 4], axis=0), axis=1).sum()
        expected = 1 + SHAPE_STEP if name == finger else 1.0
        assert length_after / length_before == pytest.approx(expected, abs=2e-3)


def test_a_missing_mesh_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="make setup"):
        make_builtin_hand(tmp_path / "right.glb", tmp_path / "hand.npz")
    assert not (tmp_path / "hand.npz").exists()
