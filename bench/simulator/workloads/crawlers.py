"""Agents that work at night: nobody waits, and nobody knows how many turns each will take."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import NOBODY_WAITS, App, Given, Pause, Read, Var
from bench.simulator.workload import Kind, Workload, lognormal
from parrot.criteria import THROUGHPUT

TURNS = lognormal(6, 1.2, 1, 40)
PAGE = lognormal(350, 0.5, 50, 600)  # tokens that a tool gives back
SAYS = lognormal(60, 0.5, 15, 120)
TOOL = lognormal(500, 0.8, 50, 5_000)  # milliseconds


def crawl(app: App) -> Generator[Read | Pause, None, None]:
    """One task: each turn is submitted when the one before has ended."""
    chance = app.chance
    talk: list[str | Var | Given] = [app.contents.write("You look for what is asked for.", 1_000), Given(app.write("task", 200))]
    for turn in range(TURNS(chance)):
        said = app.call("crawl", talk, tokens=SAYS(chance), true=NOBODY_WAITS)
        yield app.read(said, THROUGHPUT)
        yield Pause(TOOL(chance) / 1000)
        talk += [said, Given(app.write(f"page {turn}", PAGE(chance)))]


CRAWLERS = Workload(
    "crawlers",
    "agents of one to forty turns for which nobody waits, each turn submitted after the one before",
    (Kind("crawler", crawl),),
    size=6,
)
