"""Where along a single camera's rays the joints lie that no other camera saw for a while.

Seen from one place, a bone of known length that starts at a known joint ends at one of two points of its ray,
nearer or further (Taylor 2000, CVIU 80:349): eight readings of a finger. Which it was is told by what a
finger can do (it bends one way, about hinges) and by the time before and after, where two cameras saw it: the
likeliest path through all frames (Viterbi). How likely the other readings are beside it (forward and
backward sums) says how sure the choice is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.fusion.evidence import Evidence
from pipeline.fusion.initial import (
    MIN_PNP,
    align_palm,
    clean_joints,
    fill_points,
    fill_rotations,
    get_flat_joints,
    place_from_one_view,
)
from pipeline.fusion.kinematics import FixedShapeHand
from pipeline.fusion.options import FusionOptions
from pipeline.hand.angles import find_palm_frame
from pipeline.hand.joints import FINGERS, PALM, PARTS
from pipeline.results import Camera, HandTrack

READINGS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
"""Eight readings of a finger (8, 3): each of its three bones ends nearer (-1) or further (+1)."""

_BEND_RAD, _BEND_SPREAD_RAD = 0.5, 0.6
"""What fingers do, as far as it helps to choose: hyperextension of 45 degrees is still likely enough."""

_SPREAD_RAD, _SIDEWAYS_RAD, _THUMB_SIDEWAYS_RAD = 0.35, 0.25, 0.6
"""A knuckle spreads, a finger bends about hinges, and so does the thumb, but its hinges turn with it."""

_SPEED_MM_S, _FLOOR_MM = 300.0, 6.0
"""How fast, and how far at least, joints seem to move against their knuckle from frame to frame: a reading of
a bone that lies across the view trembles by several mm. So far, too, it is from what two cameras say."""

_DEPTH_SHARE = 0.007
"""By such a share of its distance one camera alone misplaces a palm of known size: with wrong readings of the
fingers beside it 5 to 14 mm at 650 mm under 2 to 3 px of noise, of which the curvature alone states half."""

_POSTURE_S = 0.12
"""What is unlikely of a posture is so for about this time, and counts once in it."""

_CHOICES_HZ = 60.0
"""At more frames a second than this the readings are weighed in every second, third ... alone: between frames
so near in time it is the points' noise that moves, and what it costs would outweigh the anatomy."""


@dataclass(frozen=True)
class Lifted:
    """Triangulated joints, completed by what a single camera saw.

    Attributes
    ----------
    joints_mm : ndarray (T, 21, 3)
        World; NaN where still nothing is known.
    spread_mm : ndarray (T, 21)
        Root mean square distance of the joint's other readings, by how likely they are, and of the palm along
        the view; 0 where two cameras say where it is.
    """

    joints_mm: np.ndarray
    spread_mm: np.ndarray


def lift_joints(
    evidence: Evidence, hand: FixedShapeHand, joints_mm: np.ndarray, options: FusionOptions
) -> Lifted:
    """Complete triangulated joints where for more than ``hold_s`` one camera alone saw palm or finger.

    Shorter times are bridged better by the frames beside them.

    Parameters
    ----------
    evidence : Evidence
        As a right hand.
    hand : FixedShapeHand
        Its bones have the lengths.
    joints_mm : ndarray (T, 21, 3)
        Triangulated, in the world; NaN = not seen by two cameras.
    options : FusionOptions
        For ``hold_s`` and ``start_window_s``.
    """
    joints, spread = joints_mm.copy(), np.zeros(joints_mm.shape[:2])
    evidence = _steady(evidence, options)
    flat, longest = get_flat_joints(hand), round(options.hold_s * evidence.fps)
    lone = np.stack([_keep_long(column, longest) for column in np.isnan(joints).any(axis=2).T], axis=1)
    spread += _lift_palm(evidence, flat, joints, np.any(lone[:, PALM], axis=1))[:, None]
    whole = _complete_palm(flat, joints)
    for finger in FINGERS:
        below = PARTS[finger][1:]
        for rows in _find_runs(np.any(lone[:, below], axis=1)):
            found = _lift_finger(evidence, flat, whole, finger, rows, options)
            if found is not None:
                at = found[0][:, None], np.array(below)
                joints[at] = np.where(lone[at][..., None], found[1], joints[at])
                spread[at] = np.where(lone[at], np.hypot(found[2], spread[at]), spread[at])
    return Lifted(joints, spread)


