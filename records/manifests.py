"""What a folder of the store is made of: its files by name, SHA-256 and size."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Final

from pipeline.files import hash_file
from records.errors import StoreMissing
from records.objects import CHUNK_BYTES

LOOK: Final = "Look with `python -m records store`; a machine that has a copy can send it again."

ITSELF: Final = "."
"""The name in a manifest of what is a file and no folder."""

_FORMAT: Final = 1
_UNFINISHED: Final = ".unfinished-"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file of a manifest."""

    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class Copy:
    """What this machine's copy is: of which manifest (empty = of none), and each file as it was seen last."""

    key: str
    digest: str
    files: dict[str, tuple[str, int, int, int]]

    def hash_of(self, name: str, about: os.stat_result) -> str:
        """The SHA-256 of a file that has not changed since; empty where it has."""
        sha256, *seen = self.files.get(name, ("", 0, 0, 0))
        return sha256 if seen == [about.st_size, about.st_mtime_ns, about.st_ino] else ""


def name_folder(key: str) -> str:
    """What a path of the data folder is called in the store: says nothing, and is always a good name."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def list_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Files with their names in a manifest; ``run.json`` first, since it speaks of the others.

    Links are not followed. A run folder inside a recording's is a folder of its own.
    """
    if path.is_file():
        yield ITSELF, path
        return
    if (path / "run.json").is_file():
        yield "run.json", path / "run.json"
    for folder, names, files in os.walk(path):
        here = Path(folder)
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(_UNFINISHED) and not (here / name / "run.json").is_file()
        )
        for name in sorted(files):
            each = here / name
            relative = each.relative_to(path).as_posix()
            is_plain = each.is_file() and not each.is_symlink() and relative not in ("run.json", ".lock")
            if is_plain and not name.startswith(_UNFINISHED):
                yield relative, each


def look_at(
    path: Path, copy: Copy, name: str, there: frozenset[str], beat: Callable[[], None]
) -> tuple[Entry, os.stat_result, IO[bytes] | None]:
    """A file's SHA-256 and size, and the open file at its start where the store has not got it.

    It is opened once: a name that is given to another file meanwhile does not mix the two.
    """
    source = open(path, "rb")  # noqa: SIM115 - the caller closes it
    try:
        about = os.fstat(source.fileno())
        sha256 = copy.hash_of(name, about)
        if not sha256:
            digest, left = hashlib.sha256(), about.st_size
            while left and (part := source.read(min(left, CHUNK_BYTES))):
                digest.update(part)
                left -= len(part)
                beat()
            sha256 = digest.hexdigest()
            source.seek(0)
    except BaseException:
        source.close()
        raise
    entry = Entry(sha256, about.st_size)
    if sha256 in there:
        source.close()
        return entry, about, None
    return entry, about, source


def is_same(path: Path, entry: Entry, known: Copy, name: str) -> bool:
    """Whether a file on the disk is that of a manifest."""
    with contextlib.suppress(OSError):
        about = path.stat()
        if about.st_size == entry.size:
            return (known.hash_of(name, about) or hash_file(path)) == entry.sha256
    return False


def describe(key: str, digest: str, path: Path, files: Mapping[str, Entry]) -> Copy:
    """What this machine's copy is, from its files as they are now."""
    seen = {}
    for name, entry in files.items():
        about = (path if name == ITSELF else path / name).stat()
        seen[name] = (entry.sha256, about.st_size, about.st_mtime_ns, about.st_ino)
    return Copy(key, digest, seen)


def is_as_seen(path: Path, copy: Copy) -> bool:
    """Whether a copy's files are those that were brought or sent."""
    found = dict(list_files(path)) if path.exists() else {}
    try:
        return found.keys() == copy.files.keys() and all(
            copy.hash_of(name, each.stat()) for name, each in found.items()
        )
    except OSError:
        return False


def format_manifest(key: str, files: Mapping[str, Entry]) -> bytes:
    """A manifest as it is kept: the same files always give the same bytes."""
    listed = {name: dataclasses.asdict(files[name]) for name in sorted(files)}
    said = {"format": _FORMAT, "key": key, "files": listed}
    return (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode()


def parse_manifest(data: bytes, digest: str) -> dict[str, Entry]:
    """The files of a manifest that was read.

    Raises
    ------
    StoreMissing
        It is not what was kept, or names what it must not.
    """
    if hashlib.sha256(data).hexdigest() != digest:
        raise StoreMissing("A list of files in the store is not what was kept.", LOOK)
    said = json.loads(data)
    files = {name: Entry(each["sha256"], each["size"]) for name, each in said["files"].items()}
    for name, entry in files.items():
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or not _DIGEST.fullmatch(entry.sha256):
            raise StoreMissing("A list of files in the store names what it must not.", LOOK)
    return files
