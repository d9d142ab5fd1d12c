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

from pipeline.sync import MATCH_SCORE, find_offset

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
    """One microphone's recording (N,) at ``rate_hz``: its t is ``start_s + (1 + drift) t`` in the room."""
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


def measure_plain_peak(reference: np.ndarray, target: np.ndarray, rate_hz: int = 16000) -> float:
    """The plain way: whole samples of the highest cross-correlation, no drift, no verdict. Offset in s."""
    c = signal.correlate(target, reference, mode="full", method="fft")
    return -float(int(c.argmax()) - (len(reference) - 1)) / rate_hz


def compare(seeds: int, seconds: float, snr_db: float, drift_ppm: float) -> None:
    """Print errors at start and end of made takes, ours and the plain way's."""
    ours, plain, drifts, bands, verdicts = [], [], [], [], []
    busy_s = 0.0
    for seed in range(seeds):
        reference, target, offset_s, drift = make_pair(seed, seconds, snr_db, drift_ppm)
        began = time.perf_counter()
        found = find_offset(reference, target)
        busy_s += time.perf_counter() - began
        at_s = np.array([0.0, seconds])
        true_s = offset_s + drift * 1e-6 * at_s
        errors = found.offset_s + found.drift_ppm * 1e-6 * at_s - true_s
        ours.append(np.abs(errors).max())
        bands.append(abs(errors[0]) / found.sigma_s)
        plain.append(np.abs(measure_plain_peak(reference, target) - true_s).max())
        drifts.append(abs(found.drift_ppm - drift))
        verdicts.append(found.verdict)
    print(f"{seeds} made takes of {seconds:g} s, {snr_db:g} dB, clocks up to {drift_ppm:g} ppm apart:")
    for name, values in (("pipeline.sync", np.array(ours)), ("plain peak", np.array(plain))):
        print(
            f"  {name:14s} worst of start and end: median {np.median(values) * 1e3:.3f} ms, "
            f"largest {values.max() * 1e3:.3f} ms, within 0.5 ms {np.sum(values <= 5e-4)} of {seeds}"
        )
    print(f"  drift: median error {np.median(drifts):.2f} ppm, largest {np.max(drifts):.2f} ppm")
    print(f"  offset error over its stated sigma: median {np.median(bands):.2f}, largest {np.max(bands):.2f}")
    print(f"  reliable {verdicts.count('reliable')}, check {verdicts.count('check')}", end=", ")
    print(f"failed {verdicts.count('failed')}; {busy_s / seeds:.2f} s a pair")
    print(f"  ratio of medians, plain peak / pipeline.sync: {np.median(plain) / np.median(ours):.1f}")


def count_false_trust(seeds: int, snr_db: float) -> None:
    """Print how often a repeated bar, or sound of another take, is called reliable and is wrong."""
    wrong = 0
    for seed in range(seeds):
        reference, target, offset_s, _ = make_pair(seed, 20.0, snr_db, 30.0, bar_s=2.0)
        found = find_offset(reference, target)
        wrong += found.verdict == "reliable" and abs(found.offset_s - offset_s) > 1e-3
    print(f"{seeds} takes of a bar that is looped: wrong and reliable {wrong}")
    scores, shares, trusted = [], [], 0
    for seed in range(seeds):
        reference, _, _, _ = make_pair(seed, 12.0, snr_db, 30.0)
        _, other, _, _ = make_pair(seed + 10_000, 12.0, snr_db, 30.0)
        found = find_offset(reference, other)
        scores.append(found.match)
        shares.append(found.agreement)
        trusted += found.verdict != "failed"
    print(
        f"{seeds} pairs of two different takes: not failed {trusted}, highest match {max(scores):.1f} "
        f"(threshold {MATCH_SCORE:g}), highest agreement {max(shares):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--snr-db", type=float, default=10.0)
    parser.add_argument("--drift-ppm", type=float, default=60.0)
    options = parser.parse_args()
    compare(options.seeds, options.seconds, options.snr_db, options.drift_ppm)
    count_false_trust(options.seeds, options.snr_db)


if __name__ == "__main__":
    main()
