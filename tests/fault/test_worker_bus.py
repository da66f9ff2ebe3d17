"""Redis refuses, is full or is away: what cannot be fails alone, what can wait waits, and the engine is not taken for dead.

No ServeCore is there whose state could be checked in the end; the engine's own books are.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from parrot.broker import heartbeat
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.engine_link import EngineLink
from parrot.broker.heartbeat import Heartbeat
from parrot.config import load
from parrot.engine.runner import Runner
from parrot.engine.simulated import SimulatedEngine
from parrot.sampling import SamplingConfig
from parrot.wire.codec import encode
from parrot.wire.keys import Keys
from parrot.wire.to_core import EngineBeat
from parrot.wire.to_engine import Job, Piece
from tests.flow.silent import Silent
from tests.flow.waiting import until

KEYS, ENGINE = Keys("main"), "sim-1"
SAY = Piece("text", "Say")


@pytest.fixture
def checkpoint_seconds() -> float:
    return 0.02


@pytest.fixture
async def running(redis_url: str, real_redis: Redis, checkpoint_seconds: float) -> AsyncIterator[Runner]:
    """A runner that is up, on an engine that takes a while."""
    engine = SimulatedEngine(load(engine="simulated", simulated_speed=10.0))
    await engine.start()
    link = EngineLink(redis_url, KEYS, ENGINE)
    runner = Runner(engine, link, Silent(), name="sim", beat_seconds=0.1, checkpoint_seconds=checkpoint_seconds, drain_seconds=5.0)
    task = asyncio.create_task(runner.run())
    await until(lambda: real_redis.exists(KEYS.events))
    yield runner
    await real_redis.config_set("maxmemory", "0")
    runner.stop()
    await task
    await link.aclose()
    await engine.stop()
    engine.check()


class Core:
    """Places jobs, as ServeCore does."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._placed = 0

    async def place(self, *variables: str, prompt: Piece = SAY, length: int = 20) -> None:
        """One job for each variable, in one go."""
        pipe = self._redis.pipeline(transaction=True)
        for variable in variables:
            self._placed += 1
            if not await self._redis.exists(KEYS.variable(variable)):
                pipe.hset(KEYS.variable(variable), mapping={"state": "pending", "attempt": "1", "call": "c"})
            sampling = SamplingConfig(temperature=0, max_gen_length=length, ignore_tokenizer_eos=True)
            about = {"variable": variable, "attempt": 1, "session": "s", "call": "c", "function": "f", "output": "o"}
            job = Job.model_validate(about | {"prompt": [prompt], "sampling": sampling})
            pipe.xadd(KEYS.jobs(ENGINE), encode(job), id=f"1-{self._placed}")  # type: ignore[arg-type]
        await pipe.execute()

    async def until_ready(self, *variables: str) -> None:
        for variable in variables:
            await until(lambda name=variable: self._is(name, b"ready"))  # type: ignore[misc]

    async def _is(self, variable: str, state: bytes) -> bool:
        return bool(await self._redis.hget(KEYS.variable(variable), "state") == state)  # type: ignore[misc]

    async def failures(self) -> list[tuple[str, str]]:
        entries: Any = await self._redis.xrange(KEYS.events)
        bodies = [json.loads(fields[b"body"]) for _, fields in entries if fields[b"kind"] == b"GenerationFailed"]
        return [(body["variable"], body["code"]) for body in bodies]

    async def until_failed(self, variable: str) -> None:
        async def has_failed() -> bool:
            return (variable, "broker") in await self.failures()

        await until(has_failed)


@pytest.fixture
def core(real_redis: Redis) -> Core:
    return Core(real_redis)


async def test_a_claim_of_a_key_of_another_type_fails_and_its_neighbours_run(running: Runner, core: Core, real_redis: Redis) -> None:
    await real_redis.set(KEYS.variable("bad"), "no hash")
    await core.place("a", "bad", "b")
    await core.until_ready("a", "b")
    await core.until_failed("bad")
    assert await core.failures() == [("bad", "broker")]


async def test_an_input_of_another_type_fails_its_reader_alone(running: Runner, core: Core, real_redis: Redis) -> None:
    await real_redis.set(KEYS.variable("odd"), "no hash")
    await core.place("bad", prompt=Piece("variable", "odd"))
    await core.until_failed("bad")
    await core.place("a")
    await core.until_ready("a")


async def test_a_token_stream_of_another_type_fails_its_generation_alone(running: Runner, core: Core, real_redis: Redis) -> None:
    await real_redis.set(KEYS.tokens("bad"), "no stream")
    await core.place("a", "bad", "b")
    await core.until_ready("a", "b")
    await core.until_failed("bad")


