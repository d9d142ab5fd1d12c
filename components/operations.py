"""For who keeps the server running: whether it is well, figures for Prometheus, a line for each request.

Nothing here names a person: runs are counted by state, requests by endpoint.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Iterator

import flask
import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError

from components import policy, routes
from components.outages import is_outage
from components.security import current_actor
from pipeline.errors import RedysError
from records import Records
from records.doctor import check_redis
from records.models import RUN_STATES
from settings import Settings

log = logging.getLogger(__name__)

BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 3.0, 10.0)
PURGE_LOOK_S = 3600.0
_HEADER = "X-Request-ID"


def add_routes(server: flask.Flask, records: Records, settings: Settings) -> None:
    """Put health, figures and the request log on the server."""
    figures = _Figures(records, settings)

    @server.route(routes.HEALTH)
    def health() -> flask.typing.ResponseReturnValue:
        """Whether database, disk, store and queue answer; says which does not, and nothing else."""
        part = find_ill(records, settings)
        if part is not None:
            return flask.jsonify(state="failed", part=part), 503
        return flask.jsonify(state="ok")

    @server.route(routes.METRICS)
    def metrics() -> flask.typing.ResponseReturnValue:
        """Figures for Prometheus; who may read them is decided at the gate."""
        answer = flask.Response(figures.write(), content_type=prometheus.CONTENT_TYPE_LATEST)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @server.before_request
    def begin() -> None:
        flask.g.request_begun = time.perf_counter()
        flask.g.request_id = secrets.token_hex(8)

    @server.after_request
    def end(response: flask.Response) -> flask.Response:
        begun = flask.g.get("request_begun")
        if begun is None:
            return response
        seconds = time.perf_counter() - begun
        response.headers[_HEADER] = flask.g.request_id
        endpoint = flask.request.endpoint or "none"
        figures.count(endpoint, flask.request.method, response.status_code, seconds)
        known = policy.asks_nobody() or endpoint == "none" or is_outage()
        log.info(
            "request",
            extra={
                "request": flask.g.request_id,
                "endpoint": endpoint,
                "method": flask.request.method,
                "status": response.status_code,
                "seconds": round(seconds, 4),
                "size_bytes": response.content_length,
                "actor": "" if known else current_actor(),
            },
        )
        return response


def find_ill(records: Records, settings: Settings) -> str | None:
    """The part that does not answer: "database", "disk", "store" or "queue"; None where all do.

    The log says more.
    """
    try:
        records.check_health()
    except (SQLAlchemyError, RedysError):
        log.exception("The database does not answer")
        return "database"
    except OSError:
        log.exception("The data folder cannot be written")
        return "disk"
    try:
        records.store.check()
    except RedysError:
        log.exception("The store does not answer")
        return "store"
    if settings.redis_url:
        try:
            check_redis(settings.redis_url)
        except RedysError:
            log.exception("Redis does not answer")
            return "queue"
    return None


def keep_house(records: Records) -> None:
    """Purge once a day for as long as this process lives, in a thread that ends with it."""

    def look() -> None:
        while True:
            try:
                records.retention.purge_daily()
            except Exception:  # the next hour tries again; the server must not fall with it
                log.exception("The daily purge failed")
            time.sleep(PURGE_LOOK_S)

    threading.Thread(target=look, name="purge", daemon=True).start()
    records.store.keep_house()


class _Figures:
    """The figures of one server; with several processes each writes its own into ``metrics_dir``."""

    def __init__(self, records: Records, settings: Settings) -> None:
        self._shared = settings.metrics_dir is not None
        self._registry = CollectorRegistry()
        names = ("endpoint", "method", "status")
        self._requests = prometheus.Counter(
            "redys_requests", "Requests answered.", names, registry=self._registry
        )
        self._seconds = prometheus.Histogram(
            "redys_request_seconds", "Time to answer.", ("endpoint",), registry=self._registry,
            buckets=BUCKETS_S,
        )  # fmt: skip
        self._state = _State(records, settings)

    def count(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(endpoint, method, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def write(self) -> bytes:
        counted = self._registry
        if self._shared:  # of all processes; this one's alone would be a part that looks like the whole
            counted = CollectorRegistry()
            MultiProcessCollector(counted)
        state = CollectorRegistry()
        state.register(self._state)
        return prometheus.generate_latest(counted) + prometheus.generate_latest(state)


class _State(Collector):
    """What is read anew at each look: the same from whichever process answers."""

    def __init__(self, records: Records, settings: Settings) -> None:
        self._records, self._settings = records, settings

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        ill = find_ill(self._records, self._settings)
        well = GaugeMetricFamily("redys_well", "Whether database, disk, store and queue answer.")
        well.add_metric([], float(ill is None))
        yield well
        free = GaugeMetricFamily("redys_disk_free_bytes", "Free on the disk of the data folder.")
        free.add_metric([], shutil.disk_usage(self._settings.data_dir).free)
        yield free
        if ill != "database":
            yield from self._count_records()

    def _count_records(self) -> Iterator[GaugeMetricFamily]:
        counted = self._records.count_runs()
        runs = GaugeMetricFamily("redys_runs", "Runs by state.", labels=["state"])
        for state in RUN_STATES:
            runs.add_metric([state], counted.get(state, 0))
        yield runs
        oldest = GaugeMetricFamily("redys_queue_oldest_seconds", "How long the first run has waited.")
        oldest.add_metric([], self._records.oldest_wait_s())
        yield oldest
        waiting = GaugeMetricFamily("redys_store_waiting_folders", "Folders newer than what the store has.")
        waiting.add_metric([], self._records.store.count_waiting())
        yield waiting
        trash = GaugeMetricFamily("redys_trash_recordings", "Recordings in the trash.")
        trash.add_metric([], len(self._records.retention.list_trash()))
        yield trash
        due = GaugeMetricFamily("redys_due_recordings", "Recordings whose date of retention has passed.")
        due.add_metric([], len(self._records.retention.list_due()))
        yield due
