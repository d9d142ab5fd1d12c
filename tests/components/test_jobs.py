"""The tray, a run's panel and the background job: what the database says is what is shown."""

import datetime
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dash
import pytest
from dash.exceptions import PreventUpdate

from components import ids, jobs, policy
from components.states import STATE_WORDS, say_seconds
from records import RecordingRow, Records, RunRow, get_records, models
from records.models import RUN_STATES, now
from records.supervise import host_name, process_started
from tests.records.site import make_session, surroundings

NO_UPDATE = dash.no_update


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with surroundings(tmp_path / "data"):
        yield get_records()


@pytest.fixture
def recording(records: Records, tmp_path: Path) -> RecordingRow:
    return records.add_recording(make_session(tmp_path / "s", 'subject = "P-1"\n'))


def set_run(records: Records, run_id: str, **values: Any) -> RunRow:
    with records.writing() as database:
        records.change(database, models.Run.id == run_id, **values)
    return records.get_run(run_id)


def at_work(records: Records, run_id: str, **values: Any) -> RunRow:
    """As if this process watched over the run."""
    import os

    me = {"supervisor_pid": os.getpid(), "supervisor_started": process_started(os.getpid())}
    return set_run(records, run_id, state="running", host=host_name(), heartbeat=now(), **me, **values)


def text_of(component: Any) -> str:
    return json.dumps(component, cls=__import__("plotly").utils.PlotlyJSONEncoder)


def test_an_idle_tray_is_hidden_and_looks_seldom(records: Records) -> None:
    shown = jobs.look(None)
    assert (shown["hidden"], shown["interval"], shown["runs"]) == (True, jobs.TICK_IDLE_MS, [])
    assert shown["request"] is NO_UPDATE
    assert shown["toasts"] is NO_UPDATE


def test_the_tray_says_stage_share_and_time_left(records: Records, recording: RecordingRow) -> None:
    run = records.submit_run(recording.id)
    at_work(records, run.id, message="Finding the hand in camera left", fraction=0.42, eta_s=130.0)
    shown = jobs.look(None)
    assert shown["hidden"] is False
    assert shown["text"] == "P-1, piano, right: Finding the hand in camera left, 42 %, about 2 min left"
    assert (shown["bar"], shown["interval"]) == ("42", jobs.TICK_LIVE_MS)
    assert run.id in text_of(shown["runs"])


def test_buttons_are_drawn_again_only_when_something_changed(
    records: Records, recording: RecordingRow
) -> None:
    run = records.submit_run(recording.id)
    at_work(records, run.id)
    first = jobs.look(None)
    second = jobs.look(first["seen"])
    assert second["runs"] is NO_UPDATE
    records.request_cancel(run.id)
    third = jobs.look(first["seen"])
    assert "disabled" in text_of(third["runs"])


@pytest.mark.parametrize(
    ("state", "heading"),
    [("done", "Ready"), ("failed", "Failed"), ("cancelled", "Cancelled"), ("lost", "Interrupted")],
)
def test_an_end_is_announced_once(
    records: Records, recording: RecordingRow, state: str, heading: str
) -> None:
    run = records.submit_run(recording.id)
    at_work(records, run.id)
    before = jobs.look(None)
    set_run(records, run.id, state=state, finished=now(), error_what="Because." if state == "failed" else "")
    told = jobs.look(before["seen"])
    assert heading in text_of(told["toasts"])
    assert "P-1" in told["spoken"]
    assert ("Because." in text_of(told["toasts"])) == (state == "failed")
    again = jobs.look(told["seen"])
    assert again["toasts"] is NO_UPDATE


def test_a_page_that_opens_later_is_not_told_old_news(records: Records, recording: RecordingRow) -> None:
    run = records.submit_run(recording.id)
    set_run(records, run.id, state="done", finished=now() - datetime.timedelta(seconds=1))
    assert jobs.look(None)["toasts"] is NO_UPDATE
    assert jobs.look({"since": "nonsense", "runs": []})["toasts"] is NO_UPDATE


def test_a_queue_that_nobody_works_is_taken_up_by_the_next_page(
    records: Records, recording: RecordingRow
) -> None:
    run = records.submit_run(recording.id)
    assert jobs.look(None)["request"] is NO_UPDATE  # who submitted is starting it
    set_run(records, run.id, summoned=now() - datetime.timedelta(minutes=1))
    request = jobs.look(None)["request"]
    assert request["run_id"] == run.id
    assert jobs.look(None)["request"] is NO_UPDATE  # a second tab does not


