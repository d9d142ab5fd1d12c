"""What the strokes tell: distance by angle, tremor, individuation, key timing, and features of the hand.

Each part says why it cannot tell where it cannot; "none seen" and "cannot tell" are never the same words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from dash import html

from components.attributes import aria
from components.headlines import pick_digits
from components.heat_map import name_angle
from components.states import notice
from components.status import FINGER_LABELS, say_number
from pipeline.hand.joints import FINGERS
from pipeline.measures.playing_types import (
    Coupling,
    FeatureSummary,
    FingerIndex,
    Individuation,
    KeyTiming,
    TremorSummary,
)
from pipeline.measures.summary import SideSummary

NOT_WORKED_OUT = "This run is older than this measure. Run the pipeline again on the recording to have it."

NO_REFERENCES: Final[Mapping[str, str]] = MappingProxyType({})

_SITES: Final = {"hand": "Whole hand"} | FINGER_LABELS


def say_range(value: float, low: float, high: float, unit: str, digits: int | None = None) -> str:
    """A number with its interval: "6.2 Hz (5.9 to 6.4)"."""
    places = pick_digits(value) if digits is None else digits
    space = "" if unit in ("", "°") else "\N{NARROW NO-BREAK SPACE}"
    text = f"{say_number(value, places)}{space}{unit}"
    if math.isfinite(low) and math.isfinite(high):
        text += f" ({say_number(low, places)} to {say_number(high, places)})"
    return text


def deviation(summary: SideSummary) -> html.Div:
    """How far each angle lies from the reference all the time: a bar, its number, and the reference's own."""
    most = max((angle.rms_deg for angle in summary.angles if math.isfinite(angle.rms_deg)), default=math.nan)
    if not math.isfinite(most):
        return html.Div(notice("info", html.P(f"Cannot tell. {_why_no_deviation(summary)}")))
    parts: list[Any] = []
    for finger in FINGERS:
        profile = next((found for found in summary.fingers if found.finger == finger), None)
        rows = [
            _bar_row(name_angle(angle.angle), angle.rms_deg, angle.rms_low, angle.rms_high,
                     angle.reference_rms_deg, most, angle.note)
            for angle in summary.angles
            if angle.finger == finger
        ]  # fmt: skip
        if profile is not None:
            whole = _bar_row(
                "All its angles", profile.rms_deg, profile.rms_low, profile.rms_high,
                profile.reference_rms_deg, most, "",
            )  # fmt: skip
            rows.append(whole)
        parts.append(
            html.Div([html.H3(FINGER_LABELS[finger]), html.Table(html.Tbody(rows), className="bars")])
        )
    note = (
        "Root mean square distance from the reference's mean over the recording, with its 95 % interval in "
        "brackets; the upright mark is that of all frames of the reference's people. It has no direction and "
        "is not a score of severity."
    )
    return html.Div([html.Div(parts, className="deviation"), html.P(note, className="plot-note")])


def _why_no_deviation(summary: SideSummary) -> str:
    return next((angle.note for angle in summary.angles if angle.note), NOT_WORKED_OUT)


def _bar_row(
    label: str, value: float, low: float, high: float, reference: float, most: float, note: str
) -> html.Tr:
    if not math.isfinite(value):
        cell = html.Td(note or "cannot tell", colSpan=2, className="quiet")
        return html.Tr([html.Th(label, scope="row"), cell])
    scale = 100.0 / (1.05 * max(most, reference if math.isfinite(reference) else 0.0))
    marks: list[Any] = [html.Span(className="bar-length", style={"width": f"{value * scale:.1f}%"})]
    words = say_range(value, low, high, "°", 1)
    if math.isfinite(reference):
        marks.append(html.Span(className="bar-reference", style={"left": f"{reference * scale:.1f}%"}))
        words += f"; reference {say_number(reference, 1)}°"
    bar = html.Td(html.Div(marks, className="bar", **aria(hidden="true")), className="bar-cell")
    return html.Tr([html.Th(label, scope="row"), bar, html.Td(words)])


