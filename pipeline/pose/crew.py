"""Work on pieces of a video in several processes: progress, cancelling, bounded memory, no orphans."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait as wait_for
from types import TracebackType
from typing import Any, Self, TypeVar

from pipeline.errors import Cancelled, PoseError
from pipeline.pose.protocols import Detector, Estimator
from pipeline.pose.registry import get_entry, load_detector, load_estimator
from pipeline.processes import leave_interrupts_to_parent

Result = TypeVar("Result")

POLL_S = 0.2


@dataclass
class Bench:
    """What a piece of work finds in its process: the networks, and `tick` to call once a frame.

    ``tick`` raises `Cancelled` when the person asked to stop.
    """

    detector: Detector
    estimator: Estimator
    tick: Callable[[], None] = field(repr=False)


_bench: Bench | Exception | None = None
"""In a worker process: what it works with, or why it cannot."""


def _set_up(detector: str, estimator: str, ticks: Any, stop: Any) -> None:
    """Make a worker process ready: one thread for everything, the networks loaded once."""
    global _bench
    _end_with_parent()
    _use_one_thread()

    def tick() -> None:
        with ticks.get_lock():
            ticks.value += 1
        if stop.is_set():
            raise Cancelled

    try:
        _bench = Bench(load_detector(detector), load_estimator(estimator), tick)
    except Exception as error:
        _bench = error  # raised here it would break the pool and be lost; the first piece of work says it


def _use_one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)  # a process per core; threads on top only get into each other's way


def _end_with_parent() -> None:
    """End this process when its parent is gone, even by a kill that leaves no time to say so."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait_for([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(work: Callable[[Bench, Any], Result], piece: Any) -> tuple[Result, list[str]]:
    if isinstance(_bench, Exception):
        raise _bench
    assert _bench is not None
    return work(_bench, piece), _take_notes(_bench.detector, _bench.estimator)


def _take_notes(*networks: Detector | Estimator) -> list[str]:
    """What networks have to say (`pipeline.pose.protocols`), each thing once."""
    said: list[str] = []
    for network in networks:
        notes = getattr(network, "notes", [])
        said += notes
        notes.clear()
    return said


def _share_a_gpu(detector: str, estimator: str) -> bool:
    """Whether a network would work on a GPU: then one process has it, for each would fill its memory anew."""
    entries = (get_entry("detector", detector), get_entry("estimator", estimator))
    if not any(entry.on_gpu for entry in entries):
        return False
    from pipeline.pose.networks.runner import choose_device

    return choose_device().type != "cpu"


class Crew:
    """Processes that work pieces of one video. With one worker the work is done in this process.

    Parameters
    ----------
    detector, estimator : str
        Names in `pipeline.pose.registry`.
    workers : int
        Processes, at least 1; where a network works on a GPU there is one.
    warn : callable
        Hears what the networks have to say, such as a GPU without memory.
    """

    def __init__(
        self,
        detector: str,
        estimator: str,
        workers: int,
        warn: Callable[[str], None] = lambda note: None,
    ) -> None:
        self._names = (detector, estimator)
        self._warn = warn
        # A daemonic process may have no children; there the work is done in place.
        alone = multiprocessing.current_process().daemon or workers == 1 or _share_a_gpu(detector, estimator)
        self.workers = 1 if alone else workers
        self._pool: ProcessPoolExecutor | None = None
        self._networks: tuple[Detector, Estimator] | None = None

    def __enter__(self) -> Self:
        if self.workers > 1:
            context = multiprocessing.get_context("spawn")  # forking a process with threads is not safe
            self._ticks = context.Value("q", 0)
            self._stop = context.Event()
            self._pool = ProcessPoolExecutor(
                self.workers, context, _set_up, (*self._names, self._ticks, self._stop)
            )
        else:
            self._networks = (load_detector(self._names[0]), load_estimator(self._names[1]))
        return self

    def get_estimator(self) -> Estimator:
        """An estimator for this process: the one that works here, if there is one."""
        return self._networks[1] if self._networks else load_estimator(self._names[1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(
        self,
        work: Callable[[Bench, Any], Result],
        pieces: Sequence[Any],
        listen: Callable[[int], None],
    ) -> list[Result]:
        """Results of ``work(bench, piece)`` for each piece, in their order.

        Parameters
        ----------
        work : callable
            A function of a module (it is sent by name), calling ``bench.tick()`` once a frame.
        pieces : sequence
            Small: they are sent to the processes.
        listen : callable
            Hears from time to time how many frames are done; what it raises ends the work.

        Raises
        ------
        PoseError
            A process ended unexpectedly (killed, out of memory).
        """
        if self._pool is None:
            return self._run_here(work, pieces, listen)
        self._ticks.value = 0
        with leave_interrupts_to_parent():  # the pool starts its processes as work comes in
            futures: list[Future[tuple[Result, list[str]]]] = [
                self._pool.submit(_do, work, piece) for piece in pieces
            ]
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    for note in future.result()[1]:
                        self._warn(note)
                listen(self._ticks.value)
        except BrokenProcessPool as error:
            raise PoseError(
                "A process that looks for the hand ended unexpectedly.",
                "Most often memory ran out: close other programs, or set REDYS_WORKERS=1, and start again.",
            ) from error
        return [future.result()[0] for future in futures]

    def _run_here(
        self,
        work: Callable[[Bench, Any], Result],
        pieces: Sequence[Any],
        listen: Callable[[int], None],
    ) -> list[Result]:
        assert self._networks is not None
        networks = self._networks
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            for note in _take_notes(*networks):
                self._warn(note)
            listen(done)

        bench = Bench(*networks, tick)
        return [work(bench, piece) for piece in pieces]
