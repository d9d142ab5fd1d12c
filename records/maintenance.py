"""Who is at work on a data folder: programs that use it, and the one that takes things away or copies it.

Both are locks of the file system, which end with the process that holds them, however that ends. A restore
leaves a mark besides, from before its first change until its last: a folder that is half restored must not be
used after the lock is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.files import read_json, sync_folder, write_json
from records.errors import MaintenanceError

IN_USE: Final = ".in-use"
MAINTENANCE: Final = ".maintenance"
RESTORE: Final = ".restore.json"


def note_use(data_dir: Path, restoring: bool = False) -> int:
    """Say that this process uses the folder, until the handle is closed (`os.close`) or the process ends.

    Parameters
    ----------
    data_dir : Path
        The folder, which is there.
    restoring : bool
        Whether this process is the one that restores it, and so may use it before that is done.

    Raises
    ------
    MaintenanceError
        A backup is being put into its place, or that was broken off.
    """
    handle = os.open(data_dir / IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise MaintenanceError(
            f"A backup is being restored into {data_dir}.", "Wait until that is done, then start again."
        ) from error
    try:
        if not restoring:
            check_restored(data_dir)
    except BaseException:
        os.close(handle)
        raise
    return handle


def begin_restore(data_dir: Path, backup: Path) -> None:
    """Leave the mark that a backup is being put into the folder; on the disk when this returns."""
    write_json(data_dir / RESTORE, {"backup": backup.as_posix()})


def end_restore(data_dir: Path) -> None:
    """Take the mark away: everything is in its place."""
    (data_dir / RESTORE).unlink()
    sync_folder(data_dir)


def is_half_restored(data_dir: Path) -> bool:
    """Whether a restore has begun to change the folder and is not done."""
    return (data_dir / RESTORE).exists()


def check_restored(data_dir: Path) -> None:
    """Raise `MaintenanceError` where a restore has begun to change the folder and is not done."""
    if not is_half_restored(data_dir):
        return
    backup = Path(read_json(data_dir / RESTORE)["backup"])
    again = shlex.join(["restore", str(backup.parent), "--backup", backup.name])
    raise MaintenanceError(
        f"{data_dir} is half restored: the restore of {backup} was broken off, or is still at work.",
        f"If it is at work, wait. Else do it again: python -m records {again}",
    )


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
