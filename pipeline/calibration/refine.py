"""One joint refinement of all cameras, lenses and board poses with a robust loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix, diags_array

from pipeline.calibration.board import board_points_mm
from pipeline.calibration.lens import USUAL_LENS, LensModel
from pipeline.session import Checkerboard

MOST_STEPS = 60
MOST_DAMPING = 1e8

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
        values = _minimise(problem, values, _choose_scale_px(problem.residuals(values)))
    return problem.unpack(values)


def _choose_scale_px(residuals: np.ndarray) -> float:
    """Where the robust loss begins to bend: three times the usual residual."""
    return min(max(3 * 1.4826 * float(np.median(np.abs(residuals))), 0.1), 2.0)


def _minimise(problem: _Problem, values: np.ndarray, scale_px: float) -> np.ndarray:
    """Levenberg and Marquardt's steps on the normal equations, residuals weighted anew at every one."""
    residuals = problem.residuals(values)
    cost, damping = _cost(residuals, scale_px), 1e-4
    for _ in range(MOST_STEPS):
        normal, gradient = _normal_equations(problem.jacobian(values), residuals, scale_px)
        before = cost
        while damping < MOST_DAMPING:
            damped = normal + damping * np.diag(np.maximum(np.diag(normal), 1e-12))
            trial = values - cho_solve(cho_factor(damped), gradient)
            trial_residuals = problem.residuals(trial)
            trial_cost = _cost(trial_residuals, scale_px)
            if trial_cost <= cost:
                values, residuals, cost, damping = trial, trial_residuals, trial_cost, 0.1 * damping
                break
            damping *= 10
        if before - cost <= 1e-10 * before:
            break
    return values


def _cost(residuals: np.ndarray, scale_px: float) -> float:
    return float(np.sum(np.sqrt(1 + (residuals / scale_px) ** 2) - 1)) * scale_px**2


