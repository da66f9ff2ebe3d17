"""How long a cell is without a leader: from the SIGKILL of a ServeCore to the first job that the standby sends.

    python -m bench.takeover --calls 20000 --json bench/results/takeover.json

The calls are chains of ten; the first of each chain waits for an engine that is busy. The benchmark plays that engine: when the leader is
dead it publishes what it was busy with, and waits for the next job. After the run the parts of a takeover are measured on the same data.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.broker.engine_link import EngineLink
from parrot.broker.ledger import Lead, Ledger
from parrot.broker.variables import Publication, Value
from parrot.core.limits import Limits
from parrot.core.recovery import rebuild
from parrot.lifeline import die_with_parent
from parrot.wire import to_engine
from parrot.wire.keys import Keys
from parrot.wire.to_core import Capacity, EngineBeat, EngineUp, GenerationDone
from parrot.wire.to_engine import Job

KEYS = Keys("main")
LEASE = 3.0
CHAIN = 10  # calls of one program
SESSION = 10_000  # calls of one session
BUSY = 32  # generations that the engine takes at once
PATIENCE = 300.0


@dataclass(frozen=True)
class Takeover:
    """One run.

    Attributes:
        seconds: from the kill to the next job.
        lease_left: of these, for how many the lease of the dead one still ran.
        load_seconds, rebuild_seconds: parts of the rest, measured alone on the same data.
    """

    calls: int
    seconds: float
    lease_left: float
    load_seconds: float
    rebuild_seconds: float


@P.semantic_function()
def step(text: Annotated[str, P.Input], result: Annotated[str, P.Output(P.SamplingConfig(max_gen_length=8))]) -> None:
    """{{text}} goes on: {{result}}"""


async def submit(url: str, redis: Redis, calls: int) -> None:
    """Submit chains, and wait until ServeCore has taken all of them in."""
    for begin in range(0, calls, SESSION):
        async with P.AsyncSession(url, name="takeover") as session:
            for _ in range(begin, min(begin + SESSION, calls), CHAIN):
                last: P.Variable | str = "It"
                for _ in range(CHAIN):
                    last = step(text=last)
                await asyncio.sleep(0)
            await session.flush()
    async with asyncio.timeout(PATIENCE):
        while int(await redis.scard(KEYS.active)) < calls:
            await asyncio.sleep(0.1)


class PlayedEngine:
    """An engine that takes what it is given and publishes it when it is told to."""

    def __init__(self, url: str) -> None:
        self.jobs: list[Job] = []
        self._link = EngineLink(url, KEYS, "played-1")

    async def register(self) -> None:
        capacity = Capacity(running=BUSY, kv_tokens=1_000_000, context_tokens=4096, block_tokens=32)
        about = {"kind": "played", "model": "none", "tokenizer": "none", "host": "here", "pid": os.getpid()}
        await self._link.register(EngineUp(engine=self._link.engine, name="played", capacity=capacity, **about))

    async def live(self) -> None:
        """Beat and read for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._read())

    async def _beat(self) -> None:
        async with self._link.heartbeat(1.0) as heart:
            while True:
                heart.tell(EngineBeat(engine=self._link.engine, running=BUSY))
                await asyncio.sleep(1.0)

    async def _read(self) -> None:
        while True:
            orders = [to_engine.jobs.decode(entry.fields) for entry in await self._link.jobs(1000)]
            self.jobs += [order for order in orders if isinstance(order, Job)]

    async def publish(self, job: Job) -> None:
        event = GenerationDone(engine=self._link.engine, variable=job.variable, attempt=job.attempt)
        await self._link.publish([Publication(job, Value("so"), "stop", event, "2026-01-01T00:00:00.000Z")])

    async def until_given(self, more_than: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.jobs) <= more_than:
                await asyncio.sleep(0.002)

    async def aclose(self) -> None:
        await self._link.aclose()


async def measure(server: EmbeddedServer, calls: int, environment: dict[str, str]) -> Takeover:
    """One takeover with so many calls under way."""
    engine = PlayedEngine(server.url)
    async with connect(server.url) as redis:
        with core(environment) as leader:
            await engine.register()
            living = asyncio.create_task(engine.live())
            try:
                await submit(server.url, redis, calls)
                await engine.until_given(BUSY - 1)
                with core(environment):
                    await asyncio.sleep(2.0)  # it stands by
                    leader.kill()
                    began = time.monotonic()
                    lease_left = await redis.pttl(KEYS.leader) / 1000
                    await engine.publish(engine.jobs[0])
                    await engine.until_given(len(engine.jobs))
                    seconds = time.monotonic() - began
                return Takeover(calls, seconds, lease_left, *await parts(redis))
            finally:
                living.cancel()
                with suppress(asyncio.CancelledError):
                    await living
                await engine.aclose()


async def parts(redis: Redis) -> tuple[float, float]:
    """Seconds to load, and to rebuild."""
    gc.disable()  # as ServeCore does
    began = time.perf_counter()
    found = await Ledger(redis, KEYS).load()
    loaded = time.perf_counter()
    rebuild(KEYS, Limits(), Lead(1, {}, 1), found, time.time())
    rebuilt = time.perf_counter()
    gc.enable()
    return loaded - began, rebuilt - loaded


@contextmanager
def core(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A ServeCore process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "parrot.cli", "core"], env=environment, preexec_fn=partial(die_with_parent, os.getpid())
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run(calls: int) -> Takeover:
    """One run on a server of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(EmbeddedServer(folder))
        settings: dict[str, Any] = {
            "REDIS_URL": server.url,
            "LEASE_SECONDS": LEASE,
            "MAX_ACTIVE": 10 * calls,
            "MAX_TENANT_ACTIVE": 10 * calls,
            "LOG_LEVEL": "warning",
        }
        return asyncio.run(measure(server, calls, os.environ | {f"PARROT_{name}": str(value) for name, value in settings.items()}))


def main() -> None:
    """Run each size, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--calls", type=int, nargs="+", default=[1_000, 20_000, 100_000], help="calls under way (default 1000 20000 100000)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args()
    console = Console()
    with console.status("") as status:
        runs = []
        for calls in options.calls:
            status.update(f"{calls:,} calls")
            runs.append(run(calls))
    console.print(table(runs))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(), "shared": True}
        said = {"machine": machine, "load_average": os.getloadavg(), "lease_seconds": LEASE, "runs": [asdict(one) for one in runs]}
        options.json.write_text(json.dumps(said, indent=2) + "\n")
        console.print(f"written to {options.json}")


def table(runs: Sequence[Takeover]) -> Table:
    """The runs, for people."""
    shown = Table("calls under way", "kill to next job", "after the lease", "load alone", "rebuild alone")
    for one in runs:
        beyond = f"{one.seconds - one.lease_left:.2f} s"
        shown.add_row(f"{one.calls:,}", f"{one.seconds:.2f} s", beyond, f"{one.load_seconds:.2f} s", f"{one.rebuild_seconds:.2f} s")
    return shown


if __name__ == "__main__":
    main()
