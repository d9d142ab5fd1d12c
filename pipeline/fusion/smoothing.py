"""The fitted hand smoothed over time, as one: noise goes, a tremor stays; and what the whole chain passes.

L_temporal, a random walk, damps slow movement and fast noise almost alike. Here bending of the path is what
costs: with x a frame's tangent coordinates (`pipeline.fusion.curvature`) the smoothed path has the least
``sum_t |x_t - x_fit_t|^2 + s sum_t |x_t-1 - 2 x_t + x_t+1|^2`` (Whittaker and Henderson), the same s for all
coordinates, so translation, orientation and fingers keep one time course, without any delay. It passes
``1 / (1 + s (2 - 2 cos w)^2)`` of a movement of w rad a frame. Weighing frames by what is known of each, or
solving with the whole curvature, gained nothing on made sessions; nor did third differences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from scipy import sparse
from scipy.linalg import solveh_banded

from pipeline.fusion.curvature import get_curvature
from pipeline.fusion.objective import Objective, Pose
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.solver import move
from pipeline.fusion.tridiagonal import factorise
from pipeline.hand.joints import MANO_POSE_JOINTS

_KNUCKLES = tuple(MANO_POSE_JOINTS.index(f"{finger}_mcp") for finger in ("index", "middle", "ring", "pinky"))
_FREQUENCIES = 10
_HALF_POWER = 0.5**0.5

_LEAST_TOLD = 0.05
"""A finger of which the points say less than this share of what they say of the best seen one is not counted:
of a hidden finger nothing passes."""


@dataclass(frozen=True)
class Smoother:
    """A smoother for the frames of one recording.

    Attributes
    ----------
    strength : float
        s.
    runs : tuple of slice
        Frames that are smoothed together; none reaches across a long gap.
    time_s : ndarray (T,)
    """

    strength: float
    runs: tuple[slice, ...]
    time_s: np.ndarray

    @property
    def taken_share(self) -> float:
        """Share (0 to 1) of the variance of noise that differs from frame to frame which is taken out."""
        slowness = 2.0 - 2.0 * np.cos(np.linspace(0.0, np.pi, 1001))
        return float(np.mean((1.0 - 1.0 / (1.0 + self.strength * slowness**2)) ** 2))

    def filter(self, values: np.ndarray) -> np.ndarray:
        """Values (T, K) of small movements, smoothed; frames outside the runs as they are."""
        out = np.array(values, dtype=float)
        for run in self.runs:
            out[run] = self._solve(_get_bends(self.time_s[run]), out[run])
        return out

    def smooth(self, pose: Pose) -> Pose:
        """The pose with its path smoothed; frames outside the runs as they are."""
        orient, hand_pose, transl = pose.to_matrices()
        matrices = torch.cat([orient[:, None], hand_pose], dim=1)
        turns = roma.rotmat_to_rotvec(matrices[:-1].mT @ matrices[1:])
        steps = torch.cat([transl.diff(dim=0), turns.flatten(1)], dim=1).numpy()
        moved = np.zeros((len(transl), steps.shape[1]))
        for run in self.runs:
            bends = _get_bends(self.time_s[run])
            # Of a path bend = bends @ x; of the fitted one from its steps, for rotations have no x.
            summed = np.cumsum(steps[run.start : run.stop - 1], axis=0)
            path = np.concatenate([np.zeros_like(summed[:1]), summed])
            moved[run] = self._solve(bends, -self.strength * (bends.T @ (bends @ path)))
        return move(pose, moved)

    def _solve(self, bends: sparse.csr_matrix, right: np.ndarray) -> np.ndarray:
        """``(1 + s B^T B)^-1 right``: five diagonals, linear in frames."""
        square = self.strength * (bends.T @ bends)
        upper = np.zeros((3, len(right)))
        for offset in range(3):
            upper[2 - offset, offset:] = square.diagonal(offset)
        upper[2] += 1.0
        return solveh_banded(upper, right)


def lessen_sigma(
    sigma_mm: np.ndarray, fitted_mm: np.ndarray, smoothed_mm: np.ndarray, smoother: Smoother
) -> np.ndarray:
    """Sigma (T, 21) per axis of smoothed joints, from that of the fitted ones.

    What smoothing has taken out (of joints (T, 21, 3)) is no longer in the error. By its median, for in a
    brisk moment it is movement; and never more than it takes of an error that differs from frame to frame.
    """
    taken = np.square(fitted_mm - smoothed_mm).sum(axis=2)
    # Of three axes with variance v the median of the sum of squares is 2.37 v.
    variance = np.median(np.concatenate([taken[run] for run in smoother.runs]), axis=0) / 2.37
    return np.sqrt(sigma_mm**2 - np.minimum(variance, smoother.taken_share * sigma_mm**2))


def _get_bends(time_s: np.ndarray) -> sparse.csr_matrix:
    """Second differences (T - 2, T) at these times, each as of frames one typical interval apart."""
    steps = np.diff(time_s)
    before, after = steps[:-1], steps[1:]
    scale = 2.0 * float(np.median(steps)) ** 2 / (before + after)
    rows = np.stack([scale / before, -scale / before - scale / after, scale / after])
    shape = (len(time_s) - 2, len(time_s))
    return sparse.diags_array(list(rows), offsets=[0, 1, 2], shape=shape).tocsr()


def make_smoother(
    time_s: np.ndarray, lost: np.ndarray, noise_mm: float, options: FusionOptions
) -> Smoother | None:
    """The smoother for a recording's noise; None where there is nothing to smooth.

    Its strength is the lesser of two: what leaves ``smooth_gain`` of a movement at ``smooth_hz``, and the
    square of the noise over the bend of ``smooth_acceleration_m_s2`` in a frame, so that sharp points stay.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times, ascending.
    lost : ndarray (T,) bool
        Frames of long gaps, in which nothing is measured.
    noise_mm : float
        Typical true error of a joint by the points' noise, per axis.
    options : FusionOptions
        The constants.
    """
    if len(time_s) < 3:
        return None
    frame_s = float(np.median(np.diff(time_s)))
    slowness = (2.0 - 2.0 * np.cos(2.0 * np.pi * min(options.smooth_hz * frame_s, 0.5))) ** 2
    by_gain = (1.0 / options.smooth_gain - 1.0) / slowness
    by_motion = (noise_mm / (1000.0 * options.smooth_acceleration_m_s2 * frame_s**2)) ** 2
    kept = np.flatnonzero(~lost)
    broken = (np.diff(kept) > 1) | (np.diff(time_s[kept]) > options.max_gap_s)
    runs = np.split(kept, np.flatnonzero(broken) + 1)
    slices = tuple(slice(int(run[0]), int(run[-1]) + 1) for run in runs if len(run) >= 3)
    return Smoother(min(by_gain, by_motion), slices, time_s) if slices else None


# --- what passes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """How much of a small movement the fit and its smoothing pass.

    Attributes
    ----------
    hertz : ndarray (F,)
        Frequencies, ascending; the last a little under half the frame rate.
    gain : ndarray (2, F)
        Share of the amplitude that is left of a movement of the whole hand, and of a single finger: the mean
        of the four that are seen.
    bandwidth_hz : ndarray (2,)
        Where that share falls below 0.71 (-3 dB); half the frame rate where it nowhere does.
    """

    hertz: np.ndarray
    gain: np.ndarray
    bandwidth_hz: np.ndarray


def measure_response(
    objective: Objective, pose: Pose, smoother: Smoother | None, time_s: np.ndarray, lost: np.ndarray
) -> Response | None:
    """The linear response at the optimum to small movements of what the points show; None of short takes.

    Points that follow a movement d of the tangent coordinates pull at the pose by ``H_points d``, and it
    gives way by ``H^-1 H_points d`` with H the curvature of the whole objective; then the smoother.

    Parameters
    ----------
    objective : Objective
        With the weights that found the pose.
    pose : Pose
        The optimum, before it was smoothed.
    smoother : Smoother or None
        What is applied to it.
    time_s : ndarray (T,)
        Frame times.
    lost : ndarray (T,) bool
        Frames in which nothing is measured: they do not count.
    """
    frame_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else np.inf
    if (~lost).sum() * frame_s < 1.0 or frame_s > 0.2:
        return None
    hertz = np.geomspace(1.0, 0.45 / frame_s, _FREQUENCIES)
    bare = replace(objective, lambda_temp=0.0, lambda_anchor=0.0, lambda_axes=0.0)
    points = get_curvature(bare, pose).diagonal
    whole = get_curvature(objective, pose)
    ways = np.zeros((1 + len(_KNUCKLES), whole.diagonal.shape[1]))
    ways[0, :3] = 1.0
    for number, joint in enumerate(_KNUCKLES):
        ways[1 + number, 6 + 3 * joint : 9 + 3 * joint] = objective.axes.axes[joint, 2]
    wave = np.sin(2.0 * np.pi * np.outer(time_s, hertz))
    pull = np.einsum("tab,wb->taw", points, ways)
    told = np.einsum("wa,taw->w", ways[1:], pull[..., 1:])
    fingers = 1 + np.flatnonzero(told >= _LEAST_TOLD * told.max())
    right = torch.as_tensor(np.einsum("taw,tf->tawf", pull, wave).reshape(*pull.shape[:2], -1))
    factorise(whole.diagonal, whole.lower).solve_columns(right)
    found = right.numpy()
    if smoother is not None:
        found = smoother.filter(found.reshape(len(found), -1)).reshape(found.shape)
    found = found.reshape(*pull.shape, len(hertz))
    # Compared in mm of the joints, along the way that they were moved.
    moved = np.einsum("tka,wa->tkw", whole.joint_jacobian, ways)
    along = np.einsum("tkw,tka->taw", moved, whole.joint_jacobian)
    kept = np.where(lost, 0.0, 1.0)[:, None] * np.exp(-2j * np.pi * np.outer(time_s, hertz))
    left = np.einsum("taw,tawf,tf->wf", along, found, kept, optimize=True)
    put_in = np.einsum("tkw,tkw,tf,tf->wf", moved, moved, wave, kept, optimize=True)
    gain = np.abs(left / put_in)
    gain = np.stack([gain[0], gain[fingers].mean(axis=0)])
    nyquist = 0.5 / frame_s
    return Response(hertz, gain, np.array([_find_bandwidth(hertz, each, nyquist) for each in gain]))


def _find_bandwidth(hertz: np.ndarray, gain: np.ndarray, nyquist: float) -> float:
    """Where the gain first falls below half the power, between the frequencies by straight lines of logs."""
    below = np.flatnonzero(gain < _HALF_POWER)
    if not len(below):
        return nyquist
    at = int(below[0])
    if at == 0:
        return float(hertz[0])
    share = np.log(gain[at - 1] / _HALF_POWER) / np.log(gain[at - 1] / gain[at])
    return float(hertz[at - 1] * (hertz[at] / hertz[at - 1]) ** share)
