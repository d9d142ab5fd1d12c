"""Who is at work on a data folder: programs that use it, and the one that takes things away or copies it.

Both are locks of the file system, which end with the process that holds them, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from records.errors import MaintenanceError

IN_USE: Final = ".in-use"
MAINTENANCE: Final = ".maintenance"


def note_use(data_dir: Path) -> int:
    """Say that this process uses the folder, until the handle is closed (`os.close`) or the process ends.

    Raises
    ------
    MaintenanceError
        A backup is being put into its place.
    """
    handle = os.open(data_dir / IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise MaintenanceError(
            f"A backup is being restored into {data_dir}.", "Wait until that is done, then start again."
        ) from error
    return handle


@contextlib.contextmanager
def hold_unused(data_dir: Path) -> Iterator[None]:
    """Hold the folder for oneself.

    Raises
    ------
    MaintenanceError
        A server, a worker or a command is using it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(data_dir / IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MaintenanceError(
                f"{data_dir} is in use.", "Stop the server, its workers and runs first, then try again."
            ) from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def maintain(data_dir: Path) -> Iterator[None]:
    """Wait for one's turn: a backup must not copy what is being erased, nor erasing meet a purge."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(data_dir / MAINTENANCE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
