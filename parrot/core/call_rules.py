"""The rules of calls: admitted or refused, begun, overtaken by their deadline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parrot.core import records
from parrot.core.cell import Cell
from parrot.core.ending import answer, fail, retire, tell
from parrot.core.graph import Generation, Session
from parrot.core.lowering import lower
from parrot.core.session_rules import heard, no_session
from parrot.errors import CallError, DeadlineExceeded, LimitExceeded, Overloaded, ParrotError, UpstreamFailed, VariableError
from parrot.wire.states import CallState, VariableState
from parrot.wire.to_core import SubmitCall
from parrot.wire.to_ledger import put


def submit_call(cell: Cell, request: SubmitCall) -> None:
    """A call of a semantic function."""
    session = cell.graph.sessions.get(request.session)
    if session is not None and cell.graph.has(session, request.call):
        return  # a repeated submit of the same call id is the same call
    try:
        _admit(cell, request)
    except ParrotError as error:
        _refuse(cell, session, request, error)


def watch(cell: Cell, name: str) -> None:
    """Set the deadline of a call that has not ended."""
    call = cell.graph.calls.get(name)
    if call is not None and call.deadline is not None:
        cell.timers.set(("deadline", name), call.deadline)


def deadline_over(cell: Cell, name: str) -> None:
    """A call has not ended in time."""
    call = cell.graph.calls[name]
    error = DeadlineExceeded(f"{call.function} had not ended at its deadline.")
    for output in call.outputs:
        producer = cell.graph.variables[output].producer
        if producer is not None:
            fail(cell, producer, error)


def _admit(cell: Cell, request: SubmitCall) -> None:
    session = heard(cell, request.session)
    if session is None:
        raise no_session(cell, request.session, request.function)
    if request.call in cell.graph.owners:
        raise CallError(f"The call id {request.call} of {request.function} belongs to another session; give each call a new one.")
    _check_room(cell, session)
    lowered = lower(request)
    outputs = {one.variable for one in lowered}
    if taken := [name for name in outputs if name in cell.graph.variables]:
        raise VariableError(f"The output variable {taken[0]} of {request.function} exists already; give each call new ones.")
    for name in lowered[-1].inputs:
        known = cell.graph.variables.get(name)
        if name in outputs:
            continue
        if known is None or known.session != session.id:
            raise CallError(f"The input variable {name} of {request.function} is not a variable of session {session.id}.")
        if known.depth + len(lowered) > cell.limits.depth:
            raise LimitExceeded(f"{request.function} would be step {known.depth + 1:,} of its program; the limit is {cell.limits.depth:,}.")
    programs = cell.graph.programs(lowered[-1])
    generations = cell.graph.add(session, request, lowered)
    _record(cell, session, request, generations, programs)
    cell.begun(generations)
    for generation in generations:
        _start(cell, generation)
    watch(cell, request.call)


def _check_room(cell: Cell, session: Session) -> None:
    limits, active = cell.limits, len(cell.graph.calls)
    if active >= limits.active:
        raise Overloaded(f"{active:,} calls are under way in this cell; {limits.active:,} are allowed. Submit again later.")
    mine = cell.graph.tenants.get(session.tenant, 0)
    if mine >= limits.tenant_active:
        raise Overloaded(f"{mine:,} calls of {session.tenant} are under way; {limits.tenant_active:,} are allowed. Submit again later.")
    if len(session.calls) >= limits.session_calls:
        raise LimitExceeded(f"The session {session.id} has {len(session.calls):,} calls, as many as allowed. Open another one.")


def _record(cell: Cell, session: Session, request: SubmitCall, generations: Iterable[Generation], programs: Sequence[str]) -> None:
    keys = cell.keys
    cell.changed[session.id] = session
    cell.batch.write(
        put(keys.call(request.call), records.submitted(request, cell.at)),
        ("RPUSH", keys.calls(session.id), request.call),
        ("SADD", keys.active, request.call),
    )
    for generation in generations:
        fields = records.generation(request, generation, programs)
        cell.batch.write(put(keys.variable(generation.variable), fields), ("RPUSH", keys.variables(session.id), generation.variable))
        programs = ()  # the first one says for all of the call


def _start(cell: Cell, generation: Generation) -> None:
    """A generation is new in the graph: it can run, waits, or has ended before it began."""
    if generation.missing == 0:
        cell.queue([generation])
        return
    for name in generation.lowered.inputs:
        needed = cell.graph.variables[name]
        if needed.state in (VariableState.FAILED, VariableState.CANCELLED):
            fail(cell, generation, UpstreamFailed(needed.root))
            return


def _refuse(cell: Cell, session: Session | None, request: SubmitCall, error: ParrotError) -> None:
    """Answer a call that cannot be accepted: it and its outputs fail, and are kept as long as other results."""
    keys = cell.keys
    made = {one.variable: name for name, one in request.outputs.items() if one.variable not in cell.graph.variables}
    if session is None or request.call in cell.graph.owners:
        for variable, name in made.items():
            answer(cell, request.session, variable, records.output(request, name), error)
        return
    failure = records.failure(error.code, str(error), cell.at)
    for variable, name in made.items():
        cell.graph.declare(session, variable, VariableState.FAILED).root = str(error)
        fields = records.output(request, name) | {"state": VariableState.FAILED.value} | failure
        cell.batch.write(put(keys.variable(variable), fields), ("RPUSH", keys.variables(session.id), variable))
        tell(cell, session.id, variable, VariableState.FAILED)
    cell.graph.note(session, request.call)
    cell.changed[session.id] = session
    cell.batch.write(
        put(keys.call(request.call), records.submitted(request, cell.at) | {"state": CallState.FAILED.value} | failure),
        ("RPUSH", keys.calls(session.id), request.call),
    )
    retire(cell, session)
