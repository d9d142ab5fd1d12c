"""Whether a measure is the same at any frame rate and length: ``python -m benchmarks.measures_invariance``.

One made hand, in truth continuous, goes through what a recording goes through after the fusion: hand track,
measures, summary, tables. Every number that report or tables print is compared, but not those that say how
sure another is (intervals, detection limits, noise): they shrink with length and rate, as they should.

1. Rates: one movement at 24 to 240 frames/s against 60, without jitter, since jitter is no movement.
2. Lengths: takes of 180 s cut into 20 s and 60 s. Takes and cuts hold the same playing, so that the mean over
   the cuts less the whole is what length alone does; its standard error is that over seeds.

A difference is a share of the value itself where zero means none (mm, m/s, Hz, shares, spreads); of an angle
a share of its range of motion, of a z one of 1, of a coupling one of the striking finger's way. The floor of
lengths is two takes of the same playing: how far apart the measures of two cuts are by chance.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.hand.joints import Side
from pipeline.hand.model import load_hand_model
from pipeline.measures.baseline import Baseline, read_baseline
from pipeline.measures.features import tabulate_features
from pipeline.measures.measure import measure
from pipeline.measures.playing import take_features
from pipeline.measures.playing_types import KeyTiming
from pipeline.measures.rotations import measure_track, tabulate_rotations
from pipeline.measures.smoothness import compute_ldlj
from pipeline.measures.summary import summarise
from pipeline.measures.summary_types import SideSummary
from pipeline.measures.timing import Heard, Onsets, describe_timing
from pipeline.results import CameraSync, HandTrack, Rig, SyncResult
from pipeline.session import SessionSettings
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Take, make_take, pose_take

Kind = Literal["healthy", "dystonic"]

RATES = (24.0, 30.0, 60000 / 1001, 60.0, 120.0, 240.0)
BAR_RATES = (30.0, 60000 / 1001, 60.0, 120.0)
BAR = 0.05
SIGMA_MM = 0.3


@dataclass(frozen=True)
class Figure:
    """A number of a report or a table, and what a difference is a share of (NaN = of itself)."""

    value: float
    scale: float = math.nan
    floor: float = 0.0


def measure_take(take: Take, time_s: np.ndarray, tremor_mm: float, noise_mm: float) -> HandTrack:
    """The hand as fused at frame times, with a tremor of 7 Hz of the index finger and white noise."""
    _, joints, parameters = pose_take(take, time_s)
    wave = np.sqrt(2) * tremor_mm * np.sin(2 * np.pi * 7.0 * time_s)[:, None] * np.array([0.0, 0.6, 0.8])
    joints[:, 5:9] += wave[:, None] * np.array([0.0, 0.4, 0.7, 1.0])[:, None]
    joints += np.random.default_rng(take.spec.seed).normal(0, 1, joints.shape) * noise_mm
    return HandTrack(
        time_s=time_s,
        betas=take.motion.person.betas,
        joints_mm=joints,
        joint_sigma_mm=np.full(joints.shape[:2], SIGMA_MM),
        residual_px=np.ones((1, *joints.shape[:2])),
        quality=np.ones(joints.shape[:2]),
        cameras=("front",),
        **parameters,
    )


def cut_track(track: HandTrack, start_s: float, stop_s: float) -> HandTrack:
    """Some of a track, from one time to another."""
    kept = (track.time_s >= start_s - 1e-9) & (track.time_s < stop_s - 1e-9)
    names = ("time_s", "global_orient", "hand_pose", "transl_mm", "joints_mm", "joint_sigma_mm", "quality")
    parts = {name: getattr(track, name)[kept] for name in names}
    return dataclasses.replace(track, **parts, residual_px=track.residual_px[:, kept])


def hear(take: Take, start_s: float, stop_s: float) -> Heard:
    """The true tones of a stretch."""
    onsets = np.array([stroke.onset_s for stroke in take.motion.strokes])
    onsets = np.sort(onsets[(onsets >= start_s) & (onsets < stop_s)])
    return Heard(Onsets(onsets, np.full(len(onsets), 20.0)), stop_s - start_s, "front")


def flat_joints(take: Take) -> np.ndarray:
    eye = np.eye(3)[None]
    pose = np.tile(eye, (1, 15, 1, 1))
    return take.model.pose_arrays(take.motion.person.betas, eye, pose, np.zeros((1, 3)))[1][0]


def take_figures(take: Take, track: HandTrack, heard: Heard, baseline: Baseline) -> dict[str, Figure]:
    """Every number of summary and tables by name."""
    hands: dict[Side, HandTrack] = {"right": track}
    measures = measure(hands, baseline)
    clocks = SyncResult("front", {"front": CameraSync(0.0, source="reference")})
    summary = summarise(
        settings=SessionSettings(subject="made"),
        sync=clocks,
        rig=Rig("front", {}),
        views={},
        hands=hands,
        measures=measures,
        baseline=baseline,
        model_name=take.model.name,
        heard=heard,
        flat_mm={"right": flat_joints(take)},
    )
    found = measures.hands["right"]
    features = tabulate_features({"right": (track.time_s, take_features(track, found))})
    rotations = tabulate_rotations({"right": (track.time_s, measure_track(track, flat_joints(take)))})
    tips = found.kinematics.speed[:, [4, 8, 12, 16, 20]]
    return (
        _read_side(summary.sides["right"], 1.0 / found.kinematics.fps)
        | _read_timing(summary.timing)
        | _read_table(measures.measures, "joint", ("speed", "acceleration", "jerk", "jerk_score"))
        | _read_table(measures.angles, "angle", ("degrees", "z"))
        | _read_table(rotations, "rotation", ("bend_deg", "spread_deg", "twist_deg"))
        | _read_features(features)
        | {
            "LDLJ of 2 s, median (noise-prone, not reported)": Figure(
                _windowed_ldlj(tips, found.kinematics.fps)
            )
        }
    )


def _windowed_ldlj(speed: np.ndarray, fps: float) -> float:
    length = round(2.0 * fps)
    parts = [
        compute_ldlj(speed[start : start + length, column], fps)
        for start in range(0, len(speed) - length + 1, length)
        for column in range(speed.shape[1])
        if np.isfinite(speed[start : start + length, column]).all()
    ]
    return float(np.median(parts)) if parts else math.nan


def _read_side(side: SideSummary, step_s: float) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for angle in side.angles:
        rom = angle.range_of_motion_deg
        figures |= {
            f"angle {name} {angle.angle}": figure
            for name, figure in {
                "median": Figure(angle.median_deg, rom),
                "peak": Figure(angle.peak_deg, rom),
                "SD": Figure(angle.sd_deg),
                "range of motion": Figure(rom),
                "RMS distance": Figure(angle.rms_deg),
                "z": Figure(angle.z, 1.0),
                "peak z": Figure(angle.peak_z, 1.0),
                "far share": Figure(angle.far_share, floor=0.01),
            }.items()
        }
    for headline in side.headlines:
        figures[f"headline {headline.id}"] = Figure(headline.value, floor=1.0 if headline.unit == "%" else 0)
    for finger in side.fingers:
        figures |= {
            f"finger RMS {finger.finger}": Figure(finger.rms_deg),
            f"finger RMS z {finger.finger}": Figure(finger.rms_z, floor=1.0),
            f"finger posture share {finger.finger}": Figure(finger.posture_share, floor=0.01),
            f"finger bouts a minute {finger.finger}": Figure(finger.bouts_per_min, floor=1.0),
        }
    lengths = [bout.end_s - bout.start_s + step_s for bout in side.bouts]
    figures["median bout (not reported)"] = Figure(float(np.median(lengths)) if lengths else math.nan)
    for joint in side.jerk_reference:
        figures |= {
            f"jerk P50 {joint.joint}": Figure(joint.p50),
            f"jerk P95 {joint.joint}": Figure(joint.p95),
            f"jerk over reference {joint.joint}": Figure(joint.share_over_reference, floor=0.01),
            f"jerk score against reference {joint.joint}": Figure(joint.mean_reference_score, 1.0),
        }
    for site in side.tremor:
        figures |= {
            f"tremor Hz {site.site}": Figure(site.frequency_hz),
            f"tremor mm {site.site}": Figure(site.rms_mm),
        }
    return figures | _read_playing(side)


def _read_playing(side: SideSummary) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    assert side.individuation is not None
    assert side.features is not None
    for cell in side.individuation.couplings:
        figures[f"coupling {cell.striking} {cell.other}"] = Figure(cell.share, 1.0)
    for one in side.individuation.fingers:
        figures[f"individuation {one.finger}"] = Figure(one.index)
    features = side.features
    figures |= {
        "openness": Figure(features.openness),
        "openness P5": Figure(features.openness_p5),
        "openness P95": Figure(features.openness_p95),
        "wrist path": Figure(features.wrist_path_mm_s),
        "hinge twist": Figure(side.hinge_twist_deg, floor=1.0),
    }
    for grasp, share in features.grasp_shares.items():
        figures[f"grasp {grasp}"] = Figure(share, floor=0.01)
    return figures


def _read_timing(found: KeyTiming | None) -> dict[str, Figure]:
    assert found is not None
    return {
        "timing strokes a minute": Figure(found.rate_per_min),
        "timing interval": Figure(found.interval_ms),
        "timing SD": Figure(found.sd_ms),
        "timing median run SD": Figure(found.median_run_sd_ms),
        "timing CV": Figure(found.cv),
    }


def _read_table(table: pd.DataFrame, what: str, columns: tuple[str, ...]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for name, rows in table.groupby(what, observed=True):
        for column in columns:
            figures |= _take_percentiles(f"table {column}", str(name), rows[column].to_numpy(dtype=float))
    if "acceleration_score" in table:
        for name, values in table.groupby(what, observed=True)["acceleration_score"]:
            flash = float(values.mean())
            figures[f"table acceleration_score mean {name}"] = Figure(flash, 1.0)
    return figures


def _read_features(table: pd.DataFrame) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for column in ("openness", "thumb_index_mm", "thumb_middle_mm", *(f"wrist_{axis}_mm" for axis in "xyz")):
        figures |= _take_percentiles("table feature", column, table[column].to_numpy(dtype=float))
    return figures


def _take_percentiles(what: str, name: str, values: np.ndarray) -> dict[str, Figure]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {f"{what} P{share} {name}": Figure(math.nan) for share in (5, 50, 95)}
    low, high = np.percentile(known, [2.5, 97.5])
    scales = {
        "table degrees": high - low,
        "table feature": high - low,
        "table z": 1.0,
        "table jerk_score": 1.0,
    }
    scale = scales.get(what, math.nan)
    return {
        f"{what} P{share} {name}": Figure(float(np.percentile(known, share)), float(scale))
        for share in (5, 50, 95)
    }


def compare(figure: Figure, reference: Figure) -> float:
    """How far a figure is from another, as a share (see the module); NaN where one is withheld."""
    own = max(abs(reference.value), reference.floor)
    scale = own if math.isnan(reference.scale) else reference.scale
    return (figure.value - reference.value) / scale if scale > 0 else math.nan


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a figure's difference, its standard error, and the figure's mean."""

    share: float
    error: float
    value: float


