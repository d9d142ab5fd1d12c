"""What every export is made from: a finished run read once, with or without what tells who it was.

The world is the reference camera's: +x right, +y down, +z forward, mm (``conventions.md``). Joints that were
interpolated or contradicted (quality 0) are NaN in every export, as in the measures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

from pipeline.errors import RunFolderError
from pipeline.export.formats import EXPORT_VERSION
from pipeline.files import hash_json, read_json
from pipeline.hand.angles import ANGLES
from pipeline.hand.joints import Side
from pipeline.measures.excluded import mark_excluded
from pipeline.measures.summary_types import Summary, read_summary
from pipeline.results import HandTrack, Rig, RunFolder, list_sides, read_hand, read_rig, read_table

WORLD = "reference camera: +x right, +y down, +z forward; mm"
ANONYMOUS = "anonymous"
LABELS: dict[Side, str] = {"right": "R", "left": "L"}
"""How a hand is told in names of markers and channels: "R_index_tip"."""

EVEN_SHARE = 0.1
"""Times that stray from an even grid by less than this share of a frame are a container's rounding."""

MOST_BRIDGED = 1.5
"""Even samples are interpolated between frames no further apart than this many frame intervals."""

LEAST_APART = 0.25
"""A spline does not run through frames closer than this many intervals: it would make much of their noise."""


@dataclass(frozen=True)
class ExportHand:
    """One hand.

    Attributes
    ----------
    joints_mm : ndarray (T, 21, 3) float64
        In the order of `pipeline.hand.joints.JOINTS`; where the hand is, left hands too. NaN = not measured.
    sigma_mm : ndarray (T, 21) float64
        Standard deviation per axis; NaN where the joint is.
    quality : ndarray (T, 21) float64
        0 to 1: share of the evidence that agrees.
    betas : ndarray (10,)
    global_orient : ndarray (T, 3, 3)
    hand_pose : ndarray (T, 15, 3, 3)
        Of the right hand, or of the mirrored left one, as in `pipeline.results.HandTrack`.
    degrees, sigma_deg : ndarray (T, 20) float64
        In the order of `pipeline.hand.angles.ANGLES`; NaN = not measured.
    """

    joints_mm: np.ndarray
    sigma_mm: np.ndarray
    quality: np.ndarray
    betas: np.ndarray
    global_orient: np.ndarray
    hand_pose: np.ndarray
    degrees: np.ndarray
    sigma_deg: np.ndarray


@dataclass(frozen=True)
class ExportSource:
    """A run as exports see it.

    Attributes
    ----------
    hands : dict of ExportHand
        By side; all on ``time_s``.
    time_s : ndarray (T,) float64
        Times of the reference camera's frames, ascending.
    rate : Fraction
        Nominal frame rate, exact: 60000/1001.
    tables : dict of DataFrame
        The run's long tables by name ("angles", "measures", ...).
    summary : Summary
    models : list of dict
        Hand model and networks with licence and SHA-256, as ``run.json`` has them.
    rig : Rig or None
    program_version : str
        Of the program that worked the run.
    settings_hash : str
        Of the run's settings; empty when de-identified, since who knows the person could try it out.
    deidentified : bool
    own_shape : bool
        The moving 3D hand keeps the person's shape.
    removed : tuple of str
        What was taken out, in words.
    day : int or None
        Of the visit, from the person's first, where that is told in the place of its date.
    recoded : bool
        Nothing in it was typed by a person (`recode_source`).
    """

    hands: dict[Side, ExportHand]
    time_s: np.ndarray
    rate: Fraction
    tables: dict[str, pd.DataFrame]
    summary: Summary
    models: list[dict[str, Any]] = field(default_factory=list)
    rig: Rig | None = None
    program_version: str = ""
    settings_hash: str = ""
    deidentified: bool = False
    own_shape: bool = False
    removed: tuple[str, ...] = ()
    day: int | None = None
    recoded: bool = False

    @property
    def rate_text(self) -> str:
        """The exact rate as text: "60000/1001"."""
        return f"{self.rate.numerator}/{self.rate.denominator}"

    @property
    def comparability_key(self) -> str:
        """SHA-256 of what must agree for two recordings to be compared; empty if the run has no such list."""
        return hash_json(self.summary.comparability) if self.summary.comparability else ""


