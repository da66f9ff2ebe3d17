"""How a machine comes to know what its predecessor knew. What follows from it is part of its first batch."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from parrot.core.call_rules import watch
from parrot.core.cell import Cell
from parrot.core.damage import stand_in
from parrot.core.deadlines import retime
from parrot.core.ending import finished
from parrot.core.graph import Generation, Session
from parrot.core.lowering import Lowered
from parrot.core.objectives import producers, refresh
from parrot.core.policy import Engine
from parrot.wire.states import ENDED, SessionState, VariableState
from parrot.wire.to_core import SubmitCall
from parrot.wire.to_engine import TellHoldings


def resume_engine(cell: Cell, engine: Engine) -> None:
    """Know an engine that a predecessor knew; it gets a whole lease from now."""
    cell.fleet.add(engine)
    cell.timers.set(("lease", engine.id), cell.now + cell.limits.lease)
    cell.batch.order(engine.id, TellHoldings())  # its reports say what has changed, and nobody has noted what it held before


def resume_session(cell: Cell, session: Session, calls: Iterable[str], expires: float | None) -> None:
    """Know a session that a predecessor knew.

    Args:
        cell: which takes over.
        session: without its calls.
        calls: of it, in order.
        expires: when its results end, in seconds since the epoch, if that is settled.
    """
    cell.graph.sessions[session.id] = session
    for call in calls:
        cell.graph.note(session, call)
    if expires is not None:
        cell.timers.set(("results", session.id), expires)
    elif session.state == SessionState.OPEN:
        cell.timers.set(("idle", session.id), cell.now + cell.limits.idle)


def resume_call(
    cell: Cell, request: SubmitCall, lowered: Sequence[Lowered], submitted: float | None, gathers: Container[str]
) -> list[Generation]:
    """Know a call that has not ended; once all calls are known, its generations are to be resumed in order.

    Args:
        cell: which takes over.
        request, lowered: the call.
        submitted: when, in seconds since the epoch.
        gathers: the variables whose makers wait for several calls at once, or did: those may have ended.
    """
    session = cell.graph.sessions[request.session]
    outputs = {one.variable for one in lowered}
    stand_in(cell, session, (name for one in lowered for name in one.inputs if name not in outputs))
    generations = cell.graph.add(session, request, lowered, gathers)
    cell.begun(generations, submitted)
    watch(cell, request.call)
    return generations


def settle_objectives(cell: Cell) -> None:
    """Once all calls are known, and before any generation is resumed: what each is for, and when it must begin."""
    policy = cell.fleet.policy
    retime(cell.graph, cell.stirred)
    policy.changed(refresh(cell.graph, cell.stirred), cell.now)
    for generation in cell.stirred:
        generation.priority = policy.priority(generation)
    cell.stirred.clear()


def resume(cell: Cell, generation: Generation, state: VariableState, engine: str, job: str, placed: float) -> None:
    """Take a generation up where a predecessor left it.

    Args:
        cell: which takes over.
        generation: of a resumed call, with its attempts and failures.
        state: of its variable. An engine may have set it without the predecessor having been told: then the event that
            still comes is a repetition.
        engine, job: who held it, if anybody did, and the id of its job.
        placed: since when, in seconds since the epoch: by now it may have computed the prompt.
    """
    if state in ENDED:
        cell.graph.restore_ended(generation)
        cell.stirred.extend(producers(cell.graph, generation))  # it asks nothing of them
        cell.over(generation)
        generation.call.failed |= state == VariableState.FAILED
        generation.call.cancelled |= state == VariableState.CANCELLED
        finished(cell, generation.call)
    elif generation.missing == 0 and (holder := cell.fleet.engines.get(engine)) is not None:
        generation.job = job
        generation.since = generation.since or cell.now
        cell.graph.read_prompt(generation)
        cell.fleet.hold(generation, holder, min(placed, cell.now))
    elif generation.missing == 0:
        cell.queue([generation])
