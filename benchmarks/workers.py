"""Workers by number: recordings an hour, how long they wait, what is lost with one, cameras shared out.

Starts its own workers on a data folder, a database (SQLite) and a Redis database of its own, with made
sessions, and prints a table for each number of workers. Every worker's pipeline gets its share of the
processors (``--processes``, by default the processors divided by the workers).

    python -m benchmarks.workers --recordings 4 --counts 1,2,4
    python -m benchmarks.workers --only lost
    python -m benchmarks.workers --only split

The floor is the pipeline on its own, without workers, on the same sessions (`alone`).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from pipeline.files import hash_file
from records import Records, models
from records.broker import offer_work
from records.supervise import STALE_S
from settings import ROOT, Settings


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recordings", type=int, default=4, help="made recordings to work")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each")
    parser.add_argument("--size", default="640x360", help="of the pictures; 3 cameras, 60 frames a second")
    parser.add_argument("--counts", default="1,2,4", help="numbers of workers")
    parser.add_argument("--processes", type=int, default=0, help="of each pipeline; 0 = shared fairly")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/10", help="a database that may be emptied")
    parser.add_argument("--sessions", type=Path, help="folder of made sessions, kept and used again")
    parser.add_argument("--only", choices=("speed", "lost", "split"), nargs="*", help="by default all")
    options = parser.parse_args()
    wanted = options.only or ["speed", "lost", "split"]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        sessions = options.sessions or place / "sessions"
        count = options.recordings if "speed" in wanted else 1
        made = [_make_session(sessions, seed, options) for seed in range(count)]
        print(f"{os.cpu_count()} processors, {count} recordings of {options.seconds} s, {options.size}")
        if "speed" in wanted:
            _measure_alone(made[0], place / "alone")
            for workers in map(int, options.counts.split(",")):
                _measure_speed(made, place / f"speed-{workers}", workers, options)
        if "lost" in wanted:
            _measure_lost(made[0], place, options)
        if "split" in wanted:
            _measure_split(made[0], place, options)


def _make_session(folder: Path, seed: int, options: argparse.Namespace) -> Path:
    path = folder / f"{options.size}-{options.seconds:g}-{seed}"
    if not path.is_dir():
        words = ["synth", str(path), "--seconds", str(options.seconds), "--size", options.size]
        command = [sys.executable, "-m", "pipeline", *words, "--seed", str(seed)]
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return path


# --- a site of its own ---------------------------------------------------------------------------


class Site:
    """A data folder with a database, and workers on it."""

    def __init__(self, place: Path, options: argparse.Namespace) -> None:
        self.place, self.redis_url = place, options.redis
        self.settings = Settings(data_dir=place / "data", REDIS_URL=options.redis, _env_file=None)  # type: ignore[call-arg]
        self.records = Records(self.settings)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, processes: int, machine: str = "bench", split: str = "never") -> None:
        """A worker; ready when this returns."""
        command = ["celery", "-A", "records.worker:celery_app", "worker", "--pool", "threads"]
        command += ["--concurrency", "1", "--queues", "redys-cpu", "-n", f"{name}@{machine}"]
        log = self.place / f"{name}.log"
        with open(log, "wb") as out:
            self.workers[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={
                    **os.environ,
                    "REDYS_DATA_DIR": str(self.settings.data_dir),
                    "REDIS_URL": self.redis_url,
                    "REDYS_MACHINE": machine,
                    "REDYS_WORKERS": str(processes),
                    "REDYS_SPLIT": split,
                    "OMP_NUM_THREADS": "1",
                },
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        _wait(lambda: " ready." in log.read_text(errors="replace"), 120)

    def submit(self, session: Path) -> str:
        """A run of a copy of a session, offered to the workers."""
        folder = self.settings.data_dir / "sessions" / f"{session.name}-{time.monotonic_ns()}"
        shutil.copytree(session, folder)
        run = self.records.submit_run(self.records.add_recording(folder).id)
        offer_work(self.records)
        return run.id

    def row(self, run_id: str) -> models.Run:
        """The run's row."""
        with self.records.reading() as database:
            run = database.get_one(models.Run, run_id)
            database.expunge_all()
        return run

    def wait_done(self, run_ids: list[str], seconds: float = 1800) -> None:
        """Until all have ended; a run that failed ends the benchmark in words."""
        _wait(lambda: not any(self.records.get_run(each).is_live for each in run_ids), seconds)
        for each in run_ids:
            run = self.records.get_run(each)
            if run.state != "done":
                sys.exit(f"Run {each} ended as {run.state}: {run.error_what}")

    def close(self) -> None:
        """Stop the workers."""
        for process in self.workers.values():
            process.send_signal(signal.SIGTERM)
        for process in self.workers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            process.kill()
        self.records.close()


@contextlib.contextmanager
def _open_site(place: Path, options: argparse.Namespace) -> Iterator[Site]:
    with redis.Redis.from_url(options.redis) as store:
        if store.dbsize():
            sys.exit(f"{options.redis} is not empty: name a database that nobody uses with --redis.")
        place.mkdir(parents=True)
        site = Site(place, options)
        try:
            yield site
        finally:
            site.close()
            store.flushdb()


