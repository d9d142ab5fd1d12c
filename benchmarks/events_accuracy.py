"""Strokes, tremor and individuation against made truth: ``python -m benchmarks.events_accuracy``.

1. Tremor: 3 to 12 Hz of 0.2 to 2 mm (root mean square) on the index finger of a hand that plays, with the
   strokes heard and by sight alone: how often it is seen, the error of frequency and size. False alarms:
   hands that play without tremor, free and in even strokes of 2 to 8 a second.
2. Onsets: error in ms in made rooms, and the unevenness that comes of it against the true one. Their lag
   behind the fingertip's arrival, by the sound alone and through a session's files; made sound takes no time
   to the microphone, real sound 3 ms a metre.
3. Individuation: the matrix against how far the made hand's fingers follow (index, middle, ring and little
   finger their neighbours; measured from one finger pressed alone).

The peer of all is the truth; the floor of tremor is the spectrum's highest peak without strokes taken away
and without a rule (always "seen"). Lengths and cost: ``measures_invariance`` and ``measures_noise`` here.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from pipeline.hand.joints import FINGERS, JOINTS
from pipeline.hand.model import load_hand_model
from pipeline.measures.individuation import measure_individuation
from pipeline.measures.kinematics import compute_kinematics
from pipeline.measures.listening import listen
from pipeline.measures.playing_types import TremorSummary
from pipeline.measures.strokes import TIP_COLUMNS, find_strokes, see_tips_from_palm
from pipeline.measures.timing import RATE_HZ, Heard, Onsets, describe_timing, find_onsets
from pipeline.measures.tremor import assess_tremor, fit_background, take_spectrum
from pipeline.progress import Reporter
from pipeline.session import read_session
from pipeline.synth.motion import Stroke
from pipeline.synth.session import make_session
from pipeline.synth.sound import make_sounds
from pipeline.synth.spec import SOUND_RATE_HZ, SynthSpec
from pipeline.synth.truth import Take, make_take, pose_take, read_truth

FPS = 60
JITTER_MM = 0.3
PATTERN = (0, 1, 2, 3, 4, 3, 2, 1)
INDEX = slice(JOINTS.index("index_mcp"), JOINTS.index("index_tip") + 1)


def make_playing(seconds: float, seed: int, rate_hz: float | None = None, unevenness: float = 0.05) -> Take:
    """A healthy hand: free playing, or up and down the five fingers at a rate."""
    spec = SynthSpec(seconds=seconds, seed=seed, kind="healthy", calibration=False, fps=Fraction(FPS))
    take = make_take(spec, load_hand_model())
    if rate_hz is not None:
        random = np.random.default_rng(seed)
        count = int((seconds + 6) * rate_hz)
        onsets = -3.0 + np.cumsum((1 + unevenness * random.normal(size=count)) / rate_hz)
        down = min(0.08, 0.35 / rate_hz)
        take.motion.strokes[:] = [
            Stroke(float(at), PATTERN[i % 8], float(random.uniform(0.9, 1.1)), down, down, 1.3 * down)
            for i, at in enumerate(onsets)
        ]
    return take


def see(take: Take, extra_mm: np.ndarray | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frame times and joints with jitter, as fused."""
    time_s = take.spec.frame_times_s()
    joints = pose_take(take, time_s)[1]
    if extra_mm is not None:
        joints[:, INDEX] += extra_mm[:, None] * np.array([0.0, 0.4, 0.7, 1.0])[:, None]
    return time_s, joints + np.random.default_rng(seed).normal(0, JITTER_MM, joints.shape)


def true_onsets(take: Take) -> np.ndarray:
    return np.array([stroke.onset_s for stroke in list_strokes(take)])


def list_strokes(take: Take) -> list[Stroke]:
    return [s for s in take.motion.strokes if 0.02 < s.onset_s < take.spec.seconds - 0.1]


def assess(take: Take, time_s: np.ndarray, joints: np.ndarray, is_heard: bool) -> dict[str, TremorSummary]:
    found = compute_kinematics(time_s, joints, np.full(joints.shape[:2], JITTER_MM))
    strokes = find_strokes(
        time_s, see_tips_from_palm(found.joints_mm, "right"), found.measured_sigma_mm[TIP_COLUMNS]
    )
    heard = true_onsets(take) if is_heard else None
    of_sites = assess_tremor(time_s, joints, "right", strokes, heard, found.measured_sigma_mm)
    return {one.site: one for one in of_sites}


def shake(time_s: np.ndarray, hertz: float, rms_mm: float, seed: int) -> np.ndarray:
    """A tremor (T, 3) whose phase wanders a little, in a direction of its own."""
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    phase = np.cumsum(random.normal(0, 0.05, len(time_s)))
    wave = np.sqrt(2) * rms_mm * np.sin(2 * np.pi * hertz * time_s + phase)
    return wave[:, None] * axis / np.linalg.norm(axis)


