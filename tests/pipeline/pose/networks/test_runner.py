"""What happens when a GPU has too little memory, acted out by a network that refuses as a GPU does."""

import logging

import numpy as np
import pytest
import torch

from pipeline.errors import PoseError
from pipeline.pose.networks.hand_layer import HandNetwork
from pipeline.pose.networks.runner import CPU_BATCH, Runner


class Pretender(HandNetwork):
    """Believes to be on a GPU with room for some crops; its answer tells the crops apart."""

    def __init__(self, room: int, words: bool = False, half_fails: bool = False) -> None:
        super().__init__()
        self.room, self.words, self.half_fails = room, words, half_fails
        self.on_gpu = self.half_used = False
        self.batches: list[int] = []

    def use_half(self):
        self.half_used = True

    def to(self, device):  # type: ignore[override]
        self.on_gpu = torch.device(device).type != "cpu"
        return self

    def forward(self, pictures):
        self.batches.append(len(pictures))
        if self.on_gpu and len(pictures) > self.room:
            raise RuntimeError("MPS backend out of memory") if self.words else torch.OutOfMemoryError("CUDA")
        camera = torch.ones(len(pictures), 3)
        camera[:, 1] = pictures[:, 0, 0, 0]
        if self.half_used and self.half_fails:
            camera = camera * torch.nan
        sixd = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(len(pictures), 16)
        return self.pose(camera, sixd, torch.zeros(len(pictures), 10))


class GpuRunner(Runner):
    """A runner whose pictures stay where they are."""

    def _answer(self, pictures):
        with torch.inference_mode():
            return self.network(pictures)

    def _free(self):
        self.freed = True


def make_pictures(count: int) -> np.ndarray:
    pictures = np.zeros((count, 3, 256, 256), np.float32)
    pictures[:, 0, 0, 0] = np.arange(count)
    return pictures


def make_runner(**how) -> tuple[Runner, list[Pretender]]:
    made = []

    def load():
        made.append(Pretender(**how))
        return made[-1]

    return GpuRunner("HaMeR", load, torch.device("cuda")), made


@pytest.mark.parametrize("words", [False, True])
def test_a_gpu_with_little_memory_takes_smaller_batches_and_says_so(words, caplog):
    runner, made = make_runner(room=3, words=words)
    with caplog.at_level(logging.WARNING):
        answer = runner.run(make_pictures(14))
    assert answer.camera[:, 1].tolist() == list(range(14))
    assert made[0].batches[:4] == [14, 7, 3, 3]
    assert len(made) == 1
    assert "too little memory for 14 crops at once in HaMeR: now 7" in caplog.text
    assert len(runner.notes) == 2
    runner.run(make_pictures(6))
    assert made[0].batches[-2:] == [3, 3]  # it has learned
    assert len(runner.notes) == 2


def test_a_gpu_without_room_for_one_crop_hands_over_to_the_cpu_and_says_so(caplog):
    runner, made = make_runner(room=0)
    with caplog.at_level(logging.WARNING):
        answer = runner.run(make_pictures(10))
    assert answer.camera[:, 1].tolist() == list(range(10))
    assert runner.device.type == "cpu"
    assert not made[-1].half_used  # the CPU's network is loaded anew: single precision
    assert max(made[-1].batches) <= CPU_BATCH
    assert "the CPU goes on, which takes very much longer" in caplog.text


def test_another_failure_is_not_taken_for_want_of_memory(monkeypatch):
    def fail(_):
        raise RuntimeError("device-side assert")

    runner, made = make_runner(room=9)
    monkeypatch.setattr(made[0], "forward", fail)
    with pytest.raises(RuntimeError, match="assert"):
        runner.run(make_pictures(2))


def test_want_of_the_computers_own_memory_is_said_in_words(monkeypatch):
    def fail(_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    network = Pretender(room=0)
    monkeypatch.setattr(network, "forward", fail)
    with pytest.raises(PoseError, match="does not suffice for HaMeR") as caught:
        Runner("HaMeR", lambda: network, torch.device("cpu")).run(make_pictures(1))
    assert "REDYS_WORKERS" in caught.value.advice


def test_a_network_that_overflows_in_half_precision_is_run_in_single_and_that_is_said():
    runner, made = make_runner(room=99, half_fails=True)
    answer = runner.run(make_pictures(3))
    assert torch.isfinite(answer.points).all()
    assert [one.half_used for one in made] == [True, False]
    assert "single" in runner.notes[0]


def test_want_of_memory_while_loading_goes_to_the_cpu_too():
    made = []

    class Heavy(Pretender):
        def to(self, device):  # type: ignore[override]
            if torch.device(device).type != "cpu":
                raise torch.OutOfMemoryError("CUDA")
            return super().to(device)

    def load():
        made.append(Heavy(room=0))
        return made[-1]

    runner = GpuRunner("WiLoR", load, torch.device("cuda"))
    assert runner.device.type == "cpu"
    assert "WiLoR" in runner.notes[0]


def test_want_of_the_computers_own_memory_while_loading_is_said_in_words():
    def load():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    for device in ("cpu", "cuda"):
        with pytest.raises(PoseError, match=r"The computer's memory does not suffice for HaMeR"):
            GpuRunner("HaMeR", load, torch.device(device))
