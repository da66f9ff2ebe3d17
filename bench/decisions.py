"""What decisions cost: CPU per generation and memory per waiting call, as calls and engines grow.

    python -m bench.decisions [--json FILE] [--plot FILE] [--quick]

The real `Machine`, without Redis: calls of many programs and tenants wait, engines are full, and with each generation that ends the
next one is chosen, placed and explained. Counted is the time of `Machine.handle`, which is all that ServeCore thinks. Each size
runs in a process of its own.
"""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Optional

import orjson
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from parrot.core.limits import Limits
from parrot.core.machine import Machine
from parrot.criteria import LATENCY
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire.codec import encode
from parrot.wire.keys import Keys
from parrot.wire.to_core import (
    Argument,
    Capacity,
    EngineHolds,
    EngineUp,
    GenerationDone,
    OpenSession,
    Output,
    SubmitCall,
    Task,
    Usage,
    WantVariable,
    tasks,
)
from parrot.wire.to_engine import Job

CALLS = (1_000, 10_000, 100_000, 1_000_000)
ENGINES = (1, 4, 16, 64, 256, 1_000)
RUNNING = 32  # generations that an engine runs at once
CHAIN = 4  # calls of a program, one after the other
TENANTS = 8
ENDED_AT_ONCE = 16  # generations that end in one batch
MEASURED = 4_000  # generations
WANTED_MS, WANTED_KB = 0.06, 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """One size.

    Attributes:
        submit_ms: CPU milliseconds to take in one call.
        decide_ms: CPU milliseconds of all of `Machine.handle` for each generation, from the event that ends one to the job of the next.
        kb: kilobytes of memory for each call that waits.
    """

    calls: int
    engines: int
    submit_ms: float
    decide_ms: float
    kb: float


def program(number: int) -> list[Task]:
    """A chain of calls with a long prompt that all programs of a function share, and a reader for every other one."""
    session = f"s{number % 500}"
    said: list[Task] = []
    for step in range(CHAIN):
        call = f"c{number}-{step}"
        given = Argument(variable=f"c{number}-{step - 1}.out") if step else Argument(text=f"question {number}")
        said.append(
            SubmitCall(
                session=session,
                call=call,
                function=f"f{number % 20}",
                template=[
                    Segment("hash", f"{number % 20:032x}"),
                    Segment("slot", "given"),
                    Segment("text", " Answer: "),
                    Segment("slot", "out"),
                ],
                arguments={"given": given},
                outputs={"out": Output(variable=f"{call}.out", sampling=SamplingConfig(temperature=0, max_gen_length=128))},
            )
        )
    if number % 2:
        said.append(WantVariable(session=session, variable=f"c{number}-{CHAIN - 1}.out", criterion=LATENCY))
    return said


def received(message: Task) -> Task:
    """The message as it comes out of the stream: nothing of it is shared with others."""
    return tasks.decode({str(name).encode(): str(value).encode() for name, value in encode(message).items()})


