"""How well the synchronisation finds offsets and clock drifts that it does not know.

    python -m benchmarks.sync_accuracy [--seeds 50] [--seconds 8 180] [--snr-db 10] [--drift-ppm 60]

Makes two recordings of one made performance (tones at irregular times, the clicks of keys, breath and steps),
each with its own microphone, echo, noise, offset and clock, and prints how far the answer is from the truth,
beside the plain peak of the cross-correlation (what most programs use). Then music that repeats itself, and
sound of two different takes: none may be wrong and "reliable". Then real recordings, where they are there.
Half an hour on one core for 180 s; a minute for ``--seconds 8 --seeds 20``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage, signal

from pipeline.sync.sound import MATCH_SCORE, find_offset
from pipeline.video import read_audio

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
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


# --- music that repeats itself -----------------------------------------------------------------------

Music = Callable[[np.random.Generator, float], np.ndarray]


def make_bars(
    random: np.random.Generator, seconds: float, bar_s: float, jitter_s: float, spread: float
) -> np.ndarray:
    """One bar again and again, its notes shifted and louder or softer each time by that much."""
    n_notes = max(2, round(bar_s / 0.25))
    onset_s = np.sort(random.uniform(0, 0.95 * bar_s, n_notes))
    notes = [make_room(random, 0.6) for _ in range(n_notes)]
    room = np.zeros(round(seconds * ROOM_HZ))
    for start_s in np.arange(0, seconds, bar_s):
        for at_s, note in zip(onset_s, notes, strict=True):
            _add(room, start_s + at_s + random.normal(0, jitter_s), note * np.exp(random.normal(0, spread)))
    return room


def make_beat(random: np.random.Generator, seconds: float, bpm: float, fill: float = 0.0) -> np.ndarray:
    """A drum machine: three samples on a grid of sixteenths; ``fill`` of the hits are changed by chance."""
    age_s = np.arange(round(0.15 * ROOM_HZ)) / ROOM_HZ
    drums = [np.sin(2 * np.pi * 60 * age_s) * np.exp(-age_s / 0.04)]
    drums += [random.standard_normal(len(age_s)) * np.exp(-age_s / decay_s) for decay_s in (0.03, 0.008)]
    bar = random.random((3, 16)) < np.array([[0.3], [0.15], [0.7]])
    room = np.zeros(round(seconds * ROOM_HZ))
    step_s = 60 / bpm / 4
    for step in range(int(seconds / step_s)):
        for drum, hits in zip(drums, bar, strict=True):
            if hits[step % 16] != (random.random() < fill):
                _add(room, step * step_s, 0.5 * drum)
    return _below(room, 6500)


def make_clicks(random: np.random.Generator, seconds: float, hertz: float) -> np.ndarray:
    """A metronome, or a roll: one click again and again."""
    age_s = np.arange(round(0.05 * ROOM_HZ)) / ROOM_HZ
    click = np.sin(2 * np.pi * random.uniform(500, 2500) * age_s) * np.exp(-age_s / 0.004)
    room = np.zeros(round(seconds * ROOM_HZ))
    for at_s in np.arange(0, seconds, 1 / hertz):
        _add(room, at_s, click)
    return room


def make_scale(random: np.random.Generator, seconds: float, step_s: float) -> np.ndarray:
    """Up and down one octave on a machine: a key sounds exactly alike each time."""
    keys = [make_room(random, 0.6) for _ in range(8)]
    room = np.zeros(round(seconds * ROOM_HZ))
    for step in range(int(seconds / step_s)):
        _add(room, step * step_s, keys[min(step % 14, 14 - step % 14)])
    return room


def make_drone(random: np.random.Generator, seconds: float, hertz: float) -> np.ndarray:
    """One tone that never changes."""
    at_s = np.arange(round(seconds * ROOM_HZ)) / ROOM_HZ
    turns = random.uniform(0, 2 * np.pi, 20)
    return sum(np.sin(2 * np.pi * h * hertz * at_s + turns[h]) / h for h in range(1, 20))


def make_late_repeat(random: np.random.Generator, seconds: float, gap_s: float) -> np.ndarray:
    """Silence with one sound that comes again, exactly alike."""
    room, event = np.zeros(round(seconds * ROOM_HZ)), make_room(random, 1.5)
    for at_s in (0.3 * seconds, 0.3 * seconds + gap_s):
        _add(room, at_s, event)
    return room


def _add(room: np.ndarray, at_s: float, sound: np.ndarray) -> None:
    first = max(0, round(at_s * ROOM_HZ))
    part = sound[: max(0, len(room) - first)]
    room[first : first + len(part)] += part


def _below(room: np.ndarray, hertz: float) -> np.ndarray:
    return signal.sosfiltfilt(signal.butter(6, hertz, fs=ROOM_HZ, output="sos"), room)


def list_repeats() -> dict[str, tuple[Music, float, float]]:
    """Kinds of repeating music by name, and between which offsets of 12 s takes they are tried."""
    kinds: dict[str, tuple[Music, float, float]] = {}
    for bar_s in (0.5, 1.0, 2.0, 3.3):
        kinds[f"a loop of {bar_s:g} s"] = (partial(make_room, bar_s=bar_s), -2, 2)
    for jitter_s, spread in ((0.0, 0.2), (0.0, 1.0), (0.002, 0.2), (0.01, 0.2)):
        name = f"bars of 2 s, notes {jitter_s * 1e3:g} ms and {spread:.0%} apart"
        kinds[name] = (partial(make_bars, bar_s=2.0, jitter_s=jitter_s, spread=spread), -2, 2)
    for bpm, fill in ((90, 0.0), (120, 0.0), (174, 0.0), (120, 0.15)):
        name = f"a drum machine, {bpm} bpm, {fill:.0%} changed"
        kinds[name] = (partial(make_beat, bpm=bpm, fill=fill), -2, 2)
    for hertz in (1.0, 3.5, 12.0, 30.0):
        kinds[f"clicks, {hertz:g} a second"] = (partial(make_clicks, hertz=hertz), -2, 2)
    kinds["a scale on a machine"] = (partial(make_scale, step_s=0.25), -2, 2)
    kinds["a drone"] = (partial(make_drone, hertz=220.0), -2, 2)
    kinds["mains hum"] = (partial(make_drone, hertz=50.0), -2, 2)
    kinds["silence, one sound twice"] = (partial(make_late_repeat, gap_s=4.0), -2, 2)
    for bar_s in (2.0, 5.0, 8.0):
        kinds[f"a loop of {bar_s:g} s, both on for 2 to 5 s"] = (partial(make_room, bar_s=bar_s), 7, 10)
    return kinds


def make_repeating_pair(
    seed: int, make: Music, low_s: float, high_s: float, snr_db: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Reference and target recordings of 12 s at 16 kHz of such music, and the true offset in s."""
    random = np.random.default_rng(seed)
    offset_s = random.uniform(low_s, high_s)
    room = make(random, 12.0 + 2 * LEAD_S + max(0, high_s))
    reference = record(random, room, LEAD_S, 12.0, 0.0, snr_db)
    drift_ppm = random.uniform(-60, 60)
    return reference, record(random, room, LEAD_S + offset_s, 12.0, drift_ppm, snr_db), offset_s


