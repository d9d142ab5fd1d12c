"""The estimator ``redys`` beside MediaPipe's, on the same frames in the same run: the bars it has to keep.

    python -m benchmarks.estimator_accuracy [--parts 2d time] [--seeds 301 302 303] [--weights FILE]
    python -m benchmarks.estimator_accuracy --parts fused --seeds 301 302 303 304 305 306 --peer PYTHON
    python -m benchmarks.estimator_accuracy --parts real --data ../shared/data

``2d``: made dystonic sessions of people and takes that no training has drawn; mean distance of 20 joints (no
wrist) from the true ones in ordinary and dystonic phases, that of fingertips that are stretched beside a
curled finger, and how many coordinates lie within two stated sigmas. ``fused``: those views fused with the
true clocks and cameras, beside the best of aniposelib's answers to MediaPipe's points. ``real``: two real
cameras and a signing hand. ``time``: processor's time of a crop on one core.

One seed of the 2D part: ``--seeds 301 --fps 20``. FILE is what ``finish-weights`` wrote, or ``weights.npz``
of a training that still goes on (its sigma is taken as it is). With ``--folder`` sessions and views are kept
there, and only what is not there yet is made. PYTHON is that of an environment with aniposelib 0.8.0
(`benchmarks.fusion_accuracy`).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.fusion_accuracy import (
    Case,
    collect_all,
    compare,
    fuse_evidence,
    get_inside,
    print_bar,
    run_peer,
)
from benchmarks.hand_sync import read_two_cameras
from benchmarks.pose_accuracy import open_session, reproject
from pipeline.evaluation.made_session import ORDINARY, SETS
from pipeline.files import hash_file, read_npz
from pipeline.hand.joints import JOINTS
from pipeline.hand.model import load_hand_model
from pipeline.pose.augmentation import PASSES
from pipeline.pose.estimate import estimate_view
from pipeline.pose.landmarks import INPUT_PX, MediaPipeEstimator
from pipeline.pose.litert import LANDMARK_FILE, locate
from pipeline.pose.registry import load_estimator
from pipeline.pose.weights_file import TrainedWeights, locate_weights, write_weights
from pipeline.progress import Reporter
from pipeline.results import Camera, Rig, RunFolder, ViewTrack, read_view, write_view
from pipeline.session import Session, read_session
from pipeline.synth.motion import DYSTONIC_PHASES
from pipeline.synth.session import SynthSpec, make_session
from pipeline.synth.truth import Truth, read_truth
from settings import get_settings

OURS, THEIRS = "redys", "mediapipe"
PARTS = ("2d", "fused", "real", "time")

STRETCHED = {DYSTONIC_PHASES[0]: "middle_tip", DYSTONIC_PHASES[1]: "pinky_tip"}
"""The fingertip that is stretched beside a curled finger, by phase."""

SETTLED_S = 0.3
"""So long after a phase's beginning and before its end the posture is there in full."""

MAX_OFFSET_S = 0.05
DYSTONIC = "dystonic"

SHARE_BARS = {ORDINARY: 0.6, DYSTONIC: 0.35, "stretched fingertips": 0.15}
FUSED_BARS = {ORDINARY: 0.6, DYSTONIC: 0.4}
WITHIN_BAR = (90.0, 97.0)
REPROJECTION_BAR_PX, FOUND_BAR = 1.51, {"cam0": 360, "cam1": 378}
SIGNING_BAR_PX = 8.0
TIME_BAR = 1.5

Views = dict[str, ViewTrack]


@dataclass(frozen=True)
class Options:
    """How everything is measured."""

    seconds: float
    fps: Fraction
    n_passes: int
    preset: str
    workers: int
    folder: Path


@dataclass(frozen=True)
class Made:
    """A made session: its truth, and by estimator and camera what was seen of it."""

    truth: Truth
    views: dict[str, Views]


# --- weights to try --------------------------------------------------------------------------------


def use_weights(path: Path, scratch: Path) -> None:
    """Let the estimator ``redys`` have these weights, here and in the processes that are started."""
    arrays = read_npz(path)
    if "source_sha256" not in arrays:
        constants = {int(name): values for name, values in arrays.items()}
        share = MediaPipeEstimator.offset_share
        path = scratch / "weights.npz"
        write_weights(path, TrainedWeights(constants, hash_file(locate(LANDMARK_FILE)), 1.0, share))
        print("weights of a training: sigma is taken as the network states it, without a factor")
    os.environ["REDYS_ESTIMATOR_WEIGHTS"] = str(path.resolve())
    get_settings.cache_clear()


# --- made sessions ---------------------------------------------------------------------------------


