"""Token streams as apps read them: from any number on, woken when there is more."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from parrot.broker.token_reader import PAGE, TokenReader
from parrot.broker.tokens import Part, Tokens
from parrot.wire.keys import Keys
from parrot.wire.to_engine import Job

KEYS = Keys("test")


@pytest.fixture
async def reader(redis: Redis) -> TokenReader:
    await write(redis, "a.x", range(1, 4))
    return TokenReader(redis, KEYS)


async def write(redis: Redis, variable: str, numbers: range) -> None:
    await redis.hset(KEYS.variable(variable), mapping={"state": "generating", "attempt": "1"})
    job = Job(variable=variable, attempt=1, session="s", call="a", function="f", output="x", prompt=[])
    assert all(await Tokens(redis, KEYS).append([(job, Part(number, str(number), (number,))) for number in numbers]))


async def test_parts_are_read_from_any_number_on(reader: TokenReader) -> None:
    assert [part.text for part in await reader.after("a.x", 0)] == ["1", "2", "3"]
    assert [part.number for part in await reader.after("a.x", 2)] == [3]
    assert await reader.after("a.x", 3) == await reader.after("none", 0) == []


async def test_a_long_stream_comes_in_pages(reader: TokenReader, redis: Redis) -> None:
    await write(redis, "b.x", range(1, PAGE + 3))
    assert [len(await reader.after("b.x", number)) for number in (0, PAGE)] == [PAGE, 2]


async def test_growth_is_told_by_variable(reader: TokenReader, redis: Redis) -> None:
    assert await reader.growth({"a.x": 1, "b.x": 0}) == {"a.x": 3}
    growing = asyncio.ensure_future(reader.growth({"a.x": 3, "b.x": 0}))
    await asyncio.sleep(0.02)
    await write(redis, "b.x", range(1, 2))
    assert await growing == {"b.x": 1}
