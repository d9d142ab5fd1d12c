"""``summary.json``: worked out here; its types and its reading are in `pipeline.measures.summary_types`.

Imports neither torch nor OpenCV: the web process reads summaries.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from pipeline.hand.angles import ANGLE_INFO, ANGLES, MAX_ELEVATION_DEG, Angle
from pipeline.hand.joints import FINGERS, JOINTS, Side
from pipeline.measures.baseline_types import PLAYING_INFO, Baseline, NumberReference
from pipeline.measures.excluded import describe_excluded
from pipeline.measures.headlines import (
    MIN_VALID_SHARE,
    NO_REFERENCE,
    TOO_LITTLE,
    HandNumbers,
    Number,
    compute_headlines,
    measure_ldlj,
)
from pipeline.measures.kinematics import FILTER_NAME
from pipeline.measures.levels import FAR_SD, UNKNOWN, is_certain, level_of
from pipeline.measures.measure import HandMeasures, Measures
from pipeline.measures.playing import describe_playing
from pipeline.measures.playing_types import (
    Coupling,
    FeatureSummary,
    FingerIndex,
    Individuation,
    KeyTiming,
    TremorSummary,
)
from pipeline.measures.posture import columns_of_finger
from pipeline.measures.quality import assess_quality
from pipeline.measures.quality_types import CameraQuality, HandQuality, QualityReport
from pipeline.measures.resampling import BLOCK_S, Draws, Interval, bound_mean, bound_quantile, draw_blocks
from pipeline.measures.scores import MIN_SPREAD_NOISES, score_jerk_against, score_person
from pipeline.measures.summary_types import (
    HEADLINES,
    INTERVAL_NOTE,
    NAN,
    SIMULATED_NOTE,
    SUMMARY_VERSION,
    AngleSummary,
    BriskEvent,
    FingerProfile,
    Headline,
    JointJerk,
    PostureBout,
    Provenance,
    Recording,
    SideSummary,
    Summary,
    WorstAngle,
    count_levels,
    get_headline,
    read_summary,
    write_summary,
)
from pipeline.measures.timing import NOT_HEARD, Heard, describe_timing
from pipeline.results import HandTrack, Rig, RigCheck, SyncResult, ViewTrack
from pipeline.session import SessionSettings
from pipeline.version import METHOD_VERSION, PROGRAM_VERSION

__all__ = [
    "HEADLINES",
    "INTERVAL_NOTE",
    "SIMULATED_NOTE",
    "SUMMARY_VERSION",
    "AngleSummary",
    "BriskEvent",
    "CameraQuality",
    "Coupling",
    "FeatureSummary",
    "FingerIndex",
    "FingerProfile",
    "HandQuality",
    "Headline",
    "Individuation",
    "JointJerk",
    "KeyTiming",
    "PostureBout",
    "Provenance",
    "QualityReport",
    "Recording",
    "SideSummary",
    "Summary",
    "TremorSummary",
    "WorstAngle",
    "count_levels",
    "get_headline",
    "read_summary",
    "summarise",
    "write_summary",
]

N_WORST = 3
MAX_BRISK_LISTED = 300
"""A summary lists this many brisk movements, the strongest; the headline counts them all."""

SIGN_NOTE = "Flexion +, hyperextension −, abduction away from the middle finger +."
PURPOSE_NOTE = "Describes movement; it is not a diagnosis."


def summarise(
    settings: SessionSettings,
    sync: SyncResult,
    rig: Rig,
    views: dict[str, dict[Side, ViewTrack]],
    hands: dict[Side, HandTrack],
    measures: Measures,
    baseline: Baseline,
    model_name: str,
    rig_check: RigCheck | None = None,
    heard: Heard = NOT_HEARD,
    flat_mm: dict[Side, np.ndarray] | None = None,
) -> Summary:
    """Every number that a report prints.

    Parameters
    ----------
    settings : SessionSettings
        The session's settings.
    sync, rig, views, hands
        Results of the stages before, as `pipeline.results` reads them.
    measures : Measures
        From `pipeline.measures.measure.measure`, with the same hands and baseline.
    baseline : Baseline
        The reference.
    model_name : str
        Name of the hand model (`pipeline.hand.model.HandModel.name`).
    rig_check : RigCheck, optional
        Whether the cameras still stand where the rig says; without it that is not known.
    heard : Heard
        The strokes that the sound tells of, from `pipeline.measures.listening.listen`.
    flat_mm : dict of ndarray (21, 3), optional
        By side the joints of the flat right hand with that hand's betas; without them there is no fit check.
    """
    movements = {side: found.kinematics for side, found in measures.hands.items()}
    provenance = _state_provenance(settings, baseline, model_name)
    recording = _describe_recording(sync, views, measures)
    quality = assess_quality(sync, rig, views, hands, movements, rig_check, settings, flat_mm)
    return Summary(
        subject=settings.subject,
        visit=settings.visit.isoformat() if settings.visit else "",
        task=settings.task,
        recording=recording,
        quality=quality,
        provenance=provenance,
        sides={
            side: dataclasses.replace(
                _summarise_side(found, baseline),
                **describe_playing(hands[side], side, found, heard, (flat_mm or {}).get(side)),
            )
            for side, found in measures.hands.items()
        },
        comparability=_state_comparability(settings, recording, provenance, quality),
        notes=_state_notes(settings, baseline),
        timing=describe_timing(heard),
        excluded=describe_excluded(settings.exclude, hands),
        playing_reference={
            name: _say_reference(number, PLAYING_INFO[kind][1], baseline)
            for name, number in baseline.playing.items()
            if (kind := name.partition(":")[0]) in PLAYING_INFO
        },
    )


def _describe_recording(
    sync: SyncResult, views: dict[str, dict[Side, ViewTrack]], measures: Measures
) -> Recording:
    movements = [found.kinematics for found in measures.hands.values()]
    cameras = tuple(sorted(views, key=lambda name: (name != sync.reference, name)))
    if not movements:
        return Recording(0.0, NAN, 0, cameras)
    time_s = movements[0].time_s
    return Recording(float(time_s[-1] - time_s[0]), movements[0].fps, len(time_s), cameras)


def _state_provenance(settings: SessionSettings, baseline: Baseline, model_name: str) -> Provenance:
    return Provenance(
        program_version=PROGRAM_VERSION,
        hand_model=model_name,
        detector=settings.detector,
        estimator=settings.estimator,
        preset=settings.preset,
        filter=FILTER_NAME,
        baseline=baseline.name,
        baseline_simulated=baseline.simulated,
        baseline_n_people=baseline.n_people,
        baseline_minutes=baseline.n_minutes,
        baseline_task=baseline.task,
        baseline_licence=baseline.licence,
        baseline_provenance=baseline.provenance,
        baseline_digest=baseline.digest,
    )


def _state_comparability(
    settings: SessionSettings, recording: Recording, provenance: Provenance, quality: QualityReport
) -> dict[str, str]:
    lengths = "by the hand alone" if quality.rig_source == "hand" else "by a measured rig"
    return {
        "task": settings.task,
        "frame rate": f"{recording.fps:.0f} frames/s",
        "cameras": str(len(recording.cameras)),
        "scale of the cameras": f"{lengths}, {quality.rig_verdict}",
        "hand model": provenance.hand_model,
        "network": f"{provenance.detector}, {provenance.estimator}, preset {provenance.preset}",
        "filter": provenance.filter,
        "method version": METHOD_VERSION,
        "reference": f"{provenance.baseline} ({provenance.baseline_digest[:12]})",
    }


def _state_notes(settings: SessionSettings, baseline: Baseline) -> tuple[str, ...]:
    notes = [SIGN_NOTE, INTERVAL_NOTE, PURPOSE_NOTE]
    if baseline.simulated:
        notes.insert(0, SIMULATED_NOTE)
    if baseline.posture_only:
        notes.append(f"The reference is of postures alone. {baseline.posture_only}")
    if settings.task != baseline.task:
        notes.append(
            f"The task is {settings.task}, the reference's is {baseline.task}: read every z with care."
        )
    return tuple(notes)


def _summarise_side(found: HandMeasures, baseline: Baseline) -> SideSummary:
    numbers, ldlj = compute_headlines(found, baseline), measure_ldlj(found)
    draws = draw_blocks(len(found.kinematics.time_s), found.kinematics.fps)
    angles = tuple(
        _summarise_angle(column, info, found, baseline, draws)
        for column, info in enumerate(ANGLE_INFO.values())
    )
    return SideSummary(
        angles=angles,
        worst=_name_worst(angles, baseline),
        headlines=_add_ldlj(
            tuple(_state_headline(name, numbers.numbers[name], baseline) for name in HEADLINES), ldlj
        ),
        fingers=tuple(_profile_finger(finger, found, angles, numbers, baseline, draws) for finger in FINGERS),
        bouts=numbers.bouts,
        brisk=_strongest(numbers.brisk),
        jerk_reference=_compare_jerk(found, baseline),
        ldlj=ldlj,
    )


def _add_ldlj(headlines: tuple[Headline, ...], ldlj: float) -> tuple[Headline, ...]:
    """The smoothness with the other figure that the field has for it beside."""
    said = _with_minus(f" Log dimensionless jerk {ldlj:.1f}, which noise moves far: for comparison alone.")
    return tuple(
        dataclasses.replace(each, note=each.note + said)
        if each.id == "smoothness" and np.isfinite(each.value) and np.isfinite(ldlj)
        else each
        for each in headlines
    )


def _strongest(events: tuple[BriskEvent, ...]) -> tuple[BriskEvent, ...]:
    kept = sorted(events, key=lambda event: -event.peak_acceleration)[:MAX_BRISK_LISTED]
    return tuple(sorted(kept, key=lambda event: (event.start_s, event.joint)))


# --- angles --------------------------------------------------------------------------------------


def _summarise_angle(
    column: int, info: Angle, found: HandMeasures, baseline: Baseline, draws: Draws
) -> AngleSummary:
    degrees = found.degrees[:, column]
    known = np.isfinite(degrees)
    share = float(known.mean())
    mean, sd, people = (values[column] for values in baseline.person_level())
    empty = AngleSummary(
        angle=info.id,
        label=info.label,
        finger=info.finger,
        joint=info.joint,
        median_deg=NAN,
        sd_deg=NAN,
        range_of_motion_deg=NAN,
        sigma_deg=NAN,
        z=NAN,
        z_low=NAN,
        z_high=NAN,
        level=UNKNOWN,
        certain=False,
        reference_mean_deg=float(mean),
        reference_sd_deg=float(sd),
        valid_share=share,
    )
    if share < MIN_VALID_SHARE:
        note = TOO_LITTLE
        if info.movement == "abduction" or info.id == "thumb_cmc_flexion":
            note += f" It is undefined past {MAX_ELEVATION_DEG:.0f}° out of the plane of the palm."
        return dataclasses.replace(empty, note=note)
    median = float(np.median(degrees[known]))
    low, high = np.percentile(degrees[known], [2.5, 97.5])
    jitter_deg = _take_median(found.jitter_deg[known, column])
    sampling = bound_quantile(degrees, draws, 0.5, median)
    error = _standard_error(sampling, jitter_deg, found)
    score = score_person(median, float(mean), float(sd), int(people), error)
    return dataclasses.replace(
        empty,
        median_low=sampling.low,
        median_high=sampling.high,
        median_deg=median,
        sd_deg=float(degrees[known].std()),
        range_of_motion_deg=float(high - low),
        sigma_deg=_take_median(found.sigma_deg[known, column]),
        z=score.z,
        z_low=score.low,
        z_high=score.high,
        level=level_of(score.z),
        certain=is_certain(score.low, score.high),
        note="" if np.isfinite(score.z) else NO_REFERENCE,
        **_measure_far_share(found.z[:, column], draws),
        **_find_peak(degrees, jitter_deg, info, found, baseline, draws),
        **_measure_deviation(degrees[:, None], [column], baseline, draws),
    )


def _measure_far_share(z: np.ndarray, draws: Draws) -> dict[str, Any]:
    """The fields ``far_...`` of one angle's frame-level z (T,)."""
    if not np.isfinite(z).any():
        return {}
    far = np.where(np.isfinite(z), np.abs(z) >= FAR_SD, np.nan)
    share = float(np.nanmean(far))
    interval = bound_mean(far, draws, share)
    return {
        "far_share": share,
        "far_low": max(interval.low, 0.0) if np.isfinite(interval.low) else NAN,
        "far_high": min(interval.high, 1.0) if np.isfinite(interval.high) else NAN,
    }


