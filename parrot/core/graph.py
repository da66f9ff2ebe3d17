"""The graph of one cell: sessions, their variables and calls, and who waits for whom. Bookkeeping only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from parrot.core.lowering import Lowered
from parrot.criteria import Criterion
from parrot.wire.states import ENDED, SessionState, VariableState
from parrot.wire.to_core import SubmitCall


@dataclass(slots=True, eq=False)
class Variable:
    """A Semantic Variable as the graph sees it; the value itself never comes here.

    Attributes:
        consumers: generations that wait for it.
        producer: the generation that makes it, until it has ended.
        root: for a failed one, what failed first and why.
    """

    id: str
    session: str
    state: VariableState
    producer: Generation | None = None
    consumers: list[Generation] = field(default_factory=list)
    criterion: Criterion | None = None
    root: str = ""


@dataclass(slots=True, eq=False)
class Generation:
    """One Gen of a call.

    Attributes:
        missing: inputs that are not ready.
        attempt: how often it was given to an engine.
        engine: who holds it now, or an empty name.
        order: place in the order of becoming ready.
    """

    call: Call
    lowered: Lowered
    missing: int = 0
    attempt: int = 0
    engine: str = ""
    job: str = ""
    order: int = 0

    @property
    def variable(self) -> str:
        return self.lowered.variable


@dataclass(slots=True, eq=False)
class Call:
    """One submission of a semantic function.

    Attributes:
        unfinished: generations that have not ended.
    """

    request: SubmitCall
    unfinished: int
    failed: bool = False

    @property
    def id(self) -> str:
        return self.request.call


@dataclass(slots=True, eq=False)
class Session:
    """A namespace.

    Attributes:
        active: calls that have not ended.
        expires: when its results go, in seconds since the epoch; None while it is open or works.
    """

    id: str
    name: str
    state: SessionState = SessionState.OPEN
    calls: dict[str, None] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)
    active: int = 0
    expires: float | None = None


class Graph:
    """All of a cell that is alive."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.variables: dict[str, Variable] = {}
        self.calls: dict[str, Call] = {}

    def declare(self, session: Session, variable: str, state: VariableState) -> Variable:
        """Add a variable that no call produces."""
        made = self.variables[variable] = Variable(variable, session.id, state)
        session.variables.append(variable)
        return made

    def add(self, session: Session, request: SubmitCall, lowered: Iterable[Lowered]) -> list[Generation]:
        """Add a call; its inputs are known variables of its session, its outputs may be known from before a restart.

        Returns:
            Its generations in order; those with nothing `missing` can run.
        """
        call = Call(request, 0)
        self.calls[call.id] = call
        session.calls[call.id] = None
        session.active += 1
        generations = [self._generation(session, call, one) for one in lowered]
        call.unfinished = len(generations)
        return generations

    def _generation(self, session: Session, call: Call, lowered: Lowered) -> Generation:
        generation = Generation(call, lowered)
        made = self.variables.get(lowered.variable) or self.declare(session, lowered.variable, VariableState.PENDING)
        made.producer = generation
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
        variable.state = VariableState.READY
        variable.producer = None
        waiting, variable.consumers = variable.consumers, []
        unblocked = []
        for generation in waiting:
            generation.missing -= 1
            if generation.missing == 0:
                unblocked.append(generation)
        return unblocked

    def fail(self, variable: Variable, root: str) -> Iterator[tuple[Variable, Generation | None]]:
        """A variable will never have a value, nor will what depends on it.

        Yields:
            The variable and its producer, then those of every descendant that had not ended, each once, marked as failed.
        """
        stack = [variable]
        while stack:
            failed = stack.pop()
            if failed.state in ENDED:
                continue
            failed.state = VariableState.FAILED
            failed.root = root
            producer, failed.producer = failed.producer, None
            waiting, failed.consumers = failed.consumers, []
            stack.extend(self.variables[generation.variable] for generation in waiting)
            yield failed, producer

    def finish(self, call: Call) -> Session:
        """Forget a call whose generations have all ended."""
        del self.calls[call.id]
        session = self.sessions[call.request.session]
        session.active -= 1
        return session

    def forget(self, session: Session) -> None:
        """Forget a session that is over, with its variables."""
        for variable in session.variables:
            del self.variables[variable]
        del self.sessions[session.id]
