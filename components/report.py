"""The parts of a recording's report in their order; the page and the comparison lay them out."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from components import policy, routes
from components.attributes import Written, as_written
from components.clocks import note_clocks
from components.contents import contents
from components.corrections import corrections_panel, excluded_note
from components.curves import curves
from components.events import events
from components.exports import take_away
from components.hand_map import hand_map
from components.headlines import headlines, provenance_list
from components.heat_map import heat_maps
from components.language import translate
from components.marks import marks_panel, timeline
from components.player import list_events, player, playhead
from components.playing import deviation, strokes, timing
from components.quality import quality_box
from components.rigs import cameras_panel
from components.signals import Signals, read_signals
from components.states import failed
from components.status import panel
from pipeline.errors import RedysError
from pipeline.hand.angles import ANGLE_INFO
from pipeline.measures.summary import Summary
from records import RecordingRow, get_records

LIMITS = (
    "Angles are this geometry's, not a goniometer's; wrist angles cannot be worked out without a forearm.",
    "Jerk above about 6 Hz cannot be recovered at 60 frames/s; tremor frequencies can, amplitudes with care.",
    "A difference between visits says something only past the measurement error, which needs repeated "
    "recordings of the same person.",
    "Co-contraction cannot be seen in a video.",
)

MARKS_LEAD = "What people set on the timeline: a note, a tag, or a movement that a rater judged abnormal."
CORRECTIONS_LEAD = "What was told the program otherwise than it was. Each is kept with who and when."

DOWNLOADS = (
    ("angles.csv", "Joint angles (CSV)"),
    ("measures.csv", "Speed, acceleration, jerk (CSV)"),
    ("features.csv", "Openness, grasp, wrist path (CSV)"),
    ("rotations.csv", "Bend, spread and twist of the hand model's joints (CSV)"),
    ("tables.json", "What the columns mean (JSON)"),
    ("mosaic.mp4", "Video of all cameras (MP4)"),
    ("rig.json", "Calibration of the cameras (JSON)"),
    ("rig.yaml", "Lenses and places of the cameras for OpenCV (YAML)"),
    ("rig.toml", "Lenses and places of the cameras for aniposelib (TOML)"),
    ("index.json", "Cameras, frames, files (JSON)"),
)


def name_recording(recording: RecordingRow) -> str:
    """A recording in a few words: "P-014, 2026-03-02, piano"."""
    visit = recording.visit.isoformat() if recording.visit else translate("undated")
    return Written(f"{recording.subject}, {visit}, {recording.task}")


def who_and_when(recording: RecordingRow, summary: Summary | None) -> html.Dl:
    """Pseudonym, visit, task, hand, length."""
    found: list[tuple[str, Any]] = [
        ("Person", dcc.Link(as_written(recording.subject), href=routes.subject_url(recording.subject_id))),
        ("Visit", recording.visit.isoformat() if recording.visit else "undated"),
        ("Task", as_written(recording.task)),
        ("Hand", recording.side),
    ]
    if summary is not None:
        found.append(("Length", f"{summary.recording.duration_s:.1f} s"))
    return html.Dl(
        [html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures who"
    )


def report(recording: RecordingRow, run_id: str) -> list[Any]:
    """Everything below the heading: the way through the page, then its parts from quality to limits."""
    parts = _parts(recording, run_id)
    return [contents(parts), *parts]


def _parts(recording: RecordingRow, run_id: str) -> list[Any]:
    records = get_records()
    try:
        summary = records.read_summary(run_id)
    except RedysError as error:
        return [failed(error)]
    if summary is None:
        return [failed(RedysError("The run ended without a report.", "Run the pipeline again."))]
    quality = panel(
        "Quality of the recording",
        quality_box(summary, recording.id, note_clocks(recording, run_id)),
        excluded_note(summary),
    )
    corrections = panel("Corrections", *corrections_panel(recording), lead=CORRECTIONS_LEAD)
    try:
        signals = read_signals(records.open_run(run_id))
    except RedysError as error:
        # The numbers are there and stand for themselves; only what moves is missing.
        numbers = [*_maps(summary), *_playing(summary), *_headlines(summary)]
        return [quality, *numbers, failed(error), corrections]
    moving = panel(
        "Player",
        player(run_id, name_recording(recording), events=list_events(summary.sides, signals)),
        playhead(),
        timeline(recording.id, run_id, summary, signals),
        lead="All cameras at the same instant, with the fused skeleton, and the hand in 3D.",
    )
    rest = [
        *_heat(signals, run_id),
        panel(
            "Joint angles over time",
            curves([(run_id, signals)], _opening_finger(summary)),
            lead="Flexion +, hyperextension −, abduction away from the middle finger +.",
        ),
        *_events(summary, signals),
        *_playing(summary),
        *_headlines(summary),
    ]
    marks = panel("Notes and marks", *marks_panel(recording.id, summary, signals), lead=MARKS_LEAD)
    cameras = panel("Cameras", *cameras_panel(recording, run_id))
    files = [take_away(run_id, _single_files(run_id, recording.id))] if policy.may("export") else []
    foot = (*files, _limits(summary, run_id))
    if summary.quality.verdict == "failed":
        hidden = html.Details(
            [
                html.Summary("Show the numbers all the same"),
                *_maps(summary),
                *rest,
            ],
            className="panel withheld",
        )
        return [quality, moving, marks, corrections, cameras, hidden, *foot]
    return [quality, *_maps(summary), moving, *rest, marks, corrections, cameras, *foot]


def _title(words: str, summary: Summary, side: str) -> str:
    return f"{words}, {side} hand" if len(summary.sides) > 1 else words


def _maps(summary: Summary) -> list[html.Section]:
    return [
        panel(_title("Hand map", summary, side), hand_map(found, side, summary.provenance))
        for side, found in summary.sides.items()
    ]


def _heat(signals: Signals, run_id: str) -> list[html.Section]:
    many = len(signals.sides) > 1
    return [
        panel(
            f"Movement over time, {side} hand" if many else "Movement over time",
            *heat_maps(signals, side, run_id),
            lead="A click goes to that moment and joint. Striped grey: cannot tell.",
        )
        for side in signals.sides
    ]


def _events(summary: Summary, signals: Signals) -> list[html.Section]:
    return [
        panel(_title("Events", summary, side), events(found, signals))
        for side, found in summary.sides.items()
    ]


def _playing(summary: Summary) -> list[html.Section]:
    parts = []
    for side, found in summary.sides.items():
        parts.append(panel(_title("Distance from the reference", summary, side), deviation(found)))
        parts.append(
            panel(_title("Strokes and tremor", summary, side), strokes(found, summary.playing_reference))
        )
    lead = "From the sound track, never from the video: the evenness of all strokes heard, whichever hand's."
    evenness = timing(summary.timing, summary.playing_reference.get("timing_sd_ms", ""))
    return [*parts, panel("Key timing", evenness, lead=lead)]


def _headlines(summary: Summary) -> list[html.Section]:
    return [
        panel(_title("Headline numbers", summary, side), headlines(found))
        for side, found in summary.sides.items()
    ]


def _opening_finger(summary: Summary) -> str:
    """The finger of the worst angle: what the person will look at first."""
    for side in summary.sides.values():
        for worst in side.worst:
            if worst.angle in ANGLE_INFO:
                return ANGLE_INFO[worst.angle].finger
    return "index"


def _single_files(run_id: str, recording_id: str) -> html.Ul:
    """Links to what the page itself is made of; an older run has not all of them."""
    web = get_records().open_run(run_id).web
    links = [
        html.Li(html.A(words, href=routes.media_url(run_id, name), download=name))
        for name, words in DOWNLOADS
        if (web / name).is_file()
    ]
    marks = html.A("Notes and marks (CSV)", href=routes.marks_file_url(recording_id), download="marks.csv")
    return html.Ul([*links, html.Li(marks)], className="downloads")


def _limits(summary: Summary, run_id: str) -> html.Section:
    return panel(
        "Limits and origin",
        html.Ul([html.Li(text) for text in (*LIMITS, *summary.notes)], className="limits"),
        provenance_list(summary.provenance),
        html.P(f"Report {run_id}", className="plot-note"),
    )
