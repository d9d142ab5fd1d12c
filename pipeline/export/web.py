"""What the browser streams: one mosaic video, the moving hand, overlays and colours (``web/`` of a run).

All arrays are little-endian, C order, without a header; ``index.json`` names each file with its dtype,
shape, bytes and SHA-256, and is written last, so that a folder without it is an unfinished one.

======================================  ============  =====================================================
file                                    shape         what
======================================  ============  =====================================================
``mosaic.mp4``                          T frames      all cameras in a grid; frame k is reference frame k
``time_s.f32``                          (T,)          time of each frame on the reference camera's clock, s
``shown_<n>.i32``                       (T,)          index of the camera's own frame shown; -1 = none
``vertices_<side>.i16``                 (T, V, 3)     mm = offset + scale * value; -32768 = hand not measured
``joints_<side>.f32``                   (T, 21, 3)    mm, world; NaN = not measured
``faces_<side>.u32``                    (F, 3)        triangles, outward
``vertex_joint.u8``                     (V,)          the joint nearest to each vertex of the flat hand
``measured_<side>_<n>.i16``             (T, 21, 2)    estimator's points in the frame shown
``reprojected_<side>_<n>.i16``          (T, 21, 2)    fused joints when the frame shown was taken
``outline_<side>_<n>.i16``              (P, 2)        rings of the hand's outline in the frame shown
``outline_start_<side>_<n>.u32``        (T + 1,)      the first of those points of each frame
``reference_vertices_<side>.f32``       (V, 3)        this person's hand in the reference's mean posture, mm
``reference_joints_<side>.f32``         (21, 3)       its joints, mm; at the hand model's own place
``jerk_<side>.u8``                      (T, 21)       jerk score relative to this recording, 0 to 1
``acceleration_<side>.u8``              (T, 21)       m/s², range in the index
``z_<side>.u8``                         (T, 20)       signed z of each angle by frame, range in the index
``angles_<side>.i16``                   (T, 20)       signed angle, 0.01 degrees; -32768 = not measured
``measures.csv``, ``angles.csv``        table         `pipeline.export.tables`, with ``tables.json``
``rig.json``, ``.yaml``, ``.toml``      cameras       `pipeline.calibration.formats`
======================================  ============  =====================================================

``<n>`` is the camera's place in ``cameras`` of the index: a camera is called what its file is called, which
may be anything. Points ``.i16`` are value / 8192 of the picture's width and height, (0, 0) = its top-left
corner; -32768 = missing, and the end of each ring of an outline. Values ``.u8`` are
``low + value / 254 * (high - low)``; 255 = missing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.calibration.formats import write_rig_file
from pipeline.errors import RunFolderError
from pipeline.export.outlines import trace_outlines
from pipeline.export.tables import write_tables
from pipeline.files import hash_file, write_bytes, write_json
from pipeline.hand.angles import ANGLE_INFO, ANGLES
from pipeline.hand.joints import BONES, JOINTS, MANO_POSE_JOINTS, N_JOINTS, Side
from pipeline.progress import Reporter
from pipeline.results import Camera, HandTrack, Rig, RunFolder, SyncResult, ViewTrack
from pipeline.session import Session

if TYPE_CHECKING:
    from pipeline.hand.model import HandModel
    from pipeline.measures.baseline_types import Baseline
    from pipeline.measures.measure import MeasureTables

WEB_SCHEMA_VERSION = 1
PANEL_PX = (640, 360)
"""Largest panel: three of them beside a 3D hand still play at 60 frames/s without a graphics card."""

MISSING_I16 = -32768
MISSING_U8 = 255
POINT_STEPS = 8192
Z_RANGE = (-6.0, 6.0)
"""Beyond six SD a colour says no more; the tables keep the exact value."""

SILENT_AUDIO_SHIFT_S = 0.02
"""Sound is warped onto the mosaic's even frame times only where they stray more than a listener hears."""

