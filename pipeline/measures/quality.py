"""The quality of a recording: the first thing a report shows, from what the stages say of themselves."""

from __future__ import annotations

import warnings

import numpy as np

from pipeline.calibration.scale import judge_scale, measure_hand_length
from pipeline.hand.joints import Side
from pipeline.measures.agreement import describe_agreement, fail_agreement, limit_agreement
from pipeline.measures.kinematics import Kinematics
from pipeline.measures.quality_types import CameraQuality, HandQuality, QualityReport, QualityVerdict
from pipeline.measures.rotations import judge_hinges
from pipeline.results import CameraCheck, HandTrack, Rig, RigCheck, SyncResult, ViewTrack
from pipeline.session import SessionSettings

MIN_VALID_LIMITED = 0.8
"""Under this share of the recording measured, a hand's result is "limited"."""

MIN_VALID_FAILED = 0.5
"""Under this, "failed"."""

MAX_SIGMA_MM = 1.1
"""Up to this jitter per axis the 5 m/s² threshold for brisk movement is clean."""

MAX_REPROJECTION_SHARE = 0.01
"""A median reprojection error over this share of the picture's width is "limited"."""

CLEAR_SHIFT_S = 4e-3
"""A camera that is later by less is not worth a word: at 1 m/s 4 mm, what networks err by anyway."""

CLEAR_SHIFT_SIGMAS = 3.0

MIN_SECONDS = 4.0
"""A shorter recording has no intervals."""


def assess_quality(
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    hands: dict[Side, HandTrack],
    movements: dict[Side, Kinematics],
    rig_check: RigCheck | None = None,
    settings: SessionSettings | None = None,
    flat_mm: dict[Side, np.ndarray] | None = None,
) -> QualityReport:
    """Bring what every stage says of itself into one verdict with reasons.

    Parameters
    ----------
    sync, rig : SyncResult, Rig
        The clocks and the cameras.
    views : dict
        Tracks by camera and side.
    hands : dict of HandTrack
        Fused hands by side.
    movements : dict of Kinematics
        Their movement by side.
    rig_check : RigCheck, optional
        Whether the cameras still stand where the rig says; without it that is not known.
    settings : SessionSettings, optional
        The board's square and the hand's length, to judge the scale by.
    flat_mm : dict of ndarray (21, 3), optional
        By side the flat right hand's joints with that hand's betas, for `pipeline.measures.rotations`.
    """
    rig_check = rig_check or RigCheck("unknown")
    cameras = [
        _assess_camera(name, sync, rig, rig_check, views[name], hands)
        for name in _order(views, sync.reference)
    ]
    measured = {side: _assess_hand(hand, movements[side]) for side, hand in hands.items()}
    failed = [
        *_fail_hands(measured),
        *(reason for side, hand in measured.items() for reason in fail_agreement(side, hand)),
        *_fail_cameras(sync, rig, rig_check, list(views)),
    ]
    wanted = {side for tracks in views.values() for side in tracks}
    limited = [
        *(f"The {side} hand could not be measured." for side in sorted(wanted - set(hands)) if hands),
        *_limit_cameras(cameras, rig, rig_check, views),
        *_limit_scale(hands, rig, settings),
        *_limit_hands(measured, movements),
        *filter(None, (judge_hinges(hands[s].hand_pose, flat, s) for s, flat in (flat_mm or {}).items())),
        *_limit_agreement(measured, views),
    ]
    verdict: QualityVerdict = "failed" if failed else "limited" if limited else "passed"
    return QualityReport(
        verdict=verdict,
        reasons=(*failed, *limited),
        cameras=tuple(cameras),
        hands=measured,
        sync_source=sync.source,
        rig_source=rig.source,
        rig_verdict=rig.verdict,
        closure_s=sync.closure_s,
        square_error_mm=rig.square_error_mm,
        rig_check=rig_check.verdict,
        scale_sigma=rig.scale_sigma,
    )


def _order(views: dict[str, dict[Side, ViewTrack]], reference: str) -> list[str]:
    return sorted(views, key=lambda name: (name != reference, name))