def check_tremor(seeds: int, seconds: float) -> None:
    print(f"tremor of the index finger, {seconds:g} s of free playing, jitter {JITTER_MM} mm, {seeds} hands")
    for is_heard in (True, False):
        print(f"  strokes {'heard' if is_heard else 'by sight alone'}")
        for rms_mm in (0.2, 0.5, 1.0, 2.0):
            cells = []
            for hertz in (3.5, 5.0, 7.0, 9.0, 11.5):
                seen, away, size = 0, [], []
                for seed in range(seeds):
                    take = make_playing(seconds, seed)
                    wave = shake(take.spec.frame_times_s(), hertz, rms_mm, seed)
                    found = assess(take, *see(take, wave, seed), is_heard)["index"]
                    if found.verdict == "seen":
                        seen += 1
                        away.append(found.frequency_hz - hertz)
                        size.append(found.rms_mm / rms_mm)
                words = f"{np.max(np.abs(away)):.2f} Hz {100 * np.mean(size):.0f} %" if seen else ""
                cells.append(f"{hertz:g} Hz: {seen}/{seeds} {words}")
            print(f"    {rms_mm:g} mm  " + "; ".join(cells))


def check_false_alarms(seeds: int, seconds: float) -> None:
    print(f"tremor where there is none, {seconds:g} s, six places each")
    for is_heard in (True, False):
        for rate_hz in (None, 2.0, 4.0, 6.0, 8.0):
            verdicts, floor = [], 0
            for seed in range(100, 100 + seeds):
                take = make_playing(seconds, seed, rate_hz)
                time_s, joints = see(take, None, seed)
                verdicts += [one.verdict for one in assess(take, time_s, joints, is_heard).values()]
                for finger in range(len(FINGERS)):
                    spectrum = take_spectrum(see_tips_from_palm(joints, "right")[:, finger], FPS)
                    ratio = spectrum.mean / fit_background(spectrum.hertz, spectrum.mean)
                    floor += bool(np.nanmax(ratio) > 5)
            counts = {word: verdicts.count(word) for word in ("seen", "none seen", "cannot tell")}
            print(
                f"  {'heard' if is_heard else 'sight'}, "
                f"{f'{rate_hz:g} strokes/s' if rate_hz else 'free playing'}: {counts}; a plain peak of 5 "
                f"times its background: {floor} of {5 * seeds} fingers"
            )


