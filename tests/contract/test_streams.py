"""Streams: nothing is missed, and a blocked reader wakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis

from parrot.broker.streams import START, StreamReader, append
from parrot.wire.to_core import CloseSession, tasks


def closing(number: int) -> CloseSession:
    return CloseSession(session=f"s{number}")


async def test_what_was_written_before_the_reader_started_is_read_in_order(redis: Redis) -> None:
    await append(redis, "{a}:tasks", [closing(i) for i in range(5)])
    entries = await StreamReader(redis, {"{a}:tasks": START}).read(10)
    assert [tasks.decode(entry.fields) for entry in entries] == [closing(i) for i in range(5)]


async def test_a_second_read_goes_on_where_the_first_stopped(redis: Redis) -> None:
    reader = StreamReader(redis, {"{a}:tasks": START}, count=2)
    await append(redis, "{a}:tasks", [closing(i) for i in range(3)])
    assert [len(await reader.read(10)) for _ in range(2)] == [2, 1]
    assert await reader.read(10) == []


async def test_one_read_takes_from_several_streams(redis: Redis) -> None:
    await append(redis, "{a}:x", [closing(1)])
    await append(redis, "{a}:y", [closing(2)])
    entries = await StreamReader(redis, {"{a}:x": START, "{a}:y": START}).read(10)
    assert [entry.stream for entry in entries] == ["{a}:x", "{a}:y"]


async def test_a_blocked_reader_wakes_when_something_is_written(new_client: Callable[[], Redis]) -> None:
    reader = StreamReader(new_client(), {"{a}:tasks": START})
    reading = asyncio.create_task(reader.read(5_000))
    await asyncio.sleep(0.05)
    await append(new_client(), "{a}:tasks", [closing(1)])
    async with asyncio.timeout(2):
        assert len(await reading) == 1


async def test_ids_of_appended_messages_grow(redis: Redis) -> None:
    ids = await append(redis, "{a}:tasks", [closing(i) for i in range(3)])
    assert ids == sorted(set(ids))
