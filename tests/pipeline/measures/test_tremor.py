from __future__ import annotations

import numpy as np
import pytest

from pipeline.hand.joints import JOINTS
from pipeline.measures.strokes import Strokes, find_strokes, see_tips_from_palm
from pipeline.measures.tremor import (
    MIN_SIZE_MM,
    SITES,
    assess_tremor,
    is_rhythmic,
    remove_strokes,
    take_spectrum,
)
from tests.pipeline.measures.conftest import playing_hand

FPS = 60.0
NO_STROKES = Strokes(np.zeros(0), np.zeros(0, dtype=int), np.zeros(0), np.zeros(0))
JITTER_MM = 0.1
INDEX = [JOINTS.index(f"index_{part}") for part in ("pip", "dip", "tip")]
PALM = [0, *(JOINTS.index(f"{finger}_mcp") for finger in ("index", "middle", "ring", "pinky"))]


def resting(seconds: float, fps: float = FPS) -> tuple[np.ndarray, np.ndarray]:
    """A hand that hardly moves, with jitter."""
    time_s = np.arange(round(seconds * fps)) / fps
    joints = playing_hand(time_s, swing_deg=0.0) + 8.0 * np.sin(0.7 * time_s)[:, None, None]
    return time_s, joints + np.random.default_rng(3).normal(0, JITTER_MM, joints.shape)


def shake(time_s: np.ndarray, hertz: float, rms_mm: float) -> np.ndarray:
    """(T, 1, 3): up and down."""
    wave = np.sqrt(2.0) * rms_mm * np.sin(2 * np.pi * hertz * time_s)
    return wave[:, None, None] * np.array([0.0, 0.0, 1.0])


def assess(time_s, joints, strokes=NO_STROKES, heard_s=None):
    found = assess_tremor(time_s, joints, "right", strokes, heard_s, np.full(21, JITTER_MM))
    assert [tremor.site for tremor in found] == list(SITES)
    return {tremor.site: tremor for tremor in found}


@pytest.mark.parametrize("hertz", [3.3, 5.0, 7.5, 11.8])
@pytest.mark.parametrize("rms_mm", [0.3, 2.0])
def test_a_fingers_tremor_has_its_frequency_and_size(hertz, rms_mm):
    time_s, joints = resting(12.0)
    joints[:, INDEX] += shake(time_s, hertz, rms_mm)
    found = assess(time_s, joints)
    assert found["index"].verdict == "seen"
    assert found["index"].frequency_hz == pytest.approx(hertz, abs=0.1)
    assert found["index"].rms_mm == pytest.approx(rms_mm, rel=0.1, abs=0.05)
    assert found["index"].rms_low_mm <= found["index"].rms_mm <= found["index"].rms_high_mm
    assert {found[site].verdict for site in SITES if site != "index"} == {"none seen"}


def test_a_tremor_of_the_whole_hand_is_the_hands_and_no_fingers():
    time_s, joints = resting(12.0)
    found = assess(time_s, joints + shake(time_s, 6.0, 1.0))
    assert found["hand"].verdict == "seen"
    assert found["hand"].frequency_hz == pytest.approx(6.0, abs=0.1)
    assert {found[site].verdict for site in SITES[1:]} == {"none seen"}


def test_where_none_is_seen_it_is_said_how_large_one_would_have_been():
    time_s, joints = resting(12.0)
    found = assess(time_s, joints)["index"]
    assert found.verdict == "none seen"
    assert found.limit_mm >= MIN_SIZE_MM
    joints[:, INDEX] += shake(time_s, 8.0, 1.5 * found.limit_mm)
    assert assess(time_s, joints)["index"].verdict == "seen"


def test_size_and_frequency_do_not_depend_on_the_length_of_the_recording():
    sizes = []
    for seconds in (20.0, 60.0, 180.0):
        time_s, joints = resting(seconds)
        joints[:, INDEX] += shake(time_s, 6.2, 0.8)
        found = assess(time_s, joints)["index"]
        sizes.append((found.frequency_hz, found.rms_mm))
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[0], (3, 2)), rtol=0.05)


def test_size_and_frequency_do_not_depend_on_the_frame_rate():
    sizes = []
    for fps in (30.0, 60000 / 1001, 120.0):
        time_s, joints = resting(16.0, fps)
        joints[:, INDEX] += shake(time_s, 6.2, 0.8)
        found = assess(time_s, joints)["index"]
        sizes.append((found.frequency_hz, found.rms_mm))
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[0], (3, 2)), rtol=0.05)


