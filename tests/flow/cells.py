"""A cell on the real bus: ServeCore and simulated engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parrot.broker.engine_link import EngineLink
from parrot.config import Settings, load
from parrot.core.loop import serve
from parrot.engine.runner import Runner, new_engine_id
from parrot.engine.simulated import SimulatedEngine
from parrot.wire.keys import Keys
from tests.flow.silent import Silent


@asynccontextmanager
async def running(url: str, engines: int = 1, **options: object) -> AsyncIterator[Settings]:
    """ServeCore and so many engines, until the block ends.

    Args:
        url: the server.
        engines: how many.
        options: settings; `simulated_speed=1` makes about 14 tokens a second.
    """
    settings = load(redis_url=url, engine="simulated", **{"simulated_speed": 0.0, "max_running": 8} | options)
    async with asyncio.TaskGroup() as group:
        leading = asyncio.Event()
        tasks = [group.create_task(serve(settings, leading.set))]
        await leading.wait()
        tasks += [group.create_task(_engine(settings, f"sim-{number}")) for number in range(engines)]
        yield settings
        for task in tasks:
            task.cancel()


async def _engine(settings: Settings, name: str) -> None:
    engine = SimulatedEngine(settings)
    await engine.start()
    link = EngineLink(settings.redis_url, Keys(settings.cell), new_engine_id(name))
    try:
        await Runner(engine, link, name=name, beat_seconds=0.5, drain_seconds=0.0, checkpoint_seconds=0.05, observer=Silent()).run()
    finally:
        await link.aclose()
        await engine.stop()
