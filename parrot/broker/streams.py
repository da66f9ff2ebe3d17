"""Streams: read several from a cursor, blocking; append messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.asyncio import Redis

from parrot.broker.connection import BLOCK_MS
from parrot.wire.codec import Message, encode

START = "0-0"  # before the first entry
FIRST = "0-1"  # the smallest id that an entry can have
READ_BYTES = 16 * 1024 * 1024  # of entries in one read, about: Redis itself bounds their number only


class Entry(NamedTuple):
    """One stream entry as Redis gave it."""

    stream: str
    id: str
    fields: dict[bytes, bytes]


class StreamReader:
    """Reads streams in order, each from where it stopped. What was written before it began is not missed.

    Plain XREAD with a cursor that the reader owns, not a consumer group: a stopped process that is blocked in XREADGROUP
    is still handed the next entry when its successor is already at work.

    After a read of more than `READ_BYTES` it asks for fewer entries, down to one, and for more again when they are smaller.

    Args:
        redis: a client; one blocking read at a time occupies one of its connections.
        cursors: by stream name, the id of the last entry that is done.
        count: most entries of one stream in a read.
        first: most entries of one stream in the first read, where they may be so large that all at once do not fit into memory.
    """

    def __init__(self, redis: Redis, cursors: dict[str, str], count: int = 512, first: int | None = None) -> None:
        self._redis = redis
        self._most = count
        self._count = min(count, first or count)
        self.cursors = cursors

    async def read(self, block_ms: int = BLOCK_MS) -> list[Entry]:
        """The next entries; blocks up to `block_ms` (at least 1) while there are none, and is empty if none came."""
        answer: Any = await self._redis.xread(self.cursors, count=self._count, block=max(1, min(block_ms, BLOCK_MS)))  # type: ignore[arg-type]
        entries: list[Entry] = []
        found = answer.items() if isinstance(answer, dict) else answer
        for raw_stream, raw_entries in found:
            stream = raw_stream.decode()
            # RESP3 nests the entries of a stream once more.
            rows = raw_entries[0] if raw_entries and isinstance(raw_entries[0], list) else raw_entries
            entries += [Entry(stream, raw_id.decode(), fields) for raw_id, fields in rows]
            if rows:
                self.cursors[stream] = entries[-1].id
        self._adapt(entries)
        return entries

    def _adapt(self, entries: list[Entry]) -> None:
        size = sum(len(name) + len(value) for entry in entries for name, value in entry.fields.items())
        if size > READ_BYTES:
            self._count = max(1, min(self._count, len(entries)) * READ_BYTES // size)
        elif 2 * size <= READ_BYTES and len(entries) >= self._count:  # there may be more, and they are small
            self._count = min(self._most, 2 * self._count)


async def append(redis: Redis, stream: str, messages: Iterable[Message], *, whole: bool = False) -> list[str]:
    """Append messages in order, in one round trip.

    Args:
        redis: a client.
        stream: its name.
        messages: whatever.
        whole: all or none; else a server that is nearly full may take some of them and raise all the same.

    Returns:
        The ids of the entries; once they are returned, the messages are as durable as the server makes them.
    """
    pipe = redis.pipeline(transaction=whole)
    for message in messages:
        pipe.xadd(stream, encode(message))  # type: ignore[arg-type]
    return [raw.decode() for raw in await pipe.execute()]


async def create_stream(redis: Redis, stream: str) -> None:
    """Make an empty stream, if there is none: who writes to it with NOMKSTREAM can tell a stream that was deleted."""
    pipe = redis.pipeline(transaction=True)
    pipe.xadd(stream, {"created": ""}, id=FIRST)
    pipe.xdel(stream, FIRST)
    await pipe.execute(raise_on_error=False)  # the only error is that the stream has had entries, so it is there already
