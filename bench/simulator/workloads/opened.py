"""Documents that are summarised in advance, and people who open some of them meanwhile."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import App, Pause, Read
from bench.simulator.workload import Kind, Workload
from bench.simulator.workloads.map_reduce import map_summaries, summarize
from parrot.criteria import LATENCY, THROUGHPUT

LATER = (1.0, 30.0)  # seconds until somebody opens a document


def opened(app: App) -> Generator[Read | Pause, None, None]:
    """One that is opened, ready or not: from then on somebody waits."""
    summary = map_summaries(app, THROUGHPUT)
    app.read(summary, THROUGHPUT)
    yield Pause(app.chance.uniform(*LATER))
    yield app.read(summary, LATENCY)


def shelved(app: App) -> Generator[Read | Pause, None, None]:
    """One that nobody opens."""
    yield from summarize(app, THROUGHPUT)


OPENED = Workload(
    "opened",
    "map-reduce summaries in advance; a third of the documents is opened after 1 to 30 seconds, and somebody waits from then on",
    (Kind("opened", opened), Kind("shelved", shelved, share=2)),
    size=20,
)
