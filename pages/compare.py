"""Two visits of one person, side by side on one clock."""

from __future__ import annotations

from typing import Any

import dash
from dash import dcc, html

from components import ids, routes
from components.alignment import alignment_box
from components.attributes import as_written
from components.comparison import (
    INTERVAL_MEANING,
    angle_changes,
    headline_changes,
    open_study,
    posture_changes,
    say_verdicts,
    study_note,
    warnings,
)
from components.corrections import behind_notice
from components.curves import curves
from components.difference import difference_panel
from components.hand_map import CAPTION, hand_image
from components.player import player, playhead
from components.report import name_recording
from components.shares import share_panel
from components.signals import Signals, read_signals
from components.states import failed
from components.status import level_legend, panel, simulated_note
from pipeline.errors import RedysError
from pipeline.measures.change import Comparison, compare
from pipeline.measures.summary import SIMULATED_NOTE, Summary
from records import RecordingRow, get_records

dash.register_page(__name__, path_template=routes.COMPARE, title="Two visits - ReDys")


def layout(recording_a: str | None = None, recording_b: str | None = None, **_: Any) -> Any:
    """The comparison; it says so where one of the two has no report."""
    try:
        if recording_a == recording_b:
            raise RedysError("This is one recording, twice.", "Choose two visits of a person to compare.")
        visits = [_open(recording_a), _open(recording_b)]
    except RedysError as error:
        return [html.H1("Two visits"), failed(error), dcc.Link("All recordings", href=routes.WORKLIST)]
    # Whatever the address has first, the earlier visit is the one that is compared with.
    visits.sort(key=lambda visit: (visit[1].visit or "9999", visit[0].created))
    (earlier, before), (later, after) = visits
    study = open_study()
    comparison = compare(before, after, study.reliability)
    parts: list[Any] = [
        _head(earlier, later),
        behind_notice(earlier, later),
        share_panel([earlier.id, later.id]),
        warnings(comparison),
    ]
    for side, change in comparison.sides.items():
        several = f", {side} hand" if len(comparison.sides) > 1 else ""
        parts.append(
            panel(
                f"Headline numbers{several}",
                html.P(say_verdicts(change)),
                headline_changes(change),
                _note_simulated(before, after),
                study_note(study, comparison.study_obstacles.get(side, ())),
                lead=INTERVAL_MEANING,
            )
        )
    parts += _moving(earlier, later)
    parts += _maps(comparison, before, after)
    return html.Article(parts, className="report")


def _open(recording_id: str | None) -> tuple[RecordingRow, Summary]:
    records = get_records()
    recording = records.get_recording(recording_id or "")
    summary = records.read_summary(recording.report_run_id) if recording.report_run_id else None
    if summary is None:
        raise RedysError(
            f"{name_recording(recording)} has no report yet.", "Run the pipeline on it, then compare."
        )
    return recording, summary


def _head(earlier: RecordingRow, later: RecordingRow) -> html.Header:
    links = [
        html.Div(
            [
                html.Dt(word),
                html.Dd(dcc.Link(as_written(name_recording(visit)), href=routes.recording_url(visit.id))),
            ]
        )
        for word, visit in (("Earlier visit", earlier), ("Later visit", later))
    ]
    one = earlier.subject_id == later.subject_id
    person = earlier.subject if one else "Two people"
    heading = html.H1([as_written(person) if one else person, ": two visits"])
    return html.Header([heading, html.Dl(links, className="figures")])


def _moving(earlier: RecordingRow, later: RecordingRow) -> list[Any]:
    """Both players on one clock, and the curves over each other."""
    runs: list[tuple[str, Signals]] = []
    records = get_records()
    try:
        for visit in (earlier, later):
            run_id = visit.report_run_id or ""
            runs.append((run_id, read_signals(records.open_run(run_id))))
    except RedysError as error:
        return [panel("Both visits on one clock", failed(error))]
    players = html.Div(
        [
            html.Div(
                [
                    html.H3(["Earlier: ", as_written(name_recording(earlier))]),
                    player(runs[0][0], name_recording(earlier)),
                ]
            ),
            html.Div(
                [
                    html.H3(["Later: ", as_written(name_recording(later))]),
                    player(
                        runs[1][0],
                        name_recording(later),
                        player_id=ids.PLAYER_B,
                        links=False,
                        follows=ids.PLAYER,
                    ),
                ]
            ),
        ],
        className="visits",
    )
    common = [side for side in runs[0][1].sides if side in runs[1][1].sides]
    if not common:
        over = failed(RedysError("No hand is in both visits.", "There is nothing to lay over each other."))
        return [panel("Both visits on one clock", players, playhead(), over)]
    return [
        panel(
            "Both visits on one clock",
            alignment_box((earlier.id, later.id), common[0]),
            players,
            playhead(),
            lead="The earlier visit's controls drive both. Hand colours are relative to each recording: "
            "compare the numbers, not the colours.",
        ),
        panel(
            "Joint angles over each other",
            curves(runs, "index", visits=True),
            lead="On the earlier visit's clock, as the visits are lined up above.",
        ),
        panel(
            "Where the visits differ",
            *difference_panel(common),
            lead="The later visit held against the earlier. It tells how these two recordings differ, and "
            "holds nothing of how a person differs from day to day: better or worse is said only in the "
            "tables.",
        ),
    ]


def _note_simulated(before: Summary, after: Summary) -> html.P | None:
    simulated = any(visit.provenance.baseline_simulated for visit in (before, after))
    return simulated_note(SIMULATED_NOTE) if simulated else None


def _maps(comparison: Comparison, before: Summary, after: Summary) -> list[Any]:
    parts: list[Any] = []
    for side, change in comparison.sides.items():
        first, second = before.sides[side], after.sides[side]
        maps = [
            html.Figure([html.Figcaption(f"{word} visit"), hand_image(found, side)])
            for word, found in (("Earlier", first), ("Later", second))
        ]
        parts.append(
            panel(
                f"Joint angles, {side} hand",
                _note_simulated(before, after),
                html.Div(maps, className="visits"),
                html.P(CAPTION, className="plot-note"),
                level_legend(),
                html.H3("Medians"),
                angle_changes(change),
                html.H3("Share of time 3 SD or more from the reference"),
                posture_changes(change),
            )
        )
    return parts