def tremor(found: tuple[TremorSummary, ...], references: Mapping[str, str] = NO_REFERENCES) -> html.Div:
    """Whether a tremor is seen in the hand and in each finger, how fast, how far.

    ``references`` are the `playing_reference` of the summary.
    """
    title = html.H3("Tremor")
    if not found:
        return html.Div([title, notice("info", html.P(NOT_WORKED_OUT))])
    rows = [
        html.Tr(
            [
                html.Th(_SITES.get(one.site, one.site), scope="row"),
                html.Td(
                    html.Strong(one.verdict) if one.verdict == "seen" else one.verdict, className="verdict"
                ),
                html.Td(say_tremor(one)),
                *_reference_cell(references, "tremor_seen", one.site),
            ]
        )
        for one in found
    ]
    words = ["Where", "Tremor", "How fast, how far"]
    if _has_references(references, "tremor_seen"):
        words.append("Reference: share with a tremor")
    head = [html.Th(word, scope="col") for word in words]
    table = html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="numbers")
    note = (
        "3 to 12 Hz, root mean square of all three directions, with 95 % intervals in brackets. Frequencies "
        "can be relied on; sizes are what the joining of the views leaves of them. A finger's is seen from "
        "the palm."
    )
    return html.Div([title, _scroll(table, "Tremor"), html.P(note, className="plot-note")])


def say_tremor(found: TremorSummary) -> str:
    """One place's tremor in words."""
    if found.verdict == "seen":
        hertz = say_range(found.frequency_hz, found.frequency_low_hz, found.frequency_high_hz, "Hz", 1)
        return f"{hertz}, {say_range(found.rms_mm, found.rms_low_mm, found.rms_high_mm, 'mm', 2)}"
    if found.verdict == "none seen":
        return f"none over {say_number(found.limit_mm, 1)}\N{NARROW NO-BREAK SPACE}mm from 4 to 12 Hz"
    return found.note


def _has_references(references: Mapping[str, str], kind: str) -> bool:
    return any(name.startswith(f"{kind}:") for name in references)


def _reference_cell(references: Mapping[str, str], kind: str, place: str) -> list[html.Td]:
    """What the reference has for a finger; no cell where it has nothing of this kind."""
    if not _has_references(references, kind):
        return []
    return [html.Td(references.get(f"{kind}:{place}") or "–", className="quiet")]


def individuation(found: Individuation | None, references: Mapping[str, str] = NO_REFERENCES) -> html.Div:
    """The 5 x 5 matrix: how far each other finger moves with the one that strikes.

    ``references`` are the `playing_reference` of the summary.
    """
    title = html.H3("Individuation")
    if found is None:
        return html.Div([title, notice("info", html.P(NOT_WORKED_OUT))])
    source = "strokes that were heard and seen" if found.heard else "strokes by sight alone, without sound"
    counts = (
        f"{found.events} {source}; {found.unclear} left out, in which two fingers went down nearly alike."
    )
    if found.note:
        return html.Div([title, notice("info", html.P(f"Cannot tell. {found.note} {counts}"))])
    cells = {(one.striking, one.other): one for one in found.couplings}
    head = ["Strikes", *FINGER_LABELS.values(), "All stay = 1"]
    if _has_references(references, "individuation"):
        head.append("Reference index")
    rows = []
    for index in found.fingers:
        row: list[Any] = [html.Th(f"{FINGER_LABELS[index.finger]} ({index.strokes})", scope="row")]
        for other in FINGERS:
            cell = cells.get((index.finger, other))
            row.append(_cell(cell) if cell else html.Td("·", className="cell-own"))
        row += [_index_cell(index), *_reference_cell(references, "individuation", index.finger)]
        rows.append(html.Tr(row))
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(rows)],
        className="numbers matrix",
    )
    note = (
        "How far each finger moves with the one that strikes, in % of its way (95 % interval below); 0 = it "
        "stays, below 0 = the other way. Striped: too few strokes in which it has none of its own. "
        f"Index: 1 = the others stay. {counts}"
    )
    return html.Div([title, _scroll(table, "Individuation"), html.P(note, className="plot-note")])


def _index_cell(index: FingerIndex) -> html.Td:
    if not math.isfinite(index.index):
        return html.Td("–", className="cell-unknown")
    return html.Td(
        [say_number(index.index, 2), html.Small(f"{say_number(index.low, 2)} to {say_number(index.high, 2)}")]
    )


def _cell(one: Coupling) -> html.Td:
    if not math.isfinite(one.share):
        return html.Td(["–", html.Small(f"n = {one.events}")], className="cell-unknown")
    step = min(int(abs(one.share) * 10), 9)
    small = f"{say_number(100 * one.low, 0)} to {say_number(100 * one.high, 0)}"
    return html.Td(
        [say_number(100 * one.share, 0), html.Small(small)],
        className=f"cell-{step}",
        title=f"{one.events} strokes",
    )


