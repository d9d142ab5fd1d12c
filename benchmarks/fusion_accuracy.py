"""The fusion's accuracy beside aniposelib's: made points of known noise, and a network's points.

    python -m benchmarks.fusion_accuracy [--seeds 3] [--seconds 8] [--peer PYTHON]
    python -m benchmarks.fusion_accuracy --run RUN... --truth SESSION... [--peer PYTHON]

PYTHON is that of an environment of its own with ``pip install aniposelib==0.8.0``. The first form draws
dystonic made sessions, projects their true joints at three cameras' own instants and adds noise
(`add_noise`). The second takes the keypoints, clocks and rigs that runs of made sessions have found, and
fuses them anew. Both give the peer the very points that the fusion gets, brought to the reference camera's
frame times. A peer that misses joints is held against the fusion on those that it has. Errors are means
over the seeds or runs.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from pipeline.evaluation.made_session import ORDINARY, SETS, JointErrors, compare_joints
from pipeline.files import read_json
from pipeline.fusion.evidence import Evidence, collect
from pipeline.fusion.fuse import fuse_side
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.weights import get_view_weights
from pipeline.hand.angles import ANGLES, compute_angles
from pipeline.hand.joints import BONES, JOINTS
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.pose.augmentation import state_offset_sigma
from pipeline.pose.registry import load_estimator
from pipeline.progress import Reporter
from pipeline.results import HandTrack, Rig, RunFolder, SyncResult, ViewTrack, read_rig, read_sync, read_view
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Truth, make_truth, read_truth

PEER = Path(__file__).with_name("aniposelib_peer.py")

NOISE_PX = 2.0
OUTLIERS, OUTLIER_PX = 0.05, (30.0, 150.0)
HIDDEN, HIDDEN_S = 0.15, 0.25

MAX_OFFSET_S = 0.05

SILENT = ("front", "left"), (2.5, 5.0)
"""The two cameras of which one at a time sees nothing between these times, s."""

TREMOR_HZ, TREMOR_MM = 7.0, 1.0

ANGLE_BARS_DEG = {"mcp": 5.0, "pip": 7.0, "dip": 9.0}

RUN_BARS = {ORDINARY: (0.80, 0.80), "dystonic": (0.90, 0.90)}
"""Bars of the error and of the acceleration error, as shares of the best peer's."""


@dataclass(frozen=True)
class Case:
    """One recording: its truth, what the cameras saw, and what was made of that (joints (T, 21, 3) in mm)."""

    truth: Truth
    evidence: Evidence
    hand: HandTrack
    peers: dict[str, np.ndarray]

    def get_rows(self, phase: str) -> np.ndarray:
        """Frames (T,) bool of "ordinary", "dystonic" or "all" phases."""
        ordinary = np.zeros(len(self.truth.time_s), dtype=bool)
        for each in self.truth.phases:
            inside = (self.truth.time_s >= each["start_s"]) & (self.truth.time_s < each["end_s"])
            ordinary |= inside & (each["name"] == ORDINARY)
        return {ORDINARY: ordinary, "dystonic": ~ordinary, "all": np.ones_like(ordinary)}[phase]


# --- what the cameras saw --------------------------------------------------------------------------


