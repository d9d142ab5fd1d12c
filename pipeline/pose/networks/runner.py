"""Running a network in batches on what the machine has: CUDA, MPS or the CPU."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
from collections.abc import Callable

import numpy as np
import torch

from pipeline.errors import PoseError
from pipeline.pose.networks.hand_layer import HandAnswer, HandNetwork

log = logging.getLogger(__name__)

GPU_BATCH, CPU_BATCH = 64, 8
"""Crops in a call of the network: enough to keep a GPU busy; few enough for a CPU's memory."""


def choose_device() -> torch.device:
    """CUDA if it is there, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def leave_cores_to_others() -> None:
    """One thread in a worker process: there is one a core, and threads on top get into each other's way."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)


class Runner:
    """A network on a device. A GPU works in half precision, the CPU in single.

    When a GPU's memory does not suffice, batches are halved; where a single crop is too much, the CPU goes
    on. Both are said in the log and kept in ``notes``.

    Parameters
    ----------
    name : str
        The network's, for what is said.
    load : callable
        Makes the network in single precision on the CPU.
    device : torch.device, optional
        By default the best there is.

    Attributes
    ----------
    notes : list of str
        What a person should know of this run.
    """

    def __init__(
        self, name: str, load: Callable[[], HandNetwork], device: torch.device | None = None
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self._load = load
        leave_cores_to_others()
        self.device = device or choose_device()
        try:
            self._prepare(self.device)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._fall_back()

    def _prepare(self, device: torch.device, half: bool = True) -> None:
        try:
            network = self._load()  # into the computer's memory, whatever the device
        except RuntimeError as error:
            raise (self._refuse() if is_out_of_memory(error) else error) from error
        self.half = half and device.type != "cpu"
        if self.half:
            network.use_half()
        self.device, self.network = device, network.to(device)
        self.batch = CPU_BATCH if device.type == "cpu" else GPU_BATCH

    def _fall_back(self) -> None:
        self._say(
            f"The GPU has too little memory for {self.name}: the CPU goes on, which takes very much longer. "
            "Close what else uses the GPU and start again."
        )
        if hasattr(self, "network"):
            del self.network
        self._free()
        self._prepare(torch.device("cpu"))

    def _use_single(self) -> None:
        self._say(
            f"{self.name} answered what is no number in half precision: now in single, at half the speed."
        )
        del self.network
        self._prepare(self.device, half=False)

    def _refuse(self) -> PoseError:
        return PoseError(
            f"The computer's memory does not suffice for {self.name}.",
            "Close other programs, or set REDYS_WORKERS=1, and start again.",
        )

    def _say(self, note: str) -> None:
        self.notes.append(note)
        log.warning(note)

    def _free(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def run(self, pictures: np.ndarray) -> HandAnswer:
        """Answers, on the CPU, for pictures (N, 3, 256, 256) float32, N at least 1.

        In as many batches as it takes, and in single precision where half does not suffice.
        """
        answers: list[HandAnswer] = []
        done = 0
        while done < len(pictures):
            part = torch.from_numpy(pictures[done : done + self.batch])
            try:
                answer = self._answer(part)
                if self.half and not bool(torch.isfinite(answer.points).all()):
                    self._use_single()
                    continue
                answers.append(answer)
                done += len(part)
                continue
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if self.device.type == "cpu" and is_out_of_memory(error):
                    raise self._refuse() from error
                if self.device.type == "cpu" or not is_out_of_memory(error):
                    raise
            # Outside the except: there the error would keep the memory of the failed batch.
            self._shrink(len(part))
        return _join(answers)

    def _answer(self, pictures: torch.Tensor) -> HandAnswer:
        with torch.inference_mode():
            answer = self.network(pictures.to(self.device))
            return HandAnswer(*(value.float().cpu() for value in vars(answer).values()))

    def _shrink(self, failed: int) -> None:
        self._free()
        if failed == 1:
            self._fall_back()
            return
        self.batch = failed // 2
        self._say(
            f"The GPU has too little memory for {failed} crops at once in {self.name}: now {self.batch}."
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether a failure is want of memory: MPS and the CPU say it in words only."""
    words = ("out of memory", "allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(one in str(error).lower() for one in words)


def _join(answers: list[HandAnswer]) -> HandAnswer:
    names = [field.name for field in dataclasses.fields(HandAnswer)]
    return HandAnswer(**{name: torch.cat([getattr(one, name) for one in answers]) for name in names})
