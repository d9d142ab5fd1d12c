"""Speed, acceleration and jerk of the joints, each with its noise (seed 000 section 9).

Derivatives are those of a local polynomial (Savitzky and Golay 1964), its window stated in ms for 60 frames/s
and elsewhere as long as keeps the same band (2 to 5 % shorter above), so that recordings at different frame
rates are measured alike. The window's last sample on either side counts with the share of it that lies
inside; at 60 frames/s this is scipy's ``savgol_coeffs`` exactly.

Noise: a linear filter turns independent noise ``sigma`` into ``sigma * ||kernel||``; with 1 mm per axis at
60 frames/s that is 0.92 m/s² and 26 m/s³ per axis. What the fusion's smoothing leaves is not independent:
little of it lies above the band, where it shows beside the movement. So both the noise that is seen and what
a derivative makes of it are worked out for the spectrum that the fusion passes (`HandTrack.response_gain`).
The sigma is the jitter that the recording itself shows in its quietest second, raised where the fusion says
that a frame is worse than those were. What the fusion states is an error's whole size, most of which lasts
for many frames and moves no derivative; it is used as it is only where no second is quiet enough to measure.

Time is brought onto an even grid once. Frames not measured are left out of the fit up to 100 ms on end,
with a wider window where too little is left; longer gaps stay gaps, and where a window reaches into one, or
over the ends of the recording, the derivative is NaN.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline
from scipy.ndimage import binary_dilation, correlate1d, label
from scipy.optimize import brentq

from pipeline.errors import MeasureError
from pipeline.fusion.options import FusionOptions
from pipeline.hand.joints import PALM

ACCELERATION_WINDOW_S = 11 / 60
"""183 ms, order 4, for acceleration; also for speed and for the positions that angles are taken from."""

ACCELERATION_ORDER = 4
JERK_WINDOW_S = 15 / 60
JERK_ORDER = 5

BAND_FPS = 60.0
"""The windows hold for this frame rate; at others they are as long as keeps the same band."""

MAX_GAP_S = 0.1
"""Frames missing for longer than this stay missing."""

MIN_FPS_ANY = 30.0
"""Below this frame rate no movement is measured (less one part in a hundred: 29.97 counts as 30)."""

MIN_FPS_DERIVATIVES = 50.0
"""Below this frame rate acceleration and jerk are withheld."""

FILTER_NAME = (
    "local polynomial: order 4 over 183 ms (speed, acceleration), order 5 over 250 ms (jerk), "
    f"of a fit that keeps {FusionOptions.smooth_gain:.0%} of {FusionOptions.smooth_hz:g} Hz"
)
"""Whatever is different here makes speeds, accelerations and jerks that cannot be compared."""

_FPS_TOLERANCE = 0.99
_TIME_ROUNDING_S = 1.1e-3
_MAX_NOISE_GAIN = 2.0
_WINDOW_SHARES = (0.7, 1.2)
_HAMPEL_WINDOW_S = 7 / 60
_HAMPEL_MADS = 3 * 1.4826
_HAMPEL_FLOOR_MM = 3.0
_HAMPEL_FLOOR_SIGMAS = 5.0
_CHUNK = 20_000
_M_PER_MM = 1e-3
_FREQUENCIES = 512
_LEAST_TAKEN = 0.02
"""Of less of the jitter than this nothing is told."""


@dataclass(frozen=True)
class Kinematics:
    """The movement of the 21 joints of one hand, at the hand's own frame times.

    Attributes
    ----------
    time_s : ndarray (T,)
        On the reference camera's clock.
    fps : float
        Nominal frame rate worked out from the times, dropped frames allowed for.
    joints_mm : ndarray (T, J, 3)
        Filtered positions; where the filter's window is not whole, the positions as measured. NaN = not
        measured.
    speed, acceleration, jerk : ndarray (T, J)
        Norms in m/s, m/s², m/s³. NaN = cannot be told.
    speed_noise, acceleration_noise, jerk_noise : ndarray (T, J)
        Standard deviation of each per axis, same units; NaN where the value is.
    measured_sigma_mm : ndarray (J,)
        Jitter per axis on the quietest second; NaN if there is none.
    reasons : tuple of str
        What was withheld and why, in words.
    """

    time_s: np.ndarray
    fps: float
    joints_mm: np.ndarray
    speed: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray
    speed_noise: np.ndarray
    acceleration_noise: np.ndarray
    jerk_noise: np.ndarray
    measured_sigma_mm: np.ndarray
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """An even grid of times, and where the frames lie on it.

    Attributes
    ----------
    fps : float
        Grid points a second.
    size : int
        Grid points K.
    place : ndarray (T,)
        Position of each frame on the grid, in grid points (whole numbers if `is_regular`).
    is_regular : bool
        The frames lie on grid points, but for rounding of their times.
    """

    fps: float
    size: int
    place: np.ndarray
    is_regular: bool


def make_grid(time_s: np.ndarray) -> Grid:
    """The even grid that frame times (T,) follow: their nominal rate, dropped frames allowed for.

    Raises
    ------
    MeasureError
        Fewer than two frames, or times that do not increase.
    """
    time_s = np.asarray(time_s, dtype=float)
    steps = np.diff(time_s)
    if len(time_s) < 2 or not np.isfinite(time_s).all() or (steps <= 0).any():
        raise MeasureError(
            f"The hand has {len(time_s)} frames, or their times do not increase.",
            "Movement needs a recording of at least two frames with the times that the camera wrote.",
        )
    typical = float(np.median(steps))
    # A straight line through slots and times: rounded times (ms in some containers) are no jitter.
    slots = np.concatenate([[0.0], np.cumsum(np.maximum(np.round(steps / typical), 1.0))])
    slope, start = np.polyfit(slots, time_s, 1) if len(time_s) > 2 else (typical, time_s[0])
    misfit = np.abs(time_s - (start + slope * slots)).max()
    if slope > 0 and misfit <= max(_TIME_ROUNDING_S, 0.02 * slope):
        return Grid(1.0 / float(slope), int(slots[-1]) + 1, slots, True)
    many = min(30, len(steps))
    step = float(np.median(time_s[many:] - time_s[:-many])) / many
    place = (time_s - time_s[0]) / step
    return Grid(1.0 / step, int(np.floor(place[-1] + 1e-9)) + 1, place, False)


@dataclass(frozen=True)
class Kernel:
    """A local polynomial's derivative on a whole window.

    Attributes
    ----------
    weights : ndarray (W,)
        Value = sum of weights times samples, W odd, centre in the middle; per s^order of the derivative.
    offsets_s : ndarray (W,)
        Times of the samples from the centre.
    counts : ndarray (W,)
        How much each sample counts in the fit: 1, at the ends the share that lies inside the window.
    order, derivative : int
        Of the polynomial, and of the derivative.
    window_s : float
        Length of the window at `BAND_FPS`.
    """

    weights: np.ndarray
    offsets_s: np.ndarray
    counts: np.ndarray
    order: int
    derivative: int
    window_s: float

    @property
    def norm(self) -> float:
        """Standard deviation of the result for independent noise of 1: the noise gain."""
        return float(np.linalg.norm(self.weights))


def make_kernel(fps: float, window_s: float, order: int, derivative: int) -> Kernel:
    """The kernel of a derivative at ``fps`` frames a second, for a window of ``window_s`` at `BAND_FPS`.

    At another rate the window is as long as keeps the same band: with more samples in it, the same length
    takes up to a fifth more of the movement at 10 Hz.
    """
    return _shape_kernel(fps, window_s, _match_band(fps, window_s, order, derivative), order, derivative)


def _shape_kernel(fps: float, window_s: float, length_s: float, order: int, derivative: int) -> Kernel:
    """The kernel of a window of ``length_s``, named by the ``window_s`` that was asked for."""
    half = length_s * fps / 2
    reach = max(int(np.ceil(half - 0.5 - 1e-9)), (order + 1) // 2)
    samples = np.arange(-reach, reach + 1)
    counts = np.clip(half - np.abs(samples) + 0.5, 0.0, 1.0)
    # A window too short for the order (few frames a second) is widened to an exact fit, and is no filter
    # then.
    counts = np.where(np.abs(samples) <= (order + 1) // 2, np.maximum(counts, 1e-3), counts)
    offsets = samples / fps
    weights = _fit_weights(offsets, counts[None], order, derivative)[0]
    return Kernel(weights, offsets, counts, order, derivative, window_s)


@functools.lru_cache(maxsize=256)
def _match_band(fps: float, window_s: float, order: int, derivative: int) -> float:
    """The window in s that halves the power at ``fps`` where ``window_s`` does at `BAND_FPS`."""
    if fps == BAND_FPS:
        return window_s

    def excess(hertz: float, rate: float, length_s: float) -> float:
        kernel = _shape_kernel(rate, window_s, length_s, order, derivative)
        return _take_gain(kernel, hertz) - np.sqrt(0.5)

    hertz = brentq(lambda hertz: excess(hertz, BAND_FPS, window_s), 0.2 / window_s, 2.0 / window_s)
    ends = [share * window_s for share in _WINDOW_SHARES]
    short, long = (excess(hertz, fps, length_s) for length_s in ends)
    if short * long > 0:  # too few frames for this band: the nearest that can be had
        return ends[0] if abs(short) < abs(long) else ends[1]
    return float(brentq(lambda length_s: excess(hertz, fps, length_s), *ends, xtol=1e-6))


def _take_gain(kernel: Kernel, hertz: float) -> float:
    """Share of the true derivative that the kernel leaves of a movement at ``hertz``."""
    turn = 2j * np.pi * hertz
    return float(np.real(kernel.weights @ np.exp(turn * kernel.offsets_s) / turn**kernel.derivative))


def _fit_weights(offsets_s: np.ndarray, counts: np.ndarray, order: int, derivative: int) -> np.ndarray:
    """Weights (N, W) of the derivative at 0 of least-squares polynomials, one for each row of counts."""
    scale = np.abs(offsets_s).max()
    powers = (offsets_s / scale)[:, None] ** np.arange(order + 1)
    normal = np.einsum("nw,wp,wq->npq", counts, powers, powers)
    pick = np.zeros(order + 1)
    pick[derivative] = float(np.prod(np.arange(1, derivative + 1))) / scale**derivative
    solved = np.linalg.solve(normal, np.broadcast_to(pick, (len(counts), order + 1))[..., None])[..., 0]
    return np.einsum("np,wp->nw", solved, powers) * counts


def differentiate(values: np.ndarray, kernel: Kernel, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Filter or differentiate series on an even grid, missing samples left out of the fit.

    Parameters
    ----------
    values : ndarray (K, J, 3)
        Series on the grid; a sample is missing if any of its 3 values is NaN.
    kernel : Kernel
        From `make_kernel`.
    fps : float
        Grid points a second.

    Returns
    -------
    result : ndarray (K, J, 3)
        NaN within the window's reach of a gap over `MAX_GAP_S` or of the series' ends. Where missing samples
        would make the noise more than twice that of a whole window, a window wider by `MAX_GAP_S` is used;
        where even that is too little, NaN.
    gain : ndarray (K, J)
        The noise gain: `Kernel.norm`, or more where samples were missing; NaN where the result is.
    """
    present = np.isfinite(values).all(axis=2)
    reach = len(kernel.weights) // 2
    filled = np.where(present[..., None], values, 0.0)
    result = correlate1d(filled, kernel.weights, axis=0, mode="constant")
    gain = np.full(present.shape, kernel.norm)
    allowed = ~_near_gaps(present, reach, MAX_GAP_S * fps)
    missing = correlate1d((~present).astype(float), np.ones(2 * reach + 1), axis=0, mode="constant") > 0.5
    _refit(filled, present, np.argwhere(missing & allowed), kernel, result, gain)
    # Where too little is left, the window is widened by the longest gap that is bridged.
    wide = make_kernel(fps, kernel.window_s + MAX_GAP_S, kernel.order, kernel.derivative)
    weak = missing & allowed & (gain > _MAX_NOISE_GAIN * kernel.norm)
    _refit(filled, present, np.argwhere(weak), wide, result, gain)
    bad = ~allowed | (gain > _MAX_NOISE_GAIN * kernel.norm)
    result[bad] = np.nan
    gain[bad] = np.nan
    return result, gain


