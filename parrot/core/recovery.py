"""The machine of a new leader, from what Redis holds."""

from __future__ import annotations

from parrot.broker.ledger import Lead, Record, Snapshot
from parrot.core import records
from parrot.core.graph import Session
from parrot.core.machine import Limits, Machine, job_of
from parrot.core.placement import Engine
from parrot.criteria import Criterion
from parrot.wire.keys import Keys
from parrot.wire.states import SessionState, VariableState
from parrot.wire.to_core import EngineUp, SubmitCall
from parrot.wire.to_engine import Order


def rebuild(keys: Keys, limits: Limits, lead: Lead, found: Snapshot, now: float) -> tuple[Machine, list[tuple[str, str, Order]]]:
    """Build the machine as its predecessor's last commit left it.

    Args:
        keys, limits: as for `Machine`.
        lead: what the new leader starts from.
        found: all records that are alive.
        now: seconds since the epoch; engines get a full lease from here.

    Returns:
        The machine, and the jobs that may not have been sent, in the order of their ids; sending one twice does no harm.
    """
    machine = Machine(keys, limits, first_batch=lead.batches + 1)
    for record in found.engines.values():
        machine.resume_engine(Engine(EngineUp.model_validate_json(record["about"])), now)
    for name, record in found.sessions.items():
        expires = record.get("expires")
        machine.resume_session(_session(name, record, found), records.seconds(expires) if expires else None, now)
        for variable in found.variables[name]:
            _restore_variable(machine, name, variable, found.variable.get(variable))
    for record in sorted(found.active.values(), key=lambda record: record["submitted"]):
        _restore_call(machine, SubmitCall.model_validate_json(record["request"]), found)
    return machine, _unsent(machine)


def _session(name: str, record: Record, found: Snapshot) -> Session:
    deadline = record.get("deadline")
    session = Session(name, record["name"], record["tenant"], SessionState(record["state"]))
    session.deadline = records.seconds(deadline) if deadline else None
    session.calls = dict.fromkeys(found.calls[name])
    return session


def _restore_variable(machine: Machine, session: str, name: str, record: Record | None) -> None:
    if record is None:
        return  # it has expired
    state = VariableState(record["state"])
    variable = machine.graph.declare(machine.graph.sessions[session], name, state)
    variable.root = record.get("error", "")
    if criterion := record.get("criterion"):
        variable.criterion = Criterion(criterion)


def _restore_call(machine: Machine, request: SubmitCall, found: Snapshot) -> None:
    for generation in machine.resume_call(request):
        record = found.variable[generation.variable]
        generation.attempt = int(record["attempt"])
        generation.errors = int(record.get("errors", "0"))
        generation.deaths = frozenset(record.get("deaths", "").split())
        machine.resume(generation, VariableState(record["state"]), record.get("engine", ""), record.get("job", ""))


def _unsent(machine: Machine) -> list[tuple[str, str, Order]]:
    held = [generation for engine in machine.fleet.engines.values() for generation in engine.holds.values()]
    held.sort(key=lambda generation: [int(part) for part in generation.job.split("-")])
    return [(generation.engine, generation.job, job_of(generation)) for generation in held]
