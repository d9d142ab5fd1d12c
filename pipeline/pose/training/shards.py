"""Training pictures on disk: made ones drawn by several processes, and real ones that the original saw right.

A shard is a ``.npz`` of JPEG crops and their truth, named by its first seed: a killed drawing goes on with
the shards that are missing.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from pipeline.files import read_npz, write_npz
from pipeline.pose.training.definition import place_points
from pipeline.pose.training.pictures import Painter
from pipeline.progress import Reporter

SHARD_SIZE = 512
_JPEG_QUALITY = 96


@dataclass(frozen=True)
class Shard:
    """N crops and what is true of them.

    Attributes
    ----------
    pictures : list of ndarray (B,) uint8
        JPEG files of crops (224, 224, 3).
    points_px : ndarray (N, 21, 2) float32
        In crop px; NaN where there is no hand.
    world_mm : ndarray (N, 21, 3) float32
        Joints along the crop's axes, from the wrist, mm; NaN where that is not known.
    right : ndarray (N,) float32
        1, 0, or NaN.
    present : ndarray (N,) float32
    palm_px : ndarray (N,) float32
        Mean distance of the knuckles from the wrist in space, as px of the crop: what errors are shares of.
    """

    pictures: list[np.ndarray]
    points_px: np.ndarray
    world_mm: np.ndarray
    right: np.ndarray
    present: np.ndarray
    palm_px: np.ndarray

    def decode(self, number: int) -> np.ndarray:
        """A crop (224, 224, 3) uint8 BGR."""
        picture = cv2.imdecode(self.pictures[number], cv2.IMREAD_COLOR)
        assert picture is not None
        return picture


def encode(image_bgr: np.ndarray) -> np.ndarray:
    """A crop as a JPEG file (B,) uint8, good enough to lose nothing that a camera had left."""
    return np.asarray(cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]).ravel()


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard whole."""
    arrays = {each.name: getattr(shard, each.name) for each in fields(shard) if each.name != "pictures"}
    ends = np.cumsum([len(picture) for picture in shard.pictures])
    write_npz(path, pictures=np.concatenate(shard.pictures), ends=ends, **arrays)


def read_shard(path: Path) -> Shard:
    """Read a shard.

    Raises
    ------
    pipeline.errors.RunFolderError
        The file is missing or broken.
    """
    values = read_npz(path)
    pictures = np.split(values.pop("pictures"), values.pop("ends")[:-1])
    return Shard(pictures=pictures, **values)


def draw_shards(
    folder: Path, n_pictures: int, first_seed: int, offset_mm: np.ndarray, workers: int, report: Reporter
) -> list[Path]:
    """Draw made pictures into a folder, as many as are missing there; the shards in order."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + n_pictures, SHARD_SIZE)
    paths = [folder / f"{seed:012d}.npz" for seed in seeds]
    missing = [
        (path, range(seed, min(seed + SHARD_SIZE, first_seed + n_pictures)), offset_mm)
        for path, seed in zip(paths, seeds, strict=True)
        if not path.is_file()
    ]
    if missing and workers < 2:
        _prepare()
        for done, task in enumerate(missing):
            _draw(task)
            report.update((done + 1) / len(missing), f"{done + 1} of {len(missing)} shards drawn")
    elif missing:
        context = multiprocessing.get_context("spawn")
        with context.Pool(min(workers, len(missing)), _begin_worker) as pool:
            for done, _ in enumerate(pool.imap_unordered(_draw, missing)):
                report.update((done + 1) / len(missing), f"{done + 1} of {len(missing)} shards drawn")
    return paths


_painter: Painter | None = None


def _begin_worker() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _prepare()


def _prepare() -> None:
    global _painter
    _painter = _painter or Painter()


def _draw(task: tuple[Path, range, np.ndarray]) -> None:
    path, seeds, offset_mm = task
    assert _painter is not None
    samples = [_painter.draw(seed) for seed in seeds]
    placed = [place_points(sample, offset_mm) for sample in samples]
    present = np.array([sample.present for sample in samples])
    world = np.array([joints for _, joints in placed], dtype=np.float32)
    world[~present] = np.nan
    palms = [np.linalg.norm(sample.joints_mm[[5, 9, 13, 17]], axis=1).mean() for sample in samples]
    scale = [sample.px_per_mm[9] for sample in samples]
    write_shard(
        path,
        Shard(
            pictures=[encode(sample.image_bgr) for sample in samples],
            points_px=np.array([points for points, _ in placed], dtype=np.float32),
            world_mm=world,
            right=np.where(present, [sample.right for sample in samples], np.nan).astype(np.float32),
            present=present.astype(np.float32),
            palm_px=np.array(np.multiply(palms, scale), dtype=np.float32),
        ),
    )