LARGEST_POSTURE_ERROR_DEG = 2.0
"""A hand that misses the reference's mean posture by more is not shown as that posture."""

_PALM_CENTRE = [
    JOINTS.index(joint) for joint in ("wrist", "index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp")
]
_BACKGROUND_BGR = (24, 20, 18)
_AUDIO_RATE_HZ = 48000


@dataclass(frozen=True)
class Panel:
    """Where a camera's picture lies in the mosaic, in its px: the panel, and the picture within it."""

    camera: str
    x: int
    y: int
    width: int
    height: int
    picture_x: int
    picture_y: int
    picture_width: int
    picture_height: int

    @property
    def panel_px(self) -> list[int]:
        """x, y, width, height of the panel."""
        return [self.x, self.y, self.width, self.height]

    @property
    def picture_px(self) -> list[int]:
        """x, y, width, height of the letterboxed picture."""
        return [self.picture_x, self.picture_y, self.picture_width, self.picture_height]


@dataclass(frozen=True)
class Mosaic:
    """The grid of panels and its size in px."""

    panels: tuple[Panel, ...]
    size_px: tuple[int, int]
    columns: int
    rows: int


def lay_out(sizes_px: dict[str, tuple[int, int]], largest_px: tuple[int, int] = PANEL_PX) -> Mosaic:
    """Place up to eight pictures in a grid of equal panels, each as large as fits, none enlarged.

    Parameters
    ----------
    sizes_px : dict of (width, height)
        Upright picture sizes by camera, in the order of the panels.
    largest_px : (width, height)
        Largest panel; turned by 90 degrees where every picture is upright.

    Returns
    -------
    Mosaic
        Three cameras lie in a 2 x 2 grid, whose fourth place is left for the 3D hand. All even numbers,
        as H.264 with 4:2:0 needs them.
    """
    if all(height > width for width, height in sizes_px.values()):
        largest_px = (largest_px[1], largest_px[0])
    fitted: dict[str, tuple[int, int]] = {}
    for camera, (width, height) in sizes_px.items():
        scale = min(largest_px[0] / width, largest_px[1] / height, 1.0)
        fitted[camera] = (_even(width * scale), _even(height * scale))
    panel_width = max(width for width, _ in fitted.values())
    panel_height = max(height for _, height in fitted.values())
    columns = {1: 1, 2: 2, 3: 2, 4: 2}.get(len(fitted), math.ceil(len(fitted) / 2))
    rows = math.ceil(len(fitted) / columns)
    panels = []
    for place, (camera, (width, height)) in enumerate(fitted.items()):
        x, y = place % columns * panel_width, place // columns * panel_height
        left, top = (panel_width - width) // 4 * 2, (panel_height - height) // 4 * 2
        panels.append(Panel(camera, x, y, panel_width, panel_height, x + left, y + top, width, height))
    return Mosaic(tuple(panels), (columns * panel_width, rows * panel_height), columns, rows)


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))


