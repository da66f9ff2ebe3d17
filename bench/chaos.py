"""Random programs on the real bus while processes of every kind are killed and stopped at random: is anything lost, or done twice?

    python -m bench.chaos --minutes 5 --seed 1 --json bench/results/chaos.json

One broker (`appendfsync always`), two ServeCores, several engine workers (real Celery workers with the simulated engine) and a client,
each a process, SIGKILLed or SIGSTOPped for longer than its lease, and started again. Most faults come alone, when the one before has been
recovered from; some overlap. In the end a checker (`chaos_history`) looks at all that was acknowledged, published and streamed. The exit
status says whether anything happened that must not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import chaos_fleet as fleet
from bench.chaos_history import History, report
from bench.chaos_records import Fault
from bench.chaos_watch import Watch, acknowledged
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from parrot.wire.keys import Keys

KEYS = Keys("main")
GRACE = 1.0  # seconds that a recovery may take beyond the lease
SETTLE = 60.0  # seconds after which it is an error that work goes on, or that a process is not back
COLOURS = {"core": "tab:blue", "worker": "tab:orange", "broker": "tab:red", "client": "tab:green"}
WORTH = {"core": 3, "worker": 4, "broker": 2, "client": 1}  # how often each role is hit


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        seconds: during which faults come.
        calls: that must have been acknowledged before it ends; it goes on for up to as long again without faults.
        workers: engine workers.
        at_once: programs that the client has under way.
        lease: in seconds.
    """

    seconds: float
    calls: int
    seed: int
    workers: int = 3
    at_once: int = 24
    lease: float = 3.0


class Chaos:
    """One run.

    Args:
        plan: what to do.
        folder: for data and logs.
        server: started.
        watch: looks on.
    """

    def __init__(self, plan: Plan, folder: Path, server: EmbeddedServer, watch: Watch) -> None:
        self.faults: list[Fault] = []
        self.mark = secrets.token_hex(8)
        self.notes = folder / "acknowledged"
        self._plan = plan
        self._watch = watch
        self._chance = random.Random(plan.seed)
        self._broker = fleet.Broker(server)
        environment = {
            fleet.MARK: self.mark,
            "PARROT_REDIS_URL": server.url,
            "PARROT_ENGINE": "simulated",
            "PARROT_SIMULATED_SPEED": "2",
            "PARROT_LEASE_SECONDS": str(plan.lease),
            "PARROT_DRAIN_SECONDS": "5",
        }
        self.cores = [fleet.core(number, environment, folder) for number in range(2)]
        self.workers = [fleet.worker(number, environment, folder) for number in range(plan.workers)]
        self.client = fleet.client(environment, folder, self.notes, plan.seed, plan.at_once)

    @property
    def members(self) -> list[fleet.Member]:
        return [*self.cores, *self.workers, self.client]

    # Faults ---------------------------------------------------------------------------------------

    async def torment(self) -> None:
        """Fault after fault, until the time is over."""
        await self.settled()
        until = self._watch.now() + self._plan.seconds
        while self._watch.now() < until:
            await self.settled()
            await asyncio.sleep(self._chance.uniform(0.3, 1.5))
            if self._chance.random() < 0.15:
                await asyncio.gather(*(self._later(self._chance.uniform(0, 1.0)) for _ in range(2)))
            else:
                await self._strike()

    async def settled(self) -> None:
        """Everybody is there."""
        async with asyncio.timeout(SETTLE):
            while not all(member.ready for member in self.members):
                await asyncio.sleep(0.05)

    async def end_well(self) -> None:
        """Go on without faults until there are calls enough, then let everything end."""
        deadline = self._watch.now() + self._plan.seconds + SETTLE
        await self.settled()
        while len(acknowledged(self.notes)) < self._plan.calls:
            if self._watch.now() > deadline:
                raise TimeoutError(f"{len(acknowledged(self.notes)):,} of {self._plan.calls:,} calls were submitted in the time allowed.")
            await asyncio.sleep(0.5)
        await self.client.end(SETTLE)
        async with asyncio.timeout(SETTLE):
            while not await self._watch.idle():
                await asyncio.sleep(0.1)

    async def _later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._strike()

    async def _strike(self) -> None:
        """Hit somebody, and wait until what it was at work on goes on, or for so long that it never will."""
        role = self._chance.choices(list(WORTH), list(WORTH.values()))[0]
        stops = role in ("core", "worker") and self._chance.random() < 0.25
        fault = Fault("stop" if stops else "kill", role, role, self._watch.now())
        self.faults.append(fault)
        try:
            async with asyncio.timeout(3 * self._plan.lease + 10):
                fault.recovered = await self._hit(fault)
        except TimeoutError:
            fault.recovered = None  # the checker finds it

    async def _hit(self, fault: Fault) -> float:
        if fault.role == "broker":
            return await self._hit_broker(fault)
        members = {"core": self.cores, "worker": self.workers, "client": [self.client]}[fault.role]
        standing = [member for member in members if member.ready]
        if not standing:
            fault.held = "nothing: it was down already"
            return fault.at
        member = self._chance.choice(standing)
        fault.victim = member.name
        leads, (epoch, _) = await self._watch.leader_pid() == member.pid, await self._watch.position()
        fault.at = self._watch.now()
        if not member.ready:
            fault.held = "nothing: another fault had hit it meanwhile"
            return fault.at
        fault.pid = member.pid
        waking = self._stop(member) if fault.kind == "stop" else None
        if waking is None:
            member.kill()
        try:
            if fault.role == "core":
                fault.held = "the lead" if leads else "nothing: it stood by"
                return await self._watch.until_led_again(epoch) if leads else fault.at
            if fault.role == "worker":
                return await self._until_taken_up(fault)
            fault.held = "its programs"
            return await self._watch.until_next_value()
        finally:
            if waking is not None:
                await waking

    async def _until_taken_up(self, fault: Fault) -> float:
        held, fault.suspects = await self._watch.held_by(fault.pid)
        fault.held = f"{len(held)} generations" + (f", {fault.suspects} of which an engine had died of before" if fault.suspects else "")
        fault.holds = tuple(held)
        return await self._watch.until_taken_up(held)

    def _stop(self, member: fleet.Member) -> asyncio.Task[None]:
        member.stop()

        async def wake() -> None:
            await asyncio.sleep(self._plan.lease * self._chance.uniform(1.2, 1.7))
            member.wake()

        return asyncio.create_task(wake())

    async def _hit_broker(self, fault: Fault) -> float:
        fault.held, fault.victim = "everything", "broker"
        fault.at = self._watch.now()
        self._broker.kill_and_start()
        return max(await asyncio.gather(self._watch.until_next_value(), self._watch.until_next_commit()))


