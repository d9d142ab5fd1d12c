"""What a collaborator is given of one run or of two: a folder that holds nothing else, made once.

Nothing is hidden here; what is not to be seen is not in the folder. Every field is named that goes in, and
words only where this program wrote them: no text that a person typed, no name of a file, a camera or a
device, no day, no sound. The hand is the model's mean hand in the measured pose, since lengths of bones tell
who somebody is. What the owner chooses lets more through (`pipeline.share_files.CHOICES`).

::

    share.json                   which parts there are, days between them, the choices, what changed
    notes.json                   with "notes" only
    a/summary.json  a/web/...    the earlier or only recording, in the formats of a run
    b/summary.json  b/web/...    the later one of a comparison
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from pipeline.errors import RunFolderError
from pipeline.files import hash_file, read_json, write_bytes, write_json
from pipeline.hand.joints import Side
from pipeline.measures.baseline import read_baseline
from pipeline.measures.change import compare, find_differences
from pipeline.measures.playing_types import Individuation, KeyTiming
from pipeline.measures.quality_types import CameraQuality, HandQuality, QualityReport
from pipeline.measures.reliability_types import read_reliability
from pipeline.measures.summary import PURPOSE_NOTE, SIGN_NOTE
from pipeline.measures.summary_types import (
    INTERVAL_NOTE,
    SIMULATED_NOTE,
    Provenance,
    Recording,
    SideSummary,
    Summary,
    read_summary,
    write_summary,
)
from pipeline.results import HandTrack, RunFolder, list_sides, read_hand
from pipeline.share_files import NOTES_FILE, PARTS, SHARE_FILE, SHARE_VERSION, Choice
from settings import get_settings

KNOWN_TASKS: Final = frozenset({"piano", "banjo"})
"""Tasks that this program names itself; any other was typed, and may say anything."""

VIDEO_SCALE: Final = 0.5
VIDEO_CRF: Final = 28
STILL_PX: Final = (64, 36)
STAGE_PX: Final = (1280, 560)

MORE_REASONS: Final = "More reasons concern cameras, clocks or the rig: ask who shared this."
MORE_REASONS_HERE: Final = "More reasons concern cameras, clocks or the rig: ask who made the recording."
NOT_HEARD: Final = "The strokes cannot be heard clearly enough."
OTHER_TASK: Final = "The task is another than the reference's: read every z with care."

_REASONS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"No hand could be measured\.",
        r"The (right|left) hand could not be measured\.",
        r"The (right|left) hand was measured in only \d+ % of the recording\.",
        r"The (right|left) hand was measured in \d+ % of the recording; numbers that rest on less than 80 % "
        r"are withheld\.",
        r"The recording of [\d.]+ s is too short for intervals\.",
        r"Joints of the (right|left) hand are known to [\d.]+ mm: small differences of angles mean nothing\."
        r"( They jitter by [\d.]+ mm; over [\d.]+ mm brisk movements are missed\.)?",
    )
)
"""Reasons of the quality verdict that name neither a camera nor anything that a person called something."""

_WORDS: Final = frozenset(
    {
        "angle",
        "label",
        "finger",
        "joint",
        "level",
        "peak_level",
        "note",
        "sentence",
        "direction",
        "id",
        "unit",
    }
    | {"reference", "worse", "verdict", "reason", "site", "striking", "other"}
)
"""Fields of measures whose words are this program's own."""

_COPIED: Final = (
    "jerk_{side}.u8",
    "acceleration_{side}.u8",
    "z_{side}.u8",
    "angles_{side}.i16",
    "faces_{side}.u32",
)
_OWN_SHAPE: Final = ("vertices_{side}.i16", "joints_{side}.f32")

Value = TypeVar("Value")