def _near_gaps(present: np.ndarray, reach: int, longest: float) -> np.ndarray:
    """Where a window of ``reach`` samples each side meets a gap over ``longest``, or the ends: (K, J)."""
    blocked = np.zeros_like(present)
    for joint in range(present.shape[1]):
        runs, count = label(~present[:, joint])
        if count:
            lengths = np.bincount(runs.ravel())
            too_long = lengths > longest + 1e-6
            too_long[0] = False
            blocked[:, joint] = too_long[runs]
    if reach:
        blocked = binary_dilation(blocked, np.ones((2 * reach + 1, 1), dtype=bool))
        blocked[:reach] = True
        blocked[len(blocked) - reach :] = True
    return blocked


def _refit(
    filled: np.ndarray,
    present: np.ndarray,
    where: np.ndarray,
    kernel: Kernel,
    result: np.ndarray,
    gain: np.ndarray,
) -> None:
    """Fit again without the missing samples at points and joints ``where`` (N, 2); fills both outputs."""
    reach = len(kernel.weights) // 2
    span = np.arange(-reach, reach + 1)
    for start in range(0, len(where), _CHUNK):
        at, joint = where[start : start + _CHUNK].T
        rows = at[:, None] + span
        inside = (rows >= 0) & (rows < len(present))
        rows = rows.clip(0, len(present) - 1)
        counts = kernel.counts * (inside & present[rows, joint[:, None]])
        enough = (counts > 0.01).sum(axis=1) > kernel.order
        gain[at[~enough], joint[~enough]] = np.inf
        at, joint, rows, counts = at[enough], joint[enough], rows[enough], counts[enough]
        if not len(at):
            continue
        weights = _fit_weights(kernel.offsets_s, counts, kernel.order, kernel.derivative)
        result[at, joint] = np.einsum("nw,nwc->nc", weights, filled[rows, joint[:, None]])
        gain[at, joint] = np.linalg.norm(weights, axis=1)


