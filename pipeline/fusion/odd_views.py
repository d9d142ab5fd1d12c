"""Views that follow something else for a while: another hand, or this hand read as its mirror image.

All joints of such a view are wrong together, and they hang together as a hand's do, so weights joint by joint
settle on a compromise. Here the palm decides, view by view and before the fit. Each pair of views places it
in space; a pair is right if its rays meet, if what it places is shaped like a palm, and if that is where the
palm was before. A view whose points lie elsewhere is set aside. Of two views that contradict each other
nothing tells which is right, so neither is believed.

All errors are shares of the palm's length (wrist to the middle knuckle): another hand or a mirrored one is
off by a good part of that whatever the pictures' size, and points that are merely noisy are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import median_filter

from pipeline.fusion.exclusions import list_runs
from pipeline.fusion.initial import fill_points, get_joint_shapes
from pipeline.fusion.triangulate import project_norm, triangulate
from pipeline.hand.joints import PALM
from pipeline.hand.model import HandModel
from pipeline.results import VIEW_STATES, Camera

USED, OTHER_HAND, MIRRORED, DOUBTED, NOT_FILMING = VIEW_STATES

MAX_MISS = 0.3
"""A view whose palm lies further from where the others put it sees something else. The other hand and
neighbours lie 0.45 and more away; the embedded network's own palm at most 0.18, in dystonic phases too, and a
camera that has turned by 2 degrees adds 0.2."""

MAX_RAYS, MAX_SHAPE = 0.2, 0.17
"""A pair of views that misses each other, or a palm's shape, by more cannot both see this hand. The embedded
network: at most 0.1 and 0.06."""

MIRROR_TURN, MIN_KNUCKLES, MIRROR_MISS, MIRROR_SHIFT = -0.3, 0.2, 0.1, 0.35
"""A view is mirrored whose row of knuckles runs the other way by at least this share of its length, where
that is seen at all (not end-on), and whose points lie off, but not as a whole: another hand is elsewhere. The
embedded network's row never turned below +0.6."""

IN_PLACE = 0.2
"""A view whose palm lies no further off as a whole has this hand, wrongly read, and not another one."""

CLEAR = 0.03
"""By how much the right pair must be better than one with a view that it contradicts, to say who is wrong."""

MAX_SPEED, MEAN_SPEED, MIN_LEAP = 25.0, 5.0, 0.4
"""Of two views only: a palm that goes faster (palm lengths a second: 2.4 m/s), or for long at more than the
second (0.5 m/s), and by ``MIN_LEAP`` at least, has not gone there."""

WINDOW_S, SHORTEST_S, JOIN_S = 0.15, 0.15, 0.3
"""Errors are medians over the first: single wrong frames are for the robust weights, and so is what lasts for
less than the second. Stretches with less than the third between them are one."""

MAX_DOUBTED = 0.5
"""What is doubtful for more than this share of the recording is no matter of a while: then rig, clocks or the
hand itself are not as believed. That is for the quality to say, and taking everything out would hide it."""

MOST = 0.5
"""A view that is odd for a greater share of the recording than this may as well have moved."""

_SAID = 4
_SEEMS = {OTHER_HAND: "seems to follow another hand", MIRRORED: "reads this hand wrongly, as if mirrored,"}

_KNUCKLES = [5, 9, 13, 17]
_MIN_JOINTS, _MIN_PALM, _MIN_PLACE = 6, 4, 3
_UNSUPPORTED, _MOVED = 0.05, 0.1
_UNKNOWN = 9.0

_NO_PALM = 1e-6
"""Share of the model's size of a palm whose points all coincide: nothing is a share of its length."""