def pool(figures: list[dict[str, Figure]], references: list[dict[str, Figure]]) -> dict[str, Difference]:
    """Differences of figures known in all seeds: of the means, as a share of the mean reference."""
    found = {}
    for name in references[0]:
        pairs = [(a[name], b[name]) for a, b in zip(figures, references, strict=True)]
        values = np.array([[a.value, b.value] for a, b in pairs])
        scales = np.array([b.scale for _, b in pairs])
        if not np.isfinite(values).all():
            continue
        own = max(float(np.abs(values[:, 1]).mean()), pairs[0][1].floor)
        scale = own if np.isnan(scales).any() else float(scales.mean())
        if scale <= 0:
            continue
        away = (values[:, 0] - values[:, 1]) / scale
        error = float(away.std(ddof=1) / np.sqrt(len(away))) if len(away) > 1 else math.nan
        found[name] = Difference(float(away.mean()), error, float(values[:, 1].mean()))
    return found


def say(title: str, found: dict[str, Difference], withheld: list[str]) -> None:
    """Print how many figures keep the bar, and those that do not."""
    off = {name: one for name, one in found.items() if abs(one.share) > BAR}
    surely = {name: one for name, one in off.items() if abs(one.share) - 2 * one.error > BAR}
    worst = max(found.values(), key=lambda one: abs(one.share))
    print(
        f"  {title}: {len(found)} figures, {len(off)} off by more than {BAR:.0%} ({len(surely)} of them by 2 "
        f"standard errors more), largest {abs(worst.share):.1%}, median "
        f"{np.median([abs(one.share) for one in found.values()]):.2%}; withheld {len(withheld)}"
    )
    for name, one in sorted(off.items(), key=lambda item: -abs(item[1].share)):
        sure = "surely" if name in surely else "within chance"
        print(f"      {name}: {one.share:+.1%} ± {one.error:.1%} of {one.value:.4g} ({sure})")
    groups = sorted({" ".join(name.split()[:2]) for name in withheld})
    if groups:
        print(f"      withheld: {', '.join(groups)}")


