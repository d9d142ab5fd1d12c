"""The built-in hand: a stand-in for MANO made from a free mesh, in MANO's own format.

The generic right hand of the npm package ``@webxr-input-profiles/assets`` (MIT) has 25 joints and skin
weights. Here its seams are welded, it is turned into MANO's template frame (fingers to -x, back of the
hand to +y, thumb to +z), its joints are reduced to MANO's 16, and ten shape directions are added.
Made at set-up by ``python -m pipeline hand-model``; never committed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pygltflib
from scipy.spatial import cKDTree

from pipeline.errors import ModelError
from pipeline.files import write_npz
from pipeline.hand.joints import FINGERS, MANO_PARENTS, MANO_POSE_JOINTS

GLB_IN_PACKAGE = "@webxr-input-profiles/assets/dist/profiles/generic-hand/right.glb"

SHAPE_DIRECTIONS: tuple[str, ...] = (
    "size",
    "palm_length",
    "palm_width",
    "thumb_length",
    "index_length",
    "middle_length",
    "ring_length",
    "pinky_length",
    "finger_thickness",
    "palm_thickness",
)
"""What each of the ten betas changes; one unit is `SHAPE_STEP` of the length in question."""

SHAPE_STEP = 0.05
"""Share by which one unit of a beta stretches: about one standard deviation of adult hands."""

_REGRESSOR_NEIGHBOURS = 80
_WELD_TOLERANCE_M = 1e-5
# GLB (fingers -y, back +x, thumb -z) to MANO's template frame (fingers -x, back +y, thumb +z).
_MANO_FROM_GLB = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
_XR_PART = {
    "mcp": "phalanx-proximal",
    "pip": "phalanx-intermediate",
    "dip": "phalanx-distal",
}
_XR_THUMB_PART = {"cmc": "metacarpal", "mcp": "phalanx-proximal", "ip": "phalanx-distal"}


def make_builtin_hand(glb: Path, out: Path) -> None:
    """Make the built-in hand from ``glb`` and write it as ``.npz`` with MANO's field names.

    Fields (units m, MANO's template frame): ``v_template`` (V, 3), ``f`` (F, 3), ``J_regressor``
    (16, V), ``weights`` (V, 16), ``shapedirs`` (V, 3, 10), ``posedirs`` (V, 3, 135) of zeros,
    ``kintree_table`` (2, 16), ``hands_components`` (45, 45), ``hands_mean`` (45,) of zeros,
    ``tip_vertices`` (5,) thumb to pinky, ``shape_directions`` (10,) names, ``source`` and ``licence``.
    """
    mesh = _read_glb(glb)
    joints = _reduce_joints(mesh.joint_names, mesh.joint_positions)
    weights = _reduce_weights(mesh.joint_names, mesh.weights)
    tips = _find_tips(mesh.joint_names, mesh.joint_positions, mesh.vertices, weights)
    tip_points = np.stack([mesh.vertices[i] for i in tips])
    shape_v = _shape_directions(mesh.vertices, weights, joints, tip_points)
    shape_j = _shape_directions(joints, np.eye(16), joints, tip_points)
    write_npz(
        out,
        v_template=mesh.vertices,
        f=mesh.faces.astype(np.int64),
        J_regressor=_fit_regressor(mesh.vertices, shape_v, joints, shape_j),
        weights=weights,
        shapedirs=shape_v,
        posedirs=np.zeros((len(mesh.vertices), 3, 135)),
        kintree_table=np.stack([np.array(MANO_PARENTS), np.arange(16)]),
        hands_components=np.eye(45),
        hands_mean=np.zeros(45),
        tip_vertices=np.array(tips),
        shape_directions=np.array(SHAPE_DIRECTIONS),
        source=np.array("generic hand of @webxr-input-profiles/assets"),
        licence=np.array("MIT"),
    )


class _Mesh:
    """The welded mesh in MANO's frame: vertices (V, 3), faces, weights (V, 25), 25 named joints."""

    def __init__(
        self,
        vertices: np.ndarray,
        faces: np.ndarray,
        weights: np.ndarray,
        joint_names: list[str],
        joint_positions: np.ndarray,
    ) -> None:
        self.vertices = vertices
        self.faces = faces
        self.weights = weights
        self.joint_names = joint_names
        self.joint_positions = joint_positions


def _read_glb(path: Path) -> _Mesh:
    if not path.is_file():
        raise ModelError(
            f"{path} is missing, and the built-in hand is made from it.",
            "Run `make setup`, which installs the npm packages.",
        )
    document = pygltflib.GLTF2().load(str(path))
    if document is None:
        raise ModelError(f"{path} is not a GLB file.", "Run `npm ci` again.")
    primitive = document.meshes[0].primitives[0]
    raw_vertices = _read_accessor(document, primitive.attributes.POSITION).astype(float)
    raw_slots = _read_accessor(document, primitive.attributes.JOINTS_0).astype(int)
    raw_weights = _read_accessor(document, primitive.attributes.WEIGHTS_0).astype(float)
    raw_faces = _read_accessor(document, primitive.indices).reshape(-1, 3).astype(int)
    skin = document.skins[0]
    names = [document.nodes[i].name for i in skin.joints]
    bind = _read_accessor(document, skin.inverseBindMatrices).astype(float)
    bind = bind.reshape(-1, 4, 4).transpose(0, 2, 1)

    weights = np.zeros((len(raw_vertices), len(names)))
    np.add.at(weights, (np.arange(len(raw_vertices))[:, None], raw_slots), raw_weights)
    quantised = np.round(raw_vertices / _WELD_TOLERANCE_M).astype(int)
    _, first, welded = np.unique(quantised, axis=0, return_index=True, return_inverse=True)
    weights = weights[first] / weights[first].sum(axis=1, keepdims=True)
    positions = np.stack([np.linalg.inv(matrix)[:3, 3] for matrix in bind])
    return _Mesh(
        vertices=raw_vertices[first] @ _MANO_FROM_GLB.T,
        faces=welded.reshape(-1)[raw_faces],
        weights=weights,
        joint_names=names,
        joint_positions=positions @ _MANO_FROM_GLB.T,
    )


def _read_accessor(document: pygltflib.GLTF2, index: int) -> np.ndarray:
    accessor = document.accessors[index]
    view = document.bufferViews[accessor.bufferView]
    dtype = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}[accessor.componentType]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
    offset = (view.byteOffset or 0) + (accessor.byteOffset or 0)
    flat = np.frombuffer(document.binary_blob(), dtype, accessor.count * width, offset)
    return flat.reshape(accessor.count, width)


