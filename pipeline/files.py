"""Writing files whole or not at all: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RunFolderError

_UNFINISHED = ".unfinished-"

BROKEN_JSON = (OSError, ValueError, RecursionError)
BROKEN_NPZ = (
    *(OSError, ValueError, TypeError, EOFError, KeyError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a file that is no such file, or a damaged one, raises."""


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes the place of ``path``.

    The temporary file keeps the suffix of ``path`` (writers choose a format by it). On any
    failure it is removed and ``path`` stays as it was.

    Raises
    ------
    RunFolderError
        The folder cannot be written or the disk is full, said in words.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f"{_UNFINISHED}{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes were writing anywhere in a folder; nobody else may be writing there."""
    for path in Path(folder).rglob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # it harms nobody
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _explain(error: OSError, path: Path) -> RunFolderError:
    if error.errno == errno.ENOSPC:
        return RunFolderError(
            f"The disk is full: {path.name} could not be written in {path.parent}.",
            "Free some space and start the run again; it goes on where it stopped.",
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return RunFolderError(
            f"{path.parent} cannot be written to ({os.strerror(error.errno)}).",
            "Choose another folder with --out, or change the folder's permissions.",
        )
    return RunFolderError(
        f"{path} could not be written ({error.strerror or error}).",
        "Check the folder and start the run again.",
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON. NaN and infinities become null: JSON has neither."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a `RunFolderError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunFolderError(f"{path} is missing.", "Run the pipeline again to make it.") from error
    except BROKEN_JSON as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}).", "Delete it and run the pipeline again."
        ) from error


def write_npz(path: Path, **arrays: Any) -> None:
    """Write named arrays as a compressed ``.npz``, whole or not at all."""
    with replace_atomically(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` into memory. Object arrays (pickles) are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunFolderError(f"{path} is missing.", "Run the pipeline again to make it.") from error
    except BROKEN_NPZ as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}).", "Delete it and run the pipeline again."
        ) from error


def to_plain(value: Any) -> Any:
    """Turn numpy values, paths and tuples into what JSON knows; NaN and infinities into None."""
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    return value


def hash_file(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: equal settings give equal hashes."""
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
