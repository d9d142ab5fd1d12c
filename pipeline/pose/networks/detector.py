"""WiLoR's hand detector with the user's own file: boxes and sides from a YOLOv8 network.

It tells left from right, but not where a hand points. That is asked of MediaPipe's landmark network, which
looks at the box in four turns; only estimators that want their crops turned make use of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from pipeline.errors import ModelError, PoseError
from pipeline.hand.joints import Side
from pipeline.pose.crops import cut
from pipeline.pose.landmarks import INPUT_PX as LANDMARK_PX
from pipeline.pose.landmarks import MIN_PRESENCE, LandmarkNetwork, frame_landmarks
from pipeline.pose.networks.files import DETECTOR_TITLE, locate_detector
from pipeline.pose.networks.runner import choose_device, is_out_of_memory, leave_cores_to_others
from pipeline.pose.networks.yolo import build_yolo, letterbox, read_yolo_file, suppress_doubles
from pipeline.pose.protocols import Detection
from pipeline.pose.regions import Region, apply_affine

MIN_SCORE = 0.6
"""Seed 000, section 5; the authors' own program takes 0.3."""

MAX_OVERLAP = 0.5
"""Boxes that overlap more are the same hand: the authors' own choice."""

SIDES: tuple[Side, Side] = ("left", "right")
"""What the network's classes 0 and 1 mean."""

LOOK_SCALE = 1.5
"""A hand fills a crop of so many times its box as the landmark network has learned it."""


class WilorDetector:
    """Hands in a whole picture, by the user's ``models/wilor/detector.pt``.

    Parameters
    ----------
    device : torch.device, optional
        By default the best there is.

    Raises
    ------
    ModelError
        The file is missing, damaged, another network's, or holds what is not plain data.
    """

    name = "wilor"

    def __init__(self, device: torch.device | None = None) -> None:
        self.notes: list[str] = []
        leave_cores_to_others()
        file = read_yolo_file(locate_detector())
        if file.n_classes != len(SIDES):
            raise ModelError(
                f"{file.path} tells {file.n_classes} kinds of things apart; {DETECTOR_TITLE} tells left from "
                "right hands.",
                "Put WiLoR's own detector.pt there.",
            )
        self._input_px = file.input_px
        self._network = build_yolo(file, DETECTOR_TITLE)
        try:
            self._move(device or choose_device())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._fall_back()
        self._landmarks = LandmarkNetwork()

    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        """Hands in a picture (H, W, 3) uint8 BGR, the surest first."""
        height, width = image_bgr.shape[:2]
        picture = letterbox(image_bgr, self._input_px)
        found = suppress_doubles(
            self._answer(picture), picture, (width, height), len(SIDES), MIN_SCORE, MAX_OVERLAP
        )
        return [
            Detection(row[:4], SIDES[int(row[5])], float(row[4]), self._look_closer(image_bgr, row[:4]))
            for row in found
        ]

    def _answer(self, picture: np.ndarray) -> Any:
        tensor = torch.from_numpy(picture)
        while True:
            try:
                with torch.inference_mode():
                    return self._network(tensor.to(self._device))
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._device.type == "cpu":
                    raise PoseError(
                        f"The computer's memory does not suffice for {DETECTOR_TITLE}.",
                        "Close other programs, or set REDYS_WORKERS=1, and start again.",
                    ) from error
            self._fall_back()

    def _fall_back(self) -> None:
        self._move(torch.device("cpu"))
        self.notes.append(
            f"The GPU has too little memory for {DETECTOR_TITLE}: the CPU goes on with it. "
            "Close what else uses the GPU and start again."
        )

    def _move(self, device: torch.device) -> None:
        self._device, self._network = device, self._network.to(device)

    def _look_closer(self, image_bgr: np.ndarray, box_px: np.ndarray) -> Region:
        """The hand in a box with its direction, upright where that cannot be seen."""
        middle, size = (box_px[:2] + box_px[2:]) / 2, float((box_px[2:] - box_px[:2]).max())
        upright = Region(float(middle[0]), float(middle[1]), LOOK_SCALE * size, 0.0)
        views = [cut(image_bgr, upright.vary(1.0, turn * math.pi / 2), LANDMARK_PX) for turn in range(4)]
        seen = self._landmarks.run(np.stack([crop for crop, _ in views]))
        best = int(seen.score.argmax())
        if seen.score[best] < MIN_PRESENCE:
            return upright
        return frame_landmarks(apply_affine(views[best][1], seen.points_px[best]))