def find_nearest(time_s: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Index of the frame nearest in time to each wanted time; -1 where none is nearer than 1.5 intervals.

    Parameters
    ----------
    time_s : ndarray (N,)
        Ascending frame times.
    wanted_s : ndarray (T,)
        Times on the same clock.

    Returns
    -------
    ndarray (T,) int32
    """
    if len(time_s) == 0:
        return np.full(len(wanted_s), -1, np.int32)
    right = np.clip(np.searchsorted(time_s, wanted_s), 1, max(len(time_s) - 1, 1))
    right = np.minimum(right, len(time_s) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(
        np.abs(time_s[left] - wanted_s) <= np.abs(time_s[right] - wanted_s), left, right
    ).astype(np.int32)
    interval_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else math.inf
    nearest[~(np.abs(time_s[nearest] - wanted_s) <= 1.5 * interval_s)] = -1
    return nearest


def encode_points(points: np.ndarray) -> np.ndarray:
    """Points in parts of the picture as int16 of 1/8192; NaN, infinite or far outside = -32768."""
    scaled = np.asarray(points, dtype=float) * POINT_STEPS
    usable = np.isfinite(scaled).all(axis=-1) & (np.abs(scaled) < 32767).all(axis=-1)
    return np.where(usable[..., None], np.round(np.nan_to_num(scaled)), MISSING_I16).astype("<i2")


def encode_values(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as uint8, ``low`` = 0 to ``high`` = 254, clipped; NaN = 255."""
    span = high - low if high > low else 1.0
    scaled = np.clip((np.asarray(values, dtype=float) - low) / span, 0.0, 1.0) * 254
    return np.where(np.isfinite(scaled), np.round(np.nan_to_num(scaled)), MISSING_U8).astype(np.uint8)


def decode_values(quantised: np.ndarray, low: float, high: float) -> np.ndarray:
    """The inverse of `encode_values` (float32), to half a step."""
    values = low + quantised.astype(np.float32) / 254 * (high - low)
    return np.where(quantised == MISSING_U8, np.float32(np.nan), values).astype(np.float32)


def write_web(
    run: RunFolder,
    session: Session,
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    hands: dict[Side, HandTrack],
    measures: MeasureTables,
    model: HandModel,
    report: Reporter,
    baseline: Baseline | None = None,
) -> None:
    """Write ``web/`` of a run folder; see the table at the top of this module.

    Parameters
    ----------
    run : RunFolder
        Where to.
    session : Session
        Its videos are decoded once each. A session of keypoints has dark panels.
    sync, rig, views, hands, measures
        Results of the stages before. ``hands`` share the reference camera's frame times.
    model : HandModel
        The model that ``hands`` were fitted with.
    report : Reporter
        Hears of the progress.
    baseline : Baseline, optional
        The reference that ``measures`` were held against; its mean posture is laid beside the hand.

    Raises
    ------
    VideoError
        A video cannot be decoded or the mosaic cannot be written.
    RunFolderError
        There is no hand, or the folder cannot be written.
    """
    if not hands:
        raise RunFolderError(
            "No hand was fused, so there is nothing to show.",
            "Look at the warnings of the stages before; a hand must be seen in at least one camera.",
        )
    web = run.web
    (web / "index.json").unlink(missing_ok=True)
    writer = _Writer(web)
    time_s = np.asarray(next(iter(hands.values())).time_s, dtype=float)
    sources = {camera: _Source.find(camera, session, sync, views, time_s) for camera in session.cameras}
    mosaic = lay_out({camera: source.size_px for camera, source in sources.items()})
    fps = _find_fps(session, time_s)

    _write_mosaic(web / "mosaic.mp4", session, mosaic, sources, fps, time_s, report.part(0.0, 0.7))
    writer.note("mosaic.mp4", "h264", (len(time_s),))
    writer.put("time_s.f32", time_s.astype("<f4"))
    for number, source in enumerate(sources.values()):
        writer.put(f"shown_{number}.i32", source.shown.astype("<i4"))
    report.update(0.72, "Writing the moving hand")
    posed = {side: _pose_surface(hand, side, model) for side, hand in hands.items()}
    scale = _write_hands(writer, hands, posed, model)
    reference = {side: _write_reference(writer, side, hands[side], model, baseline) for side in hands}
    report.update(0.75, "Writing overlays and colours")
    part = report.part(0.75, 0.9)
    for side, hand in hands.items():
        for number, (panel, source) in enumerate(zip(mosaic.panels, sources.values(), strict=True)):
            track = views.get(panel.camera, {}).get(side)
            writer.put(f"measured_{side}_{number}.i16", _measured_points(hand, track, source))
            if panel.camera in rig.cameras:
                camera = rig.cameras[panel.camera]
                points = _reprojected_points(hand, camera, source)
                writer.put(f"reprojected_{side}_{number}.i16", points)
                _write_outline(writer, side, number, hand.time_s, posed[side], camera, panel, source, model)
            done = list(hands).index(side) + (number + 1) / len(sources)
            part.update(done / len(hands), "Writing overlays and colours")
    ranges = {side: _write_colours(writer, side, time_s, measures) for side in hands}
    report.update(0.92, "Writing the tables")
    for name in write_tables(web, measures):
        writer.note(name, "text", ())
    for suffix in (".json", ".yaml", ".toml"):
        write_rig_file(web / f"rig{suffix}", rig)
        writer.note(f"rig{suffix}", "text", ())
    writer.remove_others()
    write_json(
        web / "index.json",
        {
            "schema_version": WEB_SCHEMA_VERSION,
            "fps": [fps.numerator, fps.denominator],
            "n_frames": len(time_s),
            "n_vertices": model.n_vertices,
            "sides": list(hands),
            "joints": list(JOINTS),
            "bones": [list(bone) for bone in BONES],
            "angles": list(ANGLES),
            "angle_joint": [JOINTS.index(ANGLE_INFO[angle].joint) for angle in ANGLES],
            "mosaic": {
                "file": "mosaic.mp4",
                "size_px": list(mosaic.size_px),
                "columns": mosaic.columns,
                "rows": mosaic.rows,
            },
            "reference": session.settings.reference,
            "cameras": [_describe_camera(panel, sources[panel.camera], rig) for panel in mosaic.panels],
            "vertices": scale,
            "bounds": find_bounds({side: hand.joints_mm for side, hand in hands.items()}),
            "reference_posture": reference,
            "ranges": ranges,
            "bands": {side: _reference_bands(measures.angles, side) for side in hands},
            "excluded": [section.model_dump() for section in session.settings.exclude],
            "missing": {"i16": MISSING_I16, "u8": MISSING_U8},
            "point_steps": POINT_STEPS,
            "model": model.name,
            "files": writer.files,
        },
    )
    report.update(1.0, "The report's data are written")


class _Writer:
    """Writes arrays into ``web/`` and keeps what ``index.json`` says of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}

    def put(self, name: str, array: np.ndarray) -> None:
        """Write one array as raw little-endian bytes."""
        if array.dtype.itemsize > 1 and (
            array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big")
        ):
            array = array.astype(array.dtype.newbyteorder("<"))
        write_bytes(self.folder / name, np.ascontiguousarray(array).tobytes())
        self.note(name, array.dtype.newbyteorder("=").name, array.shape)

    def remove_others(self) -> None:
        """Remove what an earlier run left and this one has not: a hand or camera no longer there."""
        from pipeline.sync.waveforms import (
            is_waveform_file,  # here, since pages read this module without scipy
        )

        for path in self.folder.iterdir():
            is_own = not path.name.startswith(".") and not is_waveform_file(path.name)
            if path.is_file() and is_own and path.name not in self.files:
                path.unlink()

    def note(self, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        """Keep size and hash of a file that is there."""
        path = self.folder / name
        self.files[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }


@dataclass(frozen=True)
class _Source:
    """One camera's pictures: size, the frame shown at each reference frame, and when that one was taken.

    ``shown`` (T,) int32, -1 = none; ``shown_s`` (T,) reference time of the frame shown, NaN = none;
    ``own_s`` (N,) the camera's own frame times.
    """

    size_px: tuple[int, int]
    shown: np.ndarray
    shown_s: np.ndarray
    own_s: np.ndarray

    @staticmethod
    def find(
        camera: str,
        session: Session,
        sync: SyncResult,
        views: dict[str, dict[Side, ViewTrack]],
        time_s: np.ndarray,
    ) -> _Source:
        from pipeline.video import probe, read_times

        if camera in session.videos:
            size_px = probe(session.videos[camera]).size_px
            own_s = np.asarray(read_times(session.videos[camera]), dtype=float)
        else:
            track = next(iter(views[camera].values()))
            size_px, own_s = track.size_px, np.asarray(track.time_s, dtype=float)
        if camera not in sync.cameras or not math.isfinite(sync.cameras[camera].offset_s):
            shown = np.full(
                len(time_s), -1, np.int32
            )  # its clock is not known: no picture is better than a wrong one
            return _Source(size_px, shown, np.full(len(time_s), np.nan), own_s)
        reference_s = sync.to_reference_s(camera, own_s)
        shown = find_nearest(reference_s, time_s)
        return _Source(size_px, shown, np.where(shown >= 0, reference_s[shown], np.nan), own_s)


def _find_fps(session: Session, time_s: np.ndarray) -> Fraction:
    from pipeline.video import probe

    reference = session.settings.reference
    if reference in session.videos:
        return Fraction(probe(session.videos[reference]).fps)
    if len(time_s) < 2:
        return Fraction(30)
    return Fraction(1 / float(np.median(np.diff(time_s)))).limit_denominator(1001)


def _write_mosaic(
    path: Path,
    session: Session,
    mosaic: Mosaic,
    sources: dict[str, _Source],
    fps: Fraction,
    time_s: np.ndarray,
    report: Reporter,
) -> None:
    from pipeline.video import VideoWriter

    canvas = np.empty((mosaic.size_px[1], mosaic.size_px[0], 3), np.uint8)
    canvas[:] = _BACKGROUND_BGR
    with ExitStack() as stack:
        writer = stack.enter_context(
            VideoWriter(
                path,
                mosaic.size_px,
                fps,
                gop=max(1, round(float(fps) / 2)),
                audio=_read_sound(session, fps, time_s),
            )
        )
        pictures = [
            (panel, _pictures(session.videos.get(panel.camera), sources[panel.camera].shown, panel))
            for panel in mosaic.panels
        ]
        for frame in range(len(time_s)):
            for panel, source in pictures:
                x, y, width, height = panel.picture_px
                picture = next(source)
                canvas[y : y + height, x : x + width] = _BACKGROUND_BGR if picture is None else picture
            writer.write(canvas)
            if frame % 30 == 0:
                report.update(frame / len(time_s), "Composing the cameras into one video")


def _pictures(video: Path | None, shown: np.ndarray, panel: Panel) -> Iterator[np.ndarray | None]:
    """The picture for each reference frame, at panel size; None = no picture. Decodes the video once."""
    import cv2

    from pipeline.video import read_frames

    wanted = shown[shown >= 0]
    if video is None or len(wanted) == 0:
        for _ in shown:
            yield None
        return
    frames = iter(read_frames(video, start=int(wanted.min()), stop=int(wanted.max()) + 1))
    size = (panel.picture_width, panel.picture_height)
    picture: np.ndarray | None = None
    held = -1
    for index in shown:
        if index < 0:
            yield None
            continue
        if index != held:
            frame = next((frame for frame in frames if frame.index >= index), None)
            held = int(index)
            # A frame that the container lists but does not decode leaves an empty panel, not a wrong picture.
            picture = None
            if frame is not None and frame.index == index:
                same = frame.image.shape[1::-1] == size
                picture = frame.image if same else cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        yield picture


def _read_sound(session: Session, fps: Fraction, time_s: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The reference camera's sound on the mosaic's even frame times; None without sound."""
    from pipeline.errors import VideoError
    from pipeline.video import read_audio

    video = session.videos.get(session.settings.reference)
    if video is None:
        return None
    try:
        samples = read_audio(video, rate_hz=_AUDIO_RATE_HZ)
    except VideoError:
        return None  # sound is a comfort here; the sync stage has already said that it is missing
    if samples is None or len(samples) == 0:
        return None
    even_s = np.arange(len(time_s)) / float(fps)
    length = round(len(time_s) / float(fps) * _AUDIO_RATE_HZ)
    if np.abs(time_s - even_s).max() > SILENT_AUDIO_SHIFT_S:
        at_s = np.interp(np.arange(length) / _AUDIO_RATE_HZ, even_s, time_s)
        samples = np.interp(at_s * _AUDIO_RATE_HZ, np.arange(len(samples)), samples, left=0.0, right=0.0)
    return samples[:length].astype(np.float32), _AUDIO_RATE_HZ


def _pose_surface(hand: HandTrack, side: Side, model: HandModel) -> np.ndarray:
    """The surface (T, V, 3) in mm, world; NaN in frames where the hand was not measured."""
    from pipeline.hand.rotations import mirror_points  # loads torch, which readers of web/ do without

    vertices, _ = model.pose_arrays(hand.betas, hand.global_orient, hand.hand_pose, hand.transl_mm)
    if side == "left":
        vertices = mirror_points(vertices)
    measured = np.isfinite(hand.joints_mm).all(axis=(1, 2)) & np.isfinite(vertices).all(axis=(1, 2))
    vertices[~measured] = np.nan
    return vertices


def _write_hands(
    writer: _Writer, hands: dict[Side, HandTrack], posed: dict[Side, np.ndarray], model: HandModel
) -> dict[str, Any]:
    """Write vertices, joints, faces and each vertex's joint; returns offset and scale of the vertices."""
    finite = [vertices[np.isfinite(vertices).all(axis=(1, 2))].reshape(-1, 3) for vertices in posed.values()]
    points = np.concatenate(finite)
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(3), np.ones(3))
    offset = (low + high) / 2
    scale = max(float((high - low).max()) / 2 / 32766, 1e-6)
    for side, vertices in posed.items():
        whole = np.round(np.nan_to_num((vertices - offset) / scale))
        whole[np.isnan(vertices)] = MISSING_I16
        writer.put(f"vertices_{side}.i16", whole.astype("<i2"))
        writer.put(f"joints_{side}.f32", hands[side].joints_mm.astype("<f4"))
        writer.put(f"faces_{side}.u32", _outward_faces(model, side).astype("<u4"))
    writer.put("vertex_joint.u8", _nearest_joints(model))
    return {"offset_mm": offset, "scale_mm": scale}


