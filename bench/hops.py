"""What the control plane costs: from a producer's value to its consumer's job in the engine worker, beside a Celery chain.

A hop begins when the engine worker holds the finished value of one call and ends when it has read and decoded the job of the next:
publishing script, event, ServeCore's decision, commit script and dispatch lie between, with all encoding and validation. The engine
takes no time. Celery's hop begins at the end of one task and ends at the start of the next one in its chain.

Both sides use the same embedded server (AOF, fsync every second). Programs are submitted before the clock starts and set off together.
A third side has stubs in place of engine workers, which only talk to the bus: about what a cell does whose engines run elsewhere, as
those on GPUs do, and leave its cores to ServeCore, the broker and an app. A fourth, the bare bus, passes entries between two
processes and does nothing else: what this machine can do at this hour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table

import parrot as P
from bench.bare_bus import JOBS
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.wire.keys import Keys

SIDES = ("parrot", "engines elsewhere", "celery", "bare bus")
WORKERS = {"parrot": "bench.hop_worker", "engines elsewhere": "bench.hop_stub"}
PATIENCE = 180.0  # seconds after which a run that does not end is an error


@dataclass(frozen=True)
class Shape:
    """A load: `chains` programs at once, each of `length` calls one after the other."""

    chains: int
    length: int

    @property
    def hops(self) -> int:
        return self.chains * (self.length - 1)


@dataclass(frozen=True)
class Figures:
    """One run of one side; with the CPU time that ServeCore has used for each hop, where there is one."""

    p50_ms: float
    p99_ms: float
    hops_per_second: float
    core_us: float = 0.0


def figures(hops_ns: list[int], began_ns: int, ended_ns: int) -> Figures:
    """Percentiles of single hops, and all hops over the time from the first value to the last job."""
    cuts = statistics.quantiles(hops_ns, n=100, method="inclusive")
    return Figures(cuts[49] / 1e6, cuts[98] / 1e6, len(hops_ns) / ((ended_ns - began_ns) / 1e9))


# Parrot ------------------------------------------------------------------------------------------


@P.semantic_function()
def step(text: Annotated[str, P.Input], result: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=1))]) -> None:
    """{{text}} goes on: {{result}}"""


async def submit_and_wait(url: str, shape: Shape, core: int) -> float:
    """Submit all chains behind one gate, open it once ServeCore has taken them all in, and wait for the ends.

    Returns:
        Seconds of CPU that the process `core` has used since the gate was opened.
    """
    redis = connect(url)
    try:
        async with P.AsyncSession(url, name="hops") as session:
            gate = session.variable()
            ends = []
            for _ in range(shape.chains):
                last = gate
                for _ in range(shape.length):
                    last = step(text=last)
                ends.append(last)
            await session.flush()
            deadline = time.monotonic() + PATIENCE
            while int(await redis.hget(Keys().session(session.id), "calls") or 0) < shape.chains * shape.length:
                if time.monotonic() > deadline:
                    raise TimeoutError("ServeCore did not take the calls in.")
                await asyncio.sleep(0.05)
            before = cpu_seconds(core)
            gate.set("go")
            for end in ends:
                await end.aget(timeout=PATIENCE)
            return cpu_seconds(core) - before
    finally:
        await redis.aclose()


def run_parrot(folder: Path, url: str, shape: Shape, module: str) -> Figures:
    """One run: a ServeCore process, an engine worker process that runs `module`, and this one as the app."""
    marks = folder / "parrot.marks"
    environment = os.environ | {
        "PARROT_REDIS_URL": url,
        "PARROT_ENGINE": "simulated",
        "PARROT_SIMULATED_SPEED": "0",
        "PARROT_MAX_RUNNING": "256",
        "PARROT_LOG_LEVEL": "warning",
    }
    core = [sys.executable, "-m", "parrot.cli", "core"]
    worker = [sys.executable, "-m", module, str(marks)]
    with process(core, environment) as leader, process(worker, environment):
        spent = asyncio.run(submit_and_wait(url, shape, leader.pid))
    rows = [line.split() for line in marks.read_text().splitlines()]
    read = {name: int(at) for name, at, _ in rows}
    ready = {name: int(at) for name, _, at in rows}
    order = list(read)
    # The calls of one chain are read one after the other; which call follows which is in the key of the consumer.
    return replace(pair_up(follows(url), read, ready, order), core_us=1e6 * spent / shape.hops)


def cpu_seconds(pid: int) -> float:
    """What a process has used of CPUs so far, for itself and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def follows(url: str) -> dict[str, str]:
    """For each consumer's variable that of its producer, from the calls' own keys."""
    return asyncio.run(_follows(url))