def check_onsets(seeds: int) -> None:
    print("onsets in made rooms, 30 s, microphone of camera front")
    for rate_hz in (None, 2.0, 4.0, 8.0):
        errors, missed, added, uneven = [], 0, 0, []
        for seed in range(seeds):
            take = make_playing(30.0, seed, rate_hz, 0.08)
            true = true_onsets(take)
            sound = make_sounds(take)["front"].astype(float)
            onsets = find_onsets(resample_poly(sound, 1, SOUND_RATE_HZ // RATE_HZ))
            away = onsets.time_s[:, None] - true
            nearest = np.abs(away).argmin(axis=1)
            error = away[np.arange(len(nearest)), nearest]
            good = np.abs(error) < 0.02
            errors.append(error[good] - np.median(error[good]))
            missed += len(true) - len(set(nearest[good]))
            added += int((~good).sum())
            found = describe_timing(Heard(onsets, 30.0, "front"))
            exact = describe_timing(Heard(Onsets(true, np.full(len(true), 99.0)), 30.0, "front"))
            uneven.append(f"{found.sd_ms:.1f} ({exact.sd_ms:.1f})")
        every = np.concatenate(errors)
        print(
            f"  {f'{rate_hz:g} strokes/s' if rate_hz else 'free playing'}: SD {1e3 * every.std():.2f} ms, "
            f"95 % within {1e3 * np.percentile(np.abs(every), 95):.1f} ms, missed {missed}, added {added} of "
            f"{len(every) + missed}; unevenness in ms (true): {', '.join(uneven)}"
        )


def find_bed_times(take: Take) -> np.ndarray:
    """When the fingertip of each stroke first has 99 % of its way down behind it, by truth."""
    found = []
    for stroke in list_strokes(take):
        time_s = np.arange(stroke.onset_s - stroke.down_s - 0.02, stroke.onset_s + 0.05, 1e-3)
        joints = pose_take(take, time_s)[1]
        depth = -see_tips_from_palm(joints, take.spec.side)[:, stroke.finger, 2]
        start = int(depth.argmin())
        share = (depth[start:] - depth[start]) / np.ptp(depth[start:])
        found.append(time_s[start + int(np.argmax(share >= 0.99))])
    return np.array(found)


def match(times_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Of each time the lag in s behind the nearest wanted one, those within 80 ms."""
    away = times_s[:, None] - wanted_s
    nearest = away[np.arange(len(away)), np.abs(away).argmin(axis=1)]
    return np.asarray(nearest[np.abs(nearest) < 0.08])


def say_lag(what: str, lag_s: np.ndarray, of: int) -> None:
    low, middle, high = 1e3 * np.percentile(lag_s, [2.5, 50, 97.5])
    print(f"    {what}: {middle:+.1f} ms (95 % {low:+.1f} to {high:+.1f}), {len(lag_s)} of {of}")


def check_lag(seeds: int) -> None:
    """Sound and hand on one clock: what is heard against when the key is down, by truth and as seen."""
    print("lag behind the moment at which the fingertip is down (99 % of its way), clocks as found by truth")
    for camera in ("front", "left"):
        heard, tones, seen, count = [], [], [], 0
        for seed in range(seeds):
            take = make_playing(20.0, seed)
            down_s = find_bed_times(take)
            sound = resample_poly(make_sounds(take)[camera].astype(float), 1, SOUND_RATE_HZ // RATE_HZ)
            onsets_s = take.clocks.to_reference_s(camera, find_onsets(sound).time_s)
            time_s, joints = see(take)
            movement = compute_kinematics(time_s, joints, np.full(joints.shape[:2], JITTER_MM))
            tips = see_tips_from_palm(movement.joints_mm, take.spec.side)
            heard.append(match(onsets_s, down_s))
            tones.append(match(onsets_s, true_onsets(take)))
            strokes = find_strokes(time_s, tips, movement.measured_sigma_mm[TIP_COLUMNS])
            fingers = np.array([stroke.finger for stroke in list_strokes(take)])
            for finger in range(len(FINGERS)):
                # From the true stroke: whatever else the finger did is no matter here.
                seen.append(-match(down_s[fingers == finger], strokes.time_s[strokes.finger == finger]))
            count += len(down_s)
        clock = take.clocks.cameras[camera]
        print(f"  microphone of {camera} (last offset {clock.offset_s:+.3f} s, {clock.drift_ppm:+.0f} ppm)")
        say_lag("tone as found", np.concatenate(heard), count)
        say_lag("tone as found, behind the true tone", np.concatenate(tones), count)
        say_lag("arrival as seen (90 % of its way)", np.concatenate(seen), count)


def check_lag_of_files(seconds: float = 8.0) -> None:
    """The same through the files: H.264 and AAC in MP4, the stage's own way to the sound."""
    spec = SynthSpec(seconds=seconds, seed=2, kind="healthy", calibration=False, size_px=(480, 270))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "session"
        make_session(folder, spec, Reporter("synth"))
        truth, session = read_truth(folder), read_session(folder)
        for camera in ("front", "left"):
            heard = listen({camera: session.videos[camera]}, truth.sync)
            wanted = np.array([at for at in truth.onsets_s if 0.02 < at < seconds - 0.1])
            lag_s = match(heard.onsets.time_s, wanted)
            say_lag(f"from {camera}.mp4, behind the true tone", lag_s, len(wanted))


def check_individuation(seconds: float) -> None:
    take = make_playing(seconds, 0)
    expected = np.full((5, 5), np.nan)
    for finger in range(5):
        alone = make_playing(4.0, 0)
        for name, wave in alone.motion.waves.items():
            alone.motion.waves[name] = type(wave)(np.zeros(1), np.ones(1), np.zeros(1))
        alone.motion.moves[:] = []
        alone.motion.strokes[:] = [Stroke(2.0, finger, 1.0, 0.08, 0.1, 0.12)]
        time_s = alone.spec.frame_times_s()
        path = see_tips_from_palm(pose_take(alone, time_s)[1], "right")[:, :, 2]
        near = (time_s >= 1.85) & (time_s <= 2.1)
        away = path[near] - path[near].mean(axis=0)
        expected[finger] = away[:, finger] @ away / (away[:, finger] ** 2).sum()
    time_s, joints = see(take)
    kinematics = compute_kinematics(time_s, joints, np.full(joints.shape[:2], JITTER_MM))
    tips = see_tips_from_palm(kinematics.joints_mm, "right")
    strokes = find_strokes(time_s, tips, kinematics.measured_sigma_mm[TIP_COLUMNS])
    for heard in (true_onsets(take), None):
        found = measure_individuation(time_s, tips, strokes, heard)
        away = [
            cell.share - expected[FINGERS.index(cell.striking), FINGERS.index(cell.other)]
            for cell in found.couplings
        ]
        inside = sum(
            cell.low <= expected[FINGERS.index(cell.striking), FINGERS.index(cell.other)] <= cell.high
            for cell in found.couplings
        )
        known = np.isfinite(away)
        print(
            f"individuation, {seconds:g} s, {'heard' if found.heard else 'sight'}: {found.events} strokes of "
            f"{len(true_onsets(take))}, {known.sum()} of 20 cells known, error mean "
            f"{np.nanmean(np.abs(away)):.3f}, worst {np.nanmax(np.abs(away)):.3f}; truth within the "
            f"interval in {inside}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    check_onsets(options.seeds)
    check_lag(options.seeds)
    check_lag_of_files()
    check_individuation(60.0)
    check_false_alarms(options.seeds, options.seconds)
    check_tremor(options.seeds, options.seconds)


if __name__ == "__main__":
    main()
