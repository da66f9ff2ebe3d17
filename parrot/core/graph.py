"""The graph of one cell: sessions, their variables and calls, and who waits for whom. Bookkeeping only."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from math import inf
from typing import Any

from parrot.core.asks import Asks
from parrot.core.beginnings import CHARACTERS_PER_TOKEN, HASHED_TOKENS, UNREAD, Beginnings, Stretch, beginnings, hashed, root_of, stretch_of
from parrot.core.lowering import Lowered
from parrot.core.mishaps import NO_MISHAPS, Mishaps
from parrot.core.objectives import IDLE, Objective, head_of, members
from parrot.core.programs import Program
from parrot.criteria import Criterion
from parrot.wire.digests import BLOCK_CHARACTERS, digest
from parrot.wire.states import ENDED, SessionState, VariableState
from parrot.wire.to_core import Chat, SubmitCall
from parrot.wire.to_engine import Piece

_NO_BLOCKS: Mapping[str, Sequence[int]] = {}
MANY = 4  # inputs, from which on it is worthwhile to see who has the same
FORESEEN = 10_000  # parts of prompts that are kept so that they can be shared
SUSPECT_DEATHS = 2  # engines that died while they held a generation, from which on it runs alone


@dataclass(slots=True, eq=False, repr=False)
class Variable:
    """A Semantic Variable as the graph sees it; the value itself never comes here.

    Attributes:
        consumers: generations that wait for it; some that have ended may lie among them.
        gone: how many of them are known to have ended.
        producer: the generation that makes it, until it has ended.
        criterion, due: what was asked of it, and until when it is of use, in seconds since the epoch.
        root: for a failed one, what failed first and why.
        depth: generations on the longest way to it.
        program: of the calls that are connected with it; None for one that no call makes.
        content: names what it says: equal numbers say the same. Of a value that a model makes, nothing but its id is known.
        blocks: `block_digests` of a long text.
        tokens: about how many it has; 0 if that is not known.
    """

    id: str
    session: str
    state: VariableState
    producer: Generation | None = None
    consumers: Sequence[Generation] = ()
    gone: int = 0
    criterion: Criterion | None = None
    due: float | None = None
    root: str = ""
    depth: int = 0
    program: Program | None = None
    content: int = 0
    blocks: Sequence[int] = ()
    tokens: int = 0

    def says(self, text: str) -> None:
        """It was given its value by an app."""
        self.content, self.blocks, self.tokens = stretch_of(text)

    def serve(self, generation: Generation) -> None:
        """One more waits for it."""
        if isinstance(self.consumers, list):
            self.consumers.append(generation)
        else:
            self.consumers = [*self.consumers, generation]  # a list only where it is needed: memory

    def lose(self) -> None:
        """One of those that wait for it has ended. Those that go on are looked for now and then, not among all each time."""
        self.gone += 1
        if 2 * self.gone >= len(self.consumers):
            self.consumers, self.gone = [one for one in self.consumers if not one.ended] or (), 0


@dataclass(slots=True, eq=False, repr=False)
class Generation:
    """One Gen of a call.

    Attributes:
        missing: inputs that are not ready.
        attempt: how often it was given to an engine.
        engine: who holds it now, or an empty name.
        order: place in the order of becoming ready.
        mishaps: what went wrong with it.
        ended: nothing is to be done for it any more.
        made: the variable that it makes.
        program: the calls that are connected with it.
        gathers: it waits for several calls at once.
        head: the variable of which all of those wait, and gatherers: those of which it is the head.
        asks: what its consumers ask of it, where that was worth to be put in order.
        objective: what it is optimised for.
        beginnings: of its prompt, as other prompts may have them too; once it can run.
        foreseen: those of the part before the first input that is missing, until it can run.
        tokens_in: of its prompt, and tokens_out of its output, as far as they can be expected; valid once it can run.
        seconds: that it takes by itself, as last reckoned.
        late: when it has to begin at the latest, so that nothing that has a deadline is late, in seconds since the epoch.
        awaited: somebody waits for what comes of it, as far as its program was told.
        tail: seconds from its start to the end of the longest way that begins with it, as last reckoned; to what is waited for, if it is
            awaited.
        expected: tokens of its prompt that the engine to which it was given last was expected to hold.
        service: seconds of engine time that it is expected to need, its share of a batch.
        context: tokens that an engine must take at least, since one that takes less has refused it.
        priority: with which an engine was given it, and reordered: the id of the order by which it got another one, if it did.
        since: when it could run, in seconds since the epoch.
    """

    call: Call
    lowered: Lowered
    made: Variable
    program: Program
    gathers: bool = False  # these three side by side: in machine code they take no more than one of the others
    ended: bool = False
    awaited: bool = False
    head: str = ""
    gatherers: list[Generation] | None = None
    asks: Asks | None = None
    objective: Objective = IDLE
    beginnings: Beginnings = UNREAD
    foreseen: Beginnings = UNREAD
    missing: int = 0
    attempt: int = 0
    engine: str = ""
    job: str = ""
    order: int = 0
    mishaps: Mishaps = NO_MISHAPS
    tokens_in: int = 0
    tokens_out: float = 0.0
    seconds: float = 0.0
    late: float = inf
    tail: float = 0.0
    expected: int = 0
    service: float = 0.0
    context: int = 0
    priority: int = 0
    reordered: str = ""
    since: float = 0.0

    @property
    def variable(self) -> str:
        return self.lowered.variable

    @property
    def context_wanted(self) -> int:
        """Tokens that an engine should take, so that the longest output fits."""
        return max(self.tokens_in + self.lowered.sampling.max_gen_length, self.context)

    def suffers(self, **what: Any) -> None:
        """Something went wrong: attributes of `mishaps` are others now."""
        self.mishaps = replace(self.mishaps, **what)

    @property
    def suspect(self) -> bool:
        """It runs alone, so that it shows whether engines die of it or of a neighbour; once may be chance."""
        return len(self.mishaps.deaths) >= SUSPECT_DEATHS


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """One submission of a semantic function.

    Attributes:
        id, session, function, model, chat: as they were submitted.
        deadline: of it or its session, whichever is earlier, in seconds since the epoch.
        outputs: the variables that it makes.
        blocks: `block_digests` of its long constants, by hash.
        unfinished: generations that have not ended.
        expected, cached: tokens of its prompts that engines were expected to hold, and that they held.
    """

    id: str
    session: str
    function: str
    model: str | None
    chat: Chat
    deadline: float | None
    outputs: tuple[str, ...]
    blocks: Mapping[str, Sequence[int]]
    unfinished: int = 0
    failed: bool = False
    cancelled: bool = False
    expected: int = 0
    cached: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Session:
    """A namespace.

    Attributes:
        deadline: when its calls must have ended, in seconds since the epoch.
        active: calls that have not ended.
    """

    id: str
    name: str
    tenant: str = "default"
    state: SessionState = SessionState.OPEN
    deadline: float | None = None
    calls: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    active: int = 0


class Graph:
    """All of a cell that is alive.

    Args:
        isolated: whether prompts of different tenants count as different, however equal they are.
    """

    def __init__(self, isolated: bool = False) -> None:
        self._isolated = isolated
        self._foreseen: dict[int, Beginnings] = {}  # by the last name, which stands for all before it
        self.sessions: dict[str, Session] = {}
        self.variables: dict[str, Variable] = {}
        self.calls: dict[str, Call] = {}
        self.owners: dict[str, str] = {}  # the session of every call, ended ones too: a call id is used once
        self.tenants: Counter[str] = Counter()  # calls under way, by tenant

    def declare(self, session: Session, variable: str, state: VariableState) -> Variable:
        """Add a variable that no call produces."""
        made = self.variables[variable] = Variable(variable, session.id, state)
        session.variables.append(variable)
        return made

    def note(self, session: Session, call: str) -> None:
        """Remember that a call is this session's, unless that is known."""
        if call not in self.owners:
            self.owners[call] = session.id
            session.calls.append(call)

    def has(self, session: Session, call: str) -> bool:
        """Whether a call is this session's, one that has ended too."""
        return self.owners.get(call) == session.id

    def add(
        self, session: Session, request: SubmitCall, lowered: Iterable[Lowered], gathers: Container[str] | None = None
    ) -> list[Generation]:
        """Add a call; its inputs are known variables of its session, its outputs may be known from before a restart.

        Args:
            session: in which it is.
            request, lowered: the call.
            gathers: after a restart the variables whose makers gather, as it was found when they were new.

        Returns:
            Its generations in order; those with nothing `missing` can run.
        """
        call = _call(request, session)
        self.calls[call.id] = call
        self.note(session, call.id)
        session.active += 1
        self.tenants[session.tenant] += 1
        generations = [self._generation(session, call, one, gathers) for one in lowered]
        call.unfinished = len(generations)
        for generation in generations:
            if generation.missing:
                self.foresee_prompt(generation)
        return generations

    def _generation(self, session: Session, call: Call, lowered: Lowered, gathers: Container[str] | None) -> Generation:
        made = self.variables.get(lowered.variable) or self.declare(session, lowered.variable, VariableState.PENDING)
        inputs = [self.variables[name] for name in lowered.inputs]
        lowered = _sharing(lowered, inputs)
        program = self._program(session, call, [made, *inputs])
        generation = made.producer = Generation(call, lowered, made, program)
        if gathers is None or generation.variable in gathers:
            self._group(generation, inputs)
            generation.gathers |= gathers is not None
        made.program = program
        made.depth = 1 + max((needed.depth for needed in inputs), default=0)
        for needed in inputs:
            if needed.state != VariableState.READY:
                needed.serve(generation)
                generation.missing += 1
        return generation

    def _group(self, generation: Generation, inputs: Sequence[Variable]) -> None:
        """What it waits for at once is a task group, which may have a head."""
        group = members(generation, inputs)
        generation.gathers = any(member.call is not group[0].call for member in group)
        head = head_of(self, group) if generation.gathers else None
        if head is not None:
            generation.head = head.variable
            if head.gatherers is None:
                head.gatherers = []
            head.gatherers.append(generation)

    def programs(self, lowered: Lowered) -> list[str]:
        """Names of those that the inputs of a new call come from, which it will connect."""
        inputs = (self.variables.get(name) for name in lowered.inputs)
        return list(dict.fromkeys(needed.program.whole().name for needed in inputs if needed is not None and needed.program is not None))

    def _program(self, session: Session, call: Call, inputs: Iterable[Variable]) -> Program:
        """The one that a call with these inputs belongs to; it connects those that they come from."""
        found: Program | None = None
        for needed in inputs:
            if needed.program is not None:
                found = needed.program.whole() if found is None else found.joined(needed.program)
        return found or Program(session.tenant, call.id)

    def read_prompt(self, generation: Generation) -> None:
        """Find the `beginnings` and `tokens_in` of a generation whose inputs are all there."""
        generation.beginnings = self._read(generation, generation.lowered.prompt, generation.variable)
        generation.tokens_in = generation.beginnings.prompt_tokens

    def foresee_prompt(self, generation: Generation) -> None:
        """Find what is `foreseen` of the prompt of a generation of which inputs are missing; calls of one function share it."""
        known = tuple(takewhile(self._is_known, generation.lowered.prompt))
        found = self._read(generation, known, "") if known else UNREAD
        if found.names:
            if len(self._foreseen) >= FORESEEN:
                self._foreseen.clear()
            generation.foreseen = self._foreseen.setdefault(found.names[-1], found)

    def _is_known(self, piece: Piece) -> bool:
        return piece.kind != "variable" or self.variables[piece.value].state == VariableState.READY

    def _read(self, generation: Generation, prompt: Sequence[Piece], output: str) -> Beginnings:
        call = generation.call

        def look_up(piece: Piece) -> Stretch:
            if piece.kind == "variable":
                needed = self.variables[piece.value]
                return Stretch(needed.content or digest(needed.id), needed.blocks, needed.tokens)
            blocks = call.blocks.get(piece.value, ())
            tokens = len(blocks) * BLOCK_CHARACTERS // CHARACTERS_PER_TOKEN or HASHED_TOKENS
            return Stretch(hashed(piece.value), blocks, tokens)

        return beginnings(root_of(call.chat, self.owner(generation)), prompt, output, look_up)

    def owner(self, generation: Generation) -> str:
        """The tenant that caches are kept apart for; empty if all share them."""
        return generation.program.whole().tenant if self._isolated else ""

    def make_ready(self, variable: Variable) -> list[Generation]:
        """A variable has its value.

        Returns:
            The generations that waited for nothing else.
        """
        self._close(variable, VariableState.READY)
        waiting, variable.consumers = variable.consumers, ()
        unblocked = []
        for generation in waiting:
            generation.missing -= 1
            if generation.missing == 0 and not generation.ended:
                unblocked.append(generation)
        return unblocked

    def end(self, variable: Variable, state: VariableState, root: str) -> Iterator[tuple[Variable, Generation | None]]:
        """A variable will never have a value, nor will what depends on it.

        Args:
            variable: where it begins.
            state: failed or cancelled.
            root: why, for whoever asks.

        Yields:
            The variable and its producer, then those of every descendant that had not ended, each once.
        """
        stack = [variable]
        while stack:
            ended = stack.pop()
            if ended.state in ENDED:
                continue
            ended.root = root
            waiting, ended.consumers = ended.consumers, ()
            stack.extend(self.variables[generation.variable] for generation in waiting)
            producer = self._close(ended, state)
            if producer is not None:
                self._need_no_more(producer)
            yield ended, producer

    def unneeded(self, generations: Iterable[Generation]) -> Iterator[Variable]:
        """What was made for cancelled generations alone.

        Args:
            generations: that have been cancelled.

        Yields:
            Variables that calls make, that had consumers and have none any more, and that nobody asked for.
        """
        for generation in generations:
            for name in generation.lowered.inputs:
                made = self.variables[name]
                if made.producer is not None and not made.consumers and made.criterion is None:
                    yield made

    def _close(self, variable: Variable, state: VariableState) -> Generation | None:
        variable.state = state
        producer, variable.producer = variable.producer, None
        if producer is not None:
            producer.ended = True
            producer.gatherers = producer.asks = None
        return producer

    def _need_no_more(self, ended: Generation) -> None:
        for name in ended.lowered.inputs:
            self.variables[name].lose()

    def restore_ended(self, generation: Generation) -> None:
        """A generation of a restored call had ended before."""
        generation.ended = True
        self.variables[generation.variable].producer = None
        self._need_no_more(generation)

    def finish(self, call: Call) -> Session:
        """Forget a call whose generations have all ended."""
        del self.calls[call.id]
        session = self.sessions[call.session]
        session.active -= 1
        self.tenants[session.tenant] -= 1
        if not self.tenants[session.tenant]:
            del self.tenants[session.tenant]
        return session

    def forget(self, session: Session) -> None:
        """Forget a session that is over, with its variables."""
        for variable in session.variables:
            del self.variables[variable]
        for call in session.calls:
            del self.owners[call]
        del self.sessions[session.id]


def _sharing(lowered: Lowered, inputs: Sequence[Variable]) -> Lowered:
    """The same with the list of inputs of its sibling, if that waits for the same: where all wait for all, it is looked at once."""
    if len(inputs) < MANY or not inputs[0].consumers:
        return lowered
    other = inputs[0].consumers[-1].lowered.inputs
    return replace(lowered, inputs=other) if other == lowered.inputs else lowered


def _call(request: SubmitCall, session: Session) -> Call:
    """What is kept of a request; the whole of it is in Redis."""
    deadlines = [when for when in (request.deadline, session.deadline) if when is not None]
    return Call(
        request.call,
        session.id,  # not another text that says the same
        sys.intern(request.function),
        request.model and sys.intern(request.model),
        request.chat,
        min(deadlines, default=None),
        tuple(output.variable for output in request.outputs.values()),
        {given.hash: given.blocks for given in request.arguments.values() if given.hash and given.blocks} or _NO_BLOCKS,
    )
