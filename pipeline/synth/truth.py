"""The truth of a made session: `Truth` in memory, ``truth.npz`` and ``truth.json`` on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RunFolderError
from pipeline.files import read_json, read_npz, replace_atomically, to_plain, write_npz
from pipeline.hand.joints import Side
from pipeline.hand.model import HandModel
from pipeline.hand.rotations import mirror_points
from pipeline.results import SCHEMA_VERSION, CameraSync, Rig, SyncResult, read_rig
from pipeline.synth.motion import Motion, make_motion
from pipeline.synth.rig import Stage, make_stage
from pipeline.synth.spec import CAMERAS, SynthSpec


@dataclass(frozen=True)
class Truth:
    """What is true of a made session. World: the front camera; time: its clock.

    Attributes
    ----------
    time_s : ndarray (T,)
        Times of the reference camera's frames.
    joints_mm : ndarray (T, 21, 3)
        Joints in the world, of a left hand where the left hand is.
    betas : ndarray (B,)
    global_orient : ndarray (T, 3, 3)
        Of a left hand: of the mirrored right hand, as in the run folder.
    hand_pose : ndarray (T, 15, 3, 3)
    transl_mm : ndarray (T, 3)
    camera_time_s : dict of ndarray (Tc,)
        Times of each camera's frames by its own clock.
    keypoints_px : dict of ndarray (Tc, 21, 2)
        True projections at each camera's own frames.
    offset_s, drift_ppm : dict of float
        ``t_reference = t_camera + offset_s + drift_ppm * 1e-6 * t_camera``.
    calibration_offset_s : dict of float
        The same for the checkerboard takes, which start at other instants.
    rig : Rig
    subject, side, kind, seed, severity
        As in the spec.
    phases : list of dict
        ``start_s``, ``end_s``, ``name``; "ordinary" or a dystonic one.
    onsets_s : list of float
        Onsets of the tones.
    fps : Fraction
    size_px : (int, int)
    board_rests : list of dict
        Rests of the checkerboard: ``start_s``, ``end_s`` (reference clock of the takes), ``R`` (3, 3)
        and ``t_mm`` (3,) from the board (corner 0 at 0, +x along a row, z = 0) to the world.
    """

    time_s: np.ndarray
    joints_mm: np.ndarray
    betas: np.ndarray
    global_orient: np.ndarray
    hand_pose: np.ndarray
    transl_mm: np.ndarray
    camera_time_s: dict[str, np.ndarray]
    keypoints_px: dict[str, np.ndarray]
    offset_s: dict[str, float]
    drift_ppm: dict[str, float]
    calibration_offset_s: dict[str, float]
    rig: Rig
    subject: str
    side: Side
    kind: str
    seed: int
    severity: float
    phases: list[dict[str, Any]]
    onsets_s: list[float]
    fps: Fraction
    size_px: tuple[int, int]
    board_rests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sync(self) -> SyncResult:
        """The true clocks, as a stage would have found them."""
        cameras = {
            name: CameraSync(
                self.offset_s[name], drift_ppm=self.drift_ppm[name],
                source="reference" if name == self.rig.reference else "manual",
            )
            for name in self.rig.cameras
        }  # fmt: skip
        return SyncResult(self.rig.reference, cameras, 0.0, "manual")


@dataclass(frozen=True)
class Take:
    """All that a take is drawn from: the truth and what the pictures and the sound need besides.

    Attributes
    ----------
    spec : SynthSpec
    model : HandModel
    stage : Stage
    motion : Motion
    clocks : SyncResult
        True offsets and drifts of the main take.
    calibration_clocks : SyncResult
        Those of the checkerboard take.
    """

    spec: SynthSpec
    model: HandModel
    stage: Stage
    motion: Motion
    clocks: SyncResult
    calibration_clocks: SyncResult


def make_take(spec: SynthSpec, model: HandModel) -> Take:
    """Draw a take. Nothing is rendered."""
    spec.check()
    clocks, calibration_clocks = _draw_clocks(spec)
    return Take(spec, model, make_stage(spec), make_motion(spec, model), clocks, calibration_clocks)


def _draw_clocks(spec: SynthSpec) -> tuple[SyncResult, SyncResult]:
    random = spec.draw("clocks")
    main, calibration = {}, {}
    bound = min(spec.max_offset_s, spec.seconds / 5)  # the cameras must share most of a short take
    for camera in CAMERAS:
        offset = random.uniform(-bound, bound)
        # Of the board's rests a camera may miss one at either end, but no more.
        other = random.uniform(-1, 1) * min(spec.max_offset_s, 1.5)
        drift = random.uniform(-spec.max_drift_ppm, spec.max_drift_ppm)
        if camera == CAMERAS[0]:
            offset, other, drift = 0.0, 0.0, 0.0
        main[camera] = CameraSync(offset, drift_ppm=drift, source="manual")
        calibration[camera] = CameraSync(other, drift_ppm=drift, source="manual")
    return SyncResult(CAMERAS[0], main, 0.0, "manual"), SyncResult(CAMERAS[0], calibration, 0.0, "manual")


def pose_take(take: Take, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The hand at times (T,) of the reference clock.

    Returns
    -------
    vertices_mm : ndarray (T, V, 3) float32
        In the world; of a left hand already mirrored to where the left hand is.
    joints_mm : ndarray (T, 21, 3) float64
    parameters : dict
        ``global_orient`` (T, 3, 3), ``hand_pose`` (T, 15, 3, 3), ``transl_mm`` (T, 3) of the (mirrored)
        right hand in the world.
    """
    pose = take.motion.at(time_s)
    betas = take.motion.person.betas
    eye = np.eye(3)
    _, flat = take.model.pose_arrays(betas, eye[None], np.tile(eye, (1, 15, 1, 1)), np.zeros((1, 3)))
    orient = take.stage.world_R_piano @ pose.orient
    transl = take.stage.to_world_mm(pose.wrist_mm) - flat[0, 0]
    vertices, joints = take.model.pose_arrays(betas, orient, pose.hand_pose, transl)
    if take.spec.side == "left":
        vertices, joints = mirror_points(vertices), mirror_points(joints)
    parameters = {"global_orient": orient, "hand_pose": pose.hand_pose, "transl_mm": transl}
    return vertices, joints.astype(float), parameters


