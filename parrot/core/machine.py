"""ServeCore's state machine: messages and the time go in, operations and jobs come out.

The only place where decisions are made. No I/O and no clock: the loop (`loop.py`) gives it what it read, commits `operations`
in one script and then sends `jobs`. What it decides follows from what it was told alone, so that a successor that is told
the same goes on the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from parrot.core import records
from parrot.core.fleet import Fleet
from parrot.core.graph import Call, Generation, Graph, Session, Variable
from parrot.core.lowering import lower, take_apart
from parrot.core.placement import Engine
from parrot.core.timers import Timers
from parrot.errors import (
    CallError,
    Cancelled,
    DeadlineExceeded,
    EngineError,
    LimitExceeded,
    Overloaded,
    ParrotError,
    PoisonCall,
    SessionError,
    UpstreamFailed,
    VariableError,
    from_wire,
)
from parrot.wire.codec import MAX_MESSAGE_BYTES, encode
from parrot.wire.keys import Keys
from parrot.wire.states import ENDED, CallState, SessionState, VariableState
from parrot.wire.to_core import (
    CancelSession,
    CancelVariable,
    CloseSession,
    DeclareVariable,
    EngineBeat,
    EngineDown,
    EngineUp,
    Event,
    GenerationDone,
    GenerationFailed,
    GenerationReturned,
    OpenSession,
    SetVariable,
    SubmitCall,
    Task,
    WantVariable,
)
from parrot.wire.to_engine import Cancel, Job, Order
from parrot.wire.to_ledger import Op, answer, bury, end, move, put

MAX_ERRORS = 3  # times that engines may report a failure of one generation before it is given up
MAX_DEATHS = 3  # engines that may die of one generation before it is given up


@dataclass(frozen=True, slots=True)
class Limits:
    """What the machine allows.

    Attributes:
        lease: an engine that was silent for longer is given up, in seconds.
        results: how long results live after their session was closed and all ended, in seconds.
        idle: an open session of which nothing was heard for so long is closed, in seconds.
        active: calls under way in the cell.
        tenant_active: calls under way of one tenant.
        session_calls: calls of one session.
        depth: generations one after the other.
    """

    lease: float = 3.0
    results: int = 3600
    idle: float = 24 * 3600.0
    active: int = 100_000
    tenant_active: int = 50_000
    session_calls: int = 50_000
    depth: int = 10_000


@dataclass(slots=True)
class Batch:
    """What follows from one batch of messages.

    Attributes:
        operations: for the commit script, in order.
        orders: to be sent once the operations are committed: engine, id of the stream entry, what to do.
        abandoned: engines whose job streams must go.
    """

    number: int
    operations: list[Op] = field(default_factory=list)
    orders: list[tuple[str, str, Order]] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)

    def write(self, *operations: Op) -> None:
        """Add operations."""
        self.operations.extend(operations)

    def order(self, engine: str, order: Order) -> str:
        """Add an order for an engine.

        Returns:
            The id of its stream entry: it grows with every order of a cell, over restarts too.
        """
        entry = f"{self.number}-{len(self.orders)}"
        self.orders.append((engine, entry, order))
        return entry


class Machine:
    """The state of one cell, and its rules.

    Args:
        keys: the cell's names.
        limits: what is allowed.
        first_batch: number of the first batch; numbers never repeat in a cell, since ids of orders derive from them.
        now: the time at which it takes over, in seconds since the epoch.
    """

    def __init__(self, keys: Keys, limits: Limits, first_batch: int = 1, now: float = 0.0) -> None:
        self._keys = keys
        self._limits = limits
        self.graph = Graph()
        self.fleet = Fleet()
        self.timers = Timers()
        self._batch = Batch(first_batch)
        self._now, self._at = now, records.clock(now)
        self._changed: dict[str, Session] = {}
        self._queued: list[Generation] = []
        self._rules: dict[type[Any], Callable[[Any], None]] = {
            OpenSession: self._open_session,
            CloseSession: self._close_session,
            CancelSession: self._cancel_session,
            DeclareVariable: self._declare_variable,
            SetVariable: self._set_variable,
            SubmitCall: self._submit_call,
            WantVariable: self._want_variable,
            CancelVariable: self._cancel_variable,
            EngineUp: self._engine_up,
            EngineBeat: self._engine_beat,
            EngineDown: self._engine_down,
            GenerationDone: self._generation_done,
            GenerationFailed: self._generation_failed,
            GenerationReturned: self._generation_returned,
        }
        self._alarms: dict[str, Callable[[str], None]] = {
            "lease": self._lease_over,
            "results": self._results_over,
            "idle": self._idle_over,
            "deadline": self._deadline_over,
        }

    def handle(self, messages: Iterable[Task | Event], now: float) -> Batch:
        """Take in messages and the passing of time.

        Args:
            messages: in the order in which they were read.
            now: seconds since the epoch.

        Returns:
            What to commit and what to send after that.
        """
        batch = self._batch
        self._now, self._at = now, records.clock(now)
        for message in messages:
            self._rules[type(message)](message)
        for kind, whom in self.timers.due(now):
            self._alarms[kind](whom)
        for generation, engine, why in self.fleet.assign(now):
            self._send(generation, engine, why)
        self._note_queued()
        self._note_progress()
        self._batch = Batch(batch.number + 1)
        return batch

    def _note_progress(self) -> None:
        """Say how far sessions are and how much is under way, for people and for the apps' door."""
        if not self._changed:
            return
        graph = self.graph
        for session in self._changed.values():
            self._batch.write(put(self._keys.session(session.id), records.progress(session)))
        tenants = {session.tenant for session in self._changed.values()}
        under_way = {"active": str(len(graph.calls))} | {f"tenant:{name}": str(graph.tenants[name]) for name in tenants}
        allowed = {"limit_active": str(self._limits.active), "limit_tenant": str(self._limits.tenant_active)}
        self._batch.write(put(self._keys.core, under_way | allowed))
        self._changed.clear()

    def deadline(self) -> float | None:
        """When `handle` must be called even if no message comes, in seconds since the epoch."""
        return self.timers.next()

    def spare(self, now: float) -> None:
        """Nobody could be heard for a while: no engine is taken for dead before it had another lease to speak."""
        for engine in self.fleet.engines:
            self.timers.set(("lease", engine), now + self._limits.lease)

    # Taking over ---------------------------------------------------------------------------------

    def resume_engine(self, engine: Engine) -> None:
        """Know an engine that a predecessor knew; it gets a whole lease from now."""
        self.fleet.engines[engine.id] = engine
        self.timers.set(("lease", engine.id), self._now + self._limits.lease)

    def resume_session(self, session: Session, expires: float | None) -> None:
        """Know a session that a predecessor knew."""
        self.graph.sessions[session.id] = session
        for call in session.calls:
            self.graph.note(session, call)
        if expires is not None:
            self.timers.set(("results", session.id), expires)
        elif session.state == SessionState.OPEN:
            self.timers.set(("idle", session.id), self._now + self._limits.idle)

    def forget_session(self, session: str) -> None:
        """A session has expired while nobody led."""
        self._batch.write(("ZREM", self._keys.sessions, session))

    def resume_call(self, request: SubmitCall) -> list[Generation]:
        """Know a call that has not ended; once all calls are known, its generations are to be resumed one by one, in order."""
        session = self.graph.sessions[request.session]
        generations = self.graph.add(session, request, take_apart(request))
        self._watch(session, request)
        return generations

    def resume(self, generation: Generation, state: VariableState, engine: str, job: str) -> None:
        """Take a generation up where a predecessor left it; what follows is part of the next batch.

        Args:
            generation: of a resumed call, with its attempts and failures.
            state: of its variable. An engine may have set it without the predecessor having been told: then the event that
                still comes is a repetition.
            engine, job: who held it, if anybody did, and the id of its job.
        """
        if state in ENDED:
            self.graph.restore_ended(generation)
            generation.call.failed |= state == VariableState.FAILED
            generation.call.cancelled |= state == VariableState.CANCELLED
            self._finished(generation.call)
        elif generation.missing == 0 and (holder := self.fleet.engines.get(engine)) is not None:
            generation.job = job
            self.fleet.hold(generation, holder)
        elif generation.missing == 0:
            self._queue([generation])

    # Sessions and variables ----------------------------------------------------------------------

    def _open_session(self, request: OpenSession) -> None:
        if request.session in self.graph.sessions:
            return  # the app repeats what it was not sure to have said
        session = Session(request.session, request.name, request.tenant, deadline=request.deadline)
        self.graph.sessions[session.id] = session
        self.timers.set(("idle", session.id), self._now + self._limits.idle)
        self._batch.write(
            put(self._keys.session(session.id), records.opened(request, self._at)),
            ("ZADD", self._keys.sessions, f"{self._now:.3f}", session.id),
        )

    def _heard(self, session: str) -> Session | None:
        """The session that a task is about, if it is open."""
        found = self.graph.sessions.get(session)
        if found is None or found.state == SessionState.CLOSED:
            return None
        self.timers.set(("idle", session), self._now + self._limits.idle)
        return found

    def _close_session(self, request: CloseSession) -> None:
        session = self._heard(request.session)
        if session is not None:
            self._close(session)

    def _close(self, session: Session) -> None:
        session.state = SessionState.CLOSED
        self._give_up_empty(session)
        self.timers.drop(("idle", session.id))
        self._batch.write(put(self._keys.session(session.id), {"state": session.state, "closed": self._at}))
        self._retire(session)

    def _give_up_empty(self, session: Session) -> None:
        """Nobody will set the variables of a session that is closed or forgotten: what waits for them must not wait for ever."""
        error = SessionError(f"It was still empty when its session {session.id} was closed or forgotten.")
        for name in session.variables:
            variable = self.graph.variables[name]
            if variable.state == VariableState.EMPTY:
                for _ in self._stop(variable, VariableState.FAILED, error, f"{name}: {error}"):
                    pass

    def _idle_over(self, name: str) -> None:
        session = self.graph.sessions[name]
        self._give_up_empty(session)
        if session.active:
            self.timers.set(("idle", name), self._now + self._limits.idle)
        else:
            self._close(session)

    def _retire(self, session: Session) -> None:
        """Give the results of a session that is closed and done their time to live."""
        if session.state != SessionState.CLOSED or session.active:
            return
        expires = self._now + self._limits.results
        self.timers.set(("results", session.id), expires)
        keys, life = self._keys, str(self._limits.results)
        for key in (
            *map(keys.call, session.calls),
            *map(keys.variable, session.variables),
            *map(keys.tokens, session.variables),
            keys.calls(session.id),
            keys.variables(session.id),
            keys.news(session.id),
            keys.session(session.id),
        ):
            self._batch.write(("EXPIRE", key, life))
        self._batch.write(put(keys.session(session.id), {"expires": records.clock(expires)}))

    def _results_over(self, name: str) -> None:
        self.graph.forget(self.graph.sessions[name])
        self._batch.write(("ZREM", self._keys.sessions, name))

    def _declare_variable(self, request: DeclareVariable) -> None:
        if request.variable in self.graph.variables:
            return  # it has been said before
        session = self._heard(request.session)
        if session is None:
            self._answer(request.session, request.variable, records.declared(request, self._at), self._no_session(request.session, "It"))
            return
        state = VariableState.EMPTY if request.text is None else VariableState.READY
        self.graph.declare(session, request.variable, state)
        self._batch.write(
            put(self._keys.variable(request.variable), records.declared(request, self._at)),
            ("RPUSH", self._keys.variables(session.id), request.variable),
        )
        if state == VariableState.READY:
            self._tell(session.id, request.variable, state)

    def _set_variable(self, request: SetVariable) -> None:
        variable = self._named(request)
        if variable is None or variable.state != VariableState.EMPTY:
            return  # set once: the first value stands
        self._end(variable, VariableState.READY, records.given(request.text, self._at))
        self._queue(self.graph.make_ready(variable))

    def _want_variable(self, request: WantVariable) -> None:
        variable = self._named(request)
        if variable is None or variable.state in ENDED or variable.criterion == request.criterion:
            return  # nothing can be done for it, or nothing new is asked
        self._heard(request.session)
        variable.criterion = request.criterion
        self._batch.write(put(self._keys.variable(variable.id), {"criterion": request.criterion}))

    def _named(self, request: SetVariable | WantVariable | CancelVariable) -> Variable | None:
        """The variable that a task is about, if it is one of the session that it names."""
        variable = self.graph.variables.get(request.variable)
        return variable if variable is not None and variable.session == request.session else None

    def _end(self, variable: Variable, state: VariableState, fields: records.Fields) -> None:
        keys = self._keys
        self._batch.write(end(keys.variable(variable.id), keys.news(variable.session), variable.id, state, fields))

    def _tell(self, session: str, variable: str, state: VariableState) -> None:
        self._batch.write(("XADD", self._keys.news(session), "*", "variable", variable, "state", state))

    def _no_session(self, session: str, what: str) -> SessionError:
        known = session in self.graph.sessions
        return SessionError(f"{what} was sent to the session {session}, which is {'closed' if known else 'unknown: it has expired'}.")

    def _answer(self, session: str, variable: str, fields: records.Fields, error: ParrotError) -> None:
        """Tell whoever waits for a variable of no living session that it failed; the answer lives as long as results do."""
        keys, life = self._keys, str(self._limits.results)
        failed = fields | {"state": VariableState.FAILED.value} | records.failure(error.code, str(error), self._at)
        self._batch.write(answer(keys.variable(variable), keys.news(session), keys.session(session), variable, life, failed))

    # Calls ---------------------------------------------------------------------------------------

    def _submit_call(self, request: SubmitCall) -> None:
        session = self.graph.sessions.get(request.session)
        if session is not None and request.call in session.calls:
            return  # a repeated submit of the same call id is the same call
        try:
            self._admit(request)
        except ParrotError as error:
            self._refuse(session, request, error)

    def _admit(self, request: SubmitCall) -> None:
        session = self._heard(request.session)
        if session is None:
            raise self._no_session(request.session, request.function)
        if request.call in self.graph.owners:
            raise CallError(f"The call id {request.call} of {request.function} belongs to another session; give each call a new one.")
        self._check_room(session)
        lowered = lower(request)
        outputs = {one.variable for one in lowered}
        if taken := [name for name in outputs if name in self.graph.variables]:
            raise VariableError(f"The output variable {taken[0]} of {request.function} exists already; give each call new ones.")
        for name in lowered[-1].inputs:
            known = self.graph.variables.get(name)
            if name in outputs:
                continue
            if known is None or known.session != session.id:
                raise CallError(f"The input variable {name} of {request.function} is not a variable of session {session.id}.")
            if known.depth + len(lowered) > self._limits.depth:
                raise LimitExceeded(
                    f"{request.function} would be step {known.depth + 1:,} of its program; the limit is {self._limits.depth:,}."
                )
        generations = self.graph.add(session, request, lowered)
        self._record(session, request, generations)
        for generation in generations:
            self._start(generation)
        self._watch(session, request)

    def _check_room(self, session: Session) -> None:
        limits, active = self._limits, len(self.graph.calls)
        if active >= limits.active:
            raise Overloaded(f"{active:,} calls are under way in this cell; {limits.active:,} are allowed. Submit again later.")
        mine = self.graph.tenants.get(session.tenant, 0)
        if mine >= limits.tenant_active:
            raise Overloaded(f"{mine:,} calls of {session.tenant} are under way; {limits.tenant_active:,} are allowed. Submit again later.")
        if len(session.calls) >= limits.session_calls:
            raise LimitExceeded(f"The session {session.id} has {len(session.calls):,} calls, as many as allowed. Open another one.")

    def _watch(self, session: Session, request: SubmitCall) -> None:
        """Set the earlier one of the call's and the session's deadline."""
        deadlines = [when for when in (request.deadline, session.deadline) if when is not None]
        if deadlines and request.call in self.graph.calls:
            self.timers.set(("deadline", request.call), min(deadlines))

    def _record(self, session: Session, request: SubmitCall, generations: Iterable[Generation]) -> None:
        keys = self._keys
        self._changed[session.id] = session
        self._batch.write(
            put(keys.call(request.call), records.submitted(request, self._at)),
            ("RPUSH", keys.calls(session.id), request.call),
            ("SADD", keys.active, request.call),
        )
        for generation in generations:
            self._batch.write(
                put(keys.variable(generation.variable), records.output(request, generation.lowered.output)),
                ("RPUSH", keys.variables(session.id), generation.variable),
            )

    def _start(self, generation: Generation) -> None:
        """A generation is new in the graph: it can run, waits, or has ended before it began."""
        if generation.missing == 0:
            self._queue([generation])
            return
        for name in generation.lowered.inputs:
            needed = self.graph.variables[name]
            if needed.state in (VariableState.FAILED, VariableState.CANCELLED):
                self._fail(generation, UpstreamFailed(needed.root))
                return

    def _refuse(self, session: Session | None, request: SubmitCall, error: ParrotError) -> None:
        """Answer a call that cannot be accepted: it and its outputs fail, and are kept as long as other results."""
        keys = self._keys
        made = {one.variable: name for name, one in request.outputs.items() if one.variable not in self.graph.variables}
        if session is None or request.call in self.graph.owners:
            for variable, name in made.items():
                self._answer(request.session, variable, records.output(request, name), error)
            return
        failure = records.failure(error.code, str(error), self._at)
        for variable, name in made.items():
            self.graph.declare(session, variable, VariableState.FAILED).root = str(error)
            fields = records.output(request, name) | {"state": VariableState.FAILED.value} | failure
            self._batch.write(put(keys.variable(variable), fields), ("RPUSH", keys.variables(session.id), variable))
            self._tell(session.id, variable, VariableState.FAILED)
        self.graph.note(session, request.call)
        self._changed[session.id] = session
        self._batch.write(
            put(keys.call(request.call), records.submitted(request, self._at) | {"state": CallState.FAILED.value} | failure),
            ("RPUSH", keys.calls(session.id), request.call),
        )
        self._retire(session)

    def _deadline_over(self, call: str) -> None:
        request = self.graph.calls[call].request
        error = DeadlineExceeded(f"{request.function} had not ended at its deadline.")
        for output in request.outputs.values():
            producer = self.graph.variables[output.variable].producer
            if producer is not None:
                self._fail(producer, error)

    # Cancelling ----------------------------------------------------------------------------------

    def _cancel_variable(self, request: CancelVariable) -> None:
        variable = self._named(request)
        if variable is not None:
            self._heard(request.session)
            self._cancel(variable, "It was cancelled.")

    def _cancel_session(self, request: CancelSession) -> None:
        session = self.graph.sessions.get(request.session)
        if session is None:
            return  # it is over
        for name in session.variables:
            self._cancel(self.graph.variables[name], "Its session was cancelled.")
        if session.state == SessionState.OPEN:
            self._close(session)

    def _cancel(self, variable: Variable, reason: str) -> None:
        stack = [variable]
        while stack:
            ended = list(self._stop(stack.pop(), VariableState.CANCELLED, Cancelled(reason), reason))
            stack.extend(self.graph.unneeded(ended))

    def _stop(self, variable: Variable, state: VariableState, error: ParrotError, root: str) -> Iterator[Generation]:
        """End a variable and all that depends on it, wherever the work on it has come to.

        Yields:
            The generations that would have made them.
        """
        for ended, producer in self.graph.end(variable, state, root):
            said = error if ended is variable or state == VariableState.CANCELLED else UpstreamFailed(root)
            self._end(ended, state, records.failure(said.code, str(said), self._at))
            if producer is not None:
                if engine := self.fleet.take(producer):
                    self._batch.order(engine, Cancel(variable=ended.id, attempt=producer.attempt))
                producer.call.failed |= state == VariableState.FAILED
                producer.call.cancelled |= state == VariableState.CANCELLED
                self._finished(producer.call)
                yield producer

    # Generations ---------------------------------------------------------------------------------

    def _queue(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            self.fleet.push(generation)
            self._queued.append(generation)

    def _note_queued(self) -> None:
        """Say of what became ready in this batch and found no engine that it waits."""
        for generation in self._queued:
            if generation.engine or generation.ended:
                continue
            request = generation.call.request
            why = f"waits for an engine with room that serves {request.model or 'any model'}"
            self._batch.write(
                put(self._keys.call(request.call), {"state": CallState.QUEUED, "why": why}),
                move(self._keys.variable(generation.variable), records.queued(generation, why)),
            )
        self._queued.clear()

    def _send(self, generation: Generation, engine: Engine, why: str) -> None:
        request = generation.call.request
        generation.job = self._batch.order(engine.id, job_of(generation))
        self._batch.write(
            move(self._keys.variable(generation.variable), records.placed(generation, why, self._at)),
            put(self._keys.call(request.call), {"state": CallState.PLACED, "engine": engine.id, "why": why}),
        )

    def _held(self, event: GenerationFailed | GenerationReturned) -> Generation | None:
        """Take a generation from the engine that reports on it; None if the report is not about the current attempt."""
        variable = self.graph.variables.get(event.variable)
        generation = variable.producer if variable is not None else None
        self._hear(event.engine)
        if generation is None or generation.attempt != event.attempt or generation.engine != event.engine:
            return None
        self.fleet.take(generation)
        return generation

    def _generation_done(self, event: GenerationDone) -> None:
        variable = self.graph.variables.get(event.variable)
        generation = variable.producer if variable is not None else None
        self._hear(event.engine)
        if variable is not None and variable.state in (VariableState.FAILED, VariableState.CANCELLED):
            variable.state = VariableState.READY  # it was published while we ended it, and came first: new calls may use it
        if variable is None or generation is None or not 1 <= event.attempt <= generation.attempt:
            return  # a repetition, or an attempt that nobody was given
        # The variable is set, whoever did it: an engine that was given up may have been faster than its successor.
        holder = self.fleet.take(generation)
        if holder and holder != event.engine:
            self._batch.order(holder, Cancel(variable=variable.id, attempt=generation.attempt))
        self._queue(self.graph.make_ready(variable))
        self._finished(generation.call)

    def _generation_failed(self, event: GenerationFailed) -> None:
        generation = self._held(event)
        if generation is None:
            return  # an attempt that is no longer ours
        error = from_wire(event.code, event.reason)
        generation.errors += 1
        # A fault of the engine says nothing of the call itself; every other error would come again.
        if type(error) is EngineError and generation.errors < MAX_ERRORS:
            self._queue([generation])
        else:
            self._fail(generation, error)

    def _generation_returned(self, event: GenerationReturned) -> None:
        generation = self._held(event)
        if generation is not None:
            self._queue([generation])

    def _fail(self, generation: Generation, error: ParrotError) -> None:
        root = str(error)
        if not isinstance(error, UpstreamFailed):
            root = f"{generation.call.request.function} could not make {generation.variable}: {error}"
        for _ in self._stop(self.graph.variables[generation.variable], VariableState.FAILED, error, root):
            pass

    def _finished(self, call: Call) -> None:
        """One more generation of a call has ended."""
        call.unfinished -= 1
        if call.unfinished:
            return
        session = self.graph.finish(call)
        self._changed[session.id] = session
        self.timers.drop(("deadline", call.id))
        self._batch.write(put(self._keys.call(call.id), records.ended(call, self._at)), ("SREM", self._keys.active, call.id))
        self._retire(session)

    # Engines -------------------------------------------------------------------------------------

    def _engine_up(self, event: EngineUp) -> None:
        if event.engine in self.fleet.engines:
            return  # it repeats what it was not sure to have said
        if event.previous is not None:
            self._engine_left(event.previous)
            self._false_alarm(event.previous)
        engine = self.fleet.engines[event.engine] = Engine(event, heard=self._now)
        self.timers.set(("lease", engine.id), self._now + self._limits.lease)
        self._batch.write(
            ("SADD", self._keys.engines, event.engine),
            put(self._keys.engine(event.engine), records.engine(engine, self._at)),
        )

    def _hear(self, name: str) -> Engine | None:
        """An engine says something; None if it is not counted on."""
        engine = self.fleet.engines.get(name)
        if engine is not None:
            engine.heard = self._now
        return engine

    def _engine_beat(self, event: EngineBeat) -> None:
        engine = self._hear(event.engine)
        if engine is None:
            # It was given up, and its attempts are fenced off. If its stream is still there, it will learn that from its absence.
            self._batch.abandoned.append(event.engine)
            return
        engine.draining = event.draining
        self.timers.set(("lease", event.engine), self._now + self._limits.lease)
        self._batch.write(put(self._keys.engine(event.engine), records.beat(event, self._at)))

    def _engine_down(self, event: EngineDown) -> None:
        if not event.died:
            self._engine_left(event.engine)
        elif event.engine in self.fleet.engines:
            self._lease_over(event.engine)

    def _engine_left(self, name: str) -> None:
        engine = self.fleet.engines.get(name)
        if engine is not None:
            self._queue(self._lose(engine))

    def _lease_over(self, name: str) -> None:
        """An engine was silent for too long or said that it broke: it died of one of the calls that it held, or of something else."""
        engine = self.fleet.engines[name]
        held = self._lose(engine)
        for generation in held:
            generation.deaths |= {name}
            if generation.suspect and len(held) == 1 and len(generation.deaths) >= MAX_DEATHS:
                self._poison(generation)
            else:
                self._queue([generation])

    def _lose(self, engine: Engine) -> list[Generation]:
        self.timers.drop(("lease", engine.id))
        self._batch.abandoned.append(engine.id)
        self._batch.write(("SREM", self._keys.engines, engine.id), ("DEL", self._keys.engine(engine.id)))
        return self.fleet.lose(engine)

    def _false_alarm(self, engine: str) -> None:
        """An engine that was given up is alive: nobody killed it."""
        for call in self.graph.calls.values():
            for output in call.request.outputs.values():
                producer = self.graph.variables[output.variable].producer
                if producer is not None and engine in producer.deaths:
                    producer.deaths -= {engine}
                    self._batch.write(move(self._keys.variable(output.variable), records.suspicion(producer)))

    def _poison(self, generation: Generation) -> None:
        request, deaths = generation.call.request, sorted(generation.deaths)
        error = PoisonCall(f"{len(deaths)} engines died while they ran it, the last one while it ran alone: {', '.join(deaths)}.")
        self._batch.write(bury(self._keys.dead, self._keys.tasks, request.call, error, encode(request), most=MAX_MESSAGE_BYTES))
        self._fail(generation, error)


def job_of(generation: Generation) -> Job:
    """The job that an engine is sent for the current attempt of a generation."""
    request, lowered = generation.call.request, generation.lowered
    return Job.model_construct(  # from parts that were validated when they came in
        variable=lowered.variable,
        attempt=generation.attempt,
        session=request.session,
        call=request.call,
        function=request.function,
        output=lowered.output,
        prompt=list(lowered.prompt),
        sampling=lowered.sampling,
        chat=request.chat,
    )
