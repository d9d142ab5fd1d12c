"""The run folder: its files, what is in them, and the only code that reads and writes them.

``conventions.md`` has units, frames and orders. Every reader checks the schema version of ``run.json``
through `read_run`; every writer is atomic (`pipeline.files`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from pipeline.errors import RunFolderError
from pipeline.files import read_json, read_npz, replace_atomically, write_json, write_npz
from pipeline.hand.joints import N_JOINTS, SIDES, Side

SCHEMA_VERSION = 1

Verdict = Literal["reliable", "check", "failed"]
BOX_STATES: tuple[str, ...] = ("detected", "interpolated", "outlier", "none")
VIEW_STATES: tuple[str, ...] = ("used", "other hand", "mirrored", "doubted", "not filming")


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder. Nothing else spells these names."""

    path: Path

    @property
    def run_json(self) -> Path:
        """State, settings, provenance, stages, warnings."""
        return self.path / "run.json"

    @property
    def sound_json(self) -> Path:
        """Offsets of the cameras' clocks as far as their sound tells; not final."""
        return self.path / "sound.json"

    @property
    def sync_json(self) -> Path:
        """Offsets of the cameras' clocks."""
        return self.path / "sync.json"

    @property
    def rig_json(self) -> Path:
        """Cameras: lenses and places."""
        return self.path / "rig.json"

    @property
    def rig_check_json(self) -> Path:
        """Whether the rig still fits what the cameras saw of the hand."""
        return self.path / "rig_check.json"

    @property
    def views(self) -> Path:
        """Folder of the per-camera tracks."""
        return self.path / "views"

    def view_npz(self, camera: str) -> Path:
        """Boxes, keypoints and sigma of one camera."""
        return self.views / f"{camera}.npz"

    def outline_npz(self, camera: str) -> Path:
        """Masks of the hand in one camera; only of runs that were asked for them."""
        return self.path / "outlines" / f"{camera}.npz"

    def hand_npz(self, side: Side) -> Path:
        """The fused hand of one side."""
        return self.path / f"hand_{side}.npz"

    @property
    def measures_parquet(self) -> Path:
        """Speed, acceleration and jerk by joint and time."""
        return self.path / "measures.parquet"

    @property
    def angles_parquet(self) -> Path:
        """Joint angles by time."""
        return self.path / "angles.parquet"

    @property
    def features_parquet(self) -> Path:
        """Openness, grasp and wrist path by time."""
        return self.path / "features.parquet"

    @property
    def rotations_parquet(self) -> Path:
        """Bend, spread and twist of the hand model's joints by time."""
        return self.path / "rotations.parquet"

    @property
    def summary_json(self) -> Path:
        """Every number that a report prints."""
        return self.path / "summary.json"

    @property
    def web(self) -> Path:
        """What the browser streams."""
        return self.path / "web"

    @property
    def log_jsonl(self) -> Path:
        """One line an event."""
        return self.path / "log.jsonl"


# --- sync.json -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class CameraSync:
    """How one camera's clock relates to the reference camera's.

    Attributes
    ----------
    offset_s : float
        ``t_reference = t_camera + offset_s + drift_ppm * 1e-6 * t_camera``. NaN if not known.
    sigma_s : float
        Standard error of the offset.
    drift_ppm : float
        Clock drift, parts per million.
    confidence : float
        0 to 1, seed 000 section 3.
    verdict : "reliable" | "check" | "failed"
    reasons : tuple of str
        Why the verdict is not "reliable".
    source : "audio" | "hand" | "manual" | "reference" | "none"
        "hand": from the hand's motion in the views; "none": not known (offset NaN), or taken for granted.
    """

    offset_s: float
    sigma_s: float = 0.0
    drift_ppm: float = 0.0
    confidence: float = 1.0
    verdict: Verdict = "reliable"
    reasons: tuple[str, ...] = ()
    source: str = "audio"


