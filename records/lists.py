"""Lists that outlast the database: lines of JSON, in the data folder and beside backups, only added to."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def append_entries(
    path: Path, entries: Iterable[dict[str, Any]], read: Callable[[Path], list[dict[str, Any]]]
) -> None:
    """Add what is not in a list yet; on the disk when this returns.

    ``read`` reads the list, and raises where it is none: nothing is added to such a file.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = {json.dumps(each, sort_keys=True) for each in read(path)}
        for entry in entries:
            line = json.dumps(entry, sort_keys=True)
            if line not in known:
                file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
