"""Watching over runs: whatever is killed, the row tells the truth and the run comes to its end."""

import datetime
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy.exc import OperationalError

from pipeline.files import write_json
from records import RecordingRow, Records, RunRow, models, supervise
from records.models import now
from records.supervise import MAX_ATTEMPTS, claim_run, drain, follow_run, host_name, supervise_run, tend
from settings import ROOT, Settings
from tests.records.site import make_session

Add = Callable[..., RecordingRow]

WELL = """
    for step in range(3):
        say(type="progress", stage="sync", fraction=0, overall=step / 3, message=f"step {step}", eta_s=1)
        time.sleep(0.05)
    say(type="warning", stage="sync", message="left is quiet")
    say(type="done", run=sys.argv[2])
"""
LONG = """
    signal.signal(signal.SIGTERM, lambda *_: (say(type="cancelled"), sys.exit(130)))
    for step in range(600):
        say(type="progress", stage="pose", fraction=0.5, overall=0.25, message="long", eta_s=None)
        time.sleep(0.05)
"""
DEAF = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    say(type="progress", stage="pose", fraction=0.5, overall=0.25, message="deaf", eta_s=None)
    time.sleep(60)
"""
ERROR = """
    say(type="error", what="left.mp4 is no video.", advice="Copy it again.")
    sys.exit(2)
"""
CRASH = """
    say(type="progress", stage="fusion", fraction=0.5, overall=0.25, message="x", eta_s=None)
    print("a library talks {", flush=True)
    raise RuntimeError("boom")
"""
KILLED = """
    say(type="progress", stage="pose", fraction=0.5, overall=0.25, message="x", eta_s=None)
    os.kill(os.getpid(), signal.SIGKILL)
"""
SILENT = """
    pass
"""
FULL = """
    sys.exit(28)
