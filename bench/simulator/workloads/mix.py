"""People who chat, and documents that are summarised meanwhile (Parrot, OSDI'24, section 8.5)."""

from __future__ import annotations

from collections.abc import Generator

from bench.simulator.app import READ, App, Given, Pause, Read, Var
from bench.simulator.workload import Kind, Workload, lognormal
from bench.simulator.workloads.map_reduce import summarize
from parrot.criteria import TTFT, Criterion

TURNS = (1, 6)
QUESTION = lognormal(120, 0.9, 5, 1_000)  # tokens
ANSWER = lognormal(220, 0.7, 10, 800)
READING = 0.02  # seconds that a person reads each token
THINKING = 5.0  # seconds that a person thinks, on average


def chat(app: App) -> Generator[Read | Pause, None, None]:
    """One conversation; each answer is read as it comes."""
    chance = app.chance
    talk: list[str | Var | Given] = [app.contents.write("You chat.", 100)]
    for turn in range(chance.randint(*TURNS)):
        talk.append(Given(app.write(f"question {turn}", QUESTION(chance))))
        tokens = ANSWER(chance)
        answer = app.call("chat", talk, tokens=tokens, true=READ)
        yield app.read(answer, TTFT)
        talk.append(answer)
        yield Pause(tokens * READING + chance.expovariate(1 / THINKING))


def analysis(app: App) -> Generator[Read | Pause, None, None]:
    """One document; nobody waits."""
    yield from summarize(app, Criterion.THROUGHPUT)


MIX = Workload(
    "mix",
    "chats, read as they come, and map-reduce summaries for which nobody waits",
    (Kind("chat", chat, share=5, tenant="people"), Kind("analysis", analysis, share=1, tenant="analysts")),
    size=6,
)
