"""Telling workers that there is work: Celery over Redis, where ``REDIS_URL`` is set.

A message carries nothing. It says that something waits that such a worker may take, and the worker asks the
database what; so a message that is lost, doubled or too late does no harm. `offer_work` is called whenever
something may be waiting, and by the housekeeping of every worker and server (`records.worker`): it sends as
many messages as are wanting in the queue.

    celery -A app:celery_app worker --queues redys ...                   # relays progress to pages
    celery -A records.worker:celery_app worker --queues redys-cpu ...    # works runs
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import func, select, union_all

from pipeline.errors import ModelError
from records import models

if TYPE_CHECKING:
    from records.service import Records

log = logging.getLogger(__name__)

Need = Literal["cpu", "gpu"]

RELAY_QUEUE: Final = "redys"
WORK_QUEUES: Final[dict[Need, str]] = {"cpu": "redys-cpu", "gpu": "redys-gpu"}
"""What a run needs, and the queue of the workers that offer it."""

WORK_TASK: Final = "redys.work"

_ANSWER_S = 3
"""How long Redis has to answer; it is on the same network."""

_READ_S = 30
"""A worker waits on a connection for its next message; longer than it ever does."""


def find_need(detector: str, estimator: str) -> Need:
    """What a run with these networks needs: a GPU where one of them wants it."""
    from pipeline.pose.registry import get_entry

    try:
        entries = (get_entry("detector", detector), get_entry("estimator", estimator))
    except ModelError:  # the run itself says so in words
        return "cpu"
    return "gpu" if any(entry.on_gpu for entry in entries) else "cpu"


@functools.lru_cache(maxsize=4)
def make_celery(redis_url: str) -> Any:
    """The Celery application: a message goes when its work is done, and a worker holds one at a time."""
    from celery import Celery

    celery = Celery("redys", broker=redis_url, backend=redis_url)
    celery.conf.update(
        task_default_queue=RELAY_QUEUE,
        task_track_started=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a run goes on without Redis
        result_expires=86_400,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_max": 0.1},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever: Redis comes back
        broker_connection_timeout=_ANSWER_S,
        broker_transport_options={
            # Redis hands a message out again after this long without an end; it may be doubled.
            "visibility_timeout": 12 * 3600,
            "socket_connect_timeout": _ANSWER_S,
            "socket_timeout": _READ_S,
            "max_retries": 1,  # of who sends; a worker tries for ever
            "interval_start": 0.1,
            "interval_step": 0.1,
        },
        redis_socket_connect_timeout=_ANSWER_S,
        redis_socket_timeout=_READ_S,
        result_backend_transport_options={"retry_policy": {"timeout": float(_ANSWER_S), "max_retries": 1}},
    )
    return celery


def offer_work(records: Records) -> None:
    """Have as many messages in each queue as there is work in the database that nobody has taken.

    Nothing without ``REDIS_URL``. Where Redis does not answer the log says so, and the housekeeping tries
    again.
    """
    if not records.settings.redis_url:
        return
    from kombu.exceptions import OperationalError

    waiting = _count_waiting(records)
    if not waiting:
        return
    celery = make_celery(records.settings.redis_url)
    try:
        with celery.connection_for_write(connect_timeout=_ANSWER_S) as connection:
            channel = connection.default_channel
            for need, wanted in waiting.items():
                for _ in range(wanted - _count_messages(channel, WORK_QUEUES[need])):
                    celery.send_task(
                        WORK_TASK, queue=WORK_QUEUES[need], ignore_result=True, connection=connection
                    )
    except (OperationalError, OSError) as error:
        log.warning("Redis does not answer (%s): work is offered again later", type(error).__name__)


def count_offers(redis_url: str) -> dict[Need, int]:
    """How many workers of each kind answer within two seconds."""
    said = make_celery(redis_url).control.inspect(timeout=2.0).active_queues() or {}
    offered = [{queue["name"] for queue in queues} for queues in said.values()]
    return {need: sum(queue in each for each in offered) for need, queue in WORK_QUEUES.items()}


def _count_waiting(records: Records) -> dict[Need, int]:
    """How many runs, and parts of runs, wait for a worker of each kind."""
    run, part = models.Run, models.RunPart
    waiting = union_all(
        select(run.needs.label("need")).where(run.state == "queued"),
        select(part.needs.label("need")).where(part.state == "offered"),
    ).subquery()
    with records.reading() as database:
        counted = database.execute(select(waiting.c.need, func.count()).group_by(waiting.c.need))
        return {need: count for need, count in counted if need in WORK_QUEUES}


def _count_messages(channel: Any, queue: str) -> int:
    """How many messages lie in a queue that no worker has taken."""
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except channel.connection.client.channel_errors:  # Redis has no queue where nothing lies in it
        return 0
