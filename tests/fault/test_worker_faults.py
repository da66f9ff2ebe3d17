"""Engine workers die, are stopped for longer than their lease, or drain: every value is right, every number of a stream comes once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.tokens import Part, Tokens
from tests.fault.faulty_worker import Point, run_draining_worker, run_faulty_worker
from tests.fault.processes import LEASE, Victim, core, engine, process, settings_of
from tests.fault.programs import (
    KEYS,
    all_values,
    chain,
    check_left,
    engines,
    long_step,
    until_engines,
    until_it_adds_up,
    until_led,
    until_state,
)
from tests.flow.waiting import until

RECOVERY = LEASE + 1.0  # seconds that it may take until what a dead engine held runs elsewhere


@pytest.fixture
async def led(redis_url: str, real_redis: Redis, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a cell with a ServeCore."""
    with core(redis_url, tmp_path / "core.log"):
        await until_led(real_redis)
        yield redis_url


async def field(redis: Redis, variable: str, name: str) -> str:
    raw: Any = await redis.hget(KEYS.variable(variable), name)
    return (raw or b"").decode()


async def until_elsewhere(redis: Redis, variable: str) -> float:
    """Wait until the second attempt at a variable runs; when that was, on the monotonic clock."""

    async def runs() -> bool:
        return [await field(redis, variable, name) for name in ("attempt", "state")] == ["2", "generating"]

    await until(runs)
    return time.monotonic()


async def until_parts(redis: Redis, variable: str, count: int = 3) -> None:
    async def are_there() -> bool:
        return bool(await redis.xlen(KEYS.tokens(variable)) >= count)

    await until(are_there)


async def parts_of(redis: Redis, variable: str) -> list[Part]:
    (parts,) = await Tokens(redis, KEYS).read([variable])
    return parts


def text_of(parts: list[Part]) -> str:
    resets = [place for place, part in enumerate(parts) if part.kind == "reset"]
    return "".join(part.text for part in parts[resets[-1] if resets else 0 :])


async def holder(redis: Redis, variable: str, *victims: Victim) -> tuple[Victim, list[Victim]]:
    """The process that holds a generation, and the others."""
    about: Any = await redis.hget(KEYS.engine(await field(redis, variable, "engine")), "about")
    pid = json.loads(about)["pid"]
    return next(one for one in victims if one.pid == pid), [one for one in victims if one.pid != pid]


async def undisturbed(start: str) -> P.Variable:
    """The same again in the current session, where nothing goes wrong now."""
    variable = long_step(text=start)
    await variable.aget(timeout=30)
    return variable


@asynccontextmanager
async def read_along(variable: P.Variable) -> AsyncIterator[list[P.Part]]:
    """The parts that a reader of the stream was given; at the end of the block all of them."""
    seen: list[P.Part] = []

    async def read() -> None:
        seen.extend([part async for part in variable.stream()])

    reading = asyncio.create_task(read())
    yield seen
    await asyncio.wait_for(reading, 20)


@pytest.mark.parametrize("point", get_args(Point))
async def test_a_worker_that_dies_at_work_loses_nothing_and_says_nothing_twice(
    point: Point, led: str, real_redis: Redis, tmp_path: Path
) -> None:
    slow = {"simulated_speed": 5, "checkpoint_seconds": 0.03}  # 8 tokens take a tenth of a second: time for checkpoints
    with process(run_faulty_worker, point, environment=settings_of(led, **slow), log=tmp_path / "dies.log") as worker:
        await until_engines(real_redis)
        async with P.AsyncSession(led) as session:
            made = [variable for number in range(2) for variable in chain(4, f"Chain {number}")]
            await worker.died()
            with engine(led, tmp_path / "next.log", **slow):
                values = await all_values(made)
                ids = [variable.id for variable in made]
                for variable, value in zip(ids, values, strict=True):
                    parts = await parts_of(real_redis, variable)
                    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
                    assert not parts or text_of(parts) == value
                async with P.AsyncSession(led) as other:
                    again = [variable for number in range(2) for variable in chain(4, f"Chain {number}")]
                    assert await all_values(again) == values, "the same as without the crash"
        await check_left(real_redis, (session.id, ids), (other.id, [variable.id for variable in again]))


async def test_what_a_killed_worker_was_generating_goes_on_elsewhere_from_its_last_checkpoint(
    led: str, real_redis: Redis, tmp_path: Path
) -> None:
    with engine(led, tmp_path / "a.log") as a, engine(led, tmp_path / "b.log") as b:
        await until_engines(real_redis, 2)
        async with P.AsyncSession(led) as session:
            variable = long_step(text="x")  # 400 tokens, 1.4 s
            async with read_along(variable) as seen:
                await until_parts(real_redis, variable.id)
                victim, _ = await holder(real_redis, variable.id, a, b)
                killed = victim.kill()
                before = await parts_of(real_redis, variable.id)
                took = await until_elsewhere(real_redis, variable.id) - killed
                value = await variable.aget(timeout=20)
            again = await undisturbed("x")
        print(f"recovery: {took:.2f} s")
        assert took < RECOVERY
        parts = await parts_of(real_redis, variable.id)
        assert parts[: len(before)] == before
        assert [part.number for part in parts] == [part.number for part in seen] == list(range(1, len(parts) + 1))
        assert not any(part.kind == "reset" for part in parts)
        assert "".join(part.text for part in seen) == text_of(parts) == value == await again.aget()
        assert await field(real_redis, variable.id, "tokens_out") == "400"
        assert len(await engines(real_redis)) == 1
        await check_left(real_redis, (session.id, [variable.id, again.id]))


