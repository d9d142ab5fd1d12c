from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.hand.joints import BONES, JOINTS, MANO_POSE_JOINTS
from pipeline.synth.motion import DYSTONIC_PHASES, ORDINARY, make_motion
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import make_take, pose_take

TIPS = [JOINTS.index(f"{finger}_tip") for finger in ("thumb", "index", "middle", "ring", "pinky")]
DYSTONIC = SynthSpec(seconds=9.0, seed=21)


def bend(joint):
    return MANO_POSE_JOINTS.index(joint)


def middle_of(motion, name):
    phase = next(phase for phase in motion.phases if phase.name == name)
    return np.linspace(phase.start_s + 0.4, phase.end_s - 0.4, 20)


@pytest.fixture(scope="module")
def dystonic(model):
    return make_motion(DYSTONIC, model)


def test_phases_cover_the_take_and_last_one_to_two_seconds(model):
    for seed in range(40):
        spec = SynthSpec(seconds=float(np.random.default_rng(seed).uniform(3, 20)), seed=seed)
        phases = make_motion(spec, model).phases
        assert phases[0].start_s == 0
        assert phases[-1].end_s == pytest.approx(spec.seconds)
        assert all(a.end_s == b.start_s for a, b in pairwise(phases))
        assert all(0.9 <= phase.end_s - phase.start_s <= 2.01 for phase in phases)
        assert {ORDINARY, DYSTONIC_PHASES[0]} <= {phase.name for phase in phases}


def test_a_healthy_take_has_no_dystonic_phase(model):
    motion = make_motion(replace(DYSTONIC, kind="healthy"), model)
    assert {phase.name for phase in motion.phases} == {ORDINARY}
    assert motion.bursts == []


def test_the_dystonic_phases_are_those_of_the_seed(dystonic):
    flexion, _, _ = dystonic.angles(middle_of(dystonic, DYSTONIC_PHASES[0]))
    assert flexion[:, bend("index_pip")].mean() > 1.4
    assert flexion[:, bend("middle_pip")].mean() < 0.35
    flexion, spread, _ = dystonic.angles(middle_of(dystonic, DYSTONIC_PHASES[1]))
    assert flexion[:, bend("ring_pip")].mean() > 1.4
    rest = dystonic.person.rest_abduction[bend("pinky_mcp")]
    assert spread[:, bend("pinky_mcp")].mean() < rest - 0.3


def test_severity_scales_the_postures(model):
    curl = []
    for severity in (0.0, 0.4, 1.0):
        motion = make_motion(replace(DYSTONIC, severity=severity), model)
        flexion, _, _ = motion.angles(middle_of(motion, DYSTONIC_PHASES[0]))
        curl.append(flexion[:, bend("index_pip")].mean())
    assert curl[0] + 0.2 < curl[1] < curl[2] - 0.3


def test_the_dystonic_tremor_has_five_to_eight_hertz(model):
    # One long phase, so that the spectrum is fine enough.
    motion = make_motion(DYSTONIC, model)
    motion.phases[:] = [replace(motion.phases[0], start_s=0.0, end_s=9.0, name=DYSTONIC_PHASES[2])]
    motion.strokes.clear()
    motion.bursts.clear()
    time = np.arange(1.0, 8.0, 1 / 60)
    flexion, _, _ = motion.angles(time)
    signal = flexion[:, bend("ring_mcp")] - flexion[:, bend("ring_mcp")].mean()
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    hertz = np.fft.rfftfreq(len(signal), 1 / 60)
    shaken = power[(hertz >= 4.8) & (hertz <= 8.2)].sum()
    assert shaken > 0.9 * power[hertz > 2].sum()


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_finger_is_down_on_its_key_when_the_tone_starts(model, side):
    take = make_take(SynthSpec(seconds=12.0, seed=4, kind="healthy", side=side), model)
    strokes = [s for s in take.motion.strokes if 0 <= s.onset_s <= 12 and s.finger > 0]
    onset = np.array([s.onset_s for s in strokes])
    rows, finger = np.arange(len(strokes)), [TIPS[s.finger] for s in strokes]
    heights = []
    for time in (onset, onset - 0.25):
        _, joints, _ = pose_take(take, time)
        heights.append(take.stage.to_piano_mm(joints)[rows, finger, 2])
    assert len(strokes) > 15
    assert np.median(heights[0]) < -3
    assert np.median(heights[1] - heights[0]) > 7


def test_two_to_four_strokes_a_second(model):
    for seed in range(5):
        motion = make_motion(SynthSpec(seconds=30.0, seed=seed), model)
        played = [stroke for stroke in motion.strokes if 0 <= stroke.onset_s < 30]
        assert 1.8 <= len(played) / 30 <= 4.2


def test_motion_is_smooth_between_frames(dystonic, model):
    """Sampled 2,000 times a second, accelerations neither jump nor exceed what hands do."""
    take = make_take(DYSTONIC, model)
    time = np.arange(0.0, 9.0, 1 / 500)
    _, joints, _ = pose_take(take, time)
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=0), axis=2) * 500**2 / 1e3
    assert np.percentile(acceleration, 99.9) < 120
    assert np.median(acceleration[:, 1:]) > 0.05


def test_two_visits_share_the_person_and_nothing_else(model):
    first = make_take(SynthSpec(seed=1, subject=9), model)
    second = make_take(SynthSpec(seed=2, subject=9), model)
    other = make_take(SynthSpec(seed=1, subject=10), model)
    assert np.array_equal(first.motion.person.betas, second.motion.person.betas)
    assert first.motion.strokes != second.motion.strokes
    assert not np.allclose(first.motion.person.betas, other.motion.person.betas)
    lengths = []
    for take in (first, other):
        _, joints, _ = pose_take(take, np.linspace(0, 8, 40))
        bones = np.stack([np.linalg.norm(joints[:, b] - joints[:, a], axis=1) for a, b in BONES], axis=1)
        assert bones.std(axis=0).max() < 0.35  # tips are points of the skin, which bends a little
        lengths.append(bones.mean(axis=0))
    assert np.abs(lengths[0] / lengths[1] - 1).max() > 0.03