def make_playing(kind: Kind, seed: int, seconds: float) -> Take:
    """A healthy hand (with a tremor added by `measure_take`'s caller) or a dystonic one."""
    spec = SynthSpec(seconds=seconds, seed=seed, kind=kind, calibration=False, fps=Fraction(60))
    take = make_take(spec, load_hand_model())
    for _, _, step in take.motion.moves:
        step[1] = 0.0  # across the keys a made hand drifts on and on, which is not one kind of playing
    return take


KINDS: dict[Kind, float] = {"healthy": 1.5, "dystonic": 0.0}
"""Kinds of playing, and the size of the index finger's tremor (root mean square, mm)."""


def compare_rates(seeds: int, seconds: float, baseline: Baseline) -> None:
    print(f"one movement at several frame rates against 60, {seeds} hands of {seconds:g} s of each kind")
    for kind, tremor_mm in KINDS.items():
        figures: dict[float, list[dict[str, Figure]]] = {fps: [] for fps in RATES}
        for seed in range(seeds):
            take = make_playing(kind, seed, seconds)
            for fps in RATES:
                track = measure_take(take, np.arange(int(seconds * fps)) / fps, tremor_mm, 0.0)
                figures[fps].append(take_figures(take, track, hear(take, 0.0, seconds), baseline))
        for fps in RATES:
            if fps != 60.0:
                asked = "" if fps in BAR_RATES else " (not in the bar)"
                lost = list_withheld(figures[fps], figures[60.0])
                say(f"{kind}, {fps:.2f} frames/s{asked}", pool(figures[fps], figures[60.0]), lost)


