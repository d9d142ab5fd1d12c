"""Shards as one array to draw batches from: pictures, or what the frozen first steps make of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.files import replace_atomically
from pipeline.pose.landmarks import INPUT_PX
from pipeline.pose.training.graph import LandmarkModule
from pipeline.pose.training.losses import Truth
from pipeline.pose.training.shards import Shard, read_shard
from pipeline.progress import Reporter

_BATCH = 32


@dataclass(frozen=True)
class Material:
    """Inputs of N crops for the step where training starts, and their truth.

    Attributes
    ----------
    inputs : ndarray
        (N, 224, 224, 3) uint8 BGR where training starts with the picture, else features (N, C, H, W) float16.
    truth : Truth
    start : int
        Steps of the network that are frozen.
    """

    inputs: np.ndarray
    truth: Truth
    start: int

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, numbers: np.ndarray, device: str) -> tuple[Tensor, Truth]:
        """A batch on a device."""
        batch = torch.from_numpy(self.inputs[numbers]).to(device)
        inputs = to_pictures(batch) if self.start == 0 else batch.float()
        index = torch.from_numpy(numbers)
        return inputs, Truth(**{name: values[index].to(device) for name, values in vars(self.truth).items()})


def to_pictures(crops_bgr: Tensor) -> Tensor:
    """Crops (N, H, W, 3) uint8 BGR as the network takes them: (N, 3, H, W) RGB 0 to 1."""
    return crops_bgr.flip(3).permute(0, 3, 1, 2).float() / 255


def gather(
    paths: list[Path],
    real: bool,
    module: LandmarkModule,
    start: int,
    cache: Path,
    device: str,
    report: Reporter,
) -> Material:
    """All shards as material; what the frozen steps make of them is kept (``cache``-...) for later."""
    shards = [read_shard(path) for path in paths]
    truth = _join(shards, real)
    if start == 0:
        pictures = np.stack(
            [shard.decode(number) for shard in shards for number in range(len(shard.pictures))]
        )
        return Material(pictures, truth, 0)
    kept = cache.with_name(f"{cache.name}-{paths[0].stem}-{len(truth.present)}.npy")
    if not kept.is_file():
        with replace_atomically(kept) as temporary, open(temporary, "wb") as file:
            np.save(file, _work_out(shards, module, start, device, report))
    return Material(np.load(kept, mmap_mode="r"), truth, start)


def _work_out(
    shards: list[Shard], module: LandmarkModule, start: int, device: str, report: Reporter
) -> np.ndarray:
    features = []
    for done, shard in enumerate(shards):
        for first in range(0, len(shard.pictures), _BATCH):
            numbers = range(first, min(first + _BATCH, len(shard.pictures)))
            crops = np.stack([shard.decode(number) for number in numbers])
            assert crops.shape[1] == INPUT_PX
            with torch.no_grad():
                values = module.begin(to_pictures(torch.from_numpy(crops).to(device)), start)
            features.append(values.half().cpu().numpy())
        report.update((done + 1) / len(shards), f"Features of {(done + 1)} of {len(shards)} shards")
    return np.concatenate(features)


def _join(shards: list[Shard], real: bool) -> Truth:
    def join(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(shard, name) for shard in shards]))

    present = join("present")
    return Truth(
        points_px=join("points_px"),
        world_mm=join("world_mm"),
        right=join("right"),
        present=present,
        palm_px=join("palm_px"),
        real=torch.full_like(present, float(real)),
    )