def timing(found: KeyTiming | None, reference: str = "") -> html.Div:
    """How evenly the strokes come, by the sound, beside the ``reference``'s unevenness in words if any."""
    if found is None:
        return html.Div(notice("info", html.P(NOT_WORKED_OUT)))
    heard = f"{found.onsets} strokes heard by camera {found.source}, {found.chords} of them chords." if (
        found.source
    ) else ""  # fmt: skip
    if found.verdict != "measured":
        return html.Div(notice("info", html.P(f"Cannot tell. {found.note} {heard}".strip())))
    figures = [
        ("Unevenness (SD of the intervals, tempo removed)",
         say_range(found.sd_ms, found.sd_low_ms, found.sd_high_ms, "ms")),
        ("Of the mean interval (CV)", f"{100 * found.cv:.1f} % of {found.interval_ms:.0f} ms"),
        ("Median of the runs", f"{say_number(found.median_run_sd_ms, 1)} ms"),
        ("Rests on", f"{found.intervals} intervals in {found.runs} even runs"),
        ("Strokes a minute", say_number(found.rate_per_min, 0)),
    ]  # fmt: skip
    note = (
        f"{heard} Intervals off by more than a third from their run's count as rhythm. Listening alone makes "
        f"{found.error_ms:.1f} ms of this. Higher counts as worse; "
        f"{f'reference: {reference}' if reference else 'there is no reference for this number'}. "
        "The sound does not tell which hand or finger struck."
    )
    return html.Div([_list_figures(figures), html.P(note, className="plot-note")])


def features(found: FeatureSummary | None) -> html.Div:
    """Openness, grasp and wrist path."""
    title = html.H3("Hand features")
    if found is None or found.note:
        reason = NOT_WORKED_OUT if found is None else f"Cannot tell. {found.note}"
        return html.Div([title, notice("info", html.P(reason))])
    shares = ", ".join(
        f"{name} {100 * share:.0f} %" for name, share in found.grasp_shares.items() if share >= 0.005
    )
    figures = [
        ("Openness (1 = stretched out, about 0.5 = a fist)",
         say_range(found.openness, found.openness_low, found.openness_high, "", 2)),
        ("Openness, from 5th to 95th percentile",
         f"{say_number(found.openness_p5, 2)} to {say_number(found.openness_p95, 2)}"),
        ("Tips of thumb, index and middle finger", shares),
        ("Path of the wrist a second",
         say_range(found.wrist_path_mm_s, found.wrist_path_low_mm_s, found.wrist_path_high_mm_s, "mm/s")),
    ]  # fmt: skip
    note = (
        "Precision: thumb within 20 mm of both; power: within 40 mm of the index finger; else open. It is "
        "geometry and does not say that anything is held. Every frame is in the table of hand features."
    )
    return html.Div([title, _list_figures(figures), html.P(note, className="plot-note")])


def _list_figures(figures: list[tuple[str, str]]) -> html.Dl:
    return html.Dl([html.Div([html.Dt(term), html.Dd(text)]) for term, text in figures], className="figures")


def _scroll(table: html.Table, label: str) -> html.Div:
    return html.Div(table, className="table-scroll", tabIndex=0, role="region", **aria(label=label))


def strokes(summary: SideSummary, references: Mapping[str, str] = NO_REFERENCES) -> html.Div:
    """Tremor, individuation and features of one hand, side by side where there is room."""
    return html.Div(
        [
            tremor(summary.tremor, references),
            individuation(summary.individuation, references),
            features(summary.features),
        ],
        className="strokes",
    )


def list_print_rows(summary: SideSummary) -> list[tuple[str, str]]:
    """The same for the printed page: a label and a few words each."""
    rows = []
    seen = [
        f"{_SITES.get(one.site, one.site).lower()} {say_tremor(one)}"
        for one in summary.tremor
        if one.verdict == "seen"
    ]
    told = sum(one.verdict != "cannot tell" for one in summary.tremor)
    if summary.tremor:
        elsewhere = f"none seen in {told - len(seen)} of 6 places, cannot tell in {6 - told}"
        rows.append(("Tremor, 3 to 12 Hz", "; ".join([*seen, elsewhere])))
    found = summary.individuation
    if found is not None:
        known = [index for index in found.fingers if math.isfinite(index.index)]
        words = "; ".join(
            f"{FINGER_LABELS[index.finger].lower()} {say_range(index.index, index.low, index.high, '', 2)}"
            for index in known
        )
        rows.append(("Individuation (1 = the other fingers stay)", words or "cannot tell: too few strokes"))
    return rows


def say_timing(found: KeyTiming | None) -> str:
    """Key timing in one line for the printed page; empty where it was not worked out."""
    if found is None:
        return ""
    if found.verdict != "measured":
        return f"cannot tell: {found.note.partition('. ')[0].rstrip('.')}"
    sd = say_range(found.sd_ms, found.sd_low_ms, found.sd_high_ms, "ms")
    return f"{sd}, {100 * found.cv:.1f} % of the mean interval, from {found.intervals} intervals"
