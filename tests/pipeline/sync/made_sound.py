"""Made sound and small videos that carry it."""

from __future__ import annotations

import functools
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.sync_accuracy import LEAD_S, make_room, record
from pipeline.video import VideoWriter

SECONDS = 8.0
TRUE = {"front": (0.0, 0.0), "left": (1.23456, 40.0), "right": (-0.77123, -55.0)}


@functools.lru_cache(maxsize=4)
def make_known_room(seed: int = 0, seconds: float = SECONDS + 2 * LEAD_S) -> np.ndarray:
    return make_room(np.random.default_rng(seed), seconds)


def hear(seed: int, start_s: float, seconds: float = SECONDS, drift_ppm: float = 0.0, room_seed: int = 0):
    """A recording that starts ``start_s`` after the reference's, by a microphone of its own."""
    room = make_known_room(room_seed)
    return record(np.random.default_rng(seed), room, LEAD_S + start_s, seconds, drift_ppm)


def film(path: Path, samples: np.ndarray | None, seconds: float = SECONDS, rate_hz: int = 16000) -> Path:
    """A small grey video with this sound."""
    audio = None if samples is None else (samples, rate_hz)
    with VideoWriter(path, (32, 32), Fraction(10), audio=audio) as writer:
        for index in range(round(seconds * 10)):
            writer.write(np.full((32, 32, 3), index % 256, np.uint8))
    return path
