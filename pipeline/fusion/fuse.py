"""The door of the fusion: every camera's keypoints in, one hand a side in the world out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from pipeline.errors import FusionError
from pipeline.fusion.curvature import get_curvature
from pipeline.fusion.evidence import (
    Evidence,
    check_evidence,
    collect,
    leave_out_odd_views,
    triangulate_evidence,
)
from pipeline.fusion.kinematics import FixedShapeHand, fix_shape
from pipeline.fusion.lengths import compare_lengths
from pipeline.fusion.lifting import add_spread
from pipeline.fusion.masks import Masks, collect_masks
from pipeline.fusion.objective import Objective, Pose, choose_lambda_temp, make_axes_prior
from pipeline.fusion.offsets import fit_offsets
from pipeline.fusion.options import FusionOptions
from pipeline.fusion.silhouette import make_surface
from pipeline.fusion.single import add_place_sigma
from pipeline.fusion.solver import solve
from pipeline.fusion.start import make_guess
from pipeline.fusion.timing import choose_time_shifts, fit_time_shifts, take_off_time_shifts
from pipeline.fusion.track import make_track, mirror_track
from pipeline.fusion.with_masks import fit_with_masks
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.outline.results import Outline
from pipeline.progress import Progress, Reporter
from pipeline.results import HandTrack, Rig, SyncResult, ViewTrack
from pipeline.session import SessionSettings


def fuse(
    settings: SessionSettings,
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    model: HandModel,
    report: Reporter,
    options: FusionOptions | None = None,
    outlines: dict[str, dict[Side, Outline]] | None = None,
) -> dict[Side, HandTrack]:
    """Fuse the views into one hand a side (seed 000 section 7).

    Parameters
    ----------
    settings : SessionSettings
        ``reference`` names the camera whose frame times the result has.
    sync : SyncResult
        Clock of every camera.
    rig : Rig
        Lens and place of every camera.
    views : dict of dict of ViewTrack
        By camera and side.
    model : HandModel
        The right hand that is posed.
    report : Reporter
        Hears of progress and warnings.
    options : FusionOptions, optional
        By default the documented constants.
    outlines : dict of dict of Outline, optional
        By camera and side: masks that have a say where they can be trusted (`pipeline.fusion.with_masks`).

    Returns
    -------
    dict of HandTrack
        By side, float64. In gaps of more than ``max_gap_s`` in which no camera saw the hand everything is
        NaN. A camera's shorter ones are bridged in its pictures, with a sigma that says so and no part in the
        quality; joints that no camera saw are bridged by the model with quality 0.

    Raises
    ------
    FusionError
        A camera without a clock or a calibration, the reference camera without a track, or no side of
        which anything can be worked out. Names the camera or side.
    """
    options = options or FusionOptions(apply_time_shift=settings.apply_time_shift)
    cameras = _check_cameras(settings, sync, rig, views)
    sides = [side for side in settings.sides if any(side in tracks for tracks in views.values())]
    hands: dict[Side, HandTrack] = {}
    failures: list[FusionError] = []
    for number, side in enumerate(sides):
        part = report.part(number / len(sides), (number + 1) / len(sides))
        try:
            hands[side] = _fuse_in_time(cameras, sync, rig, views, side, model, part, options, outlines)
        except FusionError as failure:
            failures.append(failure)
    if not hands:
        if failures:
            raise failures[0]
        raise FusionError(
            f"No camera was searched for the {' or '.join(settings.sides)} hand.", "Run the pose stage again."
        )
    for each in failures:  # one hand of two is a result, but not a silent one
        report.warn(str(each))
    return hands


def _fuse_in_time(
    cameras: tuple[str, ...],
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    side: Side,
    model: HandModel,
    report: Reporter,
    options: FusionOptions,
    outlines: dict[str, dict[Side, Outline]] | None,
) -> HandTrack:
    """One side; where the options say so once more, by clocks without the time shifts that were found."""
    reference = cameras[0]
    evidence = collect(reference, cameras, sync, rig, views, side, options)
    masks = None if outlines is None else make_masks(evidence, sync, outlines, side, options)
    if not options.apply_time_shift:
        return fuse_side(evidence, side, model, report, options, masks)
    first = _hold_warnings(report.part(0.0, 0.5))
    applied = np.zeros(0, dtype=bool)
    try:
        hand = fuse_side(evidence, side, model, first, options, masks)
        applied = choose_time_shifts(hand, options.time_shift_most_s, report)
    finally:
        if not applied.any():
            for warning in first.warnings:
                report.warn(warning)
    if not applied.any():
        return hand
    mended = take_off_time_shifts(sync, hand, applied)
    evidence = collect(reference, cameras, mended, rig, views, side, options)
    if outlines is not None:
        masks = make_masks(evidence, mended, outlines, side, options)
    return replace(
        fuse_side(evidence, side, model, report.part(0.5, 1.0), options, masks),
        time_shift_s=hand.time_shift_s,
        time_shift_sigma_s=hand.time_shift_sigma_s,
        time_shift_applied=applied,
    )


def _hold_warnings(report: Reporter) -> Reporter:
    """Reports progress as ``report`` does, but keeps its warnings to itself: the next fit has its own."""

    def pass_on(progress: Progress) -> None:
        if not progress.warning:
            report.update(progress.fraction, progress.message)

    return Reporter(report.stage, pass_on)


def _check_cameras(
    settings: SessionSettings, sync: SyncResult, rig: Rig, views: dict[str, dict[Side, ViewTrack]]
) -> tuple[str, ...]:
    if not any(len(track.time_s) for track in views.get(settings.reference, {}).values()):
        raise FusionError(
            f"There are no keypoints of the reference camera {settings.reference}.",
            "Run the pose stage for it, or name another reference in session.toml.",
        )
    for camera in views:
        if camera not in rig.cameras:
            raise FusionError(
                f"Camera {camera} has no calibration.",
                "Calibrate it with the others, or take its video out of the session folder.",
            )
        if camera not in sync.cameras or not np.isfinite(sync.cameras[camera].offset_s):
            raise FusionError(
                f"The clock of camera {camera} is not known.",
                f"Give its offset in session.toml: [offset_s] {camera} = ...",
            )
    return tuple(sorted(views, key=lambda name: (name != settings.reference, name)))


def make_masks(
    evidence: Evidence,
    sync: SyncResult,
    outlines: dict[str, dict[Side, Outline]],
    side: Side,
    options: FusionOptions,
) -> Masks:
    """One side's masks on the clock and in the pictures of its evidence."""
    return collect_masks(
        [outlines.get(name, {}).get(side) for name in evidence.names],
        evidence.cameras,
        [sync.from_reference_s(name, evidence.time_s) for name in evidence.names],
        side == "left",
        options.mask_least_confidence,
    )


