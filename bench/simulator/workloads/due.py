"""Documents with deadlines, some of them near, beside as many for which nobody waits."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import App, Pause, Read
from bench.simulator.workload import Kind, Workload
from bench.simulator.workloads.map_reduce import summarize
from parrot.criteria import THROUGHPUT, Deadline

SECONDS = (20.0, 200.0)  # until a summary is of use no more: as many between 20 and 40 as between 100 and 200


def report(app: App) -> Generator[Read | Pause, None, None]:
    """One document that is due."""
    nearest, farthest = SECONDS
    yield from summarize(app, Deadline(nearest * (farthest / nearest) ** app.chance.random()))


def archived(app: App) -> Generator[Read | Pause, None, None]:
    """One for which nobody waits."""
    yield from summarize(app, THROUGHPUT)


DUE = Workload(
    "due",
    "map-reduce summaries, half of them with deadlines of 20 to 200 seconds, half of them for nobody in particular",
    (Kind("report", report), Kind("archived", archived)),
    size=20,
)
