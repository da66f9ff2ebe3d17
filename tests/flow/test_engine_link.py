"""An engine's end of the bus on a real server, which goes away and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.engine_link import EngineLink
from parrot.config import load
from parrot.engine.runner import LeaseError, Runner
from parrot.engine.simulated import SimulatedEngine
from parrot.sampling import SamplingConfig
from parrot.wire.codec import Message, encode
from parrot.wire.keys import Keys
from parrot.wire.to_engine import Job, Mark, Piece, TellHoldings
from tests.flow.silent import Silent
from tests.flow.waiting import until

KEYS, ENGINE = Keys("main"), "sim-1"


def runner_on(url: str, *, speed: float = 0.0) -> tuple[Runner, EngineLink, SimulatedEngine]:
    engine = SimulatedEngine(load(engine="simulated", simulated_speed=speed))
    link = EngineLink(url, KEYS, ENGINE)
    return Runner(engine, link, Silent(), name="sim", beat_seconds=0.2, checkpoint_seconds=0.05, drain_seconds=5.0), link, engine


@pytest.fixture
async def running(redis_url: str) -> AsyncIterator[asyncio.Task[None]]:
    """A runner that is up, and drained in the end."""
    runner, link, engine = runner_on(redis_url)
    task = asyncio.create_task(runner.run())
    async with connect(redis_url) as redis:
        await until_up(redis)
    yield task
    runner.stop()
    await asyncio.wait([task])
    await link.aclose()
    await engine.stop()


async def until_up(redis: Redis) -> None:
    await until(lambda: redis.exists(KEYS.events))


async def place(redis: Redis, number: int, text: str = "", marks: Sequence[Mark] = ()) -> None:
    """What ServeCore does: a pending variable, and a job on the engine's stream if that is there."""
    variable = f"v{number}"
    await redis.hset(KEYS.variable(variable), mapping={"state": "pending", "attempt": "1", "call": "c"})
    sampling = SamplingConfig(temperature=0, max_gen_length=8)
    prompt = [Piece("text", text or f"Number {number}")]
    about = {"variable": variable, "attempt": 1, "session": "s", "call": "c", "function": "f", "output": "o"}
    await order(redis, number, Job.model_validate({**about, "prompt": prompt, "sampling": sampling, "marks": marks}))


async def order(redis: Redis, number: int, message: Message) -> None:
    await redis.xadd(KEYS.jobs(ENGINE), encode(message), id=f"1-{number}", nomkstream=True)  # type: ignore[arg-type]


async def until_ready(redis: Redis, number: int) -> None:
    async def is_ready() -> bool:
        return bool(await redis.hget(KEYS.variable(f"v{number}"), "state") == b"ready")

    await until(is_ready)


async def events(redis: Redis) -> list[tuple[str, dict[str, object]]]:
    entries: Any = await redis.xrange(KEYS.events)
    return [(fields[b"kind"].decode(), json.loads(fields[b"body"])) for _, fields in entries]


async def test_the_job_stream_is_there_before_the_engine_is_announced(running: asyncio.Task[None], real_redis: Redis) -> None:
    assert await real_redis.type(KEYS.jobs(ENGINE)) == b"stream"
    assert await real_redis.xlen(KEYS.jobs(ENGINE)) == 0
    await place(real_redis, 1)
    await until_ready(real_redis, 1)


async def test_what_was_read_is_trimmed(running: asyncio.Task[None], real_redis: Redis) -> None:
    await place(real_redis, 1)
    await until_ready(real_redis, 1)

    async def is_empty() -> bool:
        return await real_redis.xlen(KEYS.jobs(ENGINE)) == 0

    await until(is_empty)


async def test_an_entry_that_is_no_job_lies_among_the_dead_letters(running: asyncio.Task[None], real_redis: Redis) -> None:
    await real_redis.xadd(KEYS.jobs(ENGINE), {"v": "9", "kind": "Job", "body": "{}"}, id="1-1")
    await place(real_redis, 2)
    await until_ready(real_redis, 2)
    letters: Any = await real_redis.xrange(KEYS.dead)
    ((_, letter),) = letters
    assert (letter[b"stream"], letter[b"id"], letter[b"code"]) == (KEYS.jobs(ENGINE).encode(), b"1-1", b"version")
    assert json.loads(letter[b"entry"]) == {"v": "9", "kind": "Job", "body": "{}"}


async def test_servecore_learns_which_beginnings_the_cache_holds(running: asyncio.Task[None], real_redis: Redis) -> None:
    text = "So begins many a prompt. " * 100  # 625 tokens of this engine
    await place(real_redis, 1, text, [Mark(0, 1300, 77), Mark(1, 0, 78), Mark(2, 0, 79)])
    await until_ready(real_redis, 1)

    async def holdings() -> list[dict[str, object]]:
        return [body for kind, body in await events(real_redis) if kind == "EngineHolds"]

    await until(holdings)
    (report,) = await holdings()
    report["stored"] = sorted(report["stored"])  # type: ignore[call-overload]
    assert report == {"engine": ENGINE, "sequence": 1, "stored": [[77, 320], [78, 608], [79, 608]], "removed": []}
    await order(real_redis, 2, TellHoldings())

    async def told() -> bool:
        return len(await holdings()) == 2

    await until(told)
    whole = (await holdings())[1]
    assert (whole["sequence"], whole["whole"], len(whole["stored"])) == (2, True, 3)  # type: ignore[arg-type]


async def test_an_engine_that_was_given_up_ends_at_its_next_beat(running: asyncio.Task[None], real_redis: Redis) -> None:
    await real_redis.delete(KEYS.jobs(ENGINE))
    with pytest.raises(LeaseError, match=ENGINE):
        await asyncio.wait_for(running, 5)


async def test_a_drained_engine_leaves_no_job_stream(redis_url: str, real_redis: Redis) -> None:
    runner, link, _ = runner_on(redis_url)
    task = asyncio.create_task(runner.run())
    await until_up(real_redis)
    runner.stop()
    await task
    await link.aclose()
    assert await real_redis.keys() == [KEYS.events.encode()]
    assert (await events(real_redis))[-1] == ("EngineDown", {"engine": ENGINE, "reason": "drained", "died": False})


async def test_nothing_is_lost_or_said_twice_when_the_broker_dies_and_comes_back(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, options={"appendfsync": "always"}) as server:
        runner, link, engine = runner_on(server.url, speed=30.0)
        await engine.start()
        task = asyncio.create_task(runner.run())
        async with connect(server.url) as redis:
            await until_up(redis)
            for number in range(20):
                await place(redis, number)
            await asyncio.sleep(0.05)  # they run
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.5)  # they end, and nobody can be told
            assert not task.done()
            await asyncio.to_thread(server.start)
            for number in range(20, 40):
                await place(redis, number)
            for number in range(40):
                await until_ready(redis, number)
            runner.stop()
            await task
            done = [body["variable"] for kind, body in await events(redis) if kind == "GenerationDone"]
        await link.aclose()
        await engine.stop()
        assert sorted(map(str, done)) == sorted(f"v{number}" for number in range(40))
