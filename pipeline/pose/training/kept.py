"""Real photographs with the original network's own answers where they may be trusted: not to be forgotten.

A frame is held to where the passes of the original (`pipeline.pose.augmentation`) agree and are sure of a
hand. Each is cut many times, as tracking might, with the colours of other cameras. The last quarter of each
video and every fourth photograph are kept from the training, to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.errors import SessionError
from pipeline.hand.joints import Side
from pipeline.pose.augmentation import measure_palm_px, run_passes
from pipeline.pose.crops import cut
from pipeline.pose.landmarks import INPUT_PX, MediaPipeDetector, MediaPipeEstimator, frame_landmarks
from pipeline.pose.regions import Region, apply_affine
from pipeline.pose.training.scenery import film
from pipeline.pose.training.shards import SHARD_SIZE, Shard, encode, write_shard
from pipeline.progress import Reporter

VIDEOS = (".mp4", ".mov", ".webm", ".avi", ".mkv")
PICTURES = (".jpg", ".jpeg", ".png", ".webp")

_SURE = 0.9
_AGREED = 0.05
"""Spread of the passes as a share of the palm, above which a joint's answer is not held to."""

_PER_FRAME = 12
_EVERY_S = 0.2

_TRAINED_SHARE = 0.75
_GAP_S = 0.6
"""Of a video nothing is taken so near behind what is trained on."""


@dataclass(frozen=True)
class _Cut:
    """A crop, its joints (21, 2) in crop px (NaN: not trusted), its side, its palm's length in px."""

    image_bgr: np.ndarray
    points_px: np.ndarray
    right: bool
    palm_px: float


@dataclass(frozen=True)
class TrustedHand:
    """A hand of a real picture: the original's nominal crop, the mean (21, 2) of its passes, palm and side.

    In full-image px; points are NaN where the passes do not agree.
    """

    region: Region
    points_px: np.ndarray
    palm_px: float
    side: Side


@dataclass(frozen=True)
class Kept:
    """Shards of real hands: those to train on, and those that are only looked at."""

    trained: list[Path]
    held_out: list[Path]


def keep_real(folder: Path, out: Path, seed: int, report: Reporter) -> Kept:
    """Cut the trusted hands of all videos and pictures in a folder into shards; the shards in order.

    Raises
    ------
    SessionError
        The folder holds no video or picture with a hand that may be trusted, or none to hold out.
    """
    places = {held: out / ("held-out" if held else "trained") for held in (False, True)}
    if not (out / "complete").is_file():
        _cut_all(folder, places, seed, report)
        (out / "complete").touch()
    return Kept(*(sorted(place.glob("*.npz")) for place in places.values()))


def _cut_all(folder: Path, places: dict[bool, Path], seed: int, report: Reporter) -> None:
    random = np.random.default_rng([seed, 43])
    detector, estimator = MediaPipeDetector(), MediaPipeEstimator()
    files = list_files(folder)
    rows: dict[bool, list[_Cut]] = {False: [], True: []}
    for number, path in enumerate(files):
        for image, held in open_pictures(path, number):
            rows[held] += _cut_hands(random, image, detector, estimator)
        report.update((number + 1) / len(files), f"{path.name}: {len(rows[False])} crops")
    for held, place in places.items():
        if not rows[held]:
            raise SessionError(
                f"{folder} has too few videos or pictures with a hand that the network is sure of.",
                "Name a folder with photographs or videos of hands: some are trained on, some held out.",
            )
        place.mkdir(parents=True, exist_ok=True)
        for path in place.glob("*.npz"):
            path.unlink()
        order = random.permutation(len(rows[held]))
        for start in range(0, len(order), SHARD_SIZE):
            some = [rows[held][each] for each in order[start : start + SHARD_SIZE]]
            write_shard(place / f"{start:012d}.npz", _pack(some))


def list_files(folder: Path) -> list[Path]:
    """All videos and pictures of a folder, in an order that stays the same."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*VIDEOS, *PICTURES))


def open_pictures(path: Path, number: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Pictures (H, W, 3) uint8 BGR of a file, of a video five a second; and whether they are held out.

    ``number`` is the file's place in `list_files`.
    """
    if path.suffix.lower() in PICTURES:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is not None:
            yield image, number % 4 == 3
        return
    with av.open(str(path)) as container:
        following, end_s = 0.0, _TRAINED_SHARE * (container.duration or 0) / av.time_base
        for frame in container.decode(video=0):
            if frame.time is None or frame.time < following:
                continue
            following = frame.time + _EVERY_S
            if not end_s <= frame.time < end_s + _GAP_S:
                yield frame.to_ndarray(format="bgr24"), frame.time >= end_s


def _cut_hands(
    random: np.random.Generator, image: np.ndarray, detector: MediaPipeDetector, estimator: MediaPipeEstimator
) -> list[_Cut]:
    return [
        _vary(random, image, hand.region, hand.points_px, hand.palm_px, hand.side)
        for hand in find_trusted(image, detector, estimator)
        for _ in range(_PER_FRAME)
    ]


def find_trusted(
    image: np.ndarray, detector: MediaPipeDetector, estimator: MediaPipeEstimator
) -> list[TrustedHand]:
    """The hands of a picture (H, W, 3) uint8 BGR that the original's answer is held to."""
    hands = []
    for found in detector.detect(image):
        passes = run_passes(image, found.region, estimator, found.side, "minimal")
        points = passes.points_px.mean(axis=0)
        region = frame_landmarks(points)
        passes = run_passes(image, region, estimator, found.side, "minimal")
        palm = measure_palm_px(passes.points_px[:1])
        spread = np.sqrt(passes.points_px.var(axis=0).sum(axis=1)) / palm
        if passes.score.min() < _SURE or np.mean(spread < _AGREED) < 0.6:
            continue
        points = passes.points_px.mean(axis=0)
        points[spread >= _AGREED] = np.nan
        hands.append(TrustedHand(region, points, palm, found.side))
    return hands


def _vary(
    random: np.random.Generator,
    image: np.ndarray,
    region: Region,
    points: np.ndarray,
    palm: float,
    side: Side,
) -> _Cut:
    """A crop near a region; half of them mirrored."""
    x, y = random.normal(0, 0.04, 2) * region.size_px
    moved = replace(region, x_px=region.x_px + x, y_px=region.y_px + y)
    moved = moved.vary(float(np.exp(random.normal(0, 0.13))), float(random.normal(0, 0.45)))
    crop, image_from_crop = cut(image, moved, INPUT_PX)
    place = apply_affine(cv2.invertAffineTransform(image_from_crop), points)
    right = side == "right"
    if random.random() < 0.5:
        crop, right = crop[:, ::-1], not right
        place = place * [-1.0, 1.0] + [INPUT_PX - 1.0, 0.0]
    if random.random() < 0.75:
        crop = film(random, crop.astype(np.float32) / 255, INPUT_PX)
    return _Cut(np.ascontiguousarray(crop), place, right, palm * INPUT_PX / moved.size_px)


def _pack(rows: list[_Cut]) -> Shard:
    return Shard(
        pictures=[encode(row.image_bgr) for row in rows],
        points_px=np.array([row.points_px for row in rows], dtype=np.float32),
        world_mm=np.full((len(rows), 21, 3), np.nan, np.float32),
        right=np.array([row.right for row in rows], dtype=np.float32),
        present=np.ones(len(rows), np.float32),
        palm_px=np.array([row.palm_px for row in rows], dtype=np.float32),
    )
