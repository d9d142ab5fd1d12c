"""A database of Redis that one test has to itself, whatever runs beside it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest
import redis

SERVER = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379")
NUMBERS = range(10, 16)
"""Databases that tests may empty; the first of the server holds who has which."""

KEPT_S = 900
"""After so long a database is free whose test was killed."""


@contextlib.contextmanager
def own_redis() -> Iterator[str]:
    """The address of an empty database; skips the test where no server answers at TEST_REDIS_URL."""
    claims = redis.Redis.from_url(f"{SERVER}/0", socket_connect_timeout=2)
    try:
        claims.ping()
    except redis.RedisError:
        pytest.skip("no Redis server answers at TEST_REDIS_URL")
    number = _claim(claims)
    with contextlib.closing(claims), redis.Redis.from_url(f"{SERVER}/{number}") as store:
        store.flushdb()
        try:
            yield f"{SERVER}/{number}"
        finally:
            store.flushdb()
            claims.delete(_name(number))


def _claim(claims: redis.Redis) -> int:
    until = time.monotonic() + KEPT_S
    while time.monotonic() < until:
        for number in NUMBERS:
            if claims.set(_name(number), os.getpid(), nx=True, ex=KEPT_S):
                return number
        time.sleep(0.2)
    raise AssertionError("no database of Redis has come free")


def _name(number: int) -> str:
    return f"redys-tests:{number}"