def look_at_all(session: Session, name: str, options: Options) -> Views:
    """All views of a session by one estimator."""
    settings = session.settings.model_copy(update={"estimator": name, "preset": options.preset})
    asked = replace(session, settings=settings)
    passes = PASSES[: options.n_passes]
    return {
        camera: estimate_view(asked, camera, Reporter(), options.workers, passes)["right"]
        for camera in session.cameras
    }


def make(seed: int, options: Options) -> Made:
    """The session of a seed and its views by both estimators; what is in the folder is read."""
    folder = options.folder / f"seed-{seed}-{options.seconds:g}s-{float(options.fps):.0f}fps"
    session = folder / "session"
    if not session.is_dir():
        spec = SynthSpec(
            seconds=options.seconds, fps=options.fps, seed=seed, kind="dystonic", calibration=False,
            max_offset_s=MAX_OFFSET_S,
        )  # fmt: skip
        make_session(session, spec, Reporter(), workers=options.workers)
    truth = read_truth(session)
    return Made(truth, {name: _keep(folder, session, name, options) for name in (THEIRS, OURS)})


def _keep(folder: Path, session: Path, name: str, options: Options) -> Views:
    digest = hash_file(locate_weights())[:12] if name == OURS else "original"
    run = RunFolder(folder / f"{name}-{digest}-{options.n_passes}-{options.preset}")
    cameras = read_session(session).cameras
    if not all(run.view_npz(camera).is_file() for camera in cameras):
        run.view_npz(cameras[0]).parent.mkdir(parents=True, exist_ok=True)
        for camera, view in look_at_all(read_session(session), name, options).items():
            write_view(run, camera, {"right": view})
    return {camera: read_view(run, camera)["right"] for camera in cameras}


def get_rows(truth: Truth, camera: str, group: str) -> np.ndarray:
    """A camera's frames (T,) bool of "ordinary" or "dystonic" phases, or settled in a phase of that name."""
    time_s = truth.sync.to_reference_s(camera, truth.camera_time_s[camera])
    rows = np.zeros(len(time_s), dtype=bool)
    for phase in truth.phases:
        within = (time_s >= phase["start_s"]) & (time_s < phase["end_s"])
        if group == phase["name"] != ORDINARY:
            within &= (time_s >= phase["start_s"] + SETTLED_S) & (time_s < phase["end_s"] - SETTLED_S)
        wanted = group == phase["name"] or (group == DYSTONIC and phase["name"] != ORDINARY)
        rows |= within & wanted
    return rows


def get_distances(made: Made, group: str, joints: list[int]) -> dict[str, np.ndarray]:
    """Distances in px by estimator, of all cameras, where both have a point; equally long for both."""
    pooled: dict[str, list[np.ndarray]] = {OURS: [], THEIRS: []}
    for camera, true_px in made.truth.keypoints_px.items():
        rows = get_rows(made.truth, camera, group)
        pair = {
            name: np.linalg.norm(views[camera].keypoints_px - true_px, axis=2)[rows][:, joints]
            for name, views in made.views.items()
        }
        both = np.isfinite(pair[OURS]) & np.isfinite(pair[THEIRS])
        for name, distance in pair.items():
            pooled[name].append(distance[both])
    return {name: np.concatenate(parts) for name, parts in pooled.items()}


def get_misses(made: Made, name: str, group: str) -> np.ndarray:
    """Coordinates' errors (n,) of 20 joints in stated sigmas."""
    parts = []
    for camera, view in made.views[name].items():
        rows = get_rows(made.truth, camera, group)
        error = np.abs(view.keypoints_px - made.truth.keypoints_px[camera])[rows][:, 1:]
        parts.append((error / view.sigma_px[rows][:, 1:, None]).ravel())
    misses = np.concatenate(parts)
    return misses[np.isfinite(misses)]


def get_found(made: Made, name: str) -> float:
    """Share of all frames with a hand."""
    return float(np.mean([np.isfinite(view.score).mean() for view in made.views[name].values()]))