def _xr_name(mano_joint: str) -> str:
    finger, part = mano_joint.split("_")
    if finger == "thumb":
        return f"thumb-{_XR_THUMB_PART[part]}"
    return f"{finger}-finger-{_XR_PART[part]}"


def _reduce_joints(names: list[str], positions: np.ndarray) -> np.ndarray:
    """MANO's 16 joints (16, 3) out of the 25."""
    wanted = ["wrist", *(_xr_name(joint) for joint in MANO_POSE_JOINTS)]
    return np.stack([positions[names.index(name)] for name in wanted])


def _reduce_weights(names: list[str], weights: np.ndarray) -> np.ndarray:
    """Skin weights (V, 16): metacarpals of the fingers move with the wrist, tips with the last bone."""
    reduced = np.zeros((len(weights), 16))
    wanted = {_xr_name(joint): i + 1 for i, joint in enumerate(MANO_POSE_JOINTS)}
    for column, name in enumerate(names):
        if name.endswith("-tip"):
            target = wanted[name.replace("finger-tip", "finger-phalanx-distal")
                            .replace("thumb-tip", "thumb-phalanx-distal")]  # fmt: skip
        else:
            target = wanted.get(name, 0)
        reduced[:, target] += weights[:, column]
    return reduced


def _find_tips(
    names: list[str], positions: np.ndarray, vertices: np.ndarray, weights: np.ndarray
) -> list[int]:
    """The vertex of each finger that lies farthest along its last bone."""
    tips = []
    for finger in FINGERS:
        last = "thumb_ip" if finger == "thumb" else f"{finger}_dip"
        column = MANO_POSE_JOINTS.index(last) + 1
        base = positions[names.index(_xr_name(last))]
        tip_name = "thumb-tip" if finger == "thumb" else f"{finger}-finger-tip"
        direction = positions[names.index(tip_name)] - base
        reach = (vertices - base) @ direction
        reach[weights[:, column] < 0.5] = -np.inf
        tips.append(int(reach.argmax()))
    return tips


