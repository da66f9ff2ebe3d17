"""What decisions cost: CPU per generation and memory per waiting call, as calls and engines grow.

    python -m bench.decisions --json bench/results/decisions.json --plot bench/results/decisions.png
    python -m bench.decisions --most-calls 10000 --repetitions 1
    python -m bench.decisions --most-calls 10000 --chain 1    # all that wait could run at once

The real `Machine`, without Redis: engines are full, calls of many programs and tenants wait, and with each generation that ends the
next one is chosen, placed and explained. Counted is the time of `Machine.handle`, which is all that ServeCore thinks; how much of it is
deciding (the calls of the policy) is counted in another process, so that the clock at the policy's door slows nothing else down. Memory
is what the process grows by while the calls come that will wait, after as many as are read at once: below 100,000 of them it is rough,
since some find room in what was needed for those before them. Python's garbage collector rests in the meantime, and its work is not
counted. With `make compile` the decisions are machine code; one size is measured interpreted too, so that both are seen in one run.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Optional

import orjson
import psutil  # type: ignore[import-untyped]
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.decisions_figures import CALLS as USUAL_CALLS
from bench.decisions_figures import ENGINES as USUAL_ENGINES
from bench.decisions_figures import Cost, Point, draw, in_short, sizes, table, to_json, too_little
from bench.simulator.stopwatch import Stopwatch
from parrot.core import COMPILED
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
CHAIN = 4  # calls of a program, one after the other, of which only the first can run
TENANTS = 8
ENDED_AT_ONCE = 16  # generations that end in one batch
MEASURED = 4_000  # generations
SECONDS = 2.0  # that a generation takes
FILLED_WITHIN = 120  # seconds
PORTION = 400  # messages that are handled at once while calls come
NEEDED_PER_CALL, BASE = 3_500, 500_000_000  # bytes of a process, generously


def program(number: int, length: int) -> list[Task]:
    """A chain of so many calls with a long prompt that all programs of a function share, and a reader for every other one."""
    session = f"s{number % 500}"
    said: list[Task] = []
    for step in range(length):
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
        said.append(WantVariable(session=session, variable=f"c{number}-{length - 1}.out", criterion=LATENCY))
    return said


def received(message: Task) -> Task:
    """The message as it comes out of the stream: nothing of it is shared with others."""
    return tasks.decode({str(name).encode(): str(value).encode() for name, value in encode(message).items()})


class Bench:
    """A machine whose engines are full, and what it costs to go on.

    Args:
        calls: that will wait.
        engines: how many.
        clocked: put a clock at the policy's door.
    """

    def __init__(self, calls: int, engines: int, clocked: bool) -> None:
        everything = 10 * calls + 1_000_000
        limits = Limits(lease=1e9, active=everything, tenant_active=everything, session_calls=everything)
        self._machine = Machine(Keys("bench"), limits, now=1.0)
        self._clock = Stopwatch(self._machine.fleet.policy)
        if clocked:
            self._machine.fleet.policy = self._clock
        self._now = 1.0
        self._running: list[tuple[str, Job]] = []
        capacity = Capacity(running=RUNNING, kv_tokens=10**9, context_tokens=10**6, block_tokens=16)
        self._sequence = {f"e{number}": 0 for number in range(engines)}
        self._handle(
            [
                EngineUp(engine=name, name=name, kind="k", model="m", tokenizer="t", host="h", pid=1, capacity=capacity)
                for name in self._sequence
            ]
        )
        self._handle([OpenSession(session=f"s{i}", name="s", tenant=f"t{i % TENANTS}") for i in range(500)])

    def fill(self) -> None:
        """Give all engines as much as they run at once.

        They take it little by little: prompts must be computed, and places are kept for a while for what somebody waits for.
        """
        full = RUNNING * len(self._sequence)
        self.submit(range(full), 1, lambda _: None)
        for _ in range(FILLED_WITHIN):
            if len(self._running) == full:
                return
            self._now += 1.0
            self._handle([])
        raise RuntimeError(f"The policy leaves {full - len(self._running):,} places of engines free, though calls wait for them.")

    def submit(self, programs: range, length: int, told: Callable[[float], None]) -> tuple[float, float]:
        """Take programs in; CPU seconds of all, and of the policy."""
        spent = decided = 0.0
        portion = PORTION // length
        for start in range(programs.start, programs.stop, portion):
            said = chain.from_iterable(program(number, length) for number in programs[start - programs.start :][:portion])
            more, of_it = self._handle(list(map(received, said)))
            spent, decided, self._now = spent + more, decided + of_it, self._now + 0.01
            told((start - programs.start) / len(programs))
        return spent, decided

    def end_some(self, turn: int) -> tuple[float, float]:
        """Those generations end that have run longest; CPU seconds of all that follows, and of the policy, for each."""
        self._now += SECONDS * ENDED_AT_ONCE / len(self._running)
        done: list[GenerationDone | EngineHolds] = []
        tokens_out = 40 + turn % 50
        for engine, job in self._running[:ENDED_AT_ONCE]:
            usage = Usage(
                tokens_in=600, tokens_cached=512, tokens_out=tokens_out, first_token_seconds=0.03, seconds=SECONDS, running=RUNNING
            )
            done.append(GenerationDone(engine=engine, variable=job.variable, attempt=job.attempt, usage=usage))
        engine, job = self._running[0]
        self._sequence[engine] += 1
        done.append(EngineHolds(engine=engine, sequence=self._sequence[engine], stored=[(mark.name, 512) for mark in job.marks]))
        del self._running[:ENDED_AT_ONCE]
        spent, decided = self._handle(done)
        return spent / ENDED_AT_ONCE, decided / ENDED_AT_ONCE

    def _handle(self, messages: Sequence[Task | EngineUp | GenerationDone | EngineHolds]) -> tuple[float, float]:
        decided, started = self._clock.seconds, time.thread_time()
        batch = self._machine.handle(messages, self._now)
        spent = time.thread_time() - started
        self._running += [(engine, order) for engine, _, order in batch.orders if isinstance(order, Job)]
        return spent, self._clock.seconds - decided


def measure(calls: int, engines: int, clocked: bool, length: int, told: Callable[[float], None]) -> Cost:
    """One size, in this process.

    Args:
        calls: that wait.
        engines: all full.
        clocked: measure the policy by itself too.
        length: calls of a program.
        told: hears which part of the calls has come.
    """
    bench = Bench(calls, engines, clocked)
    filling = engines * RUNNING
    bench.fill()
    at_once = min(PORTION, calls // 2) // length * length
    first = filling + at_once // length  # what is needed for a moment to take in so many is there after that, and not counted as theirs
    spent, decided = bench.submit(range(filling, first), length, lambda _: None)
    before = psutil.Process().memory_info().rss
    more, of_it = bench.submit(range(first, filling + calls // length), length, told)
    grown = psutil.Process().memory_info().rss - before
    spent, decided = spent + more, decided + of_it
    waited_for = calls // length // 2  # they go first; once all of them run, engines keep places free and little is decided
    costs = [bench.end_some(turn) for turn in range(min(MEASURED, waited_for) // ENDED_AT_ONCE)]
    handled = sorted(cost for cost, _ in costs)
    return Cost(
        submit_ms=1000 * spent / calls,
        handle_ms=1000 * statistics.median(handled),
        handle_p99_ms=1000 * handled[len(handled) * 99 // 100],
        bytes_per_call=grown / (calls - at_once),
        policy_submit_ms=1000 * decided / calls,
        policy_ms=1000 * statistics.median(cost for _, cost in costs),
    )


def in_child(calls: int, engines: int, clocked: bool, length: int, told: Callable[[float], None], interpreted: bool = False) -> Cost:
    """`measure` in a process of its own, which says after each hundredth of the calls that it has come so far, and then what it cost."""
    environment = os.environ | ({"PARROT_INTERPRETED": "1"} if interpreted else {})
    command = [sys.executable, "-m", "bench.decisions", "--child", f"{calls},{engines},{int(clocked)},{length}"]
    said: object = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = orjson.loads(line)
            if isinstance(said, float):
                told(said)
    if child.returncode or not isinstance(said, dict):
        why = "it was killed, most likely since memory ran out" if child.returncode == -9 else "its error is above"
        sys.exit(f"{calls:,} calls and {engines:,} engines could not be measured: {why}.")
    return Cost(**said)


def be_child(calls: int, engines: int, clocked: bool, length: int) -> None:
    """The other side of `in_child`."""
    last = 0.0

    def told(part: float) -> None:
        nonlocal last
        if part >= last + 0.01:
            last = part
            print(part, flush=True)

    gc.disable()
    print(orjson.dumps(asdict(measure(calls, engines, clocked, length, told))).decode(), flush=True)


def measure_all(wanted: Sequence[tuple[int, int]], repetitions: int, length: int) -> list[Point]:
    """All sizes, each as often as asked, and how far it is on stderr. The sizes alternate, so that a busy minute hits none alone."""
    points = [Point(calls, engines) for calls, engines in wanted]
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    weights = [point.calls + point.engines * RUNNING + MEASURED for point in points]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=2 * repetitions * sum(weights))
        done = 0
        for repetition in range(repetitions):
            for point, weight in zip(points, weights, strict=True):
                for clocked, costs in ((False, point.plain), (True, point.clocked)):
                    kind = "policy alone" if clocked else "all"
                    said = f"{point.calls:,} calls, {point.engines:,} engines: {kind}, {repetition + 1} of {repetitions}"
                    progress.update(task, description=said)

                    def told(part: float, done: int = done, size: int = point.calls) -> None:
                        progress.update(task, completed=done + part * size)

                    costs.append(in_child(point.calls, point.engines, clocked, length, told))
                    done += weight
                    progress.update(task, completed=done)
                if COMPILED and (point.calls, point.engines) == (USUAL_CALLS, USUAL_ENGINES):
                    point.interpreted.append(in_child(point.calls, point.engines, True, length, lambda _: None, interpreted=True))
    return points


def main(
    most_calls: Annotated[int, typer.Option(help="Sizes with more waiting calls are left out.")] = CALLS[-1],
    most_engines: Annotated[int, typer.Option(help="Sizes with more engines are left out.")] = ENGINES[-1],
    repetitions: Annotated[int, typer.Option(min=1, help="How often each size is measured.")] = 3,
    length: Annotated[int, typer.Option("--chain", min=1, help="Calls of a program, one after the other: only the first can run.")] = CHAIN,
    json: Annotated[Optional[Path], typer.Option(help="Where all figures go.")] = None,  # noqa: UP045
    plot: Annotated[Optional[Path], typer.Option(help="Where the picture goes (needs matplotlib).")] = None,  # noqa: UP045
    child: Annotated[Optional[str], typer.Option(hidden=True)] = None,  # noqa: UP045
) -> None:
    """Measure what decisions cost."""
    if child:
        calls, engines, clocked, length = map(int, child.split(","))
        be_child(calls, engines, bool(clocked), length)
        return
    wanted = sizes(CALLS, ENGINES, most_calls, most_engines)
    if not wanted:
        sys.exit(f"No size is left. The smallest are {CALLS[0]:,} calls with 64 engines and 1 engine with 10,000 calls.")
    if why := too_little(max(calls for calls, _ in wanted), psutil.virtual_memory().available, NEEDED_PER_CALL, BASE):
        sys.exit(why)
    points = measure_all(wanted, repetitions, length)
    Console().print(table(points), in_short(points))
    if json:
        about = {
            "compiled": COMPILED,
            "running_per_engine": RUNNING,
            "calls_per_program": length,
            "tenants": TENANTS,
            "ended_at_once": ENDED_AT_ONCE,
        }
        json.write_bytes(to_json(points, about))
    if plot:
        draw(points, plot)


if __name__ == "__main__":
    typer.run(main)
