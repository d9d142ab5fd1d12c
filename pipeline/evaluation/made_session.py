"""A run against its truth: offsets, rig, keypoints, joints and angles, in numbers.

Joints are also held against plain triangulation of the same keypoints (linear, unweighted, with the
run's own rig and clocks), which is what the fusion has to beat.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.errors import RunFolderError
from pipeline.evaluation.alignment import align
from pipeline.evaluation.errors import average, measure_acceleration_errors, measure_distances
from pipeline.files import to_plain, write_json
from pipeline.hand.joints import JOINTS
from pipeline.results import (
    Rig,
    RunFolder,
    SyncResult,
    ViewTrack,
    read_hand,
    read_rig,
    read_sync,
    read_view,
)
from pipeline.synth.truth import Truth, read_truth

Part = TypeVar("Part")
ORDINARY = "ordinary"
SETS: dict[str, slice] = {"21": slice(0, 21), "20": slice(1, 21)}
"""Sets of joints that errors are given for: all, and without the wrist."""


@dataclass(frozen=True)
class JointErrors:
    """Errors of joints in space over some frames and joints; NaN = nothing to compare.

    Attributes
    ----------
    mpjpe_mm : float
        Mean distance to the true joints, nothing aligned (`DEFINITIONS` calls it ``mpjpe``).
    pa_mpjpe_mm : float
        The same after the best similarity (rotation, shift, scale) of each frame (``pa_mpjpe``).
    acceleration_m_s2 : float
        Mean length of the difference of accelerations (second differences of neighbouring frames).
    share : float
        Share of joints and frames that were there to compare, 0 to 1.
    """

    mpjpe_mm: float
    pa_mpjpe_mm: float
    acceleration_m_s2: float
    share: float


@dataclass(frozen=True)
class Evaluation:
    """How a run compares with the truth.

    Attributes
    ----------
    offsets : dict
        By camera: ``start_ms``, ``end_ms`` (error at the recording's start and end), ``drift_ppm``
        (error), ``confidence``, ``verdict``.
    rig : dict
        By camera: ``focal_percent``, ``rotation_deg``, ``translation_mm``, ``rms_px``.
    pairs : list of dict
        ``a``, ``b``, ``rms_px`` as the calibration found them.
    keypoints : dict
        By camera, then by phase group: ``mean_px``, ``median_px`` of all joints, ``mean_px_20``
        without the wrist, ``share`` seen.
    joints : dict
        By method ("fusion", "triangulation front+left", ...), by phase group, by set ("21", "20"): the
        fields of `JointErrors`.
    angles : dict
        ``rmse_deg`` by phase group, and ``by_angle`` over all frames.
    missing : list of str
        What could not be compared, and why.
    """

    offsets: dict[str, dict[str, Any]] = field(default_factory=dict)
    rig: dict[str, dict[str, float]] = field(default_factory=dict)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    keypoints: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    joints: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    angles: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN is None."""
        plain = to_plain(asdict(self))
        assert isinstance(plain, dict)
        return plain

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        write_json(path, self.to_json())

    def to_text(self) -> str:
        """The figures as a plain table."""
        return "\n".join(_Table(self).lines()) + "\n"


def evaluate(run: RunFolder, truth: Path) -> Evaluation:
    """Hold a run folder against the truth of the made session that it came from.

    Parameters
    ----------
    run : RunFolder
        Only what lies in it is compared; the rest is named in ``missing``.
    truth : Path
        The session folder with ``truth.npz`` and ``truth.json``, or one of the two.

    Raises
    ------
    RunFolderError
        The truth is missing or broken, the run folder is none, or its reference camera is another.
    """
    if not run.path.is_dir():
        raise RunFolderError(f"{run.path} is not a folder.", "Give the folder that a run wrote.")
    true = read_truth(truth)
    missing: list[str] = []
    sync = _read(functools.partial(read_sync, run.sync_json), missing)
    rig = _read(functools.partial(read_rig, run.rig_json), missing)
    for part in (sync, rig):
        if part is not None and part.reference != true.rig.reference:
            raise RunFolderError(
                f"{run.path} has camera {part.reference} as its reference, and the truth "
                f"{true.rig.reference}: times and places are on another clock and in another frame.",
                f'Run the session again with reference = "{true.rig.reference}" in session.toml.',
            )
    views = {}
    for camera in true.rig.cameras:
        sides = _read(functools.partial(read_view, run, camera), missing)
        if sides is not None and true.side in sides:
            views[camera] = sides[true.side]
    hand = _read(functools.partial(read_hand, run, true.side), missing)
    joints: dict[str, Any] = {}
    angles: dict[str, Any] = {}
    if hand is not None:
        estimate = _at_times(hand.time_s, hand.joints_mm, true.time_s)
        joints["fusion"] = _compare_joints(estimate, true)
        angles = _compare_angles(estimate, true)
    else:
        estimate = np.full_like(true.joints_mm, np.nan)
    if sync is not None and rig is not None and len(views) >= 2:
        joints |= _triangulate_plainly(views, sync, rig, true, estimate)
    else:
        missing.append("Plain triangulation: it needs sync.json, rig.json and two views.")
    return Evaluation(
        offsets={} if sync is None else _compare_offsets(sync, true),
        rig={} if rig is None else _compare_rig(rig, true),
        pairs=[] if rig is None else [{k: p.get(k) for k in ("a", "b", "rms_px")} for p in rig.pairs],
        keypoints={camera: _compare_keypoints(camera, view, true) for camera, view in views.items()},
        joints=joints,
        angles=angles,
        missing=missing,
    )


def _read(read: Callable[[], Part], missing: list[str]) -> Part | None:
    """A part of the run, or None with the reason noted."""
    try:
        return read()
    except RunFolderError as error:
        missing.append(error.what)
        return None


# --- clocks and cameras ----------------------------------------------------------------------------


def _compare_offsets(sync: SyncResult, true: Truth) -> dict[str, dict[str, Any]]:
    errors: dict[str, dict[str, Any]] = {}
    for camera, found in sync.cameras.items():
        if camera not in true.camera_time_s:
            continue
        ends = true.camera_time_s[camera][[0, -1]]
        error = 1e3 * (sync.to_reference_s(camera, ends) - true.sync.to_reference_s(camera, ends))
        errors[camera] = {
            "start_ms": float(error[0]),
            "end_ms": float(error[1]),
            "drift_ppm": found.drift_ppm - true.drift_ppm[camera],
            "confidence": found.confidence,
            "verdict": found.verdict,
        }
    return errors


def _compare_rig(rig: Rig, true: Truth) -> dict[str, dict[str, float]]:
    errors = {}
    for name, camera in rig.cameras.items():
        if name not in true.rig.cameras:
            continue
        other = true.rig.cameras[name]
        focal = np.array([camera.K[0, 0] / other.K[0, 0], camera.K[1, 1] / other.K[1, 1]]) - 1
        turn = camera.R @ other.R.T
        # atan2 of both parts keeps small angles exact, where arccos of the trace would not.
        sine = np.linalg.norm(turn - turn.T) / np.sqrt(8)
        errors[name] = {
            "focal_percent": float(100 * np.abs(focal).max()),
            "rotation_deg": float(np.degrees(np.arctan2(sine, (np.trace(turn) - 1) / 2))),
            "translation_mm": float(np.linalg.norm(camera.t_mm - other.t_mm)),
            "rms_px": camera.rms_px,
        }
    return errors


# --- points in the pictures ------------------------------------------------------------------------


def _compare_keypoints(camera: str, view: ViewTrack, true: Truth) -> dict[str, dict[str, float]]:
    wanted_s = true.camera_time_s[camera]
    found = _at_times(view.time_s, view.keypoints_px, wanted_s)
    distance = np.linalg.norm(found - true.keypoints_px[camera], axis=2)
    errors = {}
    for group, rows in _groups(true, true.sync.to_reference_s(camera, wanted_s)).items():
        part = distance[rows]
        errors[group] = {
            "mean_px": average(part),
            "median_px": float(np.nanmedian(part)) if np.isfinite(part).any() else float("nan"),
            "mean_px_20": average(part[:, 1:]),
            "share": float(np.isfinite(part).mean()),
        }
    return errors


def _at_times(time_s: np.ndarray, values: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Values (T, ...) of the frames at ``wanted_s``; NaN where no frame lies within a quarter of a frame."""
    out = np.full((len(wanted_s), *values.shape[1:]), np.nan)
    if len(time_s) == 0:
        return out
    after = np.searchsorted(time_s, wanted_s).clip(0, len(time_s) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(wanted_s - time_s[before] < time_s[after] - wanted_s, before, after)
    step = float(np.median(np.diff(wanted_s))) if len(wanted_s) > 1 else 1.0
    there = np.abs(time_s[nearest] - wanted_s) < 0.25 * step
    out[there] = values[nearest[there]]
    return out


def _groups(true: Truth, time_s: np.ndarray) -> dict[str, np.ndarray]:
    """Frames (T,) bool by phase group: all, ordinary, dystonic, and each dystonic phase by its name."""
    groups = {"all": np.ones(len(time_s), dtype=bool)}
    dystonic = np.zeros(len(time_s), dtype=bool)
    named: dict[str, np.ndarray] = {}
    for phase in true.phases:
        rows = (time_s >= phase["start_s"]) & (time_s < phase["end_s"])
        if phase["name"] != ORDINARY:
            dystonic |= rows
            named[phase["name"]] = named.get(phase["name"], np.zeros_like(rows)) | rows
    if named:
        groups |= {ORDINARY: ~dystonic, "dystonic": dystonic, **named}
    return {name: rows for name, rows in groups.items() if rows.any()}


# --- joints in space -------------------------------------------------------------------------------


def _compare_joints(estimate_mm: np.ndarray, true: Truth) -> dict[str, dict[str, dict[str, float]]]:
    step_s = float(1 / true.fps)
    return {
        group: {
            name: asdict(compare_joints(estimate_mm[:, joints], true.joints_mm[:, joints], step_s, rows))
            for name, joints in SETS.items()
        }
        for group, rows in _groups(true, true.time_s).items()
    }


def compare_joints(
    estimate_mm: np.ndarray, true_mm: np.ndarray, step_s: float, rows: np.ndarray | None = None
) -> JointErrors:
    """Errors of estimated joints (T, J, 3) against true ones, over the frames ``rows`` (T,) bool.

    NaN joints are left out and lower ``share``. ``step_s`` is the time between frames.
    """
    rows = np.ones(len(true_mm), dtype=bool) if rows is None else rows
    distance = measure_distances(estimate_mm[rows], true_mm[rows])
    aligned = measure_distances(align(estimate_mm[rows], true_mm[rows]), true_mm[rows])
    time_s = step_s * np.arange(len(true_mm))
    acceleration = measure_acceleration_errors(estimate_mm, true_mm, time_s)[rows]
    return JointErrors(
        mpjpe_mm=average(distance),
        pa_mpjpe_mm=average(aligned),
        acceleration_m_s2=average(acceleration),
        share=float(np.isfinite(distance).mean()) if distance.size else 0.0,
    )


def _triangulate_plainly(
    views: dict[str, ViewTrack], sync: SyncResult, rig: Rig, true: Truth, fused_mm: np.ndarray
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Errors of unweighted linear triangulation for every pair of views, and for all of them.

    Triangulation misses some joints; ``fused_mpjpe_mm`` is the fusion's error on those that it has.
    """
    from pipeline.fusion.resample import resample_keypoints
    from pipeline.fusion.triangulate import triangulate

    points = {}
    for camera, view in views.items():
        clock = sync.cameras.get(camera)
        if camera not in rig.cameras or clock is None or not np.isfinite(clock.offset_s):
            continue
        own_s = sync.from_reference_s(camera, true.time_s)
        keypoints, _ = resample_keypoints(view.time_s, view.keypoints_px, view.sigma_px, own_s)
        points[camera] = rig.cameras[camera].normalise(keypoints)
    sets: list[tuple[str, ...]] = [*itertools.combinations(points, 2)]
    if len(points) > 2:
        sets.append(tuple(points))
    errors = {}
    for cameras in sets:
        seen = np.stack([points[camera] for camera in cameras])
        projections = np.stack([rig.cameras[camera].projection for camera in cameras])
        joints = triangulate(seen, projections, np.ones(seen.shape[:-1]))
        compared = _compare_joints(joints, true)
        fused = _compare_joints(np.where(np.isnan(joints), np.nan, fused_mm), true)
        for group, by_set in compared.items():
            for name, entry in by_set.items():
                entry["fused_mpjpe_mm"] = fused[group][name]["mpjpe_mm"]
        errors["triangulation " + "+".join(cameras)] = compared
    return errors


def _compare_angles(estimate_mm: np.ndarray, true: Truth) -> dict[str, Any]:
    from pipeline.hand.angles import ANGLES, compute_angles

    difference = compute_angles(estimate_mm, true.side) - compute_angles(true.joints_mm, true.side)
    degrees = np.degrees((difference + np.pi) % (2 * np.pi) - np.pi)

    def rmse(part: np.ndarray) -> float:
        return float(np.sqrt(average(part**2)))

    groups = _groups(true, true.time_s)
    return {
        "rmse_deg": {group: rmse(degrees[rows]) for group, rows in groups.items()},
        "by_angle": {angle: rmse(degrees[:, column]) for column, angle in enumerate(ANGLES)},
    }


# --- the table -------------------------------------------------------------------------------------


class _Table:
    """`Evaluation` as lines of text."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._of = evaluation

    def lines(self) -> list[str]:
        parts = [self._offsets(), self._rig(), self._keypoints(), self._joints(), self._angles()]
        if self._of.missing:
            parts.append(["Not compared", *(f"  {reason}" for reason in self._of.missing)])
        return [line for part in parts if part for line in [*part, ""]][:-1]

    def _offsets(self) -> list[str]:
        rows = [
            [camera, _show(e["start_ms"], 3), _show(e["end_ms"], 3), _show(e["drift_ppm"], 1),
             _show(e["confidence"], 2), e["verdict"]]
            for camera, e in self._of.offsets.items()
        ]  # fmt: skip
        return _layout(
            "Clocks: error of the offset at the start and at the end, and of the drift",
            ["camera", "start ms", "end ms", "drift ppm", "confidence", "verdict"],
            rows,
        )

    def _rig(self) -> list[str]:
        rows = [
            [camera, _show(e["focal_percent"], 3), _show(e["rotation_deg"], 4),
             _show(e["translation_mm"], 2), _show(e["rms_px"], 3)]
            for camera, e in self._of.rig.items()
        ]  # fmt: skip
        lines = _layout(
            "Rig: errors, and the calibration's own reprojection error",
            ["camera", "focal %", "rotation deg", "translation mm", "rms px"],
            rows,
        )
        pairs = [f"{p['a']}-{p['b']} {_show(p['rms_px'], 3)} px" for p in self._of.pairs]
        return [*lines, f"  pairs: {', '.join(pairs)}"] if pairs else lines

    def _keypoints(self) -> list[str]:
        rows = [
            [camera, group, _show(e["mean_px"], 2), _show(e["median_px"], 2), _show(e["mean_px_20"], 2),
             _show(100 * e["share"], 1)]
            for camera, groups in self._of.keypoints.items()
            for group, e in groups.items()
        ]  # fmt: skip
        head = ["camera", "phase", "mean px", "median px", "mean px of 20", "seen %"]
        return _layout("Keypoints: distance to the true ones, all 21 joints", head, rows)

    def _joints(self) -> list[str]:
        rows = [
            [method, group, joints, _show(e["mpjpe_mm"], 2), _show(e.get("fused_mpjpe_mm"), 2),
             _show(e["pa_mpjpe_mm"], 2), _show(e["acceleration_m_s2"], 2), _show(100 * e["share"], 1)]
            for method, groups in self._of.joints.items()
            for group, sets in groups.items()
            if group in ("all", ORDINARY, "dystonic")
            for joints, e in sets.items()
        ]  # fmt: skip
        errors = ["MPJPE mm", "fusion there mm", "PA-MPJPE mm", "acceleration m/s2"]
        head = ["method", "phase", "joints", *errors, "seen %"]
        return _layout(f"Joints in space ({len(JOINTS)} with the wrist, 20 without)", head, rows)

    def _angles(self) -> list[str]:
        if not self._of.angles:
            return []
        rows = [[group, _show(value, 2)] for group, value in self._of.angles["rmse_deg"].items()]
        return _layout("Angles: root mean square error of all 20", ["phase", "degrees"], rows)


def _show(value: float | None, digits: int) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _layout(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
             for row in [head, *rows]]  # fmt: skip
    return [title, *lines]
