"""Ultralytics' networks from the user's own files, without running what is in these.

Ultralytics writes a network as an object, and its own loader makes that object again, with whatever code the
file names; it also evaluates text of the plan that the file holds. Here the file is read as inert data
(`checkpoints`), its plan is held against what a detector may be made of, and Ultralytics' own classes are
built from it and given the numbers.

Nothing of torchvision is imported: the registry's build of it does not go with torch for the CPU, and
Ultralytics' own suppression of doubles does as well.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.errors import ModelError
from pipeline.pose.networks.checkpoints import (
    DOWNLOAD_AGAIN,
    Checkpoint,
    Inert,
    load_weights,
    read_content,
)

_OWN_PACKAGES = ("ultralytics.", "torch.nn.modules.")

_LAYERS = {"Conv", "C2f", "C3", "C3k2", "C2PSA", "SPPF", "Concat", "nn.Upsample", "Detect", "Pose"}
_WORDS = {"None", "True", "False", "nearest", "nc", "kpt_shape"}
"""What a plan may name: layers that compute, and the words of their arguments."""

_MAX_NUMBER = 4096
_MAX_LAYERS = 100
_DEFAULT_INPUT_PX = 640


@dataclass(frozen=True)
class YoloFile:
    """What a file of Ultralytics' holds.

    Attributes
    ----------
    path : Path
    weights : dict of Tensor
        By Ultralytics' names (``model.0.conv.weight``).
    plan : dict
        What the network is made of, as Ultralytics' ``yaml`` files have it: plain data, checked.
    input_px : int
        Longer side of the pictures that it was trained on.
    """

    path: Path
    weights: dict[str, torch.Tensor]
    plan: dict[str, Any]
    input_px: int

    @property
    def n_classes(self) -> int:
        """How many kinds of things it tells apart."""
        return int(self.plan["nc"])


def read_yolo_file(path: Path) -> YoloFile:
    """Read a file of Ultralytics'; nothing of it is run.

    Raises
    ------
    ModelError
        The file is missing, is not whole, refers to what is no layer, or holds no detector.
    """
    content = read_content(path, _OWN_PACKAGES)
    try:
        network = content["model"] if content.get("ema") is None else content["ema"]
        weights = dict(_list_weights(network, "", set()))
        plan = _check_plan(path, network.state["yaml"])
        asked = (content.get("train_args") or {}).get("imgsz", _DEFAULT_INPUT_PX)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} holds no detector as Ultralytics writes it ({type(error).__name__}: {error}).",
            DOWNLOAD_AGAIN,
        ) from error
    usable = isinstance(asked, int) and 32 <= asked <= _MAX_NUMBER
    return YoloFile(path, weights, plan, asked if usable else _DEFAULT_INPUT_PX)


def _list_weights(module: Inert, prefix: str, above: set[int]) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values, as `torch.nn.Module.state_dict` gives them."""
    if id(module) in above:
        raise ValueError("a layer that holds itself")
    state = module.state
    for kind in ("_parameters", "_buffers"):
        for name, value in state[kind].items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}{name}", value
    for name, child in state["_modules"].items():
        yield from _list_weights(child, f"{prefix}{name}.", {*above, id(module)})


