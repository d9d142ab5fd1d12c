from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import correlate

from pipeline.synth.sound import make_calibration_sounds, make_sounds
from pipeline.synth.spec import SOUND_RATE_HZ, SynthSpec
from pipeline.synth.truth import make_take


def find_offset_s(reference, other):
    """``t_reference - t_other`` by cross-correlation, to a sample."""
    found = correlate(reference, other, method="fft")
    return (int(np.abs(found).argmax()) - (len(other) - 1)) / SOUND_RATE_HZ


def test_offsets_stand_in_the_sound(take, truth):
    sounds = make_sounds(take)
    for camera in ("left", "right"):
        found = find_offset_s(sounds["front"], sounds[camera])
        middle = truth.drift_ppm[camera] * 1e-6 * 3.0
        assert found == pytest.approx(truth.offset_s[camera] + middle, abs=3e-4)


def test_the_checkerboard_takes_have_claps_on_their_own_offsets(take, truth):
    sounds = make_calibration_sounds(take, 12.0)
    for camera in ("left", "right"):
        found = find_offset_s(sounds["front"], sounds[camera])
        middle = truth.drift_ppm[camera] * 1e-6 * 6.0
        assert found == pytest.approx(truth.calibration_offset_s[camera] + middle, abs=3e-4)


def test_the_clock_of_the_sound_drifts(model):
    take = make_take(SynthSpec(seconds=60.0, seed=2, snr_db=20.0), model)
    clock = take.clocks.cameras["left"]
    sounds = make_sounds(take)
    offsets = []
    for start in (5.0, 45.0):
        at = round(start * SOUND_RATE_HZ)
        shift = round(clock.offset_s * SOUND_RATE_HZ)
        a = sounds["front"][at + shift : at + shift + 8 * SOUND_RATE_HZ]
        offsets.append(find_offset_s(a, sounds["left"][at : at + 8 * SOUND_RATE_HZ]))
    assert (offsets[1] - offsets[0]) / 40e-6 == pytest.approx(clock.drift_ppm, abs=1.2)


def test_microphones_differ_in_level_and_noise(model):
    take = make_take(SynthSpec(seconds=6.0, seed=3), model)
    sounds = make_sounds(take)
    peaks = [float(np.abs(sound).max()) for sound in sounds.values()]
    assert all(0.1 < peak <= 0.61 for peak in peaks)
    assert max(peaks) - min(peaks) > 0.02
    quiet, equal = (
        make_sounds(replace(take, spec=replace(take.spec, snr_db=snr)))["front"] for snr in (40.0, 0.0)
    )
    # Noise as strong as the sound leaves a correlation of 1 / sqrt 2.
    assert np.corrcoef(quiet, equal)[0, 1] == pytest.approx(2**-0.5, abs=0.03)


def test_a_tone_starts_where_the_truth_says(model):
    take = make_take(SynthSpec(seconds=10.0, seed=6, snr_db=40.0), model)
    sound = make_sounds(take)["front"]
    onsets = [stroke.onset_s for stroke in take.motion.strokes if 0.1 < stroke.onset_s < 9.8]
    rises = []
    for onset in onsets:
        at = round(onset * SOUND_RATE_HZ)
        before, after = sound[at - 960 : at - 48], sound[at : at + 960]
        rises.append(np.sqrt((after**2).mean() / (before**2).mean()))
    assert np.median(rises) > 1.8
    assert np.mean(np.array(rises) > 1.1) > 0.9


def test_equal_specs_sound_equal(take):
    first, second = make_sounds(take), make_sounds(take)
    assert all(np.array_equal(first[camera], second[camera]) for camera in first)