def test_an_administrator_is_not_told_whose_recording_is_at_work(
    records: Records, recording: RecordingRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = at_work(records, records.submit_run(recording.id).id)
    before = jobs.look(None)
    assert "P-1" in text_of(before["runs"])
    monkeypatch.setattr(policy, "current_role", lambda: "administrator")
    monkeypatch.setattr(policy, "lacks_second_factor", lambda: False)
    seen = {"since": (now() - datetime.timedelta(days=1)).isoformat(), "runs": None}
    assert "P-1" not in text_of({**jobs.look(seen), "toasts": None})
    set_run(records, run.id, state="done", finished=now())
    shown = jobs.look(seen)
    assert (shown["hidden"], shown["toasts"], shown["spoken"]) == (True, NO_UPDATE, NO_UPDATE)


@pytest.mark.parametrize("role", ["viewer", "researcher"])
def test_who_may_not_start_work_is_not_asked_to(
    records: Records, recording: RecordingRow, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    run = records.submit_run(recording.id)
    set_run(records, run.id, summoned=None)
    monkeypatch.setattr(policy, "current_role", lambda: role)
    assert jobs.look(None)["request"] is NO_UPDATE
    assert records.get_run(run.id).state == "queued"
    monkeypatch.setattr(policy, "current_role", lambda: "clinician")
    assert jobs.look(None)["request"] is not NO_UPDATE


def test_two_requests_for_one_run_are_different_jobs() -> None:
    assert jobs.job_request("a") != jobs.job_request("a")


def test_the_background_job_relays_and_returns_only_an_id(
    records: Records, recording: RecordingRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = records.submit_run(recording.id)
    called: list[str] = []

    def call(settings: Any, run_id: str) -> None:
        called.append(run_id)
        at_work(records, run_id, message="Working", fraction=0.5)

    def sleep(_: float) -> None:
        set_run(records, run.id, state="done", fraction=1.0, finished=now())

    monkeypatch.setattr("records.supervise.call_supervisor", call)
    monkeypatch.setattr("records.supervise.time.sleep", sleep)
    said: list[tuple[Any, ...]] = []
    result = jobs.run_job(said.append, jobs.job_request(run.id))
    assert result == {"run_id": run.id, "state": "done"}
    assert called == [run.id]
    assert ("P-1, piano, right: Working, 50 %", "50") in said
    with pytest.raises(PreventUpdate):
        jobs.run_job(said.append, None)


@pytest.mark.parametrize("state", RUN_STATES)
def test_a_panel_says_every_state_in_word_and_offers_what_can_be_done(
    records: Records, recording: RecordingRow, state: str
) -> None:
    run = records.submit_run(recording.id)
    run = set_run(records, run.id, state=state, error_what="The disk is full." if state == "failed" else "")
    drawn = text_of(jobs.run_panel(run))
    assert STATE_WORDS[state][1] in drawn
    assert ("run-cancel" in drawn) == run.is_live
    assert ("run-retry" in drawn) == run.can_retry
    assert ("The disk is full." in drawn) == (state == "failed")


def test_a_panel_follows_its_run_and_reloads_the_page_once_it_is_done(
    records: Records, recording: RecordingRow
) -> None:
    run = records.submit_run(recording.id)
    drawn = [run.state, run.position, run.cancel_requested]
    panel = ids.run_panel(run.id)
    text, bar, _, content = jobs.follow_panel(1, panel, drawn)
    assert ("place 1" in text, bar, content) == (True, "0", NO_UPDATE)
    at_work(records, run.id, message="Fitting", fraction=0.7)
    *_, content = jobs.follow_panel(2, panel, drawn)
    assert "Fitting" in text_of(content)
    assert "reload" not in text_of(content)
    set_run(records, run.id, state="done")
    *_, content = jobs.follow_panel(3, panel, ["running", 0, False])
    assert '"data-module": "reload"' in text_of(content).replace('":"', '": "')
    with pytest.raises(PreventUpdate):
        jobs.follow_panel(4, panel, ["done", 0, False])
    with pytest.raises(PreventUpdate):
        jobs.follow_panel(5, ids.run_panel("0" * 32), None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""), (3, "less than a minute left"), (59.9, "less than a minute left"),
        (61, "about 1 min left"), (3600, "about 60 min left"), (9000, "about 2.5 h left"),
    ],
)  # fmt: skip
def test_time_left_is_said_no_more_exactly_than_it_is_known(seconds: float | None, words: str) -> None:
    assert say_seconds(seconds) == words


def test_a_recording_that_was_never_worked_on_can_be_started_from_its_page(
    records: Records, recording: RecordingRow
) -> None:
    drawn = text_of(jobs.start_panel(recording.id))
    assert ids.START_RUN in drawn
    assert recording.id in drawn


def test_a_run_that_is_stopping_says_so(records: Records, recording: RecordingRow) -> None:
    run = replace(records.submit_run(recording.id), state="running", message="Fitting", cancel_requested=True)
    assert jobs.say_run(run) == "P-1, piano, right: Fitting (stopping), 0 %"
