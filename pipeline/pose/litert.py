"""The MediaPipe model files, run by LiteRT.

The mediapipe package itself is never imported: it wants an old numpy and much else.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelError

PALM_FILE = "mediapipe/modules/palm_detection/palm_detection_full.tflite"
LANDMARK_FILE = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"

MAX_BATCH = 3
"""Longer batches leave the processor's cache: seven crops at once take 7 % longer than in pieces."""


def locate(name: str) -> Path:
    """Path of a file of the installed mediapipe wheel.

    Raises
    ------
    ModelError
        The wheel is not installed, or is one of those without models (0.10.30 and later).
    """
    advice = "Run make setup: it installs mediapipe 0.10.21 without its dependencies, for these files alone."
    try:
        path = Path(str(importlib.metadata.distribution("mediapipe").locate_file(name)))
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(f"{Path(name).name} is missing: mediapipe is not installed.", advice) from error
    if not path.is_file():
        raise ModelError(f"{path} is missing: this mediapipe has no model files.", advice)
    return path


class Network:
    """A TFLite network on one thread, its batch dimension resized to what it is given.

    One thread, because a process per core is faster than threads in one process. Long batches are worked
    in pieces of `MAX_BATCH`. An interpreter is kept for each size in use, since resizing allocates
    everything anew.

    Parameters
    ----------
    path : Path
        The network's file.
    data : bytes, optional
        Its bytes with other weights, to be run in the place of those on the disk.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self._path, self._data = path, data
        self._interpreters: dict[int, Any] = {}

    def run(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Outputs, each (N, ...) float32, for pictures (N, H, W, 3) float32 RGB 0 to 1."""
        starts = range(0, len(pictures), MAX_BATCH)
        pieces = [self._run_piece(pictures[start : start + MAX_BATCH]) for start in starts]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _run_piece(self, pictures: np.ndarray) -> list[np.ndarray]:
        interpreter = self._interpreters.get(len(pictures))
        if interpreter is None:
            interpreter = self._interpreters[len(pictures)] = self._prepare(pictures.shape)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures)
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]

    def _prepare(self, shape: tuple[int, ...]) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        given: dict[str, Any] = {"model_path": str(self._path)}
        if self._data is not None:
            given = {"model_content": self._data}
        try:
            with _quiet():
                interpreter = Interpreter(**given, num_threads=1)
                interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], list(shape))
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{self._path} is not a network that LiteRT can read ({error}).",
                "Delete the .venv folder and run make setup again.",
            ) from error
        return interpreter


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's greeting, which C++ writes straight to descriptor 2, off the progress bar."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