def _outward_faces(model: HandModel, side: Side) -> np.ndarray:
    """Triangles (F, 3): a mirrored hand's turn the other way round."""
    return model.faces[:, ::-1] if side == "left" else model.faces


def find_bounds(hands: Mapping[Side, np.ndarray]) -> dict[str, Any]:
    """Lowest and highest x, y, z in mm that joints reach: in the world, and of each hand about its palm.

    ``hands`` has the joints (T, 21, 3) by side; NaN = not measured.
    """
    about_palm: dict[str, list[np.ndarray]] = {}
    world = []
    for side, joints_mm in hands.items():
        joints = joints_mm[np.isfinite(joints_mm).all(axis=(1, 2))]
        if not len(joints):
            continue
        centred = joints - joints[:, _PALM_CENTRE].mean(axis=1, keepdims=True)
        about_palm[side] = [centred.min(axis=(0, 1)), centred.max(axis=(0, 1))]
        world += [joints.min(axis=(0, 1)), joints.max(axis=(0, 1))]
    whole = [np.min(world, axis=0), np.max(world, axis=0)] if world else None
    return {"world_mm": whole, "about_palm_mm": about_palm}


def _write_reference(
    writer: _Writer, side: Side, hand: HandTrack, model: HandModel, baseline: Baseline | None
) -> dict[str, Any]:
    """Write this person's hand in the reference's mean posture; returns what the page says of it.

    ``missing`` says why there is none: no "reference", not all of its "angles", or this hand cannot take
    its "posture".
    """
    from pipeline.hand.posture import pose_by_angles
    from pipeline.hand.rotations import mirror_points

    if baseline is None:
        return {"missing": "reference"}
    mean_deg, _ = baseline.frame_level()
    if not np.isfinite(mean_deg).all():
        return {"missing": "angles"}
    posture = pose_by_angles(model, hand.betas, mean_deg)
    if not posture.largest_error_deg <= LARGEST_POSTURE_ERROR_DEG:
        return {"missing": "posture"}
    vertices, joints = posture.vertices_mm, posture.joints_mm
    if side == "left":
        vertices, joints = mirror_points(vertices), mirror_points(joints)
    writer.put(f"reference_vertices_{side}.f32", vertices.astype("<f4"))
    writer.put(f"reference_joints_{side}.f32", joints.astype("<f4"))
    return {"name": baseline.name, "simulated": baseline.simulated, "task": baseline.task}


