"""Cameras, hand and clocks in one refinement: the bundle adjustment of a rig that the hand itself calibrates.

Unknown are, for every camera but the reference, rotation, place and (where its sound told nothing) offset;
every camera's focal length, held by what is known of it; the 21 joints at every instant, free in space; the
lengths that no pose changes, held by the proportions of hands; and for every camera and joint a constant
offset of the network's point from the joint, in units of the hand's size in the picture. That offset is what
keeps the covariance honest: a network is wrong by the same few per cent in frame after frame, and ten
thousand frames do not average it out.

The normal equations are solved by Gauss-Newton steps with Levenberg's damping; the joints of an instant
depend on no other instant's, so they are eliminated block by block (Triggs et al. 2000, "Bundle adjustment:
a modern synthesis").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.fusion.initial import DISTANCES

PAIRS = np.array(DISTANCES)
"""Pairs of joints (30, 2) whose distance no pose changes."""

N_LENGTHS = len(PAIRS)
_POSE = 8
"""Columns of a camera: log focal length, rotation 3, translation 3, offset."""


@dataclass(frozen=True)
class Priors:
    """What is known before the hand is looked at.

    Attributes
    ----------
    focal_px : ndarray (C,)
    focal_sigma : ndarray (C,)
        Relative.
    lengths_mm : ndarray (30,)
        Of `PAIRS`, between the points that a network calls joints.
    length_covariance : ndarray (30, 30)
        Of their logarithms: size and proportions among people, and what a network calls a joint.
    rigidity_mm : float
        How far a length of the mean hand may differ from itself at single instants.
    bias : float
        Standard deviation of the constant offset of one joint's point in one camera, in hand sizes.
    offset_s : float
        Standard deviation of offsets that are free.
    """

    focal_px: np.ndarray
    focal_sigma: np.ndarray
    lengths_mm: np.ndarray
    length_covariance: np.ndarray
    rigidity_mm: float = 2.0
    bias: float = 0.03
    offset_s: float = 0.1


@dataclass(frozen=True)
class Sightings:
    """What C cameras saw of one hand at N instants of the reference's clock.

    Attributes
    ----------
    points_px : ndarray (C, N, 21, 2)
        NaN = not seen.
    sigma_px : ndarray (C, N, 21)
        Per axis; NaN = not seen.
    velocity_px_s : ndarray (C, N, 21, 2)
        How the points move; NaN = not known.
    centre_px : ndarray (C, 2)
        Principal points: the pictures' middles.
    free_offset : ndarray (C,) bool
        Whether the camera's offset is to be found.
    """

    points_px: np.ndarray
    sigma_px: np.ndarray
    velocity_px_s: np.ndarray
    centre_px: np.ndarray
    free_offset: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(C, N, 21) bool."""
        return np.isfinite(self.sigma_px) & np.isfinite(self.points_px).all(axis=-1)

    def take(self, rows: np.ndarray) -> Sightings:
        """The same at some of the instants."""
        return replace(
            self,
            points_px=self.points_px[:, rows],
            sigma_px=self.sigma_px[:, rows],
            velocity_px_s=self.velocity_px_s[:, rows],
        )


@dataclass(frozen=True)
class State:
    """Everything that is refined; the first camera is the world.

    Attributes
    ----------
    focal_px : ndarray (C,)
    R : ndarray (C, 3, 3)
    t_mm : ndarray (C, 3)
    offset_s : ndarray (C,)
        Added to the offsets that the points were brought together by.
    joints_mm : ndarray (N, 21, 3)
    lengths_mm : ndarray (30,)
    bias : ndarray (C, 21, 2)
        In hand sizes, along and across the hand in the picture.
    """

    focal_px: np.ndarray
    R: np.ndarray
    t_mm: np.ndarray
    offset_s: np.ndarray
    joints_mm: np.ndarray
    lengths_mm: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """A refined state with what the points say of it.

    Attributes
    ----------
    state : State
    covariance : ndarray (8 C + 30, 8 C + 30)
        Of log focal length, rotation (turn in the camera's frame, rad), translation (mm) and offset (s),
        camera after camera, then of the log lengths; zeros where nothing is free.
    cost : float
        Twice minus the log posterior, robust, for each point seen.
    rms_px : ndarray (C,)
        Reprojection error a camera, weighted as in the fit.
    weights : ndarray (C, N, 21)
        Robust weights; 0 = not seen.
    """

    state: State
    covariance: np.ndarray
    cost: float
    rms_px: np.ndarray
    weights: np.ndarray


