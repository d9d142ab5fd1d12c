"""The networks in full size against the outputs of the published programs, on weights set by their names."""

import csv
import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.hand.model import _read_mano
from pipeline.pose.networks.checkpoints import load_weights, read_checkpoint
from pipeline.pose.networks.estimators import load_network
from pipeline.pose.networks.hamba import Hamba
from pipeline.pose.networks.hamer import Hamer
from pipeline.pose.networks.hand_layer import TRAINING_PARTS, HandAnswer, HandNetwork
from pipeline.pose.networks.wilor import Wilor

GOLDEN = Path(__file__).resolve().parents[5] / "shared" / "golden"
NETWORKS = {"hamer": Hamer, "wilor": Wilor, "hamba": Hamba}
TOLERANCE = 1e-4

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def _need_golden():
    if not GOLDEN.is_dir():
        pytest.skip("../shared/golden is not there")


def read_keys(name: str) -> dict[str, tuple[str, str]]:
    (path,) = GOLDEN.glob(f"{name}_keys*.tsv")
    with path.open(encoding="utf-8") as lines:
        return {row[0]: (row[1], row[2]) for row in csv.reader(lines, delimiter="\t")}


def make_filled(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> HandNetwork:
    """The network with every weight set by its name, the made-up hand and the published means."""
    with torch.device("meta"):
        network = NETWORKS[name]()
    network.to_empty(device="cpu").eval()
    monkeypatch.chdir(folder)
    runpy.run_path(str(GOLDEN / "fakemano.py"))
    network.mano.take(_read_mano(folder / "mano" / "MANO_RIGHT.pkl"))
    means = np.load(GOLDEN / "mano_mean_params.npz")
    leaves = {"init_hand_pose": "pose", "init_betas": "shape", "init_cam": "cam"}
    for key, buffer in network.named_buffers():
        leaf = key.rpartition(".")[2]
        if leaf in leaves:
            buffer.copy_(torch.from_numpy(means[leaves[leaf]])[None])
    get_fill().fill(network)
    return network


def get_fill():
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def get_differences(answer: HandAnswer, golden, prefix: str = "") -> dict[str, float]:
    ours = {
        "pred_cam": answer.camera,
        "pred_mano_params/global_orient": answer.global_orient[:, None],
        "pred_mano_params/hand_pose": answer.hand_pose,
        "pred_mano_params/betas": answer.betas,
        "pred_cam_t": answer.translation_m,
        "pred_keypoints_3d": answer.joints_m,
        "pred_vertices": answer.vertices_m,
        "pred_keypoints_2d": answer.points,
    }
    assert all(tuple(ours[key].shape) == golden[prefix + key].shape for key in ours)
    return {prefix + key: float(np.abs(ours[key].numpy() - golden[prefix + key]).max()) for key in ours}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_published_name_is_there_with_its_shape_and_no_other(name):
    with torch.device("meta"):
        own = NETWORKS[name]().state_dict()
    spelt = {key: (str(list(value.shape)), str(value.dtype)[6:]) for key, value in own.items()}
    published = read_keys(name)
    assert spelt == {key: row for key, row in published.items() if not key.startswith(TRAINING_PARTS)}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_full_state_dict_of_the_published_names_loads_strictly(name):
    published = {
        key: torch.empty([int(size) for size in shape.strip("[]").split(",") if size.strip()], device="meta")
        for key, (shape, _) in read_keys(name).items()
    }
    with torch.device("meta"):
        network = NETWORKS[name]()
    network.load_state_dict(published, strict=True, assign=True)
    published.pop("backbone.pos_embed")
    with pytest.raises(RuntimeError, match="pos_embed"):
        network.load_state_dict(published, strict=True, assign=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_file_loads_and_answers_as_the_published_program(name, tmp_path, monkeypatch):
    """Through the file: written as training writes it, read back by the safe reader, run."""
    network = make_filled(name, tmp_path, monkeypatch)
    state = dict(network.state_dict()) | {"discriminator.betas_out.bias": torch.zeros(1)}
    path = tmp_path / "weights.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": {"cfg": {"MODEL": {"CLIP_JOINT2D": True}}}}, path)
    del network, state
    try:
        network = load_network(name, path)
        golden = np.load(GOLDEN / f"golden_{name}.npz")
        with torch.inference_mode():
            if isinstance(network, Hamba):
                first, answer = network.answer_twice(get_fill().image())
                differences = get_differences(first, golden, "output_init_regression/")
            else:
                answer, differences = network(get_fill().image()), {}
    finally:
        path.unlink()  # 2.7 GB
    differences |= get_differences(answer, golden)
    assert max(differences.values()) <= TOLERANCE, differences


def test_hambas_clipping_shows_in_its_answer(tmp_path):
    """Joints of the golden hand fall outside the picture, so the wrong choice could not pass."""
    golden = np.load(GOLDEN / "golden_hamba.npz")
    assert np.abs(2 * golden["output_init_regression/pred_keypoints_2d"][..., 0]).max() > 1


def test_weights_of_one_network_are_refused_by_another(tmp_path):
    path = tmp_path / "hamer.ckpt"
    keys = [key for key in read_keys("hamer") if "blocks" not in key and "discriminator" not in key]
    torch.save({"state_dict": {key: torch.zeros(1) for key in keys}}, path)
    with torch.device("meta"):
        network = Wilor()
    from pipeline.errors import ModelError

    with pytest.raises(ModelError, match=r"hamer\.ckpt does not hold the weights of WiLoR.*looks like HaMeR"):
        load_weights(network, "WiLoR", read_checkpoint(path))
