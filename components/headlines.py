"""The few numbers at the top of a report: value, interval, reference, and how to read each."""

from __future__ import annotations

import math
from typing import Final

from dash import html

from components.status import say_number
from pipeline.measures.summary import INTERVAL_NOTE, Headline, Provenance, SideSummary

_WORSE: Final = {"higher": "higher counts as worse", "lower": "lower counts as worse", "": ""}


def say_value(headline: Headline) -> str:
    """A headline's value with its unit, as printed everywhere."""
    digits = pick_digits(headline.value)
    return f"{say_number(headline.value, digits)}{space_unit(headline.unit)}"


def pick_digits(value: float) -> int:
    """Decimals that leave about three significant digits."""
    if not math.isfinite(value) or abs(value) >= 100:
        return 0
    return 1 if abs(value) >= 10 else 2


def space_unit(unit: str) -> str:
    """A unit as it follows a number: a narrow space before it, but none before °."""
    shown = "/min" if unit == "1/min" else unit
    return shown if shown in ("", "°") else f"\N{NARROW NO-BREAK SPACE}{shown}"


def say_interval(headline: Headline) -> str:
    """The 95 % interval in words; empty where there is none."""
    if not (math.isfinite(headline.low) and math.isfinite(headline.high)):
        return ""
    digits = pick_digits(headline.value)
    return f"95 % interval {say_number(headline.low, digits)} to {say_number(headline.high, digits)}"


def say_headline_reference(headline: Headline) -> str:
    """The reference of a headline: "reference 4.1 ± 1.2 % (simulated, n = 24)"."""
    if not headline.reference:
        return "no reference for this number"
    return f"reference {headline.reference}".replace(" -", " −")


def headlines(summary: SideSummary) -> html.Div:
    """All headline numbers of one hand as cards."""
    cards = [_card(headline) for headline in summary.headlines]
    return html.Div([html.Div(cards, className="headlines"), html.P(INTERVAL_NOTE, className="plot-note")])


def _card(headline: Headline) -> html.Div:
    withheld = not math.isfinite(headline.value)
    lines = [say_interval(headline), say_headline_reference(headline), _WORSE.get(headline.worse, "")]
    if math.isfinite(headline.valid_share) and headline.valid_share < 0.995:
        lines.append(f"from {100 * headline.valid_share:.0f} % of the recording")
    return html.Div(
        [
            html.H3(headline.label),
            html.P("withheld" if withheld else say_value(headline), className="headline-value"),
            html.Ul([html.Li(line) for line in lines if line]) if not withheld else None,
            html.P(headline.note, className="headline-note") if headline.note else None,
        ],
        className="headline" + (" headline-withheld" if withheld else ""),
    )


def provenance_list(provenance: Provenance) -> html.Dl:
    """Where the numbers come from: program, networks, filter, reference."""
    simulated = "simulated, " if provenance.baseline_simulated else ""
    found = [
        ("Program", f"ReDys {provenance.program_version}"),
        ("Hand model", provenance.hand_model),
        ("Networks", f"{provenance.detector} (detector), {provenance.estimator} (estimator)"),
        ("Pictures", f"preset {provenance.preset}"),
        ("Derivatives", provenance.filter),
        (
            "Reference",
            f"{provenance.baseline} ({simulated}n = {provenance.baseline_n_people}, "
            f"{provenance.baseline_minutes:.0f} min, {provenance.baseline_task}). "
            f"{provenance.baseline_provenance} Licence: {provenance.baseline_licence}. "
            f"SHA-256 {provenance.baseline_digest[:12]}",
        ),
    ]
    return html.Dl([html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures")
