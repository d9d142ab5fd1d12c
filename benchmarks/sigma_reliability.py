"""Whether the estimator's sigma means what it says: stated sigma against true error on made sessions.

    python -m benchmarks.sigma_reliability SESSION... [--runs RUN...] [--workers 2]

Each SESSION is a folder that ``python -m pipeline synth`` made. Its views are measured first (minutes), or
read from the run folders given in the same order. Prints, by session and view, the factor that makes the
spread of the passes one standard deviation along each axis (`pipeline.pose.augmentation` defines it), for
all together a reliability curve: points in ten groups by stated sigma, and how large their errors truly are,
and of what stays the same its size by joint, as a share of the palm's length in the picture (`offset_share`).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.hand.joints import JOINTS
from pipeline.pose.augmentation import measure_palm_px
from pipeline.pose.estimate import estimate_view
from pipeline.pose.registry import load_estimator
from pipeline.progress import Reporter
from pipeline.results import RunFolder, ViewTrack, read_view
from pipeline.session import read_session
from pipeline.synth.truth import Truth, read_truth

PLANE_MEDIAN = 1.1774
"""Median length of a plane Gaussian vector of one standard deviation an axis."""

N_GROUPS = 10


@dataclass(frozen=True)
class Points:
    """All measured points of one view: error (n,) in px, the same less each joint's mean one, sigma (n,)."""

    name: str
    error_px: np.ndarray
    moving_px: np.ndarray
    sigma_px: np.ndarray


@dataclass(frozen=True)
class Constants:
    """What stays the same in a view, px: errors (P, 21, 2) by phase of the playing, and sizes of the hand."""

    name: str
    error_px: np.ndarray
    sizes_px: dict[str, float]


def compare(name: str, view: ViewTrack, truth: Truth, camera: str) -> Points:
    """One view against the true projections at its own frames; wrists, defined unlike, are left out."""
    if len(view.time_s) != len(truth.camera_time_s[camera]):
        raise SystemExit(f"{name}: the view has {len(view.time_s)} frames, the truth another number of them.")
    offset = (view.keypoints_px - truth.keypoints_px[camera])[:, 1:]
    sigma = view.sigma_px[:, 1:]
    seen = np.isfinite(offset).all(axis=2) & (sigma > 0)
    moving = offset - np.nanmedian(offset, axis=0)
    lengths = np.linalg.norm(offset, axis=2)[seen], np.linalg.norm(moving, axis=2)[seen]
    return Points(name, *lengths, sigma[seen])


def find_constants(name: str, view: ViewTrack, truth: Truth, camera: str) -> Constants:
    """Each joint's median error over each phase: a posture that lasts a second or two has its own."""
    offset = np.asarray(view.keypoints_px, dtype=float) - truth.keypoints_px[camera]
    time_s = truth.sync.to_reference_s(camera, view.time_s)
    phases = [(time_s >= phase["start_s"]) & (time_s < phase["end_s"]) for phase in truth.phases]
    medians = [np.nanmedian(offset[rows], axis=0) for rows in phases if np.isfinite(offset[rows]).any()]
    points = view.keypoints_px
    extent = np.nanmax(points, axis=1) - np.nanmin(points, axis=1)
    about = points - np.nanmean(points, axis=1, keepdims=True)
    sizes = {
        "palm": measure_palm_px(points),
        "box's root area": float(np.nanmedian(np.sqrt(extent.prod(axis=1)))),
        "box's diagonal": float(np.nanmedian(np.linalg.norm(extent, axis=1))),
        "radius": float(np.nanmedian(np.sqrt((about**2).sum(axis=2).mean(axis=1)))),
    }
    return Constants(name, np.stack(medians), sizes)