def count_false_trust(seeds: int, snr_db: float) -> None:
    """Print how often repeating music, or sound of another take, is called reliable and is wrong."""
    total = 0
    print(f"Music that repeats itself, 12 s, {seeds} takes of each kind:")
    for name, (make, low, high) in list_repeats().items():
        right, trusted, wrong = 0, 0, 0
        for seed in range(seeds):
            reference, target, offset_s = make_repeating_pair(seed, make, low, high, snr_db)
            found = find_offset(reference, target)
            is_right = abs(found.offset_s - offset_s) <= 1e-3
            right += is_right
            trusted += found.verdict == "reliable"
            wrong += found.verdict == "reliable" and not is_right
        total += wrong
        print(f"  {name:44s} right {right:3d}, reliable {trusted:3d}, wrong and reliable {wrong}", flush=True)
    print(f"  wrong and reliable in all: {total}")
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


def compare_with_references() -> None:
    """Print errors on real recordings against reference values worked out with other tools."""
    if not DATA.is_dir():
        print("The real recordings are not there (../shared/data).")
        return
    print("Real recordings, against other tools:")
    talk = DATA / "speech-offset"
    for number, offset_s in ((2, 12.25396), (3, 12.23094)):
        found = find_offset(_listen(talk / "timbl_1.mp3"), _listen(talk / f"timbl_{number}.mp3"))
        print(
            f"  speech-offset {number}: {found.offset_s:.5f} s, {(found.offset_s - offset_s) * 1e3:+.3f} ms, "
            f"confidence {found.confidence:.2f}, {found.verdict}"
        )
    for take, lags in (("multi_mic1", (143, 159, 198)), ("multi_mic2", (228, 143, 205))):
        folder = DATA / "two-microphones" / take
        for number, lag in enumerate(lags, start=1):
            found = find_offset(_listen(folder / "main.flac"), _listen(folder / f"other{number}.flac"))
            print(
                f"  {take} {number}: {-found.offset_s * 48000 - lag:+.2f} samples of 48 kHz, confidence "
                f"{found.confidence:.2f}, {found.verdict} ({' '.join(found.reasons)})"
            )


def _listen(path: Path) -> np.ndarray:
    samples = read_audio(path)
    assert samples is not None
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--seconds", type=float, nargs="+", default=[8.0, 180.0])
    parser.add_argument("--snr-db", type=float, default=10.0)
    parser.add_argument("--drift-ppm", type=float, default=60.0)
    options = parser.parse_args()
    compare_with_references()
    for seconds in options.seconds:
        compare(options.seeds, seconds, options.snr_db, options.drift_ppm)
    count_false_trust(options.seeds, options.snr_db)


if __name__ == "__main__":
    main()
