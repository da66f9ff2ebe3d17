"""Streams: nothing is missed, and a blocked reader wakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from parrot.broker import streams
from parrot.broker.streams import START, Entry, StreamReader, append
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


async def test_fewer_entries_are_asked_for_while_they_are_large_and_none_is_missed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "READ_BYTES", 1_000)
    sizes = [*[400] * 20, *[1_200] * 3, *[10] * 100]
    ids = [(await redis.xadd("{a}:s", {"x": "x" * size})).decode() for size in sizes]
    reader = StreamReader(redis, {"{a}:s": START}, count=16, first=8)
    reads: list[list[Entry]] = []
    while entries := await reader.read(1):
        reads.append(entries)
    assert [entry.id for entries in reads for entry in entries] == ids
    assert [len(entries) for entries in reads] == [8, 2, 2, 2, 2, 2, 2, 2, 1, 1, 2, 4, 8, 16, 16, 16, 16, 16, 5]


async def test_large_entries_are_read_one_by_one(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "READ_BYTES", 1_000)
    for stream in ("{a}:x", "{a}:y"):
        for _ in range(3):
            await redis.xadd(stream, {"x": "x" * 1_200})
    reader = StreamReader(redis, {"{a}:x": START, "{a}:y": START}, count=2)
    assert [len(await reader.read(1)) for _ in range(3)] == [4, 2, 0]


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
