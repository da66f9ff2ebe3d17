"""What people and successors read in Redis: the fields of sessions, calls, variables and engines, as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from parrot.core.beginnings import content_of
from parrot.core.graph import Call, Generation, Session, Variable
from parrot.core.policy import Decision, Engine
from parrot.wire.states import CallState, SessionState, VariableState
from parrot.wire.to_core import DeclareVariable, EngineBeat, OpenSession, SubmitCall

Fields = dict[str, str]


@lru_cache(maxsize=256)  # what happens in one batch happens at one time
def clock(now: float) -> str:
    """Seconds since the epoch as ISO-8601 in UTC, for people."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """The inverse of `clock`."""
    return datetime.fromisoformat(text).timestamp()


def opened(request: OpenSession, at: str) -> Fields:
    """A session that was opened."""
    return {
        "name": request.name,
        "tenant": request.tenant,
        "deadline": "" if request.deadline is None else clock(request.deadline),
        "labels": orjson.dumps(request.labels).decode(),
        "state": SessionState.OPEN,
        "opened": at,
        "calls": "0",
        "ended": "0",
    }


def progress(session: Session) -> Fields:
    """How far a session is."""
    return {"calls": str(len(session.calls)), "ended": str(len(session.calls) - session.active)}


def submitted(request: SubmitCall, at: str) -> Fields:
    """A call that was accepted; the request is kept whole, for successors."""
    return {
        "session": request.session,
        "function": request.function,
        "model": request.model or "any",
        "state": CallState.WAITING,
        "submitted": at,
        "request": request.model_dump_json(exclude_unset=True),
    }


def output(request: SubmitCall, name: str) -> Fields:
    """A variable that a call will make."""
    return {
        "session": request.session,
        "name": name,
        "state": VariableState.PENDING,
        "call": request.call,
        "output": name,
        "function": request.function,
        "attempt": "0",
    }


def generation(request: SubmitCall, maker: Generation, programs: Sequence[str]) -> Fields:
    """A variable that a call will make, and what only those know who knew what it waits for.

    Args:
        request: the call.
        maker: after how many others it comes, one after the other, and whether it waits for several calls at once.
        programs: that it connects with its own.
    """
    fields = output(request, maker.lowered.output) | {"depth": str(maker.made.depth)}
    if programs:
        fields["programs"] = " ".join(programs)
    if maker.gathers:
        fields["gathers"] = "1"
    return fields


def declared(request: DeclareVariable, at: str) -> Fields:
    """A variable that no call makes."""
    fields = {"session": request.session, "name": request.name, "state": VariableState.EMPTY}
    return fields if request.text is None else fields | given(request.text, at) | {"state": VariableState.READY}


def given(text: str, at: str) -> Fields:
    """The value of a variable that an app sets."""
    return {"value": text, "ended": at, "content": str(content_of(text)), "length": str(len(text))}


def asked(variable: Variable) -> Fields:
    """What is asked of a variable."""
    return {"criterion": variable.criterion or "", "due": "" if variable.due is None else clock(variable.due)}


def pursued(generation: Generation, slack: float | None) -> Fields:
    """What a call is optimised for, how many seconds it could lose before something is late, and the way that begins with it."""
    objective = generation.objective
    return {
        "objective": objective.kind,
        "group": objective.group,
        "slack": "" if slack is None else f"{slack:.3f}",
        "way": f"{generation.tail:.3f}",
    }


def waits(generation: Generation, why: str, slack: float | None) -> Fields:
    """A call that waits for an engine."""
    return {"state": CallState.QUEUED, "why": why} | pursued(generation, slack) | attained(generation)


def explained(decision: Decision) -> Fields:
    """Why a call went where it did, for people who look at the call."""
    return {
        "state": CallState.PLACED,
        "engine": decision.engine.id,
        "why": decision.why,
        "prefix_expected": str(decision.generation.call.expected),
        "runner_up": decision.runner_up,
    } | (pursued(decision.generation, decision.slack) | attained(decision.generation))


def attained(generation: Generation) -> Fields:
    """Seconds of engine time that its program has had, the longest way that it has had, and when it came; nothing where that is nothing."""
    program = generation.program.whole()
    if not program.attained:
        return {}
    return {"attained": f"{program.attained:.3f}", "length": f"{program.length:.3f}", "arrived": f"{program.arrived:.3f}"}


def placed(generation: Generation, why: str, at: str) -> Fields:
    """A generation that was given to an engine."""
    fields: Fields = {
        "state": VariableState.PENDING,
        "attempt": str(generation.attempt),
        "engine": generation.engine,
        "job": generation.job,
        "ready": clock(generation.since),
        "placed": at,
        "why": why,
    }
    if len(generation.call.outputs) > 1:  # else its call says it
        fields["prefix_expected"] = str(generation.expected)
    if generation.mishaps.errors or generation.mishaps.deaths:
        fields |= setbacks(generation)
    return fields


def reordered(generation: Generation) -> Fields:
    """A generation whose engine is told another priority."""
    return {"reordered": generation.reordered}


def queued(generation: Generation, why: str) -> Fields:
    """A generation that waits for an engine."""
    return {"state": VariableState.PENDING, "engine": "", "why": why, "ready": clock(generation.since)} | setbacks(generation)


def setbacks(generation: Generation) -> Fields:
    """What went wrong with a generation so far."""
    return {"errors": str(generation.mishaps.errors)} | suspicion(generation)


def suspicion(generation: Generation) -> Fields:
    """The engines that died while they held a generation."""
    return {"deaths": " ".join(sorted(generation.mishaps.deaths))}


def failure(code: str, reason: str, at: str) -> Fields:
    """Why a call or variable failed."""
    return {"error_code": code, "error": reason, "ended": at}


def ended(call: Call, at: str) -> Fields:
    """A call whose generations have all ended."""
    state = CallState.FAILED if call.failed else CallState.CANCELLED if call.cancelled else CallState.DONE
    return {"state": state, "ended": at} | found(call)


def found(call: Call) -> Fields:
    """Tokens of the prompts of a call that engines held."""
    return {"prefix_found": str(call.cached)}


def engine(up: Engine, at: str) -> Fields:
    """An engine that came up."""
    about = up.about
    return {
        "name": about.name,
        "kind": about.kind,
        "model": about.model,
        "host": about.host,
        "pid": str(about.pid),
        "state": "up",
        "up": at,
        "seen": at,
        "running": "0",
        "waiting": "0",
        "about": about.model_dump_json(),
    }


def beat(load: EngineBeat, at: str) -> Fields:
    """What an engine says of its load."""
    return {
        "seen": at,
        "running": str(load.running),
        "waiting": str(load.waiting),
        "kv_used": f"{load.kv_used:.3f}",
        "busy_seconds": f"{load.busy_seconds:.3f}",
    }