def _write_outline(
    writer: _Writer,
    side: Side,
    number: int,
    time_s: np.ndarray,
    vertices_mm: np.ndarray,
    camera: Camera,
    panel: Panel,
    source: _Source,
    model: HandModel,
) -> None:
    """Write the rings of one hand in one camera's pictures, and where each frame's begin."""
    shown = _interpolate(time_s, vertices_mm, source.shown_s)
    size_px = (panel.picture_width, panel.picture_height)
    end = np.full((1, 2), np.nan)
    parts: list[np.ndarray] = []
    starts = [0]
    for rings in trace_outlines(shown, _outward_faces(model, side), camera, size_px):
        points = [encode_points(part) for ring in rings for part in (ring, end)]
        parts += points
        starts.append(starts[-1] + sum(map(len, points)))
    joined = np.concatenate(parts) if parts else np.empty((0, 2), "<i2")
    writer.put(f"outline_{side}_{number}.i16", joined)
    writer.put(f"outline_start_{side}_{number}.u32", np.array(starts, dtype="<u4"))


def _nearest_joints(model: HandModel) -> np.ndarray:
    """For each vertex of the flat mean hand the nearest joint (V,) uint8: curled fingers must not mix."""
    vertices, joints = model.pose_arrays(
        np.zeros(model.n_betas),
        np.eye(3)[None],
        np.broadcast_to(np.eye(3), (1, len(MANO_POSE_JOINTS), 3, 3)),
        np.zeros((1, 3)),
    )
    distance = np.linalg.norm(vertices[0][:, None] - joints[0][None], axis=-1)
    return distance.argmin(axis=1).astype(np.uint8)