@dataclass(frozen=True)
class SyncResult:
    """All cameras on one clock.

    ``closure_s`` is the misfit round the triangle of three cameras; NaN with fewer.
    """

    reference: str
    cameras: dict[str, CameraSync]
    closure_s: float = float("nan")
    source: str = "audio"

    def to_reference_s(self, camera: str, time_s: np.ndarray) -> np.ndarray:
        """Times (T,) of ``camera``'s clock on the reference camera's clock, in s."""
        clock = self.cameras[camera]
        return time_s + clock.offset_s + clock.drift_ppm * 1e-6 * time_s

    def from_reference_s(self, camera: str, time_s: np.ndarray) -> np.ndarray:
        """Times (T,) of the reference clock on ``camera``'s clock, in s: the inverse of `to_reference_s`."""
        clock = self.cameras[camera]
        return (time_s - clock.offset_s) / (1.0 + clock.drift_ppm * 1e-6)


def write_sync(path: Path, sync: SyncResult) -> None:
    """Write ``sync.json`` or ``sound.json``."""
    write_json(path, asdict(sync))


def read_sync(path: Path) -> SyncResult:
    """Read ``sync.json`` or ``sound.json``."""
    raw = read_json(path)
    cameras = {
        name: CameraSync(**{**_nan_for_none(entry), "reasons": tuple(entry["reasons"])})
        for name, entry in raw["cameras"].items()
    }
    closure = float("nan") if raw["closure_s"] is None else float(raw["closure_s"])
    return SyncResult(raw["reference"], cameras, closure, raw["source"])


def _nan_for_none(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: float("nan") if value is None else value for key, value in entry.items()}


# --- rig.json ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Camera:
    """One calibrated camera, OpenCV's way: ``x_cam = R x_world + t``; +x right, +y down, +z forward.

    Attributes
    ----------
    name : str
    size_px : (int, int)
        Width and height of the images the calibration holds for.
    K : ndarray (3, 3)
        Intrinsics in px; the centre of the top-left pixel is (0, 0).
    distortion : ndarray (5,)
        k1 k2 p1 p2 k3.
    R : ndarray (3, 3)
        Rotation from world to camera. The world is the reference camera.
    t_mm : ndarray (3,)
    rms_px : float
        Reprojection error of the calibration; NaN when it is not known.
    used : list of dict
        Calibration frames used: ``time_s``, ``rms_px``.
    refused : list of dict
        Calibration frames refused: ``time_s``, ``reason``.
    coverage : list of list of int
        Accepted corners in each cell of a grid over the picture, row by row; empty without a checkerboard.
    left_out_px : float
        Reprojection error of this camera's corners where the other cameras alone place the board; NaN if
        they cannot. Unlike ``rms_px`` it sees a camera that fits itself and nobody else.
    sigma_deg, sigma_mm : float
        Expected error of R (angle) and of t_mm (length) against the reference; NaN when not known.
    """

    name: str
    size_px: tuple[int, int]
    K: np.ndarray
    distortion: np.ndarray
    R: np.ndarray
    t_mm: np.ndarray
    rms_px: float = float("nan")
    used: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    coverage: list[list[int]] = field(default_factory=list)
    left_out_px: float = float("nan")
    sigma_deg: float = float("nan")
    sigma_mm: float = float("nan")

    def project(self, points_mm: np.ndarray) -> np.ndarray:
        """Project world points (..., 3) in mm to pixels (..., 2). Points behind the camera give NaN."""
        import cv2  # here, since the web process reads run folders and must not load OpenCV

        flat = np.ascontiguousarray(points_mm.reshape(-1, 3), dtype=float)
        finite = np.isfinite(flat).all(axis=1)
        out = np.full((len(flat), 2), np.nan)
        finite[finite] &= (flat[finite] @ self.R[2] + self.t_mm[2]) > 0
        if finite.any():
            rvec, _ = cv2.Rodrigues(self.R)
            pixels, _ = cv2.projectPoints(
                flat[finite], rvec, self.t_mm.astype(float), self.K, self.distortion
            )
            out[finite] = pixels.reshape(-1, 2)
        return out.reshape(*points_mm.shape[:-1], 2)

    def normalise(self, points_px: np.ndarray) -> np.ndarray:
        """Undistorted normalised image coordinates (..., 2) of pixels (..., 2); NaN stays NaN."""
        import cv2  # here, since the web process reads run folders and must not load OpenCV

        flat = np.ascontiguousarray(points_px.reshape(-1, 2), dtype=float)
        finite = np.isfinite(flat).all(axis=1)
        out = np.full_like(flat, np.nan)
        if finite.any():
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-10)
            out[finite] = cv2.undistortPoints(
                flat[finite][:, None], self.K, self.distortion, criteria=criteria
            ).reshape(-1, 2)
        return out.reshape(points_px.shape)

    @property
    def projection(self) -> np.ndarray:
        """``[R | t]`` (3, 4) for normalised image coordinates, in mm."""
        return np.concatenate([self.R, self.t_mm[:, None]], axis=1)


