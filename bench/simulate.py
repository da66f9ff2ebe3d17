"""ServeCore's decisions beside those of rivals and oracles, in virtual time: the same machine, engines, programs and chance for all.

    python -m bench.simulate
    python -m bench.simulate --workload agents mix --policy affinity ours oracle --load 0.7 0.8 0.9 --seeds 5 --calls 6000 --json FILE

A load is a fraction of the programs per second that the strong baseline (`affinity`) carries; what that is, is found once for each workload
and profile, which takes minutes, and kept. See bench/simulator/README.md for what is simulated and what is not.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.simulator.capacity import Capacities
from bench.simulator.metrics import figures
from bench.simulator.plot import plot
from bench.simulator.policies.contestants import ABLATIONS, CONTESTANTS, OURS, OWN, RIVALS, STRONG
from bench.simulator.profiles import PROFILES
from bench.simulator.report import Row, summarize, table, to_json
from bench.simulator.run import Run, Setting
from bench.simulator.workload import Workload
from bench.simulator.workloads import WORKLOADS

CAPACITIES = Path(__file__).parent / "results" / "capacities.json"
CALIBRATED_WITH = 3000  # calls in a run that finds a capacity
FEWEST = 40  # programs of a run
OVERLOADED_TIMES = 6  # so many more programs where only a part of them is served


class Spec(NamedTuple):
    """One run, in words that another process understands."""

    workload: str
    policy: str
    profile: str
    engines: int
    load: float
    seed: int
    programs: int
    capacity: float


def run(spec: Spec) -> list[Row]:
    """The figures of one run."""
    contestant, workload = CONTESTANTS[spec.policy], WORKLOADS[spec.workload]
    setting = Setting(
        workload,
        PROFILES[spec.profile],
        spec.engines,
        spec.programs,
        rate=(workload.overload or spec.load) * spec.capacity * contestant.part,
        seed=spec.seed,
        lost=contestant.lost,
        deaths=contestant.deaths,
        reorders=contestant.reorders,
    )
    found = figures(Run(setting, contestant.make).go())
    return [Row(spec.workload, workload.overload or spec.load, spec.policy, spec.seed, metric, value) for metric, value in found.items()]


def programs_of(workload: Workload, calls: int) -> int:
    """How many programs make about so many calls; more where only a part of them is served."""
    return round(max(FEWEST, calls / workload.size) * (OVERLOADED_TIMES if workload.overload else 1))


def specs(options: argparse.Namespace, capacities: dict[str, float]) -> Iterator[Spec]:
    """All runs, one policy after the other on the same programs."""
    for name in options.workload:
        programs = options.programs or programs_of(WORKLOADS[name], options.calls)
        loads = options.load[:1] if WORKLOADS[name].overload else options.load
        for load in loads:
            for seed in range(options.seeds):
                for policy in options.policy:
                    yield Spec(name, policy, options.profile, options.engines, load, seed, programs, capacities[name])


def find_capacities(options: argparse.Namespace, console: Console) -> dict[str, float]:
    """What the strong baseline carries of each workload."""
    known, found = Capacities(CAPACITIES), {}
    with console.status("") as status:
        for name in options.workload:
            workload = WORKLOADS[name]
            programs = programs_of(replace(workload, overload=0.0), CALIBRATED_WITH)
            setting = Setting(workload, PROFILES[options.profile], options.engines, programs)

            def told(what: str, name: str = name) -> None:
                status.update(f"how much of {name} the strong baseline carries: {what}")

            found[name] = known.of(setting, told, again=options.calibrate)
    return found


def run_all(asked: Sequence[Spec], processes: int, console: Console) -> list[Row]:
    """Run all, in as many processes as are allowed, and show how far they are."""
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ExitStack() as stack:
        task = progress.add_task("", total=len(asked))
        if processes > 1:
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=get_context("spawn")))
            done = pool.map(run, asked)
        else:
            done = map(run, asked)
        for spec in asked:
            progress.update(task, description=f"{spec.workload} at {spec.load:.0%}: {spec.policy}, seed {spec.seed}")
            rows += next(done)
            progress.advance(task)
    return rows


def about(options: argparse.Namespace, capacities: dict[str, float]) -> dict[str, Any]:
    """What was run, and where."""
    return {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "load_average": os.getloadavg(),
        "profile": asdict(PROFILES[options.profile]),
        "engines": options.engines,
        "loads": options.load,
        "seeds": options.seeds,
        "programs": {name: options.programs or programs_of(WORKLOADS[name], options.calls) for name in options.workload},
        "capacities_programs_per_second": capacities,
        "workloads": {name: WORKLOADS[name].about for name in options.workload},
    }


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--policy", nargs="+", choices=CONTESTANTS, metavar="NAME", help=", ".join(CONTESTANTS))
    parser.add_argument("--ablate", action="store_true", help="ServeCore with each of its rules switched off in turn")
    parser.add_argument("--profile", choices=PROFILES, default="a100-13b", help="of the engines (default a100-13b)")
    parser.add_argument("--engines", type=int, default=4, help="how many (default 4)")
    parser.add_argument("--load", type=float, nargs="+", default=[0.8], help="of what the strong baseline carries (default 0.8)")
    parser.add_argument("--seeds", type=int, default=1, help="how often everything is run, with other programs each time (default 1)")
    parser.add_argument("--calls", type=int, default=1500, help="about how many calls a run has (default 1500)")
    parser.add_argument("--programs", type=int, help="how many programs a run has, instead")
    parser.add_argument("--processes", type=int, default=1, help="runs at the same time (default 1)")
    parser.add_argument("--calibrate", action="store_true", help="find again what the strong baseline carries")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how much sooner programs end (needs the extra `bench`)")
    options = parser.parse_args()
    if options.policy is None:
        ablated = [STRONG, OURS, *(one.name for one in ABLATIONS)]
        options.policy = ablated if options.ablate else [one.name for one in (*RIVALS, *OWN)]
    return options


def main() -> None:
    """Run all, print tables, write JSON and a picture."""
    options = parse()
    console = Console()
    capacities = find_capacities(options, console)
    rows = run_all(list(specs(options, capacities)), options.processes, console)
    summaries = summarize(rows)
    for workload, load in dict.fromkeys((row.workload, row.load) for row in rows):
        console.print(table(workload, load, summaries))
    console.print("Times in seconds; x: how many times less programs waited than with the strong baseline, their own pauses aside")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(about(options, capacities), rows, summaries))
        console.print(f"written to {options.json}")
    if options.plot:
        plot(summaries, max(options.load), options.profile, options.plot)
        console.print(f"drawn to {options.plot}")


if __name__ == "__main__":
    main()
