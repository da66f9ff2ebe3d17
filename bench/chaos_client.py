"""The client of `bench.chaos`: submits random programs without end, and writes down what was acknowledged to it.

Run as `python -m bench.chaos_client NOTES SEED AT_ONCE`, with `PARROT_REDIS_URL` in the environment. SIGTERM ends it once the programs
under way have been submitted. One line of JSON for each program: session, and the variables of each call.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import parrot as P
from parrot.app.outbox import refused
from parrot.errors import ParrotError

PATIENCE = 60.0  # seconds that it waits for the end of a program before it begins another

Input = Annotated[str, P.Input]


def _output(tokens: int) -> P.SamplingConfig:
    return P.SamplingConfig(temperature=0, max_gen_length=tokens, ignore_tokenizer_eos=True)


@P.semantic_function()
def short(text: Input, result: Annotated[str, P.Output(_output(6))]) -> None:
    """{{text}} goes on: {{result}}"""


@P.semantic_function()
def medium(text: Input, result: Annotated[str, P.Output(_output(20))]) -> None:
    """{{text}} goes on for a while: {{result}}"""


@P.semantic_function()
def long(text: Input, result: Annotated[str, P.Output(_output(80))]) -> None:
    """{{text}} goes on and on: {{result}}"""


@P.semantic_function()
def join(left: Input, right: Input, result: Annotated[str, P.Output(_output(8))]) -> None:
    """Join {{left}} and {{right}}: {{result}}"""


@P.semantic_function()
def think(text: Input, thought: Annotated[str, P.Output(_output(8))], answer: Annotated[str, P.Output(_output(6))]) -> None:
    """{{text}} Thought: {{thought}} Answer: {{answer}}"""


Made = list[Sequence[P.Variable]]  # the outputs of each call


def chain(chance: random.Random) -> Made:
    """Calls one after the other."""
    made: Made = []
    for _ in range(chance.randint(3, 10)):
        step = chance.choices([short, medium, long], [6, 3, 1])[0]
        made.append([step(text=made[-1][0] if made else f"Number {chance.random()}")])
    return made


def map_reduce(chance: random.Random) -> Made:
    """Calls side by side, then joined two by two."""
    made: Made = [[short(text=f"Part {part} of {chance.random()}")] for part in range(chance.randint(4, 12))]
    open_ends = [outputs[0] for outputs in made]
    while len(open_ends) > 1:
        made.append([join(left=open_ends.pop(0), right=open_ends.pop(0))])
        open_ends.append(made[-1][0])
    return made


def thoughts(chance: random.Random) -> Made:
    """Calls with two outputs each."""
    made: Made = []
    for _ in range(chance.randint(2, 6)):
        made.append(think(text=made[-1][1] if made else f"Question {chance.random()}"))
    return made


PROGRAMS: list[Callable[[random.Random], Made]] = [chain, map_reduce, thoughts]


async def submit_one(chance: random.Random, notes: Path) -> None:
    """One program, from its session to its last value."""
    async with P.AsyncSession(name="chaos") as session:
        made = chance.choice(PROGRAMS)(chance)
        try:
            await session.flush()
        except ParrotError as error:
            print(f"not all was taken: {error}", flush=True)  # what was is written down all the same
        taken = [outputs for outputs in made if all(receipt.done() and not refused(receipt) for receipt in outputs[0].receipts)]
        with notes.open("a") as file:
            file.write(json.dumps({"session": session.id, "calls": [[output.id for output in outputs] for outputs in taken]}) + "\n")
        if taken:
            await taken[-1][-1].aget(timeout=PATIENCE)


async def submit_all(notes: Path, chance: random.Random, stopping: asyncio.Event) -> None:
    """One program after the other."""
    while not stopping.is_set():
        try:
            await submit_one(chance, notes)
        except ParrotError as error:
            print(f"a program ended in an error: {error}", flush=True)  # whether it may is for the checker to say
            await asyncio.sleep(0.2)


async def main(notes: Path, seed: int, at_once: int) -> None:
    """Several programs at once, until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    print("client ready", flush=True)
    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(submit_all(notes, random.Random(seed * 1000 + number), stopping))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
