"""All cameras of a session on one clock, as far as their sound tells."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import SyncError
from pipeline.progress import Reporter
from pipeline.results import CameraSync, Rig, SyncResult
from pipeline.session import Session
from pipeline.sync.sound import (
    RATE_HZ,
    SHORTEST_SOUND_S,
    SILENCE_RMS,
    OffsetEstimate,
    find_drift,
    find_offset,
    is_match,
    rms_level,
)
from pipeline.video import probe, read_audio

SPEED_OF_SOUND_M_S = 343.0
"""In air of 20 degrees; a warmer or colder room changes it by 0.6 m/s for each degree."""
CLOSURE_S = 2e-3
CLOSURE_SIGMAS = 4.0
"""A triangle is open where it misses by more than `CLOSURE_S` and by more than its sides' errors explain."""


def synchronise(session: Session, report: Reporter) -> SyncResult:
    """Bring all cameras of a session onto the reference camera's clock, as far as sound tells.

    An offset in ``session.toml`` wins over the measured one; the drift is still the sound's, where the two
    sound alike at that offset. A camera of which sound tells nothing (no track, silence, nothing in common
    with the reference's, keypoints instead of a video) has the offset NaN, the verdict "failed" and the
    source "none", and its reasons name the file; the others go on.

    Raises
    ------
    pipeline.errors.VideoError
        A file cannot be read.
    """
    settings = session.settings
    if session.videos:
        return synchronise_videos(session.videos, settings.reference, report, settings.offset_s)
    cameras = {
        name: _given(name, settings.reference, settings.offset_s)
        or _unknown((f"{path.name} holds keypoints, and there is no sound beside them.",))
        for name, path in session.keypoints.items()
    }
    _warn(cameras, report)
    return SyncResult(settings.reference, cameras, source=_common_source(cameras))


def synchronise_videos(
    videos: dict[str, Path],
    reference: str,
    report: Reporter,
    manual_offset_s: dict[str, float] | None = None,
) -> SyncResult:
    """As `synchronise`, for any set of files that were recorded together."""
    given = {
        name: known
        for name in videos
        if (known := _given(name, reference, manual_offset_s or {})) is not None
    }
    asked = [name for name in sorted(videos) if name not in given]
    others = [name for name in videos if name != reference]
    tracks, silent = _read_tracks(videos, [reference, *others] if others else [], report.part(0.0, 0.3))
    cameras = {name: _with_drift(camera, name, reference, tracks) for name, camera in given.items()}
    for name in asked:
        reasons = tuple(silent[one] for one in (reference, name) if one in silent)
        if reasons:
            cameras[name] = _unknown(reasons)
    heard = [name for name in asked if name not in cameras]
    found = _compare(tracks, reference, heard, report.part(0.3, 1.0))
    for name in heard:
        if not is_match(found[reference, name]):
            cameras[name] = _strange(found[reference, name], videos[name], videos[reference])
    told = [name for name in heard if name not in cameras]
    closure = _close(found, reference, told, tracks)
    for name in told:
        cameras[name] = _to_camera_sync(found[reference, name], closure.accused.get(name, ()))
    for remark in closure.remarks:
        report.warn(remark)
    _warn(cameras, report)
    report.update(1.0, "The sound has been compared")
    ordered = {name: cameras[name] for name in videos}
    return SyncResult(reference, ordered, closure.worst_s, _common_source(cameras))


def require_overlap(sync: SyncResult, spans_s: dict[str, tuple[float, float]]) -> None:
    """Stop where two cameras on one clock did not record at the same time.

    Parameters
    ----------
    sync : SyncResult
        The clocks; cameras whose offset is not known (NaN) are left out.
    spans_s : dict of (float, float)
        By camera, when it began and ended on its own clock, in s.

    Raises
    ------
    SyncError
        Names the two cameras and says when each ran.
    """
    spans = {}
    for name, ends_s in spans_s.items():
        if math.isfinite(sync.cameras[name].offset_s):
            start_s, end_s = sync.to_reference_s(name, np.array(ends_s, dtype=float))
            spans[name] = (float(start_s), float(end_s))
    for first, second in itertools.combinations(spans, 2):
        (start_a, end_a), (start_b, end_b) = spans[first], spans[second]
        if min(end_a, end_b) <= max(start_a, start_b):
            raise SyncError(
                f"Cameras {first} and {second} did not record together: {first} ran from {start_a:.1f} to "
                f"{end_a:.1f} s, {second} from {start_b:.1f} to {end_b:.1f} s on the clock of "
                f"{sync.reference}.",
                "Check that the files are of one take, and their offset_s in session.toml, or give it there.",
            )


