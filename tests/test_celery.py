"""Workers on Celery and Redis: they take what waits, come and go, and lose nothing.

Two workers that say that they are different machines share a data folder and a database, as two machines do
with a disk between them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from app import make_app
from components import jobs
from records import Records, broker, get_records, models
from records.broker import WORK_QUEUES, offer_work
from records.erasure import _forget_redis
from records.supervise import tend
from settings import ROOT
from tests.own_redis import own_redis
from tests.records.site import make_session, surroundings


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Records]:
    """Records with workers."""
    with own_redis() as url, surroundings(tmp_path / "data", REDIS_URL=url):
        yield get_records()


@pytest.fixture
def store(site: Records) -> Iterator[Any]:
    """The Redis that they share."""
    assert site.settings.redis_url is not None
    with redis.Redis.from_url(site.settings.redis_url) as found:
        yield found


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(site: Records, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of a name on a machine of a name; all are stopped again with what they started."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(
        name: str, machine: str = "", queue: str = "redys-cpu", app: str = "tests.fake_worker:celery_app"
    ) -> subprocess.Popen[bytes]:
        command = ["celery", "-A", app, "worker", "--pool", "threads", "--concurrency", "1"]
        command += ["--without-mingle", "--without-gossip"]  # a second at each start, of no use to anybody
        with open(tmp_path / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--queues", queue, "-n", f"{name}@test"],
                cwd=ROOT,
                env={**os.environ, **({"REDYS_MACHINE": machine} if machine else {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)


def submit(records: Records, tmp_path: Path, name: str = "one") -> str:
    return records.submit_run(records.add_recording(make_session(tmp_path / name)).id).id


def row_of(records: Records, run_id: str) -> models.Run:
    with records.reading() as database:
        run = database.get_one(models.Run, run_id)
        database.expunge_all()
    return run


@pytest.mark.filterwarnings("ignore:Task name")  # each app of this process registers the same task
def test_a_job_of_a_page_has_a_worker_see_the_run_through(
    site: Records, start: Start, tmp_path: Path
) -> None:
    """The real pipeline, on files that are no videos; one worker for pages, one for runs."""
    start("relay", queue="redys", app="app:celery_app")
    start("one", app="records.worker:celery_app")
    run_id = submit(site, tmp_path)
    manager: Any = make_app()._background_manager
    (job,) = manager.func_registry.values()
    key = uuid.uuid4().hex
    manager.call_job_fn(key, job, [jobs.job_request(run_id)], {})
    wait_for(lambda: manager.result_ready(key), 240)
    assert manager.get_result(key, None) == {"run_id": run_id, "state": "failed"}
    ended = site.get_run(run_id)
    assert "mp4" in ended.error_what
    assert row_of(site, run_id).worker == "one"


def test_there_are_as_many_messages_as_runs_that_wait(site: Records, store: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        submit(site, tmp_path, name)
    for _ in range(3):
        offer_work(site)
    assert store.llen(WORK_QUEUES["cpu"]) == 3
    store.flushdb()  # a Redis that has lost all
    offer_work(site)
    assert store.llen(WORK_QUEUES["cpu"]) == 3


def test_erasing_empties_the_cache_and_signs_nobody_out(site: Records, store: Any) -> None:
    for name in ("redys-sessions:a", "redys-pages-1.0:b", "job"):
        store.set(name, b"of a canary" if name == "job" else b"value")
    _forget_redis(site.settings.redis_url or "", ["canary"])
    assert list(store.scan_iter()) == [b"redys-sessions:a"]


def test_what_needs_a_gpu_waits_for_who_offers_one(site: Records, store: Any, tmp_path: Path) -> None:
    recording = site.add_recording(make_session(tmp_path / "one", 'estimator = "wilor"\n'))
    assert row_of(site, site.submit_run(recording.id).id).needs == "gpu"
    submit(site, tmp_path, "two")
    offer_work(site)
    assert (store.llen("redys-gpu"), store.llen("redys-cpu")) == (1, 1)


def test_without_redis_submitting_works_and_the_offer_is_made_later(
    site: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        site, "settings", site.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    )
    submit(site, tmp_path)
    begun = time.monotonic()
    offer_work(site)
    assert time.monotonic() - begun < 2 * broker._ANSWER_S
    assert "Redis does not answer" in caplog.text


def test_a_worker_that_is_asked_to_leave_hands_its_run_to_another_at_once(
    site: Records, start: Start, tmp_path: Path
) -> None:
    first = start("one", machine="first")
    run_id = submit(site, tmp_path)
    offer_work(site)
    wait_for(lambda: site.get_run(run_id).stage == "pose")
    start("two", machine="second")
    first.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    wait_for(lambda: row_of(site, run_id).host == "second")
    assert time.monotonic() - begun < 30  # a worker's start is in it
    assert first.wait(timeout=20) == 0
    assert site.get_run(run_id).attempts == 1
    (tmp_path / "data" / "go").touch()
    wait_for(lambda: site.get_run(run_id).state == "done")


def test_a_killed_worker_whose_pipeline_lives_is_replaced_on_its_machine(
    site: Records, start: Start, tmp_path: Path
) -> None:
    first = start("one")
    run_id = submit(site, tmp_path)
    offer_work(site)
    wait_for(lambda: site.get_run(run_id).stage == "pose")
    child = row_of(site, run_id).child_pid
    first.kill()
    first.wait()
    with site.writing() as database:  # long ago, as it would be
        site.change(database, models.Run.id == run_id, summoned=None)
    start("one")
    wait_for(lambda: row_of(site, run_id).supervisor_pid != first.pid)
    assert row_of(site, run_id).child_pid == child
    (tmp_path / "data" / "go").touch()
    wait_for(lambda: site.get_run(run_id).state == "done")
    assert site.get_run(run_id).attempts == 1


def test_when_worker_and_pipeline_are_killed_another_of_the_machine_goes_on_with_it(
    site: Records, start: Start, tmp_path: Path
) -> None:
    first = start("one")
    run_id = submit(site, tmp_path)
    offer_work(site)
    wait_for(lambda: site.get_run(run_id).stage == "pose")
    start("two")
    child = row_of(site, run_id).child_pid
    first.kill()
    first.wait()
    os.killpg(child or 0, signal.SIGKILL)
    wait_for(lambda: row_of(site, run_id).worker == "two")
    (tmp_path / "data" / "go").touch()
    wait_for(lambda: site.get_run(run_id).state == "done")
    assert site.get_run(run_id).attempts == 2
    assert tend(site) == ()