def print_2d(cases: list[Made]) -> None:
    """The bars of points in the pictures."""
    fingers = list(range(1, len(JOINTS)))
    wanted = {group: (group, fingers) for group in (ORDINARY, DYSTONIC)}
    tips = {f"{tip}, {phase}": (phase, [JOINTS.index(tip)]) for phase, tip in STRETCHED.items()}
    print(f"\nmean distance, px            {OURS:>10} {THEIRS:>10}   ratio")
    shares, stretched = {}, {OURS: [], THEIRS: []}  # type: ignore[var-annotated]
    for title, (group, joints) in (wanted | tips).items():
        parts = [get_distances(made, group, joints) for made in cases]
        distances = {name: np.concatenate([part[name] for part in parts]) for name in (OURS, THEIRS)}
        if title in tips:
            for name, distance in distances.items():
                stretched[name].append(distance)
        shares[title] = _print_pair(title, distances)
    together = {name: np.concatenate(parts) for name, parts in stretched.items()}
    shares["stretched fingertips"] = _print_pair("stretched fingertips", together)
    for name in (OURS, THEIRS):
        print(f"  hand found by {name}: {np.mean([get_found(made, name) for made in cases]):.1%} of frames")
    print()
    for title, bar in SHARE_BARS.items():
        print_bar(f"2D, {title}: share of MediaPipe's", shares[title], "", 0, bar)
    for group in (ORDINARY, DYSTONIC):
        for name in (OURS, THEIRS):
            misses = np.concatenate([get_misses(made, name, group) for made in cases])
            within = 100 * float((misses < 2).mean()) if len(misses) else float("nan")
            what = f"2D, {group}: coordinates within 2 sigma"
            if name == OURS:
                print_bar(what, within, "%", *WITHIN_BAR)
            else:
                print(f"  {what + ', ' + name:50} {within:8.3f} %")


def _print_pair(title: str, distances: dict[str, np.ndarray]) -> float:
    if not len(distances[OURS]):
        return float("nan")
    ours, theirs = (float(distances[name].mean()) for name in (OURS, THEIRS))
    print(f"  {title[:46]:46} {ours:8.2f} {theirs:8.2f} {ours / theirs:8.3f}   {len(distances[OURS])} points")
    return ours / theirs


# --- fused -----------------------------------------------------------------------------------------


def print_fused(cases: list[Made], peer: Path | None) -> None:
    """The bars of joints in space, true clocks and cameras given."""
    model = load_hand_model()
    fused = []
    for made in cases:
        truth = made.truth
        evidence = {
            name: collect_all(truth.sync, truth.rig, {c: {truth.side: v} for c, v in views.items()}, truth)
            for name, views in made.views.items()
        }
        others = {f"fusion on {THEIRS}'s points": fuse_evidence(evidence[THEIRS], model).joints_mm}
        others |= run_peer(peer, evidence[THEIRS])
        hand = fuse_evidence(evidence[OURS], model)
        fused.append(Case(truth, evidence[OURS], hand, others))
        print(f"seed {truth.seed} fused", flush=True)
    for phase, bar in FUSED_BARS.items():
        errors = compare(fused, phase, SETS["20"])
        print(f"\n{phase}: MPJPE mm, and {OURS}'s on the same joints as a share of it")
        shares = []
        for name, (own, ours) in errors.items():
            share = ours.mpjpe_mm / own.mpjpe_mm
            print(f"  {name:34} {own.mpjpe_mm:8.2f} {share:8.3f}   {own.share:.1%} of joints")
            if name != "fusion" and not name.startswith("fusion on"):
                shares.append(share)
        worst = max(shares) if shares else float("nan")
        print_bar(f"fused, {phase}: share of aniposelib's best", worst, "", 0, bar)
        print(f"  coordinates within 2 sigma of space: {get_inside(fused, phase):.1%}")


# --- real recordings -------------------------------------------------------------------------------


def print_real(data: Path, options: Options, scratch: Path) -> None:
    """The bars of the two real recordings."""
    two, signing = data / "two-camera-hand", data / "signing-hand"
    rig = read_two_cameras(two)
    pair = open_session(scratch / "two", {n: two / f"{n}_test.mp4" for n in rig.cameras}, options.preset)
    alone = open_session(scratch / "signing", {"front": signing / "asl_hand.25fps.mp4"}, options.preset)
    expected_px = np.array(json.loads((signing / "asl_hand.full.json").read_text()))[..., :2]
    median_px = {}
    for name in (OURS, THEIRS):
        views = look_at_all(pair, name, options)
        median_px[name] = float(np.nanmedian(reproject(rig, views)))
        misses = np.abs(get_crossing_misses(rig, views))
        within = 100 * float((misses < 2).mean()) if len(misses) else float("nan")
        found = {camera: int(_is_there(view).sum()) for camera, view in views.items()}
        view = look_at_all(alone, name, options)["front"]
        away_px = float(np.nanmean(np.linalg.norm(view.keypoints_px - expected_px, axis=2)))
        lost = int((~_is_there(view)).sum())
        if name == THEIRS:
            print(f"  {name}: reprojection {median_px[name]:.3f} px, found {found}")
            print(f"  {name}: crossing within 2 sigma {within:.1f} %; signing hand {away_px:.2f} px")
            continue
        print(f"\nreal recordings, preset {options.preset}")
        print_bar("two-camera-hand: reprojection, median", median_px[name], "px", 0, REPROJECTION_BAR_PX)
        for camera, least in FOUND_BAR.items():
            print_bar(f"two-camera-hand: frames with the hand, {camera}", found[camera], "", least, np.inf)
        print_bar("two-camera-hand: crossing of rays within 2 sigma", within, "%", *WITHIN_BAR)
        print_bar("signing-hand: mean distance to the expected", away_px, "px", 0, SIGNING_BAR_PX)
        print_bar("signing-hand: frames lost", lost, "", 0, 0.5)
    share = median_px[OURS] / median_px[THEIRS]
    print_bar("two-camera-hand: share of MediaPipe's reprojection", share, "", 0, 1)