def compute_kinematics(
    time_s: np.ndarray,
    joints_mm: np.ndarray,
    joint_sigma_mm: np.ndarray,
    response_hz: np.ndarray | None = None,
    response_gain: np.ndarray | None = None,
) -> Kinematics:
    """Speed, acceleration and jerk of joints, with their noise.

    Parameters
    ----------
    time_s : ndarray (T,)
        Frame times, increasing; uneven times are resampled once to their nominal rate.
    joints_mm : ndarray (T, J, 3)
        Positions in the world. NaN = not measured.
    joint_sigma_mm : ndarray (T, J)
        Standard deviation per axis; NaN = not known (the measured jitter alone is used).
    response_hz, response_gain : ndarray (F,) and (2, F), optional
        What was passed of the 21 joints' jitter at each frequency, of the palm's and of the fingers', as in
        `pipeline.results.HandTrack`; by default all of it.

    Raises
    ------
    MeasureError
        Fewer than two frames, or times that do not increase.
    """
    grid = make_grid(time_s)
    joints = np.where(np.isfinite(joints_mm).all(axis=2)[..., None], joints_mm, np.nan).astype(float)
    places = _to_grid(joints, grid, time_s)
    sigma = _to_grid(np.asarray(joint_sigma_mm, dtype=float)[..., None], grid, time_s)[..., 0]
    places[_find_outliers(places, sigma, grid.fps)] = np.nan

    smooth = make_kernel(grid.fps, ACCELERATION_WINDOW_S, ACCELERATION_ORDER, 0)
    kernels = {
        "speed": make_kernel(grid.fps, ACCELERATION_WINDOW_S, ACCELERATION_ORDER, 1),
        "acceleration": make_kernel(grid.fps, ACCELERATION_WINDOW_S, ACCELERATION_ORDER, 2),
        "jerk": make_kernel(grid.fps, JERK_WINDOW_S, JERK_ORDER, 3),
    }
    smoothed, _ = differentiate(places, smooth, grid.fps)
    power = _get_jitter_power(response_hz, response_gain, grid.fps, joints.shape[1])
    values, gains = {}, {}
    for name, kernel in kernels.items():
        vectors, gain = differentiate(places, kernel, grid.fps)
        values[name] = np.sqrt(np.einsum("kjc,kjc->kj", vectors, vectors)) * _M_PER_MM
        share = np.sqrt(power @ np.abs(_transform(kernel)) ** 2) / kernel.norm
        gains[name] = gain * share * _M_PER_MM
    quiet = _find_quiet_second(values["speed"], grid.fps)
    taken = power @ np.abs(1.0 - _transform(smooth)) ** 2
    measured = _measure_sigma(places, smoothed, taken, quiet, grid.fps)
    used = _choose_sigma(sigma, measured, quiet)
    noise = {name: gains[name] * used for name in kernels}
    reasons = _withhold(values, noise, grid.fps)
    raw_or_smooth = np.where(np.isfinite(smoothed), smoothed, places)
    return Kinematics(
        time_s=np.asarray(time_s, dtype=float),
        fps=grid.fps,
        joints_mm=_from_grid(raw_or_smooth, grid),
        speed=_from_grid(values["speed"], grid),
        acceleration=_from_grid(values["acceleration"], grid),
        jerk=_from_grid(values["jerk"], grid),
        speed_noise=_from_grid(noise["speed"], grid),
        acceleration_noise=_from_grid(noise["acceleration"], grid),
        jerk_noise=_from_grid(noise["jerk"], grid),
        measured_sigma_mm=measured,
        reasons=reasons,
    )


