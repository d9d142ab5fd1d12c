"""How two visits are laid over each other; ``assets/modules/alignment.mjs`` does it in the browser."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dash import Input, Output, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids
from components.attributes import data
from components.heat_map import name_angle, name_joint
from components.states import failed, loading, notice
from components.status import FINGER_LABELS, say_time
from pipeline.errors import RedysError
from pipeline.hand.joints import SIDES, Side
from pipeline.measures.moments import Played, find_played
from pipeline.measures.summary import SideSummary
from pipeline.results import RunFolder
from pipeline.session import read_session
from records import RecordingRow, get_records

MOST_EVENTS: Final = 60
"""Of each kind; a longer list is not searched by eye."""


_KINDS: Final = {
    "heard": "Heard stroke",
    "seen": "Seen stroke",
    "posture": "Posture",
    "brisk": "Brisk movement",
}


@dataclass(frozen=True)
class Alignment:
    """What the browser says of it.

    Attributes
    ----------
    how : "start" | "event" | "hand"
    offset_s : float
        What the later visit is ahead.
    a_s, b_s : float
        The moments of the earlier and the later visit that lie over each other.
    """

    how: str = "start"
    offset_s: float = 0.0
    a_s: float = 0.0
    b_s: float = 0.0


def read_alignment(chosen: dict[str, Any] | None) -> Alignment:
    """What the store holds; from their starts where it holds nothing usable."""
    try:
        if not chosen or chosen["how"] not in ("event", "hand"):
            return Alignment()
        numbers = [float(chosen[name]) for name in ("offset_s", "a_s", "b_s")]
    except (KeyError, TypeError, ValueError):
        return Alignment()
    return Alignment(chosen["how"], *numbers)


def alignment_box(recordings: Iterable[str], side: Side) -> html.Div:
    """The choice; events are looked for once the page is there."""
    return html.Div(
        [
            dcc.Store(id=ids.ALIGNMENT_RUNS, data={"recordings": list(recordings), "side": side}),
            dcc.Store(id=ids.ALIGNMENT_CHOSEN),
            html.P(
                "How to line the visits up is chosen here once both players are ready.",
                className="alignment-wait",
            ),
            html.Div(
                loading("Looking for strokes and other events of both visits …"),
                id=ids.ALIGNMENT_EVENTS,
                hidden=True,
                **data(events=""),
            ),
        ],
        id=ids.ALIGNMENT,
        className="alignment",
        **data(
            module="alignment",
            leader=ids.PLAYER,
            follower=ids.PLAYER_B,
            stores=f"{ids.ALIGNMENT_CHOSEN} {ids.CURVES_SHIFT}",
        ),
    )


def open_played(recording: RecordingRow, side: Side) -> Played:
    """The strokes of a recording's report.

    Raises
    ------
    pipeline.errors.RedysError
        The run, the session or its sound cannot be read.
    """
    run = get_records().open_run(recording.report_run_id or "")
    get_records().store.bring(recording.folder)  # with its sound
    changed = run.hand_npz(side).stat().st_mtime_ns if run.hand_npz(side).is_file() else 0
    return _open_played(run, side, recording.folder, changed)


@functools.lru_cache(maxsize=16)
def _open_played(run: RunFolder, side: Side, folder: Path, changed: int) -> Played:
    videos = read_session(folder).videos if folder.is_dir() else {}
    return find_played(run, side, videos)


@callback(Output(ids.ALIGNMENT_EVENTS, "children"), Input(ids.ALIGNMENT_RUNS, "data"))
def show_events(shown: dict[str, Any] | None) -> Any:
    """The events of both visits, for the person to choose one of each."""
    if not shown or shown.get("side") not in SIDES:
        raise PreventUpdate
    records, side = get_records(), shown["side"]
    try:
        recordings = [records.get_recording(each) for each in shown["recordings"][:2]]
        fields = [
            _field(word, visit, _list_groups(recording, side))
            for word, visit, recording in zip(
                ("Earlier visit", "Later visit"), ("a", "b"), recordings, strict=True
            )
        ]
    except RedysError as error:
        return failed(error)
    if any(field is None for field in fields):
        return notice("info", html.P("No event was found in one of the visits. Line them up by hand."))
    return html.Div(fields, className="alignment-row")


def _field(label: str, visit: str, groups: list[tuple[str, list[html.Option]]]) -> html.Div | None:
    if not any(options for _, options in groups):
        return None
    control_id = f"{ids.ALIGNMENT_EVENTS}-{visit}"
    select: Any = html.Select(
        [html.Optgroup(options, label=name) for name, options in groups if options],
        id=control_id,
        className="form-select",
        **data(visit=visit),
    )
    return html.Div([html.Label(label, htmlFor=control_id), select], className="field")


def _list_groups(recording: RecordingRow, side: Side) -> list[tuple[str, list[html.Option]]]:
    played = open_played(recording, side)
    summary = get_records().read_summary(recording.report_run_id or "")
    found = summary.sides.get(side) if summary is not None else None
    return [
        ("Strokes heard", _options("heard", [(each.time_s, "") for each in played.heard])),
        (
            "Strokes seen",
            _options("seen", [(each.time_s, FINGER_LABELS[each.finger].lower()) for each in played.seen]),
        ),
        *_list_events(found),
    ]


def _list_events(found: SideSummary | None) -> list[tuple[str, list[html.Option]]]:
    if found is None:
        return []
    brisk = sorted(found.brisk, key=lambda event: -event.peak_acceleration)[:MOST_EVENTS]
    peaks = sorted((event.peak_s, name_joint(event.joint)) for event in brisk)
    bouts = sorted(found.bouts, key=lambda bout: -abs(bout.peak_z))[:MOST_EVENTS]
    starts = sorted((bout.start_s, f"{name_angle(bout.angle)}, {bout.direction}") for bout in bouts)
    return [
        ("Sustained postures", _options("posture", starts)),
        ("Brisk movements", _options("brisk", peaks)),
    ]


def _options(kind: str, moments: list[tuple[float, str]]) -> list[html.Option]:
    return [
        html.Option(
            f"{_KINDS[kind]} {number}: {say_time(time_s)}" + (f", {what}" if what else ""),
            value=f"{kind}-{number}",
            **data(time=f"{time_s:.4f}"),
        )
        for number, (time_s, what) in enumerate(moments[: 5 * MOST_EVENTS], start=1)
    ]
