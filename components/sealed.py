"""Values in Redis that this installation alone can have written: each carries a code made with its key.

Redis is on the machines' own network, and others may come to write there; nobody else's bytes are unpickled,
and nobody is signed in by them.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from records.keys import derive_key
from settings import Settings

ANSWER_S: Final = 2.0
"""How long Redis has to answer: a page waits for it."""

_CODE_BYTES: Final = hashlib.sha256().digest_size


class SealedStore:
    """Bytes by name, with an end each.

    Parameters
    ----------
    settings : Settings
        ``redis_url`` must be set.
    purpose : str
        First part of the names; what was written for one purpose is nothing for another.
    """

    def __init__(self, settings: Settings, purpose: str) -> None:
        assert settings.redis_url is not None
        self._purpose = purpose
        self._key = derive_key(settings, purpose)
        self._redis = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 1),  # a connection that was idle over a restart of Redis
        )

    def read(self, name: str) -> bytes | None:
        """What was written under a name; None where there is nothing, or nothing of ours.

        Raises
        ------
        redis.RedisError
            Redis does not answer.
        """
        place = self._place(name)
        kept = self._redis.get(place)
        if not isinstance(kept, bytes) or len(kept) < _CODE_BYTES:
            return None
        code, value = kept[:_CODE_BYTES], kept[_CODE_BYTES:]
        return value if hmac.compare_digest(code, self._sign(place, value)) else None

    def write(self, name: str, value: bytes, seconds: int) -> None:
        """Keep a value for so long; `redis.RedisError` as `read`."""
        place = self._place(name)
        self._redis.set(place, self._sign(place, value) + value, ex=seconds)

    def remove(self, name: str) -> bool:
        """Take a value away; whether there was one. `redis.RedisError` as `read`."""
        return bool(self._redis.delete(self._place(name)))

    def _place(self, name: str) -> str:
        return f"redys-{self._purpose}:{name}"

    def _sign(self, place: str, value: bytes) -> bytes:
        """Bound to its place: what was kept elsewhere cannot be put here."""
        return hmac.digest(self._key, len(place).to_bytes(4, "big") + place.encode() + value, "sha256")
