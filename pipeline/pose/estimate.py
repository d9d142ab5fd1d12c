"""Stage 3: the hand in one camera's video, frame by frame (seed 000, section 5).

Segments of the video are followed in parallel, sides are voted over the tracks, boxes are repaired, and the
repaired frames are measured again in their new boxes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import PoseError
from pipeline.hand.joints import N_JOINTS, Side
from pipeline.pose.augmentation import ONE_PASS, PASSES, measure_hand, state_offset_sigma
from pipeline.pose.crew import Bench, Crew
from pipeline.pose.protocols import Estimator
from pipeline.pose.regions import Region, bound_points
from pipeline.pose.registry import get_entry, require
from pipeline.pose.repair import MAX_GAP_S, interpolate, list_gaps, repair_boxes
from pipeline.pose.segments import SEGMENT_FRAMES, Segment, split
from pipeline.pose.tracking import (
    MIN_SCORE,
    HandTracker,
    Tracklet,
    assign_sides,
    count_votes,
    is_one_hand,
    rank_by_size,
)
from pipeline.progress import Reporter
from pipeline.results import Gap, PoseGuess, ViewTrack
from pipeline.session import Session
from pipeline.video import find_key_frames, probe, read_frames, read_times
from settings import get_settings

MAX_SKIP = 120
"""Frames decoded for nothing rather than seeking anew, which decodes from a key frame on."""

FIRST_SHARE = 0.95
"""Share of the stage's progress bar that following takes; the rest is the repaired frames."""

MAX_NAMED_GAPS = 4
"""A warning names so many gaps; the run's results list all."""

Passes = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Way:
    """How a video is worked: the same for all its pieces."""

    path: Path
    fps: float
    sides: tuple[Side, ...]
    preset: str
    passes: Passes
    one_thread: bool


@dataclass(frozen=True)
class _Repairs:
    """Frames of one stretch of the video that are measured again, and their regions (n, 4)."""

    way: _Way
    side: Side
    frames: np.ndarray
    regions: np.ndarray


@dataclass
class _Arrays:
    """One hand's measurements, growing into a `ViewTrack`; NaN = not measured, with 0 passes."""

    keypoints_px: np.ndarray
    sigma_px: np.ndarray
    score: np.ndarray
    guess: PoseGuess
    n_passes: np.ndarray

    @classmethod
    def make_blank(cls, n_frames: int) -> _Arrays:
        return cls(
            np.full((n_frames, N_JOINTS, 2), np.nan),
            np.full((n_frames, N_JOINTS), np.nan),
            np.full(n_frames, np.nan),
            PoseGuess.make_blank(n_frames),
            np.zeros(n_frames, dtype=int),
        )


def estimate_view(
    session: Session, camera: str, report: Reporter, workers: int = 0, passes: Passes = PASSES
) -> dict[Side, ViewTrack]:
    """Find and measure the hand or hands in a camera's video: seven passes a frame.

    The result is the same for any number of processes.

    Parameters
    ----------
    session : Session
        Says the video, the wanted side or sides, the preset, the detector and the estimator.
    camera : str
        One of ``session.cameras``.
    report : Reporter
        Hears of progress; cancelling ends the processes.
    workers : int
        Processes; 0 takes the setting, and that as many as there are cores.
    passes : sequence of (scale, degrees)
        Those of `pipeline.pose.augmentation`; with a single one sigma is NaN.

    Returns
    -------
    dict of ViewTrack
        One for each wanted side, in full-image px of the upright pictures, at the frames' own times.

    Raises
    ------
    PoseError
        No hand in the video; names the camera.
    ModelError
        The detector or estimator is not known or its files are missing.
    VideoError
        The video cannot be decoded.
    """
    settings = session.settings
    for role, name in (("detector", settings.detector), ("estimator", settings.estimator)):
        require(get_entry("detector" if role == "detector" else "estimator", name))
    path = session.videos[camera]
    info, time_s = probe(path), read_times(path)
    fps = float(info.fps)
    message = f"Finding the hand in camera {camera}"
    report.update(0.0, message)
    segments = split(find_key_frames(path))
    crew = Crew(settings.detector, settings.estimator, _count_workers(workers, len(segments)), report.warn)
    with crew:
        way = _Way(path, fps, settings.sides, settings.preset, passes, one_thread=crew.workers > 1)
        following = report.part(0.0, FIRST_SHARE)
        pieces = crew.run(
            _follow,
            [(way, segment) for segment in segments],
            lambda done: following.update(done / len(time_s), f"{message}, frame {done}"),
        )
        tracklets = [tracklet for piece in pieces for tracklet in piece]
        chosen = assign_sides(tracklets, settings.sides, fps)
        if len(settings.sides) == 1 and is_one_hand(tracklets):
            _explain_votes(tracklets, chosen[settings.sides[0]], settings.sides[0], time_s, camera, report)
        _require_hands(chosen, settings.sides, len(time_s), camera, path, report)
        tracks: dict[Side, ViewTrack] = {}
        estimator = crew.get_estimator()
        for side in settings.sides:
            arrays = _collect(chosen[side], len(time_s))
            found = np.isfinite(arrays.keypoints_px).all(axis=(1, 2))
            box, state, repairs = _plan_repairs(arrays, time_s, estimator, way, side)
            repairing = report.part(FIRST_SHARE, 1.0)
            _repair(crew, repairs, arrays, repairing, f"{message}, repairing its track")
            measured = np.isfinite(arrays.keypoints_px).all(axis=(1, 2))
            gaps = list_gaps(time_s, measured, found, state)
            if measured.any():  # a hand that never is there is said already
                _say_gaps(gaps, side, camera, report)
            tracks[side] = ViewTrack(
                time_s=time_s,
                box_px=box.astype(np.float32),
                box_state=state,
                keypoints_px=arrays.keypoints_px.astype(np.float32),
                sigma_px=arrays.sigma_px.astype(np.float32),
                score=arrays.score.astype(np.float32),
                size_px=info.size_px,
                guess=arrays.guess if np.isfinite(arrays.guess.betas).any() else None,
                gaps=gaps,
                offset_sigma_px=state_offset_sigma(estimator.offset_share, arrays.keypoints_px),
            )
    report.update(1.0, message)
    return tracks


