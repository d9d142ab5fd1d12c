import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.errors import ModelError
from pipeline.pose.networks.checkpoints import _rebuild_tensor, load_weights, read_checkpoint
from pipeline.pose.networks.hand_layer import drop_training_parts


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_load_state_dict_pre_hook(drop_training_parts)


class CfgNode(dict):
    """As yacs has it: a dict with attributes of its own."""

    def __init__(self, values=()):
        super().__init__(values)
        self.__dict__["__immutable__"] = True


@pytest.fixture
def yacs(monkeypatch):
    """A module that exists while the file is written, and is gone when it is read."""
    module = types.ModuleType("yacs.config")
    monkeypatch.setattr(module, "CfgNode", CfgNode, raising=False)
    monkeypatch.setattr(CfgNode, "__module__", "yacs.config")
    sys.modules["yacs"], sys.modules["yacs.config"] = types.ModuleType("yacs"), module
    yield CfgNode
    sys.modules.pop("yacs", None)
    sys.modules.pop("yacs.config", None)


def save(path, **more):
    torch.manual_seed(0)
    state = OrderedDict(Small().state_dict())
    torch.save({"state_dict": state, "epoch": 3, **more}, path)
    return state


def test_weights_come_back_as_they_were_written(tmp_path):
    state = save(tmp_path / "a.ckpt")
    network = Small()
    load_weights(network, "Small", read_checkpoint(tmp_path / "a.ckpt"))
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())


@given(
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8]),
    st.lists(st.integers(0, 4), max_size=3),
    st.booleans(),
)
@settings(max_examples=30)
def test_any_tensor_makes_the_round_trip(tmp_path_factory, dtype, shape, turned):
    path = tmp_path_factory.mktemp("trip") / "t.pt"
    value = (torch.randn(shape) * 3).to(dtype)
    value = value.transpose(0, -1) if turned and value.dim() else value
    torch.save({"value": value, "same": value}, path)
    read = read_checkpoint(path).weights
    assert read["value"].dtype == dtype
    assert torch.equal(read["value"], value)
    assert torch.equal(read["same"], value)


def test_a_training_tools_objects_become_inert_and_are_never_imported(tmp_path, yacs):
    config = yacs({"MODEL": yacs({"HEAD": yacs({"CLIP_JOINT2D": False, "DEPTH": 6})})})
    save(tmp_path / "a.ckpt", hyper_parameters={"cfg": config}, loops=[yacs({"a": 1})])
    del sys.modules["yacs.config"], sys.modules["yacs"]
    checkpoint = read_checkpoint(tmp_path / "a.ckpt")
    assert "yacs" not in sys.modules
    assert checkpoint.find_setting("CLIP_JOINT2D") is False
    assert checkpoint.find_setting("DEPTH") == 6
    assert checkpoint.find_setting("NOT_THERE") is None
    assert "one.weight" in checkpoint.weights


class Command:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_file_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path):
    target = tmp_path / "done"
    save(tmp_path / "evil.ckpt", callbacks=Command(target))
    with pytest.raises(ModelError, match=r"evil\.ckpt refers to \w+\.system") as caught:
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not target.exists()
    assert "makers" in caught.value.advice


@pytest.mark.parametrize("reference", [eval, getattr, __import__, exec, torch.load, pickle.loads, Small])
def test_functions_and_classes_are_refused(tmp_path, reference):
    save(tmp_path / "evil.ckpt", more=reference)
    with pytest.raises(ModelError, match=r"evil\.ckpt refers to"):
        read_checkpoint(tmp_path / "evil.ckpt")


def test_a_whole_module_in_place_of_weights_is_refused(tmp_path):
    torch.save(Small(), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"module\.pt refers to"):
        read_checkpoint(tmp_path / "module.pt")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.ckpt is missing"):
        read_checkpoint(tmp_path / "gone.ckpt")


@given(st.floats(0.0, 0.999))
@settings(max_examples=30)
def test_a_file_cut_short_is_refused_wherever_it_ends(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "a.ckpt"
    save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"a\.ckpt") as caught:
        read_checkpoint(path)
    assert "Download it again" in caught.value.advice


def test_a_web_page_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "a.ckpt").write_text("<!doctype html><title>Quota exceeded</title>")
    with pytest.raises(ModelError, match="not a whole file of weights"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_one_changed_byte_among_the_weights_is_noticed(tmp_path):
    path = tmp_path / "a.ckpt"
    state = save(path)
    whole = bytearray(path.read_bytes())
    at = whole.index(state["one.weight"].numpy().tobytes())
    whole[at + 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(path)


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="an archive, but not of weights"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {"state_dict": {"a": 1.0}}, {"a": "b"}])
def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match=r"a\.ckpt"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_tensor_that_reaches_beyond_its_bytes_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    assert parts[name].count(b"K\x04\x85") == 1  # the size (4,)
    parts[name] = parts[name].replace(b"K\x04\x85", b"K\x7f\x85")
    with zipfile.ZipFile(path, "w") as archive:
        for filename, value in parts.items():
            archive.writestr(filename, value)
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(path)


def test_a_missing_a_strange_and_a_misshapen_weight_are_named(tmp_path):
    state = Small().state_dict()
    state["two.weight"] = torch.zeros(1)
    del state["one.bias"]
    state["norm.weight"] = torch.zeros(5)
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(ModelError) as caught:
        load_weights(Small(), "Small", read_checkpoint(tmp_path / "a.ckpt"))
    for words in ("a.ckpt", "one.bias is missing", "two.weight is not one of its", "norm.weight is 5, not 2"):
        assert words in caught.value.what


def test_parts_for_training_only_are_left_out_and_half_weights_become_single(tmp_path):
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in Small().state_dict().items()
    }
    torch.save(
        {"state_dict": state | {"discriminator.a": torch.zeros(1), "initialized": torch.tensor(True)}},
        tmp_path / "a.ckpt",
    )
    network = Small()
    load_weights(network, "Small", read_checkpoint(tmp_path / "a.ckpt"))
    assert network.one.weight.dtype == torch.float32


def test_writing_to_the_weights_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.ckpt"
    save(path)
    before = path.read_bytes()
    read_checkpoint(path).weights["one.weight"].fill_(7.0)
    assert path.read_bytes() == before


def test_a_file_cannot_change_what_reads_it(tmp_path):
    setting = b"\x80\x02ctorch._utils\n_rebuild_tensor\nN}X\x0c\x00\x00\x00__defaults__(K\x01ts\x86b."
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("a/data.pkl", setting)
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(tmp_path / "a.ckpt")
    assert _rebuild_tensor.__defaults__ is None
