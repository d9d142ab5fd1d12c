"""The quality box: whether the recording can be relied on, why not, and the figures behind it."""

from __future__ import annotations

import math
from typing import Any, Final

from dash import html

from components.status import level_icon, say_number, verdict_badge
from pipeline.measures.levels import BETWEEN, BEYOND, WITHIN
from pipeline.measures.summary import QualityReport, Summary

_SENTENCES: Final = {
    "passed": "The recording can be relied on within the limits below.",
    "limited": "Read the numbers with care:",
    "failed": "The numbers of this recording should not be used:",
}
_SYNC_SOURCES: Final = {"audio": "by sound", "manual": "set by hand", "reference": "one camera"}
_RIG_SOURCES: Final = {
    "checkerboard": "checkerboard",
    "file": "saved rig",
    "hand": "the hand itself",
    "single": "one camera with a nominal lens",
}


def quality_box(summary: Summary) -> html.Div:
    """Verdict with its reasons, and the figures of sync, rig and fusion."""
    quality = summary.quality
    level = {"passed": WITHIN, "limited": BETWEEN}.get(quality.verdict, BEYOND)
    reasons = html.Ul([html.Li(reason) for reason in quality.reasons]) if quality.reasons else None
    return html.Div(
        [
            html.Div(
                [
                    html.P([level_icon(level), html.Strong(f"Recording quality: {quality.verdict}")]),
                    html.P(_SENTENCES[quality.verdict]),
                    reasons,
                ],
                className="quality-verdict",
            ),
            html.Dl(list(_figures(summary)), className="figures"),
            html.Details(
                [html.Summary("By camera"), _camera_table(quality)],
                open=quality.verdict != "passed",
                className="quality-details",
            ),
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
    return [html.Div([html.Dt(term), html.Dd(text)]) for term, text in found]


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


def _camera_table(quality: QualityReport) -> html.Div:
    head = [
        "Camera", "Hand found", "Reprojection", "Calibration", "Clock offset", "Drift", "Clock",
    ]  # fmt: skip
    body: list[Any] = []
    for camera in quality.cameras:
        offset = f"{1000 * camera.offset_s:+.2f} ± {say_number(1000 * camera.offset_sigma_s, 2)} ms"
        clock = [verdict_badge(camera.sync_verdict)]
        body.append(
            html.Tr(
                [
                    html.Th(camera.camera, scope="row"),
                    html.Td(f"{100 * camera.valid_share:.0f} %"),
                    html.Td(f"{say_number(camera.reprojection_px, 1)} px"),
                    html.Td(f"{say_number(camera.calibration_rms_px, 2)} px"),
                    html.Td(offset.replace("-", "−") if math.isfinite(camera.offset_s) else "–"),
                    html.Td(f"{say_number(camera.drift_ppm, 1, signed=True)} ppm"),
                    html.Td(clock, title="; ".join(camera.reasons) or None),
                ]
            )
        )
    rows = html.Tbody(body)
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), rows], className="numbers"
    )
    return html.Div(table, className="table-scroll")