@dataclass(frozen=True)
class Rig:
    """All cameras of a session.

    Attributes
    ----------
    reference : str
        The camera that is the world.
    cameras : dict of Camera
    pairs : list of dict
        ``a``, ``b``, ``rms_px``, ``frames``: stereo reprojection error of each pair.
    square_error_mm, square_spread_mm : float
        Measured minus stated size of a checkerboard square, and the standard deviation of single squares;
        NaN without a checkerboard.
    scale_sigma : float
        Expected relative error of every length, from what gave the scale; NaN when not known.
    name : str
        What people call the rig, where it was kept to be used again.
    source : "checkerboard" | "file" | "hand" | "single"
    verdict : "reliable" | "check" | "failed"
    reasons : tuple of str
        Names the camera and says what is doubtful.
    """

    reference: str
    cameras: dict[str, Camera]
    pairs: list[dict[str, Any]] = field(default_factory=list)
    square_error_mm: float = float("nan")
    square_spread_mm: float = float("nan")
    scale_sigma: float = float("nan")
    name: str = ""
    source: str = "checkerboard"
    verdict: Verdict = "reliable"
    reasons: tuple[str, ...] = ()


def write_rig(path: Path, rig: Rig) -> None:
    """Write a rig as JSON: the ``rig.json`` of a run folder and of a session folder are the same."""
    write_json(path, {"schema_version": SCHEMA_VERSION, **asdict(rig)})


def read_rig(path: Path) -> Rig:
    """Read a ``rig.json``.

    Raises
    ------
    RunFolderError
        A field is missing, a rotation is improper, or it is of another schema. One that names no schema is
        read as this program's.
    """
    raw = read_json(path)
    version = raw.get("schema_version", SCHEMA_VERSION) if isinstance(raw, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise RunFolderError(
            f"{path} is a rig of schema {version}; this program reads schema {SCHEMA_VERSION}.",
            "Only the program that wrote it reads it: export it there as .yaml or .toml, or calibrate again.",
        )
    try:
        cameras = {name: _read_camera(entry) for name, entry in raw["cameras"].items()}
        rig = Rig(
            reference=raw["reference"],
            cameras=cameras,
            pairs=raw.get("pairs", []),
            square_error_mm=_float(raw.get("square_error_mm")),
            square_spread_mm=_float(raw.get("square_spread_mm")),
            scale_sigma=_float(raw.get("scale_sigma")),
            name=str(raw.get("name") or ""),
            source=raw.get("source", "file"),
            verdict=raw.get("verdict", "check"),  # whoever leaves it out has not judged
            reasons=tuple(raw.get("reasons", ())),
        )
        for name, camera in cameras.items():
            if not np.allclose(camera.R @ camera.R.T, np.eye(3), atol=1e-4) or (np.linalg.det(camera.R) < 0):
                raise ValueError(f"R of camera {name} is not a rotation")
        if rig.reference not in cameras:
            raise ValueError(f"the reference camera {rig.reference} is not among the cameras")
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is not a rig of this program ({error}).",
            "Delete it to calibrate again, or export it again from the run it came from.",
        ) from error
    return rig