def _count_workers(workers: int, n_segments: int) -> int:
    # Cores that this process may use; not every system can tell them from those that there are.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(workers or get_settings().workers or cores, n_segments), 1)


def _follow(bench: Bench, piece: tuple[_Way, Segment]) -> list[Tracklet]:
    """Follow every hand through a segment; runs in a worker process."""
    way, segment = piece
    tracker = HandTracker(bench.detector, bench.estimator, way.sides, way.preset, way.fps, ONE_PASS)
    for frame in read_frames(way.path, segment.lead, segment.stop, one_thread=way.one_thread):
        if frame.index < segment.start:
            tracker.step(frame.index, frame.image)
            continue
        tracker.passes = way.passes
        tracker.step(frame.index, frame.image)
        bench.tick()
    return [kept for tracklet in tracker.tracklets if (kept := tracklet.since(segment.start)).frames]


def _explain_votes(
    tracklets: Sequence[Tracklet],
    chosen: Sequence[Tracklet],
    side: Side,
    time_s: np.ndarray,
    camera: str,
    report: Reporter,
) -> None:
    """Say it when the only hand of a recording looks like the other side's, all the time or for a while."""
    other = "left" if side == "right" else "right"
    share = count_votes(chosen, side)
    if share < 0.5:
        report.warn(
            f"Camera {camera}: the network takes the hand for a {other} one in {1 - share:.0%} of the "
            f"frames, and the session says {side}. If it is the {other} hand, set side in session.toml."
        )
    left_out = [one for one in tracklets if one not in chosen]
    if left_out:
        frames = [frame for one in left_out for frame in one.frames]
        report.warn(
            f"Camera {camera}: from {time_s[min(frames)]:.2f} to {time_s[max(frames)]:.2f} s the {other} "
            f"hand is in the picture in place of the {side} one, in {len(frames)} frames. They are left out; "
            "for both hands set side to both in session.toml."
        )


def _collect(tracklets: Sequence[Tracklet], n_frames: int) -> _Arrays:
    """One hand's frames from its tracklets; where two claim a frame the larger one has it."""
    arrays = _Arrays.make_blank(n_frames)
    for tracklet in reversed(rank_by_size(tracklets)):
        arrays.keypoints_px[tracklet.frames] = tracklet.points_px
        arrays.sigma_px[tracklet.frames] = tracklet.sigma_px
        arrays.score[tracklet.frames] = tracklet.score
        arrays.n_passes[tracklet.frames] = tracklet.n_passes
        for frame, guess in zip(tracklet.frames, tracklet.guess, strict=True):
            arrays.guess.put(frame, guess)
    return arrays


