"""aniposelib on one hand's points: run by the Python of an environment that has aniposelib 0.8.0.

    PYTHON benchmarks/aniposelib_peer.py IN.npz OUT.npz

IN holds ``points_px`` (C, T, J, 2) and ``sigma_px`` (C, T, J), NaN = not seen, the cameras' ``K`` (C, 3, 3),
``distortion`` (C, 5), ``rvec`` (C, 3), ``t_mm`` (C, 3), and ``bones`` (B, 2), whose lengths the optimisation
holds. OUT gets the joints (T, J, 3) in mm of its DLT, its RANSAC and its spatiotemporal optimisation, all as
aniposelib has them by default, and of the optimisation told each point's sigma through its ``scores``.
"""

import itertools
import sys

import numpy as np
from aniposelib.cameras import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    Camera,
    CameraGroup,
)

GOOD_ENOUGH_PX = 0.5
WORST_PX = 200.0


def run_ransac(group: CameraGroup, points_px: np.ndarray) -> np.ndarray:
    """``group.triangulate_ransac(points_px)[0]``, choice for choice, with a call for each subset of the
    cameras in place of one for each point, which takes minutes.
    """
    seen = np.isfinite(points_px[..., 0])
    best_mm = np.full((points_px.shape[1], 3), np.nan)
    best_px = np.full(points_px.shape[1], WORST_PX)
    for kept in itertools.product((True, False), repeat=len(points_px)):
        cameras = np.flatnonzero(kept)
        if len(cameras) < 2:
            continue
        part = group.subset_cameras(cameras)
        joints_mm = part.triangulate(points_px[cameras])
        error_px = part.reprojection_error(joints_mm, points_px[cameras], mean=True)
        better = seen[cameras].all(axis=0) & (error_px < best_px) & (best_px >= GOOD_ENOUGH_PX)
        best_mm[better], best_px[better] = joints_mm[better], error_px[better]
    return best_mm


def main() -> None:
    given = np.load(sys.argv[1])
    lenses = zip(*(given[name] for name in ("K", "distortion", "rvec", "t_mm")), strict=True)
    group = CameraGroup([Camera(matrix=k, dist=d, rvec=r, tvec=t) for k, d, r, t in lenses])
    points_px, bones = given["points_px"], given["bones"]
    flat_px = points_px.reshape(len(points_px), -1, 2)
    shape = (*points_px.shape[1:3], 3)
    plain_mm = group.triangulate(flat_px).reshape(shape)
    scores = np.nan_to_num(np.nanmedian(given["sigma_px"]) / given["sigma_px"])
    optimised = {
        "optimisation": group.optim_points(points_px, plain_mm, constraints=bones),
        "optimisation, sigmas": group.optim_points(points_px, plain_mm, constraints=bones, scores=scores),
    }
    np.savez(sys.argv[2], DLT=plain_mm, RANSAC=run_ransac(group, flat_px).reshape(shape), **optimised)


if __name__ == "__main__":
    main()
