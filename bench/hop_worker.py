"""The engine worker of `bench.hops`: the real runner on a simulated engine that takes no time, with a clock at both ends of its link.

Run as `python -m bench.hop_worker MARKS`, with the settings of a worker in the environment; SIGTERM ends it and writes the marks:
one line `variable read ready` for each job, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from parrot.broker.engine_link import Answer, EngineLink
from parrot.broker.variables import Publication
from parrot.collector import spare_the_collector
from parrot.config import Settings, load
from parrot.engine.runner import Runner, new_engine_id
from parrot.engine.simulated import SimulatedEngine
from parrot.errors import ParrotError
from parrot.wire.keys import Keys
from parrot.wire.to_engine import Job


class Silent:
    """An observer that does not look; and a clock for jobs."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}

    def received(self, job: Job) -> None:
        self.read[job.variable] = time.monotonic_ns()

    def started(self, job: Job) -> None: ...
    def succeeded(self, job: Job, value: str, seconds: float) -> None: ...
    def failed(self, job: Job, error: ParrotError, seconds: float) -> None: ...
    def returned(self, job: Job) -> None: ...


class TimedLink(EngineLink):
    """A link that notes when values are handed to it: before they are sent, so that publishing is part of the hop."""

    def __init__(self, url: str, keys: Keys, engine: str) -> None:
        super().__init__(url, keys, engine)
        self.ready: dict[str, int] = {}

    async def publish(self, publications: Sequence[Publication]) -> list[Answer]:
        now = time.monotonic_ns()
        for publication in publications:
            self.ready.setdefault(publication.job.variable, now)
        return await super().publish(publications)


async def work(settings: Settings, marks: Path) -> None:
    """Work until SIGTERM, then write the marks."""
    engine, clock = SimulatedEngine(settings), Silent()
    await engine.start()
    link = TimedLink(settings.redis_url, Keys(settings.cell), new_engine_id("bench"))
    runner = Runner(
        engine,
        link,
        clock,
        name="bench",
        beat_seconds=settings.beat_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
        drain_seconds=1.0,
    )
    spare_the_collector()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runner.stop)
    try:
        await runner.run()
    finally:
        await link.aclose()
        await engine.stop()
    marks.write_text("".join(f"{name} {read} {link.ready.get(name, 0)}\n" for name, read in clock.read.items()))


if __name__ == "__main__":
    uvloop.run(work(load(), Path(sys.argv[1])))
