"""Made data sets of a few hands, written in the layouts of the published ones."""

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.hand.joints import JOINTS
from pipeline.hand.model import HandModel, load_hand_model

FINGER_NAMES = ("thumb", "index", "middle", "ring", "pinky")
JOINT_NAMES = {"thumb": ("cmc", "mcp", "ip", "tip")}
OTHERS = ("mcp", "pip", "dip", "tip")


def pose_hands(count: int, seed: int = 0, model: HandModel | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, V, 3) and joints (N, 21, 3) of right hands, half a metre before a camera, in mm."""
    model = model or load_hand_model()
    random = np.random.default_rng(seed)
    pose = Rotation.from_rotvec(random.normal(0, 0.25, (count * 15, 3))).as_matrix().reshape(count, 15, 3, 3)
    orient = Rotation.random(count, random_state=seed).as_matrix()
    place = np.array([0.0, 0.0, 550.0]) + random.normal(0, 30, (count, 3))
    betas = random.normal(0, 0.5, (count, model.n_betas))
    vertices, joints = model.pose_arrays(betas, orient, pose, place)
    return vertices.astype(float), joints.astype(float)


# --- FreiHAND --------------------------------------------------------------------------------------


def write_freihand(folder: Path, split: str, count: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Write a split and give what is in it, in mm."""
    vertices, joints = pose_hands(count, seed)
    random = np.random.default_rng(seed)
    K = np.array([[480.0, 0, 112], [0, 485, 110], [0, 0, 1]]) + np.zeros((count, 1, 1))
    K[:, 0, 2] += random.normal(0, 5, count)
    mano = random.normal(0, 0.3, (count, 1, 61))
    bone = np.linalg.norm(joints[:, 10] - joints[:, 9], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"K": K, "xyz": joints / 1e3, "verts": vertices / 1e3, "mano": mano, "scale": bone / 1e3}
    for part, values in parts.items():
        (folder / f"{split}_{part}.json").write_text(json.dumps(values.tolist()))
    return {"K": K, "joints_mm": joints, "vertices_mm": vertices, "mano": mano, "bone_mm": bone}


def write_predictions(path: Path, joints_mm: np.ndarray, vertices_mm: np.ndarray) -> Path:
    """Write FreiHAND's pred.json."""
    path.write_text(json.dumps([(joints_mm / 1e3).tolist(), (vertices_mm / 1e3).tolist()]))
    return path


# --- InterHand2.6M ---------------------------------------------------------------------------------


def list_interhand_names() -> list[str]:
    """This project's name of each of a hand's joints, in the order of the data set's skeleton.txt."""
    names = [
        f"{finger}_{joint}"
        for finger in FINGER_NAMES
        for joint in reversed(JOINT_NAMES.get(finger, OTHERS))  # thumb4 is the tip, thumb1 the base
    ]
    return [*names, "wrist"]


def to_interhand(joints: np.ndarray) -> np.ndarray:
    """One hand (21, 3) from this project's order to the data set's, by names."""
    return np.stack([joints[JOINTS.index(name)] for name in list_interhand_names()])


def make_interhand() -> dict:
    """Three frames (right, left, both) and two cameras: the content of the files by their names.

    ``world`` (3, 2, 21, 3) is where the joints are, in mm and in this project's order.
    """
    _, joints = pose_hands(6, seed=4)
    world = joints.reshape(3, 2, 21, 3) - [0, 0, 550.0]
    world[:, 1] = world[:, 1] * [-1, 1, 1] + [120.0, 0, 0]
    right, left = [1] * 21 + [0] * 21, [0] * 21 + [1] * 21
    both = [1] * 42
    both[3] = both[21] = 0  # the right thumb's base and the left thumb's tip
    angles = {"400002": [15, -20], "400053": [-70, 10]}
    turns = {name: Rotation.from_euler("yx", pair, degrees=True).as_matrix() for name, pair in angles.items()}
    cameras = {
        "campos": {name: (-turn.T @ [0, 0, 900.0]).tolist() for name, turn in turns.items()},
        "camrot": {name: turn.tolist() for name, turn in turns.items()},
        "focal": {"400002": [1200.0, 1210.0], "400053": [1190.0, 1195.0]},
        "princpt": {"400002": [256.0, 167.0], "400053": [250.0, 170.0]},
    }
    images: list[dict] = []
    annotations: list[dict] = []
    frames: dict[str, dict] = {}
    for row, (kind, valid) in enumerate((("right", right), ("left", left), ("interacting", both))):
        coordinates = np.concatenate([to_interhand(world[row, 0]), to_interhand(world[row, 1])])
        frames[str(1000 + row)] = {
            "world_coord": coordinates.tolist(),
            "joint_valid": [[value] for value in valid],
            "hand_type": kind,
            "hand_type_valid": 1,
        }
        for camera in ("400002", "400053"):
            number = 10 * (row + 1) + len(images)
            name = f"Capture0/0266_dh_pray/cam{camera}/image{1000 + row}.jpg"
            images.append(
                {"id": number + 500, "file_name": name, "width": 512, "height": 334, "capture": 0,
                 "subject": 7, "seq_name": "0266_dh_pray", "camera": camera, "frame_idx": 1000 + row}
            )  # fmt: skip
            annotations.append(
                {"id": number, "image_id": number + 500, "bbox": [10, 20, 200, 150], "joint_valid": valid,
                 "hand_type": kind, "hand_type_valid": 1}
            )  # fmt: skip
    random = np.random.default_rng(8)
    fitted = {"pose": random.normal(size=48).tolist(), "shape": [0.1] * 10, "trans": [0.5, -0.25, 1.0]}
    return {
        "data": {"images": images, "annotations": annotations},
        "camera": {"0": cameras},
        "joint_3d": {"0": frames},
        "MANO_NeuralAnnot": {"0": {"1000": {"right": fitted, "left": None}}},
        "world": world,
    }


def write_interhand(folder: Path, content: dict, split: str = "test", place: str = "test") -> Path:
    """Write the four files into ``annotations/PLACE``; gives that folder."""
    annotations = folder / "annotations" / place
    annotations.mkdir(parents=True)
    for part in ("data", "camera", "joint_3d", "MANO_NeuralAnnot"):
        (annotations / f"InterHand2.6M_{split}_{part}.json").write_text(json.dumps(content[part]))
    return annotations
