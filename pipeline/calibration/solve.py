"""From what the cameras saw of the resting board to the rig: lenses, pairs, one joint refinement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from pipeline.calibration.board import is_asymmetric
from pipeline.calibration.lens import (
    LEAST_VIEWS,
    OUTLIER_FLOOR_PX,
    OUTLIER_RATIO,
    USUAL_LENS,
    LensFit,
    LensModel,
    board_poses,
    calibrate_lens,
)
from pipeline.calibration.pairs import LEAST_PAIRS, Contradiction, PairFit, relate_cameras
from pipeline.calibration.refine import (
    Observation,
    Pose,
    RigState,
    estimate_errors,
    place_board,
    refine,
    residuals_px,
    to_rvec,
)
from pipeline.calibration.takes import MOVING_PX, Sight
from pipeline.calibration.verdict import Evidence, judge, measure_square
from pipeline.errors import CalibrationError
from pipeline.results import Camera, Rig
from pipeline.session import Checkerboard

COVERAGE_CELLS = (16, 9)
"""Cells of the coverage along the longer and the shorter side of a picture."""

LEAST_PLACES = 4
"""Places of the board from which their spread says something of the rig's error."""

SAME_PLACE_PX = 1.0
"""Two rests whose corners differ by less show the board in the same place and count once."""


@dataclass(frozen=True)
class _View:
    """One accepted sight: which camera, which board pose, and whether other cameras may share that pose."""

    camera: str
    board: tuple[int, str]
    sight: Sight

    @property
    def corners_px(self) -> np.ndarray:
        assert self.sight.corners_px is not None
        return self.sight.corners_px


def solve_rig(
    sights: dict[str, list[Sight]],
    sizes_px: dict[str, tuple[int, int]],
    reference: str,
    board: Checkerboard,
    model: LensModel = USUAL_LENS,
) -> Rig:
    """Calibrate all cameras from the corners that they saw.

    Seed 000, section 6: each lens by itself, each camera against the reference (or, where those two never
    see the board together, against one that is already placed), then one joint refinement of lenses,
    places and board poses with a robust loss. Views that fit badly are left out at every step.

    Parameters
    ----------
    sights : dict of list of Sight
        By camera; sights with the same ``rest`` show the board in the same place.
    sizes_px : dict of (int, int)
        Picture sizes by camera.
    reference : str
        The camera that is the world.
    board : Checkerboard
        The board shown.
    model : LensModel
        Free lens parameters.

    Returns
    -------
    Rig

    Raises
    ------
    CalibrationError
        A camera has too few views, shares too few with the others, is mirrored, or contradicts them.
    """
    names = [reference, *sorted(name for name in sights if name != reference)]
    views, refused = _select(sights, names, board)
    lenses = {}
    for name in names:
        lenses[name], dropped = _fit_lens(views[name], name, sizes_px[name], board, model)
        views[name] = [view for view in views[name] if view.sight.rest not in dropped]
        refused[name] |= dropped
    pairs = _place(views, refused, lenses, sizes_px, names, board)
    state, boards = _start(views, lenses, pairs, names, board)
    state, views = _refine(state, boards, views, refused, names, board, model)
    return _report(state, boards, views, refused, lenses, sights, sizes_px, names, board, model)


def _select(
    sights: dict[str, list[Sight]], names: Sequence[str], board: Checkerboard
) -> tuple[dict[str, list[_View]], dict[str, dict[int, str]]]:
    """Views by camera, and the reasons for the rests that are none."""
    aligned = align_colours(sights, names) if is_asymmetric(board) else sights
    views: dict[str, list[_View]] = {}
    refused: dict[str, dict[int, str]] = {}
    for name in names:
        views[name], refused[name] = [], {}
        for sight in sorted(aligned[name], key=lambda sight: sight.time_s):
            if sight.corners_px is None:
                refused[name][sight.rest] = sight.reason
                continue
            same = [view for view in views[name] if _is_same_place(view.corners_px, sight.corners_px)]
            if same:
                refused[name][sight.rest] = f"the board had not moved since {same[0].sight.time_s:.1f} s"
                continue
            is_still = sight.shake_px <= MOVING_PX
            views[name].append(_View(name, (sight.rest, "" if is_still else name), sight))
    return views, refused


