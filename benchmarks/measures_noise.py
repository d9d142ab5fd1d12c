"""Noise and cost of the measures against naive differences: ``python -m benchmarks.measures_noise``.

1. A resting hand with 1 mm of independent jitter per axis at 60 frames/s, 3 minutes: per-axis noise of
acceleration
   and jerk and false brisk movements, against repeated differences (the floor) with the same threshold.
2. One movement at 30, 59.94, 60 and 120 frames/s: the largest difference of any measure.
3. All measures of 10,800 frames and two hands: seconds of CPU.
"""

from __future__ import annotations

import time

import numpy as np

from pipeline.hand.joints import FINGERS
from pipeline.measures.baseline import read_baseline
from pipeline.measures.kinematics import compute_kinematics
from pipeline.measures.measure import measure
from pipeline.measures.scores import BRISK_ACCELERATION, find_brisk_events
from pipeline.results import HandTrack

FRAMES, FPS = 10_800, 60.0
TIPS = tuple(f"{finger}_tip" for finger in FINGERS)


def draw_rest(jitter_mm: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, jitter_mm, (FRAMES, 21, 3))


def draw_movement(time_s: np.ndarray) -> np.ndarray:
    """21 joints moving below 4 Hz, mm."""
    random = np.random.default_rng(1)
    rate, phase = random.uniform(0.5, 4, (6, 21, 3)), random.uniform(0, 2 * np.pi, (6, 21, 3))
    return np.sum(
        [8 * np.sin(2 * np.pi * time_s[:, None, None] * r + p) for r, p in zip(rate, phase, strict=True)], 0
    )


def per_axis(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(values**2) / 3))


def compare_noise() -> None:
    joints = draw_rest(1.0)
    found = compute_kinematics(np.arange(FRAMES) / FPS, joints, np.ones((FRAMES, 21)))
    naive = [np.linalg.norm(np.diff(joints, order, axis=0), axis=2) * FPS**order * 1e-3 for order in (2, 3)]
    brisk = len(find_brisk_events(found.time_s, found.acceleration, found.acceleration_noise, TIPS))
    false = 100 * float((naive[0] > BRISK_ACCELERATION).mean())
    for name, unit, ours, theirs in (
        ("acceleration", "m/s²", per_axis(found.acceleration), per_axis(naive[0])),
        ("jerk", "m/s³", per_axis(found.jerk), per_axis(naive[1])),
    ):
        print(
            f"{name} noise per axis: {ours:.2f} {unit}, differences {theirs:.2f}, ratio {theirs / ours:.1f}"
        )
    print(f"false brisk movements in 3 min, five fingertips: {brisk}; differences: {false:.0f} % of frames")


def compare_rates() -> None:
    figures = {}
    for fps in (30.0, 60000 / 1001, 60.0, 120.0):
        time_s = np.arange(int(30 * fps)) / fps
        found = compute_kinematics(time_s, draw_movement(time_s), np.full((len(time_s), 21), 0.1))
        figures[fps] = [
            float(np.nanpercentile(values, q)) if np.isfinite(values).any() else np.nan
            for values in (found.speed, found.acceleration, found.jerk)
            for q in (50, 95)
        ]
    for fps, values in figures.items():
        off = np.abs(np.array(values) / np.array(figures[60.0]) - 1)
        known = int(np.isfinite(off).sum())
        print(f"{fps:6.2f} frames/s: largest difference {100 * np.nanmax(off):.2f} % of {known} figures")


def time_measures() -> None:
    eye = np.eye(3)
    rest = np.random.default_rng(2).normal(0, 30, (21, 3))
    time_s = np.arange(FRAMES) / FPS
    hand = HandTrack(
        time_s=time_s,
        betas=np.zeros(10),
        global_orient=np.tile(eye, (FRAMES, 1, 1)),
        hand_pose=np.tile(eye, (FRAMES, 15, 1, 1)),
        transl_mm=np.zeros((FRAMES, 3)),
        joints_mm=rest + draw_movement(time_s),
        joint_sigma_mm=np.ones((FRAMES, 21)),
        residual_px=np.ones((3, FRAMES, 21)),
        quality=np.ones((FRAMES, 21)),
        cameras=("front", "left", "right"),
    )
    baseline = read_baseline()
    start, cpu = time.perf_counter(), time.process_time()
    measure({"right": hand, "left": hand}, baseline)
    used, took = time.process_time() - cpu, time.perf_counter() - start
    print(f"two hands of {FRAMES} frames: {used:.1f} s CPU, {took:.1f} s")


if __name__ == "__main__":
    compare_noise()
    compare_rates()
    time_measures()