def _wait(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            sys.exit("It did not come to pass in time.")
        time.sleep(0.1)


# --- what is measured ----------------------------------------------------------------------------


def _measure_alone(session: Path, out: Path) -> None:
    begun, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "pipeline", "run", str(session), "--out", str(out), "--json-progress"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    took_s, after = time.perf_counter() - begun, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"alone, all processors: {took_s:.0f} s, {cpu_s:.0f} core-seconds; stages {_say_stages([out])}")


def _measure_speed(sessions: list[Path], place: Path, workers: int, options: argparse.Namespace) -> None:
    with _open_site(place, options) as site:
        processes = options.processes or max(1, (os.cpu_count() or 1) // workers)
        for number in range(workers):
            site.start(f"w{number}", processes)
        begun = time.perf_counter()
        run_ids = [site.submit(session) for session in sessions]
        site.wait_done(run_ids)
        took_s = time.perf_counter() - begun
        rows = [site.row(each) for each in run_ids]
        first = [_between(row.queued, row.started) for row in rows[:workers]]
        folders = [site.records.get_run(each).folder for each in run_ids]
        print(
            f"{workers} workers of {processes} processes: {3600 * len(run_ids) / took_s:.1f} recordings/h; "
            f"taken after {max(first):.2f} s at most where a worker was free, {_count_by_worker(rows)}; "
            f"stages {_say_stages(folders)}"
        )


def _measure_lost(session: Path, place: Path, options: argparse.Namespace) -> None:
    """Worker and pipeline killed at the second camera; the same machine, and another one."""
    for machine, words in (("bench", "of the same machine"), ("other", "of another machine")):
        with _open_site(place / f"lost-{machine}", options) as site:
            site.start("one", 1)
            run_id = site.submit(session)
            _wait(lambda: site.records.get_run(run_id).stage == "pose:left", 1200)  # noqa: B023
            site.start("two", 1, machine)
            site.workers["one"].kill()
            os.killpg(site.row(run_id).child_pid or 0, signal.SIGKILL)
            begun = time.perf_counter()
            _wait(lambda: site.row(run_id).worker == "two", 300)  # noqa: B023
            taken_s = time.perf_counter() - begun
            _wait(lambda: site.records.get_run(run_id).stage == "pose:left", 300)  # noqa: B023
            print(
                f"lost worker, taken up by one {words}: after {taken_s:.1f} s (elsewhere silence counts "
                f"from {STALE_S:g} s on), at the stage where it stood after "
                f"{time.perf_counter() - begun:.1f} s"
            )
    with _open_site(place / "leaves", options) as site:
        site.start("one", 1)
        run_id = site.submit(session)
        _wait(lambda: site.records.get_run(run_id).stage == "pose:left", 1200)
        site.start("two", 1, "other")
        begun = time.perf_counter()
        site.workers["one"].send_signal(signal.SIGTERM)
        _wait(lambda: site.row(run_id).worker == "two", 300)
        print(f"a worker that leaves (SIGTERM): taken up after {time.perf_counter() - begun:.1f} s")


def _measure_split(session: Path, place: Path, options: argparse.Namespace) -> None:
    """One recording, three workers with a processor each, as three machines; and two on one machine."""
    views: dict[str, list[str]] = {}
    took_s: dict[str, float] = {}
    cases = {
        "one worker, 1 process": (1, 1, "never"),
        "three workers of 1 process, shared out": (3, 1, "always"),
        "one worker, all processors": (1, os.cpu_count() or 1, "never"),
        "two workers, each all processors, shared out": (2, os.cpu_count() or 1, "always"),
    }
    for number, (words, (workers, processes, split)) in enumerate(cases.items()):
        with _open_site(place / f"split-{number}", options) as site:
            for each in range(workers):
                site.start(f"w{each}", processes, f"machine{each}", split)
            begun = time.perf_counter()
            run_id = site.submit(session)
            site.wait_done([run_id])
            took_s[words] = time.perf_counter() - begun
            folder = site.records.get_run(run_id).folder
            views[words] = [hash_file(path) for path in sorted((folder / "views").glob("*.npz"))]
            log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
            taken = [line["stage"] for line in log if line["event"] == "stage taken over"]
            print(f"{words}: {took_s[words]:.0f} s; done by others: {', '.join(taken) or 'nothing'}")
    same = len({tuple(hashes) for hashes in views.values()}) == 1
    print(f"the views of all {len(views)} are {'the same to the byte' if same else 'NOT THE SAME'}")


def _between(before: datetime.datetime | None, after: datetime.datetime | None) -> float:
    assert before is not None
    assert after is not None
    return (after - before).total_seconds()


def _count_by_worker(rows: list[models.Run]) -> str:
    names = sorted({row.worker for row in rows})
    return "runs by worker " + ", ".join(str(sum(row.worker == name for row in rows)) for name in names)


def _say_stages(folders: list[Path]) -> str:
    """Mean seconds of each stage; cameras together."""
    total: dict[str, float] = {}
    for folder in folders:
        for name, entry in json.loads((folder / "run.json").read_text())["stages"].items():
            kind = name.partition(":")[0]
            total[kind] = total.get(kind, 0.0) + float(entry["seconds"]) / len(folders)
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in total.items())


if __name__ == "__main__":
    main()