def _assess_camera(
    name: str,
    sync: SyncResult,
    rig: Rig,
    rig_check: RigCheck,
    tracks: dict[Side, ViewTrack],
    hands: dict[Side, HandTrack],
) -> CameraQuality:
    clock = sync.cameras.get(name)
    place = rig.cameras.get(name)
    check = rig_check.cameras.get(name, CameraCheck("unknown"))
    shares = [_share_shown(track) for track in tracks.values()]
    residuals = [
        hand.residual_px[hand.cameras.index(name)] for hand in hands.values() if name in hand.cameras
    ]
    shift_s, shift_sigma_s, applied = _get_time_shift(name, hands)
    return CameraQuality(
        camera=name,
        valid_share=min(shares, default=0.0),
        reprojection_px=_median(np.concatenate([part.ravel() for part in residuals])) if residuals else _NAN,
        calibration_rms_px=place.rms_px if place else _NAN,
        offset_s=clock.offset_s if clock else _NAN,
        offset_sigma_s=clock.sigma_s if clock else _NAN,
        drift_ppm=clock.drift_ppm if clock else _NAN,
        sync_verdict=clock.verdict if clock else "failed",
        reasons=clock.reasons if clock else (),
        sync_source=clock.source if clock else "none",
        check_verdict=check.verdict,
        check_px=check.error_px,
        check_expected_px=check.expected_px,
        rotation_sigma_deg=place.sigma_deg if place else _NAN,
        place_sigma_mm=place.sigma_mm if place else _NAN,
        time_shift_s=shift_s,
        time_shift_sigma_s=shift_sigma_s,
        time_shift_applied=applied,
    )


def _get_time_shift(camera: str, hands: dict[Side, HandTrack]) -> tuple[float, float, bool]:
    """A camera's time shift, its standard error, whether it was taken off; of the hand that knows best."""
    best = (_NAN, _NAN, False)
    for hand in hands.values():
        if camera not in hand.cameras or hand.time_shift_s is None or hand.time_shift_sigma_s is None:
            continue
        index = hand.cameras.index(camera)
        sigma_s = float(hand.time_shift_sigma_s[index])
        if sigma_s < best[1] or (np.isnan(best[1]) and not np.isnan(sigma_s)):
            applied = hand.time_shift_applied is not None and bool(hand.time_shift_applied[index])
            best = (float(hand.time_shift_s[index]), sigma_s, applied)
    return best


def _share_shown(track: ViewTrack) -> float:
    return float(np.isfinite(track.keypoints_px).all(axis=(1, 2)).mean())


def _assess_hand(hand: HandTrack, movement: Kinematics) -> HandQuality:
    measured = np.isfinite(hand.joints_mm).all(axis=2) & (np.asarray(hand.quality) > 0)
    hand_hz, finger_hz = (_NAN, _NAN) if hand.bandwidth_hz is None else map(float, hand.bandwidth_hz)
    return HandQuality(
        valid_share=float(measured.mean()) if measured.size else 0.0,
        stated_sigma_mm=_median(np.where(measured, hand.joint_sigma_mm, np.nan)),
        measured_sigma_mm=_median(movement.measured_sigma_mm),
        reprojection_px=_median(hand.residual_px),
        **describe_agreement(hand),
        jitter_sigma_mm=_median(np.where(measured, hand.jitter_sigma_mm, np.nan)),
        hand_bandwidth_hz=hand_hz,
        finger_bandwidth_hz=finger_hz,
    )


def _fail_hands(hands: dict[Side, HandQuality]) -> list[str]:
    if not hands:
        return ["No hand could be measured."]
    return [
        f"The {side} hand was measured in only {100 * hand.valid_share:.0f} % of the recording."
        for side, hand in hands.items()
        if hand.valid_share < MIN_VALID_FAILED
    ]


def _fail_cameras(sync: SyncResult, rig: Rig, rig_check: RigCheck, cameras: list[str]) -> list[str]:
    reasons = []
    if rig_check.verdict == "moved":
        reasons.append(_join("The cameras no longer stand as they were calibrated", rig_check.reasons))
    if rig.verdict == "failed":
        reasons.append(_join("Where the cameras stand could not be worked out", rig.reasons))
    others = [name for name in cameras if name != sync.reference]
    lost = [name for name in others if name not in sync.cameras or sync.cameras[name].verdict == "failed"]
    if others and len(lost) == len(others):
        reasons.append("No camera could be brought onto the reference camera's clock.")
    return reasons