async def _follows(url: str) -> dict[str, str]:
    redis = connect(url)
    try:
        producers = {}
        async for key in redis.scan_iter(match=f"{Keys().call('')}*", count=1000):
            request = json.loads(await redis.hget(key, "request") or b"{}")
            producers[request["outputs"]["result"]["variable"]] = request["arguments"]["text"]["variable"]
        return producers
    finally:
        await redis.aclose()


def pair_up(producers: dict[str, str], read: dict[str, int], ready: dict[str, int], order: list[str]) -> Figures:
    """The hops between each producer that an engine made and its consumer."""
    hops = [read[name] - ready[producers[name]] for name in order if producers[name] in ready]
    return figures(hops, min(ready.values()), max(read.values()))


# Celery ------------------------------------------------------------------------------------------


def run_celery(folder: Path, url: str, shape: Shape, pool: str) -> Figures:
    """One run: a Celery worker process, and this one as the app."""
    marks = folder / "celery.marks"
    environment = os.environ | {"BENCH_CELERY_URL": url, "BENCH_MARKS": str(marks)}
    concurrency = ["-P", "solo"] if pool == "solo" else ["-P", "prefork", "-c", "2"]
    worker = [sys.executable, "-m", "celery", "-A", "bench.celery_app", "worker", *concurrency, "-l", "warning", "--without-gossip"]
    worker += ["--without-mingle"]
    client = [sys.executable, "-c", CELERY_CLIENT, str(shape.chains), str(shape.length)]
    subprocess.run(client, env=environment, check=True)  # the queue is filled before the worker starts
    with process(worker, environment):
        rows = wait_for_marks(marks, shape)
    began = {(chain, place): at for chain, place, at, _ in rows}
    ready = {(chain, place): at for chain, place, _, at in rows}
    hops = [at - ready[chain, place - 1] for (chain, place), at in began.items() if place]
    return figures(hops, min(ready.values()), max(began.values()))


CELERY_CLIENT = """
import sys
from celery import chain
from bench.celery_app import app, step
chains, length = int(sys.argv[1]), int(sys.argv[2])
with app.connection_for_write() as connection:
    for c in range(chains):
        first, *rest = [step.s("go", c, 0, length == 1), *(step.s(c, i, i == length - 1) for i in range(1, length))]
        chain(first, *rest).apply_async(connection=connection)
"""


def wait_for_marks(marks: Path, shape: Shape) -> list[tuple[int, int, int, int]]:
    """The worker's notes, once they tell of every task."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        lines = [line for path in marks.parent.glob(f"{marks.stem}.*") for line in path.read_text().splitlines()]
        if len(lines) >= shape.chains * shape.length:
            return [(int(c), int(p), int(b), int(r)) for c, p, b, r, _ in map(str.split, lines)]
        time.sleep(0.5)
    raise TimeoutError(f"Celery ended {len(lines)} of {shape.chains * shape.length} tasks in {PATIENCE:.0f} s.")


# The bare bus ------------------------------------------------------------------------------------


def run_bare_bus(folder: Path, url: str, shape: Shape) -> Figures:
    """One run of the ceiling: two processes that pass entries on."""
    marks = folder / "bare.marks"
    arguments = [url, str(shape.chains), str(shape.length), str(marks)]
    coordinator = [sys.executable, "-m", "bench.bare_bus", "coordinator", *arguments]
    worker = [sys.executable, "-m", "bench.bare_bus", "worker", *arguments]
    with process(coordinator, dict(os.environ)):
        asyncio.run(begin_bare_bus(url, shape.chains))
        subprocess.run(worker, check=True, timeout=PATIENCE)
    rows = [[int(part) for part in line.split()] for line in marks.read_text().splitlines()]
    ready = {(chain, place): at for chain, place, _, at in rows}
    hops = [read - ready[chain, place - 1] for chain, place, read, _ in rows if place]
    return figures(hops, min(ready.values()), max(read for _, _, read, _ in rows))


async def begin_bare_bus(url: str, chains: int) -> None:
    """The first job of each chain."""
    async with connect(url) as redis:
        pipe = redis.pipeline(transaction=False)
        for chain in range(chains):
            pipe.xadd(JOBS, {"chain": chain, "place": 0})
        await pipe.execute()


# All of them --------------------------------------------------------------------------------------------


@contextmanager
def process(argv: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that is told to end, and does."""
    child = subprocess.Popen(argv, env=environment)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=30)