def align_colours(sights: dict[str, list[Sight]], names: Sequence[str]) -> dict[str, list[Sight]]:
    """Turn boards round where a camera's order disagrees in colour with the first camera's."""
    first: dict[int, bool] = {}
    aligned: dict[str, list[Sight]] = {}
    for name in names:
        aligned[name] = []
        for sight in sights[name]:
            if sight.corners_px is not None:
                wanted = first.setdefault(sight.rest, sight.is_dark_first)
                if sight.is_dark_first != wanted:
                    sight = replace(sight, corners_px=sight.corners_px[::-1], is_dark_first=wanted)
            aligned[name].append(sight)
    return aligned


def _is_same_place(a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.median(np.linalg.norm(a - b, axis=1))) < SAME_PLACE_PX


def _fit_lens(
    views: Sequence[_View], name: str, size_px: tuple[int, int], board: Checkerboard, model: LensModel
) -> tuple[LensFit, dict[int, str]]:
    if len(views) < LEAST_VIEWS:
        raise CalibrationError(
            f"Camera {name} saw the checkerboard in {_count(len(views))}, and {LEAST_VIEWS} are the least.",
            "Film the board again: hold it still for a second in ten to fifteen places, near and far, turned "
            "and tilted, so that every camera sees the whole of it.",
        )
    fit = calibrate_lens([view.corners_px for view in views], board, size_px, model)
    usual = float(np.median(fit.view_rms_px[fit.used]))
    dropped = {
        view.sight.rest: f"its corners do not fit the lens ({rms:.2f} px, usually {usual:.2f} px)"
        for view, rms, used in zip(views, fit.view_rms_px, fit.used, strict=True)
        if not used
    }
    return fit, dropped


