"""A search copilot: thousands of tokens of instructions that all requests share (Parrot, OSDI'24, section 8.3: 5,107 of some 6,000)."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import READ, App, Given, Pause, Read
from bench.simulator.workload import Kind, Workload, lognormal
from parrot.criteria import TTFT

SHARED = 5_107  # tokens
FOUND = lognormal(900, 0.4, 200, 2_500)  # tokens: search results and the question
ANSWER = lognormal(250, 0.4, 60, 800)


def copilot(app: App) -> Generator[Read | Pause, None, None]:
    """One request; its answer is read as it comes."""
    instructions = app.contents.write("You are the copilot of a search engine.", SHARED)
    prompt: list[str | Given] = [instructions, Given(app.write("results", FOUND(app.chance)))]
    yield app.read(app.call("copilot", prompt, tokens=ANSWER(app.chance), true=READ), TTFT)


COPILOT = Workload("copilot", "requests behind one prompt of 5,107 tokens, 8 to 64 at once", (Kind("copilot", copilot, burst=(8, 64)),))
