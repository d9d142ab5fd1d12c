"""The fp16 constants of a TFLite file: where they lie, and the file with others in their place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tflite

from pipeline.errors import ModelError


def view_constant(model: tflite.Model, main: tflite.SubGraph, tensor: int) -> np.ndarray:
    """A constant as it lies in the model's bytes: what is written into it is written there."""
    described = main.Tensors(tensor)
    data = model.Buffers(described.Buffer()).DataAsNumpy()
    return data.view(np.float16).reshape(described.ShapeAsNumpy())


def write_graph(path: Path, constants: Mapping[int, np.ndarray]) -> bytes:
    """The bytes of a TFLite file with other constants by tensor; those that are not given stay.

    Raises
    ------
    ModelError
        A constant has another shape than the file's, or is not finite as fp16.
    """
    data = bytearray(path.read_bytes())
    model = tflite.Model.GetRootAsModel(data, 0)
    main = model.Subgraphs(0)
    for tensor, values in constants.items():
        known = (
            0 <= tensor < main.TensorsLength() and main.Tensors(tensor).Type() == tflite.TensorType.FLOAT16
        )
        place = view_constant(model, main, tensor) if known else np.empty(0)
        stored = np.asarray(values).astype(np.float16)
        if place.shape != stored.shape or not np.isfinite(stored).all():
            raise ModelError(
                f"The weights of tensor {tensor} do not fit into {path.name} ({stored.shape}).",
                "They belong to another network: train again from this one.",
            )
        place[...] = stored
    return bytes(data)
