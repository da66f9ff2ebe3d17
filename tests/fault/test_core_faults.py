"""ServeCore dies, or is stopped for longer than its lease: nothing is lost, nothing happens twice, and a standby leads soon."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.connection import connect
from tests.fault.faulty_core import Point, run_faulty_core
from tests.fault.processes import LEASE, Victim, core, engine, process, settings_of
from tests.fault.programs import all_values, chain, check_left, epoch, long_step, until_engines, until_led, until_state
from tests.flow.waiting import until

BUSY = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others use this machine too: everything takes so much longer
TAKEOVER = LEASE + 1.0 * BUSY  # seconds that a takeover may take

POINTS: list[Point] = ["before commit", "after commit", "after dispatch"]


async def seconds_until_led(redis: Redis, by_epoch: int, since: float) -> float:
    """Seconds from a moment until that leader has written something."""
    batches = await redis.hget("parrot:{main}:core", "batches")

    async def writes() -> bool:
        return await epoch(redis) >= by_epoch and await redis.hget("parrot:{main}:core", "batches") != batches

    await until(writes)
    return time.monotonic() - since


@pytest.mark.parametrize("standby", [True, False], ids=["with a standby", "started again"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_leader_that_dies_at_work_loses_nothing(
    point: Point, standby: bool, redis_url: str, real_redis: Redis, tmp_path: Path
) -> None:
    with ExitStack() as running:
        leader = running.enter_context(process(run_faulty_core, point, environment=settings_of(redis_url), log=tmp_path / "leader.log"))
        running.enter_context(engine(redis_url, tmp_path / "engine.log"))
        await until_led(real_redis)
        if standby:
            running.enter_context(core(redis_url, tmp_path / "standby.log"))
        await until_engines(real_redis)
        async with P.AsyncSession(redis_url) as session:
            made = chain(12)
            died = await leader.died()
            if not standby:
                running.enter_context(core(redis_url, tmp_path / "next.log"))
            took = await seconds_until_led(real_redis, 2, died)
            assert all(await all_values(made))
        assert took < TAKEOVER
        await check_left(real_redis, (session.id, [variable.id for variable in made]))


async def test_a_leader_that_dies_while_an_engine_generates_is_not_missed_by_it(redis_url: str, real_redis: Redis, tmp_path: Path) -> None:
    """The engine publishes while nobody leads; the value waits in the stream for the next leader."""
    with (
        core(redis_url, tmp_path / "leader.log") as leader,
        engine(redis_url, tmp_path / "engine.log", simulated_speed=100),
    ):
        await until_led(real_redis)
        await until_engines(real_redis)
        with core(redis_url, tmp_path / "standby.log"):
            async with P.AsyncSession(redis_url) as session:
                first = long_step(text="x")  # a third of a second
                second = long_step(text=first)
                await until_state(real_redis, first.id, "generating")
                died = leader.kill()
                await until_state(real_redis, first.id, "ready")
                took = await seconds_until_led(real_redis, 2, died)
                assert all(await all_values([first, second]))
            assert took < TAKEOVER
            assert await real_redis.hget(f"parrot:{{main}}:var:{first.id}", "attempt") == b"1"
            await check_left(real_redis, (session.id, [first.id, second.id]))


async def test_an_idle_leader_that_dies_is_replaced_before_anybody_asks(redis_url: str, real_redis: Redis, tmp_path: Path) -> None:
    with core(redis_url, tmp_path / "leader.log") as leader, engine(redis_url, tmp_path / "engine.log"):
        await until_led(real_redis)
        with core(redis_url, tmp_path / "standby.log") as standby:
            known = await until_engines(real_redis)
            await until_said(standby, "standing by")
            took = await seconds_until_led(real_redis, 2, leader.kill())
            assert took < TAKEOVER
            async with P.AsyncSession(redis_url) as session:
                made = chain(3)
                assert all(await all_values(made))
            assert await until_engines(real_redis) == known
            await check_left(real_redis, (session.id, [variable.id for variable in made]))


async def until_said(victim: Victim, words: str, times: int = 1) -> None:
    async def said() -> bool:
        return victim.said(words) >= times

    await until(said)


async def test_a_leader_that_was_stopped_for_longer_than_its_lease_writes_nothing_and_stands_by(
    redis_url: str, real_redis: Redis, tmp_path: Path
) -> None:
    with core(redis_url, tmp_path / "old.log") as old, engine(redis_url, tmp_path / "engine.log"):
        await until_led(real_redis)
        with core(redis_url, tmp_path / "new.log") as new:
            await until_engines(real_redis)
            async with commits(redis_url) as seen, P.AsyncSession(redis_url) as session:
                made = chain(30)
                await until_state(real_redis, made[3].id, "ready")
                stopped = old.stop()
                took = await seconds_until_led(real_redis, 2, stopped)
                old.wake()
                await until_said(old, "superseded")
                await until_said(old, "standing by")
                assert all(await all_values(made))
            assert took < TAKEOVER
            assert sorted(seen) == seen, "a commit of an old leader came after one of its successor"
            assert set(seen) == {1, 2}
            # It stands by indeed: when the new one dies, the old one leads again.
            await seconds_until_led(real_redis, 3, new.kill())
            async with P.AsyncSession(redis_url) as another:
                more = chain(3)
                assert all(await all_values(more))
            ours = [(one.id, [variable.id for variable in its]) for one, its in ((session, made), (another, more))]
            await check_left(real_redis, *ours)


async def test_of_three_that_are_stopped_and_woken_in_turn_only_the_newest_leader_ever_commits(
    redis_url: str, real_redis: Redis, tmp_path: Path
) -> None:
    with ExitStack() as running:
        cores = [running.enter_context(core(redis_url, tmp_path / f"core-{number}.log", lease_seconds=0.3)) for number in range(3)]
        running.enter_context(engine(redis_url, tmp_path / "engine.log", lease_seconds=0.3))
        await until_engines(real_redis)
        async with commits(redis_url) as seen, P.AsyncSession(redis_url) as session:
            made = [variable for number in range(4) for variable in chain(60, f"Chain {number}")]
            for turn in range(6):
                victim = cores[turn % 3]
                victim.stop()
                await asyncio.sleep(0.4)
                victim.wake()
            assert all(await all_values(made))
        assert sorted(seen) == seen, "a commit of an old leader came after one of its successor"
        assert len(set(seen)) > 1
        await check_left(real_redis, (session.id, [variable.id for variable in made]))


@asynccontextmanager
async def commits(url: str) -> AsyncIterator[list[int]]:
    """The epochs of the commits that are written while the block runs, in the order in which the server wrote them."""
    seen: list[int] = []
    asked = re.compile(r"^(?:EVALSHA|EVAL) .* 1 parrot:\{main\}:core (\d+) ", re.DOTALL)

    async def watch(monitor: Any) -> None:
        epoch = 0
        async for command in monitor.listen():
            said = command["command"]
            if found := asked.match(said):
                epoch = int(found[1])
            elif command["client_type"] == "lua" and said.startswith("HSET parrot:{main}:core tasks "):
                seen.append(epoch)

    async with connect(url) as redis, redis.monitor() as monitor:
        watching = asyncio.create_task(watch(monitor))
        try:
            yield seen
            await asyncio.sleep(0.1)
            assert not watching.done(), watching.exception()
        finally:
            watching.cancel()
            await asyncio.wait([watching])