def _measured_points(hand: HandTrack, track: ViewTrack | None, source: _Source) -> np.ndarray:
    """The estimator's points (T, 21, 2) of the very frame that is shown, in parts of the picture."""
    measured = np.full((len(hand.time_s), N_JOINTS, 2), np.nan)
    if track is not None and len(source.own_s):
        at = find_nearest(track.time_s, source.own_s)[source.shown]
        usable = (source.shown >= 0) & (at >= 0)
        measured[usable] = (track.keypoints_px[at[usable]] + 0.5) / np.array(track.size_px)
    return encode_points(measured)


def _reprojected_points(hand: HandTrack, camera: Camera, source: _Source) -> np.ndarray:
    """The fused joints (T, 21, 2) at the moment when the frame shown was taken, in parts of the picture."""
    joints = _interpolate(hand.time_s, hand.joints_mm, source.shown_s)
    return encode_points((camera.project(joints) + 0.5) / np.array(camera.size_px))


def _interpolate(time_s: np.ndarray, joints_mm: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    """Points (T, N, 3) at other times, straight between neighbours; NaN where a neighbour is missing."""
    if len(time_s) < 2:
        return np.asarray(joints_mm, dtype=float)
    right = np.clip(np.searchsorted(time_s, np.nan_to_num(wanted_s, nan=time_s[0])), 1, len(time_s) - 1)
    share = (wanted_s - time_s[right - 1]) / (time_s[right] - time_s[right - 1])
    share = np.clip(share, -0.5, 1.5)[:, None, None]  # half an interval past the ends: the picture's own lag
    return (1 - share) * joints_mm[right - 1] + share * joints_mm[right]


def _write_colours(
    writer: _Writer, side: Side, time_s: np.ndarray, measures: MeasureTables
) -> dict[str, dict[str, Any]]:
    """Write what colours the hand and the heat maps; returns range and unit of each."""
    by_joint = {
        column: _to_grid(measures.measures, side, time_s, "joint", JOINTS, column)
        for column in ("jerk_score", "acceleration")
    }
    angles = _to_grid(measures.angles, side, time_s, "angle", ANGLES, "degrees")
    z = _to_grid(measures.angles, side, time_s, "angle", ANGLES, "z")
    strong = by_joint["acceleration"][np.isfinite(by_joint["acceleration"])]
    top = max(1.0, float(np.ceil(np.percentile(strong, 99)))) if len(strong) else 1.0
    writer.put(f"jerk_{side}.u8", encode_values(by_joint["jerk_score"], 0.0, 1.0))
    writer.put(f"acceleration_{side}.u8", encode_values(by_joint["acceleration"], 0.0, top))
    writer.put(f"z_{side}.u8", encode_values(z, *Z_RANGE))
    hundredths = np.clip(np.round(np.nan_to_num(angles) * 100), -32767, 32767)
    writer.put(f"angles_{side}.i16", np.where(np.isfinite(angles), hundredths, MISSING_I16).astype("<i2"))
    return {
        "jerk": {"low": 0.0, "high": 1.0, "unit": "score relative to this recording"},
        "acceleration": {"low": 0.0, "high": top, "unit": "m/s²"},
        "z": {"low": Z_RANGE[0], "high": Z_RANGE[1], "unit": "SD from the reference, by frame"},
    }


def _reference_bands(table: pd.DataFrame, side: Side) -> dict[str, list[float]]:
    """Mean and SD in degrees of the reference that each angle's frame-level z was taken against.

    ``z = (degrees - mean) / sd`` is a straight line, so two far points of it give both.
    """
    bands: dict[str, list[float]] = {}
    rows = table[(table["side"] == side) & table["valid"] & np.isfinite(table["z"])]
    for angle, part in rows.groupby("angle", observed=True):
        degrees, z = part["degrees"].to_numpy(dtype=float), part["z"].to_numpy(dtype=float)
        low, high = degrees.argmin(), degrees.argmax()
        if z[high] - z[low] > 1e-3:
            sd = (degrees[high] - degrees[low]) / (z[high] - z[low])
            bands[str(angle)] = [float(degrees[low] - z[low] * sd), float(sd)]
    return bands


def _to_grid(
    table: pd.DataFrame, side: Side, time_s: np.ndarray, key: str, names: tuple[str, ...], column: str
) -> np.ndarray:
    """A column of a long table as (T, len(names)) float; rows that are missing or not valid are NaN."""
    grid = np.full((len(time_s), len(names)), np.nan)
    rows = table[(table["side"] == side) & table["valid"]]
    at = find_nearest(time_s, rows["time_s"].to_numpy(dtype=float))
    place = rows[key].map({name: i for i, name in enumerate(names)}).to_numpy(dtype=int)
    usable = at >= 0
    grid[at[usable], place[usable]] = rows[column].to_numpy(dtype=float)[usable]
    return grid


def _describe_camera(panel: Panel, source: _Source, rig: Rig) -> dict[str, Any]:
    """What the browser needs of a camera: its panel, and its lens and place to look through it."""
    entry: dict[str, Any] = {
        "name": panel.camera,
        "panel_px": panel.panel_px,
        "picture_px": panel.picture_px,
        "source_px": list(source.size_px),
        "shown_frames": int((source.shown >= 0).sum()),
    }
    if panel.camera in rig.cameras:
        camera = rig.cameras[panel.camera]
        entry |= {
            "size_px": list(camera.size_px),
            "K": camera.K,
            "R": camera.R,
            "t_mm": camera.t_mm,
            "distortion": camera.distortion,
        }
    return entry