@asynccontextmanager
async def running(plan: Plan, folder: Path) -> AsyncIterator[tuple[Chaos, Watch]]:
    """The fleet, up and kept up; all of it ends with the block."""
    with EmbeddedServer(folder / "broker", options={"appendfsync": "always"}) as server:
        async with connect(server.url) as redis:
            watch = Watch(redis, KEYS, time.monotonic())
            chaos = Chaos(plan, folder, server, watch)
            try:
                async with asyncio.TaskGroup() as tasks:
                    background = [tasks.create_task(work) for work in (watch.follow(), *(member.keep() for member in chaos.members))]
                    yield chaos, watch
                    for task in background:
                        task.cancel()
            finally:
                await asyncio.gather(*(member.end(20) for member in chaos.members))


async def run(plan: Plan, folder: Path, progress: Progress) -> dict[str, Any]:
    """One run: what was seen, as `chaos_history.report` puts it, and what the plot needs."""
    loads = [os.getloadavg()]
    async with running(plan, folder) as (chaos, watch):
        showing = asyncio.create_task(_show(chaos, watch, plan, progress))
        try:
            await chaos.torment()
            loads.append(os.getloadavg())
            await chaos.end_well()
            history = await _look(chaos, watch, plan)
        finally:
            showing.cancel()
            await asyncio.wait([showing])
    history = replace(history, orphans=list(fleet.survivors(chaos.mark)))
    return {
        "plan": asdict(plan),
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(), "shared": True},
        "load_average": {"begin": loads[0], "after_the_faults": loads[1], "end": os.getloadavg()},
        **report(history),
        "died_unasked": {member.name: member.unforeseen for member in chaos.members},
        "faults": [asdict(fault) for fault in chaos.faults],
        "completions": [round(at, 2) for at, _ in watch.done],
    }


async def _show(chaos: Chaos, watch: Watch, plan: Plan, progress: Progress) -> None:
    task = progress.add_task("chaos", total=plan.seconds)
    while True:
        recovered = sum(fault.recovered is not None for fault in chaos.faults)
        said = f"{len(watch.done):,} values, {len(chaos.faults)} faults, {recovered} recovered from"
        progress.update(task, completed=min(watch.now(), plan.seconds), description=said)
        await asyncio.sleep(0.2)


