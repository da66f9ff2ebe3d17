"""The broker dies, hangs, is full or loses power: what was acknowledged stands, and everybody goes on when it is back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.scripts import script
from parrot.errors import BrokerUnavailable
from tests.fault.processes import LEASE, core, engine
from tests.fault.programs import KEYS, all_values, chain, check_left, engines, long_step, step, until_engines, until_state
from tests.fault.proxy import Point, wire


def kill(server: EmbeddedServer) -> None:
    """SIGKILL the server: what it had written stays."""
    signal_to(server, signal.SIGKILL)
    server.stop()  # which finds it dead


def signal_to(server: EmbeddedServer, number: int) -> None:
    assert server._process is not None
    server._process.send_signal(number)


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
            await asyncio.sleep(LEASE)  # engines and ServeCore meet it too
            assert leader.said("is full")
            assert worker.said("is full")
            assert leader.alive
            assert worker.alive
            await mortal_redis.config_set("maxmemory", "0")
            assert all(await all_values(made))
            made += chain(2)
            assert all(await all_values(made))
            with pytest.raises(BrokerUnavailable):
                await session.flush()  # it remembers that one submission was refused
        await check_left(mortal_redis, (session.id, [variable.id for variable in made]))


# Power loss ---------------------------------------------------------------------------------------


def journal(server: EmbeddedServer) -> Path:
    """The file that the server appends what it is told to."""
    (path,) = server.data.glob("appendonlydir/*.incr.aof")
    return path


def lose_power(server: EmbeddedServer, keeps: int, torn: bytes = b"") -> None:
    """End the server and leave of its journal what the disk had, and perhaps half of an entry that was being written."""
    path = journal(server)
    kill(server)
    kept = path.read_bytes()[:keeps]
    path.write_bytes(kept + torn)


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


async def test_a_cell_that_lost_its_last_second_works_on(tmp_path: Path) -> None:
    """Engines and ServeCore remember more than the broker does: jobs that were read, values that were published."""
    with (
        EmbeddedServer(tmp_path / "broker") as server,
        core(server.url, tmp_path / "core.log"),
        engine(server.url, tmp_path / "engine.log"),
    ):
        async with connect(server.url) as redis:
            await until_engines(redis)
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