def _withhold(values: dict[str, np.ndarray], noise: dict[str, np.ndarray], fps: float) -> tuple[str, ...]:
    """Blank what the frame rate does not carry; returns the reasons."""
    withheld: list[str] = []
    if fps < _FPS_TOLERANCE * MIN_FPS_ANY:
        withheld = list(values)
        reason = f"No movement is measured at {fps:.1f} frames/s; it takes at least {MIN_FPS_ANY:.0f}."
    elif fps < _FPS_TOLERANCE * MIN_FPS_DERIVATIVES:
        withheld = ["acceleration", "jerk"]
        reason = (
            f"Acceleration and jerk are withheld: {fps:.1f} frames/s, and they take at least "
            f"{MIN_FPS_DERIVATIVES:.0f}."
        )
    for name in withheld:
        values[name][:] = np.nan
        noise[name][:] = np.nan
    return (reason,) if withheld else ()


def _to_grid(values: np.ndarray, grid: Grid, time_s: np.ndarray) -> np.ndarray:
    """Series (T, J, C) onto the grid (K, J, C): placed, or by cubic splines where times are uneven."""
    out = np.full((grid.size, *values.shape[1:]), np.nan)
    if grid.is_regular:
        out[grid.place.astype(int)] = values
        return out
    points = np.arange(grid.size)
    longest = MAX_GAP_S * grid.fps + 1.0
    for joint in range(values.shape[1]):
        known = np.isfinite(values[:, joint]).all(axis=1)
        place = grid.place[known]
        if len(place) < 4:
            continue
        spline = CubicSpline(place, values[known, joint], extrapolate=False)
        after = np.searchsorted(place, points, side="right").clip(1, len(place) - 1)
        in_gap = (place[after] - place[after - 1]) > longest
        out[:, joint] = np.where(in_gap[:, None], np.nan, spline(points))
    return out