def get_spans_s(videos: dict[str, Path]) -> dict[str, tuple[float, float]]:
    """When each video begins and ends on its own clock, in s."""
    return {name: (0.0, probe(path).duration_s) for name, path in videos.items()}


def travel_time_s(rig: Rig, hand_mm: np.ndarray) -> dict[str, float]:
    """How much longer sound takes from the hand to each camera than to the reference camera.

    Each microphone is taken to sit at its camera's centre, and the sound to come from the hand. A camera
    that hears everything later than the reference has an offset by sound that is too small by this:
    ``offset_s = offset by sound + travel_time_s``. Nothing here is applied to `synchronise`'s offsets.

    Parameters
    ----------
    rig : Rig
        The cameras' places.
    hand_mm : ndarray (3,)
        The middle of the hand in the world's frame, in mm; NaN gives NaN.

    Returns
    -------
    dict of float
        By camera, in s; 0 for the reference.
    """
    metres = {
        name: float(np.linalg.norm(camera.R @ hand_mm + camera.t_mm)) / 1e3
        for name, camera in rig.cameras.items()
    }
    return {name: (away - metres[rig.reference]) / SPEED_OF_SOUND_M_S for name, away in metres.items()}


def _given(name: str, reference: str, manual_offset_s: dict[str, float]) -> CameraSync | None:
    if name == reference:
        return CameraSync(offset_s=0.0, source="reference")
    if name in manual_offset_s:
        unknown = float("nan")
        return CameraSync(
            offset_s=manual_offset_s[name], sigma_s=unknown, confidence=unknown, source="manual"
        )
    return None


def _with_drift(camera: CameraSync, name: str, reference: str, tracks: dict[str, np.ndarray]) -> CameraSync:
    """A clock that a person has set, with the drift that its sound tells at that offset, if it does."""
    if camera.source != "manual" or not {name, reference} <= tracks.keys():
        return camera
    drift_ppm = find_drift(tracks[reference], tracks[name], camera.offset_s)
    return replace(camera, drift_ppm=drift_ppm) if math.isfinite(drift_ppm) else camera


def _unknown(reasons: tuple[str, ...], confidence: float = float("nan")) -> CameraSync:
    """A camera of whose clock sound tells nothing."""
    return CameraSync(
        offset_s=float("nan"),
        sigma_s=float("nan"),
        confidence=confidence,
        verdict="failed",
        reasons=reasons,
        source="none",
    )


def _strange(estimate: OffsetEstimate, file: Path, reference: Path) -> CameraSync:
    reason = (
        f"The sound of {file.name} has nothing in common with that of {reference.name} "
        f"(confidence {estimate.confidence:.2f}, score {estimate.match:.1f})."
    )
    return _unknown((reason, *estimate.reasons), estimate.confidence)


def _warn(cameras: dict[str, CameraSync], report: Reporter) -> None:
    for name, camera in cameras.items():
        if camera.source == "none":
            report.warn(f"Sound does not tell when camera {name} started. {' '.join(camera.reasons)}")
        elif camera.verdict != "reliable":
            report.warn(f"Synchronisation of camera {name}: {' '.join(camera.reasons)}")


def _common_source(cameras: dict[str, CameraSync]) -> str:
    sources = [camera.source for camera in cameras.values()]
    return next((kind for kind in ("audio", "none", "manual") if kind in sources), "reference")


