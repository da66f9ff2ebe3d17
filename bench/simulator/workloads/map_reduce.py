"""Summaries of long documents: all chunks at once, and one call that reduces them (Parrot, OSDI'24, section 8.2)."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import NOBODY_WAITS, WAITED_FOR, App, Pause, Read, Var
from bench.simulator.workload import Kind, Workload, lognormal
from bench.simulator.workloads.chain import CHUNK, DOCUMENT, SUMMARY
from parrot.criteria import LATENCY, Criterion, Deadline

REDUCED = lognormal(200, 0.4, 50, 500)  # tokens


def summarize(app: App, criterion: Criterion | Deadline) -> Generator[Read | Pause, None, None]:
    """One document."""
    yield app.read(map_summaries(app, criterion), criterion)


def map_summaries(app: App, criterion: Criterion | Deadline) -> Var:
    """The summary of a document that will be asked for with a criterion."""
    of_parts, of_whole = NOBODY_WAITS, NOBODY_WAITS
    if isinstance(criterion, Deadline):
        of_whole = app.within(criterion.seconds)
        of_parts = of_whole._replace(group=app.session)
    elif criterion is LATENCY:
        of_parts, of_whole = app.together, WAITED_FOR
    instructions = app.contents.write("You summarize a part of a long document.", 60)
    parts = []
    for number in range(max(2, DOCUMENT(app.chance) // CHUNK)):
        chunk = app.text(app.write(f"chunk {number}", CHUNK))
        parts.append(app.call("map_summary", [instructions, chunk], tokens=SUMMARY(app.chance), true=of_parts, most=200))
    together = app.contents.write("You make one summary of these.", 40)
    return app.call("reduce_summary", [together, *parts], tokens=REDUCED(app.chance), true=of_whole)


def map_reduce(app: App) -> Generator[Read | Pause, None, None]:
    """Somebody waits for the end."""
    yield from summarize(app, LATENCY)


MAP_REDUCE = Workload("map-reduce", "map-reduce summaries of documents of some 20,000 tokens", (Kind("map-reduce", map_reduce),), size=20)