def add_spread(track: HandTrack, spread_mm: np.ndarray | None) -> HandTrack:
    """The track with what a single camera leaves open in its sigmas (`Lifted.spread_mm`), if anything."""
    if spread_mm is None or not spread_mm.any():
        return track
    reading_mm = spread_mm / np.sqrt(3.0)  # a spread is one of place, a sigma is per axis
    return replace(
        track, joint_sigma_mm=np.hypot(track.joint_sigma_mm, reading_mm), reading_sigma_mm=reading_mm
    )


def _steady(evidence: Evidence, options: FusionOptions) -> Evidence:
    """Points without lone outliers and without short gaps, for where the fit starts."""
    longest = round(options.hold_s * evidence.fps)
    points = np.where((evidence.manual > 0)[..., None], evidence.points_px, np.nan)
    steady = []
    for view in points:
        clean = clean_joints(evidence.time_s, view, options.start_window_s)
        table = pd.DataFrame(clean.reshape(len(clean), -1))
        bridged = table.interpolate(limit_area="inside").to_numpy().reshape(view.shape)
        lost = np.stack([_keep_long(column, longest) for column in np.isnan(clean).any(axis=2).T], axis=1)
        steady.append(np.where(lost[..., None], np.nan, bridged))
    return replace(evidence, points_px=np.stack(steady))


def _find_runs(rows: np.ndarray) -> list[np.ndarray]:
    """Frames of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, rows, False].astype(int)))
    return [np.arange(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _keep_long(rows: np.ndarray, longest: int) -> np.ndarray:
    """Frames (T,) bool that belong to a run of more than ``longest``, or to one with nothing beside it."""
    out = np.zeros(len(rows), dtype=bool)
    for run in _find_runs(rows):
        out[run] = len(run) > longest or len(run) == len(rows)
    return out


def _choose_cameras(evidence: Evidence, joints: list[int], least: int) -> np.ndarray:
    """The camera (T,) that tells where these joints are: one that sees ``least`` of them; -1 without any.

    Of several the one that does so most often.
    """
    sees = np.isfinite(evidence.points_px[:, :, joints]).all(axis=3).sum(axis=2) >= least
    best = np.argmax(sees * sees.sum(axis=1, keepdims=True), axis=0)
    return np.where(sees.any(axis=0), best, -1)


def _lift_palm(evidence: Evidence, flat: np.ndarray, joints: np.ndarray, lone: np.ndarray) -> np.ndarray:
    """Put the palm's joints in frames ``lone`` (T,) bool where a camera says, from the frames beside on.

    Returns
    -------
    ndarray (T,)
        How far along the view the whole hand may lie from there, mm; 0 in the other frames.
    """
    palm = list(PALM)
    by = np.where(lone, _choose_cameras(evidence, palm, MIN_PNP), -1)
    orient, transl = align_palm(flat, joints)
    for rows in np.split(np.arange(len(by)), np.flatnonzero(np.diff(by)) + 1):
        if by[rows[0]] < 0:
            continue
        camera, start, step = evidence.cameras[by[rows[0]]], None, 1
        known = np.flatnonzero(np.isfinite(transl).all(axis=1))
        known = known[(known < rows[0]) | (known > rows[-1])]
        if len(known):
            beside = known[np.abs(known - rows.mean()).argmin()]
            placed = camera.R @ (transl[beside] + flat[0]) + camera.t_mm - flat[0]
            start, step = (camera.R @ orient[beside], placed), 1 if beside < rows[0] else -1
        points = camera.normalise(evidence.points_px[by[rows[0]], rows])
        turned, put = place_from_one_view(flat, points[::step], start)
        orient[rows] = camera.R.T @ turned[::step]
        transl[rows] = (put[::step] + flat[0] - camera.t_mm) @ camera.R - flat[0]
    missing = lone[:, None, None] & np.isnan(joints[:, palm])
    joints[:, palm] = np.where(missing, _place_palm(flat, orient, transl), joints[:, palm])
    centres = np.stack([-camera.R.T @ camera.t_mm for camera in evidence.cameras])[by]
    away_mm = np.linalg.norm(transl + flat[0] - centres, axis=1)
    return np.where(by >= 0, _DEPTH_SHARE * np.nan_to_num(away_mm), 0.0)


def _complete_palm(flat: np.ndarray, joints_mm: np.ndarray) -> np.ndarray:
    """Joints (T, 21, 3) with a palm in every frame, from what is known of it and of the frames beside."""
    orient, transl = align_palm(flat, joints_mm)
    known = np.isfinite(transl).all(axis=1)
    if not known.any():
        return joints_mm
    placed = _place_palm(flat, fill_rotations(orient, known), fill_points(transl))
    out = joints_mm.copy()
    out[:, PALM] = np.where(np.isnan(out[:, PALM]), placed, out[:, PALM])
    return out


def _place_palm(flat: np.ndarray, orient: np.ndarray, transl: np.ndarray) -> np.ndarray:
    """The palm's joints (T, 6, 3) of a hand so turned and placed, as smplx does it."""
    return np.einsum("tik,jk->tji", orient, flat[list(PALM)] - flat[0]) + (transl + flat[0])[:, None]


