"""Background work on Celery and Redis: a worker of its own takes a job and sees it through."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from app import make_app
from components import jobs
from records import get_records
from settings import ROOT
from tests.records.site import make_session, surroundings

REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on a data folder of its own; it is stopped again with all it started."""
    try:
        redis.Redis.from_url(REDIS, socket_connect_timeout=2).ping()
    except redis.RedisError:
        pytest.skip("no Redis server answers at TEST_REDIS_URL")
    with surroundings(tmp_path / "data", REDIS_URL=REDIS), open(tmp_path / "worker.log", "wb") as log:
        command = ["celery", "-A", "app:celery_app", "worker", "--pool", "prefork", "--concurrency", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--queues", "redys", "--loglevel", "INFO"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


@pytest.mark.filterwarnings("ignore:Task name")  # each app of this process registers the same task
def test_a_worker_sees_a_run_through(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    records = get_records()
    run = records.submit_run(records.add_recording(make_session(tmp_path / "session")).id)
    manager: Any = make_app()._background_manager
    (job,) = manager.func_registry.values()
    key = uuid.uuid4().hex
    manager.call_job_fn(key, job, [jobs.job_request(run.id)], {})
    until = time.monotonic() + 90
    while not manager.result_ready(key):
        assert time.monotonic() < until, (tmp_path / "worker.log").read_text()
        time.sleep(0.2)
    assert manager.get_result(key, None) == {"run_id": run.id, "state": "failed"}
    ended = records.get_run(run.id)
    assert ended.state == "failed"
    assert "mp4" in ended.error_what
