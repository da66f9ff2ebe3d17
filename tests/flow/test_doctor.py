"""`parrot doctor` on a real server."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.cli.doctor import BETWEEN_LOOKS, examine
from parrot.config import Settings, load
from parrot.core.loop import serve
from parrot.wire.keys import Keys
from tests.flow.test_programs import join, run_engine, start
from tests.flow.waiting import until

ODD = f"{Keys().prefix}odd"


async def doctor(url: str, *arguments: str) -> tuple[int | None, str]:
    """Its exit status and what it printed."""
    argv = (sys.executable, "-m", "parrot.cli", "doctor", "--redis-url", url, *arguments)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_where_nothing_is_wrong_it_says_so(redis_url: str) -> None:
    assert await doctor(redis_url) == (0, "All is well.\n")


async def test_what_is_wrong_is_printed_and_the_exit_status_tells(redis_url: str, real_redis: Redis) -> None:
    await real_redis.set(ODD, 1)
    status, printed = await doctor(redis_url, "--idle")
    assert status == 1
    assert f"The key {ODD} belongs to nothing" in printed
    assert "1 thing does not add up." in printed
    status, printed = await doctor(redis_url, "--idle", "--json")
    assert status == 1
    assert [ODD in finding for finding in json.loads(printed)["findings"]] == [True]


async def test_what_was_only_on_its_way_is_not_reported(redis_url: str, real_redis: Redis) -> None:
    await real_redis.set(ODD, 1)
    looking = asyncio.create_task(examine(load(redis_url=redis_url), looks=2))
    await asyncio.sleep(BETWEEN_LOOKS / 2)
    await real_redis.rename(ODD, f"{ODD}-2")
    assert await looking == []


async def test_a_cell_at_work_and_at_rest_is_well(redis_url: str) -> None:
    settings = load(redis_url=redis_url, engine="simulated", simulated_speed=1.0, max_running=2)
    async with asyncio.TaskGroup() as group:
        leading = asyncio.Event()
        core = group.create_task(serve(settings, leading.set))
        await leading.wait()
        engines = [group.create_task(run_engine(settings, f"sim-{i}")) for i in range(2)]
        async with P.AsyncSession(redis_url, name="under examination"):
            made = [start(text=f"topic {i}") for i in range(40)]
            last = join(left=made[0], right=made[-1])
            value = asyncio.create_task(last.aget(timeout=30))
            looks = 0
            while not value.done():
                assert await examine(settings, looks=2) == []
                looks += 1
            assert await value
            assert looks
        assert await examine(settings, looks=2) == []
        for task in (*engines, core):
            task.cancel()
    assert await examine(settings, looks=1) == []


async def test_keys_of_the_wrong_type_are_named_in_sentences(redis_url: str, real_redis: Redis) -> None:
    for key in (Keys().sessions, Keys().active, Keys().engines, Keys().call("c"), Keys().variable("v"), Keys().calls("s")):
        await real_redis.set(key, "odd")
    status, printed = await doctor(redis_url, "--idle")
    assert status == 1
    said = " ".join(printed.split())
    assert f"The key {Keys().sessions} is a string where a zset belongs; all that uses it fails or goes on without it. Delete it." in said
    assert said.count("is a string where a") == 6


async def test_after_all_keys_of_a_session_were_deleted_a_new_servecore_takes_over_and_the_others_go_on(
    redis_url: str, real_redis: Redis
) -> None:
    settings, keys = load(redis_url=redis_url, engine="simulated", simulated_speed=1.0, lease_seconds=0.5), Keys()
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(run_engine(settings, "sim-0"))

        async def lead() -> asyncio.Task[None]:
            leading = asyncio.Event()
            core = group.create_task(serve(settings, leading.set))
            await asyncio.wait_for(leading.wait(), 10)
            return core

        core = await lead()
        async with (
            P.AsyncSession(redis_url, name="erased") as erased,
            P.AsyncSession(redis_url, name="robbed") as robbed,
            P.AsyncSession(redis_url, name="kept") as kept,
        ):
            made = [start(text="It", session=session) for session in (erased, robbed, kept)]
            await until(lambda: real_redis.hexists(keys.variable(made[-1].id), "engine"))
            left = [key for session in (erased, robbed) for key in await real_redis.keys(f"{keys.session(session.id)}*")]
            await real_redis.delete(*left, keys.variable(made[0].id), keys.call(made[0].id.rpartition(".")[0]))
            core.cancel()
            core = await lead()
            assert await made[2].aget(timeout=30)
            with pytest.raises(P.ParrotError, match=f"The session {robbed.id} .* was deleted or replaced in Redis, but not by Parrot"):
                await made[1].aget(timeout=30)
        await until(lambda: well(settings), 10)
        for task in (engine, core):
            task.cancel()


async def well(settings: Settings) -> bool:
    findings = await examine(settings, looks=1)
    print(findings)  # shown if they stay
    return not findings