def _read_camera(raw: dict[str, Any]) -> Camera:
    return Camera(
        name=raw["name"],
        size_px=(int(raw["size_px"][0]), int(raw["size_px"][1])),
        K=np.array(raw["K"], dtype=float).reshape(3, 3),
        distortion=np.array(raw["distortion"], dtype=float).reshape(5),
        R=np.array(raw["R"], dtype=float).reshape(3, 3),
        t_mm=np.array(raw["t_mm"], dtype=float).reshape(3),
        rms_px=_float(raw.get("rms_px")),
        used=raw.get("used", []),
        refused=raw.get("refused", []),
        coverage=raw.get("coverage", []),
        left_out_px=_float(raw.get("left_out_px")),
        sigma_deg=_float(raw.get("sigma_deg")),
        sigma_mm=_float(raw.get("sigma_mm")),
    )


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


# --- rig_check.json ------------------------------------------------------------------------------

CheckVerdict = Literal["good", "doubtful", "moved", "unknown"]


@dataclass(frozen=True)
class CameraCheck:
    """How well one camera of a rig fits what it saw of the hand.

    Attributes
    ----------
    verdict : "good" | "doubtful" | "moved" | "unknown"
    error_px : float
        Median distance of this camera's points of the hand from where the other cameras' points and the rig
        put them; NaN if it could not be measured.
    expected_px : float
        The same if the rig were true, from the points' own scatter.
    turn_deg, turn_sigma_deg : float
        How far the camera seems to have turned since the calibration, and the standard error.
    n_points : int
        Points compared.
    """

    verdict: CheckVerdict
    error_px: float = float("nan")
    expected_px: float = float("nan")
    turn_deg: float = float("nan")
    turn_sigma_deg: float = float("nan")
    n_points: int = 0


@dataclass(frozen=True)
class RigCheck:
    """Whether the cameras still stand where the rig says, from the hand's own points.

    ``verdict`` is the worst camera's; ``reasons`` name the camera and say what is wrong.
    """

    verdict: CheckVerdict
    cameras: dict[str, CameraCheck] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def write_rig_check(path: Path, check: RigCheck) -> None:
    """Write ``rig_check.json``."""
    write_json(path, asdict(check))


def read_rig_check(path: Path) -> RigCheck:
    """Read ``rig_check.json``."""
    raw = read_json(path)
    cameras = {name: CameraCheck(**_nan_for_none(entry)) for name, entry in raw["cameras"].items()}
    return RigCheck(raw["verdict"], cameras, tuple(raw["reasons"]))


# --- views/<camera>.npz --------------------------------------------------------------------------


@dataclass(frozen=True)
class PoseGuess:
    """What an estimator with a hand model says of the pose; frames without a hand are NaN.

    Attributes
    ----------
    betas : ndarray (T, 10)
    global_orient : ndarray (T, 3, 3)
        In the camera's frame.
    hand_pose : ndarray (T, 15, 3, 3)
    """

    betas: np.ndarray
    global_orient: np.ndarray
    hand_pose: np.ndarray

    @classmethod
    def make_blank(cls, n_frames: int) -> PoseGuess:
        """A guess of ``n_frames`` frames, all NaN."""
        shapes = (10,), (3, 3), (15, 3, 3)
        return cls(*(np.full((n_frames, *shape), np.nan) for shape in shapes))

    def at(self, frame: int) -> PoseGuess:
        """One frame's, without the axis of time."""
        return PoseGuess(self.betas[frame], self.global_orient[frame], self.hand_pose[frame])

    def put(self, frames: Any, guess: PoseGuess | None) -> None:
        """Write a guess into some frames (an index of numpy's), or NaN where there is none."""
        for name, values in vars(self).items():
            values[frames] = np.nan if guess is None else getattr(guess, name)


@dataclass(frozen=True)
class Gap:
    """A stretch of a track without measured points, too long to be bridged.

    Attributes
    ----------
    from_s, to_s : float
        The first missing frame's time, and that of the first frame with points again (or the end), by the
        camera's own clock.
    reason : str
        In words: why most of its frames are missing.
    """

    from_s: float
    to_s: float
    reason: str


