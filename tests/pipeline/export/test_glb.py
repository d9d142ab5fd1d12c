"""The moving 3D hand: its bones stand where the joints were, on both sides, and its skin follows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from hypothesis import given, settings
from scipy.spatial.transform import Rotation

from pipeline.errors import ModelError
from pipeline.export import bones, glb
from pipeline.export.source import ExportSource, pose_mean_hand
from pipeline.hand.joints import JOINTS, Side
from pipeline.hand.model import load_hand_model
from pipeline.hand.rotations import mirror_points
from tests.pipeline.export.made import make_source, odd_sources

SIZES = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
KINDS = {5126: "<f4", 5121: "<u1", 5125: "<u4"}
Y_DOWN = np.array([1.0, -1.0, -1.0])


def load(source: ExportSource) -> pygltflib.GLTF2:
    with tempfile.TemporaryDirectory() as folder:
        glb.write(source, Path(folder))
        return pygltflib.GLTF2().load_binary(str(Path(folder) / "hand.glb"))


def read_accessor(document: pygltflib.GLTF2, number: int) -> np.ndarray:
    accessor = document.accessors[number]
    view = document.bufferViews[accessor.bufferView]
    size = SIZES[accessor.type]
    data = np.frombuffer(
        document.binary_blob(), KINDS[accessor.componentType], accessor.count * size, view.byteOffset
    )
    return data.reshape(accessor.count, size).astype(float)


def pose_nodes(document: pygltflib.GLTF2, side: str, moment: int) -> dict[str, np.ndarray]:
    """Each node's transform to the scene (4, 4) at key ``moment`` of one hand, by glTF's own rules."""
    local = {
        i: {"translation": node.translation, "rotation": node.rotation, "scale": node.scale}
        for i, node in enumerate(document.nodes)
    }
    animation = document.animations[0]
    for channel in animation.channels:
        own = document.nodes[channel.target.node].name.startswith(side)
        if own and channel.target.path != "scale":
            keys = read_accessor(document, animation.samplers[channel.sampler].output)
            local[channel.target.node][channel.target.path] = keys[moment]
    found: dict[str, np.ndarray] = {}

    def walk(number: int, above: np.ndarray) -> None:
        values = local[number]
        matrix = np.eye(4)
        if values["rotation"] is not None:
            matrix[:3, :3] = Rotation.from_quat(values["rotation"]).as_matrix()
        if values["translation"] is not None:
            matrix[:3, 3] = values["translation"]
        found[document.nodes[number].name] = above @ matrix
        for child in document.nodes[number].children or []:
            walk(child, found[document.nodes[number].name])

    for root in document.scenes[0].nodes:
        walk(root, np.eye(4))
    return found


def joints_of(document: pygltflib.GLTF2, side: str, moment: int) -> np.ndarray:
    """Joints (21, 3) in mm in the world of the reference camera."""
    nodes = pose_nodes(document, side, moment)
    return np.array([nodes[f"{side}_{joint}"][:3, 3] for joint in JOINTS]) * 1000 * Y_DOWN


@settings(max_examples=8)
@given(odd_sources)
def test_the_bones_stand_where_the_mean_hands_joints_are(source: ExportSource) -> None:
    document = load(source)
    for side, hand in source.hands.items():
        shown = np.flatnonzero(np.isfinite(hand.joints_mm[:, 0]).all(axis=1))
        wanted = pose_mean_hand(hand, side, source.models)
        for moment, frame in enumerate(shown):
            assert joints_of(document, side, moment) == pytest.approx(wanted[frame], abs=1e-3)


@pytest.mark.parametrize("side", ["right", "left"])
def test_with_the_persons_own_shape_the_bones_are_the_measured_joints(side: Side) -> None:
    source = replace(make_source((side,), gaps=0.0), own_shape=True)
    document = load(source)
    for frame in (0, 5, 11):
        wanted = source.hands[side].joints_mm[frame]
        assert joints_of(document, side, frame) == pytest.approx(wanted, abs=1e-3)
    assert document.asset.extras["shape"] == "the person's own"


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_skin_is_the_hand_models(side: Side) -> None:
    source = replace(make_source((side,), gaps=0.0, n_frames=3), own_shape=True)
    document, hand, model = load(source), source.hands[side], load_hand_model()
    wanted, joints = model.pose_arrays(hand.betas, hand.global_orient, hand.hand_pose, np.zeros((3, 3)))
    wanted = wanted - joints[:, :1]
    wanted = mirror_points(wanted) if side == "left" else wanted
    skin = document.skins[0]
    inverse = read_accessor(document, skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    primitive = document.meshes[0].primitives[0]
    points = read_accessor(document, primitive.attributes.POSITION)
    order = read_accessor(document, primitive.attributes.JOINTS_0).astype(int)
    weights = read_accessor(document, primitive.attributes.WEIGHTS_0)
    homogeneous = np.c_[points, np.ones(len(points))]
    nodes = pose_nodes(document, side, 2)
    moves = np.array([nodes[document.nodes[j].name] for j in skin.joints]) @ inverse
    posed = np.einsum("vk,vkab,vb->va", weights, moves[order], homogeneous)[:, :3] * 1000 * Y_DOWN
    assert posed == pytest.approx(wanted[2] + hand.joints_mm[2, 0], abs=2e-3)
    faces = read_accessor(document, primitive.indices).astype(int).reshape(-1, 3)
    a, b, c = (posed[faces[:, k]] for k in range(3))
    volume = np.einsum("fi,fi->", a - posed.mean(0), np.cross(b - posed.mean(0), c - posed.mean(0)))
    right = wanted[2] if side == "right" else mirror_points(wanted[2])
    a, b, c = (right[model.faces[:, k]] - right.mean(0) for k in range(3))
    assert volume == pytest.approx(np.einsum("fi,fi->", a, np.cross(b, c)), rel=1e-3)


def test_frames_without_a_hand_are_hidden_and_have_no_pose() -> None:
    source = make_source(n_frames=10, gaps=0.0)
    source.hands["right"].joints_mm[3:6] = np.nan
    document = load(source)
    animation = document.animations[0]
    (hiding,) = [c for c in animation.channels if c.target.path == "scale"]
    sampler = animation.samplers[hiding.sampler]
    assert sampler.interpolation == "STEP"
    moments = read_accessor(document, sampler.input)[:, 0]
    assert moments == pytest.approx(np.array([0, 3, 6]) / float(source.rate), abs=1e-6)
    assert read_accessor(document, sampler.output)[:, 0].tolist() == [1, 0, 1]
    moved = [c for c in animation.channels if c.target.path == "rotation"]
    assert {document.accessors[animation.samplers[c.sampler].input].count for c in moved} == {7}


def test_another_reader_opens_it(tmp_path: Path) -> None:
    source = make_source(("right", "left"), n_frames=3)
    glb.write(source, tmp_path)
    scene = trimesh.load_scene(tmp_path / "hand.glb")
    model = load_hand_model()
    meshes = [mesh for mesh in scene.geometry.values() if hasattr(mesh, "faces")]
    assert [len(mesh.faces) for mesh in meshes] == [len(model.faces)] * 2


def test_the_shape_is_the_mean_hands_whoever_it_was() -> None:
    lengths = []
    for seed in (1, 2):
        document = load(make_source(n_frames=2, gaps=0.0, seed=seed))
        joints = joints_of(document, "right", 0)
        lengths.append(np.linalg.norm(joints[8] - joints[7]))
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-3)


def test_a_skin_that_may_not_be_passed_on_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bones, "SHARED_LICENCES", ())
    document = load(make_source(n_frames=2))
    assert [mesh.name for mesh in document.meshes] == ["right_bones"]


def test_a_run_of_another_hand_model_is_refused_in_words(tmp_path: Path) -> None:
    source = replace(make_source(n_frames=2), models=[{"role": "hand model", "name": "MANO", "sha256": "0"}])
    with pytest.raises(ModelError, match="MANO"):
        glb.write(source, tmp_path)