def _lift_finger(
    evidence: Evidence,
    flat: np.ndarray,
    joints: np.ndarray,
    finger: str,
    rows: np.ndarray,
    options: FusionOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The likeliest reading of one finger in frames ``rows`` and about them; None where nothing is known.

    ``joints`` (T, 21, 3) have a palm in every frame. What two cameras say in some frames, or of some of the
    finger's joints, decides between the readings of the rest.

    Returns
    -------
    frames : ndarray (F,) int
    joints_mm, spread_mm : ndarray (F, 3, 3), (F, 3)
    """
    below = PARTS[finger][1:]
    beside = round(options.hold_s * evidence.fps)
    frames = np.arange(max(rows[0] - beside, 0), min(rows[-1] + beside + 1, len(joints)))
    root = joints[frames, below[0] - 1]
    by = _choose_cameras(evidence, below, len(below))
    centres, rays = _follow_rays(evidence, by[frames], frames, below)
    lengths = np.linalg.norm(np.diff(flat[[below[0] - 1, *below]], axis=0), axis=1)
    read = _read_bones(centres, rays, root, lengths)
    measured = joints[frames[:, None], below][:, None]
    readings = np.where(np.isnan(measured), read, measured)
    there = np.isfinite(readings).all(axis=(1, 2, 3))
    if not there.any():
        return None
    frames, root, readings = frames[there], root[there], readings[there]
    off = np.nan_to_num(((read[there] - measured[there]) ** 2).sum(axis=3))
    step = max(round(evidence.fps / _CHOICES_HZ), 1)
    some = slice(None, None, step)
    cost = _weigh_anatomy(joints[frames[some]], readings[some], finger)
    cost /= max(_POSTURE_S * evidence.fps / step, 1.0)
    cost += np.log1p(off[some] / (3 * _FLOOR_MM**2)).sum(axis=2)
    moves = _weigh_moves((readings - root[:, None, None])[some], evidence.time_s[frames[some]])
    nearest = ((np.arange(len(frames)) + step // 2) // step).clip(max=len(cost) - 1)
    best, share = (part[nearest] for part in find_path(cost, moves))
    chosen = np.take_along_axis(readings, best[:, None, None, None], axis=1)
    away = ((readings - chosen) ** 2).sum(axis=3)
    steady = clean_joints(evidence.time_s[frames], chosen[:, 0], options.start_window_s)
    return frames, steady, np.sqrt((share[..., None] * away).sum(axis=1))


def _follow_rays(
    evidence: Evidence, by: np.ndarray, frames: np.ndarray, joints: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where the camera ``by`` (F,) of each frame stands (F, 3), and the joints' rays (F, J, 3) from there."""
    centres, rays = np.full((len(frames), 3), np.nan), np.full((len(frames), len(joints), 3), np.nan)
    for number, camera in enumerate(evidence.cameras):
        at = np.flatnonzero(by == number)
        centres[at] = -camera.R.T @ camera.t_mm
        rays[at] = _get_rays(camera, evidence.points_px[number][frames[at][:, None], joints])
    return centres, rays


def _get_rays(camera: Camera, points_px: np.ndarray) -> np.ndarray:
    """Directions (..., 3) in the world, of length 1; NaN = not seen."""
    flat = camera.normalise(points_px)
    rays = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1) @ camera.R
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def _read_bones(
    centres: np.ndarray, rays: np.ndarray, root_mm: np.ndarray, lengths_mm: np.ndarray
) -> np.ndarray:
    """All readings (T, 8, 3, 3) of a finger that starts at ``root_mm`` (T, 3); its rays (T, 3, 3) go out
    from ``centres`` (T, 3).

    A bone that looks longer than it is ends where its ray passes nearest.
    """
    out = np.empty((len(rays), len(READINGS), 3, 3))
    start = np.repeat((root_mm - centres)[:, None], len(READINGS), axis=1)
    for bone, length in enumerate(lengths_mm):
        ray = rays[:, None, bone]
        along = (start * ray).sum(axis=2)
        half = np.sqrt(np.maximum(length**2 - (start**2).sum(axis=2) + along**2, 0.0))
        start = (along + READINGS[:, bone] * half)[..., None] * ray
        out[:, :, bone] = start + centres[:, None]
    return out


