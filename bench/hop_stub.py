"""Engines that run elsewhere, for `bench.hops`: what the bus and ServeCore see of them, and little of what they cost.

Run as `python -m bench.hop_stub MARKS`, with the settings of a worker in the environment; SIGTERM ends it and writes the marks as
`bench.hop_worker` does. Each job is claimed and published with the scripts that real workers use, always with the same value; neither
prompts are built nor messages validated.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import uvloop

from parrot.broker.connection import connect
from parrot.broker.engine_link import EngineLink
from parrot.broker.scripts import run
from parrot.collector import spare_the_collector
from parrot.config import Settings, load
from parrot.engine.moments import now
from parrot.engine.simulated import SimulatedEngine
from parrot.wire.codec import VERSION
from parrot.wire.keys import Keys
from parrot.wire.to_core import EngineBeat, EngineUp, GenerationDone, Usage

NAME = "elsewhere"
USAGE = Usage(tokens_in=12, tokens_out=1, first_token_seconds=0.001, seconds=0.001, running=1.0).model_dump()
TOKENS = b"\x91\x01"  # one, packed


class Stub:
    """One engine.

    Args:
        settings: as of a worker.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = Keys(settings.cell)
        self._link = EngineLink(settings.redis_url, self._keys, NAME)
        self.marks: list[tuple[str, int, int]] = []

    async def work(self) -> None:
        """Until cancelled."""
        engine = SimulatedEngine(self._settings)
        await engine.start()
        about: dict[str, Any] = {
            "kind": engine.kind,
            "model": engine.model,
            "tokenizer": engine.tokenizer.name,
            "host": "elsewhere",
            "pid": os.getpid(),
        }
        await self._link.register(EngineUp(engine=NAME, name=NAME, capacity=engine.capacity, **about))
        try:
            async with self._link.heartbeat(self._settings.beat_seconds) as heart, connect(self._settings.redis_url) as redis:
                heart.tell(EngineBeat(engine=NAME))
                while True:
                    entries = await self._link.jobs(100)
                    heart.tell(EngineBeat(engine=NAME))
                    at = time.monotonic_ns()
                    jobs = [orjson.loads(entry.fields[b"body"]) for entry in entries if entry.fields[b"kind"] == b"Job"]
                    if jobs:
                        self.marks += [(job["variable"], at, at) for job in jobs]  # its value is there at once
                        claims = [(self._keys.variable(job["variable"]), str(job["attempt"])) for job in jobs]
                        await run(redis, "claim", [self._keys.events], now(), orjson.dumps(claims))
                        done = orjson.dumps([self._published(job) for job in jobs])
                        await run(redis, "publish", [self._keys.events], VERSION, GenerationDone.__name__, done, *[TOKENS] * len(jobs))
        finally:
            await self._link.aclose()
            await engine.stop()

    def _published(self, job: dict[str, Any]) -> list[Any]:
        event = {"engine": NAME, "variable": job["variable"], "attempt": job["attempt"], "usage": USAGE}
        names = (self._keys.variable(job["variable"]), self._keys.news(job["session"]), job["variable"], str(job["attempt"]))
        fields = ("value", " word", "ended", now(), "finish_reason", "length", "tokenizer", "none", "tokens_in", "12", "tokens_cached", "0")
        return [*names, orjson.dumps(event).decode(), (), *fields, "tokens_out", "1", "first_token", "0.001", "seconds", "0.001"]


async def main(settings: Settings, marks: Path) -> None:
    """Work until SIGTERM, then write the marks."""
    stub = Stub(settings)
    spare_the_collector()
    working = asyncio.create_task(stub.work())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    with suppress(asyncio.CancelledError):
        await working
    marks.write_text("".join(f"{name} {read} {ready}\n" for name, read, ready in stub.marks))


if __name__ == "__main__":
    uvloop.run(main(load(), Path(sys.argv[1])))
