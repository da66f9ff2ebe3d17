"""How variables, calls and sessions end, and who is told."""

from __future__ import annotations

from parrot.core import records
from parrot.core.batch import place
from parrot.core.cell import Cell
from parrot.core.graph import Call, Generation, Session, Variable
from parrot.core.objectives import producers
from parrot.errors import Cancelled, ParrotError, UpstreamFailed
from parrot.wire import to_ledger
from parrot.wire.states import SessionState, VariableState
from parrot.wire.to_engine import Cancel
from parrot.wire.to_ledger import put


def cancel(cell: Cell, variable: Variable, reason: str) -> None:
    """Nobody wants a variable, nor what depends on it, nor what was made for it alone."""
    stack = [variable]
    while stack:
        ended = stop(cell, stack.pop(), VariableState.CANCELLED, Cancelled(reason), reason)
        stack.extend(cell.graph.unneeded(ended))


def fail(cell: Cell, generation: Generation, error: ParrotError) -> None:
    """A generation will not make its variable, so that nothing that depends on it can be made."""
    root = str(error)
    if not isinstance(error, UpstreamFailed):
        root = f"{generation.call.function} could not make {generation.variable}: {error}"
    stop(cell, cell.graph.variables[generation.variable], VariableState.FAILED, error, root)


def stop(cell: Cell, variable: Variable, state: VariableState, error: ParrotError, root: str) -> list[Generation]:
    """End a variable and all that depends on it, wherever the work on it has come to.

    Args:
        cell: whose state it is.
        variable: where it begins.
        state: failed or cancelled.
        error: what whoever waits for the variable is told.
        root: what failed first and why; the descendants of a failed one are told that.

    Returns:
        The generations that would have made them.
    """
    stopped = []
    for ended, producer in cell.graph.end(variable, state, root):
        said = error if ended is variable or state == VariableState.CANCELLED else UpstreamFailed(root)
        end(cell, ended, state, records.failure(said.code, str(said), cell.at))
        if producer is not None:
            if engine := cell.fleet.take(producer, cell.now):
                let_go(cell, engine, producer)
            cell.over(producer)
            cell.stirred.extend(producers(cell.graph, producer))  # one less who asks something of them
            producer.call.failed |= state == VariableState.FAILED
            producer.call.cancelled |= state == VariableState.CANCELLED
            finished(cell, producer.call)
            stopped.append(producer)
    return stopped


def let_go(cell: Cell, engine: str, generation: Generation) -> None:
    """Tell an engine that it need not go on with the current attempt of a generation."""
    order = cell.batch.order(engine, Cancel(variable=generation.variable, attempt=generation.attempt))
    if (holder := cell.fleet.engines.get(engine)) is not None:
        holder.told = place(order)


def finished(cell: Cell, call: Call) -> None:
    """One more generation of a call has ended."""
    call.unfinished -= 1
    if call.unfinished:
        return
    session = cell.graph.finish(call)
    cell.changed[session.id] = session
    cell.timers.drop(("deadline", call.id))
    cell.batch.write(put(cell.keys.call(call.id), records.ended(call, cell.at)), ("SREM", cell.keys.active, call.id))
    retire(cell, session)


def retire(cell: Cell, session: Session) -> None:
    """Give the results of a session that is closed and done their time to live."""
    if session.state != SessionState.CLOSED or session.active:
        return
    expires = cell.now + cell.limits.results
    cell.timers.set(("results", session.id), expires)
    keys, life = cell.keys, str(cell.limits.results)
    for key in (
        *map(keys.call, session.calls),
        *map(keys.variable, session.variables),
        *map(keys.tokens, session.variables),
        keys.calls(session.id),
        keys.variables(session.id),
        keys.news(session.id),
        keys.session(session.id),
    ):
        cell.batch.write(("EXPIRE", key, life))
    cell.batch.write(put(keys.session(session.id), {"expires": records.clock(expires)}))


def end(cell: Cell, variable: Variable, state: VariableState, fields: records.Fields) -> None:
    """Write that a variable has ended, and tell its session."""
    keys = cell.keys
    cell.batch.write(to_ledger.end(keys.variable(variable.id), keys.news(variable.session), variable.id, state, fields))


def end_unknown(cell: Cell, session: str, variable: str, error: ParrotError) -> None:
    """Tell whoever waits for a variable that only Redis knows of, perhaps, that it failed; that lives as long as results do."""
    keys, life = cell.keys, str(cell.limits.results)
    failed = records.failure(error.code, str(error), cell.at)
    cell.batch.write(
        to_ledger.end(keys.variable(variable), keys.news(session), variable, VariableState.FAILED, failed),
        ("EXPIRE", keys.variable(variable), life),
        ("EXPIRE", keys.tokens(variable), life),
    )


def tell(cell: Cell, session: str, variable: str, state: VariableState) -> None:
    """Tell a session of a variable that was written with its end."""
    cell.batch.write(("XADD", cell.keys.news(session), "*", "variable", variable, "state", state))


def answer(cell: Cell, session: str, variable: str, fields: records.Fields, error: ParrotError) -> None:
    """Tell whoever waits for a variable of no living session that it failed; the answer lives as long as results do."""
    keys, life = cell.keys, str(cell.limits.results)
    failed = fields | {"state": VariableState.FAILED.value} | records.failure(error.code, str(error), cell.at)
    cell.batch.write(to_ledger.answer(keys.variable(variable), keys.news(session), keys.session(session), variable, life, failed))
