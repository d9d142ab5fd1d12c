"""The calibration stage: the session's rig, from where it can be had.

From ``rig.json`` if the session brings one, else from the checkerboard takes in ``calibration/``; one
camera alone may do without.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipeline.calibration.board import guess_board_size
from pipeline.calibration.clocks import TakeOffset, find_take_offsets
from pipeline.calibration.lens import LEAST_VIEWS, USUAL_LENS, LensModel
from pipeline.calibration.pairs import Contradiction
from pipeline.calibration.rig import fit_to_session, nominal_rig, reuse_rig, scale_camera
from pipeline.calibration.solve import solve_rig
from pipeline.calibration.takes import (
    Motion,
    Rest,
    Sight,
    find_rests,
    joint_motion,
    look_at,
    measure_motion,
    read_grey,
)
from pipeline.errors import CalibrationError
from pipeline.progress import Reporter
from pipeline.results import Rig
from pipeline.session import Checkerboard, Session

__all__ = ["calibrate", "calibrate_takes", "scale_camera"]

MOST_RESTS = 24
ENOUGH_VIEWS = 10
FIRST_LOOK = 6
"""Rests after which a board that was never found is looked for in another size."""

APART_S = 0.5

T = TypeVar("T")


def calibrate(session: Session, report: Reporter) -> Rig:
    """Cameras of a session: lenses and places.

    Parameters
    ----------
    session : Session
        Its ``rig`` is used if there; else its ``calibration_videos``; one camera alone gets a usual lens.
    report : Reporter
        Hears progress and warnings.

    Returns
    -------
    Rig
        For the sizes of the session's videos; the world is the session's reference camera.

    Raises
    ------
    CalibrationError
        There is no way to a rig, in words that name the camera and say what to do.
    pipeline.errors.VideoError
        A take cannot be decoded.
    """
    if session.rig is not None:
        report.update(0.0, "Reading the rig of an earlier calibration")
        rig = reuse_rig(session, session.rig)
    elif session.calibration_videos:
        takes = _takes(session)
        rig = calibrate_takes(takes, session.settings.reference, session.settings.checkerboard, report)
        rig = fit_to_session(rig, session)
    elif len(session.cameras) == 1:
        rig = nominal_rig(session)
    else:
        raise CalibrationError(
            f"There is no calibration for the {len(session.cameras)} cameras of {session.path}.",
            "Film a checkerboard with all cameras at once and put the takes into calibration/ under the same "
            "names, or copy the rig.json of an earlier visit if no camera was moved since.",
        )
    for reason in rig.reasons:
        report.warn(reason)
    report.update(1.0, "The cameras are calibrated")
    return rig


def _takes(session: Session) -> dict[str, Path]:
    missing = [name for name in session.cameras if name not in session.calibration_videos]
    if missing:
        there = ", ".join(path.name for path in session.calibration_videos.values())
        raise CalibrationError(
            f"There is no checkerboard take of camera {', '.join(missing)} in "
            f"{session.path / 'calibration'}; there are {there}.",
            "Add it under the camera's name, or film the board again with all cameras at once.",
        )
    return {name: session.calibration_videos[name] for name in session.cameras}


def calibrate_takes(
    takes: dict[str, Path],
    reference: str,
    board: Checkerboard,
    report: Reporter,
    model: LensModel = USUAL_LENS,
) -> Rig:
    """Calibrate cameras from takes of a checkerboard that rests in several places.

    Seed 000, section 6. Every take is decoded once for its motion; sound (or motion) brings the takes onto
    one clock; the board is looked for where it rests for all cameras at once, and, for cameras that found
    it in few places, where it rests for them.

    Parameters
    ----------
    takes : dict of Path
        A video by camera.
    reference : str
        The camera that is the world.
    board : Checkerboard
        The board that was shown.
    report : Reporter
        Hears progress and warnings.
    model : LensModel
        Free lens parameters.

    Returns
    -------
    Rig
        For the takes' picture sizes.

    Raises
    ------
    CalibrationError
        No board, a board of another size, too few places, no common time, a mirrored or moved camera.
    """
    names = [reference, *sorted(name for name in takes if name != reference)]
    one_thread = len(names) >= (os.cpu_count() or 1)

    def measure(name: str) -> Motion:
        return measure_motion(takes[name], report, one_thread)

    found = _each(names, measure, report.part(0.0, 0.6), "Decoding")
    motions = dict(zip(names, found, strict=True))
    offsets = find_take_offsets({name: takes[name] for name in names}, motions, reference, report)
    while True:
        try:
            return _solve(takes, motions, offsets, board, report, model)
        except Contradiction as error:
            offset = offsets.get(error.camera)
            if offset is None or not offset.others_s:
                raise
            # A board moved in a steady rhythm fits at several offsets; space tells which one is true.
            offsets[error.camera] = replace(offset, offset_s=offset.others_s[0], others_s=offset.others_s[1:])


def _solve(
    takes: dict[str, Path],
    motions: dict[str, Motion],
    offsets: dict[str, TakeOffset],
    board: Checkerboard,
    report: Reporter,
    model: LensModel,
) -> Rig:
    """Look at the boards at these offsets and solve; the first camera is the reference."""
    names = list(motions)
    rests = _common_rests(motions, offsets, names)

    def look(name: str) -> list[Sight]:
        own = [rest.on_clock(offsets[name].offset_s) for rest in rests]
        return _look(takes[name], name, motions[name], own, names.index(name), board, report)

    parts = _each(names, look, report.part(0.6, 0.9), "Looking for the board in")
    sights = dict(zip(names, parts, strict=True))
    for name in names:
        _require_boards(takes[name], name, sights[name], board)
    report.update(0.9, "Solving lenses and places of the cameras")
    return solve_rig(sights, {name: motions[name].size_px for name in names}, names[0], board, model)


def _each(names: Sequence[str], work: Callable[[str], T], report: Reporter, what: str) -> list[T]:
    """Do the work for every camera, all at once, and report in between."""
    done = []
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        futures = [pool.submit(work, name) for name in names]
        for index, (name, future) in enumerate(zip(names, futures, strict=True)):
            report.update(index / len(names), f"{what} the checkerboard take of camera {name}")
            done.append(future.result())
    return done


def _common_rests(
    motions: dict[str, Motion], offsets: dict[str, TakeOffset], names: Sequence[str]
) -> list[Rest]:
    """When the board rests for all cameras, on the reference's clock, the stillest first."""
    together = joint_motion([motions[name] for name in names], [offsets[name].offset_s for name in names])
    rests = find_rests(together, MOST_RESTS)
    if not rests:
        raise CalibrationError(
            f"The checkerboard takes of cameras {', '.join(names)} have no moment in common.",
            "Film the board again with all cameras running at once.",
        )
    return rests


