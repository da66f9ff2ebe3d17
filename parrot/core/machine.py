"""ServeCore's state machine: messages and the time go in, operations and jobs come out.

The only place where decisions are made. No I/O and no clock: the loop (`loop.py`) gives it what it read, commits `operations`
in one script and then sends `jobs`. What it decides follows from what it was told alone, so that a successor that is told
the same goes on the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from parrot.core import records
from parrot.core.backlog import Backlog
from parrot.core.graph import Call, Generation, Graph, Session, Variable
from parrot.core.lowering import lower
from parrot.core.placement import Engine, explain, least_loaded
from parrot.errors import CallError, EngineError, EngineLost, ParrotError, SessionError, UpstreamFailed, VariableError, from_wire
from parrot.wire.keys import Keys
from parrot.wire.states import ENDED, CallState, SessionState, VariableState
from parrot.wire.to_core import (
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
from parrot.wire.to_engine import Job
from parrot.wire.to_ledger import Op, end, move, put

MAX_ATTEMPTS = 3  # engines that may fail on one generation before it is given up


@dataclass(frozen=True, slots=True)
class Limits:
    """Times that the machine works with, in seconds.

    Attributes:
        lease: an engine that was silent for longer is given up.
        results: how long results live after their session was closed and all ended.
    """

    lease: float = 3.0
    results: int = 3600


@dataclass(slots=True)
class Batch:
    """What follows from one batch of messages.

    Attributes:
        operations: for the commit script, in order.
        jobs: to be sent once the operations are committed: engine, id of the stream entry, job.
        abandoned: engines whose job streams must go.
    """

    number: int
    operations: list[Op] = field(default_factory=list)
    jobs: list[tuple[str, str, Job]] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)


class Machine:
    """The state of one cell, and its rules.

    Args:
        keys: the cell's names.
        limits: times to work with.
        first_batch: number of the first batch; numbers never repeat in a cell, since ids of jobs derive from them.
    """

    def __init__(self, keys: Keys, limits: Limits, first_batch: int = 1) -> None:
        self._keys = keys
        self._limits = limits
        self.graph = Graph()
        self.engines: dict[str, Engine] = {}
        self.backlog = Backlog()
        self._ready = 0
        self._batch = Batch(first_batch)
        self._now = 0.0
        self._at = ""
        self._changed: dict[str, Session] = {}
        self._queued: list[Generation] = []
        self._rules: dict[type[Any], Callable[[Any], None]] = {
            OpenSession: self._open_session,
            CloseSession: self._close_session,
            DeclareVariable: self._declare_variable,
            SetVariable: self._set_variable,
            SubmitCall: self._submit_call,
            WantVariable: self._want_variable,
            EngineUp: self._engine_up,
            EngineBeat: self._engine_beat,
            EngineDown: self._engine_down,
            GenerationDone: self._generation_done,
            GenerationFailed: self._generation_failed,
            GenerationReturned: self._generation_returned,
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
        self._expire()
        self._place()
        self._note_queued()
        for session in self._changed.values():
            self._write(put(self._keys.session(session.id), records.progress(session)))
        self._changed.clear()
        self._batch = Batch(batch.number + 1)
        return batch

    def resume(self, generation: Generation, state: VariableState, attempt: int, engine: str, job: str) -> None:
        """Take a generation up where a predecessor left it; what follows is part of the next batch.

        Args:
            generation: already in the graph.
            state: of its variable. An engine may have set it without the predecessor having been told: then the event that
                still comes is a repetition.
            attempt, engine, job: the last attempt, who held it if anybody did, and the id of its job.
        """
        generation.attempt = attempt
        if state in ENDED:
            self.graph.variables[generation.variable].producer = None
            generation.call.failed |= state == VariableState.FAILED
            self._finished(generation.call)
        elif generation.missing == 0 and (holder := self.engines.get(engine)) is not None:
            generation.engine, generation.job = engine, job
            holder.holds[generation.variable] = generation
        elif generation.missing == 0:
            self._queue([generation])

    def deadline(self) -> float | None:
        """When `handle` must be called even if no message comes, in seconds since the epoch."""
        leases = (engine.seen + self._limits.lease for engine in self.engines.values())
        results = (session.expires for session in self.graph.sessions.values() if session.expires is not None)
        return min((*leases, *results), default=None)

    def _write(self, *operations: Op) -> None:
        self._batch.operations.extend(operations)

    # Sessions and variables ----------------------------------------------------------------------

    def _open_session(self, request: OpenSession) -> None:
        if request.session in self.graph.sessions:
            return  # the app repeats what it was not sure to have said
        self.graph.sessions[request.session] = Session(request.session, request.name)
        self._write(
            put(self._keys.session(request.session), records.opened(request, self._at)),
            ("ZADD", self._keys.sessions, f"{self._now:.3f}", request.session),
        )

    def _close_session(self, request: CloseSession) -> None:
        session = self.graph.sessions.get(request.session)
        if session is None or session.state == SessionState.CLOSED:
            return
        session.state = SessionState.CLOSED
        self._write(put(self._keys.session(session.id), {"state": session.state, "closed": self._at}))
        self._retire(session)

    def _retire(self, session: Session) -> None:
        """Give the results of a session that is closed and done their time to live."""
        if session.state != SessionState.CLOSED or session.active:
            return
        session.expires = self._now + self._limits.results
        keys, life = self._keys, str(self._limits.results)
        for key in (
            *map(keys.call, session.calls),
            *map(keys.variable, session.variables),
            keys.calls(session.id),
            keys.variables(session.id),
            keys.news(session.id),
            keys.session(session.id),
        ):
            self._write(("EXPIRE", key, life))
        self._write(put(keys.session(session.id), {"expires": records.clock(session.expires)}))

    def _declare_variable(self, request: DeclareVariable) -> None:
        session = self.graph.sessions.get(request.session)
        if session is None or session.state == SessionState.CLOSED or request.variable in self.graph.variables:
            return  # nobody waits: the app refuses this at its door, or it has been said before
        state = VariableState.EMPTY if request.text is None else VariableState.READY
        self.graph.declare(session, request.variable, state)
        self._write(
            put(self._keys.variable(request.variable), records.declared(request, self._at)),
            ("RPUSH", self._keys.variables(session.id), request.variable),
        )
        if state == VariableState.READY:
            self._tell(session.id, request.variable, state)

    def _set_variable(self, request: SetVariable) -> None:
        variable = self.graph.variables.get(request.variable)
        if variable is None or variable.state != VariableState.EMPTY:
            return  # set once: the first value stands
        self._end(variable, VariableState.READY, records.given(request.text, self._at))
        self._queue(self.graph.make_ready(variable))

    def _want_variable(self, request: WantVariable) -> None:
        variable = self.graph.variables.get(request.variable)
        if variable is None or variable.criterion == request.criterion:
            return
        variable.criterion = request.criterion
        self._write(put(self._keys.variable(variable.id), {"criterion": request.criterion}))

    def _end(self, variable: Variable, state: VariableState, fields: records.Fields) -> None:
        keys = self._keys
        self._write(end(keys.variable(variable.id), keys.news(variable.session), variable.id, state, fields))

    def _tell(self, session: str, variable: str, state: VariableState) -> None:
        self._write(("XADD", self._keys.news(session), "*", "variable", variable, "state", state))

    # Calls ---------------------------------------------------------------------------------------

    def _submit_call(self, request: SubmitCall) -> None:
        session = self.graph.sessions.get(request.session)
        if session is not None and request.call in session.calls:
            return  # a repeated submit of the same call id is the same call
        try:
            self._admit(session, request)
        except ParrotError as error:
            self._refuse(session, request, error)

    def _admit(self, session: Session | None, request: SubmitCall) -> None:
        if session is None or session.state == SessionState.CLOSED:
            raise SessionError(f"The session {request.session} of {request.function} is {'unknown' if session is None else 'closed'}.")
        lowered = lower(request)
        outputs = {one.variable for one in lowered}
        if taken := [name for name in outputs if name in self.graph.variables]:
            raise VariableError(f"The output variable {taken[0]} of {request.function} exists already; give each call new ones.")
        for name in lowered[-1].inputs:
            known = self.graph.variables.get(name)
            if name not in outputs and (known is None or known.session != session.id):
                raise CallError(f"The input variable {name} of {request.function} is not a variable of session {session.id}.")
        generations = self.graph.add(session, request, lowered)
        self._record(session, request, generations)
        for generation in generations:
            self._start(generation)

    def _record(self, session: Session, request: SubmitCall, generations: Iterable[Generation]) -> None:
        keys = self._keys
        self._changed[session.id] = session
        self._write(
            put(keys.call(request.call), records.submitted(request, self._at)),
            ("RPUSH", keys.calls(session.id), request.call),
            ("SADD", keys.active, request.call),
        )
        for generation in generations:
            self._write(
                put(keys.variable(generation.variable), records.output(request, generation.lowered.output)),
                ("RPUSH", keys.variables(session.id), generation.variable),
            )

    def _start(self, generation: Generation) -> None:
        """A generation is new in the graph: it can run, waits, or has failed before it began."""
        if generation.missing == 0:
            self._queue([generation])
            return
        for name in generation.lowered.inputs:
            needed = self.graph.variables[name]
            if needed.state == VariableState.FAILED:
                self._fail(self.graph.variables[generation.variable], UpstreamFailed(needed.root))
                return

    def _refuse(self, session: Session | None, request: SubmitCall, error: ParrotError) -> None:
        """Answer a call that cannot be accepted: it and its outputs fail, and are kept as long as other results."""
        keys = self._keys
        failure = records.failure(error.code, str(error), self._at)
        made = {name: one.variable for name, one in request.outputs.items() if one.variable not in self.graph.variables}
        for name, variable in made.items():
            fields = records.output(request, name) | {"state": VariableState.FAILED.value} | failure
            self._write(put(keys.variable(variable), fields))
            self._tell(request.session, variable, VariableState.FAILED)
        if session is None:
            life = str(self._limits.results)
            self._write(*(("EXPIRE", keys.variable(variable), life) for variable in made.values()))
            self._write(("EXPIRE", keys.news(request.session), life))
            return
        for variable in made.values():
            self.graph.declare(session, variable, VariableState.FAILED).root = str(error)
            self._write(("RPUSH", keys.variables(session.id), variable))
        session.calls[request.call] = None
        self._changed[session.id] = session
        self._write(
            put(keys.call(request.call), records.submitted(request, self._at) | {"state": CallState.FAILED.value} | failure),
            ("RPUSH", keys.calls(session.id), request.call),
        )
        self._retire(session)

    # Generations ---------------------------------------------------------------------------------

    def _queue(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            if generation.order == 0:
                self._ready += 1
                generation.order = self._ready
            self.backlog.push(generation)
            self._queued.append(generation)

    def _note_queued(self) -> None:
        """Say of what became ready in this batch and found no engine that it waits."""
        for generation in self._queued:
            if generation.engine:
                continue
            request = generation.call.request
            why = f"waits for an engine with room that serves {request.model or 'any model'}"
            self._write(
                put(self._keys.call(request.call), {"state": CallState.QUEUED, "why": why}),
                move(self._keys.variable(generation.variable), records.queued(why)),
            )
        self._queued.clear()

    def _place(self) -> None:
        """Give what is ready to engines, the least loaded first, as long as any has room."""
        while True:
            wanted = (engine for engine in self.engines.values() if self.backlog.serves(engine.about.model))
            engine = least_loaded(wanted)
            if engine is None:
                return
            model = engine.about.model
            rivals = sum(other.about.model == model for other in self.engines.values()) - 1
            self._give(self.backlog.pop(model), engine, explain(engine, rivals))

    def _give(self, generation: Generation, engine: Engine, why: str) -> None:
        batch, request = self._batch, generation.call.request
        generation.attempt += 1
        generation.engine = engine.id
        generation.job = f"{batch.number}-{len(batch.jobs)}"
        engine.holds[generation.variable] = generation
        self._write(
            move(self._keys.variable(generation.variable), records.placed(generation, why, self._at)),
            put(self._keys.call(request.call), {"state": CallState.PLACED, "engine": engine.id, "why": why}),
        )
        batch.jobs.append((engine.id, generation.job, job_of(generation)))

    def _held(self, event: GenerationDone | GenerationFailed | GenerationReturned) -> Generation | None:
        """Take a generation from the engine that reports on it; None if the report is not about the current attempt."""
        variable = self.graph.variables.get(event.variable)
        generation = variable.producer if variable is not None else None
        if generation is None or generation.attempt != event.attempt or generation.engine != event.engine:
            return None
        self._take(generation)
        return generation

    def _take(self, generation: Generation) -> None:
        engine = self.engines.get(generation.engine)
        if engine is not None:
            engine.holds.pop(generation.variable, None)
        generation.engine = ""

    def _generation_done(self, event: GenerationDone) -> None:
        generation = self._held(event)
        if generation is None:
            return  # publication is fenced by the attempt, so this can only be a repetition
        self._queue(self.graph.make_ready(self.graph.variables[event.variable]))
        self._finished(generation.call)

    def _generation_failed(self, event: GenerationFailed) -> None:
        generation = self._held(event)
        if generation is None:
            return  # an attempt that is no longer ours
        error = from_wire(event.code, event.reason)
        self._retry_or_fail(generation, error)

    def _generation_returned(self, event: GenerationReturned) -> None:
        generation = self._held(event)
        if generation is not None:
            self._queue([generation])

    def _retry_or_fail(self, generation: Generation, error: ParrotError) -> None:
        # An engine that broke or went away says nothing of the call itself; every other error would come again.
        if type(error) in (EngineError, EngineLost) and generation.attempt < MAX_ATTEMPTS:
            self._queue([generation])
        else:
            self._fail(self.graph.variables[generation.variable], error)

    def _fail(self, variable: Variable, error: ParrotError) -> None:
        root = str(error)
        if variable.producer is not None and not isinstance(error, UpstreamFailed):
            root = f"{variable.producer.call.request.function} could not make {variable.id}: {error}"
        for failed, producer in self.graph.fail(variable, root):
            reason = error if failed is variable else UpstreamFailed(root)
            self._end(failed, VariableState.FAILED, records.failure(reason.code, str(reason), self._at))
            if producer is not None:
                producer.call.failed = True
                self._finished(producer.call)

    def _finished(self, call: Call) -> None:
        """One more generation of a call has ended."""
        call.unfinished -= 1
        if call.unfinished:
            return
        session = self.graph.finish(call)
        self._changed[session.id] = session
        self._write(put(self._keys.call(call.id), records.ended(call, self._at)), ("SREM", self._keys.active, call.id))
        self._retire(session)

    # Engines -------------------------------------------------------------------------------------

    def _engine_up(self, event: EngineUp) -> None:
        engine = self.engines[event.engine] = Engine(event, self._now)
        self._write(
            ("SADD", self._keys.engines, event.engine),
            put(self._keys.engine(event.engine), records.engine(engine, self._at)),
        )

    def _engine_beat(self, event: EngineBeat) -> None:
        engine = self.engines.get(event.engine)
        if engine is None:
            return  # it was given up; its attempts are fenced off and its stream is gone
        engine.seen = self._now
        self._write(put(self._keys.engine(engine.id), records.beat(event, self._at)))

    def _engine_down(self, event: EngineDown) -> None:
        engine = self.engines.get(event.engine)
        if engine is not None:
            self._lose(engine)

    def _lose(self, engine: Engine) -> None:
        """An engine is gone: what it held goes elsewhere."""
        del self.engines[engine.id]
        self._batch.abandoned.append(engine.id)
        self._write(("SREM", self._keys.engines, engine.id), ("DEL", self._keys.engine(engine.id)))
        for generation in engine.holds.values():
            generation.engine = ""
            self._retry_or_fail(generation, EngineLost(f"The engine {engine.about.name} stopped answering."))

    def _expire(self) -> None:
        for engine in [engine for engine in self.engines.values() if engine.seen + self._limits.lease <= self._now]:
            self._lose(engine)
        for session in [s for s in self.graph.sessions.values() if s.expires is not None and s.expires <= self._now]:
            self.graph.forget(session)
            self._write(("ZREM", self._keys.sessions, session.id))


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