def read_source(run: RunFolder, deidentify: bool = False, own_shape: bool = False) -> ExportSource:
    """Read a finished run.

    Parameters
    ----------
    run : RunFolder
        Of a run that has ended.
    deidentify : bool
        Take out what tells who it was (`deidentify_source`).
    own_shape : bool
        Keep the person's own shape in the moving 3D hand.

    Raises
    ------
    RunFolderError
        The run is not finished, has no hand, or a part cannot be read; or both choices were made.
    ModelError
        De-identifying needs the hand model that the run was fused with, and it is not there any more.
    """
    if deidentify and own_shape:
        raise RunFolderError(
            "A hand's own shape tells whose it is, so it cannot be kept in a de-identified export.",
            "Leave one of the two out.",
        )
    record = read_json(run.run_json)
    if record.get("state") != "done":
        raise RunFolderError(
            f"{run.path} is not a finished run ({record.get('state')}).", "Run the pipeline on it to its end."
        )
    tracks = {side: read_hand(run, side) for side in list_sides(run)}
    if not tracks:
        raise RunFolderError(f"{run.path} has no fused hand.", "There is nothing to take away from it.")
    summary = read_summary(run.summary_json)
    tracks = {side: _exclude(track, side, summary) for side, track in tracks.items()}
    tables = {path.stem: read_table(path) for path in sorted(run.path.glob("*.parquet"))}
    if "angles" not in tables:
        raise RunFolderError(f"{run.angles_parquet} is missing.", "Run the pipeline again to make it.")
    source = ExportSource(
        hands={side: _read_hand(track, side, tables["angles"]) for side, track in tracks.items()},
        time_s=np.asarray(next(iter(tracks.values())).time_s, dtype=float),
        rate=_read_rate(run),
        tables=tables,
        summary=summary,
        models=list(record.get("models", ())),
        rig=read_rig(run.rig_json) if run.rig_json.is_file() else None,
        program_version=str(record.get("versions", {}).get("redys", "")),
        settings_hash=str(record.get("settings_hash", "")),
        own_shape=own_shape,
    )
    return deidentify_source(source) if deidentify else source


def _read_rate(run: RunFolder) -> Fraction:
    index = run.web / "index.json"
    numbers = read_json(index).get("fps")
    try:
        return Fraction(int(numbers[0]), int(numbers[1]))
    except (TypeError, IndexError, ValueError, ZeroDivisionError) as error:
        raise RunFolderError(f"{index} names no frame rate.", "Run the pipeline on it again.") from error


def _exclude(track: HandTrack, side: Side, summary: Summary) -> HandTrack:
    """The hand with the sections that a person excluded as not measured."""
    inside = mark_excluded(track.time_s, [each for each in summary.excluded if each.side in ("", side)])
    return dataclasses.replace(track, quality=np.where(inside[:, None], 0.0, track.quality))


def _read_hand(track: HandTrack, side: Side, angles: pd.DataFrame) -> ExportHand:
    quality = np.asarray(track.quality, dtype=float)
    joints = np.asarray(track.joints_mm, dtype=float)
    joints = np.where((quality > 0)[..., None], joints, np.nan)
    missing = ~np.isfinite(joints).all(axis=-1)
    joints[missing] = np.nan
    rows = angles[(angles["side"] == side) & angles["valid"]]
    return ExportHand(
        joints_mm=joints,
        sigma_mm=np.where(missing, np.nan, np.asarray(track.joint_sigma_mm, dtype=float)),
        quality=quality,
        betas=np.asarray(track.betas, dtype=float),
        global_orient=np.asarray(track.global_orient, dtype=float),
        hand_pose=np.asarray(track.hand_pose, dtype=float),
        degrees=_to_frames(rows, track.time_s, "degrees"),
        sigma_deg=_to_frames(rows, track.time_s, "sigma_deg"),
    )


