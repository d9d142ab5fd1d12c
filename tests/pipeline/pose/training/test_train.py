"""The training: it learns, goes on where it stopped, and what it writes runs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.files import read_npz
from pipeline.pose.litert import LANDMARK_FILE, Network, locate
from pipeline.pose.training.curves import draw_curves
from pipeline.pose.training.graph import write_graph
from pipeline.pose.training.losses import Outputs, Truth, compute_loss
from pipeline.pose.training.shards import draw_shards, read_shard
from pipeline.pose.training.train import Plan, train
from pipeline.progress import Reporter

HEADS = 57
"""Steps before the heads: to train these alone is a matter of seconds."""

PLAN = Plan(
    n_pictures=48, n_held_out=16, passes=10.0, start=HEADS, batch=16, rate=3e-3, warm_up=3, look_every=15
)


def make_definition(folder: Path) -> None:
    """As if the offsets had been fitted, and were none."""
    folder.mkdir()
    (folder / "definition.json").write_text(
        json.dumps({"offset_mm": np.zeros((21, 3)).tolist(), "palm_m": 0.09})
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that is looked at with pictures that it has seen: so few pictures teach no others."""
    folder = tmp_path_factory.mktemp("training") / "out"
    make_definition(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.pose.training.train.HELD_OUT_SEED", 0)
        train(folder, PLAN, None, "cpu", 1, Reporter())
    return folder


def test_it_learns_and_its_weights_run(trained: Path) -> None:
    rows = (trained / "curves.csv").read_text().splitlines()
    assert len(rows) == 1 + 3  # a head, the first look, two more in thirty steps
    constants = {int(name): values for name, values in read_npz(trained / "weights.npz").items()}
    path = trained / "trained.tflite"
    path.write_bytes(write_graph(locate(LANDMARK_FILE), constants))
    shard = read_shard(next((trained / "made").iterdir()))
    pictures = np.stack([shard.decode(number) for number in range(48)])[..., ::-1].astype(np.float32) / 255
    errors = []
    for network in (locate(LANDMARK_FILE), path):
        points = Network(network).run(pictures)[0].reshape(-1, 21, 3)[..., :2]
        away = np.linalg.norm(points - shard.points_px, axis=2)[shard.present > 0]
        errors.append(float(away.mean()))
    assert errors[1] < 0.99 * errors[0]
    assert draw_curves(trained).read_text().count("<polyline") == 4


def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    make_definition(folder)
    for name in ("made", "held-out"):
        (folder / name).symlink_to(trained / name)
    monkeypatch.setattr("pipeline.pose.training.train.HELD_OUT_SEED", 0)
    train(folder, replace(PLAN, minutes=0.0), None, "cpu", 1, Reporter())  # one step, and its time is over
    train(folder, PLAN, None, "cpu", 1, Reporter())
    ended = [torch.load(each / "state.pt", weights_only=True) for each in (trained, folder)]
    assert ended[0]["step"] == ended[1]["step"] == 30
    for name, values in ended[0]["weights"].items():
        assert torch.allclose(values, ended[1]["weights"][name], atol=1e-6)


def test_drawing_goes_on_with_the_shards_that_are_missing(trained: Path) -> None:
    path = next((trained / "made").iterdir())
    before = path.stat().st_mtime_ns
    assert draw_shards(trained / "made", 48, 0, np.zeros((21, 3)), 1, Reporter()) == [path]
    assert path.stat().st_mtime_ns == before


def make_case(error_px: float, sigma_px: float) -> float:
    """The loss of one crop whose joints are all as far off and as sure."""
    points = torch.zeros(1, 21, 2)
    points[..., 0] = error_px
    log_sigma = torch.full((1, 21), float(np.log(sigma_px)))
    sure = torch.tensor([1.0])
    nowhere = torch.full((1, 21, 3), float("nan"))
    truth = Truth(torch.zeros(1, 21, 2), nowhere, sure, sure, torch.tensor([100.0]), torch.zeros(1))
    outputs = Outputs(points, log_sigma, sure, sure, torch.zeros(1, 21, 3))
    return float(compute_loss(outputs, truth, 0.09)) / sigma_px  # without the weight that carries no gradient


def test_the_likelihood_is_best_at_the_true_sigma() -> None:
    """An error of e px in length is likeliest at e / sqrt 2 an axis."""
    best = min(np.linspace(1, 20, 400), key=lambda sigma: make_case(8.0, sigma))
    assert best == pytest.approx(8.0 / np.sqrt(2), abs=0.1)


def test_joints_that_are_not_known_teach_nothing() -> None:
    outputs = Outputs(
        torch.zeros(1, 21, 2, requires_grad=True),
        torch.zeros(1, 21),
        torch.tensor([0.5]),
        torch.tensor([0.5]),
        torch.zeros(1, 21, 3),
    )
    nan = torch.full((1, 21, 3), float("nan"))
    truth = Truth(nan[..., :2], nan, nan[:, 0, 0], torch.zeros(1), torch.tensor([50.0]), torch.zeros(1))
    loss = compute_loss(outputs, truth, 0.09)
    loss.backward()
    assert torch.isfinite(loss)
    assert outputs.points_px.grad is not None
    assert float(outputs.points_px.grad.abs().max()) == 0
