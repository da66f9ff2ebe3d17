"""A Redis that is nearly full takes what comes together whole, or not at all."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

import parrot as P
from parrot.wire.keys import Keys

KEYS = Keys()


async def test_what_was_refused_with_others_that_had_room_is_not_there(redis_url: str, real_redis: Redis) -> None:
    used = (await real_redis.info("memory"))["used_memory"]
    try:
        async with P.AsyncSession(redis_url) as session:
            await session.flush()
            opened = await real_redis.xlen(KEYS.tasks)
            await real_redis.config_set("maxmemory", used + 3_000_000)
            for number in range(8):
                session.variable("x" * 1_000_000, name=f"v{number}")
            with pytest.raises(P.BrokerUnavailable, match="full"):
                await session.flush()
            assert await real_redis.xlen(KEYS.tasks) == opened
            await real_redis.config_set("maxmemory", 0)
    finally:
        await real_redis.config_set("maxmemory", 0)
