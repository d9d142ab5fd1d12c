"""SHA-256 of files of weights, which are gigabytes: worked out once for a file as it is, and kept.

Kept in ``models/digests.json`` by path, size and time of change. Where that folder cannot be written to they
are kept for this process alone.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pipeline.errors import RunFolderError
from pipeline.files import hash_file, read_json, write_json
from settings import get_settings

_known: dict[str, str] = {}


def hash_weights(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits; reads the file unless it has been hashed as it is now."""
    digest = recall_digest(path)
    if digest is None:
        digest = _known[_identify(path)] = hash_file(path)
        with contextlib.suppress(RunFolderError):  # it is only slower without
            write_json(_locate(), _read() | {_identify(path): digest})
    return digest


def recall_digest(path: Path) -> str | None:
    """What `hash_weights` said of the file as it is now; None if it never did. Reads no weights."""
    key = _identify(path)
    return _known.get(key) or _read().get(key)


def _identify(path: Path) -> str:
    state = path.stat()
    return f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"


def _locate() -> Path:
    return Path(get_settings().models_dir) / "digests.json"


def _read() -> dict[str, str]:
    with contextlib.suppress(RunFolderError):
        kept = read_json(_locate())
        if isinstance(kept, dict):
            return kept
    return {}
