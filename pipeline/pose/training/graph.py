"""The hand-landmark network out of its TFLite file, as a module of torch, and back again.

Its graph is plain: convolutions, depthwise ones, additions, a mean and four linear heads. Weights are fp16
constants. Back again means: the same file with other bytes where the weights are, so that a trained network
runs wherever the original does, as fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tflite
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ModelError
from pipeline.pose.tflite_file import view_constant
from pipeline.pose.tflite_file import write_graph as write_graph

_RELU6 = tflite.ActivationFunctionType.RELU6
_OPERATORS = {
    tflite.BuiltinOperator.CONV_2D: "conv",
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D: "depthwise",
    tflite.BuiltinOperator.ADD: "add",
    tflite.BuiltinOperator.MEAN: "mean",
    tflite.BuiltinOperator.FULLY_CONNECTED: "linear",
    tflite.BuiltinOperator.LOGISTIC: "logistic",
}


@dataclass(frozen=True)
class Step:
    """One operator: what it does, from which tensors to which, with which weights.

    Attributes
    ----------
    kind : str
        "conv", "depthwise", "add", "mean", "linear" or "logistic".
    inputs : tuple of int
        Tensors that are worked out before it.
    output : int
    weight, bias : int
        The fp16 constants; -1 where it has none.
    stride : int
    bounded : bool
        Whether ReLU6 follows.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    weight: int = -1
    bias: int = -1
    stride: int = 1
    bounded: bool = False


@dataclass(frozen=True)
class Graph:
    """A network's operators in order, its outputs, and its constants by tensor as they lie in the file."""

    steps: tuple[Step, ...]
    source: int
    outputs: tuple[int, ...]
    constants: dict[int, np.ndarray]


def read_graph(path: Path) -> Graph:
    """Read a TFLite file of the operators above.

    Raises
    ------
    ModelError
        It holds an operator that is not among them.
    """
    model = tflite.Model.GetRootAsModel(bytearray(path.read_bytes()), 0)
    main = model.Subgraphs(0)
    constant: dict[int, int] = {}
    steps = []
    for number in range(main.OperatorsLength()):
        operator = main.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            constant[operator.Outputs(0)] = inputs[0]
            continue
        if kind not in _OPERATORS:
            raise ModelError(
                f"{path.name} holds an operator ({kind}) that is not known here.",
                "Use the hand_landmark_full.tflite of mediapipe 0.10.21.",
            )
        steps.append(_read_step(operator, _OPERATORS[kind], inputs, constant))
    return Graph(
        steps=tuple(steps),
        source=main.Inputs(0),
        outputs=tuple(main.Outputs(k) for k in range(main.OutputsLength())),
        constants={tensor: view_constant(model, main, tensor).copy() for tensor in constant.values()},
    )


def _read_step(operator: tflite.Operator, kind: str, inputs: list[int], constant: dict[int, int]) -> Step:
    stride, bounded = 1, False
    if kind in ("conv", "depthwise"):
        options = tflite.Conv2DOptions() if kind == "conv" else tflite.DepthwiseConv2DOptions()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        stride, bounded = options.StrideH(), options.FusedActivationFunction() == _RELU6
    weights = [constant[tensor] for tensor in inputs if tensor in constant]
    before = inputs[:1] if kind == "mean" else [tensor for tensor in inputs if tensor not in constant]
    weight, bias = weights or (-1, -1)
    return Step(kind, tuple(before), operator.Outputs(0), weight, bias, stride, bounded)


class LandmarkModule(nn.Module):
    """The network in torch: pictures (N, 3, 224, 224) RGB 0 to 1 to its outputs in the file's order.

    Parameters hold the file's layout (out, height, width, in), so that they go back as they are.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.weights = nn.ParameterDict(
            {str(tensor): nn.Parameter(torch.from_numpy(values.astype(np.float32)))
             for tensor, values in graph.constants.items()}
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """All outputs."""
        return self.finish({self.graph.source: pictures}, 0)

    def begin(self, pictures: Tensor, until: int) -> Tensor:
        """The features (N, C, H, W) after the first ``until`` steps, which must lead through one tensor."""
        return self._work({self.graph.source: pictures}, 0, until)[self.graph.steps[until - 1].output]

    def finish(self, values: dict[int, Tensor], start: int) -> list[Tensor]:
        """The outputs from the tensors that the steps before ``start`` made."""
        known = self._work(values, start, len(self.graph.steps))
        return [known[tensor] for tensor in self.graph.outputs]

    def _work(self, values: dict[int, Tensor], start: int, end: int) -> dict[int, Tensor]:
        known = dict(values)
        for step in self.graph.steps[start:end]:
            known[step.output] = self._do(step, [known[tensor] for tensor in step.inputs])
        return known

    def _do(self, step: Step, values: list[Tensor]) -> Tensor:
        first = values[0]
        if step.kind == "add":
            return first + values[1]
        if step.kind == "mean":
            return first.mean(dim=(2, 3))
        if step.kind == "logistic":
            return torch.sigmoid(first)
        weight, bias = self.weights[str(step.weight)], self.weights[str(step.bias)]
        if step.kind == "linear":
            return functional.linear(first, weight, bias)
        deep = step.kind == "depthwise"
        kernel = weight.permute(3, 0, 1, 2) if deep else weight.permute(0, 3, 1, 2)
        before, after = _pad(first.shape[2], kernel.shape[2], step.stride)
        if before != after:
            first = functional.pad(first, (before, after, before, after))
        groups = first.shape[1] if deep else 1
        padding = before if before == after else 0
        result = functional.conv2d(first, kernel, bias, stride=step.stride, padding=padding, groups=groups)
        return functional.relu6(result) if step.bounded else result

    def constants(self) -> dict[int, np.ndarray]:
        """The weights by tensor, fp16, as `write_graph` takes them."""
        return {
            int(name): values.detach().cpu().numpy().astype(np.float16)
            for name, values in self.weights.items()
        }


def _pad(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: what is odd goes to the end."""
    whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return whole // 2, whole - whole // 2
