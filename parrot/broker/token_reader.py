"""Token streams as apps read them: from any number on, and woken when there is more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from parrot.broker.streams import Entry, StreamReader
from parrot.broker.tokens import Part, part_of
from parrot.wire.keys import Keys

PAGE = 512  # parts in one read


class TokenReader:
    """Reads the token streams of one cell.

    Args:
        redis: a client; a blocking read occupies one of its connections.
        keys: the cell's names.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def after(self, variable: str, number: int) -> list[Part]:
        """The parts that follow a number, at most a page of them; empty if none is there (yet)."""
        rows: Any = await self._redis.xrange(self._keys.tokens(variable), min=f"({number}-0", count=PAGE)
        return [part_of(Entry("", raw.decode(), fields)) for raw, fields in rows]

    async def growth(self, known: Mapping[str, int]) -> dict[str, int]:
        """Block until a stream grows.

        Args:
            known: by variable, the number of the last part that is known.

        Returns:
            By variable, the number of a later part; empty if none came for a while.
        """
        by_key = {self._keys.tokens(variable): variable for variable in known}
        entries = await StreamReader(self._redis, {self._keys.tokens(v): f"{number}-0" for v, number in known.items()}, PAGE).read()
        return {by_key[entry.stream]: part_of(entry).number for entry in entries}
