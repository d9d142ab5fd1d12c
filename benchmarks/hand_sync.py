"""How well the hand's own motion tells the cameras' clocks, and whether a camera was moved.

    python -m benchmarks.hand_sync [--seeds 10] [--made SESSION RUN]... [--two-cameras FOLDER] [--table]

Made hands: true points with noise, offsets unknown, beside the plain peer (the highest cross-correlation of
the wrist's smoothed speed, in whole frames). ``--made`` names a made session and its run folder: the points
that the network found there. ``--two-cameras`` names ``shared/data/two-camera-hand``: two synchronised
videos of one hand, worked by the real estimator (a minute or two); the true offset is 0. ``--table`` turns
and shifts one camera of the rig after the other and prints what the rig check says.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage, signal

from pipeline.calibration.moved import check_rig
from pipeline.hand.model import load_hand_model
from pipeline.progress import Reporter
from pipeline.results import Camera, CameraSync, Rig, RunFolder, SyncResult, ViewTrack, read_view
from pipeline.sync.motion import find_offset_by_motion
from pipeline.sync.reprojection import refine_offset
from pipeline.synth.spec import SynthSpec
from pipeline.synth.truth import Truth, make_truth, read_truth

Views = dict[str, dict[Any, ViewTrack]]
TURNS_DEG = (0.25, 0.5, 1.0, 2.0, 4.0)
SHIFTS_MM = (5.0, 10.0, 20.0, 40.0)


def make_views(truth: Truth, noise_px: float, seed: int) -> Views:
    """True points with noise, as tracks."""
    random = np.random.default_rng(seed)
    views: Views = {}
    for name, points in truth.keypoints_px.items():
        n = len(points)
        views[name] = {
            truth.side: ViewTrack(
                time_s=truth.camera_time_s[name],
                box_px=np.zeros((n, 4), np.float32),
                box_state=np.full(n, "detected", "U12"),
                keypoints_px=points + noise_px * random.standard_normal(points.shape),
                sigma_px=np.full(points.shape[:2], noise_px),
                score=np.ones(n, np.float32),
                size_px=truth.size_px,
            )
        }
    return views


def find_by_wrist(reference: ViewTrack, target: ViewTrack) -> float:
    """The plain way: whole frames of the highest cross-correlation of the wrist's speed."""
    speeds = []
    for track in (reference, target):
        points = track.keypoints_px[:, 0].astype(float)
        seen = np.isfinite(points[:, 0])
        index = np.arange(len(points))
        path = np.stack([np.interp(index, index[seen], points[seen, k]) for k in range(2)], axis=1)
        path = ndimage.gaussian_filter1d(path, 2.0, axis=0)
        speed = np.linalg.norm(np.diff(path, axis=0), axis=1)
        speeds.append(speed - speed.mean())
    c = signal.correlate(speeds[1], speeds[0], mode="full")
    frame_s = float(np.median(np.diff(reference.time_s)))
    return -float(int(c.argmax()) - (len(speeds[0]) - 1)) * frame_s


def measure_errors(truth: Truth, views: Views) -> list[tuple[Any, ...]]:
    """By camera: errors of the wrist's peak, of motion and its sigma, of the rig's answer and its; in ms."""
    rows: list[tuple[Any, ...]] = []
    reference = truth.rig.reference
    for name in [name for name in truth.rig.cameras if name != reference]:
        middle_s = float(truth.camera_time_s[name].mean())
        true_s = truth.offset_s[name] + truth.drift_ppm[name] * 1e-6 * middle_s
        plain_s = find_by_wrist(views[reference][truth.side], views[name][truth.side])
        found = find_offset_by_motion(views[reference], views[name])
        unknown = {**truth.sync.cameras, name: CameraSync(float("nan"), drift_ppm=0.0)}
        starts = [candidate.offset_s for candidate in found.candidates]
        fit = refine_offset(truth.rig, views, replace(truth.sync, cameras=unknown), name, starts)
        fit_s = fit.offset_s + fit.drift_ppm * 1e-6 * middle_s
        errors_s = (plain_s - true_s, found.offset_s - true_s, found.sigma_s, fit_s - true_s, fit.sigma_s)
        rows.append((name, *(1e3 * value for value in errors_s)))
    return rows


def print_seeds(seeds: int, noise_px: float) -> None:
    """Errors over made takes, one half of them dystonic."""
    model = load_hand_model()
    rows = []
    for seed in range(seeds):
        spec = SynthSpec(
            seed=100 + seed,
            kind="dystonic" if seed % 2 else "healthy",
            size_px=(1280, 720),
            calibration=False,
        )
        truth = make_truth(spec, model)
        rows += measure_errors(truth, make_views(truth, noise_px, seed))
    values = np.abs(np.array([row[1:] for row in rows]))
    print(f"{seeds} made takes of 8 s, true points with {noise_px:g} px of noise, two offsets each:")
    for name, column in (("wrist's peak (plain)", 0), ("motion alone", 1), ("refined by the rig", 3)):
        error = values[:, column]
        print(
            f"  {name:22s} median {np.median(error):7.2f} ms, largest {error.max():8.2f} ms, "
            f"within half a frame {np.sum(error < 1e3 / 120)} of {len(error)}"
        )
    for name, error, sigma in (("motion", 1, 2), ("rig", 3, 4)):
        ratio = values[:, error] / values[:, sigma]
        print(f"  {name}: error over stated sigma: median {np.median(ratio):.2f}, largest {ratio.max():.2f}")
    print(f"  ratio of medians, wrist's peak / rig: {np.median(values[:, 0]) / np.median(values[:, 3]):.0f}")