def run(side: str, shape: Shape) -> Figures:
    """One run of one side on a server of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(EmbeddedServer(folder / "data"))
        if side in WORKERS:
            return run_parrot(folder, server.url, shape, WORKERS[side])
        if side == "bare bus":
            return run_bare_bus(folder, server.url, shape)
        return run_celery(folder, server.url, shape, pool="solo" if shape.chains == 1 else "prefork")


def median(runs: list[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(*(statistics.median(values) for values in zip(*(asdict(one).values() for one in runs), strict=True)))


def main() -> None:
    """Run both sides in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and raw runs to FILE")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs, in turn; medians are shown (default 3)")
    parser.add_argument("--single", type=int, default=1000, help="calls of the single chain (default 1000)")
    parser.add_argument("--chains", type=int, default=400, help="programs at once (default 400)")
    parser.add_argument("--length", type=int, default=50, help="calls of each of them (default 50)")
    options = parser.parse_args()
    shapes = {"one program": Shape(1, options.single), "many programs": Shape(options.chains, options.length)}
    console = Console()
    runs: dict[str, dict[str, list[Figures]]] = {name: {side: [] for side in SIDES} for name in shapes}
    with console.status("") as status:
        for number in range(options.rounds):
            for name, shape in shapes.items():
                for side in SIDES:
                    status.update(f"round {number + 1} of {options.rounds}: {name} on {side}")
                    runs[name][side].append(run(side, shape))
    medians = {name: {side: median(done) for side, done in sides.items()} for name, sides in runs.items()}
    console.print(table(medians, shapes))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report(medians, runs, shapes), indent=2) + "\n")
        console.print(f"written to {options.json}")


def table(medians: dict[str, dict[str, Figures]], shapes: dict[str, Shape]) -> Table:
    """The medians, for people."""
    shown = Table("load", "side", "p50 of a hop", "p99 of a hop", "hops per second", "ServeCore's CPU")
    for name, sides in medians.items():
        for side, one in sides.items():
            load = f"{name} ({shapes[name].chains} x {shapes[name].length} calls)"
            core = f"{one.core_us:.0f} us a hop" if one.core_us else ""
            shown.add_row(load, side, f"{one.p50_ms:.2f} ms", f"{one.p99_ms:.2f} ms", f"{one.hops_per_second:,.0f}", core)
    return shown


def report(medians: Any, runs: Any, shapes: dict[str, Shape]) -> dict[str, Any]:
    """The medians and all raw runs, for scripts."""
    return {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "shapes": {name: asdict(shape) for name, shape in shapes.items()},
        "medians": {name: {side: asdict(one) for side, one in sides.items()} for name, sides in medians.items()},
        "ratios": {
            name: {
                "p50_celery_to_parrot": sides["celery"].p50_ms / sides["parrot"].p50_ms,
                "p50_parrot_to_bare_bus": sides["parrot"].p50_ms / sides["bare bus"].p50_ms,
                "hops_per_second_parrot_to_celery": sides["parrot"].hops_per_second / sides["celery"].hops_per_second,
                "hops_per_second_bare_bus_to_parrot": sides["bare bus"].hops_per_second / sides["parrot"].hops_per_second,
            }
            for name, sides in medians.items()
        },
        "runs": {name: {side: [asdict(one) for one in done] for side, done in sides.items()} for name, sides in runs.items()},
    }


if __name__ == "__main__":
    main()
