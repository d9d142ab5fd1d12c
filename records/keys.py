"""The installation's key, and keys of one purpose each that are derived from it.

The key is not in backups: who finds a backup has neither sessions nor second factors.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings

KEY_FILE: Final = "secret_key"
"""In the data folder, where ``SECRET_KEY`` is not given."""

DERIVED_BYTES: Final = 32


def read_secret_key(settings: Settings) -> str:
    """The key that signs cookies and job handles: the one given, or one made once in the data folder.

    Raises
    ------
    pipeline.errors.RunFolderError
        The data folder cannot be written.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / KEY_FILE
    if not path.is_file():
        _make_secret_key(path)
    return path.read_text(encoding="ascii").strip()


def derive_key(settings: Settings, purpose: str) -> bytes:
    """A key of 256 bits for one purpose, from the installation's by HKDF (RFC 5869, SHA-256).

    Raises
    ------
    pipeline.errors.RunFolderError
        The data folder cannot be written.
    """
    kdf = HKDF(algorithm=SHA256(), length=DERIVED_BYTES, salt=None, info=f"redys {purpose}".encode())
    return kdf.derive(read_secret_key(settings).encode())


def _make_secret_key(path: Path) -> None:
    made = path.with_name(f".{KEY_FILE}-{secrets.token_hex(8)}")
    write_bytes(made, secrets.token_urlsafe(48).encode())
    made.chmod(0o600)
    try:
        with contextlib.suppress(FileExistsError):  # another process was first; its key holds
            os.link(made, path)
    finally:
        made.unlink()
