"""Setting a camera's clock by eye and ear: what the page needs to know, and what happens on "Use".

``assets/modules/clocks.mjs`` does the rest in the browser, with the files that
`pipeline.sync.waveforms` wrote into the run's ``web`` folder.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from dash import dcc, html, no_update
from dash.exceptions import PreventUpdate

from components import ids, routes
from components.attributes import data
from components.jobs import job_request
from components.language import translate
from components.security import current_actor
from components.states import failed
from components.status import say_number
from pipeline.errors import RedysError, RunFolderError, SessionError
from pipeline.files import read_json, to_plain
from pipeline.session import Session
from records import RecordingRow, RunRow, get_records
from records.errors import NotKeptYet
from records.offsets import read_offsets, set_offsets_and_run

log = logging.getLogger(__name__)

WAVEFORMS_SCHEMA_VERSION = 1
"""Of ``web/sound.json`` (`pipeline.sync.waveforms`, which opens videos and stays out of the web process)."""

_READ = ("sync.json", "web/sound.json")
"""Of a run's folder, what stands here; the sounds themselves are asked for one by one."""

_INDEX = {"reference", "rate_hz", "peaks_per_s", "match", "cameras"}
_FILES = ("sound", "peaks", "match", "fit")
_PLAIN = ("name", "file", "n", "duration_s", "sound_s", "peak", "source")
_LOCKED = "This recording is being worked on. When that run has ended, open this page again."
_FROM_SOUND = ("offset_s", "sigma_s", "drift_ppm", "confidence", "verdict", "reasons")
_ENTRY = {*_FILES, *_PLAIN, *_FROM_SOUND}


@dataclass(frozen=True)
class CameraClock:
    """One camera's clock for the page; what is not known is None.

    Attributes
    ----------
    name, file : str
        The camera, and its file as the person knows it.
    n : int
        Its place among the cameras: the number in the names of its sound's files.
    duration_s : float or None
        Of the video.
    sound_s, peak : float
        Length and largest sample of the sound; 0 without.
    sound, peaks, match, fit : str or None
        Names of the files in ``web``.
    measured : dict or None
        What the sound told when last asked: offset_s, sigma_s, drift_ppm, confidence, verdict, reasons.
    used : dict or None
        What the shown run worked with: offset_s, drift_ppm, verdict, source, reasons.
    manual_s : float or None
        What ``session.toml`` says now.
    source : str
        Where the shown run has its offset from, as far as sound tells: audio, manual, reference or none.
    reasons : tuple of str
        What that run says is doubtful about it.
    """

    name: str
    file: str
    n: int
    duration_s: float | None = None
    sound_s: float = 0.0
    peak: float = 0.0
    sound: str | None = None
    peaks: str | None = None
    match: str | None = None
    fit: str | None = None
    measured: dict[str, Any] | None = None
    used: dict[str, Any] | None = None
    manual_s: float | None = None
    source: str = "none"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clocks:
    """All of a recording's clocks, and the run whose sound is shown.

    ``run_id`` is None, and every camera without files, where no run has left its sound; ``used`` may be known
    all the same, from a run of an older version of the program.
    """

    reference: str
    cameras: tuple[CameraClock, ...]
    run_id: str | None = None
    rate_hz: int = 16000
    peaks_per_s: int = 200
    first_s: float = -60.0
    step_s: float = 1e-3


def read_clocks(recording: RecordingRow) -> Clocks:
    """What is known of a recording's clocks, from its newest run that has listened to the cameras.

    Raises
    ------
    pipeline.errors.SessionError
        The session folder is gone or not what it should be.
    pipeline.errors.RunFolderError
        The run's sound is there but cannot be read.
    """
    records = get_records()
    folder = records.store.outline(recording.folder)
    session, manual_s = read_offsets(replace(recording, folder=folder))
    runs = tuple(_with_files(run) for run in records.list_runs(recording.id))
    heard = [(run, index) for run in runs if (index := _read_index(run)) is not None]
    heard = [(run, index) for run, index in heard if _names(index) == list(session.cameras)]
    if not heard:
        return Clocks(session.settings.reference, _unheard(session, manual_s, runs))
    run, index = heard[0]
    used = _read_used(run)
    cameras = []
    for entry in index["cameras"]:
        name = entry["name"]
        clock = CameraClock(
            **{key: entry[key] for key in (*_PLAIN, *_FILES)},
            reasons=tuple(entry["reasons"]),
            measured=_last_measured([index for _, index in heard], name),
            used=used.get(name),
            manual_s=manual_s.get(name),
        )
        cameras.append(clock)
    return Clocks(
        reference=index["reference"],
        cameras=tuple(cameras),
        run_id=run.id,
        rate_hz=index["rate_hz"],
        peaks_per_s=index["peaks_per_s"],
        first_s=index["match"]["first_s"],
        step_s=index["match"]["step_s"],
    )


def _with_files(run: RunRow) -> RunRow:
    """A run with what is read of it; one that another machine has just begun has nothing yet."""
    try:
        return replace(run, folder=get_records().store.outline(run.folder, _READ))
    except NotKeptYet:
        return run


