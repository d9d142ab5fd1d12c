"""The quality box: whether the recording can be relied on, why not, and the figures behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from dash import dcc, html

from components import policy, routes
from components.attributes import aria, as_written
from components.exclusions import exclusions
from components.status import level_icon, say_number, verdict_badge
from pipeline.measures.levels import BETWEEN, BEYOND, WITHIN
from pipeline.measures.quality_types import CameraQuality, HandQuality, QualityReport
from pipeline.measures.summary import Summary

_SENTENCES: Final = {
    "passed": "The recording can be relied on within the limits below.",
    "limited": "Read the numbers with care:",
    "failed": "The numbers of this recording should not be used:",
}
_SYNC_SOURCES: Final = {
    "audio": "by sound",
    "hand": "by the hand's own motion",
    "manual": "set by a person",
    "reference": "one camera",
    "none": "not known",
}
_RIG_SOURCES: Final = {
    "checkerboard": "checkerboard",
    "file": "saved rig",
    "hand": "the hand itself (self-calibrated)",
    "single": "one camera with a nominal lens",
}
_CHECKS: Final = {"good": "as calibrated", "doubtful": "doubtful", "moved": "moved", "unknown": "cannot tell"}


def verdict_box(quality: QualityReport, sentences: Mapping[str, str]) -> html.Div:
    """The verdict in mark and word, what it means (by ``sentences``), and its reasons."""
    level = {"passed": WITHIN, "limited": BETWEEN}.get(quality.verdict, BEYOND)
    return html.Div(
        [
            html.P([level_icon(level), html.Strong(f"Recording quality: {quality.verdict}")]),
            html.P(sentences[quality.verdict]),
            html.Ul([html.Li(reason) for reason in quality.reasons]) if quality.reasons else None,
        ],
        className="quality-verdict",
    )


def quality_box(
    summary: Summary, recording_id: str | None = None, clock_notes: dict[str, str] | None = None
) -> html.Div:
    """Verdict with its reasons, and the figures of sync, rig and fusion.

    Parameters
    ----------
    summary : Summary
        What the run has measured.
    recording_id : str, optional
        Whose clocks the links lead to; without it there are none.
    clock_notes : dict of str, optional
        What is to be said of a camera's clock (`components.clocks.note_clocks`).
    """
    quality = summary.quality
    return html.Div(
        [
            verdict_box(quality, _SENTENCES),
            html.Dl(list(_figures(summary)), className="figures"),
            html.Details(
                [html.Summary("By camera"), *_by_camera(quality, recording_id, clock_notes or {})],
                open=quality.verdict != "passed",
                className="quality-details",
            ),
            html.Details(
                [
                    html.Summary("What was set aside"),
                    *(exclusions(side, hand) for side, hand in quality.hands.items()),
                ],
                open=any(hand.view_set_aside for hand in quality.hands.values()),
                className="quality-details",
            )
            if quality.hands
            else None,
        ],
        className=f"quality quality-{quality.verdict}",
    )


def _figures(summary: Summary) -> list[html.Div]:
    quality = summary.quality
    found: list[tuple[str, str]] = [
        ("Cameras", f"{len(summary.recording.cameras)} at {summary.recording.fps:.2f} frames/s"),
        ("Length", f"{summary.recording.duration_s:.1f} s, {summary.recording.n_frames} frames"),
        ("Clocks", _say_clocks(quality)),
        ("Rig", _say_rig(quality)),
        ("Cameras since the calibration", _CHECKS.get(quality.rig_check, quality.rig_check)),
    ]
    for side, hand in quality.hands.items():
        found += [
            (f"{side.capitalize()} hand measured", f"{100 * hand.valid_share:.0f} % of joint-frames"),
            (
                "Joint position error",
                f"stated {say_number(hand.stated_sigma_mm, 2)} mm, "
                f"measured at rest {say_number(hand.measured_sigma_mm, 2)} mm",
            ),
            ("Reprojection", f"{say_number(hand.reprojection_px, 1)} px median"),
        ]
        found += _say_smoothing(hand)
    return [html.Div([html.Dt(term), html.Dd(text)]) for term, text in found]


def _say_smoothing(hand: HandQuality) -> list[tuple[str, str]]:
    """How fast a movement the fit's smoothing lets through; nothing in a run that does not say."""
    kept = (("of the hand", hand.hand_bandwidth_hz), ("of fingers", hand.finger_bandwidth_hz))
    said = [f"{what} up to {say_number(hertz, 0)} Hz" for what, hertz in kept if math.isfinite(hertz)]
    return [("Movements kept by the smoothing", ", ".join(said))] if said else []