def refine(
    start: State,
    sightings: Sightings,
    priors: Priors,
    iterations: int = 20,
    with_bias: bool = True,
    robust_sigmas: float = 2.5,
) -> Bundle:
    """Refine everything at once.

    Parameters
    ----------
    start : State
        From two views and resection.
    sightings : Sightings
        The points.
    priors : Priors
        What is known beforehand.
    iterations : int
        At most so many steps.
    with_bias : bool
        Whether points may have constant offsets; without them it is faster, and sure of itself without cause.
    robust_sigmas : float
        Where a point's pull begins to fade (Cauchy).
    """
    problem = _Problem(sightings, priors, with_bias, robust_sigmas)
    state, damping = start, 1e-3
    cost = problem.cost(state)
    for _ in range(iterations):
        normal = problem.linearise(state)
        for _ in range(8):
            candidate = problem.step(state, normal, damping)
            found = problem.cost(candidate)
            if found < cost:
                break
            damping = min(damping * 8, 1e8)
        else:
            break
        gain = (cost - found) / cost
        state, cost, damping = candidate, found, max(damping / 6, 1e-9)
        if gain < 1e-5:
            break
    return problem.finish(state, cost)


def project(state: State, centre_px: np.ndarray) -> np.ndarray:
    """Pixels (C, N, 21, 2) of the state's joints; behind a camera nonsense that the cost refuses."""
    local = np.einsum("cij,nkj->cnki", state.R, state.joints_mm) + state.t_mm[:, None, None]
    depth = np.maximum(local[..., 2:], 1.0)
    return state.focal_px[:, None, None, None] * local[..., :2] / depth + centre_px[:, None, None]


def get_residuals(state: State, sightings: Sightings, priors: Priors) -> np.ndarray:
    """Reprojection residuals (C, N, 21, 2) in sigmas, constant offsets taken off; 0 where not seen."""
    return _Problem(sightings, priors, True, 1.0).residuals(state)[0]


def measure_hands(points_px: np.ndarray) -> np.ndarray:
    """Similarity (C, N, 2, 2) from hand sizes, along and across the hand, to pixels.

    Length: wrist to the middle knuckle and its tip's bones are foreshortened by the pose, so the root mean
    square spread of all points is taken, three times of which is about a hand's length. NaN where no hand is.
    """
    middle = np.nanmean(points_px, axis=2, keepdims=True)
    size = 3.0 * np.sqrt(np.nanmean(((points_px - middle) ** 2).sum(axis=-1), axis=2))
    along = points_px[:, :, 9] - points_px[:, :, 0]
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    return np.stack([along, across], axis=-1) * size[..., None, None]