@dataclass(frozen=True)
class ViewTrack:
    """One hand in one camera, frame by frame, in the camera's own time and full-image pixels.

    Attributes
    ----------
    time_s : ndarray (T,) float64
        Presentation times of the frames by the container, from the video's first frame at 0.
    box_px : ndarray (T, 4) float32
        x1 y1 x2 y2; NaN = no box.
    box_state : ndarray (T,) str
        One of `BOX_STATES`.
    keypoints_px : ndarray (T, 21, 2) float32
        Mean of the TTA passes; NaN = not measured.
    sigma_px : ndarray (T, 21) float32
        TTA spread as seed 000 section 5 times the estimator's stated scale factor; NaN = not measured.
    score : ndarray (T,) float32
        The estimator's own confidence that this is a hand, 0 to 1; NaN = not measured.
    guess : PoseGuess or None
        Only from estimators with a hand model.
    size_px : (int, int)
        Width and height of the video's (upright) pictures.
    gaps : tuple of Gap
        In order of time.
    offset_sigma_px : ndarray (21,) float64
        Standard deviation, along each axis, of the part of a point's error that stays the same over the
        recording; 0 = none is known of.
    """

    time_s: np.ndarray
    box_px: np.ndarray
    box_state: np.ndarray
    keypoints_px: np.ndarray
    sigma_px: np.ndarray
    score: np.ndarray
    size_px: tuple[int, int]
    guess: PoseGuess | None = None
    gaps: tuple[Gap, ...] = ()
    offset_sigma_px: np.ndarray = field(default_factory=lambda: np.zeros(N_JOINTS))


def write_view(run: RunFolder, camera: str, tracks: dict[Side, ViewTrack]) -> None:
    """Write ``views/<camera>.npz``.

    One hand has plain names; of both hands each name has ``right_`` or ``left_`` before it.
    """
    arrays: dict[str, np.ndarray] = {}
    for side, track in tracks.items():
        prefix = f"{side}_" if len(tracks) > 1 else ""
        fields: dict[str, Any] = {
            "time_s": track.time_s.astype(np.float64),
            "box_px": track.box_px.astype(np.float32),
            "box_state": track.box_state.astype("U12"),
            "keypoints_px": track.keypoints_px.astype(np.float32),
            "sigma_px": track.sigma_px.astype(np.float32),
            "score": track.score.astype(np.float32),
            "size_px": np.array(track.size_px, dtype=np.int64),
            "offset_sigma_px": np.asarray(track.offset_sigma_px, dtype=np.float64),
            "gap_from_s": np.array([gap.from_s for gap in track.gaps], dtype=np.float64),
            "gap_to_s": np.array([gap.to_s for gap in track.gaps], dtype=np.float64),
            "gap_reason": np.array([gap.reason for gap in track.gaps], dtype=str),
        }
        if track.guess is not None:
            fields |= {
                "guess_betas": track.guess.betas.astype(np.float32),
                "guess_global_orient": track.guess.global_orient.astype(np.float32),
                "guess_hand_pose": track.guess.hand_pose.astype(np.float32),
            }
        arrays |= {prefix + name: value for name, value in fields.items()}
    arrays["sides"] = np.array(list(tracks), dtype="U5")
    write_npz(run.view_npz(camera), **arrays)


def read_view(run: RunFolder, camera: str) -> dict[Side, ViewTrack]:
    """Read ``views/<camera>.npz``: a track for each side that was looked for."""
    arrays = read_npz(run.view_npz(camera))
    sides = [cast(Side, str(side)) for side in arrays["sides"]]
    tracks: dict[Side, ViewTrack] = {}
    for side in sides:
        prefix = f"{side}_" if len(sides) > 1 else ""
        guess = None
        if prefix + "guess_betas" in arrays:
            guess = PoseGuess(
                arrays[prefix + "guess_betas"],
                arrays[prefix + "guess_global_orient"],
                arrays[prefix + "guess_hand_pose"],
            )
        size = arrays[prefix + "size_px"]
        tracks[side] = ViewTrack(
            time_s=arrays[prefix + "time_s"],
            box_px=arrays[prefix + "box_px"],
            box_state=arrays[prefix + "box_state"],
            keypoints_px=arrays[prefix + "keypoints_px"],
            sigma_px=arrays[prefix + "sigma_px"],
            score=arrays[prefix + "score"],
            size_px=(int(size[0]), int(size[1])),
            guess=guess,
            gaps=_read_gaps(arrays, prefix),
            offset_sigma_px=arrays.get(prefix + "offset_sigma_px", np.zeros(N_JOINTS)),  # of older runs
        )
    return tracks