def print_session(session: Path, run: Path, with_table: bool) -> None:
    """Errors on one made session with the points of its run."""
    truth = read_truth(session)
    views: Views = {name: dict(read_view(RunFolder(run), name)) for name in truth.rig.cameras}
    print(f"{session.name}, points of the network:")
    for name, plain, motion, motion_sigma, fit, fit_sigma in measure_errors(truth, views):
        print(
            f"  {name:6s} wrist's peak {plain:+.1f} ms, motion {motion:+.2f} ± {motion_sigma:.2f} ms, "
            f"rig {fit:+.2f} ± {fit_sigma:.2f} ms"
        )
    if with_table:
        print_table(truth.rig, truth.sync, views)


def move(rig: Rig, name: str, axis: int, degrees: float = 0.0, mm: float = 0.0) -> Rig:
    """The rig with one camera turned about, and shifted along, one of its own axes."""
    camera, along = rig.cameras[name], np.eye(3)[axis]
    by = cv2.Rodrigues(np.deg2rad(degrees) * along)[0]
    moved = replace(camera, R=by @ camera.R, t_mm=by @ camera.t_mm + mm * along)
    return replace(rig, cameras={**rig.cameras, name: moved})


def print_table(rig: Rig, sync: SyncResult, views: Views, with_shifts: bool = True) -> None:
    """What the check says of each camera moved by itself.

    A verdict with "?" is shared with other cameras, with "!" it is another camera's.
    """
    names = [name for name in sync.cameras if name in rig.cameras]
    true = check_rig(rig, sync, views)
    said = ", ".join(f"{name} {camera.verdict}" for name, camera in true.cameras.items())
    print(f"  rig check, true rig: {said}")
    print(f"    {'moved by':16s}" + "".join(f"{name:>12s}" for name in names))
    steps = [("turn", axis, amount, "°") for axis in range(3) for amount in TURNS_DEG]
    if with_shifts:
        steps += [("shift", axis, amount, " mm") for axis in range(3) for amount in SHIFTS_MM]
    for kind, axis, amount, unit in steps:
        cells = []
        for name in names:
            moved = move(rig, name, axis, **{"degrees" if kind == "turn" else "mm": amount})
            check = check_rig(moved, sync, views)
            bad = [
                other for other, camera in check.cameras.items() if camera.verdict in ("doubtful", "moved")
            ]
            mark = "" if bad in ([], [name]) else "?" if name in bad else "!"
            cells.append(check.verdict + mark)
        print(f"    {kind} {'xyz'[axis]} {amount:4g}{unit:4s}   " + "".join(f"{cell:>12s}" for cell in cells))


def read_two_cameras(folder: Path) -> Rig:
    """The rig of ``shared/data/two-camera-hand``; lengths in the author's unit."""

    def read(path: Path, first: int, last: int) -> np.ndarray:
        return np.array(
            [[float(word) for word in line.split()] for line in path.read_text().split("\n")[first:last]]
        )

    cameras = {}
    for number in range(2):
        lens, place = (folder / "camera_parameters" / f"{kind}{number}.dat" for kind in ("c", "rot_trans_c"))
        cameras[f"cam{number}"] = Camera(
            f"cam{number}", (720, 720), read(lens, 1, 4), read(lens, 5, 6)[0],
            read(place, 1, 4), read(place, 5, 8)[:, 0],
        )  # fmt: skip
    return Rig("cam0", cameras, source="file")


def print_two_cameras(folder: Path, with_table: bool) -> None:
    """Two synchronised videos: the answer should be 0."""
    from pipeline.pose.estimate import estimate_view
    from pipeline.session import read_session

    with tempfile.TemporaryDirectory() as place:
        for number in range(2):
            (Path(place) / f"cam{number}.mp4").symlink_to((folder / f"cam{number}_test.mp4").resolve())
        (Path(place) / "session.toml").write_text('reference = "cam0"\n')
        session = read_session(Path(place))
        views: Views = {name: dict(estimate_view(session, name, Reporter())) for name in session.cameras}
    rig = read_two_cameras(folder)
    found = find_offset_by_motion(views["cam0"], views["cam1"])
    sync = SyncResult("cam0", {"cam0": CameraSync(0.0), "cam1": CameraSync(float("nan"), drift_ppm=0.0)})
    fit = refine_offset(rig, views, sync, "cam1", [candidate.offset_s for candidate in found.candidates])
    print("two-camera-hand, true lag 0, half a frame is 16.7 ms:")
    print(f"  motion {found.offset_s * 1e3:+.2f} ± {found.sigma_s * 1e3:.2f} ms ({found.verdict}), ", end="")
    print(f"rig {fit.offset_s * 1e3:+.2f} ± {fit.sigma_s * 1e3:.2f} ms, {fit.error_px:.2f} px from the lines")
    if with_table:
        known = SyncResult("cam0", {"cam0": CameraSync(0.0), "cam1": CameraSync(0.0)})
        print_table(rig, known, views, with_shifts=False)  # the rig's lengths are not in mm


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--noise-px", type=float, default=2.0)
    parser.add_argument("--made", nargs=2, type=Path, action="append", default=[], metavar=("SESSION", "RUN"))
    parser.add_argument("--two-cameras", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.seeds:
        print_seeds(options.seeds, options.noise_px)
    for session, run in options.made:
        print_session(session, run, options.table)
    if options.two_cameras:
        print_two_cameras(options.two_cameras, options.table)


if __name__ == "__main__":
    main()