def test_too_few_frames_a_second_and_too_short_a_recording_cannot_tell():
    for found, word in ((assess(*resting(12.0, 24.0)), "frames/s"), (assess(*resting(5.0)), "7 s")):
        assert {tremor.verdict for tremor in found.values()} == {"cannot tell"}
        assert word in found["hand"].note


def test_a_long_gap_is_left_out_and_a_hand_that_is_not_measured_cannot_be_told():
    time_s, joints = resting(20.0)
    joints[:, INDEX] += shake(time_s, 7.0, 0.8)
    joints[400:460] = np.nan
    joints[:, JOINTS.index("thumb_tip")] = np.nan
    found = assess(time_s, joints)
    assert found["index"].frequency_hz == pytest.approx(7.0, abs=0.1)
    assert found["thumb"].verdict == "cannot tell"


def stroke_path(time_s: np.ndarray, onsets_s: np.ndarray, depth_mm: float = 9.0) -> np.ndarray:
    """(T,) how far down: quick down, a rest, up."""
    path = np.zeros(len(time_s))
    for onset_s in onsets_s:
        path = np.maximum(
            path, np.interp(time_s, onset_s + np.array([-0.08, 0.0, 0.08, 0.2]), [0, depth_mm, depth_mm, 0])
        )
    return path


def play_index(rate_hz: float, seconds: float = 16.0):
    time_s, joints = resting(seconds)
    onsets = np.arange(1.0, seconds - 1.0, 1.0 / rate_hz)
    joints[:, INDEX, 2] -= stroke_path(time_s, onsets)[:, None]
    strokes = find_strokes(time_s, see_tips_from_palm(joints, "right"), JITTER_MM)
    return time_s, joints, strokes, onsets


@pytest.mark.parametrize("rate_hz", [2.0, 3.5])
def test_a_finger_that_strikes_evenly_has_no_tremor_at_the_strokes_harmonics(rate_hz):
    time_s, joints, strokes, onsets = play_index(rate_hz)
    assert (strokes.finger == 1).sum() == len(onsets)
    for heard in (onsets, None):
        assert assess(time_s, joints, strokes, heard)["index"].verdict != "seen"
    # without knowing of the strokes the very same movement would be called one
    assert assess(time_s, joints, NO_STROKES, np.zeros(0))["index"].verdict == "seen"


def test_a_tremor_is_seen_beneath_the_strokes():
    time_s, joints, strokes, onsets = play_index(2.0, 24.0)
    joints[:, INDEX] += shake(time_s, 8.6, 1.0)
    found = assess(time_s, joints, strokes, onsets)["index"]
    assert found.verdict == "seen"
    assert found.frequency_hz == pytest.approx(8.6, abs=0.15)
    assert found.rms_mm == pytest.approx(1.0, rel=0.2)


def test_strokes_are_taken_away_and_a_tremor_is_left():
    time_s, joints, strokes, _ = play_index(2.0, 24.0)
    tip = see_tips_from_palm(joints, "right")[:, 1]
    left = remove_strokes(time_s, tip, strokes.pick(strokes.finger == 1))
    before, after = take_spectrum(tip, FPS), take_spectrum(left, FPS)
    band = (before.hertz >= 3.0) & (before.hertz <= 12.0)
    assert after.mean[band].sum() < 0.1 * before.mean[band].sum()
    wave = shake(time_s, 8.6, 1.0)[:, 0]
    kept = remove_strokes(time_s, tip + wave, strokes.pick(strokes.finger == 1)) - left
    step = before.hertz[1] - before.hertz[0]
    assert take_spectrum(kept, FPS).mean[band].sum() * step == pytest.approx(1.0, abs=0.1)


def test_only_even_strokes_have_a_rhythm():
    even = np.arange(0.5, 15.5, 0.25)
    uneven = np.cumsum(np.random.default_rng(0).uniform(0.1, 0.4, 60))
    assert is_rhythmic(even, 16.0, np.array([4.0]))
    assert is_rhythmic(even, 16.0, np.array([8.0]))
    assert not is_rhythmic(even, 16.0, np.array([6.1]))
    assert not is_rhythmic(uneven, 16.0, np.array([6.1, 8.0]))


def test_the_spectrum_of_a_sine_holds_its_mean_square():
    time_s = np.arange(1200) / FPS
    places = np.zeros((1200, 3))
    places[:, 1] = 2.0 * np.sin(2 * np.pi * 6.0 * time_s)
    spectrum = take_spectrum(places, FPS)
    near = np.abs(spectrum.hertz - 6.0) < 1.0
    step = spectrum.hertz[1] - spectrum.hertz[0]
    assert spectrum.mean[near].sum() * step == pytest.approx(2.0, rel=0.03)