def _read_gaps(arrays: dict[str, np.ndarray], prefix: str) -> tuple[Gap, ...]:
    if prefix + "gap_from_s" not in arrays:  # a run of an earlier version
        return ()
    columns = (arrays[prefix + name].tolist() for name in ("gap_from_s", "gap_to_s", "gap_reason"))
    return tuple(Gap(*row) for row in zip(*columns, strict=True))


# --- hand_<side>.npz -----------------------------------------------------------------------------


@dataclass(frozen=True)
class HandTrack:
    """The fused hand of one side in the world of the reference camera, at its frame times.

    Left hands are stored as left hands: joints in the world as they are; ``global_orient`` and
    ``hand_pose`` are those of the mirrored right hand (S R S), see ``conventions.md``.

    Attributes
    ----------
    time_s : ndarray (T,)
        Times of the reference camera's frames.
    betas : ndarray (10,)
    global_orient : ndarray (T, 3, 3)
    hand_pose : ndarray (T, 15, 3, 3)
        Absolute: identity is the flat hand.
    transl_mm : ndarray (T, 3)
    joints_mm : ndarray (T, 21, 3)
        NaN = not measured.
    joint_sigma_mm : ndarray (T, 21)
        Standard deviation per axis of the whole error, from the curvature at the optimum: the part that
        changes and the part that stays the same over the recording.
    residual_px : ndarray (C, T, 21)
        Reprojection error by camera, in the order of ``cameras``, from the points less ``view_offset_px``;
        NaN = not seen.
    quality : ndarray (T, 21)
        0 to 1: share of the evidence that agrees; 0 = interpolated or contradicted.
    cameras : tuple of str
    trust : ndarray (C, T, 21) or None
        Share (0 to 1) of its manual weight that the fit left to each point; 0 where the whole view was set
        aside, NaN = not seen, or silenced by appendix C. None in older runs.
    view_state : ndarray (C, T) of str or None
        One of `VIEW_STATES`: "used"; set aside because the view followed another hand ("other hand") or the
        hand's mirror image ("mirrored"), or because the views contradicted each other ("doubted"); or the
        camera had not begun, or had ended ("not filming"). None in older runs.
    lengths_mm : ndarray (4, 30) or None
        The lengths that no pose changes (`pipeline.fusion.initial.DISTANCES`) between joints triangulated
        without a hand model: median and spread (1.4826 MAD) over the recording, then mean and standard
        deviation among people by the hand model. NaN = not measured; None in older runs.
    joint_offset_sigma_mm : ndarray (T, 21) or None
        The part of ``joint_sigma_mm`` that stays the same over the recording; None where the points state
        no such part, and in older runs.
    view_offset_px : ndarray (C, 21, 2) or None
        What was taken off each view's points in all frames, as the constant part of their error that
        contradicts the other views; in px of the calibration's pictures. None likewise.
    reading_sigma_mm : ndarray (T, 21) or None
        Part of ``joint_sigma_mm``: where one camera alone saw a finger for a while, the way it points, which
        a single view does not tell. None in older runs.
    place_sigma_mm : ndarray (T,) or None
        The part of ``joint_sigma_mm`` that moves all joints together and so bends none: the hand's distance
        from a single camera. None with more cameras, and in older runs.
    time_shift_s : ndarray (C,) or None
        How much later than the reference camera each camera showed the hand move, by the clocks of
        ``sync.json``; 0 for the reference. None in older runs.
    time_shift_sigma_s : ndarray (C,) or None
        Its standard error; NaN for the reference, infinite where the shift is that large at least. None
        likewise.
    time_shift_applied : ndarray (C,) of bool or None
        Whether it was taken off the camera's clock before the fit. None likewise.
    response_hz : ndarray (F,) or None
        Frequencies of ``response_gain``. None in older runs and of takes of less than a second.
    response_gain : ndarray (2, F) or None
        Share of a small movement's amplitude that fit and smoothing leave: of the whole hand, of one finger.
    bandwidth_hz : ndarray (2,) or None
        Up to where that share is 0.71 (-3 dB) or more; half the frame rate where it is everywhere.
    outline_trust : ndarray (C, T) or None
        Confidence (0 to 1) with which each camera's mask had a say in the fit; None where masks had none, and
        in older runs.
    excluded : ndarray (T,) of bool or None
        Frames that a person excluded (`pipeline.measures.excluded`); never stored with the track.
    """

    time_s: np.ndarray
    betas: np.ndarray
    global_orient: np.ndarray
    hand_pose: np.ndarray
    transl_mm: np.ndarray
    joints_mm: np.ndarray
    joint_sigma_mm: np.ndarray
    residual_px: np.ndarray
    quality: np.ndarray
    cameras: tuple[str, ...]
    trust: np.ndarray | None = None
    view_state: np.ndarray | None = None
    lengths_mm: np.ndarray | None = None
    joint_offset_sigma_mm: np.ndarray | None = None
    view_offset_px: np.ndarray | None = None
    place_sigma_mm: np.ndarray | None = None
    reading_sigma_mm: np.ndarray | None = None
    time_shift_s: np.ndarray | None = None
    time_shift_sigma_s: np.ndarray | None = None
    time_shift_applied: np.ndarray | None = None
    response_hz: np.ndarray | None = None
    response_gain: np.ndarray | None = None
    bandwidth_hz: np.ndarray | None = None
    outline_trust: np.ndarray | None = None
    excluded: np.ndarray | None = None

    @property
    def jitter_sigma_mm(self) -> np.ndarray:
        """Standard deviation (T, 21) per axis of the part of the joints' error that changes."""
        variance = self.joint_sigma_mm**2
        if self.joint_offset_sigma_mm is not None:
            variance = variance - self.joint_offset_sigma_mm**2
        if self.place_sigma_mm is not None:
            variance = variance - self.place_sigma_mm[:, None] ** 2
        if self.reading_sigma_mm is not None:
            variance = variance - self.reading_sigma_mm**2
        return np.sqrt(np.maximum(variance, 0.0))


