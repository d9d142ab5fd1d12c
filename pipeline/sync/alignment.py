"""The last word on clocks: sound where it tells, the hand's own motion where it does not.

The hand that all cameras saw is the witness of both clocks and rig: it finds the offsets of cameras without
usable sound, doubts offsets that it contradicts, and tells whether a camera has moved since the calibration.
The hand's clocks are worked out without the sound, so that a repeated bar of music cannot lead both astray.

Sound's travel time (2.9 ms a metre) stays in offsets from sound: the sources' and microphones' places are not
known well enough to take it away, and it is below what the hand can tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipeline.calibration.moved import check_rig
from pipeline.errors import SyncError
from pipeline.hand.joints import Side
from pipeline.progress import Reporter
from pipeline.results import CameraSync, Rig, RigCheck, SyncResult, ViewTrack
from pipeline.sync.cameras import require_overlap
from pipeline.sync.motion import MotionOffset, find_offset_by_motion
from pipeline.sync.reprojection import Geometry, Refined, is_better

CONTRADICTION_SIGMAS = 4.0
DISAGREEMENT_S = 0.02
"""Motion and geometry may differ by this much and still speak of the same instant."""
REPEAT_S = 0.1
"""What lies further off than this may be another repeat of the music."""
AMBIGUOUS_CONFIDENCE = 0.25
"""Below what seed 000 asks a person to look at."""
OWN_RIG = RigCheck(
    "unknown",
    reasons=("The cameras' places were worked out from this very hand: it cannot check them.",),
)
"""What fits a rig made of these very points says nothing of whether the cameras were moved."""


@dataclass(frozen=True)
class HandClock:
    """A camera's clock as the hand tells it.

    Attributes
    ----------
    camera : CameraSync
        Source "hand"; the offset is NaN where the hand tells nothing.
    fit : Refined or None
        How the views fit at that clock; None without a calibrated camera.
    witnesses : tuple of str
        Cameras that it was compared with.
    """

    camera: CameraSync
    fit: Refined | None = None
    witnesses: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the hand tells the offset at all."""
        return math.isfinite(self.camera.offset_s)


def align(
    sound: SyncResult, rig: Rig, views: dict[str, dict[Side, ViewTrack]], report: Reporter
) -> tuple[SyncResult, RigCheck]:
    """Clocks of all cameras, and whether the rig still holds.

    Cameras with an offset from sound or by hand keep it; the verdict becomes "check" where the hand
    contradicts it. Cameras without get the hand's, with the verdict "check" at best.

    Parameters
    ----------
    sound : SyncResult
        What the sound told; offset NaN where it told nothing.
    rig : Rig
        The cameras as calibrated.
    views : dict of dict of ViewTrack
        By camera and side.
    report : Reporter
        Hears progress and warnings.

    Raises
    ------
    SyncError
        Neither sound nor hand brings a camera onto the reference's clock; names it.
    """
    if len(sound.cameras) < 2:
        return sound, RigCheck("unknown")
    names = [name for name in sound.cameras if name in views]
    report.update(0.0, "Comparing the hand's motion in the views")
    geometry = Geometry(rig, views, [name for name in names if name in rig.cameras and views[name]])
    hand = follow_hand(sound, geometry, views, report.part(0.0, 0.7))
    doubted = {
        name: clock.camera for name, clock in hand.items()
        if _contradicts(clock, sound.cameras[name], name, hand, geometry, _half_frame_s(views, name))
    }  # fmt: skip
    cameras = {}
    for name, camera in sound.cameras.items():
        cameras[name] = _decide(name, camera, sound.reference, hand.get(name), name in doubted)
        if name in doubted or cameras[name].source != camera.source:
            report.warn(f"Synchronisation of camera {name}: {' '.join(cameras[name].reasons)}")
    sync = replace(sound, cameras=cameras, source=_common_source(cameras))
    require_overlap(sync, _get_spans_s(views))
    report.update(0.7, "Checking that the cameras stand where the calibration says")
    # Where the hand contradicts a clock, the rig is judged by the hand's: the two doubts are kept apart.
    clocks = replace(sync, cameras={**cameras, **doubted})
    check = OWN_RIG if rig.source == "hand" else check_rig(rig, clocks, views)
    for reason in check.reasons if check.verdict in ("doubtful", "moved") else ():
        report.warn(reason)
    report.update(1.0, "The cameras are on one clock")
    return sync, check