def _limit_cameras(
    cameras: list[CameraQuality], rig: Rig, rig_check: RigCheck, views: dict[str, dict[Side, ViewTrack]]
) -> list[str]:
    reasons = []
    if len(cameras) == 1:
        reasons.append(
            f"Only camera {cameras[0].camera} was there: distances along its view are guesses of the hand "
            "model."
        )
    for camera in cameras:
        name = camera.camera
        if camera.sync_verdict != "reliable":
            reasons.append(_join(f"The clock of camera {name} is doubtful", camera.reasons))
        reasons += _limit_time_shift(camera, cameras[0].camera)
        for side, track in views[name].items():
            share = _share_shown(track)
            which = "the hand" if len(views[name]) == 1 else f"the {side} hand"
            if share < MIN_VALID_LIMITED:
                reasons.append(f"Camera {name} shows {which} in only {100 * share:.0f} % of its frames.")
        width = max((track.size_px[0] for track in views[name].values()), default=0)
        if width and camera.reprojection_px > MAX_REPROJECTION_SHARE * width:
            reasons.append(
                f"The fused hand lies {camera.reprojection_px:.1f} px from what camera {name} shows "
                f"(median; up to {MAX_REPROJECTION_SHARE * width:.0f} is expected)."
            )
    if rig.verdict == "check":
        reasons.append(_join("Where the cameras stand is doubtful", rig.reasons))
    if rig_check.verdict == "doubtful":
        reasons.append(_join("Whether the cameras still stand so is doubtful", rig_check.reasons))
    if rig.source == "file" and rig_check.verdict == "unknown" and len(cameras) > 1:
        reasons.append(
            "Whether the cameras still stand as they were calibrated could not be checked: too little of the "
            "hand was seen by two cameras at once."
        )
    return reasons


def _limit_time_shift(camera: CameraQuality, reference: str) -> list[str]:
    shift_s, sigma_s = camera.time_shift_s, camera.time_shift_sigma_s
    least = "" if np.isfinite(sigma_s) else "at least "
    clear_s = CLEAR_SHIFT_S if least else max(CLEAR_SHIFT_S, CLEAR_SHIFT_SIGMAS * sigma_s)
    if camera.time_shift_applied or not abs(shift_s) > clear_s:
        return []
    return [
        f"The hand in camera {camera.camera} moves {least}{abs(shift_s) * 1e3:.0f} ms "
        f"{'later' if shift_s > 0 else 'earlier'} than in camera {reference}: look at its clock."
    ]


def _limit_scale(hands: dict[Side, HandTrack], rig: Rig, settings: SessionSettings | None) -> list[str]:
    """What the hands' lengths say against the rig's scale; the same of two hands is said once."""
    stated_mm = settings.hand_length_mm if settings else None
    square_mm = settings.checkerboard.square_mm if settings else None
    said = [
        judge_scale(measure_hand_length(hand.joints_mm), rig, stated_mm, square_mm) for hand in hands.values()
    ]
    return list(dict.fromkeys(sentence for sentence in said if sentence))


def _limit_hands(hands: dict[Side, HandQuality], movements: dict[Side, Kinematics]) -> list[str]:
    reasons = []
    for side, hand in hands.items():
        if MIN_VALID_FAILED <= hand.valid_share < MIN_VALID_LIMITED:
            reasons.append(
                f"The {side} hand was measured in {100 * hand.valid_share:.0f} % of the recording; "
                "numbers that rest on less than 80 % are withheld."
            )
        reasons += _limit_sigma(side, hand)
        reasons += movements[side].reasons
        length = float(movements[side].time_s[-1] - movements[side].time_s[0])
        if length < MIN_SECONDS:
            reasons.append(f"The recording of {length:.1f} s is too short for intervals.")
    return list(dict.fromkeys(reasons))


def _limit_sigma(side: Side, hand: HandQuality) -> list[str]:
    """Brisk movements drown in jitter, angles are off by the whole error.

    Jitter is what was measured, as for the noise of movement; the stated part that changes where it was not,
    for much of that changes slowly.
    """
    sigma_mm = np.fmax(hand.stated_sigma_mm, hand.measured_sigma_mm)
    measured = np.isfinite(hand.measured_sigma_mm)
    jitter_mm = hand.measured_sigma_mm if measured else hand.jitter_sigma_mm
    if not sigma_mm > MAX_SIGMA_MM:
        return []
    said = (
        f"Joints of the {side} hand are known to {sigma_mm:.1f} mm: small differences of angles mean nothing."
    )
    if jitter_mm > MAX_SIGMA_MM:
        said += f" They jitter by {jitter_mm:.1f} mm; over {MAX_SIGMA_MM:g} mm brisk movements are missed."
    return [said]


def _limit_agreement(hands: dict[Side, HandQuality], views: dict[str, dict[Side, ViewTrack]]) -> list[str]:
    widths_px = {
        name: max((track.size_px[0] for track in tracks.values()), default=0)
        for name, tracks in views.items()
    }
    return [reason for side, hand in hands.items() for reason in limit_agreement(side, hand, widths_px)]


def _join(sentence: str, reasons: tuple[str, ...]) -> str:
    return f"{sentence}: {' '.join(reasons)}" if reasons else f"{sentence}."


_NAN = float("nan")


def _median(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing measured is NaN, as meant
        return float(np.nanmedian(values)) if np.size(values) else _NAN