def _place(
    views: dict[str, list[_View]],
    refused: dict[str, dict[int, str]],
    lenses: dict[str, LensFit],
    sizes_px: dict[str, tuple[int, int]],
    names: Sequence[str],
    board: Checkerboard,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """R and t_mm of every camera: against the reference, else against a camera already placed."""
    placed: dict[str, tuple[np.ndarray, np.ndarray]] = {names[0]: (np.eye(3), np.zeros(3))}
    waiting = list(names[1:])
    while waiting:
        links = [
            (len(_common(views, base, name)), base == names[0], base, name)
            for base in placed
            for name in waiting
        ]
        direct = [link for link in links if link[1] and link[0] >= LEAST_PAIRS]
        count, _, base, name = max(direct or links, key=lambda link: link[0])
        if count < LEAST_PAIRS:
            raise CalibrationError(
                f"Camera {name} and camera {base} saw the resting checkerboard together in {_count(count)}, "
                f"and {LEAST_PAIRS} are the least.",
                "Film the board again where both see the whole of it, and hold it still for a second "
                "each time. If it was still, switch the cameras' picture stabilisation off.",
            )
        pair = _relate(views, refused, lenses, sizes_px, base, name, board)
        R, t_mm = placed[base]
        placed[name] = (pair.R @ R, pair.R @ t_mm + pair.t_mm)
        waiting.remove(name)
    return placed


def _common(views: dict[str, list[_View]], a: str, b: str) -> list[tuple[_View, _View]]:
    of_b = {view.board: view for view in views[b]}
    return [(view, of_b[view.board]) for view in views[a] if view.board in of_b]


def _relate(
    views: dict[str, list[_View]],
    refused: dict[str, dict[int, str]],
    lenses: dict[str, LensFit],
    sizes_px: dict[str, tuple[int, int]],
    base: str,
    name: str,
    board: Checkerboard,
) -> PairFit:
    """The pair's pose; views that contradict it are refused in the second camera, or turned round."""
    common = _common(views, base, name)
    pair = relate_cameras(
        [a.corners_px for a, _ in common],
        [b.corners_px for _, b in common],
        lenses[base],
        lenses[name],
        sizes_px[name],
        board,
        may_flip=not is_asymmetric(board),
    )
    if pair.mirrored:
        raise CalibrationError(
            f"Cameras {base} and {name} fit together only if one of them shows a mirrored picture.",
            f"Switch off mirroring (selfie mode) in camera {name}, or in {base} if every camera is named so, "
            "and film the recording and the checkerboard again.",
        )
    if not pair.used.any():
        raise Contradiction(
            name,
            f"The checkerboard's places in cameras {base} and {name} contradict each other "
            f"({pair.rms_px:.0f} px).",
            f"Camera {name} moved during the take, its picture is cut off the lens's middle (stabilisation), "
            "or the takes are not of the same moments and cameras: film the board again with all cameras at "
            "once, fixed, stabilisation off.",
        )
    changed: dict[tuple[int, str], _View | None] = {}
    for (_, view), used, flip, rms in zip(common, pair.used, pair.flipped, pair.board_rms_px, strict=True):
        if not used:
            refused[name][view.sight.rest] = f"contradicts camera {base} ({rms:.1f} px)"
            changed[view.board] = None
        elif flip:
            turned = replace(view.sight, corners_px=view.corners_px[::-1])
            changed[view.board] = replace(view, sight=turned)
    after = (changed.get(view.board, view) for view in views[name])
    views[name] = [view for view in after if view is not None]
    return pair


def _start(
    views: dict[str, list[_View]],
    lenses: dict[str, LensFit],
    placed: dict[str, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    board: Checkerboard,
) -> tuple[RigState, list[tuple[int, str]]]:
    """Where the refinement starts, and the order of its boards."""
    seen: dict[tuple[int, str], list[_View]] = {}
    for name in names:
        for view in views[name]:
            seen.setdefault(view.board, []).append(view)
    state = RigState(
        K=np.stack([lenses[name].K for name in names]),
        distortion=np.stack([lenses[name].distortion for name in names]),
        cameras=[(to_rvec(placed[name][0]), placed[name][1]) for name in names],
        boards=[],
    )
    poses = [_best_pose(group, lenses, placed, names, state, board) for group in seen.values()]
    return replace(state, boards=poses), list(seen)


def _best_pose(
    group: Sequence[_View],
    lenses: dict[str, LensFit],
    placed: dict[str, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    state: RigState,
    board: Checkerboard,
) -> Pose:
    """The board's pose in the world, of those that its cameras propose, on which they agree best."""
    best: tuple[float, Pose] | None = None
    for view in group:
        R, t_mm = placed[view.camera]
        lens = lenses[view.camera]
        for R_board, t_board, _ in board_poses(view.corners_px, lens.K, lens.distortion, board):
            pose = (to_rvec(R.T @ R_board), R.T @ (t_board - t_mm))
            trial = replace(state, boards=[pose])
            errors = [
                residuals_px(trial, Observation(names.index(v.camera), 0, v.corners_px), board) for v in group
            ]
            misfit = float(np.sqrt(np.mean(np.square(errors))))
            if best is None or misfit < best[0]:
                best = (misfit, pose)
    assert best is not None
    return best[1]


def _refine(
    state: RigState,
    boards: list[tuple[int, str]],
    views: dict[str, list[_View]],
    refused: dict[str, dict[int, str]],
    names: Sequence[str],
    board: Checkerboard,
    model: LensModel,
) -> tuple[RigState, dict[str, list[_View]]]:
    """The joint refinement, and a second one if views turn out not to fit it."""
    kept = {name: list(views[name]) for name in names}
    for attempt in range(2):
        observations = _observations(kept, boards, names)
        state = refine(state, observations, board, model)
        if attempt == 1:
            break
        if not _drop_outliers(state, boards, kept, refused, names, board):
            break
    return state, kept


def _observations(
    views: dict[str, list[_View]], boards: list[tuple[int, str]], names: Sequence[str]
) -> list[Observation]:
    return [
        Observation(index, boards.index(view.board), view.corners_px)
        for index, name in enumerate(names)
        for view in views[name]
    ]


def _drop_outliers(
    state: RigState,
    boards: list[tuple[int, str]],
    views: dict[str, list[_View]],
    refused: dict[str, dict[int, str]],
    names: Sequence[str],
    board: Checkerboard,
) -> bool:
    """Take views out that do not fit the whole, as long as enough remain; whether there were any."""
    dropped = False
    for index, name in enumerate(names):
        rms = np.array([_rms_px(state, boards, view, index, board) for view in views[name]])
        usual = float(np.median(rms))
        bad = rms > max(OUTLIER_RATIO * usual, OUTLIER_FLOOR_PX)
        if not bad.any() or (~bad).sum() < max(LEAST_VIEWS, len(rms) // 2):
            continue
        for view, value in zip(views[name], rms, strict=True):
            if value > max(OUTLIER_RATIO * usual, OUTLIER_FLOOR_PX):
                refused[name][view.sight.rest] = (
                    f"contradicts the other views ({value:.2f} px, usually {usual:.2f} px)"
                )
        views[name] = [view for view, is_bad in zip(views[name], bad, strict=True) if not is_bad]
        dropped = True
    return dropped


def _rms_px(
    state: RigState, boards: list[tuple[int, str]], view: _View, camera: int, board: Checkerboard
) -> float:
    observation = Observation(camera, boards.index(view.board), view.corners_px)
    return float(np.sqrt((residuals_px(state, observation, board) ** 2).sum(axis=1).mean()))


def _report(
    state: RigState,
    boards: list[tuple[int, str]],
    views: dict[str, list[_View]],
    refused: dict[str, dict[int, str]],
    lenses: dict[str, LensFit],
    sights: dict[str, list[Sight]],
    sizes_px: dict[str, tuple[int, int]],
    names: Sequence[str],
    board: Checkerboard,
    model: LensModel,
) -> Rig:
    cameras: dict[str, Camera] = {}
    rms: dict[tuple[str, tuple[int, str]], float] = {}
    observations = _observations(views, boards, names)
    expected = _expect_errors(state, observations, board, model)
    for index, name in enumerate(names):
        for view in views[name]:
            rms[name, view.board] = _rms_px(state, boards, view, index, board)
        times = {sight.rest: sight.time_s for sight in sights[name]}
        cameras[name] = Camera(
            name=name,
            size_px=sizes_px[name],
            K=state.K[index],
            distortion=state.distortion[index],
            R=cv2.Rodrigues(state.cameras[index][0])[0],
            t_mm=np.array(state.cameras[index][1], dtype=float),
            rms_px=_root_mean_square([rms[name, view.board] for view in views[name]]),
            used=[_describe_view(view, rms[name, view.board]) for view in views[name]],
            refused=[
                {"time_s": times[rest], "reason": reason}
                for rest, reason in sorted(refused[name].items(), key=lambda item: times[item[0]])
            ],
            coverage=count_corners([view.corners_px for view in views[name]], sizes_px[name]),
            left_out_px=_left_out_px(state, observations, index, board),
            sigma_deg=expected[index].turn_deg,
            sigma_mm=expected[index].shift_mm,
        )
    pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            common = [view.board for view, _ in _common(views, a, b)]
            if common:
                both = [rms[name, key] for key in common for name in (a, b)]
                pairs.append({"a": a, "b": b, "rms_px": _root_mean_square(both), "frames": len(common)})
    corners = {name: {view.board: view.corners_px for view in views[name]} for name in names}
    square = measure_square(cameras, corners, board)
    contradicted = {name: sum("contradicts" in reason for reason in refused[name].values()) for name in names}
    evidence = Evidence(cameras, corners, pairs, lenses, square, board, contradicted)
    verdict, reasons = judge(evidence)
    return Rig(
        reference=names[0],
        cameras=cameras,
        pairs=pairs,
        square_error_mm=square.size_mm - board.square_mm,
        square_spread_mm=square.spread_mm,
        scale_sigma=float(np.hypot(square.scale_sigma(board.square_mm), _scale_sigma(expected))),
        source="checkerboard",
        verdict=verdict,
        reasons=reasons,
    )


def _describe_view(view: _View, rms_px: float) -> dict[str, Any]:
    """One entry of `pipeline.results.Camera.used`.

    ``place`` is the same number in another camera for the same pose of the board.
    """
    return {"time_s": view.sight.time_s, "rms_px": rms_px, "place": view.sight.rest}


def count_corners(views: Sequence[np.ndarray], size_px: tuple[int, int]) -> list[list[int]]:
    """How many corners (N, 2) px of all views lie in each cell of a grid over the picture, row by row.

    The grid has 9 rows and 16 columns, and 16 rows and 9 columns over a picture that is higher than wide.
    """
    long, short = COVERAGE_CELLS
    columns, rows = (long, short) if size_px[0] >= size_px[1] else (short, long)
    grid = np.zeros((rows, columns), dtype=int)
    for corners in views:
        cell = np.floor((corners + 0.5) / size_px * (columns, rows)).astype(int)
        inside = ((cell >= 0) & (cell < (columns, rows))).all(axis=1)
        np.add.at(grid, (cell[inside, 1], cell[inside, 0]), 1)
    return [[int(count) for count in row] for row in grid]


def _left_out_px(
    state: RigState, observations: Sequence[Observation], camera: int, board: Checkerboard
) -> float:
    """RMS distance of a camera's corners from where the others alone put the boards; NaN if none can."""
    squares = []
    for own in [seen for seen in observations if seen.camera == camera]:
        others = [seen for seen in observations if seen.board == own.board and seen.camera != camera]
        if not others:
            continue
        boards = list(state.boards)
        boards[own.board] = place_board(state, others, board)
        squares.append((residuals_px(replace(state, boards=boards), own, board) ** 2).sum(axis=1).mean())
    return math.sqrt(float(np.mean(squares))) if squares else math.nan


@dataclass(frozen=True)
class _Expected:
    """Expected errors of one camera's place: turn in degrees, shift in mm, distance as a share of itself."""

    turn_deg: float = math.nan
    shift_mm: float = math.nan
    distance: float = math.nan


def _expect_errors(
    state: RigState, observations: Sequence[Observation], board: Checkerboard, model: LensModel
) -> list[_Expected]:
    """Expected errors by camera; those of the first one, which is the world, are 0."""
    world = _Expected(0.0, 0.0)
    if len({seen.board for seen in observations}) < LEAST_PLACES:
        return [world, *[_Expected()] * (len(state.cameras) - 1)]
    errors = estimate_errors(state, observations, board, model)
    found = [world]
    for (_, t_mm), turn, shift in zip(state.cameras[1:], errors.turn_rad, errors.shift_mm, strict=True):
        along = t_mm / np.linalg.norm(t_mm)
        found.append(
            _Expected(
                math.degrees(math.sqrt(np.trace(turn))),
                math.sqrt(np.trace(shift)),
                math.sqrt(along @ shift @ along) / float(np.linalg.norm(t_mm)),
            )
        )
    return found


def _scale_sigma(expected: Sequence[_Expected]) -> float:
    """Expected relative error of the cameras' distances, root mean square; NaN if there are none."""
    return _root_mean_square([one.distance for one in expected[1:]])


def _count(n_places: int) -> str:
    return "1 place" if n_places == 1 else f"{n_places} places"


def _root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values)) if values else math.nan