def _shape_directions(
    points: np.ndarray, weights: np.ndarray, joints: np.ndarray, tip_points: np.ndarray
) -> np.ndarray:
    """How each of the ten betas moves ``points`` (P, 3) with skin weights (P, 16): (P, 3, 10)."""
    directions = np.zeros((len(points), 3, len(SHAPE_DIRECTIONS)))
    from_wrist = points - joints[0]
    finger_share = 1.0 - weights[:, 0]
    # Palm directions move whole fingers as their knuckles move, so that bones keep their length.
    anchors = _blend_anchors(weights, joints) - joints[0]
    directions[:, :, 0] = from_wrist
    for column, axis in (("palm_length", 0), ("palm_width", 2), ("palm_thickness", 1)):
        along = weights[:, 0] * from_wrist[:, axis] + finger_share * anchors[:, axis]
        directions[:, axis, SHAPE_DIRECTIONS.index(column)] = along
    for number, finger in enumerate(FINGERS):
        chain = [i + 1 for i, joint in enumerate(MANO_POSE_JOINTS) if joint.startswith(finger)]
        ends = [joints[chain[1]], joints[chain[2]], tip_points[number]]
        shift = np.zeros(3)
        for bone, end in zip(chain, ends, strict=True):
            vector = end - joints[bone]
            unit = vector / np.linalg.norm(vector)
            along = (points - joints[bone]) @ unit
            stretch = shift + along[:, None] * unit
            directions[:, :, SHAPE_DIRECTIONS.index(f"{finger}_length")] += weights[:, bone, None] * stretch
            across = (points - joints[bone]) - along[:, None] * unit
            directions[:, :, SHAPE_DIRECTIONS.index("finger_thickness")] += weights[:, bone, None] * across
            shift = shift + vector
    return SHAPE_STEP * directions


def _blend_anchors(weights: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """For each point, the first joint of the finger it hangs on (blended by skin weight): (P, 3)."""
    first = np.arange(16)
    for joint in range(1, 16):
        while MANO_PARENTS[first[joint]] > 0:
            first[joint] = MANO_PARENTS[first[joint]]
    finger_weights = weights.copy()
    finger_weights[:, 0] = 0.0
    total = finger_weights.sum(axis=1, keepdims=True)
    blended = finger_weights @ joints[first]
    return np.where(total > 0, blended / np.where(total > 0, total, 1.0), joints[0])


def _fit_regressor(
    vertices: np.ndarray, shape_v: np.ndarray, joints: np.ndarray, shape_j: np.ndarray
) -> np.ndarray:
    """Weights (16, V) on near vertices that give each joint, at any shape, exactly.

    For every joint: the smallest weights that sum to one and reproduce its position and its ten shape
    derivatives (31 + 3 linear conditions on the nearest vertices).
    """
    regressor = np.zeros((16, len(vertices)))
    tree = cKDTree(vertices)
    for joint in range(16):
        _, near = tree.query(joints[joint], k=_REGRESSOR_NEIGHBOURS)
        rows = [np.ones((1, len(near))), vertices[near].T]
        rows.append(shape_v[near].transpose(1, 2, 0).reshape(-1, len(near)))
        matrix = np.concatenate(rows)
        target = np.concatenate([[1.0], joints[joint], shape_j[joint].reshape(-1)])
        # Shape rows are smaller by SHAPE_STEP; scale them up so that they count alike.
        scale = np.concatenate([[0.1], np.ones(3), np.full(30, 1 / SHAPE_STEP)])
        solution, *_ = np.linalg.lstsq(matrix * scale[:, None], target * scale, rcond=1e-6)
        regressor[joint, near] = solution
    return regressor