def measure(calls: int, engines: int) -> Row:
    """One size, in this process."""
    everything = 10 * calls + 1_000_000
    machine = Machine(Keys("bench"), Limits(lease=1e9, active=everything, tenant_active=everything, session_calls=everything), now=1.0)
    now = 1.0
    capacity = Capacity(running=RUNNING, kv_tokens=10**9, context_tokens=10**6, block_tokens=16)
    ups = [
        EngineUp(engine=f"e{i}", name=f"e{i}", kind="k", model="m", tokenizer="t", host="h", pid=i, capacity=capacity)
        for i in range(engines)
    ]
    machine.handle(ups, now)
    machine.handle([OpenSession(session=f"s{i}", name="s", tenant=f"t{i % TENANTS}") for i in range(500)], now)
    running: list[tuple[str, Job]] = []
    want = calls + engines * RUNNING
    before, spent, sent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0, 0
    gc.disable()
    messages: list[Task] = []
    for number in range(-(-want // CHAIN)):
        messages += map(received, program(number))
        sent += CHAIN
        if len(messages) >= 400:
            spent += _handle(machine, messages, now, running)
            now += 0.01
            messages = []
    spent += _handle(machine, messages, now, running)
    submit = 1000 * spent / sent
    kb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / sent
    gc.freeze()
    costs, sequence = [], dict.fromkeys((up.engine for up in ups), 0)
    for turn in range(min(MEASURED, calls // 2) // ENDED_AT_ONCE):
        now += 0.2
        done: list[GenerationDone | EngineHolds] = []
        for engine, job in running[:ENDED_AT_ONCE]:
            usage = Usage(tokens_in=600, tokens_cached=512, tokens_out=40 + turn % 50, first_token_seconds=0.03, seconds=2.0, running=20.0)
            done.append(GenerationDone(engine=engine, variable=job.variable, attempt=job.attempt, usage=usage))
        engine = running[0][0]
        sequence[engine] += 1
        done.append(EngineHolds(engine=engine, sequence=sequence[engine], stored=[(mark.name, 512) for mark in running[0][1].marks]))
        del running[:ENDED_AT_ONCE]
        costs.append(_handle(machine, done, now, running) / ENDED_AT_ONCE)
    return Row(calls, engines, submit, 1000 * statistics.median(costs), kb)


def _handle(
    machine: Machine, messages: list[Task] | list[GenerationDone | EngineHolds], now: float, running: list[tuple[str, Job]]
) -> float:
    started = time.process_time()
    batch = machine.handle(messages, now)
    spent = time.process_time() - started
    running += [(engine, order) for engine, _, order in batch.orders if isinstance(order, Job)]
    return spent


def main(
    quick: Annotated[bool, typer.Option(help="10,000 calls and 64 engines only.")] = False,
    json: Annotated[Optional[Path], typer.Option(help="Where rows go.")] = None,  # noqa: UP045
    plot: Annotated[Optional[Path], typer.Option(help="Where the picture goes.")] = None,  # noqa: UP045
    size: Annotated[Optional[str], typer.Option(hidden=True)] = None,  # noqa: UP045
) -> None:
    """Measure what decisions cost."""
    if size:
        calls, engines = map(int, size.split("x"))
        sys.stdout.buffer.write(orjson.dumps(measure(calls, engines)))
        return
    sizes = [(10_000, 64)] if quick else [*((calls, 64) for calls in CALLS), *((10_000, engines) for engines in ENGINES if engines != 64)]
    rows = []
    for calls, engines in track(sizes, description="sizes", console=Console(stderr=True)):
        said = subprocess.run([sys.executable, "-m", "bench.decisions", "--size", f"{calls}x{engines}"], check=True, capture_output=True)
        rows.append(Row(**orjson.loads(said.stdout)))
    table = Table("calls waiting", "engines", "ms to take in a call", "ms per decision", "KB per call")
    for row in rows:
        table.add_row(f"{row.calls:,}", f"{row.engines:,}", f"{row.submit_ms:.3f}", f"{row.decide_ms:.3f}", f"{row.kb:.2f}")
    Console().print(table, f"wanted at 10,000 calls and 64 engines: {WANTED_MS} ms, {WANTED_KB} KB")
    if json:
        json.write_bytes(orjson.dumps([asdict(row) for row in rows], option=orjson.OPT_INDENT_2))
    if plot:
        draw(rows, plot)


def draw(rows: list[Row], file: Path) -> None:
    """The growth, as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    by_calls = sorted((row for row in rows if row.engines == 64), key=lambda row: row.calls)
    by_engines = sorted((row for row in rows if row.calls == 10_000), key=lambda row: row.engines)
    for axis, found, xs, label in (
        (axes[0], by_calls, [row.calls for row in by_calls], "calls that wait (64 engines)"),
        (axes[1], by_engines, [row.engines for row in by_engines], "engines (10,000 calls wait)"),
    ):
        axis.plot(xs, [row.decide_ms for row in found], marker="o", label="decide")
        axis.plot(xs, [row.submit_ms for row in found], marker="s", label="take in")
        axis.axhline(WANTED_MS, linestyle=":", color="grey", label="wanted")
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(label)
    axes[0].set_ylabel("CPU ms per generation")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    typer.run(main)