def add_noise(
    points_px: np.ndarray, seconds: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points (T, 21, 2) as a detector might give them, and the sigma (T, 21) that it states.

    White noise whose sigma differs from point to point (log-normal, a factor of 1.65 either way, 2 px root
    mean square along each axis) and is stated truly; 5 % of points 30 to 150 px off, unstated; each joint
    hidden (NaN) for 0.25 s at a time, 15 % of the time.
    """
    frames = len(points_px)
    sigma_px = NOISE_PX * np.exp(0.5 * rng.normal(size=(frames, 21)) - 0.25)
    noisy = points_px + sigma_px[..., None] * rng.normal(size=points_px.shape)
    turn, far = rng.uniform(0, 2 * np.pi, (frames, 21)), rng.uniform(*OUTLIER_PX, (frames, 21))
    away = far[..., None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    noisy = np.where(rng.random((frames, 21, 1)) < OUTLIERS, points_px + away, noisy)
    block = np.arange(frames) * int(np.ceil(seconds / HIDDEN_S)) // frames
    noisy[(rng.random((block[-1] + 1, 21)) < HIDDEN)[block]] = np.nan
    return noisy, sigma_px


def make_spec(seed: int, seconds: float) -> SynthSpec:
    """A dystonic session whose cameras start within 50 ms, so that nearly all is filmed by all of them."""
    return SynthSpec(
        seconds=seconds, seed=seed, kind="dystonic", max_offset_s=MAX_OFFSET_S, calibration=False
    )


def make_evidence(truth: Truth, seed: int | None) -> Evidence:
    """The true points at the cameras' own times, exact or with a seed's noise; true clocks and rig."""
    views = {}
    for number, (camera, points) in enumerate(truth.keypoints_px.items()):
        time_s, sigma = truth.camera_time_s[camera], np.full(points.shape[:2], 0.5)
        if seed is not None:
            rng = np.random.default_rng([seed, number])
            points, sigma = add_noise(points, float(time_s[-1] - time_s[0]), rng)
        views[camera] = {truth.side: make_track(time_s, points, sigma, truth.size_px)}
    return collect_all(truth.sync, truth.rig, views, truth)


def make_track(
    time_s: np.ndarray, points_px: np.ndarray, sigma_px: np.ndarray, size_px: tuple[int, int]
) -> ViewTrack:
    """Points alone, as another tool would give them."""
    empty, states = np.full((len(time_s), 4), np.nan), np.full(len(time_s), "detected")
    return ViewTrack(time_s, empty, states, points_px, sigma_px, np.ones(len(time_s)), size_px)


def read_evidence(folder: Path, truth: Truth) -> Evidence:
    """What a run's cameras saw, with the clocks and the rig that it found.

    How large the constant errors are is what the estimator states now, not what it stated in that run.
    """
    run = RunFolder(folder)
    sync, rig = read_sync(run.sync_json), read_rig(run.rig_json)
    share = load_estimator(read_json(run.run_json)["settings"]["estimator"]).offset_share
    views = {
        camera: {
            side: replace(track, offset_sigma_px=state_offset_sigma(share, track.keypoints_px))
            for side, track in read_view(run, camera).items()
        }
        for camera in rig.cameras
    }
    return collect_all(sync, rig, views, truth)


def collect_all(sync: SyncResult, rig: Rig, views: dict, truth: Truth) -> Evidence:
    """`collect` for the only hand of a made session."""
    if truth.side != "right":
        raise SystemExit(
            "Name made sessions of right hands: left ones are worked mirrored, and the peer is not."
        )
    names = tuple(sorted(views, key=lambda name: (name != rig.reference, name)))
    evidence = collect(rig.reference, names, sync, rig, views, truth.side)
    if len(evidence.time_s) != len(truth.time_s):
        raise SystemExit(
            f"{len(evidence.time_s)} frames were measured, but the truth has {len(truth.time_s)}."
        )
    return evidence


def silence(evidence: Evidence, camera: str, rows: np.ndarray) -> Evidence:
    """The evidence of two cameras of which one sees nothing in the frames ``rows`` (T,) bool."""
    names = SILENT[0]
    kept = [evidence.names.index(name) for name in names]
    points, sigma = evidence.points_px[kept].copy(), evidence.sigma_px[kept].copy()
    points[names.index(camera), rows] = np.nan
    sigma[names.index(camera), rows] = np.nan
    return replace(
        evidence,
        names=names,
        cameras=tuple(evidence.cameras[number] for number in kept),
        points_px=points,
        sigma_px=sigma,
        manual=get_view_weights(names, "right", np.isfinite(sigma), FusionOptions().rescue_weight),
        guesses=tuple(evidence.guesses[number] for number in kept),
        view_state=None if evidence.view_state is None else evidence.view_state[kept],
        bridged=None if evidence.bridged is None else evidence.bridged[kept],
        offset_sigma_px=None if evidence.offset_sigma_px is None else evidence.offset_sigma_px[kept],
    )


# --- ours and the peer's ---------------------------------------------------------------------------


def fuse_evidence(evidence: Evidence, model: HandModel) -> HandTrack:
    """The fusion as a run does it."""
    return fuse_side(evidence, "right", model, Reporter(), FusionOptions())


def run_peer(python: Path | None, evidence: Evidence) -> dict[str, np.ndarray]:
    """Joints (T, 21, 3) by the peer's method, NaN where it has none; nothing without a peer."""
    if python is None:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "in.npz", Path(scratch) / "out.npz"
        np.savez(
            given,
            points_px=evidence.points_px,
            sigma_px=evidence.sigma_px,
            K=np.stack([camera.K for camera in evidence.cameras]),
            distortion=np.stack([camera.distortion for camera in evidence.cameras]),
            rvec=np.stack([Rotation.from_matrix(camera.R).as_rotvec() for camera in evidence.cameras]),
            t_mm=np.stack([camera.t_mm for camera in evidence.cameras]),
            bones=np.array(BONES),
        )
        answer = subprocess.run([python, PEER, given, made], capture_output=True, text=True)
        if answer.returncode:
            raise SystemExit(
                f"{python} could not run aniposelib:\n{answer.stderr[-600:]}\n"
                "Make an environment for it (python -m venv PEER; PEER/bin/pip install aniposelib==0.8.0) "
                "and name its Python: --peer PEER/bin/python."
            )
        with np.load(made) as arrays:
            return dict(arrays)


def shake_hand(joints_mm: np.ndarray) -> np.ndarray:
    """Where 1 mm of tremor of the whole hand moves joints (T, 21, 3), in mm, at its height."""
    return np.broadcast_to(TREMOR_MM * np.array([0.6, 0.64, 0.48]), joints_mm.shape)


def shake_finger(joints_mm: np.ndarray) -> np.ndarray:
    """The same of a tremor of the index finger about its knuckle, 1 mm at the tip."""
    knuckle, other, tip = (JOINTS.index(name) for name in ("index_mcp", "pinky_mcp", "index_tip"))
    hinge = joints_mm[:, other] - joints_mm[:, knuckle]
    moved = np.zeros_like(joints_mm)
    for joint in range(knuckle + 1, tip + 1):
        moved[:, joint] = np.cross(hinge, joints_mm[:, joint] - joints_mm[:, knuckle])
    return TREMOR_MM * moved / np.linalg.norm(moved[:, tip], axis=1)[:, None, None]


def get_gain(case: Case, model: HandModel, shake: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Share of a tremor's amplitude that the fusion keeps, and how late it comes, in ms.

    The tremor is added to the very points, and the result is held against that without it: neither their
    noise nor the playing tells.
    """
    true, height = case.truth.joints_mm, shake(case.truth.joints_mm)
    phase = 2 * np.pi * TREMOR_HZ * case.truth.time_s
    shaken = true + np.sin(phase)[:, None, None] * height
    added = [camera.project(shaken) - camera.project(true) for camera in case.evidence.cameras]
    evidence = replace(case.evidence, points_px=case.evidence.points_px + np.stack(added))
    change = fuse_evidence(evidence, model).joints_mm - case.hand.joints_mm
    found, wanted = (
        np.einsum("t,tjc,tjc->", np.exp(-1j * phase), part, height) for part in (change, shaken - true)
    )
    gain = complex(found / wanted)
    return abs(gain), float(-np.angle(gain) / (2 * np.pi * TREMOR_HZ) * 1e3)


def get_lag_ms(case: Case) -> float:
    """By how much the result comes late: where the correlation of its velocities with the true ones peaks."""
    time_s, inner = case.truth.time_s, slice(3, -3)
    found = CubicSpline(time_s, case.hand.joints_mm)(time_s[inner], 1)
    true = CubicSpline(time_s, case.truth.joints_mm)
    shifts_s = np.arange(-20, 20.1, 0.25) / 1e3
    scores = []
    for shift in shifts_s:
        other = true(time_s[inner] - shift, 1)
        scores.append((found * other).sum() / np.linalg.norm(found) / np.linalg.norm(other))
    return float(1e3 * shifts_s[int(np.argmax(scores))])


# --- figures ---------------------------------------------------------------------------------------


def compare(cases: list[Case], phase: str, joints: slice) -> dict[str, tuple[JointErrors, JointErrors]]:
    """By method: its errors, and the fusion's on the same joints; pooled over the cases."""
    out = {}
    for name in ("fusion", *cases[0].peers):
        both = []
        for case in cases:
            ours, true = case.hand.joints_mm[:, joints], case.truth.joints_mm[:, joints]
            theirs = case.peers[name][:, joints] if name in case.peers else ours
            step_s, rows = 1 / float(case.truth.fps), case.get_rows(phase)
            there = np.where(np.isnan(theirs), np.nan, ours)
            both.append([compare_joints(each, true, step_s, rows) for each in (theirs, there)])
        out[name] = (_pool([pair[0] for pair in both]), _pool([pair[1] for pair in both]))
    return out


def _pool(errors: list[JointErrors]) -> JointErrors:
    return JointErrors(*np.mean([list(vars(each).values()) for each in errors], axis=0))


def print_peers(title: str, errors: dict[str, tuple[JointErrors, JointErrors]]) -> tuple[float, float]:
    """A line a method; gives the fusion's two errors as shares of the best peer's, NaN without one."""
    print(f"\n{title:36}  MPJPE mm  ratio   acceleration m/s2  ratio   joints there")
    shares = []
    for name, (own, ours) in errors.items():
        share = ours.mpjpe_mm / own.mpjpe_mm, ours.acceleration_m_s2 / own.acceleration_m_s2
        shares += [share] if name != "fusion" else []
        print(
            f"  {name:34}  {own.mpjpe_mm:8.2f} {share[0]:6.2f}  {own.acceleration_m_s2:18.2f} {share[1]:6.2f}"
            f"  {own.share:13.1%}"
        )
    worst = np.max(shares, axis=0) if shares else (np.nan, np.nan)
    return float(worst[0]), float(worst[1])


def get_angle_errors_deg(cases: list[Case]) -> dict[str, float]:
    """Root mean square error of the angles (flexion and abduction) of each row of joints."""
    found, true = (
        np.concatenate([compute_angles(joints, "right") for joints in part])
        for part in ([case.hand.joints_mm for case in cases], [case.truth.joints_mm for case in cases])
    )
    off = np.degrees((found - true + np.pi) % (2 * np.pi) - np.pi)
    parts = np.array([name.split("_")[1] for name in ANGLES])
    return {part: float(np.sqrt(np.nanmean(off[:, parts == part] ** 2))) for part in ANGLE_BARS_DEG}


def get_inside(cases: list[Case], phase: str = "all") -> float:
    """Share of joints' coordinates whose true error is within 2 stated sigma."""
    inside = []
    for case in cases:
        miss = np.abs(case.hand.joints_mm - case.truth.joints_mm) / case.hand.joint_sigma_mm[..., None]
        inside.append((miss < 2)[case.get_rows(phase)][:, 1:].ravel())
    return float(np.concatenate(inside).mean())


def print_bar(what: str, value: float, unit: str, least: float, most: float) -> None:
    """A figure, its bar, and whether it is kept; NaN needs a peer."""
    bar = f"<= {most:g}" if least == 0 else f">= {least:g}" if most == np.inf else f"{least:g} to {most:g}"
    verdict = "no peer" if np.isnan(value) else "kept" if least <= value <= most else "NOT KEPT"
    print(f"  {what:50} {value:8.3f} {unit:4} bar {bar:10} {verdict}")


def print_common(cases: list[Case], model: HandModel) -> None:
    """The bars of sigma, tremor and lag."""
    print_bar("coordinates within 2 sigma", 100 * get_inside(cases), "%", 90, 98)
    for name, shake in (("hand", shake_hand), ("index finger", shake_finger)):
        gain, late_ms = np.mean([get_gain(case, model, shake) for case in cases], axis=0)
        print_bar(f"7 Hz tremor of the {name}: amplitude left", 100 * gain, "%", 80, np.inf)
        print_bar(f"7 Hz tremor of the {name}: late by", late_ms, "ms", -1, 1)
    lag_ms = max((get_lag_ms(case) for case in cases), key=abs)
    print_bar("lag where truth and result correlate best (worst)", lag_ms, "ms", -1, 1)


def print_silent(cases: list[Case], model: HandModel) -> None:
    """Of two cameras one sees nothing for a while: the errors of that time, and whether sigma tells them."""
    errors_mm, inside = [], []
    for case in cases:
        time_s = case.truth.time_s
        rows = (time_s > SILENT[1][0]) & (time_s < SILENT[1][1])
        for camera in SILENT[0] if rows.any() else ():
            hand = fuse_evidence(silence(case.evidence, camera, rows), model)
            miss = np.abs(hand.joints_mm - case.truth.joints_mm)[rows]
            errors_mm.append(np.linalg.norm(miss, axis=2).mean())
            inside.append((miss < 2 * hand.joint_sigma_mm[rows][..., None]).mean())
    print(f"  one of two cameras silent: MPJPE of that time {np.mean(errors_mm):16.3f} mm")
    print_bar("the same: coordinates within 2 sigma", 100 * float(np.mean(inside)), "%", 90, 100)


def measure_made(seeds: int, seconds: float, peer: Path | None) -> None:
    """Exact points and noisy ones."""
    model = load_hand_model()
    exact: list[Case] = []
    noisy: list[Case] = []
    for seed in range(seeds):
        truth = make_truth(make_spec(seed, seconds), model)
        for cases, noise in ((exact, None), (noisy, seed)):
            evidence = make_evidence(truth, noise)
            cases.append(Case(truth, evidence, fuse_evidence(evidence, model), run_peer(peer, evidence)))
        print(f"seed {seed} done", flush=True)
    print_peers("exact points", compare(exact, "all", SETS["21"]))
    share, _ = print_peers("noisy points", compare(noisy, "all", SETS["21"]))
    print()
    for name, cases, bar in (("exact", exact, 0.3), ("noisy", noisy, 2.0)):
        error_mm = compare(cases, "all", SETS["21"])["fusion"][0].mpjpe_mm
        print_bar(f"{name} points: MPJPE", error_mm, "mm", 0, bar)
    print_bar("noisy points: share of the best peer's", share, "", 0, 0.6)
    for part, rmse in get_angle_errors_deg(noisy).items():
        print_bar(f"noisy points: {part.upper()} angles", rmse, "deg", 0, ANGLE_BARS_DEG[part])
    print_common(noisy, model)
    print_silent(noisy, model)


def measure_runs(runs: list[Path], sessions: list[Path], peer: Path | None) -> None:
    """Runs of made sessions, ordinary and dystonic phases apart."""
    model = load_hand_model()
    cases = []
    for run, session in zip(runs, sessions, strict=True):
        truth = read_truth(session)
        evidence = read_evidence(run, truth)
        cases.append(Case(truth, evidence, fuse_evidence(evidence, model), run_peer(peer, evidence)))
        print(f"{run.name} done", flush=True)
    shares = {phase: print_peers(phase, compare(cases, phase, SETS["20"])) for phase in RUN_BARS}
    print()
    for phase, bars in RUN_BARS.items():
        for what, value, bar in zip(("MPJPE", "acceleration error"), shares[phase], bars, strict=True):
            print_bar(f"{phase}: {what}, share of the best peer's", value, "", 0, bar)
        print_bar(f"{phase}: coordinates within 2 sigma", 100 * get_inside(cases, phase), "%", 90, 98)
    print_common(cases, model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--run", type=Path, nargs="+", default=[])
    parser.add_argument("--truth", type=Path, nargs="+", default=[])
    parser.add_argument("--peer", type=Path, help="without it, bars that need one are not judged")
    options = parser.parse_args()
    if len(options.run) != len(options.truth):
        raise SystemExit("Give as many --truth as --run, in the same order.")
    if options.run:
        measure_runs(options.run, options.truth, options.peer)
    else:
        measure_made(options.seeds, options.seconds, options.peer)


if __name__ == "__main__":
    main()
