"""What a dead worker costs: two workers, one is killed in the middle of its tasks; Parrot beside Celery and taskiq-redis.

`again` is the time from the kill (SIGKILL, of all its processes) until the last of the killed worker's tasks runs again elsewhere, `late`
how much later than without the kill all are done. Every side has the shortest settings that it allows for tasks of this length: Celery
and taskiq-redis must be told a time after which a task counts as lost, which cannot be shorter than the longest task takes; Parrot's
lease (3 s by default) has nothing to do with that. BENCH_SECONDS=30 in the environment makes tasks of 30 s.

Each run has an embedded server of its own (AOF, fsync every second). The sides take turns.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table

import parrot as P
from bench.recovery_marks import SECONDS
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.wire.keys import Keys

TASKS = 4
KILL_AFTER = 2.0  # seconds after the last task began
CAP = 180.0  # seconds after the kill at which a side is given up
STEPS = round(14.6 * SECONDS)  # tokens of a simulated generation that takes about as long


@dataclass(frozen=True)
class Outcome:
    """One run of one side.

    Attributes:
        again: seconds from the kill until the last victim runs again; None if it did not within the cap.
        late: seconds that all were done later than without the kill; None if they were not within the cap.
        victims: tasks that the killed worker held.
    """

    again: float | None
    late: float | None
    victims: int


# Parrot ------------------------------------------------------------------------------------------


@P.semantic_function()
def task(
    number: Annotated[str, P.Input],
    result: Annotated[str, P.Output(P.SamplingConfig(temperature=0, max_gen_length=STEPS, ignore_tokenizer_eos=True))],
) -> None:
    """Task {{number}}: {{result}}"""


def run_parrot(folder: Path, url: str) -> Outcome:
    """One run on ServeCore and two simulated engines, with their default settings."""
    common = {"PARROT_REDIS_URL": url, "PARROT_ENGINE": "simulated", "PARROT_DATA": str(folder), "PARROT_LOG_LEVEL": "error"}
    parrot = [sys.executable, "-m", "parrot.cli"]
    with worker([*parrot, "core"], common), ExitStack() as stack:
        workers = {
            name: stack.enter_context(worker([*parrot, "worker"], common | {"PARROT_ENGINE_NAME": name})) for name in ("first", "second")
        }
        return asyncio.run(_parrot(url, workers))


async def _parrot(url: str, workers: dict[str, subprocess.Popen[bytes]]) -> Outcome:
    keys, redis = Keys(), connect(url)
    try:
        async with asyncio.timeout(60):
            while await redis.scard(keys.engines) < len(workers):
                await asyncio.sleep(0.05)
        undisturbed = await _undisturbed(url)
        async with P.AsyncSession(url, name="recovery") as session:
            began = time.monotonic()
            variables = [task(number=str(i)) for i in range(TASKS)]
            await session.flush()
            engines = await _until_generating(redis, [keys.variable(variable.id) for variable in variables])
            await asyncio.sleep(KILL_AFTER)
            engine = max(set(engines), key=engines.count)
            victims = [variable for variable, held in zip(variables, engines, strict=True) if held == engine]
            killed = kill(workers[engine.rpartition("-")[0]])
            again = asyncio.create_task(_until_again(redis, [keys.variable(variable.id) for variable in victims], engine))
            for variable in variables:
                await variable.aget(timeout=CAP)
            late = time.monotonic() - began - undisturbed
            return Outcome(await again - killed, late, len(victims))
    finally:
        await redis.aclose()


async def _undisturbed(url: str) -> float:
    async with P.AsyncSession(url, name="undisturbed") as session:
        began = time.monotonic()
        variables = [task(number=f"{i} first") for i in range(TASKS)]
        await session.flush()
        for variable in variables:
            await variable.aget(timeout=CAP)
        return time.monotonic() - began


async def _until_generating(redis: Any, variables: list[str]) -> list[str]:
    while True:
        rows = [await redis.hmget(key, ["state", "engine"]) for key in variables]
        if all(state == b"generating" for state, _ in rows):
            return [engine.decode() for _, engine in rows]
        await asyncio.sleep(0.01)


async def _until_again(redis: Any, variables: list[str], dead: str) -> float:
    """When the last of them was claimed by another engine than the dead one."""
    waiting = set(variables)
    while waiting:
        for key in list(waiting):
            state, engine = await redis.hmget(key, ["state", "engine"])
            if engine.decode() not in ("", dead) and state in (b"generating", b"ready"):
                waiting.remove(key)
        await asyncio.sleep(0.01)
    return time.monotonic()


# The rivals --------------------------------------------------------------------------------------


def run_celery(folder: Path, url: str) -> Outcome:
    """One run on two Celery workers."""
    argv = [sys.executable, "-m", "celery", "-A", "bench.recovery_celery", "worker", "-P", "prefork", "-c", str(TASKS), "-l", "error"]
    return run_rival(folder, url, [*argv, "--without-gossip", "--without-mingle"], CELERY_CLIENT)


def run_taskiq(folder: Path, url: str) -> Outcome:
    """One run on two taskiq workers."""
    argv = [sys.executable, "-m", "taskiq", "worker", "bench.recovery_taskiq:broker", "--workers", "1"]
    return run_rival(folder, url, [*argv, "--max-async-tasks", str(2 * TASKS), "--log-level", "ERROR"], TASKIQ_CLIENT)


CELERY_CLIENT = """
import sys
from bench.recovery_celery import recovery
for i in range(int(sys.argv[1])):
    recovery.delay(f"t{i}")