def _say_clocks(quality: QualityReport) -> str:
    worst = max((camera.offset_sigma_s for camera in quality.cameras), default=math.nan)
    parts = [_SYNC_SOURCES.get(quality.sync_source, quality.sync_source)]
    if math.isfinite(worst):
        parts.append(f"± {1000 * worst:.2f} ms")
    if math.isfinite(quality.closure_s):
        parts.append(f"round three cameras {1000 * abs(quality.closure_s):.2f} ms")
    return ", ".join(parts)


def _say_rig(quality: QualityReport) -> str:
    source = _RIG_SOURCES.get(quality.rig_source, quality.rig_source)
    return f"from {source}, {quality.rig_verdict}"


def _by_camera(quality: QualityReport, recording_id: str | None, notes: dict[str, str]) -> list[Any]:
    if not policy.may("work"):  # who may not set a clock is not led to where it is done
        recording_id = None
    parts: list[Any] = [_camera_table(quality, recording_id, notes)]
    if recording_id and len(quality.cameras) > 1:
        words = "See the cameras' sound over each other, or set a clock by hand"
        parts.append(html.P(dcc.Link(words, href=routes.clocks_url(recording_id)), className="clock-link"))
    return parts


def _camera_table(quality: QualityReport, recording_id: str | None, notes: dict[str, str]) -> html.Div:
    head = [
        "Camera", "Hand found", "Reprojection", "Set aside", "Calibration", "Clock offset", "Drift", "Clock",
    ]  # fmt: skip
    body: list[Any] = []
    for camera in quality.cameras:
        is_reference = camera.sync_source == "reference"
        clock: list[Any] = ["the reference" if is_reference else verdict_badge(camera.sync_verdict)]
        if shift := _say_time_shift(camera):
            clock.append(html.Div(shift, className="quiet"))
        if camera.camera in notes:
            clock.append(html.Div(notes[camera.camera], className="quiet"))
        if recording_id and camera.sync_verdict != "reliable":
            href = routes.clocks_url(recording_id, camera.camera)
            link = dcc.Link(
                "Set by hand", href=href, title=f"Set the clock of camera {camera.camera} by hand"
            )
            clock.append(html.Div(link))
        body.append(
            html.Tr(
                [
                    html.Th(as_written(camera.camera), scope="row"),
                    html.Td(f"{100 * camera.valid_share:.0f} %"),
                    html.Td(f"{say_number(camera.reprojection_px, 1)} px"),
                    html.Td(_say_set_aside(camera.camera, quality)),
                    html.Td(f"{say_number(camera.calibration_rms_px, 2)} px"),
                    html.Td("–" if is_reference else _say_offset(camera.offset_s, camera.offset_sigma_s)),
                    html.Td("–" if is_reference else f"{say_number(camera.drift_ppm, 1, signed=True)} ppm"),
                    html.Td(clock, title="; ".join(camera.reasons) or None),
                ]
            )
        )
    rows = html.Tbody(body)
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), rows], className="numbers"
    )
    return html.Div(
        table, className="table-scroll", tabIndex=0, role="region", **aria(label="Quality by camera")
    )


def _say_set_aside(camera: str, quality: QualityReport) -> str:
    """Share of a camera's points that lost their say, of two hands the worse; a dash in an older run."""
    shares = [hand.set_aside[camera] for hand in quality.hands.values() if camera in hand.set_aside]
    return f"{100 * max(shares):.1f} %" if shares else "–"


def _say_time_shift(camera: CameraQuality) -> str:
    """How much later a camera shows the hand move than its clock says; empty where that is not known."""
    known = math.isfinite(camera.time_shift_sigma_s)
    if not math.isfinite(camera.time_shift_s) or not (known or camera.time_shift_s):
        return ""
    later = "later" if camera.time_shift_s >= 0 else "earlier"
    taken = ", taken off" if camera.time_shift_applied else ""
    shift_ms, sigma_ms = 1000 * abs(camera.time_shift_s), 1000 * camera.time_shift_sigma_s
    figure = f"{say_number(shift_ms, 1)} ± {say_number(sigma_ms, 1)}" if known else f"at least {shift_ms:.0f}"
    shift = f"{figure} ms".replace(" ", "\N{NO-BREAK SPACE}")
    return f"the hand moves {shift} {later}{taken}"


def _say_offset(offset_s: float, sigma_s: float) -> str:
    """A clock's offset in one piece; one that a person set has no error that is known."""
    if not math.isfinite(offset_s):
        return "–"
    error = f" ± {say_number(1000 * sigma_s, 2)}" if math.isfinite(sigma_s) else ""
    return f"{say_number(1000 * offset_s, 2, signed=True)}{error} ms".replace(" ", "\N{NO-BREAK SPACE}")