@pytest.mark.parametrize("checkpoint_seconds", [1000.0])
async def test_a_publication_that_redis_refuses_fails_alone(running: Runner, core: Core, real_redis: Redis) -> None:
    await real_redis.hset(KEYS.variable("bad"), mapping={"state": "pending", "attempt": "1"})
    await core.place("a", "bad", "b", length=50)
    await until(lambda: core._is("bad", b"generating"))
    await real_redis.delete(KEYS.variable("bad"))
    await real_redis.set(KEYS.variable("bad"), "no hash")
    await core.until_ready("a", "b")
    await core.until_failed("bad")


async def test_a_full_redis_is_waited_for(running: Runner, core: Core, real_redis: Redis) -> None:
    await core.place("a", "b")
    await until(lambda: core._is("a", b"generating"))
    await real_redis.config_set("maxmemory-policy", "noeviction")
    await real_redis.config_set("maxmemory", "1")
    await asyncio.sleep(0.5)  # they end, and nobody takes their values
    assert not await core._is("a", b"ready")
    await real_redis.config_set("maxmemory", "0")
    await core.until_ready("a", "b")
    assert await core.failures() == []


# The heartbeat -----------------------------------------------------------------------------------


@pytest.fixture
async def link(redis_url: str, real_redis: Redis) -> AsyncIterator[EngineLink]:
    await real_redis.xadd(KEYS.jobs(ENGINE), {"a": "job"}, id="1-1")
    made = EngineLink(redis_url, KEYS, ENGINE)
    yield made
    await made.aclose()


async def beats(redis: Redis) -> int:
    return int(await redis.xlen(KEYS.events))


async def until_more(redis: Redis, than: int) -> None:
    async def more() -> bool:
        return await beats(redis) > than

    await until(more)


def think_hard(seconds: float) -> None:
    """Keep the loop busy."""
    time.sleep(seconds)


async def test_an_engine_whose_loop_is_busy_is_heard_all_the_same(link: EngineLink, real_redis: Redis) -> None:
    async with link.heartbeat(0.1) as heart:
        heart.tell(EngineBeat(engine=ENGINE))
        think_hard(1.0)
        assert await beats(real_redis) >= 4
        assert not heart.lost.is_set()


async def test_an_engine_whose_loop_hangs_falls_silent_and_is_heard_again_when_it_goes_on(
    link: EngineLink, real_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "STUCK", 0.3)
    async with link.heartbeat(0.1) as heart:
        heart.tell(EngineBeat(engine=ENGINE))
        think_hard(1.0)
        said = await beats(real_redis)
        assert said <= 4
        think_hard(0.5)
        assert await beats(real_redis) == said
        heart.tell(EngineBeat(engine=ENGINE))
        await until_more(real_redis, said)


async def test_an_engine_learns_that_it_was_given_up(link: EngineLink, real_redis: Redis) -> None:
    async with link.heartbeat(0.1) as heart:
        heart.tell(EngineBeat(engine=ENGINE))
        await until_more(real_redis, 0)
        await real_redis.delete(KEYS.jobs(ENGINE))
        heart.tell(EngineBeat(engine=ENGINE))
        await asyncio.wait_for(heart.lost.wait(), 5)


async def test_the_heart_goes_on_when_the_broker_is_back(mortal: EmbeddedServer, mortal_redis: Redis) -> None:
    await mortal_redis.xadd(KEYS.jobs(ENGINE), {"a": "job"}, id="1-1")
    link = EngineLink(mortal.url, KEYS, ENGINE)
    async with link.heartbeat(0.1) as heart:
        heart.tell(EngineBeat(engine=ENGINE))
        await until_more(mortal_redis, 0)
        await asyncio.to_thread(mortal.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(mortal.start)
        heart.tell(EngineBeat(engine=ENGINE, running=7))
        await until(lambda: _last_says(mortal_redis, 7))
        assert not heart.lost.is_set()
    await link.aclose()


async def _last_says(redis: Redis, running: int) -> bool:
    ((_, fields),) = await redis.xrevrange(KEYS.events, count=1)
    return bool(json.loads(fields[b"body"]).get("running") == running)


async def test_nothing_is_said_after_the_end(link: EngineLink, real_redis: Redis) -> None:
    heart: Heartbeat
    async with link.heartbeat(0.05) as heart:
        heart.tell(EngineBeat(engine=ENGINE))
    said = await beats(real_redis)
    await asyncio.sleep(0.3)
    assert await beats(real_redis) == said
