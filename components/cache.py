"""What is worked out once for all pages: on disk, or in Redis where there is more than one machine.

Keys hold the time of the file that a value was read from, so nothing has to be invalidated.
"""

from __future__ import annotations

import flask
from flask_caching import Cache

from pipeline.measures.summary_types import WorstAngle
from records import get_records
from settings import Settings

cache = Cache()

_DAY_S = 86_400


def attach(server: flask.Flask, settings: Settings) -> None:
    """Give the server its cache."""
    config: dict[str, object] = {"CACHE_DEFAULT_TIMEOUT": _DAY_S, "CACHE_KEY_PREFIX": "redys-"}
    if settings.redis_url:
        config |= {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": settings.redis_url}
    else:
        folder = settings.data_dir / "cache" / "pages"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        config |= {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder), "CACHE_THRESHOLD": 5000}
    cache.init_app(server, config=config)


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
