"""When what everything stands on is away for a while: told from faults of the program, and said in words.

Nothing here is mended by a restart: whoever asks again, once it is there, is answered.
"""

from __future__ import annotations

import errno
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline.errors import RedysError, RunFolderError
from records.errors import DatabaseError, StoreError, UploadError

AGAIN: Final = "Nothing that was there is lost. Wait a moment and try again."
ASK: Final = "Nothing that was there is lost. Ask who runs this server to mend that, then try again."
FREE: Final = "Nothing that was there is lost. Ask who runs this server to free some space, then try again."

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_SHUT: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_GONE: Final = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENXIO})


class OutageError(RedysError):
    """Something that everything stands on is away for a while."""


def find_outage(error: BaseException) -> OutageError | None:
    """What is away, if that is why something failed; None for faults of another kind.

    Parameters
    ----------
    error : BaseException
        As it was raised, by the database, Redis, the disk, or in words because of one of them.
    """
    if isinstance(error, OutageError):
        return error
    if isinstance(error, (RunFolderError, UploadError, DatabaseError)):
        # Said in words already, of a run or of an upload; here it is why a page cannot be shown.
        cause = error.__cause__
        return find_outage(cause) if isinstance(cause, (OSError, DBAPIError)) else None
    if isinstance(error, StoreError):
        return OutageError(error.what, error.advice or AGAIN)
    if isinstance(error, PoolTimeout):
        return OutageError("The database does not keep up.", AGAIN)
    if isinstance(error, (OperationalError, InterfaceError, InternalError)):
        return _of_database(error)
    if isinstance(error, RedisError) or type(error).__module__.startswith("kombu."):
        return OutageError("Redis, which hands out the work, does not answer.", AGAIN)
    if isinstance(error, OSError):
        return _of_disk(error)
    return None


def _of_database(error: DBAPIError) -> OutageError:
    said = str(error.orig).lower()
    if "full" in said or "no space" in said:
        return OutageError("The server's disk is full, and nothing can be written.", FREE)
    if "readonly" in said or "read-only" in said:
        return OutageError("The database cannot be written to.", ASK)
    return OutageError("The database does not answer.", AGAIN)


def _of_disk(error: OSError) -> OutageError | None:
    if error.errno in _FULL:
        return OutageError("The server's disk is full, and nothing can be written.", FREE)
    if error.errno in _SHUT:
        return OutageError("The server's data folder cannot be written to.", ASK)
    if error.errno in _GONE:
        return OutageError("The server's disk does not answer.", AGAIN)
    return None