def follow_hand(
    sound: SyncResult, geometry: Geometry, views: dict[str, dict[Side, ViewTrack]], report: Reporter
) -> dict[str, HandClock]:
    """Every camera's clock as the hand alone tells it.

    The sound gives one more place to look, and the drift that is believed beforehand; no more.

    Returns
    -------
    dict of HandClock
        By camera, without the reference.
    """
    reference = sound.reference
    known = {reference: CameraSync(0.0, source="reference")}
    clocks: dict[str, HandClock] = {}
    waiting = [name for name in sound.cameras if name != reference and name in views]
    # A camera that shares nothing with the reference may still share something with a third.
    for witness in (reference, *waiting):
        for name in [name for name in waiting if not (name in clocks and clocks[name].is_known)]:
            if witness not in known or witness == name or witness not in views:
                continue
            report.check()
            found = find_offset_by_motion(views[witness], views[name])
            if found.verdict == "failed":
                clocks.setdefault(name, HandClock(_to_camera_sync(found, None)))
                continue
            found = _shift(found, known[witness].offset_s)
            clocks[name] = _refine(found, name, known, sound.cameras[name], geometry)
            known[name] = clocks[name].camera
    for count, name in enumerate(name for name in waiting if len(known) > 2 and clocks[name].is_known):
        report.update(count / len(waiting), f"Comparing camera {name} with all others")
        clocks[name] = _settle(clocks[name], name, known, sound.cameras[name], geometry)
        known[name] = clocks[name].camera
    return clocks


def _shift(found: MotionOffset, by_s: float) -> MotionOffset:
    """The same against the reference's clock, where the comparison was with another camera's."""
    candidates = tuple(replace(one, offset_s=one.offset_s + by_s) for one in found.candidates)
    return replace(found, offset_s=found.offset_s + by_s, candidates=candidates)


def _refine(
    found: MotionOffset, name: str, known: dict[str, CameraSync], heard: CameraSync, geometry: Geometry
) -> HandClock:
    """The motion's offset made precise, and chosen among its candidates, by the rig."""
    witnesses = _witnesses(name, known, geometry)
    if not witnesses:
        return HandClock(_to_camera_sync(found, None))
    starts = [candidate.offset_s for candidate in found.candidates]
    if (
        math.isfinite(heard.offset_s)
        and min(abs(heard.offset_s - start) for start in starts) > DISAGREEMENT_S
    ):
        starts.append(heard.offset_s)
    fit = geometry.refine(_sync(known, name, heard), name, witnesses, starts)
    if not math.isfinite(fit.offset_s):
        return HandClock(_to_camera_sync(found, None))
    return HandClock(_to_camera_sync(found, fit), fit, witnesses)


def _settle(
    clock: HandClock, name: str, known: dict[str, CameraSync], heard: CameraSync, geometry: Geometry
) -> HandClock:
    """The clock once more, now against all the others."""
    witnesses = _witnesses(name, known, geometry)
    if clock.fit is None or set(witnesses) == set(clock.witnesses):
        return clock
    fit = geometry.refine(_sync(known, name, heard), name, witnesses, [clock.camera.offset_s])
    if not abs(fit.offset_s - clock.camera.offset_s) <= DISAGREEMENT_S:  # NaN too
        return clock
    fit = replace(fit, rivals_s=clock.fit.rivals_s)
    camera = replace(clock.camera, offset_s=fit.offset_s, sigma_s=fit.sigma_s, drift_ppm=fit.drift_ppm)
    return HandClock(camera, fit, witnesses)


def _witnesses(name: str, known: dict[str, CameraSync], geometry: Geometry) -> tuple[str, ...]:
    if name not in geometry.paths:
        return ()
    return tuple(other for other in known if other != name and other in geometry.paths)


def _sync(known: dict[str, CameraSync], name: str, heard: CameraSync) -> SyncResult:
    drift_ppm = heard.drift_ppm if math.isfinite(heard.offset_s) else 0.0
    reference = next(iter(known))
    return SyncResult(reference, {**known, name: CameraSync(float("nan"), drift_ppm=drift_ppm)})


def _to_camera_sync(found: MotionOffset, fit: Refined | None) -> CameraSync:
    """The hand's word on a camera, the verdict "check" at best."""
    unknown = float("nan")
    if found.verdict == "failed":
        return CameraSync(unknown, unknown, 0.0, 0.0, "failed", found.reasons, "none")
    if fit is None:
        return CameraSync(
            found.offset_s, found.sigma_s, 0.0, found.confidence, "check", found.reasons, "hand"
        )
    reasons, confidence = [], found.confidence
    if fit.rivals_s:
        others = ", ".join(f"{offset_s:+.2f} s" for offset_s in fit.rivals_s)
        reasons.append(f"The movement repeats: the views fit as well at {others}.")
        confidence = min(confidence, AMBIGUOUS_CONFIDENCE)
    if min(abs(fit.offset_s - one.offset_s) for one in found.candidates) > DISAGREEMENT_S:
        reasons.append("The motion in the pictures and the rig put it at different offsets.")
    return CameraSync(fit.offset_s, fit.sigma_s, fit.drift_ppm, confidence, "check", tuple(reasons), "hand")


# --- the decision ------------------------------------------------------------------------------------


