"""Long constant texts, stored once under the hash of their content, so that a system prompt travels once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redis.asyncio import Redis

from parrot.wire.keys import Keys, content_hash

LONG = 512  # characters from which a constant text is worth a key of its own
LIFE_SECONDS = 48 * 3600  # longer than an idle session lives; every use begins it anew


class Texts:
    """Access to the constant texts of one cell."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def put(self, texts: Mapping[str, str]) -> None:
        """Store texts by content hash (`parrot.wire.keys.content_hash`)."""
        pipe = self._redis.pipeline(transaction=False)
        for digest, text in texts.items():
            pipe.set(self._keys.text(digest), text, ex=LIFE_SECONDS)
        await pipe.execute()

    async def get(self, digests: Iterable[str]) -> list[str | None]:
        """Texts by content hash, in one round trip; None where it is gone or its content does not match its name."""
        wanted = list(digests)
        pipe = self._redis.pipeline(transaction=False)
        for digest in wanted:
            pipe.get(self._keys.text(digest))
        found = [None if raw is None else raw.decode() for raw in await pipe.execute()]
        return [text if text is not None and content_hash(text) == digest else None for digest, text in zip(wanted, found, strict=True)]