def _to_frames(rows: pd.DataFrame, time_s: np.ndarray, column: str) -> np.ndarray:
    """A column of the long table of angles as (T, 20), in the order of `ANGLES`; NaN = no valid row."""
    grid = np.full((len(time_s), len(ANGLES)), np.nan)
    frame = np.searchsorted(time_s, rows["time_s"].to_numpy(dtype=float))  # the table has the very times
    angle = rows["angle"].map({name: i for i, name in enumerate(ANGLES)}).to_numpy(dtype=int)
    grid[frame, angle] = rows[column].to_numpy(dtype=float)
    return grid


# --- who it was ----------------------------------------------------------------------------------


def deidentify_source(source: ExportSource) -> ExportSource:
    """The same run without what tells who it was.

    Out go the pseudonym, the date of the visit, the cameras' names and the hash of the settings, and the
    proportions of the hand: joints, and the table of features, are those of a mean hand in the measured pose,
    with the measured wrist in its place. The movement itself stays, and it may be known again by who has seen
    it; speeds, too, are as measured, and longer bones are faster.

    Raises
    ------
    ModelError
        The hand model is not the one that the run was fused with.
    """
    hands = {}
    for side, hand in source.hands.items():
        joints = pose_mean_hand(hand, side, source.models)
        hands[side] = dataclasses.replace(
            hand,
            joints_mm=np.where(np.isfinite(hand.joints_mm), joints, np.nan),
            sigma_mm=np.where(np.isfinite(hand.joints_mm[:, :1, 0]), hand.sigma_mm, np.nan),
            betas=np.zeros_like(hand.betas),
        )
    names = {name: f"camera {i}" for i, name in enumerate(source.summary.recording.cameras, start=1)}
    return dataclasses.replace(
        source,
        hands=hands,
        tables=_measure_features(source.tables, hands, source.time_s),
        summary=_forget_person(source.summary, names),
        rig=None if source.rig is None else _rename_cameras(source.rig, names),
        settings_hash="",
        deidentified=True,
        removed=(
            "pseudonym",
            "date of the visit",
            "names of the cameras",
            "proportions of the hand (joints and features are a mean hand's in the measured pose; angles, "
            "speeds and accelerations are as measured)",
        ),
    )


def recode_source(source: ExportSource, summary: Summary, day: int | None) -> ExportSource:
    """The same run without any words that a person typed, for who works with recordings of many.

    Parameters
    ----------
    source : ExportSource
        Of a run as it is.
    summary : Summary
        Stands in the place of the run's: a code for the person, and nothing that was typed
        (`pipeline.sharing.strip_for_research`).
    day : int or None
        Of the visit, from the person's first.

    Raises
    ------
    ModelError
        The hand model is not the one that the run was fused with.
    """
    found = deidentify_source(source)
    return dataclasses.replace(
        found,
        summary=dataclasses.replace(summary, visit=""),
        models=[_strip_model(model, summary) for model in found.models],
        rig=None,
        day=day,
        recoded=True,
        removed=(*found.removed, "the cameras' lenses and places", "all words that a person typed"),
    )


def _strip_model(model: dict[str, Any], summary: Summary) -> dict[str, Any]:
    """A network or hand model of this program as it is; of another only its place in the work.

    A person may have named its file, and its digest may be known.
    """
    origin = summary.provenance
    if model.get("name") in {origin.hand_model, origin.detector, origin.estimator} - {"", "other"}:
        return model
    return {"role": model.get("role"), "name": "other"}


def pose_mean_hand(hand: ExportHand, side: Side, models: list[dict[str, Any]]) -> np.ndarray:
    """Joints (T, 21, 3) in mm of the model's mean hand in the measured pose, its wrist where measured.

    Raises
    ------
    ModelError
        The hand model is not the one that the run was fused with.
    """
    from pipeline.export.bones import load_model_of  # loads torch, which most exports do without
    from pipeline.hand.rotations import mirror_points

    model = load_model_of(models)
    n_frames = len(hand.joints_mm)
    _, joints = model.pose_arrays(
        np.zeros(model.n_betas), hand.global_orient, hand.hand_pose, np.zeros((n_frames, 3))
    )
    joints = mirror_points(joints) if side == "left" else joints
    return joints - joints[:, :1] + hand.joints_mm[:, :1]