async def test_an_idle_worker_that_is_killed_costs_its_lease(led: str, real_redis: Redis, tmp_path: Path) -> None:
    with engine(led, tmp_path / "a.log") as a, engine(led, tmp_path / "b.log"):
        known = await until_engines(real_redis, 2)
        a.kill()
        async with P.AsyncSession(led) as session:
            made = chain(6)
            assert all(await all_values(made))
        await until(lambda: _fewer(real_redis, known))
        await check_left(real_redis, (session.id, [variable.id for variable in made]))


async def _fewer(redis: Redis, known: set[str]) -> bool:
    return await engines(redis) < known


async def test_a_zombie_is_refused_and_comes_back_under_a_new_id_with_its_model(led: str, real_redis: Redis, tmp_path: Path) -> None:
    with engine(led, tmp_path / "a.log") as a, engine(led, tmp_path / "b.log") as b:
        known = await until_engines(real_redis, 2)
        async with P.AsyncSession(led) as session:
            variable = long_step(text="x")
            async with read_along(variable) as seen:
                await until_parts(real_redis, variable.id)
                zombie, _ = await holder(real_redis, variable.id, a, b)
                stopped = zombie.stop()
                took = await until_elsewhere(real_redis, variable.id) - stopped
                zombie.wake()
                value = await variable.aget(timeout=20)
            again = await undisturbed("x")
        assert took < RECOVERY
        assert value == await again.aget()
        assert [part.number for part in seen] == list(range(1, len(seen) + 1))
        assert "".join(part.text for part in seen) == value
        await until_engines(real_redis, 2)
        (back,) = await engines(real_redis) - known
        about: Any = await real_redis.hget(KEYS.engine(back), "about")
        assert json.loads(about)["pid"] == zombie.pid
        assert json.loads(about)["previous"] in known
        assert zombie.said("comes back under a new id") == 1
        assert await field(real_redis, variable.id, "deaths") == "", "it was a false alarm"
        await check_left(real_redis, (session.id, [variable.id, again.id]))


async def test_the_only_worker_of_a_cell_takes_up_its_own_work_again_after_a_stop(led: str, real_redis: Redis, tmp_path: Path) -> None:
    """In between its generations wait, still with its attempt: what it wrote then would be in nobody's way."""
    with engine(led, tmp_path / "a.log") as only:
        known = await until_engines(real_redis)
        async with P.AsyncSession(led) as session:
            made = [long_step(text="x"), *chain(3)]
            await until_parts(real_redis, made[0].id)
            only.stop()
            await until(lambda: _fewer(real_redis, known))
            only.wake()
            values = await all_values(made)
            again = await undisturbed("x")
        assert values[0] == await again.aget()
        parts = await parts_of(real_redis, made[0].id)
        assert [part.number for part in parts] == list(range(1, len(parts) + 1))
        assert text_of(parts) == values[0]
        await check_left(real_redis, (session.id, [variable.id for variable in (*made, again)]))


async def test_a_drained_worker_hands_back_what_it_has_written_down(led: str, real_redis: Redis, tmp_path: Path) -> None:
    with ExitStack() as running:
        environment = settings_of(led, drain_seconds=0.2)
        drains = running.enter_context(process(run_draining_worker, environment=environment, log=tmp_path / "drains.log"))
        await until_engines(real_redis)
        async with P.AsyncSession(led) as session:
            variable = long_step(text="x")
            async with read_along(variable) as seen:
                await until_parts(real_redis, variable.id)
                running.enter_context(engine(led, tmp_path / "next.log"))
                await until_engines(real_redis, 2)
                os.kill(drains.pid, signal.SIGTERM)
                asked = time.monotonic()
                took = await until_elsewhere(real_redis, variable.id) - asked
                value = await variable.aget(timeout=20)
            again = await undisturbed("x")
        assert took < RECOVERY
        assert await returned(real_redis) == [variable.id], "nobody waited for a lease"
        assert value == "".join(part.text for part in seen) == await again.aget()
        assert not any(part.reset for part in seen)
        assert len(await engines(real_redis)) == 1
        await check_left(real_redis, (session.id, [variable.id, again.id]))


async def returned(redis: Redis) -> list[str]:
    """The variables that engines have handed back."""
    entries: Any = await redis.xrange(KEYS.events)
    return [json.loads(fields[b"body"])["variable"] for _, fields in entries if fields[b"kind"] == b"GenerationReturned"]


async def test_a_cancelled_generation_leaves_the_engine_within_a_second(led: str, real_redis: Redis, tmp_path: Path) -> None:
    """At the speed of the real engine, where a step takes 70 ms."""
    with engine(led, tmp_path / "a.log", simulated_speed=1, max_running=4):
        (name,) = await until_engines(real_redis)
        async with P.AsyncSession(led):
            made = [long_step(text=f"x{number}") for number in range(4)]
            for variable in made:
                await until_state(real_redis, variable.id, "generating")
            await until(lambda: _load_is(real_redis, name, 4))
            for variable in made:
                variable.cancel()
            asked = time.monotonic()
            await until(lambda: _load_is(real_redis, name, 0))
            assert time.monotonic() - asked < 1.0
            assert float(await real_redis.hget(KEYS.engine(name), "kv_used") or 1) == 0.0  # type: ignore[misc]
            lengths = [await real_redis.xlen(KEYS.tokens(variable.id)) for variable in made]
            await asyncio.sleep(0.3)
            assert [await real_redis.xlen(KEYS.tokens(variable.id)) for variable in made] == lengths
            await until_it_adds_up(real_redis)


async def _load_is(redis: Redis, name: str, running: int) -> bool:
    raw: Any = await redis.hget(KEYS.engine(name), "running")
    return int(raw or -1) == running
