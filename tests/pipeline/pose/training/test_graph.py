"""The network out of its file: the same answers in torch, and back without loss."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.pose.litert import LANDMARK_FILE, Network, locate
from pipeline.pose.training.graph import LandmarkModule, read_graph, write_graph
from pipeline.pose.training.material import to_pictures
from pipeline.pose.training.pictures import Painter


@pytest.fixture(scope="module")
def crops_bgr() -> np.ndarray:
    painter = Painter()
    return np.stack([painter.draw(seed).image_bgr for seed in range(4)])


def test_torch_answers_as_litert_does(crops_bgr: np.ndarray) -> None:
    module = LandmarkModule(read_graph(locate(LANDMARK_FILE)))
    expected = Network(locate(LANDMARK_FILE)).run(crops_bgr[..., ::-1].astype(np.float32) / 255)
    with torch.no_grad():
        found = module(to_pictures(torch.from_numpy(crops_bgr)))
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.numpy() - other).max() < 1e-3


def test_it_may_be_worked_in_two_parts(crops_bgr: np.ndarray) -> None:
    module = LandmarkModule(read_graph(locate(LANDMARK_FILE)))
    pictures = to_pictures(torch.from_numpy(crops_bgr[:1]))
    with torch.no_grad():
        features = module.begin(pictures, 20)
        parts = module.finish({module.graph.steps[19].output: features}, 20)
        whole = module(pictures)
    assert features.shape == (1, 80, 14, 14)
    assert all(torch.equal(one, other) for one, other in zip(parts, whole, strict=True))


def test_weights_go_back_into_the_file_without_loss() -> None:
    path = locate(LANDMARK_FILE)
    assert write_graph(path, LandmarkModule(read_graph(path)).constants()) == path.read_bytes()


def test_changed_weights_change_the_answer_and_nothing_else(tmp_path: Path, crops_bgr: np.ndarray) -> None:
    path = locate(LANDMARK_FILE)
    graph = read_graph(path)
    bias = next(step.bias for step in graph.steps if step.output == graph.outputs[0])
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(write_graph(path, {bias: graph.constants[bias] + np.float16(4)}))
    pictures = crops_bgr[:1, ..., ::-1].astype(np.float32) / 255
    before, after = Network(path).run(pictures), Network(changed).run(pictures)
    assert np.allclose(after[0] - before[0], 4.0, atol=0.2)
    assert all(np.array_equal(one, other) for one, other in zip(before[1:], after[1:], strict=True))


def test_weights_of_another_network_are_refused() -> None:
    path = locate(LANDMARK_FILE)
    tensor = next(iter(read_graph(path).constants))
    with pytest.raises(ModelError, match="do not fit"):
        write_graph(path, {tensor: np.zeros((2, 2))})
