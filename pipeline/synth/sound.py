"""What the microphones of a made session hear: the same room, each through its own microphone.

The room: tones of the keys at their onsets with the click of the mechanism, and somebody stirring.
Each camera hears it on its own clock, at its own level, through its own echoes, with noise of its own.
The time that sound takes from the keyboard to the cameras (2 ms) is left out everywhere.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

from pipeline.synth.motion import LEAD_S
from pipeline.synth.spec import CAMERAS, SOUND_RATE_HZ, SynthSpec
from pipeline.synth.truth import Take

_TONES_HZ = 261.63 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)


def make_sounds(take: Take) -> dict[str, np.ndarray]:
    """The main take's sound by camera, each (N,) float32 at `SOUND_RATE_HZ`, sample 0 at the first frame."""
    strokes = [(stroke.onset_s, stroke.finger, stroke.strength) for stroke in take.motion.strokes]
    room = _make_room(take.spec, take.spec.seconds, strokes, "room")
    return {
        camera: _record(
            take.spec, room, take.spec.seconds, take.clocks.to_reference_s(camera, _clock(take.spec.seconds)),
            camera,
        )
        for camera in CAMERAS
    }  # fmt: skip


def make_calibration_sounds(take: Take, seconds: float) -> dict[str, np.ndarray]:
    """The sound of the checkerboard takes: claps at irregular times, on the takes' own offsets."""
    random = take.spec.draw("claps")
    times = -LEAD_S + np.cumsum(random.uniform(0.4, 1.7, int((seconds + 2 * LEAD_S) / 0.8)))
    room = _make_room(take.spec, seconds, [(float(t), -1, random.uniform(0.7, 1.2)) for t in times], "claps")
    return {
        camera: _record(
            take.spec, room, seconds, take.calibration_clocks.to_reference_s(camera, _clock(seconds)),
            camera,
        )
        for camera in CAMERAS
    }  # fmt: skip


def _clock(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SOUND_RATE_HZ)) / SOUND_RATE_HZ


def _make_room(
    spec: SynthSpec, seconds: float, events: list[tuple[float, int, float]], name: str
) -> np.ndarray:
    """The sound in the room from ``-LEAD_S`` to ``seconds + LEAD_S`` at `SOUND_RATE_HZ`, below 8 kHz."""
    random = spec.draw("sound", name)
    n = round((seconds + 2 * LEAD_S) * SOUND_RATE_HZ)
    room = np.zeros(n)
    for onset_s, finger, strength in events:
        start = (onset_s + LEAD_S) * SOUND_RATE_HZ
        first = int(np.ceil(start))
        if not 0 <= first < n:
            continue
        time = (np.arange(first, min(n, first + int(1.2 * SOUND_RATE_HZ))) - start) / SOUND_RATE_HZ
        sound = _click(random, time) * (1.0 if finger < 0 else 0.35)
        if finger >= 0:
            sound += _tone(random, time, _TONES_HZ[finger + random.integers(0, 5)])
        room[first : first + len(time)] += strength * sound
    # Steps, breath, a chair: loudness that comes and goes, so that no stretch is without a landmark.
    stir = random.standard_normal(n)
    loudness = np.repeat(random.gamma(0.6, 1.0, n // 4800 + 1), 4800)[:n]
    room += 0.02 * signal.sosfilt(_band(80, 2500), stir) * ndimage.uniform_filter1d(loudness, 2400)
    return signal.sosfiltfilt(signal.butter(6, 8000, fs=SOUND_RATE_HZ, output="sos"), room)


def _tone(random: np.random.Generator, time_s: np.ndarray, hertz: float) -> np.ndarray:
    attack = 1 - np.exp(-time_s / 0.002)
    tone = np.zeros(len(time_s))
    for harmonic in range(1, 7):
        amplitude = 0.5 / harmonic**1.3 * random.uniform(0.6, 1.4)
        stretched = hertz * harmonic * np.sqrt(1 + 4e-4 * harmonic**2)
        decay = np.exp(-time_s * (2.5 + 1.5 * harmonic))
        tone += amplitude * decay * np.sin(2 * np.pi * stretched * time_s + random.uniform(0, 2 * np.pi))
    return attack * tone


def _click(random: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    return random.standard_normal(len(time_s)) * np.exp(-time_s / 0.008)


def _band(low_hz: float, high_hz: float) -> np.ndarray:
    return signal.butter(2, [low_hz, high_hz], "bandpass", fs=SOUND_RATE_HZ, output="sos")


def _record(
    spec: SynthSpec, room: np.ndarray, seconds: float, reference_s: np.ndarray, camera: str
) -> np.ndarray:
    """One microphone's recording (N,): the room at the true instants of its samples."""
    random = spec.draw("microphone", camera)
    heard = signal.fftconvolve(room, _draw_echo(random))[: len(room)]
    # A fifth-order spline between samples at 48 kHz of a signal below 8 kHz is exact to -90 dB.
    own = ndimage.map_coordinates(heard, [(reference_s + LEAD_S) * SOUND_RATE_HZ], order=5, mode="constant")
    low, high = random.uniform(60, 150), random.uniform(5000, 9000)
    own = signal.sosfiltfilt(signal.butter(1, [low, high], "bandpass", fs=SOUND_RATE_HZ, output="sos"), own)
    snr_db = random.uniform(12, 25) if spec.snr_db is None else spec.snr_db
    noise = signal.sosfilt(_band(40, 7000), random.standard_normal(len(own)))
    noise *= np.std(own) / max(float(np.std(noise)), 1e-12) * 10 ** (-snr_db / 20)
    level = random.uniform(0.15, 0.6)
    mixed = own + noise
    return (level * mixed / max(float(np.abs(mixed).max()), 1e-12)).astype(np.float32)


def _draw_echo(random: np.random.Generator) -> np.ndarray:
    """A short impulse response: the direct sound and a dozen reflections that die away within 80 ms."""
    echo = np.zeros(int(0.08 * SOUND_RATE_HZ))
    echo[0] = 1.0
    for delay_s in random.uniform(0.003, 0.075, 12):
        echo[int(delay_s * SOUND_RATE_HZ)] += random.choice([-1, 1]) * 0.35 * np.exp(-delay_s / 0.03)
    return echo
