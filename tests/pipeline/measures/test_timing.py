from __future__ import annotations

import numpy as np
import pytest

from pipeline.measures.timing import (
    MIN_INTERVALS,
    NOT_HEARD,
    RATE_HZ,
    Heard,
    Onsets,
    describe_timing,
    find_even_runs,
    find_onsets,
)


def sound_of(onsets_s: np.ndarray, seconds: float, noise: float = 0.003, seed: int = 0) -> np.ndarray:
    """Tones with a sharp attack that die away, and hiss."""
    random = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    sound = noise * random.normal(size=len(time_s))
    for onset_s in onsets_s:
        since = time_s - onset_s
        ringing = (since >= 0) & (since < 0.8)
        pitch = random.choice([262.0, 330.0, 392.0, 523.0])
        tone = sum(np.sin(2 * np.pi * pitch * k * since[ringing]) / k for k in range(1, 9))
        decay = (1 - np.exp(-since[ringing] / 0.002)) * np.exp(-since[ringing] * 5)
        click = 0.3 * random.normal(size=ringing.sum()) * np.exp(-since[ringing] / 0.008)
        sound[ringing] += 0.2 * (tone * decay + click)
    return sound


def even_strokes(count: int, interval_s: float, sd_s: float, drift: float = 0.0, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    steps = interval_s * (1 + drift * np.linspace(-1, 1, count)) + random.normal(0, sd_s, count)
    return 0.5 + np.cumsum(steps)


def hear(onsets_s: np.ndarray, clearness: float = 30.0, seconds: float = 30.0) -> Heard:
    return Heard(Onsets(onsets_s, np.full(len(onsets_s), clearness)), seconds, "front")


@pytest.mark.parametrize("interval_s", [0.5, 0.2])
def test_every_stroke_is_heard_to_two_milliseconds(interval_s):
    true = even_strokes(24, interval_s, 0.02 * interval_s)
    found = find_onsets(sound_of(true, true[-1] + 1.0)).time_s
    assert len(found) == len(true)
    error = found - true
    assert error.std() < 2e-3
    assert abs(error.mean()) < 3e-3


def test_a_chord_is_one_stroke():
    true = even_strokes(12, 0.5, 0.0)
    found = find_onsets(sound_of(np.sort(np.concatenate([true, true + 0.012])), true[-1] + 1.0))
    assert len(found.time_s) == len(true)


@pytest.mark.parametrize("sound", [np.zeros(RATE_HZ * 4), np.zeros(100), np.full(RATE_HZ, 0.2)])
def test_silence_has_no_strokes(sound):
    assert len(find_onsets(sound).time_s) == 0


def test_hiss_cannot_be_told_from_strokes():
    hiss = 0.1 * np.random.default_rng(0).normal(size=20 * RATE_HZ)
    heard = Heard(find_onsets(hiss), 20.0, "front")
    assert describe_timing(heard).verdict == "cannot tell"
    assert heard.strokes_s is None


def test_without_sound_the_reason_is_said():
    found = describe_timing(NOT_HEARD)
    assert found.verdict == "cannot tell"
    assert "no sound" in found.note
    assert NOT_HEARD.strokes_s is None


@pytest.mark.parametrize("sd_ms", [5.0, 12.0, 25.0])
def test_the_variability_of_even_strokes_is_that_of_their_intervals(sd_ms):
    found = describe_timing(hear(even_strokes(200, 0.25, 1e-3 * sd_ms)))
    assert found.verdict == "measured"
    assert found.interval_ms == pytest.approx(250.0, rel=0.02)
    assert found.sd_ms == pytest.approx(sd_ms, rel=0.15)
    assert found.sd_low_ms < sd_ms < found.sd_high_ms
    assert found.cv == pytest.approx(found.sd_ms / found.interval_ms)


def test_a_tempo_that_quickens_is_no_unevenness():
    steady = describe_timing(hear(even_strokes(60, 0.3, 8e-3)))
    quickens = describe_timing(hear(even_strokes(60, 0.3, 8e-3, drift=-0.15)))
    assert quickens.sd_ms == pytest.approx(steady.sd_ms, rel=0.1)


def test_twice_the_unevenness_doubles_the_number():
    once, twice = (describe_timing(hear(even_strokes(150, 0.3, sd))).sd_ms for sd in (6e-3, 12e-3))
    assert twice == pytest.approx(2 * once, rel=0.05)


def test_another_rhythm_parts_the_run_and_is_no_unevenness():
    first = even_strokes(30, 0.25, 4e-3)
    second = first[-1] + 1.1 + even_strokes(30, 0.5, 4e-3)
    found = describe_timing(hear(np.concatenate([first, second])))
    assert found.runs == 2
    assert found.sd_ms == pytest.approx(4.0, rel=0.3)


def test_a_rhythm_without_even_runs_cannot_be_told():
    random = np.random.default_rng(4)
    onsets = np.cumsum(random.choice([0.2, 0.4, 0.8], 80) * random.uniform(0.98, 1.02, 80))
    found = describe_timing(hear(onsets))
    assert found.verdict == "cannot tell"
    assert str(MIN_INTERVALS) in found.note
    assert np.isnan(found.sd_ms)
    assert found.onsets == 80


def test_even_runs_are_found_to_their_ends():
    intervals = np.array([0.9, *[0.25] * 10, 0.9, *[0.5] * 7, 0.1, *[0.2] * 5])
    assert find_even_runs(intervals) == [(1, 11), (12, 19)]
