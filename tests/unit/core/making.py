"""Generations and engines out of nothing, for tests of the parts that decide."""

from __future__ import annotations

from array import array
from itertools import count

from parrot.core.beginnings import UNREAD, Beginnings
from parrot.core.graph import Call, Generation, Variable
from parrot.core.lowering import Lowered
from parrot.core.objectives import Kind, Objective
from parrot.core.policy import Engine
from parrot.core.programs import Program
from parrot.sampling import SamplingConfig
from parrot.wire.states import VariableState
from parrot.wire.to_core import Capacity, EngineHolds
from tests.unit.core.cell import engine_up

_numbers = count(1)


def make_generation(
    name: str = "",
    kind: Kind = Kind.THROUGHPUT,
    *,
    tokens_in: int = 100,
    tokens_out: float = 50.0,
    function: str = "f",
    model: str | None = None,
    tenant: str = "default",
    program: Program | None = None,
    most: int = 256,
    names: Beginnings = UNREAD,
) -> Generation:
    """One that can run, in a program of its own by default.

    Args:
        most: tokens that its sampling allows.
        names: the beginnings of its prompt.
    """
    name = name or f"g{next(_numbers)}"
    made = Variable(f"{name}.x", "s", VariableState.PENDING)
    call = Call(name, "s", function, model, "auto", None, (made.id,), {})
    lowered = Lowered("x", made.id, (), (), SamplingConfig(temperature=0, max_gen_length=most))
    program = program or Program(tenant)
    generation = Generation(call, lowered, made, program, objective=Objective(kind), beginnings=names)
    generation.tokens_in, generation.tokens_out = tokens_in, tokens_out
    made.producer, made.program = generation, program
    program.whole().add([generation], 0.0)
    return generation


def make_engine(name: str = "e1", *, running: int = 8, model: str = "m", kv: int = 100_000, context: int = 10_000) -> Engine:
    """One that is up and holds nothing."""
    capacity = Capacity(running=running, kv_tokens=kv, context_tokens=context, block_tokens=16)
    return Engine(engine_up(name, model=model).model_copy(update={"capacity": capacity}))


def prompt(*names: int) -> Beginnings:
    """A prompt whose beginnings have these names, and 100 estimated tokens more each."""
    tokens = array("q", (100 * (place + 1) for place in range(len(names))))
    return Beginnings(array("q", names), tokens, array("q", names), 100 * len(names))


def says(engine: str, sequence: int, *names: int, removed: tuple[int, ...] = (), whole: bool = False, tokens: int = 90) -> EngineHolds:
    """What an engine reports of such beginnings; it has counted so many tokens more for each."""
    stored = [(name, tokens * (place + 1)) for place, name in enumerate(names)]
    return EngineHolds(engine=engine, sequence=sequence, whole=whole, stored=stored, removed=list(removed))
