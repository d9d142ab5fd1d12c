"""GLB: the moving hand as bones and skin, for 3D programs, slides and teaching.

One file: for each side the 21 joints as nodes ("right_index_pip"), the skin where the model's licence lets it
be passed on, and the bones as lines. Metres and Y up, as glTF wants them; the root node turns the world.
The shape is the mean hand's unless the person's own was asked for: lengths of bones tell who somebody is.
Frames in which the hand was not measured have no pose; there the hand is scaled to nothing.
MANO's bulges of the skin with the pose are not in the file (the built-in hand has none); joints are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import roma
import torch

from pipeline.export.bones import Bones, load_model_of, rest_bones
from pipeline.export.source import ExportHand, ExportSource, state_provenance
from pipeline.files import replace_atomically, to_plain
from pipeline.hand.joints import BONES, JOINTS, Side
from pipeline.hand.rotations import mirror_rotations

HALF_TURN_ABOUT_X = [1.0, 0.0, 0.0, 0.0]
"""Quaternion (x, y, z, w) from the world (y down, z away) to glTF's (y up, z towards the viewer)."""

N_BONES = 16
_MM_PER_M = 1000.0
_VERTICES, _INDICES = 34962, 34963
"""glTF's numbers for what a part of the buffer is for."""
_BIND_JOINTS = 4
"""How many joints may move a vertex: more are not read by most viewers."""


def write(source: ExportSource, folder: Path) -> None:
    """Write ``hand.glb`` into a folder.

    Raises
    ------
    ModelError
        The hand model is not the one that the run was fused with.
    """
    model = load_model_of(source.models)
    scene = _Scene()
    root = scene.add_node("world", rotation=HALF_TURN_ABOUT_X)
    for side, hand in source.hands.items():
        shape = hand.betas if source.own_shape else np.zeros_like(hand.betas)
        _add_hand(scene, root, side, hand, rest_bones(model, side, shape), source.time_s)
    shape_words = "the person's own" if source.own_shape else "mean hand"
    extras = {**state_provenance(source), "shape": shape_words, "units": "m, Y up"}
    document = scene.build(to_plain(extras), f"Hand model: {model.name} ({model.licence})")
    with replace_atomically(folder / "hand.glb") as temporary:
        document.save_binary(str(temporary))


def _add_hand(
    scene: _Scene, root: int, side: Side, hand: ExportHand, bones: Bones, time_s: np.ndarray
) -> None:
    holder = scene.add_node(f"{side}_hand", parent=root)
    nodes: list[int] = []
    for name, parent, place in zip(bones.names, bones.parents, bones.places_m, strict=True):
        at = place if parent < 0 else place - bones.places_m[parent]
        above = holder if parent < 0 else nodes[parent]
        nodes.append(scene.add_node(f"{side}_{name}", parent=above, translation=at.tolist()))
    skin = scene.add_skin(nodes[:N_BONES], bones.places_m[:N_BONES])
    if bones.vertices_m is not None and bones.weights is not None and bones.faces is not None:
        mesh = scene.add_mesh(f"{side}_skin", bones.vertices_m, bones.weights, bones.faces)
        scene.add_node(f"{side}_skin", mesh=mesh, skin=skin)
    lines = scene.add_mesh(f"{side}_bones", *_line_bones(bones))
    scene.add_node(f"{side}_bones", mesh=lines, skin=skin)
    _animate(scene, holder, nodes, side, hand, time_s)


def _line_bones(bones: Bones) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (21, 3), weights (21, 16) and pairs (20, 2) of the bones; a tip moves with the joint before."""
    carrier = [i if i < N_BONES else bones.parents[i] for i in range(len(bones.names))]
    places = {name: i for i, name in enumerate(bones.names)}
    pairs = np.array([[places[JOINTS[a]], places[JOINTS[b]]] for a, b in BONES])
    return bones.places_m, np.eye(N_BONES)[carrier], pairs


def _animate(
    scene: _Scene, holder: int, nodes: list[int], side: Side, hand: ExportHand, time_s: np.ndarray
) -> None:
    """Rotations of 16 joints and the wrist's place at measured frames; the holder hides the others."""
    rotations = np.concatenate([hand.global_orient[:, None], hand.hand_pose], axis=1)
    if side == "left":
        rotations = mirror_rotations(rotations)
    wrist_m = hand.joints_mm[:, 0] / _MM_PER_M
    shown = np.isfinite(wrist_m).all(axis=1) & np.isfinite(rotations).all(axis=(1, 2, 3))
    moments_s = time_s - time_s[0]
    changes = np.concatenate([[True], shown[1:] != shown[:-1]])
    size = np.repeat(shown[changes].astype(float)[:, None], 3, axis=1)
    scene.add_channel(holder, "scale", moments_s[changes], size, "STEP")
    if not shown.any():
        return
    quaternions = _to_quaternions(rotations[shown])
    scene.add_channel(nodes[0], "translation", moments_s[shown], wrist_m[shown])
    for joint in range(N_BONES):
        scene.add_channel(nodes[joint], "rotation", moments_s[shown], quaternions[:, joint])


def _to_quaternions(rotations: np.ndarray) -> np.ndarray:
    """Rotations (T, J, 3, 3) as unit quaternions (T, J, 4) xyzw, whose signs do not jump."""
    found = roma.rotmat_to_unitquat(torch.as_tensor(rotations)).numpy()
    against = np.sum(found[1:] * found[:-1], axis=-1) < 0
    signs = np.concatenate([np.ones_like(found[:1, :, 0]), np.where(against, -1.0, 1.0)]).cumprod(axis=0)
    return np.asarray(found * signs[..., None])


# --- the file ------------------------------------------------------------------------------------


