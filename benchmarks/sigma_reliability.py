"""Whether the estimator's sigma means what it says: stated sigma against true error on made sessions.

    python -m benchmarks.sigma_reliability SESSION... [--runs RUN...] [--workers 2]

Each SESSION is a folder that ``python -m pipeline synth`` made. Its views are measured first (minutes), or
read from the run folders given in the same order. Prints, by session and view, the factor that makes the
spread of the passes one standard deviation along each axis (`pipeline.pose.augmentation` defines it), and for
all together a reliability curve: points in ten groups by stated sigma, and how large their errors truly are.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    views = []
    scales = set()
    for place, folder in enumerate(options.sessions):
        session, truth = read_session(folder), read_truth(folder)
        scales.add(load_estimator(session.settings.estimator).sigma_scale)
        for camera in session.cameras:
            if options.runs:
                tracks = read_view(RunFolder(options.runs[place]), camera)
            else:
                tracks = estimate_view(session, camera, Reporter(), options.workers)
            views.append(compare(f"{folder.name} {camera}", tracks[truth.side], truth, camera))
    if len(scales) > 1:
        raise SystemExit("The sessions name different estimators; compare one at a time.")
    print_factors(views, scales.pop())


if __name__ == "__main__":
    main()
