"""What is worked out once for all pages: on disk, or in Redis where there is more than one machine.

Keys hold the time of the file that a value was read from, so nothing has to be invalidated. While Redis is
away everything is worked out anew. Servers of two versions share nothing there: a value is unpickled as
what it was.
"""

from __future__ import annotations

import datetime
import logging
import pickle
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import flask
from flask_caching import Cache
from flask_caching.backends.base import BaseCache
from redis.exceptions import RedisError

from components.sealed import SealedStore
from pipeline.measures.summary_types import WorstAngle
from pipeline.version import PROGRAM_VERSION
from records import get_records
from settings import Settings

log = logging.getLogger(__name__)

cache = Cache()

Answer = TypeVar("Answer")

_DAY_S = 86_400

PASSED_OVER_S: Final = 5.0
"""For so long after a miss Redis is not asked: a page must not wait for it again and again."""


def attach(server: flask.Flask, settings: Settings) -> None:
    """Give the server its cache."""
    config: dict[str, object] = {"CACHE_DEFAULT_TIMEOUT": _DAY_S}
    if settings.redis_url:
        config |= {
            "CACHE_TYPE": "components.cache.SealedCache",
            "CACHE_OPTIONS": {"store": SealedStore(settings, f"pages-{PROGRAM_VERSION}")},
        }
    else:
        folder = settings.data_dir / "cache" / "pages"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        config |= {
            "CACHE_TYPE": "FileSystemCache",
            "CACHE_DIR": str(folder),
            "CACHE_THRESHOLD": 5000,
            "CACHE_KEY_PREFIX": "redys-",
        }
    cache.init_app(server, config=config)


class SealedCache(BaseCache):
    """A cache in Redis that unpickles only what this installation wrote, and that may be away."""

    def __init__(self, store: SealedStore) -> None:
        super().__init__(default_timeout=_DAY_S)
        self._store = store
        self._away_until = 0.0

    @classmethod
    def factory(
        cls, app: flask.Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> SealedCache:
        """As flask-caching makes its backends."""
        return cls(kwargs["store"])

    def get(self, key: str) -> Any:
        """The value; None where there is none, or Redis is away."""
        kept = self._ask(lambda: self._store.read(key))
        return pickle.loads(kept) if kept is not None else None

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self._ask(lambda: self._store.read(key)) is not None

    def set(self, key: str, value: Any, timeout: int | datetime.timedelta | None = None) -> bool:
        """Keep a value; whether it could be."""
        kept_s = timeout.seconds if isinstance(timeout, datetime.timedelta) else timeout or _DAY_S

        def write() -> bool:
            self._store.write(key, pickle.dumps(value), kept_s)
            return True

        return bool(self._ask(write))

    def delete(self, key: str) -> bool:
        """Take a value away; whether there was one."""
        return bool(self._ask(lambda: self._store.remove(key)))

    def _ask(self, question: Callable[[], Answer]) -> Answer | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            return question()
        except RedisError as error:
            self._away_until = time.monotonic() + PASSED_OVER_S
            log.warning("Redis does not answer (%s): its cache is passed over", type(error).__name__)
            return None


def worst_angles(run_id: str) -> tuple[WorstAngle, ...]:
    """The angles of a run that are farthest from the reference, of both hands, at most three.

    Raises
    ------
    pipeline.errors.RunFolderError
        The summary is there but cannot be read.
    """
    path = get_records().open_run(run_id).summary_json
    if not path.is_file():
        return ()
    return _worst_angles(run_id, path.stat().st_mtime_ns)


@cache.memoize()
def _worst_angles(run_id: str, changed_ns: int) -> tuple[WorstAngle, ...]:
    summary = get_records().read_summary(run_id)
    if summary is None:
        return ()
    found = [worst for side in summary.sides.values() for worst in side.worst]
    return tuple(sorted(found, key=lambda worst: -abs(worst.z))[:3])


def is_reference_simulated(run_id: str) -> bool:
    """Whether the reference that a run was held against is simulated.

    Raises
    ------
    pipeline.errors.RunFolderError
        The summary is there but cannot be read.
    """
    path = get_records().open_run(run_id).summary_json
    return path.is_file() and bool(_is_simulated(run_id, path.stat().st_mtime_ns))


@cache.memoize()
def _is_simulated(run_id: str, changed_ns: int) -> bool:
    summary = get_records().read_summary(run_id)
    return summary is not None and summary.provenance.baseline_simulated
