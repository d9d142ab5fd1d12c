"""A worker: a process that takes runs that wait, one at a time, on this machine or on any other.

    celery -A records.worker:celery_app worker --pool threads --concurrency 1 --queues redys-cpu -n one@%h

It offers what its queues say (``redys-cpu``, ``redys-gpu``). Several on one machine have names of their own
(``-n one@%h``, ``-n two@%h``). SIGTERM gives the run back, and another goes on with it at once. A worker that
is killed is found by the housekeeping of the others: at once on the same machine, by its silence elsewhere.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from records import models
from records.broker import WORK_QUEUES, WORK_TASK, Need, make_celery, offer_work
from records.errors import QueueError
from records.logs import set_up_logs
from records.parts import take_part, work_part
from records.service import Records, get_records
from records.supervise import claim_run, host_name, look_after, see_through, tend

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How often workers and servers look for what nobody watches and what waits without a message."""


class Worker:
    """Takes what waits. One run at a time: the database refuses a second one of the same name.

    Parameters
    ----------
    records : Records
    name : str
        Unlike those of the other workers of this machine.
    offers : frozenset of str
        Kinds of work it takes: "cpu", "gpu".
    """

    def __init__(self, records: Records, name: str, offers: frozenset[Need]) -> None:
        self.records, self.name, self.offers = records, name, offers
        self._leaving = threading.Event()

    def leave(self) -> None:
        """Give back what is at work, and take nothing more."""
        self._leaving.set()

    def work(self) -> str | None:
        """Take the first run that waits and see it through, or help one at work (`records.parts`).

        Its id, or None where there was none to take.
        """
        tend(self.records)
        for run_id in self._list_waiting():
            if self._leaving.is_set():
                return None
            if claim_run(self.records, run_id, self.name):
                try:
                    see_through(self.records, run_id, is_leaving=self._leaving.is_set)
                finally:
                    offer_work(self.records)  # it may wait again
                return run_id
        return None if self._leaving.is_set() else self._help()

    def _help(self) -> str | None:
        part = take_part(self.records, host_name(), self.name, self.offers)
        if part is None:
            return None
        try:
            work_part(self.records, part, self._leaving.is_set)
        finally:
            offer_work(self.records)
        return part.run_id

    def _list_waiting(self) -> list[str]:
        query = select(models.Run.id).where(models.Run.state == "queued", models.Run.needs.in_(self.offers))
        with self.records.reading() as database:
            return list(database.scalars(query.order_by(models.Run.queued, models.Run.id).limit(20)))


def keep_watch(records: Records) -> None:
    """Look after runs and messages for as long as this process lives, in a thread that ends with it."""

    def look() -> None:
        while True:
            try:
                look_after(records)
                offer_work(records)
            except SQLAlchemyError as error:
                log.warning("The database does not answer (%s)", type(error).__name__)
            except Exception:  # the next look tries again; the process must not fall with it
                log.exception("Looking after the runs failed")
            time.sleep(LOOK_S)

    threading.Thread(target=look, name="watch", daemon=True).start()


def _list_offers(queues: Any) -> frozenset[Need]:
    return frozenset(need for need, queue in WORK_QUEUES.items() if queue in queues)


@functools.lru_cache(maxsize=1)
def _make_worker_app() -> Any:
    """The Celery application of a worker, with its one task."""
    from celery import signals

    records = get_records()
    if not records.settings.redis_url:
        raise QueueError("REDIS_URL is not set.", "Set it to where Redis is: redis://host:6379/0.")
    set_up_logs(records.settings.log == "json")
    celery = make_celery(records.settings.redis_url)
    workers: list[Worker] = []

    def begin(sender: Any, instance: Any, **_: Any) -> None:
        name = str(sender).partition("@")[0]
        workers.append(Worker(records, name, _list_offers(instance.app.amqp.queues.consume_from)))

    def settle(**_: Any) -> None:
        keep_watch(records)
        records.store.keep_house()

    def leave(**_: Any) -> None:
        for worker in workers:
            worker.leave()

    signals.celeryd_after_setup.connect(begin, weak=False)
    signals.worker_ready.connect(settle, weak=False)
    signals.worker_shutting_down.connect(leave, weak=False)
    signals.setup_logging.connect(lambda **_: None, weak=False)  # the log is set up already

    @celery.task(name=WORK_TASK, ignore_result=True)
    def work() -> None:
        for worker in workers:
            worker.work()

    return celery


def __getattr__(name: str) -> Any:
    """``celery_app`` comes into being when a worker asks for it."""
    if name == "celery_app":
        return _make_worker_app()
    raise AttributeError(name)
