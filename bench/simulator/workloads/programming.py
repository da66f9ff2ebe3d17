"""Multi-agent programming: a design, coders for its files, and rounds of review of all of it (Parrot, OSDI'24, section 8.4, as MetaGPT)."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import App, Pause, Read
from bench.simulator.workload import Kind, Workload, lognormal
from parrot.criteria import LATENCY

ROUNDS = 3
FILES = (4, 16)
TASK = lognormal(200, 0.5, 50, 600)  # tokens
DESIGN = lognormal(400, 0.3, 200, 900)
CODE = lognormal(300, 0.5, 80, 900)
REVIEW = lognormal(100, 0.5, 20, 300)


def programming(app: App) -> Generator[Read | Pause, None, None]:
    """One task; somebody waits for all files."""
    write, chance = app.contents.write, app.chance
    task = app.text(app.write("task", TASK(chance)))
    design = app.call("architect", [write("You are an architect.", 150), task], tokens=DESIGN(chance))
    names = [f" File {number}:" for number in range(chance.randint(*FILES))]
    of_round = app.together
    coder, reviewer = write("You are a programmer.", 120), write("You are a reviewer.", 120)
    codes = [app.call("code", [coder, task, design, name], tokens=CODE(chance), true=of_round) for name in names]
    for _ in range(ROUNDS):
        reviews = [app.call("review", [reviewer, task, design, *codes, name], tokens=REVIEW(chance), true=of_round) for name in names]
        codes = [
            app.call("revise", [coder, task, design, *codes, name, review], tokens=CODE(chance), true=of_round)
            for name, review in zip(names, reviews, strict=True)
        ]
    yield app.read_all(codes, LATENCY)


PROGRAMMING = Workload("programming", "4 to 16 files in 3 rounds of review by several agents", (Kind("programming", programming),), size=60)
