import copyreg
import io
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.errors import ModelError
from pipeline.files import read_npz
from pipeline.hand.joints import BONES, JOINTS, MANO_POSE_JOINTS
from pipeline.hand.model import MANO_TIP_VERTICES, load_hand_model
from settings import get_settings

seeds = st.integers(0, 2**32 - 1)
quick = settings(deadline=None, max_examples=15)


@pytest.fixture(scope="module")
def model():
    return load_hand_model(get_settings().models_dir)


def draw(seed: int, frames: int = 2) -> dict:
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(0.5 * rng.normal(size=(frames * 15, 3))).as_matrix()
    return {
        "betas": rng.normal(size=10),
        "global_orient": Rotation.random(frames, rng=rng).as_matrix(),
        "hand_pose": turns.reshape(frames, 15, 3, 3),
        "transl_mm": 100 * rng.normal(size=(frames, 3)),
    }


@quick
@given(seeds)
def test_translation_shifts_everything_alike(model, seed):
    pose = draw(seed)
    vertices, joints = model.pose_arrays(**pose)
    shift = np.array([12.0, -7.0, 300.0])
    moved = model.pose_arrays(**{**pose, "transl_mm": pose["transl_mm"] + shift})
    np.testing.assert_allclose(moved[0], vertices + shift, atol=2e-3)
    np.testing.assert_allclose(moved[1], joints + shift, atol=2e-3)


@quick
@given(seeds)
def test_turning_the_whole_hand_turns_it_about_its_wrist(model, seed):
    pose = draw(seed)
    turn = Rotation.random(rng=np.random.default_rng(seed + 1)).as_matrix()
    _, joints = model.pose_arrays(**pose)
    _, turned = model.pose_arrays(**{**pose, "global_orient": turn @ pose["global_orient"]})
    np.testing.assert_allclose(turned - turned[:, :1], (joints - joints[:, :1]) @ turn.T, atol=2e-3)


@quick
@given(seeds)
def test_no_pose_changes_a_bone_but_the_last_which_ends_on_the_skin(model, seed):
    pose = draw(seed)
    flat = {**pose, "hand_pose": np.tile(np.eye(3), (2, 15, 1, 1))}

    def lengths(arguments: dict) -> np.ndarray:
        _, joints = model.pose_arrays(**arguments)
        return np.stack([np.linalg.norm(joints[:, b] - joints[:, a], axis=1) for a, b in BONES], axis=1)

    inner = [number for number, (_, end) in enumerate(BONES) if not JOINTS[end].endswith("tip")]
    np.testing.assert_allclose(lengths(pose)[:, inner], lengths(flat)[:, inner], rtol=1e-4)


def test_a_joint_turns_what_lies_beyond_it_and_nothing_else(model):
    flat = np.tile(np.eye(3), (1, 15, 1, 1))
    still = {"betas": np.zeros(10), "global_orient": np.eye(3)[None], "transl_mm": np.zeros((1, 3))}
    _, rest = model.pose_arrays(hand_pose=flat, **still)
    for number, name in enumerate(MANO_POSE_JOINTS):
        bent = flat.copy()
        bent[0, number] = Rotation.from_rotvec([0.3, 0.2, 0.4]).as_matrix()
        _, joints = model.pose_arrays(hand_pose=bent, **still)
        moved = np.linalg.norm(joints - rest, axis=2)[0] > 0.5
        joint = JOINTS.index(name)
        finger_end = (joint - 1) // 4 * 4 + 5
        assert set(np.flatnonzero(moved)) == set(range(joint + 1, finger_end)), name


def test_tips_are_points_of_the_surface(model):
    vertices, joints = model.pose_arrays(**draw(3))
    for finger, vertex in enumerate(model.tip_vertices):
        np.testing.assert_array_equal(joints[:, 4 + 4 * finger], vertices[:, vertex])


def test_the_flat_hand_lies_as_mano_lies(model):
    """Fingers to -x, back of the hand to +y, thumb to +z; the template's wrist is where it was."""
    eye = np.eye(3)[None]
    _, joints = model.pose_arrays(np.zeros(10), eye, np.tile(np.eye(3), (1, 15, 1, 1)), np.zeros((1, 3)))
    at = {name: joints[0, number] for number, name in enumerate(JOINTS)}
    assert at["middle_tip"][0] < at["wrist"][0] - 100
    assert at["thumb_tip"][2] > at["index_mcp"][2] > at["pinky_mcp"][2]
    wrist = (model.layer.J_regressor @ model.layer.v_template)[0].numpy() * 1000
    np.testing.assert_allclose(at["wrist"], wrist, atol=1e-3)


def test_the_outward_faces_enclose_a_hand(model):
    vertices, _ = model.pose_arrays(
        np.zeros(10), np.eye(3)[None], np.tile(np.eye(3), (1, 15, 1, 1)), np.zeros((1, 3))
    )
    a, b, c = (vertices[0, model.faces[:, corner]] for corner in range(3))
    volume_ml = np.einsum("fi,fi->", a, np.cross(b, c)) / 6 / 1000
    assert 100 < volume_ml < 800


def test_chunks_leave_no_seam(model):
    pose = draw(5, frames=7)
    whole, parts = model.pose_arrays(**pose), model.pose_arrays(**pose, chunk=3)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-4)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-4)


