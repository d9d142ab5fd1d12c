"""How well the synchronisation finds offsets and clock drifts that it does not know.

    python -m benchmarks.sync_accuracy [--seeds 50] [--seconds 8] [--snr-db 10] [--drift-ppm 60]

Makes two recordings of one made performance (tones at irregular times, the clicks of keys, breath and steps),
each with its own microphone, echo, noise, offset and clock, and prints how far the answer is from the truth,
beside the plain peak of the cross-correlation (what most programs use).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import ndimage, signal

ROOM_HZ = 48000
LEAD_S = 4.0


def make_room(random: np.random.Generator, seconds: float, bar_s: float | None = None) -> np.ndarray:
    """Sound of a made performance (N,) at `ROOM_HZ`, below 7 kHz; with ``bar_s`` one bar again and again."""
    n = round(seconds * ROOM_HZ)
    if bar_s is not None:
        bar = make_room(random, bar_s)
        return np.tile(bar, int(np.ceil(n / len(bar))))[:n]
    room = 0.004 * random.standard_normal(n) * np.repeat(random.gamma(0.6, 1.0, n // 4800 + 1), 4800)[:n]
    onset_s = 0.0
    while (onset_s := onset_s + random.gamma(4.0, 0.08)) < seconds:
        first = int(np.ceil(onset_s * ROOM_HZ))
        age_s = np.arange(first, min(n, first + ROOM_HZ)) / ROOM_HZ - onset_s
        hertz = 220.0 * 2 ** (random.integers(0, 30) / 12)
        tone = sum(
            random.uniform(0.3, 1.0) / h * np.exp(-age_s * (2 + h))
            * np.sin(2 * np.pi * h * hertz * age_s + random.uniform(0, 6.3))
            for h in range(1, 6)
        )  # fmt: skip
        click = random.standard_normal(len(age_s)) * np.exp(-age_s / 0.006)
        loud = random.uniform(0.1, 1.0)
        room[first : first + len(age_s)] += loud * (0.3 * (1 - np.exp(-age_s / 0.003)) * tone + 0.1 * click)
    return signal.sosfiltfilt(signal.butter(6, 6500, fs=ROOM_HZ, output="sos"), room)


def record(
    random: np.random.Generator,
    room: np.ndarray,
    start_s: float,
    seconds: float,
    drift_ppm: float = 0.0,
    snr_db: float = 10.0,
    rate_hz: int = 16000,
) -> np.ndarray:
    """One microphone's recording (N,) at ``rate_hz``: its time t is ``start_s + (1 + drift) t`` in the room."""
    echo = np.zeros(int(0.08 * ROOM_HZ))
    echo[0] = 1.0
    for delay_s in random.uniform(0.002, 0.07, 10):
        echo[int(delay_s * ROOM_HZ)] += random.choice([-1, 1]) * 0.4 * np.exp(-delay_s / 0.03)
    heard = signal.fftconvolve(room, echo)[: len(room)]
    clock_s = np.arange(round(seconds * rate_hz)) / rate_hz
    at = (start_s + clock_s * (1 + drift_ppm * 1e-6)) * ROOM_HZ
    own = ndimage.map_coordinates(heard, [at], order=5, mode="constant")
    band = [random.uniform(50, 150), random.uniform(4000, 7500)]
    own = signal.sosfilt(signal.butter(1, band, "bandpass", fs=rate_hz, output="sos"), own)
    own += np.std(own) * 10 ** (-snr_db / 20) * random.standard_normal(len(own))
    return (random.uniform(0.1, 0.6) * own / np.abs(own).max()).astype(np.float32)


def make_pair(
    seed: int, seconds: float, snr_db: float, drift_ppm: float, bar_s: float | None = None
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Reference and target recordings at 16 kHz, true offset in s and true drift in ppm."""
    random = np.random.default_rng(seed)
    room = make_room(random, seconds + 2 * LEAD_S, bar_s)
    drift = random.uniform(-drift_ppm, drift_ppm)
    offset_s = random.uniform(-LEAD_S / 2, LEAD_S / 2)
    reference = record(random, room, LEAD_S, seconds, 0.0, snr_db)
    target = record(random, room, LEAD_S + offset_s, seconds, drift, snr_db)
    return reference, target, offset_s, drift
