"""Random programs: what apps say and when, and what must come of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

from parrot.core.lowering import take_apart
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire.to_core import (
    Argument,
    CancelSession,
    CancelVariable,
    CloseSession,
    DeclareVariable,
    OpenSession,
    Output,
    SetVariable,
    SubmitCall,
)
from parrot.wire.to_engine import Piece
from tests.simulation.broker import Broker
from tests.simulation.faults import Faults
from tests.simulation.world import START
from tests.unit.core.cell import KEYS

Nature = Literal["plain", "poison", "bad", "hurried"]
GREEDY = SamplingConfig(temperature=0)


def digest(texts: Sequence[str]) -> str:
    """The value that an engine gives to a prompt: another one for every other prompt."""
    return f"{crc32('|'.join(texts).encode()):08x}"


def value_of(prompt: Sequence[Piece], broker: Broker) -> str:
    """What an engine generates, from the values that it finds in Redis."""
    return digest([broker.hashes[KEYS.variable(piece.value)]["value"] if piece.kind == "variable" else piece.value for piece in prompt])


@dataclass(slots=True)
class Program:
    """Some sessions, and everything that their apps say.

    Attributes:
        script: what is said, by whom, after how many seconds; in order for each session.
        requests: the calls.
        values: what each variable must be, if it becomes anything.
        spoilt: calls that may fail or be cancelled, since they or what they depend on are not plain, or somebody cancelled something.
    """

    script: list[tuple[float, Any]] = field(default_factory=list)
    requests: dict[str, SubmitCall] = field(default_factory=dict)
    natures: dict[str, Nature] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)

    def nature(self, call: str) -> Nature:
        return self.natures[call]

    def inputs(self, call: str) -> list[str]:
        """Calls that a call depends on."""
        given = self.requests[call].arguments.values()
        return [self.makers[argument.variable] for argument in given if argument.variable in self.makers]

    def downstream(self, calls: set[str]) -> set[str]:
        """These calls and all that depend on them."""
        reached = set(calls)
        for call in self.requests:  # in an order in which none depends on a later one
            if call not in reached and any(name in reached for name in self.inputs(call)):
                reached.add(call)
        return reached

    def upstream(self, calls: set[str]) -> set[str]:
        """These calls and all that they depend on."""
        reached = set(calls)
        for call in reversed(self.requests):
            if call in reached:
                reached.update(self.inputs(call))
        return reached


def write_program(chance: random.Random, faults: Faults, calls: int) -> Program:
    """A random program of so many calls in a few sessions."""
    program = Program()
    sessions = [f"s{number}" for number in range(chance.randint(2, 5))]
    writers = [_Writer(program, chance, faults, session) for session in sessions]
    for number in range(calls):
        chance.choice(writers).submit(f"c{number}")
    for writer in writers:
        writer.end()
    program.spoilt |= {call for call, nature in program.natures.items() if nature != "plain"}
    program.spoilt = program.downstream(program.spoilt)
    program.script.sort(key=lambda line: line[0])
    return program


class _Writer:
    """The app of one session."""

    def __init__(self, program: Program, chance: random.Random, faults: Faults, session: str) -> None:
        self._program = program
        self._chance = chance
        self._faults = faults
        self._session = session
        self._at = chance.random()
        self._known: list[str] = []
        deadline = START + 5 + chance.random() * 20 if chance.random() < faults.hurried else None
        self._hurried = deadline is not None
        self._say(OpenSession(session=session, name=session, tenant=chance.choice(("a", "b")), deadline=deadline))
        for number in range(chance.randint(1, 3)):
            self._declare(f"{session}.v{number}", later=chance.random() < 0.3)

    def _say(self, message: Any) -> None:
        """In order; now and then the same once more, since it was not sure that it had been heard."""
        self._at += self._chance.random() * (1.0 if self._chance.random() < 0.03 else 0.02)
        self._program.script.append((self._at, message))
        if self._chance.random() < self._faults.said_twice:
            self._program.script.append((self._at + self._chance.random() * 2, message))

    def _declare(self, name: str, later: bool) -> None:
        value = f"text of {name}"
        self._program.values[name] = value
        self._known.append(name)
        self._say(DeclareVariable(session=self._session, variable=name, name=name, text=None if later else value))
        if later:
            setting = SetVariable(session=self._session, variable=name, text=value)
            self._program.script.append((self._at + self._chance.random() * 4, setting))

    def submit(self, name: str) -> None:
        """A call of what is known so far, mostly of what came last."""
        chance, faults = self._chance, self._faults
        draw, nature = chance.random(), "plain"
        for kind, likely in (("poison", faults.poison), ("bad", faults.bad), ("hurried", faults.hurried)):
            nature, draw = (kind if 0 <= draw < likely else nature), draw - likely
        if self._hurried and nature == "plain":
            nature = "hurried"
        inputs = chance.sample(self._known[-12:], min(len(self._known), chance.randint(0, 3)))
        segments, arguments, outputs = [Segment("text", name)], {}, {}
        for number, variable in enumerate(inputs):
            segments.append(Segment("slot", f"i{number}"))
            arguments[f"i{number}"] = Argument(variable=variable)
        for number in range(chance.choice((1, 1, 1, 2, 3))):
            segments += [Segment("text", f"{number}:"), Segment("slot", f"o{number}")]
            outputs[f"o{number}"] = Output(variable=f"{name}.o{number}", sampling=GREEDY)
        request = SubmitCall(session=self._session, call=name, function="f", template=segments, arguments=arguments, outputs=outputs)
        update: dict[str, Any] = {"model": chance.choice((None, None, "m", "n"))}
        if nature == "hurried" and not self._hurried:
            update["deadline"] = START + self._at + chance.random() * 5
        self._add(request.model_copy(update=update), nature)  # type: ignore[arg-type]

    def _add(self, request: SubmitCall, nature: Nature) -> None:
        program = self._program
        program.requests[request.call], program.natures[request.call] = request, nature
        for one in take_apart(request):
            program.makers[one.variable] = request.call
            program.values[one.variable] = digest([program.values.get(piece.value, piece.value) for piece in one.prompt])
            self._known.append(one.variable)
        self._say(request)

    def end(self) -> None:
        """Cancel something, close the session, or just go away."""
        chance, program = self._chance, self._program
        mine = [call for call, request in program.requests.items() if request.session == self._session]
        if mine and chance.random() < self._faults.cancels:
            self._at -= min(1.0, self._at) * chance.random()
            if chance.random() < 0.3:
                program.script.append((self._at, CancelSession(session=self._session)))
                program.spoilt.update(mine)
            else:
                self._cancel(chance.choice(mine))
        if chance.random() < 0.8:
            self._at = max(at for at, _ in program.script)  # after whatever was said twice
            self._say(CloseSession(session=self._session))

    def _cancel(self, call: str) -> None:
        """Cancelling takes along what depends on it, what was made for that alone, and what is made of that later."""
        program = self._program
        variable = next(iter(program.requests[call].outputs.values())).variable
        program.script.append((self._at, CancelVariable(session=self._session, variable=variable)))
        program.spoilt |= program.downstream(program.upstream(program.downstream({call})))
