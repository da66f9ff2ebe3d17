"""The broker dies, hangs or is full: what was acknowledged stands, and everybody goes on when it is back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.scripts import script
from parrot.errors import BrokerUnavailable
from tests.fault.processes import LEASE, core, engine
from tests.fault.programs import KEYS, all_values, chain, check_left, engines, long_step, step, until_engines, until_state
from tests.fault.proxy import Point, wire
from tests.fault.servers import kill, signal_to

COMMANDS = {
    "an engine's publication": script("publish").digest,
    "a commit of ServeCore": script("commit").digest,
    "an app's submission": "SubmitCall",
}


async def attempts(redis: Redis, *variables: P.Variable) -> set[Any]:
    return {await redis.hget(KEYS.variable(variable.id), "attempt") for variable in variables}


async def test_a_broker_that_is_killed_in_the_middle_of_a_program_loses_nothing(
    mortal: EmbeddedServer, mortal_redis: Redis, tmp_path: Path
) -> None:
    with core(mortal.url, tmp_path / "core.log"), engine(mortal.url, tmp_path / "engine.log"):
        known = await until_engines(mortal_redis)
        async with P.AsyncSession(mortal.url) as session:
            made = chain(20)
            await until_state(mortal_redis, made[8].id, "generating")
            kill(mortal)
            mortal.start()
            assert all(await all_values(made))
        assert await engines(mortal_redis) == known
        assert await attempts(mortal_redis, *made) == {b"1"}
        await check_left(mortal_redis, (session.id, [variable.id for variable in made]))


async def test_a_broker_that_is_killed_while_nobody_works_is_found_again(
    mortal: EmbeddedServer, mortal_redis: Redis, tmp_path: Path
) -> None:
    with core(mortal.url, tmp_path / "core.log"), engine(mortal.url, tmp_path / "engine.log"):
        known = await until_engines(mortal_redis)
        kill(mortal)
        await asyncio.sleep(0.3)
        mortal.start()
        async with P.AsyncSession(mortal.url) as session:
            made = chain(3)
            assert all(await all_values(made))
        assert await engines(mortal_redis) == known
        await check_left(mortal_redis, (session.id, [variable.id for variable in made]))


@pytest.mark.parametrize("point", ["before it arrives", "after it was carried out"])
@pytest.mark.parametrize("whose", list(COMMANDS))
async def test_a_broker_that_is_killed_at_a_command_leaves_it_done_once(
    whose: str, point: Point, mortal: EmbeddedServer, mortal_redis: Redis, tmp_path: Path
) -> None:
    assert mortal.port is not None
    async with wire(mortal.port, lambda: kill(mortal)) as line:
        core_url = line.url if whose == "a commit of ServeCore" else mortal.url
        engine_url = line.url if whose == "an engine's publication" else mortal.url
        app_url = line.url if whose == "an app's submission" else mortal.url
        with core(core_url, tmp_path / "core.log"), engine(engine_url, tmp_path / "engine.log"):
            known = await until_engines(mortal_redis)
            async with P.AsyncSession(app_url) as session:
                made = chain(6)
                await until_state(mortal_redis, made[1].id, "ready")
                line.arm(COMMANDS[whose], point)
                made += chain(6)
                await asyncio.wait_for(line.was_cut.wait(), 10)
                await asyncio.to_thread(mortal.start)
                assert all(await all_values(made))
            assert await engines(mortal_redis) == known
            assert await attempts(mortal_redis, *made) == {b"1"}
            await check_left(mortal_redis, (session.id, [variable.id for variable in made]))


@pytest.mark.parametrize("how", ["is away", "hangs"])
async def test_no_engine_looks_dead_when_the_broker_is_silent_for_longer_than_their_lease(
    how: Literal["is away", "hangs"], mortal: EmbeddedServer, mortal_redis: Redis, tmp_path: Path
) -> None:
    with ExitStack() as running:
        running.enter_context(core(mortal.url, tmp_path / "core.log"))
        for number in range(3):
            running.enter_context(engine(mortal.url, tmp_path / f"engine-{number}.log"))
        known = await until_engines(mortal_redis, 3)
        async with P.AsyncSession(mortal.url) as session:
            made = chain(10)
            made.append(long_step(text=made[3]))
            await until_state(mortal_redis, made[3].id, "ready")
            if how == "is away":
                kill(mortal)
            else:
                signal_to(mortal, signal.SIGSTOP)
            await asyncio.sleep(2 * LEASE)
            if how == "is away":
                mortal.start()
            else:
                signal_to(mortal, signal.SIGCONT)
            assert all(await all_values(made))
        assert await engines(mortal_redis) == known
        assert await attempts(mortal_redis, *made) == {b"1"}
        await check_left(mortal_redis, (session.id, [variable.id for variable in made]))


async def test_a_full_broker_is_an_error_with_a_remedy_and_work_goes_on_when_there_is_room(
    mortal: EmbeddedServer, mortal_redis: Redis, tmp_path: Path
) -> None:
    with core(mortal.url, tmp_path / "core.log") as leader, engine(mortal.url, tmp_path / "engine.log") as worker:
        await until_engines(mortal_redis)
        async with P.AsyncSession(mortal.url) as session:
            made = chain(20)
            await until_state(mortal_redis, made[5].id, "generating")
            await mortal_redis.config_set("maxmemory", "1mb")
            refused = step(text="more")
            with pytest.raises(BrokerUnavailable, match=r"is full.*Give it more memory, or wait until results expire"):
                await refused.aget(timeout=10)
            async with asyncio.timeout(4 * LEASE):  # engines and ServeCore meet it too, once they have something to write
                while not (leader.said("is full") and worker.said("is full")):
                    await asyncio.sleep(0.1)
            assert leader.alive
            assert worker.alive
            await mortal_redis.config_set("maxmemory", "0")
            assert all(await all_values(made))
            made += chain(2)
            assert all(await all_values(made))
            with pytest.raises(BrokerUnavailable):
                await session.flush()  # it remembers that one submission was refused
        await check_left(mortal_redis, (session.id, [variable.id for variable in made]))
