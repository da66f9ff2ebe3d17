"""The graph of one cell: sessions, their variables and calls, and who waits for whom. Bookkeeping only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from parrot.core.lowering import Lowered
from parrot.criteria import Criterion
from parrot.wire.states import ENDED, SessionState, VariableState
from parrot.wire.to_core import SubmitCall

SUSPECT_DEATHS = 2  # engines that died while they held a generation, from which on it runs alone


@dataclass(slots=True, eq=False)
class Variable:
    """A Semantic Variable as the graph sees it; the value itself never comes here.

    Attributes:
        consumers: generations that wait for it.
        producer: the generation that makes it, until it has ended.
        root: for a failed one, what failed first and why.
        depth: generations on the longest way to it.
    """

    id: str
    session: str
    state: VariableState
    producer: Generation | None = None
    consumers: list[Generation] = field(default_factory=list)
    criterion: Criterion | None = None
    root: str = ""
    depth: int = 0


@dataclass(slots=True, eq=False)
class Generation:
    """One Gen of a call.

    Attributes:
        missing: inputs that are not ready.
        attempt: how often it was given to an engine.
        engine: who holds it now, or an empty name.
        order: place in the order of becoming ready.
        errors: how often an engine that lived on reported that it failed.
        deaths: engines that died while they held it.
        ended: nothing is to be done for it any more.
    """

    call: Call
    lowered: Lowered
    missing: int = 0
    attempt: int = 0
    engine: str = ""
    job: str = ""
    order: int = 0
    errors: int = 0
    deaths: frozenset[str] = frozenset()
    ended: bool = False

    @property
    def variable(self) -> str:
        return self.lowered.variable

    @property
    def suspect(self) -> bool:
        """It runs alone, so that it shows whether engines die of it or of a neighbour; once may be chance."""
        return len(self.deaths) >= SUSPECT_DEATHS


@dataclass(slots=True, eq=False)
class Call:
    """One submission of a semantic function.

    Attributes:
        unfinished: generations that have not ended.
    """

    request: SubmitCall
    unfinished: int
    failed: bool = False
    cancelled: bool = False

    @property
    def id(self) -> str:
        return self.request.call


@dataclass(slots=True, eq=False)
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
    calls: dict[str, None] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)
    active: int = 0


class Graph:
    """All of a cell that is alive."""

    def __init__(self) -> None:
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
        """Remember that a call is this session's."""
        session.calls[call] = None
        self.owners[call] = session.id

    def add(self, session: Session, request: SubmitCall, lowered: Iterable[Lowered]) -> list[Generation]:
        """Add a call; its inputs are known variables of its session, its outputs may be known from before a restart.

        Returns:
            Its generations in order; those with nothing `missing` can run.
        """
        call = Call(request, 0)
        self.calls[call.id] = call
        self.note(session, call.id)
        session.active += 1
        self.tenants[session.tenant] += 1
        generations = [self._generation(session, call, one) for one in lowered]
        call.unfinished = len(generations)
        return generations

    def _generation(self, session: Session, call: Call, lowered: Lowered) -> Generation:
        generation = Generation(call, lowered)
        made = self.variables.get(lowered.variable) or self.declare(session, lowered.variable, VariableState.PENDING)
        made.producer = generation
        made.depth = 1 + max((self.variables[name].depth for name in lowered.inputs), default=0)
        for name in lowered.inputs:
            needed = self.variables[name]
            if needed.state != VariableState.READY:
                needed.consumers.append(generation)
                generation.missing += 1
        return generation

    def make_ready(self, variable: Variable) -> list[Generation]:
        """A variable has its value.

        Returns:
            The generations that waited for nothing else.
        """
        self._close(variable, VariableState.READY)
        waiting, variable.consumers = variable.consumers, []
        unblocked = []
        for generation in waiting:
            generation.missing -= 1
            if generation.missing == 0:
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
            waiting, ended.consumers = ended.consumers, []
            stack.extend(self.variables[generation.variable] for generation in waiting)
            yield ended, self._close(ended, state)

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
                if made.state in ENDED or made.producer is None:
                    continue
                made.consumers = [consumer for consumer in made.consumers if not consumer.ended]
                if not made.consumers and made.criterion is None:
                    yield made

    def _close(self, variable: Variable, state: VariableState) -> Generation | None:
        variable.state = state
        producer, variable.producer = variable.producer, None
        if producer is not None:
            producer.ended = True
        return producer

    def restore_ended(self, generation: Generation) -> None:
        """A generation of a restored call had ended before."""
        generation.ended = True
        self.variables[generation.variable].producer = None

    def finish(self, call: Call) -> Session:
        """Forget a call whose generations have all ended."""
        del self.calls[call.id]
        session = self.sessions[call.request.session]
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