def compare_timing_lengths(takes: int) -> None:
    """Key timing of cuts against the whole: free playing has no even runs, so strokes are drawn here."""
    figures: dict[float, list[dict[str, Figure]]] = {20.0: [], 60.0: [], 180.0: []}
    for seed in range(takes):
        random = np.random.default_rng(seed)
        onsets = np.cumsum((1 + 0.06 * random.normal(size=600)) / 2.5)
        for length_s, parts in figures.items():
            cuts = [onsets[(onsets >= at) & (onsets < at + length_s)] for at in np.arange(0, 180, length_s)]
            found = [
                describe_timing(Heard(Onsets(cut, np.full(len(cut), 20.0)), length_s, "front"))
                for cut in cuts
            ]
            parts.append(average([_read_timing(one) for one in found]))
    print(f"key timing, {takes} takes of 180 s of 2.5 even strokes a second, 6 % of unevenness")
    for length_s in (20.0, 60.0):
        say(f"{length_s:g} s", pool(figures[length_s], figures[180.0]), [])


def list_withheld(figures: list[dict[str, Figure]], references: list[dict[str, Figure]]) -> list[str]:
    """Figures known in some reference and in none of these."""
    return [
        name
        for name in references[0]
        if any(math.isfinite(one[name].value) for one in references)
        and not any(math.isfinite(one[name].value) for one in figures)
    ]


def compare_lengths(seeds: int, baseline: Baseline) -> None:
    whole_s = 180.0
    print(
        f"length: cuts of takes of {whole_s:g} s against the whole, {seeds} hands of each kind, 60 frames/s"
    )
    for kind, tremor_mm in KINDS.items():
        figures: dict[float, list[list[dict[str, Figure]]]] = {20.0: [], 60.0: [], whole_s: []}
        for seed in range(seeds):
            take = make_playing(kind, seed, whole_s)
            track = measure_take(take, np.arange(int(whole_s * 60)) / 60, tremor_mm, SIGMA_MM)
            for length_s, parts in figures.items():
                starts = np.arange(0.0, whole_s - 1e-9, length_s)
                parts.append([measure_cut(take, track, start, length_s, baseline) for start in starts])
        wholes = [parts[0] for parts in figures[whole_s]]
        for length_s in (20.0, 60.0):
            means = [average(parts) for parts in figures[length_s]]
            lost = list_withheld(means, wholes)
            say(f"{kind}, {length_s:g} s", pool(means, wholes), lost)
            apart = _scatter(figures[length_s])
            print(f"      by chance two cuts of {length_s:g} s differ by {apart:.1%} (median of the figures)")


def measure_cut(
    take: Take, track: HandTrack, start_s: float, length_s: float, baseline: Baseline
) -> dict[str, Figure]:
    stop_s = start_s + length_s
    return take_figures(take, cut_track(track, start_s, stop_s), hear(take, start_s, stop_s), baseline)


def average(parts: list[dict[str, Figure]]) -> dict[str, Figure]:
    """Means over the parts in which a figure is known."""
    found = {}
    for name, first in parts[0].items():
        known = [part[name].value for part in parts if math.isfinite(part[name].value)]
        found[name] = dataclasses.replace(first, value=float(np.mean(known)) if known else math.nan)
    return found


def _scatter(takes: list[list[dict[str, Figure]]]) -> float:
    """Median over the figures of how far two cuts of one take are apart (root mean square), as a share."""
    apart = []
    for name in takes[0][0]:
        values = np.array([[part[name].value for part in parts] for parts in takes])
        scale = max(float(np.abs(values).mean()), takes[0][0][name].floor)
        own = takes[0][0][name].scale
        scale = own if math.isfinite(own) else scale
        if np.isfinite(values).all() and scale > 0:
            apart.append(float(np.sqrt(2 * values.var(axis=1, ddof=1).mean())) / scale)
    return float(np.median(apart))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", choices=("rates", "lengths"))
    options = parser.parse_args()
    baseline = read_baseline()
    if options.only != "lengths":
        compare_rates(options.seeds, options.seconds, baseline)
    if options.only != "rates":
        compare_timing_lengths(40)
        compare_lengths(options.seeds, baseline)


if __name__ == "__main__":
    main()