def _decide(
    name: str, heard: CameraSync, reference: str, clock: HandClock | None, is_doubted: bool
) -> CameraSync:
    """What holds for one camera: the sound, doubted or not, or the hand."""
    if name == reference:
        return heard
    if not math.isfinite(heard.offset_s):
        if clock is None or not clock.is_known:
            raise _lost(name, heard, clock)
        said = f"The offset was worked out from the hand's motion, to {_size(clock.camera.sigma_s)}."
        reasons = (*heard.reasons, said, *clock.camera.reasons)
        return replace(clock.camera, verdict="check", reasons=reasons)
    if clock is None or not is_doubted:
        return _agree(heard, clock)
    if heard.source == "manual":
        how, todo = "given by hand", "Look at it again."
    elif abs(clock.camera.offset_s - heard.offset_s) > REPEAT_S:
        how, todo = "heard", "The music may repeat: set the offset by hand."
    else:
        how, todo = "heard", "Set the offset by hand."
    reason = (
        f"The offset of {name} {how} is {heard.offset_s:+.3f} s, but the hand's motion says "
        f"{clock.camera.offset_s:+.3f} s ({_size(clock.camera.sigma_s)}), and there the views fit better. "
        f"{todo}"
    )
    verdict = "check" if heard.verdict == "reliable" else heard.verdict
    return replace(heard, verdict=verdict, reasons=(*heard.reasons, reason))


def _agree(heard: CameraSync, clock: HandClock | None) -> CameraSync:
    """A doubtful offset from sound with what the hand says for it; the verdict stays."""
    if heard.verdict == "reliable" or clock is None or clock.fit is None or clock.fit.rivals_s:
        return heard
    apart_s = abs(clock.camera.offset_s - heard.offset_s)
    if not apart_s <= DISAGREEMENT_S:  # NaN too
        return heard
    reason = f"The hand's motion agrees, within {max(1.0, apart_s * 1e3):.0f} ms."
    return replace(heard, reasons=(*heard.reasons, reason))


def _size(sigma_s: float) -> str:
    return f"±{sigma_s * 1e3:.0f} ms" if math.isfinite(sigma_s) else "an unknown precision"


def _lost(name: str, heard: CameraSync, clock: HandClock | None) -> SyncError:
    why = " ".join(clock.camera.reasons) if clock else "It was not searched for a hand."
    return SyncError(
        f"The clock of camera {name} is not known. {' '.join(heard.reasons)} "
        f"The hand's motion does not tell it either. {why}",
        f"Give offset_s for {name} in session.toml, or set the offset by hand on the page of the recording.",
    )


def _contradicts(
    clock: HandClock,
    heard: CameraSync,
    name: str,
    hand: dict[str, HandClock],
    geometry: Geometry,
    half_frame_s: float,
) -> bool:
    """Whether the hand puts the camera elsewhere, further than errors explain, and the views fit better."""
    own = clock.camera
    if not clock.is_known or clock.fit is None or not math.isfinite(heard.offset_s):
        return False
    path = geometry.paths[name]
    middle_s = float(path.time_s[[0, -1]].mean())
    apart_s = abs(own.offset_s - heard.offset_s + (own.drift_ppm - heard.drift_ppm) * 1e-6 * middle_s)
    sigma_s = math.hypot(float(np.nan_to_num(own.sigma_s)), float(np.nan_to_num(heard.sigma_s)))
    if apart_s <= max(half_frame_s, CONTRADICTION_SIGMAS * sigma_s):
        return False
    known = {other: hand[other].camera for other in clock.witnesses if other in hand}
    reference = [other for other in clock.witnesses if other not in hand]
    witnesses = {**{other: CameraSync(0.0, source="reference") for other in reference}, **known}
    at_heard = geometry.measure(
        _sync(witnesses, name, heard), name, clock.witnesses, heard.offset_s, heard.drift_ppm
    )
    return not at_heard.blocks or is_better(clock.fit, at_heard)


def _half_frame_s(views: dict[str, dict[Side, ViewTrack]], name: str) -> float:
    tracks = list(views.get(name, {}).values())
    steps = [float(np.median(np.diff(track.time_s))) for track in tracks if len(track.time_s) > 1]
    return max(steps, default=1 / 30) / 2


def _common_source(cameras: dict[str, CameraSync]) -> str:
    sources = [camera.source for camera in cameras.values()]
    return next((kind for kind in ("audio", "hand", "none", "manual") if kind in sources), "reference")


def _get_spans_s(views: dict[str, dict[Side, ViewTrack]]) -> dict[str, tuple[float, float]]:
    """First and last frame of each camera on its own clock, in s; a single picture spans nothing."""
    times = {name: next(iter(tracks.values())).time_s for name, tracks in views.items() if tracks}
    return {name: (float(time_s[0]), float(time_s[-1])) for name, time_s in times.items() if len(time_s) > 1}