@dataclass(frozen=True)
class PalmErrors:
    """How well each pair of views places the palm, in shares of its length; NaN = not seen, and everywhere if
    the palm has no length.

    Attributes
    ----------
    pairs : tuple of (int, int)
        P pairs of the C views.
    rays : ndarray (P, T)
        How far the two views' rays miss each other.
    shape : ndarray (P, T)
        How far what they place is from a palm, turned and moved onto it.
    miss : ndarray (P, C, T)
        How far each view's points lie from where the pair puts them.
    turn : ndarray (P, C, T)
        The seen row of knuckles along the one that the pair puts there: 1 as it should be, -1 mirrored; NaN
        also where the row is seen end-on.
    shift : ndarray (P, C, T)
        How far each view's points lie off as a whole.
    place : ndarray (P, T, 3)
        The palm's middle, in the world.
    """

    pairs: tuple[tuple[int, int], ...]
    rays: np.ndarray
    shape: np.ndarray
    miss: np.ndarray
    turn: np.ndarray
    shift: np.ndarray
    place: np.ndarray

    def smooth(self, frames: int) -> PalmErrors:
        """Medians over so many frames; frames in which nothing is known stay NaN."""
        known = np.isfinite(self.rays)
        rays, miss = _smooth(self.rays, frames), _smooth(self.miss, frames)
        # Shape and turn need joints that may be hidden while others show: they hold meanwhile.
        shape = np.where(known, _smooth(self.shape, frames, hold=True), np.nan)
        turn = np.where(np.isfinite(miss), _smooth(self.turn, frames, hold=True), np.nan)
        place = np.moveaxis(_smooth(np.moveaxis(self.place, 2, 0), frames), 0, 2)
        return PalmErrors(self.pairs, rays, shape, miss, turn, _smooth(self.shift, frames), place)


def find_odd_views(
    cameras: tuple[Camera, ...], time_s: np.ndarray, points_px: np.ndarray, model: HandModel
) -> np.ndarray:
    """What each view follows, frame by frame.

    Parameters
    ----------
    cameras : tuple of Camera
        C; mirrored for a left hand.
    time_s : ndarray (T,)
        Common frame times.
    points_px : ndarray (C, T, 21, 2)
        NaN = not seen.
    model : HandModel
        For the palm's shape; its size is the recording's own, so a rig of wrong scale is no alarm.

    Returns
    -------
    ndarray (C, T) of str
        "used"; "other hand" or "mirrored": to be left out; "doubted": it contradicts the others, and there is
        no telling which is wrong. A view without points is "used".
    """
    state = np.full(points_px.shape[:2], USED, dtype="U10")
    if len(cameras) < 2 or len(time_s) < 2:
        return state
    step_s = float(np.median(np.diff(time_s)))
    frames = 2 * round(0.5 * WINDOW_S / step_s) + 1
    errors = measure_palms(cameras, points_px, model).smooth(frames)
    if not np.isfinite(errors.rays).any():
        return state
    state = _judge_pair(errors, step_s) if len(cameras) == 2 else _judge_views(errors, step_s)
    seen = np.isfinite(points_px).all(axis=3).any(axis=2)
    _tidy(state, step_s)
    if (state == DOUBTED)[seen].mean() > MAX_DOUBTED:
        state[state == DOUBTED] = USED
    state[~seen] = USED
    return state


def describe_odd_views(names: tuple[str, ...], time_s: np.ndarray, state: np.ndarray) -> list[str]:
    """What `find_odd_views` has found, in sentences that name the camera and the time on the common clock."""
    sentences = []
    for name, row in zip(names, state, strict=True):
        for kind in (OTHER_HAND, MIRRORED):
            times = _say_times(time_s, row == kind)
            if times and (row == kind).mean() > MOST:
                sentences.append(
                    f"Camera {name} sees something else than the others for most of the recording: has it "
                    "moved, is its clock wrong, or does it follow another hand? It was left out there."
                )
            elif times:
                sentences.append(f"Camera {name} {_SEEMS[kind]} {times}; it was left out there.")
    doubted = (state == DOUBTED).any(axis=0)
    if doubted.any():
        which = ", ".join(name for name, row in zip(names, state, strict=True) if (row == DOUBTED).any())
        sentences.append(
            f"Cameras {which} contradict each other {_say_times(time_s, doubted)}, and nothing tells which "
            "of them sees this hand: none is believed there."
        )
    return sentences