def test_betas_may_be_given_once_or_for_every_frame(model):
    pose = draw(6)
    repeated = {**pose, "betas": np.tile(pose["betas"], (2, 1))}
    np.testing.assert_array_equal(model.pose_arrays(**repeated)[1], model.pose_arrays(**pose)[1])


def test_the_pose_is_differentiable_in_every_argument(model):
    arguments = [torch.tensor(v, dtype=torch.float32, requires_grad=True) for v in draw(7).values()]
    _, joints = model.pose(*arguments)
    joints.square().sum().backward()
    for argument in arguments:
        assert argument.grad is not None
        assert float(argument.grad.abs().sum()) > 0


def test_no_model_at_all_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"No hand model .*`make setup`"):
        load_hand_model(tmp_path)


# --- a licensed MANO file --------------------------------------------------------------------------


class _Ch:
    """Stands in for chumpy's arrays while a file is made."""


@pytest.fixture
def chumpy(monkeypatch):
    """A module called chumpy that is there while the file is pickled and gone when it is read."""
    module = types.ModuleType("chumpy.ch")
    for name in ("Ch", "Select"):
        setattr(module, name, type(name, (_Ch,), {"__module__": "chumpy.ch"}))
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return module


def wrap(kind: type, **state) -> object:
    instance = kind()
    instance.__dict__.update(state)
    return instance


def make_mano(path: Path, chumpy, protocol: int, **changes) -> dict:
    """A file of MANO's form with the built-in hand inside, as Python 2 and chumpy left such files."""
    hand = read_npz(get_settings().models_dir / "builtin" / "hand.npz")
    vertices = len(hand["v_template"])
    shapes = wrap(chumpy.Ch, x=hand["shapedirs"])
    raw = {
        "v_template": hand["v_template"],
        "f": hand["f"].astype(np.uint32),
        "J_regressor": scipy.sparse.csc_matrix(hand["J_regressor"]),
        "weights": hand["weights"],
        "shapedirs": wrap(
            chumpy.Select, a=shapes, idxs=np.arange(vertices * 30), preferred_shape=(vertices, 3, 10)
        ),
        "posedirs": hand["posedirs"],
        "kintree_table": np.stack([[2**32 - 1, *hand["kintree_table"][0, 1:]], np.arange(16)]).astype(
            np.uint32
        ),
        "hands_components": hand["hands_components"],
        "hands_mean": hand["hands_mean"],
        "bs_style": "lbs",
        **changes,
    }
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(raw, protocol=protocol))
    return hand


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_mano_file_of_python_2_and_chumpy_is_read_and_preferred(tmp_path, chumpy, monkeypatch, protocol):
    hand = make_mano(tmp_path / "mano" / "MANO_RIGHT.pkl", chumpy, protocol)
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    model = load_hand_model(tmp_path)
    assert model.name == "MANO"
    assert model.tip_vertices == MANO_TIP_VERTICES
    np.testing.assert_allclose(model.layer.shapedirs, hand["shapedirs"], atol=1e-7)
    np.testing.assert_allclose(model.layer.J_regressor, hand["J_regressor"], atol=1e-6)
    assert int(model.layer.parents[0]) == -1


def test_mano_poses_are_absolute(tmp_path, chumpy):
    """No mean pose is added, whatever the file's says: the flat hand is the identity."""
    make_mano(tmp_path / "mano" / "MANO_RIGHT.pkl", chumpy, 2, hands_mean=np.full(45, 0.3))
    flat = np.zeros(10), np.eye(3)[None], np.tile(np.eye(3), (1, 15, 1, 1)), np.zeros((1, 3))
    vertices, _ = load_hand_model(tmp_path).pose_arrays(*flat)
    wanted, _ = load_hand_model(get_settings().models_dir).pose_arrays(*flat)
    np.testing.assert_allclose(vertices, wanted, atol=1e-3)


class _Runs:
    def __reduce__(self):
        return print, ("code of a stranger",)


def test_a_mano_file_that_would_run_code_is_refused(tmp_path, chumpy, capsys):
    make_mano(tmp_path / "mano" / "MANO_RIGHT.pkl", chumpy, 2, bs_type=_Runs())
    with pytest.raises(ModelError, match=r"print.* not opened"):
        load_hand_model(tmp_path)
    assert "stranger" not in capsys.readouterr().out


def test_rebuilding_an_object_does_not_open_a_way_to_other_classes(tmp_path):
    out = io.BytesIO()
    pickle.Pickler(out, protocol=2).dump({"f": _Reconstructed()})
    path = tmp_path / "mano" / "MANO_RIGHT.pkl"
    path.parent.mkdir()
    path.write_bytes(out.getvalue())
    with pytest.raises(ModelError, match="not opened"):
        load_hand_model(tmp_path)


class _Reconstructed:
    def __reduce__(self):
        rebuild = vars(copyreg)["_reconstructor"]
        return rebuild, (types.SimpleNamespace, object, None)


def test_a_file_that_is_no_pickle_is_refused_by_name(tmp_path):
    path = tmp_path / "mano" / "MANO_RIGHT.pkl"
    path.parent.mkdir()
    path.write_bytes(b"<html>please log in</html>")
    with pytest.raises(ModelError, match=r"MANO_RIGHT\.pkl is not a MANO model"):
        load_hand_model(tmp_path)
