"""How good a recording is: the part of ``summary.json`` that a report shows first. NaN = cannot be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pipeline.fusion.exclusions import Exclusion
from pipeline.hand.joints import Side

QualityVerdict = Literal["passed", "limited", "failed"]


@dataclass(frozen=True)
class CameraQuality:
    """How good one camera's part is.

    Attributes
    ----------
    camera : str
        The camera's name.
    valid_share : float
        Share of its frames (0 to 1) in which a hand was found, the worse hand of two.
    reprojection_px : float
        Median distance of the fused joints from the keypoints found in this camera's pictures.
    calibration_rms_px : float
        Reprojection error of the calibration.
    offset_s, offset_sigma_s, drift_ppm : float
        Its clock against the reference camera's.
    sync_verdict : str
        "reliable" | "check" | "failed".
    reasons : tuple of str
        What is doubtful about its clock.
    sync_source : str
        Where its clock came from: "audio", "hand", "manual", "reference", "none".
    check_verdict : str
        Whether it still stands where the rig says: "good" | "doubtful" | "moved" | "unknown".
    check_px, check_expected_px : float
        How far its points of the hand lie from where the others put them, and how far they would anyway.
    rotation_sigma_deg, place_sigma_mm : float
        Expected error of its direction and place; NaN when not known.
    time_shift_s, time_shift_sigma_s : float
        How much later than the reference camera it shows the hand move, by the clocks, and the standard
        error; of two hands what is better known. NaN for the reference, and in an older summary. A shift
        without an error is that large at least: the search ended there.
    time_shift_applied : bool
        Whether that was taken off its clock before the views were brought together.
    """

    camera: str
    valid_share: float
    reprojection_px: float
    calibration_rms_px: float
    offset_s: float
    offset_sigma_s: float
    drift_ppm: float
    sync_verdict: str
    reasons: tuple[str, ...] = ()
    sync_source: str = "audio"
    check_verdict: str = "unknown"
    check_px: float = math.nan
    check_expected_px: float = math.nan
    rotation_sigma_deg: float = math.nan
    place_sigma_mm: float = math.nan
    time_shift_s: float = math.nan
    time_shift_sigma_s: float = math.nan
    time_shift_applied: bool = False


@dataclass(frozen=True)
class HandQuality:
    """How good one fused hand is.

    Attributes
    ----------
    valid_share : float
        Share (0 to 1) of joint-frames with a place.
    stated_sigma_mm : float
        Median of the fusion's own standard deviation per axis, of the whole error.
    measured_sigma_mm : float
        Jitter per axis, measured on the recording's quietest second (median over joints).
    reprojection_px : float
        Median over cameras, frames and joints.
    joint_reprojection_px : dict of tuple of float
        By camera: the median of each of the 21 joints; NaN where it has no say. Empty in older summaries, as
        what follows down to ``lone_outliers``.
    length_spread : float
        Spread of the lengths that no pose changes, triangulated without a hand model, as a share of them.
    shape_distance : float
        How far those lengths' proportions are from people's: root mean square, in standard deviations.
    shape_worst : str
        The finger (or "palm") that is farthest off.
    set_aside : dict of float
        By camera: share (0 to 1) of its points with a say that lost it in the fit.
    finger_set_aside : dict of dict of float
        The same by camera and finger (or "wrist").
    view_set_aside : dict of dict of float
        By camera and reason ("other hand", "mirrored", "doubted"): share of the recording in which all that
        it shows was set aside. Cameras of which nothing was are left out.
    exclusions : tuple of Exclusion
        What was set aside, when and why; the worst first.
    exclusions_more : int
        How many more there are.
    lone_outliers : int
        Points that were off too shortly to be listed.
    jitter_sigma_mm : float
        As ``stated_sigma_mm``, of the part that changes within the recording; NaN in older summaries.
    hand_bandwidth_hz, finger_bandwidth_hz : float
        Up to which frequency fit and smoothing leave 0.71 (-3 dB) of a small movement of the whole hand, of
        one finger; NaN in older summaries and of takes of less than a second.
    """

    valid_share: float
    stated_sigma_mm: float
    measured_sigma_mm: float
    reprojection_px: float
    joint_reprojection_px: dict[str, tuple[float, ...]] = field(default_factory=dict)
    length_spread: float = math.nan
    shape_distance: float = math.nan
    shape_worst: str = ""
    set_aside: dict[str, float] = field(default_factory=dict)
    finger_set_aside: dict[str, dict[str, float]] = field(default_factory=dict)
    view_set_aside: dict[str, dict[str, float]] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    exclusions_more: int = 0
    lone_outliers: int = 0
    jitter_sigma_mm: float = math.nan
    hand_bandwidth_hz: float = math.nan
    finger_bandwidth_hz: float = math.nan


@dataclass(frozen=True)
class QualityReport:
    """The first thing a report shows. With the verdict "failed" nothing after it should be read.

    Attributes
    ----------
    verdict : "passed" | "limited" | "failed"
        The worst of all parts.
    reasons : tuple of str
        Why it is not "passed": sentences that name the camera or the hand.
    cameras : tuple of CameraQuality
        By camera, the reference camera first.
    hands : dict of HandQuality
        By side.
    sync_source, rig_source : str
        Where the clocks and the cameras' places came from ("audio", "manual"; "checkerboard", "file", ...).
    rig_verdict : str
        "reliable" | "check" | "failed".
    closure_s : float
        Misfit of the clocks round three cameras; NaN with fewer.
    square_error_mm : float
        Measured minus stated size of a checkerboard square; NaN without one.
    rig_check : str
        Whether the cameras still stand where the rig says: "good" | "doubtful" | "moved" | "unknown".
    scale_sigma : float
        Expected relative error of every length; NaN when not known.
    """

    verdict: QualityVerdict
    reasons: tuple[str, ...]
    cameras: tuple[CameraQuality, ...]
    hands: dict[Side, HandQuality]
    sync_source: str
    rig_source: str
    rig_verdict: str
    closure_s: float = math.nan
    square_error_mm: float = math.nan
    rig_check: str = "unknown"
    scale_sigma: float = math.nan