def _look(
    path: Path,
    name: str,
    motion: Motion,
    rests: Sequence[Rest],
    number: int,
    board: Checkerboard,
    report: Reporter,
) -> list[Sight]:
    """What one camera sees at the common rests, and at its own if those gave it few boards."""
    sights = look_at(path, motion, rests[:FIRST_LOOK], board, report)
    if sights and all(sight.corners_px is None for sight in sights):
        _require_size(path, name, sights, board)
    sights += look_at(path, motion, rests[FIRST_LOOK:], board, report)
    n_found = sum(sight.corners_px is not None for sight in sights)
    if n_found >= ENOUGH_VIEWS or n_found == 0:
        return sights
    # No other camera has these numbers, so these rests serve this camera's lens alone.
    own = find_rests(motion, MOST_RESTS, first_number=(number + 1) * 1000)
    more = [rest for rest in own if all(abs(rest.time_s - sight.time_s) > APART_S for sight in sights)]
    return sights + look_at(path, motion, more[: MOST_RESTS // 2], board, report)


def _require_boards(path: Path, name: str, sights: Sequence[Sight], board: Checkerboard) -> None:
    """Say what is wrong where a camera saw the board in fewer places than a calibration takes."""
    n_found = sum(sight.corners_px is not None for sight in sights)
    if n_found >= LEAST_VIEWS:
        return
    _require_size(path, name, sights, board)
    reasons = Counter(sight.reason for sight in sights if sight.corners_px is None)
    usual = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    raise CalibrationError(
        f"Camera {name} saw the checkerboard with {board.columns} x {board.rows} inner corners in {n_found} "
        f"of {len(sights)} moments of rest in {path.name}{usual}, and {LEAST_VIEWS} are the least.",
        "Film the board again: flat, evenly lit, the whole of it and its white border in every camera's "
        "picture, held still for a second in ten to fifteen places. Check columns and rows in session.toml.",
    )


def _require_size(path: Path, name: str, sights: Sequence[Sight], board: Checkerboard) -> None:
    """Look for a board of another size where none of the stated size was found, and say its size."""
    blank = [sight.frame for sight in sights if sight.corners_px is None][:FIRST_LOOK]
    size = guess_board_size((read_grey(path, frame) for frame in blank), board)
    if size is not None and set(size) != {board.columns, board.rows}:
        raise CalibrationError(
            f"Camera {name} saw no checkerboard with {board.columns} x {board.rows} inner corners, but a "
            f"board of {size[0]} x {size[1]} inner corners seems to be there.",
            f"Set columns = {size[0]} and rows = {size[1]} under [checkerboard] in session.toml (inner "
            "corners, one less than squares), and square_mm to the side of a square.",
        )
