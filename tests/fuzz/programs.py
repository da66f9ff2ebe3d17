"""Programs that must come right whatever else is on the wire."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import parrot as P
from tests.fuzz.messages import World

GREEDY = P.SamplingConfig(temperature=0, max_gen_length=8)
PATIENCE = 60.0  # seconds after which a value counts as stalled


@P.semantic_function()
def begin(text: P.Input, result: P.Output(GREEDY)):
    """Begin with {{text}}: {{result}}"""


@P.semantic_function()
def join(left: P.Input, right: P.Input, thought: P.Output(GREEDY), result: P.Output(GREEDY)):
    """Join {{left}} and {{right}}. First think: {{thought}} Then answer: {{result}}"""


async def program(url: str, number: int, model: str, world: World) -> list[str]:
    """A graph of 6 calls and 9 outputs; all of its values."""
    async with P.AsyncSession(url, name=f"program {number}", model=model) as session:
        made = [begin(text=f"topic {number}.{i}") for i in range(3)]
        empty = session.variable()
        for left, right in ((0, 1), (1, 2)):
            made += join(left=made[left], right=made[right])
        made += join(left=made[-1], right=empty)
        await session.flush()
        world.variables += [variable.id for variable in made]  # only now: whoever knows an id before it is used can take it
        world.calls += [variable.id.partition(".")[0] for variable in made]
        empty.set(f"given {number}")
        return [await variable.aget(timeout=PATIENCE) for variable in made]


@dataclass
class Scores:
    """How the programs fared.

    Attributes:
        wrong: what was not as it should be, in words.
        seconds: of each program.
    """

    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    async def score(self, url: str, number: int, model: str, world: World, right: list[str]) -> None:
        """Run a program and compare its values with the right ones."""
        began = time.monotonic()
        try:
            values = await program(url, number, model, world)
        except P.ParrotError as error:
            self.wrong.append(f"program {number} on {model}: {type(error).__name__}: {error}")
            return
        self.seconds.append(time.monotonic() - began)
        if values != right:
            self.wrong.append(f"program {number} on {model}: other values than without the fuzz")