"""


@pytest.fixture
def play(records: Records, tmp_path: Path) -> Callable[[str], None]:
    """Gives the runs a pipeline that behaves as the script says."""

    def write(script: str) -> None:
        head = (
            "import json, os, signal, subprocess, sys, time\n"
            "def say(**line): print(json.dumps(line), flush=True)\n"
        )
        path = tmp_path / "fake_work.py"
        path.write_text(head + textwrap.dedent(script))
        records.command = lambda session, out: [sys.executable, str(path), str(session), str(out)]

    return write


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(supervise, "WRITE_EVERY_S", 0.05)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def test_a_run_is_followed_to_its_end(add: Add, records: Records, play: Callable[[str], None]) -> None:
    play(WELL)
    heard: list[RunRow] = []
    run = supervise_run(records, records.submit_run(add("one").id).id, heard.append)
    assert (run.state, run.fraction, run.exit_code, run.warnings, run.attempts) == ("done", 1.0, 0, 1, 1)
    assert run.error_what == ""
    assert run.started is not None
    assert run.finished is not None
    assert run.started < run.finished
    assert {"step 0"} <= {each.message for each in heard}
    assert [each.state for each in heard][-1] == "done"
    assert records.get_recording(run.recording_id).report_run_id == run.id


def test_an_error_in_words_reaches_the_row(add: Add, records: Records, play: Callable[[str], None]) -> None:
    play(ERROR)
    run = supervise_run(records, records.submit_run(add("one").id).id)
    assert (run.state, run.exit_code) == ("failed", 2)
    assert (run.error_what, run.error_advice) == ("left.mp4 is no video.", "Copy it again.")


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (CRASH, 1, "fusion: RuntimeError: boom"),
        (KILLED, -9, "SIGKILL"),
        (SILENT, 0, "without a word"),
        (FULL, 28, "disk is full"),
    ],
)
def test_a_death_without_words_is_told_in_words(
    add: Add, records: Records, play: Callable[[str], None], script: str, code: int, words: str
) -> None:
    play(script)
    run = supervise_run(records, records.submit_run(add("one").id).id)
    assert (run.state, run.exit_code) == ("failed", code)
    assert words in run.error_what
    assert run.error_advice


def test_a_program_that_cannot_be_started_fails_in_words(add: Add, records: Records) -> None:
    records.command = lambda session, out: ["/nowhere/python"]
    run = supervise_run(records, records.submit_run(add("one").id).id)
    assert run.state == "failed"
    assert "could not be started" in run.error_what


def test_cancel_stops_a_run_at_its_next_checkpoint(
    add: Add, records: Records, play: Callable[[str], None]
) -> None:
    play(LONG)
    run_id = records.submit_run(add("one").id).id

    def listen(run: RunRow) -> None:
        if run.stage == "pose":
            records.request_cancel(run_id)

    run = supervise_run(records, run_id, listen)
    assert (run.state, run.exit_code, run.cancel_requested) == ("cancelled", 130, True)


def test_a_run_that_does_not_hear_is_killed_with_all_its_workers(
    add: Add, records: Records, play: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "KILL_AFTER_S", 0.2)
    play(DEAF)
    run_id = records.submit_run(add("one").id).id
    family: list[psutil.Process] = []

    def listen(run: RunRow) -> None:
        if run.stage == "pose" and not family:
            with records.reading() as database:
                child = psutil.Process(database.get_one(models.Run, run_id).child_pid)
            wait_for(lambda: child.children())
            family.extend([child, *child.children()])
            records.request_cancel(run_id)

    run = supervise_run(records, run_id, listen)
    assert (run.state, run.exit_code) == ("cancelled", -9)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert len(family) == 2
    assert alive == []


def test_two_supervisors_work_a_run_once(
    add: Add, records: Records, play: Callable[[str], None], tmp_path: Path
) -> None:
    play(f"    open({str(tmp_path / 'starts')!r}, 'a').write('x')\n" + WELL)
    run_id = records.submit_run(add("one").id).id
    threads = [threading.Thread(target=supervise_run, args=(records, run_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "starts").read_text() == "x"
    assert records.get_run(run_id).state == "done"


def test_a_second_run_waits_for_the_first_and_then_has_its_turn(
    add: Add, records: Records, play: Callable[[str], None]
) -> None:
    play(WELL)
    first, second, third = (records.submit_run(add(name).id) for name in ("a", "b", "c"))
    states: list[str] = []

    def listen(run: RunRow) -> None:
        if run.state == "running" and not states:
            states.append(supervise_run(records, second.id).state)

    supervise_run(records, first.id, listen)
    assert states == ["queued"]
    drain(records, second.id)
    assert [records.get_run(run.id).state for run in (first, second, third)] == ["done"] * 3


def test_what_nobody_watches_is_found(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    assert tend(records) == (run.id,)
    start_as(records, run.id, supervisor=os.getpid())
    assert tend(records) == ()


def start_as(
    records: Records,
    run_id: str,
    supervisor: int | None = None,
    child: int | None = None,
    host: str | None = None,
    age_s: float = 0.0,
    attempts: int = 1,
) -> None:
    """Make the row say that these processes are at work."""

    def begun(pid: int | None) -> float | None:
        return psutil.Process(pid).create_time() if pid else None

    with records.writing() as database:
        records.change(
            database,
            models.Run.id == run_id,
            state="running",
            host=host or host_name(),
            supervisor_pid=supervisor,
            supervisor_started=begun(supervisor),
            child_pid=child,
            child_started=begun(child),
            heartbeat=now() - datetime.timedelta(seconds=age_s),
            attempts=attempts,
        )


def test_a_run_lost_with_its_machine_is_queued_again_but_not_for_ever(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    for attempt in range(1, MAX_ATTEMPTS):
        start_as(records, run.id, attempts=attempt)
        assert tend(records) == (run.id,)
        assert records.get_run(run.id).state == "queued"
    start_as(records, run.id, attempts=MAX_ATTEMPTS)
    assert tend(records) == ()
    lost = records.get_run(run.id)
    assert lost.state == "lost"
    assert "stopped" in lost.error_what
    assert records.retry(run.id).attempts == 0


def test_a_run_that_comes_further_between_interruptions_is_never_given_up(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    for _ in range(2 * MAX_ATTEMPTS):
        with records.writing() as database:
            records.change(database, models.Run.id == run.id, started=now() - datetime.timedelta(seconds=9))
        start_as(records, run.id, attempts=MAX_ATTEMPTS)
        write_json(run.folder / "run.json", {"stages": {"sound": {"finished": now().isoformat()}}})
        assert tend(records) == (run.id,)
        assert records.get_run(run.id).attempts == 0


def test_a_pipeline_begins_only_when_its_row_names_it(
    add: Add, records: Records, play: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(f"    open({str(tmp_path / 'starts')!r}, 'a').write('x')\n" + WELL)
    run_id = records.submit_run(add("one").id).id
    began: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **values: Any) -> None:
            super().__init__(*args, **values)
            began.append(self)

    def die(self: Any, **values: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(supervise.subprocess, "Popen", Watched)
    monkeypatch.setattr(supervise._Supervision, "_persist", die)
    with pytest.raises(KeyboardInterrupt):
        supervise_run(records, run_id)
    assert began[0].wait(timeout=10) != 0
    assert not (tmp_path / "starts").exists()


def test_whoever_follows_a_run_waits_for_a_database_that_is_away(
    add: Add, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = records.submit_run(add("one").id).id
    start_as(records, run_id, supervisor=os.getpid())
    shown = follow_run(records, run_id, every_s=0.01)
    assert next(shown).state == "running"
    asked = 0
    whole = records.get_run

    def away(run_id: str) -> RunRow:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise OperationalError("SELECT", {}, Exception("the server is away"))
        return whole(run_id)

    monkeypatch.setattr(records, "get_run", away)
    assert next(shown).state == "running"
    assert asked == 3


def test_a_lost_run_that_was_to_be_stopped_is_cancelled(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    start_as(records, run.id)
    records.request_cancel(run.id)
    tend(records)
    assert records.get_run(run.id).state == "cancelled"


def test_another_machine_is_believed_until_it_was_silent_for_long(
    add: Add, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By our own clock and our own looks: that of the other machine may be an hour behind."""
    clock = [1000.0]
    monkeypatch.setattr(supervise.time, "monotonic", lambda: clock[0])
    run = records.submit_run(add("one").id)
    start_as(records, run.id, host="elsewhere", age_s=3600)
    for _ in range(5):
        assert tend(records) == ()
        clock[0] += 10.0
        start_as(records, run.id, host="elsewhere", age_s=3600 - clock[0])
    for _ in range(5):
        assert tend(records) == ()
        assert records.get_run(run.id).state == "running"
        clock[0] += 9.9
    assert tend(records) == (run.id,)
    assert records.get_run(run.id).state == "queued"