def _measure_deviation(
    degrees: np.ndarray, columns: list[int], baseline: Baseline, draws: Draws
) -> dict[str, Any]:
    """The fields ``rms_...`` of some angles (T, K): how far they lie from the reference's mean."""
    mean, _, _ = (values[columns] for values in baseline.person_level())
    frame_mean, frame_sd = (values[columns] for values in baseline.frame_level())
    away = (degrees - mean) ** 2
    rms = _rms(degrees - mean)
    some = np.isfinite(away).any(axis=1)
    per_frame = np.full(len(away), np.nan)
    per_frame[some] = np.nanmean(away[some], axis=1)
    interval = bound_mean(per_frame, draws, rms, "sqrt")
    of_reference = frame_sd**2 + (frame_mean - mean) ** 2
    return {
        "rms_deg": rms,
        "rms_low": interval.low,
        "rms_high": interval.high,
        "reference_rms_deg": float(np.sqrt(of_reference.mean())),
    }


def _take_median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else NAN


def _standard_error(sampling: Interval, jitter_deg: float, found: HandMeasures) -> float:
    """Of a quantile of an angle: sampling, by blocks, and the part of the measurement error that changes.

    An error that lasts for the whole recording is in the spread between the reference's people as well, who
    were measured the same way, and no part of an interval within this recording. One that changes averages
    out; it is taken to last for a block.
    """
    blocks = max(len(found.degrees) / found.kinematics.fps / BLOCK_S, 1.0)
    return float(np.hypot(sampling.standard_error, jitter_deg / np.sqrt(blocks)))


