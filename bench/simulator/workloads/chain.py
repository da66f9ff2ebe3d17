"""Summaries of long documents, chunk by chunk, each call going on from the one before (Parrot, OSDI'24, section 8.2)."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import NOBODY_WAITS, App, Pause, Read
from bench.simulator.workload import Kind, Workload, lognormal
from parrot.criteria import LATENCY

CHUNK = 1024  # tokens
DOCUMENT = lognormal(20_000, 0.5, 4_000, 60_000)  # tokens: some 20 chunks
SUMMARY = lognormal(50, 0.4, 20, 120)  # tokens: the paper has 25 to 100
QUESTION = lognormal(600, 0.7, 50, 2_000)  # tokens of a background request
ANSWER = lognormal(250, 0.6, 20, 800)


def chain(app: App) -> Generator[Read | Pause, None, None]:
    """One document; somebody waits for its summary."""
    instructions = app.contents.write("You continue the summary of a long document.", 60)
    so_far = app.text(app.contents.write("nothing yet", 4))
    for number in range(max(1, DOCUMENT(app.chance) // CHUNK)):
        chunk = app.text(app.write(f"chunk {number}", CHUNK))
        so_far = app.call("continue_summary", [instructions, chunk, so_far], tokens=SUMMARY(app.chance), most=200)
    yield app.read(so_far, LATENCY)


def background(app: App) -> Generator[Read | Pause, None, None]:
    """One request for which nobody waits."""
    question = app.text(app.write("question", QUESTION(app.chance)))
    answer = app.call("answer_in_background", [question], tokens=ANSWER(app.chance), true=NOBODY_WAITS)
    yield app.read_all([answer], None)


CHAIN = Workload("chain", "chain summaries of documents of some 20,000 tokens", (Kind("chain", chain),), size=20)
CHAIN_BACKGROUND = Workload(
    "chain-background",
    "the same, with ten times as many single requests for which nobody waits",
    (Kind("chain", chain), Kind("background", background, share=10, tenant="background")),
    size=3,
)
CHAINS = Workload("chains", "10 to 25 such documents at once", (Kind("chain", chain, burst=(10, 25)),), size=20)
