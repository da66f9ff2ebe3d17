"""The rules of generations: given to engines; done, failed or handed back by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from parrot.core import records
from parrot.core.cell import Cell
from parrot.core.deadlines import retime
from parrot.core.ending import cancel, fail, finished, let_go
from parrot.core.engine_rules import hear
from parrot.core.graph import Generation, Variable
from parrot.core.objectives import refresh
from parrot.core.policy import Decision
from parrot.core.reasons import give_reasons, with_history
from parrot.core.urgency import slack
from parrot.errors import ContextTooLong, EngineError, from_wire
from parrot.wire.states import VariableState
from parrot.wire.to_core import GenerationDone, GenerationFailed, GenerationReturned, GenerationRevoked, Usage
from parrot.wire.to_engine import Job, Reorder
from parrot.wire.to_ledger import move, put

MAX_ERRORS = 3  # times that engines may report a failure of one generation before it is given up


@dataclass(frozen=True, slots=True)
class FoundSet:
    """Redis refused to change a variable, since an engine has set it."""

    variable: str


def assign(cell: Cell) -> None:
    """Give what waits to engines with room, and say of what became ready in this batch and found none why it waits."""
    _refresh_objectives(cell)
    _clear_for_suspects(cell)
    for decision in cell.fleet.assign(cell.now):
        _send(cell, decision)
    give_reasons(cell)


def generation_done(cell: Cell, event: GenerationDone) -> None:
    """An engine has set a variable."""
    variable = cell.graph.variables.get(event.variable)
    generation = variable.producer if variable is not None else None
    hear(cell, event.engine)
    if variable is not None and variable.state in (VariableState.FAILED, VariableState.CANCELLED):
        variable.state = VariableState.READY  # it was published while we ended it, and came first: new calls may use it
    if variable is None or generation is None or not 1 <= event.attempt <= generation.attempt:
        return  # a repetition, or an attempt that nobody was given
    # The variable is set, whoever did it: an engine that was given up may have been faster than its successor.
    if generation.engine == event.engine:
        cell.fleet.take(generation, cell.now, event.usage)
    else:
        _withdraw(cell, generation)
    _learn(generation, event.usage)
    if generation.call.unfinished > 1:  # else it is written with its end
        cell.batch.write(put(cell.keys.call(generation.call.id), records.found(generation.call)))
    _set(cell, variable, generation)


def found_set(cell: Cell, event: FoundSet) -> None:
    """A variable was set before what we have decided of it could be written.

    The message that says so is on its way as a rule, with what it has cost. If the generation runs again since nothing was heard of its
    end, there is none: it was lost, or could not be understood.
    """
    variable = cell.graph.variables.get(event.variable)
    generation = variable.producer if variable is not None else None
    if variable is None or generation is None or not generation.mishaps.lost:
        return
    _withdraw(cell, generation)
    _set(cell, variable, generation)


def _withdraw(cell: Cell, generation: Generation) -> None:
    """If an engine holds it, it need not go on."""
    if holder := cell.fleet.take(generation, cell.now):
        let_go(cell, holder, generation)


def _set(cell: Cell, variable: Variable, generation: Generation) -> None:
    """What waited for a variable can go on."""
    cell.over(generation)
    cell.queue(cell.graph.make_ready(variable))
    finished(cell, generation.call)


def generation_failed(cell: Cell, event: GenerationFailed) -> None:
    """An engine could not make a variable."""
    generation = _held(cell, event)
    if generation is None:
        return  # an attempt that is no longer ours
    error = from_wire(event.code, event.reason)
    if isinstance(error, ContextTooLong) and _larger_exists(cell, generation, event.engine):
        cell.queue([generation])
        return
    generation.suffers(errors=generation.mishaps.errors + 1)
    # A fault of the engine says nothing of the call itself; every other error would come again.
    if type(error) is EngineError and generation.mishaps.errors < MAX_ERRORS:
        cell.queue([generation])
    else:
        fail(cell, generation, error)


def _larger_exists(cell: Cell, generation: Generation, engine: str) -> bool:
    """Whether another engine takes more context than the one that refused; the generation goes to no smaller one from now on."""
    refused = cell.fleet.engines.get(engine)
    if refused is None:
        return False
    generation.context = refused.about.capacity.context_tokens + 1
    model = generation.call.model
    return any(
        other.about.capacity.context_tokens >= generation.context and model in (None, other.about.model)
        for other in cell.fleet.engines.values()
    )


def generation_returned(cell: Cell, event: GenerationReturned) -> None:
    """An engine hands back what it was given."""
    generation = _held(cell, event)
    if generation is not None:
        cell.queue([generation])


def generation_revoked(cell: Cell, event: GenerationRevoked) -> None:
    """An operator wants a variable no more; its session is not asked."""
    hear(cell, event.engine)
    variable = cell.graph.variables.get(event.variable)
    if variable is not None:
        cancel(cell, variable, "It was revoked through Celery.")


def _learn(generation: Generation, usage: Usage) -> None:
    generation.made.tokens = usage.tokens_out
    generation.call.cached += usage.tokens_cached
    generation.program.whole().attained += usage.seconds / max(1.0, usage.running)


def _refresh_objectives(cell: Cell) -> None:
    """Derive what may have changed in this batch, when what must begin too, and tell whom it concerns."""
    if not cell.stirred:
        return
    policy, late = cell.fleet.policy, retime(cell.graph, cell.stirred)
    changed = list(dict.fromkeys([*refresh(cell.graph, cell.stirred), *late]))
    cell.stirred.clear()
    policy.changed(changed, cell.now)
    new = set(cell.queued)
    for generation in changed:
        if generation.missing == 0 and generation not in new:  # else it is written when it is placed, or waits for that
            cell.batch.write(put(cell.keys.call(generation.call.id), records.pursued(generation, slack(generation, cell.now))))
        if not generation.engine:
            continue  # engines are told when it is placed
        if (priority := policy.priority(generation)) != generation.priority:
            generation.priority = priority
            generation.reordered = cell.batch.order(generation.engine, reordering_of(generation))
            cell.batch.write(move(cell.keys.variable(generation.variable), records.reordered(generation)))


def _clear_for_suspects(cell: Cell) -> None:
    """Engines on which suspects are to run alone let go what they hold; once they have said so, it goes on elsewhere, or after them."""
    for engine in cell.fleet.clear(cell.now):
        for generation in engine.holds.values():
            let_go(cell, engine.id, generation)


def job_of(generation: Generation, salt: str) -> Job:
    """The job that an engine is sent for the current attempt of a generation; with the salt of the graph's `owner` of it."""
    call, lowered, priority, marks = generation.call, generation.lowered, generation.priority, generation.beginnings.marks()
    return Job.model_construct(  # from parts that were validated when they came in
        _fields(priority != 0, marks != (), salt != ""),
        variable=lowered.variable,
        attempt=generation.attempt,
        session=call.session,
        call=call.id,
        function=call.function,
        output=lowered.output,
        prompt=list(lowered.prompt),
        sampling=lowered.sampling,
        chat=call.chat,
        priority=priority,
        marks=marks,
        salt=salt,
    )


