"""What a printed report says, as plain words: the page to print and the PDF file are both drawn from this.

One sheet a hand, each whole by itself: they come apart on a desk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from components.attributes import Written
from components.corrections import list_printed
from components.hand_map import CAPTION, describe_map, draw_hand, say_worst
from components.headlines import say_headline_reference, say_interval, say_value
from components.playing import list_print_rows, say_timing
from components.report import LIMITS
from components.shell import INTENDED_USE
from pipeline.hand.joints import Side
from pipeline.measures.levels import BETWEEN, BEYOND, WITHIN, Level
from pipeline.measures.summary import SIMULATED_NOTE, Headline, SideSummary, Summary
from records import NotFound, RecordingRow

MOST_REASONS: Final = 6
"""Of the quality verdict; what is left out is counted, and stands on the report's page."""

MOST_CHANGED: Final = 4
"""Corrections and excluded sections on a sheet; what is left out is counted likewise."""

_LEVELS: Final[dict[str, Level]] = {"passed": WITHIN, "limited": BETWEEN}


@dataclass(frozen=True)
class Number:
    """A headline number: what it is, its value, and interval and reference, or why it is withheld."""

    label: str
    value: str
    details: str


@dataclass(frozen=True)
class HandPart:
    """What a sheet says of one hand.

    Attributes
    ----------
    title, worst, caption : str
    simulated : str
        The sentence that stands beside every number of a simulated reference; empty with a real one.
    map_svg, map_words : str
        The hand map as a drawing, and in words.
    more : tuple of (str, str)
        Label and words of what else is told: tremor, individuation, evenness of the strokes.
    numbers : tuple of Number
    """

    title: str
    worst: str
    caption: str
    simulated: str
    map_svg: str
    map_words: str
    more: tuple[tuple[str, str], ...]
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Sheet:
    """One page of a printed report.

    Attributes
    ----------
    subject, task : Written
        As somebody typed them.
    visit : str
        Day of the visit, or "undated".
    who : tuple of (str, str)
        Term and text of what stands in the head.
    verdict, level : str
        Of the recording's quality: in words, and the level whose mark stands beside it.
    figures : tuple of str
        What the verdict rests on, each by itself.
    reasons : tuple of str
        Why it is no better.
    changed : tuple of (str, str)
        What was corrected or left out by hand, and why, as typed.
    hand : HandPart or None
        None of a recording that failed its checks: its numbers are not to be used.
    notes : tuple of str
        What limits the numbers.
    origin : str
        Reference, networks and filter.
    version, report_id : str
    number, count : int
        Which page of how many.
    """

    subject: Written
    task: Written
    visit: str
    who: tuple[tuple[str, str], ...]
    verdict: str
    level: Level
    figures: tuple[str, ...]
    reasons: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]
    hand: HandPart | None
    notes: tuple[str, ...]
    origin: str
    version: str
    report_id: str
    number: int
    count: int


def compose(recording: RecordingRow, summary: Summary, scales: str = "") -> tuple[Sheet, ...]:
    """The sheets of a report: one for each hand, or a single one without numbers.

    Parameters
    ----------
    recording : RecordingRow
        With a report (`report_run_id`).
    summary : Summary
        Of that run.
    scales : str
        The clinical scales of that visit in words (`components.scores.say_scores_at`).
    """
    sides: list[Side | None] = [*summary.sides] if summary.quality.verdict != "failed" else []
    shown = sides or [None]
    return tuple(
        Sheet(
            subject=Written(recording.subject),
            task=Written(recording.task),
            visit=recording.visit.isoformat() if recording.visit else "undated",
            who=_list_who(recording, summary),
            verdict=f"Recording quality: {summary.quality.verdict}",
            level=_LEVELS.get(summary.quality.verdict, BEYOND),
            figures=_list_figures(summary),
            reasons=_list_reasons(summary),
            changed=_list_changed(recording, summary),
            hand=_compose_hand(summary, side, scales) if side else None,
            notes=(INTENDED_USE, *summary.notes, *LIMITS),
            origin=_say_origin(summary),
            version=summary.provenance.program_version,
            report_id=recording.report_run_id or "",
            number=number,
            count=len(shown),
        )
        for number, side in enumerate(shown, start=1)
    )