async def _look(chaos: Chaos, watch: Watch, plan: Plan) -> History:
    """What is there in the end."""
    calls = acknowledged(chaos.notes)
    variables = [variable for call in calls for variable in call.variables]
    states, values, errors = await watch.outcomes(variables)
    return History(
        calls=calls,
        states=states,
        errors=errors,
        events=[variable for _, variable in watch.done],
        news=await watch.news({call.session for call in calls}),
        streams=await watch.streams(variables),
        values=values,
        lives=watch.lives,
        sent=watch.sent,
        faults=chaos.faults,
        orphans=[],
        findings=await watch.findings(),
        limit=plan.lease + GRACE,
    )


def main() -> int:
    """Run, print, write JSON and a plot; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long faults come (default 5)")
    parser.add_argument("--calls", type=int, default=10_000, help="calls that must have been acknowledged in the end (default 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of programs and faults (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE, and a plot beside it")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave data and logs in DIR")
    options = parser.parse_args()
    plan = Plan(options.minutes * 60, options.calls, options.seed)
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            seen = asyncio.run(run(plan, folder, progress))
    _print(seen, console)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(seen, indent=2) + "\n")
        plot(seen, options.json.with_suffix(".png"))
        console.print(f"written to {options.json} and {options.json.with_suffix('.png')}")
    return 1 if seen["violations"] else 0


def _print(seen: dict[str, Any], console: Console) -> None:
    figures = ("calls_acknowledged", "calls_ended", "calls_failed", "lost", "published_twice", "out_of_order", "orphans", "findings")
    table = Table("figure", "value")
    for name in figures:
        table.add_row(name.replace("_", " "), f"{seen[name]:,}")
    for name in ("recovery_single", "recovery_single_with_suspects", "recovery_overlapping"):
        times = seen[name]
        table.add_row(
            f"{name.replace('_', ' ')} ({times['faults']} faults)",
            f"p50 {times['p50']:.2f} s, p99 {times['p99']:.2f} s, max {times['max']:.2f} s",
        )
    for code, count in seen["failures"]["by_code"].items():
        table.add_row(f"failed with the code {code}", f"{count:,}")
    console.print(table)
    _print_failures(seen["failures"], console)
    for violation in seen["violations"][:20]:
        console.print(f"[bold red]violation[/] {violation}", highlight=False)


def _print_failures(failures: dict[str, Any], console: Console) -> None:
    if not failures["examples"]:
        return
    blamed, followed, unexplained = len(failures["blamed_by_chance"]), failures["needed_one_of_those"], failures["unexplained"]
    lines = [f"calls that failed: {blamed} blamed by chance, {followed} needed one of those, {unexplained} unexplained"]
    for one in failures["blamed_by_chance"]:
        lines += [f"blamed by chance: {one['call']}", *(f"    {engine} died of {death}" for engine, death in one["engines"].items())]
    lines += [f"example: {one['variable']} ({one['code']}): {one['message']}" for one in failures["examples"]]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def plot(seen: dict[str, Any], path: Path) -> None:
    """Completions over time, with the faults marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bins = Counter(int(at) for at in seen["completions"])
    seconds = range(max(bins, default=0) + 1)
    figure, axes = pyplot.subplots(figsize=(14, 5))
    axes.step(seconds, [bins[second] for second in seconds], where="post", color="0.35", linewidth=1, label="values published")
    for role, colour in COLOURS.items():
        for kind, style in (("kill", "-"), ("stop", ":")):
            times = [fault["at"] for fault in seen["faults"] if (fault["role"], fault["kind"]) == (role, kind)]
            for number, at in enumerate(times):
                label = f"{kind} {role} ({len(times)})" if number == 0 else None
                axes.axvline(at, color=colour, linestyle=style, linewidth=1.2, alpha=0.8, label=label)
    single, limit = seen["recovery_single"], seen["recovery_limit_seconds"]
    axes.set_title(
        f"{seen['calls_acknowledged']:,} calls, {len(seen['faults'])} faults: {seen['lost']} lost, {seen['published_twice']} published "
        f"twice; single faults recovered from in p50 {single['p50']:.1f} s, max {single['max']:.1f} s (limit {limit:g} s)"
    )
    axes.set_xlabel("seconds")
    axes.set_ylabel("values published per second")
    axes.set_xlim(0, max(seconds, default=1))
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=8, frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
