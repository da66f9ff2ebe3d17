"""What an operator deleted or replaced in Redis: a new leader does without it, and tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterable

from parrot.core.cell import Cell
from parrot.core.ending import end_unknown, fail, stop
from parrot.core.graph import Generation, Session
from parrot.errors import InternalError, UpstreamFailed
from parrot.wire.states import CallState, VariableState
from parrot.wire.to_core import SubmitCall
from parrot.wire.to_ledger import put

GONE = "was deleted or replaced in Redis, but not by Parrot."


def forget_session(cell: Cell, session: str, calls: Iterable[str], variables: Iterable[str]) -> None:
    """A session has no record: its results have expired while nobody led, or somebody deleted it. What is left of it goes too."""
    keys = cell.keys
    cell.batch.write(("ZREM", keys.sessions, session))
    own = (keys.session(session), keys.calls(session), keys.variables(session), keys.news(session))
    _expire(cell, *own, *map(keys.call, calls), *map(keys.variable, variables), *map(keys.tokens, variables))


def give_up_call(cell: Cell, call: str, request: SubmitCall | None) -> None:
    """A call that counts as under way lacks its request, or its session does not know it: there is nothing to go on with."""
    keys = cell.keys
    cell.batch.write(("SREM", keys.active, call))
    if request is None:
        return
    error = InternalError(f"The session {request.session} of the call {call} {GONE}")
    cell.batch.write(put(keys.call(call), {"state": CallState.FAILED, "ended": cell.at}))
    _expire(cell, keys.call(call))
    for output in request.outputs.values():
        if output.variable not in cell.graph.variables:  # else it ends with its session's others
            end_unknown(cell, request.session, output.variable, error)
    if request.session not in cell.graph.sessions:
        _expire(cell, keys.news(request.session))


def stand_in(cell: Cell, session: Session, inputs: Iterable[str]) -> None:
    """For inputs of a call that are gone, variables that have failed."""
    for name in inputs:
        if name not in cell.graph.variables:
            cell.graph.declare(session, name, VariableState.FAILED).root = f"The variable {name} {GONE}"


def tell_who_waits(cell: Cell, generations: Iterable[Generation]) -> None:
    """Once all that is there has been taken up: end what can never be made.

    Args:
        cell: which takes over.
        generations: all that were taken up.
    """
    for generation in generations:
        roots = [needed.root for name in generation.lowered.inputs if (needed := cell.graph.variables[name]).state == VariableState.FAILED]
        if roots and not generation.ended:
            fail(cell, generation, UpstreamFailed(roots[0]))
    for variable in [*cell.graph.variables.values()]:
        if variable.producer is None and variable.state in (VariableState.PENDING, VariableState.GENERATING):
            error = InternalError(f"The call that makes it {GONE}")
            stop(cell, variable, VariableState.FAILED, error, f"{variable.id}: {error}")


def _expire(cell: Cell, *keys: str) -> None:
    cell.batch.write(*(("EXPIRE", key, str(cell.limits.results)) for key in keys))
