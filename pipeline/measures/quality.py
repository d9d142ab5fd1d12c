"""The quality of a recording: the first thing a report shows, from what the stages say of themselves."""

from __future__ import annotations

import warnings

import numpy as np

from pipeline.calibration.scale import judge_scale, measure_hand_length
from pipeline.hand.joints import Side
from pipeline.measures.kinematics import Kinematics
from pipeline.measures.summary_types import (
    CameraQuality,
    HandQuality,
    QualityReport,
    QualityVerdict,
)
from pipeline.results import CameraCheck, HandTrack, Rig, RigCheck, SyncResult, ViewTrack
from pipeline.session import SessionSettings

MIN_VALID_LIMITED = 0.8
"""Under this share of the recording measured, a hand's result is "limited"."""

MIN_VALID_FAILED = 0.5
"""Under this, "failed"."""

MAX_SIGMA_MM = 1.1
"""Up to this sigma per axis the 5 m/s² threshold for brisk movement is clean."""

MAX_REPROJECTION_SHARE = 0.01
"""A median reprojection error over this share of the picture's width is "limited"."""

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
    """
    rig_check = rig_check or RigCheck("unknown")
    cameras = [
        _assess_camera(name, sync, rig, rig_check, views[name], hands)
        for name in _order(views, sync.reference)
    ]
    measured = {side: _assess_hand(hand, movements[side]) for side, hand in hands.items()}
    failed = [*_fail_hands(measured), *_fail_cameras(sync, rig, rig_check, list(views))]
    wanted = {side for tracks in views.values() for side in tracks}
    limited = [
        *(f"The {side} hand could not be measured." for side in sorted(wanted - set(hands)) if hands),
        *_limit_cameras(cameras, rig, rig_check, views),
        *_limit_scale(hands, rig, settings),
        *_limit_hands(measured, movements),
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
    )


def _share_shown(track: ViewTrack) -> float:
    return float(np.isfinite(track.keypoints_px).all(axis=(1, 2)).mean())


def _assess_hand(hand: HandTrack, movement: Kinematics) -> HandQuality:
    measured = np.isfinite(hand.joints_mm).all(axis=2) & (np.asarray(hand.quality) > 0)
    return HandQuality(
        valid_share=float(measured.mean()) if measured.size else 0.0,
        stated_sigma_mm=_median(np.where(measured, hand.joint_sigma_mm, np.nan)),
        measured_sigma_mm=_median(movement.measured_sigma_mm),
        reprojection_px=_median(hand.residual_px),
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
        sigma = np.fmax(hand.stated_sigma_mm, hand.measured_sigma_mm)
        if sigma > MAX_SIGMA_MM:
            reasons.append(
                f"Joints of the {side} hand are known to {sigma:.1f} mm; over {MAX_SIGMA_MM:g} mm brisk "
                "movements are missed, and small differences of angles mean nothing."
            )
        reasons += movements[side].reasons
        length = float(movements[side].time_s[-1] - movements[side].time_s[0])
        if length < MIN_SECONDS:
            reasons.append(f"The recording of {length:.1f} s is too short for intervals.")
    return list(dict.fromkeys(reasons))


def _join(sentence: str, reasons: tuple[str, ...]) -> str:
    return f"{sentence}: {' '.join(reasons)}" if reasons else f"{sentence}."


_NAN = float("nan")


def _median(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing measured is NaN, as meant
        return float(np.nanmedian(values)) if np.size(values) else _NAN
