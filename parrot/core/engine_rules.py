"""The rules of engines: up, heard of, gone; and who is to blame when one dies."""

from __future__ import annotations

from parrot.core import records, unserved
from parrot.core.batch import place
from parrot.core.cell import Cell
from parrot.core.ending import fail, let_go
from parrot.core.graph import Generation
from parrot.core.policy import Engine
from parrot.core.reasons import served_less, served_otherwise
from parrot.errors import InternalError, PoisonCall
from parrot.wire.to_core import EngineBeat, EngineDown, EngineHolds, EngineUp
from parrot.wire.to_engine import TellHoldings
from parrot.wire.to_ledger import bury_call, move, put

MAX_DEATHS = 3  # engines that may die of one generation before it is given up
MAX_LOST = 5  # times that what became of a generation may be lost; more often is no power loss: what is said of it is not understood


def engine_up(cell: Cell, event: EngineUp) -> None:
    """An engine is ready for jobs."""
    if event.engine in cell.fleet.engines:
        return  # it repeats what it was not sure to have said
    if event.previous is not None:
        _left(cell, event.previous)
        _false_alarm(cell, event.previous)
    engine = Engine(event, heard=cell.now)
    is_served = cell.fleet.serves(event.model)
    cell.fleet.add(engine)
    if not is_served:
        served_otherwise(cell)
    cell.timers.drop(("unserved", event.model))
    cell.timers.set(("lease", engine.id), cell.now + cell.limits.lease)
    cell.batch.write(
        ("SADD", cell.keys.engines, event.engine),
        put(cell.keys.engine(event.engine), records.engine(engine, cell.at)),
    )


def hear(cell: Cell, name: str) -> Engine | None:
    """An engine says something; None if it is not counted on."""
    engine = cell.fleet.engines.get(name)
    if engine is not None:
        engine.heard = cell.now
    return engine


def engine_beat(cell: Cell, event: EngineBeat) -> None:
    """An engine lives on."""
    engine = hear(cell, event.engine)
    if engine is None:
        # It was given up, and its attempts are fenced off. If its stream is still there, it will learn that from its absence.
        cell.batch.abandoned.append(event.engine)
        return
    if event.draining and not engine.draining:
        engine.draining = True
        served_less(cell, engine.about.model)
    cell.timers.set(("lease", event.engine), cell.now + cell.limits.lease)
    cell.batch.write(put(cell.keys.engine(event.engine), records.beat(event, cell.at)))
    says_nothing = event.holds is None and not event.read  # it is of the version before
    engine.read = engine.told if says_nothing else place(event.read)
    cell.fleet.policy.heard(engine, cell.now)
    if engine.clearing and engine.told <= engine.read:
        _let_gone(cell, engine, frozenset(event.holds or ()))
    if event.holds is not None:
        _reconcile(cell, engine, engine.read, frozenset(event.holds))


def _let_gone(cell: Cell, engine: Engine, holds: frozenset[str]) -> None:
    """An engine has read that it is to let go what it holds, so that a suspect runs there alone."""
    gone = [generation for name, generation in engine.holds.items() if name not in holds]
    for generation in gone:
        cell.fleet.take(generation, cell.now)
        generation.suffers(again="again, since a call that engines may have died of is tried alone where this one ran")
    cell.queue(gone)


def _reconcile(cell: Cell, engine: Engine, read: tuple[int, ...], holds: frozenset[str]) -> None:
    """Run again what an engine was given, has read past and holds no more, although nothing was heard of its end.

    What it says of an end is in `events` before the beat that no longer lists it, so Redis has lost it, or the job before it was read, as
    in a power loss: neither the call nor the engine is to blame. A job above `read` is on its way. This is true of a beat that comes
    twice too: jobs that were sent since it was first said are above its `read`.
    """
    lost = [generation for name, generation in engine.holds.items() if name not in holds and place(generation.job) <= read]
    for generation in lost:
        cell.fleet.take(generation, cell.now)
        # It may have published a value that is lost now and must not go on with it.
        let_go(cell, engine.id, generation)
        again = f"again, since {engine.about.name} has read the job and holds it no more, but what became of it was lost"
        generation.suffers(again=again, lost=generation.mishaps.lost + 1)
    for generation in lost:
        if generation.mishaps.lost < MAX_LOST:
            cell.queue([generation])
        elif not generation.ended:  # with another one that failed
            said = f"{MAX_LOST} times an engine was done with it, but what it said of that was lost or not understood."
            fail(cell, generation, InternalError(f"{said} Look at the dead letters."))


def engine_holds(cell: Cell, event: EngineHolds) -> None:
    """An engine says what its KV cache holds."""
    engine = hear(cell, event.engine)
    if engine is not None and not cell.fleet.policy.reported(event, cell.now):
        cell.batch.order(engine.id, TellHoldings())


def engine_down(cell: Cell, event: EngineDown) -> None:
    """An engine leaves, or says that it broke."""
    if not event.died:
        _left(cell, event.engine)
    elif event.engine in cell.fleet.engines:
        lease_over(cell, event.engine)


def lease_over(cell: Cell, name: str) -> None:
    """An engine was silent for too long or said that it broke: it died of one of the calls that it held, or of something else."""
    engine = cell.fleet.engines[name]
    held = _lose(cell, engine)
    for generation in held:
        generation.suffers(deaths=generation.mishaps.deaths | {name})
        if generation.suspect and len(held) == 1 and len(generation.mishaps.deaths) >= MAX_DEATHS:
            _poison(cell, generation)
        else:
            cell.queue([generation])


def spare(cell: Cell, now: float) -> None:
    """Nobody could be heard for a while: no engine is taken for dead before it had another lease to speak."""
    for engine in cell.fleet.engines:
        cell.timers.set(("lease", engine), now + cell.limits.lease)


def _left(cell: Cell, name: str) -> None:
    engine = cell.fleet.engines.get(name)
    if engine is not None:
        cell.queue(_lose(cell, engine))


def _lose(cell: Cell, engine: Engine) -> list[Generation]:
    cell.timers.drop(("lease", engine.id))
    cell.batch.abandoned.append(engine.id)
    cell.batch.write(("SREM", cell.keys.engines, engine.id), ("DEL", cell.keys.engine(engine.id)))
    held = cell.fleet.lose(engine, cell.now)
    unserved.watch(cell, engine.about.model)
    served_less(cell, engine.about.model)
    return held


def _false_alarm(cell: Cell, engine: str) -> None:
    """An engine that was given up is alive: nobody killed it."""
    for call in cell.graph.calls.values():
        for output in call.outputs:
            producer = cell.graph.variables[output].producer
            if producer is not None and engine in producer.mishaps.deaths:
                producer.suffers(deaths=producer.mishaps.deaths - {engine})
                cell.batch.write(move(cell.keys.variable(output), records.suspicion(producer)))


def _poison(cell: Cell, generation: Generation) -> None:
    keys, call, deaths = cell.keys, generation.call.id, sorted(generation.mishaps.deaths)
    error = PoisonCall(f"{len(deaths)} engines died while they ran it, the last one while it ran alone: {', '.join(deaths)}.")
    cell.batch.write(bury_call(keys.dead, keys.tasks, keys.call(call), call, error))
    fail(cell, generation, error)