def fuse_side(
    evidence: Evidence,
    side: Side,
    model: HandModel,
    report: Reporter,
    options: FusionOptions,
    masks: Masks | None = None,
) -> HandTrack:
    """Fit one hand to its evidence; the way of `fuse` for a side."""
    evidence = leave_out_odd_views(evidence, side, model, report, options)
    check_evidence(evidence, side, report)
    report.update(0.0, f"Placing the {side} hand")
    with one_thread():
        triangulated_mm, _ = triangulate_evidence(evidence, options)
        guess = make_guess(evidence, triangulated_mm, model, options)
        hand = fix_shape(model, guess.betas)
        start = Pose.from_arrays(guess.global_orient, guess.hand_pose, guess.transl_mm)
        objective = make_objective(evidence, hand, start, options)
        solution = solve(objective, start, options, report.part(0.05, 0.8))
        offset_px = None
        if evidence.offset_sigma_px is not None and len(evidence.names) > 1:
            solution, offset_px = fit_offsets(
                objective,
                solution,
                evidence.offset_sigma_px,
                options.independent_s * evidence.fps,
                options,
                report.part(0.8, 0.95),
            )
        outline_trust = None
        if masks is not None:
            used = masks.leave_out(evidence.view_state)
            refit = fit_with_masks(
                objective, solution, offset_px, used, make_surface(hand, model.faces), evidence, options,
                report.part(0.95, 1.0),
            )  # fmt: skip
            solution, offset_px = refit.solution, refit.offset_px
            outline_trust = used.confidence if refit.kept else None
        track = add_spread(make_track(evidence, hand, guess.betas, solution, options), guess.spread_mm)
        shifts = fit_time_shifts(
            solution.objective, solution.pose, objective.seen.weights, evidence.time_s, options
        )
    track = replace(
        track,
        lengths_mm=compare_lengths(triangulated_mm, model),
        view_offset_px=offset_px,
        outline_trust=outline_trust,
        time_shift_s=shifts.shift_s,
        time_shift_sigma_s=shifts.sigma_s,
        time_shift_applied=np.zeros(len(evidence.names), dtype=bool),
    )
    if len(evidence.names) == 1:
        track = add_place_sigma(track, evidence.cameras[0], model, options.shape_sigma)
    return track if side == "right" else mirror_track(track)


def make_objective(
    evidence: Evidence, hand: FixedShapeHand, start: Pose, options: FusionOptions
) -> Objective:
    """The objective with its lambdas, where the options leave them open, chosen for this evidence."""
    cameras, seen = evidence.get_tensors()
    frames = len(evidence.time_s)
    anchor = options.lambda_anchor
    if anchor is None:
        anchor = frames / seen.n_observations / (2 * 4 / 3 * options.anchor_rad**2)
    objective = Objective(
        hand=hand,
        cameras=cameras,
        seen=seen,
        theta_anchor=start.theta_hand,
        lambda_temp=0.0,
        lambda_anchor=anchor,
        lambda_axes=frames / seen.n_observations,
        axes=make_axes_prior(hand, options),
        epsilon=options.epsilon,
    )
    temporal = options.lambda_temp
    if temporal is None:
        information = get_curvature(objective, start).data_trace
        temporal = choose_lambda_temp(hand, seen, information, evidence.fps, options)
    return replace(objective, lambda_temp=temporal)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the fit's many small products gain nothing from more, and on a busy computer
    threads that wait for each other cost it a factor of ten.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
