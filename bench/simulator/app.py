"""An app in virtual time: a generator that submits calls, asks for variables, and goes on when it has them."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.simulator.bound import Bound
from bench.simulator.clock import Clock
from bench.simulator.contents import Contents
from parrot.broker.texts import LONG
from parrot.core.objectives import Kind, Objective
from parrot.criteria import Criterion, Deadline
from parrot.sampling import SamplingConfig
from parrot.template import Segment
from parrot.wire.digests import block_digests
from parrot.wire.keys import content_hash
from parrot.wire.to_core import Argument, CloseSession, DeclareVariable, OpenSession, Output, SubmitCall, WantVariable
from parrot.wire.to_engine import Piece


class Var(NamedTuple):
    """A Semantic Variable."""

    id: str


class Given(NamedTuple):
    """A text that fills an input slot: another one in each call."""

    text: str


class Read(NamedTuple):
    """To wait for variables.

    Attributes:
        variables: all of them.
    """

    variables: tuple[Var, ...]


class Pause(NamedTuple):
    """To do something else: a tool runs, a person thinks.

    Attributes:
        seconds: how long.
    """

    seconds: float


WAITED_FOR = Objective(Kind.LATENCY)
READ = Objective(Kind.TTFT)
NOBODY_WAITS = Objective(Kind.THROUGHPUT)
Script = Callable[["App"], Generator[Read | Pause, None, None]]
Prompt = Sequence[str | Var | Given]


@dataclass(slots=True, eq=False)
class Stream:
    """A variable that somebody reads as it comes.

    Attributes:
        asked, first, last: when it was asked for, when its first and its last token came, in seconds since the epoch.
        tokens: how many came.
    """

    asked: float
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0


@dataclass(slots=True, eq=False)
class Story:
    """What became of one program.

    Attributes:
        number: of its arrival.
        kind, tenant: of the program.
        arrived, ended: in seconds since the epoch; it has not ended as long as `ended` is None.
        paused: seconds in which it did something else.
        calls: that it submitted.
        tokens_in, tokens_cached, tokens_out: of all its generations.
        streams: what was read as it came.
        due: until when it is of use, in seconds since the epoch; None where nobody said.
        bound: seconds that it would have waited at the very least, whatever the policy; known once it has ended.
    """

    number: int
    kind: str
    tenant: str
    arrived: float
    ended: float | None = None
    paused: float = 0.0
    calls: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    streams: list[Stream] = field(default_factory=list)
    due: float | None = None
    bound: float = 0.0


class App:
    """One program: a session, and what it asks for.

    Args:
        number: of its arrival.
        kind, tenant: of the program.
        seed: all that it draws follows from this and its number, whatever the policy.
        clock: whose time it lives in.
        contents: takes its texts.
        bound: is told what it does.
        objectives: takes what each of its outputs should be optimised for.
        tell: takes its tasks.
        over: called when it has ended.

    Attributes:
        chance: its own.
        story: what became of it.
    """

    def __init__(
        self,
        number: int,
        kind: str,
        tenant: str,
        seed: int,
        clock: Clock,
        contents: Contents,
        bound: Bound,
        objectives: dict[str, Objective],
        tell: Callable[[Any], None],
        over: Callable[[App], None],
    ) -> None:
        self.session = f"{kind}-{number}"
        self.chance = random.Random(f"{seed} {number}")
        self.contents = contents
        self.story = Story(number, kind, tenant, clock.now)
        self._clock = clock
        self._bound = bound
        self._objectives = objectives
        self._tell = tell
        self._over = over
        self._variables: list[str] = []
        self._ready: set[str] = set()
        self._awaited: set[str] = set()
        self._streams: dict[str, Stream] = {}
        self._going: Generator[Read | Pause, None, None] | None = None

    # What scripts use -------------------------------------------------------------------------------

    def text(self, text: str) -> Var:
        """A variable with a text that `contents` made."""
        variable = self._name("v")
        self.contents.declare(variable, text)
        self._ready.add(variable)
        self._tell(DeclareVariable.model_construct(session=self.session, variable=variable, name=variable, text=text))
        return Var(variable)

    @property
    def together(self) -> Objective:
        """What its author would say of calls of which only the last one to end matters."""
        return Objective(Kind.GROUP, self.session)

    def write(self, name: str, tokens: int) -> str:
        """A text that no other program has."""
        return self.contents.write(f"{self.session} {name}", tokens)

    def call(self, function: str, prompt: Prompt, *, tokens: int, true: Objective = WAITED_FOR, most: int = 1024) -> Var:
        """Call a semantic function.

        Args:
            function: its name.
            prompt: before its output: constant texts, and what fills its slots.
            tokens: that it will generate, unknown to everybody but oracles.
            true: what it should be optimised for, as its author would say it by hand; known to nobody who is not told.
            most: `max_gen_length`.
        """
        call = self._name("c")
        output = f"{call}.out"
        self.contents.promise(output, tokens)
        self._objectives[output] = true
        inputs = [part.id for part in prompt if isinstance(part, Var)]
        self._bound.call(output, inputs, self._tokens(prompt), tokens)
        segments, arguments = [], {}
        for number, part in enumerate(prompt):
            if isinstance(part, str):
                segments.append(Segment("text", part) if len(part) < LONG else Segment("hash", content_hash(part)))
            else:
                segments.append(Segment("slot", f"i{number}"))
                arguments[f"i{number}"] = _argument(part)
        segments.append(Segment("slot", "out"))
        sampling = SamplingConfig(temperature=0, max_gen_length=most)
        request = SubmitCall(
            session=self.session,
            call=call,
            function=function,
            template=segments,
            arguments=arguments,
            outputs={"out": Output(variable=output, sampling=sampling)},
        )
        self.story.calls += 1
        self._tell(request)
        return Var(output)

    def within(self, seconds: float) -> Objective:
        """What its author would say of a call that has to end within so many seconds from now."""
        return Objective(Kind.DEADLINE, "", self._clock.now + seconds)

    def read(self, variable: Var, criterion: Criterion | Deadline) -> Read:
        """Ask for one variable; what is wanted for its TTFT or TPOT is read as it comes."""
        if not isinstance(criterion, Deadline):
            return self.read_all((variable,), criterion)
        self.story.due = self._clock.now + criterion.seconds
        self._tell(WantVariable(session=self.session, variable=variable.id, criterion=Criterion.DEADLINE, deadline=self.story.due))
        return Read((variable,))

    def read_all(self, variables: Iterable[Var], criterion: Criterion | None) -> Read:
        """Ask for some variables at once; without a criterion they are only waited for."""
        wanted = tuple(variables)
        for variable in wanted:
            if criterion is not None:
                self._tell(WantVariable(session=self.session, variable=variable.id, criterion=criterion))
            if criterion in (Criterion.TTFT, Criterion.TPOT):
                self._streams[variable.id] = Stream(self._clock.now)
        return Read(wanted)

    # What happens -----------------------------------------------------------------------------------

    def start(self, script: Script) -> None:
        """The program arrives."""
        self._tell(OpenSession(session=self.session, name=self.story.kind, tenant=self.story.tenant))
        self._going = script(self)
        self._go_on()

    def came(self, variable: str, first: float, tokens: int) -> None:
        """News of the session: a variable is ready, and had its first token then."""
        self._ready.add(variable)
        stream = self._streams.pop(variable, None)
        if stream is not None:
            stream.first, stream.last, stream.tokens = first, self._clock.now, tokens
            self.story.streams.append(stream)
        if self._awaited:
            self._awaited.discard(variable)
            if not self._awaited:
                self._go_on()

    def _go_on(self) -> None:
        assert self._going is not None
        for wait in self._going:
            if isinstance(wait, Pause):
                self._bound.pause(wait.seconds)
                self.story.paused += wait.seconds
                self._clock.after(wait.seconds, self._go_on)
                return
            self._bound.read(variable.id for variable in wait.variables)
            self._awaited = {variable.id for variable in wait.variables} - self._ready
            if self._awaited:
                return
        self.story.ended, self.story.bound = self._clock.now, self._bound.waited
        self._tell(CloseSession(session=self.session))
        self._over(self)

    def _tokens(self, prompt: Prompt) -> int:
        texts = [part for part in prompt if isinstance(part, str)] + [part.text for part in prompt if isinstance(part, Given)]
        pieces = [Piece("hash", content_hash(text)) if len(text) >= LONG else Piece("text", text) for text in texts]
        pieces += [Piece("variable", part.id) for part in prompt if isinstance(part, Var)]
        return self.contents.tokens(pieces)

    def forget(self) -> None:
        """Nobody will read its variables any more."""
        self.contents.forget(self._variables)
        for variable in self._variables:
            self._objectives.pop(variable, None)

    def _name(self, kind: str) -> str:
        name = f"{self.session}.{kind}{len(self._variables)}"
        self._variables.append(name if kind == "v" else f"{name}.out")
        return name


def _argument(part: Var | Given) -> Argument:
    if isinstance(part, Var):
        return Argument(variable=part.id)
    if len(part.text) < LONG:
        return Argument(text=part.text)
    blocks = block_digests(part.text)
    return Argument(hash=content_hash(part.text), blocks=blocks) if blocks else Argument(hash=content_hash(part.text))