def _find_peak(
    degrees: np.ndarray,
    jitter_deg: float,
    info: Angle,
    found: HandMeasures,
    baseline: Baseline,
    draws: Draws,
) -> dict[str, Any]:
    """The fields ``peak_...`` of an angle: its 5th or 95th percentile, whichever lies farther out."""
    reference = baseline.angles.get(info.id)
    if reference is None or not np.isfinite(reference.person_p95_sd_deg):
        return {}
    best: dict[str, Any] = {}
    farthest = -np.inf
    for share, outward, mean, sd in (
        (0.05, -1.0, reference.person_p5_mean_deg, reference.person_p5_sd_deg),
        (0.95, 1.0, reference.person_p95_mean_deg, reference.person_p95_sd_deg),
    ):
        value = float(np.nanpercentile(degrees, 100 * share))
        error = _standard_error(bound_quantile(degrees, draws, share, value), jitter_deg, found)
        score = score_person(value, mean, sd, reference.n_people, error)
        if outward * score.z > farthest:  # a small range of movement is no far posture
            farthest = outward * score.z
            best = {
                "peak_deg": value,
                "peak_z": score.z,
                "peak_z_low": score.low,
                "peak_z_high": score.high,
                "peak_level": level_of(score.z),
                "peak_certain": is_certain(score.low, score.high),
                "peak_reference_mean_deg": mean,
                "peak_reference_sd_deg": sd,
            }
    return best