def _measure_features(
    tables: dict[str, pd.DataFrame], hands: dict[Side, ExportHand], time_s: np.ndarray
) -> dict[str, pd.DataFrame]:
    """The tables with the features of these hands: distances and errors of openness tell lengths of bones."""
    from pipeline.measures.features import compute_features, tabulate_features

    if "features" not in tables:  # of a run of an earlier version
        return tables
    found = {side: (time_s, compute_features(hand.joints_mm, hand.sigma_mm)) for side, hand in hands.items()}
    return {**tables, "features": tabulate_features(found)}


def _forget_person(summary: Summary, names: dict[str, str]) -> Summary:
    cameras = tuple(names[name] for name in summary.recording.cameras)
    return dataclasses.replace(
        summary,
        subject=ANONYMOUS,
        visit="",
        recording=dataclasses.replace(summary.recording, cameras=cameras),
        quality=dataclasses.replace(summary.quality, reasons=(), cameras=()),  # they name cameras
        # Reasons are a person's own words, which may tell who it was.
        excluded=tuple(dataclasses.replace(each, reason="") for each in summary.excluded),
    )


def _rename_cameras(rig: Rig, names: dict[str, str]) -> Rig:
    cameras = {
        names[name]: dataclasses.replace(camera, name=names[name], used=[], refused=[])
        for name, camera in rig.cameras.items()
        if name in names
    }
    return Rig(reference=names.get(rig.reference, rig.reference), cameras=cameras)


# --- what every file says of itself --------------------------------------------------------------


def state_provenance(source: ExportSource) -> dict[str, Any]:
    """Where the numbers come from, for the inside of every file: plain values only."""
    origin = source.summary.provenance
    return {
        "schema": "redys-export",
        "schema_version": EXPORT_VERSION,
        "program": "ReDys",
        "program_version": source.program_version,
        "purpose": "Describes movement; it is not a diagnosis.",
        "subject": source.summary.subject,
        "visit": source.summary.visit,
        "task": source.summary.task,
        "sides": list(source.hands),
        **({} if source.day is None else {"day": source.day}),
        "deidentified": source.deidentified,
        "removed": list(source.removed),
        "quality": source.summary.quality.verdict,
        "frame_rate": source.rate_text,
        "n_frames": len(source.time_s),
        "world": WORLD,
        "missing": "NaN = not measured",
        "hand_model_and_networks": source.models,
        "preset": origin.preset,
        "filter": origin.filter,
        "reference": {
            "name": origin.baseline,
            "simulated": origin.baseline_simulated,
            "n_people": origin.baseline_n_people,
            "minutes": origin.baseline_minutes,
            "task": origin.baseline_task,
            "licence": origin.baseline_licence,
            "provenance": origin.baseline_provenance,
            "digest": origin.baseline_digest,
        },
        "comparability": dict(source.summary.comparability),
        "comparability_key": source.comparability_key,
        "settings_hash": source.settings_hash,
        "excluded": [dataclasses.asdict(each) for each in source.summary.excluded],
        "notes": list(source.summary.notes),
    }


