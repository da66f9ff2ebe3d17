"""Streams on a real server: parts are written by hand, as an engine would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.tokens import Part, Tokens
from parrot.broker.variables import Publication, Value, Variables
from parrot.wire.keys import Keys
from parrot.wire.to_core import GenerationDone
from parrot.wire.to_engine import Job
from tests.flow.cells import running
from tests.flow.waiting import until

KEYS = Keys("main")


@P.semantic_function
def tell(topic: P.Input, story: P.Output):
    """A story of {{topic}}: {{story}}"""


class Author:
    """Stands in for the engine of one variable."""

    def __init__(self, redis: Redis, variable: P.Variable) -> None:
        self._redis = redis
        self._key = KEYS.variable(variable.id)
        call = variable.id.rpartition(".")[0]
        self._job = Job(variable=variable.id, attempt=1, session=variable.session.id, call=call, function="tell", output="story", prompt=[])

    async def begin(self) -> None:
        """Claim the variable, once ServeCore has made it."""
        await until(lambda: self._redis.exists(self._key))
        await self._redis.hset(self._key, mapping={"attempt": "1", "state": "generating"})

    async def write(self, first: int, texts: Sequence[str]) -> None:
        """Append parts, the first of which has this number; a dash is a reset."""
        for number, text in enumerate(texts, first):
            part = Part(number, "", (), "reset") if text == "-" else Part(number, text, (number,))
            assert await Tokens(self._redis, KEYS).append([(self._job, part)]) == [True]

    async def finish(self, value: str) -> None:
        """Publish the value."""
        done = GenerationDone(engine="e", variable=self._job.variable, attempt=1)
        assert await Variables(self._redis, KEYS).publish([Publication(self._job, Value(value), "stop", done, "")]) == [True]


@pytest.fixture
async def cell(redis_url: str) -> AsyncIterator[str]:
    """A ServeCore without engines."""
    async with running(redis_url, engines=0):
        yield redis_url


async def read(variable: P.Variable, from_: int = 0) -> list[tuple[int, str]]:
    return [(part.number, part.text) async for part in variable.stream(from_, timeout=20)]


async def test_parts_are_read_as_they_are_written(cell: str, real_redis: Redis) -> None:
    async with P.AsyncSession(cell):
        story = tell("owls")
        author = Author(real_redis, story)
        stream = aiter(story.stream(timeout=20))
        first = asyncio.ensure_future(anext(stream))
        await author.begin()
        assert not first.done()
        await author.write(1, ["Once"])
        assert await first == P.Part(1, "Once")
        for number in range(2, 50):
            await author.write(number, [f" {number}"])
            assert await anext(stream) == P.Part(number, f" {number}")
        end = asyncio.ensure_future(anext(stream, None))
        await author.finish("Once" + "".join(f" {number}" for number in range(2, 50)))
        assert await end is None


async def test_a_thousand_parts_of_many_variables_come_once_and_in_order(cell: str, real_redis: Redis) -> None:
    """More streams than a client has connections."""
    async with P.AsyncSession(cell):
        stories = [tell(str(i)) for i in range(150)]
        authors = [Author(real_redis, story) for story in stories]
        readers = [asyncio.ensure_future(read(story)) for story in stories]
        for author in authors:
            await author.begin()
        for number in range(1, 8):
            for author in authors:
                await author.write(number, [str(number)])
        for author in authors:
            await author.finish("1234567")
        for reader in readers:
            assert await reader == [(number, str(number)) for number in range(1, 8)]


async def test_more_parts_than_a_page_are_read(cell: str, real_redis: Redis) -> None:
    async with P.AsyncSession(cell):
        story = tell("owls")
        author = Author(real_redis, story)
        await author.begin()
        await author.write(1, ["x"] * 1200)
        await author.finish("x" * 1200)
        assert await read(story) == [(number, "x") for number in range(1, 1201)]


async def test_another_process_goes_on_where_one_stopped(cell: str, real_redis: Redis) -> None:
    async with P.AsyncSession(cell, name="tale", detach=True) as session:
        story = tell("owls")
        author = Author(real_redis, story)
        await author.begin()
        await author.write(1, ["a", "b", "-", "c"])
        stream = aiter(story.stream(timeout=20))
        seen = [await anext(stream) for _ in range(2)]
    async with P.AsyncSession.attach("tale", cell) as there:
        found = await there.find(story.id)
        rest = asyncio.ensure_future(read(found, from_=seen[-1].number))
        await author.write(5, ["d"])
        await author.finish("cd")
        assert await rest == [(3, ""), (4, "c"), (5, "d")]
    assert session.id == there.id


async def test_a_reader_outlives_a_restart_of_the_broker(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        async with running(server.url, engines=0), P.AsyncSession(server.url), connect(server.url) as redis:
            story = tell("owls")
            author = Author(redis, story)
            reader = asyncio.ensure_future(read(story))
            await author.begin()
            await author.write(1, ["a"])
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.3)
            assert not reader.done()
            await asyncio.to_thread(server.start)
            await author.write(2, ["b"])
            await author.finish("ab")
            assert await reader == [(1, "a"), (2, "b")]


async def test_a_cancelled_stream_ends_after_its_parts(cell: str, real_redis: Redis) -> None:
    async with P.AsyncSession(cell):
        story = tell("owls")
        author = Author(real_redis, story)
        await author.begin()
        await author.write(1, ["a"])
        stream = aiter(story.stream(timeout=20))
        assert await anext(stream) == P.Part(1, "a")
        story.cancel()
        with pytest.raises(P.Cancelled):
            await anext(stream)


async def test_what_an_engine_streams_adds_up_to_the_value(redis_url: str) -> None:
    async with running(redis_url, simulated_speed=5.0), P.AsyncSession(redis_url) as session:
        story = tell("owls")
        parts = await read(story)
        assert [number for number, _ in parts] == list(range(1, len(parts) + 1))
        assert "".join(text for _, text in parts) == await story
        assert await read(session.variable("given")) == [(1, "given")]


async def test_a_synchronous_program_reads_a_stream(cell: str, real_redis: Redis) -> None:
    def program() -> list[str]:
        with P.Session(cell) as session:
            story = tell("owls", call_id="tale")
            ids.append(session.id)
        return [str(part) for part in story.stream(timeout=20)]

    ids: list[str] = []
    reading = asyncio.ensure_future(asyncio.to_thread(program))
    await until(lambda: real_redis.exists(KEYS.variables(ids[0])) if ids else asyncio.sleep(0))
    async with P.AsyncSession.attach(ids[0], cell) as session:
        author = Author(real_redis, await session.find("tale.story"))
        await author.begin()
        for number, text in enumerate("abc", 1):
            await author.write(number, [text])
            await asyncio.sleep(0.05)
        await author.finish("abc")
    assert await reading == ["a", "b", "c"]
