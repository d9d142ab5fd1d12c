"""Two cameras that see the same resting boards: where one stands to the other (seed 000, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.calibration.board import board_points_mm, normalise_order
from pipeline.calibration.lens import OUTLIER_FLOOR_PX, OUTLIER_RATIO, LensFit, board_poses
from pipeline.calibration.refine import Observation, RigState, refine, residuals_px, to_rvec
from pipeline.errors import CalibrationError
from pipeline.session import Checkerboard

LEAST_PAIRS = 3
SUSPICIOUS_PX = 3.0
CONTRADICTION_PX = 10.0
"""Misfit of the boards that fit best beyond which two takes do not belong together at all."""

MOST_GUESSES = 10
"""Boards whose relative poses are tried; each is compared with all boards."""

GOOD_PX = 0.5
"""Misfit below which no other board is asked."""

MIRROR_GAIN = 0.2
"""A pair is called mirrored if mirroring one picture brings the misfit below this share of itself."""


class Contradiction(CalibrationError):
    """A camera's boards do not fit the others'; ``camera`` is its name."""

    def __init__(self, camera: str, what: str, advice: str) -> None:
        super().__init__(what, advice)
        self.camera = camera


@dataclass(frozen=True)
class PairFit:
    """Pose of camera b in camera a's frame: ``x_b = R x_a + t``.

    Attributes
    ----------
    R : ndarray (3, 3)
    t_mm : ndarray (3,)
    rms_px : float
        Root mean square reprojection error over both cameras and the boards used.
    board_rms_px : ndarray (V,)
        The same by board; from the boards' poses in camera a for the ones left out.
    used : ndarray (V,) bool
        None of them if the pictures do not belong together.
    flipped : ndarray (V,) bool
        Boards whose order in camera b was turned by 180 degrees (symmetric boards alone).
    mirrored : bool
        The two pictures agree only if one of them is mirrored.
    """

    R: np.ndarray
    t_mm: np.ndarray
    rms_px: float
    board_rms_px: np.ndarray
    used: np.ndarray
    flipped: np.ndarray
    mirrored: bool = False


def relate_cameras(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    lens_a: LensFit,
    lens_b: LensFit,
    size_b_px: tuple[int, int],
    board: Checkerboard,
    may_flip: bool = False,
) -> PairFit:
    """Pairwise stereo calibration of camera b against camera a.

    Each board gives up to four relative poses (a plane's pose in one camera is ambiguous); the one that
    all boards agree on best is refined over the boards that agree with it, lenses fixed.

    Parameters
    ----------
    a, b : sequences of ndarray (rows * columns, 2)
        Corners in px of the same boards at rest, in both cameras.
    lens_a, lens_b : LensFit
        The cameras' lenses.
    size_b_px : (int, int)
        Picture size of camera b.
    board : Checkerboard
        The board shown.
    may_flip : bool
        The order of a board's corners may differ between the cameras by 180 degrees.

    Returns
    -------
    PairFit
    """
    guess = _agree(a, b, lens_a, lens_b, board, may_flip)
    mirrored = False
    if _usual(guess.error_px) > SUSPICIOUS_PX:
        other = [_mirror(corners, size_b_px, board) for corners in b]
        mirror_guess = _agree(a, other, lens_a, lens_b, board, may_flip=True)
        mirrored = _usual(mirror_guess.error_px) < MIRROR_GAIN * _usual(guess.error_px)
    ordered = [corners[::-1] if flip else corners for corners, flip in zip(b, guess.flipped, strict=True)]
    used = guess.error_px <= max(OUTLIER_RATIO * _usual(guess.error_px), 1.0)
    if mirrored or used.sum() < LEAST_PAIRS or _usual(guess.error_px) > CONTRADICTION_PX:
        rms_px = float(np.sqrt(np.mean(guess.error_px**2)))
        return PairFit(guess.R, guess.t_mm, rms_px, guess.error_px, used & False, guess.flipped, mirrored)
    fit = _stereo(a, ordered, used, lens_a, lens_b, board, guess)
    limit = max(OUTLIER_RATIO * float(np.median(fit.board_rms_px[used])), OUTLIER_FLOOR_PX)
    good = used & (fit.board_rms_px <= limit)
    if LEAST_PAIRS <= good.sum() < used.sum():
        used = good
        fit = _stereo(a, ordered, used, lens_a, lens_b, board, guess)
    return PairFit(fit.R, fit.t_mm, fit.rms_px, fit.board_rms_px, used, guess.flipped, mirrored)


@dataclass(frozen=True)
class _Stereo:
    R: np.ndarray
    t_mm: np.ndarray
    rms_px: float
    board_rms_px: np.ndarray


def _usual(error_px: np.ndarray) -> float:
    """What the better 40 % of the boards stay below: a camera moved halfway leaves half of them."""
    return float(np.percentile(error_px, 40, method="lower"))


@dataclass(frozen=True)
class _Guess:
    R: np.ndarray
    t_mm: np.ndarray
    error_px: np.ndarray
    flipped: np.ndarray


def _agree(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    lens_a: LensFit,
    lens_b: LensFit,
    board: Checkerboard,
    may_flip: bool,
) -> _Guess:
    """The relative pose, among those that single boards give, with the smallest usual misfit."""
    poses_a = [board_poses(corners, lens_a.K, lens_a.distortion, board) for corners in a]
    best: _Guess | None = None
    picked = np.unique(np.linspace(0, len(b) - 1, min(len(b), MOST_GUESSES)).round().astype(int)).tolist()
    for index in picked:
        if best is not None and _usual(best.error_px) < GOOD_PX:
            break
        corners = b[index]
        orders = [corners, corners[::-1]] if may_flip else [corners]
        for order in orders:
            for R_b, t_b, _ in board_poses(order, lens_b.K, lens_b.distortion, board):
                for R_a, t_a, _ in poses_a[index]:
                    R = R_b @ R_a.T
                    t_mm = t_b - R @ t_a
                    error_px, flipped = _misfit(R, t_mm, poses_a, b, lens_b, board, may_flip)
                    if best is None or _usual(error_px) < _usual(best.error_px):
                        best = _Guess(R, t_mm, error_px, flipped)
    if best is None:
        return _Guess(np.eye(3), np.zeros(3), np.full(len(b), np.inf), np.zeros(len(b), dtype=bool))
    return best


def _misfit(
    R: np.ndarray,
    t_mm: np.ndarray,
    poses_a: Sequence[list[tuple[np.ndarray, np.ndarray, float]]],
    b: Sequence[np.ndarray],
    lens_b: LensFit,
    board: Checkerboard,
    may_flip: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """RMS (V,) px in camera b of boards placed by camera a, and which (V,) fit better turned round."""
    points = board_points_mm(board)
    errors = np.full((len(b), 2), np.inf)
    for index, corners in enumerate(b):
        for R_a, t_a, _ in poses_a[index]:
            placed = (points @ R_a.T + t_a) @ R.T + t_mm
            if placed[:, 2].min() <= 0:
                continue
            projected = cv2.projectPoints(placed, np.zeros(3), np.zeros(3), lens_b.K, lens_b.distortion)[0]
            for flip in range(1 + may_flip):
                order = corners[::-1] if flip else corners
                rms = float(np.sqrt(((projected.reshape(-1, 2) - order) ** 2).sum(axis=1).mean()))
                errors[index, flip] = min(errors[index, flip], rms)
    return errors.min(axis=1), errors.argmin(axis=1).astype(bool)


def _mirror(corners_px: np.ndarray, size_px: tuple[int, int], board: Checkerboard) -> np.ndarray:
    """The corners as a picture mirrored left to right shows them, in the usual order."""
    return normalise_order(corners_px * [-1, 1] + [size_px[0] - 1, 0], board)


def _stereo(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    used: np.ndarray,
    lens_a: LensFit,
    lens_b: LensFit,
    board: Checkerboard,
    guess: _Guess,
) -> _Stereo:
    """Refine the relative pose over the boards used, lenses fixed."""
    chosen = np.flatnonzero(used).tolist()
    poses = [board_poses(a[i], lens_a.K, lens_a.distortion, board)[0] for i in chosen]
    state = RigState(
        K=np.stack([lens_a.K, lens_b.K]),
        distortion=np.stack([lens_a.distortion, lens_b.distortion]),
        cameras=[(np.zeros(3), np.zeros(3)), (to_rvec(guess.R), guess.t_mm)],
        boards=[(to_rvec(R), t_mm) for R, t_mm, _ in poses],
    )
    seen = [
        Observation(camera, place, corners[index])
        for place, index in enumerate(chosen)
        for camera, corners in enumerate((a, b))
    ]
    state = refine(state, seen, board, fixed_lenses=True)
    squares = np.array([(residuals_px(state, one, board) ** 2).sum(axis=1).mean() for one in seen])
    board_rms_px = guess.error_px.copy()
    board_rms_px[chosen] = np.sqrt(squares.reshape(-1, 2).mean(axis=1))
    R = cv2.Rodrigues(state.cameras[1][0])[0]
    return _Stereo(R, state.cameras[1][1], float(np.sqrt(squares.mean())), board_rms_px)