class _Problem:
    """Residuals in sigmas and their derivatives, instant by instant.

    Global columns: 8 a camera, then 30 log lengths, then biases (C, 21, 2).
    """

    def __init__(self, sightings: Sightings, priors: Priors, with_bias: bool, robust_sigmas: float) -> None:
        self.seen = sightings
        self.priors = priors
        self.with_bias = with_bias
        self.robust = robust_sigmas
        self.n_cameras, self.n_times = sightings.points_px.shape[:2]
        mask = sightings.seen
        self.mask = mask
        self.points = np.where(mask[..., None], sightings.points_px, 0.0)
        self.inverse_sigma = np.where(mask, 1.0 / np.where(mask, sightings.sigma_px, 1.0), 0.0)
        self.velocity = np.nan_to_num(sightings.velocity_px_s)
        self.hands = np.nan_to_num(measure_hands(np.where(mask[..., None], sightings.points_px, np.nan)))
        self.rigidity = priors.rigidity_mm / priors.lengths_mm
        self.first_length = _POSE * self.n_cameras
        self.first_bias = self.first_length + N_LENGTHS
        self.size = self.first_bias + (42 * self.n_cameras if with_bias else 0)
        self.precision = self._make_precision()
        self.free = self._find_free()

    def _find_free(self) -> np.ndarray:
        free = np.ones(self.size, dtype=bool)
        free[1:_POSE] = False  # the first camera is the world, and its clock the clock
        for camera in range(1, self.n_cameras):
            free[_POSE * camera + 7] = bool(self.seen.free_offset[camera])
        return free

    def residuals(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Of points (C, N, 21, 2) and lengths (N, 30), in sigmas."""
        moved = self.points + self.velocity * state.offset_s[:, None, None, None]
        projected = project(state, self.seen.centre_px)
        offset = (self.hands[:, :, None] @ state.bias[:, None, ..., None])[..., 0]
        of_points = (projected + offset - moved) * self.inverse_sigma[..., None]
        apart = state.joints_mm[:, PAIRS[:, 0]] - state.joints_mm[:, PAIRS[:, 1]]
        # Logarithms, so that a smaller world is no better than a larger one.
        length = np.maximum(np.linalg.norm(apart, axis=-1), 0.1)
        return of_points, np.log(length / state.lengths_mm) / self.rigidity

    def _make_precision(self) -> np.ndarray:
        """Inverse covariance (G, G) of what is known beforehand; zeros where nothing is."""
        out = np.zeros((self.size, self.size))
        diagonal = np.zeros(self.size)
        diagonal[0 : self.first_length : _POSE] = self.priors.focal_sigma**-2.0
        diagonal[7 : self.first_length : _POSE] = self.priors.offset_s**-2.0
        diagonal[self.first_bias :] = self.priors.bias**-2.0
        out[np.arange(self.size), np.arange(self.size)] = diagonal
        lengths = slice(self.first_length, self.first_bias)
        out[lengths, lengths] = np.linalg.inv(self.priors.length_covariance)
        return out

    def prior_errors(self, state: State) -> np.ndarray:
        """How far the global columns (G,) are from what is expected; 0 where nothing is."""
        out = np.zeros(self.size)
        out[0 : self.first_length : _POSE] = np.log(state.focal_px / self.priors.focal_px)
        out[7 : self.first_length : _POSE] = state.offset_s
        out[self.first_length : self.first_bias] = np.log(state.lengths_mm / self.priors.lengths_mm)
        if self.with_bias:
            out[self.first_bias :] = state.bias.ravel()
        return out

    def cost(self, state: State) -> float:
        of_points, of_lengths = self.residuals(state)
        z2 = (of_points**2).sum(axis=-1)
        c2 = self.robust**2
        total = c2 * np.log1p(z2 / c2).sum() + (c2 * np.log1p(of_lengths**2 / c2)).sum()
        behind = np.einsum("ci,nki->cnk", state.R[:, 2], state.joints_mm) + state.t_mm[:, None, None, 2] < 10
        if (behind & self.mask).any():
            return np.inf
        prior = self.prior_errors(state)
        return float(total + prior @ self.precision @ prior)

    def linearise(self, state: State) -> tuple[np.ndarray, ...]:
        """Normal equations: ``A`` (N, 63, 63), ``B`` (N, 63, G), ``D`` (G, G), ``a`` (N, 63), ``d`` (G,)."""
        N, G = self.n_times, self.size
        of_points, of_lengths = self.residuals(state)
        c2 = self.robust**2
        weight = 1.0 / (1.0 + (of_points**2).sum(axis=-1) / c2)
        A, B = np.zeros((N, 21, 3, 21, 3)), np.zeros((N, 21, 3, G))
        D, a, d = np.zeros((G, G)), np.zeros((N, 21, 3)), np.zeros(G)
        for camera in range(self.n_cameras):
            by_joint, by_global, columns = self._point_derivatives(state, camera)
            w = weight[camera][..., None]
            r = of_points[camera]
            diagonal = np.einsum("nkai,nka,nkaj->nkij", by_joint, np.broadcast_to(w, r.shape), by_joint)
            A[:, np.arange(21), :, np.arange(21), :] += diagonal.transpose(1, 0, 2, 3)
            a += np.einsum("nkai,nka->nki", by_joint, w * r)
            weighted = by_global * w[..., None]
            B[..., columns] += np.einsum("nkai,nkag->nkig", by_joint, weighted)
            flat, flat_w = by_global.reshape(-1, len(columns)), weighted.reshape(-1, len(columns))
            D[np.ix_(columns, columns)] += flat.T @ flat_w
            d[columns] += flat_w.T @ r.ravel()
            if self.with_bias:
                self._add_bias(camera, by_joint, by_global, columns, w, r, B, D, d)
        self._add_lengths(state, of_lengths, A, B, D, a, d)
        D += self.precision
        d += self.precision @ self.prior_errors(state)
        return A.reshape(N, 63, 63), B.reshape(N, 63, G), D, a.reshape(N, 63), d

    def _point_derivatives(self, state: State, camera: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one camera's residuals by joint (N, 21, 2, 3), by its columns (N, 21, 2, 8), and the columns."""
        R, f = state.R[camera], state.focal_px[camera]
        turned = state.joints_mm @ R.T
        local = turned + state.t_mm[camera]
        z = np.maximum(local[..., 2], 1.0)
        by_local = np.zeros((*local.shape[:2], 2, 3))
        by_local[..., 0, 0] = by_local[..., 1, 1] = f / z
        by_local[..., :, 2] = -f * local[..., :2] / z[..., None] ** 2
        by_local *= self.inverse_sigma[camera][..., None, None]
        by_global = np.empty((*local.shape[:2], 2, _POSE))
        by_global[..., 0] = f * local[..., :2] / z[..., None] * self.inverse_sigma[camera][..., None]
        # a turn w in the camera's frame moves R x by w x (R x)
        for axis in range(3):
            by_global[..., 1 + axis] = np.einsum("nkai,nki->nka", by_local, np.cross(np.eye(3)[axis], turned))
        by_global[..., 4:7] = by_local
        by_global[..., 7] = -self.velocity[camera] * self.inverse_sigma[camera][..., None]
        return by_local @ R, by_global, np.arange(_POSE * camera, _POSE * (camera + 1))

    def _add_bias(
        self,
        camera: int,
        by_joint: np.ndarray,
        by_global: np.ndarray,
        columns: np.ndarray,
        w: np.ndarray,
        r: np.ndarray,
        B: np.ndarray,
        D: np.ndarray,
        d: np.ndarray,
    ) -> None:
        """Columns of the joints' constant offsets, each of which concerns one joint."""
        hands = self.hands[camera][:, None] * self.inverse_sigma[camera][..., None, None]  # (N, 21, 2, 2)
        weighted = hands * w[..., None]
        for joint in range(21):
            first = self.first_bias + 42 * camera + 2 * joint
            own = np.arange(first, first + 2)
            h = weighted[:, joint]
            B[:, joint][..., own] += np.einsum("nai,nag->nig", by_joint[:, joint], h)
            D[np.ix_(own, own)] += np.einsum("nai,naj->ij", hands[:, joint], h)
            cross = np.einsum("nai,nag->ig", h, by_global[:, joint])
            D[np.ix_(own, columns)] += cross
            D[np.ix_(columns, own)] += cross.T
            d[own] += np.einsum("nai,na->i", h, r[:, joint])

    def _add_lengths(
        self,
        state: State,
        residuals: np.ndarray,
        A: np.ndarray,
        B: np.ndarray,
        D: np.ndarray,
        a: np.ndarray,
        d: np.ndarray,
    ) -> None:
        apart = state.joints_mm[:, PAIRS[:, 0]] - state.joints_mm[:, PAIRS[:, 1]]
        square = np.maximum((apart**2).sum(axis=-1, keepdims=True), 0.01)
        slope = apart / square / self.rigidity[:, None]  # (N, 30, 3): + for the first joint, - for the second
        by_length = -1.0 / self.rigidity
        weight = 1.0 / (1.0 + residuals**2 / self.robust**2)
        for k, (i, j) in enumerate(PAIRS):
            s, w = slope[:, k], weight[:, k]
            block = np.einsum("na,n,nb->nab", s, w, s)
            A[:, i, :, i] += block
            A[:, j, :, j] += block
            A[:, i, :, j] -= block
            A[:, j, :, i] -= block
            pull = s * (w * residuals[:, k])[:, None]
            a[:, i] += pull
            a[:, j] -= pull
            column = self.first_length + k
            B[:, i, :, column] += s * w[:, None] * by_length[k]
            B[:, j, :, column] -= s * w[:, None] * by_length[k]
            D[column, column] += w.sum() * by_length[k] ** 2
            d[column] += (w * residuals[:, k]).sum() * by_length[k]

    def reduce(self, normal: tuple[np.ndarray, ...], damping: float) -> tuple[np.ndarray, ...]:
        """The normal equations of the global columns with the joints eliminated."""
        A, B, D, a, d = normal
        diagonal = np.einsum("nii->ni", A)
        lift = damping * diagonal + 1e-9
        damped = A.copy()
        damped[:, np.arange(63), np.arange(63)] += lift
        solved = np.linalg.solve(damped, np.concatenate([B, a[..., None]], axis=-1))
        G = B.shape[-1]
        flat = B.reshape(-1, G)
        S = D - flat.T @ solved[..., :G].reshape(-1, G)
        s = d - flat.T @ solved[..., G].reshape(-1)
        return S, s, solved

    def step(self, state: State, normal: tuple[np.ndarray, ...], damping: float) -> State:
        S, s, solved = self.reduce(normal, damping)
        free = self.free
        S = S[np.ix_(free, free)]
        S[np.arange(len(S)), np.arange(len(S))] *= 1 + damping
        move = np.zeros(self.size)
        move[free] = -np.linalg.solve(S, s[free])
        joints = -(solved[..., -1] + solved[..., :-1] @ move)
        return self._apply(state, move, joints.reshape(-1, 21, 3))

    def _apply(self, state: State, move: np.ndarray, joints: np.ndarray) -> State:
        C = self.n_cameras
        poses = move[: self.first_length].reshape(C, _POSE)
        turn = Rotation.from_rotvec(poses[:, 1:4]).as_matrix()
        bias = state.bias
        if self.with_bias:
            bias = bias + move[self.first_bias :].reshape(C, 21, 2)
        return State(
            focal_px=state.focal_px * np.exp(np.clip(poses[:, 0], -0.5, 0.5)),
            R=turn @ state.R,
            t_mm=state.t_mm + poses[:, 4:7],
            offset_s=state.offset_s + poses[:, 7],
            joints_mm=state.joints_mm + joints,
            lengths_mm=state.lengths_mm
            * np.exp(np.clip(move[self.first_length : self.first_bias], -0.5, 0.5)),
            bias=bias,
        )

    def finish(self, state: State, cost: float) -> Bundle:
        S, _, _ = self.reduce(self.linearise(state), 0.0)
        free = self.free
        inverse = np.zeros((self.size, self.size))
        inverse[np.ix_(free, free)] = np.linalg.inv(S[np.ix_(free, free)])
        n = self.first_bias
        of_points, _ = self.residuals(state)
        weight = np.where(self.mask, 1.0 / (1.0 + (of_points**2).sum(axis=-1) / self.robust**2), 0.0)
        error = (of_points**2).sum(axis=-1) * np.where(self.mask, self.seen.sigma_px, 0.0) ** 2
        rms = np.sqrt((weight * error).sum(axis=(1, 2)) / np.maximum(weight.sum(axis=(1, 2)), 1e-9))
        return Bundle(state, inverse[:n, :n], cost / max(int(self.mask.sum()), 1), rms, weight)
