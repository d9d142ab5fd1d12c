"""Bytes under names, in an S3-compatible bucket or a folder (fsspec): each whole or absent, and nothing else.

`records.store` says what the names mean. Time-outs are short, and who has just found the store away does not
ask it again for a moment: threads of the server must not pile up behind it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from pipeline.errors import RunFolderError
from pipeline.files import replace_atomically
from records.errors import StoreAway, StoreError, StoreMissing

CONNECT_S: Final = 3.0
READ_S: Final = 20.0
"""How long a connection, and the next bytes of an answer, are waited for."""

ATTEMPTS: Final = 2
AWAY_S: Final = 2.0
"""For so long after a miss nobody of this process asks again."""

CHUNK_BYTES: Final = 8 * 2**20
PROBE: Final = ".probe"


class Objects:
    """The bytes of one store.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``, ``file:///folder``, or another of fsspec's; bucket and folder are there.
    endpoint : str, optional
        The server's address where it is not Amazon's.

    Raises
    ------
    StoreError
        The address is none that can be opened.
    """

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        self._options = _options(url, endpoint)
        try:
            files, root = fsspec.core.url_to_fs(url, **self._options)
        except (ValueError, ImportError, TypeError) as error:
            raise StoreError(
                f"REDYS_STORE_URL is no address of a store ({error}).",
                "Use s3://bucket/folder, or file:///folder.",
            ) from error
        self._protocol = files.protocol if isinstance(files.protocol, str) else files.protocol[0]
        self._is_local = isinstance(files, LocalFileSystem)
        self._root = str(root).rstrip("/")
        self._away_until = 0.0

    @property
    def _files(self) -> Any:
        """The file system: fsspec keeps one for each process, so that a fork gets its own."""
        import fsspec

        files = fsspec.filesystem(self._protocol, **self._options)
        if hasattr(files, "retries"):
            files.retries = ATTEMPTS
        return files

    def _place(self, name: str) -> str:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/"):
            raise ValueError(name)
        return f"{self._root}/{name}"

    # --- asking ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Give what goes wrong in words: away (it may pass), missing (that object is not there)."""
        from botocore.exceptions import BotoCoreError

        if time.monotonic() < self._away_until:
            raise _say_away()
        try:
            if self._is_local and not os.path.isdir(self._root):
                # Never made here: an empty mount point must not be taken for an empty store.
                raise StoreAway(
                    "The store's folder is not there.", "Mount or make it, or check REDYS_STORE_URL."
                )
            yield
        except (StoreError, RunFolderError) as error:
            if isinstance(error, StoreMissing):
                raise
            self._away_until = time.monotonic() + AWAY_S
            if isinstance(error, RunFolderError):
                raise StoreAway("The store is full, or cannot be written to.", _WAITS) from error
            raise
        except FileNotFoundError as error:
            if self._is_local or self._has_bucket():
                raise StoreMissing("A file that was kept is not in the store.", _DAMAGED) from error
            raise StoreAway(
                "The store's bucket is not there.", "Make it, or check REDYS_STORE_URL."
            ) from error
        except PermissionError as error:
            self._away_until = time.monotonic() + AWAY_S
            raise StoreAway(
                "The store refuses this program.",
                "Check the AWS_* keys and what they may do. What waits is kept as soon as it can be.",
            ) from error
        except (OSError, BotoCoreError, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_S
            raise _say_away() from error

    def _has_bucket(self) -> bool:
        try:
            return bool(self._files.exists(self._root.partition("/")[0]))
        except Exception:  # whatever it is, the first error says more
            return False

    # --- objects ---------------------------------------------------------------------------------

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under a name, in the place of what was there.

        Raises
        ------
        StoreAway
        """
        with self._asking():
            if self._is_local:
                with replace_atomically(Path(self._place(name))) as temporary:
                    temporary.write_bytes(data)
            else:
                self._files.pipe_file(self._place(name), data)

    def write_stream(self, name: str, source: IO[bytes], size_bytes: int, beat: Callable[[], None]) -> str:
        """Put the first bytes of an open file under a name; gives the SHA-256 of what was sent.

        Parameters
        ----------
        name : str
            Its name.
        source : file
            Open for reading, at its start.
        size_bytes : int
            So many of its bytes: one that grows meanwhile is sent as it was.
        beat : callable
            Called after each part.

        Raises
        ------
        StoreAway
        """
        if size_bytes <= CHUNK_BYTES:
            data = source.read(size_bytes)
            self.write(name, data)
            beat()
            return hashlib.sha256(data).hexdigest()
        with self._asking():
            if self._is_local:
                with replace_atomically(Path(self._place(name))) as temporary, open(temporary, "wb") as out:
                    return _copy(source, out, size_bytes, beat)
            out = self._files.open(self._place(name), "wb", block_size=2 * CHUNK_BYTES, autocommit=False)
            try:
                digest = _copy(source, out, size_bytes, beat)
                out.close()
                out.commit()
            except BaseException:
                with contextlib.suppress(Exception):  # an upload that nobody ends is never seen
                    out.discard()
                raise
            return digest

    def read(self, name: str) -> bytes:
        """The bytes under a name.

        Raises
        ------
        StoreMissing, StoreAway
        """
        with self._asking():
            return bytes(self._files.cat_file(self._place(name)))

    def read_parts(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes under a name, a part at a time. Raises as `read` does."""
        for start in range(0, size_bytes, CHUNK_BYTES):
            with self._asking():
                end = min(start + CHUNK_BYTES, size_bytes)
                part = bytes(self._files.cat_file(self._place(name), start=start, end=end))
            yield part

    def list(self, prefix: str) -> dict[str, int]:
        """Names below a name, with their sizes in bytes.

        Raises
        ------
        StoreAway
        """
        with self._asking():
            place = self._place(prefix) if prefix else self._root
            found = self._files.find(place, detail=True)
        cut = len(self._root) + 1
        return {path[cut:]: int(about["size"]) for path, about in found.items()}

    def remove(self, names: Iterable[str]) -> None:
        """Take objects away; those that are gone are no error.

        Raises
        ------
        StoreAway
        """
        places = [self._place(name) for name in names]
        if not places:
            return
        with self._asking():
            if self._is_local:
                for place in places:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(place)
            else:
                files = self._files
                for place in places:  # one that is gone is no error to S3
                    files.rm_file(place)

    def remove_all(self, prefix: str) -> None:
        """Take everything below a name away.

        Raises
        ------
        StoreAway
        """
        self.remove(self.list(prefix))
        if self._is_local:
            for folder, _, _ in os.walk(self._place(prefix), topdown=False):
                with contextlib.suppress(OSError):  # another is writing there again
                    os.rmdir(folder)

    def make(self) -> None:
        """Make the bucket or the folder, once, when the installation is set up.

        Raises
        ------
        StoreAway
        """
        if self._is_local:
            Path(self._root).mkdir(parents=True, exist_ok=True, mode=0o700)
            return
        bucket = self._root.partition("/")[0]
        with self._asking():
            if not self._files.exists(bucket):
                self._files.mkdir(bucket)

    def keeps_old_versions(self) -> bool:
        """Whether removing an object leaves it in the store as an older version.

        Raises
        ------
        StoreAway
        """
        files = self._files
        if not hasattr(files, "is_bucket_versioned"):
            return False
        with self._asking():
            return bool(files.is_bucket_versioned(self._root.partition("/")[0]))

    def check(self) -> None:
        """Write and read a few bytes.

        Raises
        ------
        StoreError
            The store does not answer, refuses, or does not give back what it was given.
        """
        said = os.urandom(8)
        name = f"{PROBE}/{os.getpid() % 8}"  # a few names: several ask at once, and none is left for each
        self.write(name, said)
        if len(self.read(name)) != len(said):
            raise StoreAway("The store does not give back what it was given.", "Look at its log.")


_WAITS: Final = "What waits is kept as soon as the store is back; nothing is lost."
_DAMAGED: Final = "Look with `python -m records store`; a copy on a machine that has it is sent again."


def _say_away() -> StoreAway:
    return StoreAway("The store of recordings does not answer.", f"Wait a moment. {_WAITS}")


def _options(url: str, endpoint: str | None) -> dict[str, Any]:
    if not url.startswith(("s3://", "s3a://")):
        return {}
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "read_timeout": READ_S,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Newer sums in trailers are not understood by every compatible server.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if endpoint:
        config["s3"] = {"addressing_style": "path"}
    return {"endpoint_url": endpoint, "config_kwargs": config, "use_listings_cache": False}


def _copy(source: IO[bytes], out: Any, size_bytes: int, beat: Callable[[], None]) -> str:
    digest, left = hashlib.sha256(), size_bytes
    while left and (part := source.read(min(left, CHUNK_BYTES))):
        digest.update(part)
        out.write(part)
        left -= len(part)
        beat()
    return digest.hexdigest()
