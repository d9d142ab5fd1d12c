"""One joint refinement of all cameras, lenses and board poses with a robust loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix

from pipeline.calibration.board import board_points_mm
from pipeline.calibration.lens import USUAL_LENS, LensModel
from pipeline.session import Checkerboard

Pose = tuple[np.ndarray, np.ndarray]
"""Rotation vector (3,) and translation (3,) in mm."""


@dataclass(frozen=True)
class Observation:
    """Corners (rows * columns, 2) in px of one board in one camera, by their places in the lists."""

    camera: int
    board: int
    corners_px: np.ndarray


@dataclass(frozen=True)
class RigState:
    """Everything that is refined.

    Attributes
    ----------
    K : ndarray (C, 3, 3)
    distortion : ndarray (C, 5)
    cameras : list of Pose
        World to camera; the first is the world itself and stays so.
    boards : list of Pose
        Board to world.
    """

    K: np.ndarray
    distortion: np.ndarray
    cameras: list[Pose]
    boards: list[Pose]


def refine(
    state: RigState,
    observations: Sequence[Observation],
    board: Checkerboard,
    model: LensModel = USUAL_LENS,
    fixed_lenses: bool = False,
) -> RigState:
    """Fit all cameras, lenses and board poses to all corners at once.

    Minimises sum rho(r) over all corner coordinates with the soft L1 loss of Triggs et al. (2000,
    "Bundle adjustment: a modern synthesis"), whose scale is three times the usual residual, so that a
    corner under a reflection pulls little; a second round takes that scale from the first one's result.
    The first camera is the world. The Jacobian is exact and sparse: a corner depends on one lens, one
    camera and one board.

    Parameters
    ----------
    state : RigState
        Start: from the lenses and the pairs.
    observations : sequence of Observation
        All corners that count.
    board : Checkerboard
        The board shown.
    model : LensModel
        What is free in a lens.
    fixed_lenses : bool
        Leave the lenses as they are.

    Returns
    -------
    RigState
    """
    problem = _Problem(state, observations, board, model, fixed_lenses)
    values = problem.pack(state)
    for _ in range(2):
        usual = float(np.median(np.abs(problem.residuals(values)))) * 1.4826
        values = least_squares(
            problem.residuals,
            values,
            jac=problem.jacobian,
            method="trf",
            x_scale="jac",
            tr_solver="lsmr",
            tr_options={"atol": 1e-10, "btol": 1e-10, "maxiter": 20 * len(values)},
            loss="soft_l1",
            f_scale=min(max(3 * usual, 0.1), 2.0),
            ftol=1e-10,
            xtol=1e-10,
            max_nfev=60,
        ).x
    return problem.unpack(values)


def to_rvec(R: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) of a rotation matrix (3, 3)."""
    return cv2.Rodrigues(R)[0].ravel()


def residuals_px(state: RigState, observation: Observation, board: Checkerboard) -> np.ndarray:
    """Reprojection errors (rows * columns, 2) in px of one observation."""
    rvec, tvec = _compose(state.boards[observation.board], state.cameras[observation.camera])[:2]
    K, distortion = state.K[observation.camera], state.distortion[observation.camera]
    projected = cv2.projectPoints(board_points_mm(board), rvec, tvec, K, distortion)[0]
    return projected.reshape(-1, 2) - observation.corners_px


def _compose(first: Pose, second: Pose) -> tuple[np.ndarray, ...]:
    """Rotation vector and translation of ``second`` after ``first``, then their derivatives."""
    return cv2.composeRT(*first, *second)


class _Problem:
    """The parameters in one vector: lenses, then cameras but the first, then boards."""

    def __init__(
        self,
        state: RigState,
        observations: Sequence[Observation],
        board: Checkerboard,
        model: LensModel,
        fixed_lenses: bool,
    ) -> None:
        self.start = state
        self.observations = observations
        self.points = board_points_mm(board)
        self.model = model
        self.n_cameras = len(state.cameras)
        self.n_lens = 0 if fixed_lenses else len(model.pack(state.K[0], state.distortion[0]))
        self.first_pose = self.n_cameras * self.n_lens
        self.first_board = self.first_pose + 6 * (self.n_cameras - 1)

    def pack(self, state: RigState) -> np.ndarray:
        both = zip(state.K, state.distortion, strict=True)
        lenses = [self.model.pack(K, distortion)[: self.n_lens] for K, distortion in both]
        poses = [np.ravel(part) for pose in state.cameras[1:] + state.boards for part in pose]
        return np.concatenate([*lenses, *poses])

    def unpack(self, values: np.ndarray) -> RigState:
        K, distortion = self.start.K.copy(), self.start.distortion.copy()
        if self.n_lens:
            for camera in range(self.n_cameras):
                lens = values[camera * self.n_lens : (camera + 1) * self.n_lens]
                K[camera], distortion[camera] = self.model.unpack(lens, K[camera], distortion[camera])
        poses: list[Pose] = [(p[:3], p[3:]) for p in values[self.first_pose :].reshape(-1, 6)]
        cut = self.n_cameras - 1
        return RigState(K, distortion, [self.start.cameras[0], *poses[:cut]], poses[cut:])

    def residuals(self, values: np.ndarray) -> np.ndarray:
        state = self.unpack(values)
        parts = []
        for seen in self.observations:
            rvec, tvec = _compose(state.boards[seen.board], state.cameras[seen.camera])[:2]
            K, distortion = state.K[seen.camera], state.distortion[seen.camera]
            projected = cv2.projectPoints(self.points, rvec, tvec, K, distortion)[0].reshape(-1, 2)
            parts.append((projected - seen.corners_px).ravel())
        return np.concatenate(parts)

    def jacobian(self, values: np.ndarray) -> csr_matrix:
        """Derivatives of `residuals`: one block of rows an observation, filled for its lens and two poses."""
        state = self.unpack(values)
        blocks = [self._block(state, seen) for seen in self.observations]
        data = np.concatenate([block.ravel() for block, _ in blocks])
        indices = np.concatenate([np.tile(columns, len(block)) for block, columns in blocks])
        widths = np.concatenate([np.full(len(block), block.shape[1]) for block, _ in blocks])
        starts = np.concatenate([[0], np.cumsum(widths)])
        return csr_matrix((data, indices, starts), shape=(len(widths), len(values)))

    def _block(self, state: RigState, seen: Observation) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives (2N, W) of one observation and the columns (W,) they belong to."""
        rvec, tvec, *derivatives = _compose(state.boards[seen.board], state.cameras[seen.camera])
        K, distortion = state.K[seen.camera], state.distortion[seen.camera]
        full = cv2.projectPoints(self.points, rvec, tvec, K, distortion)[1]
        chain = [
            full[:, :3] @ by_rotation + full[:, 3:6] @ by_shift
            for by_rotation, by_shift in zip(derivatives[:4], derivatives[4:], strict=True)
        ]
        board = self.first_board + 6 * seen.board
        parts, columns = chain[:2], [np.arange(board, board + 6)]
        if seen.camera > 0:
            pose = self.first_pose + 6 * (seen.camera - 1)
            parts, columns = parts + chain[2:], [*columns, np.arange(pose, pose + 6)]
        if self.n_lens:
            lens = seen.camera * self.n_lens
            parts = [*parts, self.model.reduce(full[:, 6:15])]
            columns.append(np.arange(lens, lens + self.n_lens))
        return np.concatenate(parts, axis=1), np.concatenate(columns)
