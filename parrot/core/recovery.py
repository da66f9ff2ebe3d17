"""The machine of a new leader, from what Redis holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from pydantic import ValidationError

from parrot.broker.ledger import Lead, Record, Snapshot
from parrot.core import records
from parrot.core.batch import place
from parrot.core.beginnings import tokens_of
from parrot.core.damage import GONE, forget_session, give_up_call, tell_who_waits
from parrot.core.ending import fail
from parrot.core.generation_rules import job_of, reordering_of
from parrot.core.graph import Generation, Session
from parrot.core.limits import Limits
from parrot.core.lowering import Lowered, take_apart
from parrot.core.machine import Machine
from parrot.core.policy import Engine, Policy
from parrot.core.programs import Program
from parrot.core.session_rules import note_limits
from parrot.core.taking_over import resume, resume_call, resume_engine, resume_session, settle_objectives
from parrot.criteria import Criterion
from parrot.errors import InternalError
from parrot.wire.keys import Keys
from parrot.wire.states import SessionState, VariableState
from parrot.wire.to_core import EngineUp, SubmitCall
from parrot.wire.to_engine import Order
from parrot.wire.to_ledger import move

Prepared = Mapping[str, tuple[SubmitCall, Sequence[Lowered]]]  # by call
LOST_ATTEMPTS = 100  # more than can have been made in what a broker forgot: their numbers are not given to others


class Foresight(NamedTuple):
    """What a standby has done while the lease of a leader that seemed to be dead still ran.

    Attributes:
        found: what that leader had written.
        prepared: what could be made of it.
    """

    found: Snapshot | None = None
    prepared: Prepared = MappingProxyType({})


def rebuild(
    keys: Keys,
    limits: Limits,
    lead: Lead,
    found: Snapshot,
    now: float,
    policy: Policy | None = None,
    prepared: Prepared = MappingProxyType({}),
) -> tuple[Machine, list[tuple[str, str, Order]]]:
    """Build the machine as its predecessor's last commit left it.

    Args:
        keys, limits: as for `Machine`.
        lead: what the new leader starts from.
        found: all records that are alive.
        now: seconds since the epoch; engines get a full lease from here.
        policy: as for `Machine`; a new one, which recalls what predecessors have learned.
        prepared: what `foresee` has done already; of any number of calls, since requests never change.

    Returns:
        The machine, and the orders that may not have been sent, sorted by their ids; sending one twice does no harm.
    """
    machine = Machine(keys, limits, first_batch=lead.batches + 1, now=now, policy=policy)
    machine.fleet.policy.recall(found.learned)
    for record in found.engines.values():
        resume_engine(machine.cell, Engine(EngineUp.model_validate_json(record["about"])))
    programs: dict[str, Program] = {}
    for name, record in found.sessions.items():
        if not {"name", "tenant", "state"} <= record.keys():
            continue  # deleted, and what was written to it since is no whole
        expires = record.get("expires")
        resume_session(machine.cell, _session(name, record), found.calls[name], records.seconds(expires) if expires else None)
        for variable in found.variables[name]:
            if expires:
                machine.graph.declare(machine.graph.sessions[name], variable, VariableState.READY)  # it has ended, however
            else:
                _restore_variable(machine, name, variable, found.variable.get(variable), programs)
    for name in found.calls.keys() - machine.graph.sessions.keys():
        forget_session(machine.cell, name, found.calls[name], found.variables[name])
    gathers = {name for name, record in found.variable.items() if "gathers" in record}
    calls = [resume_call(machine.cell, *one, gathers) for one in _requests(machine, found, prepared)]
    settle_objectives(machine.cell)
    for generations in calls:
        call = generations[0].call
        record = found.active[call.id]
        call.expected, call.cached = int(record.get("prefix_expected", "0")), int(record.get("prefix_found", "0"))
        arrived = float(record["arrived"]) if "arrived" in record else inf
        generations[0].program.whole().recall(float(record.get("attained", "0")), float(record.get("length", "0")), arrived)
    for generations in calls:  # all are known now, so that what ends with one of them finds the others
        for generation in generations:
            _restore(machine, generation, found.variable.get(generation.variable))
            if lead.forgetful:
                generation.attempt += LOST_ATTEMPTS
                machine.cell.batch.write(move(keys.variable(generation.variable), {"attempt": str(generation.attempt)}))
    note_limits(machine.cell)
    tell_who_waits(machine.cell, (generation for generations in calls for generation in generations))
    return machine, _unsent(machine)


def _session(name: str, record: Record) -> Session:
    deadline = record.get("deadline")
    session = Session(name, record["name"], record["tenant"], SessionState(record["state"]))
    session.deadline = records.seconds(deadline) if deadline else None
    return session


def _restore_variable(machine: Machine, session: str, name: str, record: Record | None, programs: dict[str, Program]) -> None:
    if record is None or "state" not in record:
        return  # it was deleted
    state = VariableState(record["state"])
    variable = machine.graph.declare(machine.graph.sessions[session], name, state)
    variable.root = record.get("error", "")
    variable.depth = int(record.get("depth", "0"))
    if criterion := record.get("criterion"):
        variable.criterion = Criterion(criterion)
    variable.due = records.seconds(due) if (due := record.get("due")) else None
    variable.content = int(record.get("content", "0"))
    variable.tokens = int(record.get("tokens_out", "0"))
    if call := record.get("call"):
        tenant = machine.graph.sessions[session].tenant
        for connected in (call, *record.get("programs", "").split()):
            program = programs.setdefault(connected, Program(tenant, connected))
            variable.program = program.whole() if variable.program is None else program.joined(variable.program)
    if length := record.get("length"):
        variable.tokens = tokens_of(int(length))


def foresee(found: Snapshot) -> Foresight:
    """Do what can be done for `rebuild` while there is time."""
    requests = {call: request for call, record in found.active.items() if (request := _request(record)) is not None}
    return Foresight(found, {call: (request, take_apart(request)) for call, request in requests.items()})


def _requests(machine: Machine, found: Snapshot, prepared: Prepared) -> Iterator[tuple[SubmitCall, Sequence[Lowered], float | None]]:
    """The calls that have not ended, as and when they were submitted: by time, and those of the same millisecond as their session says."""
    places = {call: place for calls in found.calls.values() for place, call in enumerate(calls)}
    for call in sorted(found.active, key=lambda call: (found.active[call].get("submitted", ""), places.get(call, 0))):
        request, lowered = prepared.get(call) or (_request(found.active[call]), ())
        session = machine.graph.sessions.get(request.session) if request is not None else None
        if request is not None and session is not None and machine.graph.has(session, call):
            submitted = found.active[call].get("submitted")
            yield request, lowered or take_apart(request), records.seconds(submitted) if submitted else None
        else:
            give_up_call(machine.cell, call, request)


def _request(record: Record) -> SubmitCall | None:
    try:
        return SubmitCall.model_validate_json(record["request"])
    except (KeyError, ValidationError):
        return None  # whoever waits for it is told


def _restore(machine: Machine, generation: Generation, record: Record | None) -> None:
    if record is None or not {"state", "attempt"} <= record.keys():
        fail(machine.cell, generation, InternalError(f"Its record {GONE}"))
        return
    generation.attempt = int(record["attempt"])
    errors, deaths = int(record.get("errors", "0")), frozenset(record.get("deaths", "").split())
    if errors or deaths:  # else it shares what most have
        generation.suffers(errors=errors, deaths=deaths)
    generation.reordered = record.get("reordered", "")
    generation.expected = int(record.get("prefix_expected", generation.call.expected if len(generation.call.outputs) == 1 else 0))
    if ready := record.get("ready"):
        generation.since = records.seconds(ready)
    placed = records.seconds(record["placed"]) if record.get("placed") else machine.cell.now
    resume(machine.cell, generation, VariableState(record["state"]), record.get("engine", ""), record.get("job", ""), placed)


def _unsent(machine: Machine) -> list[tuple[str, str, Order]]:
    orders: list[tuple[str, str, Order]] = []
    for engine in machine.fleet.engines.values():
        for generation in engine.holds.values():
            orders.append((engine.id, generation.job, job_of(generation, machine.graph.owner(generation))))
            if generation.reordered and place(generation.reordered) > place(generation.job):
                orders.append((engine.id, generation.reordered, reordering_of(generation)))
    orders.sort(key=lambda order: place(order[1]))
    return orders