def reordering_of(generation: Generation) -> Reorder:
    """The order by which an engine learns that a generation that it holds has another priority now."""
    return Reorder(variable=generation.variable, attempt=generation.attempt, priority=generation.priority)


@cache
def _fields(priority: bool, marks: bool, salt: bool) -> set[str]:
    """The fields of a job that has some of those that are optional: what is left out costs nothing on the way."""
    left_out = {"priority": not priority, "marks": not marks, "salt": not salt}
    return {name for name in Job.model_fields if not left_out.get(name)}


def _send(cell: Cell, decision: Decision) -> None:
    generation, keys = decision.generation, cell.keys
    if generation.mishaps.again:
        decision = decision._replace(why=with_history(generation, decision.why))
    generation.priority = cell.fleet.policy.priority(generation)
    generation.call.expected += decision.prefix - generation.expected  # what an earlier attempt would have found does not count
    generation.expected = decision.prefix
    generation.job = cell.batch.order(decision.engine.id, job_of(generation, cell.graph.owner(generation)))
    cell.batch.write(
        move(keys.variable(generation.variable), records.placed(generation, decision.why, cell.at)),
        put(keys.call(generation.call.id), records.explained(decision)),
    )


def _held(cell: Cell, event: GenerationFailed | GenerationReturned) -> Generation | None:
    """Take a generation from the engine that reports on it; None if the report is not about the current attempt."""
    variable = cell.graph.variables.get(event.variable)
    generation = variable.producer if variable is not None else None
    hear(cell, event.engine)
    if generation is None or generation.attempt != event.attempt or generation.engine != event.engine:
        return None
    cell.fleet.take(generation, cell.now)
    return generation
