"""The broker loses power, and with it the end of what it was told: what is left goes on, and no call is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from tests.fault.processes import Victim, core, engine
from tests.fault.programs import (
    KEYS,
    PATIENCE,
    chain,
    check_left,
    engines,
    long_step,
    long_tale,
    step,
    until_engines,
    until_it_adds_up,
    until_state,
)
from tests.fault.servers import journal, lose_power, written_before
from tests.flow.waiting import until


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_a_power_loss_takes_what_was_not_synced_and_nothing_else(appendfsync: str, tmp_path: Path) -> None:
    """A SIGKILL leaves what the system has in memory; a power loss does not, so the end of the journal is cut off.

    With `always` an answer is given after the sync, so that only what nobody was told of can be lost. With `everysec` it is up to a second.
    """
    with EmbeddedServer(tmp_path / "broker", options={"appendfsync": appendfsync}) as server:
        async with connect(server.url) as redis:
            async with P.AsyncSession(server.url) as session:
                early = [step(text=f"early {number}") for number in range(5)]
                await session.flush()
                synced = journal(server).stat().st_size
                late = [step(text=f"late {number}") for number in range(5)]
                await session.flush()
                if appendfsync == "always":
                    synced = journal(server).stat().st_size
            lose_power(server, synced, torn=b"*4\r\n$4\r\nXADD\r\n$1")
            await asyncio.to_thread(server.start)
            tasks: Any = await redis.xrange(KEYS.tasks)
            submitted = [fields for _, fields in tasks if fields[b"kind"] == b"SubmitCall"]
            assert len(submitted) == (10 if appendfsync == "always" else 5)
            with core(server.url, tmp_path / "core.log"), engine(server.url, tmp_path / "engine.log"):
                for variable in early if appendfsync == "everysec" else [*early, *late]:
                    await until_state(redis, variable.id, "ready")
                await until_it_adds_up(redis)


@asynccontextmanager
async def whole(tmp_path: Path, **of_engine: object) -> AsyncIterator[EmbeddedServer]:
    """A cell that nobody stops but for its server."""
    with (
        EmbeddedServer(tmp_path / "broker") as server,
        core(server.url, tmp_path / "core.log"),
        engine(server.url, tmp_path / "engine.log", **of_engine),
    ):
        async with connect(server.url) as redis:
            await until_engines(redis)
        yield server


async def test_a_cell_that_lost_its_last_second_works_on(tmp_path: Path) -> None:
    """Engines and ServeCore remember more than the broker does: jobs that were read, values that were published."""
    async with whole(tmp_path) as server, connect(server.url) as redis:
        async with P.AsyncSession(server.url) as session:
            made = chain(20)
            await until_state(redis, made[5].id, "ready")
            synced = journal(server).stat().st_size
            await until_state(redis, made[12].id, "ready")
            lose_power(server, synced)
            await asyncio.to_thread(server.start)
            for variable in made:
                await until_state(redis, variable.id, "ready")
        await check_left(redis, (session.id, [variable.id for variable in made]))


async def test_a_cell_that_lost_power_with_its_servecore_works_on(tmp_path: Path) -> None:
    """The new ServeCore remembers nothing that could show that something is missing, but engines do."""
    with ExitStack() as running:
        server = running.enter_context(EmbeddedServer(tmp_path / "broker"))
        leader = running.enter_context(core(server.url, tmp_path / "core.log"))
        running.enter_context(engine(server.url, tmp_path / "engine.log"))
        async with connect(server.url) as redis:
            known = await until_engines(redis)
            async with P.AsyncSession(server.url) as session:
                made = chain(20)
                await until_state(redis, made[5].id, "ready")
                synced = journal(server).stat().st_size
                await until_state(redis, made[12].id, "ready")
                leader.kill()
                lose_power(server, synced)
                await asyncio.to_thread(server.start)
                successor = running.enter_context(core(server.url, tmp_path / "next.log"))
                for variable in made:
                    await until_state(redis, variable.id, "ready")
                assert successor.said("may have lost what it had acknowledged") == 1
                assert not await engines(redis) & known
            await check_left(redis, (session.id, [variable.id for variable in made]))


async def test_a_reader_of_parts_that_were_lost_ends_with_the_value(tmp_path: Path) -> None:
    """They are made anew, and differ; the reader was ahead of what is left."""
    async with whole(tmp_path, simulated_speed=1) as server, P.AsyncSession(server.url):
        made = long_tale(text="It")
        read: list[P.Part] = []

        async def reading() -> None:
            async for part in made.stream(timeout=PATIENCE):
                read.append(part)  # noqa: PERF401 - who looks at it meanwhile sees it grow

        async def has_read(many: int) -> bool:
            return len(read) >= many

        reader = asyncio.create_task(reading())
        await until(partial(has_read, 4))
        synced = journal(server).stat().st_size
        await until(partial(has_read, 12))
        lose_power(server, synced)
        await asyncio.to_thread(server.start)
        await reader
        begun = max((place for place, part in enumerate(read) if part.reset), default=0)
        assert "".join(map(str, read[begun:])) == await made.aget(timeout=PATIENCE)


async def test_whoever_waits_for_what_a_lost_submission_would_have_made_is_told_so(tmp_path: Path) -> None:
    """Nobody else says anything in this cell, and the server is back so soon that the app sees nothing of it."""
    async with whole(tmp_path) as server, P.AsyncSession(server.url) as session:
        early = step(text="early")
        await early.aget(timeout=PATIENCE)
        await asyncio.sleep(1)  # until all that was written of it is said
        synced = journal(server).stat().st_size
        late = step(text="late")
        waiting = asyncio.create_task(late.aget())
        await session.flush()
        lose_power(server, synced)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(P.VariableError, match="Redis has lost what was submitted"):
                await waiting
        assert await early.aget(timeout=PATIENCE)
        assert await step(text="again").aget(timeout=PATIENCE)


# Between two batches of ServeCore -----------------------------------------------------------------
#
# Nothing is missing of what ServeCore knows. What is missing was said by engines, which had their answer, or to them.

PATIENT = {"lease_seconds": 10}  # so that no engine is given up while it is stopped


class Parts(NamedTuple):
    """A cell whose parts can be stopped one by one."""

    server: EmbeddedServer
    redis: Redis
    core: Victim
    engine: Victim


@asynccontextmanager
async def cell(tmp_path: Path, **of_engine: object) -> AsyncIterator[Parts]:
    """One engine, which is still the same in the end: it was not given up, which would heal everything too."""
    with ExitStack() as running:
        server = running.enter_context(EmbeddedServer(tmp_path / "broker"))
        leader = running.enter_context(core(server.url, tmp_path / "core.log", **PATIENT))
        worker = running.enter_context(engine(server.url, tmp_path / "engine.log", **PATIENT, **of_engine))
        async with connect(server.url) as redis:
            known = await until_engines(redis)
            yield Parts(server, redis, leader, worker)
            assert await engines(redis) == known


async def standstill(victim: Victim, server: EmbeddedServer) -> int:
    """Stop a process; how much has been written once what it had sent has arrived."""
    victim.stop()
    await asyncio.sleep(0.005)
    return journal(server).stat().st_size


async def until_sent(redis: Redis, variable: P.Variable) -> None:
    """Wait until the one engine was sent the job."""
    await until_state(redis, variable.id, "pending")
    (name,) = await engines(redis)

    async def is_there() -> bool:
        return bool(await redis.xlen(KEYS.jobs(name)))

    await until(is_there)


async def said(redis: Redis, variable: P.Variable) -> dict[str, str]:
    """The record of a variable."""
    record: Any = await redis.hgetall(KEYS.variable(variable.id))
    return {name.decode(): value.decode(errors="replace") for name, value in record.items()}


@pytest.mark.parametrize("beat", [0.2, 2.0], ids=["after a beat that was read before it", "after it was sent to ServeCore"])
async def test_a_publication_that_was_lost_is_made_again(beat: float, tmp_path: Path) -> None:
    """ServeCore is stopped meanwhile; what waits for it to be read is no more true when it goes on."""
    async with cell(tmp_path, simulated_speed=2, beat_seconds=beat) as parts:
        async with P.AsyncSession(parts.server.url) as session:
            made = chain(3)
            await until_state(parts.redis, made[1].id, "generating")
            synced = await standstill(parts.core, parts.server)
            await until_state(parts.redis, made[1].id, "ready")
            lose_power(parts.server, synced)
            await asyncio.to_thread(parts.server.start)
            assert (await said(parts.redis, made[1]))["state"] == "generating"
            parts.core.wake()
            for variable in made:
                await until_state(parts.redis, variable.id, "ready")
            record = await said(parts.redis, made[1])
            assert record["attempt"] == "2"
            assert "what became of it was lost" in record["why"]
            assert not any(record.get(name, "0").strip("0") for name in ("errors", "deaths"))
        await check_left(parts.redis, (session.id, [variable.id for variable in made]))


async def test_a_generation_whose_stream_was_lost_is_made_again_when_its_next_part_is_refused(tmp_path: Path) -> None:
    async with cell(tmp_path) as parts:
        async with P.AsyncSession(parts.server.url) as session:
            parts.engine.stop()
            made = long_step(text="It")
            await until_sent(parts.redis, made)
            synced = await standstill(parts.core, parts.server)
            parts.engine.wake()

            async def streams() -> bool:
                return bool(await parts.redis.exists(KEYS.tokens(made.id)))

            await until(streams)
            lose_power(parts.server, synced)
            await asyncio.to_thread(parts.server.start)
            assert (await said(parts.redis, made))["state"] == "pending"
            parts.core.wake()
            await until_state(parts.redis, made.id, "ready")
            assert (await said(parts.redis, made))["attempt"] == "2"
            assert parts.engine.said("attempt is over")
        await check_left(parts.redis, (session.id, [made.id]))


async def test_a_failure_that_was_lost_is_told_again(tmp_path: Path) -> None:
    async with cell(tmp_path) as parts, P.AsyncSession(parts.server.url):
        parts.engine.stop()
        refused = step(text="more than a context takes " * 1_000)
        await until_sent(parts.redis, refused)
        synced = await standstill(parts.core, parts.server)
        parts.engine.wake()

        async def is_told() -> bool:
            entries: Any = await parts.redis.xrange(KEYS.events)
            return any(fields[b"kind"] == b"GenerationFailed" for _, fields in entries)

        await until(is_told)
        lose_power(parts.server, synced)
        await asyncio.to_thread(parts.server.start)
        assert not await is_told()
        parts.core.wake()
        await until_state(parts.redis, refused.id, "failed")
        record = await said(parts.redis, refused)
        assert (record["attempt"], record["error_code"]) == ("2", "context_too_long")
        await until_it_adds_up(parts.redis)


async def test_a_job_that_was_lost_before_it_was_read_is_sent_again_as_the_same_attempt(tmp_path: Path) -> None:
    """No later entry shows its engine that one is missing; but ServeCore notices another run of the server, however soon it is there."""
    async with cell(tmp_path) as parts:
        async with P.AsyncSession(parts.server.url) as session:
            (name,) = await engines(parts.redis)
            parts.engine.stop()
            made = step(text="It")
            await until_sent(parts.redis, made)
            lose_power(parts.server, written_before(parts.server, KEYS.jobs(name).encode()))
            await asyncio.to_thread(parts.server.start)
            await until(partial(asyncio.to_thread, parts.core.said, "was started again"))
            parts.engine.wake()
            await until_state(parts.redis, made.id, "ready")
            assert (await said(parts.redis, made))["attempt"] == "1"
        await check_left(parts.redis, (session.id, [made.id]))
