"""InterHand2.6M (Moon et al. 2020): right, left and interacting hands, seen by many calibrated cameras.

    DIR/annotations/SPLIT/InterHand2.6M_SPLIT_data.json             pictures and what is valid in each
    DIR/annotations/SPLIT/InterHand2.6M_SPLIT_camera.json           cameras by capture
    DIR/annotations/SPLIT/InterHand2.6M_SPLIT_joint_3d.json         joints in the world by capture and frame
    DIR/annotations/SPLIT/InterHand2.6M_SPLIT_MANO_NeuralAnnot.json  optional: fitted MANO parameters
    DIR/images/SPLIT/...

Older releases have ``annotations/all``, ``human_annot`` or ``machine_annot`` in place of the split's folder.
World and cameras are in mm. ``campos`` is where the camera stands and ``camrot`` turns the world into it:
``x_cam = camrot (x_world - campos)``, OpenCV's axes, no distortion. The 42 joints are the right hand's, then
the left one's, each thumb to pinky from tip to base, the wrist last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.datasets.reading import ManoParameters, read_json_of, read_npz_of, to_array, to_integers
from pipeline.errors import DatasetError
from pipeline.hand.joints import N_JOINTS, SIDES, Side
from pipeline.results import Camera

NAME = "InterHand2.6M"
SPLITS = ("train", "val", "test")
SUBSETS = ("all", "human_annot", "machine_annot")
MM_PER_M = 1e3
MANO = "MANO_NeuralAnnot"

HandType = Literal["right", "left", "interacting"]

ORDER: tuple[int, ...] = (20, *(4 * finger + joint for finger in range(5) for joint in (3, 2, 1, 0)))
"""``joints21 = interhand21[ORDER]`` for one hand: wrist first, and each finger from its base to its tip."""

INTERHAND_FROM_OURS: tuple[int, ...] = tuple(ORDER.index(joint) for joint in range(N_JOINTS))
"""The way back: ``interhand21 = joints21[INTERHAND_FROM_OURS]``."""


@dataclass(frozen=True)
class InterhandSample:
    """The hands in one picture.

    Attributes
    ----------
    number : int
        The annotation's id.
    image : Path
        It need not be there.
    camera : Camera
        ``x_cam = R x_world + t``; the world is the capture's.
    joints_mm : ndarray (2, 21, 3)
        Right and left hand in the camera's frame, in the order of `pipeline.hand.joints.JOINTS`; NaN where
        it is not valid (not annotated, or outside the picture).
    hand_type : str
        "right", "left" or "interacting".
    hand_type_valid : bool
    box_px : ndarray (4,)
        Left, top, width, height of both hands.
    capture, sequence, frame, subject : str
        Which recording, movement, frame and person.
    mano : dict of ManoParameters
        By side, in the world's frame, where they were fitted.
    """

    number: int
    image: Path
    camera: Camera
    joints_mm: np.ndarray
    hand_type: HandType
    hand_type_valid: bool
    box_px: np.ndarray
    capture: str
    sequence: str
    frame: str
    subject: str
    mano: dict[Side, ManoParameters]


@dataclass(frozen=True)
class InterhandSplit:
    """A split of InterHand2.6M, as its files have it; `samples` makes sense of it.

    Attributes
    ----------
    folder : Path
        Of the data set.
    annotations : Path
        Of the annotation files.
    split : str
    images : dict
        Entries of ``data.json``'s ``images`` by id.
    entries : list of dict
        ``data.json``'s ``annotations``.
    cameras, joints, mano : dict
        The other files.
    """

    folder: Path
    annotations: Path
    split: str
    images: dict[int, dict[str, Any]]
    entries: list[dict[str, Any]]
    cameras: dict[str, Any]
    joints: dict[str, Any]
    mano: dict[str, Any]

    def __len__(self) -> int:
        return len(self.entries)

    def samples(self) -> Iterator[InterhandSample]:
        """Each picture in the order of the annotations.

        Raises
        ------
        DatasetError
            An annotation points to a picture, camera or frame that the files lack, or something of it is laid
            out otherwise; it is named.
        """
        cameras: dict[tuple[str, str], Camera] = {}
        for place, entry in enumerate(self.entries):
            try:
                yield self._read_sample(entry, cameras)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DatasetError(
                    f"{self._file('data')}, annotation at place {place}: it, or what it points to in "
                    f"other files, is laid out otherwise ({type(error).__name__}: {error}).",
                    f"Get it from {NAME} again.",
                ) from error

    def _read_sample(self, entry: dict[str, Any], cameras: dict[tuple[str, str], Camera]) -> InterhandSample:
        where = f"annotation {entry.get('id')}"
        image = _look_up(self.images, entry.get("image_id"), f"{self._file('data')}, {where}: picture")
        key = (str(image.get("capture")), str(image.get("camera")))
        if key not in cameras:
            cameras[key] = self._make_camera(key[0], image, where)
        return self._make_sample(entry, image, cameras[key], where)

    def _make_sample(
        self, entry: dict[str, Any], image: dict[str, Any], camera: Camera, where: str
    ) -> InterhandSample:
        data = self._file("data")
        capture, frame = str(image.get("capture")), str(image.get("frame_idx"))
        world_mm = self._find_joints(capture, frame, where)
        valid = to_array(_flatten(entry.get("joint_valid")), (2 * N_JOINTS,), f"{data}, {where}: joint_valid")
        camera_mm = np.where(valid[:, None] > 0.5, world_mm @ camera.R.T + camera.t_mm, np.nan)
        return InterhandSample(
            number=int(_look_up(entry, "id", f"{data}: of an annotation, the")),
            image=self.folder / "images" / self.split / str(image.get("file_name")),
            camera=camera,
            joints_mm=camera_mm.reshape(2, N_JOINTS, 3)[:, list(ORDER)],
            hand_type=_look_up(entry, "hand_type", f"{data}, {where}:"),
            hand_type_valid=bool(entry.get("hand_type_valid", 1)),
            box_px=to_array(entry.get("bbox", [np.nan] * 4), (4,), f"{data}, {where}: bbox"),
            capture=capture,
            sequence=str(image.get("seq_name")),
            frame=frame,
            subject=str(image.get("subject")),
            mano=_read_mano(self.mano.get(capture, {}).get(frame), f"{self._file(MANO)}, {where}"),
        )

    def _find_joints(self, capture: str, frame: str, where: str) -> np.ndarray:
        """Joints (42, 3) in the world, in the order of the data set."""
        file = self._file("joint_3d")
        found = _look_up(self.joints, capture, f"{file}, {where}: capture")
        found = _look_up(found, frame, f"{file}, {where}: capture {capture}, frame")
        world = found.get("world_coord") if isinstance(found, dict) else found
        return to_array(world, (2 * N_JOINTS, 3), f"{file}, {where}")

    def _make_camera(self, capture: str, image: dict[str, Any], where: str) -> Camera:
        name, file = str(image.get("camera")), self._file("camera")
        cameras = _look_up(self.cameras, capture, f"{file}, {where}: capture")
        parts = {}
        for part, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,))):
            value = _look_up(cameras.get(part, {}), name, f"{file}, {where}: capture {capture}, {part} of")
            parts[part] = to_array(value, shape, f"{file}: {part} of {name}")
        K = np.diag([*parts["focal"], 1.0])
        K[:2, 2] = parts["princpt"]
        return Camera(
            name=name,
            size_px=(int(image.get("width", 0)), int(image.get("height", 0))),
            K=K,
            distortion=np.zeros(5),
            R=parts["camrot"],
            t_mm=-parts["camrot"] @ parts["campos"],
        )

    def _file(self, part: str) -> str:
        return f"{self.annotations}/{_name_file(self.split, part)}"


def read_interhand(folder: Path, split: str, subset: str = "all") -> InterhandSplit:
    """Read a split's annotations. A whole training split needs several GB of memory.

    Parameters
    ----------
    folder : Path
        With ``annotations/``, or with the annotation files themselves.
    split : str
        "train", "val" or "test".
    subset : str
        "all", "human_annot" or "machine_annot": releases that have such folders.

    Raises
    ------
    DatasetError
        No annotations are there, one of the three files is missing or broken; it is named.
    """
    places = [folder / "annotations" / part for part in (split, subset, "")] + [folder]
    found = [place for place in places if (place / _name_file(split, "data")).is_file()]
    if not found:
        raise DatasetError(
            f"{places[0] / _name_file(split, 'data')} is missing, and so it is in "
            f"{', '.join(str(place) for place in places[1:])}.",
            f"Give the folder of {NAME} that holds annotations/.",
        )
    annotations = found[0]
    data = read_json_of(annotations / _name_file(split, "data"), NAME)
    if not isinstance(data, dict) or not {"images", "annotations"} <= data.keys():
        raise DatasetError(f"{annotations / _name_file(split, 'data')} has no images and annotations.")
    try:
        images = {int(image["id"]): image for image in data["images"]}
        entries = list(data["annotations"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{annotations / _name_file(split, 'data')}: images and annotations are no lists of entries with "
            f"an id ({type(error).__name__}: {error}).",
            f"Get it from {NAME} again.",
        ) from error
    mano = annotations / _name_file(split, MANO)
    return InterhandSplit(
        folder=folder,
        annotations=annotations,
        split=split,
        images=images,
        entries=entries,
        cameras=read_json_of(annotations / _name_file(split, "camera"), NAME),
        joints=read_json_of(annotations / _name_file(split, "joint_3d"), NAME),
        mano=read_json_of(mano, NAME) if mano.is_file() else {},
    )


def read_interhand_predictions(path: Path, numbers: np.ndarray) -> np.ndarray:
    """Joints (N, 2, 21, 3) in mm in the camera's frame, right and left, for the annotations ``numbers`` (N,).

    The file is an ``.npz`` with ``number`` (M,), the annotations' ids, and ``joints_mm`` (M, 2, 21, 3) in
    this project's order, or (M, 42, 3) in InterHand2.6M's own. What it has no entry for is NaN.

    Raises
    ------
    DatasetError
        The file is missing or broken, or an id is there twice.
    """
    arrays = read_npz_of(path)
    if not {"number", "joints_mm"} <= arrays.keys():
        raise DatasetError(
            f"{path} lacks {' and '.join(sorted({'number', 'joints_mm'} - arrays.keys()))}.",
            "Write number (M,), the annotations' ids, and joints_mm (M, 2, 21, 3) in mm.",
        )
    own = to_integers(arrays["number"], None, f"{path}: number")
    joints = arrays["joints_mm"]
    if joints.ndim == 3:
        joints = to_array(joints, (len(own), 2 * N_JOINTS, 3), f"{path}: joints_mm")
        joints = joints.reshape(-1, 2, N_JOINTS, 3)[:, :, list(ORDER)]
    joints = to_array(joints, (len(own), 2, N_JOINTS, 3), f"{path}: joints_mm")
    if len(np.unique(own)) != len(own):
        raise DatasetError(f"{path}: number has an id twice.", "Give one entry for each annotation.")
    out = np.full((len(numbers), 2, N_JOINTS, 3), np.nan)
    rows = {number: row for row, number in enumerate(own.tolist())}
    places = [(place, rows[number]) for place, number in enumerate(numbers.tolist()) if number in rows]
    if places:
        to, of = np.transpose(places)
        out[to] = joints[of]
    return out


def _name_file(split: str, part: str) -> str:
    return f"InterHand2.6M_{split}_{part}.json"


def _flatten(values: Any) -> list[Any]:
    """A list of numbers from one, or from a list of lists of one number each."""
    return [value[0] if isinstance(value, list) and value else value for value in values or []]


def _look_up(entries: Any, key: Any, what: str) -> Any:
    if not isinstance(entries, dict) or key not in entries:
        raise DatasetError(f"{what} {key} is missing.", f"All files must be of one release of {NAME}.")
    return entries[key]


def _read_mano(entry: dict[str, Any] | None, what: str) -> dict[Side, ManoParameters]:
    """Parameters by side; metres in the file."""
    found: dict[Side, ManoParameters] = {}
    for side in SIDES:
        values = (entry or {}).get(side)
        if values is None:
            continue
        pose = to_array(values.get("pose"), (48,), f"{what}: {side} pose").reshape(16, 3)
        found[side] = ManoParameters(
            global_orient=pose[0],
            hand_pose=pose[1:],
            betas=to_array(values.get("shape"), (10,), f"{what}: {side} shape"),
            transl_mm=MM_PER_M * to_array(values.get("trans"), (3,), f"{what}: {side} trans"),
        )
    return found
