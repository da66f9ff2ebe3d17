"""The conservation check: is everything accounted for, exactly once? Pure.

`check` looks at what Redis holds, `check_machine` at the state of the machine that leads. Both answer with findings, in sentences;
there are none when all is well. What is on its way (a batch that is being carried out, an event that was not read yet) can look
like a finding: only what stays is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pydantic import ValidationError

from parrot.broker.audit import Holdings
from parrot.broker.ledger import Record
from parrot.core.graph import Generation
from parrot.core.lowering import lower
from parrot.core.machine import Machine
from parrot.errors import ParrotError
from parrot.wire.keys import Keys
from parrot.wire.states import ENDED, CallState, SessionState, VariableState
from parrot.wire.to_core import SubmitCall

UNDER_WAY = frozenset({CallState.WAITING, CallState.QUEUED, CallState.PLACED})


def check(keys: Keys, held: Holdings) -> list[str]:
    """What does not add up in Redis.

    Args:
        keys: the cell's names.
        held: all that is there.
    """
    auditor = _Auditor(keys, held)
    return [
        *auditor.types(),
        *auditor.calls(),
        *auditor.variables(),
        *auditor.engines(),
        *auditor.sessions(),
        *auditor.unlisted(),
        *auditor.strays(),
    ]


class _Auditor:
    def __init__(self, keys: Keys, held: Holdings) -> None:
        self._keys = keys
        self._held = held
        self._requests: dict[str, SubmitCall] = {}
        self._owned: set[str] = set()  # variables that a call under way will make

    def _dies(self, key: str) -> bool:
        return self._held.lives.get(key) is not None

    # Types ---------------------------------------------------------------------------------------

    def types(self) -> Iterator[str]:
        for key, found in self._held.types.items():
            right = self._keys.type_of(key)
            if right is not None and found != right:
                yield f"The key {key} is a {found} where a {right} belongs; all that uses it fails or goes on without it. Delete it."

    # Calls ---------------------------------------------------------------------------------------

    def calls(self) -> Iterator[str]:
        held = self._held
        listed = Counter(call for calls in held.calls.values() for call in calls)
        for call, times in listed.items():
            if times > 1:
                yield f"The call {call} is listed {times} times by sessions; once is right."
            if call not in held.call and not self._expired(call):
                yield f"The call {call} is listed by its session and has no record."
        for call in held.active - held.call.keys():
            yield f"The call {call} is in the set of active calls and has no record."
        for call, record in held.call.items():
            if call not in listed and not self._dies(self._keys.call(call)):
                yield f"The call {call} is listed by no session and would stay for ever."
            yield from self._call(call, record)

    def _expired(self, call: str) -> bool:
        """Whether the record of a listed call may have expired while we looked: its session expires too."""
        return any(call in calls and self._dies(self._keys.calls(session)) for session, calls in self._held.calls.items())

    def _call(self, call: str, record: Record) -> Iterator[str]:
        state, active = record.get("state", ""), call in self._held.active
        if state not in set(CallState):
            yield f"The call {call} is in the state {state!r}, which there is not."
            return
        if (state in UNDER_WAY) != active:
            yield f"The call {call} is {state} and {'is' if active else 'is not'} in the set of active calls."
        try:
            request = SubmitCall.model_validate_json(record.get("request", ""))
        except ValidationError:
            yield f"The request of the call {call} cannot be read; a successor of ServeCore could not go on with it."
            return
        yield from self._under_way(call, request) if state in UNDER_WAY else self._ended(call, state, request)

    def _ended(self, call: str, state: str, request: SubmitCall) -> Iterator[str]:
        for output in request.outputs.values():
            record = self._held.variable.get(output.variable)
            if record is None or record.get("call") != call:
                continue  # it has expired, or the call was refused since the variable is another one's
            made = record.get("state", "")
            if made not in ENDED:
                yield f"The call {call} is {state}, but its output {output.variable} is {made}."
            elif state == CallState.DONE and made != VariableState.READY:
                yield f"The call {call} is done, but its output {output.variable} is {made}."

    def _under_way(self, call: str, request: SubmitCall) -> Iterator[str]:
        try:
            lowered = lower(request)
        except ParrotError as error:
            yield f"The call {call} was accepted, but it cannot be taken apart: {error}"
            return
        states = {one.variable: self._state(one.variable) for one in lowered}
        self._owned |= states.keys()
        if all(state in ENDED for state in states.values()):
            yield f"All outputs of the call {call} have ended, but the call has not."
        for one in lowered:
            if states[one.variable] not in ENDED:
                yield from self._unmade(one.variable, one.inputs)

    def _state(self, variable: str) -> str:
        return self._held.variable.get(variable, {}).get("state", "")

    def _unmade(self, variable: str, inputs: tuple[str, ...]) -> Iterator[str]:
        """A variable that a call will make: it waits for an input, for an engine, or is held by one."""
        record = self._held.variable.get(variable)
        if record is None:
            yield f"The variable {variable} is the output of a call under way and has no record."
            return
        engine = record.get("engine", "")
        waits = [name for name in inputs if self._state(name) != VariableState.READY]
        for name in waits:
            if (state := self._state(name) or "gone") in {*ENDED, "gone"}:
                yield f"The variable {variable} waits for {name}, which is {state} and will never be ready."
        if waits and engine:
            yield f"The variable {variable} was given to {engine} although its input {waits[0]} is not ready."
        elif not waits and engine and not record.get("job"):
            yield f"The variable {variable} is held by {engine}, but no job is named."
        elif not waits and not engine and not record.get("why"):
            yield f"All inputs of the variable {variable} are ready, but it is neither queued nor held by an engine."

    # Variables -----------------------------------------------------------------------------------

    def variables(self) -> Iterator[str]:
        held = self._held
        listed = Counter(variable for variables in held.variables.values() for variable in variables)
        for variable, times in listed.items():
            if times > 1:
                yield f"The variable {variable} is listed {times} times by sessions; once is right."
        for variable, record in held.variable.items():
            if variable not in listed and not self._dies(self._keys.variable(variable)):
                yield f"The variable {variable} is listed by no session and would stay for ever."
            yield from self._variable(variable, record)

    def _variable(self, variable: str, record: Record) -> Iterator[str]:
        state, engine = record.get("state", ""), record.get("engine", "")
        if state not in set(VariableState):
            yield f"The variable {variable} is in the state {state!r}, which there is not."
        elif state == VariableState.READY:
            if "value" not in record:
                yield f"The variable {variable} is ready and has no value."
        elif state in ENDED:
            if not record.get("error_code"):
                yield f"The variable {variable} is {state} and does not say why: it has no error_code."
        elif state != VariableState.EMPTY:
            if variable not in self._owned:
                yield f"The variable {variable} is {state}, but no call under way makes it."
            if engine and engine not in self._held.engines:
                yield f"The variable {variable} is held by the engine {engine}, which is not registered."

    # Engines -------------------------------------------------------------------------------------

    def engines(self) -> Iterator[str]:
        keys, held = self._keys, self._held
        for engine, record in held.engines.items():
            if not record:
                yield f"The engine {engine} is registered and has no record."
            if keys.jobs(engine) not in held.lives:
                yield f"The engine {engine} is registered and has no job stream."
        prefix, tail = keys.jobs("*").split("*")
        for key in held.lives:
            if key.startswith(keys.engine("")) and (engine := key.removeprefix(keys.engine(""))) not in held.engines:
                yield f"The engine {engine} has a record and is not registered."
            if key.startswith(prefix) and key.endswith(tail) and not self._dies(key):
                engine = key.removeprefix(prefix).removesuffix(tail)
                if engine not in held.engines and engine not in held.elsewhere:
                    yield f"The job stream {key} belongs to no registered engine and would stay for ever."

    # Sessions and keys ---------------------------------------------------------------------------

    def sessions(self) -> Iterator[str]:
        for session, record in self._held.sessions.items():
            if not record:
                yield f"The session {session} is listed, but its record has expired."
                continue
            active = any(call in self._held.active for call in self._held.calls[session])
            over = record.get("state") == SessionState.CLOSED and not active
            if over and not record.get("expires"):
                yield f"The session {session} is closed and done, but it does not say when it expires."
            for key in self._keys_of(session):
                if key in self._held.lives and self._dies(key) != over:
                    wrong = "would stay for ever" if over else "expires"
                    yield f"The session {session} is {'closed and done' if over else 'alive'}, but its key {key} {wrong}."

    def unlisted(self) -> Iterator[str]:
        prefix = self._keys.session("")
        for key in self._held.lives:
            session = key.removeprefix(prefix)
            if key.startswith(prefix) and ":" not in session and session not in self._held.sessions:
                yield f"The session {session} has a record and is not listed; ServeCore has forgotten it."

    def _keys_of(self, session: str) -> Iterator[str]:
        keys, held = self._keys, self._held
        yield from (keys.session(session), keys.calls(session), keys.variables(session), keys.news(session))
        yield from map(keys.call, held.calls[session])
        yield from map(keys.variable, held.variables[session])
        yield from map(keys.tokens, held.variables[session])

    def strays(self) -> Iterator[str]:
        """Keys that belong to nothing. Those of calls, variables and engines have been looked at."""
        keys, held = self._keys, self._held
        permanent = {keys.tasks, keys.events, keys.core, keys.dead, keys.engines, keys.sessions, keys.learned, keys.active}
        for key in held.lives:
            if not key.startswith(keys.prefix) or key in permanent or self._dies(key):
                continue
            kind, _, rest = key.removeprefix(keys.prefix).partition(":")
            name, _, part = rest.partition(":")
            known = {
                "call": not part,
                "engine": not part,
                "var": not part or (part == "tokens" and name in held.variable),
                "session": name in held.sessions and part in ("", "calls", "variables", "news"),
            }
            if not known.get(kind, False):
                yield f"The key {key} belongs to nothing that is known and would stay for ever."


def check_machine(machine: Machine) -> list[str]:
    """What does not add up in a machine between two batches."""
    return [*_graph(machine), *_fleet(machine), *_timers(machine)]


def _alive(machine: Machine) -> Iterator[Generation]:
    """All generations that have not ended."""
    return (variable.producer for variable in machine.graph.variables.values() if variable.producer is not None)


def _graph(machine: Machine) -> Iterator[str]:
    graph = machine.graph
    unfinished = Counter(generation.call.id for generation in _alive(machine))
    for call in graph.calls.values():
        if call.unfinished != unfinished[call.id] or not call.unfinished:
            yield f"The call {call.id} counts {call.unfinished} unfinished generations; there are {unfinished[call.id]}."
    active = Counter(call.session for call in graph.calls.values())
    for session in graph.sessions.values():
        if session.active != active[session.id]:
            yield f"The session {session.id} counts {session.active} active calls; there are {active[session.id]}."
    tenants = Counter(graph.sessions[call.session].tenant for call in graph.calls.values())
    if tenants != graph.tenants:
        yield f"Calls of tenants are counted as {dict(graph.tenants)}; there are {dict(tenants)}."
    for variable in graph.variables.values():
        if (variable.producer is not None) != (variable.state in (VariableState.PENDING, VariableState.GENERATING)):
            yield f"The variable {variable.id} is {variable.state} and {'has no' if variable.producer is None else 'has a'} producer."
    for generation in _alive(machine):
        yield from _generation(machine, generation)


def _generation(machine: Machine, generation: Generation) -> Iterator[str]:
    graph, name = machine.graph, generation.variable
    if generation.ended or generation.call.id not in graph.calls:
        yield f"The generation of {name} has ended, or its call has, and still counts as a producer."
    waits = [needed for needed in generation.lowered.inputs if graph.variables[needed].state != VariableState.READY]
    if generation.missing != len(waits):
        yield f"The generation of {name} counts {generation.missing} missing inputs; there are {len(waits)}."
    for needed in waits:
        if graph.variables[needed].state in ENDED:
            yield f"The generation of {name} waits for {needed}, which will never be ready."
        if (times := graph.variables[needed].consumers.count(generation)) != 1:
            yield f"The variable {needed} counts the generation of {name} {times} times among its consumers; once is right."


def _fleet(machine: Machine) -> Iterator[str]:
    fleet = machine.fleet
    waiting = Counter(fleet.waiting())
    for generation, times in waiting.items():
        if generation.missing or generation.engine or times > 1:
            yield f"The generation of {generation.variable} is {times} times in the backlog and should not be."
    for generation in _alive(machine):
        name = generation.variable
        if not generation.engine:
            if not generation.missing and generation not in waiting:
                yield f"The generation of {name} can run, and is neither in the backlog nor held by an engine."
        elif generation.engine not in fleet.engines:
            yield f"The generation of {name} is held by the engine {generation.engine}, which is not known."
        elif fleet.engines[generation.engine].holds.get(name) is not generation:
            yield f"The generation of {name} is held by the engine {generation.engine}, which does not hold it."
    for engine in fleet.engines.values():
        for name, generation in engine.holds.items():
            if generation.ended or generation.engine != engine.id or generation.missing or not generation.job:
                yield f"The engine {engine.id} holds the generation of {name}, which has ended, is elsewhere, waits or has no job."
        if len(engine.holds) > engine.about.capacity.running:
            yield f"The engine {engine.id} holds {len(engine.holds)} generations; it has room for {engine.about.capacity.running}."


def _timers(machine: Machine) -> Iterator[str]:
    graph, set_ = machine.graph, set(machine.timers)
    due = {("lease", engine) for engine in machine.fleet.engines}
    for session in graph.sessions.values():
        if session.state == SessionState.OPEN:
            due.add(("idle", session.id))
        elif not session.active:
            due.add(("results", session.id))
    for call in graph.calls.values():
        if call.deadline is not None:
            due.add(("deadline", call.id))
    missed = {waiting.call.model for waiting in machine.fleet.waiting() if not machine.fleet.serves(waiting.call.model)}
    due |= {("unserved", model) for model in missed if model is not None}
    # One whose waiters have gone meanwhile may stay until it is due: it does nothing then.
    due |= {timer for timer in set_ if timer[0] == "unserved" and not machine.fleet.serves(timer[1])}
    for kind, whom in sorted(due - set_):
        yield f"No timer {kind} is set for {whom}."
    for kind, whom in sorted(set_ - due):
        yield f"A timer {kind} is set for {whom}, which needs none."