def _weigh_anatomy(hand_mm: np.ndarray, readings: np.ndarray, finger: str) -> np.ndarray:
    """How unlikely each reading (T, 8) is for a finger: squares of sigmas, halved."""
    x, y, n = find_palm_frame(hand_mm)
    root = hand_mm[:, [PARTS[finger][0]]]
    bones = np.diff(
        np.concatenate([np.broadcast_to(root[:, None], (*readings.shape[:2], 1, 3)), readings], axis=2),
        axis=2,
    )
    bones /= np.linalg.norm(bones, axis=3, keepdims=True).clip(min=1e-9)
    if finger == "thumb":
        hinge, before, first = n, bones[:, :, 0], 1
    else:
        hinge, before, first = x, np.broadcast_to(y[:, None], bones[:, :, 0].shape), 0
    cost = np.zeros(readings.shape[:2])
    for bone in range(first, 3):
        axis = hinge[:, None] - before * (hinge[:, None] * before).sum(axis=2, keepdims=True)
        axis /= np.linalg.norm(axis, axis=2, keepdims=True).clip(min=1e-9)
        here = bones[:, :, bone]
        out = np.arcsin((here * axis).sum(axis=2).clip(-1, 1))
        bend = np.arctan2(-(np.cross(before, here) * axis).sum(axis=2), (before * here).sum(axis=2))
        sideways = _THUMB_SIDEWAYS_RAD if first else _SPREAD_RAD if bone == 0 else _SIDEWAYS_RAD
        cost += 0.5 * (out / sideways) ** 2 + 0.5 * ((bend - _BEND_RAD) / _BEND_SPREAD_RAD) ** 2
        before = here
    return cost


def _weigh_moves(relative_mm: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """How unlikely each change of reading from a frame to the next is: (T - 1, 8, 8).

    Heavy-tailed, as Student's distribution is: a leap is seldom, but then its length matters little.
    """
    scale = np.hypot(_SPEED_MM_S * np.diff(time_s), _FLOOR_MM)
    squares = ((relative_mm[:-1, :, None] - relative_mm[1:, None]) ** 2).sum(axis=(3, 4))
    return 1.5 * np.log1p(squares / (3 * scale[:, None, None] ** 2))


def find_path(cost: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest path through states, and how likely each state is.

    Parameters
    ----------
    cost : ndarray (T, S)
        Negative logarithm of each state's likelihood in each frame.
    moves : ndarray (T - 1, S, S)
        The same of going from a state to one of the next frame.

    Returns
    -------
    best : ndarray (T,) int
        Viterbi's path.
    share : ndarray (T, S)
        Probability of each state given all frames; sums to 1.
    """
    frames, states = cost.shape
    least, came = np.empty((frames, states)), np.zeros((frames, states), dtype=int)
    forward, backward = np.empty((frames, states)), np.zeros((frames, states))
    least[0], forward[0] = cost[0], -cost[0]
    for t in range(1, frames):
        total = least[t - 1][:, None] + moves[t - 1]
        came[t] = total.argmin(axis=0)
        least[t] = total.min(axis=0) + cost[t]
        forward[t] = np.logaddexp.reduce(forward[t - 1][:, None] - moves[t - 1], axis=0) - cost[t]
    best = np.empty(frames, dtype=int)
    best[-1] = least[-1].argmin()
    for t in range(frames - 2, -1, -1):
        best[t] = came[t + 1, best[t + 1]]
        backward[t] = np.logaddexp.reduce(backward[t + 1] - cost[t + 1] - moves[t], axis=1)
    both = forward + backward
    return best, np.exp(both - np.logaddexp.reduce(both, axis=1, keepdims=True))