def _check_plan(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """The plan's known parts, after making sure that building from it runs nothing but layers."""
    names = ("nc", "kpt_shape", "scale", "scales", "depth_multiple", "width_multiple", "reg_max")
    plan = {name: raw[name] for name in names if raw.get(name) is not None}
    rows = [*raw["backbone"], *raw["head"]]
    for row in rows:
        _, _, layer, arguments = row
        if layer not in _LAYERS:
            raise _refuse(path, f"the layer {layer!s:.40}")
        _check_plain(path, [row[:2], arguments])
    if not isinstance(plan.get("nc"), int):
        raise _refuse(path, f"no number of kinds of things (nc = {plan.get('nc')!s:.40})")
    plan |= {"backbone": raw["backbone"], "head": raw["head"]}
    _check_plain(path, [plan.get(name) for name in names if name not in ("scale", "scales")])
    _check_plain(path, list(plan.get("scales", {}).values()))
    for extra in ("activation", "end2end"):
        if raw.get(extra):
            raise _refuse(path, f"{extra} = {raw[extra]!s:.40}")
    if not 0 < len(rows) <= _MAX_LAYERS or rows[-1][2] not in ("Detect", "Pose"):
        raise _refuse(path, f"{len(rows)} layers that end in {rows[-1][2]!s:.40}" if rows else "no layers")
    return plan


def _check_plain(path: Path, value: Any) -> None:
    if isinstance(value, list | tuple):
        for one in value:
            _check_plain(path, one)
    elif isinstance(value, str):
        if value not in _WORDS:
            raise _refuse(path, f"the word {value:.40}")
    elif value is not None and not (isinstance(value, int | float) and abs(value) <= _MAX_NUMBER):
        raise _refuse(path, f"{value!s:.40} for a number")


def _refuse(path: Path, what: str) -> ModelError:
    return ModelError(
        f"The network in {path} has {what}, which no detector of hands is known to have; it was not built.",
        "Take the file from the network's makers, not from elsewhere.",
    )


def build_yolo(file: YoloFile, title: str) -> nn.Module:
    """The network of a file, in single precision on the CPU.

    Its answer to pictures (N, 3, H, W), RGB 0 to 1, H and W multiples of 32, is Ultralytics': what
    `suppress_doubles` takes.

    Raises
    ------
    ModelError
        The weights are not those of the file's own plan.
    """
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, PoseModel

    kind = PoseModel if file.plan["head"][-1][2] == "Pose" else DetectionModel
    try:
        network = kind(file.plan, ch=3, verbose=False)
    except Exception as error:
        raise ModelError(
            f"The plan of the network in {file.path} cannot be built ({error}).", DOWNLOAD_AGAIN
        ) from error
    load_weights(network, title, Checkpoint(file.path, file.weights, {}))
    return network


def letterbox(image_bgr: np.ndarray, input_px: int) -> np.ndarray:
    """A picture (H, W, 3) uint8 BGR as the network takes it: (1, 3, h, w) float32 RGB 0 to 1.

    Made to fit ``input_px``, its sides filled up with grey to multiples of 32.
    """
    import_ultralytics()
    from ultralytics.data.augment import LetterBox

    boxed: Any = LetterBox((input_px, input_px), auto=True, stride=32)(image=image_bgr)
    return np.ascontiguousarray(boxed[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / 255


def suppress_doubles(
    answer: Any, picture: np.ndarray, size_px: tuple[int, int], n_classes: int, score: float, overlap: float
) -> np.ndarray:
    """What was found, surest first: (N, 6) x1 y1 x2 y2 in px of the whole picture, score, class.

    Of boxes that overlap too much the surest stays, whatever its class: one hand has one side.

    Parameters
    ----------
    answer
        The network's.
    picture : ndarray (1, 3, h, w)
        What it was given (`letterbox`).
    size_px : (int, int)
        Width and height of the whole picture.
    n_classes : int
        As the file says.
    score : float
        The least that counts, 0 to 1.
    overlap : float
        Intersection over union beyond which two boxes are one hand's.
    """
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    (found,) = non_max_suppression(answer, score, overlap, agnostic=True, nc=n_classes)
    found = found[:, :6].float().cpu()
    scale_boxes(picture.shape[2:], found[:, :4], size_px[::-1])
    found[:, :4] -= 0.5  # from the pixels' edges to their centres
    return found.numpy().astype(float)


# --- the package ----------------------------------------------------------------------------------

_QUIET = {
    "YOLO_OFFLINE": "1",  # else it asks a name server whether there is a network
    "YOLO_AUTOINSTALL": "0",
    "YOLO_VERBOSE": "0",
    "ULTRALYTICS_SAFE_LOAD": "1",  # else the text of a plan is evaluated
}


def import_ultralytics() -> None:
    """Import Ultralytics, so that it asks no other computer, keeps no settings and leaves this process alone.

    On being imported it looks for a network, writes settings into the home folder, takes OpenCV's threads
    away, replaces `torch.save` and changes environment variables and how arrays are printed.

    Raises
    ------
    ModelError
        It is not installed, or misses a part.
    """
    if "ultralytics" in sys.modules:
        return
    with _unchanged(), tempfile.TemporaryDirectory(prefix="redys-") as folder:
        os.environ.update(_QUIET, YOLO_CONFIG_DIR=folder)
        try:
            package = importlib.import_module("ultralytics")
            for name in ("nn.tasks", "utils.nms", "utils.ops", "data.augment"):
                importlib.import_module(f"ultralytics.{name}")
        except ImportError as error:
            raise ModelError(
                f"Ultralytics, which runs the hand detector, cannot be loaded ({error}).",
                "Run make setup: it installs the version that this program goes with.",
            ) from error
        package.settings.update(sync=False)


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Put back what the import of Ultralytics changes in this process."""
    import cv2

    environment, threads, save = dict(os.environ), cv2.getNumThreads(), torch.save
    printing = np.get_printoptions()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        cv2.setNumThreads(threads)
        torch.save = save
        torch.set_printoptions(profile="default")
        np.set_printoptions(**printing)