def _normal_equations(
    jacobian: csr_matrix, residuals: np.ndarray, scale_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """J^T W J (P, P) and J^T W r (P,) with the weights of the robust loss."""
    weights = 1 / np.sqrt(1 + (residuals / scale_px) ** 2)
    weighted = diags_array(weights) @ jacobian
    return (jacobian.T @ weighted).toarray(), weighted.T @ residuals


@dataclass(frozen=True)
class PlaceError:
    """Expected error of where the cameras but the first stand.

    Attributes
    ----------
    turn_rad : ndarray (C - 1, 3, 3)
        Covariance of the turn that brings the true rotation to the found one, in the camera's frame.
    shift_mm : ndarray (C - 1, 3, 3)
        Covariance of t.
    """

    turn_rad: np.ndarray
    shift_mm: np.ndarray


def estimate_errors(
    state: RigState, observations: Sequence[Observation], board: Checkerboard, model: LensModel = USUAL_LENS
) -> PlaceError:
    """How far off the cameras' places are expected to be, from what every single board place says.

    The jackknife over places of the board (Efron 1982): the refined solution is worked out anew without
    each place, by one step from where it is, and the spread of the results is scaled up. Unlike the curvature
    alone it counts what a place's corners have in common (a shaking board, light from one side) once and
    not fifty times. What all places share (squares of another size, a bent board, a lens that the model
    does not have) cannot be seen so.

    Parameters
    ----------
    state : RigState
        The end of `refine` with free lenses.
    observations : sequence of Observation
        The same as there.
    board : Checkerboard
        The board shown.
    model : LensModel
        What was free in a lens.
    """
    problem = _Problem(state, observations, board, model, fixed_lenses=False)
    values = problem.pack(state)
    residuals = problem.residuals(values)
    scale_px = _choose_scale_px(residuals)
    parts = _reduce_by_board(problem, values, residuals, scale_px)
    normal, gradient = (sum(part[k] for part in parts) for k in range(2))
    steps = np.array([-_solve_least(normal - own, gradient - pull) for own, pull in parts])
    steps = steps[:, problem.first_pose :].reshape(len(parts), -1, 6)
    deviation = steps - steps.mean(axis=0)
    turns = [_left_jacobian(rvec) for rvec, _ in state.cameras[1:]]
    covariance = np.einsum("bci,bcj->cij", deviation, deviation) * (len(parts) - 1) / max(len(parts), 1)
    turn = [J @ part[:3, :3] @ J.T for J, part in zip(turns, covariance, strict=True)]
    return PlaceError(np.array(turn).reshape(-1, 3, 3), covariance[:, 3:, 3:])


def _reduce_by_board(
    problem: _Problem, values: np.ndarray, residuals: np.ndarray, scale_px: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each board's share of the normal equations of lenses and cameras, its own pose eliminated."""
    jacobian = problem.jacobian(values)
    rows_by_board: dict[int, list[np.ndarray]] = {}
    n_rows = 2 * len(problem.points)
    for index, seen in enumerate(problem.observations):
        rows_by_board.setdefault(seen.board, []).append(np.arange(index * n_rows, (index + 1) * n_rows))
    parts = []
    for number, rows in rows_by_board.items():
        chosen = np.concatenate(rows)
        normal, gradient = _normal_equations(jacobian[chosen], residuals[chosen], scale_px)
        rig = slice(0, problem.first_board)
        pose = slice(problem.first_board + 6 * number, problem.first_board + 6 * number + 6)
        gain = np.linalg.lstsq(normal[pose, pose], normal[pose, rig], rcond=1e-12)[0]
        parts.append((normal[rig, rig] - normal[rig, pose] @ gain, gradient[rig] - gain.T @ gradient[pose]))
    return parts


def _solve_least(normal: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Solve scaled normal equations; what they leave open stays 0."""
    size = np.sqrt(np.maximum(np.diag(normal), 1e-12))
    return np.linalg.lstsq(normal / np.outer(size, size), gradient / size, rcond=1e-10)[0] / size


def _left_jacobian(rvec: np.ndarray) -> np.ndarray:
    """(3, 3): a small change of a rotation vector as a turn that follows the rotation."""
    angle = float(np.linalg.norm(rvec))
    x, y, z = rvec
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0.0]])
    if angle < 1e-6:
        return np.eye(3) + 0.5 * cross
    first, second = (1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    return np.eye(3) + first * cross + second * cross @ cross


def place_board(state: RigState, observations: Sequence[Observation], board: Checkerboard) -> Pose:
    """The pose of one board from its observations alone; lenses and cameras stay as they are.

    Parameters
    ----------
    state : RigState
        Its board of the observations' number is the start.
    observations : sequence of Observation
        All of one board.
    board : Checkerboard
        The board shown.
    """
    number = observations[0].board
    alone = replace(state, boards=[state.boards[number]])
    problem = _Problem(
        alone, [replace(seen, board=0) for seen in observations], board, USUAL_LENS, True, fixed_cameras=True
    )
    values = problem.pack(alone)
    return problem.unpack(_minimise(problem, values, _choose_scale_px(problem.residuals(values)))).boards[0]


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
    """The parameters in one vector: lenses, then cameras but the first, then boards, as far as free."""

    def __init__(
        self,
        state: RigState,
        observations: Sequence[Observation],
        board: Checkerboard,
        model: LensModel,
        fixed_lenses: bool,
        fixed_cameras: bool = False,
    ) -> None:
        self.start = state
        self.observations = observations
        self.points = board_points_mm(board)
        self.model = model
        self.n_cameras = len(state.cameras)
        self.n_lens = 0 if fixed_lenses else len(model.pack(state.K[0], state.distortion[0]))
        self.first_pose = self.n_cameras * self.n_lens
        self.n_poses = 0 if fixed_cameras else self.n_cameras - 1
        self.first_board = self.first_pose + 6 * self.n_poses

    def pack(self, state: RigState) -> np.ndarray:
        both = zip(state.K, state.distortion, strict=True)
        lenses = [self.model.pack(K, distortion)[: self.n_lens] for K, distortion in both]
        free = state.cameras[1 : 1 + self.n_poses] + state.boards
        poses = [np.ravel(part) for pose in free for part in pose]
        return np.concatenate([*lenses, *poses])

    def unpack(self, values: np.ndarray) -> RigState:
        K, distortion = self.start.K.copy(), self.start.distortion.copy()
        if self.n_lens:
            for camera in range(self.n_cameras):
                lens = values[camera * self.n_lens : (camera + 1) * self.n_lens]
                K[camera], distortion[camera] = self.model.unpack(lens, K[camera], distortion[camera])
        poses: list[Pose] = [(p[:3], p[3:]) for p in values[self.first_pose :].reshape(-1, 6)]
        fixed = self.start.cameras[: self.n_cameras - self.n_poses]
        return RigState(K, distortion, [*fixed, *poses[: self.n_poses]], poses[self.n_poses :])

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
        if seen.camera > 0 and self.n_poses:
            pose = self.first_pose + 6 * (seen.camera - 1)
            parts, columns = parts + chain[2:], [*columns, np.arange(pose, pose + 6)]
        if self.n_lens:
            lens = seen.camera * self.n_lens
            parts = [*parts, self.model.reduce(full[:, 6:15])]
            columns.append(np.arange(lens, lens + self.n_lens))
        return np.concatenate(parts, axis=1), np.concatenate(columns)
