"""`parrot doctor` on a real server."""

from __future__ import annotations

import asyncio
import json
import sys

from redis.asyncio import Redis

import parrot as P
from parrot.cli.doctor import BETWEEN_LOOKS, examine
from parrot.config import load
from parrot.core.loop import serve
from parrot.wire.keys import Keys
from tests.flow.test_programs import join, run_engine, start

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