def _read_index(run: RunRow) -> dict[str, Any] | None:
    """``web/sound.json`` of a run; None where there is none, or one of another program."""
    path = run.folder / "web" / "sound.json"
    if not path.is_file():
        return None
    index = read_json(path)
    try:
        if index["schema_version"] != WAVEFORMS_SCHEMA_VERSION:
            return None
        is_whole = all(entry.keys() >= _ENTRY for entry in index["cameras"]) and index.keys() >= _INDEX
    except (KeyError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise RunFolderError(f"{path} is not what it should be.", "Run the pipeline again to make it.")
    return dict(index)


def _names(index: dict[str, Any]) -> list[str]:
    return [camera["name"] for camera in index["cameras"]]


def _unheard(
    session: Session, manual_s: dict[str, float], runs: tuple[RunRow, ...]
) -> tuple[CameraClock, ...]:
    """The clocks where no sound can be shown: what the newest run with the same cameras worked with."""
    files = session.videos or session.keypoints
    found = (used for run in runs if (used := _read_used(run)))
    used = next((clocks for clocks in found if set(clocks) == set(session.cameras)), {})
    return tuple(
        CameraClock(name=name, file=files[name].name, n=n, used=used.get(name), manual_s=manual_s.get(name))
        for n, name in enumerate(session.cameras)
    )


def _last_measured(indexes: list[dict[str, Any]], camera: str) -> dict[str, Any] | None:
    """What the sound told of a camera; a run with an offset by hand does not ask it."""
    for index in indexes:
        for entry in index["cameras"]:
            if entry["name"] == camera and entry["source"] == "audio" and entry["offset_s"] is not None:
                return {key: entry[key] for key in _FROM_SOUND}
    return None


def _read_used(run: RunRow) -> dict[str, dict[str, Any]]:
    """The offsets of a run's ``sync.json``, by camera; none before it has come so far."""
    path = run.folder / "sync.json"
    if not path.is_file():
        return {}
    from pipeline.results import read_sync

    return {
        name: {"offset_s": clock.offset_s if math.isfinite(clock.offset_s) else None,
               "drift_ppm": clock.drift_ppm, "verdict": clock.verdict, "source": clock.source,
               "reasons": list(clock.reasons)}
        for name, clock in read_sync(path).cameras.items()
    }  # fmt: skip


def note_clocks(recording: RecordingRow, run_id: str) -> dict[str, str]:
    """What a report says of each clock that is not from its own sound: whence, and how far from the sound's.

    Parameters
    ----------
    recording : RecordingRow
        Whose report it is.
    run_id : str
        The run that the report is of.

    Returns
    -------
    dict of str
        By camera; empty where the run's clocks cannot be read (the report itself says so).
    """
    try:
        runs = {run.id: run for run in get_records().list_runs(recording.id)}
        used = _read_used(runs[run_id]) if run_id in runs else {}
        indexes = [index for run in runs.values() if (index := _read_index(run)) is not None]
    except RedysError:
        log.warning("The clocks of run %s cannot be read", run_id, exc_info=True)
        return {}
    notes = {}
    for camera, clock in used.items():
        if clock["source"] in _SOURCE_WORDS:
            measured = _last_measured(indexes, camera)
            notes[camera] = _SOURCE_WORDS[clock["source"]] + _say_difference(clock, measured, indexes, camera)
    return notes


_SOURCE_WORDS = {"manual": "set by hand", "hand": "from the hand's motion"}


def _say_difference(
    clock: dict[str, Any], measured: dict[str, Any] | None, indexes: list[dict[str, Any]], camera: str
) -> str:
    """How far an offset is from what the sound told, in the middle of the recording: half a drift counts."""
    if measured is None or clock["offset_s"] is None:
        return ""
    entries = [entry for index in indexes for entry in index["cameras"] if entry["name"] == camera]
    lengths_s = [entry["duration_s"] for entry in entries]
    length_s = next((length for length in lengths_s if length), 0.0)
    drift = ((clock["drift_ppm"] or 0.0) - (measured["drift_ppm"] or 0.0)) * 1e-6 * length_s / 2
    difference_ms = 1000 * (clock["offset_s"] - measured["offset_s"] + drift)
    return f", {say_number(difference_ms, 2, signed=True)} ms from what the sound told"


def clock_bench(recording: RecordingRow, clocks: Clocks) -> html.Div:
    """The place where one camera after the other is set; the browser module draws it."""
    is_live = recording.run is not None and recording.run.is_live
    settings = {
        **asdict(clocks),
        "recording_id": recording.id,
        "base": clocks.run_id and routes.media_url(clocks.run_id, "x").removesuffix("/x"),
        "store": ids.CLOCKS_REQUEST,
        "answer": ids.CLOCKS_ANSWER,
        "locked": translate(_LOCKED) if is_live else "",
    }
    for camera in settings["cameras"]:
        for told in filter(None, (camera, camera["used"], camera["measured"])):
            told["reasons"] = [translate(reason) for reason in told.get("reasons", ())]
    return html.Div(
        [
            html.Div(
                id=ids.CLOCKS,
                className="clocks",
                **data(module="clocks", settings=json.dumps(to_plain(settings), allow_nan=False)),
            ),
            dcc.Store(id=ids.CLOCKS_REQUEST),
            html.Div(id=ids.CLOCKS_ANSWER, className="clocks-answer"),
        ]
    )


def use_offset(request: dict[str, Any] | None, tick: int | None) -> tuple[Any, ...]:
    """Keep the offset (or take it away), put the recording into the queue and go to its page."""
    if not request:
        raise PreventUpdate
    try:
        recording_id, camera, offset_s = _read_request(request)
        run = set_offsets_and_run(get_records(), recording_id, {camera: offset_s}, current_actor())
    except RedysError as error:
        return no_update, no_update, no_update, failed(error)
    return routes.recording_url(recording_id), job_request(run.id), (tick or 0) + 1, no_update


def _read_request(request: dict[str, Any]) -> tuple[str, str, float | None]:
    offset_s = request.get("offset_s")
    if offset_s is not None and (isinstance(offset_s, bool) or not isinstance(offset_s, (int, float))):
        raise SessionError(f"{offset_s!r} is no number of seconds.", "Type the offset again.")
    return str(request.get("recording_id")), str(request.get("camera")), offset_s