def _say_times(time_s: np.ndarray, mask: np.ndarray) -> str:
    runs = list_runs(mask)
    said = [f"from {time_s[start]:.1f} s to {time_s[stop - 1]:.1f} s" for start, stop in runs]
    more = f" and {len(said) - _SAID} times more" if len(said) > _SAID else ""
    return ", ".join(said[:_SAID]) + more


def measure_palms(cameras: tuple[Camera, ...], points_px: np.ndarray, model: HandModel) -> PalmErrors:
    """Place the hand by each pair of views and hold everything against that; as `find_odd_views`."""
    normal = np.stack([c.normalise(p) for c, p in zip(cameras, points_px, strict=True)])
    projections = np.stack([camera.projection for camera in cameras])
    pairs = tuple(combinations(range(len(cameras)), 2))
    placed = np.stack([_place(normal[list(pair)], projections[list(pair)]) for pair in pairs])
    palm = list(PALM)
    flat = get_joint_shapes(model)[0][palm]
    scale = _get_scale(flat, placed[:, :, palm])
    if scale < _NO_PALM:
        return _know_nothing(pairs, points_px.shape[:2])
    flat = flat * scale
    length_mm = float(np.linalg.norm(flat[PALM.index(9)] - flat[0]))
    held = [_compare(normal, projections, points, length_mm) for points in placed]
    miss, turn, shift = (np.stack(part) for part in zip(*held, strict=True))
    laid = [_lay_palm(flat, points) for points in placed[:, :, palm]]
    return PalmErrors(
        pairs=pairs,
        rays=np.stack([miss[number, list(pair)].max(axis=0) for number, pair in enumerate(pairs)]),
        shape=np.stack([off for off, _ in laid]) / length_mm,
        miss=miss,
        turn=turn,
        shift=shift,
        place=np.stack([middle for _, middle in laid]) / length_mm,
    )


def _know_nothing(pairs: tuple[tuple[int, int], ...], shape: tuple[int, int]) -> PalmErrors:
    views, frames = shape
    pair, each = np.full((len(pairs), frames), np.nan), np.full((len(pairs), views, frames), np.nan)
    return PalmErrors(pairs, pair, pair, each, each, each, np.full((len(pairs), frames, 3), np.nan))


def _place(normal: np.ndarray, projections: np.ndarray) -> np.ndarray:
    return triangulate(normal, projections, np.ones(normal.shape[:-1]))


def _get_scale(flat: np.ndarray, placed: np.ndarray) -> float:
    """The recording's palm by the model's: median of all distances (P, T, 15)."""
    i, j = np.triu_indices(len(flat), 1)
    ratio = np.linalg.norm(placed[:, :, i] - placed[:, :, j], axis=-1) / np.linalg.norm(
        flat[i] - flat[j], axis=-1
    )
    return float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else 1.0