def print_constants(views: list[Constants], stated: tuple[float, ...]) -> None:
    """The constant errors' sigma along each axis, by view, by measure of size and by joint."""
    print("\nconstant part of the errors: sigma along each axis, by the median (20 joints, no wrist)")
    sigmas_px = np.array([_get_sigma(view.error_px[:, 1:]) for view in views])
    for view, sigma in zip(views, sigmas_px, strict=True):
        print(f"  {view.name:24} {sigma:5.1f} px, {sigma / view.sizes_px['palm']:.3f} of the palm")
    for name in views[0].sizes_px:
        share = sigmas_px / [view.sizes_px[name] for view in views]
        print(f"  share of the {name:16} {np.median(share):.3f}, spread over views {np.log(share).std():.0%}")
    shares = np.concatenate([view.error_px / view.sizes_px["palm"] for view in views])
    print("  by joint, share of the palm: by the median, root mean square, stated")
    for joint, name in enumerate(JOINTS):
        own = shares[:, joint]
        rms = np.sqrt(np.nanmean(own**2))
        print(f"    {name:12} {_get_sigma(own):6.3f} {rms:8.3f} {stated[joint]:8.3f}")
    found = " ".join(f"{_get_sigma(shares[:, joint]):.3f}" for joint in range(len(JOINTS)))
    print(f"  by the median, for finish-weights: --offset-share {found}")
    fingers = shares[:, 5:].reshape(len(shares), 4, 4, 2)
    parts = [
        f"{part} {_get_sigma(fingers[:, :, row]):.3f}"
        for row, part in enumerate(("MCP", "PIP", "DIP", "tip"))
    ]
    print("  four fingers together: " + ", ".join(parts))


def _get_sigma(errors: np.ndarray) -> float:
    """Of plane errors (..., 2): ``median(|error|) / 1.1774``, which misplaced fingers do not rule."""
    return float(np.nanmedian(np.linalg.norm(errors, axis=-1)) / PLANE_MEDIAN)


def fit_factor(error_px: np.ndarray, spread_px: np.ndarray) -> float:
    """``median(|error| / spread) / 1.1774``."""
    return float(np.median(error_px / spread_px) / PLANE_MEDIAN)


def print_factors(views: list[Points], scale: float) -> None:
    """The factor of each view and of all; beside it that of the errors less their constant part."""
    print(f"factor of the spread (stated: {scale:g}); of the errors less each joint's constant part")
    together = Points("all", *(np.concatenate(part) for part in zip(*map(_columns, views), strict=True)))
    for view in [*views, together]:
        spread = view.sigma_px / scale
        factor, moving = fit_factor(view.error_px, spread), fit_factor(view.moving_px, spread)
        print(f"  {view.name:24} {factor:5.2f} {moving:8.2f}   {len(spread):7d} points")
    print_curve(together)


def _columns(view: Points) -> tuple[np.ndarray, ...]:
    return view.error_px, view.moving_px, view.sigma_px


def print_curve(points: Points) -> None:
    """Groups by stated sigma: the sigma that the errors' median and root mean square tell, and shares."""
    print("\nstated      true sigma, by     share of errors within")
    print("sigma px    median    RMS      1 (39 %)  2 (86 %)  3 (99 %)")
    order = np.argsort(points.sigma_px, kind="stable")
    for rows in [*np.array_split(order, N_GROUPS), order]:
        sigma, error = points.sigma_px[rows], points.error_px[rows]
        shares = [np.mean(error < k * sigma) for k in (1, 2, 3)]
        label = f"{np.median(sigma):6.1f}" if len(rows) < len(order) else "   all"
        error_median, error_rms = np.median(error) / PLANE_MEDIAN, np.sqrt(np.mean(error**2) / 2)
        within = "".join(f"{share:10.0%}" for share in shares)
        print(f"{label:>8} {error_median:9.1f} {error_rms:6.1f}    {within}")
    print(f"rank correlation of sigma and error: {_rank_correlation(points.sigma_px, points.error_px):.2f}")


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sessions", type=Path, nargs="+")
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    if options.runs and len(options.runs) != len(options.sessions):
        raise SystemExit("Give as many runs as sessions, in the same order.")
    views, constants = [], []
    scales = set()
    for place, folder in enumerate(options.sessions):
        session, truth = read_session(folder), read_truth(folder)
        estimator = load_estimator(session.settings.estimator)
        scales.add((estimator.sigma_scale, estimator.offset_share))
        for camera in session.cameras:
            if options.runs:
                tracks = read_view(RunFolder(options.runs[place]), camera)
            else:
                tracks = estimate_view(session, camera, Reporter(), options.workers)
            given = (f"{folder.name} {camera}", tracks[truth.side], truth, camera)
            views.append(compare(*given))
            constants.append(find_constants(*given))
    if len(scales) > 1:
        raise SystemExit("The sessions name different estimators; compare one at a time.")
    sigma_scale, offset_share = scales.pop()
    print_factors(views, sigma_scale)
    print_constants(constants, offset_share)


if __name__ == "__main__":
    main()
