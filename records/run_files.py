"""A run's files on the machine that works it: there before it begins, kept while it goes on and when it ends.

Nothing to do where all machines share the data folder as a disk, or there is one machine alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from pipeline.errors import RedysError
from pipeline.session import read_session
from records.errors import StoreError
from records.reuse import take_over
from records.rows import RunRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.orm import Session as DatabaseSession

    from records.service import Records

log = logging.getLogger(__name__)

KEEP_EVERY_S: Final = 10.0
"""Stages of cameras take turns; a run is not sent more often than this while it is at work."""


class Stopped(StoreError):
    """The run is not to go on here: files are not fetched any further."""


class RunFiles:
    """The recording and the run folder of one run."""

    def __init__(self, records: Records, run: RunRow) -> None:
        self._records, self._run = records, run
        self._sending: threading.Thread | None = None
        self._sent = 0.0

    def fetch(self, is_mine: Callable[[DatabaseSession], bool], check: Callable[[], None]) -> None:
        """Have everything here that the run needs and what was done of it; from now on it is this machine's.

        Parameters
        ----------
        is_mine : callable
            Asked in a transaction: whether the run is still this supervisor's, and stays so to its end.
        check : callable
            Called again and again; raises `Stopped` where the run is not to go on here.

        Raises
        ------
        Stopped, NotFound
        StoreError
            The store is away, or the recording is still on the machine that took it.
        """
        store = self._records.store
        if not store.is_on:
            return
        recording = self._records.get_recording(self._run.recording_id)
        store.bring(recording.folder, newest=True, check=check)
        store.take(self._run.folder, is_mine, check)
        if recording.kind == "video" and not self._run.folder.exists():
            self._take_over(recording.folder)

    def _take_over(self, session_folder: Path) -> None:
        """What the run before worked out and still holds; that it cannot be had costs time, never a run."""
        runs = [run for run in self._records.list_runs(self._run.recording_id) if run.id != self._run.id]
        earlier = next((run for run in runs if run.created < self._run.created), None)
        if earlier is None:
            return
        with contextlib.suppress(RedysError):
            self._records.store.bring(earlier.folder)
            take_over(earlier.folder, self._run.folder, read_session(session_folder))

    def keep_soon(self) -> None:
        """Begin to send what is there by now, so that another machine could go on from here."""
        if not self._records.store.is_on or time.monotonic() - self._sent < KEEP_EVERY_S:
            return
        if self._sending is None or not self._sending.is_alive():
            self._sent = time.monotonic()
            self._sending = threading.Thread(target=self._keep_quietly, name="store-run", daemon=True)
            self._sending.start()

    def _keep_quietly(self) -> None:
        try:
            self.keep(done=False)
        except StoreError as error:
            log.info("run %s: not kept just now: %s", self._run.id, error.what)
        except Exception:  # the end of the run tries again, and waits for it
            log.exception("run %s could not be kept", self._run.id)

    def keep(self, done: bool = True) -> None:
        """Send the run folder, after what is being sent of it just now.

        Raises
        ------
        StoreError
        """
        if self._sending is not None and self._sending is not threading.current_thread():
            self._sending.join()
        if self._run.folder.exists():
            self._records.store.keep(self._run.folder, done)

    def leave(self, errors: Path) -> None:
        """A run that has ended without a result, with what it said: the housekeeper sends both."""
        if self._records.store.is_on and errors.is_file():
            with self._records.writing() as database:
                self._records.store.note_change(database, errors)