@dataclass
class _Scene:
    """A glTF document in the making: nodes, and one buffer that everything goes into."""

    nodes: list[pygltflib.Node] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    meshes: list[pygltflib.Mesh] = field(default_factory=list)
    skins: list[pygltflib.Skin] = field(default_factory=list)
    accessors: list[pygltflib.Accessor] = field(default_factory=list)
    views: list[pygltflib.BufferView] = field(default_factory=list)
    samplers: list[pygltflib.AnimationSampler] = field(default_factory=list)
    channels: list[pygltflib.AnimationChannel] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    times: dict[bytes, int] = field(default_factory=dict)

    def add_node(self, name: str, parent: int | None = None, **values: Any) -> int:
        """A node, below its parent or by itself (as skins are: their bones alone move them)."""
        self.nodes.append(pygltflib.Node(name=name, children=[], **values))
        number = len(self.nodes) - 1
        (self.roots if parent is None else self.nodes[parent].children).append(number)
        return number

    def add_skin(self, joints: list[int], places_m: np.ndarray) -> int:
        """A skin whose joints stand at these places (J, 3), unturned, when it is at rest."""
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        inverse[:, :3, 3] = -places_m
        columns_first = inverse.transpose(0, 2, 1).reshape(-1, 16)
        matrices = self._put(columns_first.astype("<f4"), pygltflib.MAT4)
        self.skins.append(pygltflib.Skin(joints=joints, inverseBindMatrices=matrices, skeleton=joints[0]))
        return len(self.skins) - 1

    def add_mesh(self, name: str, points_m: np.ndarray, weights: np.ndarray, cells: np.ndarray) -> int:
        """Triangles (F, 3) or lines (L, 2) whose points (V, 3) are moved by weights (V, 16)."""
        order = np.argsort(-weights, axis=1)[:, :_BIND_JOINTS]
        share = np.take_along_axis(weights, order, axis=1)
        share = share / share.sum(axis=1, keepdims=True)
        attributes = pygltflib.Attributes(
            POSITION=self._put(points_m.astype("<f4"), pygltflib.VEC3, True, _VERTICES),
            JOINTS_0=self._put(np.where(share > 0, order, 0).astype("<u1"), pygltflib.VEC4, target=_VERTICES),
            WEIGHTS_0=self._put(share.astype("<f4"), pygltflib.VEC4, target=_VERTICES),
        )
        indices = self._put(cells.astype("<u4").ravel(), pygltflib.SCALAR, target=_INDICES)
        mode = pygltflib.TRIANGLES if cells.shape[1] == 3 else pygltflib.LINES
        primitive = pygltflib.Primitive(attributes=attributes, indices=indices, mode=mode, material=0)
        self.meshes.append(pygltflib.Mesh(name=name, primitives=[primitive]))
        return len(self.meshes) - 1

    def add_channel(
        self, node: int, path: str, moments_s: np.ndarray, values: np.ndarray, how: str = "LINEAR"
    ) -> None:
        """One moving property of a node: values (K, 3 or 4) at ascending moments (K,)."""
        moments = moments_s.astype("<f4")
        if moments.tobytes() not in self.times:
            self.times[moments.tobytes()] = self._put(moments, pygltflib.SCALAR, bounds=True)
        kind = pygltflib.VEC4 if values.shape[1] == 4 else pygltflib.VEC3
        sampler = pygltflib.AnimationSampler(
            input=self.times[moments.tobytes()],
            output=self._put(values.astype("<f4"), kind),
            interpolation=how,
        )
        self.samplers.append(sampler)
        target = pygltflib.AnimationChannelTarget(node=node, path=path)
        self.channels.append(pygltflib.AnimationChannel(sampler=len(self.samplers) - 1, target=target))

    def build(self, extras: dict[str, Any], copyright_line: str) -> pygltflib.GLTF2:
        """The document, with what every export says of itself in ``asset.extras``."""
        grey = pygltflib.PbrMetallicRoughness(
            baseColorFactor=[0.75, 0.72, 0.7, 1.0], metallicFactor=0.0, roughnessFactor=0.8
        )
        document = pygltflib.GLTF2(
            asset=pygltflib.Asset(version="2.0", generator="ReDys", copyright=copyright_line, extras=extras),
            scene=0,
            scenes=[pygltflib.Scene(nodes=self.roots)],
            nodes=self.nodes,
            meshes=self.meshes,
            skins=self.skins,
            accessors=self.accessors,
            bufferViews=self.views,
            materials=[pygltflib.Material(pbrMetallicRoughness=grey, doubleSided=True)],
            animations=[pygltflib.Animation(name="movement", samplers=self.samplers, channels=self.channels)],
            buffers=[pygltflib.Buffer(byteLength=len(self.data))],
        )
        document.set_binary_blob(bytes(self.data))
        return document

    def _put(self, values: np.ndarray, kind: str, bounds: bool = False, target: int | None = None) -> int:
        """Append an array to the buffer, aligned to four bytes; returns its accessor."""
        component = {"<f4": 5126, "|u1": 5121, "<u4": 5125}[values.dtype.str]
        view = pygltflib.BufferView(
            buffer=0, byteOffset=len(self.data), byteLength=values.nbytes, target=target
        )
        self.data += values.tobytes() + bytes(-values.nbytes % 4)
        self.views.append(view)
        rows = values.reshape(len(values), -1)
        accessor = pygltflib.Accessor(
            bufferView=len(self.views) - 1,
            componentType=component,
            count=len(values),
            type=kind,
            min=rows.min(axis=0).tolist() if bounds else None,
            max=rows.max(axis=0).tolist() if bounds else None,
        )
        self.accessors.append(accessor)
        return len(self.accessors) - 1