def _name_worst(angles: tuple[AngleSummary, ...], baseline: Baseline) -> tuple[WorstAngle, ...]:
    """The angles that are surely farthest; where nothing is sure, those that seem so, and it is said."""
    known = sorted(
        (angle for angle in angles if np.isfinite(angle.z)),
        key=lambda angle: (-angle.farthest.sure_z, -abs(angle.farthest.z)),
    )
    people = dict(zip(ANGLES, baseline.person_level()[2], strict=True))
    origin = ", simulated" if baseline.simulated else ""
    return tuple(
        WorstAngle(
            angle=angle.angle,
            z=angle.farthest.z,
            level=angle.farthest.level,
            sentence=_say(angle, f"(n = {people[angle.angle]}{origin})"),
        )
        for angle in known[:N_WORST]
    )


def _say(angle: AngleSummary, people: str) -> str:
    info, shown = ANGLE_INFO[angle.angle], angle.farthest
    way = f"{abs(shown.z):.1f} SD {info.more if shown.z > 0 else info.less}"
    label = f"{angle.label[0].upper()}{angle.label[1:]}"
    at_times = "at times " if angle.is_peak_farther else ""
    against = f"{shown.reference_mean_deg:.0f} ± {shown.reference_sd_deg:.0f}°"
    unsure = "" if shown.sure_z > 0 else "; not sure, the interval holds 0 or is not known"
    return _with_minus(f"{label}: {at_times}{way}, {shown.degrees:.0f}° against {against} {people}{unsure}")