"""

TASKIQ_CLIENT = """
import asyncio, sys
from bench.recovery_taskiq import broker, recovery, tick

async def main():
    await broker.startup()
    for i in range(int(sys.argv[1])):
        await recovery.kiq(f"t{i}")
    while True:
        await asyncio.sleep(0.5)
        await tick.kiq()

asyncio.run(main())
"""


def run_rival(folder: Path, url: str, argv: list[str], client: str) -> Outcome:
    """One run on two workers of a rival."""
    marks = Marks(folder / "marks")
    common = {"BENCH_URL": url, "BENCH_MARKS": str(marks.path)}
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(argv, common)) for _ in range(2)]
        time.sleep(6)  # until both have connected: they do not say so
        stack.enter_context(worker([sys.executable, "-c", client, str(TASKS)], common))
        marks.until(lambda: len(marks.began()) == TASKS, 60)
        time.sleep(KILL_AFTER)
        held = [group for _, group, _ in marks.began()]
        group = max(set(held), key=held.count)
        victims = {name for name, its, _ in marks.began() if its == group}
        killed = kill(next(one for one in workers if one.pid == group))
        due = max(at for _, _, at in marks.began()) + SECONDS
        again = marks.until(lambda: victims <= {name for name, its, _ in marks.began() if its != group}, CAP)
        done = marks.until(lambda: len({name for name, _, _ in marks.ended()}) == TASKS, CAP) if again else None
        first = {name: at for name, its, at in reversed(marks.began()) if its != group and name in victims}
        last = {name: at for name, _, at in reversed(marks.ended())}
        return Outcome(max(first.values()) - killed if again else None, max(last.values()) - due if done else None, len(victims))


class Marks:
    """What the workers noted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def began(self) -> list[tuple[str, int, float]]:
        return self._read("began")

    def ended(self) -> list[tuple[str, int, float]]:
        return self._read("ended")

    def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Wait until it is true; False if it is not in time."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _read(self, what: str) -> list[tuple[str, int, float]]:
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return [(name, int(group), float(at)) for kind, name, group, at in rows if kind == what]


# All ---------------------------------------------------------------------------------------------


@contextmanager
def worker(argv: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child with its children, killed at the end."""
    child = subprocess.Popen(
        argv, env=os.environ | environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            kill(child)


def kill(child: subprocess.Popen[bytes]) -> float:
    """SIGKILL for a child and all its children, as if its machine had died; when that was."""
    os.killpg(child.pid, signal.SIGKILL)
    at = time.monotonic()
    child.wait()
    return at


SIDES: dict[str, Callable[[Path, str], Outcome]] = {"parrot": run_parrot, "celery": run_celery, "taskiq": run_taskiq}


def run(side: str) -> Outcome:
    """One run of one side on a server of its own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "redis") as server:
        return SIDES[side](Path(folder), server.url)


def shown(seconds: list[float | None]) -> str:
    """The median, for people; a run that was given up counts as longer than any other."""
    middle = statistics.median_high([CAP if one is None else one for one in seconds])
    return f"> {CAP:.0f} s" if None in seconds and middle >= CAP else f"{middle:.1f} s"


def main() -> None:
    """Run all sides in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all runs to FILE")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs, in turn; medians are shown (default 3)")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), help="which sides (default all)")
    options = parser.parse_args()
    console = Console()
    loads = [os.getloadavg()[0]]
    runs: dict[str, list[Outcome]] = {side: [] for side in options.sides}
    with console.status("") as status:
        for number in range(options.rounds):
            for side in options.sides:
                status.update(f"round {number + 1} of {options.rounds}: {side}")
                runs[side].append(run(side))
                loads.append(os.getloadavg()[0])
    table = Table("side", "runs again after the kill", "done later than without it", "tasks that were lost with the worker")
    for side, done in runs.items():
        table.add_row(side, shown([one.again for one in done]), shown([one.late for one in done]), str([one.victims for one in done]))
    console.print(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report(runs, loads), indent=2) + "\n")
        console.print(f"written to {options.json}")


def report(runs: dict[str, list[Outcome]], loads: list[float]) -> dict[str, Any]:
    """Medians and all runs, for scripts; `null` is longer than the cap."""
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_averages": loads,  # of one minute: before the first run and after each
        },
        "task_seconds": SECONDS,
        "tasks": TASKS,
        "cap_seconds": CAP,
        "medians": {
            side: {"again": shown([one.again for one in done]), "late": shown([one.late for one in done])} for side, done in runs.items()
        },
        "runs": {side: [asdict(one) for one in done] for side, done in runs.items()},
    }


if __name__ == "__main__":
    main()
