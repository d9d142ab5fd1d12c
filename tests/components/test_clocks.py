"""The page that sets clocks: what it is told, and what becomes of what a person chooses."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dash
import pytest
from dash.exceptions import PreventUpdate

from components import ids, jobs, routes
from components.clocks import clock_bench, note_clocks, read_clocks, use_offset
from components.quality import quality_box
from pipeline.errors import RunFolderError
from pipeline.measures.summary import Summary
from pipeline.results import CameraSync, SyncResult, write_sync
from records import RecordingRow, Records, RunRow, get_records, models
from records.offsets import read_offsets, set_offsets
from tests.records.site import make_session, surroundings

NAN = float("nan")


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with surroundings(tmp_path / "data"):
        yield get_records()


@pytest.fixture
def recording(records: Records, tmp_path: Path) -> RecordingRow:
    return records.add_recording(make_session(tmp_path / "s", 'subject = "P-1" # who\n'))


def listen(
    records: Records, recording: RecordingRow, state: str = "failed", schema: int = 1, **clocks: CameraSync
) -> RunRow:
    """A run that has come past its sound, as ``web/sound.json`` says it."""
    run = records.submit_run(recording.id)
    (run.folder / "web").mkdir(parents=True)
    cameras = []
    for n, name in enumerate(("front", "left", "right")):
        told = asdict(clocks.get(name, CameraSync(0.0, source="reference" if n == 0 else "audio")))
        told = {key: None if value != value else value for key, value in told.items()}
        sound = None if name == "right" else f"sound_{n}.flac"
        files = {"sound": sound, "peaks": sound, "match": sound if n else None, "fit": None}
        size = {"duration_s": 100.0, "sound_s": 100.0 if sound else 0.0, "peak": 0.5}
        cameras.append({"n": n, "name": name, "file": f"{name}.mp4", **size, **files, **told})
    match = {"first_s": -60.0, "step_s": 0.001, "n": 120001}
    index = {"schema_version": schema, "reference": "front", "rate_hz": 16000, "peaks_per_s": 200}
    (run.folder / "web" / "sound.json").write_text(json.dumps({**index, "match": match, "cameras": cameras}))
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, state=state)
    return records.get_run(run.id)


def settings_of(recording: RecordingRow) -> dict[str, Any]:
    bench = clock_bench(recording, read_clocks(recording))
    found = next(part for part in bench.children if part.id == ids.CLOCKS)
    return dict(json.loads(found.to_plotly_json()["props"]["data-settings"]))


def read_text(component: Any) -> str:
    return json.dumps(component, cls=__import__("plotly").utils.PlotlyJSONEncoder, ensure_ascii=False)


MEASURED = CameraSync(1.25, 1e-4, 20.0, 0.55, "check", ("It repeats itself.",), "audio")


def test_a_run_that_failed_later_is_heard_all_the_same(records: Records, recording: RecordingRow) -> None:
    run = listen(
        records, recording, left=MEASURED, right=CameraSync(NAN, NAN, 0.0, 0.0, "failed", source="none")
    )
    told = settings_of(recording)
    left, right = told["cameras"][1:]
    assert told["base"] == f"/media/{run.id}"
    assert (left["measured"]["offset_s"], left["measured"]["verdict"]) == (1.25, "check")
    assert left["reasons"] == ["It repeats itself."]
    assert (right["sound"], right["measured"]) == (None, None)
    assert told["locked"] == ""
    (run.folder / "web" / "sound_1.flac").write_bytes(b"fLaC")
    assert records.artefact(run.id, "sound_1.flac").read_bytes() == b"fLaC"


def test_without_any_sound_a_clock_can_still_be_typed(records: Records, recording: RecordingRow) -> None:
    told = settings_of(recording)
    assert (told["run_id"], told["base"]) == (None, None)
    assert [camera["name"] for camera in told["cameras"]] == ["front", "left", "right"]
    listen(records, recording, schema=99)  # of another version of the program
    assert settings_of(recording)["run_id"] is None


def test_a_run_that_kept_no_sound_tells_what_it_worked_with(
    records: Records, recording: RecordingRow
) -> None:
    run = listen(records, recording)
    cameras = {"front": CameraSync(0.0, source="reference"), "left": MEASURED, "right": CameraSync(0.3)}
    write_sync(run.folder / "sync.json", SyncResult("front", cameras))
    (run.folder / "web" / "sound.json").unlink()
    told = settings_of(recording)
    assert told["run_id"] is None
    assert [camera["used"] and camera["used"]["offset_s"] for camera in told["cameras"]] == [0.0, 1.25, 0.3]
    others = {name: clock for name, clock in cameras.items() if name != "right"}
    write_sync(run.folder / "sync.json", SyncResult("front", others))  # of other cameras than there are now
    assert [camera["used"] for camera in settings_of(recording)["cameras"]] == [None] * 3


def test_a_broken_index_is_said_and_names_the_file(records: Records, recording: RecordingRow) -> None:
    run = listen(records, recording)
    path = run.folder / "web" / "sound.json"
    for text in ('{"schema_version": 1, "cameras": [{}]}', "[]", "{}", "{"):
        path.write_text(text)
        with pytest.raises(RunFolderError, match=r"sound\.json"):
            read_clocks(recording)
    assert note_clocks(recording, run.id) == {}


def test_what_was_measured_is_remembered_when_a_clock_is_set_by_hand(
    records: Records, recording: RecordingRow
) -> None:
    listen(records, recording, left=MEASURED)
    set_offsets(records, recording.id, {"left": 1.2553})
    run = listen(records, recording, "done", left=CameraSync(1.2553, NAN, 0.0, NAN, source="manual"))
    left = settings_of(recording)["cameras"][1]
    assert left["manual_s"] == 1.2553
    assert left["measured"]["offset_s"] == 1.25
    cameras = {"front": CameraSync(0.0, source="reference"), "left": CameraSync(1.2553, NAN, source="manual"),
               "right": CameraSync(0.3, 0.002, source="hand")}  # fmt: skip
    write_sync(run.folder / "sync.json", SyncResult("front", cameras))
    # 100 s at 20 ppm: in the middle the measured clock was 1 ms further on
    assert note_clocks(recording, run.id) == {
        "left": "set by hand, +4.30 ms from what the sound told",
        "right": "from the hand's motion, +300.00 ms from what the sound told",
    }


def test_using_an_offset_writes_it_queues_a_run_and_goes_to_the_recording(
    records: Records, recording: RecordingRow
) -> None:
    request = {"recording_id": recording.id, "camera": "left", "offset_s": 0.1234}
    href, job, tick, answer = use_offset(request, 4)
    assert (href, tick, answer) == (routes.recording_url(recording.id), 5, dash.no_update)
    run = records.get_recording(recording.id).run
    assert run is not None
    assert (job["run_id"], run.state) == (run.id, "queued")
    assert read_offsets(recording)[1] == {"left": 0.1234}
    assert "# who" in (recording.folder / "session.toml").read_text()
    assert settings_of(records.get_recording(recording.id))["locked"]
    records.request_cancel(run.id)
    use_offset({**request, "offset_s": None}, None)
    assert read_offsets(recording)[1] == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": "front"}, "is the reference"),
        ({"camera": None}, "no camera None"),
        ({"offset_s": "0.1"}, "no number"),
        ({"offset_s": True}, "no number"),
        ({"offset_s": float("nan")}, "no offset"),
        ({"recording_id": "../../etc"}, "no such recording"),
    ],
)
def test_what_cannot_be_used_is_said_and_changes_nothing(
    records: Records, recording: RecordingRow, change: dict[str, Any], words: str
) -> None:
    request = {"recording_id": recording.id, "camera": "left", "offset_s": 0.1, **change}
    href, job, _, answer = use_offset(request, 1)
    assert href is job is dash.no_update
    assert words in read_text(answer)
    assert read_offsets(recording)[1] == {}
    assert records.get_recording(recording.id).run is None
    with pytest.raises(PreventUpdate):
        use_offset(None, 1)


def test_a_report_leads_to_the_clock_of_a_camera_in_doubt(summary: Summary) -> None:
    shown = read_text(
        quality_box(summary, "a" * 32, {"right": "set by hand, +4.30 ms from what the sound told"})
    )
    assert f"/recording/{'a' * 32}/clocks#c=right" in shown
    assert "#c=front" not in shown  # reliable: one quiet link for all is enough
    assert f'/recording/{"a" * 32}/clocks\\"' in json.dumps(shown)
    assert "+4.30 ms" in shown
    assert "/clocks" not in read_text(quality_box(summary))


def test_the_reference_camera_has_no_offset_to_itself(summary: Summary) -> None:
    first, *others = summary.quality.cameras
    quality = replace(summary.quality, cameras=(replace(first, sync_source="reference"), *others))
    shown = read_text(quality_box(replace(summary, quality=quality))).replace("\N{NO-BREAK SPACE}", " ")
    assert "the reference" in shown
    assert "0.00 ms" not in shown


def test_an_offset_without_a_known_error_is_printed_without_one(summary: Summary) -> None:
    first, *others = summary.quality.cameras
    by_hand = replace(first, offset_s=0.2345, offset_sigma_s=NAN)
    measured = replace(first, camera="other", offset_s=-1.20618, offset_sigma_s=6.4e-5)
    quality = replace(summary.quality, cameras=(by_hand, measured, *others))
    shown = read_text(quality_box(replace(summary, quality=quality))).replace("\N{NO-BREAK SPACE}", " ")
    assert '"+234.50 ms"' in shown
    assert '"−1206.18 ± 0.06 ms"' in shown


@pytest.mark.parametrize(("stage", "leads"), [("sound", True), ("sync", True), ("pose:left", False)])
def test_a_run_that_failed_over_its_clocks_leads_to_them(
    records: Records, recording: RecordingRow, stage: str, leads: bool
) -> None:
    run = listen(records, recording)
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, stage=stage, error_what="No common time.")
    panel = read_text(jobs.run_panel(records.get_run(run.id)))
    assert (routes.clocks_url(recording.id) in panel) is leads