def _compare(
    normal: np.ndarray, projections: np.ndarray, points_mm: np.ndarray, length_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``miss``, ``turn`` and ``shift`` (C, T) of `PalmErrors` for hands (T, 21, 3)."""
    put = project_norm(points_mm, projections)
    depth = np.einsum("ci,tji->ctj", projections[:, 2, :3], points_mm) + projections[:, 2, 3][:, None, None]
    scale = depth / length_mm
    off = (put - normal) * scale[..., None]
    both = np.isfinite(off).all(axis=3)
    enough = both.sum(axis=2) >= _MIN_JOINTS
    miss = np.where(enough, _median(np.linalg.norm(off, axis=3), axis=2), np.nan)
    shift = np.where(enough, np.linalg.norm(_median(off[:, :, list(PALM)], axis=2), axis=2), np.nan)
    both = both[:, :, _KNUCKLES]
    expected, seen = (_get_row((part * scale[..., None])[:, :, _KNUCKLES], both) for part in (put, normal))
    length = 3 * np.linalg.norm(expected, axis=-1)
    turn = (expected * seen).sum(axis=-1) / np.maximum((expected**2).sum(axis=-1), 1e-9)
    return miss, np.where(length > MIN_KNUCKLES, turn, np.nan), shift


def _get_row(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """From one knuckle to the next (C, T, 2): slope of the line through those that are known (C, T, 4)."""
    weight = known.astype(float)
    total = np.maximum(weight.sum(axis=2, keepdims=True), 1.0)
    number = np.arange(4.0)
    along = weight * (number - (weight * number).sum(axis=2, keepdims=True) / total)
    spread = (along**2).sum(axis=2)
    slope = np.einsum("ctj,ctjx->ctx", along, np.nan_to_num(points))
    return np.where(spread > 1.0, 1.0, np.nan)[..., None] * slope / np.maximum(spread, 1.0)[..., None]


def _lay_palm(flat: np.ndarray, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn and move a palm (6, 3) onto points (T, 6, 3) (Kabsch).

    Returns
    -------
    off : ndarray (T,)
        How far the points lie from it, without the worst: one wrong point is no other hand. NaN with few.
    middle : ndarray (T, 3)
        Its middle, whichever of its points were seen.
    """
    known = np.isfinite(points_mm).all(axis=-1)
    weight = known.astype(float)
    count = known.sum(axis=1)
    total = np.maximum(count, 1)[:, None]
    own = weight @ flat / total
    centre = (weight[..., None] * np.nan_to_num(points_mm)).sum(axis=1) / total
    source = (flat[None] - own[:, None]) * weight[..., None]
    target = (np.nan_to_num(points_mm) - centre[:, None]) * weight[..., None]
    u, _, vt = np.linalg.svd(np.einsum("tji,tjk->tik", source, target))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    turn = u @ vt
    squares = ((source @ turn - target) ** 2).sum(axis=-1)
    off = np.sqrt(np.sort(squares, axis=1)[:, :-1].sum(axis=1) / np.maximum(count - 1, 1))
    middle = centre + ((flat.mean(axis=0) - own)[:, None] @ turn)[:, 0]
    middle = np.where(count[:, None] >= _MIN_PLACE, middle, np.nan)
    return np.where(count >= _MIN_PALM, off, np.nan), middle


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    known = np.isfinite(values).any(axis=axis)
    out = np.full(known.shape, np.nan)
    moved = np.moveaxis(values, axis, -1)
    out[known] = np.nanmedian(moved[known], axis=-1)
    return out


def _smooth(values: np.ndarray, frames: int, hold: bool = False) -> np.ndarray:
    """Medians (..., T) over so many frames; what is not known stays so, or holds the nearest values."""
    out = np.full(values.shape, np.nan)
    index = np.arange(values.shape[-1])
    for at in np.ndindex(values.shape[:-1]):
        known = np.isfinite(values[at])
        if known.any():
            held = np.interp(index, index[known], values[at][known])
            smooth = median_filter(held, size=frames, mode="nearest")
            out[at] = smooth if hold else np.where(known, smooth, np.nan)
    return out


# --- the verdict ---------------------------------------------------------------------------------


def _judge_views(errors: PalmErrors, step_s: float) -> np.ndarray:
    """State (C, T) of three views or more."""
    n_views, frames = errors.miss.shape[1:]
    outside = np.array([[c not in pair for c in range(n_views)] for pair in errors.pairs])[:, :, None]
    elsewhere = outside & (errors.miss > MAX_MISS)
    turned = (errors.turn < MIRROR_TURN) & (errors.miss > MIRROR_MISS) & (errors.shift < MIRROR_SHIFT)
    mirrored = outside & (turned | (elsewhere & (errors.shift < IN_PLACE)))
    odd = elsewhere | mirrored  # (P, C, T)
    cost = np.nan_to_num(errors.rays + errors.shape, nan=_UNKNOWN)
    cost += _UNSUPPORTED * odd.sum(axis=1) + _MOVED * _get_moves(errors, odd)
    best = cost.argmin(axis=0)
    at = np.arange(frames)
    wrong = odd[best, :, at]  # (T, C)
    state = np.full((n_views, frames), USED, dtype="U10")
    state[wrong.T] = OTHER_HAND
    state[mirrored[best, :, at].T] = MIRRORED
    # A pair with a view in it that the best pair calls wrong is the other way to see it.
    member = ~outside[:, :, 0]
    rival = np.where((member[:, :, None] & wrong.T[None]).any(axis=1), cost, np.inf).min(axis=0)
    known = cost[best, at] < _UNKNOWN
    bad = (errors.rays[best, at] > MAX_RAYS) | (errors.shape[best, at] > MAX_SHAPE)
    unclear = rival - cost[best, at] < CLEAR
    for start, stop in list_runs(known & wrong.any(axis=1) & (bad | unclear)):
        if (stop - start) * step_s >= JOIN_S:  # for a moment, the better pair is believed all the same
            state[:, start:stop] = DOUBTED
    return state


def _get_moves(errors: PalmErrors, odd: np.ndarray) -> np.ndarray:
    """How far each pair (P, T) puts the palm from where it is in the frames without contradiction, 0 to 1."""
    where = _median(errors.place, axis=0)
    fine = ~odd.any(axis=(0, 1)) & np.isfinite(where).all(axis=1)
    if not fine.any():
        return np.zeros(errors.rays.shape)
    expected = fill_points(np.where(fine[:, None], where, np.nan))
    return np.nan_to_num(np.linalg.norm(errors.place - expected, axis=2), nan=1.0).clip(0.0, 1.0)


def _judge_pair(errors: PalmErrors, step_s: float) -> np.ndarray:
    """State (2, T) of two views: used or doubted."""
    doubted = (errors.rays[0] > MAX_RAYS) | (errors.shape[0] > MAX_SHAPE)
    place = np.where(doubted[:, None], np.nan, errors.place[0])
    doubted |= _find_leaps(place, step_s)
    return np.where(np.broadcast_to(doubted, (2, len(doubted))), DOUBTED, USED).astype("U10")


def _find_leaps(place: np.ndarray, step_s: float) -> np.ndarray:
    """Frames (T,) bool in which the palm (T, 3) is where it cannot have gone.

    The way falls into stretches without a leap; the longest is believed first, then each other one that can
    be reached from those believed before and after it.
    """
    known = np.flatnonzero(np.isfinite(place).all(axis=1))
    out = np.zeros(len(place), dtype=bool)
    if len(known) < 2:
        return out
    leap = ~_can_reach(place[known[:-1]], place[known[1:]], step_s * np.diff(known))
    hidden = step_s * np.diff(known) > SHORTEST_S
    stretches = np.split(known, np.flatnonzero(leap | hidden) + 1)
    believed: list[np.ndarray] = []
    for stretch in sorted(stretches, key=len, reverse=True):
        ends = [(other[-1], stretch[0]) for other in believed if other[-1] < stretch[0]][-1:]
        ends += [(stretch[-1], other[0]) for other in believed if other[0] > stretch[-1]][:1]
        if all(_can_reach(place[a], place[b], step_s * (b - a)) for a, b in ends):
            believed = sorted([*believed, stretch], key=lambda part: int(part[0]))
        else:
            out[stretch] = True
    return out


def _can_reach(start: np.ndarray, end: np.ndarray, seconds: np.ndarray | float) -> np.ndarray:
    way = np.linalg.norm(end - start, axis=-1)
    return way <= np.maximum(np.minimum(MAX_SPEED * seconds, 2 * MIN_LEAP + MEAN_SPEED * seconds), MIN_LEAP)


def _tidy(state: np.ndarray, step_s: float) -> None:
    """In place: join stretches of one view between which there is little, and forget short ones."""
    for row in state:
        for start, stop in list_runs(row != USED):
            if (stop - start) * step_s < SHORTEST_S - 1e-9:
                row[start:stop] = USED
        for start, stop in list_runs(row == USED):
            if start > 0 and stop < len(row) and (stop - start) * step_s < JOIN_S:
                row[start:stop] = row[start - 1]
        for start, stop in list_runs(row != USED):
            kinds, counts = np.unique(row[start:stop], return_counts=True)
            row[start:stop] = kinds[counts.argmax()]