def _with_minus(text: str) -> str:
    """Numbers below zero with a true minus sign, which is as wide as a digit and never breaks a line."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _profile_finger(
    finger: str,
    found: HandMeasures,
    angles: tuple[AngleSummary, ...],
    numbers: HandNumbers,
    baseline: Baseline,
    draws: Draws,
) -> FingerProfile:
    columns = columns_of_finger(finger)
    valid = np.isfinite(found.z[:, columns]).any(axis=1)
    z = np.array([angles[column].z for column in columns])
    minutes = float(valid.sum()) / found.kinematics.fps / 60.0
    enough = float(valid.mean()) >= MIN_VALID_SHARE
    inside = np.asarray(numbers.in_bout[:, columns].any(axis=1))[valid]
    count = sum(bout.finger == finger and bout.begun for bout in numbers.bouts)
    return FingerProfile(
        finger=finger,
        rms_z=_rms(z),
        posture_share=float(inside.mean()) if enough else NAN,
        bouts_per_min=count / minutes if enough and minutes > 0 else NAN,
        **(
            _measure_deviation(found.degrees[:, columns], columns, baseline, draws)
            if enough
            else {"rms_deg": NAN}
        ),
    )


def _rms(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if len(known) else NAN


# --- headlines and jerk --------------------------------------------------------------------------

_HOW_TO_READ: dict[str, str] = {
    "posture_share": "Any angle 3 SD or more away, until under 2, for at least 0.2 s.",
    "posture_bouts": "Those that begin within the recording, all 20 angles counted together.",
    "angle_deviation": "Root mean square over all angles and frames.",
    "smoothness": "Median over 2 s windows; a single smooth stroke has −1.4.",
    "jerk_over_reference": "The reference's own people have 5 % by definition. Movement up to about 6 Hz.",
    "jerk_p95": "Movement up to about 6 Hz; larger for larger and faster playing.",
    "acceleration_p95": "Movement up to about 9 Hz; larger for larger and faster playing.",
    "brisk_events": "Acceleration surely over 5 m/s²; ordinary quick strokes cross it too.",
}


def _say_reference(number: NumberReference, unit: str, baseline: Baseline) -> str:
    """A number over the reference's people in words, simulated or not, with n; empty if it is not known."""
    if not np.isfinite(number.mean):
        return ""
    origin = "simulated" if baseline.simulated else baseline.name
    # As many decimals for the spread as for the mean: about three significant digits of the larger.
    digits = int(np.clip(2 - np.floor(np.log10(max(abs(number.mean), number.sd, 1e-9))), 0, 2))
    spread = f" ± {number.sd:.{digits}f}" if np.isfinite(number.sd) else ""
    space = "" if unit == "°" else " "
    with_unit = f"{number.mean:.{digits}f}{spread}{space}{unit.replace('1/min', '/min')}".rstrip()
    return f"{_with_minus(with_unit)} ({origin}, n = {number.n_people})"


def _state_headline(name: str, number: Number, baseline: Baseline) -> Headline:
    label, unit, worse = HEADLINES[name]
    reference = baseline.headlines.get(name)
    words = _say_reference(reference, unit, baseline) if reference else ""
    return Headline(
        id=name,
        label=label,
        value=number.value,
        unit=unit,
        low=number.interval.low,
        high=number.interval.high,
        reference_mean=reference.mean if reference else NAN,
        reference_sd=reference.sd if reference else NAN,
        reference=words,
        note=number.reason or _HOW_TO_READ[name],
        valid_share=number.valid_share,
        worse=worse,
    )


def _compare_jerk(found: HandMeasures, baseline: Baseline) -> tuple[JointJerk, ...]:
    movement = found.kinematics
    p50, p95 = baseline.jerk_reference()
    scores = score_jerk_against(movement.jerk, movement.jerk_noise, p50, p95)
    missing = baseline.posture_only or NO_REFERENCE
    return tuple(
        _compare_joint(
            joint, movement.jerk[:, i], movement.jerk_noise[:, i], p50[i], p95[i], scores[:, i], missing
        )
        for i, joint in enumerate(JOINTS)
    )


def _compare_joint(
    joint: str, jerk: np.ndarray, noise: np.ndarray, p50: float, p95: float, scores: np.ndarray, missing: str
) -> JointJerk:
    known = np.isfinite(jerk)
    if known.mean() < MIN_VALID_SHARE:
        return JointJerk(joint, NAN, NAN, NAN, float(p50), float(p95), NAN, NAN, TOO_LITTLE)
    own = np.percentile(jerk[known], [50, 95])
    noise_now = float(np.nanmedian(noise[known])) if np.isfinite(noise[known]).any() else NAN
    note = ""
    if not np.isfinite(p95):
        note = missing
    elif p95 - p50 <= MIN_SPREAD_NOISES * np.nan_to_num(noise_now):
        note = "Withheld: this recording's noise is as large as the reference's movement of this joint."
    share, score = (NAN, NAN) if note else (float((jerk[known] > p95).mean()), float(scores[known].mean()))
    return JointJerk(
        joint, float(own[0]), float(own[1]), noise_now, float(p50), float(p95), share, score, note
    )