def make_truth(spec: SynthSpec, model: HandModel, take: Take | None = None) -> Truth:
    """The truth of a made session, without rendering it (a second of work for minutes of recording)."""
    from pipeline.synth.board import make_board_motion

    take = take or make_take(spec, model)
    time_s = spec.frame_times_s()
    _, joints, parameters = pose_take(take, time_s)
    keypoints = {}
    for camera in CAMERAS:
        _, seen, _ = pose_take(take, take.clocks.to_reference_s(camera, time_s))
        keypoints[camera] = take.stage.rig.cameras[camera].project(seen)
    rests = make_board_motion(take.spec, take.stage.rig).rests() if spec.calibration else []
    return Truth(
        time_s=time_s,
        joints_mm=joints,
        betas=take.motion.person.betas,
        **parameters,
        camera_time_s={camera: time_s for camera in CAMERAS},
        keypoints_px=keypoints,
        offset_s={camera: take.clocks.cameras[camera].offset_s for camera in CAMERAS},
        drift_ppm={camera: take.clocks.cameras[camera].drift_ppm for camera in CAMERAS},
        calibration_offset_s={c: take.calibration_clocks.cameras[c].offset_s for c in CAMERAS},
        rig=take.stage.rig,
        subject=spec.name,
        side=spec.side,
        kind=spec.kind,
        seed=spec.seed,
        severity=spec.severity if spec.kind == "dystonic" else 0.0,
        phases=[asdict(phase) for phase in take.motion.phases],
        onsets_s=[stroke.onset_s for stroke in take.motion.strokes],
        fps=spec.fps,
        size_px=spec.size_px,
        board_rests=rests,
    )


_PLAIN = (
    "offset_s", "drift_ppm", "calibration_offset_s", "subject", "side", "kind", "seed", "severity",
    "phases", "onsets_s", "size_px", "board_rests",
)  # fmt: skip
_ARRAYS = ("time_s", "joints_mm", "betas", "global_orient", "hand_pose", "transl_mm")


def write_truth(folder: Path, truth: Truth) -> None:
    """Write ``truth.npz`` and ``truth.json`` into a session folder."""
    arrays = {name: getattr(truth, name) for name in _ARRAYS}
    for camera in truth.keypoints_px:
        arrays[f"{camera}_time_s"] = truth.camera_time_s[camera]
        arrays[f"{camera}_keypoints_px"] = truth.keypoints_px[camera]
    write_npz(folder / "truth.npz", **arrays)
    plain: dict[str, Any] = {name: getattr(truth, name) for name in _PLAIN}
    plain["fps"] = [truth.fps.numerator, truth.fps.denominator]
    plain["rig"] = {"schema_version": SCHEMA_VERSION, **asdict(truth.rig)}
    with replace_atomically(folder / "truth.json") as temporary:
        temporary.write_text(json.dumps(to_plain(plain), indent=1) + "\n", encoding="utf-8")


def read_truth(folder: Path) -> Truth:
    """Read the truth beside a made session.

    Parameters
    ----------
    folder : Path
        The session folder, or its ``truth.npz`` or ``truth.json``.

    Raises
    ------
    RunFolderError
        A file is missing or is no truth of this program.
    """
    folder = Path(folder)
    if folder.suffix in (".npz", ".json"):
        folder = folder.parent
    for name in ("truth.npz", "truth.json"):
        if not (folder / name).is_file():
            raise RunFolderError(
                f"{folder / name} is missing.", "Name a folder that `python -m pipeline synth` made."
            )
    arrays, plain = read_npz(folder / "truth.npz"), read_json(folder / "truth.json")
    try:
        cameras = list(plain["rig"]["cameras"])
        fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
        fields |= {name: plain[name] for name in _PLAIN}
        fields |= {
            "camera_time_s": {camera: arrays[f"{camera}_time_s"] for camera in cameras},
            "keypoints_px": {camera: arrays[f"{camera}_keypoints_px"] for camera in cameras},
            "size_px": (int(plain["size_px"][0]), int(plain["size_px"][1])),
            "fps": Fraction(*plain["fps"]),
            "rig": _parse_rig(plain["rig"]),
        }
        return Truth(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"The truth in {folder} is not one of this program ({error}).",
            "Make the session again with `python -m pipeline synth`.",
        ) from error


def _parse_rig(raw: dict[str, Any]) -> Rig:
    # `read_rig` reads files; the truth holds the same fields inside another file.
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rig.json"
        path.write_text(json.dumps(raw), encoding="utf-8")
        return read_rig(path)
