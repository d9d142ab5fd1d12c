"""Detectors with random weights, written as Ultralytics writes its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pipeline.pose.networks.yolo import import_ultralytics


def make_detector(scale: str = "n", n_classes: int = 2) -> Any:
    """A YOLOv8-pose network of 21 points whose numbers are drawn, its running means included."""
    import_ultralytics()
    from ultralytics.nn.tasks import PoseModel

    torch.manual_seed(0)
    network = PoseModel(
        f"yolov8{scale}-pose.yaml", nc=n_classes, data_kpt_shape=(21, 3), verbose=False
    ).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.names = dict(enumerate(["left", "right", "foot"][:n_classes]))
    return network


def write_detector(path: Path, network: Any, imgsz: int = 640, **more: Any) -> None:
    """Write it as training does at its end: half precision, without what only training needs."""
    from ultralytics.utils.torch_utils import strip_optimizer

    path.parent.mkdir(parents=True, exist_ok=True)
    network.args = {"imgsz": imgsz, "task": "pose"}
    parts = {"epoch": 9, "model": network, "ema": None, "optimizer": {"state": {}}}
    torch.save(parts | {"train_args": {"imgsz": imgsz, "task": "pose"}} | more, path)
    strip_optimizer(path)