def write_hand(run: RunFolder, side: Side, hand: HandTrack) -> None:
    """Write ``hand_<side>.npz``."""
    arrays = {
        key: _shorten(key, np.asarray(value))
        for key, value in vars(hand).items()
        if key not in ("cameras", "excluded") and value is not None
    }
    write_npz(run.hand_npz(side), cameras=np.array(hand.cameras, dtype=str), **arrays)


def _shorten(key: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind in "Ub":
        return value
    return value.astype(np.float64 if key == "time_s" else np.float32)


def read_hand(run: RunFolder, side: Side) -> HandTrack:
    """Read ``hand_<side>.npz``."""
    arrays = read_npz(run.hand_npz(side))
    cameras = tuple(str(name) for name in arrays.pop("cameras"))
    return HandTrack(**arrays, cameras=cameras)


def list_sides(run: RunFolder) -> tuple[Side, ...]:
    """The sides that have a fused hand in this run."""
    return tuple(side for side in SIDES if run.hand_npz(side).is_file())


# --- tables and summary --------------------------------------------------------------------------


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all."""
    with replace_atomically(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(path: Path, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table, or some of its columns."""
    if not path.is_file():
        raise RunFolderError(f"{path} is missing.", "Run the pipeline again to make it.")
    return pd.read_parquet(path, columns=None if columns is None else list(columns))
