"""Whole programs on the real bus: app, ServeCore and runner on a real server, with the simulated engine."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.engine_link import EngineLink
from parrot.config import Settings, load
from parrot.core.loop import serve
from parrot.engine.runner import Runner, new_engine_id
from parrot.engine.simulated import SimulatedEngine
from parrot.wire.keys import Keys
from tests.flow.silent import Silent

KEYS = Keys("main")


@P.semantic_function()
def start(text: P.Input, result: P.Output(P.SamplingConfig(temperature=0, max_gen_length=8))):
    """Begin with {{text}}: {{result}}"""


@P.semantic_function()
def join(left: P.Input, right: P.Input, result: P.Output(P.SamplingConfig(temperature=0, max_gen_length=8))):
    """Join {{left}} and {{right}}: {{result}}"""


@P.semantic_function()
def think(question: P.Input, thought: P.Output(P.SamplingConfig(max_gen_length=8)), answer: P.Output(P.SamplingConfig(max_gen_length=8))):
    """Q: {{question}} Thought: {{thought}} Answer: {{answer}}"""


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load(redis_url=redis_url, engine="simulated", simulated_speed=0.0, max_running=8)


@pytest.fixture
async def cell(settings: Settings) -> AsyncIterator[Settings]:
    """A running ServeCore and two engines."""
    async with asyncio.TaskGroup() as group:
        leading = asyncio.Event()
        core = group.create_task(serve(settings, leading.set))
        await leading.wait()
        engines = [group.create_task(run_engine(settings, f"sim-{i}")) for i in range(2)]
        yield settings
        for task in (*engines, core):
            task.cancel()


async def run_engine(settings: Settings, name: str) -> None:
    engine = SimulatedEngine(settings)
    await engine.start()
    link = EngineLink(settings.redis_url, Keys(settings.cell), new_engine_id(name))
    try:
        runner = Runner(engine, link, name=name, beat_seconds=0.5, checkpoint_seconds=0.05, drain_seconds=1.0, observer=Silent())
        await runner.run()
    finally:
        await link.aclose()
        await engine.stop()


async def test_a_program_of_200_calls_with_random_dependencies_gives_every_variable_its_value(cell: Settings, real_redis: Redis) -> None:
    chance = random.Random(7)
    async with P.AsyncSession(cell.redis_url, name="random") as session:
        made = [start(text=f"topic {i}") for i in range(10)]
        while len(made) < 198:
            made.append(join(left=chance.choice(made), right=chance.choice(made)))
        thought, answer = think(question=made[-1])
        values = [await variable.aget(timeout=30) for variable in (*made, thought, answer)]
    assert all(values)
    await until(real_redis, KEYS.active, gone=True)
    await until_closed(real_redis, session.id)
    assert await leftovers(real_redis) == expected_keys(session.id, [variable.id for variable in (*made, thought, answer)])


async def leftovers(redis: Redis) -> set[str]:
    """All keys but those of the engines, which come and go with their incarnations."""
    keys = {key.decode() async for key in redis.scan_iter(count=1000)}
    return {key for key in keys if not key.startswith(KEYS.engine("")) and not key.endswith(":jobs")}


def expected_keys(session: str, variables: list[str]) -> set[str]:
    """What the schema says is there after a program has ended and before its results expire."""
    calls = {variable.partition(".")[0] for variable in variables}
    permanent = {KEYS.tasks, KEYS.events, KEYS.core, KEYS.leader, KEYS.engines, KEYS.sessions, KEYS.learned}
    own = {KEYS.session(session), KEYS.calls(session), KEYS.variables(session), KEYS.news(session)}
    return permanent | own | {KEYS.call(call) for call in calls} | {KEYS.variable(variable) for variable in variables}


async def until(redis: Redis, key: str, gone: bool) -> None:
    async with asyncio.timeout(10):
        while bool(await redis.exists(key)) == gone:
            await asyncio.sleep(0.01)


async def until_closed(redis: Redis, session: str) -> None:
    async with asyncio.timeout(10):
        while await redis.hget(KEYS.session(session), "expires") is None:
            await asyncio.sleep(0.01)


async def test_results_of_a_session_expire_and_leave_no_key(settings: Settings, real_redis: Redis) -> None:
    short = settings.model_copy(update={"result_seconds": 1})
    async with asyncio.TaskGroup() as group:
        core = group.create_task(serve(short))
        engine = group.create_task(run_engine(short, "sim"))
        async with P.AsyncSession(short.redis_url) as session:
            assert await start(text="x")
        async with asyncio.timeout(10):
            while any(session.id in key for key in await leftovers(real_redis)) or await real_redis.zcard(KEYS.sessions):
                await asyncio.sleep(0.05)
        assert await leftovers(real_redis) == {KEYS.tasks, KEYS.events, KEYS.core, KEYS.leader, KEYS.engines, KEYS.learned}
        core.cancel()
        engine.cancel()


async def test_a_program_goes_on_when_servecore_is_replaced(settings: Settings) -> None:
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(run_engine(settings, "sim"))
        core = group.create_task(serve(settings))
        async with P.AsyncSession(settings.redis_url) as session:
            last = start(text="x")
            for _ in range(30):
                last = join(left=last, right=last)
            await session.flush()
            await asyncio.sleep(0.05)
            core.cancel()
            core = group.create_task(serve(settings))
            assert await last.aget(timeout=20)
        core.cancel()
        engine.cancel()


async def test_what_servecore_has_learned_is_known_to_its_successor(settings: Settings, real_redis: Redis) -> None:
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(run_engine(settings, "sim"))
        for times in (1, 2, 3):
            core = group.create_task(serve(settings))
            async with P.AsyncSession(settings.redis_url) as session:
                assert await start(text="x")
            await until_closed(real_redis, session.id)
            learned = {name.decode(): json.loads(text) for name, text in (await real_redis.hgetall(KEYS.learned)).items()}
            assert {name.partition(":")[0] for name in learned} == {"length", "speed"}
            assert learned["length:*"]["seen"] == pytest.approx(times, abs=0.1)
            core.cancel()
        engine.cancel()


async def test_an_entry_that_cannot_be_understood_is_dead_lettered_and_the_loop_goes_on(cell: Settings, real_redis: Redis) -> None:
    await real_redis.xadd(KEYS.tasks, {"v": "1", "kind": "SubmitCall", "body": "{not json"})
    await real_redis.xadd(KEYS.events, {"nothing": "known"})
    async with P.AsyncSession(cell.redis_url):
        assert await start(text="x")
    dead = [fields for _, fields in await real_redis.xrange(KEYS.dead)]
    assert {fields[b"stream"].decode() for fields in dead} == {KEYS.tasks, KEYS.events}
    assert {fields[b"code"] for fields in dead} == {b"message"}
