"""A rival of `bench.recovery`: taskiq on Redis streams, set to notice a dead worker as early as it can."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from bench.recovery_marks import SECONDS, work

broker = RedisStreamBroker(
    os.environ.get("BENCH_URL", "redis://localhost:6379/0"),
    xread_block=200,
    xread_count=1,
    consumer_id="0",
    # Not shorter than a task takes: else the other worker runs again what the first one still works on.
    idle_timeout=(SECONDS + 1) * 1000,
)


@broker.task(task_name="bench.recovery")  # type: ignore[untyped-decorator]
async def recovery(name: str) -> None:
    """Takes a while."""
    await asyncio.to_thread(work, name)


@broker.task(task_name="bench.tick")  # type: ignore[untyped-decorator]
async def tick() -> None:
    """Takes no time. taskiq-redis looks for what dead workers held only after a new message has come."""
