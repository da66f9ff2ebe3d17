"""Four assistants, each with a long prompt of its own, on a few engines (Parrot, OSDI'24, section 8.3)."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from bench.simulator.app import READ, App, Given, Pause, Read
from bench.simulator.workload import Kind, Workload, lognormal
from parrot.criteria import TTFT

PROMPTS = (7_437, 1_116, 1_694, 2_031)  # tokens
ANSWERS = (120, 200, 300, 450)  # tokens, on average
QUESTION = lognormal(150, 0.8, 10, 1_000)


def assistant(number: int, app: App) -> Generator[Read | Pause, None, None]:
    """One question to one of them."""
    instructions = app.contents.write(f"You are assistant {number}.", PROMPTS[number])
    tokens = lognormal(ANSWERS[number], 0.6, 10, 1_000)(app.chance)
    prompt: list[str | Given] = [instructions, Given(app.write("question", QUESTION(app.chance)))]
    yield app.read(app.call(f"assistant_{number}", prompt, tokens=tokens, true=READ), TTFT)


ASSISTANTS = Workload(
    "assistants",
    "questions to four assistants with prompts of 7,437, 1,116, 1,694 and 2,031 tokens",
    tuple(Kind(f"assistant-{number}", partial(assistant, number)) for number in range(len(PROMPTS))),
)
