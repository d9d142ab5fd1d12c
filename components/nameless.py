"""What can be shown of a recording without saying whose it is: for who has a link, and for researchers.

Drawn of stripped summaries alone (`pipeline.sharing`), with ``dash.html`` alone, so that it stands on a plain
page as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dash import html

from components import ids
from components.attributes import as_written
from components.comparison import (
    INTERVAL_MEANING,
    angle_changes,
    headline_changes,
    posture_changes,
    say_verdicts,
)
from components.events import events
from components.hand_map import CAPTION, hand_image, hand_map
from components.headlines import headlines
from components.language import translate
from components.playing import deviation
from components.quality import verdict_box
from components.signals import Signals, read_signals
from components.states import failed, partial
from components.status import level_legend, panel, say_number, say_time, simulated_note
from pipeline.errors import RedysError
from pipeline.hand.joints import Side
from pipeline.measures.change import SideChange
from pipeline.measures.summary import SIMULATED_NOTE, Summary
from pipeline.results import RunFolder

_VERDICTS: Final = {
    "passed": "The recording can be relied on within the limits below.",
    "limited": "Read the numbers with care:",
    "failed": "The numbers of this recording should not be used:",
}


@dataclass(frozen=True)
class Part:
    """One recording.

    Attributes
    ----------
    base : str
        Where the browser finds its moving hand.
    summary : Summary
        Stripped.
    folder : RunFolder
        With the moving hand.
    notes : list of dict
        As `pipeline.sharing` writes them.
    waiting : tuple
        What stands in the player's place while there is no moving hand.
    """

    base: str
    summary: Summary
    folder: RunFolder
    notes: list[dict[str, Any]] = field(default_factory=list)
    waiting: tuple[Any, ...] = ()


def draw_one(part: Part, title: str, *more: html.Section) -> list[Any]:
    """A recording from its quality to its numbers; ``more`` are parts that stand below those.

    ``title`` is what the player is called.
    """
    signals, moving = _moving(part, title)
    quality = panel("Quality of the recording", _quality(part.summary))
    maps = [
        panel(_title("Hand map", part.summary, side), hand_map(found, side, part.summary.provenance))
        for side, found in part.summary.sides.items()
    ]
    player = panel("Player", *moving, lead="The moving hand; its colour is chosen below it.")
    rest: list[Any] = []
    for side, found in part.summary.sides.items():
        rest.append(panel(_title("Headline numbers", part.summary, side), headlines(found)))
        if signals is not None:
            rest.append(panel(_title("Events", part.summary, side), events(found, signals)))
        rest.append(panel(_title("Distance from the reference", part.summary, side), deviation(found)))
    rest += more
    notes = _notes([part])
    if part.summary.quality.verdict == "failed":
        hidden = html.Details(
            [html.Summary("Show the numbers all the same"), *maps, *rest], className="panel withheld"
        )
        return [quality, player, *notes, hidden]
    return [quality, *maps, player, *rest, *notes]


def draw_two(
    parts: Sequence[Part], changes: Mapping[Side, SideChange], warnings: Sequence[str], study: str
) -> list[Any]:
    """Two visits, the earlier first: what changed, both hands on one clock, and the maps side by side.

    ``warnings`` keep them from being comparable; ``study`` says what the verdicts rest on.
    """
    content: list[Any] = [partial(*warnings)] if warnings else []
    for part, word in zip(parts, ("earlier", "later"), strict=True):
        content.append(panel(f"Quality of the {word} recording", _quality(part.summary)))
    simulated = any(part.summary.provenance.baseline_simulated for part in parts)
    note = simulated_note(SIMULATED_NOTE) if simulated else None
    said = html.P(study, className="plot-note")
    for side, change in changes.items():
        several = f", {side} hand" if len(changes) > 1 else ""
        content.append(
            panel(
                f"Headline numbers{several}",
                html.P(say_verdicts(change)),
                headline_changes(change),
                note,
                said,
                lead=INTERVAL_MEANING,
            )
        )
    players = [
        html.Div([html.H3(f"{word} visit"), *_moving(part, f"{word} visit", follows=bool(number))[1]])
        for number, (part, word) in enumerate(zip(parts, ("Earlier", "Later"), strict=True))
    ]
    lead = (
        "The earlier visit's controls drive both, from their starts on. Hand colours are relative to each "
        "recording: compare the numbers, not the colours."
    )
    content.append(panel("Both visits on one clock", html.Div(players, className="visits"), lead=lead))
    for side, change in changes.items():
        maps = [
            html.Figure([html.Figcaption(f"{word} visit"), hand_image(part.summary.sides[side], side)])
            for part, word in zip(parts, ("Earlier", "Later"), strict=True)
        ]
        content.append(
            panel(
                f"Joint angles, {side} hand",
                note,
                html.Div(maps, className="visits"),
                html.P(CAPTION, className="plot-note"),
                level_legend(),
                html.H3("Medians"),
                angle_changes(change),
                html.H3("Share of time 3 SD or more from the reference"),
                posture_changes(change),
            )
        )
    return [*content, *_notes(parts)]


def _title(words: str, summary: Summary, side: Side) -> str:
    return f"{words}, {side} hand" if len(summary.sides) > 1 else words


def _moving(part: Part, title: str, follows: bool = False) -> tuple[Signals | None, list[Any]]:
    """The moving numbers and the player; where they cannot be read, what is wrong in their place."""
    if part.waiting:
        return None, list(part.waiting)
    try:
        signals = read_signals(part.folder)
    except RedysError:  # its words name folders
        words = "The moving hand of this recording cannot be read."
        return None, [failed(RedysError(words, "Load the page again in a minute."))]
    marks: dict[str, Any] = {
        "data-module": "player",
        "data-base": part.base,
        "data-title": translate(title),
    }
    if follows:
        marks |= {"data-follow": ids.PLAYER, "data-offset": "0"}
    else:
        marks["data-links"] = "page"
    name = ids.PLAYER_B if follows else ids.PLAYER
    return signals, [html.Div(id=name, className="player-host", **marks)]


def _quality(summary: Summary) -> html.Div:
    quality = summary.quality
    found = [
        ("Cameras", f"{len(summary.recording.cameras)} at {summary.recording.fps:.2f} frames/s"),
        ("Length", f"{summary.recording.duration_s:.1f} s, {summary.recording.n_frames} frames"),
    ]
    for side, hand in quality.hands.items():
        found += [
            (f"{side.capitalize()} hand measured", f"{100 * hand.valid_share:.0f} % of joint-frames"),
            (
                "Joint position error",
                f"stated {say_number(hand.stated_sigma_mm, 2)} mm, "
                f"measured at rest {say_number(hand.measured_sigma_mm, 2)} mm",
            ),
        ]
    return html.Div(
        [
            verdict_box(quality, _VERDICTS),
            html.Dl([html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures"),
        ],
        className=f"quality quality-{quality.verdict}",
    )


def _notes(parts: Sequence[Part]) -> list[Any]:
    rows = []
    for part, word in zip(parts, ("Earlier", "Later"), strict=False):
        for note in part.notes:
            until = f" to {say_time(note['end_s'])}" if note.get("end_s") is not None else ""
            cells: list[Any] = [html.Th(f"{say_time(note['start_s'])}{until}", scope="row")]
            cells += [html.Td(word)] if len(parts) > 1 else []
            rows.append(html.Tr([*cells, html.Td(note["kind"]), html.Td(as_written(note["text"] or ""))]))
    if not rows:
        return []
    head = ["Time", *(["Visit"] if len(parts) > 1 else []), "Kind", "Text"]
    table = html.Table(
        [html.Thead(html.Tr([html.Th(word, scope="col") for word in head])), html.Tbody(rows)],
        className="numbers",
    )
    label: dict[str, Any] = {"aria-label": "Notes on the timeline"}
    return [
        panel(
            "Notes on the timeline",
            html.Div(table, className="table-scroll", tabIndex=0, role="group", **label),
            lead="As those who looked at the recording wrote them.",
        )
    ]
