"""One camera's lens from its views of the board (seed 000, section 6; Zhang 2000 as OpenCV has it)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.calibration.board import board_points_mm
from pipeline.session import Checkerboard

LEAST_VIEWS = 3
OUTLIER_RATIO = 3.0
OUTLIER_FLOOR_PX = 0.2
"""A view is refused when its RMS is over three times the usual one and over this."""


@dataclass(frozen=True)
class LensModel:
    """Which parameters of a lens are free.

    The default is seed 000's: principal point in the picture's middle, fx = fy, k1 and k2 alone.

    Attributes
    ----------
    equal_focal : bool
        fx = fy.
    free_centre : bool
        The principal point is estimated too.
    tangential : bool
        p1 and p2 are estimated too.
    third_radial : bool
        k3 is estimated too.
    """

    equal_focal: bool = True
    free_centre: bool = False
    tangential: bool = False
    third_radial: bool = False

    @property
    def flags(self) -> int:
        """OpenCV's flags for this model."""
        flags = cv2.CALIB_USE_INTRINSIC_GUESS
        flags |= cv2.CALIB_FIX_ASPECT_RATIO if self.equal_focal else 0
        flags |= 0 if self.free_centre else cv2.CALIB_FIX_PRINCIPAL_POINT
        flags |= 0 if self.tangential else cv2.CALIB_ZERO_TANGENT_DIST
        return flags | (0 if self.third_radial else cv2.CALIB_FIX_K3)

    def pack(self, K: np.ndarray, distortion: np.ndarray) -> np.ndarray:
        """The free parameters (P,) of a lens, for a solver."""
        parts = [[K[0, 0]] if self.equal_focal else [K[0, 0], K[1, 1]]]
        parts.append([K[0, 2], K[1, 2]] if self.free_centre else [])
        parts.append(list(distortion[self._free_distortion]))
        return np.concatenate(parts).astype(float)

    def unpack(
        self, values: np.ndarray, K: np.ndarray, distortion: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """K (3, 3) and distortion (5,) with the free parameters replaced by ``values`` (P,)."""
        K, distortion = K.copy(), distortion.copy()
        n_focal = 1 if self.equal_focal else 2
        K[0, 0], K[1, 1] = values[0], values[n_focal - 1]
        if self.free_centre:
            K[0, 2], K[1, 2] = values[n_focal : n_focal + 2]
        distortion[self._free_distortion] = values[n_focal + 2 * self.free_centre :]
        return K, distortion

    def reduce(self, jacobian: np.ndarray) -> np.ndarray:
        """Columns for the free parameters (2N, P) from OpenCV's (2N, 9): fx fy cx cy k1 k2 p1 p2 k3."""
        focal = jacobian[:, :2].sum(axis=1, keepdims=True) if self.equal_focal else jacobian[:, :2]
        centre = jacobian[:, 2:4] if self.free_centre else jacobian[:, :0]
        return np.concatenate([focal, centre, jacobian[:, 4:9][:, self._free_distortion]], axis=1)

    @property
    def _free_distortion(self) -> list[int]:
        return [0, 1] + [2, 3] * self.tangential + [4] * self.third_radial


USUAL_LENS = LensModel()
"""Seed 000's: fx = fy, principal point in the middle, k1 and k2."""

FULL_LENS = LensModel(free_centre=True, tangential=True, third_radial=True)
"""OpenCV's usual five-parameter model with a free principal point, for comparison with other tools."""


@dataclass(frozen=True)
class LensFit:
    """A calibrated lens.

    Attributes
    ----------
    K : ndarray (3, 3)
        px.
    distortion : ndarray (5,)
        k1 k2 p1 p2 k3.
    rms_px : float
        Root mean square distance of corners from their places, over the views used.
    view_rms_px : ndarray (V,)
        The same by view, for the refused ones too.
    used : ndarray (V,) bool
    focal_sigma_px : float
        Standard error of fx.
    """

    K: np.ndarray
    distortion: np.ndarray
    rms_px: float
    view_rms_px: np.ndarray
    used: np.ndarray
    focal_sigma_px: float


def calibrate_lens(
    views: Sequence[np.ndarray],
    board: Checkerboard,
    size_px: tuple[int, int],
    model: LensModel = USUAL_LENS,
) -> LensFit:
    """Work out a camera's lens from its views of the board, leaving bad views out.

    Parameters
    ----------
    views : sequence of ndarray (rows * columns, 2)
        Corners in px; at least `LEAST_VIEWS`.
    board : Checkerboard
        The board shown.
    size_px : (int, int)
        Width and height of the pictures.
    model : LensModel
        Free lens parameters.

    Returns
    -------
    LensFit
        With the reprojection error of every view.

    Notes
    -----
    A view whose RMS is over three times the median is left out, the worst first, and the lens worked out
    anew, as long as `LEAST_VIEWS` and half of the views remain.
    """
    used = np.ones(len(views), dtype=bool)
    while True:
        fit = _fit(views, used, board, size_px, model)
        limit = max(OUTLIER_RATIO * float(np.median(fit.view_rms_px[used])), OUTLIER_FLOOR_PX)
        worst = int(np.argmax(np.where(used, fit.view_rms_px, -1)))
        keep = max(LEAST_VIEWS, len(views) // 2)
        if fit.view_rms_px[worst] <= limit or used.sum() <= keep:
            return fit
        used[worst] = False


def _fit(
    views: Sequence[np.ndarray],
    used: np.ndarray,
    board: Checkerboard,
    size_px: tuple[int, int],
    model: LensModel,
) -> LensFit:
    points = board_points_mm(board).astype(np.float32)
    chosen = [np.ascontiguousarray(views[i], dtype=np.float32) for i in np.flatnonzero(used).tolist()]
    objects = [points] * len(chosen)
    K = cv2.initCameraMatrix2D(objects, chosen, size_px, 1.0)
    if not (np.isfinite(K).all() and 0.2 < K[0, 0] / max(size_px) < 20):
        K[0, 0] = K[1, 1] = float(max(size_px))  # frontal views alone give no start; a usual lens does
    K[0, 2], K[1, 2] = (size_px[0] - 1) / 2, (size_px[1] - 1) / 2
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
    with _one_thread():
        rms_px, K, distortion, _, _, sigma, _, _ = cv2.calibrateCameraExtended(
            objects, chosen, size_px, K, np.zeros(5), flags=model.flags, criteria=steps
        )
    distortion = distortion.ravel()[:5]
    view_rms_px = np.array([_view_rms_px(view, K, distortion, board) for view in views])
    focal_sigma_px = float(sigma.ravel()[:2].max())  # with fx = fy OpenCV gives it for fy alone
    return LensFit(K, distortion, float(rms_px), view_rms_px, used.copy(), focal_sigma_px)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Threads of OpenCV add up in the order in which they are done: each time another last digit."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _view_rms_px(view: np.ndarray, K: np.ndarray, distortion: np.ndarray, board: Checkerboard) -> float:
    poses = board_poses(view, K, distortion, board)
    return min((rms for _, _, rms in poses), default=float("inf"))


def board_poses(
    corners_px: np.ndarray, K: np.ndarray, distortion: np.ndarray, board: Checkerboard
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Where the board can be in the camera's frame, the better first.

    A plane seen from far has two poses that look nearly the same (Collins and Bartoli 2014); both are
    given, refined.

    Returns
    -------
    list of (ndarray (3, 3), ndarray (3,), float)
        R, t in mm, and the RMS reprojection error in px. Poses behind the camera are left out.
    """
    points = board_points_mm(board)
    corners = np.ascontiguousarray(corners_px, dtype=float)
    _, rvecs, tvecs, _ = cv2.solvePnPGeneric(points, corners, K, distortion, flags=cv2.SOLVEPNP_IPPE)
    poses = []
    for rvec, tvec in zip(rvecs, tvecs, strict=True):
        rvec, tvec = cv2.solvePnPRefineLM(points, corners, K, distortion, rvec, tvec)
        if not (np.isfinite(rvec).all() and np.isfinite(tvec).all()):
            continue
        R = cv2.Rodrigues(rvec)[0]
        if (points @ R[2] + tvec.ravel()[2]).min() <= 0:
            continue
        projected = cv2.projectPoints(points, rvec, tvec, K, distortion)[0].reshape(-1, 2)
        rms = float(np.sqrt(((projected - corners) ** 2).sum(axis=1).mean()))
        poses.append((R, tvec.ravel(), rms))
    return sorted(poses, key=lambda pose: pose[2])