def require_summary(recording: RecordingRow, summary: Summary | None) -> Summary:
    """The summary to print.

    Raises
    ------
    NotFound
        There is none.
    """
    if recording.report_run_id is None or summary is None:
        raise NotFound("There is no report of this recording yet.", "Run the pipeline on it first.")
    return summary


def _list_who(recording: RecordingRow, summary: Summary) -> tuple[tuple[str, str], ...]:
    return (
        ("Person", Written(recording.subject)),
        ("Visit", recording.visit.isoformat() if recording.visit else "undated"),
        ("Task", Written(recording.task)),
        ("Hand", recording.side),
        ("Length", f"{summary.recording.duration_s:.1f} s"),
    )


def _list_figures(summary: Summary) -> tuple[str, ...]:
    figures = [f"{len(summary.recording.cameras)} cameras at {summary.recording.fps:.2f} frames/s"]
    for side, hand in summary.quality.hands.items():
        figures.append(f"{side} hand measured in {100 * hand.valid_share:.0f} %")
        if math.isfinite(hand.stated_sigma_mm):
            figures.append(f"joint position error {hand.stated_sigma_mm:.1f} mm")
    return tuple(figures)


def _list_reasons(summary: Summary) -> tuple[str, ...]:
    reasons = summary.quality.reasons
    if len(reasons) <= MOST_REASONS:
        return reasons
    more = len(reasons) - MOST_REASONS + 1
    return (*reasons[: MOST_REASONS - 1], f"And {more} more: see the report on screen.")


def _list_changed(recording: RecordingRow, summary: Summary) -> tuple[tuple[str, str], ...]:
    lines = list_printed(recording.id, summary)
    if len(lines) <= MOST_CHANGED:
        return lines
    more = len(lines) - MOST_CHANGED + 1
    return (*lines[: MOST_CHANGED - 1], (f"And {more} more corrections: see the report on screen.", ""))


def _compose_hand(summary: Summary, side: Side, scales: str) -> HandPart:
    found = summary.sides[side]
    return HandPart(
        title=f"Hand map, {side} hand (standard deviations from the reference)",
        worst=say_worst(found),
        caption=CAPTION,
        simulated=SIMULATED_NOTE if summary.provenance.baseline_simulated else "",
        map_svg=draw_hand(found.angles, side),
        map_words=describe_map(found, side),
        more=(*_list_more(summary, found), *([("Clinical scales at this visit", scales)] if scales else [])),
        numbers=tuple(_say_number(headline) for headline in found.headlines),
    )


def _list_more(summary: Summary, found: SideSummary) -> tuple[tuple[str, str], ...]:
    """Tremor and strokes of a hand; the sound's evenness, which is both hands', on each sheet."""
    rows = list_print_rows(found)
    if summary.timing is not None:
        rows.append(("Evenness of the strokes, by sound", say_timing(summary.timing)))
    return tuple(rows)


def _say_number(headline: Headline) -> Number:
    if not math.isfinite(headline.value):
        return Number(headline.label, "", f"withheld: {headline.note}")
    lines = [say_interval(headline), say_headline_reference(headline)]
    return Number(headline.label, say_value(headline), "; ".join(line for line in lines if line))


def _say_origin(summary: Summary) -> str:
    provenance = summary.provenance
    simulated = ", simulated" if provenance.baseline_simulated else ""
    return (
        f"Reference: {provenance.baseline}, n = {provenance.baseline_n_people}{simulated}. "
        f"{provenance.hand_model}; {provenance.detector}, {provenance.estimator}; {provenance.filter}."
    )
