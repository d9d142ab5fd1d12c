"""The training's curves as a picture that any browser shows."""

from __future__ import annotations

import csv
from html import escape
from pathlib import Path

from pipeline.files import write_bytes

SHEETS = (
    ("error", "Mean error, share of the palm"),
    ("worst_tenth", "Worst tenth begins at, share of the palm"),
    ("within_95", "Share of joints within the 95 % circle"),
    ("side", "Share of crops whose side is told right"),
)
NAMES = (
    ("held-out", "made, held out", "#0b5c8a"),
    ("real", "real, trained", "#d9a066"),
    ("real-held-out", "real, held out", "#b35000"),
)
_WIDTH, _HEIGHT, _LEFT, _TOP = 420, 260, 60, 40


def draw_curves(folder: Path) -> Path:
    """Draw ``curves.csv`` of a training folder as ``curves.svg`` beside it."""
    with open(folder / "curves.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps = [float(row["step"]) for row in rows]
    sheets = [
        _draw_sheet(title, steps, {name: [float(row[f"{name}_{measure}"]) for row in rows]
                                   for name, *_ in NAMES if f"{name}_{measure}" in rows[0]})
        for measure, title in SHEETS
    ]  # fmt: skip
    placed = [
        f'<g transform="translate({_WIDTH * (number % 2)} {_HEIGHT * (number // 2)})">{sheet}</g>'
        for number, sheet in enumerate(sheets)
    ]
    size = f'width="{2 * _WIDTH}" height="{2 * _HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    path = folder / "curves.svg"
    write_bytes(path, f'{head}<rect {size} fill="#fff"/>{"".join(placed)}</svg>\n'.encode())
    return path


def _draw_sheet(title: str, steps: list[float], lines: dict[str, list[float]]) -> str:
    """One plot: title, frame with its ends written at it, a line a name."""
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(values)
    high = high if high > low else low + 1e-6
    last = max(steps[-1], 1.0)
    wide, tall = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - 40
    parts = [
        f'<text x="{_LEFT}" y="18" font-size="13">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{wide}" height="{tall}" fill="none" stroke="#999"/>',
        f'<text x="{_LEFT - 4}" y="{_TOP + 8}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{_LEFT - 4}" y="{_TOP + tall}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{_LEFT + wide}" y="{_TOP + tall + 14}" text-anchor="end">step {last:.0f}</text>',
    ]
    for number, (name, label, colour) in enumerate(NAMES):
        if name not in lines:
            continue
        points = [
            f"{_LEFT + wide * step / last:.1f},{_TOP + tall * (high - value) / (high - low):.1f}"
            for step, value in zip(steps, lines[name], strict=True)
        ]
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        place = f'x="{_LEFT + 120 * number}" y="{_TOP + tall + 28}"'
        parts.append(f'<text {place} fill="{colour}">{escape(label)}</text>')
    return "".join(parts)