def _read_tracks(
    videos: dict[str, Path], names: list[str], report: Reporter
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The sound of each camera, and of those without usable sound the reason in words."""
    tracks: dict[str, np.ndarray] = {}
    silent: dict[str, str] = {}
    for count, name in enumerate(names):
        report.update(count / len(names), f"Listening to camera {name}")
        samples = read_audio(videos[name], RATE_HZ)
        file = videos[name].name
        if samples is None:
            silent[name] = f"{file} has no sound."
        elif rms_level(samples) < SILENCE_RMS:
            silent[name] = f"The sound of {file} is silent."
        elif len(samples) < SHORTEST_SOUND_S * RATE_HZ:
            silent[name] = f"The sound of {file} is shorter than {SHORTEST_SOUND_S} s."
        else:
            tracks[name] = samples
    return tracks, silent


def _compare(
    tracks: dict[str, np.ndarray], reference: str, names: list[str], report: Reporter
) -> dict[tuple[str, str], OffsetEstimate]:
    """Each camera against the reference, and against each other: the other sides of the triangles."""
    pairs = [(reference, name) for name in names] + list(itertools.combinations(names, 2))
    found: dict[tuple[str, str], OffsetEstimate] = {}
    for count, (first, second) in enumerate(pairs):
        report.update(count / len(pairs), f"Comparing the sound of {first} and {second}")
        found[first, second] = find_offset(tracks[first], tracks[second], RATE_HZ)
    return found


# --- triangles ---------------------------------------------------------------------------------------


@dataclass
class _Closure:
    """What the triangles with the reference say.

    ``worst_s`` is the largest misfit of those whose sides can be believed, NaN without any; ``accused``
    holds reasons by camera; ``remarks`` are for the run's record and doubt no camera.
    """

    worst_s: float = float("nan")
    accused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def _close(
    found: dict[tuple[str, str], OffsetEstimate],
    reference: str,
    names: list[str],
    tracks: dict[str, np.ndarray],
) -> _Closure:
    """Compare every camera's offset with the way round by another camera.

    The same instant of the second camera is brought to the reference's clock directly and by way of the
    first; in the middle of the recording, where the drifts are known best. Of a triangle that stays open
    the least trusted sides are doubted; if that is the one between the two cameras alone, neither is.
    """
    closure = _Closure()
    for first, second in itertools.combinations(names, 2):
        sides = (found[reference, first], found[reference, second], found[first, second])
        trust = [_trust(side) for side in sides]
        misfit_s = _misfit(*sides, len(tracks[second]) / RATE_HZ / 2)
        limit_s = max(CLOSURE_S, CLOSURE_SIGMAS * math.hypot(*(np.nan_to_num(s.sigma_s) for s in sides)))
        if misfit_s > limit_s and trust[2] < min(trust[:2]):
            closure.remarks.append(
                f"The sounds of cameras {first} and {second} do not fit each other well enough to check "
                f"their offsets against {reference} by them: {' '.join(sides[2].reasons)}"
            )
            continue
        closure.worst_s = float(np.fmax(closure.worst_s, misfit_s))
        if misfit_s > limit_s:
            reason = f"The offsets of {first} and {second} contradict each other by {misfit_s * 1e3:.1f} ms."
            for name, own in zip((first, second), trust[:2], strict=True):
                if own == min(trust):
                    closure.accused[name] = (*closure.accused.get(name, ()), reason)
    return closure


def _trust(estimate: OffsetEstimate) -> int:
    """How far a comparison can be believed: 0 nothing in common, then the verdicts."""
    return ("failed", "check", "reliable").index(estimate.verdict) + 1 if is_match(estimate) else 0


def _misfit(
    reference_first: OffsetEstimate,
    reference_second: OffsetEstimate,
    first_second: OffsetEstimate,
    at_s: float,
) -> float:
    """Difference of the two ways from the second camera's clock to the reference's, in s."""
    by_way = _map(reference_first, _map(first_second, at_s))
    return abs(_map(reference_second, at_s) - by_way)


def _map(estimate: OffsetEstimate, time_s: float) -> float:
    return time_s + estimate.offset_s + estimate.drift_ppm * 1e-6 * time_s


def _to_camera_sync(estimate: OffsetEstimate, contradictions: tuple[str, ...]) -> CameraSync:
    if contradictions:
        verdict = "check" if estimate.verdict == "reliable" else estimate.verdict
        estimate = replace(estimate, verdict=verdict, reasons=(*estimate.reasons, *contradictions))
    return CameraSync(
        offset_s=estimate.offset_s,
        sigma_s=estimate.sigma_s,
        drift_ppm=estimate.drift_ppm,
        confidence=estimate.confidence,
        verdict=estimate.verdict,
        reasons=estimate.reasons,
        source="audio",
    )