def share_runs(
    runs: Sequence[RunFolder],
    out: Path,
    choices: Sequence[Choice] = (),
    mark: str = "",
    notes: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> Path:
    """Make the folder, whole or not at all.

    Parameters
    ----------
    runs : sequence of 1 or 2 RunFolder
        Finished; of two the earlier visit first.
    out : Path
        A folder that is not there yet.
    choices : sequence of str
        Of `CHOICES`.
    mark : str
        Printed into every picture of a video.
    notes : sequence of sequence of mappings
        By run, what stands on its timeline: start_s, end_s, kind, text. Left out without the choice "notes".

    Raises
    ------
    RunFolderError
        A run is not finished or cannot be read, or the folder is there or cannot be written.
    ModelError
        The hand model is not the one that a run was fused with.
    VideoError
        The video cannot be read or written.
    """
    if not 1 <= len(runs) <= len(PARTS):
        raise RunFolderError("One or two runs can be shared.", "Name one, or two to compare.")
    if out.exists():
        raise RunFolderError(f"{out} is there already.", "Name a new folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out.parent))
    try:
        _write(work, runs, frozenset(choices), mark, notes)
        os.replace(work, out)
    except OSError as error:
        raise RunFolderError(
            f"{out} could not be written ({error.strerror or error}).", "Free some space, and try again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


def _write(
    work: Path,
    runs: Sequence[RunFolder],
    choices: frozenset[Choice],
    mark: str,
    notes: Sequence[Sequence[Mapping[str, Any]]],
) -> None:
    originals = []
    for run in runs:
        if read_json(run.run_json).get("state") != "done":
            raise RunFolderError("A run that is not finished cannot be shared.", "Run the pipeline first.")
        originals.append(read_summary(run.summary_json))
    days = count_days([summary.visit for summary in originals])
    shared = strip_summaries(originals, days, choices)
    for part, run, summary in zip(PARTS, runs, shared, strict=False):
        folder = RunFolder(work / part)
        write_summary(folder.summary_json, summary)
        _write_web(run, folder.web, choices, mark)
    if "notes" in choices:
        write_json(work / NOTES_FILE, [[_strip_note(note) for note in of_run] for of_run in notes])
    about = {"parts": list(PARTS[: len(runs)]), "days": days, "choices": sorted(choices)}
    about |= _compare(originals, shared)
    write_json(work / SHARE_FILE, {"schema_version": SHARE_VERSION, **about})


def count_days(visits: Sequence[str]) -> list[int | None]:
    """Days from the first of the visits to each, by ISO dates; None where one is not known."""
    dates = [datetime.date.fromisoformat(visit) if visit else None for visit in visits]
    known = [date for date in dates if date is not None]
    return [None if date is None else (date - min(known)).days for date in dates]


def _strip_note(note: Mapping[str, Any]) -> dict[str, Any]:
    return {key: note.get(key) for key in ("start_s", "end_s", "kind", "text")}


def _compare(originals: Sequence[Summary], shared: Sequence[Summary]) -> dict[str, Any]:
    """What changed between two visits, worked out with the clinic's own study, and what keeps them apart."""
    if len(originals) < 2:
        return {}
    path = get_settings().reliability
    found = compare(originals[0], originals[1], read_reliability(path) if path is not None else None)
    changes = {
        side: {
            kind: [_plain(change) for change in getattr(change_of, kind)]
            for kind in ("headlines", "angles", "postures")
        }
        for side, change_of in found.sides.items()
    }
    return {
        "changes": changes,
        "warnings": list(find_differences(shared[0], shared[1])),
        "study": path is not None,
        "study_fits": path is not None and not found.study_obstacles,
    }


# --- numbers -------------------------------------------------------------------------------------


def strip_summaries(
    summaries: Sequence[Summary], days: Sequence[int | None], choices: frozenset[Choice]
) -> list[Summary]:
    """Summaries of which only numbers and this program's own words are left.

    What must agree for a comparison and was typed by a person stands as a letter: the same letter, the same
    words.
    """
    people = _letters("person {}", [summary.subject for summary in summaries])
    keys = {key for summary in summaries for key in summary.comparability}
    agreed = {
        key: _letters(f"{key} {{}}", [summary.comparability.get(key, "") for summary in summaries])
        for key in keys
    }
    return [
        _strip_summary(
            summary,
            subject=summary.subject if "pseudonym" in choices else people[number],
            day=day,
            task=summary.task if summary.task in KNOWN_TASKS else "",
            agreed={key: agreed[key][number] for key in summary.comparability},
        )
        for number, (summary, day) in enumerate(zip(summaries, days, strict=True))
    ]


def strip_for_research(
    summary: Summary, person: str, day: int | None, recode: Callable[[str, str], str]
) -> Summary:
    """A summary of which only numbers and this program's own words are left, for who works with many.

    Parameters
    ----------
    summary : Summary
        Of a run.
    person : str
        What stands in the pseudonym's place.
    day : int or None
        Of the visit, from the person's first; None = not known.
    recode : callable
        ``recode(kind, words) -> str``: the same for the same words, and tells nothing of them.
    """
    stripped = _strip_summary(
        summary,
        subject=person,
        day=day,
        task=name_task(summary.task, recode),
        agreed={key: recode(key, value) if value else "" for key, value in summary.comparability.items()},
        more_reasons=MORE_REASONS_HERE,
    )
    sides = {
        side: dataclasses.replace(
            stripped.sides[side],
            tremor=tuple(map(_strip, found.tremor)),
            individuation=None if found.individuation is None else _strip_individuation(found.individuation),
            ldlj=found.ldlj,
        )
        for side, found in summary.sides.items()
    }
    return dataclasses.replace(stripped, sides=sides, timing=_strip_timing(summary.timing))


def name_task(task: str, recode: Callable[[str, str], str]) -> str:
    """A task that this program names itself, or what ``recode`` makes of another's words."""
    return task if task in KNOWN_TASKS else recode("task", task)


def _strip_summary(
    summary: Summary,
    *,
    subject: str,
    day: int | None,
    task: str,
    agreed: Mapping[str, str],
    more_reasons: str = MORE_REASONS,
) -> Summary:
    """``agreed`` stands for what must agree for a comparison and was typed by a person."""
    provenance = _strip_provenance(summary.provenance)
    return Summary(
        subject=subject,
        visit="" if day is None else f"day {day}",
        task=task,
        recording=Recording(
            summary.recording.duration_s,
            summary.recording.fps,
            summary.recording.n_frames,
            tuple(f"camera {i}" for i, _ in enumerate(summary.recording.cameras, start=1)),
        ),
        quality=_strip_quality(summary.quality, more_reasons),
        provenance=provenance,
        sides={side: _strip_side(found) for side, found in summary.sides.items()},
        comparability={
            key: value if _is_ours(key, value, provenance) else agreed[key]
            for key, value in summary.comparability.items()
        },
        notes=_state_notes(summary),
    )


def _letters(pattern: str, values: Sequence[str]) -> list[str]:
    order = list(dict.fromkeys(values))
    return [pattern.format("AB"[order.index(value)]) for value in values]


def _is_ours(key: str, value: str, provenance: Provenance) -> bool:
    """Whether words that must agree are this program's own."""
    if key == "task":
        return value in KNOWN_TASKS
    if key == "reference":
        return bool(provenance.baseline_digest)
    return key in (
        "frame rate", "cameras", "scale of the cameras", "hand model", "filter", "method version",
        "program version",
    )  # fmt: skip


def _state_notes(summary: Summary) -> tuple[str, ...]:
    notes = [SIGN_NOTE, INTERVAL_NOTE, PURPOSE_NOTE]
    if summary.provenance.baseline_simulated:
        notes.insert(0, SIMULATED_NOTE)
    if summary.task != summary.provenance.baseline_task:
        notes.append(OTHER_TASK)
    return tuple(notes)


def _strip_provenance(origin: Provenance) -> Provenance:
    """The origin without what people named: of a clinic's own reference only its size is told."""
    built_in = read_baseline()
    ours = origin.baseline_digest == built_in.digest
    return Provenance(
        program_version=origin.program_version,
        hand_model=origin.hand_model if origin.hand_model in ("MANO", "built-in hand") else "",
        detector=origin.detector if origin.detector == "mediapipe" else "other",
        estimator=origin.estimator if origin.estimator in ("mediapipe", "redys") else "other",
        preset=origin.preset,
        filter=origin.filter,
        baseline=built_in.name if ours else "the clinic's own reference",
        baseline_simulated=origin.baseline_simulated,
        baseline_n_people=origin.baseline_n_people,
        baseline_minutes=origin.baseline_minutes,
        baseline_task=origin.baseline_task if origin.baseline_task in KNOWN_TASKS else "",
        baseline_licence=built_in.licence if ours else "",
        baseline_provenance=built_in.provenance if ours else "",
        baseline_digest=origin.baseline_digest if ours else "",
    )


def _strip_quality(quality: QualityReport, more_reasons: str) -> QualityReport:
    told = tuple(reason for reason in quality.reasons if any(known.fullmatch(reason) for known in _REASONS))
    more = (more_reasons,) if len(told) < len(quality.reasons) else ()
    nan = float("nan")
    cameras = tuple(
        CameraQuality(
            camera=f"camera {number}",
            valid_share=camera.valid_share,
            reprojection_px=camera.reprojection_px,
            calibration_rms_px=camera.calibration_rms_px,
            offset_s=nan,  # clocks' offsets and drifts know a device again
            offset_sigma_s=camera.offset_sigma_s,
            drift_ppm=nan,
            sync_verdict=camera.sync_verdict,
            sync_source=camera.sync_source,
            check_verdict=camera.check_verdict,
        )
        for number, camera in enumerate(quality.cameras, start=1)
    )
    hands = {
        side: HandQuality(
            valid_share=hand.valid_share,
            stated_sigma_mm=hand.stated_sigma_mm,
            measured_sigma_mm=hand.measured_sigma_mm,
            reprojection_px=hand.reprojection_px,
            jitter_sigma_mm=hand.jitter_sigma_mm,
            hand_bandwidth_hz=hand.hand_bandwidth_hz,
            finger_bandwidth_hz=hand.finger_bandwidth_hz,
        )
        for side, hand in quality.hands.items()
    }
    return QualityReport(
        verdict=quality.verdict,
        reasons=(*told, *more),
        cameras=cameras,
        hands=hands,
        sync_source=quality.sync_source,
        rig_source=quality.rig_source,
        rig_verdict=quality.rig_verdict,
        closure_s=quality.closure_s,
        rig_check=quality.rig_check,
    )


def _strip_side(found: SideSummary) -> SideSummary:
    """Angles, headline numbers and events; what rests on lengths of the hand (openness, path) is left out."""
    return SideSummary(
        angles=tuple(map(_strip, found.angles)),
        worst=tuple(map(_strip, found.worst)),
        headlines=tuple(map(_strip, found.headlines)),
        fingers=tuple(map(_strip, found.fingers)),
        bouts=tuple(map(_strip, found.bouts)),
        brisk=tuple(map(_strip, found.brisk)),
        jerk_reference=(),
    )


def _strip_individuation(found: Individuation) -> Individuation:
    return Individuation(
        couplings=tuple(map(_strip, found.couplings)),
        fingers=tuple(map(_strip, found.fingers)),
        events=found.events,
        unclear=found.unclear,
        heard=found.heard,
        note=found.note,
    )


def _strip_timing(found: KeyTiming | None) -> KeyTiming | None:
    """Without the camera whose sound it is, which the reason may name too."""
    if found is None:
        return None
    return dataclasses.replace(_strip(found), source="", note=NOT_HEARD if found.note else "")


def _strip(value: Value) -> Value:
    """A measure whose fields are numbers and this program's words; anything else is left out."""
    return type(value)(**_plain(value))


def _plain(value: Any) -> dict[str, Any]:
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {
        name: part for name, part in found.items() if isinstance(part, (bool, int, float)) or name in _WORDS
    }


# --- what the browser streams ----------------------------------------------------------------------


class _Files:
    """Writes arrays, and keeps what the index says of each."""

    def __init__(self, source: Path, folder: Path, index: Mapping[str, Any]) -> None:
        self.source, self.folder, self.index = source, folder, index
        self.entries: dict[str, dict[str, Any]] = {}

    def read(self, name: str) -> np.ndarray:
        """An array of the run: as many bytes as its shape has, and what else may follow is left."""
        entry = self.index["files"][name]
        kind = np.dtype(entry["dtype"]).newbyteorder("<")
        shape = tuple(int(length) for length in entry["shape"])
        path = self.source / name
        if kind.kind not in "iuf" or not path.is_file():
            raise RunFolderError(f"{path} is no array of a run.", "Run the pipeline on the session again.")
        return np.fromfile(path, kind, count=int(np.prod(shape))).reshape(shape)

    def copy(self, name: str) -> None:
        if name in self.index["files"]:
            self.put(name, self.read(name))

    def put(self, name: str, array: np.ndarray) -> None:
        kind = array.dtype.newbyteorder("<")
        write_bytes(self.folder / name, np.ascontiguousarray(array.astype(kind)).tobytes())
        self.note(name, array.dtype.newbyteorder("=").name, array.shape)

    def note(self, name: str, dtype: str, shape: Sequence[int]) -> None:
        path = self.folder / name
        self.entries[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }


def _write_web(run: RunFolder, web: Path, choices: frozenset[Choice], mark: str) -> None:
    """``web/`` of one part: the moving hand and its colours, and the video if it was chosen."""
    from pipeline.export.web import WEB_SCHEMA_VERSION

    index = read_json(run.web / "index.json")
    if index.get("schema_version") != WEB_SCHEMA_VERSION:
        raise RunFolderError(f"{run.web} is of another version.", "Run the pipeline on the session again.")
    files = _Files(run.web, web, index)
    sides: list[Side] = [side for side in list_sides(run) if side in index["sides"]]
    files.copy("time_s.f32")
    files.copy("vertex_joint.u8")
    for side in sides:
        for name in (*_COPIED, *(_OWN_SHAPE if "shape" in choices else ())):
            files.copy(name.format(side=side))
    if "shape" in choices:
        placed = {"vertices": index["vertices"], "bounds": index.get("bounds")}
    else:
        placed = _write_mean_hands(run, files, sides)
    pictures = _write_video(files, choices, mark, sides)
    write_json(
        web / "index.json",
        {
            **{key: index[key] for key in ("schema_version", "fps", "n_frames", "n_vertices", "joints")},
            **{key: index[key] for key in ("bones", "angles", "angle_joint", "missing", "point_steps")},
            "sides": sides,
            **pictures,
            **placed,
            "ranges": {side: index["ranges"][side] for side in sides},
            "bands": {side: index.get("bands", {}).get(side, {}) for side in sides},
            "excluded": [],
            "shared": True,
            "files": files.entries,
        },
    )


def _write_mean_hands(run: RunFolder, files: _Files, sides: Sequence[Side]) -> dict[str, Any]:
    """Vertices and joints of the model's mean hand in the measured pose, its wrist where measured."""
    from pipeline.export.bones import load_model_of  # loads torch
    from pipeline.export.web import find_bounds

    model = load_model_of(read_json(run.run_json).get("models", []))
    posed: dict[Side, tuple[np.ndarray, np.ndarray]] = {}
    for side in sides:
        posed[side] = _pose_mean(read_hand(run, side), side, model)
    whole = [
        vertices[np.isfinite(vertices).all(axis=(1, 2))].reshape(-1, 3) for vertices, _ in posed.values()
    ]
    points = np.concatenate(whole)
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(3), np.ones(3))
    offset, scale = (low + high) / 2, max(float((high - low).max()) / 2 / 32766, 1e-6)
    missing = files.index["missing"]["i16"]
    for side, (vertices, joints) in posed.items():
        steps = np.round(np.nan_to_num((vertices - offset) / scale))
        steps[np.isnan(vertices)] = missing
        files.put(f"vertices_{side}.i16", steps.astype("<i2"))
        files.put(f"joints_{side}.f32", joints.astype("<f4"))
    return {
        "vertices": {"offset_mm": offset.tolist(), "scale_mm": scale},
        "bounds": find_bounds({side: joints for side, (_, joints) in posed.items()}),
    }


def _pose_mean(hand: HandTrack, side: Side, model: Any) -> tuple[np.ndarray, np.ndarray]:
    from pipeline.hand.rotations import mirror_points

    still = np.zeros((len(hand.time_s), 3))
    vertices, joints = model.pose_arrays(np.zeros(model.n_betas), hand.global_orient, hand.hand_pose, still)
    if side == "left":
        vertices, joints = mirror_points(vertices), mirror_points(joints)
    shift = hand.joints_mm[:, :1] - joints[:, :1]
    measured = np.isfinite(hand.joints_mm).all(axis=(1, 2)) & np.isfinite(vertices).all(axis=(1, 2))
    vertices, joints = vertices + shift, joints + shift
    vertices[~measured] = np.nan
    joints[~np.isfinite(hand.joints_mm)] = np.nan
    return vertices, joints


def _write_video(
    files: _Files, choices: frozenset[Choice], mark: str, sides: Sequence[Side]
) -> dict[str, Any]:
    """The video, small and marked; without the choice one of nothing, by which the player keeps time."""
    from pipeline.video import VideoWriter, read_frames

    index, path = files.index, files.folder / "mosaic.mp4"
    fps, n_frames = Fraction(*index["fps"]), int(index["n_frames"])
    if "video" not in choices:
        with VideoWriter(path, STILL_PX, fps) as writer:
            for _ in range(n_frames):
                writer.write(np.full((STILL_PX[1], STILL_PX[0], 3), 20, np.uint8))
        files.note("mosaic.mp4", "h264", (n_frames,))
        mosaic = {"file": "mosaic.mp4", "size_px": list(STAGE_PX), "columns": 1, "rows": 1}
        return {"mosaic": mosaic, "cameras": [], "reference": ""}
    import cv2

    width, height = index["mosaic"]["size_px"]
    size = (_even(width * VIDEO_SCALE), _even(height * VIDEO_SCALE))
    across, down = size[0] / width, size[1] / height
    panels = [_scale(camera["panel_px"], across, down) for camera in index["cameras"]]
    with VideoWriter(path, size, fps, crf=VIDEO_CRF) as writer:
        for frame in read_frames(files.source / "mosaic.mp4", stop=n_frames):
            picture = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
            for panel in panels:
                _print_mark(picture, panel, mark)
            writer.write(picture)
    files.note("mosaic.mp4", "h264", (n_frames,))
    cameras = []
    for number, camera in enumerate(index["cameras"]):
        files.copy(f"shown_{number}.i32")
        if "shape" in choices:
            for side in sides:
                files.copy(f"reprojected_{side}_{number}.i16")
        lens = {key: camera[key] for key in ("size_px", "K", "R", "t_mm", "distortion") if key in camera}
        cameras.append(
            {
                "name": f"camera {number + 1}",
                "panel_px": panels[number],
                "picture_px": _scale(camera["picture_px"], across, down),
                "source_px": camera["source_px"],
                "shown_frames": camera["shown_frames"],
                **lens,
            }
        )
    mosaic = {"file": "mosaic.mp4", "size_px": list(size)}
    mosaic |= {key: index["mosaic"][key] for key in ("columns", "rows")}
    names = [camera["name"] for camera in index["cameras"]]
    at = names.index(index["reference"]) if index["reference"] in names else 0
    return {"mosaic": mosaic, "cameras": cameras, "reference": f"camera {at + 1}"}


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))


def _scale(box: Sequence[float], across: float, down: float) -> list[float]:
    x, y, width, height = box
    return [x * across, y * down, width * across, height * down]


def _print_mark(picture: np.ndarray, panel: Sequence[float], mark: str) -> None:
    """Write whose copy it is into a panel: plainly at its foot, and faintly across its middle."""
    import cv2

    x, y, width, height = panel
    scale = max(width / 640, 0.3)
    for share_x, share_y, opacity in ((0.04, 0.96, 1.0), (0.3, 0.5, 0.3)):
        place = (round(x + share_x * width), round(y + share_y * height))
        layer = picture.copy()
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(layer, mark, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
        cv2.addWeighted(layer, opacity, picture, 1 - opacity, 0, dst=picture)