def test_who_could_not_look_for_a_while_does_not_take_the_others_for_gone(
    add: Add, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(supervise.time, "monotonic", lambda: clock[0])
    run = records.submit_run(add("one").id)
    start_as(records, run.id, host="elsewhere")
    assert tend(records) == ()
    clock[0] += 60.0  # the database was away, for the other machine too
    assert tend(records) == ()
    assert records.get_run(run.id).state == "running"


def test_a_worker_that_leaves_gives_its_run_back(
    add: Add, records: Records, play: Callable[[str], None]
) -> None:
    play(LONG)
    run_id = records.submit_run(add("one").id).id
    heard: list[RunRow] = []
    leaves = lambda: bool(heard) and heard[-1].stage == "pose"  # noqa: E731
    run = supervise_run(records, run_id, heard.append, worker="one", is_leaving=leaves)
    assert (run.state, run.attempts, run.message) == ("queued", 0, "Waiting to go on")
    play(WELL)
    assert supervise_run(records, run_id, worker="two").state == "done"


def test_a_person_who_cancels_is_heard_before_a_worker_that_leaves(
    add: Add, records: Records, play: Callable[[str], None]
) -> None:
    play(LONG)
    run_id = records.submit_run(add("one").id).id

    def listen(run: RunRow) -> None:
        if run.stage == "pose":
            records.request_cancel(run_id)

    leaves = lambda: records.get_run(run_id).cancel_requested  # noqa: E731
    assert supervise_run(records, run_id, listen, is_leaving=leaves).state == "cancelled"


def test_each_worker_of_a_machine_has_one_run(add: Add, records: Records) -> None:
    first, second, third = (records.submit_run(add(name).id).id for name in ("a", "b", "c"))
    assert [claim_run(records, first, "one"), claim_run(records, second, "one")] == [True, False]
    assert [claim_run(records, second, "two"), claim_run(records, third, "two")] == [True, False]


def test_a_supervisor_that_was_taken_for_gone_ends_its_process(
    add: Add, records: Records, play: Callable[[str], None]
) -> None:
    play(LONG)
    run_id = records.submit_run(add("one").id).id
    child: list[int | None] = []

    def listen(run: RunRow) -> None:
        if run.stage == "pose" and not child:
            with records.writing() as database:
                child.append(database.get_one(models.Run, run_id).child_pid)
                records.change(database, models.Run.id == run_id, host="elsewhere")

    assert supervise_run(records, run_id, listen).state == "running"
    assert child[0] is not None
    wait_for(lambda: not psutil.pid_exists(child[0] or 0) or supervise.process_started(child[0] or 0) is None)


def test_a_number_used_again_is_not_the_same_process(add: Add, records: Records) -> None:
    run = records.submit_run(add("one").id)
    start_as(records, run.id, supervisor=os.getpid())
    with records.writing() as database:
        records.change(database, models.Run.id == run.id, supervisor_started=1.0)
    assert tend(records) == (run.id,)


# --- with supervisors as processes of their own ---------------------------------------------------


@pytest.fixture
def start_supervisor(
    records: Records, settings: Settings, tmp_path: Path
) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a supervisor process whose pipeline is the script that was given to `play`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(run_id: str) -> subprocess.Popen[bytes]:
        script = tmp_path / "supervisor.py"
        script.write_text(
            "import sys\n"
            "from pathlib import Path\n"
            "from records import Records, supervise\n"
            "from settings import Settings\n"
            f"settings = Settings(data_dir=Path({str(settings.data_dir)!r}), _env_file=None,"
            f" DATABASE_URL={settings.effective_database_url!r})\n"
            f"command = [sys.executable, {str(tmp_path / 'fake_work.py')!r}]\n"
            "records = Records(settings, command=lambda session, out: [*command, str(session), str(out)])\n"
            "supervise.drain(records, sys.argv[1])\n"
        )
        process = subprocess.Popen(
            [sys.executable, str(script), run_id], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_killed_supervisor_is_replaced_and_the_work_goes_on(
    add: Add,
    records: Records,
    play: Callable[[str], None],
    start_supervisor: Callable[[str], subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    play(f"""
    say(type="progress", stage="pose", fraction=0.5, overall=0.25, message="waiting", eta_s=None)
    while not os.path.exists({str(go)!r}):
        time.sleep(0.02)
    say(type="done")
    """)
    run_id = records.submit_run(add("one").id).id
    first = start_supervisor(run_id)
    wait_for(lambda: records.get_run(run_id).message == "waiting")
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert tend(records) == (run_id,)
    second = start_supervisor(run_id)
    wait_for(lambda: tend(records) == ())
    go.touch()
    second.wait(timeout=20)
    run = records.get_run(run_id)
    assert (run.state, run.attempts, run.fraction) == ("done", 1, 1.0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_when_all_is_killed_the_run_is_worked_again_in_the_same_folder(
    add: Add,
    records: Records,
    play: Callable[[str], None],
    start_supervisor: Callable[[str], subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    mark = tmp_path / "second-time"
    play(f"""
    say(type="progress", stage="pose", fraction=0.5, overall=0.25, message=sys.argv[2], eta_s=None)
    while not os.path.exists({str(mark)!r}):
        time.sleep(0.02)
    say(type="done")
    """)
    run = records.submit_run(add("one").id)
    first = start_supervisor(run.id)
    wait_for(lambda: records.get_run(run.id).stage == "pose")
    with records.reading() as database:
        child = database.get_one(models.Run, run.id).child_pid
    first.kill()
    first.wait()
    os.kill(child, signal.SIGKILL)  # type: ignore[arg-type]
    mark.touch()
    wait_for(lambda: tend(records) and records.get_run(run.id).state == "queued")
    start_supervisor(run.id).wait(timeout=20)
    ended = records.get_run(run.id)
    assert (ended.state, ended.attempts, ended.folder) == ("done", 2, run.folder)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_called_supervisor_belongs_to_nobody_and_works_the_real_pipeline(
    records: Records, tmp_path: Path
) -> None:
    """Through the real command line of both sides, on files that are no videos."""
    session = make_session(tmp_path / "sessions" / "bad")
    run_id = records.submit_run(records.add_recording(session).id).id
    before = set(psutil.Process().children(recursive=True))
    supervise.call_supervisor(records.settings, run_id)
    assert set(psutil.Process().children(recursive=True)) <= before
    wait_for(lambda: not records.get_run(run_id).is_live, 60)
    run = records.get_run(run_id)
    log = (records.settings.data_dir / "runs" / "supervisor.log").read_text()
    assert run.state == "failed", log
    assert "mp4" in run.error_what, json.dumps([run.error_what, log])
    assert run.error_advice


def test_following_ends_with_the_run(add: Add, records: Records, play: Callable[[str], None]) -> None:
    play(WELL)
    run_id = records.submit_run(add("one").id).id
    supervise_run(records, run_id)
    assert [run.state for run in supervise.follow_run(records, run_id)] == ["done"]