# --- even frames ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvenFrames:
    """Values at even times, for formats that hold a rate and no times.

    Attributes
    ----------
    start_s : float
        Time of the first frame on the reference camera's clock.
    n_frames : int
    resampled : bool
        False: every value is that of its frame. True: interpolated in time, since the frames came unevenly.
    largest_shift_s : float
        How far the nearest frame's time lies from that of a place in the grid, at most (0 with one frame);
        places within gaps, where nothing is interpolated, do not count.
    """

    start_s: float
    n_frames: int
    resampled: bool
    largest_shift_s: float
    _time_s: np.ndarray
    _grid_s: np.ndarray
    _interval_s: float

    def take(self, values: np.ndarray) -> np.ndarray:
        """Values (T, ...) at the even times (n_frames, ...).

        Cubic splines within unbroken runs of frames, since a straight line cuts the peaks of a tremor; NaN
        where a neighbour is missing or further than `MOST_BRIDGED` intervals from the other.
        """
        if not self.resampled:
            return values
        even = self.take_straight(values)
        flat, out = values.reshape(len(values), -1), even.reshape(self.n_frames, -1)
        patterns, pattern_of = np.unique(np.isfinite(flat), axis=1, return_inverse=True)
        for number, known in enumerate(patterns.T):
            columns = np.flatnonzero(pattern_of.ravel() == number)
            for run in self._find_runs(known):
                time_s = self._time_s[run]
                within = np.flatnonzero((self._grid_s > time_s[0]) & (self._grid_s < time_s[-1]))
                curve = CubicSpline(time_s, flat[np.ix_(run, columns)])
                out[np.ix_(within, columns)] = curve(self._grid_s[within])
        return out.reshape(even.shape)

    def _find_runs(self, known: np.ndarray) -> list[np.ndarray]:
        """Indices of the frames of every unbroken run of three and more; ``known`` (T,) are measured."""
        frames = np.flatnonzero(known)
        apart = np.diff(self._time_s[frames]) / self._interval_s
        broken = (np.diff(frames) > 1) | (apart > MOST_BRIDGED) | (apart < LEAST_APART)
        return [run for run in np.split(frames, np.flatnonzero(broken) + 1) if len(run) > 2]

    def take_straight(self, values: np.ndarray) -> np.ndarray:
        """As `take`, by straight lines: for errors, which a spline could bend below zero."""
        if not self.resampled:
            return values
        time_s, grid_s = self._time_s, self._grid_s
        right = np.clip(np.searchsorted(time_s, grid_s), 1, len(time_s) - 1)
        share = (grid_s - time_s[right - 1]) / (time_s[right] - time_s[right - 1])
        share[_find_unbridged(time_s, grid_s, self._interval_s)] = np.nan
        share = np.clip(share, 0.0, 1.0).reshape(-1, *(1,) * (values.ndim - 1))
        mixed = (1 - share) * values[right - 1] + share * values[right]
        mixed = np.where(share == 0, values[right - 1], mixed)  # a missing neighbour does not count here
        return np.where(share == 1, values[right], mixed)


def find_even_frames(time_s: np.ndarray, rate: Fraction) -> EvenFrames:
    """The even grid of a recording: its own frames where they lie on one, else one from first to last.

    Parameters
    ----------
    time_s : ndarray (T,)
        Ascending, T >= 1.
    rate : Fraction
        Frames a second of the grid.
    """
    interval_s = float(1 / rate)
    strays_s = time_s - time_s[0] - np.arange(len(time_s)) * interval_s
    start_s = float(time_s[0] + (strays_s.max() + strays_s.min()) / 2)
    shift_s = float(strays_s.max() - strays_s.min()) / 2
    if shift_s <= EVEN_SHARE * interval_s:
        grid_s = start_s + np.arange(len(time_s)) * interval_s
        return EvenFrames(start_s, len(time_s), False, shift_s, time_s, grid_s, interval_s)
    n_frames = round(float(time_s[-1] - time_s[0]) * float(rate)) + 1
    grid_s = time_s[0] + np.arange(n_frames) * interval_s
    shifts_s = np.abs(grid_s - time_s[_nearest(time_s, grid_s)])[~_find_unbridged(time_s, grid_s, interval_s)]
    return EvenFrames(float(time_s[0]), n_frames, True, float(shifts_s.max()), time_s, grid_s, interval_s)


def _find_unbridged(time_s: np.ndarray, grid_s: np.ndarray, interval_s: float) -> np.ndarray:
    """Which places of the grid lie between frames too far apart (K,)."""
    right = np.clip(np.searchsorted(time_s, grid_s), 1, len(time_s) - 1)
    gap_s = time_s[right] - time_s[right - 1]
    share = (grid_s - time_s[right - 1]) / gap_s
    return np.asarray((gap_s > MOST_BRIDGED * interval_s) & (share > 0) & (share < 1))


def _nearest(time_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    right = np.clip(np.searchsorted(time_s, wanted_s), 1, len(time_s) - 1)
    return np.where(wanted_s - time_s[right - 1] <= time_s[right] - wanted_s, right - 1, right)