def _require_hands(
    chosen: dict[Side, list[Tracklet]],
    sides: tuple[Side, ...],
    n_frames: int,
    camera: str,
    path: Path,
    report: Reporter,
) -> None:
    """Raise `PoseError` if no wanted hand is there; say it where one of two is missing, or seldom there."""
    if not any(chosen.values()):
        hand = "hand" if len(sides) > 1 else f"{sides[0]} hand"
        raise PoseError(
            f"No {hand} found in camera {camera} ({path.name}).",
            "Look whether the hand is in the picture, large enough and lit, and whether side in session.toml "
            f"is right; or take {path.name} out of the session.",
        )
    for side in sides:
        frames = {frame for tracklet in chosen[side] for frame in tracklet.frames}
        share = len(frames) / n_frames
        if share < 0.5:
            report.warn(
                f"Camera {camera}: the {side} hand is found in {share:.0%} of the frames only. "
                "Look whether it is in the picture and lit; another preset may help."
            )


def _say_gaps(gaps: Sequence[Gap], side: Side, camera: str, report: Reporter) -> None:
    """Warn of stretches without the hand."""
    if not gaps:
        return
    named = [f"{gap.from_s:.2f} to {gap.to_s:.2f} s ({gap.reason})" for gap in gaps[:MAX_NAMED_GAPS]]
    more = f", and {len(gaps) - len(named)} more" if len(gaps) > len(named) else ""
    total_s = sum(gap.to_s - gap.from_s for gap in gaps)
    report.warn(
        f"Camera {camera}: the {side} hand is missing for {total_s:.2f} s in all, in stretches longer than "
        f"{MAX_GAP_S * 1e3:.0f} ms: {', '.join(named)}{more}."
    )


def _plan_repairs(
    arrays: _Arrays, time_s: np.ndarray, estimator: Estimator, way: _Way, side: Side
) -> tuple[np.ndarray, np.ndarray, list[_Repairs]]:
    """Repaired boxes (T, 4), their states (T,), and the frames to measure again.

    These are the frames whose box was repaired, and those that had a single pass, because the hand was
    not yet known to be the wanted one. What was measured in a box that is none is forgotten.
    """
    box, state = repair_boxes(time_s, bound_points(arrays.keypoints_px))
    valid = state == "detected"
    repaired = (state == "interpolated") | (state == "outlier")
    regions = np.full((len(time_s), 4), np.nan)
    for frame in np.flatnonzero(valid):
        regions[frame] = estimator.frame_points(arrays.keypoints_px[frame]).to_array()
    regions[valid, 3] = np.unwrap(regions[valid, 3])
    regions = interpolate(time_s, regions, valid, repaired)
    again = repaired | (valid & (arrays.n_passes < len(way.passes)))
    for values in (arrays.keypoints_px, arrays.sigma_px, arrays.score):
        values[~valid | again] = np.nan
    arrays.guess.put(~valid | again, None)
    frames = np.flatnonzero(again)
    stretches = np.split(frames, np.flatnonzero(np.diff(frames) > MAX_SKIP) + 1) if len(frames) else []
    pieces = [
        part
        for stretch in stretches
        for part in np.array_split(stretch, max(len(stretch) // SEGMENT_FRAMES, 1))
    ]
    return box, state, [_Repairs(way, side, part, regions[part]) for part in pieces]


def _repair(crew: Crew, repairs: list[_Repairs], arrays: _Arrays, report: Reporter, message: str) -> None:
    total = sum(len(piece.frames) for piece in repairs)
    measured = crew.run(_measure_again, repairs, lambda done: report.update(done / max(total, 1), message))
    for piece, part in zip(repairs, measured, strict=True):
        arrays.keypoints_px[piece.frames] = part.keypoints_px
        arrays.sigma_px[piece.frames] = part.sigma_px
        arrays.score[piece.frames] = part.score
        arrays.guess.put(piece.frames, part.guess)


def _measure_again(bench: Bench, piece: _Repairs) -> _Arrays:
    """What is in given regions, n of them; runs in a worker process.

    Points are NaN where the network does not see a hand in the region; its score stays.
    """
    found = _Arrays.make_blank(len(piece.frames))
    rows = {int(frame): row for row, frame in enumerate(piece.frames)}
    way = piece.way
    first, last = int(piece.frames[0]), int(piece.frames[-1])
    for frame in read_frames(way.path, first, last + 1, one_thread=way.one_thread):
        row = rows.get(frame.index)
        if row is None:
            continue
        region = Region.from_array(piece.regions[row])
        hand = measure_hand(frame.image, region, bench.estimator, piece.side, way.preset, way.passes)
        found.score[row] = hand.score
        if hand.score >= MIN_SCORE:
            found.keypoints_px[row], found.sigma_px[row] = hand.points_px, hand.sigma_px
            found.guess.put(row, hand.guess)
        bench.tick()
    return found