def _from_grid(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Series (K, ...) on the grid at the frames (T, ...): picked, or linearly between grid points."""
    if grid.is_regular:
        return values[grid.place.astype(int)]
    before = np.floor(grid.place).astype(int).clip(0, grid.size - 2)
    share = (grid.place - before).reshape(-1, *[1] * (values.ndim - 1))
    mixed = values[before] * (1 - share) + values[before + 1] * share
    return np.where(share > 1 + 1e-9, np.nan, mixed)  # a last frame past the grid is not extrapolated


def _find_outliers(places: np.ndarray, sigma: np.ndarray, fps: float) -> np.ndarray:
    """Hampel's rule on every coordinate (K, J, 3) over 117 ms: frames (K, J) that jump away and back.

    The median absolute deviation of a resting hand is almost nothing, hence the floor: 3 mm and 5 sigma.
    Below `MIN_FPS_DERIVATIVES` none are looked for: a brisk movement there lasts no longer than a jump does.
    """
    if fps < _FPS_TOLERANCE * MIN_FPS_DERIVATIVES:
        return np.zeros(places.shape[:2], dtype=bool)
    reach = max(round((_HAMPEL_WINDOW_S * fps - 1) / 2), 2)
    flat = places.reshape(len(places), -1)
    middle = pd.DataFrame(flat).rolling(2 * reach + 1, center=True, min_periods=reach + 1).median().to_numpy()
    floor = np.fmax(_HAMPEL_FLOOR_MM, _HAMPEL_FLOOR_SIGMAS * np.nan_to_num(sigma))
    # The deviations of a whole window are only worked out where something is far enough to matter.
    at, column = np.nonzero(np.abs(flat - middle) > np.repeat(floor, 3, axis=1))
    padded = np.pad(flat, ((reach, reach), (0, 0)), constant_values=np.nan)
    windows = padded[at[:, None] + np.arange(2 * reach + 1), column[:, None]]
    centre = middle[at, column]
    spread = np.nanmedian(np.abs(windows - centre[:, None]), axis=1) if len(at) else np.zeros(0)
    jumps = np.abs(flat[at, column] - centre) > _HAMPEL_MADS * spread
    out = np.zeros(flat.shape, dtype=bool)
    out[at[jumps], column[jumps]] = True
    return np.asarray(out.reshape(places.shape).any(axis=2))


def _find_quiet_second(speed: np.ndarray, fps: float) -> slice:
    """The second in which the hand moves least, of those measured for 80 %; empty if there is none."""
    length = round(fps)
    squared = pd.DataFrame(speed**2).rolling(length, min_periods=int(np.ceil(0.8 * length))).mean()
    movement = squared.mean(axis=1, skipna=True).to_numpy()[length - 1 :]
    if not np.isfinite(movement).any():
        return slice(0, 0)
    start = int(np.nanargmin(movement))
    return slice(start, start + length)


def _transform(kernel: Kernel) -> np.ndarray:
    """The kernel's transfer at `_FREQUENCIES` frequencies (F,), even from 0 to half the frame rate."""
    reach = len(kernel.weights) // 2
    turns = np.outer(np.arange(_FREQUENCIES) + 0.5, np.arange(-reach, reach + 1)) * np.pi / _FREQUENCIES
    return np.exp(1j * turns) @ kernel.weights


def _get_jitter_power(
    response_hz: np.ndarray | None, response_gain: np.ndarray | None, fps: float, n_joints: int
) -> np.ndarray:
    """Share of the joints' jitter at each of the frequencies of `_transform`: (J, F), rows sum to 1."""
    if response_hz is None or response_gain is None:
        return np.full((n_joints, _FREQUENCIES), 1.0 / _FREQUENCIES)
    hertz = (np.arange(_FREQUENCIES) + 0.5) * 0.5 * fps / _FREQUENCIES
    palm, finger = (np.interp(hertz, response_hz, gain) ** 2 for gain in response_gain)
    power = np.stack([palm if joint in PALM else finger for joint in range(n_joints)])
    return power / power.sum(axis=1, keepdims=True)


def _measure_sigma(
    places: np.ndarray, smoothed: np.ndarray, taken: np.ndarray, quiet: slice, fps: float
) -> np.ndarray:
    """Jitter per axis (J,) in mm in the quiet second.

    The smoothing takes the share ``taken`` (J,) of the jitter's variance away, so the residual gives it back.
    NaN where less than half a second is measured, or next to nothing was smoothed.
    """
    taken = np.where(taken < _LEAST_TAKEN, np.nan, taken)
    residual = (places - smoothed)[quiet]
    count = np.isfinite(residual).all(axis=2).sum(axis=0)
    total = np.nansum(residual**2, axis=(0, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        sigma = np.sqrt(total / (3.0 * count * taken))
    return np.where(count >= 0.5 * fps, sigma, np.nan)


_LEAST_OF_STATED = 0.05
"""A second in which a film stood still, or its frames repeat, looks without jitter: no hand lies so still."""


def _choose_sigma(stated: np.ndarray, measured: np.ndarray, quiet: slice) -> np.ndarray:
    """The jitter (K, J) that noise is worked out from: see the module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # joints without a stated sigma are NaN, as meant
        usual = np.nanmedian(stated[quiet], axis=0) if quiet.stop else np.full(stated.shape[1], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        worse = np.fmax(stated / usual, 1.0)
    measured = np.where(np.isfinite(measured), np.fmax(measured, _LEAST_OF_STATED * usual), measured)
    return np.where(np.isfinite(measured), measured * np.where(np.isfinite(worse), worse, 1.0), stated)