def _is_there(view: ViewTrack) -> np.ndarray:
    return np.isfinite(view.keypoints_px).all(axis=(1, 2))


def get_crossing_misses(rig: Rig, views: Views) -> np.ndarray:
    """By how many of its sigmas each joint's two rays pass each other (n,): a normal one's if sigma is true.

    Of the four coordinates of a joint in two views three go into its place; what is left is the epipolar
    constraint ``x1' E x0 = 0``, whose standard deviation follows from the two sigmas (Sampson).
    """
    one, other = (rig.cameras[name] for name in rig.cameras)
    turn = other.R @ one.R.T
    shift = other.t_mm - turn @ one.t_mm
    cross = np.array([[0, -shift[2], shift[1]], [shift[2], 0, -shift[0]], [-shift[1], shift[0], 0]])
    essential = cross @ turn
    points, sigmas = zip(*(_normalise(camera, views[camera.name]) for camera in (one, other)), strict=True)
    line_one, line_other = points[1] @ essential, points[0] @ essential.T
    apart = (points[1] * line_other).sum(axis=-1)
    spread = np.hypot(
        np.linalg.norm(line_one[..., :2], axis=-1) * sigmas[0],
        np.linalg.norm(line_other[..., :2], axis=-1) * sigmas[1],
    )
    misses = (apart / spread).ravel()
    return misses[np.isfinite(misses)]


def _normalise(camera: Camera, view: ViewTrack) -> tuple[np.ndarray, np.ndarray]:
    """Homogeneous points (T, 21, 3) on the plane one unit away, and their sigma (T, 21) there."""
    flat = camera.normalise(view.keypoints_px.astype(float))
    focal = np.sqrt(camera.K[0, 0] * camera.K[1, 1])
    return np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1), view.sigma_px / focal


# --- time ------------------------------------------------------------------------------------------


def print_time(rounds: int = 12, n_crops: int = 21) -> None:
    """Processor's time of a crop, the networks in turn, the best of all rounds."""
    crops = np.random.default_rng(0).integers(0, 256, (n_crops, INPUT_PX, INPUT_PX, 3), dtype=np.uint8)
    networks = {name: load_estimator(name) for name in (OURS, THEIRS)}
    best_ms = dict.fromkeys(networks, np.inf)
    for number in range(rounds + 1):
        for name, network in networks.items():
            start = time.process_time()
            network.estimate(crops, "right")
            taken_ms = 1e3 * (time.process_time() - start) / n_crops
            best_ms[name] = min(best_ms[name], taken_ms if number else np.inf)
    print(f"\na crop on one core: {OURS} {best_ms[OURS]:.2f} ms, {THEIRS} {best_ms[THEIRS]:.2f} ms")
    print_bar("time of a crop: share of MediaPipe's", best_ms[OURS] / best_ms[THEIRS], "", 0, TIME_BAR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["2d", "time"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 302, 303])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    parser.add_argument("--passes", type=int, choices=(1, len(PASSES)), default=len(PASSES))
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--weights", type=Path, help="by default those that the program uses")
    parser.add_argument("--folder", type=Path, help="keeps sessions and views for the next call")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peer", type=Path, help="without it, bars that need one are not judged")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if asked.weights is not None:
            use_weights(asked.weights, scratch)
        load_estimator(OURS)  # says at once what is missing
        folder = asked.folder or scratch / "made"
        options = Options(asked.seconds, asked.fps, asked.passes, asked.preset, asked.workers, folder)
        cases = []
        for seed in asked.seeds if {"2d", "fused"} & set(asked.parts) else ():
            cases.append(make(seed, options))
            print(f"seed {seed} looked at", flush=True)
        if "2d" in asked.parts:
            print_2d(cases)
        if "fused" in asked.parts:
            print_fused(cases, asked.peer)
        if "real" in asked.parts:
            print_real(asked.data, options, scratch)
        if "time" in asked.parts:
            print_time()


if __name__ == "__main__":
    main()
